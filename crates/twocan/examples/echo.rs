//! Joins a room and sends everything back: messages, sound, pictures.

use std::process::ExitCode;

use clap::Parser;
use twocan::rooms::{Echo, JoinOptions, Room};

/// Joins a room and sends everything back: messages, sound, pictures.
#[derive(Debug, Parser)]
struct Arguments {
    /// Address of the room, as a person opens it: http://localhost:8080/my-room
    url: String,
    /// Name that others see
    #[arg(long, default_value = "Echo")]
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
            eprintln!("echo: {error}");
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::print_stdout, reason = "a program for the terminal")]
async fn run(arguments: Arguments) -> Result<(), Box<dyn std::error::Error>> {
    let options = JoinOptions {
        name: arguments.name,
        token: arguments.token,
        publish: Echo::PUBLISH.to_vec(),
        accept_self_signed: arguments.accept_self_signed,
        ..JoinOptions::default()
    };
    let mut echo = Echo::new(Room::join(&arguments.url, options).await?);
    let mut stop = Box::pin(tokio::signal::ctrl_c());
    loop {
        tokio::select! {
            activity = echo.next_activity() => match activity {
                Some(activity) => println!("{activity}"),
                None => break,
            },
            _ = &mut stop => break,
        }
    }
    echo.leave().await;
    Ok(())
}
