//! Why a description cannot be read.

use thiserror::Error;

use crate::candidate::CandidateError;

/// Where and why a description is malformed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("line {line}: {reason}")]
pub struct SdpError {
    /// The line, counted from 1.
    pub line: u32,
    /// What is wrong with it.
    pub reason: SdpErrorReason,
}

/// What is wrong with a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum SdpErrorReason {
    /// The description has more than [`LEN_MAX`](super::LEN_MAX) bytes.
    #[error("description is longer than 256 KiB")]
    TooLong,
    /// The description has more than [`MEDIA_MAX`](super::MEDIA_MAX) media sections.
    #[error("more than 256 media sections")]
    TooManyMedia,
    /// A line is not a letter, an equals sign and a value.
    #[error("not of the form letter=value")]
    NotALine,
    /// A line holds a NUL or a carriage return that ends no line.
    #[error("control character inside the line")]
    ControlCharacter,
    /// The description does not begin with `v=0`.
    #[error("expected v=0")]
    ExpectedVersion,
    /// The second line is no valid `o=`.
    #[error("expected o=, with numeric session id and version")]
    ExpectedOrigin,
    /// The third line is not `s=`.
    #[error("expected s=")]
    ExpectedSessionName,
    /// An `m=` line lacks a field or has a bad port.
    #[error("malformed m= line")]
    BadMedia,
    /// A `c=` line is malformed.
    #[error("malformed c= line")]
    BadConnection,
    /// An `a=candidate` line is malformed.
    #[error("malformed candidate: {0}")]
    BadCandidate(CandidateError),
    /// An `a=fingerprint` line has no hash function or no pairs of hexadecimal digits.
    #[error("malformed fingerprint")]
    BadFingerprint,
    /// An `a=setup` line has an unknown role.
    #[error("unknown setup role")]
    BadSetup,
    /// An `a=group` line has no semantics.
    #[error("malformed group")]
    BadGroup,
    /// An `a=mid` line has an empty or spaced identification.
    #[error("malformed mid")]
    BadMid,
    /// An `a=rtpmap` line is malformed.
    #[error("malformed rtpmap")]
    BadRtpmap,
    /// An `a=fmtp` line is malformed.
    #[error("malformed fmtp")]
    BadFmtp,
    /// An `a=rtcp-fb` line is malformed.
    #[error("malformed rtcp-fb")]
    BadRtcpFeedback,
    /// An `a=extmap` line is malformed, or its id is outside 1 to 255 and 4096 to 4351.
    #[error("malformed extmap")]
    BadExtmap,
    /// An `a=ssrc` line is malformed.
    #[error("malformed ssrc")]
    BadSsrc,
    /// An `a=ssrc-group` line is malformed.
    #[error("malformed ssrc-group")]
    BadSsrcGroup,
    /// An `a=msid` line is malformed.
    #[error("malformed msid")]
    BadMsid,
    /// An `a=rid` line is malformed.
    #[error("malformed rid")]
    BadRid,
    /// An `a=simulcast` line is malformed.
    #[error("malformed simulcast")]
    BadSimulcast,
    /// An `a=sctp-port`, `a=max-message-size` or `a=sctpmap` line is malformed.
    #[error("malformed sctp parameter")]
    BadSctp,
    /// An `a=ice-ufrag` or `a=ice-pwd` line is empty or has characters outside ICE's alphabet.
    #[error("malformed ice credential")]
    BadIceCredential,
    /// A known attribute lacks its value.
    #[error("attribute without its value")]
    MissingValue,
}
