//! STUN, ICE, DTLS, and the whole peer.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use twocan_proto::channel::ChannelInit;
use twocan_proto::contract::{Batch, Datagram, Ecn, Output, Path, Request, SocketId};
use twocan_proto::crypto::Hash;
use twocan_proto::dtls::{Certificate, Connection, Role, Settings};
use twocan_proto::ice::{self, Agent};
use twocan_proto::negotiate::{Kind, SdpType};
use twocan_proto::peer::{Config, Description, Event, Interfaces, Peer, RemoteCandidateInit};
use twocan_proto::random::Random;
use twocan_proto::stun_server::StunServer;
use twocan_proto::time::Now;
use twocan_wire::sdp::Direction;

use super::{OPERATIONS_MAX, PACKETS_MAX, begin, step};
use crate::Script;

/// Addresses that datagrams claim to come from: the ends, then strangers.
const ADDRESSES: [&str; 4] = [
    "10.0.0.1:4000",
    "10.0.0.2:4000",
    "192.0.2.1:9",
    "[2001:db8::1]:3478",
];

pub(super) fn address(index: usize) -> SocketAddr {
    ADDRESSES[index % ADDRESSES.len()].parse().unwrap()
}

fn path(index: usize) -> Path {
    Path {
        socket: SocketId(0),
        local: address(index),
    }
}

pub(super) fn settings() -> Settings {
    static MADE: OnceLock<Settings> = OnceLock::new();
    MADE.get_or_init(|| Settings::repeatable(1200, 5).unwrap())
        .clone()
}

pub(super) fn certificates() -> &'static [Arc<Certificate>; 2] {
    static MADE: OnceLock<[Arc<Certificate>; 2]> = OnceLock::new();
    MADE.get_or_init(|| {
        [0, 1].map(|_| Arc::new(Certificate::generate(Duration::from_secs(1_800_000_000)).unwrap()))
    })
}

/// What a STUN server answers is no longer than three times the question, and only to questions.
pub fn stun_server(data: &[u8]) {
    let mut out = Vec::new();
    if StunServer::new().respond(address(3), data, &mut out) {
        assert!(!out.is_empty() && out.len() <= 3 * data.len());
        let answer = out.clone();
        assert!(!StunServer::new().respond(address(3), &answer, &mut out));
    }
}

/// Two agents that know each other, and datagrams of everybody.
pub fn ice_agent(data: &[u8]) {
    let now = begin().monotonic;
    let mut now = now;
    let mut agents = [ice::Role::Controlling, ice::Role::Controlled]
        .map(|role| Agent::new(ice::Config::default(), role, Random::new([role as u8; 32])));
    for index in 0..2 {
        let credentials = agents[1 - index].local_credentials().clone();
        agents[index].set_remote(now, credentials, false);
        agents[index].add_base(now, path(index));
        agents[index].end_of_bases(now);
    }
    let known = agents[0].local_candidates().to_vec();
    agents[1].add_remote_candidate(now, known[0].clone());
    let mut wire: [Vec<Vec<u8>>; 2] = Default::default();
    let mut script = Script::new(data);
    for _ in 0..OPERATIONS_MAX {
        for (agent, wire) in agents.iter_mut().zip(&mut wire) {
            while let Some(transmit) = agent.poll_transmit() {
                wire.push(transmit.bytes);
            }
            while agent.poll_event().is_some() {}
        }
        let Some(byte) = script.byte() else { return };
        let from = usize::from(byte >> 7);
        let to = 1 - from;
        let operation = byte & 0x0f;
        let source = address(if byte & 0x70 == 0 {
            from
        } else {
            usize::from(byte >> 4 & 3)
        });
        match operation {
            0..=4 => {
                if let Some(mut bytes) = wire[from].pop() {
                    if operation == 4 && script.mutate(&mut bytes).is_none() {
                        return;
                    }
                    agents[to].handle_stun(now, path(to), source, &bytes);
                }
            }
            5 => {
                let Some(bytes) = script.piece() else { return };
                agents[to].handle_stun(now, path(to), source, bytes);
            }
            6..=8 => {
                let Some(byte) = script.byte() else { return };
                now += step(byte);
                agents
                    .iter_mut()
                    .for_each(|agent| agent.handle_timeout(now));
            }
            9 => {
                let fresh = ice::Credentials::random(&mut Random::new([byte; 32]));
                agents[to].prepare_restart(now, fresh);
            }
            10 => {
                let theirs = agents[from].local_credentials().clone();
                agents[to].set_remote(now, theirs, byte & 0x40 != 0);
            }
            11 => {
                for candidate in agents[from].local_candidates().to_vec() {
                    agents[to].add_remote_candidate(now, candidate);
                }
            }
            12 => agents[to].add_stun_server(now, source),
            13 => agents[to].end_of_remote_candidates(now),
            14 => agents[to].remove_base(now, path(to)),
            _ => agents[to].add_base(now, path(usize::from(byte >> 4 & 3))),
        }
    }
}

/// A client and a server that wait for each other, and datagrams of anybody.
pub fn dtls_datagrams(data: &[u8]) {
    handshake(data, false);
}

/// A client and a server, and a network that drops, repeats, damages and delays.
pub fn dtls_handshake(data: &[u8]) {
    handshake(data, true);
}

fn handshake(data: &[u8], carries: bool) {
    let mut now = begin().monotonic;
    let mut ends = [0, 1].map(|index: usize| {
        let mut end = Connection::new(&settings(), &certificates()[index], now);
        end.expect(
            now,
            vec![certificates()[1 - index].fingerprint(Hash::Sha256)],
        );
        end
    });
    ends[0].start(now, Role::Client);
    ends[1].start(now, Role::Server);
    let mut wire: [Vec<Vec<u8>>; 2] = Default::default();
    let mut script = Script::new(data);
    for _ in 0..OPERATIONS_MAX {
        for (end, wire) in ends.iter_mut().zip(&mut wire) {
            let mut datagram = Vec::new();
            while end.poll_transmit(&mut datagram) {
                wire.push(std::mem::take(&mut datagram));
            }
            while end.poll_event().is_some() {}
        }
        let Some(byte) = script.byte() else { return };
        let from = usize::from(byte & 1);
        let mut datagram = match byte >> 1 & 7 {
            0..=2 if carries && !wire[from].is_empty() => wire[from].remove(0),
            3 => {
                let Some(byte) = script.byte() else { return };
                now += step(byte);
                ends.iter_mut().for_each(|end| end.handle_timeout(now));
                continue;
            }
            4 => {
                let mut out = Vec::new();
                if ends[from].send(now, b"data", &mut out) {
                    wire[from].push(out);
                }
                continue;
            }
            5 if byte & 0x40 != 0 => {
                ends[from].close(now);
                continue;
            }
            6 if carries => wire[from].last().cloned().unwrap_or_default(),
            _ => {
                let Some(bytes) = script.piece() else { return };
                bytes.to_vec()
            }
        };
        if byte & 0x80 != 0 && script.mutate(&mut datagram).is_none() {
            return;
        }
        ends[1 - from].handle_datagram(now, &datagram, &mut |data| {
            assert_eq!(data, b"data", "not what the peer sent");
        });
    }
}

/// Two peers and what they have sent each other.
struct Call {
    now: Now,
    peers: [Peer; 2],
    wire: [Vec<Vec<u8>>; 2],
}

impl Call {
    fn new() -> Self {
        let now = begin();
        let peers = [0, 1].map(|index: usize| {
            let config = Config::new(Arc::clone(&certificates()[index]), settings());
            let mut peer = Peer::new(now, config, Random::new([index as u8; 32]));
            let added = vec![address(index).ip()];
            peer.handle_interfaces(
                now,
                &Interfaces {
                    added,
                    removed: Vec::new(),
                },
            );
            peer
        });
        Self {
            now,
            peers,
            wire: Default::default(),
        }
    }

    /// Takes what both want, and hands candidates over at once.
    fn collect(&mut self) {
        let mut batch = Batch::new();
        for index in 0..2 {
            for _ in 0..PACKETS_MAX {
                match self.peers[index].poll_output(self.now, &mut batch) {
                    Output::Transmit => {
                        self.wire[index].extend(batch.iter().map(<[u8]>::to_vec));
                        batch.clear();
                    }
                    Output::Request(Request::Bind { socket, .. }) => {
                        self.peers[index].handle_bound(self.now, socket, address(index));
                    }
                    Output::Event(Event::IceCandidate(candidate)) => {
                        let init = RemoteCandidateInit {
                            candidate: candidate.candidate,
                            sdp_mid: candidate.sdp_mid,
                            sdp_m_line_index: candidate.sdp_m_line_index,
                            username_fragment: Some(candidate.username_fragment),
                        };
                        let _ = self.peers[1 - index].add_ice_candidate(self.now, &init);
                    }
                    Output::Request(_) | Output::Event(_) => {}
                    Output::Wait(_) => break,
                }
            }
            while self.peers[index].poll_channel_event().is_some() {}
        }
    }

    /// Signals from one end to the other and back.
    fn negotiate(&mut self, from: usize) {
        for (from, to) in [(from, 1 - from), (1 - from, from)] {
            if self.peers[from]
                .set_local_description(self.now, None)
                .is_err()
            {
                return;
            }
            if let Some(description) = self.peers[from].local_description() {
                let _ = self.peers[to].set_remote_description(self.now, &description);
            }
        }
    }

    fn deliver(&mut self, to: usize, remote: SocketAddr, mut bytes: Vec<u8>) {
        let datagram = Datagram {
            path: path(to),
            remote,
            ecn: Ecn::NotEct,
            waited: Duration::ZERO,
            bytes: &mut bytes,
        };
        self.peers[to].handle_datagram(self.now, datagram);
    }

    fn exchange(&mut self) {
        for _ in 0..PACKETS_MAX {
            self.collect();
            for from in 0..2 {
                for bytes in std::mem::take(&mut self.wire[from]) {
                    self.deliver(1 - from, address(from), bytes);
                }
            }
            self.pass(Duration::from_millis(5));
        }
    }

    fn pass(&mut self, time: Duration) {
        self.now = self.now.at(self.now.monotonic + time);
        for peer in &mut self.peers {
            peer.handle_timeout(self.now);
        }
    }

    fn operation(&mut self, script: &mut Script<'_>) -> Option<()> {
        let byte = script.byte()?;
        let from = usize::from(byte >> 7);
        let to = 1 - from;
        match byte & 0x0f {
            0..=4 => {
                if let Some(mut bytes) = self.wire[from].pop() {
                    if byte & 0x40 != 0 {
                        script.mutate(&mut bytes)?;
                    }
                    self.deliver(to, address(from), bytes);
                }
            }
            5..=7 => {
                let bytes = script.piece()?.to_vec();
                let stranger = if byte & 0x40 == 0 { from } else { 2 };
                self.deliver(to, address(stranger), bytes);
            }
            8 => self.pass(step(script.byte()?)),
            9 => {
                let kind = match byte >> 4 & 3 {
                    0 => SdpType::Offer,
                    1 => SdpType::Pranswer,
                    2 => SdpType::Answer,
                    _ => SdpType::Rollback,
                };
                let sdp = String::from_utf8_lossy(script.piece()?).into_owned();
                let description = Description { kind, sdp };
                let _ = self.peers[to].set_remote_description(self.now, &description);
            }
            10 => {
                let init = RemoteCandidateInit {
                    candidate: String::from_utf8_lossy(script.piece()?).into_owned(),
                    sdp_mid: Some("0".into()),
                    ..RemoteCandidateInit::default()
                };
                let _ = self.peers[to].add_ice_candidate(self.now, &init);
            }
            11 => self.negotiate(from),
            12 => self.peers[to].restart_ice(),
            13 => {
                let _ = self.peers[to].create_data_channel(ChannelInit::default());
            }
            14 => {
                let _ = self.peers[to].add_transceiver(Kind::Video, Direction::SendRecv, &["v"]);
            }
            _ if byte & 0x70 == 0x70 => self.peers[to].close(self.now),
            _ => self.exchange(),
        }
        Some(())
    }
}

/// A call, set up or not (the first byte), that anything happens to.
pub fn peer(data: &[u8]) {
    let Some((first, script)) = data.split_first() else {
        return;
    };
    let mut call = Call::new();
    let _ = call.peers[0].create_data_channel(ChannelInit::default());
    let _ = call.peers[0].add_transceiver(Kind::Audio, Direction::SendRecv, &["a"]);
    call.negotiate(0);
    if first & 1 == 0 {
        call.exchange();
    }
    let mut script = Script::new(script);
    for _ in 0..OPERATIONS_MAX {
        call.collect();
        if call.operation(&mut script).is_none() {
            break;
        }
    }
}
