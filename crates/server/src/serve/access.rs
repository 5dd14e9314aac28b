//! Who is let in: by the server's secret, by a token, or as anybody where rooms are open. The
//! answers to others are those of RFC 6750 §3.

use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use thiserror::Error;
use twocan_io::clock;
use twocan_proto::crypto;
use twocan_room::{Admission, Permissions};

use super::settings::{Settings, SettingsError};
use super::tokens_settings::TokenPlan;
use crate::tokens::{Claims, Keys, TokenError, verify};

/// Why somebody is not let in.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(super) enum Denied {
    /// 401: nothing was shown.
    #[error("a bearer token is needed")]
    Missing,
    /// 401: what was shown is not taken.
    #[error("{0}")]
    Invalid(TokenError),
    /// 401: it is not the secret either.
    #[error("this is not the server's secret")]
    WrongSecret,
    /// 403: it is taken, and not for this.
    #[error("{0}")]
    Insufficient(&'static str),
}

impl IntoResponse for Denied {
    fn into_response(self) -> Response {
        let (status, code) = match self {
            Self::Missing => (StatusCode::UNAUTHORIZED, None),
            Self::Invalid(_) | Self::WrongSecret => {
                (StatusCode::UNAUTHORIZED, Some("invalid_token"))
            }
            Self::Insufficient(_) => (StatusCode::FORBIDDEN, Some("insufficient_scope")),
        };
        let challenge = match code {
            None => "Bearer realm=\"twocan\"".to_owned(),
            Some(code) => {
                format!("Bearer realm=\"twocan\", error=\"{code}\", error_description=\"{self}\"")
            }
        };
        let headers = [(header::WWW_AUTHENTICATE, challenge)];
        (status, headers, format!("{self}\n")).into_response()
    }
}

/// Keys, secrets, and what was revoked.
pub(super) struct Access {
    secret: Option<String>,
    admin_secret: Option<String>,
    open_rooms: bool,
    leeway: Duration,
    keys: RwLock<Keys>,
}

impl Access {
    pub(super) fn new(secret: Option<String>, plan: &TokenPlan) -> Self {
        Self {
            secret,
            admin_secret: plan.admin_secret.clone(),
            open_rooms: plan.open_rooms,
            leeway: plan.leeway,
            keys: RwLock::new(plan.keys.clone()),
        }
    }

    /// Takes other keys.
    ///
    /// # Errors
    /// That of the keys; those before stay.
    pub(super) fn reconfigure(&self, settings: &Settings) -> Result<(), SettingsError> {
        let keys = Keys::read(&settings.tokens.token_keys)?;
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = keys;
        Ok(())
    }

    /// As whom somebody joins a room who shows these, one of which has to do.
    ///
    /// # Errors
    /// [`Denied`].
    pub(super) fn admission<'a>(
        &self,
        room: &str,
        shown: impl IntoIterator<Item = &'a str>,
    ) -> Result<Admission, Denied> {
        let has_keys = self.has_keys();
        let mut denied = None;
        for shown in shown {
            if is(self.secret.as_ref(), shown) {
                return Ok(Admission::default());
            }
            if is(self.admin_secret.as_ref(), shown) {
                return Ok(Admission {
                    permissions: Permissions {
                        moderate: true,
                        ..Permissions::default()
                    },
                    ..Admission::default()
                });
            }
            let looked = match has_keys {
                true => self.token_admission(room, shown),
                false => Err(Denied::WrongSecret),
            };
            match looked {
                Ok(admission) => return Ok(admission),
                Err(error) => drop(denied.get_or_insert(error)),
            }
        }
        match denied {
            None if self.is_open() => Ok(Admission::default()),
            None => Err(Denied::Missing),
            // Where there is nothing to be shown, what is shown does not matter.
            Some(_) if self.is_open() && !has_keys => Ok(Admission::default()),
            Some(denied) => Err(denied),
        }
    }

    /// As whom a token lets somebody into a room.
    ///
    /// # Errors
    /// [`Denied`].
    pub(super) fn token_admission(&self, room: &str, token: &str) -> Result<Admission, Denied> {
        let claims = self.verified(token).map_err(Denied::Invalid)?;
        let admission = claims.admission(room, self.leeway);
        admission.ok_or(Denied::Insufficient("the token is not for this room"))
    }

    /// Whether the bearer token is the operator's secret.
    pub(super) fn is_admin(&self, headers: &HeaderMap) -> bool {
        bearer(headers).is_some_and(|token| is(self.admin_secret.as_ref(), token))
    }

    fn has_keys(&self) -> bool {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        !keys.is_empty()
    }

    fn is_open(&self) -> bool {
        self.secret.is_none() && (self.open_rooms || !self.has_keys())
    }

    fn verified(&self, token: &str) -> Result<Claims, TokenError> {
        let now = clock::now().wallclock;
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        verify(&keys, token, now, self.leeway)
    }
}

/// The token of `Authorization: Bearer` (RFC 6750 §2.1); the scheme in any case (RFC 9110 §11.1).
pub(super) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

fn is(secret: Option<&String>, shown: &str) -> bool {
    // Equal lengths are compared in constant time; the length of a secret is not one.
    secret.is_some_and(|secret| crypto::equal(secret.as_bytes(), shown.as_bytes()))
}
