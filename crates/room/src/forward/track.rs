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
use super::choice::Layer;
use super::codecs::Asked;
use super::layers::Layers;
use super::meter::LayerMeters;
use super::scalable::{Described, Reader, SPATIAL_MAX, Target};

/// Names a track.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct TrackId(pub(super) u64);

/// Streams of one track; further ones are not passed on.
const STREAMS_MAX: usize = 4;

/// A stream of which nothing came for so long has been paused by its sender.
const PAUSED_AFTER: Duration = Duration::from_secs(1);

/// A track of which nothing came for so long makes way for others where there are not lines for all:
/// its publisher may be gone without a word.
const STOPPED_AFTER: Duration = Duration::from_secs(3);

/// What of a stream is kept for those who come: all since its newest key frame, up to so much and
/// for so long. Later, asking for a new key frame is quicker than catching up.
const KEPT_LEN_MAX: usize = 96 * 1024;
const KEPT_FOR: Duration = Duration::from_millis(1_500);

/// What a stream or a spatial layer is taken to need until it is measured, the lowest first.
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
            // Only the payload that begins a frame tells its layers; they are in the dependency
            // descriptor of all.
            Self::Av1 => av1::inspect(payload).map(|own| Inspection {
                temporal_layer: None,
                spatial_layer: None,
                ..own
            }),
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
    /// What that says of the layers, where there may be layers in space.
    pub(super) described: Option<Box<Described>>,
    /// When it was captured on our clock, where that is known.
    pub(super) captured_at: Option<Instant>,
}

/// What a packet meant for the streams of its track.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum News {
    Nothing,
    /// A stream took its place among the others, which are one further from there on.
    Inserted,
    /// A stream has another source or codec, and begins anew.
    Replaced,
    /// A stream that rested is there again.
    Resumed,
    /// Its encoder makes other layers than before.
    Relayered,
}

/// One of the streams of a track.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) rid: Option<Rid>,
    pub(super) ssrc: Ssrc,
    payload_type: PayloadType,
    meters: LayerMeters,
    reader: Reader,
    heard_at: Instant,
    /// The highest packet so far.
    highest: u64,
    /// The source before this one, whose stragglers are of no use.
    former: Option<Ssrc>,
    /// When its newest key frame began.
    pub(super) key_at: Option<Instant>,
    /// Width and height of each spatial layer in its newest key frame, in pixels.
    sizes: [Option<(u16, u16)>; SPATIAL_MAX as usize],
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
    /// The payload type of the newest packet.
    newest: Option<PayloadType>,
    /// Names of codecs in the order in which its owner likes them.
    pub(super) liked: Vec<String>,
    /// The codecs that its owner makes.
    pub(super) makes: u32,
    /// The codecs that its owner is asked for, where somebody does not take all.
    pub(super) asked_for: Option<Asked>,
    /// Who gets it, by the place of the slot.
    pub(super) viewers: Vec<(PeerId, usize)>,
    /// Whether its owner may send it.
    pub(super) is_allowed: bool,
    /// What its owner was told to rest.
    pub(super) layers: Layers,
    /// Whether nothing comes of it, though somebody has a use for it.
    pub(super) has_stopped: bool,
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
            newest: None,
            liked: Vec::new(),
            makes: 0,
            asked_for: None,
            viewers: Vec::new(),
            is_allowed: false,
            layers: Layers::default(),
            has_stopped: true,
        }
    }

    /// Looks whether something comes of it; answers whether that has changed.
    pub(super) fn look(&mut self, now: Instant) -> bool {
        let is_silent = |own: &Stream| now.saturating_duration_since(own.heard_at) >= STOPPED_AFTER;
        let has_stopped = !self.layers.rests() && self.streams.iter().all(is_silent);
        std::mem::replace(&mut self.has_stopped, has_stopped) != has_stopped
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

    /// What it is sent in; before the first packet, what it will most likely be sent in.
    pub(super) fn sent(&self) -> Option<&Codec> {
        let newest = self.newest.and_then(|own| self.codec(own));
        newest.or(self.codecs.first())
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
        self.newest = Some(packet.payload_type);
        let (index, mut news) = self.stream_of(now, &packet)?;
        let inspection = format.inspect(&packet.payload);
        let described = packet.dependency_descriptor.as_deref();
        let begins = match (format, described) {
            // The payload may be encrypted; a structure comes with key frames alone.
            (Format::Av1, Some(descriptor)) => describes_start(descriptor),
            _ => inspection.starts_frame && inspection.key_frame,
        };
        let stream = self.streams.get_mut(index)?;
        if self.kind == Kind::Video && stream.payload_type != packet.payload_type {
            // Another codec begins. What comes late of the one before is of no use.
            if packet.number < stream.highest {
                return None;
            }
            let former = stream.former;
            *stream = Stream {
                former,
                ..Stream::new(now, &packet)
            };
            news = News::Replaced;
        }
        let former = stream.reader.active();
        let descriptor = described.filter(|_| matches!(format, Format::Av1 | Format::Vp9));
        let is_newest = packet.number >= stream.highest;
        let layers = descriptor.and_then(|own| stream.reader.read(own, is_newest));
        if news == News::Nothing && former.is_some() && former != stream.reader.active() {
            news = News::Relayered;
        }
        // What came before its beginning was left out, and cannot be had any more.
        stream.highest = stream.highest.max(packet.number);
        let seen = Arc::new(Seen {
            format,
            inspection,
            begins: begins && is_newest,
            frame_number: described.and_then(frame_number),
            described: layers.map(Box::new),
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
            .map(|own| own.height().map(u64::from))
            .collect();
        let rates = || -> Option<Vec<u64>> {
            let streams = self.streams.iter_mut();
            streams.map(|own| own.meters.all(now)).collect()
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
            let targets = stream.targets();
            let mut own = Vec::new();
            for target in &targets {
                let rate = stream.meters.rate(now, *target);
                // A spatial layer of which nothing is measured has only just come.
                if rate > 0 {
                    own.push(Level {
                        stream: index,
                        target: *target,
                        rate: Bitrate::bps(rate),
                    });
                }
            }
            if own.is_empty() {
                let highest = targets.iter().map(|own| own.temporal).max().unwrap_or(0);
                let whole = targets.iter().filter(|own| own.temporal == highest);
                own.extend(whole.map(|target| Level {
                    stream: index,
                    target: *target,
                    rate: usual(rank + usize::from(target.spatial)),
                }));
            }
            levels.append(&mut own);
        }
        levels
    }

    /// The layers that there are, for who may choose among them, the lowest first.
    pub(super) fn layers_at(&mut self, now: Instant) -> Vec<Layer> {
        let mut layers = Vec::new();
        for index in self.order(now) {
            let Some(stream) = self.streams.get_mut(index) else {
                continue;
            };
            let rests = now.saturating_duration_since(stream.heard_at) >= PAUSED_AFTER;
            let targets = stream.targets();
            let is_spatial = targets.iter().any(|own| own.spatial > 0);
            for target in targets {
                let rate = stream.meters.rate(now, target);
                let (width, height) = stream.size(target.spatial).unzip();
                layers.push(Layer {
                    rid: stream.rid.as_ref().map(|own| own.as_str().to_owned()),
                    spatial_layer_id: is_spatial.then_some(target.spatial),
                    temporal_layer_id: target.temporal,
                    bitrate: (!rests && rate > 0).then_some(rate),
                    width,
                    height,
                });
            }
        }
        layers
    }

    /// Whether a stream was agreed on of which nothing has come yet.
    pub(super) fn has_unseen(&self) -> bool {
        let seen = |rid: &Rid| self.streams.iter().any(|own| own.rid.as_ref() == Some(rid));
        !self.rids.iter().all(seen)
    }

    /// The rate of all streams together.
    pub(super) fn rate(&mut self, now: Instant) -> Bitrate {
        let streams = self.streams.iter_mut();
        Bitrate::bps(streams.filter_map(|own| own.meters.all(now)).sum())
    }
}

impl Stream {
    fn new(now: Instant, packet: &IncomingPacket) -> Self {
        Self {
            rid: packet.rid.clone(),
            ssrc: packet.ssrc,
            payload_type: packet.payload_type,
            meters: LayerMeters::default(),
            reader: Reader::default(),
            heard_at: now,
            highest: packet.number,
            former: None,
            key_at: None,
            sizes: Default::default(),
            kept: VecDeque::new(),
            kept_len: 0,
        }
    }

    pub(super) fn is_named(&self, rid: &str) -> bool {
        self.rid.as_ref().is_some_and(|own| own.as_str() == rid)
    }

    /// Width and height of a spatial layer in pixels, where known.
    pub(super) fn size(&self, spatial: u8) -> Option<(u16, u16)> {
        *self.sizes.get(usize::from(spatial))?
    }

    /// The height of its largest picture.
    pub(super) fn height(&self) -> Option<u16> {
        self.sizes.iter().flatten().map(|(_, height)| *height).max()
    }

    /// What there is to choose from, the lowest first.
    fn targets(&self) -> Vec<Target> {
        let metered = self.meters.targets(PAUSED_AFTER);
        let Some(mut stated) = self.reader.targets() else {
            return metered;
        };
        // An encoder may let a layer rest without a word.
        let comes = |target: &Target| metered.iter().any(|own| own.spatial == target.spatial);
        stated.retain(comes);
        stated
    }

    fn note(&mut self, now: Instant, seen: &Arc<Seen>, kind: Kind) {
        let (layer, serves_upper) = match &seen.described {
            Some(described) => (described.layer, described.serves_upper()),
            None => {
                let layer = Target {
                    spatial: seen.inspection.spatial_layer.unwrap_or(0),
                    temporal: seen.inspection.temporal_layer.unwrap_or(0),
                };
                (layer, !seen.inspection.not_inter_layer_reference)
            }
        };
        let len = seen.packet.payload.len();
        self.meters.note(now, layer, serves_upper, len);
        self.heard_at = now;
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
            self.sizes = self.stated_sizes(seen);
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

    /// What a key frame, or the descriptor beside it, says of the size of its layers.
    fn stated_sizes(&self, seen: &Seen) -> [Option<(u16, u16)>; SPATIAL_MAX as usize] {
        let mut sizes = [None; SPATIAL_MAX as usize];
        let described = |spatial| {
            let own = self.reader.resolution(spatial)?;
            Some((own.width.try_into().ok()?, own.height.try_into().ok()?))
        };
        let in_payload = match seen.format {
            Format::Vp8 => vp8_size(&seen.packet.payload).into_iter().collect(),
            Format::Vp9 => vp9_sizes(&seen.packet.payload),
            Format::Whole | Format::Av1 | Format::H264 | Format::H265 => Vec::new(),
        };
        for (spatial, size) in (0..).zip(&mut sizes) {
            let in_payload = in_payload.get(usize::from(spatial)).copied();
            *size = described(spatial).or(in_payload);
        }
        sizes
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

/// The size in the header of a key frame (RFC 6386 §9.1), 14 bits each.
fn vp8_size(payload: &[u8]) -> Option<(u16, u16)> {
    let (_, frame) = vp8::Descriptor::parse(payload).ok()?;
    match frame {
        [_, _, _, 0x9d, 0x01, 0x2a, size @ ..] => {
            let size = size.first_chunk::<4>()?;
            let [width_low, width_high, height_low, height_high] = *size;
            let number = |low, high| u16::from_le_bytes([low, high]) & 0x3fff;
            Some((
                number(width_low, width_high),
                number(height_low, height_high),
            ))
        }
        _ => None,
    }
}

/// The sizes in the scalability structure of a key frame (RFC 9628 §4.2.1).
fn vp9_sizes(payload: &[u8]) -> Vec<(u16, u16)> {
    let structure = vp9::Descriptor::parse(payload).map(|(own, _)| own.structure);
    structure
        .ok()
        .flatten()
        .map_or(Vec::new(), |own| own.resolutions)
}

/// What the stream or layer of that rank is taken to need until it is measured.
fn usual(rank: usize) -> Bitrate {
    USUAL.get(rank).copied().unwrap_or(Bitrate::kbps(3_000))
}
