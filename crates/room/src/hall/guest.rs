//! Participants without a WebSocket: they come by HTTP, and others see them as anybody. Those who only
//! send or look on are told nothing; those who take part are, over a data channel.

use std::time::{Duration, Instant};

use serde_json::json;
use thiserror::Error;
use twocan_proto::time::Now;

use super::connection::Connection;
use super::membership::Introduction;
use super::notice::{Notice, ParticipantInfo};
use super::{CloseCode, ConnectionId, Event, Hall, MediaEvent, Protocol, Refusal};
use crate::frame;
use crate::ice_servers::OwnUrls;
use crate::limits::{TRACKS_MAX, WAITING_MAX};
use crate::permissions::{Admission, MediaPermissions, PermissionChange, Permissions};
use crate::rate::Rate;
use crate::session::{Publication, Session, cut};

/// A line of a description on which somebody sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuestLine {
    /// The identification of its section.
    pub mid: String,
    /// Whether it carries pictures, and not sound.
    pub is_video: bool,
}

/// What somebody comes for by HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GuestPurpose {
    /// To send.
    Publishes,
    /// To look on.
    LooksOn,
    /// To take part as anybody, with its signaling over a data channel of its connection.
    TakesPart,
}

/// Why somebody cannot come by HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum GuestRefusal {
    /// As for everybody.
    #[error(transparent)]
    Room(#[from] Refusal),
    /// 503: as many as allowed.
    #[error("the room has as many participants as it may")]
    RoomIsFull,
    /// 503: as many wait to be admitted as may.
    #[error("as many as may wait to be admitted")]
    LobbyIsFull,
    /// 409: media does not pass the server.
    #[error(
        "media of this room goes from each to each: the server forwards none (--topology auto or \
        sfu), or somebody there speaks the base protocol"
    )]
    NotForwarded,
    /// 403: its token does not let it send, or look on.
    #[error("the token does not permit that")]
    NotPermitted,
    /// 403: a room that is locked, or where who comes has to be admitted and cannot be told so.
    #[error("the room is locked")]
    RoomIsLocked,
}

/// Somebody who came by HTTP, and whom nobody is told of.
#[derive(Debug)]
pub(super) struct Viewer {
    pub(super) room: String,
    pub(super) admission: Admission,
    /// What its token says that it may do.
    granted: Permissions,
    /// What somebody who moderates changed of that.
    change: PermissionChange,
    pub(super) expires_at: Option<Instant>,
    /// Whether it is to be admitted: the room does nothing for it before.
    pub(super) knocks: bool,
    /// Since when it looks on (time since 1970); `None` until its connection is agreed on, and of
    /// who comes to send.
    pub(super) looks_on_since: Option<Duration>,
}

impl Hall {
    /// Somebody comes by HTTP, of whom nobody is told yet; answers an id. It stays until
    /// [`Self::dismiss`].
    ///
    /// # Errors
    /// The [`GuestRefusal`].
    pub fn admit_guest(
        &mut self,
        now: Now,
        room: &str,
        admission: Admission,
        purpose: GuestPurpose,
    ) -> Result<String, GuestRefusal> {
        self.refuse_guest(room, &admission, purpose)?;
        let permissions = &admission.permissions;
        let takes_part = purpose == GuestPurpose::TakesPart;
        let is_permitted = match purpose {
            GuestPurpose::Publishes => permissions.may_publish_anything(),
            GuestPurpose::LooksOn => permissions.subscribe,
            GuestPurpose::TakesPart => true,
        };
        if !is_permitted {
            self.counters.count("hall.not_permitted");
            return Err(GuestRefusal::NotPermitted);
        }
        let participant = self.uuid();
        // What it sends is passed on once it is welcome.
        let told = match takes_part {
            true => MediaPermissions::before_entry(),
            false => MediaPermissions {
                subscribe: permissions.subscribe,
                ..MediaPermissions::nothing()
            },
        };
        let knocks = takes_part && self.has_lobby(room) && !permissions.moderate;
        let joined = MediaEvent::Joined {
            room: room.to_owned(),
            participant: participant.clone(),
        };
        self.events.push_back(Event::Media(joined));
        self.events.push_back(Event::Media(MediaEvent::Permitted {
            participant: participant.clone(),
            permissions: told,
        }));
        let viewer = Viewer {
            room: room.to_owned(),
            expires_at: self.expiry(now, &admission),
            granted: admission.permissions.clone(),
            change: PermissionChange::default(),
            admission,
            knocks,
            looks_on_since: None,
        };
        self.viewers.insert(participant.clone(), viewer);
        self.settle_shape(now, room, None);
        Ok(participant)
    }

    fn refuse_guest(
        &self,
        room: &str,
        admission: &Admission,
        purpose: GuestPurpose,
    ) -> Result<(), GuestRefusal> {
        if !self.can_forward(room) {
            return Err(GuestRefusal::NotForwarded);
        }
        self.opens(room)?;
        let own = self.rooms.get(room);
        let is_locked = own.is_some_and(|own| own.is_locked);
        let (moderates, knocks) = (admission.permissions.moderate, self.has_lobby(room));
        let is_told = purpose == GuestPurpose::TakesPart;
        if !moderates && (is_locked || (knocks && !is_told)) {
            return Err(GuestRefusal::RoomIsLocked);
        }
        let waiting = own.map_or(0, |own| own.waiting.len());
        if !moderates && knocks && waiting >= WAITING_MAX {
            return Err(GuestRefusal::LobbyIsFull);
        }
        match own.map_or(0, |own| own.members.len()) >= self.peers_max(room) {
            true => Err(GuestRefusal::RoomIsFull),
            false => Ok(()),
        }
    }

    /// Who was admitted to send publishes these lines: the others see it from here on.
    ///
    /// # Errors
    /// As [`Self::admit_guest`], and where a line is of a source that it may not send; nobody was
    /// told then, and it is still admitted.
    pub fn welcome_guest(
        &mut self,
        now: Now,
        id: &str,
        lines: &[GuestLine],
    ) -> Result<(), GuestRefusal> {
        let Some(viewer) = self.viewers.get(id) else {
            // Its token was revoked meanwhile, or has ended.
            return Err(GuestRefusal::NotPermitted);
        };
        let (room, admission) = (viewer.room.clone(), viewer.admission.clone());
        self.refuse_guest(&room, &admission, GuestPurpose::Publishes)?;
        let mut session = Session::guest(id.to_owned(), room.clone());
        session.tracks = publications(id, lines);
        let permissions = &admission.permissions;
        let mut sources = session.tracks.iter().map(|own| own.source);
        if !sources.all(|source| permissions.may_publish(source)) {
            self.counters.count("hall.not_permitted");
            return Err(GuestRefusal::NotPermitted);
        }
        session.name = admission.name.as_deref().map(cut).unwrap_or_default();
        session.metadata = admission.metadata.clone();
        session.expires_at = viewer.expires_at;
        session.joined_at = now.wallclock;
        session.media = MediaPermissions {
            subscribe: permissions.subscribe,
            ..MediaPermissions::nothing()
        };
        session.is_forwarded = true;
        session.granted = viewer.granted.clone();
        session.change = viewer.change.clone();
        session.admission = admission;
        self.viewers.remove(id);
        let present = self.present(&room);
        let participant = Box::new(ParticipantInfo::of(&session));
        let tracks: Vec<_> = session.tracks.iter().map(|own| own.told.clone()).collect();
        self.peers.insert(id.to_owned(), session);
        self.open_room(now, &room).members.push(id.to_owned());
        self.settle_room(now, &room);
        self.settle_shape(now, &room, None);
        self.announce(id, &present);
        self.settle_media(id);
        self.events
            .push_back(Event::Notice(Notice::ParticipantJoined {
                room: room.clone(),
                participant,
            }));
        for track in tracks {
            self.events.push_back(Event::Notice(Notice::TrackPublished {
                room: room.clone(),
                participant: id.to_owned(),
                track,
            }));
        }
        Ok(())
    }

    /// Who was admitted to look on does from here on: the room stays while it is there, and operators
    /// see it, as one who is hidden.
    ///
    /// # Errors
    /// As [`Self::admit_guest`]; it is still admitted then.
    pub fn welcome_viewer(&mut self, now: Now, id: &str) -> Result<(), GuestRefusal> {
        let Some(viewer) = self.viewers.get(id) else {
            // Its token was revoked meanwhile, or has ended.
            return Err(GuestRefusal::NotPermitted);
        };
        self.refuse_guest(&viewer.room, &viewer.admission, GuestPurpose::LooksOn)?;
        let Some(viewer) = self.viewers.get_mut(id) else {
            return Err(GuestRefusal::NotPermitted);
        };
        viewer.looks_on_since = Some(now.wallclock);
        let room = viewer.room.clone();
        let participant = Box::new(ParticipantInfo::of_viewer(id, viewer));
        self.open_room(now, &room).viewers.insert(id.to_owned());
        self.settle_room(now, &room);
        self.settle_shape(now, &room, None);
        self.events
            .push_back(Event::Notice(Notice::ParticipantJoined {
                room,
                participant,
            }));
        Ok(())
    }

    /// Who was admitted to take part joins: it is in the room from here on, or waits to be let in, and
    /// speaks `twocan.v1` over a data channel, which is `connection`. Otherwise that is as a WebSocket
    /// ([`Self::connected`]), but for this: it is silent for as long as it likes, and who is lost with
    /// it does not come back. `who` is what a client says of itself in `join`.
    ///
    /// # Errors
    /// As [`Self::admit_guest`]; it is still admitted then.
    pub fn welcome_participant(
        &mut self,
        now: Now,
        id: &str,
        connection: ConnectionId,
        own: OwnUrls,
        who: Introduction,
    ) -> Result<(), GuestRefusal> {
        let Some(viewer) = self.viewers.get(id) else {
            // Its token was revoked meanwhile, or has ended.
            return Err(GuestRefusal::NotPermitted);
        };
        self.refuse_guest(&viewer.room, &viewer.admission, GuestPurpose::TakesPart)?;
        let Some(viewer) = self.viewers.remove(id) else {
            return Err(GuestRefusal::NotPermitted);
        };
        let entry = Connection {
            room: viewer.room.clone(),
            protocol: Protocol::V1,
            peer: Some(id.to_owned()),
            rate: Rate::new(self.config.limits.messages_per_second, now.monotonic),
            heard_at: now.monotonic,
            joins_at: None,
            own,
            admission: viewer.admission.clone(),
            by_channel: true,
        };
        self.connections.insert(connection, entry);
        let mut session = Session::new(
            id.to_owned(),
            viewer.room,
            Protocol::V1,
            connection,
            String::new(),
        );
        session.by_channel = true;
        session.is_forwarded = true;
        session.media = MediaPermissions::before_entry();
        session.expires_at = viewer.expires_at;
        self.seat(now, session, viewer.admission, who);
        Ok(())
    }

    /// Somebody that came by HTTP is gone.
    pub fn dismiss(&mut self, now: Now, participant: &str) {
        self.dismiss_for(now, participant, "left");
    }

    /// Somebody that came by HTTP is gone, or is to go.
    pub(super) fn dismiss_for(&mut self, now: Now, participant: &str, reason: &str) {
        let Some(viewer) = self.viewers.remove(participant) else {
            let session = self.peers.get(participant);
            let Some(own) = session.filter(|own| own.is_guest || own.by_channel) else {
                return;
            };
            let connection = own.connection;
            self.leave(now, participant, reason);
            if let Some(connection) = connection {
                self.hang_up(connection, CloseCode::Normal, "left");
            }
            return;
        };
        self.events.push_back(Event::Media(MediaEvent::Left {
            participant: participant.to_owned(),
        }));
        if viewer.looks_on_since.is_none() {
            return self.settle_shape(now, &viewer.room, None);
        }
        self.events
            .push_back(Event::Notice(Notice::ParticipantLeft {
                room: viewer.room.clone(),
                participant: Box::new(ParticipantInfo::of_viewer(participant, &viewer)),
                reason: reason.to_owned(),
            }));
        if let Some(room) = self.rooms.get_mut(&viewer.room) {
            room.viewers.remove(participant);
        }
        self.settle_room(now, &viewer.room);
        self.settle_shape(now, &viewer.room, None);
    }

    /// What a viewer may do is changed; `None` where there is no such one.
    pub(super) fn permit_viewer(
        &mut self,
        room: &str,
        id: &str,
        change: &PermissionChange,
    ) -> Option<()> {
        let viewer = self.viewers.get_mut(id).filter(|own| own.room == room)?;
        viewer.change = change.after(&viewer.change);
        viewer.admission.permissions = change.applied(&viewer.admission.permissions);
        self.viewer_permitted(id);
        Some(())
    }

    /// Tells whoever forwards media what a viewer may get.
    fn viewer_permitted(&mut self, id: &str) {
        let Some(viewer) = self.viewers.get(id) else {
            return;
        };
        let permissions = MediaPermissions {
            subscribe: viewer.admission.permissions.subscribe,
            ..MediaPermissions::nothing()
        };
        self.events.push_back(Event::Media(MediaEvent::Permitted {
            participant: id.to_owned(),
            permissions,
        }));
    }

    /// Somebody that came by HTTP shows another token of the same identity: what it says holds from
    /// here on, with what those who moderate have changed.
    ///
    /// # Errors
    /// [`GuestRefusal::NotPermitted`] where there is no such one, or the token is of somebody else;
    /// all is as it was then.
    pub fn renew_guest(
        &mut self,
        now: Now,
        id: &str,
        fresh: Admission,
    ) -> Result<(), GuestRefusal> {
        let expires_at = self.expiry(now, &fresh);
        let fits = |before: &Admission| {
            before.identity == fresh.identity
                && before.permissions.hidden == fresh.permissions.hidden
        };
        if let Some(viewer) = self.viewers.get_mut(id).filter(|own| fits(&own.admission)) {
            viewer.change = viewer.change.over(&viewer.granted, &fresh.permissions);
            viewer.granted = fresh.permissions.clone();
            viewer.admission = fresh;
            viewer.admission.permissions = viewer.change.applied(&viewer.granted);
            viewer.expires_at = expires_at;
            self.viewer_permitted(id);
            return Ok(());
        }
        let session = self.peers.get_mut(id);
        let session = session.filter(|own| own.is_guest || own.by_channel);
        let session = session.filter(|own| fits(&own.admission));
        let session = session.ok_or(GuestRefusal::NotPermitted)?;
        let is_renamed = session.renew(fresh);
        session.expires_at = expires_at;
        if is_renamed {
            self.tell_metadata(id);
        }
        self.permissions_changed(now, id);
        Ok(())
    }

    /// Whether somebody looks on in a room, or comes to.
    pub(super) fn is_viewer(&self, room: &str, id: &str) -> bool {
        self.viewers.get(id).is_some_and(|own| own.room == room)
    }
}

/// The lines as others are told of them: first sound, first picture, and a second picture is a
/// screen.
fn publications(id: &str, lines: &[GuestLine]) -> Vec<Publication> {
    let mut seen = [0; 2];
    let tracks = lines.iter().take(TRACKS_MAX).filter_map(|line| {
        let rank = &mut seen[usize::from(line.is_video)];
        *rank += 1;
        let (kind, source) = match (line.is_video, *rank) {
            (false, 1) => ("audio", "microphone"),
            (false, _) => ("audio", "other"),
            (true, 1) => ("video", "camera"),
            (true, 2) => ("video", "screen"),
            (true, _) => ("video", "other"),
        };
        let track = format!("{id}-{}", line.mid);
        let told = json!({
            "id": track, "kind": kind, "source": source, "stream": track, "muted": false,
        });
        Publication::read(frame::raw(&told)?)
    });
    tracks.collect()
}
