//! `RTCIceGatherer` and `RTCIceTransport`.

use std::sync::Arc;

use twocan_io::clock;
use twocan_proto::ice::{GatheringState, Role, State};
use twocan_proto::negotiate::IceParameters as Credentials;
use twocan_proto::peer::IceCandidateError;
use twocan_proto::peer::ortc::IceParameters;

use super::IceCandidate;
use crate::configuration::Configuration;
use crate::error::Error;
use crate::peer_connection::{Owner, PeerConnectionEvent as E};
use crate::state::{Pending, State as Shared};
use crate::stats::StatsReport;

/// `RTCIceGatherer`: our addresses, and the beginning of a connection. Cheap to clone.
///
/// One gatherer has one transport: there is no forking.
#[derive(Debug, Clone)]
pub struct IceGatherer {
    pub(super) owner: Arc<Owner>,
}

impl IceGatherer {
    /// A connection that has not begun. Starts a task on the present tokio runtime. The certificate
    /// of the [`DtlsTransport`](super::DtlsTransport) is that of the configuration; what the
    /// configuration says of descriptions does not count.
    ///
    /// # Errors
    /// As [`PeerConnection::new`](crate::PeerConnection::new).
    ///
    /// # Panics
    /// Outside of a tokio runtime, as `tokio::spawn` does.
    pub fn new(configuration: Configuration) -> Result<Self, Error> {
        let owner = Owner::begin(configuration, true)?;
        Ok(Self { owner })
    }

    /// `gather`: once only, further calls change nothing.
    ///
    /// # Errors
    /// `InvalidStateError` when closed.
    pub fn gather(&self) -> Result<(), Error> {
        let now = clock::now();
        Ok(self.owner.act(|state| state.peer.gather_candidates(now))?)
    }

    /// `getLocalParameters`: what the other side's `start` is to be given. While a
    /// [restart](IceTransport::restart) waits for the other side's, the new ones.
    pub fn local_parameters(&self) -> IceParameters {
        self.owner.shared.lock().peer.gatherer_parameters()
    }

    /// `getLocalCandidates`: those that were gathered so far.
    pub fn local_candidates(&self) -> Vec<IceCandidate> {
        let gathered = self.owner.shared.lock().peer.gathered_candidates();
        gathered.into_iter().filter_map(IceCandidate::of).collect()
    }

    /// `state`.
    pub fn state(&self) -> GatheringState {
        self.owner.shared.lock().peer.ice_gathering_state()
    }

    /// Waits until everything is gathered, or the connection is closed, then
    /// [`Self::local_candidates`]: for those who do not trickle.
    pub async fn gathered(&self) -> Vec<IceCandidate> {
        let shared = &self.owner.shared;
        shared
            .until(|state| {
                let is_over = state.peer.ice_gathering_state() == GatheringState::Complete;
                (is_over || state.finished).then_some(())
            })
            .await;
        self.local_candidates()
    }

    /// `onlocalcandidate`: the next candidate to tell the other side. `None` stands for
    /// `RTCIceCandidateComplete`, and for the end of the connection; after a restart all come again.
    pub async fn next_candidate(&self) -> Option<IceCandidate> {
        let shared = &self.owner.shared;
        shared
            .until(|state| {
                let is_one = |own: &Pending| matches!(own, Pending::Event(E::IceCandidate(_)));
                match take(state, is_one) {
                    Some(Pending::Event(E::IceCandidate(own))) => Some(own.candidate.parse().ok()),
                    _ => state.finished.then_some(None),
                }
            })
            .await
    }

    /// `onerror`: the next STUN or TURN server that did not help; `None` when the connection ends.
    pub async fn next_error(&self) -> Option<IceCandidateError> {
        let shared = &self.owner.shared;
        shared
            .until(|state| {
                let is_one = |own: &Pending| matches!(own, Pending::Event(E::IceCandidateError(_)));
                match take(state, is_one) {
                    Some(Pending::Event(E::IceCandidateError(error))) => Some(Some(error)),
                    _ => state.finished.then_some(None),
                }
            })
            .await
    }

    /// `getStats`, of everything on top of it as well.
    pub fn get_stats(&self) -> StatsReport {
        StatsReport::of(&self.owner.shared.lock())
    }

    /// `close`: ends everything on top of it as well.
    pub fn close(&self) {
        self.owner.act(|state| state.peer.close(clock::now()));
    }

    /// Waits until the connection is closed, by either side.
    pub async fn closed(&self) {
        let shared = &self.owner.shared;
        shared.until(|state| state.finished.then_some(())).await;
    }
}

/// Takes the first event of a kind, whatever others wait.
pub(super) fn take(state: &mut Shared, is_one: impl Fn(&Pending) -> bool) -> Option<Pending> {
    let index = state.events.iter().position(is_one)?;
    state.events.remove(index)
}

/// `RTCIceTransport`: the way to the other side. Cheap to clone.
#[derive(Debug, Clone)]
pub struct IceTransport {
    pub(super) owner: Arc<Owner>,
}

impl IceTransport {
    /// The transport of a gatherer. Each gatherer has one: two of these are the same.
    pub fn new(gatherer: &IceGatherer) -> Self {
        let owner = Arc::clone(&gatherer.owner);
        Self { owner }
    }

    /// `start`: checks begin, with the candidates known so far and those to come. One side controls,
    /// the other is controlled; facing a lite agent we control. With other parameters than before
    /// it completes a [restart](Self::restart).
    ///
    /// # Errors
    /// `InvalidStateError` when closed, and for other parameters without a restart of ours;
    /// `SyntaxError` for credentials that ICE cannot use; `InvalidAccessError` where both sides are
    /// lite.
    pub fn start(&self, remote: &IceParameters, role: Role) -> Result<(), Error> {
        let now = clock::now();
        Ok(self
            .owner
            .act(|state| state.peer.start_ice(now, remote, role))?)
    }

    /// `addRemoteCandidate`; `None` for `RTCIceCandidateComplete`. Those that come before the start
    /// are kept, 64 at most.
    ///
    /// # Errors
    /// `InvalidStateError` when closed.
    pub fn add_remote_candidate(&self, candidate: Option<&IceCandidate>) -> Result<(), Error> {
        let now = clock::now();
        let candidate = candidate.map(IceCandidate::to_wire);
        let added = |state: &mut Shared| state.peer.add_remote_candidate(now, candidate);
        Ok(self.owner.act(added)?)
    }

    /// `setRemoteCandidates`: all that the other side has, for those who do not trickle.
    ///
    /// # Errors
    /// As [`Self::add_remote_candidate`].
    pub fn set_remote_candidates(&self, candidates: &[IceCandidate]) -> Result<(), Error> {
        for candidate in candidates {
            self.add_remote_candidate(Some(candidate))?;
        }
        self.add_remote_candidate(None)
    }

    /// Begins a restart (RFC 8445 §9): new credentials of ours, which the other side is to be told
    /// with all our candidates. It does the same, and [`Self::start`] with its parameters completes
    /// the restart on each side. What runs on top goes on. In ORTC, `start` with another gatherer.
    ///
    /// # Errors
    /// `InvalidStateError` when closed, or not started.
    pub fn restart(&self) -> Result<IceParameters, Error> {
        let now = clock::now();
        self.owner.act(|state| {
            state.peer.restart_ice_transport(now)?;
            Ok(state.peer.gatherer_parameters())
        })
    }

    /// `getRemoteParameters`, once started.
    pub fn remote_parameters(&self) -> Option<Credentials> {
        self.owner.shared.lock().peer.remote_ice_parameters()
    }

    /// `role`: as it turned out, where both sides wanted the same.
    pub fn role(&self) -> Role {
        self.owner.shared.lock().peer.ice_role()
    }

    /// `state`, but for `closed`.
    pub fn state(&self) -> State {
        self.owner.shared.lock().peer.ice_connection_state()
    }

    /// `onstatechange`: waits until [`Self::state`] is another than `known`; `None` when the
    /// connection ends instead.
    pub async fn state_other_than(&self, known: State) -> Option<State> {
        let shared = &self.owner.shared;
        shared
            .until(|state| {
                if state.finished {
                    return Some(None);
                }
                let own = state.peer.ice_connection_state();
                (own != known).then_some(Some(own))
            })
            .await
    }
}
