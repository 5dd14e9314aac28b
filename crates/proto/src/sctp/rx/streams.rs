//! Messages of a stream in their order.

use std::collections::BTreeMap;

use twocan_wire::seq::{SeqNo16, SeqNo32};

use super::runs::{Assembled, OVERHEAD};

/// How messages are numbered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Numbering {
    /// 16-bit stream sequence numbers (DATA).
    Ssn,
    /// 32-bit message identifiers (I-DATA).
    Mid,
}

impl Numbering {
    fn extend(self, number: u32, near: u64) -> u64 {
        match self {
            Self::Ssn => SeqNo16(number as u16).extend(near),
            Self::Mid => SeqNo32(number).extend(near),
        }
    }
}

/// Where the numbers of a stream start, extended; leaves room for what is late.
const FIRST: u64 = 1 << 33;

#[derive(Debug)]
struct Stream {
    next: u64,
    waiting: BTreeMap<u64, Assembled>,
}

impl Default for Stream {
    fn default() -> Self {
        Self {
            next: FIRST,
            waiting: BTreeMap::new(),
        }
    }
}

/// The ordered messages of all streams.
#[derive(Debug, Default)]
pub(super) struct Streams {
    streams: BTreeMap<u16, Stream>,
}

impl Streams {
    /// Takes an ordered message and hands on those whose turn it is; answers whether it was new.
    #[inline]
    pub(super) fn insert(
        &mut self,
        message: Assembled,
        numbering: Numbering,
        held: &mut usize,
        mut deliver: impl FnMut(Assembled),
    ) -> bool {
        let stream = self.streams.entry(message.label.stream).or_default();
        let number = numbering.extend(message.label.number, stream.next);
        if number == stream.next {
            stream.next += 1;
            deliver(message);
            if !stream.waiting.is_empty() {
                stream.flush(held, deliver);
            }
            return true;
        }
        if number < stream.next || stream.waiting.contains_key(&number) {
            return false;
        }
        *held += message.payload.len() + OVERHEAD;
        stream.waiting.insert(number, message);
        true
    }

    /// Passes over all messages up to `number`; those that arrived are handed on.
    pub(super) fn skip(
        &mut self,
        stream: u16,
        number: u32,
        numbering: Numbering,
        held: &mut usize,
        mut deliver: impl FnMut(Assembled),
    ) {
        let stream = self.streams.entry(stream).or_default();
        let number = numbering.extend(number, stream.next);
        if number < stream.next {
            return;
        }
        while let Some(entry) = stream.waiting.first_entry() {
            if *entry.key() > number {
                break;
            }
            let message = entry.remove();
            *held = held.saturating_sub(message.payload.len() + OVERHEAD);
            deliver(message);
        }
        stream.next = number + 1;
        stream.flush(held, deliver);
    }

    /// Starts the numbers of `stream` over.
    pub(super) fn reset(&mut self, stream: u16, held: &mut usize) {
        if let Some(stream) = self.streams.remove(&stream) {
            for message in stream.waiting.values() {
                *held = held.saturating_sub(message.payload.len() + OVERHEAD);
            }
        }
    }

    /// All streams that have been used since their reset.
    pub(super) fn used(&self) -> Vec<u16> {
        self.streams.keys().copied().collect()
    }
}

impl Stream {
    fn flush(&mut self, held: &mut usize, mut deliver: impl FnMut(Assembled)) {
        while let Some(message) = self.waiting.remove(&self.next) {
            self.next += 1;
            *held = held.saturating_sub(message.payload.len() + OVERHEAD);
            deliver(message);
        }
    }
}
