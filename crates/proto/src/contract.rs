//! The shape that the outermost machines share, and what crosses their edge.
//!
//! A driver owns sockets and a clock. It hands a machine what arrived (`handle_datagram`,
//! `handle_resolved`, `handle_interfaces`, `handle_timeout`; all infallible), and afterwards
//! calls `poll_output` until it answers [`Output::Wait`]. Any order of calls is safe.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::locate::Service;
use crate::time::Deadline;

/// A socket of the driver's, named by the machine that asked for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SocketId(pub u32);

/// The local end of a way to a remote address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Path {
    /// The socket.
    pub socket: SocketId,
    /// The address it is bound to, or the one that the datagram was sent to.
    pub local: SocketAddr,
}

/// Explicit congestion notification bits of an IP header (RFC 3168 §5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Ecn {
    /// Not ECN-capable.
    #[default]
    NotEct,
    /// ECN-capable, codepoint 1 (L4S, RFC 9331).
    Ect1,
    /// ECN-capable, codepoint 0.
    Ect0,
    /// Congestion experienced.
    Ce,
}

/// Differentiated services codepoint of an IP header (RFC 2474 §3): how routers that know it are to
/// treat a datagram among others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Dscp(u8);

impl Dscp {
    /// Default forwarding: as everything.
    pub const DEFAULT: Self = Self(0);
    /// Lower effort: after everything else (RFC 8622).
    pub const LOWER_EFFORT: Self = Self(1);
    /// Assured forwarding, class 1, low drop precedence (RFC 2597).
    pub const AF11: Self = Self(10);
    /// Class 2.
    pub const AF21: Self = Self(18);
    /// Class 4.
    pub const AF41: Self = Self(34);
    /// Class 4, medium drop precedence.
    pub const AF42: Self = Self(36);
    /// Expedited forwarding (RFC 3246).
    pub const EXPEDITED: Self = Self(46);

    /// 0 to 63: the upper six bits of the byte whose lower two are [`Ecn`].
    pub const fn value(self) -> u8 {
        self.0
    }
}

/// One received datagram. The bytes are decrypted in place.
#[derive(Debug)]
pub struct Datagram<'a> {
    /// Where it came in.
    pub path: Path,
    /// Who sent it.
    pub remote: SocketAddr,
    /// Its congestion mark.
    pub ecn: Ecn,
    /// How long it had been with the system before it was taken; zero where that is not known. What
    /// is measured on the path is not to be of how busy the driver was.
    pub waited: Duration,
    /// Its payload.
    pub bytes: &'a mut [u8],
}

/// What a machine asks of its driver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Bind a UDP socket on `ip`, any port, and report it by `handle_bound`.
    Bind {
        /// The name the socket is to have.
        socket: SocketId,
        /// The local address.
        ip: IpAddr,
    },
    /// Listen for streams on `ip`, any port, and report it by `handle_bound`, and each stream that
    /// comes by `handle_accepted`, which names it or wants it closed.
    Listen {
        /// The name the socket is to have.
        socket: SocketId,
        /// The local address.
        ip: IpAddr,
    },
    /// Open a stream from any port of `local` to `remote`, and report it by `handle_stream`.
    ///
    /// A batch whose path has this socket is written to it, all datagrams one after the other, or
    /// dropped whole where its queue has no room: nobody waits.
    Open {
        /// The name the stream is to have.
        socket: SocketId,
        /// The local address.
        local: IpAddr,
        /// The other end.
        remote: SocketAddr,
        /// What protects it.
        security: Security,
    },
    /// Close a socket or stream.
    Close {
        /// Its name.
        socket: SocketId,
    },
    /// Resolve a name and report the result by `handle_resolved`.
    Resolve {
        /// The name, such as `stun.example.org` or `….local`.
        name: String,
        /// How to look it up.
        how: Lookup,
    },
    /// Find a server that is named without a port ([`crate::locate`]), and report the result by
    /// `handle_located`.
    Locate {
        /// What the URL says of it.
        service: Service,
    },
    /// Answer by multicast DNS (RFC 6762) that `name` is at `ip`, until that is withdrawn. Nothing is
    /// reported: where it does not work, the name is known to nobody.
    Announce {
        /// A name in `.local` that nobody else has.
        name: String,
        /// An address of this host.
        ip: IpAddr,
    },
    /// Answer for a name no more.
    Withdraw {
        /// As announced.
        name: String,
    },
}

/// What protects a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Security {
    /// Nothing: TCP.
    Tcp,
    /// TLS over TCP, to a server with a certificate for this name or address.
    Tls {
        /// As in the URL.
        name: String,
    },
}

/// What happens to a stream.
#[derive(Debug)]
pub enum StreamEvent<'a> {
    /// It can be written to.
    Connected {
        /// The address it is bound to.
        local: SocketAddr,
    },
    /// These bytes arrived, cut anywhere.
    Bytes(&'a mut [u8]),
    /// It has ended, or could not be opened. Its name is free.
    Closed,
}

/// How a name is looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lookup {
    /// The system's resolver.
    Dns,
    /// Multicast DNS on the local network (RFC 6762), for browsers' `.local` candidates.
    Mdns,
}

/// What `poll_output` answers.
#[derive(Debug)]
pub enum Output<E> {
    /// The batch holds datagrams: send them, clear it, poll again.
    Transmit,
    /// Something happened that the application wants to know.
    Event(E),
    /// The driver is to do something.
    Request(Request),
    /// Nothing more until the deadline (if any) or the next input.
    Wait(Option<Deadline>),
}

/// Largest number of bytes in a batch: what one GSO call may carry on Linux (64 KiB less headers).
pub const BATCH_LEN_MAX: usize = 65_000;

/// Largest number of datagrams in a batch: Linux refuses more than 64 segments in one GSO call.
pub const BATCH_SEGMENTS_MAX: usize = 64;

/// Datagrams for one destination, laid end to end: all of the same length, but for the last,
/// which may be shorter. That is the form which generic segmentation offload sends in one call.
#[derive(Debug, Default)]
pub struct Batch {
    bytes: Vec<u8>,
    segment_len: usize,
    segments: usize,
    closed: bool,
    destination: Option<Destination>,
}

/// Where a batch goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Destination {
    /// The local end.
    pub path: Path,
    /// The remote end.
    pub remote: SocketAddr,
    /// The congestion mark to send.
    pub ecn: Ecn,
    /// The codepoint to send; on a stream it says nothing.
    pub dscp: Dscp,
}

impl Batch {
    /// An empty batch.
    pub fn new() -> Self {
        Self::default()
    }

    /// Empties the batch and keeps its memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.segment_len = 0;
        self.segments = 0;
        self.closed = false;
        self.destination = None;
    }

    /// Whether it holds no datagram.
    pub fn is_empty(&self) -> bool {
        self.segments == 0
    }

    /// Number of datagrams.
    pub fn segments(&self) -> usize {
        self.segments
    }

    /// Length of every datagram but perhaps the last, in bytes.
    pub fn segment_len(&self) -> usize {
        self.segment_len
    }

    /// All bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The destination; `None` while empty.
    pub fn destination(&self) -> Option<Destination> {
        self.destination
    }

    /// Names the socket anew: a machine that holds others has its own names for what they share.
    pub(crate) fn set_socket(&mut self, socket: SocketId) {
        if let Some(destination) = &mut self.destination {
            destination.path.socket = socket;
        }
    }

    /// The datagrams one by one.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.bytes.chunks(self.segment_len.max(1))
    }

    /// Whether a datagram of up to `len_max` bytes for `destination` can still join.
    pub fn has_room(&self, destination: Destination, len_max: usize) -> bool {
        match self.destination {
            None => true,
            Some(current) => {
                current == destination
                    && !self.closed
                    && self.segments < BATCH_SEGMENTS_MAX
                    && self.bytes.len() + len_max <= BATCH_LEN_MAX
            }
        }
    }

    /// Appends what `write` adds to the end of the buffer as one datagram.
    ///
    /// Answers whether it joined. A datagram longer than those before it cannot share the batch:
    /// it is handed back in `spill` for the next one. Writing nothing adds nothing.
    pub fn push(
        &mut self,
        destination: Destination,
        spill: &mut Vec<u8>,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> bool {
        let write = |out: &mut Vec<u8>| {
            write(out);
            destination.dscp
        };
        self.push_marked(destination, spill, write).is_none()
    }

    /// The same of a datagram whose codepoint is known once it is written. A datagram of another one
    /// than those before it cannot share the batch either. Answers where the datagram in `spill`
    /// goes, if it did not join.
    pub fn push_marked(
        &mut self,
        destination: Destination,
        spill: &mut Vec<u8>,
        write: impl FnOnce(&mut Vec<u8>) -> Dscp,
    ) -> Option<Destination> {
        let start = self.bytes.len();
        let dscp = write(&mut self.bytes);
        let destination = Destination {
            dscp,
            ..destination
        };
        let len = self.bytes.len().saturating_sub(start);
        if len == 0 {
            return None;
        }
        let differs = self.destination.is_some_and(|own| own.dscp != dscp);
        if self.segments > 0 && (len > self.segment_len || self.closed || differs) {
            spill.clear();
            spill.extend_from_slice(&self.bytes[start..]);
            self.bytes.truncate(start);
            return Some(destination);
        }
        debug_assert!(self.destination.is_none_or(|own| own == destination));
        if self.segments == 0 {
            self.segment_len = len;
        }
        self.closed = len < self.segment_len;
        self.segments += 1;
        self.destination = Some(destination);
        None
    }
}
