//! The machine: participants and their connections, rooms, and time.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde::Serialize;
use twocan_proto::contract::{Batch, Datagram, Output, SocketId};
use twocan_proto::counters::Counters;
use twocan_proto::endpoint::{Endpoint, PeerId};
use twocan_proto::peer::{self, IceTransports, Interfaces, Peer};
use twocan_proto::random::Random;
use twocan_proto::rtp;
use twocan_proto::time::{Deadline, Now};
use twocan_proto::wire::ids::Mid;
use twocan_proto::wire::room_data::MESSAGE_LEN_MAX;
use twocan_proto::{ice, wire::units::Bitrate};

use super::clock::SenderClock;
use super::codecs::VideoCodecs;
use super::data::Data;
use super::negotiation::Negotiation;
use super::passing::{Lots, Passing};
use super::quality::Watch;
use super::reader::Reader;
use super::signaling::{Departing, Signaling};
use super::slot::Slot;
use super::speakers::Speakers;
use super::track::{Track, TrackId};
use super::{Config, Event};
use crate::permissions::MediaPermissions;

/// Between two looks at what changes by itself: rates, speakers, key frames that do not come.
const TICK: Duration = Duration::from_millis(100);

/// Bytes of one participant's messages that wait to be passed on: SCTP's window on its connection.
const DATA_WINDOW: usize = 512 << 10;

/// Tracks of one participant; further ones are not passed on.
pub(super) const TRACKS_MAX: usize = 16;

/// Someone in a room, with a connection to us.
#[derive(Debug)]
pub(super) struct Participant {
    pub(super) id: String,
    pub(super) room: String,
    pub(super) negotiation: Negotiation,
    pub(super) slots: Vec<Slot>,
    pub(super) published: BTreeMap<Mid, TrackId>,
    pub(super) clock: SenderClock,
    /// Whether what it gets is to be shared out anew.
    pub(super) is_stale: bool,
    /// Whether all it wants was given when that was done last.
    pub(super) forgone: usize,
    pub(super) shared_at: Option<Instant>,
    /// What it asked for, by the MediaStream of the track.
    pub(super) wishes: BTreeMap<String, Wish>,
    /// What of its media may be passed on, from it and to it.
    pub(super) permissions: MediaPermissions,
    /// The codecs for pictures that it takes, once that is known.
    pub(super) takes: Option<u32>,
    /// Of what others say over data channels.
    pub(super) reader: Reader,
    /// Where it is told things over a data channel.
    pub(super) signaling: Option<Signaling>,
    /// How well it is connected.
    pub(super) watch: Watch,
}

/// What a viewer wants of a track.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Wish {
    pub(super) height_max: Option<u32>,
    pub(super) priority: u8,
}

/// Who is together.
#[derive(Debug, Default)]
pub(super) struct Room {
    /// In the order in which they came.
    pub(super) members: Vec<PeerId>,
    pub(super) speakers: Speakers,
    /// Whether who gets what is to be looked at.
    pub(super) is_stale: bool,
    /// Whether somebody has not lines for all, so that it matters who speaks.
    pub(super) is_crowded: bool,
    /// When it is looked at how well those in it are connected.
    pub(super) look_at: Option<Instant>,
}

impl Participant {
    /// Takes a line, in the place of one that is gone where there is such a one; answers its place.
    pub(super) fn place(&mut self, slot: Slot) -> usize {
        match self.slots.iter().position(|own| own.is_dead) {
            Some(index) => {
                if let Some(own) = self.slots.get_mut(index) {
                    *own = slot;
                }
                index
            }
            None => {
                self.slots.push(slot);
                self.slots.len() - 1
            }
        }
    }
}

/// All rooms whose media this server forwards.
#[derive(Debug)]
pub struct Forwarder {
    pub(super) config: Config,
    pub(super) random: Random,
    pub(super) endpoint: Endpoint,
    pub(super) participants: BTreeMap<PeerId, Participant>,
    pub(super) ids: BTreeMap<String, PeerId>,
    pub(super) rooms: BTreeMap<String, Room>,
    pub(super) tracks: BTreeMap<TrackId, Track>,
    /// Of the rooms that have codecs of their own.
    pub(super) video_codecs: BTreeMap<String, VideoCodecs>,
    next_peer: u64,
    pub(super) next_track: u64,
    tick_at: Option<Instant>,
    pub(super) events: VecDeque<Event>,
    /// Packets that arrived and are passed on together.
    pub(super) passing: Vec<Passing>,
    pub(super) lots: Lots,
    /// What participants say to each other.
    pub(super) data: Data,
    /// Those who have left, while the last that was said to them is on its way.
    pub(super) departing: BTreeMap<PeerId, Departing>,
    /// A payload whose counters are written anew.
    pub(super) scratch: Vec<u8>,
    pub(super) counters: Counters,
}

impl Forwarder {
    /// Without rooms and sockets.
    pub fn new(config: Config, random: Random) -> Self {
        Self {
            config,
            random,
            endpoint: Endpoint::new(),
            participants: BTreeMap::new(),
            ids: BTreeMap::new(),
            rooms: BTreeMap::new(),
            tracks: BTreeMap::new(),
            video_codecs: BTreeMap::new(),
            next_peer: 0,
            next_track: 0,
            tick_at: None,
            events: VecDeque::new(),
            passing: Vec::new(),
            lots: Lots::default(),
            data: Data::default(),
            departing: BTreeMap::new(),
            scratch: Vec::new(),
            counters: Counters::default(),
        }
    }

    /// Someone is in a room. A connection is made when its first offer comes.
    pub fn join(&mut self, now: Now, room: &str, participant: &str) {
        if self.ids.contains_key(participant) {
            return self.counters.count("forward.joined_twice");
        }
        let id = PeerId(self.next_peer);
        self.next_peer += 1;
        let peer = self.new_peer(now, room);
        self.endpoint.insert(now, id, peer);
        self.ids.insert(participant.to_owned(), id);
        let entry = Participant {
            id: participant.to_owned(),
            room: room.to_owned(),
            negotiation: Negotiation::default(),
            slots: Vec::new(),
            published: BTreeMap::new(),
            clock: SenderClock::default(),
            is_stale: false,
            forgone: 0,
            shared_at: None,
            wishes: BTreeMap::new(),
            permissions: MediaPermissions::default(),
            takes: None,
            reader: Reader::new(now.monotonic),
            signaling: None,
            watch: Watch::default(),
        };
        self.participants.insert(id, entry);
        let room = self.rooms.entry(room.to_owned()).or_default();
        room.members.push(id);
        room.is_stale = true;
        self.tick_at.get_or_insert(now.monotonic + TICK);
    }

    /// Someone left.
    pub fn leave(&mut self, now: Now, participant: &str) {
        let Some(id) = self.ids.remove(participant) else {
            return;
        };
        self.data.forget(id);
        let Some(mut gone) = self.participants.remove(&id) else {
            return;
        };
        if !self.lingers(now, id, gone.signaling.take()) {
            self.endpoint.remove(now, id);
        }
        for track in gone.published.into_values() {
            self.remove_track(track);
        }
        for track in self.tracks.values_mut() {
            track.viewers.retain(|(viewer, _)| *viewer != id);
        }
        if let Some(room) = self.rooms.get_mut(&gone.room) {
            room.members.retain(|own| *own != id);
            room.speakers.forget(id);
            room.is_stale = true;
            if room.members.is_empty() {
                self.rooms.remove(&gone.room);
            }
        }
        self.rest();
    }

    /// Nothing changes by itself while nobody is there.
    fn rest(&mut self) {
        if self.participants.is_empty() && self.departing.is_empty() {
            self.tick_at = None;
        }
    }

    /// The local addresses to be reached at, and those that are gone.
    pub fn handle_interfaces(&mut self, now: Now, interfaces: &Interfaces) {
        self.endpoint.handle_interfaces(now, interfaces);
    }

    /// A socket that was asked for is bound.
    pub fn handle_bound(&mut self, now: Now, socket: SocketId, local: SocketAddr) {
        self.endpoint.handle_bound(now, socket, local);
    }

    /// A socket that was asked for could not be bound.
    pub fn handle_bind_failed(&mut self, socket: SocketId) {
        self.endpoint.handle_bind_failed(socket);
    }

    /// The addresses that the sockets are bound to.
    pub fn local_addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.endpoint.local_addresses()
    }

    /// A datagram arrived; its bytes are decrypted in place.
    pub fn handle_datagram(&mut self, now: Now, datagram: Datagram<'_>) {
        self.endpoint.handle_datagram(now, datagram);
    }

    /// Deadlines have come.
    pub fn handle_timeout(&mut self, now: Now) {
        self.endpoint.handle_timeout(now);
        if self.tick_at.is_some_and(|at| at <= now.monotonic) {
            self.tick_at = Some(now.monotonic + TICK);
            self.tick(now);
        }
    }

    /// What the driver is to do next. Datagrams are written into `batch`, which must be empty.
    pub fn poll_output(&mut self, now: Now, batch: &mut Batch) -> Output<Event> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Output::Event(event);
            }
            match self.endpoint.poll_output(now, batch) {
                Output::Transmit => return Output::Transmit,
                Output::Request(request) => return Output::Request(request),
                Output::Event((id, event)) => self.take_event(now, id, event),
                Output::Wait(deadline) => {
                    // Whoever is passed something sends it before the next one is: what is kept of
                    // it is then still at hand.
                    if self.pass_next(now) || self.assign_stale(now) || self.pass_data(now) {
                        continue;
                    }
                    let tick = self.tick_at.map(|at| Deadline::new(at, "forward.tick"));
                    return Output::Wait(Deadline::earlier(deadline, tick));
                }
            }
        }
    }

    /// Rooms with someone in them.
    pub fn room_count(&self) -> usize {
        self.rooms.len()
    }

    /// Participants of all rooms.
    pub fn participant_count(&self) -> usize {
        self.participants.len()
    }

    /// Tracks that are published.
    pub fn track_count(&self) -> usize {
        self.tracks.len()
    }

    /// The connection of a participant, to look at.
    pub fn peer(&self, participant: &str) -> Option<&Peer> {
        self.endpoint.get(*self.ids.get(participant)?)
    }

    /// Who is in a room, in the order in which they came, with their connections, to look at.
    pub fn connections(&self, room: &str) -> impl Iterator<Item = (&str, &Peer)> {
        let members = self.rooms.get(room).into_iter();
        members.flat_map(|room| &room.members).filter_map(|id| {
            let participant = self.participants.get(id)?;
            Some((participant.id.as_str(), self.endpoint.get(*id)?))
        })
    }

    /// What was dropped or refused, by reason, without what connections dropped.
    pub fn counters(&self) -> Counters {
        let mut all = self.counters.clone();
        all.merge(self.endpoint.counters());
        all
    }

    fn new_peer(&mut self, now: Now, room: &str) -> Peer {
        let order = self.order_of(room);
        let own = &self.config;
        let config = peer::Config {
            ice: ice::Config {
                lite: own.ice_lite,
                external_addresses: own.external_addresses.clone(),
                ..ice::Config::default()
            },
            ice_transports: IceTransports::Udp,
            audio_codecs: own.audio_codecs.clone(),
            video_codecs: own.codecs_of(&order),
            congestion: own.congestion(),
            receive_simulcast: true,
            max_message_size: MESSAGE_LEN_MAX as u64,
            receive_window: DATA_WINDOW,
            ..peer::Config::new(own.certificate.clone(), own.dtls.clone())
        };
        Peer::new(now, config, self.random.fork())
    }

    fn take_event(&mut self, now: Now, id: PeerId, event: peer::Event) {
        match event {
            peer::Event::Rtp(rtp::Event::Packet(packet)) => self.pass_on(now, id, packet),
            peer::Event::Rtp(rtp::Event::KeyFrameRequested { mid, .. }) => {
                self.key_frame_requested(now, id, &mid);
            }
            peer::Event::NegotiationNeeded => {
                if let Some(own) = self.participants.get_mut(&id) {
                    own.negotiation.is_needed = true;
                }
                self.negotiate(now, id);
            }
            peer::Event::IceGatheringState(ice::GatheringState::Complete) => self.describe(id),
            peer::Event::Negotiation(event) => self.tracks_changed(id, event),
            peer::Event::TargetRate(_) => {
                if let Some(own) = self.participants.get_mut(&id) {
                    own.is_stale = true;
                }
            }
            peer::Event::ConnectionState(peer::ConnectionState::Connected) => {
                if let Some(own) = self.participants.get_mut(&id) {
                    own.is_stale = true;
                    own.shared_at = None;
                }
                self.share_out(now, id);
            }
            peer::Event::Failed(failure) => {
                tracing::debug!(%failure, participant = self.name(id), "connection");
                self.counters.count("forward.connection_failed");
            }
            peer::Event::ConnectionState(peer::ConnectionState::Failed) => {
                self.end_with_connection(now, id, true);
            }
            peer::Event::ConnectionState(peer::ConnectionState::Closed) => {
                self.end_with_connection(now, id, false);
            }
            peer::Event::ConnectionState(_)
            | peer::Event::IceCandidate(_)
            | peer::Event::IceCandidateError(_)
            | peer::Event::IceConnectionState(_)
            | peer::Event::IceGatheringState(_)
            | peer::Event::SelectedCandidatePair
            | peer::Event::SignalingState(_)
            | peer::Event::ToneChange { .. }
            | peer::Event::Rtp(_) => {}
        }
    }

    pub(super) fn participant_mut(&mut self, participant: &str) -> Option<&mut Participant> {
        let id = self.ids.get(participant)?;
        self.participants.get_mut(id)
    }

    fn tick(&mut self, now: Now) {
        self.look_at_tracks(now);
        // Who is never idle looks at it as well.
        self.assign_stale(now);
        let all: Vec<PeerId> = self.participants.keys().copied().collect();
        for id in all {
            self.offer_anew(now, id);
            self.share_out(now, id);
        }
        self.data_tick(now);
        self.signaling_tick(now);
        self.tell_layers(now, |_| true);
        self.tell_speakers(now);
        self.tell_quality(now);
        self.rest();
    }

    /// Where there are not lines for all, it matters of which tracks something comes.
    fn look_at_tracks(&mut self, now: Now) {
        for track in self.tracks.values_mut() {
            if track.look(now.monotonic)
                && let Some(owner) = self.participants.get(&track.owner)
                && let Some(room) = self.rooms.get_mut(&owner.room)
            {
                room.is_stale |= room.is_crowded;
            }
        }
    }

    fn tell_speakers(&mut self, now: Now) {
        #[derive(Serialize)]
        struct Speaker {
            peer_id: String,
            level: f64,
        }
        let mut news = Vec::new();
        for room in self.rooms.values_mut() {
            if room.speakers.turn(now.monotonic) {
                for member in &room.members {
                    if let Some(own) = self.participants.get_mut(member) {
                        own.is_stale = true;
                    }
                }
            }
            if let Some(present) = room.speakers.poll(now.monotonic) {
                // In large rooms those are seen and heard who spoke last.
                room.is_stale |= room.is_crowded;
                news.push((room.members.clone(), present));
            }
        }
        let participants = &self.participants;
        let listens = |id: &PeerId| {
            let own = participants.get(id);
            own.is_some_and(|own| !own.negotiation.is_single)
        };
        for (members, _) in &mut news {
            members.retain(listens);
        }
        for (members, present) in news {
            let speakers: Vec<Speaker> = present
                .into_iter()
                .filter_map(|(id, level)| {
                    let peer_id = self.participants.get(&id)?.id.clone();
                    let level = (level * 100.0).round() / 100.0;
                    Some(Speaker { peer_id, level })
                })
                .collect();
            let data = serde_json::json!({ "speakers": speakers });
            for member in members {
                self.tell(member, "speakers", &data);
            }
        }
    }

    /// Says something to a participant.
    pub(super) fn tell(&mut self, id: PeerId, event: &'static str, data: &impl Serialize) {
        let Some(own) = self.participants.get(&id) else {
            return;
        };
        // Of what happens in a room nothing is told to those outside.
        if own.permissions.waits && !matches!(event, "answer" | "error") {
            return;
        }
        let participant = own.id.clone();
        if let Ok(data) = serde_json::value::to_raw_value(data) {
            self.events.push_back(Event::Signal {
                participant,
                event,
                data,
            });
        }
    }

    pub(super) fn name(&self, id: PeerId) -> &str {
        self.participants.get(&id).map_or("", |own| own.id.as_str())
    }

    /// What the way to a participant is thought to carry.
    pub(super) fn budget(&self, id: PeerId) -> Option<Bitrate> {
        self.endpoint.get(id)?.available_outgoing_bitrate()
    }

    /// A connection is let go of, for another one that the participant has begun.
    pub(super) fn renew(&mut self, now: Now, participant: &str) -> Option<PeerId> {
        let id = *self.ids.get(participant)?;
        let own = self.participants.get_mut(&id)?;
        let (room, wishes) = (own.room.clone(), std::mem::take(&mut own.wishes));
        let (permissions, watch) = (own.permissions.clone(), own.watch.anew());
        self.leave(now, participant);
        self.join(now, &room, participant);
        let own = self.participant_mut(participant)?;
        own.wishes = wishes;
        own.permissions = permissions;
        own.watch = watch;
        self.ids.get(participant).copied()
    }
}
