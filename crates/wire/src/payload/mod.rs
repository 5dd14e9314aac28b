//! How frames travel in RTP payloads, and back.
//!
//! Opus (RFC 7587) and G.711 (RFC 3551 §4.5.14) need nothing: a payload is a frame. VP8 and
//! H.264 frames are split into [`Chunk`]s and put together again from complete runs of payloads.

pub mod h264;
pub mod vp8;

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
}

impl From<TooShort> for PayloadError {
    fn from(_: TooShort) -> Self {
        Self::TooShort
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
    /// Several small NAL units (RFC 6184 §5.7.1): a header, then each with its length.
    Aggregate {
        /// The header.
        header: u8,
        /// The units, each shorter than 65536 bytes.
        units: Vec<&'a [u8]>,
    },
}

/// Up to four bytes in front of a piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prefix {
    bytes: [u8; 4],
    len: u8,
}

impl Prefix {
    const NONE: Self = Self {
        bytes: [0; 4],
        len: 0,
    };

    const fn two(a: u8, b: u8) -> Self {
        Self {
            bytes: [a, b, 0, 0],
            len: 2,
        }
    }

    const fn four(bytes: [u8; 4]) -> Self {
        Self { bytes, len: 4 }
    }

    /// The bytes.
    pub fn as_slice(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
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
                out.push(*header);
                for unit in units {
                    let len = u16::try_from(unit.len()).unwrap_or(u16::MAX);
                    out.extend(len.to_be_bytes());
                    out.extend(unit.iter().take(usize::from(len)));
                }
            }
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
