use proptest::prelude::*;

use super::*;
use crate::ids::Ssrc;
use crate::seq::SeqNo16;
use crate::units::Bitrate;

fn one(bytes: &[u8]) -> Result<Packet<'_>, RtcpError> {
    let mut packets = packets(bytes);
    let first = packets.next().unwrap();
    assert!(packets.next().is_none());
    first
}

#[test]
fn a_compound_is_read_packet_by_packet() {
    let report = SenderReport {
        ssrc: Ssrc(1),
        ntp_time: 0xe000_0000_8000_0000,
        rtp_timestamp: 90_000,
        packet_count: 3,
        octet_count: 300,
        reports: vec![ReportBlock {
            ssrc: Ssrc(2),
            fraction_lost: 12,
            cumulative_lost: -5,
            extended_highest_sequence: 70_000,
            jitter: 8,
            last_sr: 9,
            delay_since_last_sr: 10,
        }],
    };
    let sdes = Sdes {
        cnames: vec![(Ssrc(1), "abcd".into()), (Ssrc(2), String::new())],
    };
    let pli = Pli {
        sender: Ssrc(1),
        media: Ssrc(2),
    };
    let bye = Bye {
        ssrcs: vec![Ssrc(1)],
    };
    let mut out = Vec::new();
    report.write(&mut out);
    sdes.write(&mut out);
    pli.write(&mut out);
    bye.write(&mut out);
    let got: Vec<_> = packets(&out).map(Result::unwrap).collect();
    let expected = [
        Packet::SenderReport(report),
        Packet::Sdes(sdes),
        Packet::Pli(pli),
        Packet::Bye(bye),
    ];
    assert_eq!(got, expected);
}

#[test]
fn nack_entries_are_as_few_as_possible_across_the_wrap() {
    let missing = [65_530, 65_535, 0, 10, 11, 30].map(SeqNo16);
    let entries = Nack::entries(missing);
    assert_eq!(entries.len(), 3);
    let again: Vec<SeqNo16> = entries.iter().flat_map(|e| e.sequence_numbers()).collect();
    assert_eq!(again, missing);
}

#[test]
fn transport_feedback_written_by_hand_is_read() {
    // The vector 0xd200 is 11 01 00 10 00 00 00 00: small, lost, large, lost.
    let bytes = [
        0x8f, 205, 0, 6, 0, 0, 0, 1, 0, 0, 0, 2, 0x00, 0x05, 0x00, 0x04, 0xff, 0xff, 0xff, 7, 0xd2,
        0x00, 4, 0xff, 0x00, 0, 0, 0,
    ];
    let Ok(Packet::TransportFeedback(feedback)) = one(&bytes) else {
        panic!("{:?}", one(&bytes));
    };
    assert_eq!((feedback.reference_time, feedback.count), (-1, 7));
    assert_eq!(feedback.deltas, [Some(4), None, Some(-256), None]);
    let arrivals: Vec<_> = feedback.arrivals().map(|(_, time)| time).collect();
    assert_eq!(arrivals, [Some(-252), None, Some(-508), None]);
}

#[test]
fn malformed_packets_say_what_is_wrong() {
    for (bytes, error) in [
        (&[0x80][..], RtcpError::TooShort),
        (&[0x00, 200, 0, 0], RtcpError::BadVersion),
        (&[0x80, 200, 0, 1, 0, 0, 0, 0], RtcpError::TooShort),
        (&[0x81, 201, 0, 1, 0, 0, 0, 0], RtcpError::TooShort),
        (&[0x80, 200, 0, 9, 0, 0, 0, 0], RtcpError::TooShort),
        (&[0xa0, 192, 0, 1, 0, 0, 0, 0], RtcpError::BadPadding),
        (&[0xa0, 192, 0, 1, 0, 0, 0, 8], RtcpError::BadPadding),
        (&[0xa0, 192, 0, 0], RtcpError::BadPadding),
    ] {
        assert_eq!(one(bytes), Err(error), "{bytes:?}");
    }
    let hungry = [
        0x8f, 205, 0, 4, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0xff, 0xff, 0, 0, 0, 0,
    ];
    assert_eq!(one(&hungry), Err(RtcpError::TooManyStatuses));
}

#[test]
fn a_malformed_packet_does_not_hide_the_next() {
    let mut bytes = vec![0x81, 201, 0, 1, 0, 0, 0, 0];
    let pli = Pli {
        sender: Ssrc(1),
        media: Ssrc(2),
    };
    pli.write(&mut bytes);
    let got: Vec<_> = packets(&bytes).collect();
    assert_eq!(got, [Err(RtcpError::TooShort), Ok(Packet::Pli(pli))]);
}

#[test]
fn unknown_packets_are_kept() {
    let bytes = [0x83, 204, 0, 1, 1, 2, 3, 4];
    let expected = Packet::Unknown {
        packet_type: 204,
        count: 3,
        body: &[1, 2, 3, 4],
    };
    assert_eq!(one(&bytes), Ok(expected));
}

/// The count of packets, the chunks, the deltas on the wire, and what they mean.
type ChunkCase<'a> = (u16, &'a [u8], &'a [u8], Vec<Option<i16>>);

/// Every form of chunk, each as the draft writes it (§3.1.3 and §3.1.4), and how they are written.
#[test]
fn every_form_of_chunk_is_read_and_written() {
    let body = |count: u16, chunks: &[u8], deltas: &[u8]| {
        let mut body = vec![0, 0, 0, 1, 0, 0, 0, 2, 0xff, 0xfe];
        body.extend(count.to_be_bytes());
        body.extend([0x7f, 0xff, 0xff, 9]);
        body.extend(chunks);
        body.extend(deltas);
        body.resize(body.len().next_multiple_of(4), 0);
        let words = (body.len() / 4) as u8;
        [vec![0x8f, 205, 0, words], body].concat()
    };
    let small = Some(1);
    let cases: [ChunkCase<'_>; 5] = [
        // A run of 221 lost, 0x00dd.
        (221, &[0x00, 0xdd], &[], vec![None; 221]),
        // A run of 24 small, 0x2018.
        (24, &[0x20, 0x18], &[1; 24], vec![small; 24]),
        // One bit each: lost, five small, three lost, three small, two lost, 0x9f1c.
        (
            14,
            &[0x9f, 0x1c],
            &[1; 8],
            [
                vec![None],
                vec![small; 5],
                vec![None; 3],
                vec![small; 3],
                vec![None; 2],
            ]
            .concat(),
        ),
        // Two bits each: lost, large, three small, two lost, 0xc950.
        (
            7,
            &[0xc9, 0x50],
            &[0x80, 0x00, 1, 1, 1],
            [vec![None, Some(i16::MIN)], vec![small; 3], vec![None; 2]].concat(),
        ),
        // A run of large deltas, one of them back in time.
        (
            2,
            &[0x40, 0x02],
            &[0x7f, 0xff, 0xff, 0xff],
            vec![Some(i16::MAX), Some(-1)],
        ),
    ];
    for (count, chunks, deltas, expected) in cases {
        let bytes = body(count, chunks, deltas);
        let Ok(Packet::TransportFeedback(feedback)) = one(&bytes) else {
            panic!("{:?}", one(&bytes));
        };
        assert_eq!(feedback.deltas, expected);
        assert_eq!(feedback.reference_time, 0x7f_ffff);
        let mut out = Vec::new();
        feedback.write(&mut out);
        assert_eq!(out, bytes);
        // Numbers wrap from 65535 to 0.
        let first: Vec<u16> = feedback.arrivals().map(|(own, _)| own.0).take(3).collect();
        assert_eq!(first, [65_534, 65_535, 0][..expected.len().min(3)]);
    }
}

#[test]
fn the_reference_time_wraps_at_24_bits() {
    let mut feedback = TransportFeedback {
        sender: Ssrc(1),
        media: Ssrc(2),
        base: SeqNo16(0),
        reference_time: 0x7f_ffff,
        count: 0,
        deltas: vec![Some(0)],
    };
    let read = |feedback: &TransportFeedback| {
        let mut out = Vec::new();
        feedback.write(&mut out);
        match one(&out) {
            Ok(Packet::TransportFeedback(own)) => own.reference_time,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(read(&feedback), 0x7f_ffff);
    feedback.reference_time += 1;
    assert_eq!(read(&feedback), -0x80_0000);
    feedback.reference_time = -1;
    assert_eq!(read(&feedback), -1);
}

/// The reports of Pion's tests (`rfc8888_test.go`), which are those of RFC 8888 §3.1.
#[test]
fn congestion_feedback_of_pion_is_read_and_written() {
    let empty = [0x8b, 0xcd, 0, 2, 0, 0, 0, 1, 0, 0, 0, 1];
    let two = [
        0x8b, 0xcd, 0, 10, 0, 0, 0, 1, 0, 0, 0, 1, 0, 2, 0, 4, 0x9f, 0xfd, 0x9f, 0xfc, 0, 0, 0, 0,
        0, 0, 0, 2, 0, 2, 0, 3, 0x9f, 0xfd, 0x9f, 0xfc, 0, 0, 0, 0, 0, 0, 0, 1,
    ];
    let arrived = |units| {
        Some(PacketArrival {
            ecn: Ecn::NotCapable,
            offset: ArrivalOffset::new(units),
        })
    };
    let both = vec![arrived(8189), arrived(8188)];
    let stream = |ssrc, missing| StreamArrivals {
        ssrc: Ssrc(ssrc),
        first: SeqNo16(2),
        packets: [both.clone(), vec![None; missing]].concat(),
    };
    for (bytes, streams) in [
        (&empty[..], vec![]),
        (&two, vec![stream(1, 2), stream(2, 1)]),
    ] {
        let feedback = CongestionFeedback {
            sender: Ssrc(1),
            streams,
            timestamp: 1,
        };
        assert_eq!(one(bytes), Ok(Packet::CongestionFeedback(feedback.clone())));
        let mut out = Vec::new();
        feedback.write(&mut out);
        assert_eq!(out, bytes);
    }
    // Marks and the special offsets; the other bits of a packet that did not arrive are ignored.
    let marks = [
        0x8b, 0xcd, 0, 7, 0, 0, 0, 1, 0, 0, 0, 1, 0xff, 0xff, 0, 6, 0xff, 0xf8, 0xbf, 0xfe, 0xdf,
        0xff, 0x62, 0, 0x22, 0, 0x80, 0, 0, 0, 0, 7,
    ];
    let Ok(Packet::CongestionFeedback(feedback)) = one(&marks) else {
        panic!("{:?}", one(&marks));
    };
    let read: Vec<_> = feedback.streams[0]
        .arrivals()
        .map(|(sequence, own)| (sequence.0, own.map(|own| (own.ecn, own.offset.units()))))
        .collect();
    let expected = [
        (65_535, Some((Ecn::CongestionExperienced, Some(8184)))),
        (0, Some((Ecn::Ect1, None))),
        (1, Some((Ecn::Ect0, None))),
        (2, None),
        (3, None),
        (4, Some((Ecn::NotCapable, Some(0)))),
    ];
    assert_eq!(read, expected);
    let offsets: Vec<ArrivalOffset> = feedback.streams[0].packets[1..3]
        .iter()
        .flatten()
        .map(|own| own.offset)
        .collect();
    assert_eq!(offsets, [ArrivalOffset::OVER_RANGE, ArrivalOffset::UNKNOWN]);
    assert_eq!(ArrivalOffset::new(8190), ArrivalOffset::OVER_RANGE);
    assert_eq!(ArrivalOffset::new(512).time().unwrap().as_millis(), 500);
    let torn = [
        0x8b, 0xcd, 0, 5, 0, 0, 0, 1, 0, 0, 0, 1, 0, 2, 0, 6, 0x9f, 0xfd, 0x9f, 0xfc, 0, 0, 0, 0,
    ];
    assert_eq!(one(&torn), Err(RtcpError::TooShort));
}

/// The report of Pion's tests (`extended_report_test.go`), a block of each kind of RFC 3611.
#[test]
fn extended_reports_of_pion_are_read_and_written() {
    let bytes = [
        0x80, 0xcf, 0, 0x18, 1, 2, 3, 4, 0x01, 0x0c, 0, 4, 0x12, 0x34, 0x56, 0x89, 0, 5, 0, 12,
        0x40, 0x06, 0, 6, 0x87, 0x65, 0, 0, 0x04, 0, 0, 2, 1, 2, 3, 4, 5, 6, 7, 8, 0x05, 0, 0, 9,
        0x88, 0x88, 0x88, 0x88, 0x12, 0x34, 0x56, 0x78, 0x99, 0x99, 0x99, 0x99, 9, 9, 9, 9, 0x12,
        0x34, 0x56, 0x78, 0x99, 0x99, 0x99, 0x99, 0x11, 0x22, 0x33, 0x44, 0x12, 0x34, 0x56, 0x78,
        0x99, 0x99, 0x99, 0x99, 0x20, 7, 0, 2, 1, 1, 1, 1, 2, 2, 2, 2, 0x21, 0, 0, 1, 1, 1, 1, 1,
    ];
    let delay = |ssrc| DelaySinceLastRr {
        ssrc: Ssrc(ssrc),
        last_rr: 0x1234_5678,
        delay: 0x9999_9999,
    };
    let report = ExtendedReport {
        ssrc: Ssrc(0x0102_0304),
        blocks: vec![
            Block::Unknown {
                block_type: 1,
                type_specific: 12,
                body: &bytes[12..28],
            },
            Block::ReceiverReferenceTime(0x0102_0304_0506_0708),
            Block::DelaySinceLastRr(vec![
                delay(0x8888_8888),
                delay(0x0909_0909),
                delay(0x1122_3344),
            ]),
            Block::Unknown {
                block_type: 0x20,
                type_specific: 7,
                body: &[1, 1, 1, 1, 2, 2, 2, 2],
            },
            Block::Unknown {
                block_type: 0x21,
                type_specific: 0,
                body: &[1; 4],
            },
        ],
    };
    assert_eq!(one(&bytes), Ok(Packet::ExtendedReport(report.clone())));
    let mut out = Vec::new();
    report.write(&mut out);
    assert_eq!(out, bytes);
    // The block of libwebrtc's `dlrr_unittest.cc`.
    let bytes = [
        0x80, 0xcf, 0, 5, 0, 0, 0, 1, 0x05, 0, 0, 3, 0x12, 0x34, 0x56, 0x78, 0x23, 0x34, 0x45,
        0x56, 0x33, 0x34, 0x35, 0x36,
    ];
    let Ok(Packet::ExtendedReport(report)) = one(&bytes) else {
        panic!("{:?}", one(&bytes));
    };
    let expected = DelaySinceLastRr {
        ssrc: Ssrc(0x1234_5678),
        last_rr: 0x2334_4556,
        delay: 0x3334_3536,
    };
    assert_eq!(report.blocks, [Block::DelaySinceLastRr(vec![expected])]);
    for (kind, words, error) in [
        (4, 1, RtcpError::BadBlock),
        (5, 2, RtcpError::BadBlock),
        (9, 4, RtcpError::TooShort),
    ] {
        let mut bytes = vec![0x80, 0xcf, 0, 4, 0, 0, 0, 1, kind, 0, 0, words];
        bytes.resize(20, 0);
        assert_eq!(one(&bytes), Err(error));
    }
}

#[test]
fn the_largest_estimates_stay_the_largest() {
    for (exponent, mantissa) in [
        (63, 0x3_ffff),
        (47, 0x3_ffff),
        (47, 0x2_0000),
        (46, 0x3_ffff),
    ] {
        let [_, a, b, c] = (exponent << 18 | mantissa as u32).to_be_bytes();
        let bytes = [
            0x8f, 206, 0, 4, 0, 0, 0, 1, 0, 0, 0, 0, b'R', b'E', b'M', b'B', 0, a, b, c,
        ];
        let Ok(Packet::Remb(remb)) = one(&bytes) else {
            panic!("{:?}", one(&bytes));
        };
        let expected = match exponent {
            46 => 0x3_ffff << 46,
            _ => u64::MAX,
        };
        assert_eq!(remb.bitrate.as_bps(), expected);
        let mut out = Vec::new();
        remb.write(&mut out);
        assert_eq!(one(&out), Ok(Packet::Remb(remb)));
    }
}

proptest! {
    #[test]
    fn congestion_feedback_is_read_back(
        sender: u32, timestamp: u32,
        streams in prop::collection::vec((any::<u32>(), any::<u16>(), prop::collection::vec(any::<Option<(u8, u16)>>(), 0..40)), 0..5),
    ) {
        let streams = streams.into_iter().map(|(ssrc, first, packets)| StreamArrivals {
            ssrc: Ssrc(ssrc),
            first: SeqNo16(first),
            packets: packets.into_iter().map(|packet| packet.map(|(ecn, units)| PacketArrival {
                ecn: [Ecn::NotCapable, Ecn::Ect1, Ecn::Ect0, Ecn::CongestionExperienced][usize::from(ecn % 4)],
                offset: if units == 9 { ArrivalOffset::UNKNOWN } else { ArrivalOffset::new(units) },
            })).collect(),
        });
        let feedback = CongestionFeedback { sender: Ssrc(sender), streams: streams.collect(), timestamp };
        let mut out = Vec::new();
        feedback.write(&mut out);
        prop_assert_eq!(one(&out), Ok(Packet::CongestionFeedback(feedback)));
    }

    #[test]
    fn extended_reports_are_read_back(
        ssrc: u32, time: u64, delays in prop::collection::vec(any::<(u32, u32, u32)>(), 0..40), other in prop::collection::vec(any::<[u8; 4]>(), 0..9),
    ) {
        let body = other.concat();
        let delays = delays.into_iter().map(|(ssrc, last_rr, delay)| DelaySinceLastRr { ssrc: Ssrc(ssrc), last_rr, delay });
        let report = ExtendedReport {
            ssrc: Ssrc(ssrc),
            blocks: vec![
                Block::ReceiverReferenceTime(time),
                Block::Unknown { block_type: 42, type_specific: 3, body: &body },
                Block::DelaySinceLastRr(delays.collect()),
            ],
        };
        let mut out = Vec::new();
        report.write(&mut out);
        prop_assert_eq!(one(&out), Ok(Packet::ExtendedReport(report)));
    }

    #[test]
    fn transport_feedback_is_read_back(
        base: u16, reference_time in -0x80_0000i32..0x80_0000, count: u8,
        deltas in prop::collection::vec(prop_oneof![
            3 => Just(None), 6 => (0i16..256).prop_map(Some), 1 => any::<i16>().prop_map(Some)
        ], 1..400),
    ) {
        let feedback = TransportFeedback {
            sender: Ssrc(1), media: Ssrc(2), base: SeqNo16(base), reference_time, count, deltas,
        };
        let mut out = Vec::new();
        feedback.write(&mut out);
        prop_assert_eq!(one(&out), Ok(Packet::TransportFeedback(feedback)));
    }

    #[test]
    fn feedback_is_read_back(sender: u32, media: u32, masks in prop::collection::vec(any::<(u16, u16)>(), 1..9), bps: u64) {
        let mut out = Vec::new();
        let entries = masks.iter().map(|(first, mask)| NackEntry { first: SeqNo16(*first), following_mask: *mask });
        let nack = Nack { sender: Ssrc(sender), media: Ssrc(media), entries: entries.collect() };
        nack.write(&mut out);
        let entries = masks.iter().map(|(seq, _)| FirEntry { ssrc: Ssrc(media), sequence: *seq as u8 });
        let fir = Fir { sender: Ssrc(sender), entries: entries.collect() };
        fir.write(&mut out);
        let shift = (64 - bps.leading_zeros()).saturating_sub(18);
        let bitrate = Bitrate::bps(bps >> shift << shift);
        let remb = Remb { sender: Ssrc(sender), bitrate, ssrcs: vec![Ssrc(media)] };
        remb.write(&mut out);
        let got: Vec<_> = packets(&out).map(Result::unwrap).collect();
        prop_assert_eq!(got, [Packet::Nack(nack), Packet::Fir(fir), Packet::Remb(remb)]);
    }

    #[test]
    fn arbitrary_bytes_never_panic(mut bytes in prop::collection::vec(any::<u8>(), 4..200), kind in 200u8..208) {
        bytes[0] |= 0x80;
        bytes[0] &= 0xbf;
        bytes[1] = kind;
        bytes[2] = 0;
        bytes[3] = (bytes.len() / 4) as u8 - 1;
        prop_assert!(packets(&bytes).count() <= bytes.len());
    }
}

#[test]
fn transport_feedback_of_chromium_with_odd_padding_is_read() {
    let bytes = [
        0xaf, 0xcd, 0, 6, 0x70, 0x86, 0xc5, 0x2a, 0xd9, 0x98, 0x19, 0x7e, 0x62, 0xb0, 0, 5, 1,
        0x9f, 0xf2, 0, 0x20, 5, 0x6f, 0, 0, 0, 0, 1,
    ];
    let read: Vec<_> = packets(&bytes).collect();
    assert!(
        matches!(read[..], [Ok(Packet::TransportFeedback(_))]),
        "{read:?}"
    );
}
