//! Candidates over TCP (RFC 6544).
//!
//! The base of an active candidate is a local address from which streams are opened, that of a
//! passive one a socket that listens. A pair of an active base has the base's own path until its
//! stream is open, and the stream's from then on; a passive base is paired by the checks that come
//! on the streams it accepts, and not before (§6.2).

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use twocan_wire::scope::Scope;

use super::agent::Agent;
use super::candidate::{local_preference_over_tcp, priority};
use super::pair::{Pair, PairId, Rank};
use super::{Candidate, Event, Kind, PairState, Route, TcpType};
use crate::contract::Path;

/// Streams that carry checks or data; one more is not taken. The parent holds fewer.
const STREAMS_MAX: usize = 64;

/// Streams of ours that are open or being opened; pairs beyond wait until one has ended.
const OPENED_MAX: usize = 16;

/// A stream of ours that ends sooner is not opened again at once.
const LASTED: Duration = Duration::from_secs(1);

/// How much earlier than streams datagrams are tried: a stream that is not needed is not opened.
const UDP_AHEAD: Duration = Duration::from_millis(250);

/// An open stream.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stream {
    path: Path,
    base: usize,
    remote: SocketAddr,
    /// Of one that we opened.
    opened_at: Option<Instant>,
    /// Nothing has come on it of late: it may have ended without a word.
    is_silent: bool,
}

/// Whether a stream may be opened to a candidate of the peer's. A peer that names the ports of
/// well-known services, or HTTP's in a private network, would have us talk to them: unlike a check
/// over UDP a stream opens where nobody expects one. Browsers have the same rule.
pub(super) fn may_connect_to(address: SocketAddr) -> bool {
    match address.port() {
        80 | 443 => !Scope::of(address.ip().to_canonical()).is_near(),
        port => port >= 1024,
    }
}

impl Agent {
    /// Takes a local address as a TCP candidate. With [`TcpType::Passive`] it is that of a socket
    /// that listens; with [`TcpType::Active`] streams are opened from it, its port is 9 and
    /// `path.socket` names no socket.
    pub fn add_tcp_base(&mut self, now: Instant, path: Path, tcp: TcpType) {
        if self.config.lite && tcp == TcpType::Active {
            return;
        }
        let preference = local_preference_over_tcp(path.local.ip(), self.bases.len());
        let Some(index) = self.push_base(path, Kind::Host, Some(tcp), preference) else {
            return;
        };
        self.add_local(Candidate {
            kind: Kind::Host,
            address: self.shown(path.local),
            tcp: Some(tcp),
            related: None,
            priority: priority(Kind::Host, Some(tcp), preference),
            foundation: self.bases[index].foundation.clone(),
            server: None,
        });
        self.pair_base(index);
        self.settle(now);
    }

    /// The listening socket `listener` has accepted a stream.
    pub fn stream_accepted(&mut self, listener: Path, route: Route) {
        if let Some(base) = self.bases.iter().position(|base| base.path == listener) {
            self.push_stream(base, route, None);
        }
    }

    /// A stream that was asked for ([`Event::Open`]) is open, with this path.
    pub fn stream_opened(&mut self, now: Instant, wanted: Route, path: Path) {
        self.opening.retain(|own| *own != wanted);
        let Some(id) = self.pair_on(wanted) else {
            // The generation that wanted it is over.
            return self.events.push_back(Event::Close(path));
        };
        let Some(base) = self.pair(id).map(|pair| pair.base) else {
            return;
        };
        let remote = wanted.remote;
        self.push_stream(base, Route { path, remote }, Some(now));
        if let Some(pair) = self.pair_mut(id) {
            pair.route.path = path;
            pair.state = PairState::InProgress;
        }
        self.trigger(id);
        self.settle(now);
    }

    /// A stream that was asked for cannot be had.
    pub fn stream_failed(&mut self, now: Instant, wanted: Route) {
        self.opening.retain(|own| *own != wanted);
        if let Some(id) = self.pair_on(wanted) {
            self.fail(id);
        }
        self.settle(now);
    }

    /// A stream has ended. One that was of use is opened again by the side that opened it.
    pub fn stream_closed(&mut self, now: Instant, path: Path) {
        let Some(index) = self.streams.iter().position(|own| own.path == path) else {
            return;
        };
        let Stream {
            base, opened_at, ..
        } = self.streams.remove(index);
        let has_lasted = opened_at.is_some_and(|at| now.saturating_duration_since(at) >= LASTED);
        self.transactions.retain(|_, own| own.route.path != path);
        self.proven.retain(|route| route.path != path);
        if self.route.is_some_and(|route| route.path == path) {
            self.route = None;
            self.lost_at = Some(now);
            self.counters.count("ice.stream_lost");
        }
        let mut ended = self.pairs.iter().filter(|pair| pair.route.path == path);
        let ended = ended.next().map(|pair| (pair.id, pair.is_valid()));
        if let Some((id, was_valid)) = ended {
            self.fail(id);
            let own = self.bases[base].path;
            match self.bases[base].tcp {
                Some(TcpType::Active) => {
                    if let Some(pair) = self.pair_mut(id) {
                        pair.route.path = own;
                        if was_valid && has_lasted {
                            pair.retries = pair.retries.saturating_add(1);
                            pair.state = PairState::Waiting;
                        }
                    }
                }
                // The peer comes back on another stream, which is another pair.
                _ => self.pairs.retain(|pair| pair.id != id),
            }
        }
        self.settle(now);
    }

    /// The base of a path: its own, or that of the stream.
    pub(super) fn base_of(&self, path: Path) -> Option<usize> {
        let own = self.bases.iter().position(|base| base.path == path);
        own.or_else(|| {
            let mut streams = self.streams.iter();
            Some(streams.find(|own| own.path == path)?.base)
        })
    }

    /// The open stream that leads from a base to an address and is known to be alive.
    pub(super) fn stream_to(&self, base: usize, remote: SocketAddr) -> Option<Path> {
        let mut streams = self.streams.iter();
        let leads = |own: &&Stream| own.base == base && own.remote == remote;
        let stream = streams.find(|own| leads(own) && !own.is_silent);
        stream.map(|own| own.path)
    }

    /// Asks for the stream of a pair that has none; answers whether it has none.
    pub(super) fn wants_stream(&mut self, id: PairId) -> bool {
        let Some(route) = self
            .pair(id)
            .filter(|pair| self.is_unopened(pair))
            .map(|pair| pair.route)
        else {
            return false;
        };
        if !self.opening.contains(&route) {
            self.opening.push(route);
            self.events.push_back(Event::Open(route));
        }
        true
    }

    /// Whether a pair waits for datagrams to be tried first, or for another's stream to end.
    pub(super) fn is_held(&self, now: Instant, pair: &Pair) -> bool {
        let is_ours = |own: &&Stream| self.bases[own.base].tcp == Some(TcpType::Active);
        let has_room =
            || self.opening.len() + self.streams.iter().filter(is_ours).count() < OPENED_MAX;
        self.is_unopened(pair) && (self.held_until(now).is_some() || !has_room())
    }

    /// Until when streams wait for datagrams.
    pub(super) fn held_until(&self, now: Instant) -> Option<Instant> {
        let until = self.first_check_at? + UDP_AHEAD;
        let is_tried = |pair: &Pair| pair.is_pending() && self.rank(pair) == Rank::Datagrams;
        (now < until && self.pairs.iter().any(is_tried)).then_some(until)
    }

    /// No stream is opened where datagrams pass.
    pub(super) fn skip_streams(&mut self) {
        let is_way = |pair: &Pair| pair.is_valid() && self.rank(pair) == Rank::Datagrams;
        if !self.pairs.iter().any(is_way) {
            return;
        }
        for index in 0..self.pairs.len() {
            let pair = &self.pairs[index];
            let is_idle = matches!(pair.state, PairState::Frozen | PairState::Waiting);
            if is_idle && self.is_unopened(pair) {
                self.pairs[index].state = PairState::Failed;
            }
        }
    }

    /// Gives up streams of ours that no pair has: those of a generation that is over.
    pub(super) fn drop_streams(&mut self) {
        for index in (0..self.streams.len()).rev() {
            let stream = self.streams[index];
            let is_ours = self.bases[stream.base].tcp == Some(TcpType::Active);
            let in_use = self.route.is_some_and(|route| route.path == stream.path)
                || self.pairs.iter().any(|pair| pair.route.path == stream.path);
            if is_ours && !in_use {
                self.streams.remove(index);
                self.events.push_back(Event::Close(stream.path));
            }
        }
    }

    /// Before a new generation: a stream that has been silent may be dead, which no end has to
    /// have heard of. Pairs of the new generation have another opened.
    pub(super) fn judge_streams(&mut self, now: Instant) {
        for index in 0..self.streams.len() {
            let path = self.streams[index].path;
            let is_used = self.route.is_some_and(|route| route.path == path);
            let pairs = self.pairs.iter().filter(|pair| pair.route.path == path);
            let heard = pairs.filter_map(|pair| pair.heard_at.max(pair.answered_at));
            let heard = heard.max().max(self.heard_at.filter(|_| is_used));
            let is_heard = heard.is_some_and(|at| {
                now.saturating_duration_since(at) < self.config.disconnected_after
            });
            let is_doubted = is_used && self.doubt.is_some_and(|doubt| doubt.is_unanswered());
            self.streams[index].is_silent = !is_heard || is_doubted;
        }
    }

    /// Whether a stream of ours was opened before this generation.
    pub(super) fn is_older_stream(&self, path: Path) -> bool {
        let stream = self.streams.iter().find(|own| own.path == path);
        let opened_at = stream.and_then(|own| own.opened_at);
        opened_at.is_some_and(|at| self.first_check_at.is_some_and(|first| at < first))
    }

    /// A check on a stream of ours stayed unanswered. The stream is of no use; if it was not opened
    /// for this check alone, another may be.
    pub(super) fn give_up_stream(&mut self, id: PairId) {
        if self.leave_stream(id)
            && let Some(pair) = self.pair_mut(id).filter(|pair| pair.retries == 0)
        {
            pair.retries = 1;
            pair.state = PairState::Waiting;
        }
    }

    /// Has a pair with a stream of ours wait for another one; answers whether it had one.
    pub(super) fn leave_stream(&mut self, id: PairId) -> bool {
        let Some(pair) = self.pair(id) else {
            return false;
        };
        let own = &self.bases[pair.base];
        let (has_one, path) = (!self.is_unopened(pair), own.path);
        let is_left = own.tcp == Some(TcpType::Active) && has_one;
        if let Some(pair) = self.pair_mut(id).filter(|_| is_left) {
            pair.route.path = path;
        }
        is_left
    }

    pub(super) fn is_unopened(&self, pair: &Pair) -> bool {
        let base = &self.bases[pair.base];
        base.tcp == Some(TcpType::Active) && pair.route.path == base.path
    }

    fn push_stream(
        &mut self,
        base: usize,
        Route { path, remote }: Route,
        opened_at: Option<Instant>,
    ) {
        if self.streams.len() >= STREAMS_MAX {
            return self.counters.count("ice.too_many_streams");
        }
        self.streams.push(Stream {
            path,
            base,
            remote,
            opened_at,
            is_silent: false,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::SocketId;
    use crate::ice::{Config, Credentials, Role};
    use crate::random::Random;

    /// Runs for a second; answers the streams that are wanted.
    fn wanted(agent: &mut Agent, now: &mut Instant) -> Vec<Route> {
        let end = *now + Duration::from_secs(1);
        let mut wanted = Vec::new();
        loop {
            wanted.extend(std::iter::from_fn(|| agent.poll_event()).filter_map(
                |event| match event {
                    Event::Open(route) => Some(route),
                    _ => None,
                },
            ));
            match agent.poll_timeout().filter(|due| due.at <= end) {
                Some(due) => *now = due.at,
                None => break,
            }
            agent.handle_timeout(*now);
        }
        *now = end;
        wanted
    }

    #[test]
    fn pairs_beyond_the_streams_that_may_be_opened_wait_for_one_to_end() {
        #[expect(clippy::disallowed_methods, reason = "an Instant has no other origin")]
        let mut now = Instant::now();
        let random = Random::new([1; 32]);
        let mut agent = Agent::new(Config::default(), Role::Controlling, random);
        let path = |socket, port| Path {
            socket: SocketId(socket),
            local: SocketAddr::from(([192, 0, 2, 1], port)),
        };
        agent.add_tcp_base(now, path(0, 9), TcpType::Active);
        let remote = Credentials::new("peer".to_owned(), "0123456789012345678901".to_owned());
        agent.set_remote(now, remote, false);
        for port in 1..=20 {
            let candidate = Candidate {
                kind: Kind::Host,
                address: SocketAddr::from(([203, 0, 113, 9], 5000 + port)),
                tcp: Some(TcpType::Passive),
                related: None,
                priority: 1000 - u32::from(port),
                foundation: format!("{port}"),
                server: None,
            };
            agent.add_remote_candidate(now, candidate);
        }
        let first = wanted(&mut agent, &mut now);
        assert_eq!(first.len(), OPENED_MAX);
        assert!(wanted(&mut agent, &mut now).is_empty());
        // One fails, one opens and ends: two more.
        agent.stream_failed(now, first[0]);
        agent.stream_opened(now, first[1], path(7, 777));
        let mut left = first[2..].to_vec();
        left.extend(wanted(&mut agent, &mut now));
        assert_eq!(left.len(), OPENED_MAX - 1);
        agent.stream_closed(now, path(7, 777));
        left.extend(wanted(&mut agent, &mut now));
        assert_eq!(left.len(), OPENED_MAX);
        while let Some(route) = left.pop() {
            agent.stream_failed(now, route);
            left.extend(wanted(&mut agent, &mut now));
        }
        let pairs = agent.pairs.iter();
        assert!(pairs.clone().count() == 20 && pairs.clone().all(|own| own.retries == 0));
        assert!(agent.pairs.iter().all(|own| own.state == PairState::Failed));
    }

    #[test]
    fn streams_go_to_no_well_known_service_and_to_no_http_nearby() {
        for (address, may) in [
            ("203.0.113.9:22", false),
            ("203.0.113.9:80", true),
            ("203.0.113.9:443", true),
            ("203.0.113.9:1024", true),
            ("10.0.0.5:443", false),
            ("100.64.0.5:443", false),
            ("127.0.0.1:80", false),
            ("[::1]:443", false),
            ("[::ffff:10.0.0.5]:80", false),
            ("[fd00::1]:443", false),
            ("[2001:db8::1]:443", true),
            ("10.0.0.5:40000", true),
        ] {
            assert_eq!(may_connect_to(address.parse().unwrap()), may, "{address}");
        }
    }
}
