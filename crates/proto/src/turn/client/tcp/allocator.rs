//! The control connection: an allocation for TCP, its permissions, and connections asked for.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use twocan_wire::stun::{AddressFamily, Attribute, Builder, Message, Method};

use super::claim::{Bind, Claim};
use super::requests::{Broken, Operation, Outcome, Requests};
use super::{
    AttemptId, CONNECT_PATIENCE, CONNECTING_MAX, ConnectionId, Event, Failure, PATIENCE,
    PERMITTED_MAX, Refusal, Settings,
};
use crate::counters::Counters;
use crate::random::Random;
use crate::time::Deadline;

/// TCP among the protocols of IP.
const TCP: u8 = 6;

/// How long an allocation is asked for, and kept if the server does not say (RFC 8656 §3.2).
const LIFETIME: Duration = Duration::from_secs(600);

/// So long before its end an allocation is refreshed, or at half of a short lifetime.
const REFRESH_AHEAD: Duration = Duration::from_secs(60);

/// When a permission, which lasts 300 s (RFC 8656 §9), is asked for again.
const RENEW_AFTER: Duration = Duration::from_secs(240);

/// How long the answer to the last Refresh is awaited.
const RELEASE_PATIENCE: Duration = Duration::from_millis(1750);

/// Events that nobody has polled: each peer that connects makes one, and waits no longer than the
/// server has it wait.
const EVENTS_MAX: usize = 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The stream is not connected yet.
    Waiting,
    Allocating,
    Allocated,
    Releasing,
    Ended,
}

#[derive(Debug, Clone, Copy)]
enum Ask {
    Allocate(Option<AddressFamily>),
    Refresh,
    Release,
    Permit(IpAddr),
    Connect(AttemptId, SocketAddr),
}

impl Operation for Ask {
    fn method(self) -> Method {
        match self {
            Self::Allocate(_) => Method::ALLOCATE,
            Self::Refresh | Self::Release => Method::REFRESH,
            Self::Permit(_) => Method::CREATE_PERMISSION,
            Self::Connect(..) => Method::CONNECT,
        }
    }

    fn write(self, builder: &mut Builder<'_>) {
        let lifetime = Attribute::Lifetime(LIFETIME.as_secs() as u32);
        match self {
            Self::Allocate(family) => {
                builder.attribute(Attribute::RequestedTransport(TCP));
                builder.attribute(lifetime);
                if let Some(family) = family {
                    builder.attribute(Attribute::RequestedAddressFamily(family));
                }
            }
            Self::Refresh => builder.attribute(lifetime),
            Self::Release => builder.attribute(Attribute::Lifetime(0)),
            Self::Permit(ip) => {
                builder.attribute(Attribute::XorPeerAddress(SocketAddr::new(ip, 0)));
            }
            Self::Connect(_, peer) => builder.attribute(Attribute::XorPeerAddress(peer)),
        }
    }

    fn patience(self) -> Duration {
        match self {
            Self::Connect(..) => CONNECT_PATIENCE,
            Self::Release => RELEASE_PATIENCE,
            _ => PATIENCE,
        }
    }
}

/// An allocation for TCP, on the stream that holds it.
#[derive(Debug)]
pub struct Allocator {
    family: Option<AddressFamily>,
    state: State,
    requests: Requests<Ask>,
    refresh_at: Option<Instant>,
    expires_at: Option<Instant>,
    /// Peers that may connect, or are to, and when that is asked for again.
    permitted: BTreeMap<IpAddr, Option<Instant>>,
    attempts: u64,
    events: VecDeque<Event>,
}

impl Allocator {
    /// One that waits for its stream.
    pub fn new(settings: Settings, random: Random) -> Self {
        Self {
            requests: Requests::new(settings.account, random),
            family: settings.family,
            state: State::Waiting,
            refresh_at: None,
            expires_at: None,
            permitted: BTreeMap::new(),
            attempts: 0,
            events: VecDeque::new(),
        }
    }

    /// The stream is connected: asks for the allocation.
    pub fn start(&mut self, now: Instant) {
        if self.state == State::Waiting {
            self.state = State::Allocating;
            self.requests.begin(now, Ask::Allocate(self.family));
        }
    }

    /// Whether there is an allocation.
    pub fn is_allocated(&self) -> bool {
        self.state == State::Allocated
    }

    /// Lets a peer connect from any port, for as long as the allocation lasts.
    /// [`Event::Permitted`] or [`Event::NotPermitted`] tells what came of it.
    pub fn permit(&mut self, now: Instant, ip: IpAddr) {
        let refusal = match self.state {
            State::Allocated if self.permitted.contains_key(&ip) => {
                // It is on its way, or there.
                if self.permitted.get(&ip).is_some_and(Option::is_some) {
                    self.report(Event::Permitted(ip));
                }
                return;
            }
            State::Allocated if self.permitted.len() >= PERMITTED_MAX => Refusal::TooMany,
            State::Allocated => {
                self.permitted.insert(ip, None);
                return self.requests.begin(now, Ask::Permit(ip));
            }
            _ => Refusal::Gone,
        };
        self.report(Event::NotPermitted(ip, refusal));
    }

    /// Has the server connect to a peer; [`Event::Connected`] or [`Event::NotConnected`] tells what
    /// came of it.
    pub fn connect(&mut self, now: Instant, peer: SocketAddr) -> AttemptId {
        self.attempts += 1;
        let attempt = AttemptId(self.attempts);
        let under_way = self.requests.under_way();
        let connecting = under_way
            .filter(|own| matches!(own, Ask::Connect(..)))
            .count();
        let refusal = match self.state {
            State::Allocated if connecting < CONNECTING_MAX => {
                self.requests.begin(now, Ask::Connect(attempt, peer));
                return attempt;
            }
            State::Allocated => Refusal::TooMany,
            _ => Refusal::Gone,
        };
        self.report(Event::NotConnected { attempt, refusal });
        attempt
    }

    /// What claims a connection, on a stream that has just been opened to the same server.
    pub fn claim(&mut self, now: Instant, connection: ConnectionId) -> Claim {
        Claim::new(self.requests.beside::<Bind>(), now, connection)
    }

    /// Takes what came on the stream.
    pub fn handle_bytes(&mut self, now: Instant, bytes: &[u8]) {
        if matches!(self.state, State::Waiting | State::Ended) {
            return;
        }
        self.requests.push(bytes);
        while self.state != State::Ended {
            let frame = match self.requests.next_frame() {
                Ok(Some(frame)) => frame,
                Ok(None) => return,
                Err(Broken) => {
                    self.requests.counters.count("turn.stream_broken");
                    return self.handle_disconnected();
                }
            };
            match self.requests.take(now, &frame) {
                Outcome::Granted(ask, message) => self.granted(now, ask, &message),
                Outcome::Refused(ask, refusal, message) => {
                    self.refused(now, ask, refusal, &message);
                }
                Outcome::Told(message) => self.told(&message),
                Outcome::Nothing => {}
            }
        }
    }

    /// The stream is gone, or could not be had.
    pub fn handle_disconnected(&mut self) {
        match self.state {
            State::Waiting | State::Allocating => self.fail(Failure::Unreachable),
            _ => self.lose(),
        }
    }

    /// Gives the allocation back; the stream may be closed when [`Self::is_over`].
    pub fn close(&mut self, now: Instant) {
        let was_allocated = self.state == State::Allocated;
        self.end();
        if was_allocated {
            self.state = State::Releasing;
            self.requests.begin(now, Ask::Release);
        }
    }

    /// Whether there is nothing more to do: it has failed, was lost, or given back.
    pub fn is_over(&self) -> bool {
        self.state == State::Ended
    }

    /// Acts on whatever time has brought.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(late) = self.requests.take_late(now) {
            match late {
                Ask::Allocate(_) => self.fail(Failure::Unreachable),
                Ask::Refresh => self.refresh_again(now),
                Ask::Release => self.end(),
                Ask::Permit(ip) => self.not_permitted(ip, Refusal::Unanswered),
                Ask::Connect(attempt, _) => {
                    let refusal = Refusal::Unanswered;
                    self.report(Event::NotConnected { attempt, refusal });
                }
            }
        }
        if self.state != State::Allocated {
            return;
        }
        if self.expires_at.is_some_and(|at| at <= now) {
            self.requests.counters.count("turn.expired");
            return self.lose();
        }
        if self.refresh_at.is_some_and(|at| at <= now) {
            self.refresh_at = None;
            self.requests.begin(now, Ask::Refresh);
        }
        for (ip, renew_at) in &mut self.permitted {
            if renew_at.is_some_and(|at| at <= now) {
                *renew_at = None;
                self.requests.begin(now, Ask::Permit(*ip));
            }
        }
    }

    /// The next message for the server.
    pub fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        self.requests.poll_transmit()
    }

    /// The next thing to report.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// When to call [`Self::handle_timeout`].
    pub fn poll_timeout(&self) -> Option<Deadline> {
        let is_allocated = self.state == State::Allocated;
        let renew = self.permitted.values().flatten().min().copied();
        let keep = [self.refresh_at, self.expires_at, renew];
        let keep = keep.into_iter().flatten().filter(|_| is_allocated);
        let next = self.requests.due_at().into_iter().chain(keep).min();
        next.map(|at| Deadline::new(at, "turn.allocator"))
    }

    /// What was dropped or refused, by reason.
    pub fn counters(&self) -> &Counters {
        &self.requests.counters
    }

    fn granted(&mut self, now: Instant, ask: Ask, message: &Message<'_>) {
        match ask {
            Ask::Allocate(_) => {
                let usable = |own: &SocketAddr| own.port() != 0 && !own.ip().is_unspecified();
                let Some(relayed) = message.relayed_address().filter(usable) else {
                    return self.fail(Failure::NoAddress);
                };
                self.state = State::Allocated;
                self.set_lifetime(now, message);
                let mapped = message.mapped_address();
                self.report(Event::Allocated { relayed, mapped });
            }
            Ask::Refresh => self.set_lifetime(now, message),
            Ask::Release => self.end(),
            Ask::Permit(ip) => {
                let renewed = self.permitted.insert(ip, Some(now + RENEW_AFTER));
                if renewed.is_some() {
                    self.report(Event::Permitted(ip));
                }
            }
            Ask::Connect(attempt, _) => self.report(match number_of(message) {
                Some(connection) => Event::Connected {
                    attempt,
                    connection,
                },
                None => Event::NotConnected {
                    attempt,
                    refusal: Refusal::Malformed,
                },
            }),
        }
    }

    fn refused(&mut self, now: Instant, ask: Ask, refusal: Refusal, message: &Message<'_>) {
        let (code, reason) = match &refusal {
            Refusal::Refused { code, reason } => (*code, reason.clone()),
            _ => (500, String::new()),
        };
        match ask {
            Ask::Allocate(_) if code == 300 => {
                let elsewhere = message.attributes().find_map(|attribute| match attribute {
                    Attribute::AlternateServer(address) => Some(address),
                    _ => None,
                });
                match elsewhere.filter(|own| own.port() != 0) {
                    None => self.fail(Failure::NoAddress),
                    Some(server) => {
                        self.end();
                        self.report(Event::Redirected(server));
                    }
                }
            }
            Ask::Allocate(_) => self.fail(Failure::Refused { code, reason }),
            Ask::Release => self.end(),
            // The allocation is not there, or not ours (RFC 8656 §8.3, §10.3; RFC 6062 §4.3).
            _ if matches!(code, 437 | 441) => {
                self.requests.counters.count("turn.allocation_mismatch");
                if let Ask::Connect(attempt, _) = ask {
                    let refusal = refusal.clone();
                    self.report(Event::NotConnected { attempt, refusal });
                }
                self.lose();
            }
            Ask::Refresh => {
                self.requests.counters.count("turn.refresh_refused");
                self.refresh_again(now);
            }
            Ask::Permit(ip) => self.not_permitted(ip, refusal),
            Ask::Connect(attempt, _) => self.report(Event::NotConnected { attempt, refusal }),
        }
    }

    fn told(&mut self, message: &Message<'_>) {
        let attempted = message.method == Method::CONNECTION_ATTEMPT;
        match (number_of(message), message.peer_address()) {
            (Some(connection), Some(peer)) if attempted && self.state == State::Allocated => {
                self.report(Event::Attempted { peer, connection });
            }
            _ => self.requests.counters.count("turn.unexpected_message"),
        }
    }

    fn not_permitted(&mut self, ip: IpAddr, refusal: Refusal) {
        self.permitted.remove(&ip);
        self.report(Event::NotPermitted(ip, refusal));
    }

    fn set_lifetime(&mut self, now: Instant, message: &Message<'_>) {
        let stated = message.lifetime();
        let stated = stated.map(|seconds| Duration::from_secs(seconds.into()));
        // A server that says nonsense is asked again soon, and not in a circle.
        let lifetime = stated
            .unwrap_or(LIFETIME)
            .clamp(Duration::from_secs(10), Duration::from_secs(24 * 3600));
        let refresh = lifetime.saturating_sub(REFRESH_AHEAD).max(lifetime / 2);
        self.refresh_at = Some(now + refresh);
        self.expires_at = Some(now + lifetime);
    }

    fn refresh_again(&mut self, now: Instant) {
        let left = self.expires_at.map(|at| at.saturating_duration_since(now));
        // Half of what is left, so that a few attempts fit.
        self.refresh_at = left.map(|left| now + (left / 2).max(Duration::from_secs(1)));
    }

    fn fail(&mut self, failure: Failure) {
        self.end();
        self.report(Event::Failed(failure));
    }

    fn lose(&mut self) {
        let was_allocated = self.state == State::Allocated;
        self.end();
        if was_allocated {
            self.report(Event::Lost);
        }
    }

    /// Nothing more comes of what is under way.
    fn end(&mut self) {
        self.state = State::Ended;
        let under_way: Vec<Ask> = self.requests.under_way().collect();
        self.requests.forget();
        for ask in under_way {
            let refusal = Refusal::Gone;
            match ask {
                Ask::Permit(ip) => self.report(Event::NotPermitted(ip, refusal)),
                Ask::Connect(attempt, _) => {
                    self.report(Event::NotConnected { attempt, refusal });
                }
                Ask::Allocate(_) | Ask::Refresh | Ask::Release => {}
            }
        }
        self.permitted.clear();
    }

    fn report(&mut self, event: Event) {
        match (&event, self.events.len() < EVENTS_MAX) {
            // The server lets go of a connection that nobody claims.
            (Event::Attempted { .. }, false) => self.requests.counters.count("turn.events_full"),
            _ => self.events.push_back(event),
        }
    }
}

fn number_of(message: &Message<'_>) -> Option<ConnectionId> {
    message.attributes().find_map(|attribute| match attribute {
        Attribute::ConnectionId(number) => Some(ConnectionId(number)),
        _ => None,
    })
}
