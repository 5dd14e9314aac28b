//! The way of a datagram from network to network, and where streams may go.

use std::hash::Hash;
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use twocan_proto::contract::Batch;

use crate::between::Parcel;
use crate::pipe::arrival;
use crate::place::{Families, unwrapped, wrapped};
use crate::world::{Flight, HostId, LAN_DELAY, Node, SiteId, Stage, World};

impl<N: Node> World<N> {
    pub(crate) fn transmit(&mut self, host: HostId, batch: &Batch) {
        let Some(destination) = batch.destination() else {
            return;
        };
        let site = self.hosts[host.0].site;
        let local = destination.path.local;
        if let Some(id) = self.pipe_of(host, destination.path.socket) {
            let elapsed = self.elapsed();
            (elapsed, host.0, local, destination.remote, batch.bytes()).hash(&mut self.trace);
            return self.up(id, Stage::Up(id), batch.bytes().to_vec());
        }
        if let Some((id, end)) = self.between_of(host, destination.path.socket) {
            let elapsed = self.elapsed();
            (elapsed, host.0, local, destination.remote, batch.bytes()).hash(&mut self.trace);
            return self.send_between(id, Parcel::Bytes(1 - end), batch.bytes().to_vec());
        }
        // What is sent on a socket that is gone goes nowhere.
        if !self.hosts[host.0]
            .sockets
            .contains_key(&destination.path.socket)
        {
            return;
        }
        for bytes in batch.iter() {
            let elapsed = self.elapsed();
            (elapsed, host.0, local, destination.remote, bytes).hash(&mut self.trace);
            let mut flight = Flight {
                from: local,
                to: destination.remote,
                ecn: destination.ecn,
                bytes: bytes.to_vec(),
                stage: Stage::Core,
            };
            let neighbour = self
                .hosts
                .iter()
                .any(|other| other.site == site && other.ips.contains(&destination.remote.ip()));
            if neighbour {
                flight.stage = Stage::Host;
                self.launch(self.now + LAN_DELAY, flight);
                continue;
            }
            self.leave(site, flight);
        }
    }

    /// Out of a site, through its translator and its uplink.
    fn leave(&mut self, site: SiteId, mut flight: Flight) {
        let own = &mut self.sites[site.0];
        if own.nat.as_ref().is_some_and(|nat| nat.is_blocked()) {
            return;
        }
        if flight.to.is_ipv6() {
            match (own.families, unwrapped(flight.to.ip()), &mut own.nat) {
                (Families::DualBroken, ..) => return,
                (Families::Nat64, Some(ip), Some(nat)) => {
                    flight.to = SocketAddr::new(ip.into(), flight.to.port());
                    flight.from = nat.outbound(self.now, flight.from, flight.to);
                }
                (_, Some(_), _) => return,
                (_, None, _) => {
                    if let Some(wall) = &mut own.wall {
                        wall.outbound(self.now, flight.from, flight.to);
                    }
                }
            }
        } else if let Some(nat) = &mut own.nat {
            flight.from = nat.outbound(self.now, flight.from, flight.to);
            if flight.to.ip() == own.public && !nat.hairpins() {
                return;
            }
        }
        flight.stage = own.within.map_or(Stage::Core, Stage::Inside);
        let arrivals = own.uplink.carry(
            self.now,
            (&mut flight.bytes, &mut flight.ecn),
            &mut self.random,
        );
        self.launch_all(arrivals, flight);
    }

    /// In the middle of the world: to a server there, or down to a site.
    pub(crate) fn cross(&mut self, mut flight: Flight) {
        if let Some(stun) = self.stun.as_mut().filter(|own| own.has(flight.to)) {
            if let Some(back) = stun.answer(&flight) {
                self.launch(self.now, back);
            }
            return;
        }
        let now = self.now();
        if let Some(relay) = self.relay.as_mut().filter(|own| own.has(flight.to)) {
            let sent = relay.handle(now, flight.from, flight.to, flight.ecn, &mut flight.bytes);
            return self.relayed(sent);
        }
        if let Some(site) = self.site_at(None, flight.to.ip()) {
            self.enter(site, flight);
        }
    }

    /// In the network of a site: to one within it, or on to what is around it.
    pub(crate) fn cross_inside(&mut self, site: SiteId, flight: Flight) {
        match self.site_at(Some(site), flight.to.ip()) {
            Some(inner) => self.enter(inner, flight),
            None => self.leave(site, flight),
        }
    }

    /// The site with this address, of those in one network.
    fn site_at(&self, within: Option<SiteId>, ip: IpAddr) -> Option<SiteId> {
        let all = self.sites.iter().enumerate();
        let mut networks =
            all.filter(|(index, site)| site.families.has_v6() && Self::is_in(SiteId(*index), ip));
        // A network of IPv6 is routed by those around it.
        let around = networks.next().map(|(index, _)| self.around(SiteId(index)));
        let around = around.unwrap_or_default();
        let mut sites = self.sites.iter().enumerate();
        let found = sites.find(|(index, site)| {
            let has_v6 = around.contains(&SiteId(*index));
            site.within == within && (site.public == ip || has_v6)
        });
        found.map(|(index, _)| SiteId(index))
    }

    /// Into a site, through its translator and its downlink.
    fn enter(&mut self, site: SiteId, mut flight: Flight) {
        let own = &mut self.sites[site.0];
        if flight.to.is_ipv6() {
            let mut wall = own.wall.iter();
            let lets_in = wall.all(|own| own.lets_in(self.now, flight.to, flight.from));
            if own.families == Families::DualBroken || !lets_in {
                return;
            }
        } else if let Some(nat) = &mut own.nat {
            let Some(internal) = nat.inbound(self.now, flight.to.port(), flight.from) else {
                return;
            };
            flight.to = internal;
            if let (true, IpAddr::V4(ip)) = (internal.is_ipv6(), flight.from.ip()) {
                flight.from = SocketAddr::new(wrapped(ip).into(), flight.from.port());
            }
        }
        let inner = self.site_at(Some(site), flight.to.ip());
        flight.stage = inner.map_or(Stage::Host, |_| Stage::Inside(site));
        let arrivals = self.sites[site.0].downlink.carry(
            self.now,
            (&mut flight.bytes, &mut flight.ecn),
            &mut self.random,
        );
        self.launch_all(arrivals, flight);
    }

    /// A site and those around it, the outermost last.
    fn around(&self, site: SiteId) -> Vec<SiteId> {
        let outer = |site: &SiteId| self.sites[site.0].within;
        std::iter::successors(Some(site), outer).collect()
    }

    /// Whether a stream may be opened from a site to this address outside of it.
    pub(crate) fn lets_out(&self, site: SiteId, to: SocketAddr) -> bool {
        let families = self.sites[site.0].families;
        let has_way = match (families, unwrapped(to.ip())) {
            (Families::DualBroken, _) => to.is_ipv4(),
            (_, Some(_)) => families == Families::Nat64,
            (_, None) => true,
        };
        let around = self.around(site);
        let mut nats = around
            .iter()
            .filter_map(|site| self.sites[site.0].nat.as_ref());
        has_way && nats.all(|nat| nat.admits(to.port()))
    }

    /// The address of a stream from a site to this address, as others see it.
    pub(crate) fn shown(&self, site: SiteId, local: IpAddr, to: IpAddr) -> IpAddr {
        if to.is_ipv6() && unwrapped(to).is_none() {
            return local;
        }
        let outermost = self.around(site).last().copied().unwrap_or(site);
        self.sites[outermost.0].public
    }

    /// Whether a stream from one site can reach a host at another: nobody is let in from outside.
    pub(crate) fn lets_in(&self, from: SiteId, to: SiteId, address: IpAddr) -> bool {
        let (one, other) = (&self.sites[from.0], &self.sites[to.0]);
        if from == to {
            return true;
        }
        if address.is_ipv6() {
            let common = self.around(from);
            let mut entered = self.around(to).into_iter();
            let is_open = |site: SiteId| {
                let own = &self.sites[site.0];
                own.wall.is_none() && own.families != Families::DualBroken
            };
            return entered.all(|site| common.contains(&site) || is_open(site));
        }
        let is_near = other.within.is_none() || other.within == one.within;
        is_near && other.nat.is_none()
    }

    /// When what a stream carries has come up from one site, and down to another.
    pub(crate) fn stream_arrival(
        &mut self,
        up: Option<SiteId>,
        down: Option<SiteId>,
        after: &mut Option<Instant>,
    ) -> Instant {
        let ups = up.map(|site| self.around(site)).unwrap_or_default();
        let mut downs = down.map(|site| self.around(site)).unwrap_or_default();
        downs.reverse();
        let mut at = self.now;
        for site in ups {
            let link = &mut self.sites[site.0].uplink;
            at = arrival(at, link, &mut self.random, &mut None);
        }
        for site in downs {
            let link = &mut self.sites[site.0].downlink;
            at = arrival(at, link, &mut self.random, &mut None);
        }
        at = after.map_or(at, |after| at.max(after));
        *after = Some(at);
        at
    }
}
