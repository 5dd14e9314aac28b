//! The receiving half of an association: from chunks to messages and SACKs.
//!
//! 1. The [`tracker`] knows which TSNs have arrived.
//! 2. Fragments become messages in [`runs`].
//! 3. Ordered messages wait for their turn in [`streams`].
//! 4. Everything that waits here or for the application counts against the receiver window.
//! 5. A SACK goes out for every second packet, at once where something is missing or doubled, and
//!    otherwise after a short delay (RFC 9260 §6.2).

mod runs;
mod streams;
mod tracker;

use std::collections::BTreeMap;
use std::time::Instant;

use twocan_wire::ids::StreamId;
use twocan_wire::sctp::{
    CHUNK_HEADER_LEN, Data, ForwardTsn, IData, IForwardTsn, PacketWriter, Place, Ppid, Sack,
};
use twocan_wire::seq::SeqNo32;

use self::runs::{Assembled, Fragment, Joined, Label, OVERHEAD, Runs};
use self::streams::{Numbering, Streams};
use self::tracker::{Seen, Tracker};
use super::config::Config;
use super::event::Message;

/// Packets with data until a SACK is due (RFC 9260 §6.2).
const PACKETS_PER_SACK: u32 = 2;

/// Which message an I-DATA fragment belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct MessageId {
    stream: u16,
    is_unordered: bool,
    mid: u32,
}

/// When the next SACK is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SackDue {
    No,
    At(Instant),
    Immediately,
}

/// A breach that ends the association.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Breach {
    /// A message is longer than allowed.
    MessageTooLarge,
}

/// What became of a data chunk, for the counters; `None` is the normal case.
pub(super) type Dropped = Option<&'static str>;

/// The receiving half.
#[derive(Debug)]
pub(super) struct Receiver {
    tracker: Tracker,
    /// Fragments of DATA by TSN.
    runs: Runs,
    /// Fragments of I-DATA by message.
    interleaved: BTreeMap<MessageId, Runs>,
    streams: Streams,
    /// Length of the last message that came in fragments.
    len_hint: usize,
    message_len_max: usize,
    capacity: usize,
    /// Bytes that wait here or for the application, overhead included.
    held: usize,
    advertised: usize,
    sack_due: SackDue,
    sack_delay: std::time::Duration,
    packets_unacked: u32,
}

impl Receiver {
    pub(super) fn new(config: &Config, initial_tsn: u32) -> Self {
        Self {
            tracker: Tracker::new(initial_tsn),
            runs: Runs::default(),
            interleaved: BTreeMap::new(),
            streams: Streams::default(),
            len_hint: 0,
            message_len_max: config.local_max_message_size,
            capacity: config.receive_window,
            held: 0,
            advertised: config.receive_window,
            sack_due: SackDue::No,
            sack_delay: config.sack_delay,
            packets_unacked: 0,
        }
    }

    /// Takes a DATA chunk; complete messages go to `deliver`.
    #[inline]
    pub(super) fn on_data(
        &mut self,
        data: &Data<'_>,
        deliver: &mut impl FnMut(Message),
    ) -> Result<Dropped, Breach> {
        let tsn = match self.admit(data.tsn, data.payload.len(), data.flags.is_immediate) {
            Ok(tsn) => tsn,
            Err(reason) => return Ok(Some(reason)),
        };
        let fragment = Fragment {
            key: tsn,
            label: Label {
                stream: data.stream.0,
                is_unordered: data.flags.is_unordered,
                number: u32::from(data.ssn.0),
            },
            ppid: data.ppid,
            is_begin: data.is_begin,
            is_end: data.flags.is_end,
            payload: data.payload,
        };
        let joined = if data.is_begin && data.flags.is_end {
            self.whole(&fragment)
        } else {
            let limit = self.message_len_max;
            let joined = self
                .runs
                .insert(&fragment, limit, self.len_hint, &mut self.held);
            self.remember_len(&joined);
            joined
        };
        self.on_joined(joined, Numbering::Ssn, deliver)
    }

    /// Takes an I-DATA chunk; complete messages go to `deliver`.
    pub(super) fn on_i_data(
        &mut self,
        data: &IData<'_>,
        deliver: &mut impl FnMut(Message),
    ) -> Result<Dropped, Breach> {
        if let Err(reason) = self.admit(data.tsn, data.payload.len(), data.flags.is_immediate) {
            return Ok(Some(reason));
        }
        let (key, ppid, is_begin) = match data.place {
            Place::First(ppid) => (0, ppid, true),
            Place::Later(fsn) => (u64::from(fsn.0), Ppid(0), false),
        };
        let id = MessageId {
            stream: data.stream.0,
            is_unordered: data.flags.is_unordered,
            mid: data.mid.0,
        };
        let fragment = Fragment {
            key,
            label: Label {
                stream: id.stream,
                is_unordered: id.is_unordered,
                number: id.mid,
            },
            ppid,
            is_begin,
            is_end: data.flags.is_end,
            payload: data.payload,
        };
        let joined = if is_begin && data.flags.is_end {
            self.whole(&fragment)
        } else {
            let limit = self.message_len_max;
            let hint = if self.interleaved.is_empty() {
                self.len_hint
            } else {
                0
            };
            let runs = self.interleaved.entry(id).or_default();
            let joined = runs.insert(&fragment, limit, hint, &mut self.held);
            if runs.is_empty() {
                self.interleaved.remove(&id);
            }
            self.remember_len(&joined);
            joined
        };
        self.on_joined(joined, Numbering::Mid, deliver)
    }

    /// Passes over what the peer has given up (DATA).
    pub(super) fn on_forward_tsn(
        &mut self,
        chunk: &ForwardTsn<'_>,
        deliver: &mut impl FnMut(Message),
    ) {
        self.sack_due = SackDue::Immediately;
        let Some(tsn) = self.tracker.skip_to(chunk.new_cumulative_tsn) else {
            return;
        };
        self.runs.drop_up_to(tsn, &mut self.held);
        for skipped in chunk.skipped.iter() {
            let (stream, number) = (skipped.stream.0, u32::from(skipped.ssn.0));
            self.skip(stream, number, Numbering::Ssn, deliver);
        }
    }

    /// Passes over what the peer has given up (I-DATA).
    pub(super) fn on_i_forward_tsn(
        &mut self,
        chunk: &IForwardTsn<'_>,
        deliver: &mut impl FnMut(Message),
    ) {
        self.sack_due = SackDue::Immediately;
        if self.tracker.skip_to(chunk.new_cumulative_tsn).is_none() {
            return;
        }
        for skipped in chunk.skipped.iter() {
            let id = MessageId {
                stream: skipped.stream.0,
                is_unordered: skipped.is_unordered,
                mid: skipped.mid.0,
            };
            self.drop_partial(id);
            if !skipped.is_unordered {
                self.skip(id.stream, id.mid, Numbering::Mid, deliver);
            }
        }
    }

    /// The application took a message of `len` bytes.
    #[inline]
    pub(super) fn on_taken(&mut self, len: usize) {
        self.held = self.held.saturating_sub(len + OVERHEAD);
        // RFC 9260 §6.2: tell the peer when a window that was nearly closed has opened.
        if self.advertised < self.capacity / 4 && self.free() >= self.capacity / 2 {
            self.sack_due = SackDue::Immediately;
        }
    }

    /// A packet with data chunks ended.
    #[inline]
    pub(super) fn on_packet_end(&mut self, now: Instant) {
        self.packets_unacked += 1;
        if self.packets_unacked >= PACKETS_PER_SACK
            || self.tracker.has_gaps()
            || self.tracker.has_duplicates()
        {
            self.sack_due = SackDue::Immediately;
        } else if self.sack_due == SackDue::No {
            self.sack_due = SackDue::At(now + self.sack_delay);
        }
    }

    /// Streams start over; none stands for all. Answers which.
    pub(super) fn reset(&mut self, streams: &[StreamId]) -> Vec<StreamId> {
        let all = || self.streams.used().into_iter().map(StreamId).collect();
        let streams = if streams.is_empty() {
            all()
        } else {
            streams.to_vec()
        };
        for stream in &streams {
            self.streams.reset(stream.0, &mut self.held);
        }
        streams
    }

    /// A SACK is wanted now.
    pub(super) fn want_sack(&mut self) {
        self.sack_due = SackDue::Immediately;
    }

    pub(super) fn sack_deadline(&self) -> Option<Instant> {
        match self.sack_due {
            SackDue::At(at) => Some(at),
            SackDue::No | SackDue::Immediately => None,
        }
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        if self.sack_deadline().is_some_and(|at| at <= now) {
            self.sack_due = SackDue::Immediately;
        }
    }

    #[inline]
    pub(super) fn is_sack_due(&self) -> bool {
        self.sack_due == SackDue::Immediately
    }

    /// Whether a SACK would say something new, so that a packet which is sent anyway carries it.
    #[inline]
    pub(super) fn has_sack(&self) -> bool {
        self.sack_due != SackDue::No
    }

    pub(super) fn cumulative(&self) -> SeqNo32 {
        self.tracker.cumulative()
    }

    pub(super) fn has_all_up_to(&self, tsn: SeqNo32) -> bool {
        self.tracker.has_all_up_to(tsn)
    }

    /// Writes a SACK with as many gap blocks as there is room for.
    pub(super) fn write_sack(&mut self, writer: &mut PacketWriter<'_>) {
        let duplicates = self.tracker.take_duplicates();
        let fixed = CHUNK_HEADER_LEN + 12 + duplicates.as_list().as_bytes().len();
        let gaps_max = writer.room().saturating_sub(fixed) / 4;
        let gaps = self
            .tracker
            .gap_blocks(gaps_max.min(self.tracker.gap_count()));
        self.advertised = self.free();
        let sack = Sack {
            cumulative_tsn: self.tracker.cumulative(),
            a_rwnd: u32::try_from(self.advertised).unwrap_or(u32::MAX),
            gap_blocks: gaps.as_list(),
            duplicates: duplicates.as_list(),
        };
        if writer.push(&sack) {
            self.sack_due = SackDue::No;
            self.packets_unacked = 0;
        }
    }

    /// Decides whether a data chunk is taken, and notes its TSN if so.
    #[inline]
    fn admit(&mut self, tsn: SeqNo32, len: usize, is_immediate: bool) -> Result<u64, &'static str> {
        if is_immediate {
            self.sack_due = SackDue::Immediately;
        }
        let (extended, limit) = match self.tracker.look_up(tsn) {
            // The chunk that everything waits for may go beyond the window, or nothing would move.
            Seen::Next(tsn) => (tsn, self.capacity * 2),
            Seen::Beyond(tsn) => (tsn, self.capacity),
            Seen::Duplicate => return Err("sctp.duplicate_tsn"),
            Seen::OutOfWindow => return Err("sctp.tsn_out_of_window"),
        };
        if self.held + len + OVERHEAD > limit {
            self.sack_due = SackDue::Immediately;
            return Err("sctp.receive_buffer_full");
        }
        self.tracker.note(extended);
        Ok(extended)
    }

    #[inline]
    fn whole(&self, fragment: &Fragment<'_>) -> Joined {
        if fragment.payload.len() > self.message_len_max {
            return Joined::TooLarge;
        }
        Joined::Complete(Assembled {
            label: fragment.label,
            ppid: fragment.ppid,
            payload: fragment.payload.to_vec(),
        })
    }

    /// The next message that comes in fragments may be as long as this one.
    fn remember_len(&mut self, joined: &Joined) {
        if let Joined::Complete(message) = joined {
            self.len_hint = message.payload.len();
        }
    }

    #[inline]
    fn on_joined(
        &mut self,
        joined: Joined,
        numbering: Numbering,
        deliver: &mut impl FnMut(Message),
    ) -> Result<Dropped, Breach> {
        let message = match joined {
            Joined::Incomplete => return Ok(None),
            Joined::TooLarge => return Err(Breach::MessageTooLarge),
            Joined::Complete(message) => message,
        };
        let mut taken = 0;
        let is_new = if message.label.is_unordered {
            taken += message.payload.len() + OVERHEAD;
            deliver(into_message(message));
            true
        } else {
            self.streams
                .insert(message, numbering, &mut self.held, |message| {
                    taken += message.payload.len() + OVERHEAD;
                    deliver(into_message(message));
                })
        };
        self.held += taken;
        Ok((!is_new).then_some("sctp.old_message"))
    }

    fn skip(
        &mut self,
        stream: u16,
        number: u32,
        numbering: Numbering,
        deliver: &mut impl FnMut(Message),
    ) {
        let mut taken = 0;
        self.streams
            .skip(stream, number, numbering, &mut self.held, |message| {
                taken += message.payload.len() + OVERHEAD;
                deliver(into_message(message));
            });
        self.held += taken;
    }

    /// Drops the unfinished messages of a stream up to `last`.
    fn drop_partial(&mut self, last: MessageId) {
        let is_dropped = |id: &MessageId| {
            id.stream == last.stream
                && id.is_unordered == last.is_unordered
                && !SeqNo32(id.mid).is_after(SeqNo32(last.mid))
        };
        let held = &mut self.held;
        self.interleaved.retain(|id, runs| {
            let is_kept = !is_dropped(id);
            if !is_kept {
                runs.drop_up_to(u64::MAX, held);
            }
            is_kept
        });
    }

    fn free(&self) -> usize {
        self.capacity.saturating_sub(self.held)
    }
}

fn into_message(message: Assembled) -> Message {
    Message {
        stream: StreamId(message.label.stream),
        ppid: message.ppid,
        payload: message.payload,
    }
}
