//! ICE over TCP: two peers whose streams are cut into any pieces, damaged and ended, and strangers
//! who connect and say anything.

use std::net::SocketAddr;
use std::sync::Arc;

use twocan_proto::channel::ChannelInit;
use twocan_proto::contract::{Batch, Output, Request, SocketId, StreamEvent};
use twocan_proto::peer::{Config, Event, IceTransports, Interfaces, Peer, RemoteCandidateInit};
use twocan_proto::random::Random;
use twocan_proto::time::Now;

use super::secure::{address, certificates, settings};
use super::{OPERATIONS_MAX, begin, step};
use crate::Script;

/// Streams that a peer has accepted at a time, at most.
const ACCEPTED_MAX: usize = 16;

/// Polls of one peer in one moment: nothing that it sends comes back before they are over.
const POLLS_MAX: usize = 4096;

/// Bytes that wait on one stream and way; what is beyond is not sent.
const WAITING_MAX: usize = 1 << 16;

/// The end of a stream: whose, and by what name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct End {
    peer: usize,
    socket: SocketId,
}

/// A stream between the peers, or of a stranger's, who has no end.
struct Stream {
    ends: [Option<End>; 2],
    /// What is on the way to each end.
    waiting: [Vec<u8>; 2],
    /// The end that accepted is [`Self::ends`]' second.
    is_open: bool,
}

struct World {
    now: Now,
    peers: [Peer; 2],
    listeners: [Option<SocketId>; 2],
    streams: Vec<Stream>,
    strangers: u16,
}

/// A call over TCP alone that anything happens to.
pub fn ice_tcp(data: &[u8]) {
    let mut world = World::new();
    let _ = world.peers[0].create_data_channel(ChannelInit::default());
    world.collect();
    for (from, to) in [(0, 1), (1, 0)] {
        let _ = world.peers[from].set_local_description(world.now, None);
        if let Some(description) = world.peers[from].local_description() {
            let _ = world.peers[to].set_remote_description(world.now, &description);
        }
        world.collect();
    }
    let mut script = Script::new(data);
    for _ in 0..OPERATIONS_MAX {
        if world.operate(&mut script).is_none() {
            return;
        }
        world.collect();
        for peer in 0..2 {
            let accepted = |own: &&Stream| own.ends[1].is_some_and(|end| end.peer == peer);
            let count = world.streams.iter().filter(accepted).count();
            assert!(count <= ACCEPTED_MAX, "{count} streams accepted");
        }
    }
}

impl World {
    fn new() -> Self {
        let now = begin();
        let peers = [0, 1].map(|index: usize| {
            let mut config = Config::new(Arc::clone(&certificates()[index]), settings());
            config.ice_transports = IceTransports::Tcp;
            let mut peer = Peer::new(now, config, Random::new([index as u8; 32]));
            let interfaces = Interfaces {
                added: vec![address(index).ip()],
                removed: Vec::new(),
            };
            peer.handle_interfaces(now, &interfaces);
            peer
        });
        Self {
            now,
            peers,
            listeners: [None; 2],
            streams: Vec::new(),
            strangers: 0,
        }
    }

    /// Takes what both want, and hands candidates over at once.
    fn collect(&mut self) {
        let mut batch = Batch::new();
        for peer in 0..2 {
            for _ in 0..POLLS_MAX {
                match self.peers[peer].poll_output(self.now, &mut batch) {
                    Output::Transmit => {
                        if let Some(destination) = batch.destination() {
                            let socket = destination.path.socket;
                            self.send(End { peer, socket }, batch.bytes());
                        }
                        batch.clear();
                    }
                    Output::Request(Request::Listen { socket, .. }) => {
                        self.listeners[peer] = Some(socket);
                        self.peers[peer].handle_bound(self.now, socket, address(peer));
                    }
                    Output::Request(Request::Open { socket, .. }) => {
                        let opener = End { peer, socket };
                        self.open(Some(opener), 1 - peer, address(peer));
                    }
                    Output::Request(Request::Close { socket }) => self.close(End { peer, socket }),
                    Output::Event(Event::IceCandidate(candidate)) => {
                        let init = RemoteCandidateInit {
                            candidate: candidate.candidate,
                            sdp_mid: candidate.sdp_mid,
                            sdp_m_line_index: candidate.sdp_m_line_index,
                            username_fragment: Some(candidate.username_fragment),
                        };
                        let _ = self.peers[1 - peer].add_ice_candidate(self.now, &init);
                    }
                    Output::Request(_) | Output::Event(_) => {}
                    Output::Wait(_) => break,
                }
            }
            while self.peers[peer].poll_channel_event().is_some() {}
        }
    }

    fn open(&mut self, opener: Option<End>, to: usize, from: SocketAddr) {
        let listener = self.listeners[to];
        let accepted = listener.and_then(|listener| {
            let peer = &mut self.peers[to];
            peer.handle_accepted(self.now, listener, address(to), from)
        });
        let accepted = accepted.map(|socket| End { peer: to, socket });
        self.streams.push(Stream {
            ends: [opener, accepted],
            waiting: Default::default(),
            is_open: accepted.is_some(),
        });
        if let Some(End { peer, socket }) = opener {
            let event = match accepted {
                Some(_) => StreamEvent::Connected {
                    local: address(peer),
                },
                None => StreamEvent::Closed,
            };
            self.peers[peer].handle_stream(self.now, socket, event);
        }
        if accepted.is_none() {
            self.streams.pop();
        }
    }

    fn send(&mut self, from: End, bytes: &[u8]) {
        for stream in &mut self.streams {
            for end in 0..2 {
                let waiting = &mut stream.waiting[1 - end];
                if stream.ends[end] == Some(from) && waiting.len() + bytes.len() <= WAITING_MAX {
                    waiting.extend_from_slice(bytes);
                }
            }
        }
    }

    /// A peer lets go of a stream; the other end learns of it when its turn comes.
    fn close(&mut self, own: End) {
        for stream in &mut self.streams {
            for end in &mut stream.ends {
                if *end == Some(own) {
                    *end = None;
                    stream.is_open = false;
                }
            }
        }
        self.streams
            .retain(|stream| stream.is_open || stream.ends.iter().any(Option::is_some));
    }

    /// A stream ends for those who still have it.
    fn end(&mut self, index: usize) {
        let stream = self.streams.remove(index);
        for End { peer, socket } in stream.ends.into_iter().flatten() {
            self.peers[peer].handle_stream(self.now, socket, StreamEvent::Closed);
        }
    }

    fn operate(&mut self, script: &mut Script<'_>) -> Option<()> {
        let byte = script.byte()?;
        let to = usize::from(byte >> 7);
        let count = self.streams.len();
        let index = usize::from(byte >> 4 & 7) % count.max(1);
        match byte & 0x0f {
            // What waits arrives, in pieces of any length.
            0..=5 if count > 0 => {
                let len = match byte & 0x0f {
                    0..=2 => usize::MAX,
                    3 => usize::from(script.byte()?),
                    4 => usize::from(script.short()?),
                    _ => 1,
                };
                let stream = &mut self.streams[index];
                let len = len.min(stream.waiting[to].len());
                let mut bytes: Vec<u8> = stream.waiting[to].drain(..len).collect();
                self.deliver(index, to, &mut bytes);
            }
            6 if count > 0 => {
                let waiting = std::mem::take(&mut self.streams[index].waiting[to]);
                let mut bytes = waiting;
                script.mutate(&mut bytes)?;
                self.deliver(index, to, &mut bytes);
            }
            7 if count > 0 => {
                let mut bytes = script.piece()?.to_vec();
                self.deliver(index, to, &mut bytes);
            }
            8 if count > 0 => self.end(index),
            // A stranger connects, perhaps many at once.
            9..=11 => {
                for _ in 0..=(byte >> 4 & 7) * 3 {
                    self.strangers = self.strangers.wrapping_add(1);
                    let from = SocketAddr::new([192, 0, 2, 7].into(), self.strangers.max(1));
                    self.open(None, to, from);
                }
            }
            12 => {
                // Everything that waits arrives, both ways.
                for _ in 0..8 {
                    for index in 0..self.streams.len() {
                        for to in 0..2 {
                            let stream = self.streams.get_mut(index);
                            let waiting = stream.map(|own| std::mem::take(&mut own.waiting[to]));
                            self.deliver(index, to, &mut waiting.unwrap_or_default());
                        }
                    }
                    self.collect();
                    self.pass(4);
                }
            }
            13 => self.peers[to].restart_ice(),
            _ => {
                let time = script.byte()?;
                self.pass(time);
            }
        }
        Some(())
    }

    fn pass(&mut self, time: u8) {
        self.now = self.now.at(self.now.monotonic + step(time));
        for peer in &mut self.peers {
            peer.handle_timeout(self.now);
        }
    }

    fn deliver(&mut self, index: usize, to: usize, bytes: &mut [u8]) {
        let end = self.streams.get(index).and_then(|own| own.ends[to]);
        if let Some(End { peer, socket }) = end {
            self.peers[peer].handle_stream(self.now, socket, StreamEvent::Bytes(bytes));
        }
    }
}
