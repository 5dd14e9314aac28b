//! The chunk header, and the table of chunks (RFC 9260 §3.2).

use thiserror::Error;

use super::packet::padding;
use super::{
    Abort, CookieEcho, Data, Error, ForwardTsn, Heartbeat, HeartbeatAck, IData, IForwardTsn, Init,
    InitAck, Reconfig, Sack, Shutdown, ShutdownComplete,
};
use crate::reader::{Reader, TooShort};

/// Chunk types (IANA's registry of SCTP parameters).
#[allow(missing_docs, reason = "each is the name of the chunk in its RFC")]
pub mod kind {
    pub const DATA: u8 = 0;
    pub const INIT: u8 = 1;
    pub const INIT_ACK: u8 = 2;
    pub const SACK: u8 = 3;
    pub const HEARTBEAT: u8 = 4;
    pub const HEARTBEAT_ACK: u8 = 5;
    pub const ABORT: u8 = 6;
    pub const SHUTDOWN: u8 = 7;
    pub const SHUTDOWN_ACK: u8 = 8;
    pub const ERROR: u8 = 9;
    pub const COOKIE_ECHO: u8 = 10;
    pub const COOKIE_ACK: u8 = 11;
    pub const SHUTDOWN_COMPLETE: u8 = 14;
    pub const I_DATA: u8 = 64;
    pub const RE_CONFIG: u8 = 130;
    pub const FORWARD_TSN: u8 = 192;
    pub const I_FORWARD_TSN: u8 = 194;
}

/// Why a chunk cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ChunkError {
    /// A field, a list or the chunk itself ends after the input does.
    #[error("chunk ends before its fields do")]
    TooShort,
    /// The length field is below that of a chunk header.
    #[error("chunk length below four")]
    BadLength,
    /// A DATA or I-DATA chunk without payload (RFC 9260 §3.3.1).
    #[error("data chunk without user data")]
    NoUserData,
    /// An initiate tag of zero (RFC 9260 §3.3.2).
    #[error("initiate tag is zero")]
    ZeroTag,
    /// No streams in one of the directions (RFC 9260 §3.3.2).
    #[error("number of streams is zero")]
    ZeroStreams,
    /// A COOKIE ECHO or heartbeat without its content.
    #[error("chunk without its content")]
    Empty,
}

impl From<TooShort> for ChunkError {
    fn from(_: TooShort) -> Self {
        Self::TooShort
    }
}

/// A chunk whose meaning has not been read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RawChunk<'a> {
    /// The type, one of [`kind`] or another.
    pub kind: u8,
    /// The flags.
    pub flags: u8,
    /// What follows the chunk header, without padding.
    pub body: &'a [u8],
}

/// Walks the chunks of a packet; ends after the first error.
#[derive(Debug, Clone)]
pub struct Chunks<'a> {
    reader: Reader<'a>,
}

impl<'a> Chunks<'a> {
    pub(super) fn new(body: &'a [u8]) -> Self {
        Self {
            reader: Reader::new(body),
        }
    }
}

impl<'a> Iterator for Chunks<'a> {
    type Item = Result<RawChunk<'a>, ChunkError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.reader.is_empty() {
            return None;
        }
        let chunk = read(&mut self.reader);
        if chunk.is_err() {
            self.reader.rest();
        }
        Some(chunk)
    }
}

#[inline]
fn read<'a>(reader: &mut Reader<'a>) -> Result<RawChunk<'a>, ChunkError> {
    let [kind, flags, len_high, len_low] = reader.array()?;
    let len = usize::from(u16::from_be_bytes([len_high, len_low]));
    let body = reader.take(len.checked_sub(4).ok_or(ChunkError::BadLength)?)?;
    // RFC 9260 §3.2: the last chunk's padding may be missing; receivers are lenient.
    reader.take(padding(len).min(reader.len()))?;
    Ok(RawChunk { kind, flags, body })
}

/// What a chunk can say about itself to be written by [`super::PacketWriter`].
pub trait WriteChunk {
    /// The chunk type.
    fn kind(&self) -> u8;
    /// The flags.
    fn flags(&self) -> u8 {
        0
    }
    /// Exact number of bytes that [`Self::write_body`] appends.
    fn body_len(&self) -> usize;
    /// Appends what follows the chunk header, without padding.
    fn write_body(&self, out: &mut Vec<u8>);
}

/// A chunk with its meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chunk<'a> {
    /// User data (RFC 9260 §3.3.1).
    Data(Data<'a>),
    /// Interleavable user data (RFC 8260 §2.1).
    IData(IData<'a>),
    /// Opens an association.
    Init(Init<'a>),
    /// Answers an INIT.
    InitAck(InitAck<'a>),
    /// Acknowledges user data.
    Sack(Sack<'a>),
    /// Asks whether the path works.
    Heartbeat(Heartbeat<'a>),
    /// Answers a heartbeat.
    HeartbeatAck(HeartbeatAck<'a>),
    /// Ends the association at once.
    Abort(Abort<'a>),
    /// Asks to end the association.
    Shutdown(Shutdown),
    /// Agrees to end the association.
    ShutdownAck,
    /// Reports what could not be processed.
    Error(Error<'a>),
    /// Returns the state cookie.
    CookieEcho(CookieEcho<'a>),
    /// Ends the handshake.
    CookieAck,
    /// Ends the shutdown.
    ShutdownComplete(ShutdownComplete),
    /// Resets streams (RFC 6525).
    Reconfig(Reconfig<'a>),
    /// Skips abandoned DATA (RFC 3758).
    ForwardTsn(ForwardTsn<'a>),
    /// Skips abandoned I-DATA (RFC 8260 §2.3).
    IForwardTsn(IForwardTsn<'a>),
    /// A type without a meaning here.
    Unknown(RawChunk<'a>),
}

impl<'a> Chunk<'a> {
    /// Reads the meaning of `raw`.
    ///
    /// # Errors
    /// [`ChunkError`] when the body does not have the form of its type.
    #[inline]
    pub fn parse(raw: RawChunk<'a>) -> Result<Self, ChunkError> {
        Ok(match raw.kind {
            kind::DATA => Self::Data(Data::parse(raw)?),
            kind::SACK => Self::Sack(Sack::parse(raw)?),
            kind::I_DATA => Self::IData(IData::parse(raw)?),
            kind::INIT => Self::Init(Init::parse(raw)?),
            kind::INIT_ACK => Self::InitAck(InitAck(Init::parse(raw)?)),
            kind::HEARTBEAT => Self::Heartbeat(Heartbeat { info: raw.body }),
            kind::HEARTBEAT_ACK => Self::HeartbeatAck(HeartbeatAck { info: raw.body }),
            kind::ABORT => Self::Abort(Abort::parse(raw)),
            kind::SHUTDOWN => Self::Shutdown(Shutdown::parse(raw)?),
            kind::SHUTDOWN_ACK => Self::ShutdownAck,
            kind::ERROR => Self::Error(Error::parse(raw)),
            kind::COOKIE_ECHO => Self::CookieEcho(CookieEcho::parse(raw)?),
            kind::COOKIE_ACK => Self::CookieAck,
            kind::SHUTDOWN_COMPLETE => Self::ShutdownComplete(ShutdownComplete::parse(raw)),
            kind::RE_CONFIG => Self::Reconfig(Reconfig::parse(raw)),
            kind::FORWARD_TSN => Self::ForwardTsn(ForwardTsn::parse(raw)?),
            kind::I_FORWARD_TSN => Self::IForwardTsn(IForwardTsn::parse(raw)?),
            _ => Self::Unknown(raw),
        })
    }
}

impl RawChunk<'_> {
    /// Whether the rest of the packet may be processed if this type is unknown (RFC 9260 §3.2).
    pub fn is_skippable(&self) -> bool {
        self.kind & 0x80 != 0
    }

    /// Whether the sender wants to hear that this type is unknown (RFC 9260 §3.2).
    pub fn wants_report(&self) -> bool {
        self.kind & 0x40 != 0
    }
}
