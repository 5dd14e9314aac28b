//! Participants whose signaling is on a data channel, and not on a WebSocket.

use std::collections::BTreeMap;

use twocan_io::clock;
use twocan_room::ConnectionId;

use super::{Outgoing, Task};

/// Who they are to the hall, which knows connections, and to media threads, which know participants.
#[derive(Debug, Default)]
pub(super) struct Channels {
    participants: BTreeMap<ConnectionId, String>,
    connections: BTreeMap<String, ConnectionId>,
}

impl Channels {
    pub(super) fn insert(&mut self, connection: ConnectionId, participant: String) {
        self.connections.insert(participant.clone(), connection);
        self.participants.insert(connection, participant);
    }

    fn remove(&mut self, connection: ConnectionId) {
        if let Some(participant) = self.participants.remove(&connection) {
            self.connections.remove(&participant);
        }
    }

    fn take(&mut self, participant: &str) -> Option<ConnectionId> {
        let connection = self.connections.remove(participant)?;
        self.participants.remove(&connection);
        Some(connection)
    }
}

impl Task {
    /// Passes something on to one whose signaling is on a data channel; gives it back where that is
    /// none.
    pub(super) fn pass_by_channel(
        &mut self,
        connection: ConnectionId,
        outgoing: Outgoing,
    ) -> Option<Outgoing> {
        let Some(participant) = self.channels.participants.get(&connection) else {
            return Some(outgoing);
        };
        match outgoing {
            Outgoing::Text(text) => {
                let media = self.media.as_mut();
                if !media.is_some_and(|media| media.say(participant, text)) {
                    self.channels.remove(connection);
                    self.hall.too_slow(clock::now(), connection);
                }
            }
            Outgoing::Close(..) => {
                // What was said before is still sent; with its channel it leaves.
                self.channels.remove(connection);
                self.hall.disconnected(clock::now(), connection);
            }
        }
        None
    }

    /// A frame came over a data channel.
    pub(super) fn heard_by_channel(&mut self, participant: &str, text: &str) {
        // Who has left meanwhile is not heard.
        if let Some(connection) = self.channels.connections.get(participant) {
            self.hall.handle_text(clock::now(), *connection, text);
        }
    }

    /// More waits on a data channel than may.
    pub(super) fn behind_by_channel(&mut self, participant: &str) {
        if let Some(connection) = self.channels.take(participant) {
            self.hall.too_slow(clock::now(), connection);
        }
    }

    /// The connection of one who came by HTTP is over.
    pub(super) fn ended(&mut self, participant: &str, is_lost: bool) {
        if is_lost && let Some(connection) = self.channels.take(participant) {
            self.hall.disconnected(clock::now(), connection);
        }
        self.dismiss(participant);
    }
}
