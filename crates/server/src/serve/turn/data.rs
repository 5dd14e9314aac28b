//! Streams that carry a connection between a client and its peer: read when the machine asks for it,
//! written without losing anything, both at the same time.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::time::timeout;
use twocan_proto::turn::server::{CHUNK_LEN, StreamId};

use super::driver::Input;
use super::streams::WRITE_PATIENCE;

/// A task's end of what the driver says to a stream; it closes when the driver wants no more of it.
#[derive(Debug)]
pub(super) struct Link {
    /// What is to be written.
    pub(super) messages: mpsc::Receiver<Vec<u8>>,
    /// That something is to be read.
    pub(super) reads: mpsc::Receiver<()>,
    /// Bytes that are not written yet.
    pub(super) waiting: Arc<AtomicUsize>,
}

/// Carries until either side has had enough; `reads_now` says that it has been asked to read once.
pub(super) async fn carry(
    stream: impl AsyncRead + AsyncWrite,
    id: StreamId,
    link: Link,
    reads_now: bool,
    to: mpsc::Sender<Input>,
) {
    let Link {
        mut messages,
        reads,
        waiting,
    } = link;
    let (reader, mut writer) = tokio::io::split(stream);
    let reading = read(reader, id, reads, reads_now, &to);
    let writing = async {
        while let Some(mut message) = messages.recv().await {
            while let Ok(more) = messages.try_recv() {
                message.extend_from_slice(&more);
            }
            writer.write_all(&message).await?;
            writer.flush().await?;
            let len = message.len();
            waiting.fetch_sub(len, Ordering::Relaxed);
            let _ = to.send(Input::Written(id, len)).await;
        }
        writer.shutdown().await
    };
    tokio::pin!(reading, writing);
    let mut reader = tokio::select! {
        (reader, has_ended) = &mut reading => {
            if has_ended {
                let _ = to.send(Input::Closed(id)).await;
            }
            // What is on its way out still goes; the driver sends no more.
            if !matches!(timeout(WRITE_PATIENCE, &mut writing).await, Ok(Ok(()))) {
                return;
            }
            reader
        }
        written = &mut writing => {
            if written.is_err() {
                let _ = to.send(Input::Closed(id)).await;
                return;
            }
            // The driver wants no more, of reading neither.
            reading.await.0
        }
    };
    // What arrives and is not read would have the system take back what it has been given to send.
    let mut unread = [0; 1024];
    let _ = timeout(WRITE_PATIENCE, async {
        while matches!(reader.read(&mut unread).await, Ok(1..)) {}
    })
    .await;
}

/// Reads when it is asked to; answers once the stream has ended, which it then says, or nobody will
/// ask any more.
async fn read<R: AsyncRead + Unpin>(
    mut reader: R,
    id: StreamId,
    mut reads: mpsc::Receiver<()>,
    mut reads_now: bool,
    to: &mpsc::Sender<Input>,
) -> (R, bool) {
    while reads_now || reads.recv().await.is_some() {
        reads_now = false;
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
            break;
        }
    }
    (reader, false)
}
