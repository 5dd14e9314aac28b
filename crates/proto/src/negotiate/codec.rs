//! Which codecs we offer, and when two payload types are the same codec.

use std::sync::{Arc, LazyLock};

use twocan_wire::ids::PayloadType;
use twocan_wire::payload::g722;
use twocan_wire::sdp::{H264Parameters, H265Parameters, fmtp_parameter};

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

impl Codec {
    /// Whether `name` calls it, in any case: by its encoding name, by that and its clock rate, or by
    /// these and its channels (`L16`, `CN/16000`, `L16/48000/2`).
    pub fn is_called(&self, name: &str) -> bool {
        is_called(name, &self.name, (self.clock_rate, self.channels))
    }
}

/// Whether `called` is the name of a codec, with its clock rate and channels where they are stated.
pub(crate) fn is_called(called: &str, name: &str, (clock_rate, channels): (u32, u8)) -> bool {
    let mut parts = called.split('/');
    parts
        .next()
        .is_some_and(|own| own.eq_ignore_ascii_case(name))
        && parts
            .next()
            .is_none_or(|rate| rate.parse() == Ok(clock_rate))
        && parts
            .next()
            .is_none_or(|count| count.parse() == Ok(channels))
        && parts.next().is_none()
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
    /// Arrival times and marks of all packets, stream by stream (RFC 8888). Where both sides
    /// understand it, it takes the place of `transport_cc`.
    pub ack_ccfb: bool,
}

impl Feedback {
    /// What video understands.
    pub const VIDEO: Self = Self {
        nack: true,
        nack_pli: true,
        ccm_fir: true,
        transport_cc: true,
        goog_remb: true,
        ack_ccfb: true,
    };

    /// What audio understands.
    pub const AUDIO: Self = Self {
        nack: false,
        nack_pli: false,
        ccm_fir: false,
        transport_cc: true,
        goog_remb: false,
        ack_ccfb: true,
    };

    /// What both understand.
    #[must_use]
    pub fn intersect(self, other: Self) -> Self {
        let ack_ccfb = self.ack_ccfb && other.ack_ccfb;
        Self {
            nack: self.nack && other.nack,
            nack_pli: self.nack_pli && other.nack_pli,
            ccm_fir: self.ccm_fir && other.ccm_fir,
            transport_cc: self.transport_cc && other.transport_cc && !ack_ccfb,
            goog_remb: self.goog_remb && other.goog_remb,
            ack_ccfb,
        }
    }

    /// Adds the kind that stands in `a=rtcp-fb`; unknown ones are left out.
    pub(crate) fn add(&mut self, text: &str) {
        match text {
            "nack" => self.nack = true,
            "nack pli" => self.nack_pli = true,
            "ccm fir" => self.ccm_fir = true,
            "transport-cc" => self.transport_cc = true,
            "goog-remb" => self.goog_remb = true,
            "ack ccfb" => self.ack_ccfb = true,
            _ => {}
        }
    }

    /// The kinds as they stand in `a=rtcp-fb` of one payload type: all but that of RFC 8888, which
    /// is for all of them (§6).
    pub(crate) fn names(self) -> impl Iterator<Item = &'static str> {
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

/// Opus, RED of it, G.711 in both laws, G.722, and telephone events at 48 and 8 kHz.
///
/// RED that stands behind Opus is understood; it is sent, where packets are lost, if it stands
/// before Opus here or in the remote side's description.
pub fn default_audio_codecs() -> Arc<[Codec]> {
    static CODECS: LazyLock<Arc<[Codec]>> = LazyLock::new(|| audio_codecs().into());
    CODECS.clone()
}

fn audio_codecs() -> Vec<Codec> {
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
        codec("red", 48_000, 2, "", 63),
        codec("PCMU", 8000, 1, "", 0),
        codec("PCMA", 8000, 1, "", 8),
        codec("G722", g722::CLOCK_RATE, 1, "", g722::PAYLOAD_TYPE),
        codec("telephone-event", 48_000, 1, "0-15", 110),
        codec("telephone-event", 8000, 1, "0-15", 126),
    ]
}

/// VP8, H.264 as Constrained Baseline and Baseline (ffmpeg's WHIP client offers only the latter),
/// VP9 and AV1 in their profiles 0, and H.265 in its Main profile, with retransmission; ULPFEC in
/// RED; and FlexFEC-03, which is offered only where [`Config`](super::Config) says so.
pub fn default_video_codecs() -> Arc<[Codec]> {
    static CODECS: LazyLock<Arc<[Codec]>> = LazyLock::new(|| video_codecs().into());
    CODECS.clone()
}

fn video_codecs() -> Vec<Codec> {
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
        codec("VP9", "profile-id=0", 98, 99),
        codec("AV1", "level-idx=5;profile=0;tier=0", 100, 101),
        codec(
            "H265",
            "level-id=93;profile-id=1;tier-flag=0;tx-mode=SRST",
            104,
            105,
        ),
        Codec {
            feedback: Feedback::default(),
            ..codec("red", "", 116, 117)
        },
        Codec {
            feedback: Feedback::default(),
            rtx_payload_type: None,
            ..codec("ulpfec", "", 118, 0)
        },
        Codec {
            feedback: Feedback {
                transport_cc: true,
                goog_remb: true,
                ..Feedback::default()
            },
            rtx_payload_type: None,
            ..codec("flexfec-03", FLEXFEC_FMTP, 119, 0)
        },
    ]
}

/// How long a lost packet can still be repaired, in µs: what libwebrtc states. The draft (§5.1.1)
/// wants something to be said; nobody lets it change anything.
const FLEXFEC_FMTP: &str = "repair-window=10000000";

/// What repairs losses, and carries no media by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RepairCodec {
    /// RED (RFC 2198).
    Red,
    /// ULPFEC (RFC 5109).
    Ulpfec,
    /// FlexFEC (draft-ietf-payload-flexible-fec-scheme-03).
    Flexfec,
}

impl RepairCodec {
    /// By the encoding name, in any case.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        match name.to_ascii_lowercase().as_str() {
            "red" => Some(Self::Red),
            "ulpfec" => Some(Self::Ulpfec),
            "flexfec-03" => Some(Self::Flexfec),
            _ => None,
        }
    }
}

/// Says of RED for sound what it repeats: the first codec of the list with the same clock and
/// channels, in every place (RFC 2198 §5). Without such a codec, RED has nothing to carry.
pub(super) fn link_red(codecs: &mut Vec<CodecTerms>) {
    let own = codecs.clone();
    codecs.retain_mut(|codec| {
        let is_red = RepairCodec::from_name(&codec.name) == Some(RepairCodec::Red);
        if !is_red || codec.channels < 2 {
            return true;
        }
        let carried = own.iter().find(|other| {
            // L16 leaves no room in a packet for what was before it.
            other.is_media()
                && !other.name.eq_ignore_ascii_case("L16")
                && other.clock_rate == codec.clock_rate
                && other.channels == codec.channels
        });
        if let Some(carried) = carried {
            let number = carried.payload_type;
            codec.fmtp = format!("{number}/{number}");
        }
        carried.is_some()
    });
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
            "h265" => match (
                H265Parameters::parse(&self.fmtp),
                H265Parameters::parse(&other.fmtp),
            ) {
                (Some(ours), Some(theirs)) => ours.is_same_configuration(&theirs),
                _ => false,
            },
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
    /// offer's, and so is that of H.265 (RFC 7798 §7.2.2). Everything else says what we can receive.
    fn answer_fmtp(&self, offered: &Self) -> String {
        if self.name.eq_ignore_ascii_case("h265") {
            let parsed = [&self.fmtp, &offered.fmtp].map(|text| H265Parameters::parse(text));
            if let [Some(ours), Some(theirs)] = parsed {
                let level = ours.level.min(theirs.level);
                return H265Parameters { level, ..ours }.to_string();
            }
        }
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

    /// Whether this carries media of its own, not only events and silence within a stream.
    pub(super) fn is_media(&self) -> bool {
        let within = ["telephone-event", "CN"];
        !within
            .iter()
            .any(|name| self.name.eq_ignore_ascii_case(name))
            && RepairCodec::from_name(&self.name).is_none()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn video(name: &str, fmtp: &str) -> CodecTerms {
        CodecTerms {
            payload_type: PayloadType(120),
            name: name.into(),
            clock_rate: 90_000,
            channels: 1,
            fmtp: fmtp.into(),
            feedback: Feedback::VIDEO,
            rtx: None,
        }
    }

    fn own(name: &str) -> CodecTerms {
        let all = default_video_codecs();
        let codec = all.iter().find(|codec| codec.name == name);
        CodecTerms::from(codec.unwrap())
    }

    #[test]
    fn defaults_begin_with_vp8_and_give_each_payload_type_once() {
        let video = default_video_codecs();
        assert_eq!(video[0].name, "VP8");
        let audio = default_audio_codecs();
        assert_eq!(audio[0].name, "opus");
        let all = audio.iter().chain(video.iter());
        let types: Vec<u8> = all
            .flat_map(|codec| [Some(codec.payload_type), codec.rtx_payload_type])
            .flatten()
            .map(|own| own.0)
            .collect();
        let unique: BTreeSet<u8> = types.iter().copied().collect();
        assert_eq!(unique.len(), types.len());
        // RFC 5761 §4: 64 to 95 would look like RTCP.
        assert!(unique.iter().all(|own| *own < 64 || *own > 95));
    }

    #[test]
    fn profiles_decide_and_levels_do_not() {
        // As Firefox and Chromium offer them.
        for (name, fmtp, same) in [
            ("VP9", "max-fs=12288;max-fr=60", true),
            ("VP9", "profile-id=0", true),
            ("VP9", "profile-id=2", false),
            ("AV1", "", true),
            ("AV1", "level-idx=9;profile=0;tier=1", true),
            ("AV1", "level-idx=5;profile=1;tier=0", false),
            ("H265", "", true),
            (
                "h265",
                "level-id=180;profile-id=1;tier-flag=0;tx-mode=SRST",
                true,
            ),
            ("H265", "level-id=93;profile-id=2", false),
            ("H265", "level-id=93;tier-flag=1", false),
            ("H265", "tx-mode=MRST", false),
            ("H265", "level-id=wrong", false),
        ] {
            let offered = video(name, fmtp);
            let ours = own(&name.to_uppercase());
            assert_eq!(ours.is_same_codec(&offered), same, "{name} {fmtp}");
        }
    }

    #[test]
    fn answers_state_what_we_receive_at_a_level_that_was_offered() {
        let answered = |name, fmtp| own(name).answer(&video(name, fmtp)).fmtp;
        // RFC 7798 §7.2.2: no level above the offer's.
        let low = answered("H265", "level-id=60;profile-id=1");
        assert_eq!(low, "level-id=60;profile-id=1;tier-flag=0;tx-mode=SRST");
        let high = answered("H265", "level-id=180");
        assert_eq!(high, "level-id=93;profile-id=1;tier-flag=0;tx-mode=SRST");
        let av1 = answered("AV1", "level-idx=13;profile=0;tier=1");
        assert_eq!(av1, "level-idx=5;profile=0;tier=0");
        assert_eq!(answered("VP9", "max-fs=12288"), "profile-id=0");
    }
}
