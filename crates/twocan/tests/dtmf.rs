//! Tones of a telephone over real sockets.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

use std::time::Duration;

use twocan::dtmf::{GAP_MIN, Heard, ToneListener};
use twocan::{
    CodecPreference, Configuration, Direction, EncodedFrame, Kind, PeerConnection,
    PeerConnectionEvent, RtpReceiver, RtpSender,
};

/// For anything that is waited for.
const WITHIN: Duration = Duration::from_secs(60);

const DURATION: Duration = Duration::from_millis(60);

#[tokio::test]
async fn tones_are_heard_beside_the_sound_on_its_clock() {
    for (codec, clock_rate) in [("opus", 48_000), ("PCMU", 8000)] {
        let (caller, callee) = (connection(), connection());
        let line = caller
            .add_transceiver(Kind::Audio, Direction::SendOnly, &["s"])
            .unwrap();
        let sender = line.sender();
        let dtmf = sender.dtmf().unwrap();
        assert!(!dtmf.can_insert_dtmf());
        let early = dtmf.insert_dtmf("1", DURATION, GAP_MIN).unwrap_err();
        assert_eq!(early.name(), "InvalidStateError");
        let receiver = connect(&caller, &callee).await;
        assert!(sender.can_send().await);
        let frame = EncodedFrame {
            codec,
            timestamp: 77_000,
            data: &[1, 2, 3],
            ..EncodedFrame::default()
        };
        sender.send_frame(frame).unwrap();
        let wrong = dtmf.insert_dtmf("1e", DURATION, GAP_MIN).unwrap_err();
        assert_eq!(wrong.name(), "InvalidCharacterError");
        dtmf.insert_dtmf("1a#", DURATION, GAP_MIN).unwrap();
        let told = async {
            let mut told = Vec::new();
            while let Some(change) = dtmf.next_tone_change().await {
                told.push(change);
                if change.is_none() {
                    break;
                }
            }
            told
        };
        let (told, heard) = tokio::join!(told, heard(&receiver, 3, clock_rate));
        assert_eq!(told, [Some('1'), Some('A'), Some('#'), None]);
        assert_eq!(dtmf.tone_buffer(), "");
        let expected = ['1', 'A', '#'].map(|tone| {
            let ended = Heard::Ended {
                tone,
                duration: DURATION,
            };
            [Heard::Began { tone }, ended]
        });
        assert_eq!(heard, expected.concat());
        caller.close();
        assert_eq!(next_change(&sender).await, None);
    }
}

#[tokio::test]
async fn pictures_have_no_tones_nor_has_sound_without_events() {
    let (caller, callee) = (connection(), connection());
    let picture = caller
        .add_transceiver(Kind::Video, Direction::SendOnly, &["s"])
        .unwrap();
    assert!(picture.sender().dtmf().is_none());
    let sound = caller
        .add_transceiver(Kind::Audio, Direction::SendOnly, &["s"])
        .unwrap();
    let opus = CodecPreference {
        name: "opus".to_owned(),
        clock_rate: 48_000,
        channels: 2,
        fmtp: String::new(),
    };
    sound.set_codec_preferences(vec![opus]).unwrap();
    connect(&caller, &callee).await;
    assert!(sound.sender().can_send().await);
    let dtmf = sound.sender().dtmf().unwrap();
    assert!(!dtmf.can_insert_dtmf());
    let refused = dtmf.insert_dtmf("1", DURATION, GAP_MIN).unwrap_err();
    assert_eq!(refused.name(), "InvalidStateError");
    caller.close();
}

async fn next_change(sender: &RtpSender) -> Option<Option<char>> {
    let dtmf = sender.dtmf().unwrap();
    let next = tokio::time::timeout(WITHIN, dtmf.next_tone_change()).await;
    next.expect("an end")
}

/// Listens until so many tones have ended.
async fn heard(receiver: &RtpReceiver, count: usize, clock_rate: u32) -> Vec<Heard> {
    let (mut listener, mut all) = (ToneListener::new(), Vec::new());
    let (mut ended, mut first) = (0, None);
    while ended < count {
        let next = tokio::time::timeout(WITHIN, receiver.next_frame()).await;
        let frame = next.expect("a frame").expect("the track goes on");
        if frame.codec != "telephone-event" {
            assert_eq!(frame.timestamp, 77_000);
            continue;
        }
        assert_eq!(frame.clock_rate, clock_rate);
        // In the time of the sound, which has just begun.
        let after = frame.timestamp.wrapping_sub(77_000);
        assert!(after < WITHIN.as_secs() as u32 * clock_rate, "{after}");
        // A machine that stands still for a while is no silence: all arrive at once.
        let at = *first.get_or_insert(frame.received_at);
        let heard = listener.receive(at, frame.timestamp, frame.clock_rate, &frame.data);
        for heard in heard.unwrap() {
            ended += usize::from(matches!(heard, Heard::Ended { .. }));
            all.push(heard);
        }
    }
    all
}

fn connection() -> PeerConnection {
    PeerConnection::new(Configuration {
        loopback_candidates: true,
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
