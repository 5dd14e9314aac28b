//! FlexFEC as libwebrtc speaks it (draft-ietf-payload-flexible-fec-scheme-03 §4.2): one source,
//! its packets named by a mask. RFC 8627 is a later form with another header.
//!
//! ```text
//! |R|F|P|X|  CC   |M| PT recovery |        length recovery        |
//! |                          TS recovery                          |
//! |   SSRC count  |                    reserved                   |
//! |                             SSRC                              |
//! |            SN base            |K|          mask, 15 bits      |
//! |K|                   31 more, unless K was set before          |
//! |K|                   63 more, unless K was set before          |
//! ```

use super::{FecError, HeaderParity, PacketMask, Protected, Segment, recover};
use crate::ids::Ssrc;
use crate::reader::Reader;
use crate::seq::SeqNo16;

/// Packets that one FEC packet can protect lie within as many numbers.
pub const SPAN_MAX: u16 = 109;

/// Where the second and third part of the mask begin.
const SECOND: u16 = 15;
const THIRD: u16 = 46;

/// The payload of a FEC packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flexfec {
    header: HeaderParity,
    ssrc: Ssrc,
    base: SeqNo16,
    mask: PacketMask,
    payload: Vec<u8>,
}

impl Flexfec {
    /// Protects packets from end to end.
    ///
    /// # Errors
    /// [`FecError::Empty`], [`FecError::TooShort`] for what is no RTP packet, and
    /// [`FecError::NotTogether`].
    pub fn protect(packets: &[&[u8]]) -> Result<Self, FecError> {
        let mut protected = Protected::new(packets, SPAN_MAX)?;
        protected.header.first &= 0x3f;
        Ok(Self {
            header: protected.header,
            ssrc: protected.ssrc,
            base: protected.base,
            mask: protected.mask,
            payload: protected.payload,
        })
    }

    /// Reads the payload of a FEC packet.
    ///
    /// # Errors
    /// [`FecError::Unsupported`] for bits R and F, [`FecError::ManySources`],
    /// [`FecError::TooShort`], [`FecError::BadHeader`] for a mask without end, and
    /// [`FecError::Empty`] for one of zeros.
    pub fn parse(payload: &[u8]) -> Result<Self, FecError> {
        let mut reader = Reader::new(payload);
        let [first, second] = reader.array()?;
        if first & 0xc0 != 0 {
            return Err(FecError::Unsupported);
        }
        let length = reader.u16()?;
        let timestamp = reader.u32()?;
        let count = reader.u8()?;
        reader.u24()?;
        if count != 1 {
            return Err(FecError::ManySources);
        }
        let ssrc = Ssrc(reader.u32()?);
        let base = SeqNo16(reader.u16()?);
        let mask = parse_mask(&mut reader)?;
        if mask == PacketMask::default() {
            return Err(FecError::Empty);
        }
        Ok(Self {
            header: HeaderParity {
                first,
                second,
                timestamp,
                length,
            },
            ssrc,
            base,
            mask,
            payload: reader.rest().to_vec(),
        })
    }

    /// Appends the payload of a FEC packet.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend([self.header.first, self.header.second]);
        out.extend(self.header.length.to_be_bytes());
        out.extend(self.header.timestamp.to_be_bytes());
        out.extend([1, 0, 0, 0]);
        out.extend(self.ssrc.0.to_be_bytes());
        out.extend(self.base.0.to_be_bytes());
        let ends_at = |end| u64::from(self.mask.len() <= end);
        let [.., a, b] = (ends_at(SECOND) << 15 | self.mask.bits(0, SECOND)).to_be_bytes();
        out.extend([a, b]);
        if self.mask.len() > SECOND {
            let bits = self.mask.bits(SECOND, THIRD.saturating_sub(SECOND));
            let [_, _, _, _, part @ ..] = (ends_at(THIRD) << 31 | bits).to_be_bytes();
            out.extend(part);
        }
        if self.mask.len() > THIRD {
            let bits = self.mask.bits(THIRD, SPAN_MAX.saturating_sub(THIRD));
            out.extend((1 << 63 | bits).to_be_bytes());
        }
        out.extend_from_slice(&self.payload);
    }

    /// The source that is protected.
    pub fn ssrc(&self) -> Ssrc {
        self.ssrc
    }

    /// The number from which the mask counts.
    pub fn base(&self) -> SeqNo16 {
        self.base
    }

    /// Which packets are protected.
    pub fn mask(&self) -> PacketMask {
        self.mask
    }

    /// Makes the missing one of the protected packets again; `packets` holds the others, and may
    /// hold more.
    ///
    /// # Errors
    /// [`FecError::NotOneMissing`], and [`FecError::BadLength`] when the packet is longer than
    /// what protects it.
    pub fn recover(&self, packets: &[&[u8]]) -> Result<Vec<u8>, FecError> {
        let segment = Segment {
            mask: self.mask,
            payload: &self.payload,
        };
        recover(self.header, [segment], (self.ssrc, self.base), packets)
    }
}

fn parse_mask(reader: &mut Reader<'_>) -> Result<PacketMask, FecError> {
    let mut mask = PacketMask::default();
    let part = u64::from(reader.u16()?);
    mask.insert_bits(0, part, SECOND);
    if part >> 15 == 1 {
        return Ok(mask);
    }
    let part = u64::from(reader.u32()?);
    mask.insert_bits(SECOND, part, THIRD.saturating_sub(SECOND));
    if part >> 31 == 1 {
        return Ok(mask);
    }
    let part = reader.u64()?;
    mask.insert_bits(THIRD, part, SPAN_MAX.saturating_sub(THIRD));
    if part >> 63 == 1 {
        return Ok(mask);
    }
    Err(FecError::BadHeader)
}
