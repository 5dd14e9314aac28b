//! Why parameters set by hand are refused.

use thiserror::Error;

use crate::negotiate::{Kind, NegotiateError};
use crate::peer::ParametersError;

/// A refusal, by the exception that a browser would throw. A refused call has changed nothing.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum OrtcError {
    /// `close` was called.
    #[error("InvalidStateError: the connection is closed")]
    Closed,
    /// The connection negotiates by descriptions ([`Config::by_hand`](crate::peer::Config::by_hand)).
    #[error("InvalidStateError: the connection negotiates by descriptions")]
    Described,
    /// `start` of a transport is for once.
    #[error("InvalidStateError: the {0} transport has been started")]
    Started(&'static str),
    /// A restart of ICE needs a start before it.
    #[error("InvalidStateError: the ICE transport has not been started")]
    NotStarted,
    /// Other credentials of the other side belong to a restart, which both sides make (RFC 8445 §9).
    #[error("InvalidStateError: the other side restarts ICE, and this side has not")]
    NotRestarting,
    /// The sender or receiver was stopped, or is for the other way.
    #[error("InvalidStateError: stopped, or for the other way")]
    Stopped,
    /// Credentials that ICE cannot use (RFC 8839 §5.4).
    #[error(
        "SyntaxError: a username fragment has 4 to 256, a password 22 to 256 letters, digits, '+' \
         and '/'"
    )]
    IceParameters,
    /// Of two lite agents none checks, and nothing may be sent where nothing was checked (RFC 7675).
    #[error("InvalidAccessError: both ends are ICE-lite; one must be a full agent")]
    BothLite,
    /// No fingerprint says what certificate the other side may have.
    #[error("InvalidAccessError: no fingerprint by sha-256, sha-384 or sha-512")]
    NoFingerprint,
    /// Port 0 is none (RFC 9260 §3.1).
    #[error("InvalidAccessError: an SCTP port is 1 to 65535")]
    SctpPort,
    /// Parameters of RTP that contradict themselves or others.
    #[error("InvalidAccessError: {0}")]
    Rtp(RtpReason),
    /// Encodings that cannot be sent.
    #[error(transparent)]
    Parameters(#[from] ParametersError),
    /// RIDs that cannot be those of one sender.
    #[error(transparent)]
    Negotiation(#[from] NegotiateError),
}

impl OrtcError {
    /// The name of the W3C exception.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Closed
            | Self::Described
            | Self::Started(_)
            | Self::NotStarted
            | Self::NotRestarting
            | Self::Stopped => "InvalidStateError",
            Self::IceParameters => "SyntaxError",
            Self::BothLite | Self::NoFingerprint | Self::SctpPort | Self::Rtp(_) => {
                "InvalidAccessError"
            }
            Self::Parameters(error) => error.name(),
            Self::Negotiation(error) => error.name(),
        }
    }
}

/// What is wrong with parameters of RTP.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RtpReason {
    /// A MID is what fits a header extension with the short form of elements.
    #[error("a mid has 1 to 16 token characters")]
    BadMid,
    /// Two senders, or two receivers, have the same.
    #[error("the mid {0} is that of another")]
    RepeatedMid(String),
    /// There is nothing to send or to receive.
    #[error("no codec that carries media")]
    NoCodec,
    /// A codec is for the other kind of media, or malformed.
    #[error("the codec {mime_type} is no codec for {kind}")]
    BadCodec {
        /// As it was given.
        mime_type: String,
        /// What is sent or received.
        kind: Kind,
    },
    /// RFC 5761 §4: 64 to 95 are those of RTCP on the same port.
    #[error("the payload type {0} cannot be used: 0 to 63 and 96 to 127")]
    BadPayloadType(u8),
    /// Two codecs have the same.
    #[error("the payload type {0} stands for two codecs")]
    RepeatedPayloadType(u8),
    /// Retransmissions say by `apt` of what (RFC 4588 §8.6).
    #[error("the payload type {0} of retransmissions has no apt that is one of the codecs")]
    BadRetransmission(u8),
    /// A number of a header extension is none, or has two meanings, which all that arrives on a
    /// transport shares.
    #[error("the header extension {uri} cannot have the number {id}")]
    BadExtension {
        /// The extension.
        uri: String,
        /// Its number.
        id: u8,
    },
    /// Sound has one encoding, video has
    /// [`ENCODINGS_MAX`](crate::negotiate::ENCODINGS_MAX) at most.
    #[error("{0} encodings are too many")]
    TooManyEncodings(usize),
    /// Zero is no source, and each belongs to one stream.
    #[error("the source {0} is none, or that of another stream")]
    BadSource(u32),
}

impl From<RtpReason> for OrtcError {
    fn from(reason: RtpReason) -> Self {
        Self::Rtp(reason)
    }
}
