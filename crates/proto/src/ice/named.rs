//! Candidates by names that a network's own multicast DNS resolves, and addresses that are not told
//! (draft-ietf-mmusic-mdns-ice-candidates).

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use super::agent::Agent;
use super::{Candidate, Kind};

impl Agent {
    /// Adds a candidate of the peer's that it told by a name. It is not paired with our relayed
    /// candidates: the relay would learn an address that the peer does not tell (draft §3.3.2).
    pub fn add_named_candidate(&mut self, now: Instant, candidate: Candidate) {
        let address = candidate.address;
        let is_told = self.remotes.iter().any(|own| own.address == address);
        if !is_told && !self.named.contains(&address) {
            self.named.push(address);
        }
        self.take_remote(now, candidate);
        // One that was not taken is not remembered either.
        let remotes = &self.remotes;
        self.named
            .retain(|named| remotes.iter().any(|own| own.address == *named));
    }

    /// The peer tells an address itself.
    pub(super) fn note_told(&mut self, address: SocketAddr) {
        let Some(place) = self.named.iter().position(|own| *own == address) else {
            return;
        };
        self.named.swap_remove(place);
        for base in 0..self.bases.len() {
            for remote in 0..self.remotes.len() {
                if self.remotes[remote].address == address {
                    self.add_pair(base, remote);
                }
            }
        }
    }

    /// Whether a relay is not to hear of a remote candidate.
    pub(super) fn is_kept_from(&self, base: usize, remote: usize) -> bool {
        let address = self.remotes[remote].address;
        self.bases[base].kind == Kind::Relayed && self.named.contains(&address)
    }

    /// As [`super::Config::hide_host_addresses`].
    pub fn hides_host_addresses(&self) -> bool {
        self.config.hide_host_addresses
    }

    /// Whether this is an address of a translator's in front of us
    /// ([`super::Config::external_addresses`]).
    pub fn is_external(&self, ip: IpAddr) -> bool {
        let mut external = self.config.external_addresses.iter();
        external.any(|(_, other)| *other == ip)
    }
}
