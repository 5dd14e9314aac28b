//! Refusals with the W3C's names.

use thiserror::Error;

/// Why a channel was not made (W3C WebRTC §6.1, `createDataChannel`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum OpenError {
    /// The label is longer than 65,535 bytes of UTF-8.
    #[error("the label is longer than 65535 bytes")]
    LabelTooLong,
    /// The protocol is longer than 65,535 bytes of UTF-8.
    #[error("the protocol is longer than 65535 bytes")]
    ProtocolTooLong,
    /// A negotiated channel needs an id.
    #[error("a negotiated channel needs an id")]
    IdMissing,
    /// 65,535 is not an id.
    #[error("65535 is not a channel id")]
    IdReserved,
    /// Another channel has the id.
    #[error("channel id {0} is in use")]
    IdInUse(u16),
    /// The association has fewer streams.
    #[error("channel id {0} is beyond the streams of the association")]
    IdOutOfRange(u16),
    /// Every id of our role is in use. Close a channel first.
    #[error("every channel id is in use")]
    NoIdLeft,
    /// The association has ended.
    #[error("the association has ended")]
    Ended,
}

impl OpenError {
    /// The name of the exception that the W3C asks for.
    pub fn name(&self) -> &'static str {
        match self {
            Self::LabelTooLong | Self::ProtocolTooLong | Self::IdMissing | Self::IdReserved => {
                "TypeError"
            }
            Self::IdInUse(_) | Self::IdOutOfRange(_) | Self::NoIdLeft => "OperationError",
            Self::Ended => "InvalidStateError",
        }
    }
}

/// Why a message was not sent (W3C WebRTC §6.2, `send`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum SendError {
    /// The channel is not open.
    #[error("the channel is not open")]
    NotOpen,
    /// The message is longer than the peer accepts. Split it.
    #[error("message of {len} bytes, the peer accepts {max}")]
    TooLarge {
        /// Length of the message in bytes.
        len: usize,
        /// The peer's `max-message-size` in bytes.
        max: usize,
    },
    /// The send buffer is full. Wait until `buffered_amount` is low, then send again.
    #[error("the send buffer is full")]
    WouldBlock,
}

impl SendError {
    /// The name of the exception that the W3C asks for.
    pub fn name(&self) -> &'static str {
        match self {
            Self::NotOpen => "InvalidStateError",
            Self::TooLarge { .. } => "TypeError",
            Self::WouldBlock => "OperationError",
        }
    }
}
