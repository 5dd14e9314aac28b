//! What came in a part of the call.

use std::time::Instant;

use serde_json::{Value, json};
use twocan::{InboundRtpStats, PeerConnection};

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
    pub(super) fn close(self, peer: &PeerConnection) -> Value {
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
                "freezes": sum(true, &|own| own.freeze_count as f64),
                "frozen_seconds": sum(true, &|own| own.total_freezes_duration.as_secs_f64()),
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
