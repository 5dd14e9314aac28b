//! Connecting by the videoroom of Janus: its HTTP interface, one session for each client.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use hyper::Method;
use serde_json::{Value, json};
use twocan_proto::rtp::Delivery;

use super::client::Client;
use super::publisher::Connected;
use super::whip::{REPORTS, connected, publisher};
use super::{ClientError, Shared};

/// Janus ends a session of which it hears nothing for a minute.
const KEPT_ALIVE_EVERY: Duration = Duration::from_secs(25);

/// Events that are read for one that is waited for.
const EVENTS_MAX: usize = 20;

thread_local! {
    /// The rooms that were made, and what is published there.
    static ROOMS: RefCell<BTreeMap<String, Room>> = RefCell::default();
}

#[derive(Debug, Clone)]
struct Room {
    id: u64,
    feeds: Vec<u64>,
}

/// A session with a handle of the videoroom.
struct Handle {
    shared: Rc<Shared>,
    session: u64,
    handle: u64,
}

impl Handle {
    async fn open(shared: &Rc<Shared>) -> Result<Self, ClientError> {
        let id = |reply: &Value| -> Result<u64, ClientError> {
            let id = reply.pointer("/data/id").and_then(Value::as_u64);
            id.ok_or_else(|| ClientError::Answer(reply.to_string()))
        };
        let create = json!({ "janus": "create", "transaction": "c" });
        let session = id(&shared.host.ask_json("/janus", &create).await?)?;
        let attach =
            json!({ "janus": "attach", "plugin": "janus.plugin.videoroom", "transaction": "a" });
        let path = format!("/janus/{session}");
        let handle = id(&shared.host.ask_json(&path, &attach).await?)?;
        let own = Self {
            shared: shared.clone(),
            session,
            handle,
        };
        own.keep_alive();
        Ok(own)
    }

    fn keep_alive(&self) {
        let (shared, session) = (self.shared.clone(), self.session);
        tokio::task::spawn_local(async move {
            loop {
                tokio::time::sleep(KEPT_ALIVE_EVERY).await;
                let content = json!({ "janus": "keepalive", "transaction": "k" });
                let path = format!("/janus/{session}");
                if shared.host.ask_json(&path, &content).await.is_err() {
                    return;
                }
            }
        });
    }

    async fn say(&self, body: Value, jsep: Option<Value>) -> Result<Value, ClientError> {
        let mut content = json!({ "janus": "message", "transaction": "m", "body": body });
        if let (Some(jsep), Some(content)) = (jsep, content.as_object_mut()) {
            content.insert("jsep".into(), jsep);
        }
        let path = format!("/janus/{}/{}", self.session, self.handle);
        Ok(self.shared.host.ask_json(&path, &content).await?)
    }

    /// Waits for an event that has what is looked for.
    async fn event(&self, pointer: &str) -> Result<Value, ClientError> {
        let path = format!("/janus/{}", self.session);
        for _ in 0..EVENTS_MAX {
            let answer = self.shared.host.ask(Method::GET, &path, None).await?;
            let event: Value =
                serde_json::from_str(&answer).map_err(|_| ClientError::Answer(answer.clone()))?;
            if event.pointer("/plugindata/data/error").is_some() {
                return Err(ClientError::Answer(event.to_string()));
            }
            if event.pointer(pointer).is_some() {
                return Ok(event);
            }
        }
        Err(ClientError::Answer(format!("no event with {pointer}")))
    }
}

fn text<'a>(event: &'a Value, pointer: &str) -> &'a str {
    event
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

async fn room_of(handle: &Handle, name: &str) -> Result<u64, ClientError> {
    let known = ROOMS.with_borrow(|rooms| rooms.get(name).map(|room| room.id));
    if let Some(id) = known {
        return Ok(id);
    }
    let body = json!({
        "request": "create", "publishers": 100, "videocodec": "vp8",
        "bitrate": 0, "fir_freq": 0, "notify_joining": false,
    });
    let reply = handle.say(body, None).await?;
    let id = reply
        .pointer("/plugindata/data/room")
        .and_then(Value::as_u64);
    let id = id.ok_or_else(|| ClientError::Answer(reply.to_string()))?;
    let feeds = Vec::new();
    ROOMS.with_borrow_mut(|rooms| rooms.insert(name.to_owned(), Room { id, feeds }));
    Ok(id)
}

/// Publishes what is wanted.
pub(super) async fn publish(shared: &Rc<Shared>, name: &str) -> Result<Connected, ClientError> {
    let handle = Handle::open(shared).await?;
    let room = room_of(&handle, name).await?;
    let body = json!({ "request": "join", "ptype": "publisher", "room": room });
    handle.say(body, None).await?;
    let joined = handle.event("/plugindata/data/id").await?;
    let feed = joined.pointer("/plugindata/data/id");
    let feed = feed.and_then(Value::as_u64).unwrap_or_default();
    let (mut client, lines) = publisher(shared)?;
    let sdp = client.offer().await?;
    let jsep = json!({ "type": "offer", "sdp": sdp, "trickle": false });
    handle
        .say(json!({ "request": "publish" }), Some(jsep))
        .await?;
    let answered = handle.event("/jsep/sdp").await?;
    client.accept(text(&answered, "/jsep/sdp"))?;
    let connected = connected(shared, client, &lines).await?;
    ROOMS.with_borrow_mut(|rooms| {
        if let Some(room) = rooms.get_mut(name) {
            room.feeds.push(feed);
        }
    });
    Ok(connected)
}

/// Takes all that is published in a room, on one connection.
pub(super) async fn view(shared: &Rc<Shared>, name: &str) -> Result<Client, ClientError> {
    let known = ROOMS.with_borrow(|rooms| rooms.get(name).cloned());
    let room = known.ok_or_else(|| ClientError::Answer("no such room".into()))?;
    let handle = Handle::open(shared).await?;
    let streams: Vec<Value> = room
        .feeds
        .iter()
        .map(|feed| json!({ "feed": feed }))
        .collect();
    let body =
        json!({ "request": "join", "ptype": "subscriber", "room": room.id, "streams": streams });
    handle.say(body, None).await?;
    let offered = handle.event("/jsep/sdp").await?;
    let mut client = Client::new(&shared.kit, REPORTS);
    let sdp = client.answer(text(&offered, "/jsep/sdp")).await?;
    let transceivers: Vec<_> = client
        .peer
        .transceivers()
        .iter()
        .map(|own| own.id())
        .collect();
    for transceiver in transceivers {
        client.peer.set_delivery(transceiver, Delivery::Packets);
    }
    let jsep = json!({ "type": "answer", "sdp": sdp, "trickle": false });
    handle
        .say(json!({ "request": "start" }), Some(jsep))
        .await?;
    client.connected().await?;
    Ok(client)
}
