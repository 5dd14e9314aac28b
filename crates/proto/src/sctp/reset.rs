//! Stream reset (RFC 6525).
//!
//! 1. The application wants streams reset; what is queued on them is sent first.
//! 2. One request at a time names the streams and the last TSN. It is repeated until answered.
//! 3. The peer's request is done once everything up to its last TSN has arrived; until then the
//!    answer is "in progress", and the final one follows unasked.

use std::collections::BTreeSet;
use std::time::Instant;

use twocan_wire::ids::StreamId;
use twocan_wire::sctp::{List, ListBuf, ReconfigParameter, ReconfigResult};
use twocan_wire::seq::SeqNo32;

use super::association::{Association, State};
use super::event::Event;
use super::output::Control;
use super::timers::Timer;
use super::tx::ResetOutcome;

/// Streams in one request, so that it fits a packet; more wait for the next.
const STREAMS_PER_REQUEST: usize = 200;

/// A request of ours that is not answered.
#[derive(Debug, Clone)]
pub(super) struct Request {
    pub(super) number: u32,
    pub(super) last_tsn: SeqNo32,
    pub(super) streams: Vec<u16>,
}

/// A request of the peer that waits for its last TSN.
#[derive(Debug, Clone)]
struct Deferred {
    number: u32,
    last_tsn: SeqNo32,
    streams: Vec<StreamId>,
}

/// Resets in both directions.
#[derive(Debug)]
pub(super) struct Reset {
    next_request: u32,
    /// Streams to reset for which no request has been sent.
    wanted: BTreeSet<u16>,
    request: Option<Request>,
    peer_next_request: u32,
    last_answer: Option<(u32, ReconfigResult)>,
    deferred: Option<Deferred>,
}

impl Reset {
    pub(super) fn new(local_tsn: u32, peer_tsn: u32) -> Self {
        Self {
            next_request: local_tsn,
            wanted: BTreeSet::new(),
            request: None,
            peer_next_request: peer_tsn,
            last_answer: None,
            deferred: None,
        }
    }

    /// Sets where requests are numbered from (RFC 6525 §4.1: the initial TSNs).
    pub(super) fn start(&mut self, local_tsn: u32, peer_tsn: u32) {
        self.next_request = local_tsn;
        self.peer_next_request = peer_tsn;
    }

    pub(super) fn want(&mut self, stream: u16) {
        self.wanted.insert(stream);
    }

    #[inline]
    pub(super) fn is_wanted(&self) -> bool {
        !self.wanted.is_empty() && self.request.is_none()
    }

    pub(super) fn request(&self) -> Option<&Request> {
        self.request.as_ref()
    }

    /// Number of the last request that the peer made.
    pub(super) fn peer_last_request(&self) -> SeqNo32 {
        SeqNo32(self.peer_next_request.wrapping_sub(1))
    }
}

impl Association {
    /// Sends a request for the streams that have nothing left to send.
    pub(super) fn request_reset(&mut self, now: Instant) {
        if self.state != State::Established {
            return;
        }
        let ready: Vec<u16> = self
            .reset
            .wanted
            .iter()
            .copied()
            .filter(|stream| self.tx.queue().is_drained(*stream))
            .take(STREAMS_PER_REQUEST)
            .collect();
        if ready.is_empty() {
            return;
        }
        for stream in &ready {
            self.reset.wanted.remove(stream);
        }
        if self.peer.as_ref().is_some_and(|peer| !peer.has_reconfig) {
            self.end_reset(ready, ResetOutcome::Refused);
            return;
        }
        self.reset.request = Some(Request {
            number: self.reset.next_request,
            last_tsn: self.tx.last_tsn(),
            streams: ready,
        });
        self.reset.next_request = self.reset.next_request.wrapping_add(1);
        self.push_control(Control::ResetRequest);
        self.timers.set(Timer::Reset, now + self.tx.rto());
    }

    /// The request was not answered.
    pub(super) fn repeat_reset(&mut self, now: Instant) {
        if self.reset.request.is_none() {
            return;
        }
        self.tx.count_unanswered();
        self.push_control(Control::ResetRequest);
        self.timers.set(Timer::Reset, now + self.tx.rto());
        self.check_unanswered();
    }

    pub(super) fn on_reconfig_parameter(
        &mut self,
        now: Instant,
        parameter: &ReconfigParameter<'_>,
    ) {
        match *parameter {
            ReconfigParameter::OutgoingReset {
                request,
                last_tsn,
                streams,
                ..
            } => self.on_peer_reset(request, last_tsn, streams),
            ReconfigParameter::Response { response, result } => {
                self.on_reset_response(now, response, result);
            }
            // Streams cost nothing until they are used, so more of them are always welcome
            // (Firefox adds some as it needs them).
            ReconfigParameter::AddOutgoing { request, .. } => {
                self.answer_new(request, ReconfigResult::Performed);
            }
            // RFC 8831 §6.7 uses outgoing resets only.
            ReconfigParameter::IncomingReset { request, .. }
            | ReconfigParameter::TsnReset { request }
            | ReconfigParameter::AddIncoming { request, .. } => {
                self.answer_new(request, ReconfigResult::Denied);
            }
            ReconfigParameter::Unknown { .. } => {
                self.counters.count("sctp.unknown_reconfig_parameter");
            }
        }
    }

    /// Performs the peer's reset that waited, if its last TSN has arrived.
    pub(super) fn perform_deferred_reset(&mut self) {
        let Some(deferred) = &self.reset.deferred else {
            return;
        };
        if !self.rx.has_all_up_to(deferred.last_tsn) {
            return;
        }
        let Some(deferred) = self.reset.deferred.take() else {
            return;
        };
        self.perform_peer_reset(&deferred.streams);
        self.answer(deferred.number, ReconfigResult::Performed);
    }

    fn on_peer_reset(&mut self, request: SeqNo32, last_tsn: SeqNo32, streams: List<'_, StreamId>) {
        if self.is_repeated(request) {
            return;
        }
        if request.0 != self.reset.peer_next_request {
            self.answer(request.0, ReconfigResult::BadSequenceNumber);
            return;
        }
        self.reset.peer_next_request = request.next().0;
        let streams: Vec<StreamId> = streams.iter().collect();
        if self.rx.has_all_up_to(last_tsn) {
            self.perform_peer_reset(&streams);
            self.answer(request.0, ReconfigResult::Performed);
        } else {
            self.reset.deferred = Some(Deferred {
                number: request.0,
                last_tsn,
                streams,
            });
            self.answer(request.0, ReconfigResult::InProgress);
            self.rx.want_sack();
        }
    }

    fn perform_peer_reset(&mut self, streams: &[StreamId]) {
        let streams = self.rx.reset(streams);
        self.events.push_back(Event::IncomingReset(streams));
    }

    /// Answers a request that is done or refused at once.
    fn answer_new(&mut self, request: SeqNo32, result: ReconfigResult) {
        if self.is_repeated(request) {
            return;
        }
        if request.0 != self.reset.peer_next_request {
            self.answer(request.0, ReconfigResult::BadSequenceNumber);
            return;
        }
        self.reset.peer_next_request = request.next().0;
        self.answer(request.0, result);
    }

    /// Whether the request was answered before; if so, it gets the same answer again.
    fn is_repeated(&mut self, request: SeqNo32) -> bool {
        match self.reset.last_answer {
            Some((number, result)) if number == request.0 => {
                self.push_control(Control::ResetResponse(number, result));
                true
            }
            Some(_) | None => false,
        }
    }

    fn answer(&mut self, number: u32, result: ReconfigResult) {
        if result != ReconfigResult::BadSequenceNumber {
            self.reset.last_answer = Some((number, result));
        }
        self.push_control(Control::ResetResponse(number, result));
    }

    fn on_reset_response(&mut self, now: Instant, response: SeqNo32, result: ReconfigResult) {
        let Some(request) = self
            .reset
            .request
            .take_if(|request| request.number == response.0)
        else {
            self.counters.count("sctp.unexpected_reset_response");
            return;
        };
        self.tx.clear_unanswered();
        match result {
            ReconfigResult::NothingToDo | ReconfigResult::Performed => {
                self.timers.clear(Timer::Reset);
                self.end_reset(request.streams, ResetOutcome::Performed);
            }
            ReconfigResult::InProgress | ReconfigResult::RequestInProgress => {
                self.reset.request = Some(request);
                self.timers.set(Timer::Reset, now + self.tx.rto());
            }
            ReconfigResult::Denied
            | ReconfigResult::WrongSsn
            | ReconfigResult::BadSequenceNumber
            | ReconfigResult::Unknown(_) => {
                self.timers.clear(Timer::Reset);
                self.end_reset(request.streams, ResetOutcome::Refused);
            }
        }
    }

    fn end_reset(&mut self, streams: Vec<u16>, outcome: ResetOutcome) {
        for stream in &streams {
            self.tx.queue_mut().end_reset(*stream, outcome);
        }
        let streams = streams.into_iter().map(StreamId).collect();
        self.events.push_back(match outcome {
            ResetOutcome::Performed => Event::OutgoingReset(streams),
            ResetOutcome::Refused => Event::OutgoingResetDenied(streams),
        });
    }
}

/// The streams of a request in the form that is sent.
pub(super) fn stream_list(streams: &[u16]) -> ListBuf<StreamId> {
    streams.iter().copied().map(StreamId).collect()
}
