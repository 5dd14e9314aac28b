//! Steps, their outcomes, and the table at the end.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// What became of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Green.
    Passed,
    /// Red.
    Failed(String),
    /// Something it needs is not here; counted, never passed over.
    NotRun(String),
}

/// All steps so far.
#[derive(Debug, Default)]
pub(crate) struct Report {
    steps: Vec<(String, Outcome, Duration)>,
}

impl Report {
    /// Runs a step and remembers what became of it.
    pub(crate) fn step(&mut self, name: &str, run: impl FnOnce() -> Outcome) {
        println!("\n=== {name}");
        let started = Instant::now();
        let outcome = run();
        let took = started.elapsed();
        match &outcome {
            Outcome::Passed => println!("--- {name}: passed in {:.0} s", took.as_secs_f64()),
            Outcome::Failed(why) => println!("--- {name}: FAILED: {why}"),
            Outcome::NotRun(why) => println!("--- {name}: NOT RUN: {why}"),
        }
        self.steps.push((name.to_owned(), outcome, took));
    }

    /// Prints the table and the closing line; answers whether nothing failed.
    pub(crate) fn close(&self) -> bool {
        println!("\n=== summary");
        for (name, outcome, took) in &self.steps {
            let (word, why) = match outcome {
                Outcome::Passed => ("passed", ""),
                Outcome::Failed(why) => ("FAILED", why.as_str()),
                Outcome::NotRun(why) => ("NOT RUN", why.as_str()),
            };
            println!("{word:<8} {:>5.0} s  {name}  {why}", took.as_secs_f64());
        }
        let count = |wanted: fn(&Outcome) -> bool| {
            self.steps
                .iter()
                .filter(|(_, outcome, _)| wanted(outcome))
                .count()
        };
        let passed = count(|outcome| *outcome == Outcome::Passed);
        let failed = count(|outcome| matches!(outcome, Outcome::Failed(_)));
        let skipped = count(|outcome| matches!(outcome, Outcome::NotRun(_)));
        println!("\n{passed} passed, {failed} failed, {skipped} skipped");
        failed == 0
    }
}

/// Runs a program in `root` with its output shown.
pub(crate) fn run<S: AsRef<OsStr>>(root: &Path, program: &str, arguments: &[S]) -> Outcome {
    run_with(root, program, arguments, &[])
}

/// The same, with additions to the environment.
pub(crate) fn run_with<S: AsRef<OsStr>>(
    root: &Path,
    program: &str,
    arguments: &[S],
    environment: &[(&str, &OsStr)],
) -> Outcome {
    let mut command = Command::new(program);
    command
        .args(arguments)
        .current_dir(root)
        .stdin(Stdio::null());
    command.envs(environment.iter().copied());
    match command.status() {
        Ok(status) if status.success() => Outcome::Passed,
        Ok(status) => Outcome::Failed(format!("{program} ended with {status}")),
        Err(error) => Outcome::Failed(format!("{program} did not start: {error}")),
    }
}
