//! Administration over HTTP, as `docs/openapi.json` describes it: rooms, participants, order in a
//! room, and what is revoked.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;
use twocan_io::clock;
use twocan_room::forward::VideoCodecs;
use twocan_room::{
    Act, ActError, ParticipantInfo, PermissionChange, Refusal, RoomInfo, RoomSettings, Source,
    Topology, Tracks,
};

use super::access::{Denied, Operator, REVOKED_FOR, Revoked};
use super::media::{TopologyName, VideoCodec};
use super::{Shared, credentials};

/// Longest request, in bytes.
const BODY_LEN_MAX: usize = 64 * 1024;

/// How long a room that was made stays empty where nobody says how long: five minutes.
const KEEPS: u64 = 300;

/// Longest time that somebody may say, in seconds: a year.
const SECONDS_MAX: u64 = 366 * 86_400;

/// Why something is not done.
enum Failure {
    Denied(Denied),
    Act(ActError),
    Room(Refusal),
    Body(String),
    Exists,
    Mesh,
    Full,
    Busy,
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let (status, why) = match self {
            Self::Denied(denied) => {
                let why = denied.to_string();
                let response = denied.into_response();
                let challenge = response.headers().get(header::WWW_AUTHENTICATE).cloned();
                let mut told = (response.status(), Json(json!({ "error": why }))).into_response();
                if let Some(challenge) = challenge {
                    told.headers_mut()
                        .insert(header::WWW_AUTHENTICATE, challenge);
                }
                return told;
            }
            Self::Act(error) => {
                let status = match error {
                    ActError::NoRoom | ActError::NoParticipant => StatusCode::NOT_FOUND,
                    ActError::NotWaiting
                    | ActError::NoTrack
                    | ActError::RoomIsFull
                    | ActError::NeedsTwocan
                    | ActError::NotForwarded => StatusCode::CONFLICT,
                };
                (status, error.to_string())
            }
            Self::Room(error @ Refusal::BadRoomName) => {
                (StatusCode::UNPROCESSABLE_ENTITY, error.to_string())
            }
            Self::Room(error) => (StatusCode::SERVICE_UNAVAILABLE, error.to_string()),
            Self::Body(why) => (StatusCode::UNPROCESSABLE_ENTITY, why),
            Self::Exists => {
                let why = "there is such a room, and changing it needs roomAdmin of it";
                (StatusCode::CONFLICT, why.to_owned())
            }
            Self::Mesh => {
                let why = "this server forwards no media: start it with --topology auto or sfu";
                (StatusCode::CONFLICT, why.to_owned())
            }
            Self::Full => {
                let why = "as much is revoked as may be at a time";
                (StatusCode::SERVICE_UNAVAILABLE, why.to_owned())
            }
            Self::Busy => {
                let why = "the server is draining";
                (StatusCode::SERVICE_UNAVAILABLE, why.to_owned())
            }
        };
        (status, Json(json!({ "error": why }))).into_response()
    }
}

impl From<Denied> for Failure {
    fn from(denied: Denied) -> Self {
        Self::Denied(denied)
    }
}

impl From<ActError> for Failure {
    fn from(error: ActError) -> Self {
        Self::Act(error)
    }
}

impl From<JsonRejection> for Failure {
    fn from(rejection: JsonRejection) -> Self {
        Self::Body(rejection.body_text())
    }
}

impl From<QueryRejection> for Failure {
    fn from(rejection: QueryRejection) -> Self {
        Self::Body(rejection.body_text())
    }
}

type Body<T> = Result<Json<T>, JsonRejection>;
type Asked<T> = Result<Query<T>, QueryRejection>;
type In = State<Arc<Shared>>;

/// All routes.
pub(super) fn routes() -> Router<Arc<Shared>> {
    let one = "/api/v1/rooms/{room}/participants/{participant}";
    Router::new()
        .route("/api/v1/openapi.json", get(description))
        .route(
            "/api/v1/turn",
            get(credentials::turn).post(credentials::turn),
        )
        .route("/api/v1/rooms", get(list).post(create))
        .route(
            "/api/v1/rooms/{room}",
            get(room).patch(change).delete(close),
        )
        .route("/api/v1/rooms/{room}/participants", get(participants))
        .route("/api/v1/rooms/{room}/media", get(media))
        .route("/api/v1/rooms/{room}/data", post(announce))
        .route(one, get(participant).patch(permit).delete(remove))
        .route(&format!("{one}/mute"), post(mute))
        .route(&format!("{one}/admit"), post(admit))
        .route(&format!("{one}/deny"), post(deny))
        .route("/api/v1/revocations", post(revoke))
        .layer(DefaultBodyLimit::max(BODY_LEN_MAX))
}

async fn description() -> Response {
    let text = include_str!("../../../../docs/openapi.json");
    ([(header::CONTENT_TYPE, "application/json")], text).into_response()
}

/// One line for each act.
fn audit(operator: &Operator, action: &str, room: Option<&str>, participant: Option<&str>) {
    let by = &operator.name;
    tracing::info!(target: "twocan::audit", by, action, room, participant, "administered");
}

/// Who administers a room.
fn of_room(shared: &Shared, headers: &HeaderMap, room: &str) -> Result<Operator, Denied> {
    let operator = shared.access.operator(headers)?;
    match operator.may_moderate(room) {
        true => Ok(operator),
        false => Err(Denied::Insufficient("this needs roomAdmin of the room")),
    }
}

/// Does something in a room.
async fn act(shared: &Shared, headers: &HeaderMap, room: String, what: Act) -> Result<(), Failure> {
    let operator = of_room(shared, headers, &room)?;
    let (action, whom) = (what.name(), what.participant().map(str::to_owned));
    let place = room.clone();
    let done = shared
        .hall
        .with(move |hall, now| hall.act(now, &place, &what));
    done.await.ok_or(Failure::Busy)??;
    audit(&operator, action, Some(&room), whom.as_deref());
    Ok(())
}

async fn info(shared: &Shared, room: String) -> Result<Json<RoomInfo>, Failure> {
    let info = shared.hall.with(move |hall, _| hall.room(&room)).await;
    let info = info.ok_or(Failure::Busy)?;
    Ok(Json(info.ok_or(ActError::NoRoom)?))
}

async fn all_of(shared: &Shared, room: String) -> Result<Vec<ParticipantInfo>, Failure> {
    let all = shared.hall.with(move |hall, _| hall.participants(&room));
    let all = all.await.ok_or(Failure::Busy)?;
    Ok(all.ok_or(ActError::NoRoom)?)
}

async fn one_of(shared: &Shared, room: String, id: &str) -> Result<Json<ParticipantInfo>, Failure> {
    let mut all = all_of(shared, room).await?.into_iter();
    let one = all.find(|own| own.id == id);
    Ok(Json(one.ok_or(ActError::NoParticipant)?))
}

async fn list(State(shared): In, headers: HeaderMap) -> Result<Response, Failure> {
    let operator = shared.access.operator(&headers)?;
    if !operator.may_list() {
        return Err(Denied::Insufficient("this needs roomList").into());
    }
    let rooms = shared.hall.with(|hall, _| hall.rooms()).await;
    let rooms = rooms.ok_or(Failure::Busy)?;
    Ok(Json(json!({ "rooms": rooms })).into_response())
}

/// `POST /api/v1/rooms`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    name: String,
    #[serde(default)]
    max_participants: Option<usize>,
    #[serde(default)]
    empty_timeout: Option<u64>,
    #[serde(default)]
    locked: bool,
    #[serde(default)]
    lobby: Option<bool>,
    #[serde(default)]
    topology: Option<TopologyName>,
    #[serde(default)]
    video_codecs: Vec<VideoCodec>,
    #[serde(default)]
    chat_history: Option<usize>,
}

async fn create(
    State(shared): In,
    headers: HeaderMap,
    wanted: Body<Wanted>,
) -> Result<Response, Failure> {
    let operator = shared.access.operator(&headers)?;
    if !operator.may_create() {
        return Err(Denied::Insufficient("this needs roomCreate").into());
    }
    let Json(wanted) = wanted?;
    let topology = wanted.topology.map(Topology::from);
    let forwards = shared.plan.media.topology != Topology::Mesh;
    let needs_forwarding =
        topology.is_some_and(|own| own != Topology::Mesh) || !wanted.video_codecs.is_empty();
    if !forwards && needs_forwarding {
        return Err(Failure::Mesh);
    }
    let keeps = wanted.empty_timeout.unwrap_or(KEEPS).min(SECONDS_MAX);
    let settings = RoomSettings {
        peers_max: wanted.max_participants,
        keeps: Duration::from_secs(keeps),
        locked: wanted.locked,
        lobby: wanted.lobby,
        topology,
        video_codecs: VideoCodecs::new(wanted.video_codecs.iter().map(|own| own.encoding_name())),
        chat_history: wanted.chat_history,
    };
    let name = wanted.name.clone();
    // Who may only make rooms opens none that somebody has locked.
    let changes = operator.may_moderate(&name);
    let made = shared.hall.with(move |hall, now| {
        let made = hall.create_room(now, &name, settings, changes);
        made.map(|made| made.then(|| hall.room(&name)))
    });
    let made = made.await.ok_or(Failure::Busy)?.map_err(Failure::Room)?;
    let info = made.ok_or(Failure::Exists)?;
    audit(&operator, "create", Some(&wanted.name), None);
    Ok((StatusCode::CREATED, Json(info)).into_response())
}

async fn room(
    State(shared): In,
    headers: HeaderMap,
    Path(room): Path<String>,
) -> Result<Json<RoomInfo>, Failure> {
    of_room(&shared, &headers, &room)?;
    info(&shared, room).await
}

/// `PATCH /api/v1/rooms/{room}`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Changed {
    #[serde(default)]
    locked: Option<bool>,
    #[serde(default)]
    lobby: Option<bool>,
}

async fn change(
    State(shared): In,
    headers: HeaderMap,
    Path(room): Path<String>,
    changed: Body<Changed>,
) -> Result<Json<RoomInfo>, Failure> {
    of_room(&shared, &headers, &room)?;
    let Json(changed) = changed?;
    let acts = [changed.locked.map(Act::Lock), changed.lobby.map(Act::Lobby)];
    for what in acts.into_iter().flatten() {
        act(&shared, &headers, room.clone(), what).await?;
    }
    info(&shared, room).await
}

/// What those who go are told.
#[derive(Deserialize)]
struct Reason {
    #[serde(default)]
    reason: String,
}

async fn close(
    State(shared): In,
    headers: HeaderMap,
    Path(room): Path<String>,
    asked: Asked<Reason>,
) -> Result<StatusCode, Failure> {
    let operator = shared.access.operator(&headers)?;
    if !operator.may_create() && !operator.may_moderate(&room) {
        return Err(Denied::Insufficient("this needs roomCreate, or roomAdmin of the room").into());
    }
    let Query(Reason { reason }) = asked?;
    let place = room.clone();
    let what = Act::Close { reason };
    let done = shared
        .hall
        .with(move |hall, now| hall.act(now, &place, &what));
    done.await.ok_or(Failure::Busy)??;
    audit(&operator, "close", Some(&room), None);
    Ok(StatusCode::NO_CONTENT)
}

async fn participants(
    State(shared): In,
    headers: HeaderMap,
    Path(room): Path<String>,
) -> Result<Response, Failure> {
    of_room(&shared, &headers, &room)?;
    let all = all_of(&shared, room).await?;
    Ok(Json(json!({ "participants": all })).into_response())
}

async fn media(
    State(shared): In,
    headers: HeaderMap,
    Path(room): Path<String>,
) -> Result<Response, Failure> {
    of_room(&shared, &headers, &room)?;
    drop(info(&shared, room.clone()).await?);
    let connections = shared.hall.figures(room).await.ok_or(Failure::Busy)?;
    Ok(Json(json!({ "connections": connections })).into_response())
}

async fn participant(
    State(shared): In,
    headers: HeaderMap,
    Path((room, id)): Path<(String, String)>,
) -> Result<Json<ParticipantInfo>, Failure> {
    of_room(&shared, &headers, &room)?;
    one_of(&shared, room, &id).await
}

async fn permit(
    State(shared): In,
    headers: HeaderMap,
    Path((room, id)): Path<(String, String)>,
    change: Body<PermissionChange>,
) -> Result<Json<ParticipantInfo>, Failure> {
    of_room(&shared, &headers, &room)?;
    let Json(change) = change?;
    let what = Act::Permit {
        participant: id.clone(),
        change,
    };
    act(&shared, &headers, room.clone(), what).await?;
    one_of(&shared, room, &id).await
}

async fn remove(
    State(shared): In,
    headers: HeaderMap,
    Path((room, participant)): Path<(String, String)>,
    asked: Asked<Reason>,
) -> Result<StatusCode, Failure> {
    of_room(&shared, &headers, &room)?;
    let Query(Reason { reason }) = asked?;
    let what = Act::Remove {
        participant,
        reason,
    };
    act(&shared, &headers, room, what).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `POST …/mute`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Muted {
    muted: bool,
    #[serde(default)]
    track: Option<String>,
    #[serde(default)]
    source: Option<Source>,
}

async fn mute(
    State(shared): In,
    headers: HeaderMap,
    Path((room, id)): Path<(String, String)>,
    muted: Body<Muted>,
) -> Result<Json<ParticipantInfo>, Failure> {
    of_room(&shared, &headers, &room)?;
    let Json(muted) = muted?;
    let tracks = match (muted.track, muted.source) {
        (Some(id), _) => Tracks::Id(id),
        (None, Some(source)) => Tracks::Source(source),
        (None, None) => Tracks::All,
    };
    let participant = id.clone();
    let what = match muted.muted {
        true => Act::Mute {
            participant,
            tracks,
        },
        false => Act::Unmute {
            participant,
            tracks,
        },
    };
    act(&shared, &headers, room.clone(), what).await?;
    one_of(&shared, room, &id).await
}

async fn admit(
    State(shared): In,
    headers: HeaderMap,
    Path((room, participant)): Path<(String, String)>,
) -> Result<StatusCode, Failure> {
    act(&shared, &headers, room, Act::Admit { participant }).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn deny(
    State(shared): In,
    headers: HeaderMap,
    Path((room, participant)): Path<(String, String)>,
) -> Result<StatusCode, Failure> {
    act(&shared, &headers, room, Act::Deny { participant }).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `POST /api/v1/rooms/{room}/data`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Said {
    data: Box<RawValue>,
    #[serde(default)]
    to: Option<Vec<String>>,
}

async fn announce(
    State(shared): In,
    headers: HeaderMap,
    Path(room): Path<String>,
    said: Body<Said>,
) -> Result<StatusCode, Failure> {
    let operator = of_room(&shared, &headers, &room)?;
    let Json(said) = said?;
    let place = room.clone();
    let told = shared.hall.with(move |hall, _| {
        hall.announce_to(&place, said.to.as_deref(), "announcement", &said.data)
    });
    told.await.ok_or(Failure::Busy)??;
    audit(&operator, "announce", Some(&room), None);
    Ok(StatusCode::NO_CONTENT)
}

/// `POST /api/v1/revocations`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ToRevoke {
    #[serde(default)]
    token_id: Option<String>,
    #[serde(default)]
    identity: Option<String>,
    /// Seconds.
    #[serde(default)]
    lasts: Option<u64>,
}

async fn revoke(
    State(shared): In,
    headers: HeaderMap,
    wanted: Body<ToRevoke>,
) -> Result<Response, Failure> {
    let operator = shared.access.operator(&headers)?;
    if !operator.may_all() {
        return Err(Denied::Insufficient("this needs the operator's secret").into());
    }
    let Json(wanted) = wanted?;
    let what = match (&wanted.token_id, &wanted.identity) {
        (Some(id), None) => Revoked::Token(id.clone()),
        (None, Some(identity)) => Revoked::Identity(identity.clone()),
        _ => {
            return Err(Failure::Body(
                "either token_id or identity is needed".into(),
            ));
        }
    };
    let lasts = wanted.lasts.map_or(REVOKED_FOR, |seconds| {
        Duration::from_secs(seconds.min(SECONDS_MAX))
    });
    if !shared.access.revoke(what, clock::now().wallclock + lasts) {
        return Err(Failure::Full);
    }
    let whom = wanted.identity.clone().or_else(|| wanted.token_id.clone());
    let removed = shared.hall.with(move |hall, now| {
        hall.revoke(
            now,
            None,
            wanted.token_id.as_deref(),
            wanted.identity.as_deref(),
        )
    });
    let removed = removed.await.ok_or(Failure::Busy)?;
    audit(&operator, "revoke", None, whom.as_deref());
    let told = json!({ "removed": removed, "lasts": lasts.as_secs() });
    Ok((StatusCode::CREATED, Json(told)).into_response())
}
