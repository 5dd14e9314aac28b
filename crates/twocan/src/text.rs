//! Real-time text (ITU-T T.140) over data channels (RFC 8865): the other side reads what is written
//! while it is written.
//!
//! ```no_run
//! # async fn example(peer: twocan::PeerConnection) -> Result<(), twocan::Error> {
//! use twocan::text::{Change, TextOptions};
//!
//! let text = peer.create_text_channel("me", TextOptions::default())?;
//! text.write("Helo\u{8}lo\n")?;
//! while let Some(change) = text.next_change().await {
//!     match change {
//!         Change::Added(added) => print!("{added}"),
//!         Change::Erased(count) => print!("{}", "\u{8} \u{8}".repeat(count)),
//!         Change::Alert => print!("\u{7}"),
//!     }
//! }
//! # Ok(()) }
//! ```
//!
//! The channel is told in band (RFC 8832), with the subprotocol `t140`; `a=dcmap` and `a=dcsa` (RFC
//! 8864), by which descriptions tell it, are not written and not read, so `cps` and languages
//! are the applications' to agree on.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinHandle;
use twocan_io::clock;
use twocan_proto::t140::{CPS_DEFAULT, INTERVAL_DEFAULT, PROTOCOL, Receiver, Sender};

use crate::data_channel::{DataChannel, DataChannelInit, Message, Reliability};
use crate::error::Error;
use crate::peer_connection::PeerConnection;

pub use twocan_proto::t140::{Change, MISSING, TEXT_CHARS_MAX, WAITING_CHARS_MAX};

/// Bytes that may wait in the channel when a block is added: on a way that carries little, text
/// waits where it can still be erased.
const BUFFERED_MAX: usize = 1024;

/// How text is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TextOptions {
    /// Between two blocks (RFC 8865 §5.3), at most 500 ms. Default 300 ms.
    pub interval: Duration,
    /// Characters a second that the other side takes (RFC 8865 §4.2.1), at least 1. Default 30.
    pub cps: u32,
}

impl Default for TextOptions {
    fn default() -> Self {
        Self {
            interval: INTERVAL_DEFAULT,
            cps: CPS_DEFAULT,
        }
    }
}

/// A conversation in real-time text. Both sides write and read on the same channel.
///
/// Dropping it ends writing; what waits is not sent then, for which [`Self::sent`] waits. The
/// channel is closed by [`DataChannel::close`].
#[derive(Debug)]
pub struct RealTimeText {
    channel: DataChannel,
    writing: Arc<Writing>,
    reading: Mutex<Reading>,
    task: JoinHandle<()>,
}

/// Shared with the task that sends.
#[derive(Debug)]
struct Writing {
    state: Mutex<WritingState>,
    /// Wakes the task.
    written: Notify,
    /// Wakes those who wait for it.
    sent: Notify,
}

#[derive(Debug)]
struct WritingState {
    sender: Sender,
    /// The channel takes no more.
    over: bool,
}

#[derive(Debug, Default)]
struct Reading {
    receiver: Receiver,
    changes: VecDeque<Change>,
}

impl PeerConnection {
    /// Makes a channel for real-time text (RFC 8865) and writes to it. Not in the standard.
    ///
    /// # Errors
    /// As [`Self::create_data_channel`].
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn create_text_channel(
        &self,
        label: &str,
        options: TextOptions,
    ) -> Result<RealTimeText, Error> {
        let init = DataChannelInit {
            protocol: PROTOCOL.to_owned(),
            ..DataChannelInit::default()
        };
        RealTimeText::new(self.create_data_channel(label, init)?, options)
    }
}

impl RealTimeText {
    /// A conversation on a channel, mostly one that the other side made and whose
    /// [`protocol`](DataChannel::protocol) is `t140`. Reads the channel's messages from here on.
    ///
    /// # Errors
    /// `NotSupportedError` for another subprotocol, and for a channel that is not ordered and
    /// reliable (RFC 8865 §4.1).
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn new(channel: DataChannel, options: TextOptions) -> Result<Self, Error> {
        check(&channel)?;
        let writing = Arc::new(Writing {
            state: Mutex::new(WritingState {
                sender: Sender::new(options.interval, options.cps),
                over: false,
            }),
            written: Notify::new(),
            sent: Notify::new(),
        });
        let task = tokio::spawn(send_blocks(channel.clone(), Arc::clone(&writing)));
        Ok(Self {
            channel,
            writing,
            reading: Mutex::default(),
            task,
        })
    }

    /// Goes on with another channel, after the one before was lost (RFC 8865 §5.4): what waits is
    /// sent there, and [`MISSING`] is added to what was received, since nobody knows what was lost.
    ///
    /// # Errors
    /// As [`Self::new`]; nothing has changed then.
    pub fn continue_on(&mut self, channel: DataChannel) -> Result<(), Error> {
        check(&channel)?;
        self.task.abort();
        let mut state = self.writing.lock();
        state.sender.begin_again();
        state.over = false;
        drop(state);
        let reading = self
            .reading
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner);
        reading.changes.extend(reading.receiver.note_missing());
        self.channel = channel;
        let writing = Arc::clone(&self.writing);
        self.task = tokio::spawn(send_blocks(self.channel.clone(), writing));
        Ok(())
    }

    /// The channel, for its attributes.
    pub fn channel(&self) -> &DataChannel {
        &self.channel
    }

    /// Writes: letters, U+0008 to erase the character before, `\n` for a line, U+0007 for attention.
    /// What has not left yet is erased without the other side hearing of it. May be called before the
    /// channel is open.
    ///
    /// # Errors
    /// `OperationError` when more than [`WAITING_CHARS_MAX`] characters would wait; nothing is
    /// written then. `InvalidStateError` when the channel is closed.
    pub fn write(&self, text: &str) -> Result<(), Error> {
        let mut state = self.writing.lock();
        if state.over {
            return Err(closed());
        }
        let written = state.sender.write(clock::now().monotonic, text);
        drop(state);
        self.writing.written.notify_one();
        written.map_err(|full| Error::Channel {
            name: "OperationError",
            reason: full.to_string(),
        })
    }

    /// Waits until all that was written is handed to the channel.
    ///
    /// # Errors
    /// `InvalidStateError` when the channel closes first.
    pub async fn sent(&self) -> Result<(), Error> {
        loop {
            let sent = self.writing.sent.notified();
            tokio::pin!(sent);
            // Registered before the look, so that nothing is missed between look and wait.
            sent.as_mut().enable();
            {
                let state = self.writing.lock();
                if state.sender.waiting() == 0 {
                    return Ok(());
                }
                if state.over {
                    return Err(closed());
                }
            }
            sent.await;
        }
    }

    /// What the other side's text becomes next; `None` once the channel is closed. What is no
    /// text is passed over.
    pub async fn next_change(&self) -> Option<Change> {
        loop {
            if let Some(change) = self.reading().changes.pop_front() {
                return Some(change);
            }
            if let Message::Text(block) = self.channel.next_message().await? {
                let mut reading = self.reading();
                let changes = reading.receiver.receive(&block);
                reading.changes.extend(changes);
            }
        }
    }

    /// The other side's text as it stands, as far as [`Self::next_change`] has come: the last
    /// [`TEXT_CHARS_MAX`] characters.
    pub fn received(&self) -> String {
        self.reading().receiver.text()
    }

    fn reading(&self) -> MutexGuard<'_, Reading> {
        self.reading.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for RealTimeText {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Writing {
    fn lock(&self) -> MutexGuard<'_, WritingState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sends what is written, block by block, until the channel closes.
async fn send_blocks(channel: DataChannel, writing: Arc<Writing>) {
    let mut open = channel.opened().await.is_ok();
    while open {
        let due = writing.lock().sender.deadline();
        let Some(due) = due else {
            writing.written.notified().await;
            continue;
        };
        tokio::time::sleep_until(due.into()).await;
        channel.drained(BUFFERED_MAX).await;
        let block = writing.lock().sender.poll_block(clock::now().monotonic);
        if let Some(block) = block {
            open = channel.send_text(block).is_ok();
            writing.sent.notify_waiters();
        }
    }
    writing.lock().over = true;
    writing.sent.notify_waiters();
}

fn check(channel: &DataChannel) -> Result<(), Error> {
    let is_whole = channel.ordered() && channel.reliability() == Reliability::Reliable;
    if channel.protocol() == PROTOCOL && is_whole {
        return Ok(());
    }
    Err(Error::Channel {
        name: "NotSupportedError",
        reason: "the channel is not one for T.140: ordered, reliable, subprotocol t140".to_owned(),
    })
}

fn closed() -> Error {
    Error::Channel {
        name: "InvalidStateError",
        reason: "the channel is closed".to_owned(),
    }
}
