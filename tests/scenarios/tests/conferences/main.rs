//! Conferences of 2 to 200, each made from a number: who comes by which way and sends what, and what
//! happens to them. The hall, the forwarder and the connections are the real ones. Whatever happens,
//! nobody gets what it may not, decoders can follow, nobody is sent much more than its way carries,
//! nobody waits for a picture for long, and who does not come in is told why.
//!
//! A run takes some of the numbers; `TWOCAN_CONFERENCE_SEEDS` is how many are run instead, from 1;
//! `TWOCAN_SEED` takes that one alone.

mod plan;
mod run;

use plan::Plan;
use run::Run;

/// Those that a run takes which is not asked for more: small ones, and one of some dozens.
const FEW: std::ops::RangeInclusive<u64> = 1..=24;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn seeds() -> Vec<u64> {
    match (number("TWOCAN_SEED"), number("TWOCAN_CONFERENCE_SEEDS")) {
        (Some(seed), _) => vec![seed],
        (None, Some(count)) => (1..=count).collect(),
        (None, None) => FEW.collect(),
    }
}

#[test]
#[expect(clippy::print_stdout, reason = "a line for whoever asks for it")]
fn whatever_happens_in_a_conference() {
    let mut failures = Vec::new();
    for seed in seeds() {
        let mut run = Run::new(Plan::new(seed));
        run.go();
        println!("{}", run.summary());
        if !run.faults().is_empty() {
            failures.push(format!(
                "seed {seed} (TWOCAN_SEED={seed} cargo test -p twocan-scenarios --test conferences):\n  \
                 {}\n{}",
                run.faults().join("\n  "),
                run.explain()
            ));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn a_conference_repeats_byte_for_byte() {
    let trace = |seed| {
        let mut run = Run::new(Plan::new(seed));
        run.go();
        run.trace()
    };
    assert_eq!(trace(3), trace(3));
}
