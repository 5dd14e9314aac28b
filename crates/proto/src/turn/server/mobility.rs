//! Allocations that go with their client from address to address (RFC 8016).
//!
//! A ticket names an allocation and holds 128 random bits; who has it still has to prove that it
//! is the allocation's user. Each move makes a new one. The one that was used stays good until the
//! next move, for a client whose address changes again before the answer has reached it.

use twocan_wire::stun::{Attribute, ErrorCode, Message, Method};

use super::allocation::Asked;
use super::machine::Server;
use crate::crypto::equal;
use crate::random::Random;

/// Length of a ticket in bytes: 2 digits of the part that has the allocation, 6 of its place there, and
/// 32 that are drawn. coturn's client
/// takes tickets for text.
const TICKET_LEN: usize = 40;

type Ticket = [u8; TICKET_LEN];

/// The tickets of an allocation.
#[derive(Debug)]
pub(super) struct Mobility {
    current: Ticket,
    used: Option<Ticket>,
}

impl Mobility {
    pub(super) fn new(id: (u8, u32), random: &mut Random) -> Self {
        Self {
            current: ticket(id, random),
            used: None,
        }
    }

    /// The one that the client is to show next.
    pub(super) fn ticket(&self) -> &[u8] {
        &self.current
    }

    fn admits(&self, shown: &Ticket) -> bool {
        let is_current = equal(&self.current, shown);
        let is_used = self.used.is_some_and(|used| equal(&used, shown));
        is_current || is_used
    }
}

fn ticket((part, id): (u8, u32), random: &mut Random) -> Ticket {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut drawn = [0; 16];
    random.fill(&mut drawn);
    let [_, place @ ..] = id.to_be_bytes();
    let bytes = [part].into_iter().chain(place).chain(drawn);
    let digits = bytes.flat_map(|byte| [byte >> 4, byte & 0x0f]);
    let mut ticket = [0; TICKET_LEN];
    for (place, digit) in ticket.iter_mut().zip(digits) {
        *place = DIGITS[usize::from(digit)];
    }
    ticket
}

/// The allocation that a ticket names.
fn place(ticket: &Ticket) -> Option<usize> {
    let digits = std::str::from_utf8(ticket.get(2..8)?).ok()?;
    usize::from_str_radix(digits, 16).ok()
}

/// The part that has it.
pub(super) fn part(ticket: &[u8]) -> Option<u8> {
    let digits = std::str::from_utf8(ticket.get(..2)?).ok()?;
    u8::from_str_radix(digits, 16).ok()
}

/// The first MOBILITY-TICKET of a request.
pub(super) fn shown<'a>(message: &Message<'a>) -> Option<&'a [u8]> {
    message.attributes().find_map(|attribute| match attribute {
        Attribute::MobilityTicket(ticket) => Some(ticket),
        _ => None,
    })
}

impl Server {
    /// Moves an allocation to where a Refresh with its ticket came from (RFC 8016 §3.2.2); answers
    /// which.
    pub(super) fn move_here(&mut self, asked: &Asked<'_>) -> Result<u32, ErrorCode<'static>> {
        let Some(shown) = shown(asked.message).filter(|_| asked.method() == Method::REFRESH) else {
            return Err(ErrorCode::ALLOCATION_MISMATCH);
        };
        if !self.config.mobility {
            return Err(ErrorCode::MOBILITY_FORBIDDEN);
        }
        let ticket: &Ticket = shown.try_into().map_err(|_| ErrorCode::BAD_REQUEST)?;
        // Who comes on a stream or on DTLS is not passed on to the part of its allocation.
        if part(ticket).is_some_and(|part| self.part.is_another(part)) {
            return Err(ErrorCode::ALLOCATION_MISMATCH);
        }
        let id = place(ticket).ok_or(ErrorCode::BAD_REQUEST)?;
        let allocation = self
            .allocations
            .get_mut(id)
            .and_then(Option::as_deref_mut)
            .ok_or(ErrorCode::BAD_REQUEST)?;
        let id = u32::try_from(id).map_err(|_| ErrorCode::BAD_REQUEST)?;
        let mobility = allocation.mobility.as_deref_mut();
        let mobility = mobility
            .filter(|own| own.admits(ticket))
            .ok_or(ErrorCode::BAD_REQUEST)?;
        if *allocation.user != *asked.proof.user {
            return Err(ErrorCode::WRONG_CREDENTIALS);
        }
        let (user, old, new) = (&allocation.user, allocation.client, asked.client);
        let places = (old.remote.ip(), new.remote.ip());
        self.accounts.relocate(&self.config.quotas, user, places)?;
        *mobility = Mobility {
            used: Some(*ticket),
            ..Mobility::new((self.part.number, id), &mut self.random)
        };
        allocation.client = new;
        self.forget_client(&old.key);
        self.know_client(new.key, id);
        self.counters.count("turn.moved");
        Ok(id)
    }
}
