//! `twocan serve` as coturn's clients see it: `turnutils_uclient`, `turnutils_stunclient`,
//! `turnutils_natdiscovery`; and coturn as `twocan nat` sees it.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test that cannot go on fails, and one that cannot run says so"
)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

/// For anything that is waited for; two busy cores are slow.
const WITHIN: Duration = Duration::from_secs(60);

const LOOPBACK: [&str; 2] = ["--turn-allow", "127.0.0.0/8"];

/// Ends with the test.
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

struct Server {
    program: Program,
    http: SocketAddr,
    stun: SocketAddr,
    turns: Option<SocketAddr>,
    /// All of `stun`, and then all of `turns`.
    all: Vec<SocketAddr>,
    /// All of `http`.
    pages: Vec<SocketAddr>,
}

/// Starts `twocan serve` on loopback.
fn serve(arguments: &[&str]) -> Server {
    serve_by(Command::new(env!("CARGO_BIN_EXE_twocan")), arguments)
}

/// The same by a command that becomes the program.
fn serve_by(mut command: Command, arguments: &[&str]) -> Server {
    let mut child = command
        .args(["serve", "--http", "127.0.0.1:0", "--stun", "127.0.0.1:0"])
        .args(["--log-format", "json"])
        .args(arguments)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let line = lines
        .by_ref()
        .map_while(Result::ok)
        .find(|line| line.contains("\"listening\""))
        .unwrap();
    // What follows is read, so that the program never waits for us.
    std::thread::spawn(move || lines.for_each(drop));
    let value: serde_json::Value = serde_json::from_str(&line).unwrap();
    let addresses = |name: &str| -> Vec<SocketAddr> {
        let list = value.get(name).and_then(|list| list.as_str());
        let each = list.into_iter().flat_map(|list| list.split(", "));
        each.map(|one| one.parse().unwrap()).collect()
    };
    let address = |name: &str| addresses(name).first().copied();
    Server {
        program: Program(child),
        http: address("http").unwrap(),
        stun: address("stun").unwrap(),
        turns: address("turns"),
        all: [addresses("stun"), addresses("turns")].concat(),
        pages: addresses("http"),
    }
}

/// The answer to a GET, header and all.
fn get(address: SocketAddr, path: &str) -> String {
    get_with(address, path, "Host: localhost")
}

/// The same with the header lines given.
fn get_with(address: SocketAddr, path: &str, lines: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    let request = format!("GET {path} HTTP/1.1\r\n{lines}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// Whether coturn's programs are there.
fn installed() -> bool {
    let found = Command::new("turnutils_uclient").arg("-h").output().is_ok();
    if !found {
        println!("NOT RUN: turnutils_uclient is not installed (apt-get install coturn)");
    }
    found
}

/// A peer that echoes, on two ports in a row.
fn echo() -> (Program, u16) {
    echo_at("127.0.0.1")
}

fn echo_at(ip: &str) -> (Program, u16) {
    let ip: IpAddr = ip.parse().unwrap();
    let bind = |port| UdpSocket::bind((ip, port));
    let port = (0..100)
        .map(|_| bind(0).unwrap().local_addr().unwrap().port())
        .find(|port| bind(port.saturating_add(1)).is_ok())
        .unwrap();
    let peer = Command::new("turnutils_peer")
        .args(["-L", &ip.to_string(), "-p", &port.to_string()])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let peer = Program(peer);
    let began = Instant::now();
    let probe = bind(0).unwrap();
    probe
        .set_read_timeout(Some(Duration::from_millis(50)))
        .unwrap();
    while began.elapsed() < WITHIN {
        probe.send_to(b"there?", (ip, port)).unwrap();
        if probe.recv(&mut [0; 16]).is_ok() {
            return (peer, port);
        }
    }
    panic!("turnutils_peer does not answer");
}

/// Runs the client; answers what it says.
fn uclient(port: u16, arguments: &[&str]) -> String {
    let server = SocketAddr::new([127, 0, 0, 1].into(), port);
    uclient_between(server, "127.0.0.1", arguments)
}

/// The same with a server and a peer of either family.
fn uclient_between(server: SocketAddr, peer: &str, arguments: &[&str]) -> String {
    let output = Command::new("timeout")
        .args(["20", "turnutils_uclient", "-p", &server.port().to_string()])
        .args(["-m", "2", "-n", "20", "-l", "160", "-e", peer])
        .args(arguments)
        .arg(server.ip().to_string())
        .output()
        .unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// The most that gauges show while something goes on, and what comes of that.
fn most<const N: usize, T: Send>(
    server: &Server,
    gauges: [&str; N],
    goes_on: impl FnOnce() -> T + Send,
) -> ([u64; N], T) {
    let mut most = [0; N];
    std::thread::scope(|scope| {
        let (done, is_done) = std::sync::mpsc::channel();
        scope.spawn(move || done.send(goes_on()).unwrap());
        loop {
            let metrics = get(server.http, "/metrics");
            for (most, gauge) in most.iter_mut().zip(gauges) {
                let mut lines = metrics.lines();
                let shown = lines.find_map(|line| line.strip_prefix(gauge)?.strip_prefix(' '));
                *most = shown.map_or(0, |shown| shown.parse().unwrap()).max(*most);
            }
            // The gauges are set twice a second.
            match is_done.recv_timeout(Duration::from_millis(50)) {
                Ok(done) => return (most, done),
                Err(RecvTimeoutError::Timeout) => {}
                Err(error) => panic!("{error}"),
            }
        }
    })
}

const ALLOCATIONS_AND_SOCKETS: [&str; 2] = ["twocan_turn_allocations", "twocan_turn_relay_sockets"];

/// All that was sent came back.
fn assert_whole(said: &str, what: &str) {
    let whole = said.contains("Total lost packets 0 (0.000000%)");
    assert!(
        whole && !said.contains("tot_recv_msgs=0\n"),
        "{what}: {said}"
    );
}

#[test]
fn a_client_of_coturns_relays_to_a_peer_in_every_way_that_it_knows() {
    if !installed() {
        return;
    }
    let server = serve(&[&LOOPBACK[..], &["--turn-user", "u:p"]].concat());
    let (_peer, peer_port) = echo();
    let peer_port = peer_port.to_string();
    // Channels, indications, over TCP, one component alone and with DONT-FRAGMENT, with mobility.
    for way in [&[][..], &["-s"], &["-t"], &["-c", "-g"], &["-M"]] {
        let arguments = [&["-u", "u", "-w", "p", "-r", &peer_port][..], way].concat();
        let goes_on = || uclient(server.stun.port(), &arguments);
        let ([allocations, sockets], said) = most(&server, ALLOCATIONS_AND_SOCKETS, goes_on);
        assert_whole(&said, &format!("{way:?}"));
        assert!(allocations > 0 && sockets > 0, "a peer needs a socket");
    }
    let metrics = get(server.http, "/metrics");
    assert!(metrics.contains("twocan_turn_requests_total{outcome=\"turn.permitted\"}"));
}

/// RFC 6156: each family of clients, over each transport, gets each family of relayed addresses.
#[test]
fn clients_of_both_families_are_relayed_to_both() {
    if !installed() {
        return;
    }
    if UdpSocket::bind("[::1]:0").is_err() {
        return println!("NOT RUN: there is no IPv6 on loopback");
    }
    let both = ["--stun", "[::1]:0", "--turn-allow", "::1"];
    let user = ["--turn-user", "u:p", "--tls-self-signed"];
    let tls = ["--turn-tls", "127.0.0.1:0", "--turn-tls", "[::1]:0"];
    let server = serve(&[&LOOPBACK[..], &both, &user, &tls].concat());
    let [v4, v6, v4_tls, v6_tls] = server.all[..] else {
        panic!("{:?}", server.all);
    };
    assert!(v4.is_ipv4() && v6.is_ipv6() && v4_tls.is_ipv4() && v6_tls.is_ipv6());
    let (_peer, of_v4) = echo();
    let (_other_peer, of_v6) = echo_at("::1");
    let peers = [("127.0.0.1", of_v4, "-X"), ("::1", of_v6, "-x")];
    let ways = [
        (v6, &[][..]),
        (v6, &["-t"]),
        (v6_tls, &["-t", "-S"]),
        (v4, &[]),
    ];
    std::thread::scope(|scope| {
        for ((at, way), (peer, port, family)) in
            ways.iter().flat_map(|way| peers.map(|peer| (way, peer)))
        {
            scope.spawn(move || {
                let port = port.to_string();
                let arguments = [&["-u", "u", "-w", "p", family, "-r", &port][..], way].concat();
                let said = uclient_between(*at, peer, &arguments);
                assert_whole(&said, &format!("{at} {peer} {way:?}"));
            });
        }
    });
}

/// All addresses of both families, on sockets of their own.
#[test]
fn all_addresses_of_both_families_are_listened_on() {
    if UdpSocket::bind("[::1]:0").is_err() {
        return println!("NOT RUN: there is no IPv6 on loopback");
    }
    let any = ["--stun", "0.0.0.0:0", "--stun", "[::]:0"];
    let server = serve(&[&any[..], &["--http", "[::1]:0"]].concat());
    let pages = server.pages.iter().map(SocketAddr::is_ipv4);
    assert_eq!(pages.collect::<Vec<_>>(), [true, false]);
    for page in &server.pages {
        assert!(get(*page, "/healthz").starts_with("HTTP/1.1 200"), "{page}");
    }
    let request = [&[0, 1, 0, 0][..], &[0x21, 0x12, 0xa4, 0x42], &[7; 12]].concat();
    for (listens, from, length) in [(1, "127.0.0.1", 12), (2, "::1", 24)] {
        let from: IpAddr = from.parse().unwrap();
        let to = SocketAddr::new(from, server.all[listens].port());
        let socket = UdpSocket::bind((from, 0)).unwrap();
        socket.set_read_timeout(Some(WITHIN)).unwrap();
        socket.send_to(&request, to).unwrap();
        let mut answer = [0; 100];
        let (len, back) = socket.recv_from(&mut answer).unwrap();
        // The header, XOR-MAPPED-ADDRESS, FINGERPRINT.
        assert_eq!((back, len), (to, 20 + length + 8));
        let mut stream = TcpStream::connect(to).unwrap();
        stream.set_read_timeout(Some(WITHIN)).unwrap();
        stream.write_all(&request).unwrap();
        stream.read_exact(&mut answer[..len]).unwrap();
        assert_eq!(answer[..2], [1, 1]);
    }
}

/// RFC 6062: with `-T` one client connects to the other, with `-P` a peer that is no client of the
/// server connects to the relayed port.
#[test]
fn a_client_of_coturns_relays_tcp_actively_and_passively() {
    if !installed() {
        return;
    }
    let user = ["--turn-user", "u:p", "--turn-tcp-relay"];
    let tls = ["--tls-self-signed", "--turn-tls", "127.0.0.1:0"];
    let server = serve(&[&LOOPBACK[..], &user, &tls].concat());
    let over_tls = server.turns.unwrap().port();
    let said = uclient(over_tls, &["-u", "u", "-w", "p", "-T", "-S"]);
    assert_whole(&said, "-T over TLS");
    let server = serve(&[&LOOPBACK[..], &user].concat());
    let uclient = |way| uclient(server.stun.port(), &["-u", "u", "-w", "p", way]);
    assert_whole(&uclient("-T"), "-T");
    // Of two clients one sends and one receives: with coturn's own server it is half as well.
    let said = uclient("-P");
    assert!(
        said.contains("tot_send_msgs=40, tot_recv_msgs=20\n"),
        "{said}"
    );
    let metrics = get(server.http, "/metrics");
    for outcome in ["turn.connected", "turn.accepted", "turn.connection_bound"] {
        let line = format!("twocan_turn_requests_total{{outcome=\"{outcome}\"}}");
        assert!(metrics.contains(&line), "{outcome}: {metrics}");
    }
}

/// A client of RFC 6062 by hand: asks on a stream, with the server's challenge answered.
fn ask_on(
    stream: &mut TcpStream,
    method: twocan_proto::wire::stun::Method,
    attributes: &[twocan_proto::wire::stun::Attribute<'_>],
) -> Vec<u8> {
    use twocan_proto::turn::LongTermKey;
    use twocan_proto::wire::stun::{Attribute, Builder, Class, Message, TransactionId};
    let mut nonce: Option<String> = None;
    loop {
        let mut bytes = Vec::new();
        let mut builder = Builder::new(&mut bytes, Class::Request, method, TransactionId([7; 12]));
        for attribute in attributes {
            builder.attribute(*attribute);
        }
        match &nonce {
            None => builder.finish_bare(),
            Some(nonce) => {
                builder.attribute(Attribute::Username("u"));
                builder.attribute(Attribute::Realm("twocan"));
                builder.attribute(Attribute::Nonce(nonce));
                LongTermKey::md5("u", "twocan", "p").finish(builder);
            }
        }
        stream.write_all(&bytes).unwrap();
        let mut answer = vec![0; 20];
        stream.read_exact(&mut answer).unwrap();
        let len = u16::from_be_bytes([answer[2], answer[3]]);
        answer.resize(20 + usize::from(len), 0);
        stream.read_exact(&mut answer[20..]).unwrap();
        let message = Message::parse(&answer).unwrap();
        let given = message.attributes().find_map(|attribute| match attribute {
            Attribute::Nonce(nonce) => Some(nonce.to_owned()),
            _ => None,
        });
        if message.error_code() != Some(401) || nonce.is_some() {
            return answer;
        }
        nonce = given;
    }
}

/// What is sent at a place of a connection.
fn pattern(place: usize) -> u8 {
    (place % 251) as u8
}

#[test]
fn a_peer_that_sends_more_than_is_read_is_slowed_down_and_nothing_is_lost() {
    use twocan_proto::wire::stun::{Attribute, Message, Method};
    const LEN: usize = 64 << 20;
    const BACK: usize = 1 << 20;
    let users = [
        "--turn-user",
        "u:p",
        "--turn-bandwidth",
        "0",
        "--turn-tcp-relay",
    ];
    let more = [
        "--turn-bandwidth-per-user",
        "0",
        "--turn-bandwidth-total",
        "0",
    ];
    let server = serve(&[&LOOPBACK[..], &users, &more].concat());
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let peer = Attribute::XorPeerAddress(listener.local_addr().unwrap());
    let (stuck, is_stuck) = std::sync::mpsc::channel();
    let peering = std::thread::spawn(move || {
        let (mut stream, from) = listener.accept().unwrap();
        stream
            .set_write_timeout(Some(Duration::from_secs(1)))
            .unwrap();
        let bytes: Vec<u8> = (0..LEN).map(pattern).collect();
        let mut sent = 0;
        let mut was_stuck = false;
        while sent < LEN {
            match stream.write(&bytes[sent..]) {
                Ok(len) => sent += len,
                Err(_) if was_stuck => {}
                Err(_) => {
                    was_stuck = true;
                    stuck.send(sent).unwrap();
                }
            }
        }
        drop(stuck);
        let mut back = vec![0; BACK];
        stream.read_exact(&mut back).unwrap();
        assert!(
            back.iter()
                .enumerate()
                .all(|(place, byte)| *byte == pattern(place))
        );
        assert_eq!(
            stream.read(&mut [0; 1]).unwrap(),
            0,
            "the client has closed"
        );
        from
    });
    let connect = || {
        let stream = TcpStream::connect(server.stun).unwrap();
        stream.set_read_timeout(Some(WITHIN)).unwrap();
        stream
    };
    let mut control = connect();
    let tcp = Attribute::RequestedTransport(6);
    let answer = ask_on(&mut control, Method::ALLOCATE, &[tcp]);
    let relayed = Message::parse(&answer).unwrap().relayed_address().unwrap();
    let answer = ask_on(&mut control, Method::CONNECT, &[peer]);
    let id = Message::parse(&answer)
        .unwrap()
        .attributes()
        .find(|attribute| matches!(attribute, Attribute::ConnectionId(_)))
        .unwrap();
    let mut data = connect();
    let answer = ask_on(&mut data, Method::CONNECTION_BIND, &[id]);
    assert_eq!(Message::parse(&answer).unwrap().error_code(), None);
    // It takes no more than the system's buffers hold, though nobody has read anything.
    let sent = is_stuck.recv().unwrap();
    assert!(sent < LEN, "{sent}");
    let mut received = vec![0; LEN];
    data.read_exact(&mut received).unwrap();
    assert!(
        received
            .iter()
            .enumerate()
            .all(|(place, byte)| *byte == pattern(place))
    );
    let back: Vec<u8> = (0..BACK).map(pattern).collect();
    data.write_all(&back).unwrap();
    drop(data);
    assert_eq!(peering.join().unwrap(), relayed);
    // A port that is taken and at which nobody listens.
    let silent = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    let anywhere = SocketAddr::from(([127, 0, 0, 1], 0));
    silent.bind(&anywhere.into()).unwrap();
    let nobody = silent.local_addr().unwrap().as_socket().unwrap();
    let answer = ask_on(
        &mut control,
        Method::CONNECT,
        &[Attribute::XorPeerAddress(nobody)],
    );
    assert_eq!(Message::parse(&answer).unwrap().error_code(), Some(447));
}

/// Datagrams relayed to peers so far.
fn relayed(server: &Server) -> u64 {
    let metrics = get(server.http, "/metrics");
    let mut lines = metrics.lines();
    let line = lines.find_map(|line| line.strip_prefix("twocan_turn_packets_total{to=\"peers\"} "));
    line.map_or(0, |count| count.parse().unwrap())
}

/// Tells a server to read its settings again; answers once `done` says that it has.
fn reload(server: &Server, done: impl Fn() -> bool) {
    let id = server.program.0.id().to_string();
    let told = Command::new("kill").args(["-HUP", &id]).status().unwrap();
    assert!(told.success());
    let began = Instant::now();
    while !done() {
        assert!(began.elapsed() < WITHIN, "the settings were not read again");
    }
}

#[test]
fn settings_are_read_again_while_a_client_relays() {
    if !installed() {
        return;
    }
    let folder = std::env::temp_dir().join(format!("twocan-reload-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join("twocan.toml");
    let write = |text: &str| std::fs::write(&file, text).unwrap();
    write("turn_allow = [\"127.0.0.0/8\"]\nturn_users = [\"ann:one\"]\n");
    let server = serve(&["--config", file.to_str().unwrap()]);
    let (_peer, peer_port) = echo();
    let (stun, peer_port) = (server.stun.port(), peer_port.to_string());
    let as_user =
        |user: &str, password: &str| uclient(stun, &["-u", user, "-w", password, "-r", &peer_port]);
    let is_whole = |said: &str| said.contains("Total lost packets 0 (0.000000%)");
    assert_whole(&as_user("ann", "one"), "before");
    let running = {
        let peer_port = peer_port.clone();
        std::thread::spawn(move || {
            let arguments = ["-u", "ann", "-w", "one", "-r", &peer_port, "-n", "200"];
            uclient(stun, &arguments)
        })
    };
    let before = relayed(&server);
    let began = Instant::now();
    while relayed(&server) < before + 50 {
        assert!(began.elapsed() < WITHIN, "nothing is relayed");
    }
    // A file that makes no sense changes nothing.
    write("turn_users = 7\n");
    reload(&server, || true);
    assert!(
        relayed(&server) < before + 400,
        "it was over before the change"
    );
    write("turn_allow = [\"127.0.0.0/8\"]\nturn_users = [\"bob:two\"]\nrooms = 3\n");
    reload(&server, || is_whole(&as_user("bob", "two")));
    assert_whole(&running.join().unwrap(), "across the change");
    assert!(!is_whole(&as_user("ann", "one")));
    write("turn_users = [\"bob:two\"]\n");
    reload(&server, || !is_whole(&as_user("bob", "two")));
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn two_clients_of_coturns_meet_on_the_server_and_nothing_is_bound() {
    if !installed() {
        return;
    }
    // Of eight clients, some are with one thread and some with another.
    let server = serve(&["--turn-user", "u:p", "--turn-threads", "4"]);
    for way in [&["-y"][..], &["-y", "-t", "-s"]] {
        let arguments = [&["-u", "u", "-w", "p", "-m", "8"][..], way].concat();
        let goes_on = || uclient(server.stun.port(), &arguments);
        let ([allocations, sockets], said) = most(&server, ALLOCATIONS_AND_SOCKETS, goes_on);
        assert_whole(&said, &format!("{way:?}"));
        assert!(allocations > 0);
        assert_eq!(sockets, 0, "nothing is bound");
    }
}

#[test]
fn credentials_of_the_secret_are_coturns_and_loopback_is_refused_without_a_word_of_the_operator() {
    if !installed() {
        return;
    }
    let server = serve(&["--turn-secret", "north"]);
    let said = uclient(server.stun.port(), &["-u", "ann", "-W", "north", "-y"]);
    assert_whole(&said, "time-limited credentials");
    let said = uclient(server.stun.port(), &["-u", "ann", "-W", "south", "-y"]);
    assert!(said.contains("Cannot complete Allocation"), "{said}");
    // Loopback: the relay's own address, but no relayed port. Permitted, and never sent to.
    let said = uclient(
        server.stun.port(),
        &["-u", "ann", "-W", "north", "-c", "-r", "9"],
    );
    assert!(said.contains("tot_recv_msgs=0"), "{said}");
    assert!(!said.contains("Total lost packets 0 "), "{said}");
}

#[test]
fn the_bandwidth_of_a_user_and_of_all_together_is_kept_to() {
    if !installed() {
        return;
    }
    for (flag, reason) in [
        ("--turn-bandwidth-per-user", "over_user_quota"),
        ("--turn-bandwidth-total", "over_total_quota"),
    ] {
        let server = serve(&["--turn-user", "u:p", flag, "8000"]);
        // 400 messages of 1000 bytes, of which each direction takes 65 at once.
        let load = ["-u", "u", "-w", "p", "-y", "-n", "200", "-l", "1000"];
        let said = uclient(server.stun.port(), &load);
        assert!(!said.contains("Total lost packets 0 "), "{flag}: {said}");
        let wanted = format!("twocan_turn_dropped_total{{reason=\"{reason}\"}} ");
        let began = Instant::now();
        let dropped = loop {
            let metrics = get(server.http, "/metrics");
            let mut lines = metrics.lines();
            let counted = lines.find_map(|line| line.strip_prefix(&wanted));
            let counted: u64 = counted.map_or(0, |count| count.parse().unwrap());
            if counted > 0 || began.elapsed() > WITHIN {
                break counted;
            }
        };
        assert!(dropped > 100, "{flag}: {dropped} dropped");
    }
}

#[test]
fn turn_is_there_through_the_tls_of_openssl() {
    if Command::new("openssl").arg("version").output().is_err() {
        return println!("NOT RUN: openssl is not installed");
    }
    let server = serve(&["--tls-self-signed", "--turn-tls", "127.0.0.1:0"]);
    let at = server.turns.unwrap().to_string();
    // An Allocate, and a Binding request, cut where it hurts.
    let cookie = [0x21, 0x12, 0xa4, 0x42];
    let allocate = [
        &[0, 3, 0, 8][..],
        &cookie,
        &[1; 12],
        &[0, 0x19, 0, 4, 17, 0, 0, 0],
    ]
    .concat();
    let binding = [&[0, 1, 0, 0][..], &cookie, &[2; 12]].concat();
    let mut client = Command::new("openssl")
        .args(["s_client", "-quiet", "-alpn", "stun.turn", "-connect", &at])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut to = client.stdin.take().unwrap();
    let mut from = client.stdout.take().unwrap();
    let _client = Program(client);
    to.write_all(&allocate).unwrap();
    to.write_all(&binding[..7]).unwrap();
    to.flush().unwrap();
    let mut read = |len: usize| {
        let mut bytes = vec![0; len];
        from.read_exact(&mut bytes).unwrap();
        bytes
    };
    let header = read(20);
    assert_eq!(header[..2], [0x01, 0x13], "an error response to Allocate");
    let body = read(usize::from(header[3]) | usize::from(header[2]) << 8);
    assert_eq!(body[..8], [0, 9, 0, 16, 0, 0, 4, 1], "401");
    to.write_all(&binding[7..]).unwrap();
    to.flush().unwrap();
    let header = read(20);
    assert_eq!(header[..2], [0x01, 0x01], "a success response to Binding");
}

#[test]
#[cfg(target_os = "linux")]
fn who_keeps_handshakes_open_keeps_nobody_else_out() {
    let server = serve(&["--tls-self-signed", "--turn-tls", "127.0.0.1:0"]);
    let at = server.turns.unwrap();
    // Below the patience of the server, which would make room again.
    let soon = Duration::from_secs(5);
    let mut silent: Vec<_> = (0..300).map(|_| TcpStream::connect(at).unwrap()).collect();
    let last = silent.last_mut().unwrap();
    last.set_read_timeout(Some(soon)).unwrap();
    assert_eq!(last.read(&mut [0; 16]).unwrap(), 0, "closed at once");
    // Another address: what is no TLS gets an alert, and so was looked at.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let _entered = runtime.enter();
    let answered = runtime.block_on(tokio::time::timeout(soon, async {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
        let mut other = socket.connect(at).await.unwrap();
        other.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        other.read(&mut [0; 16]).await.unwrap()
    }));
    assert!(answered.unwrap() > 0);
}

#[test]
#[cfg(target_os = "linux")]
fn as_many_files_may_be_open_as_the_system_allows() {
    let mut shell = Command::new("sh");
    let program = env!("CARGO_BIN_EXE_twocan");
    shell.args(["-c", "ulimit -S -n 300; exec \"$0\" \"$@\"", program]);
    let server = serve_by(shell, &[]);
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", server.program.0.id()));
    let limits = limits.unwrap();
    let files = limits
        .lines()
        .find(|line| line.starts_with("Max open files"));
    let words: Vec<&str> = files.unwrap().split_whitespace().collect();
    assert_ne!(words[3], "300");
    assert_eq!(words[3], words[4], "soft and hard");
}

#[test]
fn coturns_stun_client_learns_its_address() {
    if !installed() {
        return;
    }
    let server = serve(&[]);
    let output = Command::new("turnutils_stunclient")
        .args(["-p", &server.stun.port().to_string(), "127.0.0.1"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("UDP reflexive addr: 127.0.0.1:"), "{said}");
}

/// What `twocan nat` says of a server on loopback.
fn nat(port: u16) -> serde_json::Value {
    nat_of(SocketAddr::new([127, 0, 0, 1].into(), port))
}

fn nat_of(server: SocketAddr) -> serde_json::Value {
    let output = Command::new(env!("CARGO_BIN_EXE_twocan"))
        .args(["nat", "--json", &format!("stun:{server}")])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}, {output:?}"))
}

/// Nothing is translated or filtered on loopback, which the server can show.
fn assert_open(said: &serde_json::Value) {
    assert_eq!(said["translated"], false, "{said}");
    for kind in ["mapping", "filtering"] {
        assert_eq!(said[kind]["behaviour"], "endpoint-independent", "{said}");
    }
}

#[test]
#[cfg(target_os = "linux")]
fn behaviour_discovery_of_coturns_and_our_own_agree_on_a_server_with_two_addresses() {
    let has_v6 = UdpSocket::bind("[::1]:0").is_ok();
    let v6 = if has_v6 {
        &["--stun", "[::1]:0"][..]
    } else {
        &[]
    };
    let server = serve(&[&["--stun-other", "127.0.0.2:0"], v6].concat());
    let said = nat(server.stun.port());
    assert_open(&said);
    // A listener of the other family has no second address, and says so.
    for address in server.all.iter().skip(1) {
        let said = nat_of(*address);
        assert_eq!(said["translated"], false, "{said}");
        assert_eq!(said["other"], serde_json::Value::Null, "{said}");
    }
    assert!(said["other"].as_str().unwrap().starts_with("127.0.0.2:"));
    if !installed() {
        return;
    }
    let discover = |options: &[&str]| {
        let output = Command::new("timeout")
            .args(["60", "turnutils_natdiscovery"])
            .args(options)
            .args(["-p", &server.stun.port().to_string(), "127.0.0.1"])
            .output()
            .unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let said = discover(&["-m", "-f"]);
    assert!(said.contains("NAT with Endpoint Independent Mapping!"));
    assert!(said.contains("NAT with Endpoint Independent Filtering!"));
    // Its requests are longer than a packet with -P, and so are the answers.
    let said = discover(&["-m", "-f", "-P"]);
    assert!(said.contains("NAT with Endpoint Independent Filtering!"));
    // Nothing but discovery on the other addresses.
    let said = nat(server.stun.port());
    let other: SocketAddr = said["other"].as_str().unwrap().parse().unwrap();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket
        .set_read_timeout(Some(Duration::from_millis(300)))
        .unwrap();
    let cookie = [0x21, 0x12, 0xa4, 0x42];
    let transport = [0, 0x19, 0, 4, 17, 0, 0, 0];
    let allocate = [&[0, 3, 0, 8][..], &cookie, &[1; 12], &transport].concat();
    socket.send_to(&allocate, other).unwrap();
    assert!(socket.recv(&mut [0; 600]).is_err());
    socket.send_to(&allocate, server.stun).unwrap();
    assert!(socket.recv(&mut [0; 600]).unwrap() > 20, "a challenge");
}

#[test]
fn a_server_with_one_address_tells_no_more_than_it_can() {
    let server = serve(&[]);
    let said = nat(server.stun.port());
    assert_eq!(said["translated"], false);
    // What is not translated is mapped to itself; whether anything is filtered is not known.
    assert_eq!(said["mapping"]["behaviour"], "endpoint-independent");
    assert_eq!(said["filtering"]["behaviour"], serde_json::Value::Null);
    let why = said["filtering"]["reason"].as_str().unwrap();
    assert!(why.contains("no second address"), "{why}");
}

#[test]
#[cfg(target_os = "linux")]
fn coturn_shows_our_client_what_it_shows_its_own() {
    if !installed() {
        return;
    }
    let bind = |port| UdpSocket::bind(("127.0.0.1", port));
    let port = (0..100)
        .map(|_| bind(0).unwrap().local_addr().unwrap().port())
        .find(|port| bind(port.saturating_add(1)).is_ok())
        .unwrap();
    let child = Command::new("turnserver")
        .args(["-n", "-L", "127.0.0.1", "-L", "127.0.0.2", "--no-cli"])
        .args(["--no-tls", "--no-dtls", "--log-file=/dev/null"])
        .args(["--no-stdout-log", "-p", &port.to_string()])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let _coturn = Program(child);
    let began = Instant::now();
    loop {
        let said = nat(port);
        if said["mapped"] != serde_json::Value::Null {
            assert_open(&said);
            let other = format!("127.0.0.2:{}", port.saturating_add(1));
            assert_eq!(said["other"], other);
            return;
        }
        assert!(began.elapsed() < WITHIN, "coturn does not answer: {said}");
    }
}

#[test]
fn credentials_are_made_for_other_applications() {
    let server = serve(&["--turn-secret", "north", "--turn-url", "turn:t.example.org"]);
    let answer = get(server.http, "/api/v1/turn?service=turn&username=ann&ttl=60");
    let (header, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(header.starts_with("HTTP/1.1 200"), "{answer}");
    let body: serde_json::Value = serde_json::from_str(body).unwrap();
    assert_eq!(body["ttl"], 60);
    assert!(body["username"].as_str().unwrap().ends_with(":ann"));
    assert_eq!(body["uris"][0], "turn:t.example.org");
    let name = body["username"].as_str().unwrap();
    let password = twocan_proto::turn::rest_password(b"north", name);
    assert_eq!(body["password"], password);
    // Loopback alone, and nobody else's server: there is none to name.
    let server = serve(&[]);
    assert!(get(server.http, "/api/v1/turn").starts_with("HTTP/1.1 404"));
}

#[test]
fn credentials_are_for_the_operator_and_not_for_who_comes_through_a_proxy_of_this_machine() {
    let arguments = ["--turn-secret", "north", "--turn-url", "turn:t.example.org"];
    let is = |server: &Server, lines: &str, code: u16| {
        let answer = get_with(server.http, "/api/v1/turn", lines);
        let expected = format!("HTTP/1.1 {code} ");
        assert!(answer.starts_with(&expected), "{lines}: {answer}");
    };
    let server = serve(&arguments);
    for lines in ["Host: localhost:8080", "Host: 127.0.0.1", "Host: [::1]:1"] {
        is(&server, lines, 200);
    }
    for lines in [
        "Host: meet.example.org",
        "Host: localhost\r\nX-Forwarded-For: 192.0.2.1",
        "Host: localhost\r\nX-Forwarded-Proto: https",
        "Host: localhost\r\nForwarded: for=192.0.2.1",
        "Host: localhost\r\nVia: 1.1 proxy",
    ] {
        is(&server, lines, 403);
    }
    let server = serve(&[&arguments[..], &["--secret", "s3"]].concat());
    is(&server, "Host: localhost", 403);
    is(&server, "Host: localhost\r\nAuthorization: Bearer no", 403);
    is(&server, "Host: a.example\r\nAuthorization: Bearer s3", 200);
}

/// RFC 8656 §11.5, by the kernel's own ICMP.
#[cfg(target_os = "linux")]
#[test]
fn a_client_hears_that_nobody_is_at_the_port_of_a_peer() {
    use twocan_proto::random::Random;
    use twocan_proto::turn::client::{Account, Client, Settings};
    use twocan_proto::wire::stun::{Attribute, Icmp, Message};
    let server = serve(&[&LOOPBACK[..], &["--turn-user", "u:p"]].concat());
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket
        .set_read_timeout(Some(Duration::from_millis(50)))
        .unwrap();
    // The port is free again at once.
    let nobody = UdpSocket::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let account = Account {
        username: "u".to_owned(),
        password: "p".to_owned(),
    };
    let settings = Settings {
        server: server.stun,
        account,
        stream: false,
    };
    let mut client = Client::new(settings, Random::new([1; 32]));
    client.start(Instant::now());
    let began = Instant::now();
    let mut buffer = [0; 2048];
    loop {
        assert!(began.elapsed() < WITHIN, "no ICMP error came");
        if let Some(envelope) = client.envelope(Instant::now(), nobody) {
            let mut bytes = Vec::new();
            envelope.wrap(&mut bytes, |out| out.extend_from_slice(b"anybody?"));
            socket.send_to(&bytes, server.stun).unwrap();
        }
        while let Some(bytes) = client.poll_transmit() {
            socket.send_to(&bytes, server.stun).unwrap();
        }
        if let Ok((len, _)) = socket.recv_from(&mut buffer) {
            let message = Message::parse(&buffer[..len]).unwrap();
            let peer = message.peer_address();
            let icmp = message.attributes().find_map(|attribute| match attribute {
                Attribute::Icmp(icmp) => Some(icmp),
                _ => None,
            });
            if let Some(icmp) = icmp {
                let expected = Icmp {
                    kind: 3,
                    code: 3,
                    data: 0,
                };
                assert_eq!((peer, icmp), (Some(nobody), expected));
                return;
            }
            client.handle(Instant::now(), &mut buffer[..len]);
        }
        client.handle_timeout(Instant::now());
    }
}

#[test]
fn the_flag_of_a_port_that_is_taken_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let at = taken.local_addr().unwrap().to_string();
    let output = Command::new(env!("CARGO_BIN_EXE_twocan"))
        .args(["serve", "--http", "127.0.0.1:0", "--stun", "127.0.0.1:0"])
        .args(["--tls-self-signed", "--turn-tls", &at])
        .output()
        .unwrap();
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("--turn-tls") && said.contains(&at), "{said}");
}
