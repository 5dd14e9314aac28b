//! RE-CONFIG (RFC 6525 §3.1) and its parameters (§4).

use super::chunk::{RawChunk, WriteChunk, kind};
use super::init::{read_tlv, write_tlv};
use super::list::List;
use crate::ids::StreamId;
use crate::reader::{Reader, TooShort};
use crate::seq::SeqNo32;

const OUTGOING_RESET: u16 = 13;
const INCOMING_RESET: u16 = 14;
const TSN_RESET: u16 = 15;
const RESPONSE: u16 = 16;
const ADD_OUTGOING: u16 = 17;
const ADD_INCOMING: u16 = 18;

/// Requests to change streams, and responses to them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reconfig<'a> {
    /// One or two parameters.
    pub parameters: ReconfigParameters<'a>,
}

impl<'a> Reconfig<'a> {
    pub(super) fn parse(raw: RawChunk<'a>) -> Self {
        Self {
            parameters: ReconfigParameters { bytes: raw.body },
        }
    }
}

impl WriteChunk for Reconfig<'_> {
    fn kind(&self) -> u8 {
        kind::RE_CONFIG
    }

    fn body_len(&self) -> usize {
        self.parameters.bytes.len()
    }

    fn write_body(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.parameters.bytes);
    }
}

/// Encoded parameters, borrowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReconfigParameters<'a> {
    bytes: &'a [u8],
}

impl<'a> ReconfigParameters<'a> {
    /// Encodes `parameter` into `buffer`, after those already there, and borrows all of them.
    pub fn encode(buffer: &'a mut Vec<u8>, parameter: &ReconfigParameter<'_>) -> Self {
        parameter.write(buffer);
        Self { bytes: buffer }
    }

    /// The parameters in their order; ends at the first that is malformed.
    pub fn iter(&self) -> impl Iterator<Item = ReconfigParameter<'a>> + use<'a> {
        let mut reader = Reader::new(self.bytes);
        core::iter::from_fn(move || ReconfigParameter::read(&mut reader).ok())
    }
}

/// What became of a request (RFC 6525 §4.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReconfigResult {
    /// There was nothing to do.
    NothingToDo,
    /// It was done.
    Performed,
    /// It was refused.
    Denied,
    /// A stream number was wrong.
    WrongSsn,
    /// Another request is being processed.
    RequestInProgress,
    /// The request number was not the expected one.
    BadSequenceNumber,
    /// It is being done; ask again.
    InProgress,
    /// A value that the registry does not have.
    Unknown(u32),
}

impl ReconfigResult {
    fn from_code(code: u32) -> Self {
        match code {
            0 => Self::NothingToDo,
            1 => Self::Performed,
            2 => Self::Denied,
            3 => Self::WrongSsn,
            4 => Self::RequestInProgress,
            5 => Self::BadSequenceNumber,
            6 => Self::InProgress,
            code => Self::Unknown(code),
        }
    }

    fn code(self) -> u32 {
        match self {
            Self::NothingToDo => 0,
            Self::Performed => 1,
            Self::Denied => 2,
            Self::WrongSsn => 3,
            Self::RequestInProgress => 4,
            Self::BadSequenceNumber => 5,
            Self::InProgress => 6,
            Self::Unknown(code) => code,
        }
    }
}

/// A parameter of RE-CONFIG.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReconfigParameter<'a> {
    /// The sender resets streams that it sends on (§4.1).
    OutgoingReset {
        /// Number of this request.
        request: SeqNo32,
        /// Number of the last request that was received.
        response: SeqNo32,
        /// Last TSN before the reset.
        last_tsn: SeqNo32,
        /// The streams; none stands for all.
        streams: List<'a, StreamId>,
    },
    /// The sender asks for a reset of streams that it receives on (§4.2).
    IncomingReset {
        /// Number of this request.
        request: SeqNo32,
        /// The streams; none stands for all.
        streams: List<'a, StreamId>,
    },
    /// The sender asks for all sequence numbers to start over (§4.3).
    TsnReset {
        /// Number of this request.
        request: SeqNo32,
    },
    /// What became of a request (§4.4).
    Response {
        /// Number of the request.
        response: SeqNo32,
        /// The result.
        result: ReconfigResult,
    },
    /// The sender wants more streams to send on (§4.5).
    AddOutgoing {
        /// Number of this request.
        request: SeqNo32,
        /// How many more.
        count: u16,
    },
    /// The sender asks for more streams to receive on (§4.6).
    AddIncoming {
        /// Number of this request.
        request: SeqNo32,
        /// How many more.
        count: u16,
    },
    /// Any other.
    Unknown {
        /// The type.
        kind: u16,
        /// The value without padding.
        value: &'a [u8],
    },
}

impl<'a> ReconfigParameter<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, TooShort> {
        let (kind, value) = read_tlv(reader)?;
        let mut fields = Reader::new(value);
        let mut number = || fields.u32().map(SeqNo32);
        Ok(match kind {
            OUTGOING_RESET => Self::OutgoingReset {
                request: number()?,
                response: number()?,
                last_tsn: number()?,
                streams: List::new(fields.rest()),
            },
            INCOMING_RESET => Self::IncomingReset {
                request: number()?,
                streams: List::new(fields.rest()),
            },
            TSN_RESET => Self::TsnReset { request: number()? },
            RESPONSE => Self::Response {
                response: number()?,
                result: ReconfigResult::from_code(fields.u32()?),
            },
            ADD_OUTGOING => Self::AddOutgoing {
                request: number()?,
                count: fields.u16()?,
            },
            ADD_INCOMING => Self::AddIncoming {
                request: number()?,
                count: fields.u16()?,
            },
            kind => Self::Unknown { kind, value },
        })
    }

    fn write(&self, out: &mut Vec<u8>) -> bool {
        match *self {
            Self::OutgoingReset {
                request,
                response,
                last_tsn,
                streams,
            } => write_tlv(out, OUTGOING_RESET, |out| {
                for number in [request, response, last_tsn] {
                    out.extend_from_slice(&number.0.to_be_bytes());
                }
                out.extend_from_slice(streams.as_bytes());
            }),
            Self::IncomingReset { request, streams } => write_tlv(out, INCOMING_RESET, |out| {
                out.extend_from_slice(&request.0.to_be_bytes());
                out.extend_from_slice(streams.as_bytes());
            }),
            Self::TsnReset { request } => write_tlv(out, TSN_RESET, |out| {
                out.extend_from_slice(&request.0.to_be_bytes());
            }),
            Self::Response { response, result } => write_tlv(out, RESPONSE, |out| {
                out.extend_from_slice(&response.0.to_be_bytes());
                out.extend_from_slice(&result.code().to_be_bytes());
            }),
            Self::AddOutgoing { request, count } => write_tlv(out, ADD_OUTGOING, |out| {
                out.extend_from_slice(&request.0.to_be_bytes());
                out.extend_from_slice(&count.to_be_bytes());
                out.extend_from_slice(&[0; 2]);
            }),
            Self::AddIncoming { request, count } => write_tlv(out, ADD_INCOMING, |out| {
                out.extend_from_slice(&request.0.to_be_bytes());
                out.extend_from_slice(&count.to_be_bytes());
                out.extend_from_slice(&[0; 2]);
            }),
            Self::Unknown { kind, value } => {
                write_tlv(out, kind, |out| out.extend_from_slice(value))
            }
        }
    }
}
