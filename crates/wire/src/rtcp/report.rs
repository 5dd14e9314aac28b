//! Sender and receiver reports, source descriptions, goodbye.

use super::{
    COUNT_MAX, GOODBYE, RECEIVER_REPORT, RtcpError, SENDER_REPORT, SOURCE_DESCRIPTION, write_packet,
};
use crate::ids::Ssrc;
use crate::reader::Reader;

/// What is received from one source (RFC 3550 §6.4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReportBlock {
    /// The source.
    pub ssrc: Ssrc,
    /// Packets lost since the report before, in 1/256 of those expected.
    pub fraction_lost: u8,
    /// Packets lost since the beginning; duplicates can make it negative. 24 bits.
    pub cumulative_lost: i32,
    /// The highest sequence number, wraps counted in the upper half.
    pub extended_highest_sequence: u32,
    /// Inter-arrival jitter in units of the clock rate.
    pub jitter: u32,
    /// The middle 32 bits of the NTP time in the last sender report; 0 for none.
    pub last_sr: u32,
    /// Time since that report, in 1/65536 s.
    pub delay_since_last_sr: u32,
}

/// The range of [`ReportBlock::cumulative_lost`].
const LOST_MAX: i32 = 0x7f_ffff;
const LOST_MIN: i32 = -0x80_0000;

impl ReportBlock {
    fn parse(reader: &mut Reader<'_>) -> Result<Self, RtcpError> {
        let ssrc = Ssrc(reader.u32()?);
        let fraction_lost = reader.u8()?;
        let lost = reader.u24()?;
        Ok(Self {
            ssrc,
            fraction_lost,
            // Shifted up and down again to extend the sign.
            cumulative_lost: (lost << 8).cast_signed() >> 8,
            extended_highest_sequence: reader.u32()?,
            jitter: reader.u32()?,
            last_sr: reader.u32()?,
            delay_since_last_sr: reader.u32()?,
        })
    }

    fn parse_all(reader: &mut Reader<'_>, count: u8) -> Result<Vec<Self>, RtcpError> {
        (0..count).map(|_| Self::parse(reader)).collect()
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.extend(self.ssrc.0.to_be_bytes());
        let lost = self.cumulative_lost.clamp(LOST_MIN, LOST_MAX);
        let [_, lost @ ..] = lost.to_be_bytes();
        out.push(self.fraction_lost);
        out.extend(lost);
        out.extend(self.extended_highest_sequence.to_be_bytes());
        out.extend(self.jitter.to_be_bytes());
        out.extend(self.last_sr.to_be_bytes());
        out.extend(self.delay_since_last_sr.to_be_bytes());
    }
}

fn count(len: usize) -> u8 {
    u8::try_from(len.min(COUNT_MAX)).unwrap_or(0)
}

/// A sender report (RFC 3550 §6.4.1). At most 31 blocks are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SenderReport {
    /// The source.
    pub ssrc: Ssrc,
    /// When the report was sent, as NTP has it: seconds since 1900 in 32.32 fixed point.
    pub ntp_time: u64,
    /// The same moment on the source's RTP clock.
    pub rtp_timestamp: u32,
    /// Packets sent so far, wrapping.
    pub packet_count: u32,
    /// Bytes of payload sent so far, wrapping.
    pub octet_count: u32,
    /// What the sender receives.
    pub reports: Vec<ReportBlock>,
}

impl SenderReport {
    pub(super) fn parse(mut reader: Reader<'_>, count: u8) -> Result<Self, RtcpError> {
        Ok(Self {
            ssrc: Ssrc(reader.u32()?),
            ntp_time: reader.u64()?,
            rtp_timestamp: reader.u32()?,
            packet_count: reader.u32()?,
            octet_count: reader.u32()?,
            reports: ReportBlock::parse_all(&mut reader, count)?,
        })
    }

    /// Appends the packet.
    pub fn write(&self, out: &mut Vec<u8>) {
        write_packet(out, SENDER_REPORT, count(self.reports.len()), |out| {
            out.extend(self.ssrc.0.to_be_bytes());
            out.extend(self.ntp_time.to_be_bytes());
            out.extend(self.rtp_timestamp.to_be_bytes());
            out.extend(self.packet_count.to_be_bytes());
            out.extend(self.octet_count.to_be_bytes());
            let reports = self.reports.iter().take(COUNT_MAX);
            reports.for_each(|report| report.write(out));
        });
    }
}

/// A receiver report (RFC 3550 §6.4.2). At most 31 blocks are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceiverReport {
    /// Who reports.
    pub ssrc: Ssrc,
    /// What it receives.
    pub reports: Vec<ReportBlock>,
}

impl ReceiverReport {
    pub(super) fn parse(mut reader: Reader<'_>, count: u8) -> Result<Self, RtcpError> {
        Ok(Self {
            ssrc: Ssrc(reader.u32()?),
            reports: ReportBlock::parse_all(&mut reader, count)?,
        })
    }

    /// Appends the packet.
    pub fn write(&self, out: &mut Vec<u8>) {
        write_packet(out, RECEIVER_REPORT, count(self.reports.len()), |out| {
            out.extend(self.ssrc.0.to_be_bytes());
            let reports = self.reports.iter().take(COUNT_MAX);
            reports.for_each(|report| report.write(out));
        });
    }
}

/// The canonical names of sources (RFC 3550 §6.5); other items are not kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sdes {
    /// Sources with their names, at most 31, names of at most 255 bytes.
    pub cnames: Vec<(Ssrc, String)>,
}

const CNAME: u8 = 1;

impl Sdes {
    pub(super) fn parse(mut reader: Reader<'_>, count: u8) -> Result<Self, RtcpError> {
        let mut cnames = Vec::new();
        for _ in 0..count {
            let before = reader.len();
            let ssrc = Ssrc(reader.u32()?);
            loop {
                let kind = reader.u8()?;
                if kind == 0 {
                    break;
                }
                let len = usize::from(reader.u8()?);
                let text = reader.take(len)?;
                if kind == CNAME {
                    let text = core::str::from_utf8(text).map_err(|_| RtcpError::BadText)?;
                    cnames.push((ssrc, text.into()));
                }
            }
            // A chunk ends at a word: the terminator may be followed by more zeros.
            let used = before.saturating_sub(reader.len());
            reader.take(used.next_multiple_of(4).saturating_sub(used))?;
        }
        Ok(Self { cnames })
    }

    /// Appends the packet.
    pub fn write(&self, out: &mut Vec<u8>) {
        write_packet(out, SOURCE_DESCRIPTION, count(self.cnames.len()), |out| {
            for (ssrc, name) in self.cnames.iter().take(COUNT_MAX) {
                out.extend(ssrc.0.to_be_bytes());
                let name = name.as_bytes();
                let len = u8::try_from(name.len()).unwrap_or(u8::MAX);
                out.extend([CNAME, len]);
                out.extend(name.iter().take(usize::from(len)));
                // Four bytes of source, two of item, the name, and 1 to 4 zeros.
                let used = usize::from(len).saturating_add(6);
                let zeros = used
                    .saturating_add(1)
                    .next_multiple_of(4)
                    .saturating_sub(used);
                out.extend(core::iter::repeat_n(0, zeros));
            }
        });
    }
}

/// Sources that end (RFC 3550 §6.6).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bye {
    /// The sources, at most 31.
    pub ssrcs: Vec<Ssrc>,
}

impl Bye {
    pub(super) fn parse(mut reader: Reader<'_>, count: u8) -> Result<Self, RtcpError> {
        let ssrcs = (0..count).map(|_| reader.u32().map(Ssrc));
        Ok(Self {
            ssrcs: ssrcs.collect::<Result<_, _>>()?,
        })
    }

    /// Appends the packet.
    pub fn write(&self, out: &mut Vec<u8>) {
        write_packet(out, GOODBYE, count(self.ssrcs.len()), |out| {
            for ssrc in self.ssrcs.iter().take(COUNT_MAX) {
                out.extend(ssrc.0.to_be_bytes());
            }
        });
    }
}
