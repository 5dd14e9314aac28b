//! The fixed header, contributing sources, extension elements and padding.

use thiserror::Error;

use super::extension::{ExtensionMap, ExtensionValues};
use crate::ids::{PayloadType, Ssrc};
use crate::reader::{Reader, TooShort};
use crate::seq::SeqNo16;

/// Why an RTP packet cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum RtpError {
    /// It ends inside of the header.
    #[error("packet ends inside of the header")]
    TooShort,
    /// The version is not 2.
    #[error("version is not 2")]
    BadVersion,
    /// The padding count is 0, or more than what follows the header (RFC 3550 §5.1).
    #[error("padding does not fit the payload")]
    BadPadding,
}

impl From<TooShort> for RtpError {
    fn from(_: TooShort) -> Self {
        Self::TooShort
    }
}

/// The header of a received packet. Reading it touches nothing that SRTP encrypts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header<'a> {
    /// Whether the payload ends in padding.
    pub padding: bool,
    /// The end of a frame, for video; the start of a talkspurt, for audio.
    pub marker: bool,
    /// How the payload is to be understood.
    pub payload_type: PayloadType,
    /// Counts packets of the source.
    pub sequence_number: SeqNo16,
    /// The sampling instant in units of the clock rate.
    pub timestamp: u32,
    /// The source.
    pub ssrc: Ssrc,
    csrcs: &'a [u8],
    /// The header extension.
    pub extensions: Extensions<'a>,
    /// Length of all of this, in bytes: where the payload begins.
    pub len: usize,
}

const PADDING: u8 = 0x20;
const EXTENSION: u8 = 0x10;
const ONE_BYTE: u16 = 0xbede;
const TWO_BYTE: u16 = 0x1000;

impl<'a> Header<'a> {
    /// Reads the header at the start of `packet`.
    ///
    /// # Errors
    /// [`RtpError::TooShort`] and [`RtpError::BadVersion`].
    pub fn parse(packet: &'a [u8]) -> Result<Self, RtpError> {
        let mut reader = Reader::new(packet);
        let first = reader.u8()?;
        if first >> 6 != 2 {
            return Err(RtpError::BadVersion);
        }
        let second = reader.u8()?;
        let sequence_number = SeqNo16(reader.u16()?);
        let timestamp = reader.u32()?;
        let ssrc = Ssrc(reader.u32()?);
        let csrcs = reader.take(usize::from(first & 0x0f).saturating_mul(4))?;
        let extensions = if first & EXTENSION == 0 {
            Extensions::default()
        } else {
            let profile = reader.u16()?;
            let words = reader.u16()?;
            let elements = reader.take(usize::from(words).saturating_mul(4))?;
            Extensions { profile, elements }
        };
        Ok(Self {
            padding: first & PADDING != 0,
            marker: second & 0x80 != 0,
            payload_type: PayloadType(second & 0x7f),
            sequence_number,
            timestamp,
            ssrc,
            csrcs,
            extensions,
            len: packet.len().saturating_sub(reader.len()),
        })
    }

    /// The payload without padding, once `packet` is decrypted. Empty for a packet that is all
    /// padding, as bandwidth probes are.
    ///
    /// # Errors
    /// [`RtpError::BadPadding`].
    pub fn payload<'p>(&self, packet: &'p [u8]) -> Result<&'p [u8], RtpError> {
        let payload = packet.get(self.len..).ok_or(RtpError::TooShort)?;
        if !self.padding {
            return Ok(payload);
        }
        let count = payload.last().copied().ok_or(RtpError::BadPadding)?;
        let len = payload.len().checked_sub(usize::from(count));
        match (count, len.and_then(|len| payload.get(..len))) {
            (0, _) | (_, None) => Err(RtpError::BadPadding),
            (_, Some(payload)) => Ok(payload),
        }
    }

    /// The contributing sources, at most 15.
    pub fn csrcs(&self) -> impl Iterator<Item = Ssrc> + 'a {
        let (words, _) = self.csrcs.as_chunks::<4>();
        words.iter().map(|word| Ssrc(u32::from_be_bytes(*word)))
    }
}

/// The elements of a header extension, as they came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Extensions<'a> {
    /// `0xBEDE` for one-byte elements, `0x100` and four bits for two-byte elements.
    pub profile: u16,
    elements: &'a [u8],
}

impl<'a> Extensions<'a> {
    /// The elements as number and value. Reading stops at the first that does not fit; elements
    /// of an unknown profile are not read.
    pub fn iter(&self) -> impl Iterator<Item = (u8, &'a [u8])> + use<'a> {
        let profile = self.profile;
        let mut reader = Reader::new(self.elements);
        core::iter::from_fn(move || match profile {
            ONE_BYTE => next_one_byte(&mut reader),
            profile if profile & 0xfff0 == TWO_BYTE => next_two_byte(&mut reader),
            _ => None,
        })
    }
}

/// RFC 8285 §4.2.
fn next_one_byte<'a>(reader: &mut Reader<'a>) -> Option<(u8, &'a [u8])> {
    loop {
        let head = reader.u8().ok()?;
        match head >> 4 {
            0 => {}
            // Reserved: whatever follows must not be read.
            15 => return None,
            id => {
                let len = usize::from(head & 0x0f).saturating_add(1);
                return reader.take(len).ok().map(|value| (id, value));
            }
        }
    }
}

/// RFC 8285 §4.3.
fn next_two_byte<'a>(reader: &mut Reader<'a>) -> Option<(u8, &'a [u8])> {
    loop {
        let id = reader.u8().ok()?;
        if id != 0 {
            let len = usize::from(reader.u8().ok()?);
            return reader.take(len).ok().map(|value| (id, value));
        }
    }
}

/// How many contributing sources a header has room for (RFC 3550 §5.1).
pub const CSRCS_MAX: usize = 15;

/// The fields of a packet to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeaderFields {
    /// See [`Header::marker`].
    pub marker: bool,
    /// See [`Header::payload_type`]; its upper bit is not written.
    pub payload_type: PayloadType,
    /// See [`Header::sequence_number`].
    pub sequence_number: SeqNo16,
    /// See [`Header::timestamp`].
    pub timestamp: u32,
    /// See [`Header::ssrc`].
    pub ssrc: Ssrc,
}

impl HeaderFields {
    /// Appends the header to `out`, with those of `values` that have a number in `map`.
    pub fn write(&self, out: &mut Vec<u8>, map: &ExtensionMap, values: &ExtensionValues<'_>) {
        self.write_mixed(out, &[], map, values);
    }

    /// [`Self::write`] of a packet that was mixed of the sources `csrcs` (RFC 3550 §5.1), of which 15
    /// are written at most.
    pub fn write_mixed(
        &self,
        out: &mut Vec<u8>,
        csrcs: &[Ssrc],
        map: &ExtensionMap,
        values: &ExtensionValues<'_>,
    ) {
        let start = out.len();
        let csrcs = csrcs.get(..CSRCS_MAX).unwrap_or(csrcs);
        let first = 0x80 | csrcs.len() as u8;
        let marker = if self.marker { 0x80 } else { 0 };
        let [n0, n1] = self.sequence_number.0.to_be_bytes();
        let [t0, t1, t2, t3] = self.timestamp.to_be_bytes();
        let [s0, s1, s2, s3] = self.ssrc.0.to_be_bytes();
        let payload_type = marker | (self.payload_type.0 & 0x7f);
        out.extend_from_slice(&[first, payload_type, n0, n1, t0, t1, t2, t3, s0, s1, s2, s3]);
        for csrc in csrcs {
            out.extend_from_slice(&csrc.0.to_be_bytes());
        }
        if values.write(out, map)
            && let Some(first) = out.get_mut(start)
        {
            *first |= EXTENSION;
        }
    }
}

#[cfg(test)]
mod tests;
