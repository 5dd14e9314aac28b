//! Why a step of the negotiation is refused. A refused step has changed nothing.

use thiserror::Error;
use twocan_wire::candidate::CandidateError;
use twocan_wire::sdp::SdpError;

use super::SignalingState;

/// A refusal, split by the exception that the W3C API throws for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum NegotiateError {
    /// The call does not fit the state.
    #[error("InvalidStateError: {0}")]
    InvalidState(StateReason),
    /// The description contradicts what was agreed, or lacks what WebRTC needs.
    #[error("InvalidAccessError: {0}")]
    InvalidAccess(AccessReason),
    /// The local description is not the one created last.
    #[error(
        "InvalidModificationError: the local description is not the one last created for this \
         state; create one and set it unchanged"
    )]
    InvalidModification,
    /// The candidate does not belong to the remote description.
    #[error("OperationError: {0}")]
    Operation(OperationReason),
    /// The description is malformed.
    #[error("RTCError sdp-syntax-error: {0}")]
    Syntax(#[from] SdpError),
    /// An argument is malformed.
    #[error("TypeError: {0}")]
    Type(TypeReason),
}

impl NegotiateError {
    /// The name of the W3C exception.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::InvalidState(_) => "InvalidStateError",
            Self::InvalidAccess(_) => "InvalidAccessError",
            Self::InvalidModification => "InvalidModificationError",
            Self::Operation(_) => "OperationError",
            Self::Syntax(_) => "RTCError",
            Self::Type(_) => "TypeError",
        }
    }

    /// `sdpLineNumber` of the `RTCError`, counted from 1.
    pub const fn sdp_line_number(&self) -> Option<u32> {
        match self {
            Self::Syntax(error) => Some(error.line),
            _ => None,
        }
    }
}

/// Why a call does not fit the state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum StateReason {
    /// The signaling state does not allow it.
    #[error("not possible in signaling state {0}")]
    Signaling(SignalingState),
    /// The transceiver is stopped or unknown.
    #[error("the transceiver is stopped")]
    TransceiverStopped,
    /// `close` was called.
    #[error("the connection is closed")]
    Closed,
    /// Candidates cannot come before a remote description.
    #[error("no remote description yet")]
    NoRemoteDescription,
    /// The parameters are set by hand ([`crate::peer::ortc`]).
    #[error("the connection's parameters are set by hand, not by descriptions")]
    ByHand,
}

/// What is wrong with a well-formed description.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum AccessReason {
    /// An answer has other sections than its offer, or an offer lost some.
    #[error("section {0} does not fit the sections agreed before (count, order, mid or kind)")]
    SectionMismatch(usize),
    /// Two sections have one mid.
    #[error("section {0} repeats the mid of another")]
    DuplicateMid(usize),
    /// The section has no ICE user name fragment and password of legal length (RFC 8839 §5.4).
    #[error("section {0} has no usable ice-ufrag and ice-pwd")]
    NoIceParameters(usize),
    /// The section has no fingerprint by SHA-256, SHA-384 or SHA-512.
    #[error("section {0} has no fingerprint by sha-256, sha-384 or sha-512")]
    NoFingerprint(usize),
    /// An answer must choose between active and passive; an offer must not hold.
    #[error("section {0} has a setup role that cannot be answered")]
    BadSetup(usize),
    /// The setup role contradicts the DTLS connection that is up.
    #[error("section {0} wants another setup role than the connection has")]
    SetupChanged(usize),
    /// Another certificate needs new ICE credentials as well (RFC 9429 §5.11).
    #[error("section {0} has another fingerprint, without an ICE restart")]
    FingerprintChanged(usize),
    /// RTP and RTCP must share a transport.
    #[error("section {0} was accepted without rtcp-mux")]
    NoRtcpMux(usize),
    /// Of two lite agents none checks, and nothing may be sent where nothing was checked (RFC 7675).
    #[error("both ends are ICE-lite; one must be a full agent")]
    BothLite,
    /// Each track has a section of its own (RFC 9429 §4.1.1); plan B, which browsers no longer speak, had
    /// one for all tracks of a kind.
    #[error(
        "section {0} has several tracks (plan B); each needs a section of its own (unified plan)"
    )]
    PlanB(usize),
    /// All sections must share a transport.
    #[error("section {0} was accepted outside of the BUNDLE group")]
    NotBundled(usize),
}

/// Why a candidate or a step is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum OperationReason {
    /// The candidate is malformed.
    #[error("malformed candidate: {0}")]
    BadCandidate(CandidateError),
    /// No section has this mid or index.
    #[error("the candidate names no section of the remote description")]
    UnknownSection,
    /// The candidate belongs to another ICE generation.
    #[error("the candidate's user name fragment is not the remote description's")]
    UnknownGeneration,
    /// No more than 256 sections.
    #[error("more than 256 media sections")]
    TooManySections,
}

/// Which argument is malformed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum TypeReason {
    /// A candidate needs a mid or an index.
    #[error("the candidate has neither sdpMid nor sdpMLineIndex")]
    NoSection,
    /// Stream ids are 1 to 64 token characters (RFC 8830 §2).
    #[error("a stream id must be 1 to 64 token characters")]
    BadStreamId,
    /// RIDs are 1 to 16 letters, digits, `-` or `_`: what fits a header extension.
    #[error("a rid must be 1 to 16 letters, digits, '-' or '_'")]
    BadRid,
    /// Of several encodings every one needs a RID.
    #[error("of several encodings each must have a rid")]
    MissingRid,
    /// Two encodings have one RID.
    #[error("two encodings have the same rid")]
    RepeatedRid,
}
