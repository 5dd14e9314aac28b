//! Allocations that a server no longer has, or has no room for, and others in their place.

use std::time::{Duration, Instant};

use super::transport::Transport;

/// Allocations asked for again, one after the other, after the server lost one soon.
const RENEWALS_MAX: u32 = 3;

/// An allocation that lasted for so long was a good one: the count begins anew.
const LASTED: Duration = Duration::from_secs(10);

/// RFC 8656 §7.4: after 486 and 508 the server is left alone for a minute at least.
const BUSY_LASTS: Duration = Duration::from_secs(60);

/// Times that a server without room is asked again.
const RETRIES_MAX: u32 = 5;

impl Transport {
    /// An allocation is not to be had. Of a server that had no room another is asked for later;
    /// answers whether this is such a later one, of which nothing new is to be said.
    pub(super) fn put_off(&mut self, now: Instant, index: usize, code: u16) -> bool {
        let Some(relay) = self.relays.relays.get_mut(index) else {
            return false;
        };
        relay.is_over = true;
        if matches!(code, 486 | 508) && relay.retries < RETRIES_MAX {
            relay.retry_at = Some(now + BUSY_LASTS);
        }
        relay.retries > 0
    }

    /// Asks servers again that had no room a while ago.
    pub(super) fn retry_relays(&mut self, now: Instant) {
        for index in 0..self.relays.relays.len() {
            let Some(relay) = self.relays.relays.get_mut(index) else {
                return;
            };
            if relay.retry_at.is_none_or(|at| at > now) {
                continue;
            }
            relay.retry_at = None;
            relay.retries += 1;
            relay.is_over = false;
            self.replace_client(now, index);
        }
    }

    /// Asks the relays whether they still know us: a translator on the way may have given us
    /// another address, which is that of a stranger (RFC 8656 §7.2: 437).
    pub(super) fn confirm_relays(&mut self, now: Instant) {
        for relay in &mut self.relays.relays {
            relay.client.confirm(now);
        }
    }

    /// The allocation is gone: its candidates are, too. Another is asked for.
    pub(super) fn relay_lost(&mut self, now: Instant, index: usize) {
        self.counters.count("peer.relay_lost");
        self.withdraw(now, index);
        let Some(relay) = self.relays.relays.get_mut(index) else {
            return;
        };
        let made_at = relay.made_at.take();
        if made_at.is_some_and(|at| now.saturating_duration_since(at) >= LASTED) {
            relay.renewals = 0;
        }
        relay.renewals += 1;
        if relay.renewals > RENEWALS_MAX {
            relay.is_over = true;
            return self.close_stream(index);
        }
        self.replace_client(now, index);
    }

    pub(super) fn withdraw(&mut self, now: Instant, index: usize) {
        let relay = self.relays.relays.get_mut(index);
        let lent = relay.map(|relay| std::mem::take(&mut relay.lent));
        for path in lent.unwrap_or_default() {
            self.ice.remove_base(now, path);
        }
    }

    /// Has a relay asked as if it had not been before.
    fn replace_client(&mut self, now: Instant, index: usize) {
        let relay = self.relays.relays.get(index);
        let asked = relay.map(|own| (own.server, own.client.server()));
        let client = asked.and_then(|(server, address)| self.relays.client(server, address));
        if let (Some(client), Some(relay)) = (client, self.relays.relays.get_mut(index)) {
            self.counters.merge(relay.client.counters());
            relay.client = client;
        }
        self.begin_relay(now, index);
    }
}
