//! Three qualities of one picture over links that carry them all, or not.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that cannot go on fails; figures are there to be read"
)]

use std::time::Duration;

use twocan_proto::negotiate::{Kind, NegotiateError, TransceiverId, TypeReason};
use twocan_proto::peer::{
    EncodingParameters, Event, ParametersError, Priority, RtpSendParameters, SendFrameError,
    TransceiverInit,
};
use twocan_proto::rtp::{
    Event as RtpEvent, FrameLayer, OutgoingFrame, PictureProperties, ScalabilityMode,
};
use twocan_scenarios::{Call, Setting, seeds};
use twocan_sim::{LinkConfig, Loss};
use twocan_wire::sdp::Direction;
use twocan_wire::units::Bitrate;

const RIDS: [&str; 3] = ["q", "h", "f"];
const PICTURE: Duration = Duration::from_micros(33_333);
/// As in the scenarios of rates: virtual minutes take seconds.
const SEEDS: usize = 5;

fn few_seeds() -> Vec<u64> {
    match std::env::var_os("TWOCAN_SEED") {
        Some(_) => seeds(),
        None => (1..=SEEDS as u64).collect(),
    }
}

fn encodings() -> Vec<EncodingParameters> {
    let all = [
        ("q", Some(200), None),
        ("h", Some(700), Some(150)),
        ("f", Some(2500), Some(600)),
    ];
    all.into_iter()
        .map(|(rid, max, min)| EncodingParameters {
            rid: Some(rid.to_owned()),
            max_bitrate: max.map(Bitrate::kbps),
            min_bitrate: min.map(Bitrate::kbps),
            ..EncodingParameters::default()
        })
        .collect()
}

/// One quality: what was sent, and what arrived.
#[derive(Debug, Clone, Copy, Default)]
struct Quality {
    sent: u32,
    arrived: u32,
    /// Pictures of which none went, because there was no room.
    rested: u32,
    key_wanted: bool,
    /// Bytes beyond the target.
    debt: f64,
}

struct Scene {
    call: Call,
    video: TransceiverId,
    qualities: [Quality; 3],
    next_picture: Duration,
    number: u32,
}

impl Scene {
    fn new(seed: u64) -> Self {
        let setting = Setting {
            link: LinkConfig {
                delay: Duration::from_millis(20),
                ..LinkConfig::default()
            },
            receive_simulcast: true,
            ..Setting::default()
        };
        let mut call = Call::new(seed, &setting);
        let init = TransceiverInit {
            direction: Direction::SendOnly,
            streams: vec!["s".to_owned()],
            send_encodings: encodings(),
        };
        let video = call.with(0, |peer, _| peer.add_transceiver_with(Kind::Video, &init));
        call.offer(0);
        let connected = call.run_until(Duration::from_secs(5), Call::is_connected);
        assert!(connected, "seed {seed}, {}", call.explain());
        call.run_for(Duration::from_millis(200));
        let quality = Quality {
            key_wanted: true,
            ..Quality::default()
        };
        Self {
            next_picture: call.world.elapsed(),
            call,
            video: video.unwrap(),
            qualities: [quality; 3],
            number: 0,
        }
    }

    fn limit(&mut self, rate: Bitrate, loss_per_mille: u32) {
        let site = self.call.sites[0];
        let link = &mut self.call.world.site(site).uplink;
        link.config.rate = Some(rate);
        link.config.queue_len = (rate.as_bps() as f64 / 8.0 * 0.3) as usize;
        link.config.loss = match loss_per_mille {
            0 => Loss::None,
            per_mille => Loss::Independent { per_mille },
        };
    }

    fn targets(&self) -> Vec<u64> {
        let targets = self.call.peer(0).encoding_targets(self.video).unwrap();
        targets.iter().map(|own| own.bitrate.as_bps()).collect()
    }

    /// Encodes as told for a while; what was sent and arrived meanwhile.
    fn run(&mut self, time: Duration) -> [Quality; 3] {
        let before = self.qualities;
        let end = self.call.world.elapsed() + time;
        while self.call.world.elapsed() < end {
            self.call
                .run_for(self.next_picture.saturating_sub(self.call.world.elapsed()));
            self.next_picture += PICTURE;
            self.receive();
            self.number += 1;
            for (index, target) in self.targets().into_iter().enumerate() {
                self.encode(index, target as f64);
            }
        }
        self.receive();
        let mut seen = self.qualities;
        for (seen, before) in seen.iter_mut().zip(before) {
            seen.sent -= before.sent;
            seen.arrived -= before.arrived;
            seen.rested -= before.rested;
        }
        seen
    }

    fn encode(&mut self, index: usize, target: f64) {
        let quality = &mut self.qualities[index];
        if target == 0.0 {
            quality.rested += 1;
            // What rested begins anew.
            quality.key_wanted = true;
            return;
        }
        let mean = target / 8.0 * PICTURE.as_secs_f64();
        let key = std::mem::take(&mut quality.key_wanted);
        let len = match key {
            true => 4.0 * mean,
            false => (mean - quality.debt / 10.0).max(mean / 2.0),
        };
        quality.debt += len - mean;
        quality.sent += 1;
        let mut data = match key {
            true => vec![0x10, 0, 0, 0x9d, 0x01, 0x2a, 64, 0, 64, 0],
            false => vec![0x11, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        };
        data.resize((len as usize).max(data.len()), 7);
        let (video, number) = (self.video, self.number);
        self.call.with(0, |peer, now| {
            let codec = peer.negotiated(video).unwrap().codec("VP8").unwrap();
            let frame = OutgoingFrame {
                rid: Some(RIDS[index]),
                payload_type: codec.payload_type_send,
                timestamp: number * 3000,
                marker: false,
                data: &data,
                audio_level: None,
                layer: None,
                resolution: None,
                picture: PictureProperties::default(),
                times: twocan_proto::rtp::FrameTimes::default(),
                contributing: &[],
            };
            peer.send_frame(now, video, &frame).unwrap();
        });
    }

    fn receive(&mut self) {
        let place = |rid: &str| RIDS.iter().position(|own| *own == rid).unwrap();
        for event in self.call.events[0].drain(..) {
            if let Event::Rtp(RtpEvent::KeyFrameRequested { rid, .. }) = event {
                self.qualities[place(rid.unwrap().as_str())].key_wanted = true;
            }
        }
        for event in self.call.events[1].drain(..) {
            if let Event::Rtp(RtpEvent::Frame(frame)) = event {
                self.qualities[place(frame.rid.unwrap().as_str())].arrived += 1;
            }
        }
    }
}

fn report(what: &str, seed: u64, seen: &[Quality; 3], targets: &[u64]) {
    let figures: Vec<String> = RIDS
        .iter()
        .zip(seen)
        .map(|(rid, own)| {
            format!(
                "{rid}: {} of {} (rested {})",
                own.arrived, own.sent, own.rested
            )
        })
        .collect();
    println!(
        "seed {seed}: {what}: {}; targets {targets:?}",
        figures.join(", ")
    );
}

#[test]
fn all_qualities_arrive_and_the_low_one_outlives_a_narrow_link() {
    // One run in thirty or so finds the middle one's rate only later.
    let mut middle = Vec::new();
    for seed in few_seeds() {
        let mut scene = Scene::new(seed);
        scene.limit(Bitrate::kbps(5000), 20);
        scene.run(Duration::from_secs(10));
        let wide = scene.run(Duration::from_secs(10));
        report("5 Mbit/s", seed, &wide, &scene.targets());
        for own in &wide {
            assert!(own.sent >= 290 && own.rested == 0, "seed {seed}: {wide:?}");
            assert!(own.arrived * 100 >= own.sent * 95, "seed {seed}: {wide:?}");
        }
        // Too little for the highest. What falls fivefold is found again by probes, every five
        // seconds.
        scene.limit(Bitrate::kbps(900), 0);
        scene.run(Duration::from_secs(30));
        let narrow = scene.run(Duration::from_secs(10));
        report("900 kbit/s", seed, &narrow, &scene.targets());
        assert!(narrow[0].arrived >= 280, "seed {seed}: {narrow:?}");
        middle.push(narrow[1].arrived);
        assert!(narrow[2].rested >= 250, "seed {seed}: {narrow:?}");
        // Too little for any but the lowest.
        scene.limit(Bitrate::kbps(150), 0);
        scene.run(Duration::from_secs(10));
        let low = scene.run(Duration::from_secs(10));
        report("150 kbit/s", seed, &low, &scene.targets());
        assert!(
            low[0].arrived >= 270 && low[0].rested == 0,
            "seed {seed}: {low:?}"
        );
        assert!(
            low[1].rested >= 280 && low[2].rested >= 290,
            "seed {seed}: {low:?}"
        );
        // All come back.
        scene.limit(Bitrate::kbps(5000), 0);
        scene.run(Duration::from_secs(30));
        let again = scene.run(Duration::from_secs(5));
        report("5 Mbit/s again", seed, &again, &scene.targets());
        assert!(
            again.iter().all(|own| own.arrived >= 140),
            "seed {seed}: {again:?}"
        );
    }
    middle.sort_unstable();
    assert!(middle[middle.len() / 2] >= 150, "{middle:?}");
    let late = middle.iter().filter(|arrived| **arrived < 150).count();
    assert!(late * 5 <= middle.len(), "{middle:?}");
}

#[test]
fn parameters_are_checked_as_w3c_has_it() {
    let mut scene = Scene::new(1);
    let video = scene.video;
    let mut with = |change: &dyn Fn(&mut RtpSendParameters)| {
        scene.call.with(0, |peer, _| {
            let mut parameters = peer.parameters(video).unwrap();
            change(&mut parameters);
            peer.set_parameters(video, &parameters)
        })
    };
    let read_only = |what| Err(ParametersError::ReadOnly(what));
    assert_eq!(
        with(&|own| own.transaction_id.push('x')),
        read_only("transactionId")
    );
    let count = read_only("the number of encodings");
    assert_eq!(with(&|own| own.encodings.truncate(2)), count);
    assert_eq!(with(&|own| own.encodings.swap(0, 1)), read_only("rid"));
    assert_eq!(with(&|own| own.encodings[0].rid = None), read_only("rid"));
    assert_eq!(with(&|own| own.codecs.clear()), read_only("codecs"));
    assert_eq!(
        with(&|own| own.header_extensions.clear()),
        read_only("headerExtensions")
    );
    assert_eq!(with(&|own| own.rtcp.cname.clear()), read_only("rtcp"));
    let scale = |scale| {
        move |own: &mut RtpSendParameters| {
            own.encodings[1].scale_resolution_down_by = Some(scale);
        }
    };
    assert_eq!(
        with(&scale(0.9)),
        Err(ParametersError::ScaleResolutionDownBy)
    );
    assert_eq!(
        with(&scale(f64::NAN)),
        Err(ParametersError::ScaleResolutionDownBy)
    );
    let rate = with(&|own| own.encodings[1].max_framerate = Some(-1.0));
    assert_eq!(rate, Err(ParametersError::MaxFramerate));
    let bounds = with(&|own| own.encodings[1].min_bitrate = Some(Bitrate::kbps(701)));
    assert_eq!(bounds, Err(ParametersError::Bitrates));
    assert_eq!(bounds.unwrap_err().name(), "RangeError");
    let done = with(&|own| {
        own.encodings[0].scalability_mode = "L1T3".parse().ok();
        own.encodings[2].active = false;
        own.encodings[2].priority = Priority::High;
    });
    assert_eq!(done, Ok(()));
    // What was got before the change is stale now.
    let peer = |call: &mut Call| call.with(0, |peer, _| peer.parameters(video).unwrap());
    let held = peer(&mut scene.call);
    assert_eq!(
        held,
        peer(&mut scene.call),
        "the same until something changes"
    );
    let set = |call: &mut Call, own: &RtpSendParameters| {
        call.with(0, |peer, _| peer.set_parameters(video, own))
    };
    assert_eq!(set(&mut scene.call, &held), Ok(()));
    assert_eq!(
        set(&mut scene.call, &held),
        Err(ParametersError::NotReturned)
    );
    let scales: Vec<f64> = held
        .encodings
        .iter()
        .filter_map(|own| own.scale_resolution_down_by)
        .collect();
    assert_eq!(scales, [4.0, 2.0, 1.0]);
    assert_eq!(held.codecs[0].mime_type, "video/VP8");
    assert!(
        held.header_extensions
            .iter()
            .any(|own| own.uri.ends_with("rtp-stream-id"))
    );
    assert!(held.rtcp.reduced_size && !held.rtcp.cname.is_empty());
    assert_eq!(scene.targets()[2], 0, "what is not active gets nothing");
    let refused = scene.call.with(0, |peer, now| {
        let codec = peer.negotiated(video).unwrap().codec("VP8").unwrap();
        let frame = OutgoingFrame {
            rid: Some("f"),
            payload_type: codec.payload_type_send,
            timestamp: 0,
            marker: false,
            data: &[0x10; 20],
            audio_level: None,
            layer: None,
            resolution: None,
            picture: PictureProperties::default(),
            times: twocan_proto::rtp::FrameTimes::default(),
            contributing: &[],
        };
        peer.send_frame(now, video, &frame)
    });
    assert_eq!(refused, Err(SendFrameError::NotActive));
    let stats = scene.call.peer(0).outbound_stats();
    let active: Vec<bool> = stats.iter().map(|own| own.active).collect();
    assert_eq!(active, [true, true, false]);
    assert_eq!(stats[0].scalability_mode, "L1T3".parse().ok());
    scene
        .call
        .with(0, |peer, _| peer.stop_transceiver(video).unwrap());
    let stopped = set(&mut scene.call, &held).unwrap_err();
    assert_eq!(stopped.name(), "InvalidStateError");
}

#[test]
fn dictionaries_of_transceivers_are_checked() {
    let mut call = Call::new(1, &Setting::default());
    let mut add = |kind, encodings: Vec<EncodingParameters>| {
        let init = TransceiverInit {
            send_encodings: encodings,
            ..TransceiverInit::default()
        };
        call.with(0, |peer, _| {
            let id = peer.add_transceiver_with(kind, &init)?;
            Ok::<_, ParametersError>(peer.encodings(id))
        })
    };
    let mut repeated = encodings();
    repeated[1].rid = repeated[0].rid.clone();
    let bad = NegotiateError::Type(TypeReason::RepeatedRid);
    assert_eq!(add(Kind::Video, repeated), Err(bad.into()));
    let mode = |text: &str| EncodingParameters {
        scalability_mode: text.parse::<ScalabilityMode>().ok(),
        ..EncodingParameters::default()
    };
    let refused = add(Kind::Audio, vec![mode("L1T2")]);
    assert_eq!(refused, Err(ParametersError::ScalabilityMode));
    let one = add(Kind::Video, vec![mode("L1T2")]).unwrap();
    assert_eq!(one[0].scale_resolution_down_by, Some(1.0));
    // Sound has one encoding.
    assert_eq!(add(Kind::Audio, encodings()).unwrap().len(), 1);
    assert_eq!(add(Kind::Video, Vec::new()).unwrap().len(), 1);
    let scaled = EncodingParameters {
        scale_resolution_down_by: Some(3.0),
        ..encodings()[0].clone()
    };
    let some = add(Kind::Video, vec![scaled, encodings()[1].clone()]).unwrap();
    assert_eq!(some[1].scale_resolution_down_by, Some(1.0));
}

#[test]
fn temporal_layers_travel_in_a_mode_of_the_encoding() {
    let mut scene = Scene::new(3);
    let video = scene.video;
    for (number, temporal) in (0u32..).zip([0, 2, 1, 2, 0, 2, 1, 2]) {
        let key = number == 0;
        let mut data = vec![if key { 0x10 } else { 0x11 }; 12];
        data.resize(600, number as u8);
        scene.call.with(0, |peer, now| {
            let codec = peer.negotiated(video).unwrap().codec("VP8").unwrap();
            let frame = OutgoingFrame {
                rid: Some("h"),
                payload_type: codec.payload_type_send,
                timestamp: number * 3000,
                marker: false,
                data: &data,
                audio_level: None,
                layer: Some(FrameLayer {
                    mode: "L1T3".parse().unwrap(),
                    spatial: 0,
                    temporal,
                    key_picture: key,
                    last_of_picture: true,
                }),
                resolution: None,
                picture: PictureProperties::default(),
                times: twocan_proto::rtp::FrameTimes::default(),
                contributing: &[],
            };
            peer.send_frame(now, video, &frame).unwrap();
        });
        scene.call.run_for(PICTURE);
    }
    scene.call.run_for(Duration::from_secs(1));
    scene.receive();
    assert_eq!(scene.qualities[1].arrived, 8);
}
