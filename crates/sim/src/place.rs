//! Places and what is there: sites, their addresses, hosts, and the servers in the middle.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use twocan_proto::contract::Lookup;
use twocan_proto::stun_server::{Discovery, Origin};
use twocan_proto::turn::server::Server;
use twocan_wire::nat64::NAME;

use crate::link::{Link, LinkConfig};
use crate::nat::{Nat, NatConfig, Wall};
use crate::relay::Relay;
use crate::stun::Stun;
use crate::world::{Host, HostId, Node, Site, SiteId, World};

/// Which families of addresses a site has. IPv6 is never translated into itself; where there is a
/// translator, it filters IPv6 as it filters IPv4.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Families {
    /// IPv4 alone.
    #[default]
    V4,
    /// IPv6 alone.
    V6,
    /// Both.
    Dual,
    /// Both, but nothing passes over IPv6.
    DualBroken,
    /// IPv6, and IPv4 behind `64:ff9b::/96` by the site's translator (RFC 6146), where names
    /// without an IPv6 address get one (RFC 6147).
    Nat64,
}

impl Families {
    pub(crate) const fn has_v4(self) -> bool {
        matches!(self, Self::V4 | Self::Dual | Self::DualBroken)
    }

    pub(crate) const fn has_v6(self) -> bool {
        !matches!(self, Self::V4)
    }
}

/// The well-known prefix (RFC 6052 §2.1).
const NAT64: [u16; 6] = [0x64, 0xff9b, 0, 0, 0, 0];

/// The names that there are in every world: the one by which hosts learn of a NAT64 (RFC 7050).
pub(crate) fn known_names() -> BTreeMap<String, Vec<IpAddr>> {
    let addresses = [170, 171].map(|last| IpAddr::from([192, 0, 0, last]));
    BTreeMap::from([(NAME.to_owned(), addresses.to_vec())])
}

/// An IPv4 address as hosts behind a NAT64 see it.
pub(crate) fn wrapped(ip: Ipv4Addr) -> Ipv6Addr {
    let [a, b, c, d] = ip.octets();
    let [p, q, ..] = NAT64;
    let high = u16::from_be_bytes([a, b]);
    Ipv6Addr::new(p, q, 0, 0, 0, 0, high, u16::from_be_bytes([c, d]))
}

/// The IPv4 address that such an address stands for.
pub(crate) fn unwrapped(ip: IpAddr) -> Option<Ipv4Addr> {
    let IpAddr::V6(ip) = ip else {
        return None;
    };
    let is_wrapped = ip.segments().starts_with(&NAT64);
    let [.., a, b, c, d] = ip.octets();
    is_wrapped.then(|| Ipv4Addr::new(a, b, c, d))
}

/// The IPv6 address of a host; `host` 0 is the network's own.
const fn v6(site: SiteId, host: u16) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, site.0 as u16, 0, 0, 0, 0, host)
}

/// The network of the servers in the middle.
const MIDDLE: SiteId = SiteId(0xffff);

impl<N: Node> World<N> {
    /// Adds a site with a public address of its own.
    pub fn add_site(&mut self, nat: Option<NatConfig>, up: LinkConfig, down: LinkConfig) -> SiteId {
        let id = SiteId(self.sites.len());
        let public = IpAddr::V4(Ipv4Addr::new(198, 51, 100, id.0 as u8 + 1));
        self.push_site(None, public, nat, (up, down))
    }

    /// Adds a site in the network of another, whose translator then comes after its own.
    pub fn add_site_within(
        &mut self,
        outer: SiteId,
        nat: Option<NatConfig>,
        up: LinkConfig,
        down: LinkConfig,
    ) -> SiteId {
        let id = SiteId(self.sites.len());
        // What carriers use between their translators and those of homes (RFC 6598).
        let public = IpAddr::V4(Ipv4Addr::new(100, 64, 0, id.0 as u8 + 1));
        self.push_site(Some(outer), public, nat, (up, down))
    }

    fn push_site(
        &mut self,
        within: Option<SiteId>,
        public: IpAddr,
        nat: Option<NatConfig>,
        (up, down): (LinkConfig, LinkConfig),
    ) -> SiteId {
        let random = &mut self.random;
        self.sites.push(Site {
            uplink: Link::new(up),
            downlink: Link::new(down),
            nat: nat.map(|config| Nat::new(config, public, random)),
            wall: nat.as_ref().map(Wall::new),
            public,
            within,
            families: Families::V4,
        });
        SiteId(self.sites.len() - 1)
    }

    /// Gives a site other families, before it has hosts. The networks around it carry both.
    pub fn set_families(&mut self, site: SiteId, families: Families) {
        let own = &mut self.sites[site.0];
        own.families = families;
        if families == Families::Nat64 && own.nat.is_none() {
            let nat = Nat::new(NatConfig::PORT_RESTRICTED, own.public, &mut self.random);
            own.nat = Some(nat);
        }
    }

    /// Adds a host with its node; its IPv4 address is private behind a translator.
    pub fn add_host(&mut self, site: SiteId, node: N) -> HostId {
        let id = self.hosts.len();
        let own = &self.sites[site.0];
        let v4 = match own.nat {
            Some(_) => Ipv4Addr::new(10, site.0 as u8, 0, id as u8 + 1).into(),
            None => own.public,
        };
        let v6 = IpAddr::V6(v6(site, id as u16 + 1));
        let v4 = own.families.has_v4().then_some(v4);
        let v6 = own.families.has_v6().then_some(v6);
        let ips = v4.into_iter().chain(v6).collect();
        self.hosts
            .push(Host::new(node, site, ips, 4000 + 100 * id as u16));
        HostId(id)
    }

    /// Adds a STUN server in the middle of the world, and answers its IPv4 address.
    pub fn add_stun_server(&mut self) -> SocketAddr {
        let address = SocketAddr::from(([192, 0, 2, 1], 3478));
        self.stun = Some(Stun::at(vec![address]));
        address
    }

    /// The same with an address of each family, IPv4 first.
    pub fn add_stun_server_of_both(&mut self) -> [SocketAddr; 2] {
        let v4 = SocketAddr::from(([192, 0, 2, 1], 3478));
        let addresses = [v4, SocketAddr::new(v6(MIDDLE, 1).into(), 3478)];
        self.stun = Some(Stun::at(addresses.to_vec()));
        addresses
    }

    /// The same for behaviour discovery (RFC 5780), with four addresses; answers the first.
    pub fn add_discovery_server(&mut self, discovery: Discovery) -> SocketAddr {
        self.stun = Some(Stun::with_discovery(discovery));
        discovery.address(Origin::default())
    }

    /// Adds a TURN server in the middle of the world, with one user, and answers its address. It
    /// also answers as a STUN server. Streams to it may also go to port 443.
    pub fn add_turn_server(&mut self, user: &str, password: &str) -> SocketAddr {
        let address = SocketAddr::from(([192, 0, 2, 2], 3478));
        self.place_relay(vec![address], (user, password));
        address
    }

    /// The same with an address of each family, IPv4 first.
    pub fn add_turn_server_of_both(&mut self, user: &str, password: &str) -> [SocketAddr; 2] {
        let v4 = SocketAddr::from(([192, 0, 2, 2], 3478));
        let addresses = [v4, SocketAddr::new(v6(MIDDLE, 2).into(), 3478)];
        self.place_relay(addresses.to_vec(), (user, password));
        addresses
    }

    fn place_relay(&mut self, addresses: Vec<SocketAddr>, user: (&str, &str)) {
        let random = self.random.fork();
        let quotas = self.turn_quotas.clone();
        self.relay = Some(Relay::new(self.now(), addresses, user, quotas, random));
    }

    /// The TURN server, to look at.
    pub fn turn_server(&self) -> Option<&Server> {
        self.relay.as_ref().map(Relay::server)
    }

    /// What a host answers for by multicast DNS: names, and addresses of its.
    pub fn announced_by(&self, host: HostId) -> Vec<(&str, IpAddr)> {
        let all = self.announced.iter();
        let own = all.filter(|(_, (own, _))| *own == host);
        own.map(|(name, (_, ip))| (name.as_str(), *ip)).collect()
    }

    /// The addresses of a name; by multicast DNS also what a host of the same network answers.
    pub(crate) fn resolve(&self, host: HostId, name: &str, how: Lookup) -> Vec<IpAddr> {
        let known = self.names.get(name).cloned().unwrap_or_default();
        let mut addresses = self.seen_from(host, known);
        if how == Lookup::Mdns
            && let Some((other, ip)) = self.announced.get(name)
            && self.hosts[other.0].site == self.hosts[host.0].site
        {
            addresses.push(*ip);
        }
        addresses
    }

    /// What a host's resolver makes of the addresses of a name.
    fn seen_from(&self, host: HostId, mut addresses: Vec<IpAddr>) -> Vec<IpAddr> {
        let families = self.sites[self.hosts[host.0].site.0].families;
        if families == Families::Nat64 && addresses.iter().all(IpAddr::is_ipv4) {
            let wrapped = addresses.iter().filter_map(|ip| match ip {
                IpAddr::V4(ip) => Some(IpAddr::V6(wrapped(*ip))),
                IpAddr::V6(_) => None,
            });
            let wrapped: Vec<IpAddr> = wrapped.collect();
            addresses.extend(wrapped);
        }
        addresses
    }

    /// Whether an IPv6 address is one of a site's network.
    pub(crate) fn is_in(site: SiteId, ip: IpAddr) -> bool {
        let IpAddr::V6(ip) = ip else {
            return false;
        };
        ip.segments().starts_with(&v6(site, 0).segments()[..3])
    }
}
