//! Times in reports (RFC 3550 §4), and what they tell.

use std::time::Duration;

use twocan_wire::rtcp::ReportBlock;

use crate::time::Now;

/// Seconds since 1900 in 32.32 fixed point (RFC 3550 §4); wraps in 2036, as it should.
pub(super) fn ntp_time(wallclock: Duration) -> u64 {
    const FROM_1900_TO_1970: u64 = 2_208_988_800;
    let seconds = wallclock.as_secs().wrapping_add(FROM_1900_TO_1970);
    let fraction = (u64::from(wallclock.subsec_nanos()) << 32) / 1_000_000_000;
    (seconds << 32) | fraction
}

/// RFC 3550 §6.4.1; `None` without a report of ours to count from, or for nonsense.
pub(super) fn round_trip_time(now: Now, report: &ReportBlock) -> Option<Duration> {
    if report.last_sr == 0 {
        return None;
    }
    let now = (ntp_time(now.wallclock) >> 16) as u32;
    let units = now
        .wrapping_sub(report.last_sr)
        .wrapping_sub(report.delay_since_last_sr);
    // Beyond 10 s it is a jump of a clock or a lie. The finest unit rounds to below zero.
    let rtt = Duration::from_micros(u64::from(units) * 1_000_000 / 65_536);
    match units {
        u32::MAX => Some(Duration::ZERO),
        _ => (rtt < Duration::from_secs(10)).then_some(rtt),
    }
}

/// `count` ticks of a clock as a time.
pub(super) fn ticks(count: u32, clock_rate: u32) -> Duration {
    Duration::from_nanos(u64::from(count) * 1_000_000_000 / u64::from(clock_rate.max(1)))
}
