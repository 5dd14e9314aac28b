//! The cryptographic primitives that the protocols use, and no more.
//!
//! Everything outside DTLS that needs a key goes through here, so that another provider is one
//! file. Keys are expanded once, when they are made. MACs are compared in constant time.

use aws_lc_rs::aead::{self, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::cipher::{self, EncryptingKey, EncryptionContext, UnboundCipherKey};
use aws_lc_rs::{constant_time, digest, hkdf, hmac};
use md5::{Digest, Md5};
use thiserror::Error;

/// A tag did not match, or a key or text has a wrong length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("authentication failed")]
pub struct AuthenticationFailed;

/// An HMAC key (RFC 2104) for tags of up to `LEN` bytes.
#[derive(Debug, Clone)]
pub struct Hmac<const LEN: usize>(hmac::Key);

/// HMAC-SHA1.
pub type HmacSha1 = Hmac<20>;

/// HMAC-SHA256.
pub type HmacSha256 = Hmac<32>;

impl HmacSha1 {
    /// Prepares `key`, of any length.
    pub fn new(key: &[u8]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, key))
    }
}

impl HmacSha256 {
    /// Prepares `key`, of any length.
    pub fn new(key: &[u8]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, key))
    }
}

impl<const LEN: usize> Hmac<LEN> {
    /// The MAC over `parts`, one after the other.
    #[inline]
    pub fn sign(&self, parts: &[&[u8]]) -> [u8; LEN] {
        let mut context = hmac::Context::with_key(&self.0);
        for part in parts {
            context.update(part);
        }
        let tag = context.sign();
        let mut mac = [0; LEN];
        mac.copy_from_slice(tag.as_ref());
        mac
    }

    /// Compares the first `mac.len()` bytes of the MAC over `parts`.
    ///
    /// # Errors
    /// [`AuthenticationFailed`] when they differ, or when `mac` is empty or longer than `LEN`.
    #[inline]
    pub fn verify(&self, parts: &[&[u8]], mac: &[u8]) -> Result<(), AuthenticationFailed> {
        let expected = self.sign(parts);
        let expected = expected.get(..mac.len()).filter(|mac| !mac.is_empty());
        let expected = expected.ok_or(AuthenticationFailed)?;
        constant_time::verify_slices_are_equal(expected, mac).map_err(|_| AuthenticationFailed)
    }
}

/// HKDF (RFC 5869) without salt: the pseudo-random key from which labels draw keys.
#[derive(Debug)]
pub struct Hkdf(hkdf::Prk);

impl Hkdf {
    /// HKDF-Extract with SHA-256.
    pub fn sha256(secret: &[u8]) -> Self {
        Self(hkdf::Salt::new(hkdf::HKDF_SHA256, &[]).extract(secret))
    }

    /// HKDF-Extract with SHA-512.
    pub fn sha512(secret: &[u8]) -> Self {
        Self(hkdf::Salt::new(hkdf::HKDF_SHA512, &[]).extract(secret))
    }

    /// HKDF-Expand into `key`.
    ///
    /// # Errors
    /// [`AuthenticationFailed`] for more than 255 hashes of bytes.
    pub fn expand(&self, label: &[&[u8]], key: &mut [u8]) -> Result<(), AuthenticationFailed> {
        let len = Length(key.len());
        let okm = self
            .0
            .expand(label, len)
            .map_err(|_| AuthenticationFailed)?;
        okm.fill(key).map_err(|_| AuthenticationFailed)
    }
}

/// How much of the key material is wanted, in bytes.
#[derive(Debug, Clone, Copy)]
struct Length(usize);

impl hkdf::KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

/// Whether two secrets are equal, in time that depends on their lengths alone.
pub fn equal(a: &[u8], b: &[u8]) -> bool {
    constant_time::verify_slices_are_equal(a, b).is_ok()
}

/// Hash functions of certificate fingerprints (RFC 8122 §5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Hash {
    /// SHA-1, which RFC 8122 §5 forbids to accept; known so that it can be refused by name.
    Sha1,
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

impl Hash {
    /// Hashes `bytes`.
    pub fn digest(self, bytes: &[u8]) -> Vec<u8> {
        let algorithm = match self {
            Self::Sha1 => &digest::SHA1_FOR_LEGACY_USE_ONLY,
            Self::Sha256 => &digest::SHA256,
            Self::Sha384 => &digest::SHA384,
            Self::Sha512 => &digest::SHA512,
        };
        digest::digest(algorithm, bytes).as_ref().to_vec()
    }
}

/// MD5, for the keys that long-term credentials of STUN have always had (RFC 8489 §9.2.2), and for
/// nothing else.
pub fn md5(parts: &[&[u8]]) -> [u8; 16] {
    let mut hasher = Md5::new();
    for part in parts {
        hasher.update(part);
    }
    hasher.finalize().into()
}

/// AES-GCM with 96-bit nonces and 128-bit tags, in place.
#[derive(Debug)]
pub struct AesGcm(LessSafeKey);

impl AesGcm {
    /// Length of the tag in bytes.
    pub const TAG_LEN: usize = 16;

    /// Expands a key of 16 or 32 bytes.
    ///
    /// # Errors
    /// [`AuthenticationFailed`] for any other length.
    pub fn new(key: &[u8]) -> Result<Self, AuthenticationFailed> {
        let algorithm = match key.len() {
            16 => &aead::AES_128_GCM,
            32 => &aead::AES_256_GCM,
            _ => return Err(AuthenticationFailed),
        };
        let key = UnboundKey::new(algorithm, key).map_err(|_| AuthenticationFailed)?;
        Ok(Self(LessSafeKey::new(key)))
    }

    /// Encrypts `in_out` and answers the tag.
    ///
    /// # Errors
    /// [`AuthenticationFailed`] when the text is too long for the cipher.
    #[inline]
    pub fn seal(
        &self,
        nonce: [u8; 12],
        aad: &[u8],
        in_out: &mut [u8],
    ) -> Result<[u8; 16], AuthenticationFailed> {
        let nonce = Nonce::assume_unique_for_key(nonce);
        let tag = self
            .0
            .seal_in_place_separate_tag(nonce, Aad::from(aad), in_out)
            .map_err(|_| AuthenticationFailed)?;
        tag.as_ref().try_into().map_err(|_| AuthenticationFailed)
    }

    /// Decrypts `in_out`, whose last 16 bytes are the tag; answers the length of the plain text.
    ///
    /// # Errors
    /// [`AuthenticationFailed`] when the tag does not match; the content is then unspecified.
    #[inline]
    pub fn open(
        &self,
        nonce: [u8; 12],
        aad: &[u8],
        in_out: &mut [u8],
    ) -> Result<usize, AuthenticationFailed> {
        let nonce = Nonce::assume_unique_for_key(nonce);
        let plain = self.0.open_in_place(nonce, Aad::from(aad), in_out);
        plain
            .map(|plain| plain.len())
            .map_err(|_| AuthenticationFailed)
    }
}

/// AES in counter mode, in place.
#[derive(Debug)]
pub struct AesCtr(EncryptingKey);

impl AesCtr {
    /// Expands a key of 16 or 32 bytes.
    ///
    /// # Errors
    /// [`AuthenticationFailed`] for any other length.
    pub fn new(key: &[u8]) -> Result<Self, AuthenticationFailed> {
        let algorithm = match key.len() {
            16 => &cipher::AES_128,
            32 => &cipher::AES_256,
            _ => return Err(AuthenticationFailed),
        };
        let key = UnboundCipherKey::new(algorithm, key).map_err(|_| AuthenticationFailed)?;
        Ok(Self(
            EncryptingKey::ctr(key).map_err(|_| AuthenticationFailed)?,
        ))
    }

    /// XORs the key stream that starts at counter block `iv` into `in_out`.
    ///
    /// # Errors
    /// [`AuthenticationFailed`] when the cipher refuses, which it does not for any length here.
    #[inline]
    pub fn apply(&self, iv: [u8; 16], in_out: &mut [u8]) -> Result<(), AuthenticationFailed> {
        let context = EncryptionContext::Iv128(iv.into());
        self.0
            .less_safe_encrypt(in_out, context)
            .map(|_| ())
            .map_err(|_| AuthenticationFailed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use twocan_wire::stun::Message;

    #[test]
    fn the_integrity_of_rfc_5769_verifies_and_a_wrong_password_does_not() {
        let hex = "000100582112a442b7e7a701bc34d686fa87dfae802200105354554e207465737420636c69656e74\
            002400046e0001ff80290008932ff9b151263b36000600096576746a3a68367659202020\
            000800149aeaa70cbfd8cb56781ef2b5b2d3f249c1b571a280280004e57a3bcf";
        let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
        let bytes: Vec<u8> = digits
            .chunks(2)
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect();
        let integrity = Message::parse(&bytes).unwrap().integrity().unwrap();
        let parts = [&integrity.header[..], integrity.attributes];
        let right = HmacSha1::new(b"VOkJxbRl1RmTxUk/WvJxBt");
        let wrong = HmacSha1::new(b"VOkJxbRl1RmTxUk/WvJxBT");
        assert_eq!(right.verify(&parts, integrity.mac), Ok(()));
        assert_eq!(
            wrong.verify(&parts, integrity.mac),
            Err(AuthenticationFailed)
        );
        assert_eq!(right.verify(&parts, &[]), Err(AuthenticationFailed));
    }
}
