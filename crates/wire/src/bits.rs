//! Fields that are not whole bytes, most significant bit first, and numbers in LEB128.

use crate::reader::{Reader, TooShort};

/// A cursor over the bits of a byte slice.
#[derive(Debug, Clone)]
pub(crate) struct BitReader<'a> {
    bytes: &'a [u8],
    /// The next bit, counted from the first.
    at: usize,
}

impl<'a> BitReader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Takes one bit.
    pub(crate) fn flag(&mut self) -> Result<bool, TooShort> {
        let byte = self.bytes.get(self.at >> 3).ok_or(TooShort)?;
        let bit = byte >> (7 & !self.at) & 1;
        self.at = self.at.saturating_add(1);
        Ok(bit == 1)
    }

    /// Takes a number of at most 32 bits, the highest first.
    pub(crate) fn bits(&mut self, count: u32) -> Result<u32, TooShort> {
        let mut value = 0;
        for _ in 0..count {
            value = value << 1 | u32::from(self.flag()?);
        }
        Ok(value)
    }

    /// As [`Self::bits`], for at most 8 of them.
    pub(crate) fn small(&mut self, count: u32) -> Result<u8, TooShort> {
        let value = self.bits(count.min(8))?;
        Ok(u8::try_from(value).unwrap_or(u8::MAX))
    }

    /// As [`Self::bits`], for at most 16 of them.
    pub(crate) fn medium(&mut self, count: u32) -> Result<u16, TooShort> {
        let value = self.bits(count.min(16))?;
        Ok(u16::try_from(value).unwrap_or(u16::MAX))
    }

    /// Takes a number below `limit`, which is 1 to 128, in as few bits as that needs: the `ns(n)`
    /// of the AV1 specification (§4.10.7).
    pub(crate) fn non_symmetric(&mut self, limit: u8) -> Result<u8, TooShort> {
        let (width, short) = non_symmetric(limit);
        let value = self.small(width.saturating_sub(1))?;
        if value < short {
            return Ok(value);
        }
        let last = u8::from(self.flag()?);
        Ok((value << 1 | last).saturating_sub(short))
    }
}

/// The bits of the longest numbers below `limit`, and how many numbers are a bit shorter.
fn non_symmetric(limit: u8) -> (u32, u8) {
    let width = 8u32.saturating_sub(limit.leading_zeros());
    let all = 1u16 << width;
    let short = all.saturating_sub(u16::from(limit));
    (width, u8::try_from(short).unwrap_or(u8::MAX))
}

/// Appends bits to a buffer; the last byte is filled with zeros.
#[derive(Debug)]
pub(crate) struct BitWriter<'a> {
    out: &'a mut Vec<u8>,
    /// Bits of the last byte that are still free.
    free: u32,
}

impl<'a> BitWriter<'a> {
    pub(crate) fn new(out: &'a mut Vec<u8>) -> Self {
        Self { out, free: 0 }
    }

    pub(crate) fn flag(&mut self, value: bool) {
        if self.free == 0 {
            self.out.push(0);
            self.free = 8;
        }
        self.free = self.free.saturating_sub(1);
        if let Some(last) = self.out.last_mut() {
            *last |= u8::from(value) << self.free;
        }
    }

    /// Appends the lower `count` bits of `value`.
    pub(crate) fn bits(&mut self, value: u32, count: u32) {
        for bit in (0..count).rev() {
            self.flag(value >> bit & 1 == 1);
        }
    }

    /// See [`BitReader::non_symmetric`].
    pub(crate) fn non_symmetric(&mut self, value: u8, limit: u8) {
        let (width, short) = non_symmetric(limit);
        if value < short {
            self.bits(u32::from(value), width.saturating_sub(1));
        } else {
            let value = u32::from(value).saturating_add(u32::from(short));
            self.bits(value, width);
        }
    }
}

/// Takes a number in LEB128 (AV1 specification §4.10.5): `None` when it is longer than 8 bytes or
/// larger than 32 bits hold, which that section forbids.
pub(crate) fn leb128(reader: &mut Reader<'_>) -> Result<Option<u32>, TooShort> {
    let mut value = 0u64;
    for index in 0..8u32 {
        let byte = reader.u8()?;
        value |= u64::from(byte & 0x7f) << index.saturating_mul(7);
        if byte & 0x80 == 0 {
            return Ok(u32::try_from(value).ok());
        }
    }
    Ok(None)
}

/// Appends a number in LEB128, in as few bytes as possible.
pub(crate) fn write_leb128(mut value: u32, out: &mut Vec<u8>) {
    loop {
        let [low, ..] = value.to_le_bytes();
        value >>= 7;
        if value == 0 {
            out.push(low & 0x7f);
            return;
        }
        out.push(low | 0x80);
    }
}

/// How many bytes [`write_leb128`] takes: 1 to 5.
pub(crate) fn leb128_len(value: u32) -> usize {
    let bits = 32u32.saturating_sub(value.leading_zeros()).max(1);
    bits.div_ceil(7) as usize
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The table of the AV1 specification for `n` = 5.
    #[test]
    fn non_symmetric_numbers_are_those_of_the_specification() {
        for (value, bits, count) in [
            (0, 0b00, 2),
            (1, 0b01, 2),
            (2, 0b10, 2),
            (3, 0b110, 3),
            (4, 0b111, 3),
        ] {
            let mut out = Vec::new();
            BitWriter::new(&mut out).non_symmetric(value, 5);
            assert_eq!(out, [bits << (8 - count)], "{value}");
            assert_eq!(BitReader::new(&out).non_symmetric(5), Ok(value));
        }
        let mut out = Vec::new();
        BitWriter::new(&mut out).non_symmetric(0, 1);
        assert!(out.is_empty());
        assert_eq!(BitReader::new(&[]).non_symmetric(1), Ok(0));
    }

    #[test]
    fn leb128_of_the_wrong_length_is_refused() {
        assert_eq!(leb128(&mut Reader::new(&[0x80])), Err(TooShort));
        assert_eq!(leb128(&mut Reader::new(&[0x80; 9])), Ok(None));
        assert_eq!(
            leb128(&mut Reader::new(&[0xff, 0xff, 0xff, 0xff, 0x1f])),
            Ok(None)
        );
        // More bytes than needed are allowed.
        assert_eq!(leb128(&mut Reader::new(&[0x85, 0x80, 0x00])), Ok(Some(5)));
    }

    proptest! {
        #[test]
        fn numbers_are_read_back(
            fields in prop::collection::vec((any::<u32>(), 1u32..=32), 0..20), limit in 1u8..=128, value: u8, long: u32,
        ) {
            let small = value % limit;
            let mut out = Vec::new();
            let mut writer = BitWriter::new(&mut out);
            fields.iter().for_each(|(value, count)| writer.bits(*value, *count));
            writer.non_symmetric(small, limit);
            let mut reader = BitReader::new(&out);
            for (value, count) in &fields {
                prop_assert_eq!(reader.bits(*count), Ok(value & u32::MAX >> (32 - count)));
            }
            prop_assert_eq!(reader.non_symmetric(limit), Ok(small));

            let mut out = Vec::new();
            write_leb128(long, &mut out);
            prop_assert_eq!(out.len(), leb128_len(long));
            prop_assert_eq!(leb128(&mut Reader::new(&out)), Ok(Some(long)));
        }
    }
}
