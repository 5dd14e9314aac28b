use super::*;
use crate::contract::SocketId;
use crate::crypto::Hash;
use crate::random::Random;

const ONE_WAY: Duration = Duration::from_millis(50);

/// What goes to the server is for this socket.
fn path() -> Path {
    Path {
        socket: SocketId(7),
        local: "192.0.2.1:5349".parse().unwrap(),
    }
}

fn from(ip: &str, port: u16) -> SocketAddr {
    SocketAddr::new(ip.parse().unwrap(), port)
}

struct Client {
    at: SocketAddr,
    connection: Connection,
    events: Vec<Event>,
    received: Vec<Vec<u8>>,
}

/// A server, its clients, and what is on its way between them.
struct Net {
    now: Instant,
    random: Random,
    server: Associations,
    certificate: Certificate,
    clients: Vec<Client>,
    /// When it arrives, whether at the server, the client's address, what.
    wire: Vec<(Instant, bool, SocketAddr, Vec<u8>)>,
    loss_per_mille: u32,
    /// What arrives may be later by so many milliseconds, and overtakes.
    jitter: u32,
    delivered: Vec<(SocketAddr, Vec<u8>)>,
    /// Datagrams and bytes of the server.
    sent: (usize, usize),
    is_wanted: bool,
}

impl Net {
    fn new(bounds: Bounds) -> Self {
        #[expect(clippy::disallowed_methods, reason = "an Instant has no other origin")]
        let now = Instant::now();
        let certificate = Certificate::generate(Duration::from_secs(1_800_000_000)).unwrap();
        let settings = Settings::of_server(1200).unwrap();
        assert!(settings.can_prove(&certificate));
        Self {
            now,
            random: Random::new([1; 32]),
            server: Associations::new(settings, certificate.clone(), bounds),
            certificate,
            clients: Vec::new(),
            wire: Vec::new(),
            loss_per_mille: 0,
            jitter: 0,
            delivered: Vec::new(),
            sent: (0, 0),
            is_wanted: true,
        }
    }

    /// A client that knows the server's certificate.
    fn add(&mut self, at: SocketAddr) -> usize {
        let own = Certificate::generate(Duration::from_secs(1_800_000_000)).unwrap();
        let settings = Settings::new(1200).unwrap();
        let mut connection = Connection::new(&settings, &own, self.now);
        connection.expect(self.now, vec![self.certificate.fingerprint(Hash::Sha256)]);
        connection.start(self.now, Role::Client);
        self.clients.push(Client {
            at,
            connection,
            events: Vec::new(),
            received: Vec::new(),
        });
        self.collect();
        self.clients.len() - 1
    }

    fn is_connected(&self, client: usize) -> bool {
        self.clients[client].connection.is_connected()
    }

    fn transmit(&mut self, to_server: bool, client: SocketAddr, bytes: Vec<u8>) {
        if !to_server {
            self.sent = (self.sent.0 + 1, self.sent.1 + bytes.len());
        }
        if self.random.below(1000) < self.loss_per_mille {
            return;
        }
        let late = Duration::from_millis(self.random.below(self.jitter + 1).into());
        let at = self.now + ONE_WAY + late;
        self.wire.push((at, to_server, client, bytes));
    }

    fn collect(&mut self) {
        let mut bytes = Vec::new();
        while let Some((_, client)) = self.server.poll_transmit(&mut bytes) {
            self.transmit(false, client, std::mem::take(&mut bytes));
        }
        for index in 0..self.clients.len() {
            let at = self.clients[index].at;
            while self.clients[index].connection.poll_transmit(&mut bytes) {
                self.transmit(true, at, std::mem::take(&mut bytes));
            }
            let client = &mut self.clients[index];
            while let Some(event) = client.connection.poll_event() {
                client.events.push(event);
            }
        }
    }

    fn arrive(&mut self, to_server: bool, from: SocketAddr, bytes: &[u8]) {
        if to_server {
            let delivered = &mut self.delivered;
            let mut deliver = |data: &[u8]| delivered.push((from, data.to_vec()));
            let of = (path(), from);
            return self
                .server
                .handle_datagram(self.now, of, bytes, &mut deliver);
        }
        for client in self.clients.iter_mut().filter(|own| own.at == from) {
            let received = &mut client.received;
            let mut deliver = |data: &[u8]| received.push(data.to_vec());
            client
                .connection
                .handle_datagram(self.now, bytes, &mut deliver);
        }
    }

    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            self.collect();
            let mut next = self.wire.iter().map(|(at, ..)| *at).min();
            let timers = self.clients.iter().filter_map(|own| due(&own.connection));
            let of_server = self.server.poll_timeout().map(|deadline| deadline.at);
            next = next
                .into_iter()
                .chain(timers)
                .chain(of_server)
                .min()
                .filter(|at| *at <= end);
            let Some(next) = next else {
                self.now = end;
                return;
            };
            self.now = self.now.max(next);
            let first = self.wire.iter().enumerate().min_by_key(|(_, sent)| sent.0);
            if let Some((index, _)) = first.filter(|(_, sent)| sent.0 <= self.now) {
                let (_, to_server, client, bytes) = self.wire.remove(index);
                self.arrive(to_server, client, &bytes);
                continue;
            }
            let is_wanted = self.is_wanted;
            self.server.handle_timeout(self.now, &mut |_| is_wanted);
            for client in &mut self.clients {
                client.connection.handle_timeout(self.now);
            }
        }
    }

    fn say(&mut self, client: usize, data: &[u8]) {
        let (now, mut out) = (self.now, Vec::new());
        let Client { at, connection, .. } = &mut self.clients[client];
        let at = *at;
        assert!(connection.send(now, data, &mut out));
        self.transmit(true, at, out);
    }

    fn answer(&mut self, to: SocketAddr, data: &[u8]) {
        let mut out = Vec::new();
        assert!(self.server.send(self.now, (path(), to), data, &mut out));
        self.transmit(false, to, out);
    }

    /// A ClientHello of nobody in particular.
    fn hello(&self) -> Vec<u8> {
        let settings = Settings::new(1200).unwrap();
        let mut connection = Connection::new(&settings, &self.certificate, self.now);
        connection.start(self.now, Role::Client);
        let mut hello = Vec::new();
        assert!(connection.poll_transmit(&mut hello));
        hello
    }
}

#[test]
fn clients_come_through_loss_and_reordering_and_each_record_is_one_message() {
    for seed in 0..4 {
        let mut net = Net::new(Bounds::default());
        net.random = Random::new([seed; 32]);
        (net.loss_per_mille, net.jitter) = (150, 80);
        let all: Vec<_> = (0..6)
            .map(|port| net.add(from("198.51.100.1", 4000 + port)))
            .collect();
        net.run(Duration::from_secs(20));
        for client in all.clone() {
            assert!(net.is_connected(client), "{seed} {client}");
        }
        assert_eq!(net.server.handshake_count(), 0);
        net.loss_per_mille = 0;
        for client in all.clone() {
            net.say(client, format!("one of {client}").as_bytes());
            net.say(client, format!("two of {client}").as_bytes());
        }
        net.run(Duration::from_secs(1));
        assert_eq!(net.delivered.len(), 2 * all.len());
        for client in all {
            let at = net.clients[client].at;
            let of = |(from, data): &(SocketAddr, Vec<u8>)| (*from == at).then(|| data.clone());
            let mut said: Vec<_> = net.delivered.iter().filter_map(of).collect();
            said.sort();
            let expected = ["one", "two"].map(|word| format!("{word} of {client}").into_bytes());
            assert_eq!(said, expected);
            net.answer(at, b"heard");
            net.run(Duration::from_secs(1));
            assert_eq!(net.clients[client].received, [b"heard"]);
        }
    }
}

#[test]
fn forged_sources_cost_a_bounded_state_and_get_less_than_they_send() {
    let mut net = Net::new(Bounds::default());
    let hello = net.hello();
    let mut came = 0;
    // A thousand a second, from addresses that answer nothing.
    for number in 0..8000_u32 {
        let ip = IpAddr::from(0xcb00_7100_u32.wrapping_add(number * 0x101).to_be_bytes());
        net.arrive(true, SocketAddr::new(ip, 5000), &hello);
        came += 1;
        if number == 4000 {
            // One who is where it says comes through all the same.
            net.add(from("198.51.100.1", 4000));
        }
        net.run(Duration::from_millis(1));
        let (handshakes, all) = (net.server.handshake_count(), net.server.len());
        assert!(handshakes <= 512 && all <= 513, "{handshakes} {all}");
    }
    assert!(net.is_connected(0));
    assert!(net.server.counters().get("dtls.too_many_handshakes") > 7000);
    // What the client had is beside it: a few datagrams.
    assert!(net.sent.0 <= came + 10, "{:?}", net.sent);
    assert!(net.sent.1 < came * hello.len(), "{:?}", net.sent);
    net.run(HANDSHAKE_PATIENCE + Duration::from_secs(1));
    assert_eq!((net.server.handshake_count(), net.server.len()), (0, 1));
    assert!(
        net.sent.0 <= came + 10,
        "nothing is sent again: {:?}",
        net.sent
    );
}

#[test]
fn an_address_has_as_many_handshakes_and_associations_as_it_may() {
    let bounds = Bounds {
        associations: 12,
        associations_per_address: 8,
        ..Bounds::default()
    };
    let mut net = Net::new(Bounds::default());
    let hello = net.hello();
    for port in 0..100 {
        net.arrive(true, from("2001:db8::1", 5000 + port), &hello);
        net.arrive(true, from(&format!("2001:db8::{port:x}:2"), 5000), &hello);
    }
    assert_eq!(net.server.handshake_count(), 32, "a /64 is one customer's");
    net.arrive(true, from("2001:db8:1::1", 5000), &hello);
    assert_eq!(net.server.handshake_count(), 33);

    let mut net = Net::new(bounds);
    for port in 0..20 {
        net.add(from("198.51.100.1", 4000 + port));
    }
    net.run(Duration::from_secs(5));
    assert_eq!(net.server.len(), 8);
    for port in 0..20 {
        net.add(from("198.51.100.2", 4000 + port));
    }
    net.run(Duration::from_secs(5));
    assert_eq!(net.server.len(), 12);
}

#[test]
fn who_begins_anew_takes_the_place_of_its_association_and_nobody_else_does() {
    let mut net = Net::new(Bounds::default());
    let at = from("198.51.100.1", 4000);
    let first = net.add(at);
    net.run(Duration::from_secs(2));
    assert!(net.is_connected(first));
    // Somebody else says so in its name, and does not see the answer.
    let hello = net.hello();
    net.arrive(true, at, &hello);
    while net.server.poll_transmit(&mut Vec::new()).is_some() {}
    assert_eq!(net.server.handshake_count(), 1);
    net.say(first, b"still here");
    net.run(Duration::from_secs(1));
    assert_eq!(net.delivered, [(at, b"still here".to_vec())]);
    net.run(HANDSHAKE_PATIENCE);
    assert_eq!((net.server.handshake_count(), net.server.len()), (0, 1));
    // The program behind it ends without a word, and begins anew.
    net.clients.clear();
    let second = net.add(at);
    net.run(Duration::from_secs(2));
    assert!(net.is_connected(second));
    assert_eq!(net.server.len(), 1);
    assert_eq!(net.server.poll_closed(), Some((path(), at)), "the former");
    assert_eq!(net.server.poll_closed(), None);
    net.delivered.clear();
    net.say(second, b"new");
    net.answer(at, b"welcome");
    net.run(Duration::from_secs(1));
    assert_eq!(net.delivered, [(at, b"new".to_vec())]);
    assert_eq!(net.clients[second].received, [b"welcome"]);
}

#[test]
fn what_nobody_wants_is_closed_and_what_a_client_closes_is_told() {
    let mut net = Net::new(Bounds::default());
    let (one, two) = (from("198.51.100.1", 4000), from("198.51.100.1", 4001));
    let (first, second) = (net.add(one), net.add(two));
    net.run(Duration::from_secs(2));
    let now = net.now;
    net.clients[first].connection.close(now);
    net.run(Duration::from_secs(1));
    assert_eq!(net.server.poll_closed(), Some((path(), one)));
    assert_eq!((net.server.poll_closed(), net.server.len()), (None, 1));
    let mut out = Vec::new();
    assert!(!net.server.send(net.now, (path(), one), b"gone", &mut out));
    net.run(2 * WANTED_EVERY);
    assert!(net.is_connected(second), "somebody wants it");
    net.is_wanted = false;
    net.run(WANTED_EVERY + Duration::from_secs(1));
    assert_eq!(net.clients[second].events.last(), Some(&Event::Closed));
    assert!(net.server.is_empty());
    assert_eq!(net.server.poll_closed(), Some((path(), two)));
    assert_eq!(net.server.poll_closed(), None);
    assert_eq!(net.server.poll_timeout(), None, "nothing is left behind");
}

#[test]
fn what_is_no_hello_makes_nothing_and_what_is_too_long_does_not_go() {
    let mut net = Net::new(Bounds::default());
    let at = from("198.51.100.1", 4000);
    let hello = net.hello();
    for len in 0..hello.len() {
        net.arrive(true, at, &hello[..len]);
    }
    let mut random = Random::new([3; 32]);
    for _ in 0..2000 {
        let mut noise = vec![0; random.below(200) as usize];
        random.fill(&mut noise);
        net.arrive(true, at, &noise);
    }
    assert!(net.server.is_empty());
    // One of DTLS 1.0, whose version is behind the headers of record and message.
    let mut old = hello;
    old[25..27].copy_from_slice(&[0xfe, 0xff]);
    net.arrive(true, at, &old);
    let mut alert = Vec::new();
    assert_eq!(net.server.poll_transmit(&mut alert), Some((path(), at)));
    assert_eq!(alert[..2], [21, 0xfe]);
    assert_eq!(alert[13..], [2, 70]);
    assert!(net.server.is_empty() && net.server.poll_transmit(&mut alert).is_none());
    let client = net.add(at);
    net.run(Duration::from_secs(2));
    assert!(net.is_connected(client));
    let mut out = Vec::new();
    let of = (path(), at);
    let long = vec![7; RECORD_LEN_MAX + 1];
    assert!(!net.server.send(net.now, of, &long, &mut out) && out.is_empty());
    assert!(net.server.send(net.now, of, &long[1..], &mut out));
}
