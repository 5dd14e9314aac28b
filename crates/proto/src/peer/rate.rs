//! How fast media goes: congestion control over all streams, and what each sender may use.

use std::time::{Duration, Instant};

use twocan_wire::ids::Mid;
use twocan_wire::units::Bitrate;

use super::intercept::{Interception, PacketKind};
use super::machine::Peer;
use super::outlet::Outlet;
use super::parameters::{EncodingParameters, Priority};
use super::transport::Transport;
use crate::congestion::{Claim, CongestionControl, Layer, PacketKey, Turn, Waiting, share, stack};
use crate::contract::{Batch, Destination, Dscp, Ecn};
use crate::counters::Counters;
use crate::negotiate::{Kind, TransceiverId};
use crate::rtp::{Backlog, Class, Departure, EncodingRate, Feedback, OutboundStats, Session};
use crate::srtp;
use crate::time::{Deadline, Now};

/// Sound is content with this, where the application states nothing else.
const AUDIO_MAX: Bitrate = Bitrate::kbps(64);

/// Sound gets this, even if nothing is left for pictures.
const AUDIO_MIN: Bitrate = Bitrate::kbps(16);

/// What video of full size is taken to need at most where an encoding below another does not say,
/// and how that falls with its size: libwebrtc gives 720 lines 2.5 Mbit/s, half of them 700 kbit/s and
/// a quarter 200.
const FULL_SIZE_RATE: Bitrate = Bitrate::kbps(2500);
const SIZE_EXPONENT: f64 = 1.8;

/// An encoding above another is of use from this part of its most on, where it does not say.
const UPPER_MIN_DIVISOR: u64 = 4;

/// What SRTP adds to a packet, in bytes: the tag of AES-GCM.
const TAG_LEN: u64 = 16;

/// The part of a datagram that is payload, until it is known from this many packets.
const PAYLOAD_PART: f64 = 0.9;
const PAYLOAD_PACKETS_MIN: u64 = 50;

/// Between two looks at the rate of retransmissions, and how a new one weighs.
const RETRANSMISSION_INTERVAL: Duration = Duration::from_millis(250);
const RETRANSMISSION_WEIGHT: f64 = 0.25;
/// The part of the target that retransmissions may take from senders at most.
const RETRANSMISSION_PART_MAX: f64 = 0.5;

impl Priority {
    const fn weight(self) -> f64 {
        match self {
            Self::VeryLow => 0.5,
            Self::Low => 1.0,
            Self::Medium => 2.0,
            Self::High => 4.0,
        }
    }
}

/// What an encoding is to be encoded at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodingTarget {
    /// Its name, where it has one.
    pub rid: Option<String>,
    /// Of its payloads; 0 while it rests.
    pub bitrate: Bitrate,
}

/// How much of the rate goes into packets that are sent again.
#[derive(Debug, Default)]
pub(super) struct RetransmissionRate {
    seen: Option<(Instant, u64)>,
    /// In bit/s.
    rate: f64,
}

impl RetransmissionRate {
    fn update(&mut self, now: Instant, bytes: u64) {
        let Some((at, before)) = self.seen else {
            self.seen = Some((now, bytes));
            return;
        };
        let elapsed = now.saturating_duration_since(at);
        if elapsed >= RETRANSMISSION_INTERVAL {
            self.seen = Some((now, bytes));
            let sample = bytes.saturating_sub(before) as f64 * 8.0 / elapsed.as_secs_f64();
            self.rate += RETRANSMISSION_WEIGHT * (sample - self.rate);
        }
    }
}

impl Peer {
    /// `availableOutgoingBitrate` (W3C webrtc-stats §8.15): what the path is thought to carry, all
    /// headers above UDP included. `None` while the peer says nothing about it.
    pub fn available_outgoing_bitrate(&self) -> Option<Bitrate> {
        self.transport.congestion.target()
    }

    /// What a sender is to encode at, all its encodings together: its share of the target, less
    /// retransmissions and headers. `None` while the peer says nothing about the path, and for a
    /// transceiver that does not send.
    pub fn target_bitrate(&self, transceiver: TransceiverId) -> Option<Bitrate> {
        let targets = self.encoding_targets(transceiver)?;
        let bps = targets.iter().map(|own| own.bitrate.as_bps());
        Some(Bitrate::bps(bps.sum()))
    }

    /// What each encoding of a sender is to be encoded at; 0 for one that rests, because it is not
    /// active or does not fit. `None` as for [`Self::target_bitrate`].
    pub fn encoding_targets(&self, transceiver: TransceiverId) -> Option<Vec<EncodingTarget>> {
        let target = self.available_outgoing_bitrate()?.as_bps() as f64;
        let again = self.transport.retransmissions.rate;
        let total = target - again.min(RETRANSMISSION_PART_MAX * target);
        let mut senders = self.media.iter().filter(|media| media.sends);
        let index = senders
            .clone()
            .position(|media| media.transceiver == transceiver)?;
        let part = |mid: &Mid| {
            let all = self.transport.rtp.outbound_stats();
            payload_part(all.filter(|stats| stats.mid == *mid))
        };
        let claims: Vec<Claim> = senders
            .clone()
            .map(|media| {
                let encodings = self.encodings(media.transceiver);
                let layers = self.layers(media.transceiver, media.kind, &encodings);
                claim(&encodings, &layers, part(&media.mid))
            })
            .collect();
        let own = *share(Bitrate::bps(total as u64), &claims).get(index)?;
        let media = senders.nth(index)?;
        let own = Bitrate::bps((own.as_bps() as f64 * part(&media.mid)) as u64);
        let encodings = self.encodings(transceiver);
        let shares = stack(own, &self.layers(transceiver, media.kind, &encodings));
        let both = encodings.into_iter().zip(shares);
        let targets = both.map(|(encoding, bitrate)| EncodingTarget {
            rid: encoding.rid,
            bitrate,
        });
        Some(targets.collect())
    }

    /// Remembers which encodings have a share, so that they keep it.
    pub(super) fn note_running(&mut self, now: Now) {
        if let Some(resting) = self.forgone {
            // A forwarder has no encoders: who is sent what is its own business.
            let congestion = &mut self.transport.congestion;
            return congestion.set_resting(now.monotonic, resting);
        }
        let mut resting = 0;
        let ids: Vec<TransceiverId> = self.media.iter().map(|own| own.transceiver).collect();
        for id in ids {
            let targets = self.encoding_targets(id).unwrap_or_default();
            self.tell_rates(id, &targets);
            let encodings = self.encodings(id);
            let both = encodings.iter().zip(&targets);
            let rests = both.filter(|(own, target)| own.active && target.bitrate.as_bps() == 0);
            resting += rests.count();
            if let Some(sender) = self.senders.get_mut(&id) {
                sender.running = targets.iter().map(|own| own.bitrate.as_bps() > 0).collect();
            }
        }
        let congestion = &mut self.transport.congestion;
        congestion.set_resting(now.monotonic, resting);
    }

    /// Says how many streams a forwarder leaves out, or sends in a lower quality, that it would send
    /// if there were more rate: the path is then probed for it, as nothing that is sent shows
    /// that there is. From the first call on, nothing is shared out among encodings here.
    pub fn set_forgone(&mut self, now: Now, streams: usize) {
        if self.forgone.replace(streams) != Some(streams) {
            self.note_running(now);
        }
    }

    /// Tells the streams of a sender what forwarders are to know.
    fn tell_rates(&mut self, id: TransceiverId, targets: &[EncodingTarget]) {
        let encodings = self.encodings(id);
        let rates = encodings.iter().zip(targets);
        let rates = rates.map(|(encoding, target)| EncodingRate {
            bitrate: target.bitrate,
            mode: encoding.scalability_mode,
            max_framerate: encoding.max_framerate,
        });
        let rates = rates.collect();
        if let Some(mid) = self.negotiator.mid(id) {
            self.transport.rtp.set_rates(mid, rates);
        }
    }

    fn layers(
        &self,
        id: TransceiverId,
        kind: Kind,
        encodings: &[EncodingParameters],
    ) -> Vec<Layer> {
        let sender = self.senders.get(&id);
        let count = encodings.len();
        let all = encodings.iter().enumerate();
        all.map(|(index, encoding)| {
            let sender = sender.map(|own| (own.running.get(index), own.restricted.get(index)));
            let (running, restricted) = sender.unwrap_or_default();
            let place = Place {
                is_first: encodings.iter().take(index).all(|own| !own.active),
                is_last: index + 1 == count,
            };
            let (min, max) = bounds(kind, encoding, place);
            let restricted = restricted.copied().flatten();
            let max = match (max, restricted) {
                (Some(max), Some(restricted)) => Some(max.min(restricted)),
                (max, restricted) => max.or(restricted),
            };
            Layer {
                active: encoding.active,
                min: max.map_or(min, |max| min.min(max)),
                max,
                running: running.copied().unwrap_or(false),
            }
        })
        .collect()
    }
}

/// Where an encoding stands among those of its sender.
#[derive(Debug, Clone, Copy)]
struct Place {
    /// No active one is below it.
    is_first: bool,
    is_last: bool,
}

/// The least and the most that an encoding can use.
fn bounds(kind: Kind, encoding: &EncodingParameters, place: Place) -> (Bitrate, Option<Bitrate>) {
    let stated = (encoding.min_bitrate, encoding.max_bitrate);
    if kind == Kind::Audio {
        return (stated.0.unwrap_or(AUDIO_MIN), stated.1.or(Some(AUDIO_MAX)));
    }
    let scale = encoding.scale_resolution_down_by.unwrap_or(1.0).max(1.0);
    let usual = Bitrate::bps((FULL_SIZE_RATE.as_bps() as f64 / scale.powf(SIZE_EXPONENT)) as u64);
    let max = match place.is_last {
        true => stated.1,
        false => stated.1.or(Some(usual)),
    };
    let min = match place.is_first {
        true => Bitrate::bps(0),
        false => Bitrate::bps(max.unwrap_or(usual).as_bps() / UPPER_MIN_DIVISOR),
    };
    (stated.0.unwrap_or(min), max)
}

/// The claim of a sender on the rate of datagrams: the least that its lowest encoding can use, the
/// most that all can.
fn claim(encodings: &[EncodingParameters], layers: &[Layer], part: f64) -> Claim {
    // Rounded up, so that a maximum is reached on the way back.
    let on_the_wire = |bps: u64| Bitrate::bps((bps as f64 / part).ceil() as u64);
    let active = || layers.iter().filter(|layer| layer.active);
    let min = active().next().map_or(0, |lowest| lowest.min.as_bps());
    let max: Option<u64> = active().map(|own| own.max.map(Bitrate::as_bps)).sum();
    let weight = encodings.iter().filter(|own| own.active);
    Claim {
        min: on_the_wire(min),
        max: max.map(on_the_wire),
        weight: weight
            .map(|own| own.priority)
            .max()
            .unwrap_or_default()
            .weight(),
    }
}

/// The part of what the streams of a section send that is payload.
fn payload_part<'a>(streams: impl Iterator<Item = &'a OutboundStats>) -> f64 {
    let (mut packets, mut payloads, mut headers) = (0, 0, 0);
    for stats in streams {
        packets += stats.packets_sent;
        payloads += stats.bytes_sent;
        headers += stats.header_bytes_sent;
    }
    if packets < PAYLOAD_PACKETS_MIN || payloads == 0 {
        return PAYLOAD_PART;
    }
    payloads as f64 / (payloads + headers + TAG_LEN * packets) as f64
}

/// What the media side said while one batch is filled: nothing else happens meanwhile.
#[derive(Debug, Default)]
pub(super) struct Polled {
    /// What waits.
    waiting: Option<Waiting>,
    /// No reports and no feedback are due.
    no_reports: bool,
}

impl Transport {
    /// Whether reports or feedback are due.
    pub(super) fn rtcp_is_due(&self, now: Now) -> bool {
        let deadline = self.rtp.poll_timeout();
        deadline.is_some_and(|deadline| deadline.at <= now.monotonic)
    }

    /// Whether media, reports or padding are to be sent now.
    pub(super) fn media_is_due(&mut self, now: Now) -> bool {
        if self.srtp.is_none() {
            return false;
        }
        let rtp = &self.rtp;
        let waiting = self
            .polled
            .waiting
            .get_or_insert_with(|| waiting(rtp.backlog()));
        self.congestion.turn(now.monotonic, waiting) != Turn::Nobody
            || (!self.polled.no_reports && self.rtcp_is_due(now))
            || self.adds_packets()
    }

    /// What the next datagram says of marks, where it is one of media. Reports and all else say
    /// nothing: nobody tells how they were marked (RFC 6679 §7.3.1).
    pub(super) fn mark(&mut self, now: Now) -> Option<Ecn> {
        let ecn = self.marking.ecn()?;
        let is_media = self.rtp.has_mark_feedback()
            && self.farewell.is_empty()
            && !self.dtls.has_transmit()
            && !self.rtcp_is_due(now)
            && !self.adds_packets()
            && self.media_is_due(now);
        is_media.then_some(ecn)
    }

    /// Writes the next packet of reports or media; answers where it goes when it went to the spill
    /// buffer.
    pub(super) fn fill_media(
        &mut self,
        now: Now,
        outlet: Outlet,
        batch: &mut Batch,
    ) -> Option<Destination> {
        let (sender, _) = self.srtp.as_mut()?;
        let reports = self.codepoints.reports;
        let (rtp, congestion) = (&mut self.rtp, &mut self.congestion);
        let counters = &mut self.counters;
        let polled = &mut self.polled;
        let mut interception = self.interception.as_deref_mut();
        outlet.push_marked(batch, &mut self.spill, |out| {
            let start = out.len();
            if let Some(own) = &mut interception
                && added(own, sender, rtp, congestion, counters, now, out)
            {
                return reports;
            }
            if !polled.no_reports && rtp.poll_rtcp(now, out) {
                if let Some(own) = &mut interception
                    && !own.outgoing_rtcp(now, out, start)
                {
                    out.truncate(start);
                } else if let Err(rejected) = sender.protect_rtcp(out, start) {
                    counters.count(rejected.reason());
                    out.truncate(start);
                }
                return reports;
            }
            polled.no_reports = true;
            loop {
                let left = polled
                    .waiting
                    .take()
                    .unwrap_or_else(|| waiting(rtp.backlog()));
                let turn = congestion.turn(now.monotonic, &left);
                let class = match turn {
                    Turn::Audio => Class::Audio,
                    Turn::Retransmission => Class::Retransmission,
                    Turn::Video => Class::Video,
                    Turn::Padding => Class::Padding,
                    Turn::Nobody => return Dscp::DEFAULT,
                };
                let Some(departure) = rtp.poll_packet(now, class, out) else {
                    match class {
                        // Those that waited can no longer be sent; others may.
                        Class::Retransmission => continue,
                        Class::Audio | Class::Video | Class::Padding => return Dscp::DEFAULT,
                    }
                };
                if let Some(own) = &mut interception
                    && !own.outgoing_rtp(now, &departure, out, start)
                {
                    // It takes its turn all the same, or padding would never be enough.
                    let (len, left) = (out.len() - start, waiting(rtp.backlog()));
                    out.truncate(start);
                    congestion.handle_sent(now.monotonic, turn, None, len, &left);
                    polled.waiting = Some(left);
                    continue;
                }
                if let Err(rejected) = sender.protect_rtp(out, start) {
                    counters.count(rejected.reason());
                    out.truncate(start);
                    return Dscp::DEFAULT;
                }
                let len = out.len() - start;
                let left = waiting(rtp.backlog());
                congestion.handle_sent(now.monotonic, turn, key(&departure), len, &left);
                polled.waiting = Some(left);
                return departure.dscp;
            }
        })
    }

    /// Hands feedback to those whom it concerns.
    pub(super) fn take_feedback(&mut self, now: Now) {
        let at = now.monotonic;
        while let Some(feedback) = self.rtp.poll_feedback() {
            match feedback {
                Feedback::Transport(feedback) => {
                    self.congestion.handle_transport_feedback(at, &feedback);
                }
                Feedback::Congestion(feedback) => {
                    self.congestion.handle_congestion_feedback(at, &feedback);
                }
                Feedback::Estimate(estimate) => {
                    self.congestion.handle_receiver_estimate(at, estimate);
                }
            }
        }
        let streams = self.rtp.outbound_stats();
        // What repairs losses is taken off the rate, sent twice or in advance.
        let again = streams.map(|stats| stats.retransmitted_bytes_sent + stats.fec_bytes_sent);
        let again = again.sum();
        self.retransmissions.update(at, again);
    }

    /// When the next packet may go.
    pub(super) fn pacing_deadline(&self) -> Option<Deadline> {
        self.ice.route()?;
        self.congestion.poll_timeout(&waiting(self.rtp.backlog()))
    }
}

/// Writes a packet that the interceptor has added; answers whether there was one. Hardly anybody has
/// an interceptor.
#[cold]
#[inline(never)]
fn added(
    own: &mut Interception,
    sender: &mut srtp::Sender,
    rtp: &Session,
    congestion: &mut CongestionControl,
    counters: &mut Counters,
    now: Now,
    out: &mut Vec<u8>,
) -> bool {
    let start = out.len();
    while let Some(kind) = own.poll_outgoing(out, |ssrc| rtp.is_own_source(ssrc)) {
        let protected = match kind {
            PacketKind::Rtp => sender.protect_new_rtp(out, start),
            PacketKind::Rtcp => sender.protect_rtcp(out, start),
        };
        if let Err(rejected) = protected {
            counters.count(rejected.reason());
            out.truncate(start);
            continue;
        }
        if kind == PacketKind::Rtp {
            // It waits for nobody, as sound.
            let (len, left) = (out.len() - start, waiting(rtp.backlog()));
            congestion.handle_sent(now.monotonic, Turn::Audio, None, len, &left);
        }
        return true;
    }
    false
}

fn waiting(backlog: Backlog) -> Waiting {
    Waiting {
        audio: backlog.audio,
        retransmission: backlog.retransmission,
        video: backlog.video,
        video_len: backlog.video_len,
        video_since: backlog.video_since,
        padding: backlog.padding,
    }
}

/// How feedback will name a packet. The same packet once more tells nothing: nobody knows which of
/// the two a report means.
fn key(departure: &Departure) -> Option<PacketKey> {
    if departure.is_repeated {
        return None;
    }
    Some(match departure.transport_sequence {
        Some(sequence) => PacketKey::Transport(sequence),
        None => PacketKey::Rtp(departure.ssrc, departure.sequence_number),
    })
}
