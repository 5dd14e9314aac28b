//! Descriptions and candidates: perfect negotiation in which the participant is the polite side
//! (W3C webrtc-pc §10.7).

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_json::value::RawValue;
use twocan_proto::endpoint::PeerId;
use twocan_proto::ice::GatheringState;
use twocan_proto::negotiate::{NegotiationEvent, SdpType, SignalingState, TransceiverId};
use twocan_proto::peer::{Description, RemoteCandidateInit};
use twocan_proto::rtp::Delivery;
use twocan_proto::time::Now;
use twocan_proto::wire::ids::Mid;

use super::forwarder::{Forwarder, TRACKS_MAX, Wish};
use super::slot::Slot;
use super::track::{Track, TrackId};

/// Where the negotiation with a participant stands.
#[derive(Debug, Default)]
pub(super) struct Negotiation {
    /// Something is to be negotiated.
    pub(super) is_needed: bool,
    /// A first offer came: before, we make none.
    pub(super) has_begun: bool,
    /// It makes one offer, and is offered nothing.
    pub(super) is_single: bool,
    /// When our offer went out.
    offered_at: Option<Instant>,
    /// Our description waits for its candidates.
    waits: Option<SdpType>,
    /// Certificates of the connection, to tell when another one is begun.
    fingerprints: BTreeSet<String>,
}

#[derive(Serialize, Deserialize)]
struct SessionDescription {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    sdp: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct IceCandidate {
    #[serde(default)]
    candidate: String,
    sdp_mid: Option<String>,
    sdp_m_line_index: Option<u16>,
    username_fragment: Option<String>,
}

/// `subscribe`: what a viewer wants to get.
#[derive(Deserialize)]
struct Subscribe {
    tracks: Vec<Wanted>,
}

#[derive(Deserialize)]
struct Wanted {
    stream: String,
    max_height: Option<u32>,
    #[serde(default)]
    priority: u8,
}

/// An offer that is not answered for so long was lost.
const ANSWER_WITHIN: Duration = Duration::from_secs(15);

/// Wishes of one viewer; further ones are dropped.
const WISHES_MAX: usize = 256;

impl Forwarder {
    /// A participant says something to the server: `offer`, `answer`, `candidate` or `subscribe`,
    /// as the signaling protocol has them. What is wrong with it is answered by the event `error`.
    pub fn handle_signal(&mut self, now: Now, participant: &str, event: &str, data: &RawValue) {
        let Some(id) = self.ids.get(participant).copied() else {
            return self.counters.count("forward.unknown_participant");
        };
        let text = data.get();
        let taken = match event {
            "offer" | "answer" => read(text).and_then(|own| self.take_description(now, id, own)),
            "candidate" => read(text).and_then(|own| self.take_candidate(now, id, own)),
            "subscribe" => read(text).map(|own| self.take_wishes(id, own)),
            _ => Err("the server takes offer, answer, candidate and subscribe".into()),
        };
        if let Err(details) = taken {
            self.counters.count("forward.signal_refused");
            let data = json!({"description": format!("{event} not taken"), "details": details});
            self.tell(id, "error", &data);
        }
    }

    fn take_description(
        &mut self,
        now: Now,
        id: PeerId,
        given: SessionDescription,
    ) -> Result<(), String> {
        let kind = match given.kind.as_str() {
            "offer" => SdpType::Offer,
            "answer" => SdpType::Answer,
            "pranswer" => SdpType::Pranswer,
            other => {
                return Err(format!(
                    "a description of type {other:?}; offer or answer is"
                ));
            }
        };
        let id = match kind {
            SdpType::Offer => self.meant(now, id, &given.sdp)?,
            _ => id,
        };
        let peer = self.endpoint.get_mut(id).ok_or("gone")?;
        let glare = peer.signaling_state() == SignalingState::HaveLocalOffer;
        if kind == SdpType::Offer && glare {
            // The other side is the polite one: it takes its own back, and ours.
            return Ok(());
        }
        let description = Description {
            kind,
            sdp: given.sdp,
        };
        peer.set_remote_description(now, &description)
            .map_err(|error| error.to_string())?;
        if kind == SdpType::Offer {
            self.take_lines(id);
            let peer = self.endpoint.get_mut(id).ok_or("gone")?;
            peer.set_local_description(now, None)
                .map_err(|error| error.to_string())?;
            if let Some(own) = self.participants.get_mut(&id) {
                own.negotiation.has_begun = true;
                own.negotiation.waits = Some(SdpType::Answer);
            }
            self.describe(id);
        }
        self.agreed(id);
        if kind == SdpType::Offer {
            self.note_liked(id);
        }
        self.negotiate(now, id);
        Ok(())
    }

    /// The connection that an offer is for: a new one, where it is of other certificates.
    fn meant(&mut self, now: Now, id: PeerId, sdp: &str) -> Result<PeerId, String> {
        let offered = fingerprints(sdp);
        let own = self.participants.get_mut(&id).ok_or("gone")?;
        if offered.is_empty() {
            // It will be refused.
            return Ok(id);
        }
        let known = &own.negotiation.fingerprints;
        let is_other = !known.is_empty() && known.is_disjoint(&offered);
        if is_other && own.signaling.is_some() {
            return Err("who joined with a connection has no other one; join anew".into());
        }
        let name = own.id.clone();
        let id = if is_other {
            self.counters.count("forward.connection_renewed");
            self.renew(now, &name).ok_or("gone")?
        } else {
            id
        };
        let own = self.participants.get_mut(&id).ok_or("gone")?;
        own.negotiation.fingerprints = offered;
        Ok(id)
    }

    /// Lines on which the participant only receives become slots.
    fn take_lines(&mut self, id: PeerId) {
        let room = self.participants.get(&id).map(|own| own.room.as_str());
        let order = self.order_of(room.unwrap_or_default());
        let (Some(own), Some(peer)) = (self.participants.get_mut(&id), self.endpoint.get_mut(id))
        else {
            return;
        };
        let lines: Vec<_> = peer
            .transceivers()
            .iter()
            .filter(|line| !line.is_stopping())
            .map(|line| (line.id(), line.kind()))
            .collect();
        for (line, kind) in lines {
            let Some(offered) = peer.offered_direction(line) else {
                continue;
            };
            let tracks = own
                .published
                .values()
                .filter_map(|own| self.tracks.get(own));
            let mut asked = tracks.filter(|own| own.asked_for.is_some());
            if offered.sends() && asked.all(|own| own.transceiver != line) {
                Self::prefer(&self.config, &order, peer, line, kind);
            }
            // Refused only for one that is stopped, and those were left out.
            let taken = peer.set_direction(line, offered.reversed()).is_ok();
            let is_new = own
                .slots
                .iter()
                .all(|slot| slot.transceiver != line || slot.is_dead);
            if taken && is_new && offered.receives() {
                own.place(Slot::new(line, kind));
            }
        }
        if let Some(room) = self.rooms.get_mut(&own.room) {
            room.is_stale = true;
        }
    }

    /// Something was agreed on: slots learn their sections, tracks their codecs.
    fn agreed(&mut self, id: PeerId) {
        let (Some(own), Some(peer)) = (self.participants.get_mut(&id), self.endpoint.get(id))
        else {
            return;
        };
        for (index, slot) in own.slots.iter_mut().enumerate() {
            let media = peer.negotiated(slot.transceiver);
            slot.renegotiated(media.map(|media| media.mid.clone()));
            // A line that the viewer put to rest is no place for a track.
            if media.is_some_and(|media| !media.sends)
                && let Some(track) = slot.track
            {
                slot.assign(None);
                if let Some(track) = self.tracks.get_mut(&track) {
                    track.viewers.retain(|place| *place != (id, index));
                }
            }
        }
        for track in own.published.values() {
            let Some(track) = self.tracks.get_mut(track) else {
                continue;
            };
            if let Some(media) = peer.negotiated(track.transceiver) {
                track.agree(&media.codecs, &media.rids);
            }
        }
        own.is_stale = true;
        if let Some(room) = self.rooms.get_mut(&own.room) {
            room.is_stale = true;
        }
        self.note_taken(id);
    }

    /// What a participant sends has changed.
    pub(super) fn tracks_changed(&mut self, id: PeerId, event: NegotiationEvent) {
        match event {
            NegotiationEvent::TrackAdded {
                transceiver,
                mid,
                streams,
                ..
            } => self.add_track(id, transceiver, mid, streams.into_iter().next()),
            NegotiationEvent::TrackRemoved { transceiver }
            | NegotiationEvent::TransceiverStopped { transceiver } => {
                let Some(own) = self.participants.get_mut(&id) else {
                    return;
                };
                let tracks = &self.tracks;
                let is_meant = |track: &TrackId| {
                    let track = tracks.get(track);
                    track.is_some_and(|track| track.transceiver == transceiver)
                };
                let gone = own.published.iter().find(|(_, track)| is_meant(track));
                if let Some((mid, track)) = gone.map(|(mid, track)| (mid.clone(), *track)) {
                    own.published.remove(&mid);
                    self.remove_track(track);
                }
                if matches!(event, NegotiationEvent::TransceiverStopped { .. }) {
                    self.line_gone(id, transceiver);
                }
            }
        }
    }

    /// A line of a viewer is gone: its track goes to another one, and its place is free.
    fn line_gone(&mut self, id: PeerId, transceiver: TransceiverId) {
        let Some(own) = self.participants.get_mut(&id) else {
            return;
        };
        let mut slots = own.slots.iter_mut().enumerate();
        let Some((index, slot)) = slots.find(|(_, slot)| slot.transceiver == transceiver) else {
            return;
        };
        let track = slot.track;
        slot.assign(None);
        slot.is_dead = true;
        if let Some(track) = track.and_then(|track| self.tracks.get_mut(&track)) {
            track.viewers.retain(|place| *place != (id, index));
        }
        if let Some(room) = self.rooms.get_mut(&own.room) {
            room.is_stale = true;
        }
    }

    fn add_track(
        &mut self,
        id: PeerId,
        transceiver: TransceiverId,
        mid: Mid,
        stream_id: Option<String>,
    ) {
        let (Some(own), Some(peer)) = (self.participants.get_mut(&id), self.endpoint.get_mut(id))
        else {
            return;
        };
        peer.set_delivery(transceiver, Delivery::Packets);
        let stream_id = match own.negotiation.is_single {
            // As the hall names it.
            true => Some(format!("{}-{mid}", own.id)),
            false => stream_id,
        };
        if let Some(known) = own
            .published
            .get(&mid)
            .and_then(|own| self.tracks.get_mut(own))
        {
            known.stream_id = stream_id;
            return self.settle_permissions(id);
        }
        if own.published.len() >= TRACKS_MAX {
            return self.counters.count("forward.too_many_tracks");
        }
        let kind = peer
            .transceivers()
            .iter()
            .find(|line| line.id() == transceiver);
        let Some(kind) = kind.map(|line| line.kind()) else {
            return;
        };
        let track = TrackId(self.next_track);
        self.next_track += 1;
        own.published.insert(mid.clone(), track);
        let mut entry = Track::new(id, transceiver, kind, stream_id);
        if let Some(media) = peer.negotiated(transceiver) {
            entry.agree(&media.codecs, &media.rids);
        }
        self.tracks.insert(track, entry);
        if let Some(room) = self.rooms.get_mut(&own.room) {
            room.is_stale = true;
        }
        self.note_liked(id);
        self.settle_permissions(id);
    }

    /// A track is over: its slots are free.
    pub(super) fn remove_track(&mut self, track: TrackId) {
        let Some(gone) = self.tracks.remove(&track) else {
            return;
        };
        for (viewer, slot) in gone.viewers {
            let Some(viewer) = self.participants.get_mut(&viewer) else {
                continue;
            };
            viewer.is_stale = true;
            if let Some(slot) = viewer.slots.get_mut(slot) {
                slot.assign(None);
            }
            if let Some(room) = self.rooms.get_mut(&viewer.room) {
                room.is_stale = true;
            }
        }
    }

    /// Offers what is to be negotiated, once the participant has begun and nothing is under way.
    pub(super) fn negotiate(&mut self, now: Now, id: PeerId) {
        if self.is_out_of_reach(id) {
            return;
        }
        let (Some(own), Some(peer)) = (self.participants.get_mut(&id), self.endpoint.get_mut(id))
        else {
            return;
        };
        let is_stable = peer.signaling_state() == SignalingState::Stable;
        let may_be_told = !own.negotiation.is_single && !own.permissions.waits;
        let wants = own.negotiation.is_needed && may_be_told;
        let is_busy = !is_stable || own.negotiation.waits.is_some();
        if !wants || !own.negotiation.has_begun || is_busy {
            return;
        }
        match peer.set_local_description(now, None) {
            Ok(()) => {
                own.negotiation.is_needed = false;
                own.negotiation.waits = Some(SdpType::Offer);
                own.negotiation.offered_at = Some(now.monotonic);
            }
            Err(error) => {
                tracing::warn!(%error, "offer");
                return self.counters.count("forward.offer_failed");
            }
        }
        self.describe(id);
    }

    /// Takes back an offer that nobody answers, and makes it again: it would bar the way to any other.
    pub(super) fn offer_anew(&mut self, now: Now, id: PeerId) {
        let Some(own) = self.participants.get_mut(&id) else {
            return;
        };
        let since = own.negotiation.offered_at;
        let since = since.map(|at| now.monotonic.saturating_duration_since(at));
        if since.is_none_or(|since| since < ANSWER_WITHIN) {
            return;
        }
        own.negotiation.offered_at = None;
        let Some(peer) = self.endpoint.get_mut(id) else {
            return;
        };
        if peer.signaling_state() != SignalingState::HaveLocalOffer {
            return;
        }
        let back = Description {
            kind: SdpType::Rollback,
            sdp: String::new(),
        };
        if peer.set_local_description(now, Some(&back)).is_ok() {
            self.counters.count("forward.offer_not_answered");
            own.negotiation.is_needed = true;
            self.negotiate(now, id);
        }
    }

    /// Sends the description that waits, once it has all candidates.
    pub(super) fn describe(&mut self, id: PeerId) {
        let (Some(own), Some(peer)) = (self.participants.get_mut(&id), self.endpoint.get(id))
        else {
            return;
        };
        if peer.ice_gathering_state() != GatheringState::Complete {
            return;
        }
        let Some(kind) = own.negotiation.waits.take() else {
            return;
        };
        let Some(description) = peer.local_description() else {
            return;
        };
        let event = match kind {
            SdpType::Offer => "offer",
            SdpType::Answer | SdpType::Pranswer | SdpType::Rollback => "answer",
        };
        let data = SessionDescription {
            kind: event.to_owned(),
            sdp: description.sdp,
        };
        self.tell(id, event, &data);
    }

    fn take_candidate(
        &mut self,
        now: Now,
        id: PeerId,
        candidate: IceCandidate,
    ) -> Result<(), String> {
        let peer = self.endpoint.get_mut(id).ok_or("gone")?;
        let init = RemoteCandidateInit {
            candidate: candidate.candidate,
            sdp_mid: candidate.sdp_mid,
            sdp_m_line_index: candidate.sdp_m_line_index,
            username_fragment: candidate.username_fragment,
        };
        match peer.add_ice_candidate(now, &init) {
            // Of an offer that was taken back, or of a connection before this one.
            Err(error)
                if error.name() != "InvalidStateError" && error.name() != "OperationError" =>
            {
                Err(error.to_string())
            }
            _ => Ok(()),
        }
    }

    fn take_wishes(&mut self, id: PeerId, wanted: Subscribe) {
        let Some(own) = self.participants.get_mut(&id) else {
            return;
        };
        let wishes = wanted.tracks.into_iter().take(WISHES_MAX).map(|own| {
            let wish = Wish {
                height_max: own.max_height,
                priority: own.priority.min(100),
            };
            (own.stream, wish)
        });
        own.wishes = wishes.collect();
        own.is_stale = true;
        own.shared_at = None;
        if let Some(room) = self.rooms.get_mut(&own.room) {
            room.is_stale |= room.is_crowded;
        }
    }
}

fn read<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, String> {
    serde_json::from_str(text).map_err(|error| error.to_string())
}

/// The certificates that a description states.
fn fingerprints(sdp: &str) -> BTreeSet<String> {
    let lines = sdp
        .lines()
        .filter_map(|line| line.strip_prefix("a=fingerprint:"));
    lines.map(|own| own.trim().to_ascii_lowercase()).collect()
}
