//! `twocan serve`: wiring and operations. Decisions about rooms are `room`'s.

mod access;
mod acme;
mod api;
mod credentials;
mod delivery;
mod descriptors;
mod hall;
mod hatch;
mod http;
mod listeners;
mod logs;
mod media;
mod pages;
mod rates;
mod reload;
mod settings;
mod signaling;
mod tls;
mod tokens_settings;
mod turn;
mod webhooks;
mod whip;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum_server::Handle;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use thiserror::Error;
use tokio::task::JoinSet;
use twocan_proto::random::Random;

pub(crate) use settings::Settings;
use settings::{Plan, SettingsError};

/// How long open connections may take to end after a signal.
const SHUTDOWN_PATIENCE: Duration = Duration::from_secs(5);

/// Why the server did not run, or ended.
#[derive(Debug, Error)]
pub(crate) enum ServeError {
    /// A setting is wrong.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// A port is taken, or may not be bound.
    #[error("cannot bind {what} to {address}; choose another address with --{what}")]
    Bind {
        /// The flag: `http`, `acme-http`, `stun` or `turn-tls`, which also says where DTLS is.
        what: &'static str,
        /// The address.
        address: SocketAddr,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The certificate or key cannot be used.
    #[error("cannot use the TLS certificate and key")]
    Tls(#[source] std::io::Error),
    /// The folder of certificates by ACME cannot be used.
    #[error("no certificate by ACME")]
    Acme(#[source] acme::AcmeError),
    /// Anything else of the system.
    #[error("the system refused")]
    System(#[from] std::io::Error),
    /// No socket or thread for media.
    #[error("cannot forward media; name an address by --media-ip and free ports by --media-ports")]
    Media(#[source] std::io::Error),
    /// Metrics were set up twice.
    #[error("cannot set up metrics")]
    Metrics,
}

impl ServeError {
    fn bind(what: &'static str, address: SocketAddr, source: std::io::Error) -> Self {
        Self::Bind {
            what,
            address,
            source,
        }
    }
}

/// What request handlers share.
pub(crate) struct Shared {
    plan: Plan,
    access: Arc<access::Access>,
    hall: hall::HallHandle,
    metrics: PrometheusHandle,
    ready: AtomicBool,
    turn: Option<turn::Turn>,
    /// Whether browsers believe the certificate that is served.
    tls_is_trusted: Arc<AtomicBool>,
    sessions: whip::Sessions,
    rates: rates::Rates,
}

/// Runs until a signal.
pub(crate) fn run(settings: &Settings) -> Result<(), ServeError> {
    let plan = settings.plan()?;
    logs::set_up(plan.log_format, &plan.log);
    let descriptors = descriptors::raise();
    if let (Some(turn), Some(most)) = (&plan.turn, descriptors) {
        turn.warn_of_few_descriptors(most);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(serve(plan, settings.clone()))
}

async fn serve(mut plan: Plan, settings: Settings) -> Result<(), ServeError> {
    let mut random = Random::new(twocan_io::clock::seed());
    let secret = &mut plan.hall.ice_servers.turn_secret;
    let secret = secret.get_or_insert_with(|| random.ice_chars(32)).clone();
    let metrics = PrometheusBuilder::new()
        .install_recorder()
        .map_err(|_| ServeError::Metrics)?;
    let listeners = plan
        .http
        .listen()
        .map_err(|(address, source)| ServeError::bind("http", address, source))?;
    let http = listeners
        .iter()
        .map(std::net::TcpListener::local_addr)
        .collect::<Result<Vec<_>, _>>()?;
    let tls_is_trusted = Arc::new(AtomicBool::new(false));
    let tls = tls::load(&plan, &tls_is_trusted).await?;
    let turn = match &plan.turn {
        None => None,
        Some(wanted) => Some(turn::start(wanted, Some(secret), tls.as_ref())?),
    };
    let sessions = whip::Sessions::default();
    let access = Arc::new(access::Access::new(plan.secret.clone(), &plan.tokens));
    let to_turn = turn.as_ref().map(|turn| turn.ways.clone());
    let (hall, media) =
        hall::start(&plan, sessions.clone(), access.clone(), to_turn).map_err(ServeError::Media)?;
    if let Some(turn) = &turn {
        turn.relay_to_media(media).await;
    }
    let secure = tls.is_some();
    let rates = rates::Rates::new(plan.requests_per_second);
    let shared = Arc::new(Shared {
        plan,
        access,
        hall,
        metrics,
        ready: AtomicBool::new(true),
        turn,
        tls_is_trusted,
        sessions,
        rates,
    });
    greet(&shared, &http, secure);
    let handle = Handle::new();
    tokio::spawn(reload::on_hangup(settings, shared.clone()));
    tokio::spawn(end_on_signal(handle.clone(), shared.clone()));
    let app = http::router(shared).into_make_service_with_connect_info::<SocketAddr>();
    let mut servers = JoinSet::new();
    for listener in listeners {
        let (handle, app) = (handle.clone(), app.clone());
        match &tls {
            Some(own) => {
                let server = axum_server::from_tcp_rustls(listener, own.config.clone())?;
                servers.spawn(server.handle(handle).serve(app));
            }
            None => {
                let server = axum_server::from_tcp(listener)?;
                servers.spawn(server.handle(handle).serve(app));
            }
        }
    }
    while let Some(ended) = servers.join_next().await {
        ended.map_err(std::io::Error::other)??;
    }
    tracing::info!("stopped");
    Ok(())
}

/// Says where to go, and what will not work from elsewhere.
fn greet(shared: &Shared, http: &[SocketAddr], secure: bool) {
    let plan = &shared.plan;
    let scheme = if secure { "https" } else { "http" };
    let page = http.first().map(|http| {
        let host = if http.ip().is_unspecified() || http.ip().is_loopback() {
            "localhost".to_owned()
        } else {
            SocketAddr::new(http.ip(), 0)
                .to_string()
                .trim_end_matches(":0")
                .to_owned()
        };
        let secret = plan
            .secret
            .as_ref()
            .map_or(String::new(), |_| "/?access_token=…".to_owned());
        format!("{scheme}://{host}:{}{secret}", http.port())
    });
    let listens = shared.turn.as_ref().map(|turn| &turn.listens);
    let list = |all: &[SocketAddr]| {
        let all: Vec<_> = all.iter().map(SocketAddr::to_string).collect();
        (!all.is_empty()).then(|| tracing::field::display(all.join(", ")))
    };
    let stun = listens.and_then(|listens| list(&listens.udp));
    let turns = listens.and_then(|listens| list(&listens.tls));
    let turns_udp = listens.and_then(|listens| list(&listens.dtls));
    let other = listens.and_then(|listens| listens.other.map(tracing::field::display));
    let own = list(http);
    tracing::info!(
        http = own,
        stun,
        stun_other = other,
        turns,
        turns_udp,
        page,
        "listening"
    );
    let relays = listens.is_some_and(|listens| listens.beyond_loopback().next().is_some());
    if relays && plan.secret.is_none() && !plan.tokens.closes_rooms() {
        tracing::warn!(
            "without a secret everybody who reaches this server can join, and so relay through it \
             to any public address; set one (--secret, TWOCAN_SECRET), keys of tokens (--token-key), or limit what is relayed \
             to (--turn-peer-relay false)"
        );
    }
    if http.iter().all(|http| is_loopback(http.ip())) {
        tracing::info!(
            "reachable from this machine alone; to open it to the network set a secret \
             (--secret, TWOCAN_SECRET) or bind it yourself (--http 0.0.0.0:8080)"
        );
    } else if !secure && plan.trusted_proxies.is_empty() {
        tracing::warn!(
            "browsers give camera and microphone to pages from https:// or localhost alone: from \
             other machines they will fail here; use --tls-cert and --tls-key, --acme-domain, \
             --tls-self-signed, or a proxy with TLS named by --trusted-proxy"
        );
    }
}

async fn end_on_signal(handle: Handle<SocketAddr>, shared: Arc<Shared>) {
    let mut terminate =
        match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
            Ok(signal) => signal,
            Err(error) => return tracing::error!(%error, "no signals"),
        };
    let mut signal = async || {
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = terminate.recv() => {}
        }
    };
    signal().await;
    tracing::info!("ending: connections are told, new ones refused");
    shared.ready.store(false, Ordering::Relaxed);
    let (media, patience) = (shared.plan.media.drain, shared.plan.turn_drain);
    let turn = shared.turn.as_ref().filter(|_| !patience.is_zero());
    let relayed_for = turn.map_or(Duration::ZERO, |_| patience);
    let calls = async {
        // Who reaches us by the relay, and changes networks meanwhile, needs another allocation.
        shared.hall.drain(media, media + relayed_for).await;
        let Some(turn) = turn else { return };
        if tokio::time::timeout(patience, turn.drain()).await.is_err() {
            tracing::warn!("relayed calls are cut: --turn-drain is over");
        }
    };
    tokio::select! {
        () = calls => {}
        () = signal() => tracing::warn!("told twice: calls are cut"),
    }
    shared.hall.end().await;
    handle.graceful_shutdown(Some(SHUTDOWN_PATIENCE));
}

/// Whether an address is this machine's own.
fn is_loopback(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_loopback(),
        IpAddr::V6(ip) => {
            ip.is_loopback() || ip.to_ipv4_mapped().is_some_and(|ip| ip.is_loopback())
        }
    }
}
