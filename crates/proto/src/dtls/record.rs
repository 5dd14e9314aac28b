//! The records of a datagram, told apart without keys.

/// Content type of a change of cipher.
pub(super) const CHANGE_CIPHER_SPEC: u8 = 20;
/// Content type of an alert.
pub(super) const ALERT: u8 = 21;
/// Content type of a handshake message.
pub(super) const HANDSHAKE: u8 = 22;

/// Handshake message types (RFC 6347 §4.3.2).
const CLIENT_HELLO: u8 = 1;
const SERVER_HELLO: u8 = 2;
const HELLO_VERIFY_REQUEST: u8 = 3;

/// Content type of an acknowledgement (RFC 9147 §7).
pub(super) const ACK: u8 = 26;

/// Header of a plaintext or DTLS 1.2 record: type, version, epoch, sequence number, length.
const HEADER_LEN: usize = 13;

/// Longest handshake message taken in the clear: a ClientHello with post-quantum key shares is
/// below 3 kB, a chain of certificates in DTLS 1.2 seldom above 8.
const MESSAGE_LEN_MAX: usize = 32 * 1024;

/// One record, header included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Record<'a> {
    pub(super) bytes: &'a [u8],
}

impl<'a> Record<'a> {
    /// The content type, where the record is in the clear (epoch 0).
    pub(super) fn plain_type(&self) -> Option<u8> {
        match *self.bytes {
            [kind @ 20..=26, 0xfe | 0x01, _, 0, 0, ..] => Some(kind),
            _ => None,
        }
    }

    /// Whether every handshake message in a record in the clear has a fragment that fits both the
    /// record and the message (RFC 6347 §4.2.2). The engine gives a handshake up over one that
    /// does not, and anybody can send one.
    pub(super) fn is_sound_handshake(&self) -> bool {
        let mut rest = self.bytes.get(HEADER_LEN..).unwrap_or(&[]);
        if rest.is_empty() {
            return false;
        }
        while let Some((header, after)) = rest.split_first_chunk::<12>() {
            let number = |at: usize| {
                u32::from_be_bytes([0, header[at], header[at + 1], header[at + 2]]) as usize
            };
            let (length, offset, fragment) = (number(1), number(6), number(9));
            let Some((_, next)) = after.split_at_checked(fragment) else {
                return false;
            };
            if offset + fragment > length || length > MESSAGE_LEN_MAX {
                return false;
            }
            rest = next;
        }
        rest.is_empty()
    }

    /// What a record in the clear is to a handshake; `None` where it is encrypted or no handshake
    /// message.
    pub(super) fn handshake_part(&self) -> Option<Part> {
        if self.plain_type() != Some(HANDSHAKE) {
            return None;
        }
        let message = self.bytes.get(HEADER_LEN..)?;
        let (header, body) = message.split_first_chunk::<12>()?;
        let offset = u32::from_be_bytes([0, header[6], header[7], header[8]]);
        let len = u32::from_be_bytes([0, header[9], header[10], header[11]]) as usize;
        let kind = header[0];
        let sequence = u16::from_be_bytes([header[4], header[5]]);
        if !matches!(kind, CLIENT_HELLO | SERVER_HELLO | HELLO_VERIFY_REQUEST) {
            return Some(Part::Later);
        }
        if offset != 0 {
            return Some(Part::RestOfHello { sequence });
        }
        let body = body.get(..len).unwrap_or(body);
        Some(Part::Hello(Hello {
            is_client: kind == CLIENT_HELLO,
            asks_retry: kind == HELLO_VERIFY_REQUEST
                || body.get(2..RANDOM_END) == Some(&HELLO_RETRY_REQUEST),
            sequence,
            message_len: u32::from_be_bytes([0, header[1], header[2], header[3]]),
            body: body.to_vec(),
        }))
    }

    /// Level and description, where the record is an alert in the clear.
    pub(super) fn plain_alert(&self) -> Option<(u8, u8)> {
        if self.plain_type() != Some(ALERT) {
            return None;
        }
        match self.bytes.get(HEADER_LEN..)? {
            [level, description] => Some((*level, *description)),
            _ => None,
        }
    }
}

/// What a record in the clear is to a handshake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Part {
    /// The first fragment of a hello.
    Hello(Hello),
    /// A later fragment of one.
    RestOfHello {
        /// The number of the message.
        sequence: u16,
    },
    /// A later message.
    Later,
}

/// The first fragment of a ClientHello, a ServerHello, or a HelloVerifyRequest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Hello {
    /// Whether it is a ClientHello.
    pub(super) is_client: bool,
    /// Whether the server asks for another ClientHello.
    pub(super) asks_retry: bool,
    /// The number of the message: higher after a request to retry.
    pub(super) sequence: u16,
    /// Of all fragments.
    message_len: u32,
    body: Vec<u8>,
}

/// Where version and random of a hello end: less is not enough to tell two apart.
const RANDOM_END: usize = 34;

/// The random of a ServerHello that is a HelloRetryRequest (RFC 8446 §4.1.3).
const HELLO_RETRY_REQUEST: [u8; 32] = [
    0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91,
    0xc2, 0xa2, 0x11, 0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c,
];

impl Hello {
    /// Whether it is that of a client that knows nothing later than DTLS 1.0, which is no more
    /// (RFC 8996). Versions count downwards.
    pub(super) fn is_outdated(&self) -> bool {
        matches!(self.body[..], [0xfe, minor, ..] if minor > 0xfd)
    }

    /// Whether both are the same message, perhaps cut differently.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        let len = self.body.len().min(other.body.len());
        let enough = len >= RANDOM_END || self.body.len() == other.body.len();
        self.sequence == other.sequence && enough && self.body[..len] == other.body[..len]
    }

    /// Whether the other is this message with another number, as a flipped bit makes it. The next
    /// message after a request to retry has another length as well: a cookie, or another key.
    pub(super) fn is_renumbered(&self, other: &Self) -> bool {
        let len = self.body.len().min(other.body.len());
        self.sequence != other.sequence
            && self.message_len == other.message_len
            && self.body[..len] == other.body[..len]
    }

    /// Whether the other can be the next of the same side: a client repeats its random (RFC 8446
    /// §4.1.2).
    pub(super) fn is_followed_by(&self, next: &Self) -> bool {
        let follows = if self.is_client {
            self.body.get(..RANDOM_END) == next.body.get(..RANDOM_END)
        } else {
            self.asks_retry
        };
        follows && next.sequence > self.sequence
    }
}

/// A fatal alert in the clear: protocol_version (RFC 8446 §6.2).
pub(super) const PROTOCOL_VERSION_ALERT: [u8; 15] =
    [ALERT, 0xfe, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 2, 70];

/// Splits a datagram into records (RFC 6347 §4.1, RFC 9147 §4). Ends at the first that does not
/// fit; what is left is dropped, as both RFCs ask.
pub(super) fn records(datagram: &[u8]) -> impl Iterator<Item = Record<'_>> {
    let mut rest = datagram;
    std::iter::from_fn(move || {
        let len = record_len(rest)?;
        let (bytes, after) = rest.split_at_checked(len)?;
        rest = after;
        Some(Record { bytes })
    })
}

fn record_len(bytes: &[u8]) -> Option<usize> {
    let first = *bytes.first()?;
    if first & 0b1110_0000 == 0b0010_0000 {
        // RFC 9147 §4: 001CSLEE. We never negotiate connection ids, so C is never set.
        let sequence_len = if first & 0b1000 == 0 { 1 } else { 2 };
        if first & 0b1_0000 != 0 {
            return None;
        }
        if first & 0b100 == 0 {
            return Some(bytes.len());
        }
        let at = 1 + sequence_len;
        let len = u16::from_be_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]);
        return Some(at + 2 + usize::from(len));
    }
    let len = u16::from_be_bytes([*bytes.get(11)?, *bytes.get(12)?]);
    Some(HEADER_LEN + usize::from(len))
}
