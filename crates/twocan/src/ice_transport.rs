//! `RTCIceTransport` (W3C webrtc-pc §5.6).

use std::sync::Arc;

use twocan_proto::ice::{GatheringState, Role};
use twocan_proto::negotiate::IceParameters;
use twocan_proto::peer::{IceTransportState, RemoteCandidateInit, SelectedCandidatePair};

use crate::error::Error;
use crate::ortc;
use crate::peer_connection::{IceCandidate, Owner, PeerConnection};

/// `RTCIceComponent`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IceComponent {
    /// `rtp`: RTP, with RTCP in between (RFC 5761).
    Rtp,
    /// `rtcp`: RTCP apart, which this stack never has.
    Rtcp,
}

/// `RTCIceCandidatePair`: both ends of the way that data takes.
///
/// ```no_run
/// # fn example(peer: &twocan::PeerConnection) -> Result<(), twocan::Error> {
/// if let Some(pair) = peer.ice_transport().selected_candidate_pair() {
///     let (local, remote) = (pair.local.parsed()?, pair.remote.parsed()?);
///     println!("from {} ({:?}) to {} ({:?})", local.ip, local.kind, remote.ip, remote.kind);
/// }
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IceCandidatePair {
    /// `local`. With [`Configuration::hide_host_addresses`](crate::Configuration::hide_host_addresses)
    /// it has a name in place of an address, as the other side was told it.
    pub local: IceCandidate,
    /// `remote`.
    pub remote: IceCandidate,
}

/// `RTCIceTransport`: the way to the other side, which all tracks and channels of a connection share.
/// Cheap to clone.
///
/// What changes is told by [`PeerConnectionEvent`](crate::PeerConnectionEvent):
/// `IceConnectionStateChange` is its `statechange`, `IceGatheringStateChange` its
/// `gatheringstatechange`, `SelectedCandidatePairChange` its `selectedcandidatepairchange`.
#[derive(Debug, Clone)]
pub struct IceTransport {
    owner: Arc<Owner>,
}

impl IceTransport {
    /// `role`; `None`, for `unknown`, before there is a local description.
    pub fn role(&self) -> Option<Role> {
        let state = self.owner.shared.lock();
        let parameters = state.peer.local_ice_parameters();
        parameters.map(|_| state.peer.ice_role())
    }

    /// `component`: [`IceComponent::Rtp`], as RTCP is always in between.
    pub fn component(&self) -> IceComponent {
        IceComponent::Rtp
    }

    /// `state`.
    pub fn state(&self) -> IceTransportState {
        self.owner.shared.lock().peer.ice_transport_state()
    }

    /// `gatheringState`.
    pub fn gathering_state(&self) -> GatheringState {
        self.owner.shared.lock().peer.ice_gathering_state()
    }

    /// `getLocalCandidates`: those that were told by
    /// [`PeerConnectionEvent::IceCandidate`](crate::PeerConnectionEvent::IceCandidate), as far as
    /// their addresses are still there.
    pub fn local_candidates(&self) -> Vec<IceCandidate> {
        let told = self.owner.shared.lock().peer.told_candidates();
        told.into_iter().map(Into::into).collect()
    }

    /// `getRemoteCandidates`: those of the newest remote description, and those added since.
    pub fn remote_candidates(&self) -> Vec<IceCandidate> {
        let stated = self.owner.shared.lock().peer.remote_candidates();
        stated.into_iter().map(Into::into).collect()
    }

    /// `getSelectedCandidatePair`; `None` while data has no way. In an ICE restart the pair from
    /// before it, until there is a new one.
    pub fn selected_candidate_pair(&self) -> Option<IceCandidatePair> {
        let pair = self.owner.shared.lock().peer.selected_candidate_pair();
        pair.map(Into::into)
    }

    /// `getLocalParameters`, once there is a local description.
    pub fn local_parameters(&self) -> Option<IceParameters> {
        self.owner.shared.lock().peer.local_ice_parameters()
    }

    /// `getRemoteParameters`, once there is a remote description.
    pub fn remote_parameters(&self) -> Option<IceParameters> {
        self.owner.shared.lock().peer.remote_ice_parameters()
    }
}

impl PeerConnection {
    /// `iceTransport` of the `RTCDtlsTransport` of every sender, every receiver and `sctp`: they
    /// share one, which is there from the beginning.
    pub fn ice_transport(&self) -> IceTransport {
        let owner = Arc::clone(&self.owner);
        IceTransport { owner }
    }
}

impl IceCandidate {
    /// What its line says: `address`, `port`, `protocol`, `type` and the other attributes of
    /// `RTCIceCandidate` (W3C webrtc-pc §4.8.1).
    ///
    /// # Errors
    /// `SyntaxError` where the line is empty, malformed, or of a protocol or type that is not used.
    pub fn parsed(&self) -> Result<ortc::IceCandidate, Error> {
        self.candidate.parse()
    }
}

impl From<SelectedCandidatePair> for IceCandidatePair {
    fn from(pair: SelectedCandidatePair) -> Self {
        Self {
            local: pair.local.into(),
            remote: pair.remote.into(),
        }
    }
}

impl From<RemoteCandidateInit> for IceCandidate {
    fn from(init: RemoteCandidateInit) -> Self {
        Self {
            candidate: init.candidate,
            sdp_mid: init.sdp_mid,
            sdp_m_line_index: init.sdp_m_line_index,
            username_fragment: init.username_fragment,
            url: None,
            relay_protocol: None,
        }
    }
}
