//! What the path to us carries, as far as arrivals show it: for senders that are told by REMB and
//! know nothing else (draft-alvestrand-rmcat-remb-03).
//!
//! Packets say when they left (the header extension `abs-send-time`). The delay of groups of them
//! tells whether queues grow, as it does for a sender that is told of arrivals.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use twocan_wire::units::Bitrate;

use super::aimd::Aimd;
use super::arrival::InterArrival;
use super::sent::RemoteTime;
use super::trendline::{Trendline, Usage};

/// The rate of arrival is that of the last second.
const WINDOW: Duration = Duration::from_secs(1);

/// Packets of that second that are remembered; with more, the time is shorter. A second of 40 Mbit/s.
const WINDOW_PACKETS_MAX: usize = 4096;

/// Without over-use nothing is said before: the sender begins by itself.
const SILENT_FOR: Duration = Duration::from_secs(2);

/// Between two looks without over-use.
const INTERVAL: Duration = Duration::from_millis(100);

/// After such a time without packets everything begins again.
const GAP_MAX: Duration = Duration::from_secs(2);

/// Below this no estimate falls.
const RATE_MIN: f64 = 30_000.0;

/// Bits of `abs-send-time` behind the point of its seconds, and in all.
const FRACTION_BITS: u32 = 18;
const BITS: u32 = 24;

/// An estimate of what may be sent to us.
#[derive(Debug, Default)]
pub struct ArrivingEstimate {
    arrivals: InterArrival,
    trendline: Trendline,
    /// Once there is something to say.
    aimd: Option<Aimd>,
    window: VecDeque<(Instant, usize)>,
    window_len: usize,
    clock: Option<SendClock>,
    looked_at: Option<Instant>,
}

/// The clock of the sender, which goes around every 64 seconds.
#[derive(Debug)]
struct SendClock {
    /// When the first packet arrived, which stands for when it was sent.
    began: Instant,
    newest: u32,
    /// Since the first packet, in units of the field.
    elapsed: i64,
}

impl SendClock {
    /// When a packet was sent; what lies before the first packet is that packet's.
    fn sent_at(&mut self, stamp: u32) -> Instant {
        let ahead = stamp.wrapping_sub(self.newest) << (32 - BITS);
        let ahead = i64::from(ahead.cast_signed() >> (32 - BITS));
        let elapsed = self.elapsed.saturating_add(ahead);
        if ahead > 0 {
            self.newest = stamp;
            self.elapsed = elapsed;
        }
        let micros = u64::try_from(elapsed)
            .unwrap_or(0)
            .saturating_mul(1_000_000)
            >> FRACTION_BITS;
        let sent_at = self.began.checked_add(Duration::from_micros(micros));
        sent_at.unwrap_or(self.began)
    }
}

impl ArrivingEstimate {
    /// Takes a packet of `len` bytes that arrived at `now`, with its `abs-send-time` of 24 bits, where
    /// it has one. `rtt` is the way there and back.
    pub fn push(&mut self, now: Instant, stamp: Option<u32>, len: usize, rtt: Duration) {
        let last = self.window.back().map(|(at, _)| *at);
        if last.is_some_and(|last| now.saturating_duration_since(last) > GAP_MAX) {
            *self = Self::default();
        }
        self.count(now, len);
        let Some(stamp) = stamp else { return };
        let clock = self.clock.get_or_insert(SendClock {
            began: now,
            newest: stamp,
            elapsed: 0,
        });
        let sent_at = clock.sent_at(stamp);
        let since = now.saturating_duration_since(clock.began).as_micros();
        let received = RemoteTime(i64::try_from(since).unwrap_or(i64::MAX));
        if let Some(delta) = self.arrivals.push(now, sent_at, received) {
            self.trendline.push(delta);
        }
        self.follow(now, rtt);
    }

    /// What the sender is to keep below; `None` while there is nothing to say.
    pub fn rate(&self) -> Option<Bitrate> {
        let aimd = self.aimd.as_ref()?;
        Some(Bitrate::bps(aimd.rate() as u64))
    }

    fn count(&mut self, now: Instant, len: usize) {
        self.window.push_back((now, len));
        self.window_len += len;
        while let Some((at, len)) = self.window.front().copied() {
            let is_old = now.saturating_duration_since(at) > WINDOW;
            if !is_old && self.window.len() <= WINDOW_PACKETS_MAX {
                break;
            }
            self.window.pop_front();
            self.window_len -= len;
        }
    }

    /// In bit/s.
    fn arrives(&self, now: Instant) -> Option<f64> {
        let (oldest, _) = self.window.front()?;
        let lasted = now.saturating_duration_since(*oldest);
        // Of less time a single picture would be most.
        (lasted >= WINDOW / 4).then(|| self.window_len as f64 * 8.0 / lasted.as_secs_f64())
    }

    fn follow(&mut self, now: Instant, rtt: Duration) {
        let Some(arrives) = self.arrives(now) else {
            return;
        };
        let usage = self.trendline.usage();
        let began = self.clock.as_ref().map_or(now, |clock| clock.began);
        if self.aimd.is_none()
            && usage != Usage::Over
            && now.saturating_duration_since(began) < SILENT_FOR
        {
            return;
        }
        let aimd = self
            .aimd
            .get_or_insert_with(|| Aimd::new(arrives, RATE_MIN));
        let is_due = self
            .looked_at
            .is_none_or(|at| now.saturating_duration_since(at) >= INTERVAL);
        match usage {
            Usage::Over if aimd.may_decrease(now, rtt, arrives) => {}
            Usage::Over => return,
            Usage::Normal | Usage::Under if is_due => {}
            Usage::Normal | Usage::Under => return,
        }
        self.looked_at = Some(now);
        aimd.update(now, usage, Some(arrives), rtt);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::congestion::tests::instant;
    use twocan_wire::rtp::abs_send_time;

    const RTT: Duration = Duration::from_millis(100);

    /// A link of so many bit/s, on which packets of 1200 bytes wait for each other.
    struct Link {
        start: Instant,
        /// Since the start.
        sent: Duration,
        free: Duration,
    }

    impl Link {
        fn new() -> Self {
            Self {
                start: instant(),
                sent: Duration::ZERO,
                free: Duration::ZERO,
            }
        }

        /// Sends at what `rate` says for so long; answers the longest wait.
        fn send(
            &mut self,
            estimate: &mut ArrivingEstimate,
            seconds: u64,
            capacity: f64,
            rate: impl Fn(&ArrivingEstimate) -> f64,
        ) -> Duration {
            let end = self.sent + Duration::from_secs(seconds);
            let mut longest = Duration::ZERO;
            while self.sent < end {
                // The clock of the field goes around on the way.
                let stamp = abs_send_time(self.sent + Duration::from_secs(50));
                self.free = self.free.max(self.sent) + Duration::from_secs_f64(9_600.0 / capacity);
                longest = longest.max(self.free - self.sent);
                let now = self.start + self.free + RTT / 2;
                estimate.push(now, Some(stamp), 1_200, RTT);
                self.sent += Duration::from_secs_f64(9_600.0 / rate(estimate));
            }
            longest
        }
    }

    fn obeys(most: f64) -> impl Fn(&ArrivingEstimate) -> f64 {
        move |estimate| {
            estimate
                .rate()
                .map_or(most, |own| own.as_bps() as f64)
                .min(most)
        }
    }

    #[test]
    fn a_sender_that_obeys_fills_the_link_and_no_queue_and_follows_a_fall() {
        let mut estimate = ArrivingEstimate::default();
        let mut link = Link::new();
        link.send(&mut estimate, 30, 2e6, obeys(3e6));
        let longest = link.send(&mut estimate, 30, 2e6, obeys(3e6));
        assert!(longest < Duration::from_millis(150), "{longest:?}");
        let rate = estimate.rate().unwrap().as_bps();
        assert!((1_500_000..2_300_000).contains(&rate), "{rate}");
        link.send(&mut estimate, 5, 5e5, obeys(3e6));
        let longest = link.send(&mut estimate, 20, 5e5, obeys(3e6));
        assert!(longest < Duration::from_millis(300), "{longest:?}");
        let rate = estimate.rate().unwrap().as_bps();
        assert!((300_000..600_000).contains(&rate), "{rate}");
    }

    #[test]
    fn nothing_is_said_at_first_and_again_after_a_gap() {
        let mut estimate = ArrivingEstimate::default();
        let mut link = Link::new();
        link.send(&mut estimate, 1, 2e6, |_| 1e6);
        assert_eq!(estimate.rate(), None);
        link.send(&mut estimate, 3, 2e6, |_| 1e6);
        assert!(estimate.rate().is_some());
        link.sent += Duration::from_secs(5);
        link.send(&mut estimate, 1, 2e6, |_| 1e6);
        assert_eq!(estimate.rate(), None);
    }

    #[test]
    fn a_sender_that_does_not_say_when_it_sent_is_told_nothing() {
        let mut estimate = ArrivingEstimate::default();
        for step in 0..10_000u32 {
            let now = instant() + Duration::from_millis(1) * step;
            estimate.push(now, None, 1_200, RTT);
        }
        assert_eq!(estimate.rate(), None);
        assert!(estimate.window.len() <= WINDOW_PACKETS_MAX);
    }
}
