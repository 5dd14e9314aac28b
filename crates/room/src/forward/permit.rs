//! What of a participant's media may be passed on.

use twocan_proto::endpoint::PeerId;
use twocan_proto::negotiate::Kind;
use twocan_proto::time::Now;

use super::forwarder::Forwarder;
use crate::permissions::{Allowed, MediaPermissions};

impl Forwarder {
    /// What of a participant's media may be passed on from now on; after [`Self::join`] all of it.
    /// Packets that it has no permission for go nowhere.
    pub fn permit(&mut self, now: Now, participant: &str, permissions: &MediaPermissions) {
        let Some(id) = self.ids.get(participant).copied() else {
            return self.counters.count("forward.unknown_participant");
        };
        let Some(own) = self.participants.get_mut(&id) else {
            return;
        };
        own.permissions = permissions.clone();
        let room = own.room.clone();
        self.settle_permissions(id);
        if let Some(room) = self.rooms.get_mut(&room) {
            room.is_stale = true;
        }
        // It may have waited to be told.
        self.negotiate(now, id);
    }

    /// Marks which tracks of a participant may be passed on.
    pub(super) fn settle_permissions(&mut self, id: PeerId) {
        let Some(own) = self.participants.get(&id) else {
            return;
        };
        let mut sounds = false;
        for track in own.published.values() {
            let Some(track) = self.tracks.get_mut(track) else {
                continue;
            };
            let allowed: &Allowed = match track.kind {
                Kind::Audio => &own.permissions.audio,
                Kind::Video => &own.permissions.video,
            };
            track.is_allowed = allowed.allows(track.stream_id.as_deref());
            sounds |= track.kind == Kind::Audio && track.is_allowed;
        }
        // Who may not be heard is no speaker.
        if let Some(room) = self.rooms.get_mut(&own.room).filter(|_| !sounds) {
            room.speakers.forget(id);
        }
    }
}
