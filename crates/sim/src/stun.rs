//! The STUN server in the middle of the world.

use std::net::SocketAddr;

use twocan_proto::contract::Ecn;
use twocan_proto::stun_server::{Discovery, Origin, StunServer};

use crate::world::{Flight, Stage};

/// A STUN server, which has no delay of its own.
pub(crate) struct Stun {
    addresses: Vec<SocketAddr>,
    server: StunServer,
    /// Whether what it does depends on which of its addresses is asked.
    discovers: bool,
}

impl Stun {
    /// One that answers from the address that is asked.
    pub(crate) fn at(addresses: Vec<SocketAddr>) -> Self {
        Self {
            addresses,
            server: StunServer::new(),
            discovers: false,
        }
    }

    /// One that answers from all addresses of behaviour discovery.
    pub(crate) fn with_discovery(discovery: Discovery) -> Self {
        Self {
            addresses: Origin::ALL.map(|at| discovery.address(at)).into(),
            server: StunServer::with_discovery(Some(discovery)),
            discovers: true,
        }
    }

    /// Whether a datagram to `to` is for it.
    pub(crate) fn has(&self, to: SocketAddr) -> bool {
        self.addresses.contains(&to)
    }

    /// What comes back.
    pub(crate) fn answer(&mut self, flight: &Flight) -> Option<Flight> {
        let place = self.addresses.iter().position(|own| *own == flight.to)?;
        let at = match self.discovers {
            true => Origin::ALL.get(place).copied()?,
            false => Origin::default(),
        };
        let mut bytes = Vec::new();
        let reply = self
            .server
            .respond_at(at, flight.from, &flight.bytes, &mut bytes)?;
        let from = match self.discovers {
            true => *self.addresses.get(reply.from.place())?,
            false => flight.to,
        };
        Some(Flight {
            from,
            to: reply.to,
            ecn: Ecn::NotEct,
            bytes,
            stage: Stage::Core,
        })
    }
}
