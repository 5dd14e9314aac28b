//! A certificate with its key: read, and checked against what was asked for.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use thiserror::Error;
use x509_parser::extensions::GeneralName;

use super::super::tls::Pair;

/// Why it cannot be used.
#[derive(Debug, Error)]
pub(crate) enum CertificateError {
    /// No PEM.
    #[error("there is no certificate with a key in PEM")]
    Pem(#[from] rustls::pki_types::pem::Error),
    /// Nothing in it.
    #[error("there is no certificate")]
    Empty,
    /// Not X.509.
    #[error("the certificate cannot be read")]
    X509,
    /// Of another key, or one that cannot sign.
    #[error("the key cannot be used with the certificate")]
    Key(#[from] rustls::Error),
    /// Not for all of them.
    #[error("the certificate is not for {0}")]
    Names(String),
}

/// A certificate with its key.
#[derive(Debug, Clone)]
pub(super) struct Certificate {
    pub(super) key: Arc<CertifiedKey>,
    pub(super) pair: Pair,
    pub(super) from: SystemTime,
    pub(super) until: SystemTime,
    names: Vec<String>,
}

impl Certificate {
    /// Reads a key and a chain, the server's own certificate first, in one text.
    pub(super) fn read(pem: &str, provider: &CryptoProvider) -> Result<Self, CertificateError> {
        let chain: Vec<CertificateDer<'static>> =
            CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<_, _>>()?;
        let key = PrivateKeyDer::from_pem_slice(pem.as_bytes())?;
        let first = chain.first().ok_or(CertificateError::Empty)?;
        let (names, from, until) = contents(first)?;
        let pair = Pair {
            certificate: first.to_vec(),
            key: key.secret_der().to_vec(),
        };
        let key = CertifiedKey::from_der(chain, key, provider)?;
        Ok(Self {
            key: Arc::new(key),
            pair,
            from,
            until,
            names,
        })
    }

    /// Whether it is for all of these names.
    pub(super) fn check_names(&self, domains: &[String]) -> Result<(), CertificateError> {
        match domains.iter().find(|name| !self.names.contains(name)) {
            None => Ok(()),
            Some(name) => Err(CertificateError::Names(name.clone())),
        }
    }
}

/// The names of hosts, and the first and the last moment.
fn contents(
    der: &CertificateDer<'_>,
) -> Result<(Vec<String>, SystemTime, SystemTime), CertificateError> {
    let (_, parsed) =
        x509_parser::parse_x509_certificate(der).map_err(|_| CertificateError::X509)?;
    let names = parsed.subject_alternative_name();
    let names = names.map_err(|_| CertificateError::X509)?;
    let names = names.into_iter().flat_map(|own| &own.value.general_names);
    let names = names.filter_map(|name| match name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        _ => None,
    });
    let moment = |seconds: i64| {
        let seconds = u64::try_from(seconds).map_err(|_| CertificateError::X509)?;
        let moment = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds));
        moment.ok_or(CertificateError::X509)
    };
    let validity = parsed.validity();
    let from = moment(validity.not_before.timestamp())?;
    let until = moment(validity.not_after.timestamp())?;
    Ok((names.collect(), from, until))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_has_names_and_an_end_and_its_own_key() {
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let names = vec!["a.example.org".to_owned(), "b.example.org".to_owned()];
        let make = || {
            let key = rcgen::KeyPair::generate().unwrap();
            let mut asked = rcgen::CertificateParams::new(names.clone()).unwrap();
            asked.not_before = rcgen::date_time_ymd(2026, 1, 1);
            asked.not_after = rcgen::date_time_ymd(2026, 4, 1);
            let certificate = asked.self_signed(&key).unwrap();
            (key.serialize_pem(), certificate.pem())
        };
        let ((key, certificate), (other_key, _)) = (make(), make());
        let read = |key: &str| Certificate::read(&format!("{key}{certificate}"), &provider);
        let own = read(&key).unwrap();
        let life = own.until.duration_since(own.from).unwrap();
        assert_eq!(life, Duration::from_secs(90 * 24 * 60 * 60));
        own.check_names(&names).unwrap();
        let more = [names, vec!["c.example.org".to_owned()]].concat();
        let missing = own.check_names(&more).unwrap_err().to_string();
        assert!(missing.contains("c.example.org"), "{missing}");
        assert!(matches!(read(&other_key), Err(CertificateError::Key(_))));
        assert!(matches!(read(""), Err(CertificateError::Pem(_))));
        let no_chain = Certificate::read(&key, &provider);
        assert!(matches!(no_chain, Err(CertificateError::Empty)));
    }
}
