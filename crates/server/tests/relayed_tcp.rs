//! TCP by way of a relay (RFC 6062), from our client and over the kernel's sockets: with coturn, and
//! with `twocan serve`, over TCP and over TLS.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test that cannot go on fails, and one that cannot run says so"
)]

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::timeout;
use twocan::turn::{Failure, Refusal, TcpAllocation, TcpConnection, TcpError};
use twocan::{Environment, IceServer};

/// For anything that is waited for; two busy cores are slow.
const WITHIN: Duration = Duration::from_secs(60);

/// What passes each way.
const LEN: usize = 1 << 20;

/// Ends with the test.
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A relay, and who may use it.
struct Relay {
    _program: Program,
    url: String,
    environment: Environment,
    /// A peer that it does not relay to.
    forbidden: &'static str,
}

impl Relay {
    fn account(&self, password: &str) -> IceServer {
        IceServer {
            urls: vec![self.url.clone()],
            username: Some("u".to_owned()),
            credential: Some(password.to_owned()),
        }
    }

    async fn allocate(&self, password: &str) -> Result<TcpAllocation, TcpError> {
        let environment = Some(self.environment.clone());
        TcpAllocation::new(&self.account(password), environment).await
    }

    async fn allocated(&self) -> TcpAllocation {
        self.allocate("p").await.unwrap()
    }
}

/// Starts `twocan serve`, with a certificate that the environment trusts.
fn ours(over_tls: bool, arguments: &[&str]) -> Relay {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR"));
    let name = format!(
        "relayed-{}-{over_tls}-{}",
        std::process::id(),
        arguments.len()
    );
    let [certificate, key] = ["crt", "key"].map(|kind| folder.join(format!("{name}.{kind}")));
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_twocan"))
        .args(["serve", "--http", "127.0.0.1:0", "--stun", "127.0.0.1:0"])
        .args(["--log-format", "json", "--turn-user", "u:p"])
        .args(["--turn-allow", "127.0.0.0/8", "--turn-tls", "127.0.0.1:0"])
        .args(arguments)
        .arg("--tls-cert")
        .arg(&certificate)
        .arg("--tls-key")
        .arg(&key)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let line = lines
        .by_ref()
        .map_while(Result::ok)
        .find(|line| line.contains("\"listening\""))
        .unwrap();
    std::thread::spawn(move || lines.for_each(drop));
    for file in [certificate, key] {
        std::fs::remove_file(file).unwrap();
    }
    let said: serde_json::Value = serde_json::from_str(&line).unwrap();
    let url = match over_tls {
        true => format!("turns:{}", said["turns"].as_str().unwrap()),
        false => format!("turn:{}?transport=tcp", said["stun"].as_str().unwrap()),
    };
    Relay {
        _program: Program(child),
        url,
        environment: Environment::with_authorities(vec![made.cert.der().to_vec()]).unwrap(),
        forbidden: "10.9.8.7:80",
    }
}

/// Starts coturn; `None` where it is not installed.
async fn coturn() -> Option<Relay> {
    // Bound and not listened at until coturn does: nobody else has it.
    let kept = TcpSocket::new_v4().unwrap();
    kept.set_reuseport(true).unwrap();
    kept.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let at = kept.local_addr().unwrap();
    let program = Command::new("turnserver")
        .args([
            "-n",
            "--no-cli",
            "--no-tls",
            "--no-dtls",
            "--log-file=stdout",
        ])
        .args(["--allow-loopback-peers", "--denied-peer-ip=127.0.0.77"])
        .args(["-a", "-r", "lab", "-u", "u:p", "--pidfile=/dev/null"])
        .args([
            "-L",
            "127.0.0.1",
            "-E",
            "127.0.0.1",
            "-p",
            &at.port().to_string(),
        ])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let Ok(program) = program else {
        println!("NOT RUN: turnserver is not installed (apt-get install coturn)");
        return None;
    };
    let relay = Relay {
        _program: Program(program),
        url: format!("turn:{at}?transport=tcp"),
        environment: Environment::new().unwrap(),
        forbidden: "127.0.0.77:80",
    };
    let began = Instant::now();
    while TcpStream::connect(at).await.is_err() {
        assert!(began.elapsed() < WITHIN, "coturn does not listen");
        tokio::task::yield_now().await;
    }
    Some(relay)
}

fn pattern() -> Vec<u8> {
    (0..LEN).map(|place| (place % 251) as u8).collect()
}

/// Sends a lot both ways at once, and ends from our side.
async fn exchange(connection: TcpConnection, mut peer: TcpStream) {
    let (mut reading, mut writing) = tokio::io::split(connection);
    let expected = pattern();
    let near = async {
        writing.write_all(&expected).await.unwrap();
        writing.flush().await.unwrap();
    };
    let near_reads = async {
        let mut read = vec![0; LEN];
        reading.read_exact(&mut read).await.unwrap();
        assert!(read == expected, "from the peer");
    };
    let (mut peer_reading, mut peer_writing) = peer.split();
    let far = async {
        peer_writing.write_all(&expected).await.unwrap();
    };
    let far_reads = async {
        let mut read = vec![0; LEN];
        peer_reading.read_exact(&mut read).await.unwrap();
        assert!(read == expected, "to the peer");
    };
    let all = async { tokio::join!(near, near_reads, far, far_reads) };
    timeout(WITHIN, all).await.expect("all of it");
    drop((reading, writing));
    let mut rest = [0; 16];
    let ended = timeout(WITHIN, peer.read(&mut rest)).await;
    assert!(!matches!(ended.unwrap(), Ok(1..)), "the peer sees the end");
}

async fn both_ways(relay: &Relay) {
    let mut allocation = relay.allocated().await;
    let relayed = allocation.relayed_address();
    assert!(relayed.ip().is_loopback() && relayed.port() != 0);
    assert!(allocation.mapped_address().unwrap().ip().is_loopback());
    // To a peer.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let connecting = timeout(WITHIN, allocation.connect(at));
    let (connected, accepted) = tokio::join!(connecting, listener.accept());
    let (peer, from) = accepted.unwrap();
    assert_eq!(from, relayed);
    let connection = connected.unwrap().unwrap();
    assert_eq!(connection.peer(), at);
    exchange(connection, peer).await;
    // From a peer, which speaks before anybody has accepted it.
    allocation.permit(at.ip()).await.unwrap();
    let mut peer = TcpStream::connect(relayed).await.unwrap();
    peer.write_all(b"hello").await.unwrap();
    let mut guest = timeout(WITHIN, allocation.accept()).await.unwrap().unwrap();
    assert_eq!(guest.peer(), peer.local_addr().unwrap());
    let mut word = [0; 5];
    guest.read_exact(&mut word).await.unwrap();
    assert_eq!(&word, b"hello");
    exchange(guest, peer).await;
}

fn code(refused: Result<TcpConnection, TcpError>) -> u16 {
    match refused {
        Err(TcpError::Refused(Refusal::Refused { code, .. })) => code,
        other => panic!("{other:?}"),
    }
}

async fn refusals(relay: &Relay) {
    let allocation = relay.allocated().await;
    let to = |address: SocketAddr| timeout(WITHIN, allocation.connect(address));
    assert_eq!(
        code(to(relay.forbidden.parse().unwrap()).await.unwrap()),
        403
    );
    // Bound, and not listened at.
    let nobody = TcpSocket::new_v4().unwrap();
    nobody.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let silent = nobody.local_addr().unwrap();
    assert_eq!(code(to(silent).await.unwrap()), 447);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let (connected, _peer) = tokio::join!(to(at), listener.accept());
    let _connection = connected.unwrap().unwrap();
    assert_eq!(code(to(at).await.unwrap()), 446);
    let wrong = timeout(WITHIN, relay.allocate("wrong")).await.unwrap();
    let refused = wrong.unwrap_err();
    assert!(
        matches!(
            &refused,
            TcpError::Allocation(Failure::Refused { code: 401, .. })
        ),
        "{refused}"
    );
}

#[tokio::test]
async fn our_client_connects_and_is_connected_to_by_way_of_coturn() {
    let Some(relay) = coturn().await else { return };
    both_ways(&relay).await;
    refusals(&relay).await;
}

#[tokio::test]
async fn our_client_connects_and_is_connected_to_by_way_of_our_server() {
    let relay = ours(false, &["--turn-tcp-relay"]);
    both_ways(&relay).await;
    refusals(&relay).await;
}

#[tokio::test]
async fn our_client_does_so_over_tls() {
    let relay = ours(true, &["--turn-tcp-relay"]);
    both_ways(&relay).await;
    // Who does not know the authority does not come in.
    let stranger = Environment::new().unwrap();
    let refused = TcpAllocation::new(&relay.account("p"), Some(stranger)).await;
    assert!(matches!(refused, Err(TcpError::Stream(_))), "{refused:?}");
}

#[tokio::test]
async fn a_server_that_relays_no_tcp_says_so() {
    let relay = ours(false, &[]);
    let refused = relay.allocate("p").await.unwrap_err();
    assert!(
        matches!(
            &refused,
            TcpError::Allocation(Failure::Refused { code: 442, .. })
        ),
        "{refused}"
    );
}

#[tokio::test]
async fn an_allocation_lasts_as_long_as_a_connection_of_it_and_no_longer() {
    let relay = ours(false, &["--turn-tcp-relay", "--turn-per-user", "1"]);
    let allocation = relay.allocated().await;
    let full = relay.allocate("p").await.unwrap_err();
    assert!(
        matches!(
            &full,
            TcpError::Allocation(Failure::Refused { code: 486, .. })
        ),
        "{full}"
    );
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let (connected, accepted) = tokio::join!(allocation.connect(at), listener.accept());
    let (mut connection, (mut peer, _)) = (connected.unwrap(), accepted.unwrap());
    drop(allocation);
    connection.write_all(b"still").await.unwrap();
    let mut word = [0; 5];
    peer.read_exact(&mut word).await.unwrap();
    assert!(relay.allocate("p").await.is_err());
    drop(connection);
    let began = Instant::now();
    while relay.allocate("p").await.is_err() {
        assert!(began.elapsed() < WITHIN, "it was not given back");
    }
}
