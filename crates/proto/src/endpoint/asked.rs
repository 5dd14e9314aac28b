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
