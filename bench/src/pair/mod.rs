//! Two connected ends in this process over loopback UDP, of each stack, with one data channel.
//!
//! The asynchronous ones run on one thread of tokio, both ends of `str0m` in one loop: no time goes
//! into waking other threads, and all of it is this process's.

mod ours;
mod rustrtc;
mod str0m;
mod webrtc;

use std::future::Future;

use tokio::runtime::{Builder, Runtime};

/// Bytes that a sender keeps queued: it always has something, and memory stays small.
const QUEUED: usize = 1 << 20;

/// Two connected ends.
pub(crate) trait Pair {
    /// Carries messages from the first to the second until all have arrived.
    fn transfer(&mut self, message_len: usize, count: usize);

    /// Keeps both alive for a little while.
    fn idle(&mut self);
}

/// A stack: its name, and how two of its ends connect.
pub(crate) type Stack = (&'static str, fn() -> Box<dyn Pair>);

/// All stacks, ours first.
pub(crate) const STACKS: &[Stack] = &[
    ("twocan", || Box::new(ours::connect())),
    ("str0m", || Box::new(str0m::connect())),
    ("webrtc", || Box::new(webrtc::connect())),
    ("rustrtc", || Box::new(rustrtc::connect())),
];

/// The runtime of all asynchronous ends: one, as in an application with many connections.
fn block_on<R>(work: impl Future<Output = R>) -> R {
    thread_local! {
        static RUNTIME: Runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
    }
    RUNTIME.with(|runtime| runtime.block_on(work))
}

/// Lets every task that is ready run.
async fn breathe() {
    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
}
