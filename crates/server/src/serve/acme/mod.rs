//! Certificates from a certificate authority by ACME (RFC 8555), got and renewed by the server
//! itself. Names are proved by TLS-ALPN-01 (RFC 8737) on the listener of HTTPS, or by HTTP-01 on a
//! listener of its own.

mod cache;
mod certificate;
mod order;
mod pace;
mod served;
mod settings;
mod transport;

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use axum_server::tls_rustls::RustlsConfig;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::PrivateKeyDer;
use rustls::sign::CertifiedKey;
use thiserror::Error;
use tokio::sync::watch;

use super::ServeError;
use super::reload::with_causes;
use super::tls::{Loaded, Pair};
use cache::Cache;
use certificate::{Certificate, CertificateError};
use order::Orders;
use pace::Failure;
use served::Served;
pub(crate) use settings::{AcmePlan, AcmeSettings, AcmeSettingsError, plan};
use transport::Transport;

/// For one attempt at all.
const ATTEMPT_PATIENCE: Duration = Duration::from_secs(600);

/// The longest sleep: the system's clock may be set, or stand still with the machine.
const LOOK_EVERY: Duration = Duration::from_secs(60 * 60);

/// Why there is no certificate.
#[derive(Debug, Error)]
pub(crate) enum AcmeError {
    /// No folder.
    #[error("--acme-cache {path} cannot be written to")]
    Cache {
        /// The folder.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A file in it.
    #[error("{path} cannot be used; take it away to begin anew")]
    Kept {
        /// The file.
        path: PathBuf,
        /// The system's reason, or what is wrong with it.
        source: io::Error,
    },
    /// Nobody there, or nobody who understands.
    #[error("the certificate authority {directory} gives no sound answer ({what})")]
    Unreached {
        /// Its directory.
        directory: String,
        /// Asked for what.
        what: &'static str,
        /// The reason.
        source: Box<instant_acme::Error>,
    },
    /// The CA said no.
    #[error("the certificate authority refuses {what} for {domains}")]
    Refused {
        /// What.
        what: &'static str,
        /// For which names.
        domains: String,
        /// Its reason.
        source: Box<instant_acme::Problem>,
    },
    /// The CA did not find us at the name.
    #[error(
        "the certificate authority did not find this server at {domain}: {detail}; port {port} of \
         {domain}, by every address that its A and AAAA records have, has to lead to {at} here"
    )]
    Unproven {
        /// The name.
        domain: String,
        /// What it says.
        detail: String,
        /// The port that it comes to.
        port: u16,
        /// Where we listen for it.
        at: SocketAddr,
    },
    /// No way to prove it.
    #[error(
        "the certificate authority offers {offered} for {domain} and not {wanted}; --acme-http \
         chooses between Http01 and TlsAlpn01"
    )]
    NotOffered {
        /// The name.
        domain: String,
        /// What the settings want.
        wanted: String,
        /// What there is.
        offered: String,
    },
    /// An answer that fits no question.
    #[error("the certificate authority answers what was not asked for")]
    Strange,
    /// What came is none.
    #[error("the certificate cannot be used")]
    Certificate(#[source] CertificateError),
    /// No key, or no request.
    #[error("no certificate request could be made")]
    Made(#[source] rcgen::Error),
    /// It took too long.
    #[error("there was no certificate within 10 minutes")]
    Late,
}

impl AcmeError {
    fn kept(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        Self::Kept { path, source }
    }

    fn failure(&self) -> Failure {
        match self {
            Self::Unreached { .. } | Self::Cache { .. } | Self::Kept { .. } => Failure::Unreached,
            _ => Failure::Refused,
        }
    }
}

/// The configuration of HTTPS, with the certificate that is kept, or one made here that browsers
/// warn of until there is another. From here on there is always an attempt going on, or one to come.
pub(super) async fn start(
    plan: &AcmePlan,
    http: SocketAddr,
    is_trusted: Arc<AtomicBool>,
) -> Result<Loaded, ServeError> {
    let opened = Cache::open(plan).map_err(|(path, source)| AcmeError::Cache { path, source });
    let cache = opened.map_err(ServeError::Acme)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let (first, pair) = makeshift(&plan.domains, &provider).map_err(ServeError::Acme)?;
    let (pairs, pair) = watch::channel(pair);
    let served = Served::new(Arc::new(first));
    let config = served.config(provider.clone());
    let config = config.map_err(|error| ServeError::Tls(io::Error::other(error)))?;
    if let Some(address) = plan.http {
        let listener = std::net::TcpListener::bind(address)
            .map_err(|source| ServeError::bind("acme-http", address, source))?;
        listener.set_nonblocking(true)?;
        let server = axum_server::from_tcp(listener)?;
        let router = served::router(served.clone(), &plan.domains);
        tokio::spawn(server.serve(router.into_make_service()));
    } else if http.port() != 443 {
        tracing::info!(
            http = %http,
            "the certificate authority comes to port 443 of each name, which has to lead here"
        );
    }
    let orders = Orders {
        plan: plan.clone(),
        cache,
        served,
        provider,
        transport: Transport::default(),
        listens: http,
    };
    let mut keeper = Keeper {
        orders,
        is_trusted,
        pairs,
        current: None,
    };
    if let Some(kept) = keeper.kept() {
        keeper.take(kept);
    } else {
        let domains = plan.domains.join(", ");
        tracing::warn!(
            domains,
            directory = plan.directory,
            "there is no certificate yet: until there is one, browsers warn of one made here"
        );
    }
    tokio::spawn(keeper.keep());
    let config = RustlsConfig::from_config(Arc::new(config));
    Ok(Loaded { config, pair })
}

/// A certificate of our own, so that what needs no browser works, and a CA finds somebody.
fn makeshift(
    domains: &[String],
    provider: &CryptoProvider,
) -> Result<(CertifiedKey, Pair), AcmeError> {
    let made = rcgen::generate_simple_self_signed(domains.to_vec()).map_err(AcmeError::Made)?;
    let pair = Pair {
        certificate: made.cert.der().to_vec(),
        key: made.signing_key.serialize_der(),
    };
    let key = PrivateKeyDer::Pkcs8(pair.key.clone().into());
    let certified = CertifiedKey::from_der(vec![made.cert.der().clone()], key, provider)
        .map_err(|error| AcmeError::Certificate(error.into()))?;
    Ok((certified, pair))
}

/// Sees to it that there is a certificate.
struct Keeper {
    orders: Orders,
    is_trusted: Arc<AtomicBool>,
    pairs: watch::Sender<Pair>,
    current: Option<Certificate>,
}

impl Keeper {
    /// The certificate in the folder, if it is still good. What cannot be used is reported, and
    /// another one is got.
    fn kept(&self) -> Option<Certificate> {
        let (cache, domains) = (&self.orders.cache, &self.orders.plan.domains);
        let path = cache.certificate_path().display();
        let pem = match cache.certificate() {
            Ok(pem) => pem?,
            Err(error) => {
                tracing::error!(%path, %error, "the certificate that is kept cannot be read");
                return None;
            }
        };
        let read = Certificate::read(&pem, &self.orders.provider);
        let read = read.and_then(|own| own.check_names(domains).map(|()| own));
        match read {
            Ok(certificate) => (certificate.until > SystemTime::now()).then_some(certificate),
            Err(error) => {
                let error = with_causes(&error);
                tracing::error!(%path, error, "the certificate that is kept cannot be used");
                None
            }
        }
    }

    /// Serves it from now on.
    fn take(&mut self, certificate: Certificate) {
        self.orders.served.replace(certificate.key.clone());
        self.pairs.send_replace(certificate.pair.clone());
        self.is_trusted.store(true, Ordering::Relaxed);
        let until = certificate.until.duration_since(SystemTime::UNIX_EPOCH);
        let until = until.unwrap_or_default().as_secs_f64();
        metrics::gauge!("twocan_certificate_until_seconds").set(until);
        tracing::info!(
            domains = self.orders.plan.domains.join(", "),
            until = httpdate::fmt_http_date(certificate.until),
            "certificate by ACME"
        );
        self.current = Some(certificate);
    }

    async fn keep(mut self) {
        let mut in_a_row = 0;
        if let Some(current) = &self.current {
            sleep_until(pace::renew_at(current.from, current.until)).await;
        }
        loop {
            let obtained = tokio::time::timeout(ATTEMPT_PATIENCE, self.orders.obtain());
            let error = match Box::pin(obtained).await.map_err(|_| AcmeError::Late) {
                Ok(Ok(certificate)) => {
                    metrics::counter!("twocan_acme_total", "outcome" => "issued").increment(1);
                    in_a_row = 0;
                    let (from, until) = (certificate.from, certificate.until);
                    self.take(certificate);
                    self.rest(from, until).await;
                    continue;
                }
                Ok(Err(error)) | Err(error) => error,
            };
            metrics::counter!("twocan_acme_total", "outcome" => "failed").increment(1);
            in_a_row += 1;
            let told = self.orders.transport.take_told();
            let pause = pace::pause(error.failure(), in_a_row, told);
            self.complain(&error, pause);
            tokio::time::sleep(pause).await;
        }
    }

    /// Until a new certificate has to be renewed. One that is due at once is a sign of clocks that
    /// disagree: it must not become an order after the other.
    async fn rest(&self, from: SystemTime, until: SystemTime) {
        let now = SystemTime::now();
        if from > now + LOOK_EVERY || until <= now {
            tracing::error!(
                "by the clock of this machine the new certificate is not valid: set it"
            );
        }
        let life = until.duration_since(from).unwrap_or_default();
        tokio::time::sleep((life / 3).min(LOOK_EVERY)).await;
        sleep_until(pace::renew_at(from, until)).await;
    }

    fn complain(&self, error: &AcmeError, pause: Duration) {
        let again_in = format!("{} min", pause.as_secs().div_ceil(60));
        let error = with_causes(error);
        let current = self.current.as_ref();
        let good = current.filter(|current| current.until > SystemTime::now());
        self.is_trusted.store(good.is_some(), Ordering::Relaxed);
        match good {
            Some(good) => {
                let until = httpdate::fmt_http_date(good.until);
                tracing::warn!(
                    error,
                    again_in,
                    until,
                    "the certificate was not renewed; it is good until then"
                );
            }
            None => tracing::error!(
                error,
                again_in,
                "there is no certificate that browsers believe"
            ),
        }
    }
}

async fn sleep_until(moment: SystemTime) {
    while let Ok(left) = moment.duration_since(SystemTime::now())
        && !left.is_zero()
    {
        tokio::time::sleep(left.min(LOOK_EVERY)).await;
    }
}
