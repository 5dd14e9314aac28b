use std::time::{Duration, Instant};

use serde_json::{Value, json};
use twocan_proto::contract::Output;
use twocan_proto::random::Random;
use twocan_proto::time::Now;

use crate::{
    Admission, CloseCode, Config, ConnectionId, Event, GuestPurpose, Hall, IceServers, Limits,
    OwnUrls, Protocol, Refusal,
};

mod by_offer;
mod chat;
mod hands;
mod order;
mod reactions;
mod safety;
mod shape;

/// A hall, its clock, and what each connection was sent.
struct Stage {
    hall: Hall,
    now: Now,
    texts: Vec<(u64, String)>,
    closed: Vec<(u64, CloseCode, &'static str)>,
    /// What the hall said beside.
    events: Vec<Event>,
}

impl Stage {
    fn new(limits: Limits) -> Self {
        let ice_servers = IceServers {
            stun: vec!["stun:a".into()],
            ..IceServers::default()
        };
        Self::of(Config {
            limits,
            ice_servers,
            ..Config::default()
        })
    }

    fn of(config: Config) -> Self {
        #[expect(clippy::disallowed_methods, reason = "an Instant has no other origin")]
        let monotonic = Instant::now();
        let now = Now {
            monotonic,
            wallclock: Duration::from_secs(1_700_000_000),
        };
        let hall = Hall::new(config, Random::new([1; 32]));
        Self {
            hall,
            now,
            texts: Vec::new(),
            closed: Vec::new(),
            events: Vec::new(),
        }
    }

    fn collect(&mut self) {
        loop {
            match self.hall.poll_output() {
                Output::Event(Event::Send { connection, text }) => {
                    self.texts.push((connection.0, text));
                }
                Output::Event(Event::Close {
                    connection,
                    code,
                    reason,
                }) => {
                    self.closed.push((connection.0, code, reason));
                }
                Output::Event(other) => self.events.push(other),
                Output::Transmit | Output::Request(_) => unreachable!("a hall has no sockets"),
                Output::Wait(_) => return,
            }
        }
    }

    fn connect(&mut self, connection: u64, protocol: Protocol) {
        self.connect_as(connection, protocol, Admission::default());
    }

    fn connect_as(&mut self, connection: u64, protocol: Protocol, admission: Admission) {
        self.hall.connected(
            self.now,
            ConnectionId(connection),
            "den",
            protocol,
            OwnUrls::default(),
            admission,
        );
        self.collect();
    }

    fn say(&mut self, connection: u64, text: &str) {
        self.hall
            .handle_text(self.now, ConnectionId(connection), text);
        self.collect();
    }

    fn lose(&mut self, connection: u64) {
        self.hall.disconnected(self.now, ConnectionId(connection));
        self.collect();
    }

    fn pass(&mut self, time: Duration) {
        self.now = self.now.at(self.now.monotonic + time);
        self.hall.handle_timeout(self.now);
        self.collect();
    }

    /// Takes what a connection was sent.
    fn heard(&mut self, connection: u64) -> Vec<Value> {
        let mut heard = Vec::new();
        self.texts.retain(|(to, text)| {
            if *to == connection {
                heard.push(serde_json::from_str(text).unwrap_or(json!(text)));
            }
            *to != connection
        });
        heard
    }

    /// Joins by `twocan.v1` as somebody, and answers the first frame.
    fn join_as(&mut self, connection: u64, name: &str, admission: Admission) -> Value {
        self.connect_as(connection, Protocol::V1, admission);
        self.say(
            connection,
            &json!({"event": "join", "data": {"name": name}}).to_string(),
        );
        self.heard(connection).remove(0)
    }

    /// Joins by `twocan.v1` and answers what `authenticated` said.
    fn join(&mut self, connection: u64, name: &str) -> Value {
        self.connect(connection, Protocol::V1);
        self.say(
            connection,
            &json!({"event": "join", "data": {"name": name}}).to_string(),
        );
        self.heard(connection).remove(0)["data"].clone()
    }
}

fn base() -> (Stage, String, String) {
    let mut stage = Stage::new(Limits::default());
    stage.connect(1, Protocol::Base);
    stage.connect(2, Protocol::Base);
    let first = stage.heard(1);
    let id = |frame: &Value| frame["data"]["peer_id"].as_str().unwrap().to_owned();
    let (a, b) = (id(&first[0]), id(&stage.heard(2)[0]));
    (stage, a, b)
}

#[test]
fn the_base_greets_in_four_keys() {
    let mut stage = Stage::new(Limits::default());
    stage.connect(1, Protocol::Base);
    let welcome = stage.heard(1).remove(0);
    let id = welcome["data"]["peer_id"].clone();
    assert_eq!(
        welcome,
        json!({"data": {"peer_id": id}, "event": "authenticated", "from": null, "to": [id]})
    );
    assert_eq!(id.as_str().unwrap().len(), 36);
    stage.connect(2, Protocol::Base);
    let new = stage.heard(2)[0]["data"]["peer_id"].clone();
    assert_eq!(
        stage.heard(1),
        [json!({"data": {"peer_id": new}, "event": "joined", "from": new, "to": "all"})]
    );
    stage.lose(2);
    assert_eq!(
        stage.heard(1),
        [json!({"data": {"peer_id": new}, "event": "left", "from": null, "to": "all"})]
    );
}

#[test]
fn frames_are_relayed_untouched_and_from_is_the_servers() {
    let (mut stage, a, b) = base();
    let odd = r#"{"sdp":"v=0\r\n","n":1.10,"big":12345678901234567890123}"#;
    stage.say(
        1,
        &format!(r#"{{"event":"offer","from":"forged","extra":1,"to":["{b}"],"data":{odd}}}"#),
    );
    let (to, text) = stage.texts.remove(0);
    assert_eq!(to, 2);
    assert_eq!(
        text,
        format!(r#"{{"data":{odd},"event":"offer","from":"{a}","to":["{b}"]}}"#)
    );
    stage.say(1, r#"{"event":"hello","to":"all"}"#);
    assert!(stage.heard(1).is_empty());
    assert_eq!(stage.heard(2)[0]["data"], Value::Null);
    stage.say(1, &json!({"event": "me", "to": [a]}).to_string());
    assert_eq!(stage.heard(1)[0]["event"], "me");
}

#[test]
fn what_is_wrong_is_told_and_the_connection_stays() {
    let (mut stage, a, _) = base();
    stage.say(1, "{nonsense");
    assert_eq!(
        stage.heard(1),
        [
            json!({"data": {"description": "Invalid JSON", "details": "{nonsense"},
            "event": "error", "from": null, "to": null})
        ]
    );
    let invalid = json!({"data": {"description": "Invalid message"},
        "event": "error", "from": null, "to": [a]});
    for text in [
        "[]",
        "1",
        "null",
        "{}",
        r#"{"event":1}"#,
        r#"{"event":"x"}"#,
        r#"{"event":"x","to":1}"#,
        r#"{"event":"x","to":"some"}"#,
        r#"{"event":"x","to":[1]}"#,
    ] {
        stage.say(1, text);
        assert_eq!(stage.heard(1), std::slice::from_ref(&invalid), "{text}");
    }
    stage.say(1, r#"{"event":"x","to":["nobody"]}"#);
    assert!(stage.texts.is_empty());
    stage.say(1, "ping");
    assert_eq!(stage.heard(1), [json!("pong")]);
    assert!(stage.closed.is_empty());
}

#[test]
fn a_full_room_says_so_and_closes() {
    let mut stage = Stage::new(Limits {
        peers_per_room: 1,
        ..Limits::default()
    });
    stage.connect(1, Protocol::Base);
    stage.connect(2, Protocol::Base);
    let refused = &stage.heard(2)[0];
    assert_eq!(
        refused["data"],
        json!({"description": "Could not join room", "details": "room_is_full"})
    );
    assert_eq!(stage.closed, [(2, CloseCode::Normal, "could_not_join")]);
    stage.lose(2);
    assert_eq!(stage.hall.peer_count(), 1);
    assert!(stage.heard(1).len() == 1, "nobody joined or left");
}

#[test]
fn version_one_gets_a_roster_servers_and_limits() {
    let mut stage = Stage::new(Limits::default());
    let first = stage.join(1, "Ada");
    assert_eq!(first["topology"], "mesh");
    assert_eq!(first["ice_servers"], json!([{"urls": ["stun:a"]}]));
    let publish = json!({"event": "track", "id": 7, "seq": 1,
        "data": {"action": "publish", "track": {"id": "t", "kind": "audio"}}});
    stage.say(1, &publish.to_string());
    let reply = stage.heard(1).remove(0);
    assert_eq!(
        (&reply["event"], &reply["id"]),
        (&json!("reply"), &json!(7))
    );
    let second = stage.join(2, "Bob");
    assert_eq!(second["peers"][0]["name"], "Ada");
    assert_eq!(
        second["peers"][0]["tracks"],
        json!([{"id": "t", "kind": "audio"}])
    );
    assert_eq!(stage.heard(1)[0]["data"]["name"], "Bob");
}

#[test]
fn a_lost_connection_resumes_with_everything_missed_in_order() {
    let mut stage = Stage::new(Limits::default());
    let ada = stage.join(1, "Ada");
    stage.join(2, "Bob");
    let to = ada["peer_id"].clone();
    stage.heard(1);
    stage.lose(1);
    for n in 0..5 {
        stage.say(
            2,
            &json!({"event": "note", "data": n, "to": [to]}).to_string(),
        );
    }
    stage.pass(Duration::from_secs(29));
    stage.connect(3, Protocol::V1);
    // Ada had heard `authenticated` and `joined`.
    let resume = json!({"event": "resume", "data": {"token": ada["resume_token"], "seq": 2}});
    stage.say(3, &resume.to_string());
    let heard = stage.heard(3);
    assert_eq!(heard[0]["event"], "resumed");
    assert_eq!(heard[0]["data"]["peer_id"], to);
    let notes: Vec<_> = heard[1..]
        .iter()
        .map(|frame| frame["data"].as_u64().unwrap())
        .collect();
    assert_eq!(notes, [0, 1, 2, 3, 4]);
    stage.pass(Duration::from_secs(100));
    assert_eq!(stage.hall.peer_count(), 2);
    // The old token is spent.
    stage.connect(4, Protocol::V1);
    stage.say(4, &resume.to_string());
    assert_eq!(stage.heard(4)[0]["data"]["details"], "unknown_token");
}

#[test]
fn a_frame_sent_again_after_a_resumption_is_acted_on_once() {
    let mut stage = Stage::new(Limits::default());
    stage.join(1, "Ada");
    stage.join(2, "Bob");
    stage.heard(1);
    let note = json!({"event": "note", "to": "all", "seq": 1}).to_string();
    stage.say(2, &note);
    stage.say(2, &note);
    assert_eq!(stage.heard(1).len(), 1);
}

#[test]
fn whoever_does_not_come_back_leaves_after_the_grace_time() {
    let mut stage = Stage::new(Limits::default());
    stage.join(1, "Ada");
    stage.join(2, "Bob");
    stage.heard(1);
    stage.lose(2);
    stage.pass(Duration::from_millis(29_999));
    assert!(stage.heard(1).is_empty());
    stage.pass(Duration::from_millis(1));
    let left = stage.heard(1).remove(0);
    assert_eq!(left["event"], "left");
    assert_eq!(left["data"]["reason"], "connection_lost");
    stage.lose(1);
    stage.pass(Duration::from_secs(30));
    assert_eq!((stage.hall.room_count(), stage.hall.peer_count()), (0, 0));
}

#[test]
fn what_is_kept_for_a_lost_participant_is_bounded() {
    let limits = Limits {
        replay_frames: 10,
        ..Limits::default()
    };
    let mut stage = Stage::new(limits);
    let ada = stage.join(1, "Ada");
    stage.join(2, "Bob");
    stage.lose(1);
    for _ in 0..50 {
        stage.say(
            2,
            &json!({"event": "note", "to": [ada["peer_id"]]}).to_string(),
        );
    }
    stage.connect(3, Protocol::V1);
    let resume = json!({"event": "resume", "data": {"token": ada["resume_token"], "seq": 2}});
    stage.say(3, &resume.to_string());
    assert_eq!(stage.heard(3)[0]["data"]["details"], "too_far_behind");
}

#[test]
fn limits_are_reported_by_name() {
    let limits = Limits {
        messages_per_second: 5,
        message_bytes: 50,
        ..Limits::default()
    };
    let mut stage = Stage::new(limits);
    stage.connect(1, Protocol::Base);
    stage.heard(1);
    stage.say(1, &"x".repeat(51));
    assert_eq!(stage.heard(1)[0]["data"]["details"], "message_bytes");
    for _ in 0..20 {
        stage.say(1, "ping");
    }
    let heard = stage.heard(1);
    assert_eq!(
        heard
            .iter()
            .filter(|frame| **frame == json!("pong"))
            .count(),
        9
    );
    assert_eq!(
        heard.last().unwrap()["data"]["details"],
        "messages_per_second"
    );
    stage.pass(Duration::from_secs(1));
    stage.say(1, "ping");
    assert_eq!(stage.heard(1), [json!("pong")]);
}

#[test]
fn a_silent_connection_is_closed() {
    let mut stage = Stage::new(Limits::default());
    stage.connect(1, Protocol::Base);
    stage.pass(Duration::from_secs(14 * 60));
    stage.say(1, "ping");
    stage.pass(Duration::from_secs(14 * 60));
    assert!(stage.closed.is_empty());
    stage.pass(Duration::from_secs(60));
    assert_eq!(stage.closed, [(1, CloseCode::PolicyViolation, "silence")]);
}

#[test]
fn a_version_one_client_that_does_not_greet_joins_after_a_while() {
    let mut stage = Stage::new(Limits::default());
    stage.connect(1, Protocol::V1);
    assert!(stage.heard(1).is_empty());
    stage.pass(Duration::from_secs(10));
    assert_eq!(stage.heard(1)[0]["event"], "authenticated");
}

#[test]
fn draining_tells_everyone_and_admits_nobody() {
    let mut stage = Stage::new(Limits::default());
    let token = stage.join(1, "Ada")["resume_token"].clone();
    stage.hall.drain(stage.now, Duration::from_secs(60));
    stage.collect();
    let told = &stage.heard(1)[0];
    assert_eq!(told["event"], "draining");
    assert_eq!(
        told["data"],
        json!({"reason": "shutdown", "deadline_ms": 60_000, "forwarded": false})
    );
    assert_eq!(stage.hall.admit("loft"), Err(Refusal::Draining));
    assert_eq!(stage.hall.admit(""), Err(Refusal::BadRoomName));
    // Nothing has ended: a connection that breaks is resumed, and nobody else comes in.
    assert_eq!(stage.closed, []);
    stage.lose(1);
    assert_eq!(stage.hall.admit("den"), Ok(()));
    stage.connect(2, Protocol::V1);
    stage.say(
        2,
        &json!({"event": "resume", "data": {"token": token, "seq": 0}}).to_string(),
    );
    let heard = stage.heard(2);
    assert_eq!(heard[0]["event"], "resumed", "{heard:?}");
    stage.connect(3, Protocol::V1);
    stage.say(3, r#"{"event":"join","data":{}}"#);
    let heard = stage.heard(3);
    assert_eq!(heard[0]["data"]["details"], "draining", "{heard:?}");
    stage.closed.clear();
    stage.hall.end();
    stage.collect();
    assert_eq!(
        stage.closed.first(),
        Some(&(2, CloseCode::GoingAway, "shutdown"))
    );
    assert_eq!(stage.hall.admit("den"), Err(Refusal::Draining));
}

#[test]
fn a_server_that_ends_waits_for_those_whose_media_goes_through_it() {
    let mut stage = Stage::of(Config {
        topology: crate::Topology::Sfu,
        ..Config::default()
    });
    assert!(!stage.hall.carries_media());
    stage.join(1, "Ada");
    assert!(stage.hall.carries_media());
    stage.hall.drain(stage.now, Duration::ZERO);
    stage.collect();
    let told = &stage.heard(1)[0]["data"];
    assert_eq!(told["forwarded"], true, "{told}");
    stage.say(1, r#"{"event":"leave"}"#);
    assert!(!stage.hall.carries_media());
}

#[test]
fn who_waits_while_a_server_ends_is_told_so_and_sent_away() {
    let mut stage = Stage::of(Config {
        lobby: true,
        ..Config::default()
    });
    stage.connect(1, Protocol::V1);
    stage.say(1, r#"{"event":"join","data":{}}"#);
    assert_eq!(stage.heard(1)[0]["event"], "waiting");
    stage.hall.drain(stage.now, Duration::from_secs(60));
    stage.collect();
    let heard = stage.heard(1);
    let refused = heard.iter().find(|frame| frame["event"] == "error");
    assert_eq!(refused.unwrap()["data"]["details"], "draining", "{heard:?}");
    let closed: Vec<u64> = stage.closed.iter().map(|(own, ..)| *own).collect();
    assert_eq!(closed, [1]);
    assert_eq!(stage.hall.peer_count(), 0);
}
