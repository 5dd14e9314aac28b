//! Permissions, tokens, the lobby, and order in a room.

use super::*;
use crate::{
    Act, ActError, Allowed, GuestLine, GuestRefusal, MediaEvent, MediaPermissions, Notice,
    PermissionChange, Permissions, RoomSettings, ShownToken, Source, Topology, Tracks,
};

pub(super) fn sfu() -> Stage {
    Stage::of(Config {
        topology: Topology::Sfu,
        ..Config::default()
    })
}

pub(super) fn somebody(identity: &str) -> Admission {
    Admission {
        identity: Some(identity.into()),
        ..Admission::default()
    }
}

pub(super) fn with(change: &str) -> Admission {
    let change: PermissionChange = serde_json::from_str(change).unwrap();
    Admission {
        permissions: change.applied(&Permissions::default()),
        ..Admission::default()
    }
}

pub(super) fn moderator() -> Admission {
    with(r#"{"moderate":true}"#)
}

fn hidden() -> Admission {
    Admission {
        permissions: Permissions {
            hidden: true,
            ..Permissions::default()
        },
        ..Admission::default()
    }
}

pub(super) fn id(frame: &Value) -> String {
    frame["data"]["peer_id"].as_str().unwrap().to_owned()
}

pub(super) fn track(id: &str, source: &str) -> Value {
    let kind = if source == "microphone" {
        "audio"
    } else {
        "video"
    };
    json!({"id": id, "kind": kind, "source": source, "stream": format!("s-{id}"), "muted": false})
}

impl Stage {
    pub(super) fn publish(&mut self, connection: u64, track: &Value) -> Vec<Value> {
        let data = json!({"action": "publish", "track": track});
        self.say(
            connection,
            &json!({"event": "track", "id": 1, "data": data}).to_string(),
        );
        self.heard(connection)
    }

    pub(super) fn moderate(&mut self, connection: u64, data: &Value) -> Value {
        let text = json!({"event": "moderate", "id": 9, "data": data}).to_string();
        self.say(connection, &text);
        let heard = self.heard(connection);
        let answer = heard.into_iter().find(|frame| frame["id"] == 9);
        answer.unwrap_or_default()
    }

    pub(super) fn act(&mut self, act: &Act) -> Result<(), ActError> {
        let done = self.hall.act(self.now, "den", act);
        self.collect();
        done
    }

    /// What the forwarder was told last of somebody.
    pub(super) fn media(&self, who: &str) -> Option<MediaPermissions> {
        let permitted = self.events.iter().rev().filter_map(|event| match event {
            Event::Media(MediaEvent::Permitted {
                participant,
                permissions,
            }) => (participant == who).then(|| permissions.clone()),
            _ => None,
        });
        permitted.into_iter().next()
    }

    pub(super) fn notices(&mut self) -> Vec<String> {
        let events = std::mem::take(&mut self.events);
        let notices = events.into_iter().filter_map(|event| match event {
            Event::Notice(notice) => Some(notice),
            _ => None,
        });
        let said = notices.map(|notice| match notice {
            Notice::RoomStarted { room } => format!("started {room}"),
            Notice::RoomFinished { room } => format!("finished {room}"),
            Notice::ParticipantJoined { participant, .. } => format!("joined {}", participant.name),
            Notice::ParticipantLeft {
                participant,
                reason,
                ..
            } => {
                format!("left {} {reason}", participant.name)
            }
            Notice::TrackPublished { .. } => "published".into(),
            Notice::TrackUnpublished { .. } => "unpublished".into(),
        });
        said.collect()
    }
}

pub(super) fn streams(names: &[&str]) -> Allowed {
    Allowed::Streams(names.iter().map(|own| (*own).to_owned()).collect())
}

#[test]
fn what_a_token_says_of_somebody_it_does_not_say_itself() {
    let mut stage = Stage::new(Limits::default());
    let admission = Admission {
        name: Some("Ada".into()),
        ..somebody("ada")
    };
    let welcome = stage.join_as(1, "Mallory", admission);
    assert_eq!(
        welcome["data"]["permissions"],
        json!(["publish", "subscribe", "data", "chat", "metadata"])
    );
    stage.say(
        1,
        &json!({"event": "metadata", "data": {"name": "Mallory"}}).to_string(),
    );
    let bob = stage.join_as(2, "Bob", Admission::default());
    let seen = &bob["data"]["peers"][0];
    assert_eq!(
        (&seen["name"], &seen["identity"]),
        (&json!("Ada"), &json!("ada"))
    );
}

#[test]
fn sources_without_permission_are_neither_announced_nor_passed_on() {
    let mut stage = sfu();
    let ada = stage.join_as(1, "Ada", with(r#"{"publish_sources":["microphone"]}"#));
    stage.join_as(2, "Bob", Admission::default());
    stage.heard(1);
    assert_eq!(ada["data"]["permissions"][0], "publish:microphone");
    let refused = stage.publish(1, &track("v", "camera"));
    assert_eq!(
        refused[0]["data"],
        json!({"description": "Not permitted", "details": "publish:camera"})
    );
    assert!(stage.heard(2).is_empty());
    // Nothing is announced yet.
    let none = MediaPermissions {
        subscribe: true,
        audio: streams(&[]),
        video: streams(&[]),
        data: true,
        hidden: false,
        waits: false,
    };
    assert_eq!(stage.media(&id(&ada)), Some(none.clone()));
    assert_eq!(
        stage.publish(1, &track("a", "microphone"))[0]["event"],
        "reply"
    );
    let sound = MediaPermissions {
        audio: streams(&["s-a"]),
        ..none
    };
    assert_eq!(stage.media(&id(&ada)), Some(sound));
    assert_eq!(stage.heard(2)[0]["event"], "track");
}

#[test]
fn who_may_say_nothing_negotiates_and_no_more() {
    let mut stage = Stage::new(Limits::default());
    stage.join_as(1, "Ada", with(r#"{"data":false}"#));
    let bob = stage.join_as(2, "Bob", Admission::default());
    stage.heard(1);
    for (event, passes) in [
        ("offer", true),
        ("candidate", true),
        ("chat", false),
        ("own", false),
    ] {
        stage.say(
            1,
            &json!({"event": event, "id": 3, "to": [id(&bob)]}).to_string(),
        );
        assert_eq!(stage.heard(2).len(), usize::from(passes), "{event}");
        let told = stage.heard(1);
        assert_eq!(
            told.iter().any(|own| own["data"]["details"] == "data"),
            !passes,
            "{event}"
        );
    }
}

#[test]
fn who_may_say_nothing_is_not_passed_on_over_data_channels_either() {
    let mut stage = sfu();
    let ada = id(&stage.join_as(1, "Ada", with(r#"{"data":false}"#)));
    let says = |stage: &Stage, who: &str| stage.media(who).map(|own| own.data);
    assert_eq!(says(&stage, &ada), Some(false));
    let bob = id(&stage.join_as(2, "Bob", with(r#"{"moderate":true}"#)));
    assert_eq!(stage.media(&bob), None, "nothing is forbidden");
    let change = |data: bool| json!({"action": "permissions", "peer_id": ada, "permissions": {"data": data}});
    stage.moderate(2, &change(true));
    assert_eq!(says(&stage, &ada), Some(true));
    stage.moderate(2, &change(false));
    assert_eq!(says(&stage, &ada), Some(false));
}

#[test]
fn who_is_hidden_is_told_of_all_and_nobody_of_it() {
    let mut stage = sfu();
    stage.join_as(1, "Ada", Admission::default());
    let ghost = stage.join_as(2, "Ghost", hidden());
    assert!(stage.heard(1).is_empty());
    assert_eq!(ghost["data"]["peers"][0]["name"], "Ada");
    assert_eq!(ghost["data"]["permissions"], json!(["subscribe", "hidden"]));
    let bob = stage.join_as(3, "Bob", Admission::default());
    assert_eq!(bob["data"]["peers"].as_array().unwrap().len(), 1);
    assert_eq!(stage.heard(2)[0]["event"], "joined");
    // It gets what is said to all; it cannot be named, and cannot speak.
    stage.heard(1);
    stage.say(3, &json!({"event": "chat", "to": "all"}).to_string());
    assert_eq!(stage.heard(2)[0]["event"], "chat");
    stage.heard(3);
    stage.say(3, &json!({"event": "chat", "to": [id(&ghost)]}).to_string());
    assert_eq!(stage.heard(3)[0]["data"]["description"], "Unknown peer");
    stage.heard(1);
    stage.say(2, &json!({"event": "offer", "to": "all"}).to_string());
    stage.say(
        2,
        &json!({"event": "metadata", "data": {"name": "Boo"}}).to_string(),
    );
    stage.publish(2, &track("v", "camera"));
    stage.say(2, &json!({"event": "leave"}).to_string());
    assert!(stage.heard(1).is_empty() && stage.heard(3).is_empty());
    let nothing = MediaPermissions {
        subscribe: true,
        audio: streams(&[]),
        video: streams(&[]),
        data: false,
        hidden: true,
        waits: false,
    };
    assert_eq!(stage.media(&id(&ghost)), Some(nothing));
}

#[test]
fn who_waits_is_admitted_or_denied() {
    let mut stage = Stage::of(Config {
        lobby: true,
        ..Config::default()
    });
    let waits = stage.join_as(1, "Ada", Admission::default());
    assert_eq!(waits["event"], "waiting");
    assert_eq!(waits["data"]["room"], "den");
    let host = stage.join_as(2, "Host", moderator());
    assert_eq!(host["event"], "authenticated");
    assert_eq!(host["data"]["waiting"][0]["name"], "Ada");
    assert!(stage.heard(1).is_empty(), "who waits is told of nobody");
    stage.say(
        1,
        &json!({"event": "chat", "to": "all", "id": 1}).to_string(),
    );
    assert_eq!(stage.heard(1)[0]["data"]["description"], "Not admitted");
    assert!(stage.heard(2).is_empty());
    let other = stage.join_as(3, "Eve", Admission::default());
    assert_eq!(
        stage.heard(2)[0]["data"]["waiting"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
    assert_eq!(
        stage.moderate(2, &json!({"action": "deny", "peer_id": id(&other)}))["event"],
        "reply"
    );
    assert_eq!(stage.heard(3)[0]["data"]["details"], "denied");
    assert_eq!(stage.closed, [(3, CloseCode::Normal, "could_not_join")]);
    assert_eq!(
        stage.moderate(2, &json!({"action": "admit", "peer_id": id(&waits)}))["event"],
        "reply"
    );
    let welcome = stage.heard(1).remove(0);
    assert_eq!(welcome["event"], "authenticated");
    assert_eq!(welcome["data"]["peer_id"], waits["data"]["peer_id"]);
    assert!(welcome["data"].get("waiting").is_none());
    let again = stage.moderate(2, &json!({"action": "admit", "peer_id": id(&waits)}));
    assert_eq!(again["data"]["description"], "Not done");
    // Who waits and loses its connection is gone at once.
    stage.join_as(4, "Late", Admission::default());
    stage.lose(4);
    assert_eq!(stage.hall.participants("den").unwrap().len(), 2);
    // Without a lobby, all come in.
    let late = stage.join_as(5, "Later", Admission::default());
    assert_eq!(late["event"], "waiting");
    assert_eq!(
        stage.moderate(2, &json!({"action": "no-lobby"}))["event"],
        "reply"
    );
    assert_eq!(stage.heard(5)[0]["event"], "authenticated");
}

/// A room of three places, with a lobby in which three wait.
fn with_three_who_wait() -> Stage {
    let mut stage = Stage::of(Config {
        lobby: true,
        limits: Limits {
            peers_per_room: 3,
            ..Limits::default()
        },
        ..Config::default()
    });
    stage.join_as(1, "Host", moderator());
    for (connection, name) in [(2, "Ada"), (3, "Bob"), (4, "Eve")] {
        let waits = stage.join_as(connection, name, Admission::default());
        assert_eq!(waits["event"], "waiting");
    }
    stage.heard(1);
    stage
}

/// Those who came first are in, and the last was told why it is not.
fn assert_that_the_last_found_no_place(stage: &mut Stage) {
    for connection in [2, 3] {
        assert_eq!(stage.heard(connection)[0]["event"], "authenticated");
    }
    let refused = &stage.heard(4)[0];
    assert_eq!(
        refused["data"],
        json!({"description": "Could not join room", "details": "room_is_full"})
    );
    assert_eq!(stage.closed, [(4, CloseCode::Normal, "could_not_join")]);
    assert_eq!(stage.hall.participants("den").unwrap().len(), 3);
    let room = stage.hall.room("den").unwrap();
    assert_eq!((room.waiting, room.lobby), (0, false));
    assert_eq!(stage.hall.counters().get("hall.room_is_full"), 1);
}

#[test]
fn without_a_lobby_those_who_wait_come_in_as_far_as_there_is_room() {
    let mut stage = with_three_who_wait();
    let done = stage.moderate(1, &json!({"action": "no-lobby"}));
    assert_eq!(done["event"], "reply");
    assert_that_the_last_found_no_place(&mut stage);
}

#[test]
fn so_do_those_of_a_room_whose_lobby_an_operator_ends() {
    let mut stage = with_three_who_wait();
    let settings = RoomSettings {
        lobby: Some(false),
        ..RoomSettings::default()
    };
    let now = stage.now;
    let made = stage.hall.create_room(now, "den", settings, true);
    assert_eq!(made, Ok(true));
    stage.collect();
    assert_that_the_last_found_no_place(&mut stage);
    let told = stage.heard(1);
    let lobby = told.iter().rfind(|frame| frame["event"] == "lobby");
    assert_eq!(lobby.unwrap()["data"]["waiting"], json!([]));
}

#[test]
fn a_locked_room_lets_in_who_moderates_and_who_comes_back() {
    let mut stage = Stage::new(Limits::default());
    stage.join_as(1, "Host", moderator());
    let ada = stage.join_as(2, "Ada", Admission::default());
    stage.heard(1);
    stage.moderate(1, &json!({"action": "lock"}));
    assert_eq!(
        stage.heard(2)[0]["data"],
        json!({"locked": true, "lobby": false})
    );
    let refused = stage.join_as(3, "Bob", Admission::default());
    assert_eq!(refused["data"]["details"], "room_is_locked");
    stage.lose(2);
    stage.connect(4, Protocol::V1);
    let token = &ada["data"]["resume_token"];
    stage.say(
        4,
        &json!({"event": "resume", "data": {"token": token, "seq": 2}}).to_string(),
    );
    assert_eq!(stage.heard(4)[0]["event"], "resumed");
    assert_eq!(
        stage.join_as(5, "Other", moderator())["data"]["locked"],
        true
    );
    stage.heard(1);
    assert_eq!(
        stage.moderate(1, &json!({"action": "unlock"}))["event"],
        "reply"
    );
    assert_eq!(
        stage.join_as(6, "Bob", Admission::default())["event"],
        "authenticated"
    );
}

#[test]
fn only_who_may_moderate_does() {
    let mut stage = Stage::new(Limits::default());
    stage.join_as(1, "Host", moderator());
    let ada = stage.join_as(2, "Ada", Admission::default());
    let all = [
        json!({"action": "remove", "peer_id": id(&ada)}),
        json!({"action": "lock"}),
        json!({"action": "permissions", "peer_id": id(&ada), "permissions": {"moderate": true}}),
    ];
    for data in &all {
        assert_eq!(
            stage.moderate(2, data)["data"]["details"],
            "moderate",
            "{data}"
        );
    }
    for wrong in [
        json!({}),
        json!({"action": "fly"}),
        json!({"action": "mute"}),
        json!(1),
    ] {
        assert_eq!(
            stage.moderate(1, &wrong)["data"]["description"],
            "Invalid message",
            "{wrong}"
        );
    }
    let nobody = stage.moderate(1, &json!({"action": "remove", "peer_id": "nobody"}));
    assert_eq!(nobody["data"]["description"], "Not done");
    // A role that is given in the call.
    stage.moderate(1, &all[2]);
    let told = stage.heard(2);
    let permissions = told
        .iter()
        .find(|own| own["event"] == "permissions")
        .unwrap();
    assert_eq!(permissions["data"]["permissions"][5], "moderate");
    assert_eq!(
        stage.moderate(2, &json!({"action": "lock"}))["event"],
        "reply"
    );
    assert!(
        stage
            .events
            .iter()
            .any(|event| matches!(event, Event::Moderated(done)
        if done.action == "lock" && done.by == id(&ada)))
    );
}

#[test]
fn who_is_removed_is_told_why_and_cannot_resume() {
    let mut stage = Stage::new(Limits::default());
    stage.join_as(1, "Host", moderator());
    let ada = stage.join_as(2, "Ada", Admission::default());
    stage.connect(3, Protocol::Base);
    let base = id(&stage.heard(3)[0]);
    stage.join_as(5, "Bob", Admission::default());
    stage.heard(1);
    let remove = json!({"action": "remove", "peer_id": id(&ada), "reason": "noise"});
    assert_eq!(stage.moderate(1, &remove)["event"], "reply");
    // The others are told that it was, and not why.
    let told =
        |stage: &mut Stage, connection| stage.heard(connection).pop().unwrap()["data"].clone();
    assert_eq!(told(&mut stage, 3), json!({"peer_id": id(&ada)}));
    let removed = json!({"peer_id": id(&ada), "reason": "removed"});
    assert_eq!(told(&mut stage, 5), removed);
    let last = stage.heard(2).pop().unwrap();
    assert_eq!(
        (&last["event"], &last["data"]),
        (&json!("kicked"), &json!({"reason": "noise"}))
    );
    assert_eq!(stage.closed, [(2, CloseCode::PolicyViolation, "kicked")]);
    stage.connect(4, Protocol::V1);
    let token = &ada["data"]["resume_token"];
    stage.say(
        4,
        &json!({"event": "resume", "data": {"token": token, "seq": 2}}).to_string(),
    );
    assert_eq!(stage.heard(4)[0]["data"]["details"], "unknown_token");
    stage.moderate(1, &json!({"action": "remove", "peer_id": base}));
    let last = stage.heard(3).pop().unwrap();
    assert_eq!(
        last["data"],
        json!({"description": "Room closed", "details": "removed"})
    );
    assert_eq!(last.as_object().unwrap().len(), 4);
}

#[test]
fn who_is_removed_does_not_come_back_by_what_it_goes_on_saying() {
    let mut stage = Stage::new(Limits::default());
    stage.join_as(1, "Host", moderator());
    let ada = stage.join_as(2, "Ada", Admission::default());
    stage.connect(3, Protocol::Base);
    let base = id(&stage.heard(3)[0]);
    for gone in [id(&ada), base] {
        stage.moderate(1, &json!({"action": "remove", "peer_id": gone}));
    }
    stage.heard(1);
    for connection in [2, 3] {
        let join = json!({"event": "join", "data": {"name": "Ada"}});
        stage.say(connection, &join.to_string());
        let candidate = json!({"event": "candidate", "to": "all", "data": {}});
        stage.say(connection, &candidate.to_string());
    }
    assert_eq!(stage.heard(1), [] as [Value; 0], "nobody has joined");
}

#[test]
fn nobody_speaks_as_the_server() {
    let mut stage = Stage::new(Limits::default());
    stage.join_as(1, "Host", Admission::default());
    let ada = stage.join_as(2, "Ada", Admission::default());
    stage.connect(3, Protocol::Base);
    for connection in [1, 2, 3] {
        stage.heard(connection);
    }
    for event in [
        "kicked",
        "error",
        "permissions",
        "authenticated",
        "joined",
        "announcement",
    ] {
        for connection in [1, 3] {
            let said = json!({"event": event, "to": [id(&ada)], "data": {"reason": "x"}});
            stage.say(connection, &said.to_string());
            let answer = &stage.heard(connection)[0];
            assert_eq!(answer["data"]["details"], "event", "{event}");
        }
        assert_eq!(stage.heard(2), [] as [Value; 0], "{event}");
    }
}

#[test]
fn what_is_muted_is_passed_on_once_its_owner_says_so() {
    let mut stage = sfu();
    stage.join_as(1, "Host", moderator());
    let ada = stage.join_as(2, "Ada", Admission::default());
    let who = id(&ada);
    stage.publish(2, &track("a", "microphone"));
    stage.publish(2, &track("v", "camera"));
    stage.heard(1);
    assert_eq!(stage.media(&who), None, "nothing is forbidden");
    stage.say(
        1,
        &json!({"event": "moderate", "data":
        {"action": "mute", "peer_id": who, "source": "microphone"}})
        .to_string(),
    );
    let told = stage.heard(1);
    assert_eq!(told[0]["data"]["track"]["muted"], true);
    assert_eq!(told[0]["from"], json!(who));
    assert_eq!(stage.heard(2)[0]["data"], json!({"track": "a"}));
    let quiet = MediaPermissions {
        subscribe: true,
        audio: streams(&[]),
        video: Allowed::All,
        data: true,
        hidden: false,
        waits: false,
    };
    assert_eq!(stage.media(&who), Some(quiet));
    let missing = json!({"action": "mute", "peer_id": who, "track": "b"});
    assert_eq!(
        stage.moderate(1, &missing)["data"]["description"],
        "Not done"
    );
    let data = json!({"action": "unmute", "track": track("a", "microphone")});
    stage.say(2, &json!({"event": "track", "data": data}).to_string());
    // What it says, and no more.
    assert_eq!(stage.media(&who).unwrap().audio, streams(&["s-a"]));
    let unmute = Act::Unmute {
        participant: who.clone(),
        tracks: Tracks::Source(Source::Microphone),
    };
    stage.act(&unmute).unwrap();
    assert_eq!(stage.media(&who), Some(MediaPermissions::default()));
    // What is taken away for good comes back by no word of its own.
    stage.moderate(
        1,
        &json!({"action": "permissions", "peer_id": who, "permissions":
        {"publish_sources": ["camera"]}}),
    );
    let told = stage.heard(2);
    assert!(told.iter().any(|own| own["event"] == "permissions"));
    assert_eq!(
        stage.publish(2, &track("a", "microphone"))[0]["event"],
        "error"
    );
    assert_eq!(stage.media(&who).unwrap().audio, streams(&[]));
    assert_eq!(stage.media(&who).unwrap().video, streams(&["s-v"]));
    assert_eq!(stage.act(&unmute), Err(ActError::NoTrack));
}

#[test]
fn a_token_that_ends_ends_what_it_began_unless_another_is_shown() {
    let mut stage = Stage::new(Limits::default());
    let until = |stage: &Stage, seconds| Admission {
        expires_at: Some(stage.now.wallclock + Duration::from_secs(seconds)),
        ..somebody("ada")
    };
    let ada = stage.join_as(1, "Ada", until(&stage, 60));
    assert_eq!(ada["data"]["token_expires_in_ms"], 60_000);
    stage.join_as(2, "Bob", until(&stage, 60));
    stage.pass(Duration::from_secs(50));
    let show = |stage: &mut Stage, looked: Result<Admission, String>| {
        stage.say(
            1,
            &json!({"event": "token", "id": 5, "data": {"token": "t"}}).to_string(),
        );
        let shown: Option<ShownToken> = stage.events.iter().rev().find_map(|event| match event {
            Event::Token(shown) => Some(shown.clone()),
            _ => None,
        });
        stage.hall.renew(stage.now, &shown.unwrap(), looked);
        stage.collect();
        stage
            .heard(1)
            .into_iter()
            .find(|own| own["id"] == 5)
            .unwrap()
    };
    // Neither a refused token nor one of somebody else changes anything.
    assert_eq!(show(&mut stage, Err("no".into()))["data"]["details"], "no");
    let other = Admission {
        identity: Some("eve".into()),
        ..until(&stage, 600)
    };
    assert_eq!(show(&mut stage, Ok(other))["event"], "error");
    let fresh = Admission {
        permissions: with(r#"{"data":false}"#).permissions,
        ..until(&stage, 100)
    };
    assert_eq!(
        show(&mut stage, Ok(fresh))["data"]["token_expires_in_ms"],
        100_000
    );
    stage.pass(Duration::from_secs(9));
    assert!(stage.closed.is_empty());
    stage.pass(Duration::from_secs(1));
    assert_eq!(stage.closed, [(2, CloseCode::PolicyViolation, "kicked")]);
    assert_eq!(
        stage.heard(2).pop().unwrap()["data"]["reason"],
        "token_expired"
    );
    stage.say(
        1,
        &json!({"event": "chat", "to": "all", "id": 6}).to_string(),
    );
    assert_eq!(stage.heard(1).pop().unwrap()["data"]["details"], "data");
    stage.pass(Duration::from_secs(90));
    assert_eq!(stage.heard(1).pop().unwrap()["event"], "kicked");
    assert_eq!((stage.hall.room_count(), stage.hall.peer_count()), (0, 0));
}

#[test]
fn a_token_shown_again_undoes_no_moderation() {
    let mut stage = Stage::new(Limits::default());
    let ada = stage.join_as(1, "Ada", somebody("ada"));
    let change: PermissionChange = serde_json::from_str(r#"{"publish":false}"#).unwrap();
    stage
        .act(&Act::Permit {
            participant: id(&ada),
            change,
        })
        .unwrap();
    stage.say(
        1,
        &json!({"event": "token", "data": {"token": "t"}}).to_string(),
    );
    let shown = stage.events.iter().find_map(|event| match event {
        Event::Token(shown) => Some(shown.clone()),
        _ => None,
    });
    stage
        .hall
        .renew(stage.now, &shown.unwrap(), Ok(somebody("ada")));
    stage.collect();
    assert_eq!(
        stage.publish(1, &track("v", "camera")).pop().unwrap()["event"],
        "error"
    );
}

#[test]
fn what_is_revoked_ends_in_its_room_alone() {
    let mut stage = sfu();
    let of = |identity: &str, token: &str| Admission {
        token_id: Some(token.into()),
        ..somebody(identity)
    };
    stage.join_as(1, "Ada", of("ada", "t1"));
    stage.join_as(2, "Ada 2", of("ada", "t2"));
    stage.join_as(3, "Bob", of("bob", "t3"));
    let viewer = stage
        .hall
        .admit_guest(stage.now, "den", of("bob", "t4"), GuestPurpose::LooksOn)
        .unwrap();
    assert_eq!(
        stage.hall.revoke(stage.now, Some("lab"), None, Some("ada")),
        0
    );
    assert_eq!(stage.hall.revoke(stage.now, None, Some("t1"), None), 1);
    assert_eq!(
        stage.hall.revoke(stage.now, Some("den"), None, Some("bob")),
        2
    );
    stage.collect();
    let closed: Vec<u64> = stage
        .closed
        .iter()
        .map(|(connection, ..)| *connection)
        .collect();
    assert_eq!(closed, [1, 3]);
    assert!(stage.events.iter().any(|event| matches!(event,
        Event::Media(MediaEvent::Left { participant }) if *participant == viewer)));
    assert_eq!(stage.hall.peer_count(), 1);
}

#[test]
fn who_comes_by_http_needs_permission_as_anybody() {
    let mut stage = sfu();
    let line = |mid: &str, is_video| GuestLine {
        mid: mid.into(),
        is_video,
    };
    let now = stage.now;
    let none = with(r#"{"publish":false,"subscribe":false}"#);
    for purpose in [GuestPurpose::Publishes, GuestPurpose::LooksOn] {
        let refused = stage.hall.admit_guest(now, "den", none.clone(), purpose);
        assert_eq!(refused, Err(GuestRefusal::NotPermitted));
    }
    // Sound alone, and it sends a picture.
    let sound = with(r#"{"publish_sources":["microphone"],"subscribe":false}"#);
    let who = stage
        .hall
        .admit_guest(now, "den", sound.clone(), GuestPurpose::Publishes)
        .unwrap();
    stage.collect();
    let nothing = MediaPermissions {
        subscribe: false,
        audio: streams(&[]),
        video: streams(&[]),
        data: false,
        hidden: false,
        waits: false,
    };
    assert_eq!(stage.media(&who), Some(nothing), "before it is welcome");
    let lines = [line("0", false), line("1", true)];
    assert_eq!(
        stage.hall.welcome_guest(now, &who, &lines),
        Err(GuestRefusal::NotPermitted)
    );
    stage.hall.dismiss(now, &who);
    let who = stage
        .hall
        .admit_guest(now, "den", sound, GuestPurpose::Publishes)
        .unwrap();
    stage.hall.welcome_guest(now, &who, &lines[..1]).unwrap();
    stage.collect();
    assert_eq!(
        stage.media(&who).unwrap().audio,
        streams(&[&format!("{who}-0")])
    );
    assert_eq!(
        stage.act(&Act::Remove {
            participant: who.clone(),
            reason: String::new()
        }),
        Ok(())
    );
    assert!(stage.events.iter().any(|event| matches!(event,
        Event::Media(MediaEvent::Left { participant }) if *participant == who)));
    // A room where people wait is none for those who cannot be asked.
    let lobby = RoomSettings {
        lobby: Some(true),
        keeps: Duration::from_secs(60),
        ..RoomSettings::default()
    };
    stage.hall.create_room(now, "den", lobby, true).unwrap();
    let refused = stage
        .hall
        .admit_guest(now, "den", Admission::default(), GuestPurpose::Publishes);
    assert_eq!(refused, Err(GuestRefusal::RoomIsLocked));
    assert!(
        stage
            .hall
            .admit_guest(now, "den", moderator(), GuestPurpose::Publishes)
            .is_ok()
    );
}

#[test]
fn a_viewer_whose_token_ends_goes() {
    let mut stage = sfu();
    let admission = Admission {
        expires_at: Some(stage.now.wallclock + Duration::from_secs(5)),
        ..Admission::default()
    };
    let who = stage
        .hall
        .admit_guest(stage.now, "den", admission, GuestPurpose::LooksOn)
        .unwrap();
    stage.pass(Duration::from_secs(4));
    let has_left = |stage: &Stage| {
        stage.events.iter().any(|event| {
            matches!(event,
        Event::Media(MediaEvent::Left { participant }) if *participant == who)
        })
    };
    assert!(!has_left(&stage));
    stage.pass(Duration::from_secs(1));
    assert!(has_left(&stage));
}

#[test]
fn a_room_that_was_made_stays_for_its_time_and_keeps_its_limit() {
    let mut stage = Stage::new(Limits::default());
    let settings = RoomSettings {
        peers_max: Some(1),
        keeps: Duration::from_secs(30),
        ..RoomSettings::default()
    };
    stage
        .hall
        .create_room(stage.now, "den", settings, false)
        .unwrap();
    stage.collect();
    stage.pass(Duration::from_secs(29));
    assert_eq!(stage.hall.room("den").unwrap().max_participants, 1);
    stage.join_as(1, "Ada", Admission::default());
    let refused = stage.join_as(2, "Bob", moderator());
    assert_eq!(refused["data"]["details"], "room_is_full");
    stage.pass(Duration::from_secs(100));
    stage.say(1, &json!({"event": "leave"}).to_string());
    stage.pass(Duration::from_secs(29));
    assert_eq!(stage.hall.rooms().len(), 1);
    stage.pass(Duration::from_secs(1));
    assert_eq!(stage.hall.rooms().len(), 0);
    assert_eq!(
        stage.notices(),
        ["started den", "joined Ada", "left Ada left", "finished den"]
    );
}

#[test]
fn a_room_that_is_closed_sends_all_away() {
    let mut stage = Stage::of(Config {
        lobby: true,
        topology: Topology::Sfu,
        ..Config::default()
    });
    stage.join_as(1, "Host", moderator());
    stage.join_as(2, "Ada", Admission::default());
    stage.publish(1, &track("v", "camera"));
    let viewer = stage
        .hall
        .admit_guest(stage.now, "den", moderator(), GuestPurpose::LooksOn)
        .unwrap();
    assert_eq!(stage.hall.room("den").unwrap().viewers, 0);
    stage.hall.welcome_viewer(stage.now, &viewer).unwrap();
    assert_eq!(stage.hall.room("den").unwrap().viewers, 1);
    assert_eq!(
        stage.act(&Act::Close {
            reason: String::new()
        }),
        Ok(())
    );
    assert_eq!(
        stage.heard(1).pop().unwrap()["data"]["reason"],
        "room_closed"
    );
    assert_eq!(stage.heard(2).pop().unwrap()["data"]["details"], "denied");
    assert_eq!((stage.hall.room_count(), stage.hall.peer_count()), (0, 0));
    assert_eq!(stage.act(&Act::Lock(true)), Err(ActError::NoRoom));
    assert_eq!(
        stage.notices(),
        [
            "started den",
            "joined Host",
            "published",
            "joined ",
            "unpublished",
            "left Host room_closed",
            "left  room_closed",
            "finished den"
        ]
    );
}

#[test]
fn an_announcement_reaches_all_or_those_it_names() {
    let mut stage = Stage::new(Limits::default());
    let ada = stage.join_as(1, "Ada", Admission::default());
    stage.connect(2, Protocol::Base);
    stage.heard(1);
    stage.heard(2);
    let data = serde_json::value::to_raw_value(&json!({"text": "Doors close"})).unwrap();
    stage
        .hall
        .announce_to("den", None, "announcement", &data)
        .unwrap();
    stage.collect();
    for connection in [1, 2] {
        let heard = stage.heard(connection).remove(0);
        assert_eq!(
            (&heard["event"], &heard["from"]),
            (&json!("announcement"), &Value::Null)
        );
    }
    let ids = [id(&ada)];
    stage
        .hall
        .announce_to("den", Some(&ids), "announcement", &data)
        .unwrap();
    stage.collect();
    assert_eq!((stage.heard(1).len(), stage.heard(2).len()), (1, 0));
    let nobody = ["nobody".to_owned()];
    let refused = stage
        .hall
        .announce_to("den", Some(&nobody), "announcement", &data);
    assert_eq!(refused, Err(ActError::NoParticipant));
    assert_eq!(
        stage.hall.announce_to("lab", None, "x", &data),
        Err(ActError::NoRoom)
    );
}
