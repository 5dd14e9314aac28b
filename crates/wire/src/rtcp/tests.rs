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
    let bytes = [0x83, 207, 0, 1, 1, 2, 3, 4];
    let expected = Packet::Unknown {
        packet_type: 207,
        count: 3,
        body: &[1, 2, 3, 4],
    };
    assert_eq!(one(&bytes), Ok(expected));
}

proptest! {
    #[test]
    fn transport_feedback_is_read_back(
        base: u16, reference_time in -0x80_0000i32..0x7f_ffff, count: u8,
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
