//! The parts together.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use twocan_wire::rtcp::TransportFeedback;
use twocan_wire::units::Bitrate;

use super::acknowledged::AcknowledgedRate;
use super::aimd::Aimd;
use super::alr::ApplicationLimited;
use super::arrival::InterArrival;
use super::burst::Bursts;
use super::decision::{Bound, Decision, Decisions};
use super::loss::{Known, LossBased, LossState};
use super::marks::Marks;
use super::pacer::{BURST_EVEN, Pacer, Turn, Waiting};
use super::probe::{Cause, Probe, ProbeControl, ProbeEstimate, Situation};
use super::sent::{PacketKey, PacketResult, RemoteTime, SentPackets, shortest_round_trip};
use super::trendline::{Trendline, Usage};
use super::{Config, Marking};
use crate::counters::Counters;
use crate::time::Deadline;

/// Media goes at this multiple of the target, so that a frame does not take its whole interval.
const PACING: f64 = 2.5;

/// Under L4S, where a frame that goes at once would be marked for the queue that it makes.
const PACING_EVEN: f64 = 1.1;

/// Probes go up to this rate where the application states no maximum, in bit/s.
const PROBE_MAX: f64 = 5e6;

/// The estimate never exceeds this, in bit/s.
const RATE_MAX: f64 = 1e9;

/// Without feedback for so long, what is known of the delay is void.
const SILENCE_MAX: Duration = Duration::from_secs(2);

/// A round trip, or a wait for feedback while sending, beyond which the target falls, by this
/// factor every interval.
const RTT_MAX: Duration = Duration::from_secs(3);
const RTT_BACKOFF: f64 = 0.8;
const RTT_BACKOFF_INTERVAL: Duration = Duration::from_secs(1);

/// The round-trip time taken for granted until one is measured.
pub(super) const RTT_DEFAULT: Duration = Duration::from_millis(200);

/// A probe is not believed to be below this part of what arrives.
const PROBE_FLOOR: f64 = 0.85;

/// Between two looks at the clock while something is being sent.
const PROCESS_INTERVAL: Duration = Duration::from_millis(100);

/// How long the rate may rise to what a probe found: until the next one, for who waits for it.
const PROBED_HOLDS: Duration = Duration::from_secs(5);

/// A target is told at once when it changes by this part, else after this time.
const TELL_CHANGE: f64 = 0.05;
const TELL_INTERVAL: Duration = Duration::from_millis(100);

/// Congestion control of one transport.
#[derive(Debug)]
pub struct CongestionControl {
    start: Bitrate,
    min: f64,
    max: Option<f64>,
    has_feedback: bool,
    pub(super) sent: SentPackets,
    pacer: Pacer,
    /// Media goes at this multiple of the target.
    pacing: f64,
    burst: Duration,
    arrivals: InterArrival,
    pub(super) trendline: Trendline,
    pub(super) acknowledged: AcknowledgedRate,
    pub(super) aimd: Aimd,
    loss: LossBased,
    pub(super) marking: Marking,
    pub(super) marks: Option<Marks>,
    limited: ApplicationLimited,
    was_limited: bool,
    /// How many streams rest for lack of rate, and since when any does.
    resting: usize,
    resting_since: Option<Instant>,
    /// What the newest probe found, and when.
    probed: Option<(f64, Instant)>,
    probes: ProbeControl,
    probe_estimate: ProbeEstimate,
    bursts: Bursts,
    remb: Option<f64>,
    pub(super) rtt: Option<Duration>,
    last_sent: Option<Instant>,
    last_feedback: Option<Instant>,
    /// The target while feedback stays away, and since when.
    backoff: Option<(f64, Instant)>,
    pub(super) target: f64,
    /// The target last told, and when.
    told: Option<(f64, Instant)>,
    news: bool,
    process_at: Option<Instant>,
    pub(super) decisions: Decisions,
    pub(super) counters: Counters,
}

impl CongestionControl {
    /// Without feedback as yet.
    pub fn new(config: &Config) -> Self {
        let bps = |rate: Bitrate| rate.as_bps() as f64;
        let min = bps(config.min);
        let max = config.max.map(|max| bps(max).max(min));
        let start = bps(config.start).clamp(min, max.unwrap_or(RATE_MAX).max(min));
        let mut limited = ApplicationLimited::default();
        limited.set_estimate(start);
        Self {
            start: config.start,
            min,
            max,
            has_feedback: false,
            sent: SentPackets::default(),
            pacer: Pacer::new(config.burst),
            pacing: PACING,
            burst: config.burst,
            arrivals: InterArrival::default(),
            trendline: Trendline::default(),
            acknowledged: AcknowledgedRate::default(),
            aimd: Aimd::new(start, min),
            loss: LossBased::default(),
            marking: config.marking,
            marks: (config.marking == Marking::L4s).then(Marks::default),
            limited,
            was_limited: false,
            resting: 0,
            resting_since: None,
            probed: None,
            probes: ProbeControl::new(start),
            probe_estimate: ProbeEstimate::default(),
            bursts: Bursts::default(),
            remb: None,
            rtt: None,
            last_sent: None,
            last_feedback: None,
            backoff: None,
            target: start,
            told: None,
            news: false,
            process_at: None,
            decisions: Decisions::default(),
            counters: Counters::default(),
        }
    }

    /// Says whether the peer reports arrivals; only then are packets paced.
    pub fn set_feedback(&mut self, has_feedback: bool) {
        if self.has_feedback != has_feedback {
            self.has_feedback = has_feedback;
            self.pacer
                .set_rate(has_feedback.then_some(self.pacing * self.target));
        }
    }

    /// Replaces the bounds of the target; see [`Config`].
    pub fn set_bounds(&mut self, now: Instant, min: Bitrate, max: Option<Bitrate>) {
        self.min = min.as_bps() as f64;
        self.max = max.map(|max| (max.as_bps() as f64).max(self.min));
        self.aimd.set_min(self.min);
        self.update_target(now);
    }

    /// Says whether what goes out is marked for L4S: then it goes evenly.
    pub fn set_even(&mut self, is_even: bool) {
        self.pacing = if is_even { PACING_EVEN } else { PACING };
        let burst = if is_even { BURST_EVEN } else { self.burst };
        self.pacer.set_burst(burst);
    }

    /// Packets take another path from here on: nothing is known of it, everything begins anew.
    /// Reports on what is on its way count no more.
    pub fn handle_route_change(&mut self, now: Instant) {
        let config = Config {
            start: self.start,
            min: Bitrate::bps(self.min as u64),
            max: self.max.map(|max| Bitrate::bps(max as u64)),
            marking: self.marking,
            burst: self.burst,
        };
        let mut fresh = Self::new(&config);
        fresh.sent = std::mem::take(&mut self.sent);
        fresh.sent.settle_all();
        fresh.counters = std::mem::take(&mut self.counters);
        fresh.decisions = std::mem::take(&mut self.decisions);
        fresh.decisions.note(now, || Decision::Route);
        fresh.resting = self.resting;
        fresh.resting_since = self.resting_since;
        fresh.told = self.told;
        fresh.news = true;
        fresh.set_even(self.pacing == PACING_EVEN);
        fresh.set_feedback(self.has_feedback);
        *self = fresh;
        self.update_target(now);
    }

    /// The rate at which to send, all headers above UDP included. Without feedback it is the
    /// receiver's estimate, and `None` where there is none.
    pub fn target(&self) -> Option<Bitrate> {
        let known = self.has_feedback || self.remb.is_some();
        known.then_some(Bitrate::bps(self.target as u64))
    }

    /// Who may send a packet now.
    pub fn turn(&mut self, now: Instant, waiting: &Waiting) -> Turn {
        self.pacer.turn(now, waiting)
    }

    /// A packet of `len` bytes went, after which `waiting` is left. `key` is how reports name it;
    /// `None` if they do not, or if it is the same packet once more.
    pub fn handle_sent(
        &mut self,
        now: Instant,
        turn: Turn,
        key: Option<PacketKey>,
        len: usize,
        waiting: &Waiting,
    ) {
        let probe = self.pacer.handle_sent(now, turn, len, waiting);
        if !self.has_feedback {
            return;
        }
        if let Some(key) = key {
            self.sent.insert(now, key, len, probe);
        }
        if self.last_sent.is_none() {
            // Waiting for feedback begins with the first packet.
            self.last_feedback = Some(now);
        }
        self.last_sent = Some(now);
        self.limited.handle_sent(now, len);
        self.note_limited(now);
        if turn != Turn::Audio && self.probes.has_not_begun() {
            let situation = self.situation(now);
            let probes = self.probes.start(&situation);
            self.send_probes(now, probes);
        }
        self.process_at.get_or_insert(now + PROCESS_INTERVAL);
    }

    /// Transport-wide feedback came.
    pub fn handle_transport_feedback(&mut self, now: Instant, feedback: &TransportFeedback) {
        let report = self.sent.arrivals(feedback);
        self.handle_report(now, report, &BTreeSet::new());
    }

    /// Packets by name, each with its arrival, or `None` for missing ones, and the numbers of those
    /// whose marks count as loss. Answers how many of them are news and arrived.
    pub(super) fn handle_report(
        &mut self,
        now: Instant,
        report: impl Iterator<Item = (PacketKey, Option<RemoteTime>)>,
        marked: &BTreeSet<u64>,
    ) -> u64 {
        let (mut results, unknown) = self.sent.resolve(report);
        for result in &mut results {
            result.marked = marked.contains(&result.number);
        }
        if unknown > 0 {
            self.counters.add("congestion.unknown_packet", unknown);
        }
        if results.is_empty() {
            return 0;
        }
        self.bridge(&results);
        self.decisions.note(now, || Decision::Feedback {
            packets: results.len(),
            missing: results
                .iter()
                .filter(|own| own.received_at.is_none())
                .count(),
        });
        self.handle_results(now, &results);
        let arrived = results.iter().filter(|own| own.received_at.is_some());
        arrived.count() as u64
    }

    /// Packets whose report was lost are taken to have arrived evenly since those before them:
    /// else what arrives would seem to be less than it is, and the target would follow.
    fn bridge(&mut self, results: &[PacketResult]) {
        let numbers = || results.iter().map(|result| result.number);
        let arrivals = results.iter().filter_map(|result| result.received_at);
        let (Some(first), Some(newest)) = (numbers().min(), numbers().max()) else {
            return;
        };
        let unreported = self.sent.take_unreported(first, newest);
        let (Some(arrival), false) = (arrivals.min(), unreported.is_empty()) else {
            return;
        };
        self.counters
            .add("congestion.report_lost", unreported.len() as u64);
        let limited = self.limited.since().is_some();
        self.acknowledged.bridge(arrival, &unreported, limited);
    }

    fn handle_results(&mut self, now: Instant, results: &[PacketResult]) {
        let mut arrived: Vec<(RemoteTime, PacketResult)> = results
            .iter()
            .filter_map(|result| Some((result.received_at?, *result)))
            .collect();
        arrived.sort_by_key(|(received_at, result)| (*received_at, result.number));
        self.handle_arrived(now, &arrived);
        let known = Known {
            delay_based: self.aimd.rate(),
            acknowledged: self.acknowledged.rate(),
            limited: self.limited.since().is_some(),
            probed: self.probed_lately(now),
            min: self.min,
            max: self.max.unwrap_or(RATE_MAX),
        };
        if self.loss.update(results, &known) {
            self.decisions.note(now, || Decision::Loss {
                share: self.loss.average_loss(),
                rate: self.loss.rate().unwrap_or(known.delay_based),
                limits: self.loss.state() != LossState::Unlimited,
            });
        }
        self.update_target(now);
    }

    /// The receiver's estimate came (REMB): the target does not exceed it.
    pub fn handle_receiver_estimate(&mut self, now: Instant, estimate: Bitrate) {
        let rate = (estimate.as_bps() as f64).min(RATE_MAX);
        if self.remb != Some(rate) {
            self.decisions.note(now, || Decision::Receiver { rate });
            self.remb = Some(rate);
            self.update_target(now);
        }
    }

    /// Lets time pass.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.process_at.is_none_or(|at| at > now) {
            return;
        }
        // The next packet sets it again.
        self.process_at = None;
        self.back_off(now);
        let situation = self.situation(now);
        let probes = self.probes.handle_timeout(&situation);
        self.send_probes(now, probes);
        self.update_target(now);
    }

    /// When to call [`Self::handle_timeout`] or [`Self::turn`] again.
    pub fn poll_timeout(&self, waiting: &Waiting) -> Option<Deadline> {
        let deadline = |at: Option<Instant>, reason| at.map(|at| Deadline::new(at, reason));
        let pacer = deadline(self.pacer.poll_timeout(waiting), "pacer");
        Deadline::earlier(pacer, deadline(self.process_at, "congestion control"))
    }

    /// A target that was not told yet: on changes of 5 %, smaller ones after 100 ms.
    pub fn poll_target(&mut self, now: Instant) -> Option<Bitrate> {
        if !self.news {
            return None;
        }
        let target = self.target()?;
        if let Some((told, at)) = self.told {
            let change = (self.target - told).abs();
            let waited = now.saturating_duration_since(at);
            if change < TELL_CHANGE * told && waited < TELL_INTERVAL {
                return None;
            }
        }
        self.news = false;
        self.told = Some((self.target, now));
        Some(target)
    }

    fn handle_arrived(&mut self, now: Instant, arrived: &[(RemoteTime, PacketResult)]) {
        let Some((newest, _)) = arrived.last() else {
            return;
        };
        let silent = self
            .last_feedback
            .is_some_and(|last| now.saturating_duration_since(last) > SILENCE_MAX);
        if silent {
            self.arrivals = InterArrival::default();
            self.trendline = Trendline::default();
        }
        self.last_feedback = Some(now);
        self.backoff = None;
        self.measure_rtt(now, *newest, arrived);
        let limited = self.limited.since().is_some();
        let mut probed = None;
        let mut recovered = false;
        let before = self.trendline.usage();
        for (received_at, packet) in arrived {
            self.acknowledged
                .push(*received_at, packet.sent_at, packet.len, limited);
            probed = self.probe_estimate.push(packet).or(probed);
            let usage = self.trendline.usage();
            if let Some(delta) = self.arrivals.push(now, packet.sent_at, *received_at) {
                self.trendline.push(delta);
                let after = self.trendline.usage();
                recovered |= usage == Usage::Under && after == Usage::Normal;
            }
        }
        if let Some(rate) = probed {
            self.probed = Some((rate, now));
        }
        self.follow_delay(now, probed);
        if before != self.trendline.usage() {
            self.decisions.note(now, || Decision::Delay {
                usage: self.trendline.usage(),
                rate: self.aimd.rate(),
            });
        }
        if recovered && self.trendline.usage() != Usage::Over {
            let situation = self.situation(now);
            let probes = self.probes.handle_recovery(&situation);
            self.send_probes(now, probes);
        }
    }

    /// Moves the delay-based rate.
    fn follow_delay(&mut self, now: Instant, probed: Option<f64>) {
        let usage = self.trendline.usage();
        let rtt = self.rtt.unwrap_or(RTT_DEFAULT);
        let acknowledged = self.acknowledged.rate();
        let rate = self.aimd.rate();
        if usage == Usage::Over {
            let full = self.acknowledged.full_rate();
            let burst = self.acknowledged.slowed_burst();
            if self.bursts.is_alone(now, burst, self.target, rate) {
                return;
            }
            let arrives = acknowledged.map(|mean| full.map_or(mean, |full| full.min(mean)));
            match arrives {
                Some(arrives) if self.aimd.may_decrease(now, rtt, arrives) => {
                    self.aimd.update(now, usage, Some(arrives), rtt);
                }
                // Too early to know what arrives; only the wait counts.
                None if self.aimd.may_decrease(now, rtt, rate) => {
                    self.aimd.set_rate(now, rate / 2.0);
                }
                Some(_) | None => {}
            }
            return;
        }
        match probed {
            Some(probed) => {
                let floor = acknowledged.map_or(0.0, |arrives| PROBE_FLOOR * arrives);
                let found = probed.max(floor.min(rate));
                self.decisions
                    .note(now, || Decision::Probed { rate: found });
                self.aimd.set_rate(now, found);
            }
            None => {
                self.aimd.update(now, usage, acknowledged, rtt);
            }
        }
    }

    fn measure_rtt(
        &mut self,
        now: Instant,
        newest: RemoteTime,
        arrived: &[(RemoteTime, PacketResult)],
    ) {
        if let Some(shortest) = shortest_round_trip(now, newest, arrived) {
            let rtt = self.rtt.map_or(shortest, |rtt| (rtt * 7 + shortest) / 8);
            self.rtt = Some(rtt);
        }
    }

    /// Lowers the target while feedback stays away, or is too slow to be of use.
    fn back_off(&mut self, now: Instant) {
        let (Some(sent), Some(heard)) = (self.last_sent, self.last_feedback) else {
            return;
        };
        let waits = sent.saturating_duration_since(heard);
        if self.rtt.unwrap_or_default() + waits <= RTT_MAX {
            return;
        }
        let again = self
            .backoff
            .is_none_or(|(_, at)| now.saturating_duration_since(at) >= RTT_BACKOFF_INTERVAL);
        if again {
            let rate = (RTT_BACKOFF * self.target).max(self.min);
            self.decisions.note(now, || Decision::Silence { rate });
            self.backoff = Some((rate, now));
        }
    }

    fn note_limited(&mut self, now: Instant) {
        let limited = self.limited.since().is_some();
        if limited == self.was_limited {
            return;
        }
        self.was_limited = limited;
        self.decisions.note(now, || Decision::Limited(limited));
        if !limited {
            self.acknowledged.expect_change();
            self.probes.note_limited_until(now);
        }
    }

    /// What the newest probe found, while something rests that waits for it.
    fn probed_lately(&self, now: Instant) -> Option<f64> {
        let is_new = |at| now.saturating_duration_since(at) < PROBED_HOLDS;
        let probed = self.probed.filter(|(_, at)| is_new(*at))?;
        self.resting_since.map(|_| probed.0)
    }

    /// Says how many streams rest that would be sent if there were more. What is sent then need not
    /// be far below the estimate, which follows it and so does not rise: it is probed for, as for an
    /// application that limits the rate. A stream that goes on changes what arrives at once.
    pub fn set_resting(&mut self, now: Instant, streams: usize) {
        if streams < self.resting {
            self.acknowledged.expect_change();
            self.probes.note_limited_until(now);
        }
        self.resting = streams;
        match streams {
            0 => self.resting_since = None,
            _ => _ = self.resting_since.get_or_insert(now),
        }
    }

    fn situation(&self, now: Instant) -> Situation {
        let slow = self.backoff.is_some();
        let cause = match (self.trendline.usage(), self.loss.state()) {
            _ if slow => Cause::Congested,
            (Usage::Over, _) | (_, LossState::Decreasing) => Cause::Congested,
            (_, LossState::Increasing) => Cause::Recovering,
            (Usage::Normal | Usage::Under, LossState::Unlimited) => Cause::Open,
        };
        Situation {
            now,
            max: self.max.unwrap_or(PROBE_MAX),
            cause,
            limited_since: self.limited.since().or(self.resting_since),
            growing_since: self.aimd.growing_since(),
        }
    }

    fn send_probes(&mut self, now: Instant, probes: Vec<Probe>) {
        for probe in probes {
            self.decisions.note(now, || Decision::Probe {
                id: probe.info.id,
                rate: probe.rate,
            });
            self.pacer.add_probe(probe);
        }
    }

    /// The least of what all allow, but not below the minimum.
    fn bounded(&self) -> (f64, Bound) {
        let delay_based = match self.has_feedback {
            true => self.aimd.rate(),
            false => RATE_MAX,
        };
        let bounds = [
            (self.loss.rate(), Bound::Loss),
            (self.backoff.map(|(rate, _)| rate), Bound::Silence),
            (self.remb, Bound::Receiver),
            (self.max, Bound::Maximum),
        ];
        let mut least = (delay_based, Bound::Delay);
        for (rate, bound) in bounds {
            if let Some(rate) = rate.filter(|rate| *rate < least.0) {
                least = (rate, bound);
            }
        }
        match least {
            (rate, _) if rate < self.min => (self.min, Bound::Minimum),
            least => least,
        }
    }

    pub(super) fn update_target(&mut self, now: Instant) {
        let (target, bound) = self.bounded();
        if target == self.target {
            return;
        }
        self.target = target;
        self.news = true;
        self.decisions.note(now, || Decision::Target {
            rate: target,
            bound,
            acknowledged: self.acknowledged.rate(),
            delay_based: self.aimd.rate(),
            loss_based: self.loss.rate(),
        });
        self.limited.set_estimate(target);
        if self.has_feedback {
            self.pacer.set_rate(Some(self.pacing * target));
            let situation = self.situation(now);
            let probes = self.probes.set_estimate(&situation, target);
            self.send_probes(now, probes);
        }
    }
}
