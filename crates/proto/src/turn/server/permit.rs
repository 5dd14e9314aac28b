//! CreatePermission and ChannelBind (RFC 8656 §10.2, §12.2): which peers may talk with a client.
//! The first peer that needs a socket makes the answer wait for it.

use std::net::{IpAddr, SocketAddr};

use twocan_wire::stun::{Attribute, ChannelNumber, Class, ErrorCode};

use super::address::Way;
use super::allocation::{Asked, Binding, Family, Waiting};
use super::machine::{Server, owner_of, refusal, socket_of};
use super::{Event, Transport};
use crate::contract::SocketId;
use crate::time::Now;

impl Server {
    pub(super) fn create_permission(&mut self, now: Now, asked: Asked<'_>, id: u32) {
        let peers: Vec<SocketAddr> = asked
            .message
            .attributes()
            .filter_map(|attribute| match attribute {
                Attribute::XorPeerAddress(peer) => Some(peer),
                _ => None,
            })
            .collect();
        if peers.is_empty() {
            return self.refuse(&asked, ErrorCode::BAD_REQUEST);
        }
        self.permit(now, asked, id, peers, None);
    }

    pub(super) fn bind_channel(&mut self, now: Now, asked: Asked<'_>, id: u32) {
        let number = asked
            .message
            .attributes()
            .find_map(|attribute| match attribute {
                Attribute::ChannelNumber(number) => Some(number),
                _ => None,
            });
        let (Some(number), Some(peer)) = (number, asked.message.peer_address()) else {
            return self.refuse(&asked, ErrorCode::BAD_REQUEST);
        };
        let Some(allocation) = self.allocation_mut(id) else {
            return self.refuse(&asked, ErrorCode::ALLOCATION_MISMATCH);
        };
        // Channels carry datagrams.
        if allocation.transport == Transport::Tcp {
            return self.refuse(&asked, ErrorCode::BAD_REQUEST);
        }
        allocation.prune(now.monotonic);
        let is_other = allocation
            .channels
            .iter()
            .any(|channel| (channel.number == number) != (channel.peer == peer));
        if is_other || peer.port() == 0 {
            return self.refuse(&asked, ErrorCode::BAD_REQUEST);
        }
        self.permit(now, asked, id, vec![peer], Some((number, peer)));
    }

    fn permit(
        &mut self,
        now: Now,
        asked: Asked<'_>,
        id: u32,
        peers: Vec<SocketAddr>,
        channel: Option<(ChannelNumber, SocketAddr)>,
    ) {
        let ips: Vec<IpAddr> = peers.iter().map(SocketAddr::ip).collect();
        if let Err(error) = self.check_peers(now, id, &ips, channel.map(|(number, _)| number)) {
            return self.refuse(&asked, error);
        }
        if self
            .allocation(id)
            .is_none_or(|allocation| allocation.waiting.is_some())
        {
            // The client asks again; until then the socket is there.
            return self.counters.count("turn.waiting_for_socket");
        }
        self.ask_for_sockets(id, &peers);
        let waiting = Waiting {
            method: asked.method(),
            transaction: asked.message.transaction,
            key: asked.proof.key,
            peers: ips,
            channel,
        };
        if let Some(allocation) = self.allocation_mut(id) {
            allocation.waiting = Some(Box::new(waiting));
        }
        self.go_on(now, id);
    }

    /// Why one of these peers cannot be had; a request with one that cannot has no effect.
    fn check_peers(
        &mut self,
        now: Now,
        id: u32,
        peers: &[IpAddr],
        channel: Option<ChannelNumber>,
    ) -> Result<(), ErrorCode<'static>> {
        let Some(allocation) = self.allocation_mut(id) else {
            return Err(ErrorCode::ALLOCATION_MISMATCH);
        };
        allocation.prune(now.monotonic);
        let mut families = peers.iter().map(|ip| Family::of(*ip));
        if families.any(|family| allocation.relay(family).is_none()) {
            return Err(ErrorCode::PEER_ADDRESS_FAMILY_MISMATCH);
        }
        if !allocation.has_room(peers, channel) {
            return Err(ErrorCode::INSUFFICIENT_CAPACITY);
        }
        if peers.iter().any(|ip| self.way_to(*ip) == Way::Refused) {
            return Err(ErrorCode::FORBIDDEN);
        }
        Ok(())
    }

    fn ask_for_sockets(&mut self, id: u32, peers: &[SocketAddr]) {
        let Some(transport) = self.allocation(id).map(|own| own.transport) else {
            return;
        };
        let relays = self.allocation_mut(id).map(|own| own.relays.iter_mut());
        for relay in relays.into_iter().flatten().flatten() {
            if relay.binding == Binding::Failed {
                relay.binding = Binding::None;
            }
        }
        for family in Family::ALL {
            let mut peers = peers.iter().filter(|peer| Family::of(peer.ip()) == family);
            if peers.any(|peer| self.needs_socket(transport, *peer)) {
                self.ask_for_socket(id, family);
            }
        }
    }

    pub(super) fn ask_for_socket(&mut self, id: u32, family: Family) {
        let Some(allocation) = self.allocation_mut(id) else {
            return;
        };
        let transport = allocation.transport;
        let relay = allocation
            .relay_mut(family)
            .filter(|relay| relay.binding == Binding::None);
        if let Some(relay) = relay {
            relay.binding = Binding::Asked;
            let (socket, address) = (socket_of(id, family), relay.bind);
            self.events.push_back(match transport {
                Transport::Udp => Event::Bind { socket, address },
                Transport::Tcp => Event::Listen { socket, address },
            });
        }
    }

    /// The driver has bound a relayed socket or a listener to `address`, or could not.
    pub fn handle_bound(&mut self, now: Now, socket: SocketId, address: SocketAddr, bound: bool) {
        let Some((id, family)) = owner_of(socket) else {
            return;
        };
        let relay = self
            .allocation_mut(id)
            .and_then(|allocation| allocation.relay_mut(family))
            // It may be an answer to one that is gone.
            .filter(|relay| relay.binding == Binding::Asked && relay.bind == address);
        let Some(relay) = relay else { return };
        if bound {
            relay.binding = Binding::Bound;
            return self.go_on(now, id);
        }
        relay.binding = Binding::Failed;
        self.counters.count("turn.bind_failed");
        let Some(allocation) = self.allocation_mut(id) else {
            return;
        };
        let client = allocation.client;
        let Some(waiting) = allocation.waiting.take() else {
            return;
        };
        let error = ErrorCode::INSUFFICIENT_CAPACITY;
        self.counters.count(refusal(error.code));
        let Waiting {
            method,
            transaction,
            ref key,
            ..
        } = *waiting;
        self.answer_with(&client, Class::Error, method, transaction, key, |builder| {
            builder.attribute(Attribute::ErrorCode(error));
        });
    }

    /// Grants what waits, once its sockets are there.
    fn go_on(&mut self, now: Now, id: u32) {
        let Some(allocation) = self.allocation_mut(id) else {
            return;
        };
        let mut relays = allocation.relays.iter().flatten();
        if relays.any(|relay| relay.binding == Binding::Asked) {
            return;
        }
        let Some(waiting) = allocation.waiting.take() else {
            return;
        };
        for ip in &waiting.peers {
            allocation.permit(now.monotonic, *ip);
        }
        if let Some((number, peer)) = waiting.channel {
            allocation.bind_channel(now.monotonic, number, peer);
        }
        let client = allocation.client;
        let Waiting {
            method,
            transaction,
            ref key,
            ..
        } = *waiting;
        self.counters.count("turn.permitted");
        self.answer_with(&client, Class::Success, method, transaction, key, |_| {});
    }
}
