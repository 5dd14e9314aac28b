//! A peer as a node of the world.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use twocan_proto::contract::{Batch, Datagram, Output, SocketId, StreamEvent};
use twocan_proto::peer::{Event, Peer};
use twocan_proto::time::Now;
use twocan_sim::Node;
use twocan_wire::demux::{Protocol, classify};
use twocan_wire::ids::Ssrc;

/// What a datagram carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Carried {
    /// Checks, and what relays are told.
    Stun,
    /// Handshakes and data.
    Dtls,
    /// Media of this source.
    Rtp(Ssrc),
    /// Reports.
    Rtcp,
    /// Anything in what relays pass on.
    Other,
}

impl Carried {
    fn of(datagram: &[u8]) -> Self {
        match (classify(datagram), datagram) {
            (Some(Protocol::Stun), _) => Self::Stun,
            (Some(Protocol::Dtls), _) => Self::Dtls,
            (Some(Protocol::Rtp), [_, _, _, _, _, _, _, _, a, b, c, d, ..]) => {
                Self::Rtp(Ssrc(u32::from_be_bytes([*a, *b, *c, *d])))
            }
            (Some(Protocol::Rtcp), _) => Self::Rtcp,
            _ => Self::Other,
        }
    }
}

/// A [`Peer`] that the world drives.
#[derive(Debug)]
pub struct PeerNode {
    /// The machine.
    pub peer: Peer,
    /// How many datagrams it has sent, by what they carry and by their codepoint.
    pub sent: BTreeMap<(Carried, u8), u64>,
}

impl PeerNode {
    /// One that has sent nothing.
    pub fn new(peer: Peer) -> Self {
        let sent = BTreeMap::new();
        Self { peer, sent }
    }
}

impl Node for PeerNode {
    type Event = Event;

    fn handle_bound(&mut self, now: Now, socket: SocketId, local: SocketAddr) {
        self.peer.handle_bound(now, socket, local);
    }

    fn handle_datagram(&mut self, now: Now, datagram: Datagram<'_>) {
        self.peer.handle_datagram(now, datagram);
    }

    fn handle_accepted(
        &mut self,
        now: Now,
        listener: SocketId,
        local: SocketAddr,
        remote: SocketAddr,
    ) -> Option<SocketId> {
        self.peer.handle_accepted(now, listener, local, remote)
    }

    fn handle_stream(&mut self, now: Now, socket: SocketId, event: StreamEvent<'_>) {
        self.peer.handle_stream(now, socket, event);
    }

    fn handle_timeout(&mut self, now: Now) {
        self.peer.handle_timeout(now);
    }

    fn handle_resolved(&mut self, now: Now, name: &str, addresses: &[IpAddr]) {
        self.peer.handle_resolved(now, name, addresses);
    }

    fn poll_output(&mut self, now: Now, batch: &mut Batch) -> Output<Event> {
        let output = self.peer.poll_output(now, batch);
        if let Some(destination) = batch
            .destination()
            .filter(|_| matches!(output, Output::Transmit))
        {
            for datagram in batch.iter() {
                let sent = (Carried::of(datagram), destination.dscp.value());
                *self.sent.entry(sent).or_default() += 1;
            }
        }
        output
    }
}
