//! Every committed input through its target.

use std::collections::BTreeSet;
use std::path::PathBuf;

use twocan_corpus::TARGETS;

fn folder(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path)
}

#[test]
fn no_seed_breaks_its_target() {
    for (name, target) in TARGETS {
        let mut count = 0;
        for entry in std::fs::read_dir(folder("seeds").join(name)).unwrap() {
            let path = entry.unwrap().path();
            let bytes = std::fs::read(&path).unwrap();
            println!("{}", path.display());
            target(&bytes);
            // Cut short anywhere, it must hold as well.
            for len in (0..bytes.len()).step_by(bytes.len() / 16 + 1) {
                target(&bytes[..len]);
            }
            count += 1;
        }
        assert!(count > 0, "{name} has no seeds");
    }
}

#[test]
fn every_target_has_a_wrapper_for_the_fuzzer() {
    let wrappers: BTreeSet<String> = std::fs::read_dir(folder("../fuzz/fuzz_targets"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| path.file_stem().unwrap().to_string_lossy().into_owned())
        .collect();
    let targets: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(wrappers, targets);
}
