//! `twocan join`: a participant of a room that echoes, records or plays.

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::pin::Pin;

use clap::Args;
use twocan::Configuration;
use twocan::rooms::{
    Activity, CloseReason, Echo, JoinError, JoinOptions, PlayError, PlayOptions, Player, Recorder,
    Room, RoomEvent,
};

use crate::event_log::{CannotLog, EventLog};
use crate::ice::IceArguments;

/// Codecs for pictures whose frames can be written to a file.
const RECORDED: [&str; 2] = ["VP8", "H264"];

/// Joins a room and echoes, records or plays.
#[derive(Debug, Args)]
pub(crate) struct Settings {
    /// Address of the room, as a person opens it: http://localhost:8080/my-room
    url: String,
    /// Name that others see
    #[arg(long)]
    name: Option<String>,
    /// Secret of a server that has one
    #[arg(long, env = "TWOCAN_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// Accept a self-signed certificate from a server on this machine
    #[arg(long)]
    accept_self_signed: bool,
    /// Write what every connection decides into this file, for `twocan plot`
    #[arg(long, value_name = "FILE")]
    event_log: Option<PathBuf>,
    #[command(flatten)]
    ice: IceArguments,
    #[command(flatten)]
    task: Task,
    /// With --send: begin anew at the end of a file
    #[arg(long = "loop", requires = "send")]
    repeats: bool,
    /// With --send: pace of H.264 byte streams, which have no times of their own
    #[arg(long, default_value_t = 30, requires = "send", value_parser = clap::value_parser!(u32).range(1..=240))]
    fps: u32,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Task {
    /// Send back every message, and everyone's sound and picture
    #[arg(long)]
    echo: bool,
    /// Record everyone into this folder: Opus to .ogg, VP8 to .ivf, H.264 to .h264
    #[arg(long, value_name = "DIR")]
    save: Option<PathBuf>,
    /// Play these files to everyone: one of sound (.ogg), one of pictures (.ivf, .h264)
    #[arg(long, value_name = "FILE", num_args = 1..)]
    send: Option<Vec<PathBuf>>,
}

/// Why it ended badly.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failed {
    #[error(transparent)]
    Join(#[from] JoinError),
    #[error(transparent)]
    Play(#[from] PlayError),
    #[error("the folder for the recordings")]
    Folder(#[source] std::io::Error),
    #[error(transparent)]
    Log(#[from] CannotLog),
    #[error("the runtime does not start")]
    Runtime(#[source] std::io::Error),
    #[error("the room is over: {0}")]
    Over(CloseReason),
}

pub(crate) fn run(settings: Settings) -> Result<(), Failed> {
    tracing_subscriber::fmt()
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_default_env()
                .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn")),
        )
        .init();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(Failed::Runtime)?;
    runtime.block_on(Box::pin(join(settings)))
}

async fn join(settings: Settings) -> Result<(), Failed> {
    let log = settings.event_log.as_deref().map(EventLog::create);
    let log = log.transpose()?;
    let mut configuration = Configuration {
        event_log: log.is_some(),
        ..Configuration::default()
    };
    settings.ice.apply(&mut configuration);
    let options = |name: &str, publish: &[twocan::rooms::Source]| JoinOptions {
        configuration: configuration.clone(),
        name: settings.name.clone().unwrap_or_else(|| name.to_owned()),
        token: settings.token.clone(),
        publish: publish.to_vec(),
        accept_self_signed: settings.accept_self_signed,
        ..JoinOptions::default()
    };
    let mut watch = Watch::new(log);
    if let Some(files) = settings.task.send {
        let play = PlayOptions {
            files,
            repeats: settings.repeats,
            frames_per_second: settings.fps,
        };
        let sources = play.sources()?;
        let room = enter(&settings.url, options("Player", &sources)).await?;
        let mut player = Player::new(room, play);
        while let Some(activity) = watch.or_stop(player.next_activity()).await {
            watch.see(&activity);
        }
        player.leave().await;
    } else if let Some(folder) = settings.task.save {
        let mut options = options("Recorder", &[]);
        options.configuration.video_codecs = RECORDED.map(str::to_owned).to_vec();
        let room = enter(&settings.url, options).await?;
        let mut recorder = Recorder::new(room, folder).await.map_err(Failed::Folder)?;
        while let Some(activity) = watch.or_stop(recorder.next_activity()).await {
            watch.see(&activity);
        }
        for activity in recorder.leave().await {
            watch.see(&activity);
        }
    } else {
        let room = enter(&settings.url, options("Echo", &Echo::PUBLISH)).await?;
        let mut echo = Echo::new(room);
        while let Some(activity) = watch.or_stop(echo.next_activity()).await {
            watch.see(&activity);
        }
        echo.leave().await;
    }
    match watch.closed {
        Some(reason) => Err(Failed::Over(reason)),
        None => {
            say("left");
            Ok(())
        }
    }
}

async fn enter(url: &str, options: JoinOptions) -> Result<Room, JoinError> {
    let room = Room::join(url, options).await?;
    say(&format!("joined as {}", room.id()));
    Ok(room)
}

/// Sees what happens until someone wants the program to end.
struct Watch {
    closed: Option<CloseReason>,
    log: Option<EventLog>,
    /// One for the whole run: a signal between two listeners would be lost.
    stop: Pin<Box<dyn Future<Output = ()>>>,
}

impl Watch {
    fn new(log: Option<EventLog>) -> Self {
        Self {
            closed: None,
            log,
            stop: Box::pin(stop()),
        }
    }

    async fn or_stop<T>(&mut self, next: impl Future<Output = Option<T>>) -> Option<T> {
        tokio::select! {
            next = next => next,
            () = &mut self.stop => None,
        }
    }

    fn see(&mut self, activity: &Activity) {
        say(&activity.to_string());
        match (activity, &self.log) {
            (Activity::Room(RoomEvent::Closed(reason)), _) => self.closed = Some(reason.clone()),
            (Activity::Room(RoomEvent::PeerJoined(peer)), Some(log)) => {
                let name = Some(peer.id().to_owned());
                log.follow(peer.connection().clone(), name);
            }
            _ => {}
        }
    }
}

/// Ctrl-C, or the system's wish.
async fn stop() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminate.recv() => {}
            }
            return;
        }
    }
    let _ = tokio::signal::ctrl_c().await;
}

#[expect(clippy::print_stdout, reason = "what the program is asked to tell")]
fn say(line: &str) {
    println!("{line}");
}
