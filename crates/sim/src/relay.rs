//! The TURN server in the middle of the world.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use twocan_proto::contract::{Batch, Datagram, Ecn, Output, Path, SocketId};
use twocan_proto::random::Random;
use twocan_proto::time::{Deadline, Now};
use twocan_proto::turn::server::{
    AddressPolicy, Config, Event, Quotas, RelayAddress, Server, StreamId,
};

/// Its one listener.
const LISTENER: SocketId = SocketId(0);

/// What it sends.
pub(crate) enum Sent {
    /// From, to, mark, bytes.
    Datagram(SocketAddr, SocketAddr, Ecn, Vec<u8>),
    /// On a stream.
    Stream(StreamId, Vec<u8>),
    /// The end of one.
    Closed(StreamId),
}

/// A TURN server with an address of each family that it has, and no delay of its own.
pub(crate) struct Relay {
    addresses: Vec<SocketAddr>,
    server: Server,
    sockets: BTreeMap<SocketId, SocketAddr>,
    deadline: Option<Deadline>,
    batch: Batch,
}

impl Relay {
    /// A server for one user. Its peers may have addresses of documentation, which are what the
    /// world's sites have.
    pub(crate) fn new(
        now: Now,
        addresses: Vec<SocketAddr>,
        (user, password): (&str, &str),
        quotas: Quotas,
        random: Random,
    ) -> Self {
        let relays = addresses.iter().map(|address| RelayAddress {
            bind: address.ip(),
            external: address.ip(),
        });
        let allow = ["198.51.100.0/24".parse(), "2001:db8::/32".parse()];
        let allow = allow.into_iter().flatten();
        let config = Config {
            users: vec![(user.to_owned(), password.to_owned())],
            relays: relays.collect(),
            quotas,
            policy: AddressPolicy {
                allow: allow.collect(),
                ..AddressPolicy::default()
            },
            ..Config::default()
        };
        Self {
            addresses,
            server: Server::new(&config, random, now),
            sockets: BTreeMap::new(),
            deadline: None,
            batch: Batch::new(),
        }
    }

    /// When it has something to do by itself.
    pub(crate) fn deadline(&self) -> Option<Deadline> {
        self.deadline
    }

    /// The server itself, to look at.
    pub(crate) fn server(&self) -> &Server {
        &self.server
    }

    /// Whether a datagram to `to` is for it.
    pub(crate) fn has(&self, to: SocketAddr) -> bool {
        self.addresses.iter().any(|own| own.ip() == to.ip())
    }

    /// Whether it takes streams there: also at the port of the web, which passes where others do not.
    pub(crate) fn listens(&self, to: SocketAddr) -> bool {
        self.has(to) && matches!(to.port(), 3478 | 443)
    }

    /// Takes a datagram, and answers what it then sends.
    pub(crate) fn handle(
        &mut self,
        now: Now,
        from: SocketAddr,
        to: SocketAddr,
        ecn: Ecn,
        bytes: &mut [u8],
    ) -> Vec<Sent> {
        let relayed = self.sockets.iter().find(|(_, local)| **local == to);
        let socket = match relayed {
            Some((socket, _)) => *socket,
            None if self.addresses.contains(&to) => LISTENER,
            None => return Vec::new(),
        };
        let datagram = Datagram {
            path: Path { socket, local: to },
            remote: from,
            ecn,
            waited: Duration::ZERO,
            bytes,
        };
        self.server.handle_datagram(now, datagram);
        self.settle(now)
    }

    /// A stream is connected, from this address to this one.
    pub(crate) fn connected(
        &mut self,
        now: Now,
        stream: StreamId,
        from: SocketAddr,
        to: SocketAddr,
    ) -> Vec<Sent> {
        let path = Path {
            socket: LISTENER,
            local: to,
        };
        self.server.handle_stream_connected(now, stream, path, from);
        self.settle(now)
    }

    /// Bytes arrived on a stream.
    pub(crate) fn received(&mut self, now: Now, stream: StreamId, bytes: &[u8]) -> Vec<Sent> {
        self.server.handle_stream_bytes(now, stream, bytes);
        self.settle(now)
    }

    /// A stream has ended.
    pub(crate) fn closed(&mut self, now: Now, stream: StreamId) -> Vec<Sent> {
        self.server.handle_stream_closed(now, stream);
        self.settle(now)
    }

    /// Its deadline has come.
    pub(crate) fn wake(&mut self, now: Now) -> Vec<Sent> {
        self.server.handle_timeout(now);
        self.settle(now)
    }

    fn settle(&mut self, now: Now) -> Vec<Sent> {
        let mut sent = Vec::new();
        loop {
            self.batch.clear();
            match self.server.poll_output(&mut self.batch) {
                Output::Transmit => {
                    if let Some(destination) = self.batch.destination() {
                        let (from, to) = (destination.path.local, destination.remote);
                        let datagrams = self.batch.iter().map(<[u8]>::to_vec);
                        let ecn = destination.ecn;
                        sent.extend(datagrams.map(|bytes| Sent::Datagram(from, to, ecn, bytes)));
                    }
                }
                Output::Event(Event::Bind { socket, address }) => {
                    self.sockets.insert(socket, address);
                    self.server.handle_bound(now, socket, address, true);
                }
                // No client here asks for an allocation for TCP.
                Output::Event(Event::Listen { socket, address }) => {
                    self.server.handle_bound(now, socket, address, false);
                }
                Output::Event(Event::Connect { connection, .. }) => {
                    self.server.handle_connected(now, connection, None);
                }
                // The server is in one part.
                Output::Event(
                    Event::Abandon { .. }
                    | Event::Hold { .. }
                    | Event::Read { .. }
                    | Event::PassOn { .. },
                )
                | Output::Request(_) => {}
                Output::Event(Event::Close { socket }) => {
                    self.sockets.remove(&socket);
                }
                Output::Event(Event::Send { stream, bytes }) => {
                    sent.push(Sent::Stream(stream, bytes));
                }
                Output::Event(Event::Disconnect { stream }) => sent.push(Sent::Closed(stream)),
                Output::Wait(deadline) => {
                    self.deadline = deadline;
                    return sent;
                }
            }
        }
    }
}
