//! The native half of the Node package `twocan`: connections as cheap handles, and one stream of
//! events for each as owned data. The classes of the W3C stand in `../lib`.
//!
//! Calls are synchronous and short: a connection's own task does what takes time, on a runtime that
//! all connections of the process share. What happens waits in a bounded queue until JavaScript takes
//! it (`connection::Connection::take_events`); a reader that is slow slows the other side of its
//! channels and loses nothing.
// What napi's macros expand to contains `unsafe` and allows it for itself, which `forbid` would not
// let pass; in our own code there is none.
#![deny(unsafe_code)]
#![cfg_attr(
    test,
    allow(
        dead_code,
        reason = "napi registers nothing in tests, of which there are none here"
    )
)]
#![expect(
    unreachable_pub,
    reason = "napi's macros want items that are public, and nobody uses this crate from Rust"
)]

mod certificate;
mod connection;
mod dictionaries;
mod events;
mod media;
mod statistics;

use std::sync::OnceLock;

use napi::{Error, Result, Status};
use tokio::runtime::{Builder, Runtime};

/// The runtime of this process. Its threads end with the process.
fn runtime() -> Result<&'static Runtime> {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    if let Some(runtime) = RUNTIME.get() {
        return Ok(runtime);
    }
    let made = Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("twocan")
        .enable_all()
        .build()
        .map_err(|error| Error::new(Status::GenericFailure, error.to_string()))?;
    Ok(RUNTIME.get_or_init(|| made))
}

/// An error of the stack as `Name|line|reason`, from which JavaScript makes the exception of that name.
fn refused(error: &twocan::Error) -> Error {
    let text = error.to_string();
    let name = error.name();
    let reason = text
        .strip_prefix(name)
        .map_or(text.as_str(), |rest| rest.trim_start_matches([':', ' ']));
    let line = match error {
        twocan::Error::Negotiation(own) => own.sdp_line_number(),
        _ => None,
    };
    let line = line.map(|line| line.to_string()).unwrap_or_default();
    Error::new(Status::GenericFailure, format!("{name}|{line}|{reason}"))
}
