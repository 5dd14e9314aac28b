//! The attempts of a connection: which of them a message is for, and when there is another.

use std::collections::VecDeque;
use std::time::Instant;

use super::attempt::{Attempt, Match};
use super::record::{Hello, Part};
use super::{
    CLIENT_ATTEMPTS_MAX, Certificate, RETRANSMIT_AFTER, Role, SERVER_ATTEMPTS_MAX, STALLED_AFTER,
    Settings,
};
use crate::counters::Counters;

/// Hellos remembered of attempts that are gone.
const RETIRED_MAX: usize = 16;

/// What became of a hello.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// An attempt takes it, for the first time.
    New(u32),
    /// An attempt has taken it before.
    Known(u32),
    /// It is for none.
    Nobody,
}

impl Place {
    pub(super) fn number(self) -> Option<u32> {
        match self {
            Self::New(number) | Self::Known(number) => Some(number),
            Self::Nobody => None,
        }
    }
}

/// All attempts, oldest first.
pub(super) struct Attempts {
    settings: Settings,
    certificate: Certificate,
    role: Role,
    live: Vec<Attempt>,
    /// Attempts made so far.
    made: u32,
    /// Hellos of attempts that are gone, or that contradicted one: they are not for later ones.
    retired: VecDeque<Hello>,
    /// When a client sends another ClientHello.
    pub(super) restart_at: Option<Instant>,
}

impl Attempts {
    pub(super) fn new(settings: &Settings, certificate: &Certificate, now: Instant) -> Self {
        Self {
            settings: settings.clone(),
            certificate: certificate.clone(),
            role: Role::Server,
            live: vec![Attempt::new(0, settings, certificate, now)],
            made: 1,
            retired: VecDeque::new(),
            restart_at: None,
        }
    }

    pub(super) fn start(&mut self, role: Role) {
        self.role = role;
        if role == Role::Client {
            for attempt in &mut self.live {
                attempt.engine.set_active(true);
            }
        }
    }

    pub(super) fn iter(&self) -> std::slice::Iter<'_, Attempt> {
        self.live.iter()
    }

    /// The attempt that is the connection, once there is one; the oldest before.
    pub(super) fn first(&mut self) -> Option<&mut Attempt> {
        self.live.first_mut()
    }

    pub(super) fn get(&mut self, number: u32) -> Option<&mut Attempt> {
        self.live
            .iter_mut()
            .find(|attempt| attempt.number == number)
    }

    pub(super) fn numbers(&self) -> Vec<u32> {
        self.live.iter().map(|attempt| attempt.number).collect()
    }

    fn last(&self) -> Option<u32> {
        self.live.last().map(|attempt| attempt.number)
    }

    /// Whether an attempt sends again what is not answered. Of a client only the last does: what
    /// the others say would disturb the server's part in it.
    pub(super) fn runs(&self, attempt: &Attempt) -> bool {
        !attempt.has_failed && (self.role == Role::Server || self.last() == Some(attempt.number))
    }

    /// The attempt with this number is the connection.
    pub(super) fn settle_on(&mut self, number: u32) {
        self.live.retain(|attempt| attempt.number == number);
        self.retired.clear();
        self.restart_at = None;
    }

    /// An attempt has failed; a client with no other makes one.
    pub(super) fn give_up(&mut self, now: Instant, number: u32) {
        if let Some(attempt) = self.get(number) {
            attempt.has_failed = true;
        }
        if self.live.iter().all(|attempt| attempt.has_failed) {
            self.plan_restart(now);
        }
    }

    /// Which attempt a hello is for. A server makes a new one for a new ClientHello.
    pub(super) fn place(&mut self, now: Instant, hello: Hello, counters: &mut Counters) -> Place {
        if hello.is_client != (self.role == Role::Server) {
            counters.count("dtls.hello_of_other_role");
            return Place::Nobody;
        }
        let mut taken = self.live.iter().flat_map(|attempt| attempt.hellos());
        if hello.is_client && taken.any(|taken| taken.is_renumbered(&hello)) {
            // An engine would keep it for later, and fall over it.
            counters.count("dtls.renumbered_hello");
            return Place::Nobody;
        }
        let matching = |wanted: Match| {
            let mut newest_first = self.live.iter().rev();
            let found = newest_first.find(|attempt| attempt.compare(&hello) == wanted);
            found.map(|attempt| attempt.number)
        };
        let known = matching(Match::Same);
        let next = matching(Match::Next);
        if known.is_none() && self.role == Role::Client {
            if self.retired.iter().any(|known| known.is_same(&hello)) {
                counters.count("dtls.hello_of_earlier_attempt");
                return Place::Nobody;
            }
            if next.is_none() {
                // Two answers to one hello: one of them is not the server's. Neither is one to
                // the next.
                counters.count("dtls.contradicting_hello");
                self.remember(hello);
                self.plan_restart(now + RETRANSMIT_AFTER);
                return Place::Nobody;
            }
        }
        let found = known.or(next);
        if found.is_none() && hello.sequence != 0 {
            counters.count("dtls.second_hello_first");
            return Place::Nobody;
        }
        let number = found.or_else(|| self.make(now, counters));
        let Some(attempt) = number.and_then(|number| self.get(number)) else {
            return Place::Nobody;
        };
        attempt.note_hello(now, hello);
        let number = attempt.number;
        if known.is_some() {
            return Place::Known(number);
        }
        self.plan_restart(now + STALLED_AFTER);
        Place::New(number)
    }

    /// Which attempts a part of a handshake in the clear is for that does not say whose it is.
    pub(super) fn takers(&self, part: &Part) -> Vec<u32> {
        let takes = |attempt: &&Attempt| match part {
            Part::Hello(_) => false,
            Part::RestOfHello { sequence } => {
                let is_its = self.role == Role::Server || self.last() == Some(attempt.number);
                is_its && attempt.awaits_rest(*sequence)
            }
            // DTLS 1.3 encrypts all that follows the hellos.
            Part::Later => attempt.has_hello() && !attempt.is_dtls_1_3(),
        };
        let takers = self.live.iter().filter(takes);
        takers.map(|attempt| attempt.number).collect()
    }

    /// A client begins anew, beside what is under way.
    pub(super) fn restart(&mut self, now: Instant, counters: &mut Counters) -> Option<u32> {
        self.restart_at = None;
        let number = self.make(now, counters)?;
        counters.count("dtls.restarted");
        self.get(number)?.engine.set_active(true);
        Some(number)
    }

    /// Makes another attempt, for which the one makes way that was spoken to longest ago.
    fn make(&mut self, now: Instant, counters: &mut Counters) -> Option<u32> {
        let max = match self.role {
            Role::Client => CLIENT_ATTEMPTS_MAX,
            Role::Server => SERVER_ATTEMPTS_MAX,
        };
        if self.made >= max {
            counters.count("dtls.too_many_attempts");
            return None;
        }
        if self.live.len() >= self.settings.attempts_live_max() {
            let rank = |at: &usize| {
                let attempt = &self.live[*at];
                (!attempt.has_failed, attempt.hello_at)
            };
            if let Some(oldest) = (0..self.live.len()).min_by_key(rank) {
                let attempt = self.live.remove(oldest);
                self.retire(attempt);
            }
        }
        let number = self.made;
        self.made += 1;
        let mut attempt = Attempt::new(number, &self.settings, &self.certificate, now);
        // An engine that was never told the time panics at a ClientHello.
        let _ = attempt.engine.handle_timeout(now);
        self.live.push(attempt);
        Some(number)
    }

    fn retire(&mut self, attempt: Attempt) {
        for hello in attempt.into_hellos() {
            self.remember(hello);
        }
    }

    fn remember(&mut self, hello: Hello) {
        if self.retired.len() >= RETIRED_MAX {
            self.retired.pop_front();
        }
        self.retired.push_back(hello);
    }

    /// A client sends another ClientHello at `at`, if nothing is complete by then.
    fn plan_restart(&mut self, at: Instant) {
        if self.role == Role::Client && self.made < CLIENT_ATTEMPTS_MAX {
            let last = self.live.last().map(|attempt| attempt.made_at);
            let at = last.map_or(at, |made_at| at.max(made_at + RETRANSMIT_AFTER));
            self.restart_at = Some(self.restart_at.map_or(at, |planned| planned.min(at)));
        }
    }
}
