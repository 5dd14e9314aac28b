//! Raised hands: one order for all, and who may lower which.

use super::order::{id, moderator, with};
use super::*;

impl Stage {
    fn hand(&mut self, connection: u64, raised: bool) {
        let text = json!({"event": "hand", "id": 5, "data": {"raised": raised}}).to_string();
        self.say(connection, &text);
    }

    /// What a connection was told of hands: whose, and its number.
    fn hands(&mut self, connection: u64) -> Vec<(String, Option<u64>)> {
        let heard = self.heard(connection);
        let hands = heard.iter().filter(|frame| frame["event"] == "hand");
        hands
            .map(|frame| {
                let number = frame["data"]["number"].as_u64();
                assert_eq!(frame["data"]["raised"], number.is_some());
                (id(frame), number)
            })
            .collect()
    }
}

#[test]
fn hands_have_one_order_for_all_and_for_who_comes_later() {
    let mut stage = Stage::new(Limits::default());
    let ada = id(&stage.join_as(1, "Ada", Admission::default()));
    let bob = id(&stage.join_as(2, "Bob", Admission::default()));
    for connection in [1, 2] {
        stage.heard(connection);
    }
    stage.hand(2, true);
    stage.hand(1, true);
    stage.hand(2, true);
    let told = [(bob.clone(), Some(1)), (ada.clone(), Some(2))];
    assert_eq!(stage.hands(1), told);
    assert_eq!(stage.hands(2), told, "raised twice, it keeps its place");
    let welcome = stage.join_as(3, "Eve", Admission::default());
    let seen: Vec<_> = welcome["data"]["peers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|peer| peer["hand"].as_u64())
        .collect();
    assert_eq!(seen, [Some(2), Some(1)]);
    stage.hand(2, false);
    stage.hand(2, true);
    let told = [(bob.clone(), None), (bob, Some(3))];
    for connection in [1, 2, 3] {
        assert_eq!(stage.hands(connection), told, "behind who waited");
    }
}

#[test]
fn who_moderates_lowers_the_hands_of_others_and_nobody_else_does() {
    let mut stage = Stage::new(Limits::default());
    let ada = id(&stage.join_as(1, "Ada", Admission::default()));
    let host = id(&stage.join_as(2, "Host", moderator()));
    stage.hand(1, true);
    stage.hand(2, true);
    stage.heard(1);
    let order = json!({"action": "lower-hand", "peer_id": host});
    assert_eq!(
        stage.moderate(1, &order)["data"]["description"],
        "Not permitted"
    );
    let order = json!({"action": "lower-hand", "peer_id": ada});
    assert_eq!(stage.moderate(2, &order)["event"], "reply");
    assert_eq!(stage.hands(1), [(ada, None)]);
    let order = json!({"action": "lower-hand", "peer_id": "nobody"});
    assert_eq!(stage.moderate(2, &order)["data"]["description"], "Not done");
}

#[test]
fn who_moderates_lowers_all_hands_at_once() {
    let mut stage = Stage::new(Limits::default());
    let ada = id(&stage.join_as(1, "Ada", Admission::default()));
    let host = id(&stage.join_as(2, "Host", moderator()));
    stage.join_as(3, "Bob", Admission::default());
    stage.hand(1, true);
    stage.hand(2, true);
    stage.heard(3);
    let order = json!({"action": "lower-hands"});
    let refused = stage.moderate(1, &order);
    assert_eq!(refused["data"]["description"], "Not permitted");
    assert_eq!(stage.moderate(2, &order)["event"], "reply");
    let mut told = stage.hands(3);
    told.sort();
    let mut all = vec![(ada, None), (host, None)];
    all.sort();
    assert_eq!(told, all, "and nothing of who raised none");
    let welcome = stage.join_as(4, "Eve", Admission::default());
    let peers = welcome["data"]["peers"].as_array().unwrap();
    assert!(peers.iter().all(|peer| peer.get("hand").is_none()));
}

#[test]
fn a_hand_stays_up_while_a_connection_is_lost_and_goes_with_its_owner() {
    let mut stage = Stage::new(Limits::default());
    let welcome = stage.join_as(1, "Ada", Admission::default());
    let ada = id(&welcome);
    let bob = id(&stage.join_as(2, "Bob", Admission::default()));
    stage.hand(1, true);
    let seen = stage.heard(1).last().unwrap()["seq"].clone();
    stage.heard(2);
    stage.lose(1);
    stage.hand(2, true);
    assert_eq!(stage.hands(2), [(bob.clone(), Some(2))], "still behind her");
    stage.connect(3, Protocol::V1);
    let token = &welcome["data"]["resume_token"];
    let resume = json!({"event": "resume", "data": {"token": token, "seq": seen}});
    stage.say(3, &resume.to_string());
    assert_eq!(stage.hands(3), [(bob, Some(2))], "what she missed");
    stage.lose(3);
    stage.pass(Limits::default().resume_grace);
    assert_eq!(id(&stage.heard(2)[0]), ada);
    let late = stage.join_as(4, "Eve", Admission::default());
    assert_eq!(late["data"]["peers"].as_array().unwrap().len(), 1);
    assert_eq!(late["data"]["peers"][0]["hand"], 2);
}

#[test]
fn who_may_not_talk_any_more_has_no_hand_up() {
    let mut stage = Stage::new(Limits::default());
    let ada = id(&stage.join_as(1, "Ada", Admission::default()));
    stage.join_as(2, "Host", moderator());
    stage.hand(1, true);
    stage.heard(1);
    let order = json!({"action": "permissions", "peer_id": ada, "permissions": {"data": false}});
    assert_eq!(stage.moderate(2, &order)["event"], "reply");
    assert_eq!(stage.hands(1), [(ada, None)]);
}

#[test]
fn nobody_raises_a_hand_without_permission_or_for_another() {
    let mut stage = Stage::new(Limits::default());
    let host = id(&stage.join_as(1, "Host", Admission::default()));
    stage.join_as(2, "Ada", with(r#"{"data":false}"#));
    stage.connect(3, Protocol::Base);
    for connection in [1, 2, 3] {
        stage.heard(connection);
    }
    stage.hand(2, true);
    assert_eq!(stage.heard(2)[0]["data"]["details"], "data");
    // A base client would otherwise pass for the server.
    let forged = json!({"event": "hand", "to": "all", "data": {"peer_id": host, "raised": true}});
    stage.say(3, &forged.to_string());
    assert_eq!(stage.hands(1), []);
    stage.say(1, r#"{"event":"hand","id":5,"data":{"raised":"yes"}}"#);
    assert_eq!(stage.heard(1)[0]["data"]["description"], "Invalid message");
}

#[test]
fn hands_are_not_raised_faster_than_anything_else_changes() {
    let mut stage = Stage::new(Limits::default());
    stage.join(1, "Ada");
    stage.join(2, "Bob");
    stage.heard(2);
    for turn in 0..60 {
        stage.hand(1, turn % 2 == 0);
    }
    let heard = stage.heard(1);
    let refused = heard.last().unwrap();
    assert_eq!(refused["data"]["details"], "changes_per_second");
    assert_eq!(stage.hands(2).len(), 20);
}
