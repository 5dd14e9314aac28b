//! What there is to tell about congestion control while it runs.

use std::time::{Duration, Instant};

use twocan_wire::units::Bitrate;

use super::control::CongestionControl;
use super::decision::Decision;
use crate::counters::Counters;

impl CongestionControl {
    /// Keeps decisions from here on, for [`Self::poll_decision`].
    pub fn keep_decisions(&mut self) {
        self.decisions.keep();
    }

    /// The next decision, and when it was made; none unless [`Self::keep_decisions`] was called.
    pub fn poll_decision(&mut self) -> Option<(Instant, Decision)> {
        self.decisions.poll()
    }

    /// How many decisions found no room among 1024 that wait, since it was last asked.
    pub fn take_decisions_left_out(&mut self) -> u64 {
        self.decisions.take_left_out()
    }

    /// The slope of the delay, and the threshold above which it tells of a queue that grows. Both
    /// without a unit.
    pub fn trend(&self) -> (f64, f64) {
        (self.trendline.trend(), self.trendline.threshold())
    }

    /// What arrives, once that is known.
    pub fn acknowledged(&self) -> Option<Bitrate> {
        let rate = self.acknowledged.rate()?;
        Some(Bitrate::bps(rate as u64))
    }

    /// The round-trip time that feedback shows, once there is any.
    pub fn round_trip_time(&self) -> Option<Duration> {
        self.rtt
    }

    /// What was dropped, by reason.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }
}
