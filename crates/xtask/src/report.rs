//! Steps, their outcomes, and the table at the end.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

/// Lines of a failed program that the table repeats, so that the end of a log says what was wrong.
const TOLD_MAX: usize = 12;

/// Bytes of such a line.
const TOLD_BYTES_MAX: usize = 240;

/// How long the output of a program that has ended is waited for.
const STRAGGLERS: Duration = Duration::from_secs(5);

/// What marks a line that says what was wrong, in what the programs here write.
const MARKS: [&str; 6] = ["FAIL", "panicked", "not ok", "✖", "error", "assert"];

/// What marks a line about a test that passed when it was run once more.
const UNSTEADY: &str = "# UNSTEADY ";

/// What a line begins with that names a test which began or passed: names speak of errors as well.
const NAMES: [&str; 2] = ["ok ", "# Subtest"];

/// What became of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Green.
    Passed,
    /// Green where something was run once more: what.
    Unsteady(String),
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
            Outcome::Passed | Outcome::Unsteady(_) => {
                println!("--- {name}: passed in {:.0} s", took.as_secs_f64())
            }
            Outcome::Failed(why) => {
                println!(
                    "--- {name}: FAILED: {}",
                    why.lines().next().unwrap_or_default()
                )
            }
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
                Outcome::Unsteady(what) => ("passed", what.as_str()),
                Outcome::Failed(why) => ("FAILED", why.as_str()),
                Outcome::NotRun(why) => ("NOT RUN", why.as_str()),
            };
            let (first, told) = why.split_once('\n').unwrap_or((why, ""));
            println!("{word:<8} {:>5.0} s  {name}  {first}", took.as_secs_f64());
            for line in told.lines() {
                println!("         | {line}");
            }
        }
        let count = |wanted: fn(&Outcome) -> bool| {
            self.steps
                .iter()
                .filter(|(_, outcome, _)| wanted(outcome))
                .count()
        };
        let passed = count(|outcome| matches!(outcome, Outcome::Passed | Outcome::Unsteady(_)));
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
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => return Outcome::Failed(format!("{program} did not start: {error}")),
    };
    let last = Arc::new(Mutex::new(Last::default()));
    let (ended, ends) = mpsc::channel();
    let out = child.stdout.take().map(|stream| Box::new(stream) as Stream);
    let err = child.stderr.take().map(|stream| Box::new(stream) as Stream);
    for stream in [out, err].into_iter().flatten() {
        let (last, ended) = (Arc::clone(&last), ended.clone());
        thread::spawn(move || {
            show(stream, &last);
            // Nobody waits any longer.
            let _ = ended.send(());
        });
    }
    drop(ended);
    let status = child.wait();
    // Whoever the program left behind may hold its output open for good.
    let deadline = Instant::now() + STRAGGLERS;
    while ends
        .recv_timeout(deadline.saturating_duration_since(Instant::now()))
        .is_ok()
    {}
    match status {
        Ok(status) if status.success() => match last.lock().map(|last| last.unsteady()) {
            Ok(what) if !what.is_empty() => Outcome::Unsteady(what),
            _ => Outcome::Passed,
        },
        Ok(status) => {
            let told = last.lock().map(|last| last.told()).unwrap_or_default();
            Outcome::Failed(format!("{program} ended with {status}{told}"))
        }
        Err(error) => Outcome::Failed(format!("{program} was lost: {error}")),
    }
}

type Stream = Box<dyn Read + Send>;

/// What a program wrote last.
#[derive(Debug, Default)]
struct Last {
    marked: VecDeque<String>,
    any: VecDeque<String>,
    unsteady: VecDeque<String>,
}

impl Last {
    fn add(&mut self, line: &str) {
        let mut end = line.len().min(TOLD_BYTES_MAX);
        while !line.is_char_boundary(end) {
            end -= 1;
        }
        let line = &line[..end];
        let mut lists = vec![&mut self.any];
        let is_name = NAMES.iter().any(|name| line.trim_start().starts_with(name));
        if !is_name && MARKS.iter().any(|mark| line.contains(mark)) {
            lists.push(&mut self.marked);
        }
        if line.starts_with(UNSTEADY) {
            lists.push(&mut self.unsteady);
        }
        for list in lists {
            if list.len() == TOLD_MAX {
                list.pop_front();
            }
            list.push_back(line.to_owned());
        }
    }

    /// What passed when it was run once more, a line each.
    fn unsteady(&self) -> String {
        let lines = self.unsteady.iter();
        lines.map(|line| format!("\n{line}")).collect()
    }

    /// The lines that say what was wrong, or the last ones where none does.
    fn told(&self) -> String {
        let lines = if self.marked.is_empty() {
            &self.any
        } else {
            &self.marked
        };
        lines.iter().map(|line| format!("\n{line}")).collect()
    }
}

/// Shows what a program writes, as it comes, and remembers the end of it.
fn show(stream: impl Read, last: &Mutex<Last>) {
    let mut stream = BufReader::new(stream);
    let mut line = Vec::new();
    while matches!(stream.read_until(b'\n', &mut line), Ok(read) if read > 0) {
        // Nobody reads the log any more: the program goes on.
        let _ = std::io::stdout().write_all(&line);
        if let Ok(mut last) = last.lock() {
            last.add(String::from_utf8_lossy(&line).trim_end());
        }
        line.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends(script: &str) -> Outcome {
        run(Path::new("."), "sh", &["-c", script])
    }

    #[test]
    fn a_failure_repeats_the_lines_that_say_so() {
        let script = "for line in $(seq 40); do echo $line; done; echo 'ok 6 - error'; echo '✖ seven'; exit 3";
        let Outcome::Failed(why) = ends(script) else {
            panic!("it passed");
        };
        assert_eq!(
            why, "sh ended with exit status: 3\n✖ seven",
            "lines without a mark are not repeated"
        );
    }

    #[test]
    fn a_failure_without_such_lines_repeats_the_last_ones() {
        let Outcome::Failed(why) = ends("seq 40; exit 1") else {
            panic!("it passed");
        };
        assert_eq!(why.lines().count(), 1 + TOLD_MAX);
        assert!(why.ends_with("\n40"), "{why}");
    }

    #[test]
    fn what_passed_when_it_was_run_once_more_is_named() {
        assert_eq!(
            ends("echo '# UNSTEADY a.test.mjs: joins'; echo '✖ joins'"),
            Outcome::Unsteady("\n# UNSTEADY a.test.mjs: joins".into())
        );
    }

    #[test]
    fn what_a_program_leaves_behind_is_not_waited_for() {
        assert_eq!(ends("sleep 30 & exit 0"), Outcome::Passed);
    }
}
