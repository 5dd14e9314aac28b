//! A call between two peers.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use twocan_proto::channel::{self, ChannelId, ChannelInit, Message, ReadyState};
use twocan_proto::ice::RelayProtocol;
use twocan_proto::peer::{
    Config, ConnectionState, Description, Event, Interfaces, Peer, RemoteCandidateInit, StunServer,
    TurnServer,
};
use twocan_proto::random::Random;
use twocan_proto::time::Now;
use twocan_proto::turn::client::Account;
use twocan_sim::{Families, HostId, LinkConfig, NatConfig, SiteId, World, certificate, settings};
use twocan_wire::candidate::Candidate;

use crate::node::PeerNode;

/// Where the two sides are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Place {
    /// Each at a site of its own.
    #[default]
    Apart,
    /// Both at one site, behind the caller's translator.
    OneSite,
    /// Each at a site of its own, and some of them in the network of another site, with a
    /// translator between that and the world.
    Within([Option<NatConfig>; 2]),
    /// Each at a site of its own, both in the network of one other.
    WithinOne(NatConfig),
}

/// The names of the servers, where they are not known by address.
const STUN_NAME: &str = "stun.example";
const TURN_NAME: &str = "turn.example";

/// What the world between two peers is like.
#[derive(Debug, Clone)]
pub struct Setting {
    /// Of every link: each peer's uplink and downlink.
    pub link: LinkConfig,
    /// Of the networks that their sites are in, where that is another.
    pub outer_link: Option<LinkConfig>,
    /// The translators of caller and callee.
    pub nats: [Option<NatConfig>; 2],
    /// Where they are.
    pub place: Place,
    /// The families of addresses of their sites. With another than IPv4 the servers are known by
    /// name.
    pub families: [Families; 2],
    /// Whether the servers have IPv6 addresses, too.
    pub servers_have_v6: bool,
    /// Whether they are given by their address of IPv4, whatever families there are.
    pub servers_by_address: bool,
    /// Allocations that the TURN server has room for.
    pub turn_total: usize,
    /// Whether there is a STUN server.
    pub stun: bool,
    /// Whether there is a TURN server, and how it is reached.
    pub turn: &'static [RelayProtocol],
    /// How long signaling takes.
    pub signaling: Duration,
    /// Calls at a time, between the same two sites.
    pub pairs: usize,
    /// What else is to be different about each peer.
    pub adjust: fn(&mut Config),
    /// And about the callees.
    pub adjust_callee: fn(&mut Config),
    /// Whether a simulcast that is offered is taken.
    pub receive_simulcast: bool,
}

impl Default for Setting {
    fn default() -> Self {
        Self {
            link: LinkConfig::default(),
            outer_link: None,
            nats: [None, None],
            place: Place::Apart,
            families: [Families::V4; 2],
            servers_have_v6: false,
            servers_by_address: false,
            turn_total: 10_000,
            stun: false,
            turn: &[],
            signaling: Duration::from_millis(30),
            pairs: 1,
            adjust: |_| {},
            adjust_callee: |_| {},
            receive_simulcast: false,
        }
    }
}

/// What signaling carries.
#[derive(Debug, Clone)]
enum Signal {
    Description(Description),
    Candidate(RemoteCandidateInit),
}

/// Two peers, the caller first; or several such pairs, one after the other.
pub struct Call {
    /// The world they live in.
    pub world: World<PeerNode>,
    /// Their hosts.
    pub hosts: Vec<HostId>,
    /// The sites of the callers and of the callees.
    pub sites: [SiteId; 2],
    /// What each reported, in order.
    pub events: Vec<Vec<Event>>,
    messages: Vec<Vec<Message>>,
    signals: VecDeque<(Duration, usize, Signal)>,
    signaling: Duration,
}

impl Call {
    /// Two peers that have not begun.
    pub fn new(seed: u64, setting: &Setting) -> Self {
        let mut world = World::new(seed);
        let stun = setting.stun.then(|| add_stun_server(&mut world, setting));
        let turn = add_turn_server(&mut world, setting);
        let sites = add_sites(&mut world, setting);
        let count = 2 * setting.pairs;
        let host = |index: usize| {
            let settings = settings(seed.wrapping_mul(2) + index as u64);
            let mut config = Config::new(certificate(index % 2), settings);
            let server = stun.as_ref().map(|host| StunServer {
                host: host.clone(),
                port: 3478,
                service: None,
                url: format!("stun:{host}:3478"),
            });
            config.stun_servers = server.into_iter().collect();
            let protocols = setting.turn.iter();
            let servers = protocols.map(|protocol| turn_server(&turn, *protocol));
            config.turn_servers = servers.collect();
            (setting.adjust)(&mut config);
            if index % 2 == 1 {
                (setting.adjust_callee)(&mut config);
            }
            config.receive_simulcast = setting.receive_simulcast;
            let mut secret = [index as u8; 32];
            secret[8..16].copy_from_slice(&seed.to_le_bytes());
            let peer = Peer::new(world.now(), config, Random::new(secret));
            world.add_host(sites[index % 2], PeerNode::new(peer))
        };
        let hosts: Vec<HostId> = (0..count).map(host).collect();
        let mut call = Self {
            world,
            hosts: hosts.clone(),
            sites,
            events: vec![Vec::new(); count],
            messages: vec![Vec::new(); count],
            signals: VecDeque::new(),
            signaling: setting.signaling,
        };
        for (index, host) in hosts.into_iter().enumerate() {
            let interfaces = Interfaces {
                added: call.world.ips(host).to_vec(),
                removed: vec![],
            };
            call.with(index, |peer, now| peer.handle_interfaces(now, &interfaces));
        }
        call
    }

    /// Acts on one peer as its application.
    pub fn with<R>(&mut self, index: usize, act: impl FnOnce(&mut Peer, Now) -> R) -> R {
        let result = self.act(index, act);
        self.collect();
        result
    }

    /// As [`Self::with`], but what the peer reports waits: its description goes first.
    fn act<R>(&mut self, index: usize, act: impl FnOnce(&mut Peer, Now) -> R) -> R {
        self.world
            .with(self.hosts[index], |node, now| act(&mut node.peer, now))
    }

    /// A peer, to look at.
    pub fn peer(&self, index: usize) -> &Peer {
        &self.world.node(self.hosts[index]).peer
    }

    /// Makes an offer and sends it to the other side, which answers it.
    pub fn offer(&mut self, index: usize) {
        let offer = self.act(index, |peer, now| {
            peer.set_local_description(now, None)
                .unwrap_or_else(|error| unreachable!("offer: {error}"));
            peer.local_description()
        });
        if let Some(offer) = offer {
            self.signal(index ^ 1, Signal::Description(offer));
        }
        self.collect();
    }

    /// Runs until `done`, for `limit` at most; answers whether `done` came.
    pub fn run_until(&mut self, limit: Duration, done: impl Fn(&Self) -> bool) -> bool {
        let end = self.world.elapsed() + limit;
        loop {
            self.collect();
            self.deliver_signals();
            if done(self) {
                return true;
            }
            let now = self.world.elapsed();
            if now >= end {
                return false;
            }
            // Channels are polled, so the application looks now and then.
            let look = now + Duration::from_millis(5);
            let next = self
                .signals
                .iter()
                .filter(|(_, to, _)| !self.world.is_asleep(self.hosts[*to]))
                .map(|(at, ..)| *at)
                .min()
                .unwrap_or(end)
                .min(end)
                .min(look);
            let mut news = false;
            let wait = next.saturating_sub(now).max(Duration::from_micros(1));
            self.world.run_until(wait, |world| {
                news = world.has_events();
                news
            });
        }
    }

    /// Everything that came on channels of a peer since the last call.
    pub fn take_messages(&mut self, index: usize) -> Vec<Message> {
        self.collect();
        std::mem::take(&mut self.messages[index])
    }

    /// Both peers connected, with a channel that the caller made.
    pub fn with_channel(seed: u64, setting: &Setting, init: ChannelInit) -> (Self, ChannelId) {
        let mut call = Self::new(seed, setting);
        let made = call.with(0, |peer, _| peer.create_data_channel(init));
        let id = made.unwrap_or_else(|error| unreachable!("{error}"));
        call.offer(0);
        let open = call.run_until(Duration::from_secs(30), |call| {
            call.peer(0).channel_state(id) == Some(ReadyState::Open)
        });
        assert!(open, "seed {seed}: no channel {}", call.explain());
        (call, id)
    }

    /// Runs for a while.
    pub fn run_for(&mut self, time: Duration) {
        self.run_until(time, |_| false);
    }

    /// Whether all are connected.
    pub fn is_connected(&self) -> bool {
        (0..self.hosts.len())
            .all(|index| self.peer(index).connection_state() == ConnectionState::Connected)
    }

    /// States and counters of both sides, for a message.
    pub fn explain(&self) -> String {
        let mut text = format!("after {:?}:", self.world.elapsed());
        for index in 0..self.hosts.len() {
            let peer = self.peer(index);
            let counters: Vec<String> = peer
                .counters()
                .iter()
                .map(|(name, count)| format!("{name}={count}"))
                .collect();
            text.push_str(&format!(
                "\n  peer {index}: connection {:?}, ice {:?}, signaling {:?}; {}",
                peer.connection_state(),
                peer.ice_connection_state(),
                peer.signaling_state(),
                counters.join(" ")
            ));
        }
        text
    }

    fn collect(&mut self) {
        for index in 0..self.hosts.len() {
            if self.world.is_asleep(self.hosts[index]) {
                continue;
            }
            let arrived = self.act(index, |peer, _| {
                let events = std::iter::from_fn(|| peer.poll_channel_event());
                let messages = events.filter_map(|event| match event {
                    channel::Event::Message(_, message) => Some(message),
                    _ => None,
                });
                messages.collect::<Vec<_>>()
            });
            self.messages[index].extend(arrived);
        }
        for (host, event) in self.world.take_events() {
            let Some(index) = self.hosts.iter().position(|own| *own == host) else {
                continue;
            };
            if let Event::IceCandidate(candidate) = &event {
                let init = RemoteCandidateInit {
                    candidate: candidate.candidate.clone(),
                    sdp_mid: candidate.sdp_mid.clone(),
                    sdp_m_line_index: candidate.sdp_m_line_index,
                    username_fragment: Some(candidate.username_fragment.clone()),
                };
                self.signal(index ^ 1, Signal::Candidate(init));
            }
            self.events[index].push(event);
        }
    }

    fn signal(&mut self, to: usize, signal: Signal) {
        self.signals
            .push_back((self.world.elapsed() + self.signaling, to, signal));
    }

    fn deliver_signals(&mut self) {
        while self.signals.front().is_some_and(|(at, to, _)| {
            *at <= self.world.elapsed() && !self.world.is_asleep(self.hosts[*to])
        }) {
            let Some((_, to, signal)) = self.signals.pop_front() else {
                return;
            };
            match signal {
                Signal::Description(description) => {
                    let answer = self.act(to, |peer, now| {
                        peer.set_remote_description(now, &description)
                            .unwrap_or_else(|error| unreachable!("remote: {error}"));
                        let offered = description.kind == twocan_proto::negotiate::SdpType::Offer;
                        if offered {
                            peer.set_local_description(now, None)
                                .unwrap_or_else(|error| unreachable!("answer: {error}"));
                        }
                        offered.then(|| peer.local_description()).flatten()
                    });
                    if let Some(answer) = answer {
                        self.signal(to ^ 1, Signal::Description(answer));
                    }
                    self.collect();
                }
                Signal::Candidate(init) => {
                    // A candidate of a generation that has passed is refused, as in a browser.
                    self.with(to, |peer, now| add_candidate(peer, now, &init));
                }
            }
        }
    }
}

fn add_candidate(peer: &mut Peer, now: Now, init: &RemoteCandidateInit) {
    if peer.is_by_hand() {
        // Nothing stands for the end.
        let candidate = Candidate::parse(&init.candidate).ok();
        let _ = peer.add_remote_candidate(now, candidate);
    } else {
        let _ = peer.add_ice_candidate(now, init);
    }
}

/// Adds the STUN server, and answers how it is called.
fn add_stun_server(world: &mut World<PeerNode>, setting: &Setting) -> String {
    let addresses = match setting.servers_have_v6 {
        true => world.add_stun_server_of_both().to_vec(),
        false => vec![world.add_stun_server()],
    };
    host_of(world, setting, STUN_NAME, &addresses)
}

/// A server's address, or its name where there is another family than IPv4.
fn host_of(
    world: &mut World<PeerNode>,
    setting: &Setting,
    name: &str,
    addresses: &[SocketAddr],
) -> String {
    if setting.families == [Families::V4; 2] || setting.servers_by_address {
        return addresses[0].ip().to_string();
    }
    let ips: Vec<IpAddr> = addresses.iter().map(|address| address.ip()).collect();
    world.add_name(name, ips);
    name.to_owned()
}

/// Adds the TURN server, if there is one, and answers how it is called.
fn add_turn_server(world: &mut World<PeerNode>, setting: &Setting) -> String {
    if setting.turn.is_empty() {
        return String::new();
    }
    world.turn_quotas.total = setting.turn_total;
    let addresses = match setting.servers_have_v6 {
        true => world.add_turn_server_of_both("user", "secret").to_vec(),
        false => vec![world.add_turn_server("user", "secret")],
    };
    host_of(world, setting, TURN_NAME, &addresses)
}

/// The server as one protocol reaches it.
fn turn_server(host: &str, protocol: RelayProtocol) -> TurnServer {
    let port = match protocol {
        RelayProtocol::Udp | RelayProtocol::Tcp => 3478,
        RelayProtocol::Tls => 443,
    };
    TurnServer {
        host: host.to_owned(),
        port,
        service: None,
        protocol,
        account: Account {
            username: "user".to_owned(),
            password: "secret".to_owned(),
        },
        url: format!("turn:{host}:{port}?{}", protocol.as_str()),
    }
}

/// Adds the sites of the callers and of the callees.
fn add_sites(world: &mut World<PeerNode>, setting: &Setting) -> [SiteId; 2] {
    let link = setting.link;
    let around = setting.outer_link.unwrap_or(link);
    let one = match setting.place {
        Place::Apart | Place::Within(_) => None,
        Place::OneSite => Some(world.add_site(setting.nats[0], link, link)),
        Place::WithinOne(nat) => Some(world.add_site(Some(nat), around, around)),
    };
    let sites = [0, 1].map(|index: usize| {
        let outer = match setting.place {
            Place::Apart => None,
            Place::OneSite | Place::WithinOne(_) => one,
            Place::Within(outer) => {
                outer[index].map(|nat| world.add_site(Some(nat), around, around))
            }
        };
        match (setting.place, outer) {
            (Place::OneSite, Some(one)) => one,
            (_, Some(outer)) => world.add_site_within(outer, setting.nats[index], link, link),
            (_, None) => world.add_site(setting.nats[index], link, link),
        }
    });
    for (site, families) in sites.into_iter().zip(setting.families) {
        if families != Families::V4 {
            world.set_families(site, families);
        }
    }
    sites
}
