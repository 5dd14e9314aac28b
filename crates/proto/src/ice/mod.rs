//! Interactive connectivity establishment (RFC 8445), trickled (RFC 8838), with consent (RFC 7675).
//!
//! 1. The driver binds a socket per local address: each is a host candidate, and each asks the
//!    STUN servers for its server-reflexive address (`gather`). An address that a relay lent us
//!    is a base of its own, whose path the parent maps to the relay.
//! 2. Every remote candidate is paired with every local base of its family; pairs are checked
//!    best first, one each `Ta` (`check`, `pair`).
//! 3. A request from the peer answers itself and triggers a check of the same pair; an address
//!    never heard of becomes a peer-reflexive candidate.
//! 4. The first valid pair carries data at once. The controlling side nominates the best valid
//!    pair when nothing better can still come, or after a short patience.
//! 5. The selected pair is checked every 4 to 6 s. After 30 s without an answer consent is gone
//!    and sending stops (`consent`).
//! 6. A restart changes the credentials; the old path carries data until the new one is valid.
//!
//! Over TCP (`tcp`) each stream is a path of its own, with one remote address. Who listens waits
//! for checks on the streams it accepts; who connects does so when the pair's turn has come.
//!
//! Names are not resolved here: `peer` does that and adds addresses.

mod agent;
mod candidate;
mod check;
mod consent;
mod doubt;
mod gather;
mod lite;
mod named;
mod pair;
mod request;
mod selected;
mod tcp;
#[cfg(test)]
mod tests;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

pub use agent::{Agent, Transmit};
pub use candidate::{Candidate, Kind, RelayProtocol, TcpType};
pub use pair::{PairState, PairStats};
pub use selected::CandidatePair;

use crate::contract::Path;
use crate::crypto::HmacSha1;

/// Which side decides (RFC 8445 §4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Nominates.
    Controlling,
    /// Follows.
    Controlled,
}

impl Role {
    /// The W3C name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Controlling => "controlling",
            Self::Controlled => "controlled",
        }
    }
}

/// `RTCIceConnectionState` of W3C webrtc-pc §5.6.4, without `closed`, which is the peer's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Nothing to check yet.
    New,
    /// Checking, with no valid pair so far.
    Checking,
    /// A pair is valid.
    Connected,
    /// A pair is selected, and no further candidates or checks are to come.
    Completed,
    /// Nothing has arrived on the path for [`Config::disconnected_after`].
    Disconnected,
    /// All pairs failed, or consent expired.
    Failed,
}

impl State {
    /// The W3C name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Checking => "checking",
            Self::Connected => "connected",
            Self::Completed => "completed",
            Self::Disconnected => "disconnected",
            Self::Failed => "failed",
        }
    }
}

/// `RTCIceGatheringState` of W3C webrtc-pc §5.6.3.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GatheringState {
    /// Not asked to gather.
    New,
    /// Sockets or STUN servers are still awaited.
    Gathering,
    /// All local candidates are known.
    Complete,
}

impl GatheringState {
    /// The W3C name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Gathering => "gathering",
            Self::Complete => "complete",
        }
    }
}

/// Username fragment and password of one side for one generation (RFC 8445 §5.3).
#[derive(Clone)]
pub struct Credentials {
    /// 4 to 256 ICE characters.
    pub username_fragment: String,
    /// 22 to 256 ICE characters.
    pub password: String,
    /// A kilobyte of expanded key.
    key: Box<HmacSha1>,
}

impl Credentials {
    /// From their texts.
    pub fn new(username_fragment: String, password: String) -> Self {
        let key = Box::new(HmacSha1::new(password.as_bytes()));
        Self {
            username_fragment,
            password,
            key,
        }
    }

    /// Fresh ones: 8 and 24 characters, 48 and 144 random bits (RFC 8445 §5.3 asks for 24 and 128).
    pub fn random(random: &mut crate::random::Random) -> Self {
        Self::new(random.ice_chars(8), random.ice_chars(24))
    }
}

/// Shows the username fragment alone: a password never reaches a log.
impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials")
            .field("username_fragment", &self.username_fragment)
            .finish_non_exhaustive()
    }
}

/// Settings of an [`Agent`].
#[derive(Debug, Clone)]
pub struct Config {
    /// Time between two new checks, `Ta`. Default 20 ms; RFC 8445 §14.2 allows no less than 5 ms.
    pub check_interval: Duration,
    /// First retransmission of a check; doubles each time. Default 200 ms.
    ///
    /// RFC 8445 §14.3 asks for 500 ms or more where the path is unknown. 200 ms halves the time
    /// to connect under loss and sends at most two requests more in the first second.
    pub retransmit_after: Duration,
    /// Requests of one check before it fails. Default 7 (RFC 8489 §6.2.1).
    pub attempts_max: u32,
    /// How long pairs may still come before an agent without a valid one fails, counted from the
    /// first check. Default 39.5 s (RFC 8863 §4).
    pub patience: Duration,
    /// Silence on the path after which the state is [`State::Disconnected`]. Default 8 s: one
    /// lost consent check of at most 6 s, and time for the answer.
    pub disconnected_after: Duration,
    /// What addresses of ours are to others, behind a translator that gives each one of its own:
    /// ours, and the other, of the same family. Host candidates then have the other. Default none.
    pub external_addresses: Vec<(IpAddr, IpAddr)>,
    /// Whether the peer is not to be told the addresses of this host
    /// (draft-ietf-mmusic-mdns-ice-candidates): a server-reflexive candidate is told even where its
    /// address is that of the host, which then is no secret (§3.1.2.2). Default no.
    pub hide_host_addresses: bool,
    /// Whether we are a lite agent (RFC 8445 §2.5), for a host that everybody reaches at its own
    /// addresses: it sends no checks, answers those of the peer and follows its nominations.
    /// Default no.
    pub lite: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            check_interval: Duration::from_millis(20),
            retransmit_after: Duration::from_millis(200),
            attempts_max: 7,
            patience: Duration::from_millis(39_500),
            disconnected_after: Duration::from_secs(8),
            external_addresses: Vec::new(),
            hide_host_addresses: false,
            lite: false,
        }
    }
}

/// What the agent reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A new local candidate, to be signaled.
    LocalCandidate(Candidate),
    /// Gathering went on.
    Gathering(GatheringState),
    /// A STUN server did not tell our address.
    ServerFailed {
        /// Asked from here.
        local: SocketAddr,
        /// The server.
        server: SocketAddr,
        /// What it answered, as code and text; `None` where it did not answer.
        refusal: Option<(u16, String)>,
    },
    /// The connection state changed.
    State(State),
    /// Data goes over another pair from here on ([`Agent::selected_pair`]); `None` where no way is
    /// left.
    SelectedPair(Option<Route>),
    /// The selected pair is in doubt and has not answered at once: relays may have lost us, too.
    Doubt,
    /// A stream is wanted from any port of the local address ([`Agent::stream_opened`],
    /// [`Agent::stream_failed`]).
    Open(Route),
    /// A stream is of no more use.
    Close(Path),
}

/// A way to the peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Route {
    /// The local end.
    pub path: Path,
    /// The remote end.
    pub remote: SocketAddr,
}
