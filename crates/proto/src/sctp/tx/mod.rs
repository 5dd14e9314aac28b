//! The sending half of an association: from messages to chunks that are acknowledged.
//!
//! 1. Messages wait in the [`queue`], per stream.
//! 2. [`Sender::fill`] cuts fragments into a packet while the congestion window and the peer's
//!    receiver window allow, lost chunks first. Each is kept in [`outstanding`].
//! 3. A SACK settles chunks, feeds round-trip times, and lets [`rack`] find losses ([`ack`]).
//! 4. Three timers guard the flow ([`recovery`]): the reordering timer and the tail-loss probe,
//!    which share a slot, and T3 when both were not enough.
//! 5. Messages with a limit are given up ([`abandon`]) and skipped by FORWARD TSN.

mod abandon;
mod ack;
mod messages;
mod outstanding;
mod queue;
mod rack;
mod recovery;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;
use twocan_wire::ids::StreamId;
use twocan_wire::sctp::{
    DATA_HEADER_LEN, Data, DataFlags, I_DATA_HEADER_LEN, IData, PacketWriter, Place, Ppid,
};
use twocan_wire::seq::{SeqNo16, SeqNo32};

use self::messages::{Limit, Messages};
use self::outstanding::{Fate, Outstanding, Sent};
use self::queue::{Cut, Queued, SendQueue, Turn};
use self::rack::Rack;
use self::recovery::{LossTimer, Probe};
use super::config::Config;
use super::congestion::CongestionControl;
use super::event::{Order, Reliability, SendOptions, Stats};
use super::rto::Rto;

pub(super) use self::queue::ResetOutcome;
pub(super) use self::recovery::Expired;

/// Chunks in flight at most: gap blocks reach 65,535 TSNs beyond the cumulative one
/// (RFC 9260 §3.3.4). When it is reached, nothing new is sent until some are acknowledged.
const OUTSTANDING_MAX: usize = 60_000;
/// Shortest fragment that is cut to fill a packet; below, the header costs more than it gains.
const FRAGMENT_LEN_MIN: usize = 256;

/// Which chunk carries user data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// DATA.
    Data,
    /// I-DATA.
    IData,
}

/// The sending half.
#[derive(Debug)]
pub(super) struct Sender {
    queue: SendQueue,
    messages: Messages,
    outstanding: Outstanding,
    /// TSNs that were lost, in the order to send them again. Those whose fate changed since are
    /// passed over.
    retransmit: VecDeque<u64>,
    rack: Rack,
    rto: Rto,
    congestion: Box<dyn CongestionControl>,
    format: Format,
    /// Whether the peer understands FORWARD TSN; if not, every message that was begun is reliable.
    can_abandon: bool,
    packet_len_max: usize,
    /// Bytes in flight with chunk headers, as the congestion window counts.
    flight: usize,
    /// Bytes of user data in flight, as the receiver window counts.
    flight_payload: usize,
    /// Outstanding chunks that gap blocks acknowledged.
    acked_beyond: usize,
    peer_window: usize,
    peer_window_initial: usize,
    /// The last TSN that was sent when a loss was found; the loss is repaired beyond it.
    recovery_point: Option<u64>,
    /// The first packet of retransmissions is sent whatever the window (RFC 9260 §7.2.4).
    has_fast_retransmit: bool,
    probe: Option<Probe>,
    is_probe_due: bool,
    t3: Option<Instant>,
    loss_timer: Option<LossTimer>,
    /// The last TSN that the peer may skip to (RFC 3758 §3.5, Advanced.Peer.Ack.Point).
    advanced: u64,
    is_forward_due: bool,
    forward_sent_at: Option<Instant>,
    /// Timeouts since the peer acknowledged anything.
    unanswered: u32,
    is_after_timeout: bool,
    last_sent_at: Option<Instant>,
    stats: Stats,
}

impl Sender {
    pub(super) fn new(config: &Config, initial_tsn: u32) -> Self {
        let first = first_tsn(initial_tsn);
        Self {
            queue: SendQueue::default(),
            messages: Messages::default(),
            outstanding: Outstanding::new(first),
            retransmit: VecDeque::new(),
            rack: Rack::default(),
            rto: Rto::new(config.rto_initial, config.rto_min, config.rto_max),
            congestion: config.congestion.start(config.packet_len_max),
            format: Format::Data,
            can_abandon: false,
            packet_len_max: config.packet_len_max,
            flight: 0,
            flight_payload: 0,
            acked_beyond: 0,
            peer_window: 0,
            peer_window_initial: 0,
            recovery_point: None,
            has_fast_retransmit: false,
            probe: None,
            is_probe_due: false,
            t3: None,
            loss_timer: None,
            advanced: first - 1,
            is_forward_due: false,
            forward_sent_at: None,
            unanswered: 0,
            is_after_timeout: false,
            last_sent_at: None,
            stats: Stats::default(),
        }
    }

    /// The peer's part of the handshake is known.
    pub(super) fn start(&mut self, peer_window: u32, format: Format, can_abandon: bool) {
        self.can_abandon = can_abandon;
        self.peer_window = peer_window as usize;
        self.peer_window_initial = peer_window as usize;
        self.format = format;
    }

    /// The peer restarted: everything queued and in flight is gone, the path is as it was.
    pub(super) fn restart(&mut self, config: &Config, initial_tsn: u32) {
        let rto = self.rto.clone();
        let stats = self.stats;
        *self = Self::new(config, initial_tsn);
        self.rto = rto;
        self.stats = stats;
    }

    /// Drops everything, when the association ends.
    pub(super) fn clear(&mut self) {
        self.queue.clear();
        self.messages.clear();
        self.outstanding = Outstanding::new(self.outstanding.next());
        self.retransmit.clear();
        self.rack.clear();
        self.flight = 0;
        self.flight_payload = 0;
        self.t3 = None;
        self.loss_timer = None;
        self.is_probe_due = false;
        self.is_forward_due = false;
    }

    pub(super) fn push(
        &mut self,
        now: Instant,
        stream: u16,
        ppid: Ppid,
        options: SendOptions,
        payload: Bytes,
    ) {
        let limit = match options.reliability {
            Reliability::Reliable => Limit::default(),
            Reliability::MaxRetransmits(count) => Limit {
                retransmits: Some(count),
                expires: None,
            },
            Reliability::MaxLifetime(life) => Limit {
                retransmits: None,
                expires: now.checked_add(life),
            },
        };
        self.stats.messages_sent += 1;
        let queued = Queued {
            payload,
            ppid,
            order: options.order,
            limit,
        };
        self.queue.push(stream, queued);
    }

    pub(super) fn queue(&self) -> &SendQueue {
        &self.queue
    }

    pub(super) fn queue_mut(&mut self) -> &mut SendQueue {
        &mut self.queue
    }

    /// The last TSN that was given to a chunk.
    pub(super) fn last_tsn(&self) -> SeqNo32 {
        wire(self.outstanding.next() - 1)
    }

    /// Whether everything was acknowledged and nothing waits.
    pub(super) fn is_done(&self) -> bool {
        self.queue.is_empty() && self.outstanding.is_empty()
    }

    pub(super) fn unanswered(&self) -> u32 {
        self.unanswered
    }

    /// Counts a timeout of another part (heartbeat, reset) towards the failure of the association.
    pub(super) fn count_unanswered(&mut self) {
        self.unanswered += 1;
    }

    /// The peer showed that it lives.
    pub(super) fn clear_unanswered(&mut self) {
        self.unanswered = 0;
    }

    pub(super) fn rto(&self) -> Duration {
        self.rto.timeout()
    }

    pub(super) fn measure(&mut self, now: Instant, rtt: Duration) {
        self.rto.measure(now, rtt);
    }

    pub(super) fn stats(&self) -> Stats {
        Stats {
            congestion_window: self.congestion.window(),
            receiver_window: self.peer_window,
            in_flight: self.flight,
            unconfirmed: self.outstanding.len(),
            smoothed_rtt: self.rto.smoothed(),
            ..self.stats
        }
    }

    /// Whether [`Self::fill`] would write something into an empty packet.
    #[inline]
    pub(super) fn has_work(&self) -> bool {
        let can_send = self.flight < self.congestion.window();
        self.is_probe_due
            || self.is_forward_due
            || (!self.retransmit.is_empty() && (can_send || self.has_fast_retransmit))
            || (!self.queue.is_empty() && can_send && self.can_receive())
    }

    /// Writes what is due into a packet: FORWARD TSN, lost chunks, then new ones.
    pub(super) fn fill(&mut self, now: Instant, writer: &mut PacketWriter<'_>) {
        if self.is_forward_due {
            self.write_forward_tsn(now, writer);
        }
        let room_before = writer.room();
        self.fill_lost(now, writer);
        if self.is_probe_due {
            self.fill_probe(now, writer);
        } else {
            self.fill_new(now, writer, self.congestion.window());
        }
        if writer.room() != room_before {
            self.last_sent_at = Some(now);
            if self.t3.is_none() {
                self.t3 = Some(now + self.rto.timeout());
            }
        }
        self.stats.abandoned += self.queue.take_expired();
    }

    fn fill_lost(&mut self, now: Instant, writer: &mut PacketWriter<'_>) {
        while let Some(&tsn) = self.retransmit.front() {
            let Some(sent) = self.outstanding.get(tsn).copied() else {
                self.retransmit.pop_front();
                continue;
            };
            if sent.fate != Fate::Lost {
                self.retransmit.pop_front();
                continue;
            }
            if self.flight >= self.congestion.window() && !self.has_fast_retransmit {
                return;
            }
            if self.is_expired(now, &sent) {
                self.retransmit.pop_front();
                self.abandon(now, sent.message);
                self.advance_ack_point();
                continue;
            }
            if !self.write_again(now, tsn, writer) {
                self.has_fast_retransmit = false;
                return;
            }
            self.retransmit.pop_front();
        }
        self.has_fast_retransmit = false;
    }

    fn fill_new(&mut self, now: Instant, writer: &mut PacketWriter<'_>, window: usize) {
        if self.queue.is_empty() {
            return;
        }
        self.decay_when_idle(now);
        let turn = match self.format {
            Format::Data => Turn::Message,
            Format::IData => Turn::Fragment {
                open_len_max: self.peer_window_initial / 2,
            },
        };
        while self.flight < window && self.can_receive() && self.outstanding.len() < OUTSTANDING_MAX
        {
            let room = writer.room().saturating_sub(self.header_len());
            let room = room.min(self.receivable());
            if room == 0 {
                return;
            }
            let Some(cut) = self
                .queue
                .cut(now, &mut self.messages, room, FRAGMENT_LEN_MIN, turn)
            else {
                return;
            };
            self.write_first(now, cut, writer);
        }
    }

    /// One packet beyond the window: new data if there is some, else the last chunk again
    /// (RFC 8985 §7.3).
    fn fill_probe(&mut self, now: Instant, writer: &mut PacketWriter<'_>) {
        self.is_probe_due = false;
        self.stats.probes += 1;
        let next = self.outstanding.next();
        self.fill_new(now, writer, usize::MAX);
        let is_retransmission = self.outstanding.next() == next;
        if is_retransmission {
            let last = (self.outstanding.first()..next).rev().find(|tsn| {
                self.outstanding.get(*tsn).is_some_and(|sent| {
                    sent.fate == Fate::InFlight && !self.is_exhausted(now, sent)
                })
            });
            let Some(last) = last else { return };
            self.write_again(now, last, writer);
        }
        self.probe = Some(Probe {
            tsn: self.outstanding.next() - 1,
            sent_at: now,
            is_retransmission,
        });
        self.t3 = Some(now + self.rto.timeout());
    }

    #[inline]
    fn write_first(&mut self, now: Instant, cut: Cut, writer: &mut PacketWriter<'_>) {
        let tsn = self.outstanding.push(Sent {
            sent_at: now,
            message: cut.message,
            offset: cut.offset,
            fragment: cut.fragment,
            acked_run: 0,
            len: cut.len,
            transmissions: 1,
            fate: Fate::InFlight,
            is_end: cut.is_end,
        });
        if cut.fragment == 0
            && let Some(message) = self.messages.get_mut(cut.message)
        {
            message.first_tsn = tsn;
        }
        self.flight += self.size(cut.len);
        self.flight_payload += usize::from(cut.len);
        self.stats.bytes_sent += u64::from(cut.len);
        self.rack.on_sent(tsn, 1);
        // The acknowledgement of the last chunk is wanted at once (RFC 7053), as is one that a
        // small window waits for.
        let is_immediate =
            self.queue.is_empty() || self.congestion.window() <= 4 * self.packet_len_max;
        self.write_chunk(tsn, is_immediate, writer);
        self.arm_probe(now);
    }

    /// Writes a chunk that was sent before; answers whether it fitted.
    fn write_again(&mut self, now: Instant, tsn: u64, writer: &mut PacketWriter<'_>) -> bool {
        let is_immediate = self.is_probe_due || self.is_after_timeout || self.retransmit.len() == 1;
        if !self.write_chunk(tsn, is_immediate, writer) {
            return false;
        }
        let size = self
            .outstanding
            .get(tsn)
            .map_or(0, |sent| self.size(sent.len));
        let Some(sent) = self.outstanding.get_mut(tsn) else {
            return true;
        };
        if sent.fate != Fate::InFlight {
            sent.fate = Fate::InFlight;
            self.flight += size;
            self.flight_payload += usize::from(sent.len);
        }
        sent.sent_at = now;
        sent.transmissions = sent.transmissions.saturating_add(1);
        self.rack.on_sent(tsn, sent.transmissions);
        self.stats.retransmissions += 1;
        true
    }

    #[inline]
    fn write_chunk(&self, tsn: u64, is_immediate: bool, writer: &mut PacketWriter<'_>) -> bool {
        let Some(sent) = self.outstanding.get(tsn) else {
            return true;
        };
        let Some(message) = self.messages.get(sent.message) else {
            return true;
        };
        let start = sent.offset as usize;
        let payload = message.payload.get(start..start + usize::from(sent.len));
        let payload = payload.unwrap_or_default();
        let flags = DataFlags {
            is_immediate,
            is_unordered: message.order == Order::Unordered,
            is_end: sent.is_end,
        };
        let stream = StreamId(message.stream);
        match self.format {
            Format::Data => writer.push(&Data {
                tsn: wire(tsn),
                stream,
                ssn: SeqNo16(message.number as u16),
                ppid: message.ppid,
                is_begin: sent.fragment == 0,
                flags,
                payload,
            }),
            Format::IData => writer.push(&IData {
                tsn: wire(tsn),
                stream,
                mid: SeqNo32(message.number),
                place: match sent.fragment {
                    0 => Place::First(message.ppid),
                    fragment => Place::Later(SeqNo32(fragment)),
                },
                flags,
                payload,
            }),
        }
    }

    /// Whether the peer has room, or must be asked because nothing is in flight that would tell
    /// (RFC 9260 §6.1 A).
    #[inline]
    fn can_receive(&self) -> bool {
        self.flight_payload < self.peer_window || self.flight == 0
    }

    /// Bytes of user data that the peer has room for.
    #[inline]
    fn receivable(&self) -> usize {
        if self.flight == 0 {
            return usize::MAX;
        }
        self.peer_window.saturating_sub(self.flight_payload)
    }

    fn decay_when_idle(&mut self, now: Instant) {
        let Some(last) = self.last_sent_at else {
            return;
        };
        let idle = now.saturating_duration_since(last);
        if self.flight == 0 && idle > self.rto.timeout() {
            let timeouts = idle.as_millis() / self.rto.timeout().as_millis().max(1);
            // After 16 halvings every window is at its minimum.
            for _ in 0..timeouts.min(16) {
                self.congestion.on_idle();
            }
            self.last_sent_at = Some(now);
        }
    }

    #[inline]
    fn header_len(&self) -> usize {
        match self.format {
            Format::Data => DATA_HEADER_LEN,
            Format::IData => I_DATA_HEADER_LEN,
        }
    }

    /// Bytes of a chunk with `len` bytes of user data.
    #[inline]
    fn size(&self, len: u16) -> usize {
        self.header_len() + usize::from(len).next_multiple_of(4)
    }
}

/// The extended form of an initial TSN, with room below for what precedes it.
fn first_tsn(initial: u32) -> u64 {
    (1 << 32) + u64::from(initial)
}

/// What of an extended TSN is sent.
#[inline]
fn wire(tsn: u64) -> SeqNo32 {
    SeqNo32(tsn as u32)
}
