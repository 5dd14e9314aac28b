//! Reading a message.

use super::{
    Attribute, Class, FINGERPRINT_XOR, HEADER_LEN, MAGIC_COOKIE, Method, StunError, TransactionId,
    split_message_type,
};
use crate::reader::Reader;

/// A message whose framing, attributes and FINGERPRINT (if any) are sound.
///
/// Attributes after MESSAGE-INTEGRITY are not trusted and not shown, but for
/// MESSAGE-INTEGRITY-SHA256 and FINGERPRINT (RFC 8489 §14.5).
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    /// Request, indication or response.
    pub class: Class,
    /// The operation.
    pub method: Method,
    /// Pairs response and request.
    pub transaction: TransactionId,
    bytes: &'a [u8],
}

/// What a message integrity attribute covers, and the MAC it carries.
#[derive(Debug, Clone, Copy)]
pub struct Integrity<'a> {
    /// The header with the length as it was when the MAC was made.
    pub header: [u8; HEADER_LEN],
    /// The attributes before the MAC.
    pub attributes: &'a [u8],
    /// The MAC: 20 bytes for SHA-1, 16 to 32 for SHA-256.
    pub mac: &'a [u8],
}

impl<'a> Message<'a> {
    /// Reads a whole datagram.
    ///
    /// # Errors
    /// What is wrong with it, as a [`StunError`].
    pub fn parse(bytes: &'a [u8]) -> Result<Self, StunError> {
        let mut reader = Reader::new(bytes);
        let kind = reader.u16()?;
        if kind & 0xc000 != 0 {
            return Err(StunError::NotStun);
        }
        let len = usize::from(reader.u16()?);
        if reader.u32()? != MAGIC_COOKIE {
            return Err(StunError::BadMagicCookie);
        }
        let transaction = TransactionId(reader.array()?);
        if len % 4 != 0 || len != reader.len() {
            return Err(StunError::BadLength);
        }
        let (class, method) = split_message_type(kind);
        let message = Self {
            class,
            method,
            transaction,
            bytes,
        };
        message.check_attributes()?;
        Ok(message)
    }

    /// The attributes in order, those that are to be trusted no more than the integrity allows.
    pub fn attributes(&self) -> impl Iterator<Item = Attribute<'a>> + use<'a> {
        let transaction = self.transaction;
        let mut after_integrity = false;
        self.raw().filter_map(move |(_, kind, value)| {
            let attribute = Attribute::parse(kind, value, transaction).ok()?;
            let shown = !after_integrity
                || matches!(
                    attribute,
                    Attribute::MessageIntegritySha256(_) | Attribute::Fingerprint(_)
                );
            after_integrity |= matches!(
                attribute,
                Attribute::MessageIntegrity(_) | Attribute::MessageIntegritySha256(_)
            );
            shown.then_some(attribute)
        })
    }

    /// What MESSAGE-INTEGRITY (HMAC-SHA1) covers; `None` where there is none.
    pub fn integrity(&self) -> Option<Integrity<'a>> {
        self.integrity_of(0x0008)
    }

    /// What MESSAGE-INTEGRITY-SHA256 covers; `None` where there is none.
    pub fn integrity_sha256(&self) -> Option<Integrity<'a>> {
        self.integrity_of(0x001c)
    }

    /// Whether a FINGERPRINT is there (and therefore right).
    pub fn has_fingerprint(&self) -> bool {
        self.raw().any(|(_, kind, _)| kind == 0x8028)
    }

    /// The value of USERNAME.
    pub fn username(&self) -> Option<&'a str> {
        self.attributes().find_map(|attribute| match attribute {
            Attribute::Username(name) => Some(name),
            _ => None,
        })
    }

    /// The reflexive address: XOR-MAPPED-ADDRESS, else MAPPED-ADDRESS.
    pub fn mapped_address(&self) -> Option<std::net::SocketAddr> {
        let mut plain = None;
        for attribute in self.attributes() {
            match attribute {
                Attribute::XorMappedAddress(address) => return Some(address),
                Attribute::MappedAddress(address) => plain = Some(address),
                _ => {}
            }
        }
        plain
    }

    /// The error code of an error response.
    pub fn error_code(&self) -> Option<u16> {
        self.attributes().find_map(|attribute| match attribute {
            Attribute::ErrorCode(error) => Some(error.code),
            _ => None,
        })
    }

    /// Types below 0x8000 that this crate does not know: a request with one is answered 420
    /// (RFC 8489 §6.3.1).
    pub fn unknown_required(&self) -> impl Iterator<Item = u16> + use<'a> {
        self.attributes().filter_map(|attribute| match attribute {
            Attribute::Unknown { kind, .. } if kind < 0x8000 => Some(kind),
            _ => None,
        })
    }

    fn raw(&self) -> RawAttributes<'a> {
        RawAttributes {
            reader: Reader::new(self.bytes.get(HEADER_LEN..).unwrap_or(&[])),
            whole: self.bytes.len(),
        }
    }

    fn check_attributes(&self) -> Result<(), StunError> {
        let mut raw = self.raw();
        let mut fingerprinted = false;
        for (offset, kind, value) in raw.by_ref() {
            if fingerprinted {
                return Err(StunError::BadFingerprint);
            }
            let attribute = Attribute::parse(kind, value, self.transaction)?;
            if let Attribute::Fingerprint(value) = attribute {
                fingerprinted = true;
                let covered = self.bytes.get(..offset).unwrap_or(&[]);
                if fingerprint(covered) != value {
                    return Err(StunError::BadFingerprint);
                }
            }
        }
        if raw.reader.is_empty() {
            Ok(())
        } else {
            Err(StunError::TooShort)
        }
    }

    fn integrity_of(&self, wanted: u16) -> Option<Integrity<'a>> {
        let (offset, _, mac) = self.raw().find(|(_, kind, _)| *kind == wanted)?;
        let (header, _) = self.bytes.split_first_chunk::<HEADER_LEN>()?;
        let mut header = *header;
        // RFC 8489 §14.5: the length as if the MAC were the last attribute.
        let end = offset.saturating_add(4).saturating_add(mac.len());
        let len = u16::try_from(end.saturating_sub(HEADER_LEN)).ok()?;
        if let Some(field) = header.get_mut(2..4) {
            field.copy_from_slice(&len.to_be_bytes());
        }
        let attributes = self.bytes.get(HEADER_LEN..offset)?;
        Some(Integrity {
            header,
            attributes,
            mac,
        })
    }
}

/// CRC-32 (ISO HDLC) of what comes before the FINGERPRINT attribute, XORed.
pub(super) fn fingerprint(covered: &[u8]) -> u32 {
    let crc = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32IsoHdlc, covered);
    (crc as u32) ^ FINGERPRINT_XOR
}

/// Offset of the attribute in the message, its type, its value without padding. Ends at the
/// first attribute that does not fit, leaving its bytes unread.
#[derive(Debug, Clone)]
struct RawAttributes<'a> {
    reader: Reader<'a>,
    whole: usize,
}

impl<'a> Iterator for RawAttributes<'a> {
    type Item = (usize, u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let offset = self.whole.saturating_sub(self.reader.len());
        let mut reader = self.reader;
        let kind = reader.u16().ok()?;
        let len = usize::from(reader.u16().ok()?);
        let value = reader.take(len).ok()?;
        reader.take(len.wrapping_neg() & 3).ok()?;
        self.reader = reader;
        Some((offset, kind, value))
    }
}
