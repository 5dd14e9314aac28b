//! The end of slow start before loss (HyStart++, RFC 9406).

use std::time::{Duration, Instant};

const MIN_RTT_THRESHOLD: Duration = Duration::from_millis(4);
const MAX_RTT_THRESHOLD: Duration = Duration::from_millis(16);
const RTT_SAMPLES_MIN: u32 = 8;
/// Growth divisor of conservative slow start (RFC 9406 §4.3).
const CSS_GROWTH_DIVISOR: usize = 4;
const CSS_ROUNDS: u32 = 5;

/// Watches round-trip times in slow start.
#[derive(Debug)]
pub(super) struct HyStart {
    round_ends: Option<Instant>,
    last_round_rtt: Option<Duration>,
    round_rtt: Option<Duration>,
    samples: u32,
    /// Round-trip time when conservative slow start began, and rounds since.
    conservative: Option<(Duration, u32)>,
}

impl HyStart {
    pub(super) fn new() -> Self {
        Self {
            round_ends: None,
            last_round_rtt: None,
            round_rtt: None,
            samples: 0,
            conservative: None,
        }
    }

    /// Bytes by which the window grows for `acked`; `None` when slow start is over.
    ///
    /// A round is one smoothed round-trip time long: RFC 9406 counts a window of data, which is
    /// the same while the window limits the sender.
    pub(super) fn growth(
        &mut self,
        now: Instant,
        acked: usize,
        rtt: Option<Duration>,
        smoothed_rtt: Duration,
    ) -> Option<usize> {
        if self.round_ends.is_none_or(|end| now >= end) {
            self.round_ends = Some(now + smoothed_rtt);
            self.last_round_rtt = self.round_rtt.take().or(self.last_round_rtt);
            self.samples = 0;
            if let Some((_, rounds)) = &mut self.conservative {
                *rounds += 1;
                if *rounds >= CSS_ROUNDS {
                    return None;
                }
            }
        }
        if let Some(rtt) = rtt {
            self.samples += 1;
            self.round_rtt = Some(self.round_rtt.map_or(rtt, |lowest| lowest.min(rtt)));
        }
        if self.samples >= RTT_SAMPLES_MIN
            && let (Some(last), Some(current)) = (self.last_round_rtt, self.round_rtt)
        {
            let threshold = (last / 8).clamp(MIN_RTT_THRESHOLD, MAX_RTT_THRESHOLD);
            match self.conservative {
                None if current >= last + threshold => self.conservative = Some((current, 0)),
                // The delay went away again: it was no queue of ours.
                Some((baseline, _)) if current < baseline => self.conservative = None,
                None | Some(_) => {}
            }
        }
        Some(match self.conservative {
            None => acked,
            Some(_) => acked / CSS_GROWTH_DIVISOR,
        })
    }
}
