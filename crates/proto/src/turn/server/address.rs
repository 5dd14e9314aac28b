//! To which addresses is relayed: what is the server's own, what the operator allows by name, and
//! what is refused to everybody else.
//!
//! A relay sends from inside the operator's network. What it refuses is therefore everything that
//! is not an address of the public internet, in every form that a host or a gateway would take
//! apart again: IPv4 inside IPv6 is looked at as the IPv4 address it ends up at.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use thiserror::Error;

use super::Server;

/// A range of addresses: `192.0.2.0/24`, `2001:db8::/32`, or one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cidr {
    ip: IpAddr,
    prefix: u8,
}

/// Why a text is no range of addresses.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0:?} is no range of addresses such as 192.0.2.0/24, 2001:db8::/32 or 192.0.2.7")]
pub struct BadCidr(String);

impl Cidr {
    /// Whether `ip` is in it. An IPv4 address inside an IPv6 one is not in a range of IPv4: it
    /// has to be named in the form in which it is meant.
    pub fn contains(&self, ip: IpAddr) -> bool {
        match (self.ip, ip) {
            (IpAddr::V4(net), IpAddr::V4(ip)) => {
                let shift = 32_u32.saturating_sub(self.prefix.into());
                let top = |ip: Ipv4Addr| u32::from(ip).checked_shr(shift).unwrap_or(0);
                top(net) == top(ip)
            }
            (IpAddr::V6(net), IpAddr::V6(ip)) => {
                let shift = 128_u32.saturating_sub(self.prefix.into());
                let top = |ip: Ipv6Addr| u128::from(ip).checked_shr(shift).unwrap_or(0);
                top(net) == top(ip)
            }
            _ => false,
        }
    }
}

impl FromStr for Cidr {
    type Err = BadCidr;

    fn from_str(text: &str) -> Result<Self, BadCidr> {
        let bad = || BadCidr(text.to_owned());
        let (ip, prefix) = match text.split_once('/') {
            Some((ip, prefix)) => (ip, Some(prefix)),
            None => (text, None),
        };
        let ip: IpAddr = ip.trim().parse().map_err(|_| bad())?;
        let most = if ip.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            Some(prefix) => prefix.trim().parse().map_err(|_| bad())?,
            None => most,
        };
        if prefix > most {
            return Err(bad());
        }
        Ok(Self { ip, prefix })
    }
}

/// How a peer is reached, if it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// It is one of our relayed addresses: what goes there is handed over without a socket.
    Own,
    /// Through a socket on the relayed address.
    Socket,
    /// Not at all.
    Refused,
}

/// Which peers are relayed to.
#[derive(Debug, Clone, Default)]
pub struct AddressPolicy {
    /// Ranges that are allowed though they are refused by default, such as a laboratory's.
    pub allow: Vec<Cidr>,
    /// Addresses of this machine: refused, as its listeners trust what comes from it.
    pub own: Vec<IpAddr>,
    /// Leaves nothing but `allow`: neither public addresses nor our own relayed ones. Default
    /// `false`.
    pub allowed_only: bool,
}

impl AddressPolicy {
    /// Whether the operator allows it by name.
    pub(super) fn is_named(&self, ip: IpAddr) -> bool {
        self.allow.iter().any(|range| range.contains(ip))
    }

    /// How `ip` is reached; `relayed` says whether it is an address on which we relay.
    pub(super) fn way(&self, ip: IpAddr, relayed: bool) -> Way {
        if self.is_named(ip) {
            Way::Socket
        } else if self.allowed_only {
            Way::Refused
        } else if relayed {
            Way::Own
        } else if is_public(ip) && !self.is_own(ip) {
            Way::Socket
        } else {
            Way::Refused
        }
    }

    fn is_own(&self, ip: IpAddr) -> bool {
        let inside = |ip: Ipv4Addr| self.own.contains(&IpAddr::V4(ip));
        self.own.contains(&ip)
            || matches!(ip, IpAddr::V6(ip) if inner(ip).into_iter().flatten().any(inside))
    }
}

impl Server {
    /// Addresses of this machine come and go; `own` takes the place of those known
    /// ([`AddressPolicy::own`]). It counts for permissions and channels from now on.
    pub fn set_own_addresses(&mut self, own: Vec<IpAddr>) {
        self.config.policy.own = own;
    }
}

/// Whether an address is one of the public internet. Addresses for documentation count as public:
/// nobody is there.
pub(super) fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => is_public_v4(ip),
        IpAddr::V6(ip) => is_public_v6(ip),
    }
}

fn is_public_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    let refused = match a {
        // "This network", private, loopback, multicast, reserved and broadcast.
        0 | 10 | 127 | 224..=255 => true,
        // Shared by carriers (RFC 6598).
        100 => (64..128).contains(&b),
        // Link-local, and with it the metadata of clouds.
        169 => b == 254,
        172 => (16..32).contains(&b),
        // Private, IETF assignments, and the former anycast of 6to4 relays.
        192 => b == 168 || (b == 0 && c == 0) || (b == 88 && c == 99),
        // Benchmarks (RFC 2544).
        198 => b == 18 || b == 19,
        _ => false,
    };
    !refused
}

fn is_public_v6(ip: Ipv6Addr) -> bool {
    let [a, b, c, ..] = ip.segments();
    let is_nat64 = ip.segments().starts_with(&[0x64, 0xff9b, 0, 0, 0, 0]);
    // Everything global is in 2000::/3, but for IPv4 behind a translator. That leaves out
    // unspecified, loopback, mapped, compatible and translated IPv4, unique local, link-local,
    // site-local, multicast, discarded, and translators of a local prefix (64:ff9b:1::/48).
    let is_global = a & 0xe000 == 0x2000 || is_nat64;
    // Benchmarks, and identifiers that are no addresses (RFC 5180, 4843, 7343).
    let is_special = a == 0x2001 && ((b == 2 && c == 0) || matches!(b & 0xfff0, 0x10 | 0x20));
    is_global && !is_special && inner(ip).into_iter().flatten().all(is_public_v4)
}

/// The IPv4 addresses that an IPv6 address carries, by the forms that gateways take apart: 6to4
/// (RFC 3056), NAT64 (RFC 6052), Teredo's client and server (RFC 4380), ISATAP (RFC 5214).
fn inner(ip: Ipv6Addr) -> [Option<Ipv4Addr>; 2] {
    let pair = |high: u16, low: u16| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    let isatap = match ip.segments() {
        [_, _, _, _, 0 | 0x200, 0x5efe, high, low] => Some(pair(high, low)),
        _ => None,
    };
    match ip.segments() {
        [0x2002, high, low, ..] => [Some(pair(high, low)), isatap],
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => [Some(pair(high, low)), None],
        [0x2001, 0, high, low, _, _, client_high, client_low] => {
            [Some(pair(high, low)), Some(pair(!client_high, !client_low))]
        }
        _ => [isatap, None],
    }
}
