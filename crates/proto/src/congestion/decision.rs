//! What was decided and why: one log line each, and a queue for who asks for it. Nothing is made
//! when nobody listens.

use std::collections::VecDeque;
use std::fmt;
use std::time::Instant;

use super::trendline::Usage;

/// Decisions that wait to be taken; further ones are left out and counted. A report makes a few,
/// and whoever asks for them looks after each.
const DECISIONS_MAX: usize = 1024;

/// What the target is held to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// What the delay allows.
    Delay,
    /// What loss allows.
    Loss,
    /// Feedback that stays away.
    Silence,
    /// The receiver's estimate (REMB).
    Receiver,
    /// The application's maximum.
    Maximum,
    /// The application's minimum.
    Minimum,
}

impl Bound {
    /// As logs have it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Delay => "delay",
            Self::Loss => "loss",
            Self::Silence => "silence",
            Self::Receiver => "receiver",
            Self::Maximum => "maximum",
            Self::Minimum => "minimum",
        }
    }
}

/// A decision, or what one stands on. Rates are in bit/s.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Decision {
    /// A report came.
    Feedback {
        /// Packets that it names for the first time, or for the first time as arrived.
        packets: usize,
        /// Those of them that are missing.
        missing: usize,
    },
    /// What the delay says has changed.
    Delay {
        /// Whether queues grow.
        usage: Usage,
        /// The delay-based rate.
        rate: f64,
    },
    /// What loss says has changed.
    Loss {
        /// The part of the packets that is lost, 0 to 1, over the last reports.
        share: f64,
        /// The loss-based rate.
        rate: f64,
        /// Whether it is below what the delay allows, or not yet done with rising.
        limits: bool,
    },
    /// Marks of congestion lower the rate.
    Marks {
        /// The part of the packets that is marked, 0 to 1, as a mean over round trips.
        share: f64,
        /// The delay-based rate from here on.
        rate: f64,
    },
    /// A probe is to be sent.
    Probe {
        /// Its number.
        id: u64,
        /// How fast.
        rate: f64,
    },
    /// A probe was measured.
    Probed {
        /// What it found.
        rate: f64,
    },
    /// The application sends less than it may, or no longer does.
    Limited(bool),
    /// Feedback stays away, or is too slow.
    Silence {
        /// The rate from here on.
        rate: f64,
    },
    /// The receiver limits the rate.
    Receiver {
        /// To this.
        rate: f64,
    },
    /// Packets take another path: everything begins anew.
    Route,
    /// The target has changed.
    Target {
        /// To this.
        rate: f64,
        /// What holds it there.
        bound: Bound,
        /// What arrives, once that is known.
        acknowledged: Option<f64>,
        /// What the delay allows.
        delay_based: f64,
        /// What loss allows, where it has a say.
        loss_based: Option<f64>,
    },
}

/// Decisions on their way to whoever asks for them.
#[derive(Debug, Default)]
pub(super) struct Decisions {
    queue: Option<VecDeque<(Instant, Decision)>>,
    left_out: u64,
}

impl Decisions {
    pub(super) fn keep(&mut self) {
        self.queue.get_or_insert_default();
    }

    /// Logs the decision and keeps it, if anyone listens.
    pub(super) fn note(&mut self, now: Instant, decide: impl FnOnce() -> Decision) {
        let is_traced = tracing::enabled!(tracing::Level::DEBUG);
        if !is_traced && self.queue.is_none() {
            return;
        }
        let decision = decide();
        if is_traced && !matches!(decision, Decision::Feedback { .. }) {
            tracing::debug!("{decision}");
        }
        match &mut self.queue {
            Some(queue) if queue.len() < DECISIONS_MAX => queue.push_back((now, decision)),
            Some(_) => self.left_out += 1,
            None => {}
        }
    }

    pub(super) fn poll(&mut self) -> Option<(Instant, Decision)> {
        self.queue.as_mut()?.pop_front()
    }

    pub(super) fn take_left_out(&mut self) -> u64 {
        std::mem::take(&mut self.left_out)
    }
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kbps = |rate: f64| rate / 1000.0;
        match *self {
            Self::Feedback { packets, missing } => {
                write!(f, "feedback on {packets} packets, {missing} missing")
            }
            Self::Delay { usage, rate } => {
                write!(f, "delay: {usage:?}, {:.0} kbit/s", kbps(rate))
            }
            Self::Loss {
                share,
                rate,
                limits,
            } => {
                let share = share * 100.0;
                let does = if limits { "limits" } else { "allows" };
                write!(f, "loss: {share:.1} %, {does} {:.0} kbit/s", kbps(rate))
            }
            Self::Marks { share, rate } => {
                let share = share * 100.0;
                write!(f, "{share:.1} % are marked: {:.0} kbit/s", kbps(rate))
            }
            Self::Probe { id, rate } => write!(f, "probe {id} at {:.0} kbit/s", kbps(rate)),
            Self::Probed { rate } => write!(f, "probe found {:.0} kbit/s", kbps(rate)),
            Self::Limited(true) => write!(f, "the application limits the rate"),
            Self::Limited(false) => write!(f, "the application uses the rate"),
            Self::Silence { rate } => {
                write!(f, "no feedback: back off to {:.0} kbit/s", kbps(rate))
            }
            Self::Receiver { rate } => {
                write!(f, "the receiver allows {:.0} kbit/s", kbps(rate))
            }
            Self::Route => write!(f, "another path"),
            Self::Target {
                rate,
                bound,
                acknowledged,
                ..
            } => {
                write!(f, "target {:.0} kbit/s ({})", kbps(rate), bound.as_str())?;
                match acknowledged {
                    Some(rate) => write!(f, ", {:.0} kbit/s arrive", kbps(rate)),
                    None => Ok(()),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::congestion::tests::instant;

    #[test]
    fn nothing_is_made_when_nobody_listens_and_what_is_too_much_is_counted() {
        let now = instant();
        let mut decisions = Decisions::default();
        if !tracing::enabled!(tracing::Level::DEBUG) {
            decisions.note(now, || unreachable!("nobody listens"));
        }
        decisions.keep();
        for id in 0..DECISIONS_MAX as u64 + 3 {
            decisions.note(now, || Decision::Probe { id, rate: 1.0 });
        }
        assert_eq!(decisions.take_left_out(), 3);
        assert_eq!(decisions.take_left_out(), 0);
        let kept: Vec<_> = std::iter::from_fn(|| decisions.poll()).collect();
        assert_eq!(kept.len(), DECISIONS_MAX);
        let first = Decision::Probe { id: 0, rate: 1.0 };
        assert_eq!(kept[0], (now, first));
    }
}
