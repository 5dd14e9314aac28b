//! TCP between relayed ports and peers (RFC 6062).

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use twocan_proto::contract::SocketId;
use twocan_proto::turn::server::ConnectionId;

use super::data;
use super::driver::Input;
use super::streams::{Ask, Outgoing, next_stream};

/// Peers that the system holds until they are accepted.
const BACKLOG: u32 = 64;

/// After an error of a listener, such as too many open files.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// A socket on a relayed address, which a listener and several connections share.
fn socket_on(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    }?;
    #[cfg(not(windows))]
    socket.set_reuseaddr(true)?;
    #[cfg(all(unix, not(target_os = "solaris"), not(target_os = "illumos")))]
    socket.set_reuseport(true)?;
    socket.bind(address)?;
    Ok(socket)
}

/// Accepts peers until it is aborted.
pub(super) fn listen(
    socket: SocketId,
    at: SocketAddr,
    to: mpsc::Sender<Input>,
) -> io::Result<AbortHandle> {
    let listener = socket_on(at)?.listen(BACKLOG)?;
    let task = tokio::spawn(async move {
        loop {
            let (stream, peer) = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::debug!(%error, "accepting a peer");
                    tokio::time::sleep(ACCEPT_AGAIN).await;
                    continue;
                }
            };
            let id = next_stream();
            let (outgoing, link) = Outgoing::new();
            let accepted = Input::Accepted {
                socket,
                at,
                stream: id,
                peer,
                to: outgoing,
            };
            if to.send(accepted).await.is_err() {
                return;
            }
            let _ = stream.set_nodelay(true);
            tokio::spawn(data::carry(stream, id, link, Ask::Hold, to.clone()));
        }
    });
    Ok(task.abort_handle())
}

/// Connects to a peer from a relayed address, and carries what passes.
pub(super) fn open(
    connection: ConnectionId,
    from: SocketAddr,
    peer: SocketAddr,
    to: mpsc::Sender<Input>,
) -> AbortHandle {
    let task = tokio::spawn(async move {
        let stream = match connect(from, peer).await {
            Ok(stream) => stream,
            Err(error) => {
                tracing::debug!(%error, %peer, "connecting to a peer");
                let _ = to.send(Input::Opened(connection, None)).await;
                return;
            }
        };
        let id = next_stream();
        let (outgoing, link) = Outgoing::new();
        let opened = Input::Opened(connection, Some((id, outgoing)));
        if to.send(opened).await.is_ok() {
            data::carry(stream, id, link, Ask::Hold, to).await;
        }
    });
    task.abort_handle()
}

async fn connect(from: SocketAddr, peer: SocketAddr) -> io::Result<TcpStream> {
    let stream = socket_on(from)?.connect(peer).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}
