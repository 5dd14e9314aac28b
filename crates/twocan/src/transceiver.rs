//! `RTCRtpTransceiver` (W3C webrtc-pc §5.4).

use std::sync::Arc;

use twocan_proto::negotiate::{
    CodecPreference, Kind, NegotiateError, NegotiatedCodec, RemoteMedia, TransceiverId,
};
use twocan_proto::peer::Peer;
use twocan_proto::wire::rtp::ExtensionKind as HeaderExtension;
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

    /// Names it among those of its connection; never used twice.
    pub fn id(&self) -> TransceiverId {
        self.id
    }

    /// What the newest remote description says of it; `None` where it says nothing.
    pub fn remote_media(&self) -> Option<RemoteMedia> {
        self.owner.shared.lock().peer.remote_media(self.id)
    }

    /// `addTrack` with this transceiver, which the application found for its track: it sends, as
    /// part of `streams`.
    ///
    /// # Errors
    /// `InvalidStateError` when closed or stopped, `TypeError` for a malformed stream id.
    pub fn attach_track(&self, streams: &[&str]) -> Result<(), Error> {
        self.act(|peer| peer.attach_track(self.id, streams))
    }

    /// `removeTrack`.
    ///
    /// # Errors
    /// `InvalidStateError` when closed or stopped.
    pub fn remove_track(&self) -> Result<(), Error> {
        self.act(|peer| peer.remove_track(self.id))
    }

    /// `replaceTrack` of the sender: whether there is a track, so that `addTrack` does not take it.
    ///
    /// # Errors
    /// `InvalidStateError` when closed or stopped.
    pub fn set_has_track(&self, has: bool) -> Result<(), Error> {
        self.act(|peer| peer.set_has_track(self.id, has))
    }

    /// `setStreams` of the sender.
    ///
    /// # Errors
    /// `InvalidStateError` when closed or stopped, `TypeError` for a malformed stream id.
    pub fn set_streams(&self, streams: &[&str]) -> Result<(), Error> {
        self.act(|peer| peer.set_streams(self.id, streams))
    }

    /// `setCodecPreferences`: the only codecs that descriptions state from here on, the preferred
    /// one first; empty for all.
    ///
    /// # Errors
    /// `InvalidStateError` when closed or stopped.
    pub fn set_codec_preferences(&self, preferences: Vec<CodecPreference>) -> Result<(), Error> {
        self.act(|peer| peer.set_codec_preferences(self.id, preferences))
    }

    /// `setHeaderExtensionsToNegotiate` (webrtc-extensions): the extensions that descriptions state for
    /// one way or for both from here on, or, with `None`, not at all. Of the others those of
    /// [`RtpCapabilities::header_extensions`](crate::RtpCapabilities::header_extensions) are for both, and
    /// [`stopped_header_extensions`](crate::RtpCapabilities::stopped_header_extensions) are not stated.
    /// An offer numbers 14 in all (RFC 8285 §4.2) and leaves out what is beyond.
    ///
    /// # Errors
    /// `InvalidStateError` when closed or stopped.
    pub fn set_header_extensions(
        &self,
        extensions: Vec<(HeaderExtension, Option<Direction>)>,
    ) -> Result<(), Error> {
        self.act(|peer| peer.set_header_extensions(self.id, extensions))
    }

    fn act(&self, act: impl FnOnce(&mut Peer) -> Result<(), NegotiateError>) -> Result<(), Error> {
        let done = act(&mut self.owner.shared.lock().peer);
        self.owner.shared.wake.notify_one();
        Ok(done?)
    }

    /// What it carries.
    pub fn kind(&self) -> Option<Kind> {
        self.with(|transceiver| transceiver.kind())
    }

    /// `mid`, once it has a section.
    pub fn mid(&self) -> Option<String> {
        let state = self.owner.shared.lock();
        state.peer.mid(self.id).map(str::to_owned)
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
