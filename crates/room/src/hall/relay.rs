//! What is said in a room: frames relayed, and those that the server itself acts on.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;
use twocan_proto::time::Now;

use super::membership::Introduction;
use super::{CloseCode, ConnectionId, Event, Hall, MediaEvent, Protocol, SERVER_ID, Topology};
use crate::frame::{self, All, Incoming, Recipients};
use crate::limits::{PEER_NAME_CHARS_MAX, TRACKS_MAX};
use crate::session::Frame;

#[derive(Deserialize)]
struct TrackChange {
    action: String,
    track: Box<RawValue>,
}

#[derive(Deserialize)]
struct TrackName {
    id: String,
}

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
        if session.protocol == Protocol::Base {
            return self.relay(&peer, incoming);
        }
        match incoming.event.as_str() {
            "leave" => {
                self.leave(&peer);
                self.close(connection, CloseCode::Normal, "left");
            }
            "track" => self.change_track(&peer, incoming),
            "metadata" => self.change_metadata(&peer, incoming),
            "join" | "resume" => {
                self.refuse_request(&peer, incoming, "Already joined");
            }
            _ if self.is_for_server(incoming) => self.pass_to_server(&peer, incoming),
            _ => {
                self.relay(&peer, incoming);
            }
        }
    }

    /// Whether a frame is for the server, where that takes part in the call.
    fn is_for_server(&self, incoming: &Incoming) -> bool {
        let named = match &incoming.to {
            Some(Recipients::Some(ids)) => ids.iter().eq([SERVER_ID]),
            Some(Recipients::All(All::All)) | None => false,
        };
        named && self.config.topology == Topology::Sfu
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

    /// Passes a frame on to whom it names.
    pub(super) fn relay(&mut self, peer: &str, incoming: &Incoming) {
        let Some(to) = &incoming.to else {
            self.counters.count("hall.invalid_message");
            return self.refuse_request(peer, incoming, "Invalid message");
        };
        let present = self.roommates(peer);
        let targets: BTreeSet<&String> = match to {
            Recipients::All(All::All) => present.iter().filter(|other| *other != peer).collect(),
            Recipients::Some(ids) => {
                if ids.iter().any(|id| !present.contains(id)) {
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
    }

    pub(super) fn change_track(&mut self, peer: &str, incoming: &Incoming) {
        let change = incoming
            .data
            .as_ref()
            .and_then(|data| serde_json::from_str::<TrackChange>(data.get()).ok());
        let named = change
            .as_ref()
            .and_then(|change| serde_json::from_str::<TrackName>(change.track.get()).ok());
        let (Some(change), Some(TrackName { id })) = (change, named) else {
            return self.refuse_request(peer, incoming, "Invalid message");
        };
        let Some(session) = self.peers.get_mut(peer) else {
            return;
        };
        session.tracks.retain(|(known, _)| *known != id);
        if change.action != "unpublish" {
            if session.tracks.len() >= TRACKS_MAX {
                return self.refuse_request(peer, incoming, "Too many tracks");
            }
            session.tracks.push((id, change.track));
        }
        self.tell_others(peer, "track", incoming.data.as_deref());
        self.reply(peer, incoming);
    }

    pub(super) fn change_metadata(&mut self, peer: &str, incoming: &Incoming) {
        let who = incoming
            .data
            .as_ref()
            .and_then(|data| serde_json::from_str::<Introduction>(data.get()).ok());
        let Some(who) = who else {
            return self.refuse_request(peer, incoming, "Invalid message");
        };
        let Some(session) = self.peers.get_mut(peer) else {
            return;
        };
        if let Some(name) = who.name {
            session.name = name.chars().take(PEER_NAME_CHARS_MAX).collect();
        }
        if who.metadata.is_some() {
            session.metadata = who.metadata;
        }
        let data = frame::raw(&json!({
            "peer_id": peer, "name": session.name, "metadata": session.metadata,
        }));
        self.tell_others(peer, "metadata", data.as_deref());
        self.reply(peer, incoming);
    }

    /// Tells the others in the room who speak `twocan.v1`.
    pub(super) fn tell_others(&mut self, peer: &str, event: &str, data: Option<&RawValue>) {
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
        let data = frame::raw(&json!({"description": description}));
        let frame = Frame {
            event: "error",
            data: data.as_deref(),
            id: incoming.id.as_deref(),
            ..Frame::default()
        };
        self.send(peer, &frame);
    }
}
