//! Where datagrams really go: straight to the peer, or wrapped to a relay.

use std::net::SocketAddr;

use twocan_wire::framing;

use crate::contract::{Batch, Destination, Dscp, Ecn, Path};
use crate::ice::Route;
use crate::turn::client::Envelope;

/// What is put around a datagram.
#[derive(Debug, Clone, Copy)]
enum Wrapping {
    Nothing,
    /// What a relay needs to pass it on.
    Envelope(Envelope),
    /// Its length, on a stream.
    Frame,
}

/// The way out for a datagram: where it really goes, and what is put around it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Outlet {
    pub(super) destination: Destination,
    wrapping: Wrapping,
}

impl Outlet {
    /// Straight to the remote end of a route.
    pub(super) fn direct(Route { path, remote }: Route) -> Self {
        Self {
            destination: destination(path, remote),
            wrapping: Wrapping::Nothing,
        }
    }

    /// The same on a stream.
    pub(super) fn framed(Route { path, remote }: Route) -> Self {
        Self {
            destination: destination(path, remote),
            wrapping: Wrapping::Frame,
        }
    }

    /// To a relay, which unwraps it.
    pub(super) fn wrapped(destination: Destination, envelope: Envelope) -> Self {
        Self {
            destination,
            wrapping: Wrapping::Envelope(envelope),
        }
    }

    /// The same for datagrams that say that they may be marked (ECT). Not to a
    /// relay: whether it passes on how they were marked on the way to it is not known. Nor on a
    /// stream, whose marks are TCP's.
    pub(super) fn with_ecn(mut self, ecn: Option<Ecn>) -> Self {
        if let Some(ecn) = ecn
            && matches!(self.wrapping, Wrapping::Nothing)
        {
            self.destination.ecn = ecn;
        }
        self
    }

    /// The same for what joins a batch, if it turns out to have its codepoint.
    pub(super) fn joining(mut self, batch: &Batch) -> Self {
        if let Some(present) = batch.destination() {
            self.destination.dscp = present.dscp;
        }
        self
    }

    /// [`Batch::push`], wrapped where that is needed, of what has no codepoint.
    pub(super) fn push(
        self,
        batch: &mut Batch,
        spill: &mut Vec<u8>,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> Option<Destination> {
        self.push_marked(batch, spill, |out| {
            write(out);
            Dscp::DEFAULT
        })
    }

    /// [`Batch::push_marked`], wrapped where that is needed.
    pub(super) fn push_marked(
        self,
        batch: &mut Batch,
        spill: &mut Vec<u8>,
        write: impl FnOnce(&mut Vec<u8>) -> Dscp,
    ) -> Option<Destination> {
        let destination = self.destination;
        match self.wrapping {
            Wrapping::Nothing => batch.push_marked(destination, spill, write),
            Wrapping::Envelope(envelope) => batch.push_marked(destination, spill, |out| {
                let mut dscp = Dscp::DEFAULT;
                envelope.wrap(out, |out| dscp = write(out));
                dscp
            }),
            Wrapping::Frame => batch.push_marked(destination, spill, |out| {
                framing::push(out, |out| {
                    write(out);
                });
                // A stream is not marked by what is in it.
                Dscp::DEFAULT
            }),
        }
    }
}

pub(super) fn destination(path: Path, remote: SocketAddr) -> Destination {
    Destination {
        path,
        remote,
        ecn: Ecn::NotEct,
        dscp: Dscp::DEFAULT,
    }
}
