//! Addresses on relays: what ICE takes for a path of its own goes through a TURN server.
//!
//! A relayed address has a [`SocketId`] that no socket has. What is sent on such a path is wrapped
//! and goes to the server on a real one; what the server hands over is unwrapped and taken as if
//! it had come in on the relayed address. ICE, DTLS and SRTP see an ordinary path.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Instant;

use super::outlet::{Outlet, destination};
use super::transport::Transport;
use super::{Event, IceCandidateError, TurnServer};
use crate::contract::{Datagram, Destination, Path, Security, SocketId};
use crate::ice::{RelayProtocol, Route};
use crate::random::Random;
use crate::time::{Deadline, Now};
use crate::turn::client::{self, Client, Failure, Received, Settings};

/// Allocations at a time: one for each pair of server and local address. Those that have ended make
/// way; further ones are not asked for and counted.
const RELAYS_MAX: usize = 16;

/// Addresses of one server that are tried one after the other.
const ADDRESSES_MAX: usize = 8;

/// Relayed paths count down from here, sockets count up.
const FIRST_RELAYED: u32 = u32::MAX;

/// A server whose addresses are known.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) settings: TurnServer,
    addresses: Vec<SocketAddr>,
    /// That it cannot be reached was said.
    is_silent: bool,
}

/// One server, asked from one local address.
#[derive(Debug)]
pub(super) struct Relay {
    pub(super) server: usize,
    /// Where it is asked from: a socket of ours, or, with a stream, the stream.
    pub(super) path: Path,
    /// The local end whose address it uses.
    pub(super) base: Path,
    /// The stream to the server, once it is named; `Some(None)` until then.
    pub(super) stream: Option<Option<SocketId>>,
    pub(super) client: Client,
    /// Addresses of the server not tried yet.
    untried: Vec<SocketAddr>,
    /// The relayed addresses, one of each family.
    pub(super) lent: Vec<Path>,
    pub(super) renewals: u32,
    /// When the allocation was made.
    pub(super) made_at: Option<Instant>,
    /// When a server is asked again that had no room.
    pub(super) retry_at: Option<Instant>,
    pub(super) retries: u32,
    /// It is asked from a second port, because the first is taken there.
    pub(super) has_moved: bool,
    /// That port is not there yet.
    is_waiting: bool,
    /// Since when it has had no local end, and its allocation waits to be taken along to another;
    /// what is sent meanwhile goes nowhere.
    pub(super) adrift_since: Option<Instant>,
    /// When a stream that had ended was last opened again.
    pub(super) returned_at: Option<Instant>,
    /// It has ended, and nothing more is tried.
    pub(super) is_over: bool,
    /// The beginning of a message, of which the rest has not arrived on the stream.
    pub(super) partial: Vec<u8>,
}

impl Relay {
    /// Whether datagrams on this path are its own.
    pub(super) fn is_at(&self, path: Path, server: SocketAddr) -> bool {
        let is_there = !self.is_over && !self.is_waiting && self.adrift_since.is_none();
        is_there && self.stream.is_none() && self.path == path && self.client.server() == server
    }
}

/// What a relay needs of the driver.
#[derive(Debug)]
pub(super) enum Wanted {
    /// A UDP socket of its own.
    Socket { relay: usize, ip: IpAddr },
    /// A stream to the server.
    Stream {
        relay: usize,
        local: IpAddr,
        remote: SocketAddr,
        security: Security,
    },
    /// The end of one.
    Close(SocketId),
}

impl Wanted {
    pub(super) fn is_for(&self, index: usize) -> bool {
        match self {
            Self::Socket { relay, .. } | Self::Stream { relay, .. } => *relay == index,
            Self::Close(_) => false,
        }
    }
}

/// All relays of one peer.
#[derive(Debug)]
pub(super) struct Relays {
    pub(super) servers: Vec<Server>,
    pub(super) relays: Vec<Relay>,
    /// Real local ends.
    pub(super) paths: Vec<Path>,
    next_socket: u32,
    random: Random,
    pub(super) wanted: Vec<Wanted>,
}

impl Relays {
    pub(super) fn new(random: Random) -> Self {
        Self {
            servers: Vec::new(),
            relays: Vec::new(),
            paths: Vec::new(),
            next_socket: FIRST_RELAYED,
            random,
            wanted: Vec::new(),
        }
    }

    /// Whether a relay's answer is still awaited.
    pub(super) fn is_pending(&self) -> bool {
        let mut relays = self.relays.iter();
        relays.any(|relay| !relay.is_over && relay.client.is_pending())
    }

    /// Whether a relay has not yet been given back.
    pub(super) fn is_releasing(&self) -> bool {
        self.relays.iter().any(|relay| relay.client.is_releasing())
    }

    /// The server that lent a relayed address.
    pub(super) fn lender(&self, address: SocketAddr) -> Option<&TurnServer> {
        let has_lent = |own: &&Relay| own.lent.iter().any(|path| path.local == address);
        let relay = self.relays.iter().find(has_lent)?;
        Some(&self.servers.get(relay.server)?.settings)
    }

    /// The server at `address` that is reached by datagrams: others say nothing of our address.
    pub(super) fn server_at(&self, address: SocketAddr) -> Option<&TurnServer> {
        let relays = self.relays.iter();
        let mut servers = relays
            .filter(|own| own.client.server() == address)
            .filter_map(|own| Some(&self.servers.get(own.server)?.settings));
        servers.find(|own| own.protocol == RelayProtocol::Udp)
    }

    /// Whether a relay is asked already as this one would be: the server could not tell them apart.
    fn is_taken(&self, index: usize) -> bool {
        let Some(relay) = self.relays.get(index) else {
            return false;
        };
        let (path, server) = (relay.path, relay.client.server());
        let mut others = self.relays.iter().enumerate();
        others.any(|(other, own)| other != index && own.is_at(path, server))
    }

    /// Has a relay asked from a socket of its own.
    fn move_out(&mut self, index: usize) {
        if let Some(relay) = self.relays.get_mut(index) {
            relay.has_moved = true;
            relay.is_waiting = true;
            let ip = relay.base.local.ip();
            self.wanted.push(Wanted::Socket { relay: index, ip });
        }
    }

    /// What is needed of the driver.
    pub(super) fn take_wanted(&mut self) -> Vec<Wanted> {
        std::mem::take(&mut self.wanted)
    }

    pub(super) fn deadline(&self) -> Option<Deadline> {
        let deadlines = self.relays.iter().flat_map(|own| {
            let retry = own.retry_at.map(|at| Deadline::new(at, "peer.relay_retry"));
            [own.client.poll_timeout(), retry, own.adrift_deadline()]
        });
        deadlines.fold(None, Deadline::earlier)
    }

    pub(super) fn add_counters(&self, all: &mut crate::counters::Counters) {
        for relay in &self.relays {
            all.merge(relay.client.counters());
        }
    }

    pub(super) fn client(&mut self, server: usize, address: SocketAddr) -> Option<Client> {
        let settings = &self.servers.get(server)?.settings;
        let settings = Settings {
            server: address,
            account: settings.account.clone(),
            stream: settings.protocol != RelayProtocol::Udp,
        };
        Some(Client::new(settings, self.random.fork()))
    }

    /// The next untried address of a relay's server.
    fn next_client(&mut self, index: usize) -> Option<Client> {
        let relay = self.relays.get_mut(index)?;
        let address = relay.untried.pop()?;
        let server = relay.server;
        self.client(server, address)
    }

    /// Where another relay finds room: at the end, or in place of one that has ended and that
    /// nothing of the driver's refers to.
    fn place(&self) -> Option<usize> {
        let len = self.relays.len();
        let is_free = |(index, relay): &(usize, &Relay)| {
            // The socket of one that has moved goes when its address does.
            let has_socket = relay.has_moved && self.paths.contains(&relay.base);
            let has_stream = matches!(relay.stream, Some(Some(_)));
            let is_wanted = self.wanted.iter().any(|wanted| wanted.is_for(*index));
            relay.is_over && relay.lent.is_empty() && !has_socket && !has_stream && !is_wanted
        };
        let ended = self.relays.iter().enumerate().find(is_free);
        let free = ended.map(|(index, _)| index);
        free.or_else(|| (len < RELAYS_MAX).then_some(len))
    }

    fn lend(&mut self, local: SocketAddr) -> Path {
        let socket = SocketId(self.next_socket);
        self.next_socket = self.next_socket.saturating_sub(1);
        Path { socket, local }
    }
}

impl Transport {
    /// Adds a TURN server: every local address of its families asks it.
    pub(super) fn add_turn_server(
        &mut self,
        now: Instant,
        settings: TurnServer,
        mut addresses: Vec<SocketAddr>,
    ) {
        addresses.truncate(ADDRESSES_MAX);
        let server = self.relays.servers.len();
        self.relays.servers.push(Server {
            settings,
            addresses,
            is_silent: false,
        });
        for path in self.relays.paths.clone() {
            self.ask_relay(now, server, path);
        }
    }

    /// Asks all known servers from a new local end.
    pub(super) fn ask_relays(&mut self, now: Instant, path: Path) {
        self.relays.paths.push(path);
        self.take_along(now, path);
        for server in 0..self.relays.servers.len() {
            self.ask_relay(now, server, path);
        }
    }

    /// A socket for one relay alone is bound.
    pub(super) fn move_relay(&mut self, now: Instant, index: usize, path: Path) {
        if let Some(relay) = self.relays.relays.get_mut(index) {
            relay.path = path;
            relay.is_waiting = false;
            relay.client.start(now);
        }
    }

    /// What came from a relay; `Err` for a datagram that is none of its.
    pub(super) fn handle_from_relay<'a>(
        &mut self,
        now: Now,
        datagram: Datagram<'a>,
    ) -> Result<bool, Datagram<'a>> {
        let Datagram {
            path,
            remote,
            waited,
            ..
        } = datagram;
        let mut relays = self.relays.relays.iter_mut();
        let Some(relay) = relays.find(|own| own.is_at(path, remote)) else {
            return Err(datagram);
        };
        match relay.client.handle(now.monotonic, datagram.bytes) {
            Received::Taken => {
                self.settle_relays(now.monotonic);
                Ok(true)
            }
            Received::Other(bytes) => Err(Datagram { bytes, ..datagram }),
            Received::Data { peer, bytes } => {
                let lent = lent_of(relay, peer);
                Ok(self.take_relayed(now.earlier(waited), lent, peer, bytes))
            }
        }
    }

    pub(super) fn relays_timeout(&mut self, now: Instant) {
        for relay in &mut self.relays.relays {
            let due = relay.client.poll_timeout();
            if due.is_some_and(|due| due.at <= now) {
                relay.client.handle_timeout(now);
            }
        }
        self.retry_relays(now);
        self.give_up_adrift(now);
        self.settle_relays(now);
    }

    /// Reacts to what the clients report.
    pub(super) fn settle_relays(&mut self, now: Instant) {
        for index in 0..self.relays.relays.len() {
            while let Some(relay) = self.relays.relays.get_mut(index)
                && let Some(event) = relay.client.poll_event()
            {
                match event {
                    client::Event::Allocated { relayed, mapped } => {
                        self.lend(now, index, &relayed, mapped);
                    }
                    client::Event::Failed(failure) => self.relay_failed(now, index, &failure),
                    client::Event::Moved => self.relay_moved(now, index),
                    client::Event::Lost => self.relay_lost(now, index),
                    client::Event::Redirected(server) => {
                        tracing::debug!(%server, "the TURN server sends us on");
                        self.begin_relay(now, index);
                    }
                    client::Event::Refused(ip) => self.refuse(now, index, ip),
                }
            }
        }
    }

    /// The way out for a route; `None` where its relay does not take it.
    pub(super) fn outlet(&mut self, now: Instant, route: Route) -> Option<Outlet> {
        let Some(relay) = self.relay_of(route.path) else {
            return Some(self.tcp.outlet(route));
        };
        let envelope = relay.client.envelope(now, route.remote)?;
        let destination = destination(relay.path, relay.client.server());
        Some(Outlet::wrapped(destination, envelope))
    }

    /// A route that data takes is worth a channel.
    pub(super) fn bind_channel(&mut self, now: Instant, route: Route) {
        if let Some(relay) = self.relay_of(route.path) {
            relay.client.bind(now, route.remote);
        }
    }

    /// The next message to a relay itself.
    pub(super) fn poll_relays(&mut self) -> Option<(Destination, Vec<u8>)> {
        self.relays.relays.iter_mut().find_map(|relay| {
            let bytes = relay.client.poll_transmit()?;
            Some((destination(relay.path, relay.client.server()), bytes))
        })
    }

    /// Gives everything back.
    pub(super) fn close_relays(&mut self, now: Instant) {
        for relay in &mut self.relays.relays {
            relay.client.close(now);
            relay.retry_at = None;
        }
    }

    /// Takes what a relay says to its client; all else is too late.
    pub(super) fn handle_after_close(&mut self, now: Instant, datagram: Datagram<'_>) {
        let mut relays = self.relays.relays.iter_mut();
        let (path, remote) = (datagram.path, datagram.remote);
        if let Some(relay) = relays.find(|own| own.is_at(path, remote)) {
            relay.client.handle(now, datagram.bytes);
        }
    }

    fn relay_of(&mut self, path: Path) -> Option<&mut Relay> {
        let mut relays = self.relays.relays.iter_mut();
        relays.find(|relay| relay.lent.contains(&path))
    }

    fn ask_relay(&mut self, now: Instant, server: usize, path: Path) {
        let Some(known) = self.relays.servers.get(server) else {
            return;
        };
        let reachable = |at: &&SocketAddr| reaches(path, at.ip());
        // The last is taken first.
        let mut untried: Vec<SocketAddr> =
            known.addresses.iter().filter(reachable).copied().collect();
        untried.reverse();
        let Some(address) = untried.pop() else {
            return;
        };
        // Two URLs of one server, for the same user: a second relay there is of no use.
        let same = |own: &Relay| {
            let other = self.relays.servers.get(own.server);
            let is_same = |other: &Server| other.settings.account == known.settings.account;
            own.is_at(path, address) && other.is_some_and(is_same)
        };
        let is_udp = known.settings.protocol == RelayProtocol::Udp;
        // One that has come along from another local end.
        let is_here =
            |own: &Relay| own.server == server && own.base == path && !own.is_over && !is_udp;
        let mut relays = self.relays.relays.iter();
        if relays.any(|own| is_here(own) || is_udp && same(own)) {
            return self.counters.count("peer.relay_asked_already");
        }
        let Some(index) = self.relays.place() else {
            return self.counters.count("peer.too_many_relays");
        };
        let Some(client) = self.relays.client(server, address) else {
            return;
        };
        let relay = Relay {
            server,
            path,
            base: path,
            stream: None,
            partial: Vec::new(),
            client,
            untried,
            lent: Vec::new(),
            renewals: 0,
            made_at: None,
            retry_at: None,
            retries: 0,
            has_moved: false,
            is_waiting: false,
            adrift_since: None,
            returned_at: None,
            is_over: false,
        };
        match self.relays.relays.get_mut(index) {
            None => self.relays.relays.push(relay),
            Some(ended) => {
                let ended = std::mem::replace(ended, relay);
                self.counters.merge(ended.client.counters());
            }
        }
        self.begin_relay(now, index);
    }

    fn lend(
        &mut self,
        now: Instant,
        index: usize,
        relayed: &[SocketAddr],
        mapped: Option<SocketAddr>,
    ) {
        let lent: Vec<Path> = relayed.iter().map(|own| self.relays.lend(*own)).collect();
        let Some(relay) = self.relays.relays.get_mut(index) else {
            return;
        };
        relay.lent.clone_from(&lent);
        relay.made_at = Some(now);
        relay.retries = 0;
        let (base, address) = (relay.base, relay.client.server());
        let server = self.relays.servers.get(relay.server);
        let protocol = server.map_or(RelayProtocol::Udp, |own| own.settings.protocol);
        for path in lent {
            let related = match self.relay_only {
                false => mapped,
                // Our own address is not to be told; the description wants one.
                true => Some(match path.local {
                    SocketAddr::V4(_) => SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0),
                    SocketAddr::V6(_) => SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), 0),
                }),
            };
            self.ice.add_relay(now, path, related, protocol, address);
        }
        if let Some(mapped) = mapped.filter(|_| protocol == RelayProtocol::Udp) {
            self.ice.add_reflexive(now, base, mapped, address);
        }
    }

    fn relay_failed(&mut self, now: Instant, index: usize, failure: &Failure) {
        let Some(relay) = self.relays.relays.get_mut(index) else {
            return;
        };
        let (server, local) = (relay.server, relay.base.local);
        // RFC 8656 §7.4: the port is taken, so another is used; once, since chance does not
        // repeat itself.
        if failure.code() == 437 && !relay.has_moved && relay.stream.is_none() {
            let address = relay.client.server();
            let client = self.relays.client(server, address);
            if let (Some(client), Some(relay)) = (client, self.relays.relays.get_mut(index)) {
                relay.client = client;
            }
            return self.relays.move_out(index);
        }
        if let Some(client) = self.relays.next_client(index) {
            if let Some(relay) = self.relays.relays.get_mut(index) {
                relay.client = client;
            }
            return self.begin_relay(now, index);
        }
        self.close_stream(index);
        if !self.put_off(now, index, failure.code()) {
            self.report(server, local, failure);
        }
    }

    /// Says it once for each URL that is not reached at all (W3C webrtc-pc §4.8.3).
    fn report(&mut self, server: usize, local: SocketAddr, failure: &Failure) {
        let Some(server) = self.relays.servers.get_mut(server) else {
            return;
        };
        let code = failure.code();
        if code == 701 && std::mem::replace(&mut server.is_silent, true) {
            return;
        }
        let is_hidden = self.relay_only || self.ice.hides_host_addresses();
        let local = Some(local).filter(|_| !is_hidden);
        let error_text = match failure {
            Failure::Refused { reason, .. } => reason.clone(),
            other => other.to_string(),
        };
        self.events
            .push_back(Event::IceCandidateError(IceCandidateError {
                address: local.map(|local| local.ip()),
                port: local.map(|local| local.port()),
                url: server.settings.url.clone(),
                error_code: code,
                error_text,
            }));
    }

    /// Asks for the allocation: at once, or when the stream is there.
    pub(super) fn begin_relay(&mut self, now: Instant, index: usize) {
        self.close_stream(index);
        let is_taken = self.relays.is_taken(index);
        let Some(relay) = self.relays.relays.get_mut(index) else {
            return;
        };
        relay.is_waiting = false;
        relay.adrift_since = None;
        let Some(server) = self.relays.servers.get(relay.server) else {
            return;
        };
        match server.settings.protocol {
            RelayProtocol::Udp if is_taken => self.relays.move_out(index),
            RelayProtocol::Udp => relay.client.start(now),
            RelayProtocol::Tcp | RelayProtocol::Tls => self.open_stream(index),
        }
    }

    fn refuse(&mut self, now: Instant, index: usize, ip: IpAddr) {
        let relay = self.relays.relays.get(index);
        let lent = relay.map(|relay| relay.lent.clone()).unwrap_or_default();
        let remotes = self.ice.remote_candidates().iter();
        let remotes = remotes.map(|own| own.address).filter(|own| own.ip() == ip);
        for remote in remotes.collect::<Vec<_>>() {
            for path in &lent {
                let path = *path;
                self.ice.refuse_route(now, Route { path, remote });
            }
        }
    }
}

/// Whether a server at `ip` can be asked from a local end.
pub(super) fn reaches(path: Path, ip: IpAddr) -> bool {
    ip.is_ipv4() == path.local.is_ipv4() && ip.is_loopback() == path.local.ip().is_loopback()
}

/// The relayed address that a peer can have sent to.
pub(super) fn lent_of(relay: &Relay, peer: SocketAddr) -> Option<Path> {
    let mut lent = relay.lent.iter();
    let path = lent.find(|path| path.local.is_ipv4() == peer.is_ipv4());
    path.copied()
}
