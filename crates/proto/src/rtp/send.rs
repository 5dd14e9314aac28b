//! One source that we send: packets, their cache, retransmission, sender reports.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use twocan_wire::ids::{Mid, PayloadType, Ssrc};
use twocan_wire::payload::{Chunk, PayloadError, av1, h264, h265, vp8, vp9};
use twocan_wire::rtcp::{ReportBlock, SenderReport};
use twocan_wire::rtp::{ExtensionValues, HeaderFields, abs_send_time};
use twocan_wire::seq::{SeqNo16, SeqNo32};

use super::departure::take_sequence;
use super::fec::Scheme;
use super::loss::ExpectedLoss;
use super::ntp::{ntp_time, round_trip_time, ticks};
use super::numbers::Numbers;
use super::outbox::{Cover, Outbox, Sent, Stored};
use super::protection::{PathQuality, Protection};
use super::redundant::RedSender;
use super::stats::{OutboundStats, RemoteInboundStats};
use super::{Codec, Departure, Format, Media, OutgoingFrame, OutgoingPacket, SendError};
use crate::counters::Counters;
use crate::random::Random;
use crate::time::Now;

/// Largest frame that travels whole, in bytes: RFC 6716 §3.4 lets an Opus frame have 1275, and with
/// its headers that still fits an Ethernet packet.
const WHOLE_LEN_MAX: usize = 1275;

/// Payload bytes that may wait to be sent. A key frame of a 4K screen has about 1 MiB; a frame
/// that would exceed this is refused with [`SendError::QueueFull`].
const QUEUE_LEN_MAX: usize = 2 * 1024 * 1024;

/// Retransmissions that may wait; more requests are ignored, they will be repeated.
const RESEND_MAX: usize = 512;

/// Retransmission may use a fifth of the rate, and this much at once: a storm of requests must
/// not starve the stream. 64 KiB is one lost key frame of a small picture.
const BUDGET_MAX: usize = 64 * 1024;
const BUDGET_DIVISOR: usize = 5;

/// Bytes of padding in a packet of padding alone: the count has eight bits, and a
/// multiple of 16 needs none of its own in a block cipher.
const PADDING_LEN: u8 = 224;

/// In the first byte of a header (RFC 3550 §5.1).
const PADDING_BIT: u8 = 0x20;

/// The same packet is not sent again within this time: several requests for one loss overlap.
const RESEND_INTERVAL: Duration = Duration::from_millis(10);

#[derive(Debug)]
pub(super) struct SendStream {
    pub(super) mid: Mid,
    pub(super) ssrc: Ssrc,
    rtx_ssrc: Ssrc,
    first_sequence: SeqNo16,
    numbers: Numbers,
    rtx_sequence: SeqNo16,
    picture_id: u16,
    outbox: Outbox,
    resend: VecDeque<SeqNo16>,
    pub(super) protection: Protection,
    pub(super) loss: ExpectedLoss,
    red: RedSender,
    budget: usize,
    /// The newest frame's timestamp, its clock rate, and when it came.
    clock: Option<(u32, u32, Instant)>,
    pub(super) report_at: Option<Instant>,
    octet_count: u32,
    packet_count: u32,
    fir_sequence: Option<u8>,
    pub(super) stats: OutboundStats,
}

impl SendStream {
    pub(super) fn new(media: &Media, random: &mut Random) -> Self {
        // RFC 3550 §5.1 wants a random start; below 2^15, so that an early loss of the first
        // packets cannot look like a wrap to SRTP (RFC 3711 §3.3.1).
        let mut sequence = || SeqNo16((random.u32() & 0x7fff) as u16);
        let first_sequence = sequence();
        Self {
            mid: media.mid.clone(),
            ssrc: media.ssrc,
            rtx_ssrc: media.rtx_ssrc,
            first_sequence,
            numbers: Numbers::new(),
            rtx_sequence: sequence(),
            picture_id: sequence().0,
            outbox: Outbox::default(),
            resend: VecDeque::new(),
            protection: Protection::new(first_sequence),
            loss: ExpectedLoss::default(),
            red: RedSender::default(),
            budget: BUDGET_MAX,
            clock: None,
            report_at: None,
            octet_count: 0,
            packet_count: 0,
            fir_sequence: None,
            stats: OutboundStats {
                mid: media.mid.clone(),
                ssrc: media.ssrc,
                packets_sent: 0,
                bytes_sent: 0,
                header_bytes_sent: 0,
                retransmitted_packets_sent: 0,
                retransmitted_bytes_sent: 0,
                fec_packets_sent: 0,
                fec_bytes_sent: 0,
                frames_sent: 0,
                nack_count: 0,
                pli_count: 0,
                fir_count: 0,
                remote: None,
            },
        }
    }

    /// Splits a frame into packets that wait for [`Self::poll_packet`].
    pub(super) fn push_frame(
        &mut self,
        now: Instant,
        media: &Media,
        frame: &OutgoingFrame<'_>,
        rtt: Duration,
    ) -> Result<(), SendError> {
        let codec = self.admit(media, frame.payload_type, frame.data.len())?;
        let loss = self.loss.get().unwrap_or(0.0);
        let scheme = Protection::scheme(media, &codec, self.ssrc, loss);
        let len_max = Protection::payload_len_max(scheme);
        let before = self.outbox.waiting_count();
        match codec.format {
            Format::Whole => {
                if frame.data.is_empty() {
                    return Err(SendError::BadFrame(PayloadError::Empty));
                }
                if frame.data.len() > WHOLE_LEN_MAX {
                    return Err(SendError::BadFrame(PayloadError::TooLong));
                }
                self.push_whole(media, frame, loss);
            }
            Format::Vp8 => {
                let id = self.picture_id;
                self.push_chunks(frame, vp8::packetize(frame.data, id, len_max)?);
                self.picture_id = id.wrapping_add(1) & 0x7fff;
            }
            Format::Vp9 => {
                let id = self.picture_id;
                self.push_chunks(frame, vp9::packetize(frame.data, id, len_max)?);
                self.picture_id = id.wrapping_add(1) & 0x7fff;
            }
            Format::Av1 => self.push_chunks(frame, av1::packetize(frame.data, len_max)?),
            Format::H264(mode) => {
                self.push_chunks(frame, h264::packetize(frame.data, mode, len_max)?);
            }
            Format::H265 => self.push_chunks(frame, h265::packetize(frame.data, len_max)?),
        }
        let added = self.outbox.waiting_count() - before;
        let path = PathQuality { loss, rtt };
        let protection = &mut self.protection;
        let count = protection.take_frame(&mut self.outbox, added, &codec, scheme, path);
        if let Some(scheme) = scheme {
            self.push_parity(frame, scheme, count);
        }
        self.outbox.mark_queued(now);
        self.clock = Some((frame.timestamp, codec.clock_rate, now));
        self.stats.frames_sent += 1;
        Ok(())
    }

    /// Takes a packet of the application's making, which waits for [`Self::poll_packet`].
    pub(super) fn push_packet(
        &mut self,
        now: Instant,
        media: &Media,
        packet: &OutgoingPacket<'_>,
    ) -> Result<(), SendError> {
        let codec = self.admit(media, packet.payload_type, packet.payload.len())?;
        if packet.payload.is_empty() {
            return Err(SendError::BadFrame(PayloadError::Empty));
        }
        if packet.payload.len() > WHOLE_LEN_MAX {
            return Err(SendError::BadFrame(PayloadError::TooLong));
        }
        let number = match packet.sequence_number {
            Some(chosen) => self.numbers.take_chosen(chosen),
            None => Some(self.numbers.take_next(self.first_sequence)),
        };
        let number = number.ok_or(SendError::SequenceNumberUsed)?;
        let mut payload = self.outbox.buffer();
        payload.extend_from_slice(packet.payload);
        self.outbox.push(Stored {
            number,
            timestamp: packet.timestamp,
            marker: packet.marker,
            payload_type: packet.payload_type,
            audio_level: packet.audio_level,
            payload,
            cover: Cover::None,
        });
        self.outbox.mark_queued(now);
        let newest = self.clock.map(|(timestamp, _, _)| SeqNo32(timestamp));
        if newest.is_none_or(|newest| SeqNo32(packet.timestamp).is_after(newest)) {
            self.clock = Some((packet.timestamp, codec.clock_rate, now));
            self.stats.frames_sent += 1;
        }
        Ok(())
    }

    /// The codec of a payload type, if there is room for `len` bytes.
    fn admit(
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

    /// The payloads of a frame of video; the last has the marker.
    fn push_chunks<'a>(
        &mut self,
        frame: &OutgoingFrame<'_>,
        chunks: impl IntoIterator<Item = Chunk<'a>>,
    ) {
        let mut chunks = chunks.into_iter().peekable();
        while let Some(chunk) = chunks.next() {
            let payload = self.outbox.buffer();
            let is_last = chunks.peek().is_none();
            self.push(frame, is_last, payload, |out| chunk.write(out));
        }
    }

    /// A frame of sound, with those before it where both sides want that and the loss asks for it.
    fn push_whole(&mut self, media: &Media, frame: &OutgoingFrame<'_>, loss: f64) {
        let mut payload = self.outbox.buffer();
        let red = media.repair.red.filter(|_| media.repair.red_preferred);
        let newest = (frame.payload_type, frame.timestamp, frame.data);
        let repeated = red.and_then(|_| self.red.write(loss, newest, &mut payload));
        let (Some(red), Some(repeated)) = (red, repeated) else {
            return self.push(frame, frame.marker, payload, |out| {
                out.extend_from_slice(frame.data);
            });
        };
        self.stats.fec_bytes_sent += repeated as u64;
        let frame = OutgoingFrame {
            payload_type: red.send,
            ..*frame
        };
        self.push(&frame, frame.marker, payload, |_| {});
    }

    /// Places for the FEC packets of the group that ends here.
    fn push_parity(&mut self, frame: &OutgoingFrame<'_>, scheme: Scheme, count: usize) {
        let last = self.outbox.newest().next().map_or(0, |own| own.number);
        for index in 0..count {
            let number = match scheme {
                Scheme::Ulpfec { .. } => self.numbers.take_next(self.first_sequence),
                // Its own is given when it leaves.
                Scheme::Flexfec { .. } => last,
            };
            let count = (index == 0).then_some(count);
            self.outbox.push(Stored {
                number,
                timestamp: frame.timestamp,
                marker: false,
                payload_type: frame.payload_type,
                audio_level: None,
                payload: Vec::new(),
                cover: Cover::Parity { scheme, count },
            });
        }
    }

    fn push(
        &mut self,
        frame: &OutgoingFrame<'_>,
        marker: bool,
        mut payload: Vec<u8>,
        write: impl FnOnce(&mut Vec<u8>),
    ) {
        write(&mut payload);
        self.outbox.push(Stored {
            number: self.numbers.take_next(self.first_sequence),
            timestamp: frame.timestamp,
            marker,
            payload_type: frame.payload_type,
            audio_level: frame.audio_level,
            payload,
            cover: Cover::None,
        });
    }

    /// Appends the next retransmission to `out`, if one can be made.
    pub(super) fn poll_retransmission(
        &mut self,
        now: Now,
        media: &Media,
        transport_sequence: &mut SeqNo16,
        out: &mut Vec<u8>,
    ) -> Option<Departure> {
        while let Some(sequence) = self.resend.pop_front() {
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
        let packet = loop {
            let packet = self.outbox.pop()?;
            let Cover::Parity { scheme, count } = packet.cover else {
                break packet;
            };
            if let Some(payload) = self.protection.make(scheme, count) {
                let fec = (scheme, payload.as_slice());
                return Some(self.write_parity(now, media, &packet, fec, transport_sequence, out));
            }
        };
        let sent = self.sent_now(now, media, transport_sequence);
        let start = out.len();
        let header = packet.header(self.ssrc);
        header.write(out, &media.extensions_send, &packet.values(&self.mid, sent));
        let header_len = out.len() - start;
        let len = packet.payload.len() + packet.write_payload(out);
        if let Some(written) = out.get(start..) {
            self.protection.handle_sent(&packet, written, header_len);
        }
        self.outbox.keep(packet, sent);
        self.budget = (self.budget + len / BUDGET_DIVISOR).min(BUDGET_MAX);
        self.packet_count = self.packet_count.wrapping_add(1);
        self.octet_count = self.octet_count.wrapping_add(len as u32);
        self.count_sent(header_len, len);
        if self.report_at.is_none() {
            // RFC 3550 §6.2 delays the first report; receivers need it to align sound and picture.
            self.report_at = Some(now.monotonic);
        }
        Some(Departure::new(&header, media, sent))
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
        let sent = self.sent_now(now, media, transport_sequence);
        let mut header = packet.header(self.ssrc);
        match scheme {
            Scheme::Ulpfec { red, .. } => {
                header.payload_type = red;
                self.packet_count = self.packet_count.wrapping_add(1);
                self.octet_count = self.octet_count.wrapping_add(payload.len() as u32);
            }
            Scheme::Flexfec { ssrc, fec } => {
                header.payload_type = fec;
                header.ssrc = ssrc;
                header.sequence_number = self.protection.sequence;
                self.protection.sequence = header.sequence_number.next();
            }
        }
        let start = out.len();
        header.write(out, &media.extensions_send, &packet.values(&self.mid, sent));
        let header_len = out.len() - start;
        out.extend_from_slice(payload);
        self.stats.fec_packets_sent += 1;
        self.stats.fec_bytes_sent += payload.len() as u64;
        self.count_sent(header_len, payload.len());
        Departure::new(&header, media, sent)
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
        let sent = self.sent_now(now, media, transport_sequence);
        let values = ExtensionValues {
            mid: Some(self.mid.as_str().as_bytes()),
            abs_send_time: Some(sent.abs_send_time),
            transport_sequence: Some(sent.transport_sequence),
            ..ExtensionValues::default()
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
        Some(Departure::new(&header, media, sent))
    }

    fn sent_now(&self, now: Now, media: &Media, transport_sequence: &mut SeqNo16) -> Sent {
        Sent {
            abs_send_time: abs_send_time(now.wallclock),
            transport_sequence: take_sequence(media, transport_sequence),
            again_at: None,
        }
    }

    /// Whether a new packet waits.
    pub(super) fn has_packet(&self) -> bool {
        self.outbox.has_waiting()
    }

    /// Whether a retransmission waits.
    pub(super) fn has_retransmission(&self) -> bool {
        !self.resend.is_empty()
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
                let sent = Sent {
                    abs_send_time: abs_send_time(now.wallclock),
                    transport_sequence: take_sequence(media, transport_sequence),
                    again_at: None,
                };
                let values = packet.values(&self.mid, sent);
                header.write(out, &media.extensions_send, &values);
                out.extend(packet.sequence().0.to_be_bytes());
                Departure::new(&header, media, sent)
            }
            None => {
                let values = packet.values(&self.mid, sent);
                header.write(out, &media.extensions_send, &values);
                Departure {
                    is_repeated: true,
                    ..Departure::new(&header, media, sent)
                }
            }
        };
        let header_len = out.len() - start;
        // RTX repeats the packet that was in RED, by its own payload type.
        let len = packet.payload.len();
        match codec.and_then(|codec| codec.rtx_send) {
            Some(_) => out.extend_from_slice(&packet.payload),
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

    /// Queues what the remote side misses and the cache still has.
    pub(super) fn handle_nack(
        &mut self,
        now: Instant,
        missing: impl Iterator<Item = SeqNo16>,
        counters: &mut Counters,
    ) {
        self.stats.nack_count += 1;
        for sequence in missing {
            let Some((_, sent)) = self.outbox.find(sequence) else {
                counters.count("rtp.nack_not_cached");
                continue;
            };
            if sent.again_at.is_some_and(|at| at > now) || self.resend.len() >= RESEND_MAX {
                counters.count("rtp.nack_ignored");
                continue;
            }
            sent.again_at = Some(now + RESEND_INTERVAL);
            self.resend.push_back(sequence);
        }
    }

    /// Whether a FIR is new; a repetition keeps its number (RFC 5104 §4.3.1.1).
    pub(super) fn handle_fir(&mut self, sequence: u8) -> bool {
        self.stats.fir_count += 1;
        self.fir_sequence.replace(sequence) != Some(sequence)
    }

    /// What the remote side says of this source; the round-trip time, if it can be told.
    pub(super) fn handle_report(&mut self, now: Now, report: &ReportBlock) -> Option<Duration> {
        let rtt = round_trip_time(now, report);
        self.loss
            .handle_report(f64::from(report.fraction_lost) / 256.0);
        let clock_rate = self.clock.map_or(90_000, |(_, rate, _)| rate);
        let before = self.stats.remote.and_then(|own| own.round_trip_time);
        self.stats.remote = Some(RemoteInboundStats {
            packets_lost: report.cumulative_lost,
            fraction_lost: f64::from(report.fraction_lost) / 256.0,
            jitter: ticks(report.jitter, clock_rate),
            round_trip_time: rtt.or(before),
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
