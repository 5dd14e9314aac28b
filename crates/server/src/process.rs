//! What a process uses of the machine.

use std::io;
use std::time::Duration;

/// What a process has used so far.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Used {
    /// User and system time.
    pub(crate) cpu: Duration,
    /// Resident memory, in bytes.
    pub(crate) memory: u64,
}

/// What a process has used (proc(5)).
///
/// # Errors
/// The system's, where there is no such process or no `/proc`.
pub(crate) fn used(pid: u32) -> io::Result<Used> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let malformed = || io::Error::from(io::ErrorKind::InvalidData);
    // The name of the program, in parentheses, may have spaces.
    let (_, rest) = stat.rsplit_once(')').ok_or_else(malformed)?;
    let fields: Vec<u64> = rest
        .split_ascii_whitespace()
        .map(|field| field.parse().unwrap_or_default())
        .collect();
    let field = |number: usize| fields.get(number - 3).copied().ok_or_else(malformed);
    let ticks = field(14)? + field(15)?;
    let per_second = rustix::param::clock_ticks_per_second().max(1);
    Ok(Used {
        cpu: Duration::from_secs_f64(ticks as f64 / per_second as f64),
        memory: field(24)? * rustix::param::page_size() as u64,
    })
}

/// What this process uses as Prometheus text, by the names that Prometheus's own clients have for
/// it; empty where the system does not tell.
pub(crate) fn as_metrics() -> String {
    let Ok(Used { cpu, memory }) = used(std::process::id()) else {
        return String::new();
    };
    let seconds = cpu.as_secs_f64();
    format!(
        "# TYPE process_cpu_seconds_total counter\nprocess_cpu_seconds_total {seconds}\n\n\
         # TYPE process_resident_memory_bytes gauge\nprocess_resident_memory_bytes {memory}\n\n"
    )
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn this_process_uses_memory() {
        let own = used(std::process::id()).unwrap();
        assert!(own.memory > 100_000, "{own:?}");
        let text = as_metrics();
        let memory = text
            .lines()
            .find_map(|line| line.strip_prefix("process_resident_memory_bytes "));
        assert!(memory.unwrap().parse::<u64>().unwrap() > 100_000, "{text}");
    }
}
