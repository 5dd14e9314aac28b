//! Who is to blame, and what can be done.

use thiserror::Error;
use twocan_wire::ids::StreamId;

/// Why a message was not accepted for sending.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum SendError {
    /// The send buffer is full. Wait until less is buffered, then send again.
    #[error("the send buffer is full")]
    WouldBlock,
    /// The message is longer than the peer accepts. Split it.
    #[error("message of {len} bytes, the peer accepts {max}")]
    TooLarge {
        /// Length of the message in bytes.
        len: usize,
        /// The peer's limit in bytes.
        max: usize,
    },
    /// SCTP cannot carry a message without content; data channels send one byte and say so in the
    /// PPID (RFC 8831 §6.6).
    #[error("a message needs at least one byte")]
    Empty,
    /// The association does not have this stream.
    #[error("stream {0} is beyond those of the association")]
    NoSuchStream(StreamId),
    /// The stream is being reset. Wait for its reset to complete.
    #[error("stream {0} is being reset")]
    Resetting(StreamId),
    /// The association has ended or is ending.
    #[error("the association has ended")]
    Closed,
}

/// Why an association ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum CloseReason {
    /// One side shut it down, and everything was delivered before.
    #[error("shut down")]
    Shutdown,
    /// Our application aborted it.
    #[error("aborted here")]
    Aborted,
    /// The peer aborted it, with this cause code (RFC 9260 §3.3.10); 0 without one.
    #[error("aborted by the peer, cause {0}")]
    AbortedByPeer(u16),
    /// The peer did not answer the handshake.
    #[error("no answer to the handshake")]
    HandshakeTimeout,
    /// The peer stopped answering.
    #[error("too many retransmissions without an answer")]
    TooManyRetransmissions,
    /// The peer sent a message longer than our `max-message-size`.
    #[error("the peer's message exceeds max-message-size")]
    MessageTooLarge,
    /// The peer broke the protocol.
    #[error("the peer broke the protocol: {0}")]
    ProtocolViolation(&'static str),
}
