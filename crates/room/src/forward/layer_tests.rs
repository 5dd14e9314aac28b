//! Streams of AV1 as our sender makes them, in layers, and what one viewer is passed of them.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use twocan_proto::endpoint::PeerId;
use twocan_proto::negotiate::{self, Kind, NegotiatedCodec, TransceiverId};
use twocan_proto::random::Random;
use twocan_proto::rtp::{
    Class, Codec, Delivery, Encoding, Event, Format, FrameLayer, FrameTimes, IncomingPacket, Media,
    OutgoingFrame, PictureProperties, Repair, ScalabilityMode, Session,
};
use twocan_proto::time::Now;
use twocan_proto::wire::ids::{Mid, PayloadType, Ssrc};
use twocan_proto::wire::rtp::{
    DependencyDescriptor, DependencyStructure, ExtensionKind, ExtensionMap, Resolution,
};

use super::scalable::Target;
use super::slot::Slot;
use super::track::{Track, TrackId};

const AV1: PayloadType = PayloadType(45);
const PICTURE: Duration = Duration::from_millis(33);

/// Pictures after which a wish that no key frame is needed for, or has come for, is met: a round of the
/// temporal layers.
const ROUND: u32 = 4;

fn section() -> Media {
    let mut extensions = ExtensionMap::default();
    extensions.insert(ExtensionKind::Mid, 1);
    extensions.insert(ExtensionKind::DependencyDescriptor, 2);
    Media {
        mid: Mid::from("v"),
        remote_mid: None,
        sends: true,
        receives: true,
        codecs: vec![Codec {
            format: Format::Av1,
            payload_type: AV1,
            payload_type_send: AV1,
            rtx: None,
            rtx_send: None,
            clock_rate: 90_000,
            nack: true,
            pli: true,
            fir: false,
            transport_cc: false,
            ack_ccfb: false,
            goog_remb: false,
        }],
        extensions_send: extensions,
        extensions_receive: extensions,
        encodings: vec![Encoding {
            rid: None,
            ssrc: Ssrc(10),
            rtx_ssrc: Ssrc(11),
        }],
        cname: "c".into(),
        remote: Vec::new(),
        rtcp_rsize: true,
        delivery: Delivery::Packets,
        repair: Repair::default(),
    }
}

fn negotiated() -> NegotiatedCodec {
    NegotiatedCodec {
        name: "AV1".into(),
        clock_rate: 90_000,
        channels: 1,
        payload_type: AV1,
        payload_type_send: AV1,
        rtx_payload_type: None,
        rtx_payload_type_send: None,
        fmtp: String::new(),
        fmtp_remote: String::new(),
        feedback: negotiate::Feedback::default(),
    }
}

/// A temporal unit of one layer: a delimiter, a sequence header where all begins, a frame.
fn temporal_unit(layer: &FrameLayer, len: usize) -> Vec<u8> {
    let begins = layer.key_picture && layer.spatial == 0;
    let mut unit = vec![0x12, 0];
    if begins {
        unit.extend([0x0a, 3, 0, 0, 0]);
    }
    // Without a size, to the end.
    unit.extend([0x34, layer.temporal << 5 | layer.spatial << 3]);
    unit.push(if begins { 0x10 } else { 0x30 });
    unit.resize(unit.len() + len, 7);
    unit
}

/// A frame of the publisher.
#[derive(Debug, Clone, Default)]
struct Made {
    picture: u32,
    layer: Target,
    refers_to: Vec<u16>,
    /// Packets that arrived, and those that were passed on.
    arrived: u32,
    passed: u32,
    /// Numbers of those that were passed on, and whether they end the picture.
    ends: Vec<(u16, bool)>,
}

/// A publisher, its track on the server, and one viewer's line.
struct Lab {
    now: Now,
    publisher: Session,
    server: Session,
    random: Random,
    mode: ScalabilityMode,
    track: Track,
    slot: Slot,
    structure: Option<DependencyStructure>,
    frames: BTreeMap<u16, Made>,
    /// Packets on their way, by when they arrive.
    wire: Vec<(Instant, Vec<u8>)>,
    /// Of a hundred packets, so many are lost for good, and so many come late.
    lost: u32,
    late: u32,
    pictures: u32,
}

impl Lab {
    fn new(seed: u8, mode: &str) -> Self {
        #[expect(clippy::disallowed_methods, reason = "an Instant has no other origin")]
        let start = Instant::now();
        let mut random = Random::new([seed; 32]);
        let mut session = || {
            let mut session = Session::new(random.fork());
            session.configure(vec![section()]);
            session
        };
        let (publisher, server) = (session(), session());
        let mut track = Track::new(PeerId(1), TransceiverId(0), Kind::Video, None);
        track.agree(&[negotiated()], &[]);
        let mut slot = Slot::new(TransceiverId(1), Kind::Video);
        slot.assign(Some(TrackId(0)));
        Self {
            now: Now {
                monotonic: start,
                wallclock: Duration::from_secs(1_800_000_000),
            },
            publisher,
            server,
            random,
            mode: mode.parse().unwrap(),
            track,
            slot,
            structure: None,
            frames: BTreeMap::new(),
            wire: Vec::new(),
            lost: 0,
            late: 0,
            pictures: 0,
        }
    }

    fn highest(&self) -> Target {
        Target {
            spatial: self.mode.spatial_layers() - 1,
            temporal: self.mode.temporal_layers() - 1,
        }
    }

    /// The publisher sends so many pictures, with a key picture whenever the viewer needs one.
    fn run(&mut self, pictures: u32) {
        for _ in 0..pictures {
            let is_key = self.pictures == 0 || self.slot.wants_key_frame().is_some();
            let layers = self.mode.temporal_layers();
            let temporal = match (is_key, layers, self.pictures % ROUND) {
                (true, ..) | (_, 1, _) | (.., 0) => 0,
                (_, 2, at) => (at % 2) as u8,
                (_, _, 2) => 1,
                _ => 2,
            };
            for spatial in 0..self.mode.spatial_layers() {
                self.send(is_key, spatial, temporal);
            }
            self.pictures += 1;
            self.now.monotonic += PICTURE;
            self.now.wallclock += PICTURE;
            self.deliver();
        }
    }

    fn send(&mut self, key_picture: bool, spatial: u8, temporal: u8) {
        let layer = FrameLayer {
            mode: self.mode,
            spatial,
            temporal,
            key_picture,
            last_of_picture: spatial + 1 == self.mode.spatial_layers(),
        };
        let len = 200 + self.random.u32() as usize % 3_000;
        let frame = OutgoingFrame {
            rid: None,
            payload_type: AV1,
            timestamp: self.pictures * 3000,
            marker: false,
            data: &temporal_unit(&layer, len),
            audio_level: None,
            layer: Some(layer),
            resolution: Some(Resolution {
                width: 320,
                height: 180,
            }),
            picture: PictureProperties::default(),
            times: FrameTimes::default(),
            contributing: &[],
        };
        let mid = Mid::from("v");
        self.publisher.send_frame(self.now, &mid, &frame).unwrap();
        let mut packet = Vec::new();
        while self
            .publisher
            .poll_packet(self.now, Class::Video, &mut packet)
            .is_some()
        {
            let luck = self.random.u32() % 100;
            // Nothing would be known of what comes before the first key frame.
            let (lost, late) = match key_picture && self.pictures == 0 {
                true => (0, 0),
                false => (self.lost, self.late),
            };
            let delay = match luck {
                luck if luck < lost => None,
                luck if luck < lost + late => Some(PICTURE * (1 + self.random.u32() % 5)),
                _ => Some(Duration::ZERO),
            };
            if let Some(delay) = delay {
                self.wire.push((self.now.monotonic + delay, packet.clone()));
            }
            packet.clear();
        }
    }

    fn deliver(&mut self) {
        let now = self.now;
        let (due, rest) = std::mem::take(&mut self.wire)
            .into_iter()
            .partition(|(at, _)| *at <= now.monotonic);
        self.wire = rest;
        let due: Vec<(Instant, Vec<u8>)> = due;
        for (_, packet) in due {
            self.server.handle_rtp(now, &packet);
            while let Some(event) = self.server.poll_event() {
                if let Event::Packet(packet) = event {
                    self.pass(packet);
                }
            }
        }
    }

    fn pass(&mut self, packet: IncomingPacket) {
        let picture = packet.timestamp / 3000;
        let value = packet.dependency_descriptor.clone().unwrap();
        let descriptor = DependencyDescriptor::parse(&value, self.structure.as_ref()).unwrap();
        self.structure = descriptor.structure.clone().or(self.structure.take());
        let described = descriptor.frame(self.structure.as_ref().unwrap()).unwrap();
        let (stream, _, seen) = self.track.take(self.now.monotonic, packet, None).unwrap();
        let outgoing = self.slot.take(stream, &seen, AV1, 90_000);
        let number = descriptor.frame_number;
        let back = described.frame_differences.iter();
        let made = self.frames.entry(number).or_default();
        made.picture = picture;
        made.layer = Target {
            spatial: described.spatial,
            temporal: described.temporal,
        };
        made.refers_to = back.map(|back| number.wrapping_sub(*back)).collect();
        made.arrived += 1;
        if let Some(outgoing) = outgoing.filter(|own| !own.is_empty) {
            made.passed += 1;
            let ends = (outgoing.sequence_number.0, outgoing.marker);
            made.ends.push(ends);
        }
    }

    fn aim(&mut self, target: Target) {
        self.slot.aim(Some((0, target)));
    }

    /// A frame goes on whole or not at all, and with all to which it refers, but for what never came.
    fn assert_decodable(&self, what: &str) {
        for (number, made) in &self.frames {
            assert!(
                made.passed == 0 || made.passed == made.arrived,
                "{what}: {} of {} packets of {number}",
                made.passed,
                made.arrived
            );
            if made.passed == 0 {
                continue;
            }
            for other in &made.refers_to {
                let was_passed = self.frames.get(other).is_none_or(|own| own.passed > 0);
                assert!(was_passed, "{what}: {number} {made:?} needs {other}");
            }
        }
    }

    /// The highest layers of what was passed on of the last pictures.
    fn passed_of_last(&self, pictures: u32) -> Option<Target> {
        let from = self.pictures - pictures;
        let late = self.frames.values();
        let late = late.filter(|own| own.picture >= from && own.passed > 0);
        late.map(|own| own.layer).reduce(|one, other| Target {
            spatial: one.spatial.max(other.spatial),
            temporal: one.temporal.max(other.temporal),
        })
    }
}

const MODES: [&str; 8] = [
    "L1T2", "L1T3", "L2T1", "L2T2", "L2T3_KEY", "L3T3", "L3T3_KEY", "S2T2",
];

/// All that a viewer may want, in an order that is another for each seed.
fn wishes(random: &mut Random, highest: Target, count: usize) -> Vec<Target> {
    let mut wish = || Target {
        spatial: (random.u32() % (u32::from(highest.spatial) + 1)) as u8,
        temporal: (random.u32() % (u32::from(highest.temporal) + 1)) as u8,
    };
    (0..count).map(|_| wish()).collect()
}

#[test]
fn each_wish_is_met_with_all_that_it_takes_to_decode() {
    for mode in MODES {
        for seed in 1..=5 {
            let mut lab = Lab::new(seed, mode);
            lab.aim(lab.highest());
            lab.run(2 * ROUND);
            assert_eq!(lab.passed_of_last(ROUND), Some(lab.highest()));
            let mut random = Random::new([!seed; 32]);
            for wish in wishes(&mut random, lab.highest(), 12) {
                lab.aim(wish);
                // A change in the middle of a round.
                lab.run(1 + random.u32() % ROUND);
                lab.run(2 * ROUND);
                let what = format!("{mode}, seed {seed}, {wish:?}");
                assert_eq!(lab.passed_of_last(ROUND), Some(wish), "{what}");
                lab.assert_decodable(&what);
            }
            assert_numbered(&lab, &format!("{mode}, seed {seed}"));
        }
    }
}

/// Where nothing was lost, numbers go on without a gap, and the last of a picture alone ends it.
fn assert_numbered(lab: &Lab, what: &str) {
    let mut pictures: BTreeMap<u32, Vec<(u16, bool)>> = BTreeMap::new();
    for made in lab.frames.values() {
        let own = pictures.entry(made.picture).or_default();
        own.extend_from_slice(&made.ends);
    }
    let mut next = 0;
    for (picture, mut packets) in pictures {
        packets.sort_unstable();
        let last = packets.len().wrapping_sub(1);
        for (at, (number, ends)) in packets.into_iter().enumerate() {
            assert_eq!(
                (number, ends),
                (next, at == last),
                "{what}, picture {picture}"
            );
            next += 1;
        }
    }
}

#[test]
fn nothing_goes_on_without_what_it_refers_to_whatever_is_lost() {
    for mode in MODES {
        for seed in 1..=100 {
            let mut lab = Lab::new(seed, mode);
            (lab.lost, lab.late) = (3, 8);
            let mut random = Random::new([!seed; 32]);
            for wish in wishes(&mut random, lab.highest(), 20) {
                lab.aim(wish);
                lab.run(1 + random.u32() % 9);
            }
            let what = format!("{mode}, seed {seed}");
            lab.assert_decodable(&what);
            let passed = lab.frames.values().filter(|own| own.passed > 0).count();
            assert!(passed >= 30, "{what}: {passed} frames");
        }
    }
}
