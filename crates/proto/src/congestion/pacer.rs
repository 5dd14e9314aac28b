//! When each packet may go. Packets stay where they are queued; the pacer says whose turn it is.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::probe::Probe;
use super::sent::ProbeInfo;

/// How far ahead of the rate packets usually go: a timer of a few milliseconds then suffices, and
/// what goes together is one group to the receiver.
pub(super) const BURST: Duration = Duration::from_millis(5);

/// Under L4S, where five milliseconds at once would be marked for the queue that they make.
pub(super) const BURST_EVEN: Duration = Duration::from_millis(1);

/// No packet waits longer: the rate rises as far as that takes.
const QUEUE_TIME_MAX: Duration = Duration::from_secs(2);

/// How far ahead of its rate a probe may go, and how far behind, before it is given up.
const PROBE_AHEAD: Duration = Duration::from_millis(2);
const PROBE_BEHIND_MAX: Duration = Duration::from_millis(20);

/// A probe that has not begun by then is given up.
const PROBE_AGE_MAX: Duration = Duration::from_secs(5);

/// Probes that wait; further ones are left out.
const PROBES_MAX: usize = 8;

/// What waits to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Waiting {
    /// Whether a packet of sound waits.
    pub audio: bool,
    /// Whether a retransmission waits.
    pub retransmission: bool,
    /// Whether a packet of video waits.
    pub video: bool,
    /// Bytes of video that wait.
    pub video_len: usize,
    /// Since when the first packet of video waits.
    pub video_since: Option<Instant>,
    /// Whether padding can be sent.
    pub padding: bool,
}

/// Whose turn it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// Sound: at once, always.
    Audio,
    /// A packet to be sent again.
    Retransmission,
    /// Video.
    Video,
    /// Padding, to fill a probe.
    Padding,
    /// Nobody's for now.
    Nobody,
}

/// Probe under way.
#[derive(Debug, Clone, Copy)]
struct Progress {
    began_at: Instant,
    packets: usize,
    len: usize,
}

#[derive(Debug)]
pub(super) struct Pacer {
    /// In bit/s; `None` does not pace.
    rate: Option<f64>,
    /// How far ahead of the rate packets may go.
    burst: Duration,
    /// When all that was sent has gone at the rate.
    free_at: Option<Instant>,
    probes: VecDeque<Probe>,
    progress: Option<Progress>,
}

impl Pacer {
    /// One that paces nothing yet.
    pub(super) fn new(burst: Duration) -> Self {
        Self {
            rate: None,
            burst,
            free_at: None,
            probes: VecDeque::new(),
            progress: None,
        }
    }

    /// How far ahead of the rate packets may go.
    pub(super) fn set_burst(&mut self, burst: Duration) {
        self.burst = burst;
    }

    /// The rate in bit/s; `None` lets everything go at once.
    pub(super) fn set_rate(&mut self, rate: Option<f64>) {
        self.rate = rate;
        if rate.is_none() {
            self.probes.clear();
            self.progress = None;
        }
    }

    pub(super) fn add_probe(&mut self, probe: Probe) {
        if self.probes.len() < PROBES_MAX {
            self.probes.push_back(probe);
        }
    }

    /// Who may send a packet now.
    pub(super) fn turn(&mut self, now: Instant, waiting: &Waiting) -> Turn {
        if waiting.audio {
            return Turn::Audio;
        }
        let media = match (waiting.retransmission, waiting.video) {
            (true, _) => Turn::Retransmission,
            (false, true) => Turn::Video,
            (false, false) => Turn::Nobody,
        };
        self.drop_late_probes(now);
        if let Some(due) = self.probe_due() {
            // Probes begin with media, which then goes at their rate.
            return match media {
                _ if due > now + PROBE_AHEAD => Turn::Nobody,
                Turn::Nobody if waiting.padding && self.progress.is_some() => Turn::Padding,
                media => media,
            };
        }
        let is_free = self.rate.is_none() || self.free_at.is_none_or(|at| at <= now + self.burst);
        if is_free { media } else { Turn::Nobody }
    }

    /// A packet went; answers the probe that it belongs to.
    pub(super) fn handle_sent(
        &mut self,
        now: Instant,
        turn: Turn,
        len: usize,
        waiting: &Waiting,
    ) -> Option<ProbeInfo> {
        if turn == Turn::Audio {
            return None;
        }
        if let Some(rate) = self.rate_for(now, waiting) {
            let base = self.free_at.map_or(now, |at| at.max(now));
            self.free_at = Some(base + time_for(len, rate));
        }
        let probe = *self.probes.front()?;
        let progress = self.progress.get_or_insert(Progress {
            began_at: now,
            packets: 0,
            len: 0,
        });
        progress.packets += 1;
        progress.len += len;
        if progress.packets >= probe.info.packets_min && progress.len >= probe.info.len_min {
            self.end_probe();
        }
        Some(probe.info)
    }

    /// When it is somebody's turn again.
    pub(super) fn poll_timeout(&self, waiting: &Waiting) -> Option<Instant> {
        let media = waiting.retransmission || waiting.video;
        if let (Some(due), Some(_)) = (self.probe_due(), self.progress) {
            let can_go_on = media || waiting.padding;
            return Some(if can_go_on {
                due
            } else {
                due + PROBE_BEHIND_MAX
            });
        }
        self.free_at.filter(|_| media && self.rate.is_some())
    }

    /// The rate, or as much more as it takes to keep the queue short.
    fn rate_for(&self, now: Instant, waiting: &Waiting) -> Option<f64> {
        let rate = self.rate?;
        let waited = waiting
            .video_since
            .map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
        let left = QUEUE_TIME_MAX.saturating_sub(waited);
        let left = left.max(Duration::from_millis(1)).as_secs_f64();
        Some(rate.max(waiting.video_len as f64 * 8.0 / left))
    }

    /// When the next packet of the current probe goes; long ago if it has not begun.
    fn probe_due(&self) -> Option<Instant> {
        let probe = self.probes.front()?;
        Some(match &self.progress {
            None => probe.created_at,
            Some(progress) => progress.began_at + time_for(progress.len, probe.rate),
        })
    }

    fn drop_late_probes(&mut self, now: Instant) {
        while let (Some(probe), Some(due)) = (self.probes.front(), self.probe_due()) {
            let is_late = match self.progress {
                Some(_) => now >= due + PROBE_BEHIND_MAX,
                None => now > probe.created_at + PROBE_AGE_MAX,
            };
            if !is_late {
                break;
            }
            self.end_probe();
        }
    }

    fn end_probe(&mut self) {
        self.probes.pop_front();
        self.progress = None;
    }
}

fn time_for(len: usize, rate: f64) -> Duration {
    let seconds = len as f64 * 8.0 / rate.max(1.0);
    Duration::try_from_secs_f64(seconds).unwrap_or(QUEUE_TIME_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::congestion::tests::instant;

    const VIDEO: Waiting = Waiting {
        audio: false,
        retransmission: false,
        video: true,
        video_len: 1000,
        video_since: None,
        padding: true,
    };

    /// Packets of 1000 bytes that go within `time`.
    fn sent(pacer: &mut Pacer, start: Instant, time: Duration, waiting: Waiting) -> Vec<Turn> {
        let mut turns = Vec::new();
        let mut now = start;
        while now < start + time {
            let turn = pacer.turn(now, &waiting);
            if turn == Turn::Nobody {
                let next = pacer.poll_timeout(&waiting);
                now = next
                    .unwrap_or(start + time)
                    .max(now + Duration::from_micros(1));
                continue;
            }
            pacer.handle_sent(now, turn, 1000, &waiting);
            turns.push(turn);
        }
        turns
    }

    #[test]
    fn video_goes_at_the_rate_and_sound_at_once() {
        let start = instant();
        let mut pacer = Pacer::new(BURST);
        pacer.set_rate(Some(8e6));
        let turns = sent(&mut pacer, start, Duration::from_millis(100), VIDEO);
        assert!((100..=106).contains(&turns.len()), "{}", turns.len());
        let now = start + Duration::from_millis(100);
        while pacer.turn(now, &VIDEO) == Turn::Video {
            pacer.handle_sent(now, Turn::Video, 1000, &VIDEO);
        }
        let both = Waiting {
            audio: true,
            ..VIDEO
        };
        assert_eq!(pacer.turn(now, &both), Turn::Audio);
        pacer.set_rate(None);
        assert_eq!(pacer.turn(now, &VIDEO), Turn::Video);
    }

    #[test]
    fn retransmissions_come_before_video() {
        let waiting = Waiting {
            retransmission: true,
            ..VIDEO
        };
        assert_eq!(
            Pacer::new(BURST).turn(instant(), &waiting),
            Turn::Retransmission
        );
    }

    #[test]
    fn a_long_queue_drains_in_two_seconds() {
        let start = instant();
        let mut pacer = Pacer::new(BURST);
        pacer.set_rate(Some(8e4));
        let mut left = 1_000_000;
        let mut now = start;
        while left > 0 {
            let waiting = Waiting {
                video_len: left,
                video_since: Some(start),
                ..VIDEO
            };
            match pacer.turn(now, &waiting) {
                Turn::Nobody => now = pacer.poll_timeout(&waiting).unwrap(),
                turn => {
                    pacer.handle_sent(now, turn, 1000, &waiting);
                    left -= 1000;
                }
            }
        }
        assert!(now - start <= QUEUE_TIME_MAX + BURST, "{:?}", now - start);
        assert!(now - start >= QUEUE_TIME_MAX * 9 / 10, "{:?}", now - start);
    }

    fn probe(rate: f64, created_at: Instant) -> Probe {
        Probe {
            rate,
            info: ProbeInfo {
                id: 1,
                packets_min: 5,
                len_min: 20_000,
            },
            created_at,
        }
    }

    #[test]
    fn a_probe_begins_with_media_goes_on_with_padding_and_keeps_its_rate() {
        let start = instant();
        let mut pacer = Pacer::new(BURST);
        pacer.set_rate(Some(1e5));
        pacer.add_probe(probe(8e6, start));
        let idle = Waiting {
            video: false,
            ..VIDEO
        };
        assert_eq!(pacer.turn(start, &idle), Turn::Nobody);
        assert_eq!(pacer.poll_timeout(&idle), None);
        assert_eq!(pacer.turn(start, &VIDEO), Turn::Video);
        assert!(
            pacer
                .handle_sent(start, Turn::Video, 1000, &VIDEO)
                .is_some()
        );
        let turns = sent(&mut pacer, start, Duration::from_millis(10), idle);
        assert!((9..=12).contains(&turns.len()), "{turns:?}");
        assert!(turns.iter().all(|turn| *turn == Turn::Padding));
        let rest = Duration::from_millis(90);
        let turns = sent(&mut pacer, start + Duration::from_millis(10), rest, idle);
        assert!((8..=10).contains(&turns.len()), "{turns:?}");
    }

    #[test]
    fn a_probe_that_cannot_go_on_is_given_up() {
        let start = instant();
        let mut pacer = Pacer::new(BURST);
        pacer.set_rate(Some(1e9));
        pacer.add_probe(probe(8e6, start));
        pacer.handle_sent(start, Turn::Video, 1000, &VIDEO);
        let none = Waiting::default();
        let until = pacer.poll_timeout(&none).unwrap();
        assert_eq!(until, start + Duration::from_millis(21));
        assert_eq!(pacer.turn(until, &none), Turn::Nobody);
        assert_eq!(pacer.poll_timeout(&none), None);
        assert_eq!(pacer.handle_sent(until, Turn::Video, 1000, &VIDEO), None);
    }
}
