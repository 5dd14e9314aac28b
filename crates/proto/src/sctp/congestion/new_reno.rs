//! NewReno (RFC 9260 §7.2, with byte counting as of RFC 3465).

use std::time::Instant;

use super::{Ack, CongestionControl, INITIAL_SEGMENTS, MIN_SEGMENTS, WINDOW_MAX};

/// Adds one segment a round trip, halves on loss.
#[derive(Debug)]
pub struct NewReno {
    segment_len: usize,
    window: usize,
    threshold: usize,
    /// Bytes acknowledged since the window last grew in congestion avoidance.
    acked: usize,
}

impl NewReno {
    /// Starts with ten segments of `segment_len` bytes.
    pub fn new(segment_len: usize) -> Self {
        Self {
            segment_len,
            window: segment_len * INITIAL_SEGMENTS,
            threshold: usize::MAX,
            acked: 0,
        }
    }
}

impl CongestionControl for NewReno {
    fn window(&self) -> usize {
        self.window
    }

    fn on_ack(&mut self, ack: &Ack) {
        if ack.is_in_recovery || !ack.is_window_limited {
            return;
        }
        if self.window < self.threshold {
            self.window += ack.acked;
        } else {
            self.acked += ack.acked;
            if self.acked >= self.window {
                self.acked -= self.window;
                self.window += self.segment_len;
            }
        }
        self.window = self.window.min(WINDOW_MAX);
    }

    fn on_loss(&mut self, _: Instant, _: usize) {
        self.threshold = (self.window / 2).max(MIN_SEGMENTS * self.segment_len);
        self.window = self.threshold;
        self.acked = 0;
    }

    fn on_timeout(&mut self, _: Instant, _: usize) {
        self.threshold = (self.window / 2).max(MIN_SEGMENTS * self.segment_len);
        self.window = self.segment_len;
        self.acked = 0;
    }

    fn on_idle(&mut self) {
        self.window = (self.window / 2).max(MIN_SEGMENTS * self.segment_len);
    }
}
