//! What pictures say of themselves, from one end to the other.

use std::time::Duration;

use twocan_wire::rtp::{
    ColorSpace, ExtensionKind, ExtensionMap, HdrMetadata, VideoContentType, VideoOrientation,
};

use super::tests::{Call, media, vp8_frame};
use super::*;

const TURNED: VideoOrientation = VideoOrientation {
    back_camera: true,
    flipped: false,
    quarter_turns: 3,
};

fn section(kinds: &[ExtensionKind]) -> Media {
    let mut extensions = ExtensionMap::default();
    for (id, kind) in (1..).zip(kinds) {
        extensions.insert(*kind, id);
    }
    let mut section = media("v", Format::Vp8, 10);
    section.extensions_send = extensions;
    section.extensions_receive = extensions;
    section
}

const KINDS: [ExtensionKind; 3] = [
    ExtensionKind::VideoOrientation,
    ExtensionKind::VideoContentType,
    ExtensionKind::ColorSpace,
];

/// Turned from the tenth picture to the twentieth; other colors from the fifteenth on.
fn of_picture(number: u32) -> PictureProperties {
    let bright = HdrMetadata {
        luminance_max: 1000,
        max_content_light_level: 400,
        ..HdrMetadata::default()
    };
    PictureProperties {
        video_orientation: Some(match number {
            10..20 => TURNED,
            _ => VideoOrientation::default(),
        }),
        video_content_type: Some(VideoContentType::SCREENSHARE),
        color_space: Some(ColorSpace {
            primaries: 9,
            hdr: (number >= 15).then_some(bright),
            ..ColorSpace::default()
        }),
    }
}

fn send(call: &mut Call, number: u32) {
    send_as(call, number, number == 0, of_picture(number));
}

fn send_as(call: &mut Call, number: u32, key_frame: bool, picture: PictureProperties) {
    let data = vp8_frame(number, key_frame, 3000);
    let frame = OutgoingFrame {
        rid: None,
        payload_type: PayloadType(96),
        timestamp: number * 3000,
        marker: false,
        data: &data,
        audio_level: None,
        layer: None,
        resolution: None,
        picture,
        times: crate::rtp::FrameTimes::default(),
        contributing: &[],
    };
    let now = call.now;
    call.sides[0]
        .send_frame(now, &Mid::from("v"), &frame)
        .unwrap();
    call.flush();
    call.run(Duration::from_millis(33));
}

#[test]
fn pictures_are_turned_and_colored_as_they_were_sent_in_spite_of_losses() {
    for seed in 1..=4 {
        let mut call = Call::new(seed, &[section(&KINDS)]);
        for number in 0..40 {
            // A key frame that was lost would be asked for again, the last by nobody.
            call.loss_percent = if [0, 39].contains(&number) { 0 } else { 5 };
            send(&mut call, number);
        }
        call.loss_percent = 0;
        call.run(Duration::from_secs(1));
        let frames = call.frames(1);
        assert_eq!(frames.len(), 40, "seed {seed}");
        for (number, frame) in (0..).zip(&frames) {
            let sent = of_picture(number);
            let got = frame.picture;
            assert_eq!(
                got.video_orientation.unwrap_or_default(),
                sent.video_orientation.unwrap(),
                "seed {seed}, picture {number}"
            );
            assert_eq!(got.video_content_type, sent.video_content_type);
            assert_eq!(got.color_space, sent.color_space, "picture {number}");
        }
    }
}

#[test]
fn the_last_packet_of_a_picture_says_it_and_nothing_is_said_that_was_not_agreed_on() {
    for (kinds, agreed) in [(&KINDS[..], true), (&[], false)] {
        let mut section = section(kinds);
        section.delivery = Delivery::Packets;
        let mut call = Call::new(9, &[section]);
        for number in 0..12 {
            send(&mut call, number);
        }
        let mut turned = 0;
        for event in call.take_events(1) {
            let Event::Packet(packet) = event else {
                continue;
            };
            let said = packet.picture.video_orientation;
            assert!(said.is_none() || packet.marker);
            if packet.marker && packet.timestamp >= 30_000 {
                assert_eq!(said, agreed.then_some(TURNED));
                turned += 1;
            }
        }
        assert_eq!(turned, 2);
    }
}

#[test]
fn colors_and_content_hold_until_the_next_key_frame() {
    let mut call = Call::new(3, &[section(&KINDS)]);
    // As a browser says what it shows: with key frames alone.
    let nothing = PictureProperties::default();
    for (number, key_frame) in [(0, true), (1, false), (2, true), (3, false)] {
        let picture = if number == 0 { of_picture(0) } else { nothing };
        send_as(&mut call, number, key_frame, picture);
    }
    call.run(Duration::from_secs(1));
    let frames = call.frames(1);
    let said: Vec<bool> = frames
        .iter()
        .map(|own| {
            let both = (own.picture.color_space, own.picture.video_content_type);
            assert!(both == (None, None) || both.0.is_some() && both.1.is_some());
            both.0.is_some()
        })
        .collect();
    assert_eq!(said, [true, true, false, false]);
}

#[test]
fn each_spatial_layer_says_it() {
    let mut section = section(&KINDS);
    section.codecs[0].format = Format::Vp9;
    section.delivery = Delivery::Packets;
    let mut call = Call::new(4, &[section]);
    for number in 0..12 {
        for spatial in 0..2 {
            let frame = OutgoingFrame {
                rid: None,
                payload_type: PayloadType(96),
                timestamp: number * 3000,
                marker: false,
                data: &[0x82; 2000],
                audio_level: None,
                layer: Some(FrameLayer {
                    mode: "L2T1".parse().unwrap(),
                    spatial,
                    temporal: 0,
                    key_picture: number == 0,
                    last_of_picture: spatial == 1,
                }),
                resolution: None,
                picture: of_picture(number),
                times: crate::rtp::FrameTimes::default(),
                contributing: &[],
            };
            let now = call.now;
            call.sides[0]
                .send_frame(now, &Mid::from("v"), &frame)
                .unwrap();
            call.flush();
        }
        call.run(Duration::from_millis(33));
    }
    let packets = call
        .take_events(1)
        .into_iter()
        .filter_map(|event| match event {
            Event::Packet(packet) if packet.timestamp >= 30_000 => Some(packet),
            _ => None,
        });
    let said = packets.filter(|own| own.picture.video_orientation == Some(TURNED));
    assert_eq!(said.count(), 4);
}
