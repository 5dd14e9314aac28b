//! Which packets of a stream are missing, and when to ask for them (RFC 4585 §6.2.1).
//!
//! 1. A gap below the highest packet is missing; after a short wait for reordering it is asked for.
//!    So is the packet after the highest, if that does not end its frame and nothing follows.
//! 2. It is asked for again once a round trip has passed, a limited number of times.
//! 3. What is not there then, or too old, is given up.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use twocan_wire::seq::SeqNo16;

/// Missing packets remembered. 512 is half a second of 10 Mbit/s; when more are missing at once,
/// asking for each would take longer than a key frame does, so all are given up.
pub(super) const MISSING_MAX: usize = 512;

/// Times a packet is asked for. At 5 % loss each way the tenth fails once in 10^10.
pub(super) const ASKED_MAX: u32 = 10;

/// How long a packet may be out of order before it counts as missing. Wi-Fi aggregation reorders
/// within a few milliseconds.
pub(super) const REORDER_WAIT: Duration = Duration::from_millis(5);

/// Between two requests at least, and at most: a round trip on a fast LAN is no reason to ask a
/// thousand times a second, one over a satellite none to ask only every two seconds.
const RETRY_MIN: Duration = Duration::from_millis(20);
const RETRY_MAX: Duration = Duration::from_millis(500);

/// A packet older than this is of no use to anyone who waits for the picture.
const AGE_MAX: Duration = Duration::from_secs(1);

/// Between two requests for one packet.
pub(super) fn retry_after(rtt: Duration) -> Duration {
    rtt.clamp(RETRY_MIN, RETRY_MAX)
}

#[derive(Debug, Default)]
pub(super) struct NackList {
    missing: BTreeMap<u64, Missing>,
    highest: Option<u64>,
    due_at: Option<Instant>,
}

#[derive(Debug)]
struct Missing {
    since: Instant,
    asked: u32,
    ask_at: Instant,
}

impl NackList {
    /// Notes a packet that arrived; answers whether so many are missing that all were given up.
    pub(super) fn handle_arrival(&mut self, now: Instant, sequence: u64) -> bool {
        let Some(highest) = self.highest else {
            self.highest = Some(sequence);
            return false;
        };
        if sequence <= highest {
            self.missing.remove(&sequence);
            return false;
        }
        self.highest = Some(sequence);
        self.missing.remove(&sequence);
        let gap = (sequence - highest - 1) as usize;
        if gap + self.missing.len() > MISSING_MAX {
            self.missing.clear();
            self.due_at = None;
            return true;
        }
        for missing in highest + 1..sequence {
            self.note(now, missing, now + REORDER_WAIT);
        }
        false
    }

    /// There must be one more packet than those that arrived, and it is late.
    pub(super) fn expect_next(&mut self, now: Instant) {
        if let Some(highest) = self.highest
            && self.missing.len() < MISSING_MAX
        {
            self.note(now, highest + 1, now);
        }
    }

    /// There are packets up to that number: FEC protects them.
    pub(super) fn expect_through(&mut self, now: Instant, sequence: u64) {
        let Some(highest) = self.highest else { return };
        for missing in highest + 1..=sequence {
            if self.missing.len() >= MISSING_MAX {
                return;
            }
            self.note(now, missing, now + REORDER_WAIT);
        }
    }

    fn note(&mut self, now: Instant, sequence: u64, ask_at: Instant) {
        self.due_at = Some(self.due_at.map_or(ask_at, |due| due.min(ask_at)));
        let entry = Missing {
            since: now,
            asked: 0,
            ask_at,
        };
        // One that was expected before is asked for no more often.
        self.missing.entry(sequence).or_insert(entry);
    }

    /// Forgets everything below `sequence`: it is no longer waited for.
    pub(super) fn forget_below(&mut self, sequence: u64) {
        self.missing = self.missing.split_off(&sequence);
        if self.missing.is_empty() {
            self.due_at = None;
        }
    }

    /// The packets to ask for, in order, at most so many; the others stay due.
    pub(super) fn take_due(&mut self, now: Instant, rtt: Duration, max: usize) -> Vec<SeqNo16> {
        if self.due_at.is_none_or(|due| due > now) {
            return Vec::new();
        }
        self.missing.retain(|_, missing| {
            missing.asked < ASKED_MAX && now.saturating_duration_since(missing.since) < AGE_MAX
        });
        let retry = retry_after(rtt);
        let mut due = Vec::new();
        self.due_at = None;
        for (sequence, missing) in &mut self.missing {
            if missing.ask_at <= now && due.len() < max {
                missing.asked += 1;
                missing.ask_at = now + retry;
                due.push(SeqNo16(*sequence as u16));
            }
            let at = missing.ask_at;
            self.due_at = Some(self.due_at.map_or(at, |due| due.min(at)));
        }
        due
    }

    pub(super) fn highest(&self) -> Option<u64> {
        self.highest
    }

    pub(super) fn due_at(&self) -> Option<Instant> {
        self.due_at
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtp::tests::instant;

    const RTT: Duration = Duration::from_millis(50);

    #[test]
    fn a_gap_is_asked_for_after_the_reorder_wait_and_again_after_a_round_trip() {
        let start = instant();
        let mut list = NackList::default();
        list.handle_arrival(start, 65_534);
        list.handle_arrival(start, 65_537);
        assert!(list.take_due(start, RTT, 120).is_empty());
        let due = start + REORDER_WAIT;
        assert_eq!(list.due_at(), Some(due));
        assert_eq!(list.take_due(due, RTT, 120), [SeqNo16(65_535), SeqNo16(0)]);
        assert!(list.take_due(due, RTT, 120).is_empty());
        list.handle_arrival(due, 65_535);
        assert_eq!(list.take_due(due + RTT, RTT, 120), [SeqNo16(0)]);
    }

    #[test]
    fn packets_that_fec_names_are_asked_for_unless_they_come() {
        let start = instant();
        let mut list = NackList::default();
        list.expect_through(start, 9);
        assert_eq!(list.due_at(), None, "before the first packet");
        list.handle_arrival(start, 5);
        list.expect_through(start, 8);
        list.handle_arrival(start, 7);
        let due = start + REORDER_WAIT;
        assert_eq!(list.take_due(due, RTT, 120), [SeqNo16(6), SeqNo16(8)]);
        list.handle_arrival(due, 9);
        assert!(list.take_due(due, RTT, 120).is_empty());
    }

    #[test]
    fn a_packet_is_given_up_after_ten_requests() {
        let mut now = instant();
        let mut list = NackList::default();
        list.handle_arrival(now, 0);
        list.handle_arrival(now, 2);
        let mut asked = 0;
        while let Some(due) = list.due_at() {
            now = due;
            asked += list.take_due(now, Duration::ZERO, 120).len();
        }
        assert_eq!(asked, 10);
    }

    #[test]
    fn a_gap_beyond_the_limit_gives_everything_up() {
        let now = instant();
        let mut list = NackList::default();
        list.handle_arrival(now, 0);
        assert!(!list.handle_arrival(now, MISSING_MAX as u64 + 1));
        assert!(list.handle_arrival(now, MISSING_MAX as u64 + 3));
        assert_eq!(list.due_at(), None);
    }

    #[test]
    fn what_does_not_fit_into_one_request_goes_into_the_next() {
        let now = instant();
        let mut list = NackList::default();
        list.handle_arrival(now, 0);
        list.handle_arrival(now, 301);
        let due = now + REORDER_WAIT;
        let counts = [120, 120, 60, 0];
        assert_eq!(counts.map(|_| list.take_due(due, RTT, 120).len()), counts);
        assert_eq!(list.due_at(), Some(due + RTT));
    }
}
