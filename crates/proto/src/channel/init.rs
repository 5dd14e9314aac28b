//! What a channel is made with.

use std::time::Duration;

use twocan_wire::dcep;

use super::error::OpenError;
use crate::sctp;

/// The dictionary of `createDataChannel` (W3C WebRTC §6.2.1) with the label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelInit {
    /// The application's name for it. At most 65,535 bytes of UTF-8.
    pub label: String,
    /// The subprotocol. At most 65,535 bytes of UTF-8.
    pub protocol: String,
    /// Whether messages arrive in their order. Default true.
    pub ordered: bool,
    /// How hard it tries. The W3C's `maxRetransmits` and `maxPacketLifeTime`, of which there can
    /// be only one.
    pub reliability: Reliability,
    /// Whether the peer's application makes the channel itself. Default false: the peer is told.
    pub negotiated: bool,
    /// The id of a negotiated channel; ignored for others.
    pub id: Option<u16>,
    /// Importance as announced to the peer. Default low, as in browsers.
    pub priority: Priority,
}

impl Default for ChannelInit {
    fn default() -> Self {
        Self {
            label: String::new(),
            protocol: String::new(),
            ordered: true,
            reliability: Reliability::Reliable,
            negotiated: false,
            id: None,
            priority: Priority::Low,
        }
    }
}

/// How hard a channel tries to deliver a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reliability {
    /// Until it is delivered.
    #[default]
    Reliable,
    /// With at most this many retransmissions.
    MaxRetransmits(u16),
    /// For this many milliseconds.
    MaxPacketLifeTime(u16),
}

/// Importance of a channel (RFC 8831 §6.4), with any value that a peer may announce.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Priority {
    /// 128.
    VeryLow,
    /// 256.
    #[default]
    Low,
    /// 512.
    Medium,
    /// 1024.
    High,
    /// Another value.
    Other(u16),
}

impl Priority {
    /// Those with a name, from the lowest on.
    pub(super) const NAMED: [Self; 4] = [Self::VeryLow, Self::Low, Self::Medium, Self::High];

    /// Which of the named ones it is most like, by its place among them: one in between counts as the
    /// lower.
    pub(super) fn level(self) -> usize {
        match self.value() {
            0..256 => 0,
            256..512 => 1,
            512..1024 => 2,
            1024.. => 3,
        }
    }

    pub(super) fn value(self) -> u16 {
        match self {
            Self::VeryLow => 128,
            Self::Low => 256,
            Self::Medium => 512,
            Self::High => 1024,
            Self::Other(value) => value,
        }
    }

    pub(super) fn from_value(value: u16) -> Self {
        match value {
            128 => Self::VeryLow,
            256 => Self::Low,
            512 => Self::Medium,
            1024 => Self::High,
            value => Self::Other(value),
        }
    }
}

impl Reliability {
    pub(super) fn from_wire(reliability: dcep::Reliability) -> Self {
        let short = |value: u32| u16::try_from(value).unwrap_or(u16::MAX);
        match reliability {
            dcep::Reliability::Reliable => Self::Reliable,
            dcep::Reliability::MaxRetransmits(count) => Self::MaxRetransmits(short(count)),
            dcep::Reliability::MaxPacketLifeTime(ms) => Self::MaxPacketLifeTime(short(ms)),
        }
    }

    pub(super) fn to_wire(self) -> dcep::Reliability {
        match self {
            Self::Reliable => dcep::Reliability::Reliable,
            Self::MaxRetransmits(count) => dcep::Reliability::MaxRetransmits(count.into()),
            Self::MaxPacketLifeTime(ms) => dcep::Reliability::MaxPacketLifeTime(ms.into()),
        }
    }

    pub(super) fn to_sctp(self) -> sctp::Reliability {
        match self {
            Self::Reliable => sctp::Reliability::Reliable,
            Self::MaxRetransmits(count) => sctp::Reliability::MaxRetransmits(count),
            Self::MaxPacketLifeTime(ms) => {
                sctp::Reliability::MaxLifetime(Duration::from_millis(ms.into()))
            }
        }
    }
}

impl ChannelInit {
    /// Checks what does not depend on other channels.
    pub(super) fn validate(&self) -> Result<(), OpenError> {
        if self.label.len() > dcep::TEXT_LEN_MAX {
            return Err(OpenError::LabelTooLong);
        }
        if self.protocol.len() > dcep::TEXT_LEN_MAX {
            return Err(OpenError::ProtocolTooLong);
        }
        match (self.negotiated, self.id) {
            (true, None) => Err(OpenError::IdMissing),
            (true, Some(u16::MAX)) => Err(OpenError::IdReserved),
            (true, Some(_)) | (false, _) => Ok(()),
        }
    }
}
