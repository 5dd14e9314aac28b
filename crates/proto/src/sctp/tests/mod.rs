//! Two associations with a simulated link between them.

mod basics;
mod hostile;
mod link;
mod lossy;
mod partial;
mod resets;

use std::time::{Duration, Instant};

use link::{Link, LinkConfig};
use twocan_wire::ids::StreamId;
use twocan_wire::sctp::Ppid;

use super::*;
use crate::random::Random;
use crate::time::Deadline;

const MS: Duration = Duration::from_millis(1);

/// The one instant that tests start at.
#[allow(
    clippy::disallowed_methods,
    reason = "an instant can only be made from the clock"
)]
pub(crate) fn start() -> Instant {
    use std::sync::OnceLock;
    static START: OnceLock<Instant> = OnceLock::new();
    *START.get_or_init(Instant::now)
}

/// Which end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    A,
    B,
}
use Side::{A, B};

type Filter = Box<dyn FnMut(Side, &[u8]) -> bool>;

/// The seeds of a test: `default` of them, or as many as `TWOCAN_SEEDS` says.
fn seeds(default: u64) -> std::ops::Range<u64> {
    let wanted = std::env::var("TWOCAN_SEEDS").ok();
    0..wanted
        .and_then(|count| count.parse().ok())
        .unwrap_or(default)
}

/// Two associations, the links between them, and what they reported.
struct Pair {
    seed: u64,
    now: Instant,
    ends: [Association; 2],
    links: [Link; 2],
    events: [Vec<Event>; 2],
    /// Whether a packet goes on its way.
    filter: Filter,
    scratch: Vec<u8>,
}

impl Pair {
    fn new(seed: u64, config: &Config, link: LinkConfig) -> Self {
        Self::with(seed, [config.clone(), config.clone()], link)
    }

    fn with(seed: u64, [a, b]: [Config; 2], link: LinkConfig) -> Self {
        let mut bytes = [7; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        let mut random = Random::new(bytes);
        Self {
            seed,
            now: start(),
            ends: [
                Association::new(a, random.fork()),
                Association::new(b, random.fork()),
            ],
            links: [
                Link::new(link, random.fork()),
                Link::new(link, random.fork()),
            ],
            events: [Vec::new(), Vec::new()],
            filter: Box::new(|_, _| true),
            scratch: Vec::new(),
        }
    }

    /// A pair whose handshake is over.
    fn connected(seed: u64, config: &Config, link: LinkConfig) -> Self {
        let mut pair = Self::new(seed, config, link);
        pair.connect();
        pair
    }

    fn connect(&mut self) {
        let now = self.now;
        for end in &mut self.ends {
            end.connect(now);
        }
        self.run_until(Duration::from_secs(30), |pair| {
            pair.ends.iter().all(Association::is_established)
        });
        for events in &mut self.events {
            assert_eq!(events.remove(0), Event::Connected);
        }
    }

    fn end(&mut self, side: Side) -> &mut Association {
        &mut self.ends[side as usize]
    }

    fn send(&mut self, side: Side, stream: u16, options: SendOptions, payload: Vec<u8>) {
        let now = self.now;
        self.end(side)
            .send(now, StreamId(stream), Ppid::BINARY, options, payload)
            .unwrap();
    }

    /// Moves packets and fires timers until `done`, at most for `limit`; answers how long it took.
    #[track_caller]
    fn run_until(&mut self, limit: Duration, done: impl Fn(&Self) -> bool) -> Duration {
        let began = self.now;
        loop {
            self.exchange();
            if done(self) {
                return self.now - began;
            }
            let next = self.next();
            match next {
                Some(at) if at <= began + limit => self.now = self.now.max(at),
                _ => panic!(
                    "seed {}: not done after {limit:?} (next {next:?}): {:#?}",
                    self.seed,
                    self.ends
                        .each_ref()
                        .map(|end| (end.stats(), end.counters().clone()))
                ),
            }
        }
    }

    /// Moves packets and fires timers for `time`.
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

    /// Does everything that is due now.
    fn exchange(&mut self) {
        for (index, side) in [A, B].into_iter().enumerate() {
            while let Some(packet) = self.links[1 - index].pop(self.now) {
                self.ends[index].handle_packet(self.now, &packet);
            }
            if self.ends[index]
                .poll_timeout()
                .is_some_and(|deadline| deadline.at <= self.now)
            {
                self.ends[index].handle_timeout(self.now);
            }
            loop {
                self.scratch.clear();
                if !self.ends[index].poll_transmit(self.now, &mut self.scratch) {
                    break;
                }
                assert!(self.scratch.len() <= 1160, "packet too long");
                if (self.filter)(side, &self.scratch) {
                    self.links[index].push(self.now, &self.scratch);
                }
            }
            while let Some(event) = self.ends[index].poll_event() {
                self.events[index].push(event);
            }
        }
    }

    fn next(&self) -> Option<Instant> {
        let timers = self.ends.iter().filter_map(Association::poll_timeout);
        let timers = timers.map(|deadline: Deadline| deadline.at);
        let links = self.links.iter().filter_map(Link::next);
        timers.chain(links).min()
    }

    /// The messages that `side` received.
    fn messages(&self, side: Side) -> Vec<&Message> {
        self.events[side as usize]
            .iter()
            .filter_map(|event| match event {
                Event::Message(message) => Some(message),
                _ => None,
            })
            .collect()
    }

    fn received(&self, side: Side) -> usize {
        self.messages(side).len()
    }
}

/// A message whose bytes tell where they belong.
fn payload(seed: u64, len: usize) -> Vec<u8> {
    (0..len as u64)
        .map(|at| (at.wrapping_mul(31) ^ seed.wrapping_mul(0x9e37_79b9) ^ (at >> 8)) as u8)
        .collect()
}
