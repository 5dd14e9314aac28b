//! RTP streams of one transport (RFC 3550, RFC 4585, RFC 4588, RFC 9143 §9.2).
//!
//! 1. [`Session::configure`] takes the media sections that a negotiation agreed on.
//! 2. Out: [`Session::send_frame`] splits a frame into packets; [`Session::poll_packet`] writes
//!    one with its header into a buffer, where the caller encrypts it. Packets stay in a bounded
//!    cache, from which NACKs are answered by RTX or by the very same packet. A forwarder hands in
//!    packets instead, by [`Session::send_packet`].
//! 3. In: [`Session::handle_rtp`] takes a decrypted packet, finds its section and stream, undoes
//!    RTX, notes what is missing, and puts frames together; they come out of
//!    [`Session::poll_event`] as soon as they are complete and can be decoded. When to play sound
//!    is decided by [`playout`], which streams belong together by [`Session::synchronization`].
//! 4. [`Session::handle_rtcp`] takes reports and feedback, [`Session::poll_rtcp`] writes ours:
//!    reports, NACK, PLI, FIR, and transport-wide feedback where agreed.
//!
//! Hostile and useless packets are counted by reason and dropped.

mod agreement;
mod allocation;
mod assemble;
mod cadence;
mod capture;
mod control;
mod demux;
mod departure;
mod depend;
mod estimate;
mod fec;
mod layers;
mod loss;
mod nack;
mod name;
mod ntp;
mod numbers;
mod outbox;
mod packet;
mod patience;
mod payload;
mod picture;
pub mod playout;
mod protection;
mod provenance;
mod receive;
mod redundant;
mod remote_clock;
mod repaired;
mod resend;
mod send;
mod session;
mod split;
mod stated_delay;
mod stats;
mod streams;
mod synchronize;
mod transport;

#[cfg(test)]
mod loss_tests;
#[cfg(test)]
mod packet_tests;
#[cfg(test)]
mod picture_tests;
#[cfg(test)]
mod provenance_tests;
#[cfg(test)]
mod repair_tests;
#[cfg(test)]
mod report_tests;
#[cfg(test)]
mod simulcast_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod video_tests;
#[cfg(test)]
mod word_tests;

use std::sync::Arc;
use std::time::{Duration, Instant};

use thiserror::Error;
use twocan_wire::ids::{Mid, PayloadType, Rid, Ssrc};
use twocan_wire::payload::h264::PacketizationMode;
use twocan_wire::payload::{Inspection, PayloadError, av1, h264, h265, vp8, vp9};
use twocan_wire::rtcp::{CongestionFeedback, TransportFeedback};
use twocan_wire::rtp::{
    AllocationError, AudioLevel, ExtensionMap, PlayoutDelay, Resolution, VideoLayersAllocation,
    VideoTiming,
};
use twocan_wire::seq::SeqNo16;
use twocan_wire::units::Bitrate;

use crate::contract::Dscp;

pub use allocation::EncodingRate;
pub use cadence::Cadence;
pub use estimate::StampedArrival;
pub use fec::{PayloadTypes, Repair};
pub use layers::{FrameLayer, InterLayer, ScalabilityMode, UnknownScalabilityMode};
pub use packet::PacketSender;
pub use payload::HEAD_LEN_MAX;
pub use picture::PictureProperties;
pub use provenance::{ContributingSource, FrameTimes, Provenance};
pub use session::Session;
pub use stats::{
    InboundStats, OutboundStats, RemoteInboundStats, RemoteOutboundStats, TransportFeedbackStats,
};
pub use synchronize::Synchronization;

/// How the payloads of a codec become frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// A payload is a frame of sound: Opus, G.711, G.722, and whatever else is not split.
    Whole,
    /// L16 (RFC 3551 §4.5.11) of so many channels: a payload is a frame, a long frame several of them.
    L16(u8),
    /// VP8 (RFC 7741).
    Vp8,
    /// VP9 (RFC 9628); frames are pictures, of all their spatial layers where there are several.
    Vp9,
    /// AV1 (RTP Payload Format For AV1); frames are temporal units in the low-overhead format.
    Av1,
    /// H.264 (RFC 6184); frames are access units in Annex B form.
    H264(PacketizationMode),
    /// H.265 (RFC 7798); frames are access units in Annex B form.
    H265,
}

impl Format {
    /// Whether frames span packets and depend on each other.
    pub const fn is_video(self) -> bool {
        match self {
            Self::Whole | Self::L16(_) => false,
            Self::Vp8 | Self::Vp9 | Self::Av1 | Self::H264(_) | Self::H265 => true,
        }
    }

    /// What a payload says of its frame; nothing where it is malformed.
    fn inspect(self, payload: &[u8]) -> Inspection {
        let inspection = match self {
            Self::Whole | Self::L16(_) => Ok(Inspection {
                starts_frame: true,
                key_frame: true,
                ..Inspection::default()
            }),
            Self::Vp8 => vp8::inspect(payload),
            Self::Vp9 => vp9::inspect(payload),
            Self::Av1 => av1::inspect(payload),
            Self::H264(_) => h264::inspect(payload),
            Self::H265 => h265::inspect(payload),
        };
        let mut inspection = inspection.unwrap_or_default();
        // VP9 says it in every payload; here it is asked where a frame begins.
        inspection.key_frame &= inspection.starts_frame && !self.is_later_slice(payload);
        inspection
    }

    /// Whether a payload begins with a slice that is not the first of its picture.
    fn is_later_slice(self, payload: &[u8]) -> bool {
        match self {
            Self::H264(_) => h264::is_later_slice(payload),
            Self::H265 => h265::is_later_slice(payload),
            Self::Whole | Self::L16(_) | Self::Vp8 | Self::Vp9 | Self::Av1 => false,
        }
    }

    /// Whether a payload stands before the picture that it belongs to, and holds nothing of it.
    fn is_prefix(self, payload: &[u8]) -> bool {
        match self {
            Self::H264(_) => h264::is_prefix(payload),
            Self::H265 => h265::is_prefix(payload),
            Self::Whole | Self::L16(_) | Self::Vp8 | Self::Vp9 | Self::Av1 => false,
        }
    }

    /// Puts the payloads of a frame together. Answers whether it can be decoded without those
    /// before it.
    fn assemble<'a>(
        self,
        payloads: impl Iterator<Item = &'a [u8]>,
        out: &mut Vec<u8>,
    ) -> Result<bool, PayloadError> {
        match self {
            Self::Whole | Self::L16(_) => {
                payloads.for_each(|payload| out.extend_from_slice(payload));
                Ok(true)
            }
            Self::Vp8 => vp8::assemble(payloads, out),
            Self::Vp9 => vp9::assemble(payloads, out),
            Self::Av1 => av1::assemble(payloads, out),
            Self::H264(_) => h264::assemble(payloads, out),
            Self::H265 => h265::assemble(payloads, out),
        }
    }
}

/// A codec of a section.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Codec {
    /// How payloads become frames.
    pub format: Format,
    /// In packets that we receive.
    pub payload_type: PayloadType,
    /// In packets that we send.
    pub payload_type_send: PayloadType,
    /// Of retransmissions that we receive.
    pub rtx: Option<PayloadType>,
    /// Of retransmissions that we send.
    pub rtx_send: Option<PayloadType>,
    /// Ticks of the timestamp a second; more than 0.
    pub clock_rate: u32,
    /// Whether losses are reported one by one.
    pub nack: bool,
    /// Whether a lost picture is reported.
    pub pli: bool,
    /// Whether a key frame may be demanded.
    pub fir: bool,
    /// Whether arrival times are reported by transport-wide numbers.
    pub transport_cc: bool,
    /// Whether arrival times are reported by stream (RFC 8888). Both at once are not agreed on.
    pub ack_ccfb: bool,
    /// Whether senders are told what we think the path carries (REMB), where neither of those two is
    /// agreed on.
    pub goog_remb: bool,
}

/// A media section as it was agreed on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Media {
    /// Its identification.
    pub mid: Mid,
    /// What the other side's packets call it, where that is another name than ours.
    pub remote_mid: Option<Mid>,
    /// Whether we send.
    pub sends: bool,
    /// Whether we receive.
    pub receives: bool,
    /// The codecs, the preferred one first.
    pub codecs: Vec<Codec>,
    /// Extensions of what we send.
    pub extensions_send: ExtensionMap,
    /// Extensions of what we receive; within a bundle a number has one meaning.
    pub extensions_receive: ExtensionMap,
    /// What we send, the lowest quality of a simulcast first; at least one.
    pub encodings: Vec<Encoding>,
    /// Our canonical name.
    pub cname: String,
    /// Announced sources of the remote side, each with the source of its retransmissions.
    pub remote: Vec<(Ssrc, Option<Ssrc>)>,
    /// Whether feedback may travel without a report (RFC 5506).
    pub rtcp_rsize: bool,
    /// How what we receive is handed out.
    pub delivery: Delivery,
    /// What repairs losses beside retransmission.
    pub repair: Repair,
}

/// A stream that a section sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoding {
    /// Its name in a simulcast.
    pub rid: Option<Rid>,
    /// The source of the media.
    pub ssrc: Ssrc,
    /// The source of its retransmissions.
    pub rtx_ssrc: Ssrc,
}

impl Media {
    /// The place of the stream of that name; the first one where none is given.
    fn encoding(&self, rid: Option<&str>) -> Option<usize> {
        let Some(rid) = rid else { return Some(0) };
        let is_named = |own: &Encoding| own.rid.as_ref().is_some_and(|own| own.as_str() == rid);
        self.encodings.iter().position(is_named)
    }

    /// Our source that stands for the section in feedback.
    fn source(&self) -> Ssrc {
        let first = self.encodings.first();
        // RFC 4585 §6.1 wants any source; a section that sends nothing has none, and 0 is nobody's.
        first.map_or(Ssrc(0), |own| own.ssrc)
    }

    /// Whether it carries pictures: their clock has 90 kHz (RFC 3551 §5), and no sound's has.
    fn is_video(&self) -> bool {
        let mut codecs = self.codecs.iter();
        codecs.any(|codec| codec.format.is_video() || codec.clock_rate == 90_000)
    }
}

/// How what a section receives is handed out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Delivery {
    /// As [`Event::Frame`]: put together, in order.
    #[default]
    Frames,
    /// As [`Event::Packet`]: each as it arrives, in whatever order; retransmissions and duplicates
    /// are undone. Nobody but the application asks for key frames then.
    Packets,
}

/// A frame to be sent.
#[derive(Debug, Clone, Copy)]
pub struct OutgoingFrame<'a> {
    /// The stream of a simulcast; the first one where none is given.
    pub rid: Option<&'a str>,
    /// Which codec: one of [`Codec::payload_type_send`].
    pub payload_type: PayloadType,
    /// The sampling instant in units of the clock rate.
    pub timestamp: u32,
    /// The marker of the first packet of sound: the start of a talkspurt. Video sets its own.
    pub marker: bool,
    /// The frame; of video with several spatial layers, that of one layer.
    pub data: &'a [u8],
    /// Its loudness, where known.
    pub audio_level: Option<AudioLevel>,
    /// Its place in the layers of the stream, where it has several.
    pub layer: Option<FrameLayer>,
    /// The size of the picture, where known; of several spatial layers, that of the lowest.
    pub resolution: Option<Resolution>,
    /// What else its picture is; told with the last frame of a picture.
    pub picture: PictureProperties,
    /// When it came to be.
    pub times: FrameTimes,
    /// The sources of which it was mixed; 15 are told at most.
    pub contributing: &'a [ContributingSource],
}

/// The payload of a packet that is sent as it is.
#[derive(Debug, Clone, Copy)]
pub enum Payload<'a> {
    /// Copied.
    Bytes(&'a [u8]),
    /// Shared with whoever else sends it, so that one that many are sent is kept once.
    Shared {
        /// All of it.
        whole: &'a Arc<[u8]>,
        /// What this packet has in the place of the first bytes; at most [`HEAD_LEN_MAX`] and no
        /// longer than the whole.
        head: &'a [u8],
    },
}

/// A packet to be sent as it is, by forwarders and tools.
#[derive(Debug, Clone, Copy)]
pub struct OutgoingPacket<'a> {
    /// The stream of a simulcast; the first one where none is given.
    pub rid: Option<&'a str>,
    /// Which codec: one of [`Codec::payload_type_send`].
    pub payload_type: PayloadType,
    /// Its number; `None` for the one after the highest so far. A number may be skipped and come
    /// later, by less than 1024 packets, but is used once only: SRTP must not protect two packets
    /// by one number (RFC 3711 §9.1).
    pub sequence_number: Option<SeqNo16>,
    /// The sampling instant in units of the clock rate.
    pub timestamp: u32,
    /// When that instant was, for sender reports: forwarders know it from the source's clock.
    /// `None` for now.
    pub sampled_at: Option<Instant>,
    /// The end of a frame, for video; the start of a talkspurt, for sound.
    pub marker: bool,
    /// The payload, 1 to 1275 bytes. Above 1100 bytes the datagram may exceed 1200. With a
    /// `sequence_number` it may be empty: a forwarder that leaves a packet out once those after it
    /// have gone holds its number so, and nobody takes it for lost.
    pub payload: Payload<'a>,
    /// Its loudness, where known.
    pub audio_level: Option<AudioLevel>,
    /// Its dependency descriptor as it stands, where there is one; at most 255 bytes are sent.
    pub dependency_descriptor: Option<&'a [u8]>,
    /// Between which delays it is to be played; `None` for what
    /// [`Session::set_playout_delay`] says.
    pub playout_delay: Option<PlayoutDelay>,
    /// What this packet is to say of its picture.
    pub picture: PictureProperties,
    /// The layers of the section, where they are to be told.
    pub layers_allocation: Option<&'a VideoLayersAllocation>,
    /// What this packet is to say of where it comes from.
    pub provenance: Option<&'a Provenance>,
}

/// A packet that arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IncomingPacket {
    /// The section.
    pub mid: Mid,
    /// The simulcast stream, where it has a name.
    pub rid: Option<Rid>,
    /// The source.
    pub ssrc: Ssrc,
    /// Which codec: one of [`Codec::payload_type`].
    pub payload_type: PayloadType,
    /// Its number, of which the lower 16 bits are the sequence number: a count that never wraps.
    pub number: u64,
    /// The sampling instant in units of the clock rate.
    pub timestamp: u32,
    /// The end of a frame, for video; the start of a talkspurt, for sound.
    pub marker: bool,
    /// Whether it came by RTX.
    pub is_retransmission: bool,
    /// When it arrived.
    pub received_at: Instant,
    /// When it was captured, on its sender's clock since 1970: by its own word, or by sender
    /// reports once one came.
    pub captured_at: Option<Duration>,
    /// Its loudness, where stated.
    pub audio_level: Option<AudioLevel>,
    /// Its dependency descriptor as it stands, where it has one.
    pub dependency_descriptor: Option<Vec<u8>>,
    /// Between which delays the sender wants it to be played, where this packet says so; it holds
    /// until another one says something else.
    pub playout_delay: Option<PlayoutDelay>,
    /// What this packet says of its picture.
    pub picture: PictureProperties,
    /// Which layers the sender has at present, in all streams of the section, where this packet says
    /// so.
    pub layers_allocation: Option<VideoLayersAllocation>,
    /// What this packet says of where it comes from.
    pub provenance: Option<Box<Provenance>>,
    /// The payload, without padding; cheap to clone.
    pub payload: Arc<[u8]>,
}

/// A frame that was received whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// The section.
    pub mid: Mid,
    /// The simulcast stream, where it has a name.
    pub rid: Option<Rid>,
    /// The source.
    pub ssrc: Ssrc,
    /// Which codec: one of [`Codec::payload_type`].
    pub payload_type: PayloadType,
    /// The number of its last packet, of which the lower 16 bits are the sequence number: a count that
    /// never wraps.
    pub number: u64,
    /// The sampling instant in units of the clock rate.
    pub timestamp: u32,
    /// Whether it can be decoded without those before it; always so for sound.
    pub key_frame: bool,
    /// The marker of the last packet.
    pub marker: bool,
    /// Packets lost for good between the frame before and this one.
    pub lost_before: u32,
    /// When its last packet arrived.
    pub received_at: Instant,
    /// When it was captured, on its sender's clock since 1970: by its own word, or by sender
    /// reports once one came.
    pub captured_at: Option<Duration>,
    /// The sources of which a mixer made it, by the header of its last packet (RFC 3550 §5.1): at most
    /// 15, and none where nobody mixes.
    pub contributing: Vec<ContributingSource>,
    /// Its loudness, where stated.
    pub audio_level: Option<AudioLevel>,
    /// What became of it before it left, where stated.
    pub video_timing: Option<VideoTiming>,
    /// Between which delays the sender wants it to be played, by its newest word; `None` where it
    /// has said nothing.
    pub playout_delay: Option<PlayoutDelay>,
    /// What else its picture is, where stated.
    pub picture: PictureProperties,
    /// The frame.
    pub data: Vec<u8>,
}

/// What a packet that waits is, the most urgent first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Sound.
    Audio,
    /// A packet that is sent again.
    Retransmission,
    /// Pictures.
    Video,
    /// Nothing but padding, which waits whenever it is asked for.
    Padding,
}

/// What waits to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Backlog {
    /// Whether [`Class::Audio`] waits.
    pub audio: bool,
    /// Whether [`Class::Retransmission`] waits.
    pub retransmission: bool,
    /// Whether [`Class::Video`] waits.
    pub video: bool,
    /// Payload bytes of video that wait.
    pub video_len: usize,
    /// Since when the first packet of video waits.
    pub video_since: Option<Instant>,
    /// Whether a section has retransmission payloads, which carry [`Class::Padding`].
    pub padding: bool,
}

/// A packet on its way, as feedback will name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Departure {
    /// Its source.
    pub ssrc: Ssrc,
    /// Its number.
    pub sequence_number: SeqNo16,
    /// Its transport-wide number, where agreed.
    pub transport_sequence: Option<SeqNo16>,
    /// Whether the very same packet went before.
    pub is_repeated: bool,
    /// Which codepoint it is to leave with.
    pub dscp: Dscp,
}

/// What the remote side says about the path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Feedback {
    /// When packets arrived, by transport-wide numbers.
    Transport(TransportFeedback),
    /// When packets arrived, and how they were marked, by stream (RFC 8888).
    Congestion(CongestionFeedback),
    /// How much it thinks the path carries (REMB).
    Estimate(Bitrate),
}

/// What a session reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A frame arrived.
    Frame(Frame),
    /// A packet arrived, of a section that delivers [`Delivery::Packets`].
    Packet(IncomingPacket),
    /// A source began.
    SourceAdded {
        /// The section.
        mid: Mid,
        /// The source.
        ssrc: Ssrc,
        /// Its simulcast stream, where it has a name.
        rid: Option<Rid>,
    },
    /// A source ended, by its own word.
    SourceEnded {
        /// The section.
        mid: Mid,
        /// The source.
        ssrc: Ssrc,
    },
    /// The remote side says which layers it has and what each needs: with key frames, and when that
    /// changes. In sections that deliver [`Delivery::Packets`] the packet itself has it as well.
    LayersAllocated {
        /// The section.
        mid: Mid,
        /// All that it sends there; `stream` is the one that said so.
        allocation: VideoLayersAllocation,
    },
    /// The remote side cannot decode what we send: encode a key frame.
    KeyFrameRequested {
        /// The section.
        mid: Mid,
        /// The stream of a simulcast, where it has a name.
        rid: Option<Rid>,
    },
}

/// Why a frame or a packet cannot be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum SendError {
    /// The section does not exist, or does not send at present.
    #[error("InvalidStateError: the section does not send at present")]
    NotSending,
    /// The section sends no stream of that name.
    #[error("InvalidAccessError: the section sends no stream of that rid")]
    UnknownRid,
    /// The payload type is not one of the section's.
    #[error("InvalidAccessError: the section has no such payload type")]
    UnknownCodec,
    /// More than 2 MiB wait to be sent. Drop frames, or wait for `poll_packet` to take packets.
    #[error("OperationError: the queue is full")]
    QueueFull,
    /// The number of a packet was used before, or is 1024 or more below the highest.
    #[error("InvalidAccessError: the sequence number was used before, or is too old to tell")]
    SequenceNumberUsed,
    /// The frame is of a layer that its mode does not have, or the codec has no such mode.
    #[error("InvalidAccessError: the codec and the scalability mode have no such layer")]
    BadLayer,
    /// The layers to be told cannot be described.
    #[error("InvalidAccessError: {0}")]
    BadAllocation(#[from] AllocationError),
    /// The frame is malformed.
    #[error("OperationError: {0}")]
    BadFrame(#[from] PayloadError),
}

/// Largest payload of a packet that we build, in bytes: 1200 for the datagram (see the design's
/// MTU), less 12 of header, 32 of extensions, 16 of authentication tag, 2 for the original sequence
/// number of a retransmission, and 38 to spare for TURN.
pub const PAYLOAD_LEN_MAX: usize = 1100;
