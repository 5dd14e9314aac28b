//! What arrives, as text.

use std::collections::VecDeque;

use super::{BACKSPACE, BYTE_ORDER_MARK, LINE_SEPARATOR, MISSING};

/// Characters of a text that are kept; then the oldest are forgotten.
pub const TEXT_CHARS_MAX: usize = 65_536;

/// Characters of a control sequence; after so many it was none.
const SEQUENCE_CHARS_MAX: usize = 32;

/// The same of a string for applications.
const STRING_CHARS_MAX: usize = 256;

/// What a block does to the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Text follows; lines end with `\n`, and [`MISSING`] stands where text is missing.
    Added(String),
    /// So many of the last characters are gone.
    Erased(usize),
    /// The other side wants attention (bell).
    Alert,
}

/// Where a control sequence is (T.140 §8).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Sequence {
    #[default]
    None,
    /// After ESC.
    Escape,
    /// After CSI: ends with a character from `@` to `~`.
    Control(usize),
    /// After SOS: ends with ST.
    String(usize),
}

/// The text of the other side.
///
/// Bells are told, line ends of all kinds are one, erasures take back one code point, or a whole
/// line end. Byte order marks, presentation (SGR) and strings for applications are passed over, as
/// are other control characters.
#[derive(Debug, Default)]
pub struct Receiver {
    text: VecDeque<char>,
    sequence: Sequence,
    /// The last character was a carriage return.
    after_return: bool,
}

impl Receiver {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes a block; answers what it changes, in order.
    pub fn receive(&mut self, block: &str) -> Vec<Change> {
        let mut changes = Vec::new();
        for character in block.chars() {
            if let Some(character) = self.outside(character) {
                self.take(character, &mut changes);
            }
        }
        changes
    }

    /// Text is missing, or may be: the channel was lost and made anew (RFC 8865 §5.4).
    pub fn note_missing(&mut self) -> Vec<Change> {
        let mut changes = Vec::new();
        self.sequence = Sequence::None;
        self.after_return = false;
        self.add(MISSING, &mut changes);
        changes
    }

    /// What stands there now: the last [`TEXT_CHARS_MAX`] characters.
    pub fn text(&self) -> String {
        self.text.iter().collect()
    }

    /// A character that is part of no control sequence.
    fn outside(&mut self, character: char) -> Option<char> {
        let (next, outside) = match (self.sequence, character) {
            (Sequence::None, '\u{1b}') => (Sequence::Escape, None),
            (Sequence::None, '\u{9b}') => (Sequence::Control(0), None),
            (Sequence::None, '\u{98}') => (Sequence::String(0), None),
            (Sequence::None, _) => (Sequence::None, Some(character)),
            (Sequence::Escape, '[') => (Sequence::Control(0), None),
            (Sequence::Escape, 'X') => (Sequence::String(0), None),
            (Sequence::Escape, _) | (Sequence::Control(_), '@'..='~') => (Sequence::None, None),
            (Sequence::String(_), '\u{9c}') => (Sequence::None, None),
            (Sequence::Control(SEQUENCE_CHARS_MAX..), _)
            | (Sequence::String(STRING_CHARS_MAX..), _) => (Sequence::None, Some(character)),
            (Sequence::Control(count), _) => (Sequence::Control(count + 1), None),
            (Sequence::String(count), _) => (Sequence::String(count + 1), None),
        };
        self.sequence = next;
        outside
    }

    fn take(&mut self, character: char, changes: &mut Vec<Change>) {
        let follows_return = std::mem::replace(&mut self.after_return, character == '\r');
        match character {
            BYTE_ORDER_MARK => self.after_return = follows_return,
            '\n' if follows_return => {}
            '\r' | '\n' | LINE_SEPARATOR | '\u{2029}' => self.add('\n', changes),
            BACKSPACE => self.erase(changes),
            '\u{7}' => changes.push(Change::Alert),
            '\t' => self.add(character, changes),
            _ if character.is_control() => {}
            _ => self.add(character, changes),
        }
    }

    fn add(&mut self, character: char, changes: &mut Vec<Change>) {
        if self.text.len() >= TEXT_CHARS_MAX {
            self.text.pop_front();
        }
        self.text.push_back(character);
        match changes.last_mut() {
            Some(Change::Added(text)) => text.push(character),
            _ => changes.push(Change::Added(character.to_string())),
        }
    }

    fn erase(&mut self, changes: &mut Vec<Change>) {
        if self.text.pop_back().is_none() {
            return;
        }
        match changes.last_mut() {
            Some(Change::Erased(count)) => *count += 1,
            _ => changes.push(Change::Erased(1)),
        }
    }
}
