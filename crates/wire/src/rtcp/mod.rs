//! The RTP Control Protocol (RFC 3550 §6, RFC 3611, RFC 4585, RFC 5104, RFC 8888).
//!
//! ```text
//! |V=2|P|  count  |       PT      |   length in words, less one   |
//! ```
//!
//! A datagram holds several packets one after the other; [`packets`] reads them, and the
//! `write` methods append them to a buffer.

mod congestion;
mod extended;
mod feedback;
mod report;
mod transport;

#[cfg(test)]
mod tests;

use thiserror::Error;

pub use congestion::{ArrivalOffset, CongestionFeedback, Ecn, PacketArrival, StreamArrivals};
pub use extended::{Block, DelaySinceLastRr, ExtendedReport};
pub use feedback::{Fir, FirEntry, Nack, NackEntry, Pli, Remb};
pub use report::{Bye, ReceiverReport, ReportBlock, Sdes, SenderReport};
pub use transport::{STATUS_COUNT_MAX, TransportFeedback};

use crate::reader::{Reader, TooShort};

/// Why an RTCP packet cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum RtcpError {
    /// A field, or the packet, goes beyond the end.
    #[error("packet ends inside of a field")]
    TooShort,
    /// The version is not 2.
    #[error("version is not 2")]
    BadVersion,
    /// The padding count is 0 or larger than the packet.
    #[error("padding does not fit the packet")]
    BadPadding,
    /// An item of a source description is no text.
    #[error("source description is not UTF-8")]
    BadText,
    /// Transport feedback about more than [`STATUS_COUNT_MAX`] packets.
    #[error("transport feedback about too many packets")]
    TooManyStatuses,
    /// A block of an extended report whose length is not one of its kind.
    #[error("block of an extended report has the wrong length")]
    BadBlock,
}

impl From<TooShort> for RtcpError {
    fn from(_: TooShort) -> Self {
        Self::TooShort
    }
}

/// One RTCP packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Packet<'a> {
    /// What a source sends and receives.
    SenderReport(SenderReport),
    /// What someone receives.
    ReceiverReport(ReceiverReport),
    /// Who the sources are.
    Sdes(Sdes),
    /// Sources that end.
    Bye(Bye),
    /// Packets that are missing.
    Nack(Nack),
    /// A picture that cannot be decoded.
    Pli(Pli),
    /// A request for a key frame.
    Fir(Fir),
    /// The receiver's estimate of the bandwidth.
    Remb(Remb),
    /// When packets of the transport arrived.
    TransportFeedback(TransportFeedback),
    /// When packets of each stream arrived, and how they were marked on the way.
    CongestionFeedback(CongestionFeedback),
    /// Reports beyond those of RFC 3550.
    ExtendedReport(ExtendedReport<'a>),
    /// Anything else.
    Unknown {
        /// The packet type, 192 to 223.
        packet_type: u8,
        /// The five bits of count or format.
        count: u8,
        /// What follows the header.
        body: &'a [u8],
    },
}

const SENDER_REPORT: u8 = 200;
const RECEIVER_REPORT: u8 = 201;
const SOURCE_DESCRIPTION: u8 = 202;
const GOODBYE: u8 = 203;
const TRANSPORT_SPECIFIC: u8 = 205;
const PAYLOAD_SPECIFIC: u8 = 206;
const EXTENDED_REPORT: u8 = 207;

/// Most report blocks, sources or chunks in one packet: the count has five bits.
pub const COUNT_MAX: usize = 31;

/// Reads the packets of a datagram. A malformed one is an error and, where its length is known,
/// the next one follows; otherwise it is the last.
pub fn packets(datagram: &[u8]) -> impl Iterator<Item = Result<Packet<'_>, RtcpError>> {
    let mut reader = Reader::new(datagram);
    core::iter::from_fn(move || {
        if reader.is_empty() {
            return None;
        }
        match split(&mut reader) {
            Ok((head, body)) => Some(parse(head, body)),
            Err(error) => {
                reader.rest();
                Some(Err(error))
            }
        }
    })
}

/// The first bytes of the header, and the body without padding.
fn split<'a>(reader: &mut Reader<'a>) -> Result<([u8; 2], &'a [u8]), RtcpError> {
    let head = reader.array::<2>()?;
    let words = usize::from(reader.u16()?);
    let [first, _] = head;
    if first >> 6 != 2 {
        return Err(RtcpError::BadVersion);
    }
    let body = reader.take(words.saturating_mul(4))?;
    if first & 0x20 == 0 {
        return Ok((head, body));
    }
    let count = usize::from(body.last().copied().ok_or(RtcpError::BadPadding)?);
    let len = body.len().checked_sub(count).ok_or(RtcpError::BadPadding)?;
    // RFC 3550 §6.4.1 wants a multiple of 4; libwebrtc's transport feedback counts single bytes.
    if count == 0 {
        return Err(RtcpError::BadPadding);
    }
    Ok((head, body.get(..len).unwrap_or_default()))
}

fn parse([first, packet_type]: [u8; 2], body: &[u8]) -> Result<Packet<'_>, RtcpError> {
    let count = first & 0x1f;
    let reader = Reader::new(body);
    Ok(match (packet_type, count) {
        (SENDER_REPORT, _) => Packet::SenderReport(SenderReport::parse(reader, count)?),
        (RECEIVER_REPORT, _) => Packet::ReceiverReport(ReceiverReport::parse(reader, count)?),
        (SOURCE_DESCRIPTION, _) => Packet::Sdes(Sdes::parse(reader, count)?),
        (GOODBYE, _) => Packet::Bye(Bye::parse(reader, count)?),
        (TRANSPORT_SPECIFIC, feedback::NACK) => Packet::Nack(Nack::parse(reader)?),
        (TRANSPORT_SPECIFIC, transport::FORMAT) => {
            Packet::TransportFeedback(TransportFeedback::parse(reader)?)
        }
        (TRANSPORT_SPECIFIC, congestion::FORMAT) => {
            Packet::CongestionFeedback(CongestionFeedback::parse(reader)?)
        }
        (EXTENDED_REPORT, _) => Packet::ExtendedReport(ExtendedReport::parse(reader)?),
        (PAYLOAD_SPECIFIC, feedback::PLI) => Packet::Pli(Pli::parse(reader)?),
        (PAYLOAD_SPECIFIC, feedback::FIR) => Packet::Fir(Fir::parse(reader)?),
        (PAYLOAD_SPECIFIC, feedback::APPLICATION) => match Remb::parse(reader)? {
            Some(remb) => Packet::Remb(remb),
            None => Packet::Unknown {
                packet_type,
                count,
                body,
            },
        },
        _ => Packet::Unknown {
            packet_type,
            count,
            body,
        },
    })
}

/// Appends a packet whose body `write` appends; the body is filled up to whole words.
fn write_packet(out: &mut Vec<u8>, packet_type: u8, count: u8, write: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend([0x80 | (count & 0x1f), packet_type, 0, 0]);
    write(out);
    let len = out.len().saturating_sub(start).next_multiple_of(4);
    out.resize(start.saturating_add(len), 0);
    let words = u16::try_from((len >> 2).saturating_sub(1)).unwrap_or(u16::MAX);
    let length_at = start.saturating_add(2)..start.saturating_add(4);
    if let Some(seat) = out.get_mut(length_at) {
        seat.copy_from_slice(&words.to_be_bytes());
    }
}
