//! What goes between JavaScript and the stack, as plain objects.

use napi::{Error, Result, Status};
use napi_derive::napi;
use twocan::{Direction, IceCandidate, Kind, SdpType};

/// `RTCIceServer`, with its URLs as a list.
#[napi(object)]
pub struct IceServerInit {
    /// `urls`.
    pub urls: Vec<String>,
    /// `username`.
    pub username: Option<String>,
    /// `credential`.
    pub credential: Option<String>,
}

/// What a connection begins with.
#[napi(object)]
pub struct ConnectionInit {
    /// `iceServers`.
    pub ice_servers: Vec<IceServerInit>,
    /// Whether `iceTransportPolicy` is `relay`.
    pub relay_only: bool,
    /// `iceCandidatePoolSize`.
    pub ice_candidate_pool_size: u8,
    /// `alwaysNegotiateDataChannels` (webrtc-extensions).
    pub always_negotiate_data_channels: bool,
    /// Whether what is sent is marked for routers. Not in the standard.
    pub dscp: Option<bool>,
    /// Also gather loopback addresses. Not in the standard.
    pub loopback_candidates: Option<bool>,
    /// The longest message that is taken, in bytes. Not in the standard.
    pub max_message_size: Option<f64>,
    /// Whether a simulcast that is offered is accepted. Not in the standard.
    pub receive_simulcast: Option<bool>,
    /// Whether host candidates have names in place of addresses. Not in the standard.
    pub hide_host_addresses: Option<bool>,
    /// Names of the interfaces that are used. Not in the standard.
    pub interfaces: Option<Vec<String>>,
    /// First and last port that is bound. Not in the standard.
    pub ports: Option<Vec<u16>>,
}

/// A description.
#[napi(object)]
pub struct NativeDescription {
    /// `type`.
    pub kind: String,
    /// `sdp`.
    pub sdp: String,
}

/// A candidate of the other side.
#[napi(object)]
pub struct CandidateInit {
    /// `candidate`.
    pub candidate: String,
    /// `sdpMid`.
    pub sdp_mid: Option<String>,
    /// `sdpMLineIndex`.
    pub sdp_m_line_index: Option<u16>,
    /// `usernameFragment`.
    pub username_fragment: Option<String>,
}

/// `RTCIceCandidate`: what its line does not say as well.
#[napi(object)]
pub struct CandidateState {
    /// `candidate`.
    pub candidate: String,
    /// `sdpMid`.
    pub sdp_mid: Option<String>,
    /// `sdpMLineIndex`.
    pub sdp_m_line_index: Option<u16>,
    /// `usernameFragment`.
    pub username_fragment: Option<String>,
    /// `url`.
    pub url: Option<String>,
    /// `relayProtocol`.
    pub relay_protocol: Option<String>,
}

pub(crate) fn from_candidate(own: IceCandidate) -> CandidateState {
    CandidateState {
        candidate: own.candidate,
        sdp_mid: own.sdp_mid,
        sdp_m_line_index: own.sdp_m_line_index,
        username_fragment: own.username_fragment,
        url: own.url,
        relay_protocol: own.relay_protocol.map(|own| own.as_str().to_owned()),
    }
}

/// `RTCIceCandidatePair`.
#[napi(object)]
pub struct CandidatePairState {
    /// `local`.
    pub local: CandidateState,
    /// `remote`.
    pub remote: CandidateState,
}

/// `RTCDataChannelInit`.
#[napi(object)]
pub struct ChannelInit {
    /// `ordered`.
    pub ordered: bool,
    /// `maxPacketLifeTime`.
    pub max_packet_life_time: Option<u16>,
    /// `maxRetransmits`.
    pub max_retransmits: Option<u16>,
    /// `protocol`.
    pub protocol: String,
    /// `negotiated`.
    pub negotiated: bool,
    /// `id`.
    pub id: Option<u16>,
    /// `priority`.
    pub priority: String,
}

/// How a data channel is.
#[napi(object)]
pub struct ChannelInfo {
    /// Our own name for it.
    pub handle: u32,
    /// `label`.
    pub label: String,
    /// `protocol`.
    pub protocol: String,
    /// `ordered`.
    pub ordered: bool,
    /// `maxPacketLifeTime`.
    pub max_packet_life_time: Option<u16>,
    /// `maxRetransmits`.
    pub max_retransmits: Option<u16>,
    /// `negotiated`.
    pub negotiated: bool,
    /// `priority`.
    pub priority: String,
}

/// How a transceiver is.
#[napi(object)]
pub struct TransceiverState {
    /// Names it.
    pub id: u32,
    /// `kind` of its tracks.
    pub kind: String,
    /// `mid`.
    pub mid: Option<String>,
    /// `direction`.
    pub direction: String,
    /// `currentDirection`.
    pub current_direction: Option<String>,
    /// The direction of the newest remote description, seen from here.
    pub remote_direction: Option<String>,
    /// The ids of the remote streams.
    pub remote_streams: Vec<String>,
    /// The id of the remote track.
    pub remote_track: Option<String>,
}

/// What a description, once set, shows of a connection.
#[napi(object)]
pub struct ConnectionState {
    /// `signalingState`.
    pub signaling_state: String,
    /// `currentLocalDescription`.
    pub current_local: Option<NativeDescription>,
    /// `pendingLocalDescription`.
    pub pending_local: Option<NativeDescription>,
    /// `currentRemoteDescription`.
    pub current_remote: Option<NativeDescription>,
    /// `pendingRemoteDescription`.
    pub pending_remote: Option<NativeDescription>,
    /// `canTrickleIceCandidates`.
    pub can_trickle: Option<bool>,
    /// The transceivers that are not stopped, in their order.
    pub transceivers: Vec<TransceiverState>,
}

/// `RTCSctpTransport`.
#[napi(object)]
pub struct SctpState {
    /// `state`.
    pub state: String,
    /// `maxMessageSize`; none for no limit.
    pub max_message_size: Option<f64>,
    /// `maxChannels`.
    pub max_channels: Option<u16>,
}

/// `RTCIceParameters`.
#[napi(object)]
pub struct IceParametersState {
    /// `usernameFragment`.
    pub username_fragment: String,
    /// `password`.
    pub password: String,
}

/// `RTCRtpCodec`.
#[napi(object)]
pub struct CodecState {
    /// `mimeType`.
    pub mime_type: String,
    /// `clockRate`.
    pub clock_rate: u32,
    /// `channels`, of sound.
    pub channels: Option<u8>,
    /// `sdpFmtpLine`.
    pub sdp_fmtp_line: Option<String>,
    /// `payloadType`, of parameters.
    pub payload_type: Option<u8>,
}

/// `RTCRtpHeaderExtensionParameters`.
#[napi(object)]
pub struct ExtensionState {
    /// `uri`.
    pub uri: String,
    /// `id`, of parameters.
    pub id: Option<u8>,
    /// `direction`, of what is to be negotiated.
    pub direction: Option<String>,
}

/// `RTCRtpCapabilities`.
#[napi(object)]
pub struct CapabilitiesState {
    /// `codecs`.
    pub codecs: Vec<CodecState>,
    /// `headerExtensions`.
    pub header_extensions: Vec<ExtensionState>,
}

/// `RTCRtpEncodingParameters`.
#[napi(object)]
pub struct EncodingState {
    /// `rid`.
    pub rid: Option<String>,
    /// `active`.
    pub active: bool,
    /// `maxBitrate`.
    pub max_bitrate: Option<f64>,
    /// `maxFramerate`.
    pub max_framerate: Option<f64>,
    /// `scaleResolutionDownBy`.
    pub scale_resolution_down_by: Option<f64>,
    /// `scalabilityMode`.
    pub scalability_mode: Option<String>,
    /// `priority`.
    pub priority: String,
    /// `networkPriority`.
    pub network_priority: Option<String>,
}

/// `RTCRtpSendParameters`.
#[napi(object)]
pub struct ParametersState {
    /// `transactionId`.
    pub transaction_id: String,
    /// `encodings`.
    pub encodings: Vec<EncodingState>,
    /// `headerExtensions`.
    pub header_extensions: Vec<ExtensionState>,
    /// `rtcp.cname`.
    pub cname: String,
    /// `rtcp.reducedSize`.
    pub reduced_size: bool,
    /// `codecs`.
    pub codecs: Vec<CodecState>,
}

fn unknown(what: &str) -> Error {
    Error::new(Status::InvalidArg, format!("TypeError||unknown {what}"))
}

pub(crate) fn to_sdp_type(text: &str) -> Result<SdpType> {
    match text {
        "offer" => Ok(SdpType::Offer),
        "pranswer" => Ok(SdpType::Pranswer),
        "answer" => Ok(SdpType::Answer),
        "rollback" => Ok(SdpType::Rollback),
        _ => Err(unknown("type of description")),
    }
}

pub(crate) fn from_description(description: twocan::SessionDescription) -> NativeDescription {
    let kind = match description.kind {
        SdpType::Offer => "offer",
        SdpType::Pranswer => "pranswer",
        SdpType::Answer => "answer",
        SdpType::Rollback => "rollback",
    };
    NativeDescription {
        kind: kind.to_owned(),
        sdp: description.sdp,
    }
}

pub(crate) fn to_kind(text: &str) -> Result<Kind> {
    match text {
        "audio" => Ok(Kind::Audio),
        "video" => Ok(Kind::Video),
        _ => Err(unknown("kind")),
    }
}

pub(crate) fn to_direction(text: &str) -> Result<Direction> {
    match text {
        "sendrecv" => Ok(Direction::SendRecv),
        "sendonly" => Ok(Direction::SendOnly),
        "recvonly" => Ok(Direction::RecvOnly),
        "inactive" => Ok(Direction::Inactive),
        _ => Err(unknown("direction")),
    }
}

pub(crate) fn from_direction(direction: Direction) -> String {
    match direction {
        Direction::SendRecv => "sendrecv",
        Direction::SendOnly => "sendonly",
        Direction::RecvOnly => "recvonly",
        Direction::Inactive => "inactive",
    }
    .to_owned()
}

pub(crate) fn to_channel_priority(text: &str) -> twocan::Priority {
    match text {
        "very-low" => twocan::Priority::VeryLow,
        "medium" => twocan::Priority::Medium,
        "high" => twocan::Priority::High,
        _ => twocan::Priority::Low,
    }
}

pub(crate) fn from_channel_priority(priority: twocan::Priority) -> String {
    match priority {
        twocan::Priority::VeryLow => "very-low",
        twocan::Priority::Low => "low",
        twocan::Priority::Medium => "medium",
        twocan::Priority::High => "high",
        // What lies between the four of RFC 8831 §6.4 counts as the lower one.
        twocan::Priority::Other(value) => match value {
            0..=255 => "very-low",
            256..=511 => "low",
            512..=1023 => "medium",
            _ => "high",
        },
    }
    .to_owned()
}
