//! Channels as streams of bytes, over real sockets.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, split};
use twocan::{
    ByteStream, Configuration, DataChannel, DataChannelInit, DetachError, Message, PeerConnection,
    PeerConnectionEvent,
};

/// For anything that is waited for.
const WITHIN: Duration = Duration::from_secs(120);

const BULK: usize = 20 << 20;

/// What may be under way: 256 KiB that wait to be sent, two receiver windows of 4 MiB (what is in
/// flight, and what has arrived), 1 MiB that waits for the application, and a message.
const UNDER_WAY_MAX: usize = (256 << 10) + 2 * (4 << 20) + (1 << 20) + (256 << 10);

#[tokio::test]
async fn a_slow_reader_slows_the_writer_and_gets_everything() {
    let pair = Pair::connect(DataChannelInit::default()).await;
    let (mut writer, mut reader) = (pair.ours.detach().unwrap(), pair.theirs.detach().unwrap());
    let written = Arc::new(AtomicUsize::new(0));
    let progress = Arc::clone(&written);
    let writing = tokio::spawn(async move {
        while progress.load(Ordering::Relaxed) < BULK {
            let at = progress.load(Ordering::Relaxed);
            let block: Vec<u8> = (at..(at + 10_007).min(BULK)).map(byte_at).collect();
            writer.write_all(&block).await.unwrap();
            progress.fetch_add(block.len(), Ordering::Relaxed);
        }
        writer.shutdown().await.unwrap();
    });

    let reading = async {
        let mut read = 0;
        // Nothing is read until the writer is as far as the application's buffer alone.
        while written.load(Ordering::Relaxed) < 1 << 20 {
            tokio::task::yield_now().await;
        }
        let mut block = vec![0; 3001];
        loop {
            let len = reader.read(&mut block).await.unwrap();
            let expected = (read..read + len).map(byte_at);
            assert!(block[..len].iter().copied().eq(expected), "after {read}");
            read += len;
            let under_way = written.load(Ordering::Relaxed).saturating_sub(read);
            assert!(under_way <= UNDER_WAY_MAX, "{under_way} after {read}");
            if len == 0 {
                return read;
            }
            // Others run meanwhile: the writer is as fast as it can be.
            for _ in 0..4 {
                tokio::task::yield_now().await;
            }
        }
    };
    let read = tokio::time::timeout(WITHIN, reading).await.expect("all");
    assert_eq!(read, BULK);
    tokio::time::timeout(WITHIN, writing)
        .await
        .expect("shut down")
        .unwrap();
}

#[tokio::test]
async fn both_halves_go_on_at_once_and_the_end_is_told() {
    let pair = Pair::connect(DataChannelInit::default()).await;
    let echo = pair.theirs.detach().unwrap();
    tokio::spawn(async move {
        let (mut reader, mut writer) = split(echo);
        tokio::io::copy(&mut reader, &mut writer).await
    });
    let (mut reader, mut writer) = split(pair.ours.detach().unwrap());
    let sent: Vec<u8> = (0..3 << 20).map(byte_at).collect();
    let expected = sent.clone();
    let writing = tokio::spawn(async move {
        writer.write_all(&sent).await.unwrap();
        writer
    });
    let mut back = vec![0; expected.len()];
    let reading = reader.read_exact(&mut back);
    tokio::time::timeout(WITHIN, reading)
        .await
        .expect("back")
        .unwrap();
    assert!(back == expected);

    let mut writer = writing.await.unwrap();
    let ending = async {
        writer.shutdown().await.unwrap();
        assert_eq!(reader.read(&mut [0; 16]).await.unwrap(), 0);
        writer.write(b"late").await.unwrap_err().kind()
    };
    let late = tokio::time::timeout(WITHIN, ending).await.expect("ended");
    assert_eq!(late, ErrorKind::BrokenPipe);
}

#[tokio::test]
async fn messages_keep_their_boundaries_for_those_who_ask() {
    let pair = Pair::connect(DataChannelInit::default()).await;
    // What came before the stream was made is part of it.
    pair.ours.send_text("first").unwrap();
    let (mut ours, mut theirs) = (pair.ours.detach().unwrap(), pair.theirs.detach().unwrap());
    let messages = [
        Message::Binary(Vec::new()),
        Message::Binary(vec![7; 100_000]),
        Message::Text("läst".to_owned()),
    ];
    for message in &messages {
        ours.write_message(message).await.unwrap();
    }
    let receiving = async {
        let first = theirs.read_message().await.unwrap();
        assert_eq!(first, Some(Message::Text("first".to_owned())));
        for message in &messages {
            assert_eq!(theirs.read_message().await.unwrap().as_ref(), Some(message));
        }

        ours.write_message(&Message::Binary(Vec::new()))
            .await
            .unwrap();
        ours.write_all(b"stream and message").await.unwrap();
        let mut start = [0; 6];
        theirs.read_exact(&mut start).await.unwrap();
        assert_eq!(&start, b"stream");
        let rest = theirs.read_message().await.unwrap();
        assert_eq!(rest, Some(Message::Binary(b" and message".to_vec())));

        let long = Message::Binary(vec![0; (256 << 10) + 1]);
        let refused = ours.write_message(&long).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::InvalidInput);
        drop(ours);
        assert_eq!(theirs.read_message().await.unwrap(), None);
    };
    tokio::time::timeout(WITHIN, receiving).await.expect("all");
}

#[tokio::test]
async fn a_connection_that_ends_is_no_end_of_the_stream() {
    let pair = Pair::connect(DataChannelInit::default()).await;
    let (mut ours, mut theirs) = (pair.ours.detach().unwrap(), pair.theirs.detach().unwrap());
    ours.write_all(b"half a ").await.unwrap();
    let ending = async {
        theirs.read_exact(&mut [0; 7]).await.unwrap();
        pair.caller.close();
        let told = theirs.read(&mut [0; 16]).await.unwrap_err().kind();
        assert_eq!(told, ErrorKind::ConnectionReset);
        let own = ours.read(&mut [0; 16]).await.unwrap_err().kind();
        assert_eq!(own, ErrorKind::ConnectionAborted);
        assert_eq!(ours.shutdown().await.unwrap_err().kind(), own);
        let broken = theirs.write(b"late").await.unwrap_err().kind();
        assert_eq!(broken, ErrorKind::BrokenPipe);
    };
    tokio::time::timeout(WITHIN, ending).await.expect("told");
}

#[tokio::test]
async fn what_is_no_stream_or_one_already_is_refused() {
    let lossy = DataChannelInit {
        max_retransmits: Some(3),
        ..DataChannelInit::default()
    };
    let unordered = DataChannelInit {
        ordered: false,
        ..DataChannelInit::default()
    };
    let connection = connection();
    for init in [lossy, unordered] {
        let channel = connection.create_data_channel("bulk", init).unwrap();
        assert_eq!(channel.detach().unwrap_err(), DetachError::NotAStream);
    }
    let init = DataChannelInit::default();
    let channel = connection.create_data_channel("bulk", init).unwrap();
    let stream = channel.detach().unwrap();
    assert_eq!(channel.detach().unwrap_err(), DetachError::Detached);
    assert_eq!(channel.next_event().await, None);
    assert_eq!(stream.channel().label(), "bulk");
}

#[tokio::test]
async fn a_stream_that_is_dropped_makes_room_for_others() {
    let pair = Pair::connect(DataChannelInit::default()).await;
    let init = DataChannelInit::default();
    let other = pair.caller.create_data_channel("other", init).unwrap();
    let theirs = announced(&pair.callee).await;
    let mut writer = pair.ours.detach().unwrap();
    let unread = pair.theirs.detach().unwrap();
    let (told, mut written) = tokio::sync::watch::channel(0);
    let writing = tokio::spawn(async move {
        loop {
            if let Err(error) = writer.write_all(&[1; 32 << 10]).await {
                return (error.kind(), writer);
            }
            told.send_modify(|len| *len += 32 << 10);
        }
    });
    let rest = async {
        // So much waits that the receiver window is as good as closed.
        written.wait_for(|len| *len >= 5 << 20).await.unwrap();
        drop(unread);
        for _ in 0..32 {
            other.send(vec![2; 200_000]).unwrap();
        }
        for _ in 0..32 {
            assert_eq!(
                theirs.next_message().await,
                Some(Message::Binary(vec![2; 200_000]))
            );
        }
        writing.await.unwrap().0
    };
    let broken = tokio::time::timeout(WITHIN, rest).await.expect("through");
    assert_eq!(broken, ErrorKind::BrokenPipe);
}

fn byte_at(at: usize) -> u8 {
    (at % 251) as u8
}

/// Two connections with a channel.
struct Pair {
    caller: PeerConnection,
    callee: PeerConnection,
    ours: DataChannel,
    theirs: DataChannel,
}

impl Pair {
    async fn connect(init: DataChannelInit) -> Self {
        let (caller, callee) = (connection(), connection());
        let ours = caller.create_data_channel("bulk", init).unwrap();
        caller.set_local_description(None).unwrap();
        let offer = caller.gathered_description().await.unwrap();
        callee.set_remote_description(offer).unwrap();
        callee.set_local_description(None).unwrap();
        let answer = callee.gathered_description().await.unwrap();
        caller.set_remote_description(answer).unwrap();
        ours.opened().await.unwrap();
        let theirs = announced(&callee).await;
        Self {
            caller,
            callee,
            ours,
            theirs,
        }
    }
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

/// A stream can be moved to another task.
const _: () = {
    const fn is_send<T: Send + Unpin>() {}
    is_send::<ByteStream>();
};
