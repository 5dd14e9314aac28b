//! What is said in a room: frames relayed, and those that the server itself acts on.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_json::value::RawValue;
use twocan_proto::time::Now;

use super::membership::Introduction;
use super::notice::Notice;
use super::{CloseCode, ConnectionId, Event, Hall, MediaEvent, Protocol, SERVER_ID, ShownToken};
use crate::frame::{self, All, Incoming, Recipients};
use crate::limits::{METADATA_LEN_MAX, TRACK_LEN_MAX, TRACKS_MAX};
use crate::session::{Frame, Publication, Session, cut};

#[derive(Deserialize)]
struct TrackChange {
    action: TrackAction,
    track: Box<RawValue>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
enum TrackAction {
    Publish,
    Unpublish,
    Mute,
    Unmute,
}

/// `data` of `token`.
#[derive(Deserialize)]
struct TokenData {
    token: String,
}

/// What negotiates media: who may say nothing else may say this.
const NEGOTIATION: [&str; 3] = ["offer", "answer", "candidate"];

/// What the server alone says: whoever gets it takes it for the server's word.
const OF_SERVER: [&str; 21] = [
    "announcement",
    "authenticated",
    "chat-history",
    "draining",
    "error",
    "forward",
    "hand",
    "joined",
    "kicked",
    "layers",
    "left",
    "lobby",
    "muted",
    "permissions",
    "quality",
    "reply",
    "resumed",
    "room",
    "speakers",
    "topology",
    "waiting",
];

impl Hall {
    pub(super) fn handle_frame(&mut self, now: Now, connection: ConnectionId, incoming: &Incoming) {
        let peer = self
            .connections
            .get(&connection)
            .and_then(|entry| entry.peer.clone());
        let Some(peer) = peer else {
            return self.greet(now, connection, incoming);
        };
        let Some(session) = self.peers.get_mut(&peer) else {
            return;
        };
        if let Some(seq) = incoming.seq {
            // Sent again after a resumption, and acted on before it.
            if seq <= session.received {
                return;
            }
            session.received = seq;
        }
        let is_waiting = session.is_waiting;
        if session.protocol == Protocol::Base {
            // It may mean something else by it, though not more often.
            let is_reaction = incoming.event == "reaction";
            if !is_waiting && (!is_reaction || self.takes_reaction(now, &peer, incoming)) {
                self.relay(now, &peer, incoming);
            }
            return;
        }
        match incoming.event.as_str() {
            "leave" => {
                self.leave(now, &peer, "left");
                self.hang_up(connection, CloseCode::Normal, "left");
            }
            "token" => self.show_token(now, &peer, incoming),
            _ if is_waiting => self.refuse_request(&peer, incoming, "Not admitted"),
            "moderate" => self.moderate(now, &peer, incoming),
            "hand" => self.change_hand(now, &peer, incoming),
            "reaction" => self.react(now, &peer, incoming),
            "settled" => self.change_settled(now, &peer, incoming),
            "track" => self.change_track(now, &peer, incoming),
            "metadata" => self.change_metadata(now, &peer, incoming),
            "join" | "resume" => {
                self.refuse_request(&peer, incoming, "Already joined");
            }
            _ if self.is_for_server(&peer, incoming) => self.pass_to_server(&peer, incoming),
            _ => self.relay(now, &peer, incoming),
        }
    }

    /// Whether a frame is for the server, where that takes part in the call.
    fn is_for_server(&self, peer: &str, incoming: &Incoming) -> bool {
        let named = match &incoming.to {
            Some(Recipients::Some(ids)) => ids.iter().eq([SERVER_ID]),
            Some(Recipients::All(All::All)) | None => false,
        };
        named && self.peers.get(peer).is_some_and(|own| own.is_forwarded)
    }

    fn pass_to_server(&mut self, peer: &str, incoming: &Incoming) {
        let Some(data) = incoming.data.clone() else {
            return self.refuse_request(peer, incoming, "Invalid message");
        };
        let signal = MediaEvent::Signal {
            participant: peer.to_owned(),
            event: incoming.event.clone(),
            data,
        };
        self.events.push_back(Event::Media(signal));
        self.reply(peer, incoming);
    }

    /// Hands on a token that somebody shows.
    fn show_token(&mut self, now: Now, peer: &str, incoming: &Incoming) {
        let session = self.peers.get_mut(peer);
        if !session.is_some_and(|own| own.may_show_token(now.monotonic)) {
            self.counters.count("hall.too_many_tokens");
            return self.refuse_with(peer, incoming, "Limit reached", "tokens_per_second");
        }
        let data = incoming.data.as_ref();
        let shown = data.and_then(|data| serde_json::from_str::<TokenData>(data.get()).ok());
        let room = self.peers.get(peer).map(|own| own.room.clone());
        let (Some(TokenData { token }), Some(room)) = (shown, room) else {
            return self.refuse_request(peer, incoming, "Invalid message");
        };
        self.events.push_back(Event::Token(ShownToken {
            participant: peer.to_owned(),
            room,
            token,
            id: incoming.id.clone(),
        }));
    }

    /// Whether somebody may say that to others.
    fn may_say(&self, peer: &str, event: &str) -> bool {
        self.peers.get(peer).is_some_and(|own| {
            let permissions = own.permissions();
            // Where the server forwards, nobody negotiates with anybody else.
            let is_mesh = !self.is_forwarded(&own.room);
            let negotiates = is_mesh && NEGOTIATION.contains(&event);
            !permissions.hidden && (permissions.data || negotiates)
        })
    }

    /// Passes a frame on to whom it names.
    pub(super) fn relay(&mut self, now: Now, peer: &str, incoming: &Incoming) {
        if OF_SERVER.contains(&incoming.event.as_str()) {
            self.counters.count("hall.event_of_server");
            return self.refuse_with(peer, incoming, "Not permitted", "event");
        }
        if !self.may_say(peer, &incoming.event) {
            self.counters.count("hall.not_permitted");
            return self.refuse_with(peer, incoming, "Not permitted", "data");
        }
        let Some(to) = &incoming.to else {
            self.counters.count("hall.invalid_message");
            return self.refuse_request(peer, incoming, "Invalid message");
        };
        let present = self.roommates(peer);
        let targets: BTreeSet<&String> = match to {
            Recipients::All(All::All) => present.iter().filter(|other| *other != peer).collect(),
            Recipients::Some(ids) => {
                let is_hidden = |id: &String| {
                    let own = self.peers.get(id);
                    own.is_some_and(|own| own.permissions().hidden)
                };
                let is_there = |id: &String| present.contains(id) && !is_hidden(id);
                if !ids.iter().all(is_there) {
                    self.counters.count("hall.unknown_recipient");
                    if !self.is_base(peer) {
                        self.refuse_request(peer, incoming, "Unknown peer");
                    }
                    return;
                }
                ids.iter().collect()
            }
        };
        let sender = self.peers.get(peer).filter(|_| self.config.from_metadata);
        let metadata = sender.and_then(|sender| sender.metadata.clone());
        let frame = Frame {
            event: &incoming.event,
            data: incoming.data.as_deref(),
            from: Some(peer),
            to: Some(to),
            id: None,
            from_metadata: metadata.as_deref(),
        };
        for target in targets {
            self.send(target, &frame);
        }
        self.keep_chat(now, peer, incoming);
    }

    /// Whether somebody may change what others are told of it; answers it where it may not.
    pub(super) fn takes_change(&mut self, now: Now, peer: &str, incoming: &Incoming) -> bool {
        let session = self.peers.get_mut(peer);
        let takes = session.is_some_and(|own| own.may_change(now.monotonic));
        if !takes {
            self.counters.count("hall.too_many_changes");
            self.refuse_with(peer, incoming, "Limit reached", "changes_per_second");
        }
        takes
    }

    pub(super) fn change_track(&mut self, now: Now, peer: &str, incoming: &Incoming) {
        let change = incoming
            .data
            .as_ref()
            .and_then(|data| serde_json::from_str::<TrackChange>(data.get()).ok());
        let read = |change: TrackChange| Some((change.action, Publication::read(change.track)?));
        let Some((action, track)) = change.and_then(read) else {
            return self.refuse_request(peer, incoming, "Invalid message");
        };
        if track.told.get().len() > TRACK_LEN_MAX {
            self.counters.count("hall.track_too_long");
            return self.refuse_with(peer, incoming, "Limit reached", "track_bytes");
        }
        if !self.takes_change(now, peer, incoming) {
            return;
        }
        let Some(session) = self.peers.get_mut(peer) else {
            return;
        };
        let is_over = action == TrackAction::Unpublish;
        if !is_over && !session.permissions().may_publish(track.source) {
            self.counters.count("hall.not_permitted");
            let what = format!("publish:{}", track.source.as_str());
            return self.refuse_with(peer, incoming, "Not permitted", &what);
        }
        let known = session.tracks.iter().position(|own| own.id == track.id);
        if !is_over && known.is_none() && session.tracks.len() >= TRACKS_MAX {
            return self.refuse_request(peer, incoming, "Too many tracks");
        }
        if is_over && known.is_none() {
            // Nobody knows of it, and so nobody is told.
            return self.reply(peer, incoming);
        }
        let before = known.map(|index| session.tracks.remove(index));
        // Of what ends the others are told what they know, and nothing new.
        let told = match (&before, is_over) {
            (Some(before), true) => before.told.clone(),
            _ => track.told.clone(),
        };
        let room = session.room.clone();
        let participant = peer.to_owned();
        let notice = match (is_over, &before) {
            (false, None) => Some(Notice::TrackPublished {
                room,
                participant,
                track: told.clone(),
            }),
            (true, Some(_)) => Some(Notice::TrackUnpublished {
                room,
                participant,
                track: told.clone(),
            }),
            _ => None,
        };
        if !is_over {
            session.tracks.push(track);
        }
        self.events.extend(notice.map(Event::Notice));
        let data = frame::raw(&json!({"action": action, "track": told}));
        self.tell_others(peer, "track", data.as_deref());
        self.reply(peer, incoming);
        self.settle_media(peer);
    }

    pub(super) fn change_metadata(&mut self, now: Now, peer: &str, incoming: &Incoming) {
        let who = incoming
            .data
            .as_ref()
            .and_then(|data| serde_json::from_str::<Introduction>(data.get()).ok());
        let Some(who) = who else {
            return self.refuse_request(peer, incoming, "Invalid message");
        };
        let may = |own: &Session| own.permissions().may_change_metadata();
        if !self.peers.get(peer).is_some_and(may) {
            self.counters.count("hall.not_permitted");
            return self.refuse_with(peer, incoming, "Not permitted", "metadata");
        }
        let len = who.metadata.as_ref().map_or(0, |own| own.get().len());
        if len > METADATA_LEN_MAX {
            self.counters.count("hall.metadata_too_long");
            return self.refuse_with(peer, incoming, "Limit reached", "metadata_bytes");
        }
        if !self.takes_change(now, peer, incoming) {
            return;
        }
        let Some(session) = self.peers.get_mut(peer) else {
            return;
        };
        // What a token says of somebody, it does not change itself.
        if let Some(name) = who.name.filter(|_| session.admission.name.is_none()) {
            session.name = cut(&name);
        }
        if who.metadata.is_some() && session.admission.metadata.is_none() {
            session.metadata = who.metadata;
        }
        self.tell_metadata(peer);
        self.reply(peer, incoming);
    }

    /// Tells the others what somebody is called, and what it says of itself.
    pub(super) fn tell_metadata(&mut self, peer: &str) {
        let Some(session) = self.peers.get(peer) else {
            return;
        };
        let data = frame::raw(&json!({
            "peer_id": peer, "name": session.name, "metadata": session.metadata,
        }));
        self.tell_others(peer, "metadata", data.as_deref());
    }

    /// Tells the others in the room who speak `twocan.v1`; nothing of one who is hidden.
    pub(super) fn tell_others(&mut self, peer: &str, event: &str, data: Option<&RawValue>) {
        let session = self.peers.get(peer);
        if session.is_none_or(|session| session.permissions().hidden) {
            return;
        }
        let to = Recipients::All(All::All);
        let frame = Frame {
            event,
            data,
            from: Some(peer),
            to: Some(&to),
            ..Frame::default()
        };
        for other in self.roommates(peer) {
            if other != peer && !self.is_base(&other) {
                self.send(&other, &frame);
            }
        }
    }

    pub(super) fn reply(&mut self, peer: &str, incoming: &Incoming) {
        if incoming.id.is_some() {
            let frame = Frame {
                event: "reply",
                id: incoming.id.as_deref(),
                ..Frame::default()
            };
            self.send(peer, &frame);
        }
    }

    pub(super) fn refuse_request(&mut self, peer: &str, incoming: &Incoming, description: &str) {
        self.refuse(peer, incoming, &json!({"description": description}));
    }

    pub(super) fn refuse_with(
        &mut self,
        peer: &str,
        incoming: &Incoming,
        description: &str,
        details: &str,
    ) {
        let data = json!({"description": description, "details": details});
        self.refuse(peer, incoming, &data);
    }

    fn refuse(&mut self, peer: &str, incoming: &Incoming, data: &serde_json::Value) {
        let data = frame::raw(data);
        let frame = Frame {
            event: "error",
            data: data.as_deref(),
            id: incoming.id.as_deref(),
            ..Frame::default()
        };
        self.send(peer, &frame);
    }
}
