//! A peer as a node of the world.

use std::net::{IpAddr, SocketAddr};

use twocan_proto::contract::{Batch, Datagram, Output, SocketId, StreamEvent};
use twocan_proto::peer::{Event, Peer};
use twocan_proto::time::Now;
use twocan_sim::Node;

/// A [`Peer`] that the world drives.
#[derive(Debug)]
pub struct PeerNode {
    /// The machine.
    pub peer: Peer,
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
        self.peer.poll_output(now, batch)
    }
}
