//! Clients on TCP and TLS: one task each, which carries bytes and knows nothing of them.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum_server::tls_rustls::RustlsConfig;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use twocan_proto::contract::{Path, SocketId};
use twocan_proto::turn::server::StreamId;

use super::data::{self, Link};
use super::driver::Input;

/// How long a TLS handshake may take.
const HANDSHAKE_PATIENCE: Duration = Duration::from_secs(10);

/// TLS handshakes at a time; more are closed.
const HANDSHAKES_MAX: usize = 512;

/// TLS handshakes at a time of one address, or one /64 of IPv6; more are closed.
const HANDSHAKES_PER_ADDRESS_MAX: usize = 32;

/// How long a client may take to read what is sent to it.
pub(super) const WRITE_PATIENCE: Duration = Duration::from_secs(10);

/// Messages that wait for a client that reads slowly; more are dropped, as datagrams may be.
const OUTGOING_MAX: usize = 128;

/// Their bytes; more are dropped.
const OUTGOING_LEN_MAX: usize = 256 * 1024;

/// Bytes read at once.
const READ_LEN: usize = 8 * 1024;

/// After an error of the listener, such as too many open files.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// What a stream can be asked before it has done it: to hold, and to read once.
const ASKED_MAX: usize = 2;

static NEXT_STREAM: AtomicU64 = AtomicU64::new(1);

/// A name for a stream that no other has had.
pub(super) fn next_stream() -> StreamId {
    StreamId(NEXT_STREAM.fetch_add(1, Ordering::Relaxed))
}

/// When a stream that carries a connection is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ask {
    /// No more until it is asked to.
    Hold,
    /// Once.
    Read,
}

/// The way to a stream's client, or to a peer.
#[derive(Debug)]
pub(super) struct Outgoing {
    messages: mpsc::Sender<Vec<u8>>,
    /// When the stream is to be read; from the first time on only then.
    reads: mpsc::Sender<Ask>,
    /// Whether it carries a connection with a peer, of which nothing may be dropped.
    carries: bool,
    /// Bytes that are not written yet.
    waiting: Arc<AtomicUsize>,
}

impl Outgoing {
    pub(super) fn new() -> (Self, Link) {
        let (messages, received) = mpsc::channel(OUTGOING_MAX);
        let (reads, asked) = mpsc::channel(ASKED_MAX);
        let waiting: Arc<AtomicUsize> = Arc::default();
        let link = Link {
            messages: received,
            reads: asked,
            waiting: waiting.clone(),
        };
        let new = Self {
            messages,
            reads,
            carries: false,
            waiting,
        };
        (new, link)
    }

    /// Has the stream read once, or not until that.
    pub(super) fn ask(&mut self, what: Ask) {
        self.carries = true;
        // The machine asks for one piece at a time.
        let _ = self.reads.try_send(what);
    }

    /// Whether nothing may be dropped of what is sent.
    pub(super) fn carries(&self) -> bool {
        self.carries
    }

    /// Hands a message to the stream's task; says whether there was room.
    pub(super) fn send(&self, message: Vec<u8>) -> bool {
        let len = message.len();
        // Nobody else adds: what is free now is free below.
        if self.waiting.load(Ordering::Relaxed) + len > OUTGOING_LEN_MAX {
            return false;
        }
        self.waiting.fetch_add(len, Ordering::Relaxed);
        let is_sent = self.messages.try_send(message).is_ok();
        if !is_sent {
            self.waiting.fetch_sub(len, Ordering::Relaxed);
        }
        is_sent
    }
}

/// TLS of listeners that share the bounds of handshakes.
#[derive(Debug, Clone)]
pub(super) struct Tls {
    config: RustlsConfig,
    handshakes: Arc<Handshakes>,
}

impl Tls {
    pub(super) fn new(config: RustlsConfig) -> Self {
        Self {
            config,
            handshakes: Arc::default(),
        }
    }
}

/// Accepts until the process ends.
pub(super) async fn accept(
    listener: std::net::TcpListener,
    tls: Option<Tls>,
    to: mpsc::Sender<Input>,
) {
    let listener = match TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "no TURN over TCP"),
    };
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
        // Nobody waits here: one who keeps handshakes open would make all others wait.
        let Some(permit) = tls.handshakes.admit(remote.ip()) else {
            metrics::counter!(
                "twocan_turn_requests_total", "outcome" => "turn.too_many_handshakes"
            )
            .increment(1);
            continue;
        };
        let acceptor = acceptor(&tls.config);
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

/// The TLS handshakes that are going on, by address.
#[derive(Debug, Default)]
struct Handshakes(Mutex<HashMap<IpAddr, usize>>);

/// One handshake; dropped when it is over.
#[derive(Debug)]
struct Handshake {
    of: IpAddr,
    all: Arc<Handshakes>,
}

impl Handshakes {
    fn admit(self: &Arc<Self>, remote: IpAddr) -> Option<Handshake> {
        let of = match remote.to_canonical() {
            // A /64 is one customer's.
            IpAddr::V6(ip) => Ipv6Addr::from(u128::from(ip) >> 64 << 64).into(),
            ip => ip,
        };
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // No more entries than handshakes: each has one at least.
        let total: usize = counts.values().sum();
        let of_address = counts.get(&of).copied().unwrap_or(0);
        if total >= HANDSHAKES_MAX || of_address >= HANDSHAKES_PER_ADDRESS_MAX {
            return None;
        }
        counts.insert(of, of_address + 1);
        let all = self.clone();
        Some(Handshake { of, all })
    }
}

impl Drop for Handshake {
    fn drop(&mut self) {
        let mut counts = self.all.0.lock().unwrap_or_else(PoisonError::into_inner);
        match counts.get_mut(&self.of) {
            Some(count) if *count > 1 => *count -= 1,
            _ => _ = counts.remove(&self.of),
        }
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
    let id = next_stream();
    let (sender, mut link) = Outgoing::new();
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
        // Before anything else is read: what comes may be more than anybody waits for.
        if let Ok(ask) = link.reads.try_recv() {
            return data::carry(stream, id, link, ask, to).await;
        }
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
            ask = link.reads.recv() => {
                if let Some(ask) = ask {
                    return data::carry(stream, id, link, ask, to).await;
                }
            }
            message = link.messages.recv() => {
                let Some(mut message) = message else { break };
                while let Ok(more) = link.messages.try_recv() {
                    message.extend_from_slice(&more);
                }
                let written = timeout(WRITE_PATIENCE, async {
                    stream.write_all(&message).await?;
                    stream.flush().await
                });
                if !matches!(written.await, Ok(Ok(()))) {
                    break;
                }
                link.waiting.fetch_sub(message.len(), Ordering::Relaxed);
            }
        }
    }
    let _ = to.send(Input::Closed(id)).await;
    let _ = timeout(WRITE_PATIENCE, stream.shutdown()).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_waits_for_a_slow_reader_is_bounded_in_bytes() {
        let (near, mut far) = tokio::io::duplex(1000);
        let (to, mut inputs) = mpsc::channel(8);
        let at: SocketAddr = "192.0.2.1:5000".parse().unwrap();
        tokio::spawn(carry(near, Ok(at), at, to));
        let Some(Input::Connected { to: outgoing, .. }) = inputs.recv().await else {
            panic!("a stream begins by saying so");
        };
        let message = vec![7; 60_000];
        let taken = (0..100).filter(|_| outgoing.send(message.clone())).count();
        assert_eq!(taken, OUTGOING_LEN_MAX / message.len());
        // While it is being written it still counts.
        let mut read = vec![0; taken * message.len()];
        far.read_exact(&mut read[..1]).await.unwrap();
        assert!(!outgoing.send(message.clone()));
        far.read_exact(&mut read[1..]).await.unwrap();
        while outgoing.waiting.load(Ordering::Relaxed) > 0 {
            tokio::task::yield_now().await;
        }
        assert!(outgoing.send(message));
    }

    #[tokio::test]
    async fn a_stream_that_holds_is_read_when_it_is_asked_to_be() {
        let (near, mut far) = tokio::io::duplex(1000);
        let (to, mut inputs) = mpsc::channel(8);
        let at: SocketAddr = "192.0.2.1:5000".parse().unwrap();
        tokio::spawn(carry(near, Ok(at), at, to));
        let Some(Input::Connected { to: mut own, .. }) = inputs.recv().await else {
            panic!("a stream begins by saying so");
        };
        far.write_all(b"bind").await.unwrap();
        assert!(matches!(inputs.recv().await, Some(Input::Bytes(_, read)) if read == b"bind"));
        own.ask(Ask::Hold);
        assert!(own.send(b"answer".to_vec()));
        let mut answer = [0; 6];
        far.read_exact(&mut answer).await.unwrap();
        far.write_all(&[7; 1000]).await.unwrap();
        // The runtime has one thread: the stream's task has its turns.
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        while let Ok(input) = inputs.try_recv() {
            assert!(matches!(input, Input::Written(_, 6)), "it was read");
        }
        own.ask(Ask::Read);
        assert!(matches!(inputs.recv().await, Some(Input::Bytes(_, read)) if read == [7; 1000]));
    }

    #[test]
    fn handshakes_are_bounded_by_address_and_in_all() {
        let handshakes = Arc::new(Handshakes::default());
        let admit = |ip: &str| handshakes.admit(ip.parse().unwrap());
        let mut held: Vec<_> = (0..HANDSHAKES_PER_ADDRESS_MAX)
            .map(|host| admit(&format!("2001:db8::{host}")).unwrap())
            .collect();
        assert!(admit("2001:db8::ffff:1").is_none(), "the /64 has enough");
        drop(held.pop());
        held.push(admit("2001:db8::ffff:1").unwrap());
        for host in 0..HANDSHAKES_MAX - held.len() {
            held.push(admit(&format!("192.0.{}.{}", host / 256, host % 256)).unwrap());
        }
        assert!(admit("198.51.100.1").is_none(), "there are enough");
        held.clear();
        assert!(handshakes.0.lock().unwrap().is_empty());
    }
}
