//! Timed captions over a data channel: what is spoken, as text, and when. There is no standard for it;
//! `docs/captions.md` describes the format, which is small.
//!
//! ```no_run
//! # async fn example(peer: twocan::PeerConnection) -> Result<(), twocan::Error> {
//! use std::time::Duration;
//! use twocan::captions::{Caption, Clock};
//!
//! let captions = peer.create_caption_channel("captions", Clock::Channel)?;
//! let mut line = Caption {
//!     id: 1,
//!     start: Duration::from_millis(400),
//!     end: None,
//!     language: Some("en".to_owned()),
//!     text: "Good mor".to_owned(),
//!     is_final: false,
//! };
//! captions.send(&line).await?;
//! line.text = "Good morning.".to_owned();
//! line.end = Some(Duration::from_millis(1250));
//! line.is_final = true;
//! captions.send(&line).await?;
//! # Ok(()) }
//! ```
//!
//! The other side reads them, shows them, and keeps them:
//!
//! ```no_run
//! # async fn example(channel: twocan::DataChannel) -> Result<(), twocan::Error> {
//! use std::time::Duration;
//! use twocan::captions::{CaptionReceiver, Transcript};
//!
//! let receiver = CaptionReceiver::new(channel)?;
//! let mut transcript = Transcript::new();
//! while let Some(caption) = receiver.next_caption().await {
//!     transcript.add(&caption);
//! }
//! println!("{}", transcript.to_webvtt(Duration::ZERO));
//! # Ok(()) }
//! ```

mod message;
mod transcript;

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::data_channel::{DataChannel, DataChannelInit, Message, Reliability};
use crate::error::Error;
use crate::peer_connection::PeerConnection;

pub use message::{
    Caption, CaptionError, CaptionReader, Clock, MESSAGE_LEN_MAX, TEXT_CHARS_MAX, greeting, write,
};
pub use transcript::{CAPTIONS_MAX, TEXT_LEN_MAX, Transcript};

/// The subprotocol of the channel.
pub const PROTOCOL: &str = "twocan.captions";

/// Bytes that may wait in the channel when a caption is added: on a way that carries little, whoever
/// sends waits, and sends what is thought by then.
const BUFFERED_MAX: usize = 4096;

/// The sender of captions. Not in the standard.
///
/// Dropping it leaves the channel open; it is closed by [`DataChannel::close`].
#[derive(Debug)]
pub struct CaptionSender {
    channel: DataChannel,
    clock: Clock,
    /// Whether the clock was stated.
    greeted: Mutex<bool>,
}

/// The receiver of captions. Not in the standard.
#[derive(Debug)]
pub struct CaptionReceiver {
    channel: DataChannel,
    reading: Mutex<Reading>,
}

#[derive(Debug, Default)]
struct Reading {
    reader: CaptionReader,
    refused: u64,
}

impl PeerConnection {
    /// Makes a channel for captions, and sends them. Not in the standard.
    ///
    /// # Errors
    /// As [`Self::create_data_channel`].
    pub fn create_caption_channel(
        &self,
        label: &str,
        clock: Clock,
    ) -> Result<CaptionSender, Error> {
        let init = DataChannelInit {
            protocol: PROTOCOL.to_owned(),
            ..DataChannelInit::default()
        };
        CaptionSender::new(self.create_data_channel(label, init)?, clock)
    }
}

impl CaptionSender {
    /// Sends captions on a channel whose [`protocol`](DataChannel::protocol) is [`PROTOCOL`]; may be one
    /// that the other side made.
    ///
    /// # Errors
    /// `NotSupportedError` for another subprotocol, and for a channel that is not ordered and reliable.
    pub fn new(channel: DataChannel, clock: Clock) -> Result<Self, Error> {
        check(&channel)?;
        Ok(Self {
            channel,
            clock,
            greeted: Mutex::new(false),
        })
    }

    /// The channel, for its attributes.
    pub fn channel(&self) -> &DataChannel {
        &self.channel
    }

    /// Sends a caption, or another version of one that went before, once the channel is open and takes
    /// more: at most 4 KiB wait there. Of a recogniser that is faster than the way, send what it thinks
    /// when this is done.
    ///
    /// # Errors
    /// `TypeError` for a caption that cannot be sent ([`CaptionError`] says why in its words),
    /// `InvalidStateError` when the channel closes.
    pub async fn send(&self, caption: &Caption) -> Result<(), Error> {
        let message = write(caption).map_err(|error| Error::Channel {
            name: "TypeError",
            reason: error.to_string(),
        })?;
        self.channel.opened().await?;
        self.channel.drained(BUFFERED_MAX).await;
        // Held over both, so that nobody's caption goes before the clock.
        let mut greeted = locked(&self.greeted);
        if !*greeted {
            self.channel.send_text(greeting(self.clock))?;
            *greeted = true;
        }
        self.channel.send_text(message)
    }
}

impl CaptionReceiver {
    /// Reads the channel's messages from here on; mostly it is one that the other side made and whose
    /// [`protocol`](DataChannel::protocol) is [`PROTOCOL`].
    ///
    /// # Errors
    /// As [`CaptionSender::new`].
    pub fn new(channel: DataChannel) -> Result<Self, Error> {
        check(&channel)?;
        Ok(Self {
            channel,
            reading: Mutex::default(),
        })
    }

    /// The channel, for its attributes.
    pub fn channel(&self) -> &DataChannel {
        &self.channel
    }

    /// The next caption; `None` once the channel is closed. What is none is passed over, and
    /// [counted](Self::refused). An application that does not ask slows the other side down.
    pub async fn next_caption(&self) -> Option<Caption> {
        loop {
            let message = self.channel.next_message().await?;
            let mut reading = locked(&self.reading);
            let read = match &message {
                Message::Text(text) => reading.reader.read(text),
                Message::Binary(_) => Err(CaptionError::Malformed),
            };
            match read {
                Ok(Some(caption)) => return Some(caption),
                Ok(None) => {}
                Err(error) => {
                    tracing::debug!(%error, "a caption is passed over");
                    reading.refused += 1;
                }
            }
        }
    }

    /// The clock of the captions, once the other side has stated it.
    pub fn clock(&self) -> Option<Clock> {
        locked(&self.reading).reader.clock()
    }

    /// Messages that were no captions.
    pub fn refused(&self) -> u64 {
        locked(&self.reading).refused
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn check(channel: &DataChannel) -> Result<(), Error> {
    let is_whole = channel.ordered() && channel.reliability() == Reliability::Reliable;
    if channel.protocol() == PROTOCOL && is_whole {
        return Ok(());
    }
    Err(Error::Channel {
        name: "NotSupportedError",
        reason: format!("the channel is not one for captions: ordered, reliable, {PROTOCOL}"),
    })
}
