//! The TURN client against coturn on loopback: what a server refuses, and how the client takes it.
//! coturn 4.6 has neither SHA-256 nor USERHASH; those are tested with vectors and our own server.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "all of this is a test, and one that cannot run says so"
)]

use std::net::{SocketAddr, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use twocan_proto::random::Random;
use twocan_proto::turn::client::{Account, Client, Event, Failure, Received, Settings};

/// For anything that is waited for; two busy cores are slow.
const WITHIN: Duration = Duration::from_secs(30);

/// Ends with the test.
struct Coturn {
    program: Child,
    address: SocketAddr,
}

impl Drop for Coturn {
    fn drop(&mut self) {
        let _ = self.program.kill();
        let _ = self.program.wait();
    }
}

fn now() -> Instant {
    Instant::now()
}

fn free_address() -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.local_addr().unwrap()
}

/// Starts coturn, with one user `ann` and one `bob`; `None` where it is not installed.
fn coturn_at(address: SocketAddr, arguments: &[&str]) -> Option<Coturn> {
    let own = ["-n", "--no-cli", "--no-tcp", "--no-tls", "--no-dtls"];
    let users = ["-r", "lab", "-u", "ann:secret", "-u", "bob:secret", "-a"];
    let place = [
        "--log-file=stdout".to_owned(),
        "--pidfile=/dev/null".to_owned(),
        format!("--listening-port={}", address.port()),
    ];
    let program = Command::new("turnserver")
        .args(own)
        .args(users)
        .args(place)
        .args(["-L", "127.0.0.1", "-E", "127.0.0.1"])
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let Ok(program) = program else {
        println!("NOT RUN: turnserver is not installed (apt-get install coturn)");
        return None;
    };
    Some(Coturn { program, address })
}

fn coturn(arguments: &[&str]) -> Option<Coturn> {
    coturn_at(free_address(), arguments)
}

/// A client and its socket.
struct Guest {
    socket: UdpSocket,
    client: Client,
    events: Vec<Event>,
    sent: usize,
}

impl Guest {
    fn on(socket: UdpSocket, server: SocketAddr, username: &str, seed: u8) -> Self {
        let settings = Settings {
            server,
            account: Account {
                username: username.to_owned(),
                password: "secret".to_owned(),
            },
            stream: false,
        };
        socket
            .set_read_timeout(Some(Duration::from_millis(20)))
            .unwrap();
        let mut client = Client::new(settings, Random::new([seed; 32]));
        client.start(now());
        Self {
            socket,
            client,
            events: Vec::new(),
            sent: 0,
        }
    }

    fn new(server: SocketAddr, username: &str, seed: u8) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        Self::on(socket, server, username, seed)
    }

    fn run_until(&mut self, done: impl Fn(&Self) -> bool) {
        let end = now() + WITHIN;
        let mut buffer = [0; 2048];
        loop {
            while let Some(bytes) = self.client.poll_transmit() {
                self.sent += 1;
                // A server that is not up yet refuses by ICMP.
                let _ = self.socket.send_to(&bytes, self.client.server());
            }
            self.events
                .extend(std::iter::from_fn(|| self.client.poll_event()));
            if done(self) {
                return;
            }
            assert!(now() < end, "{:?}, {:?}", self.events, self.client);
            if let Ok((len, _)) = self.socket.recv_from(&mut buffer) {
                let received = self.client.handle(now(), &mut buffer[..len]);
                // After a move coturn sends eight bytes that are neither STUN nor ChannelData.
                assert!(
                    matches!(received, Received::Taken | Received::Other(_)),
                    "{received:?}"
                );
            }
            let due = self.client.poll_timeout();
            if due.is_some_and(|due| due.at <= now()) {
                self.client.handle_timeout(now());
            }
        }
    }

    /// The outcome of the allocation: `None` where there is one.
    fn outcome(&mut self) -> Option<Failure> {
        let is_outcome =
            |event: &Event| matches!(event, Event::Allocated { .. } | Event::Failed(_));
        self.run_until(|own| own.events.iter().any(is_outcome));
        self.events.iter().find_map(|event| match event {
            Event::Failed(failure) => Some(failure.clone()),
            _ => None,
        })
    }

    fn code(&mut self) -> Option<u16> {
        self.outcome().map(|failure| failure.code())
    }
}

#[test]
fn a_user_beyond_the_quota_gets_486_and_room_when_another_goes() {
    let Some(server) = coturn(&["--user-quota=1"]) else {
        return;
    };
    let mut first = Guest::new(server.address, "ann", 1);
    assert_eq!(first.code(), None);
    let mut second = Guest::new(server.address, "ann", 2);
    assert_eq!(second.code(), Some(486));
    assert_eq!(Guest::new(server.address, "bob", 3).code(), None);
    first.client.close(now());
    first.run_until(|own| !own.client.is_releasing());
    // coturn answers first, and counts the user out a while later.
    let end = now() + WITHIN;
    for seed in 4.. {
        let mut next = Guest::new(server.address, "ann", seed);
        let code = next.code();
        if code.is_none() {
            break;
        }
        assert_eq!(code, Some(486));
        assert!(now() < end, "the user still counts");
        let pause = now() + Duration::from_millis(500);
        next.run_until(|_| now() > pause);
    }
}

#[test]
fn a_server_without_ports_says_508() {
    let port = format!("{}", free_address().port());
    let ports = [format!("--min-port={port}"), format!("--max-port={port}")];
    let Some(server) = coturn(&[&ports[0], &ports[1]]) else {
        return;
    };
    let mut codes: Vec<Option<u16>> = Vec::new();
    let mut guests = Vec::new();
    for seed in 0..3 {
        let mut guest = Guest::new(server.address, "ann", seed);
        codes.push(guest.code());
        guests.push(guest);
    }
    assert_eq!(codes.last(), Some(&Some(508)), "{codes:?}");
}

#[test]
fn one_port_is_one_allocation_and_one_user() {
    let Some(server) = coturn(&[]) else {
        return;
    };
    let mut first = Guest::new(server.address, "ann", 1);
    assert_eq!(first.code(), None);
    // The same five-tuple, by another client.
    let again = first.socket.try_clone().unwrap();
    assert_eq!(Guest::on(again, server.address, "ann", 2).code(), Some(437));
    let other = first.socket.try_clone().unwrap();
    let code = Guest::on(other, server.address, "bob", 3).code();
    assert!(matches!(code, Some(437 | 441)), "{code:?}");
}

#[test]
fn a_client_whose_translator_forgot_it_learns_that_its_allocation_is_gone() {
    let Some(server) = coturn(&[]) else {
        return;
    };
    let mut guest = Guest::new(server.address, "ann", 1);
    assert_eq!(guest.code(), None);
    guest.client.confirm(now());
    guest.run_until(|own| {
        own.client
            .poll_timeout()
            .is_some_and(|due| due.reason == "turn.refresh")
    });
    assert!(guest.client.is_allocated());
    // From another port it is a stranger.
    guest.socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    guest
        .socket
        .set_read_timeout(Some(Duration::from_millis(20)))
        .unwrap();
    guest.client.confirm(now());
    guest.run_until(|own| own.events.contains(&Event::Lost));
}

/// RFC 8016. coturn moves allocations where it is told to, and says 405 where it is not.
#[test]
fn an_allocation_moves_where_the_server_lets_it() {
    let Some(server) = coturn(&["--mobility"]) else {
        return;
    };
    let mut guest = Guest::new(server.address, "ann", 1);
    assert_eq!(guest.code(), None);
    for _ in 0..2 {
        assert!(guest.client.can_relocate(), "{:?}", guest.events);
        guest.events.clear();
        guest.socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let timeout = Some(Duration::from_millis(20));
        guest.socket.set_read_timeout(timeout).unwrap();
        guest.client.relocate(now());
        let moved_or_lost = |own: &Guest| !own.events.is_empty();
        guest.run_until(moved_or_lost);
        assert_eq!(guest.events, [Event::Moved]);
    }
    let Some(other) = coturn(&[]) else {
        return;
    };
    let mut guest = Guest::new(other.address, "ann", 2);
    assert_eq!(guest.code(), None);
    assert!(!guest.client.can_relocate());
}

#[test]
fn a_nonce_that_has_aged_costs_one_more_request_and_no_allocation() {
    let Some(server) = coturn(&["--stale-nonce=1"]) else {
        return;
    };
    let mut guest = Guest::new(server.address, "ann", 1);
    assert_eq!(guest.code(), None);
    for _ in 0..2 {
        let end = now() + Duration::from_millis(2_500);
        guest.run_until(|_| now() > end);
        let sent = guest.sent;
        guest.client.confirm(now());
        let is_settled = |own: &Guest| {
            let due = own.client.poll_timeout();
            due.is_some_and(|due| due.reason == "turn.refresh")
        };
        guest.run_until(is_settled);
        assert!(guest.sent >= sent + 2, "the nonce was not stale");
        assert!(guest.client.is_allocated(), "{:?}", guest.events);
    }
}

#[test]
fn another_server_is_followed_and_a_circle_is_left() {
    let (one, two) = (free_address(), free_address());
    let other = format!("--alternate-server={two}");
    let (Some(_first), Some(second)) = (coturn_at(one, &[&other]), coturn_at(two, &[])) else {
        return;
    };
    let mut guest = Guest::new(one, "ann", 1);
    assert_eq!(guest.code(), None, "{:?}", guest.events);
    assert_eq!(guest.events.first(), Some(&Event::Redirected(two)));
    assert_eq!(guest.client.server(), two);
    // The other sends everybody back.
    drop(second);
    let back = format!("--alternate-server={one}");
    let _second = coturn_at(two, &[&back]).unwrap();
    let outcome = Guest::new(one, "ann", 2).outcome();
    assert_eq!(outcome, Some(Failure::Redirected(one)));
}

#[test]
fn an_address_that_the_server_forbids_is_named() {
    let Some(server) = coturn(&[]) else {
        return;
    };
    let mut guest = Guest::new(server.address, "ann", 1);
    assert_eq!(guest.code(), None);
    let peer: SocketAddr = "127.0.0.1:9".parse().unwrap();
    guest.client.bind(now(), peer);
    guest.run_until(|own| own.events.contains(&Event::Refused(peer.ip())));
    assert!(guest.client.is_allocated());
}
