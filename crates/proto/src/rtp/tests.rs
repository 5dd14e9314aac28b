//! Two sessions and the network between them.

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
        remote_mid: None,
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
            goog_remb: false,
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
            picture: PictureProperties::default(),
            times: crate::rtp::FrameTimes::default(),
            contributing: &[],
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

pub(super) type MakeFrame = fn(u32, bool, usize) -> Vec<u8>;

/// Sends 120 frames of video through the call; those sent.
pub(super) fn send_video(call: &mut Call, make: MakeFrame) -> Vec<Vec<u8>> {
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
