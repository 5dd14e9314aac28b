//! SACK (RFC 9260 §3.3.4).
//!
//! ```text
//! | cumulative TSN ack                              |
//! | advertised receiver window credit (a_rwnd)      |
//! | number of gap blocks   | number of duplicates   |
//! | gap start              | gap end                |  …
//! | duplicate TSN                                   |  …
//! ```

use super::chunk::{ChunkError, RawChunk, WriteChunk, kind};
use super::list::{Entry, List};
use crate::reader::{Reader, TooShort};
use crate::seq::SeqNo32;

/// TSNs received beyond the cumulative one, as inclusive offsets from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GapBlock {
    /// Offset of the first.
    pub start: u16,
    /// Offset of the last.
    pub end: u16,
}

impl Entry for GapBlock {
    const SIZE: usize = 4;

    #[inline]
    fn read(reader: &mut Reader<'_>) -> Result<Self, TooShort> {
        let [a, b, c, d] = reader.array()?;
        Ok(Self {
            start: u16::from_be_bytes([a, b]),
            end: u16::from_be_bytes([c, d]),
        })
    }

    fn write(self, out: &mut Vec<u8>) {
        let [a, b] = self.start.to_be_bytes();
        let [c, d] = self.end.to_be_bytes();
        out.extend_from_slice(&[a, b, c, d]);
    }
}

/// An acknowledgement of DATA and I-DATA.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sack<'a> {
    /// Everything up to here has arrived.
    pub cumulative_tsn: SeqNo32,
    /// Free receive buffer, in bytes.
    pub a_rwnd: u32,
    /// What has arrived beyond.
    pub gap_blocks: List<'a, GapBlock>,
    /// TSNs that arrived more than once since the last SACK.
    pub duplicates: List<'a, SeqNo32>,
}

impl<'a> Sack<'a> {
    #[inline]
    pub(super) fn parse(raw: RawChunk<'a>) -> Result<Self, ChunkError> {
        let mut reader = Reader::new(raw.body);
        let cumulative_tsn = SeqNo32(reader.u32()?);
        let a_rwnd = reader.u32()?;
        let gap_blocks_len = reader.u16()?.into();
        let duplicates_len = reader.u16()?.into();
        Ok(Self {
            cumulative_tsn,
            a_rwnd,
            gap_blocks: List::read(&mut reader, gap_blocks_len)?,
            duplicates: List::read(&mut reader, duplicates_len)?,
        })
    }
}

impl WriteChunk for Sack<'_> {
    fn kind(&self) -> u8 {
        kind::SACK
    }

    fn body_len(&self) -> usize {
        12usize
            .saturating_add(self.gap_blocks.as_bytes().len())
            .saturating_add(self.duplicates.as_bytes().len())
    }

    fn write_body(&self, out: &mut Vec<u8>) {
        let count = |len: usize| u16::try_from(len).unwrap_or(u16::MAX).to_be_bytes();
        out.extend_from_slice(&self.cumulative_tsn.0.to_be_bytes());
        out.extend_from_slice(&self.a_rwnd.to_be_bytes());
        out.extend_from_slice(&count(self.gap_blocks.len()));
        out.extend_from_slice(&count(self.duplicates.len()));
        out.extend_from_slice(self.gap_blocks.as_bytes());
        out.extend_from_slice(self.duplicates.as_bytes());
    }
}
