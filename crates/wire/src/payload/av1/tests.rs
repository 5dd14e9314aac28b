use proptest::prelude::*;

use super::*;

fn joined(payloads: &[&[u8]]) -> Result<Vec<u8>, PayloadError> {
    let mut out = Vec::new();
    assemble(payloads.iter().copied(), &mut out).map(|_| out)
}

fn split(frame: &[u8], len: usize) -> Vec<Vec<u8>> {
    let write = |chunk: &Chunk<'_>| {
        let mut out = Vec::new();
        chunk.write(&mut out);
        out
    };
    packetize(frame, len).unwrap().iter().map(write).collect()
}

/// The payloads of libwebrtc's own tests (`video_rtp_depacketizer_av1_unittest.cc`).
#[test]
fn payloads_of_libwebrtc_are_put_together() {
    let cases: [(&[&[u8]], &[u8]); 9] = [
        // The size is added, also after an extension, or was there.
        (&[&[0x10, 0x30, 20, 30, 40]], &[0x32, 3, 20, 30, 40]),
        (&[&[0x10, 0x32, 3, 20, 30, 40]], &[0x32, 3, 20, 30, 40]),
        (
            &[&[0x10, 0x34, 0x48, 20, 30, 40]],
            &[0x36, 0x48, 3, 20, 30, 40],
        ),
        (
            &[&[0x20, 2, 0x08, 10, 0x30, 20]],
            &[0x0a, 1, 10, 0x32, 1, 20],
        ),
        (
            &[&[0x50, 0x30, 20, 30], &[0x90, 40]],
            &[0x32, 3, 20, 30, 40],
        ),
        (
            &[
                &[
                    0x40, 2, 0x08, 10, 2, 0x28, 20, 4, 0x2c, 0x30, 20, 30, 5, 0x34, 0x30, 40, 50,
                    60,
                ],
                &[0x90, 70, 80, 90],
            ],
            &[
                0x0a, 1, 10, 0x2a, 1, 20, 0x2e, 0x30, 2, 20, 30, 0x36, 0x30, 6, 40, 50, 60, 70, 80,
                90,
            ],
        ),
        (
            &[
                &[0x50, 0x30, 11, 12],
                &[0xd0, 13, 14],
                &[0xd0, 15, 16, 17],
                &[0x90, 18],
            ],
            &[0x32, 8, 11, 12, 13, 14, 15, 16, 17, 18],
        ),
        (
            &[
                &[0x60, 3, 0x18, 11, 12, 0x20, 21, 22, 23],
                &[0x90, 24, 25, 26, 27],
                &[0x60, 3, 0x38, 11, 12, 0x20, 31, 32],
                &[0x90, 33, 34, 35, 36],
            ],
            &[
                0x1a, 2, 11, 12, 0x22, 7, 21, 22, 23, 24, 25, 26, 27, 0x3a, 2, 11, 12, 0x22, 6, 31,
                32, 33, 34, 35, 36,
            ],
        ),
        // A part may be empty.
        (
            &[&[0x50], &[0x90, 0x30, 10, 20, 30]],
            &[0x32, 3, 10, 20, 30],
        ),
    ];
    for (payloads, frame) in cases {
        assert_eq!(joined(payloads).as_deref(), Ok(frame), "{payloads:?}");
    }
    let mut long = vec![0x00, 0x80, 0x01, 0x30];
    long.resize(4 + 127, 7);
    let frame = joined(&[&long]).unwrap();
    assert_eq!((&frame[..2], frame.len()), (&[0x32, 127][..], 129));
}

#[test]
fn a_payload_tells_of_its_frame() {
    assert!(starts_key_frame(&[0x18, 0x08]));
    // Senders that do not set the bit are known by the sequence header.
    assert!(starts_key_frame(&[0x10, 0x08]));
    assert!(!starts_key_frame(&[0x90, 0x08]) && !starts_key_frame(&[0x10, 0x30]));
    assert_eq!(
        inspect(&[0x98, 0x08]).map(|own| own.key_frame),
        Err(PayloadError::BadHeader)
    );
    let layered = inspect(&[0x10, 0x34, 0x48, 20]).unwrap();
    assert_eq!(
        (layered.temporal_layer, layered.spatial_layer),
        (Some(2), Some(1))
    );
    assert!(layered.starts_frame && !inspect(&[0x90, 1]).unwrap().starts_frame);
}

#[test]
fn torn_and_malformed_payloads_are_refused() {
    let torn = Err(PayloadError::TornFragment);
    assert_eq!(joined(&[&[0x90, 1]]), torn);
    assert_eq!(joined(&[&[0x50, 0x30, 1]]), torn);
    assert_eq!(joined(&[&[0x50, 0x30, 1], &[0x10, 0x30, 1]]), torn);
    assert_eq!(joined(&[&[0x20, 9, 1]]), Err(PayloadError::TooShort));
    // An OBU without a header, one whose size is not what there is, and the forbidden bit.
    assert_eq!(joined(&[&[0x00, 0]]), Err(PayloadError::TooShort));
    assert_eq!(
        joined(&[&[0x10, 0x32, 1, 2, 3]]),
        Err(PayloadError::BadHeader)
    );
    assert_eq!(joined(&[&[0x10, 0xb0, 1]]), Err(PayloadError::BadHeader));
    // Nothing but what must not travel.
    assert_eq!(joined(&[&[0x10, 0x10]]), Err(PayloadError::Empty));
    assert_eq!(joined(&[]), Err(PayloadError::Empty));
    assert_eq!(packetize(&[0x12, 0], 100), Err(PayloadError::Empty));
    assert_eq!(packetize(&[0x32, 9, 1], 100), Err(PayloadError::TooShort));
}

/// A sequence header of profile 0 that is no still picture, and a frame OBU.
fn key_frame(body: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x12, 0, 0x0a, 2, 0x00, 0x00];
    Obu::parse(&[&[0x30, 0x10], body].concat())
        .unwrap()
        .write_sized(&mut frame);
    frame
}

#[test]
fn key_frames_are_known_by_their_headers() {
    assert!(is_key_frame(&key_frame(&[1, 2, 3])));
    // Without a sequence header; inter; not shown; an existing frame.
    assert!(!is_key_frame(&[0x32, 1, 0x10]));
    for first in [0x30, 0x00, 0x80] {
        assert!(!is_key_frame(&[0x0a, 1, 0, 0x32, 1, first]), "{first:#x}");
    }
    // A reduced still picture header: the frame is a key frame without saying so.
    assert!(is_key_frame(&[0x0a, 1, 0x18, 0x32, 1, 0x30]));
    assert!(!is_key_frame(&[0x0a, 9]));
}

#[test]
fn temporal_delimiters_stay_behind_and_the_sequence_is_announced() {
    let frame = key_frame(&[7; 2500]);
    let payloads = split(&frame, 1100);
    assert_eq!(payloads.len(), 3);
    // Z=0 Y=1 W=2 N=1, then the sequence header with its length.
    assert_eq!(payloads[0][..5], [0x68, 3, 0x08, 0, 0]);
    assert_eq!(payloads[1][0], 0xd0);
    assert_eq!(payloads[2][0], 0x90);
    let lens: Vec<usize> = payloads.iter().map(Vec::len).collect();
    assert!(lens.iter().all(|len| *len > 800), "{lens:?}");
    let payloads: Vec<&[u8]> = payloads.iter().map(Vec::as_slice).collect();
    assert_eq!(joined(&payloads).unwrap(), frame[2..]);
}

#[test]
fn packets_hold_obus_of_one_layer() {
    let frame = [
        [0x36, 0x00, 2, 1, 2],
        [0x36, 0x08, 2, 3, 4],
        [0x36, 0x08, 2, 5, 6],
    ]
    .concat();
    let payloads = split(&frame, 1000);
    assert_eq!(payloads.len(), 2);
    assert_eq!(payloads[0], [0x10, 0x34, 0x00, 1, 2]);
    assert_eq!(payloads[1], [0x20, 4, 0x34, 0x08, 3, 4, 0x34, 0x08, 5, 6]);
}

fn any_obu() -> impl Strategy<Value = Vec<u8>> {
    let kind = prop::sample::select(vec![1u8, 3, 4, 5, 6, 7]);
    let body = prop_oneof![
        4 => prop::collection::vec(any::<u8>(), 0..40),
        1 => prop::collection::vec(any::<u8>(), 0..4000),
    ];
    (kind, prop::option::of(any::<u8>()), body).prop_map(|(kind, extension, body)| {
        let mut out = vec![kind << 3 | 0x02 | u8::from(extension.is_some()) << 2];
        out.extend(extension);
        write_leb128(body.len() as u32, &mut out);
        [out, body].concat()
    })
}

proptest! {
    #[test]
    fn temporal_units_survive_the_way(units in prop::collection::vec(any_obu(), 1..8), len in PAYLOAD_LEN_MIN..1300) {
        let frame = units.concat();
        let payloads = split(&frame, len);
        prop_assert!(payloads.iter().all(|payload| payload.len() <= len));
        let all: Vec<&[u8]> = payloads.iter().map(Vec::as_slice).collect();
        let mut out = Vec::new();
        prop_assert_eq!(assemble(all.iter().copied(), &mut out), Ok(is_key_frame(&frame)));
        prop_assert_eq!(&out, &frame);
        // A part without its other part is noticed.
        for missing in 0..all.len() {
            let is_part = all[missing][0] & 0xc0 != 0;
            let is_end = all[missing][0] & 0xc0 != 0xc0;
            let left = (0..all.len()).filter(|own| *own != missing).map(|own| all[own]);
            if is_part && is_end {
                prop_assert_eq!(assemble(left, &mut Vec::new()), Err(PayloadError::TornFragment));
            }
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..30), 0..6), len in 0usize..20) {
        let _ = assemble(payloads.iter().map(Vec::as_slice), &mut Vec::new());
        for payload in &payloads {
            let _ = inspect(payload);
            let _ = packetize(payload, len).map(|chunks| chunks.len());
        }
    }
}
