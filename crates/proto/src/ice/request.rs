//! Checks that the peer sends (RFC 8445 §7.3).

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use twocan_wire::stun::{Attribute, Builder, Class, ErrorCode, Message, Method};

use super::agent::Agent;
use super::candidate::is_translation;
use super::pair::{Pair, PairId};
use super::{Candidate, Credentials, Kind, PairState, Role, Route, TcpType};
use crate::contract::Path;

/// Checks kept that arrive before the peer's credentials; later ones are dropped, the peer
/// repeats them.
const EARLY_CHECKS_MAX: usize = 16;

/// A pair whose check is under way is checked again for a check of the peer's, since a NAT may
/// have eaten ours before the peer's went out; but not more often than this.
const RECHECK_AFTER: Duration = Duration::from_millis(50);

/// A controlled agent that hears nothing on its selected pair for this long follows a nomination
/// of a worse pair: the peer has moved.
const MOVED_AFTER: Duration = Duration::from_secs(2);

/// An authenticated check of the peer's.
#[derive(Debug, Clone, Copy)]
pub(super) struct EarlyCheck {
    pub(super) at: Instant,
    route: Route,
    priority: u32,
    pub(super) use_candidate: bool,
    /// As the peer numbers it.
    nomination: u32,
}

/// Which of our credentials a check used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Generation {
    Previous,
    Present,
    Next,
}

impl Agent {
    /// Takes a datagram that looks like STUN.
    pub fn handle_stun(&mut self, now: Instant, path: Path, remote: SocketAddr, bytes: &[u8]) {
        let message = match Message::parse(bytes) {
            Ok(message) if message.method == Method::BINDING => message,
            Ok(_) => return self.counters.count("ice.stun_other_method"),
            Err(_) => return self.counters.count("ice.stun_malformed"),
        };
        match message.class {
            Class::Request => self.handle_request(now, Route { path, remote }, &message),
            Class::Success | Class::Error => self.handle_response(now, path, remote, &message),
            // RFC 8445 §11: a keepalive, which wants nothing.
            Class::Indication => {}
        }
        self.settle(now);
    }

    fn handle_request(&mut self, now: Instant, route: Route, message: &Message<'_>) {
        // A check without valid integrity gets no answer. RFC 8489 §9.1.3 has 400 and 401 for
        // it, but nobody who should check needs them, and silence neither amplifies nor tells.
        let Some((generation, remote_fragment)) = self.authenticate(message) else {
            return self.counters.count("ice.request_bad_integrity");
        };
        // A refusal must reach them as well.
        self.prove(route);
        if message.unknown_required().next().is_some() {
            return self.refuse_unknown(route, generation, message);
        }
        if !self.resolve_conflict(route, generation, message) {
            return;
        }
        self.answer(route, generation, message);
        if generation == Generation::Previous {
            return;
        }
        let mut check = EarlyCheck {
            at: now,
            route,
            priority: 0,
            use_candidate: false,
            nomination: 0,
        };
        for attribute in message.attributes() {
            match attribute {
                Attribute::Priority(priority) => check.priority = priority,
                Attribute::UseCandidate => check.use_candidate = true,
                // The draft has it alone nominate as well.
                Attribute::Nomination(number) => {
                    check.use_candidate |= number > 0;
                    check.nomination = number;
                }
                _ => {}
            }
        }
        let known = self
            .remote
            .as_ref()
            .is_some_and(|remote| remote.username_fragment == remote_fragment);
        if known && generation == Generation::Present {
            self.trigger_from_request(check);
        } else if self.early.len() < EARLY_CHECKS_MAX {
            self.early.push(check);
        } else {
            self.counters.count("ice.too_many_early_checks");
        }
    }

    /// Which credentials the request proves to know, and the peer's username fragment.
    fn authenticate<'a>(&self, message: &Message<'a>) -> Option<(Generation, &'a str)> {
        let (ours, theirs) = message.username()?.split_once(':')?;
        let integrity = message.integrity()?;
        let parts = [&integrity.header[..], integrity.attributes];
        [Generation::Present, Generation::Next, Generation::Previous]
            .into_iter()
            .filter_map(|generation| Some((generation, self.credentials(generation)?)))
            .find(|(_, local)| {
                local.username_fragment == ours && local.key.verify(&parts, integrity.mac).is_ok()
            })
            .map(|(generation, _)| (generation, theirs))
    }

    fn credentials(&self, generation: Generation) -> Option<&Credentials> {
        match generation {
            Generation::Previous => self.local_previous.as_ref(),
            Generation::Present => Some(&self.local),
            Generation::Next => self.local_next.as_ref(),
        }
    }

    /// RFC 8445 §7.3.1.1; answers whether the request is to be processed.
    fn resolve_conflict(
        &mut self,
        route: Route,
        generation: Generation,
        message: &Message<'_>,
    ) -> bool {
        for attribute in message.attributes() {
            let (theirs, keeps) = match (self.role, attribute) {
                (Role::Controlling, Attribute::IceControlling(theirs)) => {
                    (theirs, self.tie_breaker >= theirs)
                }
                (Role::Controlled, Attribute::IceControlled(theirs)) => {
                    (theirs, self.keeps_role() || self.tie_breaker < theirs)
                }
                _ => continue,
            };
            self.counters.count("ice.role_conflict");
            if theirs == self.tie_breaker {
                // Our own request reflected, or a chance of one in 2⁶⁴.
                self.counters.count("ice.own_request");
                return false;
            }
            if keeps {
                self.respond(route, generation, message, Class::Error, |builder| {
                    builder.attribute(Attribute::ErrorCode(ErrorCode::ROLE_CONFLICT));
                });
                return false;
            }
            self.change_role(match self.role {
                Role::Controlling => Role::Controlled,
                Role::Controlled => Role::Controlling,
            });
            return true;
        }
        true
    }

    fn refuse_unknown(&mut self, route: Route, generation: Generation, message: &Message<'_>) {
        self.counters.count("ice.unknown_attribute");
        let unknown: Vec<u8> = message
            .unknown_required()
            .flat_map(u16::to_be_bytes)
            .collect();
        self.respond(route, generation, message, Class::Error, |builder| {
            builder.attribute(Attribute::ErrorCode(ErrorCode::UNKNOWN_ATTRIBUTE));
            builder.attribute(Attribute::UnknownAttributes(&unknown));
        });
    }

    fn answer(&mut self, route: Route, generation: Generation, message: &Message<'_>) {
        self.respond(route, generation, message, Class::Success, |builder| {
            builder.attribute(Attribute::XorMappedAddress(route.remote));
        });
        if let Some(pair) = self.pair_on(route).and_then(|id| self.pair_mut(id)) {
            pair.stats.responses_sent += 1;
        }
    }

    fn respond(
        &mut self,
        route: Route,
        generation: Generation,
        request: &Message<'_>,
        class: Class,
        fill: impl FnOnce(&mut Builder<'_>),
    ) {
        let Some(key) = self.credentials(generation).map(|local| local.key.clone()) else {
            return;
        };
        let mut bytes = Vec::with_capacity(96);
        let mut builder = Builder::new(&mut bytes, class, Method::BINDING, request.transaction);
        fill(&mut builder);
        builder.finish_with_integrity(|parts| key.sign(parts));
        self.queue(route, bytes);
    }

    /// Learns what a check of the peer's says, and checks back (RFC 8445 §7.3.1.3 to §7.3.1.5).
    pub(super) fn trigger_from_request(&mut self, check: EarlyCheck) {
        let Some(base) = self.base_of(check.route.path) else {
            return;
        };
        let is_tcp = self.bases[base].tcp.is_some();
        let known = self
            .remotes
            .iter()
            .position(|candidate| candidate.is_at(check.route.remote, is_tcp));
        let remote = match known {
            Some(remote) => remote,
            None => match self.learn_remote(check, is_tcp) {
                Some(remote) => {
                    self.doubt_selected(check.at);
                    remote
                }
                None => return,
            },
        };
        let Some(id) = self.add_pair_on(base, check.route.path, remote) else {
            return;
        };
        let (controlled, is_lite) = (self.role == Role::Controlled, self.config.lite);
        let recent = self
            .last_check_at
            .is_some_and(|last| last + RECHECK_AFTER > check.at);
        let Some(pair) = self.pair_mut(id) else {
            return;
        };
        pair.heard_at = Some(check.at);
        pair.stats.requests_received += 1;
        let nominated = check.use_candidate && controlled;
        if nominated {
            pair.nomination = pair.nomination.max(check.nomination);
        }
        if is_lite {
            return self.take_check_as_lite(id, check);
        }
        match pair.state {
            PairState::Succeeded => {
                pair.nominated |= nominated;
                self.select(check.at);
            }
            PairState::InProgress if recent => {
                pair.nominate_on_success |= nominated;
                self.hasten(id, check.at + RECHECK_AFTER);
            }
            PairState::Frozen | PairState::Waiting | PairState::InProgress | PairState::Failed => {
                pair.nominate_on_success |= nominated;
                self.trigger(id);
            }
        }
    }

    /// The way from the peer is open, so an answer to the check under way would have come, or the
    /// check was lost on a way that was closed: it is repeated soon.
    fn hasten(&mut self, id: PairId, at: Instant) {
        for own in self.transactions.values_mut() {
            if own.pair == Some(id) && own.due_at.is_some_and(|due| due > at) {
                own.due_at = Some(at);
            }
        }
    }

    /// RFC 8445 §7.3.1.3. Behind a NAT64 it may be a candidate that we were told, with another
    /// address: a relay's must not pass for a direct one.
    fn learn_remote(&mut self, check: EarlyCheck, is_tcp: bool) -> Option<usize> {
        let mut told = self
            .remotes
            .iter()
            .filter(|own| own.tcp.is_none() && !is_tcp);
        let told = told.find(|own| is_translation(check.route.remote, own.address));
        let candidate = Candidate {
            kind: told.map_or(Kind::PeerReflexive, |own| own.kind),
            address: check.route.remote,
            // Of a stream that we opened, the other end is known.
            tcp: is_tcp.then_some(TcpType::Active),
            related: None,
            priority: told.map_or(check.priority, |own| own.priority),
            foundation: format!("r{}", self.remotes.len()),
            server: None,
        };
        // One slot more than signaled candidates may take, so that those never keep a live
        // address out.
        if self.remotes.len() > super::agent::PAIRS_MAX {
            self.counters.count("ice.too_many_remote_candidates");
            return None;
        }
        self.remotes.push(candidate);
        Some(self.remotes.len() - 1)
    }

    /// Selects the nominated pair (RFC 8445 §8.1.1, §8.1.2).
    pub(super) fn select(&mut self, now: Instant) {
        let nominated = |pair: &&Pair| pair.nominated && pair.is_valid();
        // The greatest number, and of the highest priority among equals: pairs are in that order.
        let numbers = self
            .pairs
            .iter()
            .filter(nominated)
            .map(|own| own.nomination);
        let Some(latest) = numbers.max() else {
            return;
        };
        let mut latest = self.pairs.iter().filter(|own| own.nomination == latest);
        let Some(best) = latest.find(nominated).map(|pair| pair.id) else {
            return;
        };
        let quiet = self
            .selected
            .and_then(|id| self.pair(id))
            .is_some_and(|pair| {
                let heard = pair.heard_at.max(self.heard_at);
                heard.is_none_or(|heard| now.saturating_duration_since(heard) > MOVED_AFTER)
            });
        if quiet {
            // The most recently heard nominated pair is where the peer is.
            let live = self
                .pairs
                .iter()
                .filter(|pair| pair.nominated && pair.is_valid())
                .max_by_key(|pair| pair.heard_at);
            self.selected = live.map(|pair| pair.id);
        } else {
            self.selected = Some(best);
        }
    }
}
