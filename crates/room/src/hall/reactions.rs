//! Reactions: a small picture that the others see for some seconds, and that nobody keeps.

use serde::Deserialize;
use serde_json::json;
use twocan_proto::time::Now;

use super::Hall;
use crate::frame::{self, Incoming};

/// Those that there are, as `docs/signaling/reaction.schema.json` has them.
const REACTIONS: [&str; 9] = ["👍", "👎", "👏", "❤️", "🎉", "😂", "😮", "😢", "🤔"];

/// `data` of `reaction`.
#[derive(Deserialize)]
struct Reaction {
    emoji: String,
}

impl Hall {
    /// Somebody reacts.
    pub(super) fn react(&mut self, now: Now, peer: &str, incoming: &Incoming) {
        let reaction = incoming
            .data
            .as_ref()
            .and_then(|data| serde_json::from_str::<Reaction>(data.get()).ok())
            .filter(|own| REACTIONS.contains(&own.emoji.as_str()));
        let Some(Reaction { emoji }) = reaction else {
            return self.refuse_request(peer, incoming, "Invalid message");
        };
        if !self.may_talk(peer, incoming) || !self.takes_reaction(now, peer, incoming) {
            return;
        }
        let data = frame::raw(&json!({ "emoji": emoji }));
        self.tell_others(peer, "reaction", data.as_deref());
        self.reply(peer, incoming);
    }

    /// Whether somebody has not reacted too often; answers it where it has.
    pub(super) fn takes_reaction(&mut self, now: Now, peer: &str, incoming: &Incoming) -> bool {
        let session = self.peers.get_mut(peer);
        let takes = session.is_some_and(|own| own.may_react(now.monotonic));
        if !takes {
            self.counters.count("hall.too_many_reactions");
            self.refuse_with(peer, incoming, "Limit reached", "reactions_per_second");
        }
        takes
    }
}
