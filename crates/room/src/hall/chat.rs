//! What is said to everybody in a room, kept for those who come later, where that is wanted. It lives as
//! long as the room.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use twocan_proto::time::Now;

use super::Hall;
use super::membership::millis;
use crate::frame::{self, All, Incoming, Recipients};
use crate::limits::{CHAT_HISTORY_LEN_MAX, CHAT_HISTORY_MAX};

/// What it is called.
const CHAT: &str = "chat";

/// Bytes of what is told to who is told everything in messages of a data channel.
const BY_CHANNEL_LEN_MAX: usize = 96 * 1024;

/// What who has just come is told.
#[derive(Serialize)]
struct History<'a> {
    messages: Vec<&'a Kept>,
}

/// What makes a message of one.
#[derive(Deserialize)]
struct Words {
    text: Option<String>,
    sealed: Option<String>,
}

impl Words {
    fn are_in(data: &RawValue) -> bool {
        let read = serde_json::from_str::<Self>(data.get());
        read.is_ok_and(|own| own.text.is_some() || own.sealed.is_some())
    }
}

/// Something that was said.
#[derive(Debug, Serialize)]
struct Kept {
    /// The id of who did, who may be gone.
    from: String,
    /// Its name, as it was then.
    name: String,
    /// Milliseconds since 1970.
    at: u64,
    /// As it came.
    data: Box<RawValue>,
}

impl Kept {
    fn len(&self) -> usize {
        self.from.len() + self.name.len() + self.data.get().len()
    }
}

/// What was said last, the oldest first.
#[derive(Debug, Default)]
pub(super) struct ChatHistory {
    kept: VecDeque<Kept>,
    len: usize,
}

impl ChatHistory {
    fn keep(&mut self, kept: Kept, most: usize) {
        self.len += kept.len();
        self.kept.push_back(kept);
        self.cut(most);
    }

    /// Lets go of the oldest, until no more is there than may be.
    pub(super) fn cut(&mut self, most: usize) {
        while self.kept.len() > most || self.len > CHAT_HISTORY_LEN_MAX {
            let Some(gone) = self.kept.pop_front() else {
                return;
            };
            self.len -= gone.len();
        }
    }

    /// The newest that are no longer together than that.
    fn within(&self, len_max: usize) -> Vec<&Kept> {
        let mut left = len_max;
        let fits = |kept: &&Kept| {
            let taken = left.checked_sub(kept.len() + ENVELOPE_LEN);
            left = taken.unwrap_or(0);
            taken.is_some()
        };
        let mut newest: Vec<&Kept> = self.kept.iter().rev().take_while(fits).collect();
        newest.reverse();
        newest
    }
}

/// What stands around a message, about, with a name of which each character is written as six.
const ENVELOPE_LEN: usize = 700;

impl Hall {
    /// How many messages to everybody a room keeps.
    pub(super) fn chat_history(&self, room: &str) -> usize {
        let own = self.rooms.get(room).and_then(|room| room.chat_history);
        let most = own.unwrap_or(self.config.limits.chat_history);
        most.min(CHAT_HISTORY_MAX)
    }

    /// Keeps what somebody has said, where that was to everybody.
    pub(super) fn keep_chat(&mut self, now: Now, peer: &str, incoming: &Incoming) {
        let is_to_all = matches!(incoming.to, Some(Recipients::All(All::All)));
        let Some(session) = self.peers.get(peer) else {
            return;
        };
        let most = self.chat_history(&session.room);
        if incoming.event != CHAT || !is_to_all || most == 0 {
            return;
        }
        // What has no words, sealed or not, is no message of the protocol.
        let data = incoming.data.clone();
        let Some(data) = data.filter(|own| Words::are_in(own)) else {
            return;
        };
        let kept = Kept {
            from: peer.to_owned(),
            name: session.name.clone(),
            at: millis(now.wallclock),
            data,
        };
        let room = session.room.clone();
        if let Some(room) = self.rooms.get_mut(&room) {
            room.chat.keep(kept, most);
        }
    }

    /// Tells who has just come what was said before.
    pub(super) fn tell_chat_history(&mut self, peer: &str) {
        let Some(session) = self.peers.get(peer) else {
            return;
        };
        let Some(room) = self.rooms.get(&session.room) else {
            return;
        };
        let len_max = match session.by_channel {
            true => BY_CHANNEL_LEN_MAX,
            false => usize::MAX,
        };
        let messages = room.chat.within(len_max);
        if messages.is_empty() {
            return;
        }
        let data = frame::raw(&History { messages });
        self.tell_own(peer, "chat-history", data.as_deref());
    }
}
