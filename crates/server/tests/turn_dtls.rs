//! TURN over DTLS (RFC 7350): `twocan serve` as coturn's client and OpenSSL see it.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

/// Ends with the test.
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

struct Server {
    _program: Program,
    dtls: SocketAddr,
}

const SERVE: [&str; 10] = [
    "serve",
    "--http",
    "127.0.0.1:0",
    "--stun",
    "127.0.0.1:0",
    "--turn-tls",
    "127.0.0.1:0",
    "--turn-dtls",
    "--log-format",
    "json",
];

fn serve(arguments: &[&str]) -> Server {
    let mut child = Command::new(env!("CARGO_BIN_EXE_twocan"))
        .args(SERVE)
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
    std::thread::spawn(move || lines.for_each(drop));
    let said: serde_json::Value = serde_json::from_str(&line).unwrap();
    let address = |name: &str| said[name].as_str().unwrap().parse().unwrap();
    Server {
        _program: Program(child),
        dtls: address("turns_udp"),
    }
}

/// The line of a server that does not start.
fn refused(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_twocan"))
        .args(SERVE)
        .args(arguments)
        .output()
        .unwrap();
    assert!(!output.status.success());
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A peer that echoes what it gets.
fn echo() -> u16 {
    let bind = |port| UdpSocket::bind(("127.0.0.1", port));
    // The client wants two ports in a row.
    let (first, second) = (0..100)
        .find_map(|_| {
            let first = bind(0).unwrap();
            let next = first.local_addr().unwrap().port().checked_add(1)?;
            Some((first, bind(next).ok()?))
        })
        .unwrap();
    let port = first.local_addr().unwrap().port();
    for socket in [first, second] {
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok((len, from)) = socket.recv_from(&mut bytes) {
                let _ = socket.send_to(&bytes[..len], from);
            }
        });
    }
    port
}

#[test]
fn a_client_of_coturns_relays_over_dtls() {
    if Command::new("turnutils_uclient")
        .arg("-h")
        .output()
        .is_err()
    {
        return println!("NOT RUN: turnutils_uclient is not installed (apt-get install coturn)");
    }
    let user = ["--turn-user", "u:p", "--turn-allow", "127.0.0.0/8"];
    let server = serve(&[&user[..], &["--tls-self-signed"]].concat());
    let peer = echo().to_string();
    // Channels, and indications. It draws DTLS 1.0 or 1.2, and after our alert draws again.
    for way in [&[][..], &["-s"]] {
        let output = Command::new("timeout")
            .args(["60", "turnutils_uclient", "-S", "-u", "u", "-w", "p"])
            .args(["-p", &server.dtls.port().to_string(), "-r", &peer])
            .args(["-m", "2", "-n", "20", "-l", "160", "-e", "127.0.0.1"])
            .args(way)
            .arg("127.0.0.1")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        let is_whole = said.contains("Total lost packets 0 (0.000000%)");
        assert!(is_whole && !said.contains("tot_recv_msgs=0\n"), "{said}");
    }
}

#[test]
fn each_record_is_a_message_to_openssl_as_well() {
    if Command::new("openssl").arg("version").output().is_err() {
        return println!("NOT RUN: openssl is not installed");
    }
    let server = serve(&["--tls-self-signed"]);
    let at = server.dtls.to_string();
    let client = Command::new("openssl")
        .args(["s_client", "-dtls1_2", "-quiet", "-connect", &at])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    let mut client = Program(client.unwrap());
    let mut to = client.0.stdin.take().unwrap();
    let mut from = client.0.stdout.take().unwrap();
    let cookie = [0x21, 0x12, 0xa4, 0x42];
    for id in [1, 2] {
        let binding = [&[0, 1, 0, 0][..], &cookie, &[id; 12]].concat();
        to.write_all(&binding).unwrap();
        to.flush().unwrap();
        let mut answer = [0; 20];
        from.read_exact(&mut answer).unwrap();
        assert_eq!(answer[..2], [1, 1], "a success response to Binding");
        assert_eq!(answer[8..], [id; 12]);
        let mut rest = vec![0; usize::from(answer[3])];
        from.read_exact(&mut rest).unwrap();
    }
}

#[test]
fn what_dtls_needs_is_said_at_the_start() {
    let said = refused(&[]);
    assert!(said.contains("--turn-dtls needs a certificate"), "{said}");
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let name = |kind: &str| {
        let file = format!("ed25519-{}.{kind}", std::process::id());
        folder.join(file).to_str().unwrap().to_owned()
    };
    let (certificate, key) = (name("crt"), name("key"));
    let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let asked = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    std::fs::write(&certificate, asked.self_signed(&pair).unwrap().pem()).unwrap();
    std::fs::write(&key, pair.serialize_pem()).unwrap();
    let said = refused(&["--tls-cert", &certificate, "--tls-key", &key]);
    for file in [certificate, key] {
        std::fs::remove_file(file).unwrap();
    }
    assert!(
        said.contains("--turn-dtls") && said.contains("Ed25519") && said.contains("P-256"),
        "{said}"
    );
}
