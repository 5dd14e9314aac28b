//! `getStats`: the basic dictionaries (W3C webrtc-stats).

use std::net::SocketAddr;
use std::time::Duration;

use twocan_proto::counters::Counters;
use twocan_proto::ice::{Candidate, PairState, PairStats};
use twocan_proto::peer::{LocalCandidateStats, RouteStats};
use twocan_proto::rtp::{InboundStats, OutboundStats};
use twocan_proto::wire::units::Bitrate;

use crate::state::State;

/// A snapshot of all figures.
#[derive(Debug, Clone)]
pub struct StatsReport {
    /// `RTCPeerConnectionStats`.
    pub peer_connection: PeerConnectionStats,
    /// `RTCTransportStats`.
    pub transport: TransportStats,
    /// `RTCIceCandidatePairStats`, best first.
    pub candidate_pairs: Vec<CandidatePairStats>,
    /// `RTCIceCandidateStats` of our own candidates. Those of the other side are in the pairs.
    pub local_candidates: Vec<LocalCandidateStats>,
    /// `RTCDataChannelStats`, the association's in sum.
    pub data_channels: DataChannelStats,
    /// `RTCOutboundRtpStreamStats`.
    pub outbound_rtp: Vec<OutboundRtpStats>,
    /// `RTCInboundRtpStreamStats`.
    pub inbound_rtp: Vec<InboundRtpStats>,
    /// What was dropped or refused, by reason: not in the standard.
    pub dropped: Vec<(&'static str, u64)>,
}

/// `RTCOutboundRtpStreamStats`.
pub type OutboundRtpStats = OutboundStats;

/// `RTCInboundRtpStreamStats`.
pub type InboundRtpStats = InboundStats;

/// `RTCPeerConnectionStats`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerConnectionStats {
    /// Channels that are not closed.
    pub data_channels_open: usize,
}

/// `RTCTransportStats`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransportStats {
    /// `dtlsState` is connected and this the version: `FEFD` (1.2) or `FEFC` (1.3).
    pub tls_version: Option<&'static str>,
    /// The SRTP protection profile.
    pub srtp_cipher: Option<&'static str>,
    /// Both ends of the route in use.
    pub selected_route: Option<(SocketAddr, SocketAddr)>,
    /// `selectedCandidatePairChanges`.
    pub selected_candidate_pair_changes: u64,
    /// Datagrams that the system had no room for.
    pub packets_discarded_on_send: u64,
    /// `bytesSent` and the like, of all pairs.
    pub traffic: RouteStats,
    /// `ccfbMessagesSent`: reports of arrivals by stream (RFC 8888).
    pub ccfb_messages_sent: u64,
    /// `ccfbMessagesReceived`.
    pub ccfb_messages_received: u64,
}

/// `RTCIceCandidatePairStats` with both candidates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CandidatePairStats {
    /// The local base: the address of a host or relayed candidate.
    pub local: SocketAddr,
    /// The remote candidate.
    pub remote: Candidate,
    /// `state`.
    pub state: PairState,
    /// Whether data goes this way.
    pub selected: bool,
    /// `requestsSent` and the like.
    pub checks: PairStats,
    /// `bytesSent` and the like.
    pub traffic: RouteStats,
    /// `availableOutgoingBitrate`: what congestion control makes of the selected pair, all headers
    /// above UDP included. `None` for other pairs, and while the peer says nothing about the path.
    pub available_outgoing_bitrate: Option<Bitrate>,
}

/// `RTCDataChannelStats` in sum, with the association's figures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DataChannelStats {
    /// Messages accepted from the application.
    pub messages_sent: u64,
    /// Their bytes, once sent.
    pub bytes_sent: u64,
    /// Messages delivered.
    pub messages_received: u64,
    /// Their bytes.
    pub bytes_received: u64,
    /// Parts sent again.
    pub retransmissions: u64,
    /// Smoothed round-trip time, once measured.
    pub smoothed_round_trip_time: Option<Duration>,
    /// Congestion window in bytes.
    pub congestion_window: usize,
}

impl StatsReport {
    pub(crate) fn of(state: &State) -> Self {
        let peer = &state.peer;
        let sctp = peer.sctp_stats();
        let available = peer.available_outgoing_bitrate();
        let feedback = peer.feedback_stats();
        let counters: Counters = peer.counters();
        Self {
            peer_connection: PeerConnectionStats {
                data_channels_open: state
                    .channels
                    .values()
                    .filter(|entry| !entry.closed)
                    .count(),
            },
            transport: TransportStats {
                tls_version: peer.dtls_version().map(|version| version.as_str()),
                srtp_cipher: peer.srtp_profile().map(|profile| profile.as_str()),
                selected_route: peer.route().map(|route| (route.path.local, route.remote)),
                selected_candidate_pair_changes: peer.selected_candidate_pair_changes(),
                packets_discarded_on_send: state.datagrams_not_sent,
                traffic: peer.transport_traffic(),
                ccfb_messages_sent: feedback.ccfb_messages_sent,
                ccfb_messages_received: feedback.ccfb_messages_received,
            },
            candidate_pairs: peer
                .candidate_pairs()
                .map(
                    |(local, remote, state, selected, checks)| CandidatePairStats {
                        local,
                        remote: remote.clone(),
                        state,
                        selected,
                        checks,
                        traffic: peer.pair_traffic(local, remote.address),
                        available_outgoing_bitrate: available.filter(|_| selected),
                    },
                )
                .collect(),
            local_candidates: peer.local_candidates(),
            data_channels: DataChannelStats {
                messages_sent: sctp.messages_sent,
                bytes_sent: sctp.bytes_sent,
                messages_received: sctp.messages_received,
                bytes_received: sctp.bytes_received,
                retransmissions: sctp.retransmissions,
                smoothed_round_trip_time: sctp.smoothed_rtt,
                congestion_window: sctp.congestion_window,
            },
            outbound_rtp: peer.outbound_stats(),
            inbound_rtp: peer.inbound_stats(),
            dropped: counters.iter().collect(),
        }
    }
}
