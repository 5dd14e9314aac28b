//! Which frames of video come out after losses, and when key frames are asked for.

use std::collections::{BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use proptest::prelude::*;
use twocan_wire::rtp::{
    DecodeTargetIndication, DependencyDescriptor, DependencyStructure, DependencyTemplate,
};

use super::assemble::{Assembled, Assembler, Piece};
use super::tests::{Call, instant, media, vp8_frame};
use super::*;

const FRAME_TIME: Duration = Duration::from_millis(33);

/// A frame of a made-up stream, and what it refers to by its place in the stream.
struct Sent {
    pieces: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    references: Vec<usize>,
    temporal_layer: u8,
}

/// The temporal layers of one group of pictures, what each refers to as steps back, and whether it
/// refers to the lowest layer alone.
const GROUP: [(u8, &[usize], bool); 4] = [
    (0, &[4], true),
    (2, &[1], true),
    (1, &[2], true),
    (2, &[1, 3], false),
];

fn layered(count: usize, make: impl Fn(usize, u8, &[usize], bool, bool) -> Sent) -> Vec<Sent> {
    let all = (0..count).map(|number| {
        let (layer, back, base_alone) = GROUP[number % GROUP.len()];
        let key = number == 0;
        let back = if key { &[] } else { back };
        let mut sent = make(number, layer, back, base_alone, key);
        sent.references = back.iter().map(|back| number - back).collect();
        sent.temporal_layer = layer;
        sent
    });
    all.collect()
}

fn sent(pieces: Vec<(Vec<u8>, Option<Vec<u8>>)>) -> Sent {
    Sent {
        pieces,
        references: Vec::new(),
        temporal_layer: 0,
    }
}

fn vp8_layers(count: usize) -> Vec<Sent> {
    layered(count, |number, layer, _, base_alone, key| {
        let id = (number as u16 + 0x7ff0) & 0x7fff;
        let [high, low] = id.to_be_bytes();
        let tl0 = (number / 4 + 250) as u8;
        let layers = layer << 6 | u8::from(base_alone && layer > 0) << 5;
        let body = if key { 0x10 } else { 0x11 };
        let head = |start: u8| vec![0x80 | start, 0xe0, 0x80 | high, low, tl0, layers];
        let first = [head(0x10), vec![body, number as u8]].concat();
        sent(vec![(first, None), ([head(0), vec![7]].concat(), None)])
    })
}

fn vp9_layers(count: usize, flexible: bool, with_group: bool) -> Vec<Sent> {
    layered(count, |number, layer, back, _, key| {
        let id = (number as u16 + 0x7ff0) & 0x7fff;
        let [high, low] = id.to_be_bytes();
        let predicted = if key { 0 } else { 0x40 };
        let has_structure = key && with_group && !flexible;
        let mut flags = 0x80 | predicted | 0x20;
        flags |= if flexible { 0x10 } else { 0 };
        let head = |edge: u8, structure: bool| {
            let structure_flag = if structure { 2 } else { 0 };
            // After a picture of the lowest layer everything may be decoded again.
            let switching = u8::from(layer == 0) << 4;
            let mut out = vec![flags | edge | structure_flag, 0x80 | high, low];
            out.push(layer << 5 | switching);
            if !flexible {
                out.push((number / 4 + 250) as u8);
            }
            if flexible && !key {
                let count = back.len();
                for (index, back) in back.iter().enumerate() {
                    let more = u8::from(index + 1 < count);
                    out.push((*back as u8) << 1 | more);
                }
            }
            if structure {
                out.extend([0x08, 4]);
                for (layer, back, _) in GROUP {
                    out.push(layer << 5 | (back.len() as u8) << 2);
                    out.extend(back.iter().map(|back| *back as u8));
                }
            }
            out
        };
        let body = if key { 0x82 } else { 0x86 };
        let first = [head(0x08, has_structure), vec![body, number as u8]].concat();
        sent(vec![
            (first, None),
            ([head(0x04, false), vec![7]].concat(), None),
        ])
    })
}

/// AV1 of which only the dependency descriptors matter.
fn av1_layers(count: usize) -> Vec<Sent> {
    let templates = [
        (0, vec![4]),
        (0, vec![]),
        (1, vec![2]),
        (2, vec![1]),
        (2, vec![1, 3]),
    ];
    let structure = DependencyStructure {
        template_id_offset: 0,
        decode_targets: 1,
        protected_by: Vec::new(),
        chain_count: 0,
        templates: templates
            .into_iter()
            .map(|(temporal, frame_differences)| DependencyTemplate {
                spatial: 0,
                temporal,
                indications: vec![DecodeTargetIndication::Required],
                frame_differences,
                chain_differences: Vec::new(),
            })
            .collect(),
        resolutions: Vec::new(),
    };
    layered(count, |number, _, _, _, key| {
        let descriptor = |start: bool| {
            let own = DependencyDescriptor {
                start_of_frame: start,
                end_of_frame: !start,
                template_id: if key { 1 } else { [0, 3, 2, 4][number % 4] },
                frame_number: (number as u16).wrapping_add(65_530),
                structure: (key && start).then(|| structure.clone()),
                active_decode_targets: None,
                indications: None,
                frame_differences: None,
                chain_differences: None,
            };
            let mut out = Vec::new();
            own.write(Some(&structure), &mut out).unwrap();
            Some(out)
        };
        // A frame OBU in two parts, for the key frame after a sequence header.
        let first = if key {
            vec![0x68, 1, 0x08, 0x30, 0x10, number as u8]
        } else {
            vec![0x50, 0x30, 0x30, number as u8]
        };
        sent(vec![
            (first, descriptor(true)),
            (vec![0x90, 9], descriptor(false)),
        ])
    })
}

fn piece(format: Format, frame: &Sent, number: usize, part: usize, at: Instant) -> Piece {
    let (payload, dependency_descriptor) = frame.pieces[part].clone();
    Piece {
        format,
        payload_type: PayloadType(96),
        timestamp: number as u32 * 3000,
        marker: part + 1 == frame.pieces.len(),
        contributing: Vec::new(),
        audio_level: None,
        capture_time: None,
        dependency_descriptor,
        playout_delay: None,
        layers_allocation: None,
        payload,
        arrived_at: at,
        picture: PictureProperties::default(),
        video_timing: None,
    }
}

/// Feeds the packets that are not lost, some of them late; answers which frames came out, and
/// whether a key frame was wanted at any time.
fn receive(
    format: Format,
    stream: &[Sent],
    lost: &BTreeSet<usize>,
    late: &BTreeSet<usize>,
) -> (Vec<usize>, bool) {
    let start = instant();
    let mut assembler = Assembler::new(true, false);
    let mut arrivals = Vec::new();
    let mut sequence = 0;
    for (number, frame) in stream.iter().enumerate() {
        for part in 0..frame.pieces.len() {
            let wait = if late.contains(&sequence) { 40 } else { 0 };
            let at = start + FRAME_TIME * number as u32 + Duration::from_millis(wait);
            if !lost.contains(&sequence) {
                arrivals.push((at, sequence, number, part));
            }
            sequence += 1;
        }
    }
    arrivals.sort_unstable();
    let mut out: VecDeque<Assembled> = VecDeque::new();
    let mut wanted_key = false;
    for (at, sequence, number, part) in arrivals {
        while let Some(deadline) = assembler.deadline().filter(|deadline| *deadline <= at) {
            assembler.pop(deadline, Duration::ZERO, &mut out);
        }
        let own = piece(format, &stream[number], number, part, at);
        assembler.insert(100 + sequence as u64, own);
        assembler.pop(at, Duration::ZERO, &mut out);
        wanted_key |= assembler.needs_key();
    }
    assert_eq!(assembler.malformed, 0);
    let numbers = out.iter().map(|own| own.timestamp as usize / 3000);
    (numbers.collect(), wanted_key)
}

fn streams(count: usize) -> Vec<(&'static str, Format, Vec<Sent>)> {
    vec![
        ("VP8", Format::Vp8, vp8_layers(count)),
        ("VP9 flexible", Format::Vp9, vp9_layers(count, true, false)),
        ("VP9 group", Format::Vp9, vp9_layers(count, false, true)),
        ("VP9 layers", Format::Vp9, vp9_layers(count, false, false)),
        ("AV1", Format::Av1, av1_layers(count)),
    ]
}

proptest! {
    #[test]
    fn no_frame_comes_out_that_refers_to_one_that_did_not(
        lost in prop::collection::btree_set(2usize..160, 0..30),
        late in prop::collection::btree_set(2usize..160, 0..30),
    ) {
        for (name, format, stream) in streams(80) {
            let (came, wanted_key) = receive(format, &stream, &lost, &late);
            prop_assert!(came.is_sorted(), "{}", name);
            for number in &came {
                for reference in &stream[*number].references {
                    prop_assert!(came.contains(reference), "{}: {} refers to {}", name, number, reference);
                }
            }
            if lost.is_empty() {
                prop_assert_eq!(came.len(), 80, "{}", name);
                prop_assert!(!wanted_key, "{}", name);
            }
        }
    }

    #[test]
    fn upper_layers_may_be_lost_without_a_key_frame(
        lost in prop::collection::btree_set(1usize..80, 0..20),
    ) {
        for (name, format, stream) in streams(80) {
            // Both packets of those that are not of the lowest layer, but for the last group: what
            // comes after shows the loss.
            let lost: BTreeSet<usize> = lost
                .iter()
                .filter(|number| stream[**number].temporal_layer > 0 && **number < 76)
                .flat_map(|number| [number * 2, number * 2 + 1])
                .collect();
            let (came, wanted_key) = receive(format, &stream, &lost, &BTreeSet::new());
            prop_assert!(!wanted_key, "{}", name);
            for number in (0..80).filter(|number| stream[*number].temporal_layer == 0) {
                prop_assert!(came.contains(&number), "{}: {} of the lowest layer", name, number);
            }
        }
    }
}

#[test]
fn a_lost_frame_costs_those_that_refer_to_it_and_no_others() {
    // Of the second group: the first picture of layer 2; then that of layer 1.
    for (lost, without) in [(5, vec![5]), (6, vec![6, 7])] {
        for (name, format, stream) in streams(16) {
            let packets = BTreeSet::from([lost * 2, lost * 2 + 1]);
            let (came, wanted_key) = receive(format, &stream, &packets, &BTreeSet::new());
            let missing: Vec<usize> = (0..16).filter(|own| !came.contains(own)).collect();
            assert!(!wanted_key, "{name}");
            if name == "VP9 layers" {
                // Nothing says what the rest of the group refers to.
                assert!(
                    missing.iter().all(|own| (5..8).contains(own)),
                    "{missing:?}"
                );
            } else if lost == 5 && name == "VP8" {
                // The second picture of layer 2 may refer to the first.
                assert_eq!(missing, [5, 7]);
            } else {
                assert_eq!(missing, without, "{name}");
            }
        }
    }
    for (name, format, stream) in streams(16) {
        let (came, wanted_key) = receive(format, &stream, &BTreeSet::from([8]), &BTreeSet::new());
        assert!(
            wanted_key,
            "{name}: a picture of the lowest layer is missing"
        );
        assert_eq!(came, [0, 1, 2, 3], "{name}");
    }
}

/// An H.264 access unit, each NAL unit in a packet of its own.
fn units(types: &[u8]) -> Sent {
    let all = types.iter().map(|kind| (vec![0x60 | kind, 0x80, 1], None));
    sent(all.collect())
}

#[test]
fn a_key_frame_begins_with_what_stands_before_its_parameter_sets() {
    let mode = PacketizationMode::NonInterleaved;
    for key in [
        &[9, 6, 7, 8, 5][..],
        &[9, 7, 8, 5, 5],
        &[6, 7, 5],
        &[7, 8, 6, 5, 5],
    ] {
        let stream = [
            units(&[9, 1]),
            units(&[1, 1]),
            units(key),
            units(&[9, 1]),
            units(&[6, 1]),
        ];
        let none = BTreeSet::new();
        let (came, _) = receive(Format::H264(mode), &stream, &none, &none);
        assert_eq!(came, [2, 3, 4], "{key:?}");
    }
}

#[test]
fn a_picture_without_its_first_slice_is_no_key_frame() {
    let slices = |starts: [u8; 2]| sent(starts.map(|first| (vec![0x65, first, 1], None)).to_vec());
    let stream = [slices([0x88, 0x40]), slices([0x88, 0x40])];
    let mode = PacketizationMode::NonInterleaved;
    let none = BTreeSet::new();
    let (came, _) = receive(Format::H264(mode), &stream, &none, &none);
    assert_eq!(came, [0, 1]);
    let (came, _) = receive(Format::H264(mode), &stream, &BTreeSet::from([0]), &none);
    assert_eq!(came, [1]);
}

#[test]
fn a_torn_frame_that_nothing_refers_to_does_not_stop_the_stream() {
    let fragment = |importance: u8, edge: u8| (vec![importance | 28, edge | 1, 5], None);
    let frame = |importance| {
        let parts = [0x80, 0, 0, 0x40].map(|edge| fragment(importance, edge));
        sent(parts.to_vec())
    };
    let stream = [
        units(&[7, 8, 5]),
        frame(0x60),
        frame(0),
        frame(0x60),
        frame(0),
        frame(0x60),
    ];
    let mode = PacketizationMode::NonInterleaved;
    // The middle of the first frame that nothing refers to.
    let lost = BTreeSet::from([3 + 4 + 1, 3 + 4 + 2]);
    let (came, wanted_key) = receive(Format::H264(mode), &stream, &lost, &BTreeSet::new());
    assert_eq!((came, wanted_key), (vec![0, 1, 3, 4, 5], false));
    let lost = BTreeSet::from([3 + 1]);
    let (came, wanted_key) = receive(Format::H264(mode), &stream, &lost, &BTreeSet::new());
    assert_eq!(
        (came, wanted_key),
        (vec![0], true),
        "another frame refers to this one"
    );
}

/// When each of the frames sent over such a path came out, by their number, and requests for key
/// frames.
fn watch(seed: u8, loss_percent: u32, rtt: Duration, frames: u32) -> (Vec<(u32, Duration)>, u64) {
    let mut call = Call::new(seed, &[media("v", Format::Vp8, 10)]);
    call.delay = rtt / 2;
    for session in &mut call.sides {
        session.set_round_trip_time(rtt);
    }
    let start = call.now.monotonic;
    for number in 0..frames {
        let key = number == 0 || call.takes_key_frame_request(0);
        call.loss_percent = if number == 0 { 0 } else { loss_percent };
        let len = 500 + (number as usize * 977) % 5000;
        call.send(0, "v", number * 3000, &vp8_frame(number, key, len));
        call.run(FRAME_TIME);
    }
    call.loss_percent = 0;
    call.run(Duration::from_secs(2));
    let shown = call.shown(1, start);
    let pli = call.sides[1].inbound_stats().map(|own| own.pli_count).sum();
    (shown, pli)
}

/// How often a display so far behind the camera stands still for 150 ms more than a frame lasts.
fn freezes(shown: &[(u32, Duration)], behind: Duration) -> usize {
    let times = shown.iter();
    let times: Vec<Duration> = times
        .map(|(number, at)| (*at).max(FRAME_TIME * *number + behind))
        .collect();
    let pairs = times.windows(2);
    pairs
        .filter(|two| two[1] - two[0] >= FRAME_TIME + Duration::from_millis(150))
        .count()
}

#[test]
fn at_five_percent_loss_and_100_ms_no_key_frame_is_asked_for() {
    let mut frozen = [0; 4];
    for seed in 1..=5 {
        let (shown, pli) = watch(seed, 5, Duration::from_millis(100), 1800);
        assert_eq!((shown.len(), pli), (1800, 0), "seed {seed}");
        for (count, behind) in frozen.iter_mut().zip([50, 300, 400, 600]) {
            *count += freezes(&shown, Duration::from_millis(behind));
        }
    }
    // Shown at once there are about ninety in these five minutes.
    // The way takes 50 ms, a repair 100 to 140: two of them fit into 300 ms, three into 400.
    assert!(frozen[1] <= 5 && frozen[2] <= 1, "{frozen:?}");
    assert_eq!(frozen[3], 0);
}

#[test]
fn a_key_frame_is_asked_for_once_repairs_cannot_come_in_time() {
    for (rtt, patience) in [(20, 220), (100, 540), (300, 390), (600, 765)] {
        let rtt = Duration::from_millis(rtt);
        let mut assembler = Assembler::new(true, true);
        let start = instant();
        let stream = vp8_layers(40);
        let mut out = VecDeque::new();
        let mut asked_at = None;
        for (number, frame) in stream.iter().enumerate() {
            let at = start + FRAME_TIME * number as u32;
            while let Some(deadline) = assembler.deadline().filter(|deadline| *deadline <= at) {
                assembler.pop(deadline, rtt, &mut out);
                asked_at = asked_at.or(assembler.needs_key().then_some(deadline));
            }
            // The second picture of the lowest layer is lost.
            if number == 4 {
                continue;
            }
            for part in [0, 1] {
                let own = piece(Format::Vp8, frame, number, part, at);
                assembler.insert(100 + (number * 2 + part) as u64, own);
                assembler.pop(at, rtt, &mut out);
            }
        }
        let since = asked_at.map(|at| at - (start + FRAME_TIME * 5));
        assert_eq!(since, Some(Duration::from_millis(patience)), "{rtt:?}");
    }
}

#[test]
fn a_lost_request_for_a_key_frame_is_repeated_after_two_round_trips() {
    let mut call = Call::new(1, &[media("v", Format::Vp8, 10)]);
    call.delay = Duration::from_millis(25);
    for session in &mut call.sides {
        session.set_round_trip_time(Duration::from_millis(50));
    }
    let start = call.now.monotonic;
    let mut asked = Vec::new();
    for number in 0..20 {
        // The first key frame is lost, and so is the first request for another.
        call.loss_percent = if number == 0 || (2..5).contains(&number) {
            100
        } else {
            0
        };
        let key = !asked.is_empty();
        call.send(0, "v", number * 3000, &vp8_frame(number, key, 500));
        call.run(FRAME_TIME);
        if call.takes_key_frame_request(0) {
            asked.push(call.now.monotonic - start);
        }
    }
    let shown = call.shown(1, start);
    let (_, first) = shown[0];
    assert!(first < Duration::from_millis(400), "{first:?}");
    assert_eq!(asked.len(), 1);
}

#[test]
fn the_lost_end_of_a_frame_is_repaired_before_the_next_frame() {
    let mut call = Call::new(1, &[media("v", Format::Vp8, 10)]);
    let start = call.now.monotonic;
    call.send(0, "v", 0, &vp8_frame(0, true, 5000));
    call.run(FRAME_TIME);
    // Of the last frame for a long time, as of a screen, two packets of five are lost at the end.
    call.lose_after = Some(3);
    call.send(0, "v", 3000, &vp8_frame(1, false, 5000));
    call.lose_after = None;
    call.run(Duration::from_secs(2));
    let shown = call.shown(1, start);
    assert_eq!(shown.len(), 2);
    let waited = shown[1].1 - FRAME_TIME;
    assert!(waited < Duration::from_millis(300), "{waited:?}");
    let stats = call.sides[1].inbound_stats().next().unwrap();
    assert_eq!(
        (stats.pli_count, stats.freeze_count),
        (0, 0),
        "two frames are no rhythm"
    );
    assert_eq!(stats.frames_assembled_from_multiple_packets, 2);
    let repaired = waited - Duration::from_millis(20);
    assert!(
        stats.total_assembly_time.abs_diff(repaired) < Duration::from_millis(1),
        "{stats:?}"
    );
    assert_eq!(stats.jitter_buffer_emitted_count, 2);
    assert_eq!(stats.jitter_buffer_delay, stats.total_assembly_time);
    assert_eq!(stats.frames_per_second, Some(0), "a second and more ago");
    let last = stats.last_packet_received_timestamp.unwrap();
    let arrived = Duration::from_secs(1_800_000_000) + FRAME_TIME + waited;
    assert!(
        last.abs_diff(arrived) < Duration::from_millis(1),
        "{last:?}"
    );
}
