//! Single packets: where they go, what is refused, what is bounded.

use std::time::Duration;

use proptest::prelude::*;
use twocan_wire::rtcp::{self, Ecn, Nack, NackEntry, Packet};
use twocan_wire::rtp::Header;
use twocan_wire::seq::SeqNo16;

use super::tests::{Call, media, poll_any, vp8_frame};
use super::*;
use crate::random::Random;
use crate::time::Now;

#[test]
fn a_packet_sent_again_without_rtx_is_the_same_in_every_byte() {
    let mut section = media("v", Format::Vp8, 10);
    section.codecs[0].rtx_send = None;
    let mut call = Call::new(1, &[section]);
    let [session, _] = &mut call.sides;
    let data = vp8_frame(0, true, 500);
    let frame = OutgoingFrame {
        rid: None,
        payload_type: PayloadType(96),
        timestamp: 1,
        marker: false,
        data: &data,
        audio_level: None,
        layer: None,
        resolution: None,
        picture: PictureProperties::default(),
        times: crate::rtp::FrameTimes::default(),
        contributing: &[],
    };
    session
        .send_frame(call.now, &Mid::from("v"), &frame)
        .unwrap();
    let first = packet(session, call.now);
    let sequence = Header::parse(&first).unwrap().sequence_number;
    let later = call.now.at(call.now.monotonic + Duration::from_secs(1));
    session.handle_rtcp(later, &nack(10, sequence, 0));
    assert_eq!(packet(session, later), first);
}

fn packet(session: &mut Session, now: Now) -> Vec<u8> {
    let mut out = Vec::new();
    assert!(poll_any(session, now, &mut out));
    out
}

fn nack(media: u32, first: SeqNo16, following_mask: u16) -> Vec<u8> {
    let entries = vec![NackEntry {
        first,
        following_mask,
    }];
    let mut out = Vec::new();
    Nack {
        sender: Ssrc(9),
        media: Ssrc(media),
        entries,
    }
    .write(&mut out);
    out
}

#[test]
fn a_storm_of_nacks_cannot_take_more_than_its_share() {
    let mut call = Call::new(1, &[media("v", Format::Vp8, 10)]);
    let mut now = call.now;
    let [session, _] = &mut call.sides;
    for number in 0..300u32 {
        let data = vp8_frame(number, number == 0, 4000);
        let frame = OutgoingFrame {
            rid: None,
            payload_type: PayloadType(96),
            timestamp: number * 3000,
            marker: false,
            data: &data,
            audio_level: None,
            layer: None,
            resolution: None,
            picture: PictureProperties::default(),
            times: crate::rtp::FrameTimes::default(),
            contributing: &[],
        };
        session.send_frame(now, &Mid::from("v"), &frame).unwrap();
        let mut out = Vec::new();
        let mut newest = SeqNo16(0);
        while poll_any(session, now, &mut out) {
            let header = Header::parse(&out).unwrap();
            if header.ssrc == Ssrc(10) {
                newest = header.sequence_number;
            }
            out.clear();
        }
        for back in 0..6 {
            session.handle_rtcp(now, &nack(10, newest.sub(17 * (back + 1)), u16::MAX));
        }
        now = now.at(now.monotonic + Duration::from_millis(33));
    }
    let stats = session.outbound_stats().next().unwrap();
    let first = stats.bytes_sent - stats.retransmitted_bytes_sent;
    assert!(stats.retransmitted_bytes_sent <= first / 3 + 64 * 1024);
    assert!(
        stats.retransmitted_bytes_sent > first / 4,
        "the share is used"
    );
}

fn raw(payload_type: u8, sequence: u16, ssrc: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![0x80, payload_type];
    out.extend(sequence.to_be_bytes());
    out.extend([0, 0, 0, 1]);
    out.extend(ssrc.to_be_bytes());
    out.extend(payload);
    out
}

#[test]
fn sources_are_found_by_mid_by_announcement_and_by_payload_type() {
    let mut announced = media("b", Format::Whole, 20);
    announced.remote = vec![(Ssrc(77), None)];
    let mut other = media("c", Format::Whole, 30);
    other.codecs[0].payload_type = PayloadType(8);
    let sections = [media("a", Format::Whole, 10), announced, other];
    let now = Call::new(1, &sections).now;
    let mut session = Session::new(Random::new([1; 32]));
    session.configure(sections.to_vec());
    let mid = [&[0xbe, 0xde, 0, 1, 0x40, b'a', 0, 0][..], &[5]].concat();
    let mut by_mid = raw(111, 1, 55, &mid);
    by_mid[0] |= 0x10;
    session.handle_rtp(now, &by_mid);
    session.handle_rtp(now, &raw(111, 1, 77, &[6]));
    session.handle_rtp(now, &raw(8, 1, 99, &[7]));
    session.handle_rtp(now, &raw(111, 1, 88, &[8]));
    let mut found = Vec::new();
    while let Some(event) = session.poll_event() {
        if let Event::Frame(frame) = event {
            found.push((frame.mid.to_string(), frame.ssrc.0, frame.data));
        }
    }
    let expected = [("a", 55, 5), ("b", 77, 6), ("c", 99, 7)];
    let expected = expected.map(|(mid, ssrc, data)| (mid.to_owned(), ssrc, vec![data]));
    assert_eq!(found, expected);
    assert_eq!(
        session.counters().get("rtp.unknown_source"),
        1,
        "two sections have type 111"
    );
}

#[test]
fn frames_of_a_mixer_name_those_who_contributed() {
    let now = Call::new(1, &[]).now;
    let mut session = Session::new(Random::new([1; 32]));
    session.configure(vec![media("a", Format::Whole, 10)]);
    for (number, sources) in [(1, vec![]), (2, vec![7, 8]), (3, (1..=15).collect())] {
        let mut packet = raw(111, number, 55, &[]);
        packet[0] |= sources.len() as u8;
        packet.extend(sources.iter().copied().flat_map(u32::to_be_bytes));
        packet.push(9);
        session.handle_rtp(now, &packet);
        let frame = std::iter::from_fn(|| session.poll_event()).find_map(|event| match event {
            Event::Frame(frame) => Some(frame),
            _ => None,
        });
        let frame = frame.unwrap();
        let named: Vec<u32> = frame.contributing.iter().map(|own| own.ssrc.0).collect();
        assert_eq!((named, frame.data), (sources, vec![9]));
    }
}

#[test]
fn marks_of_the_path_and_the_time_in_the_queue_are_counted() {
    let now = Call::new(1, &[]).now;
    let mut session = Session::new(Random::new([1; 32]));
    session.configure(vec![media("a", Format::Whole, 10)]);
    let marks = [
        Ecn::NotCapable,
        Ecn::Ect1,
        Ecn::Ect1,
        Ecn::CongestionExperienced,
    ];
    for (number, mark) in (1..).zip(marks) {
        session.handle_marked_rtp(now, &raw(111, number, 55, &[1]), mark);
    }
    let stats = session.inbound_stats().next().unwrap();
    let marked = (
        stats.packets_received_with_ect1,
        stats.packets_received_with_ce,
    );
    assert_eq!(marked, (2, 1));
    let frame = OutgoingFrame {
        rid: None,
        payload_type: PayloadType(111),
        timestamp: 1,
        marker: false,
        data: &[1],
        audio_level: None,
        layer: None,
        resolution: None,
        picture: PictureProperties::default(),
        times: crate::rtp::FrameTimes::default(),
        contributing: &[],
    };
    session.send_frame(now, &Mid::from("a"), &frame).unwrap();
    session.send_frame(now, &Mid::from("a"), &frame).unwrap();
    for waited in [30, 70] {
        packet(
            &mut session,
            now.at(now.monotonic + Duration::from_millis(waited)),
        );
    }
    let stats = session.outbound_stats().next().unwrap();
    assert_eq!(stats.total_packet_send_delay, Duration::from_millis(100));
}

#[test]
fn made_up_sources_are_bounded_and_counted() {
    let now = Call::new(1, &[]).now;
    let mut session = Session::new(Random::new([1; 32]));
    session.configure(vec![media("a", Format::Whole, 10)]);
    for ssrc in 0..1000 {
        session.handle_rtp(now, &raw(111, 1, 1000 + ssrc, &[1]));
    }
    assert_eq!(session.inbound_stats().count(), 128);
    assert_eq!(session.counters().get("rtp.too_many_sources"), 872);
}

#[test]
fn padding_alone_fills_its_place_and_makes_no_frame() {
    let now = Call::new(1, &[]).now;
    let mut session = Session::new(Random::new([1; 32]));
    session.configure(vec![media("v", Format::Vp8, 10)]);
    let mut key = raw(96, 1, 50, &[0x10, 0x10, 1, 2]);
    key[1] |= 0x80;
    let mut padding = raw(96, 2, 50, &[0, 0, 3]);
    padding[0] |= 0x20;
    let mut delta = raw(96, 3, 50, &[0x10, 0x11, 1, 2]);
    delta[1] |= 0x80;
    delta[7] = 2;
    for packet in [key, padding, delta, raw(97, 9, 51, &[])] {
        session.handle_rtp(now, &packet);
    }
    let events = std::iter::from_fn(|| session.poll_event());
    let frames = events
        .filter(|event| matches!(event, Event::Frame(_)))
        .count();
    assert_eq!(frames, 2);
    assert_eq!(session.counters().iter().count(), 0);
}

#[test]
fn frames_that_cannot_be_sent_are_refused_with_the_reason() {
    let mut call = Call::new(
        1,
        &[media("v", Format::Vp8, 10), media("a", Format::Whole, 20)],
    );
    let now = call.now;
    let mut send = |mid: &str, payload_type, data: &[u8]| {
        let frame = OutgoingFrame {
            rid: None,
            payload_type: PayloadType(payload_type),
            timestamp: 0,
            marker: false,
            data,
            audio_level: None,
            layer: None,
            resolution: None,
            picture: PictureProperties::default(),
            times: crate::rtp::FrameTimes::default(),
            contributing: &[],
        };
        call.sides[0].send_frame(now, &Mid::from(mid), &frame)
    };
    assert_eq!(send("x", 96, &[1]), Err(SendError::NotSending));
    assert_eq!(send("v", 98, &[1]), Err(SendError::UnknownCodec));
    assert_eq!(
        send("v", 96, &[]),
        Err(SendError::BadFrame(PayloadError::Empty))
    );
    assert_eq!(
        send("a", 111, &[0; 1276]),
        Err(SendError::BadFrame(PayloadError::TooLong))
    );
    let big = vec![0; 1024 * 1024 + 1];
    assert_eq!(send("v", 96, &big), Ok(()));
    assert_eq!(send("v", 96, &big), Err(SendError::QueueFull));
}

#[test]
fn feedback_without_reduced_size_begins_with_a_report() {
    let mut section = media("v", Format::Vp8, 10);
    section.rtcp_rsize = false;
    let mut session = Session::new(Random::new([1; 32]));
    session.configure(vec![section]);
    let mut now = Call::new(1, &[]).now;
    for sequence in [1, 3] {
        session.handle_rtp(now, &raw(96, sequence, 50, &[0x10, 0x11, 1]));
        let mut out = Vec::new();
        while session.poll_rtcp(now, &mut out) {}
        now = now.at(now.monotonic + Duration::from_millis(5));
    }
    let mut out = Vec::new();
    assert!(session.poll_rtcp(now, &mut out));
    let kinds: Vec<_> = rtcp::packets(&out).map(Result::unwrap).collect();
    assert!(
        matches!(
            &kinds[..],
            [
                Packet::ReceiverReport(_),
                Packet::Sdes(_),
                Packet::Nack(_),
                ..
            ]
        ),
        "{kinds:?}"
    );
}

proptest! {
    #[test]
    fn hostile_packets_never_panic_and_timers_end(
        packets in prop::collection::vec((any::<bool>(), any::<u16>(), 0u8..4, prop::collection::vec(any::<u8>(), 0..60)), 0..60),
    ) {
        let sections = [media("v", Format::Vp8, 10), media("a", Format::Whole, 20), media("h", Format::H264(PacketizationMode::NonInterleaved), 30)];
        let mut call = Call::new(1, &sections);
        for (control, sequence, source, bytes) in packets {
            let now = call.now;
            if control {
                let mut bytes = bytes;
                bytes.resize(bytes.len().next_multiple_of(4).max(8), 0);
                bytes[0] = 0x80 | (bytes[0] & 0x1f);
                bytes[1] = 200 + bytes[1] % 8;
                bytes[2] = 0;
                bytes[3] = (bytes.len() / 4 - 1) as u8;
                call.sides[0].handle_rtcp(now, &bytes);
            } else {
                let number = [96, 97, 111, 0x80 | 96][usize::from(source)];
                call.sides[0].handle_rtp(now, &raw(number, sequence, u32::from(source), &bytes));
            }
            call.flush();
            call.run(Duration::from_millis(7));
        }
        call.run(Duration::from_secs(3));
    }
}
