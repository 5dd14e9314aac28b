//! The parts together, on a path of one queue.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use twocan_wire::ids::Ssrc;
use twocan_wire::rtcp::TransportFeedback;
use twocan_wire::seq::SeqNo16;
use twocan_wire::units::Bitrate;

use super::*;

/// Where virtual time begins.
#[allow(
    clippy::disallowed_methods,
    reason = "an Instant cannot be made otherwise"
)]
pub(super) fn instant() -> Instant {
    Instant::now()
}

const STEP: Duration = Duration::from_micros(500);
const PACKET: usize = 1100;

/// A sender of video on a path with one queue, and its receiver, which reports every 50 ms.
struct Path {
    control: CongestionControl,
    start: Instant,
    now: Instant,
    capacity: f64,
    delay: Duration,
    queue: Duration,
    free_at: Instant,
    /// The part of the target that the application uses.
    uses: f64,
    /// Instead, the rate in bit/s at which it sends.
    fixed: Option<f64>,
    waiting: VecDeque<Instant>,
    credit: f64,
    sequence: u16,
    arrived: VecDeque<(Instant, u16)>,
    reported: u16,
    report_at: Instant,
    reports: VecDeque<(Instant, TransportFeedback)>,
}

impl Path {
    fn new(capacity: f64) -> Self {
        let start = instant();
        let mut control = CongestionControl::new(&Config::default());
        control.set_feedback(true);
        Self {
            control,
            start,
            now: start,
            capacity,
            delay: Duration::from_millis(40),
            queue: Duration::from_millis(300),
            free_at: start,
            uses: 1.0,
            fixed: None,
            waiting: VecDeque::new(),
            credit: 0.0,
            sequence: 65_000,
            arrived: VecDeque::new(),
            reported: 65_000,
            report_at: start,
            reports: VecDeque::new(),
        }
    }

    fn waits(&self) -> Waiting {
        Waiting {
            video: !self.waiting.is_empty(),
            video_len: self.waiting.len() * PACKET,
            video_since: self.waiting.front().copied(),
            padding: true,
            ..Waiting::default()
        }
    }

    fn target(&self) -> f64 {
        self.control.target().unwrap().as_bps() as f64
    }

    fn run(&mut self, seconds: f64) {
        let end = self.now + Duration::from_secs_f64(seconds);
        while self.now < end {
            self.now += STEP;
            let rate = self.fixed.unwrap_or(self.uses * self.target());
            self.credit += rate * STEP.as_secs_f64() / 8.0;
            while self.credit > 0.0 {
                self.credit -= PACKET as f64;
                self.waiting.push_back(self.now);
            }
            self.control.handle_timeout(self.now);
            self.send();
            self.report();
        }
    }

    fn send(&mut self) {
        loop {
            let turn = self.control.turn(self.now, &self.waits());
            let len = match turn {
                Turn::Nobody => return,
                Turn::Padding => 260,
                _ => {
                    self.waiting.pop_front();
                    PACKET
                }
            };
            let key = PacketKey::Transport(SeqNo16(self.sequence));
            let waits = self.waits();
            self.control
                .handle_sent(self.now, turn, Some(key), len, &waits);
            let free_at = self.free_at.max(self.now);
            if free_at - self.now < self.queue {
                let time = Duration::from_secs_f64(len as f64 * 8.0 / self.capacity);
                self.free_at = free_at + time;
                self.arrived
                    .push_back((self.free_at + self.delay, self.sequence));
            }
            self.sequence = self.sequence.wrapping_add(1);
        }
    }

    fn report(&mut self) {
        if self.now >= self.report_at {
            self.report_at = self.now + Duration::from_millis(50);
            let mut deltas = Vec::new();
            let epoch = |at: Instant| (at - self.start).as_micros() as i64 / 250;
            let base = SeqNo16(self.reported);
            let mut time = None;
            while let Some((at, sequence)) = self.arrived.front().copied() {
                if at > self.now {
                    break;
                }
                self.arrived.pop_front();
                let gap = sequence.wrapping_sub(self.reported);
                deltas.extend((0..gap).map(|_| None));
                let before = time.unwrap_or(epoch(at) / 256 * 256);
                deltas.push(Some((epoch(at) - before) as i16));
                time = Some(epoch(at));
                self.reported = sequence.wrapping_add(1);
                if deltas.len() == 1 + usize::from(gap) {
                    // The first arrival states the reference.
                    self.reports.push_back((
                        self.now + self.delay,
                        TransportFeedback {
                            sender: Ssrc(1),
                            media: Ssrc(2),
                            base,
                            reference_time: (before / 256) as i32,
                            count: 0,
                            deltas: Vec::new(),
                        },
                    ));
                }
            }
            if let (Some((_, report)), false) = (self.reports.back_mut(), deltas.is_empty()) {
                report.deltas = deltas;
            }
        }
        while self.reports.front().is_some_and(|(at, _)| *at <= self.now) {
            let (_, report) = self.reports.pop_front().unwrap();
            self.control.handle_transport_feedback(self.now, &report);
        }
    }

    fn queue(&self) -> Duration {
        self.free_at.saturating_duration_since(self.now)
    }
}

#[test]
fn the_target_finds_the_capacity_within_seconds_and_stays_below_it() {
    for capacity in [0.5e6, 2e6, 8e6] {
        let mut path = Path::new(capacity);
        path.run(10.0);
        let (mut least, mut most) = (f64::INFINITY, 0.0f64);
        for _ in 0..200 {
            path.run(0.1);
            least = least.min(path.target());
            most = most.max(path.target());
        }
        let (least, most) = (least / capacity, most / capacity);
        assert!(least > 0.7 && most < 1.15, "{capacity}: {least}..{most}");
        assert_eq!(path.control.counters().iter().count(), 0);
    }
}

#[test]
fn a_fall_of_the_capacity_is_followed_within_a_second_and_the_queue_drains() {
    let mut path = Path::new(3e6);
    path.run(15.0);
    path.capacity = 0.5e6;
    path.run(1.0);
    assert!(path.target() < 0.6e6, "{}", path.target());
    path.run(2.0);
    assert!(
        path.queue() < Duration::from_millis(60),
        "{:?}",
        path.queue()
    );
}

#[test]
fn an_application_that_sends_little_learns_of_room_by_probes() {
    let mut path = Path::new(4e6);
    path.uses = 0.3;
    path.run(20.0);
    assert!(path.target() > 2.5e6, "{}", path.target());
}

#[test]
fn the_receiver_and_the_application_bound_the_target() {
    let mut path = Path::new(4e6);
    let remb = Bitrate::kbps(700);
    path.control.handle_receiver_estimate(path.now, remb);
    path.run(10.0);
    assert_eq!(path.control.target(), Some(remb));
    let now = path.now;
    let (min, max) = (Bitrate::kbps(50), Bitrate::kbps(400));
    path.control.set_bounds(now, min, Some(max));
    assert_eq!(path.control.target(), Some(max));
    assert_eq!(path.control.poll_target(now), Some(max));
    assert_eq!(path.control.poll_target(now), None);
}

#[test]
fn silence_of_the_receiver_lowers_the_target_until_it_speaks() {
    let mut path = Path::new(2e6);
    path.run(10.0);
    let before = path.target();
    path.delay = Duration::from_secs(100);
    path.run(6.0);
    let during = path.target();
    assert!(during < 0.6 * before, "{during} of {before}");
}

#[test]
fn without_feedback_nothing_is_paced_and_only_the_receiver_sets_a_target() {
    let now = instant();
    let mut control = CongestionControl::new(&Config::default());
    let waiting = Waiting {
        video: true,
        video_len: 100_000,
        ..Waiting::default()
    };
    for _ in 0..100 {
        assert_eq!(control.turn(now, &waiting), Turn::Video);
        control.handle_sent(now, Turn::Video, None, 1100, &waiting);
    }
    assert_eq!(control.target(), None);
    assert_eq!(control.poll_timeout(&waiting), None);
    control.handle_receiver_estimate(now, Bitrate::kbps(900));
    assert_eq!(control.poll_target(now), Some(Bitrate::kbps(900)));
}

#[test]
fn what_rests_is_probed_for_though_most_of_the_estimate_is_used() {
    let mut path = Path::new(400e3);
    path.run(15.0);
    path.capacity = 3e6;
    path.fixed = Some(0.72 * path.target());
    path.run(15.0);
    let before = path.target();
    assert!(before < 600e3, "{before}");
    path.control.set_resting(path.now, 1);
    path.run(15.0);
    let after = path.target();
    assert!(after > 2.0 * before, "{before} {after}");
}
