//! When packets of each stream arrived, and how they were marked (RFC 8888).
//!
//! ```text
//! |                 SSRC of the packet sender                     |
//! |                   SSRC of a stream                            |  for each stream
//! |          begin_seq            |          num_reports          |
//! |R|ECN|  arrival time offset    |  ...                          |
//! |                 report timestamp                              |
//! ```

use core::time::Duration;

use super::{RtcpError, TRANSPORT_SPECIFIC, write_packet};
use crate::ids::Ssrc;
use crate::reader::Reader;
use crate::seq::SeqNo16;

pub(super) const FORMAT: u8 = 11;

/// Most packets of a stream in one report: a quarter of the numbers there are (RFC 8888 §3.1).
const PACKETS_MAX: usize = 16_384;

/// Congestion control feedback. Written, all of it must fit the 256 KiB of an RTCP packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CongestionFeedback {
    /// Who received the packets.
    pub sender: Ssrc,
    /// The streams.
    pub streams: Vec<StreamArrivals>,
    /// When this was written, as the middle 32 bits of the NTP time; offsets count back from here.
    pub timestamp: u32,
}

/// Arrivals of consecutive packets of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamArrivals {
    /// The stream.
    pub ssrc: Ssrc,
    /// The number of the first packet.
    pub first: SeqNo16,
    /// The packets; `None` for one that has not arrived. At most 16384 are written.
    pub packets: Vec<Option<PacketArrival>>,
}

/// One packet that arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PacketArrival {
    /// How it was marked. Of copies, the one that was marked.
    pub ecn: Ecn,
    /// When it arrived first.
    pub offset: ArrivalOffset,
}

/// The mark of a packet in its IP header (RFC 3168 §5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ecn {
    /// Its sender does not react to marks.
    NotCapable,
    /// ECT(1), that of L4S.
    Ect1,
    /// ECT(0).
    Ect0,
    /// A router was congested.
    CongestionExperienced,
}

/// How long before the report a packet arrived, in units of 1/1024 s.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ArrivalOffset(u16);

impl ArrivalOffset {
    /// More than 8189 units.
    pub const OVER_RANGE: Self = Self(0x1ffe);

    /// Not measured, or after the timestamp of the report.
    pub const UNKNOWN: Self = Self(0x1fff);

    /// So many units; [`Self::OVER_RANGE`] beyond 8189.
    pub const fn new(units: u16) -> Self {
        if units < Self::OVER_RANGE.0 {
            Self(units)
        } else {
            Self::OVER_RANGE
        }
    }

    /// The units; `None` for the two values that have none.
    pub const fn units(self) -> Option<u16> {
        if self.0 < Self::OVER_RANGE.0 {
            Some(self.0)
        } else {
            None
        }
    }

    /// The offset as a time; `None` as for [`Self::units`].
    pub fn time(self) -> Option<Duration> {
        let micros = u64::from(self.units()?).saturating_mul(1_000_000) / 1024;
        Some(Duration::from_micros(micros))
    }
}

impl Ecn {
    fn from_bits(bits: u16) -> Self {
        match bits & 3 {
            0 => Self::NotCapable,
            1 => Self::Ect1,
            2 => Self::Ect0,
            _ => Self::CongestionExperienced,
        }
    }

    fn bits(self) -> u16 {
        match self {
            Self::NotCapable => 0,
            Self::Ect1 => 1,
            Self::Ect0 => 2,
            Self::CongestionExperienced => 3,
        }
    }
}

impl PacketArrival {
    fn from_bits(bits: u16) -> Option<Self> {
        (bits & 0x8000 != 0).then(|| Self {
            ecn: Ecn::from_bits(bits >> 13),
            offset: ArrivalOffset(bits & 0x1fff),
        })
    }

    fn bits(self) -> u16 {
        0x8000 | self.ecn.bits() << 13 | self.offset.0
    }
}

impl StreamArrivals {
    /// The packets with their numbers.
    pub fn arrivals(&self) -> impl Iterator<Item = (SeqNo16, Option<PacketArrival>)> + '_ {
        let mut next = self.first;
        self.packets.iter().map(move |packet| {
            let own = next;
            next = next.next();
            (own, *packet)
        })
    }

    fn parse(reader: &mut Reader<'_>) -> Result<Self, RtcpError> {
        let ssrc = Ssrc(reader.u32()?);
        let first = SeqNo16(reader.u16()?);
        let count = usize::from(reader.u16()?);
        // An odd one is followed by two bytes that fill the word.
        let blocks = reader.take(count.saturating_mul(2).next_multiple_of(4))?;
        let (blocks, _) = blocks.as_chunks::<2>();
        let packets = blocks.iter().take(count).map(|block| {
            let bits = u16::from_be_bytes(*block);
            PacketArrival::from_bits(bits)
        });
        Ok(Self {
            ssrc,
            first,
            packets: packets.collect(),
        })
    }

    fn write(&self, out: &mut Vec<u8>) {
        let count = self.packets.len().min(PACKETS_MAX);
        out.extend(self.ssrc.0.to_be_bytes());
        out.extend(self.first.0.to_be_bytes());
        out.extend(u16::try_from(count).unwrap_or(0).to_be_bytes());
        for packet in self.packets.iter().take(count) {
            out.extend(packet.map_or(0, PacketArrival::bits).to_be_bytes());
        }
        if count & 1 == 1 {
            out.extend([0, 0]);
        }
    }
}

impl CongestionFeedback {
    pub(super) fn parse(mut reader: Reader<'_>) -> Result<Self, RtcpError> {
        let sender = Ssrc(reader.u32()?);
        let mut streams = Vec::new();
        while reader.len() > 4 {
            streams.push(StreamArrivals::parse(&mut reader)?);
        }
        Ok(Self {
            sender,
            streams,
            timestamp: reader.u32()?,
        })
    }

    /// Appends the packet.
    pub fn write(&self, out: &mut Vec<u8>) {
        write_packet(out, TRANSPORT_SPECIFIC, FORMAT, |out| {
            out.extend(self.sender.0.to_be_bytes());
            self.streams.iter().for_each(|stream| stream.write(out));
            out.extend(self.timestamp.to_be_bytes());
        });
    }
}
