//! `twocan join` against `twocan serve`, as processes.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use twocan::files::FrameReader;
use twocan::rooms::{JoinOptions, KeptMessage, Room, RoomEvent};

/// For anything that is waited for; two busy cores are slow.
const WITHIN: Duration = Duration::from_secs(60);

#[test]
fn what_one_program_plays_the_other_records() {
    let (_server, address) = serve();
    let folder = Scratch::new("record");
    let room = format!("http://{address}/clip");
    let mut recorder = Program::join(&room, &["--save", folder.path()]);
    recorder.says("joined as");
    let mut player = Program::join(&room, &["--send", &clip("clip.ivf"), &clip("clip.ogg")]);
    player.says("clip.ogg (101 frames)");
    player.ends_well();
    recorder.says(".ivf (40 frames)");
    recorder.interrupt();
    recorder.ends_well();
    let mut recorded = 0;
    for entry in std::fs::read_dir(&folder.0).unwrap() {
        let path = entry.unwrap().path();
        let original = match path.extension().and_then(|end| end.to_str()) {
            Some("ivf") => clip("clip.ivf"),
            Some("ogg") => clip("clip.ogg"),
            other => panic!("unexpected file {other:?}"),
        };
        assert_eq!(frames(&path), frames(Path::new(&original)), "{path:?}");
        recorded += 1;
    }
    assert_eq!(recorded, 2);
}

#[test]
fn what_is_played_to_the_echo_comes_back() {
    let (_server, address) = serve();
    let room = format!("http://{address}/echo");
    let mut echo = Program::join(&room, &["--echo"]);
    echo.says("joined as");
    let mut player = Program::join(&room, &["--send", &clip("clip.h264"), "--fps", "20"]);
    echo.says("echoing H264");
    // The echo sends on the same line, which is news to the player.
    player.says("sends video");
    player.ends_well();
    echo.interrupt();
    echo.ends_well();
}

#[test]
fn a_lost_websocket_is_resumed_and_nobody_leaves() {
    let (_server, address) = serve();
    let proxy = Proxy::start(address);
    let mut first = Program::join(&format!("http://{address}/cut"), &["--echo"]);
    first.says("joined as");
    let mut second = Program::join(&format!("http://{}/cut", proxy.address), &["--echo"]);
    first.says(": connected");
    second.says(": connected");
    proxy.cut();
    second.says("connection to the server lost");
    second.says("connection to the server resumed");
    second.interrupt();
    second.ends_well();
    first.says(": left");
    let after = &first.said;
    let joined = after.iter().filter(|line| line.ends_with(": joined"));
    assert_eq!(joined.count(), 1, "{after:?}");
    first.interrupt();
    first.ends_well();
}

/// The next of a room's events in which there is what is looked for.
async fn next<T>(room: &mut Room, look: impl Fn(RoomEvent) -> Option<T>) -> T {
    let found = async {
        loop {
            let event = room.next_event().await.expect("the room goes on");
            if let Some(found) = look(event) {
                return found;
            }
        }
    };
    tokio::time::timeout(WITHIN, found).await.expect("in time")
}

fn kept(event: RoomEvent) -> Option<Vec<(String, String)>> {
    let RoomEvent::ChatHistory(messages) = event else {
        return None;
    };
    let read = |own: KeptMessage| (own.name, own.message.text);
    Some(messages.into_iter().map(read).collect())
}

#[tokio::test]
async fn what_was_said_before_is_told_to_who_comes_later() {
    let (_server, address) = serve_with(&["--chat-history", "2"]);
    let key = format!("#key={}", "A".repeat(43));
    for link in ["", &key] {
        let url = format!("http://{address}/chat{}{link}", link.len());
        let join = async |name: &str| {
            let options = JoinOptions {
                name: name.to_owned(),
                ..JoinOptions::default()
            };
            Room::join(&url, options).await.unwrap()
        };
        let (mut ada, mut cyd) = (join("Ada").await, join("Cyd").await);
        for text in ["one", "two", "three"] {
            ada.say(text).await;
        }
        // Then the server has it.
        let is_third = |event| match event {
            RoomEvent::Chat { message, .. } => (message.text == "three").then_some(()),
            _ => None,
        };
        next(&mut cyd, is_third).await;
        let mut bob = join("Bob").await;
        let told = next(&mut bob, kept).await;
        let expected = [("Ada", "two"), ("Ada", "three")];
        assert_eq!(
            told,
            expected.map(|(name, text)| (name.to_owned(), text.to_owned()))
        );
        bob.say("hello").await;
        let heard = next(&mut ada, |event| match event {
            RoomEvent::Chat { from, message } => Some((from, message.text)),
            _ => None,
        });
        assert_eq!(heard.await, (bob.id().to_owned(), "hello".to_owned()));
        bob.leave().await;
        let mut eve = join("Eve").await;
        let told = next(&mut eve, kept).await;
        assert_eq!(told[1], ("Bob".to_owned(), "hello".to_owned()));
    }
}

#[test]
fn what_cannot_be_done_is_said_in_one_line() {
    let (_server, address) = serve();
    let room = format!("http://{address}/a");
    for (arguments, words) in [
        (vec!["http://127.0.0.1:1/a", "--echo"], "cannot be reached"),
        (vec!["localhost/a", "--echo"], "http://"),
        (
            vec![&room, "--send", "/nowhere/clip.ivf"],
            "/nowhere/clip.ivf",
        ),
        (vec![&room], "--echo"),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_twocan"))
            .arg("join")
            .args(&arguments)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success());
        assert!(said.contains(words), "{arguments:?}: {said}");
    }
}

fn clip(name: &str) -> String {
    format!("{}/assets/{name}", env!("CARGO_MANIFEST_DIR"))
}

fn frames(path: &Path) -> Vec<(u64, Vec<u8>)> {
    let mut reader = FrameReader::open(path, 20).unwrap();
    std::iter::from_fn(|| reader.next_frame().unwrap())
        .map(|frame| (frame.timestamp, frame.data))
        .collect()
}

fn serve() -> (Program, SocketAddr) {
    serve_with(&[])
}

fn serve_with(arguments: &[&str]) -> (Program, SocketAddr) {
    let own = ["serve", "--http", "127.0.0.1:0", "--stun", "127.0.0.1:0"];
    let mut server = Program::start(&[&own, arguments].concat());
    let line = server.says("listening");
    // Colours stand between the words.
    let at = line.find("127.0.0.1:").expect("an address");
    let address: String = line[at..]
        .chars()
        .take_while(|c| c.is_ascii_digit() || ".:".contains(*c))
        .collect();
    (server, address.parse().unwrap())
}

/// A running program. It is killed when the test lets go of it.
struct Program {
    child: Child,
    lines: Receiver<String>,
    said: Vec<String>,
}

impl Program {
    fn join(room: &str, arguments: &[&str]) -> Self {
        Self::start(&[&["join", room], arguments].concat())
    }

    fn start(arguments: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_twocan"))
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (tell, lines) = channel();
        let streams: [Box<dyn Read + Send>; 2] = [
            Box::new(child.stdout.take().unwrap()),
            Box::new(child.stderr.take().unwrap()),
        ];
        for stream in streams {
            let tell = tell.clone();
            std::thread::spawn(move || {
                for line in BufReader::new(stream).lines().map_while(Result::ok) {
                    let _ = tell.send(line);
                }
            });
        }
        Self {
            child,
            lines,
            said: Vec::new(),
        }
    }

    /// Waits for a line with these words, among those not waited for yet.
    fn says(&mut self, words: &str) -> String {
        let deadline = Instant::now() + WITHIN;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(line) = self.lines.recv_timeout(left) else {
                panic!("no line with {words:?} in {:#?}", self.said);
            };
            self.said.push(line.clone());
            if line.contains(words) {
                return line;
            }
        }
    }

    fn interrupt(&self) {
        let id = self.child.id().to_string();
        let status = Command::new("kill").args(["-INT", &id]).status().unwrap();
        assert!(status.success());
    }

    fn ends_well(&mut self) {
        // Its output ends with it.
        while let Ok(line) = self.lines.recv_timeout(WITHIN) {
            self.said.push(line);
        }
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{status}: {:#?}", self.said);
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A folder that is gone after the test.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("twocan-{name}-{}", std::process::id()));
        Self(folder)
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Passes TCP on, until it is cut.
struct Proxy {
    address: SocketAddr,
    streams: Arc<Mutex<Vec<TcpStream>>>,
}

impl Proxy {
    fn start(to: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let streams = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&streams);
        std::thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                let Ok(far) = TcpStream::connect(to) else {
                    return;
                };
                for (from, to) in [(&near, &far), (&far, &near)] {
                    let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                    std::thread::spawn(move || {
                        let mut buffer = [0; 4096];
                        while let Ok(len @ 1..) = from.read(&mut buffer) {
                            if to.write_all(&buffer[..len]).is_err() {
                                break;
                            }
                        }
                        let _ = to.shutdown(Shutdown::Both);
                    });
                }
                kept.lock().unwrap().extend([near, far]);
            }
        });
        Self { address, streams }
    }

    fn cut(&self) {
        for stream in self.streams.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}
