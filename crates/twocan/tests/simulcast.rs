//! Three qualities of a picture, over real sockets.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

use std::collections::BTreeMap;
use std::time::Duration;

use twocan::{
    Bitrate, Configuration, Direction, EncodedFrame, EncodingParameters, FrameLayer, Kind,
    PeerConnection, PeerConnectionEvent, RtpReceiver, RtpTransceiver, TransceiverInit,
};

/// For anything that is waited for.
const WITHIN: Duration = Duration::from_secs(15);

const RIDS: [&str; 3] = ["q", "h", "f"];

fn connection(receive_simulcast: bool) -> PeerConnection {
    PeerConnection::new(Configuration {
        loopback_candidates: true,
        receive_simulcast,
        ..Configuration::default()
    })
    .unwrap()
}

fn add(caller: &PeerConnection) -> RtpTransceiver {
    let encoding = |rid: &str| EncodingParameters {
        rid: Some(rid.to_owned()),
        scalability_mode: (rid == "f").then(|| "L1T2".parse().unwrap()),
        ..EncodingParameters::default()
    };
    let init = TransceiverInit {
        direction: Direction::SendOnly,
        streams: vec!["camera".to_owned()],
        send_encodings: RIDS.map(encoding).to_vec(),
    };
    caller.add_transceiver_with(Kind::Video, &init).unwrap()
}

async fn connect(caller: &PeerConnection, callee: &PeerConnection) -> RtpReceiver {
    caller.set_local_description(None).unwrap();
    let offer = caller.gathered_description().await.unwrap();
    callee.set_remote_description(offer).unwrap();
    callee.set_local_description(None).unwrap();
    let answer = callee.gathered_description().await.unwrap();
    caller.set_remote_description(answer).unwrap();
    loop {
        match callee.next_event().await {
            Some(PeerConnectionEvent::Track(track)) => return track.transceiver.receiver(),
            Some(_) => {}
            None => panic!("closed before a track came"),
        }
    }
}

/// A picture by the first byte of VP8 (RFC 6386 §9.1).
fn picture(quality: usize, key: bool) -> Vec<u8> {
    let mut data = vec![if key { 0x10 } else { 0x11 }; 10];
    data.resize(300 * (quality + 1), quality as u8);
    data
}

#[tokio::test]
async fn every_quality_is_sent_received_and_counted_by_its_name() {
    let (caller, callee) = (connection(false), connection(true));
    let line = add(&caller);
    let receiver = connect(&caller, &callee).await;
    assert_eq!(receiver.rids(), RIDS);
    let sender = line.sender();
    assert!(sender.can_send().await);
    for number in 0..10u32 {
        for (quality, rid) in RIDS.into_iter().enumerate() {
            let key = number == 0;
            let layer = FrameLayer {
                spatial: 0,
                temporal: (number % 2) as u8,
                key_picture: key,
                last_of_picture: true,
            };
            sender
                .send_frame(EncodedFrame {
                    rid: Some(rid),
                    codec: "VP8",
                    timestamp: number * 3000,
                    data: &picture(quality, key),
                    layer: (rid == "f").then_some(layer),
                    ..EncodedFrame::default()
                })
                .unwrap();
        }
    }
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    while seen.values().sum::<usize>() < 30 {
        let next = tokio::time::timeout(WITHIN, receiver.next_frame()).await;
        let next = next.expect("a frame").expect("the track goes on");
        let rid = next.rid.unwrap();
        let quality = RIDS.iter().position(|own| *own == rid).unwrap();
        assert_eq!(next.data, picture(quality, next.key_frame));
        *seen.entry(rid).or_default() += 1;
    }
    assert!(seen.values().all(|count| *count == 10), "{seen:?}");

    receiver.request_key_frame_of("h");
    let wanted = tokio::time::timeout(WITHIN, sender.next_key_frame_request()).await;
    assert_eq!(wanted.unwrap().unwrap().rid.as_deref(), Some("h"));

    let outbound = caller.get_stats().outbound_rtp;
    let rids = outbound.iter().filter_map(|own| own.rid.as_ref());
    assert_eq!(rids.map(|rid| rid.as_str()).collect::<Vec<_>>(), RIDS);
    assert!(outbound.iter().all(|own| own.frames_sent == 10));
    let inbound = callee.get_stats().inbound_rtp;
    assert!(inbound.iter().all(|own| own.frames_received == 10));
    caller.close();
}

#[tokio::test]
async fn what_is_refused_is_gone_and_parameters_are_kept_to() {
    let (caller, callee) = (connection(false), connection(false));
    let line = add(&caller);
    let sender = line.sender();
    let before = sender.get_parameters().unwrap();
    assert_eq!(before.encodings.len(), 3);
    let receiver = connect(&caller, &callee).await;
    assert!(receiver.rids().is_empty());
    assert!(sender.can_send().await);
    // The other side takes no simulcast, and what was got before has changed.
    let stale = sender.set_parameters(&before).unwrap_err();
    assert_eq!(stale.name(), "InvalidStateError");
    let mut parameters = sender.get_parameters().unwrap();
    assert_eq!(parameters.encodings.len(), 1);
    let gone = sender.send_frame(EncodedFrame {
        rid: Some("h"),
        codec: "VP8",
        data: &picture(0, true),
        ..EncodedFrame::default()
    });
    assert_eq!(gone.unwrap_err().name(), "InvalidAccessError");
    let no_mode = sender.send_frame(EncodedFrame {
        codec: "VP8",
        data: &picture(0, true),
        layer: Some(FrameLayer {
            spatial: 0,
            temporal: 0,
            key_picture: true,
            last_of_picture: true,
        }),
        ..EncodedFrame::default()
    });
    assert_eq!(no_mode.unwrap_err().name(), "InvalidStateError");
    parameters.encodings[0].max_bitrate = Some(Bitrate::kbps(100));
    sender.set_parameters(&parameters).unwrap();
    let wait = async {
        let mut known = None;
        loop {
            let targets = sender.encoding_targets_other_than(known.as_deref()).await;
            let targets = targets.expect("the connection goes on");
            if targets[0].bitrate == Bitrate::kbps(100) {
                return targets.len();
            }
            known = Some(targets);
        }
    };
    let count = tokio::time::timeout(WITHIN, wait).await;
    assert_eq!(count, Ok(1));
    caller.close();
}
