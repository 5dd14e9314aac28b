//! Media ports of this machine: the one part of it that is relayed to, so that who reaches nothing
//! but a relay reaches the server's own media. What goes there and comes from there is handed over
//! without a socket.

use std::net::{IpAddr, SocketAddr};

use super::address::Way;
use super::ports::Holder;
use super::{MEDIA_SOCKET, Server, Transport};
use crate::contract::{Destination, Dscp, Ecn, Path};
use crate::time::Now;

/// A port on which this machine takes media.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MediaAddress {
    /// As peers are told of it.
    pub told: SocketAddr,
    /// Where it is bound: the same, or what a static address translator makes of it. Nobody relies
    /// on the translator to send back what comes from inside.
    pub bound: SocketAddr,
}

impl Server {
    /// The ports on which this machine takes media; `media` takes the place of those known.
    /// Default none. Of an address that is not relayed to otherwise these ports are, and no other,
    /// whoever asks, and even where [`super::AddressPolicy::allowed_only`] leaves nothing else.
    pub fn set_media_addresses(&mut self, media: Vec<MediaAddress>) {
        self.media = media;
        self.forget_refused();
    }

    /// How an address is reached.
    pub(super) fn way_to(&self, ip: IpAddr) -> Way {
        let takes_media = || self.media.iter().any(|own| own.told.ip() == ip);
        match self.way_beside_media(ip) {
            Way::Refused if takes_media() => Way::Own,
            other => other,
        }
    }

    /// Whether a permission for `peer` needs a socket on the relayed address at once. One that names
    /// no port may be for any; where it names media, what is sent to another port there asks for the
    /// socket.
    pub(super) fn needs_socket(&self, transport: Transport, peer: SocketAddr) -> bool {
        let is_handed_over = transport == Transport::Udp && self.media_at(peer).is_some();
        !is_handed_over && self.way_to(peer.ip()) == Way::Socket
    }

    /// Where media of ours is bound that peers know as `told`.
    #[inline]
    pub(super) fn media_at(&self, told: SocketAddr) -> Option<SocketAddr> {
        let mut media = self.media.iter();
        Some(media.find(|own| own.told == told)?.bound)
    }

    /// On which way what comes from the relayed address `from` is handed to media that is bound to
    /// `bound`.
    #[inline]
    pub(super) fn way_to_media(from: SocketAddr, bound: SocketAddr, ecn: Ecn) -> Destination {
        Destination {
            path: Path {
                socket: MEDIA_SOCKET,
                local: from,
            },
            remote: bound,
            ecn,
            dscp: Dscp::DEFAULT,
        }
    }

    /// Media that is bound to `bound` has sent to the relayed address `to`.
    #[inline]
    pub(super) fn handle_media(
        &mut self,
        now: Now,
        (bound, to): (SocketAddr, SocketAddr),
        ecn: Ecn,
        data: &[u8],
    ) {
        let told = self.media.iter().find(|own| own.bound == bound);
        match (told.map(|own| own.told), self.ports.holder(to)) {
            (Some(told), Some(Holder::Allocation(id))) => {
                self.traffic.packets_from_media += 1;
                self.deliver(now, id, told, ecn, data);
            }
            _ => self.traffic.unwanted += 1,
        }
    }

    /// How an address is reached by what is no media of ours.
    pub(super) fn way_beside_media(&self, ip: IpAddr) -> Way {
        self.config.policy.way(ip, self.ports.is_relay(ip))
    }

    /// Whether `peer`, which takes no media, is sent to by a socket; not where it is a port of this
    /// machine that is nobody's business.
    #[inline]
    pub(super) fn is_reached(&self, peer: SocketAddr) -> bool {
        let is_own = self.ports.is_relay(peer.ip())
            || self.media.iter().any(|own| own.told.ip() == peer.ip());
        !is_own || self.way_beside_media(peer.ip()) == Way::Socket
    }

    /// As whom a client knows the sender of a datagram on a relayed socket; `None` for a port of this
    /// machine that is nobody's business.
    #[inline]
    pub(super) fn known_as(&self, sender: SocketAddr) -> Option<SocketAddr> {
        if let Some(own) = self.media.iter().find(|own| own.bound == sender) {
            return Some(own.told);
        }
        let is_own = self.media.iter().any(|own| own.told.ip() == sender.ip());
        (!is_own || self.way_beside_media(sender.ip()) == Way::Socket).then_some(sender)
    }
}
