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
                if self.dead || self.random.below(100) < self.loss_percent {
                    continue;
                }
                let to = transmit.route.remote;
                let Some(socket) = (0..4).find(|socket| path(1 - index, *socket).local == to)
                else {
                    continue;
                };
                let route = Route {
                    path: path(1 - index, socket),
                    remote: transmit.route.path.local,
                };
                self.wire.insert(
                    (self.now + ONE_WAY, self.sent),
                    (1 - index, route, transmit.bytes),
                );
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
        priority(Kind::Host, 65535),
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
