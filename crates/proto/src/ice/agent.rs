//! The agent: its state, and what the application does to it.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Instant;

use twocan_wire::stun::TransactionId;

use super::candidate::{is_translation, local_preference, priority};
use super::check::Transaction;
use super::doubt::{Doubt, Hearing};
use super::gather::Gatherer;
use super::pair::{Pair, PairId};
use super::request::EarlyCheck;
use super::selected::Selection;
use super::tcp::{Stream, may_connect_to};
use super::{
    Candidate, Config, Credentials, Event, GatheringState, Kind, PairState, PairStats, Role, Route,
    State, TcpType,
};
use crate::contract::Path;
use crate::counters::Counters;
use crate::random::Random;
use crate::time::Deadline;

/// Local addresses used, relayed ones among them; later ones are ignored and counted. A machine
/// with more than this gains nothing from checking them all.
const BASES_MAX: usize = 40;

/// Remote candidates kept per generation; later ones are ignored and counted. A peer can name
/// thousands for free.
const REMOTE_CANDIDATES_MAX: usize = 64;

/// Pairs kept (RFC 8445 §6.1.2.5); the worst unchecked ones are dropped first.
pub(super) const PAIRS_MAX: usize = 100;

/// Routes over which the peer has proved itself; the oldest is dropped for a new one.
const PROVEN_MAX: usize = 32;

/// Datagrams waiting to be polled. At the limit further ones are dropped and counted: requests
/// are retransmitted, and a driver that never polls has no use for answers.
const TRANSMITS_MAX: usize = 256;

/// A datagram to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transmit {
    /// Which way.
    pub route: Route,
    /// The STUN message.
    pub bytes: Vec<u8>,
}

/// A local socket, which is a host candidate and the base of reflexive ones, or an address that a
/// relay lent us, or from which streams are opened.
#[derive(Debug, Clone)]
pub(super) struct Base {
    pub(super) path: Path,
    /// Host or relayed.
    pub(super) kind: Kind,
    /// Who connects, where it is of TCP.
    pub(super) tcp: Option<TcpType>,
    pub(super) local_preference: u16,
    pub(super) foundation: String,
    /// Its socket or relay is still there.
    pub(super) is_there: bool,
}

/// An ICE agent for one component and one peer.
#[derive(Debug)]
pub struct Agent {
    pub(super) config: Config,
    pub(super) random: Random,
    pub(super) role: Role,
    pub(super) tie_breaker: u64,
    /// Times that the peer's refusal changed our role.
    pub(super) role_switches: u32,
    pub(super) local: Credentials,
    /// Of a restart that the peer has not answered yet.
    pub(super) local_next: Option<Credentials>,
    /// How often the credentials that checks may come under have changed.
    pub(super) names_changes: u64,
    /// Of the generation before a restart: the peer's consent checks are still answered.
    pub(super) local_previous: Option<Credentials>,
    pub(super) remote: Option<Credentials>,
    /// The peer follows the last of several nominations.
    pub(super) renominates: bool,
    /// Nominations of ours so far.
    pub(super) nominations: u32,
    pub(super) remote_end_of_candidates: bool,
    pub(super) bases: Vec<Base>,
    /// Over TCP, opened by either side.
    pub(super) streams: Vec<Stream>,
    /// Streams that were asked for and are neither open nor failed.
    pub(super) opening: Vec<Route>,
    pub(super) locals: Vec<Candidate>,
    pub(super) remotes: Vec<Candidate>,
    /// Addresses of those that the peer told by a name alone.
    pub(super) named: Vec<SocketAddr>,
    /// Best first.
    pub(super) pairs: Vec<Pair>,
    pub(super) pair_ids: u32,
    pub(super) triggered: VecDeque<PairId>,
    pub(super) early: Vec<EarlyCheck>,
    pub(super) transactions: BTreeMap<TransactionId, Box<Transaction>>,
    pub(super) gatherer: Gatherer,
    pub(super) gathering: GatheringState,
    pub(super) state: State,
    pub(super) selected: Option<PairId>,
    pub(super) nominating: Option<PairId>,
    pub(super) route: Option<Route>,
    pub(super) selection: Selection,
    pub(super) proven: VecDeque<Route>,
    pub(super) first_check_at: Option<Instant>,
    pub(super) last_check_at: Option<Instant>,
    pub(super) first_valid_at: Option<Instant>,
    pub(super) consent_check_at: Option<Instant>,
    pub(super) heard_at: Option<Instant>,
    pub(super) hearing: Hearing,
    /// About the selected pair.
    pub(super) doubt: Option<Doubt>,
    /// When the last base was lost that carried data.
    pub(super) lost_at: Option<Instant>,
    /// When failed direct pairs are tried again.
    pub(super) retry_at: Option<Instant>,
    pub(super) deadline: Option<Deadline>,
    pub(super) transmits: VecDeque<Transmit>,
    pub(super) events: VecDeque<Event>,
    pub(super) counters: Counters,
}

impl Agent {
    /// An agent with fresh credentials that knows no address yet.
    pub fn new(config: Config, role: Role, mut random: Random) -> Self {
        let local = Credentials::random(&mut random);
        let tie_breaker = random.u64();
        Self {
            config,
            random,
            role,
            tie_breaker,
            role_switches: 0,
            local,
            local_next: None,
            names_changes: 0,
            local_previous: None,
            remote: None,
            renominates: false,
            nominations: 0,
            remote_end_of_candidates: false,
            bases: Vec::new(),
            streams: Vec::new(),
            opening: Vec::new(),
            locals: Vec::new(),
            remotes: Vec::new(),
            named: Vec::new(),
            pairs: Vec::new(),
            pair_ids: 0,
            triggered: VecDeque::new(),
            early: Vec::new(),
            transactions: BTreeMap::new(),
            gatherer: Gatherer::default(),
            gathering: GatheringState::New,
            state: State::New,
            selected: None,
            nominating: None,
            route: None,
            selection: Selection::default(),
            proven: VecDeque::new(),
            first_check_at: None,
            last_check_at: None,
            first_valid_at: None,
            consent_check_at: None,
            heard_at: None,
            hearing: Hearing::default(),
            doubt: None,
            lost_at: None,
            retry_at: None,
            deadline: None,
            transmits: VecDeque::new(),
            events: VecDeque::new(),
            counters: Counters::default(),
        }
    }

    /// Takes a bound socket as a host candidate.
    pub fn add_base(&mut self, now: Instant, path: Path) {
        let preference = local_preference(path.local.ip(), self.bases.len());
        let Some(index) = self.push_base(path, Kind::Host, None, preference) else {
            return;
        };
        self.add_local(Candidate {
            kind: Kind::Host,
            address: self.shown(path.local),
            tcp: None,
            related: None,
            priority: priority(Kind::Host, None, preference),
            foundation: self.bases[index].foundation.clone(),
            server: None,
        });
        self.gather_from(now, index);
        self.pair_base(index);
        self.settle(now);
    }

    pub(super) fn push_base(
        &mut self,
        path: Path,
        kind: Kind,
        tcp: Option<TcpType>,
        local_preference: u16,
    ) -> Option<usize> {
        if self.bases.iter().any(|base| base.path == path) {
            return None;
        }
        if self.bases.iter().filter(|base| base.is_there).count() >= BASES_MAX {
            self.counters.count("ice.too_many_local_addresses");
            return None;
        }
        let index = self.bases.len();
        self.bases.push(Base {
            path,
            kind,
            tcp,
            local_preference,
            // One base, one foundation: distinct addresses never fail together here.
            foundation: format!("{}", index + 1),
            is_there: true,
        });
        if self.gathering == GatheringState::New {
            self.set_gathering(GatheringState::Gathering);
        }
        Some(index)
    }

    /// An address of ours as others see it, where that is known beforehand.
    pub(super) fn shown(&self, local: SocketAddr) -> SocketAddr {
        let mut all = self.config.external_addresses.iter();
        let other = all.find(|(own, other)| *own == local.ip() && own.is_ipv4() == other.is_ipv4());
        other.map_or(local, |(_, other)| SocketAddr::new(*other, local.port()))
    }

    /// Forgets a socket that is gone, and all pairs that used it.
    pub fn remove_base(&mut self, now: Instant, path: Path) {
        let Some(index) = self.bases.iter().position(|base| base.path == path) else {
            return;
        };
        // The base stays in the list as a tombstone: pairs name bases by index.
        self.bases[index].is_there = false;
        for pair in self.pairs.iter_mut().filter(|pair| pair.base == index) {
            pair.state = PairState::Failed;
            pair.nominated = false;
        }
        self.transactions
            .retain(|_, transaction| transaction.route.path != path);
        let shown = self.shown(path.local);
        self.locals.retain(|local| {
            local.address != shown && local.related.is_none_or(|base| base != path.local)
        });
        if self
            .selected
            .is_some_and(|id| self.pair(id).is_none_or(|pair| pair.base == index))
        {
            self.selected = None;
            self.lost_at = Some(now);
        }
        self.settle(now);
    }

    /// Adds a STUN server: every base of its family asks it for its reflexive address.
    pub fn add_stun_server(&mut self, now: Instant, server: SocketAddr) {
        if self.gatherer.add_server(server) {
            for base in 0..self.bases.len() {
                self.gather(now, base, server);
            }
            self.settle(now);
        } else {
            self.counters.count("ice.too_many_stun_servers");
        }
    }

    /// Says that no further sockets and STUN servers are to come.
    pub fn end_of_bases(&mut self, now: Instant) {
        self.gatherer.all_bases_known = true;
        self.settle(now);
    }

    /// Sets the role that the descriptions give; a conflict may change it later.
    pub fn set_role(&mut self, now: Instant, role: Role) {
        self.change_role(role);
        self.settle(now);
    }

    /// Sets the peer's credentials, with which checks begin.
    ///
    /// With credentials other than the present ones a new generation begins: remote candidates
    /// and pairs are dropped, and the present route is kept until a new pair is valid.
    ///
    /// `renominates` says that the peer follows the last of several nominations, whatever the
    /// priorities (draft-thatcher-ice-renomination).
    pub fn set_remote(&mut self, now: Instant, remote: Credentials, renominates: bool) {
        let changed = self.remote.as_ref().is_some_and(|current| {
            current.username_fragment != remote.username_fragment
                || current.password != remote.password
        });
        let early = std::mem::take(&mut self.early);
        if changed {
            self.judge_streams(now);
            self.begin_generation();
        }
        self.remote = Some(remote);
        self.renominates = renominates;
        self.first_check_at.get_or_insert(now);
        for early in early {
            self.trigger_from_request(early);
        }
        self.settle(now);
    }

    /// Adds a candidate of the peer's.
    pub fn add_remote_candidate(&mut self, now: Instant, candidate: Candidate) {
        self.note_told(candidate.address);
        self.take_remote(now, candidate);
    }

    pub(super) fn take_remote(&mut self, now: Instant, candidate: Candidate) {
        let known = self
            .remotes
            .iter()
            .position(|known| known.is_at(candidate.address, candidate.tcp.is_some()));
        if candidate.tcp == Some(TcpType::Active) {
            // Whoever connects comes from another port than it told, and is known by its check.
        } else if candidate.tcp == Some(TcpType::SimultaneousOpen) {
            self.counters.count("ice.simultaneous_open");
        } else if let Some(index) = known {
            // A peer-reflexive one gets its real name (RFC 8838 §11.4).
            if self.remotes[index].kind == Kind::PeerReflexive {
                self.remotes[index] = candidate;
                self.refresh_priorities();
            }
        } else if self.remotes.len() >= REMOTE_CANDIDATES_MAX {
            self.counters.count("ice.too_many_remote_candidates");
        } else if candidate.address.port() == 0 || candidate.address.ip().is_unspecified() {
            self.counters.count("ice.unusable_remote_candidate");
        } else if candidate.tcp.is_some() && !may_connect_to(candidate.address) {
            self.counters.count("ice.remote_tcp_port_refused");
        } else {
            self.name_translations(&candidate);
            self.remotes.push(candidate);
            let remote = self.remotes.len() - 1;
            for base in 0..self.bases.len() {
                self.add_pair(base, remote);
            }
            self.doubt_selected(now);
        }
        self.settle(now);
    }

    /// What a NAT64 made of this address, and was known by its checks alone, gets its real name.
    fn name_translations(&mut self, told: &Candidate) {
        let is_it = |own: &Candidate| {
            let is_nameless = own.kind == Kind::PeerReflexive && own.tcp.is_none();
            is_nameless && told.tcp.is_none() && is_translation(own.address, told.address)
        };
        if let Some(own) = self.remotes.iter_mut().find(|own| is_it(own)) {
            (own.kind, own.priority) = (told.kind, told.priority);
            self.refresh_priorities();
        }
    }

    /// The peer has no further candidates (RFC 8838 §14).
    pub fn end_of_remote_candidates(&mut self, now: Instant) {
        self.remote_end_of_candidates = true;
        self.settle(now);
    }

    /// Prepares a restart with fresh credentials, which become valid when the peer answers with
    /// its own ([`Self::set_remote`]). The peer's checks under them are answered from now on.
    pub fn prepare_restart(&mut self, now: Instant, fresh: Credentials) {
        let gathered = self.locals.clone();
        self.set_gathering(GatheringState::Gathering);
        for candidate in gathered
            .into_iter()
            .filter(|local| local.kind != Kind::PeerReflexive)
        {
            self.events.push_back(Event::LocalCandidate(candidate));
        }
        self.local_next = Some(fresh);
        self.names_changes += 1;
        self.settle(now);
    }

    /// Whether a restart is prepared and not yet answered.
    pub fn is_restarting(&self) -> bool {
        self.local_next.is_some()
    }

    /// Takes a prepared restart back (a description was rolled back).
    pub fn abandon_restart(&mut self) {
        self.local_next = None;
        self.names_changes += 1;
    }

    /// Notes that authentic data arrived from the peer. Cheap on the route in use: once per packet
    /// is fine.
    #[inline]
    pub fn note_received(&mut self, now: Instant, route: Route) {
        if self.route == Some(route) {
            self.heard_at = Some(now);
        } else if let Some(pair) = self.pairs.iter_mut().find(|pair| pair.route == route) {
            pair.heard_at = Some(now);
            self.hear_elsewhere(now);
        }
        self.hear(now);
    }

    /// The next datagram to send.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.transmits.pop_front()
    }

    /// The next thing to report.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// When to call [`Self::handle_timeout`].
    #[inline]
    pub fn poll_timeout(&self) -> Option<Deadline> {
        self.deadline
    }

    /// Where data goes: the selected pair, else the best valid one, else (in a restart) the route
    /// from before. `None` without consent.
    #[inline]
    pub fn route(&self) -> Option<Route> {
        self.route
    }

    /// Whether there is a route, and it is not one from before a restart.
    pub fn has_fresh_route(&self) -> bool {
        let pair = self.route.and_then(|route| self.pair_on(route));
        pair.and_then(|id| self.pair(id))
            .is_some_and(Pair::is_valid)
    }

    /// Whether the peer has proved, by a STUN message with valid MESSAGE-INTEGRITY, that it is
    /// at `route.remote`. Nothing else is to be accepted from there before.
    #[inline]
    pub fn is_proven(&self, route: Route) -> bool {
        self.route == Some(route) || self.proven.contains(&route)
    }

    /// The credentials to signal: those of a prepared restart, else the present ones.
    pub fn local_credentials(&self) -> &Credentials {
        self.local_next.as_ref().unwrap_or(&self.local)
    }

    /// Our username fragments under which checks are answered: of this generation, of a prepared
    /// restart, and of the generation before.
    pub fn username_fragments(&self) -> impl Iterator<Item = &str> {
        let others = self.local_next.iter().chain(&self.local_previous);
        let all = std::iter::once(&self.local).chain(others);
        all.map(|own| own.username_fragment.as_str())
    }

    /// How often [`Self::username_fragments`] have changed.
    pub fn username_fragments_changes(&self) -> u64 {
        self.names_changes
    }

    /// The role at present.
    pub fn role(&self) -> Role {
        self.role
    }

    /// The connection state.
    pub fn state(&self) -> State {
        self.state
    }

    /// The gathering state.
    pub fn gathering_state(&self) -> GatheringState {
        self.gathering
    }

    /// All local candidates so far.
    pub fn local_candidates(&self) -> &[Candidate] {
        &self.locals
    }

    /// The remote candidates of this generation.
    pub fn remote_candidates(&self) -> &[Candidate] {
        &self.remotes
    }

    /// The pairs, best first: local base, remote candidate, state, whether it is the selected one,
    /// and its counts.
    pub fn pairs(
        &self,
    ) -> impl Iterator<Item = (SocketAddr, &Candidate, PairState, bool, PairStats)> + '_ {
        self.pairs.iter().filter_map(|pair| {
            let remote = self.remotes.get(pair.remote)?;
            let selected = self.selected == Some(pair.id);
            Some((
                pair.route.path.local,
                remote,
                pair.state,
                selected,
                pair.stats,
            ))
        })
    }

    /// What was dropped or refused, by reason.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    pub(super) fn add_local(&mut self, candidate: Candidate) {
        let known = self.locals.iter().any(|local| {
            local.is_at(candidate.address, candidate.tcp.is_some())
                && local.related == candidate.related
        });
        if !known {
            self.locals.push(candidate.clone());
            if candidate.kind != Kind::PeerReflexive {
                self.events.push_back(Event::LocalCandidate(candidate));
            }
        }
    }

    pub(super) fn change_role(&mut self, role: Role) {
        if self.role != role {
            self.role = role;
            self.nominating = None;
            self.refresh_priorities();
        }
    }

    pub(super) fn prove(&mut self, route: Route) {
        if !self.proven.contains(&route) {
            if self.proven.len() >= PROVEN_MAX {
                self.proven.pop_front();
            }
            self.proven.push_back(route);
        }
    }

    pub(super) fn queue(&mut self, route: Route, bytes: Vec<u8>) {
        if self.transmits.len() < TRANSMITS_MAX {
            self.transmits.push_back(Transmit { route, bytes });
        } else {
            self.counters.count("ice.transmit_queue_full");
        }
    }

    pub(super) fn set_gathering(&mut self, gathering: GatheringState) {
        if self.gathering != gathering {
            self.gathering = gathering;
            self.events.push_back(Event::Gathering(gathering));
        }
    }

    /// Starts over with the prepared credentials, if any; the route stays.
    fn begin_generation(&mut self) {
        if let Some(next) = self.local_next.take() {
            self.local_previous = Some(std::mem::replace(&mut self.local, next));
            self.names_changes += 1;
        }
        self.keep_selected_pair();
        self.remotes.clear();
        self.named.clear();
        self.pairs.clear();
        self.triggered.clear();
        self.transactions
            .retain(|_, transaction| transaction.pair.is_none());
        self.remote_end_of_candidates = false;
        self.selected = None;
        self.nominating = None;
        self.first_check_at = None;
        self.first_valid_at = None;
        self.consent_check_at = None;
        self.doubt = None;
    }
}
