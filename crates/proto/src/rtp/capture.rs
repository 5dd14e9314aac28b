//! When something was captured, on the clock of its sender (RFC 3550 §6.4.1).
//!
//! 1. A capture time that came with a packet says it; for five seconds it holds for the packets
//!    after it as well.
//! 2. Else sender reports lay a line through pairs of timestamp and NTP time, by least squares.

use std::collections::VecDeque;
use std::time::Duration;

use twocan_wire::rtp::AbsCaptureTime;
use twocan_wire::seq::SeqNo32;

/// Sender reports remembered: about 20 s.
const REPORTS_MAX: usize = 20;

/// Reports needed to measure how fast the clock of the timestamps runs, over as many seconds.
const RATE_REPORTS: usize = 5;
const RATE_SECONDS: f64 = 4.0;

/// A measured rate that deviates by more is none: of crystals, 0.1 % is a bad one.
const DEVIATION_MAX: f64 = 0.01;

/// A report so far from the line began a new one: the sender set its clock, or began anew.
const JUMP: f64 = 1.0;

/// How long a stated capture time holds.
const STATED_SECONDS: i64 = 5;

/// Units of an NTP time in a second.
const UNITS: f64 = 4_294_967_296.0;

#[derive(Debug)]
pub(super) struct CaptureClock {
    clock_rate: f64,
    /// Timestamps as counts that never wrap, with NTP times.
    reports: VecDeque<(i64, u64)>,
    stated: Option<(i64, u64)>,
    newest: Option<u64>,
}

impl CaptureClock {
    pub(super) fn new(clock_rate: u32) -> Self {
        Self {
            clock_rate: f64::from(clock_rate.max(1)),
            reports: VecDeque::new(),
            stated: None,
            newest: None,
        }
    }

    /// Takes a sender report.
    pub(super) fn handle_report(&mut self, ntp_time: u64, timestamp: u32) {
        // RFC 3550 §6.4.1: zero for a sender without a notion of time.
        if ntp_time == 0 {
            return;
        }
        let at = self.extend(timestamp);
        if let Some(expected) = self.by_reports(at) {
            let error = ntp_time.wrapping_sub(expected).cast_signed() as f64 / UNITS;
            if error.abs() > JUMP {
                self.reports.clear();
            }
        }
        // One that came twice, or late, says nothing new.
        if self.reports.back().is_some_and(|(last, _)| *last >= at) {
            return;
        }
        if self.reports.len() >= REPORTS_MAX {
            self.reports.pop_front();
        }
        self.reports.push_back((at, ntp_time));
    }

    /// When a frame was captured, as NTP time on its sender's clock. `stated` came with it.
    pub(super) fn captured_at(
        &mut self,
        timestamp: u32,
        stated: Option<AbsCaptureTime>,
    ) -> Option<u64> {
        let at = self.extend(timestamp);
        if let Some(stated) = stated {
            // What is added to the sender's clock to have the capturer's is taken off again.
            let offset = stated.clock_offset.unwrap_or(0).cast_unsigned();
            self.stated = Some((at, stated.timestamp.wrapping_sub(offset)));
        }
        let holds = STATED_SECONDS * self.clock_rate as i64;
        match self.stated {
            Some((since, ntp)) if (at - since).abs() <= holds => {
                Some(ahead(ntp, (at - since) as f64 / self.clock_rate))
            }
            _ => self.by_reports(at),
        }
    }

    fn by_reports(&self, at: i64) -> Option<u64> {
        let (first, first_ntp) = *self.reports.front()?;
        let (last, _) = *self.reports.back()?;
        let count = self.reports.len() as f64;
        // Seconds by either clock since the first report.
        let points = self.reports.iter().map(|(own, ntp)| {
            let x = (own - first) as f64 / self.clock_rate;
            let y = ntp.wrapping_sub(first_ntp).cast_signed() as f64 / UNITS;
            (x, y)
        });
        let (sum_x, sum_y) = points
            .clone()
            .fold((0.0, 0.0), |(x, y), own| (x + own.0, y + own.1));
        let (mean_x, mean_y) = (sum_x / count, sum_y / count);
        let mut slope = 1.0_f64;
        let spans = (last - first) as f64 / self.clock_rate;
        if self.reports.len() >= RATE_REPORTS && spans >= RATE_SECONDS {
            let (covariance, variance) =
                points.fold((0.0, 0.0), |(covariance, variance), (x, y)| {
                    let dx = x - mean_x;
                    (covariance + dx * (y - mean_y), variance + dx * dx)
                });
            let measured: f64 = covariance / variance;
            let is_sane = (measured - 1.0).abs() <= DEVIATION_MAX;
            slope = if is_sane { measured } else { 1.0 };
        }
        let x = (at - first) as f64 / self.clock_rate;
        Some(ahead(first_ntp, mean_y + slope * (x - mean_x)))
    }

    fn extend(&mut self, timestamp: u32) -> i64 {
        let near = self.newest.unwrap_or((1 << 40) + u64::from(timestamp));
        let own = SeqNo32(timestamp).extend(near);
        self.newest = Some(near.max(own));
        own.cast_signed()
    }
}

/// An NTP time some seconds, positive or negative, after another.
fn ahead(ntp: u64, seconds: f64) -> u64 {
    ntp.wrapping_add(((seconds * UNITS) as i64).cast_unsigned())
}

/// An NTP time as a time since 1970, before 2036 in the first era and later in the second.
pub(super) fn since_1970(ntp: u64) -> Duration {
    const FROM_1900_TO_1970: u64 = 2_208_988_800;
    const ERA: u64 = 1 << 32;
    let seconds = ntp >> 32;
    let era = if seconds < FROM_1900_TO_1970 { ERA } else { 0 };
    let nanos = ((ntp & 0xffff_ffff) * 1_000_000_000) >> 32;
    Duration::new(seconds + era - FROM_1900_TO_1970, nanos as u32)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::ntp::ntp_time;
    use super::*;

    const START: Duration = Duration::from_secs(1_800_000_000);
    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn one_report_is_enough_and_several_measure_the_clock() {
        let mut clock = CaptureClock::new(90_000);
        assert_eq!(clock.captured_at(0, None), None);
        clock.handle_report(0, 5);
        assert_eq!(clock.captured_at(0, None), None, "a sender without time");
        clock.handle_report(ntp_time(START), u32::MAX - 89_999);
        let captured = since_1970(clock.captured_at(90_000, None).unwrap());
        assert!(captured.abs_diff(START + MS * 2000) < MS / 100);
        // A clock that is 0.2 % too fast, with reports that are up to 5 ms off.
        let mut clock = CaptureClock::new(90_000);
        for second in 0..30u32 {
            let off = MS * (second * 7 % 11);
            clock.handle_report(ntp_time(START + MS * 1000 * second + off), second * 90_180);
        }
        let captured = since_1970(clock.captured_at(31 * 90_180, None).unwrap());
        let expected = START + MS * 31_005;
        assert!(
            captured.abs_diff(expected) < MS * 3,
            "{captured:?} {expected:?}"
        );
    }

    #[test]
    fn a_clock_that_was_set_is_followed_and_absurd_rates_are_none() {
        let mut clock = CaptureClock::new(48_000);
        for second in 0..10u32 {
            let jump = if second >= 5 {
                MS * 3_600_000
            } else {
                Duration::ZERO
            };
            clock.handle_report(ntp_time(START + MS * 1000 * second + jump), second * 48_000);
        }
        let captured = since_1970(clock.captured_at(10 * 48_000, None).unwrap());
        assert!(captured.abs_diff(START + MS * 3_610_000) < MS);
        let mut clock = CaptureClock::new(48_000);
        for second in 0..10u32 {
            // Each is within a second of the line, but the clock would run 10 % too slow.
            clock.handle_report(ntp_time(START + MS * 1000 * second), second * 43_200);
        }
        let last = 9 * 43_200;
        let a = since_1970(clock.captured_at(last, None).unwrap());
        let b = since_1970(clock.captured_at(last + 48_000, None).unwrap());
        assert!((b - a).abs_diff(MS * 1000) < MS / 100);
    }

    #[test]
    fn a_stated_time_goes_before_reports_and_ends() {
        let mut clock = CaptureClock::new(48_000);
        clock.handle_report(ntp_time(START), 0);
        let stated = AbsCaptureTime {
            timestamp: ntp_time(START - MS * 300),
            clock_offset: Some(1 << 31),
        };
        // Half a second of the capturer's clock is the offset.
        let captured = clock.captured_at(48_000, Some(stated)).unwrap();
        assert!(since_1970(captured).abs_diff(START - MS * 800) < MS);
        let next = clock.captured_at(96_000, None).unwrap();
        assert!(since_1970(next).abs_diff(START + MS * 200) < MS);
        let later = clock.captured_at(48_000 * 60, None).unwrap();
        assert!(
            since_1970(later).abs_diff(START + MS * 60_000) < MS,
            "by the report"
        );
    }

    proptest! {
        #[test]
        fn ntp_times_come_back_in_both_eras(seconds in 0u64..4_000_000_000, nanos in 0u32..1_000_000_000) {
            let time = Duration::new(seconds, nanos);
            prop_assert!(since_1970(ntp_time(time)).abs_diff(time) <= Duration::from_nanos(1));
        }

        #[test]
        fn arbitrary_reports_never_panic(reports in prop::collection::vec((any::<u64>(), any::<u32>()), 0..40), at: u32) {
            let mut clock = CaptureClock::new(90_000);
            for (ntp, timestamp) in reports {
                clock.handle_report(ntp, timestamp);
                let stated = (ntp % 3 == 0).then_some(AbsCaptureTime { timestamp: ntp, clock_offset: Some(ntp.cast_signed()) });
                clock.captured_at(at, stated);
            }
        }
    }
}
