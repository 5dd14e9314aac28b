//! Names in place of our own addresses, which multicast DNS resolves on our network and nowhere else
//! (draft-ietf-mmusic-mdns-ice-candidates).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use twocan_wire::candidate::{Candidate, CandidateAddress};

use super::describe::{from_wire, to_wire};
use super::machine::Peer;
use crate::contract::Request;
use crate::ice;
use crate::random::Random;
use crate::time::Now;

/// The port of an address that is not told (draft §3.1.2.2).
const UNTOLD_PORT: u16 = 9;

/// The names of our addresses, for as long as those are there; a few.
#[derive(Debug, Default)]
pub(super) struct Names(Vec<(IpAddr, String)>);

impl Names {
    fn of(&self, ip: IpAddr) -> Option<&String> {
        let known = self.0.iter().find(|(own, _)| *own == ip);
        known.map(|(_, name)| name)
    }
}

impl Peer {
    /// Has a name answered for, where a candidate that is to be told is at an address that is not.
    pub(super) fn name_address(&mut self, event: &ice::Event) {
        let ice::Event::LocalCandidate(candidate) = event else {
            return;
        };
        let ip = candidate.address.ip();
        if !self.is_hidden(candidate) || self.names.of(ip).is_some() {
            return;
        }
        let name = random_name(&mut self.random);
        self.names.0.push((ip, name.clone()));
        self.requests.push_back(Request::Announce { name, ip });
    }

    /// An address is gone, and with it its name.
    pub(super) fn forget_name(&mut self, ip: IpAddr) {
        self.withdraw(|own| own == ip);
    }

    /// All is over.
    pub(super) fn forget_names(&mut self) {
        self.withdraw(|_| true);
    }

    fn withdraw(&mut self, is_gone: impl Fn(IpAddr) -> bool) {
        for (_, name) in self.names.0.extract_if(.., |(ip, _)| is_gone(*ip)) {
            self.requests.push_back(Request::Withdraw { name });
        }
    }

    /// A local candidate as the other side is told of it.
    pub(super) fn told(&self, candidate: &ice::Candidate) -> Option<Candidate> {
        let mut told = to_wire(candidate);
        if !self.transport.ice.hides_host_addresses() {
            return Some(told);
        }
        if self.is_hidden(candidate) {
            // One without a name has not been told yet, or its address has gone.
            let name = self.names.of(candidate.address.ip())?;
            told.address = CandidateAddress::Name(name.clone());
        }
        // What a server sees may be an address of ours.
        if told.related_address.is_some() {
            told.related_address = Some(CandidateAddress::Ip(match candidate.address {
                SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
                SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
            }));
            told.related_port = Some(UNTOLD_PORT);
        }
        Some(told)
    }

    /// A candidate of the other side's, whose name is at `ip`.
    pub(super) fn add_named(&mut self, now: Now, candidate: &Candidate, ip: IpAddr) {
        if let Some(candidate) = from_wire(candidate, ip) {
            self.transport
                .ice
                .add_named_candidate(now.monotonic, candidate);
        }
    }

    fn is_hidden(&self, candidate: &ice::Candidate) -> bool {
        let ice = &self.transport.ice;
        let is_ours = candidate.kind == ice::Kind::Host;
        ice.hides_host_addresses() && is_ours && !ice.is_external(candidate.address.ip())
    }
}

/// A random UUID (RFC 9562 §5.4) in `.local` (draft §3.1.1).
fn random_name(random: &mut Random) -> String {
    let mut bytes = [0; 16];
    random.fill(&mut bytes);
    let bits = u128::from_be_bytes(bytes);
    let versioned = bits & !(0xf << 76) | 4 << 76;
    let digits = format!("{:032x}", versioned & !(3 << 62) | 2 << 62);
    let (first, rest) = digits.split_at(8);
    let (second, rest) = rest.split_at(4);
    let (third, rest) = rest.split_at(4);
    let (fourth, last) = rest.split_at(4);
    format!("{first}-{second}-{third}-{fourth}-{last}.local")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_uuids_of_version_4_and_no_two_are_the_same() {
        let mut random = Random::new([3; 32]);
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..100 {
            let name = random_name(&mut random);
            let uuid = name.strip_suffix(".local").unwrap();
            let groups: Vec<&str> = uuid.split('-').collect();
            let lens: Vec<usize> = groups.iter().map(|group| group.len()).collect();
            assert_eq!(lens, [8, 4, 4, 4, 12], "{name}");
            let is_hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
            assert!(groups.concat().bytes().all(is_hex), "{name}");
            assert!(groups[2].starts_with('4'), "{name}");
            assert!(groups[3].starts_with(['8', '9', 'a', 'b']), "{name}");
            assert!(seen.insert(name));
        }
    }
}
