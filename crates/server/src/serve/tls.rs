//! Certificates for HTTPS and for TURN over TLS: where they come from, and how they change.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use axum_server::tls_rustls::RustlsConfig;

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
) -> Result<Option<RustlsConfig>, ServeError> {
    match &plan.tls {
        Tls::Off => Ok(None),
        Tls::SelfSigned => {
            let names = ["localhost", "127.0.0.1", "::1"]
                .map(str::to_owned)
                .to_vec();
            let made = rcgen::generate_simple_self_signed(names)
                .map_err(|error| ServeError::Tls(io::Error::other(error)))?;
            let certificate = made.cert.pem().into_bytes();
            let key = made.signing_key.serialize_pem().into_bytes();
            let config = RustlsConfig::from_pem(certificate, key).await;
            config.map(Some).map_err(ServeError::Tls)
        }
        Tls::Files { certificate, key } => {
            let config = RustlsConfig::from_pem_file(certificate, key);
            let config = config.await.map_err(ServeError::Tls)?;
            is_trusted.store(true, Ordering::Relaxed);
            tokio::spawn(watch(config.clone(), certificate.clone(), key.clone()));
            Ok(Some(config))
        }
        Tls::Acme(own) => acme::start(own, plan.http.first(), is_trusted.clone())
            .await
            .map(Some),
    }
}

/// Reads both files again when either changes. What cannot be used is reported, and the present
/// certificate stays.
async fn watch(config: RustlsConfig, certificate: PathBuf, key: PathBuf) {
    let mut seen = (changed_at(&certificate), changed_at(&key));
    let mut look = tokio::time::interval(LOOK_EVERY);
    loop {
        look.tick().await;
        let current = (changed_at(&certificate), changed_at(&key));
        if current == seen {
            continue;
        }
        seen = current;
        match config.reload_from_pem_file(&certificate, &key).await {
            Ok(()) => tracing::info!("certificate read again"),
            Err(error) => tracing::error!(%error, "the new certificate cannot be used"),
        }
    }
}

fn changed_at(path: &Path) -> Option<SystemTime> {
    std::fs::metadata(path)
        .and_then(|metadata| metadata.modified())
        .ok()
}
