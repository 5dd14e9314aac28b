//! The two clocks that a machine is told of.

use std::time::{Duration, Instant};

/// A moment, on both clocks at once.
///
/// `monotonic` is for decisions (timers, round-trip times); `wallclock` is for what leaves the
/// machine as a date (NTP time in sender reports, certificate and credential expiry). A jump of
/// the wallclock never fires or delays a timer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Never goes backwards.
    pub monotonic: Instant,
    /// Time since 1970-01-01 00:00 UTC; may jump either way.
    pub wallclock: Duration,
}

impl Now {
    /// The same wallclock offset at another monotonic instant.
    #[must_use]
    pub fn at(self, monotonic: Instant) -> Self {
        let ahead = monotonic.saturating_duration_since(self.monotonic);
        let behind = self.monotonic.saturating_duration_since(monotonic);
        Self {
            monotonic,
            wallclock: (self.wallclock + ahead).saturating_sub(behind),
        }
    }

    /// The moment so long before this one.
    #[must_use]
    pub fn earlier(self, by: Duration) -> Self {
        self.monotonic
            .checked_sub(by)
            .map_or(self, |monotonic| self.at(monotonic))
    }
}

/// A deadline and why it exists. `None` in an `Option` of it means that nothing is scheduled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadline {
    /// When to call `handle_timeout`.
    pub at: Instant,
    /// What is due then.
    pub reason: &'static str,
}

impl Deadline {
    /// A deadline at `at` because of `reason`.
    pub const fn new(at: Instant, reason: &'static str) -> Self {
        Self { at, reason }
    }

    /// The earlier of two optional deadlines; the first wins a tie.
    #[must_use]
    pub fn earlier(a: Option<Self>, b: Option<Self>) -> Option<Self> {
        match (a, b) {
            (Some(a), Some(b)) => Some(if b.at < a.at { b } else { a }),
            (a, b) => a.or(b),
        }
    }
}
