//! A stream to a relay that is open: TCP, or TLS over it.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use twocan_proto::contract::Security;

use crate::stream::{Target, Trust};

/// An attempt to connect, or a handshake, that takes longer is given up.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);

/// An open stream.
#[derive(Debug)]
pub struct Dialed {
    local: SocketAddr,
    stream: Stream,
}

#[derive(Debug)]
enum Stream {
    Tcp(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Dialed {
    /// The address it is bound to.
    pub fn local(&self) -> SocketAddr {
        self.local
    }
}

/// Opens a stream. `trust` is asked for TLS alone. Needs a tokio runtime.
///
/// # Errors
/// The system's, those of TLS, and `TimedOut` after 10 s for each of both.
pub async fn dial(
    target: &Target,
    trust: impl FnOnce() -> io::Result<Trust>,
) -> io::Result<Dialed> {
    let late = |_| io::Error::new(io::ErrorKind::TimedOut, "not connected in time");
    let connecting = tokio::time::timeout(CONNECT_WITHIN, connect(target));
    let stream = connecting.await.map_err(late)??;
    let local = stream.local_addr()?;
    let stream = match &target.security {
        Security::Tcp => Stream::Tcp(stream),
        Security::Tls { name } => {
            let name = ServerName::try_from(name.clone()).map_err(io::Error::other)?;
            let connector = TlsConnector::from(trust()?.config());
            let shaking = tokio::time::timeout(CONNECT_WITHIN, connector.connect(name, stream));
            Stream::Tls(Box::new(shaking.await.map_err(late)??))
        }
    };
    Ok(Dialed { local, stream })
}

async fn connect(target: &Target) -> io::Result<TcpStream> {
    let socket = socket_for(target.local)?;
    socket.bind(SocketAddr::new(target.local, 0))?;
    let stream = socket.connect(target.remote).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

pub(crate) fn socket_for(ip: IpAddr) -> io::Result<TcpSocket> {
    match ip {
        IpAddr::V4(_) => TcpSocket::new_v4(),
        IpAddr::V6(_) => TcpSocket::new_v6(),
    }
}

impl AsyncRead for Dialed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Tcp(stream) => Pin::new(stream).poll_read(context, into),
            Stream::Tls(stream) => Pin::new(stream).poll_read(context, into),
        }
    }
}

impl AsyncWrite for Dialed {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.stream {
            Stream::Tcp(stream) => Pin::new(stream).poll_write(context, bytes),
            Stream::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Tcp(stream) => Pin::new(stream).poll_flush(context),
            Stream::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Tcp(stream) => Pin::new(stream).poll_shutdown(context),
            Stream::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
