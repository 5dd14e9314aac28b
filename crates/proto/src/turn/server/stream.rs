//! Clients on TCP and TLS (RFC 8656 §2.1): messages one after the other, and after a ConnectionBind
//! whatever the client has for a peer.

use std::time::Instant;

use twocan_wire::turn::frame_len;

use super::allocation::{Client, ClientKey};
use super::machine::{Server, Timer};
use super::{
    ADRIFT_LASTS, ConnectionId, EARLY_LEN_MAX, Event, Quotas, STREAM_FRAME_LEN_MAX,
    STREAM_PATIENCE, STREAM_REQUEST_LEN_MAX, StreamId,
};
use crate::contract::{Ecn, Path};
use crate::time::Now;

/// A connection that a client has opened.
#[derive(Debug)]
pub(super) struct Stream {
    client: Client,
    /// Whether there never was an allocation.
    is_unproven: bool,
    /// The beginning of a message whose end is missing; of one that carries a connection, what
    /// came before there was somewhere to send it.
    partial: Vec<u8>,
    /// The connection with a peer that it carries, if it does.
    carries: Option<ConnectionId>,
    /// Since when it is missing; for a stream without an allocation, since when there is none.
    waits_since: Instant,
}

impl Server {
    /// A client has connected, and through TLS where there is any; `path` is the listener.
    pub fn handle_stream_connected(
        &mut self,
        now: Now,
        stream: StreamId,
        path: Path,
        remote: std::net::SocketAddr,
    ) {
        let quotas = &self.config.quotas;
        let of_address = |per_address| Quotas {
            per_user: usize::MAX,
            per_address,
            ..Quotas::default()
        };
        let all = of_address(quotas.streams_per_address);
        let unproven = of_address(quotas.unproven_streams_per_address);
        let holders = &self.unproven_stream_holders;
        if self.streams.len() >= quotas.streams
            || holders.total() >= quotas.unproven_streams
            || !self.stream_holders.admits(&all, "", remote.ip())
            || !holders.admits(&unproven, "", remote.ip())
        {
            self.counters.count("turn.too_many_streams");
            return self.events.push_back(Event::Disconnect { stream });
        }
        let key = ClientKey::Stream(stream);
        let client = Client { key, path, remote };
        self.stream_holders.add("", remote.ip());
        self.unproven_stream_holders.add("", remote.ip());
        let opened = Stream {
            client,
            is_unproven: true,
            partial: Vec::new(),
            carries: None,
            waits_since: now.monotonic,
        };
        self.streams.insert(stream, opened);
        let at = now.monotonic + STREAM_PATIENCE;
        self.timers.insert((at, Timer::Stream(stream)));
    }

    /// Bytes arrived on a stream: of a client, or of a peer's.
    pub fn handle_stream_bytes(&mut self, now: Now, stream: StreamId, bytes: &[u8]) {
        if self.carries(stream) {
            return self.carry(now, stream, bytes);
        }
        let Some(entry) = self.streams.get_mut(&stream) else {
            return;
        };
        let client = entry.client;
        let mut partial = std::mem::take(&mut entry.partial);
        let mut rest = bytes;
        let began = !partial.is_empty();
        let mut ended = false;
        // What began earlier is completed first, and only then is anything looked at in place.
        while !partial.is_empty() && !rest.is_empty() {
            let wanted = match frame_len(&partial) {
                Ok(Some(len)) => len - partial.len(),
                _ => 4 - partial.len(),
            };
            let (now_there, later) = rest.split_at(wanted.min(rest.len()));
            partial.extend_from_slice(now_there);
            rest = later;
            match frame_len(&partial) {
                Ok(Some(len)) if len == partial.len() => {
                    self.handle_client(now, client, Ecn::NotEct, &partial);
                    if self.carries(stream) {
                        return self.carry(now, stream, rest);
                    }
                    partial.clear();
                    ended = true;
                }
                Ok(None) => {}
                Ok(Some(len)) if len <= self.frame_len_max(&client) => {}
                _ => return self.disconnect(now, stream, "turn.bad_stream"),
            }
        }
        while partial.is_empty() && !rest.is_empty() {
            match frame_len(rest) {
                Ok(Some(len)) if len > self.frame_len_max(&client) => {
                    return self.disconnect(now, stream, "turn.bad_stream");
                }
                Ok(Some(len)) if len <= rest.len() => {
                    let (frame, later) = rest.split_at(len);
                    self.handle_client(now, client, Ecn::NotEct, frame);
                    rest = later;
                    if self.carries(stream) {
                        return self.carry(now, stream, rest);
                    }
                    ended = true;
                }
                Ok(_) => {
                    partial.extend_from_slice(rest);
                    rest = &[];
                }
                Err(_) => return self.disconnect(now, stream, "turn.bad_stream"),
            }
        }
        let Some(entry) = self.streams.get_mut(&stream) else {
            return;
        };
        if partial.is_empty() {
            // An idle stream with an allocation holds no buffer.
            partial = Vec::new();
        }
        let is_allocated = self.clients.contains_key(&client.key);
        // Patience is with a message: with one that began now, or after one that ended.
        if (ended || !began) && is_allocated {
            entry.waits_since = now.monotonic;
        }
        if is_allocated && entry.is_unproven {
            entry.is_unproven = false;
            self.unproven_stream_holders.remove("", client.remote.ip());
        }
        entry.partial = partial;
    }

    fn frame_len_max(&self, client: &Client) -> usize {
        if self.clients.contains_key(&client.key) {
            STREAM_FRAME_LEN_MAX
        } else {
            STREAM_REQUEST_LEN_MAX
        }
    }

    /// Whether a stream carries a connection with a peer, from either side.
    fn carries(&self, stream: StreamId) -> bool {
        let of_client = self.streams.get(&stream);
        of_client.is_some_and(|entry| entry.carries.is_some())
            || self.peer_streams.contains_key(&stream)
    }

    /// Has a client's stream carry a connection; says whether it could.
    pub(super) fn set_carries(&mut self, stream: StreamId, connection: ConnectionId) -> bool {
        let Some(entry) = self.streams.get_mut(&stream) else {
            return false;
        };
        if entry.carries.is_some() {
            return false;
        }
        entry.carries = Some(connection);
        if entry.is_unproven {
            entry.is_unproven = false;
            let ip = entry.client.remote.ip();
            self.unproven_stream_holders.remove("", ip);
        }
        true
    }

    /// Keeps what a client sends to a peer that cannot be sent to yet.
    pub(super) fn keep_early(&mut self, now: Now, stream: StreamId, bytes: &[u8]) {
        let Some(entry) = self.streams.get_mut(&stream) else {
            return;
        };
        if entry.partial.len() + bytes.len() > EARLY_LEN_MAX {
            return self.disconnect(now, stream, "turn.bad_stream");
        }
        entry.partial.extend_from_slice(bytes);
    }

    /// What was kept.
    pub(super) fn take_early(&mut self, stream: StreamId) -> Vec<u8> {
        let entry = self.streams.get_mut(&stream);
        entry.map_or_else(Vec::new, |entry| std::mem::take(&mut entry.partial))
    }

    /// A stream is gone, and with it the connection that it carried, or its allocation: at once, or
    /// where that has a ticket and its client does not come back on another stream, in a while.
    pub fn handle_stream_closed(&mut self, now: Now, stream: StreamId) {
        if let Some(connection) = self.peer_streams.remove(&stream) {
            return self.carried_all(stream, connection);
        }
        let Some(gone) = self.forget_stream(stream) else {
            return;
        };
        if let Some(connection) = gone.carries {
            return self.carried_all(stream, connection);
        }
        self.client_left(now, gone.client.key);
    }

    /// Whether a client on datagrams has an allocation.
    pub fn has_client(&self, path: Path, remote: std::net::SocketAddr) -> bool {
        let key = ClientKey::Datagram(path, remote);
        self.clients.contains_key(&key)
    }

    /// The association of a client on DTLS is over, and with it its allocation. That does not wait for its
    /// client, as one on a stream does: whoever comes next from that address may be another.
    pub fn handle_client_left(&mut self, path: Path, remote: std::net::SocketAddr) {
        let key = ClientKey::Datagram(path, remote);
        if let Some(id) = self.clients.get(&key).copied() {
            self.release(id);
        }
    }

    fn client_left(&mut self, now: Now, key: ClientKey) {
        let Some(id) = self.clients.get(&key).copied() else {
            return;
        };
        let can_move = self.config.mobility;
        match self.allocation(id) {
            Some(allocation) if can_move && allocation.mobility.is_some() => {
                let ends = allocation.ends.min(now.monotonic + ADRIFT_LASTS);
                self.counters.count("turn.adrift");
                self.set_allocation_end(id, ends);
            }
            _ => self.release(id),
        }
    }

    /// Takes a client's stream out of the books.
    pub(super) fn forget_stream(&mut self, stream: StreamId) -> Option<Stream> {
        let gone = self.streams.remove(&stream)?;
        let ip = gone.client.remote.ip();
        self.stream_holders.remove("", ip);
        if gone.is_unproven {
            self.unproven_stream_holders.remove("", ip);
        }
        Some(gone)
    }

    pub(super) fn disconnect(&mut self, now: Now, stream: StreamId, reason: &'static str) {
        self.counters.count(reason);
        self.handle_stream_closed(now, stream);
        self.events.push_back(Event::Disconnect { stream });
    }

    /// Ends a stream that has had no allocation, or half a message, for too long.
    pub(super) fn look_at_stream(&mut self, now: Now, stream: StreamId) {
        let Some(entry) = self.streams.get(&stream) else {
            return;
        };
        if entry.carries.is_some() {
            return;
        }
        let waits = !entry.partial.is_empty() || !self.clients.contains_key(&entry.client.key);
        let ends = entry.waits_since + STREAM_PATIENCE;
        if waits && ends <= now.monotonic {
            return self.disconnect(now, stream, "turn.idle_stream");
        }
        let again = if ends > now.monotonic {
            ends
        } else {
            now.monotonic + STREAM_PATIENCE
        };
        self.timers.insert((again, Timer::Stream(stream)));
    }
}
