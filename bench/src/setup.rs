//! Setting a connection up on loopback, and what it takes to keep it: both ends together.
//!
//! Every connection is new in all parts: certificate, sockets, ICE, DTLS, SCTP, one open channel.

use std::process::Command;

use crate::harness::{Engine, Options, compare, cpu_ms};
use crate::pair::{STACKS, Stack};

/// Connections of a turn.
const CONNECTIONS: usize = 20;

/// Connections that are kept to see what one of them weighs.
const KEPT: usize = 100;

pub(crate) fn run(options: &Options) {
    let engines = STACKS
        .iter()
        .map(|(name, connect)| Engine {
            name,
            work: Box::new(move || {
                let took = cpu_ms(|| {
                    for _ in 0..CONNECTIONS {
                        connect().idle();
                    }
                });
                took / CONNECTIONS as f64
            }),
        })
        .collect();
    compare("setting up, both ends", "connection", options, engines);
    println!("idle connections, both ends: KiB of resident memory each, of {KEPT}");
    for (name, _) in STACKS {
        if options.only.as_ref().is_none_or(|only| only == name) {
            // A process of its own: memory that a stack has freed is not the next one's.
            let answer = std::env::current_exe().and_then(|program| {
                Command::new(program)
                    .args(["kept", "--only", name])
                    .output()
            });
            match answer {
                Ok(answer) if answer.status.success() => {
                    print!("  {name:<12} {}", String::from_utf8_lossy(&answer.stdout));
                }
                Ok(answer) => println!("  {name:<12} failed: {}", answer.status),
                Err(error) => println!("  {name:<12} failed: {error}"),
            }
        }
    }
}

/// The other process: prints what a kept connection weighs.
pub(crate) fn kept(options: &Options) {
    let wanted = |stack: &&Stack| options.only.as_deref() == Some(stack.0);
    let Some((_, connect)) = STACKS.iter().find(wanted) else {
        return;
    };
    // The first ones pay for tables that all share.
    let mut pairs: Vec<_> = (0..3).map(|_| connect()).collect();
    let before = resident();
    for _ in 0..KEPT {
        let mut pair = connect();
        pair.idle();
        pairs.push(pair);
    }
    let grown = resident().saturating_sub(before);
    println!("{:>9.1}", grown as f64 / 1024.0 / KEPT as f64);
}

/// Resident bytes of this process.
fn resident() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: usize = text
        .split(' ')
        .nth(1)
        .and_then(|field| field.parse().ok())
        .unwrap_or_default();
    pages * rustix::param::page_size()
}
