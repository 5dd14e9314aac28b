//! The STUN and TURN server: its sockets, its threads, and the URLs by which it is named.

mod data;
mod driver;
mod dtls;
mod figures;
mod peers;
mod ready;
mod settings;
mod streams;

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use axum_server::tls_rustls::RustlsConfig;
use tokio::sync::{mpsc, oneshot, watch};
use twocan_io::clock;
use twocan_proto::random::Random;
use twocan_proto::stun_server::{Discovery, Origin};
use twocan_proto::turn::server::{Config, Server};
use twocan_proto::wire::scope::Scope;
use twocan_room::OwnUrls;

use super::ServeError;
use super::hatch::ToTurn;
use super::listeners;
use super::media::Reached;
use super::tls::{Loaded, Pair};
pub(crate) use settings::{TurnPlan, plan, ports};

/// What streams have to say and waits; they stop reading when it is full.
const INPUTS_MAX: usize = 1024;

/// Ports tried where any will do and UDP and TCP are to have the same.
const TRIES: usize = 16;

/// Where it listens.
#[derive(Debug, Clone)]
pub(crate) struct Listens {
    /// STUN, and TURN where there is a relay; the first is that of behaviour discovery.
    pub(crate) udp: Vec<SocketAddr>,
    /// The alternate address of behaviour discovery.
    pub(crate) other: Option<SocketAddr>,
    /// TURN over TCP.
    pub(crate) tcp: Vec<SocketAddr>,
    /// TURN over TLS.
    pub(crate) tls: Vec<SocketAddr>,
    /// TURN over DTLS.
    pub(crate) dtls: Vec<SocketAddr>,
    /// Whether it relays.
    pub(crate) relays: bool,
}

/// The ways to the server's threads.
#[derive(Debug)]
pub(crate) struct Turn {
    pub(crate) listens: Listens,
    /// For what media of this machine sends to relayed addresses.
    pub(super) ways: ToTurn,
    inputs: Vec<mpsc::Sender<driver::Input>>,
    allocations: watch::Receiver<usize>,
}

impl Turn {
    /// Has what may change while it runs as the plan has it, with these secrets of time-limited
    /// credentials.
    pub(crate) async fn reconfigure(&self, plan: &TurnPlan, secrets: Vec<String>) {
        let config = plan.changed(secrets);
        for part in &self.inputs {
            let config = Box::new(config.clone());
            let _ = part.send(driver::Input::Reconfigure(config)).await;
        }
    }

    /// Relays to media of this machine, which is reached here.
    pub(crate) async fn relay_to_media(&self, media: Vec<Reached>) {
        for part in &self.inputs {
            let _ = part.send(driver::Input::Media(media.clone())).await;
        }
    }

    /// Takes no more allocations; returns when the last one has ended.
    pub(crate) async fn drain(&self) {
        let mut allocations = self.allocations.clone();
        self.stop_allocating().await;
        while allocations.wait_for(|count| *count == 0).await.is_ok() {
            // A client that moves is for a moment with neither part: each is asked once more.
            self.stop_allocating().await;
            if *allocations.borrow_and_update() == 0 {
                return;
            }
        }
    }

    /// Returns when every part has counted its allocations.
    async fn stop_allocating(&self) {
        for part in &self.inputs {
            let (done, counted) = oneshot::channel();
            let _ = part.send(driver::Input::Drain(done)).await;
            let _ = counted.await;
        }
    }
}

/// What is bound before the thread starts.
#[derive(Default)]
struct Sockets {
    /// One for each listener; with behaviour discovery its four in the order of [`Origin::ALL`], and
    /// then the others.
    udp: Vec<std::net::UdpSocket>,
    tcp: Vec<std::net::TcpListener>,
    tls: Vec<std::net::TcpListener>,
    tls_config: Option<RustlsConfig>,
    dtls: Vec<std::net::UdpSocket>,
    /// The certificate of DTLS.
    pair: Option<watch::Receiver<Pair>>,
}

impl Sockets {
    /// Sockets for so many threads, with the same addresses; streams and DTLS are with the first.
    fn share(self, count: usize) -> Result<Vec<Self>, ServeError> {
        let share = |first: &std::net::UdpSocket| {
            let bound = listeners::bind_share(first);
            bound.map_err(|error| match first.local_addr() {
                Ok(address) => ServeError::bind("stun", address, error),
                Err(error) => error.into(),
            })
        };
        let others: Vec<Self> = (1..count)
            .map(|_| {
                let udp = self.udp.iter().map(share).collect::<Result<_, _>>()?;
                Ok(Self {
                    udp,
                    ..Self::default()
                })
            })
            .collect::<Result<_, ServeError>>()?;
        Ok(std::iter::once(self).chain(others).collect())
    }
}

/// Binds and starts; `secret` makes the passwords of time-limited credentials.
pub(crate) fn start(
    plan: &TurnPlan,
    secret: Option<String>,
    tls: Option<&Loaded>,
) -> Result<Turn, ServeError> {
    let mut sockets = bind(plan)?;
    let mut udp = sockets
        .udp
        .iter()
        .map(std::net::UdpSocket::local_addr)
        .collect::<Result<Vec<_>, _>>()?;
    let other = match plan.other {
        None => None,
        Some(_) => udp.drain(1..Origin::ALL.len()).next_back(),
    };
    let failed = |(address, error)| ServeError::bind("turn-tls", address, error);
    if let (Some(wanted), Some(tls)) = (&plan.tls, tls) {
        sockets.tls = wanted.listen().map_err(failed)?;
        sockets.tls_config = Some(tls.config.clone());
    }
    if let (Some(wanted), Some(tls)) = (&plan.dtls, tls) {
        dtls::check(&tls.pair.borrow())?;
        sockets.dtls = wanted.bind().map_err(failed)?;
        sockets.pair = Some(tls.pair.clone());
    }
    let mut config = plan.config(&udp, secret)?;
    let primary = udp.first().copied();
    config.discovery = primary
        .zip(other)
        .and_then(|(primary, other)| Discovery::new(primary, other));
    let local = |all: &[std::net::TcpListener]| -> Vec<SocketAddr> {
        all.iter().filter_map(|own| own.local_addr().ok()).collect()
    };
    let listens = Listens {
        other,
        tcp: local(&sockets.tcp),
        tls: local(&sockets.tls),
        dtls: sockets
            .dtls
            .iter()
            .filter_map(|own| own.local_addr().ok())
            .collect(),
        relays: !config.relays.is_empty(),
        udp,
    };
    if listens.beyond_loopback().next().is_some() {
        warn_of_private_relays(&config);
    }
    if let Some(address) = settings::opened_by_name(&config) {
        tracing::warn!(
            %address,
            "--turn-allow has an address of this machine: clients of the relay reach every port \
             there, this server's own among them, as programs of this machine do"
        );
    }
    let random = Random::new(clock::seed());
    let parts = Server::parts(&config, plan.threads, random, clock::now());
    let (ways, inputs, allocations) = run(parts, sockets)?;
    Ok(Turn {
        listens,
        ways,
        inputs,
        allocations,
    })
}

/// The ways to the threads, and how many allocations there are.
type Running = (
    ToTurn,
    Vec<mpsc::Sender<driver::Input>>,
    watch::Receiver<usize>,
);

/// Starts a thread for each part.
fn run(parts: Vec<Server>, sockets: Sockets) -> Result<Running, ServeError> {
    let mut sockets = VecDeque::from(sockets.share(parts.len())?);
    let ports = parts.first().map(|first| first.relayed_ports().clone());
    let ports = ports.ok_or_else(|| io::Error::other("a server of no parts"))?;
    let ways = ToTurn::new(parts.len(), ports);
    let (inputs, mut received): (Vec<_>, VecDeque<_>) =
        parts.iter().map(|_| mpsc::channel(INPUTS_MAX)).unzip();
    let (count, allocations) = watch::channel(0);
    let figures = Arc::new(figures::Figures::new(parts.len()));
    for (number, server) in parts.into_iter().enumerate() {
        let (Some(sockets), Some(received)) = (sockets.pop_front(), received.pop_front()) else {
            break;
        };
        let place = driver::Place {
            number,
            ways: ways.clone(),
            inputs: inputs.clone(),
            allocations: count.clone(),
            figures: figures.clone(),
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        // Threads of its own: sockets are polled where packets are relayed, and HTTP delays nothing.
        std::thread::Builder::new()
            .name(format!("turn-{number}"))
            .spawn(move || {
                let running = driver::run(server, sockets, place, received);
                if let Err(error) = runtime.block_on(running) {
                    tracing::error!(%error, "the STUN and TURN server has ended");
                }
            })?;
    }
    Ok((ways, inputs, allocations))
}

/// Binds UDP and, if wanted, TCP to the same port, of each listener.
fn bind(plan: &TurnPlan) -> Result<Sockets, ServeError> {
    let mut sockets = Sockets::default();
    for (index, address) in plan.listen.addresses.iter().copied().enumerate() {
        let other = plan.other.filter(|_| index == 0);
        let is_v6_alone = plan.listen.is_v6_alone(address);
        match bind_one(address, is_v6_alone, other, plan.tcp) {
            Ok((udp, tcp)) => {
                sockets.udp.extend(udp);
                sockets.tcp.extend(tcp);
            }
            Err(error) if plan.listen.goes_without(address, &error) => {}
            Err(error) => return Err(ServeError::bind("stun", address, error)),
        }
    }
    Ok(sockets)
}

/// Binds a listener, with the other three of behaviour discovery where it has them.
fn bind_one(
    address: SocketAddr,
    is_v6_alone: bool,
    other: Option<SocketAddr>,
    with_tcp: bool,
) -> io::Result<(Vec<std::net::UdpSocket>, Option<std::net::TcpListener>)> {
    let mut tries = 0;
    loop {
        let udp = listeners::bind_udp(address, is_v6_alone)?;
        let bound = udp.local_addr()?;
        let tcp = match with_tcp {
            false => Ok(None),
            true => listeners::listen_tcp(bound, is_v6_alone).map(Some),
        };
        let others = match other {
            None => Ok(Vec::new()),
            Some(other) => bind_others(bound, other),
        };
        tries += 1;
        let is_any = address.port() == 0 || other.is_some_and(|own| own.port() == 0);
        match tcp.and_then(|tcp| Ok((tcp, others?))) {
            Err(_) if is_any && tries < TRIES => {}
            Err(error) => return Err(error),
            Ok((tcp, others)) => {
                let udp = std::iter::once(udp).chain(others).collect();
                return Ok((udp, tcp));
            }
        }
    }
}

/// Binds the second to the fourth address of behaviour discovery.
fn bind_others(main: SocketAddr, other: SocketAddr) -> io::Result<Vec<std::net::UdpSocket>> {
    let last = std::net::UdpSocket::bind(other)?;
    let other = last.local_addr()?;
    let first = std::net::UdpSocket::bind(SocketAddr::new(main.ip(), other.port()))?;
    let second = std::net::UdpSocket::bind(SocketAddr::new(other.ip(), main.port()))?;
    Ok(vec![first, second, last])
}

fn warn_of_private_relays(config: &Config) {
    let mut relays = config.relays.iter();
    if let Some(relay) = relays.find(|relay| Scope::of(relay.external).is_near()) {
        tracing::warn!(
            address = %relay.external,
            "relayed addresses are private: clients of this server meet on it all the same, others \
             reach them only from this network; name the public one by --turn-external-ip"
        );
    }
}

impl Listens {
    /// Those for STUN that others than this machine can reach.
    pub(crate) fn beyond_loopback(&self) -> impl Iterator<Item = SocketAddr> {
        Self::beyond(&self.udp)
    }

    fn beyond(all: &[SocketAddr]) -> impl Iterator<Item = SocketAddr> {
        let beyond = all.iter().filter(|own| !super::is_loopback(own.ip()));
        beyond.copied()
    }

    /// Our URLs for a client that knows us as `host`, port included; none where we answer to this
    /// machine alone. TLS is named where browsers believe its certificate.
    pub(crate) fn urls(&self, host: Option<&str>, tls_is_trusted: bool) -> OwnUrls {
        let Some(host) = host else {
            return OwnUrls::default();
        };
        let name = match host.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
            _ => host,
        };
        let is_here = name == "localhost"
            || name
                .trim_matches(['[', ']'])
                .parse()
                .is_ok_and(super::is_loopback);
        let named = |own: SocketAddr| match own.ip() {
            // A page on this machine, and a listener on one of its other addresses.
            ip if is_here && !ip.is_unspecified() => own.to_string(),
            _ => format!("{name}:{}", own.port()),
        };
        let mut turn = Vec::new();
        // Listeners of both families have one name.
        let mut add = |scheme: &str, all: &[SocketAddr], transport: &str| {
            for own in Self::beyond(all) {
                let url = format!("{scheme}:{}?transport={transport}", named(own));
                if !turn.contains(&url) {
                    turn.push(url);
                }
            }
        };
        if self.relays {
            add("turn", &self.udp, "udp");
            add("turn", &self.tcp, "tcp");
            if tls_is_trusted {
                add("turns", &self.tls, "tcp");
            }
        }
        OwnUrls {
            stun: self
                .beyond_loopback()
                .next()
                .map(|own| format!("stun:{}", named(own))),
            turn,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_is_named_as_the_client_knows_it() {
        let at = |list: &[&str]| -> Vec<SocketAddr> {
            list.iter().map(|text| text.parse().unwrap()).collect()
        };
        let mut listens = Listens {
            udp: at(&["0.0.0.0:3478", "[::]:3478"]),
            other: None,
            tcp: at(&["0.0.0.0:3478", "[::]:3478"]),
            tls: at(&["0.0.0.0:5349"]),
            dtls: at(&["0.0.0.0:5349"]),
            relays: true,
        };
        let own = listens.urls(Some("example.org:8080"), true);
        assert_eq!(own.stun.as_deref(), Some("stun:example.org:3478"));
        let turn = [
            "turn:example.org:3478?transport=udp",
            "turn:example.org:3478?transport=tcp",
            "turns:example.org:5349?transport=tcp",
        ];
        assert_eq!(own.turn, turn);
        let own = listens.urls(Some("[2001:db8::1]"), true);
        assert_eq!(own.stun.as_deref(), Some("stun:[2001:db8::1]:3478"));
        listens.udp = at(&["127.0.0.1:3478", "192.0.2.7:3478", "[2001:db8::7]:443"]);
        let own = listens.urls(Some("localhost:8080"), true);
        assert_eq!(own.stun.as_deref(), Some("stun:192.0.2.7:3478"));
        let turn = [
            "turn:192.0.2.7:3478?transport=udp",
            "turn:[2001:db8::7]:443?transport=udp",
            "turn:localhost:3478?transport=tcp",
        ];
        assert_eq!(listens.urls(Some("localhost:8080"), false).turn, turn);
        listens.relays = false;
        assert_eq!(listens.urls(Some("a"), true).turn, [""; 0]);
        listens.udp = at(&["127.0.0.1:3478", "[::1]:3478"]);
        assert_eq!(
            listens.urls(Some("localhost:8080"), true),
            OwnUrls::default()
        );
    }
}
