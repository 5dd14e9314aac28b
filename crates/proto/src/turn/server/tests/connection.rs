use super::*;
use crate::turn::server::{
    CHUNK_LEN, CONNECTIONS_MAX, ConnectionId, EARLY_LEN_MAX, LISTENERS_MAX, Quotas, StreamId,
    Transport,
};

const TCP: Attribute<'static> = Attribute::RequestedTransport(6);
const PEER: &str = "203.0.113.9:7000";

/// The streams of clients, and of peers.
const CONTROL: StreamId = StreamId(1);
const DATA: StreamId = StreamId(2);
const OF_PEER: StreamId = StreamId(3);

/// The listener of the first allocation.
const LISTENER: SocketId = SocketId(LISTENERS_MAX);

impl Lab {
    fn open(&mut self, stream: StreamId, from: SocketAddr) {
        let path = Path {
            socket: SocketId(1),
            local: address("198.51.100.1:3478"),
        };
        self.server
            .handle_stream_connected(self.now, stream, path, from);
        self.drain();
    }

    /// What a stream gets for what it says.
    fn say(&mut self, stream: StreamId, bytes: &[u8]) -> Vec<u8> {
        self.events.clear();
        self.server.handle_stream_bytes(self.now, stream, bytes);
        self.drain();
        self.sent_on(stream)
    }

    fn sent_on(&self, on: StreamId) -> Vec<u8> {
        let mut sent = Vec::new();
        for event in &self.events {
            if let Event::Send { stream, bytes } = event
                && *stream == on
            {
                sent.extend_from_slice(bytes);
            }
        }
        sent
    }

    fn reads(&self, on: StreamId) -> usize {
        let is_read = |event: &&Event| **event == Event::Read { stream: on };
        self.events.iter().filter(is_read).count()
    }

    pub(super) fn is_closed(&self, stream: StreamId) -> bool {
        self.events.contains(&Event::Disconnect { stream })
    }

    fn written(&mut self, stream: StreamId, len: usize) {
        self.events.clear();
        self.server.handle_stream_written(self.now, stream, len);
        self.drain();
    }

    fn connected(&mut self, connection: ConnectionId, stream: Option<StreamId>) {
        self.events.clear();
        self.server.handle_connected(self.now, connection, stream);
        self.drain();
    }

    pub(super) fn accepted(&mut self, stream: StreamId, peer: &str) {
        self.accepted_at(self.listens_at.unwrap(), stream, peer);
    }

    fn accepted_at(&mut self, at: SocketAddr, stream: StreamId, peer: &str) {
        self.events.clear();
        self.server
            .handle_accepted(self.now, (LISTENER, at), stream, address(peer));
        self.drain();
    }

    fn closed(&mut self, stream: StreamId) {
        self.events.clear();
        self.server.handle_stream_closed(self.now, stream);
        self.drain();
    }

    /// The connection that the driver is to open.
    fn opening(&self) -> Option<(ConnectionId, SocketAddr, SocketAddr)> {
        self.events.iter().find_map(|event| match event {
            Event::Connect {
                connection,
                from,
                to,
            } => Some((*connection, *from, *to)),
            _ => None,
        })
    }
}

/// A client on a stream.
pub(super) struct Streaming {
    client: Client,
    control: StreamId,
    pub(super) relayed: SocketAddr,
}

impl Streaming {
    fn new(lab: &mut Lab, client: Client, control: StreamId) -> Self {
        Self::with(lab, client, control, &[TCP])
    }

    /// One with relayed addresses of both families.
    pub(super) fn of_both_families(lab: &mut Lab, client: Client) -> Self {
        let both = Attribute::AdditionalAddressFamily(AddressFamily::IPV6);
        Self::with(lab, client, CONTROL, &[TCP, both])
    }

    fn with(
        lab: &mut Lab,
        client: Client,
        control: StreamId,
        attributes: &[Attribute<'_>],
    ) -> Self {
        lab.open(control, client.at);
        let relayed = address("0.0.0.0:0");
        let mut new = Self {
            client,
            control,
            relayed,
        };
        let answer = new.ask(lab, control, Method::ALLOCATE, attributes);
        new.relayed = Message::parse(&answer).unwrap().relayed_address().unwrap();
        new
    }

    /// The answer on a stream, with a new nonce.
    fn ask(
        &mut self,
        lab: &mut Lab,
        on: StreamId,
        method: Method,
        attributes: &[Attribute<'_>],
    ) -> Vec<u8> {
        let id = lab.id();
        let challenge = lab.say(on, &plain(method, id, attributes));
        self.client.nonce = nonce_of(&challenge);
        self.ask_again(lab, on, method, attributes)
    }

    fn ask_again(
        &mut self,
        lab: &mut Lab,
        on: StreamId,
        method: Method,
        attributes: &[Attribute<'_>],
    ) -> Vec<u8> {
        let id = lab.id();
        lab.say(on, &self.client.signed(method, id, attributes))
    }

    fn code(&mut self, lab: &mut Lab, method: Method, attributes: &[Attribute<'_>]) -> Option<u16> {
        let answer = self.ask(lab, self.control, method, attributes);
        Message::parse(&answer).unwrap().error_code()
    }

    pub(super) fn permit(&mut self, lab: &mut Lab, peer: &str) {
        let peer = Attribute::XorPeerAddress(address(peer));
        assert_eq!(self.code(lab, Method::CREATE_PERMISSION, &[peer]), None);
    }

    /// Whether a connection to a peer is to be opened; the code where it is not.
    pub(super) fn opens(&mut self, lab: &mut Lab, peer: SocketAddr) -> Result<(), Option<u16>> {
        let answer = self.connect(lab, peer);
        match lab.opening() {
            Some((_, _, to)) => {
                assert_eq!((to, answer.len()), (peer, 0));
                Ok(())
            }
            None => Err(Message::parse(&answer).unwrap().error_code()),
        }
    }

    /// Asks for a connection; answers what came at once.
    fn connect(&mut self, lab: &mut Lab, peer: SocketAddr) -> Vec<u8> {
        let peer = Attribute::XorPeerAddress(peer);
        self.ask(lab, self.control, Method::CONNECT, &[peer])
    }

    /// Claims a connection by a new stream.
    fn bind(&mut self, lab: &mut Lab, on: StreamId, connection: ConnectionId) -> Option<u16> {
        let from = SocketAddr::new(self.client.at.ip(), 40_000 + on.0 as u16);
        lab.open(on, from);
        let answer = self.ask(lab, on, Method::CONNECTION_BIND, &[named(connection)]);
        // What was kept may follow.
        let len = 20 + usize::from(u16::from_be_bytes([answer[2], answer[3]]));
        Message::parse(&answer[..len]).unwrap().error_code()
    }
}

fn named(connection: ConnectionId) -> Attribute<'static> {
    Attribute::ConnectionId(connection.0)
}

fn connection_of(bytes: &[u8]) -> ConnectionId {
    let message = Message::parse(bytes).unwrap();
    let id = find(&message, |attribute| match attribute {
        Attribute::ConnectionId(id) => Some(id),
        _ => None,
    });
    ConnectionId(id.unwrap())
}

fn ann(lab: &mut Lab) -> Streaming {
    Streaming::new(lab, Client::ann("192.0.2.1:5000"), CONTROL)
}

/// A connection that is opened and claimed.
fn joined(lab: &mut Lab) -> (Streaming, ConnectionId) {
    let mut ann = ann(lab);
    assert_eq!(ann.connect(lab, address(PEER)), b"");
    let (connection, from, to) = lab.opening().unwrap();
    assert_eq!((from, to), (ann.relayed, address(PEER)));
    lab.connected(connection, Some(OF_PEER));
    assert_eq!(connection_of(&lab.sent_on(CONTROL)), connection);
    assert_eq!(ann.bind(lab, DATA, connection), None);
    (ann, connection)
}

#[test]
fn bytes_pass_both_ways_at_the_pace_of_who_reads_them() {
    let mut lab = Lab::new(config());
    joined(&mut lab);
    // Both are read once, behind the answer.
    assert_eq!((lab.reads(DATA), lab.reads(OF_PEER)), (1, 1));
    assert!(!lab.events.contains(&Event::Hold { stream: DATA }));
    assert_eq!(lab.say(DATA, b"hello"), b"");
    assert_eq!(lab.sent_on(OF_PEER), b"hello");
    assert_eq!(lab.reads(DATA), 0, "before it is written");
    lab.written(OF_PEER, 2);
    assert_eq!(lab.reads(DATA), 0);
    lab.written(OF_PEER, 3);
    assert_eq!((lab.reads(DATA), lab.reads(OF_PEER)), (1, 0));
    // What looks like a message is none.
    let binding = plain(Method::BINDING, TransactionId([1; 12]), &[]);
    assert_eq!(lab.say(OF_PEER, &binding), b"");
    assert_eq!(lab.sent_on(DATA), binding);
    assert_eq!(lab.say(DATA, &binding), b"");
    assert_eq!(lab.sent_on(OF_PEER), binding);
    let traffic = lab.server.traffic();
    assert_eq!(traffic.bytes_to_peers, 5 + binding.len() as u64);
    assert_eq!(traffic.bytes_to_clients, binding.len() as u64);
    // Quiet for an hour but for refreshes: it stays.
    lab.wait(500);
    assert_eq!(lab.server.connection_count(), 1);
}

#[test]
fn either_end_ends_the_other_and_what_was_read_is_written_first() {
    for (ended, left) in [(DATA, OF_PEER), (OF_PEER, DATA)] {
        let mut lab = Lab::new(config());
        joined(&mut lab);
        lab.say(ended, b"last words");
        lab.closed(ended);
        assert!(!lab.is_closed(left), "not before it is written");
        lab.written(left, 10);
        assert!(lab.is_closed(left));
        assert_eq!(lab.server.connection_count(), 0);
        assert_eq!(lab.server.stream_count(), 1);
        // With nothing left to write at once; and where the other end goes as well.
        let mut lab = Lab::new(config());
        joined(&mut lab);
        lab.closed(ended);
        assert!(lab.is_closed(left));
        let mut lab = Lab::new(config());
        joined(&mut lab);
        lab.say(ended, b"a");
        lab.say(left, b"b");
        lab.closed(ended);
        lab.closed(left);
        assert_eq!(lab.server.connection_count(), 0);
    }
}

#[test]
fn with_the_allocation_everything_ends() {
    type End = fn(&mut Lab, &mut Streaming);
    let ends: [End; 3] = [
        |lab, _| lab.closed(CONTROL),
        |lab, ann| {
            let over = [Attribute::Lifetime(0)];
            assert_eq!(ann.code(lab, Method::REFRESH, &over), None);
        },
        |lab, _| {
            lab.events.clear();
            lab.wait(600);
        },
    ];
    for end in ends {
        let mut lab = Lab::new(config());
        let (mut ann, _) = joined(&mut lab);
        ann.permit(&mut lab, PEER);
        end(&mut lab, &mut ann);
        assert!(lab.is_closed(DATA) && lab.is_closed(OF_PEER));
        assert!(lab.events.contains(&Event::Close { socket: LISTENER }));
        assert_eq!(lab.server.connection_count(), 0);
        // One that was being opened is given up, and is closed if it comes about all the same.
        let mut lab = Lab::new(config());
        let mut ann = self::ann(&mut lab);
        ann.connect(&mut lab, address(PEER));
        let (connection, ..) = lab.opening().unwrap();
        end(&mut lab, &mut ann);
        assert_eq!(lab.server.connection_count(), 0);
        lab.connected(connection, Some(OF_PEER));
        assert!(lab.is_closed(OF_PEER));
    }
}

#[test]
fn a_peer_that_is_permitted_gets_in_and_no_other() {
    let mut lab = Lab::new(config());
    let mut ann = ann(&mut lab);
    ann.permit(&mut lab, PEER);
    let listen = Event::Listen {
        socket: LISTENER,
        address: ann.relayed,
    };
    assert!(lab.events.contains(&listen));
    lab.accepted(StreamId(9), "203.0.113.10:7000");
    assert!(lab.is_closed(StreamId(9)));
    assert_eq!(lab.sent_on(CONTROL), b"", "nobody is told");
    lab.accepted(OF_PEER, "203.0.113.9:1234");
    let told = lab.sent_on(CONTROL);
    let message = Message::parse(&told).unwrap();
    let expected = (Class::Indication, Method::CONNECTION_ATTEMPT);
    assert_eq!((message.class, message.method), expected);
    assert_eq!(message.peer_address(), Some(address("203.0.113.9:1234")));
    let connection = connection_of(&told);
    assert_eq!(ann.bind(&mut lab, DATA, connection), None);
    lab.say(OF_PEER, b"hello");
    assert_eq!(lab.sent_on(DATA), b"hello");
    // What the operator refuses later is cut off.
    lab.events.clear();
    let mut policy = config();
    policy.policy.allowed_only = true;
    lab.server.reconfigure(&policy);
    lab.drain();
    assert!(lab.is_closed(DATA) && lab.is_closed(OF_PEER));
    lab.accepted(StreamId(10), "203.0.113.9:1235");
    assert!(lab.is_closed(StreamId(10)));
    // Nor does one that comes by a listener that is gone.
    let mut lab = Lab::new(config());
    self::ann(&mut lab).permit(&mut lab, PEER);
    lab.accepted_at(address("198.51.100.1:1"), OF_PEER, PEER);
    assert!(lab.is_closed(OF_PEER));
    // After five minutes nobody has a permission.
    let mut lab = Lab::new(config());
    self::ann(&mut lab).permit(&mut lab, PEER);
    lab.wait(300);
    lab.accepted(OF_PEER, "203.0.113.9:1234");
    assert!(lab.is_closed(OF_PEER));
}

#[test]
fn two_clients_meet_without_a_socket() {
    let mut lab = Lab::new(config());
    let mut ann = ann(&mut lab);
    let bob = Client::bob("192.0.2.2:6000");
    let mut bob = Streaming::new(&mut lab, bob, StreamId(11));
    // Not before bob permits it.
    let answer = ann.connect(&mut lab, bob.relayed);
    assert_eq!(Message::parse(&answer).unwrap().error_code(), Some(447));
    let of_ann = ann.relayed.to_string();
    bob.permit(&mut lab, &of_ann);
    let answer = ann.connect(&mut lab, bob.relayed);
    let here = connection_of(&answer);
    let told = lab.sent_on(bob.control);
    let there = connection_of(&told);
    assert_eq!(
        Message::parse(&told).unwrap().peer_address(),
        Some(ann.relayed)
    );
    assert_ne!(here, there);
    let again = ann.connect(&mut lab, bob.relayed);
    assert_eq!(Message::parse(&again).unwrap().error_code(), Some(446));
    // Neither takes the other's.
    assert_eq!(ann.bind(&mut lab, StreamId(20), there), Some(400));
    assert_eq!(ann.bind(&mut lab, StreamId(21), here), None);
    assert_eq!(lab.reads(StreamId(21)), 0, "nobody to read it for");
    let stream = StreamId(21);
    assert!(lab.events.contains(&Event::Hold { stream }));
    // What comes early waits.
    assert_eq!(lab.say(StreamId(21), b"early "), b"");
    assert_eq!(bob.bind(&mut lab, StreamId(22), there), None);
    let sent = lab.sent_on(StreamId(22));
    assert!(sent.ends_with(b"early "), "the answer, then what was kept");
    assert_eq!((lab.reads(StreamId(21)), lab.reads(StreamId(22))), (0, 1));
    lab.written(StreamId(22), sent.len());
    assert_eq!(lab.reads(StreamId(21)), 1);
    lab.say(StreamId(22), b"back");
    assert_eq!(lab.sent_on(StreamId(21)), b"back");
    // Each is counted at its allocation.
    assert_eq!(lab.server.traffic().bytes_to_clients, 10);
    assert_eq!(lab.server.traffic().bytes_to_peers, 10);
    assert!(
        lab.events
            .iter()
            .all(|event| !matches!(event, Event::Listen { .. }))
    );
    lab.written(StreamId(21), 4);
    lab.closed(StreamId(22));
    assert!(lab.is_closed(StreamId(21)));
    assert_eq!(lab.server.connection_count(), 0);
    // An allocation for datagrams is no peer for a connection, and the other way round.
    let mut eve = Client::bob("192.0.2.9:1");
    let of_eve = eve.allocate(&mut lab);
    let answer = ann.connect(&mut lab, of_eve);
    assert_eq!(Message::parse(&answer).unwrap().error_code(), Some(447));
    assert_eq!(eve.permit(&mut lab, ann.relayed), None);
    ann.permit(&mut lab, &of_eve.to_string());
    lab.events.clear();
    lab.datagram(0, eve.at, &send_indication(ann.relayed, b"x"));
    assert_eq!(lab.sent_on(CONTROL), b"");
}

#[test]
fn what_makes_no_sense_is_refused() {
    let mut lab = Lab::new(config());
    // Nothing of datagrams, and not over datagrams.
    let mut over_udp = Client::ann("192.0.2.3:5000");
    assert_eq!(over_udp.code(&mut lab, Method::ALLOCATE, &[TCP]), Some(400));
    over_udp.allocate(&mut lab);
    let peer = Attribute::XorPeerAddress(address(PEER));
    let connect = Method::CONNECT;
    assert_eq!(over_udp.code(&mut lab, connect, &[peer]), Some(437));
    let bind = Method::CONNECTION_BIND;
    let id = Attribute::ConnectionId(7);
    assert_eq!(over_udp.code(&mut lab, bind, &[id]), Some(400));
    let other = StreamId(30);
    lab.open(other, address("192.0.2.1:30"));
    let mut ann = Streaming {
        client: Client::ann("192.0.2.1:30"),
        control: other,
        relayed: address(PEER),
    };
    let even = Attribute::EvenPort {
        reserve_next: false,
    };
    let token = Attribute::ReservationToken(&[0; 8]);
    for attribute in [even, token, Attribute::DontFragment] {
        let attributes = [TCP, attribute];
        let code = ann.code(&mut lab, Method::ALLOCATE, &attributes);
        assert_eq!(code, Some(400), "{attribute:?}");
    }
    assert_eq!(
        ann.code(&mut lab, connect, &[peer]),
        Some(437),
        "no allocation"
    );
    let mut ann = self::ann(&mut lab);
    for (attributes, code) in [
        (vec![], 400),
        (
            vec![Attribute::XorPeerAddress(address("203.0.113.9:0"))],
            400,
        ),
        (
            vec![Attribute::XorPeerAddress(address("[2001:db8:9::1]:1"))],
            443,
        ),
        (vec![Attribute::XorPeerAddress(address("10.0.0.1:1"))], 403),
        // The server itself, where nobody relays.
        (
            vec![Attribute::XorPeerAddress(address("198.51.100.1:22"))],
            447,
        ),
    ] {
        assert_eq!(ann.code(&mut lab, connect, &attributes), Some(code));
        assert_eq!(lab.opening(), None);
    }
    // Channels and Send are of datagrams.
    let number = Attribute::ChannelNumber(ChannelNumber::MIN);
    let channel = Method::CHANNEL_BIND;
    assert_eq!(ann.code(&mut lab, channel, &[number, peer]), Some(400));
    ann.permit(&mut lab, PEER);
    lab.sent.clear();
    lab.say(CONTROL, &send_indication(address(PEER), b"x"));
    assert_eq!(lab.sent, []);
    // A connection is not claimed before it is there, nor twice, nor by an allocation's stream.
    ann.connect(&mut lab, address(PEER));
    let (connection, ..) = lab.opening().unwrap();
    assert_eq!(ann.code(&mut lab, connect, &[peer]), Some(446));
    assert_eq!(ann.bind(&mut lab, StreamId(31), connection), Some(400));
    lab.connected(connection, Some(OF_PEER));
    assert_eq!(ann.code(&mut lab, bind, &[named(connection)]), Some(400));
    assert_eq!(ann.code(&mut lab, bind, &[]), Some(400));
    let mut bob = Streaming {
        client: Client::bob("192.0.2.8:1"),
        control: StreamId(32),
        relayed: ann.relayed,
    };
    assert_eq!(bob.bind(&mut lab, StreamId(32), connection), Some(400));
    assert_eq!(ann.bind(&mut lab, DATA, connection), None);
    assert_eq!(ann.bind(&mut lab, StreamId(33), connection), Some(400));
}

#[test]
fn who_does_not_answer_and_what_nobody_claims_is_given_up() {
    let mut lab = Lab::new(config());
    let mut ann = ann(&mut lab);
    ann.connect(&mut lab, address(PEER));
    let (connection, ..) = lab.opening().unwrap();
    lab.events.clear();
    lab.wait(29);
    assert_eq!(lab.events, []);
    lab.wait(1);
    assert!(lab.events.contains(&Event::Abandon { connection }));
    let answer = lab.sent_on(CONTROL);
    assert_eq!(Message::parse(&answer).unwrap().error_code(), Some(447));
    ann.connect(&mut lab, address(PEER));
    let (connection, ..) = lab.opening().unwrap();
    lab.connected(connection, None);
    let answer = lab.sent_on(CONTROL);
    assert_eq!(Message::parse(&answer).unwrap().error_code(), Some(447));
    assert!(!lab.events.contains(&Event::Abandon { connection }));
    // Opened 20 seconds after it was asked for: it has 30 more.
    ann.connect(&mut lab, address(PEER));
    let (connection, ..) = lab.opening().unwrap();
    lab.wait(20);
    lab.connected(connection, Some(OF_PEER));
    lab.wait(29);
    assert_eq!(lab.server.connection_count(), 1);
    lab.wait(1);
    assert!(lab.is_closed(OF_PEER));
    assert_eq!(ann.bind(&mut lab, DATA, connection), Some(400));
}

#[test]
fn connections_and_what_waits_are_bounded() {
    let mut lab = Lab::new(config());
    let mut ann = ann(&mut lab);
    ann.permit(&mut lab, PEER);
    for index in 0..CONNECTIONS_MAX as u64 {
        lab.accepted(StreamId(100 + index), "203.0.113.9:1");
        assert!(!lab.is_closed(StreamId(100 + index)));
    }
    lab.accepted(StreamId(99), "203.0.113.9:1");
    assert!(lab.is_closed(StreamId(99)));
    let answer = ann.connect(&mut lab, address(PEER));
    assert_eq!(Message::parse(&answer).unwrap().error_code(), Some(508));
    let quotas = Quotas {
        connections: 1,
        ..Quotas::default()
    };
    let mut lab = Lab::new(Config { quotas, ..config() });
    joined(&mut lab);
    let bob = Client::bob("192.0.2.2:6000");
    let mut bob = Streaming::new(&mut lab, bob, StreamId(11));
    let answer = bob.connect(&mut lab, address(PEER));
    assert_eq!(Message::parse(&answer).unwrap().error_code(), Some(508));
    // Somebody who sends without end into a connection that nobody reads.
    let mut sent = 0;
    while !lab.is_closed(DATA) {
        assert!(sent <= EARLY_LEN_MAX, "{sent}");
        lab.say(DATA, &[7; CHUNK_LEN]);
        sent += lab.sent_on(OF_PEER).len();
    }
    assert_eq!(lab.server.connection_count(), 0);
}

#[test]
fn the_bandwidth_slows_a_connection_down_and_loses_nothing() {
    let quotas = Quotas {
        bytes_per_second: 400_000,
        ..Quotas::default()
    };
    let mut lab = Lab::new(Config { quotas, ..config() });
    joined(&mut lab);
    let mut sent = 0;
    let mut wants = true;
    for _ in 0..500 {
        while wants {
            lab.say(DATA, &[7; CHUNK_LEN]);
            sent += lab.sent_on(OF_PEER).len();
            lab.written(OF_PEER, CHUNK_LEN);
            wants = lab.reads(DATA) > 0;
        }
        lab.events.clear();
        lab.now.monotonic += Duration::from_millis(20);
        lab.server.handle_timeout(lab.now);
        lab.drain();
        wants = lab.reads(DATA) > 0;
    }
    // 10 s, what may come at once, and one piece that was read when there was hardly room.
    let most = 4_000_000 + 100_000 + 2 * CHUNK_LEN;
    assert!((3_900_000..=most).contains(&sent), "{sent}");
    assert_eq!(lab.server.traffic().over_quota, 0);
}

#[test]
fn ports_are_looked_at_as_they_are_to_be_used() {
    let mut lab = Lab::new(config());
    // No port is free for datagrams.
    lab.server
        .check_ports_with(|transport, _| transport == Transport::Tcp);
    ann(&mut lab);
    let mut bob = Client::bob("192.0.2.2:6000");
    assert_eq!(bob.code(&mut lab, Method::ALLOCATE, &[UDP]), Some(508));
}

#[test]
fn tcp_is_relayed_where_the_operator_says_so_alone() {
    let mut lab = Lab::new(Config {
        tcp_relay: false,
        ..config()
    });
    let client = Client::ann("192.0.2.1:5000");
    lab.open(CONTROL, client.at);
    let mut ann = Streaming {
        client,
        control: CONTROL,
        relayed: address("0.0.0.0:0"),
    };
    let answer = ann.ask(&mut lab, CONTROL, Method::ALLOCATE, &[TCP]);
    assert_eq!(Message::parse(&answer).unwrap().error_code(), Some(442));
    let with = Config {
        tcp_relay: true,
        ..config()
    };
    lab.server.reconfigure(&with);
    let answer = ann.ask(&mut lab, CONTROL, Method::ALLOCATE, &[TCP]);
    assert_eq!(Message::parse(&answer).unwrap().error_code(), None);
}
