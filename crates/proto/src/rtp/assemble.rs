//! Packets to frames, in order.
//!
//! 1. Packets wait by sequence number. A run without gaps up to the end of a frame is a frame.
//! 2. A gap is waited for a limited time, and for a limited number of packets.
//! 3. After that sound goes on with the next packet; video goes on with the next key frame.
//!
//! This is a plain reorder buffer: it does not smooth arrival times.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use twocan_wire::ids::PayloadType;
use twocan_wire::rtp::AudioLevel;

use super::Format;

/// Packets kept of a stream, about 1.2 MB at full size. When one more comes, the wait for the
/// first gap is over.
pub(super) const PACKETS_MAX: usize = 1024;

/// How long video waits for a retransmission: several round trips, less than a viewer forgives.
const VIDEO_WAIT: Duration = Duration::from_millis(500);

/// How long anything waits that nobody will retransmit: reordering alone.
const REORDER_WAIT: Duration = Duration::from_millis(60);

/// How far before the first packet that arrived the stream may have begun.
const START_REORDER: u64 = 64;

/// A packet on its way into a frame.
#[derive(Debug)]
pub(super) struct Piece {
    pub(super) format: Format,
    pub(super) payload_type: PayloadType,
    pub(super) timestamp: u32,
    pub(super) marker: bool,
    pub(super) audio_level: Option<AudioLevel>,
    pub(super) payload: Vec<u8>,
    pub(super) arrived_at: Instant,
}

/// A frame without its address.
#[derive(Debug)]
pub(super) struct Assembled {
    pub(super) payload_type: PayloadType,
    pub(super) timestamp: u32,
    pub(super) key_frame: bool,
    pub(super) marker: bool,
    pub(super) lost_before: u32,
    pub(super) received_at: Instant,
    pub(super) audio_level: Option<AudioLevel>,
    pub(super) data: Vec<u8>,
}

#[derive(Debug)]
pub(super) struct Assembler {
    pieces: BTreeMap<u64, Piece>,
    /// Where the next frame begins; `None` before the first packet.
    next: Option<u64>,
    /// The first number at or after `next` that is missing.
    run_end: u64,
    /// Video that cannot be decoded before a key frame comes.
    needs_key: bool,
    /// Whether a frame came out: before that, the first packets may be out of order.
    started: bool,
    lost: u32,
    retransmits: bool,
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
            needs_key: is_video,
            started: false,
            lost: 0,
            retransmits,
            dropped: 0,
            malformed: 0,
        }
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
        self.pieces.insert(sequence, piece);
        self.advance_run();
        Inserted::Kept
    }

    /// Hands out frames that are complete by `now`.
    pub(super) fn pop(&mut self, now: Instant, out: &mut VecDeque<Assembled>) {
        // Each turn takes a frame or a gap, and there is an end of both.
        loop {
            self.skip_empty();
            if self.needs_key && !self.seek_key_frame() {
                if self.gap_deadline().is_some_and(|deadline| deadline <= now) {
                    self.give_up_gap();
                    continue;
                }
                // A run without the start of a key frame cannot become one.
                if self.started || self.pieces.len() as u64 > START_REORDER {
                    self.skip_to(self.run_end);
                }
                return;
            }
            if let Some(end) = self.frame_end() {
                self.take_frame(end, out);
                continue;
            }
            if self.gap_deadline().is_some_and(|deadline| deadline <= now) {
                self.give_up_gap();
                continue;
            }
            return;
        }
    }

    /// When the wait for the first gap ends.
    pub(super) fn gap_deadline(&self) -> Option<Instant> {
        let (_, piece) = self.pieces.range(self.run_end..).next()?;
        let wait = if piece.format.is_video() && self.retransmits {
            VIDEO_WAIT
        } else {
            REORDER_WAIT
        };
        Some(piece.arrived_at + wait)
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
                .is_some_and(|piece| piece.payload.is_empty())
        {
            self.pieces.remove(&next);
            self.next = Some(next + 1);
        }
    }

    /// The number after the frame that begins at `next`, if all of it is there.
    fn frame_end(&self) -> Option<u64> {
        let next = self.next?;
        let first = self.pieces.get(&next)?;
        if !first.format.is_video() {
            return Some(next + 1);
        }
        let last = self.pieces.get(&self.run_end.checked_sub(1)?)?;
        if !last.marker && last.timestamp == first.timestamp {
            return None;
        }
        for (sequence, piece) in self.pieces.range(next..self.run_end) {
            if piece.timestamp != first.timestamp {
                return Some(*sequence);
            }
            if piece.marker {
                return Some(sequence + 1);
            }
        }
        None
    }

    fn take_frame(&mut self, end: u64, out: &mut VecDeque<Assembled>) {
        let rest = self.pieces.split_off(&end);
        let pieces = std::mem::replace(&mut self.pieces, rest);
        self.next = Some(end);
        self.started = true;
        let lost_before = std::mem::take(&mut self.lost);
        let Some((_, last)) = pieces.last_key_value() else {
            return;
        };
        let received_at = pieces.values().map(|piece| piece.arrived_at).max();
        let mut frame = Assembled {
            payload_type: last.payload_type,
            timestamp: last.timestamp,
            key_frame: true,
            marker: last.marker,
            lost_before,
            received_at: received_at.unwrap_or(last.arrived_at),
            audio_level: last.audio_level,
            data: Vec::new(),
        };
        let format = last.format;
        let key_frame = match format {
            // The only payload is the frame: no copy.
            Format::Whole => {
                let mut pieces = pieces.into_values().map(|piece| piece.payload);
                frame.data = pieces.find(|own| !own.is_empty()).unwrap_or_default();
                Ok(true)
            }
            _ => {
                let payloads = pieces.values().map(|piece| piece.payload.as_slice());
                format.assemble(payloads.filter(|own| !own.is_empty()), &mut frame.data)
            }
        };
        match key_frame {
            Ok(key_frame) => {
                frame.key_frame = key_frame;
                out.push_back(frame);
            }
            Err(_) => {
                // Whole by its numbers, but not by its content: what follows may depend on it.
                self.malformed += 1;
                self.needs_key |= format.is_video();
            }
        }
    }

    /// Moves to the first packet that begins a key frame; answers whether there is one.
    fn seek_key_frame(&mut self) -> bool {
        let mut before: Option<(u64, u32)> = None;
        let mut found = None;
        for (sequence, piece) in &self.pieces {
            let starts = piece.format.starts_key_frame(&piece.payload);
            // A later slice of the same picture begins no frame.
            let is_inside = before.is_some_and(|(number, timestamp)| {
                number + 1 == *sequence && timestamp == piece.timestamp
            });
            if starts && !is_inside {
                found = Some(*sequence);
                break;
            }
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
        let Some((after, is_video)) = self
            .pieces
            .range(self.run_end..)
            .next()
            .map(|(sequence, piece)| (*sequence, piece.format.is_video()))
        else {
            return;
        };
        self.lost = self
            .lost
            .saturating_add(u32::try_from(after - self.run_end).unwrap_or(u32::MAX));
        self.needs_key |= is_video;
        self.skip_to(after);
    }

    fn skip_to(&mut self, sequence: u64) {
        let rest = self.pieces.split_off(&sequence);
        let skipped = std::mem::replace(&mut self.pieces, rest);
        self.dropped += skipped.values().filter(|piece| piece.marker).count() as u64;
        self.next = Some(sequence);
        self.run_end = self.run_end.max(sequence);
        self.advance_run();
    }

    fn restart_at(&mut self, sequence: u64) {
        let is_video = self.pieces.values().any(|piece| piece.format.is_video());
        self.pieces.clear();
        self.next = Some(sequence);
        self.run_end = sequence;
        self.needs_key |= is_video;
    }
}
