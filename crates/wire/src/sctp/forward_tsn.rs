//! FORWARD TSN (RFC 3758 §3.2) and I-FORWARD-TSN (RFC 8260 §2.3).
//!
//! ```text
//! FORWARD TSN                          I-FORWARD-TSN
//! | new cumulative TSN            |    | new cumulative TSN            |
//! | stream        | SSN           | …  | stream        | reserved  |U| |
//!                                      | message identifier            | …
//! ```

use super::chunk::{ChunkError, RawChunk, WriteChunk, kind};
use super::list::{Entry, List};
use crate::ids::StreamId;
use crate::reader::{Reader, TooShort};
use crate::seq::{SeqNo16, SeqNo32};

/// The last ordered message of a stream that will not come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SkippedStream {
    /// The stream.
    pub stream: StreamId,
    /// The message.
    pub ssn: SeqNo16,
}

impl Entry for SkippedStream {
    const SIZE: usize = 4;

    fn read(reader: &mut Reader<'_>) -> Result<Self, TooShort> {
        Ok(Self {
            stream: StreamId(reader.u16()?),
            ssn: SeqNo16(reader.u16()?),
        })
    }

    fn write(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.stream.0.to_be_bytes());
        out.extend_from_slice(&self.ssn.0.to_be_bytes());
    }
}

/// The last message of a stream, among the ordered or the unordered, that will not come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SkippedMessage {
    /// The stream.
    pub stream: StreamId,
    /// Whether unordered messages are meant.
    pub is_unordered: bool,
    /// The message.
    pub mid: SeqNo32,
}

impl Entry for SkippedMessage {
    const SIZE: usize = 8;

    fn read(reader: &mut Reader<'_>) -> Result<Self, TooShort> {
        Ok(Self {
            stream: StreamId(reader.u16()?),
            is_unordered: reader.u16()? & 1 != 0,
            mid: SeqNo32(reader.u32()?),
        })
    }

    fn write(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.stream.0.to_be_bytes());
        out.extend_from_slice(&u16::from(self.is_unordered).to_be_bytes());
        out.extend_from_slice(&self.mid.0.to_be_bytes());
    }
}

/// Tells the receiver of DATA not to wait for what is abandoned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ForwardTsn<'a> {
    /// Everything up to here counts as received.
    pub new_cumulative_tsn: SeqNo32,
    /// Where ordered delivery goes on.
    pub skipped: List<'a, SkippedStream>,
}

impl<'a> ForwardTsn<'a> {
    pub(super) fn parse(raw: RawChunk<'a>) -> Result<Self, ChunkError> {
        let mut reader = Reader::new(raw.body);
        Ok(Self {
            new_cumulative_tsn: SeqNo32(reader.u32()?),
            skipped: List::new(reader.rest()),
        })
    }
}

impl WriteChunk for ForwardTsn<'_> {
    fn kind(&self) -> u8 {
        kind::FORWARD_TSN
    }

    fn body_len(&self) -> usize {
        self.skipped.as_bytes().len().saturating_add(4)
    }

    fn write_body(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.new_cumulative_tsn.0.to_be_bytes());
        out.extend_from_slice(self.skipped.as_bytes());
    }
}

/// Tells the receiver of I-DATA not to wait for what is abandoned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IForwardTsn<'a> {
    /// Everything up to here counts as received.
    pub new_cumulative_tsn: SeqNo32,
    /// Which messages are abandoned.
    pub skipped: List<'a, SkippedMessage>,
}

impl<'a> IForwardTsn<'a> {
    pub(super) fn parse(raw: RawChunk<'a>) -> Result<Self, ChunkError> {
        let mut reader = Reader::new(raw.body);
        Ok(Self {
            new_cumulative_tsn: SeqNo32(reader.u32()?),
            skipped: List::new(reader.rest()),
        })
    }
}

impl WriteChunk for IForwardTsn<'_> {
    fn kind(&self) -> u8 {
        kind::I_FORWARD_TSN
    }

    fn body_len(&self) -> usize {
        self.skipped.as_bytes().len().saturating_add(4)
    }

    fn write_body(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.new_cumulative_tsn.0.to_be_bytes());
        out.extend_from_slice(self.skipped.as_bytes());
    }
}
