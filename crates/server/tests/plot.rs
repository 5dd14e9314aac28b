//! `twocan plot`, of the log of a simulated call, and of what is none.
#![allow(clippy::unwrap_used, reason = "all of this is a test")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use twocan_proto::wire::units::Bitrate;
use twocan_scenarios::media::{Plan, Scene};

/// A folder of its own that goes with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("twocan-plot-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn plot(arguments: &[&Path]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_twocan"));
    command.arg("plot").args(arguments).output().unwrap()
}

/// A call over a link that falls from 3 to 0.5 Mbit/s, as either peer wrote it down.
fn logs() -> [String; 2] {
    let mut scene = Scene::new(&Plan {
        adjust: |config| config.event_log = true,
        ..Plan::new("plot", 1, Duration::from_millis(100))
    });
    let mut logs = [String::new(), String::new()];
    for second in 0..20 {
        let rate = if second < 10 { 3000 } else { 500 };
        scene.limit(Bitrate::kbps(rate), Duration::from_millis(300));
        scene.run(Duration::from_secs(1));
        for (peer, log) in logs.iter_mut().enumerate() {
            for entry in scene.take_log(peer) {
                *log += &format!("{entry}\n");
            }
        }
    }
    logs
}

#[test]
fn the_log_of_a_call_becomes_a_picture() {
    let folder = Folder::new("call");
    let logs = logs();
    for (side, text) in ["caller", "callee"].iter().zip(&logs) {
        let log = folder.0.join(format!("{side}.jsonl"));
        std::fs::write(&log, text).unwrap();
        // Kept where someone wants to see it.
        if let Some(keep) = std::env::var_os("TWOCAN_KEEP_LOGS") {
            std::fs::copy(&log, Path::new(&keep).join(log.file_name().unwrap())).unwrap();
        }
        let done = plot(&[&log]);
        assert!(
            done.status.success(),
            "{}",
            String::from_utf8_lossy(&done.stderr)
        );
        let picture = std::fs::read_to_string(log.with_extension("svg")).unwrap();
        for text in [
            "Rate (Mbit/s)",
            "Loss (%)",
            "Delay (ms)",
            "Buffers (ms)",
            "connected",
        ] {
            assert!(picture.contains(text), "{side}: {text}");
        }
        assert!(!picture.contains("NaN") && !picture.contains("inf"));
        let names: &[&str] = match *side {
            "caller" => &[
                "target",
                "acknowledged",
                "by delay",
                "round trip",
                "trend",
                "pacer",
            ],
            _ => &["received", "of what is received", "video (mid"],
        };
        for name in names {
            assert!(picture.contains(&format!(">{name}")), "{side}: {name}");
        }
        let lines = picture.matches("<polyline").count();
        assert!(lines >= 5, "{side}: {lines} lines");
        let size = picture.len();
        assert!(size < 1_000_000, "{size}");
    }
}

#[test]
fn every_line_of_a_damaged_log_is_taken_or_named() {
    let folder = Folder::new("damaged");
    let log = folder.0.join("log.jsonl");
    let output = folder.0.join("picture.svg");
    let [text, _] = logs();
    let lines: Vec<&str> = text.lines().take(400).collect();
    let with = |at: usize, line: &str| {
        let mut lines = lines.clone();
        lines[at] = line;
        lines.join("\n")
    };
    let cut = &lines[57][..lines[57].len() / 2];
    for (at, line) in [
        (57, cut),
        (0, "\u{feff}"),
        (399, "}"),
        (7, "{\"t\":1,\"event\":{}}"),
    ] {
        std::fs::write(&log, with(at, line)).unwrap();
        let done = plot(&[&log, Path::new("-o"), &output]);
        assert!(!done.status.success());
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        let expected = format!("twocan: line {} is not of an event log: ", at + 1);
        assert!(said.starts_with(&expected), "{said}");
        assert!(!output.exists());
    }
    let done = plot(&[&folder.0.join("none.jsonl")]);
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(
        said.contains("cannot read") && said.contains("none.jsonl"),
        "{said}"
    );
}
