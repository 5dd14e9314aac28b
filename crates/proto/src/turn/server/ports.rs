//! Relayed ports: which are taken, by whom, and which are kept for a second allocation.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, DefaultHasher, Hasher};
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
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

/// How often another part may be quicker in taking a port.
const CLAIMS_MAX: usize = 8;

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

/// Which part of a server has which relayed port: all parts take theirs from one range.
#[derive(Debug)]
pub struct RelayedPorts {
    /// By the addresses that peers see, for each port nothing, or one more than the part's place. Of a
    /// server in one part there are none.
    relays: Vec<(IpAddr, Box<[AtomicU8]>)>,
}

impl RelayedPorts {
    pub(super) fn new(relays: &[RelayAddress], parts: usize) -> Self {
        let several = relays.iter().take(RELAYS_MAX).filter(|_| parts > 1);
        let none = || (0..=u16::MAX).map(|_| AtomicU8::new(0)).collect();
        let relays = several.map(|relay| (relay.external, none())).collect();
        Self { relays }
    }

    fn entry(&self, external: SocketAddr) -> Option<&AtomicU8> {
        let mut all = self.relays.iter();
        let (_, ports) = all.find(|(ip, _)| *ip == external.ip())?;
        ports.get(usize::from(external.port()))
    }

    /// The place of the part that has a relayed address, as peers see it; `None` where nobody has it.
    #[inline]
    pub fn part_of(&self, relayed: SocketAddr) -> Option<usize> {
        if self.relays.is_empty() {
            return Some(0);
        }
        let own = self.entry(relayed)?.load(Ordering::Acquire);
        own.checked_sub(1).map(usize::from)
    }

    fn is_free(&self, external: SocketAddr) -> bool {
        let entry = self.entry(external);
        entry.is_none_or(|own| own.load(Ordering::Acquire) == 0)
    }

    /// Has a part have it; not where another was quicker.
    fn claim(&self, external: SocketAddr, part: u8) -> bool {
        let entry = self.entry(external);
        entry.is_none_or(|own| {
            let claimed = part.saturating_add(1);
            own.compare_exchange(0, claimed, Ordering::AcqRel, Ordering::Acquire)
                .is_ok()
        })
    }

    fn give_back(&self, external: SocketAddr) {
        if let Some(own) = self.entry(external) {
            own.store(0, Ordering::Release);
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
    shared: Arc<RelayedPorts>,
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
        (part, shared): (u8, Arc<RelayedPorts>),
        key: u64,
    ) -> Self {
        Self {
            relays: relays.iter().copied().take(RELAYS_MAX).collect(),
            range,
            check: None,
            part,
            shared,
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
            for _ in 0..CLAIMS_MAX {
                let Some(port) = self.free_port(random, transport, relay, wish) else {
                    break;
                };
                let at = |port| SocketAddr::new(relay.external, port);
                let next = (wish == Wish::EvenAndNext).then(|| at(port.saturating_add(1)));
                if !self.claim(at(port), next) {
                    continue;
                }
                let token = match next {
                    None => None,
                    Some(next) => {
                        let token = self.reserve(now, random, *relay, next.port());
                        if token.is_none() {
                            self.shared.give_back(at(port));
                            self.shared.give_back(next);
                            return None;
                        }
                        token
                    }
                };
                self.taken.insert(at(port), Holder::Allocation(allocation));
                return Some(Taken {
                    external: at(port),
                    bind: SocketAddr::new(relay.bind, port),
                    token,
                });
            }
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
        let (taken, shared) = (&self.taken, &self.shared);
        let (check, mut left) = (&mut self.check, CHECKS_MAX);
        let mut free = |port: u16| {
            let external = SocketAddr::new(relay.external, port);
            let is_free = !taken.contains_key(&external) && shared.is_free(external);
            if !(low..=high).contains(&port) || !is_free {
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
        self.taken.insert(external, Holder::Allocation(allocation));
        Some(Taken {
            external,
            bind: SocketAddr::new(kept.relay.bind, kept.port),
            token: None,
        })
    }

    /// Gives a port back.
    pub(super) fn release(&mut self, external: SocketAddr) {
        self.taken.remove(&external);
        self.shared.give_back(external);
    }

    /// Has this part have a port, and the next one where that is to be kept; not where another part was
    /// quicker.
    fn claim(&self, external: SocketAddr, next: Option<SocketAddr>) -> bool {
        if !self.shared.claim(external, self.part) {
            return false;
        }
        let has_both = next.is_none_or(|next| self.shared.claim(next, self.part));
        if !has_both {
            self.shared.give_back(external);
        }
        has_both
    }

    /// Gives back what was kept for too long.
    pub(super) fn expire(&mut self, now: Instant) {
        let (taken, shared) = (&mut self.taken, &self.shared);
        self.reservations.retain(|_, kept| {
            let lasts = kept.ends > now;
            if !lasts {
                let external = SocketAddr::new(kept.relay.external, kept.port);
                taken.remove(&external);
                shared.give_back(external);
            }
            lasts
        });
    }

    /// When the next one is given back.
    pub(super) fn next_end(&self) -> Option<Instant> {
        self.reservations.values().map(|kept| kept.ends).min()
    }
}
