//! Packets on their way from one to many, and requests for key frames on their way back.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use twocan_proto::endpoint::PeerId;
use twocan_proto::negotiate::Kind;
use twocan_proto::rtp::{HEAD_LEN_MAX, IncomingPacket, OutgoingPacket, PacketSender, Payload};
use twocan_proto::time::Now;
use twocan_proto::wire::ids::Mid;
use twocan_proto::wire::payload::{vp8, vp9};

use super::forwarder::Forwarder;
use super::slot::Outgoing;
use super::track::{Format, News, Seen, TrackId};

/// A key frame that began so shortly ago is still on its way to whoever asks for one.
const KEY_FRAME_ON_ITS_WAY: Duration = Duration::from_millis(200);

/// Packets that are gathered before they are passed on, at most; there are no more than a few sockets'
/// batches of them at a time.
const PASSING_MAX: usize = 64;

/// Longest dependency descriptor that is passed on, in bytes.
const DESCRIPTOR_LEN_MAX: usize = 255;

/// A packet on its way to those who get its track.
#[derive(Debug, Clone)]
pub(super) struct Passing {
    pub(super) track: TrackId,
    /// Its stream, by the place in the track.
    pub(super) stream: usize,
    pub(super) seen: Arc<Seen>,
}

/// Packets on their way, and those who get them, of whom each takes its turn.
#[derive(Debug, Default)]
pub(super) struct Lots {
    packets: Vec<Passing>,
    places: Vec<Place>,
    /// The first of the places that has not had its turn.
    next: usize,
}

/// One who gets a lot.
#[derive(Debug)]
struct Place {
    viewer: PeerId,
    slot: usize,
    /// Alike packets, among all.
    lot: Range<usize>,
}

impl Passing {
    /// Whether both are of one track and one codec.
    pub(super) fn is_alike(&self, other: &Self) -> bool {
        let codec = |own: &Self| own.seen.packet.payload_type;
        self.track == other.track && codec(self) == codec(other)
    }
}

impl Forwarder {
    /// A packet arrived from a participant.
    pub(super) fn pass_on(&mut self, now: Now, from: PeerId, mut packet: IncomingPacket) {
        let Some(own) = self.participants.get_mut(&from) else {
            return;
        };
        let Some(id) = own.published.get(&packet.mid).copied() else {
            return self.counters.count("forward.no_such_track");
        };
        let at = packet.received_at;
        let captured = packet
            .captured_at
            .map(|own_time| own.clock.moment(at, own_time));
        if let Some(own) = packet.provenance.as_deref_mut() {
            let sender = self.endpoint.get(from);
            let ahead = sender.and_then(|peer| peer.remote_clock_ahead());
            *own = std::mem::take(own).forwarded(now, ahead, captured);
        }
        let Some(track) = self.tracks.get_mut(&id) else {
            return;
        };
        if !track.is_allowed {
            return self.counters.count("forward.not_permitted");
        }
        if let (Kind::Audio, Some(level)) = (track.kind, packet.audio_level)
            && let Some(room) = self.rooms.get_mut(&own.room)
        {
            room.speakers.note(at, from, level);
        }
        let Some((stream, news, seen)) = track.take(now.monotonic, packet, captured) else {
            return self.counters.count("forward.no_such_stream");
        };
        if news != News::Nothing {
            // What came before is of the streams as they were.
            self.pass_lots(now);
            let viewers = self.tracks.get(&id).map(|own| own.viewers.clone());
            for (viewer, slot) in viewers.unwrap_or_default() {
                self.streams_changed(viewer, slot, stream, news);
            }
        }
        self.passing.push(Passing {
            track: id,
            stream,
            seen,
        });
        if self.passing.len() >= PASSING_MAX {
            self.pass_lots(now);
        }
    }

    /// Passes what has arrived to all who get it.
    pub(super) fn pass_lots(&mut self, now: Now) {
        while self.pass_next(now) {}
    }

    /// Passes what has arrived to the next one who gets something of it: all at once, so that what
    /// belongs to a viewer is looked up, and fetched from memory, once for many packets. Answers
    /// whether there was one.
    pub(super) fn pass_next(&mut self, now: Now) -> bool {
        let places = &self.lots.places;
        let Some(first) = places.get(self.lots.next) else {
            return self.begin_lots() && self.pass_next(now);
        };
        let viewer = first.viewer;
        let lots = std::mem::take(&mut self.lots);
        let own = lots.places.get(lots.next..).unwrap_or_default();
        let own = own.iter().take_while(|place| place.viewer == viewer);
        let mut next = lots.next;
        for place in own {
            next += 1;
            let lot = lots.packets.get(place.lot.clone()).unwrap_or_default();
            self.pass_to(now, (viewer, place.slot), lot);
        }
        self.lots = Lots { next, ..lots };
        true
    }

    /// Makes lots of what has arrived; answers whether there is any.
    fn begin_lots(&mut self) -> bool {
        let lots = &mut self.lots;
        lots.places.clear();
        lots.packets.clear();
        lots.next = 0;
        if self.passing.is_empty() {
            return false;
        }
        lots.packets.append(&mut self.passing);
        // Those of a track stay in their order.
        lots.packets.sort_by_key(|own| own.track);
        let mut start = 0;
        for lot in lots.packets.chunk_by(Passing::is_alike) {
            let range = start..start + lot.len();
            start = range.end;
            let track = lot.first().and_then(|own| self.tracks.get(&own.track));
            let viewers = track.into_iter().flat_map(|own| &own.viewers);
            lots.places.extend(viewers.map(|(viewer, slot)| Place {
                viewer: *viewer,
                slot: *slot,
                lot: range.clone(),
            }));
        }
        lots.places.sort_by_key(|own| own.viewer);
        !lots.places.is_empty()
    }

    fn streams_changed(&mut self, viewer: PeerId, slot: usize, stream: usize, news: News) {
        let Some(own) = self.participants.get_mut(&viewer) else {
            return;
        };
        own.is_stale = true;
        own.shared_at = None;
        let Some(slot) = own.slots.get_mut(slot) else {
            return;
        };
        match (news, slot.kind) {
            (News::Replaced, _) => slot.stream_replaced(stream),
            (News::Inserted, Kind::Video) => slot.stream_inserted(stream),
            (News::Inserted, Kind::Audio)
            | (News::Nothing | News::Relayered | News::Resumed, _) => {}
        }
    }

    /// Passes packets of one track and one codec to one viewer.
    pub(super) fn pass_to(&mut self, now: Now, (viewer, slot): (PeerId, usize), lot: &[Passing]) {
        let Some(first) = lot.first() else {
            return;
        };
        let (Some(own), Some(track)) = (
            self.participants.get_mut(&viewer),
            self.tracks.get(&first.track),
        ) else {
            return;
        };
        // Who gets what is looked at a little later than what is permitted changes.
        if !own.permissions.subscribe || !track.is_allowed {
            return;
        }
        let Some(slot) = own.slots.get_mut(slot) else {
            return;
        };
        let Some(codec) = track.codec(first.seen.packet.payload_type) else {
            return;
        };
        // It may have been given to another meanwhile.
        if slot.target.is_none() || slot.track != Some(first.track) {
            return;
        }
        let Some(peer) = self.endpoint.get_mut(viewer) else {
            return;
        };
        // What begins now is not to be lost.
        let Some(media) = peer
            .negotiated(slot.transceiver)
            .filter(|_| peer.can_send_media())
        else {
            return;
        };
        let Some(payload_type) = slot.payload_type(media, codec) else {
            return self.counters.count("forward.codec_not_taken");
        };
        let sender = peer.packet_sender(slot.transceiver, None);
        let mut sender = sender.map(PacketSender::repeating_sound);
        for Passing { stream, seen, .. } in lot {
            let Some(outgoing) = slot.take(*stream, seen, payload_type, codec.clock_rate) else {
                continue;
            };
            let packet = &seen.packet;
            let mut head = [0; HEAD_LEN_MAX];
            let payload = match outgoing.is_empty {
                true => Payload::Bytes(&[]),
                false => rewritten(seen, &outgoing, &mut head, &mut self.scratch),
            };
            let mut descriptor = [0; DESCRIPTOR_LEN_MAX];
            let sent = sender.as_mut().is_ok_and(|sender| {
                let packet = OutgoingPacket {
                    rid: None,
                    payload_type: outgoing.payload_type,
                    sequence_number: Some(outgoing.sequence_number),
                    timestamp: outgoing.timestamp,
                    sampled_at: seen.captured_at,
                    marker: outgoing.marker,
                    payload,
                    audio_level: packet.audio_level,
                    dependency_descriptor: described(seen, &outgoing, &mut descriptor),
                    playout_delay: packet.playout_delay,
                    picture: packet.picture,
                    // Of what the publisher has, a viewer is sent one.
                    layers_allocation: None,
                    provenance: packet.provenance.as_deref(),
                };
                sender.send(now, &packet).is_ok()
            });
            if !sent {
                self.counters.count("forward.not_sent");
            }
        }
    }

    /// A viewer's decoder needs a key frame.
    pub(super) fn key_frame_requested(&mut self, now: Now, viewer: PeerId, mid: &Mid) {
        let Some(own) = self.participants.get(&viewer) else {
            return;
        };
        let mut slots = own.slots.iter();
        let Some(slot) = slots.find(|slot| slot.mid.as_ref() == Some(mid)) else {
            return;
        };
        let Some((track, stream)) = slot
            .track
            .zip(slot.current.or(slot.target.map(|own| own.0)))
        else {
            return;
        };
        let began = self
            .tracks
            .get(&track)
            .and_then(|own| own.streams.get(stream)?.key_at);
        let since = began.map(|at| now.monotonic.saturating_duration_since(at));
        if since.is_some_and(|since| since < KEY_FRAME_ON_ITS_WAY) {
            return self.counters.count("forward.key_frame_on_its_way");
        }
        self.request_key_frame(track, stream);
    }

    /// Asks the publisher for a key frame of a stream. It is asked no more often than it can
    /// answer, whatever viewers want ([`twocan_proto::rtp::Session::request_key_frame`]).
    pub(super) fn request_key_frame(&mut self, track: TrackId, stream: usize) {
        let Some(track) = self.tracks.get(&track) else {
            return;
        };
        let Some(rid) = track.streams.get(stream).map(|own| own.rid.as_ref()) else {
            return;
        };
        if let Some(peer) = self.endpoint.get_mut(track.owner) {
            let rid = rid.map(|own| own.as_str());
            peer.request_key_frame(track.transceiver, rid);
        }
    }
}

/// The payload with the counters that the viewer is to see: they stand in its first bytes, all else
/// is the same for all.
fn rewritten<'a>(
    seen: &'a Seen,
    outgoing: &Outgoing,
    head: &'a mut [u8; HEAD_LEN_MAX],
    scratch: &mut Vec<u8>,
) -> Payload<'a> {
    let whole = &seen.packet.payload;
    let as_it_came = Payload::Shared { whole, head: &[] };
    let set = match seen.format {
        Format::Vp8 => vp8::set_counters,
        Format::Vp9 => vp9::set_counters,
        Format::Whole | Format::Av1 | Format::H264 | Format::H265 => return as_it_came,
    };
    let len = whole.len().min(HEAD_LEN_MAX);
    let (Some(own), Some(first)) = (head.get_mut(..len), whole.get(..len)) else {
        return as_it_came;
    };
    own.copy_from_slice(first);
    if set(own, &outgoing.counters).is_err() {
        // What follows the counters may be longer: the structure of a key frame of VP9.
        scratch.clear();
        scratch.extend_from_slice(whole);
        // What is malformed goes out as it came: the decoder has the last word.
        let _ = set(scratch, &outgoing.counters);
        own.copy_from_slice(scratch.get(..len).unwrap_or(first));
    }
    Payload::Shared { whole, head: own }
}

/// The dependency descriptor with the number that the viewer is to see.
fn described<'a>(
    seen: &Seen,
    outgoing: &Outgoing,
    buffer: &'a mut [u8; DESCRIPTOR_LEN_MAX],
) -> Option<&'a [u8]> {
    let original = seen.packet.dependency_descriptor.as_deref();
    let original = original.filter(|_| !outgoing.is_empty)?;
    let buffer = buffer.get_mut(..original.len())?;
    buffer.copy_from_slice(original);
    if let (Some(number), Some(field)) = (outgoing.frame_number, buffer.get_mut(1..3)) {
        field.copy_from_slice(&number.to_be_bytes());
    }
    Some(buffer)
}
