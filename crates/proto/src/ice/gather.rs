//! Server-reflexive candidates (RFC 8445 §5.1.1.2).

use std::net::SocketAddr;
use std::time::Instant;

use twocan_wire::stun::{Builder, Class, Message, Method};

use super::agent::Agent;
use super::candidate::priority;
use super::check::{Purpose, Transaction};
use super::{Candidate, GatheringState, Kind, Route};

/// STUN servers asked; each costs a transaction per local address.
const SERVERS_MAX: usize = 8;

/// What gathering knows.
#[derive(Debug, Default)]
pub(super) struct Gatherer {
    servers: Vec<SocketAddr>,
    /// The driver has no further sockets or servers.
    pub(super) all_bases_known: bool,
}

impl Gatherer {
    pub(super) fn add_server(&mut self, server: SocketAddr) -> bool {
        let fits = self.servers.len() < SERVERS_MAX;
        if fits && !self.servers.contains(&server) {
            self.servers.push(server);
        }
        fits
    }
}

impl Agent {
    /// Asks every known server from a new base.
    pub(super) fn gather_from(&mut self, now: Instant, base: usize) {
        for server in self.gatherer.servers.clone() {
            self.gather(now, base, server);
        }
    }

    /// Asks one server from one base.
    pub(super) fn gather(&mut self, now: Instant, base: usize, server: SocketAddr) {
        let path = self.bases[base].path;
        if path.local.is_ipv4() != server.is_ipv4() || path.local.ip().is_loopback() {
            return;
        }
        let id = self.transaction_id();
        let mut bytes = Vec::with_capacity(28);
        Builder::new(&mut bytes, Class::Request, Method::BINDING, id).finish();
        let route = Route {
            path,
            remote: server,
        };
        let transaction = Transaction::new(None, Purpose::Gather { base }, route, self.role, bytes);
        self.begin(now, id, transaction);
    }

    /// A server answered. The answer has no integrity; it creates a candidate, which is checked.
    pub(super) fn gathered(&mut self, base: usize, message: &Message<'_>) {
        let Some(address) = message.mapped_address() else {
            self.counters.count("ice.stun_server_without_address");
            return;
        };
        let base = &self.bases[base];
        let local = base.path.local;
        if address == local {
            return;
        }
        let candidate = Candidate {
            kind: Kind::ServerReflexive,
            address,
            related: Some(local),
            priority: priority(Kind::ServerReflexive, base.local_preference),
            foundation: format!("s{}", base.foundation),
        };
        self.add_local(candidate);
    }

    pub(super) fn update_gathering(&mut self) {
        let asking = self
            .transactions
            .values()
            .any(|transaction| matches!(transaction.purpose, Purpose::Gather { .. }));
        if self.gatherer.all_bases_known && !asking {
            self.set_gathering(GatheringState::Complete);
        }
    }
}
