//! Sending the clip, and counting what arrives.

use std::time::Duration;

use serde_json::json;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use twocan::{EncodedFrame, Kind, PeerConnection, RtpReceiver, RtpTransceiver};

use super::clip::{Clip, clip};
use super::result::Outcome;

/// Frames after which this side is content: one second of video, and of sound.
const ENOUGH: (u64, u64) = (20, 50);

/// How long frames are waited for after the data is done.
const PATIENCE: Duration = Duration::from_secs(20);

/// Frames of one kind.
pub(super) struct Counted {
    kind: Kind,
    since: Instant,
    counts: watch::Receiver<Counts>,
}

#[derive(Debug, Clone, Default)]
struct Counts {
    frames: u64,
    decodable: u64,
    lost: u64,
    codec: String,
}

/// Starts to send and count on every transceiver.
pub(super) fn start(peer: &PeerConnection) -> Vec<Counted> {
    peer.transceivers()
        .into_iter()
        .filter_map(|transceiver| {
            let kind = transceiver.kind()?;
            let (count, counts) = watch::channel(Counts::default());
            tokio::spawn(send(transceiver.clone()));
            tokio::spawn(receive(transceiver.receiver(), kind, count));
            let since = Instant::now();
            Some(Counted {
                kind,
                since,
                counts,
            })
        })
        .collect()
}

impl Counted {
    /// Waits for enough frames, `at_least` so long since the start, and notes them.
    pub(super) async fn finish(mut self, at_least: Duration, outcome: &mut Outcome) {
        let (name, enough) = match self.kind {
            Kind::Audio => ("audio", ENOUGH.1),
            Kind::Video => ("video", ENOUGH.0),
        };
        let arrived = self.counts.wait_for(|counts| counts.decodable >= enough);
        let in_time = matches!(timeout(PATIENCE, arrived).await, Ok(Ok(_)));
        tokio::time::sleep_until(self.since + at_least).await;
        let counts = self.counts.borrow().clone();
        if !in_time {
            outcome.fail(&format!(
                "{} of {enough} {name} frames arrived",
                counts.decodable
            ));
        }
        outcome.set(
            name,
            json!({
                "frames": counts.frames,
                "frames_decoded": counts.decodable,
                "packets_lost": counts.lost,
                "codec": format!("{name}/{}", counts.codec),
            }),
        );
    }
}

/// Sends the clip in a circle, in real time; from its beginning when a key frame is wanted.
async fn send(transceiver: RtpTransceiver) {
    let sender = transceiver.sender();
    if !sender.can_send().await {
        return;
    }
    let found = transceiver
        .codecs()
        .into_iter()
        .find_map(|codec| clip(&codec.name));
    let Some(Clip {
        codec,
        frames,
        ticks,
        milliseconds,
    }) = found
    else {
        return;
    };
    let mut tick = interval(Duration::from_millis(milliseconds));
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut timestamp = 0u32;
    let mut next = 0;
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            wanted = sender.key_frame_wanted() => {
                if !wanted {
                    return;
                }
                next = 0;
                continue;
            }
        }
        let Some(data) = frames.get(next) else { return };
        let frame = EncodedFrame {
            codec,
            timestamp,
            data,
        };
        if let Err(error) = sender.send_frame(frame) {
            tracing::debug!(%error, "clip");
            return;
        }
        timestamp = timestamp.wrapping_add(ticks);
        next = (next + 1) % frames.len();
    }
}

/// Counts frames; a picture counts as decodable when none is missing since a key frame.
async fn receive(receiver: RtpReceiver, kind: Kind, count: watch::Sender<Counts>) {
    let mut whole = kind == Kind::Audio;
    let mut asked_at: Option<Instant> = None;
    while let Some(frame) = receiver.next_frame().await {
        if kind == Kind::Video {
            whole = frame.key_frame || (whole && frame.lost_before == 0);
            let patient = asked_at.is_none_or(|at| at.elapsed() > Duration::from_secs(1));
            if !whole && patient {
                asked_at = Some(Instant::now());
                receiver.request_key_frame();
            }
        }
        count.send_modify(|counts| {
            counts.frames += 1;
            counts.decodable += u64::from(whole);
            counts.lost += u64::from(frame.lost_before);
            counts.codec = frame.codec.clone();
        });
    }
}
