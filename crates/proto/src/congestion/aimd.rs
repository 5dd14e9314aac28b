//! The delay-based rate: up by factors while the capacity is unknown, by packets close to it, down
//! to a fraction of what arrives (draft-ietf-rmcat-gcc-02 §5.5).

use std::time::{Duration, Instant};

use super::trendline::Usage;

const BACKOFF: f64 = 0.85;
/// Taken off in addition, where there is that much: lets the queue drain at low rates too.
const BACKOFF_EXTRA: f64 = 5_000.0;
/// Per second.
const INCREASE: f64 = 1.08;
const INCREASE_MIN: f64 = 1_000.0;
const INCREASE_NEAR_MIN: f64 = 4_000.0;
/// Not further ahead of what arrives than this factor and this much.
const AHEAD_FACTOR: f64 = 1.5;
const AHEAD: f64 = 10_000.0;
/// How long over-use takes to be seen.
const RESPONSE: f64 = 0.1;

/// What is known of the capacity: the mean rate at which over-use began.
#[derive(Debug)]
struct Capacity {
    /// In kbit/s.
    mean: Option<f64>,
    /// Normalized by the mean.
    variance: f64,
}

impl Capacity {
    const ALPHA: f64 = 0.05;

    fn note_overuse(&mut self, rate: f64) {
        let rate = rate / 1000.0;
        let mean = self
            .mean
            .map_or(rate, |mean| (1.0 - Self::ALPHA) * mean + Self::ALPHA * rate);
        let error = mean - rate;
        let variance =
            (1.0 - Self::ALPHA) * self.variance + Self::ALPHA * error * error / mean.max(1.0);
        // Deviations of 14 and 35 kbit/s at 500 kbit/s.
        self.variance = variance.clamp(0.4, 2.5);
        self.mean = Some(mean);
    }

    /// Forgets the capacity when `rate` lies more than three deviations above or below.
    fn forget_unless(&mut self, within: impl Fn(f64, f64) -> bool) {
        if let Some(mean) = self.mean {
            let deviation = 3.0 * (self.variance * mean).sqrt();
            if !within(mean * 1000.0, deviation * 1000.0) {
                self.mean = None;
            }
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Hold,
    Increase,
}

#[derive(Debug)]
pub(super) struct Aimd {
    rate: f64,
    min: f64,
    state: State,
    capacity: Capacity,
    /// The newest rate at which packets arrive.
    throughput: f64,
    changed_at: Option<Instant>,
    growing_since: Option<Instant>,
}

impl Aimd {
    pub(super) fn new(start: f64, min: f64) -> Self {
        Self {
            rate: start,
            min,
            state: State::Hold,
            capacity: Capacity {
                mean: None,
                variance: 0.4,
            },
            throughput: start,
            changed_at: None,
            growing_since: None,
        }
    }

    /// In bit/s.
    pub(super) fn rate(&self) -> f64 {
        self.rate
    }

    /// Since when the rate grows by factors: neither over-use nor what arrives has held it back.
    pub(super) fn growing_since(&self) -> Option<Instant> {
        self.growing_since
    }

    /// Takes a rate that is known from elsewhere: a probe, a setting.
    pub(super) fn set_rate(&mut self, now: Instant, rate: f64) {
        self.rate = rate.max(self.min);
        self.changed_at = Some(now);
    }

    pub(super) fn set_min(&mut self, min: f64) {
        self.min = min;
        self.rate = self.rate.max(min);
    }

    /// Whether the last decrease has had the time to show.
    pub(super) fn may_decrease(&self, now: Instant, rtt: Duration, throughput: f64) -> bool {
        let interval = rtt.clamp(Duration::from_millis(10), Duration::from_millis(200));
        let waited = self
            .changed_at
            .is_none_or(|at| now.saturating_duration_since(at) >= interval);
        waited || throughput < self.rate / 2.0
    }

    /// Answers the new rate.
    pub(super) fn update(
        &mut self,
        now: Instant,
        usage: Usage,
        throughput: Option<f64>,
        rtt: Duration,
    ) -> f64 {
        self.throughput = throughput.unwrap_or(self.throughput);
        match usage {
            Usage::Over => self.decrease(now),
            Usage::Under => self.state = State::Hold,
            Usage::Normal => {
                if self.state == State::Hold {
                    self.state = State::Increase;
                    self.changed_at = Some(now);
                }
                self.increase(now, rtt);
            }
        }
        self.rate
    }

    fn increase(&mut self, now: Instant, rtt: Duration) {
        let throughput = self.throughput;
        self.capacity
            .forget_unless(|mean, deviation| throughput <= mean + deviation);
        let elapsed = self
            .changed_at
            .map_or(0.0, |at| now.saturating_duration_since(at).as_secs_f64());
        self.changed_at = Some(now);
        let limit = AHEAD_FACTOR * throughput + AHEAD;
        if self.rate >= limit {
            self.growing_since = None;
            return;
        }
        match self.capacity.mean {
            Some(_) => self.growing_since = None,
            None => _ = self.growing_since.get_or_insert(now),
        }
        let step = match self.capacity.mean {
            Some(_) => self.step_near_capacity(rtt) * elapsed,
            None => (self.rate * (INCREASE.powf(elapsed.min(1.0)) - 1.0)).max(INCREASE_MIN),
        };
        self.rate = (self.rate + step).min(limit);
    }

    /// About a packet in every response time, in bit/s per second.
    fn step_near_capacity(&self, rtt: Duration) -> f64 {
        let frame = self.rate / 30.0;
        let packets = (frame / (8.0 * 1200.0)).ceil().max(1.0);
        let response = 2.0 * (rtt.as_secs_f64() + RESPONSE);
        (frame / packets / response).max(INCREASE_NEAR_MIN)
    }

    fn decrease(&mut self, now: Instant) {
        let throughput = self.throughput;
        let mut lower = BACKOFF * throughput;
        if lower > BACKOFF_EXTRA {
            lower -= BACKOFF_EXTRA;
        }
        if lower > self.rate
            && let Some(mean) = self.capacity.mean
        {
            lower = BACKOFF * mean * 1000.0;
        }
        // Over-use never raises the rate.
        self.rate = lower.min(self.rate).max(self.min);
        self.capacity
            .forget_unless(|mean, deviation| throughput >= mean - deviation);
        self.capacity.note_overuse(throughput);
        // Until the queue has drained.
        self.state = State::Hold;
        self.changed_at = Some(now);
        self.growing_since = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::congestion::tests::instant;

    const RTT: Duration = Duration::from_millis(100);

    #[test]
    fn without_a_known_capacity_the_rate_grows_by_eight_percent_a_second() {
        let start = instant();
        let mut aimd = Aimd::new(1e6, 1e4);
        for step in 0..=20u32 {
            let now = start + Duration::from_millis(50) * step;
            aimd.update(now, Usage::Normal, Some(1e6), RTT);
        }
        assert!((aimd.rate() - 1.08e6).abs() < 5e3, "{aimd:?}");
        assert_eq!(aimd.growing_since(), Some(start));
    }

    #[test]
    fn over_use_falls_back_below_what_arrives_and_then_grows_by_packets() {
        let start = instant();
        let mut aimd = Aimd::new(2e6, 1e4);
        aimd.update(start, Usage::Over, Some(1e6), RTT);
        assert_eq!(aimd.rate(), 0.85e6 - 5e3);
        assert_eq!(aimd.growing_since(), None);
        aimd.update(start, Usage::Normal, Some(0.84e6), RTT);
        let second = start + Duration::from_secs(1);
        aimd.update(second, Usage::Normal, Some(0.84e6), RTT);
        let grown = aimd.rate() - 0.845e6;
        assert!((4e3..30e3).contains(&grown), "{grown}");
        assert_eq!(aimd.growing_since(), None, "close to what is known");
    }

    #[test]
    fn the_rate_stays_near_what_arrives() {
        let start = instant();
        let mut aimd = Aimd::new(3e5, 1e4);
        for second in 0..60 {
            let now = start + Duration::from_secs(second);
            aimd.update(now, Usage::Normal, Some(1e5), RTT);
        }
        assert_eq!(aimd.rate(), 3e5);
    }

    #[test]
    fn decreases_wait_for_the_round_trip() {
        let start = instant();
        let mut aimd = Aimd::new(1e6, 1e4);
        aimd.update(start, Usage::Over, Some(1e6), RTT);
        assert!(!aimd.may_decrease(start + RTT / 2, RTT, 0.8e6));
        assert!(aimd.may_decrease(start + RTT / 2, RTT, 0.3e6));
        assert!(aimd.may_decrease(start + RTT, RTT, 0.8e6));
    }
}
