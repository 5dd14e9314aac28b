//! Data channels (RFC 8831, RFC 8832; the W3C's RTCDataChannel).
//!
//! 1. A channel is a pair of SCTP streams of the same number, one each way. The DTLS client opens
//!    even ones, the server odd ones, so that both can open at once.
//! 2. [`Channels::open`] makes one, in-band (the peer is told by OPEN and answers ACK) or
//!    negotiated (both applications make it with the same id).
//! 3. A channel is open as soon as the association is up: its messages may follow OPEN at once,
//!    in order until ACK arrived (RFC 8832 §6).
//! 4. [`Channels::close`] resets our stream after what is queued; the peer resets its own in turn
//!    (RFC 8831 §6.7). When both are done, the number is free again.
//!
//! What the peer sends against these rules is counted and dropped, or the stream is reset.

mod channels;
mod error;
mod event;
mod incoming;
mod init;

pub use channels::Channels;
pub use error::{OpenError, SendError};
pub use event::{ChannelId, CloseCause, Event, Info, Message, ReadyState, Role};
pub use init::{ChannelInit, Priority, Reliability};

#[cfg(test)]
mod tests;
