//! The `twocan` binary.
#![forbid(unsafe_code)]

mod administer;
mod event_log;
mod ice;
mod join;
mod load;
mod nat;
mod peer;
mod plot;
mod process;
mod requests;
mod serve;
mod tokens;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Real-time communication: a server with rooms, STUN and a meeting page, and a peer.
#[derive(Debug, Parser)]
#[command(
    name = "twocan",
    version,
    about,
    args_conflicts_with_subcommands = true
)]
struct Command {
    #[command(subcommand)]
    task: Option<Task>,
    /// Settings of the server, which runs when no command is given.
    #[command(flatten)]
    serve: serve::Settings,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Run the server: the meeting page, signaling rooms and STUN (the default).
    Serve(Box<serve::Settings>),
    /// Join a room: echo, record or play.
    Join(Box<join::Settings>),
    /// Run one peer for interop and measuring: descriptions as JSON lines on stdin and stdout.
    Peer(peer::Arguments),
    /// Find out how the address translator between here and a STUN server behaves (RFC 5780).
    Nat(nat::Arguments),
    /// Load a server with many clients, and say what they saw
    Load(load::Arguments),
    /// Make tokens that let people into rooms.
    Token(tokens::Command),
    /// Rooms of a running server, through its administration's API.
    Room(administer::RoomCommand),
    /// Participants of a running server's rooms.
    Participant(administer::ParticipantCommand),
    /// Draw an event log as SVG: rate, loss, delay and buffers over time.
    Plot(plot::Arguments),
}

fn main() -> ExitCode {
    let command = Command::parse();
    let outcome: Result<(), Box<dyn std::error::Error>> = match command.task {
        None => serve::run(&command.serve).map_err(Into::into),
        Some(Task::Serve(settings)) => serve::run(&settings).map_err(Into::into),
        Some(Task::Join(settings)) => join::run(*settings).map_err(Into::into),
        Some(Task::Peer(arguments)) => peer::run(&arguments).map_err(Into::into),
        Some(Task::Nat(arguments)) => nat::run(&arguments).map_err(Into::into),
        Some(Task::Load(arguments)) => load::run(arguments).map_err(Into::into),
        Some(Task::Token(command)) => tokens::run(&command).map_err(Into::into),
        Some(Task::Room(command)) => administer::rooms(&command).map_err(Into::into),
        Some(Task::Participant(command)) => administer::participants(&command).map_err(Into::into),
        Some(Task::Plot(arguments)) => plot::run(&arguments).map_err(Into::into),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&*error);
            ExitCode::FAILURE
        }
    }
}

/// Prints an error with its causes, in one line.
#[expect(
    clippy::print_stderr,
    reason = "the last word of a command-line program"
)]
fn complain(error: &dyn std::error::Error) {
    let mut line = format!("twocan: {error}");
    let mut cause = error.source();
    while let Some(error) = cause {
        line.push_str(&format!(": {error}"));
        cause = error.source();
    }
    eprintln!("{line}");
}
