//! Finding losses, and the timers of the sender.

use std::time::{Duration, Instant};

use super::Sender;
use super::outstanding::Fate;
use super::rack::Verdict;
use crate::time::Deadline;

/// What a lonely chunk's acknowledgement may be late beyond two round trips: its receiver is asked
/// for an immediate one (RFC 7053), so only scheduling remains.
const PROBE_SLACK: Duration = Duration::from_millis(50);
/// Shortest time to a probe, against timers that fire all the time on paths without delay.
const PROBE_TIMEOUT_MIN: Duration = Duration::from_millis(10);

/// The timer that finds losses early.
#[derive(Debug, Clone, Copy)]
pub(super) enum LossTimer {
    /// A chunk may only be late: look again then.
    Reorder(Instant),
    /// No acknowledgement came: probe the tail.
    Probe(Instant),
}

impl LossTimer {
    fn at(self) -> Instant {
        match self {
            Self::Reorder(at) | Self::Probe(at) => at,
        }
    }
}

/// A tail-loss probe that is on its way.
#[derive(Debug, Clone, Copy)]
pub(super) struct Probe {
    pub(super) tsn: u64,
    pub(super) sent_at: Instant,
    pub(super) is_retransmission: bool,
}

/// Which timer expired.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sctp) enum Expired {
    /// None, or one that says nothing about the peer.
    Nothing,
    /// T3: the peer did not answer for a whole retransmission timeout.
    Retransmission,
}

impl Sender {
    pub(in crate::sctp) fn deadline(&self) -> Option<Deadline> {
        let t3 = self.t3.map(|at| Deadline::new(at, "sctp T3-rtx"));
        let loss = self.loss_timer.map(|timer| match timer {
            LossTimer::Reorder(at) => Deadline::new(at, "sctp reordering window"),
            LossTimer::Probe(at) => Deadline::new(at, "sctp tail-loss probe"),
        });
        Deadline::earlier(loss, t3)
    }

    pub(in crate::sctp) fn handle_timeout(&mut self, now: Instant) -> Expired {
        if let Some(timer) = self.loss_timer
            && timer.at() <= now
        {
            self.loss_timer = None;
            match timer {
                LossTimer::Reorder(_) => {
                    self.detect_losses(now);
                    self.advance_ack_point();
                }
                LossTimer::Probe(_) => self.is_probe_due = self.flight > 0,
            }
        }
        if self.t3.is_some_and(|at| at <= now) {
            self.on_retransmission_timeout(now);
            return Expired::Retransmission;
        }
        Expired::Nothing
    }

    /// Marks what must be lost by now, and sets the timer for what might be.
    pub(super) fn detect_losses(&mut self, now: Instant) {
        let mut is_loss_found = false;
        let wait_until = loop {
            let smoothed = self.rto.smoothed().unwrap_or(self.rto.timeout());
            let verdict = self.rack.next_lost(
                now,
                &self.outstanding,
                self.acked_beyond,
                self.recovery_point.is_some(),
                smoothed,
                self.rto.lowest().unwrap_or(smoothed),
            );
            match verdict {
                Verdict::Lost(tsn) => {
                    is_loss_found = true;
                    self.mark_lost(now, tsn);
                }
                Verdict::WaitUntil(at) => break Some(at),
                Verdict::Settled => break None,
            }
        };
        if is_loss_found {
            self.enter_recovery(now);
        }
        match wait_until {
            Some(at) => self.loss_timer = Some(LossTimer::Reorder(at)),
            None => {
                self.loss_timer = None;
                self.arm_probe(now);
            }
        }
    }

    /// The window shrinks once for all that was sent before the loss was found.
    pub(super) fn enter_recovery(&mut self, now: Instant) {
        if self.recovery_point.is_some() {
            return;
        }
        self.recovery_point = Some(self.outstanding.next() - 1);
        self.congestion.on_loss(now, self.flight);
        self.stats.congestion_events += 1;
        self.has_fast_retransmit = true;
    }

    /// A probe that repaired a loss is a loss all the same (RFC 8985 §7.4).
    pub(super) fn settle_probe(&mut self, now: Instant) {
        let Some(probe) = self.probe else { return };
        if self.outstanding.first() <= probe.tsn {
            return;
        }
        self.probe = None;
        let since = now.saturating_duration_since(probe.sent_at);
        let is_answered = self.rto.lowest().is_some_and(|lowest| since >= lowest);
        if probe.is_retransmission && is_answered && self.recovery_point.is_none() {
            self.congestion.on_loss(now, self.flight);
            self.stats.congestion_events += 1;
        }
    }

    /// Sets the probe timer from the last transmission or acknowledgement (RFC 8985 §7.2).
    #[inline]
    pub(super) fn arm_probe(&mut self, now: Instant) {
        let is_repairing = self.recovery_point.is_some() || !self.retransmit.is_empty();
        if matches!(self.loss_timer, Some(LossTimer::Reorder(_)))
            || is_repairing
            || self.flight == 0
            || self.probe.is_some()
        {
            return;
        }
        let Some(smoothed) = self.rto.smoothed() else {
            return;
        };
        let mut timeout = (smoothed * 2).max(PROBE_TIMEOUT_MIN);
        if self.outstanding.len() == 1 {
            timeout += PROBE_SLACK;
        }
        self.loss_timer = Some(LossTimer::Probe(now + timeout));
    }

    fn mark_lost(&mut self, now: Instant, tsn: u64) {
        let Some(sent) = self.outstanding.get_mut(tsn) else {
            return;
        };
        sent.fate = Fate::Lost;
        let sent = *sent;
        self.leave_flight(sent.len);
        if self.is_exhausted(now, &sent) {
            self.abandon(now, sent.message);
        } else {
            self.retransmit.push_back(tsn);
        }
    }

    /// T3: everything counts as lost, and the window starts over (RFC 9260 §6.3.3, §7.2.3).
    fn on_retransmission_timeout(&mut self, now: Instant) {
        self.t3 = None;
        self.loss_timer = None;
        self.is_probe_due = false;
        self.probe = None;
        self.stats.timeouts += 1;
        self.unanswered += 1;
        self.rto.back_off();
        if self.peer_window > 0 && self.flight > 0 {
            self.congestion.on_timeout(now, self.flight);
        }
        self.recovery_point = None;
        self.has_fast_retransmit = false;
        self.is_after_timeout = true;
        self.rack.clear();
        self.retransmit.clear();
        for tsn in self.outstanding.first()..self.outstanding.next() {
            let Some(sent) = self.outstanding.get_mut(tsn) else {
                break;
            };
            match sent.fate {
                Fate::Acked | Fate::Abandoned => {}
                Fate::Lost => self.retransmit.push_back(tsn),
                Fate::InFlight => self.mark_lost(now, tsn),
            }
        }
        self.advance_ack_point();
        if !self.outstanding.is_empty() {
            self.is_forward_due = self.advanced >= self.outstanding.first();
            self.t3 = Some(now + self.rto.timeout());
        }
    }
}
