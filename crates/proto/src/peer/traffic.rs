//! What comes and goes on routes: media on its way in, and what is counted of all of it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use twocan_wire::rtcp;

use super::machine::Peer;
use super::transport::Transport;
use crate::contract::Ecn;
use crate::ice::Route;
use crate::rtp::StampedArrival;
use crate::time::Now;

/// Routes whose bytes are counted; what goes over further ones counts for the transport alone.
const ROUTES_MAX: usize = 128;

/// Datagrams of DTLS, SRTP and SRTCP with their bytes, as in `RTCTransportStats` and
/// `RTCIceCandidatePairStats`; checks are not among them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RouteStats {
    /// `packetsSent`.
    pub packets_sent: u64,
    /// `bytesSent`.
    pub bytes_sent: u64,
    /// `packetsReceived`.
    pub packets_received: u64,
    /// `bytesReceived`.
    pub bytes_received: u64,
    /// `lastPacketSentTimestamp`: time since 1970 on our clock.
    pub last_packet_sent_timestamp: Option<Duration>,
    /// `lastPacketReceivedTimestamp`: time since 1970 on our clock.
    pub last_packet_received_timestamp: Option<Duration>,
}

impl RouteStats {
    fn sent(&mut self, now: Now, packets: u64, bytes: u64) {
        self.last_packet_sent_timestamp = Some(now.wallclock);
        self.packets_sent += packets;
        self.bytes_sent += bytes;
    }

    fn received(&mut self, now: Now, len: u64) {
        self.last_packet_received_timestamp = Some(now.wallclock);
        self.packets_received += 1;
        self.bytes_received += len;
    }
}

/// The counts of all routes.
#[derive(Debug, Default)]
pub(super) struct Traffic {
    all: RouteStats,
    routes: BTreeMap<Route, RouteStats>,
}

impl Traffic {
    fn route(&mut self, route: Route) -> Option<&mut RouteStats> {
        if self.routes.len() >= ROUTES_MAX && !self.routes.contains_key(&route) {
            return None;
        }
        Some(self.routes.entry(route).or_default())
    }
}

impl Transport {
    /// Datagrams were written for the route in use.
    pub(super) fn note_sent(&mut self, now: Now, packets: u64, bytes: u64) {
        if packets == 0 {
            return;
        }
        self.traffic.all.sent(now, packets, bytes);
        if let Some(route) = self.ice.route()
            && let Some(counts) = self.traffic.route(route)
        {
            counts.sent(now, packets, bytes);
        }
    }

    /// A datagram came on a route that has proved itself.
    pub(super) fn note_received(&mut self, now: Now, route: Route, len: usize) {
        let len = len as u64;
        self.traffic.all.received(now, len);
        if let Some(counts) = self.traffic.route(route) {
            counts.received(now, len);
        }
    }

    pub(super) fn handle_rtp(
        &mut self,
        now: Now,
        route: Route,
        bytes: &mut [u8],
        ecn: Ecn,
    ) -> bool {
        let Some((_, receiver)) = &mut self.srtp else {
            return self.drop("peer.media_before_keys");
        };
        match receiver.unprotect_rtp(bytes) {
            Ok(len) => {
                self.ice.note_received(now.monotonic, route);
                let ecn = match ecn {
                    Ecn::NotEct => rtcp::Ecn::NotCapable,
                    Ecn::Ect1 => rtcp::Ecn::Ect1,
                    Ecn::Ect0 => rtcp::Ecn::Ect0,
                    Ecn::Ce => rtcp::Ecn::CongestionExperienced,
                };
                let packet = bytes.get(..len).unwrap_or_default();
                let Some(interception) = &mut self.interception else {
                    self.rtp.handle_marked_rtp(now, packet, ecn);
                    self.estimate_arriving();
                    return false;
                };
                if let Some(packet) = interception.incoming_rtp(now, packet) {
                    self.rtp.handle_marked_rtp(now, packet, ecn);
                    self.estimate_arriving();
                }
                self.take_added(now);
                false
            }
            Err(rejected) => self.drop(rejected.reason()),
        }
    }

    /// Lets the packet that arrived say what the path to us carries, where its sender is to be told.
    fn estimate_arriving(&mut self) {
        let Some(arrival) = self.rtp.take_stamped_arrival() else {
            return;
        };
        let StampedArrival {
            arrived_at,
            abs_send_time,
            len,
        } = arrival;
        let rtt = self.rtp.round_trip_time();
        let arriving = self.arriving.get_or_insert_default();
        arriving.push(arrived_at, abs_send_time, len, rtt);
        self.rtp.set_arriving_estimate(arrived_at, arriving.rate());
    }

    pub(super) fn handle_rtcp(&mut self, now: Now, route: Route, bytes: &mut [u8]) -> bool {
        let Some((_, receiver)) = &mut self.srtp else {
            return self.drop("peer.media_before_keys");
        };
        match receiver.unprotect_rtcp(bytes) {
            Ok(len) => {
                self.ice.note_received(now.monotonic, route);
                let packet = bytes.get(..len).unwrap_or_default();
                let packet = match &mut self.interception {
                    None => Some(packet),
                    Some(interception) => interception.incoming_rtcp(now, packet),
                };
                if let Some(packet) = packet {
                    self.rtp.handle_rtcp(now, packet);
                }
                self.take_added(now);
                self.take_feedback(now);
                false
            }
            Err(rejected) => self.drop(rejected.reason()),
        }
    }
}

impl Peer {
    /// `bytesSent` and the like of the transport.
    pub fn transport_traffic(&self) -> RouteStats {
        self.transport.traffic.all
    }

    /// The same of a candidate pair.
    pub fn pair_traffic(&self, local: SocketAddr, remote: SocketAddr) -> RouteStats {
        let routes = self.transport.traffic.routes.iter();
        let mut own =
            routes.filter(|(route, _)| route.path.local == local && route.remote == remote);
        own.next().map(|(_, counts)| *counts).unwrap_or_default()
    }
}
