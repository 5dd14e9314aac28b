//! Join tokens: JSON Web Tokens (RFC 7519) that say who may do what in which room.

mod claims;
mod command;
mod keys;

pub(crate) use claims::{Claims, Grant};
pub(crate) use command::{Command, run};
pub(crate) use keys::{KeyError, Keys, Signer};

use std::time::Duration;

use jsonwebtoken::Validation;
use thiserror::Error;

/// Longest token that is looked at, in bytes.
const TOKEN_LEN_MAX: usize = 8 * 1024;

/// Why a token is refused. What it says itself is not repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(crate) enum TokenError {
    /// Too long.
    #[error("a token has 8 KiB at most")]
    TooLong,
    /// Three parts in base64url, of which two are JSON objects, is what it is not.
    #[error("this is no JSON Web Token")]
    Malformed,
    /// RFC 7515 §4.1.11.
    #[error("the token has critical header parameters, and none is known here")]
    Critical,
    /// No key.
    #[error("the token names no key of this server")]
    UnknownKey,
    /// That of the key is another one.
    #[error("the token is not of its key's algorithm")]
    WrongAlgorithm,
    /// The signature.
    #[error("the signature is wrong")]
    WrongSignature,
    /// RFC 7519 §4.1.3.
    #[error("the token is for another audience")]
    Audience,
    /// RFC 7519 §4.1.4.
    #[error("the token has no exp")]
    NoExpiry,
    /// It is over.
    #[error("the token has expired")]
    Expired,
    /// RFC 7519 §4.1.5.
    #[error("the token is not valid yet")]
    NotYet,
    /// It was taken back.
    #[error("the token was revoked")]
    Revoked,
}

/// The claims of a token that one of the keys signed and that is valid at `wallclock` (time since
/// 1970), give or take `leeway`.
///
/// # Errors
/// The [`TokenError`].
pub(crate) fn verify(
    keys: &Keys,
    token: &str,
    wallclock: Duration,
    leeway: Duration,
) -> Result<Claims, TokenError> {
    if token.len() > TOKEN_LEN_MAX {
        return Err(TokenError::TooLong);
    }
    // An algorithm that is unknown, `none` above all, is no header.
    let header = jsonwebtoken::decode_header(token).map_err(|_| TokenError::Malformed)?;
    if header.crit.is_some() {
        return Err(TokenError::Critical);
    }
    // Tokens of other servers of this kind have the key's id as issuer.
    let issuer = || {
        let claims = jsonwebtoken::dangerous::insecure_decode::<Claims>(token).ok()?;
        claims.claims.iss
    };
    let id = header.kid.clone().or_else(issuer);
    let key = keys.named(id.as_deref()).ok_or(TokenError::UnknownKey)?;
    if header.alg != key.algorithm {
        return Err(TokenError::WrongAlgorithm);
    }
    let mut validation = Validation::new(key.algorithm);
    // Time is looked at below, on the server's own clock.
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    use jsonwebtoken::errors::ErrorKind;
    let decoded = jsonwebtoken::decode::<Claims>(token, &key.decoding, &validation);
    let claims = decoded.map_err(|error| match error.kind() {
        ErrorKind::InvalidSignature => TokenError::WrongSignature,
        ErrorKind::InvalidAlgorithm => TokenError::WrongAlgorithm,
        ErrorKind::InvalidAudience => TokenError::Audience,
        _ => TokenError::Malformed,
    })?;
    let claims = claims.claims;
    let ends = claims.exp.ok_or(TokenError::NoExpiry)?;
    if wallclock >= ends.saturating_add(leeway) {
        return Err(TokenError::Expired);
    }
    if claims
        .nbf
        .is_some_and(|begins| wallclock.saturating_add(leeway) < begins)
    {
        return Err(TokenError::NotYet);
    }
    Ok(claims)
}

#[cfg(test)]
mod tests;
