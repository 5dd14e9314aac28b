//! The TURN server: two clients with credentials, one on a stream, and a stranger.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use twocan_proto::contract::{Batch, Datagram, Ecn, Output, Path, SocketId};
use twocan_proto::random::Random;
use twocan_proto::time::Now;
use twocan_proto::turn::LongTermKey;
use twocan_proto::turn::server::{
    Config, Event, LISTENERS_MAX, Quotas, RelayAddress, Server, StreamId,
};
use twocan_wire::stun::{Attribute, Builder, ChannelNumber, Class, Message, Method, TransactionId};
use twocan_wire::turn::channel_data_header;

use super::{OPERATIONS_MAX, begin, step};
use crate::Script;

const STREAM: StreamId = StreamId(1);

/// Who never shows a credential.
const STRANGER: usize = 2;

/// The client on a stream.
const STREAMING: usize = 3;

/// The relays' own addresses, at which nothing but a relayed port may be reached.
const RELAYS: [&str; 2] = ["198.51.100.1", "2001:db8::1"];

/// Where datagrams of the server may go by its sockets.
const PUBLIC: [&str; 3] = [
    "203.0.113.9:7000",
    "203.0.113.9:7001",
    "[2001:db8:9::1]:7000",
];

/// Where they may not.
const REFUSED: [&str; 5] = [
    "127.0.0.1:53",
    "10.0.0.1:80",
    "[::1]:53",
    "[::ffff:127.0.0.1]:53",
    "[64:ff9b::a00:1]:80",
];

struct World {
    server: Server,
    now: Now,
    nonces: [String; 4],
    relayed: Vec<SocketAddr>,
    sent_to_stranger: usize,
    sockets: Vec<SocketId>,
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn client(index: usize) -> SocketAddr {
    address(["192.0.2.1:1", "192.0.2.2:2", "192.0.2.3:3", "192.0.2.4:4"][index])
}

/// Requests, data and time, in any order; nothing but the public is reached, and the stranger gets
/// three times what it sends at most.
pub fn turn_server(data: &[u8]) {
    let relay = |ip: &str| {
        let ip: IpAddr = ip.parse().unwrap();
        RelayAddress {
            bind: ip,
            external: ip,
        }
    };
    let config = Config {
        users: vec![("u".to_owned(), "p".to_owned())],
        relays: RELAYS.map(relay).to_vec(),
        ports: 50_000..=50_003,
        quotas: Quotas {
            total: 3,
            bytes_per_second: 100_000,
            ..Quotas::default()
        },
        ..Config::default()
    };
    let mut world = World {
        server: Server::new(config, Random::new([5; 32]), begin()),
        now: begin(),
        nonces: Default::default(),
        relayed: Vec::new(),
        sent_to_stranger: 0,
        sockets: Vec::new(),
    };
    let mut script = Script::new(data);
    for _ in 0..OPERATIONS_MAX {
        if world.operate(&mut script).is_none() {
            return;
        }
        assert!(world.server.allocation_count() <= 3);
    }
}

impl World {
    fn operate(&mut self, script: &mut Script<'_>) -> Option<()> {
        let byte = script.byte()?;
        let from = usize::from(byte >> 4 & 3);
        match byte & 0x0f {
            0 => self.say(from, script.piece()?),
            1 => {
                let method = Method::new(u16::from(script.byte()?));
                let mut attributes = Vec::new();
                for _ in 0..script.byte()? % 6 {
                    let (kind, value) = (script.short()?, script.piece()?);
                    attributes.push(Attribute::Unknown { kind, value });
                }
                self.ask(from, method, &attributes);
            }
            2 => {
                let number = ChannelNumber::new(script.short()?)?;
                let data = script.piece()?;
                let mut bytes = channel_data_header(number, data.len() as u16).to_vec();
                bytes.extend_from_slice(data);
                script.mutate(&mut bytes)?;
                self.say(from, &bytes);
            }
            3 => {
                let (peer, data) = (self.peer(script)?, script.piece()?);
                let attributes = [Attribute::XorPeerAddress(peer), Attribute::Data(data)];
                let bytes = plain(Class::Indication, Method::SEND, &attributes);
                self.say(from, &bytes);
            }
            4 => {
                let socket = SocketId(LISTENERS_MAX + u32::from(script.byte()?));
                let (peer, data) = (self.peer(script)?, script.piece()?);
                self.datagram(socket, peer, data);
            }
            5 => {
                self.now = self.now.at(self.now.monotonic + step(script.byte()?));
                self.server.handle_timeout(self.now);
            }
            6 => {
                let path = path(SocketId(1));
                let remote = client(STREAMING);
                self.server
                    .handle_stream_connected(self.now, STREAM, path, remote);
            }
            7 => self.server.handle_stream_closed(STREAM),
            8 => {
                let family = script.byte()?;
                let udp = Attribute::RequestedTransport(17);
                let even = Attribute::EvenPort {
                    reserve_next: family & 4 != 0,
                };
                let v6 = twocan_wire::stun::AddressFamily::IPV6;
                let attributes = match family & 3 {
                    0 => vec![udp],
                    1 => vec![udp, Attribute::RequestedAddressFamily(v6)],
                    2 => vec![udp, Attribute::AdditionalAddressFamily(v6)],
                    _ => vec![udp, even],
                };
                self.ask(from, Method::ALLOCATE, &attributes);
            }
            9 => {
                let peer = Attribute::XorPeerAddress(self.peer(script)?);
                self.ask(from, Method::CREATE_PERMISSION, &[peer]);
            }
            10 => {
                let number = ChannelNumber::new(script.short()? & 0x3fff | 0x4000)?;
                let peer = Attribute::XorPeerAddress(self.peer(script)?);
                self.ask(
                    from,
                    Method::CHANNEL_BIND,
                    &[Attribute::ChannelNumber(number), peer],
                );
            }
            11 => {
                let lifetime = Attribute::Lifetime(u32::from(script.short()?));
                self.ask(from, Method::REFRESH, &[lifetime]);
            }
            _ => {
                let bytes = plain(Class::Request, Method::BINDING, &[]);
                self.say(from, &bytes);
            }
        }
        self.drain();
        Some(())
    }

    /// One of the public, the refused, and what has been relayed.
    fn peer(&self, script: &mut Script<'_>) -> Option<SocketAddr> {
        let byte = usize::from(script.byte()?);
        let (kind, place) = (byte % 3, byte / 3);
        Some(match kind {
            0 => address(PUBLIC[place % PUBLIC.len()]),
            1 => address(REFUSED[place % REFUSED.len()]),
            _ => match self.relayed.get(place % self.relayed.len().max(1)) {
                Some(relayed) => *relayed,
                None => address("198.51.100.1:3478"),
            },
        })
    }

    /// A signed request, or one without a credential where there is no nonce yet.
    fn ask(&mut self, from: usize, method: Method, attributes: &[Attribute<'_>]) {
        if from == STRANGER || self.nonces[from].is_empty() {
            let bytes = plain(Class::Request, method, attributes);
            return self.say(from, &bytes);
        }
        let mut bytes = Vec::new();
        let id = TransactionId([from as u8; 12]);
        let mut builder = Builder::new(&mut bytes, Class::Request, method, id);
        for attribute in attributes {
            builder.attribute(*attribute);
        }
        builder.attribute(Attribute::Username("u"));
        builder.attribute(Attribute::Realm("twocan"));
        builder.attribute(Attribute::Nonce(&self.nonces[from]));
        LongTermKey::md5("u", "twocan", "p").finish(builder);
        self.say(from, &bytes);
    }

    fn say(&mut self, from: usize, bytes: &[u8]) {
        if from == STREAMING {
            self.server.handle_stream_bytes(self.now, STREAM, bytes);
            return;
        }
        self.drain();
        self.sent_to_stranger = 0;
        self.datagram(SocketId(0), client(from), bytes);
        self.drain();
        if from == STRANGER {
            assert!(self.sent_to_stranger <= 3 * (bytes.len() + 28));
        }
    }

    fn datagram(&mut self, socket: SocketId, remote: SocketAddr, bytes: &[u8]) {
        let datagram = Datagram {
            path: path(socket),
            remote,
            ecn: Ecn::NotEct,
            waited: Duration::ZERO,
            bytes: &mut bytes.to_vec(),
        };
        self.server.handle_datagram(self.now, datagram);
    }

    fn drain(&mut self) {
        let mut batch = Batch::new();
        loop {
            batch.clear();
            match self.server.poll_output(&mut batch) {
                Output::Transmit => {
                    let to = batch.destination().unwrap();
                    for bytes in batch.iter() {
                        self.arrived(to.path.socket, to.remote, bytes);
                    }
                }
                Output::Event(Event::Bind { socket, address }) => {
                    assert!(!self.sockets.contains(&socket), "bound twice");
                    self.sockets.push(socket);
                    // Every fourth port is somebody else's.
                    let bound = address.port() % 4 != 3;
                    if !bound {
                        self.sockets.retain(|known| *known != socket);
                    }
                    self.server.handle_bound(self.now, socket, address, bound);
                }
                Output::Event(Event::Close { socket }) => {
                    self.sockets.retain(|known| *known != socket);
                }
                Output::Event(Event::Send { stream, bytes }) => {
                    assert_eq!(stream, STREAM);
                    self.learn(STREAMING, &bytes);
                }
                Output::Event(Event::Disconnect { .. }) | Output::Request(_) => {}
                Output::Wait(_) => return,
            }
        }
    }

    fn arrived(&mut self, socket: SocketId, to: SocketAddr, bytes: &[u8]) {
        if socket.0 >= LISTENERS_MAX {
            assert!(self.sockets.contains(&socket), "sent without a socket");
            assert!(PUBLIC.contains(&to.to_string().as_str()), "relayed to {to}");
            return;
        }
        let index = (0..STREAMING).find(|index| client(*index) == to);
        let index = index.expect("an answer to nobody");
        if index == STRANGER {
            self.sent_to_stranger += bytes.len() + 28;
        }
        self.learn(index, bytes);
    }

    /// Remembers a nonce and a relayed address.
    fn learn(&mut self, index: usize, bytes: &[u8]) {
        let Ok(message) = Message::parse(bytes) else {
            return;
        };
        for attribute in message.attributes() {
            match attribute {
                Attribute::Nonce(nonce) => nonce.clone_into(&mut self.nonces[index]),
                Attribute::XorRelayedAddress(relayed) if self.relayed.len() < 8 => {
                    self.relayed.push(relayed);
                }
                _ => {}
            }
        }
    }
}

fn path(socket: SocketId) -> Path {
    let local = address("198.51.100.1:3478");
    Path { socket, local }
}

fn plain(class: Class, method: Method, attributes: &[Attribute<'_>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut builder = Builder::new(&mut bytes, class, method, TransactionId([9; 12]));
    for attribute in attributes {
        builder.attribute(*attribute);
    }
    builder.finish_bare();
    bytes
}
