//! Congestion control of an association, pluggable.
//!
//! The sender reports what happened ([`Ack`], loss, timeout, idleness) and obeys the window. An
//! algorithm knows nothing of chunks or of how loss was found.

mod cubic;
mod hystart;
mod new_reno;

use std::fmt;
use std::time::{Duration, Instant};

pub use cubic::Cubic;
pub use new_reno::NewReno;

/// Segments that may be sent before anything was acknowledged (RFC 6928; RFC 9260 §7.2.1 allows 4,
/// data channels everywhere send 10).
const INITIAL_SEGMENTS: usize = 10;
/// Smallest window while data flows, in segments (RFC 9260 §7.2.3).
const MIN_SEGMENTS: usize = 4;
/// Largest window in bytes: what a gigabit carries in 130 ms. Bounds what is kept for
/// retransmission.
const WINDOW_MAX: usize = 16 << 20;

/// The algorithms to choose from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Algorithm {
    /// RFC 9260 §7.2.
    NewReno,
    /// RFC 9438.
    #[default]
    Cubic,
}

impl Algorithm {
    /// Starts the algorithm for packets of `segment_len` bytes.
    pub fn start(self, segment_len: usize) -> Box<dyn CongestionControl> {
        match self {
            Self::NewReno => Box::new(NewReno::new(segment_len)),
            Self::Cubic => Box::new(Cubic::new(segment_len)),
        }
    }
}

/// What an acknowledgement said.
#[derive(Debug, Clone, Copy)]
pub struct Ack {
    /// When it arrived.
    pub now: Instant,
    /// Bytes that it acknowledged for the first time.
    pub acked: usize,
    /// The round-trip time that it measured, if any.
    pub rtt: Option<Duration>,
    /// The smoothed round-trip time.
    pub smoothed_rtt: Duration,
    /// Bytes that were in flight before it.
    pub in_flight: usize,
    /// Whether the window, not the application or the receiver, limited what was in flight.
    pub is_window_limited: bool,
    /// Whether losses are still being repaired, during which the window does not grow.
    pub is_in_recovery: bool,
}

/// A congestion window and the rules that move it.
pub trait CongestionControl: fmt::Debug + Send {
    /// Bytes that may be in flight.
    fn window(&self) -> usize;

    /// New data was acknowledged.
    fn on_ack(&mut self, ack: &Ack);

    /// A loss was found, the first since the last one was repaired.
    fn on_loss(&mut self, now: Instant, in_flight: usize);

    /// The retransmission timer expired: nothing is known about the path.
    fn on_timeout(&mut self, now: Instant, in_flight: usize);

    /// Nothing was sent for one retransmission timeout.
    fn on_idle(&mut self);
}
