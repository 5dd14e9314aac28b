//! Session descriptions (RFC 8866) with the attributes of WebRTC.
//!
//! A [`Description`] is a list of lines in the order they came in: those that WebRTC gives a
//! meaning to are typed ([`Attribute`]), every other line is kept as it is, so that printing a
//! parsed description loses nothing. Spelling is normalised (CRLF line ends, lower-case
//! transports, no trailing spaces), order is not.
//!
//! Parsing takes time linear in the input, which is limited to [`LEN_MAX`] bytes and
//! [`MEDIA_MAX`] media sections.

mod attribute;
mod error;
mod fmtp;
mod parse;
mod print;
mod rid;
mod rtp;
mod transport;

#[cfg(test)]
mod tests;

use std::net::IpAddr;

pub use attribute::Attribute;
pub use error::{SdpError, SdpErrorReason};
pub use fmtp::{
    H264Parameters, H264Profile, H265Parameters, H265Transmission, fmtp_parameter, fmtp_parameters,
};
pub use rid::{RidRestrictionError, RidRestrictions};
pub use rtp::{
    Direction, Extmap, Fmtp, Msid, RidDirection, RidLine, RtcpFeedback, Rtpmap, Simulcast,
    SimulcastRid, SsrcAttribute, SsrcGroup,
};
pub use transport::{Fingerprint, Group, Sctpmap, Setup};

use crate::candidate::Candidate;
use crate::ids::Mid;

/// Longest description parsed, in bytes. A browser's offer of ten video sections has about
/// 70 KiB; anything longer than this limit is refused unread.
pub const LEN_MAX: usize = 256 * 1024;

/// Most media sections in a description; more are refused. A conference that needs more
/// participants than this has reuses sections.
pub const MEDIA_MAX: usize = 256;

/// A session description: what comes before the first `m=` line, and the media sections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// The `o=` line.
    pub origin: Origin,
    /// The `s=` line, `-` when there is nothing to say.
    pub session_name: String,
    /// Every session-level line after `s=`, in order.
    pub lines: Vec<Line>,
    /// The media sections, in order.
    pub media: Vec<Media>,
}

/// The originator of a session, `o=` (RFC 8866 §5.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// User name, `-` when there is none.
    pub username: String,
    /// Identifies the session.
    pub session_id: u64,
    /// Grows with every changed description of the session.
    pub session_version: u64,
    /// The network type, address type and address, for example `IN IP4 127.0.0.1`.
    pub address: String,
}

/// One media section, from its `m=` line on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Media {
    /// What it carries.
    pub kind: MediaKind,
    /// The default port; 0 rejects the section unless it is bundle-only.
    pub port: u16,
    /// The number of consecutive ports, where given.
    pub port_count: Option<u16>,
    /// The protocol, for example `UDP/TLS/RTP/SAVPF`.
    pub protocol: String,
    /// The formats: payload types, or `webrtc-datachannel`.
    pub formats: Vec<String>,
    /// Every line of the section after its `m=`, in order.
    pub lines: Vec<Line>,
}

/// What a media section carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MediaKind {
    /// Sound.
    Audio,
    /// Pictures.
    Video,
    /// Data channels.
    Application,
    /// Any other kind, by its name.
    Other(String),
}

impl MediaKind {
    /// The name on the `m=` line.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Audio => "audio",
            Self::Video => "video",
            Self::Application => "application",
            Self::Other(name) => name,
        }
    }
}

/// A line with a meaning, or any other line kept as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    /// An `a=` line.
    Attribute(Attribute),
    /// A `c=IN` line with an IP address (RFC 8866 §5.7).
    Connection(IpAddr),
    /// Any other line: its letter and what stands after the equals sign.
    Other {
        /// The letter before the equals sign.
        letter: char,
        /// The rest.
        value: String,
    },
}

impl From<Attribute> for Line {
    fn from(attribute: Attribute) -> Self {
        Self::Attribute(attribute)
    }
}

/// The attributes among `lines`, in order.
pub fn attributes(lines: &[Line]) -> impl Iterator<Item = &Attribute> {
    lines.iter().filter_map(|line| match line {
        Line::Attribute(attribute) => Some(attribute),
        Line::Connection(_) | Line::Other { .. } => None,
    })
}

impl Description {
    /// The attributes at session level, in order.
    pub fn attributes(&self) -> impl Iterator<Item = &Attribute> {
        attributes(&self.lines)
    }

    /// The first value that `pick` finds in the section, else at session level.
    pub fn find<'a, T>(
        &'a self,
        media: &'a Media,
        mut pick: impl FnMut(&'a Attribute) -> Option<T>,
    ) -> Option<T> {
        media
            .attributes()
            .find_map(&mut pick)
            .or_else(|| self.attributes().find_map(&mut pick))
    }
}

impl Media {
    /// The attributes of the section, in order.
    pub fn attributes(&self) -> impl Iterator<Item = &Attribute> {
        attributes(&self.lines)
    }

    /// Adds an attribute at the end.
    pub fn push(&mut self, attribute: Attribute) {
        self.lines.push(Line::Attribute(attribute));
    }

    /// Whether `attribute` stands in the section as it is.
    pub fn has(&self, attribute: &Attribute) -> bool {
        self.attributes().any(|own| own == attribute)
    }

    /// The identification, `a=mid`.
    pub fn mid(&self) -> Option<&Mid> {
        self.attributes().find_map(|attribute| match attribute {
            Attribute::Mid(mid) => Some(mid),
            _ => None,
        })
    }

    /// The candidates, in order.
    pub fn candidates(&self) -> impl Iterator<Item = &Candidate> {
        self.attributes().filter_map(|attribute| match attribute {
            Attribute::Candidate(candidate) => Some(candidate),
            _ => None,
        })
    }

    /// Whether the section is refused: port 0 and not `a=bundle-only` (RFC 8843 §6).
    pub fn is_rejected(&self) -> bool {
        self.port == 0 && !self.has(&Attribute::BundleOnly)
    }
}
