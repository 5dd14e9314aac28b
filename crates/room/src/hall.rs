//! All rooms.
//!
//! 1. A connection comes in with the name of a room. A base client is in the room at once; a
//!    `twocan.v1` client first says `join` (who it is) or `resume` (whom it was).
//! 2. Those in the room are told `joined`; the one who joined is told `authenticated`.
//! 3. Frames are relayed to those they name. What `twocan.v1` gives to the server itself
//!    (`track`, `metadata`, `leave`) is acted on.
//! 4. A lost connection ends a base participant. A `twocan.v1` participant stays for a grace
//!    time, and what it misses is kept.

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use serde_json::json;
use serde_json::value::RawValue;
use thiserror::Error;

use twocan_proto::contract::Output;
use twocan_proto::counters::Counters;
use twocan_proto::random::Random;
use twocan_proto::time::{Deadline, Now};

use crate::forward::VideoCodecs;
use crate::frame::{self, BadFrame};
use crate::ice_servers::IceServers;
use crate::limits::{Limits, ROOM_NAME_LEN_MAX};
use crate::permissions::MediaPermissions;
use crate::session::{Frame, Session};

mod act;
mod administration;
mod chat;
mod connection;
mod ending;
mod guest;
mod hands;
mod membership;
mod moderation;
mod notice;
mod reactions;
mod relay;
mod room;
mod roster;
mod shape;

pub use act::{Act, ActError, Tracks};
pub use guest::{GuestLine, GuestPurpose, GuestRefusal};
pub use membership::Introduction;
pub use notice::{Moderated, Notice, ParticipantInfo, PermissionsInfo};
pub use room::{RoomInfo, RoomSettings};

use connection::Connection;
use guest::Viewer;
use room::Room;

/// Names a WebSocket; the driver chooses the numbers and never uses one twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

/// Which protocol a connection speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// Without a subprotocol.
    Base,
    /// Subprotocol `twocan.v1`.
    V1,
}

/// How media goes between the participants of a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Topology {
    /// Everybody to everybody.
    #[default]
    Mesh,
    /// Through the server, which takes part as the peer `server`. Clients without `twocan.v1`
    /// cannot join.
    Sfu,
    /// Everybody to everybody while that does: up to [`Limits::peers_per_mesh`] participants, all
    /// of whom are told of, may send and get everything, and came by WebSocket. Through the
    /// server otherwise, unless somebody is there without `twocan.v1`. The room moves from one to
    /// the other, and nobody notices.
    Auto,
}

impl Topology {
    /// Its name in the signaling protocol.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Mesh => "mesh",
            Self::Sfu => "sfu",
            Self::Auto => "auto",
        }
    }
}

/// The id of the server where it takes part in a call itself.
pub const SERVER_ID: &str = "server";

/// Settings of a [`Hall`].
#[derive(Debug, Clone, Default)]
pub struct Config {
    /// Bounds.
    pub limits: Limits,
    /// Of the rooms of which nobody says otherwise ([`RoomSettings::topology`]). Default mesh, in
    /// which nobody has to forward: every room is one then.
    pub topology: Topology,
    /// Servers that every participant is told of.
    pub ice_servers: IceServers,
    /// Adds `from_metadata` to what base clients get. Default no.
    pub from_metadata: bool,
    /// Whether who comes into a room waits until somebody admits it who may moderate, where nobody
    /// says otherwise of that room. Default no.
    pub lobby: bool,
}

/// Why a WebSocket is closed (RFC 6455 §7.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseCode {
    /// 1000: the participant left, or could not join.
    Normal,
    /// 1001: the server ends.
    GoingAway,
    /// 1008: a limit was passed.
    PolicyViolation,
    /// 1013: the reader is too slow.
    TryAgainLater,
}

impl CloseCode {
    /// The number.
    pub const fn number(self) -> u16 {
        match self {
            Self::Normal => 1000,
            Self::GoingAway => 1001,
            Self::PolicyViolation => 1008,
            Self::TryAgainLater => 1013,
        }
    }
}

/// What the driver is to do.
#[derive(Debug, Clone)]
pub enum Event {
    /// Send a text frame.
    Send {
        /// On this WebSocket.
        connection: ConnectionId,
        /// The text.
        text: String,
    },
    /// Send what is queued and close.
    Close {
        /// This WebSocket.
        connection: ConnectionId,
        /// With this code.
        code: CloseCode,
        /// And this reason.
        reason: &'static str,
    },
    /// Something for whoever forwards the media of the rooms.
    Media(MediaEvent),
    /// Somebody shows another token: look at it, and call [`Hall::renew`].
    Token(ShownToken),
    /// Something for whoever watches over the rooms.
    Notice(Notice),
    /// Somebody in a room moderated it.
    Moderated(Moderated),
}

/// A token that a participant shows.
#[derive(Debug, Clone)]
pub struct ShownToken {
    /// The id of the participant.
    pub participant: String,
    /// Where it is.
    pub room: String,
    /// What it shows.
    pub token: String,
    /// Of the request.
    id: Option<Box<RawValue>>,
}

/// What whoever forwards media is to know of the rooms.
#[derive(Debug, Clone)]
pub enum MediaEvent {
    /// Someone joined.
    Joined {
        /// The room.
        room: String,
        /// The id of the participant.
        participant: String,
    },
    /// Someone left.
    Left {
        /// The id of the participant.
        participant: String,
    },
    /// What of somebody's media may be passed on. Until it is said: all.
    Permitted {
        /// The id of the participant.
        participant: String,
        /// What may be.
        permissions: MediaPermissions,
    },
    /// Codecs for pictures of a room; none for those of all rooms.
    Codecs {
        /// The room.
        room: String,
        /// Which.
        video_codecs: VideoCodecs,
    },
    /// Someone said something to the server.
    Signal {
        /// The id of the participant.
        participant: String,
        /// What it is called.
        event: String,
        /// As it came.
        data: Box<RawValue>,
    },
}

/// Why a connection is refused before the upgrade.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Refusal {
    /// 400: the name is empty, too long, or has control characters.
    #[error("a room's name has 1 to 128 bytes and no control characters")]
    BadRoomName,
    /// 503: as many rooms as allowed.
    #[error("the server has as many rooms as it may (limit rooms)")]
    TooManyRooms,
    /// 503: the server is about to end.
    #[error("the server is draining")]
    Draining,
}

/// All rooms and participants.
#[derive(Debug)]
pub struct Hall {
    pub(super) config: Config,
    pub(super) random: Random,
    connections: BTreeMap<ConnectionId, Connection>,
    pub(super) peers: BTreeMap<String, Session>,
    /// Those who came by HTTP and are no participants.
    viewers: BTreeMap<String, Viewer>,
    rooms: BTreeMap<String, Room>,
    pub(super) tokens: BTreeMap<String, String>,
    pub(super) draining: bool,
    /// Everybody was let go.
    pub(super) ended: bool,
    pub(super) events: VecDeque<Event>,
    pub(super) counters: Counters,
}

impl Hall {
    /// An empty hall.
    pub fn new(config: Config, random: Random) -> Self {
        Self {
            config,
            random,
            connections: BTreeMap::new(),
            peers: BTreeMap::new(),
            viewers: BTreeMap::new(),
            rooms: BTreeMap::new(),
            tokens: BTreeMap::new(),
            draining: false,
            ended: false,
            events: VecDeque::new(),
            counters: Counters::default(),
        }
    }

    /// Whether a connection to `room` may be upgraded: where the server ends, it may be that of a
    /// participant who resumes.
    ///
    /// # Errors
    /// The [`Refusal`], which is an HTTP status.
    pub fn admit(&self, room: &str) -> Result<(), Refusal> {
        match self.opens(room) {
            Err(Refusal::Draining) if !self.ended && self.rooms.contains_key(room) => Ok(()),
            other => other,
        }
    }

    /// Whether somebody new may come into `room`.
    pub(super) fn opens(&self, room: &str) -> Result<(), Refusal> {
        if room.is_empty() || room.len() > ROOM_NAME_LEN_MAX || room.chars().any(char::is_control) {
            return Err(Refusal::BadRoomName);
        }
        if self.draining {
            return Err(Refusal::Draining);
        }
        if self.rooms.len() >= self.config.limits.rooms && !self.rooms.contains_key(room) {
            return Err(Refusal::TooManyRooms);
        }
        Ok(())
    }

    /// A text frame arrived.
    pub fn handle_text(&mut self, now: Now, connection: ConnectionId, text: &str) {
        let Some(entry) = self.connections.get_mut(&connection) else {
            return;
        };
        entry.heard_at = now.monotonic;
        if !entry.rate.admits(now.monotonic) {
            self.counters.count("hall.too_many_messages");
            return self.tell_limit(connection, "messages_per_second");
        }
        if text.len() > self.config.limits.message_bytes {
            self.counters.count("hall.message_too_long");
            return self.tell_limit(connection, "message_bytes");
        }
        if text == "ping" {
            self.events.push_back(Event::Send {
                connection,
                text: "pong".into(),
            });
            return;
        }
        match frame::parse(text) {
            Ok(incoming) => self.handle_frame(now, connection, &incoming),
            Err(BadFrame::NotJson) => {
                self.counters.count("hall.invalid_json");
                let data = frame::raw(&json!({"description": "Invalid JSON", "details": text}));
                self.send_unaddressed(connection, data.as_deref());
            }
            Err(BadFrame::NotAFrame) => {
                self.counters.count("hall.invalid_message");
                self.tell_error(connection, &json!({"description": "Invalid message"}), None);
            }
        }
    }

    /// Acts on whatever time has brought.
    pub fn handle_timeout(&mut self, now: Now) {
        let due = |at: Option<Instant>| at.is_some_and(|at| at <= now.monotonic);
        let late: Vec<ConnectionId> = self
            .connections
            .iter()
            .filter(|(_, connection)| due(connection.joins_at))
            .map(|(id, _)| *id)
            .collect();
        for connection in late {
            self.join(now, connection, Introduction::default());
        }
        let silence = self.config.limits.silence;
        let silent: Vec<ConnectionId> = self
            .connections
            .iter()
            .filter(|(_, connection)| due(connection.silent_at(silence)))
            .map(|(id, _)| *id)
            .collect();
        for connection in silent {
            self.counters.count("hall.silent");
            self.close(connection, CloseCode::PolicyViolation, "silence");
            self.disconnected(now, connection);
        }
        let gone: Vec<String> = self
            .peers
            .values()
            .filter(|session| due(session.leaves_at))
            .map(|session| session.id.clone())
            .collect();
        for peer in gone {
            self.leave(now, &peer, "connection_lost");
        }
        self.end_what_is_over(now);
        self.move_rooms(now);
    }

    /// What the driver is to do next.
    pub fn poll_output(&mut self) -> Output<Event> {
        if let Some(event) = self.events.pop_front() {
            return Output::Event(event);
        }
        let silence = self.config.limits.silence;
        let silent = self
            .connections
            .values()
            .filter_map(|connection| connection.silent_at(silence))
            .min();
        let joins = self
            .connections
            .values()
            .filter_map(|connection| connection.joins_at)
            .min();
        let leaves = self
            .peers
            .values()
            .filter_map(|session| session.leaves_at)
            .min();
        let deadline = [
            (silent, "hall.silence"),
            (joins, "hall.join"),
            (leaves, "hall.leave"),
            (self.next_end(), "hall.end"),
        ]
        .into_iter()
        .filter_map(|(at, reason)| Some(Deadline::new(at?, reason)))
        .min_by_key(|deadline| deadline.at);
        Output::Wait(deadline)
    }

    /// Says something to a participant in the name of the server.
    pub fn tell(&mut self, participant: &str, event: &str, data: &RawValue) {
        let frame = Frame {
            event,
            data: Some(data),
            from: Some(SERVER_ID),
            ..Frame::default()
        };
        self.send(participant, &frame);
    }

    /// Rooms with someone in them.
    pub fn room_count(&self) -> usize {
        self.rooms.len()
    }

    /// Rooms whose media goes through the server.
    pub fn forwarded_room_count(&self) -> usize {
        let rooms = self.rooms.values();
        rooms.filter(|room| room.shape.is_forwarded).count()
    }

    /// Participants in all rooms.
    pub fn peer_count(&self) -> usize {
        self.peers.len()
    }

    /// What was refused or dropped, by reason.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    pub(super) fn tell_limit(&mut self, connection: ConnectionId, limit: &str) {
        let data = json!({"description": "Limit reached", "details": limit});
        self.tell_error(connection, &data, None);
    }

    /// An error to whoever is on the connection.
    pub(super) fn tell_error(
        &mut self,
        connection: ConnectionId,
        data: &serde_json::Value,
        id: Option<&RawValue>,
    ) {
        let data = frame::raw(data);
        let peer = self
            .connections
            .get(&connection)
            .and_then(|entry| entry.peer.clone());
        match peer {
            Some(peer) => {
                let frame = Frame {
                    event: "error",
                    data: data.as_deref(),
                    id,
                    ..Frame::default()
                };
                self.send(&peer, &frame);
            }
            None => self.send_unaddressed(connection, data.as_deref()),
        }
    }

    /// An error with `to` null, neither numbered nor kept.
    pub(super) fn send_unaddressed(&mut self, connection: ConnectionId, data: Option<&RawValue>) {
        let text = frame::unnumbered("error", data, None);
        self.events.push_back(Event::Send { connection, text });
    }

    pub(super) fn send(&mut self, peer: &str, frame: &Frame<'_>) {
        let Some(session) = self.peers.get_mut(peer).filter(|own| !own.is_guest) else {
            return;
        };
        let text = session.write(&self.config.limits, frame);
        if let Some(connection) = session.connection {
            self.events.push_back(Event::Send { connection, text });
        }
    }

    pub(super) fn roommates(&self, peer: &str) -> Vec<String> {
        let room = self.peers.get(peer).map(|session| &session.room);
        room.map(|room| self.present(room)).unwrap_or_default()
    }

    pub(super) fn is_base(&self, peer: &str) -> bool {
        self.peers
            .get(peer)
            .is_some_and(|session| session.protocol == Protocol::Base)
    }
}
