//! What is on its way out: bytes laid end to end, so that a packet costs no memory of its own.

use std::collections::VecDeque;
use std::ops::Range;

use super::StreamId;
use crate::contract::{Batch, Destination};

/// Most bytes that wait to be sent. What does not fit is dropped, as datagrams may be.
pub(super) const OUTBOX_LEN_MAX: usize = 2 << 20;

/// Most datagrams that wait, however short.
pub(super) const OUTBOX_ENTRIES_MAX: usize = 16 * 1024;

/// Where something goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    Socket(Destination),
    Stream(StreamId),
}

#[derive(Debug, Default)]
pub(super) struct Outbox {
    bytes: Vec<u8>,
    entries: VecDeque<(Way, Range<usize>)>,
    /// What did not fit.
    pub(super) dropped: u64,
}

/// What comes out next.
pub(super) enum Next {
    Batch,
    Stream(StreamId, Vec<u8>),
    Nothing,
}

impl Outbox {
    /// Queues what `write` appends. Writing nothing queues nothing.
    #[inline]
    pub(super) fn push(&mut self, way: Way, write: impl FnOnce(&mut Vec<u8>)) {
        if self.entries.is_empty() {
            self.bytes.clear();
        }
        let start = self.bytes.len();
        if start >= OUTBOX_LEN_MAX || self.entries.len() >= OUTBOX_ENTRIES_MAX {
            self.dropped = self.dropped.saturating_add(1);
            return;
        }
        write(&mut self.bytes);
        let end = self.bytes.len();
        if end > start {
            self.entries.push_back((way, start..end));
        }
    }

    /// Fills `batch` with what goes to one destination in a row.
    #[inline]
    pub(super) fn take(&mut self, batch: &mut Batch) -> Next {
        let mut spill = Vec::new();
        while let Some((way, range)) = self.entries.front() {
            let piece = self.bytes.get(range.clone()).unwrap_or_default();
            match *way {
                Way::Stream(stream) => {
                    if !batch.is_empty() {
                        break;
                    }
                    let whole = piece.to_vec();
                    self.entries.pop_front();
                    return Next::Stream(stream, whole);
                }
                Way::Socket(destination) => {
                    let fits = batch.has_room(destination, piece.len())
                        && (batch.is_empty() || piece.len() <= batch.segment_len());
                    if !fits {
                        break;
                    }
                    batch.push(destination, &mut spill, |out| out.extend_from_slice(piece));
                    self.entries.pop_front();
                }
            }
        }
        if batch.is_empty() {
            Next::Nothing
        } else {
            Next::Batch
        }
    }
}
