//! What leaves: chunks are put into packets.

use std::time::Instant;

use twocan_wire::sctp::{
    Abort, Cause, CausesBuf, Checksum, CookieAck, CookieEcho, Error, Header, Heartbeat,
    HeartbeatAck, InitAck, PacketWriter, Reconfig, ReconfigParameter, ReconfigParameters,
    ReconfigResult, Shutdown, ShutdownAck, ShutdownComplete, WriteChunk,
};
use twocan_wire::seq::SeqNo32;

use super::association::{Association, State};
use super::error::CloseReason;
use super::event::Event;
use super::input::abort_cause;
use super::reset::stream_list;

/// Control chunks that wait to be sent. A peer can ask for answers without end; those beyond are
/// dropped and counted, and it asks again.
const CONTROL_MAX: usize = 32;

/// A chunk that has a packet of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Alone {
    Init,
    InitAck,
    CookieEcho,
    Abort(CloseReason),
    ShutdownComplete(ShutdownComplete),
}

/// A chunk that shares a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Control {
    CookieAck,
    Heartbeat(u64),
    HeartbeatAck(Vec<u8>),
    ResetRequest,
    ResetResponse(u32, ReconfigResult),
    Shutdown,
    ShutdownAck,
    CookieWhileShuttingDown,
    UnrecognizedChunk(u8, u8),
}

impl Association {
    /// Appends the next packet to `out` and answers whether there was one.
    ///
    /// Call it until it answers false after every other call; each packet is one DTLS record.
    pub fn poll_transmit(&mut self, now: Instant, out: &mut Vec<u8>) -> bool {
        if let Some(chunk) = self.alone.pop_front() {
            self.write_alone(chunk, out);
            self.packets_sent += 1;
            return true;
        }
        if !self.can_bundle() {
            return false;
        }
        if self.reset.is_wanted() {
            self.request_reset(now);
        }
        let has_data = self.can_send_data() && self.tx.has_work();
        if self.control.is_empty() && !self.rx.is_sack_due() && !has_data {
            return false;
        }
        let checksum = self.checksum();
        let header = self.header(self.peer.as_ref().map_or(0, |peer| peer.tag));
        let mut writer = PacketWriter::new(out, header, self.config.packet_len_max);
        self.write_control(&mut writer);
        if self.rx.is_sack_due() || (has_data && self.rx.has_sack()) {
            self.rx.write_sack(&mut writer);
        }
        if has_data {
            self.tx.fill(now, &mut writer);
            while let Some(stream) = self.tx.queue_mut().pop_low() {
                self.events
                    .push_back(Event::BufferedAmountLow(twocan_wire::ids::StreamId(stream)));
            }
        }
        if writer.is_empty() {
            writer.cancel();
            return false;
        }
        writer.finish(checksum);
        self.packets_sent += 1;
        true
    }

    /// Queues a control chunk; the same one waits only once.
    pub(super) fn push_control(&mut self, chunk: Control) {
        if self.control.contains(&chunk) {
            return;
        }
        if self.control.len() >= CONTROL_MAX {
            return self.counters.count("sctp.control_queue_full");
        }
        self.control.push_back(chunk);
    }

    /// Queues a chunk for a packet of its own; the same one waits only once.
    pub(super) fn push_alone(&mut self, chunk: Alone) {
        if !self.alone.contains(&chunk) {
            self.alone.push_back(chunk);
        }
    }

    fn can_bundle(&self) -> bool {
        match self.state {
            State::Closed | State::CookieWait | State::CookieEchoed | State::Ended => false,
            State::Established
            | State::ShutdownPending
            | State::ShutdownSent
            | State::ShutdownReceived
            | State::ShutdownAckSent => true,
        }
    }

    fn can_send_data(&self) -> bool {
        match self.state {
            State::Established | State::ShutdownPending | State::ShutdownReceived => true,
            State::Closed
            | State::CookieWait
            | State::CookieEchoed
            | State::ShutdownSent
            | State::ShutdownAckSent
            | State::Ended => false,
        }
    }

    /// RFC 9653 §5.2: zero where the peer said that it accepts that.
    fn checksum(&self) -> Checksum {
        let is_accepted = self
            .peer
            .as_ref()
            .is_some_and(|peer| peer.accepts_zero_checksum);
        if self.config.zero_checksum && is_accepted {
            Checksum::Zero
        } else {
            Checksum::Crc32c
        }
    }

    fn header(&self, verification_tag: u32) -> Header {
        Header {
            source_port: self.config.local_port,
            destination_port: self.config.remote_port,
            verification_tag,
        }
    }

    fn write_alone(&mut self, chunk: Alone, out: &mut Vec<u8>) {
        let peer_tag = self.peer.as_ref().map_or(0, |peer| peer.tag);
        match chunk {
            Alone::Init => {
                let parameters = self.parameters(None);
                let init = self.init(self.local_tag, self.local_tsn, parameters.as_parameters());
                self.write_packet(0, &init, out);
            }
            Alone::InitAck => {
                let Some(offer) = &self.offer else { return };
                let parameters = self.parameters(Some(offer));
                let init = self.init(offer.local_tag, offer.local_tsn, parameters.as_parameters());
                self.write_packet(offer.peer.tag, &InitAck(init), out);
            }
            Alone::CookieEcho => {
                let echo = CookieEcho {
                    cookie: &self.cookie,
                };
                self.write_packet(peer_tag, &echo, out);
            }
            Alone::Abort(reason) => {
                let mut causes = CausesBuf::new();
                causes.push(&abort_cause(reason));
                let abort = Abort {
                    is_tag_reflected: false,
                    causes: causes.as_causes(),
                };
                self.write_packet(peer_tag, &abort, out);
            }
            Alone::ShutdownComplete(complete) => self.write_packet(peer_tag, &complete, out),
        }
    }

    /// Writes a packet of one chunk, always with a checksum.
    fn write_packet(&self, tag: u32, chunk: &impl WriteChunk, out: &mut Vec<u8>) {
        let mut writer = PacketWriter::new(out, self.header(tag), self.config.packet_len_max);
        let is_written = writer.push(chunk);
        debug_assert!(
            is_written,
            "every chunk that has a packet of its own fits one"
        );
        writer.finish(Checksum::Crc32c);
    }

    /// Writes the control chunks that fit; the others wait for the next packet.
    fn write_control(&mut self, writer: &mut PacketWriter<'_>) {
        while let Some(chunk) = self.control.front() {
            let is_written = match chunk {
                Control::CookieAck => writer.push(&CookieAck),
                Control::Heartbeat(token) => writer.push(&Heartbeat {
                    info: &Heartbeat::info_of(&token.to_be_bytes()),
                }),
                Control::HeartbeatAck(info) => writer.push(&HeartbeatAck { info }),
                Control::ResetRequest => self.write_reset_request(writer),
                Control::ResetResponse(number, result) => {
                    let mut buffer = Vec::new();
                    let parameter = ReconfigParameter::Response {
                        response: SeqNo32(*number),
                        result: *result,
                    };
                    writer.push(&Reconfig {
                        parameters: ReconfigParameters::encode(&mut buffer, &parameter),
                    })
                }
                Control::Shutdown => writer.push(&Shutdown {
                    cumulative_tsn: self.rx.cumulative(),
                }),
                Control::ShutdownAck => writer.push(&ShutdownAck),
                Control::CookieWhileShuttingDown => {
                    write_error(&Cause::CookieWhileShuttingDown, writer)
                }
                Control::UnrecognizedChunk(kind, flags) => {
                    write_error(&Cause::UnrecognizedChunk(&[*kind, *flags, 0, 4]), writer)
                }
            };
            if !is_written && !writer.is_empty() {
                return;
            }
            if !is_written {
                self.counters.count("sctp.control_too_long");
            }
            self.control.pop_front();
        }
    }

    fn write_reset_request(&self, writer: &mut PacketWriter<'_>) -> bool {
        let Some(request) = self.reset.request() else {
            return true;
        };
        let streams = stream_list(&request.streams);
        let parameter = ReconfigParameter::OutgoingReset {
            request: SeqNo32(request.number),
            response: self.reset.peer_last_request(),
            last_tsn: request.last_tsn,
            streams: streams.as_list(),
        };
        let mut buffer = Vec::new();
        writer.push(&Reconfig {
            parameters: ReconfigParameters::encode(&mut buffer, &parameter),
        })
    }
}

fn write_error(cause: &Cause<'_>, writer: &mut PacketWriter<'_>) -> bool {
    let mut causes = CausesBuf::new();
    causes.push(cause);
    writer.push(&Error {
        causes: causes.as_causes(),
    })
}
