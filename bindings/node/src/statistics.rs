//! `getStats` as JSON: the figures of the stack, which JavaScript puts into the dictionaries of
//! webrtc-stats.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};
use twocan::{
    IceCandidateType, IceTcpCandidateType, PeerConnection, RelayProtocol, RouteStats, StatsReport,
};

pub(crate) fn json(peer: &PeerConnection) -> String {
    let report = peer.get_stats();
    json!({
        "transport": transport(&report),
        "pairs": pairs(&report),
        "locals": locals(&report),
        "data": {
            "open": report.peer_connection.data_channels_open,
            "messagesSent": report.data_channels.messages_sent,
            "bytesSent": report.data_channels.bytes_sent,
            "messagesReceived": report.data_channels.messages_received,
            "bytesReceived": report.data_channels.bytes_received,
            "smoothedRoundTripTime": report.data_channels.smoothed_round_trip_time.map(seconds),
            "congestionWindow": report.data_channels.congestion_window,
        },
        "outbound": outbound(&report),
        "inbound": inbound(&report),
    })
    .to_string()
}

fn seconds(duration: Duration) -> f64 {
    duration.as_secs_f64()
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

fn traffic(own: RouteStats) -> Value {
    json!({
        "packetsSent": own.packets_sent,
        "bytesSent": own.bytes_sent,
        "packetsReceived": own.packets_received,
        "bytesReceived": own.bytes_received,
        "lastPacketSentTimestamp": own.last_packet_sent_timestamp.map(milliseconds),
        "lastPacketReceivedTimestamp": own.last_packet_received_timestamp.map(milliseconds),
    })
}

fn address(address: SocketAddr) -> Value {
    json!({ "address": address.ip().to_string(), "port": address.port() })
}

fn transport(report: &StatsReport) -> Value {
    json!({
        "tlsVersion": report.transport.tls_version,
        "srtpCipher": report.transport.srtp_cipher,
        "selectedCandidatePairChanges": report.transport.selected_candidate_pair_changes,
        "selectedRoute": report.transport.selected_route.map(|(local, remote)| json!({
            "local": address(local),
            "remote": address(remote),
        })),
        "traffic": traffic(report.transport.traffic),
        "packetsDiscardedOnSend": report.transport.packets_discarded_on_send,
        "ccfbMessagesSent": report.transport.ccfb_messages_sent,
        "ccfbMessagesReceived": report.transport.ccfb_messages_received,
    })
}

fn pairs(report: &StatsReport) -> Vec<Value> {
    let pairs = report.candidate_pairs.iter();
    pairs
        .map(|pair| {
            json!({
                "local": address(pair.local),
                "remote": {
                    "address": pair.remote.address.ip().to_string(),
                    "port": pair.remote.address.port(),
                    "candidateType": candidate_type(pair.remote.kind),
                    "protocol": if pair.remote.tcp.is_some() { "tcp" } else { "udp" },
                    "tcpType": pair.remote.tcp.map(tcp_type),
                    "priority": pair.remote.priority,
                    "foundation": pair.remote.foundation,
                },
                "state": format!("{:?}", pair.state),
                "nominated": pair.selected,
                "traffic": traffic(pair.traffic),
                "requestsSent": pair.checks.requests_sent,
                "consentRequestsSent": pair.checks.consent_requests_sent,
                "requestsReceived": pair.checks.requests_received,
                "responsesSent": pair.checks.responses_sent,
                "responsesReceived": pair.checks.responses_received,
                "currentRoundTripTime": pair.checks.current_round_trip_time.map(seconds),
                "totalRoundTripTime": seconds(pair.checks.total_round_trip_time),
                "availableOutgoingBitrate": pair.available_outgoing_bitrate.map(|own| own.as_bps()),
            })
        })
        .collect()
}

fn locals(report: &StatsReport) -> Vec<Value> {
    let locals = report.local_candidates.iter();
    locals
        .map(|own| {
            json!({
                "address": own.address.ip().to_string(),
                "port": own.address.port(),
                "candidateType": candidate_type(own.kind),
                "protocol": if own.tcp.is_some() { "tcp" } else { "udp" },
                "tcpType": own.tcp.map(tcp_type),
                "priority": own.priority,
                "foundation": own.foundation,
                "relatedAddress": own.related.map(|own| own.ip().to_string()),
                "relatedPort": own.related.map(|own| own.port()),
                "url": own.url,
                "relayProtocol": own.relay_protocol.map(RelayProtocol::as_str),
            })
        })
        .collect()
}

fn outbound(report: &StatsReport) -> Vec<Value> {
    let streams = report.outbound_rtp.iter();
    streams
        .map(|own| {
            json!({
                "mid": own.mid.as_str(),
                "rid": own.rid.as_ref().map(|rid| rid.as_str()),
                "ssrc": own.ssrc.0,
                "active": own.active,
                "packetsSent": own.packets_sent,
                "bytesSent": own.bytes_sent,
                "headerBytesSent": own.header_bytes_sent,
                "retransmittedPacketsSent": own.retransmitted_packets_sent,
                "retransmittedBytesSent": own.retransmitted_bytes_sent,
                "targetBitrate": own.target_bitrate.map(|own| own.as_bps()),
                "totalPacketSendDelay": seconds(own.total_packet_send_delay),
                "framesSent": own.frames_sent,
                "keyFramesEncoded": own.key_frames_sent,
                "nackCount": own.nack_count,
                "pliCount": own.pli_count,
                "firCount": own.fir_count,
                "remote": own.remote.as_ref().map(|remote| json!({
                    "packetsReceived": remote.packets_received,
                    "packetsLost": remote.packets_lost,
                    "fractionLost": remote.fraction_lost,
                    "jitter": seconds(remote.jitter),
                    "roundTripTime": remote.round_trip_time.map(seconds),
                    "totalRoundTripTime": seconds(remote.total_round_trip_time),
                    "roundTripTimeMeasurements": remote.round_trip_time_measurements,
                })),
            })
        })
        .collect()
}

fn inbound(report: &StatsReport) -> Vec<Value> {
    let streams = report.inbound_rtp.iter();
    streams
        .map(|own| {
            json!({
                "mid": own.mid.as_str(),
                "rid": own.rid.as_ref().map(|rid| rid.as_str()),
                "ssrc": own.ssrc.0,
                "packetsReceived": own.packets_received,
                "bytesReceived": own.bytes_received,
                "headerBytesReceived": own.header_bytes_received,
                "packetsLost": own.packets_lost,
                "packetsDiscarded": own.packets_discarded,
                "packetsReceivedWithEct1": own.packets_received_with_ect1,
                "packetsReceivedWithCe": own.packets_received_with_ce,
                "retransmittedPacketsReceived": own.retransmitted_packets_received,
                "retransmittedBytesReceived": own.retransmitted_bytes_received,
                "fecPacketsReceived": own.fec_packets_received,
                "jitter": seconds(own.jitter),
                "framesReceived": own.frames_received,
                "framesDropped": own.frames_dropped,
                "keyFramesReceived": own.key_frames_received,
                "framesPerSecond": own.frames_per_second,
                "freezeCount": own.freeze_count,
                "totalFreezesDuration": seconds(own.total_freezes_duration),
                "framesAssembledFromMultiplePackets": own.frames_assembled_from_multiple_packets,
                "totalAssemblyTime": seconds(own.total_assembly_time),
                "jitterBufferDelay": seconds(own.jitter_buffer_delay),
                "jitterBufferTargetDelay": seconds(own.jitter_buffer_target_delay),
                "jitterBufferMinimumDelay": seconds(own.jitter_buffer_minimum_delay),
                "jitterBufferEmittedCount": own.jitter_buffer_emitted_count,
                "estimatedPlayoutTimestamp": own.estimated_playout_timestamp.map(milliseconds),
                "lastPacketReceivedTimestamp": own.last_packet_received_timestamp.map(milliseconds),
                "fecBytesReceived": own.fec_bytes_received,
                "fecPacketsDiscarded": own.fec_packets_discarded,
                "fecSsrc": own.fec_ssrc.map(|ssrc| ssrc.0),
                "remote": own.remote.map(|remote| json!({
                    "remoteTimestamp": milliseconds(remote.remote_timestamp),
                    "packetsSent": remote.packets_sent,
                    "bytesSent": remote.bytes_sent,
                    "reportsSent": remote.reports_sent,
                })),
                "nackCount": own.nack_count,
                "pliCount": own.pli_count,
                "firCount": own.fir_count,
            })
        })
        .collect()
}

fn candidate_type(kind: IceCandidateType) -> &'static str {
    match kind {
        IceCandidateType::Host => "host",
        IceCandidateType::ServerReflexive => "srflx",
        IceCandidateType::PeerReflexive => "prflx",
        IceCandidateType::Relayed => "relay",
    }
}

fn tcp_type(kind: IceTcpCandidateType) -> &'static str {
    match kind {
        IceTcpCandidateType::Active => "active",
        IceTcpCandidateType::Passive => "passive",
        IceTcpCandidateType::SimultaneousOpen => "so",
    }
}
