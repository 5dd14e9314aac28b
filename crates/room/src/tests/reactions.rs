//! Reactions: to whom, which, and how often.

use super::order::{id, with};
use super::*;

impl Stage {
    fn react(&mut self, connection: u64, emoji: &str) {
        let text = json!({"event": "reaction", "id": 6, "data": {"emoji": emoji}}).to_string();
        self.say(connection, &text);
    }

    /// What a connection was told of reactions: whose, and which.
    fn reactions(&mut self, connection: u64) -> Vec<(String, String)> {
        let heard = self.heard(connection);
        let own = heard.iter().filter(|frame| frame["event"] == "reaction");
        own.map(|frame| {
            let text = |value: &Value| value.as_str().unwrap().to_owned();
            (text(&frame["from"]), text(&frame["data"]["emoji"]))
        })
        .collect()
    }
}

#[test]
fn a_reaction_goes_to_the_others_and_nobody_keeps_it() {
    let mut stage = Stage::new(Limits::default());
    let ada = id(&stage.join_as(1, "Ada", Admission::default()));
    stage.join_as(2, "Bob", Admission::default());
    stage.connect(3, Protocol::Base);
    for connection in [1, 2, 3] {
        stage.heard(connection);
    }
    stage.react(1, "👏");
    assert_eq!(stage.heard(1)[0]["event"], "reply");
    assert_eq!(stage.reactions(2), [(ada, "👏".to_owned())]);
    assert!(stage.heard(3).is_empty(), "a base client knows none");
    let late = stage.join_as(4, "Eve", Admission::default());
    assert_eq!(late["event"], "authenticated");
    assert!(stage.heard(4).is_empty());
}

#[test]
fn only_those_that_there_are_and_only_of_who_may_talk() {
    let mut stage = Stage::new(Limits::default());
    stage.join_as(1, "Ada", Admission::default());
    stage.join_as(2, "Bob", with(r#"{"data":false}"#));
    stage.heard(1);
    for emoji in ["", "💣", "👍👍", "<b>"] {
        stage.react(1, emoji);
        let refused = stage.heard(1).remove(0);
        assert_eq!(refused["data"]["description"], "Invalid message");
        assert_eq!(refused["id"], 6);
    }
    stage.say(1, r#"{"event":"reaction","to":"all","data":"👍"}"#);
    assert_eq!(stage.heard(1)[0]["event"], "error");
    stage.react(2, "👍");
    assert_eq!(stage.heard(2).last().unwrap()["data"]["details"], "data");
    assert_eq!(stage.reactions(1), []);
}

#[test]
fn reactions_have_a_rate_in_either_protocol() {
    let mut stage = Stage::new(Limits::default());
    stage.join(1, "Ada");
    stage.connect(2, Protocol::Base);
    stage.join(3, "Bob");
    for connection in [1, 2, 3] {
        stage.heard(connection);
    }
    for _ in 0..10 {
        stage.react(1, "🎉");
        stage.say(
            2,
            r#"{"event":"reaction","to":"all","data":{"emoji":"🎉"}}"#,
        );
    }
    for connection in [1, 2] {
        let heard = stage.heard(connection);
        let refused = heard.last().unwrap();
        assert_eq!(refused["data"]["details"], "reactions_per_second");
    }
    assert_eq!(stage.reactions(3).len(), 8, "four of each");
    stage.pass(Duration::from_secs(1));
    for _ in 0..10 {
        stage.react(1, "🎉");
    }
    assert_eq!(stage.reactions(3).len(), 2);
}
