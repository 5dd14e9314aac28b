//! Keys that tokens are signed with.

use std::collections::BTreeMap;
use std::path::PathBuf;

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header};
use thiserror::Error;

use super::Claims;

/// Shortest secret of HS256, in bytes (RFC 7518 §3.2).
const SECRET_LEN_MIN: usize = 32;

/// Why a key cannot be used. Secrets are not repeated.
#[derive(Debug, Error)]
pub(crate) enum KeyError {
    /// Not the three parts.
    #[error("a key is ID:ALGORITHM:SECRET-OR-FILE, as in main:HS256:0123… or web:ES256:key.pem")]
    Form,
    /// An algorithm that is none of ours.
    #[error("key {0:?}: the algorithm is one of HS256, ES256, EdDSA")]
    Algorithm(String),
    /// RFC 7518 §3.2.
    #[error("key {0:?}: a secret of HS256 has at least 32 bytes")]
    Short(String),
    /// The file.
    #[error("key {id:?}: cannot read {file}")]
    File {
        /// Which.
        id: String,
        /// Where.
        file: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// What is in it.
    #[error("key {id:?}: {file} is no {what} key of {algorithm} in PEM (PKCS #8 or SPKI)")]
    Pem {
        /// Which.
        id: String,
        /// Where.
        file: PathBuf,
        /// Public or private.
        what: &'static str,
        /// ES256 or EdDSA.
        algorithm: String,
    },
    /// Another one has that name.
    #[error("two keys are named {0:?}")]
    Twice(String),
}

/// A key of a token, with its own and only algorithm.
#[derive(Clone)]
pub(crate) struct Key {
    pub(super) algorithm: Algorithm,
    pub(super) decoding: DecodingKey,
}

/// Keys that tokens are looked at with, by their ids.
#[derive(Clone, Default)]
pub(crate) struct Keys(BTreeMap<String, Key>);

/// Shows ids alone.
impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// The parts of `ID:ALGORITHM:SECRET-OR-FILE`.
struct Parts<'a> {
    id: &'a str,
    algorithm: Algorithm,
    value: &'a str,
}

impl<'a> Parts<'a> {
    fn read(text: &'a str) -> Result<Self, KeyError> {
        let mut parts = text.splitn(3, ':');
        let (Some(id), Some(algorithm), Some(value)) = (parts.next(), parts.next(), parts.next())
        else {
            return Err(KeyError::Form);
        };
        if id.is_empty() || value.is_empty() {
            return Err(KeyError::Form);
        }
        let algorithm = match algorithm {
            "HS256" => Algorithm::HS256,
            "ES256" => Algorithm::ES256,
            "EdDSA" => Algorithm::EdDSA,
            _ => return Err(KeyError::Algorithm(id.to_owned())),
        };
        if algorithm == Algorithm::HS256 && value.len() < SECRET_LEN_MIN {
            return Err(KeyError::Short(id.to_owned()));
        }
        Ok(Self {
            id,
            algorithm,
            value,
        })
    }

    fn file(&self) -> Result<Vec<u8>, KeyError> {
        std::fs::read(self.value).map_err(|source| KeyError::File {
            id: self.id.to_owned(),
            file: self.value.into(),
            source,
        })
    }

    fn no_pem(&self, what: &'static str) -> KeyError {
        KeyError::Pem {
            id: self.id.to_owned(),
            file: self.value.into(),
            what,
            algorithm: format!("{:?}", self.algorithm),
        }
    }

    /// To look at tokens.
    fn decoding(&self) -> Result<DecodingKey, KeyError> {
        let key = match self.algorithm {
            Algorithm::ES256 => DecodingKey::from_ec_pem(&self.file()?),
            Algorithm::EdDSA => DecodingKey::from_ed_pem(&self.file()?),
            _ => return Ok(DecodingKey::from_secret(self.value.as_bytes())),
        };
        key.map_err(|_| self.no_pem("public"))
    }

    /// To make tokens.
    fn encoding(&self) -> Result<EncodingKey, KeyError> {
        let key = match self.algorithm {
            Algorithm::ES256 => EncodingKey::from_ec_pem(&self.file()?),
            Algorithm::EdDSA => EncodingKey::from_ed_pem(&self.file()?),
            _ => return Ok(EncodingKey::from_secret(self.value.as_bytes())),
        };
        key.map_err(|_| self.no_pem("private"))
    }
}

/// What makes tokens.
#[derive(Clone)]
pub(crate) struct Signer {
    id: String,
    algorithm: Algorithm,
    key: EncodingKey,
}

/// Shows its id alone.
impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Signer").field(&self.id).finish()
    }
}

impl Signer {
    /// Reads a key as it is configured, a private one.
    ///
    /// # Errors
    /// The [`KeyError`].
    pub(crate) fn read(text: &str) -> Result<Self, KeyError> {
        let parts = Parts::read(text)?;
        Ok(Self {
            id: parts.id.to_owned(),
            algorithm: parts.algorithm,
            key: parts.encoding()?,
        })
    }

    /// A token with these claims, in the name of the key.
    ///
    /// # Errors
    /// That of the cryptography.
    pub(crate) fn sign(&self, claims: Claims) -> Result<String, jsonwebtoken::errors::Error> {
        let claims = Claims {
            iss: Some(self.id.clone()),
            ..claims
        };
        let header = Header {
            kid: Some(self.id.clone()),
            ..Header::new(self.algorithm)
        };
        jsonwebtoken::encode(&header, &claims, &self.key)
    }
}

impl Keys {
    /// Reads keys as they are configured.
    ///
    /// # Errors
    /// The [`KeyError`].
    pub(crate) fn read(texts: &[String]) -> Result<Self, KeyError> {
        let mut keys = BTreeMap::new();
        for text in texts {
            let parts = Parts::read(text)?;
            let key = Key {
                algorithm: parts.algorithm,
                decoding: parts.decoding()?,
            };
            if keys.insert(parts.id.to_owned(), key).is_some() {
                return Err(KeyError::Twice(parts.id.to_owned()));
            }
        }
        Ok(Self(keys))
    }

    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The key of that id; without one, the only key.
    pub(super) fn named(&self, id: Option<&str>) -> Option<&Key> {
        match id {
            Some(id) => self.0.get(id),
            None if self.0.len() == 1 => self.0.values().next(),
            None => None,
        }
    }

    /// One key.
    #[cfg(test)]
    pub(super) fn of(id: &str, key: Key) -> Self {
        Self([(id.to_owned(), key)].into())
    }
}
