//! SCTP over DTLS (RFC 9260, RFC 8831): one association as a machine.
//!
//! 1. Both sides send INIT at once ([`Association::connect`]); the collision is resolved by the
//!    rules of RFC 9260 §5.2, so it does not matter who was first.
//! 2. INIT ACK carries a cookie, COOKIE ECHO returns it, COOKIE ACK ends the handshake.
//! 3. Messages go in by [`Association::send`], packets come out of [`Association::poll_transmit`],
//!    and what the peer sent comes out of [`Association::poll_event`].
//! 4. Streams are reset one by one (RFC 6525); the association ends by shutdown, abort or failure,
//!    each with a [`CloseReason`].
//!
//! Packets are protected by DTLS, so nobody but the peer can send one: the tags, cookies and
//! addresses that guard SCTP over IP have little left to guard here. What the peer sends is still
//! hostile input: it is counted by reason and dropped, and everything it can make us keep has a
//! bound.

mod association;
mod config;
mod congestion;
mod error;
mod event;
mod handshake;
mod input;
mod output;
mod reset;
mod rto;
mod rx;
mod timers;
mod tx;

pub use association::Association;
pub use config::Config;
pub use congestion::{Ack, Algorithm, CongestionControl, Cubic, NewReno};
pub use error::{CloseReason, SendError};
pub use event::{Event, Message, Order, Reliability, SendOptions, Stats};

#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) use tests::start as test_start;
