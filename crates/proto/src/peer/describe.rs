//! Descriptions and candidates: what the application exchanges with the other side.

use std::net::{IpAddr, SocketAddr};

use twocan_wire::candidate::{
    Candidate, CandidateAddress, CandidateKind, CandidateTransport as Protocol,
};
use twocan_wire::sdp::Direction;

use super::machine::{Peer, Wanted};
use super::{Description, Event, RemoteCandidateInit};
use crate::contract::Lookup;
use crate::dtls;
use crate::ice::{self, Credentials};
use crate::negotiate::{
    DtlsRole, IceParameters, IceRole, Kind, NegotiateError, Plan, RemoteCandidate, SdpType,
    SignalingState, StateReason, Transceiver, TransceiverId,
};
use crate::time::Now;

/// Candidates held for a generation that is not agreed yet; later ones are dropped and counted.
pub(super) const HELD_MAX: usize = 64;

impl Peer {
    /// `addTransceiver`.
    ///
    /// # Errors
    /// `InvalidStateError` when closed, `TypeError` for a malformed stream id.
    pub fn add_transceiver(
        &mut self,
        kind: Kind,
        direction: Direction,
        streams: &[&str],
    ) -> Result<TransceiverId, NegotiateError> {
        self.open()?;
        let id = self.negotiator.add_transceiver(kind, direction, streams)?;
        self.check_negotiation_needed();
        Ok(id)
    }

    /// `addTrack`.
    ///
    /// # Errors
    /// As [`Self::add_transceiver`].
    pub fn add_track(
        &mut self,
        kind: Kind,
        streams: &[&str],
    ) -> Result<TransceiverId, NegotiateError> {
        self.open()?;
        let id = self.negotiator.add_track(kind, streams)?;
        self.check_negotiation_needed();
        Ok(id)
    }

    /// `removeTrack`.
    ///
    /// # Errors
    /// `InvalidStateError` when closed or the transceiver is stopped.
    pub fn remove_track(&mut self, id: TransceiverId) -> Result<(), NegotiateError> {
        self.open()?;
        self.negotiator.remove_track(id)?;
        self.check_negotiation_needed();
        Ok(())
    }

    /// Sets a transceiver's `direction`.
    ///
    /// # Errors
    /// `InvalidStateError` when closed or the transceiver is stopped.
    pub fn set_direction(
        &mut self,
        id: TransceiverId,
        direction: Direction,
    ) -> Result<(), NegotiateError> {
        self.open()?;
        self.negotiator.set_direction(id, direction)?;
        self.check_negotiation_needed();
        Ok(())
    }

    /// `RTCRtpTransceiver.stop`.
    ///
    /// # Errors
    /// `InvalidStateError` when closed or the transceiver is stopped already.
    pub fn stop_transceiver(&mut self, id: TransceiverId) -> Result<(), NegotiateError> {
        self.open()?;
        self.negotiator.stop(id)?;
        self.check_negotiation_needed();
        Ok(())
    }

    /// `getTransceivers`.
    pub fn transceivers(&self) -> &[Transceiver] {
        self.negotiator.transceivers()
    }

    /// Which way the pending offer of the other side wants a transceiver, seen from its side. For
    /// those who decide what to send on it before they answer.
    pub fn offered_direction(&self, id: TransceiverId) -> Option<Direction> {
        self.negotiator.offered_direction(id)
    }

    /// `signalingState`.
    pub fn signaling_state(&self) -> SignalingState {
        self.negotiator.signaling_state()
    }

    /// `restartIce`.
    pub fn restart_ice(&mut self) {
        self.negotiator.restart_ice();
        self.check_negotiation_needed();
    }

    /// `createOffer`.
    ///
    /// # Errors
    /// `InvalidStateError` when closed or in another signaling state.
    pub fn create_offer(&mut self) -> Result<String, NegotiateError> {
        self.open()?;
        let ice = self.ice_parameters();
        self.negotiator.create_offer(&ice)
    }

    /// `createOffer` with `iceRestart`: an offer with new ICE credentials, whatever comes of it. The
    /// offers after it have them only if it is set.
    ///
    /// # Errors
    /// `InvalidStateError` when closed or in another signaling state.
    pub fn create_restarting_offer(&mut self) -> Result<String, NegotiateError> {
        self.open()?;
        let ice = stated(self.fresh_credentials());
        self.negotiator.create_offer(&ice)
    }

    /// `createAnswer`.
    ///
    /// # Errors
    /// `InvalidStateError` when closed or without a remote offer.
    pub fn create_answer(&mut self) -> Result<String, NegotiateError> {
        self.open()?;
        let ice = self.ice_parameters();
        self.negotiator.create_answer(&ice)
    }

    /// `setLocalDescription`; without a description it creates the one that the signaling state
    /// asks for (W3C webrtc-pc §4.4.1.5).
    ///
    /// # Errors
    /// The W3C exception with our reason; nothing has changed then.
    pub fn set_local_description(
        &mut self,
        now: Now,
        description: Option<&Description>,
    ) -> Result<(), NegotiateError> {
        self.open()?;
        let (kind, sdp) = match description {
            Some(description) => (description.kind, description.sdp.clone()),
            None => match self.negotiator.signaling_state() {
                SignalingState::Stable
                | SignalingState::HaveLocalOffer
                | SignalingState::HaveRemotePranswer => (SdpType::Offer, self.create_offer()?),
                SignalingState::HaveRemoteOffer | SignalingState::HaveLocalPranswer => {
                    (SdpType::Answer, self.create_answer()?)
                }
            },
        };
        let before = self.negotiator.signaling_state();
        let plan = self.negotiator.set_local_description(kind, &sdp)?;
        self.apply(now, before, plan);
        // Without a section there is no transport to gather for (RFC 9429 §3.5.1).
        if kind != SdpType::Rollback && self.negotiator.transport_mid().is_some() {
            self.gather(now);
            self.empty_pool(now);
        }
        self.settle(now);
        Ok(())
    }

    /// `setRemoteDescription`.
    ///
    /// # Errors
    /// The W3C exception with our reason; nothing has changed then.
    pub fn set_remote_description(
        &mut self,
        now: Now,
        description: &Description,
    ) -> Result<(), NegotiateError> {
        self.open()?;
        let before = self.negotiator.signaling_state();
        let plan = self
            .negotiator
            .set_remote_description(description.kind, &description.sdp)?;
        self.apply(now, before, plan);
        self.settle(now);
        Ok(())
    }

    /// `addIceCandidate`.
    ///
    /// # Errors
    /// The W3C exception with our reason.
    pub fn add_ice_candidate(
        &mut self,
        now: Now,
        init: &RemoteCandidateInit,
    ) -> Result<(), NegotiateError> {
        self.open()?;
        let candidate = self.negotiator.remote_candidate(
            &init.candidate,
            init.sdp_mid.as_deref(),
            init.sdp_m_line_index.map(usize::from),
            init.username_fragment.as_deref(),
        )?;
        self.negotiator.show_remote_candidate(
            &init.candidate,
            init.sdp_mid.as_deref(),
            init.sdp_m_line_index.map(usize::from),
        );
        if self.negotiator.signaling_state() == SignalingState::Stable {
            self.take_candidate(now, candidate);
        } else if self.held.len() < HELD_MAX {
            self.held.push(candidate);
        } else {
            self.counters.count("peer.too_many_held_candidates");
        }
        self.settle(now);
        Ok(())
    }

    /// `localDescription`, with all candidates gathered so far.
    pub fn local_description(&self) -> Option<Description> {
        let (candidates, complete) = self.gathered();
        let (kind, sdp) = self.negotiator.local_description(&candidates, complete)?;
        Some(Description { kind, sdp })
    }

    /// `remoteDescription`.
    pub fn remote_description(&self) -> Option<Description> {
        let (kind, sdp) = self.negotiator.remote_description()?;
        Some(Description { kind, sdp })
    }

    /// Does what a description asks. Cannot fail.
    fn apply(&mut self, now: Now, before: SignalingState, plan: Plan) {
        let at = now.monotonic;
        if before != plan.signaling_state {
            self.events
                .push_back(Event::SignalingState(plan.signaling_state));
        }
        self.apply_local_credentials(now, plan.ice.local.as_ref());
        // The peer may check before its answer arrives: the role is known from the offer on.
        if !self.transport.is_started() {
            let role = match plan.ice.role {
                IceRole::Controlling => ice::Role::Controlling,
                IceRole::Controlled => ice::Role::Controlled,
            };
            self.transport.ice.set_role(at, role);
        }
        // An answer fixes everything about the transport; before it, nothing of the remote side's
        // description is used.
        if let (Some(dtls), Some(remote)) = (&plan.dtls, &plan.ice.remote) {
            let credentials = Credentials::new(
                remote.parameters.username_fragment.clone(),
                remote.parameters.password.clone(),
            );
            let ice = &mut self.transport.ice;
            ice.set_remote(at, credentials, remote.renomination);
            for candidate in remote.candidates.clone() {
                self.take_candidate(now, RemoteCandidate::Candidate(candidate));
            }
            if remote.end_of_candidates {
                self.take_candidate(now, RemoteCandidate::EndOfCandidates);
            }
            for candidate in std::mem::take(&mut self.held) {
                self.take_candidate(now, candidate);
            }
            let role = match dtls.role {
                DtlsRole::Client => dtls::Role::Client,
                DtlsRole::Server => dtls::Role::Server,
            };
            let fingerprints = dtls
                .fingerprints
                .iter()
                .filter_map(|stated| dtls::Fingerprint::new(&stated.hash, stated.bytes.clone()))
                .collect();
            self.transport.start_dtls(at, Some(role), fingerprints);
        } else if plan.signaling_state == SignalingState::Stable {
            // A rollback: what was held belonged to what was rolled back.
            self.held.clear();
        }
        if let Some(sctp) = plan.sctp {
            self.transport.accept_data(sctp);
        }
        if let Some(media) = plan.media {
            self.apply_media(media);
        }
        for event in plan.events {
            self.events.push_back(Event::Negotiation(event));
        }
    }

    fn apply_local_credentials(&mut self, now: Now, stated: Option<&IceParameters>) {
        let Some(stated) = stated else { return };
        let is = |own: &Credentials| own.username_fragment == stated.username_fragment;
        if let Some(fresh) = self.fresh.take_if(|fresh| is(fresh)) {
            self.transport.ice.prepare_restart(now.monotonic, fresh);
        } else if self.transport.ice.is_restarting() && !is(self.transport.ice.local_credentials())
        {
            self.transport.ice.abandon_restart();
        }
    }

    pub(super) fn take_candidate(&mut self, now: Now, candidate: RemoteCandidate) {
        let candidate = match candidate {
            RemoteCandidate::Candidate(candidate) => candidate,
            RemoteCandidate::EndOfCandidates => {
                return self.transport.ice.end_of_remote_candidates(now.monotonic);
            }
            RemoteCandidate::NotOurs => return,
        };
        let is_known = match candidate.transport {
            Protocol::Udp => true,
            // RFC 6544 §4.5: one that does not say who connects is none.
            Protocol::Tcp => candidate.tcp_type.is_some(),
            Protocol::Other(_) => false,
        };
        if candidate.component != 1 || !is_known {
            return self.counters.count("peer.candidate_of_other_transport");
        }
        match &candidate.address {
            CandidateAddress::Ip(ip) => {
                let ip = *ip;
                self.add_resolved(now, &candidate, ip);
            }
            // Nothing but a relay of ours would send there, and none is to (draft §3.2.1).
            CandidateAddress::Name(_) if self.transport.relay_only => {
                self.counters.count("peer.candidate_with_name");
            }
            CandidateAddress::Name(name) if is_mdns(name) => {
                let name = name.clone();
                self.look_up(name, Lookup::Mdns, Wanted::Candidate(Box::new(candidate)));
            }
            // RFC 8839 §5.1 lets a peer name any host: following it would let a peer aim our
            // resolver.
            CandidateAddress::Name(_) => self.counters.count("peer.candidate_with_name"),
        }
    }

    /// The credentials to state in the next description.
    fn ice_parameters(&mut self) -> IceParameters {
        let wanted = self.negotiator.wants_ice_restart();
        if wanted {
            return stated(self.fresh_credentials());
        }
        stated(self.transport.ice.local_credentials())
    }

    fn fresh_credentials(&mut self) -> &Credentials {
        let random = &mut self.random;
        self.fresh
            .get_or_insert_with(|| Credentials::random(random))
    }

    /// Whether descriptions can change anything.
    pub(super) fn open(&self) -> Result<(), NegotiateError> {
        let reason = match (self.is_closed(), &self.by_hand) {
            (true, _) => StateReason::Closed,
            (false, Some(_)) => StateReason::ByHand,
            (false, None) => return Ok(()),
        };
        Err(NegotiateError::InvalidState(reason))
    }
}

/// A name of multicast DNS with one label before `.local`
/// (draft-ietf-mmusic-mdns-ice-candidates §3.2.1).
fn is_mdns(name: &str) -> bool {
    let label = name
        .strip_suffix(".local")
        .or_else(|| name.strip_suffix(".local."));
    label.is_some_and(|label| !label.is_empty() && !label.contains('.') && label.len() <= 63)
}

/// A local candidate as it is signaled.
pub(super) fn to_wire(candidate: &ice::Candidate) -> Candidate {
    Candidate {
        foundation: candidate.foundation.clone(),
        component: 1,
        transport: match candidate.tcp {
            None => Protocol::Udp,
            Some(_) => Protocol::Tcp,
        },
        priority: candidate.priority,
        address: CandidateAddress::Ip(candidate.address.ip()),
        port: candidate.address.port(),
        kind: match candidate.kind {
            ice::Kind::Host => CandidateKind::Host,
            ice::Kind::ServerReflexive => CandidateKind::ServerReflexive,
            ice::Kind::PeerReflexive => CandidateKind::PeerReflexive,
            ice::Kind::Relayed => CandidateKind::Relay,
        },
        related_address: candidate
            .related
            .map(|related| CandidateAddress::Ip(related.ip())),
        related_port: candidate.related.map(|related| related.port()),
        tcp_type: candidate.tcp,
        extensions: Vec::new(),
    }
}

/// A signaled candidate at `ip`; `None` for a kind that nobody knows.
pub(super) fn from_wire(candidate: &Candidate, ip: IpAddr) -> Option<ice::Candidate> {
    let kind = match candidate.kind {
        CandidateKind::Host => ice::Kind::Host,
        CandidateKind::ServerReflexive => ice::Kind::ServerReflexive,
        CandidateKind::PeerReflexive => ice::Kind::PeerReflexive,
        CandidateKind::Relay => ice::Kind::Relayed,
        CandidateKind::Other(_) => return None,
    };
    let related = match (&candidate.related_address, candidate.related_port) {
        (Some(CandidateAddress::Ip(ip)), Some(port)) => Some(SocketAddr::new(*ip, port)),
        _ => None,
    };
    Some(ice::Candidate {
        kind,
        address: SocketAddr::new(ip, candidate.port),
        tcp: candidate
            .tcp_type
            .filter(|_| candidate.transport == Protocol::Tcp),
        related,
        priority: candidate.priority,
        foundation: candidate.foundation.clone(),
        server: None,
    })
}

pub(super) fn stated(credentials: &Credentials) -> IceParameters {
    IceParameters {
        username_fragment: credentials.username_fragment.clone(),
        password: credentials.password.clone(),
    }
}
