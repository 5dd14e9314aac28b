//! What there is to tell about a running peer.

use std::net::SocketAddr;
use std::time::Duration;

use twocan_wire::ids::Rid;

use super::machine::Peer;
use crate::dtls::Version;
use crate::ice::{Candidate, Kind, PairState, PairStats, RelayProtocol, Route, TcpType};
use crate::keying::SrtpProfile;
use crate::rtp::{InboundStats, OutboundStats, TransportFeedbackStats};

/// `RTCIceCandidateStats` of a local candidate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalCandidateStats {
    /// `candidateType`.
    pub kind: Kind,
    /// `address` and `port`.
    pub address: SocketAddr,
    /// `protocol` is `tcp` and this `tcpType`, else `udp`.
    pub tcp: Option<TcpType>,
    /// `relatedAddress` and `relatedPort`.
    pub related: Option<SocketAddr>,
    /// `priority`.
    pub priority: u32,
    /// `foundation`.
    pub foundation: String,
    /// `url`: the server that told us the address.
    pub url: Option<String>,
    /// `relayProtocol`, of a relayed candidate.
    pub relay_protocol: Option<RelayProtocol>,
}

/// What got through a connection, both ways, of all its streams since it was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PathStats {
    /// RTP packets that came when they were sent first.
    pub received: u64,
    /// Those that did not, though they may have been sent again since; late and doubled ones count back
    /// (RFC 3550 §A.3).
    pub missed: i64,
    /// Of ours, those that have come as the other side reports it.
    pub arrived: u64,
    /// Of ours, those that it reports as missing.
    pub lost: i64,
    /// Whether those two are of all packets (transport-wide feedback, RFC 8888), and not of streams.
    pub is_by_feedback: bool,
    /// As measured last, by checks or reports; `None` before an answer has come.
    pub round_trip_time: Option<Duration>,
}

impl Peer {
    /// What is lost on this connection, and how late answers are.
    pub fn path_stats(&self) -> PathStats {
        let mut path = PathStats::default();
        for stream in self.transport.rtp.inbound_stats() {
            let repeated = stream.retransmitted_packets_received;
            path.received += stream.packets_received.saturating_sub(repeated);
            path.missed += stream.packets_lost;
        }
        for remote in self
            .transport
            .rtp
            .outbound_stats()
            .filter_map(|own| own.remote)
        {
            path.arrived += remote.packets_received;
            path.lost += i64::from(remote.packets_lost);
            path.round_trip_time = remote.round_trip_time.or(path.round_trip_time);
        }
        // Reports of streams count what was sent again as arrived; those of all packets do not.
        let feedback = self.feedback_stats();
        if feedback.feedback_received > 0 {
            path.is_by_feedback = true;
            path.arrived = feedback.packets_arrived;
            path.lost = feedback.packets_missing.cast_signed();
        }
        // A lite agent sends no checks, whose answers would tell.
        let mut pairs = self.transport.ice.pairs();
        let checked = pairs.find_map(|(_, _, _, selected, own)| {
            selected.then_some(own.current_round_trip_time).flatten()
        });
        path.round_trip_time = checked.or(path.round_trip_time);
        path
    }

    /// Our candidates.
    pub fn local_candidates(&self) -> Vec<LocalCandidateStats> {
        let locals = self.transport.ice.local_candidates().iter();
        let stats = locals.map(|own| {
            let (url, relay_protocol) = self.origin(own);
            LocalCandidateStats {
                kind: own.kind,
                address: own.address,
                tcp: own.tcp,
                related: own.related,
                priority: own.priority,
                foundation: own.foundation.clone(),
                url,
                relay_protocol,
            }
        });
        stats.collect()
    }

    /// What was reported of arrivals, both ways.
    pub fn feedback_stats(&self) -> TransportFeedbackStats {
        self.transport.rtp.transport_stats()
    }

    /// Our username fragments under which checks are answered, so that one socket can serve many
    /// peers; the first is that of the present generation.
    pub fn username_fragments(&self) -> impl Iterator<Item = &str> {
        // Credentials that a created description states may be checked as soon as it is sent.
        let fresh = self.fresh.iter().map(|own| own.username_fragment.as_str());
        self.transport.ice.username_fragments().chain(fresh)
    }

    /// A number that is another one as soon as [`Self::username_fragments`] are others.
    pub fn username_fragments_version(&self) -> u64 {
        // Fresh ones go only where they become those of the agent.
        2 * self.transport.ice.username_fragments_changes() + u64::from(self.fresh.is_some())
    }

    /// Whether the other side has proved that it is there, by a check that was authentic.
    pub fn is_proven(&self, route: Route) -> bool {
        self.transport.ice.is_proven(route)
    }

    /// The DTLS version agreed on, once connected.
    pub fn dtls_version(&self) -> Option<Version> {
        self.transport.dtls_version()
    }

    /// The SRTP profile agreed on, once connected.
    pub fn srtp_profile(&self) -> Option<SrtpProfile> {
        self.transport.srtp_profile()
    }

    /// Where data goes at present.
    pub fn route(&self) -> Option<Route> {
        self.transport.ice.route()
    }

    /// Whether media can be sent: the keys are there.
    pub fn can_send_media(&self) -> bool {
        self.transport.has_keys()
    }

    /// Candidate pairs, best first: local base, remote candidate, state, whether selected, counts.
    pub fn candidate_pairs(
        &self,
    ) -> impl Iterator<Item = (SocketAddr, &Candidate, PairState, bool, PairStats)> + '_ {
        self.transport.ice.pairs()
    }

    /// What is sent, by section and encoding.
    pub fn outbound_stats(&self) -> Vec<OutboundStats> {
        let streams = self.transport.rtp.outbound_stats();
        let with_parameters = streams.map(|stats| {
            let transceiver = self.transceiver_of(&stats.mid);
            let encodings = transceiver.map(|id| self.encodings(id)).unwrap_or_default();
            let rid = stats.rid.as_ref().map(Rid::as_str);
            let encoding = encodings.iter().find(|own| own.rid.as_deref() == rid);
            let targets = transceiver.and_then(|id| self.encoding_targets(id));
            let mut targets = targets.into_iter().flatten();
            let target = targets.find(|own| own.rid.as_deref() == rid);
            OutboundStats {
                mid: self.told_mid(&stats.mid),
                active: encoding.is_some_and(|own| own.active),
                target_bitrate: target.map(|own| own.bitrate),
                scalability_mode: encoding.and_then(|own| own.scalability_mode),
                ..stats.clone()
            }
        });
        with_parameters.collect()
    }

    /// What is received, by source.
    pub fn inbound_stats(&self) -> Vec<InboundStats> {
        let streams = self.transport.rtp.inbound_stats();
        let named = streams.map(|stats| InboundStats {
            mid: self.told_mid(&stats.mid),
            ..stats
        });
        named.collect()
    }
}
