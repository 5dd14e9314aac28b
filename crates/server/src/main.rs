//! The `twocan` binary.
#![forbid(unsafe_code)]

mod serve;

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
}

fn main() -> ExitCode {
    let command = Command::parse();
    let outcome = match command.task {
        None => serve::run(&command.serve),
        Some(Task::Serve(settings)) => serve::run(&settings),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error);
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
