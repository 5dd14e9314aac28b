use std::net::SocketAddr;

use proptest::prelude::*;

use super::*;

/// RFC 5769 §2.1.
const SAMPLE_REQUEST: &str = "000100582112a442b7e7a701bc34d686fa87dfae802200105354554e207465737420636c69656e74\
    002400046e0001ff80290008932ff9b151263b36000600096576746a3a68367659202020\
    000800149aeaa70cbfd8cb56781ef2b5b2d3f249c1b571a280280004e57a3bcf";
/// RFC 5769 §2.2.
const SAMPLE_IPV4_RESPONSE: &str = "0101003c2112a442b7e7a701bc34d686fa87dfae8022000b7465737420766563746f7220\
    002000080001a147e112a643000800142b91f599fd9e90c38c7489f92af9ba53f06be7d780280004c07d4c96";
/// RFC 5769 §2.3.
const SAMPLE_IPV6_RESPONSE: &str = "010100482112a442b7e7a701bc34d686fa87dfae8022000b7465737420766563746f7220\
    002000140002a1470113a9faa5d3f179bc25f4b5bed2b9d9\
    00080014a382954e4be67bf11784c97c8292c275bfe3ed4180280004c8fb0b4c";

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

#[test]
fn reads_the_sample_request_of_rfc_5769() {
    let bytes = bytes(SAMPLE_REQUEST);
    let message = Message::parse(&bytes).unwrap();
    assert_eq!(message.class, Class::Request);
    assert_eq!(message.method, Method::BINDING);
    assert_eq!(message.username(), Some("evtj:h6vY"));
    assert!(message.has_fingerprint());
    let attributes: Vec<_> = message.attributes().collect();
    assert_eq!(attributes[0], Attribute::Software("STUN test client"));
    assert_eq!(attributes[1], Attribute::Priority(0x6e00_01ff));
    assert_eq!(
        attributes[2],
        Attribute::IceControlled(0x932f_f9b1_5126_3b36)
    );
    let integrity = message.integrity().unwrap();
    assert_eq!(integrity.mac, &bytes[bytes.len() - 28..bytes.len() - 8]);
    assert_eq!(integrity.header[2..4], [0, 0x50]);
}

#[test]
fn reads_the_sample_responses_of_rfc_5769() {
    let v4 = bytes(SAMPLE_IPV4_RESPONSE);
    let v6 = bytes(SAMPLE_IPV6_RESPONSE);
    let mapped = |bytes: &[u8]| Message::parse(bytes).unwrap().mapped_address().unwrap();
    assert_eq!(
        mapped(&v4),
        "192.0.2.1:32853".parse::<SocketAddr>().unwrap()
    );
    assert_eq!(
        mapped(&v6),
        "[2001:db8:1234:5678:11:2233:4455:6677]:32853"
            .parse::<SocketAddr>()
            .unwrap()
    );
}

#[test]
fn a_flipped_bit_breaks_the_fingerprint() {
    let mut bytes = bytes(SAMPLE_REQUEST);
    bytes[25] ^= 1;
    assert_eq!(
        Message::parse(&bytes).err(),
        Some(StunError::BadFingerprint)
    );
}

#[test]
fn attributes_after_the_integrity_are_not_shown() {
    let mut out = Vec::new();
    let mut builder = Builder::new(
        &mut out,
        Class::Request,
        Method::BINDING,
        TransactionId([1; 12]),
    );
    builder.attribute(Attribute::MessageIntegrity(&[0; 20]));
    builder.attribute(Attribute::UseCandidate);
    builder.finish();
    let message = Message::parse(&out).unwrap();
    assert!(
        !message
            .attributes()
            .any(|attribute| attribute == Attribute::UseCandidate)
    );
    assert!(message.has_fingerprint());
}

#[test]
fn every_class_and_method_survives_the_message_type() {
    for method in 0..=0x0fff {
        for class in [
            Class::Request,
            Class::Indication,
            Class::Success,
            Class::Error,
        ] {
            let value = message_type(class, Method::new(method));
            assert_eq!(value & 0xc000, 0);
            assert_eq!(split_message_type(value), (class, Method::new(method)));
        }
    }
}

#[test]
fn unknown_required_attributes_are_named() {
    let mut out = Vec::new();
    let mut builder = Builder::new(
        &mut out,
        Class::Request,
        Method::BINDING,
        TransactionId([1; 12]),
    );
    builder.attribute(Attribute::Unknown {
        kind: 0x7777,
        value: &[1, 2, 3],
    });
    builder.attribute(Attribute::Unknown {
        kind: 0x8777,
        value: &[],
    });
    builder.finish();
    let message = Message::parse(&out).unwrap();
    assert_eq!(message.unknown_required().collect::<Vec<_>>(), [0x7777]);
}

#[test]
fn turn_values_of_a_wrong_size_are_named() {
    let malformed: [(u16, &[u8]); 8] = [
        (0x000c, &[0x3f, 0xff, 0, 0]),
        (0x000d, &[0, 0, 0]),
        (0x0018, &[0x80, 0]),
        (0x0019, &[17]),
        (0x001a, &[0]),
        (0x001d, &[0, 2, 0, 0, 0, 1, 0, 0]),
        (0x0022, &[0; 7]),
        (0x8002, &[0, 2, 0, 9]),
    ];
    for (kind, value) in malformed {
        let mut out = Vec::new();
        let mut builder = Builder::new(
            &mut out,
            Class::Request,
            Method::ALLOCATE,
            TransactionId([1; 12]),
        );
        builder.attribute(Attribute::Unknown { kind, value });
        builder.finish();
        let error = Message::parse(&out).unwrap_err();
        assert_eq!(error, StunError::BadAttribute(kind));
    }
}

#[test]
fn truncation_anywhere_is_an_error() {
    let whole = bytes(SAMPLE_REQUEST);
    for len in 0..whole.len() {
        assert!(Message::parse(&whole[..len]).is_err(), "{len} bytes");
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Message::parse(&bytes);
        // Sound framing reaches the attribute parsers.
        if bytes.len() >= 20 {
            bytes.truncate(bytes.len() & !3);
            let len = (bytes.len() - 20) as u16;
            bytes[0] &= 0x3f;
            bytes[2..4].copy_from_slice(&len.to_be_bytes());
            bytes[4..8].copy_from_slice(&MAGIC_COOKIE.to_be_bytes());
            if let Ok(message) = Message::parse(&bytes) {
                let _ = message.attributes().count();
                let _ = message.integrity();
            }
        }
    }

    #[test]
    fn what_is_built_reads_back(
        username in "[a-zA-Z0-9+/:]{0,40}", priority in any::<u32>(), tie in any::<u64>(),
        port in any::<u16>(), ip in any::<u128>(), id in any::<[u8; 12]>(),
    ) {
        let address = SocketAddr::new(std::net::Ipv6Addr::from(ip).into(), port);
        let sent = [
            Attribute::Username(&username),
            Attribute::Priority(priority),
            Attribute::Nomination(priority),
            Attribute::IceControlling(tie),
            Attribute::UseCandidate,
            Attribute::XorMappedAddress(address),
            Attribute::ErrorCode(ErrorCode::ROLE_CONFLICT),
        ];
        let mut out = vec![9, 9];
        let mut builder = Builder::new(&mut out, Class::Error, Method::BINDING, TransactionId(id));
        for attribute in sent {
            builder.attribute(attribute);
        }
        builder.finish_with_integrity(|_| [5; 20]);
        let message = Message::parse(&out[2..]).unwrap();
        prop_assert_eq!(message.transaction, TransactionId(id));
        let read: Vec<_> = message.attributes().take(sent.len()).collect();
        prop_assert_eq!(&read[..], &sent[..]);
        prop_assert_eq!(message.integrity().unwrap().mac, &[5u8; 20][..]);
    }

    #[test]
    fn what_turn_sends_reads_back(
        number in 0x4000_u16..0x5000, seconds in any::<u32>(), port in any::<u16>(),
        ip in any::<u32>(), token in any::<[u8; 8]>(), data in proptest::collection::vec(any::<u8>(), 0..40),
        family in any::<u8>(), flag in any::<bool>(), kind in 0_u8..128, code in 0_u16..512,
        algorithms in proptest::collection::vec(any::<u16>(), 0..4), id in any::<[u8; 12]>(),
    ) {
        let address = SocketAddr::new(std::net::Ipv4Addr::from(ip).into(), port);
        let family = AddressFamily(family);
        let mut offered = Vec::new();
        for algorithm in &algorithms {
            PasswordAlgorithm(*algorithm).write(&mut offered);
        }
        let sent = [
            Attribute::ChangeRequest { ip: flag, port: !flag },
            Attribute::ChannelNumber(ChannelNumber::new(number).unwrap()),
            Attribute::Lifetime(seconds),
            Attribute::XorPeerAddress(address),
            Attribute::Data(&data),
            Attribute::XorRelayedAddress(address),
            Attribute::RequestedAddressFamily(family),
            Attribute::EvenPort { reserve_next: flag },
            Attribute::RequestedTransport(family.0),
            Attribute::DontFragment,
            Attribute::PasswordAlgorithm(PasswordAlgorithm(code)),
            Attribute::ReservationToken(&token),
            Attribute::Padding(&data),
            Attribute::ResponsePort(port),
            Attribute::ConnectionId(seconds),
            Attribute::AdditionalAddressFamily(family),
            Attribute::AddressErrorCode(AddressError { family, error: ErrorCode::FORBIDDEN }),
            Attribute::PasswordAlgorithms(&offered),
            Attribute::AlternateDomain("turn.example.org"),
            Attribute::Icmp(Icmp { kind, code, data: seconds }),
            Attribute::AlternateServer(address),
            Attribute::ResponseOrigin(address),
            Attribute::OtherAddress(address),
            Attribute::MobilityTicket(&data),
        ];
        let mut out = Vec::new();
        let mut builder = Builder::new(&mut out, Class::Request, Method::ALLOCATE, TransactionId(id));
        for attribute in sent {
            builder.attribute(attribute);
        }
        builder.finish_with_integrity_sha256(|_| [5; 32]);
        let message = Message::parse(&out).unwrap();
        let read: Vec<_> = message.attributes().take(sent.len()).collect();
        prop_assert_eq!(&read[..], &sent[..]);
        prop_assert_eq!(message.unknown_required().count(), 0);
        prop_assert_eq!(message.integrity_sha256().unwrap().mac, &[5u8; 32][..]);
        let named: Vec<u16> = password_algorithms(&offered).unwrap().map(|one| one.0).collect();
        prop_assert_eq!(named, algorithms);
    }
}
