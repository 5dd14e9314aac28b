//! Channels as the application sees them, and what happens to them.

use super::init::{Priority, Reliability};
use crate::sctp::CloseReason;

/// A channel of these [`super::Channels`]; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChannelId(pub(super) u32);

/// Our role in the DTLS handshake, which decides who opens even streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Opens even streams.
    Client,
    /// Opens odd streams.
    Server,
}

impl Role {
    pub(super) fn first_stream(self) -> u16 {
        match self {
            Self::Client => 0,
            Self::Server => 1,
        }
    }
}

/// The W3C's `readyState`; a closed channel is not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadyState {
    /// The association is not up.
    Connecting,
    /// Messages can be sent.
    Open,
    /// It is being closed, by either side.
    Closing,
}

/// A message that arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// A text.
    Text(String),
    /// Bytes.
    Binary(Vec<u8>),
}

/// Why a channel closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseCause {
    /// One side closed it.
    Closed,
    /// The association ended.
    Ended(CloseReason),
    /// The peer lost its state and began anew.
    Restarted,
    /// No stream was left for it.
    NoIdLeft,
}

/// Something that happened to a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The association is up.
    Connected,
    /// The peer opened a channel; [`super::Channels::info`] says which. It is open.
    Announced(ChannelId),
    /// A channel of ours is open.
    Open(ChannelId),
    /// A message arrived.
    Message(ChannelId, Message),
    /// The buffered amount fell to its threshold.
    BufferedAmountLow(ChannelId),
    /// The peer closes the channel.
    Closing(ChannelId),
    /// The channel is closed; its id has no meaning any more.
    Closed(ChannelId, CloseCause),
    /// The association is over; all channels were closed before.
    Ended(CloseReason),
}

/// What a channel is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Info {
    /// The application's name for it.
    pub label: String,
    /// The subprotocol.
    pub protocol: String,
    /// Whether messages arrive in their order.
    pub ordered: bool,
    /// How hard it tries.
    pub reliability: Reliability,
    /// Whether both applications made it.
    pub negotiated: bool,
    /// The W3C's `id`, once assigned.
    pub id: Option<u16>,
    /// Importance.
    pub priority: Priority,
}
