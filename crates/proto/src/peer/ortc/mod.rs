//! A connection whose parameters are set by hand, without descriptions, in the words of ORTC
//! (<https://draft.ortc.org>).
//!
//! The parts are those of every connection. What a negotiation makes a plan of
//! ([`crate::negotiate`]) the application says itself, in whatever way the two sides exchange it:
//!
//! 1. [`Peer::gather_candidates`], [`Peer::start_ice`], [`Peer::add_remote_candidate`].
//! 2. [`Peer::start_dtls`], once the other side's fingerprints are known.
//! 3. [`Peer::start_sctp`] for data channels, which are made as always.
//! 4. [`Peer::add_rtp_sender`] and [`Peer::send_rtp`], [`Peer::add_rtp_receiver`] and
//!    [`Peer::receive_rtp`]; frames and packets go as always.
//!
//! The order is the application's. [`Config::by_hand`](super::Config::by_hand) says that it is so;
//! the calls that descriptions are made with are refused then.

mod error;
mod media;
mod parameters;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use twocan_wire::candidate::Candidate;

pub use error::{OrtcError, RtpReason};
pub use parameters::{
    DtlsParameters, DtlsRole, IceParameters, RtcpFeedback, RtpCapabilities, RtpCodecParameters,
    RtpEncodingParameters, RtpParameters,
};

use super::describe::{HELD_MAX, stated};
use super::machine::Peer;
use super::transport::Transport;
use crate::ice::{self, Credentials};
use crate::negotiate::{self, MediaPlan, RemoteCandidate, SctpPlan, TransceiverId};
use crate::time::Now;
use crate::{crypto, dtls};

/// What was set by hand.
#[derive(Debug, Default)]
pub(super) struct ByHand {
    /// Once ICE was started.
    pub(super) remote_ice: Option<negotiate::IceParameters>,
    /// What senders send and receivers receive, in the order in which they were made.
    plans: BTreeMap<TransceiverId, MediaPlan>,
    /// The same as the application has it.
    parameters: BTreeMap<TransceiverId, RtpParameters>,
}

impl Peer {
    /// Whether parameters are set by hand ([`Config::by_hand`](super::Config::by_hand)).
    pub fn is_by_hand(&self) -> bool {
        self.by_hand.is_some()
    }

    /// `gather` of the `RTCIceGatherer`: candidates come as
    /// [`Event::IceCandidate`](super::Event::IceCandidate). Once only.
    ///
    /// # Errors
    /// `InvalidStateError` when closed, or not by hand.
    pub fn gather_candidates(&mut self, now: Now) -> Result<(), OrtcError> {
        self.hand()?;
        self.gather(now);
        self.empty_pool(now);
        self.settle(now);
        Ok(())
    }

    /// `getLocalParameters` of the `RTCIceGatherer`; while a restart waits for its start, the new ones.
    pub fn gatherer_parameters(&self) -> IceParameters {
        let own = stated(self.transport.ice.local_credentials());
        IceParameters {
            username_fragment: own.username_fragment,
            password: own.password,
            ice_lite: self.negotiator.config().ice_lite,
        }
    }

    /// `getLocalCandidates`: those that were gathered so far.
    pub fn gathered_candidates(&self) -> Vec<Candidate> {
        self.gathered().0
    }

    /// `start` of the `RTCIceTransport`: checks begin with what is known of the other side. `role`
    /// counts at the first start; facing a lite agent we control, as a lite agent we do not
    /// (RFC 8445 §6.1.1). With other credentials than before it completes a restart.
    ///
    /// # Errors
    /// `InvalidStateError` when closed, not by hand, or for a restart that we do not take part in;
    /// `SyntaxError` for credentials that ICE cannot use; `InvalidAccessError` where both sides are
    /// lite.
    pub fn start_ice(
        &mut self,
        now: Now,
        remote: &IceParameters,
        role: ice::Role,
    ) -> Result<(), OrtcError> {
        let is_lite = self.negotiator.config().ice_lite;
        let is_restarting = self.transport.ice.is_restarting();
        let hand = self.hand()?;
        let parameters = negotiate::IceParameters {
            username_fragment: remote.username_fragment.clone(),
            password: remote.password.clone(),
        };
        let texts = [&parameters.username_fragment, &parameters.password];
        let is_ice = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
        if !parameters.is_valid() || !texts.iter().all(|text| text.bytes().all(is_ice)) {
            return Err(OrtcError::IceParameters);
        }
        let role = match (is_lite, remote.ice_lite) {
            (true, true) => return Err(OrtcError::BothLite),
            (true, false) => ice::Role::Controlled,
            (false, true) => ice::Role::Controlling,
            (false, false) => role,
        };
        let before = hand.remote_ice.as_ref();
        if before.is_some_and(|before| *before != parameters) && !is_restarting {
            return Err(OrtcError::NotRestarting);
        }
        let at = now.monotonic;
        if hand.remote_ice.replace(parameters.clone()).is_none() {
            self.transport.ice.set_role(at, role);
        }
        let credentials = Credentials::new(parameters.username_fragment, parameters.password);
        self.transport.ice.set_remote(at, credentials, false);
        for candidate in std::mem::take(&mut self.held) {
            self.take_candidate(now, candidate);
        }
        self.settle(now);
        Ok(())
    }

    /// `addRemoteCandidate` of the `RTCIceTransport`; `None` for `RTCIceCandidateComplete`. Those
    /// that come before [`Self::start_ice`], or while a restart waits for it, are kept: 64 at most,
    /// more are dropped and counted.
    ///
    /// # Errors
    /// `InvalidStateError` when closed, or not by hand.
    pub fn add_remote_candidate(
        &mut self,
        now: Now,
        candidate: Option<Candidate>,
    ) -> Result<(), OrtcError> {
        let waits = self.hand()?.remote_ice.is_none() || self.transport.ice.is_restarting();
        let candidate = match candidate {
            Some(candidate) => RemoteCandidate::Candidate(candidate),
            None => RemoteCandidate::EndOfCandidates,
        };
        if !waits {
            self.take_candidate(now, candidate);
        } else if self.held.len() < HELD_MAX {
            self.held.push(candidate);
        } else {
            self.counters.count("peer.too_many_held_candidates");
        }
        self.settle(now);
        Ok(())
    }

    /// Begins a restart of ICE (RFC 8445 §9), and answers with our new credentials, which the other
    /// side is to be told with all candidates, told again. The other side does the same, and
    /// [`Self::start_ice`] with its credentials completes it. Until then, and until a new route is
    /// found, the present one is kept.
    ///
    /// # Errors
    /// `InvalidStateError` when closed, not by hand, or before ICE was started.
    pub fn restart_ice_transport(
        &mut self,
        now: Now,
    ) -> Result<negotiate::IceParameters, OrtcError> {
        if self.hand()?.remote_ice.is_none() {
            return Err(OrtcError::NotStarted);
        }
        if !self.transport.ice.is_restarting() {
            let fresh = Credentials::random(&mut self.random);
            self.transport.ice.prepare_restart(now.monotonic, fresh);
            self.settle(now);
        }
        Ok(stated(self.transport.ice.local_credentials()))
    }

    /// `getLocalParameters` of the `RTCDtlsTransport`. We take whatever role is left to us, and say
    /// `auto`.
    pub fn local_dtls_parameters(&self) -> DtlsParameters {
        DtlsParameters {
            role: DtlsRole::Auto,
            fingerprints: self.negotiator.config().fingerprints.clone(),
        }
    }

    /// `start` of the `RTCDtlsTransport`, with what the other side says of itself: we take the role
    /// that it does not have. Where it says `auto`, the side that ICE lets control is the server.
    ///
    /// # Errors
    /// `InvalidStateError` when closed, not by hand, or started before; `InvalidAccessError` without
    /// a fingerprint that can be relied on.
    pub fn start_dtls(&mut self, now: Now, remote: &DtlsParameters) -> Result<(), OrtcError> {
        self.hand()?;
        if self.transport.is_started() {
            return Err(OrtcError::Started("DTLS"));
        }
        let stated = remote.fingerprints.iter();
        let known = stated.filter_map(|own| dtls::Fingerprint::new(&own.hash, own.bytes.clone()));
        let sha1 = crypto::Hash::Sha1;
        let fingerprints: Vec<_> = known.filter(|own| own.hash != sha1).collect();
        if fingerprints.is_empty() {
            return Err(OrtcError::NoFingerprint);
        }
        let role = match remote.role {
            DtlsRole::Auto => None,
            DtlsRole::Client => Some(dtls::Role::Server),
            DtlsRole::Server => Some(dtls::Role::Client),
        };
        let at = now.monotonic;
        self.transport.start_dtls(at, role, fingerprints);
        self.settle(now);
        Ok(())
    }

    /// `maxMessageSize` of the `RTCSctpCapabilities`: the longest message that we take, in bytes; 0
    /// for no limit.
    pub fn local_max_message_size(&self) -> u64 {
        self.negotiator.config().max_message_size
    }

    /// `start` of the `RTCSctpTransport`: the association begins as soon as DTLS is up.
    ///
    /// # Errors
    /// `InvalidStateError` when closed, not by hand, or started before; `InvalidAccessError` for a
    /// port 0.
    pub fn start_sctp(&mut self, now: Now, plan: SctpPlan) -> Result<(), OrtcError> {
        self.hand()?;
        if plan.local_port == 0 || plan.remote_port == 0 {
            return Err(OrtcError::SctpPort);
        }
        if self.transport.data_accepted {
            return Err(OrtcError::Started("SCTP"));
        }
        self.transport.accept_data(plan);
        self.settle(now);
        Ok(())
    }

    /// What was set by hand, where it is and the connection is open.
    fn hand(&mut self) -> Result<&mut ByHand, OrtcError> {
        match (self.closed, &mut self.by_hand) {
            (true, _) => Err(OrtcError::Closed),
            (false, Some(hand)) => Ok(hand),
            (false, None) => Err(OrtcError::Described),
        }
    }
}

impl Transport {
    /// Our role of DTLS: as it was stated, else as ICE's has turned out, which takes a route.
    pub(super) fn dtls_role(&self, stated: Option<dtls::Role>) -> Option<dtls::Role> {
        let of_ice = || match self.ice.role() {
            ice::Role::Controlling => dtls::Role::Server,
            ice::Role::Controlled => dtls::Role::Client,
        };
        stated.or_else(|| self.ice.has_fresh_route().then(of_ice))
    }
}
