//! What the server does not grant, each in its way (RFC 8656 §7.4, §8.3, §10.3, §12.3).

use std::net::SocketAddr;
use std::time::Instant;

use twocan_wire::stun::{Attribute, Message};

use super::machine::{Client, Operation, SERVERS_MAX, State};
use super::mobility::Mobility;
use super::peers::Ask;
use super::{Event, Failure};

impl Client {
    pub(super) fn refused(&mut self, now: Instant, operation: Operation, message: &Message<'_>) {
        let error = message.attributes().find_map(|attribute| match attribute {
            Attribute::ErrorCode(error) => Some((error.code, error.reason.to_owned())),
            _ => None,
        });
        let (code, reason) = error.unwrap_or((500, String::new()));
        match (operation, code) {
            (Operation::Release, _) => self.end(),
            (Operation::Allocate, 300) => self.redirect(now, message),
            (Operation::Allocate, 405) if self.mobility == Mobility::Wanted => {
                self.mobility = Mobility::Forbidden;
                self.begin(now, Operation::Allocate);
            }
            // We ask for UDP alone: this server has no use for us on any way to it, now or later.
            (Operation::Allocate, 442) => {
                self.counters.count("turn.relays_no_udp");
                self.fail(Failure::Refused { code, reason });
            }
            (Operation::Allocate, _) => self.fail(Failure::Refused { code, reason }),
            // We may have another address without knowing it, by a translator's doing.
            (Operation::Refresh | Operation::Ask(_), 437) if self.can_relocate() => {
                self.relocate(now);
            }
            // The allocation is not there, or not ours (RFC 8656 §8.3, §10.3, §12.3).
            (_, 437 | 441) => {
                self.counters.count("turn.allocation_mismatch");
                self.lose();
            }
            (Operation::Move, _) => {
                self.counters.count("turn.move_refused");
                self.lose();
            }
            // It is asked for again while the allocation lasts.
            (Operation::Refresh, _) => {
                self.counters.count("turn.refresh_refused");
                self.refresh_again(now);
            }
            (Operation::Ask(ask), _) => self.denied(now, ask, code),
        }
    }

    fn denied(&mut self, now: Instant, ask: Ask, code: u16) {
        self.counters.count("turn.peer_refused");
        // Forbidden, or of a family that we have no address of.
        let for_good = matches!(code, 403 | 440 | 443);
        self.peers.denied(now, ask, for_good);
        if for_good {
            let ip = match ask {
                Ask::Permission(ip) => ip,
                Ask::Channel(peer, _) => peer.ip(),
            };
            self.events.push_back(Event::Refused(ip));
        }
    }

    /// RFC 8489 §10: the same request to another server, with credentials of its own.
    fn redirect(&mut self, now: Instant, message: &Message<'_>) {
        let alternate = message.attributes().find_map(|attribute| match attribute {
            Attribute::AlternateServer(address) => Some(address),
            _ => None,
        });
        let usable = |address: &SocketAddr| {
            address.port() != 0 && address.is_ipv4() == self.server.is_ipv4()
        };
        let Some(alternate) = alternate.filter(usable) else {
            return self.fail(Failure::NoAddress);
        };
        if self.tried.contains(&alternate) || self.tried.len() >= SERVERS_MAX {
            return self.fail(Failure::Redirected(alternate));
        }
        self.tried.push(alternate);
        self.server = alternate;
        self.challenge = None;
        self.challenges = 0;
        self.transmits.clear();
        self.state = State::Waiting;
        self.events.push_back(Event::Redirected(alternate));
        if !self.stream {
            self.start(now);
        }
    }
}
