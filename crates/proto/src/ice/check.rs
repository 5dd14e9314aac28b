//! Checks that we send: pacing, retransmission, answers, nomination (RFC 8445 §6.1.4, §7.2, §8.1).

use std::time::{Duration, Instant};

use twocan_wire::stun::{Attribute, Builder, Class, Message, Method, TransactionId};

use super::agent::Agent;
use super::candidate::priority;
use super::pair::PairId;
use super::{Candidate, Kind, PairState, Role, Route};
use crate::contract::Path;

/// How long an agent that could nominate waits for a better pair: four round trips of the best
/// one so far and a little, within these bounds. Data flows meanwhile; a peer that waits for the
/// nomination (Firefox) should not wait long.
const NOMINATION_PATIENCE: (Duration, Duration) =
    (Duration::from_millis(20), Duration::from_millis(300));

/// A check that was answered by a role conflict is sent again at once; a peer that answers so
/// for ever is not followed further than this.
const ROLE_SWITCHES_MAX: u32 = 8;

/// Requests of a check, in 1.4 s, on a stream from before a restart: it may be dead, and another is
/// opened for the price of two round trips.
const ATTEMPTS_ON_OLDER_STREAM: u32 = 3;

/// Addresses of ours that only peers see, for each local one; the oldest is forgotten. They are shown,
/// and nothing else is done with them.
const LEARNED_MAX: usize = 2;

/// Why a request was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Is the pair valid?
    Check,
    /// The same, and it is to be the selected one.
    Nominate,
    /// Does the peer still agree? (RFC 7675; never retransmitted)
    Consent,
    /// What is our address?
    Gather {
        /// Index of the asking base.
        base: usize,
        /// It was asked before: silence is no news.
        anew: bool,
    },
}

/// A request under way.
#[derive(Debug, Clone)]
pub(super) struct Transaction {
    pub(super) pair: Option<PairId>,
    pub(super) purpose: Purpose,
    pub(super) route: Route,
    role: Role,
    bytes: Vec<u8>,
    attempts: u32,
    sent_at: Option<Instant>,
    wait: Duration,
    /// When to send again, or to give up.
    pub(super) due_at: Option<Instant>,
}

impl Transaction {
    pub(super) fn new(
        pair: Option<PairId>,
        purpose: Purpose,
        route: Route,
        role: Role,
        bytes: Vec<u8>,
    ) -> Self {
        let wait = Duration::ZERO;
        Self {
            pair,
            purpose,
            route,
            role,
            bytes,
            attempts: 0,
            sent_at: None,
            wait,
            due_at: None,
        }
    }
}

impl Agent {
    /// Acts on whatever time has brought.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.retransmit(now);
        self.consent(now);
        self.settle(now);
    }

    pub(super) fn transaction_id(&mut self) -> TransactionId {
        let mut id = [0; 12];
        self.random.fill(&mut id);
        TransactionId(id)
    }

    /// Sends a request for the first time and remembers it.
    pub(super) fn begin(&mut self, now: Instant, id: TransactionId, mut transaction: Transaction) {
        transaction.wait = match transaction.purpose {
            Purpose::Consent => self.config.disconnected_after,
            Purpose::Check | Purpose::Nominate | Purpose::Gather { .. } => {
                self.config.retransmit_after
            }
        };
        transaction.attempts = 1;
        transaction.sent_at = Some(now);
        transaction.due_at = Some(now + transaction.wait);
        self.queue(transaction.route, transaction.bytes.clone());
        self.transactions.insert(id, Box::new(transaction));
    }

    pub(super) fn send_request(&mut self, now: Instant, id: PairId, purpose: Purpose) {
        let (Some(remote), Some(pair)) = (&self.remote, self.pair(id)) else {
            return;
        };
        if self.config.lite {
            return;
        }
        let (route, nomination) = (pair.route, pair.nomination);
        let username = format!(
            "{}:{}",
            remote.username_fragment, self.local.username_fragment
        );
        let key = remote.key.clone();
        let base = &self.bases[pair.base];
        let (tcp, preference) = (base.tcp, base.local_preference);
        let transaction = self.transaction_id();
        let mut bytes = Vec::with_capacity(128);
        let mut builder = Builder::new(&mut bytes, Class::Request, Method::BINDING, transaction);
        builder.attribute(Attribute::Username(&username));
        builder.attribute(Attribute::Priority(priority(
            Kind::PeerReflexive,
            tcp,
            preference,
        )));
        builder.attribute(match self.role {
            Role::Controlling => Attribute::IceControlling(self.tie_breaker),
            Role::Controlled => Attribute::IceControlled(self.tie_breaker),
        });
        let selected = self.selected == Some(id) && self.role == Role::Controlling;
        if purpose == Purpose::Nominate || selected {
            builder.attribute(Attribute::UseCandidate);
            if nomination > 0 {
                builder.attribute(Attribute::Nomination(nomination));
            }
        }
        builder.finish_with_integrity(|parts| key.sign(parts));
        if let Some(pair) = self.pair_mut(id) {
            pair.stats.requests_sent += 1;
            pair.stats.consent_requests_sent += u64::from(purpose == Purpose::Consent);
        }
        let request = Transaction::new(Some(id), purpose, route, self.role, bytes);
        self.begin(now, transaction, request);
    }

    /// One of our requests was answered.
    pub(super) fn handle_response(
        &mut self,
        now: Instant,
        path: Path,
        remote: std::net::SocketAddr,
        message: &Message<'_>,
    ) {
        let Some(transaction) = self.transactions.get(&message.transaction) else {
            return self.counters.count("ice.response_without_request");
        };
        // RFC 8445 §7.2.5.2.1: the answer must come back the way the request went.
        if transaction.route != (Route { path, remote }) {
            return self.counters.count("ice.response_from_elsewhere");
        }
        if transaction.pair.is_some() {
            let verified = self.remote.as_ref().zip(message.integrity()).is_some_and(
                |(credentials, integrity)| {
                    let parts = [&integrity.header[..], integrity.attributes];
                    credentials.key.verify(&parts, integrity.mac).is_ok()
                },
            );
            if !verified {
                return self.counters.count("ice.response_bad_integrity");
            }
        }
        let Some(transaction) = self.transactions.remove(&message.transaction) else {
            return;
        };
        match (transaction.purpose, message.class) {
            (Purpose::Gather { base, .. }, Class::Success) => self.gathered(base, remote, message),
            (Purpose::Gather { anew: true, .. }, _) => {}
            (Purpose::Gather { .. }, _) => self.gather_refused(&transaction, message),
            (_, Class::Success) => self.check_succeeded(now, &transaction, message),
            (purpose, _) => self.check_refused(purpose, &transaction, message),
        }
    }

    fn check_succeeded(&mut self, now: Instant, transaction: &Transaction, message: &Message<'_>) {
        let first_attempt = transaction.attempts == 1;
        let round_trip = transaction
            .sent_at
            .filter(|_| first_attempt)
            .map(|sent_at| now.saturating_duration_since(sent_at));
        self.prove(transaction.route);
        let Some(pair) = transaction.pair.and_then(|id| self.pair_mut(id)) else {
            return;
        };
        pair.state = PairState::Succeeded;
        pair.retries = 0;
        pair.heard_at = Some(now);
        pair.answered_at = Some(now);
        pair.seen_as = message.mapped_address();
        pair.stats.responses_received += 1;
        if let Some(round_trip) = round_trip {
            pair.stats.current_round_trip_time = Some(round_trip);
            pair.stats.total_round_trip_time += round_trip;
        }
        let (id, base) = (pair.id, pair.base);
        let nominated = pair.nominate_on_success || transaction.purpose == Purpose::Nominate;
        if std::mem::take(&mut pair.nominate_on_success) || nominated {
            pair.nominated = true;
        }
        if self.nominating == Some(id) && nominated {
            self.nominating = None;
        }
        self.first_valid_at.get_or_insert(now);
        self.learn_local(base, message);
        self.triggered.retain(|triggered| *triggered != id);
        self.select(now);
    }

    /// An address of ours that only the peer can see becomes a peer-reflexive candidate
    /// (RFC 8445 §7.2.5.3.1).
    fn learn_local(&mut self, base: usize, message: &Message<'_>) {
        let Some(address) = message.mapped_address() else {
            return;
        };
        let base = &self.bases[base];
        let is_tcp = base.tcp.is_some();
        if self.locals.iter().any(|own| own.is_at(address, is_tcp)) {
            return;
        }
        let local = base.path.local;
        let is_learned =
            |own: &Candidate| own.kind == Kind::PeerReflexive && own.related == Some(local);
        if self.locals.iter().filter(|own| is_learned(own)).count() >= LEARNED_MAX
            && let Some(oldest) = self.locals.iter().position(is_learned)
        {
            self.locals.remove(oldest);
        }
        let candidate = Candidate {
            kind: Kind::PeerReflexive,
            address,
            tcp: base.tcp,
            related: Some(local),
            priority: priority(Kind::PeerReflexive, base.tcp, base.local_preference),
            foundation: format!("p{}", base.foundation),
            server: None,
        };
        self.add_local(candidate);
    }

    fn check_refused(
        &mut self,
        purpose: Purpose,
        transaction: &Transaction,
        message: &Message<'_>,
    ) {
        let code = message.error_code();
        let Some(id) = transaction.pair else { return };
        if code == Some(487) {
            // RFC 8445 §7.2.5.1: we switch if we still hold the role that the request claimed.
            self.counters.count("ice.role_conflict");
            self.role_switches += 1;
            if self.role_switches > ROLE_SWITCHES_MAX {
                return;
            }
            if self.role == transaction.role {
                self.tie_breaker = self.random.u64();
                self.change_role(match transaction.role {
                    Role::Controlling => Role::Controlled,
                    Role::Controlled => Role::Controlling,
                });
            }
            self.trigger(id);
            return;
        }
        self.counters.count("ice.check_refused");
        if purpose != Purpose::Consent {
            self.fail(id);
        }
    }

    /// Queues a check of a pair ahead of the ordinary ones (RFC 8445 §6.1.4.1).
    pub(super) fn trigger(&mut self, id: PairId) {
        if let Some(pair) = self.pair_mut(id)
            && !pair.is_valid()
        {
            pair.state = PairState::Waiting;
            if !self.triggered.contains(&id) {
                self.triggered.push_back(id);
            }
        }
    }

    pub(super) fn fail(&mut self, id: PairId) {
        if let Some(pair) = self.pair_mut(id) {
            pair.state = PairState::Failed;
            pair.nominated = false;
        }
        if self.nominating == Some(id) {
            self.nominating = None;
        }
        if self.selected == Some(id) {
            self.selected = None;
        }
    }

    /// Sends requests again whose answer is late, and gives up on those sent often enough.
    fn retransmit(&mut self, now: Instant) {
        let due: Vec<TransactionId> = self
            .transactions
            .iter()
            .filter(|(_, transaction)| transaction.due_at.is_some_and(|due| due <= now))
            .map(|(id, _)| *id)
            .collect();
        for id in due {
            let Some(transaction) = self.transactions.get(&id) else {
                continue;
            };
            let attempts_max = match self.is_older_stream(transaction.route.path) {
                true => ATTEMPTS_ON_OLDER_STREAM,
                false => self.config.attempts_max,
            };
            let Some(transaction) = self.transactions.get_mut(&id) else {
                continue;
            };
            let pair = transaction.pair;
            let (purpose, route) = (transaction.purpose, transaction.route);
            if purpose != Purpose::Consent && transaction.attempts < attempts_max {
                transaction.attempts += 1;
                transaction.wait *= 2;
                transaction.due_at = Some(now + transaction.wait);
                let bytes = transaction.bytes.clone();
                self.queue(route, bytes);
                if let Some(pair) = pair.and_then(|id| self.pair_mut(id)) {
                    pair.stats.requests_sent += 1;
                }
                continue;
            }
            self.transactions.remove(&id);
            match (purpose, pair) {
                (Purpose::Check, Some(pair)) => {
                    // A later check of the same pair may have succeeded meanwhile.
                    if self.pair(pair).is_some_and(|pair| !pair.is_valid()) {
                        self.fail(pair);
                        self.give_up_stream(pair);
                    }
                }
                // The pair was valid: nominate again, for as long as consent lasts.
                (Purpose::Nominate, Some(_)) => self.nominating = None,
                (Purpose::Gather { anew: false, .. }, _) => self.gather_unanswered(route),
                (Purpose::Gather { anew: true, .. } | Purpose::Consent, _)
                | (Purpose::Check | Purpose::Nominate, None) => {}
            }
        }
    }

    /// Sends the next check if `Ta` has passed since the last one.
    pub(super) fn send_checks(&mut self, now: Instant) {
        if self.remote.is_none() || self.next_check_at(now).is_none_or(|at| now < at) {
            return;
        }
        let triggered = std::iter::from_fn(|| self.triggered.pop_front()).find(|id| {
            self.pairs
                .iter()
                .any(|pair| pair.id == *id && pair.state == PairState::Waiting)
        });
        let ordinary = || {
            let mut waiting = self.pairs.iter();
            let next =
                waiting.find(|own| own.state == PairState::Waiting && !self.is_held(now, own));
            next.map(|pair| pair.id)
        };
        let Some(id) = triggered.or_else(ordinary) else {
            return;
        };
        if let Some(pair) = self.pair_mut(id) {
            pair.state = PairState::InProgress;
        }
        self.last_check_at = Some(now);
        if !self.wants_stream(id) {
            self.send_request(now, id, Purpose::Check);
        }
    }

    /// When the next check may be sent; `None` when none is waiting.
    pub(super) fn next_check_at(&self, now: Instant) -> Option<Instant> {
        let waiting = || {
            let pairs = self.pairs.iter();
            pairs.filter(|pair| pair.state == PairState::Waiting)
        };
        let held = self.held_until(now);
        let from = match waiting().any(|pair| !self.is_held(now, pair)) {
            true => now,
            false => held.filter(|_| waiting().next().is_some())?,
        };
        let interval = self.config.check_interval;
        // An ICE-lite peer is checked as any other; it only never checks back.
        self.remote.as_ref()?;
        let paced = self.last_check_at.map(|last| last + interval);
        Some(paced.map_or(from, |paced| paced.max(from)))
    }

    /// RFC 8445 §6.1.2.6: of each foundation one pair is checked at a time, until one succeeds.
    pub(super) fn unfreeze(&mut self) {
        for index in 0..self.pairs.len() {
            if self.pairs[index].state != PairState::Frozen {
                continue;
            }
            let base = self.pairs[index].base;
            let foundation = &self.remotes[self.pairs[index].remote].foundation;
            let mut siblings = self.pairs.iter().filter(|pair| {
                pair.base == base && self.remotes[pair.remote].foundation == *foundation
            });
            let busy = siblings
                .clone()
                .any(|pair| matches!(pair.state, PairState::Waiting | PairState::InProgress));
            if !busy || siblings.any(|pair| pair.state == PairState::Succeeded) {
                self.pairs[index].state = PairState::Waiting;
            }
        }
    }

    /// The controlling side nominates the best valid pair once nothing better can come or its
    /// patience is over (RFC 8445 §8.1.1).
    pub(super) fn consider_nomination(&mut self, now: Instant) {
        if self.nomination_at().is_some_and(|at| at <= now)
            && let Some(best) = self
                .pairs
                .iter()
                .find(|pair| pair.is_valid())
                .map(|pair| pair.id)
        {
            self.nominating = Some(best);
            if self.renominates {
                self.nominations = self.nominations.saturating_add(1);
                let nomination = self.nominations;
                if let Some(pair) = self.pair_mut(best) {
                    pair.nomination = nomination;
                }
            }
            self.send_request(now, best, Purpose::Nominate);
        }
    }

    /// When to nominate; `None` when there is nothing to nominate.
    pub(super) fn nomination_at(&self) -> Option<Instant> {
        if self.role != Role::Controlling || self.nominating.is_some() {
            return None;
        }
        let first_valid_at = self.first_valid_at?;
        let best = self.pairs.iter().position(|pair| pair.is_valid())?;
        if let Some(selected) = self.selected {
            // A better kind of way that was found late is worth leaving the other for.
            let best = &self.pairs[best];
            let selected = self.pair(selected);
            let better = selected.is_some_and(|own| self.rank(best) > self.rank(own));
            return better.then_some(first_valid_at);
        }
        let better_to_come = self.pairs[..best].iter().any(|pair| {
            matches!(
                pair.state,
                PairState::Frozen | PairState::Waiting | PairState::InProgress
            )
        });
        if !better_to_come {
            return Some(first_valid_at);
        }
        let round_trip = self.pairs[best]
            .stats
            .current_round_trip_time
            .unwrap_or_default();
        let (least, most) = NOMINATION_PATIENCE;
        Some(first_valid_at + (least + 4 * round_trip).min(most))
    }
}
