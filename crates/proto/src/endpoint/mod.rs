//! Many peers on the same sockets, as a server has them.
//!
//! 1. The endpoint binds one socket for each address; every peer gathers these as its own.
//! 2. A check finds its peer by the username fragment that it names (RFC 8445 §7.3). Once the peer
//!    has found it authentic, everything else from that address goes there too.
//! 3. Answers to checks of ours find their peer by the transaction.
//! 4. What peers want comes out of [`Endpoint::poll_output`], with the peer that it is of.

mod addresses;
mod asked;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use twocan_wire::demux::{Protocol, classify};
use twocan_wire::stun::{Class, Message};

use crate::contract::{Batch, Datagram, Output, Path, Request, SocketId};
use crate::counters::Counters;
use crate::ice::Route;
use crate::peer::{Event, Interfaces, Peer};
use crate::time::{Deadline, Now};

use addresses::Addresses;
use asked::Asked;

/// Names a peer; the application chooses the numbers and never uses one twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId(pub u64);

/// A socket that all peers share.
#[derive(Debug, Clone, Copy)]
struct Socket {
    id: SocketId,
    ip: IpAddr,
    /// Once bound.
    local: Option<SocketAddr>,
}

#[derive(Debug)]
struct Entry {
    peer: Peer,
    /// The peer's names for the shared sockets.
    sockets: Vec<(SocketId, SocketId)>,
    /// Username fragments by which it is found.
    names: Vec<String>,
    /// What they are of; `None` before they were looked at.
    names_version: Option<u64>,
    deadline: Option<Instant>,
    is_ready: bool,
    /// It was removed, and says its last words.
    leaves: bool,
}

/// Many peers on the same sockets.
#[derive(Debug, Default)]
pub struct Endpoint {
    sockets: Vec<Socket>,
    /// Each in a place of its own: those of a tree are half empty, and a peer is large.
    peers: BTreeMap<PeerId, Box<Entry>>,
    names: BTreeMap<String, PeerId>,
    addresses: Addresses,
    asked: Asked,
    deadlines: BTreeSet<(Instant, PeerId)>,
    /// Peers that may have something to say.
    ready: VecDeque<PeerId>,
    /// Peers for whose channels something came.
    channel_news: BTreeSet<PeerId>,
    requests: VecDeque<Request>,
    counters: Counters,
}

impl Endpoint {
    /// An endpoint without sockets and peers.
    pub fn new() -> Self {
        Self::default()
    }

    /// The local addresses to bind, once each, and those that are gone.
    pub fn handle_interfaces(&mut self, now: Now, interfaces: &Interfaces) {
        for ip in &interfaces.added {
            if self.sockets.iter().all(|socket| socket.ip != *ip) {
                let id = SocketId(
                    self.sockets
                        .iter()
                        .map(|own| own.id.0 + 1)
                        .max()
                        .unwrap_or(0),
                );
                self.sockets.push(Socket {
                    id,
                    ip: *ip,
                    local: None,
                });
                self.requests.push_back(Request::Bind {
                    socket: id,
                    ip: *ip,
                });
            }
        }
        for ip in &interfaces.removed {
            let gone = self.sockets.iter().position(|socket| socket.ip == *ip);
            if let Some(index) = gone {
                let Socket { id, .. } = self.sockets.remove(index);
                self.requests.push_back(Request::Close { socket: id });
                self.addresses.forget_socket(id);
            }
        }
        let removed = Interfaces {
            added: Vec::new(),
            removed: interfaces.removed.clone(),
        };
        if !removed.removed.is_empty() {
            self.tell_all(now, &removed);
        }
    }

    /// A socket that was asked for is bound.
    pub fn handle_bound(&mut self, now: Now, socket: SocketId, local: SocketAddr) {
        let Some(own) = self.sockets.iter_mut().find(|own| own.id == socket) else {
            return self.counters.count("endpoint.unknown_socket");
        };
        own.local = Some(local);
        let added = Interfaces {
            added: vec![own.ip],
            removed: Vec::new(),
        };
        self.tell_all(now, &added);
    }

    /// A socket that was asked for could not be bound.
    pub fn handle_bind_failed(&mut self, socket: SocketId) {
        self.counters.count("endpoint.bind_failed");
        self.sockets.retain(|own| own.id != socket);
    }

    /// The addresses that the sockets are bound to.
    pub fn local_addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.sockets.iter().filter_map(|socket| socket.local)
    }

    /// Adds a peer, which must be new. It gathers the shared sockets and no others: its settings
    /// name no STUN or TURN servers and no TCP.
    pub fn insert(&mut self, now: Now, id: PeerId, mut peer: Peer) {
        let bound = self.sockets.iter().filter(|own| own.local.is_some());
        let interfaces = Interfaces {
            added: bound.map(|own| own.ip).collect(),
            removed: Vec::new(),
        };
        peer.handle_interfaces(now, &interfaces);
        let entry = Entry {
            peer,
            sockets: Vec::new(),
            names: Vec::new(),
            names_version: None,
            deadline: None,
            is_ready: false,
            leaves: false,
        };
        self.peers.insert(id, Box::new(entry));
        self.wake(id);
    }

    /// Closes a peer. What it still has to say to the other side is sent, and nothing more is
    /// heard of it here.
    pub fn remove(&mut self, now: Now, id: PeerId) {
        if let Some(entry) = self.peers.get_mut(&id) {
            entry.peer.close(now);
            entry.leaves = true;
            self.wake(id);
        }
    }

    /// A peer, to look at.
    pub fn get(&self, id: PeerId) -> Option<&Peer> {
        let entry = self.peers.get(&id)?;
        (!entry.leaves).then_some(&entry.peer)
    }

    /// A peer, to do something with it.
    pub fn get_mut(&mut self, id: PeerId) -> Option<&mut Peer> {
        self.wake(id);
        let entry = self.peers.get_mut(&id)?;
        (!entry.leaves).then_some(&mut entry.peer)
    }

    /// Peers, those included that are closing.
    pub fn len(&self) -> usize {
        self.peers.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.peers.is_empty()
    }

    /// A datagram arrived; its bytes are decrypted in place.
    pub fn handle_datagram(&mut self, now: Now, datagram: Datagram<'_>) {
        let Datagram {
            path,
            remote,
            ecn,
            waited,
            bytes,
        } = datagram;
        let named = match classify(bytes) {
            Some(Protocol::Stun) => match self.addressee(now.monotonic, path.socket, remote, bytes)
            {
                Some(id) => Some(id),
                None => return,
            },
            Some(_) => None,
            None => return self.counters.count("endpoint.unknown_protocol"),
        };
        let known = || self.addresses.get(path.socket, remote);
        let Some(id) = named.or_else(known) else {
            return self.counters.count("endpoint.unknown_address");
        };
        let Some(entry) = self.peers.get_mut(&id) else {
            return self.counters.count("endpoint.unknown_address");
        };
        let mut sockets = entry.sockets.iter();
        let Some((own, _)) = sockets.find(|(_, shared)| *shared == path.socket) else {
            return self.counters.count("endpoint.not_gathered");
        };
        let path_of_peer = Path {
            socket: *own,
            local: path.local,
        };
        entry.peer.handle_datagram(
            now,
            Datagram {
                path: path_of_peer,
                remote,
                ecn,
                waited,
                bytes,
            },
        );
        if entry.peer.take_channel_news() && !entry.leaves {
            self.channel_news.insert(id);
        }
        if named.is_some() {
            let route = Route {
                path: path_of_peer,
                remote,
            };
            if entry.peer.is_proven(route) {
                let socket = path.socket;
                if !self.addresses.claim(now.monotonic, socket, remote, id) {
                    self.counters.count("endpoint.address_of_another");
                }
            }
        }
        self.wake(id);
    }

    /// Deadlines have come.
    pub fn handle_timeout(&mut self, now: Now) {
        while let Some((at, id)) = self.deadlines.first().copied() {
            if at > now.monotonic {
                break;
            }
            self.deadlines.pop_first();
            if let Some(entry) = self.peers.get_mut(&id) {
                entry.deadline = None;
                entry.peer.handle_timeout(now);
            }
            self.wake(id);
        }
    }

    /// What the driver is to do next. Datagrams are written into `batch`, which must be empty.
    pub fn poll_output(&mut self, now: Now, batch: &mut Batch) -> Output<(PeerId, Event)> {
        if let Some(request) = self.requests.pop_front() {
            return Output::Request(request);
        }
        while let Some(id) = self.ready.front().copied() {
            let Some(entry) = self.peers.get_mut(&id) else {
                self.ready.pop_front();
                continue;
            };
            match entry.peer.poll_output(now, batch) {
                Output::Transmit => {
                    if self.address(now.monotonic, id, batch) {
                        return Output::Transmit;
                    }
                    batch.clear();
                }
                Output::Event(event) if !entry.leaves => return Output::Event((id, event)),
                Output::Event(_) => {}
                Output::Request(request) => self.serve(now, id, request),
                Output::Wait(deadline) => {
                    self.ready.pop_front();
                    self.rest(id, deadline);
                }
            }
        }
        let next = self.deadlines.first();
        Output::Wait(next.map(|(at, _)| Deadline::new(*at, "endpoint.peer")))
    }

    /// A peer for whose data channels something came: its events are to be taken, with
    /// [`Peer::poll_channel_event`], and more may be sent to it.
    pub fn poll_channel_news(&mut self) -> Option<PeerId> {
        self.channel_news.pop_first()
    }

    /// What was dropped, by reason; without what peers dropped.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Lets a peer say what it wants.
    fn wake(&mut self, id: PeerId) {
        if let Some(entry) = self.peers.get_mut(&id)
            && !std::mem::replace(&mut entry.is_ready, true)
        {
            self.ready.push_back(id);
        }
    }

    /// A peer wants nothing until then.
    fn rest(&mut self, id: PeerId, deadline: Option<Deadline>) {
        let Some(entry) = self.peers.get_mut(&id) else {
            return;
        };
        entry.is_ready = false;
        let at = deadline.map(|deadline| deadline.at);
        if entry.deadline != at {
            if let Some(before) = entry.deadline {
                self.deadlines.remove(&(before, id));
            }
            self.deadlines.extend(at.map(|at| (at, id)));
            entry.deadline = at;
        }
        if entry.leaves && entry.peer.is_finished() {
            return self.forget(id);
        }
        let version = Some(entry.peer.username_fragments_version());
        if entry.names_version != version {
            entry.names_version = version;
            let names: Vec<String> = entry.peer.username_fragments().map(Into::into).collect();
            let before = std::mem::replace(&mut entry.names, names.clone());
            for name in before {
                self.names.remove(&name);
            }
            // 48 random bits each: two peers never have the same.
            self.names.extend(names.into_iter().map(|name| (name, id)));
        }
    }

    fn forget(&mut self, id: PeerId) {
        self.channel_news.remove(&id);
        let Some(entry) = self.peers.remove(&id) else {
            return;
        };
        for name in &entry.names {
            self.names.remove(name);
        }
        if let Some(at) = entry.deadline {
            self.deadlines.remove(&(at, id));
        }
        self.addresses.forget(id);
    }

    /// Whom a STUN message is for; counts why not where it is for nobody.
    fn addressee(
        &mut self,
        now: Instant,
        socket: SocketId,
        remote: SocketAddr,
        bytes: &[u8],
    ) -> Option<PeerId> {
        let Ok(message) = Message::parse(bytes) else {
            self.counters.count("endpoint.malformed_stun");
            return None;
        };
        let found = match message.class {
            Class::Request => {
                // RFC 8445 §7.2.2: ours comes first.
                let name = message.username().and_then(|own| own.split(':').next());
                name.and_then(|name| self.names.get(name).copied())
            }
            Class::Success | Class::Error => self.asked.take(now, message.transaction),
            Class::Indication => self.addresses.get(socket, remote),
        };
        if found.is_none() {
            self.counters.count("endpoint.stun_for_nobody");
        }
        found
    }

    /// Puts the shared socket in the place of the peer's name for it, and notes what a check asks.
    fn address(&mut self, now: Instant, id: PeerId, batch: &mut Batch) -> bool {
        let sockets = self.peers.get(&id).map(|entry| &entry.sockets[..]);
        let mut sockets = sockets.unwrap_or_default().iter();
        let wanted = batch.destination().map(|own| own.path.socket);
        let Some((_, shared)) = sockets.find(|(own, _)| Some(*own) == wanted) else {
            self.counters.count("endpoint.unknown_socket");
            return false;
        };
        batch.set_socket(*shared);
        for datagram in batch.iter() {
            // The first two bits and the type of a request: others need no answer.
            if matches!(datagram, [0, 1, ..])
                && let Ok(message) = Message::parse(datagram)
            {
                self.asked.note(now, message.transaction, id);
            }
        }
        true
    }

    fn serve(&mut self, now: Now, id: PeerId, request: Request) {
        let Some(entry) = self.peers.get_mut(&id) else {
            return;
        };
        match request {
            Request::Bind { socket, ip } => {
                let shared = self.sockets.iter().find(|own| own.ip == ip);
                match shared.and_then(|own| Some((own.id, own.local?))) {
                    Some((shared, local)) => {
                        entry.sockets.push((socket, shared));
                        entry.peer.handle_bound(now, socket, local);
                    }
                    None => entry.peer.handle_bind_failed(now, socket),
                }
            }
            Request::Close { socket } => entry.sockets.retain(|(own, _)| *own != socket),
            Request::Listen { socket, .. } => entry.peer.handle_bind_failed(now, socket),
            Request::Open { socket, .. } => {
                let closed = crate::contract::StreamEvent::Closed;
                entry.peer.handle_stream(now, socket, closed);
            }
            // Whoever has a name of its network's alone reaches us, and is met that way.
            Request::Resolve { name, .. } => entry.peer.handle_resolved(now, &name, &[]),
            Request::Locate { service } => entry.peer.handle_located(now, &service, &[]),
            // Nobody answers here: who hides its addresses meets those whom it reaches itself.
            Request::Announce { .. } | Request::Withdraw { .. } => {}
        }
    }

    fn tell_all(&mut self, now: Now, interfaces: &Interfaces) {
        for entry in self.peers.values_mut().filter(|entry| !entry.leaves) {
            entry.peer.handle_interfaces(now, interfaces);
        }
        let all: Vec<PeerId> = self.peers.keys().copied().collect();
        for id in all {
            self.wake(id);
        }
    }
}
