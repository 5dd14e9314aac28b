//! One source that we receive: order, losses, jitter, frames.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use twocan_wire::ids::{Mid, Rid, Ssrc};
use twocan_wire::rtcp::{ReportBlock, SenderReport};
use twocan_wire::rtp::{AbsCaptureTime, PlayoutDelay};
use twocan_wire::seq::{SeqNo16, SeqNo32, Unwrapper16};

use super::assemble::{Assembled, Assembler, Inserted, Piece};
use super::cadence::Cadence;
use super::capture::{CaptureClock, since_1970};
use super::fec::recover::Recovery;
use super::nack::{self, NackList};
use super::ntp::ticks;
use super::numbers::Numbers;
use super::picture::PictureProperties;
use super::provenance::Provenance;
use super::redundant::RedReceiver;
use super::stats::{InboundStats, RemoteOutboundStats};
use super::synchronize::Lag;
use super::{Codec, Delivery, Event, Frame, IncomingPacket, Media};
use crate::time::Now;

/// Between two requests for a key frame of one source: two round trips and what a sender needs to
/// make one, but within these bounds. An SFU must not pass on a storm.
const KEY_FRAME_RETRY_MIN: Duration = Duration::from_millis(200);
const KEY_FRAME_RETRY_MAX: Duration = Duration::from_secs(2);
const KEY_FRAME_MAKING: Duration = Duration::from_millis(100);

/// How long nothing must follow a packet in the middle of a frame before the next one counts as
/// missing. A pacer may spread a frame over the time until the next.
const TAIL_WAIT: Duration = Duration::from_millis(50);

/// Numbers below the newest packet that are still asked for when packets are handed out one by
/// one: a second of video at 10 Mbit/s.
const NACK_WINDOW: u64 = 1024;

#[derive(Debug)]
pub(super) struct ReceiveStream {
    pub(super) mid: Mid,
    pub(super) rid: Option<Rid>,
    pub(super) ssrc: Ssrc,
    unwrapper: Unwrapper16,
    first: Option<u64>,
    /// Packets counted by RFC 3550: originals, duplicates included.
    received: u64,
    expected_before: u64,
    received_before: u64,
    /// Sixteen times the jitter (RFC 3550 A.8), and the transit time of the packet before.
    jitter: u32,
    transit: Option<u32>,
    epoch: Instant,
    rtt: Duration,
    codec: Codec,
    nacks: NackList,
    /// When the packet after the newest is asked for, unless something comes.
    tail_at: Option<Instant>,
    /// Whether the sender marks the ends of frames.
    ends_frames: bool,
    assembler: Assembler,
    delivery: Delivery,
    delivered: Numbers,
    pub(super) last_sr: Option<(u32, Instant)>,
    pub(super) report_at: Instant,
    pub(super) heard_at: Instant,
    key_frame_wanted: bool,
    key_frame_asked_at: Option<Instant>,
    pub(super) fir_sequence: u8,
    /// The canonical name of its sender.
    pub(super) cname: Option<String>,
    pub(super) lag: Lag,
    pub(super) capture: CaptureClock,
    cadence: Cadence,
    /// The newest word on each, with the number of the packet that said it.
    playout_delay: Option<(u64, PlayoutDelay)>,
    /// What pictures said that holds until the next key frame.
    lasting: PictureProperties,
    allocated: Option<u64>,
    /// When the newest frame was captured, and when it was handed out.
    last_frame: Option<(Duration, Instant)>,
    /// Packets from which lost ones can be made again.
    pub(super) recovery: Recovery,
    /// Where older frames of sound belong.
    pub(super) red: RedReceiver,
    /// The newest timestamp that came by itself.
    newest: Option<SeqNo32>,
    pub(super) stats: InboundStats,
}

/// How a packet came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// By itself.
    Network,
    /// Sent again, by RTX.
    Retransmission,
    /// Made again from others.
    Recovered,
}

/// When a packet arrives, and over what path.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    pub(super) now: Now,
    pub(super) rtt: Duration,
    /// A moment in the past, the same for all streams.
    pub(super) epoch: Instant,
}

/// What a packet says, its address apart.
pub(super) struct Arrival {
    pub(super) sequence_number: SeqNo16,
    pub(super) header_len: usize,
    pub(super) origin: Origin,
    pub(super) codec: Codec,
    pub(super) piece: Piece,
}

impl ReceiveStream {
    pub(super) fn new(
        now: Instant,
        media: &Media,
        rid: Option<Rid>,
        ssrc: Ssrc,
        codec: Codec,
    ) -> Self {
        let mid = media.mid.clone();
        Self {
            unwrapper: Unwrapper16::default(),
            first: None,
            received: 0,
            expected_before: 0,
            received_before: 0,
            jitter: 0,
            transit: None,
            epoch: now,
            rtt: Duration::ZERO,
            codec,
            nacks: NackList::default(),
            tail_at: None,
            ends_frames: false,
            assembler: Assembler::new(codec.format.is_video(), codec.nack),
            delivery: media.delivery,
            delivered: Numbers::new(),
            last_sr: None,
            report_at: now,
            heard_at: now,
            key_frame_wanted: false,
            key_frame_asked_at: None,
            fir_sequence: 0,
            cname: None,
            lag: Lag::default(),
            capture: CaptureClock::new(codec.clock_rate),
            cadence: Cadence::default(),
            playout_delay: None,
            lasting: PictureProperties::default(),
            allocated: None,
            last_frame: None,
            recovery: Recovery::new(ssrc),
            red: RedReceiver::default(),
            newest: None,
            stats: InboundStats::new(mid.clone(), rid.clone(), ssrc),
            mid,
            rid,
            ssrc,
        }
    }

    /// Takes a packet; answers its number.
    pub(super) fn handle_packet(
        &mut self,
        moment: Moment,
        arrival: Arrival,
        arrived: &mut VecDeque<Event>,
    ) -> u64 {
        let now = moment.now.monotonic;
        self.heard_at = now;
        self.rtt = moment.rtt;
        if self.codec.clock_rate != arrival.codec.clock_rate {
            self.capture = CaptureClock::new(arrival.codec.clock_rate);
        }
        self.codec = arrival.codec;
        let is_video = arrival.codec.format.is_video();
        if arrival.origin != Origin::Recovered {
            self.stats.last_packet_received_timestamp = Some(moment.now.wallclock);
            self.stats.packets_received += 1;
            self.stats.header_bytes_received += arrival.header_len as u64;
            self.stats.bytes_received += arrival.piece.payload.len() as u64;
        }
        let sequence = match arrival.origin {
            Origin::Network => {
                self.received += 1;
                self.note_transit(now, arrival.piece.timestamp);
                self.note_newest(arrival.piece.timestamp);
                self.unwrapper.unwrap(arrival.sequence_number)
            }
            Origin::Retransmission => {
                self.stats.retransmitted_packets_received += 1;
                self.stats.retransmitted_bytes_received += arrival.piece.payload.len() as u64;
                self.unwrapper.peek(arrival.sequence_number)
            }
            // RFC 3550 reports what the path lost, made good or not.
            Origin::Recovered => self.unwrapper.peek(arrival.sequence_number),
        };
        self.first.get_or_insert(sequence);
        if arrival.codec.nack && self.nacks.handle_arrival(now, sequence) {
            self.assembler.give_up(is_video);
        }
        if arrival.codec.nack && self.nacks.highest() == Some(sequence) {
            let piece = &arrival.piece;
            self.ends_frames |= piece.marker;
            let goes_on = !piece.marker && !piece.payload.is_empty();
            let is_open = is_video && goes_on && self.ends_frames;
            self.tail_at = is_open.then(|| now + TAIL_WAIT);
        }
        self.take_words(sequence, &arrival.piece, arrived);
        if self.delivery == Delivery::Packets {
            self.deliver(moment.epoch, sequence, arrival, arrived);
            return sequence;
        }
        let is_recovered = arrival.origin == Origin::Recovered;
        match self.assembler.insert(sequence, arrival.piece) {
            Inserted::Kept => self.stats.packets_recovered += u64::from(is_recovered),
            Inserted::Useless => self.stats.packets_discarded += 1,
        }
        self.pop_frames(now, moment.epoch, arrived);
        sequence
    }

    /// What a packet says of more than itself, if nothing newer was said.
    fn take_words(&mut self, number: u64, piece: &Piece, arrived: &mut VecDeque<Event>) {
        let stated = piece.playout_delay.filter(|own| own.bounds().is_some());
        if let Some(stated) = stated
            && self.playout_delay.is_none_or(|(at, _)| at < number)
        {
            self.playout_delay = Some((number, stated));
            let bounds = stated.bounds();
            self.assembler.set_delay_max(bounds.map(|(_, max)| max));
        }
        if let Some(allocation) = &piece.layers_allocation
            && self.allocated.is_none_or(|at| at < number)
        {
            self.allocated = Some(number);
            arrived.push_back(Event::LayersAllocated {
                mid: self.mid.clone(),
                allocation: allocation.clone(),
            });
        }
    }

    /// The highest number that came by itself.
    pub(super) fn highest(&self) -> Option<u64> {
        self.unwrapper.highest()
    }

    fn note_newest(&mut self, timestamp: u32) {
        let timestamp = SeqNo32(timestamp);
        if self.newest.is_none_or(|newest| timestamp.is_after(newest)) {
            self.newest = Some(timestamp);
        }
    }

    /// Whether a packet may have that timestamp: within ten seconds of the newest.
    pub(super) fn is_near(&self, timestamp: u32) -> bool {
        self.newest.is_some_and(|newest| {
            let off = timestamp
                .wrapping_sub(newest.0)
                .cast_signed()
                .unsigned_abs();
            off <= self.codec.clock_rate.saturating_mul(10)
        })
    }

    /// Hands out a packet that was not handed out before.
    fn deliver(
        &mut self,
        epoch: Instant,
        number: u64,
        arrival: Arrival,
        arrived: &mut VecDeque<Event>,
    ) {
        // Nobody waits for what lies a whole window back.
        self.nacks.forget_below(number.saturating_sub(NACK_WINDOW));
        if !self.delivered.take(number) {
            self.stats.packets_discarded += 1;
            return;
        }
        self.stats.packets_recovered += u64::from(arrival.origin == Origin::Recovered);
        let piece = arrival.piece;
        if piece.payload.is_empty() {
            return;
        }
        let captured_at = self.captured_at(piece.timestamp, piece.capture_time);
        let is_first = arrival.origin == Origin::Network;
        if let (Some(captured_at), true) = (captured_at, is_first) {
            self.lag.handle_frame(epoch, piece.arrived_at, captured_at);
        }
        arrived.push_back(Event::Packet(IncomingPacket {
            mid: self.mid.clone(),
            rid: self.rid.clone(),
            ssrc: self.ssrc,
            payload_type: piece.payload_type,
            number,
            timestamp: piece.timestamp,
            marker: piece.marker,
            is_retransmission: arrival.origin == Origin::Retransmission,
            received_at: piece.arrived_at,
            captured_at,
            audio_level: piece.audio_level,
            dependency_descriptor: piece.dependency_descriptor,
            playout_delay: piece.playout_delay,
            picture: piece.picture,
            layers_allocation: piece.layers_allocation,
            provenance: Provenance {
                abs_capture_time: piece.capture_time,
                video_timing: piece.video_timing,
                contributing: piece.contributing,
            }
            .boxed(),
            payload: piece.payload.into(),
        }));
    }

    /// Frames that are only half there when packets are wanted are given up, and the other way
    /// round: video begins with a key frame.
    pub(super) fn set_delivery(&mut self, delivery: Delivery) {
        if self.delivery == delivery {
            return;
        }
        self.delivery = delivery;
        self.assembler = Assembler::new(self.codec.format.is_video(), self.codec.nack);
        let bounds = self.playout_delay.and_then(|(_, own)| own.bounds());
        self.assembler.set_delay_max(bounds.map(|(_, max)| max));
        self.key_frame_wanted = false;
    }

    pub(super) fn handle_timeout(
        &mut self,
        now: Instant,
        epoch: Instant,
        arrived: &mut VecDeque<Event>,
    ) {
        self.pop_frames(now, epoch, arrived);
    }

    fn pop_frames(&mut self, now: Instant, epoch: Instant, arrived: &mut VecDeque<Event>) {
        let mut assembled = VecDeque::new();
        self.assembler.pop(now, self.rtt, &mut assembled);
        for frame in assembled {
            let captured_at = self.captured_at(frame.timestamp, frame.capture_time);
            if let Some(captured_at) = captured_at {
                self.lag.handle_frame(epoch, frame.received_at, captured_at);
                self.last_frame = Some((captured_at, now));
            }
            self.count_frame(now, &frame);
            arrived.push_back(Event::Frame(self.address(frame, captured_at)));
        }
        if let Some(next) = self.assembler.next() {
            self.nacks.forget_below(next);
        }
        self.stats.frames_dropped = self.assembler.dropped + self.assembler.malformed;
    }

    fn count_frame(&mut self, now: Instant, frame: &Assembled) {
        let stats = &mut self.stats;
        stats.frames_received += 1;
        stats.key_frames_received += u64::from(frame.key_frame);
        if !self.codec.format.is_video() {
            return;
        }
        self.cadence
            .handle_frame(now.saturating_duration_since(self.epoch));
        let waited = now.saturating_duration_since(frame.first_received_at);
        stats.jitter_buffer_delay += waited;
        stats.jitter_buffer_emitted_count += 1;
        if frame.packets > 1 {
            let time = frame
                .received_at
                .saturating_duration_since(frame.first_received_at);
            stats.frames_assembled_from_multiple_packets += 1;
            stats.total_assembly_time += time;
        }
    }

    /// When something was captured on its sender's clock, since 1970.
    fn captured_at(&mut self, timestamp: u32, stated: Option<AbsCaptureTime>) -> Option<Duration> {
        self.capture.captured_at(timestamp, stated).map(since_1970)
    }

    fn address(&mut self, frame: Assembled, captured_at: Option<Duration>) -> Frame {
        self.lasting = match frame.key_frame {
            true => frame.picture,
            false => frame.picture.or(self.lasting),
        };
        Frame {
            mid: self.mid.clone(),
            rid: self.rid.clone(),
            ssrc: self.ssrc,
            payload_type: frame.payload_type,
            number: frame.number,
            timestamp: frame.timestamp,
            key_frame: frame.key_frame,
            marker: frame.marker,
            lost_before: frame.lost_before,
            received_at: frame.received_at,
            captured_at,
            contributing: frame.contributing,
            audio_level: frame.audio_level,
            video_timing: frame.video_timing,
            playout_delay: self.playout_delay.map(|(_, own)| own),
            picture: PictureProperties {
                video_orientation: frame.picture.video_orientation,
                ..self.lasting
            },
            data: frame.data,
        }
    }

    /// RFC 3550 A.8.
    fn note_transit(&mut self, now: Instant, timestamp: u32) {
        let since = now.saturating_duration_since(self.epoch).as_micros();
        let arrival = (since * u128::from(self.codec.clock_rate) / 1_000_000) as u32;
        let transit = arrival.wrapping_sub(timestamp);
        if let Some(before) = self.transit.replace(transit) {
            let difference = transit.wrapping_sub(before).cast_signed().unsigned_abs();
            // A new timestamp base is no jitter: more than ten seconds is none of the network's.
            if difference < self.codec.clock_rate.saturating_mul(10) {
                let decay = (self.jitter + 8) >> 4;
                self.jitter = self.jitter.saturating_add(difference) - decay;
            }
        }
    }

    /// What the sender says of what it sent.
    pub(super) fn handle_sender_report(&mut self, report: &SenderReport) {
        let before = self.stats.remote.map_or(0, |own| own.reports_sent);
        self.stats.remote = Some(RemoteOutboundStats {
            remote_timestamp: since_1970(report.ntp_time),
            packets_sent: report.packet_count,
            bytes_sent: report.octet_count,
            reports_sent: before.saturating_add(1),
        });
    }

    /// A report block, and the start of a new interval (RFC 3550 A.3).
    pub(super) fn report(&mut self, now: Instant) -> ReportBlock {
        let highest = self.unwrapper.highest().unwrap_or(0);
        let expected = self.expected();
        let lost = self.lost();
        let expected_interval = expected - self.expected_before;
        let received_interval = self.received - self.received_before;
        let lost_interval = expected_interval.saturating_sub(received_interval);
        let fraction = (lost_interval * 256).checked_div(expected_interval);
        self.expected_before = expected;
        self.received_before = self.received;
        let (last_sr, delay) = match self.last_sr {
            Some((middle, at)) => {
                let delay = now.saturating_duration_since(at).as_micros() * 65_536 / 1_000_000;
                (middle, u32::try_from(delay).unwrap_or(u32::MAX))
            }
            None => (0, 0),
        };
        ReportBlock {
            ssrc: self.ssrc,
            fraction_lost: fraction.map_or(0, |fraction| fraction.min(255) as u8),
            cumulative_lost: i32::try_from(lost).unwrap_or(i32::MAX),
            extended_highest_sequence: highest as u32,
            jitter: self.jitter >> 4,
            last_sr,
            delay_since_last_sr: delay,
        }
    }

    fn expected(&self) -> u64 {
        match (self.unwrapper.highest(), self.first) {
            (Some(highest), Some(first)) => (highest + 1).saturating_sub(first),
            _ => 0,
        }
    }

    fn lost(&self) -> i64 {
        self.expected().cast_signed() - self.received.cast_signed()
    }

    /// The numbers to ask for, at most so many.
    pub(super) fn take_nacks(&mut self, now: Instant, rtt: Duration, max: usize) -> Vec<SeqNo16> {
        if self.tail_at.is_some_and(|at| at <= now) {
            self.tail_at = None;
            self.nacks.expect_next(now);
        }
        self.nacks.take_due(now, rtt, max)
    }

    /// Learns from FEC that there are packets up to that number.
    pub(super) fn expect_through(&mut self, now: Instant, number: u64) {
        if self.codec.nack {
            self.nacks.expect_through(now, number);
        }
    }

    /// Asks for a key frame when it is next allowed.
    pub(super) fn want_key_frame(&mut self) {
        self.key_frame_wanted = true;
    }

    /// Whether to ask for a key frame; asks no more often than allowed.
    pub(super) fn take_key_frame_request(&mut self, now: Instant) -> bool {
        if self.key_frame_at().is_none_or(|at| at > now) {
            return false;
        }
        self.key_frame_wanted = false;
        self.key_frame_asked_at = Some(now);
        true
    }

    fn key_frame_at(&self) -> Option<Instant> {
        // While no key frame has come, the wish stands, also after a request was lost.
        let starved = self.delivery == Delivery::Frames && self.assembler.needs_key();
        if !(starved || self.key_frame_wanted) || !(self.codec.pli || self.codec.fir) {
            return None;
        }
        let retry = self.rtt * 2 + KEY_FRAME_MAKING;
        let retry = retry.clamp(KEY_FRAME_RETRY_MIN, KEY_FRAME_RETRY_MAX);
        Some(match self.key_frame_asked_at {
            Some(asked_at) => asked_at + retry,
            None if self.key_frame_wanted => self.epoch,
            // The first packet of the stream may be the second to arrive.
            None => self.epoch + nack::REORDER_WAIT,
        })
    }

    pub(super) fn codec(&self) -> Codec {
        self.codec
    }

    /// When feedback is next due.
    pub(super) fn feedback_at(&self) -> Option<Instant> {
        let dates = [self.nacks.due_at(), self.tail_at, self.key_frame_at()];
        dates.into_iter().flatten().min()
    }

    /// When a frame may be given up.
    pub(super) fn frame_deadline(&self) -> Option<Instant> {
        self.assembler.deadline()
    }

    /// Statistics as of `now`.
    pub(super) fn stats(&self, now: Instant) -> InboundStats {
        let mut stats = self.stats.clone();
        stats.packets_lost = self.lost();
        stats.fec_packets_discarded += self.recovery.discarded;
        stats.jitter = ticks(self.jitter >> 4, self.codec.clock_rate);
        if self.codec.format.is_video() {
            stats.frames_per_second = Some(
                self.cadence
                    .frames_per_second(now.saturating_duration_since(self.epoch)),
            );
            stats.freeze_count = self.cadence.freeze_count();
            stats.total_freezes_duration = self.cadence.total_freezes_duration();
            stats.pause_count = self.cadence.pause_count();
            stats.total_pauses_duration = self.cadence.total_pauses_duration();
            stats.total_inter_frame_delay = self.cadence.total_inter_frame_delay();
            let squared = self.cadence.total_squared_inter_frame_delay();
            stats.total_squared_inter_frame_delay = squared;
        }
        let since = |at: Instant| now.saturating_duration_since(at);
        let last = self
            .last_frame
            .map(|(captured_at, at)| captured_at.saturating_add(since(at)));
        stats.estimated_playout_timestamp = last;
        if let Some(playout) = stats.playout {
            stats.packets_discarded += playout.packets_discarded;
            stats.jitter_buffer_target_delay = playout.jitter_buffer_target_delay;
            stats.jitter_buffer_minimum_delay = playout.jitter_buffer_minimum_delay;
            stats.jitter_buffer_emitted_count = playout.jitter_buffer_emitted_count;
            // Pictures wait to be whole here, and then there.
            let before = match self.codec.format.is_video() {
                true => stats.jitter_buffer_delay,
                false => Duration::ZERO,
            };
            stats.jitter_buffer_delay = before + playout.jitter_buffer_delay;
        }
        stats
    }
}
