//! How evenly frames come: rate and freezes, as W3C's webrtc-stats defines them.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Frames over whose durations the average goes.
const AVERAGED: usize = 30;

/// Frames of the last second that are counted at most.
const RATE_MAX: usize = 256;

/// By how much a frame must last longer than the average to be a freeze, if it does not last three
/// times as long.
const FREEZE_EXCESS: Duration = Duration::from_millis(150);

const SECOND: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
pub(super) struct Cadence {
    last: Option<Instant>,
    durations: VecDeque<Duration>,
    recent: VecDeque<Instant>,
    pub(super) freeze_count: u64,
    pub(super) total_freezes_duration: Duration,
}

impl Cadence {
    /// A frame takes the place of the one before.
    pub(super) fn handle_frame(&mut self, now: Instant) {
        if self.recent.len() >= RATE_MAX {
            self.recent.pop_front();
        }
        self.recent.push_back(now);
        let Some(last) = self.last.replace(now) else {
            return;
        };
        let duration = now.saturating_duration_since(last);
        let count = self.durations.len() as u32;
        if let Some(average) = self.durations.iter().sum::<Duration>().checked_div(count)
            && duration >= (average * 3).max(average + FREEZE_EXCESS)
        {
            self.freeze_count += 1;
            self.total_freezes_duration += duration;
        }
        if self.durations.len() >= AVERAGED {
            self.durations.pop_front();
        }
        self.durations.push_back(duration);
    }

    /// Frames in the second before `now`.
    pub(super) fn frames_per_second(&self, now: Instant) -> u32 {
        let recent = self.recent.iter().rev();
        let own = recent.take_while(|at| now.saturating_duration_since(**at) < SECOND);
        own.count() as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtp::tests::instant;

    #[test]
    fn a_frame_that_lasts_too_long_is_a_freeze() {
        let mut cadence = Cadence::default();
        let mut now = instant();
        let mut show = |after: u64| {
            now += Duration::from_millis(after);
            cadence.handle_frame(now);
            (cadence.freeze_count, cadence.frames_per_second(now))
        };
        assert_eq!(show(0), (0, 1));
        for _ in 0..40 {
            show(40);
        }
        assert_eq!(show(40), (0, 25));
        // 150 ms more than the average are one, three times the average alone is not.
        assert_eq!(show(189), (0, 22));
        let (count, _) = show(200);
        assert_eq!(count, 1);
        for _ in 0..40 {
            show(100);
        }
        assert_eq!(show(299).0, 1);
        assert_eq!(show(330).0, 2);
        assert_eq!(cadence.total_freezes_duration, Duration::from_millis(530));
        assert_eq!(cadence.frames_per_second(now + SECOND), 0);
    }
}
