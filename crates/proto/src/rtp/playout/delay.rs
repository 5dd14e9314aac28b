//! How long sound must wait so that most packets come in time.
//!
//! 1. The delay of a packet is that of its way through the network, less that of the fastest packet
//!    of the last two seconds: neither clock need be right, nor run as fast as the other.
//! 2. Delays fall into a histogram of steps of 20 ms, which forgets.
//! 3. The target is the end of the step below which 97 % of them lie.

use std::collections::VecDeque;
use std::time::Duration;

/// The width of a step of the histogram.
const STEP: Duration = Duration::from_millis(20);

/// Steps of the histogram: longer delays than 2 s count as that.
const STEPS: usize = 100;

/// The share of packets that are to come in time.
const IN_TIME: f64 = 0.97;

/// What is left of the weight of a packet with each that follows: half of it is forgotten after
/// 400 packets, 8 s of frames of 20 ms.
const FORGETTING: f64 = 0.998_27;

/// The first packets weigh as if so many had come before: the second already counts for half.
const START_WEIGHT: f64 = 1.0;

/// How long the fastest packet is remembered, in seconds.
const FASTEST_SECONDS: i64 = 2;

/// Packets remembered that may be the fastest.
const FASTEST_MAX: usize = 256;

/// The target until a packet has come: two packets of the usual length.
const START_TARGET: Duration = Duration::from_millis(40);

/// Delays of the packets of a stream. All times are in ticks of its clock.
#[derive(Debug)]
pub(super) struct DelayEstimator {
    clock_rate: i64,
    /// When a packet came, and how long it took, the fastest first; those after it are slower and
    /// came later.
    fastest: VecDeque<(i64, i64)>,
    /// The last of the fastest, once all are too old.
    base: Option<i64>,
    shares: [f64; STEPS],
    count: u32,
}

impl DelayEstimator {
    pub(super) fn new(clock_rate: u32) -> Self {
        Self {
            clock_rate: i64::from(clock_rate.max(1)),
            fastest: VecDeque::new(),
            base: None,
            shares: [0.0; STEPS],
            count: 0,
        }
    }

    /// How long the fastest packet took; `None` before the first.
    pub(super) fn base(&self) -> Option<i64> {
        self.base
    }

    /// A packet came that took so long from its timestamp to its arrival.
    pub(super) fn handle_arrival(&mut self, arrived_at: i64, transit: i64) {
        let oldest = arrived_at - FASTEST_SECONDS * self.clock_rate;
        while self.fastest.front().is_some_and(|(at, _)| *at < oldest) {
            self.fastest.pop_front();
        }
        while self.fastest.back().is_some_and(|(_, own)| *own >= transit) {
            self.fastest.pop_back();
        }
        if self.fastest.len() >= FASTEST_MAX {
            self.fastest.pop_front();
        }
        self.fastest.push_back((arrived_at, transit));
        let base = self.fastest.front().map_or(transit, |(_, own)| *own);
        self.base = Some(base);
        self.count_delay(transit - base);
    }

    fn count_delay(&mut self, delay: i64) {
        let step = self.clock_rate * STEP.as_millis() as i64 / 1000;
        let index = usize::try_from(delay / step.max(1)).unwrap_or(0);
        let so_far = f64::from(self.count);
        let kept = FORGETTING.min(so_far / (so_far + START_WEIGHT));
        self.count = self.count.saturating_add(1);
        for share in &mut self.shares {
            *share *= kept;
        }
        self.shares[index.min(STEPS - 1)] += 1.0 - kept;
    }

    /// How long a packet should wait at most, counted from the arrival of the fastest.
    pub(super) fn target(&self) -> Duration {
        if self.count == 0 {
            return START_TARGET;
        }
        let mut below = 0.0;
        let mut steps = 0;
        for share in self.shares {
            below += share;
            steps += 1;
            if below >= IN_TIME {
                break;
            }
        }
        STEP * steps
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Packets every 20 ms with a clock of 1 kHz, so that a tick is a millisecond.
    fn target(delays: impl IntoIterator<Item = i64>) -> Duration {
        let mut own = DelayEstimator::new(1000);
        for (number, delay) in delays.into_iter().enumerate() {
            let sent = number as i64 * 20;
            own.handle_arrival(sent + delay, delay);
        }
        own.target()
    }

    #[test]
    fn the_target_is_the_step_below_which_nearly_all_packets_come() {
        assert_eq!(target([]), START_TARGET);
        assert_eq!(target([5; 100]), STEP);
        assert_eq!(target((0..1000).map(|number| number * 7 % 31)), STEP * 2);
        // Two of a hundred are later than the rest, which is as many as may be; then four.
        let late =
            |per_hundred| (0..2000).map(move |n| if n * 37 % 100 < per_hundred { 90 } else { 0 });
        assert_eq!(target(late(2)), STEP);
        assert_eq!(target(late(4)), STEP * 5);
    }

    #[test]
    fn a_change_of_the_way_is_none_of_the_delay_and_old_delays_are_forgotten() {
        let longer = (0..3000).map(|number| if number < 500 { 10 } else { 310 });
        assert_eq!(target(longer), STEP);
        let calmer = (0..4000).map(|number| if number < 500 { number * 13 % 100 } else { 0 });
        assert_eq!(target(calmer), STEP);
        // The other clock is half a thousandth slower: 30 ms a minute.
        assert_eq!(target((0..9000).map(|number| number / 100)), STEP);
    }

    #[test]
    fn absurd_delays_are_bounded() {
        let mut own = DelayEstimator::new(1000);
        for number in 0..1000 {
            let delay = if number % 2 == 0 { 0 } else { 1 << 40 };
            own.handle_arrival(number * 20, delay);
        }
        assert_eq!(own.target(), STEP * STEPS as u32);
    }
}
