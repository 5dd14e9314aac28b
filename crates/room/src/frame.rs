//! Frames of the signaling protocol: JSON texts in both directions.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

/// How deep objects and arrays of `data` may be in each other. Readers of ours and of others end at 128,
/// of a whole frame.
const DATA_DEPTH_MAX: usize = 64;

/// Whom a frame is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub(crate) enum Recipients {
    /// `"all"`: everyone in the room but the sender.
    All(All),
    /// These.
    Some(Vec<String>),
}

/// The word `all`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum All {
    All,
}

/// What a client sent.
#[derive(Debug)]
pub(crate) struct Incoming {
    pub(crate) event: String,
    /// Relayed as it came.
    pub(crate) data: Option<Box<RawValue>>,
    /// `None` when missing or of another kind.
    pub(crate) to: Option<Recipients>,
    /// A request's id, as it came.
    pub(crate) id: Option<Box<RawValue>>,
    pub(crate) seq: Option<u64>,
}

/// Why a text is no frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BadFrame {
    NotJson,
    NotAFrame,
}

#[derive(Deserialize)]
struct Fields<'a> {
    #[serde(borrow, default)]
    event: Option<&'a RawValue>,
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
    #[serde(borrow, default)]
    to: Option<&'a RawValue>,
    #[serde(borrow, default)]
    id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    seq: Option<&'a RawValue>,
}

/// Reads a client's text.
pub(crate) fn parse(text: &str) -> Result<Incoming, BadFrame> {
    serde_json::from_str::<&RawValue>(text).map_err(|_| BadFrame::NotJson)?;
    let fields: Fields<'_> = serde_json::from_str(text).map_err(|_| BadFrame::NotAFrame)?;
    if !fields.data.is_none_or(is_readable) {
        return Err(BadFrame::NotAFrame);
    }
    let event = fields
        .event
        .and_then(|raw| serde_json::from_str::<String>(raw.get()).ok());
    Ok(Incoming {
        event: event.ok_or(BadFrame::NotAFrame)?,
        data: fields.data.map(ToOwned::to_owned),
        to: fields.to.and_then(recipients),
        id: fields
            .id
            .filter(|raw| raw.get() != "null")
            .map(ToOwned::to_owned),
        seq: fields
            .seq
            .and_then(|raw| serde_json::from_str(raw.get()).ok()),
    })
}

/// Whether everybody reads it. By its grammar JSON may also have halves of characters, numbers beyond
/// every kind of number and any depth, at which readers fail: of whoever is told of it among other
/// things, all is lost then.
fn is_readable(raw: &RawValue) -> bool {
    let value: Result<Value, _> = serde_json::from_str(raw.get());
    value.is_ok_and(|value| is_within(&value, DATA_DEPTH_MAX))
}

fn is_within(value: &Value, depth: usize) -> bool {
    let Some(left) = depth.checked_sub(1) else {
        return false;
    };
    match value {
        Value::Array(all) => all.iter().all(|own| is_within(own, left)),
        Value::Object(all) => all.values().all(|own| is_within(own, left)),
        _ => true,
    }
}

fn recipients(raw: &RawValue) -> Option<Recipients> {
    if let Ok(ids) = serde_json::from_str::<Vec<String>>(raw.get()) {
        return Some(Recipients::Some(ids));
    }
    let word = serde_json::from_str::<String>(raw.get()).ok()?;
    (word == "all").then_some(Recipients::All(All::All))
}

/// What a client is sent: the four keys of the base always, the others in `twocan.v1` alone.
#[derive(Debug, Serialize)]
pub(crate) struct Outgoing<'a> {
    pub(crate) data: Option<&'a RawValue>,
    pub(crate) event: &'a str,
    pub(crate) from: Option<&'a str>,
    pub(crate) to: Option<&'a Recipients>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) id: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) seq: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) from_metadata: Option<&'a RawValue>,
}

impl Outgoing<'_> {
    /// The text.
    pub(crate) fn to_text(&self) -> String {
        // Strings, numbers and already valid JSON: nothing here can fail to serialize.
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// A frame outside the numbering: to a connection that has no participant (yet).
pub(crate) fn unnumbered(event: &str, data: Option<&RawValue>, to: Option<&Recipients>) -> String {
    Outgoing {
        data,
        event,
        from: None,
        to,
        id: None,
        seq: None,
        from_metadata: None,
    }
    .to_text()
}

/// Any serializable value as raw JSON.
pub(crate) fn raw(value: &impl Serialize) -> Option<Box<RawValue>> {
    serde_json::value::to_raw_value(value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_data(data: &str) -> Result<Incoming, BadFrame> {
        parse(&format!(r#"{{"event":"chat","to":"all","data":{data}}}"#))
    }

    #[test]
    fn what_readers_fail_at_is_no_frame() {
        let deep = |depth| "[".repeat(depth) + &"]".repeat(depth);
        for data in [
            "1e999",
            r#"{"x":[-1e400]}"#,
            r#""\ud83d""#,
            r#"{"\ude00":1}"#,
        ] {
            assert_eq!(with_data(data).err(), Some(BadFrame::NotAFrame), "{data}");
        }
        assert_eq!(
            with_data(&deep(DATA_DEPTH_MAX + 1)).err(),
            Some(BadFrame::NotAFrame)
        );
        assert_eq!(with_data(&deep(10_000)).err(), Some(BadFrame::NotAFrame));
        let whole = r#"{"text":"\ud83d\ude00","n":1e300}"#;
        for data in [&deep(DATA_DEPTH_MAX), whole] {
            let read = with_data(data).unwrap();
            assert_eq!(
                read.data.map(|own| own.get().to_owned()).as_deref(),
                Some(data)
            );
        }
    }
}
