//! Candidates over TCP (RFC 6544).
//!
//! The base of an active candidate is a local address from which streams are opened, that of a
//! passive one a socket that listens. A pair of an active base has the base's own path until its
//! stream is open, and the stream's from then on; a passive base is paired by the checks that come
//! on the streams it accepts, and not before (§6.2).

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use super::agent::Agent;
use super::candidate::{local_preference_over_tcp, priority};
use super::consent::RETRIES_MAX;
use super::pair::{Pair, PairId, Rank};
use super::{Candidate, Event, Kind, PairState, Route, TcpType};
use crate::contract::Path;

/// Streams that carry checks or data; one more is not taken. The parent holds fewer.
const STREAMS_MAX: usize = 64;

/// How much earlier than streams datagrams are tried: a stream that is not needed is not opened.
const UDP_AHEAD: Duration = Duration::from_millis(250);

/// An open stream.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stream {
    path: Path,
    base: usize,
    remote: SocketAddr,
}

/// Whether a stream may be opened to a candidate of the peer's. A peer that names the ports of
/// well-known services, or HTTP's in a private network, would have us talk to them: unlike a check
/// over UDP a stream opens where nobody expects one. Browsers have the same rule.
pub(super) fn may_connect_to(address: SocketAddr) -> bool {
    let is_near = match address.ip().to_canonical() {
        IpAddr::V4(ip) => ip.is_private() || ip.is_loopback() || ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unique_local() || ip.is_loopback() || ip.is_unicast_link_local(),
    };
    match address.port() {
        80 | 443 => !is_near,
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
            self.push_stream(base, route);
        }
    }

    /// A stream that was asked for ([`Event::Open`]) is open, with this path.
    pub fn stream_opened(&mut self, now: Instant, wanted: Route, path: Path) {
        let Some(id) = self.pair_on(wanted) else {
            // The generation that wanted it is over.
            return self.events.push_back(Event::Close(path));
        };
        let Some(base) = self.pair(id).map(|pair| pair.base) else {
            return;
        };
        let remote = wanted.remote;
        self.push_stream(base, Route { path, remote });
        if let Some(pair) = self.pair_mut(id) {
            pair.route.path = path;
            pair.state = PairState::InProgress;
        }
        self.trigger(id);
        self.settle(now);
    }

    /// A stream that was asked for cannot be had.
    pub fn stream_failed(&mut self, now: Instant, wanted: Route) {
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
        let base = self.streams.remove(index).base;
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
                        if was_valid && pair.retries < RETRIES_MAX {
                            pair.retries += 1;
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

    /// The open stream that leads from a base to an address.
    pub(super) fn stream_to(&self, base: usize, remote: SocketAddr) -> Option<Path> {
        let mut streams = self.streams.iter();
        let stream = streams.find(|own| own.base == base && own.remote == remote);
        stream.map(|own| own.path)
    }

    /// Asks for the stream of a pair that has none; answers whether it did.
    pub(super) fn wants_stream(&mut self, id: PairId) -> bool {
        let Some(route) = self
            .pair(id)
            .filter(|pair| self.is_unopened(pair))
            .map(|pair| pair.route)
        else {
            return false;
        };
        self.events.push_back(Event::Open(route));
        true
    }

    /// Whether a pair waits for datagrams to be tried first.
    pub(super) fn is_held(&self, now: Instant, pair: &Pair) -> bool {
        self.is_unopened(pair) && self.held_until(now).is_some()
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

    fn is_unopened(&self, pair: &Pair) -> bool {
        let base = &self.bases[pair.base];
        base.tcp == Some(TcpType::Active) && pair.route.path == base.path
    }

    fn push_stream(&mut self, base: usize, Route { path, remote }: Route) {
        if self.streams.len() >= STREAMS_MAX {
            return self.counters.count("ice.too_many_streams");
        }
        self.streams.push(Stream { path, base, remote });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_go_to_no_well_known_service_and_to_no_http_nearby() {
        for (address, may) in [
            ("203.0.113.9:22", false),
            ("203.0.113.9:80", true),
            ("203.0.113.9:443", true),
            ("203.0.113.9:1024", true),
            ("10.0.0.5:443", false),
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
