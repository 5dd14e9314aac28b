//! What is played: the buffer of tones, and the packets of the one that sounds.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use thiserror::Error;
use twocan_wire::payload::telephone_event::TelephoneEvent;

use super::{DURATION_DEFAULT, DURATION_MAX, DURATION_MIN, GAP_DEFAULT, GAP_MAX, GAP_MIN, SEGMENT};

/// Between two packets of a tone (RFC 4733 §2.5.1.2 recommends it).
const UPDATE: Duration = Duration::from_millis(50);

/// What the first packet says of a tone that has just begun: as long as a packet of sound mostly is,
/// and shorter than any tone. Nothing at all is not a duration.
const FIRST: Duration = Duration::from_millis(20);

/// So often the end is told (RFC 4733 §2.5.1.4).
const ENDS: u8 = 3;

/// How long a comma lasts (W3C webrtc-pc §7.2).
const PAUSE: Duration = Duration::from_secs(2);

/// How loud tones are, in -dBm0.
const VOLUME: u8 = 10;

/// No sound has more samples a second; a faster clock is taken for this one.
const RATE_MAX: u32 = 192_000;

/// A character that stands for no tone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("{0:?} is no tone")]
pub struct NoTone(pub char);

/// The RTP clock of a stream at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RtpClock {
    /// Where it is.
    pub timestamp: u32,
    /// Ticks a second; beyond 192,000 it counts as that.
    pub rate: u32,
}

/// A packet of a tone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventPacket {
    /// When the tone began, or this segment of a long one: the same in all its packets.
    pub timestamp: u32,
    /// Whether it is the first of its tone.
    pub marker: bool,
    /// The payload.
    pub event: TelephoneEvent,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Send this.
    Packet(EventPacket),
    /// `tonechange`: this tone begins, a comma too; `None` when all are played.
    ToneChange(Option<char>),
}

/// Plays tones, one after the other.
///
/// Packets go every 50 ms, the first at once, and the last three times before the next tone begins:
/// as far apart as those before it, or a third of the gap where that is less.
#[derive(Debug)]
pub struct Player {
    tones: VecDeque<char>,
    duration: Duration,
    gap: Duration,
    /// When the next tone is due, or the end of all is told.
    next_at: Option<Instant>,
    playing: Option<Playing>,
    steps: VecDeque<Step>,
}

/// A tone that sounds, or whose end is still told.
#[derive(Debug)]
struct Playing {
    event: u8,
    began: Instant,
    clock: RtpClock,
    lasts: Duration,
    /// Between two packets that tell the end.
    ends_apart: Duration,
    due: Instant,
    /// Ticks of the segments that are over.
    over: u32,
    is_known: bool,
    ends: u8,
}

impl Default for Player {
    fn default() -> Self {
        Self {
            tones: VecDeque::new(),
            duration: DURATION_DEFAULT,
            gap: GAP_DEFAULT,
            next_at: None,
            playing: None,
            steps: VecDeque::new(),
        }
    }
}

impl Player {
    /// Nothing to play.
    pub fn new() -> Self {
        Self::default()
    }

    /// `insertDTMF` (W3C webrtc-pc §7.2): these tones in place of those that wait, each as long as
    /// `duration`, with `gap` between them, both cut to what is possible. The tone that sounds goes on
    /// as it was begun. Tones are `0` to `9`, `A` to `D` in any case, `#`, `*`, and a comma for a
    /// pause of two seconds.
    ///
    /// # Errors
    /// [`NoTone`]; nothing has changed then.
    pub fn insert(
        &mut self,
        now: Instant,
        tones: &str,
        duration: Duration,
        gap: Duration,
    ) -> Result<(), NoTone> {
        let is_tone = |tone: char| tone == ',' || TelephoneEvent::event_of_key(tone).is_some();
        if let Some(other) = tones.chars().find(|tone| !is_tone(*tone)) {
            return Err(NoTone(other));
        }
        self.tones = tones
            .chars()
            .map(|tone| tone.to_ascii_uppercase())
            .collect();
        self.duration = duration.clamp(DURATION_MIN, DURATION_MAX);
        self.gap = gap.clamp(GAP_MIN, GAP_MAX);
        if self.next_at.is_none() && !self.tones.is_empty() {
            self.next_at = Some(now);
        }
        Ok(())
    }

    /// `toneBuffer`: what is still to be played.
    pub fn tones(&self) -> String {
        self.tones.iter().collect()
    }

    /// What is to be done now; asked again until there is nothing. A tone that begins takes its
    /// timestamp, and the rate of its ticks, from `clock`, which is the stream's at `now`.
    pub fn poll(&mut self, now: Instant, clock: RtpClock) -> Option<Step> {
        if self.steps.is_empty() {
            self.advance(now, clock);
        }
        self.steps.pop_front()
    }

    /// When there is something to be done.
    pub fn deadline(&self) -> Option<Instant> {
        let playing = self.playing.as_ref().map(|own| own.due);
        match (playing, self.next_at) {
            (Some(playing), Some(next)) => Some(playing.min(next)),
            (playing, next) => playing.or(next),
        }
    }

    /// Tones cannot be sent any more: the one that sounds ends without a word, those that wait stay
    /// until there are others.
    pub fn stop(&mut self) {
        self.next_at = None;
        self.playing = None;
        self.steps.clear();
    }

    /// Whether there is nothing that it would have to remember.
    pub fn is_empty(&self) -> bool {
        self.deadline().is_none() && self.tones.is_empty() && self.steps.is_empty()
    }

    fn advance(&mut self, now: Instant, clock: RtpClock) {
        if let Some(playing) = self.playing.as_mut().filter(|own| own.due <= now) {
            playing.send(now, &mut self.steps);
            if playing.ends == ENDS {
                self.playing = None;
            }
        } else if self.next_at.is_some_and(|due| due <= now) {
            self.play_next(now, clock);
        }
    }

    fn play_next(&mut self, now: Instant, clock: RtpClock) {
        let tone = self.tones.pop_front();
        self.next_at = tone.map(|tone| match TelephoneEvent::event_of_key(tone) {
            Some(event) => {
                self.playing = Some(Playing::new(now, event, clock, (self.duration, self.gap)));
                now + self.duration + self.gap
            }
            // A comma.
            None => now + PAUSE,
        });
        self.steps.push_back(Step::ToneChange(tone));
    }
}

impl Playing {
    fn new(now: Instant, event: u8, clock: RtpClock, (lasts, gap): (Duration, Duration)) -> Self {
        let rate = clock.rate.min(RATE_MAX);
        Self {
            event,
            began: now,
            clock: RtpClock { rate, ..clock },
            lasts,
            ends_apart: UPDATE.min(gap / u32::from(ENDS)),
            due: now,
            over: 0,
            is_known: false,
            ends: 0,
        }
    }

    /// The packets that are due, which is at least one.
    fn send(&mut self, now: Instant, steps: &mut VecDeque<Step>) {
        let passed = now.saturating_duration_since(self.began);
        let end = self.began + self.lasts;
        if passed < self.lasts {
            self.push(passed.max(FIRST).min(self.lasts), false, steps);
            let updates = passed.as_nanos() / UPDATE.as_nanos() + 1;
            let next = UPDATE * u32::try_from(updates).unwrap_or(u32::MAX);
            self.due = end.min(self.began + next);
        } else {
            self.push(self.lasts, true, steps);
            self.ends += 1;
            self.due = end + self.ends_apart * u32::from(self.ends);
        }
    }

    fn push(&mut self, length: Duration, end: bool, steps: &mut VecDeque<Step>) {
        let ticks = length.as_nanos() * u128::from(self.clock.rate) / 1_000_000_000;
        let ticks = u32::try_from(ticks).unwrap_or(u32::MAX).max(1);
        // The end of a segment is not the end of the event, and is told as often.
        while ticks.saturating_sub(self.over) > SEGMENT {
            for _ in 0..ENDS {
                self.push_packet(SEGMENT, false, steps);
            }
            self.over += SEGMENT;
        }
        self.push_packet(ticks.saturating_sub(self.over), end, steps);
    }

    fn push_packet(&mut self, duration: u32, end: bool, steps: &mut VecDeque<Step>) {
        steps.push_back(Step::Packet(EventPacket {
            timestamp: self.clock.timestamp.wrapping_add(self.over),
            marker: !std::mem::replace(&mut self.is_known, true),
            event: TelephoneEvent {
                event: self.event,
                end,
                volume: VOLUME,
                duration: u16::try_from(duration).unwrap_or(u16::MAX),
            },
        }));
    }
}
