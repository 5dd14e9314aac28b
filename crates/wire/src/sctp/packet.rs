//! The common header, and the packet around its chunks (RFC 9260 §3.1).

use thiserror::Error;

use super::checksum::{crc32c, crc32c_of_two};
use super::chunk::{Chunks, WriteChunk};
use crate::reader::{Reader, TooShort};

/// Bytes of the common header.
pub const HEADER_LEN: usize = 12;
/// Bytes of a chunk's type, flags and length.
pub const CHUNK_HEADER_LEN: usize = 4;

/// The common header without its checksum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Port of the sender.
    pub source_port: u16,
    /// Port of the receiver.
    pub destination_port: u16,
    /// Tag of the receiver; 0 only in a packet with an INIT.
    pub verification_tag: u32,
}

/// Why bytes are not an SCTP packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum PacketError {
    /// Less than a common header and one chunk header.
    #[error("shorter than a header and a chunk")]
    TooShort,
    /// The checksum is neither right nor zero.
    #[error("wrong checksum")]
    BadChecksum,
}

impl From<TooShort> for PacketError {
    fn from(_: TooShort) -> Self {
        Self::TooShort
    }
}

/// A received packet, borrowed from the datagram.
#[derive(Debug, Clone, Copy)]
pub struct Packet<'a> {
    /// The common header.
    pub header: Header,
    /// Whether the checksum field is zero, so that nothing was verified: acceptable only as RFC 9653
    /// §5.3 says. (One packet in 2³² has that CRC-32C; the sender's retransmission differs.)
    pub has_zero_checksum: bool,
    body: &'a [u8],
}

impl<'a> Packet<'a> {
    /// Reads the common header and verifies the checksum, unless it is zero.
    ///
    /// # Errors
    /// [`PacketError`] says what is wrong.
    #[inline]
    pub fn parse(bytes: &'a [u8]) -> Result<Self, PacketError> {
        let mut reader = Reader::new(bytes);
        let header = Header {
            source_port: reader.u16()?,
            destination_port: reader.u16()?,
            verification_tag: reader.u32()?,
        };
        let checksum = u32::from_le_bytes(reader.array()?);
        let body = reader.rest();
        if body.len() < CHUNK_HEADER_LEN {
            return Err(PacketError::TooShort);
        }
        let has_zero_checksum = checksum == 0;
        if !has_zero_checksum && checksum != crc32c_of_two(&header.with_zero_checksum(), body) {
            return Err(PacketError::BadChecksum);
        }
        Ok(Self {
            header,
            has_zero_checksum,
            body,
        })
    }

    /// The chunks in their order.
    #[inline]
    pub fn chunks(&self) -> Chunks<'a> {
        Chunks::new(self.body)
    }
}

impl Header {
    fn with_zero_checksum(self) -> [u8; HEADER_LEN] {
        let [a, b] = self.source_port.to_be_bytes();
        let [c, d] = self.destination_port.to_be_bytes();
        let [e, f, g, h] = self.verification_tag.to_be_bytes();
        [a, b, c, d, e, f, g, h, 0, 0, 0, 0]
    }
}

/// Appends one packet to a buffer.
///
/// A chunk that does not fit is refused, so the packet never grows beyond its limit. Dropping the
/// writer without [`Self::finish`] leaves a packet whose checksum is zero.
#[derive(Debug)]
pub struct PacketWriter<'a> {
    out: &'a mut Vec<u8>,
    start: usize,
    end_max: usize,
}

impl<'a> PacketWriter<'a> {
    /// Starts a packet of at most `len_max` bytes at the end of `out`; 65,532 at most.
    pub fn new(out: &'a mut Vec<u8>, header: Header, len_max: usize) -> Self {
        let start = out.len();
        out.extend_from_slice(&header.with_zero_checksum());
        Self {
            start,
            end_max: start.saturating_add(len_max.min(65_532)),
            out,
        }
    }

    /// Appends `chunk` with its padding and answers whether it fitted; nothing is written if not.
    #[inline]
    pub fn push(&mut self, chunk: &impl WriteChunk) -> bool {
        let len = CHUNK_HEADER_LEN.saturating_add(chunk.body_len());
        if len.saturating_add(padding(len)) > self.room() {
            return false;
        }
        let [len_high, len_low] = u16::try_from(len).unwrap_or(u16::MAX).to_be_bytes();
        self.out
            .extend_from_slice(&[chunk.kind(), chunk.flags(), len_high, len_low]);
        chunk.write_body(self.out);
        self.out
            .extend_from_slice([0u8; 3].get(..padding(len)).unwrap_or_default());
        true
    }

    /// Bytes that chunks with their headers may still take.
    #[inline]
    pub fn room(&self) -> usize {
        self.end_max.saturating_sub(self.out.len())
    }

    /// Whether no chunk has been written.
    pub fn is_empty(&self) -> bool {
        self.out.len() == self.start.saturating_add(HEADER_LEN)
    }

    /// Takes the packet back out of the buffer.
    pub fn cancel(self) {
        self.out.truncate(self.start);
    }

    /// Fills in the checksum: the CRC-32C, or zero where the receiver accepts that (RFC 9653).
    pub fn finish(self, checksum: Checksum) {
        match checksum {
            Checksum::Zero => {}
            Checksum::Crc32c => {
                let packet = self.out.get(self.start..).unwrap_or_default();
                let sum = crc32c(packet).to_le_bytes();
                let at = self.start.saturating_add(8);
                if let Some(field) = self.out.get_mut(at..at.saturating_add(4)) {
                    field.copy_from_slice(&sum);
                }
            }
        }
    }
}

/// What goes into the checksum field of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Checksum {
    /// The CRC-32C.
    Crc32c,
    /// Zero (RFC 9653 §5.2).
    Zero,
}

/// Bytes that make `len` a multiple of four.
#[inline]
pub(super) fn padding(len: usize) -> usize {
    len.wrapping_neg() & 3
}
