//! What TURN sends beside STUN messages: ChannelData (RFC 8656 §12.4), and where one thing ends
//! and the next begins on a stream.
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! |         Channel Number        |            Length             |
//! |                       Application Data                        |
//! ```

use thiserror::Error;

use crate::reader::{Reader, TooShort};
use crate::stun::{ChannelNumber, HEADER_LEN};

/// Length of the header of ChannelData in bytes.
pub const CHANNEL_DATA_HEADER_LEN: usize = 4;

/// Data for or from the peer that a channel number stands for.
///
/// ```
/// use twocan_wire::stun::ChannelNumber;
/// use twocan_wire::turn::{ChannelData, channel_data_header};
/// let mut bytes = channel_data_header(ChannelNumber::MIN, 2).to_vec();
/// bytes.extend_from_slice(b"hi");
/// let read = ChannelData::parse(&bytes).unwrap();
/// assert_eq!((read.channel, read.data), (ChannelNumber::MIN, &b"hi"[..]));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChannelData<'a> {
    /// Which peer.
    pub channel: ChannelNumber,
    /// What is relayed, without padding.
    pub data: &'a [u8],
}

/// Why bytes are neither ChannelData nor the start of anything else that TURN sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum TurnError {
    /// Fewer bytes than the header, or than it says.
    #[error("shorter than its header says")]
    TooShort,
    /// The channel number is outside 0x4000 to 0x7fff.
    #[error("0x{0:04x} is no channel number (0x4000 to 0x7fff)")]
    NotAChannel(u16),
    /// More bytes follow than padding to a multiple of four has.
    #[error("{0} bytes follow the data; at most 3 bytes of padding may")]
    TooLong(usize),
    /// On a stream: the length of a STUN message is no multiple of four.
    #[error("length {0} of a STUN message is no multiple of four")]
    BadLength(u16),
}

impl From<TooShort> for TurnError {
    fn from(_: TooShort) -> Self {
        Self::TooShort
    }
}

impl<'a> ChannelData<'a> {
    /// Reads a datagram, which may be padded to a multiple of four, or one frame of a stream.
    ///
    /// # Errors
    /// [`TurnError`].
    #[inline]
    pub fn parse(bytes: &'a [u8]) -> Result<Self, TurnError> {
        let mut reader = Reader::new(bytes);
        let number = reader.u16()?;
        let len = usize::from(reader.u16()?);
        let channel = ChannelNumber::new(number).ok_or(TurnError::NotAChannel(number))?;
        let data = reader.take(len)?;
        if reader.len() > 3 {
            return Err(TurnError::TooLong(reader.len()));
        }
        Ok(Self { channel, data })
    }
}

/// The four bytes before `len` bytes of data. On a stream the data is padded to a multiple of
/// four ([`padding`]); in a datagram it need not be.
#[inline]
pub fn channel_data_header(channel: ChannelNumber, len: u16) -> [u8; CHANNEL_DATA_HEADER_LEN] {
    let [a, b] = channel.number().to_be_bytes();
    let [c, d] = len.to_be_bytes();
    [a, b, c, d]
}

/// How many bytes of padding follow `len` bytes of data on a stream: 0 to 3.
#[inline]
pub const fn padding(len: usize) -> usize {
    len.wrapping_neg() & 3
}

/// Length in bytes, with padding, of the STUN message or ChannelData that `stream` begins with
/// (RFC 8489 §6.2.2, RFC 8656 §12.5): at most 65,552. `None` while fewer than four bytes are
/// there.
///
/// # Errors
/// [`TurnError`] where `stream` begins with neither; nothing after it can be read.
pub fn frame_len(stream: &[u8]) -> Result<Option<usize>, TurnError> {
    let Some([a, b, c, d]) = stream.first_chunk::<4>() else {
        return Ok(None);
    };
    let kind = u16::from_be_bytes([*a, *b]);
    let len = u16::from_be_bytes([*c, *d]);
    let header = if kind & 0xc000 == 0 {
        if len % 4 != 0 {
            return Err(TurnError::BadLength(len));
        }
        HEADER_LEN
    } else {
        ChannelNumber::new(kind).ok_or(TurnError::NotAChannel(kind))?;
        CHANNEL_DATA_HEADER_LEN
    };
    let len = usize::from(len);
    Ok(Some(
        header.saturating_add(len).saturating_add(padding(len)),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_channel_number_outside_its_range_is_named() {
        for number in [0x3fff_u16, 0x8000, 0xffff] {
            let [a, b] = number.to_be_bytes();
            let bytes = [a, b, 0, 0];
            assert_eq!(
                ChannelData::parse(&bytes),
                Err(TurnError::NotAChannel(number))
            );
        }
        assert!(ChannelData::parse(&[0x7f, 0xff, 0, 0]).is_ok());
    }

    #[test]
    fn a_datagram_may_be_padded_and_no_more() {
        let bytes = [0x40, 0, 0, 1, 9, 0, 0, 0, 0];
        assert_eq!(ChannelData::parse(&bytes[..5]).unwrap().data, [9]);
        assert_eq!(ChannelData::parse(&bytes[..8]).unwrap().data, [9]);
        assert_eq!(ChannelData::parse(&bytes), Err(TurnError::TooLong(4)));
        assert_eq!(ChannelData::parse(&bytes[..4]), Err(TurnError::TooShort));
    }

    #[test]
    fn frames_of_a_stream_are_told_apart() {
        assert_eq!(frame_len(&[0, 1, 0]), Ok(None));
        assert_eq!(frame_len(&[0, 1, 0, 8]), Ok(Some(28)));
        assert_eq!(frame_len(&[0, 1, 0, 7]), Err(TurnError::BadLength(7)));
        assert_eq!(frame_len(&[0x40, 1, 0, 7, 1]), Ok(Some(12)));
        assert_eq!(
            frame_len(&[0x80, 1, 0, 7]),
            Err(TurnError::NotAChannel(0x8001))
        );
        assert_eq!(frame_len(&[0, 1, 0xff, 0xfc]), Ok(Some(65_552)));
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(number in 0x4000_u16..0x5000, data in proptest::collection::vec(any::<u8>(), 0..300)) {
            let channel = ChannelNumber::new(number).unwrap();
            let mut bytes = channel_data_header(channel, data.len() as u16).to_vec();
            bytes.extend_from_slice(&data);
            prop_assert_eq!(ChannelData::parse(&bytes), Ok(ChannelData { channel, data: &data }));
            bytes.extend(std::iter::repeat_n(0, padding(data.len())));
            prop_assert_eq!(frame_len(&bytes), Ok(Some(bytes.len())));
            prop_assert_eq!(ChannelData::parse(&bytes), Ok(ChannelData { channel, data: &data }));
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = ChannelData::parse(&bytes);
            let _ = frame_len(&bytes);
        }
    }
}
