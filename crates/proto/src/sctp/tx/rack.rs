//! Loss detection by time (RACK-TLP, RFC 8985, for TSNs).
//!
//! 1. Every transmission is logged in the order of sending.
//! 2. When a chunk is acknowledged, what was sent a reordering window before it and is still in
//!    flight is lost.
//! 3. The window is zero until reordering was seen, once three chunks were acknowledged beyond a
//!    gap: that is fast retransmit (RFC 9260 §7.2.4). Then it is a quarter of the lowest
//!    round-trip time, and grows while retransmissions turn out to be duplicates.
//!
//! A logged transmission is looked at once when it is decided, so the work for an acknowledgement
//! does not grow with what is in flight.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::outstanding::{Fate, Outstanding};

/// Chunks acknowledged beyond a gap that count as loss without reordering (RFC 9260 §7.2.4).
const DUPLICATE_THRESHOLD: usize = 3;
/// Largest multiple of a quarter round trip in the reordering window (bounded by one round trip).
const WINDOW_STEPS_MAX: u32 = 8;

/// Entries whose memory an idle association may keep: 16 KiB.
const IDLE_CAPACITY: usize = 1024;

#[derive(Debug, Clone, Copy)]
struct Transmission {
    tsn: u64,
    count: u16,
}

#[derive(Debug, Default)]
pub(super) struct Rack {
    log: VecDeque<Transmission>,
    /// The acknowledged transmission that was sent last: when, its TSN, and its round trip.
    newest: Option<(Instant, u64, Duration)>,
    highest_acked: Option<u64>,
    is_reordering_seen: bool,
    window_steps: u32,
}

/// What [`Rack::next_lost`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// This TSN is lost.
    Lost(u64),
    /// The oldest transmission may still be under way until then.
    WaitUntil(Instant),
    /// Nothing older than the newest acknowledged one is in flight.
    Settled,
}

impl Rack {
    #[inline]
    pub(super) fn on_sent(&mut self, tsn: u64, count: u16) {
        self.log.push_back(Transmission { tsn, count });
    }

    /// A chunk was acknowledged; `rtt` is the time since its last transmission.
    #[inline]
    pub(super) fn on_acked(
        &mut self,
        tsn: u64,
        sent_at: Instant,
        transmissions: u16,
        rtt: Duration,
        lowest_rtt: Option<Duration>,
    ) {
        if transmissions > 1 && lowest_rtt.is_some_and(|lowest| rtt < lowest) {
            // It acknowledges an earlier transmission (RFC 8985 §6.2 step 2).
            return;
        }
        if transmissions == 1 && self.highest_acked.is_some_and(|highest| tsn < highest) {
            self.is_reordering_seen = true;
        }
        self.highest_acked = self.highest_acked.max(Some(tsn));
        if self
            .newest
            .is_none_or(|(newest_at, newest_tsn, _)| (sent_at, tsn) > (newest_at, newest_tsn))
        {
            self.newest = Some((sent_at, tsn, rtt));
        }
    }

    /// The peer reported a retransmission as a duplicate: it was too early.
    pub(super) fn on_duplicate(&mut self) {
        self.is_reordering_seen = true;
        self.window_steps = (self.window_steps + 1).min(WINDOW_STEPS_MAX);
    }

    /// Decides the oldest transmission that is not decided.
    pub(super) fn next_lost(
        &mut self,
        now: Instant,
        outstanding: &Outstanding,
        acked_beyond: usize,
        is_in_recovery: bool,
        smoothed_rtt: Duration,
        lowest_rtt: Duration,
    ) -> Verdict {
        let Some((newest_at, newest_tsn, newest_rtt)) = self.newest else {
            return Verdict::Settled;
        };
        let is_early =
            !self.is_reordering_seen && (is_in_recovery || acked_beyond >= DUPLICATE_THRESHOLD);
        let window = if is_early {
            Duration::ZERO
        } else {
            (lowest_rtt / 4 * (self.window_steps + 1)).min(smoothed_rtt)
        };
        while let Some(oldest) = self.log.front().copied() {
            let sent = outstanding
                .get(oldest.tsn)
                .filter(|sent| sent.fate == Fate::InFlight && sent.transmissions == oldest.count);
            let Some(sent) = sent else {
                self.log.pop_front();
                continue;
            };
            if (sent.sent_at, oldest.tsn) >= (newest_at, newest_tsn) {
                return Verdict::Settled;
            }
            let due = sent.sent_at + newest_rtt + window;
            if due > now {
                return Verdict::WaitUntil(due);
            }
            self.log.pop_front();
            return Verdict::Lost(oldest.tsn);
        }
        Verdict::Settled
    }

    /// Nothing is in flight: what was logged is decided, and its memory is given back.
    pub(super) fn shrink(&mut self) {
        self.log.clear();
        if self.log.capacity() > IDLE_CAPACITY {
            self.log = VecDeque::new();
        }
    }

    /// After a timeout everything is sent again: what was logged says nothing any more.
    pub(super) fn clear(&mut self) {
        self.log.clear();
        self.newest = None;
    }
}
