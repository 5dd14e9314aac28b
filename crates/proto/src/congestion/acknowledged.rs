//! The rate at which packets arrive, as reports tell it: a Bayesian mean over short windows.

use std::collections::VecDeque;
use std::time::Instant;

use super::arrival::ms_between;
use super::sent::RemoteTime;
use crate::tight;

/// Windows in ms: the first is long, for a sample to start from.
const WINDOW_FIRST: f64 = 500.0;
const WINDOW: f64 = 150.0;
/// How much a sample is doubted that differs from the mean, and more so while the application
/// sends less than it may.
const UNCERTAINTY: f64 = 10.0;
const UNCERTAINTY_LIMITED: f64 = 20.0;
const VARIANCE_START: f64 = 50.0;
/// Added with every sample: rates change.
const VARIANCE_STEP: f64 = 5.0;
/// Added once when a change is expected.
const VARIANCE_CHANGE: f64 = 200.0;

/// The newest arrivals, in ms, from which the rate of a full link is told at once; and how many
/// packets it takes, and can take.
const RECENT: f64 = 250.0;
const RECENT_MIN: f64 = 150.0;
const RECENT_PACKETS_MIN: usize = 8;
const RECENT_PACKETS_MAX: usize = 2048;
/// A link is full if packets arrive at less than this part of the rate at which they were sent.
const FULL: f64 = 0.9;
/// If it then carries less than this part of the mean, the mean is out of date.
const CHANGED: f64 = 0.7;

/// The newest arrivals, in ms, that show what a burst was: a key frame is no longer at what pacing
/// makes of it.
const BURST: f64 = 60.0;
/// How long a burst is remembered, in ms: the slope of the delay tells of it until its queue has
/// drained, and a little longer.
const REMEMBERED: f64 = 500.0;

#[derive(Debug)]
pub(super) struct AcknowledgedRate {
    /// In kbit/s, as are the deviations.
    mean: Option<f64>,
    variance: f64,
    sum: usize,
    window: f64,
    last: Option<RemoteTime>,
    recent: VecDeque<Arrival>,
    /// When the first packet of all was sent.
    epoch: Option<Instant>,
}

/// One of the newest packets, in little space: a server keeps very many of them.
#[derive(Debug, Clone, Copy)]
struct Arrival {
    received: RemoteTime,
    /// When it was sent, in µs since the first, less when it was received, which varies little: the low
    /// 32 bits.
    sent_offset: i32,
    len: u32,
}

impl Arrival {
    /// Milliseconds from when `earlier` was sent to when this was.
    fn sent_ms_since(&self, earlier: &Self) -> f64 {
        let offsets = i64::from(self.sent_offset.wrapping_sub(earlier.sent_offset));
        let between = self.received.0.saturating_sub(earlier.received.0);
        between.saturating_add(offsets) as f64 / 1000.0
    }
}

impl Default for AcknowledgedRate {
    fn default() -> Self {
        Self {
            mean: None,
            variance: VARIANCE_START,
            sum: 0,
            window: 0.0,
            last: None,
            recent: VecDeque::new(),
            epoch: None,
        }
    }
}

impl AcknowledgedRate {
    /// In bit/s, once known.
    pub(super) fn rate(&self) -> Option<f64> {
        self.mean.map(|mean| mean * 1000.0)
    }

    /// The next samples may differ much.
    pub(super) fn expect_change(&mut self) {
        self.variance += VARIANCE_CHANGE;
    }

    /// The rate in bit/s at which packets arrived lately, if the link was full: the mean follows
    /// a sudden change within a second only, which is too late to spare a queue.
    pub(super) fn full_rate(&mut self) -> Option<f64> {
        let last = self.recent.back()?;
        let is_recent = |packet: &&Arrival| last.received.ms_since(packet.received) <= RECENT;
        let recent = self.recent.iter().rev().take_while(is_recent);
        let (mut count, mut len, mut first) = (0, 0, last);
        for packet in recent {
            (count, len, first) = (count + 1, len + u64::from(packet.len), packet);
        }
        let received_for = last.received.ms_since(first.received);
        let sent_for = last.sent_ms_since(first);
        if count < RECENT_PACKETS_MIN || received_for < RECENT_MIN {
            return None;
        }
        let rate = (len - u64::from(first.len)) as f64 * 8000.0 / received_for;
        if sent_for > FULL * received_for {
            return None;
        }
        if rate < CHANGED * self.rate()? {
            self.expect_change();
        }
        Some(rate)
    }

    /// The rates in bit/s at which the fastest burst among the newest packets was sent and arrived
    /// that the link slowed down: no other tells what the link carries.
    pub(super) fn slowed_burst(&self) -> Option<(f64, f64)> {
        let mut fastest: Option<(f64, f64)> = None;
        let mut len = 0_u64;
        let mut from = 0;
        for (to, last) in self.recent.iter().enumerate() {
            len += u64::from(last.len);
            // The first packet of a window only says when it began.
            while let Some(first) = self.recent.get(from) {
                let next = self.recent.get(from + 1);
                let is_enough = |next: &Arrival| {
                    to - from > RECENT_PACKETS_MIN && last.received.ms_since(next.received) >= BURST
                };
                if !next.is_some_and(is_enough) {
                    break;
                }
                len -= u64::from(first.len);
                from += 1;
            }
            let Some(first) = self.recent.get(from) else {
                break;
            };
            let received_for = last.received.ms_since(first.received);
            if to - from < RECENT_PACKETS_MIN || received_for < BURST {
                continue;
            }
            let bits = (len - u64::from(first.len)) as f64 * 8000.0;
            let sent_for = last.sent_ms_since(first).max(1.0);
            let rates = (bits / sent_for, bits / received_for);
            let is_slowed = rates.1 < FULL * rates.0;
            if is_slowed && fastest.is_none_or(|fastest| rates.0 >= fastest.0) {
                fastest = Some(rates);
            }
        }
        fastest
    }

    /// Takes the next packet by arrival.
    pub(super) fn push(&mut self, received: RemoteTime, sent: Instant, len: usize, limited: bool) {
        self.push_recent(received, sent, len);
        let window = self.mean.map_or(WINDOW_FIRST, |_| WINDOW);
        let Some(sample) = self.sample(received, len, window) else {
            return;
        };
        let Some(mean) = self.mean else {
            self.mean = Some(sample);
            return;
        };
        let scale = match limited && sample < mean {
            true => UNCERTAINTY_LIMITED,
            false => UNCERTAINTY,
        };
        let doubt = scale * (mean - sample).abs() / mean.max(1.0);
        let doubt = doubt * doubt;
        let expected = self.variance + VARIANCE_STEP;
        self.mean = Some((doubt * mean + expected * sample) / (doubt + expected));
        self.variance = doubt * expected / (doubt + expected);
    }

    /// Takes packets, by when they were sent and their length, that arrived between the last one
    /// and `next`, nobody knows when: evenly.
    pub(super) fn bridge(&mut self, next: RemoteTime, packets: &[(Instant, usize)], limited: bool) {
        let Some(last) = self.last else {
            return;
        };
        let wait = next.0.saturating_sub(last.0);
        if wait <= 0 {
            return;
        }
        let step = wait / (packets.len() as i64 + 1);
        let mut received = last.0;
        for (sent, len) in packets {
            received += step;
            self.push(RemoteTime(received), *sent, *len, limited);
        }
    }

    fn push_recent(&mut self, received: RemoteTime, sent: Instant, len: usize) {
        let epoch = *self.epoch.get_or_insert(sent);
        let sent = ms_between(epoch, sent) * 1000.0;
        let packet = Arrival {
            received,
            sent_offset: (sent as i64).saturating_sub(received.0) as i32,
            len: u32::try_from(len).unwrap_or(u32::MAX),
        };
        tight::push_back(&mut self.recent, packet);
        while let Some(first) = self.recent.front() {
            let is_recent = received.ms_since(first.received) <= REMEMBERED;
            if is_recent && self.recent.len() <= RECENT_PACKETS_MAX {
                break;
            }
            self.recent.pop_front();
        }
    }

    /// The rate in kbit/s of a window that is full.
    fn sample(&mut self, received: RemoteTime, len: usize, window: f64) -> Option<f64> {
        if let Some(last) = self.last {
            let elapsed = received.ms_since(last);
            if elapsed < 0.0 {
                self.sum = 0;
                self.window = 0.0;
            } else {
                self.window += elapsed;
                // Nothing for a whole window: what was summed up before says nothing.
                if elapsed > window {
                    self.sum = 0;
                    self.window %= window;
                }
            }
        }
        self.last = Some(received);
        let sample = (self.window >= window).then(|| {
            let sample = 8.0 * self.sum as f64 / window;
            self.window -= window;
            self.sum = 0;
            sample
        });
        self.sum += len;
        sample
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::congestion::tests::instant;

    /// Packets of 1250 bytes, sent every 10 ms, arrive every `interval` ms for a second: at 10
    /// Mbit/s divided by that.
    fn run(rate: &mut AcknowledgedRate, origin: Instant, start: i64, interval: i64) {
        for (index, at) in (start..start + 1000).step_by(interval as usize).enumerate() {
            let sent = origin + Duration::from_millis(start as u64 + 10 * index as u64);
            rate.push(RemoteTime(at * 1000), sent, 1250, false);
        }
    }

    #[test]
    fn the_rate_is_found_and_followed() {
        let origin = instant();
        let mut rate = AcknowledgedRate::default();
        run(&mut rate, origin, 0, 10);
        assert!((rate.rate().unwrap() - 1e6).abs() < 5e4, "{rate:?}");
        assert_eq!(rate.full_rate(), None);
        run(&mut rate, origin, 1000, 20);
        assert!((rate.full_rate().unwrap() - 5e5).abs() < 2e4, "{rate:?}");
        for second in 2..5 {
            run(&mut rate, origin, second * 1000, 20);
        }
        assert!((rate.rate().unwrap() - 5e5).abs() < 5e4, "{rate:?}");
    }

    #[test]
    fn packets_of_a_lost_report_count() {
        let origin = instant();
        let mut rate = AcknowledgedRate::default();
        run(&mut rate, origin, 0, 10);
        for second in 1..4 {
            // Nothing is said of the first 200 ms of a second.
            let start = second * 1000;
            let at = |number: u64| origin + Duration::from_millis(start as u64 + 10 * number);
            let unreported: Vec<_> = (0..20).map(|number| (at(number), 1250)).collect();
            rate.bridge(RemoteTime((start + 200) * 1000), &unreported, false);
            run(&mut rate, origin, start + 200, 10);
        }
        assert!((rate.rate().unwrap() - 1e6).abs() < 5e4, "{rate:?}");
        // One that came out of order has no room for others before it.
        let before = rate.rate();
        rate.bridge(RemoteTime(0), &[(origin, 1250)], false);
        assert_eq!(rate.rate(), before);
    }

    #[test]
    fn a_burst_that_was_slowed_is_found() {
        let origin = instant();
        let mut rate = AcknowledgedRate::default();
        run(&mut rate, origin, 0, 10);
        assert_eq!(rate.slowed_burst(), None);
        // Twenty packets at 5 Mbit/s, which the link carries, and twenty which it carries at 2.
        for number in 0..20 {
            let sent = origin + Duration::from_millis(1000 + 2 * number);
            rate.push(
                RemoteTime(1_000_000 + 2_000 * number as i64),
                sent,
                1250,
                false,
            );
        }
        assert_eq!(rate.slowed_burst(), None);
        for number in 0..20 {
            let sent = origin + Duration::from_millis(1100 + 2 * number);
            rate.push(
                RemoteTime(1_100_000 + 5_000 * number as i64),
                sent,
                1250,
                false,
            );
        }
        let (sent, received) = rate.slowed_burst().unwrap();
        assert!((sent - 5e6).abs() < 1e5, "{sent}");
        assert!((received - 2e6).abs() < 1e5, "{received}");
        run(&mut rate, origin, 1200, 10);
        assert_eq!(rate.slowed_burst(), None, "remembered for too long");
    }

    #[test]
    fn clocks_are_as_far_apart_as_they_like() {
        // The offset passes the end of its range.
        let origin = instant();
        let mut rate = AcknowledgedRate::default();
        for number in 0..30_u32 {
            let sent = origin + Duration::from_millis(2 * u64::from(number));
            let received = i64::from(i32::MIN) - 40_000 + 5_000 * i64::from(number);
            rate.push(RemoteTime(received), sent, 1250, false);
        }
        let (sent, received) = rate.slowed_burst().unwrap();
        assert!((sent - 5e6).abs() < 1e5, "{sent}");
        assert!((received - 2e6).abs() < 1e5, "{received}");
    }

    #[test]
    fn a_pause_is_no_sample() {
        let origin = instant();
        let mut rate = AcknowledgedRate::default();
        run(&mut rate, origin, 0, 10);
        run(&mut rate, origin, 5000, 10);
        assert!((rate.rate().unwrap() - 1e6).abs() < 5e4, "{rate:?}");
    }
}
