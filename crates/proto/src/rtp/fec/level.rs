//! How much protection is worth its bits.
//!
//! What FEC is for is the frame that would come too late otherwise. So the question for each group
//! of packets is: with the loss of late, and the retransmissions that fit into the time there is,
//! how likely is it that one of them is still missing then? FEC packets are added until that is
//! rare enough, or the group would cost too much.

use std::time::Duration;

use super::super::nack;

/// Below this no FEC is sent: what is lost for other reasons than the path's is about as much.
pub(crate) const LOSS_MIN: f64 = 0.005;

/// A frame is to be there so long after it could have been. The ear and the lips agree to it, and
/// a player that waits longer is no longer in a conversation.
const TIME: Duration = Duration::from_millis(150);

/// Groups that may come too late; of key frames, on which all that follows depends, a tenth.
const FAILURE_MAX: f64 = 0.001;
const FAILURE_MAX_KEY: f64 = 0.0001;

/// FEC packets for each packet of a group, at most.
const OVERHEAD_MAX: f64 = 0.5;
const OVERHEAD_MAX_KEY: f64 = 1.0;

/// What is to be protected, over what path.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Need {
    /// Packets of the group.
    pub(crate) packets: usize,
    /// Whether it holds a key frame.
    pub(crate) key_frame: bool,
    /// The part of packets that are lost, 0 to 1.
    pub(crate) loss: f64,
    pub(crate) rtt: Duration,
    /// Whether lost packets are asked for.
    pub(crate) retransmits: bool,
}

impl Need {
    /// FEC packets for the group.
    pub(crate) fn parity_count(&self) -> usize {
        if self.loss < LOSS_MIN || self.packets == 0 {
            return 0;
        }
        let (goal, overhead) = match self.key_frame {
            true => (FAILURE_MAX_KEY, OVERHEAD_MAX_KEY),
            false => (FAILURE_MAX, OVERHEAD_MAX),
        };
        let most = (self.packets as f64 * overhead) as usize;
        (0..most)
            .find(|count| self.failure(*count) <= goal)
            .unwrap_or(most)
    }

    /// Whether the group needs protection, but is too small for a single FEC packet: with the next
    /// frame it may not be.
    pub(crate) fn is_too_small(&self) -> bool {
        let (goal, overhead) = match self.key_frame {
            true => (FAILURE_MAX_KEY, OVERHEAD_MAX_KEY),
            false => (FAILURE_MAX, OVERHEAD_MAX),
        };
        let is_small = self.packets as f64 * overhead < 1.0;
        is_small && self.loss >= LOSS_MIN && self.failure(0) > goal
    }

    /// How likely a packet of the group is still missing when time is up, with so many FEC packets,
    /// each of which protects every `count`th packet.
    fn failure(&self, count: usize) -> f64 {
        let kept = 1.0 - self.loss.clamp(0.0, 1.0);
        let lost_first = match count {
            0 => self.loss,
            // Lost, and so is another one that recovery needs: the FEC packet is one of them.
            _ => self.loss * (1.0 - kept.powi(self.packets.div_ceil(count) as i32)),
        };
        // A request or its answer is lost.
        let unanswered = 1.0 - kept * kept;
        let lost = lost_first * unanswered.powi(self.answers());
        (lost * self.packets as f64).min(1.0)
    }

    /// Retransmissions that come in time.
    fn answers(&self) -> i32 {
        if !self.retransmits {
            return 0;
        }
        answers_in_time(self.rtt)
    }
}

/// Requests for a packet that can be answered before the frame is late.
pub(crate) fn answers_in_time(rtt: Duration) -> i32 {
    let time = TIME - nack::REORDER_WAIT;
    let one = nack::retry_after(rtt).max(rtt);
    let answers = time.as_micros() / one.as_micros().max(1);
    i32::try_from(answers).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn need(loss: f64, rtt_ms: u64) -> Need {
        Need {
            packets: 6,
            key_frame: false,
            loss,
            rtt: Duration::from_millis(rtt_ms),
            retransmits: true,
        }
    }

    #[test]
    fn nothing_is_protected_where_retransmission_is_enough() {
        for (loss, rtt) in [(0.0, 500), (0.004, 500), (0.02, 20), (0.02, 50), (0.05, 20)] {
            assert_eq!(need(loss, rtt).parity_count(), 0, "{loss} {rtt}");
        }
    }

    #[test]
    fn protection_grows_with_loss_and_round_trip_up_to_half() {
        let counts = |rtt| [0.01, 0.03, 0.1, 0.3].map(|loss| need(loss, rtt).parity_count());
        let (near, far) = (counts(60), counts(250));
        assert!(near.is_sorted() && far.is_sorted(), "{near:?} {far:?}");
        assert!(near.iter().zip(&far).all(|(near, far)| near <= far));
        assert_eq!(near[0], 0);
        assert!(far[0] >= 1);
        assert_eq!(far[3], 3);
    }

    #[test]
    fn key_frames_get_more_and_so_does_what_nobody_sends_again() {
        let base = need(0.05, 60);
        let key = Need {
            key_frame: true,
            ..base
        };
        let alone = Need {
            retransmits: false,
            ..base
        };
        assert!(key.parity_count() > base.parity_count());
        assert!(alone.parity_count() > base.parity_count());
        assert_eq!(
            Need {
                packets: 1,
                ..alone
            }
            .parity_count(),
            0,
            "the whole packet again is more than half"
        );
    }
}
