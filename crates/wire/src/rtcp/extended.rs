//! Extended reports (RFC 3611): of their blocks, those by which a receiver that sends nothing
//! measures the round trip.

use super::{EXTENDED_REPORT, RtcpError, write_packet};
use crate::ids::Ssrc;
use crate::reader::Reader;

const RECEIVER_REFERENCE_TIME: u8 = 4;
const DELAY_SINCE_LAST_RR: u8 = 5;

/// Length of one entry of [`Block::DelaySinceLastRr`] on the wire, in bytes.
const DELAY_LEN: usize = 12;

/// An extended report (RFC 3611 §2). Written, all of it must fit the 256 KiB of an RTCP packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExtendedReport<'a> {
    /// Who reports.
    pub ssrc: Ssrc,
    /// The blocks.
    pub blocks: Vec<Block<'a>>,
}

/// One block of an extended report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Block<'a> {
    /// When a receiver sent this, as NTP has it: seconds since 1900 in 32.32 fixed point (§4.4).
    ReceiverReferenceTime(u64),
    /// The answers to such blocks of others (§4.5).
    DelaySinceLastRr(Vec<DelaySinceLastRr>),
    /// Anything else.
    Unknown {
        /// The type; not 4 or 5.
        block_type: u8,
        /// The byte after it.
        type_specific: u8,
        /// What follows the header, in whole words.
        body: &'a [u8],
    },
}

/// The answer to a receiver's reference time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DelaySinceLastRr {
    /// The receiver.
    pub ssrc: Ssrc,
    /// The middle 32 bits of the time in its last block; 0 for none.
    pub last_rr: u32,
    /// Time since that block came, in 1/65536 s.
    pub delay: u32,
}

impl<'a> ExtendedReport<'a> {
    pub(super) fn parse(mut reader: Reader<'a>) -> Result<Self, RtcpError> {
        let ssrc = Ssrc(reader.u32()?);
        let mut blocks = Vec::new();
        while !reader.is_empty() {
            blocks.push(Block::parse(&mut reader)?);
        }
        Ok(Self { ssrc, blocks })
    }

    /// Appends the packet.
    pub fn write(&self, out: &mut Vec<u8>) {
        write_packet(out, EXTENDED_REPORT, 0, |out| {
            out.extend(self.ssrc.0.to_be_bytes());
            self.blocks.iter().for_each(|block| block.write(out));
        });
    }
}

impl<'a> Block<'a> {
    fn parse(reader: &mut Reader<'a>) -> Result<Self, RtcpError> {
        let [block_type, type_specific] = reader.array()?;
        let words = usize::from(reader.u16()?);
        let body = reader.take(words.saturating_mul(4))?;
        Ok(match block_type {
            RECEIVER_REFERENCE_TIME => {
                let time = body.try_into().map_err(|_| RtcpError::BadBlock)?;
                Self::ReceiverReferenceTime(u64::from_be_bytes(time))
            }
            DELAY_SINCE_LAST_RR => {
                let (entries, []) = body.as_chunks::<DELAY_LEN>() else {
                    return Err(RtcpError::BadBlock);
                };
                let entries = entries.iter().map(DelaySinceLastRr::parse);
                Self::DelaySinceLastRr(entries.collect::<Result<_, _>>()?)
            }
            _ => Self::Unknown {
                block_type,
                type_specific,
                body,
            },
        })
    }

    fn write(&self, out: &mut Vec<u8>) {
        let (head, len) = match self {
            Self::ReceiverReferenceTime(_) => ([RECEIVER_REFERENCE_TIME, 0], 8),
            Self::DelaySinceLastRr(entries) => (
                [DELAY_SINCE_LAST_RR, 0],
                entries.len().saturating_mul(DELAY_LEN),
            ),
            Self::Unknown {
                block_type,
                type_specific,
                body,
            } => ([*block_type, *type_specific], body.len()),
        };
        out.extend(head);
        let words = u16::try_from(len.div_ceil(4)).unwrap_or(u16::MAX);
        out.extend(words.to_be_bytes());
        match self {
            Self::ReceiverReferenceTime(time) => out.extend(time.to_be_bytes()),
            Self::DelaySinceLastRr(entries) => {
                for entry in entries {
                    out.extend(entry.ssrc.0.to_be_bytes());
                    out.extend(entry.last_rr.to_be_bytes());
                    out.extend(entry.delay.to_be_bytes());
                }
            }
            Self::Unknown { body, .. } => {
                out.extend_from_slice(body);
                let zeros = body.len().next_multiple_of(4).saturating_sub(body.len());
                out.extend(core::iter::repeat_n(0, zeros));
            }
        }
    }
}

impl DelaySinceLastRr {
    fn parse(entry: &[u8; DELAY_LEN]) -> Result<Self, RtcpError> {
        let mut reader = Reader::new(entry);
        Ok(Self {
            ssrc: Ssrc(reader.u32()?),
            last_rr: reader.u32()?,
            delay: reader.u32()?,
        })
    }
}
