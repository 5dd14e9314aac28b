//! ULPFEC, generic forward error correction (RFC 5109).
//!
//! ```text
//! |E|L|P|X|  CC   |M| PT recovery |            SN base            |
//! |                          TS recovery                          |
//! |        length recovery        |
//! |       protection length       |             mask              |  of each level;
//! |              mask, with L                     |                  then its payload
//! ```

use super::{FecError, HeaderParity, PacketMask, Protected, Segment, recover};
use crate::ids::Ssrc;
use crate::reader::Reader;
use crate::seq::SeqNo16;

/// Packets that one FEC packet can protect lie within as many numbers.
pub const SPAN_MAX: u16 = 48;

const SHORT_MASK: u16 = 16;

/// Levels that are read. Most senders use one; the RFC has examples with two.
pub const LEVELS_MAX: usize = 8;

/// The payload of a FEC packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ulpfec {
    header: HeaderParity,
    base: SeqNo16,
    levels: Vec<Level>,
}

/// One level of protection: the bytes after those of the level before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Level {
    /// Whose bytes these are; at most the first [`SPAN_MAX`].
    pub mask: PacketMask,
    /// The exclusive or of them, shorter packets filled with zeros.
    pub payload: Vec<u8>,
}

impl Ulpfec {
    /// Protects packets, in one level and from end to end.
    ///
    /// # Errors
    /// [`FecError::Empty`], [`FecError::TooShort`] for what is no RTP packet, and
    /// [`FecError::NotTogether`].
    pub fn protect(packets: &[&[u8]]) -> Result<Self, FecError> {
        let mut protected = Protected::new(packets, SPAN_MAX)?;
        protected.header.first &= 0x3f;
        Ok(Self {
            header: protected.header,
            base: protected.base,
            levels: vec![Level {
                mask: protected.mask,
                payload: protected.payload,
            }],
        })
    }

    /// Reads the payload of a FEC packet. What follows the last whole level is not looked at.
    ///
    /// # Errors
    /// [`FecError::TooShort`], [`FecError::BadHeader`] for an extension (bit E), and
    /// [`FecError::Empty`] for a mask of zeros.
    pub fn parse(payload: &[u8]) -> Result<Self, FecError> {
        let mut reader = Reader::new(payload);
        let [first, second] = reader.array()?;
        if first & 0x80 != 0 {
            return Err(FecError::BadHeader);
        }
        let base = SeqNo16(reader.u16()?);
        let timestamp = reader.u32()?;
        let length = reader.u16()?;
        let is_long = first & 0x40 != 0;
        let mut levels = vec![Level::parse(&mut reader, is_long)?];
        while !reader.is_empty() && levels.len() < LEVELS_MAX {
            levels.push(Level::parse(&mut reader, is_long)?);
        }
        if levels
            .iter()
            .any(|level| level.mask == PacketMask::default())
        {
            return Err(FecError::Empty);
        }
        Ok(Self {
            header: HeaderParity {
                first: first & 0x3f,
                second,
                timestamp,
                length,
            },
            base,
            levels,
        })
    }

    /// Appends the payload of a FEC packet.
    pub fn write(&self, out: &mut Vec<u8>) {
        let is_long = self
            .levels
            .iter()
            .any(|level| level.mask.len() > SHORT_MASK);
        let header = &self.header;
        out.extend([header.first | u8::from(is_long) << 6, header.second]);
        out.extend(self.base.0.to_be_bytes());
        out.extend(header.timestamp.to_be_bytes());
        out.extend(header.length.to_be_bytes());
        for level in &self.levels {
            let len = u16::try_from(level.payload.len()).unwrap_or(u16::MAX);
            out.extend(len.to_be_bytes());
            let [_, _, mask @ ..] = level.mask.bits(0, SPAN_MAX).to_be_bytes();
            let mask_len = if is_long { 6 } else { 2 };
            out.extend(mask.iter().take(mask_len));
            out.extend(level.payload.iter().take(usize::from(len)));
        }
    }

    /// The number from which masks count.
    pub fn base(&self) -> SeqNo16 {
        self.base
    }

    /// The levels, the first of which protects the beginning of packets.
    pub fn levels(&self) -> &[Level] {
        &self.levels
    }

    /// Makes the missing one of the protected packets of `ssrc` again; `packets` holds the others,
    /// and may hold more.
    ///
    /// # Errors
    /// [`FecError::NotOneMissing`], and [`FecError::BadLength`] when the packet is longer than the
    /// levels that protect it.
    pub fn recover(&self, ssrc: Ssrc, packets: &[&[u8]]) -> Result<Vec<u8>, FecError> {
        let segments = self.levels.iter().map(|level| Segment {
            mask: level.mask,
            payload: &level.payload,
        });
        recover(self.header, segments, (ssrc, self.base), packets)
    }
}

impl Level {
    fn parse(reader: &mut Reader<'_>, is_long: bool) -> Result<Self, FecError> {
        let len = usize::from(reader.u16()?);
        let mut mask = PacketMask::default();
        mask.insert_bits(0, u64::from(reader.u16()?), SHORT_MASK);
        if is_long {
            let rest = SPAN_MAX.saturating_sub(SHORT_MASK);
            mask.insert_bits(SHORT_MASK, u64::from(reader.u32()?), rest);
        }
        Ok(Self {
            mask,
            payload: reader.take(len)?.to_vec(),
        })
    }
}
