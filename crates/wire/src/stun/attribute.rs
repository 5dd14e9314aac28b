//! Attributes (RFC 8489 §14, RFC 8445 §16.1).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{MAGIC_COOKIE, StunError, TransactionId};
use crate::reader::Reader;

/// One attribute, borrowed from its message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attribute<'a> {
    /// 0x0001, for servers of RFC 3489.
    MappedAddress(SocketAddr),
    /// 0x0006.
    Username(&'a str),
    /// 0x0008: HMAC-SHA1, 20 bytes.
    MessageIntegrity(&'a [u8; 20]),
    /// 0x001c: HMAC-SHA256, 16 to 32 bytes in steps of four.
    MessageIntegritySha256(&'a [u8]),
    /// 0x0009.
    ErrorCode(ErrorCode<'a>),
    /// 0x000a: big-endian attribute types.
    UnknownAttributes(&'a [u8]),
    /// 0x0014.
    Realm(&'a str),
    /// 0x0015.
    Nonce(&'a str),
    /// 0x001e: SHA-256 of `username:realm`.
    Userhash(&'a [u8; 32]),
    /// 0x0020.
    XorMappedAddress(SocketAddr),
    /// 0x8022.
    Software(&'a str),
    /// 0x8028.
    Fingerprint(u32),
    /// 0x0024 (RFC 8445 §7.1.1).
    Priority(u32),
    /// 0x0025 (RFC 8445 §7.1.2).
    UseCandidate,
    /// 0x8029: tie-breaker (RFC 8445 §7.1.3).
    IceControlled(u64),
    /// 0x802a: tie-breaker (RFC 8445 §7.1.3).
    IceControlling(u64),
    /// Anything else.
    Unknown {
        /// The attribute type; below 0x8000 it must be understood.
        kind: u16,
        /// The value without padding.
        value: &'a [u8],
    },
}

/// The ERROR-CODE attribute (RFC 8489 §14.8).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ErrorCode<'a> {
    /// 300 to 699.
    pub code: u16,
    /// For people.
    pub reason: &'a str,
}

impl ErrorCode<'static> {
    /// The request was malformed.
    pub const BAD_REQUEST: Self = Self {
        code: 400,
        reason: "Bad Request",
    };
    /// An attribute below 0x8000 was not understood.
    pub const UNKNOWN_ATTRIBUTE: Self = Self {
        code: 420,
        reason: "Unknown Attribute",
    };
    /// Both agents claim the same role (RFC 8445 §7.3.1.1).
    pub const ROLE_CONFLICT: Self = Self {
        code: 487,
        reason: "Role Conflict",
    };
}

impl<'a> Attribute<'a> {
    pub(super) fn parse(
        kind: u16,
        value: &'a [u8],
        transaction: TransactionId,
    ) -> Result<Self, StunError> {
        let bad = StunError::BadAttribute(kind);
        let text = || core::str::from_utf8(value).map_err(|_| bad);
        let number = || {
            Reader::new(value)
                .u32()
                .ok()
                .filter(|_| value.len() == 4)
                .ok_or(bad)
        };
        let number64 = || {
            Reader::new(value)
                .u64()
                .ok()
                .filter(|_| value.len() == 8)
                .ok_or(bad)
        };
        Ok(match kind {
            0x0001 => Self::MappedAddress(parse_address(value, None).ok_or(bad)?),
            0x0006 => Self::Username(text()?),
            0x0008 => Self::MessageIntegrity(value.try_into().map_err(|_| bad)?),
            0x0009 => Self::ErrorCode(parse_error_code(value).ok_or(bad)?),
            0x000a if value.len().is_multiple_of(2) => Self::UnknownAttributes(value),
            0x000a => return Err(bad),
            0x0014 => Self::Realm(text()?),
            0x0015 => Self::Nonce(text()?),
            0x001c if (16..=32).contains(&value.len()) && value.len().is_multiple_of(4) => {
                Self::MessageIntegritySha256(value)
            }
            0x001c => return Err(bad),
            0x001e => Self::Userhash(value.try_into().map_err(|_| bad)?),
            0x0020 => Self::XorMappedAddress(parse_address(value, Some(transaction)).ok_or(bad)?),
            0x0024 => Self::Priority(number()?),
            0x0025 if value.is_empty() => Self::UseCandidate,
            0x0025 => return Err(bad),
            0x8022 => Self::Software(text()?),
            0x8028 => Self::Fingerprint(number()?),
            0x8029 => Self::IceControlled(number64()?),
            0x802a => Self::IceControlling(number64()?),
            _ => Self::Unknown { kind, value },
        })
    }

    /// The attribute type.
    pub fn kind(&self) -> u16 {
        match self {
            Self::MappedAddress(_) => 0x0001,
            Self::Username(_) => 0x0006,
            Self::MessageIntegrity(_) => 0x0008,
            Self::ErrorCode(_) => 0x0009,
            Self::UnknownAttributes(_) => 0x000a,
            Self::Realm(_) => 0x0014,
            Self::Nonce(_) => 0x0015,
            Self::MessageIntegritySha256(_) => 0x001c,
            Self::Userhash(_) => 0x001e,
            Self::XorMappedAddress(_) => 0x0020,
            Self::Priority(_) => 0x0024,
            Self::UseCandidate => 0x0025,
            Self::Software(_) => 0x8022,
            Self::Fingerprint(_) => 0x8028,
            Self::IceControlled(_) => 0x8029,
            Self::IceControlling(_) => 0x802a,
            Self::Unknown { kind, .. } => *kind,
        }
    }

    pub(super) fn write_value(&self, out: &mut Vec<u8>, transaction: TransactionId) {
        match self {
            Self::MappedAddress(address) => write_address(out, *address, None),
            Self::XorMappedAddress(address) => write_address(out, *address, Some(transaction)),
            Self::Username(text) | Self::Realm(text) | Self::Nonce(text) | Self::Software(text) => {
                out.extend_from_slice(text.as_bytes())
            }
            Self::MessageIntegrity(mac) => out.extend_from_slice(*mac),
            Self::MessageIntegritySha256(bytes) | Self::UnknownAttributes(bytes) => {
                out.extend_from_slice(bytes);
            }
            Self::Userhash(hash) => out.extend_from_slice(*hash),
            Self::ErrorCode(error) => {
                let class = (error.code / 100).min(6) as u8;
                out.extend_from_slice(&[0, 0, class, (error.code % 100) as u8]);
                out.extend_from_slice(error.reason.as_bytes());
            }
            Self::Priority(value) | Self::Fingerprint(value) => {
                out.extend_from_slice(&value.to_be_bytes());
            }
            Self::IceControlled(value) | Self::IceControlling(value) => {
                out.extend_from_slice(&value.to_be_bytes());
            }
            Self::UseCandidate => {}
            Self::Unknown { value, .. } => out.extend_from_slice(value),
        }
    }
}

/// The 128 bits that addresses are XORed with (RFC 8489 §14.2).
fn mask(transaction: TransactionId) -> [u8; 16] {
    let mut mask = [0; 16];
    let (cookie, rest) = mask.split_at_mut(4);
    cookie.copy_from_slice(&MAGIC_COOKIE.to_be_bytes());
    rest.copy_from_slice(&transaction.0);
    mask
}

fn xor<const N: usize>(mut bytes: [u8; N], mask: [u8; 16]) -> [u8; N] {
    for (byte, mask) in bytes.iter_mut().zip(mask) {
        *byte ^= mask;
    }
    bytes
}

fn parse_address(value: &[u8], transaction: Option<TransactionId>) -> Option<SocketAddr> {
    let mask = transaction.map_or([0; 16], mask);
    let port_mask = if transaction.is_some() {
        (MAGIC_COOKIE >> 16) as u16
    } else {
        0
    };
    let mut reader = Reader::new(value);
    let [_, family] = reader.array().ok()?;
    let port = reader.u16().ok()? ^ port_mask;
    let ip = match family {
        1 => IpAddr::V4(Ipv4Addr::from(xor(reader.array::<4>().ok()?, mask))),
        2 => IpAddr::V6(Ipv6Addr::from(xor(reader.array::<16>().ok()?, mask))),
        _ => return None,
    };
    reader.is_empty().then_some(SocketAddr::new(ip, port))
}

fn write_address(out: &mut Vec<u8>, address: SocketAddr, transaction: Option<TransactionId>) {
    let mask = transaction.map_or([0; 16], mask);
    let port_mask = if transaction.is_some() {
        (MAGIC_COOKIE >> 16) as u16
    } else {
        0
    };
    out.push(0);
    out.push(if address.is_ipv4() { 1 } else { 2 });
    out.extend_from_slice(&(address.port() ^ port_mask).to_be_bytes());
    match address.ip() {
        IpAddr::V4(ip) => out.extend_from_slice(&xor(ip.octets(), mask)),
        IpAddr::V6(ip) => out.extend_from_slice(&xor(ip.octets(), mask)),
    }
}

fn parse_error_code(value: &[u8]) -> Option<ErrorCode<'_>> {
    let mut reader = Reader::new(value);
    let [_, _, class, number] = reader.array().ok()?;
    let class = class & 0x07;
    if !(3..=6).contains(&class) || number > 99 {
        return None;
    }
    let code = u16::from(class)
        .saturating_mul(100)
        .saturating_add(u16::from(number));
    let reason = core::str::from_utf8(reader.rest()).ok()?;
    Some(ErrorCode { code, reason })
}
