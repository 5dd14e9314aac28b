//! TURN credentials for other applications (draft-uberti-behave-turn-rest-00 §2): a name that says
//! when it ends, and its password.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{ConnectInfo, Query, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use twocan_io::clock;
use twocan_proto::turn::rest_password;

use super::{Shared, http, signaling};

/// Longest name of a user, in bytes: what USERNAME holds besides the expiry (RFC 8489 §14.3).
const NAME_LEN_MAX: usize = 400;

/// What may be asked for.
#[derive(Debug, Deserialize)]
pub(crate) struct Wanted {
    /// For whom; quotas count by it.
    username: Option<String>,
    /// Seconds, no more than `turn_ttl`, which is the default.
    ttl: Option<u64>,
}

#[derive(Debug, Serialize)]
struct Credentials {
    username: String,
    password: String,
    ttl: u64,
    uris: Vec<String>,
}

/// To who shows the secret; where there is none, to this machine.
pub(crate) async fn turn(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(remote): ConnectInfo<SocketAddr>,
    Query(wanted): Query<Wanted>,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    if !http::may_have_credentials(&shared, remote, &headers, &uri) {
        let why = "credentials need the secret as bearer token; without a secret they are for this \
                   machine, by a name of loopback and without a proxy\n";
        return (StatusCode::FORBIDDEN, why).into_response();
    }
    let servers = &shared.plan.hall.ice_servers;
    let host = signaling::client_host(&headers, http::is_trusted_proxy(&shared, remote));
    let mut uris = signaling::own_urls(&shared, host).turn;
    uris.extend(servers.turn.iter().cloned());
    let Some(secret) = servers.turn_secret.as_ref().filter(|_| !uris.is_empty()) else {
        return (StatusCode::NOT_FOUND, "there is no TURN server\n").into_response();
    };
    let name = wanted.username.unwrap_or_default();
    if name.len() > NAME_LEN_MAX || name.chars().any(char::is_control) {
        let why = "username has at most 400 bytes and no control characters\n";
        return (StatusCode::BAD_REQUEST, why).into_response();
    }
    let most = servers.time_to_live.as_secs();
    let ttl = wanted.ttl.unwrap_or(most).clamp(1, most.max(1));
    let ends = (clock::now().wallclock + Duration::from_secs(ttl)).as_secs();
    let username = if name.is_empty() {
        ends.to_string()
    } else {
        format!("{ends}:{name}")
    };
    let password = rest_password(secret.as_bytes(), &username);
    let credentials = Credentials {
        username,
        password,
        ttl,
        uris,
    };
    ([(header::CACHE_CONTROL, "no-store")], Json(credentials)).into_response()
}
