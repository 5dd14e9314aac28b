//! The task of a room: one WebSocket after another, and everyone in the room.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};
use tokio_tungstenite::tungstenite::Message;
use twocan_io::clock;
use twocan_proto::negotiate::Kind;
use twocan_proto::random::Random;

use self::shape::SFU;
use super::address::Address;
use super::backoff::backoff;
use super::chat::ChatMessage;
use super::data::{self, OUTGOING_MAX, Spoken};
use super::error::{CloseReason, JoinError};
use super::messages::{
    Authenticated, PeerInfo, Publication, SERVER_ID, ServerFrame, ServerInfo, Source, To,
    TrackChange,
};
use super::negotiation::{Negotiation, Signal, until};
use super::peer::RoomPeer;
use super::room::RoomEvent;
use super::seal::RoomSeal;
use super::session::{Read, Session, not_admitted};
use super::socket::{self, CONNECT_WITHIN, Socket};
use super::ways::Ways;
use crate::configuration::Configuration;
use crate::ice_server::Servers;
use crate::peer_connection::PeerConnection;

mod said;
mod shape;

/// A text `ping` goes out this often.
const PING_EVERY: Duration = Duration::from_secs(15);

/// Without a `pong` for this long the connection is gone.
const PONG_WITHIN: Duration = Duration::from_secs(10);

/// Frames of one participant that wait for its task; further ones are dropped. A description
/// brings some dozens of candidates.
const SIGNALS_MAX: usize = 256;

/// Participants of a room; further ones are not met. The server allows 16 by default.
const PEERS_MAX: usize = 256;

/// How long leaving waits for the WebSocket to take the last frames.
const LEAVE_WITHIN: Duration = Duration::from_secs(2);

/// What this side sends.
pub(super) type Lines = BTreeMap<Source, Publication>;

type Tls = Option<Arc<rustls::ClientConfig>>;
type Opened = Result<(Socket, bool), JoinError>;

/// What the task is asked to do.
#[derive(Debug)]
pub(super) enum Command {
    Signal {
        event: &'static str,
        data: Value,
        to: String,
    },
    Publish(Vec<Source>),
    /// Something in the chat, to everybody.
    Say(ChatMessage),
    /// The connection with somebody is up.
    Up(RoomPeer),
    Leave(oneshot::Sender<()>),
}

struct Entry {
    peer: RoomPeer,
    /// Whether its connection was up.
    is_up: bool,
    signals: mpsc::Sender<Signal>,
}

pub(super) struct Task {
    session: Session,
    address: (Address, Tls),
    configuration: Configuration,
    lines: Lines,
    seal: Option<RoomSeal>,
    commands: mpsc::WeakSender<Command>,
    commands_in: mpsc::Receiver<Command>,
    events: mpsc::Sender<RoomEvent>,
    random: Random,
    own_id: String,
    /// Whether media goes through the server, which is the only peer then, but while the room moves.
    is_forwarded: bool,
    /// Whether the server is to be told when the connections of the room's new shape are up.
    settles: bool,
    ice_servers: Vec<ServerInfo>,
    peers: BTreeMap<String, Entry>,
    ways: Ways,
    socket: Option<Socket>,
    attempt: u32,
    ping_at: Option<Instant>,
    pong_by: Option<Instant>,
}

/// Whether the task goes on.
type Outcome = Result<(), CloseReason>;

/// A publication for each source, with ids of its own.
pub(super) fn lines(sources: &[Source], random: &mut Random) -> Lines {
    let publication = |source: &Source| {
        let kind = match source.kind() {
            Kind::Audio => "audio",
            Kind::Video => "video",
        };
        let mut id = || random.ice_chars(22).replace(['+', '/'], "-");
        let publication = Publication {
            id: id(),
            kind: kind.to_owned(),
            source: *source,
            stream: id(),
            muted: false,
        };
        (*source, publication)
    };
    sources.iter().map(publication).collect()
}

impl Task {
    pub(super) fn new(
        session: Session,
        address: (Address, Tls),
        configuration: Configuration,
        (lines, seal): (Lines, Option<RoomSeal>),
        commands: (mpsc::Sender<Command>, mpsc::Receiver<Command>),
        events: mpsc::Sender<RoomEvent>,
    ) -> Self {
        Self {
            session,
            address,
            configuration,
            lines,
            seal,
            commands: commands.0.downgrade(),
            commands_in: commands.1,
            events,
            random: Random::new(clock::seed()),
            own_id: String::new(),
            is_forwarded: false,
            settles: false,
            ice_servers: Vec::new(),
            peers: BTreeMap::new(),
            ways: Ways::default(),
            socket: None,
            attempt: 0,
            ping_at: None,
            pong_by: None,
        }
    }

    /// By which connections something goes, also while this task waits.
    pub(super) fn ways(&self) -> Ways {
        self.ways.clone()
    }

    /// The first connection, up to `authenticated`.
    pub(super) async fn join(mut self) -> Result<(String, Self), JoinError> {
        let (address, tls) = &self.address;
        let (socket, is_base) = socket::open(address, tls.clone()).await?;
        self.greet(socket, is_base).await;
        let greeting = async {
            while let Some(Ok(message)) = next(&mut self.socket).await {
                let Message::Text(text) = message else {
                    continue;
                };
                match self.session.read(text.as_str()) {
                    Read::Authenticated { data, .. } => return Ok(data),
                    Read::NotAdmitted(details) => return Err(not_admitted(details)),
                    Read::Closed(reason) => {
                        return Err(JoinError::NotAdmitted(reason.to_string()));
                    }
                    _ => {}
                }
            }
            let reason = "the connection was closed before the room was joined";
            Err(JoinError::Unreachable(reason.into()))
        };
        let data = match tokio::time::timeout(CONNECT_WITHIN, greeting).await {
            Ok(outcome) => outcome?,
            Err(_) => return Err(JoinError::NoAnswer(CONNECT_WITHIN.as_secs())),
        };
        // A server that names what nobody can use should be known now.
        Servers::of(&self.configuration.ice_servers)?;
        let id = data.peer_id.clone();
        self.joined(data).await;
        Ok((id, self))
    }

    pub(super) async fn run(mut self) {
        let reason = self.run_until_over().await;
        let ids: Vec<String> = self.peers.keys().cloned().collect();
        for id in ids {
            self.forget(&id).await;
        }
        if let Some(mut socket) = self.socket.take() {
            let _ = tokio::time::timeout(LEAVE_WITHIN, socket.close(None)).await;
        }
        match reason {
            Over::Left(done) => {
                if let Some(done) = done {
                    let _ = done.send(());
                }
            }
            Over::Closed(reason) => {
                let _ = self.events.send(RoomEvent::Closed(reason)).await;
            }
        }
    }

    async fn run_until_over(&mut self) -> Over {
        let mut opening = None;
        loop {
            if self.socket.is_none() && opening.is_none() {
                opening = Some(Box::pin(self.open_again()));
            }
            let outcome = tokio::select! {
                message = next(&mut self.socket), if self.socket.is_some() => {
                    self.received(message).await
                }
                opened = finished(&mut opening), if opening.is_some() => {
                    opening = None;
                    match opened {
                        Ok((socket, is_base)) => self.greet(socket, is_base).await,
                        Err(error) => tracing::info!(%error, "not reconnected"),
                    }
                    Ok(())
                }
                command = self.commands_in.recv() => match command {
                    Some(Command::Leave(done)) => {
                        self.send("leave", &Value::Null, None).await;
                        return Over::Left(Some(done));
                    }
                    // The application let go of the room.
                    None => {
                        self.send("leave", &Value::Null, None).await;
                        return Over::Left(None);
                    }
                    Some(command) => {
                        self.act(command).await;
                        Ok(())
                    }
                },
                () = until(self.ping_at), if self.socket.is_some() => {
                    self.ping().await;
                    Ok(())
                }
                () = until(self.pong_by), if self.socket.is_some() => {
                    self.lost().await;
                    Ok(())
                }
            };
            if let Err(reason) = outcome {
                return Over::Closed(reason);
            }
        }
    }

    /// Waits a little and connects again.
    fn open_again(&mut self) -> impl Future<Output = Opened> + Send + 'static {
        let wait = backoff(self.attempt, &mut self.random);
        self.attempt = self.attempt.saturating_add(1);
        let (address, tls) = self.address.clone();
        async move {
            tokio::time::sleep(wait).await;
            socket::open(&address, tls).await
        }
    }

    async fn greet(&mut self, socket: Socket, is_base: bool) {
        self.socket = Some(socket);
        self.ping_at = Some(Instant::now() + PING_EVERY);
        // What does not greet in time is as good as silent.
        self.pong_by = Some(Instant::now() + CONNECT_WITHIN);
        if let Some(text) = self.session.opened(is_base) {
            self.send_text(text).await;
        }
    }

    async fn received(
        &mut self,
        message: Option<Result<Message, tokio_tungstenite::tungstenite::Error>>,
    ) -> Outcome {
        let text = match message {
            Some(Ok(Message::Text(text))) => text,
            Some(Ok(Message::Close(_)) | Err(_)) | None => {
                self.lost().await;
                return Ok(());
            }
            Some(Ok(_)) => return Ok(()),
        };
        if text.as_str() == "pong" {
            self.pong_by = None;
            return Ok(());
        }
        match self.session.read(text.as_str()) {
            Read::Nothing => {}
            Read::Frame(frame) => self.frame(frame).await,
            Read::Authenticated { data, again } => {
                if again {
                    self.tell(RoomEvent::JoinedAnew).await;
                    let ids: Vec<String> = self.peers.keys().cloned().collect();
                    for id in ids {
                        self.forget(&id).await;
                    }
                }
                self.joined(data).await;
            }
            Read::Resumed { data, resend } => {
                self.connected();
                self.ice_servers = data.ice_servers;
                for text in resend {
                    self.send_text(text).await;
                }
                self.tell(RoomEvent::Resumed).await;
            }
            Read::JoinAnew(text) => self.send_text(text).await,
            Read::StartOver(text) => {
                self.send_text(text).await;
                self.lost().await;
            }
            Read::GoneAway => self.lost().await,
            Read::NotAdmitted(details) => return Err(CloseReason::NotAdmitted(details)),
            Read::Closed(reason) => return Err(reason),
        }
        Ok(())
    }

    async fn joined(&mut self, data: Authenticated) {
        self.connected();
        self.own_id = data.peer_id;
        self.ice_servers = data.ice_servers;
        let publications: Vec<Publication> = self.lines.values().cloned().collect();
        for publication in publications {
            self.announce("publish", publication).await;
        }
        self.settles = false;
        self.is_forwarded = data.topology == SFU;
        self.ways.begin(&self.own_id, self.is_forwarded);
        if self.is_forwarded {
            return self.meet(PeerInfo::server(), true).await;
        }
        for info in data.peers {
            self.meet(info, false).await;
        }
    }

    fn connected(&mut self) {
        self.attempt = 0;
        self.pong_by = None;
    }

    async fn lost(&mut self) {
        self.socket = None;
        (self.ping_at, self.pong_by) = (None, None);
        self.session.lost();
        if self.attempt == 0 {
            self.tell(RoomEvent::Reconnecting).await;
        }
    }

    async fn frame(&mut self, frame: ServerFrame) {
        match frame.event.as_str() {
            // Then the only peer is the server.
            "joined" if self.is_forwarded => {}
            "joined" => {
                if let Ok(info) = serde_json::from_value::<PeerInfo>(frame.data) {
                    self.meet(info, true).await;
                }
            }
            "left" => {
                let id = frame.data.get("peer_id").and_then(Value::as_str);
                if let Some(id) = id.map(str::to_owned) {
                    self.forget(&id).await;
                }
            }
            "offer" | "answer" | "candidate" => {
                let Some(from) = frame.from else { return };
                let is_stranger = self.is_forwarded != (from == SERVER_ID);
                if is_stranger && !self.peers.contains_key(&from) {
                    return;
                }
                if frame.event == "offer" {
                    self.let_go_of_former(&from, &frame.data).await;
                }
                // On a base server, those who were there are met by their offer.
                self.meet(PeerInfo::unknown(&from), false).await;
                let Some(entry) = self.peers.get(&from) else {
                    return;
                };
                let signal = Signal::Remote {
                    event: frame.event,
                    data: frame.data,
                };
                if entry.signals.try_send(signal).is_err() {
                    tracing::warn!(peer = from, "a signal is dropped");
                }
            }
            "track" => {
                let entry = frame.from.and_then(|from| self.peers.get(&from));
                let change = serde_json::from_value::<TrackChange>(frame.data);
                if let (Some(entry), Ok(change)) = (entry, change) {
                    entry.peer.change(&change);
                    let peer = entry.peer.clone();
                    self.tell(RoomEvent::Announced { peer, change }).await;
                }
            }
            "metadata" => {
                let entry = frame.from.and_then(|from| self.peers.get(&from));
                let name = frame.data.get("name").and_then(Value::as_str);
                if let (Some(entry), Some(name)) = (entry, name) {
                    entry.peer.rename(name);
                }
            }
            "topology" => {
                if let Ok(change) = serde_json::from_value(frame.data) {
                    self.reshape(change).await;
                }
            }
            "draining" => self.tell(RoomEvent::Draining).await,
            _ => self.said(frame).await,
        }
    }

    async fn meet(&mut self, info: PeerInfo, offers: bool) {
        if self.peers.contains_key(&info.id) || self.peers.len() >= PEERS_MAX {
            return;
        }
        let Some(commands) = self.commands.upgrade() else {
            return;
        };
        let mut configuration = self.configuration.clone();
        let servers = self.ice_servers.iter().cloned().map(Into::into);
        configuration.ice_servers.extend(servers);
        let connection = match PeerConnection::new(configuration) {
            Ok(connection) => connection,
            Err(error) => return tracing::error!(%error, "no connection to a participant"),
        };
        let id = info.id.clone();
        let peer = RoomPeer::new(info, connection, self.seal.clone());
        let (signals, signals_in) = mpsc::channel(SIGNALS_MAX);
        let (outgoing, outgoing_in) = mpsc::channel(OUTGOING_MAX);
        // Those with a server are in the first offer: it is by them that others are heard.
        let spoken = (id == SERVER_ID).then(|| Spoken::open(&peer, true, &self.events));
        let spoken = spoken.transpose().unwrap_or_else(|error| {
            tracing::warn!(%error, "no data channels");
            None
        });
        let events = self.events.clone();
        tokio::spawn(data::speak(peer.clone(), spoken, outgoing_in, events));
        self.ways.add(id.clone(), outgoing);
        let negotiation = Negotiation {
            peer: peer.clone(),
            is_polite: id == SERVER_ID || self.own_id < id,
            offers,
            lines: self.lines.clone(),
            commands,
            events: self.events.clone(),
        };
        self.tell(RoomEvent::PeerJoined(peer.clone())).await;
        tokio::spawn(negotiation.run(signals_in));
        let entry = Entry {
            peer,
            is_up: false,
            signals,
        };
        self.peers.insert(id, entry);
    }

    async fn forget(&mut self, id: &str) {
        if let Some(entry) = self.peers.remove(id) {
            self.ways.remove(id);
            entry.peer.connection().close();
            self.tell(RoomEvent::PeerLeft(entry.peer)).await;
        }
    }

    async fn act(&mut self, command: Command) {
        match command {
            Command::Signal { event, data, to } => {
                // Nobody is told of those who left in the meantime.
                if self.peers.contains_key(&to) {
                    self.send(event, &data, Some(&To::Peers(vec![to]))).await;
                }
            }
            Command::Publish(sources) => self.publish(&sources).await,
            Command::Say(message) => self.say(&message).await,
            Command::Up(peer) => self.up(&peer).await,
            Command::Leave(_) => {}
        }
    }

    async fn publish(&mut self, sources: &[Source]) {
        let fresh = lines(sources, &mut self.random);
        let old = std::mem::take(&mut self.lines);
        for (source, publication) in &old {
            if !fresh.contains_key(source) {
                self.announce("unpublish", publication.clone()).await;
            }
        }
        for (source, publication) in fresh {
            match old.get(&source) {
                Some(kept) => {
                    self.lines.insert(source, kept.clone());
                }
                None => {
                    self.announce("publish", publication.clone()).await;
                    self.lines.insert(source, publication);
                }
            }
        }
        for entry in self.peers.values() {
            let _ = entry.signals.try_send(Signal::Lines(self.lines.clone()));
        }
    }

    async fn announce(&mut self, action: &str, publication: Publication) {
        if !self.session.is_base() {
            let data = json!({"action": action, "track": publication});
            self.send("track", &data, None).await;
        }
    }

    async fn ping(&mut self) {
        self.send_text("ping".into()).await;
        let now = Instant::now();
        self.ping_at = Some(now + PING_EVERY);
        self.pong_by = Some(now + PONG_WITHIN);
    }

    async fn send(&mut self, event: &str, data: &Value, to: Option<&To>) {
        if let Some(text) = self.session.push(event, data, to) {
            self.send_text(text).await;
        }
    }

    async fn send_text(&mut self, text: String) {
        let Some(socket) = &mut self.socket else {
            return;
        };
        let sending = socket.send(Message::text(text));
        let sent = tokio::time::timeout(PONG_WITHIN, sending).await;
        if !matches!(sent, Ok(Ok(()))) {
            // Reading finds the same; what was not taken is sent again after the resumption.
            self.pong_by = Some(Instant::now());
        }
    }

    async fn tell(&self, event: RoomEvent) {
        let _ = self.events.send(event).await;
    }
}

/// Why the task ends.
enum Over {
    Left(Option<oneshot::Sender<()>>),
    Closed(CloseReason),
}

async fn next(
    socket: &mut Option<Socket>,
) -> Option<Result<Message, tokio_tungstenite::tungstenite::Error>> {
    match socket {
        Some(socket) => socket.next().await,
        None => std::future::pending().await,
    }
}

async fn finished<F: Future + Unpin>(future: &mut Option<F>) -> F::Output {
    match future {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}
