//! Captions as messages: JSON texts, one for each.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Longest message that is read, in bytes; 4,096 characters of text fit however they are escaped.
pub const MESSAGE_LEN_MAX: usize = 65_536;

/// Longest text of a caption, in characters.
pub const TEXT_CHARS_MAX: usize = 4096;

/// Longest language tag, in characters: what RFC 5646 §4.4.1 asks of everybody to take.
const LANGUAGE_LEN_MAX: usize = 35;

/// Ids and times are whole numbers below this, so that every reader of JSON has them exactly.
const NUMBER_END: u64 = 1 << 53;

/// The version of the format that is written, and the only one that is read.
const VERSION: u32 = 1;

/// What the times of captions count from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Clock {
    /// 1970, on the clock by which the sender of the captions says when it captured sound and pictures:
    /// that of [`Frame::captured_at`](crate::Frame::captured_at), by which a caption is shown with what
    /// is heard.
    Capture,
    /// The sender's first message on the channel: for captions beside which there is no media.
    Channel,
}

/// A line of text, and when it is spoken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caption {
    /// Names it within its channel. Below 2⁵³. A caption replaces the one before it with the same id.
    pub id: u64,
    /// When it begins, on the [`Clock`] of the channel; in whole milliseconds on the wire.
    pub start: Duration,
    /// When it ends, not before it begins; `None` while it is still spoken. A final one has it.
    pub end: Option<Duration>,
    /// The language of its text (BCP 47), such as `en` or `de-AT`; `None` where it is not known.
    pub language: Option<String>,
    /// The text, in lines that `\n` separates; 4,096 characters at most. An empty one takes back the
    /// caption before it with the same id.
    pub text: String,
    /// Whether it stays as it is. What is not final is what a recogniser thinks so far.
    pub is_final: bool,
}

/// Why a message or a caption is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum CaptionError {
    /// It has more bytes than [`MESSAGE_LEN_MAX`].
    #[error("longer than {MESSAGE_LEN_MAX} bytes")]
    TooLong,
    /// It is not a JSON object with the fields of a caption, each of its kind.
    #[error("not a caption in JSON")]
    Malformed,
    /// No message before it said which clock counts.
    #[error("no clock was stated before it")]
    NoClock,
    /// The other side speaks another version of the format.
    #[error("another version of the format")]
    Version,
    /// A number that is not below 2⁵³.
    #[error("a number of 2^53 or more")]
    Number,
    /// It ends before it begins, or is final and without an end.
    #[error("it ends before it begins, or is final without an end")]
    Times,
    /// The language is no tag of BCP 47.
    #[error("the language is no tag of BCP 47")]
    Language,
    /// The text has more than [`TEXT_CHARS_MAX`] characters.
    #[error("a text of more than {TEXT_CHARS_MAX} characters")]
    Text,
}

/// The first message of a channel.
#[derive(Serialize, Deserialize)]
struct Greeting {
    version: u32,
    clock: Clock,
}

#[derive(Serialize, Deserialize)]
struct Fields {
    id: u64,
    start: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    end: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    language: Option<String>,
    text: String,
    #[serde(default, rename = "final")]
    is_final: bool,
}

/// Either; fields that are not known are passed over.
#[derive(Deserialize)]
#[serde(untagged)]
enum Incoming {
    Greeting(Greeting),
    Caption(Fields),
}

/// Reads the messages of a channel in their order.
#[derive(Debug, Default)]
pub struct CaptionReader {
    clock: Option<Clock>,
}

impl CaptionReader {
    /// Nothing was read.
    pub fn new() -> Self {
        Self::default()
    }

    /// The clock of the captions, once it was stated.
    pub fn clock(&self) -> Option<Clock> {
        self.clock
    }

    /// Reads a message; `None` for the one that states the clock. Control characters of a text but for
    /// line ends are left out.
    ///
    /// # Errors
    /// [`CaptionError`]; the message is to be passed over then.
    pub fn read(&mut self, message: &str) -> Result<Option<Caption>, CaptionError> {
        if message.len() > MESSAGE_LEN_MAX {
            return Err(CaptionError::TooLong);
        }
        match serde_json::from_str(message).map_err(|_| CaptionError::Malformed)? {
            Incoming::Greeting(greeting) if greeting.version == VERSION => {
                // A second one changes nothing: times that were told stay what they are.
                self.clock.get_or_insert(greeting.clock);
                Ok(None)
            }
            Incoming::Greeting(_) => Err(CaptionError::Version),
            Incoming::Caption(_) if self.clock.is_none() => Err(CaptionError::NoClock),
            Incoming::Caption(fields) => fields.caption().map(Some),
        }
    }
}

/// The message that goes before all captions.
pub fn greeting(clock: Clock) -> String {
    let version = VERSION;
    written(&Greeting { version, clock })
}

/// The message of a caption. Control characters of its text but for line ends are left out.
///
/// # Errors
/// [`CaptionError`], for what a reader would refuse.
pub fn write(caption: &Caption) -> Result<String, CaptionError> {
    let milliseconds = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let fields = Fields {
        id: caption.id,
        start: milliseconds(caption.start),
        end: caption.end.map(milliseconds),
        language: caption.language.clone(),
        text: cleaned(&caption.text),
        is_final: caption.is_final,
    };
    fields.check()?;
    let message = written(&fields);
    match message.len() {
        0..=MESSAGE_LEN_MAX => Ok(message),
        _ => Err(CaptionError::TooLong),
    }
}

/// Numbers and texts have no value that JSON could not hold.
fn written(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

impl Fields {
    fn check(&self) -> Result<(), CaptionError> {
        let numbers = [Some(self.id), Some(self.start), self.end];
        if numbers
            .into_iter()
            .flatten()
            .any(|number| number >= NUMBER_END)
        {
            return Err(CaptionError::Number);
        }
        let is_ended = match self.end {
            Some(end) => end >= self.start,
            // What is taken back has no time.
            None => !self.is_final || self.text.is_empty(),
        };
        if !is_ended {
            return Err(CaptionError::Times);
        }
        if self.language.as_deref().is_some_and(|tag| !is_tag(tag)) {
            return Err(CaptionError::Language);
        }
        match self.text.chars().count() {
            0..=TEXT_CHARS_MAX => Ok(()),
            _ => Err(CaptionError::Text),
        }
    }

    fn caption(self) -> Result<Caption, CaptionError> {
        self.check()?;
        Ok(Caption {
            id: self.id,
            start: Duration::from_millis(self.start),
            end: self.end.map(Duration::from_millis),
            language: self.language,
            text: cleaned(&self.text),
            is_final: self.is_final,
        })
    }
}

/// A tag of BCP 47 in its outer form: subtags of one to eight letters and digits, the first of
/// letters alone (RFC 5646 §2.1). Whether it is registered is not looked at.
fn is_tag(tag: &str) -> bool {
    let mut subtags = tag.split('-');
    let is_first = |own: &str| own.bytes().all(|byte| byte.is_ascii_alphabetic());
    let is_subtag = |own: &str| {
        matches!(own.len(), 1..=8) && own.bytes().all(|byte| byte.is_ascii_alphanumeric())
    };
    tag.len() <= LANGUAGE_LEN_MAX
        && subtags.clone().next().is_some_and(is_first)
        && subtags.all(is_subtag)
}

fn cleaned(text: &str) -> String {
    let is_text = |own: &char| *own == '\n' || !own.is_control();
    text.chars().filter(is_text).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caption() -> Caption {
        Caption {
            id: 7,
            start: Duration::from_millis(1_700_000_012_340),
            end: Some(Duration::from_millis(1_700_000_014_120)),
            language: Some("de-AT".to_owned()),
            text: "Grüß Gott,\nwie \"geht\" es?".to_owned(),
            is_final: true,
        }
    }

    fn reader() -> CaptionReader {
        let mut reader = CaptionReader::new();
        assert_eq!(reader.read(&greeting(Clock::Capture)), Ok(None));
        reader
    }

    #[test]
    fn messages_are_what_the_page_on_captions_shows() {
        let page = include_str!("../../../../docs/captions.md");
        assert_eq!(
            greeting(Clock::Capture),
            r#"{"version":1,"clock":"capture"}"#
        );
        assert_eq!(
            greeting(Clock::Channel),
            r#"{"version":1,"clock":"channel"}"#
        );
        let interim = Caption {
            id: 1,
            start: Duration::from_millis(1_700_000_012_340),
            end: None,
            language: Some("en".to_owned()),
            text: "Good mor".to_owned(),
            is_final: false,
        };
        let whole = Caption {
            end: Some(Duration::from_millis(1_700_000_013_100)),
            text: "Good morning.".to_owned(),
            is_final: true,
            ..interim.clone()
        };
        for message in [Ok(greeting(Clock::Capture)), write(&interim), write(&whole)] {
            let message = message.unwrap();
            assert!(page.lines().any(|line| line == message), "{message}");
        }
    }

    #[test]
    fn captions_are_read_back() {
        let mut reader = reader();
        assert_eq!(reader.clock(), Some(Clock::Capture));
        let plain = Caption {
            end: None,
            language: None,
            text: String::new(),
            is_final: false,
            ..caption()
        };
        for own in [caption(), plain] {
            let message = write(&own).unwrap();
            assert_eq!(reader.read(&message), Ok(Some(own)), "{message}");
        }
        // What is not known is passed over, and the clock stays.
        let more = r#"{"id":1,"start":2,"text":"a\u0007b\r\nc","speaker":"ada"}"#;
        let read = reader.read(more).unwrap().unwrap();
        assert_eq!((read.text.as_str(), read.is_final), ("ab\nc", false));
        assert_eq!(reader.read(&greeting(Clock::Channel)), Ok(None));
        assert_eq!(reader.clock(), Some(Clock::Capture));
    }

    #[test]
    fn the_longest_text_fits_a_message_however_it_is_escaped() {
        for character in ["\u{1f600}", "\n", "\"", "\u{2028}"] {
            let long = Caption {
                text: character.repeat(TEXT_CHARS_MAX),
                ..caption()
            };
            let message = write(&long).unwrap();
            assert_eq!(reader().read(&message), Ok(Some(long)));
        }
        let longer = Caption {
            text: "x".repeat(TEXT_CHARS_MAX + 1),
            ..caption()
        };
        assert_eq!(write(&longer), Err(CaptionError::Text));
    }

    #[test]
    fn hostile_messages_are_refused_by_name() {
        let early = CaptionReader::new().read(r#"{"id":1,"start":1,"text":"a"}"#);
        assert_eq!(early, Err(CaptionError::NoClock));
        let text = "x".repeat(TEXT_CHARS_MAX + 1);
        let text = format!(r#"{{"id":1,"start":1,"text":"{text}"}}"#);
        let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
        let long = format!(r#""{}""#, "x".repeat(MESSAGE_LEN_MAX));
        for (message, why) in [
            ("", CaptionError::Malformed),
            ("null", CaptionError::Malformed),
            (&deep, CaptionError::Malformed),
            (r#"{"id":-1,"start":1,"text":"a"}"#, CaptionError::Malformed),
            (
                r#"{"id":1.5,"start":1,"text":"a"}"#,
                CaptionError::Malformed,
            ),
            (r#"{"id":1,"start":1}"#, CaptionError::Malformed),
            (
                r#"{"id":1,"start":1,"text":["a"]}"#,
                CaptionError::Malformed,
            ),
            (r#"{"version":2,"clock":"capture"}"#, CaptionError::Version),
            (
                r#"{"version":1,"clock":"sundial"}"#,
                CaptionError::Malformed,
            ),
            (
                r#"{"id":9007199254740992,"start":1,"text":"a"}"#,
                CaptionError::Number,
            ),
            (
                r#"{"id":1,"start":18446744073709551615,"text":"a"}"#,
                CaptionError::Number,
            ),
            (
                r#"{"id":1,"start":2,"end":1,"text":"a"}"#,
                CaptionError::Times,
            ),
            (
                r#"{"id":1,"start":2,"text":"a","final":true}"#,
                CaptionError::Times,
            ),
            (
                r#"{"id":1,"start":1,"text":"a","language":""}"#,
                CaptionError::Language,
            ),
            (
                r#"{"id":1,"start":1,"text":"a","language":"en_GB"}"#,
                CaptionError::Language,
            ),
            (
                r#"{"id":1,"start":1,"text":"a","language":"en-"}"#,
                CaptionError::Language,
            ),
            (&text, CaptionError::Text),
            (&long, CaptionError::TooLong),
        ] {
            assert_eq!(reader().read(message), Err(why), "{message:.80}");
        }
    }
}
