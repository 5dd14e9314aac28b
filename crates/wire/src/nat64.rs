//! Addresses of IPv4 as networks with IPv6 alone have them: the prefix of a NAT64 (RFC 7050), and
//! what is made with it (RFC 6052 §2.2).

use std::net::{Ipv4Addr, Ipv6Addr};

/// The name whose addresses tell the prefix: it has two of IPv4, and all others are made by the
/// network (RFC 7050 §2.2).
pub const NAME: &str = "ipv4only.arpa";

/// The two.
const KNOWN: [Ipv4Addr; 2] = [Ipv4Addr::new(192, 0, 0, 170), Ipv4Addr::new(192, 0, 0, 171)];

/// Bits that prefixes have, the usual one first.
const LENGTHS: [u8; 6] = [96, 64, 56, 48, 40, 32];

/// Prefixes of a network that are taken at most.
pub const PREFIXES_MAX: usize = 2;

/// The prefix of a NAT64.
///
/// ```
/// use twocan_wire::nat64::Prefix;
/// let prefixes = Prefix::find(["64:ff9b::c000:aa".parse().unwrap()]);
/// let made = prefixes[0].synthesise("192.0.2.33".parse().unwrap());
/// assert_eq!(made, "64:ff9b::192.0.2.33".parse::<std::net::Ipv6Addr>().unwrap());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prefix {
    octets: [u8; 16],
    len: u8,
}

/// Where the address of IPv4 is behind a prefix: octet 8 is none of its.
fn places(len: u8) -> impl Iterator<Item = usize> {
    (usize::from(len / 8)..).filter(|place| *place != 8).take(4)
}

fn embedded(ip: Ipv6Addr, len: u8) -> Ipv4Addr {
    let octets = ip.octets();
    let mut inner = [0; 4];
    for (own, place) in inner.iter_mut().zip(places(len)) {
        *own = octets.get(place).copied().unwrap_or_default();
    }
    inner.into()
}

impl Prefix {
    /// The prefixes by which a network has made addresses of [`NAME`], in their order and each once,
    /// at most [`PREFIXES_MAX`]. An address in which either of the two stands at more than one place
    /// tells nothing.
    pub fn find(addresses: impl IntoIterator<Item = Ipv6Addr>) -> Vec<Self> {
        let mut found: Vec<Self> = Vec::new();
        for ip in addresses {
            let is_there = |len: &u8| KNOWN.contains(&embedded(ip, *len));
            let mut lengths = LENGTHS.into_iter().filter(is_there);
            let (Some(len), None) = (lengths.next(), lengths.next()) else {
                continue;
            };
            let mut octets = [0; 16];
            let bytes = usize::from(len / 8);
            for (own, of_ip) in octets.iter_mut().zip(ip.octets()).take(bytes) {
                *own = of_ip;
            }
            let prefix = Self { octets, len };
            if !found.contains(&prefix) && found.len() < PREFIXES_MAX {
                found.push(prefix);
            }
        }
        found
    }

    /// The address by which the network reaches one of IPv4.
    pub fn synthesise(&self, ip: Ipv4Addr) -> Ipv6Addr {
        let mut octets = self.octets;
        for (place, octet) in places(self.len).zip(ip.octets()) {
            if let Some(own) = octets.get_mut(place) {
                *own = octet;
            }
        }
        octets.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6052 §2.4, table 1: 192.0.2.33 behind prefixes of each length.
    #[test]
    fn addresses_are_made_as_the_rfc_has_them() {
        for (prefix, made) in [
            ("2001:db8::/32", "2001:db8:c000:221::"),
            ("2001:db8:100::/40", "2001:db8:1c0:2:21::"),
            ("2001:db8:122::/48", "2001:db8:122:c000:2:2100::"),
            ("2001:db8:122:300::/56", "2001:db8:122:3c0:0:221::"),
            ("2001:db8:122:344::/64", "2001:db8:122:344:c0:2:2100::"),
            ("2001:db8:122:344::/96", "2001:db8:122:344::192.0.2.33"),
            ("64:ff9b::/96", "64:ff9b::192.0.2.33"),
        ] {
            let (ip, len) = prefix.split_once('/').unwrap();
            let ip: Ipv6Addr = ip.parse().unwrap();
            let prefix = Prefix {
                octets: ip.octets(),
                len: len.parse().unwrap(),
            };
            let expected: Ipv6Addr = made.parse().unwrap();
            assert_eq!(prefix.synthesise([192, 0, 2, 33].into()), expected);
            assert_eq!(embedded(expected, prefix.len), Ipv4Addr::new(192, 0, 2, 33));
            // What the network makes of the name's addresses tells the same prefix.
            for known in KNOWN {
                assert_eq!(Prefix::find([prefix.synthesise(known)]), [prefix]);
            }
        }
    }

    #[test]
    fn what_tells_no_prefix_or_two_at_once_is_left() {
        let find = |all: &[&str]| Prefix::find(all.iter().map(|ip| ip.parse().unwrap()));
        assert_eq!(find(&[]), []);
        assert_eq!(find(&["2001:db8::1", "::ffff:192.0.2.1"]), []);
        // At two places.
        assert_eq!(find(&["2001:db8:c000:aa::c000:aa"]), []);
        let both = find(&["64:ff9b::c000:aa", "64:ff9b::c000:ab"]);
        assert_eq!(both.len(), 1);
        let many = find(&[
            "2001:db8:1::c000:aa",
            "2001:db8:2::c000:aa",
            "2001:db8:3::c000:aa",
        ]);
        assert_eq!(many.len(), PREFIXES_MAX);
    }
}
