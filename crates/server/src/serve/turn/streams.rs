//! Clients on TCP and TLS: one task each, which carries bytes and knows nothing of them.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum_server::tls_rustls::RustlsConfig;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use twocan_proto::contract::{Path, SocketId};
use twocan_proto::turn::server::StreamId;

use super::driver::Input;

/// How long a TLS handshake may take.
const HANDSHAKE_PATIENCE: Duration = Duration::from_secs(10);

/// TLS handshakes at a time; more wait to be accepted.
const HANDSHAKES_MAX: usize = 256;

/// How long a client may take to read what is sent to it.
const WRITE_PATIENCE: Duration = Duration::from_secs(10);

/// Messages that wait for a client that reads slowly; more are dropped, as datagrams may be.
const OUTGOING_MAX: usize = 128;

/// Bytes read at once.
const READ_LEN: usize = 8 * 1024;

/// After an error of the listener, such as too many open files.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

static NEXT_STREAM: AtomicU64 = AtomicU64::new(1);

/// Accepts until the process ends.
pub(super) async fn accept(
    listener: std::net::TcpListener,
    tls: Option<RustlsConfig>,
    to: mpsc::Sender<Input>,
) {
    let listener = match TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "no TURN over TCP"),
    };
    let handshakes = Arc::new(Semaphore::new(HANDSHAKES_MAX));
    loop {
        let (stream, remote) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::debug!(%error, "accepting TURN over TCP");
                tokio::time::sleep(ACCEPT_AGAIN).await;
                continue;
            }
        };
        let Some(tls) = &tls else {
            tokio::spawn(plain(stream, remote, to.clone()));
            continue;
        };
        let Ok(permit) = handshakes.clone().acquire_owned().await else {
            return;
        };
        let acceptor = acceptor(tls);
        let to = to.clone();
        tokio::spawn(async move {
            let shaken = timeout(HANDSHAKE_PATIENCE, acceptor.accept(stream)).await;
            drop(permit);
            match shaken {
                Ok(Ok(stream)) => {
                    let local = stream.get_ref().0.local_addr();
                    let _ = stream.get_ref().0.set_nodelay(true);
                    carry(stream, local, remote, to).await;
                }
                Ok(Err(error)) => tracing::debug!(%error, "TLS of a TURN client"),
                Err(_) => tracing::debug!("a TURN client takes too long for TLS"),
            }
        });
    }
}

/// The certificate of the day, without HTTP's protocols (RFC 7443).
fn acceptor(tls: &RustlsConfig) -> TlsAcceptor {
    let mut config = (*tls.get_inner()).clone();
    config.alpn_protocols = vec![b"stun.turn".to_vec(), b"stun.nat-discovery".to_vec()];
    TlsAcceptor::from(Arc::new(config))
}

async fn plain(stream: TcpStream, remote: SocketAddr, to: mpsc::Sender<Input>) {
    let _ = stream.set_nodelay(true);
    let local = stream.local_addr();
    carry(stream, local, remote, to).await;
}

/// Carries bytes both ways until either side has had enough.
async fn carry(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    local: io::Result<SocketAddr>,
    remote: SocketAddr,
    to: mpsc::Sender<Input>,
) {
    let Ok(local) = local else { return };
    let id = StreamId(NEXT_STREAM.fetch_add(1, Ordering::Relaxed));
    let (sender, mut outgoing) = mpsc::channel(OUTGOING_MAX);
    let path = Path {
        socket: SocketId(1),
        local,
    };
    let connected = Input::Connected {
        stream: id,
        path,
        remote,
        to: sender,
    };
    if to.send(connected).await.is_err() {
        return;
    }
    let mut bytes = Vec::new();
    loop {
        bytes.reserve(READ_LEN);
        tokio::select! {
            read = stream.read_buf(&mut bytes) => {
                if !matches!(read, Ok(1..)) {
                    break;
                }
                let input = Input::Bytes(id, std::mem::take(&mut bytes));
                if to.send(input).await.is_err() {
                    return;
                }
            }
            message = outgoing.recv() => {
                let Some(mut message) = message else { break };
                while let Ok(more) = outgoing.try_recv() {
                    message.extend_from_slice(&more);
                }
                let written = timeout(WRITE_PATIENCE, async {
                    stream.write_all(&message).await?;
                    stream.flush().await
                });
                if !matches!(written.await, Ok(Ok(()))) {
                    break;
                }
            }
        }
    }
    let _ = to.send(Input::Closed(id)).await;
    let _ = timeout(WRITE_PATIENCE, stream.shutdown()).await;
}
