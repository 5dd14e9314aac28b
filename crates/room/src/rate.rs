//! A token bucket.

use std::time::Instant;

/// Admits `per_second` on average, and bursts of twice as many.
#[derive(Debug, Clone)]
pub(crate) struct Rate {
    per_second: u32,
    tokens: f64,
    at: Instant,
}

impl Rate {
    pub(crate) fn new(per_second: u32, now: Instant) -> Self {
        Self {
            per_second,
            tokens: 2.0 * f64::from(per_second),
            at: now,
        }
    }

    pub(crate) fn admits(&mut self, now: Instant) -> bool {
        let gained =
            now.saturating_duration_since(self.at).as_secs_f64() * f64::from(self.per_second);
        self.tokens = (self.tokens + gained).min(2.0 * f64::from(self.per_second));
        self.at = self.at.max(now);
        let admitted = self.tokens >= 1.0;
        if admitted {
            self.tokens -= 1.0;
        }
        admitted
    }
}
