//! The pair that data takes, as W3C's `RTCIceTransport` shows it (webrtc-pc §5.6).

use super::agent::Agent;
use super::candidate::priority;
use super::pair::PairId;
use super::{Candidate, Event, Kind, Route};

/// `RTCIceCandidatePair`: both candidates of a pair.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CandidatePair {
    /// Ours: where the other side sees us, once it has said so (RFC 8445 §7.2.5.3.2).
    pub local: Candidate,
    /// The other side's.
    pub remote: Candidate,
}

/// What was last said about the pair.
#[derive(Debug, Default)]
pub(super) struct Selection {
    said: Option<(Route, PairId)>,
    /// Of the generation before a restart, whose route carries data until there is a new one.
    before: Option<Box<CandidatePair>>,
    changes: u64,
}

impl Agent {
    /// The candidates of [`Self::route`].
    pub fn selected_pair(&self) -> Option<CandidatePair> {
        let Some(pair) = self.pair_on(self.route?).and_then(|id| self.pair(id)) else {
            return self.selection.before.as_deref().cloned();
        };
        let remote = self.remotes.get(pair.remote)?.clone();
        let base = self.bases.get(pair.base)?;
        let (at, is_tcp) = (pair.route.path.local, base.tcp.is_some());
        let known = |address| self.locals.iter().find(|own| own.is_at(address, is_tcp));
        let seen = pair.seen_as.and_then(known);
        let local = seen.or_else(|| known(self.shown(at))).cloned();
        let local = local.unwrap_or_else(|| Candidate {
            kind: base.kind,
            address: at,
            tcp: base.tcp,
            related: (base.kind == Kind::Relayed).then_some(at),
            priority: priority(base.kind, base.tcp, base.local_preference),
            foundation: base.foundation.clone(),
            server: None,
        });
        Some(CandidatePair { local, remote })
    }

    /// How often another pair was selected, or none any more.
    pub fn selected_pair_changes(&self) -> u64 {
        self.selection.changes
    }

    /// The pairs of a generation go, and its route stays.
    pub(super) fn keep_selected_pair(&mut self) {
        self.selection.before = self.selected_pair().map(Box::new);
    }

    /// Says what has changed. A restart to the same addresses selects another pair.
    pub(super) fn say_selected_pair(&mut self) {
        let selected = match self.route {
            None => None,
            Some(route) => match self.pair_on(route) {
                Some(id) => Some((route, id)),
                None => self.selection.said,
            },
        };
        if selected.is_none_or(|(route, _)| self.pair_on(route).is_some()) {
            self.selection.before = None;
        }
        if selected != self.selection.said {
            self.selection.said = selected;
            self.selection.changes += 1;
            let route = selected.map(|(route, _)| route);
            self.events.push_back(Event::SelectedPair(route));
        }
    }
}
