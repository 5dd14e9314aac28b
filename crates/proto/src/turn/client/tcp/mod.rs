//! The client's side of TURN for TCP (RFC 6062): connections between peers and a relayed address.
//!
//! 1. An [`Allocator`] holds the control connection, a stream to the server: it allocates, permits
//!    peers, asks for connections to them ([`Allocator::connect`]), and is told of those that peers
//!    have made ([`Event::Attempted`]).
//! 2. Each connection has a number, and is claimed within 30 seconds on a stream of its own to the
//!    same server: [`Allocator::claim`] makes the [`Claim`] that does so.
//! 3. Once it is claimed, that stream carries what the peer sends and gets, and nothing else.
//!
//! Neither has sockets: the parent opens the streams, and carries what is polled.

mod allocator;
mod claim;
mod requests;
#[cfg(test)]
mod tests;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use thiserror::Error;
use twocan_wire::stun::AddressFamily;

use super::{Account, Failure};

pub use allocator::Allocator;
pub use claim::{Claim, Progress};

/// How long an answer is awaited; RFC 8489 §6.2.2 has 39.5 s.
const PATIENCE: Duration = Duration::from_millis(11_750);

/// The same of a Connect: the server has 30 s and more to reach the peer (RFC 6062 §5.2).
const CONNECT_PATIENCE: Duration = Duration::from_secs(45);

/// Connections that are asked for at a time.
pub const CONNECTING_MAX: usize = 32;

/// Peers that are permitted at a time.
pub const PERMITTED_MAX: usize = 128;

/// What is asked for.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Who we are.
    pub account: Account,
    /// The family of the relayed address; what the server gives where nothing is said, which is IPv4
    /// (RFC 8656 §7.2).
    pub family: Option<AddressFamily>,
}

/// Names a connection with a peer (RFC 6062 §6.2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u32);

/// Names a connection that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttemptId(pub u64);

/// Why something is not granted.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Refusal {
    /// The server refused: 403 for a peer that it does not reach, 446 where there is a connection
    /// with that peer already, 447 where the peer does not answer.
    #[error("the server refused: {code} {reason}")]
    Refused {
        /// 300 to 699.
        code: u16,
        /// The server's words.
        reason: String,
    },
    /// No answer came in time.
    #[error("the server does not answer")]
    Unanswered,
    /// More at a time than [`CONNECTING_MAX`] or [`PERMITTED_MAX`].
    #[error("too many at a time")]
    TooMany,
    /// What came on the stream is not TURN's, or has no number of a connection.
    #[error("the server's answer makes no sense")]
    Malformed,
    /// The stream, or the allocation, is gone.
    #[error("the allocation is gone")]
    Gone,
}

/// What an [`Allocator`] reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The relay lent us an address.
    Allocated {
        /// Ours on the relay.
        relayed: SocketAddr,
        /// Ours as the relay sees it.
        mapped: Option<SocketAddr>,
    },
    /// There is no allocation.
    Failed(Failure),
    /// The server wants another to be asked (RFC 8489 §10): by another allocator, on another stream.
    Redirected(SocketAddr),
    /// The peer at this address may connect.
    Permitted(IpAddr),
    /// The peer may not, or not any more.
    NotPermitted(IpAddr, Refusal),
    /// The server has connected to the peer: the connection is to be claimed.
    Connected {
        /// As asked for.
        attempt: AttemptId,
        /// Its number.
        connection: ConnectionId,
    },
    /// The server has not.
    NotConnected {
        /// As asked for.
        attempt: AttemptId,
        /// Why.
        refusal: Refusal,
    },
    /// A peer has connected to the relayed address: the connection is to be claimed.
    Attempted {
        /// The peer.
        peer: SocketAddr,
        /// Its number.
        connection: ConnectionId,
    },
    /// The allocation is gone.
    Lost,
}
