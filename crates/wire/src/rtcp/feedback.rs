//! Feedback about losses and pictures (RFC 4585 §6, RFC 5104 §4.3, REMB draft).

use super::{PAYLOAD_SPECIFIC, RtcpError, TRANSPORT_SPECIFIC, write_packet};
use crate::ids::Ssrc;
use crate::reader::Reader;
use crate::seq::SeqNo16;
use crate::units::Bitrate;

pub(super) const NACK: u8 = 1;
pub(super) const PLI: u8 = 1;
pub(super) const FIR: u8 = 4;
/// Application layer feedback, of which REMB is one.
pub(super) const APPLICATION: u8 = 15;

/// Generic NACK: packets that are missing (RFC 4585 §6.2.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nack {
    /// Who misses them.
    pub sender: Ssrc,
    /// Whose they are.
    pub media: Ssrc,
    /// Which.
    pub entries: Vec<NackEntry>,
}

/// Up to 17 missing packets. Bit `i` of the mask stands for `first + i + 1`, wrapping.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NackEntry {
    /// The first one.
    pub first: SeqNo16,
    /// The 16 that follow it.
    pub following_mask: u16,
}

impl NackEntry {
    /// The missing sequence numbers.
    pub fn sequence_numbers(self) -> impl Iterator<Item = SeqNo16> {
        let following = (0..16u16).filter(move |bit| self.following_mask >> bit & 1 == 1);
        core::iter::once(self.first)
            .chain(following.map(move |bit| self.first.add(bit.saturating_add(1))))
    }
}

impl Nack {
    /// The shortest list of entries for ascending sequence numbers.
    pub fn entries(missing: impl IntoIterator<Item = SeqNo16>) -> Vec<NackEntry> {
        let mut entries: Vec<NackEntry> = Vec::new();
        for sequence in missing {
            if let Some(last) = entries.last_mut() {
                let distance = sequence.0.wrapping_sub(last.first.0);
                if distance == 0 {
                    continue;
                }
                if distance <= 16 {
                    last.following_mask |= 1 << distance.saturating_sub(1);
                    continue;
                }
            }
            entries.push(NackEntry {
                first: sequence,
                following_mask: 0,
            });
        }
        entries
    }

    pub(super) fn parse(mut reader: Reader<'_>) -> Result<Self, RtcpError> {
        let (sender, media) = sources(&mut reader)?;
        let mut entries = Vec::new();
        while !reader.is_empty() {
            entries.push(NackEntry {
                first: SeqNo16(reader.u16()?),
                following_mask: reader.u16()?,
            });
        }
        Ok(Self {
            sender,
            media,
            entries,
        })
    }

    /// Appends the packet.
    pub fn write(&self, out: &mut Vec<u8>) {
        write_packet(out, TRANSPORT_SPECIFIC, NACK, |out| {
            write_sources(out, self.sender, self.media);
            for entry in &self.entries {
                out.extend(entry.first.0.to_be_bytes());
                out.extend(entry.following_mask.to_be_bytes());
            }
        });
    }
}

/// Picture loss indication (RFC 4585 §6.3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pli {
    /// Who lost it.
    pub sender: Ssrc,
    /// Whose it is.
    pub media: Ssrc,
}

impl Pli {
    pub(super) fn parse(mut reader: Reader<'_>) -> Result<Self, RtcpError> {
        let (sender, media) = sources(&mut reader)?;
        Ok(Self { sender, media })
    }

    /// Appends the packet.
    pub fn write(&self, out: &mut Vec<u8>) {
        write_packet(out, PAYLOAD_SPECIFIC, PLI, |out| {
            write_sources(out, self.sender, self.media);
        });
    }
}

/// Full intra request (RFC 5104 §4.3.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fir {
    /// Who asks.
    pub sender: Ssrc,
    /// Which sources are asked.
    pub entries: Vec<FirEntry>,
}

/// One source that is asked for a key frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FirEntry {
    /// The source.
    pub ssrc: Ssrc,
    /// Counts requests; a repetition keeps it.
    pub sequence: u8,
}

impl Fir {
    pub(super) fn parse(mut reader: Reader<'_>) -> Result<Self, RtcpError> {
        let (sender, _) = sources(&mut reader)?;
        let mut entries = Vec::new();
        while !reader.is_empty() {
            let ssrc = Ssrc(reader.u32()?);
            let sequence = reader.u8()?;
            reader.u24()?;
            entries.push(FirEntry { ssrc, sequence });
        }
        Ok(Self { sender, entries })
    }

    /// Appends the packet.
    pub fn write(&self, out: &mut Vec<u8>) {
        write_packet(out, PAYLOAD_SPECIFIC, FIR, |out| {
            write_sources(out, self.sender, Ssrc(0));
            for entry in &self.entries {
                out.extend(entry.ssrc.0.to_be_bytes());
                out.extend([entry.sequence, 0, 0, 0]);
            }
        });
    }
}

/// The receiver's estimate of the bandwidth (draft-alvestrand-rmcat-remb-03 §2.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remb {
    /// Who estimates.
    pub sender: Ssrc,
    /// The estimate; written with 18 significant bits. What the format can say beyond 64 bits is
    /// read as, and written for, the largest rate that there is.
    pub bitrate: Bitrate,
    /// The streams that share it, at most 255.
    pub ssrcs: Vec<Ssrc>,
}

/// The largest estimate, far beyond 64 bits.
const EXPONENT_MAX: u32 = 63;
const MANTISSA_MAX: u32 = 0x3_ffff;

impl Remb {
    /// `None` for application feedback of another kind.
    pub(super) fn parse(mut reader: Reader<'_>) -> Result<Option<Self>, RtcpError> {
        let (sender, _) = sources(&mut reader)?;
        if reader.array() != Ok(*b"REMB") {
            return Ok(None);
        }
        let count = reader.u8()?;
        let estimate = reader.u24()?;
        let (exponent, mantissa) = (estimate >> 18, u64::from(estimate & 0x3_ffff));
        let bps = mantissa.checked_shl(exponent).unwrap_or(u64::MAX);
        // A mantissa shifted out at the top would look small: more than fits is all there is.
        let fits = bps.checked_shr(exponent) == Some(mantissa);
        let ssrcs = (0..count).map(|_| reader.u32().map(Ssrc));
        Ok(Some(Self {
            sender,
            bitrate: Bitrate::bps(if fits { bps } else { u64::MAX }),
            ssrcs: ssrcs.collect::<Result<_, _>>()?,
        }))
    }

    /// Appends the packet.
    pub fn write(&self, out: &mut Vec<u8>) {
        write_packet(out, PAYLOAD_SPECIFIC, APPLICATION, |out| {
            write_sources(out, self.sender, Ssrc(0));
            out.extend(*b"REMB");
            let bps = self.bitrate.as_bps();
            let (exponent, mantissa) = if bps == u64::MAX {
                (EXPONENT_MAX, MANTISSA_MAX)
            } else {
                let exponent = 64u32.saturating_sub(bps.leading_zeros()).saturating_sub(18);
                (exponent, u32::try_from(bps >> exponent).unwrap_or(0))
            };
            let count = u8::try_from(self.ssrcs.len()).unwrap_or(u8::MAX);
            let [_, estimate @ ..] = (exponent << 18 | mantissa).to_be_bytes();
            out.push(count);
            out.extend(estimate);
            for ssrc in self.ssrcs.iter().take(usize::from(count)) {
                out.extend(ssrc.0.to_be_bytes());
            }
        });
    }
}

pub(super) fn sources(reader: &mut Reader<'_>) -> Result<(Ssrc, Ssrc), RtcpError> {
    Ok((Ssrc(reader.u32()?), Ssrc(reader.u32()?)))
}

pub(super) fn write_sources(out: &mut Vec<u8>, sender: Ssrc, media: Ssrc) {
    out.extend(sender.0.to_be_bytes());
    out.extend(media.0.to_be_bytes());
}
