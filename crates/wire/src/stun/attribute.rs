//! Attributes (RFC 8489 §14, RFC 8445 §16.1).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::turn::{
    AddressError, AddressFamily, ChannelNumber, Icmp, PasswordAlgorithm, password_algorithms,
};
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
    /// 0xc001: the later of two nominations is the greater (draft-thatcher-ice-renomination).
    Nomination(u32),
    /// 0x8029: tie-breaker (RFC 8445 §7.1.3).
    IceControlled(u64),
    /// 0x802a: tie-breaker (RFC 8445 §7.1.3).
    IceControlling(u64),
    /// 0x0003 (RFC 5780 §7.2): answer from another address, another port.
    ChangeRequest {
        /// From the other IP address.
        ip: bool,
        /// From the other port.
        port: bool,
    },
    /// 0x000c (RFC 8656 §18.1).
    ChannelNumber(ChannelNumber),
    /// 0x000d, in seconds (RFC 8656 §18.2).
    Lifetime(u32),
    /// 0x0012 (RFC 8656 §18.3).
    XorPeerAddress(SocketAddr),
    /// 0x0013: what is relayed (RFC 8656 §18.4).
    Data(&'a [u8]),
    /// 0x0016 (RFC 8656 §18.5).
    XorRelayedAddress(SocketAddr),
    /// 0x0017 (RFC 8656 §18.6).
    RequestedAddressFamily(AddressFamily),
    /// 0x0018: an even relayed port, and whether the next one is to be kept (RFC 8656 §18.7).
    EvenPort {
        /// Keep the port after it for another allocation.
        reserve_next: bool,
    },
    /// 0x0019: an IP protocol number, 17 for UDP (RFC 8656 §18.8).
    RequestedTransport(u8),
    /// 0x001a (RFC 8656 §18.9).
    DontFragment,
    /// 0x001d: the algorithm that the client took (RFC 8489 §14.12).
    PasswordAlgorithm(PasswordAlgorithm),
    /// 0x0022 (RFC 8656 §18.10).
    ReservationToken(&'a [u8; 8]),
    /// 0x0026: bytes without a meaning (RFC 5780 §7.6).
    Padding(&'a [u8]),
    /// 0x0027: where the answer is to go (RFC 5780 §7.5).
    ResponsePort(u16),
    /// 0x002a (RFC 6062 §6.2.1).
    ConnectionId(u32),
    /// 0x8000: a second family beside IPv4 (RFC 8656 §18.11).
    AdditionalAddressFamily(AddressFamily),
    /// 0x8001: why one of two families was refused (RFC 8656 §18.12).
    AddressErrorCode(AddressError<'a>),
    /// 0x8002: what the server offers, read by [`password_algorithms`] (RFC 8489 §14.11).
    PasswordAlgorithms(&'a [u8]),
    /// 0x8003 (RFC 8489 §14.16).
    AlternateDomain(&'a str),
    /// 0x8004: an ICMP error that a peer's host answered (RFC 8656 §18.13).
    Icmp(Icmp),
    /// 0x8023 (RFC 8489 §14.15).
    AlternateServer(SocketAddr),
    /// 0x802b: where the answer came from (RFC 5780 §7.3).
    ResponseOrigin(SocketAddr),
    /// 0x802c: the server's other address (RFC 5780 §7.4).
    OtherAddress(SocketAddr),
    /// 0x8030 (RFC 8016 §3.4): empty in the request.
    MobilityTicket(&'a [u8]),
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
    /// Ask the server in ALTERNATE-SERVER instead (RFC 8489 §10).
    pub const TRY_ALTERNATE: Self = Self {
        code: 300,
        reason: "Try Alternate",
    };
    /// Credentials are missing or wrong (RFC 8489 §9.2.4).
    pub const UNAUTHENTICATED: Self = Self {
        code: 401,
        reason: "Unauthenticated",
    };
    /// Not allowed, such as an address that is not relayed to (RFC 8656 §19).
    pub const FORBIDDEN: Self = Self {
        code: 403,
        reason: "Forbidden",
    };
    /// The server moves no allocations (RFC 8016 §4).
    pub const MOBILITY_FORBIDDEN: Self = Self {
        code: 405,
        reason: "Mobility Forbidden",
    };
    /// There is no allocation, or there is one already (RFC 8656 §19).
    pub const ALLOCATION_MISMATCH: Self = Self {
        code: 437,
        reason: "Allocation Mismatch",
    };
    /// The nonce is too old; the answer carries a new one (RFC 8489 §9.2.4).
    pub const STALE_NONCE: Self = Self {
        code: 438,
        reason: "Stale Nonce",
    };
    /// No addresses of that family (RFC 8656 §19).
    pub const ADDRESS_FAMILY_NOT_SUPPORTED: Self = Self {
        code: 440,
        reason: "Address Family not Supported",
    };
    /// The allocation belongs to another user (RFC 8656 §19).
    pub const WRONG_CREDENTIALS: Self = Self {
        code: 441,
        reason: "Wrong Credentials",
    };
    /// REQUESTED-TRANSPORT names one that is not relayed (RFC 8656 §19).
    pub const UNSUPPORTED_TRANSPORT_PROTOCOL: Self = Self {
        code: 442,
        reason: "Unsupported Transport Protocol",
    };
    /// The peer is of another family than the relayed address (RFC 8656 §19).
    pub const PEER_ADDRESS_FAMILY_MISMATCH: Self = Self {
        code: 443,
        reason: "Peer Address Family Mismatch",
    };
    /// There is a connection to that peer (RFC 6062 §6.3).
    pub const CONNECTION_ALREADY_EXISTS: Self = Self {
        code: 446,
        reason: "Connection Already Exists",
    };
    /// The peer could not be reached (RFC 6062 §6.3).
    pub const CONNECTION_TIMEOUT_OR_FAILURE: Self = Self {
        code: 447,
        reason: "Connection Timeout or Failure",
    };
    /// The user has as many allocations as are allowed (RFC 8656 §19).
    pub const ALLOCATION_QUOTA_REACHED: Self = Self {
        code: 486,
        reason: "Allocation Quota Reached",
    };
    /// Something failed that may not fail the next time (RFC 8489 §14.8).
    pub const SERVER_ERROR: Self = Self {
        code: 500,
        reason: "Server Error",
    };
    /// The server has no port or no room left (RFC 8656 §19).
    pub const INSUFFICIENT_CAPACITY: Self = Self {
        code: 508,
        reason: "Insufficient Capacity",
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
            0xc001 => Self::Nomination(number()?),
            _ => return Self::parse_relaying(kind, value, transaction).ok_or(bad),
        })
    }

    /// The attributes of TURN (RFC 8656 §18) and of what is used beside it; `None` where the
    /// value is not one of its type.
    fn parse_relaying(kind: u16, value: &'a [u8], transaction: TransactionId) -> Option<Self> {
        let number = || value.try_into().ok().map(u32::from_be_bytes);
        let address = || parse_address(value, None);
        let xored = || parse_address(value, Some(transaction));
        let family = || number().map(|number| AddressFamily((number >> 24) as u8));
        let text = || core::str::from_utf8(value).ok();
        Some(match kind {
            0x0003 => {
                let flags = number()?;
                let (ip, port) = (flags & 4 != 0, flags & 2 != 0);
                Self::ChangeRequest { ip, port }
            }
            0x000c => Self::ChannelNumber(ChannelNumber::new((number()? >> 16) as u16)?),
            0x000d => Self::Lifetime(number()?),
            0x0012 => Self::XorPeerAddress(xored()?),
            0x0013 => Self::Data(value),
            0x0016 => Self::XorRelayedAddress(xored()?),
            0x0017 => Self::RequestedAddressFamily(family()?),
            0x0018 => match value {
                [flags] => Self::EvenPort {
                    reserve_next: flags & 0x80 != 0,
                },
                _ => return None,
            },
            0x0019 => Self::RequestedTransport((number()? >> 24) as u8),
            0x001a if value.is_empty() => Self::DontFragment,
            0x001a => return None,
            0x001d => {
                let mut algorithms = password_algorithms(value)?;
                let algorithm = algorithms.next()?;
                algorithms.next().is_none().then_some(())?;
                Self::PasswordAlgorithm(algorithm)
            }
            0x0022 => Self::ReservationToken(value.try_into().ok()?),
            0x0026 => Self::Padding(value),
            0x0027 => Self::ResponsePort((number()? >> 16) as u16),
            0x002a => Self::ConnectionId(number()?),
            0x8000 => Self::AdditionalAddressFamily(family()?),
            0x8001 => Self::AddressErrorCode(parse_address_error(value)?),
            0x8002 => {
                let _algorithms = password_algorithms(value)?;
                Self::PasswordAlgorithms(value)
            }
            0x8003 => Self::AlternateDomain(text()?),
            0x8004 => Self::Icmp(Icmp::parse(value.try_into().ok()?)),
            0x8023 => Self::AlternateServer(address()?),
            0x802b => Self::ResponseOrigin(address()?),
            0x802c => Self::OtherAddress(address()?),
            0x8030 => Self::MobilityTicket(value),
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
            Self::Nomination(_) => 0xc001,
            Self::ChangeRequest { .. } => 0x0003,
            Self::ChannelNumber(_) => 0x000c,
            Self::Lifetime(_) => 0x000d,
            Self::XorPeerAddress(_) => 0x0012,
            Self::Data(_) => 0x0013,
            Self::XorRelayedAddress(_) => 0x0016,
            Self::RequestedAddressFamily(_) => 0x0017,
            Self::EvenPort { .. } => 0x0018,
            Self::RequestedTransport(_) => 0x0019,
            Self::DontFragment => 0x001a,
            Self::PasswordAlgorithm(_) => 0x001d,
            Self::ReservationToken(_) => 0x0022,
            Self::Padding(_) => 0x0026,
            Self::ResponsePort(_) => 0x0027,
            Self::ConnectionId(_) => 0x002a,
            Self::AdditionalAddressFamily(_) => 0x8000,
            Self::AddressErrorCode(_) => 0x8001,
            Self::PasswordAlgorithms(_) => 0x8002,
            Self::AlternateDomain(_) => 0x8003,
            Self::Icmp(_) => 0x8004,
            Self::AlternateServer(_) => 0x8023,
            Self::ResponseOrigin(_) => 0x802b,
            Self::OtherAddress(_) => 0x802c,
            Self::MobilityTicket(_) => 0x8030,
            Self::Unknown { kind, .. } => *kind,
        }
    }

    pub(super) fn write_value(&self, out: &mut Vec<u8>, transaction: TransactionId) {
        match self {
            Self::MappedAddress(address)
            | Self::AlternateServer(address)
            | Self::ResponseOrigin(address)
            | Self::OtherAddress(address) => write_address(out, *address, None),
            Self::XorMappedAddress(address)
            | Self::XorPeerAddress(address)
            | Self::XorRelayedAddress(address) => write_address(out, *address, Some(transaction)),
            Self::Username(text)
            | Self::Realm(text)
            | Self::Nonce(text)
            | Self::Software(text)
            | Self::AlternateDomain(text) => out.extend_from_slice(text.as_bytes()),
            Self::MessageIntegrity(mac) => out.extend_from_slice(*mac),
            Self::MessageIntegritySha256(bytes)
            | Self::UnknownAttributes(bytes)
            | Self::Data(bytes)
            | Self::Padding(bytes)
            | Self::PasswordAlgorithms(bytes)
            | Self::MobilityTicket(bytes) => out.extend_from_slice(bytes),
            Self::Userhash(hash) => out.extend_from_slice(*hash),
            Self::ReservationToken(token) => out.extend_from_slice(*token),
            Self::ErrorCode(error) => write_error_code(out, 0, *error),
            Self::AddressErrorCode(error) => {
                write_error_code(out, error.family.0, error.error);
            }
            Self::Priority(value)
            | Self::Nomination(value)
            | Self::Fingerprint(value)
            | Self::Lifetime(value)
            | Self::ConnectionId(value) => out.extend_from_slice(&value.to_be_bytes()),
            Self::IceControlled(value) | Self::IceControlling(value) => {
                out.extend_from_slice(&value.to_be_bytes());
            }
            Self::ChangeRequest { ip, port } => {
                out.extend_from_slice(&[0, 0, 0, u8::from(*ip) << 2 | u8::from(*port) << 1]);
            }
            Self::ChannelNumber(channel) => {
                out.extend_from_slice(&channel.number().to_be_bytes());
                out.extend_from_slice(&[0, 0]);
            }
            Self::ResponsePort(port) => {
                out.extend_from_slice(&port.to_be_bytes());
                out.extend_from_slice(&[0, 0]);
            }
            Self::RequestedAddressFamily(family) | Self::AdditionalAddressFamily(family) => {
                out.extend_from_slice(&[family.0, 0, 0, 0]);
            }
            Self::RequestedTransport(protocol) => out.extend_from_slice(&[*protocol, 0, 0, 0]),
            Self::EvenPort { reserve_next } => out.push(u8::from(*reserve_next) << 7),
            Self::PasswordAlgorithm(algorithm) => algorithm.write(out),
            Self::Icmp(icmp) => out.extend_from_slice(&icmp.bytes()),
            Self::UseCandidate | Self::DontFragment => {}
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

fn parse_address_error(value: &[u8]) -> Option<AddressError<'_>> {
    let family = AddressFamily(*value.first()?);
    let error = parse_error_code(value)?;
    Some(AddressError { family, error })
}

fn write_error_code(out: &mut Vec<u8>, family: u8, error: ErrorCode<'_>) {
    let class = (error.code / 100).min(6) as u8;
    out.extend_from_slice(&[family, 0, class, (error.code % 100) as u8]);
    out.extend_from_slice(error.reason.as_bytes());
}
