//! The header of an encrypted frame (SFrame, RFC 9605 §4.3).
//!
//! ```text
//!  0 1 2 3 4 5 6 7
//! +-+-----+-+-----+----------+----------+
//! |X|  K  |Y|  C  |  KID ... |  CTR ... |
//! +-+-----+-+-----+----------+----------+
//! ```
//!
//! With X, K is the length of the key id less one; without, the key id itself. So with Y, C and
//! the counter.

use thiserror::Error;

use crate::reader::{Reader, TooShort};

/// Longest header in bytes.
pub const HEADER_LEN_MAX: usize = 17;

/// The largest number that has room in the first byte.
const SHORT_MAX: u64 = 7;

/// The header: which key, and how often it was used before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Header {
    /// The key id, KID: application and key management agree on what it means.
    pub key_id: u64,
    /// The counter, CTR: another one for each frame of a key.
    pub counter: u64,
}

/// Why this is no encrypted frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum HeaderError {
    /// It ends before the header does.
    #[error("shorter than its SFrame header")]
    TooShort,
    /// A number takes more bytes than it needs (RFC 9605 §4.3: the shortest form).
    #[error("a number of the SFrame header is not in its shortest form")]
    NotShortest,
}

impl From<TooShort> for HeaderError {
    fn from(_: TooShort) -> Self {
        Self::TooShort
    }
}

impl Header {
    /// Reads the header at the start of `frame`; answers it with its length in bytes.
    ///
    /// # Errors
    /// [`HeaderError`].
    pub fn parse(frame: &[u8]) -> Result<(Self, usize), HeaderError> {
        let mut reader = Reader::new(frame);
        let config = reader.u8()?;
        let key_id = read(&mut reader, config >> 4)?;
        let counter = read(&mut reader, config & 0x0f)?;
        let len = frame.len().saturating_sub(reader.rest().len());
        Ok((Self { key_id, counter }, len))
    }

    /// Appends the header.
    pub fn write(&self, out: &mut Vec<u8>) {
        let (key_id, counter) = (field(self.key_id), field(self.counter));
        out.push(key_id.0 << 4 | counter.0);
        out.extend_from_slice(self.key_id.to_be_bytes().get(key_id.1..).unwrap_or(&[]));
        out.extend_from_slice(self.counter.to_be_bytes().get(counter.1..).unwrap_or(&[]));
    }
}

/// The four bits for a number, and where its bytes begin within eight.
fn field(value: u64) -> (u8, usize) {
    if value <= SHORT_MAX {
        return (u8::try_from(value).unwrap_or(0), 8);
    }
    let start = value.leading_zeros() / 8;
    let len_less_one = 7_u32.saturating_sub(start);
    let bits = 0x08 | u8::try_from(len_less_one).unwrap_or(7);
    (bits, usize::try_from(start).unwrap_or(0))
}

fn read(reader: &mut Reader<'_>, bits: u8) -> Result<u64, HeaderError> {
    let low = bits & 0x07;
    if bits & 0x08 == 0 {
        return Ok(u64::from(low));
    }
    let bytes = reader.take(usize::from(low).saturating_add(1))?;
    let value = bytes
        .iter()
        .fold(0_u64, |value, byte| value << 8 | u64::from(*byte));
    // One form only for each header: what is authenticated is what was read.
    match (bytes.first(), value) {
        (_, 0..=SHORT_MAX) | (Some(0), _) => Err(HeaderError::NotShortest),
        _ => Ok(value),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// From RFC 9605 appendix C.1: key id, counter, header.
    const VECTORS: &[(u64, u64, &str)] = &[
        (0, 0, "00"),
        (0, 1, "01"),
        (0, 0xff, "08ff"),
        (0, 0x100, "090100"),
        (0, 0xffff_ffff_ffff_ffff, "0fffffffffffffffff"),
        (1, 0xff_ffff, "1affffff"),
        (1, 0x0100_0000, "1b01000000"),
        (0xff, 1, "81ff"),
        (0xff, 0xff, "88ffff"),
        (0x100, 0x0100_0000_0000, "9d0100010000000000"),
        (0xffff, 0, "90ffff"),
        (0x1_0000, 0xffff, "a9010000ffff"),
        (0xff_ffff, 0xff_ffff, "aaffffffffffff"),
        (0x0100_0000, 0x0100_0000, "bb0100000001000000"),
        (0xffff_ffff, 0xff_ffff_ffff, "bcffffffffffffffffff"),
        (0x1_0000_0000, 0, "c00100000000"),
        (u64::MAX, 0xffff_ffff_ffff, "fdffffffffffffffffffffffffffff"),
        (u64::MAX, u64::MAX, "ffffffffffffffffffffffffffffffffff"),
    ];

    fn bytes(hex: &str) -> Vec<u8> {
        let digit = |index| u8::from_str_radix(&hex[index..index + 2], 16).unwrap();
        (0..hex.len()).step_by(2).map(digit).collect()
    }

    #[test]
    fn the_vectors_of_the_rfc_are_read_and_written() {
        for (key_id, counter, hex) in VECTORS {
            let header = Header {
                key_id: *key_id,
                counter: *counter,
            };
            let expected = bytes(hex);
            let mut written = Vec::new();
            header.write(&mut written);
            assert_eq!(written, expected, "{header:?}");
            assert_eq!(Header::parse(&expected), Ok((header, expected.len())));
        }
    }

    #[test]
    fn longer_forms_than_needed_are_refused() {
        for hex in [
            "0807",
            "0800",
            "0900ff",
            "8007",
            "9000ff",
            "8f0000000000000000",
        ] {
            assert_eq!(
                Header::parse(&bytes(hex)),
                Err(HeaderError::NotShortest),
                "{hex}"
            );
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(key_id: u64, counter: u64, shift in 0_u32..64, rest: Vec<u8>) {
            let header = Header { key_id: key_id >> shift, counter: counter >> (63 - shift) };
            let mut frame = Vec::new();
            header.write(&mut frame);
            let len = frame.len();
            prop_assert!(len <= HEADER_LEN_MAX);
            frame.extend(rest);
            prop_assert_eq!(Header::parse(&frame), Ok((header, len)));
        }

        #[test]
        fn what_is_read_is_written_the_same(frame: Vec<u8>) {
            if let Ok((header, len)) = Header::parse(&frame) {
                let mut written = Vec::new();
                header.write(&mut written);
                prop_assert_eq!(&written[..], &frame[..len]);
            }
        }
    }
}
