//! Chunks that were sent and not acknowledged cumulatively, by TSN.

use std::collections::VecDeque;
use std::time::Instant;

use super::messages::MessageKey;

/// Entries whose memory an idle association may keep: about 16 KiB.
const IDLE_CAPACITY: usize = 256;

/// What became of a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// On its way.
    InFlight,
    /// Acknowledged by a gap block.
    Acked,
    /// Lost, to be sent again.
    Lost,
    /// Given up; the receiver is told to skip it.
    Abandoned,
}

/// A chunk that was sent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sent {
    pub(super) sent_at: Instant,
    pub(super) message: MessageKey,
    pub(super) offset: u32,
    pub(super) fragment: u32,
    /// Where this chunk starts a run of acknowledged ones: how long it was when last walked.
    pub(super) acked_run: u32,
    pub(super) len: u16,
    pub(super) transmissions: u16,
    pub(super) fate: Fate,
    pub(super) is_end: bool,
}

/// The chunks from the first that is not acknowledged cumulatively.
///
/// TSNs are extended to 64 bits, so they are compared as numbers; their low 32 bits are sent.
#[derive(Debug)]
pub(super) struct Outstanding {
    first: u64,
    chunks: VecDeque<Sent>,
}

impl Outstanding {
    /// Starts before any chunk, with the extended initial TSN.
    pub(super) fn new(first: u64) -> Self {
        Self {
            first,
            chunks: VecDeque::new(),
        }
    }

    /// The lowest TSN that is not acknowledged.
    #[inline]
    pub(super) fn first(&self) -> u64 {
        self.first
    }

    /// The TSN that the next new chunk gets.
    #[inline]
    pub(super) fn next(&self) -> u64 {
        self.first + self.chunks.len() as u64
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        self.chunks.len()
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// Appends a chunk and answers its TSN.
    #[inline]
    pub(super) fn push(&mut self, sent: Sent) -> u64 {
        let tsn = self.next();
        self.chunks.push_back(sent);
        tsn
    }

    /// Gives back the memory of a burst, once nothing is in flight.
    pub(super) fn shrink(&mut self) {
        if self.chunks.is_empty() && self.chunks.capacity() > IDLE_CAPACITY {
            self.chunks = VecDeque::new();
        }
    }

    /// Takes the chunk with the lowest TSN.
    #[inline]
    pub(super) fn pop(&mut self) -> Option<(u64, Sent)> {
        let sent = self.chunks.pop_front()?;
        let tsn = self.first;
        self.first += 1;
        Some((tsn, sent))
    }

    #[inline]
    pub(super) fn get(&self, tsn: u64) -> Option<&Sent> {
        self.chunks.get(self.index(tsn)?)
    }

    #[inline]
    pub(super) fn get_mut(&mut self, tsn: u64) -> Option<&mut Sent> {
        let index = self.index(tsn)?;
        self.chunks.get_mut(index)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, &Sent)> {
        (self.first..).zip(&self.chunks)
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (u64, &mut Sent)> {
        (self.first..).zip(&mut self.chunks)
    }

    #[inline]
    fn index(&self, tsn: u64) -> Option<usize> {
        usize::try_from(tsn.checked_sub(self.first)?).ok()
    }
}
