//! RED and FEC, from session to session and in hostile hands.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use twocan_wire::fec::flexfec::Flexfec;
use twocan_wire::payload::red::{Red, Redundant};
use twocan_wire::rtcp::{ReceiverReport, ReportBlock};
use twocan_wire::rtp::{ExtensionMap, ExtensionValues, HeaderFields};

use super::fec::Scheme;
use super::fec::level::LOSS_MIN;
use super::fec::protect::Protector;
use super::fec::recover::{PACKET_LEN_MAX, PENDING_MAX, Parity, Recovery, WINDOW};
use super::tests::{Call, media, vp8_frame};
use super::*;
use crate::random::Random;

const RED: PayloadTypes = PayloadTypes {
    receive: PayloadType(116),
    send: PayloadType(116),
};
const ULPFEC: PayloadTypes = PayloadTypes {
    receive: PayloadType(118),
    send: PayloadType(118),
};
const FLEXFEC: PayloadTypes = PayloadTypes {
    receive: PayloadType(119),
    send: PayloadType(119),
};

fn with_ulpfec() -> Media {
    Media {
        repair: Repair {
            red: Some(RED),
            ulpfec: Some(ULPFEC),
            ..Repair::default()
        },
        ..media("v", Format::Vp8, 10)
    }
}

fn with_flexfec() -> Media {
    Media {
        repair: Repair {
            flexfec: Some(FLEXFEC),
            flexfec_source: Some((Ssrc(10), Ssrc(12))),
            ..Repair::default()
        },
        ..media("v", Format::Vp8, 10)
    }
}

fn with_red() -> Media {
    Media {
        repair: Repair {
            red: Some(RED),
            red_preferred: true,
            ..Repair::default()
        },
        ..media("a", Format::Whole, 30)
    }
}

/// Packets of one source as they leave, each with its number.
fn packets(count: u64, len: impl Fn(u64) -> usize) -> Vec<(u64, Vec<u8>)> {
    let packet = |number: u64| {
        let header = HeaderFields {
            marker: number.is_multiple_of(3),
            payload_type: PayloadType(96),
            sequence_number: SeqNo16((number & 0xffff) as u16),
            timestamp: number as u32 / 3 * 3000,
            ssrc: Ssrc(10),
        };
        let mut out = Vec::new();
        header.write(
            &mut out,
            &ExtensionMap::default(),
            &ExtensionValues::default(),
        );
        out.extend((0..len(number)).map(|at| (at as u64 * 7 + number) as u8));
        (number, out)
    };
    // Across the wrap of sequence numbers.
    (65_500..65_500 + count).map(packet).collect()
}

fn schemes() -> [Scheme; 2] {
    let (red, fec) = (RED.send, ULPFEC.send);
    let (ssrc, flexfec) = (Ssrc(12), FLEXFEC.send);
    [
        Scheme::Ulpfec { red, fec },
        Scheme::Flexfec { ssrc, fec: flexfec },
    ]
}

fn parity(scheme: Scheme, payload: &[u8]) -> Result<Parity, &'static str> {
    match scheme {
        Scheme::Ulpfec { .. } => Parity::ulpfec(&payload[1..]),
        Scheme::Flexfec { .. } => Parity::flexfec(payload).map(|(parity, _)| parity),
    }
}

/// Everything that can be made again now.
fn recovered(recovery: &mut Recovery) -> Vec<(u64, Vec<u8>)> {
    std::iter::from_fn(|| recovery.poll())
        .filter_map(Result::ok)
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever is lost and in whatever order the rest comes: what is made again is what was sent,
    /// once, and one loss for each FEC packet that arrives is always repaired.
    #[test]
    fn what_is_made_again_is_what_was_sent(
        count in 1u64..120, parities in 1usize..12, lost in prop::collection::vec(prop::bool::weighted(0.1), 132),
        flip in any::<bool>(), seed in any::<u8>(),
    ) {
        for scheme in schemes() {
            let sent = packets(count, |number| 20 + (number as usize * 31 + usize::from(seed)) % 1000);
            let mut protector = Protector::default();
            sent.iter().for_each(|(_, packet)| protector.add(packet, None));
            let parities = parities.min(count as usize);
            protector.finish(scheme, parities);
            let made: Vec<_> = std::iter::from_fn(|| protector.pop()).collect();
            prop_assert_eq!(made.len(), parities);
            let mut recovery = Recovery::new(Ssrc(10));
            // One FEC packet of no use, so that packets are kept.
            let newest = sent[sent.len() - 1].0;
            let arrived: Vec<_> = sent.iter().zip(&lost).filter(|(_, lost)| !**lost).map(|(own, _)| own).collect();
            let mut out = Vec::new();
            let media = |recovery: &mut Recovery| {
                let mut got = Vec::new();
                for (number, packet) in &arrived {
                    recovery.handle_media(*number, packet);
                    got.extend(recovered(recovery));
                }
                got
            };
            recovery.handle_parity(newest, parity(scheme, &made[0]).unwrap()).unwrap();
            out.extend(recovered(&mut recovery));
            if !flip {
                out.extend(media(&mut recovery));
            }
            for (payload, lost) in made.iter().zip(&lost[120..]).skip(1) {
                if !lost {
                    recovery.handle_parity(newest, parity(scheme, payload).unwrap()).unwrap();
                    out.extend(recovered(&mut recovery));
                }
            }
            if flip {
                out.extend(media(&mut recovery));
            }
            for (number, packet) in &out {
                prop_assert_eq!(packet, &sent[(number - 65_500) as usize].1);
            }
            let missing: Vec<u64> = sent.iter().zip(&lost).filter(|(_, lost)| **lost).map(|(own, _)| own.0).collect();
            let mut numbers: Vec<u64> = out.iter().map(|(number, _)| *number).collect();
            if missing.len() == 1 && lost[120..].iter().all(|lost| !lost) {
                prop_assert!(numbers.contains(&missing[0]));
            }
            numbers.sort_unstable();
            numbers.dedup();
            prop_assert_eq!(numbers.len(), out.len());
        }
    }

    /// Any bytes as FEC: no panic, bounded memory, and never more made than FEC packets came.
    #[test]
    fn hostile_fec_makes_no_more_than_it_costs(payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..80), 1..200)) {
        let sent = packets(40, |_| 30);
        let mut recovery = Recovery::new(Ssrc(10));
        let mut made = 0;
        for (index, payload) in payloads.iter().enumerate() {
            let (number, packet) = &sent[index % 40];
            recovery.handle_media(*number, packet);
            for mut bytes in [payload.clone(), payload.clone()] {
                // Near enough to be looked at.
                if bytes.len() > 20 {
                    bytes[0] &= 0x3f;
                    bytes[2..4].copy_from_slice(&[0xff, 0xd0]);
                    bytes[8..12].copy_from_slice(&[1, 0, 0, 0]);
                }
                if let Ok(parity) = Parity::ulpfec(&bytes) {
                    let _ = recovery.handle_parity(*number, parity);
                }
                if let Ok((parity, _)) = Parity::flexfec(&bytes) {
                    let _ = recovery.handle_parity(*number, parity);
                }
            }
            made += std::iter::from_fn(|| recovery.poll()).count();
            let (kept, pending) = recovery.len();
            prop_assert!(kept <= WINDOW as usize + 128 && pending <= PENDING_MAX);
        }
        prop_assert!(made <= payloads.len() * 4);
    }
}

#[test]
fn packets_and_fec_far_off_or_too_long_are_let_go() {
    let [scheme, _] = schemes();
    let sent = packets(3 * WINDOW, |_| 30);
    let mut recovery = Recovery::new(Ssrc(10));
    let make = |from: usize| {
        let mut protector = Protector::default();
        sent[from..from + 4]
            .iter()
            .for_each(|(_, packet)| protector.add(packet, None));
        protector.finish(scheme, 1);
        parity(scheme, &protector.pop().unwrap()).unwrap()
    };
    recovery.handle_parity(sent[0].0, make(0)).unwrap();
    for (number, packet) in &sent {
        recovery.handle_media(*number, packet);
    }
    assert_eq!(recovery.len(), (WINDOW as usize + 1, 0));
    let newest = sent[sent.len() - 1].0;
    let old = recovery.handle_parity(newest, make(0));
    assert_eq!(old, Err("rtp.fec_out_of_window"));
    assert_eq!(
        Parity::ulpfec(&vec![0; PACKET_LEN_MAX + 1]).err(),
        Some("rtp.fec_too_long")
    );
}

/// Tells both sides that a tenth of what they send is lost.
fn report_loss(call: &mut Call, loss: f64) {
    for side in 0..2 {
        let now = call.now;
        let ssrcs: Vec<Ssrc> = call.sides[side]
            .media
            .iter()
            .map(|own| own.encodings[0].ssrc)
            .collect();
        for ssrc in ssrcs {
            let block = ReportBlock {
                ssrc,
                fraction_lost: (loss * 256.0) as u8,
                cumulative_lost: 0,
                extended_highest_sequence: 0,
                jitter: 0,
                last_sr: 0,
                delay_since_last_sr: 0,
            };
            let report = ReceiverReport {
                ssrc: Ssrc(1),
                reports: vec![block],
            };
            let mut bytes = Vec::new();
            report.write(&mut bytes);
            (0..4).for_each(|_| call.sides[side].handle_rtcp(now, &bytes));
        }
    }
}

#[test]
fn video_is_repaired_over_a_path_too_long_for_retransmission() {
    for (name, section) in [("ulpfec", with_ulpfec()), ("flexfec", with_flexfec())] {
        let mut call = Call::new(3, &[section]);
        call.delay = Duration::from_millis(200);
        call.send(0, "v", 0, &vp8_frame(0, true, 3000));
        call.run(Duration::from_millis(1000));
        report_loss(&mut call, 0.1);
        call.loss_percent = 10;
        for number in 1..300u32 {
            let key = call.takes_key_frame_request(0);
            call.send(0, "v", number * 3000, &vp8_frame(number, key, 5000));
            call.run(Duration::from_millis(33));
        }
        call.run(Duration::from_millis(2000));
        let sent = call.sides[0].outbound_stats().next().unwrap().clone();
        let got = call.sides[1].inbound_stats().next().unwrap();
        assert!(sent.fec_packets_sent > 300, "{name}: {sent:?}");
        assert!(
            got.fec_packets_received * 10 > sent.fec_packets_sent * 8,
            "{name}"
        );
        assert!(got.packets_recovered > 50, "{name}: {got:?}");
        assert_eq!(got.fec_ssrc.is_some(), name == "flexfec");
        let frames = call.frames(1);
        for pair in frames.windows(2) {
            assert!(pair[0].timestamp < pair[1].timestamp, "{name}");
        }
        for frame in &frames {
            let number = frame.timestamp / 3000;
            let expected = vp8_frame(
                number,
                frame.key_frame,
                if number == 0 { 3000 } else { 5000 },
            );
            assert!(frame.data == expected, "{name}: frame {number}");
        }
        assert!(
            frames.len() > 220,
            "{name}: {} {sent:?} {got:?}",
            frames.len()
        );
        let counters = call.sides[1].counters();
        for reason in [
            "rtp.recovered_malformed",
            "rtp.recovered_payload_type",
            "rtp.fec_bad_length",
        ] {
            assert_eq!(counters.get(reason), 0, "{name} {reason}");
        }
    }
}

#[test]
fn nothing_is_protected_without_loss_and_sound_goes_alone() {
    let mut call = Call::new(3, &[with_flexfec(), with_red()]);
    report_loss(&mut call, LOSS_MIN / 4.0);
    for number in 0..50u32 {
        call.send(0, "v", number * 3000, &vp8_frame(number, number == 0, 5000));
        call.send(0, "a", number * 960, &[number as u8; 50]);
        call.run(Duration::from_millis(20));
    }
    for stats in call.sides[0].outbound_stats() {
        assert_eq!((stats.fec_packets_sent, stats.fec_bytes_sent), (0, 0));
    }
}

#[test]
fn sound_in_red_comes_in_order_and_once() {
    for (percent, at_least) in [(10, 990), (20, 970)] {
        let mut call = Call::new(7, &[with_red()]);
        report_loss(&mut call, f64::from(percent) / 100.0);
        call.loss_percent = percent;
        for number in 0..1000u32 {
            call.send(0, "a", number * 960, &[number as u8; 50]);
            call.run(Duration::from_millis(20));
        }
        call.run(Duration::from_millis(500));
        let frames = call.frames(1);
        for pair in frames.windows(2) {
            assert!(pair[0].timestamp < pair[1].timestamp);
        }
        for frame in &frames {
            assert_eq!(frame.data, [(frame.timestamp / 960) as u8; 50]);
            assert_eq!(frame.payload_type, PayloadType(111));
        }
        assert!(frames.len() >= at_least, "{percent} %: {}", frames.len());
        let stats = call.sides[1].inbound_stats().next().unwrap();
        assert!(stats.packets_recovered as u32 > 7 * percent, "{stats:?}");
        assert!(stats.fec_packets_discarded > 0);
        // What the path lost is reported, repaired or not.
        assert!(stats.packets_lost as u32 > 7 * percent);
    }
}

fn raw(payload_type: u8, sequence: u16, timestamp: u32, ssrc: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![0x80, payload_type];
    out.extend(sequence.to_be_bytes());
    out.extend(timestamp.to_be_bytes());
    out.extend(ssrc.to_be_bytes());
    out.extend(payload);
    out
}

/// What FEC for packets of a source, some of them never sent, makes of a session that has the others.
#[test]
fn nothing_recovered_begins_a_stream_or_is_what_it_may_not_be() {
    let now = Call::new(1, &[]).now;
    let fresh = || {
        let mut session = Session::new(Random::new([1; 32]));
        session.configure(vec![with_flexfec()]);
        session.handle_rtp(now, &raw(96, 1, 3000, 77, &[0x10, 0x10, 1, 2, 3]));
        session
    };
    let fec = |missing: &[u8]| {
        let there = raw(96, 1, 3000, 77, &[0x10, 0x10, 1, 2, 3]);
        let mut payload = Vec::new();
        let made = Flexfec::protect(&[&there, missing]).unwrap();
        made.write(&mut payload);
        raw(119, 1, 0, 99, &payload)
    };
    // For nobody: the source that it protects is none.
    let mut session = Session::new(Random::new([1; 32]));
    session.configure(vec![with_flexfec()]);
    session.handle_rtp(now, &fec(&raw(96, 2, 3000, 77, &[1, 2])));
    assert_eq!(session.counters().get("rtp.fec_unknown_source"), 1);
    assert_eq!(session.inbound_stats().count(), 0);
    // The first FEC packet comes after what it needs: from then on packets are kept.
    for (missing, reason) in [
        (raw(97, 3, 3000, 77, &[1, 2]), "rtp.recovered_payload_type"),
        (raw(119, 3, 3000, 77, &[1, 2]), "rtp.recovered_payload_type"),
        (
            raw(96, 3, 0x4000_0000, 77, &[1, 2]),
            "rtp.recovered_timestamp",
        ),
    ] {
        let mut session = fresh();
        let there = raw(96, 2, 3000, 77, &[0, 9, 9]);
        let mut payload = Vec::new();
        Flexfec::protect(&[&there, &missing])
            .unwrap()
            .write(&mut payload);
        session.handle_rtp(now, &raw(119, 1, 0, 99, &payload));
        session.handle_rtp(now, &there);
        assert_eq!(session.counters().get(reason), 1, "{reason}");
        let stats = session.inbound_stats().next().unwrap();
        assert_eq!(stats.packets_recovered, 0);
        assert_eq!(
            (stats.fec_packets_received, stats.fec_ssrc),
            (1, Some(Ssrc(99)))
        );
    }
    // A good one is taken, and what then comes late is of no use.
    let mut session = fresh();
    let there = raw(96, 2, 3000, 77, &[0, 9, 9]);
    let missing = raw(96, 3, 3000, 77, &[0, 7, 7]);
    let mut payload = Vec::new();
    Flexfec::protect(&[&there, &missing])
        .unwrap()
        .write(&mut payload);
    session.handle_rtp(now, &raw(119, 1, 0, 99, &payload));
    session.handle_rtp(now, &there);
    session.handle_rtp(now, &missing);
    let stats = session.inbound_stats().next().unwrap();
    assert_eq!((stats.packets_recovered, stats.packets_discarded), (1, 1));
}

#[test]
fn fec_in_red_begins_no_stream_and_older_blocks_without_a_place_are_left_out() {
    let now = Call::new(1, &[]).now;
    let mut session = Session::new(Random::new([1; 32]));
    session.configure(vec![with_ulpfec(), {
        let mut audio = with_red();
        audio.repair.red = Some(PayloadTypes {
            receive: PayloadType(63),
            send: PayloadType(63),
        });
        audio
    }]);
    session.handle_rtp(now, &raw(116, 1, 0, 77, &[118, 1, 2, 3]));
    assert_eq!(session.counters().get("rtp.unknown_payload_type"), 1);
    session.handle_rtp(now, &raw(63, 1, 0, 78, &[0x80 | 111, 0]));
    assert_eq!(session.counters().get("rtp.red_malformed"), 1);
    assert_eq!(session.inbound_stats().count(), 0);
    let red = |number: u16, timestamp: u32, offsets: &[u16]| {
        let redundant = offsets.iter().map(|offset| Redundant {
            payload_type: PayloadType(111),
            timestamp_offset: *offset,
            data: &[1, 2, 3],
        });
        let red = Red {
            redundant: redundant.collect(),
            payload_type: PayloadType(111),
            data: &[9],
        };
        let mut payload = Vec::new();
        red.write(&mut payload).unwrap();
        raw(63, number, timestamp, 78, &payload)
    };
    // Before the first packet, at times between two packets that follow each other, and twice.
    session.handle_rtp(now, &red(10, 96_000, &[1920, 960]));
    session.handle_rtp(now, &red(11, 96_960, &[500, 960]));
    session.handle_rtp(now, &red(13, 98_880, &[960, 960, 960]));
    let mut times = Vec::new();
    while let Some(event) = session.poll_event() {
        if let Event::Frame(frame) = event {
            times.push(frame.timestamp);
        }
    }
    assert_eq!(times, [96_000, 96_960, 97_920, 98_880]);
    let stats = session.inbound_stats().next().unwrap();
    assert_eq!(
        (stats.fec_packets_received, stats.packets_recovered),
        (7, 1)
    );
    assert_eq!(stats.fec_packets_discarded, 6);
    assert_eq!(session.counters().get("rtp.red_without_place"), 3);
}

/// Sends pictures of five packets as packets, of which some numbers are left out where the
/// application states them; answers the numbers and what was sent under each.
fn forward(call: &mut Call, chosen: bool) -> BTreeMap<u16, Vec<u8>> {
    let mut sent = BTreeMap::new();
    let mut number = 65_000u16;
    for picture in 0..300u32 {
        for part in 0..5u8 {
            // What another node lost, or left out.
            number = number.wrapping_add(if picture % 7 == 3 && part == 2 { 2 } else { 1 });
            let mut payload = vec![if part == 0 { 0x10 } else { 0 }];
            payload.extend([u8::from(picture > 0), part]);
            payload.extend(picture.to_be_bytes());
            payload.resize(200 + usize::from(part) * 200, number as u8);
            let packet = OutgoingPacket {
                rid: None,
                payload_type: PayloadType(96),
                sequence_number: chosen.then_some(SeqNo16(number)),
                sampled_at: None,
                timestamp: picture * 3000,
                marker: part == 4,
                payload: Payload::Bytes(&payload),
                audio_level: None,
                dependency_descriptor: None,
                playout_delay: None,
                layers_allocation: None,
                picture: PictureProperties::default(),
                provenance: None,
            };
            let now = call.now;
            call.sides[0]
                .send_packet(now, &Mid::from("v"), &packet)
                .unwrap();
            sent.insert(number, payload);
            call.flush();
        }
        if picture == 5 {
            call.run(Duration::from_millis(1000));
            report_loss(call, 0.1);
            call.loss_percent = 10;
        }
        call.run(Duration::from_millis(33));
    }
    call.run(Duration::from_millis(2000));
    sent
}

#[test]
fn packets_of_a_forwarder_are_protected_and_keep_their_numbers() {
    for (section, chosen, protected) in [
        (with_flexfec(), true, true),
        (with_flexfec(), false, true),
        (with_ulpfec(), true, false),
        (with_ulpfec(), false, true),
    ] {
        let name = format!("{:?}, numbers chosen: {chosen}", section.repair);
        let section = Media {
            delivery: Delivery::Packets,
            ..section
        };
        let mut call = Call::new(3, &[section]);
        // Too far for what is asked for to come soon, so that FEC is the first to bring it.
        call.delay = Duration::from_millis(200);
        let sent = forward(&mut call, chosen);
        let stats = call.sides[0].outbound_stats().next().unwrap().clone();
        assert_eq!(stats.fec_packets_sent > 250, protected, "{name}: {stats:?}");
        let got = call.sides[1].inbound_stats().next().unwrap();
        assert_eq!(got.packets_recovered > 50, protected, "{name}: {got:?}");
        let mut arrived = 0;
        for event in call.take_events(1) {
            let Event::Packet(packet) = event else {
                continue;
            };
            arrived += 1;
            if chosen {
                let number = (packet.number & 0xffff) as u16;
                assert_eq!(sent[&number], *packet.payload, "{name}");
            }
        }
        assert!(arrived * 100 >= sent.len() * 98, "{name}: {arrived}");
        let counters = call.sides[1].counters();
        assert_eq!(counters.get("rtp.recovered_malformed"), 0, "{name}");
    }
}

#[test]
fn a_number_that_the_application_may_choose_is_never_taken_by_fec() {
    let mut call = Call::new(3, &[with_ulpfec()]);
    report_loss(&mut call, 0.2);
    for number in 100..200u16 {
        let now = call.now;
        let packet = OutgoingPacket {
            rid: None,
            payload_type: PayloadType(96),
            sequence_number: Some(SeqNo16(number)),
            sampled_at: None,
            timestamp: u32::from(number) * 3000,
            marker: true,
            payload: Payload::Bytes(&[0x10, 0, 1, 2]),
            audio_level: None,
            dependency_descriptor: None,
            playout_delay: None,
            layers_allocation: None,
            picture: PictureProperties::default(),
            provenance: None,
        };
        let taken = call.sides[0].send_packet(now, &Mid::from("v"), &packet);
        assert_eq!(taken, Ok(()), "{number}");
        call.flush();
    }
}
