//! Lists of entries of one size, as SACK, FORWARD-TSN and RE-CONFIG carry them.

use core::fmt;
use core::marker::PhantomData;

use crate::ids::StreamId;
use crate::reader::{Reader, TooShort};
use crate::seq::SeqNo32;

/// What a list can hold.
pub trait Entry: Copy {
    /// Encoded size in bytes.
    const SIZE: usize;

    /// Reads one entry.
    ///
    /// # Errors
    /// [`TooShort`] when the input ends before it does.
    fn read(reader: &mut Reader<'_>) -> Result<Self, TooShort>;

    /// Appends exactly [`Self::SIZE`] bytes.
    fn write(self, out: &mut Vec<u8>);
}

impl Entry for StreamId {
    const SIZE: usize = 2;

    fn read(reader: &mut Reader<'_>) -> Result<Self, TooShort> {
        reader.u16().map(Self)
    }

    fn write(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.0.to_be_bytes());
    }
}

impl Entry for SeqNo32 {
    const SIZE: usize = 4;

    fn read(reader: &mut Reader<'_>) -> Result<Self, TooShort> {
        reader.u32().map(Self)
    }

    fn write(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.0.to_be_bytes());
    }
}

/// Encoded entries, borrowed.
pub struct List<'a, T> {
    bytes: &'a [u8],
    entry: PhantomData<fn() -> T>,
}

impl<'a, T: Entry> List<'a, T> {
    /// The whole entries in `bytes`; what is left at the end is not part of the list.
    #[inline]
    pub fn new(bytes: &'a [u8]) -> Self {
        let rest = bytes.len().checked_rem(T::SIZE).unwrap_or(0);
        let whole = bytes.len().saturating_sub(rest);
        Self {
            bytes: bytes.get(..whole).unwrap_or_default(),
            entry: PhantomData,
        }
    }

    /// Takes `count` entries from `reader`.
    #[inline]
    pub(super) fn read(reader: &mut Reader<'a>, count: usize) -> Result<Self, TooShort> {
        Ok(Self::new(reader.take(count.saturating_mul(T::SIZE))?))
    }

    /// The entries in their order.
    #[inline]
    pub fn iter(&self) -> impl Iterator<Item = T> + use<'a, T> {
        let mut reader = Reader::new(self.bytes);
        core::iter::from_fn(move || T::read(&mut reader).ok())
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.bytes.len().checked_div(T::SIZE).unwrap_or(0)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The entries as encoded.
    #[inline]
    pub fn as_bytes(&self) -> &'a [u8] {
        self.bytes
    }
}

impl<T> Clone for List<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for List<'_, T> {}

impl<T> PartialEq for List<'_, T> {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

impl<T> Eq for List<'_, T> {}

impl<T: Entry + fmt::Debug> fmt::Debug for List<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// A list that is being built.
#[derive(Debug, Clone)]
pub struct ListBuf<T> {
    bytes: Vec<u8>,
    entry: PhantomData<fn() -> T>,
}

impl<T: Entry> ListBuf<T> {
    /// An empty list.
    pub fn new() -> Self {
        Self {
            bytes: Vec::new(),
            entry: PhantomData,
        }
    }

    /// Appends an entry.
    pub fn push(&mut self, entry: T) {
        entry.write(&mut self.bytes);
    }

    /// Empties the list and keeps its memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
    }

    /// The list, borrowed.
    pub fn as_list(&self) -> List<'_, T> {
        List::new(&self.bytes)
    }
}

impl<T: Entry> Default for ListBuf<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Entry> FromIterator<T> for ListBuf<T> {
    fn from_iter<I: IntoIterator<Item = T>>(entries: I) -> Self {
        let mut list = Self::new();
        for entry in entries {
            list.push(entry);
        }
        list
    }
}
