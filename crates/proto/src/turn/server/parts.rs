//! One server in several parts, each driven by a thread of its own.
//!
//! The parts listen on the same addresses, and the system deals datagrams out by who sent them: what
//! one client sends comes to one part, which has its allocation. Each has its own of the relayed
//! ports, so that a port names its part. They share what is counted of users and addresses.
//!
//! A client that moves (RFC 8016), or takes a port that was kept for it (RFC 8656 §14.6), can turn up
//! at another part than the one that it means: what it sends is passed on ([`Event::PassOn`]).

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Instant;

use twocan_wire::stun::{Attribute, ErrorCode, Message, Method};

use super::allocation::{Client, ClientKey};
use super::bandwidth::{Bandwidth, Budgets};
use super::machine::Server;
use super::mobility;
use super::ports::{Held, Holder, Keyed};
use super::quota::{Holders, Unproven};
use super::{Config, Event, PART_SOCKET, Quotas};
use crate::contract::{Datagram, Destination, Dscp, Ecn, Path};
use crate::random::Random;
use crate::time::Now;

/// Parts at most.
pub const PARTS_MAX: usize = 64;

/// Relayed ports of a part at least: with fewer for each there are fewer parts.
pub const PORTS_PER_PART_MIN: usize = 512;

/// What the parts share.
#[derive(Debug)]
pub(super) struct Accounts {
    /// Where time is counted from.
    epoch: Instant,
    holders: Mutex<Holders>,
    pub(super) bandwidth: Bandwidth,
    unproven: Unproven,
    pub(super) held: Arc<Held>,
    /// Clients by the part that has their allocation, where that is not the one to which the system
    /// deals them out.
    elsewhere: RwLock<HashMap<ClientKey, u8, Keyed>>,
    /// How many these are, so that nobody waits to learn that there are none.
    elsewhere_count: AtomicUsize,
}

impl Accounts {
    fn new(held: Held, random: &mut Random, now: Now) -> Self {
        Self {
            epoch: now.monotonic,
            holders: Mutex::default(),
            bandwidth: Bandwidth::default(),
            unproven: Unproven::new(random.u64()),
            held: Arc::new(held),
            elsewhere: RwLock::new(HashMap::with_hasher(Keyed(random.u64()))),
            elsewhere_count: AtomicUsize::new(0),
        }
    }

    /// A moment in nanoseconds.
    #[inline]
    pub(super) fn nanos(&self, now: Instant) -> u64 {
        let since = now.saturating_duration_since(self.epoch);
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
    }

    fn holders(&self) -> std::sync::MutexGuard<'_, Holders> {
        self.holders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts one more allocation, where there may be one.
    pub(super) fn open(
        &self,
        quotas: &Quotas,
        user: &str,
        ip: IpAddr,
    ) -> Result<(), ErrorCode<'static>> {
        let mut holders = self.holders();
        if holders.total() >= quotas.total {
            return Err(ErrorCode::INSUFFICIENT_CAPACITY);
        }
        if !holders.admits(quotas, user, ip) {
            return Err(ErrorCode::ALLOCATION_QUOTA_REACHED);
        }
        holders.add(user, ip);
        Ok(())
    }

    /// Counts one less.
    pub(super) fn close(&self, user: &str, ip: IpAddr) {
        self.holders().remove(user, ip);
    }

    /// Counts an allocation at another address, where that may have one more.
    pub(super) fn relocate(
        &self,
        quotas: &Quotas,
        user: &str,
        (old, new): (IpAddr, IpAddr),
    ) -> Result<(), ErrorCode<'static>> {
        let quotas = Quotas {
            per_user: usize::MAX,
            ..quotas.clone()
        };
        let mut holders = self.holders();
        holders.remove(user, old);
        let may = holders.admits(&quotas, user, new);
        holders.add(user, if may { new } else { old });
        match may {
            true => Ok(()),
            false => Err(ErrorCode::ALLOCATION_QUOTA_REACHED),
        }
    }

    /// Allocations of all parts.
    pub(super) fn total(&self) -> usize {
        self.holders().total()
    }

    pub(super) fn join(&self, user: &str) -> Budgets {
        self.bandwidth.join(user)
    }

    /// Whether one that has proved nothing may get an answer.
    pub(super) fn admits_unproven(&self, now: Instant, ip: IpAddr, per_second: u32) -> bool {
        self.unproven.admits(self.nanos(now), ip, per_second)
    }

    #[inline]
    fn has_elsewhere(&self) -> bool {
        self.elsewhere_count.load(Ordering::Acquire) > 0
    }

    fn part_with(&self, key: &ClientKey) -> Option<u8> {
        let elsewhere = self
            .elsewhere
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        elsewhere.get(key).copied()
    }

    fn set_elsewhere(&self, key: ClientKey, part: Option<u8>) {
        let mut elsewhere = self
            .elsewhere
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        match part {
            Some(part) => _ = elsewhere.insert(key, part),
            None => _ = elsewhere.remove(&key),
        }
        self.elsewhere_count
            .store(elsewhere.len(), Ordering::Release);
    }
}

/// Which relayed port belongs to which part: each has a range of its own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PortShares {
    /// The first port of each.
    firsts: Vec<u16>,
    last: u16,
}

impl PortShares {
    /// As many shares of `ports` as wanted, or fewer: [`PORTS_PER_PART_MIN`].
    fn new(ports: &RangeInclusive<u16>, wanted: usize) -> Self {
        let (first, last) = (*ports.start(), *ports.end());
        let len = usize::from(last.saturating_sub(first)) + 1;
        let count = wanted.min(len / PORTS_PER_PART_MIN).clamp(1, PARTS_MAX);
        let firsts = (0..count).map(|index| {
            let offset = u16::try_from(len * index / count).unwrap_or(u16::MAX);
            let port = first.saturating_add(offset);
            // A port that is even keeps the next one (RFC 8656 §7.2) in its share.
            if index > 0 { port & !1 } else { port }
        });
        Self {
            firsts: firsts.collect(),
            last,
        }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.firsts.len()
    }

    /// Which one has a port; of those that none has, the first or the last.
    #[inline]
    pub fn part_of(&self, port: u16) -> usize {
        let beyond = self.firsts.partition_point(|first| *first <= port);
        beyond.saturating_sub(1)
    }

    fn range(&self, part: usize) -> RangeInclusive<u16> {
        let first = self.firsts.get(part).copied().unwrap_or(self.last);
        let next = self.firsts.get(part + 1);
        first..=next.map_or(self.last, |next| next.saturating_sub(1))
    }
}

/// Which part a server is.
#[derive(Debug, Clone)]
pub(super) struct Part {
    pub(super) number: u8,
    pub(super) shares: PortShares,
    /// What is handled now was passed on by another part.
    passed_on: bool,
}

impl Part {
    /// Whether a relayed address is one of another part's.
    fn is_elsewhere(&self, relayed: SocketAddr) -> bool {
        self.shares.count() > 1 && self.shares.part_of(relayed.port()) != usize::from(self.number)
    }
}

impl Server {
    /// A server without allocations, in one part.
    pub fn new(config: &Config, random: Random, now: Now) -> Self {
        let mut parts = Self::parts(config, 1, random, now);
        parts.swap_remove(0)
    }

    /// A server in `wanted` parts, or fewer: at most [`PARTS_MAX`], and each has at least
    /// [`PORTS_PER_PART_MIN`] relayed ports. Every part has listeners of its own on the same
    /// addresses, with the same names; clients on streams belong to the first.
    pub fn parts(config: &Config, wanted: usize, mut random: Random, now: Now) -> Vec<Self> {
        let shares = PortShares::new(&config.ports, wanted);
        let held = Held::new(&config.relays, shares.count());
        let accounts = Arc::new(Accounts::new(held, &mut random, now));
        (0..shares.count())
            .map(|index| {
                let config = Config {
                    ports: shares.range(index),
                    ..config.clone()
                };
                let part = Part {
                    number: u8::try_from(index).unwrap_or(u8::MAX),
                    shares: shares.clone(),
                    passed_on: false,
                };
                let mut seed = [0; 32];
                random.fill(&mut seed);
                Self::part(config, (part, accounts.clone()), Random::new(seed), now)
            })
            .collect()
    }

    /// Whether it relays at all.
    pub fn relays(&self) -> bool {
        !self.config.relays.is_empty()
    }

    /// Which part has which relayed port.
    pub fn port_shares(&self) -> &PortShares {
        &self.part.shares
    }

    /// What a client has sent was passed on by another part ([`Event::PassOn`]).
    pub fn handle_passed_on(&mut self, now: Now, datagram: Datagram<'_>) {
        self.part.passed_on = true;
        self.handle_datagram(now, datagram);
        self.part.passed_on = false;
    }

    /// The part that a client means which this one does not know.
    #[inline]
    pub(super) fn meant_elsewhere(&self, client: &Client, bytes: &[u8]) -> Option<u8> {
        // Clients on streams belong to the first part, whatever they name.
        let on_stream = matches!(client.key, ClientKey::Stream(_));
        if self.part.shares.count() == 1 || self.part.passed_on || on_stream {
            return None;
        }
        let is_request = bytes.first() == Some(&0);
        if !is_request && !self.accounts.has_elsewhere() || self.clients.contains_key(&client.key) {
            return None;
        }
        if let Some(part) = self.accounts.part_with(&client.key) {
            return Some(part);
        }
        let named = named_part(bytes).filter(|part| *part != self.part.number);
        named.filter(|part| usize::from(*part) < self.part.shares.count())
    }

    pub(super) fn pass_on(&mut self, part: u8, client: &Client, ecn: Ecn, bytes: &[u8]) {
        self.events.push_back(Event::PassOn {
            part: usize::from(part),
            path: client.path,
            remote: client.remote,
            ecn,
            bytes: bytes.to_vec(),
        });
    }

    /// A client has an allocation here: where it came by another part, that one passes on whatever it
    /// sends.
    pub(super) fn know_client(&mut self, key: ClientKey, id: u32) {
        self.clients.insert(key, id);
        if self.part.passed_on {
            self.accounts.set_elsewhere(key, Some(self.part.number));
        }
    }

    pub(super) fn forget_client(&mut self, key: &ClientKey) {
        self.clients.remove(key);
        if self.accounts.has_elsewhere() {
            self.accounts.set_elsewhere(*key, None);
        }
    }

    /// On which way what comes from the relayed address `from` goes to `to`, one on which a client of
    /// another part relays.
    #[inline]
    pub(super) fn way_to_part(
        &self,
        from: SocketAddr,
        to: SocketAddr,
        ecn: Ecn,
    ) -> Option<Destination> {
        let is_elsewhere = self.part.is_elsewhere(to) && self.accounts.held.has(to);
        is_elsewhere.then_some(Destination {
            path: Path {
                socket: PART_SOCKET,
                local: from,
            },
            remote: to,
            ecn,
            dscp: Dscp::DEFAULT,
        })
    }

    /// A client of another part, at the relayed address `from`, has sent to the relayed address `to`.
    pub(super) fn handle_part(
        &mut self,
        now: Now,
        (from, to): (SocketAddr, SocketAddr),
        ecn: Ecn,
        data: &[u8],
    ) {
        match self.ports.holder(to) {
            Some(Holder::Allocation(id)) => self.deliver(now, id, from, ecn, data),
            _ => self.traffic.unwanted += 1,
        }
    }
}

/// The part that a request names: by the ticket of a Refresh, or by the token of an Allocate.
fn named_part(bytes: &[u8]) -> Option<u8> {
    let message = Message::parse(bytes).ok()?;
    match message.method {
        Method::REFRESH => mobility::part(mobility::shown(&message)?),
        Method::ALLOCATE => message.attributes().find_map(|attribute| match attribute {
            Attribute::ReservationToken([part, ..]) => Some(*part),
            _ => None,
        }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_port_has_one_part_and_pairs_stay_together() {
        for (ports, wanted) in [
            (49152..=65535, 4),
            (10_001..=20_000, 7),
            (1024..=65_535, 64),
        ] {
            let shares = PortShares::new(&ports, wanted);
            assert_eq!(shares.count(), wanted);
            for port in ports {
                let part = shares.part_of(port);
                assert!(shares.range(part).contains(&port), "{port}");
                if port % 2 == 0 && port < shares.last {
                    assert_eq!(shares.part_of(port + 1), part, "{port}");
                }
            }
            let of_all: usize = (0..wanted).map(|part| shares.range(part).len()).sum();
            assert_eq!(of_all, usize::from(shares.last - shares.firsts[0]) + 1);
        }
    }

    #[test]
    fn few_ports_have_few_parts() {
        assert_eq!(PortShares::new(&(50_000..=50_099), 8).count(), 1);
        assert_eq!(PortShares::new(&(50_000..=52_099), 8).count(), 4);
        assert_eq!(
            PortShares::new(&RangeInclusive::new(50_000, 49_000), 8).count(),
            1
        );
        assert_eq!(PortShares::new(&(0..=65_535), 1000).count(), PARTS_MAX);
    }
}
