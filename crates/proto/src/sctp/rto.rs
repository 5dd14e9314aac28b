//! The retransmission timeout (RFC 9260 §6.3, RFC 6298).

use std::time::{Duration, Instant};

/// Lowest round-trip times older than this are forgotten, so that a path that became longer is
/// noticed (RFC 8985 §6.2 leaves the window open; Linux uses 300 s, BBR 10 s).
const MIN_RTT_WINDOW: Duration = Duration::from_secs(30);

/// Round-trip time estimates and the timeout that follows from them.
#[derive(Debug, Clone)]
pub(super) struct Rto {
    smoothed: Option<Duration>,
    variation: Duration,
    timeout: Duration,
    min: Duration,
    max: Duration,
    lowest: Duration,
    lowest_at: Option<Instant>,
}

impl Rto {
    pub(super) fn new(initial: Duration, min: Duration, max: Duration) -> Self {
        Self {
            smoothed: None,
            variation: Duration::ZERO,
            timeout: initial,
            min,
            max,
            lowest: Duration::MAX,
            lowest_at: None,
        }
    }

    /// A round trip of a chunk that was sent once.
    pub(super) fn measure(&mut self, now: Instant, rtt: Duration) {
        let smoothed = match self.smoothed {
            None => {
                self.variation = rtt / 2;
                rtt
            }
            Some(smoothed) => {
                self.variation = (self.variation * 3 + smoothed.abs_diff(rtt)) / 4;
                (smoothed * 7 + rtt) / 8
            }
        };
        self.smoothed = Some(smoothed);
        self.timeout = (smoothed + self.variation * 4).clamp(self.min, self.max);
        let is_stale = self
            .lowest_at
            .is_none_or(|at| now.saturating_duration_since(at) > MIN_RTT_WINDOW);
        if rtt <= self.lowest || is_stale {
            self.lowest = rtt;
            self.lowest_at = Some(now);
        }
    }

    /// Doubles the timeout after an expiry.
    pub(super) fn back_off(&mut self) {
        self.timeout = (self.timeout * 2).min(self.max);
    }

    pub(super) fn timeout(&self) -> Duration {
        self.timeout
    }

    pub(super) fn smoothed(&self) -> Option<Duration> {
        self.smoothed
    }

    /// The lowest of the last while; `None` before the first.
    pub(super) fn lowest(&self) -> Option<Duration> {
        self.lowest_at.map(|_| self.lowest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn the_first_sample_sets_the_timeout_to_three_times_itself() {
        let mut rto = Rto::new(500 * MS, 10 * MS, 3000 * MS);
        rto.measure(start(), 100 * MS);
        assert_eq!(rto.timeout(), 300 * MS);
        rto.measure(start(), 100 * MS);
        assert_eq!(rto.timeout(), 250 * MS);
    }

    #[test]
    fn the_timeout_doubles_up_to_its_maximum_and_a_sample_ends_that() {
        let mut rto = Rto::new(500 * MS, 400 * MS, 1500 * MS);
        rto.back_off();
        assert_eq!(rto.timeout(), 1000 * MS);
        rto.back_off();
        assert_eq!(rto.timeout(), 1500 * MS);
        rto.measure(start(), 20 * MS);
        assert_eq!(rto.timeout(), 400 * MS);
    }

    #[test]
    fn a_longer_path_replaces_the_lowest_round_trip_after_a_while() {
        let mut rto = Rto::new(500 * MS, 400 * MS, 1500 * MS);
        rto.measure(start(), 20 * MS);
        rto.measure(start() + MIN_RTT_WINDOW, 80 * MS);
        assert_eq!(rto.lowest(), Some(20 * MS));
        rto.measure(start() + MIN_RTT_WINDOW + MS, 80 * MS);
        assert_eq!(rto.lowest(), Some(80 * MS));
    }

    fn start() -> Instant {
        crate::sctp::test_start()
    }
}
