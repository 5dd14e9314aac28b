//! What was said to everybody, for those who come later.

use super::order::id;
use super::*;
use crate::RoomSettings;

fn stage(chat_history: usize) -> Stage {
    Stage::new(Limits {
        chat_history,
        ..Limits::default()
    })
}

impl Stage {
    fn chat(&mut self, connection: u64, to: &Value, data: &Value) {
        let text = json!({"event": "chat", "to": to, "data": data}).to_string();
        self.say(connection, &text);
    }

    fn says(&mut self, connection: u64, text: &str) {
        self.chat(connection, &json!("all"), &json!({"text": text}));
    }

    /// Somebody joins; answers what it was told of before, as names, texts and times, in the one frame
    /// after the first.
    fn comes(&mut self, connection: u64, name: &str) -> Vec<(String, String, u64)> {
        self.connect(connection, Protocol::V1);
        let join = json!({"event": "join", "data": {"name": name}});
        self.say(connection, &join.to_string());
        let heard = self.heard(connection);
        assert_eq!(heard[0]["event"], "authenticated");
        let Some(frame) = heard.get(1) else {
            return Vec::new();
        };
        assert_eq!((&frame["event"], heard.len()), (&json!("chat-history"), 2));
        assert_eq!((&frame["from"], &frame["seq"]), (&Value::Null, &json!(2)));
        let messages = frame["data"]["messages"].as_array().unwrap();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let read = |own: &Value| {
            (
                text(&own["name"]),
                text(&own["data"]["text"]),
                own["at"].as_u64().unwrap(),
            )
        };
        messages.iter().map(read).collect()
    }
}

fn texts(told: &[(String, String, u64)]) -> Vec<&str> {
    told.iter().map(|(_, text, _)| text.as_str()).collect()
}

#[test]
fn nothing_is_kept_where_nobody_wants_it() {
    let mut stage = stage(0);
    let ada = stage.join_as(1, "Ada", Admission::default());
    assert_eq!(ada["data"]["chat_history"], Value::Null);
    stage.says(1, "hello");
    assert_eq!(stage.comes(2, "Bob"), []);
}

#[test]
fn who_comes_later_is_told_once_what_was_said_to_all() {
    let mut stage = stage(3);
    let ada = stage.join_as(1, "Ada", Admission::default());
    assert_eq!(ada["data"]["chat_history"], 3);
    assert_eq!(stage.comes(2, "Bob"), [], "nothing was said yet");
    stage.says(1, "first");
    stage.says(2, "second");
    // To one alone, and to all by their names.
    stage.chat(1, &json!([id(&ada)]), &json!({"text": "alone"}));
    stage.chat(2, &json!([id(&ada)]), &json!({"text": "to Ada"}));
    stage.chat(1, &json!("all"), &json!("no message"));
    stage.pass(Duration::from_secs(5));
    // Who said it may be gone, and be called something else.
    stage.say(1, r#"{"event":"metadata","data":{"name":"Countess"}}"#);
    stage.says(1, "third");
    stage.say(1, r#"{"event":"leave"}"#);
    let told = stage.comes(3, "Eve");
    let began = 1_700_000_000_000;
    let expected = [
        ("Ada", "first", began),
        ("Bob", "second", began),
        ("Countess", "third", began + 5_000),
    ];
    let expected = expected.map(|(name, text, at)| (name.to_owned(), text.to_owned(), at));
    assert_eq!(told, expected);
    // No more than the last three.
    stage.says(2, "fourth");
    stage.heard(3);
    assert_eq!(texts(&stage.comes(4, "Dan")), ["second", "third", "fourth"]);
    // It ends with the room.
    for connection in [2, 3, 4] {
        stage.say(connection, r#"{"event":"leave"}"#);
    }
    assert_eq!(stage.comes(5, "Fay"), []);
}

#[test]
fn who_goes_on_after_a_lost_connection_is_not_told_again() {
    let mut stage = stage(3);
    stage.join_as(1, "Ada", Admission::default());
    stage.says(1, "hello");
    let bob = stage.join_as(2, "Bob", Admission::default());
    stage.lose(2);
    stage.says(1, "meanwhile");
    stage.connect(3, Protocol::V1);
    let token = &bob["data"]["resume_token"];
    let resume = json!({"event": "resume", "data": {"token": token, "seq": 2}});
    stage.say(3, &resume.to_string());
    let heard = stage.heard(3);
    let events: Vec<_> = heard.iter().map(|frame| &frame["event"]).collect();
    assert_eq!(events, ["resumed", "chat"]);
}

#[test]
fn a_base_client_is_heard_and_is_told_nothing_new() {
    let mut stage = stage(3);
    stage.connect(1, Protocol::Base);
    stage.says(1, "hello");
    assert_eq!(texts(&stage.comes(2, "Bob")), ["hello"]);
    stage.connect(3, Protocol::Base);
    let events: Vec<Value> = stage.heard(3);
    assert_eq!(events.len(), 1);
    assert_eq!(events[0]["event"], "authenticated");
}

#[test]
fn what_nobody_may_say_is_not_kept() {
    let mut stage = stage(3);
    stage.join_as(1, "Ada", super::order::with(r#"{"data":false}"#));
    stage.says(1, "hello");
    let forged = json!({"event": "chat-history", "to": "all", "data": {"messages": []}});
    assert_eq!(stage.comes(2, "Bob"), []);
    stage.say(2, &forged.to_string());
    assert_eq!(stage.heard(2)[0]["data"]["details"], "event");
}

#[test]
fn so_many_bytes_are_kept_and_no_more() {
    let mut stage = stage(1_000);
    stage.join_as(1, "Ada", Admission::default());
    for number in 0..6 {
        stage.says(1, &format!("{number} {}", "x".repeat(60_000)));
    }
    let told = stage.comes(2, "Bob");
    let first: Vec<_> = told.iter().map(|(_, text, _)| &text[..1]).collect();
    assert_eq!(first, ["2", "3", "4", "5"], "256 KiB");
}

#[test]
fn an_operator_decides_it_of_a_room() {
    let mut stage = stage(0);
    let settings = |chat_history| RoomSettings {
        keeps: Duration::from_secs(60),
        chat_history,
        ..RoomSettings::default()
    };
    let now = stage.now;
    let made = stage.hall.create_room(now, "den", settings(Some(5)), true);
    assert_eq!(made, Ok(true));
    stage.join_as(1, "Ada", Admission::default());
    for number in 0..9 {
        stage.says(1, &number.to_string());
    }
    let told = stage.comes(2, "Bob");
    assert_eq!(texts(&told), ["4", "5", "6", "7", "8"]);
    let now = stage.now;
    let made = stage.hall.create_room(now, "den", settings(Some(2)), true);
    assert_eq!(made, Ok(true));
    stage.collect();
    let heard = stage.heard(2);
    assert_eq!(heard[0]["event"], "room");
    assert_eq!(heard[0]["data"]["chat_history"], 2);
    assert_eq!(texts(&stage.comes(3, "Eve")), ["7", "8"]);
    let made = stage.hall.create_room(now, "den", settings(None), true);
    assert_eq!(made, Ok(true));
    assert_eq!(stage.comes(4, "Dan"), []);
}
