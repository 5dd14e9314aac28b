//! Input that no honest peer sends: nothing panics, nothing grows, reasons are counted.

use proptest::prelude::*;
use twocan_wire::sctp::{
    Checksum, Data, DataFlags, GapBlock, Header, IData, ListBuf, PacketWriter, Place, RawChunk,
    Sack, WriteChunk,
};
use twocan_wire::seq::{SeqNo16, SeqNo32};

use super::*;

/// Any chunk from raw parts.
struct Raw<'a>(RawChunk<'a>);

impl WriteChunk for Raw<'_> {
    fn kind(&self) -> u8 {
        self.0.kind
    }

    fn flags(&self) -> u8 {
        self.0.flags
    }

    fn body_len(&self) -> usize {
        self.0.body.len()
    }

    fn write_body(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.0.body);
    }
}

/// The tag and TSN that the end `side` expects.
fn expected(pair: &mut Pair, side: Side) -> (u32, u32) {
    let end = pair.end(side);
    (end.local_tag, end.rx.cumulative().0.wrapping_add(1))
}

fn packet(tag: u32, chunks: &[&dyn Fn(&mut PacketWriter<'_>) -> bool]) -> Vec<u8> {
    let mut out = Vec::new();
    let header = Header {
        source_port: 5000,
        destination_port: 5000,
        verification_tag: tag,
    };
    let mut writer = PacketWriter::new(&mut out, header, 65_000);
    for chunk in chunks {
        assert!(chunk(&mut writer));
    }
    writer.finish(Checksum::Crc32c);
    out
}

fn data(tsn: u32, stream: u16, is_begin: bool, is_end: bool, payload: &[u8]) -> Data<'_> {
    Data {
        tsn: SeqNo32(tsn),
        stream: StreamId(stream),
        ssn: SeqNo16(0),
        ppid: Ppid::BINARY,
        is_begin,
        flags: DataFlags {
            is_end,
            is_unordered: true,
            ..DataFlags::default()
        },
        payload,
    }
}

#[test]
fn a_wrong_tag_port_or_checksum_is_counted_and_changes_nothing() {
    let mut pair = Pair::connected(1, &Config::default(), LinkConfig::FAST);
    let (tag, tsn) = expected(&mut pair, B);
    let good = packet(tag, &[&|w| w.push(&data(tsn, 0, true, true, b"x"))]);
    let now = pair.now;
    let mut bad = good.clone();
    bad[8] ^= 1;
    pair.end(B).handle_packet(now, &bad);
    let bad = packet(tag ^ 1, &[&|w| w.push(&data(tsn, 0, true, true, b"x"))]);
    pair.end(B).handle_packet(now, &bad);
    let abort = packet(
        tag ^ 1,
        &[&|w| {
            w.push(&Raw(RawChunk {
                kind: 6,
                flags: 0,
                body: &[],
            }))
        }],
    );
    pair.end(B).handle_packet(now, &abort);
    let counters = pair.end(B).counters().clone();
    assert_eq!(counters.get("sctp.bad_packet"), 1);
    assert_eq!(counters.get("sctp.bad_tag"), 2);
    pair.end(B).handle_packet(now, &good);
    pair.exchange();
    assert_eq!(pair.received(B), 1);
}

#[test]
fn what_waits_for_its_parts_is_bounded_by_the_window() {
    let config = Config {
        receive_window: 1 << 20,
        ..Config::default()
    };
    let mut pair = Pair::connected(1, &config, LinkConfig::FAST);
    let (tag, tsn) = expected(&mut pair, B);
    let now = pair.now;
    // Beginnings without ends, one byte each, and the first TSN missing.
    for index in 1..60_000 {
        let packet = packet(
            tag,
            &[&|w| w.push(&data(tsn.wrapping_add(index), 0, true, false, &[1]))],
        );
        pair.end(B).handle_packet(now, &packet);
    }
    let full = pair.end(B).counters().get("sctp.receive_buffer_full");
    assert_eq!(full, 59_999 - (1 << 20) / 65, "one byte costs 65");
}

#[test]
fn a_message_beyond_the_limit_ends_the_association_and_says_why() {
    let config = Config {
        local_max_message_size: 10_000,
        ..Config::default()
    };
    for interleaving in [false, true] {
        let configs = [Config::default(), config.clone()].map(|config| Config {
            interleaving,
            ..config
        });
        let mut pair = Pair::with(1, configs, LinkConfig::delay(MS));
        pair.connect();
        pair.send(A, 0, SendOptions::default(), payload(1, 10_000));
        pair.run_until(Duration::from_secs(1), |pair| pair.received(B) == 1);
        pair.send(A, 0, SendOptions::default(), payload(1, 10_001));
        pair.run_until(Duration::from_secs(9), |pair| {
            pair.ends.iter().all(Association::is_ended)
        });
        assert_eq!(
            pair.events[1].last(),
            Some(&Event::Closed(CloseReason::MessageTooLarge))
        );
        assert_eq!(
            pair.events[0].last(),
            Some(&Event::Closed(CloseReason::AbortedByPeer(13)))
        );
    }
}

#[test]
fn a_slow_application_stops_the_sender_and_nothing_is_lost() {
    let config = Config {
        receive_window: 600_000,
        ..Config::default()
    };
    let mut pair = Pair::connected(1, &config, LinkConfig::FAST);
    for index in 0..100 {
        pair.send(A, 0, SendOptions::default(), payload(index, 60_000));
    }
    let mut got = Vec::new();
    let mut packet = Vec::new();
    for _ in 0..2000 {
        pair.now += 20 * MS;
        let now = pair.now;
        for from in [0, 1] {
            pair.ends[from].handle_timeout(now);
            packet.clear();
            while pair.ends[from].poll_transmit(now, &mut packet) {
                pair.ends[1 - from].handle_packet(now, &packet);
                packet.clear();
            }
        }
        // One message each 20 ms, although many more would fit the link.
        if let Some(Event::Message(message)) = pair.end(B).poll_event() {
            got.push(message.payload);
        }
    }
    assert_eq!(got.len(), 100);
    for (index, message) in got.into_iter().enumerate() {
        assert!(message == payload(index as u64, 60_000));
    }
    assert!(pair.end(A).is_established());
}

#[test]
fn a_sack_of_what_was_never_sent_is_counted() {
    let mut pair = Pair::connected(1, &Config::default(), LinkConfig::FAST);
    let (tag, _) = expected(&mut pair, A);
    let next = pair.end(A).tx.last_tsn().0.wrapping_add(1);
    let gaps: ListBuf<GapBlock> = [GapBlock { start: 2, end: 9 }].into_iter().collect();
    let now = pair.now;
    for (cumulative, reason) in [
        (next, "sctp.sack_of_unsent"),
        (next.wrapping_sub(2), "sctp.old_sack"),
        (next.wrapping_sub(1), "sctp.bad_gap_block"),
    ] {
        let packet = packet(
            tag,
            &[&|w| {
                w.push(&Sack {
                    cumulative_tsn: SeqNo32(cumulative),
                    a_rwnd: 1000,
                    gap_blocks: gaps.as_list(),
                    duplicates: ListBuf::new().as_list(),
                })
            }],
        );
        pair.end(A).handle_packet(now, &packet);
        assert_eq!(pair.end(A).counters().get(reason), 1, "{reason}");
    }
}

#[test]
fn a_flood_of_heartbeats_fills_no_queue() {
    let mut pair = Pair::connected(1, &Config::default(), LinkConfig::FAST);
    let (tag, _) = expected(&mut pair, A);
    let now = pair.now;
    for index in 0..1000u32 {
        let body = index.to_be_bytes();
        let packet = packet(
            tag,
            &[&|w| {
                w.push(&Raw(RawChunk {
                    kind: 4,
                    flags: 0,
                    body: &body,
                }))
            }],
        );
        pair.end(A).handle_packet(now, &packet);
    }
    assert_eq!(pair.end(A).counters().get("sctp.control_queue_full"), 968);
}

#[derive(Debug, Clone)]
enum Step {
    Chunk(u8, u8, Vec<u8>),
    Data(i8, u8, u8, Vec<u8>),
    IData(i8, u8, u8, Vec<u8>),
    Send(u8, u16, bool),
    Reset(u8),
    Wait(u16),
    Corrupt(u16),
}

fn step() -> impl Strategy<Value = Step> {
    let kinds = prop::sample::select(vec![
        1u8, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 14, 130, 192, 194, 63, 255,
    ]);
    let bytes = |max| prop::collection::vec(any::<u8>(), 0..max);
    prop_oneof![
        (kinds, any::<u8>(), bytes(60))
            .prop_map(|(kind, flags, body)| Step::Chunk(kind, flags, body)),
        (any::<i8>(), any::<u8>(), any::<u8>(), bytes(30))
            .prop_map(|(tsn, flags, number, body)| Step::Data(tsn, flags, number, body)),
        (any::<i8>(), any::<u8>(), any::<u8>(), bytes(30))
            .prop_map(|(tsn, flags, number, body)| Step::IData(tsn, flags, number, body)),
        (0..4u8, 1..5000u16, any::<bool>()).prop_map(|(stream, len, p)| Step::Send(stream, len, p)),
        (0..4u8).prop_map(Step::Reset),
        any::<u16>().prop_map(Step::Wait),
        any::<u16>().prop_map(Step::Corrupt),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn no_sequence_of_chunks_panics_or_stops_the_machine(
        steps in prop::collection::vec(step(), 0..80), is_connected: bool, interleaving: bool,
    ) {
        let config = Config { interleaving, ..Config::default() };
        let mut pair = if is_connected {
            Pair::connected(1, &config, LinkConfig::delay(MS))
        } else {
            let mut pair = Pair::new(1, &config, LinkConfig::delay(MS));
            let now = pair.now;
            pair.end(A).connect(now);
            pair
        };
        for step in steps {
            let (tag, tsn) = expected(&mut pair, A);
            let now = pair.now;
            match step {
                Step::Chunk(kind, flags, body) => {
                    let tag = if kind == 1 { 0 } else { tag };
                    let raw = Raw(RawChunk { kind, flags, body: &body });
                    pair.end(A).handle_packet(now, &packet(tag, &[&|w| w.push(&raw)]));
                }
                Step::Data(offset, bits, number, body) => {
                    let mut chunk = data(
                        tsn.wrapping_add_signed(offset.into()), (bits >> 4).into(),
                        bits & 1 != 0, bits & 2 != 0, &body,
                    );
                    chunk.ssn = SeqNo16(number.into());
                    chunk.flags.is_unordered = bits & 4 != 0;
                    pair.end(A).handle_packet(now, &packet(tag, &[&|w| w.push(&chunk)]));
                }
                Step::IData(offset, bits, number, body) => {
                    let chunk = IData {
                        tsn: SeqNo32(tsn.wrapping_add_signed(offset.into())),
                        stream: StreamId((bits >> 6).into()),
                        mid: SeqNo32((number & 3).into()),
                        place: if bits & 1 != 0 {
                            Place::First(Ppid::BINARY)
                        } else {
                            Place::Later(SeqNo32((number >> 5).into()))
                        },
                        flags: DataFlags {
                            is_end: bits & 2 != 0,
                            is_unordered: bits & 4 != 0,
                            is_immediate: bits & 8 != 0,
                        },
                        payload: &body,
                    };
                    pair.end(A).handle_packet(now, &packet(tag, &[&|w| w.push(&chunk)]));
                }
                Step::Send(stream, len, is_partial) => {
                    let options = SendOptions {
                        order: Order::Ordered,
                        reliability: if is_partial {
                            Reliability::MaxRetransmits(0)
                        } else {
                            Reliability::Reliable
                        },
                    };
                    let payload = vec![1; len.into()];
                    let _ = pair.end(A).send(
                        now, StreamId(stream.into()), Ppid::BINARY, options, payload,
                    );
                }
                Step::Reset(stream) => pair.end(A).reset_stream(StreamId(stream.into())),
                Step::Wait(ms) => pair.run_for(u32::from(ms) * MS / 16),
                Step::Corrupt(at) => {
                    let mut bytes = Vec::new();
                    if pair.end(B).poll_transmit(now, &mut bytes) {
                        let at = usize::from(at) % bytes.len();
                        bytes[at] ^= 0x55;
                        bytes[8..12].fill(0);
                        pair.end(A).handle_packet(now, &bytes);
                    }
                }
            }
            pair.exchange();
        }
        pair.run_for(Duration::from_secs(3));
    }
}
