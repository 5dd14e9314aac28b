//! The server: what arrives is told apart, and every request gets its answer.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use twocan_wire::stun::{Attribute, Builder, Class, ErrorCode, Message, Method, TransactionId};

#[cfg(doc)]
use super::AddressPolicy;
use super::allocation::{Allocation, Asked, Binding, Client, ClientKey, Family};
use super::auth::{Authenticator, Unproved};
use super::connection::Connection;
use super::flow::Flow;
use super::media::MediaAddress;
use super::outbox::{Next, Outbox, Way};
use super::parts::{Accounts, Part};
use super::ports::{Keyed, PortCheck, Ports};
use super::quota::Holders;
use super::stream::Stream;
use super::{
    Config, ConnectionId, Event, LISTENERS_MAX, MEDIA_SOCKET, PART_SOCKET, StreamId, Traffic,
    Transport,
};
use crate::contract::{Batch, Datagram, Destination, Dscp, Ecn, Output, Path, SocketId};
use crate::counters::Counters;
use crate::random::Random;
use crate::stun_server::{Origin, StunServer};
use crate::time::{Deadline, Now};
use crate::turn::LongTermKey;

/// The reason phrase is that of RFC 5389: three bytes shorter than its successor's, and a
/// challenge counts its bytes.
const UNAUTHORIZED: ErrorCode<'static> = ErrorCode {
    code: 401,
    reason: "Unauthorized",
};

/// Bytes of IP and UDP headers, which count in what an answer may be.
const fn overhead(remote: SocketAddr) -> usize {
    // On a socket of both families an IPv4 address looks like one of IPv6.
    if remote.ip().to_canonical().is_ipv4() {
        28
    } else {
        48
    }
}

/// What is due at a deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    Allocation(u32),
    Stream(StreamId),
    Connection(ConnectionId),
    Flow(StreamId),
}

/// A STUN and TURN server.
#[derive(Debug)]
pub struct Server {
    pub(super) config: Config,
    pub(super) auth: Authenticator,
    pub(super) random: Random,
    pub(super) ports: Ports,
    pub(super) part: Part,
    pub(super) accounts: Arc<Accounts>,
    pub(super) clients: HashMap<ClientKey, u32, Keyed>,
    pub(super) allocations: Vec<Option<Box<Allocation>>>,
    pub(super) free: Vec<u32>,
    pub(super) streams: BTreeMap<StreamId, Stream>,
    pub(super) stream_holders: Holders,
    pub(super) unproven_stream_holders: Holders,
    pub(super) connections: BTreeMap<ConnectionId, Connection>,
    pub(super) peer_streams: BTreeMap<StreamId, ConnectionId>,
    pub(super) flows: BTreeMap<StreamId, Flow>,
    pub(super) timers: BTreeSet<(Instant, Timer)>,
    pub(super) outbox: Outbox,
    pub(super) events: VecDeque<Event>,
    pub(super) counters: Counters,
    pub(super) traffic: Traffic,
    pub(super) draining: bool,
    pub(super) media: Vec<MediaAddress>,
    binding: StunServer,
}

impl Server {
    /// One of those of [`Self::parts`].
    pub(super) fn part(
        config: Config,
        (part, accounts): (Part, Arc<Accounts>),
        mut random: Random,
        now: Now,
    ) -> Self {
        let auth = Authenticator::new(
            &config.realm,
            &config.users,
            &config.secrets,
            &mut random,
            now,
        );
        let ports = Ports::new(
            &config.relays,
            config.ports.clone(),
            (part.number, accounts.ports.clone()),
            random.u64(),
        );
        Self {
            auth,
            ports,
            part,
            accounts,
            clients: HashMap::with_hasher(Keyed(random.u64())),
            allocations: Vec::new(),
            free: Vec::new(),
            streams: BTreeMap::new(),
            stream_holders: Holders::default(),
            unproven_stream_holders: Holders::default(),
            connections: BTreeMap::new(),
            peer_streams: BTreeMap::new(),
            flows: BTreeMap::new(),
            timers: BTreeSet::new(),
            outbox: Outbox::default(),
            events: VecDeque::new(),
            counters: Counters::default(),
            traffic: Traffic::default(),
            draining: false,
            media: Vec::new(),
            binding: StunServer::with_discovery(config.discovery),
            config,
            random,
        }
    }

    /// A datagram arrived on a listener, on a relayed socket, or from media of this machine
    /// ([`MEDIA_SOCKET`]).
    pub fn handle_datagram(&mut self, now: Now, datagram: Datagram<'_>) {
        let Datagram {
            path,
            remote,
            ecn,
            bytes,
            ..
        } = datagram;
        if path.socket == MEDIA_SOCKET {
            return self.handle_media(now, (remote, path.local), ecn, bytes);
        }
        if path.socket == PART_SOCKET {
            return self.handle_part(now, (remote, path.local), ecn, bytes);
        }
        if path.socket.0 >= LISTENERS_MAX {
            return self.handle_peer(now, path.socket, remote, ecn, bytes);
        }
        let key = ClientKey::Datagram(path, remote);
        self.handle_client(now, Client { key, path, remote }, ecn, bytes);
    }

    /// What a client sent: a datagram, or one frame of its stream.
    pub(super) fn handle_client(&mut self, now: Now, client: Client, ecn: Ecn, bytes: &[u8]) {
        if let Some(part) = self.meant_elsewhere(now, &client, bytes) {
            return self.pass_on(part, &client, ecn, bytes);
        }
        match bytes.first() {
            Some(0x40..=0x7f) => self.handle_channel_data(now, client.key, ecn, bytes),
            Some(0..=0x3f) => self.handle_message(now, client, ecn, bytes),
            _ => self.counters.count("turn.not_stun"),
        }
    }

    fn handle_message(&mut self, now: Now, client: Client, ecn: Ecn, bytes: &[u8]) {
        let Ok(message) = Message::parse(bytes) else {
            return self.counters.count("turn.malformed");
        };
        // The other addresses of behaviour discovery do nothing else.
        let others = SocketId(1)..SocketId(Origin::ALL.len() as u32);
        let is_main = matches!(client.key, ClientKey::Stream(_))
            || self.config.discovery.is_none()
            || !others.contains(&client.path.socket);
        match (message.class, message.method) {
            (class, method) if !is_main && (class, method) != (Class::Request, Method::BINDING) => {
                self.counters.count("turn.other_method");
            }
            (Class::Indication, Method::SEND) => self.handle_send(now, client.key, ecn, &message),
            (Class::Request, Method::BINDING) => self.answer_binding(now, &client, bytes),
            (
                Class::Request,
                Method::ALLOCATE
                | Method::REFRESH
                | Method::CREATE_PERMISSION
                | Method::CHANNEL_BIND
                | Method::CONNECT
                | Method::CONNECTION_BIND,
            ) if !self.config.relays.is_empty() => {
                self.handle_request(now, client, &message, bytes.len());
            }
            // A Binding indication keeps an address translator's state.
            (Class::Indication, Method::BINDING) => {}
            _ => self.counters.count("turn.other_method"),
        }
    }

    fn answer_binding(&mut self, now: Now, client: &Client, bytes: &[u8]) {
        if !self.may_answer(now, client) {
            return;
        }
        let Self {
            outbox,
            binding,
            config,
            ..
        } = self;
        let origin = Origin::ALL.get(client.path.socket.0 as usize).copied();
        let (ClientKey::Datagram(..), Some(discovery), Some(at)) =
            (client.key, &config.discovery, origin)
        else {
            return outbox.push(way(client), |out| {
                binding.respond(client.seen_at(), bytes, out);
            });
        };
        let mut answer = Vec::new();
        let Some(reply) = binding.respond_at(at, client.seen_at(), bytes, &mut answer) else {
            return;
        };
        let path = if reply.from == at {
            client.path
        } else {
            Path {
                socket: SocketId(reply.from.place() as u32),
                local: discovery.address(reply.from),
            }
        };
        let destination = Destination {
            path,
            remote: reply.to,
            ecn: Ecn::NotEct,
            dscp: Dscp::DEFAULT,
        };
        outbox.push(Way::Socket(destination), |out| {
            out.extend_from_slice(&answer);
        });
    }

    /// Whether one that has proved nothing may get an answer now. Who has an allocation, or a
    /// stream, has proved its address.
    fn may_answer(&mut self, now: Now, client: &Client) -> bool {
        let proven =
            matches!(client.key, ClientKey::Stream(_)) || self.clients.contains_key(&client.key);
        let rate = self.config.quotas.unproven_per_second;
        let may = proven
            || self
                .accounts
                .admits_unproven(now.monotonic, client.remote.ip(), rate);
        if !may {
            self.counters.count("turn.too_many_unproven");
        }
        may
    }

    fn handle_request(&mut self, now: Now, client: Client, message: &Message<'_>, len: usize) {
        let proof = match self.auth.prove(now, client.remote, message) {
            Ok(proof) => proof,
            Err(why) => return self.challenge(now, &client, message, len, why),
        };
        let asked = Asked {
            client,
            message,
            proof,
        };
        let unknown: Vec<u8> = message
            .unknown_required()
            .take(16)
            .flat_map(u16::to_be_bytes)
            .collect();
        if !unknown.is_empty() {
            self.counters.count("turn.refused_420");
            return self.answer(&asked, Class::Error, |builder| {
                builder.attribute(Attribute::ErrorCode(ErrorCode::UNKNOWN_ATTRIBUTE));
                builder.attribute(Attribute::UnknownAttributes(&unknown));
            });
        }
        if message.method == Method::ALLOCATE {
            return self.allocate(now, &asked);
        }
        if message.method == Method::CONNECTION_BIND {
            return self.bind_connection(now, &asked);
        }
        let known = self.clients.get(&client.key).copied();
        let id = match known.map_or_else(|| self.move_here(&asked), Ok) {
            Ok(id) => id,
            Err(error) => return self.refuse(&asked, error),
        };
        let owner = self.allocation(id).map(|allocation| &*allocation.user);
        if owner != Some(asked.proof.user.as_str()) {
            return self.refuse(&asked, ErrorCode::WRONG_CREDENTIALS);
        }
        match message.method {
            Method::REFRESH => self.refresh(now, &asked, id),
            Method::CREATE_PERMISSION => self.create_permission(now, asked, id),
            Method::CONNECT => self.connect(now, asked, id),
            _ => self.bind_channel(now, asked, id),
        }
    }

    /// Answers one who has not proved who it is.
    fn challenge(
        &mut self,
        now: Now,
        client: &Client,
        message: &Message<'_>,
        len: usize,
        why: Unproved,
    ) {
        if !self.may_answer(now, client) {
            return;
        }
        let (code, reason) = match why {
            Unproved::Unauthenticated => (UNAUTHORIZED, "turn.refused_401"),
            Unproved::StaleNonce => (ErrorCode::STALE_NONCE, "turn.refused_438"),
            Unproved::Incomplete => (ErrorCode::BAD_REQUEST, "turn.refused_400"),
        };
        self.counters.count(reason);
        let nonce = self.auth.nonce(now, client.remote);
        let on_stream = matches!(client.key, ClientKey::Stream(_));
        let most = 3 * (len + overhead(client.remote)) - overhead(client.remote);
        let Self {
            outbox,
            auth,
            counters,
            ..
        } = self;
        outbox.push(way(client), |out| {
            let start = out.len();
            let mut builder = Builder::new(out, Class::Error, message.method, message.transaction);
            builder.attribute(Attribute::ErrorCode(code));
            if why != Unproved::Incomplete {
                builder.attribute(Attribute::Realm(auth.realm()));
                builder.attribute(Attribute::Nonce(&nonce));
                builder.attribute(Attribute::PasswordAlgorithms(auth.algorithms()));
            }
            builder.finish();
            if !on_stream && out.len() - start > most {
                out.truncate(start);
                counters.count("turn.too_short_to_answer");
            }
        });
    }

    /// Answers a request whose sender is known.
    pub(super) fn answer(
        &mut self,
        asked: &Asked<'_>,
        class: Class,
        fill: impl FnOnce(&mut Builder<'_>),
    ) {
        let transaction = asked.message.transaction;
        let key = &asked.proof.key;
        self.answer_with(&asked.client, class, asked.method(), transaction, key, fill);
    }

    pub(super) fn answer_with(
        &mut self,
        client: &Client,
        class: Class,
        method: Method,
        transaction: TransactionId,
        key: &LongTermKey,
        fill: impl FnOnce(&mut Builder<'_>),
    ) {
        self.outbox.push(way(client), |out| {
            let mut builder = Builder::new(out, class, method, transaction);
            fill(&mut builder);
            key.finish(builder);
        });
    }

    /// Refuses a request whose sender is known.
    pub(super) fn refuse(&mut self, asked: &Asked<'_>, error: ErrorCode<'static>) {
        self.counters.count(refusal(error.code));
        self.answer(asked, Class::Error, |builder| {
            builder.attribute(Attribute::ErrorCode(error));
        });
    }

    pub(super) fn allocation(&self, id: u32) -> Option<&Allocation> {
        self.allocations.get(id as usize)?.as_deref()
    }

    pub(super) fn allocation_mut(&mut self, id: u32) -> Option<&mut Allocation> {
        self.allocations.get_mut(id as usize)?.as_deref_mut()
    }

    /// Ends an allocation and gives back what it had.
    pub(super) fn release(&mut self, id: u32) {
        let Some(gone) = self.allocations.get_mut(id as usize).and_then(Option::take) else {
            return;
        };
        self.free.push(id);
        self.forget_client(&gone.client.key);
        self.timers.remove(&(gone.timer, Timer::Allocation(id)));
        self.accounts.close(&gone.user, gone.client.remote.ip());
        self.accounts.bandwidth.leave(&gone.user);
        for connection in gone.connections.iter().copied() {
            self.close_connection(connection);
        }
        for family in Family::ALL {
            if let Some(relay) = gone.relay(family) {
                self.release_relay(id, family, relay.external, relay.binding);
            }
        }
    }

    pub(super) fn release_relay(
        &mut self,
        id: u32,
        family: Family,
        external: SocketAddr,
        binding: Binding,
    ) {
        self.ports.release(external);
        if matches!(binding, Binding::Asked | Binding::Bound) {
            let socket = socket_of(id, family);
            self.events.push_back(Event::Close { socket });
        }
    }

    /// Acts on whatever time has brought.
    pub fn handle_timeout(&mut self, now: Now) {
        let whole = now;
        let now = now.monotonic;
        self.ports.expire(now);
        while let Some((at, timer)) = self.timers.first().copied().filter(|(at, _)| *at <= now) {
            self.timers.remove(&(at, timer));
            match timer {
                Timer::Allocation(id) => match self.allocation_mut(id) {
                    Some(allocation) if allocation.ends > now => {
                        allocation.timer = allocation.ends;
                        let at = allocation.ends;
                        self.timers.insert((at, timer));
                    }
                    _ => {
                        self.counters.count("turn.expired");
                        self.release(id);
                    }
                },
                Timer::Stream(stream) => self.look_at_stream(whole, stream),
                Timer::Connection(connection) => self.give_up_connection(connection),
                Timer::Flow(stream) => self.read_again(now, stream),
            }
        }
    }

    /// Has `check` tell, before a port is given to a client, whether a socket can be bound to it:
    /// a port that another program has taken since is found out before a peer is told of it, and
    /// not by the 508 of the first permission. Without it, every port is thought to be free.
    pub fn check_ports_with(
        &mut self,
        check: impl FnMut(Transport, SocketAddr) -> bool + Send + 'static,
    ) {
        self.ports.check_with(PortCheck(Box::new(check)));
    }

    /// Takes what may change while the server runs from `config`: users, secrets, what is relayed
    /// to ([`AddressPolicy::allow`], [`AddressPolicy::allowed_only`]), quotas, mobility, relaying of TCP. The rest
    /// stays as it was.
    ///
    /// No allocation ends by it. One beyond a new quota goes on, one of a user who is no longer known
    /// cannot be refreshed, and nothing passes any more to and from peers that are now refused.
    pub fn reconfigure(&mut self, config: &Config) {
        self.auth.set_known(&config.users, &config.secrets);
        self.config.users.clone_from(&config.users);
        self.config.secrets.clone_from(&config.secrets);
        self.config.policy.allow.clone_from(&config.policy.allow);
        self.config.policy.allowed_only = config.policy.allowed_only;
        self.config.quotas.clone_from(&config.quotas);
        self.config.mobility = config.mobility;
        self.config.tcp_relay = config.tcp_relay;
        self.forget_refused();
    }

    /// Takes back the permissions for what is refused by now.
    pub(super) fn forget_refused(&mut self) {
        let mut allocations = std::mem::take(&mut self.allocations);
        for allocation in allocations.iter_mut().flatten() {
            let permissions = &mut allocation.permissions;
            permissions.retain(|own| self.way_to(own.ip) != super::address::Way::Refused);
        }
        self.allocations = allocations;
        self.close_refused_connections();
    }

    /// No new allocations from here on; those that are there go on until they end.
    pub fn drain(&mut self) {
        self.draining = true;
    }

    /// What the driver is to do next.
    pub fn poll_output(&mut self, batch: &mut Batch) -> Output<Event> {
        loop {
            match self.outbox.take(batch) {
                Next::Batch => return Output::Transmit,
                Next::Stream(stream, bytes) if self.streams.contains_key(&stream) => {
                    return Output::Event(Event::Send { stream, bytes });
                }
                // Its stream is gone, and it may come back on another.
                Next::Stream(..) => self.traffic.unwanted += 1,
                Next::Nothing => break,
            }
        }
        if let Some(event) = self.events.pop_front() {
            return Output::Event(event);
        }
        let due = |at: Instant| Deadline::new(at, "turn");
        let timer = self.timers.first().map(|(at, _)| due(*at));
        Output::Wait(Deadline::earlier(timer, self.ports.next_end().map(due)))
    }

    /// Number of allocations, of all parts.
    pub fn allocation_count(&self) -> usize {
        self.accounts.total()
    }

    /// Number of streams.
    pub fn stream_count(&self) -> usize {
        self.streams.len()
    }

    /// Number of connections with peers, those that are being opened counted.
    pub fn connection_count(&self) -> usize {
        self.connections.len()
    }

    /// What was relayed.
    pub fn traffic(&self) -> Traffic {
        self.traffic
    }

    /// What was refused and dropped, by reason, and what became of Binding requests.
    pub fn counters(&self) -> Counters {
        let mut all = self.counters.clone();
        all.merge(self.binding.counters());
        if self.outbox.dropped > 0 {
            all.add("turn.outbox_full", self.outbox.dropped);
        }
        all
    }
}

/// The way to a client.
pub(super) fn way(client: &Client) -> Way {
    match client.key {
        ClientKey::Stream(stream) => Way::Stream(stream),
        ClientKey::Datagram(..) => Way::Socket(Destination {
            path: client.path,
            remote: client.remote,
            ecn: Ecn::NotEct,
            dscp: Dscp::DEFAULT,
        }),
    }
}

/// The name of a relayed socket.
pub(super) fn socket_of(id: u32, family: Family) -> SocketId {
    SocketId(LISTENERS_MAX + id * 2 + family as u32)
}

/// Whose relayed socket it is.
pub(super) fn owner_of(socket: SocketId) -> Option<(u32, Family)> {
    let place = socket.0.checked_sub(LISTENERS_MAX)?;
    let family = if place % 2 == 0 {
        Family::V4
    } else {
        Family::V6
    };
    Some((place / 2, family))
}

/// The counter of an error code.
pub(super) const fn refusal(code: u16) -> &'static str {
    match code {
        400 => "turn.refused_400",
        403 => "turn.refused_403",
        405 => "turn.refused_405",
        437 => "turn.refused_437",
        440 => "turn.refused_440",
        441 => "turn.refused_441",
        442 => "turn.refused_442",
        443 => "turn.refused_443",
        446 => "turn.refused_446",
        447 => "turn.refused_447",
        486 => "turn.refused_486",
        508 => "turn.refused_508",
        _ => "turn.refused_other",
    }
}
