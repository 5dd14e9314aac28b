//! What the association reports: messages, DCEP, resets, the end.

use twocan_wire::dcep;
use twocan_wire::ids::StreamId;
use twocan_wire::sctp::Ppid;

use super::channels::{Channel, Channels, Opening};
use super::event::{ChannelId, CloseCause, Event, Info, Message, ReadyState};
use super::init::{Priority, Reliability};
use crate::sctp;

/// Channels that a peer may have open by OPEN, as in Chromium. Further ones are refused by a reset
/// of their stream, and counted.
const ANNOUNCED_MAX: usize = 1024;
/// Bytes of labels and protocols over all channels that a peer announced. One that would exceed it
/// is refused by a reset of its stream, and counted.
const ANNOUNCED_TEXT_LEN_MAX: usize = 1 << 20;

impl Channels {
    pub(super) fn on_event(&mut self, event: sctp::Event) {
        match event {
            sctp::Event::Connected => {
                self.is_up = true;
                self.events.push_back(Event::Connected);
                let ids: Vec<ChannelId> = self.channels.keys().copied().collect();
                for id in ids {
                    self.set_open(id);
                }
            }
            sctp::Event::Restarted => self.remove_all(CloseCause::Restarted),
            sctp::Event::Message(message) => {
                let event = self.on_message(message);
                self.events.extend(event);
            }
            sctp::Event::BufferedAmountLow(stream) => {
                if let Some(id) = self.by_stream.get(&stream.0) {
                    self.events.push_back(Event::BufferedAmountLow(*id));
                }
            }
            sctp::Event::IncomingReset(streams) => {
                for stream in streams {
                    self.on_incoming_reset(stream);
                }
            }
            sctp::Event::OutgoingReset(streams) | sctp::Event::OutgoingResetDenied(streams) => {
                for stream in streams {
                    self.on_outgoing_reset(stream);
                }
            }
            sctp::Event::Closed(reason) => {
                self.is_up = false;
                self.remove_all(CloseCause::Ended(reason));
                self.events.push_back(Event::Ended(reason));
            }
        }
    }

    #[inline]
    pub(super) fn on_message(&mut self, message: sctp::Message) -> Option<Event> {
        if message.ppid == Ppid::DCEP {
            self.on_dcep(message.stream.0, &message.payload);
            return None;
        }
        let id = self.by_stream.get(&message.stream.0).copied();
        let channel = id.and_then(|id| Some((id, self.channels.get_mut(&id)?)));
        let Some((id, channel)) = channel else {
            self.counters.count("channel.message_without_channel");
            return None;
        };
        if channel.opening == Opening::WaitsForAck {
            // RFC 8832 §6: any message on the stream shows that the peer knows the channel.
            channel.opening = Opening::Overtaken;
        }
        if channel.state == ReadyState::Closing && channel.is_incoming_reset {
            self.counters.count("channel.message_after_close");
            return None;
        }
        let message = match message.ppid {
            Ppid::STRING | Ppid::STRING_PARTIAL => self.text(message.payload),
            Ppid::BINARY | Ppid::BINARY_PARTIAL => Message::Binary(message.payload),
            Ppid::STRING_EMPTY => Message::Text(String::new()),
            Ppid::BINARY_EMPTY => Message::Binary(Vec::new()),
            _ => {
                self.counters.count("channel.unknown_ppid");
                return None;
            }
        };
        Some(Event::Message(id, message))
    }

    /// What is not UTF-8 is replaced, as a browser's decoder does.
    fn text(&mut self, payload: Vec<u8>) -> Message {
        Message::Text(String::from_utf8(payload).unwrap_or_else(|error| {
            self.counters.count("channel.text_not_utf8");
            String::from_utf8_lossy(error.as_bytes()).into_owned()
        }))
    }

    fn on_dcep(&mut self, stream: u16, message: &[u8]) {
        match dcep::Message::parse(message) {
            Ok(dcep::Message::Ack) => {
                let channel = self.by_stream.get(&stream);
                match channel.and_then(|id| self.channels.get_mut(id)) {
                    Some(channel)
                        if matches!(channel.opening, Opening::WaitsForAck | Opening::Overtaken) =>
                    {
                        channel.opening = Opening::Done;
                    }
                    Some(_) | None => self.counters.count("channel.unexpected_ack"),
                }
            }
            Ok(dcep::Message::Open(open)) => self.on_open(stream, &open),
            Err(error) => {
                tracing::debug!(%error, stream, "DCEP message dropped");
                self.counters.count("channel.bad_dcep");
                if !self.by_stream.contains_key(&stream) {
                    self.association.reset_stream(StreamId(stream));
                }
            }
        }
    }

    fn on_open(&mut self, stream: u16, open: &dcep::Open<'_>) {
        let predecessor = self.by_stream.get(&stream).copied();
        if let Some(id) = predecessor {
            let is_over = self
                .channels
                .get(&id)
                .is_some_and(|old| old.state == ReadyState::Closing && old.is_incoming_reset);
            if !is_over {
                return self.counters.count("channel.open_of_used_stream");
            }
            // The peer heard of our reset and uses the number again before we heard its answer.
            self.remove(id, CloseCause::Closed);
        }
        let text_len = open.label.len() + open.protocol.len();
        let is_ours = self
            .role
            .is_some_and(|role| role.first_stream() == stream & 1);
        let refusal = if is_ours {
            Some("channel.open_of_our_parity")
        } else if self.announced >= ANNOUNCED_MAX {
            Some("channel.too_many_channels")
        } else if self.announced_text_len + text_len > ANNOUNCED_TEXT_LEN_MAX {
            Some("channel.labels_too_long")
        } else {
            None
        };
        if let Some(reason) = refusal {
            self.counters.count(reason);
            return self.association.reset_stream(StreamId(stream));
        }
        let is_resetting = self.association.is_resetting(StreamId(stream));
        self.announced += 1;
        self.announced_text_len += text_len;
        let id = self.insert(Channel {
            info: Info {
                label: open.label.to_owned(),
                protocol: open.protocol.to_owned(),
                ordered: open.is_ordered,
                reliability: Reliability::from_wire(open.reliability),
                negotiated: false,
                id: Some(stream),
                priority: Priority::from_value(open.priority),
            },
            state: ReadyState::Open,
            opening: if is_resetting {
                Opening::OwesAck
            } else {
                Opening::Done
            },
            is_announced: true,
            low_threshold: 0,
            is_incoming_reset: false,
            is_outgoing_reset: false,
        });
        self.by_stream.insert(stream, id);
        if !is_resetting {
            self.send_ack(stream);
        }
        self.events.push_back(Event::Announced(id));
    }

    fn send_ack(&mut self, stream: u16) {
        let mut message = Vec::new();
        dcep::Message::Ack.write(&mut message);
        self.send_dcep(stream, message);
    }

    /// The peer closes the channel, or answers our close.
    fn on_incoming_reset(&mut self, stream: StreamId) {
        let Some(id) = self.by_stream.get(&stream.0).copied() else {
            return;
        };
        let Some(channel) = self.channels.get_mut(&id) else {
            return;
        };
        channel.is_incoming_reset = true;
        if channel.is_outgoing_reset {
            return self.remove(id, CloseCause::Closed);
        }
        if channel.state != ReadyState::Closing {
            channel.state = ReadyState::Closing;
            self.events.push_back(Event::Closing(id));
            self.association.reset_stream(stream);
        }
    }

    /// Our reset is over; refused or not, there is nothing more that we can do.
    fn on_outgoing_reset(&mut self, stream: StreamId) {
        let Some(id) = self.by_stream.get(&stream.0).copied() else {
            return;
        };
        let Some(channel) = self.channels.get_mut(&id) else {
            return;
        };
        if channel.state != ReadyState::Closing {
            if channel.opening == Opening::OwesAck {
                channel.opening = Opening::Done;
                self.send_ack(stream.0);
            }
            return;
        }
        channel.is_outgoing_reset = true;
        if channel.is_incoming_reset {
            self.remove(id, CloseCause::Closed);
        }
    }
}
