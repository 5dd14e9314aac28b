//! STUN and TURN servers that are named without a port: what the domain name system is asked, and
//! the order in which what it says is tried (RFC 5928 §3, RFC 8489 §8.1, RFC 2782, RFC 3958).
//!
//! Everything that may be needed is asked side by side, and addresses of the name itself among it:
//! once they are there, records of services have [`SERVICES_PATIENCE`] to appear, so that a
//! resolver that drops questions of that kind costs no more.

mod machine;
mod order;
#[cfg(test)]
mod tests;

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::ice::RelayProtocol;
pub use machine::Locator;

/// How long records of services may take after the addresses of the name itself are known.
pub const SERVICES_PATIENCE: Duration = Duration::from_millis(250);

/// How long all of it may take.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// Questions of one search; what further ones would tell counts as nothing.
pub const QUESTIONS_MAX: usize = 24;

/// Records that are taken from one answer.
pub const RECORDS_MAX: usize = 8;

/// Addresses that are found at most.
pub const FOUND_MAX: usize = 16;

/// A server that is named without a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// The name. Not an address in text: there is nothing to look up for those.
    pub host: String,
    /// What is looked for.
    pub kind: Kind,
}

/// What a URL says of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `stun:`
    Stun,
    /// `turn:` and `turns:`
    Turn {
        /// `turns:`
        is_secure: bool,
        /// `?transport=`
        transport: Option<Transport>,
    },
}

/// `?transport=` of a URL (RFC 7065 §3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// `udp`
    Udp,
    /// `tcp`
    Tcp,
}

/// The beginning of the URL: `turn:example.org?transport=tcp`.
impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, query) = match self.kind {
            Kind::Stun => ("stun", ""),
            Kind::Turn {
                is_secure,
                transport,
            } => (
                if is_secure { "turns" } else { "turn" },
                match transport {
                    None => "",
                    Some(Transport::Udp) => "?transport=udp",
                    Some(Transport::Tcp) => "?transport=tcp",
                },
            ),
        };
        write!(f, "{scheme}:{}{query}", self.host)
    }
}

/// What the domain name system is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Question {
    /// The addresses of a name, A and AAAA, as the system resolves them.
    Addresses(String),
    /// SRV records of a name.
    Srv(String),
    /// NAPTR records of a name.
    Naptr(String),
}

/// What it says; nothing where there is nothing, and where it could not be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// To [`Question::Addresses`].
    Addresses(Vec<IpAddr>),
    /// To [`Question::Srv`].
    Srv(Vec<Srv>),
    /// To [`Question::Naptr`].
    Naptr(Vec<Naptr>),
}

/// An SRV record (RFC 2782).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Srv {
    /// Lower ones first.
    pub priority: u16,
    /// The share among those of a priority.
    pub weight: u16,
    /// The port.
    pub port: u16,
    /// The host; `.` where the service is decidedly not there.
    pub target: String,
}

/// A NAPTR record (RFC 3403 §4.1) without its regular expression: S-NAPTR (RFC 3958 §2.2) has none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Naptr {
    /// Lower ones first.
    pub order: u16,
    /// Among those of an order lower ones first.
    pub preference: u16,
    /// What the replacement is.
    pub flags: String,
    /// `RELAY:turn.udp`, and the like.
    pub services: String,
    /// The next name.
    pub replacement: String,
}

/// Where a server is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Located {
    /// The address.
    pub address: SocketAddr,
    /// How it is reached.
    pub protocol: RelayProtocol,
}
