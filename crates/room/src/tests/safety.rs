//! What somebody tries who means harm.

use super::order::{id, moderator, sfu, somebody, streams, track, with};
use super::*;
use crate::{
    Act, ActError, GuestLine, GuestRefusal, IceServers, MediaEvent, MediaPermissions,
    PermissionChange, RoomSettings, ShownToken, Tracks,
};

impl Stage {
    /// Shows a token, which says that.
    fn renew(&mut self, connection: u64, looked: Admission) -> Value {
        let text = json!({"event": "token", "id": 5, "data": {"token": "t"}}).to_string();
        self.say(connection, &text);
        let shown = self.events.iter().rev().find_map(|event| match event {
            Event::Token(shown) => Some(shown.clone()),
            _ => None,
        });
        let shown: ShownToken = shown.unwrap();
        self.hall.renew(self.now, &shown, Ok(looked));
        self.collect();
        let heard = self.heard(connection);
        heard.into_iter().find(|own| own["id"] == 5).unwrap()
    }
}

#[test]
fn a_revocation_reaches_who_has_not_said_join_yet() {
    let mut stage = Stage::new(Limits::default());
    let of = |identity: &str| Admission {
        token_id: Some(format!("t-{identity}")),
        ..somebody(identity)
    };
    for (connection, who) in [(1, "ada"), (2, "bob"), (3, "eve")] {
        stage.connect_as(connection, Protocol::V1, of(who));
    }
    let revoked = stage.hall.revoke(stage.now, None, Some("t-ada"), None)
        + stage.hall.revoke(stage.now, Some("lab"), None, Some("eve"))
        + stage.hall.revoke(stage.now, None, None, Some("bob"));
    stage.collect();
    assert_eq!(revoked, 2);
    for connection in [1, 2] {
        assert_eq!(
            stage.heard(connection)[0]["data"],
            json!({"description": "Could not join room", "details": "token_revoked"})
        );
        stage.say(connection, r#"{"event":"join"}"#);
        assert!(stage.heard(connection).is_empty());
    }
    stage.pass(Limits::default().greeting);
    assert_eq!(stage.hall.peer_count(), 1);
    assert_eq!(stage.heard(3)[0]["event"], "authenticated");
}

#[test]
fn a_token_that_ends_before_join_lets_nobody_in() {
    let mut stage = Stage::new(Limits::default());
    let ends = Admission {
        expires_at: Some(stage.now.wallclock + Duration::from_secs(5)),
        ..somebody("ada")
    };
    stage.connect_as(1, Protocol::V1, ends);
    stage.pass(Duration::from_secs(6));
    stage.say(1, r#"{"event":"join"}"#);
    assert_eq!(stage.heard(1)[0]["data"]["details"], "token_expired");
    assert_eq!(stage.hall.peer_count(), 0);
}

#[test]
fn a_full_lobby_keeps_no_moderator_out() {
    let mut stage = Stage::of(Config {
        lobby: true,
        ..Config::default()
    });
    for connection in 1..=100 {
        stage.join_as(connection, "", Admission::default());
    }
    stage.connect_as(101, Protocol::V1, Admission::default());
    stage.say(101, r#"{"event":"join"}"#);
    assert_eq!(stage.heard(101)[0]["data"]["details"], "lobby_is_full");
    let host = stage.join_as(102, "Host", moderator());
    assert_eq!(host["event"], "authenticated");
    assert_eq!(host["data"]["waiting"].as_array().unwrap().len(), 100);
}

#[test]
fn who_announces_nothing_is_muted_all_the_same() {
    let mut stage = sfu();
    let ada = id(&stage.join_as(1, "Ada", Admission::default()));
    let order = |stops, tracks| match stops {
        true => Act::Mute {
            participant: ada.clone(),
            tracks,
        },
        false => Act::Unmute {
            participant: ada.clone(),
            tracks,
        },
    };
    stage.act(&order(true, Tracks::All)).unwrap();
    let nothing = MediaPermissions {
        subscribe: true,
        audio: streams(&[]),
        video: streams(&[]),
        data: true,
        hidden: false,
        waits: false,
    };
    assert_eq!(stage.media(&ada), Some(nothing));
    stage.act(&order(false, Tracks::All)).unwrap();
    assert_eq!(stage.media(&ada), Some(MediaPermissions::default()));
    // Nor does it help to take the announcement back.
    stage.publish(1, &track("v", "camera"));
    stage.act(&order(true, Tracks::Id("v".into()))).unwrap();
    let gone = json!({"action": "unpublish", "track": track("v", "camera")});
    stage.say(1, &json!({"event": "track", "data": gone}).to_string());
    assert_eq!(stage.media(&ada).unwrap().video, streams(&[]));
    stage.publish(1, &track("w", "camera"));
    assert_eq!(stage.media(&ada).unwrap().video, streams(&["s-w"]));
    // Where media goes from each to each, there is nothing to be held back.
    let mut mesh = Stage::new(Limits::default());
    let bob = id(&mesh.join_as(1, "Bob", Admission::default()));
    let mute = Act::Mute {
        participant: bob,
        tracks: Tracks::All,
    };
    assert_eq!(mesh.act(&mute), Err(ActError::NoTrack));
}

#[test]
fn who_may_only_make_rooms_changes_none() {
    let mut stage = Stage::new(Limits::default());
    let locked = RoomSettings {
        locked: true,
        ..RoomSettings::default()
    };
    stage.join_as(1, "Ada", Admission::default());
    let mut create =
        |settings, changes| stage.hall.create_room(stage.now, "den", settings, changes);
    assert_eq!(create(locked, true), Ok(true));
    assert_eq!(create(RoomSettings::default(), false), Ok(false));
    assert!(stage.hall.room("den").unwrap().locked);
    let made = stage.hall.create_room(stage.now, "lab", locked, false);
    assert_eq!(made, Ok(true));
}

#[test]
fn tokens_have_a_rate_of_their_own() {
    let mut stage = Stage::new(Limits::default());
    stage.join_as(1, "Ada", Admission::default());
    let show = json!({"event": "token", "id": 1, "data": {"token": "t"}}).to_string();
    for _ in 0..5 {
        stage.say(1, &show);
    }
    let refused = stage.heard(1);
    assert_eq!(refused.len(), 1);
    assert_eq!(
        refused[0]["data"],
        json!({"description": "Limit reached", "details": "tokens_per_second"})
    );
    let mut shown = || {
        let events = std::mem::take(&mut stage.events);
        let is_token = |own: &&Event| matches!(own, Event::Token(_));
        events.iter().filter(is_token).count()
    };
    assert_eq!(shown(), 4);
    // Not even by another connection.
    let ada = stage.hall.peers.keys().next().cloned().unwrap();
    let token = stage.hall.peers[&ada].resume_token.clone();
    stage.connect(2, Protocol::V1);
    let resume = json!({"event": "resume", "data": {"token": token, "seq": 0}});
    stage.say(2, &resume.to_string());
    stage.say(2, &show);
    assert!(
        !stage
            .events
            .iter()
            .any(|own| matches!(own, Event::Token(_)))
    );
    stage.pass(Duration::from_secs(1));
    stage.say(2, &show);
    assert!(
        stage
            .events
            .iter()
            .any(|own| matches!(own, Event::Token(_)))
    );
}

#[test]
fn nobody_resumes_as_somebody_else_nor_by_another_room() {
    let mut stage = Stage::new(Limits::default());
    let ada = stage.join_as(1, "Ada", somebody("ada"));
    let token = ada["data"]["resume_token"].clone();
    stage.lose(1);
    let resume = json!({"event": "resume", "data": {"token": token, "seq": 1}}).to_string();
    let mut answer = |connection, room: &str, admission| {
        let own = OwnUrls::default();
        let id = ConnectionId(connection);
        stage
            .hall
            .connected(stage.now, id, room, Protocol::V1, own, admission);
        stage.say(connection, &resume);
        stage.heard(connection).remove(0)
    };
    let refused = json!({"description": "Could not resume", "details": "unknown_token"});
    assert_eq!(answer(2, "den", somebody("eve"))["data"], refused);
    assert_eq!(answer(3, "den", Admission::default())["data"], refused);
    assert_eq!(answer(4, "lab", somebody("ada"))["data"], refused);
    assert_eq!(answer(5, "den", somebody("ada"))["event"], "resumed");
}

#[test]
fn what_a_token_takes_away_no_moderator_has_given_itself() {
    let mut stage = Stage::new(Limits::default());
    let host = Admission {
        permissions: moderator().permissions,
        ..somebody("host")
    };
    let who = id(&stage.join_as(1, "Host", host));
    let ada = id(&stage.join_as(2, "Ada", somebody("ada")));
    let give = |whom: &str| {
        json!({"action": "permissions", "peer_id": whom,
            "permissions": {"moderate": true, "publish": true}})
    };
    for whom in [&who, &ada] {
        assert_eq!(stage.moderate(1, &give(whom))["event"], "reply");
    }
    let quiet = Admission {
        permissions: with(r#"{"publish_sources":["microphone"]}"#).permissions,
        ..somebody("host")
    };
    stage.renew(1, quiet);
    let lock = json!({"action": "lock"});
    assert_eq!(stage.moderate(1, &lock)["data"]["details"], "moderate");
    assert_eq!(
        stage.publish(1, &track("v", "camera")).pop().unwrap()["event"],
        "error"
    );
    assert_eq!(
        stage.publish(1, &track("a", "microphone")).pop().unwrap()["event"],
        "reply"
    );
    // What her token never had, she was given, and keeps.
    stage.renew(2, somebody("ada"));
    assert_eq!(stage.moderate(2, &lock)["event"], "reply");
}

#[test]
fn another_token_says_another_name() {
    let mut stage = Stage::of(Config {
        ice_servers: IceServers {
            turn: vec!["turn:a".into()],
            turn_secret: Some("north".into()),
            time_to_live: Duration::from_secs(1_000),
            ..IceServers::default()
        },
        ..Config::default()
    });
    let named = |stage: &Stage, name: &str, seconds| Admission {
        name: Some(name.into()),
        expires_at: Some(stage.now.wallclock + Duration::from_secs(seconds)),
        ..somebody("ada")
    };
    let first = named(&stage, "Ada", 60);
    let ada = stage.join_as(1, "", first);
    let ends = |data: &Value| {
        let user = data["ice_servers"][0]["username"].as_str().unwrap();
        user.split(':').next().unwrap().parse::<u64>().unwrap()
    };
    assert_eq!(ends(&ada["data"]), 1_700_000_060);
    stage.join(2, "Bob");
    stage.heard(2);
    let second = named(&stage, "Countess", 600);
    let reply = stage.renew(1, second.clone());
    assert_eq!(ends(&reply["data"]), 1_700_000_600);
    let told = stage.heard(2);
    assert_eq!((told.len(), &told[0]["event"]), (1, &json!("metadata")));
    let data = json!({"peer_id": id(&ada), "name": "Countess", "metadata": null});
    assert_eq!(told[0]["data"], data);
    // What stays is not told again, and what a token does not say stays.
    stage.pass(Duration::from_secs(2));
    stage.renew(1, second);
    let silent = Admission {
        name: None,
        ..named(&stage, "", 600)
    };
    stage.renew(1, silent);
    assert!(stage.heard(2).is_empty());
    assert_eq!(stage.join(3, "Eve")["peers"][0]["name"], "Countess");
}

#[test]
fn who_looks_on_is_listed_and_keeps_the_room() {
    let mut stage = sfu();
    let admission = Admission {
        name: Some("Eve".into()),
        token_id: Some("t".into()),
        ..moderator()
    };
    let eve = stage
        .hall
        .admit_guest(stage.now, "den", admission, GuestPurpose::LooksOn)
        .unwrap();
    assert!(stage.hall.room("den").is_none(), "it is not there yet");
    stage.hall.welcome_viewer(stage.now, &eve).unwrap();
    stage.collect();
    assert_eq!(stage.notices(), ["started den", "joined Eve"]);
    let listed = stage.hall.participants("den").unwrap();
    let seen: Vec<_> = listed
        .iter()
        .map(|own| (own.id.as_str(), own.protocol))
        .collect();
    assert_eq!(seen, [(eve.as_str(), "http")]);
    assert!(listed[0].permissions.hidden && !listed[0].permissions.moderate);
    assert_eq!(stage.hall.room("den").unwrap().viewers, 1);
    // Whoever joins is not told; whoever leaves does not end the room, and what was decided of it.
    let ada = stage.join_as(1, "Ada", moderator());
    assert_eq!(ada["data"]["peers"], json!([]));
    stage.moderate(1, &json!({"action": "lock"}));
    stage.say(1, r#"{"event":"leave"}"#);
    assert!(stage.hall.room("den").unwrap().locked);
    let change: PermissionChange = serde_json::from_str(r#"{"subscribe":false}"#).unwrap();
    let participant = eve.clone();
    stage
        .act(&Act::Permit {
            participant,
            change,
        })
        .unwrap();
    assert!(!stage.media(&eve).unwrap().subscribe);
    assert_eq!(
        stage.act(&Act::Mute {
            participant: eve.clone(),
            tracks: Tracks::All
        }),
        Err(ActError::NoTrack)
    );
    stage.notices();
    stage.hall.revoke(stage.now, None, Some("t"), None);
    stage.collect();
    assert_eq!(stage.notices(), ["left Eve token_revoked", "finished den"]);
    let gone = stage.hall.welcome_viewer(stage.now, &eve);
    assert_eq!(gone, Err(GuestRefusal::NotPermitted));
}

#[test]
fn a_room_that_is_closed_ends_for_who_looks_on() {
    let mut stage = sfu();
    let eve = stage
        .hall
        .admit_guest(
            stage.now,
            "den",
            Admission::default(),
            GuestPurpose::LooksOn,
        )
        .unwrap();
    stage.hall.welcome_viewer(stage.now, &eve).unwrap();
    stage.join_as(1, "Ada", Admission::default());
    stage.notices();
    stage
        .act(&Act::Close {
            reason: String::new(),
        })
        .unwrap();
    let gone = |event: &Event| matches!(event, Event::Media(MediaEvent::Left { participant }) if *participant == eve);
    assert!(stage.events.iter().any(gone));
    let ends = ["left Ada room_closed", "left  room_closed", "finished den"];
    assert_eq!(stage.notices(), ends);
    assert_eq!(stage.hall.room_count(), 0);
}

#[test]
fn who_may_say_nothing_says_nothing_by_the_way() {
    let mut stage = sfu();
    stage.join_as(1, "Ada", with(r#"{"data":false,"metadata":false}"#));
    let bob = id(&stage.join_as(2, "Bob", Admission::default()));
    let mut tries = |event: &str, data: &Value, to: Value| {
        let text = json!({"event": event, "data": data, "to": to, "id": 7}).to_string();
        stage.say(1, &text);
        let told = stage.heard(1).into_iter().find(|own| own["id"] == 7);
        (told.unwrap(), stage.heard(2))
    };
    let (told, heard) = tries("metadata", &json!({"name": "psst"}), Value::Null);
    assert_eq!(told["data"]["details"], "metadata");
    assert!(heard.is_empty());
    // What was never announced does not end.
    let secret = json!({"id": "psst", "kind": "audio", "source": "microphone", "text": "psst"});
    let end = json!({"action": "unpublish", "track": secret});
    let (told, heard) = tries("track", &end, Value::Null);
    assert_eq!((&told["event"], heard.len()), (&json!("reply"), 0));
    // What was ends as it was announced, and nothing beside is passed on.
    let begin = json!({"action": "publish", "track": track("a", "microphone"), "text": "psst"});
    let (_, heard) = tries("track", &begin, Value::Null);
    assert_eq!(
        heard[0]["data"],
        json!({"action": "publish", "track": track("a", "microphone")})
    );
    let mut other = track("a", "microphone");
    other["text"] = "psst".into();
    let (_, heard) = tries(
        "track",
        &json!({"action": "unpublish", "track": other}),
        Value::Null,
    );
    assert_eq!(
        heard[0]["data"],
        json!({"action": "unpublish", "track": track("a", "microphone")})
    );
    let (told, _) = tries(
        "track",
        &json!({"action": "psst", "track": track("a", "microphone")}),
        Value::Null,
    );
    assert_eq!(told["data"]["description"], "Invalid message");
    // Nobody negotiates with anybody but the server.
    let (told, heard) = tries("offer", &json!({"sdp": "psst"}), json!([bob]));
    assert_eq!((&told["data"]["details"], heard.len()), (&json!("data"), 0));
}

#[test]
fn what_others_are_told_of_somebody_is_bounded() {
    let mut stage = Stage::new(Limits::default());
    stage.join(1, "Ada");
    stage.join(2, "Bob");
    stage.heard(1);
    let mut say = |event: &str, data: Value| {
        stage.say(
            1,
            &json!({"event": event, "data": data, "id": 7}).to_string(),
        );
        stage.heard(1).remove(0)
    };
    let long = "x".repeat(9_000);
    let told = say("metadata", json!({"metadata": {"a": long}}));
    assert_eq!(told["data"]["details"], "metadata_bytes");
    let mut large = track("v", "camera");
    large["text"] = long.into();
    let told = say("track", json!({"action": "publish", "track": large}));
    assert_eq!(told["data"]["details"], "track_bytes");
    let mut told = (0..30).map(|_| say("metadata", json!({"name": "Eve"})));
    assert_eq!(
        told.by_ref()
            .take_while(|own| own["event"] == "reply")
            .count(),
        20
    );
    assert_eq!(
        told.next().unwrap()["data"]["details"],
        "changes_per_second"
    );
    stage.heard(2);
    stage.pass(Duration::from_secs(1));
    stage.say(
        1,
        &json!({"event": "metadata", "data": {"name": "Ada"}}).to_string(),
    );
    assert_eq!(stage.heard(2)[0]["data"]["name"], "Ada");
}

#[test]
fn who_came_by_http_goes_on_under_another_token() {
    let mut stage = sfu();
    let until = |stage: &Stage, who: &str, seconds| Admission {
        expires_at: Some(stage.now.wallclock + Duration::from_secs(seconds)),
        ..somebody(who)
    };
    let first = until(&stage, "eve", 60);
    let eve = stage
        .hall
        .admit_guest(stage.now, "den", first.clone(), GuestPurpose::LooksOn)
        .unwrap();
    stage.hall.welcome_viewer(stage.now, &eve).unwrap();
    let ada = stage
        .hall
        .admit_guest(
            stage.now,
            "den",
            until(&stage, "ada", 60),
            GuestPurpose::Publishes,
        )
        .unwrap();
    let line = GuestLine {
        mid: "0".into(),
        is_video: true,
    };
    stage.hall.welcome_guest(stage.now, &ada, &[line]).unwrap();
    stage.join(1, "Bob");
    let quiet: PermissionChange = serde_json::from_str(r#"{"subscribe":false}"#).unwrap();
    let permit = Act::Permit {
        participant: eve.clone(),
        change: quiet,
    };
    stage.act(&permit).unwrap();
    stage.pass(Duration::from_secs(50));
    stage.heard(1);
    let refused = stage
        .hall
        .renew_guest(stage.now, &eve, until(&stage, "ada", 600));
    assert_eq!(refused, Err(GuestRefusal::NotPermitted));
    let fresh = until(&stage, "eve", 100);
    stage.hall.renew_guest(stage.now, &eve, fresh).unwrap();
    let silent = Admission {
        name: Some("Countess".into()),
        permissions: with(r#"{"publish":false}"#).permissions,
        ..until(&stage, "ada", 100)
    };
    stage.hall.renew_guest(stage.now, &ada, silent).unwrap();
    stage.collect();
    assert!(
        !stage.media(&eve).unwrap().subscribe,
        "what was decided stays"
    );
    assert_eq!(stage.media(&ada).unwrap().video, streams(&[]));
    let told: Vec<Value> = stage
        .heard(1)
        .iter()
        .map(|own| own["event"].clone())
        .collect();
    assert_eq!(told, ["metadata", "track"]);
    stage.notices();
    stage.pass(Duration::from_secs(20));
    assert_eq!(stage.notices(), Vec::<String>::new());
    stage.pass(Duration::from_secs(80));
    assert_eq!(
        stage.notices(),
        ["left Countess token_expired", "left  token_expired"]
    );
    let over = stage.hall.renew_guest(stage.now, &eve, first);
    assert_eq!(over, Err(GuestRefusal::NotPermitted));
}
