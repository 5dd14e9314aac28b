//! Messages of the data channel establishment protocol (RFC 8832 §5).
//!
//! ```text
//! | message type  | channel type  | priority                      |
//! | reliability parameter                                         |
//! | label length                  | protocol length               |
//! | label, protocol (UTF-8)                                       |
//! ```

use thiserror::Error;

use crate::reader::{Reader, TooShort};

const ACK: u8 = 2;
const OPEN: u8 = 3;
const UNORDERED: u8 = 0x80;

/// Longest label or protocol, in bytes of UTF-8 (the length field has 16 bits).
pub const TEXT_LEN_MAX: usize = 65_535;

/// Why bytes are not a message of DCEP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum DcepError {
    /// The message ends before its fields do.
    #[error("message ends before its fields do")]
    TooShort,
    /// Neither OPEN nor ACK.
    #[error("unknown message type")]
    UnknownMessage,
    /// A channel type that RFC 8832 §5.1 does not have.
    #[error("unknown channel type")]
    UnknownChannelType,
    /// The label or the protocol is not UTF-8.
    #[error("label or protocol is not UTF-8")]
    NotUtf8,
}

impl From<TooShort> for DcepError {
    fn from(_: TooShort) -> Self {
        Self::TooShort
    }
}

/// How hard a channel tries to deliver a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reliability {
    /// Until it is delivered.
    Reliable,
    /// With at most this many retransmissions.
    MaxRetransmits(u32),
    /// For this many milliseconds.
    MaxPacketLifeTime(u32),
}

/// The announcement of a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Open<'a> {
    /// Whether messages arrive in their order.
    pub is_ordered: bool,
    /// How hard it tries.
    pub reliability: Reliability,
    /// Priority as of RFC 8831 §6.4: 128 below normal, 256 normal, 512 high, 1024 extra high.
    pub priority: u16,
    /// The application's name for it; at most [`TEXT_LEN_MAX`] bytes.
    pub label: &'a str,
    /// The subprotocol; at most [`TEXT_LEN_MAX`] bytes.
    pub protocol: &'a str,
}

/// A message of DCEP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message<'a> {
    /// DATA_CHANNEL_OPEN.
    Open(Open<'a>),
    /// DATA_CHANNEL_ACK.
    Ack,
}

impl<'a> Message<'a> {
    /// Reads a message.
    ///
    /// # Errors
    /// [`DcepError`] says what is wrong.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, DcepError> {
        let mut reader = Reader::new(bytes);
        match reader.u8()? {
            ACK => return Ok(Self::Ack),
            OPEN => {}
            _ => return Err(DcepError::UnknownMessage),
        }
        let channel_type = reader.u8()?;
        let priority = reader.u16()?;
        let parameter = reader.u32()?;
        let label_len = reader.u16()?.into();
        let protocol_len = reader.u16()?.into();
        let label = reader.take(label_len)?;
        let protocol = reader.take(protocol_len)?;
        let reliability = match channel_type & !UNORDERED {
            0 => Reliability::Reliable,
            1 => Reliability::MaxRetransmits(parameter),
            2 => Reliability::MaxPacketLifeTime(parameter),
            _ => return Err(DcepError::UnknownChannelType),
        };
        let text = |bytes| core::str::from_utf8(bytes).map_err(|_| DcepError::NotUtf8);
        Ok(Self::Open(Open {
            is_ordered: channel_type & UNORDERED == 0,
            reliability,
            priority,
            label: text(label)?,
            protocol: text(protocol)?,
        }))
    }

    /// Appends the message. A label or protocol beyond [`TEXT_LEN_MAX`] is cut at a character.
    pub fn write(&self, out: &mut Vec<u8>) {
        let open = match self {
            Self::Ack => return out.push(ACK),
            Self::Open(open) => open,
        };
        let (kind, parameter) = match open.reliability {
            Reliability::Reliable => (0, 0),
            Reliability::MaxRetransmits(count) => (1, count),
            Reliability::MaxPacketLifeTime(millis) => (2, millis),
        };
        let (label, label_len) = fitting(open.label);
        let (protocol, protocol_len) = fitting(open.protocol);
        out.push(OPEN);
        out.push(kind | if open.is_ordered { 0 } else { UNORDERED });
        out.extend_from_slice(&open.priority.to_be_bytes());
        out.extend_from_slice(&parameter.to_be_bytes());
        out.extend_from_slice(&label_len.to_be_bytes());
        out.extend_from_slice(&protocol_len.to_be_bytes());
        out.extend_from_slice(label.as_bytes());
        out.extend_from_slice(protocol.as_bytes());
    }
}

fn fitting(text: &str) -> (&str, u16) {
    let end = text.floor_char_boundary(TEXT_LEN_MAX);
    let text = text.get(..end).unwrap_or_default();
    (text, u16::try_from(text.len()).unwrap_or(u16::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_open_message_has_the_layout_of_rfc_8832_section_5_1() {
        let open = Message::Open(Open {
            is_ordered: false,
            reliability: Reliability::MaxRetransmits(5),
            priority: 256,
            label: "chat",
            protocol: "x",
        });
        let mut bytes = Vec::new();
        open.write(&mut bytes);
        assert_eq!(
            bytes,
            [
                3, 0x81, 1, 0, 0, 0, 0, 5, 0, 4, 0, 1, b'c', b'h', b'a', b't', b'x'
            ]
        );
        assert_eq!(Message::parse(&bytes), Ok(open));
        assert_eq!(Message::parse(&[2]), Ok(Message::Ack));
    }

    #[test]
    fn malformed_messages_say_what_is_wrong() {
        assert_eq!(Message::parse(&[]), Err(DcepError::TooShort));
        assert_eq!(Message::parse(&[7]), Err(DcepError::UnknownMessage));
        let mut bytes = vec![3, 3, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0xff];
        assert_eq!(Message::parse(&bytes), Err(DcepError::UnknownChannelType));
        bytes[1] = 0;
        assert_eq!(Message::parse(&bytes), Err(DcepError::NotUtf8));
        bytes[9] = 2;
        assert_eq!(Message::parse(&bytes), Err(DcepError::TooShort));
    }

    #[test]
    fn a_label_beyond_the_field_is_cut_at_a_character() {
        let label = "é".repeat(40_000);
        let mut bytes = Vec::new();
        Message::Open(Open {
            is_ordered: true,
            reliability: Reliability::Reliable,
            priority: 0,
            label: &label,
            protocol: "",
        })
        .write(&mut bytes);
        let Ok(Message::Open(open)) = Message::parse(&bytes) else {
            panic!("not an OPEN");
        };
        assert_eq!(open.label.len(), 65_534);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(
            is_ordered: bool, kind in 0..3u8, parameter: u32, priority: u16,
            label in ".{0,40}", protocol in ".{0,40}",
        ) {
            let reliability = match kind {
                0 => Reliability::Reliable,
                1 => Reliability::MaxRetransmits(parameter),
                _ => Reliability::MaxPacketLifeTime(parameter),
            };
            let open = Message::Open(Open {
                is_ordered, reliability, priority, label: &label, protocol: &protocol,
            });
            let mut bytes = Vec::new();
            open.write(&mut bytes);
            prop_assert_eq!(Message::parse(&bytes), Ok(open));
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
            let _ = Message::parse(&bytes);
        }
    }
}
