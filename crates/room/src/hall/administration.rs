//! What operators see of the rooms, and what time brings to an end.

use std::time::{Duration, Instant};

use serde_json::json;
use serde_json::value::RawValue;
use twocan_proto::time::Now;

use super::notice::ParticipantInfo;
use super::room::{RoomInfo, RoomSettings};
use super::{Hall, Refusal, ShownToken};
use crate::frame;
use crate::permissions::Admission;
use crate::session::{Frame, Session};

impl Hall {
    /// All rooms, by their names.
    pub fn rooms(&self) -> Vec<RoomInfo> {
        let names = self.rooms.keys();
        names.filter_map(|name| self.room_info(name)).collect()
    }

    /// A room, if there is such a one.
    pub fn room(&self, name: &str) -> Option<RoomInfo> {
        self.room_info(name)
    }

    /// Makes a room; one that there is gets these settings where that is asked for, and stays as
    /// it is otherwise (`false`).
    ///
    /// # Errors
    /// The [`Refusal`].
    pub fn create_room(
        &mut self,
        now: Now,
        name: &str,
        settings: RoomSettings,
        changes: bool,
    ) -> Result<bool, Refusal> {
        self.opens(name)?;
        let settles = changes || !self.rooms.contains_key(name);
        if settles {
            self.set_room(now, name, settings);
        }
        Ok(settles)
    }

    /// Those who are in a room, those who wait for it, and those who look on by HTTP, as one who is
    /// hidden; `None` where there is no such room.
    pub fn participants(&self, room: &str) -> Option<Vec<ParticipantInfo>> {
        let room = self.rooms.get(room)?;
        let all = room.members.iter().chain(&room.waiting);
        let all = all.filter_map(|id| self.peers.get(id));
        let viewers = room.viewers.iter();
        let viewers = viewers.filter_map(|id| Some((id, self.viewers.get(id)?)));
        let viewers = viewers.map(|(id, own)| ParticipantInfo::of_viewer(id, own));
        Some(all.map(ParticipantInfo::of).chain(viewers).collect())
    }

    /// The token that a participant showed was looked at: what it says holds from here on, with
    /// what those who moderate have changed. A reason refuses it, and all is as it was.
    pub fn renew(&mut self, now: Now, shown: &ShownToken, looked: Result<Admission, String>) {
        let peer = shown.participant.as_str();
        let id = shown.id.as_deref();
        let Some(session) = self.peers.get(peer) else {
            return;
        };
        let taken = looked.and_then(|fresh| fits(session, &fresh).map(|()| fresh));
        let fresh = match taken {
            Ok(fresh) => fresh,
            Err(details) => {
                self.counters.count("hall.token_refused");
                let data = json!({"description": "Token not taken", "details": details});
                return self.answer(peer, "error", &data, id);
            }
        };
        let expires_at = self.expiry(now, &fresh);
        let mut is_renamed = false;
        if let Some(session) = self.peers.get_mut(peer) {
            is_renamed = session.renew(fresh);
            session.expires_at = expires_at;
        }
        if is_renamed {
            self.tell_metadata(peer);
        }
        self.permissions_changed(now, peer);
        let data = json!({
            "token_expires_in_ms": self.expires_in_ms(now, peer),
            "ice_servers": self.servers_for(now, peer),
        });
        if id.is_some() {
            self.answer(peer, "reply", &data, id);
        }
    }

    fn answer(&mut self, peer: &str, event: &str, data: &serde_json::Value, id: Option<&RawValue>) {
        let data = frame::raw(data);
        let frame = Frame {
            event,
            data: data.as_deref(),
            id,
            ..Frame::default()
        };
        self.send(peer, &frame);
    }

    /// When an admission ends, on the clock that nobody sets.
    pub(super) fn expiry(&self, now: Now, admission: &Admission) -> Option<Instant> {
        let left = admission.expires_at?.saturating_sub(now.wallclock);
        now.monotonic.checked_add(left)
    }

    /// What is left of a participant's token.
    pub(super) fn expires_in_ms(&self, now: Now, peer: &str) -> Option<u64> {
        let at = self.peers.get(peer)?.expires_at?;
        let left: Duration = at.saturating_duration_since(now.monotonic);
        Some(u64::try_from(left.as_millis()).unwrap_or(u64::MAX))
    }

    /// When the next token ends, or the next empty room.
    pub(super) fn next_end(&self) -> Option<Instant> {
        let peers = self.peers.values().filter_map(|own| own.expires_at);
        let viewers = self.viewers.values().filter_map(|own| own.expires_at);
        let rooms = self.rooms.values();
        let rooms = rooms.flat_map(|own| [own.ends_at, own.shape.next_change()]);
        peers.chain(viewers).chain(rooms.flatten()).min()
    }

    /// Lets those go whose token is over, and ends rooms that stayed empty.
    pub(super) fn end_what_is_over(&mut self, now: Now) {
        let due = |at: Option<Instant>| at.is_some_and(|at| at <= now.monotonic);
        let peers = self.peers.values().filter(|own| due(own.expires_at));
        let peers: Vec<String> = peers.map(|own| own.id.clone()).collect();
        for peer in peers {
            self.counters.count("hall.token_expired");
            self.kick(now, &peer, "token_expired");
        }
        let viewers = self.viewers.iter().filter(|(_, own)| due(own.expires_at));
        let viewers: Vec<String> = viewers.map(|(id, _)| id.clone()).collect();
        for viewer in viewers {
            self.counters.count("hall.token_expired");
            self.dismiss_for(now, &viewer, "token_expired");
        }
        let rooms = self.rooms.iter().filter(|(_, own)| due(own.ends_at));
        let rooms: Vec<String> = rooms.map(|(name, _)| name.clone()).collect();
        for room in rooms {
            self.end_room(&room);
        }
    }
}

/// Whether a participant may go on under another token.
fn fits(session: &Session, fresh: &Admission) -> Result<(), String> {
    let before = &session.admission;
    if before.identity != fresh.identity {
        return Err("the token is of another identity".into());
    }
    if before.permissions.hidden != fresh.permissions.hidden {
        return Err("whether somebody is hidden cannot change".into());
    }
    Ok(())
}
