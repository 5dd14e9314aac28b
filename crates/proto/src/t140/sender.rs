//! What is written, on its way into blocks.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use thiserror::Error;

use super::{BACKSPACE, BYTE_ORDER_MARK, LINE_SEPARATOR};

/// Between two blocks (RFC 8865 §5.3).
pub const INTERVAL_DEFAULT: Duration = Duration::from_millis(300);

/// T.140 wants text to wait no longer than this (RFC 8865 §5.3).
pub const INTERVAL_MAX: Duration = Duration::from_millis(500);

/// Characters a second that a receiver takes unless it says otherwise (RFC 4103 §6, RFC 8865 §4.2.1).
pub const CPS_DEFAULT: u32 = 30;

/// Characters that wait to be sent; more are refused.
pub const WAITING_CHARS_MAX: usize = 16_384;

/// Characters of one block: at four bytes each every receiver takes them in one message.
const BLOCK_CHARS_MAX: usize = 1024;

/// Over which `cps` counts.
const SECOND: Duration = Duration::from_secs(1);

/// Too much waits to be sent, as more was written than the receiver takes in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("more than {WAITING_CHARS_MAX} characters would wait")]
pub struct Full;

/// Cuts what is written into blocks, of which each is a text message of the channel.
///
/// The first characters after a pause go at once, those after them when the interval is over. In
/// no second go more characters than `cps`, the byte order mark and erasures included; but the first
/// block has a character beside the mark in any case.
#[derive(Debug)]
pub struct Sender {
    interval: Duration,
    cps: usize,
    waiting: VecDeque<char>,
    /// Whether the byte order mark went.
    has_begun: bool,
    /// The last character written was a carriage return.
    after_return: bool,
    /// When something was written that waits.
    written_at: Option<Instant>,
    /// When the interval after the last block is over.
    next_at: Option<Instant>,
    /// How many characters went when, for a second.
    sent: VecDeque<(Instant, usize)>,
}

impl Sender {
    /// Sends a block each `interval`, at most [`INTERVAL_MAX`], of at most `cps` characters a second,
    /// at least 1.
    pub fn new(interval: Duration, cps: u32) -> Self {
        Self {
            interval: interval.min(INTERVAL_MAX),
            cps: usize::try_from(cps).unwrap_or(usize::MAX).max(1),
            waiting: VecDeque::new(),
            has_begun: false,
            after_return: false,
            written_at: None,
            next_at: None,
            sent: VecDeque::new(),
        }
    }

    /// Takes what was written. Every kind of line end goes as U+2028; of the control characters
    /// backspace, tab and bell go, and no other; nor does the byte order mark, which is no text.
    ///
    /// # Errors
    /// [`Full`]; nothing was taken then.
    pub fn write(&mut self, now: Instant, text: &str) -> Result<(), Full> {
        if self.waiting.len() + text.chars().count() > WAITING_CHARS_MAX {
            return Err(Full);
        }
        for character in text.chars() {
            let follows_return = std::mem::replace(&mut self.after_return, character == '\r');
            match character {
                '\n' if follows_return => {}
                '\r' | '\n' | '\u{2029}' => self.waiting.push_back(LINE_SEPARATOR),
                BACKSPACE => self.erase_one(),
                BYTE_ORDER_MARK => {}
                '\t' | '\u{7}' => self.waiting.push_back(character),
                _ if character.is_control() => {}
                _ => self.waiting.push_back(character),
            }
        }
        self.written_at = Some(now);
        Ok(())
    }

    /// The next block, if it is due. Its characters are not handed out again.
    pub fn poll_block(&mut self, now: Instant) -> Option<String> {
        if self.deadline().is_none_or(|due| due > now) {
            return None;
        }
        let is_old = |(at, _): &mut (Instant, usize)| now.saturating_duration_since(*at) >= SECOND;
        while self.sent.pop_front_if(is_old).is_some() {}
        let mut room = self.cps.saturating_sub(self.sent_lately());
        room = room.min(BLOCK_CHARS_MAX);
        let mut block = String::new();
        // The mark takes the place of a character, unless there is only one.
        if !self.has_begun {
            self.has_begun = true;
            block.push(BYTE_ORDER_MARK);
            room = room.saturating_sub(1).max(1);
        }
        let taken = room.min(self.waiting.len());
        block.extend(self.waiting.drain(..taken));
        self.sent.push_back((now, block.chars().count()));
        self.next_at = Some(now + self.interval);
        Some(block)
    }

    /// When [`Self::poll_block`] has something; `None` while nothing waits.
    pub fn deadline(&self) -> Option<Instant> {
        if self.waiting.is_empty() {
            return None;
        }
        let written = self.written_at?;
        let mut due = self.next_at.map_or(written, |next| next.max(written));
        let mut lately = self.sent_lately();
        for (at, count) in &self.sent {
            if lately < self.cps {
                break;
            }
            due = due.max(*at + SECOND);
            lately -= count;
        }
        Some(due)
    }

    /// Characters that wait.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// The channel was made anew (RFC 8865 §5.4): what waits goes there, after another byte order mark.
    pub fn begin_again(&mut self) {
        self.has_begun = false;
    }

    /// What nobody has seen yet is taken back; otherwise the other side is told.
    fn erase_one(&mut self) {
        match self.waiting.back() {
            Some(&last) if last != BACKSPACE && last != '\u{7}' => {
                self.waiting.pop_back();
            }
            _ => self.waiting.push_back(BACKSPACE),
        }
    }

    fn sent_lately(&self) -> usize {
        self.sent.iter().map(|(_, count)| count).sum()
    }
}
