//! What there is to tell operators about the connections of a room.

use serde::Serialize;
use twocan_proto::peer::Peer;

/// What came, or went, on a connection since it was made.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(crate) struct Carried {
    /// RTP, headers and retransmissions included.
    bytes: u64,
    packets: u64,
    /// What came: as we miss it. What went: as the other side reports it.
    packets_lost: u64,
}

/// A participant's connection with the server.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Figures {
    participant: String,
    /// The W3C's name of the state.
    state: &'static str,
    /// Milliseconds; `None` before the other side has answered something.
    round_trip_ms: Option<f64>,
    received: Carried,
    sent: Carried,
}

/// The figures of a connection.
pub(super) fn of(participant: &str, peer: &Peer) -> Figures {
    let mut received = Carried::default();
    for stream in peer.inbound_stats() {
        received.bytes += stream.bytes_received + stream.header_bytes_received;
        received.packets += stream.packets_received;
        received.packets_lost += u64::try_from(stream.packets_lost).unwrap_or(0);
    }
    let mut sent = Carried::default();
    for stream in peer.outbound_stats() {
        sent.bytes += stream.bytes_sent + stream.header_bytes_sent;
        sent.packets += stream.packets_sent;
        if let Some(remote) = stream.remote {
            sent.packets_lost += u64::try_from(remote.packets_lost).unwrap_or(0);
        }
    }
    let round_trip_time = peer.path_stats().round_trip_time;
    Figures {
        participant: participant.to_owned(),
        state: peer.connection_state().as_str(),
        round_trip_ms: round_trip_time.map(|time| time.as_secs_f64() * 1e3),
        received,
        sent,
    }
}
