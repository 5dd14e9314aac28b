//! `cargo xtask tidy`: what neither rustfmt nor clippy looks at.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::report::Outcome;

/// Longest source file, in lines.
const FILE_LINES_MAX: usize = 600;

/// Longest test file, in lines.
const TEST_LINES_MAX: usize = 1000;

/// Longest function, in lines.
const FUNCTION_LINES_MAX: usize = 90;

/// Names that say nothing about what is inside.
const BANNED_NAMES: [&str; 9] = [
    "util", "utils", "common", "helper", "helpers", "manager", "misc", "data2", "shared",
];

/// What must be there.
const DOCUMENTS: [&str; 5] = [
    "README.md",
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "LICENSE-MIT",
    "LICENSE-APACHE",
];

/// Which of our crates each may use: the walls of ARCHITECTURE.md.
const WALLS: [(&str, &[&str]); 7] = [
    ("wire", &[]),
    ("proto", &["twocan-wire"]),
    ("room", &["twocan-proto"]),
    ("io", &["twocan-proto"]),
    ("twocan", &["twocan-proto", "twocan-io"]),
    (
        "server",
        &["twocan", "twocan-io", "twocan-proto", "twocan-room"],
    ),
    ("sim", &["twocan-proto", "twocan-wire"]),
];

/// What the pure crates must not depend on.
const IMPURE: [&str; 8] = [
    "tokio",
    "mio",
    "socket2",
    "quinn-udp",
    "getrandom",
    "rand",
    "axum",
    "async-std",
];

/// Parts of `proto` that do not know each other; `channel` stands on `sctp`.
const SIBLINGS: [&str; 8] = [
    "congestion",
    "ice",
    "dtls",
    "srtp",
    "sctp",
    "channel",
    "rtp",
    "negotiate",
];

/// Texts of machines and registries that have no place in the tree.
const FOREIGN: [&str; 5] = [
    "/wo\u{72}k/",
    "/ro\u{6f}t/",
    "/h\u{6f}me/",
    "index.crates.i\u{6f}",
    "registry.npmjs.\u{6f}rg",
];

/// Prints what is wrong; answers whether nothing is.
pub(crate) fn report(root: &Path) -> bool {
    match outcome(root) {
        Outcome::Passed | Outcome::Unsteady(_) => true,
        Outcome::Failed(why) | Outcome::NotRun(why) => {
            println!("{why}");
            false
        }
    }
}

/// Looks at every file that git knows.
pub(crate) fn outcome(root: &Path) -> Outcome {
    let mut complaints = Vec::new();
    for document in DOCUMENTS {
        if !root.join(document).exists() {
            complaints.push(format!("{document} is missing"));
        }
    }
    for path in files(root) {
        let Ok(text) = std::fs::read_to_string(root.join(&path)) else {
            continue;
        };
        check_file(&path, &text, &mut complaints);
    }
    check_walls(root, &mut complaints);
    for complaint in &complaints {
        println!("{complaint}");
    }
    if complaints.is_empty() {
        Outcome::Passed
    } else {
        Outcome::Failed(format!("{} complaints", complaints.len()))
    }
}

fn files(root: &Path) -> Vec<PathBuf> {
    let listed = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(root)
        .output();
    let listed = listed.map(|output| output.stdout).unwrap_or_default();
    String::from_utf8_lossy(&listed)
        .lines()
        .map(PathBuf::from)
        .collect()
}

fn check_file(path: &Path, text: &str, complaints: &mut Vec<String>) {
    let shown = path.display();
    let stem = path
        .file_stem()
        .and_then(|stem| stem.to_str())
        .unwrap_or_default();
    let extension = path
        .extension()
        .and_then(|extension| extension.to_str())
        .unwrap_or_default();
    let parts = path
        .components()
        .filter_map(|part| part.as_os_str().to_str());
    let is_test = path.starts_with("tests")
        || parts
            .clone()
            .any(|part| part == "tests" || part.ends_with("tests.rs"));
    if BANNED_NAMES.contains(&stem) {
        complaints.push(format!(
            "{shown}: the name says nothing: what is the idea inside?"
        ));
    }
    let is_code = matches!(
        extension,
        "rs" | "js" | "mjs" | "css" | "html" | "py" | "go"
    );
    let lines = text.lines().count();
    let lines_max = if is_test {
        TEST_LINES_MAX
    } else {
        FILE_LINES_MAX
    };
    if is_code && lines > lines_max {
        complaints.push(format!(
            "{shown}: {lines} lines, {lines_max} at most: find the noun"
        ));
    }
    for foreign in FOREIGN {
        if text.contains(foreign) {
            complaints.push(format!("{shown}: mentions {foreign}"));
        }
    }
    if extension == "rs" {
        check_rust(path, text, complaints);
    }
}

fn check_rust(path: &Path, text: &str, complaints: &mut Vec<String>) {
    let shown = path.display();
    let in_crate = path.starts_with("crates");
    let is_test_file = path.to_string_lossy().contains("tests");
    if in_crate && !is_test_file && !text.starts_with("//!") {
        complaints.push(format!("{shown}: begins without //!: what is it?"));
    }
    let is_root = path.ends_with("src/lib.rs") || path.ends_with("src/main.rs");
    // What the macros of a binding expand to allows `unsafe` for itself, which `forbid` forbids.
    let is_binding = path.starts_with("bindings") && text.contains("#![deny(unsafe_code)]");
    if is_root && !is_binding && !text.contains("#![forbid(unsafe_code)]") {
        complaints.push(format!("{shown}: lacks #![forbid(unsafe_code)]"));
    }
    if let Ok(inside) = path.strip_prefix("crates/proto/src") {
        check_siblings(path, inside, text, complaints);
    }
    let mut open: Option<(usize, String, String)> = None;
    for (index, line) in text.lines().enumerate() {
        let indent: String = line
            .chars()
            .take_while(|character| *character == ' ')
            .collect();
        let trimmed = line.trim_start();
        if let Some((start, indented, name)) = &open {
            if line == format!("{indented}}}") {
                let len = index - start + 1;
                if len > FUNCTION_LINES_MAX && !is_test_file {
                    complaints.push(format!(
                        "{shown}:{}: {name} has {len} lines, {FUNCTION_LINES_MAX} at most",
                        start + 1
                    ));
                }
                open = None;
            }
        } else if let Some(name) = function_name(trimmed) {
            open = Some((index, indent, name));
        }
    }
}

/// The name of a function that begins on this line.
fn function_name(line: &str) -> Option<String> {
    let starts = [
        "fn ",
        "pub fn ",
        "async fn ",
        "pub async fn ",
        "const fn ",
        "pub const fn ",
    ];
    let visible = line.starts_with("pub(") && line.contains(" fn ");
    let begins = starts.iter().any(|start| line.starts_with(start)) || visible;
    let (_, after) = line.split_once("fn ").filter(|_| begins)?;
    // A one-line function or a declaration in a trait closes on its own line.
    if line.ends_with('}') || line.ends_with(';') {
        return None;
    }
    Some(
        after
            .split(['(', '<'])
            .next()
            .unwrap_or_default()
            .to_owned(),
    )
}

/// Siblings in `proto` do not know each other; only `peer` does.
fn check_siblings(path: &Path, inside: &Path, text: &str, complaints: &mut Vec<String>) {
    let first = inside
        .components()
        .next()
        .map(|part| part.as_os_str().to_string_lossy());
    let Some(own) = first.map(|part| part.trim_end_matches(".rs").to_owned()) else {
        return;
    };
    if !SIBLINGS.contains(&own.as_str()) {
        return;
    }
    for sibling in SIBLINGS {
        let allowed = sibling == own || (own == "channel" && sibling == "sctp");
        let used = text.contains(&format!("crate::{sibling}::"))
            || text.contains(&format!("crate::{sibling};"));
        if used && !allowed {
            complaints.push(format!(
                "{}: {own} knows its sibling {sibling}",
                path.display()
            ));
        }
    }
}

/// The dependencies that a manifest names outside of tests.
fn dependencies(manifest: &str) -> Vec<String> {
    let mut inside = false;
    let mut found = Vec::new();
    for line in manifest.lines() {
        if line.starts_with('[') {
            inside = line.trim() == "[dependencies]";
        } else if let Some((name, _)) = line.split_once(['.', ' ', '=']).filter(|_| inside)
            && !name.is_empty()
            && !name.starts_with('#')
        {
            found.push(name.to_owned());
        }
    }
    found
}

fn check_walls(root: &Path, complaints: &mut Vec<String>) {
    for (name, allowed) in WALLS {
        let path = root.join("crates").join(name).join("Cargo.toml");
        let Ok(manifest) = std::fs::read_to_string(&path) else {
            complaints.push(format!("crates/{name} is missing"));
            continue;
        };
        let pure = matches!(name, "wire" | "proto" | "room");
        for dependency in dependencies(&manifest) {
            let ours = dependency.starts_with("twocan");
            if ours && !allowed.contains(&dependency.as_str()) {
                complaints.push(format!("crates/{name} must not use {dependency}"));
            }
            if pure && IMPURE.contains(&dependency.as_str()) {
                complaints.push(format!(
                    "crates/{name} is pure and must not use {dependency}"
                ));
            }
        }
    }
}
