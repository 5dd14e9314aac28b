//! Calls that are negotiated again while they stand.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::time::Duration;

use twocan_proto::channel::{ChannelInit, Message, ReadyState};
use twocan_proto::negotiate::{Kind, TransceiverId};
use twocan_proto::rtp::{self, FrameTimes, OutgoingFrame, PictureProperties};
use twocan_scenarios::{Call, Setting, seeds};
use twocan_wire::sdp::Direction;

/// Sends a piece of sound or a picture, and lets 20 ms pass.
fn say(call: &mut Call, media: TransceiverId, number: u32) {
    let agreed = call.peer(0).negotiated(media).unwrap();
    let codec = &agreed.codecs[0];
    let frame = OutgoingFrame {
        rid: None,
        payload_type: codec.payload_type_send,
        timestamp: number * codec.clock_rate / 50,
        marker: false,
        // The beginning of a key frame of VP8, which is as good as any sound.
        data: &[0x10, 0, 0, 0x9d, 1, 0x2a, 0x80, 2, 0xe0, 1, number as u8],
        audio_level: None,
        layer: None,
        resolution: None,
        picture: PictureProperties::default(),
        times: FrameTimes::default(),
        contributing: &[],
    };
    call.with(0, |peer, now| peer.send_frame(now, media, &frame))
        .unwrap();
    call.run_for(Duration::from_millis(20));
}

#[test]
fn data_goes_on_when_the_last_section_of_media_is_gone() {
    for seed in seeds() {
        let mut call = Call::new(seed, &Setting::default());
        let init = || ChannelInit {
            negotiated: true,
            id: Some(1),
            ..ChannelInit::default()
        };
        let ends = [0, 1].map(|end| {
            let made = call.with(end, |peer, _| peer.create_data_channel(init()));
            made.unwrap()
        });
        call.offer(0);
        let open = call.run_until(Duration::from_secs(30), |call| {
            (0..2).all(|end| call.peer(end).channel_state(ends[end]) == Some(ReadyState::Open))
        });
        assert!(open, "seed {seed}, {}", call.explain());
        for round in 0..4u64 {
            let kind = [Kind::Audio, Kind::Video][(round % 2) as usize];
            let made = call.with(0, |peer, _| {
                peer.add_transceiver(kind, Direction::SendOnly, &[])
            });
            let media = made.unwrap();
            call.offer(0);
            let agreed = call.run_until(Duration::from_secs(5), |call| {
                call.peer(0).negotiated(media).is_some()
            });
            assert!(agreed, "seed {seed}, {}", call.explain());
            for number in 0..10 + (seed + round) as u32 % 7 {
                say(&mut call, media, number);
            }
            // What has just come is still to be reported.
            call.with(0, |peer, _| peer.stop_transceiver(media))
                .unwrap();
            call.offer(0);
            call.run_for(Duration::from_millis(500));
            for (end, id) in ends.into_iter().enumerate() {
                let text = format!("{round} from {end}");
                call.with(end, |peer, now| peer.send_text(now, id, &text))
                    .unwrap();
                call.run_for(Duration::from_secs(1));
                let came = call.take_messages(end ^ 1);
                let expected = [Message::Text(text)];
                assert_eq!(came, expected, "seed {seed}, {}", call.explain());
            }
        }
    }
}

#[test]
fn a_picture_that_pauses_by_its_direction_comes_back_from_the_same_source() {
    for seed in seeds() {
        let mut call = Call::new(seed, &Setting::default());
        let made = call.with(0, |peer, _| {
            peer.add_transceiver(Kind::Video, Direction::SendOnly, &[])
        });
        let media = made.unwrap();
        call.offer(0);
        let ready = call.run_until(Duration::from_secs(30), Call::is_connected);
        assert!(ready, "seed {seed}, {}", call.explain());
        let source = |call: &Call| call.peer(1).inbound_stats().first().map(|own| own.ssrc);
        let asks = |call: &mut Call| {
            let all = std::mem::take(&mut call.events[0]);
            all.iter().any(|event| {
                use twocan_proto::peer::Event;
                matches!(event, Event::Rtp(rtp::Event::KeyFrameRequested { .. }))
            })
        };
        let mut number = 0;
        let mut first = None;
        for round in 0..4 {
            let own = |direction| {
                move |peer: &mut twocan_proto::peer::Peer, _| peer.set_direction(media, direction)
            };
            if round > 0 {
                asks(&mut call);
                call.with(0, own(Direction::Inactive)).unwrap();
                call.offer(0);
                call.run_for(Duration::from_secs(2));
                assert_eq!(source(&call), None, "seed {seed}: nothing is received");
                call.with(0, own(Direction::SendOnly)).unwrap();
                call.offer(0);
                call.run_for(Duration::from_millis(500));
                assert!(asks(&mut call), "seed {seed}: a key frame is wanted");
            }
            for _ in 0..10 {
                say(&mut call, media, number);
                number += 1;
            }
            call.run_for(Duration::from_millis(200));
            let ended = call.events[1].iter().any(|event| {
                use twocan_proto::peer::Event;
                matches!(event, Event::Rtp(rtp::Event::SourceEnded { .. }))
            });
            assert!(!ended, "seed {seed}: it said goodbye");
            let seen = source(&call);
            assert!(seen.is_some(), "seed {seed}, {}", call.explain());
            assert_eq!(seen, *first.get_or_insert(seen), "seed {seed}");
        }
    }
}
