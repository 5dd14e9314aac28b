//! When a certificate is renewed, and when what failed is tried again.

use std::time::{Duration, SystemTime};

/// A CA that cannot be reached, or has trouble of its own, is asked again after this; each further
/// time after twice as long.
const UNREACHED_FIRST: Duration = Duration::from_secs(60);

/// The longest of those.
const UNREACHED_MOST: Duration = Duration::from_secs(60 * 60);

/// After a refusal: four an hour, where Let's Encrypt allows five failed validations of a name;
/// each further time after twice as long.
const REFUSED_FIRST: Duration = Duration::from_secs(15 * 60);

/// The longest of those.
const REFUSED_MOST: Duration = Duration::from_secs(6 * 60 * 60);

/// The longest that a CA can have us wait, by `Retry-After`: limits of Let's Encrypt are of a week.
const TOLD_MOST: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// How an attempt ended without a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    /// Nothing was counted against us.
    Unreached,
    /// The CA said no, or could not see what it asked for.
    Refused,
}

/// When to renew: when a third of the lifetime is left, as Let's Encrypt advises, whether
/// certificates live for 90 days or for six.
pub(super) fn renew_at(from: SystemTime, until: SystemTime) -> SystemTime {
    let life = until.duration_since(from).unwrap_or_default();
    from + life / 3 * 2
}

/// How long to wait after so many failures in a row, the first being 1; `told` is the CA's
/// `Retry-After`.
pub(super) fn pause(failure: Failure, in_a_row: u32, told: Option<Duration>) -> Duration {
    let (first, most) = match failure {
        Failure::Unreached => (UNREACHED_FIRST, UNREACHED_MOST),
        Failure::Refused => (REFUSED_FIRST, REFUSED_MOST),
    };
    let doublings = in_a_row.saturating_sub(1).min(16);
    let own = first.saturating_mul(1 << doublings).min(most);
    own.max(told.unwrap_or_default().min(TOLD_MOST))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_third_of_the_lifetime_is_left_for_trying() {
        let day = Duration::from_secs(24 * 60 * 60);
        let from = SystemTime::UNIX_EPOCH + day * 20_000;
        assert_eq!(renew_at(from, from + day * 90), from + day * 60);
        assert_eq!(renew_at(from, from + day * 6), from + day * 4);
        // Nonsense is renewed at once.
        assert_eq!(renew_at(from, from - day), from);
    }

    #[test]
    fn pauses_double_and_keep_within_what_authorities_allow() {
        let minutes = |failure, in_a_row| pause(failure, in_a_row, None).as_secs() / 60;
        let each = |failure| [1, 2, 3, 7, u32::MAX].map(|n| minutes(failure, n));
        assert_eq!(each(Failure::Unreached), [1, 2, 4, 60, 60]);
        assert_eq!(each(Failure::Refused), [15, 30, 60, 360, 360]);
        let refusals_in_an_hour = 60 / minutes(Failure::Refused, 1);
        assert!(refusals_in_an_hour < 5);
        let told = |seconds| {
            let told = Some(Duration::from_secs(seconds));
            pause(Failure::Refused, 1, told).as_secs()
        };
        assert_eq!(told(1), 900);
        assert_eq!(told(86_400), 86_400);
        assert_eq!(told(u64::MAX), 7 * 86_400);
    }
}
