//! When to show pictures.

use std::time::{Duration, Instant};

use super::pace::Pace;
use super::{PlayoutConfig, PlayoutStats};

/// Says of each picture of one source when it is due, so that they are shown at the pace at which
/// they were captured: as late as lets most of them be whole in time, within what the sender and the
/// application want.
///
/// Pictures come in their order, as [`Session`](crate::rtp::Session) hands them out. There is
/// nothing in here but numbers: who shows pictures keeps those that are not due.
#[derive(Debug)]
pub struct VideoPlayout {
    pace: Pace,
    /// When the picture before is due.
    last_due: Option<Instant>,
    last_shown: Option<(u32, Instant)>,
    stats: PlayoutStats,
}

impl VideoPlayout {
    /// Without pictures as yet. The clock of video has 90,000 ticks a second (RFC 3551 §5).
    pub fn new(config: PlayoutConfig) -> Self {
        Self {
            pace: Pace::new(config),
            last_due: None,
            last_shown: None,
            stats: PlayoutStats::default(),
        }
    }

    /// W3C's `jitterBufferTarget`: the application wants at least that delay, 0 to 4 s; `None`
    /// leaves it to the network.
    pub fn set_jitter_buffer_target(&mut self, target: Option<Duration>) {
        self.pace.set_jitter_buffer_target(target);
    }

    /// The shortest and the longest delay that the sender wants, as its header extension
    /// `playout-delay` states them; bounds that contradict each other mean nothing. With 0 and 0
    /// every picture is due when it is there.
    pub fn set_playout_delay(&mut self, bounds: Option<(Duration, Duration)>) {
        self.pace.set_playout_delay(bounds);
    }

    /// The delay that is aimed at, from the moment at which the fastest picture was whole.
    pub fn target_delay(&self) -> Duration {
        self.pace.target()
    }

    /// When to show the picture of that timestamp, which was whole at `now`: never before the one
    /// before it.
    pub fn schedule(&mut self, now: Instant, timestamp: u32) -> Instant {
        let (at, began_anew) = self.pace.handle_arrival(now, timestamp);
        if began_anew {
            self.last_due = None;
        }
        let target = self.pace.target();
        let waits = if self.pace.is_at_once() {
            Duration::ZERO
        } else {
            let so_far = self.pace.ticks_at(now).unwrap_or(0);
            let so_far = self.pace.delay(so_far, at);
            self.pace.time(self.pace.ticks(target) - so_far)
        };
        let due = (now + waits).max(self.last_due.unwrap_or(now));
        self.last_due = Some(due);
        self.last_shown = Some((timestamp, due));
        let stats = &mut self.stats;
        stats.jitter_buffer_delay += due.saturating_duration_since(now);
        stats.jitter_buffer_target_delay += target;
        stats.jitter_buffer_minimum_delay += self.pace.minimum();
        stats.jitter_buffer_emitted_count += 1;
        due
    }

    /// The newest picture's timestamp, and when it is due.
    pub fn last_shown(&self) -> Option<(u32, Instant)> {
        self.last_shown
    }

    /// Statistics, to be handed to the connection as well.
    pub fn stats(&self) -> PlayoutStats {
        self.stats
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtp::tests::instant;

    const FRAME: u64 = 33;

    fn ms(time: u64) -> Duration {
        Duration::from_millis(time)
    }

    /// Pictures every 33 ms that take so long; how long each is shown after its capture.
    fn shown(playout: &mut VideoPlayout, takes: impl Iterator<Item = u64>) -> Vec<Duration> {
        let start = instant();
        let shown = (0u32..).zip(takes).map(|(number, takes)| {
            let captured = ms(u64::from(number) * FRAME);
            let timestamp = (number * 90 * FRAME as u32).wrapping_sub(9000);
            let due = playout.schedule(start + captured + ms(takes), timestamp);
            due.saturating_duration_since(start + captured)
        });
        shown.collect()
    }

    fn playout() -> VideoPlayout {
        VideoPlayout::new(PlayoutConfig::new(90_000))
    }

    #[test]
    fn pictures_are_shown_at_their_pace_and_as_late_as_the_network_makes_necessary() {
        let mut calm = playout();
        let steady = shown(&mut calm, std::iter::repeat_n(30, 200));
        // 20 ms, one step of the estimate, behind the fastest.
        assert!(steady.iter().all(|after| *after == ms(50)), "{steady:?}");
        let mut rough = playout();
        let late = shown(&mut rough, (0..400).map(|number| 30 + number * 7 % 60));
        let late = &late[300..];
        let (least, most) = (late.iter().min().unwrap(), late.iter().max().unwrap());
        assert!(*most - *least <= ms(1), "{least:?} to {most:?}");
        assert!((ms(85)..ms(115)).contains(most), "{most:?}");
        assert_eq!(rough.stats().jitter_buffer_emitted_count, 400);
        assert!(rough.stats().jitter_buffer_target_delay > ms(400 * 50));
    }

    #[test]
    fn the_bounds_of_the_sender_are_kept() {
        let mut bounded = playout();
        bounded.set_playout_delay(Some((ms(200), ms(300))));
        let shown_after = shown(&mut bounded, std::iter::repeat_n(30, 100));
        assert!(shown_after.iter().all(|own| *own == ms(230)), "at least");
        let mut tight = playout();
        tight.set_playout_delay(Some((ms(0), ms(40))));
        let jitter = || (0..400).map(|number| 30 + number * 7 % 60);
        let shown_after = shown(&mut tight, jitter());
        // What comes later than the bound is shown when it comes, and not after that.
        for (own, takes) in shown_after.iter().zip(jitter()).skip(50) {
            assert!(*own <= ms(takes.max(70) + 1), "{own:?} for {takes}");
        }
        assert_eq!(tight.target_delay(), ms(40));
        assert!(
            tight.stats().jitter_buffer_minimum_delay > ms(400 * 50),
            "as it would be"
        );
        let mut at_once = playout();
        at_once.set_playout_delay(Some((ms(0), ms(0))));
        let shown_after = shown(&mut at_once, (0..50).map(|number| 30 + number % 20));
        let expected: Vec<_> = (0..50).map(|number| ms(30 + number % 20)).collect();
        assert_eq!(shown_after, expected);
        assert_eq!(at_once.stats().jitter_buffer_delay, Duration::ZERO);
    }

    #[test]
    fn a_sender_that_begins_anew_is_followed() {
        let mut playout = playout();
        let start = instant();
        playout.schedule(start, 5000);
        let due = playout.schedule(start + ms(33), 0x8000_0000);
        assert!(due <= start + ms(33 + 40), "{:?}", due - start);
        assert_eq!(playout.last_shown(), Some((0x8000_0000, due)));
    }
}
