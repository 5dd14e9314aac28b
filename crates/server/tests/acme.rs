//! `twocan serve` with certificates by ACME, from Pebble, the test server of those who make Let's
//! Encrypt.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test that cannot go on fails, and one that cannot run says so"
)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

/// For anything that is waited for; two busy cores are slow.
const WITHIN: Duration = Duration::from_secs(120);

const NAME: &str = "meet.example.org";

/// Ends with the test.
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A folder that goes with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("twocan-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A port that nobody has, below those that the system gives to whoever asks for any: programs
/// have to know of each other's before they have them.
fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = 20_000 + (std::process::id() % 120) as u16 * 100;
    let mut ports = std::iter::repeat_with(|| first + NEXT.fetch_add(1, Ordering::Relaxed) % 100);
    let is_free = |port: &u16| {
        let at = ("127.0.0.1", *port);
        TcpListener::bind(at).is_ok() && UdpSocket::bind(at).is_ok()
    };
    ports.by_ref().take(100).find(is_free).unwrap()
}

/// Waits until a name server answers.
fn wait_for_names(port: u16) {
    // A question for the address of `a`.
    let question = b"\0\x07\x01\0\0\x01\0\0\0\0\0\0\x01a\0\0\x01\0\x01";
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(("127.0.0.1", port)).unwrap();
    let patience = Duration::from_millis(50);
    socket.set_read_timeout(Some(patience)).unwrap();
    let began = Instant::now();
    // Nobody there is refused at once.
    while socket.send(question).is_err() || socket.recv(&mut [0; 512]).is_err() {
        assert!(began.elapsed() < WITHIN, "no names");
        std::thread::yield_now();
    }
}

/// A certificate authority, and the names that it knows.
struct Pebble {
    programs: Vec<Program>,
    directory: String,
    management: u16,
    /// Of the authority's own HTTPS.
    authority: PathBuf,
}

impl Pebble {
    /// `None` where it is not installed. It comes to these ports of loopback.
    fn start(folder: &Folder, http: u16, tls: u16, validity: u32) -> Option<Self> {
        if Command::new("pebble").arg("-h").output().is_err() {
            println!("NOT RUN: pebble is not installed (apt-get install pebble)");
            return None;
        }
        let key = rcgen::KeyPair::generate().unwrap();
        let mut asked = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        asked.is_ca = rcgen::IsCa::NoCa;
        let certificate = asked.self_signed(&key).unwrap();
        let authority = folder.file("pebble.pem", &certificate.pem());
        let key = folder.file("pebble.key", &key.serialize_pem());
        let (listen, management) = (free_port(), free_port());
        let dns = free_port();
        let config = serde_json::json!({ "pebble": {
            "listenAddress": format!("127.0.0.1:{listen}"),
            "managementListenAddress": format!("127.0.0.1:{management}"),
            "certificate": authority,
            "privateKey": key,
            "httpPort": http,
            "tlsPort": tls,
            "certificateValidityPeriod": validity,
        }});
        let config = folder.file("pebble.json", &config.to_string());
        let names = Command::new("pebble-challtestsrv")
            .args([
                "-dns01",
                &format!("127.0.0.1:{dns}"),
                "-http01",
                "",
                "-https01",
                "",
            ])
            .args(["-tlsalpn01", "", "-defaultIPv6", ""])
            .args(["-management", &format!("127.0.0.1:{}", free_port())])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let authorities = Command::new("pebble")
            .args(["-config", config.to_str().unwrap()])
            .args(["-dnsserver", &format!("127.0.0.1:{dns}")])
            .env("PEBBLE_VA_NOSLEEP", "1")
            .env("PEBBLE_WFE_NONCEREJECT", "0")
            .env("PEBBLE_AUTHZREUSE", "0")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let new = Self {
            programs: vec![Program(names), Program(authorities)],
            directory: format!("https://localhost:{listen}/dir"),
            management,
            authority,
        };
        wait_for_names(dns);
        let began = Instant::now();
        while new.get("/roots/0").is_none() {
            assert!(began.elapsed() < WITHIN, "pebble does not start");
            std::thread::yield_now();
        }
        Some(new)
    }

    /// The body of an answer of its management.
    fn get(&self, path: &str) -> Option<String> {
        let stream = TcpStream::connect(("127.0.0.1", self.management)).ok()?;
        let own = CertificateDer::from_pem_file(&self.authority).unwrap();
        let mut stream = over_tls(stream, "localhost", &[own], &[]).ok()?;
        let request = format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n");
        stream.write_all(request.as_bytes()).ok()?;
        let mut answer = Vec::new();
        // Go's servers end without a word of TLS.
        let _ = stream.read_to_end(&mut answer);
        let answer = String::from_utf8(answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        head.contains(" 200 ").then(|| body.to_owned())
    }

    /// What its certificates go back to.
    fn root(&self) -> CertificateDer<'static> {
        let root = self.get("/roots/0").unwrap();
        CertificateDer::from_pem_slice(root.as_bytes()).unwrap()
    }
}

type Tls = StreamOwned<ClientConnection, TcpStream>;

/// The stream after a handshake in which the other side's certificate was checked.
fn over_tls(
    stream: TcpStream,
    name: &str,
    roots: &[CertificateDer<'static>],
    protocols: &[&[u8]],
) -> std::io::Result<Tls> {
    stream.set_read_timeout(Some(WITHIN))?;
    let mut store = RootCertStore::empty();
    for root in roots {
        store.add(root.clone()).unwrap();
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(store)
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|own| own.to_vec()).collect();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let connection = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut stream = StreamOwned::new(connection, stream);
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock)?;
    }
    Ok(stream)
}

fn certificate_of(stream: &Tls) -> CertificateDer<'static> {
    let chain = stream.conn.peer_certificates().unwrap();
    chain[0].clone().into_owned()
}

/// The server, and what it says.
struct Server {
    _program: Program,
    lines: Receiver<serde_json::Value>,
    turns: SocketAddr,
}

impl Server {
    fn start(pebble: &Pebble, http: u16, cache: &Path, arguments: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_twocan"))
            .args(["serve", "--log-format", "json"])
            .args(["--http", &format!("127.0.0.1:{http}")])
            .args(["--stun", "127.0.0.1:0", "--turn-tls", "127.0.0.1:0"])
            .args(["--acme-domain", NAME, "--acme-directory", &pebble.directory])
            .args(["--acme-cache", cache.to_str().unwrap()])
            .args(arguments)
            .env("SSL_CERT_FILE", &pebble.authority)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let said = BufReader::new(child.stderr.take().unwrap()).lines();
        let (to, lines) = channel();
        std::thread::spawn(move || {
            for line in said.map_while(Result::ok) {
                let _ = to.send(serde_json::from_str(&line).unwrap_or_default());
            }
        });
        let mut new = Self {
            _program: Program(child),
            lines,
            turns: SocketAddr::from(([127, 0, 0, 1], 0)),
        };
        let listening = new.says("listening");
        new.turns = listening["turns"].as_str().unwrap().parse().unwrap();
        new
    }

    /// The next line with that message.
    fn says(&self, message: &str) -> serde_json::Value {
        self.said(message).pop().unwrap()
    }

    /// All lines up to the next with that message.
    fn said(&self, message: &str) -> Vec<serde_json::Value> {
        let began = Instant::now();
        let mut lines = Vec::new();
        loop {
            let left = WITHIN.saturating_sub(began.elapsed());
            let Ok(line) = self.lines.recv_timeout(left) else {
                panic!("it never says {message:?}, but {lines:#?}");
            };
            let is_it = line["message"]
                .as_str()
                .is_some_and(|own| own.contains(message));
            lines.push(line);
            if is_it {
                return lines;
            }
        }
    }
}

/// A connection with HTTPS at that port.
fn https(port: u16, root: &CertificateDer<'static>) -> std::io::Result<Tls> {
    let stream = TcpStream::connect(("127.0.0.1", port))?;
    over_tls(stream, NAME, std::slice::from_ref(root), &[b"http/1.1"])
}

/// Asks over a connection that stays open.
fn is_healthy(stream: &mut Tls) -> bool {
    let request = format!("GET /healthz HTTP/1.1\r\nHost: {NAME}\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"ok\n") {
        let mut bytes = [0; 1024];
        match stream.read(&mut bytes) {
            Ok(len @ 1..) => answer.extend_from_slice(&bytes[..len]),
            _ => return false,
        }
    }
    answer.starts_with(b"HTTP/1.1 200 ")
}

/// TURN over TLS, at which a Binding request was answered.
fn turns(at: SocketAddr, root: &CertificateDer<'static>) -> Tls {
    let stream = TcpStream::connect(at).unwrap();
    let mut stream = over_tls(stream, NAME, std::slice::from_ref(root), &[b"stun.turn"]).unwrap();
    assert!(answers_binding(&mut stream));
    stream
}

fn answers_binding(stream: &mut Tls) -> bool {
    let mut request = vec![0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42];
    request.extend_from_slice(b"twelve bytes");
    stream.write_all(&request).unwrap();
    let mut header = [0; 20];
    stream.read_exact(&mut header).unwrap();
    let mut body = vec![0; usize::from(u16::from_be_bytes([header[2], header[3]]))];
    stream.read_exact(&mut body).unwrap();
    header[..2] == [1, 1] && header[8..] == request[8..]
}

#[test]
fn a_certificate_is_got_on_port_443_and_renewed_while_connections_last() {
    let folder = Folder::new("acme-alpn");
    let http = free_port();
    // Renewed after 20 s.
    let Some(pebble) = Pebble::start(&folder, free_port(), http, 30) else {
        return;
    };
    let root = pebble.root();
    let server = Server::start(&pebble, http, &folder.0.join("cache"), &[]);
    server.says("certificate by ACME");
    let mut first = https(http, &root).unwrap();
    let certificate = certificate_of(&first);
    assert!(is_healthy(&mut first));
    let mut relay = turns(server.turns, &root);
    assert_eq!(certificate_of(&relay), certificate);

    server.says("certificate by ACME");
    let mut second = https(http, &root).unwrap();
    assert_ne!(certificate_of(&second), certificate);
    let renewed = turns(server.turns, &root);
    assert_eq!(certificate_of(&renewed), certificate_of(&second));
    // What was open goes on.
    assert!(is_healthy(&mut first) && is_healthy(&mut second));
    assert!(answers_binding(&mut relay));
}

#[test]
fn a_certificate_is_got_on_port_80_and_kept_for_the_next_start() {
    let folder = Folder::new("acme-http");
    let cache = folder.0.join("cache");
    let (http, plain) = (free_port(), free_port());
    let years = 100_000_000;
    let Some(mut pebble) = Pebble::start(&folder, plain, free_port(), years) else {
        return;
    };
    let root = pebble.root();
    let on_80 = format!("127.0.0.1:{plain}");
    let arguments = ["--acme-http", &on_80, "--acme-email", "ann@example.org"];
    let server = Server::start(&pebble, http, &cache, &arguments);
    server.says("certificate by ACME");
    let certificate = certificate_of(&https(http, &root).unwrap());
    assert_eq!(certificate_of(&turns(server.turns, &root)), certificate);
    let kept = || {
        let files = std::fs::read_dir(&cache).unwrap();
        files.map(|file| file.unwrap().path()).collect::<Vec<_>>()
    };
    assert_eq!(kept().len(), 2);
    for file in kept() {
        let mode = std::fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{}", file.display());
    }
    let mut stream = TcpStream::connect(&on_80).unwrap();
    let request = format!("GET /room HTTP/1.0\r\nHost: {NAME}\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let to = format!("location: https://{NAME}/room\r\n");
    assert!(answer.contains(" 308 ") && answer.contains(&to), "{answer}");
    drop(server);

    // The authority is not needed.
    pebble.programs.clear();
    let server = Server::start(&pebble, http, &cache, &arguments);
    assert_eq!(certificate_of(&https(http, &root).unwrap()), certificate);
    drop(server);
}

#[test]
fn a_name_that_leads_elsewhere_is_named_and_the_server_goes_on() {
    let folder = Folder::new("acme-elsewhere");
    let http = free_port();
    let Some(pebble) = Pebble::start(&folder, free_port(), free_port(), 1000) else {
        return;
    };
    let root = pebble.root();
    let server = Server::start(&pebble, http, &folder.0.join("cache"), &[]);
    let complaint = server.says("there is no certificate that browsers believe");
    let error = complaint["error"].as_str().unwrap();
    for words in [NAME, "port 443", &format!("127.0.0.1:{http}")] {
        assert!(error.contains(words), "{error}");
    }
    assert_eq!(complaint["again_in"], "15 min");
    // It has a certificate, of its own.
    assert!(https(http, &root).is_err());
    assert!(TcpStream::connect(server.turns).is_ok());
}
