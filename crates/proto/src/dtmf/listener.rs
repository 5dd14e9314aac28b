//! What is heard: which tones the packets of the other side are.

use std::time::{Duration, Instant};

use twocan_wire::payload::PayloadError;
use twocan_wire::payload::telephone_event::TelephoneEvent;
use twocan_wire::seq::SeqNo32;

use super::SEGMENT;

/// A tone of which nothing is heard for so long has ended, and all packets that said so were lost:
/// four times what lies between two of them (RFC 4733 §2.5.1.2).
pub const SILENCE: Duration = Duration::from_millis(200);

/// What came before a tone is remembered for so long; then its sender may have begun anew.
const REMEMBERED: Duration = Duration::from_secs(5);

/// Segments of a tone that may be lost in a row: more than a second each, at any clock.
const SEGMENTS_LOST_MAX: u32 = 8;

/// What became of a tone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// It has begun.
    Began {
        /// `0` to `9`, `A` to `D`, `#` or `*`.
        tone: char,
    },
    /// It is over.
    Ended {
        /// As it was told when it began.
        tone: char,
        /// How long it was, by its sender's clock; as far as it is known, where the end was lost.
        duration: Duration,
    },
}

/// Puts the packets of one source together: each tone is told once when it begins and once when it
/// is over, however many of its packets are lost, late or there twice, as long as one arrives.
///
/// Events that are no keys are passed over.
#[derive(Debug, Default)]
pub struct Listener {
    current: Option<Hearing>,
    /// The newest timestamp of an event, and when it came.
    newest: Option<(u32, Instant)>,
    /// The event that ended in silence, and its newest segment: more of it is no other tone.
    silent: Option<(u8, u32)>,
}

#[derive(Debug)]
struct Hearing {
    tone: char,
    event: u8,
    /// When its newest segment began.
    segment: u32,
    /// Ticks of the segments before that.
    before: u64,
    /// Ticks of the newest.
    ticks: u16,
    rate: u32,
    heard_at: Instant,
}

impl Listener {
    /// Nothing was heard.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes a payload with the timestamp of its packet, and the ticks of its codec's clock in a second.
    ///
    /// # Errors
    /// As [`TelephoneEvent::parse`]; nothing has changed then.
    pub fn receive(
        &mut self,
        now: Instant,
        timestamp: u32,
        clock_rate: u32,
        payload: &[u8],
    ) -> Result<Vec<Heard>, PayloadError> {
        let events = TelephoneEvent::parse(payload)?;
        let mut heard: Vec<Heard> = self.handle_timeout(now).into_iter().collect();
        let mut begins = timestamp;
        for event in events {
            self.take(now, (begins, clock_rate), event, &mut heard);
            // Several events of a packet follow each other (RFC 4733 §2.5.1.5).
            begins = begins.wrapping_add(u32::from(event.duration));
        }
        Ok(heard)
    }

    /// When [`Self::handle_timeout`] is due.
    pub fn deadline(&self) -> Option<Instant> {
        self.current.as_ref().map(|own| own.heard_at + SILENCE)
    }

    /// Lets time pass: a tone of which nothing is heard any more is over.
    pub fn handle_timeout(&mut self, now: Instant) -> Option<Heard> {
        let is_over = self.deadline().is_some_and(|due| due <= now);
        let over = self.current.take_if(|_| is_over)?;
        self.silent = Some((over.event, over.segment));
        Some(over.ended())
    }

    fn take(
        &mut self,
        now: Instant,
        (timestamp, rate): (u32, u32),
        event: TelephoneEvent,
        heard: &mut Vec<Heard>,
    ) {
        let current = self.current.as_mut();
        let continues = |known: u8, segment| is_continued((known, segment), event.event, timestamp);
        if let Some(current) = current.filter(|own| continues(own.event, own.segment)) {
            let ahead = timestamp.wrapping_sub(current.segment);
            current.before += u64::from(ahead);
            current.segment = timestamp;
            current.ticks = match ahead {
                0 => current.ticks.max(event.duration),
                _ => event.duration,
            };
            current.heard_at = now;
            self.newest = Some((timestamp, now));
        } else {
            let newest = self
                .newest
                .filter(|(_, at)| now.saturating_duration_since(*at) < REMEMBERED);
            if newest.is_some_and(|(at, _)| !SeqNo32(timestamp).is_after(SeqNo32(at))) {
                // Of a tone that is over.
                return;
            }
            self.newest = Some((timestamp, now));
            if let Some((_, segment)) = self.silent.as_mut().filter(|own| continues(own.0, own.1)) {
                *segment = timestamp;
                return;
            }
            self.silent = None;
            heard.extend(self.current.take().map(|own| own.ended()));
            let Some(tone) = event.key() else { return };
            heard.push(Heard::Began { tone });
            self.current = Some(Hearing {
                tone,
                event: event.event,
                segment: timestamp,
                before: 0,
                ticks: event.duration,
                rate,
                heard_at: now,
            });
        }
        if event.end {
            heard.extend(self.current.take().map(|own| own.ended()));
        }
    }
}

impl Hearing {
    fn ended(self) -> Heard {
        let ticks = u128::from(self.before) + u128::from(self.ticks);
        let nanoseconds = ticks * 1_000_000_000 / u128::from(self.rate.max(1));
        let nanoseconds = u64::try_from(nanoseconds).unwrap_or(u64::MAX);
        Heard::Ended {
            tone: self.tone,
            duration: Duration::from_nanos(nanoseconds),
        }
    }
}

/// Whether a packet goes on with an event that is known up to a segment: in that one, or in one that
/// follows.
fn is_continued((known, segment): (u8, u32), event: u8, timestamp: u32) -> bool {
    let ahead = timestamp.wrapping_sub(segment);
    event == known && ahead.is_multiple_of(SEGMENT) && ahead / SEGMENT <= SEGMENTS_LOST_MAX
}
