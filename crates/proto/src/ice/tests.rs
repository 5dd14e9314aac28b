use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::*;
use crate::contract::SocketId;
use crate::random::Random;

const ONE_WAY: Duration = Duration::from_millis(25);

/// Two agents, a wire with a delay between them, and a clock that jumps from event to event.
struct Net {
    now: Instant,
    started: Instant,
    agents: [Agent; 2],
    wire: BTreeMap<(Instant, u64), (usize, Route, Vec<u8>)>,
    sent: u64,
    random: Random,
    loss_percent: u32,
    dead: bool,
    /// Nothing reaches this address.
    blocked: Option<SocketAddr>,
    /// The first agent nominates with each of its checks (RFC 5245 §8.1.1.2).
    is_aggressive: bool,
    /// Of the nominations that went out.
    numbers: Vec<u32>,
    events: [Vec<Event>; 2],
}

fn start() -> Instant {
    // The one clock read: everything after it is arithmetic.
    #[expect(clippy::disallowed_methods, reason = "an Instant has no other origin")]
    Instant::now()
}

fn path(agent: usize, socket: u32) -> Path {
    let local = format!("10.0.{agent}.{}:{}", socket + 1, 4000 + socket)
        .parse()
        .unwrap();
    Path {
        socket: SocketId(socket),
        local,
    }
}

impl Net {
    fn new(seed: u8, roles: [Role; 2]) -> Self {
        let now = start();
        let mut random = Random::new([seed; 32]);
        let agents = roles.map(|role| Agent::new(Config::default(), role, random.fork()));
        Self {
            now,
            started: now,
            agents,
            wire: BTreeMap::new(),
            sent: 0,
            random,
            loss_percent: 0,
            dead: false,
            blocked: None,
            is_aggressive: false,
            numbers: Vec::new(),
            events: [Vec::new(), Vec::new()],
        }
    }

    fn introduce(&mut self) {
        for index in 0..2 {
            let credentials = self.agents[1 - index].local_credentials().clone();
            self.agents[index].set_remote(self.now, credentials, false);
        }
    }

    fn bind(&mut self) {
        for index in 0..2 {
            self.agents[index].add_base(self.now, path(index, 0));
            self.agents[index].end_of_bases(self.now);
        }
    }

    fn trickle(&mut self) {
        for index in 0..2 {
            for candidate in self.agents[index].local_candidates().to_vec() {
                self.agents[1 - index].add_remote_candidate(self.now, candidate);
            }
            self.agents[1 - index].end_of_remote_candidates(self.now);
        }
    }

    fn collect(&mut self) {
        for index in 0..2 {
            while let Some(transmit) = self.agents[index].poll_transmit() {
                self.sent += 1;
                self.numbers.extend(number_of(&transmit.bytes));
                if self.dead || self.random.below(100) < self.loss_percent {
                    continue;
                }
                let to = transmit.route.remote;
                if self.blocked == Some(to) {
                    continue;
                }
                let bytes = match self.is_aggressive && index == 0 {
                    true => nominating(&transmit.bytes, &self.agents[1].local),
                    false => transmit.bytes,
                };
                let Some(socket) = (0..4).find(|socket| path(1 - index, *socket).local == to)
                else {
                    continue;
                };
                let route = Route {
                    path: path(1 - index, socket),
                    remote: transmit.route.path.local,
                };
                self.wire
                    .insert((self.now + ONE_WAY, self.sent), (1 - index, route, bytes));
            }
            while let Some(event) = self.agents[index].poll_event() {
                self.events[index].push(event);
            }
        }
    }

    fn run_until(&mut self, limit: Duration, done: impl Fn(&[Agent; 2]) -> bool) -> Duration {
        let limit = self.now + limit;
        loop {
            self.collect();
            if done(&self.agents) {
                return self.now - self.started;
            }
            let arrival = self.wire.keys().next().map(|(at, _)| *at);
            let timer = self
                .agents
                .iter()
                .filter_map(|agent| Some(agent.poll_timeout()?.at))
                .min();
            let next = [arrival, timer]
                .into_iter()
                .flatten()
                .min()
                .unwrap_or(limit);
            if next >= limit {
                self.now = limit;
                return self.now - self.started;
            }
            assert!(next >= self.now || timer.is_some(), "time went backwards");
            self.now = self.now.max(next);
            if let Some(entry) = self
                .wire
                .first_entry()
                .filter(|entry| entry.key().0 <= self.now)
            {
                let (to, route, bytes) = entry.remove();
                self.agents[to].handle_stun(self.now, route.path, route.remote, &bytes);
            } else {
                for agent in &mut self.agents {
                    agent.handle_timeout(self.now);
                }
            }
        }
    }

    fn states(&self) -> [State; 2] {
        [self.agents[0].state(), self.agents[1].state()]
    }
}

fn number_of(bytes: &[u8]) -> Option<u32> {
    use twocan_wire::stun::{Attribute, Message};
    let message = Message::parse(bytes).unwrap();
    message.attributes().find_map(|own| match own {
        Attribute::Nomination(number) => Some(number),
        _ => None,
    })
}

/// A request with USE-CANDIDATE, whatever it had; anything else as it is.
fn nominating(bytes: &[u8], of: &Credentials) -> Vec<u8> {
    use twocan_wire::stun::{Attribute, Builder, Class, Message};
    let message = Message::parse(bytes).unwrap();
    if message.class != Class::Request {
        return bytes.to_vec();
    }
    let mut changed = Vec::new();
    let mut builder = Builder::new(
        &mut changed,
        message.class,
        message.method,
        message.transaction,
    );
    for attribute in message.attributes() {
        if matches!(
            attribute,
            Attribute::Username(_) | Attribute::Priority(_) | Attribute::IceControlling(_)
        ) {
            builder.attribute(attribute);
        }
    }
    builder.attribute(Attribute::UseCandidate);
    builder.finish_with_integrity(|parts| of.key.sign(parts));
    changed
}

/// Two agents with two addresses each, which know of each other.
fn with_two_addresses(seed: u8, configs: [Config; 2], roles: [Role; 2]) -> Net {
    let mut net = Net::new(seed, roles);
    for (index, config) in configs.into_iter().enumerate() {
        net.agents[index] = Agent::new(config, roles[index], net.random.fork());
        for socket in 0..2 {
            net.agents[index].add_base(net.now, path(index, socket));
        }
        net.agents[index].end_of_bases(net.now);
    }
    net.introduce();
    net.trickle();
    net
}

fn lite() -> Config {
    Config {
        lite: true,
        ..Config::default()
    }
}

/// The priority of the pair that an agent has selected, and the highest of its valid ones.
fn selected(agent: &Agent) -> (Option<u64>, Option<u64>) {
    let best = agent.pairs.iter().find(|pair| pair.is_valid());
    let selected = agent.selected.and_then(|id| agent.pair(id));
    (
        selected.map(|pair| pair.priority),
        best.map(|pair| pair.priority),
    )
}

fn connected(agents: &[Agent; 2]) -> bool {
    agents.iter().all(|agent| agent.state() == State::Completed)
}

fn ready(seed: u8) -> Net {
    let mut net = Net::new(seed, [Role::Controlling, Role::Controlled]);
    net.bind();
    net.introduce();
    net.trickle();
    net
}

#[test]
fn connects_and_nominates_within_three_round_trips() {
    let mut net = ready(1);
    let took = net.run_until(Duration::from_secs(5), connected);
    assert_eq!(net.states(), [State::Completed; 2]);
    assert!(
        took <= 6 * ONE_WAY + Duration::from_millis(100),
        "took {took:?}"
    );
    for index in 0..2 {
        let route = net.agents[index].route().unwrap();
        assert_eq!(route.remote, path(1 - index, 0).local);
        assert!(net.agents[index].is_proven(route));
    }
}

#[test]
fn both_claiming_the_same_role_still_connects() {
    for roles in [[Role::Controlling; 2], [Role::Controlled; 2]] {
        for seed in 0..20 {
            let mut net = Net::new(seed, roles);
            net.bind();
            net.introduce();
            net.trickle();
            net.run_until(Duration::from_secs(5), connected);
            assert_eq!(
                net.states(),
                [State::Completed; 2],
                "seed {seed}, {roles:?}"
            );
            assert_ne!(net.agents[0].role(), net.agents[1].role());
        }
    }
}

#[test]
fn connects_under_loss() {
    for (loss_percent, limit) in [(20, 10), (40, 30)] {
        for seed in 0..100 {
            let mut net = ready(seed);
            net.loss_percent = loss_percent;
            net.run_until(Duration::from_secs(limit), |agents| {
                agents.iter().all(|agent| agent.route().is_some())
            });
            let usable = [State::Connected, State::Completed];
            let states = net.states();
            assert!(
                states.iter().all(|state| usable.contains(state)),
                "seed {seed}, {loss_percent} % loss: {states:?}"
            );
        }
    }
}

#[test]
fn a_peer_without_candidates_is_found_by_its_checks() {
    let mut net = Net::new(3, [Role::Controlling, Role::Controlled]);
    net.bind();
    // The controlled side knows nothing of the other, not even its password, when checks arrive.
    let credentials = net.agents[1].local_credentials().clone();
    net.agents[0].set_remote(net.now, credentials, false);
    let candidate = net.agents[1].local_candidates()[0].clone();
    net.agents[0].add_remote_candidate(net.now, candidate);
    net.run_until(Duration::from_millis(60), |_| false);
    assert_eq!(net.agents[1].state(), State::New);
    let credentials = net.agents[0].local_credentials().clone();
    net.agents[1].set_remote(net.now, credentials, false);
    for agent in &mut net.agents {
        agent.end_of_remote_candidates(net.now);
    }
    net.run_until(Duration::from_secs(2), connected);
    assert_eq!(net.states(), [State::Completed; 2]);
    assert_eq!(
        net.agents[1].remote_candidates()[0].kind,
        Kind::PeerReflexive
    );
}

#[test]
fn consent_ends_after_thirty_seconds_of_silence_exactly() {
    let mut net = ready(4);
    net.run_until(Duration::from_secs(5), connected);
    let answered = net.now;
    net.dead = true;
    net.run_until(Duration::from_secs(12), |agents| {
        agents[0].state() == State::Disconnected
    });
    assert_eq!(net.agents[0].state(), State::Disconnected);
    net.run_until(Duration::from_secs(60), |agents| {
        agents[0].state() == State::Failed
    });
    let lasted = net.now - answered;
    assert!(lasted <= Duration::from_secs(30), "{lasted:?}");
    assert!(lasted > Duration::from_secs(30) - 2 * ONE_WAY - Duration::from_millis(1));
    assert_eq!(net.agents[0].route(), None);
}

#[test]
fn a_blackout_of_four_seconds_is_survived_without_a_restart() {
    let mut net = ready(5);
    net.run_until(Duration::from_secs(5), connected);
    net.dead = true;
    net.run_until(Duration::from_secs(4), |_| false);
    net.dead = false;
    net.run_until(Duration::from_secs(120), |_| false);
    assert_eq!(net.states(), [State::Completed; 2]);
}

#[test]
fn a_restart_keeps_the_route_until_the_new_pair_is_valid() {
    let mut net = ready(6);
    net.run_until(Duration::from_secs(5), connected);
    let before = net.agents[0].route();
    for agent in &mut net.agents {
        let fresh = Credentials::random(&mut net.random);
        agent.prepare_restart(net.now, fresh);
    }
    // The offerer learns the answerer's credentials last; until then both are answered.
    let credentials = net.agents[0].local_credentials().clone();
    net.agents[1].set_remote(net.now, credentials, false);
    assert_eq!(net.agents[0].route(), before);
    let candidate = net.agents[0].local_candidates()[0].clone();
    net.agents[1].add_remote_candidate(net.now, candidate);
    net.run_until(Duration::from_millis(200), |_| false);
    let credentials = net.agents[1].local_credentials().clone();
    net.agents[0].set_remote(net.now, credentials, false);
    assert!(net.agents[0].route().is_some());
    for agent in &mut net.agents {
        agent.end_of_remote_candidates(net.now);
    }
    net.run_until(Duration::from_secs(3), connected);
    assert_eq!(net.states(), [State::Completed; 2]);
    // The addresses are the same; consent is asked for all the same.
    assert_eq!(net.agents[0].route(), before);
    net.run_until(Duration::from_secs(120), |_| false);
    assert_eq!(net.states(), [State::Completed; 2]);
    for agent in &net.agents {
        assert_eq!(agent.counters().get("ice.consent_expired"), 0);
    }
}

#[test]
fn forged_and_replayed_messages_change_nothing() {
    let mut net = ready(7);
    net.run_until(Duration::from_secs(5), connected);
    let stranger: SocketAddr = "203.0.113.9:9".parse().unwrap();
    let local = path(0, 0);
    let forged = {
        let wrong = Credentials::new("someone".into(), "not the password".into());
        let mut other = Net::new(99, [Role::Controlling, Role::Controlled]);
        other.bind();
        other.agents[1].set_remote(other.now, wrong, false);
        let candidate = other.agents[0].local_candidates()[0].clone();
        other.agents[1].add_remote_candidate(other.now, candidate);
        other.agents[1].poll_transmit().unwrap().bytes
    };
    let before = net.agents[0].pairs().count();
    for _ in 0..1000 {
        net.agents[0].handle_stun(net.now, local, stranger, &forged);
    }
    assert_eq!(
        net.agents[0].counters().get("ice.request_bad_integrity"),
        1000
    );
    assert_eq!(net.agents[0].poll_transmit(), None);
    assert_eq!(net.agents[0].pairs().count(), before);
    assert!(!net.agents[0].is_proven(Route {
        path: local,
        remote: stranger
    }));
}

#[test]
fn remote_candidates_are_bounded() {
    let mut net = Net::new(8, [Role::Controlling, Role::Controlled]);
    net.bind();
    for port in 1..1000u16 {
        let candidate = Candidate {
            kind: Kind::Host,
            address: SocketAddr::new([10, 9, 9, 9].into(), port),
            tcp: None,
            related: None,
            priority: 1,
            foundation: "x".into(),
            server: None,
        };
        net.agents[0].add_remote_candidate(net.now, candidate);
    }
    assert_eq!(net.agents[0].remote_candidates().len(), 64);
    assert_eq!(
        net.agents[0]
            .counters()
            .get("ice.too_many_remote_candidates"),
        999 - 64
    );
}

#[test]
fn the_priorities_are_those_of_the_formula() {
    use super::candidate::{pair_priority, priority};
    assert_eq!(
        priority(Kind::Host, None, 65535),
        (126 << 24) + (65535 << 8) + 255
    );
    assert_eq!(pair_priority(1, 2), (1 << 32) + 4);
    assert_eq!(pair_priority(2, 1), (1 << 32) + 4 + 1);
}

#[test]
fn a_server_reflexive_address_becomes_a_candidate_and_a_silent_server_ends_gathering() {
    use twocan_wire::stun::{Attribute, Builder, Class, Message, Method};
    let mut net = Net::new(9, [Role::Controlling, Role::Controlled]);
    let server: SocketAddr = "192.0.2.1:3478".parse().unwrap();
    let silent: SocketAddr = "192.0.2.2:3478".parse().unwrap();
    let agent = &mut net.agents[0];
    agent.add_stun_server(net.now, server);
    agent.add_stun_server(net.now, silent);
    agent.add_base(net.now, path(0, 0));
    agent.end_of_bases(net.now);
    assert_eq!(agent.gathering_state(), GatheringState::Gathering);
    let request = std::iter::from_fn(|| agent.poll_transmit())
        .find(|transmit| transmit.route.remote == server)
        .unwrap();
    let transaction = Message::parse(&request.bytes).unwrap().transaction;
    let mapped: SocketAddr = "198.51.100.7:61000".parse().unwrap();
    let mut answer = Vec::new();
    let mut builder = Builder::new(&mut answer, Class::Success, Method::BINDING, transaction);
    builder.attribute(Attribute::XorMappedAddress(mapped));
    builder.finish();
    agent.handle_stun(net.now, path(0, 0), silent, &answer);
    assert_eq!(agent.counters().get("ice.response_from_elsewhere"), 1);
    agent.handle_stun(net.now, path(0, 0), server, &answer);
    let candidate = agent.local_candidates().last().unwrap().clone();
    assert_eq!(
        (candidate.kind, candidate.address),
        (Kind::ServerReflexive, mapped)
    );
    assert_eq!(candidate.related, Some(path(0, 0).local));
    assert_eq!(candidate.server, Some(server));
    net.run_until(Duration::from_secs(60), |agents| {
        agents[0].gathering_state() == GatheringState::Complete
    });
    assert_eq!(net.agents[0].gathering_state(), GatheringState::Complete);
    assert_eq!(net.agents[0].counters().get("ice.stun_server_silent"), 1);
    assert!(net.events[0].contains(&Event::ServerFailed {
        local: path(0, 0).local,
        server: silent,
        refusal: None,
    }));
}

#[test]
fn a_host_behind_a_static_translator_tells_its_other_address() {
    let now = start();
    let (local, server) = (path(0, 0), "192.0.2.1:3478".parse().unwrap());
    let other: SocketAddr = "203.0.113.7:4000".parse().unwrap();
    let config = Config {
        external_addresses: vec![(local.local.ip(), other.ip())],
        ..Config::default()
    };
    let mut agent = Agent::new(config, Role::Controlled, Random::new([1; 32]));
    agent.add_base(now, local);
    // What a STUN server sees is nothing new then.
    agent.add_reflexive(now, local, other, server);
    let told = |agent: &Agent| -> Vec<(Kind, SocketAddr)> {
        let locals = agent.local_candidates().iter();
        locals.map(|own| (own.kind, own.address)).collect()
    };
    assert_eq!(told(&agent), [(Kind::Host, other)]);
    agent.remove_base(now, local);
    assert_eq!(told(&agent), []);
}

#[test]
fn a_peer_that_nominates_with_each_check_ends_on_the_best_valid_pair() {
    for seed in 0..20 {
        let configs = [Config::default(), Config::default()];
        let roles = [Role::Controlling, Role::Controlled];
        let mut net = with_two_addresses(seed, configs, roles);
        net.is_aggressive = true;
        // The best pair is late, so that others are nominated first.
        net.blocked = Some(path(1, 0).local);
        net.run_until(Duration::from_secs(1), |_| false);
        let early = net.agents[1].route().unwrap();
        assert_eq!(early.path, path(1, 1), "seed {seed}");
        net.blocked = None;
        net.run_until(Duration::from_secs(1), |_| false);
        let (selected, best) = selected(&net.agents[1]);
        assert!(selected.is_some() && selected == best, "seed {seed}");
        assert_eq!(net.agents[1].route().unwrap().path, path(1, 0));
    }
}

#[test]
fn a_lite_agent_sends_no_checks_and_follows_the_full_one() {
    for seed in 0..20 {
        for roles in [
            [Role::Controlling, Role::Controlled],
            // The full agent errs, and is told.
            [Role::Controlled; 2],
        ] {
            let mut net = with_two_addresses(seed, [Config::default(), lite()], roles);
            net.loss_percent = 20;
            net.run_until(Duration::from_secs(20), connected);
            assert_eq!(net.states(), [State::Completed; 2], "seed {seed}");
            assert_eq!(net.agents[1].role(), Role::Controlled);
            let [theirs, ours] = [0, 1].map(|index| net.agents[index].route().unwrap());
            assert_eq!(
                (theirs.remote, theirs.path.local),
                (ours.path.local, ours.remote)
            );
            // The full agent's checks of consent keep the call alive, and nothing else.
            net.loss_percent = 0;
            net.run_until(Duration::from_secs(10), |_| false);
            net.run_until(Duration::from_secs(90), |_| false);
            assert_eq!(net.states(), [State::Completed; 2], "seed {seed}");
            let sent = net.agents[1].pairs().map(|(.., stats)| stats.requests_sent);
            assert_eq!(sent.sum::<u64>(), 0);
            net.dead = true;
            let silent_at = net.now;
            net.run_until(Duration::from_secs(60), |agents| {
                agents[1].route().is_none()
            });
            let lasted = net.now - silent_at;
            assert!(lasted <= Duration::from_secs(30), "{lasted:?}");
            assert_eq!(net.agents[1].state(), State::Failed);
        }
    }
}

#[test]
fn a_lite_agent_follows_a_peer_that_nominates_with_each_check() {
    for seed in 0..20 {
        let configs = [Config::default(), lite()];
        let roles = [Role::Controlling, Role::Controlled];
        let mut net = with_two_addresses(seed, configs, roles);
        net.is_aggressive = true;
        net.blocked = Some(path(1, 0).local);
        net.run_until(Duration::from_secs(1), |_| false);
        assert_eq!(net.agents[1].route().unwrap().path, path(1, 1));
        net.blocked = None;
        net.run_until(Duration::from_secs(1), |_| false);
        let (selected, best) = selected(&net.agents[1]);
        assert!(selected.is_some() && selected == best, "seed {seed}");
        assert_eq!(net.agents[1].route().unwrap().path, path(1, 0));
    }
}

#[test]
fn the_last_of_numbered_nominations_counts_and_without_numbers_the_highest_priority() {
    use twocan_wire::stun::{Attribute, Builder, Class, Method, TransactionId};
    for (numbers, expected) in [
        ([2, 1], 0),
        ([1, 2], 1),
        ([0, 0], 0),
        ([7, 0], 0),
        ([0, 7], 1),
    ] {
        let configs = [Config::default(), Config::default()];
        let roles = [Role::Controlling, Role::Controlled];
        let mut net = with_two_addresses(1, configs, roles);
        // Nothing of the first agent's own nomination.
        net.agents[0].role = Role::Controlled;
        let (theirs, ours) = (&net.agents[0].local, &net.agents[1].local);
        let username = format!("{}:{}", ours.username_fragment, theirs.username_fragment);
        let key = ours.key.clone();
        for (socket, number) in numbers.into_iter().enumerate() {
            let mut bytes = Vec::new();
            let id = TransactionId([socket as u8; 12]);
            let mut builder = Builder::new(&mut bytes, Class::Request, Method::BINDING, id);
            builder.attribute(Attribute::Username(&username));
            builder.attribute(Attribute::Priority(1));
            builder.attribute(Attribute::IceControlling(7));
            builder.attribute(Attribute::UseCandidate);
            if number > 0 {
                builder.attribute(Attribute::Nomination(number));
            }
            builder.finish_with_integrity(|parts| key.sign(parts));
            let at = path(1, socket as u32);
            net.agents[1].handle_stun(net.now, at, path(0, socket as u32).local, &bytes);
        }
        net.run_until(Duration::from_millis(500), |_| false);
        let route = net.agents[1].route().unwrap();
        assert_eq!(route.path, path(1, expected), "{numbers:?}");
    }
}

#[test]
fn nominations_are_numbered_where_the_peer_asks_for_it() {
    for renominates in [false, true] {
        let mut net = Net::new(1, [Role::Controlling, Role::Controlled]);
        net.bind();
        let credentials = net.agents[1].local_credentials().clone();
        net.agents[0].set_remote(net.now, credentials, renominates);
        let credentials = net.agents[0].local_credentials().clone();
        net.agents[1].set_remote(net.now, credentials, false);
        net.trickle();
        net.run_until(Duration::from_secs(2), connected);
        let numbers = &net.numbers;
        assert_eq!(numbers.is_empty(), !renominates, "{numbers:?}");
        assert!(numbers.iter().all(|number| *number == 1), "{numbers:?}");
        assert_eq!(net.states(), [State::Completed; 2]);
    }
}
