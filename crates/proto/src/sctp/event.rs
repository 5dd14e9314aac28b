//! What an association tells the layer above, and what it is told with a message.

use std::time::Duration;

use twocan_wire::ids::StreamId;
use twocan_wire::sctp::Ppid;

use super::error::CloseReason;

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The association is up.
    Connected,
    /// The peer lost its state and started over: all streams begin anew, what was in flight is
    /// gone.
    Restarted,
    /// A message arrived.
    Message(Message),
    /// What waits on a stream fell to its low threshold.
    BufferedAmountLow(StreamId),
    /// The peer reset streams that it sends on: nothing more comes before their next use.
    IncomingReset(Vec<StreamId>),
    /// Our reset of these streams is complete: they can be used again.
    OutgoingReset(Vec<StreamId>),
    /// The peer refused our reset of these streams, which go on as before.
    OutgoingResetDenied(Vec<StreamId>),
    /// The association is over. This is the last event.
    Closed(CloseReason),
}

/// A message that arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Its stream.
    pub stream: StreamId,
    /// What it is.
    pub ppid: Ppid,
    /// Its content, at least one byte.
    pub payload: Vec<u8>,
}

/// Whether a message waits for those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Order {
    /// Delivered after all earlier ordered messages of its stream.
    #[default]
    Ordered,
    /// Delivered when it is there.
    Unordered,
}

/// How hard is tried to deliver a message (RFC 3758, RFC 7496).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reliability {
    /// Until it is delivered or the association ends.
    #[default]
    Reliable,
    /// With at most this many retransmissions of each part.
    MaxRetransmits(u16),
    /// For this long from the call of `send`.
    MaxLifetime(Duration),
}

/// How a message is to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SendOptions {
    /// Whether it waits for others.
    pub order: Order,
    /// How hard is tried.
    pub reliability: Reliability,
}

/// Figures of an association.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    /// Packets sent.
    pub packets_sent: u64,
    /// Packets received.
    pub packets_received: u64,
    /// Messages accepted from the application.
    pub messages_sent: u64,
    /// Messages delivered to the application.
    pub messages_received: u64,
    /// Bytes of user data in first transmissions.
    pub bytes_sent: u64,
    /// Bytes of user data in delivered messages.
    pub bytes_received: u64,
    /// Chunks sent again.
    pub retransmissions: u64,
    /// Expiries of the retransmission timer.
    pub timeouts: u64,
    /// Tail-loss probes sent.
    pub probes: u64,
    /// Times that the congestion window was reduced for loss.
    pub congestion_events: u64,
    /// Messages given up (partial reliability).
    pub abandoned: u64,
    /// Congestion window in bytes.
    pub congestion_window: usize,
    /// The peer's last advertised receiver window in bytes.
    pub receiver_window: usize,
    /// Bytes in flight, chunk headers included.
    pub in_flight: usize,
    /// Chunks that the peer has not acknowledged, those that are taken for lost among them.
    pub unconfirmed: usize,
    /// Smoothed round-trip time, once measured.
    pub smoothed_rtt: Option<Duration>,
}
