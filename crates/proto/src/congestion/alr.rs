//! Whether the application limits the rate: it sends well below the estimate, which then says
//! little about the path.

use std::time::Instant;

/// The share of the estimate that counts as full use.
const USE: f64 = 0.65;
/// Of the budget that must be left to be limited, and must be used to be so no more.
const START: f64 = 0.8;
const STOP: f64 = 0.5;
/// What can be left over or overdrawn at most, in seconds of the rate.
const WINDOW: f64 = 0.5;

#[derive(Debug, Default)]
pub(super) struct ApplicationLimited {
    /// In bits; negative when overdrawn.
    left: f64,
    rate: f64,
    last_sent: Option<Instant>,
    since: Option<Instant>,
}

impl ApplicationLimited {
    /// Since when the application limits the rate.
    pub(super) fn since(&self) -> Option<Instant> {
        self.since
    }

    /// The estimate in bit/s.
    pub(super) fn set_estimate(&mut self, estimate: f64) {
        self.rate = USE * estimate;
        let most = self.rate * WINDOW;
        self.left = self.left.clamp(-most, most);
    }

    pub(super) fn handle_sent(&mut self, now: Instant, len: usize) {
        let Some(last) = self.last_sent.replace(now) else {
            return;
        };
        let most = self.rate * WINDOW;
        let elapsed = now.saturating_duration_since(last).as_secs_f64();
        self.left = (self.left - len as f64 * 8.0).max(-most);
        self.left = (self.left + self.rate * elapsed).min(most);
        let level = self.left / most.max(1.0);
        match self.since {
            None if level > START => self.since = Some(now),
            Some(_) if level < STOP => self.since = None,
            None | Some(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::congestion::tests::instant;

    fn send(limited: &mut ApplicationLimited, start: Instant, second: u64, len: usize) {
        for step in 0..50 {
            let at = start + Duration::from_millis(second * 1000 + step * 20);
            limited.handle_sent(at, len);
        }
    }

    #[test]
    fn half_of_the_estimate_is_limited_and_nearly_all_is_not() {
        let start = instant();
        let mut limited = ApplicationLimited::default();
        limited.set_estimate(1e6);
        // 2500 bytes in 20 ms are 1 Mbit/s.
        send(&mut limited, start, 0, 2300);
        assert_eq!(limited.since(), None);
        for second in 1..4 {
            send(&mut limited, start, second, 900);
        }
        assert!(limited.since().is_some());
        for second in 4..6 {
            send(&mut limited, start, second, 2300);
        }
        assert_eq!(limited.since(), None);
    }
}
