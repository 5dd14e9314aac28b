//! Data channels: what the application does with them.

use crate::channel::{ChannelId, ChannelInit, Event, Info, OpenError, ReadyState, SendError};
use crate::peer::Peer;
use crate::sctp;
use crate::time::Now;

impl Peer {
    /// `createDataChannel`. The first one asks for a section in the next offer.
    ///
    /// # Errors
    /// [`OpenError`] has the W3C's name and our reason.
    pub fn create_data_channel(&mut self, init: ChannelInit) -> Result<ChannelId, OpenError> {
        if self.is_closed() {
            return Err(OpenError::Ended);
        }
        let id = self.transport.channels.open(init)?;
        self.negotiator.want_data();
        self.check_negotiation_needed();
        Ok(id)
    }

    /// Sends a text on a channel; a `String` is taken without a copy.
    ///
    /// # Errors
    /// [`SendError`] has the W3C's name and says what to do.
    pub fn send_text(
        &mut self,
        now: Now,
        id: ChannelId,
        text: impl Into<String>,
    ) -> Result<(), SendError> {
        self.transport.channels.send_text(now.monotonic, id, text)
    }

    /// Sends bytes on a channel; a `Vec<u8>` is taken without a copy.
    ///
    /// # Errors
    /// [`SendError`] has the W3C's name and says what to do.
    pub fn send_binary(
        &mut self,
        now: Now,
        id: ChannelId,
        bytes: impl Into<bytes::Bytes>,
    ) -> Result<(), SendError> {
        self.transport
            .channels
            .send_binary(now.monotonic, id, bytes)
    }

    /// Closes a channel after what is buffered was sent.
    pub fn close_data_channel(&mut self, id: ChannelId) {
        self.transport.channels.close(id);
    }

    /// The next thing that happened on a channel.
    ///
    /// What is not taken counts against the receiver window: a driver whose application does not
    /// read stops calling this, and the other side is slowed. Call [`Self::poll_output`] afterwards.
    pub fn poll_channel_event(&mut self) -> Option<Event> {
        self.transport.channels.poll_event()
    }

    /// Whether something has come for the channels since this was asked last: events may wait, and
    /// there may be room to send again.
    pub fn take_channel_news(&mut self) -> bool {
        std::mem::take(&mut self.transport.has_channel_news)
    }

    /// What a channel is; `None` once it is closed.
    pub fn channel_info(&self, id: ChannelId) -> Option<&Info> {
        self.transport.channels.info(id)
    }

    /// `readyState`; `None` once it is closed.
    pub fn channel_state(&self, id: ChannelId) -> Option<ReadyState> {
        self.transport.channels.ready_state(id)
    }

    /// `bufferedAmount`: bytes that wait to be sent.
    pub fn buffered_amount(&self, id: ChannelId) -> usize {
        self.transport.channels.buffered_amount(id)
    }

    /// Sets `bufferedAmountLowThreshold`, in bytes. Default 0.
    pub fn set_buffered_amount_low_threshold(&mut self, id: ChannelId, threshold: usize) {
        self.transport
            .channels
            .set_buffered_amount_low_threshold(id, threshold);
    }

    /// The longest message that the other side takes, in bytes; `None` for any.
    pub fn max_message_size(&self) -> Option<usize> {
        self.transport.channels.max_message_size()
    }

    /// Figures of the association below all channels.
    pub fn sctp_stats(&self) -> sctp::Stats {
        self.transport.channels.stats()
    }
}
