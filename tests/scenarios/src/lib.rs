//! Two peers in a simulated world, with signaling between them.
//!
//! A scenario is a [`Call`]: build it, run it until something holds, look at it. The number of
//! seeds per scenario comes from the environment ([`seeds`]); a failing seed is in the message.
#![forbid(unsafe_code)]

mod call;
mod node;

pub use call::{Call, Setting};
pub use node::PeerNode;

/// The seeds to run: `TWOCAN_SEED` alone if set, else as many as `TWOCAN_SEEDS` says (default 20),
/// from 1.
pub fn seeds() -> Vec<u64> {
    let number = |name| {
        std::env::var(name)
            .ok()
            .and_then(|value| value.parse::<u64>().ok())
    };
    match number("TWOCAN_SEED") {
        Some(seed) => vec![seed],
        None => (1..=number("TWOCAN_SEEDS").unwrap_or(20)).collect(),
    }
}
