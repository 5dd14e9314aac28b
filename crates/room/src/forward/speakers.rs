//! Who is heard in a room.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use twocan_proto::endpoint::PeerId;
use twocan_proto::wire::rtp::AudioLevel;

/// What counts as heard, 0 to 1: about -50 dBov.
const HEARD: f64 = 0.6;

/// A pause in speech that is none: words and sentences have gaps.
const HANG_OVER: Duration = Duration::from_millis(700);

/// Between two times that it is told who speaks.
const TELL_EVERY: Duration = Duration::from_millis(250);

/// Who speaks for so long has the floor: a word in between changes no picture.
const FLOOR_AFTER: Duration = Duration::from_millis(1_500);

/// How much of a new level goes into the mean, with 50 packets a second.
const WEIGHT: f64 = 0.15;

#[derive(Debug, Clone, Copy)]
struct Voice {
    level: f64,
    heard_at: Option<Instant>,
}

/// The voices of a room.
#[derive(Debug, Default)]
pub(super) struct Speakers {
    voices: BTreeMap<PeerId, Voice>,
    told: Vec<(PeerId, u8)>,
    told_at: Option<Instant>,
    floor: Option<PeerId>,
    /// The loudest, since when.
    loudest: Option<(PeerId, Instant)>,
}

impl Speakers {
    /// A packet of sound says how loud it is.
    pub(super) fn note(&mut self, now: Instant, peer: PeerId, level: AudioLevel) {
        let sample = 1.0 - f64::from(level.level.min(127)) / 127.0;
        let voice = self.voices.entry(peer).or_insert(Voice {
            level: 0.0,
            heard_at: None,
        });
        voice.level += WEIGHT * (sample - voice.level);
        if voice.level >= HEARD {
            voice.heard_at = Some(now);
        }
    }

    /// Someone left, or sends no sound any more.
    pub(super) fn forget(&mut self, peer: PeerId) {
        self.voices.remove(&peer);
        self.floor = self.floor.filter(|own| *own != peer);
        self.loudest = self.loudest.filter(|(own, _)| *own != peer);
    }

    /// How long ago someone was heard; `None` for never.
    pub(super) fn silence(&self, now: Instant, peer: PeerId) -> Option<Duration> {
        let at = self.voices.get(&peer)?.heard_at?;
        Some(now.saturating_duration_since(at))
    }

    /// Who has the floor: who spoke last for longer than a word, be it now or not.
    pub(super) fn floor(&self) -> Option<PeerId> {
        self.floor
    }

    /// Looks at who has the floor; answers whether that has changed.
    pub(super) fn turn(&mut self, now: Instant) -> bool {
        let speaks = self.voices.iter().filter_map(|(peer, voice)| {
            let is_heard = now.saturating_duration_since(voice.heard_at?) < HANG_OVER;
            is_heard.then_some((*peer, voice.level))
        });
        let loudest = speaks.max_by(|(_, own), (_, other)| own.total_cmp(other));
        self.loudest = loudest.map(|(peer, _)| match self.loudest {
            Some((own, since)) if own == peer => (own, since),
            _ => (peer, now),
        });
        let has_it = |(_, since): &(PeerId, Instant)| {
            // Nobody is interrupted who is not there.
            self.floor.is_none() || now.saturating_duration_since(*since) >= FLOOR_AFTER
        };
        let Some((peer, _)) = self.loudest.filter(has_it) else {
            return false;
        };
        self.floor.replace(peer) != Some(peer)
    }

    /// Who speaks, the loudest first, with a level of 0 to 1; `None` while nothing that matters has
    /// changed since this was asked.
    pub(super) fn poll(&mut self, now: Instant) -> Option<Vec<(PeerId, f64)>> {
        let since = self.told_at.map(|at| now.saturating_duration_since(at));
        if since.is_some_and(|since| since < TELL_EVERY) {
            return None;
        }
        let speaks = |voice: &Voice| {
            let at = voice.heard_at?;
            (now.saturating_duration_since(at) < HANG_OVER).then_some(voice.level)
        };
        let all = self.voices.iter();
        let mut present: Vec<(PeerId, f64)> = all
            .filter_map(|(peer, voice)| Some((*peer, speaks(voice)?)))
            .collect();
        present.sort_by(|(_, own), (_, other)| other.total_cmp(own));
        // In eighths: finer steps are no news.
        let coarse = |(peer, level): &(PeerId, f64)| (*peer, (level * 8.0) as u8);
        let told: Vec<(PeerId, u8)> = present.iter().map(coarse).collect();
        if told == self.told {
            return None;
        }
        self.told = told;
        self.told_at = Some(now);
        Some(present)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn say(speakers: &mut Speakers, now: Instant, peer: u64, level: u8) {
        for _ in 0..30 {
            speakers.note(now, PeerId(peer), AudioLevel { voice: true, level });
        }
    }

    #[test]
    fn the_loudest_is_first_and_silence_ends_it() {
        #[expect(clippy::disallowed_methods, reason = "an Instant has no other origin")]
        let start = Instant::now();
        let mut speakers = Speakers::default();
        say(&mut speakers, start, 1, 40);
        say(&mut speakers, start, 2, 20);
        say(&mut speakers, start, 3, 120);
        let present = speakers.poll(start).unwrap_or_default();
        let peers: Vec<PeerId> = present.iter().map(|(peer, _)| *peer).collect();
        assert_eq!(peers, [PeerId(2), PeerId(1)]);
        assert_eq!(speakers.poll(start), None);
        let later = start + HANG_OVER;
        assert_eq!(speakers.poll(later), Some(Vec::new()));
        assert_eq!(speakers.silence(later, PeerId(2)), Some(HANG_OVER));
        assert_eq!(speakers.silence(later, PeerId(3)), None);
    }

    #[test]
    fn the_floor_is_not_taken_by_a_word() {
        #[expect(clippy::disallowed_methods, reason = "an Instant has no other origin")]
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut speakers = Speakers::default();
        assert!(!speakers.turn(start));
        say(&mut speakers, start, 1, 30);
        assert!(speakers.turn(start));
        assert_eq!(speakers.floor(), Some(PeerId(1)));
        // A louder word, and silence.
        say(&mut speakers, at(1_000), 2, 10);
        assert!(!speakers.turn(at(1_000)));
        assert!(!speakers.turn(at(5_000)));
        assert_eq!(speakers.floor(), Some(PeerId(1)));
        for ms in (6_000..8_000).step_by(100) {
            say(&mut speakers, at(ms), 2, 10);
            let changes = speakers.turn(at(ms));
            assert_eq!(changes, ms == 7_500, "{ms}");
        }
        assert_eq!(speakers.floor(), Some(PeerId(2)));
        speakers.forget(PeerId(2));
        assert_eq!(speakers.floor(), None);
    }
}
