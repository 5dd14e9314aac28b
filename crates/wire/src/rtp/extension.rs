//! The header extensions that we write and read, and their numbers (RFC 8285).

/// A header extension, by its meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ExtensionKind {
    /// The media section, `a=mid` (RFC 8843 §15).
    Mid,
    /// The stream within the section, `a=rid` (RFC 8852 §3.1).
    Rid,
    /// The stream that a retransmission belongs to (RFC 8852 §3.2).
    RepairedRid,
    /// When the packet left: 24 bits, seconds in 6.18 fixed point.
    AbsSendTime,
    /// A sequence number over all streams of the transport, for congestion control.
    TransportSequence,
    /// Loudness in -dBov and whether it is speech (RFC 6464).
    AudioLevel,
}

impl ExtensionKind {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Mid,
        Self::Rid,
        Self::RepairedRid,
        Self::AbsSendTime,
        Self::TransportSequence,
        Self::AudioLevel,
    ];

    /// The name in `a=extmap`.
    pub const fn uri(self) -> &'static str {
        match self {
            Self::Mid => "urn:ietf:params:rtp-hdrext:sdes:mid",
            Self::Rid => "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id",
            Self::RepairedRid => "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id",
            Self::AbsSendTime => "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time",
            Self::TransportSequence => {
                "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01"
            }
            Self::AudioLevel => "urn:ietf:params:rtp-hdrext:ssrc-audio-level",
        }
    }

    /// The extension of that name.
    pub fn from_uri(uri: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.uri() == uri)
    }
}

/// Which number stands for which extension.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ExtensionMap {
    mid: Option<u8>,
    rid: Option<u8>,
    repaired_rid: Option<u8>,
    abs_send_time: Option<u8>,
    transport_sequence: Option<u8>,
    audio_level: Option<u8>,
}

impl ExtensionMap {
    /// Lets `id` (1 to 255) stand for `kind`; 0 is ignored, it means padding.
    pub fn insert(&mut self, kind: ExtensionKind, id: u8) {
        if id != 0 {
            *self.seat(kind) = Some(id);
        }
    }

    /// Whether no extension has a number.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The number of `kind`.
    #[inline]
    pub fn id(&self, kind: ExtensionKind) -> Option<u8> {
        match kind {
            ExtensionKind::Mid => self.mid,
            ExtensionKind::Rid => self.rid,
            ExtensionKind::RepairedRid => self.repaired_rid,
            ExtensionKind::AbsSendTime => self.abs_send_time,
            ExtensionKind::TransportSequence => self.transport_sequence,
            ExtensionKind::AudioLevel => self.audio_level,
        }
    }

    /// What `id` stands for.
    #[inline]
    pub fn kind(&self, id: u8) -> Option<ExtensionKind> {
        ExtensionKind::ALL
            .into_iter()
            .find(|kind| self.id(*kind) == Some(id))
    }

    /// The extensions with their numbers.
    pub fn iter(&self) -> impl Iterator<Item = (ExtensionKind, u8)> + '_ {
        ExtensionKind::ALL
            .into_iter()
            .filter_map(|kind| self.id(kind).map(|id| (kind, id)))
    }

    fn seat(&mut self, kind: ExtensionKind) -> &mut Option<u8> {
        match kind {
            ExtensionKind::Mid => &mut self.mid,
            ExtensionKind::Rid => &mut self.rid,
            ExtensionKind::RepairedRid => &mut self.repaired_rid,
            ExtensionKind::AbsSendTime => &mut self.abs_send_time,
            ExtensionKind::TransportSequence => &mut self.transport_sequence,
            ExtensionKind::AudioLevel => &mut self.audio_level,
        }
    }
}
