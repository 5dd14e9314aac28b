//! Captions over real sockets.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

use std::time::Duration;

use twocan::captions::{
    Caption, CaptionReceiver, CaptionSender, Clock, PROTOCOL, TEXT_CHARS_MAX, Transcript,
};
use twocan::{Configuration, DataChannel, DataChannelInit, PeerConnection, PeerConnectionEvent};

/// For anything that is waited for.
const WITHIN: Duration = Duration::from_secs(60);

const fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

fn spoken(id: u64, start: u64, text: &str) -> Caption {
    Caption {
        id,
        start: ms(start),
        end: None,
        language: Some("en".to_owned()),
        text: text.to_owned(),
        is_final: false,
    }
}

fn done(caption: Caption, end: u64) -> Caption {
    Caption {
        end: Some(ms(end)),
        is_final: true,
        ..caption
    }
}

#[tokio::test]
async fn captions_arrive_as_they_are_told_and_become_a_file() {
    let (caller, callee) = (connection(), connection());
    let sender = caller
        .create_caption_channel("captions", Clock::Channel)
        .unwrap();
    let told = [
        spoken(1, 100, "Good mor"),
        done(spoken(1, 100, "Good morning."), 900),
        spoken(2, 1000, "How"),
        done(spoken(2, 950, "How are you?"), 2000),
    ];
    let talking = async {
        connect(&caller, &callee).await;
        let too_long = "x".repeat(TEXT_CHARS_MAX + 1);
        let refused = sender.send(&spoken(9, 1, &too_long)).await.unwrap_err();
        assert_eq!(refused.name(), "TypeError");
        for caption in &told {
            sender.send(caption).await.unwrap();
        }
        sender.channel().close();
    };
    let listening = async {
        let channel = announced(&callee).await;
        assert_eq!(
            (channel.label().as_str(), channel.protocol().as_str()),
            ("captions", PROTOCOL)
        );
        let receiver = CaptionReceiver::new(channel).unwrap();
        let (mut heard, mut transcript) = (Vec::new(), Transcript::new());
        while let Some(caption) = receiver.next_caption().await {
            transcript.add(&caption);
            heard.push(caption);
        }
        assert_eq!(
            (receiver.clock(), receiver.refused()),
            (Some(Clock::Channel), 0)
        );
        (heard, transcript.to_webvtt(ms(50)))
    };
    let both = async { tokio::join!(talking, listening) };
    let ((), (heard, file)) = tokio::time::timeout(WITHIN, both).await.expect("talked");
    assert_eq!(heard, told);
    let expected = "WEBVTT\n\
        \n1\n00:00:00.050 --> 00:00:00.850\nGood morning.\n\
        \n2\n00:00:00.900 --> 00:00:01.950\nHow are you?\n";
    assert_eq!(file, expected);
    assert_eq!(
        sender.send(&told[0]).await.unwrap_err().name(),
        "InvalidStateError"
    );
}

#[tokio::test]
async fn what_is_no_caption_is_passed_over_and_counted() {
    let (caller, callee) = (connection(), connection());
    let init = |protocol: &str, ordered| DataChannelInit {
        protocol: protocol.to_owned(),
        ordered,
        ..DataChannelInit::default()
    };
    for (protocol, ordered) in [("t140", true), (PROTOCOL, false)] {
        let other = caller
            .create_data_channel("x", init(protocol, ordered))
            .unwrap();
        let refused = CaptionReceiver::new(other.clone()).unwrap_err();
        assert_eq!(refused.name(), "NotSupportedError");
        let refused = CaptionSender::new(other.clone(), Clock::Capture).unwrap_err();
        assert_eq!(refused.name(), "NotSupportedError");
        other.close();
    }
    let raw = caller
        .create_data_channel("captions", init(PROTOCOL, true))
        .unwrap();
    let talking = async {
        connect(&caller, &callee).await;
        raw.opened().await.unwrap();
        raw.send(vec![1, 2, 3]).unwrap();
        raw.send_text(r#"{"id":1,"start":1,"text":"too early"}"#)
            .unwrap();
        raw.send_text("[".repeat(100_000)).unwrap();
        raw.send_text(r#"{"version":1,"clock":"capture"}"#).unwrap();
        raw.send_text(r#"{"id":1,"start":1,"text":"here"}"#)
            .unwrap();
    };
    let listening = async {
        let channel = loop {
            let channel = announced(&callee).await;
            if channel.label() == "captions" {
                break channel;
            }
        };
        let receiver = CaptionReceiver::new(channel).unwrap();
        let caption = receiver.next_caption().await.unwrap();
        (caption.text, receiver.clock(), receiver.refused())
    };
    let both = async { tokio::join!(talking, listening) };
    let ((), heard) = tokio::time::timeout(WITHIN, both).await.expect("talked");
    assert_eq!(heard, ("here".to_owned(), Some(Clock::Capture), 3));
}

fn connection() -> PeerConnection {
    PeerConnection::new(Configuration {
        loopback_candidates: true,
        ..Configuration::default()
    })
    .unwrap()
}

async fn connect(caller: &PeerConnection, callee: &PeerConnection) {
    caller.set_local_description(None).unwrap();
    let offer = caller.gathered_description().await.unwrap();
    callee.set_remote_description(offer).unwrap();
    callee.set_local_description(None).unwrap();
    let answer = callee.gathered_description().await.unwrap();
    caller.set_remote_description(answer).unwrap();
}

async fn announced(connection: &PeerConnection) -> DataChannel {
    loop {
        match connection.next_event().await {
            Some(PeerConnectionEvent::DataChannel(channel)) => return channel,
            Some(_) => {}
            None => panic!("closed before a channel came"),
        }
    }
}
