//! Medians of rounds, and the table.

use std::fmt;

use crate::load::Outcome;
use crate::plan::Plan;
use crate::process::Kind;

/// What came of the rounds of one plan.
#[derive(Debug, Default)]
pub struct Row {
    ours: Vec<Outcome>,
    coturn: Vec<Outcome>,
}

impl Row {
    /// One more round.
    pub fn add(&mut self, kind: Kind, outcome: Outcome) {
        match kind {
            Kind::Twocan => self.ours.push(outcome),
            Kind::Coturn => self.coturn.push(outcome),
        }
    }

    /// The medians of both.
    fn medians(&self, of: impl Fn(&Outcome) -> f64) -> [f64; 2] {
        [&self.ours, &self.coturn].map(|rounds| median(rounds.iter().map(&of).collect()))
    }
}

fn median(mut all: Vec<f64>) -> f64 {
    all.sort_unstable_by(f64::total_cmp);
    all.get(all.len() / 2).copied().unwrap_or(f64::NAN)
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [ours, theirs] = self.medians(Outcome::packets_per_cpu_second);
        let [p50, their_p50] = self.medians(|own| own.p50);
        let [p99, their_p99] = self.medians(|own| own.p99);
        let [memory, their_memory] = self.medians(|own| own.memory_per_allocation);
        let [speed, their_speed] = self.medians(|own| own.allocations_per_second);
        let [lost, their_lost] = self.medians(Outcome::lost);
        write!(
            f,
            "{:.0}k : {:.0}k | {:.2} | {p50:.0} : {their_p50:.0} | {p99:.0} : {their_p99:.0} | \
             {memory:.1} : {their_memory:.1} | {speed:.0} : {their_speed:.0} | \
             {lost:.2} : {their_lost:.2}",
            ours / 1000.0,
            theirs / 1000.0,
            ours / theirs,
        )
    }
}

/// All rows, in Markdown.
pub fn table(rows: &[(Plan, Row)]) -> String {
    let mut text = String::from(
        "| allocations | bytes | at once | packets per CPU second, ours : coturn | ratio | \
         delay p50, µs | delay p99, µs | KiB per allocation | allocations/s | lost, % |\n\
         |---|---|---|---|---|---|---|---|---|---|\n",
    );
    for (plan, row) in rows {
        let Plan {
            allocations,
            bytes,
            train,
            ..
        } = plan;
        text.push_str(&format!("| {allocations} | {bytes} | {train} | {row} |\n"));
    }
    text
}
