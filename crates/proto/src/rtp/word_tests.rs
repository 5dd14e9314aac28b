//! What packets say of more than themselves: between which delays to play, and which layers there
//! are.

use std::time::Duration;

use twocan_wire::rtp::{ExtensionKind, SpatialLayer};
use twocan_wire::units::Bitrate;

use super::tests::{Call, media, vp8_frame};
use super::*;

const BOUNDS: PlayoutDelay = PlayoutDelay { min: 20, max: 40 };

fn section() -> Media {
    let mut section = media("v", Format::Vp8, 10);
    for (id, kind) in [
        (5, ExtensionKind::PlayoutDelay),
        (6, ExtensionKind::VideoLayersAllocation),
    ] {
        section.extensions_send.insert(kind, id);
        section.extensions_receive.insert(kind, id);
    }
    section
}

fn show(call: &mut Call, numbers: std::ops::Range<u32>, key_every: u32) -> Vec<Frame> {
    let before = call.frames(1).len();
    for number in numbers {
        let key = number % key_every == 0 || call.takes_key_frame_request(0);
        call.send(0, "v", number * 3000, &vp8_frame(number, key, 3000));
        call.run(Duration::from_millis(33));
    }
    call.run(Duration::from_millis(500));
    call.frames(1).into_iter().skip(before).cloned().collect()
}

#[test]
fn frames_have_the_bounds_that_the_sender_states_and_keep_to_the_last() {
    for loss in [0, 5] {
        let mut call = Call::new(4, &[section()]);
        call.loss_percent = loss;
        let mid = Mid::from("v");
        let frames = show(&mut call, 0..20, 1000);
        assert!(frames.iter().all(|frame| frame.playout_delay.is_none()));
        call.sides[0].set_playout_delay(&mid, None, Some(BOUNDS));
        let frames = show(&mut call, 20..120, 1000);
        let last = frames.iter().rev().take(50);
        assert!(!frames.is_empty());
        for frame in last {
            assert_eq!(frame.playout_delay, Some(BOUNDS), "{}", frame.timestamp);
        }
        // Taken back, it is anything that the receiver finds right.
        call.sides[0].set_playout_delay(&mid, None, None);
        let frames = show(&mut call, 120..200, 1000);
        let any = PlayoutDelay {
            min: 0,
            max: PlayoutDelay::MAX,
        };
        assert_eq!(frames.last().and_then(|own| own.playout_delay), Some(any));
    }
}

#[test]
fn bounds_cost_bytes_only_until_they_are_known_and_with_key_frames() {
    let len = |bounds: Option<PlayoutDelay>| {
        let mut call = Call::new(4, &[section()]);
        call.sides[0].set_playout_delay(&Mid::from("v"), None, bounds);
        // Reports come within a second.
        show(&mut call, 0..100, 1000);
        let headers = |call: &Call| {
            let stats = call.sides[0].outbound_stats().next().unwrap();
            (stats.header_bytes_sent, stats.packets_sent)
        };
        let start = headers(&call);
        show(&mut call, 100..160, 50);
        let end = headers(&call);
        (start.0, end.0 - start.0, end.1 - start.1)
    };
    let ((said, after, packets), (unsaid, plain, same)) = (len(Some(BOUNDS)), len(None));
    assert!(said > unsaid, "{said} {unsaid}");
    assert_eq!(packets, same);
    // The first packet of each of the two key frames alone.
    assert_eq!(after, plain + 2 * 4);
}

#[test]
fn what_contradicts_itself_changes_nothing() {
    let mut call = Call::new(4, &[section()]);
    call.sides[0].set_playout_delay(&Mid::from("v"), None, Some(BOUNDS));
    show(&mut call, 0..10, 1000);
    let absurd = PlayoutDelay { min: 50, max: 3 };
    call.sides[0].set_playout_delay(&Mid::from("v"), None, Some(absurd));
    let frames = show(&mut call, 10..20, 1000);
    assert!(frames.iter().all(|own| own.playout_delay == Some(BOUNDS)));
}

#[test]
fn forwarders_are_handed_what_packets_say_and_can_say_it_on() {
    let mut section = section();
    section.delivery = Delivery::Packets;
    let mut call = Call::new(4, &[section]);
    let allocation = VideoLayersAllocation {
        stream: 0,
        stream_count: 2,
        layers: vec![
            SpatialLayer {
                stream: 0,
                spatial: 0,
                bitrates: vec![Bitrate::kbps(100), Bitrate::kbps(150)],
                resolution: None,
            },
            SpatialLayer {
                stream: 1,
                spatial: 0,
                bitrates: vec![Bitrate::kbps(700)],
                resolution: None,
            },
        ],
    };
    let send = |call: &mut Call, number: u16, allocation, playout_delay| {
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
            playout_delay,
            layers_allocation: allocation,
            picture: PictureProperties::default(),
            provenance: None,
        };
        let now = call.now;
        let sent = call.sides[0].send_packet(now, &Mid::from("v"), &packet);
        call.flush();
        call.run(Duration::from_millis(50));
        sent
    };
    send(&mut call, 1, Some(&allocation), Some(BOUNDS)).unwrap();
    send(&mut call, 2, None, None).unwrap();
    let mut impossible = allocation.clone();
    impossible.stream = 3;
    let refused = send(&mut call, 3, Some(&impossible), None);
    assert!(
        matches!(refused, Err(SendError::BadAllocation(_))),
        "{refused:?}"
    );
    let mut packets = Vec::new();
    let mut told = Vec::new();
    for event in call.take_events(1) {
        match event {
            Event::Packet(own) => packets.push((own.layers_allocation, own.playout_delay)),
            Event::LayersAllocated { mid, allocation } => told.push((mid, allocation)),
            _ => {}
        }
    }
    assert_eq!(
        packets,
        [(Some(allocation.clone()), Some(BOUNDS)), (None, None)]
    );
    assert_eq!(told, [(Mid::from("v"), allocation)]);
}

#[test]
fn an_allocation_that_is_none_is_counted_and_its_packet_taken() {
    let mut session = Session::new(crate::random::Random::new([1; 32]));
    session.configure(vec![section()]);
    let now = Call::new(1, &[]).now;
    // One element of one byte, which names a stream beyond the count.
    let mut packet = vec![0x90, 0x80 | 96, 0, 1, 0, 0, 0, 1, 0, 0, 0, 50];
    packet.extend([0xbe, 0xde, 0, 1, 0x60, 0xc0, 0, 0]);
    packet.extend([0x10, 0x10, 1, 2]);
    session.handle_rtp(now, &packet);
    assert_eq!(session.counters().get("rtp.bad_layers_allocation"), 1);
    let frames = std::iter::from_fn(|| session.poll_event());
    assert_eq!(
        frames.filter(|own| matches!(own, Event::Frame(_))).count(),
        1
    );
}
