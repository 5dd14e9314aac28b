//! What the clients saw.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Arguments, Server};
use crate::process::Used;

/// Steps of the histogram of delays: from one to the next, a 32nd more.
const STEPS: usize = 1_024;

/// Of the first one.
const STEP_FIRST: Duration = Duration::from_micros(10);

/// What is going on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Phase {
    #[default]
    Before,
    Measured,
    Over,
}

/// What is counted while it is measured.
#[derive(Debug)]
pub(super) struct Tally {
    pub(super) phase: Phase,
    pub(super) took: Duration,
    pub(super) server: Option<(Used, Used)>,
    pub(super) own: Option<(Used, Used)>,
    pub(super) connections_lost: u64,
    sent: u64,
    not_sent: u64,
    packets: u64,
    bytes: u64,
    retransmissions: u64,
    missing: u64,
    delays: Vec<u64>,
    delay_max: Duration,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            phase: Phase::Before,
            took: Duration::ZERO,
            server: None,
            own: None,
            connections_lost: 0,
            sent: 0,
            not_sent: 0,
            packets: 0,
            bytes: 0,
            retransmissions: 0,
            missing: 0,
            delays: vec![0; STEPS],
            delay_max: Duration::ZERO,
        }
    }
}

impl Tally {
    pub(super) fn note_sent(&mut self, was_sent: bool) {
        match (self.phase, was_sent) {
            (Phase::Measured, true) => self.sent += 1,
            (Phase::Measured, false) => self.not_sent += 1,
            (Phase::Before | Phase::Over, _) => {}
        }
    }

    pub(super) fn note_missing(&mut self, missing: u64) {
        self.missing += missing;
    }

    pub(super) fn note_packet(&mut self, len: usize, delay: Duration, is_retransmission: bool) {
        self.packets += 1;
        self.bytes += len as u64;
        if is_retransmission {
            self.retransmissions += 1;
            self.missing = self.missing.saturating_sub(1);
        }
        if let Some(count) = self.delays.get_mut(step_of(delay)) {
            *count += 1;
        }
        self.delay_max = self.delay_max.max(delay);
    }

    pub(super) fn report(&self, arguments: &Arguments) -> Report {
        let cpu = |both: Option<(Used, Used)>| {
            both.map(|(before, after)| after.cpu.saturating_sub(before.cpu))
        };
        Report {
            server: match arguments.server {
                Server::Whip => "whip",
                Server::Janus => "janus",
            },
            rooms: arguments.rooms,
            publishers: arguments.rooms * arguments.publishers,
            viewers: arguments.rooms * arguments.viewers,
            took: self.took,
            packets: self.packets,
            bytes: self.bytes,
            sent: self.sent,
            not_sent: self.not_sent,
            missing: self.missing,
            retransmissions: self.retransmissions,
            connections_lost: self.connections_lost,
            delays: [0.5, 0.95, 0.99].map(|part| self.quantile(part)),
            delay_max: self.delay_max,
            server_cpu: cpu(self.server),
            own_cpu: cpu(self.own),
            server_memory: self.server.map(|(_, after)| after.memory),
        }
    }

    /// The delay that so large a part of the packets did not exceed.
    fn quantile(&self, part: f64) -> Duration {
        let wanted = (self.packets as f64 * part).ceil() as u64;
        let mut seen = 0;
        for (step, count) in self.delays.iter().enumerate() {
            seen += count;
            if seen >= wanted.max(1) {
                return limit_of(step).min(self.delay_max);
            }
        }
        self.delay_max
    }
}

fn step_of(delay: Duration) -> usize {
    let ratio = delay.as_secs_f64() / STEP_FIRST.as_secs_f64();
    let step = (ratio.max(1.0).log2() * 32.0).ceil() as usize;
    step.min(STEPS - 1)
}

fn limit_of(step: usize) -> Duration {
    STEP_FIRST.mul_f64((step as f64 / 32.0).exp2())
}

/// The result.
#[derive(Debug)]
pub(super) struct Report {
    server: &'static str,
    rooms: u32,
    publishers: u32,
    viewers: u32,
    took: Duration,
    pub(super) packets: u64,
    bytes: u64,
    sent: u64,
    not_sent: u64,
    missing: u64,
    retransmissions: u64,
    connections_lost: u64,
    delays: [Duration; 3],
    delay_max: Duration,
    server_cpu: Option<Duration>,
    own_cpu: Option<Duration>,
    server_memory: Option<u64>,
}

impl Report {
    fn per_second(&self) -> f64 {
        self.packets as f64 / self.took.as_secs_f64().max(f64::MIN_POSITIVE)
    }

    /// Packets that viewers got for each second of CPU that the server used.
    fn per_busy_core(&self) -> Option<f64> {
        let cpu = self.server_cpu.filter(|cpu| !cpu.is_zero())?;
        Some(self.packets as f64 / cpu.as_secs_f64())
    }

    fn loss(&self) -> f64 {
        self.missing as f64 / ((self.packets + self.missing) as f64).max(1.0)
    }

    pub(super) fn as_json(&self) -> Value {
        let millis = |delay: Duration| delay.as_secs_f64() * 1e3;
        let seconds = |cpu: Option<Duration>| cpu.map(|cpu| cpu.as_secs_f64());
        json!({
            "server": self.server,
            "rooms": self.rooms,
            "publishers": self.publishers,
            "viewers": self.viewers,
            "seconds": self.took.as_secs_f64(),
            "packets_published": self.sent,
            "packets_not_published": self.not_sent,
            "packets_received": self.packets,
            "bytes_received": self.bytes,
            "packets_received_per_second": self.per_second(),
            "packets_missing": self.missing,
            "packets_retransmitted": self.retransmissions,
            "connections_lost": self.connections_lost,
            "delay_ms": {
                "p50": millis(self.delays[0]),
                "p95": millis(self.delays[1]),
                "p99": millis(self.delays[2]),
                "max": millis(self.delay_max),
            },
            "server_cpu_seconds": seconds(self.server_cpu),
            "server_memory_bytes": self.server_memory,
            "packets_per_busy_core": self.per_busy_core(),
            "own_cpu_seconds": seconds(self.own_cpu),
        })
    }

    pub(super) fn as_text(&self) -> String {
        let took = self.took.as_secs_f64().max(f64::MIN_POSITIVE);
        let [p50, p95, p99] = self.delays.map(|delay| delay.as_secs_f64() * 1e3);
        let mut lines = vec![
            format!(
                "{} rooms, {} publishers, {} viewers, {:.1} s",
                self.rooms, self.publishers, self.viewers, took
            ),
            format!(
                "received     {:.0} packets/s, {:.1} Mbit/s; {:.3} % missing, {} retransmitted, {} connections lost",
                self.per_second(),
                self.bytes as f64 * 8.0 / took / 1e6,
                self.loss() * 100.0,
                self.retransmissions,
                self.connections_lost,
            ),
            format!(
                "delay        p50 {p50:.2} ms, p95 {p95:.2} ms, p99 {p99:.2} ms, max {:.2} ms",
                self.delay_max.as_secs_f64() * 1e3
            ),
        ];
        if let Some(cpu) = self.server_cpu {
            let cores = cpu.as_secs_f64() / took;
            let rate = self.per_busy_core().unwrap_or_default();
            let memory = self.server_memory.unwrap_or_default() as f64 / 1e6;
            lines.push(format!(
                "the server   {:.0} % of a core, {rate:.0} packets per busy core and second, {memory:.0} MB",
                cores * 100.0
            ));
        }
        if let Some(cpu) = self.own_cpu {
            let part = cpu.as_secs_f64() / took * 100.0;
            lines.push(format!("this process {part:.0} % of a core"));
        }
        lines.join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_within_a_32nd() {
        let mut tally = Tally::default();
        for micros in 1..=1_000u64 {
            tally.note_packet(100, Duration::from_micros(micros * 10), false);
        }
        for (part, truth) in [(0.5, 5_000.0), (0.95, 9_500.0), (0.99, 9_900.0)] {
            let found = tally.quantile(part).as_secs_f64() * 1e6;
            let off = found / truth;
            assert!(
                (0.999..=1.025).contains(&off),
                "{part}: {found} for {truth}"
            );
        }
        assert_eq!(tally.quantile(1.0), Duration::from_millis(10));
    }

    #[test]
    fn a_retransmission_fills_its_gap() {
        let mut tally = Tally::default();
        tally.note_missing(2);
        tally.note_packet(100, Duration::ZERO, true);
        assert_eq!(tally.missing, 1);
    }
}
