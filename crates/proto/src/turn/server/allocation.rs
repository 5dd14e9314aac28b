//! What the server keeps for a client: relayed addresses, permissions, channels.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use twocan_wire::stun::{ChannelNumber, Class, Method, TransactionId};

use super::bandwidth::Budgets;
use super::mobility::Mobility;
use super::{
    CHANNEL_LASTS, CHANNELS_MAX, ConnectionId, PERMISSION_LASTS, PERMISSIONS_MAX, StreamId,
    Transport,
};
use crate::contract::Path;
use crate::tight;
use crate::turn::LongTermKey;

/// The 5-tuple by which a client is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum ClientKey {
    Datagram(Path, SocketAddr),
    Stream(StreamId),
}

/// Where a client is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Client {
    pub(super) key: ClientKey,
    pub(super) path: Path,
    pub(super) remote: SocketAddr,
}

impl Client {
    /// Its address as it knows it: on a socket of both families, one of IPv4 looks like IPv6.
    pub(super) fn seen_at(&self) -> SocketAddr {
        SocketAddr::new(self.remote.ip().to_canonical(), self.remote.port())
    }
}

/// Of IPv4, or of IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Family {
    V4,
    V6,
}

impl Family {
    pub(super) const ALL: [Self; 2] = [Self::V4, Self::V6];

    pub(super) const fn of(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }
}

/// Whether a relayed address has its socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Binding {
    None,
    Asked,
    Bound,
    /// It could not be had; the next permission tries again.
    Failed,
}

/// A relayed transport address.
#[derive(Debug, Clone, Copy)]
pub(super) struct Relay {
    /// What peers see.
    pub(super) external: SocketAddr,
    /// What is bound.
    pub(super) bind: SocketAddr,
    pub(super) binding: Binding,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Permission {
    pub(super) ip: IpAddr,
    pub(super) ends: Instant,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Channel {
    pub(super) number: ChannelNumber,
    pub(super) peer: SocketAddr,
    pub(super) ends: Instant,
}

/// What waits for a socket.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) method: Method,
    pub(super) transaction: TransactionId,
    pub(super) key: LongTermKey,
    pub(super) peers: Vec<IpAddr>,
    pub(super) channel: Option<(ChannelNumber, SocketAddr)>,
}

/// The answer to the Allocate that made it, for the same request once more.
#[derive(Debug, Clone, Copy)]
pub(super) struct Made {
    pub(super) transaction: TransactionId,
    pub(super) lifetime: u32,
    pub(super) token: Option<[u8; 8]>,
    /// The code by which an additional family was refused.
    pub(super) refused: Option<u16>,
}

#[derive(Debug)]
pub(super) struct Allocation {
    pub(super) client: Client,
    pub(super) user: Box<str>,
    pub(super) transport: Transport,
    pub(super) made: Made,
    pub(super) ends: Instant,
    /// The entry among the deadlines.
    pub(super) timer: Instant,
    pub(super) relays: [Option<Relay>; 2],
    pub(super) permissions: Vec<Permission>,
    pub(super) channels: Vec<Channel>,
    pub(super) waiting: Option<Box<Waiting>>,
    /// With peers, where the transport is TCP.
    pub(super) connections: Vec<ConnectionId>,
    /// Where the client asked for it.
    pub(super) mobility: Option<Box<Mobility>>,
    pub(super) budgets: Budgets,
}

impl Allocation {
    pub(super) fn relay(&self, family: Family) -> Option<&Relay> {
        self.relays.get(family as usize).and_then(Option::as_ref)
    }

    pub(super) fn relay_mut(&mut self, family: Family) -> Option<&mut Relay> {
        self.relays
            .get_mut(family as usize)
            .and_then(Option::as_mut)
    }

    /// Whether `ip` may send and be sent to.
    #[inline]
    pub(super) fn permits(&self, now: Instant, ip: IpAddr) -> bool {
        let mut permissions = self.permissions.iter();
        permissions.any(|permission| permission.ip == ip && permission.ends > now)
    }

    /// The peer of a channel.
    #[inline]
    pub(super) fn peer_of(&self, now: Instant, number: ChannelNumber) -> Option<SocketAddr> {
        let mut channels = self.channels.iter();
        let channel = channels.find(|channel| channel.number == number && channel.ends > now)?;
        Some(channel.peer)
    }

    /// The channel of a peer.
    #[inline]
    pub(super) fn channel_of(&self, now: Instant, peer: SocketAddr) -> Option<ChannelNumber> {
        let mut channels = self.channels.iter();
        let channel = channels.find(|channel| channel.peer == peer && channel.ends > now)?;
        Some(channel.number)
    }

    /// Forgets what has ended.
    pub(super) fn prune(&mut self, now: Instant) {
        self.permissions.retain(|permission| permission.ends > now);
        self.channels.retain(|channel| channel.ends > now);
    }

    /// Whether those of `ips` that have no permission yet still find room, and `channel` if it is
    /// a new one.
    pub(super) fn has_room(&self, ips: &[IpAddr], channel: Option<ChannelNumber>) -> bool {
        let new: BTreeSet<IpAddr> = ips
            .iter()
            .filter(|ip| {
                let mut permissions = self.permissions.iter();
                !permissions.any(|permission| permission.ip == **ip)
            })
            .copied()
            .collect();
        let is_new = |number| !self.channels.iter().any(|own| own.number == number);
        self.permissions.len() + new.len() <= PERMISSIONS_MAX
            && self.channels.len() + usize::from(channel.is_some_and(is_new)) <= CHANNELS_MAX
    }

    pub(super) fn permit(&mut self, now: Instant, ip: IpAddr) {
        let ends = now + PERMISSION_LASTS;
        let mut permissions = self.permissions.iter_mut();
        match permissions.find(|permission| permission.ip == ip) {
            Some(permission) => permission.ends = ends,
            None => tight::push(&mut self.permissions, Permission { ip, ends }),
        }
    }

    pub(super) fn bind_channel(&mut self, now: Instant, number: ChannelNumber, peer: SocketAddr) {
        let ends = now + CHANNEL_LASTS;
        let mut channels = self.channels.iter_mut();
        match channels.find(|channel| channel.number == number) {
            Some(channel) => channel.ends = ends,
            None => tight::push(&mut self.channels, Channel { number, peer, ends }),
        }
    }
}

/// A request that has been read and whose sender is known.
pub(super) struct Asked<'a> {
    pub(super) client: Client,
    pub(super) message: &'a twocan_wire::stun::Message<'a>,
    pub(super) proof: super::auth::Proof,
}

impl Asked<'_> {
    /// The class and method of the answer are the request's.
    pub(super) fn method(&self) -> Method {
        debug_assert_eq!(self.message.class, Class::Request);
        self.message.method
    }
}
