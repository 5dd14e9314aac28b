//! Doubt about the selected pair: the peer may have moved, or a translator on the way may have
//! forgotten us. The pair is asked, and makes way for another that lives.

use std::time::{Duration, Instant};

use super::Event;
use super::agent::Agent;
use super::check::Purpose;
use super::consent::MOVE_LASTS;
use super::pair::{Pair, PairId};
use crate::time::Deadline;

/// A selected pair that is in doubt and does not answer for so long, or for two of its round trips
/// where that is longer, is left: the third question's time.
const DOUBT_LASTS: Duration = Duration::from_millis(400);

/// The same where the peer's data comes by another pair, which shows that it lives; and one and a
/// half of its round trips.
const DOUBT_LASTS_ELSEWHERE: Duration = Duration::from_millis(300);

/// Where nothing but quiet casts doubt, it takes longer until the pair is left for a worse kind of
/// way: the fourth question's time. Of few questions, heavy loss takes all now and then.
const DOUBT_LASTS_FOR_WORSE: Duration = Duration::from_millis(500);

/// From the first question to the others; each further one comes at twice the time.
const ASK_AGAIN_AFTER: [Duration; 3] = [
    Duration::from_millis(200),
    DOUBT_LASTS,
    DOUBT_LASTS_FOR_WORSE,
];

/// Data that has come, and comes no more for so long, casts doubt: calls send every 20 ms to
/// 100 ms.
const QUIET: Duration = Duration::from_millis(200);

/// Data that has come elsewhere alone for so long casts doubt, and no sooner than so long and a
/// round trip after a change of route: the other side must hear of that first.
const ELSEWHERE: Duration = Duration::from_millis(100);

/// Between two doubts for one of those reasons: data may come at any pace and by any way.
const QUIET_PAUSE: Duration = Duration::from_secs(1);

/// Why there is doubt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reason {
    /// The peer has an address that it did not have before.
    NewAddress,
    /// Data has ceased to come.
    Quiet,
    /// Data comes by another pair alone: the peer may have lost its end of the selected one.
    Elsewhere,
}

/// What is in doubt.
#[derive(Debug, Clone, Copy)]
pub(super) struct Doubt {
    reason: Reason,
    since: Instant,
    /// When the pair may be left.
    leaves_at: Instant,
    /// That moment has come.
    may_leave: bool,
    /// Questions so far.
    asked: u32,
}

impl Doubt {
    /// Whether a question has gone unanswered for long enough to be asked again.
    pub(super) const fn is_unanswered(&self) -> bool {
        self.asked > 1
    }

    /// When the next question is due.
    fn ask_at(&self) -> Instant {
        let further = self.asked as usize;
        let after = match ASK_AGAIN_AFTER.get(further.saturating_sub(1)) {
            Some(after) => *after,
            None => DOUBT_LASTS_FOR_WORSE * (1 << (further - ASK_AGAIN_AFTER.len()).min(16)),
        };
        self.since + after
    }
}

/// What is known of the data that comes.
#[derive(Debug, Default)]
pub(super) struct Hearing {
    /// The last of it.
    data_at: Option<Instant>,
    /// The last that was followed by quiet, and when that cast doubt.
    doubted: Option<(Instant, Instant)>,
    /// When data that came elsewhere alone last cast doubt.
    doubted_elsewhere: Option<Instant>,
    /// When the route became another.
    pub(super) routed_at: Option<Instant>,
}

impl Agent {
    /// Data came, on the route in use or on the one that the peer uses.
    #[inline]
    pub(super) fn hear(&mut self, now: Instant) {
        self.hearing.data_at = Some(now);
        // The quiet after it must not wait for what is due much later.
        let is_late = self.deadline.is_none_or(|own| own.at > now + QUIET_PAUSE);
        if is_late && !self.config.lite {
            let quiet = Some(Deadline::new(now + QUIET, "ice.quiet"));
            self.deadline = Deadline::earlier(self.deadline, quiet);
        }
    }

    /// Data came by another pair than the one in use. A peer that is controlled leaves a pair whose
    /// end it has lost for another that is valid, of which nothing but its data tells.
    pub(super) fn hear_elsewhere(&mut self, now: Instant) {
        let Some(used) = self.used_pair() else {
            return;
        };
        let heard_at = self.heard_at.map(|at| at + ELSEWHERE);
        let followed_at = self.hearing.routed_at;
        let followed_at = followed_at.map(|at| at + ELSEWHERE + self.round_trip(used));
        let paused_until = self.hearing.doubted_elsewhere.map(|at| at + QUIET_PAUSE);
        let at = heard_at.max(followed_at).max(paused_until);
        if self.doubt.is_none() && at.is_none_or(|at| at <= now) {
            self.hearing.doubted_elsewhere = Some(now);
            self.begin_doubt(now, Some(used), Reason::Elsewhere);
            self.settle(now);
        }
    }

    /// The last one that is known of a pair.
    fn round_trip(&self, id: PairId) -> Duration {
        let stats = self.pair(id).map(|pair| pair.stats);
        let known = stats.and_then(|own| own.current_round_trip_time);
        known.unwrap_or_default()
    }

    /// When the quiet since the last data casts doubt.
    pub(super) fn quiet_at(&self) -> Option<Instant> {
        let data_at = self.hearing.data_at?;
        let doubted = self.hearing.doubted;
        let is_new = doubted.is_none_or(|(of, _)| of < data_at);
        let can_doubt = self.route.is_some() && self.doubt.is_none() && !self.config.lite;
        let paused_until = doubted.map(|(_, at)| at + QUIET_PAUSE);
        (is_new && can_doubt).then(|| paused_until.max(Some(data_at + QUIET)))?
    }

    /// Casts doubt where data has ceased to come.
    pub(super) fn notice_quiet(&mut self, now: Instant) {
        if self.quiet_at().is_some_and(|at| at <= now)
            && let Some(data_at) = self.hearing.data_at
        {
            self.hearing.doubted = Some((data_at, now));
            self.begin_doubt(now, self.used_pair(), Reason::Quiet);
        }
    }

    /// The peer has an address that it did not have before: the selected pair may lead to nobody.
    pub(super) fn doubt_selected(&mut self, now: Instant) {
        match &mut self.doubt {
            Some(doubt) => doubt.reason = Reason::NewAddress,
            None => self.begin_doubt(now, self.selected, Reason::NewAddress),
        }
    }

    fn begin_doubt(&mut self, now: Instant, pair: Option<PairId>, reason: Reason) {
        if let Some(id) = pair.filter(|_| !self.config.lite) {
            let round_trip = self.round_trip(id);
            let lasts = match reason {
                Reason::Elsewhere => DOUBT_LASTS_ELSEWHERE.max(round_trip * 3 / 2),
                Reason::Quiet | Reason::NewAddress => DOUBT_LASTS.max(round_trip * 2),
            };
            self.doubt = Some(Doubt {
                reason,
                since: now,
                leaves_at: now + lasts,
                may_leave: false,
                asked: 1,
            });
            self.send_request(now, id, Purpose::Consent);
        }
    }

    /// The selected pair, or the one that carries the data before there is one.
    fn used_pair(&self) -> Option<PairId> {
        let on_route = |agent: &Self| agent.pair_on(agent.route?);
        self.selected.or_else(|| on_route(self))
    }

    /// A selected pair in doubt that does not answer makes way for another that is valid.
    pub(super) fn resolve_doubt(&mut self, now: Instant) {
        let Some(mut doubt) = self.doubt else {
            return;
        };
        doubt.may_leave |= now >= doubt.leaves_at;
        self.doubt = Some(doubt);
        let since = doubt.since;
        let selected = self.used_pair().and_then(|id| self.pair(id));
        let Some(selected) = selected else {
            self.doubt = None;
            return;
        };
        let (id, base, rank) = (selected.id, selected.base, self.rank(selected));
        let may_worsen = doubt.reason != Reason::Quiet || now >= since + DOUBT_LASTS_FOR_WORSE;
        let is_fit = |pair: &Pair| may_worsen || self.rank(pair) >= rank;
        let is_alive = |pair: &Pair| pair.heard_at.max(pair.answered_at) > Some(since);
        let is_way =
            |pair: &Pair| pair.id != id && pair.is_valid() && is_alive(pair) && is_fit(pair);
        if selected.answered_at.is_some_and(|at| at > since) {
            self.doubt = None;
        } else if doubt.may_leave && self.pairs.iter().any(is_way) {
            self.doubt = None;
            self.counters.count("ice.peer_moved");
            self.fail(id);
            // What was valid before may lead to the same nowhere: it is checked anew.
            for pair in &mut self.pairs {
                if pair.is_valid() && !is_alive(pair) {
                    pair.state = super::PairState::Waiting;
                    pair.nominated = false;
                }
            }
            self.select(now);
        } else if now >= since + MOVE_LASTS {
            self.doubt = None;
        } else if now >= doubt.ask_at() {
            let asked = doubt.asked + 1;
            self.doubt = Some(Doubt { asked, ..doubt });
            self.send_request(now, id, Purpose::Consent);
            self.ask_others(now, id);
            // A translator that has forgotten us has given us another address, which the peer
            // must hear of where its own lets nobody in; and relays know us by the old one.
            if asked % 2 == 0 {
                self.gather_anew(now, base);
                self.events.push_back(Event::Doubt);
            }
        }
    }

    /// Asks valid pairs other than the one in doubt, the best of each family and kind of way:
    /// nobody else may have asked them since they were found.
    fn ask_others(&mut self, now: Instant, in_doubt: PairId) {
        let mut seen = Vec::new();
        let mut others = Vec::new();
        for pair in &self.pairs {
            let kind = (pair.route.remote.is_ipv4(), self.rank(pair));
            if pair.id != in_doubt && pair.is_valid() && !seen.contains(&kind) {
                seen.push(kind);
                others.push(pair.id);
            }
        }
        for id in others {
            self.send_request(now, id, Purpose::Consent);
        }
    }

    /// When [`Self::resolve_doubt`] has something to do.
    pub(super) fn doubt_at(&self) -> Option<Instant> {
        let doubt = self.doubt?;
        // Once it has lasted, whatever shows that another way lives is an input of its own.
        let leaves_at = (!doubt.may_leave).then_some(doubt.leaves_at);
        let next = doubt.ask_at().min(doubt.since + MOVE_LASTS);
        Some(leaves_at.unwrap_or(next).min(next))
    }
}
