use proptest::prelude::*;

use super::*;
use crate::ids::StreamId;
use crate::seq::{SeqNo16, SeqNo32};

const HEADER: Header = Header {
    source_port: 5000,
    destination_port: 5001,
    verification_tag: 0x0102_0304,
};

fn written(chunk: &impl WriteChunk) -> Vec<u8> {
    let mut out = Vec::new();
    let mut writer = PacketWriter::new(&mut out, HEADER, 65_532);
    assert!(writer.push(chunk), "the chunk fits");
    writer.finish(Checksum::Crc32c);
    out
}

/// Writes `chunk` into a packet and answers its bytes behind the common header.
#[track_caller]
fn check<'a>(chunk: &impl WriteChunk, expected: &Chunk<'a>) -> Vec<u8> {
    let out = written(chunk);
    assert_eq!(out.len() % 4, 0, "padded");
    let packet = Packet::parse(&out).unwrap();
    assert_eq!(packet.header, HEADER);
    assert!(!packet.has_zero_checksum);
    let chunks: Vec<_> = packet.chunks().collect();
    assert_eq!(chunks.len(), 1);
    assert_eq!(Chunk::parse(chunks[0].unwrap()).as_ref(), Ok(expected));
    out[HEADER_LEN..].to_vec()
}

fn data(payload: &[u8]) -> Data<'_> {
    Data {
        tsn: SeqNo32(7),
        stream: StreamId(2),
        ssn: SeqNo16(3),
        ppid: Ppid::BINARY,
        is_begin: true,
        flags: DataFlags {
            is_end: true,
            ..DataFlags::default()
        },
        payload,
    }
}

#[test]
fn data_has_the_layout_of_rfc_9260_section_3_3_1() {
    let bytes = check(&data(b"hello"), &Chunk::Data(data(b"hello")));
    assert_eq!(
        bytes,
        [
            0, 3, 0, 21, 0, 0, 0, 7, 0, 2, 0, 3, 0, 0, 0, 53, b'h', b'e', b'l', b'l', b'o', 0, 0, 0
        ]
    );
}

#[test]
fn the_first_i_data_fragment_carries_the_ppid_and_later_ones_the_fsn() {
    let first = IData {
        tsn: SeqNo32(9),
        stream: StreamId(1),
        mid: SeqNo32(4),
        place: Place::First(Ppid::STRING),
        flags: DataFlags {
            is_immediate: true,
            ..DataFlags::default()
        },
        payload: b"ab",
    };
    let bytes = check(&first, &Chunk::IData(first));
    assert_eq!(bytes[..2], [64, 0b1010]);
    assert_eq!(bytes[16..20], [0, 0, 0, 51]);
    let later = IData {
        place: Place::Later(SeqNo32(6)),
        flags: DataFlags {
            is_unordered: true,
            is_end: true,
            ..DataFlags::default()
        },
        ..first
    };
    let bytes = check(&later, &Chunk::IData(later));
    assert_eq!(bytes[..2], [64, 0b0101]);
    assert_eq!(bytes[16..20], [0, 0, 0, 6]);
}

#[test]
fn data_without_user_data_is_refused() {
    let out = written(&data(b""));
    let raw = Packet::parse(&out).unwrap().chunks().next().unwrap();
    assert_eq!(Chunk::parse(raw.unwrap()), Err(ChunkError::NoUserData));
}

#[test]
fn a_sack_round_trips_with_gaps_and_duplicates() {
    let gaps: ListBuf<GapBlock> = [GapBlock { start: 2, end: 3 }, GapBlock { start: 5, end: 9 }]
        .into_iter()
        .collect();
    let duplicates: ListBuf<SeqNo32> = [SeqNo32(77)].into_iter().collect();
    let sack = Sack {
        cumulative_tsn: SeqNo32(100),
        a_rwnd: 65_536,
        gap_blocks: gaps.as_list(),
        duplicates: duplicates.as_list(),
    };
    let bytes = check(&sack, &Chunk::Sack(sack));
    assert_eq!(
        bytes,
        [
            3, 0, 0, 28, 0, 0, 0, 100, 0, 1, 0, 0, 0, 2, 0, 1, 0, 2, 0, 3, 0, 5, 0, 9, 0, 0, 0, 77
        ]
    );
}

#[test]
fn an_init_round_trips_with_its_parameters() {
    let mut buf = ParametersBuf::new();
    let parameters = [
        Parameter::StateCookie(b"cookie"),
        Parameter::SupportedExtensions(&[130, 192, 64]),
        Parameter::ForwardTsnSupported,
        Parameter::ZeroChecksumAcceptable(EDMID_DTLS),
        Parameter::Unknown {
            kind: 0x8099,
            value: b"?",
        },
    ];
    for parameter in &parameters {
        assert!(buf.push(parameter));
    }
    let init = Init {
        initiate_tag: 1,
        a_rwnd: 2,
        outbound_streams: 3,
        inbound_streams: 4,
        initial_tsn: SeqNo32(5),
        parameters: buf.as_parameters(),
    };
    let bytes = check(&init, &Chunk::Init(init));
    assert_eq!(
        bytes[20..30],
        [0, 7, 0, 10, b'c', b'o', b'o', b'k', b'i', b'e']
    );
    assert!(init.parameters.iter().eq(parameters));
    check(&InitAck(init), &Chunk::InitAck(InitAck(init)));
}

#[test]
fn an_init_with_a_zero_tag_or_no_streams_is_refused() {
    let init = |initiate_tag, outbound_streams| Init {
        initiate_tag,
        a_rwnd: 1,
        outbound_streams,
        inbound_streams: 1,
        initial_tsn: SeqNo32(0),
        parameters: Parameters::default(),
    };
    for (chunk, error) in [
        (init(0, 1), ChunkError::ZeroTag),
        (init(1, 0), ChunkError::ZeroStreams),
    ] {
        let out = written(&chunk);
        let raw = Packet::parse(&out).unwrap().chunks().next().unwrap();
        assert_eq!(Chunk::parse(raw.unwrap()), Err(error));
    }
}

#[test]
fn control_chunks_round_trip() {
    let info = Heartbeat::info_of(b"12345");
    let beat = Heartbeat { info: &info };
    check(&beat, &Chunk::Heartbeat(beat));
    let ack = HeartbeatAck { info: &info };
    check(&ack, &Chunk::HeartbeatAck(ack));
    assert_eq!(ack.token(), Some(&b"12345"[..]));
    let echo = CookieEcho { cookie: b"c" };
    check(&echo, &Chunk::CookieEcho(echo));
    check(&CookieAck, &Chunk::CookieAck);
    check(&ShutdownAck, &Chunk::ShutdownAck);
    let shutdown = Shutdown {
        cumulative_tsn: SeqNo32(6),
    };
    check(&shutdown, &Chunk::Shutdown(shutdown));
    let complete = ShutdownComplete {
        is_tag_reflected: true,
    };
    check(&complete, &Chunk::ShutdownComplete(complete));
}

#[test]
fn every_error_cause_round_trips() {
    let causes = [
        Cause::InvalidStream(StreamId(9)),
        Cause::StaleCookie(7),
        Cause::OutOfResource,
        Cause::UnrecognizedChunk(&[1, 2, 3, 4]),
        Cause::UnrecognizedParameters(&[1, 2, 3, 4]),
        Cause::NoUserData(SeqNo32(3)),
        Cause::CookieWhileShuttingDown,
        Cause::UserInitiated(b"bye"),
        Cause::ProtocolViolation(b"no"),
        Cause::Unknown {
            code: 500,
            value: &[],
        },
    ];
    let mut buf = CausesBuf::new();
    for cause in &causes {
        assert!(buf.push(cause));
    }
    assert!(buf.as_causes().iter().eq(causes));
    let abort = Abort {
        is_tag_reflected: true,
        causes: buf.as_causes(),
    };
    check(&abort, &Chunk::Abort(abort));
    let error = Error {
        causes: buf.as_causes(),
    };
    check(&error, &Chunk::Error(error));
}

#[test]
fn forward_tsn_round_trips_in_both_forms() {
    let skipped: ListBuf<SkippedStream> = [SkippedStream {
        stream: StreamId(1),
        ssn: SeqNo16(2),
    }]
    .into_iter()
    .collect();
    let forward = ForwardTsn {
        new_cumulative_tsn: SeqNo32(3),
        skipped: skipped.as_list(),
    };
    let bytes = check(&forward, &Chunk::ForwardTsn(forward));
    assert_eq!(bytes, [192, 0, 0, 12, 0, 0, 0, 3, 0, 1, 0, 2]);
    let skipped: ListBuf<SkippedMessage> = [SkippedMessage {
        stream: StreamId(1),
        is_unordered: true,
        mid: SeqNo32(2),
    }]
    .into_iter()
    .collect();
    let forward = IForwardTsn {
        new_cumulative_tsn: SeqNo32(3),
        skipped: skipped.as_list(),
    };
    let bytes = check(&forward, &Chunk::IForwardTsn(forward));
    assert_eq!(bytes, [194, 0, 0, 16, 0, 0, 0, 3, 0, 1, 0, 1, 0, 0, 0, 2]);
}

#[test]
fn every_reconfig_parameter_round_trips() {
    let streams: ListBuf<StreamId> = [StreamId(4), StreamId(6), StreamId(8)]
        .into_iter()
        .collect();
    let streams = streams.as_list();
    let request = SeqNo32(10);
    let results = (0..8).map(|code| {
        if code == 7 {
            ReconfigResult::Unknown(7)
        } else {
            [
                ReconfigResult::NothingToDo,
                ReconfigResult::Performed,
                ReconfigResult::Denied,
                ReconfigResult::WrongSsn,
                ReconfigResult::RequestInProgress,
                ReconfigResult::BadSequenceNumber,
                ReconfigResult::InProgress,
            ][code]
        }
    });
    let mut parameters = vec![
        ReconfigParameter::OutgoingReset {
            request,
            response: SeqNo32(11),
            last_tsn: SeqNo32(12),
            streams,
        },
        ReconfigParameter::IncomingReset { request, streams },
        ReconfigParameter::TsnReset { request },
        ReconfigParameter::AddOutgoing { request, count: 5 },
        ReconfigParameter::AddIncoming { request, count: 6 },
        ReconfigParameter::Unknown {
            kind: 99,
            value: b"abc",
        },
    ];
    parameters.extend(results.map(|result| ReconfigParameter::Response {
        response: request,
        result,
    }));
    let mut buffer = Vec::new();
    for parameter in &parameters {
        ReconfigParameters::encode(&mut buffer, parameter);
    }
    let chunk = RawChunk {
        kind: kind::RE_CONFIG,
        flags: 0,
        body: &buffer,
    };
    let Ok(Chunk::Reconfig(reconfig)) = Chunk::parse(chunk) else {
        panic!("not a RE-CONFIG");
    };
    assert!(reconfig.parameters.iter().eq(parameters));
    check(&reconfig, &Chunk::Reconfig(reconfig));
}

#[test]
fn a_packet_never_grows_beyond_its_limit() {
    let mut out = vec![9];
    let mut writer = PacketWriter::new(&mut out, HEADER, HEADER_LEN + DATA_HEADER_LEN + 8);
    assert!(!writer.push(&data(&[1; 9])));
    assert!(writer.is_empty());
    assert!(writer.push(&data(&[1; 7])));
    assert_eq!(writer.room(), 0);
    writer.finish(Checksum::Crc32c);
    assert_eq!(out.len(), 1 + HEADER_LEN + DATA_HEADER_LEN + 8);
    assert!(Packet::parse(&out[1..]).is_ok());
}

#[test]
fn a_zero_checksum_is_told_apart_from_a_wrong_one() {
    let mut out = Vec::new();
    let mut writer = PacketWriter::new(&mut out, HEADER, 100);
    writer.push(&CookieAck);
    writer.finish(Checksum::Zero);
    assert!(Packet::parse(&out).unwrap().has_zero_checksum);
    out[8] = 1;
    assert_eq!(Packet::parse(&out).unwrap_err(), PacketError::BadChecksum);
    assert_eq!(
        Packet::parse(&out[..15]).unwrap_err(),
        PacketError::TooShort
    );
}

#[test]
fn chunk_lengths_that_lie_end_the_walk() {
    for (body, error) in [
        ([0u8, 0, 0, 3, 0, 0, 0, 0], ChunkError::BadLength),
        ([0, 0, 0, 9, 0, 0, 0, 0], ChunkError::TooShort),
    ] {
        let mut chunks = Chunks::new(&body);
        assert_eq!(chunks.next(), Some(Err(error)));
        assert_eq!(chunks.next(), None);
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Some(field) = bytes.get_mut(8..12) {
            field.fill(0);
        }
        if let Ok(packet) = Packet::parse(&bytes) {
            for raw in packet.chunks().flatten() {
                for kind in [raw.kind, 0, 1, 2, 3, 6, 7, 9, 64, 130, 192, 194] {
                    match Chunk::parse(RawChunk { kind, ..raw }) {
                        Ok(Chunk::Init(init)) => { init.parameters.iter().count(); }
                        Ok(Chunk::Sack(sack)) => { sack.gap_blocks.iter().count(); }
                        Ok(Chunk::Abort(abort)) => { abort.causes.iter().count(); }
                        Ok(Chunk::Reconfig(reconfig)) => { reconfig.parameters.iter().count(); }
                        _ => {}
                    }
                }
            }
        }
    }

    #[test]
    fn data_round_trips(
        tsn: u32, stream: u16, ssn: u16, ppid: u32, is_begin: bool, is_end: bool,
        is_unordered: bool, is_immediate: bool,
        payload in prop::collection::vec(any::<u8>(), 1..2000),
    ) {
        let flags = DataFlags { is_immediate, is_unordered, is_end };
        let data = Data {
            tsn: SeqNo32(tsn), stream: StreamId(stream), ssn: SeqNo16(ssn), ppid: Ppid(ppid),
            is_begin, flags, payload: &payload,
        };
        check(&data, &Chunk::Data(data));
        let place = if is_begin { Place::First(Ppid(ppid)) } else { Place::Later(SeqNo32(ppid)) };
        let data = IData {
            tsn: SeqNo32(tsn), stream: StreamId(stream), mid: SeqNo32(ppid), place, flags,
            payload: &payload,
        };
        check(&data, &Chunk::IData(data));
    }

    #[test]
    fn a_flipped_bit_is_noticed(
        payload in prop::collection::vec(any::<u8>(), 1..100), bit in 0usize..96,
    ) {
        let mut out = written(&data(&payload));
        out[bit / 8] ^= 1 << (bit % 8);
        let noticed = match Packet::parse(&out) {
            Err(_) => true,
            Ok(packet) => packet.has_zero_checksum,
        };
        prop_assert!(noticed);
    }
}
