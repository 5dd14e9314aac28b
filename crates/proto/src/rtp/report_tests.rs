//! What sessions tell each other about the path, and about their ends.

use std::time::Duration;

use super::tests::{Call, media, send_video, vp8_frame};
use super::*;
use crate::random::Random;

#[test]
fn reports_tell_loss_and_round_trip_time() {
    let mut call = Call::new(1, &[media("a", Format::Whole, 10)]);
    call.delay = Duration::from_millis(50);
    for number in 0..400u32 {
        call.loss_percent = if number % 10 == 0 { 100 } else { 0 };
        call.send(0, "a", number * 960, &[1; 80]);
        call.loss_percent = 0;
        call.run(Duration::from_millis(20));
    }
    call.run(Duration::from_secs(3));
    let stats = call.sides[0].outbound_stats().next().unwrap();
    assert_eq!(
        (stats.packets_sent, stats.bytes_sent, stats.frames_sent),
        (400, 32_000, 400)
    );
    let remote = stats.remote.unwrap();
    assert_eq!(
        remote.packets_lost, 39,
        "the very first was before the beginning"
    );
    assert_eq!(remote.packets_received, 361);
    let rtt = remote.round_trip_time.unwrap();
    assert!(
        rtt.abs_diff(Duration::from_millis(100)) < Duration::from_millis(2),
        "{rtt:?}"
    );
    assert!(remote.round_trip_time_measurements > 0);
    let mean = remote.total_round_trip_time / remote.round_trip_time_measurements as u32;
    assert!(mean.abs_diff(Duration::from_millis(100)) < Duration::from_millis(2));
    let inbound = call.sides[1].inbound_stats().next().unwrap();
    let sender = inbound.remote.unwrap();
    assert_eq!((sender.packets_sent, sender.bytes_sent), (400, 32_000));
    assert!(sender.reports_sent > 1);
    assert_eq!(inbound.packets_received, 360);
    assert!(
        inbound.jitter < Duration::from_millis(1),
        "{:?}",
        inbound.jitter
    );
}

#[test]
fn the_first_measured_round_trip_counts_and_later_ones_are_averaged() {
    let mut session = Session::new(Random::new([1; 32]));
    let ms = Duration::from_millis(1);
    assert_eq!(session.rtt, ms * 100, "until one is measured");
    for (measured, expected) in [(20, 20), (100, 30), (30, 30)] {
        session.set_round_trip_time(ms * measured);
        assert_eq!(session.rtt, ms * expected);
    }
}

#[test]
fn transport_feedback_accounts_for_every_packet() {
    let mut call = Call::new(1, &[media("v", Format::Vp8, 10)]);
    send_video(&mut call, vp8_frame);
    call.run(Duration::from_secs(1));
    let stats = call.sides[0].transport_stats();
    let sent = call.sides[0].outbound_stats().next().unwrap().packets_sent;
    assert_eq!((stats.packets_arrived, stats.packets_missing), (sent, 0));
    assert!(stats.feedback_received >= 30, "about ten a second");
    assert_eq!(
        stats.feedback_received,
        call.sides[1].transport_stats().feedback_sent
    );
}

#[test]
fn a_section_that_sends_again_goes_on_with_the_next_number() {
    let sections = [media("a", Format::Whole, 10)];
    let mut call = Call::new(1, &sections);
    call.sides[1].set_delivery(&Mid::from("a"), Delivery::Packets);
    let mut timestamp = 0;
    for round in 0..4u64 {
        call.send(0, "a", timestamp, &[1]);
        timestamp += 960;
        call.run(Duration::from_millis(100));
        let stats = call.sides[0].outbound_stats().next().unwrap();
        assert_eq!(stats.packets_sent, round + 1);
        call.sides[0].configure(Vec::new());
        call.flush();
        call.run(Duration::from_millis(100));
        call.sides[0].configure(sections.to_vec());
    }
    let numbers: Vec<u64> = call.events[1]
        .iter()
        .filter_map(|event| match event {
            Event::Packet(packet) => Some(packet.number),
            _ => None,
        })
        .collect();
    assert!(
        numbers.windows(2).all(|pair| pair[1] == pair[0] + 1),
        "{numbers:?}"
    );
    assert_eq!(numbers.len(), 4);
}

#[test]
fn a_section_that_ends_says_goodbye_and_one_that_stays_goes_on() {
    let sections = [media("a", Format::Whole, 10), media("b", Format::Whole, 20)];
    let mut call = Call::new(1, &sections);
    for mid in ["a", "b"] {
        call.send(0, mid, 0, &[1]);
    }
    call.run(Duration::from_millis(100));
    assert_eq!(call.sides[1].inbound_stats().count(), 2);
    call.sides[0].configure(sections[..1].to_vec());
    call.flush();
    call.run(Duration::from_millis(100));
    assert_eq!(call.sides[1].inbound_stats().count(), 1);
    assert!(call.events[1].contains(&Event::SourceEnded {
        mid: Mid::from("b"),
        ssrc: Ssrc(20)
    }));
    call.send(0, "a", 960, &[2]);
    call.run(Duration::from_millis(100));
    let stats = call.sides[0].outbound_stats().next().unwrap();
    assert_eq!(stats.packets_sent, 2, "the stream was kept");
    call.sides[0].configure(Vec::new());
    call.flush();
    call.run(Duration::from_millis(100));
    assert_eq!(
        call.sides[1].inbound_stats().count(),
        0,
        "the last one said goodbye, too"
    );
}

#[test]
fn a_section_that_pauses_says_no_goodbye_and_begins_with_a_key_frame() {
    let sections = [media("v", Format::Vp8, 10), media("a", Format::Whole, 20)];
    let with = |sends| {
        let [mut video, audio] = sections.clone();
        video.sends = sends;
        vec![video, audio]
    };
    let goodbye = Event::SourceEnded {
        mid: Mid::from("v"),
        ssrc: Ssrc(10),
    };
    let wanted = Event::KeyFrameRequested {
        mid: Mid::from("v"),
        rid: None,
    };
    let mut call = Call::new(1, &sections);
    send_video(&mut call, vp8_frame);
    call.run(Duration::from_millis(100));
    for _ in 0..3 {
        call.events[0].clear();
        call.sides[0].configure(with(false));
        call.flush();
        call.run(Duration::from_secs(1));
        assert!(!call.events[1].contains(&goodbye), "it may come back");
        assert!(!call.events[0].contains(&wanted));
        call.sides[0].configure(with(true));
        call.flush();
        call.run(Duration::from_millis(100));
        assert!(call.events[0].contains(&wanted));
        send_video(&mut call, vp8_frame);
        call.run(Duration::from_millis(100));
    }
    // While it pauses its section goes for good.
    call.sides[0].configure(with(false));
    call.sides[0].configure(sections[1..].to_vec());
    call.flush();
    call.run(Duration::from_millis(100));
    assert!(call.events[1].contains(&goodbye));
}

#[test]
fn reports_of_arrivals_end_with_the_last_section() {
    let sections = [media("v", Format::Vp8, 10)];
    let mut call = Call::new(1, &sections);
    send_video(&mut call, vp8_frame);
    call.run(Duration::from_secs(1));
    call.send(0, "v", 900_000, &vp8_frame(900, true, 100));
    call.run(Duration::from_millis(30));
    let waits = |call: &Call| call.sides[1].arrivals.due_at().is_some();
    assert!(waits(&call), "the report on it is still to come");
    call.sides[1].configure(Vec::new());
    assert!(!waits(&call));
    let mut out = Vec::new();
    while call.sides[1].poll_rtcp(call.now, &mut out) {}
    assert_eq!(call.sides[1].poll_timeout(), None, "nothing is left to do");
    // It goes on with what comes later.
    call.sides[1].configure(sections.to_vec());
    let told = call.sides[0].transport_stats().packets_arrived;
    call.send(0, "v", 909_000, &vp8_frame(901, true, 100));
    call.run(Duration::from_secs(1));
    assert_eq!(call.sides[0].transport_stats().packets_arrived, told + 1);
}
