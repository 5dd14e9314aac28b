use proptest::prelude::*;
use twocan_wire::payload::vp8;
use twocan_wire::rtp::{
    DecodeTargetIndication as Indication, DependencyDescriptor, DependencyStructure, Resolution,
};

use super::*;

/// A template in words: layers, indications, differences of frames and of chains.
fn words(own: &DependencyTemplate) -> String {
    let indications: String = own
        .indications
        .iter()
        .map(|own| match own {
            Indication::NotPresent => '-',
            Indication::Discardable => 'D',
            Indication::Switch => 'S',
            Indication::Required => 'R',
        })
        .collect();
    format!(
        "S{}T{} {indications} frames {:?} chains {:?}",
        own.spatial, own.temporal, own.frame_differences, own.chain_differences
    )
}

fn structure_of(mode: &str) -> DependencyStructure {
    structure(mode.parse().unwrap(), 0, None)
}

/// What libwebrtc's structures of these modes hold (`modules/video_coding/svc`).
const LIBWEBRTC: &[(&str, &[u8], &[&str])] = &[
    (
        "L1T2",
        &[0, 0],
        &[
            "S0T0 SS frames [] chains [0]",
            "S0T0 SS frames [2] chains [2]",
            "S0T1 -D frames [1] chains [1]",
        ],
    ),
    (
        "L1T3",
        &[0, 0, 0],
        &[
            "S0T0 SSS frames [] chains [0]",
            "S0T0 SSS frames [4] chains [4]",
            "S0T1 -DS frames [2] chains [2]",
            "S0T2 --D frames [1] chains [1]",
            "S0T2 --D frames [1] chains [3]",
        ],
    ),
    (
        "L2T1",
        &[0, 1],
        &[
            "S0T0 SR frames [2] chains [2, 1]",
            "S0T0 SS frames [] chains [0, 0]",
            "S1T0 -S frames [1] chains [1, 1]",
            "S1T0 -S frames [2, 1] chains [1, 1]",
        ],
    ),
    (
        "L2T2",
        &[0, 0, 1, 1],
        &[
            "S0T0 SSRR frames [4] chains [4, 3]",
            "S0T0 SSSS frames [] chains [0, 0]",
            "S0T1 -D-R frames [2] chains [2, 1]",
            "S1T0 --SS frames [1] chains [1, 1]",
            "S1T0 --SS frames [4, 1] chains [1, 1]",
            "S1T1 ---D frames [2, 1] chains [3, 2]",
        ],
    ),
    (
        "L2T2_KEY",
        &[0, 0, 1, 1],
        &[
            "S0T0 SS-- frames [4] chains [4, 3]",
            "S0T0 SSSS frames [] chains [0, 0]",
            "S0T1 -D-- frames [2] chains [2, 1]",
            "S1T0 --SS frames [1] chains [1, 1]",
            "S1T0 --SS frames [4] chains [1, 4]",
            "S1T1 ---D frames [2] chains [3, 2]",
        ],
    ),
    (
        "L3T3",
        &[0, 0, 0, 1, 1, 1, 2, 2, 2],
        &[
            "S0T0 SSSRRRRRR frames [12] chains [12, 11, 10]",
            "S0T0 SSSSSSSSS frames [] chains [0, 0, 0]",
            "S0T1 -DS-RR-RR frames [6] chains [6, 5, 4]",
            "S0T2 --D--R--R frames [3] chains [3, 2, 1]",
            "S0T2 --D--R--R frames [3] chains [9, 8, 7]",
            "S1T0 ---SSSRRR frames [12, 1] chains [1, 1, 1]",
            "S1T0 ---SSSSSS frames [1] chains [1, 1, 1]",
            "S1T1 ----DS-RR frames [6, 1] chains [7, 6, 5]",
            "S1T2 -----D--R frames [3, 1] chains [10, 9, 8]",
            "S1T2 -----D--R frames [3, 1] chains [4, 3, 2]",
            "S2T0 ------SSS frames [1] chains [2, 1, 1]",
            "S2T0 ------SSS frames [12, 1] chains [2, 1, 1]",
            "S2T1 -------DS frames [6, 1] chains [8, 7, 6]",
            "S2T2 --------D frames [3, 1] chains [11, 10, 9]",
            "S2T2 --------D frames [3, 1] chains [5, 4, 3]",
        ],
    ),
    (
        "L3T2_KEY",
        &[0, 0, 1, 1, 2, 2],
        &[
            "S0T0 SS---- frames [6] chains [6, 5, 4]",
            "S0T0 SSSSSS frames [] chains [0, 0, 0]",
            "S0T1 -D---- frames [3] chains [3, 2, 1]",
            "S1T0 --SS-- frames [6] chains [1, 6, 5]",
            "S1T0 --SSSS frames [1] chains [1, 1, 1]",
            "S1T1 ---D-- frames [3] chains [4, 3, 2]",
            "S2T0 ----SS frames [1] chains [2, 1, 1]",
            "S2T0 ----SS frames [6] chains [2, 1, 6]",
            "S2T1 -----D frames [3] chains [5, 4, 3]",
        ],
    ),
    (
        "S2T1",
        &[0, 1],
        &[
            "S0T0 S- frames [2] chains [2, 1]",
            "S0T0 S- frames [] chains [0, 0]",
            "S1T0 -S frames [2] chains [1, 2]",
            "S1T0 -S frames [] chains [1, 0]",
        ],
    ),
];

#[test]
fn structures_are_those_of_libwebrtc() {
    for (mode, protected_by, templates) in LIBWEBRTC {
        let own = structure_of(mode);
        let mut found: Vec<String> = own.templates.iter().map(words).collect();
        found.sort_unstable();
        let mut theirs = templates.to_vec();
        theirs.sort_unstable();
        assert_eq!(found, theirs, "{mode}");
        assert_eq!(own.protected_by, *protected_by, "{mode}");
        assert_eq!(usize::from(own.decode_targets), protected_by.len());
    }
}

#[test]
fn sizes_follow_from_the_lowest() {
    let size = |width, height| Resolution { width, height };
    let doubled = structure("L3T1".parse().unwrap(), 0, Some(size(320, 180)));
    let sizes = [size(320, 180), size(640, 360), size(1280, 720)];
    assert_eq!(doubled.resolutions, sizes);
    let narrow = structure("L2T1h".parse().unwrap(), 0, Some(size(640, 360)));
    assert_eq!(narrow.resolutions, [size(640, 360), size(960, 540)]);
    let huge = structure("L3T1".parse().unwrap(), 0, Some(size(u32::MAX, 40_000)));
    assert_eq!(huge.resolutions[2], size(65_536, 65_536));
}

fn layer(mode: &str, spatial: u8, temporal: u8, key_picture: bool) -> FrameLayer {
    let mode: ScalabilityMode = mode.parse().unwrap();
    FrameLayer {
        mode,
        spatial,
        temporal,
        key_picture,
        last_of_picture: spatial + 1 == mode.spatial_layers(),
    }
}

#[test]
fn layers_that_a_mode_does_not_have_are_not_sound() {
    assert!(layer("L2T2", 1, 1, false).is_sound());
    assert!(!layer("L2T2", 2, 0, false).is_sound());
    assert!(!layer("L2T2", 0, 2, false).is_sound());
    assert!(!layer("L2T2", 0, 1, true).is_sound());
}

#[test]
fn nothing_is_told_before_a_key_picture() {
    let mut layers = Layers::default();
    assert_eq!(layers.push(0, &layer("L1T2", 0, 1, false), None), None);
    assert!(layers.push(1, &layer("L1T2", 0, 0, true), None).is_some());
    // Another mode begins with a key picture of its own, and with other numbers.
    assert_eq!(layers.push(2, &layer("L1T3", 0, 1, false), None), None);
    let marks = layers.push(3, &layer("L1T3", 0, 0, true), None).unwrap();
    let descriptor = DependencyDescriptor::parse(&marks.only, None).unwrap();
    assert_eq!(descriptor.structure.unwrap().template_id_offset, 3);
}

#[test]
fn vp8_counts_its_lowest_layer_and_its_key_frames() {
    let mut layers = Layers::default();
    let mut push = |timestamp, temporal, key| {
        let own = layer("L1T3", 0, temporal, key);
        layers.push(timestamp, &own, None).unwrap().vp8.unwrap()
    };
    let first = push(0, 0, true);
    let told = |temporal, sync, steps: u8, keys: u8| vp8::Layer {
        temporal,
        sync,
        tl0_picture_index: first.tl0_picture_index.wrapping_add(steps),
        key_index: first.key_index + keys,
    };
    assert_eq!(push(1, 2, false), told(2, true, 0, 0));
    assert_eq!(push(2, 1, false), told(1, true, 0, 0));
    assert_eq!(push(3, 2, false), told(2, false, 0, 0));
    assert_eq!(push(4, 0, false), told(0, false, 1, 0));
    assert_eq!(push(5, 0, true), told(0, false, 2, 1));
}

proptest! {
    /// Whatever an encoder leaves out, a receiver that has all frames finds every reference among
    /// those that were sent, and the chains lead from frame to frame.
    #[test]
    fn references_and_chains_lead_to_frames_that_were_sent(
        which in 0..LIBWEBRTC.len(),
        pictures in prop::collection::vec((0u8..3, 1u8..4, 0u8..20), 1..60),
    ) {
        let mode: ScalabilityMode = LIBWEBRTC[which].0.parse().unwrap();
        let mut layers = Layers::default();
        let mut held: Option<DependencyStructure> = None;
        let mut sent: Vec<(u16, u8, u8, u32, bool)> = Vec::new();
        for (index, (temporal, spatial_count, key)) in pictures.iter().enumerate() {
            let is_key = index == 0 || *key == 0;
            let temporal = if is_key { 0 } else { temporal % mode.temporal_layers() };
            let count = if is_key { mode.spatial_layers() } else { (*spatial_count).min(mode.spatial_layers()) };
            for spatial in 0..count {
                let own = FrameLayer { mode, spatial, temporal, key_picture: is_key, last_of_picture: spatial + 1 == count };
                let timestamp = index as u32 * 3000;
                let marks = layers.push(timestamp, &own, None).unwrap();
                for (bytes, edges) in [
                    (&marks.first, (true, false)), (&marks.middle, (false, false)),
                    (&marks.last, (false, true)), (&marks.only, (true, true)),
                ] {
                    let descriptor = DependencyDescriptor::parse(bytes, held.as_ref()).unwrap();
                    held = descriptor.structure.clone().or(held);
                    prop_assert_eq!((descriptor.start_of_frame, descriptor.end_of_frame), edges);
                }
                let descriptor = DependencyDescriptor::parse(&marks.only, held.as_ref()).unwrap();
                let frame = descriptor.frame(held.as_ref().unwrap()).unwrap();
                prop_assert_eq!((frame.spatial, frame.temporal), (spatial, temporal));
                for back in &frame.frame_differences {
                    let number = descriptor.frame_number.wrapping_sub(*back);
                    let (_, s, t, at, _) = *sent.iter().find(|own| own.0 == number).unwrap();
                    let below = at == timestamp && s + 1 == spatial;
                    let before = at < timestamp && s == spatial && (t < temporal || t == 0);
                    prop_assert!(below || before);
                }
                prop_assert!(!is_key || frame.frame_differences.len() <= 1);
                for (chain, back) in (0u8..).zip(&frame.chain_differences) {
                    if *back > 0 {
                        let number = descriptor.frame_number.wrapping_sub(u16::from(*back));
                        let (_, s, t, _, key) = *sent.iter().find(|own| own.0 == number).unwrap();
                        prop_assert!(mode.is_in_chain(chain, s, t, key));
                    }
                }
                sent.push((descriptor.frame_number, spatial, temporal, timestamp, is_key));
            }
        }
    }
}
