use proptest::prelude::*;

use super::super::{
    AbsCaptureTime, AudioLevel, ColorSpace, ExtensionKind, HdrMetadata, PlayoutDelay,
    VideoContentType, VideoOrientation, VideoTiming,
};
use super::*;

fn packet(first: u8, tail: &[u8]) -> Vec<u8> {
    let mut packet = vec![first, 0xe0, 0x12, 0x34, 0, 0, 0, 9, 0, 0, 0, 7];
    packet.extend(tail);
    packet
}

#[test]
fn fixed_fields_and_contributing_sources_are_read() {
    let packet = packet(0x82, &[0, 0, 0, 1, 0, 0, 0, 2, 0xaa]);
    let header = Header::parse(&packet).unwrap();
    assert!(header.marker && !header.padding);
    assert_eq!(header.payload_type, PayloadType(96));
    assert_eq!(header.sequence_number, SeqNo16(0x1234));
    assert_eq!((header.timestamp, header.ssrc), (9, Ssrc(7)));
    assert_eq!(header.csrcs().collect::<Vec<_>>(), [Ssrc(1), Ssrc(2)]);
    assert_eq!(header.payload(&packet), Ok(&[0xaa][..]));
}

#[test]
fn padding_at_its_edges_is_taken_off_or_refused() {
    for (tail, expected) in [
        (&[1, 2, 3, 1][..], Ok(&[1, 2, 3][..])),
        (&[1, 2, 2], Ok(&[1])),
        (&[0, 0, 3], Ok(&[])),
        (&[1, 2, 0], Err(RtpError::BadPadding)),
        (&[1, 2, 4], Err(RtpError::BadPadding)),
        (&[255], Err(RtpError::BadPadding)),
        (&[], Err(RtpError::BadPadding)),
    ] {
        let packet = packet(0xa0, tail);
        let header = Header::parse(&packet).unwrap();
        assert_eq!(header.payload(&packet), expected, "{tail:?}");
    }
}

#[test]
fn one_byte_elements_with_padding_are_read() {
    let packet = packet(0x90, &[0xbe, 0xde, 0, 2, 0x10, 0xff, 0, 0x21, 1, 2, 0, 0]);
    let header = Header::parse(&packet).unwrap();
    let elements: Vec<_> = header.extensions.iter().collect();
    assert_eq!(elements, [(1, &[0xff][..]), (2, &[1, 2][..])]);
    assert_eq!(header.len, 24);
}

#[test]
fn two_byte_elements_may_be_empty_and_long() {
    let mut tail = vec![0x10, 0x00, 0, 6, 3, 0, 0, 200, 17];
    tail.extend([9; 17]);
    tail.extend([0; 2]);
    let packet = packet(0x90, &tail);
    let header = Header::parse(&packet).unwrap();
    let elements: Vec<_> = header.extensions.iter().collect();
    assert_eq!(elements, [(3, &[][..]), (200, &[9; 17][..])]);
}

#[test]
fn reading_stops_at_the_reserved_number_and_at_a_torn_element() {
    let reserved = packet(0x90, &[0xbe, 0xde, 0, 1, 0x10, 1, 0xf0, 0x20]);
    let torn = packet(0x90, &[0xbe, 0xde, 0, 1, 0x10, 1, 0x2f, 0x20]);
    for packet in [reserved, torn] {
        let header = Header::parse(&packet).unwrap();
        assert_eq!(header.extensions.iter().count(), 1);
    }
}

#[test]
fn torn_headers_are_refused() {
    for (packet, error) in [
        (vec![], RtpError::TooShort),
        (vec![0x40; 12], RtpError::BadVersion),
        (packet(0x81, &[0; 3]), RtpError::TooShort),
        (
            packet(0x90, &[0xbe, 0xde, 0, 2, 0, 0, 0, 0]),
            RtpError::TooShort,
        ),
    ] {
        assert_eq!(Header::parse(&packet), Err(error));
    }
}

fn any_values() -> impl Strategy<Value = ExtensionValues<'static>> {
    let texts = || {
        prop::option::of(prop::sample::select(vec![
            &b"0"[..],
            b"video-and-a-long-name",
            b"hi",
        ]))
    };
    let one = (
        texts(),
        texts(),
        prop::option::of(0u32..0x100_0000),
        any::<Option<u16>>(),
        prop::option::of((any::<bool>(), 0u8..128)),
        prop::option::of(prop::sample::select(vec![&[5u8, 127][..], &[0; 15]])),
        prop::option::of(-0x80_0000i32..0x80_0000),
        any::<Option<(u64, Option<i64>)>>(),
    );
    let two = (
        prop::option::of((any::<bool>(), any::<bool>(), 0u8..4)),
        prop::option::of((0u16..4096, 0u16..4096)),
        any::<Option<u8>>(),
        any::<Option<(u8, [u16; 6])>>(),
        prop::option::of((
            any::<[u8; 3]>(),
            0u8..4,
            0u8..4,
            0u8..4,
            any::<Option<[u16; 12]>>(),
        )),
        prop::option::of(prop::sample::select(vec![
            &[1u8, 2, 3][..],
            &[7; 95],
            &[9; 255],
        ])),
        prop::option::of(prop::sample::select(vec![&[0u8][..], &[7; 30]])),
    );
    (one, two).prop_map(|(one, two)| {
        let (mid, rid, abs_send_time, transport, level, csrcs, offset, capture) = one;
        let (orientation, delay, content, timing, color, dependency, allocation) = two;
        ExtensionValues {
            mid,
            rid,
            repaired_rid: None,
            abs_send_time,
            transport_sequence: transport.map(SeqNo16),
            audio_level: level.map(|(voice, level)| AudioLevel { voice, level }),
            csrc_audio_levels: csrcs,
            transmission_offset: offset,
            abs_capture_time: capture.map(|(timestamp, clock_offset)| AbsCaptureTime {
                timestamp,
                clock_offset,
            }),
            video_orientation: orientation.map(|(back_camera, flipped, quarter_turns)| {
                VideoOrientation {
                    back_camera,
                    flipped,
                    quarter_turns,
                }
            }),
            playout_delay: delay.map(|(min, max)| PlayoutDelay { min, max }),
            video_content_type: content.map(VideoContentType),
            video_timing: timing.map(
                |(
                    flags,
                    [
                        encode_start,
                        encode_finish,
                        packetization_finish,
                        pacer_exit,
                        network,
                        network2,
                    ],
                )| {
                    VideoTiming {
                        flags,
                        encode_start,
                        encode_finish,
                        packetization_finish,
                        pacer_exit,
                        network,
                        network2,
                    }
                },
            ),
            color_space: color.map(
                |([primaries, transfer, matrix], range, horizontal, vertical, hdr)| ColorSpace {
                    primaries,
                    transfer,
                    matrix,
                    range,
                    chroma_siting_horizontal: horizontal,
                    chroma_siting_vertical: vertical,
                    hdr: hdr.map(|own| HdrMetadata {
                        luminance_max: own[0],
                        luminance_min: own[1],
                        chromaticity: [
                            (own[2], own[3]),
                            (own[4], own[5]),
                            (own[6], own[7]),
                            (own[8], own[9]),
                        ],
                        max_content_light_level: own[10],
                        max_frame_average_light_level: own[11],
                    }),
                },
            ),
            dependency_descriptor: dependency,
            video_layers_allocation: allocation,
        }
    })
}

fn fields() -> HeaderFields {
    HeaderFields {
        marker: false,
        payload_type: PayloadType(100),
        sequence_number: SeqNo16(0x1234),
        timestamp: 0x6543_1278,
        ssrc: Ssrc(0x1234_5678),
    }
}

/// The packets of libwebrtc's own tests (`rtp_packet_unittest.cc`).
#[test]
fn extensions_of_libwebrtc_are_read_and_written() {
    use ExtensionKind as K;
    let head = [
        0x90, 100, 0x12, 0x34, 0x65, 0x43, 0x12, 0x78, 0x12, 0x34, 0x56, 0x78,
    ];
    let offset = ExtensionValues {
        transmission_offset: Some(0x56ce),
        ..ExtensionValues::default()
    };
    let level = Some(AudioLevel {
        voice: true,
        level: 0x5a,
    });
    let delay = Some(PlayoutDelay { min: 3, max: 34 });
    let cases: [(&[u8], ExtensionValues<'_>); 6] = [
        (&[0xbe, 0xde, 0, 1, 0x12, 0x00, 0x56, 0xce], offset),
        (
            // Ours come in another order.
            &[0xbe, 0xde, 0, 2, 0x90, 0xda, 0x12, 0x00, 0x56, 0xce, 0, 0],
            ExtensionValues {
                audio_level: level,
                ..offset
            },
        ),
        // The number 0xf0 does not fit a one-byte element.
        (
            &[
                0x10, 0x00, 0, 4, 9, 1, 0xda, 1, 3, 0x00, 0x56, 0xce, 0xf0, 3, 0x00, 0x30, 0x22, 0,
                0, 0,
            ],
            ExtensionValues {
                audio_level: level,
                playout_delay: delay,
                ..offset
            },
        ),
        (
            &[0xbe, 0xde, 0, 1, 0xb2, b'm', b'i', b'd'],
            ExtensionValues {
                mid: Some(b"mid"),
                ..ExtensionValues::default()
            },
        ),
        (
            &[
                0xbe, 0xde, 0, 3, 0xa7, b's', b't', b'r', b'e', b'a', b'm', b'i', b'd', 0, 0, 0,
            ],
            ExtensionValues {
                rid: Some(b"streamid"),
                ..ExtensionValues::default()
            },
        ),
        (
            &[
                0xbe, 0xde, 0, 4, 0xcc, 0, 0x00, 0x01, 0x00, 0x02, 0x00, 0x03, 0x00, 0x04, 0, 0, 0,
                0, 0, 0,
            ],
            ExtensionValues {
                video_timing: Some(VideoTiming {
                    encode_start: 1,
                    encode_finish: 2,
                    packetization_finish: 3,
                    pacer_exit: 4,
                    ..VideoTiming::default()
                }),
                ..ExtensionValues::default()
            },
        ),
    ];
    let mut map = ExtensionMap::default();
    for (kind, id) in [
        (K::TransmissionOffset, 1),
        (K::AudioLevel, 9),
        (K::Rid, 10),
        (K::Mid, 11),
        (K::VideoTiming, 12),
        (K::PlayoutDelay, 0xf0),
    ] {
        map.insert(kind, id);
    }
    for (block, values) in cases {
        let mut out = Vec::new();
        fields().write(&mut out, &map, &values);
        assert_eq!(out, [&head[..], block].concat());
        let header = Header::parse(&out).unwrap();
        assert_eq!(ExtensionValues::read(&header.extensions, &map), values);
    }
    // The older form of video timing has no flags.
    let old = [
        0xbe, 0xde, 0, 4, 0xcb, 0, 1, 0, 2, 0, 3, 0, 4, 0, 0, 0, 0, 0, 0, 0,
    ];
    let old = [&head[..], &old].concat();
    let header = Header::parse(&old).unwrap();
    let timing = ExtensionValues::read(&header.extensions, &map).video_timing;
    assert_eq!(timing.map(|own| (own.flags, own.pacer_exit)), Some((0, 4)));
    // Seven bytes are no transmission offset.
    let wrong = [
        0xbe, 0xde, 0, 2, 0x16, b'e', b'x', b't', b'd', b'a', b't', b'a',
    ];
    let wrong = [&head[..], &wrong].concat();
    let header = Header::parse(&wrong).unwrap();
    let values = ExtensionValues::read(&header.extensions, &map);
    assert_eq!(values, ExtensionValues::default());
}

#[test]
fn the_layout_of_values_is_that_of_their_specifications() {
    let written = |kind, values: &ExtensionValues<'_>| {
        let mut map = ExtensionMap::default();
        map.insert(kind, 3);
        let mut out = Vec::new();
        fields().write(&mut out, &map, values);
        let header = Header::parse(&out).unwrap();
        header.extensions.iter().next().unwrap().1.to_vec()
    };
    // 3GPP TS 26.114: C F R1 R0.
    let values = ExtensionValues {
        video_orientation: Some(VideoOrientation {
            back_camera: true,
            flipped: false,
            quarter_turns: 3,
        }),
        abs_capture_time: Some(AbsCaptureTime {
            timestamp: 0x0102_0304_0506_0708,
            clock_offset: Some(-1),
        }),
        transmission_offset: Some(-2),
        color_space: Some(ColorSpace {
            primaries: 1,
            transfer: 13,
            matrix: 6,
            range: 2,
            chroma_siting_horizontal: 1,
            chroma_siting_vertical: 2,
            hdr: Some(HdrMetadata {
                luminance_max: 0x1111,
                max_frame_average_light_level: 0x2222,
                ..HdrMetadata::default()
            }),
        }),
        ..ExtensionValues::default()
    };
    assert_eq!(written(ExtensionKind::VideoOrientation, &values), [0x0b]);
    let capture = [
        1, 2, 3, 4, 5, 6, 7, 8, 255, 255, 255, 255, 255, 255, 255, 255,
    ];
    assert_eq!(written(ExtensionKind::AbsCaptureTime, &values), capture);
    assert_eq!(
        written(ExtensionKind::TransmissionOffset, &values),
        [255, 255, 254]
    );
    let color = written(ExtensionKind::ColorSpace, &values);
    assert_eq!(
        (&color[..6], color.len()),
        (&[1, 13, 6, 0x26, 0x11, 0x11][..], 28)
    );
    assert_eq!(color[26..], [0x22, 0x22]);
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(
        sequence: u16, timestamp: u32, ssrc: u32, marker: bool,
        ids in prop::collection::vec(1u8..=40, ExtensionKind::ALL.len()), values in any_values(), few: bool,
    ) {
        use ExtensionKind as K;
        let mut map = ExtensionMap::default();
        let count = if few { 5 } else { ids.len() };
        for (kind, id) in ExtensionKind::ALL.into_iter().zip(&ids).take(count) {
            if map.kind(*id).is_none() {
                map.insert(kind, *id);
            }
        }
        let has = |kind| map.id(kind).is_some();
        let values = ExtensionValues {
            mid: values.mid.filter(|_| has(K::Mid)),
            rid: values.rid.filter(|_| has(K::Rid)),
            repaired_rid: None,
            abs_send_time: values.abs_send_time.filter(|_| has(K::AbsSendTime)),
            transport_sequence: values.transport_sequence.filter(|_| has(K::TransportSequence)),
            audio_level: values.audio_level.filter(|_| has(K::AudioLevel)),
            csrc_audio_levels: values.csrc_audio_levels.filter(|_| has(K::CsrcAudioLevel)),
            transmission_offset: values.transmission_offset.filter(|_| has(K::TransmissionOffset)),
            abs_capture_time: values.abs_capture_time.filter(|_| has(K::AbsCaptureTime)),
            video_orientation: values.video_orientation.filter(|_| has(K::VideoOrientation)),
            playout_delay: values.playout_delay.filter(|_| has(K::PlayoutDelay)),
            video_content_type: values.video_content_type.filter(|_| has(K::VideoContentType)),
            video_timing: values.video_timing.filter(|_| has(K::VideoTiming)),
            color_space: values.color_space.filter(|_| has(K::ColorSpace)),
            dependency_descriptor: values.dependency_descriptor.filter(|_| has(K::DependencyDescriptor)),
            video_layers_allocation: values.video_layers_allocation.filter(|_| has(K::VideoLayersAllocation)),
        };
        let fields = HeaderFields {
            marker, payload_type: PayloadType(96), sequence_number: SeqNo16(sequence), timestamp, ssrc: Ssrc(ssrc),
        };
        let mut out = Vec::new();
        fields.write(&mut out, &map, &values);
        prop_assert_eq!(out.len() % 4, 0);
        out.extend([1, 2, 3]);
        let header = Header::parse(&out).unwrap();
        prop_assert_eq!(header.payload(&out), Ok(&[1, 2, 3][..]));
        prop_assert_eq!((header.marker, header.sequence_number.0, header.timestamp, header.ssrc.0), (marker, sequence, timestamp, ssrc));
        prop_assert_eq!(ExtensionValues::read(&header.extensions, &map), values);
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(header) = Header::parse(&bytes) {
            let _ = header.payload(&bytes);
            prop_assert!(header.extensions.iter().count() <= bytes.len());
            let mut map = ExtensionMap::default();
            map.insert(ExtensionKind::AbsSendTime, 1);
            let _ = ExtensionValues::read(&header.extensions, &map);
        }
    }
}
