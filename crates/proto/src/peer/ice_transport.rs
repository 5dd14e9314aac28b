//! What W3C's `RTCIceTransport` shows (webrtc-pc §5.6). There is one: all sections share it.

use super::describe::to_wire;
use super::machine::Peer;
use super::{LocalCandidate, RemoteCandidateInit};
use crate::ice::{self, Kind};
use crate::negotiate::IceParameters;

/// `RTCIceTransportState` (W3C webrtc-pc §5.6.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IceTransportState {
    /// Nothing to check yet.
    New,
    /// Checking, with no valid pair so far.
    Checking,
    /// A pair is valid.
    Connected,
    /// A pair is selected, and no further candidates or checks are to come.
    Completed,
    /// Nothing is heard for the moment.
    Disconnected,
    /// All pairs failed, or consent expired.
    Failed,
    /// The connection was closed.
    Closed,
}

impl IceTransportState {
    /// The W3C name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::New => ice::State::New.as_str(),
            Self::Checking => ice::State::Checking.as_str(),
            Self::Connected => ice::State::Connected.as_str(),
            Self::Completed => ice::State::Completed.as_str(),
            Self::Disconnected => ice::State::Disconnected.as_str(),
            Self::Failed => ice::State::Failed.as_str(),
            Self::Closed => "closed",
        }
    }
}

/// `RTCIceCandidatePair`: both candidates of the way that data takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SelectedCandidatePair {
    /// `local`, as the other side is told of it: with a name in place of an address that is hidden.
    /// Where the other side sees another address of ours than was gathered, that one.
    pub local: LocalCandidate,
    /// `remote`. One of which nothing was told but that its checks came is peer-reflexive.
    pub remote: RemoteCandidateInit,
}

impl Peer {
    /// `state`.
    pub fn ice_transport_state(&self) -> IceTransportState {
        if self.is_closed() {
            return IceTransportState::Closed;
        }
        match self.transport.ice.state() {
            ice::State::New => IceTransportState::New,
            ice::State::Checking => IceTransportState::Checking,
            ice::State::Connected => IceTransportState::Connected,
            ice::State::Completed => IceTransportState::Completed,
            ice::State::Disconnected => IceTransportState::Disconnected,
            ice::State::Failed => IceTransportState::Failed,
        }
    }

    /// `getSelectedCandidatePair`; `None` while data has no way, and in a restart the pair from before
    /// it until there is a new one.
    pub fn selected_candidate_pair(&self) -> Option<SelectedCandidatePair> {
        let pair = self.transport.ice.selected_pair()?;
        let section = self.local_candidate(String::new());
        Some(SelectedCandidatePair {
            local: self.shown(&pair.local)?,
            remote: RemoteCandidateInit {
                candidate: to_wire(&pair.remote).to_string(),
                sdp_mid: section.sdp_mid,
                sdp_m_line_index: section.sdp_m_line_index,
                username_fragment: self
                    .remote_ice_parameters()
                    .map(|own| own.username_fragment),
            },
        })
    }

    /// `selectedCandidatePairChanges` of `RTCTransportStats` (webrtc-stats §8.11).
    pub fn selected_candidate_pair_changes(&self) -> u64 {
        self.transport.ice.selected_pair_changes()
    }

    /// `getLocalCandidates`: those that [`Event::IceCandidate`](super::Event::IceCandidate) told of,
    /// as far as they are still there; none before there is a local description.
    pub fn told_candidates(&self) -> Vec<LocalCandidate> {
        if self.negotiator.local_description(&[], false).is_none() {
            return Vec::new();
        }
        let gathered = self.transport.ice.local_candidates().iter();
        let gathered = gathered.filter(|own| own.kind != Kind::PeerReflexive);
        gathered.filter_map(|own| self.shown(own)).collect()
    }

    /// `getRemoteCandidates`: those of the newest remote description, and those that were added to it
    /// since. Each once, though several sections state it.
    pub fn remote_candidates(&self) -> Vec<RemoteCandidateInit> {
        let stated = self.negotiator.stated_candidates().into_iter();
        let stated = stated.map(|own| RemoteCandidateInit {
            candidate: own.candidate,
            sdp_mid: own.mid,
            sdp_m_line_index: Some(own.index),
            username_fragment: own.username_fragment,
        });
        stated.collect()
    }

    /// A candidate of ours as events tell of it.
    pub(super) fn shown(&self, candidate: &ice::Candidate) -> Option<LocalCandidate> {
        let told = self.told(candidate)?;
        let (url, relay_protocol) = self.origin(candidate);
        Some(LocalCandidate {
            url,
            relay_protocol,
            ..self.local_candidate(told.to_string())
        })
    }

    /// `getLocalParameters` of the `RTCIceTransport`, once there is a local description.
    pub fn local_ice_parameters(&self) -> Option<IceParameters> {
        self.negotiator.local_ice()
    }

    /// `getRemoteParameters` of the `RTCIceTransport`, once there is a remote description; by hand
    /// once ICE was started.
    pub fn remote_ice_parameters(&self) -> Option<IceParameters> {
        if let Some(hand) = &self.by_hand {
            return hand.remote_ice.clone();
        }
        self.negotiator.remote_ice()
    }

    /// `role` of the `RTCIceTransport`.
    pub fn ice_role(&self) -> ice::Role {
        self.transport.ice.role()
    }
}
