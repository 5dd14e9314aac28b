//! Where datagrams really go: straight to the peer, or wrapped to a relay.

use std::net::SocketAddr;

use crate::contract::{Batch, Destination, Ecn, Path};
use crate::ice::Route;
use crate::turn::client::Envelope;

/// The way out for a datagram: where it really goes, and what is put around it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Outlet {
    pub(super) destination: Destination,
    envelope: Option<Envelope>,
}

impl Outlet {
    /// Straight to the remote end of a route.
    pub(super) fn direct(Route { path, remote }: Route) -> Self {
        Self {
            destination: destination(path, remote),
            envelope: None,
        }
    }

    /// To a relay, which unwraps it.
    pub(super) fn wrapped(destination: Destination, envelope: Envelope) -> Self {
        Self {
            destination,
            envelope: Some(envelope),
        }
    }

    /// The same for datagrams that say that their sender takes part in L4S (RFC 9331 §4.1). Not to a
    /// relay: whether it passes on how they were marked on the way to it is not known.
    pub(super) fn with_l4s(mut self) -> Self {
        if self.envelope.is_none() {
            self.destination.ecn = Ecn::Ect1;
        }
        self
    }

    /// [`Batch::push`], wrapped where that is needed.
    pub(super) fn push(
        self,
        batch: &mut Batch,
        spill: &mut Vec<u8>,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> bool {
        match self.envelope {
            None => batch.push(self.destination, spill, write),
            Some(envelope) => batch.push(self.destination, spill, |out| envelope.wrap(out, write)),
        }
    }
}

pub(super) fn destination(path: Path, remote: SocketAddr) -> Destination {
    Destination {
        path,
        remote,
        ecn: Ecn::NotEct,
    }
}
