//! Messages of which at least one fragment has been sent.

use std::time::Instant;

use bytes::Bytes;
use twocan_wire::sctp::Ppid;

use crate::sctp::event::Order;

/// The place of a message in [`Messages`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct MessageKey(u32);

/// When a message is given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Limit {
    /// Retransmissions of a fragment.
    pub(super) retransmits: Option<u16>,
    /// The end of its life.
    pub(super) expires: Option<Instant>,
}

impl Limit {
    pub(super) fn is_expired(&self, now: Instant) -> bool {
        self.expires.is_some_and(|at| now >= at)
    }
}

/// A message and how far it got.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) payload: Bytes,
    pub(super) stream: u16,
    pub(super) ppid: Ppid,
    pub(super) order: Order,
    pub(super) limit: Limit,
    /// Stream sequence number (its low 16 bits) or message identifier.
    pub(super) number: u32,
    /// Bytes cut into fragments so far.
    pub(super) cut: usize,
    /// Number of the next fragment.
    pub(super) fragments: u32,
    /// Fragments that the peer has not acknowledged cumulatively.
    pub(super) outstanding: u32,
    /// Extended TSN of the first fragment.
    pub(super) first_tsn: u64,
    pub(super) is_abandoned: bool,
}

impl Message {
    pub(super) fn is_cut(&self) -> bool {
        self.cut >= self.payload.len()
    }
}

/// Entries whose memory an idle association may keep: about 12 KiB.
const IDLE_CAPACITY: usize = 128;

/// Messages by key; keys are used again.
#[derive(Debug, Default)]
pub(super) struct Messages {
    entries: Vec<Option<Message>>,
    free: Vec<u32>,
}

impl Messages {
    pub(super) fn insert(&mut self, message: Message) -> MessageKey {
        if let Some(index) = self.free.pop()
            && let Some(entry) = self.entries.get_mut(index as usize)
        {
            *entry = Some(message);
            return MessageKey(index);
        }
        let index = self.entries.len() as u32;
        self.entries.push(Some(message));
        MessageKey(index)
    }

    #[inline]
    pub(super) fn get(&self, key: MessageKey) -> Option<&Message> {
        self.entries.get(key.0 as usize)?.as_ref()
    }

    #[inline]
    pub(super) fn get_mut(&mut self, key: MessageKey) -> Option<&mut Message> {
        self.entries.get_mut(key.0 as usize)?.as_mut()
    }

    /// One fragment fewer is outstanding; the message goes when it was the last.
    #[inline]
    pub(super) fn release(&mut self, key: MessageKey) {
        let Some(entry) = self.entries.get_mut(key.0 as usize) else {
            return;
        };
        let Some(message) = entry else { return };
        message.outstanding = message.outstanding.saturating_sub(1);
        if message.outstanding == 0 && (message.is_cut() || message.is_abandoned) {
            *entry = None;
            self.free.push(key.0);
        }
    }

    /// Gives back the memory of a burst, once no message is left.
    pub(super) fn shrink(&mut self) {
        if self.entries.capacity() > IDLE_CAPACITY {
            *self = Self::default();
        }
    }

    /// Forgets all.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}
