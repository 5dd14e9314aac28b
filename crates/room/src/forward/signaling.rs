//! Signaling over a data channel of a participant's own connection, for those who joined by an offer
//! over HTTP (`docs/join.md`).
//!
//! 1. The channel is the client's to open, in time. What is for it until then is kept.
//! 2. What waits for a reader is bounded; one that takes too little leaves.
//! 3. The channel, the connection and the participant end together. What was said before is still
//!    sent, for a moment.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use twocan_proto::channel::{ChannelId, Info, Reliability, SendError};
use twocan_proto::endpoint::PeerId;
use twocan_proto::time::Now;

use super::Event;
use super::forwarder::Forwarder;

/// Label of the channel.
pub const SIGNALING_LABEL: &str = "signaling";

/// Its protocol: the one of WebSockets.
pub const SIGNALING_PROTOCOL: &str = "twocan.v1";

/// How long a client may take from its offer to its channel.
const OPENS_WITHIN: Duration = Duration::from_secs(20);

/// Bytes of frames that wait for a client.
const WAITING_LEN_MAX: usize = 1 << 20;

/// How long what was said is still sent to one who has left.
const LINGER: Duration = Duration::from_secs(2);

/// The channel, and what waits for it.
#[derive(Debug)]
pub(super) struct Signaling {
    pub(super) channel: Option<ChannelId>,
    opens_by: Instant,
    early: VecDeque<String>,
    early_len: usize,
    /// Whether it took too little; it is told nothing more.
    is_behind: bool,
}

impl Signaling {
    fn new(now: Instant) -> Self {
        Self {
            channel: None,
            opens_by: now + OPENS_WITHIN,
            early: VecDeque::new(),
            early_len: 0,
            is_behind: false,
        }
    }

    /// Whether a channel is one for signaling: what is said on it arrives, and in order.
    pub(super) fn is_meant(info: &Info) -> bool {
        info.label == SIGNALING_LABEL
            && info.protocol == SIGNALING_PROTOCOL
            && info.ordered
            && info.reliability == Reliability::Reliable
    }
}

/// One who has left, and to whom something is still on its way.
#[derive(Debug, Clone, Copy)]
pub(super) struct Departing {
    channel: ChannelId,
    until: Instant,
}

impl Forwarder {
    /// The first offer of somebody who joined by it: the answer comes as [`Event::Signal`] `answer`,
    /// what is wrong as `error`. The channel for signaling is among what is offered, or comes soon
    /// after; without it, it leaves. What comes over it is told as [`Event::Text`].
    pub fn handle_joining_offer(&mut self, now: Now, participant: &str, sdp: &str) {
        if let Some(own) = self.participant_mut(participant) {
            own.signaling = Some(Signaling::new(now.monotonic));
        }
        self.handle_whole_offer(now, participant, sdp);
    }

    /// Sends a text to a participant over its channel for signaling, once that is open. Of one for
    /// whom too much waits, [`Event::Behind`] is told, once.
    pub fn say(&mut self, now: Now, participant: &str, text: String) {
        let Some(id) = self.ids.get(participant).copied() else {
            // It may have left meanwhile.
            return self.counters.count("forward.unknown_participant");
        };
        let own = self.participants.get_mut(&id);
        let (Some(own), Some(peer)) = (own, self.endpoint.get(id)) else {
            return;
        };
        let Some(signaling) = own.signaling.as_mut().filter(|own| !own.is_behind) else {
            return self.counters.count("forward.not_told");
        };
        let waiting = match signaling.channel {
            Some(channel) => peer.buffered_amount(channel),
            None => signaling.early_len,
        };
        if waiting + text.len() > WAITING_LEN_MAX {
            signaling.is_behind = true;
            signaling.early.clear();
            self.counters.count("forward.signaling_behind");
            let participant = participant.to_owned();
            return self.events.push_back(Event::Behind { participant });
        }
        match signaling.channel {
            Some(channel) => self.say_on(now, id, channel, text),
            None => {
                signaling.early_len += text.len();
                signaling.early.push_back(text);
            }
        }
    }

    fn say_on(&mut self, now: Now, id: PeerId, channel: ChannelId, text: String) {
        let Some(peer) = self.endpoint.get_mut(id) else {
            return;
        };
        let Err(error) = peer.send_text(now, channel, text) else {
            return;
        };
        tracing::debug!(%error, participant = self.name(id), "signaling");
        self.counters.count("forward.signaling_not_sent");
        // One that closes its channel is about to leave; one that takes no messages of that length
        // would miss one.
        if error != SendError::NotOpen {
            self.end_with_connection(now, id, true);
        }
    }

    /// Takes the channel for signaling of one who is to have one; any other it closes.
    pub(super) fn signaling_opened(&mut self, now: Now, id: PeerId, channel: ChannelId) {
        let own = self.participants.get_mut(&id);
        let (Some(own), Some(peer)) = (own, self.endpoint.get_mut(id)) else {
            return;
        };
        let Some(signaling) = own.signaling.as_mut().filter(|own| own.channel.is_none()) else {
            return peer.close_data_channel(channel);
        };
        signaling.channel = Some(channel);
        signaling.early_len = 0;
        for text in std::mem::take(&mut signaling.early) {
            self.say_on(now, id, channel, text);
        }
        self.negotiate(now, id);
    }

    /// Whether somebody who is told things over a channel has none yet.
    pub(super) fn is_out_of_reach(&self, id: PeerId) -> bool {
        let own = self.participants.get(&id);
        let signaling = own.and_then(|own| own.signaling.as_ref());
        signaling.is_some_and(|own| own.channel.is_none())
    }

    /// Whether a channel is the one over which somebody is told things.
    pub(super) fn is_signaling(&self, id: PeerId, channel: ChannelId) -> bool {
        let own = self.participants.get(&id);
        let signaling = own.and_then(|own| own.signaling.as_ref());
        signaling.is_some_and(|own| own.channel == Some(channel))
    }

    /// Those who have left, while the last that was said to them is on its way: for 2 s at most.
    pub fn departing_count(&self) -> usize {
        self.departing.len()
    }

    /// Whether texts are taken off channels for signaling, which is the default. A driver that has no
    /// place for them stops that: they count against the receiver window then, and clients are slowed.
    pub fn take_texts(&mut self, takes: bool) {
        self.data.hold_texts(!takes);
    }

    /// Somebody who came by HTTP leaves with its connection, or with its channel (`is_lost` where that
    /// was not its wish).
    pub(super) fn end_with_connection(&mut self, now: Now, id: PeerId, is_lost: bool) {
        let own = self.participants.get(&id);
        let own = own.filter(|own| own.negotiation.is_single || own.signaling.is_some());
        if let Some(participant) = own.map(|own| own.id.clone()) {
            self.leave(now, &participant);
            self.events.push_back(Event::Ended {
                participant,
                is_lost,
            });
        }
    }

    /// Whether something is still to be sent to one who leaves; what that is goes on for a while.
    pub(super) fn lingers(&mut self, now: Now, id: PeerId, own: Option<Signaling>) -> bool {
        let channel = own.and_then(|own| own.channel.filter(|_| !own.is_behind));
        let Some(channel) = channel.filter(|own| self.is_on_its_way(id, *own)) else {
            return false;
        };
        let until = now.monotonic + LINGER;
        self.departing.insert(id, Departing { channel, until });
        true
    }

    fn is_on_its_way(&self, id: PeerId, channel: ChannelId) -> bool {
        self.endpoint.get(id).is_some_and(|peer| {
            let is_open = peer.channel_state(channel).is_some();
            let waits = peer.buffered_amount(channel) > 0 || peer.sctp_stats().unconfirmed > 0;
            is_open && waits
        })
    }

    /// What changes by itself: those go who opened no channel, and those to whom nothing is on its way
    /// any more.
    pub(super) fn signaling_tick(&mut self, now: Now) {
        let late = self.participants.iter().filter(|(_, own)| {
            let signaling = own.signaling.as_ref();
            signaling.is_some_and(|own| own.channel.is_none() && own.opens_by <= now.monotonic)
        });
        for id in late.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.counters.count("forward.no_signaling_channel");
            self.end_with_connection(now, id, true);
        }
        let gone = self.departing.iter().filter(|(id, own)| {
            own.until <= now.monotonic || !self.is_on_its_way(**id, own.channel)
        });
        for id in gone.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.departing.remove(&id);
            self.endpoint.remove(now, id);
        }
    }
}
