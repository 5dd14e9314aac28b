//! What is set by hand, in the words of ORTC (<https://draft.ortc.org>).

use std::fmt;

use twocan_wire::ids::PayloadType;
use twocan_wire::sdp::Fingerprint;

use crate::negotiate::{
    AUDIO_EXTENSIONS, Codec, Feedback, Kind, VIDEO_EXTENSIONS, default_audio_codecs,
    default_video_codecs,
};
use crate::peer::{EncodingParameters, HeaderExtensionParameters, RtcpParameters};

/// `RTCIceParameters`: the credentials of one side for one generation.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct IceParameters {
    /// `usernameFragment`: 4 to 256 letters, digits, `+` and `/`.
    pub username_fragment: String,
    /// `password`: 22 to 256 of the same.
    pub password: String,
    /// `iceLite`: whether this side only answers checks. Default no.
    pub ice_lite: bool,
}

/// Shows no password, which never reaches a log.
impl fmt::Debug for IceParameters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IceParameters")
            .field("username_fragment", &self.username_fragment)
            .field("ice_lite", &self.ice_lite)
            .finish_non_exhaustive()
    }
}

/// `RTCDtlsRole`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DtlsRole {
    /// `auto`: who is controlled by ICE is the client.
    #[default]
    Auto,
    /// `client`: sends the ClientHello; `a=setup:active`.
    Client,
    /// `server`: waits for it; `a=setup:passive`.
    Server,
}

/// `RTCDtlsParameters`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DtlsParameters {
    /// `role` of the side that these are of. Default `auto`.
    pub role: DtlsRole,
    /// `fingerprints`: its certificate matches one of them. Those by other hashes than SHA-256,
    /// SHA-384 and SHA-512 are passed over (RFC 8122 §5).
    pub fingerprints: Vec<Fingerprint>,
}

/// `RTCRtpParameters`, for one sender and its receiver.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RtpParameters {
    /// `mid`, in older drafts `muxId`: by which packets are told apart where the header extension
    /// `urn:ietf:params:rtp-hdrext:sdes:mid` has a number. 1 to 16 token characters. Default none:
    /// sources, or payload types, tell.
    pub mid: Option<String>,
    /// `codecs`, the preferred one first; at least one that carries media.
    pub codecs: Vec<RtpCodecParameters>,
    /// `headerExtensions`. Those that nobody here knows are passed over. On one transport a number
    /// has one meaning in everything that is received.
    pub header_extensions: Vec<HeaderExtensionParameters>,
    /// `encodings`, the lowest quality of a simulcast first. Default one, whose sources the sender
    /// chooses and the receiver learns from the packets.
    pub encodings: Vec<RtpEncodingParameters>,
    /// `rtcp`. An empty `cname` of a sender is chosen for it.
    pub rtcp: RtcpParameters,
}

/// `RTCRtpCodecParameters`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RtpCodecParameters {
    /// `mimeType`, such as `video/VP8`; `video/rtx` for retransmissions, `audio/red`, `video/red`,
    /// `video/ulpfec` and `video/flexfec-03` for what repairs losses otherwise.
    pub mime_type: String,
    /// `payloadType`: 0 to 63 or 96 to 127.
    pub payload_type: u8,
    /// `clockRate` in Hz.
    pub clock_rate: u32,
    /// `channels`, of sound. Default 1.
    pub channels: Option<u8>,
    /// `parameters`, written as in `a=fmtp`: those of the receiver. Of `rtx`, `apt=` and the payload
    /// type that is sent again.
    pub sdp_fmtp_line: String,
    /// `rtcpFeedback` that both sides understand. That for `rtx` and its like is that of the codec.
    pub rtcp_feedback: Vec<RtcpFeedback>,
}

/// `RTCRtcpFeedback`, such as `nack` with `pli`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RtcpFeedback {
    /// `type`: `nack`, `ccm`, `ack`, `transport-cc`, `goog-remb`; others are passed over.
    pub kind: String,
    /// `parameter`; empty for none.
    pub parameter: String,
}

impl RtcpFeedback {
    /// From what stands in `a=rtcp-fb` behind the payload type.
    pub fn from_sdp(text: &str) -> Self {
        let (kind, parameter) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
        Self {
            kind: kind.to_owned(),
            parameter: parameter.trim().to_owned(),
        }
    }

    pub(super) fn to_sdp(&self) -> String {
        format!("{} {}", self.kind, self.parameter)
            .trim()
            .to_owned()
    }
}

/// `RTCRtpEncodingParameters` of a sender, `RTCRtpDecodingParameters` of a receiver,
/// which needs the sources and the RID alone.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RtpEncodingParameters {
    /// `ssrc`: the source of the media, not 0. Default: chosen by the sender, learned by the receiver.
    pub ssrc: Option<u32>,
    /// `rtx.ssrc`: the source of the retransmissions. Default as for `ssrc`.
    pub rtx: Option<u32>,
    /// `fec.ssrc`: the source of FlexFEC. Default as for `ssrc`.
    pub fec: Option<u32>,
    /// `rid`, `active`, `maxBitrate` and the others, as the W3C has them.
    pub encoding: EncodingParameters,
}

/// `RTCRtpCapabilities`: what can be sent and received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RtpCapabilities {
    /// `codecs`, the preferred one first, each with its `preferredPayloadType`.
    pub codecs: Vec<RtpCodecParameters>,
    /// `headerExtensions`, each with its `preferredId`.
    pub header_extensions: Vec<HeaderExtensionParameters>,
}

impl RtpCapabilities {
    /// `getCapabilities` of senders and receivers.
    pub fn of(kind: Kind) -> Self {
        let (codecs, extensions) = match kind {
            Kind::Audio => (default_audio_codecs(), &AUDIO_EXTENSIONS[..]),
            Kind::Video => (default_video_codecs(), &VIDEO_EXTENSIONS[..]),
        };
        let numbered = (1..).zip(extensions);
        Self {
            codecs: codecs
                .iter()
                .flat_map(|codec| with_rtx(kind, codec))
                .collect(),
            header_extensions: numbered
                .map(|(id, own)| HeaderExtensionParameters {
                    uri: own.uri().to_owned(),
                    id,
                })
                .collect(),
        }
    }

    /// Parameters by which two sides of the same capabilities understand each other: these codecs
    /// in this order, by their encoding names in any case, with their retransmissions, under the
    /// preferred numbers.
    pub fn parameters(&self, names: &[&str]) -> RtpParameters {
        let mut codecs = Vec::new();
        for name in names {
            let is_named = |own: &&RtpCodecParameters| own.name().eq_ignore_ascii_case(name);
            for codec in self.codecs.iter().filter(is_named) {
                let apt = format!("apt={}", codec.payload_type);
                let again = self.codecs.iter().filter(|own| own.sdp_fmtp_line == apt);
                codecs.push(codec.clone());
                codecs.extend(again.cloned());
            }
        }
        RtpParameters {
            codecs,
            header_extensions: self.header_extensions.clone(),
            ..RtpParameters::default()
        }
    }
}

impl RtpCodecParameters {
    /// The encoding name: what stands behind `audio/` or `video/`.
    pub fn name(&self) -> &str {
        let parts = self.mime_type.split_once('/');
        parts.map_or(&self.mime_type, |(_, name)| name)
    }

    pub(super) fn feedback(&self) -> Feedback {
        let mut feedback = Feedback::default();
        for own in &self.rtcp_feedback {
            feedback.add(&own.to_sdp());
        }
        if feedback.ack_ccfb {
            // Where both are understood, that of RFC 8888 takes the other's place.
            feedback.transport_cc = false;
        }
        feedback
    }
}

fn with_rtx(kind: Kind, codec: &Codec) -> impl Iterator<Item = RtpCodecParameters> {
    let of = |name: &str, number: PayloadType, fmtp: String| RtpCodecParameters {
        mime_type: format!("{kind}/{name}"),
        payload_type: number.0,
        clock_rate: codec.clock_rate,
        channels: (kind == Kind::Audio).then_some(codec.channels),
        sdp_fmtp_line: fmtp,
        rtcp_feedback: Vec::new(),
    };
    let feedback = codec.feedback.names();
    let own = RtpCodecParameters {
        rtcp_feedback: feedback.map(RtcpFeedback::from_sdp).collect(),
        ..of(&codec.name, codec.payload_type, codec.fmtp.clone())
    };
    let apt = format!("apt={}", codec.payload_type);
    let rtx = codec.rtx_payload_type.map(|number| of("rtx", number, apt));
    std::iter::once(own).chain(rtx)
}
