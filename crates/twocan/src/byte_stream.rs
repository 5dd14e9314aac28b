//! A data channel as a stream of bytes, for whatever speaks to sockets.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use thiserror::Error as ThisError;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use twocan_io::clock;
use twocan_proto::channel::{CloseCause, ReadyState, SendError};
use twocan_proto::sctp::CloseReason;

use crate::data_channel::{DataChannel, DataChannelEvent, Message, Reliability};
use crate::state::WaitingWriter;

/// Bytes that wait to be sent on a detached channel; then writers wait.
const BUFFERED_MAX: usize = 256 << 10;

/// Writers go on when no more than this waits.
const BUFFERED_LOW: usize = BUFFERED_MAX / 2;

/// Bytes of a stream that one message carries at most: what every other side takes (RFC 8841 §6.1).
const MESSAGE_LEN: usize = 64 << 10;

/// Why a channel was not detached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ThisError)]
pub enum DetachError {
    /// Messages may be lost or overtake each other, so that their bytes are no stream.
    #[error("the channel is not ordered and reliable")]
    NotAStream,
    /// It was detached before.
    #[error("the channel is detached already")]
    Detached,
}

impl DetachError {
    /// The W3C's name for such a refusal.
    pub fn name(self) -> &'static str {
        match self {
            Self::NotAStream => "NotSupportedError",
            Self::Detached => "InvalidStateError",
        }
    }
}

/// A channel taken out of its events: [`DataChannel::detach`] makes it.
///
/// - **Reading** yields the content of the messages one after another; texts are their UTF-8. A
///   reader that does not read slows the other side: 1 MiB waits for the application, the rest in
///   the receiver window of SCTP (4 MiB), over all channels of the connection, which are slowed
///   with it. The message that is being read, 256 KiB at most by default, comes on top.
/// - **Writing** cuts what it is given into messages of at most 64 KiB, or what the other side takes
///   if that is less; a write that is shorter is one message. When 256 KiB wait to be sent, it
///   waits until half of that is gone. Flushing has nothing to do: what was written is sent.
/// - **The end**: when the other side has closed the channel and all that it sent was read, reading
///   yields no more bytes. When the connection ended or began anew instead, something may be
///   missing, and it is [`io::ErrorKind::ConnectionReset`]; after our own
///   [`PeerConnection::close`](crate::PeerConnection::close) it is
///   [`io::ErrorKind::ConnectionAborted`]. Writing fails with [`io::ErrorKind::BrokenPipe`] from the
///   moment that either side closes.
/// - **Shutting down** closes both directions, since a channel has no half (RFC 8831 §6.7), and is
///   done when the other side has all that was written and has closed as well; what it sent until
///   then is still to be read, and is waited for: one who shuts down while much is coming reads on,
///   with the other half of `tokio::io::split`.
/// - **Dropping** closes the channel in the background and forgets what was not read.
///
/// Before the channel is open, both wait.
#[derive(Debug)]
pub struct ByteStream {
    channel: DataChannel,
    /// A message of which a part was read.
    message: Vec<u8>,
    /// How much of it.
    read: usize,
}

impl DataChannel {
    /// Takes the channel out of its events and hands it out as a stream of bytes, with tokio's
    /// `AsyncRead` and `AsyncWrite`: the other side sees binary messages. Other handles of it stay
    /// good for its attributes; their [`Self::next_event`] answers `None`. What arrived and was not
    /// taken is part of the stream. Not in the standard.
    ///
    /// ```no_run
    /// # async fn example(channel: twocan::DataChannel) -> Result<(), Box<dyn std::error::Error>> {
    /// use tokio::io::copy_bidirectional;
    /// use tokio::net::TcpStream;
    ///
    /// let mut stream = channel.detach()?;
    /// let mut ssh = TcpStream::connect("127.0.0.1:22").await?;
    /// copy_bidirectional(&mut stream, &mut ssh).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`DetachError::NotAStream`] unless the channel is ordered and reliable,
    /// [`DetachError::Detached`] the second time.
    pub fn detach(&self) -> Result<ByteStream, DetachError> {
        if !self.ordered() || self.reliability() != Reliability::Reliable {
            return Err(DetachError::NotAStream);
        }
        let shared = &self.owner.shared;
        let mut state = shared.lock();
        let entry = state.channels.entry(self.id).or_default();
        if entry.detached {
            return Err(DetachError::Detached);
        }
        entry.detached = true;
        drop(state);
        // Whoever waits for an event gets none any more.
        shared.notify();
        Ok(ByteStream {
            channel: self.clone(),
            message: Vec::new(),
            read: 0,
        })
    }
}

impl ByteStream {
    /// The channel, for its attributes.
    pub fn channel(&self) -> &DataChannel {
        &self.channel
    }

    /// The next message, with its boundaries; of one that was read in part, the rest. `None` once
    /// the other side has closed the channel. May be cancelled; nothing is lost then.
    ///
    /// # Errors
    /// As reading has them.
    pub async fn read_message(&mut self) -> io::Result<Option<Message>> {
        if self.read < self.message.len() {
            let rest = self.message.split_off(self.read);
            self.message = Vec::new();
            self.read = 0;
            return Ok(Some(Message::Binary(rest)));
        }
        std::future::poll_fn(|context| self.poll_message(context)).await
    }

    /// Sends a message whole, once there is room. May be cancelled; nothing is sent then.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidInput`] for one that is longer than the other side takes, otherwise
    /// as writing has them.
    pub async fn write_message(&mut self, message: &Message) -> io::Result<()> {
        std::future::poll_fn(|context| self.poll_send(context, |_| message.clone())).await
    }

    /// The next message, or the end.
    fn poll_message(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Option<Message>>> {
        let shared = &self.channel.owner.shared;
        let mut state = shared.lock();
        let was_full = state.is_full();
        while let Some(event) = state.next_channel_event(self.channel.id) {
            if let DataChannelEvent::Message(message) = event {
                if was_full && !state.is_full() {
                    shared.wake.notify_one();
                }
                return Poll::Ready(Ok(Some(message)));
            }
        }
        let Some(entry) = state.channels.get_mut(&self.channel.id) else {
            return Poll::Ready(Err(aborted()));
        };
        if !entry.closed {
            entry.reader = Some(context.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(ended(entry.cause).map(|()| None))
    }

    /// Sends what `message` makes of the room that there is, once there is some.
    fn poll_send(
        &mut self,
        context: &mut Context<'_>,
        message: impl FnOnce(usize) -> Message,
    ) -> Poll<io::Result<()>> {
        let id = self.channel.id;
        let shared = &self.channel.owner.shared;
        let mut state = shared.lock();
        match state.peer.channel_state(id) {
            Some(ReadyState::Open) if !state.finished => {}
            Some(ReadyState::Connecting) if !state.finished => {
                let waits = WaitingWriter::new(id, BUFFERED_LOW, context.waker());
                state.wait_to_write(waits);
                return Poll::Pending;
            }
            _ => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
        let room = BUFFERED_MAX.saturating_sub(state.peer.buffered_amount(id));
        if room == 0 {
            let waits = WaitingWriter::new(id, BUFFERED_LOW, context.waker());
            state.wait_to_write(waits);
            return Poll::Pending;
        }
        let max = state.peer.max_message_size().unwrap_or(usize::MAX);
        let now = clock::now();
        let sent = match message(room.min(max).min(MESSAGE_LEN)) {
            Message::Text(text) => state.peer.send_text(now, id, text),
            Message::Binary(bytes) => state.peer.send_binary(now, id, bytes),
        };
        match sent {
            Ok(()) => {
                drop(state);
                shared.wake.notify_one();
                Poll::Ready(Ok(()))
            }
            // The buffer of all channels together is full: it is tried again whenever some is sent.
            Err(SendError::WouldBlock) => {
                let waits = WaitingWriter::new(id, usize::MAX, context.waker());
                state.wait_to_write(waits);
                Poll::Pending
            }
            Err(error @ SendError::TooLarge { .. }) => {
                Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidInput, error)))
            }
            Err(SendError::NotOpen) => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }
}

impl AsyncRead for ByteStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if out.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        // An empty message is no byte, which would look like the end.
        while self.read >= self.message.len() {
            self.read = 0;
            self.message = match ready!(self.poll_message(context))? {
                Some(Message::Binary(bytes)) => bytes,
                Some(Message::Text(text)) => text.into_bytes(),
                None => {
                    self.message = Vec::new();
                    return Poll::Ready(Ok(()));
                }
            };
        }
        let rest = self.message.get(self.read..).unwrap_or_default();
        let taken = rest.get(..out.remaining()).unwrap_or(rest);
        out.put_slice(taken);
        self.read += taken.len();
        if self.read == self.message.len() {
            self.message = Vec::new();
            self.read = 0;
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for ByteStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let mut written = 0;
        ready!(self.poll_send(context, |room| {
            let taken = bytes.get(..room).unwrap_or(bytes);
            written = taken.len();
            Message::Binary(taken.to_vec())
        }))?;
        Poll::Ready(Ok(written))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let id = self.channel.id;
        let shared = &self.channel.owner.shared;
        let mut state = shared.lock();
        let Some(entry) = state.channels.get_mut(&id) else {
            return Poll::Ready(Err(aborted()));
        };
        if entry.closed {
            return Poll::Ready(ended(entry.cause));
        }
        entry.closer = Some(context.waker().clone());
        state.peer.close_data_channel(id);
        drop(state);
        shared.wake.notify_one();
        Poll::Pending
    }
}

impl Drop for ByteStream {
    fn drop(&mut self) {
        let shared = &self.channel.owner.shared;
        let mut state = shared.lock();
        state.peer.close_data_channel(self.channel.id);
        state.forget_messages(self.channel.id);
        drop(state);
        shared.wake.notify_one();
    }
}

/// How a closed channel ends its stream.
fn ended(cause: Option<CloseCause>) -> io::Result<()> {
    let reason = match cause {
        // Everything was delivered before.
        Some(CloseCause::Closed | CloseCause::Ended(CloseReason::Shutdown)) => return Ok(()),
        Some(CloseCause::Ended(CloseReason::Aborted)) | None => return Err(aborted()),
        Some(CloseCause::Ended(_)) => "the connection ended",
        Some(CloseCause::Restarted) => "the other side began anew",
        Some(CloseCause::NoIdLeft) => "no id was left for the channel",
    };
    Err(io::Error::new(io::ErrorKind::ConnectionReset, reason))
}

fn aborted() -> io::Error {
    io::Error::new(
        io::ErrorKind::ConnectionAborted,
        "the connection was closed",
    )
}
