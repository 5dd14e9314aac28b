//! `RTCRtpSender` (W3C webrtc-pc §5.2): frames or packets into the connection.

use std::sync::Arc;

use twocan_io::clock;
use twocan_proto::negotiate::TransceiverId;
use twocan_proto::peer::{EncodingParameters, SendFrameError};
use twocan_proto::rtp;
use twocan_proto::wire::ids::PayloadType;
use twocan_proto::wire::seq::SeqNo16;
use twocan_proto::wire::units::Bitrate;

use crate::error::Error;
use crate::peer_connection::Owner;
use crate::state::State;
use crate::transform::{FrameInfo, FrameTransform};

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

/// A packet to be sent as it is: for forwarders, and for encoders that packetise by themselves.
#[derive(Debug, Clone, Copy)]
pub struct OutgoingPacket<'a> {
    /// The name of its codec, in any case: one of [`crate::RtpTransceiver::codecs`].
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
    /// `InvalidStateError` before the transceiver is agreed on and connected, `InvalidAccessError`
    /// for a codec that was not agreed on, `OperationError` when 2 MiB wait to be sent or the
    /// transform refuses it.
    pub fn send_frame(&self, frame: EncodedFrame<'_>) -> Result<(), Error> {
        let mut state = self.owner.shared.lock();
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
            payload_type: self.payload_type(&state, frame.codec)?,
            timestamp: frame.timestamp,
            marker: false,
            data,
            audio_level: None,
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
    /// # Errors
    /// As [`Self::send_frame`]; `InvalidStateError` with a transform, which packets do not go
    /// through; `InvalidAccessError` also for a sequence number that was used
    /// before, or is 1024 or more below the highest.
    pub fn send_packet(&self, packet: OutgoingPacket<'_>) -> Result<(), Error> {
        let mut state = self.owner.shared.lock();
        if state.transforms.contains_key(&self.id) {
            return Err(Error::Channel {
                name: "InvalidStateError",
                reason: "this sender has a transform, which takes frames".to_owned(),
            });
        }
        let outgoing = rtp::OutgoingPacket {
            payload_type: self.payload_type(&state, packet.codec)?,
            sequence_number: packet.sequence_number.map(SeqNo16),
            timestamp: packet.timestamp,
            marker: packet.marker,
            payload: packet.payload,
            audio_level: None,
        };
        let sent = state.peer.send_packet(clock::now(), self.id, &outgoing);
        drop(state);
        self.owner.shared.wake.notify_one();
        sent.map_err(|error| refused(&error))
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

    /// What to encode at, in payload bits: this sender's share of what the path carries, less
    /// retransmissions and headers. `None` while the other side says nothing about the path, and
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

    /// `getParameters().encodings`, of which there is one.
    pub fn encoding(&self) -> EncodingParameters {
        self.owner.shared.lock().peer.encoding(self.id)
    }

    /// `setParameters` with this encoding: bounds of the target and how it counts among the
    /// other senders'.
    pub fn set_encoding(&self, encoding: EncodingParameters) {
        let mut state = self.owner.shared.lock();
        state.peer.set_encoding(self.id, encoding);
        drop(state);
        self.owner.shared.wake.notify_one();
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
