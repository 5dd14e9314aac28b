//! Lost packets come back in time: pictures by retransmission and FEC, sound by redundancy.
#![expect(clippy::print_stdout, reason = "figures are there to be read")]

use std::sync::Arc;
use std::time::Duration;

use twocan_proto::peer::Config;
use twocan_proto::rtp::{InboundStats, OutboundStats};
use twocan_scenarios::media::{Plan, Scene};
use twocan_scenarios::seeds;
use twocan_sim::Loss;
use twocan_wire::units::Bitrate;

/// Half a virtual minute takes about a second.
const SEEDS: usize = 8;

/// Beyond the way there: how late a picture may come to be shown in a conversation.
const IN_TIME: Duration = Duration::from_millis(200);

/// No more than this, whatever the path carries: the rate of a small picture.
const RATE_MAX: Bitrate = Bitrate::kbps(1000);

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
    key_frames: u64,
    /// So many checks were lost in a row that sending had to end.
    consent_expired: bool,
    sent: Vec<OutboundStats>,
    got: Vec<InboundStats>,
}

/// A connected call over a path that loses nothing yet.
fn scene(seed: u64, rtt: Duration, adjust: fn(&mut Config)) -> Scene {
    Scene::new(&Plan {
        rate_max: Some(RATE_MAX),
        adjust,
        ..Plan::new("repair", seed, rtt)
    })
}

/// A call over a path.
fn call(seed: u64, path: Path, adjust: fn(&mut Config)) -> Outcome {
    let rtt = path.rtt;
    let mut scene = scene(seed, rtt, adjust);
    scene.link().config.loss = path.loss;
    scene.back().config.loss = path.loss;
    scene.run(BEFORE);
    let from = scene.call.world.elapsed();
    scene.run(MEASURED);
    let to = scene.call.world.elapsed();
    // What is still on its way may arrive.
    scene.quiet = true;
    scene.run(Duration::from_secs(1));
    let flow = &scene.flows[0];
    let (pictures, in_time) = flow.pictures(from, to, rtt / 2 + IN_TIME);
    let (sounds, sounds_heard) = flow.sounds(from, to);
    let peer = |side| scene.call.peer(side);
    Outcome {
        pictures,
        in_time,
        sounds,
        sounds_heard,
        key_frames: flow.encoder.key_frames,
        consent_expired: (0..2).any(|side| peer(side).counters().get("ice.consent_expired") > 0),
        sent: peer(0).outbound_stats(),
        got: peer(1).inbound_stats(),
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
        let mut scene = scene(seed, Duration::from_millis(50), |_| {});
        scene.run(Duration::from_secs(3));
        scene.quiet = true;
        scene.blackout(true);
        scene.run(Duration::from_secs(45));
        for side in 0..2 {
            let expired = scene.call.peer(side).counters().get("ice.consent_expired");
            assert!(expired > 0, "seed {seed}: {}", scene.call.explain());
        }
    }
}
