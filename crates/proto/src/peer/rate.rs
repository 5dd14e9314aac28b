//! How fast media goes: congestion control over all streams, and what each sender may use.

use std::time::{Duration, Instant};

use twocan_wire::ids::Mid;
use twocan_wire::units::Bitrate;

use super::machine::Peer;
use super::transport::Transport;
use crate::congestion::{Claim, PacketKey, Turn, Waiting, share};
use crate::contract::{Batch, Destination};
use crate::negotiate::{Kind, TransceiverId};
use crate::rtp::{Backlog, Class, Departure, Feedback, OutboundStats};
use crate::time::{Deadline, Now};

/// Sound is content with this, where the application states nothing else.
const AUDIO_MAX: Bitrate = Bitrate::kbps(64);

/// Sound gets this, even if nothing is left for pictures.
const AUDIO_MIN: Bitrate = Bitrate::kbps(16);

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

/// `RTCPriorityType` (W3C webrtc-priority §4): each gets twice as much as the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Priority {
    /// `very-low`.
    VeryLow,
    /// `low`, the default.
    #[default]
    Low,
    /// `medium`.
    Medium,
    /// `high`.
    High,
}

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

/// `RTCRtpEncodingParameters` (W3C webrtc-pc §5.2.1), as far as rates go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EncodingParameters {
    /// `active`: whether it takes part in the sharing. Default true.
    pub active: bool,
    /// `maxBitrate` of its payloads. Default 64 kbit/s for sound, no limit for video.
    pub max_bitrate: Option<Bitrate>,
    /// Given before anything else is shared out; not in the standard. Default 16 kbit/s for sound,
    /// 0 for video.
    pub min_bitrate: Option<Bitrate>,
    /// `priority`. Default low, as in the standard.
    pub priority: Priority,
}

impl Default for EncodingParameters {
    fn default() -> Self {
        Self {
            active: true,
            max_bitrate: None,
            min_bitrate: None,
            priority: Priority::Low,
        }
    }
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
    /// Says what a sender may use and how it counts among the others.
    pub fn set_encoding(&mut self, transceiver: TransceiverId, encoding: EncodingParameters) {
        self.encodings.insert(transceiver, encoding);
        self.target_news = true;
    }

    /// What [`Self::set_encoding`] said, or the defaults.
    pub fn encoding(&self, transceiver: TransceiverId) -> EncodingParameters {
        let stated = self.encodings.get(&transceiver);
        stated.copied().unwrap_or_default()
    }

    /// `availableOutgoingBitrate` (W3C webrtc-stats §8.15): what the path is thought to carry, all
    /// headers above UDP included. `None` while the peer says nothing about it.
    pub fn available_outgoing_bitrate(&self) -> Option<Bitrate> {
        self.transport.congestion.target()
    }

    /// What a sender is to encode at: its share of the target, less retransmissions and headers.
    /// `None` while the peer says nothing about the path, and for a transceiver that does not send.
    pub fn target_bitrate(&self, transceiver: TransceiverId) -> Option<Bitrate> {
        let target = self.available_outgoing_bitrate()?.as_bps() as f64;
        let again = self.transport.retransmissions.rate;
        let total = target - again.min(RETRANSMISSION_PART_MAX * target);
        let senders: Vec<_> = self.media.iter().filter(|media| media.sends).collect();
        let index = senders
            .iter()
            .position(|media| media.transceiver == transceiver)?;
        let part = |mid: &Mid| {
            let mut all = self.transport.rtp.outbound_stats();
            all.find(|stats| stats.mid == *mid)
                .map_or(PAYLOAD_PART, payload_part)
        };
        let claims: Vec<Claim> = senders
            .iter()
            .map(|media| {
                claim(
                    media.kind,
                    self.encoding(media.transceiver),
                    part(&media.mid),
                )
            })
            .collect();
        let own = *share(Bitrate::bps(total as u64), &claims).get(index)?;
        let part = part(&senders.get(index)?.mid);
        Some(Bitrate::bps((own.as_bps() as f64 * part) as u64))
    }
}

/// The claim of a sender on the rate of datagrams.
fn claim(kind: Kind, encoding: EncodingParameters, part: f64) -> Claim {
    let (min, max) = match kind {
        Kind::Audio => (AUDIO_MIN, Some(AUDIO_MAX)),
        Kind::Video => (Bitrate::bps(0), None),
    };
    let on_the_wire = |rate: Bitrate| Bitrate::bps((rate.as_bps() as f64 / part) as u64);
    let nothing = Bitrate::bps(0);
    let (min, max) = match encoding.active {
        true => (
            encoding.min_bitrate.unwrap_or(min),
            encoding.max_bitrate.or(max),
        ),
        false => (nothing, Some(nothing)),
    };
    Claim {
        min: on_the_wire(max.map_or(min, |max| min.min(max))),
        max: max.map(on_the_wire),
        weight: encoding.priority.weight(),
    }
}

/// The part of what a stream sends that is payload.
fn payload_part(stats: &OutboundStats) -> f64 {
    if stats.packets_sent < PAYLOAD_PACKETS_MIN || stats.bytes_sent == 0 {
        return PAYLOAD_PART;
    }
    let headers = stats.header_bytes_sent + TAG_LEN * stats.packets_sent;
    stats.bytes_sent as f64 / (stats.bytes_sent + headers) as f64
}

impl Transport {
    /// Whether media, reports or padding are to be sent now.
    pub(super) fn media_is_due(&mut self, now: Now) -> bool {
        if self.srtp.is_none() {
            return false;
        }
        let waiting = waiting(self.rtp.backlog());
        self.congestion.turn(now.monotonic, &waiting) != Turn::Nobody || self.rtcp_is_due(now)
    }

    /// Writes the next packet of reports or media; answers `false` when it went to the spill
    /// buffer.
    pub(super) fn fill_media(
        &mut self,
        now: Now,
        destination: Destination,
        batch: &mut Batch,
    ) -> bool {
        let Some((sender, _)) = &mut self.srtp else {
            return true;
        };
        let (rtp, congestion) = (&mut self.rtp, &mut self.congestion);
        let counters = &mut self.counters;
        batch.push(destination, &mut self.spill, |out| {
            let start = out.len();
            if rtp.poll_rtcp(now, out) {
                if let Err(rejected) = sender.protect_rtcp(out, start) {
                    counters.count(rejected.reason());
                    out.truncate(start);
                }
                return;
            }
            loop {
                let turn = congestion.turn(now.monotonic, &waiting(rtp.backlog()));
                let class = match turn {
                    Turn::Audio => Class::Audio,
                    Turn::Retransmission => Class::Retransmission,
                    Turn::Video => Class::Video,
                    Turn::Padding => Class::Padding,
                    Turn::Nobody => return,
                };
                let Some(departure) = rtp.poll_packet(now, class, out) else {
                    match class {
                        // Those that waited can no longer be sent; others may.
                        Class::Retransmission => continue,
                        Class::Audio | Class::Video | Class::Padding => return,
                    }
                };
                if let Err(rejected) = sender.protect_rtp(out, start) {
                    counters.count(rejected.reason());
                    out.truncate(start);
                    return;
                }
                let len = out.len() - start;
                let left = waiting(rtp.backlog());
                congestion.handle_sent(now.monotonic, turn, key(&departure), len, &left);
                return;
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
