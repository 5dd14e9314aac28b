//! WHIP (RFC 9725) and WHEP (draft-ietf-wish-whep): one offer by POST publishes to a room or plays
//! it; the session that this makes takes candidates and restarts by PATCH, and ends by DELETE. Joining
//! a room without a WebSocket is the same with another address.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{ConnectInfo, DefaultBodyLimit, Path, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use axum::{Extension, Router};
use std::net::SocketAddr;
use twocan_io::clock;
use twocan_proto::wire::sdp::{self, Attribute, Description, Direction, MediaKind};
use twocan_room::forward::Fragment;
use twocan_room::{Admission, GuestLine, GuestRefusal, Refusal};

use super::access::{Denied, bearer};
use super::hall::{Comes, ExchangeError};
use super::{Shared, http, rates, signaling};

mod extensions;
mod join;
mod sessions;

pub(crate) use sessions::Sessions;
use sessions::{Role, Session, tag, unguessable};

const SDP: &str = "application/sdp";
const FRAGMENT: &str = "application/trickle-ice-sdpfrag";

/// What pages of other origins may read.
const EXPOSED: &str =
    "Location, ETag, Link, Accept-Patch, Accept-Post, Retry-After, WWW-Authenticate";

/// Longest identification of a section, in bytes: it is told to all in the room.
const MID_LEN_MAX: usize = 32;

/// Lines for pictures of one session for which a layer can be chosen.
const PICTURE_LINES_MAX: usize = 32;

/// When one who is refused for want of room may ask again, in seconds.
const RETRY_AFTER: &str = "5";

/// The routes of all.
pub(crate) fn routes() -> Router<Arc<Shared>> {
    let of = |role: Role| {
        let path = role.path();
        Router::new()
            .route(&format!("/{path}/{{room}}"), any(endpoint))
            .route(&format!("/{path}/{{room}}/{{id}}"), any(session))
            .layer(Extension(role))
    };
    // A little above our own limit, so that who is just above it is told.
    let limit = DefaultBodyLimit::max(2 * sdp::LEN_MAX);
    let all = of(Role::Publish).merge(of(Role::Play));
    all.merge(of(Role::Join))
        .merge(extensions::routes())
        .layer(limit)
}

/// The end point of a room.
async fn endpoint(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(remote): ConnectInfo<SocketAddr>,
    Extension(role): Extension<Role>,
    Path(room): Path<String>,
    parts: Parts,
    body: Bytes,
) -> Response {
    let (method, headers) = (&parts.method, &parts.headers);
    let cross = match allowed_origin(&shared, remote, headers) {
        Ok(cross) => cross,
        Err(response) => return response,
    };
    if let Some(response) = too_many(&shared, remote, method, headers) {
        return cross.applied(response);
    }
    let response = match *method {
        Method::OPTIONS => options(
            "POST, OPTIONS",
            header::HeaderName::from_static("accept-post"),
            SDP,
        ),
        Method::POST => match open(&shared, remote, role, &room, &parts, &body).await {
            Ok(response) | Err(response) => response,
        },
        _ => not_allowed("POST, OPTIONS"),
    };
    cross.applied(response)
}

/// A session.
async fn session(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(remote): ConnectInfo<SocketAddr>,
    Extension(role): Extension<Role>,
    Path((room, id)): Path<(String, String)>,
    parts: Parts,
    body: Bytes,
) -> Response {
    let (method, headers) = (&parts.method, &parts.headers);
    let cross = match allowed_origin(&shared, remote, headers) {
        Ok(cross) => cross,
        Err(response) => return response,
    };
    if let Some(response) = too_many(&shared, remote, method, headers) {
        return cross.applied(response);
    }
    let patch = header::HeaderName::from_static("accept-patch");
    let needs_token = matches!(*method, Method::PATCH | Method::DELETE);
    let admitted = match admission_as(&shared, role, &room, &parts) {
        Ok(admitted) => Some(admitted),
        Err(denied) if needs_token => return cross.applied(denied.into_response()),
        Err(_) => None,
    };
    let response = match *method {
        Method::OPTIONS => options("PATCH, DELETE, OPTIONS", patch, FRAGMENT),
        Method::DELETE => match shared.sessions.delete(role, &room, &id) {
            Some(participant) => {
                shared.hall.dismiss(participant).await;
                StatusCode::OK.into_response()
            }
            None => no_session(),
        },
        Method::PATCH => match shared.sessions.find(role, &room, &id) {
            None => no_session(),
            Some((whose, tag)) => {
                match patched(&shared, (&id, &whose), &tag, admitted, headers, &body).await {
                    Ok(response) | Err(response) => response,
                }
            }
        },
        _ => not_allowed("PATCH, DELETE, OPTIONS"),
    };
    cross.applied(response)
}

/// RFC 9725 §4.2.
async fn open(
    shared: &Shared,
    remote: SocketAddr,
    role: Role,
    room: &str,
    parts: &Parts,
    body: &Bytes,
) -> Result<Response, Response> {
    let headers = &parts.headers;
    let admission = admission_as(shared, role, room, parts).map_err(IntoResponse::into_response)?;
    if !is_of_type(headers, SDP) {
        let accepts = [(HeaderName::from_static("accept-post"), SDP)];
        let why = "an offer is application/sdp\n";
        return Err((StatusCode::UNSUPPORTED_MEDIA_TYPE, accepts, why).into_response());
    }
    if body.len() > sdp::LEN_MAX {
        return Err((StatusCode::PAYLOAD_TOO_LARGE, "256 KiB at most\n").into_response());
    }
    let text = std::str::from_utf8(body).map_err(|_| bad_request("the offer is no text"))?;
    let offer: Description = text
        .parse()
        .map_err(|error| bad_request(&format!("{error}")))?;
    let lines = sent_lines(&offer);
    if lines.iter().any(|line| line.mid.len() > MID_LEN_MAX) {
        return Err(unprocessable("a=mid has 32 characters at most"));
    }
    if role == Role::Publish && lines.is_empty() {
        return Err(unprocessable("the offer sends nothing"));
    }
    let viewers = shared.plan.hall.limits.peers_per_forwarded_room;
    let Some(_seat) = shared.sessions.reserve(role, room, viewers) else {
        return Err(busy("as many sessions as allowed"));
    };
    let proxied = http::is_trusted_proxy(shared, remote);
    let own = signaling::own_urls(shared, signaling::client_host(headers, proxied));
    let comes = match role {
        Role::Publish => Comes::Publishes(lines),
        Role::Play => Comes::LooksOn,
        Role::Join => join::comes(&offer, parts.uri.query(), own.clone())?,
    };
    let picture_lines = picture_lines(&offer);
    let expires_at = admission.expires_at;
    let id = unguessable();
    let registers = {
        let (sessions, id, room) = (shared.sessions.clone(), id.clone(), room.to_owned());
        move |participant: &str| {
            let session = Session {
                role,
                room,
                participant: participant.to_owned(),
                generation: 0,
                lines: picture_lines,
                streams: Vec::new(),
            };
            sessions.insert(id, session);
        }
    };
    let hall = &shared.hall;
    let opened = hall.exchange(room, admission, comes, text, registers);
    let (participant, answer) = opened.await.map_err(|error| refused(&error))?;
    let mut response = (StatusCode::CREATED, answer).into_response();
    let place = format!("/{}/{}/{id}", role.path(), percent_encoded(room));
    set(response.headers_mut(), header::CONTENT_TYPE, SDP);
    set(response.headers_mut(), header::LOCATION, &place);
    set(response.headers_mut(), header::ETAG, &tag(&id, 0));
    set(
        response.headers_mut(),
        HeaderName::from_static("accept-patch"),
        FRAGMENT,
    );
    let servers = shared.plan.hall.ice_servers.list_for(
        &participant,
        &own,
        clock::now().wallclock,
        expires_at,
    );
    let extensions = (role == Role::Play).then(|| extensions::links(&place));
    for link in servers
        .iter()
        .flat_map(links)
        .chain(extensions.into_iter().flatten())
    {
        if let Ok(value) = HeaderValue::from_str(&link) {
            response.headers_mut().append(header::LINK, value);
        }
    }
    Ok(response)
}

/// RFC 9725 §4.3.1 and §4.3.2.
async fn patched(
    shared: &Shared,
    (id, participant): (&str, &str),
    tag: &str,
    admitted: Option<Admission>,
    headers: &HeaderMap,
    body: &Bytes,
) -> Result<Response, Response> {
    // A token takes the place of the one before, if it is one that ends.
    if let Some(fresh) = admitted.filter(|own| own.expires_at.is_some()) {
        renew(shared, participant, fresh).await?;
        if body.is_empty() {
            return Ok(StatusCode::NO_CONTENT.into_response());
        }
    }
    if !is_of_type(headers, FRAGMENT) {
        let accepts = [(HeaderName::from_static("accept-patch"), FRAGMENT)];
        let why = "a fragment is application/trickle-ice-sdpfrag\n";
        return Err((StatusCode::UNSUPPORTED_MEDIA_TYPE, accepts, why).into_response());
    }
    let condition = headers
        .get(header::IF_MATCH)
        .and_then(|own| own.to_str().ok());
    let restarts = match condition {
        None => {
            let why = "If-Match names the session's entity tag, or is * for an ICE restart\n";
            return Err((StatusCode::PRECONDITION_REQUIRED, why).into_response());
        }
        Some("*") => true,
        Some(own) if own.split(',').any(|own| own.trim() == tag) => false,
        Some(_) => {
            let why = "the entity tag is another one by now\n";
            return Err((StatusCode::PRECONDITION_FAILED, why).into_response());
        }
    };
    let text = std::str::from_utf8(body).map_err(|_| bad_request("the fragment is no text"))?;
    let fragment = Fragment::parse(text).map_err(|error| bad_request(&error))?;
    let answer = shared.hall.fragment(participant, fragment, restarts).await;
    match answer.map_err(|error| refused(&error))? {
        None => Ok(StatusCode::NO_CONTENT.into_response()),
        Some(fragment) => {
            let tag = shared.sessions.restarted(id);
            let mut response = (StatusCode::OK, fragment).into_response();
            set(response.headers_mut(), header::CONTENT_TYPE, FRAGMENT);
            set(response.headers_mut(), header::ETAG, &tag);
            Ok(response)
        }
    }
}

/// Somebody goes on under another token, or the one that it has.
async fn renew(shared: &Shared, participant: &str, fresh: Admission) -> Result<(), Response> {
    let (access, id) = (shared.access.clone(), participant.to_owned());
    let renewed = shared
        .hall
        .with(move |hall, now| match access.has_revoked(&fresh) {
            true => Err(GuestRefusal::NotPermitted),
            false => hall.renew_guest(now, &id, fresh),
        });
    let renewed = renewed
        .await
        .ok_or_else(|| busy("the server is draining"))?;
    renewed.map_err(|_| Denied::Insufficient("the token is of another identity").into_response())
}

/// The lines on which the other side sends.
fn sent_lines(offer: &Description) -> Vec<GuestLine> {
    let sections = offer
        .media
        .iter()
        .enumerate()
        .filter_map(|(index, section)| {
            let is_video = match section.kind {
                MediaKind::Audio => false,
                MediaKind::Video => true,
                _ => return None,
            };
            let direction = section.attributes().find_map(|attribute| match attribute {
                Attribute::Direction(direction) => Some(*direction),
                _ => None,
            });
            let mid = section
                .mid()
                .map_or_else(|| index.to_string(), ToString::to_string);
            let sends = direction.unwrap_or(Direction::SendRecv).sends() && section.port != 0;
            sends.then_some(GuestLine { mid, is_video })
        });
    sections.collect()
}

/// The lines on which pictures can come: the place of each in the description, and its name.
fn picture_lines(offer: &Description) -> Vec<(usize, String)> {
    let sections = offer.media.iter().enumerate();
    let pictures = sections.filter(|(_, section)| section.kind == MediaKind::Video);
    let named = pictures.filter_map(|(index, section)| Some((index, section.mid()?.to_string())));
    named
        .filter(|(_, mid)| mid.len() <= MID_LEN_MAX)
        .take(PICTURE_LINES_MAX)
        .collect()
}

/// RFC 9725 §4.6: one header for each URL.
fn links(server: &twocan_room::IceServer) -> Vec<String> {
    let credential = match (&server.username, &server.credential) {
        (Some(username), Some(credential)) => format!(
            "; username=\"{username}\"; credential=\"{credential}\"; credential-type=\"password\""
        ),
        _ => String::new(),
    };
    let urls = server.urls.iter();
    urls.map(|url| format!("<{url}>; rel=\"ice-server\"{credential}"))
        .collect()
}

/// What goes into responses to pages of other origins (Fetch §3.2).
struct CrossOrigin(Option<HeaderValue>);

impl CrossOrigin {
    fn applied(self, mut response: Response) -> Response {
        if let Some(origin) = self.0 {
            let headers = response.headers_mut();
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            set(headers, header::VARY, "Origin");
            set(headers, header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
            set(
                headers,
                header::ACCESS_CONTROL_ALLOW_METHODS,
                "POST, PATCH, DELETE, OPTIONS",
            );
            let asked = "Authorization, Content-Type, If-Match";
            set(headers, header::ACCESS_CONTROL_ALLOW_HEADERS, asked);
            set(headers, header::ACCESS_CONTROL_MAX_AGE, "86400");
        }
        response
    }
}

#[expect(clippy::result_large_err, reason = "the answer itself, made once")]
fn allowed_origin(
    shared: &Shared,
    remote: SocketAddr,
    headers: &HeaderMap,
) -> Result<CrossOrigin, Response> {
    let proxied = http::is_trusted_proxy(shared, remote);
    let host = signaling::client_host(headers, proxied);
    if !signaling::origin_is_allowed(shared, headers, host) {
        let why = "pages of another origin need --allowed-origin on the server\n";
        return Err((StatusCode::FORBIDDEN, why).into_response());
    }
    Ok(CrossOrigin(headers.get(header::ORIGIN).cloned()))
}

/// The answer to an address that asks too often; a page's question whether it may ask is free.
fn too_many(
    shared: &Shared,
    remote: SocketAddr,
    method: &Method,
    headers: &HeaderMap,
) -> Option<Response> {
    let asks = method != Method::OPTIONS;
    asks.then(|| rates::refusal(shared, remote, headers))?
}

/// As whom somebody comes, by its bearer token (RFC 9725 §4.4).
fn admission(shared: &Shared, room: &str, headers: &HeaderMap) -> Result<Admission, Denied> {
    shared.access.admission(room, bearer(headers))
}

/// The same; who joins may also show it in the query, as where it opens a WebSocket.
fn admission_as(
    shared: &Shared,
    role: Role,
    room: &str,
    parts: &Parts,
) -> Result<Admission, Denied> {
    match role {
        Role::Publish | Role::Play => admission(shared, room, &parts.headers),
        Role::Join => signaling::admission(shared, room, parts),
    }
}

fn no_session() -> Response {
    (StatusCode::NOT_FOUND, "no such session\n").into_response()
}

fn options(methods: &'static str, accepts: HeaderName, kind: &'static str) -> Response {
    let headers = [(header::ALLOW, methods), (accepts, kind)];
    (StatusCode::NO_CONTENT, headers).into_response()
}

fn not_allowed(methods: &'static str) -> Response {
    (StatusCode::METHOD_NOT_ALLOWED, [(header::ALLOW, methods)]).into_response()
}

fn bad_request(why: &str) -> Response {
    (StatusCode::BAD_REQUEST, format!("{why}\n")).into_response()
}

fn unprocessable(why: &str) -> Response {
    (StatusCode::UNPROCESSABLE_ENTITY, format!("{why}\n")).into_response()
}

fn busy(why: &str) -> Response {
    let again = [(header::RETRY_AFTER, RETRY_AFTER)];
    (StatusCode::SERVICE_UNAVAILABLE, again, format!("{why}\n")).into_response()
}

fn refused(error: &ExchangeError) -> Response {
    let why = error.to_string();
    match error {
        ExchangeError::Guest(GuestRefusal::NotForwarded) => {
            (StatusCode::CONFLICT, format!("{why}\n")).into_response()
        }
        ExchangeError::Guest(GuestRefusal::Room(Refusal::BadRoomName)) => bad_request(&why),
        ExchangeError::Guest(GuestRefusal::NotPermitted) => {
            Denied::Insufficient("the token does not permit that").into_response()
        }
        ExchangeError::Guest(GuestRefusal::RoomIsLocked) => {
            (StatusCode::FORBIDDEN, format!("{why}\n")).into_response()
        }
        ExchangeError::Guest(_) | ExchangeError::Busy => busy(&why),
        ExchangeError::Refused(_) => unprocessable(&why),
    }
}

/// Whether the body is said to be of a type, parameters aside.
fn is_of_type(headers: &HeaderMap, wanted: &str) -> bool {
    let given = headers
        .get(header::CONTENT_TYPE)
        .and_then(|own| own.to_str().ok());
    let given = given.and_then(|own| own.split(';').next());
    given.is_some_and(|own| own.trim().eq_ignore_ascii_case(wanted))
}

fn set(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    // What is not ASCII cannot be a header, and nothing here is.
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

/// RFC 3986 §2.1: all but unreserved characters.
fn percent_encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                out.push(char::from(byte));
            }
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_send_are_published() {
        let offer = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n\
            m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:a\r\na=sendonly\r\n\
            m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:v\r\na=recvonly\r\n\
            m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\na=mid:d\r\n";
        let offer: Description = offer.parse().unwrap();
        let line = GuestLine {
            mid: "a".into(),
            is_video: false,
        };
        assert_eq!(sent_lines(&offer), [line]);
    }

    #[test]
    fn rooms_are_written_into_places() {
        assert_eq!(percent_encoded("blue-otter"), "blue-otter");
        assert_eq!(percent_encoded("a b/ü"), "a%20b%2F%C3%BC");
    }

    #[test]
    fn servers_are_linked() {
        let server = twocan_room::IceServer {
            urls: vec!["turn:h:3478".into()],
            username: Some("u".into()),
            credential: Some("c".into()),
        };
        assert_eq!(
            links(&server),
            [
                "<turn:h:3478>; rel=\"ice-server\"; username=\"u\"; credential=\"c\"; \
              credential-type=\"password\""
            ]
        );
    }
}
