//! UDP sockets with segmentation offload in both directions.
//!
//! One call sends up to 64 datagrams of equal length (GSO), one receives as many (GRO). Where the
//! kernel offers neither, the same calls fall back to one datagram at a time.

use std::cell::RefCell;
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
#[cfg(target_os = "linux")]
use std::os::fd::AsRawFd as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use quinn_udp::{EcnCodepoint, RecvMeta, Transmit, UdpSockRef, UdpSocketState};
use tokio::io::Interest;
use tokio::net::UdpSocket;

use twocan_proto::contract::{Batch, Datagram, Dscp, Ecn, Path, SocketId};

use crate::clock;
use crate::icmp::{self, IcmpError};
use crate::marked;

/// Kernel buffers asked for, in bytes. At 1 Gbit/s this is 30 ms; the kernel may grant less.
const SOCKET_BUFFER_LEN: usize = 4 << 20;

/// Coalesced receptions taken by one system call.
const RECEIVE_SLOTS: usize = 8;

/// Room for one coalesced reception.
const SLOT_LEN: usize = 64 * 1024;

thread_local! {
    /// Receive buffers belong to the thread, not to the socket: an idle connection costs none.
    static SLOTS: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// No datagram waits longer in the system's buffer for a driver that is alive.
const WAITED_MAX: Duration = Duration::from_secs(2);

/// A datagram that was received.
#[derive(Debug)]
pub struct Reception<'a> {
    /// The address that it was sent to: on a socket of all addresses it is not the socket's own.
    pub local: SocketAddr,
    /// Who sent it.
    pub remote: SocketAddr,
    /// Its congestion mark.
    pub ecn: Ecn,
    /// How long it has been with the system; zero where that does not say.
    pub waited: Duration,
    /// Its payload.
    pub bytes: &'a mut [u8],
}

impl<'a> Reception<'a> {
    /// The same on a socket with a name.
    pub fn on(self, socket: SocketId) -> Datagram<'a> {
        Datagram {
            path: Path {
                socket,
                local: self.local,
            },
            remote: self.remote,
            ecn: self.ecn,
            waited: self.waited,
            bytes: self.bytes,
        }
    }
}

/// A bound socket.
#[derive(Debug)]
pub struct Socket {
    socket: UdpSocket,
    state: UdpSocketState,
    local: SocketAddr,
    /// Whether the system keeps ICMP errors.
    keeps_errors: bool,
    /// Whether there may be some.
    has_errors: AtomicBool,
}

impl Socket {
    /// Binds any port of `ip`. Needs a tokio runtime.
    ///
    /// # Errors
    /// The system's.
    pub fn bind(ip: IpAddr) -> io::Result<Self> {
        Self::bind_to(SocketAddr::new(ip, 0))
    }

    /// Binds the first free port of a range. Needs a tokio runtime.
    ///
    /// # Errors
    /// The system's for the last port, when none is free.
    pub fn bind_within(ip: IpAddr, ports: RangeInclusive<u16>) -> io::Result<Self> {
        let mut failed = io::Error::from(io::ErrorKind::AddrInUse);
        for port in ports {
            match Self::bind_to(SocketAddr::new(ip, port)) {
                Ok(socket) => return Ok(socket),
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }

    /// Binds an address. Needs a tokio runtime.
    ///
    /// # Errors
    /// The system's.
    pub fn bind_to(address: SocketAddr) -> io::Result<Self> {
        Self::from_std(std::net::UdpSocket::bind(address)?)
    }

    /// Takes a socket that is bound. Needs a tokio runtime.
    ///
    /// # Errors
    /// The system's.
    pub fn from_std(socket: std::net::UdpSocket) -> io::Result<Self> {
        let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
        let reference = || UdpSockRef::from(&socket);
        // A smaller buffer than asked for still works.
        let _ = state.set_send_buffer_size(reference(), SOCKET_BUFFER_LEN);
        let _ = state.set_recv_buffer_size(reference(), SOCKET_BUFFER_LEN);
        let local = socket.local_addr()?;
        Ok(Self {
            socket: UdpSocket::from_std(socket)?,
            state,
            local,
            keeps_errors: false,
            has_errors: AtomicBool::new(false),
        })
    }

    /// The address it is bound to.
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// Has the system keep ICMP errors for [`Self::take_errors`], where it can.
    pub fn keep_errors(&mut self) {
        self.keeps_errors = icmp::keep(&self.socket, self.local.is_ipv4());
    }

    /// Takes the ICMP errors that have come back for datagrams of this socket. They show when the
    /// next one is sent or received.
    pub fn take_errors(&self, each: impl FnMut(IcmpError)) {
        if self.has_errors.swap(false, Ordering::Relaxed) {
            icmp::take(&self.socket, each);
        }
    }

    /// Whether a call has failed by the system's word on an earlier datagram.
    fn is_earlier(&self, error: &io::Error) -> bool {
        let is_earlier = self.keeps_errors && error.kind() != io::ErrorKind::WouldBlock;
        self.has_errors.fetch_or(is_earlier, Ordering::Relaxed);
        is_earlier
    }

    /// Sends all datagrams of a batch. Those that the kernel has no room for are lost, as
    /// datagrams may be; the protocols above repeat what matters. Their codepoint goes with them on
    /// Linux, and nowhere else.
    ///
    /// Answers how many datagrams were lost here.
    pub fn send(&self, batch: &Batch) -> usize {
        let Some(destination) = batch.destination() else {
            return 0;
        };
        let segment_len = batch.segment_len().max(1);
        let segments = self.state.max_gso_segments().max(1);
        // On a socket of all addresses, an answer comes from the one that was asked.
        let from = destination.path.local.ip();
        let src_ip = (self.local.ip().is_unspecified() && !from.is_unspecified()).then_some(from);
        let mut lost = 0;
        for contents in batch.bytes().chunks(segment_len * segments) {
            let transmit = Transmit {
                destination: destination.remote,
                ecn: to_codepoint(destination.ecn),
                contents,
                segment_size: Some(segment_len),
                src_ip,
            };
            let is_bare = transmit.ecn.is_none()
                && src_ip.is_none()
                && destination.dscp == Dscp::DEFAULT
                && contents.len() <= segment_len;
            // Whether there is room is the system's to say: the runtime does not know it of a socket that
            // it has not looked at yet.
            let try_send = || match is_bare {
                true => self.send_bare(&transmit),
                false => self.try_send(&transmit, destination.dscp),
            };
            let mut sent = try_send();
            if matches!(&sent, Err(error) if self.is_earlier(error)) {
                sent = try_send();
            }
            if let Err(error) = sent {
                tracing::trace!(%error, "datagrams not sent");
                lost += contents.len().div_ceil(segment_len);
            }
        }
        lost
    }

    /// Sends one datagram with which nothing goes that needs a longer call.
    #[cfg(target_os = "linux")]
    fn send_bare(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        use nix::sys::socket::{MsgFlags, SockaddrStorage, sendto};
        let to = SockaddrStorage::from(transmit.destination);
        let descriptor = self.socket.as_raw_fd();
        sendto(descriptor, transmit.contents, &to, MsgFlags::empty())?;
        Ok(())
    }

    #[cfg(not(target_os = "linux"))]
    fn send_bare(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        self.state
            .try_send(UdpSockRef::from(&self.socket), transmit)
    }

    /// Sends with a codepoint, or, where the system does not take it, without.
    fn try_send(&self, transmit: &Transmit<'_>, dscp: Dscp) -> io::Result<()> {
        if dscp != Dscp::DEFAULT {
            match marked::send(&self.socket, transmit, dscp) {
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => {
                    tracing::trace!(%error, ?dscp, "datagrams not marked");
                }
                sent => return sent,
            }
        }
        self.state
            .try_send(UdpSockRef::from(&self.socket), transmit)
    }

    /// Receives what is there, at most eight system calls' worth of coalesced datagrams, and calls
    /// `each` per datagram.
    ///
    /// # Errors
    /// The system's; an unreachable peer's (ICMP) is no reason to stop receiving.
    pub fn poll_receive(
        &self,
        context: &mut Context<'_>,
        mut each: impl FnMut(Reception<'_>),
    ) -> Poll<io::Result<()>> {
        loop {
            match self.socket.poll_recv_ready(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Ready(Ok(())) => {}
            }
            match self.receive(&mut each) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => {
                    self.is_earlier(&error);
                    return Poll::Ready(Err(error));
                }
                Ok(()) => return Poll::Ready(Ok(())),
            }
        }
    }

    fn receive(&self, each: &mut impl FnMut(Reception<'_>)) -> io::Result<()> {
        SLOTS.with_borrow_mut(|slots| {
            if slots.is_empty() {
                slots.resize(RECEIVE_SLOTS * SLOT_LEN, 0);
            }
            let mut metas = [RecvMeta::default(); RECEIVE_SLOTS];
            let received = {
                let mut chunks = slots.chunks_mut(SLOT_LEN);
                let mut buffers: [IoSliceMut<'_>; RECEIVE_SLOTS] =
                    std::array::from_fn(|_| IoSliceMut::new(chunks.next().unwrap_or_default()));
                self.socket.try_io(Interest::READABLE, || {
                    self.state
                        .recv(UdpSockRef::from(&self.socket), &mut buffers, &mut metas)
                })?
            };
            for (meta, slot) in metas.iter().zip(slots.chunks_mut(SLOT_LEN)).take(received) {
                let bytes = slot.get_mut(..meta.len).unwrap_or_default();
                let asked = meta.dst_ip.filter(|_| self.local.ip().is_unspecified());
                let local = asked.map_or(self.local, |ip| {
                    SocketAddr::new(ip.to_canonical(), self.local.port())
                });
                let waited = meta.timestamp.map_or(Duration::ZERO, waited_since);
                for datagram in bytes.chunks_mut(meta.stride.max(1)) {
                    each(Reception {
                        local,
                        remote: meta.addr,
                        ecn: from_codepoint(meta.ecn),
                        waited,
                        bytes: datagram,
                    });
                }
            }
            Ok(())
        })
    }
}

/// How long ago the system took a datagram, by its own word; zero where its clock was set
/// meanwhile.
fn waited_since(taken: Duration) -> Duration {
    let now = clock::now().wallclock;
    let waited = now.saturating_sub(taken);
    if waited > WAITED_MAX {
        return Duration::ZERO;
    }
    waited
}

fn to_codepoint(ecn: Ecn) -> Option<EcnCodepoint> {
    match ecn {
        Ecn::NotEct => None,
        Ecn::Ect0 => Some(EcnCodepoint::Ect0),
        Ecn::Ect1 => Some(EcnCodepoint::Ect1),
        Ecn::Ce => Some(EcnCodepoint::Ce),
    }
}

fn from_codepoint(ecn: Option<EcnCodepoint>) -> Ecn {
    match ecn {
        None => Ecn::NotEct,
        Some(EcnCodepoint::Ect0) => Ecn::Ect0,
        Some(EcnCodepoint::Ect1) => Ecn::Ect1,
        Some(EcnCodepoint::Ce) => Ecn::Ce,
    }
}

thread_local! {
    /// The batch being filled belongs to the thread as well.
    static BATCH: RefCell<Batch> = RefCell::new(Batch::new());
}

/// Lends the thread's batch, empty, to `use_it`, which must not call this again.
pub fn with_batch<R>(use_it: impl FnOnce(&mut Batch) -> R) -> R {
    BATCH.with_borrow_mut(|batch| {
        batch.clear();
        use_it(batch)
    })
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::time::Instant;

    use super::*;

    /// Before the runtime has looked at it: what a call sends at once must not be lost.
    #[tokio::test]
    async fn a_socket_that_is_new_sends_at_once() {
        let socket = Socket::bind([127, 0, 0, 1].into()).unwrap();
        let other = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let path = Path {
            socket: SocketId(0),
            local: socket.local(),
        };
        let to = twocan_proto::contract::Destination {
            path,
            remote: other.local_addr().unwrap(),
            ecn: Ecn::NotEct,
            dscp: Dscp::DEFAULT,
        };
        for words in [&[&b"one"[..]][..], &[b"two", b"six"]] {
            let mut batch = Batch::new();
            for word in words {
                assert!(batch.push(to, &mut Vec::new(), |out| out.extend_from_slice(word)));
            }
            assert_eq!(socket.send(&batch), 0);
            for word in words {
                let mut bytes = [0; 8];
                let len = other.recv(&mut bytes).unwrap();
                assert_eq!(bytes.get(..len), Some(*word));
            }
        }
    }

    #[tokio::test]
    async fn how_long_a_datagram_waited_is_told() {
        let socket = Socket::bind([127, 0, 0, 1].into()).unwrap();
        let other = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let before = Instant::now();
        other.send_to(b"word", socket.local()).unwrap();
        let mut told = Vec::new();
        poll_fn(|context| {
            socket.poll_receive(context, |reception| {
                let datagram = reception.on(SocketId(7));
                told.push((datagram.remote, datagram.path.socket, datagram.waited));
            })
        })
        .await
        .unwrap();
        let [(remote, SocketId(7), waited)] = told[..] else {
            panic!("{told:?}");
        };
        assert_eq!(remote, other.local_addr().unwrap());
        assert!(waited <= before.elapsed(), "{waited:?}");
        #[cfg(target_os = "linux")]
        assert!(!waited.is_zero());
    }
}
