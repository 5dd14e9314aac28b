//! Packets to frames, in order: the jitter buffer of video, and the order of sound.
//!
//! 1. Packets wait by sequence number. A run without gaps up to the end of a frame is a frame.
//! 2. A gap that no later frame depends on ([`Tracker`]) is waited for about a round trip, and
//!    then passed over.
//! 3. Any other gap is waited for as long as retransmissions may still fill it. Then sound goes on
//!    with the next packet; video needs a key frame, and says so.
//!
//! Frames are handed out as soon as they are complete: when to show them is the application's
//! decision, for which they carry their times.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use twocan_wire::ids::PayloadType;
use twocan_wire::payload::Inspection;
use twocan_wire::rtp::{
    AbsCaptureTime, AudioLevel, PlayoutDelay, VideoLayersAllocation, VideoTiming,
};

use super::Format;
use super::depend::{Marks, Tracker, Verdict, picture_number};
use super::patience::Patience;
use super::picture::PictureProperties;
use super::provenance::ContributingSource;

/// Packets kept of a stream, about 1.2 MB at full size. When one more comes, the wait for the
/// first gap is over.
pub(super) const PACKETS_MAX: usize = 1024;

/// How far before the first packet that arrived the stream may have begun.
const START_REORDER: u64 = 64;

/// Torn pictures to which nothing refers that a gap may hold, to be passed over as if they had
/// never been.
const HARMLESS_MAX: usize = 32;

/// A packet on its way into a frame.
#[derive(Debug)]
pub(super) struct Piece {
    pub(super) format: Format,
    pub(super) payload_type: PayloadType,
    pub(super) timestamp: u32,
    pub(super) marker: bool,
    pub(super) contributing: Vec<ContributingSource>,
    pub(super) video_timing: Option<VideoTiming>,
    pub(super) audio_level: Option<AudioLevel>,
    pub(super) capture_time: Option<AbsCaptureTime>,
    pub(super) dependency_descriptor: Option<Vec<u8>>,
    pub(super) playout_delay: Option<PlayoutDelay>,
    pub(super) picture: PictureProperties,
    pub(super) layers_allocation: Option<VideoLayersAllocation>,
    pub(super) payload: Vec<u8>,
    pub(super) arrived_at: Instant,
}

/// A frame without its address.
#[derive(Debug)]
pub(super) struct Assembled {
    pub(super) payload_type: PayloadType,
    /// The number of the last packet.
    pub(super) number: u64,
    pub(super) timestamp: u32,
    pub(super) key_frame: bool,
    pub(super) marker: bool,
    pub(super) lost_before: u32,
    pub(super) packets: usize,
    pub(super) first_received_at: Instant,
    pub(super) received_at: Instant,
    pub(super) contributing: Vec<ContributingSource>,
    pub(super) video_timing: Option<VideoTiming>,
    pub(super) audio_level: Option<AudioLevel>,
    pub(super) capture_time: Option<AbsCaptureTime>,
    pub(super) picture: PictureProperties,
    pub(super) data: Vec<u8>,
}

#[derive(Debug)]
struct Kept {
    piece: Piece,
    inspection: Inspection,
}

#[derive(Debug)]
pub(super) struct Assembler {
    pieces: BTreeMap<u64, Kept>,
    /// Where the next frame begins; `None` before the first packet.
    next: Option<u64>,
    /// The first number at or after `next` that is missing.
    run_end: u64,
    /// Nothing is missing between the frame before and `next`.
    follows: bool,
    /// Video that cannot be decoded before a key frame comes.
    needs_key: bool,
    /// Whether a frame came out: before that, the first packets may be out of order.
    started: bool,
    lost: u32,
    retransmits: bool,
    /// The sender wants nothing to be played later than this.
    delay_max: Option<Duration>,
    rtt: Duration,
    popped_at: Option<Instant>,
    tracker: Tracker,
    /// The highest temporal layer that arrived.
    top_layer: u8,
    pub(super) dropped: u64,
    pub(super) malformed: u64,
}

/// What became of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Inserted {
    Kept,
    /// Too late, or there already.
    Useless,
}

impl Assembler {
    pub(super) fn new(is_video: bool, retransmits: bool) -> Self {
        Self {
            pieces: BTreeMap::new(),
            next: None,
            run_end: 0,
            follows: false,
            needs_key: is_video,
            started: false,
            lost: 0,
            retransmits,
            delay_max: None,
            rtt: Duration::ZERO,
            popped_at: None,
            tracker: Tracker::default(),
            top_layer: 0,
            dropped: 0,
            malformed: 0,
        }
    }

    /// The longest delay that the sender wants, from here on.
    pub(super) fn set_delay_max(&mut self, delay_max: Option<Duration>) {
        self.delay_max = delay_max;
    }

    pub(super) fn insert(&mut self, sequence: u64, piece: Piece) -> Inserted {
        if self.next.is_none() {
            self.next = Some(sequence);
            self.run_end = sequence;
        }
        if !self.started
            && let Some(next) = self.next
            && (next.saturating_sub(START_REORDER)..next).contains(&sequence)
        {
            self.next = Some(sequence);
            self.run_end = sequence;
        }
        let is_late = self.next.is_some_and(|next| sequence < next);
        if is_late || self.pieces.contains_key(&sequence) {
            return Inserted::Useless;
        }
        if self.pieces.len() >= PACKETS_MAX {
            self.give_up_gap();
        }
        if self.pieces.len() >= PACKETS_MAX {
            // A frame that never ends: no sender of ours makes one of a thousand packets.
            self.dropped += 1;
            self.restart_at(sequence);
        }
        let inspection = piece.format.inspect(&piece.payload);
        self.top_layer = self.top_layer.max(inspection.temporal_layer.unwrap_or(0));
        self.pieces.insert(sequence, Kept { piece, inspection });
        self.advance_run();
        Inserted::Kept
    }

    /// Hands out frames that are complete by `now`, over a path with that round-trip time.
    pub(super) fn pop(&mut self, now: Instant, rtt: Duration, out: &mut VecDeque<Assembled>) {
        self.rtt = rtt;
        self.popped_at = Some(now);
        // Each turn takes a frame or a gap, and there is an end of both.
        loop {
            self.skip_empty();
            if self.needs_key && !self.seek_key_frame() {
                if self.lost_at().is_some_and(|at| at <= now) {
                    self.give_up_gap();
                    continue;
                }
                // A run without the start of a key frame cannot become one.
                if self.started || self.pieces.len() as u64 > START_REORDER {
                    self.skip_to(self.run_end);
                }
                return;
            }
            if let Some(end) = self.next.and_then(|next| self.frame_end(next)) {
                self.take_frame(end, out);
                continue;
            }
            if self.pass_gap(now) {
                continue;
            }
            if self.lost_at().is_some_and(|at| at <= now) {
                self.give_up_gap();
                continue;
            }
            return;
        }
    }

    /// When to call [`Self::pop`] again though nothing arrives: a wait for the first gap ends.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let (_, after) = self.after_gap()?;
        let patience = self.patience(&after.piece);
        let waits = [patience.skip, patience.lost];
        let ends = waits.map(|wait| after.piece.arrived_at + wait);
        // What was to be had by the shorter wait is taken; then the longer one counts.
        let popped_at = self.popped_at;
        let mut left = ends.into_iter();
        left.find(|end| popped_at.is_none_or(|popped_at| *end > popped_at))
    }

    /// Whether a key frame must come before anything can be shown.
    pub(super) fn needs_key(&self) -> bool {
        self.needs_key
    }

    /// The number below which nothing is waited for.
    pub(super) fn next(&self) -> Option<u64> {
        self.next
    }

    /// So much is missing that only a key frame helps: for video, that is; sound goes on.
    pub(super) fn give_up(&mut self, is_video: bool) {
        if is_video {
            self.needs_key = true;
        }
        self.give_up_gap();
    }

    fn patience(&self, piece: &Piece) -> Patience {
        let own = Patience::new(piece.format.is_video() && self.retransmits, self.rtt);
        own.within(self.delay_max)
    }

    /// The first packet after the first gap.
    fn after_gap(&self) -> Option<(u64, &Kept)> {
        let (sequence, kept) = self.pieces.range(self.run_end..).next()?;
        Some((*sequence, kept))
    }

    fn lost_at(&self) -> Option<Instant> {
        let (_, after) = self.after_gap()?;
        Some(after.piece.arrived_at + self.patience(&after.piece).lost)
    }

    fn advance_run(&mut self) {
        while self.pieces.contains_key(&self.run_end) {
            self.run_end += 1;
        }
    }

    /// Packets of padding hold a number but no frame.
    fn skip_empty(&mut self) {
        while let Some(next) = self.next
            && self
                .pieces
                .get(&next)
                .is_some_and(|kept| kept.piece.payload.is_empty())
        {
            self.pieces.remove(&next);
            self.next = Some(next + 1);
        }
    }

    /// The number after the frame that begins at `start`, if all of it is there.
    fn frame_end(&self, start: u64) -> Option<u64> {
        let first = &self.pieces.get(&start)?.piece;
        if !first.format.is_video() {
            return Some(start + 1);
        }
        let run = self.pieces.range(start..).zip(start..);
        for ((sequence, kept), expected) in run {
            if *sequence != expected {
                return None;
            }
            if kept.piece.timestamp != first.timestamp {
                return Some(expected);
            }
            if kept.piece.marker {
                return Some(expected + 1);
            }
        }
        None
    }

    /// Whether a packet surely begins a frame.
    fn begins_frame(&self, sequence: u64, kept: &Kept) -> bool {
        let before = sequence.checked_sub(1);
        // What holds a number alone says nothing of the frame after it.
        let before = before.and_then(|before| self.pieces.get(&before));
        if let Some(before) = before.filter(|own| !own.piece.payload.is_empty()) {
            return before.piece.marker || before.piece.timestamp != kept.piece.timestamp;
        }
        let is_lowest = kept.inspection.spatial_layer.unwrap_or(0) == 0;
        match kept.piece.format {
            Format::Whole | Format::L16(_) => true,
            Format::Vp8 => kept.inspection.starts_frame,
            Format::Vp9 => kept.inspection.starts_frame && is_lowest,
            Format::Av1 => {
                let descriptor = kept.piece.dependency_descriptor.as_ref();
                let first = descriptor.and_then(|value| value.first());
                // Its first bit begins a frame.
                let begins = first.is_some_and(|first| first & 0x80 != 0);
                kept.inspection.key_frame || (begins && is_lowest)
            }
            Format::H264(_) | Format::H265 => kept.inspection.key_frame,
        }
    }

    fn read_marks(&self, start: u64, end: u64) -> Marks {
        let pieces = self.pieces.range(start..end);
        self.tracker
            .read(pieces.map(|(_, kept)| (&kept.piece, kept.inspection)))
    }

    /// Hands out the frame from `next` to `end`, or drops it if it cannot be decoded.
    fn take_frame(&mut self, end: u64, out: &mut VecDeque<Assembled>) {
        let Some(next) = self.next else { return };
        let is_video = self
            .pieces
            .get(&next)
            .is_some_and(|kept| kept.piece.format.is_video());
        let mut marks = self.read_marks(next, end);
        let follows = self.follows || self.tracker.follows(&marks, &[]);
        let is_decodable = !is_video || self.tracker.judge(&marks, follows) == Verdict::Decodable;
        let rest = self.pieces.split_off(&end);
        let pieces = std::mem::replace(&mut self.pieces, rest);
        self.next = Some(end);
        self.run_end = self.run_end.max(end);
        self.advance_run();
        self.started = true;
        self.follows = true;
        if !is_decodable {
            self.tracker.drop(&marks);
            self.dropped += 1;
            self.needs_key |= marks.temporal_layer == 0 && !marks.discardable;
            return;
        }
        let lost_before = std::mem::take(&mut self.lost);
        let number = end.wrapping_sub(1);
        let pieces = pieces.into_values().map(|kept| kept.piece);
        match put_together(pieces, number, lost_before) {
            Some(frame) => {
                self.tracker.take(&mut marks, follows);
                out.push_back(frame);
            }
            None => {
                // Whole by its numbers, but not by its content: what follows may depend on it.
                self.malformed += 1;
                self.needs_key |= is_video;
            }
        }
    }

    /// Passes over what is missing if the wait is over and later frames do without it; answers
    /// whether there was something to pass over.
    fn pass_gap(&mut self, now: Instant) -> bool {
        let Some((after, kept)) = self.after_gap() else {
            return false;
        };
        let (is_video, arrived_at) = (kept.piece.format.is_video(), kept.piece.arrived_at);
        if !is_video || self.needs_key {
            return false;
        }
        let skip = self.patience(&kept.piece).skip;
        let is_over = arrived_at + skip <= now;
        if is_over && let Some((end, picture)) = self.torn_discardable() {
            self.skip_to(end);
            self.tracker.pass(picture);
            // All that was missing belonged to the frame that is left out.
            self.follows = true;
            return true;
        }
        let found = if is_over {
            self.goes_on_at(after)
        } else {
            self.held_nothing(after, kept).then_some((after, true))
        };
        let Some((found, follows)) = found else {
            return false;
        };
        let is_upper = self
            .pieces
            .get(&found)
            .is_some_and(|kept| self.tracker.has_base_of(&kept.inspection));
        self.skip_to(found);
        self.follows = follows;
        if is_upper && !follows {
            self.tracker.lose_upper_layers();
            // The lowest layer is whole; the tracker knows which frames need more.
            self.follows = true;
        }
        true
    }

    /// Whether what is missing before a packet held no picture: padding alone.
    fn held_nothing(&self, after: u64, kept: &Kept) -> bool {
        let is_whole = self.next.is_some_and(|next| next == self.run_end);
        is_whole
            && self.begins_frame(after, kept)
            && self
                .frame_end(after)
                .is_some_and(|end| self.tracker.follows(&self.read_marks(after, end), &[]))
    }

    /// Where frames can be handed out without what is missing before, at or after `after`, and
    /// whether nothing that matters was missing.
    fn goes_on_at(&self, after: u64) -> Option<(u64, bool)> {
        // Pictures of which something arrived, and to which nothing refers.
        let mut harmless = Vec::new();
        for (sequence, kept) in &self.pieces {
            if *sequence >= after && self.begins_frame(*sequence, kept) {
                let end = self.frame_end(*sequence);
                let marks = end.map(|end| self.read_marks(*sequence, end));
                let follows = marks
                    .as_ref()
                    .is_some_and(|marks| self.tracker.follows(marks, &harmless));
                let is_decodable = marks
                    .is_some_and(|marks| self.tracker.judge(&marks, follows) == Verdict::Decodable);
                if is_decodable || self.tracker.has_base_of(&kept.inspection) {
                    return Some((*sequence, follows));
                }
            }
            let picture = kept.inspection.picture_id;
            if let (true, Some(picture)) = (kept.inspection.discardable, picture)
                && harmless.last() != Some(&picture)
                && harmless.len() < HARMLESS_MAX
            {
                harmless.push(picture);
            }
        }
        None
    }

    /// The end of the frame at `next`, and its number, if all that is missing before its end is
    /// of that frame and nothing refers to it.
    fn torn_discardable(&self) -> Option<(u64, Option<super::depend::Number>)> {
        let first = self.pieces.get(&self.next?)?;
        let mut end = None;
        for (sequence, kept) in &self.pieces {
            let is_top = kept.inspection.temporal_layer.unwrap_or(0) >= self.top_layer;
            let is_discardable =
                kept.inspection.discardable && (is_top || kept.piece.format != Format::H265);
            if kept.piece.timestamp != first.piece.timestamp || !is_discardable {
                break;
            }
            if kept.piece.marker {
                end = Some(sequence + 1);
                break;
            }
        }
        let first_piece = &first.piece;
        let picture = picture_number(first_piece.format, &first_piece.payload, &first.inspection);
        // With the end before the gap it is not torn.
        end.filter(|end| *end > self.run_end)
            .map(|end| (end, picture))
    }

    /// Moves to the first packet that begins a key frame; answers whether there is one.
    fn seek_key_frame(&mut self) -> bool {
        let mut before: Option<(u64, u32)> = None;
        // Where the delimiter and the like begin that stand before the key frame.
        let mut prefix = None;
        let mut found = None;
        for (sequence, kept) in &self.pieces {
            let piece = &kept.piece;
            // A later slice of the same picture begins no frame.
            let is_inside = before.is_some_and(|(number, timestamp)| {
                number + 1 == *sequence && timestamp == piece.timestamp
            });
            if !is_inside {
                prefix = None;
            }
            if kept.inspection.key_frame && (!is_inside || prefix.is_some()) {
                found = Some(prefix.unwrap_or(*sequence));
                break;
            }
            let may_begin = !is_inside || prefix.is_some();
            prefix = if may_begin && piece.format.is_prefix(&piece.payload) {
                prefix.or(Some(*sequence))
            } else {
                None
            };
            before = Some((*sequence, piece.timestamp));
        }
        let Some(found) = found else {
            return false;
        };
        self.skip_to(found);
        self.needs_key = false;
        true
    }

    /// Ends the wait for the first gap.
    fn give_up_gap(&mut self) {
        let after = self.after_gap();
        let Some((after, is_video)) =
            after.map(|(sequence, kept)| (sequence, kept.piece.format.is_video()))
        else {
            return;
        };
        self.needs_key |= is_video;
        self.skip_to(after);
    }

    /// Drops what is before `sequence`, and counts what is missing there as lost.
    fn skip_to(&mut self, sequence: u64) {
        let rest = self.pieces.split_off(&sequence);
        let skipped = std::mem::replace(&mut self.pieces, rest);
        let from = self.next.unwrap_or(sequence);
        let missing = sequence
            .saturating_sub(from)
            .saturating_sub(skipped.len() as u64);
        if self.started {
            let missing = u32::try_from(missing).unwrap_or(u32::MAX);
            self.lost = self.lost.saturating_add(missing);
        }
        self.dropped += skipped.values().filter(|kept| kept.piece.marker).count() as u64;
        self.follows &= missing == 0 && skipped.is_empty();
        self.next = Some(sequence);
        self.run_end = self.run_end.max(sequence);
        self.advance_run();
    }

    fn restart_at(&mut self, sequence: u64) {
        let is_video = self
            .pieces
            .values()
            .any(|kept| kept.piece.format.is_video());
        self.pieces.clear();
        self.next = Some(sequence);
        self.run_end = sequence;
        self.follows = false;
        self.needs_key |= is_video;
    }
}

/// Makes a frame of its packets, in order; `None` when their payloads do not fit together.
fn put_together(
    pieces: impl Iterator<Item = Piece>,
    number: u64,
    lost_before: u32,
) -> Option<Assembled> {
    let mut pieces: Vec<Piece> = pieces.collect();
    let times = pieces.iter().map(|piece| piece.arrived_at);
    let (first_received_at, received_at) = (times.clone().min()?, times.max()?);
    let capture_time = pieces.iter().find_map(|piece| piece.capture_time);
    let video_timing = pieces.iter().rev().find_map(|piece| piece.video_timing);
    let words = pieces.iter().rev().map(|piece| piece.picture);
    let picture = words.fold(PictureProperties::default(), PictureProperties::or);
    let last = pieces.last()?;
    let mut frame = Assembled {
        payload_type: last.payload_type,
        number,
        timestamp: last.timestamp,
        key_frame: true,
        marker: last.marker,
        lost_before,
        packets: pieces.len(),
        first_received_at,
        received_at,
        contributing: last.contributing.clone(),
        video_timing,
        audio_level: last.audio_level,
        capture_time,
        picture,
        data: Vec::new(),
    };
    match last.format {
        // The only payload is the frame: no copy.
        Format::Whole | Format::L16(_) => {
            frame.data = pieces.pop().map(|piece| piece.payload).unwrap_or_default();
        }
        format => {
            let payloads = pieces.iter().map(|piece| piece.payload.as_slice());
            let payloads = payloads.filter(|own| !own.is_empty());
            frame.key_frame = format.assemble(payloads, &mut frame.data).ok()?;
        }
    }
    Some(frame)
}
