//! One source that we send: packets, their cache, retransmission, sender reports.

use std::time::{Duration, Instant};

use twocan_wire::ids::{Mid, PayloadType, Rid, Ssrc};
use twocan_wire::rtcp::{ReportBlock, SenderReport};
use twocan_wire::rtp::{ExtensionValues, HeaderFields, abs_send_time};
use twocan_wire::seq::SeqNo16;

use super::departure::take_sequence;
use super::fec::Scheme;
use super::layers::Layers;
use super::loss::ExpectedLoss;
use super::name::{Name, Role};
use super::ntp::{ntp_time, round_trip_time, ticks};
use super::numbers::{Numbers, start};
use super::outbox::{Cover, Outbox, Sent, Stored};
use super::picture::StatedProperties;
use super::protection::Protection;
use super::provenance::{StatedTimes, transmission_offset};
use super::redundant::RedSender;
use super::resend::Resend;
use super::stated_delay::StatedDelay;
use super::stats::{OutboundStats, RemoteInboundStats};
use super::{Codec, Departure, Encoding, Media, SendError};
use crate::contract::Dscp;
use crate::counters::Counters;
use crate::random::Random;
use crate::time::Now;

/// Largest frame that travels whole, in bytes: RFC 6716 §3.4 lets an Opus frame have 1275, and with
/// its headers that still fits an Ethernet packet.
pub(super) const WHOLE_LEN_MAX: usize = 1275;

/// Payload bytes that may wait to be sent. A key frame of a 4K screen has about 1 MiB; a frame
/// that would exceed this is refused with [`SendError::QueueFull`].
const QUEUE_LEN_MAX: usize = 2 * 1024 * 1024;

/// Retransmission may use a third of the rate, and this much at once: a storm of requests must
/// not starve the stream. 64 KiB is one lost key frame of a small picture.
const BUDGET_MAX: usize = 64 * 1024;
const BUDGET_DIVISOR: usize = 3;

/// Where new packets wait longer than this, nothing is sent twice: there is no rate for it.
const LATE: Duration = Duration::from_millis(100);

/// Bytes of padding in a packet of padding alone: the count has eight bits, and a
/// multiple of 16 needs none of its own in a block cipher.
const PADDING_LEN: u8 = 224;

/// In the first byte of a header (RFC 3550 §5.1).
const PADDING_BIT: u8 = 0x20;

/// The same packet is not sent again within this time: several requests for one loss overlap.
const RESEND_INTERVAL: Duration = Duration::from_millis(10);

#[derive(Debug)]
pub(super) struct SendStream {
    pub(super) name: Name,
    /// Which codepoint its packets leave with.
    pub(super) dscp: Dscp,
    pub(super) stated_delay: StatedDelay,
    pub(super) stated_properties: StatedProperties,
    pub(super) stated_times: StatedTimes,
    pub(super) ssrc: Ssrc,
    pub(super) rtx_ssrc: Ssrc,
    pub(super) first_sequence: SeqNo16,
    pub(super) numbers: Numbers,
    /// Whether the application states numbers of its own.
    pub(super) chooses_numbers: bool,
    rtx_sequence: SeqNo16,
    pub(super) picture_id: u16,
    pub(super) layers: Layers,
    pub(super) outbox: Outbox,
    resend: Resend,
    pub(super) protection: Protection,
    pub(super) loss: ExpectedLoss,
    pub(super) red: RedSender,
    budget: usize,
    /// The newest frame's timestamp, its clock rate, and when it came.
    pub(super) clock: Option<(u32, u32, Instant)>,
    pub(super) report_at: Option<Instant>,
    octet_count: u32,
    packet_count: u32,
    fir_sequence: Option<u8>,
    /// Of the newest key frame that came as packets.
    pub(super) key_timestamp: Option<u32>,
    pub(super) stats: OutboundStats,
}

impl SendStream {
    pub(super) fn new(mid: &Mid, encoding: &Encoding, random: &mut Random) -> Self {
        // RFC 3550 §5.1 wants a random start; below 2^15, so that an early loss of the first
        // packets cannot look like a wrap to SRTP (RFC 3711 §3.3.1).
        let mut sequence = || SeqNo16((random.u32() & 0x7fff) as u16);
        let first_sequence = sequence();
        Self {
            name: Name::new(mid.clone(), encoding.rid.clone(), 0),
            dscp: Dscp::DEFAULT,
            stated_delay: StatedDelay::default(),
            stated_properties: StatedProperties::default(),
            stated_times: StatedTimes::default(),
            ssrc: encoding.ssrc,
            rtx_ssrc: encoding.rtx_ssrc,
            first_sequence,
            numbers: Numbers::new(),
            chooses_numbers: false,
            rtx_sequence: sequence(),
            picture_id: sequence().0,
            layers: Layers::default(),
            outbox: Outbox::default(),
            resend: Resend::default(),
            protection: Protection::new(first_sequence),
            loss: ExpectedLoss::default(),
            red: RedSender::default(),
            budget: BUDGET_MAX,
            clock: None,
            report_at: None,
            octet_count: 0,
            packet_count: 0,
            fir_sequence: None,
            key_timestamp: None,
            stats: OutboundStats::new(mid.clone(), encoding.rid.clone(), encoding.ssrc),
        }
    }

    /// Lets go of what waits and what is kept; answers whether it has sent anything, so that its numbers
    /// are to be remembered.
    pub(super) fn rest(&mut self) -> bool {
        self.outbox = Outbox::default();
        self.resend = Resend::default();
        self.protection.abandon();
        self.stats.packets_sent > 0
    }

    /// Goes on after a rest, with the next number.
    pub(super) fn resume(&mut self, mid: &Mid, rid: Option<Rid>) {
        self.name.mid = mid.clone();
        self.stats.mid = mid.clone();
        self.rename(rid);
    }

    /// Takes a new agreement: packets say once more where they belong.
    pub(super) fn rename(&mut self, rid: Option<Rid>) {
        self.stats.rid.clone_from(&rid);
        let next = self.numbers.next(self.first_sequence);
        self.name = Name::new(self.name.mid.clone(), rid, next);
        self.stated_delay.say_again();
    }

    /// The codec of a payload type, if there is room for `len` bytes.
    pub(super) fn admit(
        &self,
        media: &Media,
        payload_type: PayloadType,
        len: usize,
    ) -> Result<Codec, SendError> {
        let mut codecs = media.codecs.iter();
        let codec = codecs
            .find(|codec| codec.payload_type_send == payload_type)
            .ok_or(SendError::UnknownCodec)?;
        if self.outbox.waiting_len() + len > QUEUE_LEN_MAX {
            return Err(SendError::QueueFull);
        }
        Ok(*codec)
    }

    /// Appends the next retransmission to `out`, if one can be made.
    pub(super) fn poll_retransmission(
        &mut self,
        now: Now,
        media: &Media,
        transport_sequence: &mut SeqNo16,
        out: &mut Vec<u8>,
    ) -> Option<Departure> {
        while let Some(sequence) = self.resend.pop() {
            let departure = self.write_again(now, media, sequence, transport_sequence, out);
            if departure.is_some() {
                return departure;
            }
        }
        None
    }

    /// Appends the next new packet to `out`.
    pub(super) fn poll_packet(
        &mut self,
        now: Now,
        media: &Media,
        transport_sequence: &mut SeqNo16,
        out: &mut Vec<u8>,
    ) -> Option<Departure> {
        let mut packet = loop {
            let since = self.outbox.waiting_since();
            let mut packet = self.outbox.pop()?;
            let waited = since.map(|at| now.monotonic.saturating_duration_since(at));
            let waited = waited.unwrap_or_default();
            self.stats.total_packet_send_delay += waited;
            let told = packet.told.as_deref_mut();
            if let Some(provenance) = told.and_then(|own| own.provenance.as_deref_mut()) {
                provenance.handle_left(waited);
            }
            let Cover::Parity { scheme, count } = packet.cover else {
                break packet;
            };
            if let Some(payload) = self.protection.make(scheme, count.map(usize::from)) {
                let fec = (scheme, payload.as_slice());
                return Some(self.write_parity(now, media, &packet, fec, transport_sequence, out));
            }
        };
        let sent = self.sent_now(now, media, transport_sequence, Role::Media);
        if let Some(offset) = self.offset(now, media, packet.timestamp) {
            packet.told.get_or_insert_default().transmission_offset = Some(offset);
        }
        let start = out.len();
        let header = packet.header(self.ssrc);
        let values = packet.values(self.name.values(sent.is_named, Role::Media), sent);
        header.write_mixed(out, packet.csrcs(), &media.extensions_send, &values);
        let header_len = out.len() - start;
        let len = packet.payload.len() + packet.write_payload(out);
        if let Some(written) = out.get(start..) {
            self.protection.handle_sent(&packet, written, header_len);
        }
        self.handle_left(now.monotonic, packet.marker);
        self.outbox.keep(packet, sent);
        self.budget = (self.budget + len / BUDGET_DIVISOR).min(BUDGET_MAX);
        self.packet_count = self.packet_count.wrapping_add(1);
        self.octet_count = self.octet_count.wrapping_add(len as u32);
        self.count_sent(header_len, len);
        if self.report_at.is_none() {
            // RFC 3550 §6.2 delays the first report; receivers need it to align sound and picture.
            self.report_at = Some(now.monotonic);
        }
        Some(self.departure(&header, media, sent))
    }

    /// Appends a FEC packet; it is not kept, what it repairs can be had by retransmission.
    fn write_parity(
        &mut self,
        now: Now,
        media: &Media,
        packet: &Stored,
        (scheme, payload): (Scheme, &[u8]),
        transport_sequence: &mut SeqNo16,
        out: &mut Vec<u8>,
    ) -> Departure {
        let mut sent = self.sent_now(now, media, transport_sequence, Role::Media);
        let mut header = packet.header(self.ssrc);
        match scheme {
            Scheme::Ulpfec { red, .. } => {
                header.payload_type = red;
                self.packet_count = self.packet_count.wrapping_add(1);
                self.octet_count = self.octet_count.wrapping_add(payload.len() as u32);
            }
            Scheme::Flexfec { ssrc, fec } => {
                // Nobody reports on this source, so that it says each time where it belongs.
                sent.is_named = true;
                header.payload_type = fec;
                header.ssrc = ssrc;
                header.sequence_number = self.protection.sequence;
                self.protection.sequence = header.sequence_number.next();
            }
        }
        let start = out.len();
        let values = ExtensionValues {
            transmission_offset: self.offset(now, media, packet.timestamp),
            ..packet.values(self.name.values(sent.is_named, Role::Media), sent)
        };
        header.write_mixed(out, packet.csrcs(), &media.extensions_send, &values);
        let header_len = out.len() - start;
        out.extend_from_slice(payload);
        self.stats.fec_packets_sent += 1;
        self.stats.fec_bytes_sent += payload.len() as u64;
        self.handle_left(now.monotonic, false);
        self.count_sent(header_len, payload.len());
        self.departure(&header, media, sent)
    }

    /// Appends a packet of padding alone, on the source of retransmissions (RFC 4588 §4 leaves its
    /// numbers free), if the section has one and has sent something.
    pub(super) fn poll_padding(
        &mut self,
        now: Now,
        media: &Media,
        transport_sequence: &mut SeqNo16,
        out: &mut Vec<u8>,
    ) -> Option<Departure> {
        let (timestamp, ..) = self.clock?;
        let codec = media.codecs.iter().find(|codec| codec.rtx_send.is_some())?;
        let header = HeaderFields {
            marker: false,
            payload_type: codec.rtx_send?,
            sequence_number: self.rtx_sequence,
            timestamp,
            ssrc: self.rtx_ssrc,
        };
        self.rtx_sequence = self.rtx_sequence.next();
        let sent = self.sent_now(now, media, transport_sequence, Role::Repair);
        let values = ExtensionValues {
            abs_send_time: Some(sent.abs_send_time),
            transport_sequence: Some(sent.transport_sequence),
            transmission_offset: self.offset(now, media, timestamp),
            ..self.name.values(sent.is_named, Role::Repair)
        };
        let start = out.len();
        header.write(out, &media.extensions_send, &values);
        if let Some(first) = out.get_mut(start) {
            *first |= PADDING_BIT;
        }
        out.resize(out.len() + usize::from(PADDING_LEN) - 1, 0);
        out.push(PADDING_LEN);
        // W3C counts padding with the headers.
        self.count_sent(out.len() - start, 0);
        Some(self.departure(&header, media, sent))
    }

    /// A packet of the stream is on its way.
    fn handle_left(&mut self, now: Instant, ends_frame: bool) {
        let since = self.outbox.waiting_since();
        let is_late = since.is_some_and(|at| now.saturating_duration_since(at) > LATE);
        let has_budget = self.budget > BUDGET_MAX / 2 && !is_late;
        self.resend.handle_sent(now, ends_frame, has_budget);
    }

    /// How long after its capture something leaves now, where that is told.
    fn offset(&self, now: Now, media: &Media, timestamp: u32) -> Option<i32> {
        transmission_offset(now.monotonic, media, timestamp, self.clock)
    }

    fn sent_now(
        &self,
        now: Now,
        media: &Media,
        transport_sequence: &mut SeqNo16,
        role: Role,
    ) -> Sent {
        Sent {
            abs_send_time: abs_send_time(now.wallclock),
            transport_sequence: take_sequence(media, transport_sequence),
            is_named: self.name.is_said(role),
        }
    }

    /// Whether a new packet waits.
    pub(super) fn has_packet(&self) -> bool {
        self.outbox.has_waiting()
    }

    /// Whether a retransmission waits.
    pub(super) fn has_retransmission(&self) -> bool {
        self.resend.is_due()
    }

    /// Whether [`Self::poll_padding`] can answer.
    pub(super) fn can_pad(&self, media: &Media) -> bool {
        self.clock.is_some() && media.codecs.iter().any(|codec| codec.rtx_send.is_some())
    }

    /// Bytes that wait, and since when.
    pub(super) fn waiting(&self) -> (usize, Option<Instant>) {
        (self.outbox.waiting_len(), self.outbox.waiting_since())
    }

    /// Sends a cached packet again: as RTX (RFC 4588 §4), or as it was.
    fn write_again(
        &mut self,
        now: Now,
        media: &Media,
        sequence: SeqNo16,
        transport_sequence: &mut SeqNo16,
        out: &mut Vec<u8>,
    ) -> Option<Departure> {
        let (packet, sent) = self.outbox.find(sequence)?;
        let sent = *sent;
        self.budget = self.budget.checked_sub(packet.payload.len())?;
        let codec = media
            .codecs
            .iter()
            .find(|codec| codec.payload_type_send == packet.payload_type);
        let start = out.len();
        let mut header = packet.header(self.ssrc);
        let departure = match codec.and_then(|codec| codec.rtx_send) {
            Some(rtx) => {
                header.payload_type = rtx;
                header.ssrc = self.rtx_ssrc;
                header.sequence_number = self.rtx_sequence;
                self.rtx_sequence = self.rtx_sequence.next();
                let sent = self.sent_now(now, media, transport_sequence, Role::Repair);
                let name = self.name.values(sent.is_named, Role::Repair);
                let values = ExtensionValues {
                    transmission_offset: self.offset(now, media, packet.timestamp),
                    ..packet.values(name, sent)
                };
                header.write_mixed(out, packet.csrcs(), &media.extensions_send, &values);
                out.extend(packet.sequence().0.to_be_bytes());
                self.departure(&header, media, sent)
            }
            None => {
                let name = self.name.values(sent.is_named, Role::Media);
                let values = packet.values(name, sent);
                header.write_mixed(out, packet.csrcs(), &media.extensions_send, &values);
                Departure {
                    is_repeated: true,
                    ..self.departure(&header, media, sent)
                }
            }
        };
        let header_len = out.len() - start;
        // RTX repeats the packet that was in RED, by its own payload type.
        let len = packet.payload.len();
        match codec.and_then(|codec| codec.rtx_send) {
            Some(_) => packet.payload.write(out),
            None => drop(packet.write_payload(out)),
        }
        self.stats.retransmitted_packets_sent += 1;
        self.stats.retransmitted_bytes_sent += len as u64;
        self.count_sent(header_len, len);
        Some(departure)
    }

    fn count_sent(&mut self, header_len: usize, len: usize) {
        self.stats.packets_sent += 1;
        self.stats.bytes_sent += len as u64;
        self.stats.header_bytes_sent += header_len as u64;
    }

    /// Queues what the remote side misses and the cache still has, each twice where `doubled`, unless it
    /// would be the same packet.
    pub(super) fn handle_nack(
        &mut self,
        now: Instant,
        (media, doubled): (Option<&Media>, bool),
        missing: impl Iterator<Item = SeqNo16>,
        counters: &mut Counters,
    ) {
        self.stats.nack_count += 1;
        for sequence in missing {
            let Some((packet, _)) = self.outbox.find(sequence) else {
                counters.count("rtp.nack_not_cached");
                continue;
            };
            let (number, payload_type) = (packet.number, packet.payload_type);
            if self.resend.is_full() || !self.outbox.ask(number, now, RESEND_INTERVAL) {
                counters.count("rtp.nack_ignored");
                continue;
            }
            // As it was, it is of no use twice: the same bytes are taken for a replay.
            let mut codecs = media.iter().flat_map(|own| &own.codecs);
            let codec = codecs.find(|own| own.payload_type_send == payload_type);
            let has_rtx = codec.is_some_and(|own| own.rtx_send.is_some());
            self.resend.push(now, sequence, doubled && has_rtx);
        }
    }

    /// Whether a FIR is new; a repetition keeps its number (RFC 5104 §4.3.1.1).
    pub(super) fn handle_fir(&mut self, sequence: u8) -> bool {
        self.stats.fir_count += 1;
        self.fir_sequence.replace(sequence) != Some(sequence)
    }

    /// What the remote side says of this source; the round-trip time, if it can be told.
    pub(super) fn handle_report(&mut self, now: Now, report: &ReportBlock) -> Option<Duration> {
        let highest = SeqNo16((report.extended_highest_sequence & 0xffff) as u16);
        let newest = self.numbers.next(self.first_sequence);
        self.name.handle_report(highest, newest);
        self.stated_delay.handle_report(highest, newest);
        let rtt = round_trip_time(now, report);
        self.loss
            .handle_report(f64::from(report.fraction_lost) / 256.0);
        let clock_rate = self.clock.map_or(90_000, |(_, rate, _)| rate);
        let before = self.stats.remote;
        let total = before.map(|own| own.total_round_trip_time);
        let measurements = before.map(|own| own.round_trip_time_measurements);
        let sent = (highest.extend(newest) + 1).saturating_sub(start(self.first_sequence));
        self.stats.remote = Some(RemoteInboundStats {
            packets_received: sent.saturating_add_signed(-i64::from(report.cumulative_lost)),
            packets_lost: report.cumulative_lost,
            fraction_lost: f64::from(report.fraction_lost) / 256.0,
            jitter: ticks(report.jitter, clock_rate),
            round_trip_time: rtt.or(before.and_then(|own| own.round_trip_time)),
            total_round_trip_time: total.unwrap_or_default() + rtt.unwrap_or_default(),
            round_trip_time_measurements: measurements.unwrap_or_default()
                + u64::from(rtt.is_some()),
        });
        rtt
    }

    /// A sender report for `now`, once something was sent.
    pub(super) fn report(&self, now: Now) -> Option<SenderReport> {
        let (timestamp, clock_rate, at) = self.clock?;
        if self.packet_count == 0 {
            return None;
        }
        let since = now.monotonic.saturating_duration_since(at);
        let ticks = since.as_micros() * u128::from(clock_rate) / 1_000_000;
        Some(SenderReport {
            ssrc: self.ssrc,
            ntp_time: ntp_time(now.wallclock),
            rtp_timestamp: timestamp.wrapping_add(ticks as u32),
            packet_count: self.packet_count,
            octet_count: self.octet_count,
            reports: Vec::new(),
        })
    }
}
