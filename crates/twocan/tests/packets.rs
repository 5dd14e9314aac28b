//! Tracks as RTP packets, over real sockets.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

use std::time::Duration;

use twocan::{
    AudioLevel, Configuration, Delivery, Direction, Kind, OutgoingPacket, PeerConnection,
    PeerConnectionEvent, PictureProperties, RtpReceiver, RtpSender, VideoOrientation,
};

/// For anything that is waited for.
const WITHIN: Duration = Duration::from_secs(15);

#[tokio::test]
async fn packets_arrive_with_the_numbers_that_the_application_chose() {
    let (caller, callee) = (connection(), connection());
    let (sender, receiver) = line(&caller, &callee, Kind::Video).await;

    // A forwarder's stream: a gap, filled late.
    let packet = |number: u16, timestamp: u32| OutgoingPacket {
        codec: "vp8",
        sequence_number: Some(number),
        timestamp,
        marker: number.is_multiple_of(2),
        payload: &[0x10, 1, 2, 3],
        ..OutgoingPacket::default()
    };
    for (number, timestamp) in [(65_534, 1), (65_535, 2), (1, 4), (0, 3)] {
        sender.send_packet(packet(number, timestamp)).unwrap();
    }
    let again = sender.send_packet(packet(0, 3)).unwrap_err().to_string();
    assert!(again.contains("InvalidAccessError"), "{again}");

    let mut seen = Vec::new();
    while seen.len() < 4 {
        let next = tokio::time::timeout(WITHIN, receiver.next_packet()).await;
        let next = next.expect("a packet").expect("the track goes on");
        assert_eq!((next.codec.as_str(), next.clock_rate), ("VP8", 90_000));
        assert_eq!(*next.payload, [0x10, 1, 2, 3]);
        assert_eq!(next.marker, next.sequence_number.is_multiple_of(2));
        seen.push((next.sequence_number, next.timestamp));
    }
    seen.sort_by_key(|(_, timestamp)| *timestamp);
    assert_eq!(seen, [(65_534, 1), (65_535, 2), (0, 3), (1, 4)]);
    caller.close();
}

#[tokio::test]
async fn packets_say_how_loud_they_are_and_how_a_picture_is_turned() {
    let turned = VideoOrientation {
        back_camera: true,
        flipped: false,
        quarter_turns: 1,
    };
    let level = AudioLevel {
        voice: true,
        level: 23,
    };
    for (kind, codec) in [(Kind::Audio, "opus"), (Kind::Video, "vp8")] {
        let (caller, callee) = (connection(), connection());
        let (sender, receiver) = line(&caller, &callee, kind).await;
        let picture = PictureProperties {
            video_orientation: Some(turned),
            ..PictureProperties::default()
        };
        let packet = OutgoingPacket {
            codec,
            payload: &[0x10, 1, 2, 3],
            audio_level: Some(level),
            picture,
            ..OutgoingPacket::default()
        };
        sender.send_packet(packet).unwrap();
        let next = tokio::time::timeout(WITHIN, receiver.next_packet()).await;
        let next = next.expect("a packet").expect("the track goes on");
        let is_sound = kind == Kind::Audio;
        assert_eq!(next.audio_level, is_sound.then_some(level));
        assert_eq!(
            next.picture.video_orientation,
            (!is_sound).then_some(turned)
        );
        caller.close();
    }
}

/// Packets of one kind from one to the other.
async fn line(
    caller: &PeerConnection,
    callee: &PeerConnection,
    kind: Kind,
) -> (RtpSender, RtpReceiver) {
    let line = caller
        .add_transceiver(kind, Direction::SendOnly, &["s"])
        .unwrap();
    caller.set_local_description(None).unwrap();
    let offer = caller.gathered_description().await.unwrap();
    callee.set_remote_description(offer).unwrap();
    callee.set_local_description(None).unwrap();
    let answer = callee.gathered_description().await.unwrap();
    caller.set_remote_description(answer).unwrap();
    let receiver = arrived(callee).await;
    receiver.set_delivery(Delivery::Packets);
    let sender = line.sender();
    assert!(sender.can_send().await);
    (sender, receiver)
}

fn connection() -> PeerConnection {
    PeerConnection::new(Configuration {
        loopback_candidates: true,
        video_orientation: true,
        ..Configuration::default()
    })
    .unwrap()
}

async fn arrived(connection: &PeerConnection) -> RtpReceiver {
    loop {
        match connection.next_event().await {
            Some(PeerConnectionEvent::Track(track)) => return track.transceiver.receiver(),
            Some(_) => {}
            None => panic!("closed before a track came"),
        }
    }
}
