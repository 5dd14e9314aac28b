//! How fast something comes.

use std::time::{Duration, Instant};

use twocan_proto::wire::units::Bitrate;

use super::scalable::{SPATIAL_MAX, TEMPORAL_MAX, Target};

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

/// The rates of the layers of a stream.
#[derive(Debug, Default)]
pub(super) struct LayerMeters {
    layers: Vec<LayerMeter>,
}

#[derive(Debug)]
struct LayerMeter {
    layer: Target,
    heard_at: Instant,
    /// Of frames that upper spatial layers need as well.
    shared: Meter,
    /// Of the others.
    alone: Meter,
}

impl LayerMeters {
    /// A packet of a layer came; `serves_upper` where upper spatial layers need it.
    pub(super) fn note(
        &mut self,
        now: Instant,
        layer: Target,
        serves_upper: bool,
        payload_len: usize,
    ) {
        let layer = Target {
            spatial: layer.spatial.min(SPATIAL_MAX - 1),
            temporal: layer.temporal.min(TEMPORAL_MAX - 1),
        };
        let at = match self.layers.binary_search_by_key(&layer, |own| own.layer) {
            Ok(at) => at,
            Err(at) => {
                let new = LayerMeter {
                    layer,
                    heard_at: now,
                    shared: Meter::default(),
                    alone: Meter::default(),
                };
                self.layers.insert(at, new);
                at
            }
        };
        if let Some(own) = self.layers.get_mut(at) {
            own.heard_at = now;
            let meter = match serves_upper {
                true => &mut own.shared,
                false => &mut own.alone,
            };
            meter.note(now, payload_len);
        }
    }

    /// The targets of the layers that came within `recently` of the newest, the lowest first.
    pub(super) fn targets(&self, recently: Duration) -> Vec<Target> {
        let newest = self.layers.iter().map(|own| own.heard_at).max();
        let is_recent = |own: &&LayerMeter| {
            let silence = newest.map(|newest| newest.saturating_duration_since(own.heard_at));
            silence.is_none_or(|own| own < recently)
        };
        let temporal = self.layers.iter().map(|own| own.layer.temporal).max();
        // One of its temporal layers is enough.
        let recent = self.layers.iter().filter(is_recent);
        let mut spatial: Vec<u8> = recent.map(|own| own.layer.spatial).collect();
        spatial.dedup();
        let temporals = 0..=temporal.unwrap_or(0);
        let targets = |spatial| {
            temporals
                .clone()
                .map(move |temporal| Target { spatial, temporal })
        };
        spatial.into_iter().flat_map(targets).collect()
    }

    /// What a target takes, in bit/s; 0 while nothing of it is measured.
    pub(super) fn rate(&mut self, now: Instant, target: Target) -> u64 {
        let bps = |meter: &mut Meter| meter.rate(now).map_or(0, Bitrate::as_bps);
        let mut rate = 0;
        let mut is_measured = false;
        let parts = self.layers.iter_mut();
        for own in parts.filter(|own| own.layer.temporal <= target.temporal) {
            if own.layer.spatial < target.spatial {
                rate += bps(&mut own.shared);
            } else if own.layer.spatial == target.spatial {
                let part = bps(&mut own.shared) + bps(&mut own.alone);
                is_measured |= part > 0;
                rate += part;
            }
        }
        if is_measured { rate } else { 0 }
    }

    /// What all layers take together, in bit/s; `None` while nothing is measured.
    pub(super) fn all(&mut self, now: Instant) -> Option<u64> {
        let meters = self.layers.iter_mut();
        let meters = meters.flat_map(|own| [own.shared.rate(now), own.alone.rate(now)]);
        meters
            .flatten()
            .map(Bitrate::as_bps)
            .reduce(|own, other| own + other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_no_more_is_no_target() {
        #[expect(clippy::disallowed_methods, reason = "an Instant has no other origin")]
        let start = Instant::now();
        let target = |spatial, temporal| Target { spatial, temporal };
        let mut meters = LayerMeters::default();
        let second = Duration::from_secs(1);
        for step in 0..300u32 {
            let now = start + Duration::from_millis(10) * step;
            for spatial in 0..3 {
                if spatial < 2 || step < 150 {
                    let layer = target(spatial, (step % 2) as u8);
                    meters.note(now, layer, false, 1000 - OVERHEAD);
                }
            }
            if step == 149 {
                assert_eq!(meters.targets(second).len(), 6);
            }
        }
        let left = [target(0, 0), target(0, 1), target(1, 0), target(1, 1)];
        assert_eq!(meters.targets(second), left);
        let now = start + 3 * second;
        assert_eq!(meters.rate(now, target(1, 0)), 400_000);
        assert_eq!(meters.rate(now, target(1, 1)), 800_000);
        assert_eq!(meters.rate(now, target(3, 0)), 0);
    }

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
