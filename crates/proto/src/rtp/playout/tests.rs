use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::random::Random;
use crate::rtp::tests::{Call, instant, media};
use crate::rtp::{Delivery, Event, Format};

const RATE: u32 = 48_000;
/// 20 ms.
const FRAME: u32 = 960;
const MS: Duration = Duration::from_millis(1);

/// An application with a device: it takes 10 ms of sound every 10 ms, and changes the length of a
/// packet by 5 ms where it is asked to.
struct Device {
    buffer: AudioPlayout<u32>,
    queued: Duration,
    heard: Vec<u32>,
    operations: BTreeMap<&'static str, u32>,
}

impl Device {
    fn new(config: PlayoutConfig) -> Self {
        Self {
            buffer: AudioPlayout::new(config),
            queued: Duration::ZERO,
            heard: Vec::new(),
            operations: BTreeMap::new(),
        }
    }

    fn tick(&mut self, now: Instant) {
        while self.queued < MS * 10 {
            let (name, length) = match self.buffer.next(now, self.queued) {
                Decision::Wait => ("wait", MS * 10),
                Decision::Conceal { duration, .. } => ("conceal", MS * duration / 48),
                Decision::Decode { packet, operation } => {
                    self.heard.push(packet.payload);
                    let length = MS * packet.duration / 48;
                    match operation {
                        Operation::Normal => ("normal", length),
                        Operation::Merge => ("merge", length),
                        Operation::Accelerate => {
                            self.buffer.stretched(-240);
                            ("accelerate", length.saturating_sub(MS * 5))
                        }
                        Operation::PreemptiveExpand => {
                            self.buffer.stretched(240);
                            ("expand", length + MS * 5)
                        }
                    }
                }
            };
            *self.operations.entry(name).or_default() += 1;
            self.queued += length;
        }
        self.queued -= MS * 10;
    }

    fn count(&self, name: &str) -> u32 {
        self.operations.get(name).copied().unwrap_or(0)
    }

    fn mean_delay(&self) -> Duration {
        let stats = self.buffer.stats();
        stats.jitter_buffer_delay / u32::try_from(stats.jitter_buffer_emitted_count).unwrap()
    }
}

fn packet(number: u32) -> AudioPacket<u32> {
    AudioPacket {
        timestamp: number
            .wrapping_mul(FRAME)
            .wrapping_add(u32::MAX - 100 * FRAME),
        duration: FRAME,
        payload: number,
    }
}

/// Plays packets sent every 20 ms that arrive after such delays, `None` for never.
fn play(delays: &[Option<Duration>]) -> Device {
    play_with(PlayoutConfig::new(RATE), delays)
}

fn play_with(config: PlayoutConfig, delays: &[Option<Duration>]) -> Device {
    let start = instant();
    let mut device = Device::new(config);
    let sent = |number: usize| start + MS * 20 * number as u32;
    let mut arrivals: Vec<(Instant, u32)> = (delays.iter().enumerate())
        .filter_map(|(number, delay)| Some((sent(number) + (*delay)?, number as u32)))
        .collect();
    arrivals.sort_unstable();
    let mut arrivals = arrivals.into_iter().peekable();
    for step in 0.. {
        if arrivals.peek().is_none() && device.buffer.peek().is_none() {
            break;
        }
        let now = start + MS * 10 * step;
        while let Some((at, number)) = arrivals.next_if(|(at, _)| *at <= now) {
            let _ = device.buffer.insert(at, packet(number));
        }
        device.tick(now);
    }
    assert!(device.heard.is_sorted());
    device
}

#[test]
fn a_steady_stream_is_played_as_it_is_with_the_least_delay() {
    let device = play(&[Some(MS * 50); 500]);
    assert_eq!(device.heard.len(), 500);
    assert_eq!(device.count("merge"), 0);
    assert!(device.count("normal") >= 490, "{:?}", device.operations);
    assert!(device.mean_delay() <= MS * 40, "{:?}", device.mean_delay());
}

#[test]
fn at_30_ms_of_jitter_nearly_everything_is_in_time_and_waits_little() {
    let mut late = 0;
    let mut worst = Duration::ZERO;
    for seed in 1..=5 {
        let mut random = Random::new([seed; 32]);
        let delays: Vec<_> = (0..3000)
            .map(|_| Some(MS * (50 + random.below(31))))
            .collect();
        let device = play(&delays);
        late += 3000 - device.heard.len();
        worst = worst.max(device.mean_delay());
        let concealed = device.buffer.stats().concealed_samples;
        assert!(
            concealed * 100 <= 3000 * u64::from(FRAME),
            "at most 1 %: {concealed}"
        );
    }
    assert!(late * 100 <= 15_000, "{late}");
    assert!(worst <= MS * 40, "{worst:?}");
}

#[test]
fn spikes_are_survived_and_forgotten() {
    // Wi-Fi: every two seconds nothing for 150 ms, then all at once.
    let spiky = |number: u32| {
        let at = number % 100;
        Some(
            MS * 20
                + if at < 8 {
                    MS * (150 - 20 * at.min(7))
                } else {
                    Duration::ZERO
                },
        )
    };
    let delays: Vec<_> = (0..1500).map(spiky).collect();
    let device = play(&delays);
    assert!(device.heard.len() >= 1480, "{}", device.heard.len());
    let calm: Vec<_> = (0..4000)
        .map(|number| {
            if number < 500 {
                spiky(number)
            } else {
                Some(MS * 20)
            }
        })
        .collect();
    let device = play(&calm);
    assert_eq!(device.buffer.target_delay(), MS * 20);
    assert!(device.count("accelerate") > 0);
    let (last, heard_at) = device.buffer.last_played().unwrap();
    assert_eq!(last, packet(3999).timestamp);
    assert!(heard_at > instant() - MS * 1);
}

#[test]
fn losses_are_concealed_for_as_long_as_they_last() {
    let delays: Vec<_> = (0..500)
        .map(|number| (number % 50 != 25).then_some(MS * 30))
        .collect();
    let device = play(&delays);
    assert_eq!(device.heard.len(), 490);
    let stats = device.buffer.stats();
    assert_eq!(stats.concealment_events, 10);
    assert_eq!(device.count("merge"), 10);
    assert_eq!(stats.packets_discarded, 0);
}

#[test]
fn a_pause_of_the_sender_costs_no_delay() {
    // Opus in its discontinuous mode: a packet every 400 ms.
    let delays: Vec<_> = (0..1000u32)
        .map(|number| (number % 200 < 100 || number % 20 == 0).then_some(MS * 30))
        .collect();
    let device = play(&delays);
    let sent = delays.iter().flatten().count();
    assert_eq!(device.heard.len(), sent);
    assert!(device.mean_delay() <= MS * 60, "{:?}", device.mean_delay());
}

#[test]
fn a_slower_or_faster_clock_is_followed() {
    for direction in [1i64, -1] {
        // A thousandth, ten times what crystals do.
        let delays: Vec<_> = (0..6000i64)
            .map(|number| Some(MS * (300 + direction * number / 50) as u32))
            .collect();
        let device = play(&delays);
        assert!(device.heard.len() >= 5990, "{}", device.heard.len());
        assert!(device.mean_delay() <= MS * 60, "{:?}", device.mean_delay());
    }
}

#[test]
fn the_application_and_the_sender_may_want_another_delay() {
    let mut device = Device::new(PlayoutConfig::new(RATE));
    let start = instant();
    device.buffer.set_jitter_buffer_target(Some(MS * 200));
    for number in 0..400 {
        let now = start + MS * 20 * number;
        device.buffer.insert(now, packet(number)).unwrap();
        device.tick(now);
        device.tick(now + MS * 10);
    }
    assert_eq!(device.buffer.target_delay(), MS * 200);
    let stats = device.buffer.stats();
    let count = u32::try_from(stats.jitter_buffer_emitted_count).unwrap();
    assert_eq!(stats.jitter_buffer_target_delay / count, MS * 200);
    assert!(stats.jitter_buffer_minimum_delay / count <= MS * 40);
    assert!(device.mean_delay() >= MS * 180, "{:?}", device.mean_delay());
    device
        .buffer
        .set_playout_delay(Some((Duration::ZERO, MS * 100)));
    assert_eq!(device.buffer.target_delay(), MS * 100);
    device.buffer.set_playout_delay(Some((MS * 90, MS * 10)));
    assert_eq!(
        device.buffer.target_delay(),
        MS * 200,
        "nonsense means nothing"
    );
    device.buffer.set_jitter_buffer_target(Some(MS * 9000));
    assert_eq!(device.buffer.target_delay(), MS * 4000);
}

#[test]
fn a_sender_that_begins_anew_is_followed_and_useless_packets_are_refused() {
    let start = instant();
    let mut device = Device::new(PlayoutConfig::new(RATE));
    let at = |timestamp, payload| AudioPacket {
        timestamp,
        duration: FRAME,
        payload,
    };
    for number in 0..50 {
        let now = start + MS * 20 * number;
        device
            .buffer
            .insert(now, at(number * FRAME, number))
            .unwrap();
        device.tick(now);
        device.tick(now + MS * 10);
    }
    let now = start + MS * 1000;
    assert_eq!(device.buffer.insert(now, at(0, 0)), Err(Discarded::Late));
    let empty = AudioPacket {
        duration: 0,
        ..at(51 * FRAME, 0)
    };
    assert_eq!(device.buffer.insert(now, empty), Err(Discarded::Empty));
    device.buffer.insert(now, at(51 * FRAME, 51)).unwrap();
    assert_eq!(
        device.buffer.insert(now, at(51 * FRAME, 51)),
        Err(Discarded::Duplicate)
    );
    let heard = device.heard.len();
    for number in 0..50 {
        let now = now + MS * 20 * number;
        let anew = at(0x8000_0000 + number * FRAME, 1000 + number);
        device.buffer.insert(now, anew).unwrap();
        device.tick(now);
        device.tick(now + MS * 10);
    }
    assert!(device.heard.len() >= heard + 46);
    let never = device.buffer.stats().packets_discarded;
    let waiting = device.buffer.packets.len() as u64;
    assert_eq!(device.heard.len() as u64 + waiting + never, 50 + 50 + 1 + 3);
    assert!(waiting <= 3 && never <= 3 + 2, "{waiting} {never}");
}

#[test]
fn a_call_over_a_bad_path_is_heard() {
    let mut section = media("a", Format::Whole, 10);
    section.delivery = Delivery::Packets;
    let mut call = Call::new(1, &[section]);
    call.loss_percent = 2;
    call.jitter_ms = 30;
    let mut device = Device::new(PlayoutConfig::new(RATE));
    let mut arrived = 0;
    for number in 0..3000u32 {
        call.send(0, "a", number * FRAME, &number.to_be_bytes());
        for _ in 0..2 {
            call.run(MS * 10);
            for event in call.take_events(1) {
                if let Event::Packet(packet) = event {
                    arrived += 1;
                    let payload = packet.timestamp / FRAME;
                    let packet = AudioPacket {
                        timestamp: packet.timestamp,
                        duration: FRAME,
                        payload,
                    };
                    let _ = device.buffer.insert(call.now.monotonic, packet);
                }
            }
            device.tick(call.now.monotonic);
        }
    }
    let counted = device.buffer.stats();
    let side = &mut call.sides[1];
    let before = side.inbound_stats().next().unwrap();
    side.report_playout(&"a".into(), counted);
    let after = side.inbound_stats().next().unwrap();
    assert_eq!((before.playout, after.playout), (None, Some(counted)));
    assert_eq!(
        after.jitter_buffer_emitted_count,
        counted.jitter_buffer_emitted_count
    );
    assert_eq!(
        after.packets_discarded,
        before.packets_discarded + counted.packets_discarded
    );
    let late = counted.packets_discarded;
    assert!(late * 100 <= arrived, "{late} of {arrived}");
    assert!(device.mean_delay() <= MS * 60, "{:?}", device.mean_delay());
}

proptest! {
    #[test]
    fn every_packet_is_played_once_in_order_or_counted(
        packets in prop::collection::vec((any::<u16>(), 0u32..4000, 0u64..100, any::<bool>()), 1..300),
    ) {
        let mut now = instant();
        let mut device = Device::new(PlayoutConfig::new(RATE));
        let mut taken = 0;
        let mut refused = 0;
        let mut timestamp = 0u32;
        for (number, (jump, duration, wait, absurd)) in packets.iter().enumerate() {
            let step = if *absurd && *jump > 60_000 { u32::from(*jump) << 15 } else { u32::from(jump % 4000) };
            timestamp = timestamp.wrapping_add(step).wrapping_sub(1000);
            let packet = AudioPacket { timestamp, duration: *duration, payload: number as u32 };
            match device.buffer.insert(now, packet) {
                Ok(()) => taken += 1,
                Err(_) => refused += 1,
            }
            now += MS * (*wait as u32);
            device.tick(now);
        }
        for _ in 0..2000 {
            now += MS * 10;
            device.tick(now);
        }
        let discarded = device.buffer.stats().packets_discarded;
        prop_assert_eq!(device.heard.len() as u64 + discarded, taken + refused);
        let mut once = device.heard.clone();
        once.sort_unstable();
        once.dedup();
        prop_assert_eq!(once.len(), device.heard.len());
    }
}
