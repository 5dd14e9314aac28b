//! How fast something goes, in one number that threads share without a lock.

use std::sync::atomic::{AtomicU64, Ordering};

/// Nanoseconds of a second.
const SECOND: u64 = 1_000_000_000;

/// Tokens that come back with time: what is used up is kept as the time at which all of it will be
/// back (the generic cell rate algorithm).
#[derive(Debug, Default)]
pub(super) struct Meter(AtomicU64);

/// How long `tokens` take to come back.
const fn takes(tokens: u64, per_second: u64) -> u64 {
    match tokens.saturating_mul(SECOND).checked_div(per_second) {
        Some(nanos) => nanos,
        None => 0,
    }
}

impl Meter {
    /// Whether there are `wanted` tokens at `now`, in nanoseconds, of which `per_second` come back,
    /// `most` at once.
    #[inline]
    pub(super) fn has(&self, now: u64, per_second: u64, most: u64, wanted: u64) -> bool {
        let owed = self.0.load(Ordering::Relaxed).saturating_sub(now);
        owed.saturating_add(takes(wanted, per_second)) <= takes(most, per_second)
    }

    /// Uses tokens up, whether they are there or not.
    #[inline]
    pub(super) fn spend(&self, now: u64, per_second: u64, tokens: u64) {
        let cost = takes(tokens, per_second);
        let mut known = self.0.load(Ordering::Relaxed);
        loop {
            let next = known.max(now).saturating_add(cost);
            match self
                .0
                .compare_exchange_weak(known, next, Ordering::Relaxed, Ordering::Relaxed)
            {
                Ok(_) => return,
                Err(other) => known = other,
            }
        }
    }

    /// Takes tokens where they are there; says whether they were.
    pub(super) fn take(&self, now: u64, per_second: u64, most: u64, wanted: u64) -> bool {
        let has = self.has(now, per_second, most, wanted);
        if has {
            self.spend(now, per_second, wanted);
        }
        has
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_much_passes_as_comes_back_and_a_burst() {
        let meter = Meter::default();
        let begin = 5 * SECOND;
        let mut passed = 0;
        for milli in 0..10_000 {
            let now = begin + milli * SECOND / 1000;
            passed += u64::from(meter.take(now, 100, 25, 1));
        }
        assert_eq!(passed, 25 + 100 * 10 - 1);
        // After a rest there is one burst, however long it was.
        let now = begin + 1000 * SECOND;
        let at_once = (0..1000).filter(|_| meter.take(now, 100, 25, 1)).count();
        assert_eq!(at_once, 25);
    }

    #[test]
    fn what_is_owed_is_paid_before_anything_else_passes() {
        let meter = Meter::default();
        meter.spend(0, 10, 30);
        assert!(!meter.has(2 * SECOND, 10, 5, 1));
        assert!(meter.has(3 * SECOND, 10, 5, 5));
    }

    #[test]
    fn threads_together_get_no_more_than_one() {
        let meter = Meter::default();
        let passed: usize = std::thread::scope(|scope| {
            let all: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| {
                        for _ in 0..1000 {
                            meter.spend(SECOND, 1000, 1);
                        }
                        1000
                    })
                })
                .collect();
            all.into_iter().map(|one| one.join().unwrap()).sum()
        });
        assert_eq!(
            meter.0.load(Ordering::Relaxed),
            SECOND + passed as u64 * SECOND / 1000
        );
    }
}
