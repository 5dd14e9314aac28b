//! Where packets say that they come from, from one end to the other.

use std::time::Duration;

use twocan_wire::rtp::{AbsCaptureTime, ExtensionKind, ExtensionMap, ExtensionValues, Header};

use super::capture::since_1970;
use super::tests::{Call, media, vp8_frame};
use super::*;

const MS: Duration = Duration::from_millis(1);

const KINDS: [ExtensionKind; 4] = [
    ExtensionKind::AbsCaptureTime,
    ExtensionKind::TransmissionOffset,
    ExtensionKind::VideoTiming,
    ExtensionKind::CsrcAudioLevel,
];

fn map(kinds: &[ExtensionKind]) -> ExtensionMap {
    let mut extensions = ExtensionMap::default();
    for (id, kind) in (1..).zip(kinds) {
        extensions.insert(*kind, id);
    }
    extensions
}

fn section(format: Format, kinds: &[ExtensionKind]) -> Media {
    let mut section = media("v", format, 10);
    section.extensions_send = map(kinds);
    section.extensions_receive = map(kinds);
    section
}

/// A picture that was captured 30 ms ago, and encoded between 20 and 5 ms ago.
fn send(call: &mut Call, number: u32, len: usize) {
    let now = call.now;
    let ago = |ms: u32| Some(now.monotonic - MS * ms);
    let data = vp8_frame(number, number == 0, len);
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
        times: FrameTimes {
            captured_at: ago(30),
            encode_started_at: ago(20),
            encoded_at: ago(5),
        },
        contributing: &[],
    };
    let mid = Mid::from("v");
    call.sides[0].send_frame(now, &mid, &frame).unwrap();
}

#[test]
fn capture_times_are_said_once_a_second_and_hold_for_every_frame() {
    let mut section = section(Format::Vp8, &KINDS[..1]);
    let mut call = Call::new(3, &[section.clone()]);
    let mut captured = Vec::new();
    for number in 0..60 {
        captured.push(call.now.wallclock - MS * 30);
        send(&mut call, number, 3000);
        call.flush();
        // 3000 ticks, to the nanosecond.
        call.run(Duration::from_nanos(33_333_333));
    }
    let frames = call.frames(1);
    assert_eq!(frames.len(), 60);
    for (frame, expected) in frames.iter().zip(&captured) {
        let error = frame.captured_at.unwrap().abs_diff(*expected);
        assert!(error <= MS, "{error:?}");
    }
    // As packets: in the first of a frame, and in no more than needed.
    section.delivery = Delivery::Packets;
    let mut call = Call::new(4, &[section]);
    for number in 0..60 {
        send(&mut call, number, 3000);
        call.flush();
        call.run(Duration::from_nanos(33_333_333));
    }
    let mut stated = Vec::new();
    let mut newest = None;
    for event in call.take_events(1) {
        let Event::Packet(packet) = event else {
            continue;
        };
        let is_first = newest.replace(packet.timestamp) != Some(packet.timestamp);
        let time = packet.provenance.and_then(|own| own.abs_capture_time);
        if let Some(time) = time {
            assert!(is_first);
            assert_eq!(time.clock_offset, Some(0));
            stated.push(packet.timestamp / 3000);
        }
    }
    assert_eq!(stated, [0, 31], "the first that is a second after the last");
}

#[test]
fn a_capture_time_that_cannot_be_counted_on_to_is_said_at_once() {
    let mut section = section(Format::Vp8, &KINDS[..1]);
    section.delivery = Delivery::Packets;
    let mut call = Call::new(5, &[section]);
    // The third comes 12 ms late: timestamps go on as if it had not.
    for (number, gap) in [
        (0, 33_333_333),
        (1, 45_333_333),
        (2, 33_333_333),
        (3, 33_333_333),
    ] {
        send(&mut call, number, 500);
        call.flush();
        call.run(Duration::from_nanos(gap));
    }
    let events = call.take_events(1);
    let packets = events.iter().filter_map(|event| match event {
        Event::Packet(packet) => Some(packet),
        _ => None,
    });
    let stated: Vec<u32> = packets
        .filter(|own| {
            own.provenance
                .as_ref()
                .is_some_and(|own| own.abs_capture_time.is_some())
        })
        .map(|own| own.timestamp / 3000)
        .collect();
    assert_eq!(stated, [0, 2]);
}

/// The header values of each packet that leaves.
fn leave(
    call: &mut Call,
    kinds: &[ExtensionKind],
) -> Vec<(bool, Option<i32>, Option<VideoTiming>)> {
    let (now, map) = (call.now, map(kinds));
    let mut left = Vec::new();
    let mut buffer = Vec::new();
    while call.sides[0]
        .poll_packet(now, Class::Video, &mut buffer)
        .is_some()
    {
        let header = Header::parse(&buffer).unwrap();
        let values = ExtensionValues::read(&header.extensions, &map);
        left.push((
            header.marker,
            values.transmission_offset,
            values.video_timing,
        ));
        buffer.clear();
    }
    left
}

#[test]
fn the_time_on_the_way_out_is_told_as_it_was() {
    let mut call = Call::new(6, &[section(Format::Vp8, &KINDS)]);
    send(&mut call, 0, 3000);
    // It waits 7 ms more for the pacer.
    call.now.monotonic += MS * 7;
    call.now.wallclock += MS * 7;
    let left = leave(&mut call, &KINDS);
    assert_eq!(left.len(), 3);
    for (is_last, offset, timing) in left {
        assert_eq!(offset, Some(37 * 90), "37 ms after its capture");
        let expected = VideoTiming {
            flags: 1,
            encode_start: 10,
            encode_finish: 25,
            packetization_finish: 30,
            pacer_exit: 37,
            network: 0,
            network2: 0,
        };
        assert_eq!(timing, is_last.then_some(expected));
    }
    // A frame soon after is of interest only for its length.
    for (number, len, flags) in [(1, 3000, 0), (2, 40_000, 2)] {
        call.now.monotonic += MS * 33;
        call.now.wallclock += MS * 33;
        send(&mut call, number, len);
        let left = leave(&mut call, &KINDS);
        let timing = left.last().and_then(|(_, _, timing)| *timing);
        assert_eq!(timing.map(|own| own.flags), Some(flags));
    }
    // Nothing is said that was not agreed on.
    let mut call = Call::new(7, &[section(Format::Vp8, &[])]);
    send(&mut call, 0, 3000);
    let left = leave(&mut call, &KINDS);
    assert!(
        left.iter()
            .all(|(_, offset, timing)| offset.is_none() && timing.is_none())
    );
}

#[test]
fn a_mixer_names_its_sources_and_their_loudness() {
    let sources = |levels: [Option<u8>; 2]| {
        let ssrcs = [Ssrc(7), Ssrc(8)].into_iter();
        let each = ssrcs.zip(levels);
        each.map(|(ssrc, level)| ContributingSource { ssrc, level })
            .collect::<Vec<_>>()
    };
    let agreed = [ExtensionKind::CsrcAudioLevel];
    for (kinds, sent, expected) in [
        (
            &agreed[..],
            sources([Some(3), Some(90)]),
            sources([Some(3), Some(90)]),
        ),
        (
            &agreed[..],
            sources([Some(3), None]),
            sources([Some(3), Some(127)]),
        ),
        (&agreed[..], sources([None, None]), sources([None, None])),
        (&[], sources([Some(3), Some(90)]), sources([None, None])),
    ] {
        let mut call = Call::new(8, &[section(Format::Whole, kinds)]);
        let now = call.now;
        let frame = OutgoingFrame {
            rid: None,
            payload_type: PayloadType(111),
            timestamp: 960,
            marker: false,
            data: &[1, 2, 3],
            audio_level: None,
            layer: None,
            resolution: None,
            picture: PictureProperties::default(),
            times: FrameTimes::default(),
            contributing: &sent,
        };
        let mid = Mid::from("v");
        call.sides[0].send_frame(now, &mid, &frame).unwrap();
        call.flush();
        call.run(MS * 200);
        let frames = call.frames(1);
        assert_eq!(frames.len(), 1);
        assert_eq!(frames[0].contributing, expected);
        assert_eq!(frames[0].data, [1, 2, 3]);
    }
}

#[test]
fn a_forwarder_keeps_the_capture_time_and_says_how_clocks_stand() {
    let mut call = Call::new(9, &[]);
    call.run(Duration::from_secs(10));
    let now = call.now;
    // The capturer's clock is 5 s behind ours; it captured 200 ms ago.
    let theirs = super::ntp::ntp_time(now.wallclock - MS * 5200);
    let stated = Provenance {
        abs_capture_time: Some(AbsCaptureTime {
            timestamp: theirs,
            clock_offset: Some(0),
        }),
        video_timing: Some(VideoTiming::default()),
        contributing: vec![ContributingSource {
            ssrc: Ssrc(1),
            level: None,
        }],
    };
    let guessed = Some(now.monotonic - MS * 200);
    let said = stated.clone().forwarded(now, None, guessed);
    let time = said.abs_capture_time.unwrap();
    assert_eq!(time.timestamp, theirs);
    // Taken off again, it is our clock.
    let offset = time.clock_offset.unwrap().cast_unsigned();
    let ours = since_1970(theirs.wrapping_sub(offset));
    assert!(ours.abs_diff(now.wallclock - MS * 200) < MS);
    assert_eq!(said.contributing, stated.contributing);
    assert_eq!(said.video_timing, None);
    let unknown = stated.clone().forwarded(now, None, None);
    assert_eq!(unknown.abs_capture_time.unwrap().clock_offset, None);
    // Who sent it forwards as well, and its clock is 3 s behind ours, that of the capturer 2 s behind it.
    let seconds = |count: i64| count << 32;
    let hop = Provenance {
        abs_capture_time: Some(AbsCaptureTime {
            timestamp: theirs,
            clock_offset: Some(seconds(-2)),
        }),
        ..stated
    };
    let said = hop.forwarded(now, Some(seconds(-3)), guessed);
    let time = said.abs_capture_time.unwrap();
    assert_eq!(time.clock_offset, Some(seconds(-5)));
}
