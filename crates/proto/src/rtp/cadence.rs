//! How evenly frames come: rate and freezes, as W3C's webrtc-stats defines them.

use std::collections::VecDeque;
use std::time::Duration;

/// Frames over whose durations the average goes.
const AVERAGED: usize = 30;

/// Frames of the last second that are counted at most.
const RATE_MAX: usize = 256;

/// By how much a frame must last longer than the average to be a freeze, if it does not last three
/// times as long.
const FREEZE_EXCESS: Duration = Duration::from_millis(150);

const SECOND: Duration = Duration::from_secs(1);

/// The pace of frames of video as they are shown, or handed out to be. Times are counted from a
/// moment before them all, whichever.
#[derive(Debug, Clone, Default)]
pub struct Cadence {
    last: Option<Duration>,
    durations: VecDeque<Duration>,
    recent: VecDeque<Duration>,
    freeze_count: u64,
    total_freezes_duration: Duration,
}

impl Cadence {
    /// A frame takes the place of the one before.
    pub fn handle_frame(&mut self, now: Duration) {
        if self.recent.len() >= RATE_MAX {
            self.recent.pop_front();
        }
        self.recent.push_back(now);
        let Some(last) = self.last.replace(now) else {
            return;
        };
        let duration = now.saturating_sub(last);
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

    /// `freezeCount`: frames that lasted three times as long as the mean of the thirty before, or 150 ms
    /// longer than it, whichever is more.
    pub fn freeze_count(&self) -> u64 {
        self.freeze_count
    }

    /// `totalFreezesDuration`: how long these lasted in all.
    pub fn total_freezes_duration(&self) -> Duration {
        self.total_freezes_duration
    }

    /// Frames in the second before `now`; at most 256 are counted.
    pub fn frames_per_second(&self, now: Duration) -> u32 {
        let recent = self.recent.iter().rev();
        let own = recent.take_while(|at| now.saturating_sub(**at) < SECOND);
        own.count() as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_that_lasts_too_long_is_a_freeze() {
        let mut cadence = Cadence::default();
        let mut now = Duration::from_secs(5);
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
