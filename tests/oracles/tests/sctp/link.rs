//! One direction of a path in virtual time.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use twocan_proto::random::Random as Generator;

/// A seeded generator.
pub(crate) struct Random(Generator);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        let mut bytes = [0x42; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        Self(Generator::new(bytes))
    }

    pub(crate) fn below(&mut self, bound: u32) -> u32 {
        self.0.below(bound)
    }
}

/// How a link treats packets.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Quality {
    loss_per_mille: u32,
    jitter_ms: u32,
}

impl Quality {
    /// Loses 3 %, reorders within 10 ms.
    pub(crate) fn bad() -> Self {
        Self {
            loss_per_mille: 30,
            jitter_ms: 10,
        }
    }
}

pub(crate) struct Link {
    quality: Quality,
    random: Random,
    packets: BTreeMap<(Instant, u64), Vec<u8>>,
    count: u64,
}

impl Link {
    pub(crate) fn new(seed: u64, quality: Quality) -> Self {
        Self {
            quality,
            random: Random::new(seed),
            packets: BTreeMap::new(),
            count: 0,
        }
    }

    pub(crate) fn push(&mut self, now: Instant, packet: Vec<u8>) {
        if self.random.below(1000) < self.quality.loss_per_mille {
            return;
        }
        let jitter = self.random.below(self.quality.jitter_ms + 1);
        let delay = Duration::from_millis(u64::from(10 + jitter));
        self.count += 1;
        self.packets.insert((now + delay, self.count), packet);
    }

    pub(crate) fn pop(&mut self, now: Instant) -> Option<Vec<u8>> {
        let entry = self.packets.first_entry()?;
        (entry.key().0 <= now).then(|| entry.remove())
    }

    pub(crate) fn next(&self) -> Option<Instant> {
        self.packets.keys().next().map(|(at, _)| *at)
    }
}
