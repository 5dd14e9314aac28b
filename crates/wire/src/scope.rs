//! Who can be at an IP address: the ranges that are set apart (RFC 6890 and the registries that it
//! began), in one place.
//!
//! What follows from it is up to whoever asks: a relay refuses all that is not of the public
//! internet ([`is_global`]), a client is not led to its own network ([`Scope::is_near`]).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Where an address means something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Nowhere: unspecified, "this network", broadcast, reserved, discarded.
    Nobody,
    /// On this host.
    Loopback,
    /// On this link; of IPv4 the metadata of clouds are there, too.
    LinkLocal,
    /// In this network: private (RFC 1918), unique local (RFC 4193), site-local (RFC 3879).
    Private,
    /// In the network of a carrier (RFC 6598).
    Shared,
    /// Of groups of hosts.
    Multicast,
    /// Of protocols, benchmarks and translators of a network's own.
    Special,
    /// Everywhere. Addresses for documentation count here: nobody is there.
    Global,
}

impl Scope {
    /// That of an address as it is written: IPv4 inside IPv6 is not looked at, so that
    /// [`IpAddr::to_canonical`] comes first where the two mean the same.
    pub fn of(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(ip) => Self::of_v4(ip),
            IpAddr::V6(ip) => Self::of_v6(ip),
        }
    }

    /// Whether it is of this host, this network, or that of the carrier: what others may not aim at
    /// from outside.
    pub const fn is_near(self) -> bool {
        matches!(
            self,
            Self::Loopback | Self::LinkLocal | Self::Private | Self::Shared
        )
    }

    const fn of_v4(ip: Ipv4Addr) -> Self {
        match ip.octets() {
            [0 | 240..=255, ..] => Self::Nobody,
            [10, ..] | [172, 16..=31, ..] | [192, 168, ..] => Self::Private,
            [127, ..] => Self::Loopback,
            [169, 254, ..] => Self::LinkLocal,
            [100, 64..=127, ..] => Self::Shared,
            [224..=239, ..] => Self::Multicast,
            // IETF assignments, the former anycast of 6to4 relays (RFC 7526), benchmarks (RFC 2544).
            [192, 0, 0, _] | [192, 88, 99, _] | [198, 18 | 19, ..] => Self::Special,
            _ => Self::Global,
        }
    }

    fn of_v6(ip: Ipv6Addr) -> Self {
        match ip.segments() {
            [0, 0, 0, 0, 0, 0, 0, 1] => Self::Loopback,
            [0xfe80..=0xfebf, ..] => Self::LinkLocal,
            [0xfc00..=0xfdff, ..] | [0xfec0..=0xfeff, ..] => Self::Private,
            [0xff00..=0xffff, ..] => Self::Multicast,
            // Benchmarks, and identifiers that are no addresses (RFC 5180, 4843, 7343).
            [0x2001, 2, 0, ..] | [0x2001, 0x10..=0x2f, ..] => Self::Special,
            // Translators, to the internet (RFC 6052) and of a network's own (RFC 8215).
            [0x64, 0xff9b, 0, 0, 0, 0, ..] => Self::Global,
            [0x64, 0xff9b, 1, ..] => Self::Special,
            [0x2000..=0x3fff, ..] => Self::Global,
            // Unspecified, discarded (RFC 6666), mapped, compatible, and not yet given out.
            _ => Self::Nobody,
        }
    }
}

/// Whether an address is one of the public internet, as is every IPv4 address that it carries
/// ([`carried`]).
pub fn is_global(ip: IpAddr) -> bool {
    let inner_is_global = match ip {
        IpAddr::V4(_) => true,
        IpAddr::V6(ip) => carried(ip).all(|inner| Scope::of_v4(inner) == Scope::Global),
    };
    Scope::of(ip) == Scope::Global && inner_is_global
}

/// The IPv4 addresses that an IPv6 address carries, by the forms that gateways take apart: 6to4
/// (RFC 3056), NAT64 (RFC 6052), Teredo's client and server (RFC 4380), ISATAP (RFC 5214).
pub fn carried(ip: Ipv6Addr) -> impl Iterator<Item = Ipv4Addr> {
    let pair = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        Ipv4Addr::new(a, b, c, d)
    };
    let isatap = match ip.segments() {
        [_, _, _, _, 0 | 0x200, 0x5efe, high, low] => Some(pair(high, low)),
        _ => None,
    };
    let carried = match ip.segments() {
        [0x2002, high, low, ..] => [Some(pair(high, low)), isatap],
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => [Some(pair(high, low)), None],
        [0x2001, 0, high, low, _, _, client_high, client_low] => {
            [Some(pair(high, low)), Some(pair(!client_high, !client_low))]
        }
        _ => [isatap, None],
    };
    carried.into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// First and last addresses of ranges, and their neighbours (RFC 6890 §2.2 and the IANA
    /// registries of special-purpose addresses).
    #[test]
    fn the_ranges_are_those_of_the_registries() {
        use Scope::{Global, LinkLocal, Loopback, Multicast, Nobody, Private, Shared, Special};
        for (address, scope) in [
            ("0.0.0.0", Nobody),
            ("0.255.255.255", Nobody),
            ("1.0.0.0", Global),
            ("9.255.255.255", Global),
            ("10.0.0.0", Private),
            ("10.255.255.255", Private),
            ("11.0.0.0", Global),
            ("100.63.255.255", Global),
            ("100.64.0.0", Shared),
            ("100.127.255.255", Shared),
            ("100.128.0.0", Global),
            ("127.0.0.1", Loopback),
            ("127.255.255.255", Loopback),
            ("128.0.0.0", Global),
            ("169.253.255.255", Global),
            ("169.254.169.254", LinkLocal),
            ("169.255.0.0", Global),
            ("172.15.255.255", Global),
            ("172.16.0.0", Private),
            ("172.31.255.255", Private),
            ("172.32.0.0", Global),
            ("192.0.0.8", Special),
            ("192.0.1.0", Global),
            ("192.0.2.1", Global),
            ("192.88.99.1", Special),
            ("192.167.255.255", Global),
            ("192.168.0.0", Private),
            ("192.169.0.0", Global),
            ("198.17.255.255", Global),
            ("198.18.0.0", Special),
            ("198.19.255.255", Special),
            ("198.20.0.0", Global),
            ("223.255.255.255", Global),
            ("224.0.0.251", Multicast),
            ("239.255.255.255", Multicast),
            ("240.0.0.0", Nobody),
            ("255.255.255.255", Nobody),
            ("::", Nobody),
            ("::1", Loopback),
            ("::2", Nobody),
            ("::ffff:8.8.8.8", Nobody),
            ("64:ff9b::808:808", Global),
            ("64:ff9b:0:0:0:1::", Nobody),
            ("64:ff9b:1::1", Special),
            ("100::1", Nobody),
            ("1fff:ffff::", Nobody),
            ("2000::", Global),
            ("2001:2::1", Special),
            ("2001:2:1::1", Global),
            ("2001:10::", Special),
            ("2001:2f:ffff::", Special),
            ("2001:30::", Global),
            ("2001:db8::1", Global),
            ("3fff:ffff::1", Global),
            ("4000::", Nobody),
            ("fbff::1", Nobody),
            ("fc00::1", Private),
            ("fdff:ffff::1", Private),
            ("fe00::1", Nobody),
            ("fe80::1", LinkLocal),
            ("febf::1", LinkLocal),
            ("fec0::1", Private),
            ("ff02::fb", Multicast),
        ] {
            assert_eq!(Scope::of(address.parse().unwrap()), scope, "{address}");
        }
    }

    #[test]
    fn an_address_that_carries_another_is_as_near_as_that_one() {
        for (address, is_public) in [
            ("2002:c000:201::1", true),
            ("2002:a00:1::1", false),
            ("64:ff9b::c000:201", true),
            ("64:ff9b::7f00:1", false),
            // Teredo: the server's address, and the client's with all bits turned over.
            ("2001:0:c000:201:0:0:3fff:fdfe", true),
            ("2001:0:c0a8:101:0:0:3fff:fdfe", false),
            ("2001:0:c000:201:0:0:f5ff:fffe", false),
            ("2001:db8::5efe:c000:201", true),
            ("2001:db8::200:5efe:a00:1", false),
            ("2001:db8::1", true),
            ("::ffff:8.8.8.8", false),
        ] {
            assert_eq!(is_global(address.parse().unwrap()), is_public, "{address}");
        }
    }
}
