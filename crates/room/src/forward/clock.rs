//! When a participant's media was captured, on our clock.

use std::time::{Duration, Instant};

/// The quickest packet of so long says how the two clocks stand: longer, and they drift apart.
const WINDOW: Duration = Duration::from_secs(30);

/// A moment on our clock and on the sender's.
type Pair = (Instant, Duration);

/// What a sender's clock is to ours, but for the time that packets take at least. All its tracks
/// share one, so that sound and picture stay together.
#[derive(Debug, Default)]
pub(super) struct SenderClock {
    /// The quickest packet of the window before, and of the present one.
    before: Option<Pair>,
    present: Option<Pair>,
    window_ends: Option<Instant>,
}

impl SenderClock {
    /// When something was captured that arrived at `received_at`.
    pub(super) fn moment(&mut self, received_at: Instant, captured_at: Duration) -> Instant {
        if self.window_ends.is_none_or(|at| at <= received_at) {
            self.before = self.present.take();
            self.window_ends = Some(received_at + WINDOW);
        }
        let quicker =
            |pair: &Option<Pair>| pair.is_none_or(|pair| place(pair, captured_at) > received_at);
        if quicker(&self.present) {
            self.present = Some((received_at, captured_at));
        }
        if quicker(&self.before) {
            self.before = Some((received_at, captured_at));
        }
        let pair = self.before.unwrap_or((received_at, captured_at));
        place(pair, captured_at)
    }
}

/// Where a moment of the sender's is on our clock.
fn place((ours, theirs): Pair, moment: Duration) -> Instant {
    match moment.checked_sub(theirs) {
        Some(after) => ours + after,
        None => ours.checked_sub(theirs - moment).unwrap_or(ours),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_quickest_packet_counts() {
        #[expect(clippy::disallowed_methods, reason = "an Instant has no other origin")]
        let start = Instant::now();
        let ms = Duration::from_millis;
        let mut clock = SenderClock::default();
        let base = Duration::from_secs(1_000_000);
        assert_eq!(clock.moment(start + ms(80), base), start + ms(80));
        // 60 ms quicker than the first.
        assert_eq!(clock.moment(start + ms(40), base + ms(20)), start + ms(40));
        // Slow again: placed by the quickest.
        assert_eq!(
            clock.moment(start + ms(200), base + ms(100)),
            start + ms(120)
        );
        // A picture captured before the sound that came first.
        assert_eq!(clock.moment(start + ms(210), base + ms(10)), start + ms(30));
    }
}
