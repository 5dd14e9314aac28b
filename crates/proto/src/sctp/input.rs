//! What arrives: packets are checked, and their chunks are given to the parts.

use std::time::Instant;

use twocan_wire::sctp::{Abort, Cause, Chunk, Packet, RawChunk, ShutdownComplete, kind};

use super::association::{Association, State};
use super::error::CloseReason;
use super::event::{Event, Message};
use super::output::{Alone, Control};
use super::rx::{Breach, Dropped};

/// Whether the rest of a packet is processed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rest {
    Process,
    Drop,
}

impl Association {
    /// Processes a packet that DTLS has authenticated. What is wrong with it is counted.
    pub fn handle_packet(&mut self, now: Instant, packet: &[u8]) {
        let packet = match Packet::parse(packet) {
            Ok(packet) => packet,
            Err(error) => {
                tracing::trace!(%error, "sctp packet dropped");
                return self.counters.count("sctp.bad_packet");
            }
        };
        if packet.header.destination_port != self.config.local_port
            || packet.header.source_port != self.config.remote_port
        {
            return self.counters.count("sctp.bad_port");
        }
        let Some(Ok(first)) = packet.chunks().next() else {
            return self.counters.count("sctp.bad_chunk");
        };
        if packet.has_zero_checksum && !self.accepts_zero_checksum(first) {
            return self.counters.count("sctp.zero_checksum");
        }
        if !self.accepts_tag(first, packet.header.verification_tag) {
            return self.counters.count("sctp.bad_tag");
        }
        self.packets_received += 1;
        if self.state == State::Ended {
            return self.on_packet_after_end(first, packet.header.verification_tag);
        }
        self.last_received_at = Some(now);
        let mut has_data = false;
        for raw in packet.chunks() {
            let chunk = raw.and_then(Chunk::parse);
            let chunk = match chunk {
                Ok(chunk) => chunk,
                Err(error) => {
                    tracing::trace!(%error, "sctp chunk dropped");
                    self.counters.count("sctp.bad_chunk");
                    break;
                }
            };
            has_data |= matches!(chunk, Chunk::Data(_) | Chunk::IData(_));
            if self.on_chunk(now, chunk) == Rest::Drop || self.state == State::Ended {
                break;
            }
        }
        if self.state == State::Ended {
            return;
        }
        if has_data {
            self.rx.on_packet_end(now);
        }
        self.perform_deferred_reset();
        self.progress_shutdown(now);
    }

    /// RFC 9653 §5.3: only if we said so, and never while the peer may not know.
    fn accepts_zero_checksum(&self, first: RawChunk<'_>) -> bool {
        self.config.zero_checksum && !matches!(first.kind, kind::INIT | kind::COOKIE_ECHO)
    }

    /// RFC 9260 §8.5.
    #[inline]
    fn accepts_tag(&self, first: RawChunk<'_>, tag: u32) -> bool {
        let is_peers = self.peer.as_ref().is_some_and(|peer| peer.tag == tag);
        match first.kind {
            kind::INIT => tag == 0,
            kind::COOKIE_ECHO => {
                tag == self.local_tag
                    || self
                        .offer
                        .as_ref()
                        .is_some_and(|offer| offer.local_tag == tag)
            }
            kind::ABORT | kind::SHUTDOWN_COMPLETE if first.flags & 1 != 0 => is_peers,
            _ => tag == self.local_tag,
        }
    }

    /// RFC 9260 §8.4 (5): the last packet of the shutdown was lost.
    fn on_packet_after_end(&mut self, first: RawChunk<'_>, tag: u32) {
        if first.kind == kind::SHUTDOWN_ACK && self.peer.is_some() {
            self.push_alone(Alone::ShutdownComplete(ShutdownComplete {
                is_tag_reflected: false,
            }));
        } else {
            tracing::trace!(tag, "sctp packet after the end");
            self.counters.count("sctp.after_end");
        }
    }

    #[inline]
    fn on_chunk(&mut self, now: Instant, chunk: Chunk<'_>) -> Rest {
        match chunk {
            Chunk::Data(data) => {
                if !self.takes_data(now) {
                    return Rest::Drop;
                }
                let mut delivered = Delivered::default();
                let events = &mut self.events;
                let outcome = self.rx.on_data(&data, &mut |message| {
                    delivered.count(&message);
                    events.push_back(Event::Message(message));
                });
                self.on_delivered(delivered, outcome);
            }
            Chunk::IData(data) => {
                if !self.takes_data(now) {
                    return Rest::Drop;
                }
                let mut delivered = Delivered::default();
                let events = &mut self.events;
                let outcome = self.rx.on_i_data(&data, &mut |message| {
                    delivered.count(&message);
                    events.push_back(Event::Message(message));
                });
                self.on_delivered(delivered, outcome);
            }
            Chunk::Sack(sack) => {
                if self.has_peer_state() {
                    if let Err(reason) = self.tx.on_sack(now, &sack) {
                        self.counters.count(reason);
                    }
                } else {
                    self.counters.count("sctp.unexpected_chunk");
                }
            }
            Chunk::Init(init) => {
                self.on_init(&init);
                return Rest::Drop;
            }
            Chunk::InitAck(ack) => {
                self.on_init_ack(now, &ack.0);
                return Rest::Drop;
            }
            Chunk::CookieEcho(echo) => self.on_cookie_echo(now, echo.cookie),
            Chunk::CookieAck => self.on_cookie_ack(now),
            Chunk::Abort(abort) => self.on_abort(&abort),
            Chunk::Error(error) => {
                for cause in error.causes.iter() {
                    tracing::debug!(code = cause.code(), "sctp peer reports an error");
                    self.counters.count("sctp.error_reported");
                }
            }
            Chunk::Unknown(raw) => return self.on_unknown(raw),
            chunk if !self.has_peer_state() => {
                tracing::trace!(?chunk, "sctp chunk before the association");
                self.counters.count("sctp.unexpected_chunk");
            }
            chunk => self.on_association_chunk(now, chunk),
        }
        Rest::Process
    }

    /// Chunks that mean something only once there is state about the peer.
    fn on_association_chunk(&mut self, now: Instant, chunk: Chunk<'_>) {
        match chunk {
            Chunk::Heartbeat(beat) => {
                self.push_control(Control::HeartbeatAck(beat.info.to_vec()));
            }
            Chunk::HeartbeatAck(ack) => self.on_heartbeat_ack(now, ack.token()),
            Chunk::Shutdown(shutdown) => {
                self.tx.on_cumulative(now, shutdown.cumulative_tsn);
                self.on_shutdown();
            }
            Chunk::ShutdownAck => self.on_shutdown_ack(),
            Chunk::ShutdownComplete(_) => {
                if self.state == State::ShutdownAckSent {
                    self.end(CloseReason::Shutdown);
                }
            }
            Chunk::Reconfig(reconfig) => {
                // RFC 6525 §3.1: two parameters at most.
                for parameter in reconfig.parameters.iter().take(2) {
                    self.on_reconfig_parameter(now, &parameter);
                }
            }
            Chunk::ForwardTsn(forward) => {
                let mut delivered = Delivered::default();
                let events = &mut self.events;
                self.rx.on_forward_tsn(&forward, &mut |message| {
                    delivered.count(&message);
                    events.push_back(Event::Message(message));
                });
                self.on_delivered(delivered, Ok(None));
            }
            Chunk::IForwardTsn(forward) => {
                let mut delivered = Delivered::default();
                let events = &mut self.events;
                self.rx.on_i_forward_tsn(&forward, &mut |message| {
                    delivered.count(&message);
                    events.push_back(Event::Message(message));
                });
                self.on_delivered(delivered, Ok(None));
            }
            // [`Self::on_chunk`] took these.
            Chunk::Data(_)
            | Chunk::IData(_)
            | Chunk::Sack(_)
            | Chunk::Init(_)
            | Chunk::InitAck(_)
            | Chunk::CookieEcho(_)
            | Chunk::CookieAck
            | Chunk::Abort(_)
            | Chunk::Error(_)
            | Chunk::Unknown(_) => {}
        }
    }

    /// Whether the handshake went far enough to have state about the peer.
    fn has_peer_state(&self) -> bool {
        match self.state {
            State::Closed | State::CookieWait | State::CookieEchoed | State::Ended => false,
            State::Established
            | State::ShutdownPending
            | State::ShutdownSent
            | State::ShutdownReceived
            | State::ShutdownAckSent => true,
        }
    }

    /// Whether data is taken in this state.
    #[inline]
    fn takes_data(&mut self, now: Instant) -> bool {
        match self.state {
            State::Established | State::ShutdownPending | State::ShutdownSent => true,
            State::CookieEchoed => {
                // Only a peer that has our COOKIE ECHO sends data: its COOKIE ACK was lost or is
                // late, and waiting for it would only delay the data.
                self.establish(now);
                true
            }
            State::Closed
            | State::CookieWait
            | State::ShutdownReceived
            | State::ShutdownAckSent
            | State::Ended => {
                self.counters.count("sctp.unexpected_data");
                false
            }
        }
    }

    #[inline]
    fn on_delivered(&mut self, delivered: Delivered, outcome: Result<Dropped, Breach>) {
        self.messages_received += delivered.messages;
        self.bytes_received += delivered.bytes;
        match outcome {
            Ok(None) => {}
            Ok(Some(reason)) => self.counters.count(reason),
            Err(Breach::MessageTooLarge) => {
                self.counters.count("sctp.message_too_large");
                self.fail(CloseReason::MessageTooLarge);
            }
        }
    }

    fn on_abort(&mut self, abort: &Abort<'_>) {
        if self.state == State::Closed {
            return;
        }
        let code = abort.causes.iter().next().map_or(0, |cause| cause.code());
        self.end(CloseReason::AbortedByPeer(code));
    }

    /// RFC 9260 §3.2: the two high bits of a type say what to do with an unknown one.
    fn on_unknown(&mut self, raw: RawChunk<'_>) -> Rest {
        self.counters.count("sctp.unknown_chunk");
        if raw.wants_report() && self.has_peer_state() {
            self.push_control(Control::UnrecognizedChunk(raw.kind, raw.flags));
        }
        if raw.is_skippable() {
            Rest::Process
        } else {
            Rest::Drop
        }
    }

    fn on_heartbeat_ack(&mut self, now: Instant, token: Option<&[u8]>) {
        let Some((expected, sent_at)) = self.heartbeat else {
            return self.counters.count("sctp.unexpected_heartbeat_ack");
        };
        if token != Some(&expected.to_be_bytes()[..]) {
            return self.counters.count("sctp.unexpected_heartbeat_ack");
        }
        self.heartbeat = None;
        self.tx.clear_unanswered();
        self.tx.measure(now, now.saturating_duration_since(sent_at));
        self.arm_heartbeat(now);
    }

    fn on_shutdown(&mut self) {
        match self.state {
            State::Established | State::ShutdownPending => self.state = State::ShutdownReceived,
            // RFC 9260 §9.2: both sides sent SHUTDOWN.
            State::ShutdownSent => {
                self.state = State::ShutdownAckSent;
                self.push_control(Control::ShutdownAck);
            }
            State::ShutdownAckSent => self.push_control(Control::ShutdownAck),
            State::ShutdownReceived
            | State::Closed
            | State::CookieWait
            | State::CookieEchoed
            | State::Ended => {}
        }
    }

    fn on_shutdown_ack(&mut self) {
        match self.state {
            State::ShutdownSent | State::ShutdownAckSent => {
                self.end(CloseReason::Shutdown);
                self.push_alone(Alone::ShutdownComplete(ShutdownComplete {
                    is_tag_reflected: false,
                }));
            }
            State::Closed
            | State::CookieWait
            | State::CookieEchoed
            | State::Established
            | State::ShutdownPending
            | State::ShutdownReceived
            | State::Ended => self.counters.count("sctp.unexpected_shutdown_ack"),
        }
    }
}

/// Messages that one chunk completed.
#[derive(Debug, Default)]
struct Delivered {
    messages: u64,
    bytes: u64,
}

impl Delivered {
    #[inline]
    fn count(&mut self, message: &Message) {
        self.messages += 1;
        self.bytes += message.payload.len() as u64;
    }
}

/// The cause that tells the peer why we ended.
pub(super) fn abort_cause(reason: CloseReason) -> Cause<'static> {
    match reason {
        CloseReason::MessageTooLarge => Cause::ProtocolViolation(b"message too large"),
        CloseReason::ProtocolViolation(what) => Cause::ProtocolViolation(what.as_bytes()),
        CloseReason::TooManyRetransmissions => Cause::UserInitiated(b"too many retransmissions"),
        CloseReason::HandshakeTimeout => Cause::UserInitiated(b"handshake timeout"),
        CloseReason::Shutdown | CloseReason::Aborted | CloseReason::AbortedByPeer(_) => {
            Cause::UserInitiated(b"")
        }
    }
}
