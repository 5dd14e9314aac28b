//! What there is to tell about a running peer.

use std::net::SocketAddr;

use super::machine::Peer;
use crate::dtls::Version;
use crate::ice::{Candidate, PairState, PairStats, Route};
use crate::keying::SrtpProfile;
use crate::rtp::{InboundStats, OutboundStats};

impl Peer {
    /// The DTLS version agreed on, once connected.
    pub fn dtls_version(&self) -> Option<Version> {
        self.transport.dtls_version()
    }

    /// The SRTP profile agreed on, once connected.
    pub fn srtp_profile(&self) -> Option<SrtpProfile> {
        self.transport.srtp_profile()
    }

    /// Where data goes at present.
    pub fn route(&self) -> Option<Route> {
        self.transport.ice.route()
    }

    /// Whether media can be sent: the keys are there.
    pub fn can_send_media(&self) -> bool {
        self.transport.has_keys()
    }

    /// Candidate pairs, best first: local base, remote candidate, state, whether selected, counts.
    pub fn candidate_pairs(
        &self,
    ) -> impl Iterator<Item = (SocketAddr, &Candidate, PairState, bool, PairStats)> + '_ {
        self.transport.ice.pairs()
    }

    /// What is sent, by section.
    pub fn outbound_stats(&self) -> Vec<OutboundStats> {
        self.transport.rtp.outbound_stats().cloned().collect()
    }

    /// What is received, by source.
    pub fn inbound_stats(&self) -> Vec<InboundStats> {
        self.transport.rtp.inbound_stats().collect()
    }
}
