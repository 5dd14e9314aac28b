//! Which codecs we offer, and when two payload types are the same codec.

use twocan_wire::ids::PayloadType;
use twocan_wire::sdp::{H264Parameters, fmtp_parameter};

/// A codec that the application can send and receive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Codec {
    /// The encoding name, for example `VP8`.
    pub name: String,
    /// The RTP clock rate in Hz.
    pub clock_rate: u32,
    /// Channels; 1 for video.
    pub channels: u8,
    /// Format parameters as in `a=fmtp`; empty for none.
    pub fmtp: String,
    /// Feedback that we understand.
    pub feedback: Feedback,
    /// The payload type in our offers, unless the connection gave it to something else.
    pub payload_type: PayloadType,
    /// The payload type of retransmissions (RFC 4588); `None` for none.
    pub rtx_payload_type: Option<PayloadType>,
}

/// Kinds of feedback, `a=rtcp-fb`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Feedback {
    /// Lists of lost packets (RFC 4585).
    pub nack: bool,
    /// Picture loss indication (RFC 4585).
    pub nack_pli: bool,
    /// Full intra request (RFC 5104).
    pub ccm_fir: bool,
    /// Arrival times of all packets of the transport.
    pub transport_cc: bool,
    /// The receiver's estimate of the bandwidth.
    pub goog_remb: bool,
}

impl Feedback {
    /// What video understands.
    pub const VIDEO: Self = Self {
        nack: true,
        nack_pli: true,
        ccm_fir: true,
        transport_cc: true,
        goog_remb: true,
    };

    /// What audio understands.
    pub const AUDIO: Self = Self {
        nack: false,
        nack_pli: false,
        ccm_fir: false,
        transport_cc: true,
        goog_remb: false,
    };

    /// What both understand.
    #[must_use]
    pub fn intersect(self, other: Self) -> Self {
        Self {
            nack: self.nack && other.nack,
            nack_pli: self.nack_pli && other.nack_pli,
            ccm_fir: self.ccm_fir && other.ccm_fir,
            transport_cc: self.transport_cc && other.transport_cc,
            goog_remb: self.goog_remb && other.goog_remb,
        }
    }

    /// Adds the kind that stands in `a=rtcp-fb`; unknown ones are left out.
    pub(super) fn add(&mut self, text: &str) {
        match text {
            "nack" => self.nack = true,
            "nack pli" => self.nack_pli = true,
            "ccm fir" => self.ccm_fir = true,
            "transport-cc" => self.transport_cc = true,
            "goog-remb" => self.goog_remb = true,
            _ => {}
        }
    }

    /// The kinds as they stand in `a=rtcp-fb`.
    pub(super) fn names(self) -> impl Iterator<Item = &'static str> {
        [
            (self.goog_remb, "goog-remb"),
            (self.transport_cc, "transport-cc"),
            (self.ccm_fir, "ccm fir"),
            (self.nack, "nack"),
            (self.nack_pli, "nack pli"),
        ]
        .into_iter()
        .filter_map(|(has, name)| has.then_some(name))
    }
}

/// Opus, G.711 in both laws, and telephone events at 48 and 8 kHz.
pub fn default_audio_codecs() -> Vec<Codec> {
    let codec = |name: &str, clock_rate, channels, fmtp: &str, payload_type| Codec {
        name: name.into(),
        clock_rate,
        channels,
        fmtp: fmtp.into(),
        feedback: Feedback::AUDIO,
        payload_type: PayloadType(payload_type),
        rtx_payload_type: None,
    };
    vec![
        codec("opus", 48_000, 2, "minptime=10;useinbandfec=1", 111),
        codec("PCMU", 8000, 1, "", 0),
        codec("PCMA", 8000, 1, "", 8),
        codec("telephone-event", 48_000, 1, "0-15", 110),
        codec("telephone-event", 8000, 1, "0-15", 126),
    ]
}

/// VP8, and H.264 as Constrained Baseline and Baseline (ffmpeg's WHIP client offers only the
/// latter), with retransmission.
pub fn default_video_codecs() -> Vec<Codec> {
    let codec = |name: &str, fmtp: &str, payload_type, rtx| Codec {
        name: name.into(),
        clock_rate: 90_000,
        channels: 1,
        fmtp: fmtp.into(),
        feedback: Feedback::VIDEO,
        payload_type: PayloadType(payload_type),
        rtx_payload_type: Some(PayloadType(rtx)),
    };
    let h264 = |mode, id| {
        format!("level-asymmetry-allowed=1;packetization-mode={mode};profile-level-id={id}")
    };
    vec![
        codec("VP8", "", 96, 97),
        codec("H264", &h264(1, "42e01f"), 108, 109),
        codec("H264", &h264(1, "42001f"), 102, 103),
        codec("H264", &h264(0, "42e01f"), 114, 115),
    ]
}

/// A payload type as a description explains it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CodecTerms {
    pub(super) payload_type: PayloadType,
    pub(super) name: String,
    pub(super) clock_rate: u32,
    pub(super) channels: u8,
    pub(super) fmtp: String,
    pub(super) feedback: Feedback,
    /// The payload type whose `apt` is this one.
    pub(super) rtx: Option<PayloadType>,
}

impl From<&Codec> for CodecTerms {
    fn from(codec: &Codec) -> Self {
        Self {
            payload_type: codec.payload_type,
            name: codec.name.clone(),
            clock_rate: codec.clock_rate,
            channels: codec.channels,
            fmtp: codec.fmtp.clone(),
            feedback: codec.feedback,
            rtx: codec.rtx_payload_type,
        }
    }
}

impl CodecTerms {
    /// Whether both are the same codec, in the parameters that cannot differ between two ends.
    pub(super) fn is_same_codec(&self, other: &Self) -> bool {
        if !self.name.eq_ignore_ascii_case(&other.name)
            || self.clock_rate != other.clock_rate
            || self.channels != other.channels
        {
            return false;
        }
        let same = |name: &str, default: &str| {
            let value = |fmtp| fmtp_parameter(fmtp, name).unwrap_or(default).to_owned();
            value(&self.fmtp) == value(&other.fmtp)
        };
        match self.name.to_ascii_lowercase().as_str() {
            "h264" => match (
                H264Parameters::parse(&self.fmtp),
                H264Parameters::parse(&other.fmtp),
            ) {
                (Some(ours), Some(theirs)) => ours.is_same_configuration(&theirs),
                _ => false,
            },
            // RFC 9628 §6.1 and the AV1 payload format §7.2.1: another profile, another codec.
            "vp9" => same("profile-id", "0"),
            "av1" => same("profile", "0"),
            _ => true,
        }
    }

    /// What we answer to `offered` with this codec of ours.
    pub(super) fn answer(&self, offered: &Self) -> Self {
        Self {
            payload_type: offered.payload_type,
            name: offered.name.clone(),
            clock_rate: offered.clock_rate,
            channels: offered.channels,
            fmtp: self.answer_fmtp(offered),
            feedback: self.feedback.intersect(offered.feedback),
            rtx: self.rtx.and(offered.rtx),
        }
    }

    /// RFC 6184 §8.2.2: without asymmetry on both sides the level of the answer is at most the
    /// offer's. Everything else says what we can receive.
    fn answer_fmtp(&self, offered: &Self) -> String {
        let (Some(ours), Some(theirs)) = (self.h264(), offered.h264()) else {
            return self.fmtp.clone();
        };
        let asymmetric = ours.level_asymmetry_allowed && theirs.level_asymmetry_allowed;
        let level = if asymmetric || ours.is_level_below(&theirs) {
            ours.level
        } else {
            theirs.level
        };
        let id = H264Parameters { level, ..ours }.profile_level_id();
        format!(
            "level-asymmetry-allowed={};packetization-mode={};profile-level-id={id}",
            u8::from(ours.level_asymmetry_allowed),
            ours.packetization_mode,
        )
    }

    fn h264(&self) -> Option<H264Parameters> {
        if !self.name.eq_ignore_ascii_case("h264") {
            return None;
        }
        H264Parameters::parse(&self.fmtp)
    }

    /// Whether this carries media of its own, not only events within a stream.
    pub(super) fn is_media(&self) -> bool {
        !self.name.eq_ignore_ascii_case("telephone-event")
    }
}
