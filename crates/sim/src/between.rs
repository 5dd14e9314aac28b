//! Streams between hosts: reliable and in order, with the delay of the links and of what is lost on
//! them. A translator lets out whoever opens one, and nobody in.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use twocan_proto::contract::{Ecn, SocketId, StreamEvent};

use crate::world::{Flight, HostId, LAN_DELAY, Node, Stage, World};

/// How long a driver waits for a stream that nobody answers.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);

/// Names a stream between two hosts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct BetweenId(u64);

/// What arrives, and at which end: 0 opened the stream, 1 listened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Parcel {
    /// The stream reaches the host that listens.
    Knock,
    /// It is accepted, and end 0 learns of it.
    Welcome,
    /// Bytes.
    Bytes(usize),
    /// The end of it.
    Over(usize),
}

impl Parcel {
    const fn end(self) -> usize {
        match self {
            Self::Knock => 1,
            Self::Welcome => 0,
            Self::Bytes(end) | Self::Over(end) => end,
        }
    }
}

#[derive(Debug)]
struct End {
    host: HostId,
    /// Once it is named.
    socket: Option<SocketId>,
    /// Its address, as its host knows it.
    local: SocketAddr,
    /// When the last that was sent to it arrives.
    after: Option<Instant>,
}

/// A stream between two hosts.
#[derive(Debug)]
pub(crate) struct Between {
    ends: [End; 2],
    /// The address of end 0 as end 1 sees it.
    from: SocketAddr,
    /// Nothing passes any more, and neither end hears of it.
    is_silent: bool,
}

impl Between {
    /// The host that something arrives at.
    pub(crate) fn host(&self, what: Parcel) -> HostId {
        self.ends[what.end()].host
    }
}

impl<N: Node> World<N> {
    /// Opens a stream to a host; where nobody listens it fails in the end.
    pub(crate) fn open_between(
        &mut self,
        host: HostId,
        socket: SocketId,
        local: IpAddr,
        remote: SocketAddr,
    ) {
        self.between_count += 1;
        let id = BetweenId(self.between_count);
        let site = self.hosts[host.0].site;
        let port = 50_000 + self.between_count as u16;
        let target = self.hosts.iter().position(|other| {
            let is_near = other.site == site || self.lets_out(site, remote);
            let is_reachable = is_near && self.lets_in(site, other.site, remote.ip());
            is_reachable && other.listeners.values().any(|own| *own == remote)
        });
        let target = target.filter(|_| !self.refuses_streams);
        let is_neighbour = target.is_some_and(|own| self.hosts[own].site == site);
        let seen = match is_neighbour {
            true => local,
            false => self.shown(site, local, remote.ip()),
        };
        let end = |host, socket, local| End {
            host,
            socket,
            local,
            after: None,
        };
        let local = SocketAddr::new(local, port);
        let far = target.map_or(host, HostId);
        self.between.insert(
            id,
            Between {
                ends: [end(host, Some(socket), local), end(far, None, remote)],
                from: SocketAddr::new(seen, port),
                is_silent: false,
            },
        );
        match target {
            Some(_) => self.send_between(id, Parcel::Knock, Vec::new()),
            None => {
                let flight = parcel(id, Parcel::Over(0), local, Vec::new());
                let wait = match self.refuses_streams {
                    true => LAN_DELAY,
                    false => CONNECT_WITHIN,
                };
                self.launch(self.now + wait, flight);
            }
        }
    }

    /// Sends something on its way.
    pub(crate) fn send_between(&mut self, id: BetweenId, what: Parcel, bytes: Vec<u8>) {
        let Some(mut between) = self.between.remove(&id) else {
            return;
        };
        if between.is_silent {
            self.between.insert(id, between);
            return;
        }
        let to = what.end();
        let [from, to_site] = [1 - to, to].map(|end| self.hosts[between.ends[end].host.0].site);
        let end = &mut between.ends[to];
        let at = if from == to_site {
            let at = self.now + LAN_DELAY;
            end.after.map_or(at, |after| at.max(after))
        } else {
            self.stream_arrival(Some(from), Some(to_site), &mut end.after)
        };
        end.after = Some(at);
        let flight = parcel(id, what, end.local, bytes);
        self.between.insert(id, between);
        self.launch(at, flight);
    }

    pub(crate) fn between_arrives(&mut self, id: BetweenId, what: Parcel, mut bytes: Vec<u8>) {
        let now = self.now();
        let Some(between) = self.between.get_mut(&id) else {
            return;
        };
        let end = &mut between.ends[what.end()];
        let (host, local, from) = (end.host, end.local, between.from);
        let node = &mut self.hosts[host.0].node;
        match (what, end.socket) {
            (Parcel::Knock, _) => {
                let mut listeners = self.hosts[host.0].listeners.iter();
                let listener = listeners.find(|(_, own)| **own == local);
                let listener = listener.map(|(id, _)| *id);
                let node = &mut self.hosts[host.0].node;
                let name = listener.and_then(|own| node.handle_accepted(now, own, local, from));
                end.socket = name;
                let answer = match name {
                    Some(_) => Parcel::Welcome,
                    None => Parcel::Over(0),
                };
                self.send_between(id, answer, Vec::new());
            }
            (Parcel::Welcome, Some(socket)) => {
                node.handle_stream(now, socket, StreamEvent::Connected { local });
            }
            (Parcel::Bytes(_), Some(socket)) => {
                node.handle_stream(now, socket, StreamEvent::Bytes(&mut bytes));
            }
            (Parcel::Over(_), Some(socket)) => {
                self.between.remove(&id);
                node.handle_stream(now, socket, StreamEvent::Closed);
            }
            (_, None) => {}
        }
        self.settle(host);
    }

    /// The stream that a host names so, and which of its ends it has.
    pub(crate) fn between_of(&self, host: HostId, socket: SocketId) -> Option<(BetweenId, usize)> {
        self.between.iter().find_map(|(id, own)| {
            let mut ends = own.ends.iter();
            let end = ends.position(|end| end.host == host && end.socket == Some(socket))?;
            Some((*id, end))
        })
    }

    /// A host closes a stream.
    pub(crate) fn close_between(&mut self, host: HostId, socket: SocketId) {
        if let Some((id, end)) = self.between_of(host, socket) {
            self.send_between(id, Parcel::Over(1 - end), Vec::new());
            if let Some(between) = self.between.get_mut(&id) {
                between.ends[end].socket = None;
            }
        }
    }

    /// Lets nothing pass on the streams between hosts that there are, of which no end learns: what
    /// a translator does that has forgotten them.
    pub fn silence_streams(&mut self) {
        for between in self.between.values_mut() {
            between.is_silent = true;
        }
    }

    /// Cuts every stream between hosts, as a network does that has lost what it knew of them; both
    /// ends learn of it now.
    pub fn cut_streams(&mut self) {
        let now = self.now();
        for (_, between) in std::mem::take(&mut self.between) {
            for end in between.ends {
                if let Some(socket) = end.socket {
                    let node = &mut self.hosts[end.host.0].node;
                    node.handle_stream(now, socket, StreamEvent::Closed);
                    self.settle(end.host);
                }
            }
        }
    }
}

/// A part of a stream on its way.
fn parcel(id: BetweenId, what: Parcel, end: SocketAddr, bytes: Vec<u8>) -> Flight {
    Flight {
        from: end,
        to: end,
        ecn: Ecn::NotEct,
        bytes,
        stage: Stage::Between(id, what),
    }
}
