//! What an association is told when it is made.

use std::time::Duration;

use super::congestion::Algorithm;

/// Settings of an [`super::Association`].
#[derive(Debug, Clone)]
pub struct Config {
    /// Our SCTP port, `a=sctp-port` of our description. Default 5000, never 0.
    pub local_port: u16,
    /// The peer's SCTP port, `a=sctp-port` of its description. Default 5000, never 0.
    pub remote_port: u16,
    /// Largest packet that is sent, in bytes, a multiple of 4. Default 1160, range 512 to 16,384.
    ///
    /// Includes the SCTP header, excludes DTLS and UDP. A DTLS 1.2 record with AES-GCM adds 13 of
    /// header, 8 of nonce and 16 of tag, so 1160 stays below datagrams of 1200 bytes.
    pub packet_len_max: usize,
    /// Largest message that the peer may send, `a=max-message-size` of our description, in bytes.
    /// Default 262,144. A longer one ends the association.
    pub local_max_message_size: usize,
    /// Largest message that may be sent, `a=max-message-size` of the peer's description, in bytes;
    /// 0 means any. Default 65,536, which is what a description without it means (RFC 8841 §6.1).
    pub remote_max_message_size: usize,
    /// Bytes that may wait here for their missing parts, their turn or the application: the
    /// receiver window. Default 4 MiB; at least twice [`Self::local_max_message_size`] is used.
    ///
    /// The fastest flow is one window per round trip: 4 MiB are 670 Mbit/s at 50 ms. Every message
    /// and every separate piece of one counts 64 bytes more than it holds.
    pub receive_window: usize,
    /// Bytes that may wait to be sent, over all streams; a message beyond is refused with
    /// [`super::SendError::WouldBlock`]. Default 16 MiB. Excludes what is in flight.
    pub send_buffer_len_max: usize,
    /// Streams that we want to send on. Default 65,535 (RFC 8831 §6.2).
    pub outbound_streams: u16,
    /// Streams that we can receive on. Default 65,535.
    pub inbound_streams: u16,
    /// Whether a zero checksum is offered, and used if the peer offers it too (RFC 9653). Default
    /// true: DTLS below detects every error.
    pub zero_checksum: bool,
    /// Whether interleaving is offered, and used if the peer offers it too (RFC 8260). Default true.
    pub interleaving: bool,
    /// How the congestion window moves. Default [`Algorithm::Cubic`].
    pub congestion: Algorithm,
    /// Retransmission timeout before the first round trip is measured, and for the handshake.
    /// Default 500 ms: ICE has already shown that the path is faster than that.
    pub rto_initial: Duration,
    /// Smallest retransmission timeout. Default 400 ms: the peer may hold an acknowledgement back
    /// for 200 ms (RFC 9260 §6.2). Tail-loss probes come earlier.
    pub rto_min: Duration,
    /// Largest retransmission timeout. Default 3 s, below the 60 s of RFC 9260 §16: ICE consent
    /// ends a dead path, and after a blackout the flow is to come back soon.
    pub rto_max: Duration,
    /// How long an acknowledgement may be held back. Default 40 ms, range up to 500 ms
    /// (RFC 9260 §6.2).
    pub sack_delay: Duration,
    /// Time without anything sent after which a HEARTBEAT asks whether the peer lives; `None` for
    /// never. Default 30 s (RFC 9260 §16).
    pub heartbeat_interval: Option<Duration>,
    /// Timeouts in a row after which the association fails (RFC 9260 §8.1). Default 20: with
    /// [`Self::rto_max`] about 55 s, more than the 30 s of ICE consent.
    pub retransmissions_max: u32,
    /// INIT and COOKIE ECHO retransmissions after which the association fails. Default 20.
    pub init_retransmissions_max: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            local_port: 5000,
            remote_port: 5000,
            packet_len_max: 1160,
            local_max_message_size: 262_144,
            remote_max_message_size: 65_536,
            receive_window: 4 << 20,
            send_buffer_len_max: 16 << 20,
            outbound_streams: u16::MAX,
            inbound_streams: u16::MAX,
            zero_checksum: true,
            interleaving: true,
            congestion: Algorithm::default(),
            rto_initial: Duration::from_millis(500),
            rto_min: Duration::from_millis(400),
            rto_max: Duration::from_secs(3),
            sack_delay: Duration::from_millis(40),
            heartbeat_interval: Some(Duration::from_secs(30)),
            retransmissions_max: 20,
            init_retransmissions_max: 20,
        }
    }
}

impl Config {
    /// The same settings with every value in its range.
    #[must_use]
    pub(super) fn clamped(mut self) -> Self {
        self.packet_len_max = self.packet_len_max.clamp(512, 16_384) & !3;
        self.local_max_message_size = self.local_max_message_size.clamp(1, 1 << 30);
        self.receive_window = self
            .receive_window
            .max(self.local_max_message_size * 2)
            .clamp(64 << 10, u32::MAX as usize);
        self.outbound_streams = self.outbound_streams.max(1);
        self.inbound_streams = self.inbound_streams.max(1);
        self.sack_delay = self.sack_delay.min(Duration::from_millis(500));
        self.rto_max = self.rto_max.max(self.rto_min);
        self
    }
}
