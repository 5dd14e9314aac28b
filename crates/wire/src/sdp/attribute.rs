//! The attributes, `a=`, that WebRTC gives a meaning to.

use core::fmt;

use super::error::SdpErrorReason as Reason;
use super::rtp::{
    Direction, Extmap, Fmtp, Msid, RidLine, RtcpFeedback, Rtpmap, Simulcast, SsrcAttribute,
    SsrcGroup,
};
use super::transport::{Fingerprint, Group, Sctpmap, Setup};
use crate::candidate::Candidate;
use crate::ids::Mid;

/// An attribute line. Text within holds no line breaks; the printer drops any.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attribute {
    /// `a=group` (RFC 5888).
    Group(Group),
    /// `a=mid` (RFC 5888).
    Mid(Mid),
    /// `a=bundle-only` (RFC 8843 §6).
    BundleOnly,
    /// `a=ice-ufrag` (RFC 8839 §5.4).
    IceUfrag(String),
    /// `a=ice-pwd` (RFC 8839 §5.4).
    IcePwd(String),
    /// `a=ice-options` (RFC 8839 §5.6).
    IceOptions(Vec<String>),
    /// `a=ice-lite` (RFC 8839 §5.3).
    IceLite,
    /// `a=candidate` (RFC 8839 §5.1).
    Candidate(Candidate),
    /// `a=end-of-candidates` (RFC 8840 §8.1).
    EndOfCandidates,
    /// `a=fingerprint` (RFC 8122).
    Fingerprint(Fingerprint),
    /// `a=setup` (RFC 4145, RFC 8842).
    Setup(Setup),
    /// `a=rtcp-mux` (RFC 5761).
    RtcpMux,
    /// `a=rtcp-mux-only` (RFC 8858).
    RtcpMuxOnly,
    /// `a=rtcp-rsize` (RFC 5506).
    RtcpRsize,
    /// `a=rtpmap`.
    Rtpmap(Rtpmap),
    /// `a=fmtp`.
    Fmtp(Fmtp),
    /// `a=rtcp-fb` (RFC 4585).
    RtcpFeedback(RtcpFeedback),
    /// `a=extmap` (RFC 8285).
    Extmap(Extmap),
    /// `a=extmap-allow-mixed` (RFC 8285 §6).
    ExtmapAllowMixed,
    /// `a=sendrecv` and its three sisters.
    Direction(Direction),
    /// `a=msid` (RFC 8830).
    Msid(Msid),
    /// `a=ssrc` (RFC 5576).
    Ssrc(SsrcAttribute),
    /// `a=ssrc-group` (RFC 5576).
    SsrcGroup(SsrcGroup),
    /// `a=rid` (RFC 8851).
    Rid(RidLine),
    /// `a=simulcast` (RFC 8853).
    Simulcast(Simulcast),
    /// `a=sctp-port` (RFC 8841 §5).
    SctpPort(u16),
    /// `a=max-message-size` in bytes, 0 for no limit (RFC 8841 §6).
    MaxMessageSize(u64),
    /// `a=sctpmap`, the form before RFC 8841.
    Sctpmap(Sctpmap),
    /// Any other attribute, kept as it is; `a=identity` is among them.
    Other {
        /// Its name.
        name: String,
        /// What stands after the colon, where there is one.
        value: Option<String>,
    },
}

impl Attribute {
    /// An attribute without a type of its own.
    pub fn other(name: &str, value: &str) -> Self {
        Self::Other {
            name: name.into(),
            value: Some(value.into()),
        }
    }

    /// Reads what stands after `a=`.
    ///
    /// # Errors
    /// The reason why a known attribute is malformed; unknown ones always succeed.
    pub fn parse(text: &str) -> Result<Self, Reason> {
        let (name, value) = match text.split_once(':') {
            Some((name, value)) => (name, Some(value)),
            None => (text, None),
        };
        match value {
            None => Self::parse_flag(name),
            Some(value) => Self::parse_valued(name, value),
        }
    }

    fn parse_flag(name: &str) -> Result<Self, Reason> {
        if let Some(direction) = Direction::parse(name.trim_end()) {
            return Ok(Self::Direction(direction));
        }
        Ok(match name.trim_end() {
            "bundle-only" => Self::BundleOnly,
            "ice-lite" => Self::IceLite,
            "end-of-candidates" => Self::EndOfCandidates,
            "rtcp-mux" => Self::RtcpMux,
            "rtcp-mux-only" => Self::RtcpMuxOnly,
            "rtcp-rsize" => Self::RtcpRsize,
            "extmap-allow-mixed" => Self::ExtmapAllowMixed,
            "group" | "mid" | "ice-ufrag" | "ice-pwd" | "ice-options" | "candidate"
            | "fingerprint" | "setup" | "rtpmap" | "fmtp" | "rtcp-fb" | "extmap" | "msid"
            | "ssrc" | "ssrc-group" | "rid" | "simulcast" | "sctp-port" | "max-message-size"
            | "sctpmap" => return Err(Reason::MissingValue),
            _ => Self::Other {
                name: name.into(),
                value: None,
            },
        })
    }

    fn parse_valued(name: &str, value: &str) -> Result<Self, Reason> {
        Ok(match name {
            "group" => Self::Group(Group::parse(value)?),
            "mid" => Self::Mid(Mid::from(word(value, Reason::BadMid)?)),
            "ice-ufrag" => Self::IceUfrag(ice_chars(value)?),
            "ice-pwd" => Self::IcePwd(ice_chars(value)?),
            "ice-options" => Self::IceOptions(
                // RFC 8839 separates by spaces, libdatachannel by commas.
                value
                    .split([' ', ','])
                    .filter(|option| !option.is_empty())
                    .map(Into::into)
                    .collect(),
            ),
            "candidate" => Self::Candidate(Candidate::parse(value).map_err(Reason::BadCandidate)?),
            "fingerprint" => Self::Fingerprint(Fingerprint::parse(value)?),
            "setup" => Self::Setup(Setup::parse(value)?),
            "rtpmap" => Self::Rtpmap(Rtpmap::parse(value)?),
            "fmtp" => Self::Fmtp(Fmtp::parse(value)?),
            "rtcp-fb" => Self::RtcpFeedback(RtcpFeedback::parse(value)?),
            "extmap" => Self::Extmap(Extmap::parse(value)?),
            "msid" => Self::Msid(Msid::parse(value)?),
            "ssrc" => Self::Ssrc(SsrcAttribute::parse(value)?),
            "ssrc-group" => Self::SsrcGroup(SsrcGroup::parse(value)?),
            "rid" => Self::Rid(RidLine::parse(value)?),
            "simulcast" if Simulcast::is_older_form(value) => Self::other(name, value),
            "simulcast" => Self::Simulcast(Simulcast::parse(value)?),
            "sctp-port" => Self::SctpPort(number(value)?),
            "max-message-size" => Self::MaxMessageSize(number(value)?),
            "sctpmap" => Self::Sctpmap(Sctpmap::parse(value)?),
            _ => Self::Other {
                name: name.into(),
                value: Some(value.into()),
            },
        })
    }
}

fn word(value: &str, reason: Reason) -> Result<&str, Reason> {
    let value = value.trim();
    if value.is_empty() || value.contains(char::is_whitespace) {
        return Err(reason);
    }
    Ok(value)
}

fn ice_chars(value: &str) -> Result<String, Reason> {
    let value = word(value, Reason::BadIceCredential)?;
    // RFC 8839 §5.4 allows letters, digits, '+' and '/'. Base64url credentials are seen in the
    // wild, so '-', '_' and '=' pass as well: none of them can be mistaken for anything else.
    let valid = value.bytes().all(|byte| {
        byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'-' | b'_' | b'=')
    });
    if valid {
        Ok(value.into())
    } else {
        Err(Reason::BadIceCredential)
    }
}

fn number<T: core::str::FromStr>(value: &str) -> Result<T, Reason> {
    value.trim().parse().map_err(|_| Reason::BadSctp)
}

impl fmt::Display for Attribute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Group(group) => write!(f, "group:{group}"),
            Self::Mid(mid) => write!(f, "mid:{mid}"),
            Self::BundleOnly => f.write_str("bundle-only"),
            Self::IceUfrag(ufrag) => write!(f, "ice-ufrag:{ufrag}"),
            Self::IcePwd(pwd) => write!(f, "ice-pwd:{pwd}"),
            Self::IceOptions(options) => write!(f, "ice-options:{}", options.join(" ")),
            Self::IceLite => f.write_str("ice-lite"),
            Self::Candidate(candidate) => write!(f, "candidate:{}", candidate.value()),
            Self::EndOfCandidates => f.write_str("end-of-candidates"),
            Self::Fingerprint(fingerprint) => write!(f, "fingerprint:{fingerprint}"),
            Self::Setup(setup) => write!(f, "setup:{setup}"),
            Self::RtcpMux => f.write_str("rtcp-mux"),
            Self::RtcpMuxOnly => f.write_str("rtcp-mux-only"),
            Self::RtcpRsize => f.write_str("rtcp-rsize"),
            Self::Rtpmap(rtpmap) => write!(f, "rtpmap:{rtpmap}"),
            Self::Fmtp(fmtp) => write!(f, "fmtp:{fmtp}"),
            Self::RtcpFeedback(feedback) => write!(f, "rtcp-fb:{feedback}"),
            Self::Extmap(extmap) => write!(f, "extmap:{extmap}"),
            Self::ExtmapAllowMixed => f.write_str("extmap-allow-mixed"),
            Self::Direction(direction) => f.write_str(direction.as_str()),
            Self::Msid(msid) => write!(f, "msid:{msid}"),
            Self::Ssrc(ssrc) => write!(f, "ssrc:{ssrc}"),
            Self::SsrcGroup(group) => write!(f, "ssrc-group:{group}"),
            Self::Rid(rid) => write!(f, "rid:{rid}"),
            Self::Simulcast(simulcast) => write!(f, "simulcast:{simulcast}"),
            Self::SctpPort(port) => write!(f, "sctp-port:{port}"),
            Self::MaxMessageSize(size) => write!(f, "max-message-size:{size}"),
            Self::Sctpmap(sctpmap) => write!(f, "sctpmap:{sctpmap}"),
            Self::Other { name, value } => match value {
                Some(value) => write!(f, "{name}:{value}"),
                None => f.write_str(name),
            },
        }
    }
}
