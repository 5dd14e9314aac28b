//! How the address translator between us and a STUN server behaves (RFC 5780 §4.3, §4.4): what a
//! mapping depends on, and who may send to it.
//!
//! Two sockets, so that what one sends opens no way for what the other waits for. The one for
//! filtering asks the server's first address alone; the one for mapping asks the others as well:
//!
//! | test | sent to | answer from |
//! |---|---|---|
//! | filtering I, mapping I | the first address | the same |
//! | filtering II | the first address | other IP, other port |
//! | filtering III | the first address | first IP, other port |
//! | mapping II | other IP, first port | the same |
//! | mapping III | other IP, other port | the same |
//!
//! Silence says "filtered" only where the server's other address answers when it is asked itself.

use std::collections::VecDeque;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use twocan_wire::scope::Scope;
use twocan_wire::stun::{Attribute, Builder, Class, Message, Method, TransactionId};

use crate::contract::{Batch, Datagram, Destination, Dscp, Ecn, Output, Path, Request, SocketId};
use crate::counters::Counters;
use crate::random::Random;
use crate::time::{Deadline, Now};

/// Requests of a test. Each waits twice as long as the one before.
pub const ATTEMPTS_MAX: u32 = 6;

/// Time from the first request of a test to the second.
pub const ATTEMPT_AFTER: Duration = Duration::from_millis(200);

/// Time after which a test without an answer is over.
pub const PATIENCE: Duration = Duration::from_secs(8);

/// The sockets of the two kinds of tests.
const FILTERING: SocketId = SocketId(0);
const MAPPING: SocketId = SocketId(1);

/// On what a mapping or a filter depends (RFC 4787 §4.1, §5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Behaviour {
    /// On nothing of the remote end.
    EndpointIndependent,
    /// On its IP address.
    AddressDependent,
    /// On its IP address and port.
    AddressAndPortDependent,
}

impl Behaviour {
    /// As RFC 4787 has it, in lower case.
    pub const fn name(self) -> &'static str {
        match self {
            Self::EndpointIndependent => "endpoint-independent",
            Self::AddressDependent => "address-dependent",
            Self::AddressAndPortDependent => "address-and-port-dependent",
        }
    }
}

impl fmt::Display for Behaviour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why a behaviour could not be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
pub enum Untold {
    /// Nothing came back: no server there, or UDP is blocked.
    #[error("the server does not answer over UDP")]
    NoAnswer,
    /// The server has one address.
    #[error("the server has no second address (RFC 5780)")]
    NoOtherAddress,
    /// The server's OTHER-ADDRESS is not one that can be asked.
    #[error("the second address that the server names cannot be used: {0}")]
    UnusableOtherAddress(SocketAddr),
    /// The other address is silent even to those who ask it.
    #[error("the server's second address does not answer")]
    OtherAddressSilent,
    /// The server answered from an address that was not asked for.
    #[error("the server does not answer from its other address when it is asked to")]
    NotChanged,
    /// The server answered with an error.
    #[error("the server refuses with error {0}")]
    Refused(u16),
    /// The server's answer does not say from where the request came.
    #[error("the server does not tell our address")]
    NoMappedAddress,
}

/// What was found out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NatBehaviour {
    /// The server.
    pub server: SocketAddr,
    /// Its other address, if it has one.
    pub other: Option<SocketAddr>,
    /// Our address as we know it.
    pub local: SocketAddr,
    /// Our address as the server sees it; `None` where nothing came back.
    pub mapped: Option<SocketAddr>,
    /// On what our outer address depends. Of an address that is not translated it depends on
    /// nothing.
    pub mapping: Result<Behaviour, Untold>,
    /// On what it depends who may send to it, of a firewall that translates nothing as well.
    pub filtering: Result<Behaviour, Untold>,
}

impl NatBehaviour {
    /// Whether an address translator is in between; `None` where nothing came back.
    pub fn is_translated(&self) -> Option<bool> {
        self.mapped.map(|mapped| mapped != self.local)
    }
}

/// The tests, each at its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Filtering1,
    Filtering2,
    Filtering3,
    Mapping1,
    Mapping2,
    Mapping3,
}

const KINDS: usize = 6;

/// What became of a test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Mapped(SocketAddr),
    Silent,
    Failed(Untold),
}

#[derive(Debug)]
struct Test {
    socket: SocketId,
    to: SocketAddr,
    change: (bool, bool),
    /// Where the answer has to come from.
    from: SocketAddr,
    id: TransactionId,
    began: Instant,
    sent: u32,
    outcome: Option<Outcome>,
}

impl Test {
    /// When the next request is due, or the end.
    fn due(&self) -> Instant {
        let end = self.began + PATIENCE;
        if self.sent >= ATTEMPTS_MAX {
            return end;
        }
        // 0, 1, 3, 7, … times the first wait.
        let waits = (1_u32 << self.sent.min(16)) - 1;
        end.min(self.began + ATTEMPT_AFTER * waits)
    }

    fn request(&self, out: &mut Vec<u8>) {
        let mut builder = Builder::new(out, Class::Request, Method::BINDING, self.id);
        let (ip, port) = self.change;
        if ip || port {
            builder.attribute(Attribute::ChangeRequest { ip, port });
        }
        builder.finish();
    }
}

/// Finds out how the translator in front of us behaves, and reports it once.
///
/// The driver binds two sockets when asked, passes in what arrives, and polls until there is the
/// report.
#[derive(Debug)]
pub struct NatDiscovery {
    server: SocketAddr,
    ip: IpAddr,
    random: Random,
    requests: VecDeque<Request>,
    locals: [Option<SocketAddr>; 2],
    tests: [Option<Test>; KINDS],
    other: Option<SocketAddr>,
    report: Option<NatBehaviour>,
    is_done: bool,
    counters: Counters,
}

impl NatDiscovery {
    /// For `server`, from sockets on `ip`, the local address by which it is reached.
    pub fn new(server: SocketAddr, ip: IpAddr, random: Random) -> Self {
        let bind = |socket| Request::Bind { socket, ip };
        Self {
            server,
            ip,
            random,
            requests: [bind(FILTERING), bind(MAPPING)].into(),
            locals: [None; 2],
            tests: [const { None }; KINDS],
            other: None,
            report: None,
            is_done: false,
            counters: Counters::default(),
        }
    }

    /// A socket it asked for is bound.
    pub fn handle_bound(&mut self, now: Now, socket: SocketId, local: SocketAddr) {
        let Some(place) = self.locals.get_mut(socket.0 as usize) else {
            return;
        };
        if place.replace(local).is_none() {
            let kind = if socket == FILTERING {
                Kind::Filtering1
            } else {
                Kind::Mapping1
            };
            let server = self.server;
            self.begin(now, kind, socket, (server, server), (false, false));
        }
    }

    /// A datagram arrived. What answers no test of ours is counted.
    pub fn handle_datagram(&mut self, now: Now, datagram: Datagram<'_>) {
        let Datagram {
            path,
            remote,
            bytes,
            ..
        } = datagram;
        let Ok(message) = Message::parse(bytes) else {
            return self.counters.count("nat_behaviour.malformed");
        };
        let test = self.tests.iter_mut().flatten().find(|test| {
            test.id == message.transaction && test.socket == path.socket && test.outcome.is_none()
        });
        let Some(test) = test.filter(|_| message.method == Method::BINDING) else {
            return self.counters.count("nat_behaviour.unexpected");
        };
        // Nothing else answers than what was asked, and what it was asked to answer from.
        if remote != test.from && remote != test.to {
            return self.counters.count("nat_behaviour.unexpected_source");
        }
        let is_first = test.change == (false, false) && test.to == self.server;
        test.outcome = Some(match (message.class, message.mapped_address()) {
            (Class::Error, _) => {
                Outcome::Failed(Untold::Refused(message.error_code().unwrap_or(0)))
            }
            (Class::Success, _) if remote != test.from => Outcome::Failed(Untold::NotChanged),
            (Class::Success, Some(mapped)) => Outcome::Mapped(mapped),
            (Class::Success, None) => Outcome::Failed(Untold::NoMappedAddress),
            _ => return self.counters.count("nat_behaviour.unexpected"),
        });
        if is_first && self.other.is_none() {
            self.other = message.attributes().find_map(|attribute| match attribute {
                Attribute::OtherAddress(address) => Some(address),
                _ => None,
            });
        }
        self.go_on(now);
    }

    /// Acts on whatever time has brought.
    pub fn handle_timeout(&mut self, now: Now) {
        for test in self.tests.iter_mut().flatten() {
            if test.outcome.is_none() && now.monotonic >= test.began + PATIENCE {
                test.outcome = Some(Outcome::Silent);
            }
        }
        self.go_on(now);
    }

    /// What the driver is to do next; the report comes once.
    pub fn poll_output(&mut self, now: Now, batch: &mut Batch) -> Output<NatBehaviour> {
        if let Some(request) = self.requests.pop_front() {
            return Output::Request(request);
        }
        let locals = self.locals;
        let waiting = |test: &&mut Test| test.outcome.is_none();
        for test in self.tests.iter_mut().flatten().filter(waiting) {
            let local = locals.get(test.socket.0 as usize).copied().flatten();
            let (Some(local), true) = (local, test.sent < ATTEMPTS_MAX) else {
                continue;
            };
            if test.due() > now.monotonic || now.monotonic >= test.began + PATIENCE {
                continue;
            }
            test.sent += 1;
            let destination = Destination {
                path: Path {
                    socket: test.socket,
                    local,
                },
                remote: test.to,
                ecn: Ecn::NotEct,
                dscp: Dscp::DEFAULT,
            };
            batch.push(destination, &mut Vec::new(), |out| test.request(out));
            return Output::Transmit;
        }
        if let Some(report) = self.report.take() {
            return Output::Event(report);
        }
        let waiting = self.tests.iter().flatten();
        let next = waiting
            .filter(|test| test.outcome.is_none())
            .map(Test::due)
            .min();
        Output::Wait(next.map(|at| Deadline::new(at, "nat_behaviour")))
    }

    /// What arrived and was of no use, by reason.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    fn begin(
        &mut self,
        now: Now,
        kind: Kind,
        socket: SocketId,
        (to, from): (SocketAddr, SocketAddr),
        change: (bool, bool),
    ) {
        let mut id = [0; 12];
        self.random.fill(&mut id);
        if let Some(place) = self.tests.get_mut(kind as usize) {
            *place = Some(Test {
                socket,
                to,
                change,
                from,
                id: TransactionId(id),
                began: now.monotonic,
                sent: 0,
                outcome: None,
            });
        }
    }

    fn outcome(&self, kind: Kind) -> Option<Outcome> {
        let test = self.tests.get(kind as usize)?.as_ref()?;
        test.outcome
    }

    fn has_begun(&self, kind: Kind) -> bool {
        self.tests.get(kind as usize).is_some_and(Option::is_some)
    }

    /// Begins what the outcomes so far allow, and reports when nothing is left.
    fn go_on(&mut self, now: Now) {
        let server = self.server;
        if let Some(other) = self.other.filter(|other| is_usable(server, *other)) {
            let with_port = SocketAddr::new(server.ip(), other.port());
            let with_ip = SocketAddr::new(other.ip(), server.port());
            let is_mapped = |outcome| matches!(outcome, Some(Outcome::Mapped(_)));
            if is_mapped(self.outcome(Kind::Filtering1)) && !self.has_begun(Kind::Filtering2) {
                let both = (true, true);
                self.begin(now, Kind::Filtering2, FILTERING, (server, other), both);
                let port = (false, true);
                self.begin(now, Kind::Filtering3, FILTERING, (server, with_port), port);
            }
            if is_mapped(self.outcome(Kind::Mapping1)) && !self.has_begun(Kind::Mapping2) {
                let none = (false, false);
                self.begin(now, Kind::Mapping2, MAPPING, (with_ip, with_ip), none);
            }
            let changed = is_mapped(self.outcome(Kind::Mapping2))
                && self.outcome(Kind::Mapping2) != self.outcome(Kind::Mapping1);
            if changed && !self.has_begun(Kind::Mapping3) {
                let none = (false, false);
                self.begin(now, Kind::Mapping3, MAPPING, (other, other), none);
            }
        }
        let have_begun = self.has_begun(Kind::Filtering1) && self.has_begun(Kind::Mapping1);
        let is_over = self
            .tests
            .iter()
            .flatten()
            .all(|test| test.outcome.is_some());
        if have_begun && is_over && !self.is_done {
            self.is_done = true;
            self.report = Some(self.conclude());
        }
    }

    fn conclude(&self) -> NatBehaviour {
        let [_, local] = self.locals;
        let local = local.unwrap_or(SocketAddr::new(self.ip, 0));
        let mapped = |kind| match self.outcome(kind) {
            Some(Outcome::Mapped(address)) => Some(address),
            _ => None,
        };
        NatBehaviour {
            server: self.server,
            other: self.other,
            local,
            mapped: mapped(Kind::Mapping1),
            mapping: self.mapping(local),
            filtering: self.filtering(),
        }
    }

    /// The address of a first test, or why there is none.
    fn first(&self, kind: Kind) -> Result<SocketAddr, Untold> {
        match self.outcome(kind) {
            Some(Outcome::Mapped(address)) => Ok(address),
            Some(Outcome::Failed(why)) => Err(why),
            Some(Outcome::Silent) | None => Err(Untold::NoAnswer),
        }
    }

    /// The server's other address, or why it cannot be asked.
    fn usable_other(&self) -> Result<SocketAddr, Untold> {
        match self.other {
            None => Err(Untold::NoOtherAddress),
            Some(other) if is_usable(self.server, other) => Ok(other),
            Some(other) => Err(Untold::UnusableOtherAddress(other)),
        }
    }

    fn mapping(&self, local: SocketAddr) -> Result<Behaviour, Untold> {
        let first = self.first(Kind::Mapping1)?;
        if first == local {
            return Ok(Behaviour::EndpointIndependent);
        }
        self.usable_other()?;
        let later = |kind| match self.outcome(kind) {
            Some(Outcome::Mapped(address)) => Ok(address),
            Some(Outcome::Failed(why)) => Err(why),
            Some(Outcome::Silent) | None => Err(Untold::OtherAddressSilent),
        };
        let second = later(Kind::Mapping2)?;
        if second == first {
            return Ok(Behaviour::EndpointIndependent);
        }
        Ok(if later(Kind::Mapping3)? == second {
            Behaviour::AddressDependent
        } else {
            Behaviour::AddressAndPortDependent
        })
    }

    fn filtering(&self) -> Result<Behaviour, Untold> {
        self.first(Kind::Filtering1)?;
        self.usable_other()?;
        let passed = |kind| match self.outcome(kind) {
            Some(Outcome::Mapped(_)) => Ok(true),
            Some(Outcome::Failed(why)) => Err(why),
            Some(Outcome::Silent) | None => Ok(false),
        };
        if passed(Kind::Filtering2)? {
            return Ok(Behaviour::EndpointIndependent);
        }
        match self.outcome(Kind::Mapping2) {
            Some(Outcome::Silent) | None => return Err(Untold::OtherAddressSilent),
            Some(Outcome::Mapped(_) | Outcome::Failed(_)) => {}
        }
        Ok(if passed(Kind::Filtering3)? {
            Behaviour::AddressDependent
        } else {
            Behaviour::AddressAndPortDependent
        })
    }
}

/// Whether requests may go to the other address that a server names: one that differs in both, of
/// the same family, and no nearer to us than the server is itself. A server must not be able to
/// point us at our own network.
fn is_usable(server: SocketAddr, other: SocketAddr) -> bool {
    let (ip, of_server) = (other.ip().to_canonical(), server.ip().to_canonical());
    other.is_ipv4() == server.is_ipv4()
        && ip != of_server
        && other.port() != server.port()
        && other.port() != 0
        && (is_far(ip) || (Scope::of(ip).is_near() && !is_far(of_server)))
}

/// Whether an address is one of a single host somewhere beyond this network.
fn is_far(ip: IpAddr) -> bool {
    matches!(Scope::of(ip), Scope::Global | Scope::Special)
}

#[cfg(test)]
mod tests;
