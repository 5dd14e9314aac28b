//! Connections with peers (RFC 6062 §5.2 to §5.5): opened for a client, or accepted for it, and
//! claimed by a stream of the client's.
//!
//! Two clients of this server meet without a socket between them: a Connect to a relayed address of
//! ours makes a connection at either end.

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use twocan_wire::stun::{Attribute, Builder, Class, ErrorCode, Method, TransactionId};

use super::address::Way;
use super::allocation::{Asked, ClientKey, Family};
use super::machine::{Server, Timer, owner_of, refusal, way};
use super::ports::Holder;
use super::{CONNECTION_PATIENCE, CONNECTIONS_MAX, ConnectionId, Event, StreamId, Transport};
use crate::contract::SocketId;
use crate::time::Now;
use crate::turn::LongTermKey;

/// A Connect that waits for its answer.
#[derive(Debug)]
pub(super) struct Opening {
    transaction: TransactionId,
    key: LongTermKey,
}

/// What is at the peer's end.
#[derive(Debug)]
pub(super) enum Far {
    Opening(Box<Opening>),
    Stream(StreamId),
    /// The connection of another client of this server.
    Own(ConnectionId),
    /// Nothing, and there will be nothing.
    Failed,
}

/// A connection with a peer.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) allocation: u32,
    pub(super) peer: SocketAddr,
    pub(super) far: Far,
    /// The client's stream that has claimed it.
    pub(super) near: Option<StreamId>,
    /// When it ends unless it is opened, or claimed.
    ends: Option<Instant>,
}

impl Server {
    pub(super) fn connect(&mut self, now: Now, asked: Asked<'_>, id: u32) {
        let peer = asked.message.peer_address();
        let (Some(peer), Some(allocation)) = (peer, self.allocation(id)) else {
            return self.refuse(&asked, ErrorCode::BAD_REQUEST);
        };
        if allocation.transport != Transport::Tcp {
            return self.refuse(&asked, ErrorCode::ALLOCATION_MISMATCH);
        }
        let Some(relay) = allocation.relay(Family::of(peer.ip())).copied() else {
            return self.refuse(&asked, ErrorCode::PEER_ADDRESS_FAMILY_MISMATCH);
        };
        let mut own = allocation.connections.iter();
        if own.any(|own| {
            self.connections
                .get(own)
                .is_some_and(|own| own.peer == peer)
        }) {
            return self.refuse(&asked, ErrorCode::CONNECTION_ALREADY_EXISTS);
        }
        if peer.port() == 0 {
            return self.refuse(&asked, ErrorCode::BAD_REQUEST);
        }
        // Media is not taken by TCP.
        if self.way_beside_media(peer.ip()) == Way::Refused {
            return self.refuse(&asked, ErrorCode::FORBIDDEN);
        }
        if !self.has_room_for_connection(id) {
            return self.refuse(&asked, ErrorCode::INSUFFICIENT_CAPACITY);
        }
        if self.ports.is_relay(peer.ip()) {
            match self.ports.holder(peer) {
                Some(Holder::Allocation(other)) => {
                    return self.meet(now, &asked, id, other, (relay.external, peer));
                }
                // A port of this machine on which nobody relays.
                _ if !self.config.policy.is_named(peer.ip()) => {
                    return self.refuse(&asked, ErrorCode::CONNECTION_TIMEOUT_OR_FAILURE);
                }
                _ => {}
            }
        }
        let opening = Opening {
            transaction: asked.message.transaction,
            key: asked.proof.key,
        };
        let connection = self.add_connection(now, id, peer, Far::Opening(Box::new(opening)));
        self.events.push_back(Event::Connect {
            connection,
            from: relay.bind,
            to: peer,
        });
    }

    /// A Connect to a relayed address of ours.
    fn meet(
        &mut self,
        now: Now,
        asked: &Asked<'_>,
        id: u32,
        other: u32,
        (from, to): (SocketAddr, SocketAddr),
    ) {
        let is_let_in = self.allocation(other).is_some_and(|allocation| {
            allocation.transport == Transport::Tcp && allocation.permits(now.monotonic, from.ip())
        });
        // There are two at once.
        let has_room = self.connections.len() + 2 <= self.config.quotas.connections
            && self.has_room_for_connection(other);
        if !is_let_in || !has_room || other == id {
            return self.refuse(asked, ErrorCode::CONNECTION_TIMEOUT_OR_FAILURE);
        }
        let there = self.connection_id();
        let here = self.add_connection(now, id, to, Far::Own(there));
        self.insert_connection(now, there, other, from, Far::Own(here));
        self.counters.count("turn.connected");
        self.answer(asked, Class::Success, |builder| {
            builder.attribute(Attribute::ConnectionId(here.0));
        });
        self.tell_of_attempt(there);
    }

    fn has_room_for_connection(&self, id: u32) -> bool {
        let of_allocation = self
            .allocation(id)
            .map_or(0, |allocation| allocation.connections.len());
        of_allocation < CONNECTIONS_MAX && self.connections.len() < self.config.quotas.connections
    }

    /// A name that nothing has; nobody can guess it.
    fn connection_id(&mut self) -> ConnectionId {
        loop {
            let id = ConnectionId(self.random.u32());
            if !self.connections.contains_key(&id) {
                return id;
            }
        }
    }

    fn add_connection(
        &mut self,
        now: Now,
        allocation: u32,
        peer: SocketAddr,
        far: Far,
    ) -> ConnectionId {
        let id = self.connection_id();
        self.insert_connection(now, id, allocation, peer, far);
        id
    }

    fn insert_connection(
        &mut self,
        now: Now,
        id: ConnectionId,
        allocation: u32,
        peer: SocketAddr,
        far: Far,
    ) {
        let made = Connection {
            allocation,
            peer,
            far,
            near: None,
            ends: None,
        };
        self.connections.insert(id, made);
        if let Some(allocation) = self.allocation_mut(allocation) {
            allocation.connections.push(id);
        }
        self.set_end(id, Some(now.monotonic + CONNECTION_PATIENCE));
    }

    fn set_end(&mut self, id: ConnectionId, ends: Option<Instant>) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        let timer = Timer::Connection(id);
        if let Some(old) = std::mem::replace(&mut connection.ends, ends) {
            self.timers.remove(&(old, timer));
        }
        if let Some(ends) = ends {
            self.timers.insert((ends, timer));
        }
    }

    /// ConnectionAttempt, to the client whose peer has connected.
    fn tell_of_attempt(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.get(&id) else {
            return;
        };
        let peer = connection.peer;
        let Some(allocation) = self.allocation(connection.allocation) else {
            return;
        };
        let way = way(&allocation.client);
        let mut transaction = [0; 12];
        self.random.fill(&mut transaction);
        self.outbox.push(way, |out| {
            let transaction = TransactionId(transaction);
            let method = Method::CONNECTION_ATTEMPT;
            let mut builder = Builder::new(out, Class::Indication, method, transaction);
            builder.attribute(Attribute::XorPeerAddress(peer));
            builder.attribute(Attribute::ConnectionId(id.0));
            builder.finish_bare();
        });
    }

    /// A peer has connected to a listener, which is at this address. One that the client did not permit is let go
    /// (RFC 6062 §5.3).
    pub fn handle_accepted(
        &mut self,
        now: Now,
        (socket, at): (SocketId, SocketAddr),
        stream: StreamId,
        peer: SocketAddr,
    ) {
        let owner = owner_of(socket).and_then(|(id, family)| {
            let allocation = self.allocation(id)?;
            // It may be one of a listener that is gone.
            let relay = allocation.relay(family).filter(|relay| relay.bind == at);
            relay.map(|_| (id, allocation))
        });
        let is_permitted = owner.is_some_and(|(_, allocation)| {
            allocation.transport == Transport::Tcp && allocation.permits(now.monotonic, peer.ip())
        });
        let Some(id) = owner.map(|(id, _)| id) else {
            return self.events.push_back(Event::Disconnect { stream });
        };
        let reason = if !is_permitted || self.way_beside_media(peer.ip()) == Way::Refused {
            "turn.peer_not_permitted"
        } else if !self.has_room_for_connection(id) {
            "turn.too_many_connections"
        } else {
            let connection = self.add_connection(now, id, peer, Far::Stream(stream));
            self.peer_streams.insert(stream, connection);
            self.counters.count("turn.accepted");
            return self.tell_of_attempt(connection);
        };
        self.counters.count(reason);
        self.events.push_back(Event::Disconnect { stream });
    }

    /// What became of an [`Event::Connect`]: the stream, or none.
    pub fn handle_connected(
        &mut self,
        now: Now,
        connection: ConnectionId,
        stream: Option<StreamId>,
    ) {
        let is_opening = self
            .connections
            .get(&connection)
            .is_some_and(|entry| matches!(entry.far, Far::Opening(_)));
        match stream {
            Some(stream) if !is_opening => self.events.push_back(Event::Disconnect { stream }),
            None if !is_opening => {}
            None => {
                self.answer_opening(connection, None);
                self.close_connection(connection);
            }
            Some(stream) => {
                self.peer_streams.insert(stream, connection);
                self.set_end(connection, Some(now.monotonic + CONNECTION_PATIENCE));
                self.answer_opening(connection, Some(stream));
            }
        }
    }

    /// Answers the Connect that waits for a connection.
    fn answer_opening(&mut self, connection: ConnectionId, stream: Option<StreamId>) {
        let Some(entry) = self.connections.get_mut(&connection) else {
            return;
        };
        // One that has failed is about to go, whatever is at its end.
        let far = stream.map_or(Far::Failed, Far::Stream);
        let Far::Opening(opening) = std::mem::replace(&mut entry.far, far) else {
            return;
        };
        let id = entry.allocation;
        let Some(client) = self.allocation(id).map(|allocation| allocation.client) else {
            return;
        };
        let error = ErrorCode::CONNECTION_TIMEOUT_OR_FAILURE;
        let (class, attribute, counter) = match stream {
            Some(_) => {
                let attribute = Attribute::ConnectionId(connection.0);
                (Class::Success, attribute, "turn.connected")
            }
            None => {
                let attribute = Attribute::ErrorCode(error);
                (Class::Error, attribute, refusal(error.code))
            }
        };
        self.counters.count(counter);
        let Opening { transaction, key } = &*opening;
        let method = Method::CONNECT;
        self.answer_with(&client, class, method, *transaction, key, |builder| {
            builder.attribute(attribute);
        });
    }

    /// Neither opened nor claimed in time.
    pub(super) fn give_up_connection(&mut self, connection: ConnectionId) {
        let Some(entry) = self.connections.get_mut(&connection) else {
            return;
        };
        // Its deadline has come.
        entry.ends = None;
        if matches!(entry.far, Far::Opening(_)) {
            self.events.push_back(Event::Abandon { connection });
            self.answer_opening(connection, None);
        } else {
            self.counters.count("turn.connection_unclaimed");
        }
        self.close_connection(connection);
    }

    /// A stream of a client's claims a connection (RFC 6062 §5.4), and carries it from here on.
    pub(super) fn bind_connection(&mut self, now: Now, asked: &Asked<'_>) {
        let named = asked
            .message
            .attributes()
            .find_map(|attribute| match attribute {
                Attribute::ConnectionId(id) => Some(ConnectionId(id)),
                _ => None,
            });
        let is_free = |id: &ConnectionId| {
            let entry = self.connections.get(id)?;
            let is_there = !matches!(entry.far, Far::Opening(_) | Far::Failed);
            let user = &self.allocation(entry.allocation)?.user;
            let is_own = **user == *asked.proof.user;
            Some(entry.near.is_none() && is_there && is_own)
        };
        let key = asked.client.key;
        let (ClientKey::Stream(stream), Some(id), false) = (
            key,
            named.filter(|id| is_free(id) == Some(true)),
            self.clients.contains_key(&key),
        ) else {
            return self.refuse(asked, ErrorCode::BAD_REQUEST);
        };
        if !self.set_carries(stream, id) {
            return self.refuse(asked, ErrorCode::BAD_REQUEST);
        }
        self.set_end(id, None);
        let Some(entry) = self.connections.get_mut(&id) else {
            return;
        };
        entry.near = Some(stream);
        let (allocation, far) = (entry.allocation, &entry.far);
        let there = match far {
            Far::Own(other) => {
                let other = *other;
                self.connections
                    .get(&other)
                    .and_then(|entry| Some((entry.near?, other, Some(entry.allocation))))
            }
            Far::Stream(far) => Some((*far, id, None)),
            Far::Opening(_) | Far::Failed => None,
        };
        self.counters.count("turn.connection_bound");
        self.answer(asked, Class::Success, |_| {});
        match there {
            Some((far, of_far, other)) => {
                self.join(now, (stream, id, allocation), (far, of_far, other));
            }
            // What the client sends from here on stays with it until somebody takes it.
            None => self.events.push_back(Event::Hold { stream }),
        }
    }

    /// Ends a connection, and what carries it.
    pub(super) fn close_connection(&mut self, connection: ConnectionId) {
        let mut ended = vec![connection];
        while let Some(id) = ended.pop() {
            self.set_end(id, None);
            let Some(gone) = self.connections.remove(&id) else {
                continue;
            };
            if let Some(allocation) = self.allocation_mut(gone.allocation) {
                allocation.connections.retain(|own| *own != id);
            }
            let far = match gone.far {
                Far::Stream(stream) => Some(stream),
                Far::Own(other) => {
                    ended.push(other);
                    None
                }
                Far::Opening(_) => {
                    let connection = id;
                    self.events.push_back(Event::Abandon { connection });
                    None
                }
                Far::Failed => None,
            };
            if let Some(stream) = gone.near {
                self.forget_flow(stream);
                if self.forget_stream(stream).is_some() {
                    self.events.push_back(Event::Disconnect { stream });
                }
            }
            if let Some(stream) = far {
                self.forget_flow(stream);
                if self.peer_streams.remove(&stream).is_some() {
                    self.events.push_back(Event::Disconnect { stream });
                }
            }
        }
    }

    /// Ends the connections of allocations with peers for which `is_meant` says so.
    pub(super) fn close_connections_to(&mut self, is_meant: impl Fn(u32, IpAddr) -> bool) {
        let meant: Vec<ConnectionId> = self
            .connections
            .iter()
            .filter(|(_, entry)| is_meant(entry.allocation, entry.peer.ip()))
            .map(|(id, _)| *id)
            .collect();
        for id in meant {
            self.close_connection(id);
        }
    }

    /// Ends the connections with peers that are not relayed to any more.
    pub(super) fn close_refused_connections(&mut self) {
        let (policy, relays) = (self.config.policy.clone(), self.ports.relays());
        self.close_connections_to(|_, ip| policy.way(ip, relays.contains(&ip)) == Way::Refused);
    }
}
