//! What participants of a room say to each other over data channels (`docs/data.md`).
//!
//! ```text
//! message | 1 | flags | count | count × (length, name) | length, topic | payload |
//! gap     | 2 | messages (32 bits) |
//! fence   | 3 | number (32 bits)   |
//! ```

use thiserror::Error;

use crate::reader::{Reader, TooShort};

const MESSAGE: u8 = 1;
const GAP: u8 = 2;
const FENCE: u8 = 3;
const TEXT: u8 = 1;

/// Label of both channels.
pub const LABEL: &str = "data";

/// Protocol of the channel on which everything arrives in its order.
pub const RELIABLE: &str = "twocan.data.reliable";

/// Protocol of the channel on which what is lost stays lost.
pub const LOSSY: &str = "twocan.data.lossy";

/// Names that a message has at most.
pub const NAMES_MAX: usize = 255;

/// Bytes of a name, or of a topic, at most.
pub const TEXT_LEN_MAX: usize = 255;

/// Bytes of a payload at most.
pub const PAYLOAD_LEN_MAX: usize = 65_536;

/// Bytes of topic and payload at most, of a message that may be lost: it fits one packet.
pub const LOSSY_LEN_MAX: usize = 1_100;

/// Bytes of a whole message at most.
pub const MESSAGE_LEN_MAX: usize = 4 + (NAMES_MAX + 1) * (TEXT_LEN_MAX + 1) + PAYLOAD_LEN_MAX;

/// Why bytes are none of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum RoomDataError {
    /// It ends before its fields do.
    #[error("it ends before its fields do")]
    TooShort,
    /// Of a kind that nobody knows.
    #[error("unknown kind")]
    UnknownKind,
    /// A name or the topic is not UTF-8.
    #[error("a name or the topic is not UTF-8")]
    NotUtf8,
    /// The payload is longer than [`PAYLOAD_LEN_MAX`].
    #[error("the payload is too long")]
    TooLong,
}

impl From<TooShort> for RoomDataError {
    fn from(_: TooShort) -> Self {
        Self::TooShort
    }
}

/// Something that a participant says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message<'a> {
    /// Whether the payload is UTF-8; it is not looked at.
    pub is_text: bool,
    /// Towards a server: whom it is for, everybody where there is none. From a server: of whom it is.
    /// At most [`NAMES_MAX`], each of at most [`TEXT_LEN_MAX`] bytes.
    pub names: Vec<&'a str>,
    /// At most [`TEXT_LEN_MAX`] bytes.
    pub topic: &'a str,
    /// At most [`PAYLOAD_LEN_MAX`] bytes.
    pub payload: &'a [u8],
}

/// What goes over the channels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RoomData<'a> {
    /// From one participant to others.
    Message(Message<'a>),
    /// From a server: so many reliable messages did not reach this reader, which was too slow.
    Gap(u32),
    /// To a server, which sends it back once what came before is on its way to all who get it.
    Fence(u32),
}

impl<'a> RoomData<'a> {
    /// Reads what came in one message of a channel. What follows a gap or a fence is left alone.
    ///
    /// # Errors
    /// [`RoomDataError`] says what is wrong.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, RoomDataError> {
        let mut reader = Reader::new(bytes);
        match reader.u8()? {
            MESSAGE => {}
            GAP => return Ok(Self::Gap(reader.u32()?)),
            FENCE => return Ok(Self::Fence(reader.u32()?)),
            _ => return Err(RoomDataError::UnknownKind),
        }
        let is_text = reader.u8()? & TEXT != 0;
        let count = reader.u8()?;
        let names: Result<_, _> = (0..count).map(|_| text(&mut reader)).collect();
        let (names, topic) = (names?, text(&mut reader)?);
        let payload = reader.rest();
        if payload.len() > PAYLOAD_LEN_MAX {
            return Err(RoomDataError::TooLong);
        }
        Ok(Self::Message(Message {
            is_text,
            names,
            topic,
            payload,
        }))
    }

    /// Appends it. Names beyond [`NAMES_MAX`] are left out, and what is longer than it may be is cut.
    pub fn write(&self, out: &mut Vec<u8>) {
        let message = match self {
            Self::Message(message) => message,
            Self::Gap(number) | Self::Fence(number) => {
                out.push(if matches!(self, Self::Gap(_)) {
                    GAP
                } else {
                    FENCE
                });
                return out.extend_from_slice(&number.to_be_bytes());
            }
        };
        let count = u8::try_from(message.names.len()).unwrap_or(u8::MAX);
        out.extend_from_slice(&[MESSAGE, if message.is_text { TEXT } else { 0 }, count]);
        for name in message.names.iter().take(count.into()) {
            write_text(name, out);
        }
        write_text(message.topic, out);
        let len = message.payload.len().min(PAYLOAD_LEN_MAX);
        out.extend_from_slice(message.payload.get(..len).unwrap_or_default());
    }
}

fn text<'a>(reader: &mut Reader<'a>) -> Result<&'a str, RoomDataError> {
    let len = reader.u8()?.into();
    core::str::from_utf8(reader.take(len)?).map_err(|_| RoomDataError::NotUtf8)
}

fn write_text(text: &str, out: &mut Vec<u8>) {
    let end = text.floor_char_boundary(TEXT_LEN_MAX);
    let text = text.get(..end).unwrap_or_default();
    out.push(u8::try_from(text.len()).unwrap_or(u8::MAX));
    out.extend_from_slice(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_message_has_the_layout_of_the_document() {
        let message = Message {
            is_text: true,
            names: vec!["ada", "é"],
            topic: "t",
            payload: b"hi",
        };
        let mut bytes = Vec::new();
        RoomData::Message(message).write(&mut bytes);
        assert_eq!(bytes, b"\x01\x01\x02\x03ada\x02\xc3\xa9\x01thi");
        let mut bytes = Vec::new();
        RoomData::Gap(258).write(&mut bytes);
        RoomData::Fence(1).write(&mut bytes);
        assert_eq!(bytes, b"\x02\0\0\x01\x02\x03\0\0\0\x01");
    }

    #[test]
    fn what_is_wrong_is_named() {
        let refused = |bytes: &[u8]| RoomData::parse(bytes).unwrap_err();
        assert_eq!(refused(b""), RoomDataError::TooShort);
        assert_eq!(refused(b"\x09"), RoomDataError::UnknownKind);
        assert_eq!(refused(b"\x01\0\x01\x05ada"), RoomDataError::TooShort);
        assert_eq!(refused(b"\x01\0\0\x01\xff"), RoomDataError::NotUtf8);
        assert_eq!(refused(b"\x02\0\0"), RoomDataError::TooShort);
        let mut long = b"\x01\0\0\0".to_vec();
        long.resize(4 + PAYLOAD_LEN_MAX, 7);
        assert!(RoomData::parse(&long).is_ok());
        long.push(7);
        assert_eq!(refused(&long), RoomDataError::TooLong);
    }

    #[test]
    fn what_is_too_long_is_cut_and_can_be_read() {
        let long = "é".repeat(200);
        let message = Message {
            is_text: false,
            names: vec![&long; 300],
            topic: &long,
            payload: &[1; PAYLOAD_LEN_MAX + 1],
        };
        let mut bytes = Vec::new();
        RoomData::Message(message).write(&mut bytes);
        assert!(bytes.len() <= MESSAGE_LEN_MAX);
        let Ok(RoomData::Message(read)) = RoomData::parse(&bytes) else {
            unreachable!("it was written")
        };
        assert_eq!((read.names.len(), read.topic.len()), (NAMES_MAX, 254));
        assert_eq!(read.payload.len(), PAYLOAD_LEN_MAX);
    }

    proptest! {
        #[test]
        fn what_is_read_can_be_written(bytes: Vec<u8>, kind in 1u8..4) {
            let bytes = [&[kind], &bytes[..]].concat();
            if let Ok(read) = RoomData::parse(&bytes) {
                let mut out = Vec::new();
                read.write(&mut out);
                prop_assert_eq!(RoomData::parse(&out), Ok(read));
            }
        }

        #[test]
        fn what_is_written_can_be_read(
            is_text: bool,
            names in prop::collection::vec("\\PC{0,20}", 0..5),
            topic in "\\PC{0,20}",
            payload: Vec<u8>,
        ) {
            let message = RoomData::Message(Message {
                is_text,
                names: names.iter().map(String::as_str).collect(),
                topic: &topic,
                payload: &payload,
            });
            let mut out = Vec::new();
            message.write(&mut out);
            prop_assert_eq!(RoomData::parse(&out), Ok(message));
        }
    }
}
