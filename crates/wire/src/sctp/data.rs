//! DATA (RFC 9260 §3.3.1) and I-DATA (RFC 8260 §2.1).
//!
//! ```text
//! DATA                                 I-DATA
//! | TSN                           |    | TSN                           |
//! | stream        | SSN           |    | stream        | reserved      |
//! | payload protocol identifier   |    | message identifier            |
//! | user data …                   |    | PPID (first) or FSN (later)   |
//!                                      | user data …                   |
//! ```

use core::fmt;

use super::chunk::{ChunkError, RawChunk, WriteChunk, kind};
use crate::ids::StreamId;
use crate::reader::Reader;
use crate::seq::{SeqNo16, SeqNo32};

/// Bytes of a DATA chunk before its user data.
pub const DATA_HEADER_LEN: usize = 16;
/// Bytes of an I-DATA chunk before its user data.
pub const I_DATA_HEADER_LEN: usize = 20;

const END: u8 = 0b0001;
const BEGIN: u8 = 0b0010;
const UNORDERED: u8 = 0b0100;
const IMMEDIATE: u8 = 0b1000;

/// A payload protocol identifier: what the user data is (RFC 8831 §8).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ppid(pub u32);

impl Ppid {
    /// A message of the data channel establishment protocol (RFC 8832).
    pub const DCEP: Self = Self(50);
    /// A text, UTF-8.
    pub const STRING: Self = Self(51);
    /// Part of a binary message, deprecated.
    pub const BINARY_PARTIAL: Self = Self(52);
    /// A binary message.
    pub const BINARY: Self = Self(53);
    /// Part of a text, deprecated.
    pub const STRING_PARTIAL: Self = Self(54);
    /// An empty text; the user data is one byte to ignore.
    pub const STRING_EMPTY: Self = Self(56);
    /// An empty binary message; the user data is one byte to ignore.
    pub const BINARY_EMPTY: Self = Self(57);
}

impl fmt::Display for Ppid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// The flags that DATA and I-DATA share, but for the first-fragment flag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DataFlags {
    /// The receiver is to acknowledge without delay (RFC 7053).
    pub is_immediate: bool,
    /// The message is delivered without regard to others of its stream.
    pub is_unordered: bool,
    /// This is the last fragment of its message.
    pub is_end: bool,
}

impl DataFlags {
    #[inline]
    fn parse(flags: u8) -> Self {
        Self {
            is_immediate: flags & IMMEDIATE != 0,
            is_unordered: flags & UNORDERED != 0,
            is_end: flags & END != 0,
        }
    }

    #[inline]
    fn bits(self) -> u8 {
        let bit = |set: bool, bit: u8| if set { bit } else { 0 };
        bit(self.is_immediate, IMMEDIATE)
            | bit(self.is_unordered, UNORDERED)
            | bit(self.is_end, END)
    }
}

/// A fragment of a message, or all of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Data<'a> {
    /// Its transmission sequence number.
    pub tsn: SeqNo32,
    /// Its stream.
    pub stream: StreamId,
    /// Place of the message among the ordered ones of its stream.
    pub ssn: SeqNo16,
    /// What the message is.
    pub ppid: Ppid,
    /// Whether this is the first fragment.
    pub is_begin: bool,
    /// The other flags.
    pub flags: DataFlags,
    /// The user data; empty is never valid on the wire.
    pub payload: &'a [u8],
}

impl<'a> Data<'a> {
    #[inline]
    pub(super) fn parse(raw: RawChunk<'a>) -> Result<Self, ChunkError> {
        let mut reader = Reader::new(raw.body);
        let data = Self {
            tsn: SeqNo32(reader.u32()?),
            stream: StreamId(reader.u16()?),
            ssn: SeqNo16(reader.u16()?),
            ppid: Ppid(reader.u32()?),
            is_begin: raw.flags & BEGIN != 0,
            flags: DataFlags::parse(raw.flags),
            payload: reader.rest(),
        };
        if data.payload.is_empty() {
            return Err(ChunkError::NoUserData);
        }
        Ok(data)
    }
}

impl WriteChunk for Data<'_> {
    fn kind(&self) -> u8 {
        kind::DATA
    }

    #[inline]
    fn flags(&self) -> u8 {
        self.flags.bits() | if self.is_begin { BEGIN } else { 0 }
    }

    #[inline]
    fn body_len(&self) -> usize {
        self.payload.len().saturating_add(12)
    }

    #[inline]
    fn write_body(&self, out: &mut Vec<u8>) {
        let [a, b, c, d] = self.tsn.0.to_be_bytes();
        let [e, f] = self.stream.0.to_be_bytes();
        let [g, h] = self.ssn.0.to_be_bytes();
        let [i, j, k, l] = self.ppid.0.to_be_bytes();
        out.extend_from_slice(&[a, b, c, d, e, f, g, h, i, j, k, l]);
        out.extend_from_slice(self.payload);
    }
}

/// Where in its message an I-DATA fragment stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The first fragment, which says what the message is; its fragment number is 0.
    First(Ppid),
    /// A later fragment with its fragment sequence number.
    Later(SeqNo32),
}

/// A fragment of a message that others may interrupt, or all of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IData<'a> {
    /// Its transmission sequence number.
    pub tsn: SeqNo32,
    /// Its stream.
    pub stream: StreamId,
    /// The message, counted apart for ordered and unordered ones.
    pub mid: SeqNo32,
    /// First or later fragment.
    pub place: Place,
    /// The other flags.
    pub flags: DataFlags,
    /// The user data; empty is never valid on the wire.
    pub payload: &'a [u8],
}

impl<'a> IData<'a> {
    #[inline]
    pub(super) fn parse(raw: RawChunk<'a>) -> Result<Self, ChunkError> {
        let mut reader = Reader::new(raw.body);
        let tsn = SeqNo32(reader.u32()?);
        let stream = StreamId(reader.u16()?);
        let _reserved = reader.u16()?;
        let mid = SeqNo32(reader.u32()?);
        let ppid_or_fsn = reader.u32()?;
        let data = Self {
            tsn,
            stream,
            mid,
            place: if raw.flags & BEGIN != 0 {
                Place::First(Ppid(ppid_or_fsn))
            } else {
                Place::Later(SeqNo32(ppid_or_fsn))
            },
            flags: DataFlags::parse(raw.flags),
            payload: reader.rest(),
        };
        if data.payload.is_empty() {
            return Err(ChunkError::NoUserData);
        }
        Ok(data)
    }
}

impl WriteChunk for IData<'_> {
    fn kind(&self) -> u8 {
        kind::I_DATA
    }

    #[inline]
    fn flags(&self) -> u8 {
        self.flags.bits()
            | match self.place {
                Place::First(_) => BEGIN,
                Place::Later(_) => 0,
            }
    }

    #[inline]
    fn body_len(&self) -> usize {
        self.payload.len().saturating_add(16)
    }

    #[inline]
    fn write_body(&self, out: &mut Vec<u8>) {
        let [a, b, c, d] = self.tsn.0.to_be_bytes();
        let [e, f] = self.stream.0.to_be_bytes();
        let [g, h, i, j] = self.mid.0.to_be_bytes();
        let [k, l, m, n] = match self.place {
            Place::First(ppid) => ppid.0,
            Place::Later(fsn) => fsn.0,
        }
        .to_be_bytes();
        out.extend_from_slice(&[a, b, c, d, e, f, 0, 0, g, h, i, j, k, l, m, n]);
        out.extend_from_slice(self.payload);
    }
}
