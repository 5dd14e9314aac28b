//! Relays whose local address has gone. Where the server moves allocations (RFC 8016), they go on
//! from another address, and ICE keeps the relayed one.

use std::time::{Duration, Instant};

use super::relay::{Relay, reaches};
use super::transport::Transport;
use crate::contract::Path;
use crate::time::Deadline;

/// How long an allocation waits for another local address: as long as ICE does.
const ADRIFT_LASTS: Duration = Duration::from_secs(10);

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
            // A stream has ended with its address, and with it the server's allocation may have.
            let can_move = relay.client.can_relocate() && relay.stream.is_none();
            if can_move && !relay.has_moved && !relay.is_over {
                relay.adrift_since = Some(now);
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
                    own.adrift_since.is_some() && reaches(other, own.client.server().ip())
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
            let Some(relay) = self.relays.relays.get_mut(index) else {
                return;
            };
            let fits = reaches(path, relay.client.server().ip());
            if relay.adrift_since.is_none() || is_taken || !fits {
                continue;
            }
            relay.adrift_since = None;
            (relay.base, relay.path) = (path, path);
            relay.client.relocate(now);
            let route = self.ice.route();
            if route.is_some_and(|route| relay.lent.contains(&route.path)) {
                // The way is another, though its ends are the same.
                self.congestion.handle_route_change(now);
            }
        }
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
            if deadline.is_some_and(|deadline| deadline.at <= now) {
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
