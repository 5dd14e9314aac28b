//! The world: nodes, sites, the clock, and datagrams on their way.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use twocan_proto::contract::{Batch, Datagram, Ecn, Output, Path, Request, SocketId, StreamEvent};
use twocan_proto::random::Random;
use twocan_proto::time::{Deadline, Now};
use twocan_proto::turn::server::{Quotas, StreamId};

use crate::between::{Between, BetweenId, Parcel};
use crate::link::Link;
use crate::nat::{Nat, Wall};
use crate::pipe::Pipe;
use crate::place::{self, Families};
use crate::relay::Relay;
use crate::stun::Stun;

/// A machine that the world drives.
pub trait Node {
    /// What it reports.
    type Event;
    /// A socket it asked for is bound.
    fn handle_bound(&mut self, now: Now, socket: SocketId, local: SocketAddr);
    /// A datagram arrived.
    fn handle_datagram(&mut self, now: Now, datagram: Datagram<'_>);
    /// A stream from `remote` came to a socket of its that listens; answers the stream's name, or
    /// refuses it.
    fn handle_accepted(
        &mut self,
        _now: Now,
        _listener: SocketId,
        _local: SocketAddr,
        _remote: SocketAddr,
    ) -> Option<SocketId> {
        None
    }
    /// Something happened to a stream.
    fn handle_stream(&mut self, now: Now, socket: SocketId, event: StreamEvent<'_>);
    /// Its deadline has come.
    fn handle_timeout(&mut self, now: Now);
    /// A name it asked for is resolved.
    fn handle_resolved(&mut self, now: Now, name: &str, addresses: &[IpAddr]);
    /// What it wants.
    fn poll_output(&mut self, now: Now, batch: &mut Batch) -> Output<Self::Event>;
}

/// Names a site.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct SiteId(pub usize);

/// Names a host, and the node on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct HostId(pub usize);

/// A place with one connection to the rest of the world.
#[derive(Debug)]
pub struct Site {
    /// Towards the world.
    pub uplink: Link,
    /// From the world.
    pub downlink: Link,
    /// The translator, if any.
    pub nat: Option<Nat>,
    /// What the translator is to IPv6.
    pub(crate) wall: Option<Wall>,
    /// Its IPv4 address in the network around it.
    pub(crate) public: IpAddr,
    /// The site whose network that is; the middle of the world for most.
    pub(crate) within: Option<SiteId>,
    /// The families it has.
    pub(crate) families: Families,
}

pub(crate) struct Host<N> {
    pub(crate) node: N,
    pub(crate) site: SiteId,
    /// The first is that of IPv4, where there is one.
    pub(crate) ips: Vec<IpAddr>,
    pub(crate) sockets: BTreeMap<SocketId, SocketAddr>,
    pub(crate) listeners: BTreeMap<SocketId, SocketAddr>,
    next_port: u16,
    deadline: Option<Deadline>,
    /// It does nothing before.
    asleep_until: Option<Instant>,
}

impl<N> Host<N> {
    pub(crate) fn new(node: N, site: SiteId, ips: Vec<IpAddr>, first_port: u16) -> Self {
        Self {
            node,
            site,
            ips,
            sockets: BTreeMap::new(),
            listeners: BTreeMap::new(),
            next_port: first_port,
            deadline: None,
            asleep_until: None,
        }
    }

    /// When its deadline comes, or it can do something about it.
    fn wakes_at(&self) -> Option<Instant> {
        let at = self.deadline?.at;
        Some(self.asleep_until.map_or(at, |until| at.max(until)))
    }
}

#[derive(Debug)]
pub(crate) struct Flight {
    pub(crate) from: SocketAddr,
    pub(crate) to: SocketAddr,
    pub(crate) ecn: Ecn,
    pub(crate) bytes: Vec<u8>,
    pub(crate) stage: Stage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Leaves the world's middle towards the destination's site.
    Core,
    /// The same in the network of a site, between it and those within it.
    Inside(SiteId),
    /// Reaches the host that has the address `to`.
    Host,
    /// A stream from this address reaches the server at this one.
    Opened(StreamId, SocketAddr, SocketAddr),
    /// The host learns that its stream is connected.
    Connected(StreamId),
    /// Bytes of a stream reach the server.
    Up(StreamId),
    /// Bytes of a stream reach the host.
    Down(StreamId),
    /// The server learns that a stream has ended.
    Ended(StreamId),
    /// Something of a stream between two hosts arrives.
    Between(BetweenId, Parcel),
}

/// The whole of a simulation.
pub struct World<N: Node> {
    started: Instant,
    pub(crate) now: Instant,
    /// The wallclock's distance from its true course; may be changed at any time.
    pub wallclock_offset_ms: i64,
    /// Those of a TURN server that is added later.
    pub turn_quotas: Quotas,
    pub(crate) random: Random,
    pub(crate) sites: Vec<Site>,
    pub(crate) hosts: Vec<Host<N>>,
    flights: BTreeMap<(Instant, u64), Flight>,
    flight_count: u64,
    pub(crate) names: BTreeMap<String, Vec<IpAddr>>,
    /// What hosts answer for by multicast DNS.
    pub(crate) announced: BTreeMap<String, (HostId, IpAddr)>,
    pub(crate) stun: Option<Stun>,
    pub(crate) relay: Option<Relay>,
    pub(crate) pipes: BTreeMap<StreamId, Pipe>,
    pub(crate) pipe_count: u64,
    pub(crate) between: BTreeMap<BetweenId, Between>,
    pub(crate) between_count: u64,
    /// Whether a stream that a host opens to another is refused at once.
    pub refuses_streams: bool,
    events: Vec<(HostId, N::Event)>,
    pub(crate) trace: DefaultHasher,
    batch: Batch,
}

/// Virtual time begins at 2025-01-01 00:00 UTC on the wallclock.
const WALLCLOCK_START: Duration = Duration::from_secs(1_735_689_600);

/// Polls of one node in one moment after which it counts as running in circles.
const POLLS_MAX: usize = 1_000_000;

/// Delay between hosts of one site.
pub(crate) const LAN_DELAY: Duration = Duration::from_micros(200);

impl<N: Node> World<N> {
    /// An empty world.
    pub fn new(seed: u64) -> Self {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        #[expect(clippy::disallowed_methods, reason = "an Instant has no other origin")]
        let started = Instant::now();
        Self {
            started,
            now: started,
            wallclock_offset_ms: 0,
            turn_quotas: Quotas::default(),
            random: Random::new(bytes),
            sites: Vec::new(),
            hosts: Vec::new(),
            flights: BTreeMap::new(),
            flight_count: 0,
            names: place::known_names(),
            announced: BTreeMap::new(),
            stun: None,
            relay: None,
            pipes: BTreeMap::new(),
            pipe_count: 0,
            between: BTreeMap::new(),
            between_count: 0,
            refuses_streams: false,
            events: Vec::new(),
            trace: DefaultHasher::new(),
            batch: Batch::new(),
        }
    }

    /// Makes a name resolvable.
    pub fn add_name(&mut self, name: &str, addresses: Vec<IpAddr>) {
        self.names.insert(name.to_owned(), addresses);
    }

    /// This moment.
    pub fn now(&self) -> Now {
        let elapsed = self.now - self.started;
        let offset = Duration::from_millis(self.wallclock_offset_ms.unsigned_abs());
        let wallclock = WALLCLOCK_START + elapsed;
        let wallclock = if self.wallclock_offset_ms < 0 {
            wallclock.saturating_sub(offset)
        } else {
            wallclock + offset
        };
        Now {
            monotonic: self.now,
            wallclock,
        }
    }

    /// Time since the beginning.
    pub fn elapsed(&self) -> Duration {
        self.now - self.started
    }

    /// Randomness for what the test itself chooses.
    pub fn random(&mut self) -> &mut Random {
        &mut self.random
    }

    /// The address of a host: that of IPv4, if it has both.
    pub fn ip(&self, host: HostId) -> IpAddr {
        self.hosts[host.0].ips[0]
    }

    /// All addresses of a host.
    pub fn ips(&self, host: HostId) -> &[IpAddr] {
        &self.hosts[host.0].ips
    }

    /// A site, to look at or to change.
    pub fn site(&mut self, site: SiteId) -> &mut Site {
        &mut self.sites[site.0]
    }

    /// A node, to look at.
    pub fn node(&self, host: HostId) -> &N {
        &self.hosts[host.0].node
    }

    /// Acts on a node as its application, and takes what it then wants.
    pub fn with<R>(&mut self, host: HostId, act: impl FnOnce(&mut N, Now) -> R) -> R {
        let now = self.now();
        let result = act(&mut self.hosts[host.0].node, now);
        self.settle(host);
        result
    }

    /// Suspends a host: for so long it does nothing, and datagrams to it are lost; what streams
    /// carry waits. Its clocks go on.
    pub fn suspend(&mut self, host: HostId, time: Duration) {
        self.hosts[host.0].asleep_until = Some(self.now + time);
    }

    /// Whether a host is suspended.
    pub fn is_asleep(&self, host: HostId) -> bool {
        self.asleep_until(host).is_some()
    }

    fn asleep_until(&self, host: HostId) -> Option<Instant> {
        let until = self.hosts[host.0].asleep_until?;
        (until > self.now).then_some(until)
    }

    /// Until when what a stream carries waits for its host.
    fn held_until(&self, stage: Stage) -> Option<Instant> {
        let host = match stage {
            Stage::Connected(id) | Stage::Down(id) => self.pipes.get(&id)?.host,
            Stage::Between(id, parcel) => self.between.get(&id)?.host(parcel),
            _ => return None,
        };
        self.asleep_until(host)
    }

    /// Sends a datagram that no node sent: an attacker's, from wherever it claims to be.
    pub fn inject(&mut self, from: SocketAddr, to: SocketAddr, bytes: Vec<u8>) {
        let flight = Flight {
            from,
            to,
            ecn: Ecn::NotEct,
            bytes,
            stage: Stage::Core,
        };
        self.launch(self.now, flight);
    }

    /// Whether there is something for [`Self::take_events`].
    pub fn has_events(&self) -> bool {
        !self.events.is_empty()
    }

    /// What nodes reported since the last call, in order.
    pub fn take_events(&mut self) -> Vec<(HostId, N::Event)> {
        std::mem::take(&mut self.events)
    }

    /// A hash of every datagram that a node sent and of every delivery so far, with their times:
    /// equal for equal seeds.
    pub fn trace(&self) -> u64 {
        self.trace.finish()
    }

    /// Runs until `done`, or for `limit` at most; answers whether `done` came.
    pub fn run_until(&mut self, limit: Duration, mut done: impl FnMut(&mut Self) -> bool) -> bool {
        let limit = self.now + limit;
        loop {
            if done(self) {
                return true;
            }
            let arrival = self.flights.keys().next().map(|(at, _)| *at);
            let timer = self
                .hosts
                .iter()
                .filter_map(Host::wakes_at)
                .chain(self.relay.as_ref().and_then(|own| Some(own.deadline()?.at)))
                .min();
            let next = match (arrival, timer) {
                (Some(a), Some(b)) => a.min(b),
                (Some(at), None) | (None, Some(at)) => at,
                (None, None) => limit,
            };
            if next >= limit {
                self.now = limit;
                return done(self);
            }
            self.now = self.now.max(next);
            if arrival.is_some_and(|at| at <= self.now) {
                self.arrive();
            } else {
                self.wake();
            }
        }
    }

    /// Runs for a while.
    pub fn run_for(&mut self, time: Duration) {
        self.run_until(time, |_| false);
    }

    fn wake(&mut self) {
        let now = self.now();
        if let Some(relay) = &mut self.relay
            && relay.deadline().is_some_and(|own| own.at <= self.now)
        {
            let sent = relay.wake(now);
            self.relayed(sent);
        }
        for index in 0..self.hosts.len() {
            let wakes_at = self.hosts[index].wakes_at();
            let due = wakes_at.is_some_and(|at| at <= self.now);
            if due {
                let now = self.now();
                let before = self.hosts[index].deadline;
                self.hosts[index].node.handle_timeout(now);
                self.settle(HostId(index));
                let after = self.hosts[index].deadline;
                assert!(
                    after.is_none_or(|after| after.at > self.now || before != Some(after)),
                    "host {index} does not act on its deadline {after:?}"
                );
            }
        }
    }

    fn arrive(&mut self) {
        let Some(((_, _), mut flight)) = self.flights.pop_first() else {
            return;
        };
        if let Some(until) = self.held_until(flight.stage) {
            return self.launch(until, flight);
        }
        match flight.stage {
            Stage::Core => self.cross(flight),
            Stage::Inside(site) => self.cross_inside(site, flight),
            Stage::Opened(id, from, to) => self.opened(id, from, to),
            Stage::Connected(id) => self.on_pipe(id, None),
            Stage::Down(id) => self.on_pipe(id, Some(flight.bytes)),
            Stage::Up(id) => self.at_relay(|relay, now| relay.received(now, id, &flight.bytes)),
            Stage::Ended(id) => self.at_relay(|relay, now| relay.closed(now, id)),
            Stage::Between(id, parcel) => self.between_arrives(id, parcel, flight.bytes),
            Stage::Host => {
                let host = self
                    .hosts
                    .iter()
                    .position(|host| host.sockets.values().any(|local| *local == flight.to));
                let Some(index) = host else { return };
                if self.is_asleep(HostId(index)) {
                    return;
                }
                let socket = self.hosts[index]
                    .sockets
                    .iter()
                    .find(|(_, local)| **local == flight.to)
                    .map(|(socket, _)| *socket);
                let Some(socket) = socket else { return };
                (
                    self.now - self.started,
                    flight.from,
                    flight.to,
                    &flight.bytes,
                )
                    .hash(&mut self.trace);
                let now = self.now();
                let datagram = Datagram {
                    path: Path {
                        socket,
                        local: flight.to,
                    },
                    remote: flight.from,
                    ecn: flight.ecn,
                    waited: Duration::ZERO,
                    bytes: &mut flight.bytes,
                };
                self.hosts[index].node.handle_datagram(now, datagram);
                self.settle(HostId(index));
            }
        }
    }

    /// Takes everything a node wants.
    pub(crate) fn settle(&mut self, host: HostId) {
        for _ in 0..POLLS_MAX {
            let now = self.now();
            let mut batch = std::mem::take(&mut self.batch);
            batch.clear();
            let output = self.hosts[host.0].node.poll_output(now, &mut batch);
            match output {
                Output::Transmit => self.transmit(host, &batch),
                Output::Event(event) => self.events.push((host, event)),
                Output::Request(request) => self.serve(host, request),
                Output::Wait(deadline) => {
                    self.hosts[host.0].deadline = deadline;
                    self.batch = batch;
                    return;
                }
            }
            self.batch = batch;
        }
        unreachable!("host {host:?} never waits: its machine runs in circles");
    }

    fn serve(&mut self, host: HostId, request: Request) {
        let now = self.now();
        match request {
            Request::Bind { socket, ip } => {
                let machine = &mut self.hosts[host.0];
                let local = SocketAddr::new(ip, machine.next_port);
                machine.next_port += 1;
                machine.sockets.insert(socket, local);
                machine.node.handle_bound(now, socket, local);
            }
            Request::Close { socket } => {
                self.hosts[host.0].sockets.remove(&socket);
                self.hosts[host.0].listeners.remove(&socket);
                self.close_pipe(host, socket);
                self.close_between(host, socket);
            }
            Request::Listen { socket, ip } => {
                let machine = &mut self.hosts[host.0];
                let local = SocketAddr::new(ip, machine.next_port);
                machine.next_port += 1;
                machine.listeners.insert(socket, local);
                machine.node.handle_bound(now, socket, local);
            }
            Request::Open {
                socket,
                local,
                remote,
                ..
            } => self.open(host, socket, local, remote),
            Request::Resolve { name, how } => {
                let addresses = self.resolve(host, &name, how);
                let node = &mut self.hosts[host.0].node;
                node.handle_resolved(now, &name, &addresses);
            }
            // The networks of this world have addresses alone: no node of it is asked for services.
            Request::Locate { .. } => {}
            Request::Announce { name, ip } => {
                self.announced.insert(name, (host, ip));
            }
            Request::Withdraw { name } => {
                self.announced.remove(&name);
            }
        }
    }

    pub(crate) fn launch_all(&mut self, arrivals: [Option<Instant>; 2], flight: Flight) {
        let [first, second] = arrivals;
        if let Some(at) = second {
            let copy = Flight {
                bytes: flight.bytes.clone(),
                ..flight
            };
            self.launch(at, copy);
        }
        if let Some(at) = first {
            self.launch(at, flight);
        }
    }

    pub(crate) fn launch(&mut self, at: Instant, flight: Flight) {
        self.flight_count += 1;
        self.flights.insert((at, self.flight_count), flight);
    }
}
