//! The client of one server from one local address: requests, answers, time.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use twocan_wire::stun::{AddressFamily, Attribute, Builder, Class, Message, Method, TransactionId};
use twocan_wire::turn::ChannelData;

use super::account::{Account, Challenge};
use super::mobility::Mobility;
use super::peers::{Access, Ask, Peers};
use super::{Envelope, Event, Failure, Received, Settings};
use crate::counters::Counters;
use crate::random::Random;
use crate::time::Deadline;

/// UDP, the one transport that is relayed here (RFC 8656 §18.8).
const REQUESTED_TRANSPORT: u8 = 17;

/// First retransmission of a request; doubles each time, up to [`RETRANSMIT_MAX`]. RFC 8489 §6.2.1
/// has 500 ms and no limit; half of it halves the time to a relay under loss.
const RETRANSMIT_AFTER: Duration = Duration::from_millis(250);

/// Longest wait between two requests.
const RETRANSMIT_MAX: Duration = Duration::from_secs(2);

/// Requests before the server counts as unreachable: after 11.75 s, where RFC 8489 §6.2.1 has 7
/// and 39.5 s. Gathering waits for it, and at 20 % loss each way one in 3,500 is not answered.
const ATTEMPTS_MAX: u32 = 8;

/// How long an answer is awaited on a stream, where nothing is repeated; RFC 8489 §6.2.2 has
/// 39.5 s.
const STREAM_PATIENCE: Duration = Duration::from_millis(11_750);

/// How long an allocation is asked for, and kept if the server does not say (RFC 8656 §3.2).
const LIFETIME: Duration = Duration::from_secs(600);

/// So long before its end an allocation is refreshed, or at half of a short lifetime.
const REFRESH_AHEAD: Duration = Duration::from_secs(60);

/// Requests to give an allocation back, in 1.75 s; after that it runs out by itself.
const RELEASE_ATTEMPTS_MAX: u32 = 3;

/// The same time on a stream.
const RELEASE_PATIENCE: Duration = Duration::from_millis(1_750);

/// Servers tried one after the other by ALTERNATE-SERVER.
pub(super) const SERVERS_MAX: usize = 4;

/// Challenges followed without a success in between.
const CHALLENGES_MAX: u32 = 3;

/// Messages waiting to be polled. At the limit further ones are dropped and counted: requests are
/// repeated.
const TRANSMITS_MAX: usize = 64;

/// What a request is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    Allocate,
    Refresh,
    /// A Refresh that shows a ticket (RFC 8016 §3.2).
    Move,
    Release,
    Ask(Ask),
}

#[derive(Debug)]
struct Transaction {
    operation: Operation,
    bytes: Vec<u8>,
    /// Whether it carries credentials: then its answer must too.
    authenticated: bool,
    /// The challenge that its nonce is from, by number.
    challenge: u32,
    attempts: u32,
    wait: Duration,
    due_at: Instant,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// A stream is not connected yet.
    Waiting,
    Allocating,
    Allocated,
    /// The server is told that the allocation is no longer needed.
    Releasing,
    /// Failed, lost or given back.
    Ended,
}

/// A client of one server, from one local address.
#[derive(Debug)]
pub struct Client {
    pub(super) server: SocketAddr,
    pub(super) tried: Vec<SocketAddr>,
    account: Account,
    pub(super) stream: bool,
    random: Random,
    pub(super) state: State,
    pub(super) challenge: Option<Challenge>,
    /// Challenges since the last success.
    pub(super) challenges: u32,
    /// The number of the present challenge; 0 is none.
    challenge_number: u32,
    transactions: BTreeMap<TransactionId, Transaction>,
    refresh_at: Option<Instant>,
    expires_at: Option<Instant>,
    pub(super) mobility: Mobility,
    pub(super) peers: Peers,
    pub(super) transmits: VecDeque<Vec<u8>>,
    pub(super) events: VecDeque<Event>,
    pub(super) counters: Counters,
}

impl Client {
    /// A client that has asked nothing yet.
    pub fn new(settings: Settings, random: Random) -> Self {
        Self {
            server: settings.server,
            tried: vec![settings.server],
            account: settings.account,
            stream: settings.stream,
            random,
            state: State::Waiting,
            challenge: None,
            challenges: 0,
            challenge_number: 0,
            transactions: BTreeMap::new(),
            refresh_at: None,
            expires_at: None,
            mobility: Mobility::Wanted,
            peers: Peers::default(),
            transmits: VecDeque::new(),
            events: VecDeque::new(),
            counters: Counters::default(),
        }
    }

    /// Asks for an allocation: at once over UDP, when the stream is connected otherwise.
    pub fn start(&mut self, now: Instant) {
        if self.state == State::Waiting {
            self.state = State::Allocating;
            self.begin(now, Operation::Allocate);
        }
    }

    /// Where everything is sent to.
    pub fn server(&self) -> SocketAddr {
        self.server
    }

    /// Whether it is not known yet if there will be an allocation.
    pub fn is_pending(&self) -> bool {
        matches!(self.state, State::Waiting | State::Allocating)
    }

    /// Whether there is an allocation.
    pub fn is_allocated(&self) -> bool {
        self.state == State::Allocated
    }

    /// Takes what came from the server: a datagram, or one frame of a stream.
    pub fn handle<'a>(&mut self, now: Instant, bytes: &'a mut [u8]) -> Received<'a> {
        match bytes.first() {
            Some(0..=3) => {}
            Some(0x40..=0x4f) => return self.handle_channel_data(bytes),
            // A peer may live at the same address as its relay.
            _ => return Received::Other(bytes),
        }
        let message = match Message::parse(bytes) {
            Ok(message) => message,
            Err(_) => return self.drop("turn.malformed"),
        };
        if message.method == Method::BINDING {
            return Received::Other(bytes);
        }
        match (message.class, message.method) {
            (Class::Indication, Method::DATA) => {
                let peer = message.peer_address();
                let data = message.attributes().find_map(|attribute| match attribute {
                    Attribute::Data(data) => Some(data),
                    _ => None,
                });
                let (Some(peer), Some(data)) = (peer, data) else {
                    // An ICMP error has no DATA (RFC 8656 §11.6): checks fail by themselves.
                    return self.drop("turn.indication_without_data");
                };
                let start = data.as_ptr().addr().checked_sub(bytes.as_ptr().addr());
                let range = start.map(|start| start..start.saturating_add(data.len()));
                match range.and_then(|range| bytes.get_mut(range)) {
                    Some(bytes) => Received::Data { peer, bytes },
                    None => Received::Taken,
                }
            }
            (Class::Success | Class::Error, _) => {
                self.handle_answer(now, &message);
                Received::Taken
            }
            (Class::Request | Class::Indication, _) => self.drop("turn.unexpected_message"),
        }
    }

    /// Acts on whatever time has brought.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.retransmit(now);
        if self.state != State::Allocated {
            return;
        }
        if self.expires_at.is_some_and(|at| at <= now) {
            self.counters.count("turn.expired");
            return self.lose();
        }
        if self.refresh_at.is_some_and(|at| at <= now) {
            self.refresh_at = None;
            self.begin(now, Operation::Refresh);
        }
        for ask in self.peers.renew(now) {
            self.begin(now, Operation::Ask(ask));
        }
    }

    /// What to put around data for `peer`, whose permission is asked for if it is not there yet.
    /// `None` without an allocation, and where the server does not relay.
    pub fn envelope(&mut self, now: Instant, peer: SocketAddr) -> Option<Envelope> {
        // What was queued before the allocation was given back may still go before that is sent.
        if !matches!(self.state, State::Allocated | State::Releasing) {
            return None;
        }
        match self.peers.access(now, peer.ip()) {
            Access::Open(ask) => {
                if let Some(ask) = ask {
                    self.begin(now, Operation::Ask(ask));
                }
            }
            Access::Refused => return None,
            Access::Full => {
                self.counters.count("turn.too_many_peers");
                return None;
            }
        }
        Some(match self.peers.channel(now, peer) {
            Some(number) => Envelope::channel(number, self.stream),
            None => Envelope::indication(peer, self.transaction_id(), self.stream),
        })
    }

    /// Asks for a channel to `peer`, with which data costs 4 bytes more instead of 36.
    pub fn bind(&mut self, now: Instant, peer: SocketAddr) {
        if self.state == State::Allocated
            && let Some(ask) = self.peers.bind(now, peer)
        {
            self.begin(now, Operation::Ask(ask));
        }
    }

    /// Asks whether the server still has the allocation, which the answer tells
    /// ([`Event::Lost`](super::Event::Lost)); nothing without one, or while it is asked.
    pub fn confirm(&mut self, now: Instant) {
        let mut running = self.transactions.values();
        let is_asking =
            running.any(|own| matches!(own.operation, Operation::Refresh | Operation::Move));
        if self.state == State::Allocated && !is_asking {
            self.refresh_at = None;
            self.begin(now, Operation::Refresh);
        }
    }

    /// Gives the allocation back, which takes a round trip, or two if the nonce is old.
    pub fn close(&mut self, now: Instant) {
        let was_allocated = self.state == State::Allocated;
        self.end();
        if was_allocated {
            self.state = State::Releasing;
            self.begin(now, Operation::Release);
        }
    }

    /// Whether the server has not yet said that it has the allocation back.
    pub fn is_releasing(&self) -> bool {
        self.state == State::Releasing
    }

    /// The way to the server is gone: nothing more is sent.
    pub fn abandon(&mut self) {
        self.end();
    }

    /// The stream to the server is gone, or could not be had.
    pub fn handle_disconnected(&mut self) {
        match self.state {
            State::Waiting | State::Allocating => self.fail(Failure::Unreachable),
            State::Allocated => self.lose(),
            State::Releasing | State::Ended => self.end(),
        }
    }

    /// The next message for [`Self::server`].
    pub fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        self.transmits.pop_front()
    }

    /// The next thing to report.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// When to call [`Self::handle_timeout`].
    pub fn poll_timeout(&self) -> Option<Deadline> {
        let request = self.transactions.values().map(|own| own.due_at).min();
        let running = self.state == State::Allocated;
        let keep = [self.refresh_at, self.expires_at, self.peers.renew_at()];
        let keep = keep.into_iter().flatten().min().filter(|_| running);
        let deadline = |at: Option<Instant>, reason| at.map(|at| Deadline::new(at, reason));
        Deadline::earlier(
            deadline(request, "turn.retransmit"),
            deadline(keep, "turn.refresh"),
        )
    }

    /// What was dropped or refused, by reason.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    fn handle_channel_data<'a>(&mut self, bytes: &'a mut [u8]) -> Received<'a> {
        let Ok(ChannelData { channel, data }) = ChannelData::parse(bytes) else {
            return self.drop("turn.malformed");
        };
        let len = data.len();
        let Some(peer) = self.peers.peer(channel) else {
            return self.drop("turn.unknown_channel");
        };
        let start = twocan_wire::turn::CHANNEL_DATA_HEADER_LEN;
        match bytes.get_mut(start..start.saturating_add(len)) {
            Some(bytes) => Received::Data { peer, bytes },
            None => Received::Taken,
        }
    }

    fn drop(&mut self, reason: &'static str) -> Received<'static> {
        self.counters.count(reason);
        Received::Taken
    }

    fn transaction_id(&mut self) -> TransactionId {
        let mut id = [0; 12];
        self.random.fill(&mut id);
        TransactionId(id)
    }

    /// Writes a request, with credentials if the server has asked for them.
    fn request(
        &mut self,
        method: Method,
        fill: impl FnOnce(&mut Builder<'_>),
    ) -> (TransactionId, Vec<u8>, bool) {
        let id = self.transaction_id();
        let mut bytes = Vec::with_capacity(256);
        let mut builder = Builder::new(&mut bytes, Class::Request, method, id);
        fill(&mut builder);
        match &self.challenge {
            Some(challenge) => challenge.finish(&self.account, builder),
            None => builder.finish(),
        }
        (id, bytes, self.challenge.is_some())
    }

    pub(super) fn begin(&mut self, now: Instant, operation: Operation) {
        let mobility = self.mobility.clone();
        let (id, bytes, authenticated) = match operation {
            Operation::Allocate => self.request(Method::ALLOCATE, |builder| {
                builder.attribute(Attribute::RequestedTransport(REQUESTED_TRANSPORT));
                builder.attribute(Attribute::Lifetime(LIFETIME.as_secs() as u32));
                // A server without IPv6, or without the attribute, allocates IPv4 alone.
                let second = AddressFamily::IPV6;
                builder.attribute(Attribute::AdditionalAddressFamily(second));
                if let Some(asked) = mobility.asked() {
                    builder.attribute(asked);
                }
            }),
            Operation::Move => self.request(Method::REFRESH, |builder| {
                builder.attribute(Attribute::Lifetime(LIFETIME.as_secs() as u32));
                if let Mobility::Ticket(ticket) = &mobility {
                    builder.attribute(Attribute::MobilityTicket(ticket));
                }
            }),
            Operation::Refresh => self.request(Method::REFRESH, |builder| {
                builder.attribute(Attribute::Lifetime(LIFETIME.as_secs() as u32));
            }),
            Operation::Release => self.request(Method::REFRESH, |builder| {
                builder.attribute(Attribute::Lifetime(0));
            }),
            Operation::Ask(Ask::Permission(ip)) => {
                self.request(Method::CREATE_PERMISSION, |builder| {
                    builder.attribute(Attribute::XorPeerAddress(SocketAddr::new(ip, 0)));
                })
            }
            Operation::Ask(Ask::Channel(peer, number)) => {
                self.request(Method::CHANNEL_BIND, |builder| {
                    builder.attribute(Attribute::ChannelNumber(number));
                    builder.attribute(Attribute::XorPeerAddress(peer));
                })
            }
        };
        let wait = match (self.stream, operation) {
            (false, _) => RETRANSMIT_AFTER,
            (true, Operation::Release) => RELEASE_PATIENCE,
            (true, _) => STREAM_PATIENCE,
        };
        self.queue(bytes.clone());
        let transaction = Transaction {
            operation,
            bytes,
            authenticated,
            challenge: self.challenge_number,
            attempts: 1,
            wait,
            due_at: now + wait,
        };
        self.transactions.insert(id, transaction);
    }

    fn queue(&mut self, bytes: Vec<u8>) {
        if self.transmits.len() < TRANSMITS_MAX {
            self.transmits.push_back(bytes);
        } else {
            self.counters.count("turn.transmit_queue_full");
        }
    }

    fn handle_answer(&mut self, now: Instant, message: &Message<'_>) {
        let Some(transaction) = self.transactions.get(&message.transaction) else {
            return self.counters.count("turn.answer_without_request");
        };
        let code = message.error_code();
        // A server that does not know us cannot sign (RFC 8489 §9.2.5); anything else that is not
        // signed may be somebody else's.
        let unsigned_is_fine = matches!(code, Some(400 | 401 | 438));
        if transaction.authenticated && !unsigned_is_fine {
            let challenge = self.challenge.as_ref();
            if challenge.is_none_or(|challenge| challenge.verify(message).is_err()) {
                return self.counters.count("turn.answer_bad_integrity");
            }
        }
        if message.class == Class::Error && matches!(code, Some(401 | 438)) {
            return self.handle_challenge(now, message, code == Some(438));
        }
        let Some(transaction) = self.transactions.remove(&message.transaction) else {
            return;
        };
        self.challenges = 0;
        match message.class {
            Class::Success => self.succeeded(now, transaction.operation, message),
            _ => self.refused(now, transaction.operation, message),
        }
    }

    /// The server wants credentials, or fresher ones.
    fn handle_challenge(&mut self, now: Instant, message: &Message<'_>, stale: bool) {
        let before = self.challenge.as_ref();
        let challenge = match Challenge::read(&self.account, message, before) {
            Ok(challenge) => challenge,
            // Anybody may have sent it: the true one may still come.
            Err(unusable) => return self.counters.count(unusable.reason()),
        };
        let Some(transaction) = self.transactions.remove(&message.transaction) else {
            return;
        };
        // Several requests were under way with a nonce that has been replaced since: one challenge.
        if stale && transaction.challenge != self.challenge_number {
            return self.begin(now, transaction.operation);
        }
        self.challenges += 1;
        // Credentials that were refused once are refused again.
        let refused = transaction.authenticated && !stale;
        if refused || self.challenges > CHALLENGES_MAX {
            self.counters.count("turn.credentials_refused");
            return self.refused(now, transaction.operation, message);
        }
        self.challenge = Some(challenge);
        self.challenge_number = self.challenge_number.wrapping_add(1);
        self.begin(now, transaction.operation);
    }

    fn succeeded(&mut self, now: Instant, operation: Operation, message: &Message<'_>) {
        match operation {
            Operation::Allocate => self.allocated(now, message),
            Operation::Refresh => {
                self.take_ticket(message);
                self.set_lifetime(now, message);
            }
            Operation::Move => self.moved(now, message),
            Operation::Release => self.end(),
            Operation::Ask(ask) => self.peers.granted(now, ask),
        }
    }

    fn allocated(&mut self, now: Instant, message: &Message<'_>) {
        let usable = |address: &SocketAddr| address.port() != 0 && !address.ip().is_unspecified();
        let relayed = message
            .attributes()
            .filter_map(|attribute| match attribute {
                Attribute::XorRelayedAddress(address) => Some(address),
                _ => None,
            });
        let mut relayed: Vec<SocketAddr> = relayed.filter(usable).collect();
        relayed.dedup_by_key(|address| address.is_ipv4());
        relayed.truncate(2);
        if relayed.is_empty() {
            return self.fail(Failure::NoAddress);
        }
        self.state = State::Allocated;
        self.take_ticket(message);
        self.set_lifetime(now, message);
        let mapped = message.mapped_address();
        self.events.push_back(Event::Allocated { relayed, mapped });
    }

    pub(super) fn set_lifetime(&mut self, now: Instant, message: &Message<'_>) {
        let stated = message
            .lifetime()
            .map(|own| Duration::from_secs(own.into()));
        // A server that says nonsense is asked again soon, and not in a circle.
        let lifetime = stated
            .unwrap_or(LIFETIME)
            .clamp(Duration::from_secs(10), Duration::from_secs(24 * 3600));
        let refresh = lifetime.saturating_sub(REFRESH_AHEAD).max(lifetime / 2);
        self.refresh_at = Some(now + refresh);
        self.expires_at = Some(now + lifetime);
    }

    pub(super) fn refresh_again(&mut self, now: Instant) {
        let left = self.expires_at.map(|at| at.saturating_duration_since(now));
        // Half of what is left, so that a few attempts fit.
        self.refresh_at = left.map(|left| now + (left / 2).max(Duration::from_secs(1)));
    }

    fn retransmit(&mut self, now: Instant) {
        let due = |own: &Transaction| own.due_at <= now;
        let late = self.transactions.iter().filter(|(_, own)| due(own));
        let late: Vec<TransactionId> = late.map(|(id, _)| *id).collect();
        for id in late {
            let Some(transaction) = self.transactions.get_mut(&id) else {
                continue;
            };
            let attempts_max = match transaction.operation {
                Operation::Release => RELEASE_ATTEMPTS_MAX,
                _ => ATTEMPTS_MAX,
            };
            if !self.stream && transaction.attempts < attempts_max {
                transaction.attempts += 1;
                transaction.wait = (transaction.wait * 2).min(RETRANSMIT_MAX);
                transaction.due_at = now + transaction.wait;
                let bytes = transaction.bytes.clone();
                self.queue(bytes);
                continue;
            }
            let operation = transaction.operation;
            self.transactions.remove(&id);
            self.counters.count("turn.no_answer");
            match operation {
                Operation::Allocate => self.fail(Failure::Unreachable),
                Operation::Refresh => self.refresh_again(now),
                Operation::Move => self.lose(),
                Operation::Release => self.end(),
                Operation::Ask(ask) => self.peers.denied(now, ask, false),
            }
        }
    }

    /// Requests under way will not be answered; those for peers are made again.
    pub(super) fn forget_requests(&mut self, now: Instant) {
        self.transactions.clear();
        self.transmits.clear();
        self.refresh_at = None;
        self.peers.ask_again(now);
    }

    pub(super) fn fail(&mut self, failure: Failure) {
        self.end();
        self.events.push_back(Event::Failed(failure));
    }

    pub(super) fn lose(&mut self) {
        if self.state == State::Allocated {
            self.end();
            self.events.push_back(Event::Lost);
        }
    }

    pub(super) fn end(&mut self) {
        self.state = State::Ended;
        self.transactions.clear();
        self.transmits.clear();
    }
}
