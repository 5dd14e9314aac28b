//! `RTCRtpSender` (W3C webrtc-pc §5.2): frames or packets into the connection.

use std::sync::Arc;

use twocan_io::clock;
use twocan_proto::negotiate::{Kind, TransceiverId};
use twocan_proto::peer::{EncodingTarget, RtpSendParameters, SendFrameError};
use twocan_proto::rtp::{self, ContributingSource, FrameTimes, PictureProperties, Provenance};
use twocan_proto::wire::ids::PayloadType;
use twocan_proto::wire::rtp::{AudioLevel, PlayoutDelay, Resolution, VideoLayersAllocation};
use twocan_proto::wire::seq::SeqNo16;
use twocan_proto::wire::units::Bitrate;

use crate::dtmf::DtmfSender;
use crate::error::Error;
use crate::peer_connection::Owner;
use crate::state::State;
use crate::transform::{FrameInfo, FrameTransform};

/// A frame to be sent, encoded.
///
/// ```
/// use twocan::EncodedFrame;
///
/// # let data = [0u8; 4];
/// // A frame of the only encoding, and one of the encoding `h` of a simulcast.
/// let plain = EncodedFrame { codec: "VP8", timestamp: 3000, data: &data, ..Default::default() };
/// let half = EncodedFrame { rid: Some("h"), ..plain };
/// # assert_eq!(half.timestamp, 3000);
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct EncodedFrame<'a> {
    /// The encoding that it is of, by its [`rid`](crate::EncodingParameters::rid); `None` for the only one, or
    /// the first.
    pub rid: Option<&'a str>,
    /// The name of its codec, in any case: one of [`crate::RtpTransceiver::codecs`]. Where several have
    /// the name, the first is meant, or that of the clock rate and the channels behind it: `CN/16000`,
    /// `L16/48000/2`.
    pub codec: &'a str,
    /// The sampling instant in ticks of the codec's clock; it wraps.
    pub timestamp: u32,
    /// For H.264 an access unit in Annex B form; samples in network byte order for L16
    /// ([`l16::write`](crate::l16::write)), of any length; for the others what the codec yields. Where there
    /// are several spatial layers, the frame of one of them.
    pub data: &'a [u8],
    /// Its place in the layers of [`scalability_mode`](crate::EncodingParameters::scalability_mode). `None` where there is no
    /// such mode, or the encoder says nothing.
    pub layer: Option<FrameLayer>,
    /// Width and height of the picture in pixels, where known; of several spatial layers those of
    /// the lowest. Forwarders are told.
    pub size: Option<(u32, u32)>,
    /// The loudness of sound, where known; sent where the extension was agreed on (RFC 6464).
    pub audio_level: Option<AudioLevel>,
    /// What else the picture is: what it shows, its colors, and how it is to be turned (for which
    /// see [`Configuration::video_orientation`](crate::Configuration::video_orientation)); sent where the
    /// extensions were agreed on.
    pub picture: PictureProperties,
    /// When it was captured and encoded. Receivers align sound and picture by it, and measure the way
    /// from camera to screen.
    pub times: FrameTimes,
    /// The sources of which it was mixed, 15 at most, with their loudness where
    /// [`RtpTransceiver::set_header_extensions`](crate::RtpTransceiver::set_header_extensions) asks for that
    /// extension (RFC 3550 §5.1, RFC 6465).
    pub contributing: &'a [ContributingSource],
}

/// The place of a frame in the layers of its stream: what `RTCEncodedVideoFrameMetadata` and the
/// `svc` of WebCodecs say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameLayer {
    /// The spatial layer, from 0.
    pub spatial: u8,
    /// The temporal layer, from 0.
    pub temporal: u8,
    /// Whether its picture is a key picture: no frame of it refers to earlier pictures.
    pub key_picture: bool,
    /// Whether no frame of an upper spatial layer of the same picture follows.
    pub last_of_picture: bool,
}

/// The other side wants a key frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyFrameRequest {
    /// The encoding, by its [`rid`](crate::EncodingParameters::rid), where it has one.
    pub rid: Option<String>,
}

/// A packet to be sent as it is: for forwarders, and for encoders that packetise by themselves.
#[derive(Debug, Clone, Copy, Default)]
pub struct OutgoingPacket<'a> {
    /// The encoding that it is of, as in [`EncodedFrame::rid`].
    pub rid: Option<&'a str>,
    /// The name of its codec, as in [`EncodedFrame::codec`].
    pub codec: &'a str,
    /// Its number; `None` for the one after the highest so far. Numbers may be skipped and come
    /// later, by less than 1024 packets, but each is used once only (RFC 3711 §9.1).
    pub sequence_number: Option<u16>,
    /// The sampling instant in ticks of the codec's clock; it wraps.
    pub timestamp: u32,
    /// The end of a frame, for video; the start of a talkspurt, for sound.
    pub marker: bool,
    /// The payload with its payload header, 1 to 1275 bytes; above 1100 bytes the datagram may
    /// exceed 1200, which not every network carries.
    pub payload: &'a [u8],
    /// The dependency descriptor (AV1 payload format, appendix A) as it stands, of at most 255 bytes;
    /// sent where the extension was agreed on.
    pub dependency_descriptor: Option<&'a [u8]>,
    /// Between which delays the other side is to play it; `None` for what
    /// [`EncodingParameters::playout_delay`](crate::EncodingParameters::playout_delay) says.
    pub playout_delay: Option<PlayoutDelay>,
    /// The loudness of sound, where known; sent where the extension was agreed on (RFC 6464).
    pub audio_level: Option<AudioLevel>,
    /// What this packet is to say of its picture; usually the last one of it does.
    pub picture: PictureProperties,
    /// Which layers there are, of all encodings, where that is to be told. Frames tell by themselves;
    /// of packets the application knows.
    pub layers_allocation: Option<&'a VideoLayersAllocation>,
    /// What it is to say of where it comes from: when it was captured, and of whom it was mixed.
    pub provenance: Option<&'a Provenance>,
}

/// `RTCRtpSender`: what we send on a transceiver. Cheap to clone; the connection lives as long as
/// any handle.
#[derive(Debug, Clone)]
pub struct RtpSender {
    owner: Arc<Owner>,
    id: TransceiverId,
}

impl RtpSender {
    pub(crate) fn new(owner: Arc<Owner>, id: TransceiverId) -> Self {
        Self { owner, id }
    }

    /// Sends a frame.
    ///
    /// # Errors
    /// `InvalidStateError` before the transceiver is agreed on and connected, for an encoding that is
    /// not active, and for a layer of one without a scalability mode; `InvalidAccessError` for a
    /// codec, an encoding or a layer that there is not; `OperationError` when 2 MiB wait to be sent or
    /// the transform refuses it.
    pub fn send_frame(&self, frame: EncodedFrame<'_>) -> Result<(), Error> {
        let mut state = self.owner.shared.lock();
        let layer = match frame.layer {
            Some(layer) => Some(self.placed(&state, frame.rid, layer)?),
            None => None,
        };
        let mut transformed = Vec::new();
        let data = match state.transforms.get_mut(&self.id) {
            Some(transform) => {
                let info = FrameInfo {
                    codec: frame.codec,
                    timestamp: frame.timestamp,
                };
                let outcome = transform.transform(info, frame.data, &mut transformed);
                outcome.map_err(|error| Error::Channel {
                    name: "OperationError",
                    reason: error.to_string(),
                })?;
                &transformed
            }
            None => frame.data,
        };
        let outgoing = rtp::OutgoingFrame {
            rid: frame.rid,
            payload_type: self.payload_type(&state, frame.codec)?,
            timestamp: frame.timestamp,
            marker: false,
            data,
            audio_level: frame.audio_level,
            picture: frame.picture,
            layer,
            resolution: frame
                .size
                .map(|(width, height)| Resolution { width, height }),
            times: frame.times,
            contributing: frame.contributing,
        };
        let sent = state.peer.send_frame(clock::now(), self.id, &outgoing);
        drop(state);
        self.owner.shared.wake.notify_one();
        sent.map_err(|error| refused(&error))
    }

    /// `transform` (W3C webrtc-encoded-transform §3): what frames go through from here on; `None`
    /// lets them pass as they are.
    pub fn set_transform(&self, transform: Option<Box<dyn FrameTransform>>) {
        let mut state = self.owner.shared.lock();
        match transform {
            Some(transform) => state.transforms.insert(self.id, transform),
            None => state.transforms.remove(&self.id),
        };
    }

    /// Sends a packet. Its source and its header extensions are ours.
    ///
    /// Where packets are lost, forward error correction protects packets of up to 1211 bytes of
    /// payload: FlexFEC, where agreed on, has a source of its own. ULPFEC takes numbers of the same
    /// sequence, and is sent only while no packet of the encoding states a number.
    ///
    /// # Errors
    /// As [`Self::send_frame`]; `InvalidStateError` with a transform, which packets do not go
    /// through; `InvalidAccessError` also for a sequence number that was used
    /// before, or is 1024 or more below the highest, and for layers that cannot be described.
    pub fn send_packet(&self, packet: OutgoingPacket<'_>) -> Result<(), Error> {
        let mut state = self.owner.shared.lock();
        if state.transforms.contains_key(&self.id) {
            return Err(Error::Channel {
                name: "InvalidStateError",
                reason: "this sender has a transform, which takes frames".to_owned(),
            });
        }
        let outgoing = rtp::OutgoingPacket {
            rid: packet.rid,
            payload_type: self.payload_type(&state, packet.codec)?,
            sequence_number: packet.sequence_number.map(SeqNo16),
            timestamp: packet.timestamp,
            sampled_at: None,
            marker: packet.marker,
            payload: rtp::Payload::Bytes(packet.payload),
            audio_level: packet.audio_level,
            picture: packet.picture,
            dependency_descriptor: packet.dependency_descriptor,
            playout_delay: packet.playout_delay,
            layers_allocation: packet.layers_allocation,
            provenance: packet.provenance,
        };
        let sent = state.peer.send_packet(clock::now(), self.id, &outgoing);
        drop(state);
        self.owner.shared.wake.notify_one();
        sent.map_err(|error| refused(&error))
    }

    /// `dtmf`: the tones of a telephone in the sound that it sends; `None` for pictures.
    pub fn dtmf(&self) -> Option<DtmfSender> {
        let state = self.owner.shared.lock();
        let mut all = state.peer.transceivers().iter();
        let own = all.find(|transceiver| transceiver.id() == self.id)?;
        (own.kind() == Kind::Audio).then(|| DtmfSender::new(Arc::clone(&self.owner), self.id))
    }

    /// Waits until the other side asks for a key frame, of whatever encoding; `false` when the
    /// connection ends instead.
    pub async fn key_frame_wanted(&self) -> bool {
        self.next_key_frame_request().await.is_some()
    }

    /// The next wish of the other side for a key frame, with the encoding that it is of; `None` when
    /// the connection ends. Several wishes for one encoding are one until they are taken.
    pub async fn next_key_frame_request(&self) -> Option<KeyFrameRequest> {
        self.owner
            .shared
            .until(|state| {
                let mut wanted = state.key_frames_wanted.iter();
                match wanted.position(|(id, _)| *id == self.id) {
                    Some(index) => {
                        let (_, rid) = state.key_frames_wanted.remove(index);
                        let rid = rid.map(|rid| rid.to_string());
                        Some(Some(KeyFrameRequest { rid }))
                    }
                    None => state.finished.then_some(None),
                }
            })
            .await
    }

    /// What to encode at, in payload bits and in all encodings together: this sender's share of what
    /// the path carries, less retransmissions and headers. `None` while the other side says nothing about the path, and
    /// before the transceiver sends.
    pub fn target_bitrate(&self) -> Option<Bitrate> {
        self.owner.shared.lock().peer.target_bitrate(self.id)
    }

    /// Waits until [`Self::target_bitrate`] is known and another than `known`; `None` when the
    /// connection ends instead. Changes are told from 5 % on at once, smaller ones every 100 ms at
    /// most.
    pub async fn target_bitrate_other_than(&self, known: Option<Bitrate>) -> Option<Bitrate> {
        self.owner
            .shared
            .until(|state| {
                if state.finished {
                    return Some(None);
                }
                let target = state.peer.target_bitrate(self.id)?;
                (Some(target) != known).then_some(Some(target))
            })
            .await
    }

    /// The part of our packets that the other side misses, 0 to 1, as it reports: a mean that follows
    /// an increase faster than a decrease. `None` before its first report.
    ///
    /// An encoder with in-band FEC wants to know it: libopus takes it in per cent as
    /// `OPUS_SET_PACKET_LOSS_PERC`, where the other side's `fmtp` has `useinbandfec=1`.
    pub fn expected_packet_loss(&self) -> Option<f64> {
        self.owner.shared.lock().peer.expected_packet_loss(self.id)
    }

    /// What to encode each encoding at, in payload bits; 0 for one that is to rest, because it is not
    /// active or there is not enough for it: low encodings come first. `None` as for
    /// [`Self::target_bitrate`].
    pub fn encoding_targets(&self) -> Option<Vec<EncodingTarget>> {
        self.owner.shared.lock().peer.encoding_targets(self.id)
    }

    /// Waits until [`Self::encoding_targets`] are known and others than `known`; `None` when the
    /// connection ends instead. Changes are told as by [`Self::target_bitrate_other_than`].
    pub async fn encoding_targets_other_than(
        &self,
        known: Option<&[EncodingTarget]>,
    ) -> Option<Vec<EncodingTarget>> {
        self.owner
            .shared
            .until(|state| {
                if state.finished {
                    return Some(None);
                }
                let targets = state.peer.encoding_targets(self.id)?;
                (Some(&targets[..]) != known).then_some(Some(targets))
            })
            .await
    }

    /// `getParameters`: the encodings with their bounds, and what was agreed on.
    ///
    /// ```no_run
    /// # fn example(sender: &twocan::RtpSender) -> Result<(), twocan::Error> {
    /// use twocan::Bitrate;
    ///
    /// let mut parameters = sender.get_parameters()?;
    /// parameters.encodings[0].max_bitrate = Some(Bitrate::kbps(500));
    /// sender.set_parameters(&parameters)?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// `InvalidStateError` when the transceiver is stopped.
    pub fn get_parameters(&self) -> Result<RtpSendParameters, Error> {
        Ok(self.owner.shared.lock().peer.parameters(self.id)?)
    }

    /// `setParameters`: takes what [`Self::get_parameters`] gave, with other values in its encodings.
    ///
    /// # Errors
    /// `InvalidStateError` when stopped, or when the parameters have changed since they were got,
    /// which a negotiation does; `InvalidModificationError` when something was changed that is
    /// read-only; `RangeError` for a scale below 1, a negative frame rate, a least rate above the most,
    /// or a playout delay in the same way; `OperationError` for a scalability mode that no codec has. Nothing has changed then.
    pub fn set_parameters(&self, parameters: &RtpSendParameters) -> Result<(), Error> {
        let mut state = self.owner.shared.lock();
        let done = state.peer.set_parameters(self.id, parameters);
        drop(state);
        self.owner.shared.wake.notify_one();
        Ok(done?)
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

    /// The layer of a frame in the mode that its encoding is set to.
    fn placed(
        &self,
        state: &State,
        rid: Option<&str>,
        layer: FrameLayer,
    ) -> Result<rtp::FrameLayer, Error> {
        let encodings = state.peer.encodings(self.id);
        let mut encodings = encodings.iter();
        let encoding = match rid {
            None => encodings.next(),
            Some(_) => encodings.find(|own| own.rid.as_deref() == rid),
        };
        let mode = encoding.and_then(|own| own.scalability_mode);
        let mode = mode.ok_or_else(|| Error::Channel {
            name: "InvalidStateError",
            reason: "the encoding has no scalabilityMode".to_owned(),
        })?;
        Ok(rtp::FrameLayer {
            mode,
            spatial: layer.spatial,
            temporal: layer.temporal,
            key_picture: layer.key_picture,
            last_of_picture: layer.last_of_picture,
        })
    }

    fn payload_type(&self, state: &State, codec: &str) -> Result<PayloadType, Error> {
        let Some(media) = state.peer.negotiated(self.id) else {
            return Err(refused(&SendFrameError::NotNegotiated));
        };
        let codec = media.codec(codec).map(|codec| codec.payload_type_send);
        codec.ok_or_else(|| refused(&SendFrameError::Stream(rtp::SendError::UnknownCodec)))
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
