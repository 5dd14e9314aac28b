//! Rooms that move between shapes.

use super::*;
use crate::forward::VideoCodecs;
use crate::{Act, ActError, MediaEvent, PermissionChange, RoomSettings, Topology};

const SFU: &str = r#"{"event":"settled","data":{"topology":"sfu"}}"#;
const MESH: &str = r#"{"event":"settled","data":{"topology":"mesh"}}"#;

fn stage() -> Stage {
    Stage::of(Config {
        topology: Topology::Auto,
        limits: Limits {
            peers_per_mesh: 2,
            ..Limits::default()
        },
        ..Config::default()
    })
}

impl Stage {
    /// Takes what whoever forwards was told of who is there.
    fn forwarded(&mut self) -> (Vec<String>, Vec<String>) {
        let (mut joined, mut left) = (Vec::new(), Vec::new());
        for event in std::mem::take(&mut self.events) {
            match event {
                Event::Media(MediaEvent::Joined { participant, .. }) => joined.push(participant),
                Event::Media(MediaEvent::Left { participant }) => left.push(participant),
                _ => {}
            }
        }
        joined.sort();
        left.sort();
        (joined, left)
    }

    fn shape(&self) -> &'static str {
        self.hall.room("den").unwrap().topology
    }

    /// Takes the moves that a connection was told of.
    fn moves(&mut self, connection: u64) -> Vec<(String, bool)> {
        let heard = self.heard(connection);
        let moves = heard.iter().filter(|frame| frame["event"] == "topology");
        moves
            .map(|frame| {
                let data = &frame["data"];
                let shape = data["topology"].as_str().unwrap().to_owned();
                (shape, data["settled"].as_bool().unwrap())
            })
            .collect()
    }

    /// Three who joined, and are forwarded and settled.
    fn three(&mut self) -> Vec<String> {
        let ids = [1, 2, 3].map(|one| {
            let data = self.join(one, "");
            data["peer_id"].as_str().unwrap().to_owned()
        });
        self.say(1, SFU);
        self.say(2, SFU);
        for one in [1, 2, 3] {
            self.heard(one);
        }
        self.forwarded();
        let mut ids = ids.to_vec();
        ids.sort();
        ids
    }
}

fn told(shape: &str, settled: bool) -> (String, bool) {
    (shape.to_owned(), settled)
}

#[test]
fn a_room_that_grows_moves_to_the_server_and_old_connections_last_until_all_have_new_ones() {
    let mut stage = stage();
    assert_eq!(stage.join(1, "Ada")["topology"], "mesh");
    assert_eq!(stage.join(2, "Ben")["topology"], "mesh");
    assert_eq!(stage.forwarded(), (vec![], vec![]));
    stage.heard(1);
    let third = stage.join(3, "Cem");
    assert_eq!(third["topology"], "sfu");
    let (joined, left) = stage.forwarded();
    assert_eq!((joined.len(), left.len()), (3, 0));

    // Told before they hear of the newcomer, with whom they are not to connect.
    let heard = stage.heard(1);
    let events: Vec<_> = heard.iter().map(|frame| frame["event"].clone()).collect();
    assert_eq!(events, ["topology", "joined"]);
    assert_eq!(heard[0]["data"]["peers"][0]["name"], "Ben");
    assert_eq!(heard[0]["data"]["peers"].as_array().unwrap().len(), 1);
    assert_eq!(stage.moves(2), [told("sfu", false)]);
    assert!(stage.heard(3).is_empty());

    stage.say(1, SFU);
    assert!(stage.moves(1).is_empty());
    stage.say(2, SFU);
    for one in [1, 2, 3] {
        assert_eq!(stage.moves(one), [told("sfu", true)]);
    }
}

#[test]
fn who_never_settles_holds_nobody_up_for_long() {
    let mut stage = stage();
    for one in [1, 2, 3] {
        stage.join(one, "");
    }
    stage.moves(1);
    stage.pass(Duration::from_secs(19));
    assert!(stage.moves(1).is_empty());
    stage.pass(Duration::from_secs(1));
    assert_eq!(stage.moves(1), [told("sfu", true)]);
}

#[test]
fn a_room_that_has_become_small_goes_back_after_a_while() {
    let mut stage = stage();
    let ids = stage.three();
    stage.say(3, r#"{"event":"leave"}"#);
    let (joined, left) = stage.forwarded();
    assert_eq!((joined.len(), left.len()), (0, 1));
    stage.pass(Duration::from_secs(29));
    assert_eq!(stage.shape(), "sfu");
    stage.pass(Duration::from_secs(1));
    assert_eq!(stage.shape(), "mesh");
    assert_eq!(stage.moves(1), [told("mesh", false)]);

    // The server lets go of them last. A word about the shape before says nothing.
    assert_eq!(stage.forwarded(), (vec![], vec![]));
    stage.say(1, SFU);
    stage.say(2, MESH);
    assert!(stage.moves(1).is_empty());
    stage.say(1, MESH);
    assert_eq!(stage.moves(1), [told("mesh", true)]);
    let (joined, left) = stage.forwarded();
    assert_eq!((joined.len(), left.len()), (0, 2));
    assert!(left.iter().all(|id| ids.contains(id)));
}

#[test]
fn who_comes_back_in_time_finds_the_room_where_it_was() {
    let mut stage = stage();
    stage.three();
    stage.say(3, r#"{"event":"leave"}"#);
    stage.pass(Duration::from_secs(29));
    assert_eq!(stage.join(4, "Cem")["topology"], "sfu");
    stage.pass(Duration::from_secs(60));
    assert_eq!(stage.shape(), "sfu");
    assert!(stage.moves(1).is_empty());
}

#[test]
fn a_room_turns_round_on_its_way() {
    let mut stage = stage();
    stage.three();
    stage.say(3, r#"{"event":"leave"}"#);
    stage.pass(Duration::from_secs(30));
    stage.say(1, MESH);
    stage.forwarded();
    assert_eq!(stage.join(4, "Dan")["topology"], "sfu");
    let (joined, left) = stage.forwarded();
    assert_eq!((joined.len(), left.len()), (1, 0), "the others are there");
    assert_eq!(stage.moves(1), [told("mesh", false), told("sfu", false)]);
    stage.say(1, SFU);
    stage.say(2, SFU);
    assert_eq!(stage.moves(1), [told("sfu", true)]);
}

#[test]
fn base_clients_keep_a_room_as_it_is() {
    let mut stage = stage();
    stage.connect(1, Protocol::Base);
    stage.heard(1);
    for one in [2, 3, 4] {
        assert_eq!(stage.join(one, "")["topology"], "mesh");
    }
    let refused = stage.hall.admit_guest(
        stage.now,
        "den",
        Admission::default(),
        GuestPurpose::Publishes,
    );
    assert!(refused.is_err());
    // They hear nothing that they would not know.
    let heard = stage.heard(1);
    assert!(heard.iter().all(|frame| frame["event"] == "joined"));
    stage.lose(1);
    stage.pass(Duration::ZERO);
    assert_eq!(stage.shape(), "sfu");
    stage.connect(5, Protocol::Base);
    assert_eq!(stage.heard(5)[0]["data"]["details"], "room_needs_twocan_v1");
}

#[test]
fn who_plays_or_publishes_by_http_brings_the_server_in() {
    for purpose in [GuestPurpose::Publishes, GuestPurpose::LooksOn] {
        let mut stage = stage();
        stage.join(1, "Ada");
        let admission = Admission::default();
        let id = stage.hall.admit_guest(stage.now, "den", admission, purpose);
        let id = id.unwrap();
        stage.collect();
        assert_eq!(stage.moves(1), [told("sfu", false)]);
        let (joined, left) = stage.forwarded();
        assert_eq!((joined.len(), left.len()), (2, 0));
        let welcome = match purpose {
            GuestPurpose::Publishes => stage.hall.welcome_guest(stage.now, &id, &[]),
            _ => stage.hall.welcome_viewer(stage.now, &id),
        };
        assert!(welcome.is_ok());
        stage.say(1, SFU);
        stage.pass(Duration::from_secs(60));
        assert_eq!(stage.shape(), "sfu");
        stage.hall.dismiss(stage.now, &id);
        stage.pass(Duration::ZERO);
        stage.pass(Duration::from_secs(30));
        assert_eq!(stage.shape(), "mesh");
        stage.say(1, MESH);
        let (joined, left) = stage.forwarded();
        assert_eq!((joined.len(), left.len()), (0, 2));
    }
}

#[test]
fn what_the_others_would_have_to_keep_to_is_for_the_server() {
    let mut stage = stage();
    let ada = stage.join(1, "Ada")["peer_id"].clone();
    stage.join(2, "Ben");
    let silent = PermissionChange {
        subscribe: Some(false),
        ..PermissionChange::default()
    };
    let change = |stage: &mut Stage, change: PermissionChange| {
        let act = crate::Act::Permit {
            participant: ada.as_str().unwrap().to_owned(),
            change,
        };
        stage.hall.act(stage.now, "den", &act).unwrap();
        stage.collect();
    };
    change(&mut stage, silent);
    assert_eq!(stage.shape(), "sfu");
    let restored = PermissionChange {
        subscribe: Some(true),
        ..PermissionChange::default()
    };
    change(&mut stage, restored);
    stage.pass(Duration::from_secs(30));
    assert_eq!(stage.shape(), "mesh");
}

#[test]
fn an_operator_decides_the_shape_of_a_room() {
    let mut stage = stage();
    stage.join(1, "Ada");
    for (shape, name) in [
        (Some(Topology::Sfu), "sfu"),
        (Some(Topology::Mesh), "mesh"),
        (Some(Topology::Sfu), "sfu"),
        (None, "mesh"),
    ] {
        let settings = RoomSettings {
            topology: shape,
            ..RoomSettings::default()
        };
        let made = stage.hall.create_room(stage.now, "den", settings, true);
        assert_eq!(made, Ok(true));
        stage.pass(Duration::ZERO);
        if shape.is_none() {
            stage.pass(Duration::from_secs(30));
        }
        assert_eq!(stage.shape(), name);
    }
    assert_eq!(
        stage.hall.room("den").unwrap().max_participants,
        Limits::default().peers_per_forwarded_room
    );
}

fn may_not_look() -> Admission {
    let mut admission = Admission::default();
    admission.permissions.subscribe = false;
    admission
}

#[test]
fn who_is_restricted_does_not_escape_by_the_base_protocol() {
    let mut stage = stage();
    stage.connect_as(1, Protocol::Base, may_not_look());
    let refused = stage.heard(1);
    assert_eq!(refused[0]["data"]["details"], "room_needs_twocan_v1");
    assert_eq!(stage.hall.peer_count(), 0);
    // One who becomes so goes.
    stage.connect(2, Protocol::Base);
    let id = stage.heard(2)[0]["data"]["peer_id"]
        .as_str()
        .unwrap()
        .to_owned();
    let change = PermissionChange {
        subscribe: Some(false),
        ..PermissionChange::default()
    };
    let permit = Act::Permit {
        participant: id,
        change,
    };
    assert_eq!(stage.act(&permit), Ok(()));
    assert_eq!(stage.hall.peer_count(), 0);
}

#[test]
fn who_waits_with_the_base_protocol_is_not_let_into_a_room_that_the_server_forwards() {
    let mut stage = stage();
    stage.hall.config.lobby = true;
    let mut moderator = Admission::default();
    moderator.permissions.moderate = true;
    stage.join_as(1, "Ada", moderator.clone());
    stage.connect(2, Protocol::Base);
    let lobby = stage.heard(1);
    let waiting = lobby.last().unwrap()["data"]["waiting"][0]["peer_id"].clone();
    let waiting = waiting.as_str().unwrap().to_owned();
    for one in [3, 4] {
        stage.join_as(one, "", moderator.clone());
    }
    assert_eq!(stage.shape(), "sfu");
    let participant = waiting;
    let refused = stage.act(&Act::Admit { participant });
    assert_eq!(refused, Err(ActError::NeedsTwocan));
    stage.pass(Duration::from_secs(60));
    assert_eq!(stage.shape(), "sfu");
}

#[test]
fn who_may_not_get_everything_any_more_is_not_waited_for() {
    let mut stage = stage();
    let ids = [1, 2].map(|one| {
        let data = stage.join(one, "");
        data["peer_id"].as_str().unwrap().to_owned()
    });
    stage.moves(1);
    let change = PermissionChange {
        subscribe: Some(false),
        ..PermissionChange::default()
    };
    let permit = Act::Permit {
        participant: ids[1].clone(),
        change,
    };
    assert_eq!(stage.act(&permit), Ok(()));
    assert_eq!(stage.moves(1), [told("sfu", false)]);
    stage.say(1, SFU);
    assert_eq!(stage.moves(1), [told("sfu", true)]);
}

#[test]
fn who_comes_during_a_move_does_not_prolong_it() {
    let mut stage = stage();
    for one in [1, 2, 3, 4] {
        stage.join(one, "");
    }
    stage.moves(1);
    stage.say(1, SFU);
    stage.say(2, SFU);
    assert_eq!(stage.moves(1), [told("sfu", true)]);
    assert_eq!(stage.moves(4), [told("sfu", true)]);
}

#[test]
fn a_newcomer_is_welcomed_before_it_hears_of_shapes() {
    let mut stage = stage();
    let first = stage.join_as(1, "", may_not_look());
    assert_eq!(first["event"], "authenticated");
    assert_eq!(first["data"]["topology"], "sfu");
    assert!(stage.heard(1).is_empty());
}

#[test]
fn the_codecs_of_a_room_are_told_to_whoever_forwards_its_media() {
    let mut stage = stage();
    stage.join(1, "Ada");
    let told = |stage: &mut Stage, names: &[&str]| {
        let settings = RoomSettings {
            video_codecs: VideoCodecs::new(names.iter().copied()),
            ..RoomSettings::default()
        };
        stage.events.clear();
        let made = stage.hall.create_room(stage.now, "den", settings, true);
        assert_eq!(made, Ok(true));
        stage.pass(Duration::ZERO);
        let mut told: Vec<Vec<&str>> = Vec::new();
        for event in std::mem::take(&mut stage.events) {
            if let Event::Media(MediaEvent::Codecs { room, video_codecs }) = event {
                assert_eq!(room, "den");
                told.push(video_codecs.names().collect());
            }
        }
        told
    };
    assert_eq!(
        told(&mut stage, &["av1", "H265", "vp8", "AV1"]),
        [["AV1", "VP8"]]
    );
    assert_eq!(stage.hall.room("den").unwrap().video_codecs, ["av1", "vp8"]);
    assert!(told(&mut stage, &["AV1", "VP8"]).is_empty(), "as before");
    assert_eq!(told(&mut stage, &[]), [Vec::<&str>::new()]);
}
