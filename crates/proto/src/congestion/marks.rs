//! Marks of congestion: which of them count as loss, and those under L4S (RFC 9331): routers mark as
//! soon as a queue begins, and the rate falls in proportion to the part that is marked, as DCTCP's
//! does (RFC 8257 §3.3).

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use twocan_wire::rtcp::CongestionFeedback;

use super::Marking;
use super::control::{CongestionControl, RTT_DEFAULT};
use super::decision::Decision;

/// What a new round weighs in the mean (`g` of RFC 8257 §3.3).
const GAIN: f64 = 1.0 / 16.0;

/// A round is a round trip, but not shorter than this: else short paths would outdo longer ones
/// (RFC 9331 §4.3 wants less dependence on the round-trip time).
const ROUND_MIN: Duration = Duration::from_millis(25);

/// The mean part of the packets that is marked.
#[derive(Debug, Default)]
pub(super) struct Marks {
    /// 0 to 1, once any was marked (`DCTCP.Alpha`).
    mean: Option<f64>,
    round_since: Option<Instant>,
    packets: u64,
    marked: u64,
}

impl Marks {
    /// Takes a report on `packets` that arrived, of which `marked` were marked. Answers the factor
    /// by which the rate is to fall, once a round trip at most.
    pub(super) fn handle_report(
        &mut self,
        now: Instant,
        rtt: Duration,
        packets: u64,
        marked: u64,
    ) -> Option<f64> {
        self.packets += packets.max(marked);
        self.marked += marked;
        let since = *self.round_since.get_or_insert(now);
        if now.saturating_duration_since(since) < rtt.max(ROUND_MIN) || self.packets == 0 {
            return None;
        }
        let share = self.marked as f64 / self.packets as f64;
        let is_marked = self.marked > 0;
        (self.packets, self.marked, self.round_since) = (0, 0, Some(now));
        match &mut self.mean {
            Some(mean) => *mean += GAIN * (share - *mean),
            None if is_marked => self.mean = Some(share),
            None => {}
        }
        self.mean.filter(|_| is_marked).map(|mean| 1.0 - mean / 2.0)
    }

    /// The mean part that is marked, 0 to 1.
    pub(super) fn mean(&self) -> f64 {
        self.mean.unwrap_or(0.0)
    }
}

impl CongestionControl {
    /// A report on streams came (RFC 8888).
    pub fn handle_congestion_feedback(&mut self, now: Instant, feedback: &CongestionFeedback) {
        let marked = self.sent.marked(feedback);
        let report = self.sent.stream_arrivals(feedback);
        let none = BTreeSet::new();
        let lost = match self.marking {
            Marking::Classic => &marked,
            // What did not say that it may be marked was not, whatever is reported.
            Marking::None | Marking::L4s => &none,
        };
        let arrived = self.handle_report(now, report, lost);
        self.handle_marks(now, arrived, marked.len() as u64);
    }

    /// Lowers the delay-based rate by what is marked; it rises on its own.
    pub(super) fn handle_marks(&mut self, now: Instant, arrived: u64, marked: u64) {
        let rtt = self.rtt.unwrap_or(RTT_DEFAULT);
        let Some(marks) = &mut self.marks else {
            return;
        };
        if let Some(factor) = marks.handle_report(now, rtt, arrived, marked) {
            let share = marks.mean();
            let rate = factor * self.aimd.rate().min(self.target);
            self.decisions.note(now, || Decision::Marks { share, rate });
            self.aimd.set_rate(now, rate);
            self.update_target(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::congestion::tests::instant;

    const RTT: Duration = Duration::from_millis(50);

    #[test]
    fn the_rate_falls_by_half_of_the_mean_once_a_round_trip() {
        let mut now = instant();
        let mut marks = Marks::default();
        assert_eq!(marks.handle_report(now, RTT, 10, 0), None);
        now += RTT / 2;
        assert_eq!(marks.handle_report(now, RTT, 10, 5), None);
        now += RTT / 2;
        // A quarter of twenty packets.
        assert_eq!(marks.handle_report(now, RTT, 0, 0), Some(0.875));
        // All of them from here on: the mean comes near 1 within 16 round trips or so.
        for _ in 0..50 {
            now += RTT;
            marks.handle_report(now, RTT, 10, 10);
        }
        assert!((0.95..1.0).contains(&marks.mean()), "{}", marks.mean());
        // Without marks nothing falls, and the mean fades.
        for _ in 0..50 {
            now += RTT;
            assert_eq!(marks.handle_report(now, RTT, 10, 0), None);
        }
        assert!(marks.mean() < 0.05);
    }

    #[test]
    fn a_report_of_more_marks_than_packets_is_no_more_than_all() {
        let mut marks = Marks::default();
        let start = instant();
        marks.handle_report(start, RTT, 0, 9);
        let factor = marks.handle_report(start + RTT, RTT, 0, u64::from(u32::MAX));
        assert_eq!(factor, Some(0.5));
    }
}
