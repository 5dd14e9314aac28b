//! One direction of a network path in virtual time.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use crate::random::Random;

/// How a link treats packets.
#[derive(Debug, Clone, Copy)]
pub(super) struct LinkConfig {
    pub(super) delay: Duration,
    /// Random delay on top, which reorders.
    pub(super) jitter: Duration,
    pub(super) loss_per_mille: u32,
    pub(super) duplicate_per_mille: u32,
    /// Bits per second; 0 for no limit.
    pub(super) rate: u64,
    /// Bytes that wait for the rate; more are dropped.
    pub(super) queue_len_max: usize,
}

impl LinkConfig {
    pub(super) const FAST: Self = Self {
        delay: Duration::ZERO,
        jitter: Duration::ZERO,
        loss_per_mille: 0,
        duplicate_per_mille: 0,
        rate: 0,
        queue_len_max: usize::MAX,
    };

    pub(super) const fn delay(delay: Duration) -> Self {
        Self {
            delay,
            ..Self::FAST
        }
    }

    pub(super) const fn loss(self, per_mille: u32) -> Self {
        Self {
            loss_per_mille: per_mille,
            ..self
        }
    }

    pub(super) const fn jitter(self, jitter: Duration) -> Self {
        Self { jitter, ..self }
    }

    pub(super) const fn duplicates(self, per_mille: u32) -> Self {
        Self {
            duplicate_per_mille: per_mille,
            ..self
        }
    }

    pub(super) const fn rate(self, rate: u64, queue_len_max: usize) -> Self {
        Self {
            rate,
            queue_len_max,
            ..self
        }
    }
}

#[derive(Debug)]
pub(super) struct Link {
    config: LinkConfig,
    random: Random,
    packets: BTreeMap<(Instant, u64), Vec<u8>>,
    count: u64,
    /// When the last byte of each waiting packet will have left.
    leaving: VecDeque<(Instant, usize)>,
    waiting: usize,
    is_dead: bool,
}

impl Link {
    pub(super) fn new(config: LinkConfig, random: Random) -> Self {
        Self {
            config,
            random,
            packets: BTreeMap::new(),
            count: 0,
            leaving: VecDeque::new(),
            waiting: 0,
            is_dead: false,
        }
    }

    /// Drops every packet from here on, or no more.
    pub(super) fn set_dead(&mut self, is_dead: bool) {
        self.is_dead = is_dead;
    }

    pub(super) fn push(&mut self, now: Instant, packet: &[u8]) {
        if self.is_dead || self.random.below(1000) < self.config.loss_per_mille {
            return;
        }
        let copies = if self.random.below(1000) < self.config.duplicate_per_mille {
            2
        } else {
            1
        };
        for _ in 0..copies {
            let Some(leaves) = self.leave(now, packet.len()) else {
                return;
            };
            let jitter_us = self.config.jitter.as_micros() as u32;
            let jitter = Duration::from_micros(self.random.below(jitter_us + 1).into());
            self.count += 1;
            let arrives = leaves + self.config.delay + jitter;
            self.packets.insert((arrives, self.count), packet.to_vec());
        }
    }

    fn leave(&mut self, now: Instant, len: usize) -> Option<Instant> {
        if self.config.rate == 0 {
            return Some(now);
        }
        while let Some((at, len)) = self.leaving.front().copied()
            && at <= now
        {
            self.waiting -= len;
            self.leaving.pop_front();
        }
        // IP, UDP and DTLS around the packet.
        let len = len + 65;
        if self.waiting + len > self.config.queue_len_max {
            return None;
        }
        let begins = self.leaving.back().map_or(now, |(at, _)| (*at).max(now));
        let takes = Duration::from_nanos(len as u64 * 8 * 1_000_000_000 / self.config.rate);
        self.leaving.push_back((begins + takes, len));
        self.waiting += len;
        Some(begins + takes)
    }

    pub(super) fn pop(&mut self, now: Instant) -> Option<Vec<u8>> {
        let entry = self.packets.first_entry()?;
        (entry.key().0 <= now).then(|| entry.remove())
    }

    pub(super) fn next(&self) -> Option<Instant> {
        self.packets.keys().next().map(|(at, _)| *at)
    }
}
