//! Forward error correction: packets that are the exclusive or of others.
//!
//! A FEC packet protects several RTP packets; with it and all of them but one, that one can be
//! made again, headers included. [`ulpfec`] (RFC 5109) travels within the protected stream,
//! [`flexfec`] in one of its own.
//!
//! Packets here are whole RTP packets in the clear. Their sequence numbers and sources are not
//! part of what is combined: the mask and the header of the FEC packet say them.

pub mod flexfec;
pub mod ulpfec;

#[cfg(test)]
mod tests;

use thiserror::Error;

use crate::ids::Ssrc;
use crate::reader::{Reader, TooShort};
use crate::seq::SeqNo16;

/// Length of the fixed part of an RTP header, in bytes.
const RTP_HEADER_LEN: usize = 12;

/// Why packets cannot be protected, or a packet cannot be recovered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum FecError {
    /// A FEC packet ends inside of its header, or a media packet inside of the RTP header.
    #[error("packet ends inside of its header")]
    TooShort,
    /// The header has an extension of RFC 5109 (bit E), or lacks the bit that ends the mask.
    #[error("header of a form that does not exist")]
    BadHeader,
    /// FlexFEC's retransmission (bit R), or a fixed pattern instead of a mask (bit F).
    #[error("variant of FlexFEC that is not supported")]
    Unsupported,
    /// FlexFEC for several sources in one packet.
    #[error("FEC packet for several sources")]
    ManySources,
    /// A mask that protects nothing, or no packets to protect.
    #[error("nothing is protected")]
    Empty,
    /// Packets to protect that are of several sources, that repeat a number, or whose numbers are
    /// too far apart for a mask.
    #[error("packets that cannot be protected together")]
    NotTogether,
    /// Not exactly one of the protected packets is missing.
    #[error("not exactly one protected packet is missing")]
    NotOneMissing,
    /// The length that comes out is more than what is protected: a packet is not what it was, or
    /// was protected in part only.
    #[error("recovered length is more than what is protected")]
    BadLength,
}

impl From<TooShort> for FecError {
    fn from(_: TooShort) -> Self {
        Self::TooShort
    }
}

/// Which packets are protected: bit `i`, counted from the lowest, stands for the `i`th number after
/// the base.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PacketMask(u128);

impl PacketMask {
    /// How far after the base each protected packet is.
    pub fn offsets(self) -> impl Iterator<Item = u16> {
        (0..128u16).filter(move |offset| self.0 >> offset & 1 == 1)
    }

    /// Whether the packet `offset` after the base is protected.
    pub fn contains(self, offset: u16) -> bool {
        self.0.checked_shr(u32::from(offset)).unwrap_or(0) & 1 == 1
    }

    /// The offset of the last packet, plus one.
    fn len(self) -> u16 {
        u16::try_from(128u32.saturating_sub(self.0.leading_zeros())).unwrap_or(128)
    }

    /// Answers whether the packet was there.
    fn remove(&mut self, offset: u16) -> bool {
        let had = self.contains(offset);
        if had {
            self.0 ^= 1u128.checked_shl(u32::from(offset)).unwrap_or(0);
        }
        had
    }

    fn insert(&mut self, offset: u16) {
        self.0 |= 1u128.checked_shl(u32::from(offset)).unwrap_or(0);
    }

    /// From `count` bits of which the first (and highest of `bits`) stands for `start`.
    fn insert_bits(&mut self, start: u16, bits: u64, count: u16) {
        for index in 0..count {
            let shift = count.saturating_sub(index).saturating_sub(1);
            if bits >> shift & 1 == 1 {
                self.insert(start.saturating_add(index));
            }
        }
    }

    /// `count` bits from `start`, the first as the highest.
    fn bits(self, start: u16, count: u16) -> u64 {
        (0..count).fold(0, |bits, index| {
            bits << 1 | u64::from(self.contains(start.saturating_add(index)))
        })
    }
}

/// The exclusive or of the header fields that are protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct HeaderParity {
    /// Padding, extension, count of contributing sources; the upper two bits mean nothing.
    first: u8,
    /// Marker and payload type.
    second: u8,
    timestamp: u32,
    /// Length of everything after the fixed header.
    length: u16,
}

impl HeaderParity {
    /// Adds the header of a packet; what follows it is the answer.
    fn add<'a>(&mut self, packet: &'a [u8]) -> Result<&'a [u8], FecError> {
        let mut reader = Reader::new(packet);
        let [first, second] = reader.array()?;
        reader.u16()?;
        let timestamp = reader.u32()?;
        reader.u32()?;
        let payload = reader.rest();
        self.first ^= first;
        self.second ^= second;
        self.timestamp ^= timestamp;
        self.length ^= u16::try_from(payload.len()).map_err(|_| FecError::BadLength)?;
        Ok(payload)
    }
}

/// Combines `bytes` into the beginning of `parity`.
fn combine(parity: &mut [u8], bytes: &[u8]) {
    for (own, other) in parity.iter_mut().zip(bytes) {
        *own ^= other;
    }
}

/// The sequence number and the source of an RTP packet.
fn identity(packet: &[u8]) -> Result<(SeqNo16, Ssrc), FecError> {
    let mut reader = Reader::new(packet);
    reader.u16()?;
    let sequence = SeqNo16(reader.u16()?);
    reader.u32()?;
    Ok((sequence, Ssrc(reader.u32()?)))
}

/// Packets to protect, combined.
struct Protected {
    ssrc: Ssrc,
    base: SeqNo16,
    mask: PacketMask,
    header: HeaderParity,
    /// Everything after the fixed headers, as long as the longest.
    payload: Vec<u8>,
}

impl Protected {
    /// Combines packets of which the last is less than `span_max` after the first.
    fn new(packets: &[&[u8]], span_max: u16) -> Result<Self, FecError> {
        let first = packets.first().ok_or(FecError::Empty)?;
        let (mut base, ssrc) = identity(first)?;
        for packet in packets {
            let (sequence, _) = identity(packet)?;
            if base.is_after(sequence) {
                base = sequence;
            }
        }
        let mut own = Self {
            ssrc,
            base,
            mask: PacketMask::default(),
            header: HeaderParity::default(),
            payload: Vec::new(),
        };
        for packet in packets {
            let (sequence, own_ssrc) = identity(packet)?;
            let offset = sequence.0.wrapping_sub(base.0);
            if own_ssrc != ssrc || offset >= span_max || own.mask.contains(offset) {
                return Err(FecError::NotTogether);
            }
            own.mask.insert(offset);
            let payload = own.header.add(packet)?;
            let len = own.payload.len().max(payload.len());
            own.payload.resize(len, 0);
            combine(&mut own.payload, payload);
        }
        Ok(own)
    }
}

/// Some bytes of packets combined, from where those before end.
struct Segment<'a> {
    mask: PacketMask,
    payload: &'a [u8],
}

/// Makes the one missing packet of the first segment from the others, which are among `packets`.
fn recover<'a>(
    mut header: HeaderParity,
    segments: impl IntoIterator<Item = Segment<'a>>,
    (ssrc, base): (Ssrc, SeqNo16),
    packets: &[&[u8]],
) -> Result<Vec<u8>, FecError> {
    let mut packet: Vec<u8> = Vec::new();
    // The missing packet and the length of what follows its header, once the first segment has
    // told them.
    let mut found: Option<(u16, usize)> = None;
    for segment in segments {
        if found.is_some_and(|(_, len)| packet.len() >= len.saturating_add(RTP_HEADER_LEN)) {
            break;
        }
        let at = packet.len().saturating_sub(RTP_HEADER_LEN);
        let mut payload = segment.payload.to_vec();
        let mut left = segment.mask;
        for other in packets {
            let (sequence, own_ssrc) = identity(other)?;
            let offset = sequence.0.wrapping_sub(base.0);
            // Others, and a packet given twice, are passed over.
            if own_ssrc == ssrc && left.remove(offset) {
                let mut fields = header;
                let bytes = fields.add(other)?;
                if found.is_none() {
                    header = fields;
                }
                combine(&mut payload, bytes.get(at..).unwrap_or_default());
            }
        }
        let mut left = left.offsets();
        let (Some(offset), None) = (left.next(), left.next()) else {
            return Err(FecError::NotOneMissing);
        };
        let (missing, len) = *found.get_or_insert_with(|| {
            packet.extend([0x80 | (header.first & 0x3f), header.second]);
            packet.extend(base.add(offset).0.to_be_bytes());
            packet.extend(header.timestamp.to_be_bytes());
            packet.extend(ssrc.0.to_be_bytes());
            (offset, usize::from(header.length))
        });
        if offset != missing {
            return Err(FecError::BadLength);
        }
        payload.truncate(len.saturating_sub(at));
        packet.extend(payload);
    }
    match found {
        None => Err(FecError::Empty),
        Some((_, len)) if packet.len() < len.saturating_add(RTP_HEADER_LEN) => {
            Err(FecError::BadLength)
        }
        Some(_) => Ok(packet),
    }
}
