//! Network address translation, by its two behaviours (RFC 4787 §4.1, §5), and what the same box
//! does to IPv6: it filters, and translates nothing (RFC 6092 §3).

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use twocan_proto::random::Random;

/// On what a mapping or a filter depends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Behaviour {
    /// On nothing of the remote end.
    EndpointIndependent,
    /// On its address.
    AddressDependent,
    /// On its address and port.
    AddressAndPortDependent,
}

/// Properties of a translator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NatConfig {
    /// When a new public port is used.
    pub mapping: Behaviour,
    /// Who may send to a public port.
    pub filtering: Behaviour,
    /// Whether hosts behind it reach each other by public addresses.
    pub hairpin: bool,
    /// How long a mapping lives without outbound traffic (RFC 4787 §4.3: 2 minutes at least; many
    /// give 30 s).
    pub lifetime: Duration,
    /// Whether UDP is kept from passing.
    pub is_blocked: bool,
    /// Whether new public ports are drawn, rather than counted up.
    pub random_ports: bool,
    /// The one port to which streams may be opened; `None` is any.
    pub only_port: Option<u16>,
}

impl NatConfig {
    const fn new(mapping: Behaviour, filtering: Behaviour) -> Self {
        Self {
            mapping,
            filtering,
            hairpin: false,
            lifetime: Duration::from_secs(30),
            is_blocked: false,
            random_ports: false,
            only_port: None,
        }
    }

    /// Anyone may answer.
    pub const FULL_CONE: Self = Self::new(
        Behaviour::EndpointIndependent,
        Behaviour::EndpointIndependent,
    );
    /// Only addresses that were sent to may answer.
    pub const ADDRESS_RESTRICTED: Self =
        Self::new(Behaviour::EndpointIndependent, Behaviour::AddressDependent);
    /// Only addresses and ports that were sent to may answer.
    pub const PORT_RESTRICTED: Self = Self::new(
        Behaviour::EndpointIndependent,
        Behaviour::AddressAndPortDependent,
    );
    /// Nothing passes: what a firewall does that blocks UDP.
    pub const BLOCKED: Self = Self {
        is_blocked: true,
        ..Self::PORT_RESTRICTED
    };
    /// Every remote end sees another port.
    pub const SYMMETRIC: Self = Self::new(
        Behaviour::AddressAndPortDependent,
        Behaviour::AddressAndPortDependent,
    );
    /// The same, and no port can be foretold.
    pub const SYMMETRIC_RANDOM: Self = Self {
        random_ports: true,
        ..Self::SYMMETRIC
    };
    /// Streams to port 443 pass and nothing else, as in networks that are for the web alone.
    pub const ONLY_TCP_443: Self = Self {
        only_port: Some(443),
        ..Self::BLOCKED
    };
}

#[derive(Debug)]
struct Mapping {
    internal: SocketAddr,
    remote: (Option<IpAddr>, Option<u16>),
    used_at: Instant,
    /// Remote ends that were sent to.
    contacted: Vec<SocketAddr>,
}

/// A translator with one public address.
#[derive(Debug)]
pub struct Nat {
    config: NatConfig,
    public: IpAddr,
    next_port: u16,
    /// Draws ports, where they are drawn.
    random: Option<Random>,
    mappings: BTreeMap<u16, Mapping>,
}

impl Nat {
    /// A translator behind `public`, which draws its ports from the world's randomness.
    pub(crate) fn new(config: NatConfig, public: IpAddr, random: &mut Random) -> Self {
        Self {
            random: config.random_ports.then(|| random.fork()),
            config,
            public,
            next_port: 20_000,
            mappings: BTreeMap::new(),
        }
    }

    /// Whether UDP passes.
    pub fn is_blocked(&self) -> bool {
        self.config.is_blocked
    }

    /// Whether hosts behind it reach each other by public addresses.
    pub fn hairpins(&self) -> bool {
        self.config.hairpin
    }

    /// Whether a stream to this port may be opened.
    pub(crate) fn admits(&self, port: u16) -> bool {
        self.config.only_port.is_none_or(|only| only == port)
    }

    /// Gives every host new ports: what a reboot of the box does.
    pub fn forget(&mut self) {
        self.mappings.clear();
    }

    /// The public source address of a datagram from `internal` to `remote`.
    pub(crate) fn outbound(
        &mut self,
        now: Instant,
        internal: SocketAddr,
        remote: SocketAddr,
    ) -> SocketAddr {
        let lifetime = self.config.lifetime;
        self.mappings
            .retain(|_, mapping| now.duration_since(mapping.used_at) <= lifetime);
        let key = match self.config.mapping {
            Behaviour::EndpointIndependent => (None, None),
            Behaviour::AddressDependent => (Some(remote.ip()), None),
            Behaviour::AddressAndPortDependent => (Some(remote.ip()), Some(remote.port())),
        };
        let known = self
            .mappings
            .iter_mut()
            .find(|(_, mapping)| mapping.internal == internal && mapping.remote == key);
        if let Some((port, mapping)) = known {
            mapping.used_at = now;
            if !mapping.contacted.contains(&remote) {
                mapping.contacted.push(remote);
            }
            return SocketAddr::new(self.public, *port);
        }
        let port = self.free_port();
        let mapping = Mapping {
            internal,
            remote: key,
            used_at: now,
            contacted: vec![remote],
        };
        self.mappings.insert(port, mapping);
        SocketAddr::new(self.public, port)
    }

    fn free_port(&mut self) -> u16 {
        if let Some(random) = &mut self.random {
            loop {
                let port = 1024 + random.below(64_000) as u16;
                if !self.mappings.contains_key(&port) {
                    return port;
                }
            }
        }
        let port = self.next_port;
        self.next_port = self.next_port.wrapping_add(7).max(20_000);
        port
    }

    /// The host behind public `port` that `remote` may reach.
    pub(crate) fn inbound(
        &mut self,
        now: Instant,
        port: u16,
        remote: SocketAddr,
    ) -> Option<SocketAddr> {
        let mapping = self.mappings.get(&port)?;
        if now.duration_since(mapping.used_at) > self.config.lifetime {
            return None;
        }
        let admitted = admits(self.config.filtering, &mapping.contacted, remote);
        admitted.then_some(mapping.internal)
    }
}

/// Whether a filter lets in what `remote` sends to an address from which these were sent to.
fn admits(filtering: Behaviour, contacted: &[SocketAddr], remote: SocketAddr) -> bool {
    match filtering {
        Behaviour::EndpointIndependent => true,
        Behaviour::AddressDependent => contacted.iter().any(|known| known.ip() == remote.ip()),
        Behaviour::AddressAndPortDependent => contacted.contains(&remote),
    }
}

/// What a translator is to addresses that it does not translate: a filter with a memory. As with
/// translated addresses, nothing comes in for one that has sent nothing.
#[derive(Debug)]
pub(crate) struct Wall {
    filtering: Behaviour,
    lifetime: Duration,
    /// When an address last sent, and to whom.
    open: BTreeMap<SocketAddr, (Instant, Vec<SocketAddr>)>,
}

impl Wall {
    pub(crate) const fn new(config: &NatConfig) -> Self {
        Self {
            filtering: config.filtering,
            lifetime: config.lifetime,
            open: BTreeMap::new(),
        }
    }

    /// A datagram goes out.
    pub(crate) fn outbound(&mut self, now: Instant, internal: SocketAddr, remote: SocketAddr) {
        let lifetime = self.lifetime;
        self.open
            .retain(|_, (used_at, _)| now.duration_since(*used_at) <= lifetime);
        let (used_at, contacted) = self.open.entry(internal).or_insert((now, Vec::new()));
        *used_at = now;
        if !contacted.contains(&remote) {
            contacted.push(remote);
        }
    }

    /// Whether one from `remote` comes in.
    pub(crate) fn lets_in(&self, now: Instant, internal: SocketAddr, remote: SocketAddr) -> bool {
        self.open
            .get(&internal)
            .is_some_and(|(used_at, contacted)| {
                now.duration_since(*used_at) <= self.lifetime
                    && admits(self.filtering, contacted, remote)
            })
    }
}
