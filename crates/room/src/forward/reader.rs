//! One who reads what others say over data channels: how much waits for it, and when it is too slow.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;
use twocan_proto::channel::ChannelId;

/// Bytes of reliable messages that wait for a reader. When so much does, those who send to it wait.
pub(super) const FULL: usize = 256 << 10;

/// A reader that was full is sent more once no more than this waits, in bytes.
pub(super) const LOW: usize = FULL / 2;

/// A reader that was full, and to whom so much still goes after so long, is left out until it has
/// caught up: it takes less than 64 KiB a second, and the others do not wait for it.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);

/// Bytes that wait on the channel of what may be lost; what comes while so much does is dropped.
pub(super) const LOSSY_FULL: usize = 32 << 10;

/// Who comes, or gets a new connection, is kept what is said to it for so long, until it has a channel.
pub(super) const EARLY: Duration = Duration::from_secs(20);

/// What is done with a reliable message for a reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It goes.
    Send,
    /// It is kept until the reader has a channel.
    Keep,
    /// Whoever sends it waits.
    Wait,
    /// The reader misses it, and is told how many it missed.
    Miss,
    /// The reader has no channel, and will have none.
    Drop,
}

/// One who reads.
#[derive(Debug)]
pub(super) struct Reader {
    pub(super) reliable: Option<ChannelId>,
    pub(super) lossy: Option<ChannelId>,
    /// What was said before it had a channel, and until when that is kept.
    early: VecDeque<Bytes>,
    early_len: usize,
    early_until: Instant,
    /// Whether those who send to it wait.
    is_full: bool,
    /// How many messages it missed; while there are some, it misses all others as well.
    missed: u32,
}

impl Reader {
    /// Somebody who has just come.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            reliable: None,
            lossy: None,
            early: VecDeque::new(),
            early_len: 0,
            early_until: now + EARLY,
            is_full: false,
            missed: 0,
        }
    }

    /// What is done with a message of `len` bytes, which has waited for so long, while `buffered` wait.
    pub(super) fn judge(
        &mut self,
        now: Instant,
        buffered: usize,
        len: usize,
        waited: Duration,
    ) -> Verdict {
        if self.reliable.is_none() {
            let has_room = self.missed == 0 && self.early_len + len <= FULL;
            return match now < self.early_until {
                true if has_room => Verdict::Keep,
                true if self.missed == 0 && waited < PATIENCE => Verdict::Wait,
                true => self.miss(),
                false => Verdict::Drop,
            };
        }
        if self.missed > 0 {
            return self.miss();
        }
        self.is_full = match self.is_full {
            true => buffered > LOW,
            false => buffered >= FULL,
        };
        if !self.is_full {
            return Verdict::Send;
        }
        if waited < PATIENCE {
            return Verdict::Wait;
        }
        self.is_full = false;
        self.miss()
    }

    fn miss(&mut self) -> Verdict {
        self.missed = self.missed.saturating_add(1);
        Verdict::Miss
    }

    /// Keeps a message until there is a channel.
    pub(super) fn keep(&mut self, message: Bytes) {
        self.early_len += message.len();
        self.early.push_back(message);
    }

    /// What was kept, once there is a channel.
    pub(super) fn take_early(&mut self) -> VecDeque<Bytes> {
        self.early_len = 0;
        std::mem::take(&mut self.early)
    }

    /// Lets go of what was kept for too long; answers how many messages that were.
    pub(super) fn forget_early(&mut self, now: Instant) -> usize {
        match self.early_until <= now {
            true => self.take_early().len(),
            false => 0,
        }
    }

    /// How many messages it missed, once all else is on its way; it gets the next ones again.
    pub(super) fn take_missed(&mut self, buffered: usize) -> Option<u32> {
        let has_caught_up = self.missed > 0 && self.reliable.is_some() && buffered == 0;
        has_caught_up.then(|| std::mem::take(&mut self.missed))
    }

    /// Whether something is kept until it has a channel.
    pub(super) fn has_early(&self) -> bool {
        !self.early.is_empty()
    }

    /// Whether it misses what is said to it.
    pub(super) fn is_behind(&self) -> bool {
        self.missed > 0
    }
}
