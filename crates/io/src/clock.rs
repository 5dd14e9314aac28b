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
