//! Candidate pairs (RFC 8445 §6.1.2).

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::agent::{Agent, PAIRS_MAX};
use super::candidate::{pair_priority, priority};
use super::{Kind, Role, Route, TcpType};
use crate::contract::Path;

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
    /// Number of the nomination, where the nominations are numbered; 0 before.
    pub(super) nomination: u32,
    /// Times it was tried again after it failed.
    pub(super) retries: u8,
    /// Something authentic arrived on it last.
    pub(super) heard_at: Option<Instant>,
    /// The last answer to one of our checks.
    pub(super) answered_at: Option<Instant>,
    /// The address that the last answer says the check came from.
    pub(super) seen_as: Option<SocketAddr>,
    pub(super) stats: PairStats,
}

/// Kinds of ways, the better the greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rank {
    /// A relay of either side is in between.
    Relayed,
    /// TCP: what is lost holds up what comes after it.
    Stream,
    /// UDP.
    Datagrams,
}

/// Counts of one pair, as in `RTCIceCandidatePairStats`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PairStats {
    /// Checks sent, retransmissions and consent included.
    pub requests_sent: u64,
    /// Those of them that ask for consent (RFC 7675).
    pub consent_requests_sent: u64,
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

impl Agent {
    pub(super) fn pair_base(&mut self, base: usize) {
        for remote in 0..self.remotes.len() {
            self.add_pair(base, remote);
        }
    }

    pub(super) fn pair(&self, id: PairId) -> Option<&Pair> {
        self.pairs.iter().find(|pair| pair.id == id)
    }

    pub(super) fn pair_mut(&mut self, id: PairId) -> Option<&mut Pair> {
        self.pairs.iter_mut().find(|pair| pair.id == id)
    }

    pub(super) fn pair_on(&self, route: Route) -> Option<PairId> {
        self.pairs
            .iter()
            .find(|pair| pair.route == route)
            .map(|pair| pair.id)
    }

    /// Pairs a base with a remote candidate, if their transports, families and scopes agree.
    pub(super) fn add_pair(&mut self, base: usize, remote: usize) -> Option<PairId> {
        let own = &self.bases[base];
        let candidate = &self.remotes[remote];
        // RFC 6544 §6.2: over TCP, those who listen wait for those who connect.
        let agree = matches!(
            (own.tcp, candidate.tcp),
            (None, None) | (Some(TcpType::Active), Some(TcpType::Passive))
        );
        let path = self.stream_to(base, candidate.address);
        let path = path.unwrap_or(own.path);
        // What is sent from here to a loopback address comes from another one, as a rule.
        let near = path.local.ip().is_loopback() == candidate.address.ip().is_loopback();
        // A lite agent has the pairs that the peer checks (RFC 8445 §6.1.2).
        (agree && near && !self.config.lite && !self.is_kept_from(base, remote))
            .then(|| self.add_pair_on(base, path, remote))?
    }

    /// The same on a path that leads from the base to the candidate and nowhere else, or on the
    /// base's own: one that is known to lead there where the peer has checked it.
    pub(super) fn add_pair_on(&mut self, base: usize, path: Path, remote: usize) -> Option<PairId> {
        let address = self.remotes[remote].address;
        let reachable = self.bases[base].is_there && path.local.is_ipv4() == address.is_ipv4();
        let route = Route {
            path,
            remote: address,
        };
        if !reachable || self.pair_on(route).is_some() {
            return self.pair_on(route);
        }
        let id = PairId(self.pair_ids);
        self.pair_ids += 1;
        self.pairs.push(Pair {
            id,
            base,
            remote,
            route,
            priority: self.priority_of(base, remote),
            state: PairState::Frozen,
            nominated: false,
            nominate_on_success: false,
            nomination: 0,
            retries: 0,
            heard_at: None,
            answered_at: None,
            seen_as: None,
            stats: PairStats::default(),
        });
        self.pairs
            .sort_by_key(|pair| std::cmp::Reverse(pair.priority));
        while self.pairs.len() > PAIRS_MAX {
            let unused = self
                .pairs
                .iter()
                .rposition(|pair| matches!(pair.state, PairState::Frozen | PairState::Failed));
            let dropped = self.pairs.remove(unused.unwrap_or(self.pairs.len() - 1));
            self.transactions
                .retain(|_, transaction| transaction.pair != Some(dropped.id));
            self.counters.count("ice.too_many_pairs");
        }
        self.pair(id).map(|pair| pair.id)
    }

    /// What it is worth to leave one kind of way for another: datagrams, a stream, a relay.
    pub(super) fn rank(&self, pair: &Pair) -> Rank {
        let base = &self.bases[pair.base];
        if base.kind == Kind::Relayed || self.remotes[pair.remote].kind == Kind::Relayed {
            Rank::Relayed
        } else if base.tcp.is_some() {
            Rank::Stream
        } else {
            Rank::Datagrams
        }
    }

    pub(super) fn refresh_priorities(&mut self) {
        for index in 0..self.pairs.len() {
            let (base, remote) = (self.pairs[index].base, self.pairs[index].remote);
            self.pairs[index].priority = self.priority_of(base, remote);
        }
        self.pairs
            .sort_by_key(|pair| std::cmp::Reverse(pair.priority));
    }

    fn priority_of(&self, base: usize, remote: usize) -> u64 {
        let base = &self.bases[base];
        let local = priority(base.kind, base.tcp, base.local_preference);
        let remote = self.remotes[remote].priority;
        match self.role {
            Role::Controlling => pair_priority(local, remote),
            Role::Controlled => pair_priority(remote, local),
        }
    }
}
