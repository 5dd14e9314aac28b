#![expect(clippy::unwrap_used, reason = "a test")]

//! The Grafana dashboard in `docs/` asks for metrics that there are.

use std::collections::BTreeSet;
use std::path::Path;

/// The metrics in a text, whether they are asked for or set.
fn named(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| !(c.is_ascii_lowercase() || c == '_'));
    let is_metric = |word: &&str| {
        let suffixes = ["_total", "_bytes", "_rooms", "_participants", "_tracks"];
        let of_turn = [
            "twocan_turn_allocations",
            "twocan_turn_streams",
            "twocan_turn_relay_sockets",
        ];
        (word.starts_with("twocan_") || word.starts_with("process_"))
            && (suffixes.iter().any(|end| word.ends_with(end)) || of_turn.contains(word))
    };
    words.filter(is_metric).collect()
}

fn read_all(folder: &Path, all: &mut String) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => read_all(&path, all),
            false => all.push_str(&std::fs::read_to_string(path).unwrap()),
        }
    }
}

#[test]
fn the_dashboard_has_every_metric_and_no_other() {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut sources = String::new();
    read_all(&own.join("src"), &mut sources);
    let dashboard = std::fs::read_to_string(own.join("../../docs/grafana.json")).unwrap();
    let parsed: serde_json::Value = serde_json::from_str(&dashboard).unwrap();
    assert!(parsed["panels"].as_array().unwrap().len() > 10);
    let documented = std::fs::read_to_string(own.join("../../docs/operations.md")).unwrap();
    let (shown, set) = (named(&dashboard), named(&sources));
    assert_eq!(shown, set);
    // Those of the threads are written by their ends.
    for metric in set {
        let end = metric.trim_start_matches("twocan_media");
        assert!(documented.contains(end), "{metric} in docs/operations.md");
    }
}
