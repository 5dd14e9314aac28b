//! Plays files to everyone in a room, in real time.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use twocan::rooms::{JoinOptions, PlayOptions, Player, Room};

/// Plays files to everyone in a room, in real time.
#[derive(Debug, Parser)]
struct Arguments {
    /// Address of the room, as a person opens it: http://localhost:8080/my-room
    url: String,
    /// One file of sound (.ogg with Opus), one of pictures (.ivf with VP8, .h264)
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Begin anew at the end of a file
    #[arg(long = "loop")]
    repeats: bool,
    /// Pace of H.264 byte streams, which have no times of their own
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=240))]
    fps: u32,
    /// Name that others see
    #[arg(long, default_value = "Player")]
    name: String,
    /// Secret of a server that has one
    #[arg(long)]
    token: Option<String>,
    /// Accept a self-signed certificate from a server on this machine
    #[arg(long)]
    accept_self_signed: bool,
}

#[tokio::main]
#[expect(clippy::print_stderr, reason = "a program for the terminal")]
async fn main() -> ExitCode {
    match run(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("send: {error}");
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::print_stdout, reason = "a program for the terminal")]
async fn run(arguments: Arguments) -> Result<(), Box<dyn std::error::Error>> {
    let play = PlayOptions {
        files: arguments.files,
        repeats: arguments.repeats,
        frames_per_second: arguments.fps,
    };
    let options = JoinOptions {
        name: arguments.name,
        token: arguments.token,
        publish: play.sources()?,
        accept_self_signed: arguments.accept_self_signed,
        ..JoinOptions::default()
    };
    let mut player = Player::new(Room::join(&arguments.url, options).await?, play);
    let mut stop = Box::pin(tokio::signal::ctrl_c());
    loop {
        tokio::select! {
            activity = player.next_activity() => match activity {
                Some(activity) => println!("{activity}"),
                None => break,
            },
            _ = &mut stop => break,
        }
    }
    player.leave().await;
    Ok(())
}
