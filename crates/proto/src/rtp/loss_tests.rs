//! Frames and packets over a path that loses some of them.

use std::collections::BTreeMap;
use std::time::Duration;

use super::tests::{Call, MakeFrame, media, vp8_frame};
use super::*;

fn h264_frame(number: u32, key: bool, len: usize) -> Vec<u8> {
    let mut frame = Vec::new();
    if key {
        frame.extend([0, 0, 0, 1, 0x67, 1, 2, 0, 0, 0, 1, 0x68, 3]);
    }
    frame.extend([0, 0, 0, 1, if key { 0x65 } else { 0x41 }]);
    frame.extend(std::iter::repeat_n((number % 250 + 1) as u8, len));
    frame
}

fn vp9_frame(number: u32, key: bool, len: usize) -> Vec<u8> {
    let mut frame = vec![if key { 0x82 } else { 0x86 }];
    frame.extend(number.to_be_bytes());
    frame.resize(len.max(6), number as u8);
    frame
}

/// A frame OBU in the low-overhead format, for a key frame with a sequence header before it.
fn av1_frame(number: u32, key: bool, len: usize) -> Vec<u8> {
    let mut frame = Vec::new();
    if key {
        frame.extend([0x0a, 3, 0, 0, 0]);
    }
    // A size in two bytes of LEB128.
    frame.extend([0x32, 0x80 | (len & 0x7f) as u8, (len >> 7) as u8]);
    let start = frame.len();
    frame.push(if key { 0x10 } else { 0x30 });
    frame.extend(number.to_be_bytes());
    frame.resize(start + len, number as u8);
    frame
}

fn h265_frame(number: u32, key: bool, len: usize) -> Vec<u8> {
    let mut frame = Vec::new();
    if key {
        frame.extend([
            0, 0, 0, 1, 0x40, 1, 1, 0, 0, 0, 1, 0x42, 1, 2, 0, 0, 0, 1, 0x44, 1, 3,
        ]);
    }
    frame.extend([0, 0, 0, 1, if key { 0x26 } else { 0x02 }, 1]);
    frame.extend(std::iter::repeat_n((number % 250 + 1) as u8, len));
    frame
}

/// Frames of every codec of video.
const MAKES: [(Format, MakeFrame); 5] = [
    (Format::Vp8, vp8_frame),
    (Format::Vp9, vp9_frame),
    (Format::Av1, av1_frame),
    (Format::H264(PacketizationMode::NonInterleaved), h264_frame),
    (Format::H265, h265_frame),
];

#[test]
fn lost_packets_are_retransmitted_and_every_frame_arrives_in_order() {
    for (format, make) in MAKES {
        for (seed, has_rtx) in [(1, true), (2, true), (3, false), (4, false)] {
            let mut section = media("v", format, 10);
            if !has_rtx {
                section.codecs[0].rtx = None;
                section.codecs[0].rtx_send = None;
            }
            let mut call = Call::new(seed, &[section]);
            call.loss_percent = 5;
            call.jitter_ms = 3;
            let first = make(0, true, 100);
            // The first packet of all: were it lost, only a new key frame could help.
            call.loss_percent = 0;
            call.send(0, "v", 0, &first);
            call.run(Duration::from_millis(30));
            call.loss_percent = 5;
            let sent: Vec<Vec<u8>> = (1..120)
                .map(|number| {
                    let data = make(number, false, 200 + (number as usize * 977) % 6000);
                    call.send(0, "v", number * 3000, &data);
                    call.run(Duration::from_millis(33));
                    data
                })
                .collect();
            call.loss_percent = 0;
            // The last packets may be lost; nothing after them shows that.
            call.send(0, "v", 120 * 3000, &make(120, false, 100));
            call.run(Duration::from_secs(2));
            let frames = call.frames(1);
            assert_eq!(frames.len(), 121, "{format:?} seed {seed} rtx {has_rtx}");
            for (frame, sent) in frames[1..].iter().zip(&sent) {
                assert_eq!(
                    &frame.data, sent,
                    "{format:?} seed {seed} at {}",
                    frame.timestamp
                );
                assert_eq!(frame.lost_before, 0);
            }
            let outbound = call.sides[0].outbound_stats().next().unwrap();
            assert!(outbound.retransmitted_packets_sent > 5);
            assert!(outbound.nack_count > 0);
            let inbound = call.sides[1].inbound_stats().next().unwrap();
            let repaired = inbound.retransmitted_packets_received;
            assert_eq!(repaired > 0, has_rtx);
            assert_eq!(inbound.pli_count, 0);
        }
    }
}

#[test]
fn packets_arrive_as_they_were_sent_in_whatever_order_and_losses_are_repaired() {
    for (seed, has_rtx) in [(1, true), (2, true), (3, false), (4, false)] {
        let mut section = media("v", Format::Vp8, 10);
        section.delivery = Delivery::Packets;
        if !has_rtx {
            section.codecs[0].rtx = None;
            section.codecs[0].rtx_send = None;
        }
        let mut call = Call::new(seed, &[section]);
        call.jitter_ms = 3;
        let payload = |number: u16| {
            let mut payload = vec![0x10; 20 + usize::from(number) % 900];
            payload[..2].copy_from_slice(&number.to_be_bytes());
            payload
        };
        let mut sent = BTreeMap::new();
        for step in 0..600u16 {
            // As a forwarder does: a gap now and then, of which every second is filled late; and
            // now and then a number twice.
            let number = match step % 40 {
                17 => continue,
                20 => step - 3,
                23 => step - 1,
                _ => step,
            };
            if step % 80 == 20 {
                continue;
            }
            let number = number.wrapping_add(65_000);
            let timestamp = u32::from(step) * 900;
            let packet = OutgoingPacket {
                playout_delay: None,
                layers_allocation: None,
                rid: None,
                payload_type: PayloadType(96),
                sequence_number: Some(SeqNo16(number)),
                sampled_at: None,
                timestamp,
                marker: step % 3 == 0,
                payload: Payload::Bytes(&payload(number)),
                audio_level: None,
                dependency_descriptor: None,
                picture: PictureProperties::default(),
                provenance: None,
            };
            call.loss_percent = if (1..590).contains(&step) { 5 } else { 0 };
            let now = call.now;
            let taken = call.sides[0].send_packet(now, &Mid::from("v"), &packet);
            let before = sent.insert(number, (timestamp, step % 3 == 0));
            match before {
                None => assert_eq!(taken, Ok(())),
                Some(before) => {
                    assert_eq!(taken, Err(SendError::SequenceNumberUsed));
                    sent.insert(number, before);
                }
            }
            call.flush();
            call.run(Duration::from_millis(10));
        }
        call.loss_percent = 0;
        call.run(Duration::from_secs(2));
        let mut repaired = 0;
        for event in &call.events[1] {
            let Event::Packet(packet) = event else {
                assert!(!matches!(event, Event::Frame(_)));
                continue;
            };
            repaired += u32::from(packet.is_retransmission);
            let number = (packet.number & 0xffff) as u16;
            let expected = sent.remove(&number);
            assert_eq!(
                expected,
                Some((packet.timestamp, packet.marker)),
                "seed {seed}"
            );
            assert_eq!(*packet.payload, payload(number));
        }
        assert!(sent.is_empty(), "seed {seed}: {sent:?} never arrived");
        assert_eq!(repaired > 0, has_rtx);
    }
}

#[test]
fn without_retransmission_video_goes_on_with_the_key_frame_that_it_asks_for() {
    for (format, make) in MAKES {
        go_on_with_a_key_frame(format, make);
    }
}

fn go_on_with_a_key_frame(format: Format, make: MakeFrame) {
    let mut section = media("v", format, 10);
    section.codecs[0].nack = false;
    let mut call = Call::new(1, &[section]);
    let mut want_key = true;
    for number in 0..100 {
        call.loss_percent = if number == 30 { 100 } else { 0 };
        let data = make(number, std::mem::take(&mut want_key), 3000);
        call.send(0, "v", number * 3000, &data);
        call.loss_percent = 0;
        call.run(Duration::from_millis(33));
        let asked = call.events[0]
            .iter()
            .any(|own| matches!(own, Event::KeyFrameRequested { .. }));
        if asked {
            call.events[0].clear();
            want_key = true;
        }
    }
    let frames = call.frames(1);
    let keys: Vec<u32> = frames
        .iter()
        .filter(|own| own.key_frame)
        .map(|own| own.lost_before)
        .collect();
    assert_eq!(
        keys,
        [0, 3],
        "{format:?}: one frame of three packets was lost"
    );
    assert!(frames.len() > 88, "{format:?}: {}", frames.len());
    let stats = call.sides[1].inbound_stats().next().unwrap();
    assert_eq!((stats.pli_count, stats.packets_lost), (1, 3));
}

#[test]
fn sound_goes_on_after_a_loss_and_says_how_much_is_missing() {
    let mut call = Call::new(1, &[media("a", Format::Whole, 10)]);
    for number in 0..100u32 {
        call.loss_percent = if (40..42).contains(&number) { 100 } else { 0 };
        call.send(0, "a", number * 960, &number.to_be_bytes());
        call.loss_percent = 0;
        call.run(Duration::from_millis(20));
    }
    call.run(Duration::from_millis(200));
    let frames = call.frames(1);
    assert_eq!(frames.len(), 98);
    let gaps: Vec<(u32, u32)> = frames
        .iter()
        .filter(|frame| frame.lost_before > 0)
        .map(|frame| (frame.timestamp / 960, frame.lost_before))
        .collect();
    assert_eq!(gaps, [(42, 2)]);
}
