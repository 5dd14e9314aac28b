//! Offers and answers (JSEP: RFC 8829, RFC 9429; BUNDLE: RFC 9143).
//!
//! 1. The application adds transceivers and data channels to a [`Negotiator`].
//! 2. [`Negotiator::create_offer`] or [`Negotiator::create_answer`] writes a description.
//! 3. [`Negotiator::set_local_description`] and [`Negotiator::set_remote_description`] take
//!    descriptions and answer with a [`Plan`]: what ICE, DTLS, SCTP and the RTP streams are to do.
//!
//! Setting a description works on a copy of the state that replaces the original only when all
//! of it succeeded: a refusal ([`NegotiateError`]) has changed nothing, a plan is complete.
//!
//! All sections share one transport (`max-bundle`) and RTP shares it with RTCP. Sections that a
//! peer offers outside of the BUNDLE group of the first usable section are rejected.

mod answer;
mod by_hand;
mod codec;
mod descriptions;
mod error;
mod local;
mod needed;
mod negotiator;
mod offer;
mod on_request;
mod plan;
mod remote;
mod section;
mod settle;
mod simulcast;
mod terms;
mod transceiver;

#[cfg(test)]
mod model_tests;
#[cfg(test)]
mod refusal_tests;
#[cfg(test)]
mod repair_tests;
#[cfg(test)]
mod simulcast_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod w3c_tests;

use std::fmt;

pub use by_hand::WantedEncoding;
pub use codec::{Codec, Feedback, default_audio_codecs, default_video_codecs};
pub(crate) use codec::{RepairCodec, is_called};
pub use descriptions::StatedCandidate;
pub use error::{AccessReason, NegotiateError, OperationReason, StateReason, TypeReason};
pub use negotiator::{
    AUDIO_EXTENSIONS, AUDIO_EXTENSIONS_STOPPED, Config, Negotiator, VIDEO_EXTENSIONS,
    VIDEO_EXTENSIONS_STOPPED,
};
pub use on_request::audio_codecs_on_request;
pub use plan::{
    DtlsPlan, DtlsRole, IcePlan, IceRole, MediaPlan, NegotiatedCodec, NegotiationEvent, Plan,
    RemoteIce, SctpPlan,
};
pub use remote::{RemoteCandidate, RemoteMedia};
pub(crate) use simulcast::check_rids;
pub use terms::Source;
pub use transceiver::{
    CodecPreference, ENCODINGS_MAX, Kind, SendEncoding, Transceiver, TransceiverId,
};

/// `RTCSdpType`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SdpType {
    /// Proposes.
    Offer,
    /// Agrees for the moment; an answer follows.
    Pranswer,
    /// Agrees.
    Answer,
    /// Takes back the pending offer.
    Rollback,
}

/// `RTCSignalingState`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignalingState {
    /// Nothing is pending.
    Stable,
    /// We offered.
    HaveLocalOffer,
    /// The remote side offered.
    HaveRemoteOffer,
    /// We answered for the moment.
    HaveLocalPranswer,
    /// The remote side answered for the moment.
    HaveRemotePranswer,
}

impl SignalingState {
    /// The W3C name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stable => "stable",
            Self::HaveLocalOffer => "have-local-offer",
            Self::HaveRemoteOffer => "have-remote-offer",
            Self::HaveLocalPranswer => "have-local-pranswer",
            Self::HaveRemotePranswer => "have-remote-pranswer",
        }
    }
}

impl fmt::Display for SignalingState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// ICE credentials of one side for one generation: `RTCIceParameters`.
#[derive(Clone, PartialEq, Eq)]
pub struct IceParameters {
    /// 4 to 256 ICE characters.
    pub username_fragment: String,
    /// 22 to 256 ICE characters.
    pub password: String,
}

impl IceParameters {
    /// RFC 8839 §5.4.
    pub(crate) fn is_valid(&self) -> bool {
        (4..=256).contains(&self.username_fragment.len())
            && (22..=256).contains(&self.password.len())
    }
}

/// Shows the username fragment alone: a password never reaches a log.
impl fmt::Debug for IceParameters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IceParameters")
            .field("username_fragment", &self.username_fragment)
            .finish_non_exhaustive()
    }
}
