//! The loss-based rate: of a few candidates for capacity and inherent loss, the one that explains
//! best which bytes were lost lately, with a bias towards more bandwidth.
//!
//! The model: packets are lost at random by the inherent loss; above the capacity what does not
//! fit is lost as well. It is that of libwebrtc's second loss-based estimator, with its constants
//! but for two, and without padding while the rate recovers.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use super::sent::PacketResult;

/// Observations that are looked at, and how each weighs less than the next.
const WINDOW: usize = 15;
const OBSERVATIONS_MIN: u64 = 3;
const WEIGHT: f64 = 0.9;
/// An observation covers at least this time of sending.
const OBSERVATION_LASTS: Duration = Duration::from_millis(250);

const CANDIDATES: [f64; 3] = [1.02, 1.0, 0.95];
const INHERENT_START: f64 = 0.01;
const INHERENT_MIN: f64 = 0.001;
/// The highest inherent loss at a rate, and the highest rate at a loss: this balance in bit/s over
/// the rate, or over the loss, beyond this offset. libwebrtc's balance is 100,000, which leaves a
/// path that loses a tenth at random to less than it carries.
const BALANCE: f64 = 150_000.0;
const OFFSET: f64 = 0.05;
const NEWTON_STEP: f64 = 0.75;
/// How much more bandwidth is preferred: per kbit/s, and per factor of e. Above this loss less is;
/// libwebrtc draws that line at 0.2, where a path that loses a fifth at random ends at a rate at
/// which there is no picture.
const BIAS: f64 = 0.0002;
const BIAS_LOG: f64 = 0.02;
const BIAS_LOSS_MAX: f64 = 0.3;
const BIAS_SMOOTHING: f64 = 0.002;
/// An observation at more than this times the median rate is no outlier but a burst of ours.
const BURST: f64 = 2.0;

/// How far recovery may go ahead of what arrives, and less so near a rate that was held.
const RAMP_UP: f64 = 1.5;
const RAMP_UP_HELD: f64 = 1.2;
const HELD_NEAR: f64 = 1.3;
/// Recovery in a window.
const INCREASE_WINDOW: Duration = Duration::from_millis(300);
const INCREASE_MAX: f64 = 1.3;
const RATE_MIN: f64 = 5_000.0;
/// After a decrease the rate is held, longer each time.
const HOLD_START: Duration = Duration::from_millis(300);
const HOLD_MAX: Duration = Duration::from_secs(60);

/// What limits the rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum LossState {
    /// Not loss.
    #[default]
    Unlimited,
    /// Loss, and the rate recovers.
    Increasing,
    /// Loss.
    Decreasing,
}

#[derive(Debug, Clone, Copy)]
struct Channel {
    capacity: f64,
    inherent: f64,
}

#[derive(Debug, Clone, Copy)]
struct Observation {
    /// In bytes.
    len: f64,
    lost: f64,
    /// In bit/s.
    rate: f64,
}

#[derive(Debug, Default)]
struct Partial {
    len: usize,
    lost: BTreeMap<u64, usize>,
}

#[derive(Debug)]
struct Hold {
    until: Option<Instant>,
    duration: Duration,
    rate: f64,
}

impl Default for Hold {
    fn default() -> Self {
        Self {
            until: None,
            duration: HOLD_START,
            rate: f64::INFINITY,
        }
    }
}

/// What else is known when an observation is complete, in bit/s.
#[derive(Debug, Clone, Copy)]
pub(super) struct Known {
    pub(super) delay_based: f64,
    pub(super) acknowledged: Option<f64>,
    pub(super) limited: bool,
    /// What a probe found a moment ago, where the rate is to rise beyond what is sent.
    pub(super) probed: Option<f64>,
    pub(super) min: f64,
    pub(super) max: f64,
}

#[derive(Debug, Default)]
pub(super) struct LossBased {
    /// The newest first.
    observations: VecDeque<Observation>,
    count: u64,
    partial: Partial,
    last_sent: Option<Instant>,
    best: Option<Channel>,
    average_loss: f64,
    rate: f64,
    state: LossState,
    hold: Hold,
    recovery: Option<(Instant, f64)>,
}

impl LossBased {
    /// The rate in bit/s, once there is enough to tell.
    pub(super) fn rate(&self) -> Option<f64> {
        (self.count >= OBSERVATIONS_MIN && self.best.is_some()).then_some(self.rate)
    }

    pub(super) fn state(&self) -> LossState {
        self.state
    }

    /// The share of bytes lost lately, 0 to 1.
    pub(super) fn average_loss(&self) -> f64 {
        self.average_loss
    }

    /// Takes a report; answers whether it completed an observation.
    pub(super) fn update(&mut self, results: &[PacketResult], known: &Known) -> bool {
        let Some(at) = self.observe(results) else {
            return false;
        };
        let current = *self.best.get_or_insert(Channel {
            capacity: known.delay_based,
            inherent: INHERENT_START,
        });
        if self.count == 1 {
            self.rate = known.delay_based;
        }
        let mut best = self.best_candidate(current, known);
        // Not up, while more is lost than this channel explains.
        if self.average_loss > best.inherent && best.capacity > current.capacity {
            best.capacity = current.capacity;
        }
        if self.state != LossState::Unlimited {
            self.bound_recovery(at, current, &mut best, known);
        }
        let floor = known.acknowledged.unwrap_or(0.0).max(known.min);
        let bounded = best
            .capacity
            .min(self.instant_limit(known.max))
            .min(known.delay_based)
            .max(floor);
        self.best = Some(if bounded < best.capacity {
            Channel {
                capacity: bounded,
                inherent: 0.0,
            }
        } else {
            Channel {
                capacity: best.capacity.max(floor),
                ..best
            }
        });
        self.settle(at, bounded, floor, known);
        true
    }

    /// Adds results; answers when the newest packet of a complete observation was sent.
    fn observe(&mut self, results: &[PacketResult]) -> Option<Instant> {
        for result in results {
            let is_lost = result.received_at.is_none() || result.marked;
            if is_lost {
                self.partial.lost.insert(result.number, result.len);
            } else if result.reported_lost {
                self.partial.lost.remove(&result.number);
            }
            let is_counted = result.reported_lost && result.received_at.is_some();
            if !is_counted {
                self.partial.len += result.len;
            }
        }
        let first = results.iter().map(|result| result.sent_at).min()?;
        let last = results.iter().map(|result| result.sent_at).max()?;
        let since = *self.last_sent.get_or_insert(first);
        let lasted = last.saturating_duration_since(since);
        if lasted < OBSERVATION_LASTS {
            return None;
        }
        self.last_sent = Some(last);
        let partial = std::mem::take(&mut self.partial);
        let len = partial.len as f64;
        self.observations.push_front(Observation {
            len,
            lost: partial.lost.values().sum::<usize>() as f64,
            rate: len * 8.0 / lasted.as_secs_f64(),
        });
        self.observations.truncate(WINDOW);
        self.count += 1;
        self.average_loss = self.loss_without_outliers();
        Some(last)
    }

    /// Observations with their weights.
    fn weighted(&self) -> impl Iterator<Item = (f64, &Observation)> {
        let weights = std::iter::successors(Some(1.0), |weight| Some(weight * WEIGHT));
        weights.zip(&self.observations)
    }

    fn best_candidate(&self, current: Channel, known: &Known) -> Channel {
        let mut capacities: Vec<f64> = CANDIDATES
            .iter()
            .map(|factor| factor * current.capacity)
            .collect();
        if !known.limited {
            capacities.extend(known.acknowledged);
        }
        if known.delay_based > current.capacity {
            capacities.push(known.delay_based);
        }
        let limit = match (self.state, self.recovery) {
            (LossState::Increasing | LossState::Decreasing, Some((_, limit))) => limit,
            _ => known.max,
        };
        let limit = limit.max(current.capacity);
        let mut best = (f64::NEG_INFINITY, current);
        for capacity in capacities {
            let mut candidate = Channel {
                capacity: capacity.min(limit),
                inherent: current.inherent,
            };
            candidate.inherent = candidate.feasible_inherent();
            self.improve_inherent(&mut candidate);
            let objective = self.objective(&candidate);
            if objective > best.0 {
                best = (objective, candidate);
            }
        }
        best.1
    }

    /// One step of Newton's method towards the likeliest inherent loss.
    fn improve_inherent(&self, channel: &mut Channel) {
        let (mut first, mut second) = (0.0, 0.0);
        for (weight, seen) in self.weighted() {
            let loss = channel.loss_at(seen.rate);
            let (lost, received) = (seen.lost / 1000.0, (seen.len - seen.lost) / 1000.0);
            first += weight * (lost / loss - received / (1.0 - loss));
            second -= weight * (lost / (loss * loss) + received / ((1.0 - loss) * (1.0 - loss)));
        }
        if second < 0.0 {
            channel.inherent -= NEWTON_STEP * first / second;
        }
        channel.inherent = channel.feasible_inherent();
    }

    /// The logarithm of the likelihood, with the bias.
    fn objective(&self, channel: &Channel) -> f64 {
        let gap = BIAS_LOSS_MAX - self.average_loss;
        let lean = gap / (BIAS_SMOOTHING + gap.abs());
        let kbps = channel.capacity / 1000.0;
        let bias = lean * (BIAS * kbps + BIAS_LOG * (1.0 + kbps).ln());
        self.weighted()
            .map(|(weight, seen)| {
                let loss = channel.loss_at(seen.rate);
                let (lost, len) = (seen.lost / 1000.0, seen.len / 1000.0);
                weight * (lost * loss.ln() + (len - lost) * (1.0 - loss).ln() + bias * len)
            })
            .sum()
    }

    fn bound_recovery(&self, at: Instant, current: Channel, best: &mut Channel, known: &Known) {
        if let Some((since, limit)) = self.recovery
            && since + INCREASE_WINDOW > at
        {
            best.capacity = best.capacity.min(limit);
        }
        let increases = self.increases(current.capacity, best.capacity);
        let Some(acknowledged) = known.acknowledged.filter(|_| increases) else {
            return;
        };
        // A probe that arrived shows what the path carries as well as what is sent otherwise.
        let acknowledged = acknowledged.max(known.probed.unwrap_or(0.0));
        let near = self.hold.rate.is_finite() && acknowledged < HELD_NEAR * self.hold.rate;
        let factor = if near { RAMP_UP_HELD } else { RAMP_UP };
        let ahead = best.capacity.min(factor * acknowledged);
        best.capacity = ahead.max(current.capacity);
        if self.state == LossState::Decreasing && best.capacity == current.capacity {
            // Enough to leave that state.
            best.capacity += 1.0;
        }
    }

    /// Whether a step goes up, or goes on after one that did, while loss limits the rate.
    fn increases(&self, from: f64, to: f64) -> bool {
        let goes_on = from == to && self.state == LossState::Increasing;
        self.state != LossState::Unlimited && (from < to || goes_on)
    }

    fn settle(&mut self, at: Instant, bounded: f64, floor: f64, known: &Known) {
        let limits = bounded < known.delay_based;
        let holds = self.hold.until.is_some_and(|until| until > at);
        if self.state == LossState::Decreasing && holds && limits {
            self.hold.rate = self.hold.rate.max(floor);
            self.rate = self.hold.rate.min(bounded);
            return;
        }
        if limits && bounded < known.max {
            if self.increases(self.rate, bounded) {
                self.state = LossState::Increasing;
            } else {
                if self.state != LossState::Decreasing {
                    self.hold = Hold {
                        until: Some(at + self.hold.duration),
                        duration: (self.hold.duration * 2).min(HOLD_MAX),
                        rate: bounded,
                    };
                }
                self.state = LossState::Decreasing;
            }
        } else {
            self.hold = Hold::default();
            self.state = LossState::Unlimited;
        }
        self.rate = bounded;
        let over = self
            .recovery
            .is_none_or(|(since, _)| since + INCREASE_WINDOW < at);
        if self.state != LossState::Unlimited && over {
            let capacity = self.best.map_or(bounded, |best| best.capacity);
            self.recovery = Some((at, (capacity * INCREASE_MAX).max(RATE_MIN)));
        }
    }

    fn instant_limit(&self, max: f64) -> f64 {
        match self.average_loss > OFFSET {
            true => BALANCE / (self.average_loss - OFFSET),
            false => max,
        }
    }

    /// The share of bytes lost, without the observations that lost the most and the least.
    fn loss_without_outliers(&self) -> f64 {
        let (mut len, mut lost) = (0.0, 0.0);
        let mut most: Option<(f64, f64, &Observation)> = None;
        let mut least: Option<(f64, f64, &Observation)> = None;
        for (weight, seen) in self.weighted() {
            len += weight * seen.len;
            lost += weight * seen.lost;
            let share = seen.lost / seen.len.max(1.0);
            if most.is_none_or(|(own, ..)| share > own) {
                most = Some((share, weight, seen));
            }
            if least.is_none_or(|(own, ..)| share < own) {
                least = Some((share, weight, seen));
            }
        }
        let all = lost / len.max(1.0);
        let (Some((_, weight_most, most)), Some((_, weight_least, least))) = (most, least) else {
            return all;
        };
        if self.count <= 3 || self.median_rate() * BURST <= most.rate {
            return all;
        }
        let len = len - weight_most * most.len - weight_least * least.len;
        let lost = lost - weight_most * most.lost - weight_least * least.lost;
        match len > 0.0 {
            true => (lost / len).clamp(0.0, 1.0),
            false => all,
        }
    }

    fn median_rate(&self) -> f64 {
        let mut rates: Vec<f64> = self.observations.iter().map(|seen| seen.rate).collect();
        rates.sort_by(f64::total_cmp);
        let middle = rates.len() / 2;
        let upper = rates.get(middle).copied().unwrap_or(0.0);
        match rates.len() % 2 {
            0 => (upper + rates.get(middle.wrapping_sub(1)).copied().unwrap_or(0.0)) / 2.0,
            _ => upper,
        }
    }
}

impl Channel {
    /// The chance that a byte sent at `rate` is lost.
    fn loss_at(&self, rate: f64) -> f64 {
        let excess = ((rate - self.capacity) / rate.max(1.0)).max(0.0);
        (self.inherent + (1.0 - self.inherent) * excess).clamp(1e-6, 1.0 - 1e-6)
    }

    fn feasible_inherent(&self) -> f64 {
        let most = (OFFSET + BALANCE / self.capacity.max(1.0)).min(1.0);
        self.inherent.max(INHERENT_MIN).min(most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::congestion::sent::RemoteTime;
    use crate::congestion::tests::instant;

    /// Sends at `rate` for `seconds`, of which every `lost`th packet of 1000 is missing.
    fn run(loss: &mut LossBased, start: &mut Instant, rate: f64, seconds: f64, lost: u64) {
        let interval = Duration::from_secs_f64(8_000.0 / rate);
        let end = *start + Duration::from_secs_f64(seconds);
        let mut number = 0;
        while *start < end {
            let results: Vec<PacketResult> = (0..20)
                .map(|_| {
                    number += 1;
                    *start += interval;
                    // Spread evenly: 37 and 1000 have no common factor.
                    let missing = (number * 37) % 1000 < lost;
                    PacketResult {
                        number,
                        sent_at: *start,
                        received_at: (!missing).then_some(RemoteTime(0)),
                        len: 1000,
                        reported_lost: false,
                        marked: false,
                        probe: None,
                    }
                })
                .collect();
            let known = Known {
                delay_based: 4e6,
                acknowledged: Some(rate * (1.0 - lost as f64 / 1000.0)),
                limited: false,
                probed: None,
                min: 1e4,
                max: 1e7,
            };
            loss.update(&results, &known);
        }
    }

    #[test]
    fn without_loss_the_delay_decides() {
        let mut loss = LossBased::default();
        run(&mut loss, &mut instant(), 2e6, 5.0, 0);
        assert_eq!(loss.rate(), Some(4e6));
        assert_eq!(loss.state(), LossState::Unlimited);
    }

    #[test]
    fn a_little_random_loss_is_taken_for_inherent() {
        let mut loss = LossBased::default();
        run(&mut loss, &mut instant(), 2e6, 10.0, 20);
        assert!(loss.rate().unwrap() > 1.9e6, "{loss:?}");
    }

    #[test]
    fn heavy_loss_limits_the_rate_to_what_arrives_and_it_recovers() {
        let mut loss = LossBased::default();
        let mut at = instant();
        run(&mut loss, &mut at, 2e6, 5.0, 0);
        run(&mut loss, &mut at, 2e6, 10.0, 500);
        let limited = loss.rate().unwrap();
        assert!((0.9e6..1.3e6).contains(&limited), "{limited}");
        assert_eq!(loss.state(), LossState::Decreasing);
        run(&mut loss, &mut at, 2e6, 10.0, 0);
        assert!(loss.rate().unwrap() > 2e6, "{loss:?}");
    }
}
