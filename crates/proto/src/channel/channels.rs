//! All channels of a connection, over their association.

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use bytes::Bytes;
use twocan_wire::dcep;
use twocan_wire::ids::StreamId;
use twocan_wire::sctp::Ppid;

use super::error::{OpenError, SendError};
use super::event::{ChannelId, CloseCause, Event, Info, ReadyState, Role};
use super::init::{ChannelInit, Priority};
use crate::counters::Counters;
use crate::random::Random;
use crate::sctp::{self, Association, Order, SendOptions};
use crate::time::Deadline;

/// How the peer learns of a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Opening {
    /// OPEN was or will be sent, and its ACK has not arrived.
    WaitsForAck,
    /// A message came before the ACK, which is still to arrive: both sides know of it.
    Overtaken,
    /// The peer's OPEN is to be answered when the stream's earlier reset is over.
    OwesAck,
    /// Both sides know of it.
    Done,
}

#[derive(Debug)]
pub(super) struct Channel {
    pub(super) info: Info,
    pub(super) state: ReadyState,
    pub(super) opening: Opening,
    pub(super) is_announced: bool,
    pub(super) low_threshold: usize,
    /// Which of the two streams were reset.
    pub(super) is_incoming_reset: bool,
    pub(super) is_outgoing_reset: bool,
}

/// Data channels over one association.
#[derive(Debug)]
pub struct Channels {
    pub(super) association: Association,
    config: sctp::Config,
    random: Random,
    pub(super) role: Option<Role>,
    /// Whether INIT was asked for.
    is_started: bool,
    pub(super) is_up: bool,
    now: Option<Instant>,
    pub(super) channels: BTreeMap<ChannelId, Channel>,
    pub(super) by_stream: BTreeMap<u16, ChannelId>,
    /// How many there are of each importance, from the lowest on.
    weights: [usize; 4],
    next: u32,
    pub(super) announced: usize,
    pub(super) announced_text_len: usize,
    pub(super) events: VecDeque<Event>,
    pub(super) counters: Counters,
}

impl Channels {
    /// No channels, over an association that has sent nothing.
    pub fn new(config: sctp::Config, mut random: Random) -> Self {
        Self {
            association: Association::new(config.clone(), random.fork()),
            config,
            random,
            role: None,
            is_started: false,
            is_up: false,
            now: None,
            channels: BTreeMap::new(),
            by_stream: BTreeMap::new(),
            weights: [0; 4],
            next: 0,
            announced: 0,
            announced_text_len: 0,
            events: VecDeque::new(),
            counters: Counters::default(),
        }
    }

    /// DTLS is up with us in `role`: channels get their ids and INIT is sent. Does nothing when
    /// called again.
    pub fn start(&mut self, now: Instant, role: Role) {
        self.now = Some(now);
        if self.is_started {
            return;
        }
        self.is_started = true;
        self.assign_ids(role);
        self.association.connect(now);
    }

    /// Our role is agreed: channels get their ids. Does nothing when called again.
    pub fn assign_ids(&mut self, role: Role) {
        if self.role.is_some() {
            return;
        }
        self.role = Some(role);
        let waiting: Vec<ChannelId> = self
            .channels
            .iter()
            .filter(|(_, channel)| channel.info.id.is_none())
            .map(|(id, _)| *id)
            .collect();
        for id in waiting {
            if self.assign(id).is_err() {
                self.remove(id, CloseCause::NoIdLeft);
            }
        }
    }

    /// Makes a channel. It may be called before [`Self::start`].
    ///
    /// # Errors
    /// [`OpenError`] has the W3C's name and our reason.
    pub fn open(&mut self, init: ChannelInit) -> Result<ChannelId, OpenError> {
        init.validate()?;
        if self.association.is_ended() {
            return Err(OpenError::Ended);
        }
        let stream = init.id.filter(|_| init.negotiated);
        if let Some(stream) = stream {
            if self.by_stream.contains_key(&stream) {
                return Err(OpenError::IdInUse(stream));
            }
            if stream >= self.association.outbound_streams() {
                return Err(OpenError::IdOutOfRange(stream));
            }
        }
        let id = self.insert(Channel {
            opening: if init.negotiated {
                Opening::Done
            } else {
                Opening::WaitsForAck
            },
            info: Info {
                label: init.label,
                protocol: init.protocol,
                ordered: init.ordered,
                reliability: init.reliability,
                negotiated: init.negotiated,
                id: stream,
                priority: init.priority,
            },
            state: ReadyState::Connecting,
            is_announced: false,
            low_threshold: 0,
            is_incoming_reset: false,
            is_outgoing_reset: false,
        });
        if let Some(stream) = stream {
            self.by_stream.insert(stream, id);
        } else if self.role.is_some()
            && let Err(error) = self.assign(id)
        {
            self.take_out(id);
            return Err(error);
        }
        if self.is_up {
            self.set_open(id);
        }
        Ok(id)
    }

    /// Sends a text; a `String` is taken without a copy.
    ///
    /// # Errors
    /// [`SendError`] has the W3C's name and says what to do.
    pub fn send_text(
        &mut self,
        now: Instant,
        id: ChannelId,
        text: impl Into<String>,
    ) -> Result<(), SendError> {
        let text = text.into();
        self.send(now, id, text.into(), Ppid::STRING, Ppid::STRING_EMPTY)
    }

    /// Sends bytes; a `Vec<u8>` or `Bytes` is taken without a copy.
    ///
    /// # Errors
    /// [`SendError`] has the W3C's name and says what to do.
    pub fn send_binary(
        &mut self,
        now: Instant,
        id: ChannelId,
        bytes: impl Into<Bytes>,
    ) -> Result<(), SendError> {
        self.send(now, id, bytes.into(), Ppid::BINARY, Ppid::BINARY_EMPTY)
    }

    /// Closes a channel after what is buffered was sent. Ends with [`Event::Closed`].
    pub fn close(&mut self, id: ChannelId) {
        let Some(channel) = self.channels.get_mut(&id) else {
            return;
        };
        if channel.state == ReadyState::Closing {
            return;
        }
        match channel.info.id {
            Some(stream) if self.is_up => {
                channel.state = ReadyState::Closing;
                self.association.reset_stream(StreamId(stream));
            }
            // The peer has not heard of it, and never will: OPEN is sent when the association is up.
            Some(_) | None => self.remove(id, CloseCause::Closed),
        }
    }

    /// Closes the association after everything buffered was delivered.
    pub fn shutdown(&mut self, now: Instant) {
        self.now = Some(now);
        self.association.shutdown(now);
    }

    /// Lets a new association take the place of this one, with another peer: channels that were told
    /// are closed, the others wait for it, and [`Self::set_ports`] and [`Self::start`] are due again.
    pub fn begin_again(&mut self) {
        let waits = |own: &Channel| own.state == ReadyState::Connecting;
        let told: Vec<ChannelId> = self
            .channels
            .iter()
            .filter_map(|(id, own)| (!waits(own)).then_some(*id))
            .collect();
        for id in told {
            self.remove(id, CloseCause::Restarted);
        }
        for channel in self.channels.values_mut() {
            if !channel.info.negotiated {
                channel.info.id = None;
            }
        }
        self.by_stream.retain(|_, id| {
            let channel = self.channels.get(id);
            channel.is_some_and(|own| own.info.id.is_some())
        });
        self.association = Association::new(self.config.clone(), self.random.fork());
        self.role = None;
        self.is_started = false;
        self.is_up = false;
    }

    /// Ends the association at once.
    pub fn abort(&mut self) {
        self.association.abort();
    }

    /// Processes an SCTP packet that DTLS has authenticated.
    #[inline]
    pub fn handle_packet(&mut self, now: Instant, packet: &[u8]) {
        self.now = Some(now);
        self.association.handle_packet(now, packet);
    }

    /// Fires what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.now = Some(now);
        self.association.handle_timeout(now);
    }

    /// Appends the next SCTP packet to `out` and answers whether there was one.
    #[inline]
    pub fn poll_transmit(&mut self, now: Instant, out: &mut Vec<u8>) -> bool {
        self.association.poll_transmit(now, out)
    }

    /// The next thing that happened.
    ///
    /// What is not polled counts against the receiver window, so that a slow application slows the
    /// peer. Polling can make packets to send: poll events first, then [`Self::poll_transmit`].
    #[inline]
    pub fn poll_event(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Some(event);
            }
            match self.association.poll_event()? {
                sctp::Event::Message(message) => {
                    if let Some(event) = self.on_message(message) {
                        return Some(event);
                    }
                }
                event => self.on_event(event),
            }
        }
    }

    /// When to call [`Self::handle_timeout`] next.
    pub fn poll_timeout(&self) -> Option<Deadline> {
        self.association.poll_timeout()
    }

    /// What a channel is; `None` once it is closed.
    pub fn info(&self, id: ChannelId) -> Option<&Info> {
        self.channels.get(&id).map(|channel| &channel.info)
    }

    /// The state of a channel; `None` once it is closed.
    pub fn ready_state(&self, id: ChannelId) -> Option<ReadyState> {
        self.channels.get(&id).map(|channel| channel.state)
    }

    /// Bytes of the application that wait to be sent on a channel.
    pub fn buffered_amount(&self, id: ChannelId) -> usize {
        self.stream_of(id)
            .map_or(0, |stream| self.association.buffered_amount(stream))
    }

    /// Sets where [`Event::BufferedAmountLow`] is reported, in bytes. Default 0.
    pub fn set_buffered_amount_low_threshold(&mut self, id: ChannelId, threshold: usize) {
        let Some(channel) = self.channels.get_mut(&id) else {
            return;
        };
        channel.low_threshold = threshold;
        if let Some(stream) = channel.info.id {
            self.association
                .set_buffered_amount_low_threshold(StreamId(stream), threshold);
        }
    }

    /// Sets both SCTP ports, as the descriptions say; to be called before [`Self::start`].
    pub fn set_ports(&mut self, local: u16, remote: u16) {
        self.association.set_ports(local, remote);
    }

    /// Sets the longest message that the peer accepts, in bytes; 0 means any.
    pub fn set_remote_max_message_size(&mut self, max: usize) {
        self.association.set_remote_max_message_size(max);
    }

    /// The channels that are not closed.
    pub fn iter(&self) -> impl Iterator<Item = ChannelId> + '_ {
        self.channels.keys().copied()
    }

    /// The highest importance of a channel that is not closed, among the four with a name; `None` where
    /// there is no channel.
    pub fn highest_priority(&self) -> Option<Priority> {
        let mut present = Priority::NAMED.iter().zip(&self.weights).rev();
        let highest = present.find(|(_, count)| **count > 0);
        highest.map(|(priority, _)| *priority)
    }

    /// Whether the association is up.
    pub fn is_connected(&self) -> bool {
        self.is_up
    }

    /// Whether the association has ended.
    pub fn is_ended(&self) -> bool {
        self.association.is_ended()
    }

    /// The longest message that the peer accepts, in bytes; `None` for any.
    pub fn max_message_size(&self) -> Option<usize> {
        self.association.remote_max_message_size()
    }

    /// How many channels there can be; `None` until the association is up.
    pub fn max_channels(&self) -> Option<u16> {
        self.is_up.then(|| self.association.outbound_streams())
    }

    /// Figures of the association.
    pub fn stats(&self) -> sctp::Stats {
        self.association.stats()
    }

    /// What was dropped, by reason, with the association's own.
    pub fn counters(&self) -> Counters {
        let mut counters = self.association.counters().clone();
        counters.merge(&self.counters);
        counters
    }

    fn send(
        &mut self,
        now: Instant,
        id: ChannelId,
        mut payload: Bytes,
        mut ppid: Ppid,
        empty: Ppid,
    ) -> Result<(), SendError> {
        let channel = self.channels.get(&id).ok_or(SendError::NotOpen)?;
        let stream = match (channel.state, channel.info.id) {
            (ReadyState::Open, Some(stream)) => StreamId(stream),
            (ReadyState::Open | ReadyState::Connecting | ReadyState::Closing, _) => {
                return Err(SendError::NotOpen);
            }
        };
        if payload.is_empty() {
            payload = Bytes::from_static(&[0]);
            ppid = empty;
        }
        // RFC 8832 §6: ordered until the ACK arrived, so that nothing overtakes OPEN.
        let is_ordered = channel.info.ordered || channel.opening == Opening::WaitsForAck;
        let options = SendOptions {
            order: if is_ordered {
                Order::Ordered
            } else {
                Order::Unordered
            },
            reliability: channel.info.reliability.to_sctp(),
        };
        self.association
            .send(now, stream, ppid, options, payload)
            .map_err(|error| match error {
                sctp::SendError::TooLarge { len, max } => SendError::TooLarge { len, max },
                // A new channel on a stream whose earlier reset is not answered yet.
                sctp::SendError::WouldBlock | sctp::SendError::Resetting(_) => {
                    SendError::WouldBlock
                }
                sctp::SendError::Empty
                | sctp::SendError::NoSuchStream(_)
                | sctp::SendError::Closed => SendError::NotOpen,
            })
    }

    pub(super) fn insert(&mut self, channel: Channel) -> ChannelId {
        let id = ChannelId(self.next);
        self.next = self.next.wrapping_add(1);
        self.weights[channel.info.priority.level()] += 1;
        self.channels.insert(id, channel);
        id
    }

    fn take_out(&mut self, id: ChannelId) -> Option<Channel> {
        let channel = self.channels.remove(&id)?;
        self.weights[channel.info.priority.level()] -= 1;
        Some(channel)
    }

    /// Gives a channel the lowest free stream of our role.
    fn assign(&mut self, id: ChannelId) -> Result<(), OpenError> {
        let Some(role) = self.role else {
            return Ok(());
        };
        let streams = self.association.outbound_streams();
        let stream = (role.first_stream()..streams)
            .step_by(2)
            .find(|stream| {
                !self.by_stream.contains_key(stream)
                    && !self.association.is_resetting(StreamId(*stream))
            })
            .ok_or(OpenError::NoIdLeft)?;
        let Some(channel) = self.channels.get_mut(&id) else {
            return Ok(());
        };
        channel.info.id = Some(stream);
        self.association
            .set_buffered_amount_low_threshold(StreamId(stream), channel.low_threshold);
        self.by_stream.insert(stream, id);
        Ok(())
    }

    /// The association is up: the peer is told of the channel, and the application may send.
    pub(super) fn set_open(&mut self, id: ChannelId) {
        let Some(channel) = self.channels.get_mut(&id) else {
            return;
        };
        let Some(stream) = channel.info.id else {
            return;
        };
        if stream >= self.association.outbound_streams() {
            return self.remove(id, CloseCause::NoIdLeft);
        }
        channel.state = ReadyState::Open;
        self.association
            .set_buffered_amount_low_threshold(StreamId(stream), channel.low_threshold);
        if channel.opening == Opening::WaitsForAck {
            let mut message = Vec::new();
            dcep::Message::Open(dcep::Open {
                is_ordered: channel.info.ordered,
                reliability: channel.info.reliability.to_wire(),
                priority: channel.info.priority.value(),
                label: &channel.info.label,
                protocol: &channel.info.protocol,
            })
            .write(&mut message);
            self.send_dcep(stream, message);
        }
        self.events.push_back(Event::Open(id));
    }

    pub(super) fn send_dcep(&mut self, stream: u16, message: Vec<u8>) {
        let Some(now) = self.now else { return };
        let sent = self.association.send(
            now,
            StreamId(stream),
            Ppid::DCEP,
            SendOptions::default(),
            message,
        );
        if let Err(error) = sent {
            tracing::debug!(%error, stream, "DCEP message not sent");
            self.counters.count("channel.dcep_not_sent");
            self.association.reset_stream(StreamId(stream));
        }
    }

    pub(super) fn remove_all(&mut self, cause: CloseCause) {
        let ids: Vec<ChannelId> = self.channels.keys().copied().collect();
        for id in ids {
            self.remove(id, cause);
        }
    }

    pub(super) fn remove(&mut self, id: ChannelId, cause: CloseCause) {
        let Some(channel) = self.take_out(id) else {
            return;
        };
        if let Some(stream) = channel.info.id
            && self.by_stream.get(&stream) == Some(&id)
        {
            self.by_stream.remove(&stream);
        }
        if channel.is_announced {
            let text_len = channel.info.label.len() + channel.info.protocol.len();
            self.announced = self.announced.saturating_sub(1);
            self.announced_text_len = self.announced_text_len.saturating_sub(text_len);
        }
        self.events.push_back(Event::Closed(id, cause));
    }

    fn stream_of(&self, id: ChannelId) -> Option<StreamId> {
        self.channels.get(&id)?.info.id.map(StreamId)
    }
}
