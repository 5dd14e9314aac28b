//! Who we are, and what the server wants to see of it (RFC 8489 §9.2).

use std::fmt;

use twocan_wire::stun::{Attribute, Builder, Message, PasswordAlgorithm, password_algorithms};

use crate::crypto::AuthenticationFailed;
use crate::turn::{LongTermKey, SecurityFeatures, userhash};

/// Realms and nonces longer than this are refused (RFC 8489 §14.9, §14.10: fewer than 128
/// characters, at most 763 bytes).
const TEXT_LEN_MAX: usize = 763;

/// A user's name and password.
#[derive(Clone, PartialEq, Eq)]
pub struct Account {
    /// At most 508 bytes.
    pub username: String,
    /// The credential.
    pub password: String,
}

/// Shows the name alone: a password never reaches a log.
impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Account")
            .field("username", &self.username)
            .finish_non_exhaustive()
    }
}

/// What a server asked for, and the key that follows from it.
#[derive(Debug, Clone)]
pub(super) struct Challenge {
    realm: String,
    nonce: String,
    /// PASSWORD-ALGORITHMS as the server sent it; it comes back unchanged, so that the server
    /// sees if somebody in between shortened it.
    algorithms: Option<Vec<u8>>,
    userhash: Option<[u8; 32]>,
    key: LongTermKey,
}

/// Why a challenge is not followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unusable {
    /// REALM or NONCE are missing or too long.
    Malformed,
    /// The nonce says that the server names algorithms, and none are named: somebody in between
    /// wants us to use MD5.
    Downgraded,
    /// None of the algorithms is known.
    UnknownAlgorithms,
}

impl Unusable {
    pub(super) const fn reason(self) -> &'static str {
        match self {
            Self::Malformed => "turn.challenge_malformed",
            Self::Downgraded => "turn.challenge_downgraded",
            Self::UnknownAlgorithms => "turn.challenge_unknown_algorithms",
        }
    }
}

impl Challenge {
    /// Reads a 401 or 438. A 438 may leave out the realm, which `before` then has.
    pub(super) fn read(
        account: &Account,
        message: &Message<'_>,
        before: Option<&Self>,
    ) -> Result<Self, Unusable> {
        let (mut realm, mut nonce, mut offered) = (before.map(|old| &*old.realm), None, None);
        for attribute in message.attributes() {
            match attribute {
                Attribute::Realm(text) => realm = Some(text),
                Attribute::Nonce(text) => nonce = Some(text),
                Attribute::PasswordAlgorithms(value) => offered = Some(value),
                _ => {}
            }
        }
        let (Some(realm), Some(nonce)) = (realm, nonce) else {
            return Err(Unusable::Malformed);
        };
        if realm.len() > TEXT_LEN_MAX || nonce.len() > TEXT_LEN_MAX {
            return Err(Unusable::Malformed);
        }
        let features = SecurityFeatures::of_nonce(nonce).unwrap_or_default();
        if features.password_algorithms && offered.is_none() {
            return Err(Unusable::Downgraded);
        }
        let Account { username, password } = account;
        let key = match offered {
            None => LongTermKey::md5(username, realm, password),
            // The server's order is its preference (RFC 8489 §9.2.5).
            Some(value) => password_algorithms(value)
                .into_iter()
                .flatten()
                .find_map(|algorithm| match algorithm {
                    PasswordAlgorithm::SHA256 => {
                        Some(LongTermKey::sha256(username, realm, password))
                    }
                    PasswordAlgorithm::MD5 => {
                        Some(LongTermKey::md5_with_sha256(username, realm, password))
                    }
                    _ => None,
                })
                .ok_or(Unusable::UnknownAlgorithms)?,
        };
        Ok(Self {
            realm: realm.to_owned(),
            nonce: nonce.to_owned(),
            algorithms: offered.map(<[u8]>::to_vec),
            userhash: features
                .username_anonymity
                .then(|| userhash(username, realm)),
            key,
        })
    }

    /// Ends a request with everything that proves who we are.
    pub(super) fn finish(&self, account: &Account, mut builder: Builder<'_>) {
        match &self.userhash {
            Some(hash) => builder.attribute(Attribute::Userhash(hash)),
            None => builder.attribute(Attribute::Username(&account.username)),
        }
        builder.attribute(Attribute::Realm(&self.realm));
        builder.attribute(Attribute::Nonce(&self.nonce));
        if let (Some(all), Some(chosen)) = (&self.algorithms, self.key.algorithm()) {
            builder.attribute(Attribute::PasswordAlgorithms(all));
            builder.attribute(Attribute::PasswordAlgorithm(chosen));
        }
        self.key.finish(builder);
    }

    /// Checks that an answer is the server's.
    pub(super) fn verify(&self, message: &Message<'_>) -> Result<(), AuthenticationFailed> {
        self.key.verify(message)
    }
}
