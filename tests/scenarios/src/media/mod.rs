//! Calls with sound and pictures: senders that keep to their targets, and what became of it all.

mod encoder;
mod flow;
mod table;

use std::time::Duration;

use twocan_proto::channel::{ChannelId, ChannelInit};
use twocan_proto::negotiate::Kind;
use twocan_proto::peer::{Config, Event, LogEntry};
use twocan_proto::rtp::{Event as RtpEvent, OutgoingFrame, PictureProperties};
use twocan_sim::{Link, LinkConfig, LinkStats};
use twocan_wire::units::Bitrate;

pub use encoder::Encoder;
pub use flow::Flow;
pub use table::table;

use crate::{Call, Setting};

/// Thirty a second.
pub const PICTURE: Duration = Duration::from_micros(33_333);

const SOUND: Duration = Duration::from_millis(20);
const SOUND_LEN: usize = 80;

/// A receiver looks for what is there as often as a screen would.
const LOOK: Duration = Duration::from_millis(4);

/// What a bulk transfer keeps queued, in bytes.
const BULK_QUEUED: usize = 256 * 1024;

/// What a scene is to be.
#[derive(Debug, Clone)]
pub struct Plan {
    /// For messages.
    pub name: String,
    /// Of all that is random.
    pub seed: u64,
    /// Without queues.
    pub rtt: Duration,
    /// Calls at a time, over the same links.
    pub flows: usize,
    /// Whether another pair transfers data all the while, as fast as SCTP's CUBIC goes.
    pub bulk: bool,
    /// Whether the callees send as well: the flows of the callers come first, then theirs.
    pub both_ways: bool,
    /// No picture takes more than this, whatever the path carries.
    pub rate_max: Option<Bitrate>,
    /// Pictures from one key frame to the next that nobody asked for.
    pub key_frame_every: Option<u32>,
    /// What else is to be different about each peer.
    pub adjust: fn(&mut Config),
}

impl Plan {
    /// One call over a path with that round trip.
    pub fn new(name: &str, seed: u64, rtt: Duration) -> Self {
        Self {
            name: name.to_owned(),
            seed,
            rtt,
            flows: 1,
            bulk: false,
            both_ways: false,
            rate_max: None,
            key_frame_every: None,
            adjust: |_| {},
        }
    }
}

/// What a stretch of time was like.
#[derive(Debug, Clone)]
pub struct Seen {
    /// The part of the link in use, by whomever.
    pub used: f64,
    /// Of the first flow at the end, in bits per second.
    pub target: f64,
    /// Waiting times at the link of all moments, the shortest first.
    pub queues: Vec<Duration>,
}

impl Seen {
    /// What `percent` of all waiting times do not exceed.
    pub fn queue(&self, percent: usize) -> Duration {
        let last = self.queues.len().saturating_sub(1);
        let at = self.queues.get(last * percent / 100);
        at.copied().unwrap_or_default()
    }
}

/// Connected calls whose senders send. The link to look at is the way from the callers.
pub struct Scene {
    /// The calls.
    pub call: Call,
    /// What each sends, and what arrives.
    pub flows: Vec<Flow>,
    /// For messages: with the seed.
    pub name: String,
    /// Nobody sends.
    pub quiet: bool,
    bulk: Option<(usize, ChannelId)>,
    next_picture: Duration,
    next_sound: Duration,
}

impl Scene {
    /// Calls over links not yet limited.
    pub fn new(plan: &Plan) -> Self {
        let link = LinkConfig {
            delay: plan.rtt / 4,
            ..LinkConfig::default()
        };
        let setting = Setting {
            link,
            adjust: plan.adjust,
            ..Setting::default()
        };
        Self::within(plan, &setting)
    }

    /// Calls in a world of that kind, whose links, and what is different about each peer, are the
    /// setting's and not the plan's.
    pub fn within(plan: &Plan, setting: &Setting) -> Self {
        let setting = Setting {
            pairs: plan.flows + usize::from(plan.bulk),
            ..setting.clone()
        };
        let mut call = Call::new(plan.seed, &setting);
        let mut flows: Vec<Flow> = (0..plan.flows)
            .map(|pair| Flow::new(&mut call, 2 * pair, plan))
            .collect();
        let bulk = plan.bulk.then(|| {
            let caller = 2 * plan.flows;
            let made = call.with(caller, |peer, _| {
                peer.create_data_channel(ChannelInit::default())
            });
            (caller, made.unwrap_or_else(|error| unreachable!("{error}")))
        });
        let name = format!("{}, seed {}", plan.name, plan.seed);
        for pair in 0..setting.pairs {
            call.offer(2 * pair);
        }
        let connected = call.run_until(Duration::from_secs(5), Call::is_connected);
        assert!(connected, "{name}, {}", call.explain());
        for pair in (0..plan.flows).filter(|_| plan.both_ways) {
            flows.push(Flow::new(&mut call, 2 * pair + 1, plan));
            call.offer(2 * pair + 1);
        }
        call.run_for(Duration::from_millis(200));
        let now = call.world.elapsed();
        Self {
            call,
            flows,
            name,
            quiet: false,
            bulk,
            next_picture: now,
            next_sound: now,
        }
    }

    /// The way from the callers.
    pub fn link(&mut self) -> &mut Link {
        let site = self.call.sites[0];
        &mut self.call.world.site(site).uplink
    }

    /// The way back.
    pub fn back(&mut self) -> &mut Link {
        let site = self.call.sites[1];
        &mut self.call.world.site(site).uplink
    }

    /// Limits the way from the callers: `queue` is what it can hold at that rate.
    pub fn limit(&mut self, rate: Bitrate, queue: Duration) {
        let link = self.link();
        link.config.rate = Some(rate);
        link.config.queue_len = (rate.as_bps() as f64 / 8.0 * queue.as_secs_f64()) as usize;
    }

    /// Nothing passes, either way, until it is taken back.
    pub fn blackout(&mut self, dark: bool) {
        self.link().blackout = dark;
        self.back().blackout = dark;
    }

    /// How long a packet would wait at the link now.
    pub fn queue_delay(&mut self) -> Duration {
        let now = self.call.world.now().monotonic;
        self.link().queue_delay(now)
    }

    /// Sends for a while. The part in use is of the link's rate, or 0 where it has none.
    pub fn run(&mut self, time: Duration) -> Seen {
        let end = self.call.world.elapsed() + time;
        let before = self.link().stats();
        let mut queues = Vec::new();
        while self.call.world.elapsed() < end {
            let now = self.call.world.elapsed();
            self.send_what_is_due(now);
            let next = match self.quiet {
                true => end,
                false => self.next_sound.min(self.next_picture).min(end),
            };
            self.call.run_for(next.saturating_sub(now).min(LOOK));
            self.receive();
            queues.push(self.queue_delay());
        }
        queues.sort();
        Seen {
            used: self.used(&before, time),
            target: self.target(0),
            queues,
        }
    }

    /// Runs until `done` looks at the scene and says so, asked every 50 ms, for `limit` at most;
    /// answers how long it took.
    pub fn run_until(&mut self, limit: Duration, done: impl Fn(&Self) -> bool) -> Option<Duration> {
        let start = self.call.world.elapsed();
        loop {
            let took = self.call.world.elapsed() - start;
            if done(self) {
                return Some(took);
            }
            if took >= limit {
                return None;
            }
            self.run(Duration::from_millis(50));
        }
    }

    /// What a peer has written down since it was last asked, where its plan says that it does.
    pub fn take_log(&mut self, peer: usize) -> Vec<LogEntry> {
        self.call.with(peer, |peer, _| {
            std::iter::from_fn(|| peer.poll_log()).collect()
        })
    }

    /// What the estimate of a flow's connection is, in bits per second.
    pub fn target(&self, flow: usize) -> f64 {
        let peer = self.call.peer(self.flows[flow].caller);
        let target = peer.available_outgoing_bitrate();
        target.map_or(0.0, |rate| rate.as_bps() as f64)
    }

    fn used(&mut self, before: &LinkStats, time: Duration) -> f64 {
        let link = self.link();
        let (after, rate) = (link.stats(), link.config.rate);
        // UDP and IPv4 headers take room as well.
        let bytes = after.bytes - before.bytes + 28 * (after.delivered - before.delivered);
        let rate = rate.map_or(f64::INFINITY, |rate| rate.as_bps() as f64);
        bytes as f64 * 8.0 / time.as_secs_f64() / rate
    }

    fn send_what_is_due(&mut self, now: Duration) {
        if let Some((caller, channel)) = self.bulk {
            self.call.with(caller, |peer, now| {
                while peer.buffered_amount(channel) < BULK_QUEUED
                    && peer.send_binary(now, channel, vec![7; 16_000]).is_ok()
                {}
            });
        }
        if self.quiet {
            return;
        }
        if now >= self.next_sound {
            self.next_sound += SOUND;
            for flow in 0..self.flows.len() {
                self.flows[flow].said.insert(now, None);
                let timestamp = ticks(now, 48);
                self.send(flow, Kind::Audio, timestamp, &[7; SOUND_LEN]);
            }
        }
        if now >= self.next_picture {
            self.next_picture += PICTURE;
            for flow in 0..self.flows.len() {
                let (caller, video) = (self.flows[flow].caller, self.flows[flow].video);
                let target = self.call.peer(caller).target_bitrate(video);
                let picture = self.flows[flow]
                    .encoder
                    .next(target.unwrap_or(Bitrate::kbps(0)));
                self.flows[flow].captured.insert(now, None);
                self.send(flow, Kind::Video, ticks(now, 90), &picture);
            }
        }
    }

    fn send(&mut self, flow: usize, kind: Kind, timestamp: u32, data: &[u8]) {
        let flow = &self.flows[flow];
        let (transceiver, codec) = match kind {
            Kind::Audio => (flow.audio, "opus"),
            Kind::Video => (flow.video, "VP8"),
        };
        self.call.with(flow.caller, |peer, now| {
            let agreed = peer
                .negotiated(transceiver)
                .and_then(|own| own.codec(codec));
            let Some(agreed) = agreed else {
                unreachable!("{codec} was not agreed on");
            };
            let frame = OutgoingFrame {
                rid: None,
                payload_type: agreed.payload_type_send,
                timestamp,
                marker: false,
                data,
                audio_level: None,
                layer: None,
                resolution: None,
                picture: PictureProperties::default(),
                times: twocan_proto::rtp::FrameTimes::default(),
                contributing: &[],
            };
            let sent = peer.send_frame(now, transceiver, &frame);
            assert_eq!(sent, Ok(()));
        });
    }

    fn receive(&mut self) {
        let now = self.call.world.elapsed();
        for index in 0..self.call.events.len() {
            for event in self.call.events[index].drain(..) {
                match event {
                    Event::Rtp(RtpEvent::KeyFrameRequested { .. }) => {
                        let own = self.flows.iter_mut().filter(|own| own.caller == index);
                        own.for_each(|own| own.encoder.want_key_frame());
                    }
                    Event::Rtp(RtpEvent::Frame(frame)) => {
                        let own = self.flows.iter_mut().filter(|own| own.callee() == index);
                        own.for_each(|own| own.take(now, frame.timestamp, frame.data.len()));
                    }
                    _ => {}
                }
            }
        }
        if let Some((caller, _)) = self.bulk {
            // What arrives is not looked at, but it is taken.
            self.call.take_messages(caller + 1);
        }
    }
}

/// A moment in units of 1/`rate` ms, as timestamps have it.
fn ticks(at: Duration, rate: u128) -> u32 {
    (at.as_micros() * rate / 1000) as u32
}
