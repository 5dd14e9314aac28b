//! Writing media sections, the same way for offers and answers.

use std::net::{IpAddr, Ipv4Addr};

use twocan_wire::ids::Mid;
use twocan_wire::sdp::{
    Attribute, Description, Direction, Extmap, Fmtp, Group, Line, Media, MediaKind, Msid, Origin,
    RtcpFeedback, Rtpmap, Sctpmap, Setup, SsrcAttribute, SsrcGroup,
};

use super::codec::{CodecTerms, RepairCodec};
use super::negotiator::Negotiator;
use super::simulcast::{self, Stream};
use super::transceiver::{Kind, Transceiver};
use super::{Config, IceParameters};

/// The port of a section whose candidates come apart (RFC 8840 §4.1.1: discard).
const PORT_DISCARD: u16 = 9;

/// What every live section of a description has in common.
pub(super) struct Common<'a> {
    pub(super) ice: &'a IceParameters,
    pub(super) setup: Setup,
    pub(super) config: &'a Config,
}

/// What an RTP section says.
pub(super) struct RtpSection<'a> {
    pub(super) kind: Kind,
    pub(super) protocol: &'a str,
    pub(super) mid: Option<&'a Mid>,
    pub(super) direction: Direction,
    pub(super) codecs: &'a [CodecTerms],
    pub(super) extensions: &'a [Extmap],
    pub(super) transceiver: &'a Transceiver,
    pub(super) rtcp_rsize: bool,
    /// Streams with a name, each way.
    pub(super) streams: &'a [Stream],
    /// Whether one such stream alone is named as a simulcast.
    pub(super) simulcast: bool,
}

/// What a section for data channels says.
pub(super) struct DataSection<'a> {
    pub(super) protocol: &'a str,
    pub(super) mid: Option<&'a Mid>,
    /// The form before RFC 8841, with the port as format.
    pub(super) legacy: bool,
}

impl Negotiator {
    /// A description without sections.
    pub(super) fn new_description(&self, bundle: Vec<Mid>) -> Description {
        let mut lines = vec![Line::Other {
            letter: 't',
            value: "0 0".into(),
        }];
        if !bundle.is_empty() {
            let group = Group {
                semantics: "BUNDLE".into(),
                mids: bundle,
            };
            lines.push(Attribute::Group(group).into());
        }
        if self.config.ice_lite {
            lines.push(Attribute::IceLite.into());
        }
        lines.push(Attribute::ExtmapAllowMixed.into());
        lines.push(Attribute::other("msid-semantic", "WMS *").into());
        Description {
            origin: Origin {
                username: "-".into(),
                session_id: self.session_id,
                session_version: self.session_version.saturating_add(1),
                // RFC 8828: no address of ours in a place where nobody needs one.
                address: "IN IP4 127.0.0.1".into(),
            },
            session_name: "-".into(),
            lines,
            media: Vec::new(),
        }
    }
}

impl Common<'_> {
    pub(super) fn rtp(&self, section: &RtpSection<'_>) -> Media {
        let kind = match section.kind {
            Kind::Audio => MediaKind::Audio,
            Kind::Video => MediaKind::Video,
        };
        let formats = section
            .codecs
            .iter()
            .flat_map(|codec| [Some(codec.payload_type), codec.rtx])
            .flatten()
            .map(|payload_type| payload_type.to_string())
            .collect();
        let mut media = empty(kind, PORT_DISCARD, section.protocol, formats);
        media.push(Attribute::other("rtcp", "9 IN IP4 0.0.0.0"));
        self.transport(&mut media, section.mid);
        for extmap in section.extensions {
            media.push(Attribute::Extmap(extmap.clone()));
        }
        media.push(Attribute::Direction(section.direction));
        if section.direction.sends() {
            for msid in msids(section.transceiver) {
                media.push(Attribute::Msid(msid));
            }
        }
        media.push(Attribute::RtcpMux);
        if section.rtcp_rsize {
            media.push(Attribute::RtcpRsize);
        }
        for codec in section.codecs {
            push_codec(&mut media, codec);
        }
        if section.codecs.iter().any(|codec| codec.feedback.ack_ccfb) {
            media.push(Attribute::RtcpFeedback(RtcpFeedback {
                payload_type: None,
                feedback: "ack ccfb".into(),
            }));
        }
        simulcast::write(&mut media, section.streams, section.simulcast);
        if section.direction.sends() {
            push_sources(&mut media, section, &self.config.cname);
        }
        media
    }

    pub(super) fn data(&self, section: &DataSection<'_>) -> Media {
        let port = self.config.sctp_port;
        let format = if section.legacy {
            port.to_string()
        } else {
            "webrtc-datachannel".to_owned()
        };
        let kind = MediaKind::Application;
        let mut media = empty(kind, PORT_DISCARD, section.protocol, vec![format]);
        self.transport(&mut media, section.mid);
        if section.legacy {
            media.push(Attribute::Sctpmap(Sctpmap {
                port,
                app: "webrtc-datachannel".into(),
                streams: Some(65_535),
            }));
        } else {
            media.push(Attribute::SctpPort(port));
        }
        media.push(Attribute::MaxMessageSize(self.config.max_message_size));
        media
    }

    fn transport(&self, media: &mut Media, mid: Option<&Mid>) {
        media.push(Attribute::IceUfrag(self.ice.username_fragment.clone()));
        media.push(Attribute::IcePwd(self.ice.password.clone()));
        media.push(Attribute::IceOptions(self.config.ice_options.clone()));
        for fingerprint in &self.config.fingerprints {
            media.push(Attribute::Fingerprint(fingerprint.clone()));
        }
        media.push(Attribute::Setup(self.setup));
        if let Some(mid) = mid {
            media.push(Attribute::Mid(mid.clone()));
        }
    }
}

/// A section that is refused or at rest (RFC 8829 §5.2.2): port 0, kept only to hold its place.
pub(super) fn rejected(
    kind: MediaKind,
    protocol: &str,
    formats: Vec<String>,
    mid: Option<&Mid>,
) -> Media {
    let mut media = empty(kind, 0, protocol, formats);
    if let Some(mid) = mid {
        media.push(Attribute::Mid(mid.clone()));
    }
    media.push(Attribute::Direction(Direction::Inactive));
    media
}

fn empty(kind: MediaKind, port: u16, protocol: &str, formats: Vec<String>) -> Media {
    Media {
        kind,
        port,
        port_count: None,
        protocol: protocol.into(),
        formats,
        lines: vec![Line::Connection(IpAddr::V4(Ipv4Addr::UNSPECIFIED))],
    }
}

/// The stream and track ids of what a transceiver sends; `-` for no stream.
pub(super) fn msids(transceiver: &Transceiver) -> impl Iterator<Item = Msid> + '_ {
    let none = transceiver.streams.is_empty().then_some("-");
    transceiver
        .streams
        .iter()
        .map(String::as_str)
        .chain(none)
        .map(|stream| Msid {
            stream: stream.into(),
            track: Some(transceiver.track_id.clone()),
        })
}

fn push_codec(media: &mut Media, codec: &CodecTerms) {
    let payload_type = codec.payload_type;
    media.push(Attribute::Rtpmap(Rtpmap {
        payload_type,
        encoding: codec.name.clone(),
        clock_rate: codec.clock_rate,
        channels: (codec.channels > 1).then_some(codec.channels),
    }));
    for name in codec.feedback.names() {
        media.push(Attribute::RtcpFeedback(RtcpFeedback {
            payload_type: Some(payload_type),
            feedback: name.into(),
        }));
    }
    if !codec.fmtp.is_empty() {
        media.push(Attribute::Fmtp(Fmtp {
            payload_type,
            parameters: codec.fmtp.clone(),
        }));
    }
    if let Some(rtx) = codec.rtx {
        media.push(Attribute::Rtpmap(Rtpmap {
            payload_type: rtx,
            encoding: "rtx".into(),
            clock_rate: codec.clock_rate,
            channels: None,
        }));
        media.push(Attribute::Fmtp(Fmtp {
            payload_type: rtx,
            parameters: format!("apt={payload_type}"),
        }));
    }
}

fn push_sources(media: &mut Media, section: &RtpSection<'_>, cname: &str) {
    let transceiver = section.transceiver;
    // Streams of a simulcast are told apart by their names alone (RFC 8853 §5.4).
    let [encoding] = transceiver.encodings() else {
        return;
    };
    let has_rtx = section.codecs.iter().any(|codec| codec.rtx.is_some());
    let is_flexfec =
        |codec: &CodecTerms| RepairCodec::from_name(&codec.name) == Some(RepairCodec::Flexfec);
    let has_fec = section.codecs.iter().any(is_flexfec);
    let mut ssrcs = vec![encoding.ssrc];
    // RFC 5956 §4.3 for the second.
    let groups = [
        ("FID", encoding.rtx, has_rtx),
        ("FEC-FR", transceiver.fec_source(), has_fec),
    ];
    for (semantics, repair, _) in groups.into_iter().filter(|(.., has)| *has) {
        ssrcs.push(repair);
        media.push(Attribute::SsrcGroup(SsrcGroup {
            semantics: semantics.into(),
            ssrcs: vec![encoding.ssrc, repair],
        }));
    }
    let msid = msids(transceiver).next().map(|msid| msid.to_string());
    for ssrc in ssrcs {
        for (name, value) in [("cname", Some(cname.to_owned())), ("msid", msid.clone())] {
            media.push(Attribute::Ssrc(SsrcAttribute {
                ssrc,
                name: name.into(),
                value,
            }));
        }
    }
}
