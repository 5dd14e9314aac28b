//! Allocate and Refresh (RFC 8656 §7.2, §8.2; RFC 6062 §5.1).

use std::time::{Duration, Instant};

use twocan_wire::stun::{AddressError, AddressFamily, Attribute, Class, ErrorCode};

use super::allocation::{Allocation, Asked, Binding, ClientKey, Family, Made, Relay};
use super::machine::{Server, Timer};
use super::mobility::{self, Mobility};
use super::ports::{Taken, Wish};
use super::{LIFETIME, LIFETIME_MAX, Transport};
use crate::time::Now;

/// Protocol numbers.
const UDP: u8 = 17;
const TCP: u8 = 6;

/// What an Allocate asks for.
#[derive(Default)]
struct Wanted {
    transport: Option<u8>,
    family: Option<AddressFamily>,
    additional: Option<AddressFamily>,
    even: Option<bool>,
    whole: bool,
    token: Option<[u8; 8]>,
    lifetime: Option<u32>,
}

impl Wanted {
    /// Of attributes that are there more than once the first counts (RFC 8489 §14).
    fn of(asked: &Asked<'_>) -> Self {
        let mut wanted = Self::default();
        for attribute in asked.message.attributes() {
            match attribute {
                Attribute::RequestedTransport(number) => {
                    wanted.transport.get_or_insert(number);
                }
                Attribute::RequestedAddressFamily(family) => {
                    wanted.family.get_or_insert(family);
                }
                Attribute::AdditionalAddressFamily(family) => {
                    wanted.additional.get_or_insert(family);
                }
                Attribute::EvenPort { reserve_next } => {
                    wanted.even.get_or_insert(reserve_next);
                }
                Attribute::DontFragment => wanted.whole = true,
                Attribute::ReservationToken(token) => {
                    wanted.token.get_or_insert(*token);
                }
                Attribute::Lifetime(seconds) => {
                    wanted.lifetime.get_or_insert(seconds);
                }
                _ => {}
            }
        }
        wanted
    }

    /// The transport, unless something contradicts itself or cannot be had.
    fn check(&self, client: ClientKey) -> Result<Transport, ErrorCode<'static>> {
        let transport = match self.transport {
            None => return Err(ErrorCode::BAD_REQUEST),
            Some(UDP) => Transport::Udp,
            Some(TCP) => Transport::Tcp,
            Some(_) => return Err(ErrorCode::UNSUPPORTED_TRANSPORT_PROTOCOL),
        };
        let is_of_datagrams = self.whole || self.even.is_some() || self.token.is_some();
        let on_datagrams = matches!(client, ClientKey::Datagram(..));
        if transport == Transport::Tcp && (on_datagrams || is_of_datagrams) {
            return Err(ErrorCode::BAD_REQUEST);
        }
        let one_too_many = (self.token.is_some()
            && (self.even.is_some() || self.family.is_some() || self.additional.is_some()))
            || (self.family.is_some() && self.additional.is_some())
            || (self.additional.is_some() && self.even == Some(true))
            || self
                .additional
                .is_some_and(|family| family != AddressFamily::IPV6);
        if one_too_many {
            return Err(ErrorCode::BAD_REQUEST);
        }
        Ok(transport)
    }

    fn wish(&self) -> Wish {
        match self.even {
            None => Wish::Any,
            Some(false) => Wish::Even,
            Some(true) => Wish::EvenAndNext,
        }
    }
}

fn family_of(family: AddressFamily) -> Option<Family> {
    match family {
        AddressFamily::IPV4 => Some(Family::V4),
        AddressFamily::IPV6 => Some(Family::V6),
        _ => None,
    }
}

/// What a client gets: what it asks for within our bounds, and never beyond its credential.
fn granted(now: Now, asked: Option<u32>, ends: Option<Duration>) -> Duration {
    let asked = asked.map_or(LIFETIME, |seconds| Duration::from_secs(seconds.into()));
    let granted = asked.clamp(LIFETIME, LIFETIME_MAX);
    match ends {
        None => granted,
        Some(ends) => {
            let left = ends.saturating_sub(now.wallclock).as_secs().max(1);
            granted.min(Duration::from_secs(left))
        }
    }
}

impl Server {
    pub(super) fn allocate(&mut self, now: Now, asked: &Asked<'_>) {
        if let Some(id) = self.clients.get(&asked.client.key).copied() {
            return self.allocate_again(asked, id);
        }
        let wanted = Wanted::of(asked);
        let relays = |transport| match transport {
            Transport::Tcp if !self.config.tcp_relay => {
                Err(ErrorCode::UNSUPPORTED_TRANSPORT_PROTOCOL)
            }
            Transport::Tcp | Transport::Udp => Ok(transport),
        };
        let transport = match wanted.check(asked.client.key).and_then(relays) {
            Ok(transport) => transport,
            Err(error) => return self.refuse(asked, error),
        };
        let families = match self.families(&wanted) {
            Ok(families) => families,
            Err(error) => return self.refuse(asked, error),
        };
        let (user, ip) = (asked.proof.user.as_str(), asked.client.remote.ip());
        if mobility::shown(asked.message).is_some() && !self.config.mobility {
            return self.refuse(asked, ErrorCode::MOBILITY_FORBIDDEN);
        }
        // A ticket is shown to move an allocation, not to make one (RFC 8016 §3.1.2).
        if mobility::shown(asked.message).is_some_and(|shown| !shown.is_empty()) {
            return self.refuse(asked, ErrorCode::BAD_REQUEST);
        }
        if self.draining {
            return self.refuse(asked, ErrorCode::INSUFFICIENT_CAPACITY);
        }
        if let Err(error) = self.accounts.open(&self.config.quotas, user, ip) {
            return self.refuse(asked, error);
        }
        let id = self.free.pop().unwrap_or_else(|| {
            self.allocations.push(None);
            u32::try_from(self.allocations.len() - 1).unwrap_or(u32::MAX)
        });
        let (relays, token, refused) = self.take_ports(now, &wanted, (transport, families), id);
        if relays.iter().all(Option::is_none) {
            self.free.push(id);
            self.accounts.close(user, ip);
            return self.refuse(asked, ErrorCode::INSUFFICIENT_CAPACITY);
        }
        let lifetime = granted(now, wanted.lifetime, asked.proof.ends);
        let ends = now.monotonic + lifetime;
        let mobility = mobility::shown(asked.message)
            .map(|_| Box::new(Mobility::new((self.part.number, id), &mut self.random)));
        let made = Made {
            transaction: asked.message.transaction,
            lifetime: u32::try_from(lifetime.as_secs()).unwrap_or(u32::MAX),
            token,
            refused,
        };
        let allocation = Allocation {
            client: asked.client,
            user: user.into(),
            transport,
            made,
            ends,
            timer: ends,
            relays,
            permissions: Vec::new(),
            channels: Vec::new(),
            waiting: None,
            connections: Vec::new(),
            mobility,
            budgets: self.accounts.join(user),
        };
        self.know_client(asked.client.key, id);
        self.timers.insert((ends, Timer::Allocation(id)));
        if let Some(place) = self.allocations.get_mut(id as usize) {
            *place = Some(Box::new(allocation));
        }
        self.counters.count("turn.allocated");
        self.answer_allocated(asked, id);
    }

    /// The families that are asked for and that there are, and the code for an additional one
    /// that there is not.
    fn families(&self, wanted: &Wanted) -> Result<[Option<Family>; 2], ErrorCode<'static>> {
        let unsupported = ErrorCode::ADDRESS_FAMILY_NOT_SUPPORTED;
        if wanted.token.is_some() {
            return Ok([None, None]);
        }
        if wanted.additional.is_some() {
            if !self.ports.knows(Family::V4) && !self.ports.knows(Family::V6) {
                return Err(unsupported);
            }
            return Ok([Some(Family::V4), Some(Family::V6)]);
        }
        let family = wanted.family.unwrap_or(AddressFamily::IPV4);
        let family = family_of(family).filter(|family| self.ports.knows(*family));
        Ok([Some(family.ok_or(unsupported)?), None])
    }

    /// Takes the ports; answers the token of a reserved one, and the code by which one of two
    /// families was refused.
    fn take_ports(
        &mut self,
        now: Now,
        wanted: &Wanted,
        (transport, families): (Transport, [Option<Family>; 2]),
        id: u32,
    ) -> ([Option<Relay>; 2], Option<[u8; 8]>, Option<u16>) {
        let relay = |taken: Taken| Relay {
            external: taken.external,
            bind: taken.bind,
            binding: Binding::None,
        };
        let mut relays = [None, None];
        if let Some(token) = &wanted.token {
            if let Some(taken) = self.ports.take_reserved(now.monotonic, token, id) {
                relays[Family::of(taken.external.ip()) as usize] = Some(relay(taken));
            }
            return (relays, None, None);
        }
        let (mut token, mut refused) = (None, None);
        for family in families.into_iter().flatten() {
            let taken = self.ports.take(
                now.monotonic,
                &mut self.random,
                (transport, family),
                wanted.wish(),
                id,
            );
            match taken {
                Some(taken) => {
                    token = token.or(taken.token);
                    relays[family as usize] = Some(relay(taken));
                }
                None if self.ports.knows(family) => refused = Some(508),
                None => refused = Some(440),
            }
        }
        (relays, token, refused)
    }

    /// An Allocate from a client that has an allocation: the same request once more gets the same
    /// answer.
    fn allocate_again(&mut self, asked: &Asked<'_>, id: u32) {
        let same = self.allocation(id).is_some_and(|allocation| {
            allocation.made.transaction == asked.message.transaction
                && *allocation.user == *asked.proof.user
        });
        if same {
            self.answer_allocated(asked, id);
        } else {
            self.refuse(asked, ErrorCode::ALLOCATION_MISMATCH);
        }
    }

    fn answer_allocated(&mut self, asked: &Asked<'_>, id: u32) {
        let Some(allocation) = self.allocation(id) else {
            return;
        };
        let (made, relays) = (allocation.made, allocation.relays);
        let ticket = allocation
            .mobility
            .as_deref()
            .map(|own| own.ticket().to_vec());
        let remote = asked.client.seen_at();
        self.answer(asked, Class::Success, |builder| {
            for relay in relays.iter().flatten() {
                builder.attribute(Attribute::XorRelayedAddress(relay.external));
            }
            builder.attribute(Attribute::Lifetime(made.lifetime));
            if let Some(token) = &made.token {
                builder.attribute(Attribute::ReservationToken(token));
            }
            builder.attribute(Attribute::XorMappedAddress(remote));
            if let Some(ticket) = &ticket {
                builder.attribute(Attribute::MobilityTicket(ticket));
            }
            if let Some(code) = made.refused {
                let [v4, _] = relays;
                let error = if code == 440 {
                    ErrorCode::ADDRESS_FAMILY_NOT_SUPPORTED
                } else {
                    ErrorCode::INSUFFICIENT_CAPACITY
                };
                let family = if v4.is_some() {
                    AddressFamily::IPV6
                } else {
                    AddressFamily::IPV4
                };
                builder.attribute(Attribute::AddressErrorCode(AddressError { family, error }));
            }
        });
    }

    pub(super) fn refresh(&mut self, now: Now, asked: &Asked<'_>, id: u32) {
        let wanted = Wanted::of(asked);
        let Some(allocation) = self.allocation_mut(id) else {
            return self.refuse(asked, ErrorCode::ALLOCATION_MISMATCH);
        };
        let family = match wanted.family {
            None => None,
            Some(family) => {
                let family = family_of(family).filter(|family| allocation.relay(*family).is_some());
                match family {
                    Some(family) => Some(family),
                    None => return self.refuse(asked, ErrorCode::PEER_ADDRESS_FAMILY_MISMATCH),
                }
            }
        };
        if wanted.lifetime == Some(0) {
            self.end(id, family);
            return self.answer(asked, Class::Success, |builder| {
                builder.attribute(Attribute::Lifetime(0));
            });
        }
        let lifetime = granted(now, wanted.lifetime, asked.proof.ends);
        allocation.prune(now.monotonic);
        let ticket = mobility::shown(asked.message).and(allocation.mobility.as_deref());
        let ticket = ticket.map(|own| own.ticket().to_vec());
        self.set_allocation_end(id, now.monotonic + lifetime);
        self.counters.count("turn.refreshed");
        self.answer(asked, Class::Success, |builder| {
            let seconds = u32::try_from(lifetime.as_secs()).unwrap_or(u32::MAX);
            builder.attribute(Attribute::Lifetime(seconds));
            if let Some(ticket) = &ticket {
                builder.attribute(Attribute::MobilityTicket(ticket));
            }
        });
    }

    /// The deadline that is set comes first, and is set anew when it does.
    pub(super) fn set_allocation_end(&mut self, id: u32, ends: Instant) {
        let Some(allocation) = self.allocation_mut(id) else {
            return;
        };
        allocation.ends = ends;
        let timer = allocation.timer;
        if ends < timer {
            allocation.timer = ends;
            self.timers.remove(&(timer, Timer::Allocation(id)));
            self.timers.insert((ends, Timer::Allocation(id)));
        }
    }

    /// Ends an allocation, or one of its two families.
    fn end(&mut self, id: u32, family: Option<Family>) {
        self.counters.count("turn.ended");
        let Some(allocation) = self.allocation_mut(id) else {
            return;
        };
        let relays = allocation.relays.iter().flatten().count();
        let Some(family) = family.filter(|_| relays > 1) else {
            return self.release(id);
        };
        let Some(relay) = allocation.relays[family as usize].take() else {
            return;
        };
        allocation
            .permissions
            .retain(|permission| Family::of(permission.ip) != family);
        allocation
            .channels
            .retain(|channel| Family::of(channel.peer.ip()) != family);
        self.release_relay(id, family, relay.external, relay.binding);
        self.close_connections_to(|own, peer| own == id && Family::of(peer) == family);
    }
}
