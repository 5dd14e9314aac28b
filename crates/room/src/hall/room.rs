//! One room, and what is decided for all who are in it.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::json;

use twocan_proto::time::Now;

use super::chat::ChatHistory;
use super::shape::Shape;
use super::{Event, Hall, MediaEvent, Notice, Topology};
use crate::forward::VideoCodecs;
use crate::frame;
use crate::session::Frame;

/// What an operator decides when a room is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RoomSettings {
    /// Participants at most, within the limit of the server.
    pub peers_max: Option<usize>,
    /// How long the room stays when nobody is in it.
    pub keeps: Duration,
    /// Whether nobody may join but who may moderate.
    pub locked: bool,
    /// Whether who comes waits until somebody who may moderate admits it; `None` is as the server
    /// has it.
    pub lobby: Option<bool>,
    /// How its media goes; `None` is as the server has it. Where the server forwards nothing, it
    /// is [`Topology::Mesh`] whatever is said here.
    pub topology: Option<Topology>,
    /// Codecs for pictures that the server passes on in it, the preferred one first; none for those
    /// of all rooms.
    pub video_codecs: VideoCodecs,
    /// Messages to everybody that it keeps for those who come later, up to 1,000; `None` is as the
    /// server has it.
    pub chat_history: Option<usize>,
}

/// A room, as administration sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RoomInfo {
    /// Its name.
    pub name: String,
    /// `mesh` or `sfu`, as it is now.
    pub topology: &'static str,
    /// Participants, those who are hidden among them.
    pub participants: usize,
    /// Those who wait to be admitted.
    pub waiting: usize,
    /// Those who came by WHEP and only look on.
    pub viewers: usize,
    /// Tracks that are published.
    pub tracks: usize,
    /// Whether nobody may join.
    pub locked: bool,
    /// Whether who comes waits.
    pub lobby: bool,
    /// Codecs for pictures in lower case, where they are not those of all rooms.
    pub video_codecs: Vec<String>,
    /// Messages to everybody that are kept for those who come later, at most.
    pub chat_history: usize,
    /// Participants at most.
    pub max_participants: usize,
    /// Milliseconds since 1970.
    pub created_at: u64,
}

#[derive(Debug, Default)]
pub(super) struct Room {
    /// In the order they joined.
    pub(super) members: Vec<String>,
    /// In the order they came.
    pub(super) waiting: Vec<String>,
    /// Those who look on by HTTP.
    pub(super) viewers: BTreeSet<String>,
    pub(super) is_locked: bool,
    pub(super) has_lobby: bool,
    pub(super) peers_max: Option<usize>,
    /// As an operator decided.
    pub(super) topology: Option<Topology>,
    video_codecs: VideoCodecs,
    pub(super) shape: Shape,
    /// Hands that were raised so far.
    pub(super) hands: u64,
    /// As an operator decided.
    pub(super) chat_history: Option<usize>,
    /// What was said to everybody.
    pub(super) chat: ChatHistory,
    keeps: Duration,
    /// When it ends, being empty.
    pub(super) ends_at: Option<Instant>,
    opened_at: Duration,
}

impl Hall {
    /// The room of that name, made where there is none.
    pub(super) fn open_room(&mut self, now: Now, name: &str) -> &mut Room {
        if !self.rooms.contains_key(name) {
            let room = name.to_owned();
            self.events
                .push_back(Event::Notice(Notice::RoomStarted { room }));
        }
        let has_lobby = self.config.lobby;
        let shape = self.first_shape();
        let fresh = || Room {
            has_lobby,
            shape,
            opened_at: now.wallclock,
            ..Room::default()
        };
        self.rooms.entry(name.to_owned()).or_insert_with(fresh)
    }

    /// Ends a room in which nobody is, at once or when its time is over.
    pub(super) fn settle_room(&mut self, now: Now, name: &str) {
        let Some(room) = self.rooms.get_mut(name) else {
            return;
        };
        let is_empty = room.members.is_empty() && room.waiting.is_empty();
        if !is_empty || !room.viewers.is_empty() {
            room.ends_at = None;
        } else if room.keeps.is_zero() {
            self.end_room(name);
        } else {
            room.ends_at.get_or_insert(now.monotonic + room.keeps);
        }
    }

    pub(super) fn end_room(&mut self, name: &str) {
        if let Some(gone) = self.rooms.remove(name) {
            if !gone.video_codecs.is_empty() {
                self.tell_codecs(name, VideoCodecs::default());
            }
            let room = name.to_owned();
            self.events
                .push_back(Event::Notice(Notice::RoomFinished { room }));
        }
    }

    fn tell_codecs(&mut self, room: &str, video_codecs: VideoCodecs) {
        let room = room.to_owned();
        let told = MediaEvent::Codecs { room, video_codecs };
        self.events.push_back(Event::Media(told));
    }

    /// Makes a room, or gives one that there is other settings.
    pub(super) fn set_room(&mut self, now: Now, name: &str, settings: RoomSettings) {
        let has_lobby = settings.lobby.unwrap_or(self.config.lobby);
        let room = self.open_room(now, name);
        room.peers_max = settings.peers_max;
        room.keeps = settings.keeps;
        room.is_locked = settings.locked;
        room.has_lobby = has_lobby;
        room.topology = settings.topology;
        room.chat_history = settings.chat_history;
        let former = std::mem::replace(&mut room.video_codecs, settings.video_codecs);
        if former != settings.video_codecs {
            self.tell_codecs(name, settings.video_codecs);
        }
        let kept = self.chat_history(name);
        if let Some(room) = self.rooms.get_mut(name) {
            room.chat.cut(kept);
        }
        self.settle_room(now, name);
        self.settle_shape(now, name, None);
        if !has_lobby {
            self.empty_lobby(now, name);
        }
        self.tell_room_state(name);
    }

    /// Participants that a room may have.
    pub(super) fn peers_max(&self, room: &str) -> usize {
        let forwards = self.can_forward(room);
        let limits = &self.config.limits;
        let most = match forwards {
            true => limits.peers_per_forwarded_room,
            false => limits.peers_per_room,
        };
        let own = self.rooms.get(room).and_then(|room| room.peers_max);
        own.map_or(most, |own| own.min(most))
    }

    /// Those who are in a room, those who are hidden among them.
    pub(super) fn present(&self, room: &str) -> Vec<String> {
        let room = self.rooms.get(room);
        room.map(|room| room.members.clone()).unwrap_or_default()
    }

    /// Tells everybody whether the room is locked, and who comes has to wait.
    pub(super) fn tell_room_state(&mut self, name: &str) {
        let Some(room) = self.rooms.get(name) else {
            return;
        };
        let mut data = json!({"locked": room.is_locked, "lobby": room.has_lobby});
        let kept = self.chat_history(name);
        if kept > 0 {
            data["chat_history"] = kept.into();
        }
        let data = frame::raw(&data);
        let frame = Frame {
            event: "room",
            data: data.as_deref(),
            ..Frame::default()
        };
        for member in room.members.clone() {
            if !self.is_base(&member) {
                self.send(&member, &frame);
            }
        }
    }

    pub(super) fn room_info(&self, name: &str) -> Option<RoomInfo> {
        let room = self.rooms.get(name)?;
        let tracks = room
            .members
            .iter()
            .filter_map(|member| self.peers.get(member));
        Some(RoomInfo {
            name: name.to_owned(),
            topology: room.shape.name(),
            participants: room.members.len(),
            waiting: room.waiting.len(),
            viewers: room.viewers.len(),
            tracks: tracks.map(|session| session.tracks.len()).sum(),
            locked: room.is_locked,
            lobby: room.has_lobby,
            video_codecs: room
                .video_codecs
                .names()
                .map(str::to_ascii_lowercase)
                .collect(),
            chat_history: self.chat_history(name),
            max_participants: self.peers_max(name),
            created_at: u64::try_from(room.opened_at.as_millis()).unwrap_or(u64::MAX),
        })
    }
}
