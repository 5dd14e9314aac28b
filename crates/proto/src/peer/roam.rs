//! Relays whose local address has gone, or whose stream has ended. Where the server moves allocations
//! (RFC 8016), they go on from another address or on another stream, and ICE keeps the relayed one.

use std::time::{Duration, Instant};

use super::relay::{Relay, reaches};
use super::transport::Transport;
use crate::contract::Path;
use crate::time::Deadline;

/// How long an allocation waits for another local address: as long as ICE does.
const ADRIFT_LASTS: Duration = Duration::from_secs(10);

/// Between two times that an allocation comes back on another stream. One whose stream ends sooner
/// is lost.
const RETURNS_AFTER: Duration = Duration::from_secs(5);

impl Relay {
    pub(super) fn adrift_deadline(&self) -> Option<Deadline> {
        let since = self.adrift_since?;
        Some(Deadline::new(since + ADRIFT_LASTS, "peer.relay_adrift"))
    }
}

impl Transport {
    /// A local end is gone. Relays that were reached from it go on from another one, now or when
    /// there is one, or are given up.
    pub(super) fn leave_path(&mut self, now: Instant, path: Path) {
        self.relays.paths.retain(|known| *known != path);
        for index in 0..self.relays.relays.len() {
            let Some(relay) = self.relays.relays.get_mut(index) else {
                return;
            };
            if relay.base != path {
                continue;
            }
            let can_move = relay.client.can_relocate();
            if can_move && !relay.has_moved && !relay.is_over {
                relay.adrift_since = Some(now);
                // A stream ends with its address.
                self.close_stream(index);
                self.relays.wanted.retain(|own| !own.is_for(index));
            } else {
                self.give_up_relay(now, index);
            }
        }
        for other in self.relays.paths.clone() {
            self.take_along(now, other);
            // Where the server is asked from already, the allocation there does as well.
            for index in 0..self.relays.relays.len() {
                let relay = self.relays.relays.get(index);
                let is_left = relay.is_some_and(|own| {
                    let is_adrift = own.adrift_since.is_some() && own.stream.is_none();
                    is_adrift && reaches(other, own.client.server().ip())
                });
                if is_left {
                    self.give_up_relay(now, index);
                }
            }
        }
    }

    /// Relays without a local end go on from this one.
    pub(super) fn take_along(&mut self, now: Instant, path: Path) {
        for index in 0..self.relays.relays.len() {
            let mut relays = self.relays.relays.iter();
            let server = self.relays.relays.get(index).map(|own| own.client.server());
            // The server tells its clients apart by their addresses.
            let is_taken = server.is_some_and(|server| relays.any(|own| own.is_at(path, server)));
            let on_stream = self.is_on_stream(index);
            let Some(relay) = self.relays.relays.get_mut(index) else {
                return;
            };
            let fits = reaches(path, relay.client.server().ip());
            if relay.adrift_since.is_none() || relay.stream.is_some() || !fits {
                continue;
            }
            if on_stream {
                relay.base = path;
                self.open_stream(index);
                continue;
            }
            if is_taken {
                continue;
            }
            relay.adrift_since = None;
            (relay.base, relay.path) = (path, path);
            self.relocate(now, index);
        }
    }

    fn relocate(&mut self, now: Instant, index: usize) {
        let Some(relay) = self.relays.relays.get_mut(index) else {
            return;
        };
        relay.client.relocate(now);
        let route = self.ice.route();
        if route.is_some_and(|route| relay.lent.contains(&route.path)) {
            // The way is another, though its ends are the same.
            self.congestion.handle_route_change(now);
        }
    }

    /// A stream to a relay's server is there: for the allocation, or for one that is there and comes
    /// along.
    pub(super) fn relay_connected(&mut self, now: Instant, index: usize, path: Path) {
        let Some(relay) = self.relays.relays.get_mut(index) else {
            return;
        };
        relay.path = path;
        if relay.adrift_since.take().is_some() {
            self.relocate(now, index);
        } else {
            relay.client.start(now);
        }
    }

    /// A stream to a relay's server has ended. Where the allocation can be had on another, that is
    /// tried, once in a while; answers whether.
    pub(super) fn come_back(&mut self, now: Instant, index: usize) -> bool {
        let Some(relay) = self.relays.relays.get_mut(index) else {
            return false;
        };
        let is_early = relay
            .returned_at
            .is_some_and(|at| now.saturating_duration_since(at) < RETURNS_AFTER);
        let is_adrift = relay.adrift_since.take().is_some();
        if is_adrift || is_early || relay.is_over || !relay.client.can_relocate() {
            return false;
        }
        relay.partial.clear();
        relay.returned_at = Some(now);
        relay.adrift_since = Some(now);
        self.open_stream(index);
        true
    }

    /// A server has moved its allocation to our new address, of which it says nothing.
    pub(super) fn relay_moved(&mut self, now: Instant, index: usize) {
        if let Some(relay) = self.relays.relays.get(index)
            && relay.stream.is_none()
        {
            let (base, server) = (relay.base, relay.client.server());
            self.ice.ask_address(now, base, server);
        }
    }

    /// Gives up relays for which no other local end has come.
    pub(super) fn give_up_adrift(&mut self, now: Instant) {
        for index in 0..self.relays.relays.len() {
            let relay = self.relays.relays.get(index);
            let deadline = relay.and_then(Relay::adrift_deadline);
            if deadline.is_none_or(|deadline| deadline.at > now) {
                continue;
            }
            // A stream that does not come about is no news of the address.
            let is_opening = relay.is_some_and(|own| own.stream.is_some());
            if is_opening {
                if let Some(relay) = self.relays.relays.get_mut(index) {
                    relay.adrift_since = None;
                }
                self.relay_unreachable(now, index);
            } else {
                self.give_up_relay(now, index);
            }
        }
    }

    fn give_up_relay(&mut self, now: Instant, index: usize) {
        if let Some(relay) = self.relays.relays.get_mut(index) {
            relay.client.abandon();
            relay.is_over = true;
            relay.retry_at = None;
            relay.adrift_since = None;
            self.close_stream(index);
            self.withdraw(now, index);
        }
    }
}
