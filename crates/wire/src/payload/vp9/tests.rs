use proptest::prelude::*;

use super::*;

fn parse(payload: &[u8]) -> Result<Descriptor, PayloadError> {
    // One byte of frame behind the descriptor.
    let payload = [payload, &[0xaa]].concat();
    Descriptor::parse(&payload).map(|(descriptor, rest)| {
        assert_eq!(rest, [0xaa]);
        descriptor
    })
}

/// The descriptors of libwebrtc's own tests (`video_rtp_depacketizer_vp9_unittest.cc`).
#[test]
fn descriptors_of_libwebrtc_are_read() {
    let basic = parse(&[0x0c]).unwrap();
    assert!(basic.frame_start && basic.frame_end && basic.is_key_frame());
    assert_eq!(parse(&[0x80, 0x7f]).unwrap().picture_id, Some(0x7f));
    let long = parse(&[0x80, 0xff, 0xff]).unwrap();
    assert_eq!(long.picture_id, Some(0x7fff));

    let layers = Layers {
        temporal: 2,
        switching_up_point: true,
        spatial: 1,
        inter_layer_dependency: true,
        tl0_picture_index: Some(17),
    };
    let descriptor = parse(&[0x20, 2 << 5 | 1 << 4 | 1 << 1 | 1, 17]).unwrap();
    assert_eq!(descriptor.layers, Some(layers));
    let flexible = Layers {
        spatial: 0,
        inter_layer_dependency: false,
        tl0_picture_index: None,
        ..layers
    };
    let descriptor = parse(&[0x38, 2 << 5 | 1 << 4]).unwrap();
    assert_eq!(descriptor.layers, Some(flexible));

    let references = [0xd8, 0x80, 17, 17 << 1 | 1, 18 << 1 | 1, 127 << 1];
    let descriptor = parse(&references).unwrap();
    assert_eq!(descriptor.references.as_slice(), [17, 18, 127]);
    assert!(parse(&[0x08]).unwrap().is_key_frame());
    assert!(!parse(&[0x44]).unwrap().is_key_frame());
    // Predicted from the layer below alone: no key frame.
    assert!(!parse(&[0x20, 1, 0]).unwrap().is_key_frame());
    assert!(parse(&[0x05]).unwrap().not_inter_layer_reference);
}

#[test]
fn structures_of_libwebrtc_are_read() {
    let group = parse(&[0x0a, 1 << 5 | 1 << 3, 2, 1 << 4, 2 << 5 | 1 << 2, 33]).unwrap();
    let structure = group.structure.unwrap();
    assert_eq!(structure.spatial_layers, 2);
    let pictures: Vec<_> = structure
        .group
        .iter()
        .map(|own| {
            (
                own.temporal,
                own.switching_up_point,
                own.references.as_slice(),
            )
        })
        .collect();
    assert_eq!(pictures, [(0, true, &[][..]), (2, false, &[33])]);

    let sizes = [0x0a, 1 << 5 | 1 << 4, 2, 0x80, 1, 0x68, 5, 0x00, 2, 0xd0];
    let structure = parse(&sizes).unwrap().structure.unwrap();
    assert_eq!(structure.resolutions, [(640, 360), (1280, 720)]);
}

#[test]
fn contradictions_and_torn_descriptors_are_refused() {
    let bad = Err(PayloadError::BadHeader);
    assert_eq!(parse(&[0x58, 3 << 1]), bad);
    assert_eq!(parse(&[0xd8, 0x7f, 7, 7, 7, 6]), bad);
    let payload = [0xba, 0x81, 2, 0x45, 0x18, 0, 1, 0, 2, 1, 0x04, 1, 0xaa];
    assert!(Descriptor::parse(&payload).is_ok());
    for len in 0..payload.len() {
        assert!(Descriptor::parse(&payload[..len]).is_err(), "{len}");
    }
}

#[test]
fn key_frames_are_known_by_their_first_byte() {
    // Profile 0, shown key frame; the same, predicted; profile 3; an existing frame shown.
    for (first, key) in [(0x82, true), (0x86, false), (0xb0, true), (0x88, false)] {
        assert_eq!(is_key_frame(&[first, 0x49]), key, "{first:#x}");
    }
    assert!(!is_key_frame(&[0x02]) && !is_key_frame(&[]));
}

#[test]
fn pictures_of_two_spatial_layers_are_put_together() {
    let payloads: [&[u8]; 4] = [
        &[0xa8, 5, 0x00, 3, 1, 2],
        &[0xa4, 5, 0x00, 3, 3],
        &[0xa8, 5, 0x03, 3, 4],
        &[0xa4, 5, 0x03, 3, 5],
    ];
    let mut out = Vec::new();
    assert_eq!(assemble(payloads, &mut out), Ok(true));
    assert_eq!(out, [1, 2, 3, 4, 5]);
    let torn = Err(PayloadError::TornFragment);
    for missing in 0..4 {
        let left = (0..4)
            .filter(|own| *own != missing)
            .map(|own| payloads[own]);
        assert_eq!(assemble(left, &mut Vec::new()), torn, "{missing}");
    }
    assert_eq!(assemble([], &mut out), Err(PayloadError::Empty));
}

#[test]
fn a_payload_tells_of_its_frame() {
    let inspection = inspect(&[0xe0, 0x92, 0x34, 0x53, 7, 0xaa]).unwrap();
    let expected = Inspection {
        starts_frame: false,
        ends_frame: false,
        key_frame: false,
        discardable: false,
        switching_point: true,
        temporal_layer: Some(2),
        spatial_layer: Some(1),
        not_inter_layer_reference: false,
        picture_id: Some(0x1234),
        tl0_picture_index: Some(7),
    };
    assert_eq!(inspection, expected);
}

proptest! {
    #[test]
    fn replacing_counters_changes_nothing_else(
        head: u8, tail in prop::collection::vec(any::<u8>(), 5..20), id in 0u16..0x8000, tl0: u8,
    ) {
        let before = [vec![head], tail].concat();
        let mut after = before.clone();
        let counters = Counters { picture_id: Some(id), tl0_picture_index: Some(tl0), key_index: None };
        if set_counters(&mut after, &counters).is_ok() {
            let (old, old_rest) = Descriptor::parse(&before).unwrap();
            let (new, new_rest) = Descriptor::parse(&after).unwrap();
            let width = if before[1] & 0x80 == 0 { 0x7f } else { 0x7fff };
            let layers = old.layers.map(|own| Layers {
                tl0_picture_index: own.tl0_picture_index.map(|_| tl0), ..own
            });
            let picture_id = old.picture_id.map(|_| id & width);
            prop_assert_eq!(new, Descriptor { picture_id, layers, ..old });
            prop_assert_eq!(old_rest, new_rest);
        }
    }

    #[test]
    fn frames_survive_the_way(
        mut frame in prop::collection::vec(any::<u8>(), 1..5000), id in 0u16..0x8000, len in 8usize..1300, key: bool,
    ) {
        frame[0] = if key { 0x82 } else { 0x86 };
        let payloads: Vec<Vec<u8>> = packetize(&frame, id, len).unwrap().map(|chunk| {
            let mut out = Vec::new();
            chunk.write(&mut out);
            out
        }).collect();
        prop_assert!(payloads.iter().all(|payload| payload.len() <= len));
        let mut out = Vec::new();
        prop_assert_eq!(assemble(payloads.iter().map(Vec::as_slice), &mut out), Ok(key));
        prop_assert_eq!(&out, &frame);
        for (index, payload) in payloads.iter().enumerate() {
            let inspection = inspect(payload).unwrap();
            prop_assert_eq!((inspection.picture_id, inspection.key_frame), (Some(id), key));
            prop_assert_eq!(starts_key_frame(payload), key && index == 0);
        }
        if payloads.len() > 1 {
            let torn = Err(PayloadError::TornFragment);
            prop_assert_eq!(assemble(payloads[1..].iter().map(Vec::as_slice), &mut out), torn);
            let last = payloads.len() - 1;
            prop_assert_eq!(assemble(payloads[..last].iter().map(Vec::as_slice), &mut out), torn);
        }
    }

    #[test]
    fn layers_survive_the_way(
        frame in prop::collection::vec(any::<u8>(), 1..5000), id in 0u16..0x8000, len in 40usize..1300,
        (temporal, spatial) in (0u8..8, 0u8..8), flags: (bool, bool, bool),
        difference in prop::option::of(1u8..128), sizes in prop::option::of(prop::collection::vec(any::<(u16, u16)>(), 1..4)),
    ) {
        let structure = sizes.map(|resolutions| Structure {
            spatial_layers: u8::try_from(resolutions.len()).unwrap(),
            resolutions,
            group: Vec::new(),
        });
        let placement = Placement {
            temporal,
            spatial,
            switching_up_point: flags.0,
            inter_layer_dependency: flags.1,
            referred_to_above: flags.2,
            picture_difference: difference,
            structure: structure.clone(),
        };
        let payloads: Vec<Vec<u8>> = packetize_layer(&frame, id, &placement, len).unwrap().map(|chunk| {
            let mut out = Vec::new();
            chunk.write(&mut out);
            out
        }).collect();
        prop_assert!(payloads.iter().all(|payload| payload.len() <= len));
        for (index, payload) in payloads.iter().enumerate() {
            let (descriptor, _) = Descriptor::parse(payload).unwrap();
            prop_assert_eq!(descriptor.picture_id, Some(id));
            let layers = Layers {
                temporal, switching_up_point: flags.0, spatial, inter_layer_dependency: flags.1, tl0_picture_index: None,
            };
            prop_assert_eq!(descriptor.layers, Some(layers));
            prop_assert_eq!(descriptor.inter_picture_predicted, difference.is_some());
            prop_assert_eq!(descriptor.references.as_slice(), difference.as_slice());
            prop_assert_eq!(descriptor.not_inter_layer_reference, !flags.2);
            prop_assert_eq!(descriptor.frame_start, index == 0);
            prop_assert_eq!(descriptor.frame_end, index + 1 == payloads.len());
            prop_assert_eq!(descriptor.structure, structure.clone().filter(|_| index == 0));
        }
        let mut out = Vec::new();
        let key = difference.is_none() && !flags.1;
        prop_assert_eq!(assemble(payloads.iter().map(Vec::as_slice), &mut out), Ok(key));
        prop_assert_eq!(&out, &frame);
    }

    #[test]
    fn arbitrary_payloads_never_panic(payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), 0..5)) {
        let _ = assemble(payloads.iter().map(Vec::as_slice), &mut Vec::new());
    }
}
