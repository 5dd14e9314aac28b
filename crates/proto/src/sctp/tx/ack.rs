//! What a SACK settles.

use std::time::{Duration, Instant};

use twocan_wire::sctp::Sack;
use twocan_wire::seq::SeqNo32;

use super::Sender;
use super::outstanding::{Fate, Sent};
use crate::sctp::congestion::Ack;

/// What one SACK acknowledged for the first time.
#[derive(Debug, Default)]
struct Acked {
    bytes: usize,
    /// Round trip of the highest TSN that was sent once.
    rtt: Option<Duration>,
}

impl Sender {
    /// Processes a SACK; answers the name of what is wrong with it.
    pub(in crate::sctp) fn on_sack(
        &mut self,
        now: Instant,
        sack: &Sack<'_>,
    ) -> Result<(), &'static str> {
        let first = self.outstanding.first();
        let cumulative = sack.cumulative_tsn.extend(first);
        if cumulative + 1 < first {
            return Err("sctp.old_sack");
        }
        if cumulative >= self.outstanding.next() {
            return Err("sctp.sack_of_unsent");
        }
        let in_flight = self.flight;
        let mut acked = Acked::default();
        self.ack_cumulatively(now, cumulative, &mut acked);
        let gaps = self.ack_gaps(now, cumulative, sack, &mut acked);
        self.detect_reneging(cumulative);
        for tsn in sack.duplicates.iter() {
            self.on_duplicate(tsn);
        }
        self.peer_window = sack.a_rwnd as usize;
        if let Some(rtt) = acked.rtt {
            self.rto.measure(now, rtt);
        }
        let has_progress = self.outstanding.first() > first;
        if acked.bytes > 0 || has_progress || sack.a_rwnd == 0 {
            self.unanswered = 0;
            self.is_after_timeout = false;
        }
        if self
            .recovery_point
            .is_some_and(|point| self.outstanding.first() > point)
        {
            self.recovery_point = None;
        }
        let is_in_recovery = self.recovery_point.is_some();
        self.settle_probe(now);
        self.detect_losses(now);
        if acked.bytes > 0 {
            let window = self.congestion.window();
            self.congestion.on_ack(&Ack {
                now,
                acked: acked.bytes,
                rtt: acked.rtt,
                smoothed_rtt: self.rto.smoothed().unwrap_or(self.rto.timeout()),
                in_flight,
                is_window_limited: in_flight + self.packet_len_max >= window
                    || in_flight * 2 >= window && !self.queue.is_empty(),
                is_in_recovery: is_in_recovery || self.recovery_point.is_some(),
            });
        }
        self.advance_ack_point();
        self.repeat_forward_tsn(now);
        if self.is_done() {
            self.messages.shrink();
            self.outstanding.shrink();
            self.rack.shrink();
        }
        if self.outstanding.is_empty() {
            self.t3 = None;
            self.loss_timer = None;
        } else if has_progress {
            self.t3 = Some(now + self.rto.timeout());
        }
        gaps
    }

    /// Processes the cumulative TSN of a SHUTDOWN.
    pub(in crate::sctp) fn on_cumulative(&mut self, now: Instant, tsn: SeqNo32) {
        let first = self.outstanding.first();
        let cumulative = tsn.extend(first);
        if cumulative + 1 < first || cumulative >= self.outstanding.next() {
            return;
        }
        self.ack_cumulatively(now, cumulative, &mut Acked::default());
        if self.outstanding.is_empty() {
            self.t3 = None;
            self.loss_timer = None;
        }
    }

    fn ack_cumulatively(&mut self, now: Instant, cumulative: u64, acked: &mut Acked) {
        while self.outstanding.first() <= cumulative {
            let Some((tsn, sent)) = self.outstanding.pop() else {
                return;
            };
            self.settle(now, tsn, &sent, acked);
            if sent.fate == Fate::Acked {
                self.acked_beyond -= 1;
            }
            self.messages.release(sent.message);
        }
    }

    fn ack_gaps(
        &mut self,
        now: Instant,
        cumulative: u64,
        sack: &Sack<'_>,
        acked: &mut Acked,
    ) -> Result<(), &'static str> {
        // Blocks that overlap could ask for the same walk again and again.
        let mut steps_left = self.outstanding.len() + sack.gap_blocks.len();
        for block in sack.gap_blocks.iter() {
            let start = cumulative + u64::from(block.start);
            let end = cumulative + u64::from(block.end);
            if start <= cumulative || end < start || end >= self.outstanding.next() {
                return Err("sctp.bad_gap_block");
            }
            let mut tsn = start;
            while tsn <= end {
                let Some(left) = steps_left.checked_sub(1) else {
                    return Err("sctp.overlapping_gap_blocks");
                };
                steps_left = left;
                let Some(sent) = self.outstanding.get(tsn).copied() else {
                    break;
                };
                match sent.fate {
                    Fate::Acked => tsn += u64::from(sent.acked_run.max(1)),
                    Fate::Abandoned => tsn += 1,
                    Fate::InFlight | Fate::Lost => {
                        self.settle(now, tsn, &sent, acked);
                        self.acked_beyond += 1;
                        if let Some(sent) = self.outstanding.get_mut(tsn) {
                            sent.fate = Fate::Acked;
                        }
                        tsn += 1;
                    }
                }
            }
            if let Some(sent) = self.outstanding.get_mut(start)
                && sent.fate == Fate::Acked
            {
                sent.acked_run = (tsn.min(end + 1) - start) as u32;
            }
        }
        Ok(())
    }

    /// A chunk was acknowledged that was not before.
    #[inline]
    fn settle(&mut self, now: Instant, tsn: u64, sent: &Sent, acked: &mut Acked) {
        match sent.fate {
            Fate::Acked | Fate::Abandoned => return,
            Fate::InFlight => self.leave_flight(sent.len),
            Fate::Lost => {}
        }
        acked.bytes += self.size(sent.len);
        let rtt = now.saturating_duration_since(sent.sent_at);
        if sent.transmissions == 1 {
            acked.rtt = Some(rtt);
        }
        let lowest = self.rto.lowest();
        self.rack
            .on_acked(tsn, sent.sent_at, sent.transmissions, rtt, lowest);
    }

    /// A chunk of `len` bytes is no longer on its way.
    #[inline]
    pub(super) fn leave_flight(&mut self, len: u16) {
        self.flight = self.flight.saturating_sub(self.size(len));
        self.flight_payload = self.flight_payload.saturating_sub(usize::from(len));
    }

    /// The chunk behind the cumulative TSN cannot have been received; if gap blocks once said so,
    /// the peer dropped what it had (RFC 9260 §6.2.1).
    fn detect_reneging(&mut self, cumulative: u64) {
        let next = self.outstanding.get(cumulative + 1);
        if next.is_none_or(|sent| sent.fate != Fate::Acked) {
            return;
        }
        for (tsn, sent) in self.outstanding.iter_mut() {
            if sent.fate == Fate::Acked {
                sent.fate = Fate::Lost;
                self.retransmit.push_back(tsn);
            }
            sent.acked_run = 0;
        }
        self.acked_beyond = 0;
    }

    fn on_duplicate(&mut self, tsn: SeqNo32) {
        let tsn = tsn.extend(self.outstanding.first());
        match self.probe {
            Some(probe) if probe.is_retransmission && probe.tsn == tsn => self.probe = None,
            Some(_) | None => {
                if self.stats.retransmissions > 0 {
                    self.rack.on_duplicate();
                }
            }
        }
    }
}
