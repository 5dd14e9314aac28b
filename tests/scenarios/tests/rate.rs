//! Media follows what the path carries: rates, queues, loss, and fairness.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that cannot go on fails; figures are there to be read"
)]

use std::time::Duration;

use twocan_proto::negotiate::{Kind, TransceiverId};
use twocan_proto::peer::Event;
use twocan_proto::rtp::{Event as RtpEvent, OutgoingFrame};
use twocan_scenarios::{Call, Setting, seeds};
use twocan_sim::{LinkConfig, LinkStats, Loss};
use twocan_wire::sdp::Direction;
use twocan_wire::units::Bitrate;

/// A virtual minute takes a second or two: this many seeds, unless the environment says otherwise.
const SEEDS: usize = 3;

const PICTURE: Duration = Duration::from_micros(33_333);
const SOUND: Duration = Duration::from_millis(20);

/// An encoder that keeps to its target: thirty pictures a second, and a key frame of four times
/// the size on request, which the pictures after it make up for.
struct Encoder {
    number: u32,
    key_wanted: bool,
    /// Bytes beyond the target.
    debt: f64,
}

impl Encoder {
    fn next(&mut self, target: f64) -> Vec<u8> {
        let mean = target / 8.0 * PICTURE.as_secs_f64();
        let key = std::mem::take(&mut self.key_wanted);
        let len = match key {
            true => 4.0 * mean,
            false => (mean - self.debt / 10.0).max(mean / 2.0),
        };
        self.debt += len - mean;
        self.number += 1;
        // The head of a VP8 picture (RFC 6386 §9.1).
        let mut frame = match key {
            true => vec![0x10, 0, 0, 0x9d, 0x01, 0x2a, 64, 0, 64, 0],
            false => vec![0x11, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        };
        frame.resize((len as usize).max(frame.len()), self.number as u8);
        frame
    }
}

/// A caller that sends sound and pictures.
struct Flow {
    caller: usize,
    audio: TransceiverId,
    video: TransceiverId,
    encoder: Encoder,
    /// Of pictures, at the callee.
    bytes: u64,
    sounds_sent: u64,
    sounds: u64,
    key_frames: u64,
}

/// What a stretch of time was like.
struct Seen {
    /// The part of the link in use.
    used: f64,
    /// At the end.
    target: f64,
    /// Of all moments, in order.
    queues: Vec<Duration>,
}

impl Seen {
    fn queue(&self, percent: usize) -> Duration {
        self.queues[(self.queues.len() - 1) * percent / 100]
    }
}

struct Scene {
    call: Call,
    flows: Vec<Flow>,
    next_picture: Duration,
    next_sound: Duration,
    name: String,
}

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

impl Scene {
    /// Calls over a link with a round trip of `rtt`, not yet limited.
    fn new(name: &str, seed: u64, rtt: Duration, pairs: usize) -> Self {
        let link = LinkConfig {
            delay: rtt / 4,
            ..LinkConfig::default()
        };
        let setting = Setting {
            link,
            pairs,
            ..Setting::default()
        };
        let mut call = Call::new(seed, &setting);
        let flow = |pair: usize| {
            let mut add = |kind| {
                let added = call.with(2 * pair, |peer, _| {
                    peer.add_transceiver(kind, Direction::SendOnly, &["s"])
                });
                added.unwrap()
            };
            let (audio, video) = (add(Kind::Audio), add(Kind::Video));
            Flow {
                caller: 2 * pair,
                audio,
                video,
                encoder: Encoder {
                    number: 0,
                    key_wanted: true,
                    debt: 0.0,
                },
                bytes: 0,
                sounds_sent: 0,
                sounds: 0,
                key_frames: 0,
            }
        };
        let flows: Vec<Flow> = (0..pairs).map(flow).collect();
        for flow in &flows {
            call.offer(flow.caller);
        }
        let connected = call.run_until(Duration::from_secs(5), Call::is_connected);
        assert!(connected, "{name}, seed {seed}, {}", call.explain());
        call.run_for(Duration::from_millis(200));
        let now = call.world.elapsed();
        Self {
            call,
            flows,
            next_picture: now,
            next_sound: now,
            name: format!("{name}, seed {seed}"),
        }
    }

    /// Limits the way from the callers: `queue` is what it can hold at that rate.
    fn limit(&mut self, rate: Bitrate, queue: Duration) {
        let site = self.call.sites[0];
        let link = &mut self.call.world.site(site).uplink;
        link.config.rate = Some(rate);
        link.config.queue_len = (rate.as_bps() as f64 / 8.0 * queue.as_secs_f64()) as usize;
    }

    fn link_stats(&mut self) -> LinkStats {
        let site = self.call.sites[0];
        self.call.world.site(site).uplink.stats()
    }

    fn rate(&mut self) -> f64 {
        let site = self.call.sites[0];
        let rate = self.call.world.site(site).uplink.config.rate;
        rate.unwrap().as_bps() as f64
    }

    fn target(&self, flow: usize) -> f64 {
        let peer = self.call.peer(self.flows[flow].caller);
        peer.available_outgoing_bitrate().unwrap().as_bps() as f64
    }

    /// Sends for a while.
    fn run(&mut self, time: Duration) -> Seen {
        let end = self.call.world.elapsed() + time;
        let before = self.link_stats();
        let rate = self.rate();
        let mut queues = Vec::new();
        while self.call.world.elapsed() < end {
            let now = self.call.world.elapsed();
            if now >= self.next_sound {
                self.next_sound += SOUND;
                self.send_sounds(now);
            }
            if now >= self.next_picture {
                self.next_picture += PICTURE;
                self.send_pictures(now);
            }
            let next = self.next_sound.min(self.next_picture).min(end);
            let wait = next.saturating_sub(now).min(Duration::from_millis(5));
            self.call.run_for(wait);
            self.receive();
            let at = self.call.world.now().monotonic;
            let site = self.call.sites[0];
            queues.push(self.call.world.site(site).uplink.queue_delay(at));
        }
        queues.sort();
        let after = self.link_stats();
        let bytes = after.bytes - before.bytes + 28 * (after.delivered - before.delivered);
        Seen {
            used: bytes as f64 * 8.0 / time.as_secs_f64() / rate,
            target: self.target(0),
            queues,
        }
    }

    fn send(&mut self, flow: usize, kind: Kind, timestamp: u32, data: &[u8]) {
        let flow = &self.flows[flow];
        let (transceiver, codec) = match kind {
            Kind::Audio => (flow.audio, "opus"),
            Kind::Video => (flow.video, "VP8"),
        };
        self.call.with(flow.caller, |peer, now| {
            let payload_type = peer.negotiated(transceiver).unwrap().codec(codec);
            let frame = OutgoingFrame {
                rid: None,
                payload_type: payload_type.unwrap().payload_type_send,
                timestamp,
                marker: false,
                data,
                audio_level: None,
                layer: None,
                resolution: None,
            };
            peer.send_frame(now, transceiver, &frame).unwrap();
        });
    }

    fn send_sounds(&mut self, now: Duration) {
        for flow in 0..self.flows.len() {
            let timestamp = (now.as_millis() * 48) as u32;
            self.send(flow, Kind::Audio, timestamp, &[7; 80]);
            self.flows[flow].sounds_sent += 1;
        }
    }

    fn send_pictures(&mut self, now: Duration) {
        for flow in 0..self.flows.len() {
            let (caller, video) = (self.flows[flow].caller, self.flows[flow].video);
            let target = self.call.peer(caller).target_bitrate(video);
            let target = target.unwrap().as_bps() as f64;
            let picture = self.flows[flow].encoder.next(target);
            self.send(flow, Kind::Video, (now.as_millis() * 90) as u32, &picture);
        }
    }

    fn receive(&mut self) {
        for flow in &mut self.flows {
            for event in self.call.events[flow.caller].drain(..) {
                if let Event::Rtp(RtpEvent::KeyFrameRequested { .. }) = event {
                    flow.encoder.key_wanted = true;
                    flow.key_frames += 1;
                }
            }
            for event in self.call.events[flow.caller + 1].drain(..) {
                let Event::Rtp(RtpEvent::Frame(frame)) = event else {
                    continue;
                };
                if frame.data.len() == 80 {
                    flow.sounds += 1;
                } else {
                    flow.bytes += frame.data.len() as u64;
                }
            }
        }
    }

    /// Prints figures.
    fn report(&self, what: &str, seen: &Seen) {
        println!(
            "{}: {what}: {:.1} % of the link, target {:.0} kbit/s, queue {:.0} ms (median) \
             {:.0} ms (p95) {:.0} ms (most), {} key frames",
            self.name,
            seen.used * 100.0,
            seen.target / 1000.0,
            seen.queue(50).as_secs_f64() * 1000.0,
            seen.queue(95).as_secs_f64() * 1000.0,
            seen.queue(100).as_secs_f64() * 1000.0,
            self.flows[0].key_frames,
        );
    }
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
        let mut scene = Scene::new("steady", seed, ms(100), 1);
        scene.limit(Bitrate::kbps(2000), ms(300));
        let start = scene.run(seconds(10));
        scene.report("first 10 s", &start);
        let steady = scene.run(seconds(30));
        scene.report("then 30 s", &steady);
        assert!(steady.used >= 0.9, "{}: {:.3}", scene.name, steady.used);
        let queue = steady.queue(95);
        assert!(queue < ms(50), "{}: {queue:?}", scene.name);
    }
}

#[test]
fn a_fall_of_the_link_is_followed_within_a_second_and_sound_goes_on() {
    for seed in few_seeds() {
        let mut scene = Scene::new("fall", seed, ms(50), 1);
        scene.limit(Bitrate::kbps(3000), ms(300));
        let before = scene.run(seconds(15));
        scene.report("at 3 Mbit/s", &before);
        scene.limit(Bitrate::kbps(500), ms(300));
        let sounds = (scene.flows[0].sounds_sent, scene.flows[0].sounds);
        let second = scene.run(seconds(1));
        scene.report("first second at 0.5 Mbit/s", &second);
        let next = scene.run(seconds(2));
        scene.report("the two after", &next);
        let at = scene.call.world.now().monotonic;
        let site = scene.call.sites[0];
        let queue = scene.call.world.site(site).uplink.queue_delay(at);
        let after = scene.run(seconds(10));
        scene.report("the ten after", &after);
        assert!(second.target <= 550e3, "{}: {}", scene.name, second.target);
        assert!(queue < ms(50), "{}: {queue:?}", scene.name);
        assert!(after.used > 0.7, "{}: {}", scene.name, after.used);
        let sent = scene.flows[0].sounds_sent - sounds.0;
        let arrived = scene.flows[0].sounds - sounds.1;
        println!("{}: {arrived} of {sent} sounds arrive", scene.name);
        assert!(arrived * 100 >= sent * 90, "{}: {arrived}", scene.name);
    }
}

/// The loss-based estimate moves by what it happens to see: one run in a few holds a low rate for
/// some seconds.
#[test]
fn random_loss_of_a_tenth_does_not_make_the_rate_collapse() {
    let mut used = Vec::new();
    for seed in few_seeds() {
        let mut scene = Scene::new("loss", seed, ms(100), 1);
        scene.limit(Bitrate::kbps(2000), ms(300));
        let site = scene.call.sites[0];
        scene.call.world.site(site).uplink.config.loss = Loss::Independent { per_mille: 100 };
        let start = scene.run(seconds(10));
        scene.report("first 10 s", &start);
        let lossy = scene.run(seconds(60));
        scene.report("then 60 s", &lossy);
        assert!(lossy.used >= 0.4, "{}: {:.3}", scene.name, lossy.used);
        used.push(lossy.used);
    }
    let mean = used.iter().sum::<f64>() / used.len() as f64;
    println!("loss: {:.1} % of the link on average", mean * 100.0);
    assert!(mean >= 0.55 || used.len() < SEEDS, "{mean:.3}");
}

/// Flows that begin together drift apart while each looks for the capacity, and come together by
/// a packet per response time: that takes minutes.
#[test]
fn two_flows_share_a_link() {
    let mut fairness = Vec::new();
    for seed in few_seeds() {
        let mut scene = Scene::new("two", seed, ms(100), 2);
        scene.limit(Bitrate::kbps(4000), ms(300));
        let start = scene.run(seconds(180));
        scene.report("first 180 s", &start);
        let before: Vec<u64> = scene.flows.iter().map(|flow| flow.bytes).collect();
        let steady = scene.run(seconds(60));
        scene.report("then 60 s", &steady);
        let bytes = scene.flows.iter().zip(before);
        let bytes: Vec<f64> = bytes.map(|(flow, old)| (flow.bytes - old) as f64).collect();
        let sum: f64 = bytes.iter().sum();
        let squares: f64 = bytes.iter().map(|own| own * own).sum();
        let (share, jain) = (bytes[0] / sum, sum * sum / (2.0 * squares));
        println!("{}: {:.1} %, Jain {jain:.3}", scene.name, share * 100.0);
        assert!(steady.used >= 0.8, "{}: {:.3}", scene.name, steady.used);
        assert!((0.2..=0.8).contains(&share), "{}: {share}", scene.name);
        fairness.push(jain);
    }
    let mean = fairness.iter().sum::<f64>() / fairness.len() as f64;
    println!("two: Jain {mean:.3} on average");
    assert!(mean >= 0.9 || fairness.len() < SEEDS, "{mean:.3}");
}

#[test]
fn after_a_blackout_half_of_the_link_is_back_within_five_seconds() {
    for seed in few_seeds() {
        let mut scene = Scene::new("blackout", seed, ms(100), 1);
        scene.limit(Bitrate::kbps(2000), ms(300));
        let before = scene.run(seconds(15));
        scene.report("before", &before);
        for site in scene.call.sites {
            scene.call.world.site(site).uplink.blackout = true;
        }
        let dark = scene.run(seconds(4));
        scene.report("dark", &dark);
        for site in scene.call.sites {
            scene.call.world.site(site).uplink.blackout = false;
        }
        scene.run(seconds(5));
        let after = scene.run(seconds(1));
        scene.report("the sixth second after", &after);
        assert!(after.used >= 0.5, "{}: {:.3}", scene.name, after.used);
        assert!(after.target >= 1e6, "{}: {}", scene.name, after.target);
    }
}
