//! Transceivers: what the application wants of one media section.

use std::fmt;

use twocan_wire::ids::{PayloadType, Rid, Ssrc};
use twocan_wire::rtp::ExtensionKind;
use twocan_wire::sdp::{Direction, Extmap, RidRestrictions};

use super::codec::{CodecTerms, Feedback, link_red};
use super::negotiator::Config;

/// Names a transceiver for the life of its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TransceiverId(pub u32);

/// What a transceiver carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Sound.
    Audio,
    /// Pictures.
    Video,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Audio => "audio",
            Self::Video => "video",
        })
    }
}

/// Who made a transceiver, which decides whether a remote section may take it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Maker {
    /// `addTrack`: a remote section may take it (RFC 8829 §5.10).
    Track,
    /// `addTransceiver`: it waits for a section of ours.
    Application,
    /// A remote offer: it goes when that offer is rolled back.
    RemoteOffer,
}

/// `RTCRtpCodec` (W3C webrtc-pc §5.2.10), as `setCodecPreferences` takes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CodecPreference {
    /// The encoding name, in any case; `rtx` lets the others keep their retransmissions.
    pub name: String,
    /// The RTP clock rate in Hz.
    pub clock_rate: u32,
    /// Channels; 1 for video.
    pub channels: u8,
    /// Format parameters as in `a=fmtp`; empty for none.
    pub fmtp: String,
}

impl CodecPreference {
    fn terms(&self) -> CodecTerms {
        CodecTerms {
            payload_type: PayloadType(0),
            name: self.name.clone(),
            clock_rate: self.clock_rate,
            channels: self.channels,
            fmtp: self.fmtp.clone(),
            feedback: Feedback::default(),
            rtx: None,
        }
    }
}

/// A transceiver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transceiver {
    pub(super) id: TransceiverId,
    pub(super) kind: Kind,
    pub(super) maker: Maker,
    pub(super) direction: Direction,
    pub(super) current_direction: Option<Direction>,
    pub(super) stopping: bool,
    pub(super) has_track: bool,
    pub(super) ever_sent: bool,
    pub(super) streams: Vec<String>,
    /// `setCodecPreferences`: the only codecs, the preferred one first; empty for all.
    pub(super) preferences: Vec<CodecPreference>,
    /// `setHeaderExtensionsToNegotiate`: those that are not for both ways, `None` for not at all.
    pub(super) extensions: Vec<(ExtensionKind, Option<Direction>)>,
    pub(super) track_id: String,
    /// The source of FlexFEC, where a single encoding is sent.
    pub(super) fec: Ssrc,
    /// At least one.
    pub(super) encodings: Vec<SendEncoding>,
}

/// Encodings of one transceiver at most; more are cut off from the end, as W3C has it. The header
/// extension that tells of layers has room for so many.
pub const ENCODINGS_MAX: usize = 4;

/// A stream that a transceiver sends: the only one, or one quality of a simulcast.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SendEncoding {
    /// Its name, where it has one.
    pub rid: Option<Rid>,
    /// The source of the media.
    pub ssrc: Ssrc,
    /// The source of its retransmissions.
    pub rtx: Ssrc,
    /// Whether it is to be sent.
    pub active: bool,
    /// What the other side's `a=rid` restricts it to.
    pub restrictions: RidRestrictions,
}

impl SendEncoding {
    pub(super) fn new(rid: Option<Rid>, ssrc: Ssrc, rtx: Ssrc) -> Self {
        Self {
            rid,
            ssrc,
            rtx,
            active: true,
            restrictions: RidRestrictions::default(),
        }
    }
}

impl Transceiver {
    /// Its name.
    pub fn id(&self) -> TransceiverId {
        self.id
    }

    /// What it carries.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// What the application wants.
    pub fn direction(&self) -> Direction {
        self.direction
    }

    /// What was agreed last; `None` before anything was.
    pub fn current_direction(&self) -> Option<Direction> {
        self.current_direction
    }

    /// Whether `stop` was called; the next negotiation removes it.
    pub fn is_stopping(&self) -> bool {
        self.stopping
    }

    /// Whether a local track is attached.
    pub fn has_track(&self) -> bool {
        self.has_track
    }

    /// Whether its preferences name a codec.
    pub(super) fn prefers(&self, codec: &CodecTerms) -> bool {
        let mut wanted = self.preferences.iter().map(CodecPreference::terms);
        wanted.any(|own| codec.is_same_codec(&own))
    }

    /// The codecs that its preferences leave of `codecs`, in their order (W3C webrtc-pc §5.4.1).
    pub(super) fn preferred(&self, config: &Config, codecs: Vec<CodecTerms>) -> Vec<CodecTerms> {
        if self.preferences.is_empty() {
            return config.usual(self.kind, codecs);
        }
        let repaired = self
            .preferences
            .iter()
            .any(|wanted| wanted.name.eq_ignore_ascii_case("rtx"));
        let mut kept: Vec<CodecTerms> = Vec::new();
        for wanted in self.preferences.iter().map(CodecPreference::terms) {
            let same = codecs.iter().filter(|codec| codec.is_same_codec(&wanted));
            for codec in same {
                let is_known = kept
                    .iter()
                    .any(|own| own.payload_type == codec.payload_type);
                if !is_known {
                    kept.push(CodecTerms {
                        rtx: codec.rtx.filter(|_| repaired),
                        ..codec.clone()
                    });
                }
            }
        }
        link_red(&mut kept);
        kept
    }

    /// The extensions that are negotiated at all.
    pub(super) fn extension_kinds(&self, config: &Config) -> Vec<ExtensionKind> {
        let (usual, stopped) = config.extensions(self.kind);
        let asked = |kind: &&ExtensionKind| {
            let mut stated = self.extensions.iter();
            let is_asked = stated.any(|(own, wanted)| own == *kind && wanted.is_some());
            is_asked && !usual.contains(kind)
        };
        let asked = stopped.iter().filter(asked);
        usual.iter().chain(asked).copied().collect()
    }

    /// What is left of `extensions` when the application has its say (webrtc-extensions, "RTP Header
    /// Extension Control"); their directions are ours.
    pub(super) fn permitted(&self, extensions: Vec<Extmap>) -> Vec<Extmap> {
        if self.extensions.is_empty() {
            return extensions;
        }
        let permit = |mut extmap: Extmap| {
            let own = ExtensionKind::from_uri(&extmap.uri);
            let mut stated = self.extensions.iter();
            let Some((_, wanted)) = stated.find(|(kind, _)| Some(*kind) == own) else {
                return Some(extmap);
            };
            let both = extmap.direction.unwrap_or(Direction::SendRecv);
            match both.intersect((*wanted)?) {
                Direction::Inactive => None,
                Direction::SendRecv => Some(extmap),
                one => {
                    extmap.direction = Some(one);
                    Some(extmap)
                }
            }
        };
        extensions.into_iter().filter_map(permit).collect()
    }

    /// The ids of the streams that our track is part of.
    pub fn streams(&self) -> &[String] {
        &self.streams
    }

    /// The id of our track in descriptions.
    pub fn track_id(&self) -> &str {
        &self.track_id
    }

    /// What we send: one stream, or several of a simulcast in the order of the application.
    pub fn encodings(&self) -> &[SendEncoding] {
        &self.encodings
    }

    /// The source of the FlexFEC for what we send.
    pub fn fec_source(&self) -> Ssrc {
        self.fec
    }
}
