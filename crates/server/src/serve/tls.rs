//! Certificates for HTTPS.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use axum_server::tls_rustls::RustlsConfig;

use super::Plan;
use super::settings::Tls;

/// How often the files are looked at. Certificates are renewed days before they end.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// The configuration, if there is to be HTTPS; files are watched from here on.
pub(crate) async fn load(plan: &Plan) -> io::Result<Option<RustlsConfig>> {
    match &plan.tls {
        Tls::Off => Ok(None),
        Tls::SelfSigned => {
            let names = ["localhost", "127.0.0.1", "::1"]
                .map(str::to_owned)
                .to_vec();
            let made = rcgen::generate_simple_self_signed(names).map_err(io::Error::other)?;
            let certificate = made.cert.pem().into_bytes();
            let key = made.signing_key.serialize_pem().into_bytes();
            RustlsConfig::from_pem(certificate, key).await.map(Some)
        }
        Tls::Files { certificate, key } => {
            let config = RustlsConfig::from_pem_file(certificate, key).await?;
            tokio::spawn(watch(config.clone(), certificate.clone(), key.clone()));
            Ok(Some(config))
        }
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
