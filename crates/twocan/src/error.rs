//! Errors of the API, by the names of the W3C exceptions.

use thiserror::Error as ThisError;
use twocan_proto::negotiate::NegotiateError;
use twocan_proto::peer::ParametersError;
use twocan_proto::peer::ortc::OrtcError;

use crate::byte_stream::DetachError;

/// Why a call was refused. [`Error::name`] is the name of the exception that a browser throws.
#[derive(Debug, Clone, PartialEq, ThisError)]
pub enum Error {
    /// Offers, answers, candidates, transceivers.
    #[error(transparent)]
    Negotiation(#[from] NegotiateError),
    /// Parameters of senders, and dictionaries of transceivers.
    #[error(transparent)]
    Parameters(#[from] ParametersError),
    /// Parameters that are set by hand ([`crate::ortc`]).
    #[error(transparent)]
    Ortc(#[from] OrtcError),
    /// Data channels.
    #[error("{name}: {reason}")]
    Channel {
        /// The W3C name.
        name: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// Channels that are to be streams of bytes.
    #[error("{name}: {0}", name = .0.name())]
    Detach(#[from] DetachError),
    /// A text that should be a URL or the like is not.
    #[error("SyntaxError: {0}")]
    Syntax(String),
    /// Something that is needed for this is missing.
    #[error("InvalidAccessError: {0}")]
    InvalidAccess(String),
    /// Something could not be done.
    #[error("OperationError: {0}")]
    Operation(&'static str),
    /// The connection is closed.
    #[error("InvalidStateError: the connection is closed")]
    Closed,
}

impl Error {
    /// The name of the W3C exception.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Negotiation(error) => error.name(),
            Self::Parameters(error) => error.name(),
            Self::Ortc(error) => error.name(),
            Self::Channel { name, .. } => name,
            Self::Detach(error) => error.name(),
            Self::Syntax(_) => "SyntaxError",
            Self::InvalidAccess(_) => "InvalidAccessError",
            Self::Operation(_) => "OperationError",
            Self::Closed => "InvalidStateError",
        }
    }
}
