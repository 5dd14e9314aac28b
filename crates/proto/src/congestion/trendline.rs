//! Whether queues grow: the slope of the delay, held against a threshold that adapts
//! (draft-ietf-rmcat-gcc-02 §5.4; the filter is a line fitted to the smoothed delay).

use std::collections::VecDeque;

use super::arrival::Delta;

/// Groups that the line is fitted to.
const WINDOW: usize = 20;
const SMOOTHING: f64 = 0.9;
/// Makes a slope comparable to the threshold, with the number of groups up to [`DELTAS_MAX`].
const GAIN: f64 = 4.0;
const DELTAS_MAX: u32 = 60;
/// Over-use must last this long, in ms of sending.
const OVERUSE_LASTS: f64 = 10.0;

const THRESHOLD_START: f64 = 12.5;
const THRESHOLD_MIN: f64 = 6.0;
const THRESHOLD_MAX: f64 = 600.0;
/// How fast the threshold follows, per ms: slowly up, quickly down, so that flows governed by loss
/// do not starve us and queues of our own making are still seen.
const GAIN_UP: f64 = 0.0087;
const GAIN_DOWN: f64 = 0.039;
/// A slope so far above the threshold is a sudden change, to which it does not adapt.
const ADAPT_MAX: f64 = 15.0;
const ADAPT_TIME_MAX: f64 = 100.0;

/// What the delay says about the path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Usage {
    /// Queues stay as they are.
    #[default]
    Normal,
    /// Queues grow.
    Over,
    /// Queues drain.
    Under,
}

impl Usage {
    /// As logs have it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::Over => "over",
            Self::Under => "under",
        }
    }
}

#[derive(Debug)]
pub(super) struct Trendline {
    /// Arrival time and smoothed delay of groups, in ms.
    points: VecDeque<(f64, f64)>,
    time: f64,
    delay: f64,
    smoothed: f64,
    deltas: u32,
    slope: f64,
    threshold: f64,
    over_for: Option<f64>,
    over_count: u32,
    usage: Usage,
}

impl Default for Trendline {
    fn default() -> Self {
        Self {
            points: VecDeque::with_capacity(WINDOW + 1),
            time: 0.0,
            delay: 0.0,
            smoothed: 0.0,
            deltas: 0,
            slope: 0.0,
            threshold: THRESHOLD_START,
            over_for: None,
            over_count: 0,
            usage: Usage::Normal,
        }
    }
}

impl Trendline {
    pub(super) fn usage(&self) -> Usage {
        self.usage
    }

    /// What is held against the threshold.
    pub(super) fn trend(&self) -> f64 {
        match self.deltas {
            0 | 1 => 0.0,
            deltas => f64::from(deltas) * self.slope * GAIN,
        }
    }

    pub(super) fn threshold(&self) -> f64 {
        self.threshold
    }

    /// Takes the next group.
    pub(super) fn push(&mut self, delta: Delta) {
        self.deltas = (self.deltas + 1).min(DELTAS_MAX);
        // The first delta opens the line; its own time is where that begins.
        if !self.points.is_empty() {
            self.time += delta.received;
        }
        self.delay += delta.received - delta.sent;
        self.smoothed = SMOOTHING * self.smoothed + (1.0 - SMOOTHING) * self.delay;
        self.points.push_back((self.time, self.smoothed));
        if self.points.len() > WINDOW {
            self.points.pop_front();
        }
        let before = self.slope;
        if self.points.len() == WINDOW {
            self.slope = slope(&self.points).unwrap_or(self.slope);
        }
        if self.deltas >= 2 {
            self.detect(before, delta);
        }
    }

    fn detect(&mut self, before: f64, delta: Delta) {
        let trend = self.trend();
        if trend > self.threshold {
            // At the first sight, it has probably lasted half of the time since the group before.
            let lasted = self
                .over_for
                .map_or(delta.sent / 2.0, |so_far| so_far + delta.sent);
            self.over_for = Some(lasted);
            self.over_count += 1;
            if lasted > OVERUSE_LASTS && self.over_count > 1 && self.slope >= before {
                self.over_for = Some(0.0);
                self.over_count = 0;
                self.usage = Usage::Over;
            }
        } else {
            self.over_for = None;
            self.over_count = 0;
            self.usage = if trend < -self.threshold {
                Usage::Under
            } else {
                Usage::Normal
            };
        }
        self.adapt(trend.abs(), delta.received);
    }

    fn adapt(&mut self, trend: f64, elapsed: f64) {
        if trend > self.threshold + ADAPT_MAX {
            return;
        }
        let gain = match trend < self.threshold {
            true => GAIN_DOWN,
            false => GAIN_UP,
        };
        let elapsed = elapsed.clamp(0.0, ADAPT_TIME_MAX);
        self.threshold += gain * (trend - self.threshold) * elapsed;
        self.threshold = self.threshold.clamp(THRESHOLD_MIN, THRESHOLD_MAX);
    }
}

/// Least squares.
fn slope(points: &VecDeque<(f64, f64)>) -> Option<f64> {
    let count = points.len() as f64;
    let sum = |value: fn(&(f64, f64)) -> f64| points.iter().map(value).sum::<f64>();
    let (x_mean, y_mean) = (sum(|point| point.0) / count, sum(|point| point.1) / count);
    let (mut numerator, mut denominator) = (0.0, 0.0);
    for (x, y) in points {
        numerator += (x - x_mean) * (y - y_mean);
        denominator += (x - x_mean) * (x - x_mean);
    }
    (denominator > 0.0).then(|| numerator / denominator)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(groups: usize, received: f64) -> Trendline {
        let mut trendline = Trendline::default();
        for _ in 0..groups {
            trendline.push(Delta {
                sent: 10.0,
                received,
            });
        }
        trendline
    }

    #[test]
    fn a_steady_delay_is_normal_and_the_threshold_falls_to_its_floor() {
        let trendline = after(200, 10.0);
        assert_eq!(trendline.usage(), Usage::Normal);
        assert!((trendline.threshold - THRESHOLD_MIN).abs() < 1e-9);
    }

    #[test]
    fn growing_and_draining_queues_are_told_apart() {
        assert_eq!(after(40, 11.0).usage(), Usage::Over);
        assert_eq!(after(40, 9.0).usage(), Usage::Under);
    }

    #[test]
    fn a_slope_is_found_exactly() {
        let points = (0..WINDOW)
            .map(|x| (x as f64, 3.0 + 0.5 * x as f64))
            .collect();
        assert!((slope(&points).unwrap() - 0.5).abs() < 1e-12);
        assert_eq!(slope(&VecDeque::from([(1.0, 2.0), (1.0, 3.0)])), None);
    }
}
