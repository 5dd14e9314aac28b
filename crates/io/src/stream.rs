//! Streams: TCP, and TLS over it, to relays; TCP to and from peers.
//!
//! A task holds the stream. What is written goes through a bounded queue, and what finds no room
//! there is dropped, as a datagram would be: nobody waits for a slow stream.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use twocan_proto::contract::{Batch, Security, StreamEvent};

use crate::dial::{dial, socket_for};

/// A stream whose other end takes nothing for so long is given up.
const WRITE_WITHIN: Duration = Duration::from_secs(10);

/// What is left when the writer is dropped may take so long to get out.
const CLOSE_WITHIN: Duration = Duration::from_secs(3);

/// Bytes that wait for the stream; what would go beyond is dropped. At 5 Mbit/s a fifth of a
/// second, behind what the kernel holds.
const QUEUE_LEN_MAX: usize = 128 * 1024;

/// Read at a time.
const READ_LEN: usize = 16 * 1024;

/// Streams that the kernel completes before they are accepted.
const BACKLOG: u32 = 16;

/// RFC 7443: what TURN calls itself to a server that speaks more than one protocol.
const ALPN: &[u8] = b"stun.turn";

/// Whom a TLS client trusts. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Trust(Arc<ClientConfig>);

impl Trust {
    /// The authorities of the system, and these, in DER.
    ///
    /// # Errors
    /// When the cryptographic provider has no TLS 1.2 or 1.3, or a certificate is none.
    pub fn new(added: &[Vec<u8>]) -> io::Result<Self> {
        let mut roots = RootCertStore::empty();
        let found = rustls_native_certs::load_native_certs();
        for error in &found.errors {
            tracing::debug!(%error, "an authority of the system's");
        }
        roots.add_parsable_certificates(found.certs);
        for certificate in added {
            let certificate = CertificateDer::from_slice(certificate);
            roots.add(certificate).map_err(io::Error::other)?;
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?;
        let mut config = config.with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = vec![ALPN.to_vec()];
        Ok(Self(Arc::new(config)))
    }

    pub(crate) fn config(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.0)
    }
}

/// Where a stream leads, and how.
#[derive(Debug, Clone)]
pub struct Target {
    /// The local address, any port of it.
    pub local: IpAddr,
    /// The other end.
    pub remote: SocketAddr,
    /// What protects it.
    pub security: Security,
}

/// The writing end of a stream. The stream ends when this is dropped and what was written is out, or
/// 3 s later.
#[derive(Debug)]
pub struct Writer(Arc<Queue>);

#[derive(Debug, Default)]
struct Queue {
    bytes: Mutex<Waiting>,
    changed: Notify,
    /// The writer is dropped.
    over: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    bytes: Vec<u8>,
    is_over: bool,
}

impl Writer {
    /// Writes all of a batch, or nothing of it. Answers how many datagrams were lost here.
    pub fn send(&self, batch: &Batch) -> usize {
        let mut waiting = self.0.lock();
        let fits = waiting.bytes.len() + batch.bytes().len() <= QUEUE_LEN_MAX;
        if !fits || waiting.is_over {
            return batch.segments();
        }
        waiting.bytes.extend_from_slice(batch.bytes());
        drop(waiting);
        self.0.changed.notify_one();
        0
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.0.lock().is_over = true;
        self.0.changed.notify_one();
        self.0.over.notify_one();
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.bytes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Opens a stream. `each` is told what happens to it, `Closed` last and once, unless the writer is
/// dropped before. `trust` is asked for TLS alone. Needs a tokio runtime.
pub fn open<E, T>(target: Target, trust: T, each: E) -> Writer
where
    E: FnMut(StreamEvent<'_>) + Send + 'static,
    T: FnOnce() -> io::Result<Trust> + Send + 'static,
{
    let queue = Arc::new(Queue::default());
    let writer = Writer(Arc::clone(&queue));
    tokio::spawn(async move {
        let mut each = each;
        if let Err(error) = run(&target, trust, &queue, &mut each).await {
            tracing::debug!(remote = %target.remote, %error, "stream");
        }
        if !queue.lock().is_over {
            queue.lock().is_over = true;
            each(StreamEvent::Closed);
        }
    });
    writer
}

/// Takes a stream that a [`Listener`] accepted, as [`open`] does one of its own: it is connected.
/// Needs a tokio runtime.
pub fn carry_accepted(
    stream: TcpStream,
    mut each: impl FnMut(StreamEvent<'_>) + Send + 'static,
) -> Writer {
    let queue = Arc::new(Queue::default());
    let writer = Writer(Arc::clone(&queue));
    tokio::spawn(async move {
        if let Err(error) = carry(stream, &queue, &mut each).await {
            tracing::debug!(%error, "accepted stream");
        }
        if !queue.lock().is_over {
            queue.lock().is_over = true;
            each(StreamEvent::Closed);
        }
    });
    writer
}

/// A socket that listens.
#[derive(Debug)]
pub struct Listener {
    listener: TcpListener,
    local: SocketAddr,
}

impl Listener {
    /// Listens on the first free port of a range, or on any. Needs a tokio runtime.
    ///
    /// # Errors
    /// The system's for the last port, when none is free.
    pub fn bind(ip: IpAddr, ports: Option<RangeInclusive<u16>>) -> io::Result<Self> {
        let mut failed = io::Error::from(io::ErrorKind::AddrInUse);
        for port in ports.unwrap_or(0..=0) {
            match Self::bind_to(SocketAddr::new(ip, port)) {
                Ok(listener) => return Ok(listener),
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }

    fn bind_to(address: SocketAddr) -> io::Result<Self> {
        let socket = socket_for(address.ip())?;
        // Streams of a connection before may still linger on the port. On Windows the option has
        // another meaning.
        #[cfg(not(windows))]
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        let listener = socket.listen(BACKLOG)?;
        let local = listener.local_addr()?;
        Ok(Self { listener, local })
    }

    /// The address it listens on.
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// The next stream, with its ends: ours, and the other.
    ///
    /// # Errors
    /// The system's; of a stream that is gone already, or of files that have run out.
    pub fn poll_accept(
        &self,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<(TcpStream, SocketAddr, SocketAddr)>> {
        self.listener.poll_accept(context).map(|accepted| {
            let (stream, remote) = accepted?;
            stream.set_nodelay(true)?;
            let local = stream.local_addr()?;
            Ok((stream, local, remote))
        })
    }
}

async fn run(
    target: &Target,
    trust: impl FnOnce() -> io::Result<Trust>,
    queue: &Queue,
    each: &mut impl FnMut(StreamEvent<'_>),
) -> io::Result<()> {
    let stream = dial(target, trust).await?;
    let local = stream.local();
    each(StreamEvent::Connected { local });
    carry(stream, queue, each).await
}

/// Reads and writes until either side ends it.
async fn carry(
    stream: impl AsyncRead + AsyncWrite,
    queue: &Queue,
    each: &mut impl FnMut(StreamEvent<'_>),
) -> io::Result<()> {
    let (mut reader, mut writer) = tokio::io::split(stream);
    let read = async {
        let mut buffer = vec![0; READ_LEN];
        loop {
            let len = reader.read(&mut buffer).await?;
            if len == 0 {
                return Ok(());
            }
            if let Some(bytes) = buffer.get_mut(..len) {
                each(StreamEvent::Bytes(bytes));
            }
        }
    };
    let write = async {
        loop {
            let (bytes, is_over) = {
                let mut waiting = queue.lock();
                (std::mem::take(&mut waiting.bytes), waiting.is_over)
            };
            if !bytes.is_empty() {
                write_out(&mut writer, &bytes).await?;
            } else if is_over {
                let _ = writer.shutdown().await;
                return Ok(());
            } else {
                queue.changed.notified().await;
            }
        }
    };
    let leave = async {
        queue.over.notified().await;
        tokio::time::sleep(CLOSE_WITHIN).await;
        Err(late("not written in time before the end"))
    };
    tokio::select! {
        done = read => done,
        done = write => done,
        done = leave => done,
    }
}

/// Writes all, as long as the other end takes some of it now and then.
async fn write_out(writer: &mut (impl AsyncWrite + Unpin), mut bytes: &[u8]) -> io::Result<()> {
    let stuck = |_| late("the other end takes nothing");
    while !bytes.is_empty() {
        let writing = tokio::time::timeout(WRITE_WITHIN, writer.write(bytes));
        let len = writing.await.map_err(stuck)??;
        if len == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        bytes = bytes.get(len..).unwrap_or_default();
    }
    let flushing = tokio::time::timeout(WRITE_WITHIN, writer.flush());
    flushing.await.map_err(stuck)?
}

fn late(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, what)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::DuplexStream;
    use tokio::time::Instant;

    /// A stream to an other end that holds 64 bytes, and how it ends and after how long.
    fn carried(
        queue: &Arc<Queue>,
    ) -> (
        DuplexStream,
        impl Future<Output = (io::Result<()>, u64)> + use<>,
    ) {
        let (near, far) = tokio::io::duplex(64);
        let queue = Arc::clone(queue);
        let carrying = async move {
            let begun = Instant::now();
            let result = carry(near, &queue, &mut |_| {}).await;
            (result, begun.elapsed().as_secs())
        };
        (far, carrying)
    }

    fn is_late(result: &io::Result<()>) -> bool {
        matches!(result, Err(error) if error.kind() == io::ErrorKind::TimedOut)
    }

    #[tokio::test(start_paused = true)]
    async fn an_end_that_takes_nothing_is_given_up() {
        let queue = Arc::new(Queue::default());
        let (_far, carrying) = carried(&queue);
        queue.lock().bytes = vec![0; 1000];
        let (result, seconds) = carrying.await;
        assert!(is_late(&result) && seconds == 10, "{result:?}, {seconds} s");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_left_does_not_hold_a_stream_that_is_over() {
        let queue = Arc::new(Queue::default());
        let (_far, carrying) = carried(&queue);
        queue.lock().bytes = vec![0; 1000];
        let carrying = tokio::spawn(carrying);
        tokio::time::sleep(Duration::from_secs(2)).await;
        drop(Writer(queue));
        let (result, seconds) = carrying.await.unwrap();
        assert!(is_late(&result) && seconds == 5, "{result:?}, {seconds} s");
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_end_gets_everything() {
        let queue = Arc::new(Queue::default());
        let (mut far, carrying) = carried(&queue);
        queue.lock().bytes = vec![7; 640];
        let carrying = tokio::spawn(carrying);
        let mut taken = Vec::new();
        for _ in 0..10 {
            tokio::time::sleep(Duration::from_secs(6)).await;
            let mut some = [0; 64];
            far.read_exact(&mut some).await.unwrap();
            taken.extend(some);
        }
        assert_eq!(taken, [7; 640]);
        drop(Writer(queue));
        let (result, seconds) = carrying.await.unwrap();
        assert!(result.is_ok() && seconds == 60, "{result:?}, {seconds} s");
    }
}
