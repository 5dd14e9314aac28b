//! The seeds of a run, from the environment.

/// The seeds to run: `TWOCAN_SEED` alone if set, else as many as `TWOCAN_SEEDS` says (default 20),
/// from 1.
pub fn seeds() -> Vec<u64> {
    let number = |name| {
        std::env::var(name)
            .ok()
            .and_then(|value| value.parse::<u64>().ok())
    };
    match number("TWOCAN_SEED") {
        Some(seed) => vec![seed],
        None => (1..=number("TWOCAN_SEEDS").unwrap_or(20)).collect(),
    }
}
