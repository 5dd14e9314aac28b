//! A call over TCP alone, on real sockets.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use twocan::{
    Configuration, DataChannel, DataChannelInit, IceTcpCandidateType, IceTransports, Message,
    PeerConnection, PeerConnectionEvent,
};

/// For anything that is waited for.
const WITHIN: Duration = Duration::from_secs(60);

/// More than the queue of a stream holds, many times.
const BULK: usize = 8 << 20;

const MESSAGE_LEN: usize = 64 << 10;

#[tokio::test]
async fn bulk_goes_over_tcp_whole_while_strangers_knock() {
    let (caller, callee) = (connection(0..=0), connection(42_000..=42_999));
    let channel = caller
        .create_data_channel("bulk", DataChannelInit::default())
        .unwrap();
    caller.set_local_description(None).unwrap();
    let offer = caller.gathered_description().await.unwrap();
    assert!(!offer.sdp.to_lowercase().contains(" udp "), "{}", offer.sdp);
    callee.set_remote_description(offer).unwrap();
    callee.set_local_description(None).unwrap();
    let answer = callee.gathered_description().await.unwrap();
    caller.set_remote_description(answer).unwrap();
    channel.opened().await.unwrap();
    let theirs = announced(&callee).await;

    let locals = callee.get_stats().local_candidates;
    let listens =
        |own: &&twocan::LocalCandidateStats| own.tcp == Some(IceTcpCandidateType::Passive);
    let address = locals.iter().find(listens).unwrap().address;
    assert!((42_000..=42_999).contains(&address.port()), "{address}");
    for bytes in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        &[0, 2, 128, 96],
        &[0xff; 4096],
    ] {
        turned_away(address, bytes).await;
    }

    let sending = channel.clone();
    tokio::spawn(async move {
        for _ in 0..BULK / MESSAGE_LEN {
            sending.send(vec![7; MESSAGE_LEN]).unwrap();
        }
    });
    let mut arrived = 0;
    let receiving = async {
        while arrived < BULK {
            match theirs.next_message().await {
                Some(Message::Binary(bytes)) => arrived += bytes.len(),
                other => panic!("{other:?} after {arrived} bytes"),
            }
        }
    };
    tokio::time::timeout(WITHIN, receiving).await.expect("all");
    let pairs = callee.get_stats().candidate_pairs;
    assert!(pairs.iter().all(|pair| pair.remote.tcp.is_some()));
    let dropped = callee.get_stats().dropped;
    let turned_away = dropped
        .iter()
        .filter(|(name, _)| name.starts_with("peer.tcp_"));
    assert_eq!(turned_away.map(|(_, count)| count).sum::<u64>(), 3);
}

/// What is no check is answered by the end of the stream.
async fn turned_away(address: SocketAddr, bytes: &[u8]) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    let reading = stream.read_to_end(&mut answer);
    // What was not read makes the end a reset.
    let _ = tokio::time::timeout(WITHIN, reading).await.expect("closed");
    assert!(answer.is_empty(), "{answer:?}");
}

fn connection(ports: std::ops::RangeInclusive<u16>) -> PeerConnection {
    PeerConnection::new(Configuration {
        loopback_candidates: true,
        ice_transports: IceTransports::Tcp,
        ports: Some(ports),
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
