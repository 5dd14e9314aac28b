//! Developer commands: `cargo xtask test`, `ci`, `tidy`, `bench`, `media`, `interop`, `links`, `nats`,
//! `renegotiation`, `fuzz`.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "a command-line program")]

mod report;
mod suite;
mod tidy;
mod tools;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

const HELP: &str = "\
cargo xtask COMMAND

  test [--all]     fmt, clippy, deny, tidy, unit tests, 200 scenario seeds, fuzz corpora,
                   a call with each browser, the quick interop peers; --all adds every browser
                   test, the whole interop matrix and 2,000 seeds
  ci               the same as test: what CI runs
  tidy             sizes, names, docs and walls of the tree
  bench [NAME…]    ours beside its peers, as ratios in one run
  media [SEEDS]    docs/media.md: calls over links of many kinds, simulated
  interop [ARG…]   the interop matrix (tests/interop/run.mjs) against this build
  links [ARG…]     docs/links.md: one-way calls over bad links between real ends, browsers' own as
                   the reference (tests/interop/links.mjs; Linux, root)
  nats [ARG…]      docs/nats.md: every peer through address translators of the kernel
                   (tests/interop/nats.mjs; Linux, root)
  renegotiation [ARG…]
                   docs/renegotiation.md: calls of the Node package with its peers, negotiated again
                   and again (tests/interop/renegotiation.mjs)
  fuzz [SECONDS]   every fuzz target for a while (needs cargo-fuzz and a nightly toolchain)
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let root = root();
    let (command, rest) = match arguments.split_first() {
        Some((command, rest)) => (command.as_str(), rest),
        None => ("help", &[][..]),
    };
    let all = rest.iter().any(|argument| argument == "--all");
    let green = match command {
        "test" | "ci" => suite::test(&root, all),
        "tidy" => tidy::report(&root),
        "bench" => suite::bench(&root, rest),
        "media" => suite::media(&root, rest),
        "interop" => suite::interop(&root, rest),
        "links" => suite::links(&root, rest),
        "nats" => suite::nats(&root, rest),
        "renegotiation" => suite::renegotiation(&root, rest),
        "fuzz" => suite::fuzz(&root, rest),
        _ => {
            print!("{HELP}");
            matches!(command, "help" | "--help" | "-h")
        }
    };
    if green {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// The root of the repository: two folders above this crate.
fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_path_buf()
}
