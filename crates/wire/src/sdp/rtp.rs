//! Attributes about RTP streams.

use core::fmt;

use super::error::SdpErrorReason;
use crate::ids::{PayloadType, Rid, Ssrc};

/// Which way media flows, seen by whoever wrote the description (RFC 8866 §6.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    /// Both ways.
    SendRecv,
    /// Only out.
    SendOnly,
    /// Only in.
    RecvOnly,
    /// Neither.
    Inactive,
}

impl Direction {
    /// From whether the writer sends and receives.
    pub const fn new(sends: bool, receives: bool) -> Self {
        match (sends, receives) {
            (true, true) => Self::SendRecv,
            (true, false) => Self::SendOnly,
            (false, true) => Self::RecvOnly,
            (false, false) => Self::Inactive,
        }
    }

    /// Whether the writer sends.
    pub const fn sends(self) -> bool {
        matches!(self, Self::SendRecv | Self::SendOnly)
    }

    /// Whether the writer receives.
    pub const fn receives(self) -> bool {
        matches!(self, Self::SendRecv | Self::RecvOnly)
    }

    /// The same flow seen from the other side.
    #[must_use]
    pub const fn reversed(self) -> Self {
        Self::new(self.receives(), self.sends())
    }

    /// What both allow, both seen from the same side.
    #[must_use]
    pub const fn intersect(self, other: Self) -> Self {
        Self::new(
            self.sends() && other.sends(),
            self.receives() && other.receives(),
        )
    }

    /// The attribute's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SendRecv => "sendrecv",
            Self::SendOnly => "sendonly",
            Self::RecvOnly => "recvonly",
            Self::Inactive => "inactive",
        }
    }

    pub(super) fn parse(name: &str) -> Option<Self> {
        match name {
            "sendrecv" => Some(Self::SendRecv),
            "sendonly" => Some(Self::SendOnly),
            "recvonly" => Some(Self::RecvOnly),
            "inactive" => Some(Self::Inactive),
            _ => None,
        }
    }
}

fn payload_type(word: &str) -> Option<PayloadType> {
    word.parse().ok().filter(|pt| *pt < 128).map(PayloadType)
}

/// What a payload type means, `a=rtpmap` (RFC 8866 §6.6).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rtpmap {
    /// The payload type.
    pub payload_type: PayloadType,
    /// The encoding name; case does not matter.
    pub encoding: String,
    /// The RTP clock rate in Hz.
    pub clock_rate: u32,
    /// Audio channels, where given; 1 is meant where it is not.
    pub channels: Option<u8>,
}

impl Rtpmap {
    pub(super) fn parse(value: &str) -> Result<Self, SdpErrorReason> {
        let parse = || {
            let (pt, encoding) = value.trim().split_once(' ')?;
            let mut parts = encoding.trim().split('/');
            let name = parts.next().filter(|name| !name.is_empty())?;
            let clock_rate = parts.next()?.parse().ok()?;
            let channels = match parts.next() {
                Some(text) => Some(text.parse().ok()?),
                None => None,
            };
            Some(Self {
                payload_type: payload_type(pt)?,
                encoding: name.into(),
                clock_rate,
                channels,
            })
        };
        parse().ok_or(SdpErrorReason::BadRtpmap)
    }
}

impl fmt::Display for Rtpmap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {}/{}",
            self.payload_type, self.encoding, self.clock_rate
        )?;
        match self.channels {
            Some(channels) => write!(f, "/{channels}"),
            None => Ok(()),
        }
    }
}

/// The parameters of a payload type, `a=fmtp` (RFC 8866 §6.15).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fmtp {
    /// The payload type.
    pub payload_type: PayloadType,
    /// The parameters as they stand; [`fmtp_parameters`](super::fmtp_parameters) splits them.
    pub parameters: String,
}

impl Fmtp {
    pub(super) fn parse(value: &str) -> Result<Self, SdpErrorReason> {
        let (pt, parameters) = value
            .trim()
            .split_once(' ')
            .ok_or(SdpErrorReason::BadFmtp)?;
        Ok(Self {
            payload_type: payload_type(pt).ok_or(SdpErrorReason::BadFmtp)?,
            parameters: parameters.trim().into(),
        })
    }
}

impl fmt::Display for Fmtp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.payload_type, self.parameters)
    }
}

/// A kind of feedback that a payload type may get, `a=rtcp-fb` (RFC 4585 §4.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RtcpFeedback {
    /// The payload type, or `None` for all (`*`).
    pub payload_type: Option<PayloadType>,
    /// The kind with its parameters, for example `nack pli`.
    pub feedback: String,
}

impl RtcpFeedback {
    pub(super) fn parse(value: &str) -> Result<Self, SdpErrorReason> {
        let parse = || {
            let (pt, feedback) = value.trim().split_once(' ')?;
            let payload_type = match pt {
                "*" => None,
                _ => Some(payload_type(pt)?),
            };
            Some(Self {
                payload_type,
                feedback: feedback.trim().into(),
            })
        };
        parse().ok_or(SdpErrorReason::BadRtcpFeedback)
    }
}

impl fmt::Display for RtcpFeedback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.payload_type {
            Some(pt) => write!(f, "{pt} {}", self.feedback),
            None => write!(f, "* {}", self.feedback),
        }
    }
}

/// The number of an RTP header extension, `a=extmap` (RFC 8285 §5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extmap {
    /// 1 to 255, or 4096 to 4351 for an offer's surplus.
    pub id: u16,
    /// Which way it is used, where given; both ways otherwise.
    pub direction: Option<Direction>,
    /// The name of the extension.
    pub uri: String,
    /// Its own attributes, where given.
    pub attributes: Option<String>,
}

impl Extmap {
    pub(super) fn parse(value: &str) -> Result<Self, SdpErrorReason> {
        let parse = || {
            let (id, rest) = value.trim().split_once(' ')?;
            let (id, direction) = match id.split_once('/') {
                Some((id, direction)) => (id, Some(Direction::parse(direction)?)),
                None => (id, None),
            };
            let id = id
                .parse()
                .ok()
                .filter(|id| matches!(id, 1..=255 | 4096..=4351))?;
            let rest = rest.trim();
            let (uri, attributes) = match rest.split_once(' ') {
                Some((uri, attributes)) => (uri, Some(attributes.trim().into())),
                None => (rest, None),
            };
            (!uri.is_empty()).then(|| Self {
                id,
                direction,
                uri: uri.into(),
                attributes,
            })
        };
        parse().ok_or(SdpErrorReason::BadExtmap)
    }
}

impl fmt::Display for Extmap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.id)?;
        if let Some(direction) = self.direction {
            write!(f, "/{}", direction.as_str())?;
        }
        write!(f, " {}", self.uri)?;
        match &self.attributes {
            Some(attributes) => write!(f, " {attributes}"),
            None => Ok(()),
        }
    }
}

/// The stream and track that a section's media belongs to, `a=msid` (RFC 8830 §2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Msid {
    /// The id of the media stream, `-` for none.
    pub stream: String,
    /// The id of the track, where given.
    pub track: Option<String>,
}

impl Msid {
    pub(super) fn parse(value: &str) -> Result<Self, SdpErrorReason> {
        let mut words = value.split_ascii_whitespace();
        Ok(Self {
            stream: words.next().ok_or(SdpErrorReason::BadMsid)?.into(),
            track: words.next().map(Into::into),
        })
    }
}

impl fmt::Display for Msid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.stream)?;
        match &self.track {
            Some(track) => write!(f, " {track}"),
            None => Ok(()),
        }
    }
}

/// A fact about a source, `a=ssrc` (RFC 5576 §4.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SsrcAttribute {
    /// The source.
    pub ssrc: Ssrc,
    /// The name of the fact, for example `cname`.
    pub name: String,
    /// Its value, where given.
    pub value: Option<String>,
}

impl SsrcAttribute {
    pub(super) fn parse(value: &str) -> Result<Self, SdpErrorReason> {
        let parse = || {
            let (ssrc, fact) = value.trim().split_once(' ')?;
            let ssrc = Ssrc(ssrc.parse().ok()?);
            let (name, value) = match fact.split_once(':') {
                Some((name, value)) => (name, Some(value.into())),
                None => (fact, None),
            };
            let name = name.trim();
            (!name.is_empty()).then(|| Self {
                ssrc,
                name: name.into(),
                value,
            })
        };
        parse().ok_or(SdpErrorReason::BadSsrc)
    }
}

impl fmt::Display for SsrcAttribute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.ssrc, self.name)?;
        match &self.value {
            Some(value) => write!(f, ":{value}"),
            None => Ok(()),
        }
    }
}

/// Sources that belong together, `a=ssrc-group` (RFC 5576 §4.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SsrcGroup {
    /// `FID` for a stream and its retransmissions, `SIM`, `FEC-FR` and so on.
    pub semantics: String,
    /// The sources, in order.
    pub ssrcs: Vec<Ssrc>,
}

impl SsrcGroup {
    pub(super) fn parse(value: &str) -> Result<Self, SdpErrorReason> {
        let mut words = value.split_ascii_whitespace();
        let semantics = words.next().ok_or(SdpErrorReason::BadSsrcGroup)?.into();
        let ssrcs = words
            .map(|word| word.parse().map(Ssrc))
            .collect::<Result<_, _>>()
            .map_err(|_| SdpErrorReason::BadSsrcGroup)?;
        Ok(Self { semantics, ssrcs })
    }
}

impl fmt::Display for SsrcGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.semantics)?;
        self.ssrcs.iter().try_for_each(|ssrc| write!(f, " {ssrc}"))
    }
}

/// Which way the stream of an `a=rid` goes, seen by the writer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RidDirection {
    /// The writer sends it.
    Send,
    /// The writer receives it.
    Recv,
}

/// A stream within a section, `a=rid` (RFC 8851 §4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RidLine {
    /// Its identification.
    pub rid: Rid,
    /// Which way it goes.
    pub direction: RidDirection,
    /// Payload types and restrictions as they stand, where given, to be read by
    /// [`RidRestrictions::parse`](super::RidRestrictions::parse).
    pub restrictions: Option<String>,
}

pub(super) fn rid(word: &str) -> Option<Rid> {
    // RFC 8851 §10 as amended by erratum 7132 leaves letters and digits; libwebrtc also takes
    // '-' and '_', which RFC 8851 had named.
    let valid = !word.is_empty()
        && word
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    valid.then(|| Rid::from(word))
}

impl RidLine {
    pub(super) fn parse(value: &str) -> Result<Self, SdpErrorReason> {
        let parse = || {
            let mut words = value.trim().splitn(3, ' ');
            let rid = rid(words.next()?)?;
            let direction = match words.next()? {
                "send" => RidDirection::Send,
                "recv" => RidDirection::Recv,
                _ => return None,
            };
            Some(Self {
                rid,
                direction,
                restrictions: words.next().map(|text| text.trim().into()),
            })
        };
        parse().ok_or(SdpErrorReason::BadRid)
    }
}

impl fmt::Display for RidLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let direction = match self.direction {
            RidDirection::Send => "send",
            RidDirection::Recv => "recv",
        };
        write!(f, "{} {direction}", self.rid)?;
        match &self.restrictions {
            Some(restrictions) => write!(f, " {restrictions}"),
            None => Ok(()),
        }
    }
}

/// Streams of one source at several qualities, `a=simulcast` (RFC 8853 §5.1).
///
/// Each element of a list is one simulcast stream with its alternatives, the best liked first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Simulcast {
    /// What the writer sends.
    pub send: Vec<Vec<SimulcastRid>>,
    /// What the writer receives.
    pub recv: Vec<Vec<SimulcastRid>>,
}

/// One alternative of a simulcast stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SimulcastRid {
    /// The stream.
    pub rid: Rid,
    /// Whether it starts paused (`~`).
    pub paused: bool,
}

impl Simulcast {
    /// Whether a value is of the form before draft 14 of RFC 8853, `send rid=a;b` or `recv pt=97`,
    /// which says nothing to us.
    pub(super) fn is_older_form(value: &str) -> bool {
        let mut lists = value.split_ascii_whitespace().skip(1).step_by(2);
        lists.any(|list| list.starts_with("rid=") || list.starts_with("pt="))
    }

    pub(super) fn parse(value: &str) -> Result<Self, SdpErrorReason> {
        let mut simulcast = Self::default();
        let mut words = value.split_ascii_whitespace();
        while let Some(word) = words.next() {
            let list = words.next().ok_or(SdpErrorReason::BadSimulcast)?;
            let list = Self::parse_list(list).ok_or(SdpErrorReason::BadSimulcast)?;
            let seat = match word {
                "send" => &mut simulcast.send,
                "recv" => &mut simulcast.recv,
                _ => return Err(SdpErrorReason::BadSimulcast),
            };
            if !seat.is_empty() {
                return Err(SdpErrorReason::BadSimulcast);
            }
            *seat = list;
        }
        if simulcast == Self::default() {
            return Err(SdpErrorReason::BadSimulcast);
        }
        Ok(simulcast)
    }

    fn parse_list(list: &str) -> Option<Vec<Vec<SimulcastRid>>> {
        list.split(';')
            .map(|alternatives| {
                alternatives
                    .split(',')
                    .map(|word| {
                        let (paused, word) = match word.strip_prefix('~') {
                            Some(word) => (true, word),
                            None => (false, word),
                        };
                        rid(word).map(|rid| SimulcastRid { rid, paused })
                    })
                    .collect()
            })
            .collect()
    }
}

impl fmt::Display for Simulcast {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut space = "";
        for (word, list) in [("send", &self.send), ("recv", &self.recv)] {
            if list.is_empty() {
                continue;
            }
            write!(f, "{space}{word} ")?;
            space = " ";
            for (index, alternatives) in list.iter().enumerate() {
                if index > 0 {
                    f.write_str(";")?;
                }
                for (index, alternative) in alternatives.iter().enumerate() {
                    let comma = if index > 0 { "," } else { "" };
                    let tilde = if alternative.paused { "~" } else { "" };
                    write!(f, "{comma}{tilde}{}", alternative.rid)?;
                }
            }
        }
        Ok(())
    }
}
