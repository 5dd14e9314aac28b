//! Checks on their way, so that answers find the peer that asked.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use twocan_wire::stun::TransactionId;

use super::PeerId;

/// Checks on their way; the oldest goes first.
const ASKED_MAX: usize = 16_384;

/// An answer that takes longer than the last retransmission waits (RFC 8489 §6.2.1) is of no use.
const ANSWER_WITHIN: Duration = Duration::from_secs(16);

#[derive(Debug, Default)]
pub(super) struct Asked {
    by_transaction: BTreeMap<[u8; 12], PeerId>,
    in_order: VecDeque<(Instant, [u8; 12])>,
}

impl Asked {
    /// A peer asks.
    pub(super) fn note(&mut self, now: Instant, transaction: TransactionId, peer: PeerId) {
        self.expire(now);
        if self.in_order.len() >= ASKED_MAX {
            self.drop_oldest();
        }
        // Retransmissions have the same transaction.
        if self.by_transaction.insert(transaction.0, peer).is_none() {
            self.in_order.push_back((now, transaction.0));
        }
    }

    /// Who asked; a second answer to the same is for the same peer, which knows what to do.
    pub(super) fn take(&mut self, now: Instant, transaction: TransactionId) -> Option<PeerId> {
        self.expire(now);
        self.by_transaction.get(&transaction.0).copied()
    }

    fn expire(&mut self, now: Instant) {
        while let Some((at, _)) = self.in_order.front() {
            if now.saturating_duration_since(*at) < ANSWER_WITHIN {
                break;
            }
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) {
        if let Some((_, oldest)) = self.in_order.pop_front() {
            self.by_transaction.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_find_who_asked_until_they_are_of_no_use() {
        #[expect(clippy::disallowed_methods, reason = "an Instant has no other origin")]
        let start = Instant::now();
        let transaction = |number: u8| TransactionId([number; 12]);
        let mut asked = Asked::default();
        asked.note(start, transaction(1), PeerId(7));
        asked.note(start + ANSWER_WITHIN / 2, transaction(2), PeerId(8));
        // A retransmission is the same check.
        asked.note(start + ANSWER_WITHIN / 2, transaction(1), PeerId(7));
        assert_eq!(asked.take(start, transaction(1)), Some(PeerId(7)));
        let late = start + ANSWER_WITHIN;
        assert_eq!(asked.take(late, transaction(1)), None);
        assert_eq!(asked.take(late, transaction(2)), Some(PeerId(8)));
        assert_eq!(asked.take(late, transaction(3)), None);
    }
}
