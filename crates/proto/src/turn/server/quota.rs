//! Who may have how much: answers to the unproven, allocations, bytes.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};

use super::Quotas;
use super::meter::Meter;

/// Prefixes that are told apart in the budget of answers to the unproven. More share.
const PREFIXES: usize = 4096;

/// Answers to sources that have proved nothing, per prefix: /24 of IPv4, /56 of IPv6.
///
/// The table has a fixed size, whatever arrives.
#[derive(Debug)]
pub(super) struct Unproven {
    meters: Box<[Meter]>,
    key: u64,
}

impl Unproven {
    pub(super) fn new(key: u64) -> Self {
        Self {
            meters: (0..PREFIXES).map(|_| Meter::default()).collect(),
            key,
        }
    }

    /// Whether one more answer to `ip` is within `per_second` of its prefix, at `now` in nanoseconds.
    pub(super) fn admits(&self, now: u64, ip: IpAddr, per_second: u32) -> bool {
        let prefix = match ip.to_canonical() {
            IpAddr::V4(ip) => u64::from(u32::from(ip) >> 8),
            IpAddr::V6(ip) => (u128::from(ip) >> 72) as u64 | 1 << 63,
        };
        // An attacker who knew the places could starve a prefix by another: the key hides them.
        let mixed = (prefix ^ self.key).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mixed =
            (mixed ^ (mixed >> 29) ^ self.key.rotate_left(32)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let place = (mixed >> 40) as usize % PREFIXES;
        let rate = u64::from(per_second);
        let meter = self.meters.get(place);
        rate > 0 && meter.is_some_and(|own| own.take(now, rate, rate.saturating_mul(2), 1))
    }
}

/// How many allocations there are, by whom.
#[derive(Debug, Default)]
pub(super) struct Holders {
    users: BTreeMap<String, usize>,
    addresses: BTreeMap<IpAddr, usize>,
    total: usize,
}

impl Holders {
    /// Whether `user` at `ip` may have one more.
    pub(super) fn admits(&self, quotas: &Quotas, user: &str, ip: IpAddr) -> bool {
        let of_user = self.users.get(user).copied().unwrap_or(0);
        let of_address = self.addresses.get(&holder(ip)).copied().unwrap_or(0);
        of_user < quotas.per_user && of_address < quotas.per_address
    }

    /// How many there are.
    pub(super) fn total(&self) -> usize {
        self.total
    }

    pub(super) fn add(&mut self, user: &str, ip: IpAddr) {
        *self.users.entry(user.to_owned()).or_default() += 1;
        *self.addresses.entry(holder(ip)).or_default() += 1;
        self.total += 1;
    }

    pub(super) fn remove(&mut self, user: &str, ip: IpAddr) {
        let less = |count: &mut usize| {
            *count = count.saturating_sub(1);
            *count == 0
        };
        if self.users.get_mut(user).is_some_and(less) {
            self.users.remove(user);
        }
        if self.addresses.get_mut(&holder(ip)).is_some_and(less) {
            self.addresses.remove(&holder(ip));
        }
        self.total = self.total.saturating_sub(1);
    }
}

/// Whom an address stands for: itself, or its network of IPv6, which is one customer's.
fn holder(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(ip) => Ipv6Addr::from(u128::from(ip) >> 64 << 64).into(),
        ip => ip,
    }
}
