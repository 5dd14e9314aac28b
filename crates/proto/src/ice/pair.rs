//! Candidate pairs (RFC 8445 §6.1.2).

use std::time::{Duration, Instant};

use super::Route;

/// Names a pair for as long as it lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct PairId(pub(super) u32);

/// RFC 8445 §6.1.2.6.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PairState {
    /// Waits for another pair of the same foundation.
    Frozen,
    /// To be checked when its turn comes.
    Waiting,
    /// A check is under way.
    InProgress,
    /// A check succeeded: data can be sent.
    Succeeded,
    /// A check failed.
    Failed,
}

/// One local base and one remote candidate.
#[derive(Debug, Clone)]
pub(super) struct Pair {
    pub(super) id: PairId,
    /// Index of the local base in the agent's list.
    pub(super) base: usize,
    /// Index in the agent's list of remote candidates.
    pub(super) remote: usize,
    pub(super) route: Route,
    pub(super) priority: u64,
    pub(super) state: PairState,
    /// The controlling side chose it, and it is valid.
    pub(super) nominated: bool,
    /// The controlling side chose it before it was valid here (RFC 8445 §7.3.1.5).
    pub(super) nominate_on_success: bool,
    /// Times it was tried again after it failed, because a relay carries the data.
    pub(super) retries: u8,
    /// Something authentic arrived on it last.
    pub(super) heard_at: Option<Instant>,
    /// The last answer to one of our checks.
    pub(super) answered_at: Option<Instant>,
    pub(super) stats: PairStats,
}

/// Counts of one pair, as in `RTCIceCandidatePairStats`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PairStats {
    /// Checks sent, retransmissions and consent included.
    pub requests_sent: u64,
    /// Checks received.
    pub requests_received: u64,
    /// Answers sent.
    pub responses_sent: u64,
    /// Answers received.
    pub responses_received: u64,
    /// Of the last answer.
    pub current_round_trip_time: Option<Duration>,
    /// Sum over all answers.
    pub total_round_trip_time: Duration,
}

impl Pair {
    pub(super) fn is_valid(&self) -> bool {
        self.state == PairState::Succeeded
    }

    /// Whether its first check is still to come or under way.
    pub(super) fn is_pending(&self) -> bool {
        let open = [PairState::Frozen, PairState::Waiting, PairState::InProgress];
        open.contains(&self.state) && self.retries == 0
    }
}
