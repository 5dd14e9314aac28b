//! The association: its state, and what the application can do with it.

use std::collections::VecDeque;
use std::time::Instant;

use bytes::Bytes;
use twocan_wire::ids::StreamId;
use twocan_wire::sctp::Ppid;

use super::config::Config;
use super::error::{CloseReason, SendError};
use super::event::{Event, SendOptions, Stats};
use super::handshake::{Offer, Peer};
use super::output::{Alone, Control};
use super::reset::Reset;
use super::rx::Receiver;
use super::timers::{Timer, Timers};
use super::tx::{Expired, Sender};
use crate::counters::Counters;
use crate::random::Random;
use crate::time::Deadline;

/// Where the association stands (RFC 9260 §4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Nothing was sent; a peer's INIT is answered.
    Closed,
    /// INIT was sent.
    CookieWait,
    /// COOKIE ECHO was sent.
    CookieEchoed,
    /// Data flows.
    Established,
    /// Our application wants to end it; data still goes out.
    ShutdownPending,
    /// SHUTDOWN was sent; the peer's data is still taken.
    ShutdownSent,
    /// The peer sent SHUTDOWN; our data still goes out.
    ShutdownReceived,
    /// SHUTDOWN ACK was sent.
    ShutdownAckSent,
    /// It is over.
    Ended,
}

/// An SCTP association over DTLS.
#[derive(Debug)]
pub struct Association {
    pub(super) config: Config,
    pub(super) random: Random,
    pub(super) state: State,
    pub(super) local_tag: u32,
    pub(super) local_tsn: u32,
    /// What the peer's INIT or INIT ACK said, once one was taken.
    pub(super) peer: Option<Peer>,
    /// The last INIT that was answered, with the cookie that names it.
    pub(super) offer: Option<Offer>,
    /// The peer's cookie, to be echoed.
    pub(super) cookie: Vec<u8>,
    pub(super) handshake_attempts: u32,
    pub(super) tx: Sender,
    pub(super) rx: Receiver,
    pub(super) reset: Reset,
    pub(super) timers: Timers,
    pub(super) alone: VecDeque<Alone>,
    pub(super) control: VecDeque<Control>,
    pub(super) heartbeat: Option<(u64, Instant)>,
    pub(super) last_received_at: Option<Instant>,
    pub(super) events: VecDeque<Event>,
    pub(super) counters: Counters,
    pub(super) packets_sent: u64,
    pub(super) packets_received: u64,
    pub(super) messages_received: u64,
    pub(super) bytes_received: u64,
}

impl Association {
    /// An association that has sent nothing. It answers a peer's INIT from the start.
    pub fn new(config: Config, mut random: Random) -> Self {
        let config = config.clamped();
        let local_tsn = random.u32();
        Self {
            local_tag: random.u32().max(1),
            local_tsn,
            tx: Sender::new(&config, local_tsn),
            rx: Receiver::new(&config, 0),
            reset: Reset::new(local_tsn, 0),
            config,
            random,
            state: State::Closed,
            peer: None,
            offer: None,
            cookie: Vec::new(),
            handshake_attempts: 0,
            timers: Timers::default(),
            alone: VecDeque::new(),
            control: VecDeque::new(),
            heartbeat: None,
            last_received_at: None,
            events: VecDeque::new(),
            counters: Counters::default(),
            packets_sent: 0,
            packets_received: 0,
            messages_received: 0,
            bytes_received: 0,
        }
    }

    /// Sends INIT. Does nothing when the handshake has begun by either side, or is over.
    pub fn connect(&mut self, now: Instant) {
        if self.state == State::Closed {
            self.state = State::CookieWait;
            self.alone.push_back(Alone::Init);
            self.timers
                .set(Timer::Handshake, now + self.config.rto_initial);
        }
    }

    /// Queues a message. It may be called before the association is up.
    ///
    /// The payload is kept once and shared by all its fragments; a `Vec<u8>`, `String` or `Bytes`
    /// is taken without a copy.
    ///
    /// # Errors
    /// [`SendError`] says what to do instead; nothing was queued.
    pub fn send(
        &mut self,
        now: Instant,
        stream: StreamId,
        ppid: Ppid,
        options: SendOptions,
        payload: impl Into<Bytes>,
    ) -> Result<(), SendError> {
        let payload = payload.into();
        self.check_send(stream, payload.len())?;
        self.tx.push(now, stream.0, ppid, options, payload);
        Ok(())
    }

    /// Resets the outgoing side of `stream` once what is queued on it has been sent (RFC 6525
    /// §5.1.2). Ends with [`Event::OutgoingReset`] or [`Event::OutgoingResetDenied`].
    pub fn reset_stream(&mut self, stream: StreamId) {
        if self.state == State::Ended || self.tx.queue().is_resetting(stream.0) {
            return;
        }
        self.tx.queue_mut().begin_reset(stream.0);
        self.reset.want(stream.0);
    }

    /// Ends the association after everything queued has been delivered.
    pub fn shutdown(&mut self, now: Instant) {
        match self.state {
            State::Closed | State::CookieWait | State::CookieEchoed => {
                self.end(CloseReason::Shutdown);
            }
            State::Established => {
                self.state = State::ShutdownPending;
                self.progress_shutdown(now);
            }
            State::ShutdownPending
            | State::ShutdownSent
            | State::ShutdownReceived
            | State::ShutdownAckSent
            | State::Ended => {}
        }
    }

    /// Ends the association at once; the peer is told by ABORT.
    pub fn abort(&mut self) {
        self.fail(CloseReason::Aborted);
    }

    /// Fires what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.state == State::Ended {
            return;
        }
        self.rx.handle_timeout(now);
        if self.tx.handle_timeout(now) == Expired::Retransmission {
            tracing::debug!(
                unanswered = self.tx.unanswered(),
                "sctp retransmission timeout"
            );
            self.check_unanswered();
        }
        for timer in Timer::ALL {
            if self.timers.take_due(timer, now) {
                match timer {
                    Timer::Handshake => self.repeat_handshake(now),
                    Timer::Shutdown => self.repeat_shutdown(now),
                    Timer::Heartbeat => self.on_heartbeat_timer(now),
                    Timer::Reset => self.repeat_reset(now),
                }
            }
        }
        self.progress_shutdown(now);
    }

    /// The next thing that happened.
    #[inline]
    pub fn poll_event(&mut self) -> Option<Event> {
        let event = self.events.pop_front()?;
        if let Event::Message(message) = &event {
            self.rx.on_taken(message.payload.len());
        }
        Some(event)
    }

    /// When to call [`Self::handle_timeout`] next.
    pub fn poll_timeout(&self) -> Option<Deadline> {
        if self.state == State::Ended {
            return None;
        }
        let sack = self
            .rx
            .sack_deadline()
            .map(|at| Deadline::new(at, "sctp delayed SACK"));
        let deadline = Deadline::earlier(self.timers.next(), self.tx.deadline());
        Deadline::earlier(deadline, sack)
    }

    /// Bytes that the application queued on `stream` and that have not been sent.
    pub fn buffered_amount(&self, stream: StreamId) -> usize {
        self.tx.queue().buffered(stream.0)
    }

    /// Sets where [`Event::BufferedAmountLow`] is reported for `stream`, in bytes. Default 0.
    pub fn set_buffered_amount_low_threshold(&mut self, stream: StreamId, threshold: usize) {
        self.tx.queue_mut().set_low_threshold(stream.0, threshold);
    }

    /// Sets both ports, as the descriptions say; to be called before the handshake begins.
    pub fn set_ports(&mut self, local: u16, remote: u16) {
        self.config.local_port = local;
        self.config.remote_port = remote;
    }

    /// The longest message that the peer accepts, in bytes; `None` for any.
    pub fn remote_max_message_size(&self) -> Option<usize> {
        Some(self.config.remote_max_message_size).filter(|max| *max > 0)
    }

    /// Sets the longest message that the peer accepts, in bytes; 0 means any. A new description
    /// may change it.
    pub fn set_remote_max_message_size(&mut self, max: usize) {
        self.config.remote_max_message_size = max;
    }

    /// Whether the handshake is over and the end has not begun.
    pub fn is_established(&self) -> bool {
        self.state == State::Established
    }

    /// Whether the association is over.
    pub fn is_ended(&self) -> bool {
        self.state == State::Ended
    }

    /// Whether a reset of our side of `stream` is wanted or under way.
    pub fn is_resetting(&self, stream: StreamId) -> bool {
        self.tx.queue().is_resetting(stream.0)
    }

    /// Streams that can be sent on: 0 up to this, excluded. Before the handshake, those we ask for.
    pub fn outbound_streams(&self) -> u16 {
        let ours = self.config.outbound_streams;
        self.peer
            .as_ref()
            .map_or(ours, |peer| ours.min(peer.inbound_streams))
    }

    /// Figures.
    pub fn stats(&self) -> Stats {
        Stats {
            packets_sent: self.packets_sent,
            packets_received: self.packets_received,
            messages_received: self.messages_received,
            bytes_received: self.bytes_received,
            ..self.tx.stats()
        }
    }

    /// What was dropped, by reason.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    fn check_send(&self, stream: StreamId, len: usize) -> Result<(), SendError> {
        match self.state {
            State::Closed | State::CookieWait | State::CookieEchoed | State::Established => {}
            State::ShutdownPending
            | State::ShutdownSent
            | State::ShutdownReceived
            | State::ShutdownAckSent
            | State::Ended => return Err(SendError::Closed),
        }
        if len == 0 {
            return Err(SendError::Empty);
        }
        let max = match self.config.remote_max_message_size {
            0 => u32::MAX as usize,
            max => max,
        };
        if len > max {
            return Err(SendError::TooLarge { len, max });
        }
        if stream.0 >= self.outbound_streams() {
            return Err(SendError::NoSuchStream(stream));
        }
        if self.tx.queue().is_resetting(stream.0) {
            return Err(SendError::Resetting(stream));
        }
        // A message longer than the whole buffer may still go when the buffer is empty.
        let queued = self.tx.queue().len();
        if queued > 0 && queued + len > self.config.send_buffer_len_max {
            return Err(SendError::WouldBlock);
        }
        Ok(())
    }

    /// Fails when the peer left too many timeouts in a row unanswered.
    pub(super) fn check_unanswered(&mut self) {
        if self.tx.unanswered() > self.config.retransmissions_max {
            self.fail(CloseReason::TooManyRetransmissions);
        }
    }

    /// Ends at once and tells the peer.
    pub(super) fn fail(&mut self, reason: CloseReason) {
        if self.state == State::Ended {
            return;
        }
        let is_known = self.peer.is_some();
        self.end(reason);
        if is_known {
            self.alone.push_back(Alone::Abort(reason));
        }
    }

    /// Ends at once without telling the peer.
    pub(super) fn end(&mut self, reason: CloseReason) {
        if self.state == State::Ended {
            return;
        }
        tracing::debug!(%reason, "sctp association ended");
        self.state = State::Ended;
        self.timers = Timers::default();
        self.alone.clear();
        self.control.clear();
        self.tx.clear();
        self.events.push_back(Event::Closed(reason));
    }

    /// Moves the shutdown on when everything was acknowledged (RFC 9260 §9.2).
    pub(super) fn progress_shutdown(&mut self, now: Instant) {
        match self.state {
            State::ShutdownPending if self.tx.is_done() => {
                self.state = State::ShutdownSent;
                self.push_control(Control::Shutdown);
                self.timers.set(Timer::Shutdown, now + self.tx.rto());
            }
            State::ShutdownReceived if self.tx.is_done() => {
                self.state = State::ShutdownAckSent;
                self.push_control(Control::ShutdownAck);
                self.timers.set(Timer::Shutdown, now + self.tx.rto());
            }
            State::Closed
            | State::CookieWait
            | State::CookieEchoed
            | State::Established
            | State::ShutdownPending
            | State::ShutdownSent
            | State::ShutdownReceived
            | State::ShutdownAckSent
            | State::Ended => {}
        }
    }

    fn repeat_shutdown(&mut self, now: Instant) {
        let chunk = match self.state {
            State::ShutdownSent => Control::Shutdown,
            State::ShutdownAckSent => Control::ShutdownAck,
            State::Closed
            | State::CookieWait
            | State::CookieEchoed
            | State::Established
            | State::ShutdownPending
            | State::ShutdownReceived
            | State::Ended => return,
        };
        self.tx.count_unanswered();
        self.push_control(chunk);
        self.timers.set(Timer::Shutdown, now + self.tx.rto());
        self.check_unanswered();
    }

    pub(super) fn arm_heartbeat(&mut self, now: Instant) {
        if let Some(interval) = self.config.heartbeat_interval {
            self.timers.set(Timer::Heartbeat, now + interval);
        }
    }

    /// Asks a silent peer whether it lives (RFC 9260 §8.3).
    fn on_heartbeat_timer(&mut self, now: Instant) {
        let Some(interval) = self.config.heartbeat_interval else {
            return;
        };
        if self.state != State::Established {
            return;
        }
        let silence_ends = self.last_received_at.unwrap_or(now) + interval;
        if self.heartbeat.is_none() && silence_ends > now {
            self.timers.set(Timer::Heartbeat, silence_ends);
            return;
        }
        if self.heartbeat.is_some() {
            self.tx.count_unanswered();
        }
        let token = self.random.u64();
        self.heartbeat = Some((token, now));
        self.push_control(Control::Heartbeat(token));
        self.timers.set(Timer::Heartbeat, now + self.config.rto_max);
        self.check_unanswered();
    }
}
