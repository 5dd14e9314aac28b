//! What the threads of the server count, added up for the metrics.

use std::sync::{Mutex, PoisonError};

use twocan_proto::counters::Counters;
use twocan_proto::turn::server::Traffic;

/// What one of them has counted.
#[derive(Debug, Clone, Default)]
pub(super) struct Figure {
    pub(super) connections: usize,
    pub(super) streams: usize,
    pub(super) dtls_clients: usize,
    pub(super) relay_sockets: usize,
    pub(super) traffic: Traffic,
    /// What the system had no room for.
    pub(super) no_room_to_send: u64,
    /// What other threads had no room for.
    pub(super) no_room_at_media: u64,
    pub(super) counters: Counters,
}

/// What each of them said last.
#[derive(Debug)]
pub(super) struct Figures(Mutex<Vec<Figure>>);

impl Figures {
    pub(super) fn new(parts: usize) -> Self {
        Self(Mutex::new(vec![Figure::default(); parts]))
    }

    /// The figures of one.
    pub(super) fn set(&self, part: usize, figure: Figure) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = all.get_mut(part) {
            *own = figure;
        }
    }

    fn sum(&self) -> Figure {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut sum = Figure::default();
        for own in all.iter() {
            sum.connections += own.connections;
            sum.streams += own.streams;
            sum.dtls_clients += own.dtls_clients;
            sum.relay_sockets += own.relay_sockets;
            sum.traffic += own.traffic;
            sum.no_room_to_send += own.no_room_to_send;
            sum.no_room_at_media += own.no_room_at_media;
            sum.counters.merge(&own.counters);
        }
        sum
    }

    /// Hands all together to the metrics.
    pub(super) fn publish(&self, allocations: usize) {
        let Figure {
            connections,
            streams,
            dtls_clients,
            relay_sockets,
            traffic,
            no_room_to_send,
            no_room_at_media,
            counters,
        } = self.sum();
        metrics::gauge!("twocan_turn_allocations").set(allocations as f64);
        metrics::gauge!("twocan_turn_connections").set(connections as f64);
        metrics::gauge!("twocan_turn_streams").set(streams as f64);
        metrics::gauge!("twocan_turn_dtls_clients").set(dtls_clients as f64);
        metrics::gauge!("twocan_turn_relay_sockets").set(relay_sockets as f64);
        let Traffic {
            packets_to_media,
            packets_from_media,
            packets_to_peers,
            bytes_to_peers,
            packets_to_clients,
            bytes_to_clients,
            over_quota,
            over_user_quota,
            over_total_quota,
            unwanted,
        } = traffic;
        for (to, packets, bytes) in [
            ("peers", packets_to_peers, bytes_to_peers),
            ("clients", packets_to_clients, bytes_to_clients),
        ] {
            metrics::counter!("twocan_turn_packets_total", "to" => to).absolute(packets);
            metrics::counter!("twocan_turn_bytes_total", "to" => to).absolute(bytes);
        }
        for (to, packets) in [("media", packets_to_media), ("clients", packets_from_media)] {
            metrics::counter!("twocan_turn_handed_over_total", "to" => to).absolute(packets);
        }
        for (reason, count) in [
            ("over_quota", over_quota),
            ("over_user_quota", over_user_quota),
            ("over_total_quota", over_total_quota),
            ("unwanted", unwanted),
            ("no_room_to_send", no_room_to_send),
            ("no_room_at_media", no_room_at_media),
        ] {
            metrics::counter!("twocan_turn_dropped_total", "reason" => reason).absolute(count);
        }
        for (outcome, count) in counters.iter() {
            let name = if outcome.starts_with("stun_server.") {
                "twocan_stun_requests_total"
            } else {
                "twocan_turn_requests_total"
            };
            metrics::counter!(name, "outcome" => outcome).absolute(count);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_each_said_last_is_added_up() {
        let figures = Figures::new(2);
        let said = |streams, packets_to_peers, refused| {
            let mut counters = Counters::default();
            counters.add("turn.refused_401", refused);
            Figure {
                streams,
                traffic: Traffic {
                    packets_to_peers,
                    ..Traffic::default()
                },
                counters,
                ..Figure::default()
            }
        };
        figures.set(0, said(1, 10, 3));
        figures.set(1, said(2, 20, 4));
        figures.set(0, said(0, 15, 5));
        figures.set(7, said(9, 9, 9));
        let sum = figures.sum();
        assert_eq!((sum.streams, sum.traffic.packets_to_peers), (2, 35));
        assert_eq!(sum.counters.get("turn.refused_401"), 9);
    }
}
