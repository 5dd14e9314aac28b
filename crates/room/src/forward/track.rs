//! What a participant publishes: one track of one or several streams.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use twocan_proto::endpoint::PeerId;
use twocan_proto::negotiate::{Kind, NegotiatedCodec, TransceiverId};
use twocan_proto::rtp::IncomingPacket;
use twocan_proto::wire::ids::{PayloadType, Rid, Ssrc};
use twocan_proto::wire::payload::{Inspection, av1, h264, h265, vp8, vp9};
use twocan_proto::wire::units::Bitrate;

use super::allocate::Level;
use super::layers::Layers;
use super::meter::Meter;

/// Names a track.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct TrackId(pub(super) u64);

/// Streams of one track; further ones are not passed on.
const STREAMS_MAX: usize = 4;

/// Temporal layers that are told apart (RFC 7741 §4.2: two bits; DD and AV1 have eight).
const TEMPORAL_MAX: usize = 8;

/// A stream of which nothing came for so long has been paused by its sender.
const PAUSED_AFTER: Duration = Duration::from_secs(1);

/// What of a stream is kept for those who come: all since its newest key frame, up to so much and
/// for so long. Later, asking for a new key frame is quicker than catching up.
const KEPT_LEN_MAX: usize = 96 * 1024;
const KEPT_FOR: Duration = Duration::from_millis(1_500);

/// What a stream is taken to need until it is measured, the lowest first.
const USUAL: [Bitrate; STREAMS_MAX] = [
    Bitrate::kbps(150),
    Bitrate::kbps(500),
    Bitrate::kbps(1_700),
    Bitrate::kbps(3_000),
];

/// How payloads are to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// Nothing of them matters here.
    Whole,
    Vp8,
    Vp9,
    Av1,
    H264,
    H265,
}

impl Format {
    fn named(name: &str) -> Self {
        match name.to_ascii_lowercase().as_str() {
            "vp8" => Self::Vp8,
            "vp9" => Self::Vp9,
            "av1" => Self::Av1,
            "h264" => Self::H264,
            "h265" => Self::H265,
            _ => Self::Whole,
        }
    }

    /// What a payload says of its frame; nothing where it is malformed, or encrypted end to end.
    fn inspect(self, payload: &[u8]) -> Inspection {
        let inspection = match self {
            Self::Whole => {
                return Inspection {
                    starts_frame: true,
                    key_frame: true,
                    ..Inspection::default()
                };
            }
            Self::Vp8 => vp8::inspect(payload),
            Self::Vp9 => vp9::inspect(payload),
            Self::Av1 => av1::inspect(payload),
            Self::H264 => h264::inspect(payload),
            Self::H265 => h265::inspect(payload),
        };
        inspection.unwrap_or_default()
    }
}

/// A codec that packets of a track are in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Codec {
    pub(super) payload_type: PayloadType,
    pub(super) name: String,
    pub(super) clock_rate: u32,
    pub(super) fmtp: String,
    pub(super) format: Format,
}

/// A packet, and what is known of it without decoding.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) packet: IncomingPacket,
    pub(super) format: Format,
    pub(super) inspection: Inspection,
    /// Whether a decoder can begin here.
    pub(super) begins: bool,
    /// The number of its frame in the dependency descriptor, where it has one.
    pub(super) frame_number: Option<u16>,
    /// When it was captured on our clock, where that is known.
    pub(super) captured_at: Option<Instant>,
}

/// What a packet meant for the streams of its track.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum News {
    Nothing,
    /// A stream took its place among the others, which are one further from there on.
    Inserted,
    /// A stream has another source, and begins anew.
    Replaced,
    /// A stream that rested is there again.
    Resumed,
}

/// One of the streams of a track.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) rid: Option<Rid>,
    pub(super) ssrc: Ssrc,
    meters: [Meter; TEMPORAL_MAX],
    /// The highest temporal layer that was seen.
    temporal: u8,
    heard_at: Instant,
    /// The highest packet so far.
    highest: u64,
    /// The source before this one, whose stragglers are of no use.
    former: Option<Ssrc>,
    /// When its newest key frame began.
    pub(super) key_at: Option<Instant>,
    /// Height of the picture in its newest key frame.
    pub(super) height: Option<u16>,
    kept: VecDeque<Arc<Seen>>,
    kept_len: usize,
}

/// Something that a participant sends.
#[derive(Debug)]
pub(super) struct Track {
    pub(super) owner: PeerId,
    pub(super) transceiver: TransceiverId,
    pub(super) kind: Kind,
    /// The id of the MediaStream that carries it, where given: how viewers know it.
    pub(super) stream_id: Option<String>,
    /// The simulcast streams in the order of the description.
    rids: Vec<Rid>,
    codecs: Vec<Codec>,
    pub(super) streams: Vec<Stream>,
    /// Who gets it, by the place of the slot.
    pub(super) viewers: Vec<(PeerId, usize)>,
    /// Whether its owner may send it.
    pub(super) is_allowed: bool,
    /// What its owner was told to rest.
    pub(super) layers: Layers,
}

impl Track {
    pub(super) fn new(
        owner: PeerId,
        transceiver: TransceiverId,
        kind: Kind,
        stream_id: Option<String>,
    ) -> Self {
        Self {
            owner,
            transceiver,
            kind,
            stream_id,
            rids: Vec::new(),
            codecs: Vec::new(),
            streams: Vec::new(),
            viewers: Vec::new(),
            is_allowed: false,
            layers: Layers::default(),
        }
    }

    /// Takes what was agreed on.
    pub(super) fn agree(&mut self, codecs: &[NegotiatedCodec], rids: &[Rid]) {
        let codec = |own: &NegotiatedCodec| Codec {
            payload_type: own.payload_type,
            name: own.name.clone(),
            clock_rate: own.clock_rate,
            fmtp: own.fmtp_remote.clone(),
            format: Format::named(&own.name),
        };
        self.codecs = codecs.iter().map(codec).collect();
        self.rids = rids.to_vec();
    }

    /// The codec of a payload type.
    pub(super) fn codec(&self, payload_type: PayloadType) -> Option<&Codec> {
        let mut codecs = self.codecs.iter();
        codecs.find(|own| own.payload_type == payload_type)
    }

    /// Takes a packet; answers which stream it is of, and what is known of it. `None` for one of a
    /// codec or a stream that is not passed on.
    pub(super) fn take(
        &mut self,
        now: Instant,
        packet: IncomingPacket,
        captured_at: Option<Instant>,
    ) -> Option<(usize, News, Arc<Seen>)> {
        let format = self.codec(packet.payload_type)?.format;
        let (index, news) = self.stream_of(now, &packet)?;
        let inspection = format.inspect(&packet.payload);
        let described = packet.dependency_descriptor.as_deref();
        let begins = match (format, described) {
            // The payload may be encrypted; a structure comes with key frames alone.
            (Format::Av1, Some(descriptor)) => describes_start(descriptor),
            _ => inspection.starts_frame && inspection.key_frame,
        };
        let stream = self.streams.get_mut(index)?;
        // What came before its beginning was left out, and cannot be had any more.
        let is_newest = packet.number >= stream.highest;
        stream.highest = stream.highest.max(packet.number);
        let seen = Arc::new(Seen {
            format,
            inspection,
            begins: begins && is_newest,
            frame_number: described.and_then(frame_number),
            captured_at,
            packet,
        });
        stream.note(now, &seen, self.kind);
        Some((index, news, seen))
    }

    /// The place of the stream of a packet; a new one gets the place that its name has.
    fn stream_of(&mut self, now: Instant, packet: &IncomingPacket) -> Option<(usize, News)> {
        let known = self.streams.iter().position(|own| own.ssrc == packet.ssrc);
        if let Some(index) = known {
            let heard_at = self.streams.get(index)?.heard_at;
            let rested = now.saturating_duration_since(heard_at) >= PAUSED_AFTER;
            let news = match rested && self.kind == Kind::Video {
                true => News::Resumed,
                false => News::Nothing,
            };
            return Some((index, news));
        }
        if self
            .streams
            .iter()
            .any(|own| own.former == Some(packet.ssrc))
        {
            return None;
        }
        // A sender that starts anew has another source for the same stream.
        let same = self.streams.iter().position(|own| own.rid == packet.rid);
        if let Some(index) = same {
            let stream = self.streams.get_mut(index)?;
            let former = Some(stream.ssrc);
            *stream = Stream {
                former,
                ..Stream::new(now, packet)
            };
            return Some((index, News::Replaced));
        }
        if self.streams.len() >= STREAMS_MAX {
            return None;
        }
        let rank = |rid: &Option<Rid>| self.rids.iter().position(|own| Some(own) == rid.as_ref());
        let own = rank(&packet.rid);
        let at = self
            .streams
            .iter()
            .filter(|other| rank(&other.rid) < own)
            .count();
        self.streams.insert(at, Stream::new(now, packet));
        Some((at, News::Inserted))
    }

    /// The streams from the smallest picture to the largest: by what their key frames say, else by
    /// their rates, else in the order of the description, which need not be that
    /// (RFC 8853 §5.2).
    pub(super) fn order(&mut self, now: Instant) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.streams.len()).collect();
        let heights: Option<Vec<u64>> = self
            .streams
            .iter()
            .map(|own| own.height.map(u64::from))
            .collect();
        let rates = || -> Option<Vec<u64>> {
            let streams = self.streams.iter_mut();
            streams.map(|own| own.rate(now)).collect()
        };
        if let Some(sizes) = heights.or_else(rates) {
            order.sort_by_key(|index| sizes.get(*index).copied());
        }
        order
    }

    /// The qualities that there are now, the lowest first; nothing while none of them comes.
    pub(super) fn levels(&mut self, now: Instant) -> Vec<Level> {
        let mut levels = Vec::new();
        for (rank, index) in self.order(now).into_iter().enumerate() {
            let Some(stream) = self.streams.get_mut(index) else {
                continue;
            };
            if now.saturating_duration_since(stream.heard_at) >= PAUSED_AFTER {
                continue;
            }
            let usual = USUAL.get(rank).copied().unwrap_or(Bitrate::kbps(3_000));
            let mut rate = 0;
            let mut own = Vec::new();
            let measured = stream
                .meters
                .iter_mut()
                .take(usize::from(stream.temporal) + 1);
            for (temporal, meter) in measured.enumerate() {
                rate += meter.rate(now).map_or(0, Bitrate::as_bps);
                own.push(Level {
                    stream: index,
                    temporal: temporal as u8,
                    rate: Bitrate::bps(rate),
                });
            }
            if rate == 0 {
                own.clear();
                own.push(Level {
                    stream: index,
                    temporal: stream.temporal,
                    rate: usual,
                });
            }
            levels.append(&mut own);
        }
        levels
    }

    /// Whether a stream was agreed on of which nothing has come yet.
    pub(super) fn has_unseen(&self) -> bool {
        let seen = |rid: &Rid| self.streams.iter().any(|own| own.rid.as_ref() == Some(rid));
        !self.rids.iter().all(seen)
    }

    /// The rate of all streams together.
    pub(super) fn rate(&mut self, now: Instant) -> Bitrate {
        let meters = self.streams.iter_mut().flat_map(|own| &mut own.meters);
        let bps = meters.filter_map(|own| own.rate(now)).map(Bitrate::as_bps);
        Bitrate::bps(bps.sum())
    }
}

impl Stream {
    fn new(now: Instant, packet: &IncomingPacket) -> Self {
        Self {
            rid: packet.rid.clone(),
            ssrc: packet.ssrc,
            meters: Default::default(),
            temporal: 0,
            heard_at: now,
            highest: packet.number,
            former: None,
            key_at: None,
            height: None,
            kept: VecDeque::new(),
            kept_len: 0,
        }
    }

    /// In bit/s; `None` while nothing is measured.
    fn rate(&mut self, now: Instant) -> Option<u64> {
        let meters = self.meters.iter_mut().filter_map(|own| own.rate(now));
        meters.map(Bitrate::as_bps).reduce(|own, other| own + other)
    }

    fn note(&mut self, now: Instant, seen: &Arc<Seen>, kind: Kind) {
        let layer = seen.inspection.temporal_layer.unwrap_or(0);
        self.temporal = self.temporal.max(layer.min(TEMPORAL_MAX as u8 - 1));
        self.heard_at = now;
        if let Some(meter) = self.meters.get_mut(usize::from(layer)) {
            meter.note(now, seen.packet.payload.len());
        }
        if kind == Kind::Video {
            self.keep(now, seen);
        }
    }

    fn keep(&mut self, now: Instant, seen: &Arc<Seen>) {
        let newest = self.kept.back().map(|own| own.packet.timestamp);
        // Several packets of H.264 may each look like the beginning of one.
        if seen.begins && newest != Some(seen.packet.timestamp) {
            self.key_at = Some(now);
            self.kept.clear();
            self.kept_len = 0;
            if seen.format == Format::Vp8 {
                self.height = vp8_height(&seen.packet.payload);
            }
        } else if self.kept.is_empty() {
            return;
        }
        self.kept_len += seen.packet.payload.len();
        let old = self
            .key_at
            .is_none_or(|at| now.saturating_duration_since(at) > KEPT_FOR);
        if old || self.kept_len > KEPT_LEN_MAX {
            self.kept.clear();
            self.kept_len = 0;
        } else {
            self.kept.push_back(seen.clone());
        }
    }

    /// All since the newest key frame, if that is recent, whole as far as is known, and not much.
    pub(super) fn kept(&self, now: Instant) -> Option<&VecDeque<Arc<Seen>>> {
        let at = self.key_at?;
        let recent = now.saturating_duration_since(at) <= KEPT_FOR;
        let (first, last) = (self.kept.front()?, self.kept.back()?);
        let span = last.packet.number.checked_sub(first.packet.number)? + 1;
        (recent && span == self.kept.len() as u64).then_some(&self.kept)
    }
}

/// The bits after the template of a dependency descriptor say which frame it is.
fn frame_number(descriptor: &[u8]) -> Option<u16> {
    match descriptor {
        [_, high, low, ..] => Some(u16::from_be_bytes([*high, *low])),
        _ => None,
    }
}

/// Whether a descriptor begins a frame and brings a structure: only key frames do.
fn describes_start(descriptor: &[u8]) -> bool {
    matches!(descriptor, [first, _, _, flags, ..] if first & 0x80 != 0 && flags & 0x80 != 0)
}

/// The height in the header of a key frame (RFC 6386 §9.1), 14 bits.
fn vp8_height(payload: &[u8]) -> Option<u16> {
    let (_, frame) = vp8::Descriptor::parse(payload).ok()?;
    match frame {
        [_, _, _, 0x9d, 0x01, 0x2a, _, _, low, high, ..] => {
            Some(u16::from_le_bytes([*low, *high]) & 0x3fff)
        }
        _ => None,
    }
}
