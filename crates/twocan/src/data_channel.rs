//! `RTCDataChannel` (W3C webrtc-pc §6.2).

use std::sync::Arc;

use twocan_io::clock;
use twocan_proto::channel::{self, ChannelId, ChannelInit, Info, ReadyState, SendError};

use crate::error::Error;
use crate::peer_connection::Owner;
use crate::state::ChannelEntry;

pub use twocan_proto::channel::{Priority, Reliability};

/// How a channel is made: `RTCDataChannelInit`.
///
/// ```
/// use twocan::DataChannelInit;
/// let lossy = DataChannelInit { ordered: false, max_retransmits: Some(0), ..Default::default() };
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataChannelInit {
    /// Whether messages arrive in their order. Default `true`.
    pub ordered: bool,
    /// Milliseconds for which a message is sent again. Excludes `max_retransmits`.
    pub max_packet_life_time: Option<u16>,
    /// Times that a message is sent again. Excludes `max_packet_life_time`.
    pub max_retransmits: Option<u16>,
    /// The subprotocol. Default empty.
    pub protocol: String,
    /// Whether both applications make the channel themselves, with the same `id`. Default `false`.
    pub negotiated: bool,
    /// The id of a negotiated channel, 0 to 65534.
    pub id: Option<u16>,
    /// `priority` (W3C webrtc-priority §5), which the other side is told. Default low.
    pub priority: Priority,
}

impl Default for DataChannelInit {
    fn default() -> Self {
        Self {
            ordered: true,
            max_packet_life_time: None,
            max_retransmits: None,
            protocol: String::new(),
            negotiated: false,
            id: None,
            priority: Priority::Low,
        }
    }
}

impl DataChannelInit {
    pub(crate) fn with_label(self, label: &str) -> Result<ChannelInit, Error> {
        let reliability = match (self.max_packet_life_time, self.max_retransmits) {
            (None, None) => Reliability::Reliable,
            (Some(milliseconds), None) => Reliability::MaxPacketLifeTime(milliseconds),
            (None, Some(count)) => Reliability::MaxRetransmits(count),
            (Some(_), Some(_)) => {
                let reason = "max_packet_life_time and max_retransmits exclude each other".into();
                return Err(Error::Channel {
                    name: "TypeError",
                    reason,
                });
            }
        };
        Ok(ChannelInit {
            label: label.to_owned(),
            protocol: self.protocol,
            ordered: self.ordered,
            reliability,
            negotiated: self.negotiated,
            id: self.id,
            priority: self.priority,
        })
    }
}

/// A message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// A text.
    Text(String),
    /// Bytes.
    Binary(Vec<u8>),
}

impl Message {
    /// Its length in bytes.
    pub fn len(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Binary(bytes) => bytes.len(),
        }
    }

    /// Whether it has no content.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What it counts against the bound of waiting messages: an empty one takes room as well.
    pub(crate) fn cost(&self) -> usize {
        self.len() + 64
    }
}

impl From<channel::Message> for Message {
    fn from(message: channel::Message) -> Self {
        match message {
            channel::Message::Text(text) => Self::Text(text),
            channel::Message::Binary(bytes) => Self::Binary(bytes),
        }
    }
}

/// What happens on a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DataChannelEvent {
    /// Messages can be sent. Not reported for channels that the other side made: those are open.
    Open,
    /// A message arrived.
    Message(Message),
    /// The buffered amount fell to the threshold.
    BufferedAmountLow,
    /// The other side closes the channel.
    Closing,
    /// The channel is closed. This is the last event.
    Closed,
}

/// `readyState`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DataChannelState {
    /// Not connected yet.
    Connecting,
    /// Messages can be sent.
    Open,
    /// Being closed by either side.
    Closing,
    /// Closed.
    Closed,
}

/// A data channel. Cheap to clone; the connection lives as long as any handle.
///
/// What arrives waits for [`Self::next_event`]; an application that does not ask slows the
/// other side down and loses nothing.
#[derive(Debug, Clone)]
pub struct DataChannel {
    pub(crate) owner: Arc<Owner>,
    pub(crate) id: ChannelId,
}

impl DataChannel {
    pub(crate) fn new(owner: Arc<Owner>, id: ChannelId) -> Self {
        Self { owner, id }
    }

    /// `createDataChannel` of whatever has channels.
    pub(crate) fn create(
        owner: &Arc<Owner>,
        label: &str,
        init: DataChannelInit,
    ) -> Result<Self, Error> {
        let init = init.with_label(label)?;
        let id = owner.act(|state| {
            let id = state.peer.create_data_channel(init)?;
            let info = state.peer.channel_info(id).cloned();
            let entry = ChannelEntry {
                info,
                ..ChannelEntry::default()
            };
            state.channels.insert(id, entry);
            Ok(id)
        });
        let refused = |error: channel::OpenError| Error::Channel {
            name: error.name(),
            reason: error.to_string(),
        };
        Ok(Self::new(Arc::clone(owner), id.map_err(refused)?))
    }

    /// The next thing that happens; `None` after [`DataChannelEvent::Closed`], and once
    /// [detached](Self::detach).
    pub async fn next_event(&self) -> Option<DataChannelEvent> {
        let shared = &self.owner.shared;

        shared
            .until(|state| {
                let entry = state.channels.get(&self.id);
                if entry.is_some_and(|entry| entry.detached) {
                    return Some(None);
                }
                let was_full = state.is_full();
                if let Some(event) = state.next_channel_event(self.id) {
                    if was_full && !state.is_full() {
                        shared.wake.notify_one();
                    }
                    return Some(Some(event));
                }
                let over = state
                    .channels
                    .get(&self.id)
                    .is_none_or(|entry| entry.closed);
                over.then_some(None)
            })
            .await
    }

    /// The next message; other events are passed over. `None` once closed.
    pub async fn next_message(&self) -> Option<Message> {
        while let Some(event) = self.next_event().await {
            if let DataChannelEvent::Message(message) = event {
                return Some(message);
            }
        }
        None
    }

    /// Waits until the channel is open.
    ///
    /// # Errors
    /// `InvalidStateError` when it closes instead.
    pub async fn opened(&self) -> Result<(), Error> {
        let open = self
            .owner
            .shared
            .until(|state| match state.peer.channel_state(self.id) {
                Some(ReadyState::Open) => Some(true),
                Some(ReadyState::Connecting) if !state.finished => None,
                _ => Some(false),
            });
        if open.await {
            Ok(())
        } else {
            Err(refused(SendError::NotOpen))
        }
    }

    /// Sends a text; a `String` is taken without a copy.
    ///
    /// # Errors
    /// `InvalidStateError` when not open, `TypeError` when longer than the other side takes,
    /// `OperationError` when the buffer (16 MiB) is full: await [`Self::drained`] and send again.
    pub fn send_text(&self, text: impl Into<String>) -> Result<(), Error> {
        let mut state = self.owner.shared.lock();
        state
            .peer
            .send_text(clock::now(), self.id, text)
            .map_err(refused)?;
        drop(state);
        self.owner.shared.wake.notify_one();
        Ok(())
    }

    /// Sends bytes; a `Vec<u8>` is taken without a copy.
    ///
    /// # Errors
    /// As [`Self::send_text`].
    pub fn send(&self, bytes: impl Into<Vec<u8>>) -> Result<(), Error> {
        let mut state = self.owner.shared.lock();
        state
            .peer
            .send_binary(clock::now(), self.id, bytes.into())
            .map_err(refused)?;
        drop(state);
        self.owner.shared.wake.notify_one();
        Ok(())
    }

    /// Waits until at most `threshold` bytes are buffered, or the channel is closed.
    pub async fn drained(&self, threshold: usize) {
        let shared = &self.owner.shared;
        shared
            .lock()
            .peer
            .set_buffered_amount_low_threshold(self.id, threshold);
        shared
            .until(|state| {
                let open = state.peer.channel_state(self.id).is_some() && !state.finished;
                let low = state.peer.buffered_amount(self.id) <= threshold;
                (low || !open).then_some(())
            })
            .await;
    }

    /// `bufferedAmount`: bytes that wait to be sent.
    pub fn buffered_amount(&self) -> usize {
        self.owner.shared.lock().peer.buffered_amount(self.id)
    }

    /// `bufferedAmountLowThreshold`, in bytes. Default 0.
    pub fn set_buffered_amount_low_threshold(&self, threshold: usize) {
        let mut state = self.owner.shared.lock();
        state
            .peer
            .set_buffered_amount_low_threshold(self.id, threshold);
    }

    /// `readyState`.
    pub fn ready_state(&self) -> DataChannelState {
        let state = self.owner.shared.lock();
        match state.peer.channel_state(self.id) {
            Some(ReadyState::Connecting) => DataChannelState::Connecting,
            Some(ReadyState::Open) => DataChannelState::Open,
            Some(ReadyState::Closing) => DataChannelState::Closing,
            None => DataChannelState::Closed,
        }
    }

    /// `label`.
    pub fn label(&self) -> String {
        self.info().map(|info| info.label).unwrap_or_default()
    }

    /// `protocol`.
    pub fn protocol(&self) -> String {
        self.info().map(|info| info.protocol).unwrap_or_default()
    }

    /// `id`, once assigned.
    pub fn id(&self) -> Option<u16> {
        self.info().and_then(|info| info.id)
    }

    /// `ordered`.
    pub fn ordered(&self) -> bool {
        self.info().is_none_or(|info| info.ordered)
    }

    /// `negotiated`: whether both applications made it.
    pub fn negotiated(&self) -> bool {
        self.info().is_some_and(|info| info.negotiated)
    }

    /// `maxPacketLifeTime` and `maxRetransmits`.
    pub fn reliability(&self) -> Reliability {
        self.info()
            .map_or(Reliability::Reliable, |info| info.reliability)
    }

    /// `priority` (W3C webrtc-priority §5).
    pub fn priority(&self) -> Priority {
        self.info().map_or(Priority::Low, |info| info.priority)
    }

    /// Closes the channel after what is buffered was sent.
    pub fn close(&self) {
        self.owner.shared.lock().peer.close_data_channel(self.id);
        self.owner.shared.wake.notify_one();
    }

    fn info(&self) -> Option<Info> {
        let state = self.owner.shared.lock();
        let live = state.peer.channel_info(self.id).cloned();
        live.or_else(|| {
            state
                .channels
                .get(&self.id)
                .and_then(|entry: &ChannelEntry| entry.info.clone())
        })
    }
}

fn refused(error: SendError) -> Error {
    Error::Channel {
        name: error.name(),
        reason: error.to_string(),
    }
}
