//! A WebRTC connection without I/O: the machine behind `RTCPeerConnection`.
//!
//! 1. The application adds tracks and channels, and exchanges descriptions and candidates.
//! 2. Setting a description makes a plan ([`crate::negotiate`]), which is applied to the parts.
//! 3. ICE finds a route ([`crate::ice`]). On the first valid one DTLS begins ([`crate::dtls`]).
//! 4. With DTLS come the keys of SRTP ([`crate::srtp`]) and the association of the data channels.
//! 5. Datagrams are told apart by their first byte (RFC 7983). Nothing but STUN is accepted from
//!    an address that has not proved itself by STUN.
//!
//! This module alone knows the order of the stack; the parts do not know each other.

mod codepoint;
mod data;
mod describe;
mod ice_transport;
mod intercept;
mod journal;
mod machine;
mod media;
mod names;
mod nat64;
pub mod ortc;
mod outlet;
mod parameters;
mod rate;
mod relay;
mod renewal;
mod roam;
mod servers;
mod stats;
mod stream;
mod tcp;
mod tones;
mod traffic;
mod transport;
mod w3c;

use std::net::IpAddr;
use std::sync::Arc;

use twocan_wire::units::Bitrate;

pub use ice_transport::{IceTransportState, SelectedCandidatePair};
pub use intercept::{Added, INTERCEPTED_LEN_MAX, Interceptor, InterceptorFactory, Verdict};
pub use journal::{Inbound, KeyFrame, LogEntry, LogEvent, Sample};
pub use machine::Peer;
pub use media::{NegotiatedMedia, SendFrameError};
pub use parameters::{
    CodecParameters, EncodingParameters, HeaderExtensionParameters, ParametersError, Priority,
    RtcpParameters, RtpSendParameters, TransceiverInit,
};
pub use rate::EncodingTarget;
pub use stats::{LocalCandidateStats, PathStats};
pub use tones::InsertDtmfError;
pub use traffic::RouteStats;
pub use w3c::{DtlsTransportState, SctpTransport, SctpTransportState};

use crate::dtls::{Certificate, Failure, Settings};
use crate::locate::Service;
use crate::negotiate::{Codec, NegotiationEvent, SdpType, SignalingState, TransceiverId};
use crate::turn::client::Account;
use crate::{congestion, ice, negotiate, rtp};

/// Largest UDP payload that we send, in bytes: fits the IPv6 minimum of 1280 (RFC 8200 §5) with
/// 32 bytes to spare for tunnels.
pub const DATAGRAM_LEN_MAX: usize = 1200;

/// Settings of a [`Peer`].
#[derive(Debug, Clone)]
pub struct Config {
    /// Our certificate.
    pub certificate: Arc<Certificate>,
    /// Of DTLS; may be shared by all peers of a program.
    pub dtls: Settings,
    /// Of ICE.
    pub ice: ice::Config,
    /// Asked for our reflexive addresses. Default none.
    pub stun_servers: Vec<StunServer>,
    /// Asked for addresses on relays, each from every local address. Default none.
    pub turn_servers: Vec<TurnServer>,
    /// Which candidates are used. Default all.
    pub ice_transport_policy: IceTransportPolicy,
    /// `iceCandidatePoolSize`: with any but 0, addresses are gathered before the first local
    /// description, and told with it. All sections share one transport, so one is gathered for. Default
    /// 0.
    pub ice_candidate_pool_size: u8,
    /// Over which protocols checks and data go. Default both.
    pub ice_transports: IceTransports,
    /// Audio codecs, the preferred one first.
    pub audio_codecs: Arc<[Codec]>,
    /// Video codecs, the preferred one first.
    pub video_codecs: Arc<[Codec]>,
    /// Whether the orientation of pictures is agreed on, beside the extensions of
    /// [`VIDEO_EXTENSIONS`](negotiate::VIDEO_EXTENSIONS). Default no.
    pub video_orientation: bool,
    /// `alwaysNegotiateDataChannels` (webrtc-extensions): whether offers have a section for data
    /// channels before there is a channel, in front of all media. Default no.
    pub always_negotiate_data: bool,
    /// Whether we offer FlexFEC; what a peer offers of it is accepted in any case. Default no.
    pub offer_flexfec: bool,
    /// As [`negotiate::Config::offer_congestion_feedback`]. Default no.
    pub offer_congestion_feedback: bool,
    /// Start and bounds of the rate at which media is sent.
    pub congestion: congestion::Config,
    /// Whether datagrams are marked by the priority of what they carry (RFC 8837,
    /// [`EncodingParameters::network_priority`]). Default no.
    pub dscp: bool,
    /// Largest data channel message that we take, in bytes. Default 262,144, as Chromium.
    pub max_message_size: u64,
    /// Bytes of data channels that may wait to be taken ([`crate::sctp::Config::receive_window`]). Default
    /// 4 MiB.
    pub receive_window: usize,
    /// Whether a simulcast that the other side offers is accepted, each of its streams then arriving
    /// on its own, as a forwarder wants it. Default no: the other side then sends one stream.
    pub receive_simulcast: bool,
    /// Whether decisions and states are written down, for [`Peer::poll_log`]. Default no.
    pub event_log: bool,
    /// What sees packets of media in the clear, and may change them. Default nothing.
    pub interceptor: Option<InterceptorFactory>,
    /// Whether parameters are set by hand ([`ortc`]), and not by descriptions. Default no.
    pub by_hand: bool,
}

impl Config {
    /// The defaults, with a certificate and DTLS settings.
    pub fn new(certificate: Arc<Certificate>, dtls: Settings) -> Self {
        Self {
            certificate,
            dtls,
            ice: ice::Config::default(),
            stun_servers: Vec::new(),
            turn_servers: Vec::new(),
            ice_transport_policy: IceTransportPolicy::All,
            ice_candidate_pool_size: 0,
            ice_transports: IceTransports::default(),
            audio_codecs: negotiate::default_audio_codecs(),
            video_codecs: negotiate::default_video_codecs(),
            video_orientation: false,
            always_negotiate_data: false,
            offer_flexfec: false,
            offer_congestion_feedback: false,
            congestion: congestion::Config::default(),
            dscp: false,
            max_message_size: 262_144,
            receive_window: 4 << 20,
            receive_simulcast: false,
            event_log: false,
            interceptor: None,
            by_hand: false,
        }
    }
}

/// A STUN server by name or address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StunServer {
    /// A name, or an address in text.
    pub host: String,
    /// The UDP port. Default 3478.
    pub port: u16,
    /// What is asked for first where the URL has a name and no port; `host` and `port` count then
    /// for those who cannot ask.
    pub service: Option<Service>,
    /// As the application wrote it.
    pub url: String,
}

/// A TURN server by name or address.
#[derive(Debug, Clone)]
pub struct TurnServer {
    /// A name, or an address in text.
    pub host: String,
    /// The port. Default 3478, with TLS 5349.
    pub port: u16,
    /// As [`StunServer::service`].
    pub service: Option<Service>,
    /// How it is reached.
    pub protocol: ice::RelayProtocol,
    /// Who we are.
    pub account: Account,
    /// As the application wrote it.
    pub url: String,
}

/// `RTCIceTransportPolicy` (W3C webrtc-pc §4.2.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum IceTransportPolicy {
    /// All candidates.
    #[default]
    All,
    /// Relayed ones alone: the peer learns none of our own addresses.
    Relay,
}

/// Over which transport protocols candidates of ours are gathered. Not in the standard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum IceTransports {
    /// UDP, and TCP (RFC 6544) where no UDP passes: streams are opened to those who listen, and
    /// accepted. UDP is preferred.
    #[default]
    UdpAndTcp,
    /// UDP alone, and whatever leads to relays.
    Udp,
    /// TCP alone, without STUN and TURN servers.
    Tcp,
}

/// `RTCPeerConnectionState` (W3C webrtc-pc §4.3.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectionState {
    /// Nothing has happened.
    New,
    /// ICE or DTLS are on their way.
    Connecting,
    /// ICE and DTLS are up.
    Connected,
    /// Nothing is heard for the moment.
    Disconnected,
    /// ICE or DTLS failed.
    Failed,
    /// `close` was called, or the peer closed DTLS.
    Closed,
}

impl ConnectionState {
    /// The W3C name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Connecting => "connecting",
            Self::Connected => "connected",
            Self::Disconnected => "disconnected",
            Self::Failed => "failed",
            Self::Closed => "closed",
        }
    }
}

/// A local candidate to be signaled: `RTCIceCandidateInit`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalCandidate {
    /// `candidate:…`; empty for the end of candidates of this generation.
    pub candidate: String,
    /// The section that carries the transport.
    pub sdp_mid: Option<String>,
    /// Its index.
    pub sdp_m_line_index: Option<u16>,
    /// The generation.
    pub username_fragment: String,
    /// `RTCIceCandidate.url`: the server that told us the address.
    pub url: Option<String>,
    /// `RTCIceCandidate.relayProtocol`, of a relayed candidate.
    pub relay_protocol: Option<ice::RelayProtocol>,
}

/// `RTCPeerConnectionIceErrorEvent` (W3C webrtc-pc §4.8.3): a STUN or TURN server did not help.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IceCandidateError {
    /// The local address that it was asked from; `None` where that is not to be told.
    pub address: Option<IpAddr>,
    /// Its port.
    pub port: Option<u16>,
    /// The server.
    pub url: String,
    /// A STUN error code, 300 to 699; 701 where the server was not reached.
    pub error_code: u16,
    /// The server's words, or ours.
    pub error_text: String,
}

/// Why a peer failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PeerFailure {
    /// No candidate pair works, or consent has ended.
    #[error("no candidate pair works (any more)")]
    Ice,
    /// The handshake failed.
    #[error("DTLS: {0}")]
    Dtls(#[from] Failure),
}

/// What a peer reports.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// `negotiationneeded`.
    NegotiationNeeded,
    /// `signalingstatechange`.
    SignalingState(SignalingState),
    /// `iceconnectionstatechange`.
    IceConnectionState(ice::State),
    /// `selectedcandidatepairchange`: [`Peer::selected_candidate_pair`] is another.
    SelectedCandidatePair,
    /// `icegatheringstatechange`.
    IceGatheringState(ice::GatheringState),
    /// `icecandidate`.
    IceCandidate(LocalCandidate),
    /// `icecandidateerror`.
    IceCandidateError(IceCandidateError),
    /// `connectionstatechange`.
    ConnectionState(ConnectionState),
    /// The connection failed for this reason; a state change follows.
    Failed(PeerFailure),
    /// Tracks came, went or stopped.
    Negotiation(NegotiationEvent),
    /// Frames, sources, requests for key frames.
    Rtp(rtp::Event),
    /// `tonechange` (W3C webrtc-pc §7.3): what a sender plays.
    ToneChange {
        /// Its transceiver.
        transceiver: TransceiverId,
        /// The tone that begins, or a comma; `None` when all are played.
        tone: Option<char>,
    },
    /// What the path is thought to carry has changed, all headers above UDP included:
    /// [`Peer::target_bitrate`] says what each sender is to encode at.
    TargetRate(Bitrate),
}

/// A candidate of the peer's: `RTCIceCandidateInit`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RemoteCandidateInit {
    /// `candidate:…`; empty for the end of candidates.
    pub candidate: String,
    /// The section.
    pub sdp_mid: Option<String>,
    /// Its index.
    pub sdp_m_line_index: Option<u16>,
    /// The generation.
    pub username_fragment: Option<String>,
}

/// The addresses that a driver offers to bind.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Interfaces {
    /// New ones.
    pub added: Vec<IpAddr>,
    /// Gone ones.
    pub removed: Vec<IpAddr>,
}

/// A description with its type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// Its type.
    pub kind: SdpType,
    /// Its text.
    pub sdp: String,
}

/// Handshake datagrams kept that arrive before the description they belong to; later ones are
/// dropped and counted, the peer repeats them.
const EARLY_DTLS_MAX: usize = 8;
