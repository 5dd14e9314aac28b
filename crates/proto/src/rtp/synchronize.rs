//! Which stream is how much behind: sound and picture of one sender in step.
//!
//! The clock of a sender and ours need not agree. What counts is by how much longer the frames of
//! one stream take than those of another with the same canonical name, for these share a clock
//! (RFC 3550 §6.5.1).

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use twocan_wire::ids::{Mid, Ssrc};
use twocan_wire::rtcp::Sdes;

use super::session::Session;

/// The weight of a new frame in the average.
const WEIGHT: i64 = 16;

/// A frame so far from the average begins a new one: a clock was set.
const JUMP: i64 = 1_000_000;

/// Streams further apart than this are not of the same moment: nobody waits so long.
const APART_MAX: Duration = Duration::from_secs(10);

/// How long the frames of a stream take from their capture, but for a constant that is the same
/// for all streams of a sender.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Lag {
    /// In microseconds, [`WEIGHT`] times.
    sum: Option<i64>,
}

impl Lag {
    /// A frame arrived that was captured at `captured_at` on the sender's clock; `epoch` is the
    /// same moment for all streams.
    pub(super) fn handle_frame(
        &mut self,
        epoch: Instant,
        arrived_at: Instant,
        captured_at: Duration,
    ) {
        let arrived = arrived_at.saturating_duration_since(epoch).as_micros();
        let arrived = i64::try_from(arrived).unwrap_or(i64::MAX / 2);
        // A date beyond the year 10000 is none.
        let Ok(captured) = i64::try_from(captured_at.as_micros()) else {
            return;
        };
        let lag = (arrived - captured).clamp(-(1 << 54), 1 << 54);
        self.sum = Some(match self.sum {
            Some(sum) if (lag - sum / WEIGHT).abs() < JUMP => sum + lag - sum / WEIGHT,
            _ => lag * WEIGHT,
        });
    }

    fn micros(self) -> Option<i64> {
        self.sum.map(|sum| sum / WEIGHT)
    }
}

/// How much a stream is ahead of the slowest of its sender.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Synchronization {
    /// The section.
    pub mid: Mid,
    /// The source.
    pub ssrc: Ssrc,
    /// The canonical name of its sender.
    pub cname: String,
    /// By how much its frames are to be presented later than they arrive, for all streams of that
    /// name to be in step; zero for the slowest. What the application adds to one of them, such as
    /// the [delay of a jitter buffer](super::playout::AudioPlayout::target_delay), it adds to all.
    pub delay: Duration,
}

impl Session {
    /// Of each stream with a known name and known capture times, how much it is ahead of the others
    /// of that name.
    pub fn synchronization(&self) -> Vec<Synchronization> {
        let lags = || {
            self.receive.values().filter_map(|stream| {
                let cname = stream.cname.as_ref()?;
                Some((stream, cname, stream.lag.micros()?))
            })
        };
        let mut slowest: BTreeMap<&str, i64> = BTreeMap::new();
        for (_, cname, lag) in lags() {
            let own = slowest.entry(cname).or_insert(lag);
            *own = (*own).max(lag);
        }
        lags()
            .map(|(stream, cname, lag)| {
                let ahead = slowest
                    .get(cname.as_str())
                    .map_or(0, |slowest| slowest - lag);
                let delay = Duration::from_micros(u64::try_from(ahead).unwrap_or(0));
                Synchronization {
                    mid: stream.mid.clone(),
                    ssrc: stream.ssrc,
                    cname: cname.clone(),
                    delay: if delay > APART_MAX {
                        Duration::ZERO
                    } else {
                        delay
                    },
                }
            })
            .collect()
    }

    /// Learns the names of sources.
    pub(super) fn handle_names(&mut self, names: &Sdes) {
        for (ssrc, cname) in &names.cnames {
            if let Some(stream) = self.receive.get_mut(ssrc)
                && stream.cname.as_ref() != Some(cname)
            {
                stream.cname = Some(cname.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtp::Format;
    use crate::rtp::tests::{Call, media, vp8_frame};

    #[test]
    fn the_stream_that_takes_longer_is_waited_for() {
        let ms = Duration::from_millis(1);
        let mut call = Call::new(
            1,
            &[media("a", Format::Whole, 10), media("v", Format::Vp8, 20)],
        );
        for number in 0..300u32 {
            call.delay = ms * 20;
            call.send(0, "a", number * 960, &[1, 2, 3]);
            call.delay = ms * 100;
            if number % 2 == 0 {
                call.send(0, "v", number * 1800, &vp8_frame(number, number == 0, 300));
            }
            call.run(ms * 20);
        }
        let all = call.sides[1].synchronization();
        let delays: Vec<&str> = all.iter().map(|own| own.mid.as_str()).collect();
        assert_eq!(delays, ["a", "v"]);
        assert!(all[0].delay.abs_diff(ms * 80) < ms * 2, "{all:?}");
        assert_eq!(all[1].delay, Duration::ZERO);
        assert!(all.iter().all(|own| own.cname == "c"));
        let stats: Vec<_> = call.sides[1].inbound_stats().collect();
        let heard_at = call.now.wallclock - ms * 20;
        let played = stats[1].estimated_playout_timestamp.unwrap();
        assert!(
            played.abs_diff(heard_at - ms * 80) < ms * 45,
            "{played:?} {heard_at:?}"
        );
    }

    #[test]
    fn a_clock_that_is_set_begins_a_new_average() {
        let epoch = crate::rtp::tests::instant();
        let ms = Duration::from_millis(1);
        let mut lag = Lag::default();
        for number in 0..100 {
            lag.handle_frame(epoch, epoch + ms * (20 * number + 50), ms * 20 * number);
        }
        assert_eq!(lag.micros(), Some(50_000));
        lag.handle_frame(epoch, epoch + ms * 2050, ms * 5_000_000);
        assert_eq!(lag.micros(), Some(2_050_000 - 5_000_000_000));
        lag.handle_frame(epoch, epoch, Duration::MAX);
        assert_eq!(lag.micros(), Some(2_050_000 - 5_000_000_000));
    }
}
