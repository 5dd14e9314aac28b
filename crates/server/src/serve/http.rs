//! HTTP: pages, health, metrics, and the way to signaling.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::Router;
use axum::extract::{ConnectInfo, FromRequestParts, Path, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::{Shared, is_loopback, pages, signaling};

/// All routes.
pub(crate) fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .route("/webrtc/{room}", get(room))
        .route("/webrtc/{room}/", get(room))
        .route("/socket/{room}", get(room))
        .route("/socket/{room}/", get(room))
        .route("/{room}", get(room))
        .route("/{room}/", get(room))
        .route("/", get(async || pages::meeting()))
        .fallback(get(file))
        .with_state(shared)
}

async fn ready(State(shared): State<Arc<Shared>>) -> Response {
    if shared.ready.load(Ordering::Relaxed) {
        "ready\n".into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "draining\n").into_response()
    }
}

/// To this machine, or to who shows the secret.
async fn metrics(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(remote): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
) -> Response {
    let client = client_ip(&shared, remote, &headers);
    if is_loopback(client) || signaling::bearer_is_right(&shared, &headers) {
        shared.metrics.render().into_response()
    } else {
        (
            StatusCode::FORBIDDEN,
            "metrics are for this machine, or with the secret as bearer token\n",
        )
            .into_response()
    }
}

/// A WebSocket to a room, a file of the page, or the page of the room.
async fn room(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(remote): ConnectInfo<SocketAddr>,
    Path(room): Path<String>,
    request: Request,
) -> Response {
    let wants_socket = request.headers().get(header::UPGRADE).is_some_and(|value| {
        value
            .to_str()
            .is_ok_and(|value| value.eq_ignore_ascii_case("websocket"))
    });
    if !wants_socket {
        return pages::file(&room).unwrap_or_else(pages::meeting);
    }
    let client = client_ip(&shared, remote, request.headers());
    let proxied = is_trusted_proxy(&shared, remote);
    let (mut parts, _) = request.into_parts();
    match axum::extract::WebSocketUpgrade::from_request_parts(&mut parts, &shared).await {
        Ok(upgrade) => signaling::open(shared, upgrade, &parts, room, client, proxied).await,
        Err(rejection) => rejection.into_response(),
    }
}

async fn file(request: Request) -> Response {
    let path = request.uri().path().trim_start_matches('/');
    pages::file(path).unwrap_or_else(|| (StatusCode::NOT_FOUND, "nothing here\n").into_response())
}

/// Whether the other end is a proxy that the operator named.
fn is_trusted_proxy(shared: &Shared, remote: SocketAddr) -> bool {
    shared
        .plan
        .trusted_proxies
        .contains(&remote.ip().to_canonical())
}

/// Who asks: the other end, or whom a named proxy says it speaks for.
fn client_ip(shared: &Shared, remote: SocketAddr, headers: &HeaderMap) -> IpAddr {
    let direct = remote.ip().to_canonical();
    if !is_trusted_proxy(shared, remote) {
        return direct;
    }
    // The last entry is the named proxy's own; those before it are anybody's claims.
    headers
        .get_all("x-forwarded-for")
        .iter()
        .next_back()
        .and_then(|value| value.to_str().ok()?.rsplit(',').next()?.trim().parse().ok())
        .unwrap_or(direct)
}
