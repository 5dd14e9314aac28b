//! Values of TURN's attributes (RFC 8656 §18), and of the long-term credentials that TURN needs
//! (RFC 8489 §14.11).

use std::net::{IpAddr, SocketAddr};

use super::ErrorCode;
use crate::reader::Reader;

/// The number that stands for a peer in ChannelData: 0x4000 to 0x4fff (RFC 8656 §12), and up to
/// 0x7fff from clients that still choose as RFC 5766 §11 had it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChannelNumber(u16);

impl ChannelNumber {
    /// The lowest.
    pub const MIN: Self = Self(0x4000);

    /// The highest that a client may choose today.
    pub const MAX: Self = Self(0x4fff);

    /// From its number; `None` outside 0x4000 to 0x7fff.
    pub const fn new(number: u16) -> Option<Self> {
        if number >= Self::MIN.0 && number < 0x8000 {
            Some(Self(number))
        } else {
            None
        }
    }

    /// Its number.
    pub const fn number(self) -> u16 {
        self.0
    }
}

/// The family of an address, by its number in the protocol (RFC 8656 §18.6). A server answers 440
/// to one that it does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AddressFamily(pub u8);

impl AddressFamily {
    /// IPv4.
    pub const IPV4: Self = Self(1);

    /// IPv6.
    pub const IPV6: Self = Self(2);

    /// The family of `ip`.
    pub const fn of(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(_) => Self::IPV4,
            IpAddr::V6(_) => Self::IPV6,
        }
    }
}

/// Why the allocation of one of two families failed (RFC 8656 §18.12).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AddressError<'a> {
    /// The family that could not be had.
    pub family: AddressFamily,
    /// Why.
    pub error: ErrorCode<'a>,
}

/// An ICMP error of a peer's host (RFC 8656 §18.13).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Icmp {
    /// ICMP type, 0 to 127.
    pub kind: u8,
    /// ICMP code, 0 to 511.
    pub code: u16,
    /// What the message carried, such as the next hop's MTU; 0 where it carried nothing.
    pub data: u32,
}

impl Icmp {
    pub(super) fn parse([_, _, high, low, a, b, c, d]: [u8; 8]) -> Self {
        let both = u16::from_be_bytes([high, low]);
        Self {
            kind: (both >> 9) as u8,
            code: both & 0x01ff,
            data: u32::from_be_bytes([a, b, c, d]),
        }
    }

    pub(super) fn bytes(self) -> [u8; 8] {
        let both = u16::from(self.kind & 0x7f) << 9 | self.code & 0x01ff;
        let [high, low] = both.to_be_bytes();
        let [a, b, c, d] = self.data.to_be_bytes();
        [0, 0, high, low, a, b, c, d]
    }
}

/// How a password becomes a key, by its number in the protocol (RFC 8489 §18.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PasswordAlgorithm(pub u16);

impl PasswordAlgorithm {
    /// MD5 of `username:realm:password`.
    pub const MD5: Self = Self(1);

    /// SHA-256 of the same.
    pub const SHA256: Self = Self(2);

    /// Appends it in the form of PASSWORD-ALGORITHM and PASSWORD-ALGORITHMS, without parameters.
    pub fn write(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.0.to_be_bytes());
        out.extend_from_slice(&[0, 0]);
    }
}

/// The algorithms in the value of PASSWORD-ALGORITHMS, without their parameters, of which the
/// known ones have none (RFC 8489 §14.11); `None` where the value is malformed.
pub fn password_algorithms(
    value: &[u8],
) -> Option<impl Iterator<Item = PasswordAlgorithm> + use<'_>> {
    let next = |reader: &mut Reader<'_>| {
        let number = reader.u16().ok()?;
        let len = usize::from(reader.u16().ok()?);
        reader.take(len).ok()?;
        reader.take(len.wrapping_neg() & 3).ok()?;
        Some(PasswordAlgorithm(number))
    };
    let mut all = Reader::new(value);
    while !all.is_empty() {
        next(&mut all)?;
    }
    let mut reader = Reader::new(value);
    Some(std::iter::from_fn(move || next(&mut reader)))
}

/// What TURN asks a message for.
impl super::Message<'_> {
    /// The first XOR-PEER-ADDRESS.
    pub fn peer_address(&self) -> Option<SocketAddr> {
        self.attributes().find_map(|attribute| match attribute {
            super::Attribute::XorPeerAddress(address) => Some(address),
            _ => None,
        })
    }

    /// The first XOR-RELAYED-ADDRESS.
    pub fn relayed_address(&self) -> Option<SocketAddr> {
        self.attributes().find_map(|attribute| match attribute {
            super::Attribute::XorRelayedAddress(address) => Some(address),
            _ => None,
        })
    }

    /// LIFETIME, in seconds.
    pub fn lifetime(&self) -> Option<u32> {
        self.attributes().find_map(|attribute| match attribute {
            super::Attribute::Lifetime(seconds) => Some(seconds),
            _ => None,
        })
    }
}
