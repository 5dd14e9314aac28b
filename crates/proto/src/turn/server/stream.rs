//! Clients on TCP and TLS (RFC 8656 §2.1): messages one after the other.

use std::time::Instant;

use twocan_wire::turn::frame_len;

use super::allocation::{Client, ClientKey};
use super::machine::{Server, Timer};
use super::{
    Event, Quotas, STREAM_FRAME_LEN_MAX, STREAM_PATIENCE, STREAM_REQUEST_LEN_MAX, StreamId,
};
use crate::contract::{Ecn, Path};
use crate::time::Now;

/// A connection that a client has opened.
#[derive(Debug)]
pub(super) struct Stream {
    client: Client,
    /// Whether there never was an allocation.
    is_unproven: bool,
    /// The beginning of a message whose end is missing.
    partial: Vec<u8>,
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
            waits_since: now.monotonic,
        };
        self.streams.insert(stream, opened);
        let at = now.monotonic + STREAM_PATIENCE;
        self.timers.insert((at, Timer::Stream(stream)));
    }

    /// Bytes arrived on a stream.
    pub fn handle_stream_bytes(&mut self, now: Now, stream: StreamId, bytes: &[u8]) {
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
                    partial.clear();
                    ended = true;
                }
                Ok(None) => {}
                Ok(Some(len)) if len <= self.frame_len_max(&client) => {}
                _ => return self.disconnect(stream, "turn.bad_stream"),
            }
        }
        while partial.is_empty() && !rest.is_empty() {
            match frame_len(rest) {
                Ok(Some(len)) if len > self.frame_len_max(&client) => {
                    return self.disconnect(stream, "turn.bad_stream");
                }
                Ok(Some(len)) if len <= rest.len() => {
                    let (frame, later) = rest.split_at(len);
                    self.handle_client(now, client, Ecn::NotEct, frame);
                    rest = later;
                    ended = true;
                }
                Ok(_) => {
                    partial.extend_from_slice(rest);
                    rest = &[];
                }
                Err(_) => return self.disconnect(stream, "turn.bad_stream"),
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

    /// A stream is gone, and with it its allocation.
    pub fn handle_stream_closed(&mut self, stream: StreamId) {
        let Some(gone) = self.streams.remove(&stream) else {
            return;
        };
        self.stream_holders.remove("", gone.client.remote.ip());
        if gone.is_unproven {
            self.unproven_stream_holders
                .remove("", gone.client.remote.ip());
        }
        if let Some(id) = self.clients.get(&gone.client.key).copied() {
            self.release(id);
        }
    }

    fn disconnect(&mut self, stream: StreamId, reason: &'static str) {
        self.counters.count(reason);
        self.handle_stream_closed(stream);
        self.events.push_back(Event::Disconnect { stream });
    }

    /// Ends a stream that has had no allocation, or half a message, for too long.
    pub(super) fn look_at_stream(&mut self, now: Instant, stream: StreamId) {
        let Some(entry) = self.streams.get(&stream) else {
            return;
        };
        let waits = !entry.partial.is_empty() || !self.clients.contains_key(&entry.client.key);
        let ends = entry.waits_since + STREAM_PATIENCE;
        if waits && ends <= now {
            return self.disconnect(stream, "turn.idle_stream");
        }
        let again = if ends > now {
            ends
        } else {
            now + STREAM_PATIENCE
        };
        self.timers.insert((again, Timer::Stream(stream)));
    }
}
