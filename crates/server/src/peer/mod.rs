//! `twocan peer`: the stack as one process, for interop tests and measuring.
//!
//! 1. The description goes out as one JSON line `{"type","sdp"}` with all candidates inside; the
//!    other side's comes in the same way.
//! 2. The offerer opens a data channel and sends messages, of which it expects each back, or sends
//!    in bulk; the answerer echoes, or counts. With media both send a clip and count frames.
//! 3. At the end a line `RESULT {json}`. The peer then goes on until its input ends, so that the
//!    other side reaches its own end.

mod clip;
mod data;
mod ladder;
mod media;
mod result;
mod window;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::io::{AsyncBufReadExt, BufReader, Lines, Stdin};
use twocan::{
    Configuration, DataChannel, DataChannelInit, Direction, Kind, PeerConnection,
    PeerConnectionEvent, SdpType, SessionDescription, TransceiverInit,
};

use crate::event_log::{CannotLog, EventLog};
use crate::ice::IceArguments;
use result::Outcome;

/// How long the whole exchange may take, unless bulk takes longer.
const TIME_MAX: Duration = Duration::from_secs(25);

/// How long the peer goes on after its result.
const LINGER: Duration = Duration::from_secs(10);

/// How long the event log is waited for.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Which side this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Side {
    /// Makes the offer.
    Offer,
    /// Answers it.
    Answer,
}

/// What `twocan peer` is told.
#[derive(Debug, Clone, Args)]
pub(crate) struct Arguments {
    /// Whether to make the offer or to answer it.
    side: Side,
    /// Also send a built-in clip (Opus, and VP8, VP9, AV1 or H.264) and count frames.
    #[arg(long)]
    media: bool,
    /// With media, how long it is sent and counted at least.
    #[arg(long, value_name = "SECONDS", default_value_t = 0, requires = "media")]
    media_seconds: u64,
    /// With media: only the offerer sends it.
    #[arg(long, requires = "media")]
    one_way: bool,
    /// With media: what came in the time from then on, and until `--media-seconds` are over, is
    /// told as `window`.
    #[arg(long, value_name = "SECONDS", requires = "media_seconds")]
    media_from: Option<u64>,
    /// With media: send the clips of this folder as pictures, at the rate that the path carries:
    /// IVF files of VP8 at 30 pictures a second, which are the same scene at many rates.
    #[arg(long, value_name = "DIR", requires = "media")]
    ladder: Option<PathBuf>,
    /// With media: take a simulcast of the streams `q`, `h` and `f` as answerer, and offer to send
    /// one as offerer.
    #[arg(long, requires = "media")]
    simulcast: bool,
    /// With media: tell the other side to play pictures no sooner than so long after their capture,
    /// and no later than twice that.
    #[arg(long, value_name = "MILLISECONDS", requires = "media")]
    playout_delay: Option<u64>,
    /// Also offer FlexFEC for video.
    #[arg(long)]
    flexfec: bool,
    /// Offer reports of arrivals as RFC 8888 has them
    #[arg(long)]
    ccfb: bool,
    /// Let routers mark media in place of dropping it (ECN): send it as ECT(0) where marks are
    /// reported, and take a mark for a loss
    #[arg(long, conflicts_with = "l4s")]
    ecn: bool,
    /// Take part in L4S: send media as ECT(1) where marks of congestion are reported
    #[arg(long)]
    l4s: bool,
    /// Messages that the offerer sends and expects back, text and binary in turn.
    #[arg(long, default_value_t = 200, value_name = "N")]
    pings: u32,
    /// Instead of pings, send in bulk one way for this long.
    #[arg(long, value_name = "SECONDS")]
    bulk: Option<u64>,
    /// Length of a message in bulk.
    #[arg(long, default_value_t = 65_536, value_name = "BYTES")]
    size: usize,
    /// Also gather loopback candidates.
    #[arg(long)]
    loopback: bool,
    /// Write what the connection decides into this file, for `twocan plot`
    #[arg(long, value_name = "FILE")]
    event_log: Option<PathBuf>,
    #[command(flatten)]
    ice: IceArguments,
}

/// Why there is no result at all.
#[derive(Debug, Error)]
pub(crate) enum PeerError {
    /// The library refused.
    #[error(transparent)]
    Twocan(#[from] twocan::Error),
    /// The clips of `--ladder` are no ladder.
    #[error(transparent)]
    Ladder(#[from] ladder::LadderError),
    /// Standard input or output failed.
    #[error("cannot read or write descriptions")]
    Io(#[from] std::io::Error),
    /// There is no place for the event log.
    #[error(transparent)]
    Log(#[from] CannotLog),
    /// The input ended, or was no description.
    #[error("expected a JSON line with type and sdp on standard input: {0}")]
    NoDescription(String),
    /// The result was not ok; it has been printed.
    #[error("the exchange failed; see RESULT")]
    Failed,
}

/// `{"type","sdp"}`.
#[derive(Serialize, Deserialize)]
struct Line {
    #[serde(rename = "type")]
    kind: String,
    sdp: String,
}

/// Runs the peer to its end.
pub(crate) fn run(arguments: &Arguments) -> Result<(), PeerError> {
    let _ = tracing_subscriber::fmt()
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_env("TWOCAN_LOG")
                .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn")),
        )
        .with_writer(std::io::stderr)
        .try_init();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let outcome = runtime.block_on(exchange(arguments));
    // Reading standard input blocks a thread that nothing can end.
    runtime.shutdown_background();
    match outcome {
        Ok(true) => Ok(()),
        Ok(false) => Err(PeerError::Failed),
        Err(error) => Err(error),
    }
}

async fn exchange(arguments: &Arguments) -> Result<bool, PeerError> {
    let plan = media::Plan::new(arguments)?;
    let mut input = BufReader::new(tokio::io::stdin()).lines();
    let mut configuration = Configuration {
        loopback_candidates: arguments.loopback,
        receive_simulcast: arguments.simulcast,
        offer_flexfec: arguments.flexfec,
        offer_congestion_feedback: arguments.ccfb,
        ecn: arguments.ecn,
        l4s: arguments.l4s,
        event_log: arguments.event_log.is_some(),
        ..Configuration::default()
    };
    arguments.ice.apply(&mut configuration);
    let log = arguments.event_log.as_deref().map(EventLog::create);
    let log = log.transpose()?;
    let peer = PeerConnection::new(configuration)?;
    let log = log.map(|log| log.follow(peer.clone(), None));
    let mut outcome = Outcome::new(peer.clone());
    let channel = match arguments.side {
        Side::Offer => Some(offer(arguments, &peer, &mut input).await?),
        Side::Answer => {
            answer(arguments, &peer, &mut input).await?;
            None
        }
    };
    outcome.described();
    let longer = arguments.bulk.unwrap_or(0) + arguments.media_seconds;
    let limit = TIME_MAX + Duration::from_secs(longer);
    let work = work(arguments, plan, &peer, channel, &mut outcome);
    if tokio::time::timeout(limit, work).await.is_err() {
        outcome.fail("not done in time");
    }
    let ok = outcome.print();
    // The other side may need more of what we send.
    let _ = tokio::time::timeout(LINGER, async {
        while let Ok(Some(_)) = input.next_line().await {}
    })
    .await;
    peer.close();
    if let Some(log) = log {
        // Until the connection has said its last words.
        let _ = tokio::time::timeout(LAST_WORDS, log).await;
    }
    Ok(ok)
}

async fn offer(
    arguments: &Arguments,
    peer: &PeerConnection,
    input: &mut Lines<BufReader<Stdin>>,
) -> Result<DataChannel, PeerError> {
    let channel = peer.create_data_channel("echo", DataChannelInit::default())?;
    if arguments.media {
        let direction = match arguments.one_way {
            true => Direction::SendOnly,
            false => Direction::SendRecv,
        };
        peer.add_transceiver(Kind::Audio, direction, &["clip"])?;
        let send_encodings = match arguments.simulcast {
            true => media::RIDS.map(media::encoding).to_vec(),
            false => Vec::new(),
        };
        let video = TransceiverInit {
            direction,
            streams: vec!["clip".to_owned()],
            send_encodings,
        };
        peer.add_transceiver_with(Kind::Video, &video)?;
    }
    peer.set_local_description(None)?;
    describe(peer).await?;
    let description = read(input).await?;
    peer.set_remote_description(description)?;
    Ok(channel)
}

async fn answer(
    arguments: &Arguments,
    peer: &PeerConnection,
    input: &mut Lines<BufReader<Stdin>>,
) -> Result<(), PeerError> {
    let description = read(input).await?;
    peer.set_remote_description(description)?;
    if arguments.media && !arguments.one_way {
        for transceiver in peer.transceivers() {
            if let Some(kind) = transceiver.kind() {
                peer.add_track(kind, &["clip"])?;
            }
        }
    }
    peer.set_local_description(None)?;
    describe(peer).await
}

/// How long after a failure of the data its cause may be told.
const CAUSE_WAIT: Duration = Duration::from_millis(200);

/// Does this side's part, until it is done or fails.
async fn work(
    arguments: &Arguments,
    plan: Option<media::Plan>,
    peer: &PeerConnection,
    channel: Option<DataChannel>,
    outcome: &mut Outcome,
) {
    let media = plan.map(|plan| plan.start(peer));
    let (announced, mut announcements) = tokio::sync::mpsc::channel(4);
    let (failed, mut failures) = tokio::sync::mpsc::channel(4);
    tokio::spawn(watch(peer.clone(), announced, failed));
    let data = async {
        let channel = match channel {
            Some(channel) => channel,
            None => announcements
                .recv()
                .await
                .ok_or_else(|| "no data channel".to_owned())?,
        };
        match (arguments.side, arguments.bulk) {
            (Side::Offer, None) => data::ping(&channel, arguments.pings, outcome).await?,
            (Side::Offer, Some(seconds)) => {
                data::send_bulk(&channel, seconds, arguments.size, outcome).await?;
            }
            (Side::Answer, None) => data::echo(&channel, arguments.pings, outcome).await?,
            (Side::Answer, Some(seconds)) => data::count(&channel, seconds, outcome).await?,
        }
        if let Some(media) = media {
            media.finish(peer, outcome).await;
        }
        Ok::<(), String>(())
    };
    let done = tokio::select! {
        done = data => done,
        failure = failures.recv() => Err(failure.unwrap_or_else(|| "closed".to_owned())),
    };
    if let Err(reason) = done {
        // A connection that fails closes its channels, and whoever used one hears of that first.
        let cause = tokio::time::timeout(CAUSE_WAIT, failures.recv()).await;
        outcome.fail(&cause.ok().flatten().unwrap_or(reason));
    }
}

/// Passes on channels and failures.
async fn watch(
    peer: PeerConnection,
    announced: tokio::sync::mpsc::Sender<DataChannel>,
    failed: tokio::sync::mpsc::Sender<String>,
) {
    while let Some(event) = peer.next_event().await {
        match event {
            PeerConnectionEvent::DataChannel(channel) => {
                let _ = announced.send(channel).await;
            }
            PeerConnectionEvent::IceCandidateError(error) => {
                tracing::warn!(
                    url = error.url,
                    code = error.error_code,
                    text = error.error_text,
                    "ICE server"
                );
            }
            PeerConnectionEvent::Failed(failure) => {
                let _ = failed.send(failure.to_string()).await;
            }
            _ => {}
        }
    }
}

#[expect(clippy::print_stdout, reason = "descriptions go to standard output")]
async fn describe(peer: &PeerConnection) -> Result<(), PeerError> {
    let description = peer.gathered_description().await;
    let description = description.ok_or(twocan::Error::Closed)?;
    let kind = match description.kind {
        SdpType::Offer => "offer",
        SdpType::Answer => "answer",
        SdpType::Pranswer => "pranswer",
        SdpType::Rollback => "rollback",
    };
    let line = Line {
        kind: kind.to_owned(),
        sdp: description.sdp,
    };
    let text = serde_json::to_string(&line).map_err(std::io::Error::other)?;
    println!("{text}");
    Ok(())
}

async fn read(input: &mut Lines<BufReader<Stdin>>) -> Result<SessionDescription, PeerError> {
    while let Some(line) = input.next_line().await? {
        if line.trim().is_empty() {
            continue;
        }
        let parsed: Line = serde_json::from_str(&line)
            .map_err(|error| PeerError::NoDescription(error.to_string()))?;
        let kind = match parsed.kind.as_str() {
            "offer" => SdpType::Offer,
            "answer" => SdpType::Answer,
            "pranswer" => SdpType::Pranswer,
            other => return Err(PeerError::NoDescription(format!("unknown type {other}"))),
        };
        return Ok(SessionDescription {
            kind,
            sdp: parsed.sdp,
        });
    }
    Err(PeerError::NoDescription("the input ended".to_owned()))
}
