//! Relayed ports: which are taken, by whom, and which are kept for a second allocation.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, DefaultHasher, Hasher};
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use super::allocation::Family;
use super::{RESERVATION_LASTS, RESERVATIONS_MAX, RelayAddress, Transport};
use crate::random::Random;

/// Relayed addresses at most.
const RELAYS_MAX: usize = 64;

/// Ports drawn before the range is gone through in order.
const DRAWS: usize = 8;

/// Ports of a relayed address that a check may refuse before an allocation is refused.
const CHECKS_MAX: u32 = 64;

/// Tells whether an address can be bound; see [`super::Server::check_ports_with`].
pub(super) struct PortCheck(pub(super) Box<dyn FnMut(Transport, SocketAddr) -> bool + Send>);

impl std::fmt::Debug for PortCheck {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PortCheck")
    }
}

/// Hashes with a key, so that nobody can aim at one place of a table. Nothing depends on the
/// order of what it is used for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Keyed(pub(super) u64);

impl BuildHasher for Keyed {
    type Hasher = DefaultHasher;

    fn build_hasher(&self) -> DefaultHasher {
        let mut hasher = DefaultHasher::new();
        hasher.write_u64(self.0);
        hasher
    }
}

/// Who has a relayed address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Holder {
    /// The allocation with this number.
    Allocation(u32),
    /// Nobody yet.
    Reserved,
}

#[derive(Debug, Clone, Copy)]
struct Reservation {
    relay: RelayAddress,
    port: u16,
    ends: Instant,
}

/// What an Allocate wants of a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wish {
    Any,
    Even,
    /// Even, and the next one kept.
    EvenAndNext,
}

/// On which relayed ports somebody relays, of all parts of a server: a bit for each.
#[derive(Debug)]
pub(super) struct Held(Vec<(IpAddr, Box<[AtomicU64]>)>);

impl Held {
    /// Of a server in one part, which knows its own, there are none.
    pub(super) fn new(relays: &[RelayAddress], parts: usize) -> Self {
        let several = relays.iter().take(RELAYS_MAX).filter(|_| parts > 1);
        let none = || (0..1024).map(|_| AtomicU64::new(0)).collect();
        Self(several.map(|relay| (relay.external, none())).collect())
    }

    fn bit(&self, external: SocketAddr) -> Option<(&AtomicU64, u64)> {
        let mut all = self.0.iter();
        let (_, words) = all.find(|(ip, _)| *ip == external.ip())?;
        let port = usize::from(external.port());
        Some((words.get(port / 64)?, 1 << (port % 64)))
    }

    #[inline]
    pub(super) fn has(&self, external: SocketAddr) -> bool {
        self.bit(external)
            .is_some_and(|(word, bit)| word.load(Ordering::Relaxed) & bit != 0)
    }

    fn set(&self, external: SocketAddr, is_held: bool) {
        match self.bit(external) {
            Some((word, bit)) if is_held => _ = word.fetch_or(bit, Ordering::Relaxed),
            Some((word, bit)) => _ = word.fetch_and(!bit, Ordering::Relaxed),
            None => {}
        }
    }
}

#[derive(Debug)]
pub(super) struct Ports {
    relays: Vec<RelayAddress>,
    range: RangeInclusive<u16>,
    check: Option<PortCheck>,
    /// With which tokens begin: the part of the server.
    part: u8,
    held: Arc<Held>,
    /// By external address.
    taken: HashMap<SocketAddr, Holder, Keyed>,
    reservations: BTreeMap<[u8; 8], Reservation>,
}

/// A port that has been taken.
#[derive(Debug, Clone, Copy)]
pub(super) struct Taken {
    pub(super) external: SocketAddr,
    pub(super) bind: SocketAddr,
    /// By which the next port can be had.
    pub(super) token: Option<[u8; 8]>,
}

impl Ports {
    pub(super) fn new(
        relays: &[RelayAddress],
        range: RangeInclusive<u16>,
        (part, held): (u8, Arc<Held>),
        key: u64,
    ) -> Self {
        Self {
            relays: relays.iter().copied().take(RELAYS_MAX).collect(),
            range,
            check: None,
            part,
            held,
            taken: HashMap::with_hasher(Keyed(key)),
            reservations: BTreeMap::new(),
        }
    }

    pub(super) fn check_with(&mut self, check: PortCheck) {
        self.check = Some(check);
    }

    /// Whether there is a relayed address of this family at all.
    pub(super) fn knows(&self, family: Family) -> bool {
        let mut relays = self.relays.iter();
        relays.any(|relay| Family::of(relay.external) == family)
    }

    /// Whether `ip` is one on which we relay.
    pub(super) fn is_relay(&self, ip: IpAddr) -> bool {
        self.relays.iter().any(|relay| relay.external == ip)
    }

    /// The addresses on which we relay, as peers see them.
    pub(super) fn relays(&self) -> Vec<IpAddr> {
        self.relays.iter().map(|relay| relay.external).collect()
    }

    /// Who has a relayed address.
    #[inline]
    pub(super) fn holder(&self, external: SocketAddr) -> Option<Holder> {
        self.taken.get(&external).copied()
    }

    /// Takes a port for `allocation`; `None` where none is left.
    pub(super) fn take(
        &mut self,
        now: Instant,
        random: &mut Random,
        (transport, family): (Transport, Family),
        wish: Wish,
        allocation: u32,
    ) -> Option<Taken> {
        let relays: Vec<RelayAddress> = self
            .relays
            .iter()
            .copied()
            .filter(|relay| Family::of(relay.external) == family)
            .collect();
        let first = random.below(u32::try_from(relays.len()).ok()?) as usize;
        let relays = relays.iter().cycle().skip(first).take(relays.len());
        for relay in relays {
            let Some(port) = self.free_port(random, transport, relay, wish) else {
                continue;
            };
            let external = SocketAddr::new(relay.external, port);
            let token = match wish {
                Wish::EvenAndNext => Some(self.reserve(now, random, *relay, port + 1)?),
                _ => None,
            };
            self.hold(external, allocation);
            let bind = SocketAddr::new(relay.bind, port);
            return Some(Taken {
                external,
                bind,
                token,
            });
        }
        None
    }

    fn free_port(
        &mut self,
        random: &mut Random,
        transport: Transport,
        relay: &RelayAddress,
        wish: Wish,
    ) -> Option<u16> {
        let (low, high) = (*self.range.start(), *self.range.end());
        let count = u32::from(high.checked_sub(low)?) + 1;
        let (taken, check, mut left) = (&self.taken, &mut self.check, CHECKS_MAX);
        let mut free = |port: u16| {
            if !(low..=high).contains(&port)
                || taken.contains_key(&SocketAddr::new(relay.external, port))
            {
                return false;
            }
            let Some(check) = check.as_mut() else {
                return true;
            };
            // Where the address itself is gone, not every port is asked about.
            left = left.saturating_sub(1);
            left > 0 && check.0(transport, SocketAddr::new(relay.bind, port))
        };
        let mut suits = |port: u16| match wish {
            Wish::Any => free(port),
            Wish::Even => port.is_multiple_of(2) && free(port),
            Wish::EvenAndNext => {
                port.is_multiple_of(2) && free(port) && port.checked_add(1).is_some_and(&mut free)
            }
        };
        let at = |offset: u32| low.saturating_add(u16::try_from(offset).unwrap_or(0));
        for _ in 0..DRAWS {
            let port = at(random.below(count));
            if suits(port) {
                return Some(port);
            }
        }
        let first = random.below(count);
        (0..count)
            .map(|step| at((first + step) % count))
            .find(|port| suits(*port))
    }

    fn reserve(
        &mut self,
        now: Instant,
        random: &mut Random,
        relay: RelayAddress,
        port: u16,
    ) -> Option<[u8; 8]> {
        if self.reservations.len() >= RESERVATIONS_MAX {
            return None;
        }
        let mut token = [0; 8];
        random.fill(&mut token);
        let [part, ..] = &mut token;
        *part = self.part;
        let ends = now + RESERVATION_LASTS;
        self.taken
            .insert(SocketAddr::new(relay.external, port), Holder::Reserved);
        let kept = Reservation { relay, port, ends };
        self.reservations.insert(token, kept);
        Some(token)
    }

    /// Takes the port that was kept; `None` where there is none any more.
    pub(super) fn take_reserved(
        &mut self,
        now: Instant,
        token: &[u8; 8],
        allocation: u32,
    ) -> Option<Taken> {
        let kept = self.reservations.get(token).copied()?;
        if kept.ends <= now {
            return None;
        }
        self.reservations.remove(token);
        let external = SocketAddr::new(kept.relay.external, kept.port);
        self.hold(external, allocation);
        Some(Taken {
            external,
            bind: SocketAddr::new(kept.relay.bind, kept.port),
            token: None,
        })
    }

    /// Gives a port back.
    pub(super) fn release(&mut self, external: SocketAddr) {
        self.taken.remove(&external);
        self.held.set(external, false);
    }

    fn hold(&mut self, external: SocketAddr, allocation: u32) {
        self.taken.insert(external, Holder::Allocation(allocation));
        self.held.set(external, true);
    }

    /// Gives back what was kept for too long.
    pub(super) fn expire(&mut self, now: Instant) {
        let taken = &mut self.taken;
        self.reservations.retain(|_, kept| {
            let lasts = kept.ends > now;
            if !lasts {
                taken.remove(&SocketAddr::new(kept.relay.external, kept.port));
            }
            lasts
        });
    }

    /// When the next one is given back.
    pub(super) fn next_end(&self) -> Option<Instant> {
        self.reservations.values().map(|kept| kept.ends).min()
    }
}
