//! Who is in a room: greeting, joining, resuming, leaving.

use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;
use std::time::Duration;
use twocan_proto::time::Now;

use super::notice::{Notice, ParticipantInfo};
use super::{CloseCode, ConnectionId, Event, Hall, MediaEvent, Protocol, Refusal};
use crate::frame::{self, All, Incoming, Recipients};
use crate::limits::{METADATA_LEN_MAX, WAITING_MAX};
use crate::permissions::Admission;
use crate::session::{Frame, Session, cut};

/// What somebody who joins says of itself (`data` of `join`).
#[derive(Debug, Clone, Deserialize, Default)]
pub struct Introduction {
    /// What the others call it: 100 characters, the rest is cut. Default empty.
    pub name: Option<String>,
    /// Any JSON, handed on to the others, up to 8 KiB. Default none.
    pub metadata: Option<Box<RawValue>>,
}

#[derive(Deserialize)]
pub(super) struct Resumption {
    token: String,
    #[serde(default)]
    seq: u64,
}

impl Hall {
    /// The first frame of a `twocan.v1` connection.
    pub(super) fn greet(&mut self, now: Now, connection: ConnectionId, incoming: &Incoming) {
        let data = incoming.data.as_ref().map(|data| data.get());
        match incoming.event.as_str() {
            "resume" => {
                let wanted = data.and_then(|data| serde_json::from_str::<Resumption>(data).ok());
                match wanted {
                    Some(wanted) => self.resume(now, connection, &wanted),
                    None => {
                        let data = json!({"description": "Could not resume",
                            "details": "token_missing"});
                        self.tell_error(connection, &data, incoming.id.as_deref());
                    }
                }
            }
            "join" => {
                let who = data.and_then(|data| serde_json::from_str(data).ok());
                self.join(now, connection, who.unwrap_or_default());
            }
            _ => {
                // A client that greets nobody joins without a name, and is then heard.
                self.join(now, connection, Introduction::default());
                if self
                    .connections
                    .get(&connection)
                    .is_some_and(|entry| entry.peer.is_some())
                {
                    self.handle_frame(now, connection, incoming);
                }
            }
        }
    }

    pub(super) fn join(&mut self, now: Now, connection: ConnectionId, who: Introduction) {
        let id = self.uuid();
        let resume_token = self.token();
        let Some(entry) = self.connections.get_mut(&connection) else {
            return;
        };
        entry.joins_at = None;
        let (room, protocol) = (entry.room.clone(), entry.protocol);
        let admission = entry.admission.clone();
        if let Some(reason) = self.refusal(now, &room, protocol, &admission) {
            return self.refuse_join(connection, &id, reason);
        }
        if let Some(entry) = self.connections.get_mut(&connection) {
            entry.peer = Some(id.clone());
        }
        let token = resume_token.clone();
        let mut session = Session::new(id.clone(), room, protocol, connection, token);
        session.expires_at = self.expiry(now, &admission);
        self.tokens.insert(resume_token, id);
        self.seat(now, session, admission, who);
    }

    /// Somebody is in the room that its session says, or waits to be let in.
    pub(super) fn seat(
        &mut self,
        now: Now,
        mut session: Session,
        admission: Admission,
        who: Introduction,
    ) {
        let (id, room) = (session.id.clone(), session.room.clone());
        let waits = self.has_lobby(&room) && !admission.permissions.moderate;
        // What a token says of somebody, it does not say itself.
        let name = admission.name.clone().or(who.name).unwrap_or_default();
        session.name = cut(&name);
        let own = who.metadata.filter(|own| {
            admission.permissions.may_change_metadata() && own.get().len() <= METADATA_LEN_MAX
        });
        session.metadata = admission.metadata.clone().or(own);
        session.granted = admission.permissions.clone();
        session.admission = admission;
        session.joined_at = now.wallclock;
        session.is_waiting = waits;
        self.peers.insert(id.clone(), session);
        if !waits {
            return self.enter(now, &id);
        }
        self.open_room(now, &room).waiting.push(id.clone());
        self.settle_room(now, &room);
        let data = frame::raw(&json!({"peer_id": id, "room": room}));
        self.tell_own(&id, "waiting", data.as_deref());
        self.tell_moderators(&room);
    }

    /// Why somebody cannot join a room now.
    fn refusal(
        &mut self,
        now: Now,
        room: &str,
        protocol: Protocol,
        admission: &Admission,
    ) -> Option<&'static str> {
        let ends_at = self.expiry(now, admission);
        if ends_at.is_some_and(|at| at <= now.monotonic) {
            self.counters.count("hall.token_expired");
            return Some("token_expired");
        }
        // Who was here before goes on to the next server, whatever it would be told here.
        if self.draining {
            return Some("draining");
        }
        let own = self.rooms.get(room);
        let present = own.map_or(0, |own| own.members.len());
        let waiting = own.map_or(0, |own| own.waiting.len());
        let is_locked = own.is_some_and(|own| own.is_locked) && !admission.permissions.moderate;
        if present >= self.peers_max(room) {
            self.counters.count("hall.room_is_full");
            return Some("room_is_full");
        }
        let waits = self.has_lobby(room) && !admission.permissions.moderate;
        if waits && waiting >= WAITING_MAX {
            self.counters.count("hall.lobby_is_full");
            return Some("lobby_is_full");
        }
        if protocol == Protocol::Base && !self.takes_base(room, &admission.permissions) {
            self.counters.count("hall.base_client_refused");
            return Some("room_needs_twocan_v1");
        }
        if is_locked {
            self.counters.count("hall.room_is_locked");
            return Some("room_is_locked");
        }
        match self.opens(room).err()? {
            Refusal::BadRoomName => Some("bad_room_name"),
            Refusal::TooManyRooms => Some("too_many_rooms"),
            Refusal::Draining => Some("draining"),
        }
    }

    pub(super) fn has_lobby(&self, room: &str) -> bool {
        let own = self.rooms.get(room);
        own.map_or(self.config.lobby, |own| own.has_lobby)
    }

    /// Somebody who has joined is in the room.
    pub(super) fn enter(&mut self, now: Now, id: &str) {
        let Some(session) = self.peers.get(id) else {
            return;
        };
        let room = session.room.clone();
        let participant = Box::new(ParticipantInfo::of(session));
        let present = self.present(&room);
        self.open_room(now, &room).members.push(id.to_owned());
        self.settle_room(now, &room);
        // Those who are there connect with whom the new shape has them connect.
        self.settle_shape(now, &room, Some(id));
        self.announce(id, &present);
        if self.takes_server(&room) {
            self.bring_in(id);
        }
        // Whoever forwards may know of it already, as of one who waits.
        self.settle_media(id);
        self.welcome(now, id, &present);
        self.events
            .push_back(Event::Notice(Notice::ParticipantJoined {
                room,
                participant,
            }));
    }

    /// Tells the one who joined.
    pub(super) fn welcome(&mut self, now: Now, id: &str, present: &[String]) {
        let Some(session) = self.peers.get(id) else {
            return;
        };
        let mut rest: &[String] = &[];
        let data = match session.protocol {
            Protocol::Base => frame::raw(&json!({"peer_id": id})),
            Protocol::V1 => {
                let limits = &self.config.limits;
                let permissions = session.permissions();
                let room = self.rooms.get(&session.room);
                let told = match session.by_channel {
                    true => self.within_a_message(id, present),
                    false => present.len(),
                };
                let (first, later) = present.split_at(told);
                rest = later;
                let mut data = json!({
                    "peer_id": id,
                    "room": session.room,
                    "topology": self.shape_name(&session.room),
                    "peers": self.roster(id, first),
                    "ice_servers": self.servers_for(now, id),
                    "permissions": permissions.names(),
                    "locked": room.is_some_and(|room| room.is_locked),
                    "lobby": room.is_some_and(|room| room.has_lobby),
                    "limits": {
                        "message_bytes": limits.message_bytes,
                        "messages_per_second": limits.messages_per_second,
                        "peers_per_room": self.peers_max(&session.room),
                    },
                });
                // Who came by HTTP goes with its connection.
                let grace = match session.by_channel {
                    true => Duration::ZERO,
                    false => limits.resume_grace,
                };
                data["limits"]["resume_grace_ms"] = millis(grace).into();
                if !session.by_channel {
                    data["resume_token"] = session.resume_token.as_str().into();
                }
                if permissions.moderate {
                    data["waiting"] = self.waiting_with(id).into();
                }
                let kept = self.chat_history(&session.room);
                if kept > 0 {
                    data["chat_history"] = kept.into();
                }
                if let Some(left) = self.expires_in_ms(now, id) {
                    data["token_expires_in_ms"] = left.into();
                }
                frame::raw(&data)
            }
        };
        let frame = Frame {
            event: "authenticated",
            data: data.as_deref(),
            ..Frame::default()
        };
        self.send(id, &frame);
        for peer in rest {
            self.tell_of(id, peer);
        }
        self.tell_chat_history(id);
    }

    pub(super) fn resume(&mut self, now: Now, connection: ConnectionId, wanted: &Resumption) {
        let fresh = self.token();
        let entry = self.connections.get(&connection);
        let own = entry.map(|entry| entry.own.clone()).unwrap_or_default();
        let peer = self.tokens.get(&wanted.token).cloned();
        // Who was let into another room, or as somebody else, takes nobody's place.
        let is_same = |own: &&mut Session| {
            entry.is_some_and(|entry| {
                entry.room == own.room && entry.admission.identity == own.admission.identity
            })
        };
        let session = peer.as_ref().and_then(|peer| self.peers.get_mut(peer));
        let session = session.filter(is_same);
        let peer = peer.filter(|_| session.is_some());
        let missed = session.as_ref().map(|session| session.missed(wanted.seq));
        let (Some(peer), Some(session), Some(Some(missed))) = (&peer, session, missed) else {
            let known = peer.is_some();
            let reason = if known {
                "too_far_behind"
            } else {
                "unknown_token"
            };
            self.counters.count("hall.resume_refused");
            let data = json!({"description": "Could not resume", "details": reason});
            let data = frame::raw(&data);
            return self.send_unaddressed(connection, data.as_deref());
        };
        let servers = self.config.ice_servers.list_for(
            &session.id,
            &own,
            now.wallclock,
            session.admission.expires_at,
        );
        let replaced = session.connection.replace(connection);
        session.leaves_at = None;
        self.tokens.remove(&session.resume_token);
        session.resume_token.clone_from(&fresh);
        self.tokens.insert(fresh.clone(), peer.clone());
        let data = frame::raw(&json!({
            "peer_id": session.id,
            "received": session.received,
            "resume_token": fresh,
            "ice_servers": servers,
        }));
        let to = Recipients::Some(vec![session.id.clone()]);
        let text = frame::unnumbered("resumed", data.as_deref(), Some(&to));
        self.events.push_back(Event::Send { connection, text });
        for text in missed {
            self.events.push_back(Event::Send { connection, text });
        }
        if let Some(entry) = self.connections.get_mut(&connection) {
            entry.peer = Some(peer.clone());
            entry.joins_at = None;
        }
        if let Some(replaced) = replaced {
            self.hang_up(replaced, CloseCode::Normal, "resumed_elsewhere");
        }
    }

    /// Somebody is gone.
    pub(super) fn leave(&mut self, now: Now, peer: &str, reason: &str) {
        let Some(session) = self.peers.remove(peer) else {
            return;
        };
        self.tokens.remove(&session.resume_token);
        if let Some(entry) = session
            .connection
            .and_then(|id| self.connections.get_mut(&id))
        {
            entry.peer = None;
        }
        let room = session.room.clone();
        if session.is_forwarded {
            let participant = peer.to_owned();
            let left = MediaEvent::Left { participant };
            self.events.push_back(Event::Media(left));
        }
        if session.is_waiting {
            if let Some(own) = self.rooms.get_mut(&room) {
                own.waiting.retain(|other| other != peer);
            }
            self.tell_moderators(&room);
            return self.settle_room(now, &room);
        }
        for track in &session.tracks {
            self.events
                .push_back(Event::Notice(Notice::TrackUnpublished {
                    room: room.clone(),
                    participant: peer.to_owned(),
                    track: track.told.clone(),
                }));
        }
        self.events
            .push_back(Event::Notice(Notice::ParticipantLeft {
                room: room.clone(),
                participant: Box::new(ParticipantInfo::of(&session)),
                reason: reason.to_owned(),
            }));
        if let Some(own) = self.rooms.get_mut(&room) {
            own.members.retain(|other| other != peer);
        }
        let present = self.present(&room);
        self.settle_room(now, &room);
        if session.permissions().hidden {
            return self.settle_shape(now, &room, None);
        }
        self.tell_left(peer, reason, &present);
        self.settle_shape(now, &room, None);
    }

    /// Tells those who stay that somebody is gone, and, by `twocan.v1`, whether it may be on its way
    /// back. What somebody who moderates says to one who is removed is not for the others.
    fn tell_left(&mut self, peer: &str, reason: &str, present: &[String]) {
        let reason = match reason {
            "left" | "connection_lost" => reason,
            _ => "removed",
        };
        let plain = frame::raw(&json!({"peer_id": peer}));
        let reasoned = frame::raw(&json!({"peer_id": peer, "reason": reason}));
        let to = Recipients::All(All::All);
        for other in present {
            let data = match self.is_base(other) {
                true => &plain,
                false => &reasoned,
            };
            let frame = Frame {
                event: "left",
                data: data.as_deref(),
                to: Some(&to),
                ..Frame::default()
            };
            self.send(other, &frame);
        }
    }

    pub(super) fn refuse_join(&mut self, connection: ConnectionId, id: &str, details: &str) {
        let data = json!({"description": "Could not join room", "details": details});
        let data = frame::raw(&data);
        let to = Recipients::Some(vec![id.to_owned()]);
        let text = frame::unnumbered("error", data.as_deref(), Some(&to));
        self.events.push_back(Event::Send { connection, text });
        self.close(connection, CloseCode::Normal, "could_not_join");
    }

    pub(super) fn servers_for(&self, now: Now, peer: &str) -> Vec<crate::IceServer> {
        let session = self.peers.get(peer);
        let connection = session.and_then(|session| session.connection);
        let until = session.and_then(|session| session.admission.expires_at);
        let entry = connection.and_then(|connection| self.connections.get(&connection));
        let own = entry.map(|entry| entry.own.clone()).unwrap_or_default();
        let servers = &self.config.ice_servers;
        servers.list_for(peer, &own, now.wallclock, until)
    }

    /// A random UUID (RFC 9562 §5.4).
    pub(super) fn uuid(&mut self) -> String {
        let mut bytes = [0; 16];
        self.random.fill(&mut bytes);
        bytes[6] = (bytes[6] & 0x0f) | 0x40;
        bytes[8] = (bytes[8] & 0x3f) | 0x80;
        let hex: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        [&hex[..4], &hex[4..6], &hex[6..8], &hex[8..10], &hex[10..]]
            .map(|group| group.concat())
            .join("-")
    }

    /// 144 random bits.
    fn token(&mut self) -> String {
        self.random
            .ice_chars(24)
            .replace('+', "-")
            .replace('/', "_")
    }
}

pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
