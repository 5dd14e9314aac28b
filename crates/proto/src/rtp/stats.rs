//! Statistics with the names of W3C's `RTCStats`.

use std::time::Duration;

use twocan_wire::ids::{Mid, Rid, Ssrc};

/// `RTCOutboundRtpStreamStats`, as far as this layer knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboundStats {
    /// `mid`.
    pub mid: Mid,
    /// `ssrc`.
    pub ssrc: Ssrc,
    /// `packetsSent`, retransmissions included.
    pub packets_sent: u64,
    /// `bytesSent`: payloads, without headers and padding, retransmissions included.
    pub bytes_sent: u64,
    /// `headerBytesSent`.
    pub header_bytes_sent: u64,
    /// `retransmittedPacketsSent`.
    pub retransmitted_packets_sent: u64,
    /// `retransmittedBytesSent`.
    pub retransmitted_bytes_sent: u64,
    /// `framesSent`.
    pub frames_sent: u64,
    /// `nackCount`: NACK packets received.
    pub nack_count: u64,
    /// `pliCount`: PLI packets received.
    pub pli_count: u64,
    /// `firCount`: FIR packets received.
    pub fir_count: u64,
    /// What the remote side reports, once it has.
    pub remote: Option<RemoteInboundStats>,
}

/// `RTCRemoteInboundRtpStreamStats`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RemoteInboundStats {
    /// `packetsLost`; duplicates can make it negative.
    pub packets_lost: i32,
    /// `fractionLost`, 0 to 1.
    pub fraction_lost: f64,
    /// `jitter`.
    pub jitter: Duration,
    /// `roundTripTime`, once measured.
    pub round_trip_time: Option<Duration>,
}

impl Eq for RemoteInboundStats {}

/// `RTCInboundRtpStreamStats`, as far as this layer knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InboundStats {
    /// `mid`.
    pub mid: Mid,
    /// `rid` of the simulcast stream.
    pub rid: Option<Rid>,
    /// `ssrc`.
    pub ssrc: Ssrc,
    /// `packetsReceived`, retransmissions included.
    pub packets_received: u64,
    /// `bytesReceived`: payloads, without headers and padding.
    pub bytes_received: u64,
    /// `headerBytesReceived`.
    pub header_bytes_received: u64,
    /// `packetsLost` (RFC 3550 A.3); duplicates can make it negative.
    pub packets_lost: i64,
    /// `packetsDiscarded`: too late or twice.
    pub packets_discarded: u64,
    /// `retransmittedPacketsReceived`.
    pub retransmitted_packets_received: u64,
    /// `jitter` (RFC 3550 A.8).
    pub jitter: Duration,
    /// `framesReceived`: complete ones.
    pub frames_received: u64,
    /// `keyFramesDecoded` counts at the decoder; these are those received.
    pub key_frames_received: u64,
    /// `framesDropped`: complete, but not decodable after a loss.
    pub frames_dropped: u64,
    /// `nackCount`: NACK packets sent.
    pub nack_count: u64,
    /// `pliCount`: PLI packets sent.
    pub pli_count: u64,
    /// `firCount`: FIR packets sent.
    pub fir_count: u64,
}

/// What transport-wide feedback says about the packets that we sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TransportFeedbackStats {
    /// Feedback packets received.
    pub feedback_received: u64,
    /// Packets reported as arrived.
    pub packets_arrived: u64,
    /// Packets reported as missing at the time.
    pub packets_missing: u64,
    /// Feedback packets sent.
    pub feedback_sent: u64,
}
