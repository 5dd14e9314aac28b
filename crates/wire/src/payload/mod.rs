//! How frames travel in RTP payloads, and back.
//!
//! Opus (RFC 7587), G.711 (RFC 3551 §4.5.14) and [G.722](g722) need nothing: a payload is a frame.
//! Frames of VP8, VP9, AV1, H.264 and H.265 are split into [`Chunk`]s and put together again from
//! complete runs of payloads; each of these modules also tells by `inspect` what a payload says of
//! its frame, and VP8 and VP9 let a forwarder replace their [`Counters`].
//! [L16](l16) is cut where a sample ends. [Redundant sound](red), [comfort noise](comfort_noise) and
//! [telephone events](telephone_event) are values of their own.

mod annex_b;
pub mod av1;
pub mod comfort_noise;
pub mod g722;
pub mod h264;
pub mod h265;
pub mod l16;
pub mod red;
pub mod telephone_event;
pub mod vp8;
pub mod vp9;

use thiserror::Error;

use crate::reader::TooShort;

/// Why a payload or a frame is malformed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum PayloadError {
    /// It ends inside of a field.
    #[error("payload ends inside of a field")]
    TooShort,
    /// A fragment without its beginning, or a beginning without its end.
    #[error("fragments do not fit together")]
    TornFragment,
    /// A packet type that this packetization mode does not have.
    #[error("packet type not allowed in this mode")]
    BadType,
    /// Something that may not be split is longer than a packet: a frame of sound, or a NAL unit in
    /// packetization mode 0.
    #[error("longer than a packet, and may not be split")]
    TooLong,
    /// A frame without content.
    #[error("frame without content")]
    Empty,
    /// A field of the payload header, or of a unit within, that contradicts another.
    #[error("payload header contradicts itself")]
    BadHeader,
}

impl From<TooShort> for PayloadError {
    fn from(_: TooShort) -> Self {
        Self::TooShort
    }
}

/// What a payload says of its frame, without decoding it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Inspection {
    /// Whether it begins a frame; where there are spatial layers, the frame of one layer. The
    /// formats without such a mark (H.264, H.265) say so of every payload that begins a unit.
    pub starts_frame: bool,
    /// Whether it ends that. Only VP9 says so; elsewhere this is `false`.
    pub ends_frame: bool,
    /// Whether its frame can be decoded without those before it. Most formats say so only where
    /// a frame begins; elsewhere this is `false`.
    pub key_frame: bool,
    /// Whether nothing refers to its frame, so that it may be left out alone. For H.265, nothing of
    /// its own temporal layer. Not known from payloads of VP9 and AV1: `false`.
    pub discardable: bool,
    /// Whether decoding may go up to its temporal layer here: the frame refers to lower ones only.
    pub switching_point: bool,
    /// The temporal layer, from 0.
    pub temporal_layer: Option<u8>,
    /// The spatial layer, from 0.
    pub spatial_layer: Option<u8>,
    /// Whether no upper spatial layer of its picture needs its frame (RFC 9628 §4.2).
    pub not_inter_layer_reference: bool,
    /// Counts pictures in 7 or 15 bits.
    pub picture_id: Option<u16>,
    /// Counts pictures of the lowest temporal layer.
    pub tl0_picture_index: Option<u8>,
}

/// What a forwarder that leaves pictures out, or joins streams, writes anew in the descriptors of
/// VP8 and VP9. `None` leaves a field as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Replaces the picture id; in a short one only the lower 7 bits are written.
    pub picture_id: Option<u16>,
    /// Replaces TL0PICIDX.
    pub tl0_picture_index: Option<u8>,
    /// Replaces KEYIDX of VP8, of which 5 bits are written.
    pub key_index: Option<u8>,
}

/// The length of the picture id at the front of `field`, in bytes.
fn picture_id_len(field: &[u8]) -> usize {
    match field.first() {
        Some(first) if first & 0x80 != 0 => 2,
        _ => 1,
    }
}

/// Writes a picture id over the one at the front of `field`, as wide as that is.
fn replace_picture_id(field: &mut [u8], id: u16) {
    let [high, low] = id.to_be_bytes();
    match field {
        [first, second, ..] if *first & 0x80 != 0 => {
            *first = 0x80 | high;
            *second = low;
        }
        [first, ..] => *first = low & 0x7f,
        [] => {}
    }
}

/// One RTP payload of a frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Chunk<'a> {
    /// A few bytes of payload header, then a piece of the frame.
    Piece {
        /// The payload header.
        prefix: Prefix,
        /// The piece.
        body: &'a [u8],
    },
    /// Several small NAL units (RFC 6184 §5.7.1, RFC 7798 §4.4.2): a header, then each with its
    /// length.
    Aggregate {
        /// The header.
        header: Prefix,
        /// The units, each shorter than 65536 bytes.
        units: Vec<&'a [u8]>,
    },
    /// OBUs or parts of them (AV1 payload format §4.4).
    Obus {
        /// The aggregation header without the count of elements.
        header: u8,
        /// The elements, at least one.
        elements: Vec<av1::Element<'a>>,
    },
}

/// Longest prefix, in bytes: the descriptor of VP9 that states the sizes of three spatial layers
/// has 18.
const PREFIX_LEN: usize = 20;

/// Up to 20 bytes in front of a piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prefix {
    bytes: [u8; PREFIX_LEN],
    len: u8,
}

impl Prefix {
    const NONE: Self = Self {
        bytes: [0; PREFIX_LEN],
        len: 0,
    };

    /// The first 20 of `bytes`.
    fn new(bytes: &[u8]) -> Self {
        let mut own = Self::NONE;
        for (seat, byte) in own.bytes.iter_mut().zip(bytes) {
            *seat = *byte;
            own.len = own.len.saturating_add(1);
        }
        own
    }

    /// The bytes.
    pub fn as_slice(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }

    /// Sets bits of the byte at `index`.
    fn set_bits(&mut self, index: usize, bits: u8) {
        if let Some(byte) = self.bytes.get_mut(index) {
            *byte |= bits;
        }
    }
}

impl Chunk<'_> {
    /// Appends the payload to `out`.
    pub fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Piece { prefix, body } => {
                out.extend_from_slice(prefix.as_slice());
                out.extend_from_slice(body);
            }
            Self::Aggregate { header, units } => {
                out.extend_from_slice(header.as_slice());
                for unit in units {
                    let len = u16::try_from(unit.len()).unwrap_or(u16::MAX);
                    out.extend(len.to_be_bytes());
                    out.extend(unit.iter().take(usize::from(len)));
                }
            }
            Self::Obus { header, elements } => av1::write_elements(*header, elements, out),
        }
    }
}

/// Splits `bytes` into as few pieces as `len_max` allows, of nearly equal length, so that the
/// last is not a small one with the overhead of a whole packet.
fn even_pieces(bytes: &[u8], len_max: usize) -> impl Iterator<Item = &[u8]> {
    let count = bytes.len().div_ceil(len_max.max(1)).max(1);
    let len = bytes.len().div_ceil(count).max(1);
    bytes.chunks(len)
}
