//! Loads a TURN server on loopback, ours and coturn's in turn: packets per second of the server's
//! own CPU time, delay, memory per allocation, allocations per second.
//!
//! `cargo xtask bench turn` builds it and prints the table of `docs/turn.md`. By hand:
//! `cargo run --release --manifest-path bench/Cargo.toml -p twocan-bench-turn -- PATH/TO/twocan
//! [--allocations N] [--bytes N] [--train N] [--rate PACKETS_PER_SECOND] [--seconds N] [--rounds N]`,
//! or with `--table` all rows of the table.
//!
//! Every client has an address of its own in 127.0.0.0/8 and sends ChannelData at the same pace, one
//! packet at a time as sound does, or in trains as pictures are sent; one socket receives all of it and
//! counts. What was not received does not count.
#![forbid(unsafe_code)]

mod client;
mod load;
mod plan;
mod process;
mod report;

use std::io;

use load::measure;
use plan::{Arguments, Plan};
use process::Kind;
use report::Row;

fn main() -> io::Result<()> {
    let arguments = match Arguments::parse(std::env::args().skip(1)) {
        Ok(arguments) => arguments,
        Err(wrong) => {
            println!("{wrong}; see the top of bench/turn/src/main.rs");
            return Ok(());
        }
    };
    let plans = match arguments.table {
        true => Plan::of_table(&arguments.plan),
        false => vec![arguments.plan.clone()],
    };
    let mut rows = Vec::new();
    for plan in plans {
        eprintln!("{plan}");
        let row = run(&arguments.twocan, &plan);
        match arguments.table {
            true => rows.push((plan, row)),
            false => println!("{row}"),
        }
    }
    if arguments.table {
        println!("{}", report::table(&rows));
    }
    Ok(())
}

/// Measures both servers in turn. Of several rounds the first warms up.
fn run(twocan: &str, plan: &Plan) -> Row {
    let mut row = Row::default();
    for round in 0..plan.rounds {
        for kind in [Kind::Twocan, Kind::Coturn] {
            match measure(plan, kind, twocan) {
                Ok(outcome) => {
                    eprintln!("{} {kind:?}: {outcome}", round + 1);
                    if round > 0 || plan.rounds == 1 {
                        row.add(kind, outcome);
                    }
                }
                Err(error) => eprintln!("{} {kind:?}: NOT RUN: {error}", round + 1),
            }
        }
    }
    row
}
