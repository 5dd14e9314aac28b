//! Connections over TCP by way of a TURN server (RFC 6062): a program without an address of its own
//! connects to others from one on the relay, and others connect to it there.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use tokio::io::{AsyncReadExt, AsyncWriteExt};
//! use twocan::IceServer;
//! use twocan::turn::TcpAllocation;
//!
//! let server = IceServer {
//!     urls: vec!["turns:turn.example.org".to_owned()],
//!     username: Some("ann".to_owned()),
//!     credential: Some("secret".to_owned()),
//! };
//! let mut allocation = TcpAllocation::new(&server, None).await?;
//! let mut web = allocation.connect("192.0.2.80:80".parse()?).await?;
//! web.write_all(b"GET / HTTP/1.0\r\n\r\n").await?;
//! let mut page = Vec::new();
//! web.read_to_end(&mut page).await?;
//! // Somebody else connects to `allocation.relayed_address()`.
//! allocation.permit("198.51.100.7".parse()?).await?;
//! let guest = allocation.accept().await?;
//! println!("{} is there", guest.peer());
//! # Ok(()) }
//! ```

mod task;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};

use thiserror::Error as ThisError;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{mpsc, oneshot};
use twocan_io::dial::Dialed;
use twocan_io::locate::locate;
use twocan_io::names;
use twocan_proto::contract::Security;
use twocan_proto::ice::RelayProtocol;
use twocan_proto::peer::TurnServer;
pub use twocan_proto::turn::client::Failure;
pub use twocan_proto::turn::client::tcp::Refusal;

use crate::environment::Environment;
use crate::error::Error;
use crate::ice_server::{IceServer, Servers};
use task::{Command, Held, Way};

/// Connections that peers have made and nobody has accepted; more are let go.
pub const WAITING_MAX: usize = 64;

/// Why there is no allocation, or no connection.
#[derive(Debug, ThisError)]
pub enum TcpError {
    /// The URL is not that of a TURN server on TCP or TLS, or has no username and credential.
    #[error("{0}")]
    Server(Error),
    /// The server's name has no address.
    #[error("no address of {0}")]
    Name(String),
    /// There is no stream to the server, or it has ended.
    #[error("no stream to the TURN server")]
    Stream(#[from] io::Error),
    /// The server gives no allocation: 442 where it does not relay TCP.
    #[error("no allocation: {0}")]
    Allocation(Failure),
    /// The server does not permit a peer, or does not connect to it: 403 for an address that it does
    /// not relay to, 446 where there is a connection with that peer already, 447 where the peer does
    /// not answer.
    #[error(transparent)]
    Refused(#[from] Refusal),
}

/// An address on a TURN server, from which TCP connections are made and on which they are taken.
///
/// It lasts for as long as it or any connection of it is held.
#[derive(Debug)]
pub struct TcpAllocation {
    relayed: SocketAddr,
    mapped: Option<SocketAddr>,
    commands: mpsc::Sender<Command>,
    incoming: mpsc::Receiver<(Held, SocketAddr)>,
}

impl TcpAllocation {
    /// Allocates at the first of the server's URLs that says `turn:…?transport=tcp` or `turns:…`.
    /// Without an environment, that of the process is taken. Needs a tokio runtime.
    ///
    /// # Errors
    /// [`TcpError`], but for [`TcpError::Refused`].
    pub async fn new(
        server: &IceServer,
        environment: Option<Environment>,
    ) -> Result<Self, TcpError> {
        let environment = match environment {
            Some(own) => own,
            None => Environment::of_process().map_err(TcpError::Server)?,
        };
        let server = named(server).map_err(TcpError::Server)?;
        let security = match server.protocol {
            RelayProtocol::Tls => Security::Tls {
                name: server.host.clone(),
            },
            _ => Security::Tcp,
        };
        let mut last = TcpError::Name(server.host.clone());
        for address in addresses(&server, &environment).await {
            let way = Way {
                server: address,
                security: security.clone(),
                environment: environment.clone(),
            };
            match task::allocate(way, &server.account).await {
                Ok(allocated) => {
                    let (commands, from_task) = mpsc::channel(task::COMMANDS_MAX);
                    let (to_us, incoming) = mpsc::channel(WAITING_MAX);
                    let (relayed, mapped) = (allocated.relayed, allocated.mapped);
                    tokio::spawn(allocated.run(commands.downgrade(), from_task, to_us));
                    return Ok(Self {
                        relayed,
                        mapped,
                        commands,
                        incoming,
                    });
                }
                // Another address of the same server may be reached.
                Err(error @ TcpError::Stream(_)) => last = error,
                Err(error) => return Err(error),
            }
        }
        Err(last)
    }

    /// The address on the relay: peers see connections come from it, and connect to it.
    pub fn relayed_address(&self) -> SocketAddr {
        self.relayed
    }

    /// Our own address as the relay sees it.
    pub fn mapped_address(&self) -> Option<SocketAddr> {
        self.mapped
    }

    /// Lets a peer connect, from any port, for as long as the allocation lasts; at most 128 peers.
    ///
    /// # Errors
    /// [`TcpError::Refused`].
    pub async fn permit(&self, ip: IpAddr) -> Result<(), TcpError> {
        let (answer, answered) = oneshot::channel();
        self.ask(Command::Permit(ip, answer)).await?;
        answered.await.map_err(|_| Refusal::Gone)?
    }

    /// Connects to a peer from the relayed address; at most 32 at a time.
    ///
    /// # Errors
    /// [`TcpError::Refused`] by the server, [`TcpError::Stream`] where there is no second stream to
    /// it.
    pub async fn connect(&self, peer: SocketAddr) -> Result<TcpConnection, TcpError> {
        let (answer, answered) = oneshot::channel();
        self.ask(Command::Connect(peer, answer)).await?;
        let held = answered.await.map_err(|_| Refusal::Gone)??;
        Ok(TcpConnection::new(held, peer))
    }

    /// The next connection of a peer that is [permitted](Self::permit).
    ///
    /// # Errors
    /// [`TcpError::Refused`] with [`Refusal::Gone`] when the allocation has ended.
    pub async fn accept(&mut self) -> Result<TcpConnection, TcpError> {
        let accepted = self.incoming.recv().await;
        let (held, peer) = accepted.ok_or(Refusal::Gone)?;
        Ok(TcpConnection::new(held, peer))
    }

    async fn ask(&self, command: Command) -> Result<(), TcpError> {
        let sent = self.commands.send(command).await;
        sent.map_err(|_| TcpError::Refused(Refusal::Gone))
    }
}

/// A connection with a peer by way of the relay.
#[derive(Debug)]
pub struct TcpConnection {
    stream: Dialed,
    /// What the peer sent before the stream was its own.
    early: Vec<u8>,
    peer: SocketAddr,
    /// The allocation, which lasts no less long.
    _allocation: mpsc::Sender<Command>,
}

impl TcpConnection {
    fn new(held: Held, peer: SocketAddr) -> Self {
        Self {
            stream: held.stream,
            early: held.early,
            peer,
            _allocation: held.allocation,
        }
    }

    /// The peer.
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }
}

impl AsyncRead for TcpConnection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.early.is_empty() {
            return Pin::new(&mut self.stream).poll_read(context, into);
        }
        let len = into.remaining().min(self.early.len());
        let later = self.early.split_off(len);
        into.put_slice(&std::mem::replace(&mut self.early, later));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for TcpConnection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// The first of the server's URLs that leads to a stream.
fn named(server: &IceServer) -> Result<TurnServer, Error> {
    let servers = Servers::of(std::slice::from_ref(server))?;
    let is_stream = |own: &TurnServer| own.protocol != RelayProtocol::Udp;
    let mut all = servers.turn.into_iter();
    all.find(is_stream).ok_or_else(|| {
        let urls = server.urls.join(", ");
        Error::Syntax(format!(
            "TCP is relayed for who comes by turn:…?transport=tcp or turns:…, not by {urls}"
        ))
    })
}

/// Where the server is, by records of the service or by its name.
async fn addresses(server: &TurnServer, environment: &Environment) -> Vec<SocketAddr> {
    if let Some(service) = &server.service {
        let found = locate(service.clone(), environment.name_servers()).await;
        let same = found.iter().filter(|own| own.protocol == server.protocol);
        return same.map(|own| own.address).collect();
    }
    let found = names::resolve(&server.host).await.unwrap_or_default();
    let address = |ip| SocketAddr::new(ip, server.port);
    found.into_iter().map(address).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(url: &str) -> IceServer {
        IceServer {
            urls: vec![url.to_owned()],
            username: Some("ann".to_owned()),
            credential: Some("secret".to_owned()),
        }
    }

    #[tokio::test]
    async fn what_leads_to_no_stream_is_refused_by_its_form() {
        for url in [
            "turn:192.0.2.1",
            "stun:192.0.2.1",
            "x:y",
            "turns:a?transport=udp",
        ] {
            let refused = TcpAllocation::new(&server(url), None).await.unwrap_err();
            assert!(
                matches!(refused, TcpError::Server(Error::Syntax(_))),
                "{url}: {refused}"
            );
        }
        let nobody = IceServer {
            username: None,
            ..server("turns:192.0.2.1")
        };
        let refused = TcpAllocation::new(&nobody, None).await.unwrap_err();
        assert!(matches!(refused, TcpError::Server(Error::InvalidAccess(_))));
    }
}
