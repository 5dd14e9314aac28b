//! What passes between a client's stream and its peer's (RFC 6062 §5.4, §5.5): one piece at a time,
//! which is read when the one before it has been written and the bandwidth has room.

use std::time::{Duration, Instant};

use super::bandwidth::{Direction, Exceeded};
use super::machine::{Server, Timer};
use super::{ConnectionId, EARLY_LEN_MAX, Event, StreamId};
use crate::time::Now;

/// When bandwidth that was used up is looked at again.
const AGAIN: Duration = Duration::from_millis(20);

/// What comes from one stream and goes to another.
#[derive(Debug)]
pub(super) struct Flow {
    to: StreamId,
    /// The connection of the stream that it comes from.
    connection: ConnectionId,
    /// Whose bandwidth it uses: that of its allocation, and of another where both ends are clients.
    by: [Option<(u32, Direction)>; 2],
    /// Bytes that have been read and not been written.
    unwritten: usize,
    /// Whether a piece has been asked for.
    is_reading: bool,
    /// The stream that it comes from has ended; what was read is still to be written.
    has_ended: bool,
    /// When there may be bandwidth again.
    again: Option<Instant>,
}

impl Server {
    /// Both ends of a connection are there. The second has an allocation where it is a client's.
    pub(super) fn join(
        &mut self,
        now: Now,
        (near, of_near, allocation): (StreamId, ConnectionId, u32),
        (far, of_far, other): (StreamId, ConnectionId, Option<u32>),
    ) {
        let toward = |direction| other.map(|other| (other, direction));
        let out = [
            Some((allocation, Direction::ToPeer)),
            toward(Direction::ToClient),
        ];
        let back = [
            Some((allocation, Direction::ToClient)),
            toward(Direction::ToPeer),
        ];
        for (from, to, connection, by) in [(near, far, of_near, out), (far, near, of_far, back)] {
            let flow = Flow {
                to,
                connection,
                by,
                unwritten: 0,
                is_reading: false,
                has_ended: false,
                again: None,
            };
            self.flows.insert(from, flow);
        }
        for stream in [near, far] {
            let early = self.take_early(stream);
            self.carry(now, stream, &early);
            self.read(now.monotonic, stream);
        }
    }

    /// Bytes arrived on a stream that carries a connection.
    pub(super) fn carry(&mut self, now: Now, stream: StreamId, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let Some(flow) = self.flows.get_mut(&stream) else {
            return self.keep_early(now, stream, bytes);
        };
        flow.is_reading = false;
        let (to, by, connection) = (flow.to, flow.by, flow.connection);
        if flow.unwritten + bytes.len() > EARLY_LEN_MAX {
            // More than was asked for.
            self.counters.count("turn.bad_stream");
            return self.close_connection(connection);
        }
        if self.flows.get(&to).is_none_or(|back| back.has_ended) {
            return;
        }
        if let Some(flow) = self.flows.get_mut(&stream) {
            flow.unwritten += bytes.len();
        }
        for (id, direction) in by.into_iter().flatten() {
            let len = bytes.len() as u64;
            match direction {
                Direction::ToPeer => self.traffic.bytes_to_peers += len,
                Direction::ToClient => self.traffic.bytes_to_clients += len,
            }
            if let Some(allocation) = self.allocation(id) {
                let (nanos, quotas) = (self.accounts.nanos(now.monotonic), &self.config.quotas);
                let (bandwidth, budgets) = (&self.accounts.bandwidth, &allocation.budgets);
                bandwidth.spend(nanos, quotas, budgets, direction, bytes.len());
            }
        }
        let bytes = bytes.to_vec();
        self.events.push_back(Event::Send { stream: to, bytes });
    }

    /// So many bytes that were sent on a stream have been taken by the system.
    pub fn handle_stream_written(&mut self, now: Now, stream: StreamId, len: usize) {
        let Some(source) = self.flows.get(&stream).map(|back| back.to) else {
            return;
        };
        let Some(flow) = self.flows.get_mut(&source) else {
            return;
        };
        flow.unwritten = flow.unwritten.saturating_sub(len);
        let connection = flow.connection;
        if flow.unwritten > 0 {
            return;
        }
        if flow.has_ended {
            return self.close_connection(connection);
        }
        self.read(now.monotonic, source);
    }

    /// Asks for the next piece, unless there is one on the way.
    fn read(&mut self, now: Instant, stream: StreamId) {
        let Some(flow) = self.flows.get_mut(&stream) else {
            return;
        };
        if flow.is_reading || flow.has_ended || flow.unwritten > 0 || flow.again.is_some() {
            return;
        }
        for (id, direction) in flow.by.into_iter().flatten() {
            let allocation = self.allocations.get(id as usize);
            let Some(allocation) = allocation.and_then(Option::as_deref) else {
                continue;
            };
            let (nanos, quotas) = (self.accounts.nanos(now), &self.config.quotas);
            let (bandwidth, budgets) = (&self.accounts.bandwidth, &allocation.budgets);
            let room = bandwidth.has_room(nanos, quotas, budgets, direction, 1);
            let waits = match room {
                Ok(()) => continue,
                Err(Exceeded::Allocation) => "turn.connection_waits",
                Err(Exceeded::User) => "turn.connection_waits_for_user",
                Err(Exceeded::All) => "turn.connection_waits_for_all",
            };
            self.counters.count(waits);
            let at = now + AGAIN;
            flow.again = Some(at);
            self.timers.insert((at, Timer::Flow(stream)));
            return;
        }
        flow.is_reading = true;
        self.events.push_back(Event::Read { stream });
    }

    /// There may be bandwidth again.
    pub(super) fn read_again(&mut self, now: Instant, stream: StreamId) {
        if let Some(flow) = self.flows.get_mut(&stream) {
            flow.again = None;
            self.read(now, stream);
        }
    }

    /// A stream that carried a connection has ended: so does the other, once it has what is left
    /// for it.
    pub(super) fn carried_all(&mut self, stream: StreamId, connection: ConnectionId) {
        let to = self.flows.get(&stream).map(|flow| flow.to);
        let is_there = to
            .and_then(|to| self.flows.get(&to))
            .is_some_and(|back| !back.has_ended);
        match self.flows.get_mut(&stream) {
            Some(flow) if flow.unwritten > 0 && is_there => flow.has_ended = true,
            _ => self.close_connection(connection),
        }
    }

    pub(super) fn forget_flow(&mut self, stream: StreamId) {
        if let Some(flow) = self.flows.remove(&stream)
            && let Some(at) = flow.again
        {
            self.timers.remove(&(at, Timer::Flow(stream)));
        }
    }
}
