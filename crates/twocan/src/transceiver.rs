//! `RTCRtpTransceiver` (W3C webrtc-pc §5.4).

use std::sync::Arc;

use twocan_proto::negotiate::{Kind, NegotiatedCodec, TransceiverId};
use twocan_proto::wire::sdp::Direction;

use crate::error::Error;
use crate::peer_connection::Owner;
use crate::receiver::RtpReceiver;
use crate::sender::RtpSender;

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

/// `RTCTrackEvent`: the other side sends on this transceiver from here on.
#[derive(Debug, Clone)]
pub struct TrackEvent {
    /// The transceiver, from whose receiver frames are read.
    pub transceiver: RtpTransceiver,
    /// The ids of the streams that the track is part of.
    pub streams: Vec<String>,
    /// The id of the track at the other side, where given.
    pub track_id: Option<String>,
}

/// `RTCRtpTransceiver`: a media section with its two directions. Cheap to clone; the connection
/// lives as long as any handle.
#[derive(Debug, Clone)]
pub struct RtpTransceiver {
    owner: Arc<Owner>,
    id: TransceiverId,
}

impl RtpTransceiver {
    pub(crate) fn new(owner: Arc<Owner>, id: TransceiverId) -> Self {
        Self { owner, id }
    }

    /// `sender`.
    pub fn sender(&self) -> RtpSender {
        RtpSender::new(Arc::clone(&self.owner), self.id)
    }

    /// `receiver`.
    pub fn receiver(&self) -> RtpReceiver {
        RtpReceiver::new(Arc::clone(&self.owner), self.id)
    }

    /// Whether both are handles of one transceiver.
    pub fn is_same(&self, other: &Self) -> bool {
        self.id == other.id && Arc::ptr_eq(&self.owner, &other.owner)
    }

    /// The codecs agreed on, the preferred one first; empty before an answer accepts them.
    pub fn codecs(&self) -> Vec<Codec> {
        let state = self.owner.shared.lock();
        let media = state.peer.negotiated(self.id);
        let codecs = media.map(|media| media.codecs.clone());
        codecs
            .unwrap_or_default()
            .into_iter()
            .map(to_codec)
            .collect()
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

fn to_codec(codec: NegotiatedCodec) -> Codec {
    Codec {
        name: codec.name,
        clock_rate: codec.clock_rate,
        channels: codec.channels,
        fmtp: codec.fmtp_remote,
    }
}
