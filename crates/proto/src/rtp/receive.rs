//! One source that we receive: order, losses, jitter, frames.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use twocan_wire::ids::{Mid, Rid, Ssrc};
use twocan_wire::rtcp::ReportBlock;
use twocan_wire::seq::{SeqNo16, Unwrapper16};

use super::assemble::{Assembled, Assembler, Inserted, Piece};
use super::nack::NackList;
use super::numbers::Numbers;
use super::send::ticks;
use super::stats::InboundStats;
use super::{Codec, Delivery, Event, Frame, IncomingPacket, Media};

/// Between two requests for a key frame of one source: a sender needs that long to make one, and
/// an SFU must not pass on a storm.
const KEY_FRAME_INTERVAL: Duration = Duration::from_millis(500);

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
    codec: Codec,
    nacks: NackList,
    assembler: Assembler,
    delivery: Delivery,
    delivered: Numbers,
    pub(super) last_sr: Option<(u32, Instant)>,
    pub(super) report_at: Instant,
    pub(super) heard_at: Instant,
    key_frame_wanted: bool,
    key_frame_asked_at: Option<Instant>,
    pub(super) fir_sequence: u8,
    pub(super) stats: InboundStats,
}

/// What a packet says, its address apart.
pub(super) struct Arrival {
    pub(super) sequence_number: SeqNo16,
    pub(super) header_len: usize,
    pub(super) is_retransmission: bool,
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
            codec,
            nacks: NackList::default(),
            assembler: Assembler::new(codec.format.is_video(), codec.nack),
            delivery: media.delivery,
            delivered: Numbers::new(),
            last_sr: None,
            report_at: now,
            heard_at: now,
            key_frame_wanted: false,
            key_frame_asked_at: None,
            fir_sequence: 0,
            stats: InboundStats {
                mid: mid.clone(),
                rid: rid.clone(),
                ssrc,
                packets_received: 0,
                bytes_received: 0,
                header_bytes_received: 0,
                packets_lost: 0,
                packets_discarded: 0,
                retransmitted_packets_received: 0,
                jitter: Duration::ZERO,
                frames_received: 0,
                key_frames_received: 0,
                frames_dropped: 0,
                nack_count: 0,
                pli_count: 0,
                fir_count: 0,
            },
            mid,
            rid,
            ssrc,
        }
    }

    pub(super) fn handle_packet(
        &mut self,
        now: Instant,
        arrival: Arrival,
        arrived: &mut VecDeque<Event>,
    ) {
        self.heard_at = now;
        self.codec = arrival.codec;
        let is_video = arrival.codec.format.is_video();
        self.stats.packets_received += 1;
        self.stats.header_bytes_received += arrival.header_len as u64;
        self.stats.bytes_received += arrival.piece.payload.len() as u64;
        let sequence = if arrival.is_retransmission {
            self.stats.retransmitted_packets_received += 1;
            self.unwrapper.peek(arrival.sequence_number)
        } else {
            self.received += 1;
            self.note_transit(now, arrival.piece.timestamp);
            self.unwrapper.unwrap(arrival.sequence_number)
        };
        self.first.get_or_insert(sequence);
        if arrival.codec.nack && self.nacks.handle_arrival(now, sequence) {
            self.assembler.give_up(is_video);
        }
        if self.delivery == Delivery::Packets {
            return self.deliver(sequence, arrival, arrived);
        }
        if self.assembler.insert(sequence, arrival.piece) == Inserted::Useless {
            self.stats.packets_discarded += 1;
        }
        self.pop_frames(now, arrived);
    }

    /// Hands out a packet that was not handed out before.
    fn deliver(&mut self, number: u64, arrival: Arrival, arrived: &mut VecDeque<Event>) {
        // Nobody waits for what lies a whole window back.
        self.nacks.forget_below(number.saturating_sub(NACK_WINDOW));
        if !self.delivered.take(number) {
            self.stats.packets_discarded += 1;
            return;
        }
        let piece = arrival.piece;
        if piece.payload.is_empty() {
            return;
        }
        arrived.push_back(Event::Packet(IncomingPacket {
            mid: self.mid.clone(),
            rid: self.rid.clone(),
            ssrc: self.ssrc,
            payload_type: piece.payload_type,
            number,
            timestamp: piece.timestamp,
            marker: piece.marker,
            is_retransmission: arrival.is_retransmission,
            received_at: piece.arrived_at,
            audio_level: piece.audio_level,
            payload: piece.payload,
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
        self.key_frame_wanted = false;
    }

    pub(super) fn handle_timeout(&mut self, now: Instant, arrived: &mut VecDeque<Event>) {
        self.pop_frames(now, arrived);
    }

    fn pop_frames(&mut self, now: Instant, arrived: &mut VecDeque<Event>) {
        let mut assembled = VecDeque::new();
        self.assembler.pop(now, &mut assembled);
        for frame in assembled {
            self.stats.frames_received += 1;
            self.stats.key_frames_received += u64::from(frame.key_frame);
            arrived.push_back(Event::Frame(self.address(frame)));
        }
        if let Some(next) = self.assembler.next() {
            self.nacks.forget_below(next);
        }
        self.stats.frames_dropped = self.assembler.dropped + self.assembler.malformed;
    }

    fn address(&self, frame: Assembled) -> Frame {
        Frame {
            mid: self.mid.clone(),
            rid: self.rid.clone(),
            ssrc: self.ssrc,
            payload_type: frame.payload_type,
            timestamp: frame.timestamp,
            key_frame: frame.key_frame,
            marker: frame.marker,
            lost_before: frame.lost_before,
            received_at: frame.received_at,
            audio_level: frame.audio_level,
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

    /// The numbers to ask for.
    pub(super) fn take_nacks(&mut self, now: Instant, rtt: Duration) -> Vec<SeqNo16> {
        self.nacks.take_due(now, rtt)
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
        let wanted = self.key_frame_wanted || starved;
        let asked_at = self.key_frame_asked_at.map(|at| at + KEY_FRAME_INTERVAL);
        (wanted && (self.codec.pli || self.codec.fir)).then(|| asked_at.unwrap_or(self.epoch))
    }

    pub(super) fn codec(&self) -> Codec {
        self.codec
    }

    /// When feedback is next due.
    pub(super) fn feedback_at(&self) -> Option<Instant> {
        let dates = [self.nacks.due_at(), self.key_frame_at()];
        dates.into_iter().flatten().min()
    }

    /// When a frame may be given up.
    pub(super) fn frame_deadline(&self) -> Option<Instant> {
        self.assembler.gap_deadline()
    }

    pub(super) fn stats(&self) -> InboundStats {
        let mut stats = self.stats.clone();
        stats.packets_lost = self.lost();
        stats.jitter = ticks(self.jitter >> 4, self.codec.clock_rate);
        stats
    }
}
