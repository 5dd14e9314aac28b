//! `twocan load URL`: many clients at once, of our own stack, against a server; what they saw is
//! told at the end.
//!
//! Each room has publishers and viewers. A publisher sends pictures, sound or both of made-up bytes, a
//! viewer takes all that is published there: one publisher and many viewers are a broadcast, as many
//! publishers as viewers a meeting. Every packet carries the time at which it left, so that a viewer
//! on the same clock knows how long it took to arrive on this machine.

mod client;
mod http;
mod janus;
mod progress;
mod publisher;
mod report;
mod viewer;
mod whip;

use std::cell::RefCell;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use thiserror::Error;
use tokio::task::{JoinSet, LocalSet};
use twocan_io::clock;
use twocan_io::interfaces::{self, Filter};
use twocan_proto::dtls::{self, Certificate};
use twocan_proto::negotiate::Kind;
use twocan_proto::peer::DATAGRAM_LEN_MAX;

use crate::process;

use client::Kit;
use progress::Progress;
use report::{Phase, Tally};

/// Connections begun at the same time: a server under test is not to be busy with handshakes alone.
const BEGUN_AT_ONCE: usize = 16;

/// A connection that is not there by then does not come.
const CONNECTED_WITHIN: Duration = Duration::from_secs(60);

/// Clients that have not gone by then are cut off.
const GOODBYE_WITHIN: Duration = Duration::from_secs(3);

/// Which server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Server {
    /// One that speaks WHIP and WHEP, at `/whip/{room}` and `/whep/{room}`.
    Whip,
    /// Janus, by the HTTP interface of its videoroom.
    Janus,
}

/// What is published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Media {
    /// Pictures.
    Video,
    /// Sound, as of somebody who speaks: 50 packets a second, 32 kbit/s.
    Audio,
    /// Pictures and sound.
    Both,
}

impl Media {
    const fn kinds(self) -> &'static [Kind] {
        match self {
            Self::Video => &[Kind::Video],
            Self::Audio => &[Kind::Audio],
            Self::Both => &[Kind::Audio, Kind::Video],
        }
    }
}

/// Settings.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The server's address, http://HOST:PORT
    #[arg(value_name = "URL", default_value = "http://127.0.0.1:8080")]
    url: String,
    /// What kind of server it is
    #[arg(long, value_enum, default_value = "whip")]
    server: Server,
    /// Bearer token, where the server wants one
    #[arg(long, value_name = "TOKEN")]
    token: Option<String>,
    /// Name of the first room; further ones have a number after it
    #[arg(long, value_name = "NAME", default_value = "load")]
    room: String,
    /// Rooms
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rooms: u32,
    /// Publishers in each room
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=50))]
    publishers: u32,
    /// Viewers in each room, each of whom takes all that is published there
    #[arg(long, value_name = "COUNT", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=5_000))]
    viewers: u32,
    /// What a publisher sends
    #[arg(long, value_enum, default_value = "video")]
    media: Media,
    /// Rate of a publisher's picture, in kbit/s
    #[arg(long, value_name = "KBITS", default_value_t = 2_500, value_parser = clap::value_parser!(u32).range(50..=100_000))]
    bitrate: u32,
    /// Pictures a second
    #[arg(long, value_name = "COUNT", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=120))]
    framerate: u32,
    /// How long is measured, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=86_400))]
    seconds: u32,
    /// How long media flows before that, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u32).range(0..=3_600))]
    warm_up: u32,
    /// Local address of the clients' media [default: the one that the server is reached from]
    #[arg(long, value_name = "IP")]
    ip: Option<IpAddr>,
    /// CPU time and memory of this process, the server on the same machine, are told as well
    #[arg(long, value_name = "PID")]
    pid: Option<u32>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Why there is no result.
#[derive(Debug, Error)]
pub(crate) enum RunError {
    #[error("the runtime cannot start")]
    Runtime(#[source] std::io::Error),
    #[error("{0} is not a URL of the form http://HOST:PORT")]
    Url(String),
    #[error("{0} cannot be reached")]
    Unreachable(String, #[source] std::io::Error),
    #[error("no certificate")]
    Certificate(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("a client did not connect")]
    Client(#[from] ClientError),
    #[error("process {0} cannot be looked at")]
    Process(u32, #[source] std::io::Error),
    #[error("no packet reached a viewer")]
    Nothing,
}

/// Why a client has no connection.
#[derive(Debug, Error)]
pub(crate) enum ClientError {
    #[error("HTTP")]
    Http(#[from] http::HttpError),
    #[error("{0}")]
    Description(#[from] twocan::NegotiateError),
    #[error("no socket")]
    Socket(#[source] std::io::Error),
    #[error("the connection failed: {0}")]
    Failed(String),
    #[error("not connected within {} s", CONNECTED_WITHIN.as_secs())]
    Late,
    #[error("the server answered what was not to be expected: {0}")]
    Answer(String),
}

/// What all clients share.
struct Shared {
    arguments: Arguments,
    host: http::Host,
    kit: Kit,
    tally: RefCell<Tally>,
    /// The origin of the times in packets.
    origin: Instant,
}

impl Shared {
    fn room(&self, index: u32) -> String {
        match index {
            0 => self.arguments.room.clone(),
            _ => format!("{}-{index}", self.arguments.room),
        }
    }
}

/// Connects all, measures, and prints.
pub(crate) fn run(arguments: Arguments) -> Result<(), RunError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(RunError::Runtime)?;
    LocalSet::new().block_on(&runtime, load(arguments))
}

async fn load(arguments: Arguments) -> Result<(), RunError> {
    let host = http::Host::parse(&arguments.url, arguments.token.clone())
        .ok_or_else(|| RunError::Url(arguments.url.clone()))?;
    let unreachable = |error| RunError::Unreachable(arguments.url.clone(), error);
    let address = host.resolve().await.map_err(unreachable)?;
    let local = match arguments.ip {
        Some(ip) => ip,
        None => local_towards(address).map_err(unreachable)?,
    };
    let certificate = Certificate::generate(clock::now().wallclock)
        .map_err(|error| RunError::Certificate(error.into()))?;
    let dtls = dtls::Settings::new(DATAGRAM_LEN_MAX)
        .map_err(|error| RunError::Certificate(error.into()))?;
    let shared = Rc::new(Shared {
        host,
        kit: Kit {
            certificate: Arc::new(certificate),
            dtls,
            local,
        },
        tally: RefCell::new(Tally::default()),
        origin: Instant::now(),
        arguments,
    });
    let mut clients = JoinSet::new();
    let rooms: Vec<String> = (0..shared.arguments.rooms)
        .map(|index| shared.room(index))
        .collect();
    for room in &rooms {
        for _ in 0..shared.arguments.publishers {
            let client = connect_publisher(&shared, room).await?;
            clients.spawn_local(publisher::run(shared.clone(), client));
        }
    }
    let mut coming = JoinSet::new();
    let mut progress = Progress::new("viewers", shared.arguments.rooms * shared.arguments.viewers);
    for room in &rooms {
        for _ in 0..shared.arguments.viewers {
            progress.step();
            if coming.len() >= BEGUN_AT_ONCE {
                take_viewer(&shared, &mut coming, &mut clients).await?;
            }
            let (shared, room) = (shared.clone(), room.clone());
            coming.spawn_local(async move { connect_viewer(&shared, &room).await });
        }
    }
    while !coming.is_empty() {
        take_viewer(&shared, &mut coming, &mut clients).await?;
    }
    drop(progress);
    measure(&shared).await?;
    // They say goodbye: each looks at its clock once a second at least.
    let all = async { while clients.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(GOODBYE_WITHIN, all).await;
    let report = shared.tally.borrow().report(&shared.arguments);
    print(&match shared.arguments.json {
        true => report.as_json().to_string(),
        false => report.as_text(),
    });
    match report.packets {
        0 => Err(RunError::Nothing),
        _ => Ok(()),
    }
}

async fn connect_publisher(
    shared: &Rc<Shared>,
    room: &str,
) -> Result<publisher::Connected, ClientError> {
    let connecting = async {
        match shared.arguments.server {
            Server::Whip => whip::publish(shared, room).await,
            Server::Janus => janus::publish(shared, room).await,
        }
    };
    let late = tokio::time::timeout(CONNECTED_WITHIN, connecting).await;
    late.unwrap_or(Err(ClientError::Late))
}

async fn connect_viewer(shared: &Rc<Shared>, room: &str) -> Result<client::Client, ClientError> {
    let connecting = async {
        match shared.arguments.server {
            Server::Whip => whip::view(shared, room).await,
            Server::Janus => janus::view(shared, room).await,
        }
    };
    let late = tokio::time::timeout(CONNECTED_WITHIN, connecting).await;
    late.unwrap_or(Err(ClientError::Late))
}

/// Takes one viewer that is connected, and lets it watch.
async fn take_viewer(
    shared: &Rc<Shared>,
    coming: &mut JoinSet<Result<client::Client, ClientError>>,
    clients: &mut JoinSet<()>,
) -> Result<(), ClientError> {
    let Some(connected) = coming.join_next().await else {
        return Ok(());
    };
    let client = connected.unwrap_or(Err(ClientError::Late))?;
    clients.spawn_local(viewer::run(shared.clone(), client));
    Ok(())
}

async fn measure(shared: &Rc<Shared>) -> Result<(), RunError> {
    let pause = async |what: &'static str, seconds: u32| {
        let mut progress = Progress::new(what, seconds);
        for _ in 0..seconds {
            tokio::time::sleep(Duration::from_secs(1)).await;
            progress.step();
        }
    };
    let used = |pid: Option<u32>| {
        let used = pid.map(|pid| process::used(pid).map_err(|error| RunError::Process(pid, error)));
        used.transpose()
    };
    pause("warm-up", shared.arguments.warm_up).await;
    let before = used(shared.arguments.pid)?;
    let own = used(Some(std::process::id()))?;
    let started = Instant::now();
    shared.tally.borrow_mut().phase = Phase::Measured;
    pause("measured", shared.arguments.seconds).await;
    let mut tally = shared.tally.borrow_mut();
    tally.phase = Phase::Over;
    tally.took = started.elapsed();
    tally.server = before.zip(used(shared.arguments.pid)?);
    tally.own = own.zip(used(Some(std::process::id()))?);
    Ok(())
}

/// The local address from which another is reached. A server on this machine forwards media at an address
/// that others reach as well, where there is one.
fn local_towards(address: SocketAddr) -> std::io::Result<IpAddr> {
    let local = interfaces::towards(address)?;
    if !local.is_loopback() {
        return Ok(local);
    }
    let all = interfaces::list(&Filter::default())?;
    let mut outer = all.into_iter().filter(|ip| !ip.is_loopback());
    Ok(outer
        .find(|ip| ip.is_ipv4() == local.is_ipv4())
        .unwrap_or(local))
}

#[expect(clippy::print_stdout, reason = "the output of a command-line program")]
fn print(text: &str) {
    println!("{text}");
}
