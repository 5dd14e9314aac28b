//! `RTCRtpTransceiver` with its sender and receiver (W3C webrtc-pc §5).

use std::sync::Arc;
use std::time::{Duration, Instant};

use twocan_io::clock;
use twocan_proto::negotiate::{Kind, NegotiatedCodec, TransceiverId};
use twocan_proto::peer::SendFrameError;
use twocan_proto::rtp::{self, OutgoingFrame};
use twocan_proto::wire::sdp::Direction;

use crate::error::Error;
use crate::peer_connection::Owner;

/// A codec that was agreed on: `RTCRtpCodec`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Codec {
    /// The encoding name, such as `opus` or `VP8`.
    pub name: String,
    /// Ticks of the RTP timestamp a second.
    pub clock_rate: u32,
    /// Channels; 1 for video.
    pub channels: u8,
    /// Format parameters that the other side states.
    pub fmtp: String,
}

/// A frame to be sent, encoded.
#[derive(Debug, Clone, Copy)]
pub struct EncodedFrame<'a> {
    /// The name of its codec, in any case: one of [`RtpTransceiver::codecs`].
    pub codec: &'a str,
    /// The sampling instant in ticks of the codec's clock; it wraps.
    pub timestamp: u32,
    /// For H.264 an access unit in Annex B form; for the others what the codec yields.
    pub data: &'a [u8],
}

/// A frame that arrived whole, encoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// The name of its codec.
    pub codec: String,
    /// Ticks of the timestamp a second.
    pub clock_rate: u32,
    /// The sampling instant in ticks; it wraps.
    pub timestamp: u32,
    /// Whether it can be decoded without those before it; always so for sound.
    pub key_frame: bool,
    /// Packets lost for good between the frame before and this one.
    pub lost_before: u32,
    /// When its last packet arrived.
    pub received_at: Instant,
    /// As in [`EncodedFrame::data`].
    pub data: Vec<u8>,
}

/// `RTCTrackEvent`: the other side sends on this transceiver from here on.
#[derive(Debug, Clone)]
pub struct TrackEvent {
    /// The transceiver, from which frames are read.
    pub transceiver: RtpTransceiver,
    /// The ids of the streams that the track is part of.
    pub streams: Vec<String>,
    /// The id of the track at the other side, where given.
    pub track_id: Option<String>,
}

/// A transceiver. Cheap to clone; the connection lives as long as any handle.
#[derive(Debug, Clone)]
pub struct RtpTransceiver {
    owner: Arc<Owner>,
    id: TransceiverId,
}

impl RtpTransceiver {
    pub(crate) fn new(owner: Arc<Owner>, id: TransceiverId) -> Self {
        Self { owner, id }
    }

    /// Whether both are handles of one transceiver.
    pub fn is_same(&self, other: &Self) -> bool {
        self.id == other.id && Arc::ptr_eq(&self.owner, &other.owner)
    }

    /// The next frame that the other side sends; `None` once it stops sending or the connection
    /// ends.
    ///
    /// At most 256 frames wait; then the oldest are dropped.
    pub async fn next_frame(&self) -> Option<Frame> {
        self.owner
            .shared
            .until(|state| {
                let ended = state.finished;
                let entry = state.tracks.entry(self.id).or_default();
                match entry.frames.pop_front() {
                    Some(frame) => {
                        let codec = state
                            .peer
                            .negotiated(self.id)
                            .and_then(|media| media.codec_of(frame.payload_type));
                        // A codec that a renegotiation took away in the meantime.
                        let codec = codec?;
                        Some(Some(to_frame(frame, codec)))
                    }
                    None => (entry.ended || ended).then_some(None),
                }
            })
            .await
    }

    /// Waits until the other side asks for a key frame; `false` when the connection ends instead.
    pub async fn key_frame_wanted(&self) -> bool {
        self.owner
            .shared
            .until(|state| {
                let wanted = state.key_frames_wanted.iter().position(|id| *id == self.id);
                match wanted {
                    Some(index) => {
                        state.key_frames_wanted.remove(index);
                        Some(true)
                    }
                    None => state.finished.then_some(false),
                }
            })
            .await
    }

    /// Sends a frame.
    ///
    /// # Errors
    /// `InvalidStateError` before the transceiver is agreed on and connected, `InvalidAccessError`
    /// for a codec that was not agreed on, `OperationError` when 2 MiB wait to be sent.
    pub fn send_frame(&self, frame: EncodedFrame<'_>) -> Result<(), Error> {
        let mut state = self.owner.shared.lock();
        let media = state.peer.negotiated(self.id);
        let Some(media) = media else {
            return Err(refused(&SendFrameError::NotNegotiated));
        };
        let Some(codec) = media.codec(frame.codec) else {
            return Err(refused(&SendFrameError::Stream(
                rtp::SendError::UnknownCodec,
            )));
        };
        let outgoing = OutgoingFrame {
            payload_type: codec.payload_type_send,
            timestamp: frame.timestamp,
            marker: false,
            data: frame.data,
            audio_level: None,
        };
        let sent = state.peer.send_frame(clock::now(), self.id, &outgoing);
        drop(state);
        self.owner.shared.wake.notify_one();
        sent.map_err(|error| refused(&error))
    }

    /// Asks the other side for a key frame.
    pub fn request_key_frame(&self) {
        self.owner.shared.lock().peer.request_key_frame(self.id);
        self.owner.shared.wake.notify_one();
    }

    /// The codecs agreed on, the preferred one first; empty before an answer accepts them.
    pub fn codecs(&self) -> Vec<Codec> {
        let state = self.owner.shared.lock();
        let codecs = state
            .peer
            .negotiated(self.id)
            .map(|media| media.codecs.clone());
        codecs
            .unwrap_or_default()
            .into_iter()
            .map(to_codec)
            .collect()
    }

    /// Waits until frames can be sent: agreed on, in that direction, and connected. `false` when
    /// the connection ends instead.
    pub async fn can_send(&self) -> bool {
        self.owner
            .shared
            .until(|state| {
                if state.finished {
                    return Some(false);
                }
                let sends = state
                    .peer
                    .negotiated(self.id)
                    .is_some_and(|media| media.sends);
                (sends && state.peer.can_send_media()).then_some(true)
            })
            .await
    }

    /// What it carries.
    pub fn kind(&self) -> Option<Kind> {
        self.with(|transceiver| transceiver.kind())
    }

    /// `mid`, once it has a section.
    pub fn mid(&self) -> Option<String> {
        let state = self.owner.shared.lock();
        state
            .peer
            .negotiated(self.id)
            .map(|media| media.mid.to_string())
    }

    /// `direction`: what the application wants; `None` once stopped.
    pub fn direction(&self) -> Option<Direction> {
        self.with(|transceiver| transceiver.direction())
    }

    /// `currentDirection`: what was agreed on last.
    pub fn current_direction(&self) -> Option<Direction> {
        self.with(|transceiver| transceiver.current_direction())
            .flatten()
    }

    /// Sets `direction`; takes effect with the next negotiation.
    ///
    /// # Errors
    /// `InvalidStateError` when closed or stopped.
    pub fn set_direction(&self, direction: Direction) -> Result<(), Error> {
        let done = self
            .owner
            .shared
            .lock()
            .peer
            .set_direction(self.id, direction);
        self.owner.shared.wake.notify_one();
        Ok(done?)
    }

    /// `stop`; takes effect with the next negotiation.
    ///
    /// # Errors
    /// `InvalidStateError` when closed or stopped already.
    pub fn stop(&self) -> Result<(), Error> {
        let done = self.owner.shared.lock().peer.stop_transceiver(self.id);
        self.owner.shared.wake.notify_one();
        Ok(done?)
    }

    fn with<R>(&self, look: impl FnOnce(&twocan_proto::negotiate::Transceiver) -> R) -> Option<R> {
        let state = self.owner.shared.lock();
        let transceivers = state.peer.transceivers();
        transceivers
            .iter()
            .find(|transceiver| transceiver.id() == self.id)
            .map(look)
    }
}

impl Frame {
    /// The time between two timestamps of this frame's clock, along the shorter way round;
    /// zero when `earlier` is later.
    pub fn time_since(&self, earlier: u32) -> Duration {
        let ticks = self.timestamp.wrapping_sub(earlier);
        if ticks > u32::MAX / 2 {
            return Duration::ZERO;
        }
        Duration::from_nanos(u64::from(ticks) * 1_000_000_000 / u64::from(self.clock_rate.max(1)))
    }
}

fn to_frame(frame: rtp::Frame, codec: &NegotiatedCodec) -> Frame {
    Frame {
        codec: codec.name.clone(),
        clock_rate: codec.clock_rate,
        timestamp: frame.timestamp,
        key_frame: frame.key_frame,
        lost_before: frame.lost_before,
        received_at: frame.received_at,
        data: frame.data,
    }
}

fn to_codec(codec: NegotiatedCodec) -> Codec {
    Codec {
        name: codec.name,
        clock_rate: codec.clock_rate,
        channels: codec.channels,
        fmtp: codec.fmtp_remote,
    }
}

fn refused(error: &SendFrameError) -> Error {
    let text = error.to_string();
    let (name, reason) = match text.split_once(": ") {
        Some(("InvalidStateError", reason)) => ("InvalidStateError", reason),
        Some(("InvalidAccessError", reason)) => ("InvalidAccessError", reason),
        Some((_, reason)) => ("OperationError", reason),
        None => ("OperationError", text.as_str()),
    };
    Error::Channel {
        name,
        reason: reason.to_owned(),
    }
}
