//! Permissions and channels (RFC 8656 §9, §12).

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use twocan_wire::stun::ChannelNumber;

/// Addresses with a permission; further ones are not reached by the relay. ICE keeps fewer remote
/// candidates.
const PERMISSIONS_MAX: usize = 128;

/// Peers with a channel; further ones are reached by Send indications. Numbers are not used
/// twice, so that data for one peer never reaches another.
const CHANNELS_MAX: usize = 64;

/// A permission lasts 300 s (RFC 8656 §3.2); so long after it was asked for it is asked for again.
const REFRESH_AFTER: Duration = Duration::from_secs(240);

/// A peer that nothing was sent to for so long is not refreshed.
const UNUSED_AFTER: Duration = Duration::from_secs(300);

/// A request that failed is not repeated sooner.
const RETRY_AFTER: Duration = Duration::from_secs(10);

/// Where a permission or channel stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// Asked for.
    Requested,
    /// Granted.
    Granted,
    /// The request failed.
    Failed,
    /// The server does not relay there, and will not.
    Refused,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    standing: Standing,
    /// When to ask again.
    renew_at: Option<Instant>,
    used_at: Instant,
}

#[derive(Debug, Clone, Copy)]
struct Channel {
    number: ChannelNumber,
    entry: Entry,
}

/// What is to be asked of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ask {
    Permission(IpAddr),
    Channel(SocketAddr, ChannelNumber),
}

/// The peers of one allocation.
#[derive(Debug, Default)]
pub(super) struct Peers {
    permissions: BTreeMap<IpAddr, Entry>,
    channels: BTreeMap<SocketAddr, Channel>,
    /// By number, from the lowest.
    numbered: Vec<SocketAddr>,
}

/// Whether something may be sent to a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// It may, after this was asked for if it was not yet.
    Open(Option<Ask>),
    /// The server refused.
    Refused,
    /// There are as many permissions as may be.
    Full,
}

impl Peers {
    /// Notes that something is sent to `ip`.
    pub(super) fn access(&mut self, now: Instant, ip: IpAddr) -> Access {
        if let Some(entry) = self.permissions.get_mut(&ip) {
            entry.used_at = now;
            return match entry.standing {
                Standing::Refused => Access::Refused,
                Standing::Failed if entry.is_to_be_retried(now) => {
                    *entry = Entry::requested(now);
                    Access::Open(Some(Ask::Permission(ip)))
                }
                Standing::Requested | Standing::Granted | Standing::Failed => Access::Open(None),
            };
        }
        if self.permissions.len() >= PERMISSIONS_MAX {
            return Access::Full;
        }
        self.permissions.insert(ip, Entry::requested(now));
        Access::Open(Some(Ask::Permission(ip)))
    }

    /// The channel of a peer, once the server has granted it.
    pub(super) fn channel(&mut self, now: Instant, peer: SocketAddr) -> Option<ChannelNumber> {
        let channel = self.channels.get_mut(&peer)?;
        channel.entry.used_at = now;
        (channel.entry.standing == Standing::Granted).then_some(channel.number)
    }

    /// The peer of a channel.
    pub(super) fn peer(&self, number: ChannelNumber) -> Option<SocketAddr> {
        let index = number.number().checked_sub(ChannelNumber::MIN.number())?;
        self.numbered.get(usize::from(index)).copied()
    }

    /// Asks for a channel, if there is none yet and room for one.
    pub(super) fn bind(&mut self, now: Instant, peer: SocketAddr) -> Option<Ask> {
        if let Some(channel) = self.channels.get_mut(&peer) {
            let again = channel.entry.is_to_be_retried(now);
            if again {
                channel.entry = Entry::requested(now);
            }
            return again.then_some(Ask::Channel(peer, channel.number));
        }
        if self.channels.len() >= CHANNELS_MAX {
            return None;
        }
        let index = u16::try_from(self.numbered.len()).ok()?;
        let number = ChannelNumber::new(ChannelNumber::MIN.number().checked_add(index)?)?;
        self.numbered.push(peer);
        let entry = Entry::requested(now);
        self.channels.insert(peer, Channel { number, entry });
        Some(Ask::Channel(peer, number))
    }

    /// The server granted what was asked.
    pub(super) fn granted(&mut self, now: Instant, ask: Ask) {
        let renew_at = Some(now + REFRESH_AFTER);
        for entry in self.concerned(ask) {
            entry.standing = Standing::Granted;
            entry.renew_at = renew_at;
        }
    }

    /// The server did not grant it: for good, or for now.
    pub(super) fn denied(&mut self, now: Instant, ask: Ask, for_good: bool) {
        if for_good {
            for entry in self.concerned(ask) {
                entry.standing = Standing::Refused;
                entry.renew_at = None;
            }
            return;
        }
        let entry = match ask {
            Ask::Permission(ip) => self.permissions.get_mut(&ip),
            Ask::Channel(peer, _) => {
                // The permission no longer has the channel to keep it.
                if let Some(permission) = self.permissions.get_mut(&peer.ip()) {
                    permission.renew_at = Some(now);
                }
                self.channels.get_mut(&peer).map(|own| &mut own.entry)
            }
        };
        if let Some(entry) = entry {
            entry.standing = Standing::Failed;
            entry.renew_at = Some(now + RETRY_AFTER);
        }
    }

    /// What is to be asked for again; what is no longer used is forgotten by the server.
    pub(super) fn renew(&mut self, now: Instant) -> Vec<Ask> {
        let mut asks = Vec::new();
        for (peer, channel) in &mut self.channels {
            if channel.entry.renew(now) {
                asks.push(Ask::Channel(*peer, channel.number));
            }
        }
        for (ip, entry) in &mut self.permissions {
            // A channel keeps the permission of its address (RFC 8656 §12).
            let kept = self.channels.iter().any(|(peer, channel)| {
                peer.ip() == *ip && channel.entry.standing == Standing::Granted
            });
            if kept {
                if let Some(at) = entry.renew_at.filter(|at| *at <= now) {
                    entry.renew_at = Some(at.max(now) + REFRESH_AFTER);
                }
            } else if entry.renew(now) {
                asks.push(Ask::Permission(*ip));
            }
        }
        self.permissions.retain(|_, entry| !entry.is_forgotten());
        asks
    }

    /// Requests under way will not be answered: what is used is asked for again.
    pub(super) fn ask_again(&mut self, now: Instant) {
        let channels = self.channels.values_mut().map(|own| &mut own.entry);
        for entry in channels.chain(self.permissions.values_mut()) {
            match entry.standing {
                Standing::Requested => {
                    entry.standing = Standing::Failed;
                    entry.renew_at = None;
                }
                Standing::Granted if entry.renew_at.is_none() => entry.renew_at = Some(now),
                Standing::Granted | Standing::Failed | Standing::Refused => {}
            }
        }
    }

    /// When [`Self::renew`] has something to do.
    pub(super) fn renew_at(&self) -> Option<Instant> {
        let channels = self.channels.values().map(|channel| &channel.entry);
        channels
            .chain(self.permissions.values())
            .filter(|entry| entry.standing == Standing::Granted)
            .filter_map(|entry| entry.renew_at)
            .min()
    }

    fn concerned(&mut self, ask: Ask) -> impl Iterator<Item = &mut Entry> {
        let (ip, peer) = match ask {
            Ask::Permission(ip) => (ip, None),
            Ask::Channel(peer, _) => (peer.ip(), Some(peer)),
        };
        let channel = peer.and_then(|peer| self.channels.get_mut(&peer));
        let channel = channel.map(|channel| &mut channel.entry);
        channel.into_iter().chain(self.permissions.get_mut(&ip))
    }
}

impl Entry {
    const fn requested(now: Instant) -> Self {
        Self {
            standing: Standing::Requested,
            renew_at: None,
            used_at: now,
        }
    }

    /// Whether it is to be asked for again, which is noted.
    fn renew(&mut self, now: Instant) -> bool {
        if self.standing != Standing::Granted || self.renew_at.is_none_or(|at| at > now) {
            return false;
        }
        self.renew_at = None;
        if now.saturating_duration_since(self.used_at) >= UNUSED_AFTER {
            self.standing = Standing::Failed;
            return false;
        }
        true
    }

    fn is_to_be_retried(&self, now: Instant) -> bool {
        self.standing == Standing::Failed && self.renew_at.is_none_or(|at| at <= now)
    }

    fn is_forgotten(&self) -> bool {
        self.standing == Standing::Failed && self.renew_at.is_none()
    }
}
