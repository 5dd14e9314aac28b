//! Sound as it is (L16) and silence (comfort noise), over real sockets.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

use std::time::Duration;

use twocan::{
    ComfortNoise, Configuration, Direction, EncodedFrame, Frame, Kind, PeerConnection,
    PeerConnectionEvent, Reflection, RtpCapabilities, RtpReceiver, RtpSender, l16,
};

/// For anything that is waited for.
const WITHIN: Duration = Duration::from_secs(60);

#[tokio::test]
async fn long_frames_of_samples_arrive_in_packets_that_follow_each_other() {
    let (sender, receiver) = line(&["L16/48000/2", "L16/8000"]).await;
    // 20 ms of two channels.
    let samples: Vec<i16> = (0..1920)
        .map(|index| (index * 17 - 16_000) as i16)
        .collect();
    let mut data = Vec::new();
    l16::write(&samples, &mut data);
    let frame = EncodedFrame {
        codec: "L16",
        timestamp: u32::MAX - 300,
        data: &data,
        ..EncodedFrame::default()
    };
    sender.send_frame(frame).unwrap();
    let mut arrived = Vec::new();
    while arrived.len() < samples.len() {
        let next = next(&receiver).await;
        let what = (next.codec.as_str(), next.clock_rate, next.channels);
        assert_eq!(what, ("L16", 48_000, 2));
        let ticks = (arrived.len() / 2) as u32;
        assert_eq!(next.timestamp, frame.timestamp.wrapping_add(ticks));
        arrived.extend(l16::read(&next.data, next.channels).unwrap());
    }
    assert_eq!(arrived, samples);

    // Of another rate, by its whole name; a part of a sample is refused.
    let slow = EncodedFrame {
        codec: "l16/8000",
        timestamp: 0,
        data: &data[..320],
        ..frame
    };
    sender.send_frame(slow).unwrap();
    let next = next(&receiver).await;
    assert_eq!(
        (next.clock_rate, next.channels, next.data.len()),
        (8000, 1, 320)
    );
    let torn = EncodedFrame {
        data: &data[..321],
        ..slow
    };
    let refused = sender.send_frame(torn).unwrap_err();
    assert_eq!(refused.name(), "OperationError");
    let unknown = EncodedFrame {
        codec: "L16/44100",
        ..slow
    };
    let refused = sender.send_frame(unknown).unwrap_err();
    assert_eq!(refused.name(), "InvalidAccessError");
}

#[tokio::test]
async fn silence_is_a_level_and_a_spectrum_in_the_stream_of_the_sound() {
    let (sender, receiver) = line(&["PCMU", "CN/8000"]).await;
    let sound = EncodedFrame {
        codec: "PCMU",
        timestamp: 160,
        data: &[0xff; 160],
        ..EncodedFrame::default()
    };
    sender.send_frame(sound).unwrap();
    let noise = ComfortNoise {
        level: 62,
        coefficients: [0.5, -0.25].map(Reflection::nearest).to_vec(),
    };
    let mut data = Vec::new();
    noise.write(&mut data);
    let silence = EncodedFrame {
        codec: "CN",
        timestamp: 320,
        data: &data,
        ..EncodedFrame::default()
    };
    sender.send_frame(silence).unwrap();
    let first = next(&receiver).await;
    assert_eq!((first.codec.as_str(), first.timestamp), ("PCMU", 160));
    let second = next(&receiver).await;
    assert_eq!((second.codec.as_str(), second.timestamp), ("CN", 320));
    assert_eq!(second.ssrc, first.ssrc);
    assert_eq!(ComfortNoise::parse(&second.data), Ok(noise));
}

#[tokio::test]
async fn nobody_gets_them_unasked() {
    let (caller, callee) = (connection(&[]), connection(&[]));
    let sound = caller
        .add_transceiver(Kind::Audio, Direction::SendOnly, &["s"])
        .unwrap();
    connect(&caller, &callee).await;
    let codecs = sound.codecs();
    let known = RtpCapabilities::of(Kind::Audio);
    let is_usual = |name: &str| known.codecs.iter().any(|own| own.name == name);
    assert!(codecs.iter().all(|own| is_usual(&own.name)));
    let more = &known.codecs_on_request;
    assert!(more.iter().all(|own| !is_usual(&own.name)) && more.len() == 12);
    // A name that nobody knows is none.
    let odd = connection(&["L16/1234", "speex"]);
    odd.add_transceiver(Kind::Audio, Direction::SendOnly, &["s"])
        .unwrap();
    odd.set_local_description(None).unwrap();
    let offer = odd.gathered_description().await.unwrap();
    assert!(offer.sdp.contains("opus/48000/2") && !offer.sdp.contains("L16"));
}

async fn next(receiver: &RtpReceiver) -> Frame {
    let next = tokio::time::timeout(WITHIN, receiver.next_frame()).await;
    next.expect("a frame").expect("the track goes on")
}

/// A track from one to the other, where both know these codecs alone.
async fn line(codecs: &[&str]) -> (RtpSender, RtpReceiver) {
    let (caller, callee) = (connection(codecs), connection(codecs));
    let line = caller
        .add_transceiver(Kind::Audio, Direction::SendOnly, &["s"])
        .unwrap();
    let receiver = connect(&caller, &callee).await;
    let sender = line.sender();
    assert!(sender.can_send().await);
    (sender, receiver)
}

fn connection(codecs: &[&str]) -> PeerConnection {
    PeerConnection::new(Configuration {
        loopback_candidates: true,
        audio_codecs: codecs.iter().map(|name| (*name).to_owned()).collect(),
        ..Configuration::default()
    })
    .unwrap()
}

/// Connects them; answers the receiver of the first track.
async fn connect(caller: &PeerConnection, callee: &PeerConnection) -> RtpReceiver {
    caller.set_local_description(None).unwrap();
    let offer = caller.gathered_description().await.unwrap();
    callee.set_remote_description(offer).unwrap();
    callee.set_local_description(None).unwrap();
    let answer = callee.gathered_description().await.unwrap();
    caller.set_remote_description(answer).unwrap();
    loop {
        let event = tokio::time::timeout(WITHIN, callee.next_event()).await;
        match event.expect("a track") {
            Some(PeerConnectionEvent::Track(track)) => return track.transceiver.receiver(),
            Some(_) => {}
            None => panic!("the callee is gone"),
        }
    }
}
