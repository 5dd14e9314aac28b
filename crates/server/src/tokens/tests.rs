//! Tokens against vectors of RFC 7515 and RFC 7519, and against what attackers make of them.

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header};
use serde_json::{Value, json};
use twocan_room::Source;

use super::keys::Key;
use super::*;

const NOW: Duration = Duration::from_secs(1_700_000_000);
const LEEWAY: Duration = Duration::from_secs(10);
const SECRET: &str = "0123456789abcdef0123456789abcdef";

fn keys() -> Keys {
    Keys::read(&[format!("main:HS256:{SECRET}")]).unwrap()
}

fn signed(header: &Header, claims: &Value) -> String {
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    jsonwebtoken::encode(header, claims, &key).unwrap()
}

/// A token of the key `main` with these claims beside those that all need.
fn token(more: Value) -> String {
    let mut claims = json!({"iss": "main", "sub": "ada", "exp": NOW.as_secs() + 60,
        "video": {"room": "den", "roomJoin": true}});
    for (name, value) in more.as_object().unwrap() {
        claims[name] = value.clone();
    }
    signed(&Header::new(Algorithm::HS256), &claims)
}

fn looked(token: &str) -> Result<Claims, TokenError> {
    verify(&keys(), token, NOW, LEEWAY)
}

#[test]
fn the_example_of_rfc_7519_is_verified_and_has_expired() {
    // RFC 7515 appendix A.1: the key is not text.
    let secret = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75\
                  aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow";
    let jwk = json!({"kty": "oct", "k": secret});
    let key = Key {
        algorithm: Algorithm::HS256,
        decoding: DecodingKey::from_jwk(&serde_json::from_value(jwk).unwrap()).unwrap(),
    };
    let keys = Keys::of("joe", key);
    let token = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.\
                 eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.\
                 dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    let before = Duration::from_secs(1_300_819_379);
    let claims = verify(&keys, token, before, Duration::ZERO).unwrap();
    assert_eq!(claims.exp, Some(Duration::from_secs(1_300_819_380)));
    // It joins no room.
    assert!(claims.admission("den", LEEWAY).is_none());
    let at = |seconds| verify(&keys, token, Duration::from_secs(seconds), LEEWAY);
    assert!(at(1_300_819_389).is_ok());
    assert_eq!(at(1_300_819_390), Err(TokenError::Expired));
    let forged = token.replace("dBjft", "dBjfT");
    assert_eq!(
        verify(&keys, &forged, before, LEEWAY),
        Err(TokenError::WrongSignature)
    );
}

#[test]
fn the_example_of_es256_is_verified() {
    // RFC 7515 appendix A.3.
    let x = "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU";
    let y = "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0";
    let keys = Keys::of(
        "joe",
        Key {
            algorithm: Algorithm::ES256,
            decoding: DecodingKey::from_ec_components(x, y).unwrap(),
        },
    );
    let token = "eyJhbGciOiJFUzI1NiJ9.\
                 eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.\
                 DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";
    let before = Duration::from_secs(1_300_819_379);
    assert!(verify(&keys, token, before, LEEWAY).is_ok());
    let forged = token.replace("DtEhU3", "DtEhU4");
    assert_eq!(
        verify(&keys, &forged, before, LEEWAY),
        Err(TokenError::WrongSignature)
    );
}

#[test]
fn the_key_of_rfc_8037_makes_and_takes_eddsa() {
    // RFC 8037 appendix A.1 and A.4: the payload there is no JSON, so what it signs is our own.
    let x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
    let keys = Keys::of(
        "ed",
        Key {
            algorithm: Algorithm::EdDSA,
            decoding: DecodingKey::from_ed_components(x).unwrap(),
        },
    );
    // `d` of appendix A.1 as PKCS #8 (RFC 8410 §7).
    let seed = "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A";
    let seed: Vec<u8> = {
        let jwk = json!({"kty": "oct", "k": seed});
        let key = DecodingKey::from_jwk(&serde_json::from_value(jwk).unwrap()).unwrap();
        key.try_get_as_bytes().unwrap().to_vec()
    };
    let mut der = vec![
        0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20,
    ];
    der.extend_from_slice(&seed);
    let header = Header {
        kid: Some("ed".into()),
        ..Header::new(Algorithm::EdDSA)
    };
    let claims = json!({"exp": NOW.as_secs() + 1});
    let token = jsonwebtoken::encode(&header, &claims, &EncodingKey::from_ed_der(&der)).unwrap();
    assert!(verify(&keys, &token, NOW, LEEWAY).is_ok());
    let (head, _) = token.rsplit_once('.').unwrap();
    let forged = format!("{head}.{}", "A".repeat(86));
    assert_eq!(
        verify(&keys, &forged, NOW, LEEWAY),
        Err(TokenError::WrongSignature)
    );
}

#[test]
fn an_algorithm_that_is_not_the_keys_is_refused() {
    // {"alg":"none"}, as RFC 7519 §6.1 has it.
    let (_, rest) = token(json!({}))
        .split_once('.')
        .map(|(a, b)| (a.to_owned(), b.to_owned()))
        .unwrap();
    let (payload, _) = rest.split_once('.').unwrap();
    for none in ["eyJhbGciOiJub25lIn0", "eyJhbGciOiJOb25lIn0"] {
        assert_eq!(
            looked(&format!("{none}.{payload}.")),
            Err(TokenError::Malformed)
        );
    }
    // A longer hash of the same secret is another algorithm.
    let claims = json!({"iss": "main", "exp": NOW.as_secs() + 60});
    let other = signed(&Header::new(Algorithm::HS384), &claims);
    assert_eq!(looked(&other), Err(TokenError::WrongAlgorithm));
    // The public key of ES256 as the secret of HS256 (RFC 8725 §2.1).
    let x = "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU";
    let y = "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0";
    let decoding = DecodingKey::from_ec_components(x, y).unwrap();
    let secret = EncodingKey::from_secret(decoding.try_get_as_bytes().unwrap());
    let keys = Keys::of(
        "main",
        Key {
            algorithm: Algorithm::ES256,
            decoding,
        },
    );
    let confused = jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &secret).unwrap();
    assert_eq!(
        verify(&keys, &confused, NOW, LEEWAY),
        Err(TokenError::WrongAlgorithm)
    );
}

#[test]
fn time_counts_with_leeway() {
    let at = |name: &str, offset: i64| {
        let second = NOW.as_secs().checked_add_signed(offset).unwrap();
        looked(&token(json!({ name: second }))).map(|_| ())
    };
    assert_eq!(at("exp", -9), Ok(()));
    assert_eq!(at("exp", -10), Err(TokenError::Expired));
    assert_eq!(at("nbf", 10), Ok(()));
    assert_eq!(at("nbf", 11), Err(TokenError::NotYet));
    assert_eq!(
        looked(&token(json!({"exp": null}))),
        Err(TokenError::NoExpiry)
    );
    // RFC 7519 §2: a NumericDate may have a fraction.
    assert!(looked(&token(json!({"exp": 1_700_000_000.5}))).is_ok());
    for odd in [json!("soon"), json!(-1), json!(1e300), json!([1])] {
        assert_eq!(
            looked(&token(json!({"exp": odd}))),
            Err(TokenError::Malformed),
            "{odd}"
        );
    }
}

#[test]
fn what_is_no_token_of_ours_is_refused() {
    for text in ["", ".", "..", "...", "a.b.c", "secret", "ey.ey.ey"] {
        assert_eq!(looked(text), Err(TokenError::Malformed), "{text:?}");
    }
    assert_eq!(
        looked(&"a".repeat(TOKEN_LEN_MAX + 1)),
        Err(TokenError::TooLong)
    );
    let named = |kid: &str| Header {
        kid: Some(kid.into()),
        ..Header::new(Algorithm::HS256)
    };
    let claims = json!({"iss": "main", "exp": NOW.as_secs() + 60});
    assert!(looked(&signed(&named("main"), &claims)).is_ok());
    assert_eq!(
        looked(&signed(&named("other"), &claims)),
        Err(TokenError::UnknownKey)
    );
    let critical = Header {
        crit: Some(vec!["b64".into()]),
        ..named("main")
    };
    assert_eq!(
        looked(&signed(&critical, &claims)),
        Err(TokenError::Critical)
    );
    assert_eq!(
        looked(&token(json!({"aud": "elsewhere"}))),
        Err(TokenError::Audience)
    );
}

#[test]
fn grants_become_permissions_of_one_room() {
    let claims = |video: Value| looked(&token(json!({ "video": video }))).unwrap();
    let all = claims(json!({"room": "den", "roomJoin": true}));
    let admission = all.admission("den", LEEWAY).unwrap();
    assert_eq!(admission.identity.as_deref(), Some("ada"));
    assert_eq!(
        admission.permissions.names(),
        ["publish", "subscribe", "data", "chat"]
    );
    assert_eq!(admission.expires_at, Some(NOW + Duration::from_secs(70)));
    assert!(all.admission("lab", LEEWAY).is_none());
    assert!(all.admission("", LEEWAY).is_none());
    for none in [json!({"room": "den"}), json!({"roomJoin": true}), json!({})] {
        assert!(
            claims(none.clone()).admission("den", LEEWAY).is_none(),
            "{none}"
        );
    }
    let some = claims(json!({"room": "den", "roomJoin": true, "canPublishSources":
        ["microphone", "screen_share", "hologram"], "canPublishData": false,
        "roomAdmin": true, "roomRecord": true}));
    let permissions = some.admission("den", LEEWAY).unwrap().permissions;
    assert_eq!(
        permissions.publish,
        [Source::Microphone, Source::Screen].into()
    );
    assert!(!permissions.data && permissions.moderate && permissions.record);
    let none = claims(json!({"room": "den", "roomJoin": true, "canPublish": false,
        "canPublishSources": ["camera"], "canSubscribe": false, "hidden": true}));
    let permissions = none.admission("den", LEEWAY).unwrap().permissions;
    assert!(permissions.publish.is_empty() && !permissions.subscribe && permissions.hidden);
}

#[test]
fn keys_say_what_is_wrong_and_not_what_they_are() {
    let wrong = |text: &str| Keys::read(&[text.to_owned()]).unwrap_err().to_string();
    assert!(wrong("secret").contains("ID:ALGORITHM:SECRET-OR-FILE"));
    assert!(wrong("a:RS256:x").contains("HS256, ES256, EdDSA"));
    let short = wrong("a:HS256:hunter2");
    assert!(short.contains("32 bytes") && !short.contains("hunter2"));
    assert!(wrong("a:ES256:/nowhere/key.pem").contains("/nowhere/key.pem"));
    let twice = vec![format!("a:HS256:{SECRET}"); 2];
    assert!(
        Keys::read(&twice)
            .unwrap_err()
            .to_string()
            .contains("two keys")
    );
    assert!(!format!("{:?}", keys()).contains(SECRET));
}
