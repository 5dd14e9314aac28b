//! What one viewer gets of one track: which stream of it, and under which numbers.

use std::time::{Duration, Instant};

use twocan_proto::negotiate::{Kind, TransceiverId};
use twocan_proto::peer::NegotiatedMedia;
use twocan_proto::wire::ids::{Mid, PayloadType};
use twocan_proto::wire::payload::Counters;
use twocan_proto::wire::sdp::fmtp_parameter;
use twocan_proto::wire::seq::SeqNo16;

use super::choice::Choice;
use super::renumber::Renumber;
use super::scalable::{Selection, Target};
use super::track::{Codec, Format, Seen, TrackId};

/// A line of a viewer's connection, on which one track after another can be sent.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) transceiver: TransceiverId,
    pub(super) kind: Kind,
    /// Once negotiated.
    pub(super) mid: Option<Mid>,
    pub(super) track: Option<TrackId>,
    /// Whether the viewer was told what is on it.
    pub(super) is_told: bool,
    /// Its line is gone; the next one takes its place.
    pub(super) is_dead: bool,
    /// The most that a viewer by HTTP wants, whatever is on the line.
    pub(super) choice: Choice,
    /// The payload type of the source, and ours for the same codec.
    payload_type: Option<(PayloadType, Option<PayloadType>)>,
    /// The stream that is sent, by its place in the track.
    pub(super) current: Option<usize>,
    /// The one that is wanted, and the layers of it; `None` while it rests.
    pub(super) target: Option<(usize, Target)>,
    /// The layers of it that are sent.
    selection: Selection,
    numbers: Renumber,
    pictures: Renumber,
    /// The highest picture of the source, as a count that never wraps.
    picture: Option<u64>,
    /// The picture that was left out last.
    omitted: Option<u64>,
    frame_off: u16,
    frame_newest: u16,
    tl0_off: u8,
    tl0_newest: u8,
    timestamp_off: u32,
    newest: Option<Newest>,
}

/// The newest frame that was sent.
#[derive(Debug, Clone, Copy)]
struct Newest {
    timestamp: u32,
    at: Instant,
}

/// How a packet goes out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Outgoing {
    pub(super) payload_type: PayloadType,
    pub(super) sequence_number: SeqNo16,
    pub(super) timestamp: u32,
    /// Whether it ends a picture: for this viewer a lower layer may be the last.
    pub(super) marker: bool,
    /// Whether it goes out without its payload.
    pub(super) is_empty: bool,
    /// To be written over those in the payload.
    pub(super) counters: Counters,
    /// To be written over that in the dependency descriptor.
    pub(super) frame_number: Option<u16>,
}

/// A switch advances time by no less, in seconds: two pictures never have the same timestamp.
const STEP_MIN: Duration = Duration::from_millis(1);
/// Nor by more: what pauses longer begins anew for the player.
const STEP_MAX: Duration = Duration::from_secs(10);

impl Slot {
    pub(super) fn new(transceiver: TransceiverId, kind: Kind) -> Self {
        Self {
            transceiver,
            kind,
            mid: None,
            track: None,
            is_told: false,
            is_dead: false,
            choice: Choice::default(),
            payload_type: None,
            current: None,
            target: None,
            selection: Selection::default(),
            numbers: Renumber::default(),
            pictures: Renumber::default(),
            picture: None,
            omitted: None,
            frame_off: 0,
            frame_newest: 0,
            tl0_off: 0,
            tl0_newest: 0,
            timestamp_off: 0,
            newest: None,
        }
    }

    /// Puts another track on it, or none.
    pub(super) fn assign(&mut self, track: Option<TrackId>) {
        self.track = track;
        self.is_told = false;
        self.payload_type = None;
        self.current = None;
        self.target = match self.kind {
            // Sound has one stream, and is never taken back.
            Kind::Audio => track.map(|_| (0, Target::default())),
            Kind::Video => None,
        };
    }

    /// The codecs may have changed.
    pub(super) fn renegotiated(&mut self, mid: Option<Mid>) {
        if self.mid != mid {
            self.mid = mid;
            self.is_told = false;
        }
        self.payload_type = None;
    }

    /// Our payload type for a codec of the source; `None` where the viewer does not take it.
    pub(super) fn payload_type(
        &mut self,
        media: &NegotiatedMedia,
        codec: &Codec,
    ) -> Option<PayloadType> {
        match self.payload_type {
            Some((source, own)) if source == codec.payload_type => own,
            _ => {
                let own = matching(media, codec);
                self.payload_type = Some((codec.payload_type, own));
                own
            }
        }
    }

    /// Says what is wanted. What rests begins anew, with a key frame: its numbers would have a hole.
    pub(super) fn aim(&mut self, target: Option<(usize, Target)>) {
        self.target = target;
        if target.is_none() {
            self.current = None;
        }
    }

    /// A stream has begun anew, from another source.
    pub(super) fn stream_replaced(&mut self, stream: usize) {
        if self.current == Some(stream) {
            self.current = None;
        }
    }

    /// Whether a key frame is needed for what is wanted.
    pub(super) fn wants_key_frame(&self) -> Option<usize> {
        let (stream, wanted) = self.target?;
        let needed = self.current != Some(stream) || self.selection.needs_key_frame(wanted);
        (self.kind == Kind::Video && needed).then_some(stream)
    }

    /// A stream of the track took this place; those from there on are one further.
    pub(super) fn stream_inserted(&mut self, at: usize) {
        let moved = |own: usize| if own >= at { own + 1 } else { own };
        self.current = self.current.map(moved);
        self.target = self.target.map(|(own, layers)| (moved(own), layers));
    }

    /// Takes a packet of a stream: how it goes out, unless it is left out.
    pub(super) fn take(
        &mut self,
        stream: usize,
        seen: &Seen,
        payload_type: PayloadType,
        clock_rate: u32,
    ) -> Option<Outgoing> {
        let (target, wanted) = self.target?;
        let at = seen.captured_at.unwrap_or(seen.packet.received_at);
        if self.current != Some(stream) {
            if stream != target || !seen.begins {
                return None;
            }
            self.begin(stream, seen, at, clock_rate);
            self.selection.begin(wanted);
        }
        // While a switch is waited for, the present stream goes on as it was.
        let wanted = (target == stream).then_some(wanted);
        let timestamp = seen.packet.timestamp.wrapping_sub(self.timestamp_off);
        let Some(marker) = self.selection.take(seen, wanted) else {
            return self.omit(seen, payload_type, timestamp);
        };
        let number = self.numbers.take(seen.packet.number)?;
        let newer = |newest: &Newest| (timestamp.wrapping_sub(newest.timestamp) as i32) > 0;
        if self.newest.as_ref().is_none_or(newer) {
            self.newest = Some(Newest { timestamp, at });
        }
        Some(Outgoing {
            payload_type,
            sequence_number: SeqNo16((number & 0xffff) as u16),
            timestamp,
            marker,
            is_empty: false,
            counters: self.counters(seen),
            frame_number: self.frame_number(seen),
        })
    }

    fn begin(&mut self, stream: usize, seen: &Seen, at: Instant, clock_rate: u32) {
        self.current = Some(stream);
        self.numbers.begin(seen.packet.number);
        self.picture = seen
            .inspection
            .picture_id
            .map(|id| 0x1_0000 + u64::from(id));
        if let Some(picture) = self.picture {
            self.pictures.begin(picture);
        }
        self.omitted = None;
        if let Some(number) = seen.frame_number {
            self.frame_off = number.wrapping_sub(self.frame_newest.wrapping_add(1));
        }
        if let Some(index) = seen.inspection.tl0_picture_index {
            self.tl0_off = index.wrapping_sub(self.tl0_newest.wrapping_add(1));
        }
        let timestamp = match self.newest {
            Some(newest) => {
                let step = at.saturating_duration_since(newest.at);
                let step = step.clamp(STEP_MIN, STEP_MAX).as_secs_f64();
                let ticks = (step * f64::from(clock_rate)).ceil() as u32;
                newest.timestamp.wrapping_add(ticks)
            }
            None => seen.packet.timestamp,
        };
        self.timestamp_off = seen.packet.timestamp.wrapping_sub(timestamp);
    }

    /// A packet is left out, and with the first of its frame the picture. Only receivers of VP8 take
    /// a gap in pictures for a loss: VP9 and the dependency descriptor refer to others by how far
    /// back they are, so those keep their distances.
    ///
    /// Of one that comes late a gap was left already, which the viewer would take for a loss: its
    /// number goes out without a payload.
    fn omit(&mut self, seen: &Seen, payload_type: PayloadType, timestamp: u32) -> Option<Outgoing> {
        let left_gap = !self.numbers.omit(seen.packet.number);
        if seen.format == Format::Vp8 {
            self.omit_picture(seen);
        }
        if !left_gap {
            return None;
        }
        let number = self.numbers.take(seen.packet.number)?;
        Some(Outgoing {
            payload_type,
            sequence_number: SeqNo16((number & 0xffff) as u16),
            timestamp,
            marker: false,
            is_empty: true,
            counters: Counters::default(),
            frame_number: None,
        })
    }

    fn omit_picture(&mut self, seen: &Seen) {
        if let (Some(id), Some(newest)) = (seen.inspection.picture_id, self.picture) {
            let picture = extend(id, newest, 15);
            self.picture = Some(newest.max(picture));
            if self.omitted.is_none_or(|own| own < picture) {
                self.omitted = Some(picture);
                self.pictures.omit(picture);
            }
        }
    }

    fn counters(&mut self, seen: &Seen) -> Counters {
        if !matches!(seen.format, Format::Vp8 | Format::Vp9) {
            return Counters::default();
        }
        let picture = seen.inspection.picture_id.zip(self.picture);
        let picture_id = picture.and_then(|(id, newest)| {
            let picture = extend(id, newest, 15);
            self.picture = Some(newest.max(picture));
            self.pictures.take(picture)
        });
        let tl0_picture_index = seen.inspection.tl0_picture_index.map(|index| {
            let index = index.wrapping_sub(self.tl0_off);
            if (index.wrapping_sub(self.tl0_newest) as i8) > 0 {
                self.tl0_newest = index;
            }
            index
        });
        Counters {
            picture_id: picture_id.map(|id| (id & 0x7fff) as u16),
            tl0_picture_index,
            key_index: None,
        }
    }

    fn frame_number(&mut self, seen: &Seen) -> Option<u16> {
        let number = seen.frame_number?.wrapping_sub(self.frame_off);
        if (number.wrapping_sub(self.frame_newest) as i16) > 0 {
            self.frame_newest = number;
        }
        Some(number)
    }
}

/// The count next to `near` whose lower `bits` are `low`.
fn extend(low: u16, near: u64, bits: u32) -> u64 {
    let round = 1u64 << bits;
    let base = near & !(round - 1);
    let same = base | (u64::from(low) & (round - 1));
    if same + round / 2 < near {
        same + round
    } else if same > near + round / 2 && same >= round {
        same - round
    } else {
        same
    }
}

/// The viewer's payload type for a codec of the source.
fn matching(media: &NegotiatedMedia, codec: &Codec) -> Option<PayloadType> {
    let mut codecs = media.codecs.iter();
    let found = codecs.find(|own| {
        own.name.eq_ignore_ascii_case(&codec.name)
            && own.clock_rate == codec.clock_rate
            && takes(&codec.name, &own.fmtp_remote, &codec.fmtp)
    })?;
    Some(found.payload_type_send)
}

/// Whether a decoder of these parameters takes what an encoder of those makes.
fn takes(name: &str, decoder: &str, encoder: &str) -> bool {
    let both = |key: &str, default: &'static str| {
        let value = |fmtp: &str| {
            fmtp_parameter(fmtp, key)
                .unwrap_or(default)
                .to_ascii_lowercase()
        };
        (value(decoder), value(encoder))
    };
    let same = |key: &str, default: &'static str| {
        let (decoder, encoder) = both(key, default);
        decoder == encoder
    };
    match name.to_ascii_lowercase().as_str() {
        "h264" => {
            // RFC 6184 §8.1: the profile, and the constraints that make Baseline a part of others.
            let (decoder, encoder) = both("profile-level-id", "42e01f");
            let is_baseline = |own: &str| own.starts_with("42");
            let profile = |own: &str| own.get(..2).map(str::to_owned);
            let profiles = profile(&decoder) == profile(&encoder) || is_baseline(&encoder);
            profiles && same("packetization-mode", "0")
        }
        "vp9" => same("profile-id", "0"),
        "av1" => same("profile", "0"),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use twocan_proto::rtp::{IncomingPacket, PictureProperties};
    use twocan_proto::wire::ids::Ssrc;
    use twocan_proto::wire::payload::Inspection;

    use super::*;

    const PT: PayloadType = PayloadType(96);

    #[expect(clippy::disallowed_methods, reason = "an Instant has no other origin")]
    fn instant() -> Instant {
        Instant::now()
    }

    /// A frame of one packet in a temporal layer; the first of the lowest layer is a key frame.
    fn seen(at: Instant, number: u64, layer: u8, begins: bool, sync: bool) -> Seen {
        let packet = IncomingPacket {
            mid: Mid::from("0"),
            rid: None,
            ssrc: Ssrc(1),
            payload_type: PT,
            number,
            timestamp: number as u32 * 3000,
            marker: true,
            is_retransmission: false,
            received_at: at + Duration::from_millis(33) * number as u32,
            captured_at: None,
            audio_level: None,
            dependency_descriptor: None,
            playout_delay: None,
            layers_allocation: None,
            payload: vec![0; 10].into(),
            picture: PictureProperties::default(),
            provenance: None,
        };
        Seen {
            packet,
            format: Format::Vp8,
            inspection: Inspection {
                starts_frame: true,
                key_frame: begins,
                temporal_layer: Some(layer),
                switching_point: sync,
                picture_id: Some(number as u16 & 0x7fff),
                tl0_picture_index: Some(number as u8),
                ..Inspection::default()
            },
            begins,
            frame_number: None,
            described: None,
            captured_at: None,
        }
    }

    fn upto(temporal: u8) -> Target {
        Target {
            spatial: 0,
            temporal,
        }
    }

    fn sent(slot: &mut Slot, stream: usize, seen: &Seen) -> Option<(u16, Option<u16>)> {
        let out = slot.take(stream, seen, PT, 90_000)?;
        Some((out.sequence_number.0, out.counters.picture_id))
    }

    #[test]
    fn what_rested_begins_anew_without_a_hole() {
        let at = instant();
        let mut slot = Slot::new(TransceiverId(1), Kind::Video);
        slot.aim(Some((0, upto(0))));
        assert_eq!(sent(&mut slot, 0, &seen(at, 10, 0, false, false)), None);
        assert_eq!(
            sent(&mut slot, 0, &seen(at, 11, 0, true, false)),
            Some((0, Some(0)))
        );
        assert_eq!(
            sent(&mut slot, 0, &seen(at, 12, 0, false, false)),
            Some((1, Some(1)))
        );
        slot.aim(None);
        assert_eq!(sent(&mut slot, 0, &seen(at, 13, 0, false, false)), None);
        slot.aim(Some((0, upto(0))));
        assert_eq!(slot.wants_key_frame(), Some(0));
        assert_eq!(sent(&mut slot, 0, &seen(at, 60_000, 0, false, false)), None);
        assert_eq!(
            sent(&mut slot, 0, &seen(at, 60_001, 0, true, false)),
            Some((2, Some(2)))
        );
        assert_eq!(slot.wants_key_frame(), None);
    }

    #[test]
    fn temporal_layers_go_at_once_and_come_one_by_one() {
        let at = instant();
        let mut slot = Slot::new(TransceiverId(1), Kind::Video);
        slot.aim(Some((0, upto(2))));
        assert!(sent(&mut slot, 0, &seen(at, 0, 0, true, false)).is_some());
        assert!(sent(&mut slot, 0, &seen(at, 1, 2, false, false)).is_some());
        slot.aim(Some((0, upto(0))));
        assert_eq!(sent(&mut slot, 0, &seen(at, 2, 1, false, true)), None);
        assert_eq!(
            sent(&mut slot, 0, &seen(at, 3, 0, false, false)),
            Some((2, Some(2)))
        );
        slot.aim(Some((0, upto(2))));
        // The second layer is not there yet, so the third cannot begin; nor without a place to.
        assert_eq!(sent(&mut slot, 0, &seen(at, 4, 2, false, true)), None);
        assert_eq!(sent(&mut slot, 0, &seen(at, 5, 1, false, false)), None);
        assert_eq!(
            sent(&mut slot, 0, &seen(at, 6, 1, false, true)),
            Some((3, Some(3)))
        );
        assert_eq!(
            sent(&mut slot, 0, &seen(at, 7, 2, false, true)),
            Some((4, Some(4)))
        );
    }

    #[test]
    fn what_is_left_out_too_late_holds_its_number() {
        let at = instant();
        let mut slot = Slot::new(TransceiverId(1), Kind::Video);
        slot.aim(Some((0, upto(0))));
        let mut send = |number, layer, begins| {
            let seen = seen(at, number, layer, begins, false);
            let out = slot.take(0, &seen, PT, 90_000)?;
            Some((out.sequence_number.0, out.is_empty))
        };
        assert_eq!(send(0, 0, true), Some((0, false)));
        assert_eq!(send(1, 1, false), None);
        // The one before it was lost on its way to us.
        assert_eq!(send(3, 0, false), Some((2, false)));
        assert_eq!(send(2, 1, false), Some((1, true)));
        assert_eq!(send(4, 0, false), Some((3, false)));
    }

    #[test]
    fn a_switch_goes_on_in_numbers_and_time() {
        let at = instant();
        let mut slot = Slot::new(TransceiverId(1), Kind::Video);
        slot.aim(Some((0, upto(0))));
        let first = slot
            .take(0, &seen(at, 30, 0, true, false), PT, 90_000)
            .unwrap();
        assert_eq!(first.sequence_number, SeqNo16(0));
        slot.aim(Some((1, upto(0))));
        assert!(sent(&mut slot, 0, &seen(at, 31, 0, false, false)).is_some());
        assert_eq!(sent(&mut slot, 1, &seen(at, 7, 0, false, false)), None);
        // Of the other stream, 100 ms after the newest picture of the first.
        let mut other = seen(at, 500, 0, true, false);
        other.packet.received_at = at + Duration::from_millis(33 * 31 + 100);
        let next = slot.take(1, &other, PT, 90_000).unwrap();
        assert_eq!(next.sequence_number, SeqNo16(2));
        assert_eq!(next.timestamp, 31 * 3000 + 9000);
        assert_eq!(next.counters.tl0_picture_index, Some(3));
        // What the first still sends is left out.
        assert_eq!(sent(&mut slot, 0, &seen(at, 32, 0, false, false)), None);
    }
}
