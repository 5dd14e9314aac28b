//! Messages that wait to be sent, and whose turn it is.
//!
//! Streams take turns. With DATA a message is sent whole before the next, because its fragments
//! need consecutive TSNs (RFC 9260 §6.9); with I-DATA the turn passes after every fragment.

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use bytes::Bytes;
use twocan_wire::sctp::Ppid;

use super::messages::{Limit, Message, MessageKey, Messages};
use crate::sctp::event::Order;

/// A message of which nothing has been sent.
#[derive(Debug)]
pub(super) struct Queued {
    pub(super) payload: Bytes,
    pub(super) ppid: Ppid,
    pub(super) order: Order,
    pub(super) limit: Limit,
}

impl Queued {
    /// What the application counts as buffered: neither DCEP nor the byte that stands for an
    /// empty message is its own.
    fn counted(&self) -> usize {
        counted(self.ppid, self.payload.len())
    }
}

fn counted(ppid: Ppid, len: usize) -> usize {
    match ppid {
        Ppid::DCEP | Ppid::STRING_EMPTY | Ppid::BINARY_EMPTY => 0,
        _ => len,
    }
}

#[derive(Debug, Default)]
struct Stream {
    queue: VecDeque<Queued>,
    /// The message that is being cut into fragments.
    current: Option<MessageKey>,
    buffered: usize,
    low_threshold: usize,
    next_ordered: u32,
    next_unordered: u32,
    has_turn: bool,
    is_resetting: bool,
}

impl Stream {
    fn is_idle(&self) -> bool {
        self.queue.is_empty() && self.current.is_none()
    }
}

/// A piece of a message that is about to be sent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cut {
    pub(super) message: MessageKey,
    pub(super) offset: u32,
    pub(super) len: u16,
    pub(super) fragment: u32,
    pub(super) is_end: bool,
}

/// The send queue of all streams.
#[derive(Debug, Default)]
pub(in crate::sctp) struct SendQueue {
    streams: BTreeMap<u16, Stream>,
    /// Streams with something to send, next one first.
    turns: VecDeque<u16>,
    /// Messages that are cut in part: only with I-DATA more than one.
    open_len: usize,
    /// Bytes queued over all streams.
    len: usize,
    /// Streams whose buffered amount fell to their threshold.
    low: Vec<u16>,
    expired: u64,
}

impl SendQueue {
    pub(super) fn push(&mut self, stream: u16, message: Queued) {
        self.len += message.payload.len();
        let entry = self.streams.entry(stream).or_default();
        entry.buffered += message.counted();
        entry.queue.push_back(message);
        if !entry.has_turn {
            entry.has_turn = true;
            self.turns.push_back(stream);
        }
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.turns.is_empty()
    }

    /// Bytes queued over all streams.
    pub(in crate::sctp) fn len(&self) -> usize {
        self.len
    }

    pub(in crate::sctp) fn buffered(&self, stream: u16) -> usize {
        self.streams.get(&stream).map_or(0, |entry| entry.buffered)
    }

    pub(in crate::sctp) fn set_low_threshold(&mut self, stream: u16, threshold: usize) {
        self.streams.entry(stream).or_default().low_threshold = threshold;
    }

    pub(in crate::sctp) fn pop_low(&mut self) -> Option<u16> {
        self.low.pop()
    }

    /// Messages dropped before their first transmission since the last call.
    pub(super) fn take_expired(&mut self) -> u64 {
        std::mem::take(&mut self.expired)
    }

    /// Cuts the next fragment of at most `room` bytes. Fragments shorter than `min_len` are cut
    /// only where a message ends. A message may be opened beside others up to `open_len_max` bytes
    /// in all.
    pub(super) fn cut(
        &mut self,
        now: Instant,
        messages: &mut Messages,
        room: usize,
        min_len: usize,
        turn: Turn,
    ) -> Option<Cut> {
        let mut refused = 0;
        loop {
            let id = *self.turns.front()?;
            let stream = self.streams.get_mut(&id)?;
            if stream.current.is_none() {
                let Some(next) = stream.queue.front() else {
                    stream.has_turn = false;
                    self.turns.pop_front();
                    continue;
                };
                if next.limit.is_expired(now) {
                    self.drop_first(id);
                    self.expired += 1;
                    continue;
                }
                let len = next.payload.len();
                if len > room && room < min_len {
                    return None;
                }
                if let Turn::Fragment { open_len_max } = turn
                    && len > room
                    && self.open_len > 0
                    && self.open_len + len > open_len_max
                {
                    // Its receiver might have no room for so many unfinished messages.
                    refused += 1;
                    if refused >= self.turns.len() {
                        return None;
                    }
                    self.turns.rotate_left(1);
                    continue;
                }
                stream.current = Some(open(id, stream, messages, turn)?);
                self.open_len += len;
            }
            let stream = self.streams.get_mut(&id)?;
            let key = stream.current?;
            let message = messages.get_mut(key)?;
            let left = message.payload.len() - message.cut;
            if left > room && room < min_len {
                return None;
            }
            let len = left.min(room).min(usize::from(u16::MAX));
            let cut = Cut {
                message: key,
                offset: message.cut as u32,
                len: len as u16,
                fragment: message.fragments,
                is_end: len == left,
            };
            message.cut += len;
            message.fragments += 1;
            message.outstanding += 1;
            let (ppid, message_len) = (message.ppid, message.payload.len());
            if cut.is_end {
                stream.current = None;
                self.open_len = self.open_len.saturating_sub(message_len);
            }
            let is_turn_over = match turn {
                Turn::Message => cut.is_end,
                Turn::Fragment { .. } => true,
            };
            stream.has_turn = !stream.is_idle();
            if !stream.has_turn {
                self.turns.pop_front();
            } else if is_turn_over && self.turns.len() > 1 {
                self.turns.rotate_left(1);
            }
            self.drain(id, len, counted(ppid, len));
            return Some(cut);
        }
    }

    /// Forgets the rest of a message that is given up; answers whether there was a rest.
    pub(super) fn give_up(&mut self, message: &Message, key: MessageKey) -> bool {
        let id = message.stream;
        let Some(stream) = self.streams.get_mut(&id) else {
            return false;
        };
        if stream.current != Some(key) {
            return false;
        }
        stream.current = None;
        self.open_len = self.open_len.saturating_sub(message.payload.len());
        let rest = message.payload.len() - message.cut;
        self.drain(id, rest, counted(message.ppid, rest));
        true
    }

    /// Begins to reset `stream`: what is queued is still sent.
    pub(in crate::sctp) fn begin_reset(&mut self, stream: u16) {
        self.streams.entry(stream).or_default().is_resetting = true;
    }

    pub(in crate::sctp) fn is_resetting(&self, stream: u16) -> bool {
        self.streams
            .get(&stream)
            .is_some_and(|entry| entry.is_resetting)
    }

    /// Whether nothing of `stream` is left to send.
    pub(in crate::sctp) fn is_drained(&self, stream: u16) -> bool {
        self.streams.get(&stream).is_none_or(Stream::is_idle)
    }

    /// Ends the reset of `stream`. After a performed one its numbers start over.
    pub(in crate::sctp) fn end_reset(&mut self, stream: u16, outcome: ResetOutcome) {
        match outcome {
            ResetOutcome::Performed => {
                self.streams.remove(&stream);
            }
            ResetOutcome::Refused => {
                if let Some(entry) = self.streams.get_mut(&stream) {
                    entry.is_resetting = false;
                }
            }
        }
    }

    /// Starts over after the peer restarted; everything queued is dropped.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    fn drop_first(&mut self, id: u16) {
        let Some(first) = self
            .streams
            .get_mut(&id)
            .and_then(|stream| stream.queue.pop_front())
        else {
            return;
        };
        self.drain(id, first.payload.len(), first.counted());
    }

    /// `len` bytes of stream `id` left the queue, of which the application counts `counted`.
    fn drain(&mut self, id: u16, len: usize, counted: usize) {
        self.len = self.len.saturating_sub(len);
        let Some(stream) = self.streams.get_mut(&id) else {
            return;
        };
        let before = stream.buffered;
        stream.buffered = before.saturating_sub(counted);
        if before > stream.low_threshold && stream.buffered <= stream.low_threshold {
            self.low.push(id);
        }
    }
}

/// How a reset of one of our streams ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sctp) enum ResetOutcome {
    /// The peer performed it.
    Performed,
    /// The peer refused it.
    Refused,
}

/// When the turn passes to the next stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// After a whole message (DATA).
    Message,
    /// After a fragment (I-DATA), with a bound for the bytes of messages that are open at once.
    Fragment {
        /// The bound.
        open_len_max: usize,
    },
}

/// Moves the first queued message of `stream` to those that are being sent.
fn open(id: u16, stream: &mut Stream, messages: &mut Messages, turn: Turn) -> Option<MessageKey> {
    let queued = stream.queue.pop_front()?;
    let number = match (queued.order, turn) {
        (Order::Ordered, _) => &mut stream.next_ordered,
        (Order::Unordered, Turn::Fragment { .. }) => &mut stream.next_unordered,
        // DATA does not number unordered messages; the field is ignored (RFC 9260 §3.3.1).
        (Order::Unordered, Turn::Message) => &mut 0,
    };
    let message = Message {
        payload: queued.payload,
        stream: id,
        ppid: queued.ppid,
        order: queued.order,
        limit: queued.limit,
        number: *number,
        cut: 0,
        fragments: 0,
        outstanding: 0,
        first_tsn: 0,
        is_abandoned: false,
    };
    *number = number.wrapping_add(1);
    Some(messages.insert(message))
}
