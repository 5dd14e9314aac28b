//! Which kept packets are to be sent again, and which of them once more after that.
//!
//! Over a long way there is time for one answer to a request before the picture is late. Where
//! answers are lost as packets are, that one is sent twice: it costs the part of the rate that is
//! lost, and what fails is the loss squared. The second travels apart from the first, so that a
//! burst of losses does not take both.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use twocan_wire::seq::SeqNo16;

use super::fec::level;

/// Retransmissions that may wait; more requests are ignored, they will be repeated.
const RESEND_MAX: usize = 512;

/// Where the answer to a request comes in time less often than this lets it, it is sent twice.
const UNANSWERED_MAX: f64 = 0.01;

/// Between the two: so many packets of the stream, where the end of a frame counts for some.
const APART: u64 = 6;
const FRAME_END: u64 = 5;

/// What did not go a second time by then would come too late.
const AGE_MAX: Duration = Duration::from_millis(100);

#[derive(Debug, Default)]
pub(super) struct Resend {
    due: VecDeque<SeqNo16>,
    /// Once more, from that place of the stream on, and when it was asked for.
    once_more: VecDeque<(u64, SeqNo16, Instant)>,
    place: u64,
}

impl Resend {
    /// Whether requests are answered twice on such a path.
    pub(super) fn is_doubled(loss: f64, rtt: Duration) -> bool {
        loss.powi(level::answers_in_time(rtt).max(1)) > UNANSWERED_MAX
    }

    /// Whether no more fits.
    pub(super) fn is_full(&self) -> bool {
        self.due.len() >= RESEND_MAX
    }

    /// Whether something is to be sent now.
    pub(super) fn is_due(&self) -> bool {
        !self.due.is_empty()
    }

    /// Adds a packet, which is sent now and, where `doubled`, a little later. One that waits already
    /// is in the same place as before: where the rate is low it is asked for again before it leaves.
    pub(super) fn push(&mut self, now: Instant, sequence: SeqNo16, doubled: bool) {
        if self.due.contains(&sequence) {
            return;
        }
        self.due.push_back(sequence);
        let is_copied = self.once_more.iter().any(|(_, own, _)| *own == sequence);
        if doubled && !is_copied && self.once_more.len() < RESEND_MAX {
            let place = self.place + APART;
            self.once_more.push_back((place, sequence, now));
        }
    }

    /// The next to be sent again.
    pub(super) fn pop(&mut self) -> Option<SeqNo16> {
        self.due.pop_front()
    }

    /// A packet of the stream was sent: what is far enough from the first time is due, or left out
    /// where requests may soon take all that is kept free for them.
    pub(super) fn handle_sent(&mut self, now: Instant, ends_frame: bool, has_budget: bool) {
        self.place += 1 + u64::from(ends_frame) * FRAME_END;
        let place = self.place;
        while let Some((_, sequence, at)) = self.once_more.pop_front_if(|(own, ..)| *own <= place) {
            let in_time = now.saturating_duration_since(at) <= AGE_MAX;
            if in_time && has_budget && !self.is_full() && !self.due.contains(&sequence) {
                self.due.push_back(sequence);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtp::tests::instant;

    #[test]
    fn answers_are_doubled_on_lossy_ways_with_time_for_one() {
        for (loss, rtt, doubled) in [
            (0.0, 400, false),
            (0.01, 100, false),
            (0.05, 30, false),
            (0.05, 100, true),
            (0.08, 50, false),
            (0.2, 30, false),
            (0.3, 50, true),
            (1.0, 400, true),
        ] {
            let rtt = Duration::from_millis(rtt);
            assert_eq!(Resend::is_doubled(loss, rtt), doubled, "{loss} {rtt:?}");
        }
    }

    #[test]
    fn the_second_follows_apart_unless_there_is_no_budget() {
        for (has_budget, expected) in [(true, vec![0, APART]), (false, vec![0])] {
            let mut resend = Resend::default();
            resend.push(instant(), SeqNo16(7), true);
            let mut at = Vec::new();
            for sent in 0..50 {
                while let Some(sequence) = resend.pop() {
                    assert_eq!(sequence, SeqNo16(7));
                    at.push(sent);
                }
                resend.handle_sent(instant(), false, has_budget);
            }
            assert_eq!(at, expected);
            assert!(resend.once_more.is_empty());
        }
    }

    #[test]
    fn what_was_asked_for_long_ago_does_not_go_again() {
        let mut resend = Resend::default();
        resend.push(instant(), SeqNo16(7), true);
        assert_eq!(resend.pop(), Some(SeqNo16(7)));
        for _ in 0..APART {
            let late = instant() + Duration::from_secs(1);
            resend.handle_sent(late, true, true);
        }
        assert!(!resend.is_due() && resend.once_more.is_empty());
    }

    #[test]
    fn what_waits_is_not_queued_again() {
        let mut resend = Resend::default();
        for _ in 0..3 {
            resend.push(instant(), SeqNo16(7), true);
        }
        assert_eq!((resend.pop(), resend.pop()), (Some(SeqNo16(7)), None));
        (0..APART).for_each(|_| resend.handle_sent(instant(), false, true));
        assert_eq!((resend.pop(), resend.pop()), (Some(SeqNo16(7)), None));
    }

    #[test]
    fn the_end_of_a_frame_is_further_than_a_packet() {
        let mut resend = Resend::default();
        resend.push(instant(), SeqNo16(7), true);
        assert_eq!(resend.pop(), Some(SeqNo16(7)));
        resend.handle_sent(instant(), false, true);
        assert!(!resend.is_due());
        resend.handle_sent(instant(), true, true);
        assert!(resend.is_due());
    }
}
