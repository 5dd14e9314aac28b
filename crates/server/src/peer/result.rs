//! The line at the end.

use std::net::SocketAddr;
use std::time::Instant;

use serde_json::{Map, Value, json};
use twocan::{
    CandidatePairStats, IceCandidateType, IceTcpCandidateType, LocalCandidateStats, PeerConnection,
};

/// What is known so far.
pub(crate) struct Outcome {
    peer: PeerConnection,
    described_at: Option<Instant>,
    fields: Map<String, Value>,
    error: Option<String>,
}

impl Outcome {
    pub(crate) fn new(peer: PeerConnection) -> Self {
        Self {
            peer,
            described_at: None,
            fields: Map::new(),
            error: None,
        }
    }

    /// Both descriptions are set: from here the time to open is counted.
    pub(crate) fn described(&mut self) {
        self.described_at = Some(Instant::now());
    }

    /// The channel is open.
    pub(crate) fn opened(&mut self) {
        if let Some(at) = self.described_at {
            self.set("open_ms", milliseconds(at.elapsed()));
        }
    }

    pub(crate) fn set(&mut self, name: &str, value: impl Into<Value>) {
        self.fields.insert(name.to_owned(), value.into());
    }

    /// Remembers the first reason to fail.
    pub(crate) fn fail(&mut self, reason: &str) {
        self.error.get_or_insert_with(|| reason.to_owned());
    }

    /// Prints the line; answers whether all is well.
    #[expect(clippy::print_stdout, reason = "the result goes to standard output")]
    pub(crate) fn print(&mut self) -> bool {
        let stats = self.peer.get_stats();
        let version = stats.transport.tls_version.map(|version| match version {
            "FEFC" => "1.3",
            _ => "1.2",
        });
        self.set("dtls", version);
        self.set("srtp", stats.transport.srtp_cipher);
        let sum = |of: fn(&twocan::OutboundRtpStats) -> u64| -> u64 {
            stats.outbound_rtp.iter().map(of).sum()
        };
        let received = |of: fn(&twocan::InboundRtpStats) -> u64| -> u64 {
            stats.inbound_rtp.iter().map(of).sum()
        };
        self.set(
            "repair",
            json!({
                "ccfb_messages_sent": stats.transport.ccfb_messages_sent,
                "ccfb_messages_received": stats.transport.ccfb_messages_received,
                "fec_packets_sent": sum(|own| own.fec_packets_sent),
                "fec_bytes_sent": sum(|own| own.fec_bytes_sent),
                "fec_packets_received": received(|own| own.fec_packets_received),
                "fec_packets_discarded": received(|own| own.fec_packets_discarded),
                "packets_recovered": received(|own| own.packets_recovered),
                "retransmitted_packets_received": received(|own| own.retransmitted_packets_received),
            }),
        );
        let pairs = stats.candidate_pairs.iter();
        let checks: u64 = pairs.map(|pair| pair.checks.requests_sent).sum();
        self.set("checks_sent", checks);
        let route = stats.transport.selected_route;
        self.set(
            "pair",
            route.map(|(local, remote)| {
                let ours = stats.local_candidates.iter();
                let mut pairs = stats.candidate_pairs.iter();
                let is_used =
                    |own: &&CandidatePairStats| (own.local, own.remote.address) == (local, remote);
                let pair = pairs.find(is_used);
                let tcp = pair.and_then(|pair| pair.remote.tcp);
                let is_ours = |own: &&LocalCandidateStats| {
                    own.address == local && own.tcp.is_some() == tcp.is_some()
                };
                let mut ours = ours.filter(is_ours);
                json!({
                    "local": candidate(local, tcp, ours.next().map(|own| own.kind)),
                    "remote": candidate(remote, tcp, pair.map(|pair| pair.remote.kind)),
                })
            }),
        );
        let dropped: Map<String, Value> = stats
            .dropped
            .iter()
            .map(|(name, count)| ((*name).to_owned(), json!(count)))
            .collect();
        self.set("dropped", dropped);
        let ok = self.error.is_none();
        self.set("ok", ok);
        if let Some(error) = self.error.clone() {
            self.set("err", error);
        }
        println!("RESULT {}", Value::Object(self.fields.clone()));
        ok
    }
}

fn candidate(
    address: SocketAddr,
    tcp: Option<IceTcpCandidateType>,
    kind: Option<IceCandidateType>,
) -> Value {
    json!({
        "address": address.ip().to_string(),
        "port": address.port(),
        "type": kind.map(|kind| match kind {
            IceCandidateType::Host => "host",
            IceCandidateType::ServerReflexive => "srflx",
            IceCandidateType::PeerReflexive => "prflx",
            IceCandidateType::Relayed => "relay",
        }),
        "protocol": if tcp.is_some() { "tcp" } else { "udp" },
    })
}

/// With three decimals.
pub(crate) fn milliseconds(duration: std::time::Duration) -> f64 {
    duration.as_micros() as f64 / 1000.0
}
