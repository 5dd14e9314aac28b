//! Order in a room: by those in it who may moderate it, and by its operators.

use serde_json::json;
use serde_json::value::RawValue;

use twocan_proto::time::Now;

use super::act::{Act, ActError, Order, Tracks};
use super::notice::{Moderated, Notice};
use super::{CloseCode, Connection, ConnectionId, Event, Hall, MediaEvent, Protocol};
use crate::frame::{self, All, Incoming, Recipients};
use crate::limits::REASON_CHARS_MAX;
use crate::permissions::{Admission, PermissionChange};
use crate::session::Frame;

impl Hall {
    /// Somebody in the room moderates it.
    pub(super) fn moderate(&mut self, now: Now, peer: &str, incoming: &Incoming) {
        let Some(session) = self.peers.get(peer) else {
            return;
        };
        if !session.permissions().moderate {
            self.counters.count("hall.not_permitted");
            return self.refuse_with(peer, incoming, "Not permitted", "moderate");
        }
        let room = session.room.clone();
        let identity = session.admission.identity.clone();
        let order = incoming
            .data
            .as_ref()
            .and_then(|data| serde_json::from_str::<Order>(data.get()).ok());
        let Some(act) = order.and_then(Order::act) else {
            return self.refuse_request(peer, incoming, "Invalid message");
        };
        match self.act(now, &room, &act) {
            Ok(()) => {
                self.events.push_back(Event::Moderated(Moderated {
                    room,
                    by: peer.to_owned(),
                    identity,
                    action: act.name().to_owned(),
                    participant: act.participant().map(str::to_owned),
                }));
                self.reply(peer, incoming);
            }
            Err(error) => self.refuse_with(peer, incoming, "Not done", &error.to_string()),
        }
    }

    /// Does something in a room.
    ///
    /// # Errors
    /// The [`ActError`]; nothing has changed then.
    pub fn act(&mut self, now: Now, room: &str, act: &Act) -> Result<(), ActError> {
        if !self.rooms.contains_key(room) {
            return Err(ActError::NoRoom);
        }
        match act {
            Act::Mute {
                participant,
                tracks,
            } => self.stop_tracks(room, participant, tracks, true),
            Act::Unmute {
                participant,
                tracks,
            } => self.stop_tracks(room, participant, tracks, false),
            Act::Remove {
                participant,
                reason,
            } => self.remove(now, room, participant, reason),
            Act::LowerHand { participant } => self.lower_hand(room, participant),
            Act::LowerHands => {
                self.lower_hands(room);
                Ok(())
            }
            Act::Permit {
                participant,
                change,
            } => self.permit(now, room, participant, change),
            Act::Admit { participant } => self.let_in(now, room, participant),
            Act::Deny { participant } => self.send_away(now, room, participant),
            Act::Lock(locked) => {
                if let Some(room) = self.rooms.get_mut(room) {
                    room.is_locked = *locked;
                }
                self.tell_room_state(room);
                Ok(())
            }
            Act::Lobby(lobby) => {
                self.set_lobby(now, room, *lobby);
                Ok(())
            }
            Act::Close { reason } => {
                self.close_room(now, room, reason);
                Ok(())
            }
        }
    }

    /// Ends what tokens of that id, or of that identity, have begun, in one room or in all;
    /// answers how many went, with those who had not joined yet.
    pub fn revoke(
        &mut self,
        now: Now,
        room: Option<&str>,
        token_id: Option<&str>,
        identity: Option<&str>,
    ) -> usize {
        let is_meant = |own_room: &str, own: &Admission| {
            let by_id = token_id.is_some() && own.token_id.as_deref() == token_id;
            let by_identity = identity.is_some() && own.identity.as_deref() == identity;
            (by_id || by_identity) && room.is_none_or(|room| room == own_room)
        };
        let peers = self.peers.values();
        let peers = peers.filter(|own| is_meant(&own.room, &own.admission));
        let peers: Vec<String> = peers.map(|own| own.id.clone()).collect();
        for peer in &peers {
            self.kick(now, peer, "token_revoked");
        }
        let viewers = self.viewers.iter();
        let viewers = viewers.filter(|(_, own)| is_meant(&own.room, &own.admission));
        let viewers: Vec<String> = viewers.map(|(id, _)| id.clone()).collect();
        for viewer in &viewers {
            self.dismiss_for(now, viewer, "token_revoked");
        }
        let waits = |own: &Connection| own.peer.is_none() && is_meant(&own.room, &own.admission);
        let early = self.connections.iter().filter(|(_, own)| waits(own));
        let early: Vec<ConnectionId> = early.map(|(id, _)| *id).collect();
        for connection in &early {
            let id = self.uuid();
            self.refuse_join(*connection, &id, "token_revoked");
            self.connections.remove(connection);
        }
        peers.len() + viewers.len() + early.len()
    }

    /// Tells somebody that it goes, and lets it go.
    pub(super) fn kick(&mut self, now: Now, peer: &str, reason: &str) {
        let connection = self.peers.get(peer).and_then(|own| own.connection);
        let reason: String = reason.chars().take(REASON_CHARS_MAX).collect();
        let (event, data) = match self.is_base(peer) {
            true => (
                "error",
                json!({"description": "Room closed", "details": reason}),
            ),
            false => ("kicked", json!({ "reason": reason })),
        };
        let data = frame::raw(&data);
        let frame = Frame {
            event,
            data: data.as_deref(),
            ..Frame::default()
        };
        self.send(peer, &frame);
        self.leave(now, peer, &reason);
        if let Some(connection) = connection {
            self.hang_up(connection, CloseCode::PolicyViolation, "kicked");
        }
    }

    fn remove(
        &mut self,
        now: Now,
        room: &str,
        participant: &str,
        reason: &str,
    ) -> Result<(), ActError> {
        let reason = if reason.is_empty() { "removed" } else { reason };
        if self.is_viewer(room, participant) {
            self.dismiss_for(now, participant, reason);
            return Ok(());
        }
        self.member(room, participant)?;
        self.kick(now, participant, reason);
        Ok(())
    }

    fn close_room(&mut self, now: Now, room: &str, reason: &str) {
        let reason = if reason.is_empty() {
            "room_closed"
        } else {
            reason
        };
        let waiting = self.rooms.get(room).map(|own| own.waiting.clone());
        for peer in waiting.unwrap_or_default() {
            // It waits, so it can be sent away.
            let _ = self.send_away(now, room, &peer);
        }
        for peer in self.present(room) {
            self.kick(now, &peer, reason);
        }
        let viewers = self.viewers.iter().filter(|(_, own)| own.room == room);
        let viewers: Vec<String> = viewers.map(|(id, _)| id.clone()).collect();
        for viewer in viewers {
            self.dismiss_for(now, &viewer, reason);
        }
        self.end_room(room);
    }

    /// Mutes tracks, or takes that back.
    fn stop_tracks(
        &mut self,
        room: &str,
        participant: &str,
        tracks: &Tracks,
        stops: bool,
    ) -> Result<(), ActError> {
        if self.is_viewer(room, participant) {
            return Err(ActError::NoTrack);
        }
        self.member(room, participant)?;
        let session = self.peers.get_mut(participant);
        let session = session.ok_or(ActError::NoParticipant)?;
        let mut told = Vec::new();
        // What was never announced is muted with the rest, where it is passed on at all.
        let mut kinds = tracks.kinds();
        let reaches = |kind| match stops {
            true => session.is_free(kind),
            false => session.is_silenced[usize::from(kind)],
        };
        let forwards = session.is_forwarded;
        let mut is_any = forwards
            && [false, true]
                .map(|kind| kinds[usize::from(kind)] && reaches(kind))
                .contains(&true);
        for track in session.tracks.iter_mut().filter(|own| tracks.has(own)) {
            is_any = true;
            kinds[usize::from(track.is_video)] = true;
            if track.is_stopped != stops {
                track.is_stopped = stops;
                // Whether it is sent again is its own word.
                if stops {
                    track.set_muted(true);
                    told.push((track.id.clone(), track.told.clone()));
                }
            }
        }
        if !is_any {
            return Err(ActError::NoTrack);
        }
        for kind in [false, true]
            .into_iter()
            .filter(|kind| kinds[usize::from(*kind)])
        {
            let mut own = session.tracks.iter().filter(|own| own.is_video == kind);
            let stays = own.any(|own| own.is_stopped);
            session.is_silenced[usize::from(kind)] = stops || stays;
        }
        for (id, track) in told {
            let data = frame::raw(&json!({"action": "mute", "track": track}));
            self.tell_others(participant, "track", data.as_deref());
            let data = frame::raw(&json!({ "track": id }));
            self.tell_own(participant, "muted", data.as_deref());
        }
        self.settle_media(participant);
        Ok(())
    }

    fn permit(
        &mut self,
        now: Now,
        room: &str,
        participant: &str,
        change: &PermissionChange,
    ) -> Result<(), ActError> {
        if self.permit_viewer(room, participant, change).is_some() {
            return Ok(());
        }
        self.member(room, participant)?;
        if let Some(session) = self.peers.get_mut(participant) {
            session.change = change.after(&session.change);
            session.admission.permissions = change.applied(session.permissions());
        }
        self.permissions_changed(now, participant);
        Ok(())
    }

    /// Takes back what somebody announced and may not send any more, and tells it what it may.
    pub(super) fn permissions_changed(&mut self, now: Now, participant: &str) {
        let Some(session) = self.peers.get_mut(participant) else {
            return;
        };
        let permissions = session.admission.permissions.clone();
        let room = session.room.clone();
        let (kept, gone): (Vec<_>, Vec<_>) = std::mem::take(&mut session.tracks)
            .into_iter()
            .partition(|track| permissions.may_publish(track.source));
        session.tracks = kept;
        for track in gone {
            let data = frame::raw(&json!({"action": "unpublish", "track": track.told}));
            self.tell_others(participant, "track", data.as_deref());
            self.events
                .push_back(Event::Notice(Notice::TrackUnpublished {
                    room: room.clone(),
                    participant: participant.to_owned(),
                    track: track.told,
                }));
        }
        let data = frame::raw(&json!({ "permissions": permissions.names() }));
        self.tell_own(participant, "permissions", data.as_deref());
        if permissions.moderate {
            self.tell_lobby(participant);
        }
        // Who may not talk asks for nothing.
        if !permissions.may_talk() {
            self.set_hand(participant, false);
        }
        self.settle_media(participant);
        if self.is_base(participant) && !self.may_be_base(participant) {
            return self.kick(now, participant, "room_needs_twocan_v1");
        }
        self.settle_shape(now, &room, None);
    }

    /// Whether somebody who speaks the base protocol can be held to its permissions where it is.
    fn may_be_base(&self, participant: &str) -> bool {
        let session = self.peers.get(participant);
        session.is_none_or(|own| self.takes_base(&own.room, own.permissions()))
    }

    /// Tells whoever forwards media what of a participant's it may pass on, where that is news.
    pub(super) fn settle_media(&mut self, participant: &str) {
        let Some(session) = self.peers.get_mut(participant) else {
            return;
        };
        let permissions = session.media_permissions();
        if !session.is_forwarded || permissions == session.media {
            return;
        }
        session.media = permissions.clone();
        let participant = participant.to_owned();
        self.events.push_back(Event::Media(MediaEvent::Permitted {
            participant,
            permissions,
        }));
    }

    /// Lets in who waits.
    fn let_in(&mut self, now: Now, room: &str, participant: &str) -> Result<(), ActError> {
        let is_full = self.present(room).len() >= self.peers_max(room);
        let own = self.rooms.get(room).ok_or(ActError::NoRoom)?;
        if !own.waiting.iter().any(|id| id == participant) {
            return Err(ActError::NotWaiting);
        }
        if is_full {
            return Err(ActError::RoomIsFull);
        }
        // The room may have come to need the server while it waited.
        let session = self.peers.get(participant);
        let base = session.filter(|session| session.protocol == Protocol::Base);
        if base.is_some_and(|session| !self.takes_base(room, session.permissions())) {
            return Err(ActError::NeedsTwocan);
        }
        if session.is_some_and(|session| session.by_channel) && !self.can_forward(room) {
            return Err(ActError::NotForwarded);
        }
        let own = self.rooms.get_mut(room).ok_or(ActError::NoRoom)?;
        own.waiting.retain(|id| id != participant);
        if let Some(session) = self.peers.get_mut(participant) {
            session.is_waiting = false;
        }
        self.tell_moderators(room);
        self.enter(now, participant);
        Ok(())
    }

    fn send_away(&mut self, now: Now, room: &str, participant: &str) -> Result<(), ActError> {
        let own = self.rooms.get(room).ok_or(ActError::NoRoom)?;
        if !own.waiting.iter().any(|id| id == participant) {
            return Err(ActError::NotWaiting);
        }
        self.refuse_waiting(now, participant, "denied");
        Ok(())
    }

    /// Somebody who waits is told why it does not come in, and is gone.
    pub(super) fn refuse_waiting(&mut self, now: Now, participant: &str, why: &'static str) {
        let connection = self.peers.get(participant).and_then(|own| own.connection);
        // It is told before it goes, as its connection may go with it.
        if let Some(connection) = connection {
            self.refuse_join(connection, participant, why);
            self.connections.remove(&connection);
        }
        self.leave(now, participant, why);
    }

    fn set_lobby(&mut self, now: Now, room: &str, lobby: bool) {
        let Some(own) = self.rooms.get_mut(room) else {
            return;
        };
        own.has_lobby = lobby;
        if !lobby {
            self.empty_lobby(now, room);
        }
        self.tell_room_state(room);
    }

    /// Nobody waits any longer: who waited comes in, in the order in which it came, or is told why it
    /// does not.
    pub(super) fn empty_lobby(&mut self, now: Now, room: &str) {
        let own = self.rooms.get(room);
        let waiting = own.map(|own| own.waiting.clone()).unwrap_or_default();
        for peer in waiting {
            let (why, counter) = match self.let_in(now, room, &peer) {
                Err(ActError::RoomIsFull) => ("room_is_full", "hall.room_is_full"),
                Err(ActError::NeedsTwocan) => ("room_needs_twocan_v1", "hall.base_client_refused"),
                Err(ActError::NotForwarded) => ("not_forwarded", "hall.not_forwarded"),
                // It is in, or has gone meanwhile.
                _ => continue,
            };
            self.counters.count(counter);
            self.refuse_waiting(now, &peer, why);
        }
    }

    /// Tells those who may moderate who waits.
    pub(super) fn tell_moderators(&mut self, room: &str) {
        let moderates = |own: &String| {
            let session = self.peers.get(own);
            session.is_some_and(|session| session.permissions().moderate)
        };
        let mut members = self.present(room);
        members.retain(moderates);
        for member in members {
            self.tell_lobby(&member);
        }
    }

    fn tell_lobby(&mut self, moderator: &str) {
        let waiting = self.waiting_with(moderator);
        let data = frame::raw(&json!({ "waiting": waiting }));
        self.tell_own(moderator, "lobby", data.as_deref());
    }

    /// Those who wait for the room of a participant, as it is told of them.
    pub(super) fn waiting_with(&self, participant: &str) -> Vec<serde_json::Value> {
        let session = self.peers.get(participant);
        let room = session.and_then(|session| self.rooms.get(&session.room));
        let waiting = room.into_iter().flat_map(|room| &room.waiting);
        waiting
            .filter_map(|peer| self.peers.get(peer))
            .map(|peer| {
                json!({
                    "peer_id": peer.id,
                    "name": peer.name,
                    "identity": peer.admission.identity,
                })
            })
            .collect()
    }

    /// Whether somebody is in a room.
    pub(super) fn member(&self, room: &str, participant: &str) -> Result<(), ActError> {
        let session = self.peers.get(participant);
        match session.is_some_and(|own| own.room == room && !own.is_waiting) {
            true => Ok(()),
            false => Err(ActError::NoParticipant),
        }
    }

    /// Says something to one who speaks `twocan.v1`.
    pub(super) fn tell_own(&mut self, peer: &str, event: &str, data: Option<&RawValue>) {
        let speaks = |own: &crate::session::Session| own.protocol == Protocol::V1;
        if self.peers.get(peer).is_some_and(speaks) {
            let frame = Frame {
                event,
                data,
                ..Frame::default()
            };
            self.send(peer, &frame);
        }
    }

    /// Says something to all in a room, or to some, in the name of the server.
    ///
    /// # Errors
    /// [`ActError::NoRoom`], [`ActError::NoParticipant`]; nobody was told then.
    pub fn announce_to(
        &mut self,
        room: &str,
        to: Option<&[String]>,
        event: &str,
        data: &RawValue,
    ) -> Result<(), ActError> {
        if !self.rooms.contains_key(room) {
            return Err(ActError::NoRoom);
        }
        let (targets, told) = match to {
            None => (self.present(room), Recipients::All(All::All)),
            Some(ids) => {
                for id in ids {
                    self.member(room, id)?;
                }
                (ids.to_vec(), Recipients::Some(ids.to_vec()))
            }
        };
        let frame = Frame {
            event,
            data: Some(data),
            to: Some(&told),
            ..Frame::default()
        };
        for target in targets {
            self.send(&target, &frame);
        }
        Ok(())
    }
}
