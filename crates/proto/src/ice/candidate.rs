//! Candidates and their priorities (RFC 8445 §5.1).

use std::net::{IpAddr, SocketAddr};

pub use twocan_wire::candidate::TcpType;

/// `RTCIceCandidateType`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// An address of this machine.
    Host,
    /// The address that a STUN server saw.
    ServerReflexive,
    /// The address that the peer saw, or that a check of the peer's came from.
    PeerReflexive,
    /// An address of a relay.
    Relayed,
}

impl Kind {
    /// RFC 8445 §5.1.2.2.
    const fn preference(self) -> u32 {
        match self {
            Self::Host => 126,
            Self::PeerReflexive => 110,
            Self::ServerReflexive => 100,
            Self::Relayed => 0,
        }
    }

    /// The same for TCP (RFC 6544 §4.2): less than anything direct over UDP, more than a relay.
    const fn preference_over_tcp(self) -> u32 {
        match self {
            Self::Host => 90,
            Self::PeerReflexive => 80,
            Self::ServerReflexive => 75,
            Self::Relayed => 0,
        }
    }

    /// `direction-pref` (RFC 6544 §4.2): a translator lets out who connects.
    const fn direction_preference(self, tcp: TcpType) -> u16 {
        match (self, tcp) {
            (Self::Host | Self::Relayed, TcpType::Active) => 6,
            (Self::Host | Self::Relayed, TcpType::Passive) => 4,
            (Self::Host | Self::Relayed, TcpType::SimultaneousOpen) => 2,
            (Self::ServerReflexive | Self::PeerReflexive, TcpType::SimultaneousOpen) => 6,
            (Self::ServerReflexive | Self::PeerReflexive, TcpType::Active) => 4,
            (Self::ServerReflexive | Self::PeerReflexive, TcpType::Passive) => 2,
        }
    }
}

/// `RTCIceServerTransportProtocol`: how a relay is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RelayProtocol {
    /// Datagrams.
    Udp,
    /// A stream.
    Tcp,
    /// A stream with TLS.
    Tls,
}

impl RelayProtocol {
    /// The W3C name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
        }
    }

    /// Added to the local preference of a relayed address: one reached by datagrams comes before
    /// any reached by a stream, whatever the family.
    pub(super) const fn preference(self) -> u16 {
        match self {
            Self::Udp => 0xa000,
            Self::Tcp => 0x5000,
            Self::Tls => 0,
        }
    }
}

/// A candidate of either side, for the one component that WebRTC has (RTP and RTCP are
/// multiplexed).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// How the address is known.
    pub kind: Kind,
    /// The address.
    pub address: SocketAddr,
    /// Who connects, of a candidate over TCP (RFC 6544 §4.5); `None` over UDP.
    pub tcp: Option<TcpType>,
    /// The base of a reflexive candidate.
    pub related: Option<SocketAddr>,
    /// RFC 8445 §5.1.2.
    pub priority: u32,
    /// Candidates that fail and succeed together share it (RFC 8445 §5.1.1.3).
    pub foundation: String,
    /// The STUN or TURN server that told us the address, for local candidates.
    pub server: Option<SocketAddr>,
}

impl Candidate {
    /// Whether it is this address of this transport protocol.
    pub(super) fn is_at(&self, address: SocketAddr, is_tcp: bool) -> bool {
        self.address == address && self.tcp.is_some() == is_tcp
    }
}

/// The recommended formula (RFC 8445 §5.1.2.1; RFC 6544 §4.2 for TCP, where the local preference
/// has 13 bits) for component 1.
pub(super) fn priority(kind: Kind, tcp: Option<TcpType>, local_preference: u16) -> u32 {
    let (preference, local) = match tcp {
        None => (kind.preference(), local_preference),
        Some(tcp) => (
            kind.preference_over_tcp(),
            (kind.direction_preference(tcp) << 13) | (local_preference & 0x1fff),
        ),
    };
    (preference << 24) | (u32::from(local) << 8) | 255
}

/// Prefers global IPv6, then IPv4, loopback last, and earlier interfaces over later ones
/// (RFC 8421 §4 in its simplest form: families alternate by interface order).
pub(super) fn local_preference(ip: IpAddr, index: usize) -> u16 {
    let class: u16 = match ip {
        ip if ip.is_loopback() => 0,
        IpAddr::V4(_) => 0x4000,
        IpAddr::V6(_) => 0x5000,
    };
    class + 0x0fff - index.min(0x0fff) as u16
}

/// The same in 13 bits, the `other-pref` of RFC 6544 §4.2.
pub(super) fn local_preference_over_tcp(ip: IpAddr, index: usize) -> u16 {
    let class = local_preference(ip, usize::MAX);
    (class >> 2) + 0x03ff - index.min(0x03ff) as u16
}

/// RFC 8445 §6.1.2.3.
pub(super) fn pair_priority(controlling: u32, controlled: u32) -> u64 {
    let (g, d) = (u64::from(controlling), u64::from(controlled));
    (g.min(d) << 32) + 2 * g.max(d) + u64::from(g > d)
}
