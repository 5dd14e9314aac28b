//! CUBIC (RFC 9438), with HyStart++ in slow start.
//!
//! 1. Slow start until loss or until the delay rises.
//! 2. After a loss the window falls to 7/10 and grows back along a cubic of the time since, flat
//!    around the window at which the loss was.
//! 3. Where Reno would be faster (short round trips), the window follows Reno's average.

use std::time::{Duration, Instant};

use super::hystart::HyStart;
use super::{Ack, CongestionControl, INITIAL_SEGMENTS, MIN_SEGMENTS, WINDOW_MAX};

/// Steepness, in segments per second cubed (RFC 9438 §5.1).
const C: f64 = 0.4;
/// What remains of the window after a loss (RFC 9438 §4.6).
const BETA: f64 = 0.7;

/// A window that depends on the time since the last loss.
#[derive(Debug)]
pub struct Cubic {
    segment_len: usize,
    /// In bytes; a fraction below one byte is worth keeping at many small acknowledgements.
    window: f64,
    threshold: f64,
    /// Window before the last reduction.
    window_max: f64,
    epoch: Option<Epoch>,
    hystart: HyStart,
}

/// Congestion avoidance since a loss.
#[derive(Debug, Clone, Copy)]
struct Epoch {
    started: Instant,
    /// Seconds until the cubic is back at `window_max`.
    k: f64,
    /// Where the plateau is.
    origin: f64,
    /// What Reno's window would be.
    reno: f64,
}

impl Cubic {
    /// Starts with ten segments of `segment_len` bytes.
    pub fn new(segment_len: usize) -> Self {
        Self {
            segment_len,
            window: (segment_len * INITIAL_SEGMENTS) as f64,
            threshold: f64::INFINITY,
            window_max: 0.0,
            epoch: None,
            hystart: HyStart::new(),
        }
    }

    fn start_epoch(&self, now: Instant) -> Epoch {
        let segment = self.segment_len as f64;
        let (k, origin) = if self.window < self.window_max {
            let missing = (self.window_max - self.window) / segment;
            ((missing / C).cbrt(), self.window_max)
        } else {
            (0.0, self.window)
        };
        Epoch {
            started: now,
            k,
            origin,
            reno: self.window,
        }
    }

    fn reduce(&mut self) {
        // RFC 9438 §4.7, fast convergence: a flow that lost before it was back leaves room.
        self.window_max = if self.window < self.window_max {
            self.window * (1.0 + BETA) / 2.0
        } else {
            self.window
        };
        self.threshold = (self.window * BETA).max((MIN_SEGMENTS * self.segment_len) as f64);
        self.epoch = None;
    }

    fn avoid_congestion(&mut self, ack: &Ack) {
        let segment = self.segment_len as f64;
        let acked = ack.acked as f64;
        let mut epoch = match self.epoch {
            Some(epoch) => epoch,
            None => self.start_epoch(ack.now),
        };
        let cubic_at =
            |t: Duration| epoch.origin + C * (t.as_secs_f64() - epoch.k).powi(3) * segment;
        let t = ack.now.saturating_duration_since(epoch.started);
        // RFC 9438 §4.3: Reno with the same loss response needs this slope, and slope one again
        // once it is back at the old window.
        let alpha = if epoch.reno >= self.window_max {
            1.0
        } else {
            3.0 * (1.0 - BETA) / (1.0 + BETA)
        };
        epoch.reno += alpha * segment * acked / self.window;
        let target = cubic_at(t + ack.smoothed_rtt).clamp(self.window, 1.5 * self.window);
        if cubic_at(t) < epoch.reno {
            self.window = self.window.max(epoch.reno);
        } else {
            self.window += (target - self.window) / self.window * acked;
        }
        self.epoch = Some(epoch);
    }
}

impl CongestionControl for Cubic {
    fn window(&self) -> usize {
        self.window as usize
    }

    fn on_ack(&mut self, ack: &Ack) {
        if ack.is_in_recovery || !ack.is_window_limited {
            // RFC 9438 §5.8: the cubic must not run ahead while the application has little to send.
            if !ack.is_in_recovery {
                self.epoch = None;
            }
            return;
        }
        if self.window < self.threshold {
            match self
                .hystart
                .growth(ack.now, ack.acked, ack.rtt, ack.smoothed_rtt)
            {
                Some(growth) => self.window += growth as f64,
                None => {
                    self.threshold = self.window;
                    self.window_max = self.window;
                }
            }
        } else {
            self.avoid_congestion(ack);
        }
        self.window = self.window.min(WINDOW_MAX as f64);
    }

    fn on_loss(&mut self, _: Instant, _: usize) {
        self.reduce();
        self.window = self.threshold;
    }

    fn on_timeout(&mut self, _: Instant, _: usize) {
        self.reduce();
        self.window = self.segment_len as f64;
        self.hystart = HyStart::new();
    }

    fn on_idle(&mut self) {
        self.window = (self.window / 2.0).max((MIN_SEGMENTS * self.segment_len) as f64);
        self.epoch = None;
    }
}
