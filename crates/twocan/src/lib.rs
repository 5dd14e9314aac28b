//! Real-time communication: the W3C WebRTC API for Rust, on a stack of its own.
//!
//! ```no_run
//! # async fn example() -> Result<(), twocan::Error> {
//! use twocan::{Configuration, DataChannelInit, PeerConnection, PeerConnectionEvent};
//!
//! let peer = PeerConnection::new(Configuration::default())?;
//! let chat = peer.create_data_channel("chat", DataChannelInit::default())?;
//! peer.set_local_description(None)?; // as in the browser: the implicit offer
//! while let Some(event) = peer.next_event().await {
//!     if let PeerConnectionEvent::IceCandidate(candidate) = event {
//!         // send it to the other side
//!     }
//! }
//! # Ok(()) }
//! ```
//!
//! Handles are cheap to clone. Events are awaited, not called back. Dropping the last handle of
//! a connection (itself, its channels, its tracks) closes it. Everything needs a tokio runtime.
#![forbid(unsafe_code)]

/// Compiles what the README shows.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;

/// Compiles what the page on connections without descriptions shows.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/ortc.md")]
struct WithoutDescriptions;

mod byte_stream;
#[cfg(feature = "captions")]
pub mod captions;
mod configuration;
mod data_channel;
mod driver;
pub mod dtmf;
mod environment;
mod error;
#[cfg(feature = "files")]
pub mod files;
mod ice_server;
mod ice_transport;
pub mod interceptor;
mod nat;
pub mod ortc;
mod peer_connection;
pub mod playout;
mod receiver;
#[cfg(feature = "rooms")]
pub mod rooms;
mod sender;
mod state;
mod stats;
pub mod text;
mod transceiver;
pub mod transform;
pub mod turn;
mod w3c;

pub use byte_stream::{ByteStream, DetachError};
pub use configuration::{Certificate, Configuration};
pub use data_channel::{
    DataChannel, DataChannelEvent, DataChannelInit, DataChannelState, Message, Priority,
    Reliability,
};
pub use environment::Environment;
pub use error::Error;
pub use ice_server::IceServer;
pub use ice_transport::{IceCandidatePair, IceComponent, IceTransport};
pub use nat::{NatError, nat_behaviour};
pub use peer_connection::{IceCandidate, PeerConnection, PeerConnectionEvent, SessionDescription};
pub use receiver::{Delivery, Frame, IncomingPacket, RtpReceiver};
pub use sender::{EncodedFrame, FrameLayer, KeyFrameRequest, OutgoingPacket, RtpSender};
pub use stats::{
    CandidatePairStats, DataChannelStats, InboundRtpStats, OutboundRtpStats, PeerConnectionStats,
    StatsReport, TransportStats,
};
pub use transceiver::{Codec, RtpTransceiver, TrackEvent};
pub use w3c::RtpCapabilities;

pub use twocan_proto::ice::{
    GatheringState as IceGatheringState, Kind as IceCandidateType, RelayProtocol, Role as IceRole,
    State as IceConnectionState, TcpType as IceTcpCandidateType,
};
pub use twocan_proto::nat_behaviour::{Behaviour, NatBehaviour, Untold};
pub use twocan_proto::negotiate::{
    CodecPreference, IceParameters, Kind, NegotiateError, RemoteMedia, SdpType, SignalingState,
    TransceiverId,
};
pub use twocan_proto::peer::{
    CodecParameters, ConnectionState, DtlsTransportState, EncodingParameters, EncodingTarget,
    HeaderExtensionParameters, IceCandidateError, IceTransportPolicy, IceTransportState,
    IceTransports, KeyFrame, LocalCandidateStats, LogEntry, LogEvent, ParametersError, PeerFailure,
    Priority as EncodingPriority, RouteStats, RtcpParameters, RtpSendParameters, SctpTransport,
    SctpTransportState, TransceiverInit,
};
pub use twocan_proto::rtp::{
    Cadence, ContributingSource, FrameTimes, InterLayer, PictureProperties, Provenance,
    ScalabilityMode, UnknownScalabilityMode,
};
pub use twocan_proto::wire::payload::comfort_noise::{ComfortNoise, Reflection};
pub use twocan_proto::wire::payload::{PayloadError, l16};
pub use twocan_proto::wire::rtp::{
    AudioLevel, ColorSpace, ExtensionKind as HeaderExtension, HdrMetadata, LayerResolution,
    PlayoutDelay, SpatialLayer, VideoContentType, VideoLayersAllocation, VideoOrientation,
};
pub use twocan_proto::wire::sdp::Direction;
pub use twocan_proto::wire::units::Bitrate;
