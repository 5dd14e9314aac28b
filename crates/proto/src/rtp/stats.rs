//! Statistics with the names of W3C's `RTCStats`.

use std::time::Duration;

use twocan_wire::ids::{Mid, Rid, Ssrc};
use twocan_wire::rtcp::Ecn;
use twocan_wire::units::Bitrate;

use super::layers::ScalabilityMode;
use super::playout::PlayoutStats;

/// `RTCOutboundRtpStreamStats`, as far as this layer knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboundStats {
    /// `mid`.
    pub mid: Mid,
    /// `rid` of the simulcast stream.
    pub rid: Option<Rid>,
    /// `active`: whether the encoding is sent at all.
    pub active: bool,
    /// `scalabilityMode`, where the application set one.
    pub scalability_mode: Option<ScalabilityMode>,
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
    /// FEC packets sent, of those in `packets_sent`; not in the standard.
    pub fec_packets_sent: u64,
    /// Payload bytes of FEC packets, and of frames that went along once more (RED), of those in
    /// `bytes_sent`; not in the standard.
    pub fec_bytes_sent: u64,
    /// `targetBitrate`: what it is to be encoded at; `None` while the other side says nothing about the
    /// path.
    pub target_bitrate: Option<Bitrate>,
    /// `totalPacketSendDelay`: how long packets waited for their turn, all together.
    pub total_packet_send_delay: Duration,
    /// `framesSent`.
    pub frames_sent: u64,
    /// `keyFramesEncoded` counts at the encoder; these are those sent. None of sound.
    pub key_frames_sent: u64,
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
    /// `packetsReceived`: those that were sent until its report, less those lost.
    pub packets_received: u64,
    /// `packetsLost`; duplicates can make it negative.
    pub packets_lost: i32,
    /// `fractionLost`, 0 to 1.
    pub fraction_lost: f64,
    /// `jitter`.
    pub jitter: Duration,
    /// `roundTripTime`, once measured.
    pub round_trip_time: Option<Duration>,
    /// `totalRoundTripTime`: the sum of all measurements.
    pub total_round_trip_time: Duration,
    /// `roundTripTimeMeasurements`.
    pub round_trip_time_measurements: u64,
}

impl Eq for RemoteInboundStats {}

/// `RTCRemoteOutboundRtpStreamStats`: what the sender's last report says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RemoteOutboundStats {
    /// `remoteTimestamp`: time since 1970 on the sender's clock.
    pub remote_timestamp: Duration,
    /// `packetsSent`; it wraps at 2³².
    pub packets_sent: u32,
    /// `bytesSent`, payloads; it wraps at 2³².
    pub bytes_sent: u32,
    /// `reportsSent`: those that arrived.
    pub reports_sent: u64,
}

/// `RTCInboundRtpStreamStats`, as far as this layer knows.
#[derive(Debug, Clone, PartialEq)]
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
    /// `lastPacketReceivedTimestamp`: time since 1970 on our clock.
    pub last_packet_received_timestamp: Option<Duration>,
    /// `packetsReceivedWithEct1`: with the mark ECT(1) of RFC 9331.
    pub packets_received_with_ect1: u64,
    /// `packetsReceivedWithCe`: with the mark that the path is congested (RFC 3168).
    pub packets_received_with_ce: u64,
    /// `retransmittedPacketsReceived`.
    pub retransmitted_packets_received: u64,
    /// `retransmittedBytesReceived`: without headers, and without the original sequence number.
    pub retransmitted_bytes_received: u64,
    /// `fecPacketsReceived`: FEC packets, and older frames beside the newest (RED).
    pub fec_packets_received: u64,
    /// `fecBytesReceived`: payloads of these.
    pub fec_bytes_received: u64,
    /// `fecPacketsDiscarded`: those that came to nothing, because all that they protect was there,
    /// or too much was missing.
    pub fec_packets_discarded: u64,
    /// `fecSsrc`: the source of FlexFEC for this one, once a packet came.
    pub fec_ssrc: Option<Ssrc>,
    /// Packets that were lost and made again; not in the standard, nor part of
    /// `packets_received`.
    pub packets_recovered: u64,
    /// `jitter` (RFC 3550 A.8).
    pub jitter: Duration,
    /// `framesReceived`: complete ones.
    pub frames_received: u64,
    /// `keyFramesDecoded` counts at the decoder; these are those received.
    pub key_frames_received: u64,
    /// `framesDropped`: complete, but not decodable after a loss.
    pub frames_dropped: u64,
    /// `framesPerSecond`, of those handed out; `None` for sound.
    pub frames_per_second: Option<u32>,
    /// `freezeCount`: how often a frame was followed by the next only after three times the average,
    /// and 150 ms more than that. These are times of handing out: a display that lags behind the
    /// network shows fewer freezes.
    pub freeze_count: u64,
    /// `totalFreezesDuration`, in the same way.
    pub total_freezes_duration: Duration,
    /// `pauseCount`: how often a frame was followed by the next only after 5 s or more.
    pub pause_count: u64,
    /// `totalPausesDuration`, in the same way.
    pub total_pauses_duration: Duration,
    /// `totalInterFrameDelay`: the times between frames that were handed out.
    pub total_inter_frame_delay: Duration,
    /// `totalSquaredInterFrameDelay`: the squares of these times, in seconds squared.
    pub total_squared_inter_frame_delay: f64,
    /// `framesAssembledFromMultiplePackets`.
    pub frames_assembled_from_multiple_packets: u64,
    /// `totalAssemblyTime`: from the first to the last packet of each of these.
    pub total_assembly_time: Duration,
    /// `jitterBufferDelay`: of video from the first packet of each frame until it is handed out; of
    /// sound as the application's jitter buffer has it.
    pub jitter_buffer_delay: Duration,
    /// `jitterBufferTargetDelay`; none for video, which is handed out as soon as it is complete.
    pub jitter_buffer_target_delay: Duration,
    /// `jitterBufferMinimumDelay`, in the same way.
    pub jitter_buffer_minimum_delay: Duration,
    /// `jitterBufferEmittedCount`: frames of video, samples of sound.
    pub jitter_buffer_emitted_count: u64,
    /// `estimatedPlayoutTimestamp`: when what is shown now was captured, on the sender's clock since
    /// 1970, if it is shown as it is handed out.
    pub estimated_playout_timestamp: Option<Duration>,
    /// `concealedSamples` and what else only a jitter buffer for sound knows, once the application
    /// has reported it.
    pub playout: Option<PlayoutStats>,
    /// What the sender reports of this stream, once it has.
    pub remote: Option<RemoteOutboundStats>,
    /// `nackCount`: NACK packets sent.
    pub nack_count: u64,
    /// `pliCount`: PLI packets sent.
    pub pli_count: u64,
    /// `firCount`: FIR packets sent.
    pub fir_count: u64,
}

impl OutboundStats {
    pub(super) fn new(mid: Mid, rid: Option<Rid>, ssrc: Ssrc) -> Self {
        Self {
            mid,
            rid,
            active: true,
            scalability_mode: None,
            ssrc,
            packets_sent: 0,
            bytes_sent: 0,
            header_bytes_sent: 0,
            retransmitted_packets_sent: 0,
            retransmitted_bytes_sent: 0,
            fec_packets_sent: 0,
            fec_bytes_sent: 0,
            target_bitrate: None,
            total_packet_send_delay: Duration::ZERO,
            frames_sent: 0,
            key_frames_sent: 0,
            nack_count: 0,
            pli_count: 0,
            fir_count: 0,
            remote: None,
        }
    }
}

impl InboundStats {
    pub(super) fn new(mid: Mid, rid: Option<Rid>, ssrc: Ssrc) -> Self {
        Self {
            mid,
            rid,
            ssrc,
            packets_received: 0,
            bytes_received: 0,
            header_bytes_received: 0,
            packets_lost: 0,
            packets_discarded: 0,
            last_packet_received_timestamp: None,
            packets_received_with_ect1: 0,
            packets_received_with_ce: 0,
            retransmitted_packets_received: 0,
            retransmitted_bytes_received: 0,
            fec_packets_received: 0,
            fec_bytes_received: 0,
            fec_packets_discarded: 0,
            fec_ssrc: None,
            packets_recovered: 0,
            jitter: Duration::ZERO,
            frames_received: 0,
            key_frames_received: 0,
            frames_dropped: 0,
            frames_per_second: None,
            freeze_count: 0,
            total_freezes_duration: Duration::ZERO,
            pause_count: 0,
            total_pauses_duration: Duration::ZERO,
            total_inter_frame_delay: Duration::ZERO,
            total_squared_inter_frame_delay: 0.0,
            frames_assembled_from_multiple_packets: 0,
            total_assembly_time: Duration::ZERO,
            jitter_buffer_delay: Duration::ZERO,
            jitter_buffer_target_delay: Duration::ZERO,
            jitter_buffer_minimum_delay: Duration::ZERO,
            jitter_buffer_emitted_count: 0,
            estimated_playout_timestamp: None,
            playout: None,
            remote: None,
            nack_count: 0,
            pli_count: 0,
            fir_count: 0,
        }
    }

    /// A packet came with that mark.
    pub(super) fn note_mark(&mut self, ecn: Ecn) {
        self.packets_received_with_ect1 += u64::from(ecn == Ecn::Ect1);
        self.packets_received_with_ce += u64::from(ecn == Ecn::CongestionExperienced);
    }
}

/// What feedback about arrivals says of the packets that we sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TransportFeedbackStats {
    /// Feedback packets received.
    pub feedback_received: u64,
    /// Packets reported as arrived.
    pub packets_arrived: u64,
    /// Packets reported as missing at the time.
    pub packets_missing: u64,
    /// Packets reported as marked by a congested router (RFC 8888).
    pub packets_marked: u64,
    /// Feedback packets sent.
    pub feedback_sent: u64,
    /// Those among the received ones that are of RFC 8888 (`ccfbMessagesReceived`).
    pub ccfb_messages_received: u64,
    /// Those among the sent ones that are of RFC 8888 (`ccfbMessagesSent`).
    pub ccfb_messages_sent: u64,
}
