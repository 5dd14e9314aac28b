//! Media ports of this machine: the one part of it that is relayed to, so that who reaches nothing
//! but a relay reaches the server's own media.

use std::net::{IpAddr, SocketAddr};

use super::Server;
use super::address::Way;

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
            Way::Refused if takes_media() => Way::Socket,
            other => other,
        }
    }

    #[inline]
    pub(super) fn is_media(&self, peer: SocketAddr) -> bool {
        self.media.iter().any(|own| own.told == peer)
    }

    fn way_beside_media(&self, ip: IpAddr) -> Way {
        self.config.policy.way(ip, self.ports.is_relay(ip))
    }

    /// Where what is for `peer` is sent; `None` for a port of this machine that is nobody's
    /// business.
    #[inline]
    pub(super) fn reached_at(&self, peer: SocketAddr) -> Option<SocketAddr> {
        if let Some(own) = self.media.iter().find(|own| own.told == peer) {
            return Some(own.bound);
        }
        let is_own = self.ports.is_relay(peer.ip())
            || self.media.iter().any(|own| own.told.ip() == peer.ip());
        (!is_own || self.way_beside_media(peer.ip()) == Way::Socket).then_some(peer)
    }

    /// As whom a client knows the sender of a datagram; `None` as above.
    #[inline]
    pub(super) fn known_as(&self, sender: SocketAddr) -> Option<SocketAddr> {
        if let Some(own) = self.media.iter().find(|own| own.bound == sender) {
            return Some(own.told);
        }
        let is_own = self.media.iter().any(|own| own.told.ip() == sender.ip());
        (!is_own || self.way_beside_media(sender.ip()) == Way::Socket).then_some(sender)
    }
}
