//! When ICE is to be restarted. Both sides watch; perfect negotiation sorts out restarts that
//! cross.

use std::time::{Duration, Instant};

use twocan_proto::ice;
use twocan_proto::peer::ConnectionState;

use super::peer::PeerState;

/// `disconnected` often mends itself; after this long it gets a restart.
const UNSTABLE: Duration = Duration::from_secs(4);

/// A connection that has not come up after this long gets a restart.
const CONNECT_WITHIN: Duration = Duration::from_secs(12);

/// Between two restarts.
const RESTART_EVERY: Duration = Duration::from_secs(7);

/// After so long without a connection it counts as failed. It is tried on after that.
const FAILED_AFTER: Duration = Duration::from_secs(20);

/// As a rule one of both restarts: the polite side waits a little longer.
const MANNERS: Duration = Duration::from_secs(1);

/// Two looks are at least this far apart.
const LOOK_EVERY: Duration = Duration::from_millis(50);

#[derive(Debug)]
pub(super) struct Watch {
    manners: Duration,
    may_restart: bool,
    down_since: Option<Instant>,
    restarted_at: Option<Instant>,
}

/// What a look found.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Look {
    pub(super) state: PeerState,
    pub(super) restart: bool,
    pub(super) again_at: Option<Instant>,
}

impl Watch {
    /// A base peer takes no second offer, so that nothing can be restarted with it.
    pub(super) fn new(is_polite: bool, may_restart: bool) -> Self {
        Self {
            manners: if is_polite { MANNERS } else { Duration::ZERO },
            may_restart,
            down_since: None,
            restarted_at: None,
        }
    }

    pub(super) fn look(&mut self, now: Instant, peer: ConnectionState, ice: ice::State) -> Look {
        let still = |state| Look {
            state,
            restart: false,
            again_at: None,
        };
        match peer {
            ConnectionState::Connected => {
                self.down_since = None;
                self.restarted_at = None;
                return still(PeerState::Connected);
            }
            ConnectionState::Closed => return still(PeerState::Closed),
            ConnectionState::New
            | ConnectionState::Connecting
            | ConnectionState::Disconnected
            | ConnectionState::Failed => {}
        }
        let down_since = *self.down_since.get_or_insert(now);
        let is_failed = peer == ConnectionState::Failed || ice == ice::State::Failed;
        let is_disconnected =
            peer == ConnectionState::Disconnected || ice == ice::State::Disconnected;
        let patience = match (is_failed, is_disconnected) {
            (true, _) => Duration::ZERO,
            (false, true) => UNSTABLE,
            (false, false) => CONNECT_WITHIN,
        };
        let due = |restarted_at: Option<Instant>| match restarted_at {
            None => down_since + patience + self.manners,
            Some(at) => at + RESTART_EVERY.max(patience) + self.manners,
        };
        let restart = self.may_restart && now >= due(self.restarted_at);
        if restart {
            self.restarted_at = Some(now);
        }
        let fails_at = down_since + FAILED_AFTER;
        let state = if now >= fails_at {
            PeerState::Failed
        } else if is_failed || is_disconnected {
            PeerState::Unstable
        } else {
            PeerState::Connecting
        };
        let restarts_at = self.may_restart.then(|| due(self.restarted_at));
        let fails_at = (now < fails_at).then_some(fails_at);
        let next = [restarts_at, fails_at].into_iter().flatten().min();
        Look {
            state,
            restart,
            again_at: next.map(|at| at.max(now + LOOK_EVERY)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ConnectionState as C;

    #[test]
    fn a_failed_connection_restarts_at_once_and_then_at_intervals() {
        let start = Instant::now();
        let mut watch = Watch::new(false, true);
        let mut look = |ms| {
            watch.look(
                start + Duration::from_millis(ms),
                C::Failed,
                ice::State::Failed,
            )
        };
        assert!(look(0).restart);
        assert!(!look(6_999).restart);
        assert!(look(7_000).restart);
        let last = look(20_000);
        assert_eq!(last.state, PeerState::Failed);
        assert!(last.restart, "it is tried on");
    }

    #[test]
    fn the_polite_side_waits_a_little_longer() {
        let start = Instant::now();
        let mut watch = Watch::new(true, true);
        let look = watch.look(start, C::Disconnected, ice::State::Disconnected);
        assert_eq!(look.state, PeerState::Unstable);
        assert!(!look.restart);
        assert_eq!(look.again_at, Some(start + UNSTABLE + MANNERS));
        assert!(
            watch
                .look(
                    start + UNSTABLE + MANNERS,
                    C::Disconnected,
                    ice::State::Disconnected
                )
                .restart
        );
    }

    #[test]
    fn a_connection_that_is_up_forgets_its_troubles() {
        let start = Instant::now();
        let mut watch = Watch::new(false, true);
        assert!(watch.look(start, C::Failed, ice::State::Failed).restart);
        let up = watch.look(
            start + Duration::from_secs(1),
            C::Connected,
            ice::State::Connected,
        );
        assert_eq!((up.state, up.again_at), (PeerState::Connected, None));
        assert!(
            watch
                .look(
                    start + Duration::from_secs(2),
                    C::Failed,
                    ice::State::Failed
                )
                .restart
        );
    }

    #[test]
    fn a_base_peer_is_never_restarted() {
        let start = Instant::now();
        let mut watch = Watch::new(false, false);
        for seconds in 0..60 {
            let now = start + Duration::from_secs(seconds);
            assert!(!watch.look(now, C::Failed, ice::State::Failed).restart);
        }
    }
}
