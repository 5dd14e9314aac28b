//! A bounded cursor over received bytes, which every binary parser here reads through.
//!
//! Reading past the end is a value ([`TooShort`]), never a panic, so a parser is a straight line
//! of `?`.

use thiserror::Error;

/// The input ended before a field did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("input ends before the field does")]
pub struct TooShort;

/// A cursor over a byte slice, reading big-endian fields.
///
/// ```
/// use twocan_wire::reader::Reader;
/// let mut reader = Reader::new(&[0x12, 0x34, 0x56]);
/// assert_eq!(reader.u16(), Ok(0x1234));
/// assert_eq!(reader.rest(), &[0x56]);
/// assert!(reader.u8().is_err());
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Starts at the first of `bytes`.
    #[inline]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    /// Takes `len` bytes.
    ///
    /// # Errors
    /// [`TooShort`] when fewer are left; nothing is consumed then.
    #[inline]
    pub fn take(&mut self, len: usize) -> Result<&'a [u8], TooShort> {
        let (head, tail) = self.bytes.split_at_checked(len).ok_or(TooShort)?;
        self.bytes = tail;
        Ok(head)
    }

    /// Takes exactly `N` bytes as an array.
    ///
    /// # Errors
    /// [`TooShort`] when fewer are left; nothing is consumed then.
    #[inline]
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], TooShort> {
        let (head, tail) = self.bytes.split_first_chunk::<N>().ok_or(TooShort)?;
        self.bytes = tail;
        Ok(*head)
    }

    /// Takes one byte.
    ///
    /// # Errors
    /// [`TooShort`] at the end.
    #[inline]
    pub fn u8(&mut self) -> Result<u8, TooShort> {
        self.array::<1>().map(|[byte]| byte)
    }

    /// Takes a 16-bit field.
    ///
    /// # Errors
    /// [`TooShort`] when fewer than 2 bytes are left.
    #[inline]
    pub fn u16(&mut self) -> Result<u16, TooShort> {
        self.array().map(u16::from_be_bytes)
    }

    /// Takes a 24-bit field.
    ///
    /// # Errors
    /// [`TooShort`] when fewer than 3 bytes are left.
    #[inline]
    pub fn u24(&mut self) -> Result<u32, TooShort> {
        self.array()
            .map(|[a, b, c]| u32::from_be_bytes([0, a, b, c]))
    }

    /// Takes a 32-bit field.
    ///
    /// # Errors
    /// [`TooShort`] when fewer than 4 bytes are left.
    #[inline]
    pub fn u32(&mut self) -> Result<u32, TooShort> {
        self.array().map(u32::from_be_bytes)
    }

    /// Takes a 64-bit field.
    ///
    /// # Errors
    /// [`TooShort`] when fewer than 8 bytes are left.
    #[inline]
    pub fn u64(&mut self) -> Result<u64, TooShort> {
        self.array().map(u64::from_be_bytes)
    }

    /// Takes everything that is left.
    #[inline]
    pub fn rest(&mut self) -> &'a [u8] {
        core::mem::take(&mut self.bytes)
    }

    /// Bytes left.
    #[inline]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether nothing is left.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
}
