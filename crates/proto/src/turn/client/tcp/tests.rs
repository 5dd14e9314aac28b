//! The client with our own server, over streams without loss.

use std::collections::BTreeMap;

use super::*;
use crate::contract::{Batch, Output, Path, SocketId};
use crate::random::Random;
use crate::time::Now;
use crate::turn::server;
use crate::turn::server::{Server, StreamId};
use std::time::Instant;

const PEER: &str = "203.0.113.9:7000";
const CONTROL: StreamId = StreamId(1);

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// A server, a client, and what is between them.
struct Lab {
    now: Now,
    server: Server,
    client: Allocator,
    claims: BTreeMap<u64, Claim>,
    progress: BTreeMap<u64, Progress>,
    events: Vec<Event>,
    /// What the server wants of its driver, but for what it sends.
    wanted: Vec<server::Event>,
    /// What has come on streams of peers.
    of_peers: BTreeMap<u64, Vec<u8>>,
    /// What came behind the answer to a claim.
    claimed: BTreeMap<u64, Vec<u8>>,
    listens_at: Option<(SocketId, SocketAddr)>,
    streams: u64,
    /// The longest piece of a stream.
    piece: usize,
}

impl Lab {
    fn with(change: impl FnOnce(&mut server::Config), password: &str) -> Self {
        #[expect(clippy::disallowed_methods, reason = "an Instant has no other origin")]
        let monotonic = Instant::now();
        let now = Now {
            monotonic,
            wallclock: Duration::from_secs(1_700_000_000),
        };
        let relay = |ip: &str| server::RelayAddress {
            bind: ip.parse().unwrap(),
            external: ip.parse().unwrap(),
        };
        let mut config = server::Config {
            users: vec![("ann".into(), "secret".into())],
            relays: vec![relay("198.51.100.1"), relay("2001:db8::1")],
            tcp_relay: true,
            ..server::Config::default()
        };
        change(&mut config);
        let settings = Settings {
            account: Account {
                username: "ann".to_owned(),
                password: password.to_owned(),
            },
            family: None,
        };
        let mut lab = Self {
            now,
            server: Server::new(&config, Random::new([1; 32]), now),
            client: Allocator::new(settings, Random::new([2; 32])),
            claims: BTreeMap::new(),
            progress: BTreeMap::new(),
            events: Vec::new(),
            wanted: Vec::new(),
            of_peers: BTreeMap::new(),
            claimed: BTreeMap::new(),
            listens_at: None,
            streams: CONTROL.0,
            piece: 7,
        };
        lab.open(CONTROL);
        lab.client.start(now.monotonic);
        lab.settle();
        lab
    }

    fn new() -> Self {
        let mut lab = Self::with(|_| {}, "secret");
        let [Event::Allocated { relayed, mapped }] = lab.take_events()[..] else {
            panic!("no allocation");
        };
        assert_eq!(relayed.ip(), address("198.51.100.1:1").ip());
        assert_eq!(mapped, Some(address("192.0.2.1:5001")));
        lab
    }

    fn open(&mut self, stream: StreamId) {
        let path = Path {
            socket: SocketId(1),
            local: address("198.51.100.1:3478"),
        };
        let port = 5000 + u16::try_from(stream.0).unwrap();
        let from = SocketAddr::new(address("192.0.2.1:1").ip(), port);
        self.server
            .handle_stream_connected(self.now, stream, path, from);
    }

    fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    /// To the server, in pieces.
    fn tell_server(&mut self, stream: StreamId, bytes: &[u8]) {
        for piece in bytes.chunks(self.piece) {
            self.server.handle_stream_bytes(self.now, stream, piece);
        }
    }

    /// What the server sends on a stream.
    fn hear_server(&mut self, StreamId(stream): StreamId, bytes: &[u8]) {
        let now = self.now.monotonic;
        self.server
            .handle_stream_written(self.now, StreamId(stream), bytes.len());
        for piece in bytes.chunks(self.piece) {
            if stream == CONTROL.0 {
                self.client.handle_bytes(now, piece);
                continue;
            }
            let is_claimed = self.claimed.contains_key(&stream);
            match self.claims.get_mut(&stream) {
                Some(claim) if !is_claimed => match claim.handle_bytes(now, piece) {
                    Progress::Claimed(early) => _ = self.claimed.insert(stream, early),
                    Progress::Waiting => {}
                    refused @ Progress::Refused(_) => {
                        self.progress.insert(stream, refused);
                    }
                },
                Some(_) => self.claimed.entry(stream).or_default().extend(piece),
                None => self.of_peers.entry(stream).or_default().extend(piece),
            }
        }
    }

    fn settle(&mut self) {
        let mut batch = Batch::new();
        loop {
            let mut sent = Vec::new();
            while let Some(bytes) = self.client.poll_transmit() {
                sent.push((CONTROL, bytes));
            }
            for (stream, claim) in &mut self.claims {
                while let Some(bytes) = claim.poll_transmit() {
                    sent.push((StreamId(*stream), bytes));
                }
            }
            let is_quiet = sent.is_empty();
            for (stream, bytes) in sent {
                self.tell_server(stream, &bytes);
            }
            let mut has_said = false;
            loop {
                batch.clear();
                match self.server.poll_output(&mut batch) {
                    Output::Event(server::Event::Send { stream, bytes }) => {
                        has_said = true;
                        self.hear_server(stream, &bytes);
                    }
                    Output::Event(event) => {
                        if let server::Event::Listen { socket, address } = event {
                            self.listens_at = Some((socket, address));
                            self.server.handle_bound(self.now, socket, address, true);
                        }
                        if event == (server::Event::Disconnect { stream: CONTROL }) {
                            self.client.handle_disconnected();
                        }
                        self.wanted.push(event);
                    }
                    Output::Wait(_) => break,
                    other => panic!("{other:?}"),
                }
            }
            self.events
                .extend(std::iter::from_fn(|| self.client.poll_event()));
            if is_quiet && !has_said {
                return;
            }
        }
    }

    fn wait(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.now.monotonic += Duration::from_secs(1);
            self.now.wallclock += Duration::from_secs(1);
            self.server.handle_timeout(self.now);
            let due = self.client.poll_timeout();
            if due.is_some_and(|due| due.at <= self.now.monotonic) {
                self.client.handle_timeout(self.now.monotonic);
            }
            self.settle();
        }
    }

    fn connect(&mut self, peer: &str) -> AttemptId {
        let attempt = self.client.connect(self.now.monotonic, address(peer));
        self.settle();
        attempt
    }

    /// The connection that the server's driver is to open.
    fn opening(&mut self) -> Option<(server::ConnectionId, SocketAddr)> {
        let found = self.wanted.iter().find_map(|event| match event {
            server::Event::Connect { connection, to, .. } => Some((*connection, *to)),
            _ => None,
        });
        self.wanted.clear();
        found
    }

    /// Opens a stream and claims a connection on it.
    fn claim(&mut self, connection: ConnectionId) -> StreamId {
        self.streams += 1;
        let stream = StreamId(self.streams);
        self.open(stream);
        let claim = self.client.claim(self.now.monotonic, connection);
        self.claims.insert(stream.0, claim);
        self.settle();
        stream
    }

    fn next_stream(&mut self) -> StreamId {
        self.streams += 1;
        StreamId(self.streams)
    }
}

fn refused(code: u16, refusal: &Refusal) -> bool {
    matches!(refusal, Refusal::Refused { code: own, .. } if *own == code)
}

#[test]
fn a_connection_to_a_peer_carries_everything_both_ways() {
    for piece in [1, 7, 2000] {
        let mut lab = Lab::new();
        lab.piece = piece;
        let attempt = lab.connect(PEER);
        let (opening, to) = lab.opening().unwrap();
        assert_eq!((to, lab.take_events()), (address(PEER), vec![]));
        let of_peer = lab.next_stream();
        lab.server.handle_connected(lab.now, opening, Some(of_peer));
        lab.settle();
        let [
            Event::Connected {
                attempt: of,
                connection,
            },
        ] = lab.take_events()[..]
        else {
            panic!("not connected");
        };
        assert_eq!(of, attempt);
        // The peer is the first to speak, before anybody has claimed it.
        let stream = lab.claim(connection);
        let greeting: Vec<u8> = (0..3000_u32).map(|place| place as u8).collect();
        lab.server.handle_stream_bytes(lab.now, of_peer, &greeting);
        lab.settle();
        assert_eq!(lab.claimed[&stream.0], greeting);
        for word in [&b"there"[..], &[7; 5000]] {
            lab.of_peers.clear();
            lab.server.handle_stream_bytes(lab.now, stream, word);
            lab.settle();
            assert_eq!(lab.of_peers[&of_peer.0], word);
        }
        // What looks like TURN is nobody's but the peer's.
        lab.claimed.clear();
        lab.claimed.insert(stream.0, Vec::new());
        lab.server.handle_stream_bytes(lab.now, of_peer, &[0; 40]);
        lab.settle();
        assert_eq!(lab.claimed[&stream.0], [0; 40]);
    }
}

#[test]
fn a_peer_that_is_permitted_connects_and_another_does_not() {
    let mut lab = Lab::new();
    let peer = address(PEER);
    lab.client.permit(lab.now.monotonic, peer.ip());
    lab.settle();
    assert_eq!(lab.take_events(), [Event::Permitted(peer.ip())]);
    let at = lab.listens_at.unwrap();
    let stranger = lab.next_stream();
    lab.server
        .handle_accepted(lab.now, at, stranger, address("203.0.113.10:7000"));
    let of_peer = lab.next_stream();
    lab.server.handle_accepted(lab.now, at, of_peer, peer);
    lab.settle();
    let [
        Event::Attempted {
            peer: from,
            connection,
        },
    ] = lab.take_events()[..]
    else {
        panic!("nobody came");
    };
    assert_eq!(from, peer);
    let stream = lab.claim(connection);
    lab.server.handle_stream_bytes(lab.now, of_peer, b"hello");
    lab.settle();
    assert_eq!(lab.claimed[&stream.0], b"hello");
    // A number is claimed once.
    let again = lab.claim(connection);
    let said = lab.progress.get(&again.0);
    assert!(
        matches!(said, Some(Progress::Refused(why)) if refused(400, why)),
        "{said:?}"
    );
    // The permission lasts for as long as the allocation, and that for as long as it is wanted.
    lab.wait(3700);
    assert!(lab.client.is_allocated());
    let of_peer = lab.next_stream();
    let at = lab.listens_at.unwrap();
    lab.take_events();
    lab.server
        .handle_accepted(lab.now, at, of_peer, address("203.0.113.9:7001"));
    lab.settle();
    let came = lab.take_events();
    assert!(matches!(came[..], [Event::Attempted { .. }]), "{came:?}");
}

#[test]
fn refusals_are_told_with_their_codes() {
    let mut lab = Lab::new();
    let forbidden = lab.connect("10.0.0.1:80");
    let [Event::NotConnected { attempt, refusal }] = &lab.take_events()[..] else {
        panic!("it was not refused");
    };
    assert!(*attempt == forbidden && refused(403, refusal), "{refusal}");
    let private = "10.0.0.1".parse().unwrap();
    lab.client.permit(lab.now.monotonic, private);
    lab.settle();
    let events = lab.take_events();
    assert!(
        matches!(&events[..], [Event::NotPermitted(ip, why)] if *ip == private && refused(403, why)),
        "{events:?}"
    );
    // The same peer twice.
    lab.connect(PEER);
    let (opening, _) = lab.opening().unwrap();
    let twice = lab.connect(PEER);
    let events = lab.take_events();
    let is_it = |event: &Event, of: AttemptId, code: u16| {
        matches!(event, Event::NotConnected { attempt, refusal }
            if *attempt == of && refused(code, refusal))
    };
    assert!(is_it(&events[0], twice, 446), "{events:?}");
    // A peer that does not answer.
    lab.server.handle_connected(lab.now, opening, None);
    lab.settle();
    let events = lab.take_events();
    assert!(is_it(&events[0], AttemptId(2), 447), "{events:?}");
    // An allocation that the server has forgotten.
    let path = Path {
        socket: SocketId(1),
        local: address("198.51.100.1:3478"),
    };
    lab.server.handle_stream_closed(lab.now, CONTROL);
    lab.server
        .handle_stream_connected(lab.now, CONTROL, path, address("192.0.2.1:5001"));
    let late = lab.connect("203.0.113.12:80");
    let events = lab.take_events();
    assert!(is_it(&events[0], late, 437), "{events:?}");
    assert_eq!(events[1..], [Event::Lost]);
    assert!(lab.client.is_over());
    let never = lab.connect(PEER);
    let gone = Event::NotConnected {
        attempt: never,
        refusal: Refusal::Gone,
    };
    assert_eq!(lab.take_events(), [gone]);
}

#[test]
fn a_server_that_relays_no_tcp_and_a_wrong_password_are_told() {
    let mut lab = Lab::with(|config| config.tcp_relay = false, "secret");
    let code = |events: Vec<Event>| match &events[..] {
        [Event::Failed(failure)] => failure.code(),
        other => panic!("{other:?}"),
    };
    assert_eq!(code(lab.take_events()), 442);
    let mut lab = Lab::with(|_| {}, "wrong");
    assert_eq!(code(lab.take_events()), 401);
    assert!(lab.client.is_over() && lab.client.poll_timeout().is_none());
}

#[test]
fn what_is_asked_at_a_time_is_bounded_and_what_is_not_answered_is_given_up() {
    let mut lab = Lab::new();
    // The server's driver is still opening all of them.
    for port in 0..CONNECTING_MAX {
        lab.connect(&format!("203.0.113.9:{}", 8000 + port));
    }
    assert_eq!(lab.take_events(), []);
    let one_more = lab.connect("203.0.113.9:9000");
    let too_many = Event::NotConnected {
        attempt: one_more,
        refusal: Refusal::TooMany,
    };
    assert_eq!(lab.take_events(), [too_many]);
    lab.wait(50);
    let given_up = lab.take_events();
    assert_eq!(given_up.len(), CONNECTING_MAX);
    for event in given_up {
        assert!(matches!(event, Event::NotConnected { .. }), "{event:?}");
    }
    for host in 0..PERMITTED_MAX {
        let ip = IpAddr::from([203, 0, 113, u8::try_from(host).unwrap()]);
        lab.client.permit(lab.now.monotonic, ip);
    }
    lab.settle();
    lab.take_events();
    let ip = IpAddr::from([198, 51, 100, 200]);
    lab.client.permit(lab.now.monotonic, ip);
    lab.settle();
    let expected = Event::NotPermitted(ip, Refusal::TooMany);
    assert_eq!(lab.take_events(), [expected]);
}

#[test]
fn it_is_given_back_and_what_makes_no_sense_ends_it() {
    let mut lab = Lab::new();
    assert_eq!(lab.server.allocation_count(), 1);
    lab.client.close(lab.now.monotonic);
    assert!(!lab.client.is_over());
    lab.settle();
    assert!(lab.client.is_over());
    assert_eq!(
        (lab.server.allocation_count(), lab.take_events()),
        (0, vec![])
    );

    let mut lab = Lab::new();
    lab.client.handle_bytes(lab.now.monotonic, &[0xff; 8]);
    lab.settle();
    assert_eq!(lab.take_events(), [Event::Lost]);
    let mut random = Random::new([9; 32]);
    for _ in 0..200 {
        let mut lab = Lab::new();
        let mut noise = vec![0; 200];
        random.fill(&mut noise);
        noise[0] &= 0x7f;
        lab.client.handle_bytes(lab.now.monotonic, &noise);
        let mut claim = lab.client.claim(lab.now.monotonic, ConnectionId(7));
        claim.handle_bytes(lab.now.monotonic, &noise);
    }
    let mut claim = lab.client.claim(lab.now.monotonic, ConnectionId(7));
    let due = claim.poll_timeout().unwrap().at;
    assert_eq!(claim.handle_timeout(lab.now.monotonic), Progress::Waiting);
    let late = Progress::Refused(Refusal::Unanswered);
    assert_eq!(claim.handle_timeout(due), late);
}
