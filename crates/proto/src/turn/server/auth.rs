//! Who a request is from: long-term credentials (RFC 8489 §9.2) of users that are known by name,
//! or by a name that says when it ends and a password that a shared secret makes.
//!
//! A nonce is a MAC over the address that it was given to and the time: nothing is kept for it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use twocan_wire::stun::{Attribute, Message, PasswordAlgorithm};

use crate::crypto::{HmacSha256, equal};
use crate::random::Random;
use crate::time::Now;
use crate::turn::{LongTermKey, SecurityFeatures, rest_password, userhash};

/// How long a nonce is good for.
pub(super) const NONCE_LASTS: Duration = Duration::from_secs(600);

/// Characters of a nonce's MAC: 114 bits. With them a challenge is three times the shortest
/// Allocate at most.
const NONCE_MAC_LEN: usize = 19;

/// What we offer, the preferred first.
const ALGORITHMS: [PasswordAlgorithm; 2] = [PasswordAlgorithm::SHA256, PasswordAlgorithm::MD5];

#[derive(Debug)]
pub(super) struct Authenticator {
    realm: String,
    passwords: BTreeMap<String, String>,
    names: BTreeMap<[u8; 32], String>,
    secrets: Vec<String>,
    nonce_key: HmacSha256,
    nonce_prefix: String,
    algorithms: Vec<u8>,
    started: Instant,
}

/// A request whose sender is known.
#[derive(Debug)]
pub(super) struct Proof {
    /// Whom quotas count: the name without its expiry.
    pub(super) user: String,
    /// When the credential ends, in time since 1970.
    pub(super) ends: Option<Duration>,
    /// Signs the answer.
    pub(super) key: LongTermKey,
}

/// Why the sender is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unproved {
    /// 401.
    Unauthenticated,
    /// 438.
    StaleNonce,
    /// 400.
    Incomplete,
}

impl Authenticator {
    pub(super) fn new(
        realm: &str,
        users: &[(String, String)],
        secrets: &[String],
        random: &mut Random,
        now: Now,
    ) -> Self {
        let mut key = [0; 32];
        random.fill(&mut key);
        let mut algorithms = Vec::new();
        for algorithm in ALGORITHMS {
            algorithm.write(&mut algorithms);
        }
        let mut new = Self {
            realm: realm.to_owned(),
            passwords: BTreeMap::new(),
            names: BTreeMap::new(),
            secrets: Vec::new(),
            nonce_key: HmacSha256::new(&key),
            nonce_prefix: String::new(),
            algorithms,
            started: now.monotonic,
        };
        new.set_known(users, secrets);
        new
    }

    /// Who is known from here on.
    pub(super) fn set_known(&mut self, users: &[(String, String)], secrets: &[String]) {
        let features = SecurityFeatures {
            password_algorithms: true,
            // The hash of a name that nobody has told us cannot be looked up.
            username_anonymity: secrets.is_empty(),
        };
        let hashed = |(name, _): &(String, String)| (userhash(name, &self.realm), name.clone());
        self.names = users.iter().map(hashed).collect();
        self.passwords = users.iter().cloned().collect();
        self.secrets = secrets.to_vec();
        self.nonce_prefix = features.nonce_prefix();
    }

    pub(super) fn realm(&self) -> &str {
        &self.realm
    }

    /// The value of PASSWORD-ALGORITHMS.
    pub(super) fn algorithms(&self) -> &[u8] {
        &self.algorithms
    }

    /// A nonce for `remote`.
    pub(super) fn nonce(&self, now: Now, remote: SocketAddr) -> String {
        let stamp = now.monotonic.saturating_duration_since(self.started);
        self.nonce_of(u32::try_from(stamp.as_secs()).unwrap_or(u32::MAX), remote)
    }

    fn nonce_of(&self, stamp: u32, remote: SocketAddr) -> String {
        const ALPHABET: &[u8; 64] =
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let ip = match remote.ip() {
            IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
            IpAddr::V6(ip) => ip.octets(),
        };
        let mac = self
            .nonce_key
            .sign(&[&stamp.to_be_bytes(), &ip, &remote.port().to_be_bytes()]);
        let mut nonce = self.nonce_prefix.clone();
        let _ = write!(nonce, "{stamp:08x}");
        let letters = mac.iter().take(NONCE_MAC_LEN);
        nonce.extend(letters.map(|byte| char::from(ALPHABET[usize::from(byte & 63)])));
        nonce
    }

    fn is_fresh(&self, now: Now, remote: SocketAddr, nonce: &str) -> bool {
        let Some(stamp) = nonce
            .strip_prefix(self.nonce_prefix.as_str())
            .and_then(|rest| rest.get(..8))
            .and_then(|digits| u32::from_str_radix(digits, 16).ok())
        else {
            return false;
        };
        let given = self.started + Duration::from_secs(stamp.into());
        given <= now.monotonic
            && now.monotonic < given + NONCE_LASTS
            && equal(self.nonce_of(stamp, remote).as_bytes(), nonce.as_bytes())
    }

    /// Who sent `message` from `remote`.
    ///
    /// The nonce comes first: it costs one MAC, and a forged source has none.
    pub(super) fn prove(
        &self,
        now: Now,
        remote: SocketAddr,
        message: &Message<'_>,
    ) -> Result<Proof, Unproved> {
        let sha256 = message.integrity_sha256();
        if sha256.is_none() && message.integrity().is_none() {
            return Err(Unproved::Unauthenticated);
        }
        let claims = Claims::of(message);
        let (Some(nonce), Some(_)) = (claims.nonce, claims.realm) else {
            return Err(Unproved::Incomplete);
        };
        if !self.is_fresh(now, remote, nonce) {
            return Err(Unproved::StaleNonce);
        }
        let username = match (claims.username, claims.userhash) {
            (Some(name), _) => name,
            (None, Some(hash)) => self.names.get(hash).ok_or(Unproved::Unauthenticated)?,
            (None, None) => return Err(Unproved::Incomplete),
        };
        let algorithm = match (claims.algorithms, claims.algorithm) {
            (None, None) => PasswordAlgorithm::MD5,
            (Some(offered), Some(taken))
                if offered == self.algorithms && ALGORITHMS.contains(&taken) =>
            {
                taken
            }
            // Somebody in between has taken the better one out of our offer (RFC 8489 §9.2.4).
            _ => return Err(Unproved::Incomplete),
        };
        let keys: fn(&str, &str, &str) -> LongTermKey = match (sha256, algorithm) {
            (Some(integrity), _) if integrity.mac.len() < 32 => {
                return Err(Unproved::Unauthenticated);
            }
            (Some(_), PasswordAlgorithm::SHA256) => LongTermKey::sha256,
            (Some(_), _) => LongTermKey::md5_with_sha256,
            (None, PasswordAlgorithm::MD5) => LongTermKey::md5,
            (None, _) => return Err(Unproved::Incomplete),
        };
        let proves = |password: &str| {
            let key = keys(username, &self.realm, password);
            key.verify(message).is_ok().then_some(key)
        };
        if let Some(password) = self.passwords.get(username) {
            let key = proves(password).ok_or(Unproved::Unauthenticated)?;
            let user = username.to_owned();
            return Ok(Proof {
                user,
                ends: None,
                key,
            });
        }
        let (ends, user) = timed(username).ok_or(Unproved::Unauthenticated)?;
        if now.wallclock >= ends {
            return Err(Unproved::Unauthenticated);
        }
        let key = self
            .secrets
            .iter()
            .find_map(|secret| proves(&rest_password(secret.as_bytes(), username)))
            .ok_or(Unproved::Unauthenticated)?;
        let (user, ends) = (user.to_owned(), Some(ends));
        Ok(Proof { user, ends, key })
    }
}

/// `expiry:name`, or `expiry` alone: when it ends, and whom quotas count.
fn timed(username: &str) -> Option<(Duration, &str)> {
    let (expiry, name) = username.split_once(':').unwrap_or((username, username));
    let name = if name.is_empty() { username } else { name };
    Some((Duration::from_secs(expiry.parse().ok()?), name))
}

/// What a request says of its sender.
#[derive(Default)]
struct Claims<'a> {
    username: Option<&'a str>,
    userhash: Option<&'a [u8; 32]>,
    realm: Option<&'a str>,
    nonce: Option<&'a str>,
    algorithms: Option<&'a [u8]>,
    algorithm: Option<PasswordAlgorithm>,
}

impl<'a> Claims<'a> {
    fn of(message: &Message<'a>) -> Self {
        let mut claims = Self::default();
        for attribute in message.attributes() {
            match attribute {
                Attribute::Username(name) => _ = claims.username.get_or_insert(name),
                Attribute::Userhash(hash) => _ = claims.userhash.get_or_insert(hash),
                Attribute::Realm(realm) => _ = claims.realm.get_or_insert(realm),
                Attribute::Nonce(nonce) => _ = claims.nonce.get_or_insert(nonce),
                Attribute::PasswordAlgorithms(list) => _ = claims.algorithms.get_or_insert(list),
                Attribute::PasswordAlgorithm(taken) => _ = claims.algorithm.get_or_insert(taken),
                _ => {}
            }
        }
        claims
    }
}
