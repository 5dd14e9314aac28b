//! Streams that carry a connection between a client and its peer: read when the machine asks for it,
//! written without losing anything, both at the same time.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::time::timeout;
use twocan_proto::turn::server::{CHUNK_LEN, StreamId};

use super::driver::Input;
use super::streams::{Ask, WRITE_PATIENCE};

/// How long a stream that has ended on our side stays for the other end to take what it was sent.
const LINGER: Duration = Duration::from_secs(5);

/// Streams that stay so at a time; others are closed at once.
const LINGERING_MAX: usize = 256;

static LINGERING: AtomicUsize = AtomicUsize::new(0);

/// A task's end of what the driver says to a stream; it closes when the driver wants no more of it.
#[derive(Debug)]
pub(super) struct Link {
    /// What is to be written.
    pub(super) messages: mpsc::Receiver<Vec<u8>>,
    /// When something is to be read.
    pub(super) reads: mpsc::Receiver<Ask>,
    /// Bytes that are not written yet.
    pub(super) waiting: Arc<AtomicUsize>,
}

/// Carries until either side has had enough; `first` is what it was asked already.
pub(super) async fn carry(
    stream: impl AsyncRead + AsyncWrite,
    id: StreamId,
    link: Link,
    first: Ask,
    to: mpsc::Sender<Input>,
) {
    let Link {
        mut messages,
        reads,
        waiting,
    } = link;
    let (reader, mut writer) = tokio::io::split(stream);
    let reading = read(reader, id, reads, first, &to);
    let writing = async {
        let mut has_written = false;
        while let Some(mut message) = messages.recv().await {
            while let Ok(more) = messages.try_recv() {
                message.extend_from_slice(&more);
            }
            writer.write_all(&message).await?;
            writer.flush().await?;
            has_written = true;
            let len = message.len();
            waiting.fetch_sub(len, Ordering::Relaxed);
            let _ = to.send(Input::Written(id, len)).await;
        }
        writer.shutdown().await?;
        Ok::<bool, io::Error>(has_written)
    };
    tokio::pin!(reading, writing);
    let (mut reader, has_written) = tokio::select! {
        (reader, has_ended) = &mut reading => {
            if has_ended {
                let _ = to.send(Input::Closed(id)).await;
            }
            // What is on its way out still goes; the driver sends no more.
            let Ok(Ok(has_written)) = timeout(WRITE_PATIENCE, &mut writing).await else {
                return;
            };
            (reader, has_written && !has_ended)
        }
        written = &mut writing => {
            let Ok(has_written) = written else {
                let _ = to.send(Input::Closed(id)).await;
                return;
            };
            // The driver wants no more, of reading neither.
            (reading.await.0, has_written)
        }
    };
    if !has_written {
        return;
    }
    // What arrives and is not read would have the system take back what it has been given to send.
    if LINGERING.fetch_add(1, Ordering::Relaxed) < LINGERING_MAX {
        let mut unread = [0; 1024];
        let _ = timeout(LINGER, async {
            while matches!(reader.read(&mut unread).await, Ok(1..)) {}
        })
        .await;
    }
    LINGERING.fetch_sub(1, Ordering::Relaxed);
}

/// Reads when it is asked to; answers once the stream has ended, which it then says, or nobody will
/// ask any more.
async fn read<R: AsyncRead + Unpin>(
    mut reader: R,
    id: StreamId,
    mut reads: mpsc::Receiver<Ask>,
    first: Ask,
    to: &mpsc::Sender<Input>,
) -> (R, bool) {
    let mut asked = first;
    loop {
        while asked == Ask::Hold {
            match reads.recv().await {
                Some(next) => asked = next,
                None => return (reader, false),
            }
        }
        asked = Ask::Hold;
        let mut bytes = Vec::with_capacity(CHUNK_LEN);
        let read = loop {
            tokio::select! {
                read = reader.read_buf(&mut bytes) => break read,
                again = reads.recv() => if again.is_none() {
                    return (reader, false);
                },
            }
        };
        if !matches!(read, Ok(1..)) {
            return (reader, true);
        }
        if to.send(Input::Bytes(id, bytes)).await.is_err() {
            return (reader, false);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serve::turn::streams::Outgoing;

    const ID: StreamId = StreamId(1);

    #[tokio::test]
    async fn one_who_was_sent_nothing_is_let_go_at_once() {
        // Its other end stays open.
        let (near, _far) = tokio::io::duplex(100);
        let (outgoing, link) = Outgoing::new();
        let (to, mut inputs) = mpsc::channel(8);
        let carried = tokio::spawn(carry(near, ID, link, Ask::Hold, to));
        drop(outgoing);
        tokio::time::timeout(LINGER / 2, carried)
            .await
            .expect("not kept open")
            .unwrap();
        assert!(inputs.recv().await.is_none(), "nothing to say of it");
    }

    #[tokio::test]
    async fn both_ways_go_on_while_the_other_end_reads_nothing() {
        let (near, mut far) = tokio::io::duplex(100);
        let (mut outgoing, link) = Outgoing::new();
        let (to, mut inputs) = mpsc::channel(8);
        tokio::spawn(carry(near, ID, link, Ask::Hold, to));
        assert!(outgoing.send(vec![7; 1000]));
        // It is stuck with that, and reads when it is asked to, and no more than once.
        far.write_all(b"one").await.unwrap();
        outgoing.ask(Ask::Read);
        assert!(matches!(inputs.recv().await, Some(Input::Bytes(ID, bytes)) if bytes == b"one"));
        far.write_all(b"two").await.unwrap();
        let mut sent = vec![0; 1000];
        far.read_exact(&mut sent).await.unwrap();
        assert!(matches!(
            inputs.recv().await,
            Some(Input::Written(ID, 1000))
        ));
        outgoing.ask(Ask::Read);
        assert!(matches!(inputs.recv().await, Some(Input::Bytes(ID, bytes)) if bytes == b"two"));
        // What is still to be written goes out before the end.
        assert!(outgoing.send(b"last".to_vec()));
        drop(outgoing);
        let mut last = Vec::new();
        far.read_to_end(&mut last).await.unwrap();
        assert_eq!(last, b"last");
    }
}
