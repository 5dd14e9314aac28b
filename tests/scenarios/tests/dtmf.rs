//! Tones of a telephone arrive as they were played, whatever is lost on the way.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::time::Duration;

use twocan_proto::dtmf::{Heard, Listener};
use twocan_proto::negotiate::{Kind, TransceiverId};
use twocan_proto::peer::{Event, InsertDtmfError};
use twocan_proto::rtp::{self, FrameTimes, OutgoingFrame, PictureProperties};
use twocan_scenarios::{Call, Setting, seeds};
use twocan_sim::{LinkConfig, Loss};
use twocan_wire::sdp::Direction;

const TONES: &str = "0123456789ABCD*#";
const LASTS: Duration = Duration::from_millis(120);
const GAP: Duration = Duration::from_millis(70);

/// A call that plays [`TONES`] while it sends sound.
fn played(seed: u64, per_mille: u32) -> (Call, TransceiverId) {
    let setting = Setting {
        link: LinkConfig {
            jitter: Duration::from_millis(30),
            ..LinkConfig::default()
        },
        ..Setting::default()
    };
    let mut call = Call::new(seed, &setting);
    let id = call
        .with(0, |peer, _| {
            peer.add_transceiver(Kind::Audio, Direction::SendOnly, &["microphone"])
        })
        .unwrap();
    let refused = insert(&mut call, id, "1");
    assert_eq!(refused, Err(InsertDtmfError::CannotInsert));
    call.offer(0);
    let connected = call.run_until(Duration::from_secs(10), Call::is_connected);
    assert!(connected, "seed {seed}: {}", call.explain());
    for site in call.sites {
        call.world.site(site).uplink.config.loss = Loss::Independent { per_mille };
    }
    for number in 0..200 {
        if number == 10 {
            assert_eq!(insert(&mut call, id, TONES), Ok(()), "seed {seed}");
        }
        send_sound(&mut call, id, number);
        call.run_for(Duration::from_millis(20));
    }
    (call, id)
}

fn insert(call: &mut Call, id: TransceiverId, tones: &str) -> Result<(), InsertDtmfError> {
    call.with(0, |peer, now| peer.insert_dtmf(now, id, tones, LASTS, GAP))
}

fn send_sound(call: &mut Call, id: TransceiverId, number: u32) {
    let agreed = call.peer(0).negotiated(id).unwrap();
    let frame = OutgoingFrame {
        rid: None,
        payload_type: agreed.codec("opus").unwrap().payload_type_send,
        timestamp: number * 960,
        marker: false,
        data: &[0xf8, 0xff, 0xfe],
        audio_level: None,
        layer: None,
        resolution: None,
        picture: PictureProperties::default(),
        times: FrameTimes::default(),
        contributing: &[],
    };
    call.with(0, |peer, now| peer.send_frame(now, id, &frame))
        .unwrap();
}

/// What the callee hears, and how much sound came beside it.
fn heard(call: &Call) -> (Vec<Heard>, usize) {
    let (mut listener, mut all, mut sounds) = (Listener::new(), Vec::new(), 0);
    for event in &call.events[1] {
        let Event::Rtp(rtp::Event::Frame(frame)) = event else {
            continue;
        };
        let id = call.peer(1).transceiver_of(&frame.mid).unwrap();
        let agreed = call.peer(1).negotiated(id).unwrap();
        let codec = agreed.codec_of(frame.payload_type).unwrap();
        if codec.name != "telephone-event" {
            sounds += 1;
            continue;
        }
        assert_eq!(codec.clock_rate, 48_000);
        let told = listener.receive(
            frame.received_at,
            frame.timestamp,
            codec.clock_rate,
            &frame.data,
        );
        all.extend(told.unwrap());
    }
    let last = listener.deadline();
    all.extend(last.and_then(|due| listener.handle_timeout(due)));
    (all, sounds)
}

fn tones(heard: &[Heard]) -> String {
    let began = heard.iter().filter_map(|own| match own {
        Heard::Began { tone } => Some(*tone),
        Heard::Ended { .. } => None,
    });
    began.collect()
}

#[test]
fn tones_are_heard_once_each_and_as_long_as_they_were() {
    for seed in seeds() {
        let (call, id) = played(seed, 0);
        let (heard, sounds) = heard(&call);
        assert_eq!(tones(&heard), TONES, "seed {seed}");
        let ends = heard.iter().filter_map(|own| match own {
            Heard::Ended { duration, .. } => Some(*duration),
            Heard::Began { .. } => None,
        });
        assert_eq!(ends.collect::<Vec<_>>(), [LASTS; 16], "seed {seed}");
        assert!(sounds > 190, "seed {seed}: {sounds}");
        // The application is told when each begins.
        let changes = call.events[0].iter().filter_map(|event| match event {
            Event::ToneChange { transceiver, tone } => {
                assert_eq!(*transceiver, id);
                Some(*tone)
            }
            _ => None,
        });
        let expected = TONES.chars().map(Some).chain([None]);
        assert!(changes.eq(expected), "seed {seed}");
        assert_eq!(call.peer(0).tone_buffer(id), "");
    }
}

#[test]
fn tones_are_heard_over_a_way_that_loses_a_fifth() {
    let mut missed = 0;
    let seeds = seeds();
    for seed in &seeds {
        let (call, _) = played(*seed, 200);
        let (heard, _) = heard(&call);
        let tones = tones(&heard);
        missed += TONES.len() - tones.len();
        // In their order, none of them twice, and each with its end.
        let mut left = TONES.chars();
        assert!(
            tones.chars().all(|tone| left.any(|own| own == tone)),
            "seed {seed}: {tones}"
        );
        assert_eq!(heard.len(), 2 * tones.len(), "seed {seed}: {heard:?}");
        let too_long = heard
            .iter()
            .any(|own| matches!(own, Heard::Ended { duration, .. } if *duration > LASTS));
        assert!(!too_long, "seed {seed}: {heard:?}");
    }
    // All six packets of one are lost once in 15,000 tones.
    assert!(missed <= 1, "{missed} of {}", seeds.len() * TONES.len());
}

#[test]
fn tones_end_with_the_agreement_that_they_are_part_of() {
    let (mut call, id) = played(1, 0);
    assert_eq!(insert(&mut call, id, "111"), Ok(()));
    call.run_for(LASTS / 2);
    call.with(0, |peer, _| peer.set_direction(id, Direction::Inactive))
        .unwrap();
    call.offer(0);
    call.run_for(Duration::from_secs(2));
    assert!(!call.peer(0).can_insert_dtmf(id));
    assert_eq!(call.peer(0).tone_buffer(id), "11");
    assert_eq!(
        insert(&mut call, id, "2"),
        Err(InsertDtmfError::CannotInsert)
    );
    let (heard, _) = heard(&call);
    assert_eq!(tones(&heard), format!("{TONES}1"));
}
