//! Texts of the channel `chat`, and of the event, as the meeting page writes them.

use serde::Serialize;
use serde_json::Value;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use twocan_io::clock;
use twocan_proto::random::Random;

/// Longest text that is read, in bytes.
const TEXT_LEN_MAX: usize = 32_000;

/// A text that someone wrote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ChatMessage {
    #[serde(rename = "type")]
    kind: String,
    id: String,
    /// The text.
    pub text: String,
    /// Milliseconds since 1970 by the sender's clock.
    at: u64,
}

/// Something that was said to everybody before this side came ([`crate::rooms::RoomEvent::ChatHistory`]).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptMessage {
    /// The id of who said it, who may have gone.
    pub from: String,
    /// Its name, as it was then.
    pub name: String,
    /// When, since 1970, by the server's clock.
    pub at: Duration,
    /// What.
    pub message: ChatMessage,
}

impl ChatMessage {
    /// A message of now.
    pub fn new(text: impl Into<String>) -> Self {
        let at = SystemTime::now().duration_since(UNIX_EPOCH);
        Self {
            kind: "chat".to_owned(),
            id: Random::new(clock::seed()).ice_chars(22),
            text: text.into(),
            at: at.map_or(0, |at| u64::try_from(at.as_millis()).unwrap_or(0)),
        }
    }

    /// Reads what came over the channel: a message of the page, or plain text. `None` for what
    /// nobody wrote.
    pub fn read(wire: &str) -> Option<Self> {
        if wire.len() > TEXT_LEN_MAX || wire.trim().is_empty() {
            return None;
        }
        match serde_json::from_str::<Value>(wire) {
            Ok(value) if value.is_object() => {
                let is_chat = value.get("type")?.as_str()? == "chat";
                is_chat.then(|| Self::of_value(value)).flatten()
            }
            _ => Some(Self::new(wire)),
        }
    }

    /// Reads `data` of the event `chat`.
    pub(super) fn of_value(value: Value) -> Option<Self> {
        let text = value.get("text")?.as_str()?;
        (text.len() <= TEXT_LEN_MAX).then(|| Self::new(text))
    }

    /// `data` of the event `chat`: the event says by itself what it is.
    pub(super) fn to_value(&self) -> Value {
        serde_json::json!({"id": self.id, "text": self.text, "at": self.at})
    }

    /// The text for the channel.
    pub fn to_wire(&self) -> String {
        // Strings and a number: nothing here can fail to serialize.
        serde_json::to_string(self).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_the_page_and_plain_text_are_read() {
        let read = |wire: &str| ChatMessage::read(wire).map(|message| message.text);
        let page = r#"{"type":"chat","id":"x","text":"Hello","at":1.5}"#;
        assert_eq!(read(page).as_deref(), Some("Hello"));
        assert_eq!(read("plain").as_deref(), Some("plain"));
        assert_eq!(read("42").as_deref(), Some("42"));
        assert_eq!(read(r#"{"type":"other","text":"x"}"#), None);
        assert_eq!(read("  "), None);
        assert_eq!(read(&"x".repeat(40_000)), None);
        let own = ChatMessage::new("Bye");
        assert_eq!(read(&own.to_wire()).as_deref(), Some("Bye"));
    }
}
