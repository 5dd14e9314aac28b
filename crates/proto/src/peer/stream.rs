//! Streams to relays: what arrives is cut into messages (RFC 8656 §12.5).

use std::time::Instant;

use twocan_wire::turn::frame_len;

use super::relay::{Wanted, lent_of};
use super::transport::Transport;
use crate::contract::{Path, Security, SocketId, StreamEvent};
use crate::ice::RelayProtocol;
use crate::time::Now;
use crate::turn::client::Received;

impl Transport {
    /// A stream that a relay asked for has got its name.
    pub(super) fn name_stream(&mut self, relay: usize, socket: SocketId) {
        if let Some(relay) = self.relays.relays.get_mut(relay) {
            relay.stream = Some(Some(socket));
        }
    }

    /// Something happened to a stream; answers whether anything but data came of it.
    pub(super) fn handle_stream(
        &mut self,
        now: Now,
        socket: SocketId,
        event: StreamEvent<'_>,
    ) -> bool {
        let Some(index) = self.relay_on(socket) else {
            return self.handle_tcp(now, socket, event);
        };
        match event {
            StreamEvent::Connected { local } => {
                let path = Path { socket, local };
                self.relay_connected(now.monotonic, index, path);
                true
            }
            StreamEvent::Bytes(bytes) => self.take_stream(now, index, bytes),
            StreamEvent::Closed => {
                if let Some(relay) = self.relays.relays.get_mut(index) {
                    relay.stream = Some(None);
                }
                if !self.come_back(now.monotonic, index) {
                    self.relay_unreachable(now.monotonic, index);
                }
                true
            }
        }
    }

    /// The way to a relay's server is gone, or could not be had.
    pub(super) fn relay_unreachable(&mut self, now: Instant, index: usize) {
        if let Some(relay) = self.relays.relays.get_mut(index) {
            relay.partial.clear();
            relay.client.handle_disconnected();
            self.settle_relays(now);
        }
    }

    /// Closes the stream of a relay, if there is one.
    pub(super) fn close_stream(&mut self, index: usize) {
        if let Some(relay) = self.relays.relays.get_mut(index) {
            relay.partial.clear();
            if let Some(Some(socket)) = relay.stream.take() {
                self.relays.wanted.push(Wanted::Close(socket));
            }
        }
    }

    /// Has a stream to the server opened, unless it is asked by datagrams.
    pub(super) fn open_stream(&mut self, index: usize) {
        let Some(relay) = self.relays.relays.get_mut(index) else {
            return;
        };
        let Some(server) = self.relays.servers.get(relay.server) else {
            return;
        };
        let security = match server.settings.protocol {
            RelayProtocol::Udp => return,
            RelayProtocol::Tcp => Security::Tcp,
            RelayProtocol::Tls => Security::Tls {
                name: server.settings.host.clone(),
            },
        };
        relay.stream = Some(None);
        self.relays.wanted.push(Wanted::Stream {
            relay: index,
            local: relay.base.local.ip(),
            remote: relay.client.server(),
            security,
        });
    }

    /// Whether the server is asked on a stream.
    pub(super) fn is_on_stream(&self, index: usize) -> bool {
        let relay = self.relays.relays.get(index);
        let server = relay.and_then(|relay| self.relays.servers.get(relay.server));
        server.is_some_and(|own| own.settings.protocol != RelayProtocol::Udp)
    }

    fn relay_on(&self, socket: SocketId) -> Option<usize> {
        let mut relays = self.relays.relays.iter();
        relays.position(|relay| relay.stream == Some(Some(socket)))
    }

    /// Takes whole messages where they lie; the rest waits for what is to come.
    fn take_stream(&mut self, now: Now, index: usize, mut bytes: &mut [u8]) -> bool {
        let mut news = false;
        // A message that began earlier is completed first.
        while let Some(mut partial) = self.take_partial(index) {
            let missing = match frame_len(&partial) {
                Ok(Some(len)) => len.saturating_sub(partial.len()),
                Ok(None) => 4_usize.saturating_sub(partial.len()),
                Err(_) => return self.broken_stream(now, index),
            };
            let (head, rest) = bytes.split_at_mut(missing.min(bytes.len()));
            let is_enough = head.len() == missing;
            partial.extend_from_slice(head);
            bytes = rest;
            let is_whole =
                is_enough && matches!(frame_len(&partial), Ok(Some(len)) if len == partial.len());
            if is_whole {
                news |= self.take_frame(now, index, &mut partial);
                break;
            }
            self.keep_partial(index, partial);
            if !is_enough {
                return news;
            }
        }
        loop {
            match frame_len(bytes) {
                Err(_) => return self.broken_stream(now, index),
                Ok(Some(len)) if len <= bytes.len() => {
                    let (frame, rest) = bytes.split_at_mut(len);
                    bytes = rest;
                    news |= self.take_frame(now, index, frame);
                }
                Ok(_) => {
                    self.keep_partial(index, bytes.to_vec());
                    return news;
                }
            }
        }
    }

    fn take_partial(&mut self, index: usize) -> Option<Vec<u8>> {
        let relay = self.relays.relays.get_mut(index)?;
        let partial = std::mem::take(&mut relay.partial);
        (!partial.is_empty()).then_some(partial)
    }

    /// At most one message: 65,552 bytes.
    fn keep_partial(&mut self, index: usize, partial: Vec<u8>) {
        if let Some(relay) = self.relays.relays.get_mut(index) {
            relay.partial = partial;
        }
    }

    fn take_frame(&mut self, now: Now, index: usize, frame: &mut [u8]) -> bool {
        let is_closed = self.is_closed();
        let Some(relay) = self.relays.relays.get_mut(index) else {
            return false;
        };
        match relay.client.handle(now.monotonic, frame) {
            Received::Taken => {
                self.settle_relays(now.monotonic);
                true
            }
            // Nothing else was asked for on the stream.
            Received::Other(_) => false,
            Received::Data { .. } if is_closed => false,
            Received::Data { peer, bytes } => {
                let lent = lent_of(relay, peer);
                self.take_relayed(now, lent, peer, bytes)
            }
        }
    }

    /// Nothing after a message that is none can be read.
    fn broken_stream(&mut self, now: Now, index: usize) -> bool {
        self.counters.count("turn.stream_broken");
        self.close_stream(index);
        self.relay_unreachable(now.monotonic, index);
        true
    }
}
