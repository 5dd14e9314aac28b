//! The event log: decisions, states, key frames, and a sample of what is in between, for pictures of
//! a call. `docs/event-log.md` has the format.
//!
//! It is made by looking at the machine after each of its steps. While it is off there is none, and
//! nothing is looked at.

mod entry;

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use twocan_wire::ids::{Mid, Ssrc};
use twocan_wire::units::Bitrate;

pub use entry::{Inbound, KeyFrame, LogEntry, LogEvent, Sample};

use super::machine::Peer;
use super::transport::Transport;
use super::{Event, NegotiatedMedia};
use crate::contract::{Batch, Output};
use crate::ice::Route;
use crate::negotiate::Kind;
use crate::rtp::{self, InboundStats};
use crate::time::Now;

/// Entries that wait to be taken: half a minute of a busy call. Further ones are left out and
/// counted; the next that finds room is preceded by how many there were.
const ENTRIES_MAX: usize = 4096;

/// Between two samples, as long as anything happens.
const SAMPLE_INTERVAL: Duration = Duration::from_millis(100);

/// What was seen of a stream when it was last looked at.
#[derive(Debug, Clone, Copy, Default)]
struct Seen {
    key_frames: u64,
    requests: u64,
    buffer_delay: Duration,
    buffer_count: u64,
}

/// The log of one peer.
#[derive(Debug)]
pub(super) struct Journal {
    start: Instant,
    entries: VecDeque<LogEntry>,
    left_out: u64,
    route: Option<Route>,
    sampled_at: Instant,
    bytes_sent: u64,
    bytes_received: u64,
    /// By our sources, or those of the other side.
    sent: BTreeMap<Ssrc, Seen>,
    received: BTreeMap<Ssrc, Seen>,
}

impl Journal {
    pub(super) fn new(now: Now) -> Self {
        let began = LogEntry {
            at: Duration::ZERO,
            event: LogEvent::Began(now.wallclock),
        };
        let now = now.monotonic;
        Self {
            start: now,
            entries: VecDeque::from([began]),
            left_out: 0,
            route: None,
            sampled_at: now,
            bytes_sent: 0,
            bytes_received: 0,
            sent: BTreeMap::new(),
            received: BTreeMap::new(),
        }
    }

    fn push(&mut self, at: Instant, event: LogEvent) {
        let at = at.saturating_duration_since(self.start);
        let room = ENTRIES_MAX.saturating_sub(self.entries.len());
        if room == 0 || (self.left_out > 0 && room == 1) {
            self.left_out += 1;
            return;
        }
        if self.left_out > 0 {
            let left_out = LogEvent::LeftOut(std::mem::take(&mut self.left_out));
            self.entries.push_back(LogEntry {
                at,
                event: left_out,
            });
        }
        self.entries.push_back(LogEntry { at, event });
    }

    fn note_event(&mut self, now: Instant, event: &Event, media: &[NegotiatedMedia]) {
        let event = match event {
            Event::ConnectionState(state) => LogEvent::ConnectionState(*state),
            Event::IceConnectionState(state) => LogEvent::IceConnectionState(*state),
            Event::IceGatheringState(state) => LogEvent::IceGatheringState(*state),
            Event::Failed(failure) => LogEvent::Failed(*failure),
            Event::Rtp(rtp::Event::Frame(frame))
                if frame.key_frame && kind_of(media, &frame.mid) == Some(Kind::Video) =>
            {
                LogEvent::KeyFrame {
                    what: KeyFrame::Received,
                    mid: frame.mid.clone(),
                    rid: frame.rid.clone(),
                }
            }
            Event::Rtp(rtp::Event::KeyFrameRequested { mid, rid }) => LogEvent::KeyFrame {
                what: KeyFrame::Requested,
                mid: mid.clone(),
                rid: rid.clone(),
            },
            _ => return,
        };
        self.push(now, event);
    }

    /// What congestion control decided, and where data goes.
    fn note_transport(&mut self, now: Instant, transport: &mut Transport) {
        let route = transport.ice.route();
        if route != self.route {
            self.route = route;
            let mut relays = transport.relays.relays.iter();
            let relayed =
                route.is_some_and(|route| relays.any(|own| own.lent.contains(&route.path)));
            self.push(now, LogEvent::Route { route, relayed });
        }
        while let Some((at, decision)) = transport.congestion.poll_decision() {
            self.push(at, LogEvent::Decision(decision));
        }
        self.left_out += transport.congestion.take_decisions_left_out();
        for stats in transport.rtp.outbound_stats() {
            let seen = self.sent.entry(stats.ssrc).or_default();
            let added = stats.key_frames_sent.saturating_sub(seen.key_frames);
            seen.key_frames = stats.key_frames_sent;
            if added > 0 {
                let event = LogEvent::KeyFrame {
                    what: KeyFrame::Sent,
                    mid: stats.mid.clone(),
                    rid: stats.rid.clone(),
                };
                self.push(now, event);
            }
        }
    }

    /// Requests that went out just now.
    fn note_requests(&mut self, now: Instant, transport: &Transport) {
        for stats in transport.rtp.inbound_stats() {
            let seen = self.received.entry(stats.ssrc).or_default();
            let requests = stats.pli_count + stats.fir_count;
            let added = requests.saturating_sub(seen.requests);
            seen.requests = requests;
            if added > 0 {
                let event = LogEvent::KeyFrame {
                    what: KeyFrame::Asked,
                    mid: stats.mid,
                    rid: stats.rid,
                };
                self.push(now, event);
            }
        }
    }

    fn sample(&mut self, now: Instant, transport: &Transport, media: &[NegotiatedMedia]) {
        let elapsed = now.saturating_duration_since(self.sampled_at);
        if elapsed < SAMPLE_INTERVAL || !transport.has_keys() {
            return;
        }
        self.sampled_at = now;
        let rate = |bytes: u64| Bitrate::bps((bytes as f64 * 8.0 / elapsed.as_secs_f64()) as u64);
        let inbound: Vec<InboundStats> = transport.rtp.inbound_stats().collect();
        let streams = inbound.iter();
        let received = streams.map(|own| own.bytes_received + own.header_bytes_received);
        let received: u64 = received.sum();
        let (backlog, congestion) = (transport.rtp.backlog(), &transport.congestion);
        let (trend, threshold) = congestion.trend();
        let waits = |since: Instant| now.saturating_duration_since(since);
        let sample = Sample {
            sent: rate(std::mem::take(&mut self.bytes_sent)),
            received: rate(received.saturating_sub(self.bytes_received)),
            target: congestion.target(),
            acknowledged: congestion.acknowledged(),
            round_trip_time: congestion.round_trip_time(),
            trend,
            threshold,
            queue_len: backlog.video_len,
            queue_time: backlog.video_since.map(waits).unwrap_or_default(),
        };
        self.bytes_received = received;
        self.push(now, LogEvent::Sample(sample));
        // Sources of the other side come and go, and with them what was seen.
        let ends = |ssrc: &Ssrc| inbound.iter().any(|own| own.ssrc == *ssrc);
        self.received.retain(|ssrc, _| ends(ssrc));
        let current: Vec<Ssrc> = transport.rtp.outbound_stats().map(|own| own.ssrc).collect();
        self.sent.retain(|ssrc, _| current.contains(ssrc));
        for stats in inbound {
            let kind = kind_of(media, &stats.mid);
            let event = LogEvent::Inbound(self.inbound(stats, kind));
            self.push(now, event);
        }
    }

    fn inbound(&mut self, stats: InboundStats, kind: Option<Kind>) -> Inbound {
        let seen = self.received.entry(stats.ssrc).or_default();
        let emitted = stats
            .jitter_buffer_emitted_count
            .saturating_sub(seen.buffer_count);
        let delay = stats.jitter_buffer_delay.saturating_sub(seen.buffer_delay);
        seen.buffer_count = stats.jitter_buffer_emitted_count;
        seen.buffer_delay = stats.jitter_buffer_delay;
        let mean = delay.as_secs_f64() / emitted as f64;
        Inbound {
            mid: stats.mid,
            rid: stats.rid,
            ssrc: stats.ssrc,
            kind,
            packets_received: stats.packets_received,
            packets_lost: stats.packets_lost,
            packets_repaired: stats.retransmitted_packets_received + stats.packets_recovered,
            frames_received: stats.frames_received,
            frames_dropped: stats.frames_dropped,
            jitter: stats.jitter,
            buffer: Duration::try_from_secs_f64(mean).ok(),
        }
    }
}

fn kind_of(media: &[NegotiatedMedia], mid: &Mid) -> Option<Kind> {
    let section = media.iter().find(|own| own.mid == *mid);
    section.map(|own| own.kind)
}

impl Peer {
    /// The next entry of the event log; none unless [`super::Config::event_log`] is set. Take them
    /// after [`Self::poll_output`]: 4096 wait at most, further ones are left out and counted.
    pub fn poll_log(&mut self) -> Option<LogEntry> {
        self.journal.as_mut()?.entries.pop_front()
    }

    /// Whether the event log is on.
    pub fn keeps_log(&self) -> bool {
        self.journal.is_some()
    }

    /// Whether [`Self::poll_log`] has an entry.
    pub fn has_log(&self) -> bool {
        let journal = self.journal.as_ref();
        journal.is_some_and(|own| !own.entries.is_empty())
    }

    /// Writes down what the machine has done, if that is wanted.
    pub(super) fn observe(&mut self, now: Now, output: &Output<Event>, batch: &Batch) {
        let Some(journal) = &mut self.journal else {
            return;
        };
        let at = now.monotonic;
        journal.note_transport(at, &mut self.transport);
        match output {
            Output::Event(event) => journal.note_event(at, event, &self.media),
            Output::Transmit => {
                journal.bytes_sent += batch.bytes().len() as u64;
                journal.note_requests(at, &self.transport);
            }
            Output::Request(_) | Output::Wait(_) => {}
        }
        journal.sample(at, &self.transport, &self.media);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ice;

    #[expect(clippy::disallowed_methods, reason = "a test has no other clock")]
    fn now() -> Now {
        Now {
            monotonic: Instant::now(),
            wallclock: Duration::from_secs(1_700_000_000),
        }
    }

    #[test]
    fn a_log_that_nobody_takes_is_bounded_and_says_what_is_missing() {
        let now = now();
        let (start, mut journal) = (now.monotonic, Journal::new(now));
        let event = || LogEvent::IceConnectionState(ice::State::Checking);
        for _ in 0..ENTRIES_MAX + 7 {
            journal.push(start, event());
        }
        assert_eq!(journal.entries.len(), ENTRIES_MAX);
        let first = journal.entries.front().map(LogEntry::to_string);
        let expected = r#"{"t":0.000000,"event":"began","version":1,"at":1700000000.000}"#;
        assert_eq!(first.as_deref(), Some(expected));
        journal.entries.clear();
        journal.push(start + Duration::from_millis(1500), event());
        let lines: Vec<String> = journal.entries.iter().map(LogEntry::to_string).collect();
        assert_eq!(
            lines,
            [
                r#"{"t":1.500000,"event":"left_out","count":8}"#,
                r#"{"t":1.500000,"event":"ice","state":"checking"}"#,
            ]
        );
    }
}
