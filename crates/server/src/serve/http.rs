//! HTTP: pages, health, metrics, and the way to signaling.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::extract::{ConnectInfo, FromRequestParts, Path, Request, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Router, middleware};

use crate::process;

use super::{Shared, api, delivery, is_loopback, pages, rates, signaling, whip};

/// All routes.
pub(crate) fn router(shared: Arc<Shared>) -> Router {
    let limit = middleware::from_fn_with_state(shared.clone(), rates::limit);
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
        .merge(whip::routes())
        .merge(api::routes().route_layer(limit))
        .merge(pages::routes())
        .route("/", get(async || pages::meeting()))
        .fallback(get(file))
        .layer(middleware::from_fn(delivery::deliver))
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
    if is_operator(&shared, remote, &headers) {
        (shared.metrics.render() + &process::as_metrics()).into_response()
    } else {
        (
            StatusCode::FORBIDDEN,
            "metrics are for this machine, or with the secret as bearer token\n",
        )
            .into_response()
    }
}

/// Whether the request is of this machine, or shows the secret as bearer token.
fn is_operator(shared: &Shared, remote: SocketAddr, headers: &HeaderMap) -> bool {
    let client = client_ip(shared, remote, headers);
    client.is_some_and(is_loopback)
        || signaling::bearer_is_right(shared, headers)
        || shared.access.is_admin(headers)
}

/// Whether credentials are made for the request: it shows the secret, or, where there is none, it
/// is of this machine beyond doubt. A proxy on this machine that nobody named makes everybody look
/// local, and so does a name of another site's that leads here.
pub(crate) fn may_have_credentials(
    shared: &Shared,
    remote: SocketAddr,
    headers: &HeaderMap,
    uri: &Uri,
) -> bool {
    if shared.plan.secret.is_some() {
        return signaling::bearer_is_right(shared, headers);
    }
    let proxied = is_trusted_proxy(shared, remote);
    let client = client_ip(shared, remote, headers);
    // HTTP/2 has the name in the address of the request.
    let authority = uri.authority().map(|authority| authority.as_str());
    let host = signaling::client_host(headers, proxied).or(authority);
    client.is_some_and(is_loopback)
        && (proxied || !is_forwarded(headers))
        && host.is_some_and(is_of_this_machine)
}

/// Whether a proxy says that it passed the request on.
fn is_forwarded(headers: &HeaderMap) -> bool {
    headers.keys().any(|name| {
        let name = name.as_str();
        matches!(name, "forwarded" | "via" | "x-real-ip") || name.starts_with("x-forwarded-")
    })
}

/// Whether a host, port included or not, is a name of loopback.
fn is_of_this_machine(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let ip = name.trim_matches(['[', ']']).parse();
    name.eq_ignore_ascii_case("localhost") || ip.is_ok_and(is_loopback)
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
    let asks_why = |path: &str| path.starts_with("/webrtc/") || path.starts_with("/socket/");
    let comes = wants_socket || asks_why(request.uri().path());
    if comes && let Some(refused) = rates::refusal(&shared, remote, request.headers()) {
        return refused;
    }
    if !wants_socket && asks_why(request.uri().path()) {
        // Browsers do not tell a page why a WebSocket was refused: it asks again.
        let (parts, _) = request.into_parts();
        return match signaling::admission(&shared, &room, &parts) {
            Ok(_) => pages::meeting(),
            Err(denied) => denied.into_response(),
        };
    }
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
pub(crate) fn is_trusted_proxy(shared: &Shared, remote: SocketAddr) -> bool {
    is_trusted(&shared.plan.trusted_proxies, remote.ip())
}

/// Who trusts a loopback address trusts all of them: to a proxy that connects to `localhost` it is
/// chance by which it comes, and one that is not known makes everybody look local.
fn is_trusted(proxies: &[IpAddr], remote: IpAddr) -> bool {
    let remote = remote.to_canonical();
    let mut proxies = proxies.iter().map(IpAddr::to_canonical);
    proxies.any(|proxy| proxy == remote || (is_loopback(proxy) && is_loopback(remote)))
}

/// Who asks: the other end, or whom a named proxy says it speaks for. `None` where the proxy does
/// not say it by an address: taking it for the proxy itself would open what is for this machine.
pub(super) fn client_ip(
    shared: &Shared,
    remote: SocketAddr,
    headers: &HeaderMap,
) -> Option<IpAddr> {
    let direct = remote.ip().to_canonical();
    if !is_trusted_proxy(shared, remote) {
        return Some(direct);
    }
    let entries = headers.get_all("x-forwarded-for");
    // The last entry is the named proxy's own; those before it are anybody's claims.
    match entries.iter().next_back() {
        // Without one, the request is the proxy's own: a check of health, or a scrape.
        None => Some(direct),
        Some(value) => address(value.to_str().ok()?.rsplit(',').next()?.trim()),
    }
}

/// An address as proxies write it: some with the port.
fn address(text: &str) -> Option<IpAddr> {
    let with_port = || text.parse().ok().map(|address: SocketAddr| address.ip());
    let address = text.parse().ok().or_else(with_port)?;
    Some(address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_loopback_are_this_machine() {
        for host in [
            "localhost",
            "LocalHost:8080",
            "127.0.0.1:80",
            "[::1]",
            "[::1]:8080",
        ] {
            assert!(is_of_this_machine(host), "{host}");
        }
        for host in [
            "",
            ":80",
            "example.org",
            "localhost.example.org:1",
            "192.0.2.1",
            "[2001:db8::1]:80",
        ] {
            assert!(!is_of_this_machine(host), "{host}");
        }
    }

    #[test]
    fn a_trusted_loopback_address_stands_for_all_of_them() {
        let is = |named: &[&str], remote: &str| {
            let named: Vec<IpAddr> = named.iter().map(|ip| ip.parse().unwrap()).collect();
            is_trusted(&named, remote.parse().unwrap())
        };
        for named in ["127.0.0.1", "::1", "::ffff:127.0.0.1"] {
            for remote in ["127.0.0.1", "127.0.1.1", "::1", "::ffff:127.0.0.1"] {
                assert!(is(&["192.0.2.1", named], remote), "{named} {remote}");
                assert!(!is(&["192.0.2.1"], remote), "{remote}");
                assert!(!is(&[], remote), "{remote}");
            }
            assert!(!is(&[named], "192.0.2.1"), "{named}");
            assert!(!is(&[named], "2001:db8::1"), "{named}");
        }
        assert!(is(&["192.0.2.1"], "::ffff:192.0.2.1"));
        assert!(!is(&["192.0.2.1"], "192.0.2.2"));
    }

    #[test]
    fn proxies_write_addresses_with_and_without_a_port() {
        let is = |text: &str, expected: [u8; 4]| assert_eq!(address(text), Some(expected.into()));
        is("192.0.2.7", [192, 0, 2, 7]);
        is("192.0.2.7:4711", [192, 0, 2, 7]);
        is("::ffff:192.0.2.7", [192, 0, 2, 7]);
        is("[::ffff:192.0.2.7]:80", [192, 0, 2, 7]);
        for text in ["", "unknown", "_hidden", "192.0.2", "localhost"] {
            assert_eq!(address(text), None, "{text:?}");
        }
    }
}
