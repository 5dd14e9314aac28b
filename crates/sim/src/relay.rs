//! The TURN server in the middle of the world.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use twocan_proto::contract::{Batch, Datagram, Ecn, Output, Path, SocketId};
use twocan_proto::random::Random;
use twocan_proto::time::{Deadline, Now};
use twocan_proto::turn::server::{AddressPolicy, Config, Event, RelayAddress, Server};

/// Its one listener.
const LISTENER: SocketId = SocketId(0);

/// A datagram that it sends: from, to, mark, bytes.
pub(crate) type Sent = (SocketAddr, SocketAddr, Ecn, Vec<u8>);

/// A TURN server at one address, which has no delay of its own.
pub(crate) struct Relay {
    address: SocketAddr,
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
        address: SocketAddr,
        (user, password): (&str, &str),
        random: Random,
    ) -> Self {
        let ip = address.ip();
        let relay = RelayAddress {
            bind: ip,
            external: ip,
        };
        let allow = ["198.51.100.0/24".parse()].into_iter().flatten();
        let config = Config {
            users: vec![(user.to_owned(), password.to_owned())],
            relays: vec![relay],
            policy: AddressPolicy {
                allow: allow.collect(),
                ..AddressPolicy::default()
            },
            ..Config::default()
        };
        Self {
            address,
            server: Server::new(config, random, now),
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
        to.ip() == self.address.ip()
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
            None if to == self.address => LISTENER,
            None => return Vec::new(),
        };
        let datagram = Datagram {
            path: Path { socket, local: to },
            remote: from,
            ecn,
            bytes,
        };
        self.server.handle_datagram(now, datagram);
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
                        sent.extend(datagrams.map(|bytes| (from, to, destination.ecn, bytes)));
                    }
                }
                Output::Event(Event::Bind { socket, address }) => {
                    self.sockets.insert(socket, address);
                    self.server.handle_bound(now, socket, address, true);
                }
                Output::Event(Event::Close { socket }) => {
                    self.sockets.remove(&socket);
                }
                // No streams lead here.
                Output::Event(Event::Send { .. } | Event::Disconnect { .. })
                | Output::Request(_) => {}
                Output::Wait(deadline) => {
                    self.deadline = deadline;
                    return sent;
                }
            }
        }
    }
}
