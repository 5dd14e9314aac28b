//! The chunks with little in them: heartbeats, cookies and the shutdown (RFC 9260 §3.3.5 to
//! §3.3.13).

use super::chunk::{ChunkError, RawChunk, WriteChunk, kind};
use super::init::{read_tlv, write_tlv};
use crate::reader::Reader;
use crate::seq::SeqNo32;

const HEARTBEAT_INFO: u16 = 1;
const TAG_REFLECTED: u8 = 1;

/// A question whether the path works; the answer repeats all of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heartbeat<'a> {
    /// The heartbeat information parameter, whole.
    pub info: &'a [u8],
}

impl WriteChunk for Heartbeat<'_> {
    fn kind(&self) -> u8 {
        kind::HEARTBEAT
    }

    fn body_len(&self) -> usize {
        self.info.len()
    }

    fn write_body(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.info);
    }
}

/// The answer to a heartbeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeartbeatAck<'a> {
    /// The parameter that the heartbeat carried, whole.
    pub info: &'a [u8],
}

impl<'a> HeartbeatAck<'a> {
    /// What [`Heartbeat::info_of`] was given, if the chunk still carries it.
    pub fn token(&self) -> Option<&'a [u8]> {
        match read_tlv(&mut Reader::new(self.info)) {
            Ok((HEARTBEAT_INFO, token)) => Some(token),
            Ok(_) | Err(_) => None,
        }
    }
}

impl Heartbeat<'_> {
    /// A heartbeat information parameter around `token`, for [`Heartbeat::info`]. A token longer
    /// than 65,531 bytes gives an empty one.
    pub fn info_of(token: &[u8]) -> Vec<u8> {
        let mut info = Vec::with_capacity(token.len().saturating_add(8));
        write_tlv(&mut info, HEARTBEAT_INFO, |out| {
            out.extend_from_slice(token)
        });
        info
    }
}

impl WriteChunk for HeartbeatAck<'_> {
    fn kind(&self) -> u8 {
        kind::HEARTBEAT_ACK
    }

    fn body_len(&self) -> usize {
        self.info.len()
    }

    fn write_body(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.info);
    }
}

/// The returned state cookie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CookieEcho<'a> {
    /// The cookie; never empty on the wire.
    pub cookie: &'a [u8],
}

impl<'a> CookieEcho<'a> {
    pub(super) fn parse(raw: RawChunk<'a>) -> Result<Self, ChunkError> {
        if raw.body.is_empty() {
            return Err(ChunkError::Empty);
        }
        Ok(Self { cookie: raw.body })
    }
}

impl WriteChunk for CookieEcho<'_> {
    fn kind(&self) -> u8 {
        kind::COOKIE_ECHO
    }

    fn body_len(&self) -> usize {
        self.cookie.len()
    }

    fn write_body(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.cookie);
    }
}

macro_rules! bare {
    ($(#[$doc:meta])* $name:ident, $kind:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub struct $name;

        impl WriteChunk for $name {
            fn kind(&self) -> u8 {
                $kind
            }

            fn body_len(&self) -> usize {
                0
            }

            fn write_body(&self, _: &mut Vec<u8>) {}
        }
    };
}

bare! {
    /// The end of the handshake.
    CookieAck, kind::COOKIE_ACK
}
bare! {
    /// Agreement to a SHUTDOWN.
    ShutdownAck, kind::SHUTDOWN_ACK
}

/// The wish to end the association, which is an acknowledgement too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shutdown {
    /// Everything up to here has arrived.
    pub cumulative_tsn: SeqNo32,
}

impl Shutdown {
    pub(super) fn parse(raw: RawChunk<'_>) -> Result<Self, ChunkError> {
        Ok(Self {
            cumulative_tsn: SeqNo32(Reader::new(raw.body).u32()?),
        })
    }
}

impl WriteChunk for Shutdown {
    fn kind(&self) -> u8 {
        kind::SHUTDOWN
    }

    fn body_len(&self) -> usize {
        4
    }

    fn write_body(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.cumulative_tsn.0.to_be_bytes());
    }
}

/// The end of the shutdown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShutdownComplete {
    /// Whether the verification tag is the sender's view of its own, reflected (RFC 9260 §8.5.1).
    pub is_tag_reflected: bool,
}

impl ShutdownComplete {
    pub(super) fn parse(raw: RawChunk<'_>) -> Self {
        Self {
            is_tag_reflected: raw.flags & TAG_REFLECTED != 0,
        }
    }
}

impl WriteChunk for ShutdownComplete {
    fn kind(&self) -> u8 {
        kind::SHUTDOWN_COMPLETE
    }

    fn flags(&self) -> u8 {
        u8::from(self.is_tag_reflected)
    }

    fn body_len(&self) -> usize {
        0
    }

    fn write_body(&self, _: &mut Vec<u8>) {}
}
