//! One data channel in bulk over loopback UDP, both ends in this process.
//!
//! What is measured is the transfer alone, on a connection that is up and warm.

use crate::harness::{Engine, Options, compare, cpu_ms};
use crate::pair::STACKS;

/// Length of a message.
const LEN: usize = 64 << 10;

/// Messages before the measurement: congestion windows grow, buffers are made.
const WARM: usize = 64;

/// Messages of a turn: 64 MiB.
const COUNT: usize = 1024;

pub(crate) fn run(options: &Options) {
    let engines = STACKS
        .iter()
        .map(|(name, connect)| Engine {
            name,
            work: Box::new(move || {
                let mut pair = connect();
                pair.transfer(LEN, WARM);
                let took = cpu_ms(|| pair.transfer(LEN, COUNT));
                took / ((LEN * COUNT) as f64 / 1e6)
            }),
        })
        .collect();
    compare(
        "data channel, messages of 64 KiB, loopback UDP, both ends",
        "MB",
        options,
        engines,
    );
}
