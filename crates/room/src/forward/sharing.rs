//! Who gets what: tracks are put on slots, and what a viewer's way carries is shared among them.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::json;
use twocan_proto::endpoint::PeerId;
use twocan_proto::negotiate::Kind;
use twocan_proto::time::Now;
use twocan_proto::wire::sdp::Direction;
use twocan_proto::wire::units::Bitrate;

use super::allocate::{Demand, Level, allocate};
use super::forwarder::{Forwarder, Wish};
use super::passing::Passing;
use super::slot::Slot;
use super::track::{Track, TrackId};

/// Between two times that what a viewer gets is shared out, where nothing asks for it.
const SHARE_EVERY: Duration = Duration::from_millis(500);

/// Of two streams the smaller one serves a tile of this height in percent of its own.
const ENLARGED_MAX_PERCENT: u32 = 125;

impl Forwarder {
    /// Looks at rooms in which something has changed; answers whether that made something to do.
    pub(super) fn assign_stale(&mut self, now: Now) -> bool {
        let stale = |room: &&mut super::forwarder::Room| room.is_stale;
        let rooms = self.rooms.values_mut().filter(stale);
        let members: Vec<Vec<PeerId>> = rooms
            .map(|room| {
                room.is_stale = false;
                room.members.clone()
            })
            .collect();
        for members in &members {
            self.settle_codecs(now, members);
            for viewer in members {
                self.assign(now, *viewer, members);
                self.share_out(now, *viewer);
            }
        }
        if !members.is_empty() {
            let present: BTreeSet<PeerId> = members.iter().flatten().copied().collect();
            self.tell_layers(now, |owner| present.contains(&owner));
        }
        !members.is_empty()
    }

    /// Puts the tracks of the others on a viewer's slots.
    fn assign(&mut self, now: Now, viewer: PeerId, members: &[PeerId]) {
        for kind in [Kind::Audio, Kind::Video] {
            self.assign_kind(now, viewer, members, kind);
        }
        self.tell_slots(viewer);
        self.negotiate(now, viewer);
    }

    fn assign_kind(&mut self, now: Now, viewer: PeerId, members: &[PeerId], kind: Kind) {
        let slots_max = match kind {
            Kind::Audio => self.config.audio_slots,
            Kind::Video => self.config.video_slots,
        };
        let Some(own) = self.participants.get(&viewer) else {
            return;
        };
        // Nothing can be sent before the viewer has begun.
        if !own.negotiation.has_begun {
            return;
        }
        let lines = own
            .slots
            .iter()
            .filter(|slot| slot.kind == kind && !slot.is_dead);
        let lines = lines.count();
        let slots_max = match own.negotiation.is_single {
            true => slots_max.min(lines),
            false => slots_max,
        };
        let wanted = self.wanted(now, viewer, members, kind, slots_max);
        if wanted.len() >= slots_max
            && let Some(room) = self.participants.get(&viewer).map(|own| &own.room)
            && let Some(room) = self.rooms.get_mut(room)
        {
            room.is_crowded = true;
        }
        let mut missing: Vec<TrackId> = Vec::new();
        let (Some(own), Some(peer)) = (
            self.participants.get_mut(&viewer),
            self.endpoint.get_mut(viewer),
        ) else {
            return;
        };
        for (index, slot) in own.slots.iter_mut().enumerate() {
            let Some(track) = slot.track.filter(|_| slot.kind == kind) else {
                continue;
            };
            if !wanted.contains(&track) {
                slot.assign(None);
                own.is_stale = true;
                if let Some(track) = self.tracks.get_mut(&track) {
                    track.viewers.retain(|place| *place != (viewer, index));
                }
            }
        }
        for track in wanted {
            if own.slots.iter().any(|slot| slot.track == Some(track)) {
                continue;
            }
            let mut slots = own.slots.iter();
            let free = slots.position(|slot| {
                let media = peer.negotiated(slot.transceiver);
                let sends = media.is_none_or(|media| media.sends);
                slot.kind == kind && slot.track.is_none() && !slot.is_dead && sends
            });
            match free {
                Some(index) => {
                    if let Some(slot) = own.slots.get_mut(index) {
                        slot.assign(Some(track));
                    }
                    if let Some(track) = self.tracks.get_mut(&track) {
                        track.viewers.push((viewer, index));
                    }
                    own.is_stale = true;
                    own.shared_at = None;
                }
                None => missing.push(track),
            }
        }
        let lines = own.slots.iter().filter(|slot| !slot.is_dead);
        let count = lines.filter(|slot| slot.kind == kind).count();
        missing.truncate(slots_max.saturating_sub(count));
        self.add_lines(viewer, kind, missing);
    }

    /// Adds a line for each of these tracks, which a negotiation then offers.
    fn add_lines(&mut self, viewer: PeerId, kind: Kind, tracks: Vec<TrackId>) {
        let (Some(own), Some(peer)) = (
            self.participants.get_mut(&viewer),
            self.endpoint.get_mut(viewer),
        ) else {
            return;
        };
        for track in tracks {
            let streams: Vec<&str> = self
                .tracks
                .get(&track)
                .and_then(|own| own.stream_id.as_deref())
                .into_iter()
                .collect();
            let line = peer.add_transceiver(kind, Direction::SendOnly, &streams);
            let Ok(line) = line else {
                self.counters.count("forward.line_refused");
                continue;
            };
            let mut slot = Slot::new(line, kind);
            slot.assign(Some(track));
            let index = own.place(slot);
            if let Some(track) = self.tracks.get_mut(&track) {
                track.viewers.push((viewer, index));
            }
        }
    }

    /// The tracks that a viewer is to get: all of the others', or, where they are too many, those
    /// of whom it asked for, and then of whom spoke last.
    fn wanted(
        &self,
        now: Now,
        viewer: PeerId,
        members: &[PeerId],
        kind: Kind,
        slots_max: usize,
    ) -> Vec<TrackId> {
        let others = members.iter().filter(|member| **member != viewer);
        let published = others.filter_map(|member| self.participants.get(member));
        let tracks = published.flat_map(|own| own.published.values().copied());
        let own = self.participants.get(&viewer);
        if own.is_none_or(|own| !own.permissions.subscribe) {
            return Vec::new();
        }
        let may_pass = |own: &Track| own.kind == kind && own.is_allowed;
        let mut wanted: Vec<TrackId> = tracks
            .filter(|track| self.tracks.get(track).is_some_and(may_pass))
            .collect();
        if wanted.len() <= slots_max {
            return wanted;
        }
        let room = own.and_then(|own| self.rooms.get(&own.room));
        let rank = |track: &TrackId| {
            let track = self.tracks.get(track);
            let wish = own.zip(track).map(|(own, track)| wish(own, track));
            let silence = room
                .zip(track)
                .and_then(|(room, track)| room.speakers.silence(now.monotonic, track.owner));
            let priority = wish.unwrap_or_default().priority;
            let has_stopped = track.is_some_and(|own| own.has_stopped);
            (
                has_stopped,
                u8::MAX - priority,
                silence.unwrap_or(Duration::MAX),
            )
        };
        wanted.sort_by_cached_key(rank);
        wanted.truncate(slots_max);
        wanted
    }

    /// Tells a viewer what is on its slots, as far as it does not know.
    fn tell_slots(&mut self, viewer: PeerId) {
        let own = self.participants.get_mut(&viewer);
        let Some(own) = own.filter(|own| !own.negotiation.is_single) else {
            return;
        };
        let mut news = Vec::new();
        for slot in own.slots.iter_mut().filter(|slot| !slot.is_told) {
            if let Some(mid) = &slot.mid {
                slot.is_told = true;
                news.push((mid.to_string(), slot.track));
            }
        }
        for (mid, track) in news {
            let track = track.and_then(|track| self.tracks.get(&track));
            let data = match track {
                Some(track) => json!({
                    "mid": mid,
                    "peer_id": self.name(track.owner),
                    "stream": track.stream_id,
                }),
                None => json!({"mid": mid, "peer_id": null, "stream": null}),
            };
            self.tell(viewer, "forward", &data);
        }
    }

    /// Shares out what the way to a viewer carries, where that is due.
    pub(super) fn share_out(&mut self, now: Now, viewer: PeerId) {
        let Some(own) = self.participants.get_mut(&viewer) else {
            return;
        };
        let since = own
            .shared_at
            .map(|at| now.monotonic.saturating_duration_since(at));
        if !since.is_none_or(|since| own.is_stale || since >= SHARE_EVERY) {
            return;
        }
        own.is_stale = false;
        own.shared_at = Some(now.monotonic);
        // What has arrived goes as it was shared out before, and is not sent a second time with what
        // is kept.
        self.pass_lots(now);
        // Who says nothing of its way is taken to have an ordinary one.
        let budget = self.budget(viewer).or(Some(self.config.start_bitrate));
        let (demands, sound) = self.demands(now, viewer);
        let left = budget.map(|own| Bitrate::bps(own.as_bps().saturating_sub(sound.as_bps())));
        let all: Vec<Demand> = demands.iter().map(|(_, demand)| demand.clone()).collect();
        let shares = allocate(left, &all);
        let mut forgone = 0;
        let mut begun = Vec::new();
        let Some(own) = self.participants.get_mut(&viewer) else {
            return;
        };
        for ((index, demand), share) in demands.iter().zip(shares) {
            let Some(slot) = own.slots.get_mut(*index) else {
                continue;
            };
            let highest = demand.levels.len().checked_sub(1);
            forgone += usize::from(share != highest);
            let level = share.and_then(|share| demand.levels.get(share));
            slot.aim(level.map(|level| (level.stream, level.target)));
            if let (Some(stream), Some(track)) = (slot.wants_key_frame(), slot.track) {
                begun.push((*index, track, stream, slot.current.is_none()));
            }
        }
        own.forgone = forgone;
        if let Some(peer) = self.endpoint.get_mut(viewer) {
            peer.set_forgone(now, forgone);
        }
        for (slot, track, stream, is_first) in begun {
            self.begin(now, track, (viewer, slot), stream, is_first);
        }
    }

    /// Begins a stream: with what is kept since its newest key frame where the viewer has nothing
    /// yet, else with the next one, which is asked for.
    fn begin(
        &mut self,
        now: Now,
        track: TrackId,
        place: (PeerId, usize),
        stream: usize,
        is_first: bool,
    ) {
        let streams = self.tracks.get(&track).map(|own| &own.streams);
        let kept = streams.and_then(|own| own.get(stream)?.kept(now.monotonic));
        let can_send = self
            .endpoint
            .get(place.0)
            .is_some_and(|peer| peer.can_send_media());
        match kept.filter(|_| is_first && can_send).cloned() {
            Some(kept) => {
                self.counters.count("forward.begun_from_kept");
                let passing = |seen| Passing {
                    track,
                    stream,
                    seen,
                };
                let kept: Vec<Passing> = kept.into_iter().map(passing).collect();
                for lot in kept.chunk_by(Passing::is_alike) {
                    self.pass_to(now, place, lot);
                }
            }
            None => self.request_key_frame(track, stream),
        }
    }

    /// What a viewer wants of each picture, by slot; and what its sound takes.
    fn demands(&mut self, now: Now, viewer: PeerId) -> (Vec<(usize, Demand)>, Bitrate) {
        let mut demands = Vec::new();
        let mut sound = 0;
        let Some(own) = self.participants.get(&viewer) else {
            return (demands, Bitrate::bps(0));
        };
        let room = self.rooms.get(&own.room);
        let floor = room.and_then(|room| room.speakers.floor());
        for (index, slot) in own.slots.iter().enumerate() {
            let Some(track) = slot.track.and_then(|track| self.tracks.get_mut(&track)) else {
                continue;
            };
            if slot.kind == Kind::Audio {
                sound += track.rate(now.monotonic).as_bps();
                continue;
            }
            let wish = wish(own, track);
            let mut levels = track.levels(now.monotonic);
            fit(&mut levels, track, wish.height_max);
            slot.choice.limit(&mut levels, track);
            let current = slot.current.and_then(|stream| {
                let target = slot.target.filter(|(own, _)| *own == stream);
                let is_there = |level: &Level| match target {
                    Some((_, target)) => level.stream == stream && level.target == target,
                    None => level.stream == stream,
                };
                levels.iter().rposition(is_there)
            });
            let demand = Demand {
                priority: wish.priority,
                has_floor: floor == Some(track.owner),
                levels,
                current,
            };
            demands.push((index, demand));
        }
        (demands, Bitrate::bps(sound))
    }
}

pub(super) fn wish(viewer: &super::forwarder::Participant, track: &Track) -> Wish {
    let stream = track.stream_id.as_ref();
    let wish = stream.and_then(|stream| viewer.wishes.get(stream));
    wish.copied().unwrap_or_default()
}

/// Whether a picture of that height serves a tile of `height_max`.
pub(super) fn serves(height: Option<u32>, height_max: u32) -> bool {
    height.is_some_and(|height| height * ENLARGED_MAX_PERCENT / 100 >= height_max)
}

/// Takes out the streams and spatial layers that are larger than the viewer has use for; one always stays. A height of
/// 0 wants nothing: a tile that nobody sees.
fn fit(levels: &mut Vec<Level>, track: &Track, height_max: Option<u32>) {
    let Some(height_max) = height_max else { return };
    if height_max == 0 {
        return levels.clear();
    }
    let height = |level: &Level| {
        let stream = track.streams.get(level.stream)?;
        let (_, height) = stream.size(level.target.spatial)?;
        Some(u32::from(height))
    };
    let place = |level: &Level| (level.stream, level.target.spatial);
    // The smallest that serves is the largest of use.
    let serving = levels
        .iter()
        .find(|level| serves(height(level), height_max))
        .map(place);
    if let Some(last) = levels
        .iter()
        .rposition(|level| Some(place(level)) == serving)
    {
        levels.truncate(last + 1);
    }
}
