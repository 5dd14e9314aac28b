use std::time::{Duration, Instant};

use super::*;
use crate::crypto::Hash;
use crate::keying::SrtpKeys;
use crate::random::Random;

const ONE_WAY: Duration = Duration::from_millis(50);

fn start() -> Instant {
    #[expect(clippy::disallowed_methods, reason = "an Instant has no other origin")]
    Instant::now()
}

/// Two connections and what is on its way between them.
struct Pair {
    now: Instant,
    ends: [Connection; 2],
    wire: Vec<(Instant, usize, Vec<u8>)>,
    /// Datagrams sent so far, by sender: those whose index is in `drop` are lost.
    sent: [usize; 2],
    drop: [Vec<usize>; 2],
    events: [Vec<Event>; 2],
    received: [Vec<Vec<u8>>; 2],
    longest: usize,
    /// Flips a bit of so many datagrams in a thousand.
    damage: Option<(Random, u32)>,
}

fn certificate() -> Certificate {
    Certificate::generate(Duration::from_secs(1_800_000_000)).unwrap()
}

impl Pair {
    fn new() -> Self {
        let now = start();
        let settings = Settings::new(1200).unwrap();
        let certificates = [certificate(), certificate()];
        let mut ends =
            [0, 1].map(|index: usize| Connection::new(&settings, &certificates[index], now));
        for index in 0..2 {
            let theirs = certificates[1 - index].fingerprint(Hash::Sha256);
            ends[index].expect(now, vec![theirs]);
        }
        Self {
            now,
            ends,
            wire: Vec::new(),
            sent: [0; 2],
            drop: [Vec::new(), Vec::new()],
            events: [Vec::new(), Vec::new()],
            received: [Vec::new(), Vec::new()],
            longest: 0,
            damage: None,
        }
    }

    fn start(&mut self) {
        self.ends[0].start(self.now, Role::Client);
        self.ends[1].start(self.now, Role::Server);
    }

    fn collect(&mut self) {
        for index in 0..2 {
            let mut datagram = Vec::new();
            while self.ends[index].poll_transmit(&mut datagram) {
                self.transmit(index, std::mem::take(&mut datagram));
            }
            while let Some(event) = self.ends[index].poll_event() {
                self.events[index].push(event);
            }
        }
    }

    fn transmit(&mut self, from: usize, mut datagram: Vec<u8>) {
        if let Some((random, per_mille)) = &mut self.damage
            && random.below(1000) < *per_mille
        {
            let bit = random.below(datagram.len() as u32 * 8) as usize;
            datagram[bit / 8] ^= 1 << (bit % 8);
        }
        self.longest = self.longest.max(datagram.len());
        let number = self.sent[from];
        self.sent[from] += 1;
        if !self.drop[from].contains(&number) {
            self.wire.push((self.now + ONE_WAY, 1 - from, datagram));
        }
    }

    fn run(&mut self, limit: Duration) {
        let limit = self.now + limit;
        loop {
            self.collect();
            let over = self.events.iter().all(|events| !events.is_empty());
            let arrival = self.wire.iter().map(|(at, ..)| *at).min();
            let timer = self
                .ends
                .iter()
                .filter_map(|end| Some(end.poll_timeout()?.at))
                .min();
            let next = [arrival, timer].into_iter().flatten().min();
            let Some(next) = next.filter(|next| *next <= limit && !(over && arrival.is_none()))
            else {
                return;
            };
            self.now = self.now.max(next);
            if let Some(index) = self.wire.iter().position(|(at, ..)| *at <= self.now) {
                let (_, to, datagram) = self.wire.remove(index);
                let received = &mut self.received[to];
                self.ends[to].handle_datagram(self.now, &datagram, &mut |data| {
                    received.push(data.to_vec());
                });
            } else {
                for end in &mut self.ends {
                    end.handle_timeout(self.now);
                }
            }
        }
    }

    fn connected(&self) -> bool {
        self.events
            .iter()
            .all(|events| matches!(events[..], [Event::Connected { .. }]))
    }
}

#[test]
fn both_agree_on_dtls_1_3_and_mirror_keys() {
    let mut pair = Pair::new();
    pair.start();
    pair.run(Duration::from_secs(5));
    let keys: Vec<SrtpKeys> = pair
        .events
        .iter()
        .map(|events| match &events[..] {
            [
                Event::Connected {
                    version: Version::Dtls13,
                    srtp: Some(keys),
                },
            ] => keys.clone(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(keys[0].local, keys[1].remote);
    assert_eq!(keys[0].remote, keys[1].local);
    assert_eq!(keys[0].local.0.len(), keys[0].profile.key_len());
    assert!(pair.longest <= 1200);
    let mut out = Vec::new();
    assert!(pair.ends[0].send(pair.now, b"hello", &mut out));
    pair.transmit(0, out);
    pair.run(Duration::from_secs(1));
    assert_eq!(pair.received[1], [b"hello".to_vec()]);
}

#[test]
fn completes_when_any_two_datagrams_are_lost() {
    for first in 0..5usize {
        for second in 0..5usize {
            for (a, b) in [(0, 0), (0, 1), (1, 1)] {
                let mut pair = Pair::new();
                pair.drop[a].push(first);
                pair.drop[b].push(second);
                pair.start();
                let started = pair.now;
                pair.run(Duration::from_secs(20));
                assert!(
                    pair.connected(),
                    "lost {a}:{first} and {b}:{second}: {:?}",
                    pair.events
                );
                let took = pair.now - started;
                assert!(
                    took <= Duration::from_secs(3),
                    "lost {a}:{first}, {b}:{second}: {took:?}"
                );
            }
        }
    }
}

#[test]
fn another_certificate_is_refused_and_nothing_is_delivered() {
    let mut pair = Pair::new();
    let stranger = certificate().fingerprint(Hash::Sha256);
    pair.ends[1].expect(pair.now, vec![stranger]);
    pair.start();
    pair.run(Duration::from_secs(2));
    assert_eq!(
        pair.events[1],
        [Event::Failed(Failure::FingerprintMismatch)]
    );
    assert!(!pair.ends[1].send(pair.now, b"x", &mut Vec::new()));
    assert!(pair.received[1].is_empty());
}

#[test]
fn sha_1_alone_is_refused() {
    let mut pair = Pair::new();
    let weak = Fingerprint {
        hash: Hash::Sha1,
        digest: vec![0; 20],
    };
    pair.ends[0].expect(pair.now, vec![weak]);
    pair.start();
    pair.run(Duration::from_secs(2));
    assert_eq!(
        pair.events[0],
        [Event::Failed(Failure::NoUsableFingerprint)]
    );
}

#[test]
fn alerts_and_nonsense_in_the_clear_do_not_stop_a_handshake() {
    let mut pair = Pair::new();
    pair.start();
    let alert = [21, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 9, 0, 2, 2, 40];
    let nonsense = [22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 9, 0, 4, 1, 2, 3, 4];
    let truncated = [22, 0xfe, 0xfd, 0, 0];
    for hostile in [&alert[..], &nonsense, &truncated, &[22], &[0x3f; 40]] {
        for end in &mut pair.ends {
            end.handle_datagram(pair.now, hostile, &mut |_| panic!("delivered"));
        }
    }
    pair.run(Duration::from_secs(5));
    assert!(pair.connected(), "{:?}", pair.events);
    // Nor do they end a connection.
    for end in &mut pair.ends {
        end.handle_datagram(pair.now, &alert, &mut |_| panic!("delivered"));
        end.handle_datagram(pair.now, &nonsense, &mut |_| panic!("delivered"));
        assert!(end.is_connected());
        assert_eq!(end.counters().get("dtls.alert_in_the_clear"), 2);
    }
}

#[test]
fn an_alert_that_nothing_better_follows_ends_the_handshake_with_its_reason() {
    let mut pair = Pair::new();
    pair.ends[0].start(pair.now, Role::Client);
    let alert = [21, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 9, 0, 2, 2, 40];
    pair.ends[0].handle_datagram(pair.now, &alert, &mut |_| {});
    pair.ends[1].start(pair.now, Role::Client);
    pair.run(Duration::from_secs(5));
    assert_eq!(
        pair.events[0],
        [Event::Failed(Failure::NothingInCommon(40))]
    );
}

#[test]
fn a_hello_in_many_fragments_is_put_together_in_any_order() {
    use super::record::records;
    let mut pair = Pair::new();
    pair.start();
    let mut hello = Vec::new();
    assert!(pair.ends[0].poll_transmit(&mut hello));
    let record = records(&hello).next().unwrap().bytes.to_vec();
    let (header, message) = record.split_at(13);
    let (message_header, body) = message.split_at(12);
    for pieces in [2usize, 3, 5, 8] {
        for rotate in 0..pieces {
            let len = body.len().div_ceil(pieces);
            let mut fragments: Vec<Vec<u8>> = body
                .chunks(len)
                .enumerate()
                .map(|(index, chunk)| {
                    let mut bytes = header.to_vec();
                    bytes[10] = index as u8;
                    let total = (12 + chunk.len()) as u16;
                    bytes[11..13].copy_from_slice(&total.to_be_bytes());
                    bytes.extend_from_slice(&message_header[..6]);
                    bytes.extend_from_slice(&((index * len) as u32).to_be_bytes()[1..]);
                    bytes.extend_from_slice(&(chunk.len() as u32).to_be_bytes()[1..]);
                    bytes.extend_from_slice(chunk);
                    bytes
                })
                .collect();
            fragments.rotate_left(rotate);
            let mut server = Pair::new();
            server.ends[1].start(server.now, Role::Server);
            for fragment in &fragments {
                server.ends[1].handle_datagram(server.now, fragment, &mut |_| {});
            }
            assert!(
                server.ends[1].has_transmit(),
                "no answer to {pieces} fragments rotated by {rotate}"
            );
        }
    }
}

#[test]
fn closing_is_told_to_the_peer() {
    let mut pair = Pair::new();
    pair.start();
    pair.run(Duration::from_secs(5));
    pair.ends[0].close(pair.now);
    pair.events = [vec![], vec![]];
    pair.run(Duration::from_secs(1));
    assert_eq!(pair.events[1], [Event::Closed]);
}

#[test]
fn a_handshake_whose_datagrams_are_damaged_always_completes() {
    for seed in 0..200u8 {
        let mut pair = Pair::new();
        pair.damage = Some((Random::new([seed; 32]), 200));
        pair.start();
        pair.run(Duration::from_secs(40));
        assert!(pair.connected(), "seed {seed}: {:?}", pair.events);
    }
}

#[test]
fn hellos_with_another_number_do_not_stop_a_handshake() {
    for number in [1_u16, 2, 4, 0x8000] {
        for first in [true, false] {
            let mut pair = Pair::new();
            pair.start();
            pair.collect();
            let hellos: Vec<_> = pair.wire.drain(..).collect();
            let renumbered = hellos.iter().cloned().map(|(at, to, mut datagram)| {
                datagram[17..19].copy_from_slice(&number.to_be_bytes());
                (at, to, datagram)
            });
            let renumbered: Vec<_> = renumbered.collect();
            let (before, after) = match first {
                true => (renumbered, hellos),
                false => (hellos, renumbered),
            };
            pair.wire.extend(before.into_iter().chain(after));
            pair.run(Duration::from_secs(5));
            let what = format!("{number} {first}: {:?}", pair.events);
            assert!(pair.connected(), "{what}");
            assert_eq!(pair.ends[1].counters().get("dtls.engine_refused"), 0);
        }
    }
}

/// What a stranger says who knows nothing of the two: hellos that any engine would take for the
/// peer's, for a client and for a server.
fn forged_hellos() -> [Vec<Vec<u8>>; 2] {
    let mut strangers = Pair::new();
    strangers.start();
    let mut flights = [Vec::new(), Vec::new()];
    for (from, to) in [(0, 1), (1, 0)] {
        let mut datagram = Vec::new();
        while strangers.ends[from].poll_transmit(&mut datagram) {
            strangers.ends[to].handle_datagram(strangers.now, &datagram, &mut |_| {});
            flights[to].push(std::mem::take(&mut datagram));
        }
    }
    // A request to verify the hello, by which a client would settle on DTLS 1.2.
    let verify = [
        22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 19, 3, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 7, 0xfe,
        0xfd, 4, 1, 2, 3, 4,
    ];
    flights[0].push(verify.to_vec());
    flights
}

#[test]
fn forged_hellos_at_any_point_delay_a_handshake_by_little_more_than_a_second() {
    let forged = forged_hellos();
    for (to, hellos) in forged.iter().enumerate() {
        for (which, hello) in hellos.iter().enumerate() {
            for at in 0..40u64 {
                let mut pair = Pair::new();
                pair.start();
                let started = pair.now;
                pair.collect();
                pair.run(Duration::from_millis(10 * at));
                pair.now = started + Duration::from_millis(10 * at);
                pair.ends[to].handle_datagram(pair.now, hello, &mut |_| panic!("delivered"));
                pair.run(Duration::from_secs(10));
                let what = format!("{which} to {to} at {at}: {:?}", pair.events);
                assert!(pair.connected(), "{what}");
                let took = pair.now - started;
                assert!(took < Duration::from_millis(1700), "{what}: {took:?}");
            }
        }
    }
}

#[test]
fn every_forged_hello_at_once_and_again_does_not_stop_a_handshake() {
    let forged = forged_hellos();
    let mut pair = Pair::new();
    pair.start();
    for _ in 0..30 {
        for (to, hellos) in forged.iter().enumerate() {
            for hello in hellos {
                pair.ends[to].handle_datagram(pair.now, hello, &mut |_| panic!("delivered"));
            }
        }
        pair.run(Duration::from_millis(20));
    }
    pair.run(Duration::from_secs(10));
    assert!(pair.connected(), "{:?}", pair.events);
}

#[test]
fn a_connected_server_answers_repeated_hellos_seldom() {
    let mut pair = Pair::new();
    pair.start();
    pair.collect();
    let hello = pair.wire[0].2.clone();
    pair.run(Duration::from_secs(5));
    assert!(pair.connected());
    let before = pair.sent[1];
    for _ in 0..1000 {
        pair.now += Duration::from_millis(1);
        pair.ends[1].handle_datagram(pair.now, &hello, &mut |_| panic!("delivered"));
        pair.collect();
    }
    let answered = pair.sent[1] - before;
    assert!(
        answered <= 4 * LATE_FLIGHTS,
        "{answered} datagrams in a second"
    );
    let dropped = pair.ends[1].counters().get("dtls.late_handshake");
    assert!(dropped > 900, "{dropped}");
    let mut record = Vec::new();
    assert!(pair.ends[0].send(pair.now, b"still there", &mut record));
    pair.transmit(0, record);
    pair.run(Duration::from_secs(1));
    assert_eq!(pair.received[1], [b"still there".to_vec()]);
}

/// Datagrams that the flights may have which a server sends again in 250 ms.
const LATE_FLIGHTS: usize = 8;

/// Handshake messages, each in a record of its own.
fn flight(messages: &[(u8, Vec<u8>)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (sequence, (kind, body)) in messages.iter().enumerate() {
        let len = body.len() as u32;
        out.extend_from_slice(&[22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, sequence as u8]);
        out.extend_from_slice(&(body.len() as u16 + 12).to_be_bytes());
        out.push(*kind);
        out.extend_from_slice(&len.to_be_bytes()[1..]);
        out.extend_from_slice(&[0, sequence as u8, 0, 0, 0]);
        out.extend_from_slice(&len.to_be_bytes()[1..]);
        out.extend_from_slice(body);
    }
    out
}

/// The flight of a DTLS 1.2 server with this certificate, whose random is `number`.
fn server_flight(number: u8, suite: u16, certificate: &[u8]) -> Vec<u8> {
    let mut hello = vec![0xfe, 0xfd];
    hello.extend_from_slice(&[number; 32]);
    hello.push(0);
    hello.extend_from_slice(&suite.to_be_bytes());
    hello.push(0);
    // extended_master_secret, renegotiation_info, ec_point_formats.
    let extensions = [0, 0x17, 0, 0, 0xff, 1, 0, 1, 0, 0, 0x0b, 0, 2, 1, 0];
    hello.extend_from_slice(&(extensions.len() as u16).to_be_bytes());
    hello.extend_from_slice(&extensions);
    let len = |len: usize| (len as u32).to_be_bytes()[1..].to_vec();
    let mut chain = len(certificate.len() + 3);
    chain.extend(len(certificate.len()));
    chain.extend_from_slice(certificate);
    let mut exchange = vec![3, 0, 29, 32];
    exchange.extend_from_slice(&[9; 32]);
    exchange.extend_from_slice(&[4, 3, 0, 8, 0x30, 6, 2, 1, 1, 2, 1, 1]);
    let request = vec![1, 64, 0, 2, 4, 3, 0, 0];
    flight(&[
        (2, hello),
        (11, chain),
        (12, exchange),
        (13, request),
        (14, Vec::new()),
    ])
}

/// A client against a server that answers every ClientHello in its way; how it ends, after how
/// long, and how many ClientHellos it sent.
fn ends_against(answer: impl Fn(u8) -> Vec<u8>) -> (Vec<Event>, Duration, u8) {
    let settings = Settings::new(1200).unwrap();
    let started = start();
    let mut now = started;
    let mut client = Connection::new(&settings, &certificate(), now);
    client.expect(now, vec![certificate().fingerprint(Hash::Sha256)]);
    client.start(now, Role::Client);
    let mut hellos = 0;
    let mut events = Vec::new();
    while let Some(deadline) = client.poll_timeout() {
        let mut datagram = Vec::new();
        while client.poll_transmit(&mut datagram) {
            datagram.clear();
            hellos += 1;
            client.handle_datagram(now, &answer(hellos), &mut |_| panic!("delivered"));
        }
        events.extend(std::iter::from_fn(|| client.poll_event()));
        now = now.max(deadline.at);
        client.handle_timeout(now);
    }
    events.extend(std::iter::from_fn(|| client.poll_event()));
    (events, now - started, hellos)
}

#[test]
fn an_rsa_certificate_is_named_as_the_reason_soon() {
    let key = rcgen::KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048);
    let params = rcgen::CertificateParams::default();
    let rsa = params.self_signed(&key.unwrap()).unwrap();
    let server = |number| server_flight(number, 0xc02b, rsa.der());
    let (events, took, _) = ends_against(server);
    assert_eq!(events, [Event::Failed(Failure::RsaCertificate)]);
    assert!(took <= Duration::from_secs(12), "{took:?}");
    // A server that keeps to its first answer.
    let (events, took, hellos) = ends_against(|_| server(1));
    assert_eq!(events, [Event::Failed(Failure::RsaCertificate)]);
    assert!(took <= Duration::from_secs(3), "{took:?}");
    assert!(hellos < 10, "{hellos}");
}

#[test]
fn a_server_that_answers_nonsense_ends_the_handshake_in_bounded_time() {
    let (events, took, hellos) = ends_against(|number| server_flight(number, 0x1234, &[1; 300]));
    assert_eq!(events, [Event::Failed(Failure::Protocol)]);
    assert!(took <= Duration::from_secs(30), "{took:?}");
    assert!(hellos <= 40, "{hellos}");
}
