//! Runs our stack beside others in one process and prints ratios.
//!
//! `cargo run --release -p twocan-bench -- BENCHMARK [--rounds N] [--only NAME]`
//!
//! `BENCHMARK` is `sctp`, `srtp`, `channel` or `setup`.
//!
//! The engines take turns, so that whatever else the machine does hits all of them; what counts is
//! CPU time, and the ratio of the lowest times.
#![forbid(unsafe_code)]
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a table is the result"
)]

mod channel;
mod harness;
mod pair;
mod sctp;
mod setup;
mod srtp;

use std::process::ExitCode;

use harness::Options;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let name = arguments.next().unwrap_or_default();
    let Some(options) = Options::parse(arguments) else {
        eprintln!("options: --rounds N, --only NAME");
        return ExitCode::FAILURE;
    };
    match name.as_str() {
        "sctp" => sctp::run(&options),
        "srtp" => srtp::run(&options),
        "channel" => channel::run(&options),
        "setup" => setup::run(&options),
        // What `setup` starts another process for.
        "kept" => setup::kept(&options),
        _ => {
            eprintln!("benchmarks: sctp, srtp, channel, setup");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}
