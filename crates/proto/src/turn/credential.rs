//! Long-term credentials (RFC 8489 §9.2): keys, what a nonce says about its server, and passwords
//! that end by themselves.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use twocan_wire::stun::{Builder, Message, PasswordAlgorithm};

use crate::crypto::{AuthenticationFailed, Hash, HmacSha1, HmacSha256, md5};

/// What a nonce begins with whose server says in it what it can do (RFC 8489 §9.2). Four
/// characters of base64 follow, three bytes of [`SecurityFeatures`].
pub const NONCE_COOKIE: &str = "obMatJos2";

/// The key of a user in a realm, ready for MACs.
///
/// ```
/// use twocan_proto::turn::LongTermKey;
/// use twocan_proto::wire::stun::{Builder, Class, Message, Method, TransactionId};
/// let key = LongTermKey::sha256("ann", "example.org", "secret");
/// let mut bytes = Vec::new();
/// let id = TransactionId([7; 12]);
/// key.finish(Builder::new(&mut bytes, Class::Request, Method::ALLOCATE, id));
/// assert!(key.verify(&Message::parse(&bytes).unwrap()).is_ok());
/// ```
#[derive(Debug, Clone)]
pub struct LongTermKey(Keyed);

#[derive(Debug, Clone)]
enum Keyed {
    /// The key of MD5, with MESSAGE-INTEGRITY.
    Sha1(HmacSha1),
    /// The key of MD5, with MESSAGE-INTEGRITY-SHA256.
    Md5Sha256(HmacSha256),
    /// The key of SHA-256, with MESSAGE-INTEGRITY-SHA256.
    Sha256(HmacSha256),
}

impl LongTermKey {
    /// MD5 of `username:realm:password` with MESSAGE-INTEGRITY: what every server and client
    /// understands (RFC 5389 §15.4). Password and realm are taken as OpaqueString has left them
    /// (RFC 8265 §4.2), which changes nothing in ASCII.
    pub fn md5(username: &str, realm: &str, password: &str) -> Self {
        let key = md5(&credential(username, realm, password));
        Self(Keyed::Sha1(HmacSha1::new(&key)))
    }

    /// The same key with MESSAGE-INTEGRITY-SHA256: for a server that has answered with
    /// PASSWORD-ALGORITHMS and a client that has chosen MD5 of them (RFC 8489 §9.2.5).
    pub fn md5_with_sha256(username: &str, realm: &str, password: &str) -> Self {
        let key = md5(&credential(username, realm, password));
        Self(Keyed::Md5Sha256(HmacSha256::new(&key)))
    }

    /// SHA-256 of the same with MESSAGE-INTEGRITY-SHA256 (RFC 8489 §18.5.1).
    pub fn sha256(username: &str, realm: &str, password: &str) -> Self {
        let key = Hash::Sha256.digest(&credential(username, realm, password).concat());
        Self(Keyed::Sha256(HmacSha256::new(&key)))
    }

    /// The algorithm to name in PASSWORD-ALGORITHM; `None` where none is named, because the
    /// server knows only the one.
    pub fn algorithm(&self) -> Option<PasswordAlgorithm> {
        match self.0 {
            Keyed::Sha1(_) => None,
            Keyed::Md5Sha256(_) => Some(PasswordAlgorithm::MD5),
            Keyed::Sha256(_) => Some(PasswordAlgorithm::SHA256),
        }
    }

    /// Ends a message with the MAC of this key and a FINGERPRINT.
    pub fn finish(&self, builder: Builder<'_>) {
        match &self.0 {
            Keyed::Sha1(key) => builder.finish_with_integrity(|parts| key.sign(parts)),
            Keyed::Md5Sha256(key) | Keyed::Sha256(key) => {
                builder.finish_with_integrity_sha256(|parts| key.sign(parts));
            }
        }
    }

    /// Checks the MAC of a message: the one that this key makes. A message that carries only
    /// another one fails.
    ///
    /// # Errors
    /// [`AuthenticationFailed`].
    pub fn verify(&self, message: &Message<'_>) -> Result<(), AuthenticationFailed> {
        match &self.0 {
            Keyed::Sha1(key) => {
                let integrity = message.integrity().ok_or(AuthenticationFailed)?;
                key.verify(&[&integrity.header, integrity.attributes], integrity.mac)
            }
            Keyed::Md5Sha256(key) | Keyed::Sha256(key) => {
                let integrity = message.integrity_sha256().ok_or(AuthenticationFailed)?;
                key.verify(&[&integrity.header, integrity.attributes], integrity.mac)
            }
        }
    }
}

fn credential<'a>(username: &'a str, realm: &'a str, password: &'a str) -> [&'a [u8]; 5] {
    let [username, realm, password] = [username, realm, password].map(str::as_bytes);
    [username, b":", realm, b":", password]
}

/// USERHASH: SHA-256 of `username:realm` (RFC 8489 §14.4).
pub fn userhash(username: &str, realm: &str) -> [u8; 32] {
    let hash = Hash::Sha256.digest(&[username.as_bytes(), b":", realm.as_bytes()].concat());
    let mut out = [0; 32];
    out.copy_from_slice(&hash);
    out
}

/// The password of a user name `expiry:name` under a secret that server and issuer share: base64
/// of HMAC-SHA1. `expiry` is in seconds since 1970; the server refuses the name afterwards
/// (draft-uberti-behave-turn-rest-00 §2.2).
pub fn rest_password(secret: &[u8], username: &str) -> String {
    STANDARD.encode(HmacSha1::new(secret).sign(&[username.as_bytes()]))
}

/// What a server says in its nonce that it can do (RFC 8489 §18.1), so that nobody in between
/// can hide it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SecurityFeatures {
    /// It sends PASSWORD-ALGORITHMS.
    pub password_algorithms: bool,
    /// It takes USERHASH for USERNAME.
    pub username_anonymity: bool,
}

impl SecurityFeatures {
    /// Reads them from a nonce; `None` where it does not begin with the cookie.
    pub fn of_nonce(nonce: &str) -> Option<Self> {
        let encoded = nonce.strip_prefix(NONCE_COOKIE)?.get(..4)?;
        let bytes = STANDARD.decode(encoded).ok()?;
        let first = bytes.first()?;
        Some(Self {
            password_algorithms: first & 0x80 != 0,
            username_anonymity: first & 0x40 != 0,
        })
    }

    /// What a nonce that says so begins with.
    pub fn nonce_prefix(self) -> String {
        let first =
            u8::from(self.password_algorithms) << 7 | u8::from(self.username_anonymity) << 6;
        format!("{NONCE_COOKIE}{}", STANDARD.encode([first, 0, 0]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use twocan_wire::stun::{Attribute, Class, Method, TransactionId};

    const USER: &str = "\u{30de}\u{30c8}\u{30ea}\u{30c3}\u{30af}\u{30b9}";
    const REALM: &str = "example.org";
    const PASSWORD: &str = "TheMatrIX";

    fn bytes(hex: &str) -> Vec<u8> {
        let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
        digits
            .chunks(2)
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect()
    }

    /// RFC 5769 §2.4.
    fn sample_with_md5() -> Vec<u8> {
        bytes(
            "000100602112a44278ad3433c6ad72c029da412e\
             00060012e3839ee38388e383aae38383e382afe382b90000\
             0015001c662f2f3439396b39353464364f4c33346f4c39465354767936347341\
             0014000b6578616d706c652e6f726700\
             00080014f67024656dd64a3e02b8e0712e85c9a28ca89666",
        )
    }

    /// RFC 8489 Appendix B.1, with erratum 6268.
    fn sample_with_sha256() -> Vec<u8> {
        bytes(
            "000100902112a44278ad3433c6ad72c029da412e\
             001e00204a3cf38fef6992bda952c6780417da0f24819415569e60b205c46e41407f1704\
             001500296f624d61744a6f733241414143662f2f3439396b3935346436\
             4f4c33346f4c39465354767936347341000000\
             0014000b6578616d706c652e6f726700001d000400020000\
             001c0020b5c7bf005b6c52a21c51c5e892f81924136296cb927c43149309278cc6518e65",
        )
    }

    #[test]
    fn the_sample_of_rfc_5769_verifies() {
        let bytes = sample_with_md5();
        let message = Message::parse(&bytes).unwrap();
        assert_eq!(message.username(), Some(USER));
        let key = LongTermKey::md5(USER, REALM, PASSWORD);
        assert!(key.verify(&message).is_ok());
        assert!(LongTermKey::md5(USER, REALM, "x").verify(&message).is_err());
        // A MAC of another kind is no MAC.
        let key = LongTermKey::sha256(USER, REALM, PASSWORD);
        assert!(key.verify(&message).is_err());
    }

    #[test]
    fn the_sample_of_rfc_8489_verifies() {
        let bytes = sample_with_sha256();
        let message = Message::parse(&bytes).unwrap();
        let key = LongTermKey::sha256(USER, REALM, PASSWORD);
        assert!(key.verify(&message).is_ok());
        assert!(
            LongTermKey::md5(USER, REALM, PASSWORD)
                .verify(&message)
                .is_err()
        );
        let attributes: Vec<_> = message.attributes().collect();
        let hash = userhash(USER, REALM);
        assert!(attributes.contains(&Attribute::Userhash(&hash)));
        assert!(attributes.contains(&Attribute::PasswordAlgorithm(PasswordAlgorithm::SHA256)));
        let nonce = attributes.iter().find_map(|attribute| match attribute {
            Attribute::Nonce(nonce) => Some(*nonce),
            _ => None,
        });
        // "AAAC": the vector's bits are from an older draft of the registry and name neither.
        let features = SecurityFeatures::of_nonce(nonce.unwrap()).unwrap();
        assert_eq!(features, SecurityFeatures::default());
    }

    #[test]
    fn what_is_finished_with_a_key_verifies_with_it_alone() {
        let keys = [
            LongTermKey::md5("a", REALM, "p"),
            LongTermKey::md5_with_sha256("a", REALM, "p"),
            LongTermKey::sha256("a", REALM, "p"),
        ];
        for (made, key) in keys.iter().enumerate() {
            let mut out = Vec::new();
            let id = TransactionId([4; 12]);
            let mut builder = Builder::new(&mut out, Class::Request, Method::ALLOCATE, id);
            builder.attribute(Attribute::Username("a"));
            key.finish(builder);
            let message = Message::parse(&out).unwrap();
            for (tried, other) in keys.iter().enumerate() {
                assert_eq!(other.verify(&message).is_ok(), made == tried);
            }
        }
    }

    #[test]
    fn features_of_a_nonce_read_back() {
        for (password_algorithms, username_anonymity) in
            [(false, false), (false, true), (true, false), (true, true)]
        {
            let features = SecurityFeatures {
                password_algorithms,
                username_anonymity,
            };
            let nonce = format!("{}rest", features.nonce_prefix());
            assert_eq!(SecurityFeatures::of_nonce(&nonce), Some(features));
        }
        assert_eq!(
            SecurityFeatures::of_nonce("f//499k954d6OL34oL9FSTvy64sA"),
            None
        );
        assert_eq!(SecurityFeatures::of_nonce("obMatJos2AA"), None);
        assert_eq!(
            SecurityFeatures::of_nonce("obMatJos2\u{e9}\u{e9}\u{e9}"),
            None
        );
    }
}
