//! ABORT and ERROR with their causes (RFC 9260 §3.3.7, §3.3.10).

use super::chunk::{RawChunk, WriteChunk, kind};
use super::init::{read_tlv, write_tlv};
use crate::ids::StreamId;
use crate::reader::{Reader, TooShort};
use crate::seq::SeqNo32;

const TAG_REFLECTED: u8 = 1;

/// The end of the association, at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Abort<'a> {
    /// Whether the verification tag is the one of the packet that is answered (RFC 9260 §8.4).
    pub is_tag_reflected: bool,
    /// Why.
    pub causes: Causes<'a>,
}

impl<'a> Abort<'a> {
    pub(super) fn parse(raw: RawChunk<'a>) -> Self {
        Self {
            is_tag_reflected: raw.flags & TAG_REFLECTED != 0,
            causes: Causes { bytes: raw.body },
        }
    }
}

impl WriteChunk for Abort<'_> {
    fn kind(&self) -> u8 {
        kind::ABORT
    }

    fn flags(&self) -> u8 {
        u8::from(self.is_tag_reflected)
    }

    fn body_len(&self) -> usize {
        self.causes.bytes.len()
    }

    fn write_body(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.causes.bytes);
    }
}

/// A report of what could not be processed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Error<'a> {
    /// What it was.
    pub causes: Causes<'a>,
}

impl<'a> Error<'a> {
    pub(super) fn parse(raw: RawChunk<'a>) -> Self {
        Self {
            causes: Causes { bytes: raw.body },
        }
    }
}

impl WriteChunk for Error<'_> {
    fn kind(&self) -> u8 {
        kind::ERROR
    }

    fn body_len(&self) -> usize {
        self.causes.bytes.len()
    }

    fn write_body(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.causes.bytes);
    }
}

/// Encoded causes, borrowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Causes<'a> {
    bytes: &'a [u8],
}

impl<'a> Causes<'a> {
    /// The causes in their order; ends at the first that is malformed.
    pub fn iter(&self) -> impl Iterator<Item = Cause<'a>> + use<'a> {
        let mut reader = Reader::new(self.bytes);
        core::iter::from_fn(move || Cause::read(&mut reader).ok())
    }
}

/// Causes that are being built.
#[derive(Debug, Clone, Default)]
pub struct CausesBuf {
    bytes: Vec<u8>,
}

impl CausesBuf {
    /// No cause.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends a cause; answers whether it joined: one longer than 65,531 bytes cannot.
    pub fn push(&mut self, cause: &Cause<'_>) -> bool {
        write_tlv(&mut self.bytes, cause.code(), |out| cause.write_value(out))
    }

    /// The causes, borrowed.
    pub fn as_causes(&self) -> Causes<'_> {
        Causes { bytes: &self.bytes }
    }
}

/// What went wrong (RFC 9260 §3.3.10.1 to §3.3.10.13).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause<'a> {
    /// Data on a stream that does not exist.
    InvalidStream(StreamId),
    /// The cookie came this many microseconds too late.
    StaleCookie(u32),
    /// No memory for the association.
    OutOfResource,
    /// A chunk of a type that the sender does not know, whole.
    UnrecognizedChunk(&'a [u8]),
    /// Parameters that the sender does not know, whole.
    UnrecognizedParameters(&'a [u8]),
    /// A data chunk without user data.
    NoUserData(SeqNo32),
    /// A COOKIE ECHO while the association ends.
    CookieWhileShuttingDown,
    /// The application wanted it; a reason, usually text.
    UserInitiated(&'a [u8]),
    /// The peer broke the protocol; details, usually text.
    ProtocolViolation(&'a [u8]),
    /// Any other.
    Unknown {
        /// The cause code.
        code: u16,
        /// The value without padding.
        value: &'a [u8],
    },
}

impl<'a> Cause<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, TooShort> {
        let (code, value) = read_tlv(reader)?;
        let mut fields = Reader::new(value);
        Ok(match (code, value.len()) {
            (1, 4) => Self::InvalidStream(StreamId(fields.u16()?)),
            (3, 4) => Self::StaleCookie(fields.u32()?),
            (4, 0) => Self::OutOfResource,
            (6, _) => Self::UnrecognizedChunk(value),
            (8, _) => Self::UnrecognizedParameters(value),
            (9, 4) => Self::NoUserData(SeqNo32(fields.u32()?)),
            (10, 0) => Self::CookieWhileShuttingDown,
            (12, _) => Self::UserInitiated(value),
            (13, _) => Self::ProtocolViolation(value),
            _ => Self::Unknown { code, value },
        })
    }

    /// The cause code.
    pub fn code(&self) -> u16 {
        match self {
            Self::InvalidStream(_) => 1,
            Self::StaleCookie(_) => 3,
            Self::OutOfResource => 4,
            Self::UnrecognizedChunk(_) => 6,
            Self::UnrecognizedParameters(_) => 8,
            Self::NoUserData(_) => 9,
            Self::CookieWhileShuttingDown => 10,
            Self::UserInitiated(_) => 12,
            Self::ProtocolViolation(_) => 13,
            Self::Unknown { code, .. } => *code,
        }
    }

    fn write_value(&self, out: &mut Vec<u8>) {
        match self {
            Self::InvalidStream(stream) => {
                out.extend_from_slice(&stream.0.to_be_bytes());
                out.extend_from_slice(&[0; 2]);
            }
            Self::StaleCookie(late) => out.extend_from_slice(&late.to_be_bytes()),
            Self::NoUserData(tsn) => out.extend_from_slice(&tsn.0.to_be_bytes()),
            Self::OutOfResource | Self::CookieWhileShuttingDown => {}
            Self::UnrecognizedChunk(value)
            | Self::UnrecognizedParameters(value)
            | Self::UserInitiated(value)
            | Self::ProtocolViolation(value)
            | Self::Unknown { value, .. } => out.extend_from_slice(value),
        }
    }
}
