//! What participants say to each other over data channels of their connections with the server
//! (`docs/data.md`): who may, who gets it, and what happens where a reader is slow.
//!
//! 1. Each has two channels, which it opens: on one everything arrives in its order, on the other what
//!    is lost stays lost. The server says of whom a message is.
//! 2. A reliable message goes to each reader as soon as that has room. Until the last one has, nothing
//!    more is taken from who sent it, which SCTP's receiver window then slows.
//! 3. A reader that takes too little for too long misses what comes until it has caught up, and is told
//!    how much that was. What may be lost is dropped where a reader has no room.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use bytes::Bytes;
use twocan_proto::channel::{ChannelId, Event, Message as Received};
use twocan_proto::endpoint::PeerId;
use twocan_proto::time::Now;
use twocan_proto::wire::room_data::{self, LOSSY_LEN_MAX, Message, RoomData};

use super::forwarder::Forwarder;
use super::reader::{LOSSY_FULL, Verdict};
use super::signaling::Signaling;

/// Events of the channels of one participant that are taken before others have their turn.
const EVENTS_PER_TURN: usize = 16;

/// What was relayed between participants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DataFigures {
    /// Messages that came and may be passed on.
    pub messages: u64,
    /// Messages that went, once for each who gets one.
    pub messages_sent: u64,
    /// Their bytes, with names and topics.
    pub bytes_sent: u64,
    /// Messages that may be lost and were, for a reader without room.
    pub lossy_dropped: u64,
    /// Reliable messages that a reader missed which took too little.
    pub missed: u64,
}

/// How long a fence is waited for; who sent it does not wait any longer either.
const FENCE_PATIENCE: Duration = Duration::from_secs(5);

/// A message that some have not got yet; meanwhile nothing is taken from who sent it.
#[derive(Debug)]
struct Held {
    message: Bytes,
    left: Vec<PeerId>,
    /// Since when.
    since: Instant,
    /// Its place among those that are held: who has waited for longest is served first.
    turn: u64,
}

/// What somebody wants back when everything before it has arrived.
#[derive(Debug, Clone, Copy)]
struct Fence {
    number: u32,
    until: Instant,
}

/// What is on its way between participants.
#[derive(Debug, Default)]
pub(super) struct Data {
    held: BTreeMap<PeerId, Held>,
    /// Whose channels are to be looked at.
    ready: BTreeSet<PeerId>,
    /// Messages that were held so far.
    turns: u64,
    /// Who waits for a fence to come back.
    fences: BTreeMap<PeerId, Fence>,
    /// Whether nothing is taken of those who have a channel for signaling, and of whom something waits.
    holds_texts: bool,
    texts: BTreeSet<PeerId>,
    figures: DataFigures,
}

impl Data {
    /// Somebody is gone.
    pub(super) fn forget(&mut self, id: PeerId) {
        self.held.remove(&id);
        self.ready.remove(&id);
        self.fences.remove(&id);
        self.texts.remove(&id);
    }

    /// Takes nothing of those who have a channel for signaling, or takes it again.
    pub(super) fn hold_texts(&mut self, holds: bool) {
        self.holds_texts = holds;
        if !holds {
            self.ready.append(&mut self.texts);
        }
    }
}

impl Forwarder {
    /// What was relayed between participants.
    pub fn data_figures(&self) -> DataFigures {
        self.data.figures
    }

    /// Takes what came for data channels; answers whether there was something.
    pub(super) fn pass_data(&mut self, now: Now) -> bool {
        let mut news = BTreeSet::new();
        while let Some(id) = self.endpoint.poll_channel_news() {
            news.insert(id);
        }
        // There may be room for what is held.
        for id in &news {
            self.catch_up(now, *id);
        }
        self.pass_held(now, |left| left.iter().any(|reader| news.contains(reader)));
        news.append(&mut self.data.ready);
        for id in &news {
            self.take_channel_events(now, *id);
        }
        !news.is_empty()
    }

    /// What changes by itself: patience ends, and readers are gone.
    pub(super) fn data_tick(&mut self, now: Now) {
        self.pass_held(now, |_| true);
        for own in self.participants.values_mut() {
            let forgotten = own.reader.forget_early(now.monotonic);
            if forgotten > 0 {
                let forgotten = forgotten as u64;
                self.counters.add("forward.data_no_channel", forgotten);
            }
        }
        self.answer_fences(now);
    }

    /// Goes on with the messages that are held for some of those whom `is_meant` says.
    fn pass_held(&mut self, now: Now, is_meant: impl Fn(&[PeerId]) -> bool) {
        let held = self.data.held.iter();
        let meant = held.filter(|(_, held)| is_meant(&held.left));
        let mut meant: Vec<(u64, PeerId)> = meant.map(|(id, held)| (held.turn, *id)).collect();
        meant.sort_unstable();
        for (_, sender) in meant {
            if let Some(held) = self.data.held.remove(&sender) {
                self.pass_reliable(now, sender, held);
                if !self.data.held.contains_key(&sender) {
                    self.data.ready.insert(sender);
                }
            }
        }
    }

    fn take_channel_events(&mut self, now: Now, id: PeerId) {
        let own = self.participants.get(&id);
        if self.data.holds_texts && own.is_some_and(|own| own.signaling.is_some()) {
            self.data.texts.insert(id);
            return;
        }
        for _ in 0..EVENTS_PER_TURN {
            if self.data.held.contains_key(&id) {
                return;
            }
            let peer = self.endpoint.get_mut(id);
            let Some(event) = peer.and_then(|peer| peer.poll_channel_event()) else {
                return;
            };
            match event {
                Event::Announced(channel) => self.channel_opened(now, id, channel),
                Event::Message(channel, message) => self.said(now, id, channel, message),
                Event::Closing(channel) | Event::Closed(channel, _)
                    if self.is_signaling(id, channel) =>
                {
                    return self.end_with_connection(now, id, false);
                }
                Event::Closed(channel, _) => {
                    if let Some(own) = self.participants.get_mut(&id) {
                        let reader = &mut own.reader;
                        for own in [&mut reader.reliable, &mut reader.lossy] {
                            *own = own.filter(|own| *own != channel);
                        }
                    }
                }
                Event::Connected
                | Event::Open(_)
                | Event::BufferedAmountLow(_)
                | Event::Closing(_)
                | Event::Ended(_) => {}
            }
        }
        self.data.ready.insert(id);
    }

    fn channel_opened(&mut self, now: Now, id: PeerId, channel: ChannelId) {
        let (Some(own), Some(peer)) = (self.participants.get_mut(&id), self.endpoint.get_mut(id))
        else {
            return;
        };
        let info = peer.channel_info(channel);
        if info.is_some_and(Signaling::is_meant) {
            return self.signaling_opened(now, id, channel);
        }
        let info = info.filter(|info| info.label == room_data::LABEL && !own.negotiation.is_single);
        let place = match info.map(|info| info.protocol.as_str()) {
            Some(room_data::RELIABLE) => &mut own.reader.reliable,
            Some(room_data::LOSSY) => &mut own.reader.lossy,
            // What comes on it is dropped; native clients have one for chat with whomever they meet.
            _ => return,
        };
        if let Some(before) = place.replace(channel) {
            peer.close_data_channel(before);
        }
        if own.reader.reliable == Some(channel) {
            for message in own.reader.take_early() {
                self.send_to(now, id, channel, message);
            }
            self.catch_up(now, id);
        }
    }

    /// A participant says something.
    fn said(&mut self, now: Now, id: PeerId, channel: ChannelId, received: Received) {
        if self.is_signaling(id, channel) {
            return self.told(id, received);
        }
        let Some(own) = self.participants.get(&id) else {
            return;
        };
        let is_lossy = own.reader.lossy == Some(channel);
        if !is_lossy && own.reader.reliable != Some(channel) {
            return self.counters.count("forward.data_unknown_channel");
        }
        let bytes = match received {
            Received::Binary(bytes) => bytes,
            Received::Text(_) => return self.counters.count("forward.data_malformed"),
        };
        let data = match RoomData::parse(&bytes) {
            Ok(data) => data,
            Err(_) => return self.counters.count("forward.data_malformed"),
        };
        if !own.permissions.data {
            return self.counters.count("forward.data_not_permitted");
        }
        let message = match data {
            RoomData::Message(message) => message,
            RoomData::Fence(number) => {
                // Answered with the next tick: how much somebody asks costs nobody anything.
                let until = now.monotonic + FENCE_PATIENCE;
                self.data.fences.insert(id, Fence { number, until });
                return;
            }
            RoomData::Gap(_) => return self.counters.count("forward.data_malformed"),
        };
        if is_lossy && message.topic.len() + message.payload.len() > LOSSY_LEN_MAX {
            return self.counters.count("forward.data_too_long");
        }
        let readers = self.readers(id, &message.names);
        let mut relayed = Vec::new();
        RoomData::Message(Message {
            // The server's word, whatever the sender says.
            names: vec![&own.id],
            ..message
        })
        .write(&mut relayed);
        self.data.figures.messages += 1;
        let message = Bytes::from(relayed);
        match is_lossy {
            true => {
                for reader in readers {
                    self.pass_lossy(now, reader, &message);
                }
            }
            false => {
                self.data.turns += 1;
                let held = Held {
                    message,
                    left: readers,
                    since: now.monotonic,
                    turn: self.data.turns,
                };
                self.pass_reliable(now, id, held);
            }
        }
    }

    /// A participant says something to the server.
    fn told(&mut self, id: PeerId, received: Received) {
        let participant = self.name(id).to_owned();
        match received {
            Received::Text(text) => {
                let told = super::Event::Text { participant, text };
                self.events.push_back(told);
            }
            Received::Binary(_) => self.counters.count("forward.signaling_malformed"),
        }
    }

    /// Those in the sender's room whom a message names, or all of them where it names nobody. Who came
    /// by HTTP to send or to look on has no channels, and who waits is not there yet.
    fn readers(&self, sender: PeerId, names: &[&str]) -> Vec<PeerId> {
        let room = self.participants.get(&sender).map(|own| own.room.as_str());
        let members = room.and_then(|room| self.rooms.get(room));
        let members = members.into_iter().flat_map(|room| &room.members);
        let names: BTreeSet<&str> = names.iter().copied().collect();
        let reads = |id: &&PeerId| {
            let own = self.participants.get(id).filter(|_| **id != sender);
            own.is_some_and(|own| {
                let is_named = !own.permissions.hidden && names.contains(own.id.as_str());
                let is_meant = names.is_empty() || is_named;
                is_meant && !own.negotiation.is_single && !own.permissions.waits
            })
        };
        members.filter(reads).copied().collect()
    }

    /// Sends a message to all who have room, and holds it for the others.
    fn pass_reliable(&mut self, now: Now, sender: PeerId, mut held: Held) {
        let message = held.message.clone();
        held.left.retain(|reader| {
            let Some(own) = self.participants.get_mut(reader) else {
                return false;
            };
            let channel = own.reader.reliable;
            let peer = self.endpoint.get(*reader).zip(channel);
            let buffered = peer.map_or(0, |(peer, channel)| peer.buffered_amount(channel));
            let waited = now.monotonic.saturating_duration_since(held.since);
            let verdict = own
                .reader
                .judge(now.monotonic, buffered, message.len(), waited);
            match verdict {
                Verdict::Wait => return true,
                Verdict::Keep => own.reader.keep(message.clone()),
                Verdict::Miss => {
                    self.counters.count("forward.data_missed");
                    self.data.figures.missed += 1;
                }
                Verdict::Drop => self.counters.count("forward.data_no_channel"),
                Verdict::Send => {
                    if let Some(channel) = channel {
                        self.send_to(now, *reader, channel, message.clone());
                    }
                }
            }
            false
        });
        if !held.left.is_empty() {
            self.data.held.insert(sender, held);
        }
    }

    fn pass_lossy(&mut self, now: Now, reader: PeerId, message: &Bytes) {
        let channel = self
            .participants
            .get(&reader)
            .and_then(|own| own.reader.lossy);
        let peer = self.endpoint.get(reader).zip(channel);
        let has_room = |(peer, channel): &(&twocan_proto::peer::Peer, ChannelId)| {
            peer.buffered_amount(*channel) + message.len() <= LOSSY_FULL
        };
        match peer.filter(has_room).map(|(_, channel)| channel) {
            Some(channel) => self.send_to(now, reader, channel, message.clone()),
            None => {
                self.counters.count("forward.data_lossy_dropped");
                self.data.figures.lossy_dropped += 1;
            }
        }
    }

    fn send_to(&mut self, now: Now, reader: PeerId, channel: ChannelId, message: Bytes) {
        let Some(peer) = self.endpoint.get_mut(reader) else {
            return;
        };
        let len = message.len() as u64;
        if let Err(error) = peer.send_binary(now, channel, message) {
            // It closes its channel, or takes no messages of that length.
            tracing::debug!(%error, "message of a participant not passed on");
            return self.counters.count("forward.data_not_sent");
        }
        self.data.figures.messages_sent += 1;
        self.data.figures.bytes_sent += len;
    }

    /// Tells a reader that has caught up how much it missed.
    fn catch_up(&mut self, now: Now, id: PeerId) {
        let (Some(own), Some(peer)) = (self.participants.get_mut(&id), self.endpoint.get(id))
        else {
            return;
        };
        let Some(channel) = own.reader.reliable.filter(|_| own.reader.is_behind()) else {
            return;
        };
        if let Some(missed) = own.reader.take_missed(peer.buffered_amount(channel)) {
            let mut gap = Vec::new();
            RoomData::Gap(missed).write(&mut gap);
            self.tell_data(now, id, channel, gap);
        }
    }

    /// Sends fences back to those of whose messages nothing is on its way any more.
    fn answer_fences(&mut self, now: Now) {
        self.data.fences.retain(|_, own| own.until > now.monotonic);
        let mut on_their_way: BTreeMap<&str, Vec<PeerId>> = BTreeMap::new();
        let mut arrived = Vec::new();
        for (id, fence) in &self.data.fences {
            let Some(own) = self.participants.get(id) else {
                continue;
            };
            let busy = on_their_way
                .entry(&own.room)
                .or_insert_with(|| self.on_their_way(&own.room));
            let others = busy.iter().any(|busy| busy != id);
            if !others && !self.data.held.contains_key(id) {
                arrived.push((*id, fence.number));
            }
        }
        for (id, number) in arrived {
            self.data.fences.remove(&id);
            let own = self.participants.get(&id);
            if let Some(channel) = own.and_then(|own| own.reader.reliable) {
                let mut fence = Vec::new();
                RoomData::Fence(number).write(&mut fence);
                self.tell_data(now, id, channel, fence);
            }
        }
    }

    /// Those in a room who have not confirmed everything that was sent to them, or kept for them.
    fn on_their_way(&self, room: &str) -> Vec<PeerId> {
        let members = self.rooms.get(room).into_iter();
        let members = members.flat_map(|room| &room.members);
        let is_busy = |id: &&PeerId| {
            let Some(own) = self.participants.get(id) else {
                return false;
            };
            let peer = self.endpoint.get(**id).zip(own.reader.reliable);
            own.reader.has_early()
                || peer.is_some_and(|(peer, channel)| {
                    peer.buffered_amount(channel) > 0 || peer.sctp_stats().unconfirmed > 0
                })
        };
        members.filter(is_busy).copied().collect()
    }

    fn tell_data(&mut self, now: Now, id: PeerId, channel: ChannelId, bytes: Vec<u8>) {
        if let Some(peer) = self.endpoint.get_mut(id)
            && peer.send_binary(now, channel, bytes).is_err()
        {
            self.counters.count("forward.data_not_sent");
        }
    }
}
