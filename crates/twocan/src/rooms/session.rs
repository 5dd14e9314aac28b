//! The session with the server over one WebSocket after another: numbers, replay, greeting.
//! It does no I/O.

use std::collections::VecDeque;

use serde_json::{Value, json};

use super::error::{CloseReason, JoinError};
use super::messages::{Authenticated, ClientFrame, Resumed, ServerFrame, To};

/// Frames kept for sending again after a resume. When one that the server never got has fallen
/// out, the room is joined anew.
const SENT_MAX: usize = 256;

#[derive(Debug)]
pub(super) struct Session {
    /// `data` of `join`.
    identity: Value,
    resume_token: String,
    last_seq: u64,
    sent_seq: u64,
    sent: VecDeque<(u64, String)>,
    phase: Phase,
    /// The server speaks the base protocol only: no numbers, no resumption.
    is_base: bool,
    ever_joined: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// No WebSocket, or not greeted yet: frames wait.
    Waiting,
    /// Frames go out as they are made.
    Live,
}

/// What a text from the server means.
#[derive(Debug, PartialEq)]
pub(super) enum Read {
    Nothing,
    /// The room was joined, for the first time or (`again`) anew because the old session was gone.
    Authenticated {
        data: Authenticated,
        again: bool,
    },
    /// The session goes on; these texts are sent again.
    Resumed {
        data: Resumed,
        resend: Vec<String>,
    },
    /// The old session is gone: this is sent to join anew.
    JoinAnew(String),
    /// What the server misses is no longer here: this is sent, and a new WebSocket made.
    StartOver(String),
    Frame(ServerFrame),
    NotAdmitted(String),
    /// The server ends; another attempt is to be made, where another one may answer.
    GoneAway,
    Closed(CloseReason),
}

impl Session {
    pub(super) fn new(identity: Value) -> Self {
        Self {
            identity,
            resume_token: String::new(),
            last_seq: 0,
            sent_seq: 0,
            sent: VecDeque::new(),
            phase: Phase::Waiting,
            is_base: false,
            ever_joined: false,
        }
    }

    /// A WebSocket is open: the first text for it. A base server greets by itself.
    pub(super) fn opened(&mut self, is_base: bool) -> Option<String> {
        self.is_base = is_base;
        self.phase = Phase::Waiting;
        if is_base {
            self.forget();
            return None;
        }
        if self.resume_token.is_empty() {
            return Some(self.join());
        }
        let data = json!({"token": self.resume_token, "seq": self.last_seq});
        Some(frame("resume", &data, None, None))
    }

    /// The WebSocket is gone.
    pub(super) fn lost(&mut self) {
        self.phase = Phase::Waiting;
    }

    /// A frame to be sent: its text if it goes out at once.
    pub(super) fn push(&mut self, event: &str, data: &Value, to: Option<&To>) -> Option<String> {
        let is_live = self.phase == Phase::Live;
        if self.is_base {
            return is_live.then(|| frame(event, data, to, None));
        }
        self.sent_seq += 1;
        let text = frame(event, data, to, Some(self.sent_seq));
        self.sent.push_back((self.sent_seq, text.clone()));
        if self.sent.len() > SENT_MAX {
            self.sent.pop_front();
        }
        is_live.then_some(text)
    }

    /// Whether the server speaks the base protocol only.
    pub(super) fn is_base(&self) -> bool {
        self.is_base
    }

    pub(super) fn read(&mut self, text: &str) -> Read {
        // A server that sends no JSON is not worth ending a call for.
        let Ok(incoming) = serde_json::from_str::<ServerFrame>(text) else {
            return Read::Nothing;
        };
        if let Some(seq) = incoming.seq {
            if seq <= self.last_seq {
                return Read::Nothing;
            }
            self.last_seq = seq;
        }
        match incoming.event.as_str() {
            "authenticated" => match serde_json::from_value(incoming.data) {
                Ok(data) => self.authenticated(data),
                Err(_) => Read::Nothing,
            },
            "resumed" => match serde_json::from_value(incoming.data) {
                Ok(data) => self.resumed(data),
                Err(_) => Read::Nothing,
            },
            "error" => self.error(&incoming.data),
            "kicked" => {
                let reason = text_of(incoming.data.get("reason"));
                Read::Closed(CloseReason::Kicked(reason))
            }
            "reply" => Read::Nothing,
            _ => Read::Frame(incoming),
        }
    }

    fn authenticated(&mut self, data: Authenticated) -> Read {
        let again = self.ever_joined;
        self.ever_joined = true;
        self.phase = Phase::Live;
        self.resume_token.clone_from(&data.resume_token);
        Read::Authenticated { data, again }
    }

    fn resumed(&mut self, data: Resumed) -> Read {
        if let Some(token) = &data.resume_token {
            self.resume_token.clone_from(token);
        }
        let oldest = self.sent.front().map_or(self.sent_seq + 1, |(seq, _)| *seq);
        if oldest > data.received.saturating_add(1) {
            self.forget();
            let seq = data.received.saturating_add(1);
            return Read::StartOver(frame("leave", &Value::Null, None, Some(seq)));
        }
        self.phase = Phase::Live;
        let missed = self.sent.iter().filter(|(seq, _)| *seq > data.received);
        let resend = missed.map(|(_, text)| text.clone()).collect();
        Read::Resumed { data, resend }
    }

    fn error(&mut self, data: &Value) -> Read {
        let details = text_of(data.get("details"));
        match data.get("description").and_then(Value::as_str) {
            Some("Could not resume") => {
                self.forget();
                Read::JoinAnew(self.join())
            }
            // Whoever comes after this server takes us.
            Some("Could not join room") if self.ever_joined && details == "draining" => {
                Read::GoneAway
            }
            Some("Could not join room") => Read::NotAdmitted(details),
            Some("Room closed") => Read::Closed(CloseReason::RoomClosed(details)),
            other => {
                tracing::warn!(description = other, details, "the server refuses a frame");
                Read::Nothing
            }
        }
    }

    fn join(&self) -> String {
        frame("join", &self.identity, None, None)
    }

    fn forget(&mut self) {
        self.resume_token.clear();
        self.last_seq = 0;
        self.sent_seq = 0;
        self.sent.clear();
    }
}

/// What a server's refusal to join means to the one who tries for the first time.
pub(super) fn not_admitted(details: String) -> JoinError {
    match details.as_str() {
        "room_is_full" => JoinError::RoomFull,
        _ => JoinError::NotAdmitted(details),
    }
}

fn text_of(value: Option<&Value>) -> String {
    match value {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Null) | None => String::new(),
        Some(other) => other.to_string(),
    }
}

fn frame(event: &str, data: &Value, to: Option<&To>, seq: Option<u64>) -> String {
    let frame = ClientFrame {
        event,
        data,
        to,
        seq,
    };
    // Strings, numbers and JSON values: nothing here can fail to serialize.
    serde_json::to_string(&frame).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_goes_on_after_a_loss_without_gap_or_repetition() {
        let mut session = joined();
        assert!(session.push("offer", &json!(1), None).is_some());
        assert_eq!(session.read(&numbered(2, "left")), frame_of(2, "left"));
        session.lost();
        assert_eq!(session.push("offer", &json!(2), None), None, "waits");
        let greeting = session.opened(false).unwrap();
        assert_eq!(
            greeting,
            r#"{"event":"resume","data":{"seq":2,"token":"t1"}}"#
        );
        let resumed = json!({"event": "resumed", "data": {"received": 1, "resume_token": "t2"}});
        let Read::Resumed { resend, .. } = session.read(&resumed.to_string()) else {
            panic!("not resumed");
        };
        assert_eq!(resend, [r#"{"event":"offer","data":2,"seq":2}"#]);
        assert_eq!(
            session.read(&numbered(2, "left")),
            Read::Nothing,
            "replayed"
        );
        assert_eq!(session.read(&numbered(3, "left")), frame_of(3, "left"));
        session.lost();
        assert!(session.opened(false).unwrap().contains("t2"));
    }

    #[test]
    fn a_session_that_is_gone_is_joined_anew() {
        let mut session = joined();
        session.push("offer", &json!(1), None);
        session.lost();
        session.opened(false);
        let refused = json!({"event": "error", "data": {"description": "Could not resume"}});
        let Read::JoinAnew(text) = session.read(&refused.to_string()) else {
            panic!("not joined anew");
        };
        assert_eq!(text, r#"{"event":"join","data":{"name":"Ada"}}"#);
        let Read::Authenticated { again, .. } = session.read(&authenticated()) else {
            panic!("not authenticated");
        };
        assert!(again);
        let first = session.push("track", &json!(1), None).unwrap();
        assert!(first.contains(r#""seq":1"#), "{first}");
    }

    #[test]
    fn a_server_that_ends_is_left_for_the_next_one_by_who_was_there() {
        let refused = json!({
            "event": "error",
            "data": {"description": "Could not join room", "details": "draining"},
        });
        let refused = refused.to_string();
        assert_eq!(joined().read(&refused), Read::GoneAway);
        let mut first = Session::new(json!({}));
        first.opened(false);
        assert_eq!(first.read(&refused), Read::NotAdmitted("draining".into()));
    }

    #[test]
    fn a_gap_that_cannot_be_filled_starts_the_session_over() {
        let mut session = joined();
        for number in 0..=SENT_MAX {
            session.push("offer", &json!(number), None);
        }
        session.lost();
        session.opened(false);
        let resumed = json!({"event": "resumed", "data": {"received": 0}});
        let read = session.read(&resumed.to_string());
        assert!(matches!(read, Read::StartOver(_)), "{read:?}");
        assert!(session.opened(false).unwrap().contains("join"));
    }

    #[test]
    fn a_base_server_gets_no_numbers() {
        let mut session = Session::new(json!({}));
        assert_eq!(session.opened(true), None);
        session.read(r#"{"event":"authenticated","data":{"peer_id":"a"},"from":null,"to":["a"]}"#);
        let to = To::Peers(vec!["b".into()]);
        let text = session.push("offer", &json!(1), Some(&to)).unwrap();
        assert_eq!(text, r#"{"event":"offer","data":1,"to":["b"]}"#);
    }

    #[test]
    fn nonsense_from_the_server_is_passed_over() {
        let mut session = joined();
        for text in [
            "",
            "pong",
            "[]",
            "{}",
            r#"{"event":1}"#,
            r#"{"event":"authenticated","data":7}"#,
        ] {
            assert_eq!(session.read(text), Read::Nothing, "{text}");
        }
    }

    fn joined() -> Session {
        let mut session = Session::new(json!({"name": "Ada"}));
        assert!(session.opened(false).unwrap().contains("join"));
        let read = session.read(&authenticated());
        assert!(matches!(read, Read::Authenticated { again: false, .. }));
        session
    }

    fn authenticated() -> String {
        json!({"event": "authenticated", "seq": 1,
            "data": {"peer_id": "a", "resume_token": "t1", "peers": []}})
        .to_string()
    }

    fn numbered(seq: u64, event: &str) -> String {
        json!({"event": event, "data": null, "from": null, "to": "all", "seq": seq}).to_string()
    }

    fn frame_of(seq: u64, event: &str) -> Read {
        Read::Frame(ServerFrame {
            event: event.into(),
            data: Value::Null,
            from: None,
            seq: Some(seq),
        })
    }
}
