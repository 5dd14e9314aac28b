//! What calls are like over many kinds of links, as a table.

use std::fmt::Write as _;
use std::time::Duration;

use twocan_proto::rtp::InboundStats;
use twocan_sim::Loss;
use twocan_wire::units::Bitrate;

use super::{Plan, Scene, Seen};

/// Pictures that come later than this beyond the way there are of no use in a conversation.
const IN_TIME: Duration = Duration::from_millis(200);

/// What is sent is looked at as of here, and so is what the table calls steady.
const BEFORE: Duration = Duration::from_secs(10);
const MEASURED: Duration = Duration::from_secs(40);

/// What one seed's stretch of time was like.
#[derive(Debug, Clone, Default)]
struct Figures {
    used: f64,
    queue: Duration,
    in_time: f64,
    freezes: f64,
    sounds_missing: f64,
    repaired: f64,
    /// Seconds, or a fairness index.
    special: Option<f64>,
}

/// A kind of link.
struct Row {
    name: &'static str,
    /// What the last column says, of the mean over all seeds.
    special: fn(f64) -> String,
    measure: fn(&mut Rig) -> Figures,
}

/// Makes scenes of one seed.
struct Rig {
    name: &'static str,
    seed: u64,
}

impl Rig {
    fn plan(&self, rtt: u64) -> Plan {
        Plan::new(self.name, self.seed, Duration::from_millis(rtt))
    }

    /// One call over a link of so many kbit/s, whose queue holds so many milliseconds.
    fn scene(&self, rate: u64, rtt: u64, queue: u64) -> Scene {
        let mut scene = Scene::new(&self.plan(rtt));
        scene.limit(Bitrate::kbps(rate), Duration::from_millis(queue));
        scene
    }

    /// The same with loss, once it has begun.
    fn lossy(&self, rtt: u64, loss: Loss) -> Figures {
        let mut scene = self.scene(2000, rtt, 300);
        scene.link().config.loss = loss;
        scene.run(BEFORE);
        measure(&mut scene, rtt)
    }
}

fn independent(percent: u32) -> Loss {
    Loss::Independent {
        per_mille: percent * 10,
    }
}

/// Bursts of three packets on average.
fn bursts(enter_per_mille: u32) -> Loss {
    Loss::Burst {
        enter_per_mille,
        leave_per_mille: 333,
    }
}

/// Sends for as long as is measured.
fn measure(scene: &mut Scene, rtt: u64) -> Figures {
    let repaired = |scene: &Scene| -> (u64, u64) {
        let stats = scene.call.peer(scene.flows[0].callee()).inbound_stats();
        let sum = |of: fn(&InboundStats) -> u64| stats.iter().map(of).sum::<u64>();
        let repaired =
            |own: &InboundStats| own.packets_recovered + own.retransmitted_packets_received;
        (sum(repaired), sum(|own| own.packets_received))
    };
    let (from, before) = (scene.call.world.elapsed(), repaired(scene));
    let seen: Seen = scene.run(MEASURED);
    let after = repaired(scene);
    // What was sent last may still be on its way.
    let to = scene.call.world.elapsed() - Duration::from_secs(1);
    let flow = &scene.flows[0];
    let limit = Duration::from_millis(rtt / 2) + IN_TIME;
    let (captured, in_time) = flow.pictures(from, to, limit);
    let (said, heard) = flow.sounds(from, to);
    Figures {
        used: seen.used,
        queue: seen.queue(95),
        in_time: in_time as f64 / captured as f64,
        freezes: flow.freezes(from, to) as f64 * 60.0 / (to - from).as_secs_f64(),
        sounds_missing: 1.0 - heard as f64 / said as f64,
        repaired: (after.0 - before.0) as f64 / (after.1 - before.1).max(1) as f64,
        special: None,
    }
}

fn nothing(_: f64) -> String {
    String::new()
}

/// Jain's index of two numbers.
fn jain(a: f64, b: f64) -> f64 {
    (a + b) * (a + b) / (2.0 * (a * a + b * b)).max(f64::MIN_POSITIVE)
}

fn fall(rig: &mut Rig) -> Figures {
    let mut scene = rig.scene(3000, 50, 300);
    scene.run(Duration::from_secs(15));
    scene.limit(Bitrate::kbps(500), Duration::from_millis(300));
    let short = |scene: &Scene| scene.target(0) <= 550e3;
    let took = scene.run_until(Duration::from_secs(10), short);
    scene.run(Duration::from_secs(3));
    Figures {
        special: Some(took.map_or(f64::INFINITY, |took| took.as_secs_f64())),
        ..measure(&mut scene, 50)
    }
}

fn rise(rig: &mut Rig) -> Figures {
    let mut scene = rig.scene(3000, 50, 300);
    scene.run(Duration::from_secs(15));
    scene.limit(Bitrate::kbps(500), Duration::from_millis(300));
    scene.run(Duration::from_secs(15));
    scene.limit(Bitrate::kbps(3000), Duration::from_millis(300));
    let high = |scene: &Scene| scene.target(0) >= 0.9 * 3e6;
    let took = scene.run_until(Duration::from_secs(60), high);
    Figures {
        special: Some(took.map_or(f64::INFINITY, |took| took.as_secs_f64())),
        ..measure(&mut scene, 50)
    }
}

fn blackout(rig: &mut Rig) -> Figures {
    let mut scene = rig.scene(2000, 100, 300);
    scene.run(Duration::from_secs(15));
    scene.blackout(true);
    scene.run(Duration::from_secs(4));
    scene.blackout(false);
    let start = scene.call.world.elapsed();
    let back = |scene: &Scene| {
        let captured = scene.flows[0].captured.range(start..);
        captured.filter(|(_, arrived)| arrived.is_some()).count() >= 3
    };
    let took = scene.run_until(Duration::from_secs(30), back);
    Figures {
        special: Some(took.map_or(f64::INFINITY, |took| took.as_secs_f64())),
        ..measure(&mut scene, 100)
    }
}

fn two(rig: &mut Rig, before: Duration) -> Figures {
    let mut scene = Scene::new(&Plan {
        flows: 2,
        ..rig.plan(100)
    });
    scene.limit(Bitrate::kbps(4000), Duration::from_millis(300));
    scene.run(before);
    let bytes = |scene: &Scene| [0, 1].map(|flow| scene.flows[flow].bytes);
    let before = bytes(&scene);
    let figures = measure(&mut scene, 100);
    let after = bytes(&scene);
    let [a, b] = [0, 1].map(|flow| (after[flow] - before[flow]) as f64);
    Figures {
        special: Some(jain(a, b)),
        ..figures
    }
}

fn bulk(rig: &mut Rig) -> Figures {
    let mut scene = Scene::new(&Plan {
        bulk: true,
        ..rig.plan(100)
    });
    scene.limit(Bitrate::kbps(4000), Duration::from_millis(300));
    scene.run(BEFORE);
    let before = scene.flows[0].bytes;
    let figures = measure(&mut scene, 100);
    let rate = (scene.flows[0].bytes - before) as f64 * 8.0 / MEASURED.as_secs_f64();
    Figures {
        special: Some(rate / 4e6),
        ..figures
    }
}

fn took(seconds: f64) -> String {
    format!("{seconds:.1} s")
}

const ROWS: &[Row] = &[
    Row {
        name: "steady",
        special: nothing,
        measure: |rig| rig.lossy(100, Loss::None),
    },
    Row {
        name: "steady, reports by RFC 8888",
        special: nothing,
        measure: |rig| {
            let mut scene = Scene::new(&Plan {
                adjust: |config| config.offer_congestion_feedback = true,
                ..rig.plan(100)
            });
            scene.limit(Bitrate::kbps(2000), Duration::from_millis(300));
            scene.run(BEFORE);
            measure(&mut scene, 100)
        },
    },
    Row {
        name: "steady, a key frame every second",
        special: nothing,
        measure: |rig| {
            let mut scene = Scene::new(&Plan {
                key_frame_every: Some(30),
                ..rig.plan(100)
            });
            scene.limit(Bitrate::kbps(2000), Duration::from_millis(300));
            scene.run(BEFORE);
            measure(&mut scene, 100)
        },
    },
    Row {
        name: "fall from 3 to 0.5 Mbit/s, RTT 50 ms",
        special: |seconds| format!("target below 0.55 after {}", took(seconds)),
        measure: fall,
    },
    Row {
        name: "and back to 3 Mbit/s",
        special: |seconds| format!("90 % after {}", took(seconds)),
        measure: rise,
    },
    Row {
        name: "5 % lost",
        special: nothing,
        measure: |rig| rig.lossy(100, independent(5)),
    },
    Row {
        name: "10 % lost",
        special: nothing,
        measure: |rig| rig.lossy(100, independent(10)),
    },
    Row {
        name: "20 % lost",
        special: nothing,
        measure: |rig| rig.lossy(100, independent(20)),
    },
    Row {
        name: "5 % lost in bursts",
        special: nothing,
        measure: |rig| rig.lossy(100, bursts(18)),
    },
    Row {
        name: "10 % lost in bursts",
        special: nothing,
        measure: |rig| rig.lossy(100, bursts(37)),
    },
    Row {
        name: "RTT 40 ms",
        special: nothing,
        measure: |rig| rig.lossy(40, Loss::None),
    },
    Row {
        name: "RTT 400 ms",
        special: nothing,
        measure: |rig| rig.lossy(400, Loss::None),
    },
    Row {
        name: "RTT 400 ms, 5 % lost",
        special: nothing,
        measure: |rig| rig.lossy(400, independent(5)),
    },
    Row {
        name: "jitter of 30 ms",
        special: nothing,
        measure: |rig| {
            let mut scene = rig.scene(2000, 100, 300);
            scene.link().config.jitter = Duration::from_millis(30);
            scene.run(BEFORE);
            measure(&mut scene, 130)
        },
    },
    Row {
        name: "queue of 1 s",
        special: nothing,
        measure: |rig| {
            let mut scene = rig.scene(2000, 100, 1000);
            scene.run(BEFORE);
            measure(&mut scene, 100)
        },
    },
    Row {
        name: "queue of 50 ms",
        special: nothing,
        measure: |rig| {
            let mut scene = rig.scene(2000, 100, 50);
            scene.run(BEFORE);
            measure(&mut scene, 100)
        },
    },
    Row {
        name: "queue of 10 ms: a policer",
        special: nothing,
        measure: |rig| {
            let mut scene = rig.scene(2000, 100, 10);
            scene.run(BEFORE);
            measure(&mut scene, 100)
        },
    },
    Row {
        name: "the way back has 100 kbit/s",
        special: nothing,
        measure: |rig| {
            let mut scene = rig.scene(2000, 100, 300);
            scene.back().config.rate = Some(Bitrate::kbps(100));
            scene.back().config.queue_len = 4000;
            scene.run(BEFORE);
            measure(&mut scene, 100)
        },
    },
    Row {
        name: "the way back loses 20 %",
        special: nothing,
        measure: |rig| {
            let mut scene = rig.scene(2000, 100, 300);
            scene.back().config.loss = independent(20);
            scene.run(BEFORE);
            measure(&mut scene, 100)
        },
    },
    Row {
        name: "after 4 s without any link",
        special: |seconds| format!("pictures again after {}", took(seconds)),
        measure: blackout,
    },
    Row {
        name: "two calls at 4 Mbit/s",
        special: |index| format!("Jain {index:.3}"),
        measure: |rig| two(rig, BEFORE),
    },
    Row {
        name: "two calls at 4 Mbit/s, after 3 min",
        special: |index| format!("Jain {index:.3}"),
        measure: |rig| two(rig, Duration::from_secs(180)),
    },
    Row {
        name: "beside a bulk transfer at 4 Mbit/s",
        special: |part| format!("pictures have {:.0} % of the link", part * 100.0),
        measure: bulk,
    },
];

/// Runs every kind of link whose name has `part` in it with as many seeds, and says what it was
/// like: rows in Markdown.
pub fn table(seeds: u64, part: &str) -> String {
    let mut text = String::new();
    let wanted = |row: &&Row| row.name.contains(part);
    for row in ROWS.iter().filter(wanted) {
        let all: Vec<Figures> = (1..=seeds)
            .map(|seed| {
                (row.measure)(&mut Rig {
                    name: row.name,
                    seed,
                })
            })
            .collect();
        let mean = |of: fn(&Figures) -> f64| all.iter().map(of).sum::<f64>() / all.len() as f64;
        let special = all.iter().filter_map(|own| own.special).sum::<f64>() / all.len() as f64;
        let _ = writeln!(
            text,
            "| {} | {:.0} % | {:.0} ms | {:.1} % | {:.1} | {:.1} % | {:.1} % | {} |",
            row.name,
            mean(|own| own.used) * 100.0,
            mean(|own| own.queue.as_secs_f64()) * 1000.0,
            mean(|own| own.in_time) * 100.0,
            mean(|own| own.freezes),
            mean(|own| own.sounds_missing) * 100.0,
            mean(|own| own.repaired) * 100.0,
            (row.special)(special),
        );
    }
    text
}
