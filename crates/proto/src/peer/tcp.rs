//! ICE over TCP (RFC 6544): sockets that listen, streams that either side opens, and the frames on
//! them (RFC 4571).
//!
//! To ICE, DTLS and SRTP a stream is a path like any other, with one remote address. What is to be
//! sent on it finds room in its queue or is dropped, as by a network.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use twocan_wire::demux::{Protocol, classify};
use twocan_wire::framing::{self, HEADER_LEN};

use super::machine::Peer;
use super::outlet::Outlet;
use super::transport::Transport;
use super::{IceTransportPolicy, IceTransports};
use crate::contract::{Datagram, Ecn, Path, Request, Security, SocketId, StreamEvent};
use crate::ice::{Route, TcpType};
use crate::time::{Deadline, Now};

/// Local addresses with a TCP candidate, the first ones: a machine with more has them for bridges.
const LISTENERS_MAX: usize = 4;

/// Streams that were accepted, at a time. For one more, the oldest that has proved nothing makes
/// way; where all have, it is refused.
const ACCEPTED_MAX: usize = 16;

/// In this time a stream that was accepted must bring a check that knows our password.
const PROOF_WITHIN: Duration = Duration::from_secs(10);

/// Longest frame before that, in bytes: more than any check has.
const UNPROVEN_LEN_MAX: usize = 2048;

/// What an active candidate has for a port (RFC 6544 §4.5): discard.
const ACTIVE_PORT: u16 = 9;

/// A local address with TCP candidates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Listener {
    id: SocketId,
    ip: IpAddr,
    /// Once it listens.
    local: Option<SocketAddr>,
    /// Names the active candidate, and no socket.
    active: SocketId,
    /// It listens, or cannot.
    is_settled: bool,
}

impl Listener {
    fn passive_path(&self) -> Option<Path> {
        let socket = self.id;
        self.local.map(|local| Path { socket, local })
    }

    fn active_path(&self) -> Path {
        Path {
            socket: self.active,
            local: SocketAddr::new(self.ip, ACTIVE_PORT),
        }
    }
}

/// Who wanted a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// We, for a pair.
    Opened(Route),
    /// The other end, which proves itself until then.
    Accepted(Instant),
}

#[derive(Debug)]
struct Stream {
    socket: SocketId,
    origin: Origin,
    /// Our end, once it is open.
    local: Option<SocketAddr>,
    remote: SocketAddr,
    is_proven: bool,
    /// The beginning of a frame, of which the rest has not arrived.
    partial: Vec<u8>,
}

impl Stream {
    fn route(&self) -> Option<Route> {
        let (socket, remote) = (self.socket, self.remote);
        self.local.map(|local| Route {
            path: Path { socket, local },
            remote,
        })
    }

    /// When it must have proved itself.
    fn due_at(&self) -> Option<Instant> {
        match self.origin {
            Origin::Accepted(until) if !self.is_proven => Some(until),
            Origin::Accepted(_) | Origin::Opened(_) => None,
        }
    }

    fn len_max(&self) -> usize {
        let len = if self.is_proven {
            usize::from(u16::MAX)
        } else {
            UNPROVEN_LEN_MAX
        };
        len.saturating_add(HEADER_LEN)
    }
}

/// The streams of ICE.
#[derive(Debug, Default)]
pub(super) struct Streams {
    streams: Vec<Stream>,
    /// To be closed by the driver.
    closing: Vec<SocketId>,
}

impl Streams {
    /// The way out for a route that no relay has.
    pub(super) fn outlet(&self, route: Route) -> Outlet {
        let mut streams = self.streams.iter();
        if streams.any(|own| own.socket == route.path.socket) {
            Outlet::framed(route)
        } else {
            Outlet::direct(route)
        }
    }

    pub(super) fn deadline(&self) -> Option<Deadline> {
        let due = self.streams.iter().filter_map(Stream::due_at).min();
        due.map(|at| Deadline::new(at, "peer.tcp_proof"))
    }

    fn find(&mut self, socket: SocketId) -> Option<&mut Stream> {
        self.streams.iter_mut().find(|own| own.socket == socket)
    }

    fn take(&mut self, socket: SocketId) -> Option<Stream> {
        let index = self.streams.iter().position(|own| own.socket == socket)?;
        Some(self.streams.remove(index))
    }

    /// The accepted stream to end for a new one: the oldest of those that have not proved
    /// themselves, from the host that has the most of them; where all have, the oldest that is not
    /// `used`, since a peer that came back left it behind.
    fn least_useful(&self, used: Option<SocketId>) -> Option<SocketId> {
        let accepted = |own: &&Stream| matches!(own.origin, Origin::Accepted(_));
        let unproven = || self.streams.iter().filter(|own| own.due_at().is_some());
        let of = |ip| unproven().filter(|own| own.remote.ip() == ip).count();
        let most = unproven().map(|own| of(own.remote.ip())).max();
        let mut crowd = unproven().filter(|own| Some(of(own.remote.ip())) == most);
        let mut left = self.streams.iter().filter(accepted);
        let left = || left.find(|own| Some(own.socket) != used);
        crowd.next().or_else(left).map(|own| own.socket)
    }

    fn count_accepted(&self) -> usize {
        let accepted = |own: &&Stream| matches!(own.origin, Origin::Accepted(_));
        self.streams.iter().filter(accepted).count()
    }
}

impl Transport {
    /// Ends the streams that have not proved themselves in time.
    pub(super) fn tcp_timeout(&mut self, now: Instant) {
        let streams = self.tcp.streams.iter();
        let late = streams.filter(|own| own.due_at().is_some_and(|due| due <= now));
        for socket in late.map(|own| own.socket).collect::<Vec<_>>() {
            self.end_tcp(now, socket, "peer.tcp_silent");
        }
    }

    /// Something happened to a stream of ICE's; answers whether anything but data came of it.
    pub(super) fn handle_tcp(
        &mut self,
        now: Now,
        socket: SocketId,
        event: StreamEvent<'_>,
    ) -> bool {
        match event {
            StreamEvent::Connected { local } => {
                let Some(stream) = self.tcp.find(socket) else {
                    return false;
                };
                stream.local = Some(local);
                if let Origin::Opened(wanted) = stream.origin {
                    let path = Path { socket, local };
                    self.ice.stream_opened(now.monotonic, wanted, path);
                }
                true
            }
            StreamEvent::Bytes(_) if self.is_closed() => false,
            StreamEvent::Bytes(bytes) => self.take_tcp(now, socket, bytes),
            StreamEvent::Closed => {
                let Some(stream) = self.tcp.take(socket) else {
                    return false;
                };
                self.tell_ended(now.monotonic, &stream);
                true
            }
        }
    }

    fn tell_ended(&mut self, now: Instant, stream: &Stream) {
        match (stream.route(), stream.origin) {
            (Some(route), _) => self.ice.stream_closed(now, route.path),
            (None, Origin::Opened(wanted)) => self.ice.stream_failed(now, wanted),
            (None, Origin::Accepted(_)) => {}
        }
    }

    /// Ends a stream from our side.
    fn end_tcp(&mut self, now: Instant, socket: SocketId, reason: &'static str) {
        if let Some(stream) = self.tcp.take(socket) {
            self.counters.count(reason);
            self.tcp.closing.push(socket);
            self.tell_ended(now, &stream);
        }
    }

    /// Takes whole frames where they lie; the rest waits for what is to come.
    fn take_tcp(&mut self, now: Now, socket: SocketId, mut bytes: &mut [u8]) -> bool {
        let mut news = false;
        while !bytes.is_empty() {
            let Some(stream) = self.tcp.find(socket) else {
                // One of the frames has ended it.
                return true;
            };
            let len_max = stream.len_max();
            let is_between = stream.partial.is_empty();
            if is_between && framing::frame_len(bytes).is_some_and(|len| len <= bytes.len()) {
                let Some((frame, rest)) = framing::split(bytes) else {
                    return news;
                };
                bytes = rest;
                news |= self.take_frame_of_tcp(now, socket, len_max, frame);
                continue;
            }
            let wanted = framing::frame_len(&stream.partial).unwrap_or(HEADER_LEN);
            let missing = wanted.saturating_sub(stream.partial.len());
            let (head, rest) = bytes.split_at_mut(missing.min(bytes.len()));
            stream.partial.extend_from_slice(head);
            bytes = rest;
            match framing::frame_len(&stream.partial) {
                Some(len) if len > len_max => {
                    self.end_tcp(now.monotonic, socket, "peer.tcp_frame_too_long");
                    return true;
                }
                Some(len) if len == stream.partial.len() => {
                    let mut frame = std::mem::take(&mut stream.partial);
                    let frame = frame.get_mut(HEADER_LEN..).unwrap_or_default();
                    news |= self.take_frame_of_tcp(now, socket, len_max, frame);
                }
                _ => {}
            }
        }
        news
    }

    fn take_frame_of_tcp(
        &mut self,
        now: Now,
        socket: SocketId,
        len_max: usize,
        bytes: &mut [u8],
    ) -> bool {
        let Some(stream) = self.tcp.find(socket) else {
            return true;
        };
        let Some(route) = stream.route().filter(|_| !bytes.is_empty()) else {
            return false;
        };
        let must_prove = stream.due_at().is_some();
        let is_unproven = !stream.is_proven;
        if bytes.len().saturating_add(HEADER_LEN) > len_max {
            self.end_tcp(now.monotonic, socket, "peer.tcp_frame_too_long");
            return true;
        }
        if must_prove && classify(bytes) != Some(Protocol::Stun) {
            self.end_tcp(now.monotonic, socket, "peer.tcp_without_check");
            return true;
        }
        let Route { path, remote } = route;
        let ecn = Ecn::NotEct;
        let news = self.take_datagram(
            now,
            Datagram {
                path,
                remote,
                ecn,
                waited: Duration::ZERO,
                bytes,
            },
        );
        if is_unproven && self.ice.is_proven(route) {
            if let Some(stream) = self.tcp.find(socket) {
                stream.is_proven = true;
            }
        } else if must_prove {
            self.end_tcp(now.monotonic, socket, "peer.tcp_without_check");
            return true;
        }
        news
    }
}

impl Peer {
    /// The socket `listener` ([`Request::Listen`]) has accepted a stream from `remote`. Answers the
    /// name that it is to have, or `None` where it is not wanted and to be closed at once.
    pub fn handle_accepted(
        &mut self,
        now: Now,
        listener: SocketId,
        local: SocketAddr,
        remote: SocketAddr,
    ) -> Option<SocketId> {
        let mut listeners = self.listeners.iter();
        let path = listeners.find(|own| own.id == listener)?.passive_path()?;
        if self.is_closed() {
            return None;
        }
        if self.transport.tcp.count_accepted() >= ACCEPTED_MAX {
            let used = self.transport.ice.route().map(|route| route.path.socket);
            let Some(spared) = self.transport.tcp.least_useful(used) else {
                self.counters.count("peer.too_many_tcp_streams");
                return None;
            };
            let reason = "peer.too_many_tcp_streams";
            self.transport.end_tcp(now.monotonic, spared, reason);
        }
        let socket = self.next_socket();
        self.streams.push(socket);
        let stream = Stream {
            socket,
            origin: Origin::Accepted(now.monotonic + PROOF_WITHIN),
            local: Some(local),
            remote,
            is_proven: false,
            partial: Vec::new(),
        };
        if let Some(route) = stream.route() {
            self.transport.ice.stream_accepted(path, route);
        }
        self.transport.tcp.streams.push(stream);
        self.settle(now);
        Some(socket)
    }

    /// Listens on the addresses that have no TCP candidates yet.
    pub(super) fn bind_listeners(&mut self) {
        let is_wanted = self.ice_transports != IceTransports::Udp
            && self.ice_transport_policy != IceTransportPolicy::Relay;
        for ip in self.interfaces.clone() {
            let known = self.listeners.iter().any(|own| own.ip == ip);
            if known || !is_wanted || self.listeners.len() >= LISTENERS_MAX {
                continue;
            }
            let (id, active) = (self.next_socket(), self.next_socket());
            self.listeners.push(Listener {
                id,
                ip,
                local: None,
                active,
                is_settled: false,
            });
            self.requests.push_back(Request::Listen { socket: id, ip });
        }
    }

    /// Whether a socket that is to listen does not yet.
    pub(super) fn is_binding_listeners(&self) -> bool {
        self.listeners.iter().any(|own| !own.is_settled)
    }

    /// A socket listens, or cannot: then streams are opened from its address all the same.
    pub(super) fn listener_bound(&mut self, now: Now, id: SocketId, local: Option<SocketAddr>) {
        let Some(listener) = self.listeners.iter_mut().find(|own| own.id == id) else {
            return;
        };
        listener.local = local;
        listener.is_settled = true;
        let (passive, active) = (listener.passive_path(), listener.active_path());
        let ice = &mut self.transport.ice;
        if let Some(passive) = passive {
            ice.add_tcp_base(now.monotonic, passive, TcpType::Passive);
        }
        ice.add_tcp_base(now.monotonic, active, TcpType::Active);
        self.note_bases(now);
        self.settle(now);
    }

    /// An address is gone, with its socket and streams.
    pub(super) fn remove_listener(&mut self, now: Now, ip: IpAddr) {
        let streams = self.transport.tcp.streams.iter();
        let is_gone = |own: &&Stream| match (own.local, own.origin) {
            (Some(local), _) => local.ip() == ip,
            (None, Origin::Opened(wanted)) => wanted.path.local.ip() == ip,
            (None, Origin::Accepted(_)) => false,
        };
        let gone: Vec<SocketId> = streams.filter(is_gone).map(|own| own.socket).collect();
        for socket in gone {
            let reason = "peer.tcp_address_gone";
            self.transport.end_tcp(now.monotonic, socket, reason);
        }
        let listeners = std::mem::take(&mut self.listeners);
        for listener in listeners {
            if listener.ip != ip {
                self.listeners.push(listener);
                continue;
            }
            let ice = &mut self.transport.ice;
            if let Some(passive) = listener.passive_path() {
                ice.remove_base(now.monotonic, passive);
            }
            ice.remove_base(now.monotonic, listener.active_path());
            let socket = listener.id;
            self.requests.push_back(Request::Close { socket });
        }
    }

    /// Opens the stream that a pair wants.
    pub(super) fn open_tcp(&mut self, wanted: Route) {
        if self.is_closed() {
            return;
        }
        let socket = self.next_socket();
        let remote = wanted.remote;
        self.streams.push(socket);
        self.transport.tcp.streams.push(Stream {
            socket,
            origin: Origin::Opened(wanted),
            local: None,
            remote,
            is_proven: false,
            partial: Vec::new(),
        });
        self.requests.push_back(Request::Open {
            socket,
            local: wanted.path.local.ip(),
            remote,
            security: Security::Tcp,
        });
    }

    /// ICE has no more use for a stream.
    pub(super) fn close_tcp(&mut self, path: Path) {
        if let Some(stream) = self.transport.tcp.take(path.socket) {
            self.transport.tcp.closing.push(stream.socket);
        }
    }

    /// Has the driver close what is over.
    pub(super) fn settle_tcp(&mut self) {
        for socket in std::mem::take(&mut self.transport.tcp.closing) {
            self.streams.retain(|own| *own != socket);
            self.requests.push_back(Request::Close { socket });
        }
    }

    /// The sockets that listen; at the end, to be closed.
    pub(super) fn take_listeners(&mut self) -> impl Iterator<Item = SocketId> + use<> {
        std::mem::take(&mut self.listeners)
            .into_iter()
            .map(|own| own.id)
    }
}
