//! What a description, once set, asks of the rest of the stack.

use twocan_wire::candidate::Candidate;
use twocan_wire::ids::{Mid, PayloadType, Rid, Ssrc};
use twocan_wire::rtp::{ExtensionKind, ExtensionMap};
use twocan_wire::sdp::{Direction, Fingerprint};

use super::codec::{CodecTerms, Feedback, RepairCodec};
use super::terms::{Section, Source};
use super::{IceParameters, Kind, SendEncoding, SignalingState, TransceiverId};

/// Everything that changes when a description is set. What it does not name stays as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The state reached.
    pub signaling_state: SignalingState,
    /// For the ICE agent.
    pub ice: IcePlan,
    /// For DTLS; `None` until an answer fixes the roles.
    pub dtls: Option<DtlsPlan>,
    /// For the SCTP association; `None` until an answer accepts data channels, and afterwards if
    /// it refuses them.
    pub sctp: Option<SctpPlan>,
    /// Every accepted media section, once an answer or provisional answer is set; it replaces
    /// the list of the plan before. `None` when an offer or a rollback leaves media as it is.
    pub media: Option<Vec<MediaPlan>>,
    /// What the application is to learn, in order.
    pub events: Vec<NegotiationEvent>,
}

/// For the ICE agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IcePlan {
    /// Our role to begin with: the first offerer controls, and whoever faces an ICE-lite peer.
    pub role: IceRole,
    /// The credentials in our newest description; `None` before one is set. Others than in the
    /// plan before mean a restart.
    pub local: Option<IceParameters>,
    /// What the remote description says; `None` before one is set.
    pub remote: Option<RemoteIce>,
}

/// RFC 8445 §6.1.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IceRole {
    /// Nominates.
    Controlling,
    /// Follows.
    Controlled,
}

/// The transport that the remote side describes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteIce {
    /// Its credentials.
    pub parameters: IceParameters,
    /// Whether it is an ICE-lite agent.
    pub lite: bool,
    /// Whether it can take and send candidates after the description.
    pub trickle: bool,
    /// Whether it follows the last of several nominations (draft-thatcher-ice-renomination).
    pub renomination: bool,
    /// Whether its credentials are others than those agreed before: an ICE restart.
    pub restarted: bool,
    /// The candidates for component 1 in the description.
    pub candidates: Vec<Candidate>,
    /// Whether those are all.
    pub end_of_candidates: bool,
}

/// For DTLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DtlsPlan {
    /// Who sends the ClientHello.
    pub role: DtlsRole,
    /// The peer's certificate must match one of these; all are by SHA-256, SHA-384 or SHA-512.
    pub fingerprints: Vec<Fingerprint>,
}

/// RFC 8842 §5.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DtlsRole {
    /// Sends the ClientHello; `setup:active`.
    Client,
    /// Waits for it; `setup:passive`.
    Server,
}

/// For the SCTP association.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SctpPlan {
    /// Our port.
    pub local_port: u16,
    /// The peer's port.
    pub remote_port: u16,
    /// Largest message that the peer takes, in bytes; `u64::MAX` where it set no limit, 65536
    /// where it said nothing (RFC 8841 §6.1).
    pub max_message_size: u64,
}

/// One accepted media section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MediaPlan {
    /// Its transceiver.
    pub transceiver: TransceiverId,
    /// Its identification.
    pub mid: Mid,
    /// What the other side's packets call it, where that is another name: never so by descriptions.
    pub remote_mid: Option<Mid>,
    /// What it carries.
    pub kind: Kind,
    /// Which way, seen from here: `currentDirection`.
    pub direction: Direction,
    /// The agreed codecs, the preferred one first.
    pub codecs: Vec<NegotiatedCodec>,
    /// Numbers of the extensions in packets that we send.
    pub extensions_send: ExtensionMap,
    /// Numbers of the extensions in packets that we receive.
    pub extensions_receive: ExtensionMap,
    /// Whether reduced-size RTCP is agreed (RFC 5506).
    pub rtcp_rsize: bool,
    /// What we send: at least one stream.
    pub encodings: Vec<SendEncoding>,
    /// The source of FlexFEC for it, if it is a single stream.
    pub fec: Ssrc,
    /// The canonical name of all our sources.
    pub cname: String,
    /// Sources that the remote side announced; streams may come from others as well.
    pub remote: Vec<Source>,
    /// Simulcast streams that the remote side sends, by RID, where we accepted them.
    pub rids: Vec<Rid>,
    /// Whether one of the two sides prefers sound in RED to sound without.
    pub red_preferred: bool,
}

/// A codec that both sides know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NegotiatedCodec {
    /// The encoding name.
    pub name: String,
    /// The RTP clock rate in Hz.
    pub clock_rate: u32,
    /// Channels; 1 for video.
    pub channels: u8,
    /// The payload type of packets that we receive.
    pub payload_type: PayloadType,
    /// The payload type of packets that we send.
    pub payload_type_send: PayloadType,
    /// Retransmissions that we receive.
    pub rtx_payload_type: Option<PayloadType>,
    /// Retransmissions that we send.
    pub rtx_payload_type_send: Option<PayloadType>,
    /// Our format parameters.
    pub fmtp: String,
    /// The remote side's format parameters: what it can receive.
    pub fmtp_remote: String,
    /// The feedback that both understand.
    pub feedback: Feedback,
}

/// What the application is to learn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NegotiationEvent {
    /// The remote side sends on this transceiver from here on: the `track` event.
    TrackAdded {
        /// The transceiver; perhaps a new one.
        transceiver: TransceiverId,
        /// The section.
        mid: Mid,
        /// The streams that the track is part of.
        streams: Vec<String>,
        /// The track's id at the remote side, where given.
        track: Option<String>,
    },
    /// The remote side no longer sends on this transceiver.
    TrackRemoved {
        /// The transceiver.
        transceiver: TransceiverId,
    },
    /// The transceiver is gone.
    TransceiverStopped {
        /// The transceiver.
        transceiver: TransceiverId,
    },
}

/// Pairs the codecs of both descriptions, in the answer's order.
pub(super) fn codecs(local: &Section, remote: &Section, answer: &Section) -> Vec<NegotiatedCodec> {
    let find = |list: &[CodecTerms], codec: &CodecTerms| -> Option<CodecTerms> {
        list.iter()
            .find(|own| own.payload_type == codec.payload_type && own.is_same_codec(codec))
            .or_else(|| list.iter().find(|own| own.is_same_codec(codec)))
            .cloned()
    };
    let pair = |codec: &CodecTerms| {
        let ours = find(&local.codecs, codec)?;
        let theirs = find(&remote.codecs, codec)?;
        let rtx = ours.rtx.zip(theirs.rtx);
        Some(NegotiatedCodec {
            name: ours.name.clone(),
            clock_rate: ours.clock_rate,
            channels: ours.channels,
            payload_type: ours.payload_type,
            payload_type_send: theirs.payload_type,
            rtx_payload_type: rtx.map(|(ours, _)| ours),
            rtx_payload_type_send: rtx.map(|(_, theirs)| theirs),
            fmtp: ours.fmtp.clone(),
            fmtp_remote: theirs.fmtp.clone(),
            feedback: ours.feedback.intersect(theirs.feedback),
        })
    };
    answer.codecs.iter().filter_map(pair).collect()
}

/// Whether a side prefers RED: it stands before the first codec of media.
pub(super) fn prefers_red(codecs: &[CodecTerms]) -> bool {
    let first = codecs.iter().find_map(|codec| {
        let repair = RepairCodec::from_name(&codec.name);
        (repair == Some(RepairCodec::Red) || codec.is_media()).then_some(repair)
    });
    first.flatten() == Some(RepairCodec::Red)
}

/// The extensions that the answer kept, for sending and for receiving as its writer sees them.
pub(super) fn extensions(answer: &Section) -> (ExtensionMap, ExtensionMap) {
    let (mut send, mut receive) = (ExtensionMap::default(), ExtensionMap::default());
    for extmap in &answer.extensions {
        let known = ExtensionKind::from_uri(&extmap.uri).zip(u8::try_from(extmap.id).ok());
        let Some((kind, id)) = known else { continue };
        let direction = extmap.direction.unwrap_or(Direction::SendRecv);
        if direction.sends() {
            send.insert(kind, id);
        }
        if direction.receives() {
            receive.insert(kind, id);
        }
    }
    (send, receive)
}
