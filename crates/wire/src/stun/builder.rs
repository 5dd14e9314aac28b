//! Writing a message.

use super::message::fingerprint;
use super::{Attribute, Class, HEADER_LEN, MAGIC_COOKIE, Method, TransactionId, message_type};

/// Appends one message to a buffer: header, attributes, then [`Self::finish`],
/// [`Self::finish_with_integrity`] or [`Self::finish_with_integrity_sha256`].
///
/// ```
/// use twocan_wire::stun::{Attribute, Builder, Class, Message, Method, TransactionId};
/// let mut out = Vec::new();
/// let mut builder = Builder::new(&mut out, Class::Request, Method::BINDING, TransactionId([7; 12]));
/// builder.attribute(Attribute::Software("twocan"));
/// builder.finish();
/// let message = Message::parse(&out).unwrap();
/// assert!(message.has_fingerprint());
/// ```
#[derive(Debug)]
pub struct Builder<'a> {
    out: &'a mut Vec<u8>,
    start: usize,
    transaction: TransactionId,
}

impl<'a> Builder<'a> {
    /// Starts a message at the end of `out`.
    pub fn new(
        out: &'a mut Vec<u8>,
        class: Class,
        method: Method,
        transaction: TransactionId,
    ) -> Self {
        let start = out.len();
        out.extend_from_slice(&message_type(class, method).to_be_bytes());
        out.extend_from_slice(&[0, 0]);
        out.extend_from_slice(&MAGIC_COOKIE.to_be_bytes());
        out.extend_from_slice(&transaction.0);
        Self {
            out,
            start,
            transaction,
        }
    }

    /// Appends an attribute. A value that would take the message beyond 65,535 bytes is left out.
    pub fn attribute(&mut self, attribute: Attribute<'_>) {
        let before = self.out.len();
        self.out.extend_from_slice(&attribute.kind().to_be_bytes());
        self.out.extend_from_slice(&[0, 0]);
        let value = self.out.len();
        attribute.write_value(self.out, self.transaction);
        let len = self.out.len().saturating_sub(value);
        self.out
            .extend(std::iter::repeat_n(0, len.wrapping_neg() & 3));
        let total = self.out.len().saturating_sub(self.start);
        match (u16::try_from(len), total <= 0xffff) {
            (Ok(len), true) => self.patch(before.saturating_add(2), len),
            _ => self.out.truncate(before),
        }
    }

    /// Ends the message with nothing more: what is relayed is not worth a checksum over it.
    pub fn finish_bare(mut self) {
        self.set_len(0);
    }

    /// Ends the message with a FINGERPRINT.
    pub fn finish(mut self) {
        self.fingerprint();
    }

    /// Ends the message with MESSAGE-INTEGRITY, made by `hmac_sha1` over the pieces in order, and
    /// a FINGERPRINT (RFC 8489 §14.5).
    pub fn finish_with_integrity(mut self, hmac_sha1: impl FnOnce(&[&[u8]]) -> [u8; 20]) {
        // The MAC covers a length that counts the MAC itself: 4 bytes of header and 20 of value.
        self.set_len(24);
        let mac = hmac_sha1(&[self.out.get(self.start..).unwrap_or(&[])]);
        self.attribute(Attribute::MessageIntegrity(&mac));
        self.fingerprint();
    }

    /// Ends the message with MESSAGE-INTEGRITY-SHA256 of full length, made by `hmac_sha256` over
    /// the pieces in order, and a FINGERPRINT (RFC 8489 §14.6).
    pub fn finish_with_integrity_sha256(mut self, hmac_sha256: impl FnOnce(&[&[u8]]) -> [u8; 32]) {
        self.set_len(36);
        let mac = hmac_sha256(&[self.out.get(self.start..).unwrap_or(&[])]);
        self.attribute(Attribute::MessageIntegritySha256(&mac));
        self.fingerprint();
    }

    fn fingerprint(&mut self) {
        self.set_len(8);
        let value = fingerprint(self.out.get(self.start..).unwrap_or(&[]));
        self.attribute(Attribute::Fingerprint(value));
        self.set_len(0);
    }

    /// Writes the header's length field: what is there, and `more` bytes to come.
    fn set_len(&mut self, more: usize) {
        let body = self
            .out
            .len()
            .saturating_sub(self.start)
            .saturating_sub(HEADER_LEN);
        let len = u16::try_from(body.saturating_add(more)).unwrap_or(u16::MAX);
        self.patch(self.start.saturating_add(2), len);
    }

    fn patch(&mut self, at: usize, value: u16) {
        if let Some(field) = self.out.get_mut(at..at.saturating_add(2)) {
            field.copy_from_slice(&value.to_be_bytes());
        }
    }
}
