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

/// That of an address of a relay: one reached by datagrams comes before any reached by a stream,
/// whatever the family. All are below those of hosts: a check from a relay takes it for what it says
/// of itself (RFC 8445 §7.1.1), and where a translator hides that it comes from one, nothing else
/// tells the peer.
pub(super) fn local_preference_of_relay(ip: IpAddr, index: usize, protocol: RelayProtocol) -> u16 {
    let class: u16 = match protocol {
        RelayProtocol::Udp => 0x3000,
        RelayProtocol::Tcp => 0x2000,
        RelayProtocol::Tls => 0x1000,
    };
    let family = if ip.is_ipv6() { 0x0800 } else { 0 };
    class + family + 0x07ff - index.min(0x07ff) as u16
}

/// That of a host's in 13 bits, the `other-pref` of RFC 6544 §4.2.
pub(super) fn local_preference_over_tcp(ip: IpAddr, index: usize) -> u16 {
    let class = local_preference(ip, usize::MAX);
    (class >> 2) + 0x03ff - index.min(0x03ff) as u16
}

/// RFC 8445 §6.1.2.3.
pub(super) fn pair_priority(controlling: u32, controlled: u32) -> u64 {
    let (g, d) = (u64::from(controlling), u64::from(controlled));
    (g.min(d) << 32) + 2 * g.max(d) + u64::from(g > d)
}

/// Whether a peer that told the address `told` of IPv4 is seen at `seen` of IPv6 behind a NAT64 with a
/// prefix of 96 bits, which is the longest and the usual one (RFC 6052 §2.2).
pub(super) fn is_translation(seen: SocketAddr, told: SocketAddr) -> bool {
    match (seen.ip(), told.ip()) {
        (IpAddr::V6(seen_ip), IpAddr::V4(told_ip)) => {
            seen.port() == told.port() && seen_ip.octets().ends_with(&told_ip.octets())
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relay_never_looks_better_than_a_host() {
        let ips = ["192.0.2.1", "2001:db8::1"].map(|own| own.parse().unwrap());
        let hosts = ips.map(|ip| local_preference(ip, usize::MAX));
        let relays = [RelayProtocol::Udp, RelayProtocol::Tcp, RelayProtocol::Tls]
            .map(|protocol| ips.map(|ip| local_preference_of_relay(ip, 0, protocol)));
        assert!(relays.as_flattened().iter().max() < hosts.iter().min());
        // A protocol comes before a family, and a family before an interface.
        let [udp, tcp, tls] = relays;
        assert!(udp[1] > udp[0] && udp[0] > tcp[1] && tcp[0] > tls[1]);
        let last = local_preference_of_relay(ips[0], usize::MAX, RelayProtocol::Udp);
        assert!(last < udp[0] && last > tcp[1]);
    }

    #[test]
    fn a_translation_keeps_the_port_and_the_last_four_bytes() {
        let address = |text: &str| text.parse::<SocketAddr>().unwrap();
        let told = address("192.0.2.33:4000");
        for (seen, is) in [
            ("[64:ff9b::c000:221]:4000", true),
            ("[2001:db8:64::c000:221]:4000", true),
            ("[64:ff9b::c000:221]:4001", false),
            ("[64:ff9b::c000:222]:4000", false),
            ("192.0.2.33:4000", false),
        ] {
            assert_eq!(is_translation(address(seen), told), is, "{seen}");
        }
    }
}
