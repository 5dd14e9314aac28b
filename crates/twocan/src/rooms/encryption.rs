//! Sound and pictures that servers forward and cannot read: SFrame (RFC 9605) with one secret that
//! all participants of a room share.
//!
//! The secret is in the fragment of the room's link (`https://host/room#key=…`), which browsers do
//! not send to servers. Each sender draws its key with an id of its own, chosen at random for every
//! track, so that no key is used twice.

use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use twocan_io::clock;
use twocan_proto::random::Random;

use super::error::JoinError;
use crate::transform::sframe::{CipherSuite, Receiver, Sender};

/// Bytes of the secret.
pub const SECRET_LEN: usize = 32;

/// Length of key ids in bits: two that are chosen at random are hardly ever the same, and the
/// header stays short.
const KEY_ID_BITS: u32 = 48;

/// The cipher suite of encrypted rooms.
const SUITE: CipherSuite = CipherSuite::Aes256GcmSha512_128;

/// What stands before the secret in a link.
const PREFIX: &str = "key=";

/// The secret of a room.
#[derive(Clone, PartialEq, Eq)]
pub struct RoomSecret([u8; SECRET_LEN]);

impl RoomSecret {
    /// Takes the secret as it is.
    pub const fn new(secret: [u8; SECRET_LEN]) -> Self {
        Self(secret)
    }

    /// The secret in the fragment of a room's address; `None` where it has none.
    ///
    /// # Errors
    /// [`JoinError::BadAddress`] where a secret is announced that is not 32 bytes in base64url.
    pub fn of_address(address: &str) -> Result<Option<Self>, JoinError> {
        let fragment = address.split_once('#').map(|(_, fragment)| fragment);
        let mut parts = fragment.unwrap_or_default().split('&');
        let Some(text) = parts.find_map(|part| part.strip_prefix(PREFIX)) else {
            return Ok(None);
        };
        let secret = BASE64.decode(text.trim_end_matches('='));
        let secret = secret.ok().and_then(|bytes| bytes.try_into().ok());
        let secret = secret.ok_or_else(|| JoinError::BadAddress {
            // The secret itself has no place in an error.
            address: address.split('#').next().unwrap_or_default().to_owned(),
            reason: "what follows #key= is not a secret of 32 bytes in base64url",
        })?;
        Ok(Some(Self(secret)))
    }

    pub(super) const fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Encrypts one track of this side.
    pub(super) fn sender(&self) -> Sender {
        let mut id = [0; 8];
        Random::new(clock::seed()).fill(&mut id);
        let id = u64::from_be_bytes(id) >> (u64::BITS - KEY_ID_BITS);
        Sender::new(SUITE, id, &self.0)
    }

    /// Decrypts one track of another.
    pub(super) fn receiver(&self) -> Receiver {
        let mut receiver = Receiver::new(SUITE);
        receiver.set_shared_key(Some(&self.0));
        receiver
    }
}

impl fmt::Debug for RoomSecret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("RoomSecret(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_secret_is_in_the_fragment() {
        let text = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHv8";
        let mut secret: [u8; SECRET_LEN] = std::array::from_fn(|index| index as u8);
        secret[31] = 0xff;
        for address in [
            format!("https://host/room#key={text}"),
            format!("https://host/room?x=1#lang=de&key={text}"),
            format!("https://host/room#key={text}="),
        ] {
            let found = RoomSecret::of_address(&address).unwrap();
            assert_eq!(found, Some(RoomSecret::new(secret)), "{address}");
        }
        for address in [
            "https://host/room",
            "https://host/room#",
            "https://host/key=1#top",
        ] {
            assert_eq!(RoomSecret::of_address(address).unwrap(), None);
        }
    }

    #[test]
    fn a_secret_that_is_none_is_refused_without_being_repeated() {
        for text in [
            "",
            "AAEC",
            "AA EC",
            "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHv8A",
        ] {
            let address = format!("https://host/room#key={text}");
            let error = RoomSecret::of_address(&address).unwrap_err().to_string();
            assert!(error.contains("base64url"), "{error}");
            assert!(text.is_empty() || !error.contains(text), "{error}");
        }
    }

    #[test]
    fn debug_output_does_not_show_the_secret() {
        let shown = format!("{:?}", RoomSecret::new([7; SECRET_LEN]));
        assert_eq!(shown, "RoomSecret(…)");
    }
}
