//! Two extensions of WHEP ("WebRTC-HTTP Egress Protocol Core Extensions", a draft of the wish working
//! group): events that the server sends, and the choice of a layer.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{ConnectInfo, DefaultBodyLimit, Path, State};
use axum::http::{HeaderMap, HeaderName, Method, StatusCode, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use futures_util::stream;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use twocan_room::forward::{Choice, ChoiceRefused, Playing};

use super::sessions::Reading;
use super::{
    Shared, admission, allowed_origin, bad_request, busy, is_of_type, no_session, not_allowed,
    options, set, too_many, unprocessable,
};

/// Between two looks at what has changed.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Rates of layers alone are told no more often, in looks.
const RATES_EVERY: u32 = 5;

/// Longest name of a simulcast stream, in bytes.
const RID_LEN_MAX: usize = 32;

/// What a player asks for is short.
const BODY_LEN_MAX: usize = 4 * 1024;

const JSON: &str = "application/json";

/// The names of the extensions (`rel` of the links to them).
const EVENTS: &str = "urn:ietf:params:whep:ext:core:server-sent-events";
const LAYER: &str = "urn:ietf:params:whep:ext:core:layer";

/// The events that a player wants to hear of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wanted {
    active: bool,
    inactive: bool,
    layers: bool,
    reconnect: bool,
    viewer_count: bool,
}

impl Wanted {
    const NAMES: &str = "active,inactive,layers,reconnect,viewercount";

    const ALL: Self = Self {
        active: true,
        inactive: true,
        layers: true,
        reconnect: true,
        viewer_count: true,
    };

    /// Those of a list that there are.
    fn named(names: &[String]) -> Self {
        let has = |name: &str| names.iter().any(|own| own == name);
        Self {
            active: has("active"),
            inactive: has("inactive"),
            layers: has("layers"),
            reconnect: has("reconnect"),
            viewer_count: has("viewercount"),
        }
    }
}

/// What a player asks for; what is not there is the server's choice.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Asked {
    media_id: Option<MediaId>,
    /// `encodingId` in older versions of the draft.
    #[serde(alias = "encodingId")]
    rid: Option<String>,
    spatial_layer_id: Option<u8>,
    max_spatial_layer_id: Option<u8>,
    temporal_layer_id: Option<u8>,
    max_temporal_layer_id: Option<u8>,
    max_width: Option<u32>,
    max_height: Option<u32>,
}

/// The place of a line in the description, as text or as a number.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum MediaId {
    Text(String),
    Number(usize),
}

/// The routes, of sessions that play.
pub(super) fn routes() -> Router<Arc<Shared>> {
    Router::new()
        .route("/whep/{room}/{id}/layer", any(layer))
        .route("/whep/{room}/{id}/sse", any(streams))
        .route("/whep/{room}/{id}/sse/{stream}", any(stream_of_events))
        .layer(DefaultBodyLimit::max(BODY_LEN_MAX))
}

/// The links to the extensions of a session.
pub(super) fn links(session: &str) -> [String; 2] {
    [
        format!(
            "<{session}/sse>; rel=\"{EVENTS}\"; events=\"{}\"",
            Wanted::NAMES
        ),
        format!("<{session}/layer>; rel=\"{LAYER}\""),
    ]
}

/// Chooses a layer.
async fn layer(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(remote): ConnectInfo<SocketAddr>,
    Path((room, id)): Path<(String, String)>,
    method: Method,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let cross = match allowed_origin(&shared, remote, &headers) {
        Ok(cross) => cross,
        Err(response) => return response,
    };
    if let Some(response) = too_many(&shared, remote, &method, &headers) {
        return cross.applied(response);
    }
    let accepts = HeaderName::from_static("accept-post");
    let response = match method {
        Method::OPTIONS => options("POST, DELETE, OPTIONS", accepts, JSON),
        Method::POST => done(chosen(&shared, &room, &id, &headers, &body).await),
        // The draft has no word for taking a choice back; clients use this one.
        Method::DELETE => done(chosen(&shared, &room, &id, &headers, &Bytes::new()).await),
        _ => not_allowed("POST, DELETE, OPTIONS"),
    };
    cross.applied(response)
}

fn done(chosen: Result<(), Response>) -> Response {
    match chosen {
        Ok(()) => StatusCode::OK.into_response(),
        Err(response) => response,
    }
}

async fn chosen(
    shared: &Shared,
    room: &str,
    id: &str,
    headers: &HeaderMap,
    body: &Bytes,
) -> Result<(), Response> {
    admission(shared, room, headers).map_err(IntoResponse::into_response)?;
    let (participant, lines) = shared.sessions.player(room, id).ok_or_else(no_session)?;
    let asked: Asked = json_of(headers, body)?.unwrap_or_default();
    let index = match &asked.media_id {
        None => lines.first().map(|(index, _)| *index),
        Some(MediaId::Number(index)) => Some(*index),
        Some(MediaId::Text(index)) => index.parse().ok(),
    };
    let mut lines = lines.into_iter();
    let line = lines.find(|(own, _)| Some(*own) == index);
    let Some((_, mid)) = line else {
        return Err(unprocessable(&ChoiceRefused::NoSuchLine.to_string()));
    };
    if asked
        .rid
        .as_ref()
        .is_some_and(|rid| rid.len() > RID_LEN_MAX)
    {
        return Err(unprocessable(&ChoiceRefused::NoSuchStream.to_string()));
    }
    let spatial = [asked.spatial_layer_id, asked.max_spatial_layer_id];
    let temporal = [asked.temporal_layer_id, asked.max_temporal_layer_id];
    let choice = Choice {
        rid: asked.rid,
        spatial_layer_max: spatial.into_iter().flatten().min(),
        temporal_layer_max: temporal.into_iter().flatten().min(),
        width_max: asked.max_width,
        height_max: asked.max_height,
    };
    let chosen = shared.hall.choose(&participant, mid, choice).await;
    let chosen = chosen.ok_or_else(|| busy("the server is busy"))?;
    chosen.map_err(|refused| match refused {
        ChoiceRefused::Gone => no_session(),
        ChoiceRefused::NoSuchLine | ChoiceRefused::NoSuchStream => {
            unprocessable(&refused.to_string())
        }
    })
}

/// Makes streams of events.
async fn streams(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(remote): ConnectInfo<SocketAddr>,
    Path((room, id)): Path<(String, String)>,
    method: Method,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let cross = match allowed_origin(&shared, remote, &headers) {
        Ok(cross) => cross,
        Err(response) => return response,
    };
    if let Some(response) = too_many(&shared, remote, &method, &headers) {
        return cross.applied(response);
    }
    let accepts = HeaderName::from_static("accept-post");
    let response = match method {
        Method::OPTIONS => options("POST, OPTIONS", accepts, JSON),
        Method::POST => match opened(&shared, &room, &id, &headers, &body) {
            Ok(response) | Err(response) => response,
        },
        _ => not_allowed("POST, OPTIONS"),
    };
    cross.applied(response)
}

#[expect(clippy::result_large_err, reason = "the answer itself, made once")]
fn opened(
    shared: &Shared,
    room: &str,
    id: &str,
    headers: &HeaderMap,
    body: &Bytes,
) -> Result<Response, Response> {
    admission(shared, room, headers).map_err(IntoResponse::into_response)?;
    let names: Option<Vec<String>> = json_of(headers, body)?;
    let wanted = names.map_or(Wanted::ALL, |names| Wanted::named(&names));
    let stream = shared.sessions.open_stream(room, id, wanted);
    let stream = stream.ok_or_else(no_session)?;
    let room = super::percent_encoded(room);
    let mut response = StatusCode::CREATED.into_response();
    let place = format!("/whep/{room}/{id}/sse/{stream}");
    set(response.headers_mut(), header::LOCATION, &place);
    Ok(response)
}

/// A stream of events. An `EventSource` has no headers: who knows its name may read it.
async fn stream_of_events(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(remote): ConnectInfo<SocketAddr>,
    Path((room, id, stream)): Path<(String, String, String)>,
    method: Method,
    headers: HeaderMap,
) -> Response {
    let cross = match allowed_origin(&shared, remote, &headers) {
        Ok(cross) => cross,
        Err(response) => return response,
    };
    if let Some(response) = too_many(&shared, remote, &method, &headers) {
        return cross.applied(response);
    }
    let response = match method {
        Method::OPTIONS => {
            let allow = [(header::ALLOW, "GET, DELETE, OPTIONS")];
            (StatusCode::NO_CONTENT, allow).into_response()
        }
        Method::DELETE => match shared.sessions.close_stream(&room, &id, &stream) {
            true => StatusCode::OK.into_response(),
            false => no_session(),
        },
        Method::GET => match shared.sessions.read_stream(&room, &id, &stream) {
            Some(reading) => Reader::new(shared, (room, id, stream), reading).into_response(),
            None => no_session(),
        },
        _ => not_allowed("GET, DELETE, OPTIONS"),
    };
    cross.applied(response)
}

/// Looks from time to time, and tells what has changed.
struct Reader {
    shared: Arc<Shared>,
    room: String,
    id: String,
    stream: String,
    reading: Reading,
    looks: u32,
    told: Told,
    events: VecDeque<Event>,
    has_ended: bool,
}

/// What was told last.
#[derive(Debug, Default)]
struct Told {
    is_live: bool,
    viewers: Option<usize>,
    layers: Option<Value>,
    /// The same without what changes all the time.
    lasting: Option<Value>,
}

impl Reader {
    fn new(shared: Arc<Shared>, names: (String, String, String), reading: Reading) -> Self {
        let (room, id, stream) = names;
        Self {
            shared,
            room,
            id,
            stream,
            reading,
            looks: 0,
            told: Told::default(),
            events: VecDeque::new(),
            has_ended: false,
        }
    }

    fn into_response(self) -> Response {
        let events = stream::unfold(self, |mut reader| async {
            let event = reader.next().await?;
            Some((Ok::<_, Infallible>(event), reader))
        });
        let mut response = Sse::new(events)
            .keep_alive(KeepAlive::default())
            .into_response();
        // A proxy that waits for the end of it would wait for the end of the broadcast.
        let buffering = HeaderName::from_static("x-accel-buffering");
        set(response.headers_mut(), buffering, "no");
        response
    }

    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Some(event);
            }
            if self.has_ended {
                return None;
            }
            if self.looks > 0 {
                tokio::time::sleep(LOOK_EVERY).await;
            }
            self.look().await;
            self.looks = self.looks.wrapping_add(1).max(1);
        }
    }

    async fn look(&mut self) {
        let sessions = &self.shared.sessions;
        if !sessions.reads(&self.room, &self.id, &self.stream, self.reading.reader) {
            self.has_ended = true;
            return;
        }
        let viewers = sessions.viewers(&self.room);
        if !self.shared.ready.load(Ordering::Relaxed) {
            // Another server, or this one once it is back, has the room.
            self.has_ended = true;
            return self.tell(self.reading.wanted.reconnect, "reconnect", &json!({}));
        }
        let Some(playing) = self.shared.hall.playing(&self.reading.participant).await else {
            return;
        };
        if playing.is_live != self.told.is_live {
            self.told.is_live = playing.is_live;
            let (wanted, name) = match playing.is_live {
                true => (self.reading.wanted.active, "active"),
                false => (self.reading.wanted.inactive, "inactive"),
            };
            self.tell(wanted, name, &json!({}));
        }
        self.tell_layers(&playing);
        if self.told.viewers.replace(viewers) != Some(viewers) {
            let count = json!({ "viewercount": viewers });
            self.tell(self.reading.wanted.viewer_count, "viewercount", &count);
        }
    }

    fn tell_layers(&mut self, playing: &Playing) {
        let layers = layers(playing, &self.reading.lines);
        let lasting = lasting(layers.clone());
        let is_due = self.looks.is_multiple_of(RATES_EVERY);
        let has_changed = self.told.lasting.as_ref() != Some(&lasting)
            || (is_due && self.told.layers.as_ref() != Some(&layers));
        // Before there is something, nothing is said of it.
        let is_news = has_changed && (self.told.layers.is_some() || !is_empty(&layers));
        if is_news {
            self.tell(self.reading.wanted.layers, "layers", &layers);
            self.told.lasting = Some(lasting);
            self.told.layers = Some(layers);
        }
    }

    fn tell(&mut self, wanted: bool, name: &str, data: &Value) {
        if wanted {
            let event = Event::default().event(name).data(data.to_string());
            self.events.push_back(event);
        }
    }
}

/// The layers of each line, by its place in the description.
fn layers(playing: &Playing, lines: &[(usize, String)]) -> Value {
    let place = |mid: &str| lines.iter().find(|(_, own)| own == mid).map(|own| own.0);
    let all = playing.lines.iter().filter_map(|line| {
        let layers = serde_json::to_value(&line.layers).ok()?;
        Some((place(&line.mid)?.to_string(), layers))
    });
    Value::Object(all.collect())
}

/// Without what changes all the time: the rates, but for whether there is one.
fn lasting(mut layers: Value) -> Value {
    let lines = layers.as_object_mut().into_iter().flat_map(Map::values_mut);
    let all = lines.filter_map(Value::as_array_mut).flatten();
    for rate in all.filter_map(|layer| layer.get_mut("bitrate")) {
        *rate = Value::Bool(true);
    }
    layers
}

fn is_empty(layers: &Value) -> bool {
    let mut lines = layers.as_object().into_iter().flat_map(Map::values);
    lines.all(|line| line.as_array().is_none_or(Vec::is_empty))
}

/// The JSON in a body; `None` where there is none.
#[expect(clippy::result_large_err, reason = "the answer itself, made once")]
fn json_of<T: for<'a> Deserialize<'a>>(
    headers: &HeaderMap,
    body: &Bytes,
) -> Result<Option<T>, Response> {
    if body.is_empty() {
        return Ok(None);
    }
    if !is_of_type(headers, JSON) {
        let accepts = [(HeaderName::from_static("accept-post"), JSON)];
        let why = "the body is application/json\n";
        return Err((StatusCode::UNSUPPORTED_MEDIA_TYPE, accepts, why).into_response());
    }
    serde_json::from_slice(body)
        .map(Some)
        .map_err(|error| bad_request(&error.to_string()))
}
