//! How the remote side's clock stands to ours, by its sender reports (RFC 3550 §6.4.1).
//!
//! A report says when it left. It is here half a round trip later, or later still where it waited: of
//! the last ones the quickest tells most, and of the round trips the shortest. Who receives without
//! sending may know none: then the way here counts for nothing.

use std::collections::VecDeque;
use std::time::Duration;

use super::ntp::ntp_time;
use crate::time::Now;

/// Reports remembered: about 20 s of one stream.
const REPORTS_MAX: usize = 20;

/// A report so far from the others is of a clock that was set, in units of 2^-32 s: 1 s.
const JUMP: u64 = 1 << 32;

/// What one report said.
#[derive(Debug, Clone, Copy)]
struct Report {
    /// How far its time was ahead of ours when it came, in units of 2^-32 s.
    ahead: i64,
    rtt: Option<Duration>,
}

/// The clock of the remote side.
#[derive(Debug, Default)]
pub(super) struct RemoteClock {
    reports: VecDeque<Report>,
}

impl RemoteClock {
    /// Takes a sender report that came now, over a path of that round-trip time, where it is known.
    pub(super) fn handle_report(&mut self, now: Now, ntp: u64, rtt: Option<Duration>) {
        // RFC 3550 §6.4.1: zero for a sender without a notion of time.
        if ntp == 0 {
            return;
        }
        let ahead = ntp.wrapping_sub(ntp_time(now.wallclock)).cast_signed();
        let last = self.reports.back();
        if last.is_some_and(|last| last.ahead.wrapping_sub(ahead).unsigned_abs() > JUMP) {
            self.reports.clear();
        }
        if self.reports.len() >= REPORTS_MAX {
            self.reports.pop_front();
        }
        self.reports.push_back(Report { ahead, rtt });
    }

    /// How far it is ahead of ours, in units of 2^-32 s; `None` before the first report.
    pub(super) fn ahead(&self) -> Option<i64> {
        let first = self.reports.front()?.ahead;
        let later = |own: &Report| own.ahead.wrapping_sub(first);
        let quickest = self.reports.iter().map(later).max()?;
        let rtt = self.reports.iter().filter_map(|own| own.rtt).min();
        // Of seconds: far from the end of what the units count.
        let way = ((rtt.unwrap_or_default() / 2).as_nanos() << 32) / 1_000_000_000;
        let way = i64::try_from(way).unwrap_or(0);
        Some(first.wrapping_add(quickest).wrapping_add(way))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::tests::instant;
    use super::*;

    const MS: Duration = Duration::from_millis(1);
    const START: Duration = Duration::from_secs(1_800_000_000);

    fn at(after: Duration) -> Now {
        Now {
            monotonic: instant(),
            wallclock: START + after,
        }
    }

    /// Units of 2^-32 s as milliseconds.
    fn millis(units: i64) -> i64 {
        ((i128::from(units) * 1000) >> 32) as i64
    }

    #[test]
    fn the_quickest_report_and_the_shortest_way_count() {
        let mut clock = RemoteClock::default();
        assert_eq!(clock.ahead(), None);
        clock.handle_report(at(MS), 0, None);
        assert_eq!(clock.ahead(), None, "a sender without time");
        // An hour ahead, 30 ms away, and behind a queue that grows and goes.
        let ahead = MS * 3_600_000;
        let queues = [20, 90, 140, 0, 60, 300];
        for (second, queue) in (0u32..).zip(queues) {
            let left = MS * 1000 * second;
            let came = at(left + MS * (30 + queue));
            let rtt = (second > 1).then_some(MS * (60 + queue));
            clock.handle_report(came, ntp_time(START + left + ahead), rtt);
            if second == 1 {
                let found = millis(clock.ahead().unwrap());
                assert!((3_599_949..=3_599_951).contains(&found), "{found}: no way");
            }
        }
        let found = millis(clock.ahead().unwrap());
        assert!((3_599_999..=3_600_001).contains(&found), "{found}");
    }

    #[test]
    fn a_clock_that_was_set_is_followed() {
        let mut clock = RemoteClock::default();
        for (second, behind) in [(0, 0), (1, 0), (2, 50_000), (3, 50_000)] {
            let left = MS * 1000 * second;
            let theirs = START + left - MS * behind;
            clock.handle_report(at(left + MS * 20), ntp_time(theirs), Some(MS * 40));
        }
        let found = millis(clock.ahead().unwrap());
        assert!((-50_001..=-49_999).contains(&found), "{found}");
    }

    proptest! {
        #[test]
        fn arbitrary_reports_never_panic(reports in prop::collection::vec((any::<u64>(), any::<Option<u32>>()), 0..60)) {
            let mut clock = RemoteClock::default();
            for (ntp, rtt) in reports {
                clock.handle_report(at(MS), ntp, rtt.map(|rtt| MS * rtt));
                clock.ahead();
            }
            prop_assert!(clock.reports.len() <= REPORTS_MAX);
        }
    }
}
