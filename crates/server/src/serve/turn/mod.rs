//! The STUN and TURN server: its sockets, its thread, and the URLs by which it is named.

mod data;
mod driver;
mod peers;
mod ready;
mod settings;
mod streams;

use std::io;
use std::net::{IpAddr, SocketAddr};

use axum_server::tls_rustls::RustlsConfig;
use tokio::sync::{mpsc, oneshot, watch};
use twocan_proto::stun_server::{Discovery, Origin};
use twocan_proto::turn::server::{Config, MediaAddress};
use twocan_proto::wire::scope::Scope;
use twocan_room::OwnUrls;

use super::ServeError;
pub(crate) use settings::{TurnPlan, plan, ports};

/// What streams have to say and waits; they stop reading when it is full.
const INPUTS_MAX: usize = 1024;

/// Ports tried where any will do and UDP and TCP are to have the same.
const TRIES: usize = 16;

/// Where it listens.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Listens {
    /// STUN, and TURN where there is a relay.
    pub(crate) udp: SocketAddr,
    /// The alternate address of behaviour discovery.
    pub(crate) other: Option<SocketAddr>,
    /// TURN over TCP.
    pub(crate) tcp: Option<SocketAddr>,
    /// TURN over TLS.
    pub(crate) tls: Option<SocketAddr>,
    /// Whether it relays.
    pub(crate) relays: bool,
}

/// The way to the server's thread.
#[derive(Debug)]
pub(crate) struct Turn {
    pub(crate) listens: Listens,
    inputs: mpsc::Sender<driver::Input>,
    allocations: watch::Receiver<usize>,
}

impl Turn {
    /// Has what may change while it runs as the plan has it, with these secrets of time-limited
    /// credentials.
    pub(crate) async fn reconfigure(&self, plan: &TurnPlan, secrets: Vec<String>) {
        let config = Box::new(plan.changed(secrets));
        let _ = self.inputs.send(driver::Input::Reconfigure(config)).await;
    }

    /// Relays to these ports of this machine.
    pub(crate) async fn relay_to_media(&self, media: Vec<MediaAddress>) {
        let _ = self.inputs.send(driver::Input::Media(media)).await;
    }

    /// Takes no more allocations; returns when the last one has ended.
    pub(crate) async fn drain(&self) {
        let (done, counted) = oneshot::channel();
        let _ = self.inputs.send(driver::Input::Drain(done)).await;
        let _ = counted.await;
        let mut allocations = self.allocations.clone();
        let _ = allocations.wait_for(|count| *count == 0).await;
    }
}

/// What is bound before the thread starts.
struct Sockets {
    /// One, or the four of behaviour discovery in the order of [`Origin::ALL`].
    udp: Vec<std::net::UdpSocket>,
    tcp: Option<std::net::TcpListener>,
    tls: Option<(std::net::TcpListener, RustlsConfig)>,
}

/// Binds and starts; `secret` makes the passwords of time-limited credentials.
pub(crate) fn start(
    plan: &TurnPlan,
    secret: Option<String>,
    tls: Option<RustlsConfig>,
) -> Result<Turn, ServeError> {
    let mut sockets = bind(plan).map_err(|source| ServeError::bind("stun", plan.listen, source))?;
    let addresses: Vec<SocketAddr> = sockets
        .udp
        .iter()
        .map(std::net::UdpSocket::local_addr)
        .collect::<Result<_, _>>()?;
    let udp = addresses.first().copied().unwrap_or(plan.listen);
    let other = addresses.get(Origin::ALL.len() - 1).copied();
    if let (Some(address), Some(config)) = (plan.tls, tls) {
        let listener = std::net::TcpListener::bind(address)
            .map_err(|source| ServeError::bind("turn-tls", address, source))?;
        listener.set_nonblocking(true)?;
        sockets.tls = Some((listener, config));
    }
    let mut config = plan.config(udp, secret)?;
    config.discovery = other.and_then(|other| Discovery::new(udp, other));
    let listens = Listens {
        udp,
        other,
        tcp: sockets.tcp.as_ref().and_then(|tcp| tcp.local_addr().ok()),
        tls: sockets
            .tls
            .as_ref()
            .and_then(|(tls, _)| tls.local_addr().ok()),
        relays: !config.relays.is_empty(),
    };
    warn_of_private_relays(&config, udp);
    let (inputs, received) = mpsc::channel(INPUTS_MAX);
    let (count, allocations) = watch::channel(0);
    let to = inputs.clone();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    // A thread of its own: sockets are polled where packets are relayed, and HTTP delays nothing.
    std::thread::Builder::new()
        .name("turn".to_owned())
        .spawn(move || {
            let running = driver::run(sockets, config, to, received, count);
            if let Err(error) = runtime.block_on(running) {
                tracing::error!(%error, "the STUN and TURN server has ended");
            }
        })?;
    Ok(Turn {
        listens,
        inputs,
        allocations,
    })
}

/// Binds UDP and, if wanted, TCP to the same port.
fn bind(plan: &TurnPlan) -> io::Result<Sockets> {
    let mut tries = 0;
    loop {
        let udp = std::net::UdpSocket::bind(plan.listen)?;
        let tcp = match plan.tcp {
            false => Ok(None),
            true => std::net::TcpListener::bind(udp.local_addr()?).map(Some),
        };
        let others = match plan.other {
            None => Ok(Vec::new()),
            Some(other) => bind_others(udp.local_addr()?, other),
        };
        tries += 1;
        let is_any = plan.listen.port() == 0 || plan.other.is_some_and(|own| own.port() == 0);
        match tcp.and_then(|tcp| Ok((tcp, others?))) {
            Err(_) if is_any && tries < TRIES => {}
            Err(error) => return Err(error),
            Ok((tcp, others)) => {
                if let Some(tcp) = &tcp {
                    tcp.set_nonblocking(true)?;
                }
                let tls = None;
                let udp = std::iter::once(udp).chain(others).collect();
                return Ok(Sockets { udp, tcp, tls });
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

fn warn_of_private_relays(config: &Config, udp: SocketAddr) {
    let mut relays = config.relays.iter();
    let private = relays.find(|relay| Scope::of(relay.external).is_near());
    if let (Some(relay), false) = (private, super::is_loopback(udp.ip())) {
        tracing::warn!(
            address = %relay.external,
            "relayed addresses are private: clients of this server meet on it all the same, others \
             reach them only from this network; name the public one by --turn-external-ip"
        );
    }
}

impl Listens {
    /// Our URLs for a client that knows us as `host`, port included; none where we answer to this
    /// machine alone. TLS is named where browsers believe its certificate.
    pub(crate) fn urls(&self, host: Option<&str>, tls_is_trusted: bool) -> OwnUrls {
        let Some(host) = host else {
            return OwnUrls::default();
        };
        if super::is_loopback(self.udp.ip()) {
            return OwnUrls::default();
        }
        let name = match host.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
            _ => host,
        };
        let is_here = name == "localhost"
            || name
                .trim_matches(['[', ']'])
                .parse()
                .is_ok_and(super::is_loopback);
        let own = self.udp.ip();
        let name = match own {
            // A page on this machine, and a listener on one of its other addresses.
            IpAddr::V4(ip) if is_here && !own.is_unspecified() => ip.to_string(),
            IpAddr::V6(ip) if is_here && !own.is_unspecified() => format!("[{ip}]"),
            _ => name.to_owned(),
        };
        let mut turn = Vec::new();
        if self.relays {
            turn.push(format!("turn:{name}:{}?transport=udp", self.udp.port()));
            if let Some(tcp) = self.tcp {
                turn.push(format!("turn:{name}:{}?transport=tcp", tcp.port()));
            }
            if let Some(tls) = self.tls.filter(|_| tls_is_trusted) {
                turn.push(format!("turns:{name}:{}?transport=tcp", tls.port()));
            }
        }
        OwnUrls {
            stun: Some(format!("stun:{name}:{}", self.udp.port())),
            turn,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_is_named_as_the_client_knows_it() {
        let mut listens = Listens {
            udp: "0.0.0.0:3478".parse().unwrap(),
            other: None,
            tcp: Some("0.0.0.0:3478".parse().unwrap()),
            tls: Some("0.0.0.0:5349".parse().unwrap()),
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
        listens.udp = "192.0.2.7:3478".parse().unwrap();
        let own = listens.urls(Some("localhost:8080"), true);
        assert_eq!(own.stun.as_deref(), Some("stun:192.0.2.7:3478"));
        assert_eq!(listens.urls(Some("a"), false).turn.len(), 2);
        listens.relays = false;
        assert_eq!(listens.urls(Some("a"), true).turn, [""; 0]);
        listens.udp = "127.0.0.1:3478".parse().unwrap();
        assert_eq!(
            listens.urls(Some("localhost:8080"), true),
            OwnUrls::default()
        );
    }
}
