//! What is relayed, both ways (RFC 8656 §11, §12.6, §12.7). A packet costs no memory of its own.

use std::net::SocketAddr;

use twocan_wire::stun::{Attribute, Builder, Class, Icmp, Message, Method, TransactionId};
use twocan_wire::turn::{ChannelData, channel_data_header, padding};

use super::allocation::{Allocation, Binding, ClientKey, Family};
use super::bandwidth::{Direction, Exceeded};
use super::machine::{Server, owner_of, socket_of, way};
use super::outbox::Way;
use super::parts::Accounts;
use super::ports::Holder;
use super::{Quotas, Traffic, Transport, address};
use crate::contract::{Destination, Dscp, Ecn, Path, SocketId};
use crate::time::Now;

/// Whether `len` bytes more are within every bandwidth; what is beyond one is counted.
#[inline]
fn spend(
    quotas: &Quotas,
    (accounts, allocation, traffic): (&Accounts, &Allocation, &mut Traffic),
    now: Now,
    direction: Direction,
    len: usize,
) -> bool {
    let (bandwidth, nanos) = (&accounts.bandwidth, accounts.nanos(now.monotonic));
    match bandwidth.take(nanos, quotas, &allocation.budgets, direction, len) {
        Ok(()) => return true,
        Err(Exceeded::Allocation) => traffic.over_quota += 1,
        Err(Exceeded::User) => traffic.over_user_quota += 1,
        Err(Exceeded::All) => traffic.over_total_quota += 1,
    }
    false
}

impl Server {
    #[inline]
    pub(super) fn handle_channel_data(
        &mut self,
        now: Now,
        client: ClientKey,
        ecn: Ecn,
        bytes: &[u8],
    ) {
        let Ok(ChannelData { channel, data }) = ChannelData::parse(bytes) else {
            return self.counters.count("turn.malformed");
        };
        let peer = self.clients.get(&client).copied().and_then(|id| {
            let allocation = self.allocation(id)?;
            Some((id, allocation.peer_of(now.monotonic, channel)?))
        });
        match peer {
            Some((id, peer)) => self.send_to_peer(now, id, peer, ecn, data),
            None => self.traffic.unwanted += 1,
        }
    }

    pub(super) fn handle_send(
        &mut self,
        now: Now,
        client: ClientKey,
        ecn: Ecn,
        message: &Message<'_>,
    ) {
        let (mut peer, mut data) = (None, None);
        for attribute in message.attributes() {
            match attribute {
                Attribute::XorPeerAddress(address) => peer = peer.or(Some(address)),
                Attribute::Data(bytes) => data = data.or(Some(bytes)),
                Attribute::Unknown { kind, .. } if kind < 0x8000 => {
                    return self.counters.count("turn.unknown_attribute");
                }
                _ => {}
            }
        }
        let (Some(peer), Some(data)) = (peer, data) else {
            return self.counters.count("turn.incomplete_send");
        };
        match self.clients.get(&client).copied() {
            Some(id) => self.send_to_peer(now, id, peer, ecn, data),
            None => self.traffic.unwanted += 1,
        }
    }

    #[inline]
    fn send_to_peer(&mut self, now: Now, id: u32, peer: SocketAddr, ecn: Ecn, data: &[u8]) {
        let family = Family::of(peer.ip());
        let Some(allocation) = self
            .allocations
            .get_mut(id as usize)
            .and_then(Option::as_deref_mut)
        else {
            return;
        };
        let is_wanted = allocation.transport == Transport::Udp
            && allocation.permits(now.monotonic, peer.ip())
            && peer.port() != 0;
        if !is_wanted {
            self.traffic.unwanted += 1;
            return;
        }
        let spent = spend(
            &self.config.quotas,
            (&self.accounts, allocation, &mut self.traffic),
            now,
            Direction::ToPeer,
            data.len(),
        );
        if !spent {
            return;
        }
        let Some(relay) = allocation.relay(family).copied() else {
            return;
        };
        self.traffic.packets_to_peers += 1;
        self.traffic.bytes_to_peers += data.len() as u64;
        // Before relayed ports: one of TCP may have the same number.
        if let Some(bound) = self.media_at(peer) {
            self.traffic.packets_to_media += 1;
            let way = Self::way_to_media(relay.external, bound, ecn);
            return self.outbox.push(Way::Socket(way), |out| {
                out.extend_from_slice(data);
            });
        }
        // A permission for media on that address is none for those who relay there.
        if self.ports.is_relay(peer.ip())
            && self.way_beside_media(peer.ip()) != address::Way::Refused
        {
            if let Some(Holder::Allocation(other)) = self.ports.holder(peer) {
                return self.deliver(now, other, relay.external, ecn, data);
            }
            if let Some(way) = self.way_to_part(relay.external, peer, ecn) {
                return self.outbox.push(Way::Socket(way), |out| {
                    out.extend_from_slice(data);
                });
            }
        }
        if !self.is_reached(peer) {
            // A port of this machine on which nobody relays: a listener, or none at all.
            self.traffic.unwanted += 1;
            return;
        }
        if relay.binding != Binding::Bound {
            // A permission for media of ours needs no socket; another port of that address does.
            // One that could not be had is not asked for again with each packet.
            if relay.binding == Binding::None {
                self.ask_for_socket(id, family);
            }
            self.traffic.unwanted += 1;
            return;
        }
        let destination = Destination {
            path: Path {
                socket: socket_of(id, family),
                local: relay.bind,
            },
            remote: peer,
            ecn,
            dscp: Dscp::DEFAULT,
        };
        self.outbox.push(Way::Socket(destination), |out| {
            out.extend_from_slice(data);
        });
    }

    /// A datagram of a peer's arrived on a relayed socket.
    #[inline]
    pub(super) fn handle_peer(
        &mut self,
        now: Now,
        socket: SocketId,
        peer: SocketAddr,
        ecn: Ecn,
        data: &[u8],
    ) {
        let Some((id, _)) = owner_of(socket) else {
            return;
        };
        match self.known_as(peer) {
            Some(peer) => self.deliver(now, id, peer, ecn, data),
            None => self.traffic.unwanted += 1,
        }
    }

    /// What was relayed to `peer` from a relayed socket has been answered by an ICMP error, of a
    /// router or of the peer's host: the client is told (RFC 8656 §11.5). Anybody can have sent it.
    pub fn handle_icmp(&mut self, now: Now, socket: SocketId, peer: SocketAddr, icmp: Icmp) {
        let is_told = match peer {
            SocketAddr::V4(_) => matches!(icmp.kind, 3 | 11),
            SocketAddr::V6(_) => matches!(icmp.kind, 1..=3),
        };
        let Some(peer) = self.known_as(peer) else {
            return;
        };
        let owner = owner_of(socket).filter(|_| is_told);
        let Some(allocation) = owner.and_then(|(id, _)| self.allocation(id)) else {
            return;
        };
        if !allocation.permits(now.monotonic, peer.ip()) {
            self.traffic.unwanted += 1;
            return;
        }
        let way = way(&allocation.client);
        let mut id = [0; 12];
        self.random.fill(&mut id);
        self.counters.count("turn.icmp");
        self.outbox.push(way, |out| {
            let id = TransactionId(id);
            let mut builder = Builder::new(out, Class::Indication, Method::DATA, id);
            builder.attribute(Attribute::XorPeerAddress(peer));
            builder.attribute(Attribute::Icmp(icmp));
            builder.finish_bare();
        });
    }

    /// Hands to a client what a peer has sent.
    #[inline]
    pub(super) fn deliver(&mut self, now: Now, id: u32, peer: SocketAddr, ecn: Ecn, data: &[u8]) {
        let Some(allocation) = self
            .allocations
            .get_mut(id as usize)
            .and_then(Option::as_deref_mut)
        else {
            return;
        };
        let len = u16::try_from(data.len());
        let is_wanted =
            allocation.transport == Transport::Udp && allocation.permits(now.monotonic, peer.ip());
        let (true, Ok(len)) = (is_wanted, len) else {
            self.traffic.unwanted += 1;
            return;
        };
        let spent = spend(
            &self.config.quotas,
            (&self.accounts, allocation, &mut self.traffic),
            now,
            Direction::ToClient,
            data.len(),
        );
        if !spent {
            return;
        }
        self.traffic.packets_to_clients += 1;
        self.traffic.bytes_to_clients += data.len() as u64;
        let mut way = way(&allocation.client);
        if let Way::Socket(destination) = &mut way {
            destination.ecn = ecn;
        }
        let channel = allocation.channel_of(now.monotonic, peer);
        let Some(channel) = channel else {
            let mut id = [0; 12];
            self.random.fill(&mut id);
            return self.outbox.push(way, |out| {
                let id = TransactionId(id);
                let mut builder = Builder::new(out, Class::Indication, Method::DATA, id);
                builder.attribute(Attribute::XorPeerAddress(peer));
                builder.attribute(Attribute::Data(data));
                builder.finish_bare();
            });
        };
        let on_stream = matches!(way, Way::Stream(_));
        self.outbox.push(way, |out| {
            out.extend_from_slice(&channel_data_header(channel, len));
            out.extend_from_slice(data);
            if on_stream {
                out.extend(std::iter::repeat_n(0, padding(data.len())));
            }
        });
    }
}
