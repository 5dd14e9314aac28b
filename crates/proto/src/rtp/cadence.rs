//! How evenly frames come: rate, freezes and pauses, as W3C's webrtc-stats defines them.

use std::collections::VecDeque;
use std::time::Duration;

/// Frames over whose durations the average goes.
const AVERAGED: usize = 30;

/// Frames of the last second that are counted at most.
const RATE_MAX: usize = 256;

/// By how much a frame must last longer than the average to be a freeze, if it does not last three
/// times as long.
const FREEZE_EXCESS: Duration = Duration::from_millis(150);

/// A frame that lasts so long is a pause.
const PAUSE: Duration = Duration::from_secs(5);

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
    pause_count: u64,
    total_pauses_duration: Duration,
    total_inter_frame_delay: Duration,
    /// In seconds squared.
    total_squared_inter_frame_delay: f64,
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
        self.total_inter_frame_delay += duration;
        self.total_squared_inter_frame_delay += duration.as_secs_f64().powi(2);
        if duration >= PAUSE {
            self.pause_count += 1;
            self.total_pauses_duration += duration;
        }
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

    /// `pauseCount`: frames that lasted 5 s or longer. They are freezes as well.
    pub fn pause_count(&self) -> u64 {
        self.pause_count
    }

    /// `totalPausesDuration`: how long these lasted in all.
    pub fn total_pauses_duration(&self) -> Duration {
        self.total_pauses_duration
    }

    /// `totalInterFrameDelay`: how long all frames but the newest lasted.
    pub fn total_inter_frame_delay(&self) -> Duration {
        self.total_inter_frame_delay
    }

    /// `totalSquaredInterFrameDelay`: the squares of these, in seconds squared.
    pub fn total_squared_inter_frame_delay(&self) -> f64 {
        self.total_squared_inter_frame_delay
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

    #[test]
    fn a_frame_that_lasts_five_seconds_is_a_pause() {
        let mut cadence = Cadence::default();
        for at in [1_000, 1_500, 6_499, 11_499, 19_499] {
            cadence.handle_frame(Duration::from_millis(at));
        }
        assert_eq!(cadence.pause_count(), 2);
        assert_eq!(cadence.total_pauses_duration(), Duration::from_secs(13));
        let total = cadence.total_inter_frame_delay();
        assert_eq!(total, Duration::from_millis(18_499));
        let squared = 0.25 + 4.999 * 4.999 + 25.0 + 64.0;
        assert!((cadence.total_squared_inter_frame_delay() - squared).abs() < 1e-9);
    }
}
