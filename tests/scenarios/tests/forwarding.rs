//! Rooms whose media a server forwards: who gets what, in which quality, and without gaps.

use std::time::Duration;

use serde_json::json;
use twocan_proto::rtp::Frame;
use twocan_room::forward::{Choice, ChoiceRefused};
use twocan_room::{Allowed, MediaPermissions};
use twocan_scenarios::conference::{Conference, marks};
use twocan_sim::{LinkConfig, Loss, NatConfig};
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

/// Whether every one of `all` has pictures and sound of every other one.
fn all_see_all(room: &Conference, all: &[usize]) -> bool {
    all.iter().all(|viewer| {
        let others = all.iter().filter(|other| *other != viewer);
        others.into_iter().all(|other| {
            !room.pictures(*viewer, *other).is_empty() && !room.sounds(*viewer, *other).is_empty()
        })
    })
}

/// The quality of the newest picture.
fn quality(room: &Conference, viewer: usize, from: usize) -> Option<usize> {
    let pictures = room.pictures(viewer, from);
    pictures.last().map(|(_, frame)| marks(frame).0)
}

/// Pictures come in order, and none is missing between them but where the quality changed.
fn assert_without_gaps(seed: u64, room: &Conference, viewer: usize, from: usize) {
    let pictures = room.pictures(viewer, from);
    for pair in pictures.windows(2) {
        let [(_, before), (at, after)] = pair else {
            continue;
        };
        let (quality, number) = marks(before);
        let (next_quality, next_number) = marks(after);
        // Of two qualities the same picture may come twice: the second is the key frame.
        let follows = next_number > number || (next_number == number && next_quality != quality);
        assert!(
            follows && after.lost_before == 0,
            "seed {seed}: at {at:?} {number} of {quality}, then {next_number} of {next_quality}, \
             lost {}\n{}",
            after.lost_before,
            room.explain()
        );
        let step = after.timestamp.wrapping_sub(before.timestamp);
        assert!(
            (1..=90_000).contains(&step),
            "seed {seed}: at {at:?} the timestamp goes on by {step}"
        );
    }
}

#[test]
fn everybody_sees_and_hears_everybody() {
    for seed in few_seeds() {
        let mut room = Conference::new(seed, |_| {});
        let all: Vec<usize> = (0..4).map(|_| room.join(link(), None, true)).collect();
        let seen = room.run_until(S(3), |room| all_see_all(room, &[0, 1, 2, 3]));
        assert!(seen, "seed {seed}: {}", room.explain());
        room.run_for(S(12));
        for viewer in &all {
            for from in all.iter().filter(|from| *from != viewer) {
                assert_without_gaps(seed, &room, *viewer, *from);
                assert_eq!(
                    quality(&room, *viewer, *from),
                    Some(2),
                    "seed {seed}: {viewer} of {from} {}",
                    room.explain()
                );
            }
            let errors = &room.attendees[*viewer].errors;
            assert!(errors.is_empty(), "seed {seed}: {errors:?}");
        }
    }
}

#[test]
fn a_narrow_way_gets_less_and_others_do_not() {
    for seed in few_seeds() {
        let mut room = Conference::new(seed, |_| {});
        for _ in 0..3 {
            room.join(link(), None, true);
        }
        room.limit(2, |link| {
            link.rate = Some(Bitrate::kbps(700));
            link.queue_len = 26_000;
        });
        room.run_for(S(20));
        for (viewer, from) in [(0, 1), (1, 0), (2, 0), (2, 1)] {
            assert_without_gaps(seed, &room, viewer, from);
        }
        assert_eq!(
            quality(&room, 0, 1),
            Some(2),
            "seed {seed}: {}",
            room.explain()
        );
        assert_eq!(
            quality(&room, 1, 0),
            Some(2),
            "seed {seed}: {}",
            room.explain()
        );
        let low = [quality(&room, 2, 0), quality(&room, 2, 1)];
        assert!(low.iter().all(|own| *own < Some(2)), "seed {seed}: {low:?}");
        // In the last 5 s both pictures go on, and no sound is missing.
        let end = room.elapsed();
        for from in [0, 1] {
            let pictures = room.pictures(2, from);
            let late = pictures.iter().filter(|(at, _)| *at + S(5) > end).count();
            assert!(
                late >= 100,
                "seed {seed}: {late} pictures of {from} {}",
                room.explain()
            );
            let sounds = room.sounds(2, from);
            let heard = sounds.iter().filter(|(at, _)| *at + S(5) > end).count();
            assert!(heard >= 240, "seed {seed}: {heard} sounds of {from}");
        }
        // The way opens: the pictures get better.
        room.limit(2, |link| link.rate = None);
        let better = room.run_until(S(30), |room| {
            quality(room, 2, 0) == Some(2) && quality(room, 2, 1) == Some(2)
        });
        assert!(better, "seed {seed}: {}", room.explain());
        assert_without_gaps(seed, &room, 2, 0);
        assert_without_gaps(seed, &room, 2, 1);
    }
}

#[test]
fn who_comes_late_sees_at_once() {
    for seed in few_seeds() {
        let mut room = Conference::new(seed, |_| {});
        room.join(link(), None, true);
        room.join(link(), None, true);
        room.run_for(S(5));
        let late = room.join(link(), None, false);
        let began = room.elapsed();
        let seen = room.run_until(S(3), |room| {
            !room.pictures(late, 0).is_empty() && !room.pictures(late, 1).is_empty()
        });
        assert!(seen, "seed {seed}: {}", room.explain());
        let took = room.elapsed() - began;
        assert!(took < MS(400), "seed {seed}: {took:?} {}", room.explain());
        let (_, first) = room.pictures(late, 0)[0];
        assert!(first.key_frame, "seed {seed}");
        // Those who were there go on without a gap.
        room.run_for(S(2));
        assert_without_gaps(seed, &room, 0, 1);
        assert_without_gaps(seed, &room, late, 0);
    }
}

#[test]
fn lines_are_used_again_when_somebody_leaves() {
    for seed in few_seeds() {
        let mut room = Conference::new(seed, |_| {});
        room.join(link(), None, true);
        room.join(link(), None, true);
        assert!(room.run_until(S(3), |room| all_see_all(room, &[0, 1])));
        room.leave(1);
        room.run_for(S(1));
        let lines = room.peer(0).transceivers().len();
        let nobody = room.attendees[0].forwards.values().all(Option::is_none);
        assert!(nobody, "seed {seed}: {}", room.explain());
        assert_eq!(room.forwarder().track_count(), 2);
        room.join(link(), None, true);
        let seen = room.run_until(S(3), |room| all_see_all(room, &[0, 2]));
        assert!(seen, "seed {seed}: {}", room.explain());
        assert_eq!(room.peer(0).transceivers().len(), lines, "seed {seed}");
        room.leave(0);
        room.leave(2);
        room.run_for(S(3));
        assert_eq!(room.forwarder().participant_count(), 0);
        assert_eq!(room.forwarder().room_count(), 0);
        assert_eq!(room.forwarder().track_count(), 0);
    }
}

#[test]
fn losses_are_repaired_on_each_way() {
    for seed in few_seeds() {
        let mut room = Conference::new(seed, |_| {});
        for _ in 0..3 {
            let lossy = LinkConfig {
                loss: Loss::Independent { per_mille: 30 },
                ..link()
            };
            room.join(lossy, None, true);
        }
        let seen = room.run_until(S(6), |room| all_see_all(room, &[0, 1, 2]));
        assert!(seen, "seed {seed}: {}", room.explain());
        room.run_for(S(10));
        let end = room.elapsed();
        for (viewer, from) in [(0, 1), (1, 2), (2, 0)] {
            let pictures = room.pictures(viewer, from);
            let late = pictures.iter().filter(|(at, _)| *at + S(5) > end).count();
            assert!(late >= 140, "seed {seed}: {late} of 150 {}", room.explain());
        }
        // Few key frames: a loss does not cost one.
        let requests: u32 = room.attendees.iter().map(|own| own.key_requests).sum();
        assert!(
            requests < 60,
            "seed {seed}: {requests} key frames asked for"
        );
    }
}

#[test]
fn who_loses_sound_gets_it_twice() {
    for seed in few_seeds() {
        let mut room = Conference::new(seed, |_| {});
        room.join(link(), None, true);
        let lossy = LinkConfig {
            loss: Loss::Independent { per_mille: 100 },
            ..link()
        };
        room.join(lossy, None, false);
        room.join(link(), None, false);
        room.run_for(S(20));
        let end = room.elapsed();
        let repeated = |viewer: usize| {
            let peer = room.forwarder().peer(&room.attendees[viewer].name);
            let streams = peer.into_iter().flat_map(|own| own.outbound_stats());
            streams.map(|own| own.fec_bytes_sent).sum::<u64>()
        };
        let heard = |viewer| {
            let sounds = room.sounds(viewer, 0);
            sounds.iter().filter(|(at, _)| *at + S(10) > end).count()
        };
        assert!(
            heard(1) >= 495,
            "seed {seed}: {} of 500 {}",
            heard(1),
            room.explain()
        );
        assert!(repeated(1) > 10_000, "seed {seed}");
        // Who loses none is sent none twice.
        assert!(heard(2) >= 499, "seed {seed}: {}", heard(2));
        assert_eq!(repeated(2), 0, "seed {seed}");
    }
}

/// Viewers are told when it was captured by the server's clock, though neither publisher nor viewer has
/// that clock, and frames are encoded for a while before they are sent.
#[test]
fn viewers_are_told_when_it_was_captured() {
    const ENCODING: Duration = Duration::from_millis(45);
    /// To the server, and from it.
    const WAY: Duration = Duration::from_millis(20);
    for seed in few_seeds() {
        // Where the publisher gets nothing, the server knows no round trip to it, and takes what it
        // sends for captured later by the way.
        for (gets, earliest) in [(true, ENCODING + 2 * WAY), (false, ENCODING + WAY)] {
            let what = format!("seed {seed}, gets {gets}");
            let mut room = Conference::new(seed, |_| {});
            let publisher = room.join(link(), None, true);
            let viewer = room.join(link(), None, gets);
            room.set_clock(publisher, S(3_600));
            room.set_clock(viewer, S(7));
            room.attendees[publisher].encoding_takes = ENCODING;
            room.run_for(S(10));
            let began = room.wallclock() - room.elapsed();
            let captured = |kind: Vec<&(Duration, Frame)>| -> Vec<(Duration, Duration)> {
                let settled = kind.into_iter().filter(|(at, _)| *at > S(5));
                let known = settled.filter_map(|(at, frame)| Some((*at, frame.captured_at?)));
                known.collect()
            };
            let pictures = captured(room.pictures(viewer, publisher));
            let sounds = captured(room.sounds(viewer, publisher));
            assert!(pictures.len() >= 140 && sounds.len() >= 240, "{what}");
            for (at, captured_at) in pictures.iter().chain(&sounds) {
                let age = (began + *at).checked_sub(*captured_at);
                // What is large waits for the pacers.
                let usual = earliest - MS(5)..ENCODING + 2 * WAY + MS(60);
                assert!(
                    age.is_some_and(|age| usual.contains(&age)),
                    "{what}: at {at:?} {age:?} ago"
                );
            }
            // Of what was captured together the times are together: a sound begins every 20 ms.
            let amid = pictures.iter().filter(|(at, _)| (S(6)..S(9)).contains(at));
            for (at, picture) in amid {
                let apart = sounds.iter().map(|(_, own)| own.abs_diff(*picture)).min();
                assert!(apart <= Some(MS(12)), "{what}: at {at:?} {apart:?}");
            }
        }
    }
}

/// The others are told of the one whose network loses much, and nobody else is blamed for it; who
/// comes later is told as well, and everybody when it is well again.
#[test]
fn everybody_is_told_whose_network_is_bad() {
    for seed in few_seeds() {
        let mut room = Conference::new(seed, |_| {});
        let lossy = LinkConfig {
            loss: Loss::Independent { per_mille: 100 },
            ..link()
        };
        room.join(lossy, None, true);
        room.join(link(), None, true);
        room.join(link(), None, true);
        room.run_for(S(15));
        let bad = room.attendees[0].name.clone();
        room.join(link(), None, false);
        room.run_for(S(5));
        for own in &room.attendees {
            let told = &own.qualities;
            let (score, loss) = told.get(&bad).copied().unwrap_or((1.0, 0.0));
            assert!((0.4..0.8).contains(&score), "seed {seed}: {told:?}");
            assert!((0.06..0.14).contains(&loss), "seed {seed}: {told:?}");
            let mut others = told.iter().filter(|(peer, _)| **peer != bad);
            let blamed = others.find(|(_, (score, _))| *score < 0.85);
            assert_eq!(blamed, None, "seed {seed}, to {}", own.name);
        }
        room.limit(0, |link| link.loss = Loss::None);
        room.run_for(S(15));
        for own in &room.attendees {
            let (score, _) = own.qualities[&bad];
            assert!(score > 0.9, "seed {seed}: {score}");
        }
    }
}

#[test]
fn who_speaks_is_told_loudest_first() {
    for seed in few_seeds() {
        let mut room = Conference::new(seed, |_| {});
        for _ in 0..3 {
            room.join(link(), None, true);
        }
        room.attendees[1].level = 30;
        room.attendees[2].level = 20;
        room.run_for(S(3));
        for attendee in &room.attendees {
            assert_eq!(attendee.speakers, ["p2", "p1"], "seed {seed}");
        }
        room.attendees[2].level = 127;
        room.run_for(S(2));
        assert_eq!(room.attendees[0].speakers, ["p1"], "seed {seed}");
    }
}

/// Where a viewer's way does not carry both in full, who speaks is seen better, and a word in between
/// changes nothing.
#[test]
fn who_speaks_is_seen_better() {
    for seed in few_seeds() {
        let mut room = Conference::new(seed, |_| {});
        for _ in 0..3 {
            room.join(link(), None, true);
        }
        room.limit(2, |link| {
            link.rate = Some(Bitrate::kbps(1_100));
            link.queue_len = 26_000;
        });
        for (speaks, listens) in [(0, 1), (1, 0), (0, 1)] {
            room.attendees[speaks].level = 25;
            room.attendees[listens].level = 127;
            room.run_for(S(25));
            let seen = [quality(&room, 2, speaks), quality(&room, 2, listens)];
            assert!(
                seen[0] > seen[1],
                "seed {seed}: {seen:?} {}",
                room.explain()
            );
            room.attendees[speaks].level = 127;
            room.attendees[listens].level = 20;
            room.run_for(Duration::from_millis(800));
            room.attendees[listens].level = 127;
            room.run_for(S(3));
            // The way may carry less for a moment; what there is goes to nobody else.
            assert_eq!(quality(&room, 2, listens), seen[1], "seed {seed}");
        }
        for from in [0, 1] {
            assert_without_gaps(seed, &room, 2, from);
        }
    }
}

#[test]
fn large_rooms_have_the_lines_of_those_who_spoke_last() {
    for seed in few_seeds() {
        let mut room = Conference::new(seed, |config| {
            config.audio_slots = 2;
            config.video_slots = 2;
        });
        for _ in 0..5 {
            room.join(link(), None, true);
        }
        room.attendees[3].level = 20;
        room.run_for(S(2));
        room.attendees[3].level = 127;
        room.attendees[4].level = 20;
        room.run_for(S(2));
        let shown: Vec<_> = room.attendees[0].forwards.values().flatten().collect();
        let has = |name: &str| shown.iter().filter(|own| own.as_str() == name).count();
        assert_eq!(
            (has("p3"), has("p4")),
            (2, 2),
            "seed {seed}: {}",
            room.explain()
        );
        // Somebody else speaks: whoever was silent the longest gives way, without a negotiation.
        let lines = room.peer(0).transceivers().len();
        room.attendees[4].level = 127;
        room.attendees[1].level = 20;
        room.run_for(S(3));
        let shown: Vec<_> = room.attendees[0].forwards.values().flatten().collect();
        let has = |name: &str| shown.iter().filter(|own| own.as_str() == name).count();
        assert_eq!(
            (has("p1"), has("p4")),
            (2, 2),
            "seed {seed}: {}",
            room.explain()
        );
        assert_eq!(room.peer(0).transceivers().len(), lines, "seed {seed}");
        assert!(
            !room.pictures(0, 1).is_empty(),
            "seed {seed}: {}",
            room.explain()
        );
    }
}

#[test]
fn a_viewer_gets_what_it_asks_for() {
    for seed in few_seeds() {
        let mut room = Conference::new(seed, |_| {});
        for _ in 0..3 {
            room.join(link(), None, true);
        }
        room.run_for(S(5));
        let wishes = json!({"tracks": [
            {"stream": "picture-1", "max_height": 300},
            {"stream": "picture-2", "max_height": 0},
        ]});
        room.say(0, "subscribe", &wishes);
        room.run_for(S(3));
        assert_eq!(
            quality(&room, 0, 1),
            Some(1),
            "seed {seed}: {}",
            room.explain()
        );
        let before = room.pictures(0, 2).len();
        room.run_for(S(2));
        assert_eq!(
            room.pictures(0, 2).len(),
            before,
            "seed {seed}: nobody looks"
        );
        // Wanted again, it begins with a key frame.
        room.say(0, "subscribe", &json!({"tracks": []}));
        room.run_for(S(3));
        let pictures = room.pictures(0, 2);
        assert!(pictures.len() > before, "seed {seed}: {}", room.explain());
        assert!(pictures[before].1.key_frame, "seed {seed}");
        assert_without_gaps(seed, &room, 0, 1);
    }
}

#[test]
fn what_nobody_has_a_use_for_rests_at_its_publisher() {
    for seed in few_seeds() {
        let mut room = Conference::new(seed, |_| {});
        for _ in 0..3 {
            room.join(link(), None, true);
        }
        room.run_for(S(6));
        let layers = |room: &Conference| [0, 1, 2].map(|index| room.attendees[index].layers);
        assert_eq!(layers(&room), [[true; 3]; 3], "seed {seed}");
        let want = |room: &mut Conference, viewer, height: u32| {
            let tracks = json!({"tracks": [{"stream": "picture-1", "max_height": height}]});
            room.say(viewer, "subscribe", &tracks);
        };
        // The larger of both tiles counts, and not before the smaller one has been so for a while.
        want(&mut room, 0, 300);
        room.run_for(S(5));
        assert_eq!(layers(&room)[1], [true; 3], "seed {seed}");
        want(&mut room, 2, 100);
        room.run_for(S(2));
        assert_eq!(layers(&room)[1], [true; 3], "seed {seed}");
        room.run_for(S(2));
        assert_eq!(
            layers(&room),
            [[true; 3], [true, true, false], [true; 3]],
            "seed {seed}"
        );
        assert_eq!(quality(&room, 0, 1), Some(1), "seed {seed}");

        // Nobody looks: nothing is sent, and it is back in no time.
        want(&mut room, 0, 0);
        want(&mut room, 2, 0);
        room.run_for(S(5));
        assert_eq!(layers(&room)[1], [false; 3], "seed {seed}");
        let before = room.pictures(2, 1).len();
        want(&mut room, 2, 2000);
        let is_back = |room: &Conference| room.pictures(2, 1).len() > before;
        let within = Duration::from_millis(500);
        assert!(
            room.run_until(within, is_back),
            "seed {seed}: {}",
            room.explain()
        );
        room.run_for(S(5));
        assert_eq!(layers(&room)[1], [true; 3], "seed {seed}");
        assert_eq!(quality(&room, 2, 1), Some(2), "seed {seed}");
    }
}

#[test]
fn who_has_gone_without_a_word_makes_way_for_others() {
    for seed in few_seeds() {
        let mut room = Conference::new(seed, |config| config.video_slots = 1);
        for _ in 0..3 {
            room.join(link(), None, true);
        }
        let shows = |room: &Conference, from| !room.pictures(0, from).is_empty();
        assert!(room.run_until(S(3), |room| shows(room, 1) || shows(room, 2)));
        let gone = if shows(&room, 1) { 1 } else { 2 };
        room.run_for(S(2));
        room.limit(gone, |link| {
            link.loss = Loss::Independent { per_mille: 1000 }
        });
        let other = 3 - gone;
        let before = room.pictures(0, other).len();
        let is_seen = |room: &Conference| room.pictures(0, other).len() > before;
        assert!(
            room.run_until(S(5), is_seen),
            "seed {seed}: {}",
            room.explain()
        );
    }
}

#[test]
fn who_comes_by_http_chooses_among_the_layers() {
    for seed in few_seeds() {
        let mut room = Conference::new(seed, |_| {});
        for _ in 0..2 {
            room.join(link(), None, true);
        }
        room.run_for(S(6));
        assert_eq!(quality(&room, 0, 1), Some(2), "seed {seed}");
        let viewer = room.attendees[0].name.clone();
        let playing = |room: &mut Conference| {
            let playing = room.server(|server, now| server.playing(now, &viewer));
            playing.unwrap_or_default()
        };
        let seen = playing(&mut room);
        assert!(seen.is_live);
        let line = seen.lines.iter().find(|line| !line.layers.is_empty());
        let line = line.cloned().unwrap();
        let sizes: Vec<_> = line.layers.iter().map(|own| own.height).collect();
        assert!(
            sizes.is_sorted() && sizes.iter().all(Option::is_some),
            "{sizes:?}"
        );
        assert!(
            line.layers.iter().all(|own| own.bitrate.is_some()),
            "{line:?}"
        );
        let mut rids: Vec<_> = line
            .layers
            .iter()
            .filter_map(|own| own.rid.clone())
            .collect();
        rids.dedup();
        assert_eq!(rids.len(), 3, "{line:?}");

        let choose = |room: &mut Conference, mid: &str, choice: Choice| {
            room.server(|server, now| server.choose(now, &viewer, mid, choice))
        };
        let of = |rid: &str| Choice {
            rid: Some(rid.to_owned()),
            ..Choice::default()
        };
        let width = line.layers.first().and_then(|own| own.width).map(u32::from);
        let narrow = Choice {
            width_max: width,
            ..Choice::default()
        };
        let tiny = Choice {
            height_max: Some(1),
            ..Choice::default()
        };
        for (choice, wanted) in [
            (of(&rids[1]), 1),
            (of(&rids[0]), 0),
            (Choice::default(), 2),
            (narrow, 0),
            (of(&rids[2]), 2),
            (tiny, 0),
        ] {
            assert_eq!(choose(&mut room, &line.mid, choice.clone()), Ok(()));
            room.run_for(S(3));
            assert_eq!(
                quality(&room, 0, 1),
                Some(wanted),
                "seed {seed}: {choice:?}"
            );
        }
        assert_without_gaps(seed, &room, 0, 1);
        // What cannot be had changes nothing.
        let refused = choose(&mut room, &line.mid, of("none"));
        assert_eq!(refused, Err(ChoiceRefused::NoSuchStream));
        let refused = choose(&mut room, "none", Choice::default());
        assert_eq!(refused, Err(ChoiceRefused::NoSuchLine));
        room.run_for(S(1));
        assert_eq!(quality(&room, 0, 1), Some(0), "seed {seed}");
        // The other one's own picture is not limited by it.
        assert_eq!(quality(&room, 1, 0), Some(2), "seed {seed}");

        room.leave(1);
        room.run_for(S(1));
        let seen = playing(&mut room);
        assert!(!seen.is_live && seen.lines.iter().all(|line| line.layers.is_empty()));
        room.leave(0);
        let gone = room.server(|server, now| server.playing(now, &viewer));
        assert_eq!(gone, None);
    }
}

#[test]
fn viewers_behind_translators_reach_the_server() {
    for seed in few_seeds() {
        let mut room = Conference::new(seed, |_| {});
        let symmetric = NatConfig::SYMMETRIC;
        for _ in 0..3 {
            room.join(link(), Some(symmetric), true);
        }
        let seen = room.run_until(S(3), |room| all_see_all(room, &[0, 1, 2]));
        assert!(seen, "seed {seed}: {}", room.explain());
        assert!(room.is_connected());
    }
}

#[test]
fn a_connection_that_is_begun_anew_takes_the_place_of_the_old_one() {
    for seed in few_seeds() {
        let mut room = Conference::new(seed, |_| {});
        for _ in 0..3 {
            room.join(link(), None, true);
        }
        assert!(room.run_until(S(3), |room| all_see_all(room, &[0, 1, 2])));
        room.run_for(S(1));
        room.renew(1);
        room.attendees[0].frames.clear();
        room.attendees[2].frames.clear();
        let seen = room.run_until(S(4), |room| all_see_all(room, &[0, 1, 2]));
        assert!(seen, "seed {seed}: {}", room.explain());
        assert_eq!(room.forwarder().participant_count(), 3);
        assert_eq!(
            room.forwarder()
                .counters()
                .get("forward.connection_renewed"),
            1
        );
        assert_eq!(room.forwarder().track_count(), 6);
    }
}

#[test]
fn an_offer_whose_answer_is_lost_is_made_again() {
    for seed in few_seeds() {
        let mut room = Conference::new(seed, |_| {});
        room.join(link(), None, true);
        room.join(link(), None, true);
        assert!(room.run_until(S(3), |room| all_see_all(room, &[0, 1])));
        room.attendees[0].is_deaf = true;
        room.join(link(), None, true);
        room.run_for(S(5));
        assert!(room.pictures(0, 2).is_empty(), "seed {seed}");
        room.attendees[0].is_deaf = false;
        let seen = room.run_until(S(20), |room| all_see_all(room, &[0, 1, 2]));
        assert!(seen, "seed {seed}: {}", room.explain());
    }
}

#[test]
fn nonsense_is_refused_and_harms_nobody() {
    for seed in few_seeds() {
        let mut room = Conference::new(seed, |_| {});
        room.join(link(), None, true);
        room.join(link(), None, true);
        assert!(room.run_until(S(3), |room| all_see_all(room, &[0, 1])));
        for (event, data) in [
            ("offer", json!({"type": "offer", "sdp": "nonsense"})),
            ("offer", json!({"type": "rollback", "sdp": ""})),
            ("offer", json!(7)),
            ("answer", json!({"type": "answer", "sdp": "v=0\r\n"})),
            ("candidate", json!({"candidate": "nonsense", "sdpMid": "0"})),
            ("subscribe", json!({"tracks": [{}]})),
            ("dance", json!({})),
        ] {
            room.say(0, event, &data);
        }
        room.run_for(S(1));
        assert!(
            room.attendees[0].errors.len() >= 5,
            "seed {seed}: {}",
            room.explain()
        );
        let before = (room.pictures(0, 1).len(), room.pictures(1, 0).len());
        room.run_for(S(1));
        let after = (room.pictures(0, 1).len(), room.pictures(1, 0).len());
        assert!(
            after.0 >= before.0 + 25 && after.1 >= before.1 + 25,
            "seed {seed}"
        );
    }
}

#[test]
fn a_run_repeats_byte_for_byte() {
    let run = |seed| {
        let mut room = Conference::new(seed, |_| {});
        for _ in 0..3 {
            room.join(link(), None, true);
        }
        room.run_for(S(3));
        room.trace()
    };
    assert_eq!(run(5), run(5));
    assert_ne!(run(5), run(6));
}

/// Permissions come and go while everybody sends. That no frame passes without one is asserted for
/// each that arrives, by [`Conference::permit`].
#[test]
fn what_is_not_permitted_goes_nowhere() {
    let nothing = || Allowed::Streams([].into());
    for seed in few_seeds() {
        let mut room = Conference::new(seed, |_| {});
        for index in 0..4 {
            room.join(link(), None, true);
            // Of the last nothing is passed on from the beginning.
            if index == 3 {
                let silent = MediaPermissions {
                    audio: nothing(),
                    video: nothing(),
                    ..MediaPermissions::default()
                };
                room.permit(index, &silent);
            }
        }
        let seen = room.run_until(S(5), |room| {
            all_see_all(room, &[0, 1, 2]) && !room.pictures(3, 0).is_empty()
        });
        assert!(seen, "seed {seed}: {}", room.explain());
        assert_eq!(room.pictures(0, 3).len() + room.sounds(0, 3).len(), 0);
        assert!(
            !room.pictures(3, 0).is_empty(),
            "seed {seed}: who may not send gets"
        );
        let mut dice = seed;
        for _ in 0..12 {
            dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let who = (dice >> 33) as usize % 4;
            let of = |bit: u32, stream: &str| match dice >> (40 + bit) & 3 {
                0 => nothing(),
                1 => Allowed::Streams([format!("{stream}-{who}")].into()),
                _ => Allowed::All,
            };
            let change = MediaPermissions {
                subscribe: dice >> 50 & 3 != 0,
                audio: of(0, "sound"),
                video: of(2, "picture"),
                ..MediaPermissions::default()
            };
            room.permit(who, &change);
            room.run_for(MS(100 + (dice >> 55)));
        }
        for who in 0..4 {
            room.permit(who, &MediaPermissions::default());
        }
        for attendee in &mut room.attendees {
            attendee.frames.clear();
        }
        let seen = room.run_until(S(5), |room| all_see_all(room, &[0, 1, 2, 3]));
        assert!(seen, "seed {seed}: {}", room.explain());
        assert!(room.forwarder().counters().get("forward.not_permitted") > 0);
    }
}
