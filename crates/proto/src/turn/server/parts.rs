//! One server in several parts, each driven by a thread of its own.
//!
//! The parts listen on the same addresses, and the system deals datagrams out by who sent them: what
//! one client sends comes to one part, which has its allocation. They share what is counted of users
//! and addresses, and who has which relayed port.
//!
//! A client that moves (RFC 8016), or takes a port that was kept for it (RFC 8656 §14.6), can turn up
//! at another part than the one that it means: what it sends is passed on ([`Event::PassOn`]).

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Instant;

use twocan_wire::stun::{Attribute, ErrorCode, Message, Method};

use super::allocation::{Client, ClientKey};
use super::bandwidth::{Bandwidth, Budgets};
use super::machine::Server;
use super::mobility;
use super::ports::{Holder, Keyed, RelayedPorts};
use super::quota::{Holders, Unproven};
use super::{Config, DTLS_LISTENERS_MIN, Event, PART_SOCKET, Quotas, STREAM_REQUEST_LEN_MAX};
use crate::contract::{Datagram, Destination, Dscp, Ecn, Path};
use crate::random::Random;
use crate::time::Now;

/// Parts at most.
pub const PARTS_MAX: usize = 64;

/// What the parts share.
#[derive(Debug)]
pub(super) struct Accounts {
    /// Where time is counted from.
    epoch: Instant,
    holders: Mutex<Holders>,
    pub(super) bandwidth: Bandwidth,
    unproven: Unproven,
    pub(super) ports: Arc<RelayedPorts>,
    /// Clients by the part that has their allocation, where that is not the one to which the system
    /// deals them out.
    elsewhere: RwLock<HashMap<ClientKey, u8, Keyed>>,
    /// How many these are, so that nobody waits to learn that there are none.
    elsewhere_count: AtomicUsize,
}

impl Accounts {
    fn new(ports: RelayedPorts, random: &mut Random, now: Now) -> Self {
        Self {
            epoch: now.monotonic,
            holders: Mutex::default(),
            bandwidth: Bandwidth::default(),
            unproven: Unproven::new(random.u64()),
            ports: Arc::new(ports),
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

/// Which part a server is.
#[derive(Debug, Clone)]
pub(super) struct Part {
    pub(super) number: u8,
    count: usize,
    /// What is handled now was passed on by another part.
    passed_on: bool,
}

impl Part {
    /// Whether there is such a part beside this one.
    pub(super) fn is_another(&self, number: u8) -> bool {
        number != self.number && usize::from(number) < self.count
    }
}

impl Server {
    /// A server without allocations, in one part.
    pub fn new(config: &Config, random: Random, now: Now) -> Self {
        let mut parts = Self::parts(config, 1, random, now);
        parts.swap_remove(0)
    }

    /// A server in so many parts, from 1 to [`PARTS_MAX`]. Every part has listeners of its own on the
    /// same addresses, with the same names; clients on streams and on DTLS belong to the first.
    pub fn parts(config: &Config, count: usize, mut random: Random, now: Now) -> Vec<Self> {
        let count = count.clamp(1, PARTS_MAX);
        let ports = RelayedPorts::new(&config.relays, count);
        let accounts = Arc::new(Accounts::new(ports, &mut random, now));
        (0..count)
            .map(|index| {
                let part = Part {
                    number: u8::try_from(index).unwrap_or(u8::MAX),
                    count,
                    passed_on: false,
                };
                let mut seed = [0; 32];
                random.fill(&mut seed);
                Self::part(
                    config.clone(),
                    (part, accounts.clone()),
                    Random::new(seed),
                    now,
                )
            })
            .collect()
    }

    /// Whether it relays at all.
    pub fn relays(&self) -> bool {
        !self.config.relays.is_empty()
    }

    /// Which part has which relayed port.
    pub fn relayed_ports(&self) -> &Arc<RelayedPorts> {
        &self.accounts.ports
    }

    /// What a client has sent was passed on by another part ([`Event::PassOn`]).
    pub fn handle_passed_on(&mut self, now: Now, datagram: Datagram<'_>) {
        self.part.passed_on = true;
        self.handle_datagram(now, datagram);
        self.part.passed_on = false;
    }

    /// The part that a client means which this one does not know.
    #[inline]
    pub(super) fn meant_elsewhere(&self, now: Now, client: &Client, bytes: &[u8]) -> Option<u8> {
        // Clients on streams and on DTLS belong to the first part, whatever they name.
        let is_bound = matches!(client.key, ClientKey::Stream(_))
            || client.path.socket.0 >= DTLS_LISTENERS_MIN;
        if self.part.count == 1 || self.part.passed_on || is_bound {
            return None;
        }
        let is_request = bytes.first() == Some(&0);
        if !is_request && !self.accounts.has_elsewhere() || self.clients.contains_key(&client.key) {
            return None;
        }
        if let Some(part) = self.accounts.part_with(&client.key) {
            return Some(part);
        }
        let is_long = bytes.len() > STREAM_REQUEST_LEN_MAX;
        let named = named_part(bytes).filter(|part| self.part.is_another(*part) && !is_long)?;
        // Nothing is proved yet, and others have to do with it.
        let (ip, rate) = (client.remote.ip(), self.config.quotas.unproven_per_second);
        let may = self.accounts.admits_unproven(now.monotonic, ip, rate);
        may.then_some(named)
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
        let part = self.accounts.ports.part_of(to)?;
        (part != usize::from(self.part.number)).then_some(Destination {
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
