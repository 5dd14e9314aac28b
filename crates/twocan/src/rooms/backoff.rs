//! How long to wait before connecting again.

use std::time::Duration;

use twocan_proto::random::Random;

/// Before the second attempt; the first is made at once.
const FIRST: Duration = Duration::from_millis(250);

/// The longest wait: someone who gets the network back should not wait for a minute.
const LONGEST: Duration = Duration::from_secs(8);

/// The wait before attempt number `attempt`, from 0: doubled each time, with jitter over the upper
/// half, so that not everyone comes back in the same instant.
pub(super) fn backoff(attempt: u32, random: &mut Random) -> Duration {
    let Some(doublings) = attempt.checked_sub(1) else {
        return Duration::ZERO;
    };
    let ceiling = FIRST
        .saturating_mul(1_u32.checked_shl(doublings).unwrap_or(u32::MAX))
        .min(LONGEST);
    let half = ceiling / 2;
    half + half * (random.u32() >> 16) / (1 << 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_limit_and_keep_to_the_upper_half() {
        let mut random = Random::new([3; 32]);
        assert_eq!(backoff(0, &mut random), Duration::ZERO);
        for (attempt, ceiling) in [
            (1, 250),
            (2, 500),
            (5, 4000),
            (6, 8000),
            (40, 8000),
            (u32::MAX, 8000),
        ] {
            let wait = backoff(attempt, &mut random).as_millis();
            assert!((ceiling / 2..=ceiling).contains(&wait), "{attempt}: {wait}");
        }
    }
}
