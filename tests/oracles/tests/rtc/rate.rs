//! Our congestion control beside that of `str0m`: a pair of each over the same links with the same
//! seeds, fed by the same encoder.
//!
//! `str0m` says what the path carries and leaves it to the application to share that out: its
//! pictures get the estimate, less what its sound takes and the headers. It repairs by
//! retransmission alone, we by FEC as well. Its ids come from a generator of its own, so its
//! figures may differ a little from run to run.
//!
//! | link | in use, ours and `str0m`'s | queue (p95) |
//! |---|---|---|
//! | steady 2 Mbit/s | 92 %, 97 % | 27 ms, 297 ms |
//! | 3, 0.5, 3 Mbit/s | 65 %, 63 % | 165 ms, 239 ms |
//! | 5 % lost | 84 %, 99 % | 23 ms, 251 ms |
//! | 10 % lost | 69 %, 97 % | 18 ms, 235 ms |
//! | jitter of 30 ms | 86 %, 98 % | 22 ms, 298 ms |
//! | queue of 1 s | 92 %, 97 % | 27 ms, 996 ms |
//!
//! It uses more because it lets the queue fill to the brim: each path states how much less we may
//! use, our queue must not be longer, and the use that we make of each moment of delay (the power
//! of Kleinrock: use over round trip) must be higher.

use std::net::IpAddr;
use std::time::Duration;

use str0m::bwe::{Bitrate as TheirBitrate, BweKind};
use str0m::format::Codec;
use str0m::media::{Direction as TheirDirection, Frequency, MediaKind, MediaTime, Mid as TheirMid};
use str0m::{Event as TheirEvent, Rtc};
use twocan_scenarios::media::{Encoder, PICTURE, Plan, Scene, Seen};
use twocan_sim::{HostId, LinkConfig, LinkStats, Loss, SiteId, World, seeds};
use twocan_wire::units::Bitrate;

use crate::node::{End, Report, Theirs};

const SOUND: Duration = Duration::from_millis(20);
const SOUND_LEN: usize = 80;

/// What sound takes of an estimate, with its headers.
const SOUND_RATE: f64 = 52e3;

/// The part of a datagram of video that is payload.
const PAYLOAD_PART: f64 = 0.95;

/// A receiver looks as often.
const LOOK: Duration = Duration::from_millis(4);

/// Seeds of each link: several minutes of virtual time each.
const SEEDS: usize = 3;

/// What is to be measured: over what link, with what change.
#[derive(Debug, Clone, Copy)]
struct Path {
    name: &'static str,
    rtt: Duration,
    /// In kbit/s, each for so many seconds. The first stretch is not measured.
    rates: &'static [(u64, u64)],
    queue: Duration,
    jitter: Duration,
    loss_percent: u32,
    /// How much less of the link we may use.
    used_margin: f64,
}

const STEADY: &[(u64, u64)] = &[(2000, 10), (2000, 30)];

const PATHS: [Path; 6] = [
    path("steady", STEADY),
    path("3, 0.5, 3 Mbit/s", &[(3000, 15), (500, 15), (3000, 20)]),
    Path {
        loss_percent: 5,
        used_margin: 0.22,
        ..path("5 % lost", STEADY)
    },
    Path {
        loss_percent: 10,
        used_margin: 0.37,
        ..path("10 % lost", STEADY)
    },
    Path {
        jitter: Duration::from_millis(30),
        used_margin: 0.18,
        ..path("jitter of 30 ms", STEADY)
    },
    Path {
        queue: Duration::from_secs(1),
        ..path("queue of 1 s", STEADY)
    },
];

const fn path(name: &'static str, rates: &'static [(u64, u64)]) -> Path {
    Path {
        name,
        rtt: Duration::from_millis(100),
        rates,
        queue: Duration::from_millis(300),
        jitter: Duration::ZERO,
        loss_percent: 0,
        used_margin: 0.08,
    }
}

impl Path {
    fn link(&self) -> LinkConfig {
        LinkConfig {
            delay: self.rtt / 4,
            ..LinkConfig::default()
        }
    }

    /// Limits the way from the sender.
    fn limit(&self, link: &mut LinkConfig, kbps: u64) {
        let rate = Bitrate::kbps(kbps);
        let queue = rate.as_bps() as f64 / 8.0 * self.queue.as_secs_f64();
        link.rate = Some(rate);
        link.queue_len = queue as usize;
        link.jitter = self.jitter;
        if self.loss_percent > 0 {
            let per_mille = self.loss_percent * 10;
            link.loss = Loss::Independent { per_mille };
        }
    }
}

/// Use and queue of all stretches but the first.
#[derive(Debug, Clone, Default)]
struct Figures {
    used: Vec<f64>,
    queue: Vec<Duration>,
    /// What the path is thought to carry, in bit/s.
    target: Vec<f64>,
}

impl Figures {
    fn add(&mut self, seen: &Seen) {
        self.used.push(seen.used);
        self.queue.push(seen.queue(95));
        self.target.push(seen.target);
    }

    fn target(&self) -> f64 {
        self.target.iter().sum::<f64>() / self.target.len() as f64
    }

    fn used(&self) -> f64 {
        self.used.iter().sum::<f64>() / self.used.len() as f64
    }

    fn queue(&self) -> Duration {
        self.queue.iter().sum::<Duration>() / self.queue.len() as u32
    }
}

fn ours(path: &Path, seed: u64) -> Figures {
    let mut scene = Scene::new(&Plan::new(path.name, seed, path.rtt));
    let mut figures = Figures::default();
    for (index, (kbps, seconds)) in path.rates.iter().enumerate() {
        path.limit(&mut scene.link().config, *kbps);
        let seen = scene.run(Duration::from_secs(*seconds));
        if index > 0 {
            figures.add(&seen);
        }
    }
    figures
}

/// Two of `str0m`, of which the first sends.
struct Pair {
    world: World<End>,
    hosts: [HostId; 2],
    sites: [SiteId; 2],
    audio: TheirMid,
    video: TheirMid,
    encoder: Encoder,
    estimate: f64,
    next_picture: Duration,
    next_sound: Duration,
}

impl Pair {
    fn new(path: &Path, seed: u64) -> Self {
        let mut world = World::new(seed);
        let sites = [0, 1].map(|_| world.add_site(None, path.link(), path.link()));
        let hosts = [0, 1].map(|index: usize| {
            let rtc = Rtc::builder()
                .clear_codecs()
                .enable_opus(true, false)
                .enable_vp8(true)
                .enable_bwe(Some(TheirBitrate::kbps(300)))
                .build(world.now().monotonic);
            // The addresses of the sites are counted from one.
            let ip = IpAddr::from([198, 51, 100, 1 + index as u8]);
            let host = world.add_host(sites[index], End::Theirs(Box::new(Theirs::new(rtc, ip))));
            assert_eq!(world.ip(host), ip);
            host
        });
        let mut pair = Self {
            world,
            hosts,
            sites,
            audio: TheirMid::new(),
            video: TheirMid::new(),
            encoder: Encoder::new(None, None),
            estimate: 300e3,
            next_picture: Duration::ZERO,
            next_sound: Duration::ZERO,
        };
        pair.connect();
        pair
    }

    fn with<R>(&mut self, side: usize, act: impl FnOnce(&mut Rtc, std::time::Instant) -> R) -> R {
        self.world.with(self.hosts[side], |end, now| match end {
            End::Theirs(theirs) => act(&mut theirs.rtc, now.monotonic),
            End::Ours(_) => unreachable!("both are theirs"),
        })
    }

    fn connect(&mut self) {
        // Both bind their sockets, whose addresses are in their descriptions.
        for side in 0..2 {
            self.with(side, |_, _| {});
        }
        self.world.run_for(Duration::from_millis(10));
        let (offer, pending, mids) = self.with(0, |rtc, _| {
            let mut api = rtc.sdp_api();
            let mut add = |kind| api.add_media(kind, TheirDirection::SendOnly, None, None, None);
            let mids = (add(MediaKind::Audio), add(MediaKind::Video));
            let (offer, pending) = api.apply().unwrap();
            (offer, pending, mids)
        });
        (self.audio, self.video) = mids;
        let answer = self.with(1, |rtc, _| rtc.sdp_api().accept_offer(offer).unwrap());
        self.with(0, |rtc, _| {
            rtc.sdp_api().accept_answer(pending, answer).unwrap()
        });
        self.world.run_for(Duration::from_secs(2));
        assert!(self.with(0, |rtc, _| rtc.is_connected()), "not connected");
        // As far as our probes go where the application states no maximum.
        self.with(0, |rtc, _| {
            rtc.bwe()
                .set_bitrate(TheirBitrate::ZERO, TheirBitrate::mbps(5));
        });
        let now = self.world.elapsed();
        (self.next_picture, self.next_sound) = (now, now);
    }

    fn link(&mut self) -> &mut twocan_sim::Link {
        &mut self.world.site(self.sites[0]).uplink
    }

    fn run(&mut self, time: Duration) -> Seen {
        let end = self.world.elapsed() + time;
        let before = self.link().stats();
        let mut queues = Vec::new();
        while self.world.elapsed() < end {
            let now = self.world.elapsed();
            self.send_what_is_due(now);
            let next = self.next_sound.min(self.next_picture).min(end);
            self.world.run_for(next.saturating_sub(now).min(LOOK));
            self.collect();
            let now = self.world.now().monotonic;
            queues.push(self.link().queue_delay(now));
        }
        queues.sort();
        Seen {
            used: self.used(&before, time),
            target: self.estimate,
            queues,
        }
    }

    fn used(&mut self, before: &LinkStats, time: Duration) -> f64 {
        let link = self.link();
        let (after, rate) = (link.stats(), link.config.rate);
        let bytes = after.bytes - before.bytes + 28 * (after.delivered - before.delivered);
        let rate = rate.map_or(f64::INFINITY, |rate| rate.as_bps() as f64);
        bytes as f64 * 8.0 / time.as_secs_f64() / rate
    }

    fn send_what_is_due(&mut self, now: Duration) {
        if now >= self.next_sound {
            self.next_sound += SOUND;
            let at = MediaTime::new(
                (now.as_micros() * 48 / 1000) as u64,
                Frequency::FORTY_EIGHT_KHZ,
            );
            self.send(self.audio, Codec::Opus, at, vec![7; SOUND_LEN]);
        }
        if now >= self.next_picture {
            self.next_picture += PICTURE;
            let target = (self.estimate - SOUND_RATE).max(0.0) * PAYLOAD_PART;
            let picture = self.encoder.next(Bitrate::bps(target as u64));
            let at = MediaTime::new((now.as_micros() * 90 / 1000) as u64, Frequency::NINETY_KHZ);
            self.send(self.video, Codec::Vp8, at, picture);
        }
    }

    fn send(&mut self, mid: TheirMid, codec: Codec, at: MediaTime, data: Vec<u8>) {
        self.with(0, |rtc, now| {
            let writer = rtc.writer(mid).unwrap();
            let mut all = writer.payload_params();
            let params = all.find(|own| own.spec().codec == codec).unwrap();
            let pt = params.pt();
            drop(all);
            writer.write(pt, now, at, data).unwrap();
        });
    }

    fn collect(&mut self) {
        for (host, report) in self.world.take_events() {
            let Report::Theirs(event) = report else {
                unreachable!("both are theirs");
            };
            if host != self.hosts[0] {
                continue;
            }
            match *event {
                TheirEvent::EgressBitrateEstimate(BweKind::Twcc { estimate, .. }) => {
                    self.estimate = estimate.as_f64();
                }
                TheirEvent::KeyframeRequest(_) => self.encoder.want_key_frame(),
                _ => {}
            }
        }
    }
}

fn theirs(path: &Path, seed: u64) -> Figures {
    let mut pair = Pair::new(path, seed);
    let mut figures = Figures::default();
    for (index, (kbps, seconds)) in path.rates.iter().enumerate() {
        path.limit(&mut pair.link().config, *kbps);
        let seen = pair.run(Duration::from_secs(*seconds));
        if index > 0 {
            figures.add(&seen);
        }
    }
    figures
}

#[test]
fn our_rate_is_no_worse_over_the_same_links() {
    let mut wrong = Vec::new();
    for path in PATHS {
        let mut both = [Figures::default(), Figures::default()];
        for seed in seeds().into_iter().take(SEEDS) {
            for (all, measure) in both.iter_mut().zip([ours, theirs]) {
                let own = measure(&path, seed);
                all.used.extend(own.used);
                all.queue.extend(own.queue);
                all.target.extend(own.target);
            }
        }
        let [ours, theirs] = both;
        let told = format!(
            "{}: ours uses {:.1} %, str0m {:.1} %; queue {:.0} ms and {:.0} ms (p95); \
             targets {:.0} and {:.0} kbit/s at the end",
            path.name,
            ours.used() * 100.0,
            theirs.used() * 100.0,
            ours.queue().as_secs_f64() * 1000.0,
            theirs.queue().as_secs_f64() * 1000.0,
            ours.target() / 1000.0,
            theirs.target() / 1000.0,
        );
        println!("{told}");
        let used = ours.used() + path.used_margin >= theirs.used();
        let queue = ours.queue() <= theirs.queue();
        let power = |own: &Figures| own.used() / (path.rtt + own.queue()).as_secs_f64();
        if !used || !queue || power(&ours) < power(&theirs) {
            wrong.push(told);
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
