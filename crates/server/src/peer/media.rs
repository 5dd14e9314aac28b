//! Sending the clip, and counting what arrives.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use twocan::{
    EncodedFrame, EncodingParameters, Kind, PeerConnection, PlayoutDelay, RtpReceiver,
    RtpTransceiver, VideoLayersAllocation,
};

use super::clip::{Clip, clip};
use super::ladder::{self, Ladder, LadderError};
use super::result::Outcome;
use super::window::Window;
use super::{Arguments, Side};

/// The streams of a simulcast, the lowest quality first.
pub(super) const RIDS: [&str; 3] = ["q", "h", "f"];

/// Frames after which this side is content: one second of video, and of sound.
const ENOUGH: (u64, u64) = (20, 50);

/// How long frames are waited for after the data is done.
const PATIENCE: Duration = Duration::from_secs(20);

/// Pictures whose times are kept: an hour of them.
const PICTURES_MAX: usize = 30 * 3600;

/// Frames of one kind.
pub(super) struct Counted {
    kind: Kind,
    receiver: RtpReceiver,
    counts: watch::Receiver<Counts>,
}

#[derive(Debug, Clone, Default)]
struct Counts {
    frames: u64,
    decodable: u64,
    lost: u64,
    codec: String,
    /// What the newest frame says.
    playout_delay: Option<PlayoutDelay>,
    /// Decodable frames of each stream of a simulcast.
    streams: BTreeMap<String, u64>,
    /// Decodable pictures: the RTP timestamp, and when they were there.
    pictures: Vec<(u32, Instant)>,
}

impl Counts {
    /// Whether there are enough frames, of each stream where there is a simulcast.
    fn are_enough(&self, enough: u64, simulcast: bool) -> bool {
        match simulcast {
            false => self.decodable >= enough,
            true => RIDS
                .iter()
                .all(|rid| self.streams.get(*rid).is_some_and(|own| *own >= enough)),
        }
    }
}

/// An encoding of that name.
pub(super) fn encoding(rid: &str) -> EncodingParameters {
    EncodingParameters {
        rid: Some(rid.to_owned()),
        ..EncodingParameters::default()
    }
}

/// What of media this side does.
pub(super) struct Plan {
    sends: bool,
    receives: bool,
    ladder: Option<Ladder>,
    /// What the other side is told of pictures.
    playout_delay: Option<PlayoutDelay>,
    /// Three streams are expected of a peer that is told to send them.
    simulcast: bool,
    at_least: Duration,
    window_from: Option<Duration>,
}

/// Media under way.
pub(super) struct Flows {
    since: Instant,
    simulcast: bool,
    at_least: Duration,
    window_from: Option<Duration>,
    counted: Vec<Counted>,
}

impl Plan {
    /// `None` without media.
    pub(super) fn new(arguments: &Arguments) -> Result<Option<Self>, LadderError> {
        if !arguments.media {
            return Ok(None);
        }
        let offers = arguments.side == Side::Offer;
        let ladder = arguments.ladder.as_deref().map(Ladder::open).transpose()?;
        Ok(Some(Self {
            sends: offers || !arguments.one_way,
            receives: !offers || !arguments.one_way,
            ladder,
            playout_delay: arguments.playout_delay.and_then(|milliseconds| {
                let least = Duration::from_millis(milliseconds);
                PlayoutDelay::between(least, least * 2)
            }),
            simulcast: arguments.simulcast && !offers,
            at_least: Duration::from_secs(arguments.media_seconds),
            window_from: arguments.media_from.map(Duration::from_secs),
        }))
    }

    /// Starts to send and to count on every transceiver.
    pub(super) fn start(self, peer: &PeerConnection) -> Flows {
        let Self {
            sends,
            receives,
            mut ladder,
            ..
        } = self;
        let mut counted = Vec::new();
        for transceiver in peer.transceivers() {
            let Some(kind) = transceiver.kind() else {
                continue;
            };
            if kind == Kind::Video && self.playout_delay.is_some() {
                tell_playout_delay(&transceiver, self.playout_delay);
            }
            if sends {
                match (kind, ladder.take()) {
                    (Kind::Video, Some(ladder)) => {
                        tokio::spawn(ladder::send(transceiver.clone(), ladder));
                    }
                    (_, other) => {
                        ladder = other;
                        tokio::spawn(send(transceiver.clone()));
                    }
                }
            }
            if receives {
                let (count, counts) = watch::channel(Counts::default());
                tokio::spawn(receive(transceiver.receiver(), kind, count));
                counted.push(Counted {
                    kind,
                    receiver: transceiver.receiver(),
                    counts,
                });
            }
        }
        Flows {
            since: Instant::now(),
            simulcast: self.simulcast,
            at_least: self.at_least,
            window_from: self.window_from,
            counted,
        }
    }
}

impl Flows {
    /// Waits for enough of everything, and for as long as was asked for, and notes it.
    pub(super) async fn finish(self, peer: &PeerConnection, outcome: &mut Outcome) {
        let video = self.counted.iter().find(|own| own.kind == Kind::Video);
        let pictures = video.map(|own| own.counts.clone());
        let window = async {
            let from = self.window_from?;
            tokio::time::sleep_until(self.since + from).await;
            let window = Window::open(peer);
            tokio::time::sleep_until(self.since + self.at_least).await;
            let pictures = pictures.map(|counts| counts.borrow().pictures.clone());
            Some(window.close(peer, &pictures.unwrap_or_default()))
        };
        let counted = async {
            for counted in self.counted {
                counted.finish(self.simulcast, outcome).await;
            }
        };
        let (window, ()) = tokio::join!(window, counted);
        tokio::time::sleep_until(self.since + self.at_least).await;
        if let Some(window) = window {
            outcome.set("window", window);
        }
    }
}

impl Counted {
    /// Waits for enough frames, of each stream of a simulcast where one is expected, and notes
    /// them.
    async fn finish(mut self, simulcast: bool, outcome: &mut Outcome) {
        let (name, enough) = match self.kind {
            Kind::Audio => ("audio", ENOUGH.1),
            Kind::Video => ("video", ENOUGH.0),
        };
        let simulcast = simulcast && self.kind == Kind::Video;
        let arrived = self
            .counts
            .wait_for(|counts| counts.are_enough(enough, simulcast));
        let in_time = matches!(timeout(PATIENCE, arrived).await, Ok(Ok(_)));
        let counts = self.counts.borrow().clone();
        if !in_time {
            outcome.fail(&format!(
                "{} of {enough} {name} frames arrived {:?}",
                counts.decodable, counts.streams
            ));
        }
        outcome.set(
            name,
            json!({
                "frames": counts.frames,
                "frames_decoded": counts.decodable,
                "packets_lost": counts.lost,
                "streams": counts.streams,
                "codec": format!("{name}/{}", counts.codec),
                "playout_delay_ms": counts.playout_delay.map(|own| [own.min * 10, own.max * 10]),
                "layers": self.receiver.layers_allocation().map(|own| layers(&own)),
            }),
        );
    }
}

/// Lets the other side be told between which delays to play.
fn tell_playout_delay(transceiver: &RtpTransceiver, bounds: Option<PlayoutDelay>) {
    let sender = transceiver.sender();
    let told = sender.get_parameters().and_then(|mut parameters| {
        for encoding in &mut parameters.encodings {
            encoding.playout_delay = bounds;
        }
        sender.set_parameters(&parameters)
    });
    if let Err(error) = told {
        tracing::debug!(%error, "playout delay");
    }
}

/// The layers that the other side says it has.
fn layers(allocation: &VideoLayersAllocation) -> Vec<Value> {
    let layers = allocation.layers.iter();
    let layers = layers.map(|own| {
        json!({
            "stream": own.stream,
            "spatial": own.spatial,
            "bps": own.bitrates.iter().map(|own| own.as_bps()).collect::<Vec<_>>(),
            "width": own.resolution.map(|own| own.width),
            "height": own.resolution.map(|own| own.height),
        })
    });
    layers.collect()
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
        // The same picture in every quality: what counts is that each arrives.
        let encodings = sender
            .get_parameters()
            .map(|own| own.encodings)
            .unwrap_or_default();
        for encoding in encodings.iter().filter(|own| own.active) {
            let frame = EncodedFrame {
                rid: encoding.rid.as_deref(),
                codec,
                timestamp,
                data,
                ..EncodedFrame::default()
            };
            if let Err(error) = sender.send_frame(frame) {
                tracing::debug!(%error, "clip");
                return;
            }
        }
        timestamp = timestamp.wrapping_add(ticks);
        next = (next + 1) % frames.len();
    }
}

/// Counts frames; a picture counts as decodable from the first key frame on, where the library says
/// so.
async fn receive(receiver: RtpReceiver, kind: Kind, count: watch::Sender<Counts>) {
    let mut begun = BTreeSet::new();
    while let Some(frame) = receiver.next_frame().await {
        if frame.key_frame {
            begun.insert(frame.rid.clone());
        }
        let whole = begun.contains(&frame.rid) && frame.decodable;
        count.send_modify(|counts| {
            counts.frames += 1;
            counts.decodable += u64::from(whole);
            if whole && kind == Kind::Video && counts.pictures.len() < PICTURES_MAX {
                counts.pictures.push((frame.timestamp, Instant::now()));
            }
            counts.lost += u64::from(frame.lost_before);
            counts.codec.clone_from(&frame.codec);
            counts.playout_delay = frame.playout_delay;
            if let Some(rid) = &frame.rid {
                *counts.streams.entry(rid.clone()).or_default() += u64::from(whole);
            }
        });
    }
}
