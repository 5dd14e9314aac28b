//! Raised hands: who asks to speak, in the order in which the server heard of it.

use serde::Deserialize;
use serde_json::json;
use twocan_proto::time::Now;

use super::Hall;
use super::act::ActError;
use crate::frame::{self, Incoming};

/// `data` of `hand`, as a client says it.
#[derive(Deserialize)]
struct Hand {
    raised: bool,
}

impl Hall {
    /// Somebody raises its hand, or lowers it.
    pub(super) fn change_hand(&mut self, now: Now, peer: &str, incoming: &Incoming) {
        let hand = incoming
            .data
            .as_ref()
            .and_then(|data| serde_json::from_str::<Hand>(data.get()).ok());
        let Some(Hand { raised }) = hand else {
            return self.refuse_request(peer, incoming, "Invalid message");
        };
        if !self.may_talk(peer, incoming) {
            return;
        }
        if !self.takes_change(now, peer, incoming) {
            return;
        }
        self.set_hand(peer, raised);
        self.reply(peer, incoming);
    }

    /// Whether somebody may say something to all; answers it where it may not.
    pub(super) fn may_talk(&mut self, peer: &str, incoming: &Incoming) -> bool {
        let session = self.peers.get(peer);
        let may = session.is_some_and(|own| own.permissions().may_talk());
        if !may {
            self.counters.count("hall.not_permitted");
            self.refuse_with(peer, incoming, "Not permitted", "data");
        }
        may
    }

    /// Somebody who moderates lowers the hand of another.
    pub(super) fn lower_hand(&mut self, room: &str, participant: &str) -> Result<(), ActError> {
        self.member(room, participant)?;
        self.set_hand(participant, false);
        Ok(())
    }

    /// Somebody who moderates lowers the hands of all.
    pub(super) fn lower_hands(&mut self, room: &str) {
        for participant in self.present(room) {
            self.set_hand(&participant, false);
        }
    }

    /// Tells everybody, its owner too, where that is news. Who raises it again without having lowered
    /// it keeps its place.
    pub(super) fn set_hand(&mut self, peer: &str, raised: bool) {
        let Some(session) = self.peers.get_mut(peer) else {
            return;
        };
        if session.hand.is_some() == raised {
            return;
        }
        let room = self.rooms.get_mut(&session.room);
        session.hand = room.filter(|_| raised).map(|room| {
            room.hands += 1;
            room.hands
        });
        let mut data = json!({"peer_id": peer, "raised": session.hand.is_some()});
        if let Some(number) = session.hand {
            data["number"] = number.into();
        }
        let data = frame::raw(&data);
        self.tell_others(peer, "hand", data.as_deref());
        self.tell_own(peer, "hand", data.as_deref());
    }
}
