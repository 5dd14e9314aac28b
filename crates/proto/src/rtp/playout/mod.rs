//! When to play sound, and when to show pictures: jitter buffers that adapt, for applications that
//! decode. Of sound:
//!
//! 1. [`AudioPlayout::insert`] takes packets as they arrive, in any order.
//! 2. Whenever the device is about to run out of sound, [`AudioPlayout::next`] answers what to do:
//!    decode a packet, as it is or shortened or lengthened by a few milliseconds, or conceal.
//! 3. The delay follows the network: as short as lets 97 % of the packets come in time.
//!
//! Of pictures, [`VideoPlayout::schedule`] answers when each is due.
//!
//! Packets of sound reach it best with [`Delivery::Packets`](super::Delivery::Packets): frames wait up to
//! 60 ms for a packet that is lost. What a packet holds is the application's matter: there is no
//! codec in here.

mod delay;
mod pace;
#[cfg(test)]
mod tests;
mod video;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use pace::Pace;
use thiserror::Error;

pub use video::VideoPlayout;

/// Packets that wait: more than 5 s of the usual 20 ms. When one more comes, the oldest is dropped.
const PACKETS_MAX: usize = 256;

/// Sound that is concealed at a time.
const CONCEALED: Duration = Duration::from_millis(10);

/// How far the delay may exceed the target before sound is shortened.
const EXCESS: Duration = Duration::from_millis(20);

/// Between two changes of the length of sound at least: closer ones are heard.
const STRETCH_INTERVAL: Duration = Duration::from_millis(50);

/// With a delay so far above the longest one packets are left out instead of shortened.
const FLUSH_EXCESS: Duration = Duration::from_millis(500);

/// How to play.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlayoutConfig {
    /// Ticks of the timestamp a second; more than 0.
    pub clock_rate: u32,
    /// The shortest delay. Default 0.
    pub delay_min: Duration,
    /// The longest delay that the network may cause. Default 2 s.
    pub delay_max: Duration,
}

impl PlayoutConfig {
    /// The defaults for a clock.
    pub const fn new(clock_rate: u32) -> Self {
        Self {
            clock_rate,
            delay_min: Duration::ZERO,
            delay_max: Duration::from_secs(2),
        }
    }
}

/// A packet of sound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AudioPacket<P> {
    /// The sampling instant of its first sample in ticks; it wraps.
    pub timestamp: u32,
    /// How long it lasts, in ticks; more than 0.
    pub duration: u32,
    /// What the application decodes.
    pub payload: P,
}

/// What to do for the next piece of sound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision<P> {
    /// Nothing is to be played yet: silence, for as long as the device needs.
    Wait,
    /// There is no packet for this time: continue the sound before, fading with `elapsed`.
    Conceal {
        /// How long, in ticks: 10 ms.
        duration: u32,
        /// How long sound has been concealed already, in ticks.
        elapsed: u32,
    },
    /// Decode and play a packet.
    Decode {
        /// The packet.
        packet: AudioPacket<P>,
        /// How to join it to the sound before.
        operation: Operation,
    },
}

/// How to play a packet. Whoever cannot change the length of sound plays all of them as they are:
/// the delay then follows the network in gaps only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// As it is.
    Normal,
    /// Cross-fade it with the concealed sound before it.
    Merge,
    /// Shorten it, by a period of the voice or up to a half.
    Accelerate,
    /// Lengthen it, by a period of the voice or up to a half.
    PreemptiveExpand,
}

/// Why a packet will not be played.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Discarded {
    /// Its time is over.
    #[error("the packet came too late")]
    Late,
    /// There is one of that time already.
    #[error("the packet came twice")]
    Duplicate,
    /// It lasts no time.
    #[error("the packet lasts no time")]
    Empty,
}

/// Statistics with the names of W3C's `RTCInboundRtpStreamStats`. Samples of sound are ticks of the
/// clock; of video they are pictures, and what is told of sound alone is 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PlayoutStats {
    /// `totalSamplesReceived`: played, concealed ones included.
    pub total_samples_received: u64,
    /// `concealedSamples`.
    pub concealed_samples: u64,
    /// `concealmentEvents`.
    pub concealment_events: u64,
    /// `insertedSamplesForDeceleration`, as far as [`AudioPlayout::stretched`] says.
    pub inserted_samples_for_deceleration: u64,
    /// `removedSamplesForAcceleration`, in the same way.
    pub removed_samples_for_acceleration: u64,
    /// `packetsDiscarded`: too late, twice, or one too many.
    pub packets_discarded: u64,
    /// `jitterBufferDelay`: the time that samples waited, in sum over all of them.
    pub jitter_buffer_delay: Duration,
    /// `jitterBufferTargetDelay`, in the same way.
    pub jitter_buffer_target_delay: Duration,
    /// `jitterBufferMinimumDelay`: what the network alone would have made the target.
    pub jitter_buffer_minimum_delay: Duration,
    /// `jitterBufferEmittedCount`.
    pub jitter_buffer_emitted_count: u64,
}

#[derive(Debug)]
struct Waiting<P> {
    packet: AudioPacket<P>,
    arrived_at: Instant,
}

/// A jitter buffer for the sound of one source.
#[derive(Debug)]
pub struct AudioPlayout<P> {
    pace: Pace,
    packets: BTreeMap<u64, Waiting<P>>,
    /// The timestamp to be played next, once playing.
    next: Option<u64>,
    /// How long sound has been concealed, in ticks.
    concealed: u32,
    stretched_at: Option<Instant>,
    last_played: Option<(u32, Instant)>,
    stats: PlayoutStats,
}

impl<P> AudioPlayout<P> {
    /// A buffer without sound.
    pub fn new(config: PlayoutConfig) -> Self {
        Self {
            pace: Pace::new(config),
            packets: BTreeMap::new(),
            next: None,
            concealed: 0,
            stretched_at: None,
            last_played: None,
            stats: PlayoutStats::default(),
        }
    }

    /// W3C's `jitterBufferTarget`: the application wants at least that delay, 0 to 4 s; `None`
    /// leaves it to the network.
    pub fn set_jitter_buffer_target(&mut self, target: Option<Duration>) {
        self.pace.set_jitter_buffer_target(target);
    }

    /// The shortest and the longest delay that the sender wants, as its header extension
    /// `playout-delay` states them; bounds that contradict each other mean nothing.
    pub fn set_playout_delay(&mut self, bounds: Option<(Duration, Duration)>) {
        self.pace.set_playout_delay(bounds);
    }

    /// The delay that is aimed at, from the arrival of the fastest packets to their decoding.
    pub fn target_delay(&self) -> Duration {
        self.pace.target()
    }

    /// Takes a packet that arrived at `now`.
    ///
    /// # Errors
    /// [`Discarded`] when it will not be played.
    pub fn insert(&mut self, now: Instant, packet: AudioPacket<P>) -> Result<(), Discarded> {
        if packet.duration == 0 {
            return self.discard(Discarded::Empty);
        }
        let (at, began_anew) = self.pace.handle_arrival(now, packet.timestamp);
        if began_anew {
            self.stats.packets_discarded += self.packets.len() as u64;
            self.packets.clear();
            self.next = None;
            self.concealed = 0;
        }
        if self.next.is_some_and(|next| at < next) {
            return self.discard(Discarded::Late);
        }
        if self.packets.contains_key(&at) {
            return self.discard(Discarded::Duplicate);
        }
        if self.packets.len() >= PACKETS_MAX {
            self.packets.pop_first();
            self.stats.packets_discarded += 1;
        }
        let waiting = Waiting {
            packet,
            arrived_at: now,
        };
        self.packets.insert(at, waiting);
        Ok(())
    }

    fn discard(&mut self, reason: Discarded) -> Result<(), Discarded> {
        self.stats.packets_discarded += 1;
        Err(reason)
    }

    /// The packet that is played next or after what is missing: its redundancy may hold that
    /// (Opus with `useinbandfec`, RFC 7587 §3.3).
    pub fn peek(&self) -> Option<&AudioPacket<P>> {
        self.packets.first_key_value().map(|(_, own)| &own.packet)
    }

    /// What to do for the next piece of sound. `queued` is decoded sound that the device has yet
    /// to play; ask again while it is less than the device needs.
    pub fn next(&mut self, now: Instant, queued: Duration) -> Decision<P> {
        // A packet must be there when it is to be decoded; what the device holds comes on top.
        let Some(at_now) = self.pace.ticks_at(now) else {
            return Decision::Wait;
        };
        let target = self.pace.ticks(self.target_delay());
        self.flush(at_now, target);
        let Some((&at, waiting)) = self.packets.first_key_value() else {
            return self.conceal(false);
        };
        let delay = self.pace.delay(at_now, at);
        let duration = i64::from(waiting.packet.duration);
        let follows = self.next.is_none_or(|next| at <= next);
        if self.next.is_none() && delay < target {
            return Decision::Wait;
        }
        // What is missing may still come, unless playing what is there is due.
        if !follows && delay < target {
            return self.conceal(true);
        }
        let may_stretch = self
            .stretched_at
            .is_none_or(|before| now.saturating_duration_since(before) >= STRETCH_INTERVAL);
        let operation = if self.concealed > 0 {
            Operation::Merge
        } else if may_stretch && delay > target + self.pace.ticks(EXCESS) {
            Operation::Accelerate
        } else if may_stretch && delay + duration / 2 < target {
            Operation::PreemptiveExpand
        } else {
            Operation::Normal
        };
        if matches!(
            operation,
            Operation::Accelerate | Operation::PreemptiveExpand
        ) {
            self.stretched_at = Some(now);
        }
        self.play(now, queued, operation)
    }

    /// Says by how many ticks a packet was lengthened, or shortened where negative: for the
    /// statistics.
    pub fn stretched(&mut self, ticks: i32) {
        let count = u64::from(ticks.unsigned_abs());
        if ticks > 0 {
            self.stats.inserted_samples_for_deceleration += count;
        } else {
            self.stats.removed_samples_for_acceleration += count;
        }
    }

    /// The timestamp that was played last, and when it is heard.
    pub fn last_played(&self) -> Option<(u32, Instant)> {
        self.last_played
    }

    /// Statistics, to be handed to the connection as well.
    pub fn stats(&self) -> PlayoutStats {
        self.stats
    }

    fn play(&mut self, now: Instant, queued: Duration, operation: Operation) -> Decision<P> {
        let Some((at, waiting)) = self.packets.pop_first() else {
            return Decision::Wait;
        };
        let Waiting { packet, arrived_at } = waiting;
        let samples = u64::from(packet.duration);
        let waited = now.saturating_duration_since(arrived_at);
        let count = packet.duration;
        let stats = &mut self.stats;
        stats.jitter_buffer_delay += waited * count;
        stats.jitter_buffer_emitted_count += samples;
        stats.total_samples_received += samples;
        self.stats.jitter_buffer_target_delay += self.target_delay() * count;
        self.stats.jitter_buffer_minimum_delay += self.pace.minimum() * count;
        self.concealed = 0;
        self.next = Some(at + samples);
        self.last_played = Some((packet.timestamp, now + queued));
        Decision::Decode { packet, operation }
    }

    /// Conceals 10 ms. Where packets wait that are later than what is missing, that is part of the
    /// missing sound; else the sound is only late, and all that follows with it.
    fn conceal(&mut self, takes_time: bool) -> Decision<P> {
        let Some(next) = self.next else {
            return Decision::Wait;
        };
        let duration = self.pace.ticks(CONCEALED).max(1) as u32;
        let elapsed = self.concealed;
        self.stats.concealment_events += u64::from(elapsed == 0);
        self.stats.concealed_samples += u64::from(duration);
        self.stats.total_samples_received += u64::from(duration);
        self.concealed = self.concealed.saturating_add(duration);
        if takes_time && let Some((&at, _)) = self.packets.first_key_value() {
            // What begins before this is over is not played any more, but for what is there.
            self.next = Some((next + u64::from(duration)).min(at));
        }
        Decision::Conceal { duration, elapsed }
    }

    /// Leaves packets out when the delay is beyond all bounds.
    fn flush(&mut self, at_now: i64, target: i64) {
        let bound = self
            .pace
            .ticks(self.pace.config().delay_max + FLUSH_EXCESS)
            .max(target * 2);
        let Some((&first, _)) = self.packets.first_key_value() else {
            return;
        };
        if self.pace.delay(at_now, first) <= bound {
            return;
        }
        while self.packets.len() > 1
            && let Some((&at, _)) = self.packets.first_key_value()
            && self.pace.delay(at_now, at) > target
        {
            self.packets.pop_first();
            self.stats.packets_discarded += 1;
        }
    }
}
