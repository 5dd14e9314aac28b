//! Consent to send (RFC 7675), the route in use, the state, and what is due next.

use std::time::{Duration, Instant};

use super::agent::Agent;
use super::check::Purpose;
use super::pair::{Pair, PairId};
use super::{Event, GatheringState, PairState, State};
use crate::time::Deadline;

/// RFC 7675 §5.1: consent lasts 30 s from the last answer.
const CONSENT_LASTS: Duration = Duration::from_secs(30);

/// An agent whose address in use is gone is disconnected for so long, and failed then: another
/// address may come.
pub(super) const MOVE_LASTS: Duration = Duration::from_secs(10);

/// The first pause before a pair that failed is checked anew; from the second check on it doubles
/// each time, up to [`RETRY_AFTER_MAX`].
const RETRY_AFTER: Duration = Duration::from_secs(2);

/// The longest one. The requests of a check take 12.6 s, and a translator lets an answer in for 30 s
/// more at least: with this pause both sides always meet.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(30);

/// Pairs checked anew at a time, those first that were tried least.
const RETRIED_MAX: usize = 16;

/// RFC 7675 §5.1: 5 s, times 0.8 to 1.2.
const CONSENT_CHECK_EVERY_MS: (u32, u32) = (4_000, 6_000);

impl Agent {
    /// Sends the consent check that is due, and ends sending where consent is gone.
    pub(super) fn consent(&mut self, now: Instant) {
        let Some(id) = self.route.and_then(|route| self.pair_on(route)) else {
            return;
        };
        let answered_at = self.pair(id).and_then(|pair| pair.answered_at);
        if answered_at.is_some_and(|at| now.saturating_duration_since(at) >= CONSENT_LASTS) {
            self.counters.count("ice.consent_expired");
            // A lite agent may have others that were nominated once and fell as silent.
            let lite = self.config.lite;
            let is_silent = |pair: &&mut Pair| {
                pair.answered_at
                    .is_some_and(|at| now.saturating_duration_since(at) >= CONSENT_LASTS)
            };
            for pair in self.pairs.iter_mut().filter(is_silent) {
                if pair.id == id || (lite && pair.is_valid()) {
                    pair.state = PairState::Failed;
                    pair.nominated = false;
                }
            }
            if self.selected == Some(id) {
                self.selected = None;
            }
            return;
        }
        if self.consent_check_at.is_some_and(|at| at <= now) {
            self.consent_check_at = Some(now + self.consent_interval());
            self.send_request(now, id, Purpose::Consent);
        }
    }

    /// Brings everything derived up to date after an input.
    pub(super) fn settle(&mut self, now: Instant) {
        self.notice_quiet(now);
        self.resolve_doubt(now);
        self.retry_failed(now);
        self.skip_streams();
        self.unfreeze();
        self.send_checks(now);
        self.consider_nomination(now);
        self.update_gathering();
        self.update_route(now);
        self.say_selected_pair();
        self.update_state(now);
        self.say_selected_pair();
        self.drop_streams();
        self.deadline = self.next_deadline(now);
    }

    /// While a relay or a stream carries the data, better pairs that failed are tried again: much
    /// may have been lost, both sides must try for a translator to let either through, and networks
    /// change. So is a stream that ended and could not be opened again, while that may help.
    fn retry_failed(&mut self, now: Instant) {
        let route = self.route.and_then(|route| self.pair_on(route));
        let rank = route.and_then(|id| Some(self.rank(self.pair(id)?)));
        let is_moving = self.route.is_none() && self.moves_until().is_some_and(|at| now < at);
        let is_retried = |pair: &&Pair| {
            let is_better = rank.is_some_and(|rank| self.rank(pair) > rank);
            let is_missed = is_moving && pair.answered_at.is_some() && self.is_unopened(pair);
            pair.state == PairState::Failed
                && (is_better || is_missed)
                && self.bases[pair.base].is_there
        };
        let retried = self.pairs.iter().filter(is_retried);
        let mut retried: Vec<(u8, PairId)> = retried.map(|own| (own.retries, own.id)).collect();
        // The best come first among those that were tried as often.
        retried.sort_by_key(|(retries, _)| *retries);
        let Some((least, _)) = retried.first() else {
            self.retry_at = None;
            return;
        };
        let doublings = least.saturating_sub(1).min(4);
        let at = now + (RETRY_AFTER * (1 << doublings)).min(RETRY_AFTER_MAX);
        let at = self.retry_at.map_or(at, |known| known.min(at));
        self.retry_at = (at > now).then_some(at);
        if at <= now {
            for (_, id) in retried.into_iter().take(RETRIED_MAX) {
                self.leave_stream(id);
                if let Some(pair) = self.pair_mut(id) {
                    pair.retries = pair.retries.saturating_add(1);
                    pair.state = PairState::Waiting;
                }
            }
        }
    }

    fn consent_interval(&mut self) -> Duration {
        let (least, most) = CONSENT_CHECK_EVERY_MS;
        Duration::from_millis(u64::from(least + self.random.below(most - least + 1)))
    }

    fn update_route(&mut self, now: Instant) {
        let selected = self
            .selected
            .and_then(|id| self.pair(id))
            .map(|pair| pair.route);
        let current = self.route.filter(|route| {
            self.pairs
                .iter()
                .any(|pair| pair.route == *route && pair.is_valid())
        });
        let best = self
            .pairs
            .iter()
            .find(|pair| pair.is_valid())
            .map(|pair| pair.route);
        // While a restart has no valid pair yet, the route from before it stands.
        let restarting = self.first_valid_at.is_none() && self.state != State::Failed;
        let kept = self.route.filter(|_| restarting);
        let valid = selected.or(current).or(best);
        // Also where a restart leads to the same addresses: each generation has its own consent.
        if valid.is_some() && self.consent_check_at.is_none() {
            self.consent_check_at = Some(now + self.consent_interval());
            self.local_previous = None;
            self.names_changes += 1;
        }
        let route = valid.or(kept);
        if route == self.route {
            return;
        }
        self.route = route;
        if route.is_some() {
            self.consent_check_at = Some(now + self.consent_interval());
            self.local_previous = None;
            self.names_changes += 1;
            self.heard_at = self.heard_at.max(Some(now));
            self.hearing.routed_at = Some(now);
        }
    }

    fn update_state(&mut self, now: Instant) {
        let valid = self.pairs.iter().any(|pair| pair.is_valid());
        let pending = !self.config.lite && self.pairs.iter().any(|pair| pair.is_pending());
        if valid {
            self.lost_at = None;
        }
        let silent = self.silent_at().is_some_and(|at| at <= now);
        let late = self.fails_at().is_some_and(|at| at <= now);
        let state = if self.remote.is_none() {
            State::New
        } else if valid && silent {
            State::Disconnected
        } else if valid
            && self.selected.is_some()
            && !pending
            && self.remote_end_of_candidates
            && self.gathering == GatheringState::Complete
        {
            State::Completed
        } else if valid {
            State::Connected
        } else if self.moves_until().is_some_and(|until| now < until) {
            State::Disconnected
        } else if late || (self.first_valid_at.is_some() && !pending) {
            State::Failed
        } else if self.route.is_some() && self.state != State::Checking {
            // A restart in the middle of a call.
            self.state
        } else {
            State::Checking
        };
        if state == State::Failed {
            self.route = None;
        }
        if state != self.state {
            self.state = state;
            self.events.push_back(Event::State(state));
        }
    }

    /// Until when another address is awaited.
    fn moves_until(&self) -> Option<Instant> {
        let failed = self.state == State::Failed;
        self.lost_at.filter(|_| !failed).map(|at| at + MOVE_LASTS)
    }

    /// When the route counts as silent.
    fn silent_at(&self) -> Option<Instant> {
        let pair = self
            .route
            .and_then(|route| self.pair_on(route))
            .and_then(|id| self.pair(id))?;
        let heard = pair.heard_at.max(pair.answered_at).max(self.heard_at)?;
        Some(heard + self.config.disconnected_after)
    }

    /// When an agent without any valid pair gives up.
    fn fails_at(&self) -> Option<Instant> {
        let valid = self.first_valid_at.is_some();
        self.first_check_at
            .filter(|_| !valid)
            .map(|at| at + self.config.patience)
    }

    fn next_deadline(&self, now: Instant) -> Option<Deadline> {
        let request = self
            .transactions
            .values()
            .filter_map(|transaction| transaction.due_at)
            .min();
        let expiry = self
            .route
            .and_then(|route| self.pair_on(route))
            .and_then(|id| self.pair(id)?.answered_at)
            .map(|at| at + CONSENT_LASTS);
        // A state already entered is no reason to wake again.
        let silent = self
            .silent_at()
            .filter(|_| self.state != State::Disconnected);
        let fails = self.fails_at().filter(|_| self.state != State::Failed);
        [
            (self.next_check_at(now), "ice.check"),
            (request, "ice.retransmit"),
            (self.nomination_at(), "ice.nominate"),
            (
                self.consent_check_at.filter(|_| self.route.is_some()),
                "ice.consent_check",
            ),
            (expiry, "ice.consent_expiry"),
            (self.retry_at, "ice.retry"),
            (self.doubt_at(), "ice.doubt"),
            (self.quiet_at(), "ice.quiet"),
            // Past it, other pairs may still be checked.
            (self.moves_until().filter(|at| *at > now), "ice.move"),
            (silent, "ice.silence"),
            (fails, "ice.patience"),
        ]
        .into_iter()
        .filter_map(|(at, reason)| Some(Deadline::new(at?, reason)))
        .min_by_key(|deadline| deadline.at)
    }
}
