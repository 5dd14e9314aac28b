//! The side that encrypts.

use twocan_wire::sframe::Header;

use super::key::Key;
use super::{CipherSuite, NotEncrypted};

/// Encrypts frames with one key.
#[derive(Debug)]
pub struct Sender {
    key_id: u64,
    /// `None` when the key could not be made, which no input brings about.
    key: Option<Key>,
    /// `None` when all were used.
    counter: Option<u64>,
}

impl Sender {
    /// Counts from zero. No other sender may have the same key id and base key, neither at the
    /// same time nor before. A base key is at least as long as the suite's keys (16 or 32 bytes)
    /// and random; of a password a key is to be derived first.
    pub fn new(suite: CipherSuite, key_id: u64, base_key: &[u8]) -> Self {
        Self {
            key_id,
            key: Key::derive(suite, key_id, base_key).ok(),
            counter: Some(0),
        }
    }

    /// The key id in the headers.
    pub fn key_id(&self) -> u64 {
        self.key_id
    }

    /// Encrypts `frame` and appends it to `out`: at most [`super::OVERHEAD_MAX`] bytes longer.
    /// `metadata` travels elsewhere, and is what [`super::Receiver::decrypt`] has to be given.
    ///
    /// # Errors
    /// [`NotEncrypted`]; `out` is as before then.
    pub fn encrypt(
        &mut self,
        metadata: &[u8],
        frame: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), NotEncrypted> {
        let (Some(key), Some(counter)) = (&self.key, self.counter) else {
            return Err(NotEncrypted);
        };
        let before = out.len();
        out.reserve(frame.len() + super::OVERHEAD_MAX);
        let mut header = Vec::with_capacity(twocan_wire::sframe::HEADER_LEN_MAX);
        let key_id = self.key_id;
        Header { key_id, counter }.write(&mut header);
        out.extend_from_slice(&header);
        let start = out.len();
        out.extend_from_slice(frame);
        if key.seal(counter, [&header, metadata], out, start).is_err() {
            out.truncate(before);
            return Err(NotEncrypted);
        }
        self.counter = counter.checked_add(1);
        Ok(())
    }

    #[cfg(test)]
    pub(super) fn skip_to(&mut self, counter: u64) {
        self.counter = Some(counter);
    }
}
