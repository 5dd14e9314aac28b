mod address;
mod allocate;
mod connection;
mod dtls;
mod hostile;
mod media;
mod mobility;
mod parts;
mod reconfigure;
mod relay;
mod stream;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use twocan_wire::stun::{
    AddressFamily, Attribute, Builder, ChannelNumber, Class, Message, Method, PasswordAlgorithm,
    TransactionId,
};

use super::{AddressPolicy, Config, Event, RelayAddress, Server};
use crate::contract::{Batch, Datagram, Ecn, Output, Path, SocketId};
use crate::random::Random;
use crate::time::Now;
use crate::turn::LongTermKey;

/// 2023-11-14, the wallclock when a test begins.
const WALLCLOCK: Duration = Duration::from_secs(1_700_000_000);
const UDP: Attribute<'static> = Attribute::RequestedTransport(17);

fn epoch() -> Instant {
    // The one clock read: everything after it is arithmetic.
    #[expect(clippy::disallowed_methods, reason = "an Instant has no other origin")]
    Instant::now()
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn config() -> Config {
    let relay = |ip: &str| RelayAddress {
        bind: ip.parse().unwrap(),
        external: ip.parse().unwrap(),
    };
    Config {
        users: vec![
            ("ann".into(), "secret".into()),
            ("bob".into(), "hidden".into()),
        ],
        relays: vec![relay("198.51.100.1"), relay("2001:db8::1")],
        policy: AddressPolicy::default(),
        tcp_relay: true,
        ..Config::default()
    }
}

/// A server, its clock, and what came out of it.
struct Lab {
    server: Server,
    now: Now,
    sent: Vec<(SocketId, SocketAddr, Vec<u8>)>,
    /// By which way the last of it went.
    sent_by: Option<Path>,
    events: Vec<Event>,
    /// Where the last listener is.
    listens_at: Option<SocketAddr>,
    /// Whether binding works.
    binds: bool,
    next_id: u8,
}

impl Lab {
    fn new(config: Config) -> Self {
        let [lab] = Self::parts(&config, 1)
            .try_into()
            .unwrap_or_else(|_| unreachable!());
        lab
    }

    /// A server in parts, each in a lab of its own.
    fn parts(config: &Config, wanted: usize) -> Vec<Self> {
        let now = Now {
            monotonic: epoch(),
            wallclock: WALLCLOCK,
        };
        let parts = Server::parts(config, wanted, Random::new([7; 32]), now);
        parts.into_iter().map(|part| Self::of(part, now)).collect()
    }

    fn of(server: Server, now: Now) -> Self {
        Self {
            server,
            now,
            sent: Vec::new(),
            sent_by: None,
            events: Vec::new(),
            listens_at: None,
            binds: true,
            next_id: 0,
        }
    }

    fn wait(&mut self, seconds: u64) {
        self.now.monotonic += Duration::from_secs(seconds);
        self.now.wallclock += Duration::from_secs(seconds);
        self.server.handle_timeout(self.now);
        self.drain();
    }

    fn drain(&mut self) {
        let mut batch = Batch::new();
        loop {
            batch.clear();
            match self.server.poll_output(&mut batch) {
                Output::Transmit => {
                    let to = batch.destination().unwrap();
                    self.sent_by = Some(to.path);
                    for bytes in batch.iter() {
                        self.sent.push((to.path.socket, to.remote, bytes.to_vec()));
                    }
                }
                Output::Event(event) => {
                    if let Event::Bind { socket, address } | Event::Listen { socket, address } =
                        event
                    {
                        self.server
                            .handle_bound(self.now, socket, address, self.binds);
                    }
                    if let Event::Listen { address, .. } = event {
                        self.listens_at = Some(address);
                    }
                    self.events.push(event);
                }
                Output::Request(_) => unreachable!("the server asks by events"),
                Output::Wait(_) => return,
            }
        }
    }

    fn datagram(&mut self, socket: u32, from: SocketAddr, bytes: &[u8]) {
        let path = Path {
            socket: SocketId(socket),
            local: address("198.51.100.1:3478"),
        };
        self.datagram_by(path, from, bytes);
    }

    fn datagram_by(&mut self, path: Path, from: SocketAddr, bytes: &[u8]) {
        let datagram = Datagram {
            path,
            remote: from,
            ecn: Ecn::NotEct,
            waited: Duration::ZERO,
            bytes: &mut bytes.to_vec(),
        };
        self.server.handle_datagram(self.now, datagram);
        self.drain();
    }

    /// Sends to the listener; answers what came back to the sender, if anything did.
    fn exchange(&mut self, from: SocketAddr, bytes: &[u8]) -> Option<Vec<u8>> {
        self.sent.clear();
        self.datagram(0, from, bytes);
        let mut sent = self.sent.drain(..);
        let (socket, to, answer) = sent.next()?;
        assert_eq!((socket, to), (SocketId(0), from));
        assert_eq!(sent.next(), None);
        Some(answer)
    }

    fn id(&mut self) -> TransactionId {
        self.next_id = self.next_id.wrapping_add(1);
        TransactionId([self.next_id; 12])
    }
}

fn plain(method: Method, id: TransactionId, attributes: &[Attribute<'_>]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut builder = Builder::new(&mut out, Class::Request, method, id);
    for attribute in attributes {
        builder.attribute(*attribute);
    }
    builder.finish_bare();
    out
}

fn find<'a, T>(message: &Message<'a>, pick: impl Fn(Attribute<'a>) -> Option<T>) -> Option<T> {
    message.attributes().find_map(pick)
}

fn nonce_of(answer: &[u8]) -> String {
    let message = Message::parse(answer).unwrap();
    let nonce = find(&message, |attribute| match attribute {
        Attribute::Nonce(nonce) => Some(nonce.to_owned()),
        _ => None,
    });
    nonce.unwrap()
}

/// How a client signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Md5,
    Md5Sha256,
    Sha256,
}

/// A client as a program of RFC 5389 or RFC 8489 is.
struct Client {
    at: SocketAddr,
    username: String,
    password: String,
    kind: Kind,
    nonce: String,
}

impl Client {
    fn new(at: &str, username: &str, password: &str) -> Self {
        Self {
            at: address(at),
            username: username.into(),
            password: password.into(),
            kind: Kind::Md5,
            nonce: String::new(),
        }
    }

    fn ann(at: &str) -> Self {
        Self::new(at, "ann", "secret")
    }

    fn bob(at: &str) -> Self {
        Self::new(at, "bob", "hidden")
    }

    fn key(&self) -> LongTermKey {
        let make = match self.kind {
            Kind::Md5 => LongTermKey::md5,
            Kind::Md5Sha256 => LongTermKey::md5_with_sha256,
            Kind::Sha256 => LongTermKey::sha256,
        };
        make(&self.username, "twocan", &self.password)
    }

    fn signed(&self, method: Method, id: TransactionId, attributes: &[Attribute<'_>]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut builder = Builder::new(&mut out, Class::Request, method, id);
        for attribute in attributes {
            builder.attribute(*attribute);
        }
        builder.attribute(Attribute::Username(&self.username));
        builder.attribute(Attribute::Realm("twocan"));
        builder.attribute(Attribute::Nonce(&self.nonce));
        let mut offered = Vec::new();
        PasswordAlgorithm::SHA256.write(&mut offered);
        PasswordAlgorithm::MD5.write(&mut offered);
        if let Some(algorithm) = self.key().algorithm() {
            builder.attribute(Attribute::PasswordAlgorithms(&offered));
            builder.attribute(Attribute::PasswordAlgorithm(algorithm));
        }
        self.key().finish(builder);
        out
    }

    /// Asks, with a new nonce if the server wants one; checks that the answer is signed.
    fn ask(&mut self, lab: &mut Lab, method: Method, attributes: &[Attribute<'_>]) -> Vec<u8> {
        if self.nonce.is_empty() {
            let id = lab.id();
            let answer = lab
                .exchange(self.at, &plain(method, id, attributes))
                .unwrap();
            self.nonce = nonce_of(&answer);
        }
        let id = lab.id();
        let request = self.signed(method, id, attributes);
        let answer = lab.exchange(self.at, &request).unwrap();
        let message = Message::parse(&answer).unwrap();
        assert_eq!((message.transaction, message.method), (id, method));
        if ![Some(401), Some(438)].contains(&message.error_code()) && message.integrity().is_some()
        {
            assert!(self.key().verify(&message).is_ok());
        }
        answer
    }

    /// The code of the refusal; `None` for success.
    fn code(&mut self, lab: &mut Lab, method: Method, attributes: &[Attribute<'_>]) -> Option<u16> {
        let answer = self.ask(lab, method, attributes);
        let message = Message::parse(&answer).unwrap();
        assert_eq!(
            message.error_code().is_none(),
            message.class == Class::Success
        );
        message.error_code()
    }

    /// Allocates; answers the relayed address.
    fn allocate(&mut self, lab: &mut Lab) -> SocketAddr {
        let answer = self.ask(lab, Method::ALLOCATE, &[UDP]);
        let message = Message::parse(&answer).unwrap();
        assert_eq!(message.error_code(), None);
        assert_eq!(message.mapped_address(), Some(self.at));
        message.relayed_address().unwrap()
    }

    fn permit(&mut self, lab: &mut Lab, peer: SocketAddr) -> Option<u16> {
        let attributes = [Attribute::XorPeerAddress(peer)];
        self.code(lab, Method::CREATE_PERMISSION, &attributes)
    }

    fn bind(&mut self, lab: &mut Lab, number: u16, peer: SocketAddr) -> Option<u16> {
        let number = ChannelNumber::new(number).unwrap();
        let attributes = [
            Attribute::ChannelNumber(number),
            Attribute::XorPeerAddress(peer),
        ];
        self.code(lab, Method::CHANNEL_BIND, &attributes)
    }
}

fn send_indication(peer: SocketAddr, data: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let id = TransactionId([9; 12]);
    let mut builder = Builder::new(&mut out, Class::Indication, Method::SEND, id);
    builder.attribute(Attribute::XorPeerAddress(peer));
    builder.attribute(Attribute::Data(data));
    builder.finish_bare();
    out
}

/// The peer and the data of a Data indication.
fn data_indication(bytes: &[u8]) -> (SocketAddr, Vec<u8>) {
    let message = Message::parse(bytes).unwrap();
    assert_eq!(
        (message.class, message.method),
        (Class::Indication, Method::DATA)
    );
    let data = find(&message, |attribute| match attribute {
        Attribute::Data(data) => Some(data.to_vec()),
        _ => None,
    });
    (message.peer_address().unwrap(), data.unwrap())
}

const IPV6: Attribute<'static> = Attribute::RequestedAddressFamily(AddressFamily::IPV6);
