//! A conference with a hall at its door: who comes by a WebSocket, loses it, comes back, and is shown
//! out.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use serde_json::value::RawValue;
use serde_json::{Value, json};
use twocan_proto::contract::Output;
use twocan_proto::random::Random;
use twocan_room::forward;
use twocan_room::{
    Act, Admission, Config, ConnectionId, Event, Hall, MediaEvent, OwnUrls, Protocol,
};
use twocan_sim::{LinkConfig, NatConfig};

use super::oracle::Oracle;
use super::{Conference, Layered, SIGNALING};

/// Frames that a client keeps until the server says that it has them.
const KEPT_MAX: usize = 500;

/// Who comes, and how.
#[derive(Debug, Clone)]
pub struct Coming {
    /// The room.
    pub room: String,
    /// To it and from it.
    pub link: LinkConfig,
    /// Between it and the world.
    pub nat: Option<NatConfig>,
    /// Whether it sends sound, and whether pictures.
    pub sends: [bool; 2],
    /// The layers of its pictures, in the place of several streams.
    pub layers_within: Option<Layered>,
    /// As whom it is let in.
    pub admission: Admission,
    /// Whether it has data channels.
    pub talks: bool,
}

/// A participant's place in the room, as it knows of it.
#[derive(Debug)]
pub struct Seat {
    /// The room.
    pub room: String,
    /// Its WebSocket, while it has one.
    connection: Option<ConnectionId>,
    pub(super) admission: Admission,
    token: String,
    received: u64,
    sent: u64,
    kept: VecDeque<(u64, String)>,
    /// Since when it is in the room.
    pub since: Option<Duration>,
    /// Whether it was told that it has to wait.
    pub waits: bool,
    /// Why it is not, or no more.
    pub reason: Option<String>,
    /// Who else is there, by what it was told.
    pub others: BTreeSet<String>,
    /// What was refused to it.
    pub refused: Vec<String>,
}

/// One whom nobody invited, who says what it likes.
#[derive(Debug, Default)]
pub struct Stranger {
    connection: Option<ConnectionId>,
    /// What it was told last.
    pub heard: String,
    /// Whether it was shown out.
    pub is_closed: bool,
}

#[derive(Debug, Clone, Copy)]
enum Client {
    Attendee(usize),
    Stranger(usize),
}

/// What is on its way between a client and the hall.
#[derive(Debug)]
enum Post {
    Said(ConnectionId, String),
    Broken(ConnectionId),
    Told(ConnectionId, String),
    Closed(ConnectionId, &'static str),
}

/// The hall, and what is on its way to it and from it.
#[derive(Debug)]
pub(super) struct Desk {
    hall: Hall,
    posts: VecDeque<(Duration, Post)>,
    clients: BTreeMap<ConnectionId, Client>,
    strangers: Vec<Stranger>,
    next: u64,
    /// When the hall is to be looked at again.
    wants_at: Option<Duration>,
}

impl Conference {
    /// An empty server with a hall.
    pub fn with_hall(seed: u64, config: Config, adjust: impl FnOnce(&mut forward::Config)) -> Self {
        let mut conference = Self::new(seed, adjust);
        let mut secret = [9; 32];
        secret[..8].copy_from_slice(&seed.to_le_bytes());
        conference.desk = Some(Box::new(Desk {
            hall: Hall::new(config, Random::new(secret)),
            posts: VecDeque::new(),
            clients: BTreeMap::new(),
            strangers: Vec::new(),
            next: 0,
            wants_at: None,
        }));
        conference.oracle = Some(Box::new(Oracle::new()));
        conference
    }

    /// The hall, to look at.
    pub fn hall(&self) -> &Hall {
        let desk = self.desk.as_ref();
        desk.map_or_else(|| unreachable!("there is no hall"), |own| &own.hall)
    }

    fn desk(&mut self) -> &mut Desk {
        let desk = self.desk.as_mut();
        desk.unwrap_or_else(|| unreachable!("there is no hall"))
    }

    /// Somebody's place, to look at.
    pub fn seat(&self, index: usize) -> &Seat {
        let seat = self.attendees[index].seat.as_ref();
        seat.unwrap_or_else(|| unreachable!("{index} came without a hall"))
    }

    fn seat_mut(&mut self, index: usize) -> &mut Seat {
        let seat = self.attendees[index].seat.as_mut();
        seat.unwrap_or_else(|| unreachable!("{index} came without a hall"))
    }

    /// Somebody comes to the door: it is in once the hall has said so.
    pub fn come(&mut self, coming: Coming) -> usize {
        let [sound, picture] = coming.sends;
        let way = (coming.link, coming.nat);
        let index = self.arrive_as(way, sound || picture, coming.layers_within, |_| {});
        // Lines are made for both; what it does not send stays silent on its line.
        let own = &mut self.attendees[index];
        own.sound = own.sound.filter(|_| sound);
        own.picture = own.picture.filter(|_| picture);
        own.seat = Some(Seat {
            room: coming.room,
            connection: None,
            admission: coming.admission,
            token: String::new(),
            received: 0,
            sent: 0,
            kept: VecDeque::new(),
            since: None,
            waits: false,
            reason: None,
            others: BTreeSet::new(),
            refused: Vec::new(),
        });
        self.note_arrival(index, &coming.link);
        if coming.talks {
            self.create_channels(index);
        }
        self.connect(index);
        let join = json!({"event": "join", "data": {"name": format!("p{index}")}});
        self.post_to_hall(index, join.to_string());
        index
    }

    fn connect(&mut self, index: usize) {
        let seat = self.seat(index);
        let (room, admission) = (seat.room.clone(), seat.admission.clone());
        let connection = self.open(&room, admission, Client::Attendee(index));
        self.seat_mut(index).connection = Some(connection);
    }

    fn open(&mut self, room: &str, admission: Admission, client: Client) -> ConnectionId {
        let now = self.world.now();
        let desk = self.desk();
        desk.next += 1;
        let connection = ConnectionId(desk.next);
        desk.clients.insert(connection, client);
        let own = OwnUrls::default();
        desk.hall
            .connected(now, connection, room, Protocol::V1, own, admission);
        self.drain_hall();
        connection
    }

    fn post(&mut self, post: Post) {
        let at = self.world.elapsed() + SIGNALING;
        self.desk().posts.push_back((at, post));
    }

    fn post_to_hall(&mut self, index: usize, text: String) {
        if let Some(connection) = self.seat(index).connection {
            self.post(Post::Said(connection, text));
        }
    }

    /// Somebody says something by its WebSocket, or keeps it until it has another one.
    pub fn say_to_hall(&mut self, index: usize, event: &str, to: Option<&str>, data: &Value) {
        let seat = self.seat_mut(index);
        if seat.reason.is_some() {
            return;
        }
        seat.sent += 1;
        let mut frame = json!({"event": event, "data": data, "seq": seat.sent});
        match to {
            Some("all") => frame["to"] = "all".into(),
            Some(to) => frame["to"] = json!([to]),
            None => {}
        }
        let text = frame.to_string();
        seat.kept.push_back((seat.sent, text.clone()));
        if seat.kept.len() > KEPT_MAX {
            seat.kept.pop_front();
        }
        self.post_to_hall(index, text);
    }

    /// Somebody's WebSocket breaks: what is on its way on it is lost.
    pub fn cut(&mut self, index: usize) {
        let Some(connection) = self.seat_mut(index).connection.take() else {
            return;
        };
        let desk = self.desk();
        desk.clients.remove(&connection);
        desk.posts.retain(|(_, post)| match post {
            Post::Said(own, _) | Post::Broken(own) => *own != connection,
            Post::Told(own, _) | Post::Closed(own, _) => *own != connection,
        });
        self.post(Post::Broken(connection));
    }

    /// Somebody who has lost its WebSocket opens another one and goes on.
    pub fn resume(&mut self, index: usize) {
        let seat = self.seat(index);
        if seat.connection.is_some() || seat.reason.is_some() || seat.since.is_none() {
            return;
        }
        let data = json!({"token": seat.token, "seq": seat.received});
        self.connect(index);
        let text = json!({"event": "resume", "data": data}).to_string();
        self.post_to_hall(index, text);
    }

    /// Whether somebody has a WebSocket.
    pub fn has_socket(&self, index: usize) -> bool {
        self.seat(index).connection.is_some()
    }

    /// Somebody goes, and says so.
    pub fn depart(&mut self, index: usize) {
        self.say_to_hall(index, "leave", None, &json!({}));
        self.shown_out(index, "left");
    }

    /// An operator does something.
    ///
    /// # Errors
    /// As of [`Hall::act`].
    pub fn act(&mut self, room: &str, act: &Act) -> Result<(), twocan_room::ActError> {
        let now = self.world.now();
        let done = self.desk().hall.act(now, room, act);
        self.drain_hall();
        done
    }

    /// One whom nobody invited opens a WebSocket.
    pub fn intrude(&mut self, room: &str) -> usize {
        let stranger = self.desk().strangers.len();
        self.desk().strangers.push(Stranger::default());
        let client = Client::Stranger(stranger);
        let connection = self.open(room, Admission::default(), client);
        self.desk().strangers[stranger].connection = Some(connection);
        stranger
    }

    /// It says something.
    pub fn stranger_says(&mut self, stranger: usize, text: String) {
        if let Some(connection) = self.desk().strangers[stranger].connection {
            self.post(Post::Said(connection, text));
        }
    }

    /// One whom nobody invited, to look at.
    pub fn stranger(&self, stranger: usize) -> &Stranger {
        let desk = self.desk.as_ref();
        desk.map_or_else(|| unreachable!("no hall"), |own| &own.strangers[stranger])
    }

    /// What the forwarder says to somebody goes by the hall.
    pub(super) fn tell_by_hall(&mut self, participant: &str, event: &str, data: &RawValue) {
        self.desk().hall.tell(participant, event, data);
        self.drain_hall();
    }

    /// When something arrives by a WebSocket, or the hall has something to do.
    pub(super) fn hall_wants_at(&self) -> Option<Duration> {
        let desk = self.desk.as_ref()?;
        let posts = desk.posts.front().map(|(at, _)| *at);
        posts.into_iter().chain(desk.wants_at).min()
    }

    pub(super) fn deliver_at_hall(&mut self) {
        if self.desk.is_none() {
            return;
        }
        let elapsed = self.world.elapsed();
        let now = self.world.now();
        if self.desk().wants_at.is_some_and(|at| at <= elapsed) {
            self.desk().hall.handle_timeout(now);
            self.drain_hall();
        }
        while self
            .desk()
            .posts
            .front()
            .is_some_and(|(at, _)| *at <= elapsed)
        {
            let Some((_, post)) = self.desk().posts.pop_front() else {
                return;
            };
            match post {
                Post::Said(connection, text) => {
                    self.desk().hall.handle_text(now, connection, &text);
                    let client = self.desk().clients.get(&connection).copied();
                    if let Some(Client::Attendee(index)) = client
                        && text.contains(r#""event":"track""#)
                    {
                        self.note_announced(index);
                    }
                }
                Post::Broken(connection) => self.desk().hall.disconnected(now, connection),
                Post::Told(connection, text) => self.told(connection, &text),
                Post::Closed(connection, reason) => self.closed(connection, reason),
            }
            self.drain_hall();
        }
    }

    /// Does what the hall wants.
    fn drain_hall(&mut self) {
        let began = self.world.now().monotonic;
        let elapsed = self.world.elapsed();
        loop {
            match self.desk().hall.poll_output() {
                Output::Event(event) => self.take_of_hall(event),
                Output::Wait(deadline) => {
                    let wait = deadline.map(|own| own.at.saturating_duration_since(began));
                    self.desk().wants_at = wait.map(|own| elapsed + own);
                    return;
                }
                Output::Transmit | Output::Request(_) => unreachable!("a hall has no sockets"),
            }
        }
    }

    fn take_of_hall(&mut self, event: Event) {
        match event {
            Event::Send { connection, text } => self.post(Post::Told(connection, text)),
            Event::Close {
                connection, reason, ..
            } => self.post(Post::Closed(connection, reason)),
            Event::Media(event) => self.server(|server, now| match event {
                MediaEvent::Joined { room, participant } => server.join(now, &room, &participant),
                MediaEvent::Left { participant } => server.leave(now, &participant),
                MediaEvent::Permitted {
                    participant,
                    permissions,
                } => server.permit(now, &participant, &permissions),
                MediaEvent::Codecs { room, video_codecs } => {
                    server.set_video_codecs(&room, video_codecs);
                }
                MediaEvent::Signal {
                    participant,
                    event,
                    data,
                } => server.handle_signal(now, &participant, &event, &data),
            }),
            Event::Token(shown) => {
                let now = self.world.now();
                let refused = Err("no tokens here".to_owned());
                self.desk().hall.renew(now, &shown, refused);
            }
            Event::Notice(notice) => self.note_notice(&notice),
            Event::Moderated(_) => {}
        }
    }

    fn told(&mut self, connection: ConnectionId, text: &str) {
        match self.desk().clients.get(&connection).copied() {
            Some(Client::Attendee(index)) => self.told_attendee(index, text),
            Some(Client::Stranger(stranger)) => {
                self.desk().strangers[stranger].heard = text.to_owned();
            }
            None => {}
        }
    }

    fn told_attendee(&mut self, index: usize, text: &str) {
        if self.attendees[index].is_gone {
            return;
        }
        let frame: Value = serde_json::from_str(text).unwrap_or_default();
        if let Some(seq) = frame["seq"].as_u64() {
            let seat = self.seat_mut(index);
            if seq <= seat.received {
                return;
            }
            let expected = seat.received + 1;
            seat.received = seq;
            if seq != expected {
                self.fault(format!("{index} was told {seq}, and not {expected}"));
            }
        }
        let data = &frame["data"];
        let event = frame["event"].as_str().unwrap_or_default();
        match event {
            "authenticated" => self.is_in(index, data),
            "waiting" => self.seat_mut(index).waits = true,
            "resumed" => self.is_back(index, data),
            "error" => self.was_refused(index, data),
            "kicked" => self.shown_out(index, &format!("kicked {}", data["reason"])),
            "joined" | "left" => {
                let peer = data["peer_id"].as_str().unwrap_or_default().to_owned();
                let others = &mut self.seat_mut(index).others;
                match event {
                    "joined" => others.insert(peer),
                    _ => others.remove(&peer),
                };
            }
            "offer" | "answer" => self.described(index, &data.to_string()),
            "forward" | "speakers" | "quality" | "layers" => {
                self.heard(index, event, &data.to_string());
            }
            _ => {}
        }
    }

    fn is_in(&mut self, index: usize, data: &Value) {
        let at = self.world.elapsed();
        let text = |key: &str| data[key].as_str().unwrap_or_default().to_owned();
        self.attendees[index].name = text("peer_id");
        let seat = self.seat_mut(index);
        seat.token = text("resume_token");
        seat.since = Some(at);
        seat.waits = false;
        let others = data["peers"].as_array().into_iter().flatten();
        let ids = others.filter_map(|own| own["id"].as_str());
        seat.others = ids.map(str::to_owned).collect();
        self.note_entry(index);
        self.announce(index, "publish");
        self.offer(index);
    }

    /// Somebody says what it sends, or that it has muted or unmuted it.
    pub fn announce(&mut self, index: usize, action: &str) {
        let own = &self.attendees[index];
        let muted = action == "mute";
        let what = [
            (own.sound.is_some(), "sound", "audio", "microphone"),
            (own.picture.is_some(), "picture", "video", "camera"),
        ];
        for (sends, stream, kind, source) in what {
            if sends {
                let track = json!({"id": format!("{stream}-{index}"), "kind": kind, "muted": muted,
                    "source": source, "stream": format!("{stream}-{index}")});
                let data = json!({"action": action, "track": track});
                self.say_to_hall(index, "track", None, &data);
            }
        }
    }

    fn is_back(&mut self, index: usize, data: &Value) {
        let seat = self.seat_mut(index);
        let received = data["received"].as_u64().unwrap_or(0);
        seat.token = data["resume_token"].as_str().unwrap_or_default().to_owned();
        let first = seat.kept.front().map_or(seat.sent + 1, |(seq, _)| *seq);
        let misses_some = first > received + 1;
        seat.kept.retain(|(seq, _)| *seq > received);
        let again: Vec<String> = seat.kept.iter().map(|(_, text)| text.clone()).collect();
        if misses_some {
            self.fault(format!(
                "{index} said {first} and later, the hall has {received}"
            ));
        }
        for text in again {
            self.post_to_hall(index, text);
        }
    }

    fn was_refused(&mut self, index: usize, data: &Value) {
        let description = data["description"].as_str().unwrap_or_default();
        if matches!(description, "Could not resume" | "Could not join room") {
            self.shown_out(index, &data.to_string());
            // Who went on listening would be joined anew after a while.
            return self.cut(index);
        }
        self.seat_mut(index).refused.push(data.to_string());
    }

    fn closed(&mut self, connection: ConnectionId, reason: &'static str) {
        match self.desk().clients.remove(&connection) {
            Some(Client::Attendee(index)) if self.seat(index).connection == Some(connection) => {
                self.seat_mut(index).connection = None;
                self.shown_out(index, reason);
            }
            Some(Client::Stranger(stranger)) => {
                let own = &mut self.desk().strangers[stranger];
                own.connection = None;
                own.is_closed = true;
            }
            Some(Client::Attendee(_)) | None => {}
        }
    }

    /// Somebody is not in the room any more, and knows why.
    fn shown_out(&mut self, index: usize, reason: &str) {
        let seat = self.seat_mut(index);
        seat.reason.get_or_insert_with(|| reason.to_owned());
        if !std::mem::replace(&mut self.attendees[index].is_gone, true) {
            self.peer_mut(index, |peer, now| peer.close(now));
        }
    }
}
