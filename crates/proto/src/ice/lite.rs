//! A lite agent of our own (RFC 8445 §2.5): the peer checks, and we answer.

use super::agent::Agent;
use super::pair::PairId;
use super::request::EarlyCheck;
use super::{PairState, Role};

impl Agent {
    /// Takes a check of the peer's on a pair (RFC 8445 §7.3.2): one that nominates makes it valid.
    ///
    /// A lite agent asks nobody for consent (RFC 7675 §4), so the peer's own checks, which it goes on
    /// with for as long as it wants to be sent to, stand for the answers.
    pub(super) fn take_check_as_lite(&mut self, id: PairId, check: EarlyCheck) {
        let Some(pair) = self.pair_mut(id) else {
            return;
        };
        pair.answered_at = Some(check.at);
        if check.use_candidate {
            pair.state = PairState::Succeeded;
            pair.nominated = true;
            self.first_valid_at.get_or_insert(check.at);
            self.select(check.at);
        }
    }

    /// Whether the role is not the peer's to change: who sends no checks can only follow.
    pub(super) fn keeps_role(&self) -> bool {
        self.config.lite && self.role == Role::Controlled
    }
}
