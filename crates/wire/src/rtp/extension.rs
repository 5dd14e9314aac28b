//! The header extensions that we write and read, and their numbers (RFC 8285).

use super::header::Extensions;
use super::values::{
    AbsCaptureTime, AudioLevel, ColorSpace, PlayoutDelay, VideoContentType, VideoOrientation,
    VideoTiming,
};
use crate::seq::SeqNo16;

/// A header extension, by its meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ExtensionKind {
    /// The media section, `a=mid` (RFC 8843 §15).
    Mid,
    /// The stream within the section, `a=rid` (RFC 8852 §3.1).
    Rid,
    /// The stream that a retransmission belongs to (RFC 8852 §3.2).
    RepairedRid,
    /// When the packet left: 24 bits, seconds in 6.18 fixed point.
    AbsSendTime,
    /// A sequence number over all streams of the transport, for congestion control.
    TransportSequence,
    /// Loudness in -dBov and whether it is speech (RFC 6464).
    AudioLevel,
    /// Loudness of each contributing source (RFC 6465).
    CsrcAudioLevel,
    /// How long after its timestamp the packet left (RFC 5450).
    TransmissionOffset,
    /// When the frame was captured.
    AbsCaptureTime,
    /// How the picture must be turned (3GPP TS 26.114).
    VideoOrientation,
    /// How long the receiver may wait before it plays.
    PlayoutDelay,
    /// Camera or screen.
    VideoContentType,
    /// What became of the frame before it left.
    VideoTiming,
    /// How numbers become colors.
    ColorSpace,
    /// What the frame depends on (AV1 payload format, appendix A).
    DependencyDescriptor,
    /// Which layers there are, and their rates.
    VideoLayersAllocation,
}

impl ExtensionKind {
    /// How many there are.
    const COUNT: usize = 16;

    /// All of them, in the order of their declaration.
    pub const ALL: [Self; Self::COUNT] = [
        Self::Mid,
        Self::Rid,
        Self::RepairedRid,
        Self::AbsSendTime,
        Self::TransportSequence,
        Self::AudioLevel,
        Self::CsrcAudioLevel,
        Self::TransmissionOffset,
        Self::AbsCaptureTime,
        Self::VideoOrientation,
        Self::PlayoutDelay,
        Self::VideoContentType,
        Self::VideoTiming,
        Self::ColorSpace,
        Self::DependencyDescriptor,
        Self::VideoLayersAllocation,
    ];

    /// The name in `a=extmap`.
    pub const fn uri(self) -> &'static str {
        match self {
            Self::Mid => "urn:ietf:params:rtp-hdrext:sdes:mid",
            Self::Rid => "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id",
            Self::RepairedRid => "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id",
            Self::AbsSendTime => "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time",
            Self::TransportSequence => {
                "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01"
            }
            Self::AudioLevel => "urn:ietf:params:rtp-hdrext:ssrc-audio-level",
            Self::CsrcAudioLevel => "urn:ietf:params:rtp-hdrext:csrc-audio-level",
            Self::TransmissionOffset => "urn:ietf:params:rtp-hdrext:toffset",
            Self::AbsCaptureTime => "http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time",
            Self::VideoOrientation => "urn:3gpp:video-orientation",
            Self::PlayoutDelay => "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay",
            Self::VideoContentType => {
                "http://www.webrtc.org/experiments/rtp-hdrext/video-content-type"
            }
            Self::VideoTiming => "http://www.webrtc.org/experiments/rtp-hdrext/video-timing",
            Self::ColorSpace => "http://www.webrtc.org/experiments/rtp-hdrext/color-space",
            Self::DependencyDescriptor => {
                "https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension"
            }
            Self::VideoLayersAllocation => {
                "http://www.webrtc.org/experiments/rtp-hdrext/video-layers-allocation00"
            }
        }
    }

    /// The extension of that name.
    pub fn from_uri(uri: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.uri() == uri)
    }
}

/// Which number stands for which extension.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ExtensionMap {
    /// By the place of the extension in [`ExtensionKind::ALL`]; 0 for none.
    ids: [u8; ExtensionKind::COUNT],
}

impl ExtensionMap {
    /// Lets `id` (1 to 255) stand for `kind`; 0 is ignored, it means padding.
    pub fn insert(&mut self, kind: ExtensionKind, id: u8) {
        if id != 0
            && let Some(seat) = self.ids.get_mut(kind as usize)
        {
            *seat = id;
        }
    }

    /// Whether no extension has a number.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The number of `kind`.
    #[inline]
    pub fn id(&self, kind: ExtensionKind) -> Option<u8> {
        let id = self.ids.get(kind as usize).copied();
        id.filter(|id| *id != 0)
    }

    /// What `id` stands for.
    #[inline]
    pub fn kind(&self, id: u8) -> Option<ExtensionKind> {
        let index = self.ids.iter().position(|own| *own == id && id != 0)?;
        ExtensionKind::ALL.get(index).copied()
    }

    /// The extensions with their numbers.
    pub fn iter(&self) -> impl Iterator<Item = (ExtensionKind, u8)> + '_ {
        let all = ExtensionKind::ALL.into_iter().zip(self.ids);
        all.filter(|(_, id)| *id != 0)
    }
}

/// Values of the extensions of one packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ExtensionValues<'a> {
    /// [`ExtensionKind::Mid`].
    pub mid: Option<&'a [u8]>,
    /// [`ExtensionKind::Rid`].
    pub rid: Option<&'a [u8]>,
    /// [`ExtensionKind::RepairedRid`].
    pub repaired_rid: Option<&'a [u8]>,
    /// [`ExtensionKind::AbsSendTime`], the lower 24 bits.
    pub abs_send_time: Option<u32>,
    /// [`ExtensionKind::TransportSequence`].
    pub transport_sequence: Option<SeqNo16>,
    /// [`ExtensionKind::AudioLevel`].
    pub audio_level: Option<AudioLevel>,
    /// [`ExtensionKind::CsrcAudioLevel`]: a byte for each contributing source, 0 (loudest) to 127
    /// (silence) in -dBov; the upper bit means nothing.
    pub csrc_audio_levels: Option<&'a [u8]>,
    /// [`ExtensionKind::TransmissionOffset`], in units of the clock rate; 24 bits, beyond which it
    /// is cut off.
    pub transmission_offset: Option<i32>,
    /// [`ExtensionKind::AbsCaptureTime`].
    pub abs_capture_time: Option<AbsCaptureTime>,
    /// [`ExtensionKind::VideoOrientation`].
    pub video_orientation: Option<VideoOrientation>,
    /// [`ExtensionKind::PlayoutDelay`].
    pub playout_delay: Option<PlayoutDelay>,
    /// [`ExtensionKind::VideoContentType`].
    pub video_content_type: Option<VideoContentType>,
    /// [`ExtensionKind::VideoTiming`].
    pub video_timing: Option<VideoTiming>,
    /// [`ExtensionKind::ColorSpace`].
    pub color_space: Option<ColorSpace>,
    /// [`ExtensionKind::DependencyDescriptor`], to be read by
    /// [`DependencyDescriptor::parse`](super::DependencyDescriptor::parse), which needs the
    /// structure that came before.
    pub dependency_descriptor: Option<&'a [u8]>,
    /// [`ExtensionKind::VideoLayersAllocation`], to be read by
    /// [`VideoLayersAllocation::parse`](super::VideoLayersAllocation::parse).
    pub video_layers_allocation: Option<&'a [u8]>,
}

/// The range of [`ExtensionValues::transmission_offset`].
const OFFSET_MAX: i32 = 0x7f_ffff;
const OFFSET_MIN: i32 = -0x80_0000;

impl<'a> ExtensionValues<'a> {
    /// Reads those elements that `map` gives a meaning to. An element of the wrong length is as
    /// good as absent.
    pub fn read(extensions: &Extensions<'a>, map: &ExtensionMap) -> Self {
        let mut values = Self::default();
        for (id, value) in extensions.iter() {
            if let Some(kind) = map.kind(id) {
                values.read_element(kind, value);
            }
        }
        values
    }

    fn read_element(&mut self, kind: ExtensionKind, value: &'a [u8]) {
        match kind {
            ExtensionKind::Mid => self.mid = Some(value),
            ExtensionKind::Rid => self.rid = Some(value),
            ExtensionKind::RepairedRid => self.repaired_rid = Some(value),
            ExtensionKind::AbsSendTime => {
                if let [a, b, c] = *value {
                    self.abs_send_time = Some(u32::from_be_bytes([0, a, b, c]));
                }
            }
            ExtensionKind::TransportSequence => {
                if let [a, b] = *value {
                    self.transport_sequence = Some(SeqNo16(u16::from_be_bytes([a, b])));
                }
            }
            ExtensionKind::AudioLevel => {
                self.audio_level = AudioLevel::parse(value).or(self.audio_level);
            }
            ExtensionKind::CsrcAudioLevel => self.csrc_audio_levels = Some(value),
            ExtensionKind::TransmissionOffset => {
                if let [a, b, c] = *value {
                    // Shifted down again to extend the sign.
                    let offset = i32::from_be_bytes([a, b, c, 0]) >> 8;
                    self.transmission_offset = Some(offset);
                }
            }
            ExtensionKind::AbsCaptureTime => {
                self.abs_capture_time = AbsCaptureTime::parse(value).or(self.abs_capture_time);
            }
            ExtensionKind::VideoOrientation => {
                self.video_orientation = VideoOrientation::parse(value).or(self.video_orientation);
            }
            ExtensionKind::PlayoutDelay => {
                self.playout_delay = PlayoutDelay::parse(value).or(self.playout_delay);
            }
            ExtensionKind::VideoContentType => {
                if let [byte] = *value {
                    self.video_content_type = Some(VideoContentType(byte));
                }
            }
            ExtensionKind::VideoTiming => {
                self.video_timing = VideoTiming::parse(value).or(self.video_timing);
            }
            ExtensionKind::ColorSpace => {
                self.color_space = ColorSpace::parse(value).or(self.color_space);
            }
            ExtensionKind::DependencyDescriptor => self.dependency_descriptor = Some(value),
            ExtensionKind::VideoLayersAllocation => self.video_layers_allocation = Some(value),
        }
    }

    /// Appends the extension block; answers whether there was anything to write.
    pub(super) fn write(&self, out: &mut Vec<u8>, map: &ExtensionMap) -> bool {
        let start = out.len();
        // Nearly always all of them fit the short form.
        let mut fits = true;
        out.extend_from_slice(&[0xbe, 0xde, 0, 0]);
        let body = out.len();
        self.each(map, |id, value| {
            fits &= id <= 14 && (1..=16).contains(&value.len());
            if fits {
                out.push((id << 4) | (value.len().saturating_sub(1) as u8 & 0x0f));
                out.extend_from_slice(value);
            }
        });
        if !fits {
            out.truncate(start);
            out.extend_from_slice(&[0x10, 0, 0, 0]);
            self.each(map, |id, value| {
                let len = u8::try_from(value.len()).unwrap_or(u8::MAX);
                out.extend_from_slice(&[id, len]);
                out.extend_from_slice(value.get(..usize::from(len)).unwrap_or(value));
            });
        }
        let len = out.len().saturating_sub(body);
        if len == 0 {
            out.truncate(start);
            return false;
        }
        let len = len.next_multiple_of(4);
        out.resize(body.saturating_add(len), 0);
        let words = u16::try_from(len >> 2).unwrap_or(u16::MAX);
        if let Some(seat) = out.get_mut(start.saturating_add(2)..body) {
            seat.copy_from_slice(&words.to_be_bytes());
        }
        true
    }

    fn each(&self, map: &ExtensionMap, mut visit: impl FnMut(u8, &[u8])) {
        for (kind, id) in map.iter() {
            self.with_element(kind, |value| visit(id, value));
        }
    }

    /// Calls `visit` with the element of `kind`, where there is one.
    fn with_element(&self, kind: ExtensionKind, visit: impl FnOnce(&[u8])) {
        match kind {
            ExtensionKind::Mid => _ = self.mid.map(visit),
            ExtensionKind::Rid => _ = self.rid.map(visit),
            ExtensionKind::RepairedRid => _ = self.repaired_rid.map(visit),
            ExtensionKind::AbsSendTime => {
                if let Some(time) = self.abs_send_time {
                    let [_, bytes @ ..] = time.to_be_bytes();
                    visit(&bytes);
                }
            }
            ExtensionKind::TransportSequence => {
                if let Some(sequence) = self.transport_sequence {
                    visit(&sequence.0.to_be_bytes());
                }
            }
            ExtensionKind::AudioLevel => _ = self.audio_level.map(|own| visit(&own.bytes())),
            ExtensionKind::CsrcAudioLevel => _ = self.csrc_audio_levels.map(visit),
            ExtensionKind::TransmissionOffset => {
                if let Some(offset) = self.transmission_offset {
                    let [_, bytes @ ..] = offset.clamp(OFFSET_MIN, OFFSET_MAX).to_be_bytes();
                    visit(&bytes);
                }
            }
            ExtensionKind::AbsCaptureTime => {
                _ = self.abs_capture_time.map(|own| own.with_bytes(visit));
            }
            ExtensionKind::VideoOrientation => {
                _ = self.video_orientation.map(|own| visit(&own.bytes()));
            }
            ExtensionKind::PlayoutDelay => _ = self.playout_delay.map(|own| visit(&own.bytes())),
            ExtensionKind::VideoContentType => {
                _ = self.video_content_type.map(|own| visit(&[own.0]));
            }
            ExtensionKind::VideoTiming => _ = self.video_timing.map(|own| visit(&own.bytes())),
            ExtensionKind::ColorSpace => _ = self.color_space.map(|own| own.with_bytes(visit)),
            ExtensionKind::DependencyDescriptor => _ = self.dependency_descriptor.map(visit),
            ExtensionKind::VideoLayersAllocation => _ = self.video_layers_allocation.map(visit),
        }
    }
}
