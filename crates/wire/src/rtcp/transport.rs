//! When packets of the transport arrived (draft-holmer-rmcat-transport-wide-cc-extensions-01).
//!
//! ```text
//! |      base sequence number     |      packet status count      |
//! |                 reference time                | feedback count|
//! |          packet chunk         |         packet chunk          |
//! |         recv delta            |         recv delta            |
//! ```

use super::feedback::{sources, write_sources};
use super::{RtcpError, TRANSPORT_SPECIFIC, write_packet};
use crate::ids::Ssrc;
use crate::reader::Reader;
use crate::seq::SeqNo16;

pub(super) const FORMAT: u8 = 15;

/// Packets reported on in one packet at most. A datagram has room for 1100 that arrived, which is
/// what 100 Mbit/s make in 100 ms, and as many may be lost; the format would allow 65535, which a
/// packet of 24 bytes could make us write down, 60 of them in a datagram.
pub const STATUS_COUNT_MAX: usize = 2048;

/// Arrival times of consecutive packets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransportFeedback {
    /// Who received them.
    pub sender: Ssrc,
    /// One of the sources.
    pub media: Ssrc,
    /// The transport sequence number of the first packet.
    pub base: SeqNo16,
    /// Where the arrival times start from, in units of 64 ms; 24 bits, signed.
    pub reference_time: i32,
    /// Counts feedback packets, wrapping.
    pub count: u8,
    /// For each packet, when it arrived after the one before, in units of 250 µs; `None` for one
    /// that has not arrived. At most [`STATUS_COUNT_MAX`].
    pub deltas: Vec<Option<i16>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Status {
    Lost,
    Small,
    Large,
}

impl Status {
    fn of(delta: Option<i16>) -> Self {
        match delta {
            None => Self::Lost,
            Some(0..=255) => Self::Small,
            Some(_) => Self::Large,
        }
    }

    fn from_bits(bits: u16) -> Self {
        match bits & 3 {
            0 => Self::Lost,
            1 => Self::Small,
            // 3 is reserved; libwebrtc reads it as it reads 2.
            _ => Self::Large,
        }
    }

    fn bits(self) -> u16 {
        match self {
            Self::Lost => 0,
            Self::Small => 1,
            Self::Large => 2,
        }
    }
}

impl TransportFeedback {
    pub(super) fn parse(mut reader: Reader<'_>) -> Result<Self, RtcpError> {
        let (sender, media) = sources(&mut reader)?;
        let base = SeqNo16(reader.u16()?);
        let status_count = usize::from(reader.u16()?);
        let reference_time = (reader.u24()? << 8).cast_signed() >> 8;
        let count = reader.u8()?;
        if status_count > STATUS_COUNT_MAX {
            return Err(RtcpError::TooManyStatuses);
        }
        let mut statuses: Vec<Status> = Vec::with_capacity(status_count);
        while statuses.len() < status_count {
            let chunk = reader.u16()?;
            let left = status_count.saturating_sub(statuses.len());
            if chunk & 0x8000 == 0 {
                let run = usize::from(chunk & 0x1fff);
                let status = Status::from_bits(chunk >> 13);
                statuses.extend(core::iter::repeat_n(status, run.min(left)));
                // A run of nothing would let a long packet take no step forward.
                if run == 0 {
                    return Err(RtcpError::TooShort);
                }
            } else if chunk & 0x4000 == 0 {
                let bits = (0..14u16).rev().map(|shift| chunk >> shift & 1);
                statuses.extend(bits.map(Status::from_bits).take(left));
            } else {
                let pairs = (0..7u16).rev().map(|pair| chunk >> pair.saturating_mul(2));
                statuses.extend(pairs.map(Status::from_bits).take(left));
            }
        }
        let deltas = statuses.into_iter().map(|status| {
            Ok(match status {
                Status::Lost => None,
                Status::Small => Some(i16::from(reader.u8()?)),
                Status::Large => Some(reader.u16()?.cast_signed()),
            })
        });
        Ok(Self {
            sender,
            media,
            base,
            reference_time,
            count,
            deltas: deltas.collect::<Result<_, RtcpError>>()?,
        })
    }

    /// Appends the packet.
    pub fn write(&self, out: &mut Vec<u8>) {
        let statuses = self.deltas.iter().take(STATUS_COUNT_MAX);
        let statuses: Vec<Status> = statuses.map(|delta| Status::of(*delta)).collect();
        write_packet(out, TRANSPORT_SPECIFIC, FORMAT, |out| {
            write_sources(out, self.sender, self.media);
            out.extend(self.base.0.to_be_bytes());
            let count = u16::try_from(statuses.len()).unwrap_or(u16::MAX);
            out.extend(count.to_be_bytes());
            let [_, reference @ ..] = self.reference_time.to_be_bytes();
            out.extend(reference);
            out.push(self.count);
            write_chunks(out, &statuses);
            for delta in self.deltas.iter().take(STATUS_COUNT_MAX).flatten() {
                match u8::try_from(*delta) {
                    Ok(small) => out.push(small),
                    Err(_) => out.extend(delta.to_be_bytes()),
                }
            }
        });
    }

    /// The packets with the moment each arrived, in units of 250 µs since the reference time's
    /// epoch.
    pub fn arrivals(&self) -> impl Iterator<Item = (SeqNo16, Option<i64>)> + '_ {
        let mut time = i64::from(self.reference_time).saturating_mul(256);
        let mut sequence = self.base;
        self.deltas.iter().map(move |delta| {
            let own = sequence;
            sequence = sequence.next();
            let arrival = delta.map(|delta| {
                time = time.saturating_add(i64::from(delta));
                time
            });
            (own, arrival)
        })
    }
}

/// Runs where they save space, else vectors of 14 or 7.
fn write_chunks(out: &mut Vec<u8>, mut statuses: &[Status]) {
    while let Some(first) = statuses.first() {
        let run = statuses.iter().take_while(|own| *own == first).count();
        let run = run.min(0x1fff);
        let narrow = statuses.iter().take(14).all(|own| *own != Status::Large);
        let width = if narrow { 14 } else { 7 };
        let (chunk, taken) = if run >= width || run == statuses.len() {
            let run_bits = u16::try_from(run).unwrap_or(0);
            (first.bits() << 13 | run_bits, run)
        } else {
            let bits = if narrow { 1 } else { 2 };
            let head = if narrow { 0x8000 } else { 0xc000 };
            let vector = (0..width).fold(0u16, |vector, index| {
                let status = statuses.get(index).map_or(0, |own| own.bits());
                vector << bits | status
            });
            (head | vector, width)
        };
        out.extend(chunk.to_be_bytes());
        statuses = statuses.get(taken..).unwrap_or_default();
    }
}
