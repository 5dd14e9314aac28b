//! The packets of one source: those that wait to be sent, and those kept to be sent again.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use twocan_wire::ids::{PayloadType, Ssrc};
use twocan_wire::rtp::{AudioLevel, ExtensionValues, HeaderFields, PlayoutDelay};
use twocan_wire::seq::SeqNo16;

use super::fec::Scheme;
use super::payload::Kept;
use super::picture::PictureProperties;
use super::provenance::ToldProvenance;
use crate::tight;

/// Payload bytes kept for retransmission: two thirds of a second at 2 Mbit/s. The oldest go first.
const CACHE_LEN_MAX: usize = 160 * 1024;

/// Packets kept for retransmission, for streams of small ones.
const CACHE_PACKETS_MAX: usize = 1024;

/// Places for packets that wait, which are kept when none does: for a usual picture.
const WAITING_KEPT: usize = 32;

/// What FEC has to do with a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cover {
    /// Nothing.
    None,
    /// It is protected, as the first of its group or a later one.
    Protected { scheme: Scheme, begins: bool },
    /// It is a FEC packet, which is made when it leaves; the first of its group says how many
    /// follow in all.
    Parity { scheme: Scheme, count: Option<u16> },
}

#[derive(Debug)]
pub(super) struct Stored {
    /// Its sequence number as a count that never wraps.
    pub(super) number: u64,
    pub(super) timestamp: u32,
    pub(super) marker: bool,
    pub(super) payload_type: PayloadType,
    pub(super) audio_level: Option<AudioLevel>,
    pub(super) payload: Kept,
    pub(super) cover: Cover,
    /// What most packets have nothing of: a server keeps very many of them.
    pub(super) told: Option<Box<ToldOnce>>,
}

/// Extensions that not every packet has.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct ToldOnce {
    pub(super) playout_delay: Option<PlayoutDelay>,
    pub(super) picture: Option<Box<PictureProperties>>,
    /// Empty for none.
    pub(super) dependency_descriptor: Vec<u8>,
    /// Empty for none.
    pub(super) layers_allocation: Vec<u8>,
    pub(super) provenance: Option<Box<ToldProvenance>>,
    /// Of when it left for the first time, where offsets were agreed on.
    pub(super) transmission_offset: Option<i32>,
}

impl ToldOnce {
    /// Where it says something.
    pub(super) fn boxed(self) -> Option<Box<Self>> {
        (self != Self::default()).then(|| Box::new(self))
    }
}

/// How a packet left. Sent again without RTX it must be the same in every byte: the same key and
/// number must never protect two different packets (RFC 3711 §9.1, RFC 7714 §8.4).
#[derive(Debug, Clone, Copy)]
pub(super) struct Sent {
    pub(super) abs_send_time: u32,
    pub(super) transport_sequence: SeqNo16,
    /// Whether it says where it belongs.
    pub(super) is_named: bool,
}

#[derive(Debug, Default)]
pub(super) struct Outbox {
    waiting: VecDeque<Stored>,
    waiting_len: usize,
    /// When what waits was queued: the number of the last packet of each lot.
    queued: VecDeque<(u64, Instant)>,
    /// In order of their numbers, in which there may be gaps.
    cached: VecDeque<(Stored, Sent)>,
    cached_len: usize,
    /// Until when a kept packet that was asked for is not sent again.
    asked: BTreeMap<u64, Instant>,
}

impl Outbox {
    /// Adds a packet behind those that wait.
    pub(super) fn push(&mut self, packet: Stored) {
        self.waiting_len += packet.payload.len();
        tight::push_back(&mut self.waiting, packet);
    }

    /// The packets that wait, from the newest back.
    pub(super) fn newest(&mut self) -> impl Iterator<Item = &mut Stored> {
        self.waiting.iter_mut().rev()
    }

    /// Packets that wait.
    pub(super) fn waiting_count(&self) -> usize {
        self.waiting.len()
    }

    /// Payload bytes that wait.
    pub(super) fn waiting_len(&self) -> usize {
        self.waiting_len
    }

    /// Whether a packet waits.
    pub(super) fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Everything up to here was queued by `now`.
    pub(super) fn mark_queued(&mut self, now: Instant) {
        if let Some(last) = self.waiting.back() {
            self.queued.push_back((last.number, now));
        }
    }

    /// Since when the first packet waits.
    pub(super) fn waiting_since(&self) -> Option<Instant> {
        self.queued.front().map(|(_, at)| *at)
    }

    /// The next packet to send.
    pub(super) fn pop(&mut self) -> Option<Stored> {
        let packet = self.waiting.pop_front()?;
        self.waiting_len -= packet.payload.len();
        if self
            .queued
            .front()
            .is_some_and(|(last, _)| *last == packet.number)
        {
            self.queued.pop_front();
        }
        if self.waiting.is_empty() && self.waiting.capacity() > WAITING_KEPT {
            self.waiting.shrink_to(WAITING_KEPT / 2);
            self.queued.shrink_to(WAITING_KEPT / 2);
        }
        Some(packet)
    }

    /// Keeps a packet that was sent.
    pub(super) fn keep(&mut self, packet: Stored, sent: Sent) {
        self.cached_len += packet.payload.len();
        // Nearly always the newest.
        let newer = self.cached.iter().rev();
        let newer = newer.take_while(|(own, _)| own.number > packet.number);
        let index = self.cached.len() - newer.count();
        tight::reserve_one(&mut self.cached);
        self.cached.insert(index, (packet, sent));
    }

    /// The kept packet of a number, nearest to the newest.
    pub(super) fn find(&self, sequence: SeqNo16) -> Option<&(Stored, Sent)> {
        let (newest, _) = self.cached.back()?;
        let number = sequence.extend(newest.number);
        let index = self
            .cached
            .binary_search_by_key(&number, |(own, _)| own.number);
        self.cached.get(index.ok()?)
    }

    /// Notes that a kept packet was asked for, and is to be sent again no sooner than after `pause`; answers
    /// whether that has passed since it was last.
    pub(super) fn ask(&mut self, number: u64, now: Instant, pause: Duration) -> bool {
        if self.asked.get(&number).is_some_and(|at| *at > now) {
            return false;
        }
        self.asked.insert(number, now + pause);
        true
    }

    /// A buffer for a payload: that of the oldest packet when the cache is full, else a new one.
    pub(super) fn buffer(&mut self) -> Vec<u8> {
        let mut buffer = Vec::new();
        while self.cached_len > CACHE_LEN_MAX || self.cached.len() >= CACHE_PACKETS_MAX {
            let Some((oldest, _)) = self.cached.pop_front() else {
                break;
            };
            self.cached_len -= oldest.payload.len();
            self.asked.remove(&oldest.number);
            buffer = oldest.payload.into_buffer();
        }
        buffer
    }
}

impl Stored {
    /// Its sequence number.
    pub(super) fn sequence(&self) -> SeqNo16 {
        SeqNo16((self.number & 0xffff) as u16)
    }

    /// The payload type of RED that it travels in.
    pub(super) fn red(&self) -> Option<PayloadType> {
        match self.cover {
            Cover::Protected {
                scheme: Scheme::Ulpfec { red, .. },
                ..
            } => Some(red),
            Cover::None | Cover::Protected { .. } | Cover::Parity { .. } => None,
        }
    }

    /// Appends the payload as it travels; answers how many bytes RED takes of it.
    pub(super) fn write_payload(&self, out: &mut Vec<u8>) -> usize {
        // RFC 2198 §3: the header of the only block is its payload type.
        let red = self.red().map(|_| self.payload_type.0 & 0x7f);
        out.extend(red);
        self.payload.write(out);
        red.iter().len()
    }

    pub(super) fn header(&self, ssrc: Ssrc) -> HeaderFields {
        HeaderFields {
            marker: self.marker,
            payload_type: self.red().unwrap_or(self.payload_type),
            sequence_number: self.sequence(),
            timestamp: self.timestamp,
            ssrc,
        }
    }

    /// The sources of which it was mixed.
    pub(super) fn csrcs(&self) -> &[Ssrc] {
        let told = self.told.as_deref();
        let provenance = told.and_then(|own| own.provenance.as_deref());
        provenance.map_or(&[], |own| &own.csrcs)
    }

    /// The extensions, those of its name added.
    pub(super) fn values<'a>(
        &'a self,
        name: ExtensionValues<'a>,
        sent: Sent,
    ) -> ExtensionValues<'a> {
        let told = self.told.as_deref();
        let picture = told.and_then(|own| own.picture.as_deref());
        let provenance = told.and_then(|own| own.provenance.as_deref());
        ExtensionValues {
            abs_send_time: Some(sent.abs_send_time),
            transport_sequence: Some(sent.transport_sequence),
            audio_level: self.audio_level,
            playout_delay: told.and_then(|own| own.playout_delay),
            video_orientation: picture.and_then(|own| own.video_orientation),
            video_content_type: picture.and_then(|own| own.video_content_type),
            color_space: picture.and_then(|own| own.color_space),
            csrc_audio_levels: provenance.and_then(|own| filled(&own.levels)),
            abs_capture_time: provenance.and_then(|own| own.abs_capture_time),
            video_timing: provenance.and_then(|own| own.video_timing),
            transmission_offset: told.and_then(|own| own.transmission_offset),
            dependency_descriptor: told.and_then(|own| filled(&own.dependency_descriptor)),
            video_layers_allocation: told.and_then(|own| filled(&own.layers_allocation)),
            ..name
        }
    }
}

fn filled(value: &[u8]) -> Option<&[u8]> {
    (!value.is_empty()).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_of_a_packet_is_small() {
        // A server keeps some 150 of them for each viewer of a picture.
        assert!(size_of::<(Stored, Sent)>() <= 80);
    }
}
