//! Setting a remote description, and taking candidates that come after it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use twocan_wire::candidate::Candidate;
use twocan_wire::ids::Mid;
use twocan_wire::sdp::{Description, Direction};

use super::answer::transport_index;
use super::negotiator::{Applied, Negotiator, Received, Slot};
use super::offer::free_mid;
use super::plan::{IceRole, Plan};
use super::settle::{check_certificate, check_transport};
use super::terms::{Section, SectionKind, Terms};
use super::transceiver::{Kind, Maker, Transceiver, TransceiverId};
use super::{
    AccessReason, NegotiateError, OperationReason, SdpType, SignalingState, StateReason, TypeReason,
};

/// A candidate that came after the remote description.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RemoteCandidate {
    /// For the ICE agent.
    Candidate(Candidate),
    /// No more will come for this generation.
    EndOfCandidates,
    /// For a transport that we do not use: another component, or a section whose own transport
    /// the BUNDLE group replaces. Nothing is to be done.
    NotOurs,
}

/// What the newest remote description says of a transceiver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteMedia {
    /// Its direction, seen from here.
    pub direction: Direction,
    /// The ids of the streams that the track is part of.
    pub streams: Vec<String>,
    /// The id of the track, where given.
    pub track: Option<String>,
}

impl Negotiator {
    /// What the newest remote description says of a transceiver; `None` without one, and for a
    /// transceiver that it does not name or refuses.
    pub fn remote_media(&self, id: TransceiverId) -> Option<RemoteMedia> {
        let index = self.agreed.slot_of(id)?;
        let section = self.agreed.remote()?.terms.sections.get(index)?;
        Some(RemoteMedia {
            direction: section.direction.reversed(),
            streams: section.streams.clone(),
            track: section.track.clone(),
        })
        .filter(|_| !section.rejected)
    }

    /// `canTrickleIceCandidates` (W3C webrtc-pc §4.4.2); `None` without a remote description.
    pub fn can_trickle(&self) -> Option<bool> {
        let sections = &self.agreed.remote()?.terms.sections;
        Some(sections.iter().any(|section| section.trickle))
    }

    /// `setRemoteDescription`. An offer while ours is pending rolls ours back first. A rollback
    /// needs no text.
    ///
    /// # Errors
    /// `RTCError` for malformed text, `InvalidStateError` when the type does not fit the state,
    /// `InvalidAccessError` when the content contradicts what was agreed. Nothing has changed then.
    pub fn set_remote_description(
        &mut self,
        kind: SdpType,
        sdp: &str,
    ) -> Result<Plan, NegotiateError> {
        let mut next = self.clone();
        let plan = next.try_set_remote(kind, sdp)?;
        *self = next;
        Ok(plan)
    }

    fn try_set_remote(&mut self, kind: SdpType, sdp: &str) -> Result<Plan, NegotiateError> {
        use SignalingState as S;
        let before = self.agreed.receiving.clone();
        match (kind, self.signaling_state) {
            (SdpType::Rollback, S::HaveRemoteOffer) => {
                self.roll_back();
                return Ok(self.plan_now(&before));
            }
            // An offer that replaces a pending one of either side starts from what was agreed; the
            // transceivers of sections that both of the other side's offers have stay theirs.
            (SdpType::Offer, S::HaveLocalOffer) => self.roll_back(),
            (SdpType::Offer, S::HaveRemoteOffer) => {
                self.replaced = self.seated();
                self.roll_back();
            }
            (SdpType::Offer, S::Stable)
            | (SdpType::Pranswer | SdpType::Answer, S::HaveLocalOffer | S::HaveRemotePranswer) => {}
            (_, state) => {
                let reason = StateReason::Signaling(state);
                return Err(NegotiateError::InvalidState(reason));
            }
        }
        let description: Description = sdp.parse()?;
        let applied = Arc::new(Applied {
            kind,
            terms: Terms::read(&description),
            sdp: sdp.into(),
        });
        check_sections(&applied.terms)?;
        if self.config.ice_lite && applied.terms.ice_lite {
            return Err(NegotiateError::InvalidAccess(AccessReason::BothLite));
        }
        self.created = None;
        match kind {
            SdpType::Offer => {
                self.stable = Some(Box::new(self.agreed.clone()));
                self.take_offer(&applied)?;
                self.replaced.clear();
                self.agreed.pending_remote = Some(applied);
                self.agreed.ice_role.get_or_insert(IceRole::Controlled);
                self.signaling_state = S::HaveRemoteOffer;
                Ok(self.plan_now(&before))
            }
            SdpType::Pranswer | SdpType::Answer => {
                self.agreed.pending_remote = Some(applied);
                self.settle(kind, S::HaveRemotePranswer, &before)
            }
            // Handled above.
            SdpType::Rollback => Ok(self.plan_now(&before)),
        }
    }

    /// Fits the offered sections to those agreed before, and to transceivers (RFC 8829 §5.10).
    fn take_offer(&mut self, offer: &Applied) -> Result<(), NegotiateError> {
        let terms = &offer.terms;
        let mismatch = |index| NegotiateError::InvalidAccess(AccessReason::SectionMismatch(index));
        if terms.sections.len() < self.agreed.slots.len() {
            return Err(mismatch(terms.sections.len()));
        }
        let mut mids: BTreeSet<Mid> = terms
            .sections
            .iter()
            .filter_map(|section| section.mid.clone())
            .chain(self.agreed.slots.iter().map(|slot| slot.mid.clone()))
            .collect();
        for (index, section) in terms.sections.iter().enumerate() {
            if let Some(slot) = self.agreed.slots.get(index) {
                let same = section.kind == slot.kind
                    && section.mid.as_ref().is_none_or(|mid| *mid == slot.mid);
                if same && !slot.rejected {
                    continue;
                }
                // Only a section at rest may become another one.
                if !slot.rejected {
                    return Err(mismatch(index));
                }
            }
            let slot = Slot {
                mid: section.mid.clone().unwrap_or_else(|| {
                    let mid = free_mid(&mids);
                    mids.insert(mid.clone());
                    mid
                }),
                kind: section.kind,
                rejected: section.rejected,
                transceiver: None,
            };
            match self.agreed.slots.get_mut(index) {
                Some(seat) => *seat = slot,
                None => self.agreed.slots.push(slot),
            }
        }
        let accepted = self.acceptable(terms);
        if let Some(index) = transport_index(terms, &accepted) {
            check_transport(terms, index)?;
            let before = self.stable_agreed().current_remote.as_deref();
            check_certificate(before, terms, index)?;
            self.answer_setup(terms, index)?;
        }
        for (index, section) in terms.sections.iter().enumerate() {
            if let SectionKind::Rtp(kind) = section.kind
                && accepted.get(index) == Some(&true)
            {
                let id = self.associate(index, kind, section.direction);
                self.note_received(id, section);
            } else if let Some(id) = self.agreed.slots[index].transceiver {
                self.agreed.receiving.remove(&id);
            }
        }
        Ok(())
    }

    /// The transceiver of a section: its own, one that `addTrack` made and that waits for a
    /// section, or a new one.
    fn associate(&mut self, index: usize, kind: Kind, offered: Direction) -> TransceiverId {
        if let Some(id) = self.agreed.slots[index].transceiver {
            return id;
        }
        let before = self.replaced.remove(&self.agreed.slots[index].mid);
        if let Some(before) = before.filter(|own| own.kind == kind && !own.stopping) {
            let id = before.id;
            if !self.transceivers.iter().any(|own| own.id == id) {
                self.transceivers.push(before);
            }
            self.agreed.slots[index].transceiver = Some(id);
            return id;
        }
        let waiting = self.transceivers.iter().find(|transceiver| {
            transceiver.kind == kind
                && transceiver.maker == Maker::Track
                && !transceiver.stopping
                && offered.receives()
                && self.agreed.slot_of(transceiver.id).is_none()
        });
        let id = match waiting {
            Some(transceiver) => transceiver.id,
            None => self.new_transceiver(kind, Maker::RemoteOffer, Direction::RecvOnly, &[]),
        };
        self.agreed.slots[index].transceiver = Some(id);
        id
    }

    /// The transceivers that have sections, by the mids of these.
    fn seated(&self) -> BTreeMap<Mid, Transceiver> {
        let slots = self.agreed.slots.iter();
        let seated = slots.filter_map(|slot| {
            let own = self.transceiver(slot.transceiver?)?;
            Some((slot.mid.clone(), own.clone()))
        });
        seated.collect()
    }

    /// Remembers what the remote side sends on a transceiver.
    pub(super) fn note_received(&mut self, id: TransceiverId, section: &Section) {
        if section.direction.sends() {
            let received = Received {
                streams: section.streams.clone(),
                track: section.track.clone(),
            };
            self.agreed.receiving.insert(id, received);
        } else {
            self.agreed.receiving.remove(&id);
        }
    }

    /// `addIceCandidate`: a candidate with the section that it names. An empty text ends the
    /// candidates.
    ///
    /// # Errors
    /// `TypeError` without a section, `InvalidStateError` before a remote description,
    /// `OperationError` for a malformed candidate, an unknown section or another generation.
    pub fn remote_candidate(
        &self,
        candidate: &str,
        mid: Option<&str>,
        index: Option<usize>,
        username_fragment: Option<&str>,
    ) -> Result<RemoteCandidate, NegotiateError> {
        let operation = NegotiateError::Operation;
        let is_end = candidate.is_empty();
        // W3C §4.4.2: only the end of all candidates needs no section.
        if mid.is_none() && index.is_none() && !is_end {
            return Err(NegotiateError::Type(TypeReason::NoSection));
        }
        let Some(remote) = self.agreed.remote() else {
            let reason = StateReason::NoRemoteDescription;
            return Err(NegotiateError::InvalidState(reason));
        };
        let sections = &remote.terms.sections;
        let named = match mid {
            Some(mid) => self
                .agreed
                .slots
                .iter()
                .position(|slot| slot.mid.as_str() == mid),
            None => index,
        };
        let section = named.and_then(|index| sections.get(index));
        if section.is_none() && (mid.is_some() || index.is_some()) {
            return Err(operation(OperationReason::UnknownSection));
        }
        let parsed = if is_end {
            None
        } else {
            let parsed = Candidate::parse(candidate);
            Some(parsed.map_err(|error| operation(OperationReason::BadCandidate(error)))?)
        };
        let ufrag = username_fragment.or_else(|| parsed.as_ref()?.username_fragment());
        if let Some(ufrag) = ufrag.filter(|ufrag| !ufrag.is_empty())
            && !self.knows_remote_ufrag(ufrag, named)
        {
            return Err(operation(OperationReason::UnknownGeneration));
        }
        let accepted = self.acceptable(&remote.terms);
        let is_tagged = named.is_none_or(|index| {
            transport_index(&remote.terms, &accepted).is_none_or(|tagged| tagged == index)
        });
        // Until an answer confirms the BUNDLE group the offerer may gather for every section
        // apart; those transports vanish with the answer.
        let is_bundled = self.stable_agreed().current_local.is_some();
        Ok(match parsed {
            _ if !is_tagged && !is_bundled => RemoteCandidate::NotOurs,
            None => RemoteCandidate::EndOfCandidates,
            Some(candidate) if candidate.component != 1 => RemoteCandidate::NotOurs,
            Some(candidate) => RemoteCandidate::Candidate(candidate),
        })
    }

    /// Whether the section that is named, or any where none is, has that fragment (W3C webrtc-pc
    /// §4.4.2). One without credentials of its own has those of its bundle.
    fn knows_remote_ufrag(&self, ufrag: &str, named: Option<usize>) -> bool {
        let agreed = &self.agreed;
        let descriptions = [&agreed.pending_remote, &agreed.current_remote];
        let applied = || descriptions.into_iter().flatten();
        let own = named.map(|index| {
            let sections = applied().filter_map(|applied| applied.terms.sections.get(index));
            sections.filter_map(|own| own.ice.as_ref()).collect()
        });
        let own: Vec<_> = own.unwrap_or_default();
        if !own.is_empty() {
            return own.iter().any(|ice| ice.username_fragment == ufrag);
        }
        let mut sections = applied().flat_map(|applied| &applied.terms.sections);
        sections.any(|section| {
            let ice = section.ice.as_ref();
            ice.is_some_and(|ice| ice.username_fragment == ufrag)
        })
    }
}

fn check_sections(terms: &Terms) -> Result<(), NegotiateError> {
    let mut seen = BTreeSet::new();
    for (index, section) in terms.sections.iter().enumerate() {
        if let Some(mid) = &section.mid
            && !seen.insert(mid)
        {
            let reason = AccessReason::DuplicateMid(index);
            return Err(NegotiateError::InvalidAccess(reason));
        }
        if section.is_plan_b {
            return Err(NegotiateError::InvalidAccess(AccessReason::PlanB(index)));
        }
    }
    Ok(())
}
