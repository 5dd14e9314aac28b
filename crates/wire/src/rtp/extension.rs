//! The header extensions that we write and read, and their numbers (RFC 8285).

use core::time::Duration;

use super::header::Extensions;
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
}

impl ExtensionKind {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Mid,
        Self::Rid,
        Self::RepairedRid,
        Self::AbsSendTime,
        Self::TransportSequence,
        Self::AudioLevel,
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
    mid: Option<u8>,
    rid: Option<u8>,
    repaired_rid: Option<u8>,
    abs_send_time: Option<u8>,
    transport_sequence: Option<u8>,
    audio_level: Option<u8>,
}

impl ExtensionMap {
    /// Lets `id` (1 to 255) stand for `kind`; 0 is ignored, it means padding.
    pub fn insert(&mut self, kind: ExtensionKind, id: u8) {
        if id != 0 {
            *self.seat(kind) = Some(id);
        }
    }

    /// Whether no extension has a number.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The number of `kind`.
    #[inline]
    pub fn id(&self, kind: ExtensionKind) -> Option<u8> {
        match kind {
            ExtensionKind::Mid => self.mid,
            ExtensionKind::Rid => self.rid,
            ExtensionKind::RepairedRid => self.repaired_rid,
            ExtensionKind::AbsSendTime => self.abs_send_time,
            ExtensionKind::TransportSequence => self.transport_sequence,
            ExtensionKind::AudioLevel => self.audio_level,
        }
    }

    /// What `id` stands for.
    #[inline]
    pub fn kind(&self, id: u8) -> Option<ExtensionKind> {
        ExtensionKind::ALL
            .into_iter()
            .find(|kind| self.id(*kind) == Some(id))
    }

    /// The extensions with their numbers.
    pub fn iter(&self) -> impl Iterator<Item = (ExtensionKind, u8)> + '_ {
        ExtensionKind::ALL
            .into_iter()
            .filter_map(|kind| self.id(kind).map(|id| (kind, id)))
    }

    fn seat(&mut self, kind: ExtensionKind) -> &mut Option<u8> {
        match kind {
            ExtensionKind::Mid => &mut self.mid,
            ExtensionKind::Rid => &mut self.rid,
            ExtensionKind::RepairedRid => &mut self.repaired_rid,
            ExtensionKind::AbsSendTime => &mut self.abs_send_time,
            ExtensionKind::TransportSequence => &mut self.transport_sequence,
            ExtensionKind::AudioLevel => &mut self.audio_level,
        }
    }
}

/// Loudness of a packet (RFC 6464 §3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AudioLevel {
    /// Whether the packet holds speech.
    pub voice: bool,
    /// 0 (loudest) to 127 (silence), in -dBov.
    pub level: u8,
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
}

impl<'a> ExtensionValues<'a> {
    /// Reads those elements that `map` gives a meaning to. An element of the wrong length is as
    /// good as absent.
    pub fn read(extensions: &Extensions<'a>, map: &ExtensionMap) -> Self {
        let mut values = Self::default();
        for (id, value) in extensions.iter() {
            match map.kind(id) {
                Some(ExtensionKind::Mid) => values.mid = Some(value),
                Some(ExtensionKind::Rid) => values.rid = Some(value),
                Some(ExtensionKind::RepairedRid) => values.repaired_rid = Some(value),
                Some(ExtensionKind::AbsSendTime) => {
                    if let [a, b, c] = *value {
                        values.abs_send_time = Some(u32::from_be_bytes([0, a, b, c]));
                    }
                }
                Some(ExtensionKind::TransportSequence) => {
                    if let [a, b] = *value {
                        values.transport_sequence = Some(SeqNo16(u16::from_be_bytes([a, b])));
                    }
                }
                Some(ExtensionKind::AudioLevel) => {
                    if let [byte, ..] = *value {
                        values.audio_level = Some(AudioLevel {
                            voice: byte & 0x80 != 0,
                            level: byte & 0x7f,
                        });
                    }
                }
                None => {}
            }
        }
        values
    }

    /// Appends the extension block; answers whether there was anything to write.
    pub(super) fn write(&self, out: &mut Vec<u8>, map: &ExtensionMap) -> bool {
        let mut fits_one_byte = true;
        let mut is_empty = true;
        self.each(map, |id, value| {
            is_empty = false;
            fits_one_byte &= id <= 14 && (1..=16).contains(&value.len());
        });
        if is_empty {
            return false;
        }
        let profile: u16 = if fits_one_byte { 0xbede } else { 0x1000 };
        out.extend(profile.to_be_bytes());
        let length_at = out.len();
        out.extend([0, 0]);
        let start = out.len();
        self.each(map, |id, value| {
            let len = u8::try_from(value.len()).unwrap_or(u8::MAX);
            if fits_one_byte {
                out.push((id << 4) | (len.saturating_sub(1) & 0x0f));
            } else {
                out.extend([id, len]);
            }
            out.extend(value.iter().take(usize::from(len)));
        });
        let len = out.len().saturating_sub(start).next_multiple_of(4);
        out.resize(start.saturating_add(len), 0);
        let words = u16::try_from(len >> 2).unwrap_or(u16::MAX);
        if let Some(seat) = out.get_mut(length_at..start) {
            seat.copy_from_slice(&words.to_be_bytes());
        }
        true
    }

    fn each(&self, map: &ExtensionMap, mut visit: impl FnMut(u8, &[u8])) {
        for (kind, id) in map.iter() {
            match kind {
                ExtensionKind::Mid => self.mid.into_iter().for_each(|text| visit(id, text)),
                ExtensionKind::Rid => self.rid.into_iter().for_each(|text| visit(id, text)),
                ExtensionKind::RepairedRid => {
                    self.repaired_rid
                        .into_iter()
                        .for_each(|text| visit(id, text));
                }
                ExtensionKind::AbsSendTime => {
                    if let Some(time) = self.abs_send_time {
                        let [_, bytes @ ..] = time.to_be_bytes();
                        visit(id, &bytes);
                    }
                }
                ExtensionKind::TransportSequence => {
                    if let Some(sequence) = self.transport_sequence {
                        visit(id, &sequence.0.to_be_bytes());
                    }
                }
                ExtensionKind::AudioLevel => {
                    if let Some(level) = self.audio_level {
                        let voice = if level.voice { 0x80 } else { 0 };
                        visit(id, &[voice | (level.level & 0x7f)]);
                    }
                }
            }
        }
    }
}

/// A time as [`ExtensionKind::AbsSendTime`] has it: seconds modulo 64 in 6.18 fixed point.
pub fn abs_send_time(time: Duration) -> u32 {
    let fraction = (u64::from(time.subsec_nanos()) << 18) / 1_000_000_000;
    let value = (time.as_secs() << 18) | fraction;
    (value & 0x00ff_ffff) as u32
}
