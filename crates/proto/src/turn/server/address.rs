//! To which addresses is relayed: what is the server's own, what the operator allows by name, and
//! what is refused to everybody else.
//!
//! A relay sends from inside the operator's network. What it refuses is therefore everything that
//! is not an address of the public internet, in every form that a host or a gateway would take
//! apart again: IPv4 inside IPv6 is looked at as the IPv4 address it ends up at.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use thiserror::Error;
use twocan_wire::scope::{carried, is_global};

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
    /// It is one of our relayed addresses, or takes media of ours: what goes there is handed over
    /// without a socket.
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
        } else if is_global(ip) && !self.is_own(ip) {
            Way::Socket
        } else {
            Way::Refused
        }
    }

    fn is_own(&self, ip: IpAddr) -> bool {
        let inside = |ip: Ipv4Addr| self.own.contains(&IpAddr::V4(ip));
        self.own.contains(&ip) || matches!(ip, IpAddr::V6(ip) if carried(ip).any(inside))
    }
}

impl Server {
    /// Addresses of this machine come and go; `own` takes the place of those known
    /// ([`AddressPolicy::own`]). It counts for permissions and channels from now on.
    pub fn set_own_addresses(&mut self, own: Vec<IpAddr>) {
        self.config.policy.own = own;
    }
}
