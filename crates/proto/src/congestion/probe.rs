//! Probes: short bursts at a higher rate, which find capacity sooner than growth would
//! (draft-ietf-rmcat-gcc-02 leaves them out; libwebrtc has them).

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::arrival::ms_between;
use super::sent::{PacketResult, ProbeInfo, RemoteTime};

/// First probes, as factors of the start rate.
const FIRST: [f64; 2] = [3.0, 6.0];
/// The next one, as a factor of what was measured, if that was this part of what was probed.
const FURTHER: f64 = 2.0;
const FURTHER_FROM: f64 = 0.7;
const RESULT_WITHIN: Duration = Duration::from_secs(1);

/// While the application limits the rate.
const LIMITED_INTERVAL: Duration = Duration::from_secs(5);
const LIMITED: f64 = 2.0;
/// While the rate grows because nobody knows what the path carries: growth by a few percent a
/// second takes half a minute to what one probe finds.
const GROWING_INTERVAL: Duration = Duration::from_secs(2);
const GROWING: f64 = 2.0;
/// While the rate recovers from loss.
const RECOVERING_MAX: f64 = 1.5;

/// A drop below this part of the estimate is large. Once over-use has passed, a probe at this part
/// of the rate before tells whether the drop was real.
const DROP: f64 = 0.66;
const DROP_WITHIN: Duration = Duration::from_secs(5);
const AFTER_DROP: f64 = 0.85;
const AFTER_DROP_WORTH: f64 = 0.95;
const LIMITED_LATELY: Duration = Duration::from_secs(3);

/// Length of a probe.
const PACKETS_MIN: usize = 5;
const LASTS: f64 = 0.015;
/// Of one that nothing but growth asks for: with jitter a short one finds what is not there.
const GROWING_LASTS: f64 = 0.03;

/// Share of a probe that must have arrived.
const ARRIVED_MIN: f64 = 0.8;
/// A probe whose packets are further apart says nothing.
const INTERVAL_MAX_MS: f64 = 1000.0;
/// Nor does one that arrived so much faster than it was sent.
const RATIO_MAX: f64 = 2.0;
/// Below this ratio the link was full, and this part of what arrived is safe.
const RATIO_FULL: f64 = 0.9;
const SAFE: f64 = 0.95;
/// Probes whose packets are waited for.
const CLUSTERS_MAX: usize = 16;

/// A probe to be sent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Probe {
    /// In bit/s.
    pub(super) rate: f64,
    pub(super) info: ProbeInfo,
    pub(super) created_at: Instant,
}

/// What limits the estimate, as far as probing goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    /// Nothing that a probe would worsen.
    Open,
    /// Loss, but recovering.
    Recovering,
    /// Loss, growing queues, or a lost path.
    Congested,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum State {
    /// Nothing sent yet.
    New,
    /// A result above this rate leads to the next probe.
    Waiting(f64),
    Complete,
}

/// Decides when to probe.
#[derive(Debug)]
pub(super) struct ProbeControl {
    state: State,
    estimate: f64,
    probed_at: Option<Instant>,
    /// When the estimate dropped, and from where.
    drop: Option<(Instant, f64)>,
    recovered_at: Option<Instant>,
    limited_until: Option<Instant>,
    next_id: u64,
}

/// What a decision on probes depends on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Situation {
    pub(super) now: Instant,
    /// The highest rate worth probing, in bit/s.
    pub(super) max: f64,
    pub(super) cause: Cause,
    /// Since when the application limits the rate.
    pub(super) limited_since: Option<Instant>,
    /// Since when the rate grows without any sign of a limit.
    pub(super) growing_since: Option<Instant>,
}

impl ProbeControl {
    pub(super) fn new(estimate: f64) -> Self {
        Self {
            state: State::New,
            estimate,
            probed_at: None,
            drop: None,
            recovered_at: None,
            limited_until: None,
            next_id: 0,
        }
    }

    /// Whether [`Self::start`] may answer with any.
    pub(super) fn has_not_begun(&self) -> bool {
        self.state == State::New
    }

    /// The path is there: the first probes.
    pub(super) fn start(&mut self, situation: &Situation) -> Vec<Probe> {
        if self.state != State::New {
            return Vec::new();
        }
        let rates = FIRST.map(|factor| factor * self.estimate);
        self.probe(situation, &rates, true, LASTS)
    }

    /// The estimate in bit/s; may lead to a further probe.
    pub(super) fn set_estimate(&mut self, situation: &Situation, estimate: f64) -> Vec<Probe> {
        if estimate < DROP * self.estimate {
            self.drop = Some((situation.now, self.estimate));
        }
        self.estimate = estimate;
        match self.state {
            State::Waiting(least) if estimate > least => {
                self.probe(situation, &[FURTHER * estimate], true, LASTS)
            }
            State::New | State::Waiting(_) | State::Complete => Vec::new(),
        }
    }

    /// The application has ceased to limit the rate.
    pub(super) fn note_limited_until(&mut self, now: Instant) {
        self.limited_until = Some(now);
    }

    /// Over-use has passed.
    pub(super) fn handle_recovery(&mut self, situation: &Situation) -> Vec<Probe> {
        let now = situation.now;
        let within = |at: Option<Instant>, time| {
            at.is_some_and(|at| now.saturating_duration_since(at) < time)
        };
        let limited =
            situation.limited_since.is_some() || within(self.limited_until, LIMITED_LATELY);
        let Some((at, before)) = self.drop else {
            return Vec::new();
        };
        let rate = AFTER_DROP * before;
        let worth = AFTER_DROP_WORTH * rate > self.estimate;
        let again = within(self.recovered_at, LIMITED_INTERVAL);
        if self.state != State::Complete
            || !limited
            || !worth
            || again
            || !within(Some(at), DROP_WITHIN)
        {
            return Vec::new();
        }
        self.recovered_at = Some(now);
        self.probe(situation, &[rate], false, LASTS)
    }

    /// Lets time pass.
    pub(super) fn handle_timeout(&mut self, situation: &Situation) -> Vec<Probe> {
        let now = situation.now;
        let waited = |from: Option<Instant>, time| from.is_none_or(|from| now >= from + time);
        if matches!(self.state, State::Waiting(_)) && waited(self.probed_at, RESULT_WITHIN) {
            self.state = State::Complete;
        }
        let limited = situation
            .limited_since
            .is_some_and(|since| now >= since + LIMITED_INTERVAL);
        if self.state == State::Complete && limited && waited(self.probed_at, LIMITED_INTERVAL) {
            return self.probe(situation, &[LIMITED * self.estimate], true, LASTS);
        }
        let growing = situation
            .growing_since
            .is_some_and(|since| now >= since + GROWING_INTERVAL);
        let open = situation.cause == Cause::Open;
        if self.state == State::Complete
            && growing
            && open
            && waited(self.probed_at, GROWING_INTERVAL)
        {
            return self.probe(situation, &[GROWING * self.estimate], true, GROWING_LASTS);
        }
        Vec::new()
    }

    /// `lasts` is in seconds.
    fn probe(
        &mut self,
        situation: &Situation,
        rates: &[f64],
        further: bool,
        lasts: f64,
    ) -> Vec<Probe> {
        let max = match situation.cause {
            Cause::Congested => return Vec::new(),
            Cause::Recovering => situation.max.min(RECOVERING_MAX * self.estimate),
            Cause::Open => situation.max,
        };
        let mut further = further;
        let mut probes: Vec<Probe> = Vec::new();
        for rate in rates {
            further &= *rate < max;
            let rate = rate.min(max);
            // One that finds no more than is known would lower the estimate.
            let known = probes.last().map_or(self.estimate, |last| last.rate);
            if rate <= known {
                continue;
            }
            self.next_id += 1;
            probes.push(Probe {
                rate,
                info: ProbeInfo {
                    id: self.next_id,
                    packets_min: PACKETS_MIN,
                    len_min: (rate * lasts / 8.0) as usize,
                },
                created_at: situation.now,
            });
        }
        self.probed_at = Some(situation.now);
        self.state = match probes.last() {
            Some(last) if further => State::Waiting(FURTHER_FROM * last.rate),
            _ => State::Complete,
        };
        probes
    }
}

#[derive(Debug)]
struct Cluster {
    info: ProbeInfo,
    packets: usize,
    len: usize,
    sent: (Instant, Instant),
    received: (RemoteTime, RemoteTime),
    /// Lengths of the packet sent last and of the one received first: their own time on the wire
    /// is outside of the interval.
    last_sent_len: usize,
    first_received_len: usize,
}

/// Measures probes.
#[derive(Debug, Default)]
pub(super) struct ProbeEstimate {
    clusters: BTreeMap<u64, Cluster>,
}

impl ProbeEstimate {
    /// Takes the next packet by arrival; the rate in bit/s once its probe is complete enough.
    pub(super) fn push(&mut self, packet: &PacketResult) -> Option<f64> {
        let (info, received) = (packet.probe?, packet.received_at?);
        let cluster = self.clusters.entry(info.id).or_insert(Cluster {
            info,
            packets: 0,
            len: 0,
            sent: (packet.sent_at, packet.sent_at),
            received: (received, received),
            last_sent_len: packet.len,
            first_received_len: packet.len,
        });
        if packet.sent_at >= cluster.sent.1 {
            cluster.sent.1 = packet.sent_at;
            cluster.last_sent_len = packet.len;
        }
        cluster.sent.0 = cluster.sent.0.min(packet.sent_at);
        if received < cluster.received.0 {
            cluster.received.0 = received;
            cluster.first_received_len = packet.len;
        }
        cluster.received.1 = cluster.received.1.max(received);
        cluster.packets += 1;
        cluster.len += packet.len;
        let rate = cluster.rate();
        if self.clusters.len() > CLUSTERS_MAX {
            self.clusters.pop_first();
        }
        rate
    }
}

impl Cluster {
    fn rate(&self) -> Option<f64> {
        let enough = self.packets as f64 >= ARRIVED_MIN * self.info.packets_min as f64
            && self.len as f64 >= ARRIVED_MIN * self.info.len_min as f64;
        let sent_for = ms_between(self.sent.0, self.sent.1);
        let received_for = self.received.1.ms_since(self.received.0);
        let valid = |time: f64| time > 0.0 && time <= INTERVAL_MAX_MS;
        if !enough || !valid(sent_for) || !valid(received_for) {
            return None;
        }
        let rate = |less: usize, time: f64| (self.len - less) as f64 * 8000.0 / time;
        let sent = rate(self.last_sent_len, sent_for);
        let received = rate(self.first_received_len, received_for);
        if received > RATIO_MAX * sent {
            return None;
        }
        Some(match received < RATIO_FULL * sent {
            true => SAFE * received,
            false => sent.min(received),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::congestion::tests::instant;

    fn situation(now: Instant) -> Situation {
        Situation {
            now,
            max: 5e6,
            cause: Cause::Open,
            limited_since: None,
            growing_since: None,
        }
    }

    fn rates(probes: &[Probe]) -> Vec<f64> {
        probes.iter().map(|probe| probe.rate).collect()
    }

    #[test]
    fn probing_begins_at_three_and_six_times_and_doubles_while_it_pays() {
        let start = instant();
        let mut control = ProbeControl::new(3e5);
        assert_eq!(rates(&control.start(&situation(start))), [9e5, 1.8e6]);
        assert_eq!(control.start(&situation(start)), []);
        assert_eq!(control.set_estimate(&situation(start), 9e5), []);
        let further = control.set_estimate(&situation(start), 1.8e6);
        assert_eq!(rates(&further), [3.6e6]);
        // At the limit it is the last.
        let last = control.set_estimate(&situation(start), 3.6e6);
        assert_eq!(rates(&last), [5e6]);
        assert_eq!(control.set_estimate(&situation(start), 5e6), []);
    }

    #[test]
    fn growth_that_nothing_limits_is_probed_ahead_of_every_two_seconds() {
        let start = instant();
        let mut control = ProbeControl::new(3e5);
        control.start(&situation(start));
        let at = |seconds| start + Duration::from_secs(seconds);
        let growing = |now| Situation {
            growing_since: Some(at(3)),
            ..situation(now)
        };
        assert_eq!(control.handle_timeout(&growing(at(4))), []);
        let probes = control.handle_timeout(&growing(at(5)));
        assert_eq!(rates(&probes), [6e5]);
        assert_eq!(probes[0].info.len_min, 2250);
        assert_eq!(control.handle_timeout(&growing(at(6))), []);
        assert_eq!(rates(&control.handle_timeout(&growing(at(7)))), [6e5]);
        // No more than that is worth probing.
        let high = Situation {
            max: 2.5e5,
            ..growing(at(9))
        };
        assert_eq!(control.handle_timeout(&high), []);
        // Where loss is what limits, a probe tells nothing.
        let lossy = Situation {
            cause: Cause::Recovering,
            ..growing(at(11))
        };
        assert_eq!(control.handle_timeout(&lossy), []);
        assert_eq!(control.handle_timeout(&situation(at(11))), []);
    }

    #[test]
    fn a_limited_application_is_probed_for_every_five_seconds() {
        let start = instant();
        let mut control = ProbeControl::new(3e5);
        control.start(&situation(start));
        let mut probes = 0;
        for second in 1..=21 {
            let mut situation = situation(start + Duration::from_secs(second));
            situation.limited_since = Some(start);
            probes += control.handle_timeout(&situation).len();
        }
        assert_eq!(probes, 4);
        let mut congested = situation(start + Duration::from_secs(40));
        congested.limited_since = Some(start);
        congested.cause = Cause::Congested;
        assert_eq!(control.handle_timeout(&congested), []);
    }

    #[test]
    fn a_large_drop_is_tested_once_it_has_passed() {
        let start = instant();
        let mut control = ProbeControl::new(2e6);
        control.start(&situation(start));
        let mut after = situation(start + Duration::from_secs(2));
        control.handle_timeout(&after);
        control.set_estimate(&after, 5e5);
        assert_eq!(control.handle_recovery(&after), []);
        after.limited_since = Some(start);
        assert_eq!(rates(&control.handle_recovery(&after)), [1.7e6]);
        assert_eq!(control.handle_recovery(&after), []);
    }

    fn measured(sent_every_ms: u64, received_every_us: i64) -> Option<f64> {
        let start = instant();
        let mut estimate = ProbeEstimate::default();
        let mut measured = None;
        for index in 0..10u64 {
            let packet = PacketResult {
                number: index,
                sent_at: start + Duration::from_millis(sent_every_ms * index),
                received_at: Some(RemoteTime(received_every_us * index as i64)),
                len: 1000,
                reported_lost: false,
                marked: false,
                probe: Some(ProbeInfo {
                    id: 1,
                    packets_min: 10,
                    len_min: 10_000,
                }),
            };
            measured = estimate.push(&packet).or(measured);
        }
        measured
    }

    #[test]
    fn a_probe_tells_the_rate_or_the_capacity_or_nothing() {
        assert_eq!(measured(4, 4000), Some(2e6));
        assert_eq!(measured(4, 8000), Some(0.95e6));
        assert_eq!(measured(4, 1000), None);
        assert_eq!(measured(0, 1000), None);
    }
}
