//! The pace of a source, and how far behind it to play: what sound and pictures have in common.

use std::time::{Duration, Instant};

use twocan_wire::seq::SeqNo32;

use super::PlayoutConfig;
use super::delay::DelayEstimator;

/// Something so far from its time belongs to another clock: the sender began anew.
const RESTART_AFTER: Duration = Duration::from_secs(5);

/// The range of W3C's `jitterBufferTarget`.
const JITTER_BUFFER_TARGET_MAX: Duration = Duration::from_secs(4);

/// Timestamps, arrivals, and the delay that is aimed at.
#[derive(Debug)]
pub(super) struct Pace {
    config: PlayoutConfig,
    delays: DelayEstimator,
    /// The first arrival.
    epoch: Option<Instant>,
    /// The highest timestamp so far, as a count that never wraps.
    newest: Option<u64>,
    jitter_buffer_target: Option<Duration>,
    playout_delay: Option<(Duration, Duration)>,
}

impl Pace {
    pub(super) fn new(config: PlayoutConfig) -> Self {
        Self {
            delays: DelayEstimator::new(config.clock_rate),
            config,
            epoch: None,
            newest: None,
            jitter_buffer_target: None,
            playout_delay: None,
        }
    }

    pub(super) fn config(&self) -> &PlayoutConfig {
        &self.config
    }

    pub(super) fn set_jitter_buffer_target(&mut self, target: Option<Duration>) {
        self.jitter_buffer_target = target.map(|own| own.min(JITTER_BUFFER_TARGET_MAX));
    }

    pub(super) fn set_playout_delay(&mut self, bounds: Option<(Duration, Duration)>) {
        self.playout_delay = bounds.filter(|(min, max)| min <= max);
    }

    /// Whether the sender wants everything played as it comes.
    pub(super) fn is_at_once(&self) -> bool {
        self.playout_delay == Some((Duration::ZERO, Duration::ZERO))
    }

    /// The delay that is aimed at, from the arrival of the fastest.
    pub(super) fn target(&self) -> Duration {
        let own = self.minimum();
        let own = self
            .jitter_buffer_target
            .map_or(own, |wanted| own.max(wanted));
        match self.playout_delay {
            Some((min, max)) => own.clamp(min, max),
            None => own,
        }
    }

    /// What the network and the configuration alone make of it.
    pub(super) fn minimum(&self) -> Duration {
        let target = self.delays.target();
        target.min(self.config.delay_max).max(self.config.delay_min)
    }

    /// Something of that timestamp arrived: the timestamp as a count that never wraps and never comes
    /// near zero, and whether the sender began anew, so that all before is of another time.
    pub(super) fn handle_arrival(&mut self, now: Instant, timestamp: u32) -> (u64, bool) {
        self.epoch.get_or_insert(now);
        let arrived = self.ticks_at(now).unwrap_or(0);
        let mut at = self.extend(timestamp);
        let mut transit = arrived - at.cast_signed();
        let limit = self.ticks(RESTART_AFTER);
        let base = self.delays.base();
        let begins_anew = base.is_some_and(|base| (transit - base).abs() > limit);
        if begins_anew {
            self.delays = DelayEstimator::new(self.config.clock_rate);
            self.newest = None;
            at = self.extend(timestamp);
            transit = arrived - at.cast_signed();
        }
        self.newest = Some(self.newest.map_or(at, |newest| newest.max(at)));
        self.delays.handle_arrival(arrived, transit);
        (at, begins_anew)
    }

    /// How much later than if it had come as fast as the fastest something would be played.
    pub(super) fn delay(&self, played_at: i64, at: u64) -> i64 {
        played_at - at.cast_signed() - self.delays.base().unwrap_or(0)
    }

    /// Time since the first arrival, in ticks; `None` before it.
    pub(super) fn ticks_at(&self, now: Instant) -> Option<i64> {
        let epoch = self.epoch?;
        Some(self.ticks(now.saturating_duration_since(epoch)))
    }

    pub(super) fn ticks(&self, time: Duration) -> i64 {
        let ticks = time.as_micros() * u128::from(self.config.clock_rate) / 1_000_000;
        i64::try_from(ticks)
            .unwrap_or(i64::MAX / 4)
            .min(i64::MAX / 4)
    }

    /// Ticks as a time; nothing where they are negative.
    pub(super) fn time(&self, ticks: i64) -> Duration {
        let ticks = u64::try_from(ticks).unwrap_or(0);
        let rate = u64::from(self.config.clock_rate.max(1));
        Duration::from_secs(ticks / rate)
            + Duration::from_nanos(ticks % rate * 1_000_000_000 / rate)
    }

    fn extend(&self, timestamp: u32) -> u64 {
        match self.newest {
            Some(newest) => SeqNo32(timestamp).extend(newest),
            None => (1 << 40) + u64::from(timestamp),
        }
    }
}
