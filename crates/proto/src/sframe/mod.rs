//! Encrypted frames (SFrame, RFC 9605): what servers forward and cannot read.
//!
//! A [`Sender`] encrypts with one key, a [`Receiver`] decrypts with those that it was given. Each
//! key is drawn from a secret, the base key, and a key id. Who gets which secret is the
//! application's matter (RFC 9605 §5).
//!
//! Encryption does not survive the same key id and counter twice for one secret (§9.1): a
//! [`Sender`] counts from zero, so a new one takes a new key id or a new secret.
//!
//! ```
//! use twocan_proto::sframe::{CipherSuite, Receiver, Sender};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let suite = CipherSuite::Aes128GcmSha256_128;
//! let mut sender = Sender::new(suite, 7, b"sixteen bytes ..");
//! let mut receiver = Receiver::new(suite);
//! receiver.add_key(7, b"sixteen bytes ..")?;
//! let (mut encrypted, mut plain) = (Vec::new(), Vec::new());
//! sender.encrypt(b"metadata", b"frame", &mut encrypted)?;
//! receiver.decrypt(b"metadata", &encrypted, &mut plain)?;
//! assert_eq!(plain, b"frame");
//! # Ok(())
//! # }
//! ```

mod key;
mod receiver;
mod replay;
mod sender;
#[cfg(test)]
mod tests;

use thiserror::Error;
use twocan_wire::sframe::HeaderError;

pub use receiver::Receiver;
pub use replay::ReplayWindow;
pub use sender::Sender;

/// Most bytes that encryption adds to a frame.
pub const OVERHEAD_MAX: usize = twocan_wire::sframe::HEADER_LEN_MAX + 16;

/// Keys of a receiver. A key that is used seldom makes way for one drawn from the shared secret;
/// keys that were added stay, and further ones are refused.
pub const KEYS_MAX: usize = 64;

/// Encryption, authentication and hash of the keys (RFC 9605 §4.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CipherSuite {
    /// AES_128_CTR_HMAC_SHA256_80.
    Aes128CtrHmacSha256_80,
    /// AES_128_CTR_HMAC_SHA256_64.
    Aes128CtrHmacSha256_64,
    /// AES_128_CTR_HMAC_SHA256_32: for sound at low rates; forgeries succeed once in 2³².
    Aes128CtrHmacSha256_32,
    /// AES_128_GCM_SHA256_128.
    Aes128GcmSha256_128,
    /// AES_256_GCM_SHA512_128.
    Aes256GcmSha512_128,
}

impl CipherSuite {
    /// All of them, by id.
    pub const ALL: [Self; 5] = [
        Self::Aes128CtrHmacSha256_80,
        Self::Aes128CtrHmacSha256_64,
        Self::Aes128CtrHmacSha256_32,
        Self::Aes128GcmSha256_128,
        Self::Aes256GcmSha512_128,
    ];

    /// Its number in the registry of RFC 9605 §8.1.
    pub const fn id(self) -> u16 {
        match self {
            Self::Aes128CtrHmacSha256_80 => 1,
            Self::Aes128CtrHmacSha256_64 => 2,
            Self::Aes128CtrHmacSha256_32 => 3,
            Self::Aes128GcmSha256_128 => 4,
            Self::Aes256GcmSha512_128 => 5,
        }
    }

    /// Its name in the registry of RFC 9605 §8.1.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Aes128CtrHmacSha256_80 => "AES_128_CTR_HMAC_SHA256_80",
            Self::Aes128CtrHmacSha256_64 => "AES_128_CTR_HMAC_SHA256_64",
            Self::Aes128CtrHmacSha256_32 => "AES_128_CTR_HMAC_SHA256_32",
            Self::Aes128GcmSha256_128 => "AES_128_GCM_SHA256_128",
            Self::Aes256GcmSha512_128 => "AES_256_GCM_SHA512_128",
        }
    }

    /// Length of the tag in bytes.
    pub const fn tag_len(self) -> usize {
        match self {
            Self::Aes128CtrHmacSha256_80 => 10,
            Self::Aes128CtrHmacSha256_64 => 8,
            Self::Aes128CtrHmacSha256_32 => 4,
            Self::Aes128GcmSha256_128 | Self::Aes256GcmSha512_128 => 16,
        }
    }
}

/// Why a frame was not decrypted. A reason to count, never to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Rejected {
    /// It has no header.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// It ends before its tag does.
    #[error("shorter than its tag")]
    TooShort,
    /// A key that was not added, and no shared secret to draw it from.
    #[error("no key with id {0}")]
    UnknownKey(u64),
    /// Decrypted before, or older than the 1024 counters below the highest.
    #[error("replayed or too old")]
    Replayed,
    /// Another secret, another cipher suite, other metadata, or changed on the way.
    #[error("authentication failed")]
    BadTag,
}

impl Rejected {
    /// The name under which it is counted.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Header(_) => "sframe.malformed",
            Self::TooShort => "sframe.too_short",
            Self::UnknownKey(_) => "sframe.unknown_key",
            Self::Replayed => "sframe.replayed",
            Self::BadTag => "sframe.bad_tag",
        }
    }
}

/// A key has encrypted all 2⁶⁴ frames that it may, or a frame is too long for the cipher: take a
/// new key, or a shorter frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the key is used up, or the frame too long for the cipher")]
pub struct NotEncrypted;

/// A receiver has [`KEYS_MAX`] keys: remove one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("more than {KEYS_MAX} keys")]
pub struct TooManyKeys;
