//! How long a packet that is missing is waited for.

use std::time::Duration;

use super::nack;

/// How long video waits for retransmissions, as far as one round trip fits into it: less than a
/// viewer forgives.
const VIDEO_WAIT: Duration = Duration::from_millis(600);

/// How long a gap is waited for at most that no later frame depends on.
const SKIP_WAIT_MAX: Duration = Duration::from_millis(100);

/// How long anything waits that nobody will retransmit: reordering alone.
const REORDER_WAIT: Duration = Duration::from_millis(60);

/// Beyond the round trip a retransmission may take so long, and a quarter of the round trip.
const ANSWER_SLACK: Duration = Duration::from_millis(10);

/// A longer round trip is not waited for.
const RTT_MAX: Duration = Duration::from_secs(2);

/// How long to wait for what is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Patience {
    /// For what no later frame depends on.
    pub(super) skip: Duration,
    /// For anything.
    pub(super) lost: Duration,
}

impl Patience {
    /// As many requests as fit into [`VIDEO_WAIT`], but at least one, and the answer to the last.
    pub(super) fn new(is_retransmitted: bool, rtt: Duration) -> Self {
        if !is_retransmitted {
            return Self {
                skip: REORDER_WAIT,
                lost: REORDER_WAIT,
            };
        }
        let rtt = rtt.min(RTT_MAX);
        let retry = nack::retry_after(rtt);
        let asked = (VIDEO_WAIT - nack::REORDER_WAIT).as_micros() / retry.as_micros().max(1);
        let retries = (asked as u32).clamp(1, nack::ASKED_MAX) - 1;
        let answer = nack::REORDER_WAIT + rtt + rtt / 4 + ANSWER_SLACK;
        Self {
            skip: answer.min(SKIP_WAIT_MAX),
            lost: answer + retry * retries,
        }
    }

    /// The same where the sender wants nothing to be played later than `delay_max`. Out of order is
    /// not lost. What later frames need is waited for all the same: a key frame takes longer.
    pub(super) fn within(self, delay_max: Option<Duration>) -> Self {
        let most = delay_max.map(|most| most.max(nack::REORDER_WAIT));
        Self {
            skip: most.map_or(self.skip, |most| self.skip.min(most)),
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sender_that_wants_no_delay_shortens_the_wait_for_what_nobody_needs_alone() {
        let ms = Duration::from_millis;
        let own = Patience::new(true, ms(50));
        assert_eq!(own.skip, ms(77) + Duration::from_micros(500));
        assert_eq!(own.within(None), own);
        assert_eq!(own.within(Some(ms(500))), own);
        let short = own.within(Some(ms(40)));
        assert_eq!((short.skip, short.lost), (ms(40), own.lost));
        assert_eq!(own.within(Some(ms(0))).skip, nack::REORDER_WAIT);
    }
}
