use std::collections::BTreeMap;
use std::time::Duration;

use twocan_wire::rtcp;
use twocan_wire::rtp::ExtensionKind;

use super::*;
use crate::random::Random;
use crate::time::Now;

/// Where virtual time begins.
#[allow(
    clippy::disallowed_methods,
    reason = "an Instant cannot be made otherwise"
)]
pub(super) fn instant() -> Instant {
    Instant::now()
}

pub(super) fn media(mid: &str, format: Format, ssrc: u32) -> Media {
    let mut extensions = ExtensionMap::default();
    extensions.insert(ExtensionKind::Mid, 4);
    extensions.insert(ExtensionKind::AbsSendTime, 2);
    extensions.insert(ExtensionKind::TransportSequence, 3);
    let video = format.is_video();
    let number = if video { 96 } else { 111 };
    Media {
        mid: Mid::from(mid),
        sends: true,
        receives: true,
        codecs: vec![Codec {
            format,
            payload_type: PayloadType(number),
            payload_type_send: PayloadType(number),
            rtx: video.then_some(PayloadType(97)),
            rtx_send: video.then_some(PayloadType(97)),
            clock_rate: if video { 90_000 } else { 48_000 },
            nack: video,
            pli: video,
            fir: video,
            transport_cc: true,
            ack_ccfb: false,
        }],
        extensions_send: extensions,
        extensions_receive: extensions,
        encodings: vec![Encoding {
            rid: None,
            ssrc: Ssrc(ssrc),
            rtx_ssrc: Ssrc(ssrc + 1),
        }],
        cname: "c".into(),
        remote: Vec::new(),
        rtcp_rsize: true,
        delivery: Delivery::Frames,
        repair: Repair::default(),
    }
}

/// The next packet of any class but padding.
pub(super) fn poll_any(session: &mut Session, now: Now, out: &mut Vec<u8>) -> bool {
    let classes = [Class::Audio, Class::Retransmission, Class::Video];
    classes
        .into_iter()
        .any(|class| session.poll_packet(now, class, out).is_some())
}

enum Datagram {
    Rtp(Vec<u8>),
    Rtcp(Vec<u8>),
}

/// Two sessions and the network between them, in virtual time.
pub(super) struct Call {
    pub(super) now: Now,
    pub(super) sides: [Session; 2],
    wire: BTreeMap<(Instant, u64), (usize, Datagram)>,
    sent: u64,
    random: Random,
    pub(super) loss_percent: u32,
    /// Everything is lost after so many datagrams.
    pub(super) lose_after: Option<u32>,
    pub(super) delay: Duration,
    pub(super) jitter_ms: u32,
    pub(super) events: [Vec<Event>; 2],
    /// Timestamps of frames, and when they came out.
    handed_out: [Vec<(u32, Instant)>; 2],
}

impl Call {
    pub(super) fn new(seed: u8, media: &[Media]) -> Self {
        let mut random = Random::new([seed; 32]);
        let mut side = |offset: u32| {
            let mut session = Session::new(random.fork());
            let own = media.iter().cloned().map(|mut media| {
                for encoding in &mut media.encodings {
                    encoding.ssrc = Ssrc(encoding.ssrc.0 + offset);
                    encoding.rtx_ssrc = Ssrc(encoding.rtx_ssrc.0 + offset);
                }
                media
            });
            session.configure(own.collect());
            session
        };
        let sides = [side(0), side(500_000)];
        Self {
            now: Now {
                monotonic: instant(),
                wallclock: Duration::from_secs(1_800_000_000),
            },
            sides,
            wire: BTreeMap::new(),
            sent: 0,
            random,
            loss_percent: 0,
            lose_after: None,
            delay: Duration::from_millis(20),
            jitter_ms: 0,
            events: [Vec::new(), Vec::new()],
            handed_out: [Vec::new(), Vec::new()],
        }
    }

    pub(super) fn send(&mut self, side: usize, mid: &str, timestamp: u32, data: &[u8]) {
        let mid = Mid::from(mid);
        let section = self.sides[side].media.iter().find(|media| media.mid == mid);
        let payload_type = section.unwrap().codecs[0].payload_type_send;
        let frame = OutgoingFrame {
            rid: None,
            payload_type,
            timestamp,
            marker: false,
            data,
            audio_level: None,
            layer: None,
            resolution: None,
        };
        self.sides[side].send_frame(self.now, &mid, &frame).unwrap();
        self.flush();
    }

    pub(super) fn flush(&mut self) {
        for side in [0, 1] {
            loop {
                let mut out = Vec::new();
                if !poll_any(&mut self.sides[side], self.now, &mut out) {
                    break;
                }
                assert!(out.len() <= 1200);
                self.transmit(side, Datagram::Rtp(out));
            }
            loop {
                let mut out = Vec::new();
                if !self.sides[side].poll_rtcp(self.now, &mut out) {
                    break;
                }
                assert!(out.len() <= 1200 && rtcp::packets(&out).all(|own| own.is_ok()));
                self.transmit(side, Datagram::Rtcp(out));
            }
            while let Some(event) = self.sides[side].poll_event() {
                if let Event::Frame(frame) = &event {
                    self.handed_out[side].push((frame.timestamp, self.now.monotonic));
                }
                self.events[side].push(event);
            }
        }
    }

    fn transmit(&mut self, from: usize, datagram: Datagram) {
        if self.random.below(100) < self.loss_percent {
            return;
        }
        if let Some(left) = &mut self.lose_after {
            if *left == 0 {
                return;
            }
            *left -= 1;
        }
        let jitter = self.random.below(self.jitter_ms + 1);
        let at = self.now.monotonic + self.delay + Duration::from_millis(u64::from(jitter));
        self.sent += 1;
        self.wire.insert((at, self.sent), (1 - from, datagram));
    }

    /// Lets time pass, every packet and timeout in its order.
    pub(super) fn run(&mut self, time: Duration) {
        let end = self.now.monotonic + time;
        let mut steps = 0;
        loop {
            let packet = self.wire.first_key_value().map(|((at, _), _)| *at);
            let timers = self.sides.iter().filter_map(|side| side.poll_timeout());
            let timer = timers.map(|deadline| deadline.at).min();
            let Some(at) = packet
                .into_iter()
                .chain(timer)
                .min()
                .filter(|at| *at <= end)
            else {
                break;
            };
            self.now = self.now.at(at.max(self.now.monotonic));
            if packet.is_some_and(|packet| packet <= at) {
                let ((_, _), (to, datagram)) = self.wire.pop_first().unwrap();
                match datagram {
                    Datagram::Rtp(bytes) => self.sides[to].handle_rtp(self.now, &bytes),
                    Datagram::Rtcp(bytes) => self.sides[to].handle_rtcp(self.now, &bytes),
                }
            } else {
                self.sides
                    .iter_mut()
                    .for_each(|side| side.handle_timeout(self.now));
            }
            self.flush();
            steps += 1;
            assert!(steps < 1_000_000, "timers without progress");
        }
        self.now = self.now.at(end);
    }

    /// What happened at a side since this was last called.
    pub(in crate::rtp) fn take_events(&mut self, side: usize) -> Vec<Event> {
        std::mem::take(&mut self.events[side])
    }

    /// Which frames of video came out at a side, by their number, and when.
    pub(super) fn shown(&self, side: usize, start: Instant) -> Vec<(u32, Duration)> {
        let all = self.handed_out[side].iter();
        all.map(|(timestamp, at)| (timestamp / 3000, *at - start))
            .collect()
    }

    /// Whether a side was asked for a key frame since this was last called.
    pub(super) fn takes_key_frame_request(&mut self, side: usize) -> bool {
        let before = self.events[side].len();
        self.events[side].retain(|own| !matches!(own, Event::KeyFrameRequested { .. }));
        self.events[side].len() < before
    }

    pub(super) fn frames(&self, side: usize) -> Vec<&Frame> {
        let events = self.events[side].iter();
        let frames = events.filter_map(|event| match event {
            Event::Frame(frame) => Some(frame),
            _ => None,
        });
        frames.collect()
    }
}

pub(super) fn vp8_frame(number: u32, key: bool, len: usize) -> Vec<u8> {
    let mut frame = vec![if key { 0x10 } else { 0x11 }];
    frame.extend(number.to_be_bytes());
    frame.resize(len.max(6), number as u8);
    frame
}

fn h264_frame(number: u32, key: bool, len: usize) -> Vec<u8> {
    let mut frame = Vec::new();
    if key {
        frame.extend([0, 0, 0, 1, 0x67, 1, 2, 0, 0, 0, 1, 0x68, 3]);
    }
    frame.extend([0, 0, 0, 1, if key { 0x65 } else { 0x41 }]);
    frame.extend(std::iter::repeat_n((number % 250 + 1) as u8, len));
    frame
}

fn vp9_frame(number: u32, key: bool, len: usize) -> Vec<u8> {
    let mut frame = vec![if key { 0x82 } else { 0x86 }];
    frame.extend(number.to_be_bytes());
    frame.resize(len.max(6), number as u8);
    frame
}

/// A frame OBU in the low-overhead format, for a key frame with a sequence header before it.
fn av1_frame(number: u32, key: bool, len: usize) -> Vec<u8> {
    let mut frame = Vec::new();
    if key {
        frame.extend([0x0a, 3, 0, 0, 0]);
    }
    // A size in two bytes of LEB128.
    frame.extend([0x32, 0x80 | (len & 0x7f) as u8, (len >> 7) as u8]);
    let start = frame.len();
    frame.push(if key { 0x10 } else { 0x30 });
    frame.extend(number.to_be_bytes());
    frame.resize(start + len, number as u8);
    frame
}

fn h265_frame(number: u32, key: bool, len: usize) -> Vec<u8> {
    let mut frame = Vec::new();
    if key {
        frame.extend([
            0, 0, 0, 1, 0x40, 1, 1, 0, 0, 0, 1, 0x42, 1, 2, 0, 0, 0, 1, 0x44, 1, 3,
        ]);
    }
    frame.extend([0, 0, 0, 1, if key { 0x26 } else { 0x02 }, 1]);
    frame.extend(std::iter::repeat_n((number % 250 + 1) as u8, len));
    frame
}

type MakeFrame = fn(u32, bool, usize) -> Vec<u8>;

/// Sends 120 frames of video through the call; those sent.
fn send_video(call: &mut Call, make: MakeFrame) -> Vec<Vec<u8>> {
    (0..120)
        .map(|number| {
            let len = 200 + (number as usize * 977) % 6000;
            let data = make(number, number == 0, len);
            call.send(0, "v", number * 3000, &data);
            call.run(Duration::from_millis(33));
            data
        })
        .collect()
}

#[test]
fn lost_packets_are_retransmitted_and_every_frame_arrives_in_order() {
    let makes: [(Format, MakeFrame); 5] = [
        (Format::Vp8, vp8_frame),
        (Format::Vp9, vp9_frame),
        (Format::Av1, av1_frame),
        (Format::H264(PacketizationMode::NonInterleaved), h264_frame),
        (Format::H265, h265_frame),
    ];
    for (format, make) in makes {
        for (seed, has_rtx) in [(1, true), (2, true), (3, false), (4, false)] {
            let mut section = media("v", format, 10);
            if !has_rtx {
                section.codecs[0].rtx = None;
                section.codecs[0].rtx_send = None;
            }
            let mut call = Call::new(seed, &[section]);
            call.loss_percent = 5;
            call.jitter_ms = 3;
            let first = make(0, true, 100);
            // The first packet of all: were it lost, only a new key frame could help.
            call.loss_percent = 0;
            call.send(0, "v", 0, &first);
            call.run(Duration::from_millis(30));
            call.loss_percent = 5;
            let sent: Vec<Vec<u8>> = (1..120)
                .map(|number| {
                    let data = make(number, false, 200 + (number as usize * 977) % 6000);
                    call.send(0, "v", number * 3000, &data);
                    call.run(Duration::from_millis(33));
                    data
                })
                .collect();
            call.loss_percent = 0;
            // The last packets may be lost; nothing after them shows that.
            call.send(0, "v", 120 * 3000, &make(120, false, 100));
            call.run(Duration::from_secs(2));
            let frames = call.frames(1);
            assert_eq!(frames.len(), 121, "{format:?} seed {seed} rtx {has_rtx}");
            for (frame, sent) in frames[1..].iter().zip(&sent) {
                assert_eq!(
                    &frame.data, sent,
                    "{format:?} seed {seed} at {}",
                    frame.timestamp
                );
                assert_eq!(frame.lost_before, 0);
            }
            let outbound = call.sides[0].outbound_stats().next().unwrap();
            assert!(outbound.retransmitted_packets_sent > 5);
            assert!(outbound.nack_count > 0);
            let inbound = call.sides[1].inbound_stats().next().unwrap();
            let repaired = inbound.retransmitted_packets_received;
            assert_eq!(repaired > 0, has_rtx);
            assert_eq!(inbound.pli_count, 0);
        }
    }
}

#[test]
fn packets_arrive_as_they_were_sent_in_whatever_order_and_losses_are_repaired() {
    for (seed, has_rtx) in [(1, true), (2, true), (3, false), (4, false)] {
        let mut section = media("v", Format::Vp8, 10);
        section.delivery = Delivery::Packets;
        if !has_rtx {
            section.codecs[0].rtx = None;
            section.codecs[0].rtx_send = None;
        }
        let mut call = Call::new(seed, &[section]);
        call.jitter_ms = 3;
        let payload = |number: u16| {
            let mut payload = vec![0x10; 20 + usize::from(number) % 900];
            payload[..2].copy_from_slice(&number.to_be_bytes());
            payload
        };
        let mut sent = BTreeMap::new();
        for step in 0..600u16 {
            // As a forwarder does: a gap now and then, of which every second is filled late; and
            // now and then a number twice.
            let number = match step % 40 {
                17 => continue,
                20 => step - 3,
                23 => step - 1,
                _ => step,
            };
            if step % 80 == 20 {
                continue;
            }
            let number = number.wrapping_add(65_000);
            let timestamp = u32::from(step) * 900;
            let packet = OutgoingPacket {
                rid: None,
                payload_type: PayloadType(96),
                sequence_number: Some(SeqNo16(number)),
                sampled_at: None,
                timestamp,
                marker: step % 3 == 0,
                payload: &payload(number),
                audio_level: None,
                dependency_descriptor: None,
            };
            call.loss_percent = if (1..590).contains(&step) { 5 } else { 0 };
            let now = call.now;
            let taken = call.sides[0].send_packet(now, &Mid::from("v"), &packet);
            let before = sent.insert(number, (timestamp, step % 3 == 0));
            match before {
                None => assert_eq!(taken, Ok(())),
                Some(before) => {
                    assert_eq!(taken, Err(SendError::SequenceNumberUsed));
                    sent.insert(number, before);
                }
            }
            call.flush();
            call.run(Duration::from_millis(10));
        }
        call.loss_percent = 0;
        call.run(Duration::from_secs(2));
        let mut repaired = 0;
        for event in &call.events[1] {
            let Event::Packet(packet) = event else {
                assert!(!matches!(event, Event::Frame(_)));
                continue;
            };
            repaired += u32::from(packet.is_retransmission);
            let number = (packet.number & 0xffff) as u16;
            let expected = sent.remove(&number);
            assert_eq!(
                expected,
                Some((packet.timestamp, packet.marker)),
                "seed {seed}"
            );
            assert_eq!(packet.payload, payload(number));
        }
        assert!(sent.is_empty(), "seed {seed}: {sent:?} never arrived");
        assert_eq!(repaired > 0, has_rtx);
    }
}

#[test]
fn without_retransmission_video_goes_on_with_the_key_frame_that_it_asks_for() {
    let makes: [(Format, MakeFrame); 5] = [
        (Format::Vp8, vp8_frame),
        (Format::Vp9, vp9_frame),
        (Format::Av1, av1_frame),
        (Format::H264(PacketizationMode::NonInterleaved), h264_frame),
        (Format::H265, h265_frame),
    ];
    for (format, make) in makes {
        go_on_with_a_key_frame(format, make);
    }
}

fn go_on_with_a_key_frame(format: Format, make: MakeFrame) {
    let mut section = media("v", format, 10);
    section.codecs[0].nack = false;
    let mut call = Call::new(1, &[section]);
    let mut want_key = true;
    for number in 0..100 {
        call.loss_percent = if number == 30 { 100 } else { 0 };
        let data = make(number, std::mem::take(&mut want_key), 3000);
        call.send(0, "v", number * 3000, &data);
        call.loss_percent = 0;
        call.run(Duration::from_millis(33));
        let asked = call.events[0]
            .iter()
            .any(|own| matches!(own, Event::KeyFrameRequested { .. }));
        if asked {
            call.events[0].clear();
            want_key = true;
        }
    }
    let frames = call.frames(1);
    let keys: Vec<u32> = frames
        .iter()
        .filter(|own| own.key_frame)
        .map(|own| own.lost_before)
        .collect();
    assert_eq!(
        keys,
        [0, 3],
        "{format:?}: one frame of three packets was lost"
    );
    assert!(frames.len() > 88, "{format:?}: {}", frames.len());
    let stats = call.sides[1].inbound_stats().next().unwrap();
    assert_eq!((stats.pli_count, stats.packets_lost), (1, 3));
}

#[test]
fn sound_goes_on_after_a_loss_and_says_how_much_is_missing() {
    let mut call = Call::new(1, &[media("a", Format::Whole, 10)]);
    for number in 0..100u32 {
        call.loss_percent = if (40..42).contains(&number) { 100 } else { 0 };
        call.send(0, "a", number * 960, &number.to_be_bytes());
        call.loss_percent = 0;
        call.run(Duration::from_millis(20));
    }
    call.run(Duration::from_millis(200));
    let frames = call.frames(1);
    assert_eq!(frames.len(), 98);
    let gaps: Vec<(u32, u32)> = frames
        .iter()
        .filter(|frame| frame.lost_before > 0)
        .map(|frame| (frame.timestamp / 960, frame.lost_before))
        .collect();
    assert_eq!(gaps, [(42, 2)]);
}

#[test]
fn reports_tell_loss_and_round_trip_time() {
    let mut call = Call::new(1, &[media("a", Format::Whole, 10)]);
    call.delay = Duration::from_millis(50);
    for number in 0..400u32 {
        call.loss_percent = if number % 10 == 0 { 100 } else { 0 };
        call.send(0, "a", number * 960, &[1; 80]);
        call.loss_percent = 0;
        call.run(Duration::from_millis(20));
    }
    call.run(Duration::from_secs(3));
    let stats = call.sides[0].outbound_stats().next().unwrap();
    assert_eq!(
        (stats.packets_sent, stats.bytes_sent, stats.frames_sent),
        (400, 32_000, 400)
    );
    let remote = stats.remote.unwrap();
    assert_eq!(
        remote.packets_lost, 39,
        "the very first was before the beginning"
    );
    let rtt = remote.round_trip_time.unwrap();
    assert!(
        rtt.abs_diff(Duration::from_millis(100)) < Duration::from_millis(2),
        "{rtt:?}"
    );
    let inbound = call.sides[1].inbound_stats().next().unwrap();
    assert_eq!(inbound.packets_received, 360);
    assert!(
        inbound.jitter < Duration::from_millis(1),
        "{:?}",
        inbound.jitter
    );
}

#[test]
fn the_first_measured_round_trip_counts_and_later_ones_are_averaged() {
    let mut session = Session::new(Random::new([1; 32]));
    let ms = Duration::from_millis(1);
    assert_eq!(session.rtt, ms * 100, "until one is measured");
    for (measured, expected) in [(20, 20), (100, 30), (30, 30)] {
        session.set_round_trip_time(ms * measured);
        assert_eq!(session.rtt, ms * expected);
    }
}

#[test]
fn transport_feedback_accounts_for_every_packet() {
    let mut call = Call::new(1, &[media("v", Format::Vp8, 10)]);
    send_video(&mut call, vp8_frame);
    call.run(Duration::from_secs(1));
    let stats = call.sides[0].transport_stats();
    let sent = call.sides[0].outbound_stats().next().unwrap().packets_sent;
    assert_eq!((stats.packets_arrived, stats.packets_missing), (sent, 0));
    assert!(stats.feedback_received >= 30, "about ten a second");
    assert_eq!(
        stats.feedback_received,
        call.sides[1].transport_stats().feedback_sent
    );
}

#[test]
fn a_section_that_ends_says_goodbye_and_one_that_stays_goes_on() {
    let sections = [media("a", Format::Whole, 10), media("b", Format::Whole, 20)];
    let mut call = Call::new(1, &sections);
    for mid in ["a", "b"] {
        call.send(0, mid, 0, &[1]);
    }
    call.run(Duration::from_millis(100));
    assert_eq!(call.sides[1].inbound_stats().count(), 2);
    call.sides[0].configure(sections[..1].to_vec());
    call.flush();
    call.run(Duration::from_millis(100));
    assert_eq!(call.sides[1].inbound_stats().count(), 1);
    assert!(call.events[1].contains(&Event::SourceEnded {
        mid: Mid::from("b"),
        ssrc: Ssrc(20)
    }));
    call.send(0, "a", 960, &[2]);
    call.run(Duration::from_millis(100));
    let stats = call.sides[0].outbound_stats().next().unwrap();
    assert_eq!(stats.packets_sent, 2, "the stream was kept");
    call.sides[0].configure(Vec::new());
    call.flush();
    call.run(Duration::from_millis(100));
    assert_eq!(
        call.sides[1].inbound_stats().count(),
        0,
        "the last one said goodbye, too"
    );
}
