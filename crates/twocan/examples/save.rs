//! Records everyone in a room: Opus to Ogg, VP8 to IVF, H.264 to a byte stream.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use twocan::rooms::{JoinOptions, Recorder, Room};

/// Records everyone in a room: Opus to Ogg, VP8 to IVF, H.264 to a byte stream.
#[derive(Debug, Parser)]
struct Arguments {
    /// Address of the room, as a person opens it: http://localhost:8080/my-room
    url: String,
    /// Folder for the files; made where it is missing
    folder: PathBuf,
    /// Name that others see
    #[arg(long, default_value = "Recorder")]
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
            eprintln!("save: {error}");
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::print_stdout, reason = "a program for the terminal")]
async fn run(arguments: Arguments) -> Result<(), Box<dyn std::error::Error>> {
    let options = JoinOptions {
        name: arguments.name,
        token: arguments.token,
        accept_self_signed: arguments.accept_self_signed,
        ..JoinOptions::default()
    };
    let room = Room::join(&arguments.url, options).await?;
    let mut recorder = Recorder::new(room, arguments.folder).await?;
    let mut stop = Box::pin(tokio::signal::ctrl_c());
    loop {
        tokio::select! {
            activity = recorder.next_activity() => match activity {
                Some(activity) => println!("{activity}"),
                None => break,
            },
            _ = &mut stop => break,
        }
    }
    for activity in recorder.leave().await {
        println!("{activity}");
    }
    Ok(())
}
