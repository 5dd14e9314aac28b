//! Taking an allocation along to another address (RFC 8016).
//!
//! The server gives a ticket for the allocation, and a new one each time it is shown. Who shows it
//! from another address, and is the allocation's user, has the allocation there.

use std::time::Instant;

use twocan_wire::stun::{Attribute, Message};

use super::Event;
use super::machine::{Client, Operation, State};

/// Longest ticket that is kept, in bytes; of a longer one the allocation does not move.
const TICKET_LEN_MAX: usize = 512;

/// Whether an allocation can move.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Mobility {
    /// Asked for, and not known yet; or the server has nothing of it.
    Wanted,
    /// The server refused it (405).
    Forbidden,
    /// With this.
    Ticket(Vec<u8>),
}

impl Mobility {
    /// What a request for an allocation says of it.
    pub(super) const fn asked(&self) -> Option<Attribute<'static>> {
        match self {
            Self::Forbidden => None,
            Self::Wanted | Self::Ticket(_) => Some(Attribute::MobilityTicket(&[])),
        }
    }
}

impl Client {
    /// Whether the allocation can be taken along to another address.
    pub fn can_relocate(&self) -> bool {
        self.state == State::Allocated && matches!(self.mobility, Mobility::Ticket(_))
    }

    /// Our address has changed: what is sent comes from another one from here on. Takes the
    /// allocation along ([`Event::Moved`], or [`Event::Lost`] where the server does not agree).
    /// Nothing without an allocation that can.
    pub fn relocate(&mut self, now: Instant) {
        if self.can_relocate() {
            // Their answers go to the address before.
            self.forget_requests(now);
            self.begin(now, Operation::Move);
        }
    }

    /// Takes the ticket that an answer brings, if it does.
    pub(super) fn take_ticket(&mut self, message: &Message<'_>) {
        let ticket = message.attributes().find_map(|attribute| match attribute {
            Attribute::MobilityTicket(ticket) => Some(ticket),
            _ => None,
        });
        match ticket {
            Some(ticket) if ticket.len() > TICKET_LEN_MAX => {
                self.counters.count("turn.ticket_too_long");
                self.mobility = Mobility::Wanted;
            }
            Some(ticket) if !ticket.is_empty() => self.mobility = Mobility::Ticket(ticket.to_vec()),
            _ => {}
        }
    }

    /// The server has moved the allocation.
    pub(super) fn moved(&mut self, now: Instant, message: &Message<'_>) {
        self.take_ticket(message);
        self.set_lifetime(now, message);
        self.events.push_back(Event::Moved);
    }
}
