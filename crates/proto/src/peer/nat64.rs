//! Networks with IPv6 alone: what has an address of IPv4, a server or a candidate of the other side,
//! is reached through the network's NAT64, whose prefix the domain name system tells (RFC 7050).

use std::net::{IpAddr, SocketAddr};

use twocan_wire::nat64::{NAME, Prefix};
use twocan_wire::scope::Scope;

use super::machine::{Peer, Wanted};
use crate::contract::Lookup;
use crate::ice;
use crate::time::Now;

/// Servers given by an address of IPv4 that are remembered for a network without it.
const LITERALS_MAX: usize = 16;

/// What is known of a NAT64.
#[derive(Debug, Default)]
pub(super) struct Nat64 {
    prefixes: Vec<Prefix>,
    /// Servers that have been asked by their address of IPv4 alone.
    literals: Vec<Wanted>,
}

impl Peer {
    /// Whether this host has IPv6 and no IPv4.
    fn has_v6_alone(&self) -> bool {
        let mut all = self.interfaces.iter();
        !self.interfaces.is_empty() && all.all(IpAddr::is_ipv6)
    }

    /// Asks for the prefix, where it is of use; of another network anew.
    pub(super) fn seek_nat64(&mut self) {
        if self.gathering && !self.closed && self.has_v6_alone() {
            self.look_up(NAME.to_owned(), Lookup::Dns, Wanted::Nat64);
        }
    }

    /// Adds a server that is given by its address, as the network reaches it.
    pub(super) fn add_literal(&mut self, now: Now, ip: IpAddr, server: Wanted) {
        if ip.is_ipv4() && self.has_v6_alone() {
            return self.look_up(NAME.to_owned(), Lookup::Dns, server);
        }
        if ip.is_ipv4() && self.nat64.literals.len() < LITERALS_MAX {
            self.nat64.literals.push(server.clone());
        }
        self.add_at(now, server, &[ip]);
    }

    fn add_at(&mut self, now: Now, server: Wanted, addresses: &[IpAddr]) {
        match server {
            Wanted::StunServer(server) => self.add_stun_server(now, &server, addresses),
            Wanted::TurnServer(server) => self.add_turn_server(now, *server, addresses),
            Wanted::Candidate(_) | Wanted::Nat64 => {}
        }
    }

    /// The addresses of [`NAME`] are there, or not to be had.
    pub(super) fn learn_nat64(&mut self, now: Now, addresses: &[IpAddr]) {
        let v6 = addresses.iter().filter_map(|ip| match ip {
            IpAddr::V6(ip) => Some(*ip),
            IpAddr::V4(_) => None,
        });
        self.nat64.prefixes = Prefix::find(v6);
        for server in self.take_lookups(NAME) {
            if let Some(ip) = literal(&server) {
                let mut all = vec![ip];
                all.extend(self.synthesised(ip));
                self.add_at(now, server, &all);
            }
        }
        if self.nat64.prefixes.is_empty() || !self.has_v6_alone() {
            return;
        }
        for server in std::mem::take(&mut self.nat64.literals) {
            if let Some(ip) = literal(&server) {
                let all: Vec<IpAddr> = self.synthesised(ip).collect();
                self.add_at(now, server, &all);
            }
        }
        for told in self.transport.ice.remote_candidates().to_vec() {
            self.add_translated(now, &told);
        }
    }

    /// What the network makes of an address of IPv4.
    fn synthesised(&self, ip: IpAddr) -> impl Iterator<Item = IpAddr> + use<> {
        let prefixes = match self.has_v6_alone() {
            true => self.nat64.prefixes.clone(),
            false => Vec::new(),
        };
        prefixes.into_iter().filter_map(move |prefix| match ip {
            IpAddr::V4(ip) => Some(prefix.synthesise(ip).into()),
            IpAddr::V6(_) => None,
        })
    }

    /// Adds a candidate of the other side as the network reaches it. What is near somebody else is
    /// not to be had through a NAT64 (RFC 6052 §3.1), and no relay has a use for an address of our
    /// network's own making.
    pub(super) fn add_translated(&mut self, now: Now, told: &ice::Candidate) {
        if Scope::of(told.address.ip()).is_near() {
            return;
        }
        for ip in self.synthesised(told.address.ip()) {
            let candidate = ice::Candidate {
                address: SocketAddr::new(ip, told.address.port()),
                ..told.clone()
            };
            let ice = &mut self.transport.ice;
            ice.add_named_candidate(now.monotonic, candidate);
        }
    }
}

/// The address by which a server is given.
fn literal(server: &Wanted) -> Option<IpAddr> {
    let host = match server {
        Wanted::StunServer(server) => &server.host,
        Wanted::TurnServer(server) => &server.host,
        Wanted::Candidate(_) | Wanted::Nat64 => return None,
    };
    host.parse().ok()
}
