//! Partial reliability (RFC 3758): messages that are given up, and how the peer skips them.

use std::collections::BTreeMap;
use std::time::Instant;

use twocan_wire::ids::StreamId;
use twocan_wire::sctp::{
    CHUNK_HEADER_LEN, Entry, ForwardTsn, IForwardTsn, ListBuf, PacketWriter, SkippedMessage,
    SkippedStream,
};
use twocan_wire::seq::{SeqNo16, SeqNo32};

use super::messages::MessageKey;
use super::outstanding::{Fate, Sent};
use super::{Format, Sender, wire};
use crate::sctp::event::Order;

impl Sender {
    /// Whether the life of the chunk's message is over.
    pub(super) fn is_expired(&self, now: Instant, sent: &Sent) -> bool {
        self.can_abandon
            && self
                .messages
                .get(sent.message)
                .is_some_and(|message| message.limit.is_expired(now))
    }

    /// Whether a chunk that was lost may not be sent again.
    pub(super) fn is_exhausted(&self, now: Instant, sent: &Sent) -> bool {
        self.can_abandon
            && self.messages.get(sent.message).is_some_and(|message| {
                message.limit.is_expired(now)
                    || message
                        .limit
                        .retransmits
                        .is_some_and(|max| sent.transmissions > max)
            })
    }

    /// Gives a message up: none of its chunks is sent again.
    pub(super) fn abandon(&mut self, now: Instant, key: MessageKey) {
        let Some(message) = self.messages.get_mut(key) else {
            return;
        };
        if message.is_abandoned {
            return;
        }
        message.is_abandoned = true;
        self.stats.abandoned += 1;
        let first = message.first_tsn.max(self.outstanding.first());
        let mut left = message.outstanding;
        // The peer has parts of a message whose end was never sent: one more TSN, which only
        // FORWARD TSN mentions, tells it to drop them even if it has all the others.
        let needs_end = self.queue.give_up(message, key);
        if needs_end {
            message.outstanding += 1;
        }
        let fragment = message.fragments;
        for tsn in first..self.outstanding.next() {
            let Some(sent) = self.outstanding.get_mut(tsn) else {
                break;
            };
            if sent.message != key {
                continue;
            }
            let (fate, len) = (sent.fate, sent.len);
            sent.fate = Fate::Abandoned;
            match fate {
                Fate::InFlight => self.leave_flight(len),
                Fate::Acked => self.acked_beyond -= 1,
                Fate::Lost | Fate::Abandoned => {}
            }
            left -= 1;
            if left == 0 {
                break;
            }
        }
        if needs_end {
            self.outstanding.push(Sent {
                sent_at: now,
                message: key,
                offset: 0,
                fragment,
                acked_run: 0,
                len: 0,
                transmissions: 1,
                fate: Fate::Abandoned,
                is_end: true,
            });
        }
    }

    /// Moves the point that the peer may skip to over what is given up (RFC 3758 §3.5 C2).
    pub(super) fn advance_ack_point(&mut self) {
        let mut point = self.advanced.max(self.outstanding.first() - 1);
        while self
            .outstanding
            .get(point + 1)
            .is_some_and(|sent| sent.fate == Fate::Abandoned)
        {
            point += 1;
        }
        if point > self.advanced && point >= self.outstanding.first() {
            self.is_forward_due = true;
        }
        self.advanced = point;
    }

    /// Says again what to skip when the peer has not, a round trip after it was last told.
    pub(super) fn repeat_forward_tsn(&mut self, now: Instant) {
        if self.advanced < self.outstanding.first() {
            self.is_forward_due = false;
            return;
        }
        let patience = self.rto.smoothed().unwrap_or(self.rto.timeout());
        if self
            .forward_sent_at
            .is_none_or(|at| now.saturating_duration_since(at) > patience)
        {
            self.is_forward_due = true;
        }
    }

    /// Writes a FORWARD TSN; as far as there is room to name the streams.
    pub(super) fn write_forward_tsn(&mut self, now: Instant, writer: &mut PacketWriter<'_>) {
        let entry_size = match self.format {
            Format::Data => SkippedStream::SIZE,
            Format::IData => SkippedMessage::SIZE,
        };
        let room = writer.room().saturating_sub(CHUNK_HEADER_LEN + 4);
        let entries_max = room / entry_size;
        let mut skipped: BTreeMap<(u16, bool), u32> = BTreeMap::new();
        let mut point = self.outstanding.first() - 1;
        for (tsn, sent) in self.outstanding.iter() {
            if tsn > self.advanced {
                break;
            }
            if let Some(message) = self.messages.get(sent.message) {
                let is_unordered = message.order == Order::Unordered;
                let is_named = !is_unordered || self.format == Format::IData;
                let key = (message.stream, is_unordered);
                if is_named && !skipped.contains_key(&key) && skipped.len() >= entries_max {
                    break;
                }
                if is_named {
                    // Messages of a stream are cut in their order, so the last one is the highest.
                    skipped.insert(key, message.number);
                }
            }
            point = tsn;
        }
        if point < self.outstanding.first() {
            self.is_forward_due = point < self.advanced;
            return;
        }
        let is_written = match self.format {
            Format::Data => {
                let skipped: ListBuf<SkippedStream> = skipped
                    .into_iter()
                    .map(|((stream, _), number)| SkippedStream {
                        stream: StreamId(stream),
                        ssn: SeqNo16(number as u16),
                    })
                    .collect();
                writer.push(&ForwardTsn {
                    new_cumulative_tsn: wire(point),
                    skipped: skipped.as_list(),
                })
            }
            Format::IData => {
                let skipped: ListBuf<SkippedMessage> = skipped
                    .into_iter()
                    .map(|((stream, is_unordered), number)| SkippedMessage {
                        stream: StreamId(stream),
                        is_unordered,
                        mid: SeqNo32(number),
                    })
                    .collect();
                writer.push(&IForwardTsn {
                    new_cumulative_tsn: wire(point),
                    skipped: skipped.as_list(),
                })
            }
        };
        if is_written {
            self.is_forward_due = false;
            self.forward_sent_at = Some(now);
            if self.t3.is_none() {
                self.t3 = Some(now + self.rto.timeout());
            }
        }
    }
}
