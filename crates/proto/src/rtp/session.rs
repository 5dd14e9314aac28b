//! All streams of one transport.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use twocan_wire::ids::{Mid, Rid, Ssrc};
use twocan_wire::rtcp::Ecn;
use twocan_wire::rtp::{ExtensionKind, ExtensionMap, ExtensionValues, Header, PlayoutDelay};
use twocan_wire::seq::SeqNo16;

use super::allocation::{Allocation, EncodingRate};
use super::demux::{Content, Target};
use super::estimate::EstimateReport;
use super::packet::PacketSender;
use super::playout::PlayoutStats;
use super::receive::{Moment, Origin, ReceiveStream};
use super::remote_clock::RemoteClock;
use super::repaired::Received;
use super::send::SendStream;
use super::stats::{InboundStats, OutboundStats, TransportFeedbackStats};
use super::streams::StreamLogs;
use super::transport::ArrivalLog;
use super::{
    Backlog, Class, Codec, Delivery, Departure, Event, Feedback, Media, OutgoingFrame,
    OutgoingPacket, SendError,
};
use crate::counters::Counters;
use crate::random::Random;
use crate::time::{Deadline, Now};

/// Events that wait for the application, frames included. When one more comes, the oldest is
/// dropped and counted: whoever does not ask for a second of frames has no use for old ones.
const EVENTS_MAX: usize = 1024;

/// Feedback that waits to be taken; the oldest is dropped for one more. A datagram has room for 60.
const FEEDBACK_MAX: usize = 64;

/// The round-trip time taken for granted until one is measured: across a continent.
const RTT_DEFAULT: Duration = Duration::from_millis(100);

/// The RTP streams of one transport.
#[derive(Debug)]
pub struct Session {
    pub(super) random: Random,
    pub(super) media: Vec<Media>,
    /// Each in a place of its own: a node of the tree has room for eleven, and most have one or two.
    pub(super) send: BTreeMap<Ssrc, Box<SendStream>>,
    pub(super) receive: BTreeMap<Ssrc, ReceiveStream>,
    /// Sources of retransmissions, with the source that they repair.
    pub(super) repairs: BTreeMap<Ssrc, Ssrc>,
    pub(super) extensions: ExtensionMap,
    /// What forwarders are told of our layers, by section.
    pub(super) allocations: BTreeMap<Mid, Allocation>,
    transport_sequence: SeqNo16,
    pub(super) arrivals: ArrivalLog,
    pub(super) reports_arrivals: bool,
    /// The same by stream.
    pub(super) streams: StreamLogs,
    pub(super) reports_streams: bool,
    pub(super) estimate: EstimateReport,
    /// Sources of ours that ended and are to be told so.
    pub(super) ended: Vec<Ssrc>,
    /// Streams of ours that ended: SRTP has used their numbers under this key, so that a section that
    /// sends again goes on from there (RFC 3711 §9.1). None of them is forgotten.
    pub(super) resting: BTreeMap<Ssrc, Box<SendStream>>,
    /// Those among them whose section may send again: nobody was told that they ended.
    pub(super) paused: BTreeSet<Ssrc>,
    pub(super) rtt: Duration,
    feedback: VecDeque<Feedback>,
    /// The section of video whose turn is next.
    next_video: usize,
    pub(super) rtt_measured: bool,
    pub(super) remote_clock: RemoteClock,
    /// When this was first and last told of the time.
    told: Option<(Instant, Instant)>,
    events: VecDeque<Event>,
    /// Frames and packets on their way to the events.
    pub(super) arrived: VecDeque<Event>,
    pub(super) transport_stats: TransportFeedbackStats,
    pub(super) counters: Counters,
}

/// A stream that we send, and what belongs to it.
struct Sending<'a> {
    media: &'a Media,
    /// Its place among those of the section.
    index: usize,
    stream: &'a mut SendStream,
    allocation: &'a mut Allocation,
}

impl Session {
    /// A session without media.
    pub fn new(mut random: Random) -> Self {
        Self {
            transport_sequence: SeqNo16((random.u32() & 0xffff) as u16),
            random,
            media: Vec::new(),
            send: BTreeMap::new(),
            receive: BTreeMap::new(),
            repairs: BTreeMap::new(),
            extensions: ExtensionMap::default(),
            allocations: BTreeMap::new(),
            arrivals: ArrivalLog::default(),
            reports_arrivals: false,
            streams: StreamLogs::default(),
            reports_streams: false,
            estimate: EstimateReport::default(),
            ended: Vec::new(),
            resting: BTreeMap::new(),
            paused: BTreeSet::new(),
            rtt: RTT_DEFAULT,
            feedback: VecDeque::new(),
            next_video: 0,
            rtt_measured: false,
            remote_clock: RemoteClock::default(),
            told: None,
            events: VecDeque::new(),
            arrived: VecDeque::new(),
            transport_stats: TransportFeedbackStats::default(),
            counters: Counters::default(),
        }
    }

    /// Tells of a measured round-trip time, for example ICE's. The first counts as it is, of each
    /// later one an eighth (RFC 6298 §2).
    pub fn set_round_trip_time(&mut self, rtt: Duration) {
        let before = if std::mem::replace(&mut self.rtt_measured, true) {
            self.rtt
        } else {
            rtt
        };
        self.rtt = (before * 7 + rtt) / 8;
    }

    /// Splits a frame into packets, which [`Self::poll_packet`] hands out.
    ///
    /// # Errors
    /// When the section does not send, has no such codec, has too much waiting, or the frame is
    /// malformed; nothing is sent of it then.
    pub fn send_frame(
        &mut self,
        now: Now,
        mid: &Mid,
        frame: &OutgoingFrame<'_>,
    ) -> Result<(), SendError> {
        let rtt = self.rtt;
        let own = self.sending(mid, frame.rid)?;
        let told = own.allocation.clone();
        let allocation = own.allocation.value(own.media, own.index, frame);
        let pushed = own
            .stream
            .push_frame(now, own.media, frame, &allocation, rtt);
        if pushed.is_err() {
            *own.allocation = told;
        }
        pushed
    }

    /// Queues a packet, which [`Self::poll_packet`] hands out with our source and extensions.
    ///
    /// # Errors
    /// As [`Self::send_frame`], and for a number that was used before.
    pub fn send_packet(
        &mut self,
        now: Now,
        mid: &Mid,
        packet: &OutgoingPacket<'_>,
    ) -> Result<(), SendError> {
        self.packet_sender(mid, packet.rid)?.send(now, packet)
    }

    /// Looks up the stream of a section, for several packets; the first, or the one of a simulcast
    /// that is named.
    ///
    /// # Errors
    /// When the section does not send, or has no such stream.
    pub fn packet_sender(
        &mut self,
        mid: &Mid,
        rid: Option<&str>,
    ) -> Result<PacketSender<'_>, SendError> {
        let (media, _, ssrc) = place(&self.media, mid, rid)?;
        let stream = self.send.get_mut(&ssrc);
        Ok(PacketSender {
            media,
            stream: stream.ok_or(SendError::NotSending)?,
            rtt: self.rtt,
            repeats_sound: false,
        })
    }

    /// Ticks a second of what the first stream of a section sent last; `None` while it has sent
    /// nothing.
    pub fn sent_clock_rate(&self, mid: &Mid) -> Option<u32> {
        let (_, _, ssrc) = place(&self.media, mid, None).ok()?;
        let (_, clock_rate, _) = self.send.get(&ssrc)?.clock?;
        Some(clock_rate)
    }

    /// The timestamp that something gets which is added to the first stream of a section now: it goes
    /// on from the newest that was sent there, in ticks of `clock_rate`; anywhere where nothing
    /// was (RFC 3550 §5.1).
    pub fn timestamp_at(&mut self, now: Instant, mid: &Mid, clock_rate: u32) -> Option<u32> {
        let (_, _, ssrc) = place(&self.media, mid, None).ok()?;
        let Some((timestamp, _, at)) = self.send.get(&ssrc)?.clock else {
            return Some(self.random.u32());
        };
        let passed = now.saturating_duration_since(at).as_nanos();
        let ticks = passed * u128::from(clock_rate) / 1_000_000_000;
        // What is cut off are whole turns of the clock.
        Some(timestamp.wrapping_add(ticks as u32))
    }

    fn sending(&mut self, mid: &Mid, rid: Option<&str>) -> Result<Sending<'_>, SendError> {
        let (media, index, ssrc) = place(&self.media, mid, rid)?;
        let stream = self.send.get_mut(&ssrc);
        Ok(Sending {
            media,
            index,
            stream: stream.ok_or(SendError::NotSending)?,
            allocation: self.allocations.entry(mid.clone()).or_default(),
        })
    }

    /// Says what the streams of a section are to be encoded at, one of each in their order, for
    /// forwarders to be told where that is agreed on.
    pub fn set_rates(&mut self, mid: &Mid, rates: Vec<EncodingRate>) {
        if self.media.iter().any(|media| media.mid == *mid) {
            let allocation = self.allocations.entry(mid.clone()).or_default();
            allocation.set_rates(rates);
        }
    }

    /// Says between which delays the remote side is to play a stream of a section, where the extension
    /// is agreed on: that of a simulcast named, else the first.
    pub fn set_playout_delay(
        &mut self,
        mid: &Mid,
        rid: Option<&str>,
        bounds: Option<PlayoutDelay>,
    ) {
        let media = self.media.iter().find(|media| media.mid == *mid);
        let encoding = media.and_then(|media| media.encodings.get(media.encoding(rid)?));
        let stream = encoding.and_then(|own| self.send.get_mut(&own.ssrc));
        if let Some(stream) = stream {
            stream.stated_delay.set(bounds);
        }
    }

    /// Says how what a section receives is handed out from here on.
    pub fn set_delivery(&mut self, mid: &Mid, delivery: Delivery) {
        if let Some(media) = self.media.iter_mut().find(|media| media.mid == *mid) {
            media.delivery = delivery;
        }
        let streams = self.receive.values_mut();
        streams
            .filter(|stream| stream.mid == *mid)
            .for_each(|stream| stream.set_delivery(delivery));
    }

    /// Asks the senders of a section for a key frame, or only that of one stream of a simulcast;
    /// each at most once in two round trips and 100 ms (200 ms at least, 2 s at most).
    pub fn request_key_frame(&mut self, mid: &Mid, rid: Option<&str>) {
        let is_meant = |stream: &&mut ReceiveStream| {
            let own = stream.rid.as_ref().map(Rid::as_str);
            stream.mid == *mid && (rid.is_none() || own == rid)
        };
        let streams = self.receive.values_mut();
        streams
            .filter(is_meant)
            .for_each(ReceiveStream::want_key_frame);
    }

    /// Takes a decrypted and authenticated RTP packet that came without a mark.
    pub fn handle_rtp(&mut self, now: Now, packet: &[u8]) {
        self.handle_marked_rtp(now, packet, Ecn::NotCapable);
    }

    /// Takes a decrypted and authenticated RTP packet, and how it was marked on its way.
    pub fn handle_marked_rtp(&mut self, now: Now, packet: &[u8], ecn: Ecn) {
        if let Err(reason) = self.try_handle_rtp(now, packet, ecn) {
            self.counters.count(reason);
        }
        self.drain_arrived();
    }

    fn try_handle_rtp(&mut self, now: Now, packet: &[u8], ecn: Ecn) -> Result<(), &'static str> {
        let moment = self.moment(now);
        let now = now.monotonic;
        let header = Header::parse(packet).map_err(|_| "rtp.bad_header")?;
        let payload = header.payload(packet).map_err(|_| "rtp.bad_padding")?;
        let values = ExtensionValues::read(&header.extensions, &self.extensions);
        if let (Some(sequence), true) = (values.transport_sequence, self.reports_arrivals) {
            self.arrivals
                .handle_arrival(now, sequence, header.ssrc, packet.len());
        }
        self.estimate
            .handle_arrival(now, values.abs_send_time, packet.len());
        if self.reports_streams {
            let known = self.streams.handle_arrival(
                moment.now,
                header.ssrc,
                header.sequence_number,
                ecn,
                packet.len(),
            );
            if !known {
                self.counters.count("rtp.arrival_not_reported");
            }
        }
        let target = self.target(now, header.ssrc, header.payload_type, payload, &values)?;
        let (ssrc, content, sequence_number, payload, origin) = match target {
            Target::Flexfec(mid) => return self.handle_flexfec(moment, &mid, header.ssrc, payload),
            Target::Stream(ssrc, content) => {
                let origin = Origin::Network;
                (ssrc, content, header.sequence_number, payload, origin)
            }
            Target::Repair(ssrc, content) => match payload {
                // A probe for bandwidth: padding alone.
                [] => return Ok(()),
                [high, low, rest @ ..] => {
                    let original = SeqNo16(u16::from_be_bytes([*high, *low]));
                    (ssrc, content, original, rest, Origin::Retransmission)
                }
                [_] => return Err("rtp.bad_repair"),
            },
        };
        let received = Received {
            packet,
            header_len: header.len,
            timestamp: header.timestamp,
            marker: header.marker,
            values: &values,
            ssrc,
            sequence_number,
            origin,
            ecn,
        };
        match content {
            Content::Media(codec) => self.handle_media(moment, &received, codec, payload),
            Content::Red => self.handle_red(moment, &received, payload),
        }
    }

    /// Lets time pass: gaps that were waited for long enough are given up.
    pub fn handle_timeout(&mut self, now: Now) {
        let epoch = self.moment(now).epoch;
        for stream in self.receive.values_mut() {
            stream.handle_timeout(now.monotonic, epoch, &mut self.arrived);
        }
        self.drain_arrived();
    }

    /// Appends the next packet of a class to `out`, in the clear. Sections of video take turns, of
    /// which each sends its lowest stream first; those of sound come in their order, their packets
    /// are few and small.
    pub fn poll_packet(&mut self, now: Now, class: Class, out: &mut Vec<u8>) -> Option<Departure> {
        let sequence = &mut self.transport_sequence;
        let count = self.media.len();
        let first = match class {
            Class::Video => self.next_video,
            Class::Audio | Class::Retransmission | Class::Padding => 0,
        };
        for index in (0..count).map(|index| (first + index) % count) {
            let Some(media) = self.media.get(index) else {
                continue;
            };
            let send = &mut self.send;
            let departure = media.encodings.iter().find_map(|encoding| {
                let stream = send.get_mut(&encoding.ssrc)?;
                match class {
                    Class::Retransmission => stream.poll_retransmission(now, media, sequence, out),
                    Class::Padding => stream.poll_padding(now, media, sequence, out),
                    Class::Audio | Class::Video if media.is_video() != (class == Class::Video) => {
                        None
                    }
                    Class::Audio | Class::Video => stream.poll_packet(now, media, sequence, out),
                }
            });
            if departure.is_some() {
                self.next_video = match class {
                    Class::Video => (index + 1) % count,
                    Class::Audio | Class::Retransmission | Class::Padding => self.next_video,
                };
                return departure;
            }
        }
        None
    }

    /// What [`Self::poll_packet`] has to hand out.
    pub fn backlog(&self) -> Backlog {
        let mut backlog = Backlog::default();
        let streams = self.media.iter().flat_map(|media| {
            let encodings = media.encodings.iter();
            let streams = encodings.filter_map(|own| self.send.get(&own.ssrc));
            streams.map(move |stream| (media, stream))
        });
        for (media, stream) in streams {
            backlog.retransmission |= stream.has_retransmission();
            backlog.padding |= stream.can_pad(media);
            if !media.is_video() {
                backlog.audio |= stream.has_packet();
                continue;
            }
            let (len, since) = stream.waiting();
            backlog.video |= stream.has_packet();
            backlog.video_len += len;
            let both = backlog.video_since.zip(since);
            let earlier = both.map(|(own, other)| own.min(other));
            backlog.video_since = earlier.or(backlog.video_since).or(since);
        }
        backlog
    }

    /// Whether the remote side reports when packets arrive: by stream, or by transport-wide numbers
    /// where those are agreed on as well.
    pub fn has_transport_feedback(&self) -> bool {
        self.media.iter().any(|media| {
            let numbers = media.extensions_send.id(ExtensionKind::TransportSequence);
            let numbered = |codec: &Codec| codec.transport_cc && numbers.is_some();
            let mut codecs = media.codecs.iter();
            media.sends && codecs.any(|codec| codec.ack_ccfb || numbered(codec))
        })
    }

    /// Whether the remote side reports how packets were marked (RFC 8888), of all that we send.
    pub fn has_mark_feedback(&self) -> bool {
        let mut sending = self.media.iter().filter(|media| media.sends).peekable();
        let reported = |media: &Media| media.codecs.iter().any(|codec| codec.ack_ccfb);
        sending.peek().is_some() && sending.all(reported)
    }

    /// What the remote side said about the path, in order.
    pub fn poll_feedback(&mut self) -> Option<Feedback> {
        self.feedback.pop_front()
    }

    /// What happened, in order.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// When to call [`Self::handle_timeout`] and [`Self::poll_rtcp`] again.
    pub fn poll_timeout(&self) -> Option<Deadline> {
        let mut earliest = None;
        let mut add = |at: Option<Instant>, reason| {
            let deadline = at.map(|at| Deadline::new(at, reason));
            earliest = Deadline::earlier(earliest, deadline);
        };
        for stream in self.send.values() {
            add(stream.report_at, "rtp sender report");
        }
        for stream in self.receive.values() {
            add(Some(stream.report_at), "rtp receiver report");
            add(stream.feedback_at(), "rtp feedback");
        }
        add(self.arrivals.due_at(), "rtp transport feedback");
        add(self.streams.due_at(), "rtp congestion feedback");
        add(self.estimate.due_at(), "rtp estimate");
        let told = self.told.filter(|_| !self.ended.is_empty());
        add(told.map(|(_, now)| now), "rtp goodbye");
        Deadline::earlier(earliest, self.poll_gap_timeout())
    }

    /// When to call [`Self::handle_timeout`] again, while nothing can be sent.
    pub fn poll_gap_timeout(&self) -> Option<Deadline> {
        let streams = self.receive.values();
        let at = streams.filter_map(|stream| stream.frame_deadline()).min();
        at.map(|at| Deadline::new(at, "rtp gap"))
    }

    /// The part of our packets of a section that the remote side misses, 0 to 1: a mean of its
    /// reports that follows an increase faster than a decrease. `None` before the first.
    pub fn expected_packet_loss(&self, mid: &Mid) -> Option<f64> {
        let streams = self.send.values().filter(|own| own.name.mid == *mid);
        streams.filter_map(|own| own.loss.get()).reduce(f64::max)
    }

    /// Statistics of what we send: by section, and within it in the order of the streams.
    pub fn outbound_stats(&self) -> impl Iterator<Item = &OutboundStats> {
        let encodings = self.media.iter().flat_map(|media| &media.encodings);
        let streams = encodings.filter_map(|own| self.send.get(&own.ssrc));
        streams.map(|stream| &stream.stats)
    }

    /// Statistics of what we receive, by source.
    pub fn inbound_stats(&self) -> impl Iterator<Item = InboundStats> {
        let streams = self.receive.values();
        let told = self.told.map(|(_, now)| now);
        streams.map(move |stream| stream.stats(told.unwrap_or(stream.heard_at)))
    }

    /// Takes what a [jitter buffer](super::playout::AudioPlayout) for the sound of a section counts,
    /// for the statistics.
    pub fn report_playout(&mut self, mid: &Mid, stats: PlayoutStats) {
        let streams = self.receive.values_mut();
        // The one that is heard: others of the section are over.
        let newest = streams
            .filter(|stream| stream.mid == *mid)
            .max_by_key(|stream| stream.heard_at);
        if let Some(stream) = newest {
            stream.stats.playout = Some(stats);
        }
    }

    fn moment(&mut self, now: Now) -> Moment {
        let (epoch, _) = self.told.unwrap_or((now.monotonic, now.monotonic));
        self.told = Some((epoch, now.monotonic));
        Moment {
            now,
            rtt: self.rtt,
            epoch,
        }
    }

    /// What transport-wide feedback said.
    pub fn transport_stats(&self) -> TransportFeedbackStats {
        self.transport_stats
    }

    /// What was dropped, by reason.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    pub(super) fn push_feedback(&mut self, feedback: Feedback) {
        if self.feedback.len() >= FEEDBACK_MAX {
            self.feedback.pop_front();
            self.counters.count("rtp.feedback_dropped");
        }
        self.feedback.push_back(feedback);
    }

    pub(super) fn push_event(&mut self, event: Event) {
        if self.events.len() >= EVENTS_MAX {
            self.events.pop_front();
            self.counters.count("rtp.event_dropped");
        }
        self.events.push_back(event);
    }

    fn drain_arrived(&mut self) {
        while let Some(event) = self.arrived.pop_front() {
            self.push_event(event);
        }
    }
}

/// The section that sends, and the place and source of its stream.
fn place<'a>(
    all: &'a [Media],
    mid: &Mid,
    rid: Option<&str>,
) -> Result<(&'a Media, usize, Ssrc), SendError> {
    let media = all.iter().find(|media| media.mid == *mid);
    let media = media.filter(|media| media.sends);
    let media = media.ok_or(SendError::NotSending)?;
    let index = media.encoding(rid).ok_or(SendError::UnknownRid)?;
    let encoding = media.encodings.get(index).ok_or(SendError::UnknownRid)?;
    Ok((media, index, encoding.ssrc))
}
