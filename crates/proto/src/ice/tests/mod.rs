mod connect;
mod consent;
mod gather;
mod named;
mod nominate;

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
