//! What the W3C's interfaces show of a connection beside descriptions and events.

use twocan_wire::candidate::Candidate;
use twocan_wire::rtp::ExtensionKind;
use twocan_wire::sdp::Direction;

use super::machine::Peer;
use super::transport::{Security, Transport};
use super::{Description, IceTransportPolicy, StunServer, TurnServer};
use crate::negotiate::{CodecPreference, NegotiateError, RemoteMedia, SdpType, TransceiverId};
use crate::{channel, dtls, ice};

/// `RTCDtlsTransportState` (W3C webrtc-pc §5.5.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DtlsTransportState {
    /// Nothing was sent yet.
    New,
    /// The handshake is under way.
    Connecting,
    /// The peer is who it should be.
    Connected,
    /// Closed, by either side.
    Closed,
    /// The handshake failed.
    Failed,
}

impl DtlsTransportState {
    /// The W3C name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Connecting => "connecting",
            Self::Connected => "connected",
            Self::Closed => "closed",
            Self::Failed => "failed",
        }
    }
}

/// `RTCSctpTransportState` (W3C webrtc-pc §6.1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SctpTransportState {
    /// The association is being made.
    Connecting,
    /// It is up.
    Connected,
    /// It has ended.
    Closed,
}

impl SctpTransportState {
    /// The W3C name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Connected => "connected",
            Self::Closed => "closed",
        }
    }
}

/// `RTCSctpTransport`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SctpTransport {
    /// `state`.
    pub state: SctpTransportState,
    /// `maxMessageSize`: the longest message that can be sent, in bytes; `None` for no limit.
    pub max_message_size: Option<usize>,
    /// `maxChannels`, once connected.
    pub max_channels: Option<u16>,
}

impl Peer {
    /// `currentLocalDescription`, with the candidates gathered so far where they belong to it.
    pub fn current_local_description(&self) -> Option<Description> {
        let (candidates, complete) = self.gathered();
        let negotiator = &self.negotiator;
        described(negotiator.current_local_description_with(&candidates, complete))
    }

    /// `pendingLocalDescription`, with the candidates gathered so far.
    pub fn pending_local_description(&self) -> Option<Description> {
        self.negotiator.pending_local_description()?;
        self.local_description()
    }

    /// `currentRemoteDescription`.
    pub fn current_remote_description(&self) -> Option<Description> {
        described(self.negotiator.current_remote_description())
    }

    /// `pendingRemoteDescription`.
    pub fn pending_remote_description(&self) -> Option<Description> {
        described(self.negotiator.pending_remote_description())
    }

    pub(super) fn gathered(&self) -> (Vec<Candidate>, bool) {
        let candidates = self.transport.ice.local_candidates().iter();
        let candidates = candidates
            .filter(|candidate| candidate.kind != ice::Kind::PeerReflexive)
            .filter_map(|candidate| self.told(candidate));
        let complete = self.transport.ice.gathering_state() == ice::GatheringState::Complete;
        (candidates.collect(), complete)
    }

    /// Whether a `negotiationneeded` is due (W3C webrtc-pc §4.7.3).
    pub fn is_negotiation_needed(&self) -> bool {
        self.open().is_ok() && self.negotiator.is_negotiation_needed()
    }

    /// `canTrickleIceCandidates`; `None` without a remote description.
    pub fn can_trickle_ice_candidates(&self) -> Option<bool> {
        self.negotiator.can_trickle()
    }

    /// `mid` of a transceiver: the section that a description gave it.
    pub fn mid(&self, id: TransceiverId) -> Option<&str> {
        self.negotiator.mid(id).map(|mid| mid.as_str())
    }

    /// What the newest remote description says of a transceiver.
    pub fn remote_media(&self, id: TransceiverId) -> Option<RemoteMedia> {
        self.negotiator.remote_media(id)
    }

    /// `addTrack` with the transceiver that the application found for it.
    ///
    /// # Errors
    /// `InvalidStateError` when closed or stopped, `TypeError` for a malformed stream id.
    pub fn attach_track(
        &mut self,
        id: TransceiverId,
        streams: &[&str],
    ) -> Result<(), NegotiateError> {
        self.open()?;
        self.negotiator.attach_track(id, streams)?;
        self.check_negotiation_needed();
        Ok(())
    }

    /// `replaceTrack`: whether the sender has a track.
    ///
    /// # Errors
    /// `InvalidStateError` when closed or stopped.
    pub fn set_has_track(&mut self, id: TransceiverId, has: bool) -> Result<(), NegotiateError> {
        self.open()?;
        self.negotiator.set_has_track(id, has)
    }

    /// `setStreams` of a sender.
    ///
    /// # Errors
    /// `InvalidStateError` when closed or stopped, `TypeError` for a malformed stream id.
    pub fn set_streams(
        &mut self,
        id: TransceiverId,
        streams: &[&str],
    ) -> Result<(), NegotiateError> {
        self.open()?;
        self.negotiator.set_streams(id, streams)?;
        self.check_negotiation_needed();
        Ok(())
    }

    /// `setCodecPreferences`; empty for all codecs.
    ///
    /// # Errors
    /// `InvalidStateError` when closed or stopped.
    pub fn set_codec_preferences(
        &mut self,
        id: TransceiverId,
        preferences: Vec<CodecPreference>,
    ) -> Result<(), NegotiateError> {
        self.open()?;
        self.negotiator.set_codec_preferences(id, preferences)
    }

    /// `setHeaderExtensionsToNegotiate` (webrtc-extensions): which extensions are for one way only, or,
    /// with `None`, are not to be negotiated.
    ///
    /// # Errors
    /// `InvalidStateError` when closed or stopped.
    pub fn set_header_extensions(
        &mut self,
        id: TransceiverId,
        extensions: Vec<(ExtensionKind, Option<Direction>)>,
    ) -> Result<(), NegotiateError> {
        self.open()?;
        self.negotiator.set_header_extensions(id, extensions)
    }

    /// `getRemoteCertificates` of the `RTCDtlsTransport`: the peer's certificate in DER, once connected.
    pub fn remote_certificate(&self) -> Option<&[u8]> {
        self.transport.remote_certificate()
    }

    /// `setConfiguration`: the servers and the policy with which candidates are gathered. What was
    /// gathered already stays.
    pub fn set_servers(
        &mut self,
        stun: Vec<StunServer>,
        turn: Vec<TurnServer>,
        policy: IceTransportPolicy,
    ) {
        if !self.gathering {
            self.stun_servers = stun;
            self.turn_servers = turn;
            self.ice_transport_policy = policy;
            self.transport.relay_only = policy == IceTransportPolicy::Relay;
        }
    }

    /// `state` of the `RTCDtlsTransport`.
    pub fn dtls_transport_state(&self) -> DtlsTransportState {
        if self.closed {
            return DtlsTransportState::Closed;
        }
        self.transport.dtls_state()
    }

    /// The `RTCSctpTransport`; `None` until both sides want data channels.
    pub fn sctp_transport(&self) -> Option<SctpTransport> {
        self.transport.sctp(self.closed)
    }
}

fn described(stated: Option<(SdpType, String)>) -> Option<Description> {
    stated.map(|(kind, sdp)| Description { kind, sdp })
}

impl Transport {
    pub(super) fn dtls_state(&self) -> DtlsTransportState {
        match self.security {
            Security::Waiting | Security::Ready(_) => DtlsTransportState::New,
            Security::Handshake => DtlsTransportState::Connecting,
            Security::Connected(_) => DtlsTransportState::Connected,
            Security::Closed => DtlsTransportState::Closed,
            Security::Failed => DtlsTransportState::Failed,
        }
    }

    pub(super) fn dtls_failed(&self) -> bool {
        self.security == Security::Failed
    }

    pub(super) fn sctp(&self, is_closed: bool) -> Option<SctpTransport> {
        let state = if is_closed || self.channels.is_ended() {
            SctpTransportState::Closed
        } else if self.channels.is_connected() {
            SctpTransportState::Connected
        } else {
            SctpTransportState::Connecting
        };
        self.data_accepted.then(|| SctpTransport {
            state,
            max_message_size: self.channels.max_message_size(),
            max_channels: self.channels.max_channels(),
        })
    }
}

/// Our role in the handshake decides about the ids of channels (RFC 8832 §6).
pub(super) fn channel_role(role: dtls::Role) -> channel::Role {
    match role {
        dtls::Role::Client => channel::Role::Client,
        dtls::Role::Server => channel::Role::Server,
    }
}
