//! The chat, as far as it goes by way of the server: what somebody says to all, and what was said before
//! this side came, where the server keeps it.

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Task;
use crate::rooms::chat::{ChatMessage, KeptMessage};
use crate::rooms::messages::{ServerFrame, To};
use crate::rooms::room::RoomEvent;
use crate::rooms::seal::RoomSeal;

/// Longest sealed message that is opened, in characters.
const SEALED_LEN_MAX: usize = 64 * 1024;

/// Something that the server kept.
#[derive(Deserialize)]
struct Kept {
    from: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    at: f64,
    data: Value,
}

impl Task {
    /// Takes what is about no connection.
    pub(super) async fn said(&mut self, frame: ServerFrame) {
        let ServerFrame {
            event, data, from, ..
        } = frame;
        match (event.as_str(), from) {
            ("chat", Some(from)) => {
                let told = match read(self.seal.as_ref(), &self.own_id, &from, data) {
                    Some(message) => RoomEvent::Chat { from, message },
                    None => RoomEvent::Unreadable { from },
                };
                self.tell(told).await;
            }
            ("chat-history", None) => self.recall(data).await,
            (other, _) => tracing::debug!(event = other, "an event that is not used"),
        }
    }

    /// What was said before: it may have been heard, by who joined anew.
    async fn recall(&mut self, data: Value) {
        let Some(Value::Array(all)) = data.get("messages").cloned() else {
            return;
        };
        let seal = self.seal.as_ref().map(RoomSeal::anew);
        let mut messages = Vec::new();
        for kept in all {
            let Ok(kept) = serde_json::from_value::<Kept>(kept) else {
                continue;
            };
            let Kept { from, name, at, .. } = kept;
            match read(seal.as_ref(), "", &from, kept.data) {
                Some(message) => messages.push(KeptMessage {
                    from,
                    name,
                    at: Duration::from_millis(at as u64),
                    message,
                }),
                None => self.tell(RoomEvent::Unreadable { from }).await,
            }
        }
        if !messages.is_empty() {
            self.tell(RoomEvent::ChatHistory(messages)).await;
        }
    }

    /// Says something to all.
    pub(super) async fn say(&mut self, message: &ChatMessage) {
        let data = match &self.seal {
            None => message.to_value(),
            Some(seal) => {
                let plain = message.to_wire();
                let Some(sealed) = seal.seal_chat(&self.own_id, plain.as_bytes()) else {
                    return;
                };
                json!({ "sealed": BASE64.encode(sealed) })
            }
        };
        self.send("chat", &data, Some(&To::All("all"))).await;
    }
}

/// Reads `data` of `chat`; `None` for what is sealed and does not open, or is not sealed where all is,
/// or is no message.
fn read(seal: Option<&RoomSeal>, own_id: &str, from: &str, data: Value) -> Option<ChatMessage> {
    let sealed = data.get("sealed").and_then(Value::as_str);
    match (seal, sealed) {
        (None, None) => ChatMessage::of_value(data),
        (Some(seal), Some(sealed)) if sealed.len() <= SEALED_LEN_MAX => {
            let is_direct = data.get("direct") == Some(&Value::Bool(true));
            let to = if is_direct { own_id } else { "" };
            let plain = seal.open_chat(from, to, &BASE64.decode(sealed).ok()?)?;
            ChatMessage::read(std::str::from_utf8(&plain).ok()?)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rooms::encryption::RoomSecret;

    fn seal() -> RoomSeal {
        RoomSeal::new(RoomSecret::new([7; 32]), "den".to_owned())
    }

    fn text(message: Option<ChatMessage>) -> Option<String> {
        message.map(|own| own.text)
    }

    #[test]
    fn what_is_sealed_is_read_by_who_has_the_key_and_by_nobody_else() {
        let ada = seal();
        let plain = ChatMessage::new("hello").to_wire();
        let sealed = ada.seal_chat("ada", plain.as_bytes()).unwrap();
        let data = json!({ "sealed": BASE64.encode(sealed) });
        let bob = seal();
        assert_eq!(text(read(Some(&bob), "bob", "eve", data.clone())), None);
        let opened = read(Some(&bob), "bob", "ada", data.clone());
        assert_eq!(text(opened).as_deref(), Some("hello"));
        // It was heard; as something of before it opens again.
        assert_eq!(text(read(Some(&bob), "bob", "ada", data.clone())), None);
        let again = read(Some(&bob.anew()), "", "ada", data.clone());
        assert_eq!(text(again).as_deref(), Some("hello"));
        let alone = json!({"sealed": data["sealed"], "direct": true});
        assert_eq!(text(read(Some(&seal()), "bob", "ada", alone)), None);
        assert_eq!(text(read(None, "bob", "ada", data)), None);
    }

    #[test]
    fn what_is_not_sealed_is_read_where_nothing_is() {
        let plain = ChatMessage::new("hello").to_value();
        assert_eq!(plain.get("type"), None);
        let heard = read(None, "bob", "ada", plain.clone());
        assert_eq!(text(heard).as_deref(), Some("hello"));
        assert_eq!(text(read(Some(&seal()), "bob", "ada", plain)), None);
        for data in [json!(null), json!(7), json!({}), json!({"text": 7})] {
            assert_eq!(text(read(None, "bob", "ada", data)), None);
        }
    }
}
