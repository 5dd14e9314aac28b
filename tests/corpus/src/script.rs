//! Bytes read as a script.

/// Reads operations, numbers and pieces from the bytes of a fuzzer; ends when they do.
#[derive(Debug, Clone)]
pub struct Script<'a> {
    bytes: &'a [u8],
}

impl<'a> Script<'a> {
    /// Begins at the start of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    /// The next byte.
    pub fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.bytes.split_first()?;
        self.bytes = rest;
        Some(*first)
    }

    /// The next two bytes as a number.
    pub fn short(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes([self.byte()?, self.byte()?]))
    }

    /// A piece: two bytes of length, then as many bytes, or what is left.
    pub fn piece(&mut self) -> Option<&'a [u8]> {
        let len = usize::from(self.short()?).min(self.bytes.len());
        let (piece, rest) = self.bytes.split_at(len);
        self.bytes = rest;
        Some(piece)
    }

    /// All that is left.
    pub fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.bytes)
    }

    /// Damages `bytes` as the script says: some bytes replaced, the end cut off or grown.
    pub fn mutate(&mut self, bytes: &mut Vec<u8>) -> Option<()> {
        for _ in 0..self.byte()? % 8 {
            let at = usize::from(self.short()?);
            let value = self.byte()?;
            if let Some(index) = at.checked_rem(bytes.len()) {
                bytes[index] ^= value;
            }
        }
        match self.byte()? {
            0..=127 => {}
            cut @ 128..=191 => bytes.truncate(bytes.len().saturating_sub(usize::from(cut - 127))),
            192.. => bytes.extend_from_slice(self.piece()?),
        }
        Some(())
    }
}
