//! Transport-wide arrival times: written for the remote sender, read from the remote receiver
//! (draft-holmer-rmcat-transport-wide-cc-extensions-01).

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use twocan_wire::ids::Ssrc;
use twocan_wire::rtcp::TransportFeedback;
use twocan_wire::seq::{SeqNo16, Unwrapper16};

/// Between two feedback packets: as often as a twentieth of what arrives allows, within bounds, as
/// libwebrtc does. Rates of more than 217 kbit/s have the shortest interval.
const INTERVAL_MIN: Duration = Duration::from_millis(50);
const INTERVAL_MAX: Duration = Duration::from_millis(250);
const SHARE_DIVISOR: u32 = 20;

/// The interval before anything is known of the rate.
const INTERVAL_START: Duration = Duration::from_millis(100);

/// A feedback packet in bytes: headers of IPv4, UDP and SRTP, and 30 bytes for the report.
const FEEDBACK_LEN: u32 = 68;

/// Arrivals that wait to be reported; the oldest is dropped for one more. A second of 10 Mbit/s.
const ARRIVALS_MAX: usize = 1024;

/// Packets in one report, received or not: at most two bytes each and the chunks stay below 1100
/// bytes.
const STATUSES_MAX: u64 = 450;

/// The unit of arrival times in µs, and of the reference time in those.
const DELTA_US: i64 = 250;
const REFERENCE_DELTAS: i64 = 256;

/// When the next report is due.
#[derive(Debug, Default)]
pub(super) struct ReportClock {
    due_at: Option<Instant>,
    interval: Option<Duration>,
    /// Bytes since the last report, and when that was.
    len: usize,
    reported_at: Option<Instant>,
}

impl ReportClock {
    pub(super) fn due_at(&self) -> Option<Instant> {
        self.due_at
    }

    /// A packet of `len` bytes arrived.
    pub(super) fn handle_arrival(&mut self, now: Instant, len: usize) {
        self.len += len;
        let interval = self.interval.unwrap_or(INTERVAL_START);
        self.due_at.get_or_insert(now + interval);
    }

    /// Whether a report is due; fits the interval to the rate since the last one.
    pub(super) fn take_due(&mut self, now: Instant) -> bool {
        if self.due_at.is_none_or(|due| due > now) {
            return false;
        }
        self.due_at = None;
        let len = std::mem::take(&mut self.len);
        let Some(last) = self.reported_at.replace(now) else {
            return true;
        };
        let elapsed = now.saturating_duration_since(last);
        let len = u32::try_from(len).unwrap_or(u32::MAX);
        if let (Some(per_byte), false) = (elapsed.checked_div(len), elapsed.is_zero()) {
            let interval = per_byte.saturating_mul(FEEDBACK_LEN * SHARE_DIVISOR);
            self.interval = Some(interval.clamp(INTERVAL_MIN, INTERVAL_MAX));
        }
        true
    }

    /// There is more to report than the report before could hold.
    pub(super) fn go_on(&mut self, now: Instant) {
        self.due_at = Some(now);
    }
}

#[derive(Debug, Default)]
pub(super) struct ArrivalLog {
    unwrapper: Unwrapper16,
    /// When packets arrived, in units of 250 µs since the epoch.
    arrivals: BTreeMap<u64, i64>,
    epoch: Option<Instant>,
    /// The first number not yet reported on.
    next: Option<u64>,
    clock: ReportClock,
    count: u8,
    /// A source to name in the report; which one does not matter.
    media: Option<Ssrc>,
}

impl ArrivalLog {
    /// Nobody wants reports any more: what has not been reported is forgotten.
    pub(super) fn rest(&mut self) {
        self.arrivals.clear();
        self.next = None;
        self.clock = ReportClock::default();
    }

    pub(super) fn handle_arrival(
        &mut self,
        now: Instant,
        sequence: SeqNo16,
        ssrc: Ssrc,
        len: usize,
    ) {
        let epoch = *self.epoch.get_or_insert(now);
        let since = now.saturating_duration_since(epoch).as_micros();
        let time = i64::try_from(since).unwrap_or(i64::MAX) / DELTA_US;
        let sequence = self.unwrapper.unwrap(sequence);
        self.arrivals.entry(sequence).or_insert(time);
        if self.arrivals.len() > ARRIVALS_MAX {
            self.arrivals.pop_first();
        }
        self.media = Some(ssrc);
        self.clock.handle_arrival(now, len);
    }

    pub(super) fn due_at(&self) -> Option<Instant> {
        self.clock.due_at()
    }

    /// A report on everything since the one before, or on as much as fits.
    pub(super) fn take_feedback(
        &mut self,
        now: Instant,
        sender: Ssrc,
    ) -> Option<TransportFeedback> {
        if !self.clock.take_due(now) {
            return None;
        }
        let (first, first_time) = self.arrivals.first_key_value().map(|(a, b)| (*a, *b))?;
        // What came late is reported again from there; a gap too long to list is left out.
        let start = self.next.unwrap_or(first).min(first);
        let start = start.max(first.saturating_sub(STATUSES_MAX / 2));
        let reference = first_time.div_euclid(REFERENCE_DELTAS);
        let mut time = reference * REFERENCE_DELTAS;
        let mut deltas = vec![None; usize::try_from(first - start).unwrap_or(0)];
        let mut next = first;
        while let Some((sequence, arrival)) = self.arrivals.first_key_value() {
            let (sequence, arrival) = (*sequence, *arrival);
            let delta = i16::try_from(arrival - time);
            // A pause too long for a delta begins a report of its own.
            let (Ok(delta), true) = (delta, sequence - start < STATUSES_MAX) else {
                self.clock.go_on(now);
                break;
            };
            let gap = usize::try_from(sequence - next).unwrap_or(0);
            deltas.extend(std::iter::repeat_n(None, gap));
            deltas.push(Some(delta));
            time = arrival;
            next = sequence + 1;
            self.arrivals.pop_first();
        }
        self.next = Some(next);
        let count = self.count;
        self.count = self.count.wrapping_add(1);
        Some(TransportFeedback {
            sender,
            media: self.media.unwrap_or(sender),
            base: SeqNo16(start as u16),
            // 24 bits, wrapping every 12 days.
            reference_time: ((reference as i32) << 8) >> 8,
            count,
            deltas,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtp::tests::instant;

    fn arrivals(feedback: &TransportFeedback) -> Vec<(u16, Option<i64>)> {
        let pairs = feedback.arrivals();
        pairs.map(|(seq, time)| (seq.0, time)).collect()
    }

    #[test]
    fn received_and_missing_packets_are_reported_with_their_times() {
        let start = instant();
        let at = |ms| start + Duration::from_millis(ms);
        let mut log = ArrivalLog::default();
        log.handle_arrival(at(0), SeqNo16(65_534), Ssrc(1), 1000);
        log.handle_arrival(at(10), SeqNo16(0), Ssrc(1), 1000);
        log.handle_arrival(at(9), SeqNo16(1), Ssrc(1), 1000);
        assert_eq!(log.take_feedback(at(99), Ssrc(2)), None);
        let feedback = log.take_feedback(at(100), Ssrc(2)).unwrap();
        let expected = [
            (65_534, Some(0)),
            (65_535, None),
            (0, Some(40)),
            (1, Some(36)),
        ];
        assert_eq!(arrivals(&feedback), expected);
        assert_eq!(log.due_at(), None);
        // The next report goes on where this one ended, and names what is missing in between.
        log.handle_arrival(at(200), SeqNo16(4), Ssrc(1), 1000);
        let feedback = log.take_feedback(at(300), Ssrc(2)).unwrap();
        let expected = [(2, None), (3, None), (4, Some(800))];
        assert_eq!(arrivals(&feedback), expected);
        assert_eq!(feedback.count, 1);
    }

    #[test]
    fn feedback_takes_a_twentieth_of_the_rate_within_bounds() {
        let start = instant();
        // Bytes every 20 ms, and the interval that follows: 68 bytes in 5 % of the rate.
        for (len, expected) in [(2000, 50), (200, 136), (20, 250)] {
            let mut log = ArrivalLog::default();
            let mut reports = Vec::new();
            for step in 0..200u16 {
                let now = start + Duration::from_millis(20) * u32::from(step);
                log.handle_arrival(now, SeqNo16(step), Ssrc(1), len);
                if log.take_feedback(now, Ssrc(2)).is_some() {
                    reports.push(now);
                }
            }
            let interval = log.clock.interval.unwrap();
            let expected = Duration::from_millis(expected);
            let off = interval.abs_diff(expected);
            assert!(off < expected / 8, "{interval:?}, not {expected:?}");
        }
    }

    #[test]
    fn long_pauses_and_long_lists_are_split() {
        let start = instant();
        let mut log = ArrivalLog::default();
        log.handle_arrival(start, SeqNo16(0), Ssrc(1), 1000);
        let later = start + Duration::from_secs(10);
        for sequence in 1..1000 {
            log.handle_arrival(later, SeqNo16(sequence), Ssrc(1), 1000);
        }
        let mut reported = 0;
        while let Some(feedback) = log.take_feedback(later, Ssrc(2)) {
            let mut bytes = Vec::new();
            feedback.write(&mut bytes);
            assert!(bytes.len() < 1200, "{}", bytes.len());
            reported += feedback.deltas.iter().flatten().count();
        }
        assert_eq!(reported, 1000);
    }
}
