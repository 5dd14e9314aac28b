//! WebSockets of the signaling protocol.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::{SinkExt, StreamExt};
use tokio::sync::mpsc;
use twocan_proto::crypto;
use twocan_room::{Admission, ConnectionId, OwnUrls, Protocol, Refusal};

use super::Shared;
use super::access::{Denied, bearer};
use super::hall::{Joins, Outgoing};

/// The subprotocol of everything beyond the base.
const V1: &str = "twocan.v1";

static NEXT_CONNECTION: AtomicU64 = AtomicU64::new(1);

/// Checks in the protocol's order, then upgrades.
pub(crate) async fn open(
    shared: Arc<Shared>,
    upgrade: WebSocketUpgrade,
    parts: &Parts,
    room: String,
    client: Option<IpAddr>,
    proxied: bool,
) -> Response {
    let refusal = shared.hall.admit(&room).await.err();
    if let Some(refusal @ Refusal::BadRoomName) = &refusal {
        return (StatusCode::BAD_REQUEST, format!("{refusal}\n")).into_response();
    }
    let admission = match admission(&shared, &room, parts) {
        Ok(admission) => admission,
        Err(denied) => {
            metrics::counter!("twocan_signaling_refused_total", "reason" => "unauthorised")
                .increment(1);
            return denied.into_response();
        }
    };
    let host = client_host(&parts.headers, proxied);
    if !origin_is_allowed(&shared, &parts.headers, host) {
        metrics::counter!("twocan_signaling_refused_total", "reason" => "origin").increment(1);
        let why = "pages of another origin need --allowed-origin on the server\n";
        return (StatusCode::FORBIDDEN, why).into_response();
    }
    // Which rooms there are is told to nobody else.
    if let Some(refusal) = refusal {
        return (StatusCode::SERVICE_UNAVAILABLE, format!("{refusal}\n")).into_response();
    }
    let limit = shared.plan.hall.limits.message_bytes;
    // A little above our own limit, so that a frame just above it is told so instead of cut off.
    let upgrade = upgrade
        .max_message_size(limit * 2)
        .max_frame_size(limit * 2)
        .protocols([V1]);
    let version_one = upgrade
        .selected_protocol()
        .is_some_and(|chosen| chosen == V1);
    let protocol = if version_one {
        Protocol::V1
    } else {
        Protocol::Base
    };
    let client = client.map(tracing::field::display);
    tracing::debug!(client, room, ?protocol, "signaling opened");
    let own = own_urls(&shared, host);
    let joins = Joins {
        room,
        protocol,
        own,
        admission,
    };
    upgrade.on_upgrade(move |socket| run(shared, socket, joins))
}

/// Whether the bearer token is the secret, where there is one.
pub(crate) fn bearer_is_right(shared: &Shared, headers: &HeaderMap) -> bool {
    let secret = shared.plan.secret.as_deref();
    secret
        .zip(bearer(headers))
        .is_some_and(|(secret, token)| same(secret, token))
}

/// Our own STUN and TURN server under the name by which the client reached us.
pub(crate) fn own_urls(shared: &Shared, host: Option<&str>) -> OwnUrls {
    let listens = shared.turn.as_ref().map(|turn| &turn.listens);
    let is_trusted = shared.tls_is_trusted.load(Ordering::Relaxed);
    listens.map_or_else(OwnUrls::default, |listens| listens.urls(host, is_trusted))
}

/// A name that no other connection has.
pub(crate) fn next_connection() -> ConnectionId {
    ConnectionId(NEXT_CONNECTION.fetch_add(1, Ordering::Relaxed))
}

async fn run(shared: Arc<Shared>, socket: WebSocket, joins: Joins) {
    let id = next_connection();
    let (to, mut outgoing) = mpsc::channel(shared.plan.queue_per_peer);
    shared.hall.connected(id, joins, to).await;
    let (mut sink, mut stream) = socket.split();
    loop {
        tokio::select! {
            message = stream.next() => match message {
                Some(Ok(Message::Text(text))) => {
                    shared.hall.text(id, text.as_str().to_owned()).await;
                }
                Some(Ok(Message::Binary(_) | Message::Ping(_) | Message::Pong(_))) => {
                    shared.hall.other(id).await;
                }
                Some(Ok(Message::Close(_)) | Err(_)) | None => break,
            },
            order = outgoing.recv() => match order {
                Some(Outgoing::Text(text)) => {
                    if sink.send(Message::Text(text.into())).await.is_err() {
                        break;
                    }
                }
                Some(Outgoing::Close(code, reason)) => {
                    let frame = CloseFrame { code: code.number(), reason: reason.into() };
                    let _ = sink.send(Message::Close(Some(frame))).await;
                    break;
                }
                // The hall let go of a reader that is too slow.
                None => break,
            },
        }
    }
    shared.hall.disconnected(id).await;
}

/// As whom the client joins: by its bearer token, `access_token` in the query, or the password of
/// the credentials cookie.
pub(super) fn admission(shared: &Shared, room: &str, parts: &Parts) -> Result<Admission, Denied> {
    let query = parts.uri.query().unwrap_or_default();
    let in_query = query
        .split('&')
        .filter_map(|pair| pair.strip_prefix("access_token="))
        .map(percent_decoded);
    let bearer = bearer(&parts.headers).map(str::to_owned);
    let shown = bearer.into_iter().chain(in_query);
    let shown: Vec<String> = shown.chain(in_cookies(&parts.headers)).collect();
    shared
        .access
        .admission(room, shown.iter().map(String::as_str))
}

/// The passwords in cookies `credentials=`: JSON with `username` and `password`, raw or
/// percent-encoded.
fn in_cookies(headers: &HeaderMap) -> impl Iterator<Item = String> {
    #[derive(serde::Deserialize)]
    struct Credentials {
        password: String,
    }
    let parse = |text: &str| serde_json::from_str::<Credentials>(text).ok();
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().strip_prefix("credentials="))
        .filter_map(move |text| parse(text).or_else(|| parse(&percent_decoded(text))))
        .map(|credentials| credentials.password)
}

/// A page may use its own host's signaling, and others that the operator names. Programs send
/// no origin.
pub(crate) fn origin_is_allowed(shared: &Shared, headers: &HeaderMap, host: Option<&str>) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else {
        return true;
    };
    let Ok(origin) = origin.to_str() else {
        return false;
    };
    let authority = origin.split_once("://").map(|(_, authority)| authority);
    let mut allowed = shared.plan.allowed_origins.iter();
    (authority.is_some() && authority == host)
        || allowed.any(|allowed| allowed == "*" || allowed == origin)
}

/// The host by which the client knows us: what a named proxy says, else what the request does.
pub(crate) fn client_host(headers: &HeaderMap, proxied: bool) -> Option<&str> {
    let value = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let forwarded = value("x-forwarded-host").filter(|_| proxied);
    forwarded.or_else(|| value("host"))
}

fn same(secret: &str, given: &str) -> bool {
    // Equal lengths are compared in constant time; the length of a secret is not one.
    crypto::equal(secret.as_bytes(), given.as_bytes())
}

pub(super) fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let decoded = (first == b'%')
            .then(|| tail.get(..2))
            .flatten()
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match decoded {
            Some(byte) => {
                bytes.push(byte);
                rest = tail.get(2..).unwrap_or_default();
            }
            None => {
                bytes.push(first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
