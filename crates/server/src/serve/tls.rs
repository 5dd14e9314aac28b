//! Certificates for HTTPS and for TURN over TLS: where they come from, and how they change.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use axum_server::tls_rustls::RustlsConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::sync::watch;

use super::acme::{self, AcmePlan};
use super::settings::{Settings, SettingsError};
use super::{Plan, ServeError};

/// How often the files are looked at. Certificates are renewed days before they end.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Where the certificate comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Tls {
    /// Plain HTTP.
    Off,
    /// Made at the start.
    SelfSigned,
    /// From files.
    Files { certificate: PathBuf, key: PathBuf },
    /// From a certificate authority.
    Acme(AcmePlan),
}

/// A certificate without those that vouch for it, and its key, in DER: as the engine of DTLS takes
/// them.
#[derive(Clone)]
pub(crate) struct Pair {
    pub(crate) certificate: Vec<u8>,
    pub(crate) key: Vec<u8>,
}

/// Shows nothing of the key.
impl std::fmt::Debug for Pair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pair").finish_non_exhaustive()
    }
}

impl Pair {
    /// The first certificate of a text, and the key of another.
    fn read(certificate: &[u8], key: &[u8]) -> Result<Self, rustls::pki_types::pem::Error> {
        Ok(Self {
            certificate: CertificateDer::from_pem_slice(certificate)?.to_vec(),
            key: PrivateKeyDer::from_pem_slice(key)?.secret_der().to_vec(),
        })
    }

    fn read_files(certificate: &Path, key: &Path) -> io::Result<Self> {
        let (certificate, key) = (std::fs::read(certificate)?, std::fs::read(key)?);
        Self::read(&certificate, &key).map_err(io::Error::other)
    }
}

/// What HTTPS, TURN over TLS and TURN over DTLS show of the server.
#[derive(Debug, Clone)]
pub(crate) struct Loaded {
    pub(crate) config: RustlsConfig,
    /// The same certificate, of each moment.
    pub(crate) pair: watch::Receiver<Pair>,
}

/// Checks the settings.
pub(super) fn plan(settings: &Settings) -> Result<Tls, SettingsError> {
    let self_signed = settings.tls_self_signed.unwrap_or(false);
    let files = match (settings.tls_cert.clone(), settings.tls_key.clone()) {
        (None, None) => None,
        (Some(certificate), Some(key)) => Some((certificate, key)),
        _ => return Err(SettingsError::HalfTls),
    };
    match (files, self_signed, acme::plan(&settings.acme)?) {
        (None, false, None) => Ok(Tls::Off),
        (None, true, None) => Ok(Tls::SelfSigned),
        (Some((certificate, key)), false, None) => Ok(Tls::Files { certificate, key }),
        (None, false, Some(plan)) => Ok(Tls::Acme(plan)),
        _ => Err(SettingsError::TwoCertificates),
    }
}

/// The configuration, if there is to be HTTPS; what may change is watched from here on.
/// `is_trusted` says whether browsers believe the certificate of the moment.
pub(super) async fn load(
    plan: &Plan,
    is_trusted: &Arc<AtomicBool>,
) -> Result<Option<Loaded>, ServeError> {
    match &plan.tls {
        Tls::Off => Ok(None),
        Tls::SelfSigned => {
            let names = ["localhost", "127.0.0.1", "::1"]
                .map(str::to_owned)
                .to_vec();
            let made = rcgen::generate_simple_self_signed(names)
                .map_err(|error| ServeError::Tls(io::Error::other(error)))?;
            let pair = Pair {
                certificate: made.cert.der().to_vec(),
                key: made.signing_key.serialize_der(),
            };
            let (certificate, key) = (vec![pair.certificate.clone()], pair.key.clone());
            let config = RustlsConfig::from_der(certificate, key).await;
            let config = config.map_err(ServeError::Tls)?;
            let (_, pair) = watch::channel(pair);
            Ok(Some(Loaded { config, pair }))
        }
        Tls::Files { certificate, key } => {
            let config = RustlsConfig::from_pem_file(certificate, key);
            let config = config.await.map_err(ServeError::Tls)?;
            let first = Pair::read_files(certificate, key).map_err(ServeError::Tls)?;
            is_trusted.store(true, Ordering::Relaxed);
            let (pairs, pair) = watch::channel(first);
            let files = (certificate.clone(), key.clone());
            tokio::spawn(watch_files(config.clone(), files, pairs));
            Ok(Some(Loaded { config, pair }))
        }
        Tls::Acme(own) => acme::start(own, plan.http.first(), is_trusted.clone())
            .await
            .map(Some),
    }
}

/// Reads both files again when either changes. What cannot be used is reported, and the present
/// certificate stays.
async fn watch_files(
    config: RustlsConfig,
    (certificate, key): (PathBuf, PathBuf),
    pairs: watch::Sender<Pair>,
) {
    let mut seen = (changed_at(&certificate), changed_at(&key));
    let mut look = tokio::time::interval(LOOK_EVERY);
    loop {
        look.tick().await;
        let current = (changed_at(&certificate), changed_at(&key));
        if current == seen {
            continue;
        }
        seen = current;
        let read = config.reload_from_pem_file(&certificate, &key).await;
        match read.and_then(|()| Pair::read_files(&certificate, &key)) {
            Ok(pair) => {
                pairs.send_replace(pair);
                tracing::info!("certificate read again");
            }
            Err(error) => tracing::error!(%error, "the new certificate cannot be used"),
        }
    }
}

fn changed_at(path: &Path) -> Option<SystemTime> {
    std::fs::metadata(path)
        .and_then(|metadata| metadata.modified())
        .ok()
}
