//! Rooms with pictures that have layers within one stream: who gets which, and in which codec.

use std::time::Duration;

use serde_json::json;
use twocan_proto::negotiate::default_video_codecs;
use twocan_proto::peer;
use twocan_proto::rtp::ScalabilityMode;
use twocan_scenarios::conference::{Conference, Layered, layer_marks};
use twocan_sim::{LinkConfig, Loss};
use twocan_wire::units::Bitrate;

const S: fn(u64) -> Duration = Duration::from_secs;
const MS: fn(u64) -> Duration = Duration::from_millis;

/// Rooms of several peers take seconds each.
const SEEDS: u64 = 3;

fn few_seeds() -> Vec<u64> {
    match std::env::var_os("TWOCAN_SEED") {
        Some(_) => twocan_scenarios::seeds(),
        None => (1..=SEEDS).collect(),
    }
}

fn link() -> LinkConfig {
    LinkConfig {
        delay: MS(10),
        ..LinkConfig::default()
    }
}

fn mode_of(name: &str) -> ScalabilityMode {
    name.parse()
        .unwrap_or_else(|error| unreachable!("{name}: {error}"))
}

fn layered(mode: &str, is_described: bool) -> Layered {
    Layered {
        codec: "VP9",
        mode: mode_of(mode),
        is_described,
    }
}

/// In AV1 nothing but the dependency descriptor tells of layers.
fn in_av1(mode: &str) -> Layered {
    Layered {
        codec: "AV1",
        ..layered(mode, true)
    }
}

/// The highest spatial layer of the newest picture.
fn quality(room: &Conference, viewer: usize) -> Option<usize> {
    let pictures = room.pictures(viewer, 0);
    pictures.last().map(|(_, frame)| layer_marks(frame).0)
}

/// Pictures come in their order, and nothing of what was sent to the viewer was lost.
fn assert_without_gaps(what: &str, room: &Conference, viewer: usize) {
    for pair in room.pictures(viewer, 0).windows(2) {
        let [(_, before), (at, after)] = pair else {
            continue;
        };
        let (_, number) = layer_marks(before);
        let (layer, next) = layer_marks(after);
        let step = after.timestamp.wrapping_sub(before.timestamp);
        assert!(
            next > number && after.lost_before == 0 && (1..=90_000).contains(&step),
            "{what}: at {at:?} {number}, then {next} of layer {layer}, lost {}, {step} ticks\n{}",
            after.lost_before,
            room.explain()
        );
    }
}

/// Pictures in the last `span`.
fn late(room: &Conference, viewer: usize, span: Duration) -> usize {
    let end = room.elapsed();
    let pictures = room.pictures(viewer, 0);
    pictures.iter().filter(|(at, _)| *at + span > end).count()
}

#[test]
fn a_narrow_way_gets_lower_layers_and_others_do_not() {
    for seed in few_seeds() {
        for mode in ["L3T3_KEY", "L3T3", "L2T1", "L1T3", "S2T1", "S3T3"] {
            for is_described in [true, false] {
                assert_shared_out(seed, layered(mode, is_described));
            }
        }
    }
}

#[test]
fn a_narrow_way_gets_lower_layers_of_av1() {
    for seed in few_seeds() {
        for mode in ["L1T2", "L1T3", "L2T1", "L3T3", "L3T3_KEY"] {
            assert_shared_out(seed, in_av1(mode));
        }
    }
}

/// One viewer gets all layers, and one with a narrow way as many as that carries.
fn assert_shared_out(seed: u64, own: Layered) {
    let Layered {
        codec,
        mode,
        is_described,
    } = own;
    let what = format!("seed {seed}, {codec} {mode}, described {is_described}");
    let mut room = Conference::new(seed, |_| {});
    room.join_layered(link(), own);
    room.join(link(), None, false);
    room.join(link(), None, false);
    room.limit(2, |link| {
        link.rate = Some(Bitrate::kbps(500));
        link.queue_len = 20_000;
    });
    room.run_for(S(20));
    let highest = usize::from(mode.spatial_layers()) - 1;
    let seen = || room.explain();
    assert_eq!(quality(&room, 1), Some(highest), "{what}: {}", seen());
    assert!(late(&room, 1, S(5)) >= 145, "{what}: {}", seen());
    assert_without_gaps(&what, &room, 1);
    if highest > 0 {
        assert!(quality(&room, 2) < Some(highest), "{what}: {}", seen());
    }
    let few = late(&room, 2, S(5));
    assert!(few >= 30, "{what}: {few} pictures {}", seen());
    assert_without_gaps(&what, &room, 2);
    // The way opens: the pictures get larger.
    room.limit(2, |link| link.rate = None);
    let better = room.run_until(S(40), |room| {
        quality(room, 2) == Some(highest) && late(room, 2, S(2)) >= 56
    });
    assert!(
        better,
        "{what}: {} {}",
        late(&room, 2, S(2)),
        room.explain()
    );
    assert_without_gaps(&what, &room, 2);
}

#[test]
fn a_small_tile_gets_a_small_layer() {
    for seed in few_seeds() {
        for is_described in [true, false] {
            let what = format!("seed {seed}, described {is_described}");
            let mut room = Conference::new(seed, |_| {});
            room.join_layered(link(), layered("L3T3_KEY", is_described));
            let viewer = room.join(link(), None, false);
            room.run_for(S(10));
            assert_eq!(
                quality(&room, viewer),
                Some(2),
                "{what}: {}",
                room.explain()
            );
            for (height, layer) in [(180, 0), (360, 1), (720, 2), (200, 0), (700, 2)] {
                let wish = json!({"tracks": [{"stream": "picture-0", "max_height": height}]});
                room.say(viewer, "subscribe", &wish);
                let there = room.run_until(S(4), |room| quality(room, viewer) == Some(layer));
                assert!(there, "{what}, {height}: {}", room.explain());
                room.run_for(S(2));
                assert_eq!(quality(&room, viewer), Some(layer), "{what}, {height}");
                assert!(late(&room, viewer, S(1)) >= 28, "{what}, {height}");
            }
            assert_without_gaps(&what, &room, viewer);
        }
    }
}

#[test]
fn losses_of_layers_are_repaired() {
    for seed in few_seeds() {
        for mode in ["L3T3_KEY", "L3T3", "L1T3"] {
            for is_described in [true, false] {
                assert_repaired(seed, layered(mode, is_described));
            }
        }
    }
}

#[test]
fn losses_of_layers_of_av1_are_repaired() {
    for seed in few_seeds() {
        for mode in ["L3T3_KEY", "L3T3", "L1T2"] {
            assert_repaired(seed, in_av1(mode));
        }
    }
}

/// With losses on the way of the publisher, and on that of the viewer.
fn assert_repaired(seed: u64, own: Layered) {
    for up in [true, false] {
        let what = format!("seed {seed}, {own:?}, up {up}");
        let mut room = Conference::new(seed, |_| {});
        let lossy = LinkConfig {
            loss: Loss::Independent { per_mille: 20 },
            ..link()
        };
        let (publisher, viewer) = if up { (lossy, link()) } else { (link(), lossy) };
        room.join_layered(publisher, own);
        room.join(viewer, None, false);
        room.run_for(S(15));
        // Where its own way loses, a viewer may be sent fewer temporal layers.
        let most = if up { 140 } else { 70 };
        let late = late(&room, 1, S(5));
        assert!(late >= most, "{what}: {late} of 150 {}", room.explain());
    }
}

/// A peer that knows no other codec for pictures.
fn limit_to(config: &mut peer::Config, name: &str) {
    let codecs = default_video_codecs();
    let own = codecs.iter().filter(|own| own.name == name);
    config.video_codecs = own.cloned().collect();
}

#[test]
fn a_layer_that_its_publisher_rests_is_missed_by_nobody() {
    for seed in few_seeds() {
        for (mode, is_described) in [("L3T3_KEY", true), ("L3T3_KEY", false), ("L3T1", false)] {
            let what = format!("seed {seed}, {mode}, described {is_described}");
            let mut room = Conference::new(seed, |_| {});
            let ada = room.join_layered(link(), layered(mode, is_described));
            let viewer = room.join(link(), None, false);
            room.run_for(S(8));
            assert_eq!(quality(&room, viewer), Some(2), "{what}");
            room.attendees[ada].layers[2] = false;
            let lower = room.run_until(S(4), |room| quality(room, viewer) == Some(1));
            assert!(lower, "{what}: {}", room.explain());
            room.run_for(S(3));
            assert!(
                late(&room, viewer, S(1)) >= 28,
                "{what}: {}",
                room.explain()
            );
            room.attendees[ada].layers[2] = true;
            let back = room.run_until(S(8), |room| quality(room, viewer) == Some(2));
            assert!(back, "{what}: {}", room.explain());
            room.run_for(S(2));
            assert!(
                late(&room, viewer, S(1)) >= 28,
                "{what}: {}",
                room.explain()
            );
        }
    }
}

#[test]
fn who_makes_no_codec_that_all_show_is_seen_by_the_others_as_before() {
    for seed in few_seeds() {
        let mut room = Conference::new(seed, |_| {});
        room.join_with(link(), |config| limit_to(config, "VP8"));
        let able = room.join(link(), None, false);
        room.run_for(S(5));
        room.look_on(link(), |config| limit_to(config, "VP9"));
        room.run_for(S(20));
        assert!(
            late(&room, able, S(15)) >= 445,
            "seed {seed}: {}",
            room.explain()
        );
        let asked = room.forwarder().counters();
        let asked = asked
            .iter()
            .find(|(name, _)| *name == "forward.codecs_asked_for");
        assert_eq!(asked, None, "seed {seed}: it would lose its line");
        assert!(room.attendees[0].errors.is_empty(), "seed {seed}");
    }
}

#[test]
fn who_shows_no_other_codec_is_sent_one_that_all_show() {
    for seed in few_seeds() {
        let mut room = Conference::new(seed, |_| {});
        room.join_layered(link(), layered("L3T3_KEY", true));
        let able = room.join(link(), None, false);
        room.run_for(S(5));
        assert_eq!(
            quality(&room, able),
            Some(2),
            "seed {seed}: {}",
            room.explain()
        );
        let former = room.look_on(link(), |config| limit_to(config, "VP8"));
        let seen = room.run_until(S(5), |room| late(room, former, S(1)) >= 20);
        assert!(seen, "seed {seed}: {}", room.explain());
        // All see it, in the smaller picture that is one of it.
        assert_eq!(quality(&room, able), Some(0), "seed {seed}");
        assert!(
            late(&room, able, S(1)) >= 20,
            "seed {seed}: {}",
            room.explain()
        );
        assert_without_gaps(&format!("seed {seed}"), &room, former);
        room.leave(former);
        let back = room.run_until(S(8), |room| quality(room, able) == Some(2));
        assert!(back, "seed {seed}: {}", room.explain());
        room.run_for(S(2));
        assert!(
            late(&room, able, S(1)) >= 28,
            "seed {seed}: {}",
            room.explain()
        );
        assert_without_gaps(&format!("seed {seed}"), &room, able);
    }
}

#[test]
fn an_operator_says_in_which_codec_a_room_is() {
    for seed in few_seeds() {
        let mut room = Conference::new(seed, |_| {});
        room.set_video_codecs(&["vp9", "vp8", "none"]);
        // It would rather send something else.
        let own = Layered {
            codec: "VP8",
            ..layered("L3T3_KEY", true)
        };
        room.join_layered(link(), own);
        let viewer = room.join(link(), None, false);
        let seen = room.run_until(S(8), |room| quality(room, viewer) == Some(2));
        assert!(seen, "seed {seed}: {}", room.explain());
        // Another word while it goes on: what is sent is none of them any more.
        room.set_video_codecs(&["vp8"]);
        let changed = room.run_until(S(8), |room| quality(room, viewer) == Some(0));
        assert!(changed, "seed {seed}: {}", room.explain());
        room.run_for(S(2));
        assert!(late(&room, viewer, S(1)) >= 20, "seed {seed}");
        // One that those who are there do not have; who comes now does.
        room.set_video_codecs(&["av1"]);
        room.look_on(link(), |_| {});
        room.run_for(S(20));
        let errors = &room.attendees[viewer].errors;
        assert!(errors.is_empty(), "seed {seed}: {errors:?}");
        assert!(
            late(&room, viewer, S(15)) >= 430,
            "seed {seed}: {}",
            room.explain()
        );
        room.set_video_codecs(&[]);
        room.run_for(S(3));
        assert!(late(&room, viewer, S(1)) >= 20, "seed {seed}");
    }
}
