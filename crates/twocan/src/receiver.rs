//! `RTCRtpReceiver` (W3C webrtc-pc §5.3): frames or packets out of the connection.

use std::sync::Arc;
use std::time::{Duration, Instant};

use twocan_proto::negotiate::{NegotiatedCodec, TransceiverId};
use twocan_proto::peer::Peer;
use twocan_proto::rtp::{self, ContributingSource, PictureProperties, Provenance};
use twocan_proto::wire::ids::PayloadType;
use twocan_proto::wire::rtp::{AudioLevel, PlayoutDelay, VideoLayersAllocation, VideoTiming};

use crate::peer_connection::Owner;
use crate::playout::PlayoutStats;
use crate::state::TrackEntry;
use crate::transform::{FrameInfo, FrameTransform};

pub use twocan_proto::rtp::Delivery;

/// A frame that arrived whole, encoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// The name of its codec.
    pub codec: String,
    /// Ticks of the timestamp a second.
    pub clock_rate: u32,
    /// Its channels; 1 for pictures.
    pub channels: u8,
    /// `rid` of the simulcast stream, where it has one. Each stream has its own key frames and
    /// losses.
    pub rid: Option<String>,
    /// The source.
    pub ssrc: u32,
    /// `getContributingSources`: the sources of which a mixer made it (RFC 3550 §5.1), at most 15; none
    /// where nobody mixes.
    pub contributing: Vec<ContributingSource>,
    /// Its loudness, where stated.
    pub audio_level: Option<AudioLevel>,
    /// What became of it before it left, where the sender says so: an extension that is agreed on where
    /// [`RtpTransceiver::set_header_extensions`](crate::RtpTransceiver::set_header_extensions) asks for it.
    pub video_timing: Option<VideoTiming>,
    /// The sequence number of its last packet; it wraps.
    pub sequence_number: u16,
    /// The sampling instant in ticks; it wraps.
    pub timestamp: u32,
    /// Whether it can be decoded without those before it; always so for sound.
    pub key_frame: bool,
    /// Whether all that it refers to was handed out before it. Of what arrives, nothing else is handed
    /// out; but after frames that nobody took in time, or that a transform refused, pictures are
    /// not decodable until the next key frame, which is asked for. Always so for sound.
    pub decodable: bool,
    /// Packets lost for good between the frame before and this one. Of pictures they held nothing
    /// that it refers to: repairs of others (FEC), or frames that were left out.
    pub lost_before: u32,
    /// When its last packet arrived.
    pub received_at: Instant,
    /// When it was captured, on its sender's clock since 1970; known about a second after a stream
    /// began. Clocks of different machines differ; streams of one sender share one.
    pub captured_at: Option<Duration>,
    /// Between which delays, from capture to display, the sender wants it to be shown; `None` where it
    /// has said nothing. [`VideoPlayout`](crate::playout::VideoPlayout) keeps to it.
    pub playout_delay: Option<PlayoutDelay>,
    /// What else the picture is, where the sender says so: what it shows, its colors, and how it is to be
    /// turned (for which see [`Configuration::video_orientation`](crate::Configuration::video_orientation)).
    pub picture: PictureProperties,
    /// As in [`EncodedFrame::data`](crate::EncodedFrame::data).
    pub data: Vec<u8>,
}

/// A packet that arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IncomingPacket {
    /// The name of its codec.
    pub codec: String,
    /// Ticks of the timestamp a second.
    pub clock_rate: u32,
    /// Its channels; 1 for pictures.
    pub channels: u8,
    /// `rid` of the simulcast stream, where it has one.
    pub rid: Option<String>,
    /// The source.
    pub ssrc: u32,
    /// Its sequence number.
    pub sequence_number: u16,
    /// The sampling instant in ticks; it wraps.
    pub timestamp: u32,
    /// The end of a frame, for video; the start of a talkspurt, for sound.
    pub marker: bool,
    /// Whether it is a repair of a packet that was lost.
    pub is_retransmission: bool,
    /// When it arrived.
    pub received_at: Instant,
    /// As in [`Frame::captured_at`].
    pub captured_at: Option<Duration>,
    /// The dependency descriptor (AV1 payload format, appendix A) as it stands, where it has one.
    pub dependency_descriptor: Option<Vec<u8>>,
    /// Between which delays the sender wants it to be played, where this packet says so; it holds
    /// until another one says something else.
    pub playout_delay: Option<PlayoutDelay>,
    /// Its loudness, where stated.
    pub audio_level: Option<AudioLevel>,
    /// What this packet says of its picture.
    pub picture: PictureProperties,
    /// Which layers the sender has at present, in all streams of its simulcast, where this packet
    /// says so.
    pub layers_allocation: Option<VideoLayersAllocation>,
    /// What this packet says of where it comes from: when it was captured, and of whom it was mixed.
    pub provenance: Provenance,
    /// The payload with its payload header, without padding.
    pub payload: Arc<[u8]>,
}

/// `RTCRtpReceiver`: what the other side sends on a transceiver. Cheap to clone; the connection
/// lives as long as any handle.
#[derive(Debug, Clone)]
pub struct RtpReceiver {
    owner: Arc<Owner>,
    id: TransceiverId,
}

impl RtpReceiver {
    pub(crate) fn new(owner: Arc<Owner>, id: TransceiverId) -> Self {
        Self { owner, id }
    }

    /// Says whether [`Self::next_frame`] (the default) or [`Self::next_packet`] yields what
    /// arrives from here on.
    ///
    /// Packets come as they arrive, in whatever order; losses are still repaired, and what came
    /// twice comes once. Key frames are asked for by [`Self::request_key_frame`] alone then.
    pub fn set_delivery(&self, delivery: Delivery) {
        self.owner
            .shared
            .lock()
            .peer
            .set_delivery(self.id, delivery);
        self.owner.shared.wake.notify_one();
    }

    /// The next frame that the other side sends; `None` once it stops sending or the connection
    /// ends.
    ///
    /// Events of a telephone's keys are frames as well, whose codec is `telephone-event`; a
    /// [`ToneListener`](crate::dtmf::ToneListener) makes tones of them.
    ///
    /// At most 256 frames wait; then the oldest are dropped.
    pub async fn next_frame(&self) -> Option<Frame> {
        self.owner
            .shared
            .until(|state| {
                let ended = state.finished;
                let entry = state.tracks.entry(self.id).or_default();
                while let Some(frame) = entry.frames.pop_front() {
                    // A codec that a renegotiation took away in the meantime is passed over.
                    let Some(codec) = codec_of(&state.peer, self.id, frame.payload_type) else {
                        continue;
                    };
                    let Some(mut frame) = transformed(entry, to_frame(frame, codec)) else {
                        continue;
                    };
                    frame.decodable = entry.note_taken(&frame);
                    if !frame.decodable {
                        state.peer.request_key_frame(self.id, frame.rid.as_deref());
                        self.owner.shared.wake.notify_one();
                    }
                    return Some(Some(frame));
                }
                (entry.ended || ended).then_some(None)
            })
            .await
    }

    /// `transform` (W3C webrtc-encoded-transform §3): what frames go through from here on before
    /// [`Self::next_frame`] yields them; `None` lets them pass as they are. Frames that it refuses
    /// count as lost. [`Self::next_packet`] yields packets as they came.
    pub fn set_transform(&self, transform: Option<Box<dyn FrameTransform>>) {
        let mut state = self.owner.shared.lock();
        let entry = state.tracks.entry(self.id).or_default();
        entry.transform = transform;
        entry.refused = 0;
    }

    /// The next packet that the other side sends, once [`Self::set_delivery`] asked for packets;
    /// `None` once it stops sending or the connection ends.
    ///
    /// At most 1024 packets wait; then the oldest are dropped.
    pub async fn next_packet(&self) -> Option<IncomingPacket> {
        self.owner
            .shared
            .until(|state| {
                let ended = state.finished;
                let entry = state.tracks.entry(self.id).or_default();
                while let Some(packet) = entry.packets.pop_front() {
                    // A codec that a renegotiation took away in the meantime is passed over.
                    if let Some(codec) = codec_of(&state.peer, self.id, packet.payload_type) {
                        return Some(Some(to_packet(packet, codec)));
                    }
                }
                (entry.ended || ended).then_some(None)
            })
            .await
    }

    /// By how much what arrives here is to be presented later, to be in step with the slowest
    /// stream of the same sender: sound with the picture, as a rule. Zero for the slowest, and until
    /// the other side's reports tell. What the application waits besides in one stream, such as the
    /// [delay of a jitter buffer](crate::playout::AudioPlayout::target_delay), it waits in all.
    pub fn synchronization_delay(&self) -> Duration {
        let state = self.owner.shared.lock();
        let all = state.peer.synchronization();
        let own = all
            .into_iter()
            .find(|own| state.peer.transceiver_of(&own.mid) == Some(self.id));
        own.map_or(Duration::ZERO, |own| own.delay)
    }

    /// Which layers the sender has at present, in all streams of its simulcast, and the rate that each
    /// needs; `None` until it says so, which Chromium does where the extension is agreed on.
    pub fn layers_allocation(&self) -> Option<VideoLayersAllocation> {
        let state = self.owner.shared.lock();
        let entry = state.tracks.get(&self.id)?;
        entry.layers_allocation.clone()
    }

    /// Waits until [`Self::layers_allocation`] is known and another than `known`; `None` when the
    /// connection ends instead.
    pub async fn layers_allocation_other_than(
        &self,
        known: Option<&VideoLayersAllocation>,
    ) -> Option<VideoLayersAllocation> {
        self.owner
            .shared
            .until(|state| {
                if state.finished {
                    return Some(None);
                }
                let own = state.tracks.get(&self.id)?.layers_allocation.as_ref()?;
                (Some(own) != known).then(|| Some(own.clone()))
            })
            .await
    }

    /// Takes what a [jitter buffer](crate::playout) for this sound or these pictures counts, so that
    /// [`get_stats`](crate::PeerConnection::get_stats) shows it.
    pub fn report_playout(&self, stats: PlayoutStats) {
        self.owner.shared.lock().peer.report_playout(self.id, stats);
    }

    /// The streams of a simulcast that the other side sends and we accepted, by `rid`, the lowest
    /// quality first as a rule; empty where there is one stream.
    pub fn rids(&self) -> Vec<String> {
        let state = self.owner.shared.lock();
        let media = state.peer.negotiated(self.id);
        let rids = media.map(|media| &media.rids[..]).unwrap_or_default();
        rids.iter().map(ToString::to_string).collect()
    }

    /// Asks the other side for a key frame, of all streams of a simulcast.
    pub fn request_key_frame(&self) {
        self.ask_for_key_frame(None);
    }

    /// Asks the other side for a key frame of one stream of a simulcast.
    pub fn request_key_frame_of(&self, rid: &str) {
        self.ask_for_key_frame(Some(rid));
    }

    fn ask_for_key_frame(&self, rid: Option<&str>) {
        let mut state = self.owner.shared.lock();
        state.peer.request_key_frame(self.id, rid);
        drop(state);
        self.owner.shared.wake.notify_one();
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

/// What the transform of the track makes of a frame; `None` where it refuses it.
fn transformed(entry: &mut TrackEntry, mut frame: Frame) -> Option<Frame> {
    // Tones of the other side did not go through a transform either.
    let is_tone = frame.codec.eq_ignore_ascii_case("telephone-event");
    let Some(transform) = entry.transform.as_mut().filter(|_| !is_tone) else {
        return Some(frame);
    };
    let info = FrameInfo {
        codec: &frame.codec,
        timestamp: frame.timestamp,
    };
    let mut data = Vec::with_capacity(frame.data.len());
    if let Err(error) = transform.transform(info, &frame.data, &mut data) {
        tracing::debug!(%error, "a frame is left out");
        entry.refused = entry
            .refused
            .saturating_add(1)
            .saturating_add(frame.lost_before);
        entry.torn.insert(frame.rid);
        return None;
    }
    frame.data = data;
    let refused = std::mem::take(&mut entry.refused);
    frame.lost_before = frame.lost_before.saturating_add(refused);
    Some(frame)
}

fn codec_of(peer: &Peer, id: TransceiverId, payload_type: PayloadType) -> Option<&NegotiatedCodec> {
    peer.negotiated(id)?.codec_of(payload_type)
}

fn to_frame(frame: rtp::Frame, codec: &NegotiatedCodec) -> Frame {
    Frame {
        codec: codec.name.clone(),
        clock_rate: codec.clock_rate,
        channels: codec.channels,
        rid: frame.rid.map(|rid| rid.to_string()),
        ssrc: frame.ssrc.0,
        contributing: frame.contributing,
        video_timing: frame.video_timing,
        audio_level: frame.audio_level,
        sequence_number: (frame.number & 0xffff) as u16,
        timestamp: frame.timestamp,
        key_frame: frame.key_frame,
        decodable: true,
        lost_before: frame.lost_before,
        received_at: frame.received_at,
        captured_at: frame.captured_at,
        playout_delay: frame.playout_delay,
        picture: frame.picture,
        data: frame.data,
    }
}

fn to_packet(packet: rtp::IncomingPacket, codec: &NegotiatedCodec) -> IncomingPacket {
    IncomingPacket {
        codec: codec.name.clone(),
        clock_rate: codec.clock_rate,
        channels: codec.channels,
        rid: packet.rid.map(|rid| rid.to_string()),
        ssrc: packet.ssrc.0,
        sequence_number: (packet.number & 0xffff) as u16,
        timestamp: packet.timestamp,
        marker: packet.marker,
        is_retransmission: packet.is_retransmission,
        received_at: packet.received_at,
        captured_at: packet.captured_at,
        dependency_descriptor: packet.dependency_descriptor,
        playout_delay: packet.playout_delay,
        audio_level: packet.audio_level,
        picture: packet.picture,
        layers_allocation: packet.layers_allocation,
        payload: packet.payload,
        provenance: packet.provenance.map(|own| *own).unwrap_or_default(),
    }
}
