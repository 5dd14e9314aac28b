//! INIT and INIT ACK (RFC 9260 §3.3.2, §3.3.3) and their parameters.
//!
//! ```text
//! | initiate tag                                    |
//! | advertised receiver window credit (a_rwnd)      |
//! | outbound streams       | inbound streams        |
//! | initial TSN                                     |
//! | parameter type         | parameter length       |  value, padded to four  …
//! ```

use super::chunk::{ChunkError, RawChunk, WriteChunk, kind};
use super::packet::padding;
use crate::reader::{Reader, TooShort};
use crate::seq::SeqNo32;

/// The error detection method "SCTP over DTLS" of the zero-checksum parameter (RFC 9653 §4).
pub const EDMID_DTLS: u32 = 1;

const STATE_COOKIE: u16 = 7;
const UNRECOGNIZED: u16 = 8;
const ZERO_CHECKSUM: u16 = 0x8001;
const SUPPORTED_EXTENSIONS: u16 = 0x8008;
const FORWARD_TSN: u16 = 0xc000;

/// The wish to open an association.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Init<'a> {
    /// The tag that packets to the sender are to carry; never zero on the wire.
    pub initiate_tag: u32,
    /// The sender's receive buffer, in bytes.
    pub a_rwnd: u32,
    /// Streams that the sender wants to send on; never zero on the wire.
    pub outbound_streams: u16,
    /// Streams that the sender can receive on; never zero on the wire.
    pub inbound_streams: u16,
    /// First TSN that the sender will use.
    pub initial_tsn: SeqNo32,
    /// What else the sender says.
    pub parameters: Parameters<'a>,
}

impl<'a> Init<'a> {
    pub(super) fn parse(raw: RawChunk<'a>) -> Result<Self, ChunkError> {
        let mut reader = Reader::new(raw.body);
        let init = Self {
            initiate_tag: reader.u32()?,
            a_rwnd: reader.u32()?,
            outbound_streams: reader.u16()?,
            inbound_streams: reader.u16()?,
            initial_tsn: SeqNo32(reader.u32()?),
            parameters: Parameters {
                bytes: reader.rest(),
            },
        };
        if init.initiate_tag == 0 {
            return Err(ChunkError::ZeroTag);
        }
        if init.outbound_streams == 0 || init.inbound_streams == 0 {
            return Err(ChunkError::ZeroStreams);
        }
        Ok(init)
    }
}

impl WriteChunk for Init<'_> {
    fn kind(&self) -> u8 {
        kind::INIT
    }

    fn body_len(&self) -> usize {
        self.parameters.bytes.len().saturating_add(16)
    }

    fn write_body(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.initiate_tag.to_be_bytes());
        out.extend_from_slice(&self.a_rwnd.to_be_bytes());
        out.extend_from_slice(&self.outbound_streams.to_be_bytes());
        out.extend_from_slice(&self.inbound_streams.to_be_bytes());
        out.extend_from_slice(&self.initial_tsn.0.to_be_bytes());
        out.extend_from_slice(self.parameters.bytes);
    }
}

/// The answer to an INIT, of the same form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InitAck<'a>(pub Init<'a>);

impl WriteChunk for InitAck<'_> {
    fn kind(&self) -> u8 {
        kind::INIT_ACK
    }

    fn body_len(&self) -> usize {
        self.0.body_len()
    }

    fn write_body(&self, out: &mut Vec<u8>) {
        self.0.write_body(out);
    }
}

/// Encoded parameters, borrowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Parameters<'a> {
    bytes: &'a [u8],
}

impl<'a> Parameters<'a> {
    /// The parameters in their order; ends at the first that is malformed.
    pub fn iter(&self) -> impl Iterator<Item = Parameter<'a>> + use<'a> {
        let mut reader = Reader::new(self.bytes);
        core::iter::from_fn(move || Parameter::read(&mut reader).ok())
    }
}

/// Parameters that are being built.
#[derive(Debug, Clone, Default)]
pub struct ParametersBuf {
    bytes: Vec<u8>,
}

impl ParametersBuf {
    /// No parameters.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends a parameter; answers whether it joined: one longer than 65,531 bytes cannot.
    pub fn push(&mut self, parameter: &Parameter<'_>) -> bool {
        write_tlv(&mut self.bytes, parameter.kind(), |out| {
            parameter.write_value(out);
        })
    }

    /// The parameters, borrowed.
    pub fn as_parameters(&self) -> Parameters<'_> {
        Parameters { bytes: &self.bytes }
    }
}

/// A parameter of INIT or INIT ACK.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parameter<'a> {
    /// What the INIT's sender is to echo (RFC 9260 §3.3.3.1).
    StateCookie(&'a [u8]),
    /// A parameter of the INIT that its receiver does not know, whole (RFC 9260 §3.3.3.1).
    Unrecognized(&'a [u8]),
    /// Chunk types of extensions that the sender processes (RFC 5061 §4.2.7).
    SupportedExtensions(&'a [u8]),
    /// The sender understands FORWARD TSN (RFC 3758 §3.1).
    ForwardTsnSupported,
    /// The sender accepts packets with a zero checksum if this method detects errors
    /// (RFC 9653 §4).
    ZeroChecksumAcceptable(u32),
    /// Any other.
    Unknown {
        /// The type.
        kind: u16,
        /// The value without padding.
        value: &'a [u8],
    },
}

impl<'a> Parameter<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, TooShort> {
        let (kind, value) = read_tlv(reader)?;
        let zero_checksum = Reader::new(value).u32();
        Ok(match (kind, zero_checksum) {
            (STATE_COOKIE, _) => Self::StateCookie(value),
            (UNRECOGNIZED, _) => Self::Unrecognized(value),
            (SUPPORTED_EXTENSIONS, _) => Self::SupportedExtensions(value),
            (FORWARD_TSN, _) if value.is_empty() => Self::ForwardTsnSupported,
            (ZERO_CHECKSUM, Ok(method)) if value.len() == 4 => Self::ZeroChecksumAcceptable(method),
            _ => Self::Unknown { kind, value },
        })
    }

    /// The parameter type.
    pub fn kind(&self) -> u16 {
        match self {
            Self::StateCookie(_) => STATE_COOKIE,
            Self::Unrecognized(_) => UNRECOGNIZED,
            Self::SupportedExtensions(_) => SUPPORTED_EXTENSIONS,
            Self::ForwardTsnSupported => FORWARD_TSN,
            Self::ZeroChecksumAcceptable(_) => ZERO_CHECKSUM,
            Self::Unknown { kind, .. } => *kind,
        }
    }

    fn write_value(&self, out: &mut Vec<u8>) {
        match self {
            Self::StateCookie(value)
            | Self::Unrecognized(value)
            | Self::SupportedExtensions(value)
            | Self::Unknown { value, .. } => out.extend_from_slice(value),
            Self::ForwardTsnSupported => {}
            Self::ZeroChecksumAcceptable(method) => out.extend_from_slice(&method.to_be_bytes()),
        }
    }
}

/// Reads a type, a length that includes both, a value and its padding.
pub(super) fn read_tlv<'a>(reader: &mut Reader<'a>) -> Result<(u16, &'a [u8]), TooShort> {
    let kind = reader.u16()?;
    let len = usize::from(reader.u16()?);
    let value = reader.take(len.checked_sub(4).ok_or(TooShort)?)?;
    reader.take(padding(len).min(reader.len()))?;
    Ok((kind, value))
}

/// Appends what [`read_tlv`] reads; answers whether the value was short enough.
pub(super) fn write_tlv(out: &mut Vec<u8>, kind: u16, write: impl FnOnce(&mut Vec<u8>)) -> bool {
    let start = out.len();
    out.extend_from_slice(&kind.to_be_bytes());
    out.extend_from_slice(&[0; 2]);
    write(out);
    let len = out.len().saturating_sub(start);
    let Ok(len_field) = u16::try_from(len) else {
        out.truncate(start);
        return false;
    };
    let at = start.saturating_add(2);
    if let Some(field) = out.get_mut(at..at.saturating_add(2)) {
        field.copy_from_slice(&len_field.to_be_bytes());
    }
    out.extend_from_slice([0u8; 3].get(..padding(len)).unwrap_or_default());
    true
}
