//! Frames of the signaling protocol: `docs/signaling`.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use twocan_proto::negotiate::Kind;

use crate::ice_server::IceServer;
use crate::peer_connection::{IceCandidate, SessionDescription};
use twocan_proto::negotiate::SdpType;

/// Where media comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// Sound of the participant.
    Microphone,
    /// Picture of the participant.
    Camera,
    /// A shared screen.
    Screen,
    /// Its sound.
    ScreenAudio,
    /// Anything else.
    #[serde(other)]
    Other,
}

impl Source {
    /// What it carries; [`Source::Other`] counts as a picture.
    pub const fn kind(self) -> Kind {
        match self {
            Self::Microphone | Self::ScreenAudio => Kind::Audio,
            Self::Camera | Self::Screen | Self::Other => Kind::Video,
        }
    }
}

/// The id of the server where it takes part in a call itself.
pub(super) const SERVER_ID: &str = "server";

/// What a participant says it sends. `stream` is the stream id that its SDP has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Publication {
    /// Unique in the room.
    pub id: String,
    /// `audio` or `video`.
    pub kind: String,
    /// Where it comes from.
    pub source: Source,
    /// The `msid` in the SDP.
    pub stream: String,
    /// Whether it is silent or dark at present.
    pub muted: bool,
}

/// What changed about a [`Publication`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrackChange {
    /// `publish`, `unpublish`, `mute`, `unmute`.
    pub action: String,
    /// As it is after the change.
    pub track: Publication,
}

/// A participant, as others are told of it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(super) struct PeerInfo {
    #[serde(alias = "peer_id")]
    pub(super) id: String,
    #[serde(default)]
    pub(super) name: String,
    #[serde(default)]
    pub(super) tracks: Vec<Publication>,
    #[serde(default = "base")]
    pub(super) protocol: String,
}

impl PeerInfo {
    /// The server, where it takes part itself and forwards what the others send.
    pub(super) fn server() -> Self {
        Self {
            id: SERVER_ID.to_owned(),
            name: SERVER_ID.to_owned(),
            tracks: Vec::new(),
            protocol: "twocan.v1".to_owned(),
        }
    }

    /// Someone of whom nothing is known: a base client.
    pub(super) fn unknown(id: &str) -> Self {
        Self {
            id: id.to_owned(),
            name: String::new(),
            tracks: Vec::new(),
            protocol: base(),
        }
    }
}

fn base() -> String {
    "base".to_owned()
}

/// `data` of `authenticated`; a base server sends the id alone.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(super) struct Authenticated {
    pub(super) peer_id: String,
    /// How media goes; base servers know the mesh alone.
    #[serde(default)]
    pub(super) topology: String,
    #[serde(default)]
    pub(super) peers: Vec<PeerInfo>,
    #[serde(default)]
    pub(super) ice_servers: Vec<ServerInfo>,
    #[serde(default)]
    pub(super) resume_token: String,
}

/// `data` of `topology`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(super) struct TopologyChange {
    pub(super) topology: String,
    /// Whether everybody has the connections of that shape.
    pub(super) settled: bool,
    /// Who is there, as long as it is not settled.
    #[serde(default)]
    pub(super) peers: Vec<PeerInfo>,
}

/// `data` of `resumed`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(super) struct Resumed {
    pub(super) received: u64,
    #[serde(default)]
    pub(super) resume_token: Option<String>,
    #[serde(default)]
    pub(super) ice_servers: Vec<ServerInfo>,
}

/// `RTCIceServer`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(super) struct ServerInfo {
    urls: Urls,
    username: Option<String>,
    credential: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged)]
enum Urls {
    One(String),
    Many(Vec<String>),
}

impl From<ServerInfo> for IceServer {
    fn from(info: ServerInfo) -> Self {
        Self {
            urls: match info.urls {
                Urls::One(url) => vec![url],
                Urls::Many(urls) => urls,
            },
            username: info.username,
            credential: info.credential,
        }
    }
}

/// A frame from the server.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(super) struct ServerFrame {
    pub(super) event: String,
    #[serde(default)]
    pub(super) data: Value,
    #[serde(default)]
    pub(super) from: Option<String>,
    #[serde(default)]
    pub(super) seq: Option<u64>,
}

/// Whom a frame is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub(super) enum To {
    Peers(Vec<String>),
    /// The word `all`.
    All(&'static str),
}

/// A frame to the server.
#[derive(Debug, Serialize)]
pub(super) struct ClientFrame<'a> {
    pub(super) event: &'a str,
    pub(super) data: &'a Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) to: Option<&'a To>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) seq: Option<u64>,
}

/// `RTCSessionDescription` as JSON.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct DescriptionJson {
    #[serde(rename = "type")]
    kind: String,
    sdp: String,
}

impl From<SessionDescription> for DescriptionJson {
    fn from(description: SessionDescription) -> Self {
        let kind = match description.kind {
            SdpType::Offer => "offer",
            SdpType::Pranswer => "pranswer",
            SdpType::Answer => "answer",
            SdpType::Rollback => "rollback",
        };
        Self {
            kind: kind.to_owned(),
            sdp: description.sdp,
        }
    }
}

impl DescriptionJson {
    /// An offer or an answer; others do not travel.
    pub(super) fn into_description(self) -> Option<SessionDescription> {
        let kind = match self.kind.as_str() {
            "offer" => SdpType::Offer,
            "answer" => SdpType::Answer,
            _ => return None,
        };
        Some(SessionDescription {
            kind,
            sdp: self.sdp,
        })
    }
}

/// `RTCIceCandidateInit` as JSON.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CandidateJson {
    #[serde(default)]
    candidate: String,
    #[serde(default)]
    sdp_mid: Option<String>,
    #[serde(default)]
    sdp_m_line_index: Option<u16>,
    #[serde(default)]
    username_fragment: Option<String>,
}

impl From<IceCandidate> for CandidateJson {
    fn from(candidate: IceCandidate) -> Self {
        Self {
            candidate: candidate.candidate,
            sdp_mid: candidate.sdp_mid,
            sdp_m_line_index: candidate.sdp_m_line_index,
            username_fragment: candidate.username_fragment,
        }
    }
}

impl From<CandidateJson> for IceCandidate {
    fn from(json: CandidateJson) -> Self {
        Self {
            candidate: json.candidate,
            sdp_mid: json.sdp_mid,
            sdp_m_line_index: json.sdp_m_line_index,
            username_fragment: json.username_fragment,
            ..Self::default()
        }
    }
}
