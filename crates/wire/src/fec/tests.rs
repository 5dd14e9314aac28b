use proptest::prelude::*;

use super::flexfec::Flexfec;
use super::ulpfec::Ulpfec;
use super::*;

/// An RTP packet with an extension bit, contributing sources and the like as they come.
fn packet(sequence: u16, first: u8, second: u8, timestamp: u32, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x80 | (first & 0x3f), second];
    packet.extend(sequence.to_be_bytes());
    packet.extend(timestamp.to_be_bytes());
    packet.extend(7u32.to_be_bytes());
    packet.extend(body);
    packet
}

fn offsets(mask: PacketMask) -> Vec<u16> {
    mask.offsets().collect()
}

/// The packets A to D of RFC 5109 §10.1 and the header that protects them: the payloads are not
/// given there, so each is one byte over and over.
#[test]
fn the_first_example_of_rfc_5109_is_protected_as_it_says() {
    let lens: [(u16, u8, u32, usize); 4] = [
        (8, 0x80 | 11, 3, 200),
        (9, 18, 5, 140),
        (10, 0x80 | 11, 7, 100),
        (11, 18, 9, 340),
    ];
    let packets: Vec<Vec<u8>> = lens
        .iter()
        .map(|(sequence, second, timestamp, len)| {
            let body = vec![*sequence as u8; *len];
            packet(*sequence, 0, *second, *timestamp, &body)
        })
        .collect();
    let all: Vec<&[u8]> = packets.iter().map(Vec::as_slice).collect();
    let fec = Ulpfec::protect(&all).unwrap();
    let mut bytes = Vec::new();
    fec.write(&mut bytes);
    // M and PT cancel out; SN base 8, TS 3^5^7^9 = 8, length 200^140^100^340 = 372; the longest has
    // 340, and the mask has four packets.
    let header = [0, 0, 0, 8, 0, 0, 0, 8, 0x01, 0x74, 0x01, 0x54, 0xf0, 0x00];
    assert_eq!(bytes[..14], header);
    assert_eq!(bytes.len(), 14 + 340);
    for (missing, lost) in packets.iter().enumerate() {
        let left: Vec<&[u8]> = (0..4)
            .filter(|own| *own != missing)
            .map(|own| all[own])
            .collect();
        assert_eq!(fec.recover(Ssrc(7), &left).as_ref(), Ok(lost));
    }
}

/// The headers of libwebrtc's own tests (`ulpfec_header_reader_writer_unittest.cc`).
#[test]
fn ulpfec_headers_of_libwebrtc_are_read() {
    let head = [
        0x00, 0x12, 0xab, 0xcd, 0x12, 0x34, 0x56, 0x78, 0xab, 0xcd, 0, 4, 0x33, 0x44,
    ];
    let small = [&head[..], &[1, 2, 3, 4]].concat();
    let fec = Ulpfec::parse(&small).unwrap();
    assert_eq!(fec.base(), SeqNo16(0xabcd));
    assert_eq!(offsets(fec.levels()[0].mask), [2, 3, 6, 7, 9, 13]);
    assert_eq!(fec.levels()[0].payload, [1, 2, 3, 4]);

    let mut large = [&head[..], &[0x55, 0x66, 0x77, 0x88, 1, 2, 3, 4]].concat();
    large[0] = 0x40;
    let fec = Ulpfec::parse(&large).unwrap();
    let expected = [
        2, 3, 6, 7, 9, 13, 17, 19, 21, 23, 25, 26, 29, 30, 33, 34, 35, 37, 38, 39, 40, 44,
    ];
    assert_eq!(offsets(fec.levels()[0].mask), expected);
    let mut again = Vec::new();
    fec.write(&mut again);
    assert_eq!(again, large);
}

/// The headers of libwebrtc's own tests (`flexfec_03_header_reader_writer_unittest.cc`).
#[test]
fn flexfec_masks_of_libwebrtc_are_read_and_written() {
    let cases: [(&[u8], &[u16]); 3] = [
        (&[0x88, 0x81], &[3, 7, 14]),
        (
            &[0x48, 0x81, 0x82, 0x11, 0x00, 0x21],
            &[0, 3, 7, 14, 20, 25, 29, 40, 45],
        ),
        (
            &[
                0x48, 0x81, 0x02, 0x11, 0x00, 0x21, 0x81, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11,
            ],
            &[
                0, 3, 7, 14, 20, 25, 29, 40, 45, 52, 56, 60, 64, 68, 72, 76, 80, 84, 88, 92, 96,
                100, 104, 108,
            ],
        ),
    ];
    for (mask, expected) in cases {
        let head = [
            0x00, 123, 0xab, 0xcd, 0x01, 0x23, 0x45, 0x67, 1, 0, 0, 0, 0x11, 0x22, 0x33, 0x44,
            0xaa, 0xbb,
        ];
        let bytes = [&head[..], mask, &[0; 4]].concat();
        let fec = Flexfec::parse(&bytes).unwrap();
        assert_eq!(
            (fec.ssrc(), fec.base()),
            (Ssrc(0x1122_3344), SeqNo16(0xaabb))
        );
        assert_eq!(offsets(fec.mask()), expected);
        let mut again = Vec::new();
        fec.write(&mut again);
        assert_eq!(again, bytes);
        for len in 0..18 + mask.len() {
            assert_eq!(
                Flexfec::parse(&bytes[..len]),
                Err(FecError::TooShort),
                "{len}"
            );
        }
    }
}

#[test]
fn what_is_not_supported_says_so() {
    let mut head = vec![
        0, 123, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0x80, 1, 0,
    ];
    assert!(Flexfec::parse(&head).is_ok());
    for (at, byte, error) in [
        (0, 0x80, FecError::Unsupported),
        (0, 0x40, FecError::Unsupported),
        (8, 2, FecError::ManySources),
        (8, 0, FecError::ManySources),
        (19, 0, FecError::Empty),
    ] {
        let before = std::mem::replace(&mut head[at], byte);
        assert_eq!(Flexfec::parse(&head), Err(error));
        head[at] = before;
    }
    head[18] = 0;
    head.resize(40, 0);
    assert_eq!(Flexfec::parse(&head), Err(FecError::BadHeader));
    assert_eq!(Ulpfec::parse(&[0x80; 20]), Err(FecError::BadHeader));
    assert_eq!(Ulpfec::parse(&[0; 14]), Err(FecError::Empty));
    assert_eq!(Ulpfec::parse(&[0; 13]), Err(FecError::TooShort));
}

#[test]
fn packets_that_do_not_belong_together_are_refused() {
    let one = packet(1, 0, 96, 5, &[1]);
    let mut foreign = packet(2, 0, 96, 5, &[1]);
    foreign[11] = 8;
    let far = packet(49, 0, 96, 5, &[1]);
    let apart = Err(FecError::NotTogether);
    assert_eq!(Ulpfec::protect(&[&one, &one]), apart);
    assert_eq!(Ulpfec::protect(&[&one, &foreign]), apart);
    assert_eq!(Ulpfec::protect(&[&one, &far]), apart);
    assert!(Flexfec::protect(&[&one, &far]).is_ok());
    let farther = packet(110, 0, 96, 5, &[1]);
    let refused = Flexfec::protect(&[&one, &farther]).unwrap_err();
    assert_eq!(refused, FecError::NotTogether);
    assert_eq!(Ulpfec::protect(&[]), Err(FecError::Empty));
    assert_eq!(Ulpfec::protect(&[&one[..11]]), Err(FecError::TooShort));
}

/// Two levels as in RFC 5109 §10.2: the beginning of all packets, and more of some of them.
#[test]
fn levels_protect_as_far_as_they_reach() {
    let packets: Vec<Vec<u8>> = (0..4u16)
        .map(|number| packet(100 + number, 0, 96, 9, &[number as u8 + 1; 30]))
        .collect();
    let all: Vec<&[u8]> = packets.iter().map(Vec::as_slice).collect();
    let whole = Ulpfec::protect(&all).unwrap();
    let mut bytes = Vec::new();
    whole.write(&mut bytes);
    // Level 0: 10 bytes of all four; level 1: the next 20 of the first two.
    let (head, body) = bytes.split_at(14);
    let mut leveled = head.to_vec();
    leveled[10..12].copy_from_slice(&10u16.to_be_bytes());
    leveled.extend(&body[..10]);
    leveled.extend([0, 20, 0xc0, 0]);
    leveled.extend([1 ^ 2; 20]);
    let fec = Ulpfec::parse(&leveled).unwrap();
    let without = |missing: usize| -> Vec<&[u8]> {
        (0..4)
            .filter(|own| *own != missing)
            .map(|own| all[own])
            .collect()
    };
    assert_eq!(fec.recover(Ssrc(7), &without(1)).unwrap(), packets[1]);
    // The end of the third is not protected.
    let refused = fec.recover(Ssrc(7), &without(2)).unwrap_err();
    assert_eq!(refused, FecError::NotOneMissing);
    let mut again = Vec::new();
    fec.write(&mut again);
    assert_eq!(again, leveled);
}

fn any_packets(span: u16) -> impl Strategy<Value = Vec<Vec<u8>>> {
    let one = (
        any::<u8>(),
        any::<u8>(),
        any::<u32>(),
        prop::collection::vec(any::<u8>(), 0..80),
    );
    let many = prop::collection::btree_map(0..span, one, 1..20);
    (any::<u16>(), many).prop_map(|(base, many)| {
        many.into_iter()
            .map(|(offset, (first, second, timestamp, body))| {
                packet(base.wrapping_add(offset), first, second, timestamp, &body)
            })
            .collect()
    })
}

proptest! {
    #[test]
    fn any_one_lost_packet_comes_back(packets in any_packets(ulpfec::SPAN_MAX), wide in any_packets(flexfec::SPAN_MAX), lost: prop::sample::Index) {
        let all: Vec<&[u8]> = packets.iter().map(Vec::as_slice).collect();
        let fec = Ulpfec::protect(&all).unwrap();
        let mut bytes = Vec::new();
        fec.write(&mut bytes);
        let fec = Ulpfec::parse(&bytes).unwrap();
        prop_assert_eq!(fec.recover(Ssrc(7), &all), Err(FecError::NotOneMissing));
        let missing = lost.index(all.len());
        let mut left: Vec<&[u8]> = (0..all.len()).filter(|own| *own != missing).map(|own| all[own]).collect();
        prop_assert_eq!(fec.recover(Ssrc(7), &left), Ok(packets[missing].clone()));
        if left.pop().is_some() {
            prop_assert_eq!(fec.recover(Ssrc(7), &left), Err(FecError::NotOneMissing));
        }

        let all: Vec<&[u8]> = wide.iter().map(Vec::as_slice).collect();
        let fec = Flexfec::protect(&all).unwrap();
        let mut bytes = Vec::new();
        fec.write(&mut bytes);
        let fec = Flexfec::parse(&bytes).unwrap();
        let missing = lost.index(all.len());
        // In any order, and with a packet twice.
        let mut left: Vec<&[u8]> = (0..all.len()).rev().filter(|own| *own != missing).map(|own| all[own]).collect();
        left.extend(left.first().copied());
        prop_assert_eq!(fec.recover(&left), Ok(wide[missing].clone()));
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..80), other in prop::collection::vec(any::<u8>(), 0..40)) {
        if let Ok(fec) = Ulpfec::parse(&bytes) {
            let _ = fec.recover(Ssrc(7), &[&other]);
        }
        if let Ok(fec) = Flexfec::parse(&bytes) {
            let _ = fec.recover(&[&other]);
        }
    }
}
