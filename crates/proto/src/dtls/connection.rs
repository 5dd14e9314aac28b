//! One connection: attempts at a handshake, and the one that came through.

use std::collections::VecDeque;
use std::time::Instant;

use super::attempt::{Match, Step};
use super::attempts::{Attempts, Place};
use super::record::{ACK, CHANGE_CIPHER_SPEC, HANDSHAKE, Hello, Part, Record, records};
use super::{
    Certificate, Event, Failure, Fingerprint, GRACE, HANDSHAKE_TIME_MAX, RESTART_GRACE,
    RETRANSMIT_AFTER, Role, Settings,
};
use crate::counters::Counters;
use crate::time::Deadline;

/// What engines write into, in bytes: a datagram. It grows where one is longer.
const SCRATCH_LEN: usize = 1280;

/// Records of a handshake in the clear that a connected side takes in [`RETRANSMIT_AFTER`]: the
/// longest flight has as many.
const LATE_RECORDS_MAX: usize = 8;

/// Datagrams of handshake flights waiting to be polled. A flight is at most ten.
const QUEUE_MAX: usize = 32;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Not started.
    Idle,
    /// Flights are exchanged.
    Handshake,
    /// Data flows.
    Connected,
    /// Closed by either side, or failed.
    Over,
}

/// What ends the handshake, were it the peer's.
#[derive(Debug, Clone, Copy)]
struct Suspicion {
    failure: Failure,
    /// When it does; `None` while a later attempt makes progress.
    at: Option<Instant>,
}

/// Whom the peer has to be.
#[derive(Debug)]
enum Expected {
    /// Its description is not known yet.
    Unknown,
    /// One whose certificate matches any one of them that is usable.
    Described(Vec<Fingerprint>),
    /// Whoever it is: a client without a certificate.
    Anyone,
}

/// A DTLS connection.
pub struct Connection {
    state: State,
    role: Role,
    /// One alone once connected.
    attempts: Attempts,
    /// When the handshake must be complete: known from the first hello on.
    deadline: Option<Instant>,
    suspicion: Option<Suspicion>,
    expected: Expected,
    /// Records of a handshake in the clear that are still taken once connected, and when there
    /// will be more.
    late: (usize, Option<Instant>),
    queue: VecDeque<Vec<u8>>,
    events: VecDeque<Event>,
    scratch: Vec<u8>,
    counters: Counters,
}

impl Connection {
    /// A connection that waits for [`Self::start`].
    pub fn new(settings: &Settings, certificate: &Certificate, now: Instant) -> Self {
        Self {
            state: State::Idle,
            role: Role::Server,
            attempts: Attempts::new(settings, certificate, now),
            deadline: None,
            suspicion: None,
            expected: Expected::Unknown,
            late: (0, None),
            queue: VecDeque::new(),
            events: VecDeque::new(),
            scratch: Vec::new(),
            counters: Counters::default(),
        }
    }

    /// Begins: a client sends its ClientHello, a server waits for one. Once only; later calls do
    /// nothing.
    pub fn start(&mut self, now: Instant, role: Role) {
        if self.state != State::Idle {
            return;
        }
        self.state = State::Handshake;
        self.role = role;
        if role == Role::Client {
            self.deadline = Some(now + HANDSHAKE_TIME_MAX);
        }
        self.attempts.start(role);
        self.handle_timeout(now);
    }

    /// Says which certificates the peer may have: any one of `fingerprints` whose hash function
    /// is usable must match.
    pub fn expect(&mut self, now: Instant, fingerprints: Vec<Fingerprint>) {
        self.expected = Expected::Described(fingerprints);
        self.conclude(now);
    }

    /// Says that the peer may be anybody, and needs no certificate: of a server alone.
    pub(super) fn expect_anyone(&mut self, now: Instant) {
        self.expected = Expected::Anyone;
        self.conclude(now);
    }

    /// Whether an attempt has taken this hello.
    pub(super) fn knows(&self, hello: &Hello) -> bool {
        let mut attempts = self.attempts.iter();
        attempts.any(|attempt| attempt.compare(hello) == Match::Same)
    }

    /// Takes a datagram; `deliver` is called with application data, never before
    /// [`Event::Connected`].
    pub fn handle_datagram(
        &mut self,
        now: Instant,
        datagram: &[u8],
        deliver: &mut dyn FnMut(&[u8]),
    ) {
        if matches!(self.state, State::Idle | State::Over) {
            return self.counters.count("dtls.not_expected");
        }
        if self.is_handshaking() {
            return self.handle_handshake(now, datagram, deliver);
        }
        let Some(attempt) = self.attempts.first() else {
            return;
        };
        let number = attempt.number;
        // The engine stamps its timers with the last time it was told.
        let _ = attempt.tell_time(now);
        for record in records(datagram) {
            if self.admits(now, record) && self.admits_late(now, record) {
                self.feed(now, number, record, deliver);
            }
        }
    }

    /// Acts on whatever time has brought.
    pub fn handle_timeout(&mut self, now: Instant) {
        if matches!(self.state, State::Idle | State::Over) {
            return;
        }
        let is_due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        if self.is_handshaking() {
            let suspicion = self.suspicion;
            if let Some(suspicion) = suspicion
                && is_due(suspicion.at)
            {
                return self.fail(suspicion.failure);
            }
            if is_due(self.deadline) {
                let failure = suspicion.map_or(Failure::Timeout, |suspicion| suspicion.failure);
                return self.fail(failure);
            }
            if is_due(self.attempts.restart_at) {
                self.attempts.restart(now, &mut self.counters);
            }
        }
        let attempts = self.attempts.iter();
        let due = attempts.filter(|attempt| self.attempts.runs(attempt) && attempt.is_due(now));
        let due: Vec<u32> = due.map(|attempt| attempt.number).collect();
        for number in due {
            self.wake(now, number);
        }
    }

    /// Encrypts `data` as one record and appends the datagram to `out`. Answers `false`, and
    /// appends nothing, when not connected.
    pub fn send(&mut self, now: Instant, data: &[u8], out: &mut Vec<u8>) -> bool {
        let attempt = self.attempts.first();
        let Some(attempt) = attempt.filter(|_| self.state == State::Connected) else {
            return false;
        };
        let number = attempt.number;
        if !matches!(attempt.engine.send_application_data(data), Ok(len) if len == data.len()) {
            self.counters.count("dtls.send_refused");
            return false;
        }
        self.drain(now, number, Some(out), &mut |_| {});
        true
    }

    /// Closes with `close_notify`.
    pub fn close(&mut self, now: Instant) {
        if self.state == State::Connected
            && let Some(attempt) = self.attempts.first()
            && attempt.engine.close().is_ok()
        {
            let number = attempt.number;
            self.drain(now, number, None, &mut |_| {});
        }
        self.state = State::Over;
    }

    /// Appends the next datagram of the handshake to `out`.
    pub fn poll_transmit(&mut self, out: &mut Vec<u8>) -> bool {
        let Some(datagram) = self.queue.pop_front() else {
            return false;
        };
        out.extend_from_slice(&datagram);
        true
    }

    /// Whether [`Self::poll_transmit`] has something.
    pub fn has_transmit(&self) -> bool {
        !self.queue.is_empty()
    }

    /// Whether [`Self::poll_event`] has something.
    pub fn has_event(&self) -> bool {
        !self.events.is_empty()
    }

    /// The next thing to report.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// When to call [`Self::handle_timeout`].
    pub fn poll_timeout(&self) -> Option<Deadline> {
        if matches!(self.state, State::Idle | State::Over) {
            return None;
        }
        let attempts = self.attempts.iter();
        let running = attempts.filter(|attempt| self.attempts.runs(attempt));
        let retransmit = running.filter_map(|attempt| attempt.timeout).min();
        let retransmit = retransmit.map(|at| Deadline::new(at, "dtls.retransmit"));
        if !self.is_handshaking() {
            return retransmit;
        }
        let suspicion = self.suspicion.and_then(|suspicion| suspicion.at);
        [
            (suspicion, "dtls.suspicion"),
            (self.attempts.restart_at, "dtls.restart"),
            (self.deadline, "dtls.deadline"),
        ]
        .into_iter()
        .map(|(at, reason)| at.map(|at| Deadline::new(at, reason)))
        .fold(retransmit, Deadline::earlier)
    }

    /// The peer's certificate in DER, once it was held against its description.
    pub fn peer_certificate(&self) -> Option<&[u8]> {
        let mut attempts = self.attempts.iter();
        let attempt = attempts.next().filter(|_| self.is_connected())?;
        attempt.peer_certificate.as_deref()
    }

    /// Whether data can be sent.
    pub fn is_connected(&self) -> bool {
        self.state == State::Connected
    }

    /// What was dropped or refused, by reason.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Whether the engine may see a record. What is in the clear may be anybody's: an alert is
    /// remembered in the handshake and ignored after it.
    fn admits(&mut self, now: Instant, record: Record<'_>) -> bool {
        if let Some((level, description)) = record.plain_alert() {
            self.counters.count("dtls.alert_in_the_clear");
            let fatal = level == 2 && self.state == State::Handshake;
            match description {
                40 | 71 if fatal => self.suspect(now, Failure::NothingInCommon(description)),
                _ if fatal => self.suspect(now, Failure::Alert(description)),
                _ => {}
            }
            return false;
        }
        match record.plain_type() {
            Some(HANDSHAKE) if !record.is_sound_handshake() => {
                self.counters.count("dtls.malformed_handshake");
                false
            }
            None | Some(HANDSHAKE | CHANGE_CIPHER_SPEC | ACK) => true,
            Some(_) => {
                self.counters.count("dtls.data_in_the_clear");
                false
            }
        }
    }

    /// Once connected, a handshake in the clear is a flight of the peer that missed our last one,
    /// or anybody's: the engine answers each with that whole flight.
    fn admits_late(&mut self, now: Instant, record: Record<'_>) -> bool {
        if record.plain_type() != Some(HANDSHAKE) {
            return true;
        }
        let (left, again_at) = &mut self.late;
        if again_at.is_none_or(|at| at <= now) {
            (*left, *again_at) = (LATE_RECORDS_MAX, Some(now + RETRANSMIT_AFTER));
        }
        let admits = *left > 0;
        *left = left.saturating_sub(1);
        if !admits {
            self.counters.count("dtls.late_handshake");
        }
        admits
    }

    fn is_handshaking(&self) -> bool {
        self.state == State::Handshake
    }

    /// Tells an engine the time, and takes what it then has. What an attempt that does not run
    /// would send again is dropped.
    fn wake(&mut self, now: Instant, number: u32) {
        let Some(attempt) = self.attempts.get(number) else {
            return;
        };
        if attempt.tell_time(now).is_err() && self.is_handshaking() {
            self.give_up(now, number, Failure::Timeout);
        }
        let mut attempts = self.attempts.iter();
        let runs = attempts.any(|known| known.number == number && self.attempts.runs(known));
        let queued = self.queue.len();
        self.drain(now, number, None, &mut |_| {});
        if !runs {
            self.queue.truncate(queued);
        }
    }

    fn handle_handshake(&mut self, now: Instant, datagram: &[u8], deliver: &mut dyn FnMut(&[u8])) {
        // The engines stamp their timers with the last time they were told.
        for number in self.attempts.numbers() {
            self.wake(now, number);
        }
        // What follows a hello in its datagram is for the attempt that the hello is for.
        let mut only = None;
        for record in records(datagram) {
            if !self.admits(now, record) {
                continue;
            }
            let part = record.handshake_part().filter(|_| self.is_handshaking());
            let numbers = match part {
                Some(Part::Hello(hello)) => {
                    let place = self.attempts.place(now, hello, &mut self.counters);
                    self.note_place(now, place);
                    only = Some(place.number());
                    place.number().into_iter().collect()
                }
                Some(part) => self.attempts.takers(&part),
                None => self.attempts.numbers(),
            };
            for number in numbers {
                if only.is_none_or(|only| only == Some(number)) {
                    self.feed(now, number, record, deliver);
                }
            }
        }
    }

    /// A hello that is new is progress: the time of the handshake runs, and what would end it
    /// waits.
    fn note_place(&mut self, now: Instant, place: Place) {
        if let Place::New(_) = place {
            self.deadline.get_or_insert(now + HANDSHAKE_TIME_MAX);
            if let Some(suspicion) = &mut self.suspicion {
                suspicion.at = None;
            }
        }
    }

    /// Hands a record to an engine: record by record, because the engine drops the rest of a
    /// datagram whose first message it has already processed.
    fn feed(
        &mut self,
        now: Instant,
        number: u32,
        record: Record<'_>,
        deliver: &mut dyn FnMut(&[u8]),
    ) {
        let Some(attempt) = self.attempts.get(number) else {
            return;
        };
        if let Err(error) = attempt.engine.handle_packet(record.bytes) {
            self.complain(now, number, &error);
        }
        self.drain(now, number, None, deliver);
    }

    fn complain(&mut self, now: Instant, number: u32, error: &dimpl::Error) {
        use dimpl::{CryptoError, Error, UnexpectedMessageError};
        self.counters.count("dtls.engine_refused");
        if !self.is_handshaking() {
            return;
        }
        let presented = self.attempts.get(number).map(|attempt| {
            let some = attempt.peer_certificate.is_some();
            (some, attempt.presented_rsa())
        });
        let (has_certificate, has_rsa) = presented.unwrap_or_default();
        let failure = match error {
            // Anyone can send a first datagram that is no ServerHello; the engine is unharmed.
            Error::UnexpectedMessage(UnexpectedMessageError::UnrecognizedAutoServerResponse)
            | Error::ReceiveQueueFull
            | Error::TransmitQueueFull
            | Error::TooManyClientHelloFragments => return,
            Error::CertificateError(_) if !has_certificate || has_rsa => Failure::RsaCertificate,
            Error::CertificateError(_) => Failure::UnusableCertificate,
            // The engine tells of a certificate only once it has verified what the peer signed.
            Error::CryptoError(CryptoError::UnsupportedPublicKeyAlgorithm) => {
                Failure::RsaCertificate
            }
            Error::CryptoError(
                CryptoError::UnsupportedEcCurve
                | CryptoError::MissingEcCurveParameter
                | CryptoError::InvalidEcCurveParameter
                | CryptoError::InvalidSubjectPublicKey
                | CryptoError::CertificateParseFailed,
            ) => Failure::UnusableCertificate,
            Error::SecurityError(_) | Error::CryptoError(_) if has_rsa => Failure::RsaCertificate,
            Error::SecurityError(
                dimpl::SecurityError::NoMutuallyAcceptableCipherSuite
                | dimpl::SecurityError::NoCommonCipherSuite,
            ) => Failure::NothingInCommon(40),
            Error::SecurityError(dimpl::SecurityError::FatalAlert { description }) => {
                Failure::Alert(*description)
            }
            _ => Failure::Protocol,
        };
        self.give_up(now, number, failure);
    }

    fn give_up(&mut self, now: Instant, number: u32, failure: Failure) {
        self.attempts.give_up(now, number);
        self.suspect(now, failure);
    }

    /// Remembers the first thing that would end the handshake, were it the peer's.
    fn suspect(&mut self, now: Instant, failure: Failure) {
        let grace = match failure {
            Failure::Protocol | Failure::UnusableCertificate => RESTART_GRACE,
            _ => GRACE,
        };
        let at = Some(now + grace);
        let suspicion = self.suspicion.get_or_insert(Suspicion { failure, at });
        suspicion.at = suspicion.at.or(at);
    }

    /// Takes out of an engine all that it has: the first datagram to `out` if given, further
    /// ones to the queue.
    fn drain(
        &mut self,
        now: Instant,
        number: u32,
        mut out: Option<&mut Vec<u8>>,
        deliver: &mut dyn FnMut(&[u8]),
    ) {
        let mut scratch = std::mem::take(&mut self.scratch);
        if scratch.is_empty() {
            scratch.resize(SCRATCH_LEN, 0);
        }
        while let Some(attempt) = self.attempts.get(number) {
            match attempt.step(now, &mut scratch) {
                Step::Packet(packet) => match out.take() {
                    Some(out) => out.extend_from_slice(packet),
                    None if self.queue.len() < QUEUE_MAX => self.queue.push_back(packet.to_vec()),
                    None => self.counters.count("dtls.queue_full"),
                },
                Step::Grow(needed) => scratch.resize(needed, 0),
                Step::Data(data) => {
                    self.conclude(now);
                    if self.state == State::Connected {
                        deliver(data);
                    } else {
                        self.counters.count("dtls.data_before_connected");
                    }
                }
                Step::Closed => {
                    self.state = State::Over;
                    self.events.push_back(Event::Closed);
                }
                Step::Again => {}
                Step::Idle => break,
            }
        }
        self.scratch = scratch;
        self.conclude(now);
    }

    /// Connected only when an engine is done and the peer is who its description says.
    fn conclude(&mut self, now: Instant) {
        if !self.is_handshaking() {
            return;
        }
        let mut attempts = self.attempts.iter();
        let Some(number) = attempts
            .find(|known| known.is_complete)
            .map(|known| known.number)
        else {
            return;
        };
        let Some(attempt) = self.attempts.get(number) else {
            return;
        };
        match (&self.expected, &attempt.peer_certificate) {
            (Expected::Anyone, _) => {}
            (Expected::Described(expected), Some(certificate)) => {
                let mut usable = expected.iter().filter(|own| own.is_usable()).peekable();
                if usable.peek().is_none() {
                    return self.fail(Failure::NoUsableFingerprint);
                }
                if !usable.any(|fingerprint| fingerprint.matches(certificate)) {
                    let _ = attempt.engine.close();
                    return self.fail(Failure::FingerprintMismatch);
                }
            }
            _ => return,
        }
        let Some(version) = attempt.version() else {
            return self.suspect(now, Failure::Protocol);
        };
        let srtp = attempt.take_srtp(self.role);
        self.attempts.settle_on(number);
        self.suspicion = None;
        self.state = State::Connected;
        self.queue.shrink_to_fit();
        self.events.push_back(Event::Connected { version, srtp });
    }

    fn fail(&mut self, failure: Failure) {
        self.state = State::Over;
        self.events.push_back(Event::Failed(failure));
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection")
            .field("state", &self.state)
            .field("role", &self.role)
            .finish_non_exhaustive()
    }
}
