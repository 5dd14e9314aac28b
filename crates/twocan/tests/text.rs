//! Real-time text over real sockets.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

use std::time::Duration;

use twocan::text::{Change, RealTimeText, TextOptions};
use twocan::{
    Configuration, DataChannel, DataChannelInit, Message, PeerConnection, PeerConnectionEvent,
};

/// For anything that is waited for.
const WITHIN: Duration = Duration::from_secs(60);

/// Fast enough for a test.
const OPTIONS: TextOptions = TextOptions {
    interval: Duration::from_millis(5),
    cps: 1000,
};

#[tokio::test]
async fn both_read_what_the_other_writes_and_go_on_after_a_loss() {
    let (caller, callee) = (connection(), connection());
    let mut ours = caller.create_text_channel("ada", OPTIONS).unwrap();
    // Before the channel is open as well.
    ours.write("Helo\u{8}lo\n").unwrap();
    connect(&caller, &callee).await;
    let channel = announced(&callee).await;
    assert_eq!(channel.protocol(), "t140");
    let mut theirs = RealTimeText::new(channel, OPTIONS).unwrap();
    let talking = async {
        read_until(&theirs, "Hello\n").await;
        theirs.write("Hi\u{7}").unwrap();
        read_until(&ours, "Hi").await;
        assert_eq!(ours.next_change().await, Some(Change::Alert));
        ours.write("Hullo").unwrap();
        ours.sent().await.unwrap();
        read_until(&theirs, "Hello\nHullo").await;
        ours.write(&"\u{8}".repeat(4)).unwrap();
        read_until(&theirs, "Hello\nH").await;

        ours.channel().close();
        assert_eq!(theirs.next_change().await, None);
        // Whoever looks first finds out.
        while ours.write("ey").is_ok() {
            if ours.sent().await.is_err() {
                break;
            }
        }
        let init = || DataChannelInit {
            protocol: "t140".to_owned(),
            ..DataChannelInit::default()
        };
        let channel = caller.create_data_channel("ada", init()).unwrap();
        ours.continue_on(channel).unwrap();
        theirs.continue_on(announced(&callee).await).unwrap();
        read_until(&theirs, "Hello\nH\u{fffd}").await;
        ours.write("ey!").unwrap();
        while !theirs.received().ends_with("ey!") {
            theirs.next_change().await.unwrap();
        }
    };
    tokio::time::timeout(WITHIN, talking).await.expect("talked");
}

#[tokio::test]
async fn blocks_are_messages_of_text_that_begin_with_the_mark() {
    let (caller, callee) = (connection(), connection());
    let ours = caller
        .create_text_channel("ada", TextOptions::default())
        .unwrap();
    ours.write("a\nb").unwrap();
    connect(&caller, &callee).await;
    let channel = announced(&callee).await;
    let first = tokio::time::timeout(WITHIN, channel.next_message()).await;
    let block = Message::Text("\u{feff}a\u{2028}b".to_owned());
    assert_eq!(first.expect("a block"), Some(block));
    // What is no text does no harm.
    channel.send(vec![1, 2, 3]).unwrap();
    channel.send_text("\u{feff}c").unwrap();
    let read = tokio::time::timeout(WITHIN, read_until(&ours, "c")).await;
    read.expect("c");
}

#[tokio::test]
async fn other_channels_are_refused() {
    let caller = connection();
    let lossy = DataChannelInit {
        protocol: "t140".to_owned(),
        max_retransmits: Some(0),
        ..DataChannelInit::default()
    };
    for init in [DataChannelInit::default(), lossy] {
        let channel = caller.create_data_channel("chat", init).unwrap();
        let refused = RealTimeText::new(channel, OPTIONS).unwrap_err();
        assert_eq!(refused.name(), "NotSupportedError");
    }
}

async fn read_until(text: &RealTimeText, whole: &str) {
    while text.received() != whole {
        let change = text.next_change().await;
        assert!(change.is_some(), "{:?}", text.received());
    }
}

async fn connect(caller: &PeerConnection, callee: &PeerConnection) {
    caller.set_local_description(None).unwrap();
    let offer = caller.gathered_description().await.unwrap();
    callee.set_remote_description(offer).unwrap();
    callee.set_local_description(None).unwrap();
    let answer = callee.gathered_description().await.unwrap();
    caller.set_remote_description(answer).unwrap();
}

fn connection() -> PeerConnection {
    PeerConnection::new(Configuration {
        loopback_candidates: true,
        ..Configuration::default()
    })
    .unwrap()
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
