//! One direction between two interfaces: a thread reads, a thread writes what is due.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;
use tun_rs::SyncDevice;
use twocan_proto::contract::Ecn;
use twocan_proto::random::Random;
use twocan_sim::Link;

use crate::conditions::Conditions;

/// What the link counts as headers by itself: those of IPv4 and UDP.
const HEADERS_LEN: usize = 28;

/// Packets under way; more than any queue of a row holds.
const PACKETS_MAX: usize = 20_000;

/// Longest packet of an interface.
const PACKET_LEN_MAX: usize = 65_536;

/// What a direction has done so far, and how long a packet would wait now.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Report {
    /// Packets offered.
    pub offered: u64,
    /// Lost at random or in a blackout.
    pub lost: u64,
    /// Dropped at the tail of the queue.
    pub queue_full: u64,
    /// Delivered.
    pub delivered: u64,
    /// Bytes delivered, IP headers included.
    pub bytes: u64,
    /// Milliseconds that a packet offered now would wait.
    pub queue_ms: f64,
}

#[derive(Debug)]
struct State {
    link: Link,
    random: Random,
    under_way: BinaryHeap<Reverse<(Instant, u64, Vec<u8>)>>,
    count: u64,
}

/// One direction.
#[derive(Debug)]
pub struct Wire {
    state: Mutex<State>,
    changed: Condvar,
}

impl Wire {
    /// Starts both threads; they end with the process.
    pub fn start(from: Arc<SyncDevice>, to: Arc<SyncDevice>, seed: [u8; 32]) -> Arc<Self> {
        let wire = Arc::new(Self {
            state: Mutex::new(State {
                link: Link::new(Conditions::default().config()),
                random: Random::new(seed),
                under_way: BinaryHeap::new(),
                count: 0,
            }),
            changed: Condvar::new(),
        });
        let (reader, writer) = (wire.clone(), wire.clone());
        std::thread::spawn(move || reader.read(&from));
        std::thread::spawn(move || writer.write(&to));
        wire
    }

    /// From now on the link is so. What is under way arrives as it would have.
    pub fn change(&self, conditions: Conditions) {
        let mut state = self.lock();
        state.link.config = conditions.config();
        state.link.blackout = conditions.blackout;
    }

    /// How it goes.
    pub fn report(&self) -> Report {
        let state = self.lock();
        let stats = state.link.stats();
        Report {
            offered: stats.offered,
            lost: stats.lost,
            queue_full: stats.queue_full,
            delivered: stats.delivered,
            bytes: stats.bytes + stats.delivered * HEADERS_LEN as u64,
            queue_ms: state.link.queue_delay(Instant::now()).as_secs_f64() * 1000.0,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self, from: &SyncDevice) {
        let mut buffer = vec![0; PACKET_LEN_MAX];
        loop {
            let Ok(len) = from.recv(&mut buffer) else {
                continue;
            };
            let Some(packet) = buffer.get_mut(..len) else {
                continue;
            };
            let now = Instant::now();
            let mut state = self.lock();
            if state.under_way.len() >= PACKETS_MAX {
                continue;
            }
            let State { link, random, .. } = &mut *state;
            let payload = packet.get_mut(HEADERS_LEN..).unwrap_or_default();
            // Marks stay as they are: the lab's links drop.
            let datagram = (payload, &mut Ecn::NotEct);
            for arrival in link.carry(now, datagram, random).into_iter().flatten() {
                state.count += 1;
                let entry = Reverse((arrival, state.count, packet.to_vec()));
                state.under_way.push(entry);
            }
            drop(state);
            self.changed.notify_one();
        }
    }

    fn write(&self, to: &SyncDevice) {
        loop {
            let packet = self.next();
            // An interface that is down, or not yet up, loses what it is given.
            if let Err(error) = to.send(&packet)
                && error.kind() == io::ErrorKind::BrokenPipe
            {
                return;
            }
        }
    }

    /// Waits until a packet is due.
    fn next(&self) -> Vec<u8> {
        let mut state = self.lock();
        loop {
            let wait = match state.under_way.peek() {
                None => Duration::MAX,
                Some(Reverse((at, ..))) => at.saturating_duration_since(Instant::now()),
            };
            if wait.is_zero()
                && let Some(Reverse((_, _, packet))) = state.under_way.pop()
            {
                return packet;
            }
            state = match state.under_way.is_empty() {
                true => self
                    .changed
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner),
                false => {
                    self.changed
                        .wait_timeout(state, wait)
                        .unwrap_or_else(PoisonError::into_inner)
                        .0
                }
            };
        }
    }
}
