//! Certificates and their fingerprints.

use std::time::Duration;

use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, PKCS_ECDSA_P256_SHA256};
use thiserror::Error;

use crate::crypto::{self, Hash};

/// Validity of a generated certificate: W3C webrtc-pc §4.9.1's default of 30 days.
const VALID_FOR: Duration = Duration::from_secs(30 * 24 * 3600);

/// A clock that is wrong by a day does not make a certificate invalid.
const VALID_BEFORE: Duration = Duration::from_secs(24 * 3600);

/// A certificate with its private key (`RTCCertificate`).
#[derive(Clone)]
pub struct Certificate {
    der: Vec<u8>,
    private_key: Vec<u8>,
    expires: Duration,
}

/// Why there is no [`Certificate`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the key or the certificate could not be made")]
pub struct CertificateError;

impl Certificate {
    /// Makes a self-signed ECDSA P-256 certificate, valid for 30 days from `wallclock` (time since
    /// 1970). Its key comes from the operating system's randomness.
    ///
    /// # Errors
    /// [`CertificateError`] when the provider refuses.
    pub fn generate(wallclock: Duration) -> Result<Self, CertificateError> {
        Self::generate_for(wallclock, VALID_FOR)
    }

    /// As [`Self::generate`], but valid for another time.
    ///
    /// # Errors
    /// [`CertificateError`] when the provider refuses.
    pub fn generate_for(wallclock: Duration, valid: Duration) -> Result<Self, CertificateError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(|_| CertificateError)?;
        let mut params = CertificateParams::default();
        let mut name = DistinguishedName::new();
        name.push(DnType::CommonName, "WebRTC");
        params.distinguished_name = name;
        params.not_before = date(wallclock.saturating_sub(VALID_BEFORE));
        let expires = wallclock.saturating_add(valid);
        params.not_after = date(expires);
        // Firefox wants serial numbers that differ: the hash of the public key does.
        let serial = Hash::Sha256.digest(key.public_key_raw());
        params.serial_number = Some(serial.get(..16).unwrap_or(&serial).to_vec().into());
        let certificate = params.self_signed(&key).map_err(|_| CertificateError)?;
        Ok(Self {
            der: certificate.der().to_vec(),
            private_key: key.serialize_der(),
            expires,
        })
    }

    /// Takes a certificate and its PKCS #8 private key, both in DER. `expires` is time since 1970.
    pub fn from_der(der: Vec<u8>, private_key: Vec<u8>, expires: Duration) -> Self {
        Self {
            der,
            private_key,
            expires,
        }
    }

    /// Its fingerprint.
    pub fn fingerprint(&self, hash: Hash) -> Fingerprint {
        Fingerprint {
            hash,
            digest: hash.digest(&self.der),
        }
    }

    /// The certificate itself, in DER.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// When it expires, as time since 1970.
    pub fn expires(&self) -> Duration {
        self.expires
    }

    /// Its private key in PKCS #8, in DER: whoever has it can be taken for us.
    pub fn private_key(&self) -> &[u8] {
        &self.private_key
    }

    pub(super) fn to_engine(&self) -> dimpl::DtlsCertificate {
        dimpl::DtlsCertificate {
            certificate: self.der.clone(),
            private_key: self.private_key.clone(),
        }
    }
}

/// Shows nothing of the key.
impl std::fmt::Debug for Certificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Certificate")
            .field("expires", &self.expires)
            .finish_non_exhaustive()
    }
}

/// The midnight before a time since 1970 (proleptic Gregorian calendar).
fn date(since_1970: Duration) -> time::OffsetDateTime {
    let days = i64::try_from(since_1970.as_secs() / 86_400).unwrap_or(i64::MAX / 4);
    // Howard Hinnant's days-to-civil: years from 1 March, eras of 400 years.
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    // X.509 has four digits for the year.
    rcgen::date_time_ymd(year.clamp(1970, 9999) as i32, month as u8, day as u8)
}

/// The hash of a certificate (RFC 8122 §5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fingerprint {
    /// The hash function.
    pub hash: Hash,
    /// The digest.
    pub digest: Vec<u8>,
}

impl Fingerprint {
    /// From the name of a hash function and its value; `None` for an unknown function or a value
    /// of another length. Case does not matter.
    pub fn new(hash: &str, digest: Vec<u8>) -> Option<Self> {
        let (hash, len) = match hash.to_ascii_lowercase().as_str() {
            "sha-1" => (Hash::Sha1, 20),
            "sha-256" => (Hash::Sha256, 32),
            "sha-384" => (Hash::Sha384, 48),
            "sha-512" => (Hash::Sha512, 64),
            _ => return None,
        };
        (digest.len() == len).then_some(Self { hash, digest })
    }

    /// The name of the hash function, as in SDP.
    pub fn hash_name(&self) -> &'static str {
        match self.hash {
            Hash::Sha1 => "sha-1",
            Hash::Sha256 => "sha-256",
            Hash::Sha384 => "sha-384",
            Hash::Sha512 => "sha-512",
        }
    }

    /// Whether the hash function may be relied on (RFC 8122 §5).
    pub(super) fn is_usable(&self) -> bool {
        self.hash != Hash::Sha1
    }

    pub(super) fn matches(&self, certificate: &[u8]) -> bool {
        crypto::equal(&self.hash.digest(certificate), &self.digest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_become_dates() {
        let text = |secs: u64| date(Duration::from_secs(secs)).date().to_string();
        assert_eq!(text(0), "1970-01-01");
        assert_eq!(text(951_782_400), "2000-02-29");
        assert_eq!(text(4_107_542_399), "2100-02-28");
        assert!(text(u64::MAX).starts_with("9999-"));
    }

    #[test]
    fn fingerprints_have_the_length_of_their_function() {
        let certificate = Certificate::generate(Duration::from_secs(1_700_000_000)).unwrap();
        for hash in [Hash::Sha256, Hash::Sha384, Hash::Sha512] {
            let fingerprint = certificate.fingerprint(hash);
            let name = fingerprint.hash_name().to_uppercase();
            let again = Fingerprint::new(&name, fingerprint.digest.clone());
            assert_eq!(again.as_ref(), Some(&fingerprint));
            assert_eq!(Fingerprint::new(&name, vec![1; 31]), None);
        }
        assert_eq!(Fingerprint::new("md5", vec![1; 16]), None);
    }
}
