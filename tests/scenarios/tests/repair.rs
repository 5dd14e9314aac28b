//! Lost packets come back in time: pictures by retransmission and FEC, sound by redundancy.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that cannot go on fails; figures are there to be read"
)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use twocan_proto::negotiate::{Kind, TransceiverId};
use twocan_proto::peer::{Config, Event};
use twocan_proto::rtp::{Event as RtpEvent, InboundStats, OutboundStats, OutgoingFrame};
use twocan_scenarios::{Call, Setting, seeds};
use twocan_sim::{LinkConfig, Loss};
use twocan_wire::sdp::Direction;

/// Half a virtual minute takes about a second.
const SEEDS: usize = 8;

const PICTURE: Duration = Duration::from_micros(33_333);
const SOUND: Duration = Duration::from_millis(20);

/// Beyond the way there: how late a picture may come to be shown in a conversation.
const IN_TIME: Duration = Duration::from_millis(200);

/// No more than this, whatever the path carries: the rate of a small picture.
const RATE_MAX: f64 = 1e6;

/// How long it takes until the loss is known, and what is measured then.
const BEFORE: Duration = Duration::from_secs(5);
const MEASURED: Duration = Duration::from_secs(25);

/// `TWOCAN_SEED` alone if set, else as many as `TWOCAN_REPAIR_SEEDS` says (default 8).
fn few_seeds() -> Vec<u64> {
    if std::env::var_os("TWOCAN_SEED").is_some() {
        return seeds();
    }
    let wanted = std::env::var("TWOCAN_REPAIR_SEEDS").ok();
    let count = wanted.and_then(|text| text.parse().ok()).unwrap_or(SEEDS);
    (1..=count as u64).collect()
}

fn without_fec(config: &mut Config) {
    let names = ["red", "ulpfec", "flexfec-03"];
    let mut codecs = config.video_codecs.to_vec();
    codecs.retain(|codec| !names.contains(&codec.name.as_str()));
    config.video_codecs = codecs.into();
}

fn with_flexfec(config: &mut Config) {
    config.offer_flexfec = true;
}

fn with_red(config: &mut Config) {
    let red = config.audio_codecs.iter();
    let at = red.take_while(|codec| codec.name != "red").count();
    Arc::make_mut(&mut config.audio_codecs)[..=at].rotate_right(1);
}

/// What a call goes over.
#[derive(Debug, Clone, Copy)]
struct Path {
    rtt: Duration,
    /// Each way.
    loss: Loss,
}

impl Path {
    /// Each packet is lost with that chance.
    fn random(rtt_ms: u64, percent: u32) -> Self {
        Self {
            rtt: Duration::from_millis(rtt_ms),
            loss: Loss::Independent {
                per_mille: percent * 10,
            },
        }
    }
}

/// What became of the pictures and sounds of one call.
struct Outcome {
    pictures: usize,
    in_time: usize,
    sounds: usize,
    sounds_heard: usize,
    key_frames: usize,
    /// So many checks were lost in a row that sending had to end.
    consent_expired: bool,
    sent: Vec<OutboundStats>,
    got: Vec<InboundStats>,
}

/// A call over a path.
fn call(seed: u64, path: Path, adjust: fn(&mut Config)) -> Outcome {
    let rtt = path.rtt;
    let mut run = Run::start(seed, rtt, adjust);
    for site in run.call.sites {
        run.call.world.site(site).uplink.config.loss = path.loss;
    }
    run.go(BEFORE);
    let from = run.call.world.elapsed();
    run.go(MEASURED);
    let to = run.call.world.elapsed();
    // What is still on its way may arrive.
    run.quiet = true;
    run.go(Duration::from_secs(1));
    let limit = rtt / 2 + IN_TIME;
    let captured = run.captured.range(from..to);
    let late = |at: &Duration| run.shown.get(at).is_none_or(|shown| *shown > *at + limit);
    let pictures = captured.clone().count();
    let late = captured.filter(|(at, ())| late(at)).count();
    let said = run.said.range(from..to);
    Outcome {
        pictures,
        in_time: pictures - late,
        sounds: said.clone().count(),
        sounds_heard: said.filter(|(at, ())| run.heard.contains_key(at)).count(),
        key_frames: run.key_frames,
        consent_expired: (0..2)
            .any(|side| run.call.peer(side).counters().get("ice.consent_expired") > 0),
        sent: run.call.peer(0).outbound_stats(),
        got: run.call.peer(1).inbound_stats(),
    }
}

/// A sender that keeps to its target, and what its receiver hands out, all by times of capture.
struct Run {
    call: Call,
    audio: TransceiverId,
    video: TransceiverId,
    next_picture: Duration,
    next_sound: Duration,
    number: u8,
    key_wanted: bool,
    key_frames: usize,
    quiet: bool,
    captured: BTreeMap<Duration, ()>,
    said: BTreeMap<Duration, ()>,
    shown: BTreeMap<Duration, Duration>,
    heard: BTreeMap<Duration, Duration>,
}

impl Run {
    /// A call over a path without loss.
    fn start(seed: u64, rtt: Duration, adjust: fn(&mut Config)) -> Self {
        let link = LinkConfig {
            delay: rtt / 4,
            ..LinkConfig::default()
        };
        let setting = Setting {
            link,
            adjust,
            ..Setting::default()
        };
        let mut call = Call::new(seed, &setting);
        let mut add = |kind| {
            let added = call.with(0, |peer, _| {
                peer.add_transceiver(kind, Direction::SendOnly, &["s"])
            });
            added.unwrap()
        };
        let (audio, video) = (add(Kind::Audio), add(Kind::Video));
        call.offer(0);
        let connected = call.run_until(Duration::from_secs(5), Call::is_connected);
        assert!(connected, "seed {seed}, {}", call.explain());
        call.run_for(Duration::from_millis(200));
        let now = call.world.elapsed();
        Self {
            call,
            audio,
            video,
            next_picture: now,
            next_sound: now,
            number: 0,
            key_wanted: true,
            key_frames: 0,
            quiet: false,
            captured: BTreeMap::new(),
            said: BTreeMap::new(),
            shown: BTreeMap::new(),
            heard: BTreeMap::new(),
        }
    }

    fn go(&mut self, time: Duration) {
        let end = self.call.world.elapsed() + time;
        while self.call.world.elapsed() < end {
            let now = self.call.world.elapsed();
            if now >= self.next_sound && !self.quiet {
                self.next_sound += SOUND;
                self.send(
                    self.audio,
                    "opus",
                    (now.as_micros() * 48 / 1000) as u32,
                    &[7; 80],
                );
                self.said.insert(now, ());
            }
            if now >= self.next_picture && !self.quiet {
                self.next_picture += PICTURE;
                self.send_picture(now);
            }
            let next = match self.quiet {
                true => end,
                false => self.next_sound.min(self.next_picture).min(end),
            };
            // Pictures are looked at as often as a screen would.
            let wait = next.saturating_sub(now).min(Duration::from_millis(4));
            self.call.run_for(wait);
            self.receive();
        }
    }

    fn send_picture(&mut self, now: Duration) {
        let target = self.call.peer(0).target_bitrate(self.video).unwrap();
        let rate = (target.as_bps() as f64).min(RATE_MAX);
        let mean = rate / 8.0 * PICTURE.as_secs_f64();
        let key = std::mem::take(&mut self.key_wanted);
        self.key_frames += usize::from(key);
        let len = mean * if key { 3.0 } else { 1.0 };
        // The head of a VP8 picture (RFC 6386 §9.1).
        let mut frame = match key {
            true => vec![0x10, 0, 0, 0x9d, 0x01, 0x2a, 64, 0, 64, 0],
            false => vec![0x11, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        };
        self.number = self.number.wrapping_add(1);
        frame.resize((len as usize).max(100), self.number);
        self.send(
            self.video,
            "VP8",
            (now.as_micros() * 90 / 1000) as u32,
            &frame,
        );
        self.captured.insert(now, ());
    }

    fn send(&mut self, transceiver: TransceiverId, codec: &str, timestamp: u32, data: &[u8]) {
        self.call.with(0, |peer, now| {
            let codec = peer.negotiated(transceiver).unwrap().codec(codec);
            let frame = OutgoingFrame {
                payload_type: codec.unwrap().payload_type_send,
                timestamp,
                marker: false,
                data,
                rid: None,
                layer: None,
                resolution: None,
                audio_level: None,
            };
            peer.send_frame(now, transceiver, &frame).unwrap();
        });
    }

    fn receive(&mut self) {
        let wanted = self.call.events[0]
            .drain(..)
            .any(|event| matches!(event, Event::Rtp(RtpEvent::KeyFrameRequested { .. })));
        self.key_wanted |= wanted;
        let now = self.call.world.elapsed();
        for event in self.call.events[1].drain(..) {
            let Event::Rtp(RtpEvent::Frame(frame)) = event else {
                continue;
            };
            let is_sound = frame.data.len() == 80;
            let (sent, seen, rate) = match is_sound {
                true => (&self.said, &mut self.heard, 48),
                false => (&self.captured, &mut self.shown, 90),
            };
            let ticks = |at: &Duration| (at.as_micros() * rate / 1000) as u32;
            let found = sent.keys().rev().find(|at| ticks(at) == frame.timestamp);
            let before = seen.insert(*found.unwrap(), now);
            assert_eq!(before, None, "handed out twice");
        }
    }
}

/// Runs all seeds, prints a line; answers the mean part of pictures in time.
fn pictures(name: &str, path: Path, adjust: fn(&mut Config)) -> f64 {
    let mut parts = Vec::new();
    let (mut keys, mut fec, mut again, mut all, mut recovered, mut ended) = (0, 0, 0, 0, 0, 0);
    for seed in few_seeds() {
        let outcome = call(seed, path, adjust);
        if outcome.consent_expired {
            ended += 1;
            continue;
        }
        parts.push(outcome.in_time as f64 / outcome.pictures as f64);
        keys += outcome.key_frames - 1;
        for stats in outcome
            .sent
            .iter()
            .filter(|own| own.fec_packets_sent > 0 || own.retransmitted_packets_sent > 0)
        {
            fec += stats.fec_bytes_sent;
            again += stats.retransmitted_bytes_sent;
            all += stats.bytes_sent;
        }
        recovered += outcome
            .got
            .iter()
            .map(|own| own.packets_recovered)
            .sum::<u64>();
    }
    let mean = parts.iter().sum::<f64>() / parts.len() as f64;
    let worst = parts.iter().copied().fold(1.0, f64::min);
    println!(
        "{name}, {path:?}, {} seeds: {:.2} % of pictures in time (worst {:.2} %), {keys} more key \
         frames, {:.0} kbit/s of which {:.1} % FEC and {:.1} % sent again, {recovered} packets recovered, {ended} calls \
         ended by loss of consent",
        parts.len(),
        mean * 100.0,
        worst * 100.0,
        all as f64 * 8.0 / 1000.0 / (BEFORE + MEASURED).as_secs_f64() / parts.len() as f64,
        fec as f64 * 100.0 / all as f64,
        again as f64 * 100.0 / all as f64,
    );
    mean
}

#[test]
fn at_a_tenth_lost_995_of_1000_pictures_are_there_in_time() {
    let path = Path::random(50, 10);
    let flexfec = pictures("FlexFEC and RTX", path, with_flexfec);
    let ulpfec = pictures("ULPFEC and RTX", path, |_| {});
    let alone = pictures("RTX alone", path, without_fec);
    assert!(flexfec >= 0.995, "{flexfec}");
    assert!(ulpfec >= 0.995, "{ulpfec}");
    assert!(flexfec > alone, "{flexfec} {alone}");
}

#[test]
fn at_a_fifth_lost_fec_is_better_than_retransmission_alone() {
    let path = Path::random(50, 20);
    let flexfec = pictures("FlexFEC and RTX", path, with_flexfec);
    let ulpfec = pictures("ULPFEC and RTX", path, |_| {});
    let alone = pictures("RTX alone", path, without_fec);
    assert!(flexfec.min(ulpfec) > alone, "{flexfec} {ulpfec} {alone}");
}

/// A retransmission takes longer than there is time.
#[test]
fn over_a_long_path_fec_does_what_retransmission_cannot() {
    let path = Path::random(300, 5);
    let flexfec = pictures("FlexFEC and RTX", path, with_flexfec);
    let alone = pictures("RTX alone", path, without_fec);
    assert!(flexfec > alone + 0.2, "{flexfec} {alone}");
}

/// Three packets at a time, as on a radio that fades: of little use, but of no harm.
#[test]
fn bursts_are_repaired_no_worse_than_by_retransmission_alone() {
    let path = Path {
        loss: Loss::Burst {
            enter_per_mille: 30,
            leave_per_mille: 330,
        },
        ..Path::random(50, 0)
    };
    let flexfec = pictures("FlexFEC and RTX", path, with_flexfec);
    let alone = pictures("RTX alone", path, without_fec);
    assert!(flexfec > alone - 0.005, "{flexfec} {alone}");
}

#[test]
fn sound_with_redundancy_survives_loss() {
    for (percent, most_lost) in [(10, 0.003), (20, 0.015)] {
        let mut parts = Vec::new();
        for adjust in [with_red as fn(&mut Config), |_| {}] {
            let (mut heard, mut said, mut repeated, mut all) = (0, 0, 0, 0);
            for seed in few_seeds() {
                let outcome = call(seed, Path::random(50, percent), adjust);
                heard += outcome.sounds_heard;
                said += outcome.sounds;
                let sound = outcome
                    .sent
                    .iter()
                    .find(|own| own.retransmitted_packets_sent == 0);
                repeated += sound.map_or(0, |own| own.fec_bytes_sent);
                all += sound.map_or(0, |own| own.bytes_sent);
            }
            let lost = 1.0 - heard as f64 / said as f64;
            println!(
                "sound, {percent} % loss: {:.2} % of {said} frames missing, {:.0} % of bytes repeated",
                lost * 100.0,
                repeated as f64 * 100.0 / all as f64,
            );
            parts.push(lost);
        }
        assert!(parts[0] <= most_lost, "{percent} %: {parts:?}");
        assert!(parts[1] > 0.05, "{percent} %: {parts:?}");
    }
}

/// Reports that nobody can send are not due: a driver would wake for them without end, which the
/// simulator does not let pass.
#[test]
fn when_consent_ends_nothing_is_due_that_cannot_go_out() {
    for seed in few_seeds() {
        let mut run = Run::start(seed, Duration::from_millis(50), |_| {});
        run.go(Duration::from_secs(3));
        run.quiet = true;
        for site in run.call.sites {
            run.call.world.site(site).uplink.blackout = true;
        }
        run.go(Duration::from_secs(45));
        for side in 0..2 {
            let expired = run.call.peer(side).counters().get("ice.consent_expired");
            assert!(expired > 0, "seed {seed}: {}", run.call.explain());
        }
    }
}
