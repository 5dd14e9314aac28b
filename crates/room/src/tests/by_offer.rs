//! Those who join by an offer over HTTP, and hear what they are told over a data channel.

use super::order::{id, moderator, sfu, somebody, track, with};
use super::*;
use crate::{
    Act, ActError, GuestRefusal, Introduction, MediaEvent, MediaPermissions, Notice, RoomSettings,
    Topology,
};

impl Stage {
    /// Joins by an offer; its id.
    fn come(&mut self, connection: u64, name: &str, admission: Admission) -> String {
        let purpose = GuestPurpose::TakesPart;
        let admitted = self.hall.admit_guest(self.now, "den", admission, purpose);
        let id = admitted.unwrap();
        self.collect();
        self.welcome(connection, name, &id).unwrap();
        id
    }

    fn welcome(&mut self, connection: u64, name: &str, id: &str) -> Result<(), GuestRefusal> {
        let who = Introduction {
            name: Some(name.to_owned()),
            metadata: None,
        };
        let (now, connection) = (self.now, ConnectionId(connection));
        let own = OwnUrls::default();
        let hall = &mut self.hall;
        let welcome = hall.welcome_participant(now, id, connection, own, who);
        self.collect();
        welcome
    }

    fn refused(&mut self, admission: Admission) -> Option<GuestRefusal> {
        let purpose = GuestPurpose::TakesPart;
        let admitted = self.hall.admit_guest(self.now, "den", admission, purpose);
        admitted.err()
    }

    fn has_left(&self, id: &str) -> bool {
        self.events.iter().any(
            |event| matches!(event, Event::Media(MediaEvent::Left { participant }) if participant == id),
        )
    }
}

fn events(frames: &[Value]) -> Vec<&str> {
    let events = frames.iter().map(|frame| frame["event"].as_str());
    events.map(Option::unwrap_or_default).collect()
}

#[test]
fn who_joins_by_an_offer_is_there_as_anybody() {
    let mut stage = sfu();
    let ada = stage.join(1, "Ada")["peer_id"].clone();
    let bob = stage.come(2, "Bob", Admission::default());
    let first = stage.heard(2).remove(0);
    assert_eq!(
        (&first["event"], &first["seq"]),
        (&"authenticated".into(), &1.into())
    );
    let data = &first["data"];
    assert_eq!(
        (&data["peer_id"], &data["topology"]),
        (&bob.clone().into(), &"sfu".into())
    );
    assert_eq!(data["peers"][0]["id"], ada);
    // It goes with its connection: there is nothing to come back to.
    assert_eq!(data["resume_token"], Value::Null);
    assert_eq!(data["limits"]["resume_grace_ms"], 0);
    let told = stage.heard(1).remove(0);
    assert_eq!(
        (&told["event"], &told["data"]["name"]),
        (&"joined".into(), &"Bob".into())
    );
    assert_eq!(told["data"]["protocol"], "twocan.v1");

    // What both say goes as between any two.
    let camera = track("c", "camera");
    assert_eq!(stage.publish(2, &camera)[0]["event"], "reply");
    assert_eq!(stage.heard(1)[0]["data"]["track"], camera);
    stage.say(
        1,
        &json!({"event": "chat", "to": [bob], "data": {"text": "hi"}}).to_string(),
    );
    assert_eq!(stage.heard(2)[0]["data"]["text"], "hi");
    stage.say(2, r#"{"event":"join","id":7,"data":{"name":"Eve"}}"#);
    assert_eq!(stage.heard(2)[0]["data"]["description"], "Already joined");
    stage.say(
        2,
        &json!({"event": "offer", "to": ["server"], "data": {"sdp": ""}}).to_string(),
    );
    assert!(stage.events.iter().any(|event| matches!(event,
        Event::Media(MediaEvent::Signal { participant, event, .. })
            if *participant == bob && event == "offer")));

    stage.lose(2);
    assert_eq!(stage.heard(1)[0]["event"], "left");
    assert!(stage.has_left(&bob));
    assert_eq!(stage.hall.peer_count(), 1);
}

#[test]
fn nothing_is_passed_on_before_it_has_joined() {
    let mut stage = sfu();
    let purpose = GuestPurpose::TakesPart;
    let admission = with(r#"{"publish_sources":["microphone"]}"#);
    let bob = stage.hall.admit_guest(stage.now, "den", admission, purpose);
    let bob = bob.unwrap();
    stage.collect();
    assert_eq!(stage.media(&bob), Some(MediaPermissions::before_entry()));
    assert_eq!(stage.hall.room_count(), 0);
    stage.welcome(2, "Bob", &bob).unwrap();
    let told = stage.media(&bob).unwrap();
    assert!(told.subscribe && !told.waits);
    assert_eq!(told.audio, super::order::streams(&[]));
    // Its token holds as over a WebSocket.
    stage.heard(2);
    let refused = stage.publish(2, &track("c", "camera")).remove(0);
    assert_eq!(refused["data"]["details"], "publish:camera");
    assert_eq!(
        stage.publish(2, &track("m", "microphone"))[0]["event"],
        "reply"
    );
    let told = stage.media(&bob).unwrap();
    assert_eq!(told.audio, super::order::streams(&["s-m"]));
}

#[test]
fn who_has_to_be_admitted_waits_with_its_connection() {
    let mut stage = Stage::of(Config {
        topology: Topology::Auto,
        ..Config::default()
    });
    stage.join_as(1, "Ada", moderator());
    let act = Act::Lobby(true);
    stage.act(&act).unwrap();
    stage.heard(1);
    let bob = stage.come(2, "Bob", somebody("bob"));
    assert_eq!(events(&stage.heard(2)), ["waiting"]);
    assert_eq!(stage.media(&bob), Some(MediaPermissions::before_entry()));
    let lobby = stage.heard(1);
    // The room does nothing for one who knocks.
    assert_eq!(events(&lobby), ["lobby"]);
    stage.say(2, r#"{"event":"offer","id":1,"to":["server"],"data":{}}"#);
    assert_eq!(stage.heard(2)[0]["data"]["description"], "Not admitted");
    let admit = Act::Admit {
        participant: bob.clone(),
    };
    stage.act(&admit).unwrap();
    let first = stage.heard(2).remove(0);
    assert_eq!(first["event"], "authenticated");
    assert_eq!(first["data"]["topology"], "sfu");
    assert_eq!(stage.media(&bob), Some(MediaPermissions::default()));
    assert!(events(&stage.heard(1)).contains(&"topology"));

    // Who is denied hears it before it goes.
    let eve = stage.come(3, "Eve", Admission::default());
    stage.heard(3);
    let deny = Act::Deny {
        participant: eve.clone(),
    };
    stage.act(&deny).unwrap();
    assert_eq!(stage.heard(3)[0]["data"]["details"], "denied");
    assert!(stage.has_left(&eve));
    assert_eq!(stage.closed.last().map(|own| own.0), Some(3));
}

#[test]
fn who_waits_is_not_let_into_a_room_that_became_a_mesh_for_good() {
    let mut stage = Stage::of(Config {
        topology: Topology::Auto,
        ..Config::default()
    });
    stage.join_as(1, "Ada", moderator());
    stage.act(&Act::Lobby(true)).unwrap();
    let bob = stage.come(2, "Bob", Admission::default());
    stage.connect(3, Protocol::Base);
    let base = stage.hall.participants("den").unwrap();
    let base = base
        .iter()
        .find(|own| own.protocol == "base")
        .unwrap()
        .id
        .clone();
    let admit = |participant: &str| Act::Admit {
        participant: participant.to_owned(),
    };
    stage.act(&admit(&base)).unwrap();
    assert_eq!(stage.act(&admit(&bob)), Err(ActError::NotForwarded));
    stage.lose(3);
    assert_eq!(stage.act(&admit(&bob)), Ok(()));
}

#[test]
fn a_room_that_cannot_be_forwarded_is_refused_and_so_is_one_that_is_locked_or_full() {
    let mut mesh = Stage::new(Limits::default());
    assert_eq!(
        mesh.refused(Admission::default()),
        Some(GuestRefusal::NotForwarded)
    );
    let mut stage = sfu();
    let settings = |peers_max, locked| RoomSettings {
        peers_max,
        locked,
        keeps: Duration::from_secs(60),
        ..RoomSettings::default()
    };
    let full = settings(Some(1), false);
    stage
        .hall
        .create_room(stage.now, "den", full, true)
        .unwrap();
    let bob = stage.come(1, "Bob", Admission::default());
    assert_eq!(
        stage.refused(Admission::default()),
        Some(GuestRefusal::RoomIsFull)
    );
    stage.hall.dismiss(stage.now, &bob);
    // One place, and two who come at the same time.
    let purpose = GuestPurpose::TakesPart;
    let mut admit = || {
        stage
            .hall
            .admit_guest(stage.now, "den", Admission::default(), purpose)
    };
    let (one, other) = (admit().unwrap(), admit().unwrap());
    assert_eq!(stage.welcome(2, "", &one), Ok(()));
    assert_eq!(stage.welcome(3, "", &other), Err(GuestRefusal::RoomIsFull));
    stage.hall.dismiss(stage.now, &one);
    stage.hall.dismiss(stage.now, &other);
    let locked = settings(None, true);
    stage
        .hall
        .create_room(stage.now, "den", locked, true)
        .unwrap();
    assert_eq!(
        stage.refused(Admission::default()),
        Some(GuestRefusal::RoomIsLocked)
    );
    assert_eq!(stage.refused(moderator()), None);
}

#[test]
fn a_room_of_either_shape_goes_to_the_server_for_it_and_back() {
    let mut stage = Stage::of(Config {
        topology: Topology::Auto,
        ..Config::default()
    });
    stage.join(1, "Ada");
    let bob = stage.come(2, "Bob", Admission::default());
    let shape = |stage: &Stage| stage.hall.room("den").unwrap().topology;
    assert_eq!(shape(&stage), "sfu");
    stage.connect(3, Protocol::Base);
    assert_eq!(stage.heard(3)[0]["data"]["details"], "room_needs_twocan_v1");
    // It says nothing for a long time, and stays: its connection tells whether it is there.
    stage.pass(Duration::from_secs(14 * 60));
    stage.say(1, "ping");
    stage.pass(Duration::from_secs(14 * 60));
    assert_eq!((stage.hall.peer_count(), shape(&stage)), (2, "sfu"));
    stage.hall.dismiss(stage.now, &bob);
    stage.collect();
    assert!(stage.closed.contains(&(2, CloseCode::Normal, "left")));
    stage.pass(Duration::from_secs(31));
    assert_eq!(shape(&stage), "mesh");
}

#[test]
fn whatever_ends_it_closes_its_channel_and_says_why() {
    let mut stage = sfu();
    stage.join(1, "Ada");
    let reasons = |stage: &mut Stage| {
        stage.collect();
        let notices = std::mem::take(&mut stage.events);
        let left = notices.into_iter().filter_map(|event| match event {
            Event::Notice(Notice::ParticipantLeft { reason, .. }) => Some(reason),
            _ => None,
        });
        left.collect::<Vec<_>>()
    };
    stage.come(2, "", Admission::default());
    stage.say(2, r#"{"event":"leave"}"#);
    assert_eq!(reasons(&mut stage), ["left"]);
    stage.come(3, "", Admission::default());
    stage.hall.too_slow(stage.now, ConnectionId(3));
    assert_eq!(reasons(&mut stage), ["connection_lost"]);
    let expires = Admission {
        expires_at: Some(stage.now.wallclock + Duration::from_secs(5)),
        ..Admission::default()
    };
    stage.come(4, "", expires);
    stage.heard(4);
    stage.pass(Duration::from_secs(6));
    assert_eq!(events(&stage.heard(4)), ["kicked"]);
    assert_eq!(reasons(&mut stage), ["token_expired"]);
    stage.come(5, "", somebody("eve"));
    stage.hall.revoke(stage.now, None, None, Some("eve"));
    assert_eq!(reasons(&mut stage), ["token_revoked"]);
    let closed: Vec<_> = stage.closed.iter().map(|own| (own.0, own.2)).collect();
    let expected = [
        (2, "left"),
        (3, "queue_per_peer"),
        (4, "kicked"),
        (5, "kicked"),
    ];
    assert_eq!(closed, expected);
    // Its session is nobody's to resume.
    stage.come(6, "", Admission::default());
    stage.connect(7, Protocol::V1);
    stage.say(7, r#"{"event":"resume","data":{"token":"","seq":0}}"#);
    assert_eq!(stage.heard(7)[0]["data"]["details"], "unknown_token");
}

#[test]
fn a_token_is_renewed_by_http_as_well() {
    let mut stage = sfu();
    let until = |stage: &Stage, identity: &str, seconds| Admission {
        expires_at: Some(stage.now.wallclock + Duration::from_secs(seconds)),
        ..somebody(identity)
    };
    let first = until(&stage, "bob", 10);
    let bob = stage.come(2, "Bob", first);
    stage.pass(Duration::from_secs(5));
    let other = until(&stage, "eve", 60);
    let refused = stage.hall.renew_guest(stage.now, &bob, other);
    assert_eq!(refused, Err(GuestRefusal::NotPermitted));
    let fresh = until(&stage, "bob", 60);
    assert_eq!(stage.hall.renew_guest(stage.now, &bob, fresh), Ok(()));
    stage.pass(Duration::from_secs(30));
    assert_eq!(stage.hall.peer_count(), 1);
}

#[test]
fn no_frame_about_others_is_longer_than_a_message() {
    let mut stage = sfu();
    let metadata = "x".repeat(8_000);
    for connection in 1..=20 {
        stage.connect(connection, Protocol::V1);
        let data = json!({"name": connection.to_string(), "metadata": metadata});
        stage.say(
            connection,
            &json!({"event": "join", "data": data}).to_string(),
        );
        for number in 0..3 {
            let mut own = track(&format!("{connection}-{number}"), "camera");
            own["more"] = "y".repeat(3_900).into();
            stage.publish(connection, &own);
        }
        stage.heard(connection);
        stage.pass(Duration::from_secs(1));
    }
    stage.come(99, "Bob", Admission::default());
    let texts = stage.texts.iter().filter(|(to, _)| *to == 99);
    assert!(texts.map(|(_, text)| text.len()).max().unwrap_or(0) < 60_000);
    let heard = stage.heard(99);
    let first = heard[0]["data"]["peers"].as_array().unwrap();
    assert!((1..20).contains(&first.len()));
    // It knows of all in the end, and of all that they send.
    let mut names: Vec<String> = Vec::new();
    let mut tracks = 0;
    for peer in first {
        names.push(peer["name"].as_str().unwrap().to_owned());
        tracks += peer["tracks"].as_array().unwrap().len();
    }
    for frame in &heard[1..] {
        match frame["event"].as_str().unwrap() {
            "joined" => {
                assert_eq!(id(frame), frame["from"].as_str().unwrap());
                names.push(frame["data"]["name"].as_str().unwrap().to_owned());
            }
            "track" => tracks += 1,
            other => unreachable!("{other}"),
        }
    }
    let expected: Vec<String> = (1..=20).map(|own: u64| own.to_string()).collect();
    assert_eq!((names, tracks), (expected, 60));
}
