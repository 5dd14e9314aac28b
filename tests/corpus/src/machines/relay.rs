//! The TURN server: two clients with credentials, one on streams, and a stranger.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use twocan_proto::contract::{Batch, Datagram, Ecn, Output, Path, SocketId};
use twocan_proto::random::Random;
use twocan_proto::time::Now;
use twocan_proto::turn::LongTermKey;
use twocan_proto::turn::server::{
    CHUNK_LEN, CONNECTIONS_MAX, Config, ConnectionId, EARLY_LEN_MAX, Event, LISTENERS_MAX,
    MEDIA_SOCKET, MediaAddress, Quotas, RelayAddress, Server, StreamId,
};
use twocan_wire::stun::{
    Attribute, Builder, ChannelNumber, Class, Icmp, Message, Method, TransactionId,
};
use twocan_wire::turn::channel_data_header;

use super::{OPERATIONS_MAX, begin, step};
use crate::Script;

/// Clients' streams: the first is that on which one allocates, on the others it carries connections
/// with peers.
const LINES: usize = 4;

/// Streams of peers have higher numbers.
const PEERS: u64 = 1 << 32;

/// Allocations at a time.
const ALLOCATIONS: usize = 3;

/// Who never shows a credential.
const STRANGER: usize = 2;

/// The client on a stream.
const STREAMING: usize = 3;

/// The last of its other streams, as a client, which has an allocation as well.
const SECOND: usize = 6;

/// The relays' own addresses, at which nothing but a relayed port may be reached.
const RELAYS: [&str; 2] = ["198.51.100.1", "2001:db8::1"];

/// Where datagrams of the server may go by its sockets.
const PUBLIC: [&str; 3] = [
    "203.0.113.9:7000",
    "203.0.113.9:7001",
    "[2001:db8:9::1]:7000",
];

/// Where they may not.
const REFUSED: [&str; 6] = [
    "127.0.0.1:53",
    "10.0.0.1:80",
    "[::1]:53",
    "[::ffff:127.0.0.1]:53",
    "[64:ff9b::a00:1]:80",
    MEDIA,
];

/// But for this one, where the server takes media at times.
const MEDIA: &str = "10.0.0.1:4000";

struct World {
    server: Server,
    now: Now,
    nonces: [String; 7],
    relayed: Vec<SocketAddr>,
    sent_to_stranger: usize,
    sockets: Vec<SocketId>,
    listeners: BTreeMap<SocketId, SocketAddr>,
    /// Connections that are to be opened.
    opening: Vec<ConnectionId>,
    /// Names of connections that clients have been told.
    named: Vec<u32>,
    tickets: Vec<Vec<u8>>,
    /// The streams that are open, and of those that carry connections what is to be read and what is
    /// still to be written.
    streams: BTreeMap<StreamId, Carried>,
    /// The streams that clients have opened last. None has a name that another had.
    lines: [StreamId; LINES],
    next_line: u64,
    next_peer: u64,
    takes_media: bool,
}

#[derive(Default)]
struct Carried {
    carries: bool,
    is_read: bool,
    unwritten: usize,
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn client(index: usize) -> SocketAddr {
    let clients = [
        "192.0.2.1:1",
        "192.0.2.2:2",
        "192.0.2.3:3",
        "192.0.2.4:4",
        "192.0.2.4:5",
        "192.0.2.4:6",
        "192.0.2.4:7",
    ];
    address(clients[index])
}

fn config() -> Config {
    let relay = |ip: &str| {
        let ip: IpAddr = ip.parse().unwrap();
        RelayAddress {
            bind: ip,
            external: ip,
        }
    };
    Config {
        users: vec![("u".to_owned(), "p".to_owned())],
        relays: RELAYS.map(relay).to_vec(),
        ports: 50_000..=50_003,
        quotas: Quotas {
            total: ALLOCATIONS,
            bytes_per_second: 100_000,
            ..Quotas::default()
        },
        tcp_relay: true,
        ..Config::default()
    }
}

/// Requests, data, connections, ICMP errors and time, in any order; nothing but the public is reached, and the stranger gets
/// three times what it sends at most.
pub fn turn_server(data: &[u8]) {
    let mut world = World {
        server: Server::new(&config(), Random::new([5; 32]), begin()),
        now: begin(),
        nonces: Default::default(),
        relayed: Vec::new(),
        sent_to_stranger: 0,
        sockets: Vec::new(),
        listeners: BTreeMap::new(),
        opening: Vec::new(),
        named: Vec::new(),
        tickets: Vec::new(),
        streams: BTreeMap::new(),
        lines: [StreamId(0); LINES],
        next_line: 0,
        next_peer: PEERS,
        takes_media: false,
    };
    let mut script = Script::new(data);
    for _ in 0..OPERATIONS_MAX {
        if world.operate(&mut script).is_none() {
            return;
        }
        assert!(world.server.allocation_count() <= ALLOCATIONS);
        assert!(world.server.connection_count() <= ALLOCATIONS * CONNECTIONS_MAX);
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
                let place = u32::from(script.byte()?);
                let (peer, data) = (self.peer(script)?, script.piece()?);
                match self.relayed.get((place & 0xf) as usize).copied() {
                    Some(relayed) if place >= 0xf0 => self.of_media(relayed, data),
                    _ => self.datagram(SocketId(LISTENERS_MAX + place), peer, data),
                }
            }
            5 => {
                self.now = self.now.at(self.now.monotonic + step(script.byte()?));
                self.server.handle_timeout(self.now);
            }
            6 => self.open(0),
            7 => self.close(self.lines[0]),
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
            12 => {
                let bytes = plain(Class::Request, Method::BINDING, &[]);
                self.say(from, &bytes);
            }
            13 => self.operate_tcp(script)?,
            14 => {
                let socket = SocketId(LISTENERS_MAX + u32::from(script.byte()?));
                let (peer, bits) = (self.peer(script)?, script.short()?);
                let icmp = Icmp {
                    kind: (bits >> 8) as u8,
                    code: bits & 0x1ff,
                    data: u32::from(bits),
                };
                self.server.handle_icmp(self.now, socket, peer, icmp);
            }
            _ => {
                let transport = Attribute::RequestedTransport(17);
                let place = usize::from(script.byte()?);
                let known = self.tickets.get(place % self.tickets.len().max(1));
                let mut ticket = known.cloned().unwrap_or_default();
                if place >= 0xf0 {
                    script.mutate(&mut ticket)?;
                }
                if place >= 0x80 {
                    let attributes = [transport, Attribute::MobilityTicket(&[])];
                    self.ask(from, Method::ALLOCATE, &attributes);
                } else {
                    let attributes = [Attribute::MobilityTicket(&ticket)];
                    self.ask(from, Method::REFRESH, &attributes);
                }
            }
        }
        self.drain();
        Some(())
    }

    /// What there is of connections with peers.
    fn operate_tcp(&mut self, script: &mut Script<'_>) -> Option<()> {
        let byte = script.byte()?;
        let place = usize::from(byte >> 4);
        let line = 1 + place % (LINES - 1);
        let from = if place < 8 { STREAMING } else { SECOND };
        match byte & 0x0f {
            0 => {
                let tcp = Attribute::RequestedTransport(6);
                let both =
                    Attribute::AdditionalAddressFamily(twocan_wire::stun::AddressFamily::IPV6);
                let attributes = [tcp, both];
                let attributes = &attributes[..1 + place % 2];
                self.ask(from, Method::ALLOCATE, attributes);
            }
            1 => {
                let peer = Attribute::XorPeerAddress(self.peer(script)?);
                self.ask(from, Method::CONNECT, &[peer]);
            }
            2 => {
                let known = self.opening.get(place % self.opening.len().max(1));
                let connection = known.copied().unwrap_or(ConnectionId(place as u32));
                self.opening.retain(|own| *own != connection);
                let stream = (place < 12).then(|| self.of_peer());
                self.server.handle_connected(self.now, connection, stream);
            }
            3 => {
                let known = self
                    .listeners
                    .iter()
                    .nth(place % self.listeners.len().max(1));
                let (socket, at) = known.map(|(socket, at)| (*socket, *at))?;
                let (stream, peer) = (self.of_peer(), self.peer(script)?);
                self.server
                    .handle_accepted(self.now, (socket, at), stream, peer);
            }
            4 => self.open(line),
            5 => {
                let known = self.named.get(place % self.named.len().max(1)).copied();
                let id = Attribute::ConnectionId(known.unwrap_or(7));
                self.ask(STREAMING + line, Method::CONNECTION_BIND, &[id]);
            }
            6 => self.close(self.lines[line]),
            7 => {
                let stream = self.any_of_peers(place)?;
                self.close(stream);
            }
            // What has been asked for, or without being asked.
            8 | 9 => {
                let stream = match byte & 1 {
                    0 => self.lines[line],
                    _ => self.any_of_peers(place)?,
                };
                let bytes = script.piece()?;
                let bytes = &bytes[..bytes.len().min(CHUNK_LEN)];
                self.arrive(stream, bytes);
            }
            10 | 11 => {
                let stream = match byte & 1 {
                    0 => self.lines[line],
                    _ => self.any_of_peers(place)?,
                };
                let len = usize::from(script.short()?);
                self.written(stream, len);
            }
            12 => {
                let mut config = config();
                config.policy.allowed_only = place % 2 == 1;
                self.server.reconfigure(&config);
                self.takes_media = place >= 8;
                let media = self.takes_media.then(|| MediaAddress {
                    told: address(MEDIA),
                    bound: address(MEDIA),
                });
                self.server.set_media_addresses(media.into_iter().collect());
            }
            _ => {
                // All that was asked for, at both ends.
                let open: Vec<StreamId> = self.streams.keys().copied().collect();
                for stream in open {
                    self.written(stream, usize::MAX);
                    self.arrive(stream, b"abc");
                }
            }
        }
        Some(())
    }

    fn open(&mut self, line: usize) {
        if self.streams.contains_key(&self.lines[line]) {
            return;
        }
        self.next_line += 1;
        let (stream, index) = (StreamId(self.next_line), STREAMING + line);
        self.lines[line] = stream;
        self.nonces[index].clear();
        self.streams.insert(stream, Carried::default());
        let path = path(SocketId(1));
        self.server
            .handle_stream_connected(self.now, stream, path, client(index));
    }

    fn close(&mut self, stream: StreamId) {
        self.streams.remove(&stream);
        self.server.handle_stream_closed(self.now, stream);
    }

    fn of_peer(&mut self) -> StreamId {
        self.next_peer += 1;
        let stream = StreamId(self.next_peer);
        self.streams.insert(stream, Carried::default());
        stream
    }

    fn any_of_peers(&self, place: usize) -> Option<StreamId> {
        let peers = || self.streams.keys().filter(|stream| stream.0 > PEERS);
        peers().nth(place % peers().count().max(1)).copied()
    }

    fn arrive(&mut self, stream: StreamId, bytes: &[u8]) {
        if let Some(carried) = self.streams.get_mut(&stream) {
            carried.is_read = false;
            self.server.handle_stream_bytes(self.now, stream, bytes);
            self.drain();
        }
    }

    fn written(&mut self, stream: StreamId, len: usize) {
        let Some(carried) = self.streams.get_mut(&stream) else {
            return;
        };
        let len = len.min(carried.unwritten);
        carried.unwritten -= len;
        self.server.handle_stream_written(self.now, stream, len);
        self.drain();
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
        if from >= STREAMING {
            let stream = self.lines[from - STREAMING];
            if let Some(carried) = self.streams.get_mut(&stream) {
                carried.is_read = false;
                self.server.handle_stream_bytes(self.now, stream, bytes);
            }
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
        self.datagram_by(path(socket), remote, bytes);
    }

    /// Media sends to a relayed address, that of an allocation or of one that is gone.
    fn of_media(&mut self, relayed: SocketAddr, bytes: &[u8]) {
        let path = Path {
            socket: MEDIA_SOCKET,
            local: relayed,
        };
        self.datagram_by(path, address(MEDIA), bytes);
    }

    fn datagram_by(&mut self, path: Path, remote: SocketAddr, bytes: &[u8]) {
        let datagram = Datagram {
            path,
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
                Output::Event(Event::Listen { socket, address }) => {
                    assert!(!self.sockets.contains(&socket), "bound twice");
                    let before = self.listeners.insert(socket, address);
                    assert_eq!(before, None, "listens twice");
                    let bound = address.port() % 4 != 3;
                    if !bound {
                        self.listeners.remove(&socket);
                    }
                    self.server.handle_bound(self.now, socket, address, bound);
                }
                Output::Event(Event::Connect { connection, to, .. }) => {
                    assert!(
                        PUBLIC.contains(&to.to_string().as_str()),
                        "connects to {to}"
                    );
                    self.opening.push(connection);
                }
                Output::Event(Event::Abandon { connection }) => {
                    self.opening.retain(|own| *own != connection);
                }
                Output::Event(Event::Hold { stream }) => {
                    if let Some(carried) = self.streams.get_mut(&stream) {
                        carried.carries = true;
                    }
                }
                Output::Event(Event::Read { stream }) => {
                    let carried = self.streams.get_mut(&stream).expect("reads what is gone");
                    assert!(!carried.is_read, "read twice");
                    carried.is_read = true;
                    carried.carries = true;
                }
                Output::Event(Event::Close { socket }) => {
                    self.sockets.retain(|known| *known != socket);
                    self.listeners.remove(&socket);
                }
                Output::Event(Event::Send { stream, bytes }) => self.sent(stream, &bytes),
                Output::Event(Event::PassOn { part, .. }) => {
                    unreachable!("there is one part, and not {part}")
                }
                Output::Event(Event::Disconnect { stream }) => {
                    self.streams.remove(&stream);
                }
                Output::Request(_) => {}
                Output::Wait(_) => return,
            }
        }
    }

    fn sent(&mut self, stream: StreamId, bytes: &[u8]) {
        assert!(self.streams.contains_key(&stream), "sent to who is gone");
        if let Some(line) = self.lines.iter().position(|own| *own == stream) {
            self.learn(STREAMING + line, bytes);
        }
        let carried = self.streams.get_mut(&stream);
        if let Some(carried) = carried.filter(|carried| carried.carries) {
            carried.unwritten += bytes.len();
            assert!(carried.unwritten <= EARLY_LEN_MAX, "not slowed down");
        }
    }

    fn arrived(&mut self, socket: SocketId, to: SocketAddr, bytes: &[u8]) {
        if socket == MEDIA_SOCKET {
            assert!(self.takes_media && to == address(MEDIA), "handed to {to}");
            return;
        }
        if socket.0 >= LISTENERS_MAX {
            assert!(self.sockets.contains(&socket), "sent without a socket");
            let is_public = PUBLIC.contains(&to.to_string().as_str());
            assert!(is_public, "relayed to {to}");
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
                Attribute::ConnectionId(id) if self.named.len() < 16 => self.named.push(id),
                Attribute::MobilityTicket(ticket) if self.tickets.len() < 8 => {
                    self.tickets.push(ticket.to_vec());
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
