//! The side that decrypts.

use std::collections::BTreeMap;

use twocan_wire::sframe::Header;

use super::key::Key;
use super::replay::ReplayWindow;
use super::{CipherSuite, KEYS_MAX, Rejected, TooManyKeys};

/// Decrypts frames, each with the key that its header names.
#[derive(Debug)]
pub struct Receiver {
    suite: CipherSuite,
    keys: BTreeMap<u64, Known>,
    shared: Option<Vec<u8>>,
    /// Frames decrypted so far.
    decrypted: u64,
}

#[derive(Debug)]
struct Known {
    key: Key,
    window: ReplayWindow,
    is_added: bool,
    /// [`Receiver::decrypted`] when it was used last.
    used_at: u64,
}

impl Receiver {
    /// Without a key nothing is decrypted.
    pub fn new(suite: CipherSuite) -> Self {
        Self {
            suite,
            keys: BTreeMap::new(),
            shared: None,
            decrypted: 0,
        }
    }

    /// Takes the key with that id, instead of any that had it.
    ///
    /// # Errors
    /// [`TooManyKeys`] when [`KEYS_MAX`] were added.
    pub fn add_key(&mut self, key_id: u64, base_key: &[u8]) -> Result<(), TooManyKeys> {
        self.keys.remove(&key_id);
        let added = self.keys.values().filter(|known| known.is_added).count();
        if added >= KEYS_MAX {
            return Err(TooManyKeys);
        }
        self.make_way();
        let Ok(key) = Key::derive(self.suite, key_id, base_key) else {
            return Ok(());
        };
        self.keys.insert(key_id, Known::new(key, true));
        Ok(())
    }

    /// Forgets a key that was added; frames with it are refused from here on.
    pub fn remove_key(&mut self, key_id: u64) {
        self.keys.remove(&key_id);
    }

    /// Draws the keys of all ids that were not added from this secret, which all participants
    /// share; `None` forgets it and them. Of the [`KEYS_MAX`] used last is remembered what was
    /// received; older ones could be replayed.
    pub fn set_shared_key(&mut self, base_key: Option<&[u8]>) {
        self.keys.retain(|_, known| known.is_added);
        self.shared = base_key.map(<[u8]>::to_vec);
    }

    /// Decrypts `frame` and appends it to `out`; answers its header.
    ///
    /// # Errors
    /// [`Rejected`]; `out` is as before then.
    pub fn decrypt(
        &mut self,
        metadata: &[u8],
        frame: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Header, Rejected> {
        let (header, len) = Header::parse(frame)?;
        let (clear, text) = frame.split_at(len);
        if text.len() < self.suite.tag_len() {
            return Err(Rejected::TooShort);
        }
        let before = out.len();
        out.extend_from_slice(text);
        let aad = [clear, metadata];
        let outcome = match self.keys.get_mut(&header.key_id) {
            Some(known) => known.open(header.counter, aad, out, before),
            None => self.open_drawn(header, aad, out, before),
        };
        if let Err(rejected) = outcome {
            out.truncate(before);
            return Err(rejected);
        }
        self.decrypted += 1;
        if let Some(known) = self.keys.get_mut(&header.key_id) {
            known.used_at = self.decrypted;
        }
        Ok(header)
    }

    #[cfg(test)]
    pub(super) fn key_count(&self) -> usize {
        self.keys.len()
    }

    /// With a key drawn from the shared secret, which is kept only once it has proved itself.
    fn open_drawn(
        &mut self,
        header: Header,
        aad: [&[u8]; 2],
        in_out: &mut Vec<u8>,
        start: usize,
    ) -> Result<(), Rejected> {
        let unknown = Rejected::UnknownKey(header.key_id);
        let added = self.keys.values().filter(|known| known.is_added).count();
        let shared = self.shared.as_deref().filter(|_| added < KEYS_MAX);
        let shared = shared.ok_or(unknown)?;
        let key = Key::derive(self.suite, header.key_id, shared).map_err(|_| unknown)?;
        let mut known = Known::new(key, false);
        known.open(header.counter, aad, in_out, start)?;
        self.make_way();
        self.keys.insert(header.key_id, known);
        Ok(())
    }

    /// Lets go of the drawn key that was used least recently, where all places are taken.
    fn make_way(&mut self) {
        if self.keys.len() < KEYS_MAX {
            return;
        }
        let drawn = self.keys.iter().filter(|(_, known)| !known.is_added);
        let oldest = drawn.min_by_key(|(_, known)| known.used_at);
        if let Some(key_id) = oldest.map(|(key_id, _)| *key_id) {
            self.keys.remove(&key_id);
        }
    }
}

impl Known {
    fn new(key: Key, is_added: bool) -> Self {
        Self {
            key,
            window: ReplayWindow::default(),
            is_added,
            used_at: 0,
        }
    }

    fn open(
        &mut self,
        counter: u64,
        aad: [&[u8]; 2],
        in_out: &mut Vec<u8>,
        start: usize,
    ) -> Result<(), Rejected> {
        if !self.window.admits(counter) {
            return Err(Rejected::Replayed);
        }
        self.key
            .open(counter, aad, in_out, start)
            .map_err(|_| Rejected::BadTag)?;
        self.window.mark(counter);
        Ok(())
    }
}
