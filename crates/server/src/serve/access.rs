//! Who is let in: by the server's secret, by a token, or as anybody where rooms are open. The
//! answers to others are those of RFC 6750 §3.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError, RwLock};
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

/// Tokens and identities that are revoked at a time; further ones are refused.
const REVOKED_MAX: usize = 100_000;

/// Bytes of all their names together; the same.
const REVOKED_LEN_MAX: usize = 16 << 20;

/// How long a revocation holds where nobody says how long.
pub(super) const REVOKED_FOR: Duration = Duration::from_secs(86_400);

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
    /// Whether there has been a key since the start.
    has_had_keys: AtomicBool,
    keys: RwLock<Keys>,
    revoked: Mutex<Revocations>,
}

/// What is revoked.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Revoked {
    /// A token, by its `jti`.
    Token(String),
    /// All tokens of an identity that were made until then.
    Identity(String),
}

impl Revoked {
    fn name(&self) -> &str {
        match self {
            Self::Token(name) | Self::Identity(name) => name,
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Revocation {
    /// Time since 1970.
    at: Duration,
    /// Until when it holds.
    until: Duration,
}

/// All that is revoked.
#[derive(Debug, Default)]
struct Revocations {
    all: BTreeMap<Revoked, Revocation>,
    /// Of all names.
    len: usize,
}

impl Revocations {
    /// `false` where there is no room.
    fn add(&mut self, now: Duration, what: Revoked, until: Duration) -> bool {
        let own = what.name().len();
        let is_known = self.all.contains_key(&what);
        if !is_known && !self.has_room(own) {
            self.all.retain(|_, known| known.until > now);
            self.len = self.all.keys().map(|known| known.name().len()).sum();
            if !self.has_room(own) {
                return false;
            }
        }
        if !is_known {
            self.len += own;
        }
        let revocation = Revocation { at: now, until };
        let known = self.all.entry(what).or_insert(revocation);
        known.at = now;
        known.until = known.until.max(until);
        true
    }

    fn has_room(&self, len: usize) -> bool {
        self.all.len() < REVOKED_MAX && self.len + len <= REVOKED_LEN_MAX
    }

    /// Whether a token of that id, of that identity, made then, is revoked.
    fn hold(
        &self,
        now: Duration,
        id: Option<&String>,
        identity: Option<&String>,
        made: Option<Duration>,
    ) -> bool {
        let holds = |what: Revoked| self.all.get(&what).filter(|known| known.until > now);
        let by_id = id.and_then(|id| holds(Revoked::Token(id.clone())));
        let by_identity = identity.and_then(|own| holds(Revoked::Identity(own.clone())));
        // Who says not when it was made, was made before. Dates are whole seconds.
        let made = made.unwrap_or_default();
        let is_before = by_identity.is_some_and(|own| made.as_secs() <= own.at.as_secs());
        by_id.is_some() || is_before
    }
}

/// Who administers.
#[derive(Debug, Clone)]
pub(super) struct Operator {
    /// For the audit log.
    pub(super) name: String,
    /// `None` may do anything.
    claims: Option<Claims>,
}

impl Operator {
    /// Whether it may list all rooms.
    pub(super) fn may_list(&self) -> bool {
        self.may(|claims| claims.video.room_list)
    }

    /// Whether it may make and close rooms.
    pub(super) fn may_create(&self) -> bool {
        self.may(|claims| claims.video.room_create)
    }

    /// Whether it may see and moderate a room.
    pub(super) fn may_moderate(&self, room: &str) -> bool {
        self.may(|claims| claims.video.room_admin && claims.video.room.as_deref() == Some(room))
    }

    /// Whether it may do anything.
    pub(super) fn may_all(&self) -> bool {
        self.claims.is_none()
    }

    fn may(&self, has: impl Fn(&Claims) -> bool) -> bool {
        self.claims.as_ref().is_none_or(has)
    }
}

impl Access {
    pub(super) fn new(secret: Option<String>, plan: &TokenPlan) -> Self {
        Self {
            secret,
            admin_secret: plan.admin_secret.clone(),
            open_rooms: plan.open_rooms,
            leeway: plan.leeway,
            has_had_keys: AtomicBool::new(!plan.keys.is_empty()),
            keys: RwLock::new(plan.keys.clone()),
            revoked: Mutex::default(),
        }
    }

    /// Takes other keys.
    ///
    /// # Errors
    /// That of the keys; those before stay.
    pub(super) fn reconfigure(&self, settings: &Settings) -> Result<(), SettingsError> {
        let keys = Keys::read(&settings.tokens.token_keys)?;
        if keys.is_empty() && self.has_keys() {
            tracing::warn!("no keys are left: nobody can join until there are some");
        }
        self.has_had_keys
            .fetch_or(!keys.is_empty(), Ordering::Relaxed);
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

    /// Who administers.
    ///
    /// # Errors
    /// [`Denied`].
    pub(super) fn operator(&self, headers: &HeaderMap) -> Result<Operator, Denied> {
        let token = bearer(headers).ok_or(Denied::Missing)?;
        if is(self.admin_secret.as_ref(), token) {
            return Ok(Operator {
                name: "admin".into(),
                claims: None,
            });
        }
        if !self.has_keys() {
            return Err(Denied::WrongSecret);
        }
        let claims = self.verified(token).map_err(Denied::Invalid)?;
        let name = claims.sub.clone().or_else(|| claims.jti.clone());
        Ok(Operator {
            name: name.unwrap_or_else(|| "token".into()),
            claims: Some(claims),
        })
    }

    /// Whether the bearer token is the operator's secret.
    pub(super) fn is_admin(&self, headers: &HeaderMap) -> bool {
        bearer(headers).is_some_and(|token| is(self.admin_secret.as_ref(), token))
    }

    /// Revokes, from `now` on and until then; `false` where too much is revoked already.
    pub(super) fn revoke(&self, what: Revoked, until: Duration) -> bool {
        let now = clock::now().wallclock;
        let mut revoked = self.revoked.lock().unwrap_or_else(PoisonError::into_inner);
        revoked.add(now, what, until)
    }

    /// Whether what somebody was let in by has been revoked since.
    pub(super) fn has_revoked(&self, admission: &Admission) -> bool {
        let now = clock::now().wallclock;
        let revoked = self.revoked.lock().unwrap_or_else(PoisonError::into_inner);
        let (id, identity) = (admission.token_id.as_ref(), admission.identity.as_ref());
        revoked.hold(now, id, identity, admission.issued_at)
    }

    fn has_keys(&self) -> bool {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        !keys.is_empty()
    }

    fn is_open(&self) -> bool {
        // A key that is taken away does not open what it closed.
        let has_had_keys = self.has_had_keys.load(Ordering::Relaxed);
        self.secret.is_none() && (self.open_rooms || !has_had_keys)
    }

    fn verified(&self, token: &str) -> Result<Claims, TokenError> {
        let now = clock::now().wallclock;
        let claims = {
            let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
            verify(&keys, token, now, self.leeway)?
        };
        let revoked = self.revoked.lock().unwrap_or_else(PoisonError::into_inner);
        match revoked.hold(now, claims.jti.as_ref(), claims.sub.as_ref(), claims.iat) {
            true => Err(TokenError::Revoked),
            false => Ok(claims),
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn named(index: usize, len: usize) -> Revoked {
        let name = index.to_string();
        let rest = len.saturating_sub(name.len());
        Revoked::Identity(name + &"x".repeat(rest))
    }

    #[test]
    fn what_is_revoked_is_bounded_in_bytes() {
        let mut revoked = Revocations::default();
        let now = Duration::from_secs(1_700_000_000);
        let (soon, later) = (now + Duration::from_secs(1), now + REVOKED_FOR);
        let len = REVOKED_LEN_MAX / 64;
        for index in 0..64 {
            let until = if index == 0 { soon } else { later };
            assert!(revoked.add(now, named(index, len), until));
        }
        assert!(!revoked.add(now, named(64, len), later));
        // What is known goes on to be.
        assert!(revoked.add(now, named(1, len), later));
        // What is over makes room.
        assert!(revoked.add(soon, named(64, len), later));
        assert!(!revoked.add(soon, named(65, 1), later));
    }

    #[test]
    fn who_was_let_in_before_is_known_to_be_revoked() {
        let mut revoked = Revocations::default();
        let now = Duration::from_secs(1_700_000_000);
        let ada = "ada".to_owned();
        revoked.add(now, Revoked::Identity(ada.clone()), now + REVOKED_FOR);
        let made = |seconds| Some(Duration::from_secs(seconds));
        assert!(revoked.hold(now, None, Some(&ada), made(1_700_000_000)));
        assert!(revoked.hold(now, None, Some(&ada), None));
        assert!(!revoked.hold(now, None, Some(&ada), made(1_700_000_001)));
        assert!(!revoked.hold(now, Some(&ada), None, None));
    }
}
