//! Media follows what the path carries: rates, queues, loss, and fairness.
#![expect(clippy::print_stdout, reason = "figures are there to be read")]

use std::sync::Arc;
use std::time::Duration;

use twocan_proto::congestion::Marking;
use twocan_proto::peer::Config;
use twocan_scenarios::media::{Plan, Scene, Seen};
use twocan_scenarios::seeds;
use twocan_sim::Loss;
use twocan_wire::units::Bitrate;

/// A virtual minute takes a second or two: this many seeds, unless the environment says otherwise.
const SEEDS: usize = 3;

/// `TWOCAN_SEED` alone if set, else as many as `TWOCAN_RATE_SEEDS` says (default 3): each is minutes
/// of virtual time, so the seeds of the other scenarios would take hours.
fn few_seeds() -> Vec<u64> {
    if std::env::var_os("TWOCAN_SEED").is_some() {
        return seeds();
    }
    let wanted = std::env::var("TWOCAN_RATE_SEEDS").ok();
    let count = wanted.and_then(|text| text.parse().ok()).unwrap_or(SEEDS);
    (1..=count as u64).collect()
}

/// Prints figures.
fn report(scene: &Scene, what: &str, seen: &Seen) {
    println!(
        "{}: {what}: {:.1} % of the link, target {:.0} kbit/s, queue {:.0} ms (median) \
         {:.0} ms (p95) {:.0} ms (most), {} key frames",
        scene.name,
        seen.used * 100.0,
        seen.target / 1000.0,
        seen.queue(50).as_secs_f64() * 1000.0,
        seen.queue(95).as_secs_f64() * 1000.0,
        seen.queue(100).as_secs_f64() * 1000.0,
        scene.flows[0].encoder.key_frames,
    );
}

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn a_steady_link_is_used_well_and_its_queue_stays_short() {
    for seed in few_seeds() {
        let mut scene = Scene::new(&Plan::new("steady", seed, ms(100)));
        scene.limit(Bitrate::kbps(2000), ms(300));
        let start = scene.run(seconds(10));
        report(&scene, "first 10 s", &start);
        let steady = scene.run(seconds(30));
        report(&scene, "then 30 s", &steady);
        assert!(steady.used >= 0.9, "{}: {:.3}", scene.name, steady.used);
        let queue = steady.queue(95);
        assert!(queue < ms(50), "{}: {queue:?}", scene.name);
    }
}

/// A side that knows nothing of reports of arrivals is told what we think the path carries (REMB).
#[test]
fn a_side_that_knows_estimates_alone_is_held_below_what_the_link_carries() {
    for seed in few_seeds() {
        let mut scene = Scene::new(&Plan {
            adjust: |config| {
                let lists = [&mut config.audio_codecs, &mut config.video_codecs];
                for codec in lists.into_iter().flat_map(Arc::make_mut) {
                    codec.feedback.transport_cc = false;
                }
            },
            ..Plan::new("REMB", seed, ms(100))
        });
        scene.limit(Bitrate::kbps(2000), ms(300));
        // Nothing is probed: the estimate grows by 8 % a second.
        let start = scene.run(seconds(60));
        report(&scene, "first 60 s", &start);
        let steady = scene.run(seconds(30));
        report(&scene, "then 30 s", &steady);
        assert!(steady.used >= 0.8, "{}: {:.3}", scene.name, steady.used);
        let queue = steady.queue(95);
        assert!(queue < ms(200), "{}: {queue:?}", scene.name);
        scene.limit(Bitrate::kbps(500), ms(300));
        scene.run(seconds(5));
        let fallen = scene.run(seconds(20));
        report(&scene, "at 0.5 Mbit/s", &fallen);
        assert!(fallen.target <= 600e3, "{}: {}", scene.name, fallen.target);
    }
}

/// Reports by stream (RFC 8888) in place of those of the whole transport.
#[test]
fn a_steady_link_is_used_as_well_with_reports_by_stream() {
    for seed in few_seeds() {
        let mut scene = Scene::new(&Plan {
            adjust: |config| config.offer_congestion_feedback = true,
            ..Plan::new("steady, RFC 8888", seed, ms(100))
        });
        scene.limit(Bitrate::kbps(2000), ms(300));
        scene.run(seconds(10));
        let steady = scene.run(seconds(30));
        report(&scene, "after 10 s, 30 s", &steady);
        for side in 0..2 {
            let local = scene.call.peer(side).local_description();
            let text = local.map(|own| own.sdp).unwrap_or_default();
            assert!(text.contains("a=rtcp-fb:* ack ccfb"), "{text}");
            assert_eq!(text.contains("transport-cc"), side == 0, "{text}");
        }
        assert!(steady.used >= 0.88, "{}: {:.3}", scene.name, steady.used);
        let queue = steady.queue(95);
        assert!(queue < ms(50), "{}: {queue:?}", scene.name);
    }
}

/// A link that marks what waits longer than 5 ms, with and without L4S.
#[test]
fn where_the_network_marks_the_queue_is_short_and_the_link_well_used() {
    for seed in few_seeds() {
        let plans: [fn(&mut Config); 2] = [
            |config| config.offer_congestion_feedback = true,
            |config| {
                config.offer_congestion_feedback = true;
                config.congestion.marking = Marking::L4s;
            },
        ];
        let both = plans.map(|adjust| {
            let mut scene = Scene::new(&Plan {
                adjust,
                ..Plan::new("marking link", seed, ms(50))
            });
            scene.limit(Bitrate::kbps(4000), ms(300));
            scene.link().config.mark_above = Some(ms(5));
            let start = scene.run(seconds(10));
            report(&scene, "first 10 s", &start);
            let steady = scene.run(seconds(30));
            report(&scene, "then 30 s", &steady);
            (steady, scene.link().stats())
        });
        let [(plain, unmarked), (l4s, marked)] = both;
        assert_eq!(unmarked.marked, 0, "what is not ECT is not marked");
        assert!(marked.marked > 0 && marked.queue_full == 0, "{marked:?}");
        assert!(l4s.used >= 0.78, "seed {seed}: {:.3}", l4s.used);
        let queues = (l4s.queue(95), plain.queue(95));
        assert!(
            queues.0 < ms(15) && queues.0 < queues.1,
            "seed {seed}: {queues:?}"
        );
    }
}

/// A router further on that is so busy that it marks a fifth of what can be marked, and a path that
/// loses as much.
#[test]
fn marks_without_l4s_lower_the_rate_as_loss_does_and_nothing_is_lost() {
    for seed in few_seeds() {
        let plans: [fn(&mut Config); 2] = [
            |config| config.offer_congestion_feedback = true,
            |config| {
                config.offer_congestion_feedback = true;
                config.congestion.marking = Marking::Classic;
            },
        ];
        let [unmarked, marked] = plans.map(|adjust| {
            let mut scene = Scene::new(&Plan {
                adjust,
                ..Plan::new("a busy router", seed, ms(100))
            });
            scene.limit(Bitrate::kbps(2000), ms(300));
            scene.link().config.mark_per_mille = 200;
            scene.run(seconds(10));
            let steady = scene.run(seconds(30));
            report(&scene, "after 10 s, 30 s", &steady);
            let (sent, arrived) = scene.flows[0].sounds(seconds(10), seconds(39));
            assert_eq!(sent, arrived, "{}: nothing is lost", scene.name);
            (steady, scene.link().stats())
        });
        assert_eq!(unmarked.1.marked, 0, "what is not ECT is not marked");
        assert!(marked.1.marked > 0 && marked.1.lost == 0, "{:?}", marked.1);
        let used = (unmarked.0.used, marked.0.used);
        assert!(
            used.0 >= 0.85 && used.1 <= 0.65 * used.0,
            "seed {seed}: {used:?}"
        );
    }
}

#[test]
fn a_fall_of_the_link_is_followed_within_a_second_and_sound_goes_on() {
    for seed in few_seeds() {
        let mut scene = Scene::new(&Plan::new("fall", seed, ms(50)));
        scene.limit(Bitrate::kbps(3000), ms(300));
        let before = scene.run(seconds(15));
        report(&scene, "at 3 Mbit/s", &before);
        scene.limit(Bitrate::kbps(500), ms(300));
        let from = scene.call.world.elapsed();
        let second = scene.run(seconds(1));
        report(&scene, "first second at 0.5 Mbit/s", &second);
        let next = scene.run(seconds(2));
        report(&scene, "the two after", &next);
        let queue = scene.queue_delay();
        let after = scene.run(seconds(10));
        report(&scene, "the ten after", &after);
        assert!(second.target <= 550e3, "{}: {}", scene.name, second.target);
        assert!(queue < ms(50), "{}: {queue:?}", scene.name);
        assert!(after.used > 0.7, "{}: {}", scene.name, after.used);
        let to = scene.call.world.elapsed() - ms(500);
        let (sent, arrived) = scene.flows[0].sounds(from, to);
        let silence = scene.flows[0].silence(from, to);
        println!(
            "{}: {arrived} of {sent} sounds arrive, {silence:?} without one at most",
            scene.name
        );
        assert!(arrived * 100 >= sent * 90, "{}: {arrived}", scene.name);
        assert!(silence < ms(600), "{}: {silence:?}", scene.name);
    }
}

/// The loss-based estimate moves by what it happens to see: one run in a few holds a low rate for
/// some seconds.
#[test]
fn random_loss_of_a_tenth_does_not_make_the_rate_collapse() {
    let mut used = Vec::new();
    for seed in few_seeds() {
        let mut scene = Scene::new(&Plan::new("loss", seed, ms(100)));
        scene.limit(Bitrate::kbps(2000), ms(300));
        scene.link().config.loss = Loss::Independent { per_mille: 100 };
        let start = scene.run(seconds(10));
        report(&scene, "first 10 s", &start);
        let lossy = scene.run(seconds(60));
        report(&scene, "then 60 s", &lossy);
        assert!(lossy.used >= 0.4, "{}: {:.3}", scene.name, lossy.used);
        used.push(lossy.used);
    }
    let mean = used.iter().sum::<f64>() / used.len() as f64;
    println!("loss: {:.1} % of the link on average", mean * 100.0);
    assert!(mean >= 0.55 || used.len() < SEEDS, "{mean:.3}");
}

/// Jain's index of what each flow carries while `scene` runs for `time`, and the first one's share.
fn shared(scene: &mut Scene, time: Duration) -> (f64, f64) {
    let before: Vec<u64> = scene.flows.iter().map(|flow| flow.bytes).collect();
    let seen = scene.run(time);
    let bytes = scene.flows.iter().zip(before);
    let bytes: Vec<f64> = bytes.map(|(flow, old)| (flow.bytes - old) as f64).collect();
    let sum: f64 = bytes.iter().sum();
    let squares: f64 = bytes.iter().map(|own| own * own).sum();
    let (share, jain) = (bytes[0] / sum, sum * sum / (2.0 * squares));
    let used = seen.used;
    println!("{}: {:.1} %, Jain {jain:.3}", scene.name, share * 100.0);
    assert!(used >= 0.8, "{}: {used:.3}", scene.name);
    assert!((0.1..=0.9).contains(&share), "{}: {share}", scene.name);
    (jain, share)
}

/// Flows that begin together: each looks for the capacity while the other does.
#[test]
fn two_flows_share_a_link() {
    let (mut soon, mut later) = (Vec::new(), Vec::new());
    for seed in few_seeds() {
        let mut scene = Scene::new(&Plan {
            flows: 2,
            ..Plan::new("two", seed, ms(100))
        });
        scene.limit(Bitrate::kbps(4000), ms(300));
        scene.run(seconds(10));
        soon.push(shared(&mut scene, seconds(40)).0);
        scene.run(seconds(130));
        let (jain, share) = shared(&mut scene, seconds(60));
        assert!((0.15..=0.85).contains(&share), "{}: {share}", scene.name);
        later.push(jain);
    }
    for (when, fairness) in [("10 s", soon), ("180 s", later)] {
        let mean = fairness.iter().sum::<f64>() / fairness.len() as f64;
        println!("two, after {when}: Jain {mean:.3} on average");
        assert!(mean >= 0.9 || fairness.len() < SEEDS, "{when}: {mean:.3}");
    }
}

#[test]
fn after_a_blackout_half_of_the_link_is_back_within_five_seconds() {
    for seed in few_seeds() {
        let mut scene = Scene::new(&Plan::new("blackout", seed, ms(100)));
        scene.limit(Bitrate::kbps(2000), ms(300));
        let before = scene.run(seconds(15));
        report(&scene, "before", &before);
        scene.blackout(true);
        let dark = scene.run(seconds(4));
        report(&scene, "dark", &dark);
        scene.blackout(false);
        scene.run(seconds(5));
        let after = scene.run(seconds(1));
        report(&scene, "the sixth second after", &after);
        assert!(after.used >= 0.5, "{}: {:.3}", scene.name, after.used);
        assert!(after.target >= 1e6, "{}: {}", scene.name, after.target);
    }
}
