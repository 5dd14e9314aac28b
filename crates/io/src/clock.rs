//! The system's two clocks, and its randomness.

use std::time::{Instant, SystemTime};

use twocan_proto::time::Now;

/// This moment. A wallclock before 1970 reads as 1970.
pub fn now() -> Now {
    let wallclock = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    Now {
        monotonic: Instant::now(),
        wallclock,
    }
}

/// 32 bytes of the system's randomness: the seed of one machine.
///
/// # Panics
/// Never on Linux, macOS, Windows and the BSDs; where the system has no randomness at all, a
/// machine without it must not start.
pub fn seed() -> [u8; 32] {
    let mut seed = [0; 32];
    #[expect(
        clippy::expect_used,
        reason = "without randomness there is no security to go on with"
    )]
    getrandom::fill(&mut seed).expect("the system has randomness");
    seed
}
