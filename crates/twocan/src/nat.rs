//! How the address translator in front of this machine behaves (RFC 5780).

use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::task::{Context, Poll};
use std::time::Instant;

use thiserror::Error as ThisError;
use twocan_io::locate::locate;
use twocan_io::udp::Socket;
use twocan_io::{clock, interfaces, names};
use twocan_proto::contract::{Batch, Output, Request, SocketId};
use twocan_proto::locate::Service;
use twocan_proto::nat_behaviour::{NatBehaviour, NatDiscovery};
use twocan_proto::peer::StunServer;
use twocan_proto::random::Random;

use crate::error::Error;
use crate::ice_server::{IceServer, Servers};

/// Why nothing could be found out.
#[derive(Debug, ThisError)]
pub enum NatError {
    /// The URL is not one of a STUN server: `stun:host[:port]`.
    #[error("{0}")]
    Url(Error),
    /// The server's name has no address.
    #[error("no address of {host}")]
    Name {
        /// As in the URL.
        host: String,
        /// What the resolver said, if it said anything.
        source: Option<io::Error>,
    },
    /// This machine has no way to the server, or no socket to spare.
    #[error("no way to {server}")]
    Socket {
        /// The server.
        server: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
}

/// Asks a STUN server at `url` (`stun:host[:port]`, RFC 7064) how the address translator between
/// here and there behaves: its mapping and its filtering (RFC 5780 §4.3, §4.4).
///
/// Of a name with addresses of both families an IPv4 one is taken: that is where translators are.
/// What a server with a single address cannot tell is left untold, with the reason. Takes 8
/// seconds where something is filtered, and a few round trips where nothing is. Needs a tokio
/// runtime; may be dropped at any time.
///
/// # Errors
/// [`NatError`], where no question could be asked. A server that does not answer is no error.
pub async fn nat_behaviour(url: &str) -> Result<NatBehaviour, NatError> {
    let named = server_of(url).map_err(NatError::Url)?;
    let server = match &named.service {
        Some(service) => located(service).await?,
        None => SocketAddr::new(address_of(&named.host).await?, named.port),
    };
    let no_way = |source| NatError::Socket { server, source };
    let local = interfaces::towards(server).map_err(no_way)?;
    let random = Random::new(clock::seed());
    drive(NatDiscovery::new(server, local, random))
        .await
        .map_err(no_way)
}

fn server_of(url: &str) -> Result<StunServer, Error> {
    let servers = Servers::of(&[IceServer {
        urls: vec![url.to_owned()],
        ..IceServer::default()
    }]);
    match servers {
        Ok(servers) => {
            let server = servers.stun.into_iter().next();
            server.ok_or_else(|| Error::Syntax(format!("not of the form stun:host[:port]: {url}")))
        }
        Err(Error::InvalidAccess(_)) => {
            let text = format!("not of the form stun:host[:port]: {url}");
            Err(Error::Syntax(text))
        }
        Err(error) => Err(error),
    }
}

/// By records of the service, or the name itself.
async fn located(service: &Service) -> Result<SocketAddr, NatError> {
    let found = locate(service.clone(), &[]).await;
    let addresses = || found.iter().map(|own| own.address);
    let v4 = addresses().find(SocketAddr::is_ipv4);
    let nothing = || NatError::Name {
        host: service.host.clone(),
        source: None,
    };
    v4.or(addresses().next()).ok_or_else(nothing)
}

async fn address_of(host: &str) -> Result<IpAddr, NatError> {
    let nothing = |source| NatError::Name {
        host: host.to_owned(),
        source,
    };
    let found = names::resolve(host)
        .await
        .map_err(|source| nothing(Some(source)))?;
    let mut all = found.iter();
    let v4 = all.find(|ip| ip.is_ipv4());
    v4.or(found.first()).copied().ok_or_else(|| nothing(None))
}

async fn drive(mut machine: NatDiscovery) -> io::Result<NatBehaviour> {
    let mut sockets: Vec<(SocketId, Socket)> = Vec::new();
    let mut batch = Batch::new();
    loop {
        batch.clear();
        let deadline = match machine.poll_output(clock::now(), &mut batch) {
            Output::Event(report) => return Ok(report),
            Output::Transmit => {
                let wanted = batch.destination().map(|to| to.path.socket);
                let mut all = sockets.iter();
                if let Some((_, socket)) = all.find(|(id, _)| Some(*id) == wanted) {
                    // A lost request is repeated.
                    socket.send(&batch);
                }
                continue;
            }
            Output::Request(Request::Bind { socket: id, ip }) => {
                let socket = Socket::bind(ip)?;
                machine.handle_bound(clock::now(), id, socket.local());
                sockets.push((id, socket));
                continue;
            }
            Output::Request(_) => continue,
            Output::Wait(deadline) => deadline.map(|deadline| deadline.at),
        };
        let at = deadline.unwrap_or_else(|| clock::now().monotonic);
        wait(&mut machine, &sockets, at).await;
    }
}

/// Until something has arrived, or it is time.
async fn wait(machine: &mut NatDiscovery, sockets: &[(SocketId, Socket)], at: Instant) {
    let mut timer = pin!(tokio::time::sleep_until(at.into()));
    poll_fn(|context: &mut Context<'_>| {
        let mut has_arrived = false;
        for (id, socket) in sockets {
            let received = socket.poll_receive(context, |reception| {
                machine.handle_datagram(clock::now(), reception.on(*id));
            });
            if let Poll::Ready(Err(error)) = &received {
                // A server that is not there: the system's word on an earlier datagram.
                tracing::trace!(%error, "receiving");
            }
            has_arrived |= received.is_ready();
        }
        if has_arrived {
            return Poll::Ready(());
        }
        let is_due = std::future::Future::poll(timer.as_mut(), context);
        is_due.map(|()| machine.handle_timeout(clock::now()))
    })
    .await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_no_stun_url_is_refused_by_its_form() {
        for url in ["", "192.0.2.1", "turn:a", "turns:a", "stuns:a", "stun:a:b"] {
            let error = nat_behaviour(url).await.unwrap_err();
            assert!(matches!(error, NatError::Url(Error::Syntax(_))), "{url}");
        }
        let named = server_of("stun:a").unwrap();
        assert_eq!((named.host.as_str(), named.port), ("a", 3478));
        assert!(named.service.is_some());
    }
}
