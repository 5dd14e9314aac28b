//! A stream on which a connection is claimed (RFC 6062 §4.3): ConnectionBind, and then the peer.

use std::time::{Duration, Instant};

use twocan_wire::stun::{Attribute, Builder, Method};

use super::requests::{Broken, Operation, Outcome, Requests};
use super::{ConnectionId, PATIENCE, Refusal};
use crate::time::Deadline;

/// ConnectionBind.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bind(pub(super) ConnectionId);

impl Operation for Bind {
    fn method(self) -> Method {
        Method::CONNECTION_BIND
    }

    fn write(self, builder: &mut Builder<'_>) {
        builder.attribute(Attribute::ConnectionId(self.0.0));
    }

    fn patience(self) -> Duration {
        PATIENCE
    }
}

/// How far a claim is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// No answer yet.
    Waiting,
    /// The stream is the peer's from here on, which has sent these bytes already.
    Claimed(Vec<u8>),
    /// The connection is not to be had.
    Refused(Refusal),
}

/// Claims a connection on a stream that has just been opened to the server.
#[derive(Debug)]
pub struct Claim {
    requests: Requests<Bind>,
    is_over: bool,
}

impl Claim {
    pub(super) fn new(mut requests: Requests<Bind>, now: Instant, of: ConnectionId) -> Self {
        requests.begin(now, Bind(of));
        Self {
            requests,
            is_over: false,
        }
    }

    /// Takes what came on the stream. Once that has led to anything but [`Progress::Waiting`], the
    /// claim is over and takes nothing more.
    pub fn handle_bytes(&mut self, now: Instant, bytes: &[u8]) -> Progress {
        if self.is_over {
            return Progress::Waiting;
        }
        self.requests.push(bytes);
        loop {
            let frame = match self.requests.next_frame() {
                Ok(Some(frame)) => frame,
                Ok(None) => return Progress::Waiting,
                Err(Broken) => return self.end(Progress::Refused(Refusal::Malformed)),
            };
            match self.requests.take(now, &frame) {
                Outcome::Granted(..) => {
                    let early = self.requests.take_rest();
                    return self.end(Progress::Claimed(early));
                }
                Outcome::Refused(_, refusal, _) => return self.end(Progress::Refused(refusal)),
                Outcome::Told(_) | Outcome::Nothing => {}
            }
        }
    }

    /// Acts on whatever time has brought.
    pub fn handle_timeout(&mut self, now: Instant) -> Progress {
        match self.requests.take_late(now) {
            Some(_) => self.end(Progress::Refused(Refusal::Unanswered)),
            None => Progress::Waiting,
        }
    }

    fn end(&mut self, progress: Progress) -> Progress {
        self.is_over = true;
        self.requests.forget();
        progress
    }

    /// The next message for the server.
    pub fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        self.requests.poll_transmit()
    }

    /// When to call [`Self::handle_timeout`].
    pub fn poll_timeout(&self) -> Option<Deadline> {
        let due = self.requests.due_at();
        due.map(|at| Deadline::new(at, "turn.claim"))
    }
}
