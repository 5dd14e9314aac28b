//! Our SCTP association against `dcsctp` and `sctp-proto`, in memory, in virtual time.
#![allow(clippy::unwrap_used, clippy::panic, reason = "all of this is a test")]

mod ends;
mod link;

use std::time::{Duration, Instant};

use ends::{Dcsctp, End, Ours, SctpProto};
use link::{Link, Quality, Random};
use twocan_proto::sctp::{Config, Order, Reliability, SendOptions};

const MS: Duration = Duration::from_millis(1);
const LONG: Duration = Duration::from_secs(900);

/// Who sends INIT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Opener {
    Us,
    Them,
    Both,
}

/// What arrived, with its stream.
type Messages = Vec<(u16, Vec<u8>)>;

/// Our end and theirs with a link between them.
struct Pair {
    start: Instant,
    now: Instant,
    ours: Ours,
    theirs: Box<dyn End>,
    out: Link,
    back: Link,
    /// What arrived at our end and at theirs.
    arrived: [Messages; 2],
}

impl Pair {
    fn connected(
        seed: u64,
        config: Config,
        theirs: Box<dyn End>,
        opener: Opener,
        quality: Quality,
    ) -> Self {
        let start = ends::epoch();
        let mut pair = Self {
            start,
            now: start,
            ours: Ours::new(seed, config),
            theirs,
            out: Link::new(seed, quality),
            back: Link::new(seed ^ 0xff, quality),
            arrived: [Vec::new(), Vec::new()],
        };
        if opener != Opener::Them {
            pair.ours.connect(start);
        }
        if opener != Opener::Us {
            pair.theirs.connect(start);
        }
        pair.run_until("connected", |pair| {
            pair.ours.is_connected() && pair.theirs.is_connected()
        });
        pair
    }

    #[track_caller]
    fn run_until(&mut self, what: &str, done: impl Fn(&mut Self) -> bool) {
        let end = self.now + LONG;
        loop {
            self.exchange();
            if done(self) {
                return;
            }
            let next = self.next();
            assert!(
                next.is_some_and(|at| at <= end),
                "not {what} after {:?}: {}",
                self.now - self.start,
                self.ours.describe(),
            );
            self.now = self.now.max(next.expect("checked above"));
        }
    }

    fn run_for(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            self.exchange();
            match self.next().filter(|at| *at <= end) {
                Some(at) => self.now = self.now.max(at),
                None => {
                    self.now = end;
                    return;
                }
            }
        }
    }

    fn next(&self) -> Option<Instant> {
        let times = [
            self.ours.next(),
            self.theirs.next(),
            self.out.next(),
            self.back.next(),
        ];
        times.into_iter().flatten().min()
    }

    fn exchange(&mut self) {
        let now = self.now;
        while let Some(packet) = self.back.pop(now) {
            self.ours.handle_packet(now, packet);
        }
        while let Some(packet) = self.out.pop(now) {
            self.theirs.handle_packet(now, packet);
        }
        self.ours.advance(now);
        self.theirs.advance(now);
        for packet in self.ours.transmit(now) {
            self.out.push(now, packet);
        }
        for packet in self.theirs.transmit(now) {
            self.back.push(now, packet);
        }
        self.arrived[0].extend(self.ours.receive());
        self.arrived[1].extend(self.theirs.receive());
    }
}

fn config() -> Config {
    Config {
        remote_max_message_size: 262_144,
        ..Config::default()
    }
}

fn payload(seed: u64, len: usize) -> Vec<u8> {
    (0..len as u64)
        .map(|at| (at.wrapping_mul(29) ^ seed.wrapping_mul(0x9e37_79b9) ^ (at >> 9)) as u8)
        .collect()
}

/// Sends messages of many sizes each way and compares what arrived.
fn check_exchange(
    seed: u64,
    config: Config,
    theirs: Box<dyn End>,
    opener: Opener,
    order: Order,
    quality: Quality,
) {
    let mut pair = Pair::connected(seed, config, theirs, opener, quality);
    let options = SendOptions {
        order,
        ..SendOptions::default()
    };
    let sizes = [
        1, 2, 100, 1131, 1132, 1133, 1400, 5000, 40_000, 65_536, 262_144,
    ];
    let mut expected: Messages = Vec::new();
    let mut random = Random::new(seed);
    for (index, len) in sizes.into_iter().chain(sizes).enumerate() {
        let stream = random.below(3) as u16;
        let payload = payload(index as u64, len);
        pair.ours.send(pair.now, stream, options, payload.clone());
        pair.theirs.send(pair.now, stream, options, payload.clone());
        expected.push((stream, payload));
    }
    let count = expected.len();
    pair.run_until("exchanged", |pair| {
        pair.arrived.iter().all(|messages| messages.len() >= count)
    });
    pair.run_for(Duration::from_secs(3));
    for (side, mut got) in ["ours", "theirs"].into_iter().zip(pair.arrived) {
        let mut expected = expected.clone();
        match order {
            Order::Ordered => {
                got.sort_by_key(|(stream, _)| *stream);
                expected.sort_by_key(|(stream, _)| *stream);
            }
            Order::Unordered => {
                got.sort();
                expected.sort();
            }
        }
        assert!(
            got == expected,
            "seed {seed}, {opener:?} opens: {side} got something else"
        );
    }
}

#[test]
fn dcsctp_exchanges_messages_with_us_in_every_mode() {
    for seed in 0..6 {
        for opener in [Opener::Us, Opener::Them, Opener::Both] {
            for order in [Order::Ordered, Order::Unordered] {
                for modern in [false, true] {
                    let config = Config {
                        zero_checksum: modern,
                        interleaving: modern,
                        ..config()
                    };
                    let theirs = Box::new(Dcsctp::new(true, modern));
                    let quality = Quality::bad();
                    check_exchange(seed, config, theirs, opener, order, quality);
                }
            }
        }
    }
}

#[test]
fn sctp_proto_exchanges_messages_with_us_in_both_roles() {
    for seed in 0..6 {
        for opener in [Opener::Us, Opener::Them] {
            for order in [Order::Ordered, Order::Unordered] {
                let theirs = Box::new(SctpProto::new(opener == Opener::Us));
                check_exchange(seed, config(), theirs, opener, order, Quality::bad());
            }
        }
    }
}

/// One side sends without retransmissions; what arrives is in order and whole, and nothing hangs.
fn check_partial(seed: u64, config: Config, theirs: Box<dyn End>, is_ours: bool) {
    let mut pair = Pair::connected(seed, config, theirs, Opener::Us, Quality::bad());
    let partial = SendOptions {
        order: Order::Ordered,
        reliability: Reliability::MaxRetransmits(0),
    };
    for index in 0..150u64 {
        let mut message = payload(index, if index % 7 == 0 { 4000 } else { 300 });
        message[0] = index as u8;
        if is_ours {
            pair.ours.send(pair.now, 1, partial, message);
        } else {
            pair.theirs.send(pair.now, 1, partial, message);
        }
        pair.run_for(10 * MS);
    }
    let last = SendOptions::default();
    if is_ours {
        pair.ours.send(pair.now, 1, last, vec![255; 500]);
    } else {
        pair.theirs.send(pair.now, 1, last, vec![255; 500]);
    }
    let side = usize::from(is_ours);
    pair.run_until("at the last message", |pair| {
        let last = pair.arrived[side].last();
        last.is_some_and(|(_, message)| message[0] == 255)
    });
    let got: Vec<u8> = pair.arrived[side].iter().map(|(_, m)| m[0]).collect();
    assert!(got.is_sorted(), "seed {seed}: order");
    assert!(
        got.len() > 75 && got.len() < 151,
        "seed {seed}: {}",
        got.len()
    );
    for (_, message) in &pair.arrived[side] {
        let index = u64::from(message[0]);
        if index < 255 {
            let mut expected = payload(index, if index % 7 == 0 { 4000 } else { 300 });
            expected[0] = message[0];
            assert!(*message == expected, "seed {seed}: mixed up");
        }
    }
}

#[test]
fn partial_reliability_works_with_dcsctp_in_both_directions_and_formats() {
    for seed in 0..10 {
        for interleaving in [false, true] {
            for is_ours in [false, true] {
                let config = Config {
                    interleaving,
                    ..config()
                };
                let theirs = Box::new(Dcsctp::new(true, interleaving));
                check_partial(seed, config, theirs, is_ours);
            }
        }
    }
}

#[test]
fn partial_reliability_works_with_sctp_proto() {
    for seed in 0..10 {
        let theirs = Box::new(SctpProto::new(true));
        check_partial(seed, config(), theirs, true);
    }
}

/// Both sides reset a stream, again and again, and use it anew each time.
fn check_resets(seed: u64, config: Config, theirs: Box<dyn End>, rounds: u64) {
    let mut pair = Pair::connected(seed, config, theirs, Opener::Us, Quality::bad());
    for round in 0..rounds {
        pair.arrived = [Vec::new(), Vec::new()];
        pair.ours.forget_resets();
        pair.theirs.forget_resets();
        let message = payload(round, 3000);
        let options = SendOptions::default();
        pair.ours.send(pair.now, 5, options, message.clone());
        pair.theirs.send(pair.now, 5, options, message.clone());
        pair.run_until("exchanged", |pair| {
            pair.arrived.iter().all(|messages| messages.len() == 1)
        });
        pair.ours.reset(5);
        pair.theirs.reset(5);
        pair.run_until("reset", |pair| {
            pair.ours.is_reset(5) && pair.theirs.is_reset(5)
        });
        pair.run_for(Duration::from_secs(5));
    }
}

#[test]
fn streams_are_reset_and_used_again_with_dcsctp() {
    for seed in 0..10 {
        for interleaving in [false, true] {
            let config = Config {
                interleaving,
                ..config()
            };
            check_resets(seed, config, Box::new(Dcsctp::new(true, interleaving)), 4);
        }
    }
}

#[test]
fn streams_are_reset_and_used_again_with_sctp_proto() {
    for seed in 0..10 {
        check_resets(seed, config(), Box::new(SctpProto::new(true)), 3);
    }
}
