//! The timers of an association beside those of its halves.

use std::time::Instant;

use crate::time::Deadline;

/// What can be due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Timer {
    /// T1: INIT or COOKIE ECHO was not answered.
    Handshake,
    /// T2: SHUTDOWN or SHUTDOWN ACK was not answered.
    Shutdown,
    /// The path was silent, or a HEARTBEAT was not answered.
    Heartbeat,
    /// A stream reset was not answered.
    Reset,
}

impl Timer {
    pub(super) const ALL: [Self; 4] = [
        Self::Handshake,
        Self::Shutdown,
        Self::Heartbeat,
        Self::Reset,
    ];

    fn reason(self) -> &'static str {
        match self {
            Self::Handshake => "sctp T1-init",
            Self::Shutdown => "sctp T2-shutdown",
            Self::Heartbeat => "sctp heartbeat",
            Self::Reset => "sctp stream reset",
        }
    }
}

/// One deadline per timer.
#[derive(Debug, Default)]
pub(super) struct Timers([Option<Instant>; Timer::ALL.len()]);

impl Timers {
    pub(super) fn set(&mut self, timer: Timer, at: Instant) {
        self.0[timer as usize] = Some(at);
    }

    pub(super) fn clear(&mut self, timer: Timer) {
        self.0[timer as usize] = None;
    }

    /// Clears `timer` if it is due, and answers whether it was.
    pub(super) fn take_due(&mut self, timer: Timer, now: Instant) -> bool {
        let is_due = self.0[timer as usize].is_some_and(|at| at <= now);
        if is_due {
            self.clear(timer);
        }
        is_due
    }

    pub(super) fn next(&self) -> Option<Deadline> {
        Timer::ALL
            .into_iter()
            .filter_map(|timer| Some(Deadline::new(self.0[timer as usize]?, timer.reason())))
            .fold(None, |next, deadline| {
                Deadline::earlier(next, Some(deadline))
            })
    }
}
