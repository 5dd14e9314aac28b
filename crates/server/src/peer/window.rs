//! What came in a part of the call.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;
use twocan::{Cadence, InboundRtpStats, PeerConnection};

/// How long after the quickest picture was there each is taken to be shown: a display without any
/// such time would freeze at every retransmission, and browsers take about as much.
const LAG: Duration = Duration::from_millis(200);

/// Ticks of the clock of video in a second.
const CLOCK: f64 = 90_000.0;

/// Statistics at the beginning of that part.
pub(super) struct Window {
    opened_at: Instant,
    inbound: Vec<InboundRtpStats>,
}

impl Window {
    pub(super) fn open(peer: &PeerConnection) -> Self {
        Self {
            opened_at: Instant::now(),
            inbound: peer.get_stats().inbound_rtp,
        }
    }

    /// What changed since then, by kind, in the words of webrtc-stats.
    pub(super) fn close(self, peer: &PeerConnection, pictures: &[(u32, Instant)]) -> Value {
        let arrived = pictures.iter().filter(|(_, at)| *at >= self.opened_at);
        let mut cadence = Cadence::default();
        for at in shown(arrived.copied(), self.opened_at) {
            cadence.handle_frame(at);
        }
        let after = peer.get_stats().inbound_rtp;
        let sum = |video: bool, of: &dyn Fn(&InboundRtpStats) -> f64| -> f64 {
            let all = |stats: &[InboundRtpStats]| -> f64 {
                // Only pictures have a rate of frames.
                let own = stats.iter();
                let own = own.filter(|own| own.frames_per_second.is_some() == video);
                own.map(of).sum()
            };
            all(&after) - all(&self.inbound)
        };
        json!({
            "seconds": self.opened_at.elapsed().as_secs_f64(),
            "video": {
                "bytes": sum(true, &|own| own.bytes_received as f64),
                "frames_decoded": sum(true, &|own| own.frames_received as f64 - own.frames_dropped as f64),
                "freezes": cadence.freeze_count(),
                "frozen_seconds": cadence.total_freezes_duration().as_secs_f64(),
                "buffered_seconds": LAG.as_secs_f64(),
                "key_frames": sum(true, &|own| own.key_frames_received as f64),
                "packets_lost": sum(true, &|own| own.packets_lost as f64),
            },
            "audio": {
                "packets": sum(false, &|own| own.packets_received as f64),
                "packets_lost": sum(false, &|own| own.packets_lost as f64),
            },
        })
    }
}

/// When pictures are shown, after `origin`: at their pace, but not before they are there.
fn shown(pictures: impl Iterator<Item = (u32, Instant)>, origin: Instant) -> Vec<Duration> {
    let mut first = None;
    let pictures = pictures.map(|(timestamp, at)| {
        let first = *first.get_or_insert(timestamp);
        let captured = f64::from(timestamp.wrapping_sub(first) as i32) / CLOCK;
        (captured, (at - origin).as_secs_f64())
    });
    let pictures: Vec<(f64, f64)> = pictures.collect();
    let delays = pictures.iter().map(|(captured, at)| at - captured);
    let due = delays.fold(f64::INFINITY, f64::min) + LAG.as_secs_f64();
    let mut last = 0.0_f64;
    let at_pace = pictures.iter().map(|(captured, at)| {
        last = at.max(captured + due).max(last);
        Duration::from_secs_f64(last)
    });
    at_pace.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Thirty pictures a second, of which the tenth is late by so many milliseconds.
    fn pictures(late: u64) -> (Instant, Vec<(u32, Instant)>) {
        let origin = Instant::now();
        let pictures = (0..30u32).map(|number| {
            let late = if number == 10 { late } else { 0 };
            let at = Duration::from_millis(50 + late) + Duration::from_secs(1) * number / 30;
            // The clock wraps on the way.
            (number.wrapping_mul(3000).wrapping_sub(9000), origin + at)
        });
        (origin, pictures.collect())
    }

    #[test]
    fn a_late_picture_freezes_only_beyond_the_lag() {
        for (late, expected) in [(0, 0), (190, 0), (320, 0), (450, 1)] {
            let (origin, pictures) = pictures(late);
            let shown = shown(pictures.into_iter(), origin);
            assert!(shown.is_sorted());
            let mut cadence = Cadence::default();
            shown.iter().for_each(|at| cadence.handle_frame(*at));
            assert_eq!(
                cadence.freeze_count(),
                expected,
                "{late} ms late: {shown:?}"
            );
        }
    }

    #[test]
    fn nothing_is_shown_of_nothing() {
        assert!(shown(std::iter::empty(), Instant::now()).is_empty());
    }
}
