//! What tests need from elsewhere: found, or installed, or named.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::report::{Outcome, run};

/// The pinned version: its configuration format changes.
const CARGO_DENY: &str = "0.20.2";

/// Whether a program answers.
pub(crate) fn answers(program: &str, argument: &str) -> bool {
    Command::new(program)
        .arg(argument)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// Where things are installed: in the tree, and ignored by git.
pub(crate) fn folder(root: &Path) -> PathBuf {
    root.join(".tools")
}

/// cargo-deny, installed into the tree when it is not on the path.
///
/// # Errors
/// Why there is none.
pub(crate) fn cargo_deny(root: &Path) -> Result<PathBuf, String> {
    if answers("cargo-deny", "--version") {
        return Ok("cargo-deny".into());
    }
    let folder = folder(root);
    let installed = folder.join("bin/cargo-deny");
    if installed.exists() {
        return Ok(installed);
    }
    let folder = folder.to_string_lossy().into_owned();
    let arguments = [
        "install",
        "cargo-deny",
        "--locked",
        // It runs for two seconds; optimised it would be built for three minutes.
        "--debug",
        "--version",
        CARGO_DENY,
        "--root",
        folder.as_str(),
    ];
    match run(root, "cargo", &arguments) {
        Outcome::Passed => Ok(installed),
        _ => Err(format!(
            "cargo-deny {CARGO_DENY} could not be installed (cargo install)"
        )),
    }
}

/// Installs the packages of a Node project from its lock file, if they are not there yet.
///
/// # Errors
/// Why they are not there.
pub(crate) fn node_packages(root: &Path, project: &str) -> Result<(), String> {
    let folder = root.join(project);
    if folder.join("node_modules/.package-lock.json").exists() {
        return Ok(());
    }
    if !answers("npm", "--version") {
        return Err("node and npm are not installed".into());
    }
    match run(&folder, "npm", &["ci", "--no-audit", "--no-fund"]) {
        Outcome::Passed => Ok(()),
        _ => Err(format!("npm ci failed in {project}")),
    }
}

/// Installs parts of the interop peers; answers whether all of them are there.
pub(crate) fn interop(root: &Path, parts: &[&str]) -> bool {
    let script = "tests/interop/install.sh";
    let mut arguments = vec![script];
    arguments.extend_from_slice(parts);
    run(root, "bash", &arguments) == Outcome::Passed
}
