//! The key of one key id (RFC 9605 §4.4.2), and its cipher (§4.5).

use super::CipherSuite;
use crate::crypto::{AesCtr, AesGcm, AuthenticationFailed, Hkdf, HmacSha256};

const NONCE_LEN: usize = 12;

/// Bytes of AES-128 and HMAC-SHA256 keys in AES_128_CTR_HMAC_SHA256.
const CTR_KEY_LEN: usize = 16;
const HMAC_KEY_LEN: usize = 32;

#[derive(Debug)]
pub(super) struct Key {
    cipher: Cipher,
    salt: [u8; NONCE_LEN],
}

#[derive(Debug)]
enum Cipher {
    Gcm(AesGcm),
    CtrHmac(Box<CtrHmac>),
}

#[derive(Debug)]
struct CtrHmac {
    encryption: AesCtr,
    authentication: HmacSha256,
    tag_len: usize,
}

impl Key {
    pub(super) fn derive(
        suite: CipherSuite,
        key_id: u64,
        base_key: &[u8],
    ) -> Result<Self, AuthenticationFailed> {
        let (id, number) = (key_id.to_be_bytes(), suite.id().to_be_bytes());
        let secret = match suite {
            CipherSuite::Aes256GcmSha512_128 => Hkdf::sha512(base_key),
            _ => Hkdf::sha256(base_key),
        };
        let draw = |label: &[u8], key: &mut [u8]| secret.expand(&[label, &id, &number], key);
        let mut salt = [0; NONCE_LEN];
        draw(b"SFrame 1.0 Secret salt ", &mut salt)?;
        let label = b"SFrame 1.0 Secret key ";
        let cipher = match suite {
            CipherSuite::Aes128GcmSha256_128 => {
                let mut key = [0; 16];
                draw(label, &mut key)?;
                Cipher::Gcm(AesGcm::new(&key)?)
            }
            CipherSuite::Aes256GcmSha512_128 => {
                let mut key = [0; 32];
                draw(label, &mut key)?;
                Cipher::Gcm(AesGcm::new(&key)?)
            }
            CipherSuite::Aes128CtrHmacSha256_80
            | CipherSuite::Aes128CtrHmacSha256_64
            | CipherSuite::Aes128CtrHmacSha256_32 => {
                let mut keys = [0; CTR_KEY_LEN + HMAC_KEY_LEN];
                draw(label, &mut keys)?;
                let (encryption, authentication) = keys.split_at(CTR_KEY_LEN);
                Cipher::CtrHmac(Box::new(CtrHmac {
                    encryption: AesCtr::new(encryption)?,
                    authentication: HmacSha256::new(authentication),
                    tag_len: suite.tag_len(),
                }))
            }
        };
        Ok(Self { cipher, salt })
    }

    /// Encrypts what `out` holds from `start` on and appends the tag.
    pub(super) fn seal(
        &self,
        counter: u64,
        aad: [&[u8]; 2],
        out: &mut Vec<u8>,
        start: usize,
    ) -> Result<(), AuthenticationFailed> {
        let nonce = self.nonce(counter);
        let text = out.get_mut(start..).unwrap_or_default();
        match &self.cipher {
            Cipher::Gcm(cipher) => {
                let tag = cipher.seal(nonce, &aad.concat(), text)?;
                out.extend_from_slice(&tag);
            }
            Cipher::CtrHmac(keys) => {
                keys.encryption.apply(counter_block(nonce), text)?;
                let lens = lengths(aad, text.len(), keys.tag_len);
                let parts = [&lens[..], &nonce, aad[0], aad[1], text];
                let tag = keys.authentication.sign(&parts);
                out.extend(tag.iter().take(keys.tag_len));
            }
        }
        Ok(())
    }

    /// Decrypts what `in_out` holds from `start` on, whose end is the tag, and cuts that off.
    pub(super) fn open(
        &self,
        counter: u64,
        aad: [&[u8]; 2],
        in_out: &mut Vec<u8>,
        start: usize,
    ) -> Result<(), AuthenticationFailed> {
        let nonce = self.nonce(counter);
        let text = in_out.get_mut(start..).unwrap_or_default();
        let len = match &self.cipher {
            Cipher::Gcm(cipher) => cipher.open(nonce, &aad.concat(), text)?,
            Cipher::CtrHmac(keys) => {
                let len = text.len().checked_sub(keys.tag_len);
                let len = len.ok_or(AuthenticationFailed)?;
                let (text, tag) = text.split_at_mut(len);
                let lens = lengths(aad, len, keys.tag_len);
                let parts = [&lens[..], &nonce, aad[0], aad[1], text];
                keys.authentication.verify(&parts, tag)?;
                keys.encryption.apply(counter_block(nonce), text)?;
                len
            }
        };
        in_out.truncate(start + len);
        Ok(())
    }

    /// The salt, with the counter over its last bytes (§4.4.3).
    fn nonce(&self, counter: u64) -> [u8; NONCE_LEN] {
        let mut nonce = self.salt;
        for (byte, counter) in nonce.iter_mut().skip(4).zip(counter.to_be_bytes()) {
            *byte ^= counter;
        }
        nonce
    }
}

/// The first block of the key stream (§4.5.1): the nonce, and a count of blocks from zero.
fn counter_block(nonce: [u8; NONCE_LEN]) -> [u8; 16] {
    let mut block = [0; 16];
    block[..NONCE_LEN].copy_from_slice(&nonce);
    block
}

/// What the tag covers first (§4.5.1): the lengths of what is authenticated, of the text and of
/// the tag.
fn lengths(aad: [&[u8]; 2], text: usize, tag: usize) -> [u8; 24] {
    let aad = aad[0].len() + aad[1].len();
    let mut lengths = [0; 24];
    for (field, len) in lengths.chunks_exact_mut(8).zip([aad, text, tag]) {
        field.copy_from_slice(&(len as u64).to_be_bytes());
    }
    lengths
}
