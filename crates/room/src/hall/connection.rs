//! The ways by which participants are told things: WebSockets, and data channels.

use std::time::{Duration, Instant};

use twocan_proto::time::Now;

use super::membership::Introduction;
use super::{CloseCode, ConnectionId, Event, Hall, Protocol};
use crate::ice_servers::OwnUrls;
use crate::permissions::Admission;
use crate::rate::Rate;

#[derive(Debug)]
pub(super) struct Connection {
    pub(super) room: String,
    pub(super) protocol: Protocol,
    /// The participant it belongs to, once it has joined.
    pub(super) peer: Option<String>,
    pub(super) rate: Rate,
    pub(super) heard_at: Instant,
    pub(super) joins_at: Option<Instant>,
    /// Our own STUN and TURN server as this client reaches it.
    pub(super) own: OwnUrls,
    /// As whom it was let in.
    pub(super) admission: Admission,
    /// Whether it is a data channel, and no WebSocket.
    pub(super) by_channel: bool,
}

impl Connection {
    /// When it will have been silent for too long. Whether somebody is still there at the other end of
    /// a data channel, its connection knows.
    pub(super) fn silent_at(&self, silence: Duration) -> Option<Instant> {
        (!self.by_channel).then(|| self.heard_at + silence)
    }
}

impl Hall {
    /// A WebSocket to `room` is open; `own` is our own STUN and TURN server as this client reaches
    /// it, `admission` as whom it was let in.
    pub fn connected(
        &mut self,
        now: Now,
        connection: ConnectionId,
        room: &str,
        protocol: Protocol,
        own: OwnUrls,
        admission: Admission,
    ) {
        let waits = protocol == Protocol::V1;
        let limits = &self.config.limits;
        let entry = Connection {
            room: room.to_owned(),
            protocol,
            peer: None,
            rate: Rate::new(limits.messages_per_second, now.monotonic),
            heard_at: now.monotonic,
            joins_at: waits.then(|| now.monotonic + limits.greeting),
            own,
            admission,
            by_channel: false,
        };
        self.connections.insert(connection, entry);
        if protocol == Protocol::Base {
            self.join(now, connection, Introduction::default());
        }
    }

    /// A WebSocket is gone.
    pub fn disconnected(&mut self, now: Now, connection: ConnectionId) {
        let Some(gone) = self.connections.remove(&connection) else {
            return;
        };
        let Some(peer) = gone.peer else { return };
        let Some(session) = self.peers.get_mut(&peer) else {
            return;
        };
        // It may have resumed on another WebSocket already.
        if session.connection != Some(connection) {
            return;
        }
        session.connection = None;
        match session.protocol {
            _ if session.is_waiting => self.leave(now, &peer, "connection_lost"),
            _ if session.by_channel => self.leave(now, &peer, "connection_lost"),
            Protocol::Base => self.leave(now, &peer, "connection_lost"),
            Protocol::V1 => {
                session.leaves_at = Some(now.monotonic + self.config.limits.resume_grace);
            }
        }
    }

    /// Anything else arrived: a binary frame, a WebSocket ping.
    pub fn handle_other(&mut self, now: Now, connection: ConnectionId) {
        if let Some(entry) = self.connections.get_mut(&connection) {
            entry.heard_at = now.monotonic;
        }
    }

    /// The driver's queue for a WebSocket is full: it is closed, and the room goes on.
    pub fn too_slow(&mut self, now: Now, connection: ConnectionId) {
        self.counters.count("hall.too_slow");
        self.close(connection, CloseCode::TryAgainLater, "queue_per_peer");
        self.disconnected(now, connection);
    }

    /// Closes a connection, and hears no more of what is still on its way: it was let in once, and is
    /// not to come in again by that.
    pub(super) fn hang_up(
        &mut self,
        connection: ConnectionId,
        code: CloseCode,
        reason: &'static str,
    ) {
        self.close(connection, code, reason);
        self.connections.remove(&connection);
    }

    pub(super) fn close(
        &mut self,
        connection: ConnectionId,
        code: CloseCode,
        reason: &'static str,
    ) {
        self.events.push_back(Event::Close {
            connection,
            code,
            reason,
        });
    }
}
