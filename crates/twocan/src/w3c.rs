//! What the W3C's interfaces show of a connection beside descriptions and events.

use twocan_proto::negotiate::{
    self, AUDIO_EXTENSIONS, AUDIO_EXTENSIONS_STOPPED, Kind, VIDEO_EXTENSIONS,
    VIDEO_EXTENSIONS_STOPPED, audio_codecs_on_request, default_audio_codecs, default_video_codecs,
};
use twocan_proto::peer::{Description, DtlsTransportState, IceTransportPolicy, SctpTransport};

use crate::error::Error;
use crate::ice_server::{IceServer, Servers};
use crate::peer_connection::{PeerConnection, SessionDescription};
use crate::transceiver::Codec;

/// `RTCRtpCapabilities` (W3C webrtc-pc §5.2.9).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RtpCapabilities {
    /// `codecs`, the preferred one first, with `rtx` where retransmissions are understood.
    pub codecs: Vec<Codec>,
    /// Codecs that are negotiated only where they are asked for
    /// ([`RtpTransceiver::set_codec_preferences`](crate::RtpTransceiver::set_codec_preferences),
    /// [`Configuration::audio_codecs`](crate::Configuration::audio_codecs)): comfort noise (RFC 3389) and
    /// L16 (RFC 3551 §4.5.11).
    pub codecs_on_request: Vec<Codec>,
    /// `headerExtensions`, by their URIs.
    pub header_extensions: Vec<&'static str>,
    /// The URIs of extensions that are negotiated only where they are asked for
    /// ([`RtpTransceiver::set_header_extensions`](crate::RtpTransceiver::set_header_extensions)); in W3C's list
    /// they are among the others.
    pub stopped_header_extensions: Vec<&'static str>,
}

impl RtpCapabilities {
    /// What can be sent and received: `getCapabilities` of senders and receivers.
    pub fn of(kind: Kind) -> Self {
        let (codecs, extensions, stopped) = match kind {
            Kind::Audio => (
                default_audio_codecs(),
                &AUDIO_EXTENSIONS[..],
                &AUDIO_EXTENSIONS_STOPPED[..],
            ),
            Kind::Video => (
                default_video_codecs(),
                &VIDEO_EXTENSIONS[..],
                &VIDEO_EXTENSIONS_STOPPED[..],
            ),
        };
        let flexfec = |name: &str| name.eq_ignore_ascii_case("flexfec-03");
        let stated = codecs.iter().filter(|codec| !flexfec(&codec.name));
        let mut all: Vec<Codec> = stated.map(capability).collect();
        let on_request = match kind {
            Kind::Audio => audio_codecs_on_request().iter().map(capability).collect(),
            Kind::Video => Vec::new(),
        };
        if codecs.iter().any(|codec| codec.rtx_payload_type.is_some()) {
            let first = usize::from(!all.is_empty());
            all.insert(
                first,
                Codec {
                    name: "rtx".to_owned(),
                    clock_rate: 90_000,
                    channels: 1,
                    fmtp: String::new(),
                },
            );
        }
        Self {
            codecs: all,
            codecs_on_request: on_request,
            header_extensions: extensions.iter().map(|own| own.uri()).collect(),
            stopped_header_extensions: stopped.iter().map(|own| own.uri()).collect(),
        }
    }
}

impl PeerConnection {
    /// `currentLocalDescription`.
    pub fn current_local_description(&self) -> Option<SessionDescription> {
        shown(self.owner.shared.lock().peer.current_local_description())
    }

    /// `pendingLocalDescription`.
    pub fn pending_local_description(&self) -> Option<SessionDescription> {
        shown(self.owner.shared.lock().peer.pending_local_description())
    }

    /// `currentRemoteDescription`.
    pub fn current_remote_description(&self) -> Option<SessionDescription> {
        shown(self.owner.shared.lock().peer.current_remote_description())
    }

    /// `pendingRemoteDescription`.
    pub fn pending_remote_description(&self) -> Option<SessionDescription> {
        shown(self.owner.shared.lock().peer.pending_remote_description())
    }

    /// `canTrickleIceCandidates`; `None` without a remote description.
    pub fn can_trickle_ice_candidates(&self) -> Option<bool> {
        self.owner.shared.lock().peer.can_trickle_ice_candidates()
    }

    /// Whether a `negotiationneeded` is due (W3C webrtc-pc §4.7.3): for those who fire the event
    /// themselves.
    pub fn is_negotiation_needed(&self) -> bool {
        self.owner.shared.lock().peer.is_negotiation_needed()
    }

    /// `setConfiguration`: the servers and the policy with which candidates are gathered. What was
    /// gathered already stays.
    ///
    /// # Errors
    /// `SyntaxError` for a malformed URL, `InvalidAccessError` for a TURN server without username or
    /// credential.
    pub fn set_servers(
        &self,
        servers: &[IceServer],
        policy: IceTransportPolicy,
    ) -> Result<(), Error> {
        let servers = Servers::of(servers)?;
        self.act(|state| state.peer.set_servers(servers.stun, servers.turn, policy));
        Ok(())
    }

    /// `sctp`: `None` until both sides want data channels.
    pub fn sctp_transport(&self) -> Option<SctpTransport> {
        self.owner.shared.lock().peer.sctp_transport()
    }

    /// `state` of the `RTCDtlsTransport`.
    pub fn dtls_transport_state(&self) -> DtlsTransportState {
        self.owner.shared.lock().peer.dtls_transport_state()
    }

    /// `getRemoteCertificates` of the `RTCDtlsTransport`: the other side's certificate in DER, once
    /// connected.
    pub fn remote_certificate(&self) -> Option<Vec<u8>> {
        let state = self.owner.shared.lock();
        state.peer.remote_certificate().map(<[u8]>::to_vec)
    }
}

fn capability(codec: &negotiate::Codec) -> Codec {
    Codec {
        name: codec.name.clone(),
        clock_rate: codec.clock_rate,
        channels: codec.channels,
        fmtp: codec.fmtp.clone(),
    }
}

fn shown(description: Option<Description>) -> Option<SessionDescription> {
    description.map(|own| SessionDescription {
        kind: own.kind,
        sdp: own.sdp,
    })
}
