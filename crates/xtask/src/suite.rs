//! What `cargo xtask test` runs, in order: quick and certain things first.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use crate::report::{Outcome, Report, run, run_with};
use crate::{tidy, tools};

/// Scenario seeds of the quick suite.
const SEEDS: &str = "200";

/// Scenario seeds of the whole suite.
const SEEDS_ALL: &str = "2000";

/// Of the scenarios of rates and repairs, with `--all`.
const SEEDS_OF_MEDIA: &str = "100";

/// Of every cell of the grid of networks, with `--all`; without, a twelfth of the cells has one.
const SEEDS_OF_GRID: &str = "20";

/// Conferences at random, with `--all`; without, a few small ones.
const SEEDS_OF_CONFERENCES: &str = "120";

/// The README's test command.
pub(crate) fn test(root: &Path, all: bool) -> bool {
    let mut report = Report::default();
    report.step("format", || {
        run(root, "cargo", &["fmt", "--all", "--check"])
    });
    report.step("tidy", || tidy::outcome(root));
    report.step("clippy", || {
        let arguments = [
            "clippy",
            "--workspace",
            "--all-targets",
            "--locked",
            "--",
            "-D",
            "warnings",
        ];
        run(root, "cargo", &arguments)
    });
    report.step("deny", || deny(root));
    report.step("unit tests and fuzz corpora", || {
        let arguments = [
            "test",
            "--workspace",
            "--locked",
            "--quiet",
            "--no-fail-fast",
            "--exclude",
            "twocan-scenarios",
        ];
        run(root, "cargo", &arguments)
    });
    report.step("scenarios", || scenarios(root, all));
    report.step("binary", || {
        run(
            root,
            "cargo",
            &["build", "--locked", "--package", "twocan-server"],
        )
    });
    report.step("web client", || web(root));
    report.step("node package", || node_package(root));
    let interop = tools::interop(root, if all { &["full"] } else { &["quick"] });
    if !interop {
        println!("some interop peers are not installed: their rows are NOT RUN");
    }
    report.step("interop data", || matrix(root, all, &[]));
    report.step("interop media", || matrix(root, all, &["--media-only"]));
    if all {
        report.step("interop repair", || matrix(root, all, &["--repair-only"]));
    }
    report.step("interop renegotiation", || {
        let rounds = if all { "20" } else { "2" };
        renegotiated(root, &["--rounds", rounds])
    });
    report.step("browser", || browser(root, all));
    report.close()
}

/// Ours beside its peers.
pub(crate) fn bench(root: &Path, names: &[String]) -> bool {
    // Servers and their clients are processes of their own.
    match names
        .split_first()
        .map(|(name, rest)| (name.as_str(), rest))
    {
        Some(("sfu", rest)) => return bench_script(root, "bench/sfu/run.mjs", rest),
        Some(("join", rest)) => {
            let server = ["build", "--release", "--locked", "-p", "twocan-server"];
            return run(root, "cargo", &server) == Outcome::Passed
                && tools::node_packages(root, "tests/browser").is_ok()
                && bench_script(root, "bench/join/run.mjs", rest);
        }
        Some(("turn", rest)) => {
            let server = ["build", "--release", "--locked", "-p", "twocan-server"];
            let table = ["target/release/twocan", "--table"].map(str::to_owned);
            return run(root, "cargo", &server) == Outcome::Passed
                && bench_crate(root, &["-p", "twocan-bench-turn"], &[&table, rest].concat());
        }
        _ => {}
    }
    bench_crate(root, &[], names)
}

fn bench_crate(root: &Path, which: &[&str], rest: &[String]) -> bool {
    let run_it = ["run", "--release", "--locked", "--manifest-path"];
    let mut arguments = [&run_it[..], &["bench/Cargo.toml"], which, &["--"]].concat();
    arguments.extend(rest.iter().map(String::as_str));
    run(root, "cargo", &arguments) == Outcome::Passed
}

fn bench_script(root: &Path, script: &str, rest: &[String]) -> bool {
    let rest = rest.iter().map(String::as_str);
    let arguments: Vec<&str> = std::iter::once(script).chain(rest).collect();
    run(root, "node", &arguments) == Outcome::Passed
}

/// Writes the page about media.
pub(crate) fn media(root: &Path, rest: &[String]) -> bool {
    let mut arguments = vec![
        "run",
        "--quiet",
        "--release",
        "--locked",
        "--package",
        "twocan-scenarios",
        "--bin",
        "media-table",
        "docs/media.md",
    ];
    arguments.extend(rest.iter().map(String::as_str));
    run(root, "cargo", &arguments) == Outcome::Passed
}

/// The interop matrix with arguments of its own.
pub(crate) fn interop(root: &Path, rest: &[String]) -> bool {
    if run(root, "cargo", &["build", "--package", "twocan-server"]) != Outcome::Passed {
        return false;
    }
    let rest: Vec<&str> = rest.iter().map(String::as_str).collect();
    matrix(root, true, &rest) == Outcome::Passed
}

/// Writes the page about links between real ends.
pub(crate) fn links(root: &Path, rest: &[String]) -> bool {
    let packages = ["build", "-p", "twocan-server", "-p", "twocan-lab"];
    let lab = root.join("target/debug/twocan-lab");
    let lab = lab.to_string_lossy();
    let own = ["--lab", &lab, "--page", "docs/links.md"];
    real_ends(root, &packages, "tests/interop/links.mjs", &own, rest)
}

/// Writes the page about translators of the kernel.
pub(crate) fn nats(root: &Path, rest: &[String]) -> bool {
    let packages = ["build", "-p", "twocan-server", "-p", "twocan-lab"];
    let lab = root.join("target/debug/twocan-lab");
    let lab = lab.to_string_lossy();
    let own = ["--lab", &lab, "--page", "docs/nats.md"];
    real_ends(root, &packages, "tests/interop/nats.mjs", &own, rest)
}

/// Writes the page about renegotiation.
pub(crate) fn renegotiation(root: &Path, rest: &[String]) -> bool {
    if !tools::interop(root, &["full"]) {
        return false;
    }
    let rest = rest.iter().map(String::as_str);
    let arguments: Vec<&str> = ["--page", "docs/renegotiation.md"]
        .into_iter()
        .chain(rest)
        .collect();
    renegotiated(root, &arguments) == Outcome::Passed
}

/// Calls that are negotiated again, of the Node package with its peers.
fn renegotiated(root: &Path, arguments: &[&str]) -> Outcome {
    let library = match node_library(root) {
        Ok(library) => library,
        Err(outcome) => return outcome,
    };
    let environment = [("TWOCAN_NODE_LIBRARY", library.as_os_str())];
    let mut all = vec!["tests/interop/renegotiation.mjs"];
    all.extend_from_slice(arguments);
    run_with(root, "node", &all, &environment)
}

fn real_ends(root: &Path, build: &[&str], script: &str, own: &[&str], rest: &[String]) -> bool {
    if run(root, "cargo", build) != Outcome::Passed || !tools::interop(root, &["full"]) {
        return false;
    }
    let ours = binary(root).to_string_lossy().into_owned();
    let mut arguments = vec![script, "--ours", ours.as_str()];
    arguments.extend_from_slice(own);
    arguments.extend(rest.iter().map(String::as_str));
    run(root, "node", &arguments) == Outcome::Passed
}

/// Every fuzz target for some seconds.
pub(crate) fn fuzz(root: &Path, rest: &[String]) -> bool {
    let seconds = rest
        .first()
        .and_then(|text| text.parse().ok())
        .unwrap_or(20_u32);
    let limit = format!("-max_total_time={seconds}");
    let mut report = Report::default();
    for target in fuzz_targets(root) {
        report.step(&format!("fuzz {target}"), || {
            if !tools::answers("cargo-fuzz", "--version") {
                return Outcome::NotRun("cargo install cargo-fuzz".into());
            }
            let folder = root.join("tests/fuzz");
            let arguments = [
                "+nightly",
                "fuzz",
                "run",
                "--fuzz-dir",
                ".",
                target.as_str(),
                "--",
                limit.as_str(),
                "-timeout=1",
                "-rss_limit_mb=512",
            ];
            run(&folder, "cargo", &arguments)
        });
    }
    report.close()
}

fn fuzz_targets(root: &Path) -> Vec<String> {
    let Ok(folder) = std::fs::read_dir(root.join("tests/fuzz/fuzz_targets")) else {
        return Vec::new();
    };
    let names = folder.filter_map(Result::ok).filter_map(|entry| {
        let path = entry.path();
        path.file_stem()
            .map(|stem| stem.to_string_lossy().into_owned())
    });
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

fn deny(root: &Path) -> Outcome {
    match tools::cargo_deny(root) {
        Err(why) => Outcome::NotRun(why),
        Ok(program) => {
            // Advisories need a git repository that not every network reaches.
            let arguments = ["check", "bans", "licenses", "sources"];
            run(root, &program.to_string_lossy(), &arguments)
        }
    }
}

fn scenarios(root: &Path, all: bool) -> Outcome {
    let seeds = OsStr::new(if all { SEEDS_ALL } else { SEEDS });
    let arguments = [
        "test",
        "--locked",
        "--quiet",
        "--package",
        "twocan-scenarios",
    ];
    let mut variables = vec![("TWOCAN_SEEDS", seeds)];
    if all {
        // Minutes of virtual time each.
        let few = OsStr::new(SEEDS_OF_MEDIA);
        variables.extend([("TWOCAN_RATE_SEEDS", few), ("TWOCAN_REPAIR_SEEDS", few)]);
        variables.push(("TWOCAN_GRID_SEEDS", OsStr::new(SEEDS_OF_GRID)));
        let conferences = OsStr::new(SEEDS_OF_CONFERENCES);
        variables.push(("TWOCAN_CONFERENCE_SEEDS", conferences));
    }
    run_with(root, "cargo", &arguments, &variables)
}

fn web(root: &Path) -> Outcome {
    if let Err(why) = tools::node_packages(root, "tests/web") {
        return Outcome::NotRun(why);
    }
    run(&root.join("tests/web"), "npm", &["test", "--silent"])
}

/// The tests of `bindings/node`, and those of its interfaces as a page of a browser uses them, with the
/// library as it is built here.
fn node_package(root: &Path) -> Outcome {
    let suites = ["bindings/node/test", "tests/conformance"];
    for suite in suites {
        if let Err(why) = tools::node_packages(root, suite) {
            return Outcome::NotRun(why);
        }
    }
    let library = match node_library(root) {
        Ok(library) => library,
        Err(outcome) => return outcome,
    };
    let environment = [("TWOCAN_NODE_LIBRARY", library.as_os_str())];
    for suite in suites {
        let folder = root.join(suite);
        match run_with(&folder, "npm", &["test", "--silent"], &environment) {
            Outcome::Passed => {}
            other => return other,
        }
    }
    Outcome::Passed
}

/// The native half of the Node package, as it is built here.
fn node_library(root: &Path) -> Result<PathBuf, Outcome> {
    let build = ["build", "--locked", "--package", "twocan-node"];
    match run(root, "cargo", &build) {
        Outcome::Passed => {}
        other => return Err(other),
    }
    let name = format!(
        "{}twocan_node{}",
        std::env::consts::DLL_PREFIX,
        std::env::consts::DLL_SUFFIX
    );
    Ok(root.join("target/debug").join(name))
}

fn matrix(root: &Path, all: bool, more: &[&str]) -> Outcome {
    if !tools::answers("node", "--version") {
        return Outcome::NotRun("node is not installed".into());
    }
    let ours = binary(root).to_string_lossy().into_owned();
    let mut arguments = vec!["tests/interop/run.mjs", "--ours", ours.as_str()];
    if !all {
        arguments.push("--quick");
    }
    arguments.extend_from_slice(more);
    run(root, "node", &arguments)
}

fn browser(root: &Path, all: bool) -> Outcome {
    if let Err(why) = tools::node_packages(root, "tests/browser") {
        return Outcome::NotRun(why);
    }
    let ours = binary(root);
    let server = format!(
        "{} serve --http 127.0.0.1:0 --stun 127.0.0.1:0",
        ours.display()
    );
    let environment = [
        ("TWOCAN_SERVER", OsStr::new(&server)),
        ("TWOCAN_BIN", ours.as_os_str()),
    ];
    let script = if all { "test:all" } else { "test" };
    run_with(
        &root.join("tests/browser"),
        "npm",
        &["run", "--silent", script],
        &environment,
    )
}

fn binary(root: &Path) -> PathBuf {
    root.join("target/debug/twocan")
}
