//! The end of a server: nobody joins any more, those who are there are told, and later let go.

use std::time::Duration;

use serde_json::json;
use twocan_proto::time::Now;

use super::{CloseCode, ConnectionId, Hall, Protocol};
use crate::frame;
use crate::session::Frame;

impl Hall {
    /// No one joins any more, and every participant is told that the server ends, in how long, and
    /// whether its media goes through the server and so ends with it. Who waits in a lobby is sent away.
    ///
    /// Nothing ends by this: connections that break are resumed as before, until [`Self::end`].
    pub fn drain(&mut self, now: Now, within: Duration) {
        self.draining = true;
        self.send_waiting_away(now);
        let deadline_ms = u64::try_from(within.as_millis()).unwrap_or(u64::MAX);
        let peers = self.peers.values();
        let peers = peers.filter(|session| session.protocol == Protocol::V1);
        let peers: Vec<(String, bool)> = peers
            .map(|session| (session.id.clone(), self.is_forwarded(&session.room)))
            .collect();
        for (peer, forwarded) in peers {
            let data = frame::raw(&json!({
                "reason": "shutdown",
                "deadline_ms": deadline_ms,
                "forwarded": forwarded,
            }));
            let frame = Frame {
                event: "draining",
                data: data.as_deref(),
                ..Frame::default()
            };
            self.send(&peer, &frame);
        }
    }

    /// Nobody is let in any more.
    fn send_waiting_away(&mut self, now: Now) {
        let rooms = self.rooms.values();
        let waiting: Vec<String> = rooms.flat_map(|room| room.waiting.clone()).collect();
        for participant in waiting {
            self.refuse_waiting(now, &participant, "draining");
        }
    }

    /// Whether media of anyone goes through the server: a participant's, a publisher's or a
    /// viewer's.
    pub fn carries_media(&self) -> bool {
        self.rooms.values().any(|room| {
            let is_used = !room.members.is_empty() || !room.viewers.is_empty();
            is_used && room.shape.takes_server()
        })
    }

    /// Closes every connection, with 1001 (RFC 6455 §7.4.1), and takes no more.
    pub fn end(&mut self) {
        self.draining = true;
        self.ended = true;
        let connections: Vec<ConnectionId> = self.connections.keys().copied().collect();
        for connection in connections {
            self.close(connection, CloseCode::GoingAway, "shutdown");
        }
    }
}
