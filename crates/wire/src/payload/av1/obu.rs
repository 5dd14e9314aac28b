//! Open bitstream units (AV1 bitstream specification §5.3).

use crate::bits::{BitReader, leb128, leb128_len, write_leb128};
use crate::payload::PayloadError;
use crate::reader::Reader;

const SEQUENCE_HEADER: u8 = 1;
const TEMPORAL_DELIMITER: u8 = 2;
const FRAME_HEADER: u8 = 3;
const FRAME: u8 = 6;
const TILE_LIST: u8 = 8;
const PADDING: u8 = 15;

const HAS_EXTENSION: u8 = 0x04;
const HAS_SIZE: u8 = 0x02;

/// An OBU without its size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Obu<'a> {
    /// The first byte of the header, its `obu_has_size_field` cleared.
    header: u8,
    /// The second byte, where there is one.
    extension: Option<u8>,
    /// What follows the header.
    pub body: &'a [u8],
}

impl<'a> Obu<'a> {
    /// Takes the next OBU; one without a size reaches to the end.
    ///
    /// # Errors
    /// [`PayloadError::TooShort`] for a size beyond the end, [`PayloadError::BadHeader`] for one
    /// that is malformed, and for the forbidden bit.
    pub(super) fn take(reader: &mut Reader<'a>) -> Result<Self, PayloadError> {
        let header = reader.u8()?;
        if header & 0x80 != 0 {
            return Err(PayloadError::BadHeader);
        }
        let extension = if header & HAS_EXTENSION != 0 {
            Some(reader.u8()?)
        } else {
            None
        };
        let body = if header & HAS_SIZE != 0 {
            let len = leb128(reader)?.ok_or(PayloadError::BadHeader)?;
            reader.take(len as usize)?
        } else {
            reader.rest()
        };
        Ok(Self {
            header: header & !HAS_SIZE,
            extension,
            body,
        })
    }

    /// Reads an OBU that is all of `bytes`.
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, PayloadError> {
        let mut reader = Reader::new(bytes);
        let obu = Self::take(&mut reader)?;
        if !reader.is_empty() {
            return Err(PayloadError::BadHeader);
        }
        Ok(obu)
    }

    /// `obu_type`.
    pub fn kind(&self) -> u8 {
        self.header >> 3 & 0x0f
    }

    /// A frame OBU with that body, and with the second byte of the header where it has one.
    pub(super) fn frame(extension: Option<u8>, body: &'a [u8]) -> Self {
        let has_extension = if extension.is_some() {
            HAS_EXTENSION
        } else {
            0
        };
        Self {
            header: FRAME << 3 | has_extension,
            extension,
            body,
        }
    }

    /// The second byte of the header, where there is one.
    pub(super) fn extension(&self) -> Option<u8> {
        self.extension
    }

    pub(super) fn is_sequence_header(&self) -> bool {
        self.kind() == SEQUENCE_HEADER
    }

    /// Whether this is a frame, or the header of one.
    pub(super) fn is_frame(&self) -> bool {
        matches!(self.kind(), FRAME | FRAME_HEADER)
    }

    /// Whether this travels: temporal delimiters and tile lists must not (payload format §5), and
    /// padding need not.
    pub(super) fn travels(&self) -> bool {
        !matches!(self.kind(), TEMPORAL_DELIMITER | TILE_LIST | PADDING)
    }

    /// The temporal and spatial layer, where stated.
    pub fn layers(&self) -> Option<(u8, u8)> {
        self.extension.map(|byte| (byte >> 5, byte >> 3 & 3))
    }

    /// The bytes of the header.
    pub(super) fn header(&self) -> ([u8; 2], usize) {
        match self.extension {
            Some(extension) => ([self.header, extension], 2),
            None => ([self.header, 0], 1),
        }
    }

    /// Length without a size, in bytes.
    pub(super) fn len(&self) -> usize {
        let (_, header_len) = self.header();
        header_len.saturating_add(self.body.len())
    }

    /// Appends the OBU with its size: the low-overhead format.
    pub(super) fn write_sized(&self, out: &mut Vec<u8>) {
        out.push(self.header | HAS_SIZE);
        out.extend(self.extension);
        write_leb128(u32::try_from(self.body.len()).unwrap_or(u32::MAX), out);
        out.extend_from_slice(self.body);
    }
}

/// Length of a size that says `len`, in bytes.
pub(super) fn size_len(len: usize) -> usize {
    leb128_len(u32::try_from(len).unwrap_or(u32::MAX))
}

/// The OBUs of a temporal unit in the low-overhead format: each with its size, but for the last,
/// which may be without. Ends after the first malformed one.
pub fn obus(frame: &[u8]) -> impl Iterator<Item = Result<Obu<'_>, PayloadError>> {
    let mut reader = Reader::new(frame);
    core::iter::from_fn(move || {
        if reader.is_empty() {
            return None;
        }
        let obu = Obu::take(&mut reader);
        if obu.is_err() {
            reader.rest();
        }
        Some(obu)
    })
}

/// Whether a temporal unit begins a coded video sequence: it has a sequence header, and its first
/// frame is a key frame that is shown (AV1 bitstream specification §7.5).
pub fn is_key_frame(frame: &[u8]) -> bool {
    let mut reduced_still_picture = None;
    for obu in obus(frame) {
        let Ok(obu) = obu else {
            return false;
        };
        let mut bits = BitReader::new(obu.body);
        match (obu.kind(), reduced_still_picture) {
            (SEQUENCE_HEADER, _) => {
                // `seq_profile` and `still_picture` before it.
                let reduced = bits.bits(4).and_then(|_| bits.flag());
                reduced_still_picture = reduced.ok();
            }
            (FRAME | FRAME_HEADER, None) => return false,
            (FRAME | FRAME_HEADER, Some(true)) => return true,
            // `show_existing_frame`, `frame_type` (0 for a key frame), `show_frame`.
            (FRAME | FRAME_HEADER, Some(false)) => return bits.bits(4) == Ok(1),
            _ => {}
        }
    }
    false
}

/// Whether an OBU is a sequence header, by its first byte.
pub(super) fn is_sequence_header(first: u8) -> bool {
    first >> 3 & 0x0f == SEQUENCE_HEADER
}
