//! Large frames: what goes much faster than the target makes a queue that tells of the link at that
//! rate, and not at the target.

use std::time::{Duration, Instant};

/// What is sent at more than this multiple of the target is a burst: a frame goes at 2.5 times the
/// target, pictures of a constant rate seem up to 1.3 times as much over a short time, and twice
/// as much when the target has just fallen.
const SENT: f64 = 2.0;

/// Below this part of what arrived of a burst, as after any over-use, the target is no cause of the
/// queue.
const FALL: f64 = 0.85;

/// For so long a queue can be a burst's, and for so long after that it is not: one that stays, or
/// comes back with every frame, is not a frame's alone. Together less than the second at which key
/// frames often come.
const DRAINS: Duration = Duration::from_millis(500);
const REFUSES: Duration = Duration::from_millis(300);

/// Over-use that was put down to bursts.
#[derive(Debug, Default)]
pub(super) struct Bursts {
    since: Option<Instant>,
}

impl Bursts {
    /// Whether over-use is a burst's alone, which was sent and arrived at these rates in bit/s,
    /// while the delay allows `rate`.
    pub(super) fn is_alone(
        &mut self,
        now: Instant,
        burst: Option<(f64, f64)>,
        target: f64,
        rate: f64,
    ) -> bool {
        let is_burst =
            burst.is_some_and(|(sent, received)| sent > SENT * target && FALL * received >= rate);
        if !is_burst {
            return false;
        }
        let so_far = self.since.map(|since| now.saturating_duration_since(since));
        if so_far.is_none_or(|so_far| so_far >= DRAINS + REFUSES) {
            self.since = Some(now);
            return true;
        }
        so_far.is_some_and(|so_far| so_far < DRAINS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::congestion::tests::instant;

    #[test]
    fn a_burst_counts_for_half_a_second_at_a_time() {
        let start = instant();
        let mut bursts = Bursts::default();
        let burst = Some((2.5e6, 2e6));
        let alone: Vec<bool> = (0..20)
            .map(|step| {
                let now = start + Duration::from_millis(100) * step;
                bursts.is_alone(now, burst, 1e6, 1e6)
            })
            .collect();
        let expected: Vec<bool> = (0..20).map(|step| step % 8 < 5).collect();
        assert_eq!(alone, expected);
    }

    #[test]
    fn only_what_went_fast_and_arrived_above_the_rate_is_one() {
        let now = instant();
        for (burst, expected) in [
            (None, false),
            (Some((1.9e6, 1.3e6)), false),
            (Some((2.5e6, 1.1e6)), false),
            (Some((2.5e6, 1.2e6)), true),
        ] {
            let found = Bursts::default().is_alone(now, burst, 1e6, 1e6);
            assert_eq!(found, expected, "{burst:?}");
        }
    }
}
