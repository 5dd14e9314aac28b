//! Closing one side over real sockets.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

use std::time::Duration;

use twocan::{Configuration, DataChannel, DataChannelInit, PeerConnection, PeerConnectionEvent};

/// For anything that is waited for; the other side would notice by itself after 30 s of silence.
const WITHIN: Duration = Duration::from_secs(15);

#[tokio::test]
async fn the_other_side_is_told_of_a_close_at_once() {
    let (caller, callee) = (connection(), connection());
    let channel = caller
        .create_data_channel("chat", DataChannelInit::default())
        .unwrap();
    caller.set_local_description(None).unwrap();
    let offer = caller.gathered_description().await.unwrap();
    callee.set_remote_description(offer).unwrap();
    callee.set_local_description(None).unwrap();
    let answer = callee.gathered_description().await.unwrap();
    caller.set_remote_description(answer).unwrap();
    channel.opened().await.unwrap();
    let theirs = announced(&callee).await;

    caller.close();
    let ended = async { while theirs.next_event().await.is_some() {} };
    tokio::time::timeout(WITHIN, ended).await.expect("told");
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
