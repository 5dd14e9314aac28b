//! The client against a server that a test writes by hand. Against servers that others wrote see
//! `tests/interop`.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use twocan_wire::stun::{
    Attribute, Builder, ChannelNumber, Class, ErrorCode, Message, Method, PasswordAlgorithm,
    TransactionId,
};
use twocan_wire::turn::{ChannelData, channel_data_header};

use super::*;
use crate::random::Random;
use crate::turn::{LongTermKey, SecurityFeatures};

const REALM: &str = "example.org";

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn start() -> Instant {
    #[expect(clippy::disallowed_methods, reason = "an Instant has no other origin")]
    Instant::now()
}

/// A client, its clock, and what its server would check with.
struct Bench {
    now: Instant,
    client: Client,
    key: LongTermKey,
}

impl Bench {
    fn new(stream: bool) -> Self {
        let settings = Settings {
            server: address("192.0.2.1:3478"),
            account: Account {
                username: "ann".into(),
                password: "secret".into(),
            },
            stream,
        };
        let now = start();
        let mut client = Client::new(settings, Random::new([1; 32]));
        client.start(now);
        let key = LongTermKey::md5("ann", REALM, "secret");
        Self { now, client, key }
    }

    /// The next message, which must be a request of this method.
    fn request(&mut self, method: Method) -> Vec<u8> {
        let bytes = self.client.poll_transmit().unwrap();
        let message = Message::parse(&bytes).unwrap();
        assert_eq!((message.class, message.method), (Class::Request, method));
        bytes
    }

    /// The same, and it must be signed.
    fn signed(&mut self, method: Method) -> Vec<u8> {
        let bytes = self.request(method);
        self.key.verify(&Message::parse(&bytes).unwrap()).unwrap();
        bytes
    }

    fn answer(&mut self, request: &[u8], class: Class, attributes: &[Attribute<'_>]) {
        let key = self.key.clone();
        self.answer_with(request, class, attributes, Some(&key));
    }

    fn answer_with(
        &mut self,
        request: &[u8],
        class: Class,
        attributes: &[Attribute<'_>],
        key: Option<&LongTermKey>,
    ) {
        let request = Message::parse(request).unwrap();
        let mut bytes = Vec::new();
        let mut builder = Builder::new(&mut bytes, class, request.method, request.transaction);
        for attribute in attributes {
            builder.attribute(*attribute);
        }
        match key {
            Some(key) => key.finish(builder),
            None => builder.finish(),
        }
        assert_eq!(self.client.handle(self.now, &mut bytes), Received::Taken);
    }

    fn challenge(&mut self, request: &[u8], error: ErrorCode<'_>, nonce: &str) {
        let attributes = [
            Attribute::ErrorCode(error),
            Attribute::Realm(REALM),
            Attribute::Nonce(nonce),
        ];
        self.answer_with(request, Class::Error, &attributes, None);
    }

    fn refuse(&mut self, request: &[u8], error: ErrorCode<'_>) {
        self.answer(request, Class::Error, &[Attribute::ErrorCode(error)]);
    }

    fn allocate(&mut self) {
        let first = self.request(Method::ALLOCATE);
        self.challenge(&first, ErrorCode::UNAUTHENTICATED, "one");
        let second = self.signed(Method::ALLOCATE);
        self.grant(&second, 600);
    }

    fn grant(&mut self, request: &[u8], lifetime: u32) {
        let attributes = [
            Attribute::XorRelayedAddress(address("192.0.2.1:50000")),
            Attribute::XorRelayedAddress(address("[2001:db8::1]:50001")),
            Attribute::XorMappedAddress(address("198.51.100.9:4000")),
            Attribute::Lifetime(lifetime),
        ];
        self.answer(request, Class::Success, &attributes);
        let event = Event::Allocated {
            relayed: vec![address("192.0.2.1:50000"), address("[2001:db8::1]:50001")],
            mapped: Some(address("198.51.100.9:4000")),
        };
        assert_eq!(self.client.poll_event(), Some(event));
    }

    fn shown_ticket(request: &[u8]) -> Option<Vec<u8>> {
        let request = Message::parse(request).unwrap();
        request.attributes().find_map(|attribute| match attribute {
            Attribute::MobilityTicket(ticket) => Some(ticket.to_vec()),
            _ => None,
        })
    }

    /// Runs to the next deadline, which must be so far away.
    fn sleep(&mut self, time: Duration) {
        let deadline = self.client.poll_timeout().unwrap();
        assert_eq!(deadline.at, self.now + time);
        self.now = deadline.at;
        self.client.handle_timeout(self.now);
    }

    fn run_for(&mut self, time: Duration) -> Vec<Vec<u8>> {
        let end = self.now + time;
        let mut sent = Vec::new();
        while let Some(deadline) = self.client.poll_timeout().filter(|own| own.at <= end) {
            self.now = deadline.at;
            self.client.handle_timeout(self.now);
            while let Some(bytes) = self.client.poll_transmit() {
                let (class, method) = {
                    let message = Message::parse(&bytes).unwrap();
                    (message.class, message.method)
                };
                assert_eq!(class, Class::Request);
                if method == Method::REFRESH {
                    self.answer(&bytes, Class::Success, &[Attribute::Lifetime(600)]);
                } else {
                    self.answer(&bytes, Class::Success, &[]);
                }
                sent.push(bytes);
            }
        }
        self.now = end;
        sent
    }
}

fn has(bytes: &[u8], attribute: Attribute<'_>) -> bool {
    let message = Message::parse(bytes).unwrap();
    message.attributes().any(|own| own == attribute)
}

#[test]
fn an_allocation_is_asked_for_with_the_credentials_that_the_server_wants() {
    let mut bench = Bench::new(false);
    let first = bench.request(Method::ALLOCATE);
    assert!(has(&first, Attribute::RequestedTransport(17)));
    assert_eq!(Message::parse(&first).unwrap().username(), None);
    bench.challenge(&first, ErrorCode::UNAUTHENTICATED, "one");
    let second = bench.signed(Method::ALLOCATE);
    assert!(has(&second, Attribute::Username("ann")));
    assert!(has(&second, Attribute::Realm(REALM)) && has(&second, Attribute::Nonce("one")));
    // An answer that somebody else signed, or nobody, is none.
    let other = LongTermKey::md5("ann", REALM, "guess");
    let relayed = [Attribute::XorRelayedAddress(address("203.0.113.1:1"))];
    bench.answer_with(&second, Class::Success, &relayed, Some(&other));
    bench.answer_with(&second, Class::Success, &relayed, None);
    assert_eq!(bench.client.counters().get("turn.answer_bad_integrity"), 2);
    assert!(bench.client.is_pending());
    bench.grant(&second, 600);
    assert!(bench.client.is_allocated());
}

#[test]
fn sha256_and_a_hidden_name_are_used_where_the_server_offers_them() {
    let features = SecurityFeatures {
        password_algorithms: true,
        username_anonymity: true,
    };
    let nonce = format!("{}x", features.nonce_prefix());
    let mut offered = Vec::new();
    PasswordAlgorithm(99).write(&mut offered);
    PasswordAlgorithm::SHA256.write(&mut offered);
    PasswordAlgorithm::MD5.write(&mut offered);
    let mut bench = Bench::new(false);
    bench.key = LongTermKey::sha256("ann", REALM, "secret");
    let first = bench.request(Method::ALLOCATE);
    // Without the list that the nonce speaks of the challenge is somebody else's.
    bench.challenge(&first, ErrorCode::UNAUTHENTICATED, &nonce);
    assert_eq!(bench.client.counters().get("turn.challenge_downgraded"), 1);
    assert_eq!(bench.client.poll_transmit(), None);
    let attributes = [
        Attribute::ErrorCode(ErrorCode::UNAUTHENTICATED),
        Attribute::Realm(REALM),
        Attribute::Nonce(&nonce),
        Attribute::PasswordAlgorithms(&offered),
    ];
    bench.answer_with(&first, Class::Error, &attributes, None);
    let second = bench.signed(Method::ALLOCATE);
    let hash = crate::turn::userhash("ann", REALM);
    assert!(has(&second, Attribute::Userhash(&hash)));
    assert_eq!(Message::parse(&second).unwrap().username(), None);
    assert!(has(&second, Attribute::PasswordAlgorithms(&offered)));
    assert!(has(
        &second,
        Attribute::PasswordAlgorithm(PasswordAlgorithm::SHA256)
    ));
    bench.grant(&second, 600);
}

#[test]
fn a_stale_nonce_is_replaced_and_wrong_credentials_are_the_end() {
    let mut bench = Bench::new(false);
    bench.allocate();
    bench.sleep(Duration::from_secs(540));
    let refresh = bench.signed(Method::REFRESH);
    bench.challenge(&refresh, ErrorCode::STALE_NONCE, "two");
    let again = bench.signed(Method::REFRESH);
    assert!(has(&again, Attribute::Nonce("two")));
    bench.answer(&again, Class::Success, &[Attribute::Lifetime(600)]);
    bench.sleep(Duration::from_secs(540));

    let mut bench = Bench::new(false);
    let first = bench.request(Method::ALLOCATE);
    bench.challenge(&first, ErrorCode::UNAUTHENTICATED, "one");
    let second = bench.signed(Method::ALLOCATE);
    bench.challenge(&second, ErrorCode::UNAUTHENTICATED, "two");
    let failure = Failure::Refused {
        code: 401,
        reason: "Unauthenticated".into(),
    };
    assert_eq!(bench.client.poll_event(), Some(Event::Failed(failure)));
    assert_eq!(bench.client.poll_transmit(), None);
    assert_eq!(bench.client.poll_timeout(), None);

    // A server that calls every nonce stale is not asked for ever.
    let mut bench = Bench::new(false);
    let mut request = bench.request(Method::ALLOCATE);
    for _ in 0..3 {
        bench.challenge(&request, ErrorCode::STALE_NONCE, "old");
        request = bench.signed(Method::ALLOCATE);
    }
    bench.challenge(&request, ErrorCode::STALE_NONCE, "old");
    assert!(matches!(bench.client.poll_event(), Some(Event::Failed(_))));
}

#[test]
fn a_nonce_that_ages_under_many_requests_is_one_challenge() {
    let mut bench = Bench::new(false);
    bench.allocate();
    let peers = (1..=8_u8).map(|last| SocketAddr::from(([203, 0, 113, last], 6000)));
    for peer in peers {
        bench.client.envelope(bench.now, peer).unwrap();
    }
    let asked: Vec<_> = (0..8)
        .map(|_| bench.signed(Method::CREATE_PERMISSION))
        .collect();
    let peer = |bytes: &[u8]| Message::parse(bytes).unwrap().peer_address();
    let mut again = Vec::new();
    for request in &asked {
        bench.challenge(request, ErrorCode::STALE_NONCE, "two");
        let repeated = bench.signed(Method::CREATE_PERMISSION);
        assert!(has(&repeated, Attribute::Nonce("two")));
        assert_eq!(peer(&repeated), peer(request));
        again.push(repeated);
    }
    // The new one may be too old as well, but not for ever.
    let mut request = again.remove(0);
    for _ in 0..2 {
        bench.challenge(&request, ErrorCode::STALE_NONCE, "three");
        request = bench.signed(Method::CREATE_PERMISSION);
    }
    bench.challenge(&request, ErrorCode::STALE_NONCE, "three");
    assert_eq!(bench.client.poll_transmit(), None);
    assert_eq!(bench.client.counters().get("turn.credentials_refused"), 1);
    for request in &again {
        bench.challenge(request, ErrorCode::STALE_NONCE, "three");
        let request = bench.signed(Method::CREATE_PERMISSION);
        bench.answer(&request, Class::Success, &[]);
    }
    assert_eq!(bench.client.counters().get("turn.credentials_refused"), 1);
    assert_eq!(bench.client.counters().get("turn.peer_refused"), 1);
}

#[test]
fn a_silent_server_is_asked_eight_times_and_then_given_up() {
    let mut bench = Bench::new(false);
    let first = bench.request(Method::ALLOCATE);
    for wait in [250, 500, 1000, 2000, 2000, 2000, 2000] {
        bench.sleep(Duration::from_millis(wait));
        assert_eq!(bench.request(Method::ALLOCATE), first);
    }
    bench.sleep(Duration::from_secs(2));
    let event = bench.client.poll_event();
    assert_eq!(event, Some(Event::Failed(Failure::Unreachable)));
    // On a stream nothing is repeated.
    let mut bench = Bench::new(true);
    bench.request(Method::ALLOCATE);
    bench.sleep(Duration::from_millis(11_750));
    assert_eq!(bench.client.poll_transmit(), None);
    let event = bench.client.poll_event();
    assert_eq!(event, Some(Event::Failed(Failure::Unreachable)));
}

#[test]
fn another_server_is_tried_where_this_one_says_so_and_not_in_circles() {
    let mut bench = Bench::new(false);
    let servers = ["192.0.2.2:3478", "192.0.2.3:3478", "192.0.2.1:3478"].map(address);
    for server in &servers[..2] {
        let request = bench.request(Method::ALLOCATE);
        assert_eq!(Message::parse(&request).unwrap().username(), None);
        let attributes = [
            Attribute::ErrorCode(ErrorCode::TRY_ALTERNATE),
            Attribute::AlternateServer(*server),
        ];
        bench.answer_with(&request, Class::Error, &attributes, None);
        assert_eq!(bench.client.poll_event(), Some(Event::Redirected(*server)));
        assert_eq!(bench.client.server(), *server);
    }
    let request = bench.request(Method::ALLOCATE);
    let attributes = [
        Attribute::ErrorCode(ErrorCode::TRY_ALTERNATE),
        Attribute::AlternateServer(servers[2]),
    ];
    bench.answer_with(&request, Class::Error, &attributes, None);
    let failure = Failure::Redirected(servers[2]);
    assert_eq!(bench.client.poll_event(), Some(Event::Failed(failure)));
}

#[test]
fn a_refusal_names_its_code() {
    for error in [
        ErrorCode::FORBIDDEN,
        ErrorCode::ALLOCATION_MISMATCH,
        ErrorCode::UNSUPPORTED_TRANSPORT_PROTOCOL,
        ErrorCode::ALLOCATION_QUOTA_REACHED,
        ErrorCode::INSUFFICIENT_CAPACITY,
    ] {
        let mut bench = Bench::new(false);
        let first = bench.request(Method::ALLOCATE);
        bench.challenge(&first, ErrorCode::UNAUTHENTICATED, "one");
        let second = bench.signed(Method::ALLOCATE);
        bench.refuse(&second, error);
        let Some(Event::Failed(failure)) = bench.client.poll_event() else {
            panic!("{error:?} is no failure");
        };
        assert_eq!(failure.code(), error.code);
        assert_eq!(bench.client.poll_timeout(), None);
    }
}

/// RFC 8656 §7.4: who is told 442 for UDP does not ask again.
#[test]
fn a_server_that_relays_no_udp_is_left_alone() {
    let mut bench = Bench::new(false);
    let first = bench.request(Method::ALLOCATE);
    bench.challenge(&first, ErrorCode::UNAUTHENTICATED, "one");
    let second = bench.signed(Method::ALLOCATE);
    bench.refuse(&second, ErrorCode::UNSUPPORTED_TRANSPORT_PROTOCOL);
    let failed = bench.client.poll_event();
    let Some(Event::Failed(Failure::Refused { code: 442, .. })) = failed else {
        panic!("{failed:?}");
    };
    assert_eq!(bench.client.counters().get("turn.relays_no_udp"), 1);
    bench
        .client
        .handle_timeout(bench.now + Duration::from_secs(3600));
    assert_eq!(bench.client.poll_transmit(), None);
    assert_eq!(bench.client.poll_timeout(), None);
}

#[test]
fn data_goes_by_indication_until_there_is_a_channel() {
    let mut bench = Bench::new(false);
    let peer = address("203.0.113.5:6000");
    assert_eq!(bench.client.envelope(bench.now, peer), None);
    bench.allocate();
    let envelope = bench.client.envelope(bench.now, peer).unwrap();
    let permission = bench.signed(Method::CREATE_PERMISSION);
    assert_eq!(
        Message::parse(&permission).unwrap().peer_address(),
        Some(SocketAddr::new(peer.ip(), 0))
    );
    let mut out = Vec::new();
    envelope.wrap(&mut out, |out| out.extend_from_slice(b"hello"));
    let sent = Message::parse(&out).unwrap();
    assert_eq!((sent.class, sent.method), (Class::Indication, Method::SEND));
    bench.answer(&permission, Class::Success, &[]);
    bench.client.bind(bench.now, peer);
    bench.client.bind(bench.now, peer);
    let bind = bench.signed(Method::CHANNEL_BIND);
    assert_eq!(bench.client.poll_transmit(), None);
    assert!(has(&bind, Attribute::ChannelNumber(ChannelNumber::MIN)));
    bench.answer(&bind, Class::Success, &[]);
    let envelope = bench.client.envelope(bench.now, peer).unwrap();
    let mut out = Vec::new();
    envelope.wrap(&mut out, |out| out.extend_from_slice(b"hello"));
    assert_eq!(ChannelData::parse(&out).unwrap().data, b"hello");
    // And back, both ways.
    let mut datagram = channel_data_header(ChannelNumber::MIN, 2).to_vec();
    datagram.extend_from_slice(b"hi");
    match bench.client.handle(bench.now, &mut datagram) {
        Received::Data { peer: from, bytes } => assert_eq!((from, &*bytes), (peer, &b"hi"[..])),
        other => panic!("{other:?}"),
    }
    let mut datagram = Vec::new();
    let id = TransactionId([5; 12]);
    let mut builder = Builder::new(&mut datagram, Class::Indication, Method::DATA, id);
    builder.attribute(Attribute::XorPeerAddress(peer));
    builder.attribute(Attribute::Data(b"hey"));
    builder.finish();
    match bench.client.handle(bench.now, &mut datagram) {
        Received::Data { peer: from, bytes } => assert_eq!((from, &*bytes), (peer, &b"hey"[..])),
        other => panic!("{other:?}"),
    }
    let mut unknown = channel_data_header(ChannelNumber::MAX, 0).to_vec();
    assert_eq!(
        bench.client.handle(bench.now, &mut unknown),
        Received::Taken
    );
    assert_eq!(bench.client.counters().get("turn.unknown_channel"), 1);
}

#[test]
fn what_is_used_is_kept_and_what_is_not_runs_out() {
    let mut bench = Bench::new(false);
    bench.allocate();
    let (used, idle) = (address("203.0.113.5:6000"), address("203.0.113.6:6000"));
    for peer in [used, idle] {
        bench.client.envelope(bench.now, peer).unwrap();
        let request = bench.signed(Method::CREATE_PERMISSION);
        bench.answer(&request, Class::Success, &[]);
    }
    bench.client.bind(bench.now, used);
    let request = bench.signed(Method::CHANNEL_BIND);
    bench.answer(&request, Class::Success, &[]);
    let mut asked = Vec::new();
    for _ in 0..1200 {
        bench.client.envelope(bench.now, used).unwrap();
        asked.extend(bench.run_for(Duration::from_secs(1)));
    }
    let count = |method| {
        let methods = asked
            .iter()
            .map(|bytes| Message::parse(bytes).unwrap().method);
        methods.filter(|own| *own == method).count()
    };
    // The channel every 240 s, which keeps its permission; the other permission once more, and
    // the allocation after 540 s and 1080 s.
    assert_eq!(count(Method::CHANNEL_BIND), 5);
    assert_eq!(count(Method::CREATE_PERMISSION), 1);
    assert_eq!(count(Method::REFRESH), 2);
    assert!(bench.client.is_allocated());
}

#[test]
fn a_peer_that_the_server_forbids_is_reported_and_never_sent_to() {
    let mut bench = Bench::new(false);
    bench.allocate();
    let peer = address("10.0.0.1:6000");
    bench.client.envelope(bench.now, peer).unwrap();
    let request = bench.signed(Method::CREATE_PERMISSION);
    bench.refuse(&request, ErrorCode::FORBIDDEN);
    assert_eq!(bench.client.poll_event(), Some(Event::Refused(peer.ip())));
    assert_eq!(bench.client.envelope(bench.now, peer), None);
    assert_eq!(bench.client.poll_transmit(), None);
}

#[test]
fn an_allocation_that_the_server_forgot_is_lost_and_one_that_is_closed_is_given_back() {
    let mut bench = Bench::new(false);
    bench.allocate();
    bench.sleep(Duration::from_secs(540));
    let request = bench.signed(Method::REFRESH);
    bench.refuse(&request, ErrorCode::ALLOCATION_MISMATCH);
    assert_eq!(bench.client.poll_event(), Some(Event::Lost));
    assert_eq!(bench.client.poll_timeout(), None);

    // One whose refreshes are never answered ends when it ends at the server.
    let mut bench = Bench::new(false);
    bench.allocate();
    let begun = bench.now;
    while bench.client.is_allocated() {
        bench.now = bench.client.poll_timeout().unwrap().at;
        bench.client.handle_timeout(bench.now);
        while bench.client.poll_transmit().is_some() {}
    }
    assert_eq!(bench.now - begun, Duration::from_secs(600));
    assert_eq!(bench.client.poll_event(), Some(Event::Lost));

    let mut bench = Bench::new(false);
    bench.allocate();
    bench.client.close(bench.now);
    let release = bench.signed(Method::REFRESH);
    assert!(has(&release, Attribute::Lifetime(0)));
    assert!(bench.client.is_releasing());
    bench.challenge(&release, ErrorCode::STALE_NONCE, "two");
    let release = bench.signed(Method::REFRESH);
    assert!(has(&release, Attribute::Nonce("two")));
    bench.answer(&release, Class::Success, &[Attribute::Lifetime(0)]);
    assert!(!bench.client.is_releasing());
    assert_eq!(bench.client.poll_transmit(), None);
    assert_eq!(bench.client.poll_timeout(), None);
}

#[test]
fn what_is_not_turn_is_handed_back() {
    let mut bench = Bench::new(false);
    bench.allocate();
    let mut binding = Vec::new();
    let id = TransactionId([5; 12]);
    Builder::new(&mut binding, Class::Success, Method::BINDING, id).finish();
    let copy = binding.clone();
    match bench.client.handle(bench.now, &mut binding) {
        Received::Other(bytes) => assert_eq!(bytes, copy),
        other => panic!("{other:?}"),
    }
    let mut dtls = [22, 254, 253];
    assert!(matches!(
        bench.client.handle(bench.now, &mut dtls),
        Received::Other(_)
    ));
    assert_eq!(
        bench.client.handle(bench.now, &mut [0, 1, 0]),
        Received::Taken
    );
}

proptest::proptest! {
    #[test]
    fn arbitrary_bytes_change_nothing(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200), first in 0_u8..80) {
        let mut bench = Bench::new(false);
        bench.allocate();
        let mut bytes = bytes;
        if let Some(byte) = bytes.first_mut() {
            *byte = first;
        }
        bench.client.handle(bench.now, &mut bytes);
        proptest::prop_assert!(bench.client.is_allocated());
        proptest::prop_assert_eq!(bench.client.poll_event(), None);
    }
}

/// With a ticket.
fn mobile() -> Bench {
    let mut bench = Bench::new(false);
    let first = bench.request(Method::ALLOCATE);
    assert_eq!(Bench::shown_ticket(&first), Some(Vec::new()));
    bench.challenge(&first, ErrorCode::UNAUTHENTICATED, "one");
    let second = bench.signed(Method::ALLOCATE);
    assert_eq!(Bench::shown_ticket(&second), Some(Vec::new()));
    let attributes = [
        Attribute::XorRelayedAddress(address("192.0.2.1:50000")),
        Attribute::Lifetime(600),
        Attribute::MobilityTicket(b"first"),
    ];
    bench.answer(&second, Class::Success, &attributes);
    let allocated = bench.client.poll_event();
    assert!(matches!(allocated, Some(Event::Allocated { .. })));
    bench
}

#[test]
fn an_allocation_is_taken_along_with_its_ticket() {
    let mut bench = mobile();
    assert!(bench.client.can_relocate());
    let peer = address("203.0.113.9:7000");
    bench.client.bind(bench.now, peer);
    let lost = bench.signed(Method::CHANNEL_BIND);
    bench.client.relocate(bench.now);
    let moving = bench.signed(Method::REFRESH);
    assert_eq!(Bench::shown_ticket(&moving), Some(b"first".to_vec()));
    // A nonce is often one of an address.
    bench.challenge(&moving, ErrorCode::STALE_NONCE, "two");
    let moving = bench.signed(Method::REFRESH);
    assert_eq!(Bench::shown_ticket(&moving), Some(b"first".to_vec()));
    let attributes = [
        Attribute::Lifetime(600),
        Attribute::MobilityTicket(b"second"),
    ];
    bench.answer(&moving, Class::Success, &attributes);
    assert_eq!(bench.client.poll_event(), Some(Event::Moved));
    // What was under way is asked for again when it is used, and its late answer is nobody's.
    bench.answer(&lost, Class::Success, &[]);
    assert_eq!(
        bench.client.counters().get("turn.answer_without_request"),
        1
    );
    bench.client.bind(bench.now, peer);
    bench.signed(Method::CHANNEL_BIND);
    bench.client.relocate(bench.now);
    let again = bench.signed(Method::REFRESH);
    assert_eq!(Bench::shown_ticket(&again), Some(b"second".to_vec()));
    bench.refuse(&again, ErrorCode::BAD_REQUEST);
    assert_eq!(bench.client.poll_event(), Some(Event::Lost));
}

#[test]
fn a_server_that_forbids_mobility_is_asked_without_and_one_without_gives_no_ticket() {
    let mut bench = Bench::new(false);
    let first = bench.request(Method::ALLOCATE);
    bench.challenge(&first, ErrorCode::UNAUTHENTICATED, "one");
    let second = bench.signed(Method::ALLOCATE);
    bench.refuse(&second, ErrorCode::MOBILITY_FORBIDDEN);
    let third = bench.signed(Method::ALLOCATE);
    assert_eq!(Bench::shown_ticket(&third), None);
    bench.grant(&third, 600);
    assert!(!bench.client.can_relocate());
    bench.client.relocate(bench.now);
    assert_eq!(bench.client.poll_transmit(), None);
    let mut bench = Bench::new(false);
    bench.allocate();
    assert!(!bench.client.can_relocate());
}

#[test]
fn a_translator_that_has_forgotten_us_does_not_cost_the_allocation() {
    let mut bench = mobile();
    bench.client.confirm(bench.now);
    let confirm = bench.signed(Method::REFRESH);
    assert_eq!(Bench::shown_ticket(&confirm), None);
    bench.refuse(&confirm, ErrorCode::ALLOCATION_MISMATCH);
    let moving = bench.signed(Method::REFRESH);
    assert_eq!(Bench::shown_ticket(&moving), Some(b"first".to_vec()));
    bench.refuse(&moving, ErrorCode::ALLOCATION_MISMATCH);
    assert_eq!(bench.client.poll_event(), Some(Event::Lost));
}
