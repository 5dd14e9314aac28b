//! Streams between hosts and the TURN server: reliable and in order, with the delay of the links
//! and of what is lost on them.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use twocan_proto::contract::{Ecn, SocketId, StreamEvent};
use twocan_proto::random::Random;
use twocan_proto::time::Now;
use twocan_proto::turn::server::StreamId;

use crate::link::Link;
use crate::place::unwrapped;
use crate::relay::{Relay, Sent};
use crate::world::{Flight, HostId, Node, Stage, World};

/// How long a lost segment waits to be sent again.
const RETRANSMIT_AFTER: Duration = Duration::from_millis(200);

/// Attempts after which a segment is taken to arrive: what a longer blackout does to a stream is
/// not simulated.
const ATTEMPTS_MAX: u32 = 20;

/// A stream of a host's.
#[derive(Debug)]
pub(crate) struct Pipe {
    pub(crate) host: HostId,
    pub(crate) socket: SocketId,
    /// Its end at the host, as the host knows it.
    pub(crate) local: SocketAddr,
    up_after: Option<Instant>,
    down_after: Option<Instant>,
}

impl Pipe {
    pub(crate) const fn new(host: HostId, socket: SocketId, local: SocketAddr) -> Self {
        Self {
            host,
            socket,
            local,
            up_after: None,
            down_after: None,
        }
    }
}

pub(crate) fn arrival(
    now: Instant,
    link: &mut Link,
    random: &mut Random,
    after: &mut Option<Instant>,
) -> Instant {
    let mut sent_at = now;
    for _ in 0..ATTEMPTS_MAX {
        // The segment's length is not counted: streams here are slow.
        if let [Some(at), _] = link.carry(sent_at, (&mut [0], &mut Ecn::NotEct), random) {
            let at = after.map_or(at, |after| at.max(after));
            *after = Some(at);
            return at;
        }
        sent_at += RETRANSMIT_AFTER;
    }
    *after = Some(sent_at);
    sent_at
}

impl<N: Node> World<N> {
    /// Sends what the relay sends.
    pub(crate) fn relayed(&mut self, sent: Vec<Sent>) {
        for sent in sent {
            match sent {
                Sent::Datagram(from, to, ecn, bytes) => {
                    let flight = Flight {
                        from,
                        to,
                        ecn,
                        bytes,
                        stage: Stage::Core,
                    };
                    self.launch(self.now, flight);
                }
                Sent::Stream(id, bytes) => self.down(id, Stage::Down(id), bytes),
                Sent::Closed(id) => {
                    if let Some(pipe) = self.pipes.remove(&id) {
                        let now = self.now();
                        let node = &mut self.hosts[pipe.host.0].node;
                        node.handle_stream(now, pipe.socket, StreamEvent::Closed);
                        self.settle(pipe.host);
                    }
                }
            }
        }
    }

    pub(crate) fn at_relay(&mut self, act: impl FnOnce(&mut Relay, Now) -> Vec<Sent>) {
        let now = self.now();
        if let Some(relay) = &mut self.relay {
            let sent = act(relay, now);
            self.relayed(sent);
        }
    }

    /// Something of a stream reaches its host.
    pub(crate) fn on_pipe(&mut self, id: StreamId, bytes: Option<Vec<u8>>) {
        let Some(pipe) = self.pipes.get(&id) else {
            return;
        };
        let (host, socket, local) = (pipe.host, pipe.socket, pipe.local);
        let now = self.now();
        let mut bytes = bytes;
        let event = match &mut bytes {
            None => StreamEvent::Connected { local },
            Some(bytes) => StreamEvent::Bytes(bytes),
        };
        self.hosts[host.0].node.handle_stream(now, socket, event);
        self.settle(host);
    }

    /// Opens a stream: to the server, or to a host that listens.
    pub(crate) fn open(
        &mut self,
        host: HostId,
        socket: SocketId,
        local: IpAddr,
        remote: SocketAddr,
    ) {
        let server = match unwrapped(remote.ip()) {
            Some(ip) => SocketAddr::new(ip.into(), remote.port()),
            None => remote,
        };
        let site = self.hosts[host.0].site;
        let listens = self.relay.as_ref().is_some_and(|own| own.listens(server));
        if !listens || !self.lets_out(site, remote) {
            return self.open_between(host, socket, local, remote);
        }
        self.pipe_count += 1;
        let id = StreamId(self.pipe_count);
        let port = 40_000 + self.pipe_count as u16;
        let pipe = Pipe::new(host, socket, SocketAddr::new(local, port));
        self.pipes.insert(id, pipe);
        let from = SocketAddr::new(self.shown(site, local, remote.ip()), port);
        self.up(id, Stage::Opened(id, from, server), Vec::new());
    }

    pub(crate) fn up(&mut self, id: StreamId, stage: Stage, bytes: Vec<u8>) {
        let Some(mut pipe) = self.pipes.remove(&id) else {
            return;
        };
        let site = self.hosts[pipe.host.0].site;
        let at = self.stream_arrival(Some(site), None, &mut pipe.up_after);
        let flight = stage.flight(pipe.local, bytes);
        self.pipes.insert(id, pipe);
        self.launch(at, flight);
    }

    pub(crate) fn down(&mut self, id: StreamId, stage: Stage, bytes: Vec<u8>) {
        let Some(mut pipe) = self.pipes.remove(&id) else {
            return;
        };
        let site = self.hosts[pipe.host.0].site;
        let at = self.stream_arrival(None, Some(site), &mut pipe.down_after);
        let flight = stage.flight(pipe.local, bytes);
        self.pipes.insert(id, pipe);
        self.launch(at, flight);
    }

    /// The server has accepted a stream, and the host learns of it.
    pub(crate) fn opened(&mut self, id: StreamId, from: SocketAddr, to: SocketAddr) {
        self.at_relay(|relay, now| relay.connected(now, id, from, to));
        self.down(id, Stage::Connected(id), Vec::new());
    }

    /// The stream that a host names so.
    pub(crate) fn pipe_of(&self, host: HostId, socket: SocketId) -> Option<StreamId> {
        let mut pipes = self.pipes.iter();
        let found = pipes.find(|(_, own)| (own.host, own.socket) == (host, socket));
        found.map(|(id, _)| *id)
    }

    /// Cuts the streams that a host has to the server, of which both learn.
    pub fn cut_server_streams(&mut self, host: HostId) {
        let own = self.pipes.iter().filter(|(_, pipe)| pipe.host == host);
        let cut: Vec<StreamId> = own.map(|(id, _)| *id).collect();
        for id in cut {
            self.up(id, Stage::Ended(id), Vec::new());
            let now = self.now();
            if let Some(pipe) = self.pipes.remove(&id) {
                let node = &mut self.hosts[host.0].node;
                node.handle_stream(now, pipe.socket, StreamEvent::Closed);
            }
        }
        self.settle(host);
    }

    /// A host closes a stream.
    pub(crate) fn close_pipe(&mut self, host: HostId, socket: SocketId) {
        if let Some(id) = self.pipe_of(host, socket) {
            self.up(id, Stage::Ended(id), Vec::new());
            self.pipes.remove(&id);
        }
    }
}

impl Stage {
    /// A part of a stream on its way.
    const fn flight(self, end: SocketAddr, bytes: Vec<u8>) -> Flight {
        Flight {
            from: end,
            to: end,
            ecn: Ecn::NotEct,
            bytes,
            stage: self,
        }
    }
}
