//! What a sender is told that knows of the path only what we do (REMB, draft-alvestrand-rmcat-remb-03).
//!
//! The estimate is made elsewhere, of packets that are handed out here.

use std::time::{Duration, Instant};

use twocan_wire::units::Bitrate;

use super::session::Session;

/// Between two words that say more or the same.
const INTERVAL: Duration = Duration::from_secs(1);

/// Between two words at all.
const INTERVAL_MIN: Duration = Duration::from_millis(200);

/// Below this part of what was said, it is said soon.
const LOWER: f64 = 0.97;

/// A packet that shows what the path to us carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StampedArrival {
    /// When it arrived.
    pub arrived_at: Instant,
    /// When it was sent, by its `abs-send-time`: seconds in 6.18 fixed point, modulo 64.
    pub abs_send_time: Option<u32>,
    /// Its length in bytes.
    pub len: usize,
}

/// What is told, and when.
#[derive(Debug, Default)]
pub(super) struct EstimateReport {
    is_wanted: bool,
    arrived: Option<StampedArrival>,
    rate: Option<Bitrate>,
    told: Option<(Instant, Bitrate)>,
    due_at: Option<Instant>,
}

impl EstimateReport {
    /// Whether the other side takes estimates, and knows nothing better.
    pub(super) fn set_wanted(&mut self, is_wanted: bool) {
        if !is_wanted {
            *self = Self::default();
        }
        self.is_wanted = is_wanted;
    }

    pub(super) fn handle_arrival(&mut self, arrived_at: Instant, stamp: Option<u32>, len: usize) {
        self.arrived = self.is_wanted.then_some(StampedArrival {
            arrived_at,
            abs_send_time: stamp,
            len,
        });
    }

    /// The packet that arrived last, once.
    pub(super) fn take_arrival(&mut self) -> Option<StampedArrival> {
        self.arrived.take()
    }

    /// Takes the estimate as it is now.
    pub(super) fn set(&mut self, now: Instant, rate: Option<Bitrate>) {
        self.rate = rate;
        self.due_at = match (rate, self.told) {
            (None, _) => None,
            (Some(_), None) => Some(now),
            (Some(rate), Some((at, told))) => {
                let is_lower = (rate.as_bps() as f64) < LOWER * told.as_bps() as f64;
                Some(at + if is_lower { INTERVAL_MIN } else { INTERVAL })
            }
        };
    }

    pub(super) fn due_at(&self) -> Option<Instant> {
        self.due_at
    }

    /// What is to be told now. It is told again once something has arrived since.
    pub(super) fn take(&mut self, now: Instant) -> Option<Bitrate> {
        self.due_at.filter(|due| *due <= now)?;
        self.due_at = None;
        let rate = self.rate?;
        self.told = Some((now, rate));
        Some(rate)
    }
}

impl Session {
    /// The packet that arrived last, where its sender is to be told an estimate; once.
    pub fn take_stamped_arrival(&mut self) -> Option<StampedArrival> {
        self.estimate.take_arrival()
    }

    /// Takes what may be sent to us, for senders that are told; `None` for nothing to say.
    pub fn set_arriving_estimate(&mut self, now: Instant, rate: Option<Bitrate>) {
        self.estimate.set(now, rate);
    }

    /// How long an answer takes, as far as anybody has measured.
    pub fn round_trip_time(&self) -> Duration {
        self.rtt
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtp::tests::instant;

    #[test]
    fn less_is_said_soon_and_more_once_a_second() {
        let mut report = EstimateReport::default();
        report.set_wanted(true);
        let start = instant();
        let mut at = start;
        let mut told = Vec::new();
        for step in 0..40u64 {
            let rate = if step < 25 { 1_000 + step } else { 500 };
            at = start + Duration::from_millis(100) * step as u32;
            report.set(at, Some(Bitrate::kbps(rate)));
            told.extend(report.take(at).map(|own| (step, own.as_bps() / 1000)));
        }
        assert_eq!(
            told,
            [(0, 1_000), (10, 1_010), (20, 1_020), (25, 500), (35, 500)]
        );
        report.set(at, None);
        assert_eq!(report.due_at(), None);
    }

    #[test]
    fn packets_are_handed_out_once_and_only_where_that_is_of_use() {
        let mut report = EstimateReport::default();
        report.handle_arrival(instant(), Some(7), 100);
        assert_eq!(report.take_arrival(), None);
        report.set_wanted(true);
        report.handle_arrival(instant(), Some(7), 100);
        assert_eq!(
            report.take_arrival().map(|own| own.abs_send_time),
            Some(Some(7))
        );
        assert_eq!(report.take_arrival(), None);
    }
}
