//! `POST /join/{room}` of `twocan serve`: a room joined by one request, and all else over a data
//! channel of the connection that it makes.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use twocan::{
    Configuration, DataChannel, DataChannelInit, IceServer, IceTransportPolicy, PeerConnection,
    SdpType, SessionDescription,
};

/// For anything that is waited for; two busy cores are slow.
const WITHIN: Duration = Duration::from_secs(60);

/// `twocan serve` on loopback; ends with the test.
struct Server {
    child: Child,
    http: SocketAddr,
    stun: SocketAddr,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn serve(arguments: &[&str]) -> Server {
    let mut child = Command::new(env!("CARGO_BIN_EXE_twocan"))
        .args(["serve", "--http", "127.0.0.1:0", "--stun", "127.0.0.1:0"])
        .args(["--log-format", "json"])
        .args(arguments)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let listens = |line: &String| line.contains("\"listening\"");
    let line = lines.by_ref().map_while(Result::ok).find(listens).unwrap();
    // What follows is read, so that the program never waits for us.
    std::thread::spawn(move || lines.for_each(drop));
    let value: Value = serde_json::from_str(&line).unwrap();
    let address = |name: &str| value[name].as_str().unwrap().parse().unwrap();
    let (http, stun) = (address("http"), address("stun"));
    Server { child, http, stun }
}

struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        let fields = self.head.lines().filter_map(|line| line.split_once(": "));
        let mut named = fields.filter(|(own, _)| own.eq_ignore_ascii_case(name));
        named.next().map(|(_, value)| value)
    }
}

impl Server {
    fn ask(&self, method: &str, path: &str, lines: &str, body: &str) -> Answer {
        let mut stream = TcpStream::connect(self.http).unwrap();
        stream.set_read_timeout(Some(WITHIN)).unwrap();
        let len = body.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
             Content-Length: {len}\r\n{lines}\r\n{body}"
        );
        // One that is refused for its length is answered before it is read.
        let _ = stream.write_all(request.as_bytes());
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        let answer = String::from_utf8(answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        Answer {
            status: head.split(' ').nth(1).unwrap().parse().unwrap(),
            head: head.to_owned(),
            body: body.to_owned(),
        }
    }

    fn post(&self, path: &str, body: &str) -> Answer {
        self.ask("POST", path, "Content-Type: application/sdp\r\n", body)
    }
}

/// Somebody in a room.
struct Guest {
    connection: PeerConnection,
    channel: DataChannel,
    session: String,
}

fn connection() -> PeerConnection {
    PeerConnection::new(Configuration {
        loopback_candidates: true,
        ..Configuration::default()
    })
    .unwrap()
}

fn channel(connection: &PeerConnection) -> DataChannel {
    let init = DataChannelInit {
        protocol: "twocan.v1".to_owned(),
        ..DataChannelInit::default()
    };
    connection.create_data_channel("signaling", init).unwrap()
}

async fn offer(connection: &PeerConnection) -> String {
    connection.set_local_description(None).unwrap();
    connection.gathered_description().await.unwrap().sdp
}

async fn join(server: &Server, path: &str) -> Guest {
    join_by(connection(), server, path).await
}

async fn join_by(connection: PeerConnection, server: &Server, path: &str) -> Guest {
    let channel = channel(&connection);
    let answer = server.post(path, &offer(&connection).await);
    assert_eq!(answer.status, 201, "{}", answer.body);
    assert_eq!(answer.header("Content-Type"), Some("application/sdp"));
    let session = answer.header("Location").unwrap().to_owned();
    let answer = SessionDescription {
        kind: SdpType::Answer,
        sdp: answer.body,
    };
    connection.set_remote_description(answer).unwrap();
    Guest {
        connection,
        channel,
        session,
    }
}

impl Guest {
    /// The next frame of that event; those before it are left out.
    async fn hears(&self, event: &str) -> Value {
        let heard = async {
            while let Some(message) = self.channel.next_message().await {
                let twocan::Message::Text(text) = message else {
                    panic!("{message:?}");
                };
                let frame: Value = serde_json::from_str(&text).unwrap();
                if frame["event"] == event {
                    return frame;
                }
            }
            panic!("the channel closed, and no {event} came");
        };
        tokio::time::timeout(WITHIN, heard).await.unwrap()
    }

    async fn is_let_go(&self) {
        let closed = async { while self.channel.next_message().await.is_some() {} };
        tokio::time::timeout(WITHIN, closed).await.unwrap();
    }

    fn says(&self, frame: &Value) {
        self.channel.send_text(frame.to_string()).unwrap();
    }
}

#[tokio::test]
async fn two_who_join_by_a_request_each_meet() {
    let server = serve(&["--topology", "auto"]);
    let ada = join(&server, "/join/den?name=Ada").await;
    let first = ada.hears("authenticated").await;
    assert_eq!(
        (&first["seq"], &first["data"]["topology"]),
        (&1.into(), &"sfu".into())
    );
    let bob = join(&server, "/join/den?name=Bob&metadata=%7B%22seat%22%3A7%7D").await;
    let told = ada.hears("joined").await;
    assert_eq!(
        (&told["data"]["name"], &told["data"]["metadata"]["seat"]),
        (&"Bob".into(), &7.into())
    );
    let first = bob.hears("authenticated").await;
    assert_eq!(first["data"]["peers"][0]["name"], "Ada");
    bob.says(&json!({"event": "chat", "to": "all", "data": {"type": "chat", "text": "hello"}}));
    assert_eq!(ada.hears("chat").await["data"]["text"], "hello");
    // A frame that is too long is refused as over a WebSocket, and the next one is heard.
    bob.says(&json!({"event": "chat", "to": "all", "data": "x".repeat(70_000)}));
    assert_eq!(bob.hears("error").await["data"]["details"], "message_bytes");
    bob.says(&json!({"event": "leave"}));
    bob.is_let_go().await;
    assert_eq!(
        ada.hears("left").await["data"]["peer_id"],
        first["data"]["peer_id"]
    );
    // Once also where the connection has ended, as of WHIP.
    assert_eq!(server.ask("DELETE", &bob.session, "", "").status, 200);
    assert_eq!(server.ask("DELETE", &bob.session, "", "").status, 404);

    // Who closes its connection has left; so has whose session is deleted.
    let eve = join(&server, "/join/den?name=Eve").await;
    eve.hears("authenticated").await;
    eve.connection.close();
    eve.connection.closed().await;
    ada.hears("left").await;
    assert_eq!(server.ask("DELETE", &ada.session, "", "").status, 200);
    ada.is_let_go().await;
    assert_eq!(server.ask("DELETE", &ada.session, "", "").status, 404);
}

/// A number of `/metrics`; zero where it is not there yet.
fn counted(server: &Server, name: &str) -> u64 {
    let metrics = server.ask("GET", "/metrics", "", "").body;
    let mut lines = metrics.lines();
    let line = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.map_or(0, |number| number.parse().unwrap())
}

/// What passes between the TURN server and media of the same process goes through no socket.
#[tokio::test]
async fn who_reaches_nothing_but_the_relay_takes_part_and_no_port_is_bound_for_it() {
    for transport in ["udp", "tcp"] {
        let media = ["--topology", "sfu", "--media-ip", "127.0.0.1"];
        let server = serve(&[&media[..], &["--turn-user", "u:p"]].concat());
        let relay = IceServer {
            urls: vec![format!("turn:{}?transport={transport}", server.stun)],
            username: Some("u".to_owned()),
            credential: Some("p".to_owned()),
        };
        let relayed = PeerConnection::new(Configuration {
            ice_servers: vec![relay],
            ice_transport_policy: IceTransportPolicy::Relay,
            loopback_candidates: true,
            ..Configuration::default()
        });
        let ada = join_by(relayed.unwrap(), &server, "/join/den?name=Ada").await;
        ada.hears("authenticated").await;
        let bob = join(&server, "/join/den?name=Bob").await;
        ada.hears("joined").await;
        bob.hears("authenticated").await;
        let said = |count: usize| {
            let text = format!("{count} {}", "x".repeat(50_000));
            json!({"event": "chat", "to": "all", "data": {"type": "chat", "text": text}})
        };
        for count in 0..10 {
            for (from, to) in [(&ada, &bob), (&bob, &ada)] {
                from.says(&said(count));
                let heard = to.hears("chat").await;
                assert_eq!(heard["data"]["text"], said(count)["data"]["text"]);
            }
        }
        let handed = |to: &str| {
            let name = format!("twocan_turn_handed_over_total{{to=\"{to}\"}}");
            counted(&server, &name)
        };
        let began = std::time::Instant::now();
        // Half a million bytes each way, of 1,500 a packet at most.
        while handed("media") < 350 || handed("clients") < 350 {
            assert!(began.elapsed() < WITHIN, "not handed over: {transport}");
        }
        assert!(counted(&server, "twocan_turn_allocations") > 0);
        assert_eq!(counted(&server, "twocan_turn_relay_sockets"), 0);
        let sdp = ada.connection.local_description().unwrap().sdp;
        let relayed = sdp.lines().filter(|line| line.contains(" typ relay"));
        let relayed: Vec<SocketAddr> = relayed
            .map(|line| {
                let words: Vec<&str> = line.split(' ').collect();
                format!("{}:{}", words[4], words[5]).parse().unwrap()
            })
            .collect();
        assert!(!relayed.is_empty(), "{sdp}");
        for address in relayed {
            UdpSocket::bind(address).expect("nobody has bound it");
        }
        ada.connection.close();
        ada.connection.closed().await;
        bob.hears("left").await;
    }
}

#[tokio::test]
async fn who_moderates_over_a_channel_lets_in_and_removes() {
    let server = serve(&[
        "--topology",
        "sfu",
        "--lobby",
        "--admin-secret",
        "north-star-north-star",
    ]);
    let bob = join(&server, "/join/den?name=Bob").await;
    bob.hears("waiting").await;
    let admin = "Authorization: Bearer north-star-north-star\r\n";
    let participants = server.ask("GET", "/api/v1/rooms/den/participants", admin, "");
    let participants: Value = serde_json::from_str(&participants.body).unwrap();
    let own = participants["participants"][0].clone();
    assert_eq!(
        (&own["state"], &own["protocol"]),
        (&"waiting".into(), &"twocan.v1".into())
    );
    let path = format!(
        "/api/v1/rooms/den/participants/{}",
        own["id"].as_str().unwrap()
    );
    let admitted = server.ask("POST", &format!("{path}/admit"), admin, "");
    assert_eq!(admitted.status, 204, "{}", admitted.body);
    assert_eq!(
        bob.hears("authenticated").await["data"]["peer_id"],
        own["id"]
    );
    let removed = server.ask("DELETE", &path, admin, "");
    assert_eq!(removed.status, 204, "{}", removed.body);
    // The last word arrives before the connection ends.
    assert_eq!(bob.hears("kicked").await["data"]["reason"], "removed");
    bob.is_let_go().await;
}

#[tokio::test]
async fn a_server_that_ends_says_so() {
    let server = serve(&["--topology", "sfu"]);
    let ada = join(&server, "/join/den?name=Ada").await;
    ada.hears("authenticated").await;
    let pid = server.child.id().to_string();
    let sent = Command::new("kill").args(["-TERM", &pid]).status().unwrap();
    assert!(sent.success());
    assert_eq!(ada.hears("draining").await["data"]["reason"], "shutdown");
    ada.is_let_go().await;
}

#[tokio::test]
async fn what_cannot_be_joined_is_refused() {
    let server = serve(&["--topology", "sfu"]);
    let only_channel = connection();
    let _channel = channel(&only_channel);
    let sdp = offer(&only_channel).await;
    let refused = |path: &str, body: &str| server.post(path, body).status;
    let without = sdp.lines().map(|line| match line.split_once(' ') {
        Some(("m=application", rest)) => {
            format!("m=application 0 {}\r\n", rest.split_once(' ').unwrap().1)
        }
        _ => format!("{line}\r\n"),
    });
    let without: String = without.collect();
    let answer = server.post("/join/den", &without);
    assert_eq!(answer.status, 422);
    assert!(answer.body.contains("m=application"), "{}", answer.body);
    assert_eq!(refused("/join/den", "nonsense"), 400);
    assert_eq!(refused("/join/den?metadata=%7B", &sdp), 400);
    assert_eq!(
        refused("/join/den", &(sdp.clone() + &"a=x\r\n".repeat(60_000))),
        413
    );
    assert_eq!(refused(&format!("/join/{}", "x".repeat(129)), &sdp), 400);
    let kind = server.ask("POST", "/join/den", "Content-Type: text/plain\r\n", &sdp);
    assert_eq!(
        (kind.status, kind.header("Accept-Post")),
        (415, Some("application/sdp"))
    );
    let method = server.ask("GET", "/join/den", "", "");
    assert_eq!(
        (method.status, method.header("Allow")),
        (405, Some("POST, OPTIONS"))
    );

    let mesh = serve(&["--topology", "mesh"]);
    let answer = mesh.post("/join/den", &sdp);
    assert_eq!(answer.status, 409);
    assert!(answer.body.contains("from each to each"), "{}", answer.body);
    let closed = serve(&["--topology", "sfu", "--secret", "north-star"]);
    assert_eq!(closed.post("/join/den", &sdp).status, 401);
    assert_eq!(
        closed.post("/join/den?access_token=wrong", &sdp).status,
        401
    );
    assert_eq!(
        closed
            .post("/join/den?access_token=north-star", &sdp)
            .status,
        201
    );
}
