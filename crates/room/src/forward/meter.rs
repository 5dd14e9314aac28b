//! How fast something comes.

use std::time::{Duration, Instant};

use twocan_proto::wire::units::Bitrate;

/// What is counted together: long enough for a few pictures.
const WINDOW: Duration = Duration::from_millis(500);

/// How much of a new window goes into the mean.
const WEIGHT: f64 = 0.4;

/// Headers and tag of a packet, which its rate on the wire includes, in bytes.
const OVERHEAD: usize = 48;

/// The rate of packets.
#[derive(Debug, Default)]
pub(super) struct Meter {
    since: Option<Instant>,
    bytes: usize,
    /// In bit/s; `None` before the first window is full.
    rate: Option<f64>,
}

impl Meter {
    /// A packet came.
    pub(super) fn note(&mut self, now: Instant, payload_len: usize) {
        self.roll(now);
        self.bytes += payload_len + OVERHEAD;
    }

    /// The rate; `None` while it is too early to tell.
    pub(super) fn rate(&mut self, now: Instant) -> Option<Bitrate> {
        self.roll(now);
        self.rate.map(|rate| Bitrate::bps(rate as u64))
    }

    fn roll(&mut self, now: Instant) {
        let since = *self.since.get_or_insert(now);
        let elapsed = now.saturating_duration_since(since);
        if elapsed < WINDOW {
            return;
        }
        let sample = self.bytes as f64 * 8.0 / elapsed.as_secs_f64();
        self.rate = Some(match self.rate {
            Some(rate) => rate + WEIGHT * (sample - rate),
            None => sample,
        });
        self.bytes = 0;
        self.since = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_steady_stream_has_its_rate() {
        #[expect(clippy::disallowed_methods, reason = "an Instant has no other origin")]
        let start = Instant::now();
        let mut meter = Meter::default();
        assert_eq!(meter.rate(start), None);
        for step in 0..200u32 {
            meter.note(start + Duration::from_millis(10) * step, 1000 - OVERHEAD);
        }
        let rate = meter.rate(start + Duration::from_secs(2));
        assert_eq!(rate, Some(Bitrate::kbps(800)));
    }
}
