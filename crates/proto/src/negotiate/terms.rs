//! What a description says, section by section, whoever wrote it.

use std::collections::BTreeMap;

use twocan_wire::candidate::Candidate;
use twocan_wire::ids::{Mid, PayloadType, Rid, Ssrc};
use twocan_wire::sdp::{
    Attribute, Description, Direction, Extmap, Fingerprint, MEDIA_MAX, Media, MediaKind,
    RidDirection, RidLine, Setup, Simulcast, fmtp_parameter,
};

use super::codec::{CodecTerms, Feedback};
use super::{IceParameters, Kind};

/// Media sections, groups and session-wide facts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Terms {
    pub(super) bundles: Vec<Vec<Mid>>,
    pub(super) ice_lite: bool,
    pub(super) sections: Vec<Section>,
}

/// One media section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Section {
    pub(super) kind: SectionKind,
    pub(super) mid: Option<Mid>,
    pub(super) rejected: bool,
    pub(super) protocol: String,
    pub(super) direction: Direction,
    pub(super) codecs: Vec<CodecTerms>,
    pub(super) extensions: Vec<Extmap>,
    pub(super) rtcp_mux: bool,
    pub(super) rtcp_rsize: bool,
    /// Ids of streams, and of the track.
    pub(super) streams: Vec<String>,
    pub(super) track: Option<String>,
    /// Whether it is of several tracks, as plan B had it.
    pub(super) is_plan_b: bool,
    pub(super) sources: Vec<Source>,
    pub(super) rids: Vec<RidLine>,
    pub(super) simulcast: Option<Simulcast>,
    pub(super) ice: Option<IceParameters>,
    pub(super) trickle: bool,
    /// `a=ice-options:renomination`.
    pub(super) renomination: bool,
    pub(super) candidates: Vec<Candidate>,
    pub(super) end_of_candidates: bool,
    pub(super) fingerprints: Vec<Fingerprint>,
    pub(super) setup: Option<Setup>,
    pub(super) sctp_port: Option<u16>,
    pub(super) max_message_size: Option<u64>,
    pub(super) legacy_sctp: bool,
}

/// What a section is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SectionKind {
    Rtp(Kind),
    Data,
    Unknown,
}

/// A source that a section names, with the source of its retransmissions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The media.
    pub ssrc: Ssrc,
    /// Its retransmissions, `a=ssrc-group:FID`.
    pub rtx: Option<Ssrc>,
    /// Its FlexFEC, `a=ssrc-group:FEC-FR`.
    pub fec: Option<Ssrc>,
    /// The canonical name, where given.
    pub cname: Option<String>,
}

/// Sources kept of a section. Three simulcast layers with retransmission need six; the rest of a
/// longer list is ignored, those streams can still be found by MID and RID.
const SOURCES_MAX: usize = 32;

/// `a=rid` lines kept of a section: a few qualities each way, with alternatives.
const RIDS_MAX: usize = 32;

/// Candidates kept of a section; the ICE agent has a smaller limit of its own.
const CANDIDATES_MAX: usize = 128;

/// Fingerprints kept of a section: aiortc states three, one for each hash that is in use.
const FINGERPRINTS_MAX: usize = 16;

/// Extensions kept of a section. Chromium offers 13; a list at session level counts in every
/// section, so a long one would be copied hundreds of times.
const EXTENSIONS_MAX: usize = 64;

impl Terms {
    pub(super) fn read(description: &Description) -> Self {
        let mut bundles = Vec::new();
        let mut ice_lite = false;
        let mut named = 0;
        for attribute in description.attributes() {
            match attribute {
                Attribute::Group(group) if group.semantics == "BUNDLE" => {
                    // No more than there can be sections; the rest names none.
                    let left = MEDIA_MAX.saturating_sub(named);
                    let mids: Vec<Mid> = group.mids.iter().take(left).cloned().collect();
                    named += mids.len();
                    if !mids.is_empty() {
                        bundles.push(mids);
                    }
                }
                Attribute::IceLite => ice_lite = true,
                _ => {}
            }
        }
        let media = description.media.iter();
        Self {
            bundles,
            ice_lite,
            sections: media.map(|media| section(description, media)).collect(),
        }
    }
}

fn section(description: &Description, media: &Media) -> Section {
    let mut section = Section {
        kind: match media.kind {
            MediaKind::Audio if is_rtp(&media.protocol) => SectionKind::Rtp(Kind::Audio),
            MediaKind::Video if is_rtp(&media.protocol) => SectionKind::Rtp(Kind::Video),
            MediaKind::Application if is_sctp(&media.protocol) => SectionKind::Data,
            _ => SectionKind::Unknown,
        },
        mid: None,
        rejected: media.is_rejected(),
        protocol: media.protocol.clone(),
        direction: Direction::SendRecv,
        codecs: Vec::new(),
        extensions: Vec::new(),
        rtcp_mux: false,
        rtcp_rsize: false,
        streams: Vec::new(),
        track: None,
        is_plan_b: false,
        sources: Vec::new(),
        rids: Vec::new(),
        simulcast: None,
        ice: None,
        trickle: false,
        renomination: false,
        candidates: Vec::new(),
        end_of_candidates: false,
        fingerprints: Vec::new(),
        setup: None,
        sctp_port: None,
        max_message_size: None,
        legacy_sctp: media.protocol.eq_ignore_ascii_case("DTLS/SCTP"),
    };
    let mut reading = Reading::default();
    // Session level first, so that the section's own values win (RFC 8866 §5.13).
    for attribute in description.attributes() {
        section.take_inherited(attribute, &mut reading);
    }
    reading.own_fingerprints = false;
    for attribute in media.attributes() {
        section.take_inherited(attribute, &mut reading);
        section.take_own(attribute, &mut reading);
    }
    if let (Some(username_fragment), Some(password)) = (reading.ufrag, reading.pwd) {
        section.ice = Some(IceParameters {
            username_fragment: username_fragment.into(),
            password: password.into(),
        });
    }
    if section.streams.is_empty() && section.track.is_none() {
        section.is_plan_b = reading.several_tracks;
        section.streams = reading.ssrc_stream.into_iter().map(Into::into).collect();
        section.track = reading.ssrc_track.map(Into::into);
    }
    section.streams.retain(|stream| stream != "-");
    section.sources = sources(&reading.sources, &reading.fid, &reading.fec_fr);
    section.codecs = reading.codecs.finish(&media.formats);
    section
}

/// Values on their way into a section.
#[derive(Default)]
struct Reading<'a> {
    ufrag: Option<&'a str>,
    pwd: Option<&'a str>,
    own_fingerprints: bool,
    sources: BTreeMap<Ssrc, Option<&'a str>>,
    fid: Vec<(Ssrc, Ssrc)>,
    fec_fr: Vec<(Ssrc, Ssrc)>,
    ssrc_stream: Option<&'a str>,
    ssrc_track: Option<&'a str>,
    /// Whether sources belong to different tracks.
    several_tracks: bool,
    codecs: CodecReading<'a>,
}

impl Section {
    /// The names of the streams that go a way, seen by the writer.
    pub(super) fn rids(&self, direction: RidDirection) -> impl Iterator<Item = &Rid> {
        let lines = self.rids.iter();
        let lines = lines.filter(move |line| line.direction == direction);
        lines.map(|line| &line.rid)
    }

    /// Attributes that a section inherits from the session.
    fn take_inherited<'a>(&mut self, attribute: &'a Attribute, reading: &mut Reading<'a>) {
        match attribute {
            Attribute::IceUfrag(ufrag) => reading.ufrag = Some(ufrag),
            Attribute::IcePwd(pwd) => reading.pwd = Some(pwd),
            Attribute::IceOptions(options) => {
                let has = |name: &str| options.iter().any(|option| option == name);
                (self.trickle, self.renomination) = (has("trickle"), has("renomination"));
            }
            Attribute::Fingerprint(fingerprint) => {
                if !reading.own_fingerprints {
                    self.fingerprints.clear();
                    reading.own_fingerprints = true;
                }
                if self.fingerprints.len() < FINGERPRINTS_MAX {
                    self.fingerprints.push(fingerprint.clone());
                }
            }
            Attribute::Setup(setup) => self.setup = Some(*setup),
            Attribute::Direction(direction) => self.direction = *direction,
            Attribute::Extmap(extmap) if self.extensions.len() < EXTENSIONS_MAX => {
                self.extensions.push(extmap.clone());
            }
            _ => {}
        }
    }

    fn take_own<'a>(&mut self, attribute: &'a Attribute, reading: &mut Reading<'a>) {
        match attribute {
            Attribute::Mid(mid) if self.mid.is_none() => self.mid = Some(mid.clone()),
            Attribute::RtcpMux | Attribute::RtcpMuxOnly => self.rtcp_mux = true,
            Attribute::RtcpRsize => self.rtcp_rsize = true,
            Attribute::Candidate(candidate) if self.candidates.len() < CANDIDATES_MAX => {
                self.candidates.push(candidate.clone());
            }
            Attribute::EndOfCandidates => self.end_of_candidates = true,
            Attribute::Msid(msid) => {
                self.streams.push(msid.stream.clone());
                self.track = self.track.take().or_else(|| msid.track.clone());
            }
            Attribute::Ssrc(source) => {
                let seat = reading.sources.entry(source.ssrc).or_default();
                match source.name.as_str() {
                    "cname" => *seat = source.value.as_deref(),
                    "msid" => {
                        let mut words = source.value.as_deref().unwrap_or("").split(' ');
                        let (stream, track) = (words.next(), words.next());
                        if reading.ssrc_stream.is_none() {
                            (reading.ssrc_stream, reading.ssrc_track) = (stream, track);
                        }
                        reading.several_tracks |= reading.ssrc_track != track;
                    }
                    _ => {}
                }
            }
            Attribute::SsrcGroup(group) => {
                if let [media, repair] = group.ssrcs[..] {
                    match group.semantics.as_str() {
                        "FID" => reading.fid.push((media, repair)),
                        "FEC-FR" => reading.fec_fr.push((media, repair)),
                        _ => {}
                    }
                }
            }
            Attribute::Rid(rid) if self.rids.len() < RIDS_MAX => self.rids.push(rid.clone()),
            Attribute::Simulcast(simulcast) => self.simulcast = Some(simulcast.clone()),
            Attribute::SctpPort(port) => self.sctp_port = Some(*port),
            Attribute::MaxMessageSize(size) => self.max_message_size = Some(*size),
            Attribute::Sctpmap(sctpmap) => {
                self.sctp_port = Some(sctpmap.port);
                self.legacy_sctp = true;
            }
            other => reading.codecs.take(other),
        }
    }
}

/// Sources in the order of their groups, then those without retransmission.
fn sources(
    named: &BTreeMap<Ssrc, Option<&str>>,
    fid: &[(Ssrc, Ssrc)],
    fec_fr: &[(Ssrc, Ssrc)],
) -> Vec<Source> {
    let cname = |ssrc: &Ssrc| named.get(ssrc).copied().flatten().map(Into::into);
    let rtx: BTreeMap<Ssrc, Ssrc> = fid.iter().map(|(media, rtx)| (*media, *rtx)).collect();
    let fec: BTreeMap<Ssrc, Ssrc> = fec_fr.iter().copied().collect();
    let repairs: Vec<Ssrc> = {
        let mut repairs: Vec<Ssrc> = rtx.values().chain(fec.values()).copied().collect();
        repairs.sort_unstable();
        repairs
    };
    let alone = named
        .keys()
        .filter(|ssrc| !rtx.contains_key(ssrc) && repairs.binary_search(ssrc).is_err());
    fid.iter()
        .map(|(media, _)| media)
        .chain(alone)
        .take(SOURCES_MAX)
        .map(|ssrc| Source {
            ssrc: *ssrc,
            rtx: rtx.get(ssrc).copied(),
            fec: fec.get(ssrc).copied(),
            cname: cname(ssrc),
        })
        .collect()
}

/// The lines about payload types, each found once.
#[derive(Default)]
struct CodecReading<'a> {
    names: BTreeMap<PayloadType, (&'a str, u32, u8)>,
    fmtp: BTreeMap<PayloadType, &'a str>,
    feedback: BTreeMap<PayloadType, Feedback>,
    feedback_for_all: Feedback,
}

impl<'a> CodecReading<'a> {
    fn take(&mut self, attribute: &'a Attribute) {
        match attribute {
            Attribute::Rtpmap(rtpmap) => {
                let channels = rtpmap.channels.unwrap_or(1);
                let value = (rtpmap.encoding.as_str(), rtpmap.clock_rate, channels);
                self.names.insert(rtpmap.payload_type, value);
            }
            Attribute::Fmtp(fmtp) => {
                self.fmtp.insert(fmtp.payload_type, &fmtp.parameters);
            }
            Attribute::RtcpFeedback(line) => match line.payload_type {
                Some(pt) => self.feedback.entry(pt).or_default().add(&line.feedback),
                None => self.feedback_for_all.add(&line.feedback),
            },
            _ => {}
        }
    }

    /// The codecs in the order of the `m=` line, retransmissions beside what they repeat.
    fn finish(mut self, formats: &[String]) -> Vec<CodecTerms> {
        // RFC 3551 §6: numbers that need no rtpmap.
        for (number, own) in [
            (0, ("PCMU", 8000, 1)),
            (8, ("PCMA", 8000, 1)),
            (9, ("G722", 8000, 1)),
            (10, ("L16", 44_100, 2)),
            (11, ("L16", 44_100, 1)),
            (13, ("CN", 8000, 1)),
        ] {
            self.names.entry(PayloadType(number)).or_insert(own);
        }
        let all = self.feedback_for_all;
        let mut rtx = BTreeMap::new();
        let mut codecs: Vec<CodecTerms> = Vec::new();
        let mut seen = [false; 128];
        for format in formats {
            let Some(number) = format.parse::<u8>().ok().filter(|number| *number < 128) else {
                continue;
            };
            let payload_type = PayloadType(number);
            let Some(&(name, clock_rate, channels)) = self.names.get(&payload_type) else {
                continue;
            };
            if std::mem::replace(&mut seen[usize::from(number)], true) {
                continue;
            }
            let fmtp = self.fmtp.get(&payload_type).copied().unwrap_or("");
            if name.eq_ignore_ascii_case("rtx") {
                let apt = fmtp_parameter(fmtp, "apt").and_then(|apt| apt.parse().ok());
                if let Some(apt) = apt {
                    rtx.entry(PayloadType(apt)).or_insert(payload_type);
                }
                continue;
            }
            let own = self.feedback.get(&payload_type).copied();
            let own = own.unwrap_or_default();
            codecs.push(CodecTerms {
                payload_type,
                name: name.into(),
                clock_rate,
                channels,
                fmtp: fmtp.into(),
                feedback: Feedback {
                    nack: own.nack || all.nack,
                    nack_pli: own.nack_pli || all.nack_pli,
                    ccm_fir: own.ccm_fir || all.ccm_fir,
                    transport_cc: own.transport_cc || all.transport_cc,
                    goog_remb: own.goog_remb || all.goog_remb,
                    ack_ccfb: own.ack_ccfb || all.ack_ccfb,
                },
                rtx: None,
            });
        }
        for codec in &mut codecs {
            codec.rtx = rtx.get(&codec.payload_type).copied();
        }
        codecs
    }
}

/// RFC 8829 §5.1.2: the profiles that stand for RTP over DTLS-SRTP, old spellings included.
fn is_rtp(protocol: &str) -> bool {
    [
        "UDP/TLS/RTP/SAVPF",
        "TCP/TLS/RTP/SAVPF",
        "UDP/TLS/RTP/SAVP",
        "RTP/SAVPF",
        "RTP/SAVP",
    ]
    .iter()
    .any(|name| protocol.eq_ignore_ascii_case(name))
}

fn is_sctp(protocol: &str) -> bool {
    ["UDP/DTLS/SCTP", "TCP/DTLS/SCTP", "DTLS/SCTP"]
        .iter()
        .any(|name| protocol.eq_ignore_ascii_case(name))
}
