//! STUN messages (RFC 8489) with the attributes of ICE (RFC 8445 §16.1), of TURN (RFC 8656,
//! 6062, 8016) and of NAT behaviour discovery (RFC 5780).
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! |0 0|     STUN Message Type     |         Message Length        |
//! |                         Magic Cookie                          |
//! |                     Transaction ID (96 bits)                  |
//! ```
//!
//! Message integrity needs a key and a MAC, which this crate does not have: a [`Message`] hands
//! out what the MAC covers ([`Integrity`]), and a [`Builder`] asks a closure for it.

mod attribute;
mod builder;
mod message;
#[cfg(test)]
mod tests;
mod turn;

pub use attribute::{Attribute, ErrorCode};
pub use builder::Builder;
pub use message::{Integrity, Message};
pub use turn::{
    AddressError, AddressFamily, ChannelNumber, Icmp, PasswordAlgorithm, password_algorithms,
};

use thiserror::Error;

use crate::reader::TooShort;

/// The fixed value in every STUN header (RFC 8489 §5).
pub const MAGIC_COOKIE: u32 = 0x2112_a442;

/// Length of the header in bytes.
pub const HEADER_LEN: usize = 20;

/// XORed into the FINGERPRINT (RFC 8489 §14.7).
const FINGERPRINT_XOR: u32 = 0x5354_554e;

/// The 96 bits that pair a response with its request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TransactionId(pub [u8; 12]);

/// What a message is for (RFC 8489 §5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// Wants a response.
    Request,
    /// Wants none.
    Indication,
    /// Answers a request.
    Success,
    /// Refuses a request.
    Error,
}

/// The operation. ICE uses [`Method::BINDING`] alone; the others are TURN's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Method(u16);

impl Method {
    /// RFC 8489 §18.2.
    pub const BINDING: Self = Self(1);
    /// RFC 8656 §17, as the five after it.
    pub const ALLOCATE: Self = Self(3);
    /// Keeps or ends an allocation.
    pub const REFRESH: Self = Self(4);
    /// Indication of the client's: relay this.
    pub const SEND: Self = Self(6);
    /// Indication of the server's: this was relayed.
    pub const DATA: Self = Self(7);
    /// Lets a peer's address send.
    pub const CREATE_PERMISSION: Self = Self(8);
    /// Gives a peer a channel number.
    pub const CHANNEL_BIND: Self = Self(9);
    /// RFC 6062 §6.1, as the two after it.
    pub const CONNECT: Self = Self(10);
    /// Makes a connection of the client's carry one of a peer's.
    pub const CONNECTION_BIND: Self = Self(11);
    /// Indication of the server's: a peer has connected.
    pub const CONNECTION_ATTEMPT: Self = Self(12);

    /// From its number, 0 to 0xfff; higher bits are dropped.
    pub const fn new(number: u16) -> Self {
        Self(number & 0x0fff)
    }

    /// Its number.
    pub const fn number(self) -> u16 {
        self.0
    }
}

/// Spreads method and class over the 14 bits of the message type (RFC 8489 §5, figure 3).
fn message_type(class: Class, method: Method) -> u16 {
    let method = method.0;
    let class = match class {
        Class::Request => 0,
        Class::Indication => 0x0010,
        Class::Success => 0x0100,
        Class::Error => 0x0110,
    };
    (method & 0x000f) | ((method & 0x0070) << 1) | ((method & 0x0f80) << 2) | class
}

fn split_message_type(value: u16) -> (Class, Method) {
    let class = match value & 0x0110 {
        0 => Class::Request,
        0x0010 => Class::Indication,
        0x0100 => Class::Success,
        _ => Class::Error,
    };
    let method = (value & 0x000f) | ((value >> 1) & 0x0070) | ((value >> 2) & 0x0f80);
    (class, Method(method))
}

/// Why bytes are no STUN message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum StunError {
    /// Fewer bytes than the header or an attribute says.
    #[error("shorter than its header or an attribute says")]
    TooShort,
    /// The first two bits are not zero.
    #[error("first two bits are not zero")]
    NotStun,
    /// The magic cookie is wrong.
    #[error("magic cookie is not 0x2112a442")]
    BadMagicCookie,
    /// The length field is no multiple of four, or not the length of the datagram.
    #[error("length field does not match the datagram")]
    BadLength,
    /// FINGERPRINT is present and wrong, or is not the last attribute.
    #[error("fingerprint does not match or is not last")]
    BadFingerprint,
    /// An attribute has a length or content that its type does not allow.
    #[error("attribute 0x{0:04x} is malformed")]
    BadAttribute(u16),
}

impl From<TooShort> for StunError {
    fn from(_: TooShort) -> Self {
        Self::TooShort
    }
}
