//! The TURN client (RFC 8656): an address on a relay, and what is sent and received through it.
//!
//! 1. A [`Client`] asks one server from one local address. It allocates, first without
//!    credentials, then with those that the server's challenge asks for (`account`).
//! 2. Each peer address needs a permission before its data passes, and gets a channel when it is
//!    used in earnest (`peers`). Both are kept alive for as long as they are used.
//! 3. What is sent is wrapped by an [`Envelope`]; what the server sends is unwrapped by
//!    [`Client::handle`].
//! 4. [`Client::relocate`] takes the allocation along when our address changes, where the server
//!    moves allocations (RFC 8016, `mobility`).
//! 5. [`Client::close`] gives the allocation back.
//!
//! The client has neither sockets nor streams: the parent carries what [`Client::poll_transmit`]
//! yields to [`Client::server`], and hands over what comes from there.

mod account;
mod envelope;
mod machine;
mod mobility;
mod peers;
mod refusal;
pub mod tcp;
#[cfg(test)]
mod tests;

use std::net::{IpAddr, SocketAddr};

pub use account::Account;
pub use envelope::Envelope;
pub use machine::Client;

/// What a client is to ask for.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The server.
    pub server: SocketAddr,
    /// Who we are.
    pub account: Account,
    /// Whether a stream carries everything: nothing is repeated then, and what is sent is padded
    /// (RFC 8656 §12.5).
    pub stream: bool,
}

/// Why there is no allocation.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The server refused: a STUN error code and its text.
    #[error("the server refused: {code} {reason}")]
    Refused {
        /// 300 to 699.
        code: u16,
        /// The server's words.
        reason: String,
    },
    /// No answer came.
    #[error("the server does not answer")]
    Unreachable,
    /// The server sent us on to too many others, or in circles.
    #[error("the server sent us on to {0}, which does not end")]
    Redirected(SocketAddr),
    /// The server allocated nothing that can be used.
    #[error("the server's answer holds no usable address")]
    NoAddress,
}

impl Failure {
    /// The STUN error code, or 701 where there is none (W3C webrtc-pc §4.8.3).
    pub fn code(&self) -> u16 {
        match self {
            Self::Refused { code, .. } => *code,
            Self::Redirected(_) => 300,
            Self::Unreachable | Self::NoAddress => 701,
        }
    }
}

/// What a client reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The relay lent us addresses, one of each family that it has.
    Allocated {
        /// Ours on the relay.
        relayed: Vec<SocketAddr>,
        /// Ours as the relay sees it.
        mapped: Option<SocketAddr>,
    },
    /// The allocation asked for does not come.
    Failed(Failure),
    /// The server sent us to another; over a stream the parent connects there and calls
    /// [`Client::start`].
    Redirected(SocketAddr),
    /// The allocation has moved with us.
    Moved,
    /// The allocation is gone: expired, or forgotten by the server.
    Lost,
    /// The server relays nothing to this address.
    Refused(IpAddr),
}

/// What came from the server.
#[derive(Debug, PartialEq, Eq)]
pub enum Received<'a> {
    /// A peer sent this to our relayed address of its family.
    Data {
        /// The peer.
        peer: SocketAddr,
        /// What it sent.
        bytes: &'a mut [u8],
    },
    /// It was for the client, or for nobody.
    Taken,
    /// Not TURN's: the server may also answer Binding requests, or be the peer itself.
    Other(&'a mut [u8]),
}
