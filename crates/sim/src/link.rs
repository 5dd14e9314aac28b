//! One direction of a link: rate, queue, delay, jitter, loss, duplication, reordering, damage.

use std::time::{Duration, Instant};

use twocan_proto::contract::Ecn;
use twocan_proto::random::Random;
use twocan_wire::units::Bitrate;

/// What becomes of datagrams at random.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Loss {
    /// All pass.
    #[default]
    None,
    /// Each is lost with this chance, in thousandths.
    Independent {
        /// 0 to 1000.
        per_mille: u32,
    },
    /// Gilbert's model: in the bad state everything is lost.
    Burst {
        /// Chance to enter the bad state, per datagram, in thousandths.
        enter_per_mille: u32,
        /// Chance to leave it, per datagram, in thousandths.
        leave_per_mille: u32,
    },
    /// Every `n`th is lost, counted from one.
    EveryNth {
        /// 1 loses all.
        n: u64,
    },
}

/// Properties of one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinkConfig {
    /// Time from end to end, without queueing.
    pub delay: Duration,
    /// Added to the delay, evenly from zero to this, without changing the order.
    pub jitter: Duration,
    /// Capacity; `None` is unlimited.
    pub rate: Option<Bitrate>,
    /// Bytes that wait for capacity; more are dropped at the tail.
    pub queue_len: usize,
    /// Packets that can be marked (ECT) and wait longer than this are marked (CE), as a shallow
    /// L4S queue does (RFC 9332 §2.5.1.1). Default never.
    pub mark_above: Option<Duration>,
    /// Chance that a packet that can be marked is, in thousandths: at a queue further on, which it
    /// shares with others.
    pub mark_per_mille: u32,
    /// Loss.
    pub loss: Loss,
    /// Chance that a datagram arrives twice, in thousandths.
    pub duplicate_per_mille: u32,
    /// Chance that a datagram is late by up to five times the delay, in thousandths.
    pub reorder_per_mille: u32,
    /// Chance that one bit is flipped, in thousandths.
    pub damage_per_mille: u32,
    /// Longest UDP payload that passes.
    pub datagram_len_max: usize,
}

impl Default for LinkConfig {
    fn default() -> Self {
        Self {
            delay: Duration::from_millis(10),
            jitter: Duration::ZERO,
            rate: None,
            queue_len: 64 * 1024,
            mark_above: None,
            mark_per_mille: 0,
            loss: Loss::None,
            duplicate_per_mille: 0,
            reorder_per_mille: 0,
            damage_per_mille: 0,
            datagram_len_max: 1472,
        }
    }
}

/// What a link has done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LinkStats {
    /// Offered to the link.
    pub offered: u64,
    /// Lost at random or by script.
    pub lost: u64,
    /// Dropped because the queue was full.
    pub queue_full: u64,
    /// Marked.
    pub marked: u64,
    /// Dropped because they were too long.
    pub too_long: u64,
    /// Delivered, duplicates included.
    pub delivered: u64,
    /// Bytes delivered.
    pub bytes: u64,
    /// Longest wait in the queue.
    pub queue_delay_max: Duration,
}

/// One direction of a link.
#[derive(Debug)]
pub struct Link {
    /// May be changed while the world runs.
    pub config: LinkConfig,
    /// Nothing passes while set.
    pub blackout: bool,
    stats: LinkStats,
    bad_state: bool,
    free_at: Option<Instant>,
    last_arrival: Option<Instant>,
}

impl Link {
    /// An idle link.
    pub fn new(config: LinkConfig) -> Self {
        Self {
            config,
            blackout: false,
            stats: LinkStats::default(),
            bad_state: false,
            free_at: None,
            last_arrival: None,
        }
    }

    /// What it has done so far.
    pub fn stats(&self) -> LinkStats {
        self.stats
    }

    /// How long a datagram would wait for those before it.
    pub fn queue_delay(&self, now: Instant) -> Duration {
        self.free_at.map_or(Duration::ZERO, |free_at| {
            free_at.saturating_duration_since(now)
        })
    }

    /// When `bytes`, a UDP payload offered at `now`, arrive: not at all, once or twice. May damage
    /// them.
    pub fn carry(
        &mut self,
        now: Instant,
        (bytes, ecn): (&mut [u8], &mut Ecn),
        random: &mut Random,
    ) -> [Option<Instant>; 2] {
        self.stats.offered += 1;
        if bytes.len() > self.config.datagram_len_max {
            self.stats.too_long += 1;
            return [None, None];
        }
        if self.blackout || self.loses(random) {
            self.stats.lost += 1;
            return [None, None];
        }
        let waits = self.queue_delay(now);
        let Some(sent_at) = self.enqueue(now, bytes.len()) else {
            self.stats.queue_full += 1;
            return [None, None];
        };
        let can_be_marked = matches!(ecn, Ecn::Ect0 | Ecn::Ect1);
        let elsewhere = self.config.mark_per_mille;
        let is_marked = self.config.mark_above.is_some_and(|most| waits > most)
            || (elsewhere > 0 && random.below(1000) < elsewhere);
        if can_be_marked && is_marked {
            *ecn = Ecn::Ce;
            self.stats.marked += 1;
        }
        let chance = |random: &mut Random, per_mille| random.below(1000) < per_mille;
        if chance(random, self.config.damage_per_mille) && !bytes.is_empty() {
            let bit = random.below(bytes.len() as u32 * 8) as usize;
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
        let jitter = self.config.jitter.as_nanos() as u64;
        let jitter = if jitter == 0 {
            0
        } else {
            random.u64() % jitter
        };
        let mut arrival = sent_at + self.config.delay + Duration::from_nanos(jitter);
        if chance(random, self.config.reorder_per_mille) {
            arrival += self.config.delay * (1 + random.below(5));
        } else {
            arrival = arrival.max(self.last_arrival.unwrap_or(arrival));
            self.last_arrival = Some(arrival);
        }
        let twice = chance(random, self.config.duplicate_per_mille);
        self.stats.delivered += 1 + u64::from(twice);
        self.stats.bytes += bytes.len() as u64;
        [
            Some(arrival),
            twice.then_some(arrival + Duration::from_micros(100)),
        ]
    }

    fn loses(&mut self, random: &mut Random) -> bool {
        match self.config.loss {
            Loss::None => false,
            Loss::Independent { per_mille } => random.below(1000) < per_mille,
            Loss::Burst {
                enter_per_mille,
                leave_per_mille,
            } => {
                let change = if self.bad_state {
                    leave_per_mille
                } else {
                    enter_per_mille
                };
                self.bad_state ^= random.below(1000) < change;
                self.bad_state
            }
            Loss::EveryNth { n } => self.stats.offered.is_multiple_of(n.max(1)),
        }
    }

    /// When the last bit is on the wire; `None` when the queue is full. Every datagram carries 28
    /// bytes of UDP and IPv4 headers.
    fn enqueue(&mut self, now: Instant, len: usize) -> Option<Instant> {
        let Some(rate) = self.config.rate else {
            return Some(now);
        };
        let free_at = self.free_at.unwrap_or(now).max(now);
        let waiting = free_at - now;
        let queued = waiting.as_nanos() * u128::from(rate.as_bps()) / 8_000_000_000;
        if queued > self.config.queue_len as u128 {
            return None;
        }
        self.stats.queue_delay_max = self.stats.queue_delay_max.max(waiting);
        let done = free_at + rate.time_for(len + 28)?;
        self.free_at = Some(done);
        Some(done)
    }
}
