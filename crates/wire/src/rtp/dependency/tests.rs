use proptest::prelude::*;

use super::DecodeTargetIndication::{
    Discardable as D, NotPresent as N, Required as R, Switch as S,
};
use super::*;

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
        .collect()
}

fn written(
    descriptor: &DependencyDescriptor,
    last: Option<&DependencyStructure>,
) -> Result<Vec<u8>, DependencyError> {
    let mut out = Vec::new();
    descriptor.write(last, &mut out).map(|()| out)
}

/// What Chromium sent as AV1 with three spatial and three temporal layers, recorded by LiveKit
/// (`dependencydescriptorextension_test.go`): a key frame, and the frames after it.
const CAPTURED: [&str; 13] = [
    "c1017280081485214eafffaaaa863cf0430c10c302afc0aaa0063c00430010c002a000a80006000040001d954926e082b04a0941b820ac1282503157f974000ca864330e222222eca8655304224230eca877530077004200ef008601df010d",
    "86017340fc",
    "46017340fc",
    "c3017540fc",
    "88017640fc",
    "48017640fc",
    "c2017840fc",
    "860173",
    "460173",
    "8b0174",
    "0b0174",
    "0b0174",
    "c30175",
];

#[test]
fn what_chromium_sends_is_read_and_written_again() {
    let mut last: Option<DependencyStructure> = None;
    let mut numbers = Vec::new();
    for hex in CAPTURED {
        let value = bytes(hex);
        let descriptor = DependencyDescriptor::parse(&value, last.as_ref()).unwrap();
        assert_eq!(written(&descriptor, last.as_ref()), Ok(value), "{hex}");
        let structure = descriptor.structure.clone().or(last).unwrap();
        let frame = descriptor.frame(&structure).unwrap();
        assert_eq!(
            frame.indications.len(),
            usize::from(structure.decode_targets)
        );
        numbers.push((descriptor.frame_number, frame.spatial, frame.temporal));
        last = Some(structure);
    }
    assert_eq!(numbers[..3], [(0x172, 0, 0), (0x173, 1, 0), (0x173, 1, 0)]);

    let key = DependencyDescriptor::parse(&bytes(CAPTURED[0]), None).unwrap();
    assert!(key.start_of_frame && key.end_of_frame);
    let structure = key.structure.clone().unwrap();
    assert_eq!((structure.decode_targets, structure.chain_count), (9, 3));
    assert_eq!(structure.protected_by, [0, 0, 0, 1, 1, 1, 2, 2, 2]);
    assert_eq!(structure.resolutions.len(), 3);
    let sizes: Vec<(u32, u32)> = structure
        .resolutions
        .iter()
        .map(|own| (own.width, own.height))
        .collect();
    assert_eq!(sizes, [(120, 67), (240, 135), (480, 270)]);
    let frame = key.frame(&structure).unwrap();
    assert_eq!(frame.frame_differences, []);
    assert_eq!(frame.indications, [S; 9]);
    // The six decode targets without the third spatial layer stay active.
    let next = DependencyDescriptor::parse(&bytes(CAPTURED[1]), Some(&structure)).unwrap();
    assert_eq!(next.active_decode_targets, Some(0x3f));
}

/// L1T3 as in the specification's examples (§A.6.1).
fn temporal_layers() -> DependencyStructure {
    let template = |temporal, indications: [DecodeTargetIndication; 3], frames: &[u8], chain| {
        DependencyTemplate {
            spatial: 0,
            temporal,
            indications: indications.to_vec(),
            frame_differences: frames.to_vec(),
            chain_differences: vec![chain],
        }
    };
    DependencyStructure {
        template_id_offset: 60,
        decode_targets: 3,
        protected_by: vec![0, 0, 0],
        chain_count: 1,
        templates: vec![
            template(0, [S, S, S], &[], 0),
            template(0, [S, S, S], &[4], 4),
            template(1, [S, D, N], &[2], 2),
            template(2, [D, N, N], &[1], 1),
            template(2, [D, N, N], &[1], 3),
        ],
        resolutions: Vec::new(),
    }
}

fn descriptor(template_id: u8) -> DependencyDescriptor {
    DependencyDescriptor {
        start_of_frame: true,
        end_of_frame: false,
        template_id,
        frame_number: 0xffff,
        structure: None,
        active_decode_targets: None,
        indications: None,
        frame_differences: None,
        chain_differences: None,
    }
}

#[test]
fn numbers_of_templates_wrap() {
    let structure = temporal_layers();
    // The fifth template is number 60 + 4, which is 0.
    let short = descriptor(0);
    let value = written(&short, Some(&structure)).unwrap();
    assert_eq!(value, [0x80, 0xff, 0xff]);
    let read = DependencyDescriptor::parse(&value, Some(&structure)).unwrap();
    assert_eq!(read, short);
    let frame = read.frame(&structure).unwrap();
    assert_eq!((frame.temporal, frame.chain_differences), (2, vec![3]));
    let unknown = DependencyDescriptor::parse(&[0x81, 0, 0], Some(&structure));
    assert_eq!(unknown, Err(DependencyError::BadTemplate));
    assert_eq!(
        written(&descriptor(1), Some(&structure)),
        Err(DependencyError::BadTemplate)
    );
}

#[test]
fn a_frame_may_differ_from_its_template() {
    let structure = temporal_layers();
    let own = DependencyDescriptor {
        active_decode_targets: Some(0b011),
        indications: Some(vec![R, D, N]),
        frame_differences: Some(vec![1, 16, 17, 256, 257, 4096]),
        chain_differences: Some(vec![255]),
        ..descriptor(61)
    };
    let value = written(&own, Some(&structure)).unwrap();
    let read = DependencyDescriptor::parse(&value, Some(&structure)).unwrap();
    assert_eq!(read, own);
    let frame = read.frame(&structure).unwrap();
    assert_eq!(frame.frame_differences, [1, 16, 17, 256, 257, 4096]);
    assert_eq!(frame.indications, [R, D, N]);
    // Without the structure nobody knows how many there are.
    let lost = DependencyDescriptor::parse(&value, None);
    assert_eq!(lost, Err(DependencyError::NoStructure));
    assert_eq!(written(&own, None), Err(DependencyError::NoStructure));
    // What only names its template can be read by anyone.
    assert_eq!(
        DependencyDescriptor::parse(&value[..3], None),
        Ok(descriptor(61))
    );
    for len in 3..value.len() {
        let torn = DependencyDescriptor::parse(&value[..len], Some(&structure));
        assert!(torn.is_err() || len == 3, "{len}");
    }
}

#[test]
fn structures_that_contradict_themselves_are_not_written() {
    let breakages: [fn(&mut DependencyStructure); 9] = [
        |own| own.template_id_offset = 64,
        |own| own.decode_targets = 33,
        |own| own.chain_count = 2,
        |own| own.protected_by[0] = 1,
        |own| own.templates.clear(),
        |own| own.templates[1].indications.truncate(2),
        |own| own.templates[1].frame_differences = vec![17],
        |own| own.templates[2].temporal = 2,
        |own| {
            own.resolutions = vec![
                Resolution {
                    width: 1,
                    height: 1
                };
                2
            ]
        },
    ];
    for (index, breakage) in breakages.into_iter().enumerate() {
        let mut structure = temporal_layers();
        breakage(&mut structure);
        let own = DependencyDescriptor {
            structure: Some(structure),
            ..descriptor(60)
        };
        assert!(written(&own, None).is_err(), "{index}");
    }
    let frames: [fn(&mut DependencyDescriptor); 5] = [
        |own| own.active_decode_targets = Some(8),
        |own| own.indications = Some(vec![S]),
        |own| own.frame_differences = Some(vec![0]),
        |own| own.frame_differences = Some(vec![4097]),
        |own| own.chain_differences = Some(vec![]),
    ];
    for breakage in frames {
        let mut own = descriptor(60);
        breakage(&mut own);
        let refused = written(&own, Some(&temporal_layers()));
        assert_eq!(refused, Err(DependencyError::BadFrame));
    }
    let long = DependencyDescriptor {
        frame_differences: Some(vec![4096; 200]),
        ..descriptor(60)
    };
    let refused = written(&long, Some(&temporal_layers()));
    assert_eq!(refused, Err(DependencyError::TooLong));
}

fn any_structure() -> impl Strategy<Value = DependencyStructure> {
    let layers = prop::collection::vec((1u8..3, 1u8..4), 1..4);
    (
        layers,
        0u8..64,
        1u8..=8,
        any::<prop::sample::Index>(),
        any::<bool>(),
        any::<u64>(),
    )
        .prop_map(
            |(layers, template_id_offset, decode_targets, chains, with_sizes, mut noise)| {
                let mut next = |limit: u8| {
                    noise = noise
                        .wrapping_mul(6_364_136_223_846_793_005)
                        .wrapping_add(1);
                    ((noise >> 33) % u64::from(limit)) as u8
                };
                let chain_count = chains.index(usize::from(decode_targets) + 1) as u8;
                let mut templates = Vec::new();
                for (spatial, (temporal_count, repeats)) in (0u8..).zip(&layers) {
                    for temporal in 0..*temporal_count {
                        for _ in 0..*repeats {
                            let indications =
                                (0..decode_targets).map(|_| [N, D, S, R][usize::from(next(4))]);
                            let indications = indications.collect();
                            let count = next(4);
                            let frame_differences = (0..count).map(|_| next(16) + 1).collect();
                            let chain_differences = (0..chain_count).map(|_| next(16)).collect();
                            templates.push(DependencyTemplate {
                                spatial,
                                temporal,
                                indications,
                                frame_differences,
                                chain_differences,
                            });
                        }
                    }
                }
                let protected = if chain_count > 0 { decode_targets } else { 0 };
                let sizes = if with_sizes { layers.len() } else { 0 };
                DependencyStructure {
                    template_id_offset,
                    decode_targets,
                    protected_by: (0..protected).map(|_| next(chain_count)).collect(),
                    chain_count,
                    templates,
                    resolutions: vec![
                        Resolution {
                            width: 65536,
                            height: 1
                        };
                        sizes
                    ],
                }
            },
        )
}

proptest! {
    #[test]
    fn descriptors_are_read_back(
        structure in any_structure(), template: prop::sample::Index, number: u16, flags: [bool; 2],
        differences in prop::option::of(prop::collection::vec(1u16..=4096, 0..10)), attached: bool, custom: bool,
    ) {
        let index = template.index(structure.templates.len()) as u8;
        let template = structure.templates[usize::from(index)].clone();
        let own = DependencyDescriptor {
            start_of_frame: flags[0],
            end_of_frame: flags[1],
            template_id: structure.template_id_offset.wrapping_add(index) & 63,
            frame_number: number,
            structure: attached.then(|| structure.clone()),
            active_decode_targets: custom.then_some(u32::from(number) & ((1 << structure.decode_targets) - 1)),
            indications: custom.then(|| template.indications.clone()),
            frame_differences: differences.clone(),
            chain_differences: custom.then(|| template.chain_differences.clone()),
        };
        let last = (!attached).then_some(&structure);
        let value = match written(&own, last) {
            Err(DependencyError::TooLong) => return Ok(()),
            other => other.unwrap(),
        };
        let read = DependencyDescriptor::parse(&value, last);
        prop_assert_eq!(read.as_ref(), Ok(&own));
        let frame = own.frame(&structure).unwrap();
        prop_assert_eq!((frame.spatial, frame.temporal), (template.spatial, template.temporal));
        prop_assert_eq!(&frame.indications, &template.indications);
        if let Some(differences) = differences {
            prop_assert_eq!(frame.frame_differences, differences);
        }
    }

    #[test]
    fn arbitrary_bytes_are_read_back_or_refused(value in prop::collection::vec(any::<u8>(), 0..120), with_last: bool) {
        let own = temporal_layers();
        let last = with_last.then_some(&own);
        if let Ok(descriptor) = DependencyDescriptor::parse(&value, last) {
            let again = written(&descriptor, last).unwrap();
            prop_assert_eq!(DependencyDescriptor::parse(&again, last), Ok(descriptor));
        }
    }
}
