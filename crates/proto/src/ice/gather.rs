//! Server-reflexive and relayed candidates (RFC 8445 §5.1.1.2).

use std::net::SocketAddr;
use std::time::Instant;

use twocan_wire::stun::{Attribute, Builder, Class, Message, Method};

use super::agent::Agent;
use super::candidate::{local_preference_of_relay, priority};
use super::check::{Purpose, Transaction};
use super::{Candidate, Event, GatheringState, Kind, RelayProtocol, Route};
use crate::contract::Path;

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
    /// Takes an address that a relay lent us as a candidate. `path` is one that no socket has:
    /// what is sent on it goes through the relay, and what the relay hands over comes in on it.
    /// `related` is our address as the relay sees it, where that may be told; `server` the relay.
    pub fn add_relay(
        &mut self,
        now: Instant,
        path: Path,
        related: Option<SocketAddr>,
        protocol: RelayProtocol,
        server: SocketAddr,
    ) {
        let preference = local_preference_of_relay(path.local.ip(), self.bases.len(), protocol);
        let Some(index) = self.push_base(path, Kind::Relayed, None, preference) else {
            return;
        };
        self.add_local(Candidate {
            kind: Kind::Relayed,
            address: path.local,
            tcp: None,
            related,
            priority: priority(Kind::Relayed, None, preference),
            foundation: self.bases[index].foundation.clone(),
            server: Some(server),
        });
        self.pair_base(index);
        self.settle(now);
    }

    /// Takes the address of `base` as a relay sees it as a server-reflexive candidate.
    pub fn add_reflexive(
        &mut self,
        now: Instant,
        base: Path,
        address: SocketAddr,
        server: SocketAddr,
    ) {
        if let Some(base) = self.bases.iter().position(|known| known.path == base) {
            self.reflect(base, address, server);
            self.settle(now);
        }
    }

    /// Nothing will pass on this route: a relay refuses the remote address.
    pub fn refuse_route(&mut self, now: Instant, route: Route) {
        if let Some(pair) = self.pair_on(route) {
            self.counters.count("ice.refused_by_relay");
            self.transactions.retain(|_, own| own.pair != Some(pair));
            self.fail(pair);
            self.settle(now);
        }
    }

    /// Asks every known server from a new base.
    pub(super) fn gather_from(&mut self, now: Instant, base: usize) {
        for server in self.gatherer.servers.clone() {
            self.gather(now, base, server);
        }
    }

    /// Asks every known server again, unless that is under way.
    pub(super) fn gather_anew(&mut self, now: Instant, base: usize) {
        let is_asking = |own: &Transaction| matches!(own.purpose, Purpose::Gather { base: asking, .. } if asking == base);
        if !self.transactions.values().any(|own| is_asking(own)) {
            for server in self.gatherer.servers.clone() {
                self.ask(now, base, server, true);
            }
        }
    }

    /// Asks a server for the address of `base` once more; its silence is no news.
    pub fn ask_address(&mut self, now: Instant, base: Path, server: SocketAddr) {
        if let Some(base) = self.bases.iter().position(|known| known.path == base) {
            self.ask(now, base, server, true);
            self.settle(now);
        }
    }

    /// Asks one server from one base.
    pub(super) fn gather(&mut self, now: Instant, base: usize, server: SocketAddr) {
        self.ask(now, base, server, false);
    }

    fn ask(&mut self, now: Instant, base: usize, server: SocketAddr, anew: bool) {
        let path = self.bases[base].path;
        let reachable = path.local.is_ipv4() == server.is_ipv4()
            && path.local.ip().is_loopback() == server.ip().is_loopback();
        if !reachable || self.bases[base].kind == Kind::Relayed || self.bases[base].tcp.is_some() {
            return;
        }
        let id = self.transaction_id();
        let mut bytes = Vec::with_capacity(28);
        Builder::new(&mut bytes, Class::Request, Method::BINDING, id).finish();
        let route = Route {
            path,
            remote: server,
        };
        let purpose = Purpose::Gather { base, anew };
        let transaction = Transaction::new(None, purpose, route, self.role, bytes);
        self.begin(now, id, transaction);
    }

    /// A server answered. The answer has no integrity; it creates a candidate, which is checked.
    pub(super) fn gathered(&mut self, base: usize, server: SocketAddr, message: &Message<'_>) {
        match message.mapped_address() {
            Some(address) => self.reflect(base, address, server),
            None => self.counters.count("ice.stun_server_without_address"),
        }
    }

    /// A server refused to answer.
    pub(super) fn gather_refused(&mut self, asked: &Transaction, message: &Message<'_>) {
        self.counters.count("ice.stun_server_refused");
        let error = message.attributes().find_map(|attribute| match attribute {
            Attribute::ErrorCode(error) => Some((error.code, error.reason.to_owned())),
            _ => None,
        });
        self.events.push_back(Event::ServerFailed {
            local: asked.route.path.local,
            server: asked.route.remote,
            refusal: error,
        });
    }

    /// A server never answered.
    pub(super) fn gather_unanswered(&mut self, route: Route) {
        self.counters.count("ice.stun_server_silent");
        self.events.push_back(Event::ServerFailed {
            local: route.path.local,
            server: route.remote,
            refusal: None,
        });
    }

    fn reflect(&mut self, base: usize, address: SocketAddr, server: SocketAddr) {
        let base = &self.bases[base];
        let local = base.path.local;
        // A server that sees another address than before is right, and the one before is gone.
        let is_old = |own: &Candidate| {
            let is_its = own.kind == Kind::ServerReflexive && own.server == Some(server);
            is_its && own.related == Some(local) && own.address != address
        };
        self.locals.retain(|own| !is_old(own));
        let known = |own: &Candidate| own.kind == Kind::Host && own.is_at(address, false);
        let same = |own: &Candidate| own.address == address && own.related == Some(local);
        let is_told =
            !self.config.hide_host_addresses && (address == local || self.locals.iter().any(known));
        if is_told || self.locals.iter().any(same) {
            return;
        }
        let candidate = Candidate {
            kind: Kind::ServerReflexive,
            address,
            tcp: None,
            related: Some(local),
            priority: priority(Kind::ServerReflexive, None, base.local_preference),
            foundation: format!("s{}", base.foundation),
            server: Some(server),
        };
        self.add_local(candidate);
    }

    pub(super) fn update_gathering(&mut self) {
        let asking = self
            .transactions
            .values()
            .any(|transaction| matches!(transaction.purpose, Purpose::Gather { anew: false, .. }));
        if self.gatherer.all_bases_known && !asking {
            self.set_gathering(GatheringState::Complete);
        }
    }
}
