//! What an answer settles, and the plan that follows from a description.

use std::collections::BTreeMap;
use std::sync::Arc;

use twocan_wire::sdp::{Fingerprint, RidDirection, Setup};

use super::answer::transport_index;
use super::negotiator::{Applied, Negotiator, Received};
use super::plan::{
    DtlsPlan, DtlsRole, IcePlan, IceRole, MediaPlan, NegotiationEvent, Plan, RemoteIce, SctpPlan,
    codecs, extensions, prefers_red,
};
use super::simulcast::Agreement;
use super::terms::{Section, SectionKind, Terms};
use super::transceiver::TransceiverId;
use super::{AccessReason, NegotiateError, SdpType, SignalingState};

/// What a peer takes at least, where it does not say (RFC 8841 §6.1), in bytes.
const MAX_MESSAGE_SIZE_DEFAULT: u64 = 65_536;

impl Negotiator {
    /// Makes the pending offer and answer the agreed ones, or acts on a provisional answer.
    pub(super) fn settle(
        &mut self,
        kind: SdpType,
        provisional: SignalingState,
        before: &BTreeMap<TransceiverId, Received>,
    ) -> Result<Plan, NegotiateError> {
        let agreed = &self.agreed;
        let (Some(local), Some(remote)) =
            (agreed.pending_local.clone(), agreed.pending_remote.clone())
        else {
            // The state machine let an answer through, so both are there.
            let reason = super::StateReason::Signaling(self.signaling_state);
            return Err(NegotiateError::InvalidState(reason));
        };
        let pair = Pair::new(&local, &remote);
        pair.check_shape(&self.agreed.slots)?;
        let accepted = pair.accepted();
        let transport = transport_index(&pair.answer.terms, &accepted);
        if pair.answer_is_remote() {
            check_answer(&pair.answer.terms, &accepted)?;
            if let Some(index) = transport {
                check_transport(&pair.answer.terms, index)?;
                let before = self.stable_agreed().current_remote.as_deref();
                check_certificate(before, &pair.answer.terms, index)?;
            }
        }
        if let Some(index) = transport {
            let role = pair.dtls_role(index)?;
            let before = self.stable_agreed().current_remote.as_deref();
            let is_handed_over = has_other_certificate(before, &remote.terms, index);
            match self.agreed.dtls_role.filter(|_| !is_handed_over) {
                // Firefox answers every later offer with `active` and keeps the connection as it
                // is; so do we, whatever a remote answer says.
                Some(own) if own != role && !pair.answer_is_remote() => {
                    let reason = AccessReason::SetupChanged(index);
                    return Err(NegotiateError::InvalidAccess(reason));
                }
                Some(_) => {}
                None => self.agreed.dtls_role = Some(role),
            }
        }
        let previous = self.stable_agreed().current_remote.clone();
        let stopped = self.settle_sections(&pair, &accepted, kind);
        self.learn_numbers(&pair, &accepted);
        if kind == SdpType::Answer {
            if !self.has_what_is_replaced(&local) {
                self.to_replace.clear();
            }
            self.agreed.current_local = self.agreed.pending_local.take();
            self.agreed.current_remote = self.agreed.pending_remote.take();
            self.stable = None;
            self.signaling_state = SignalingState::Stable;
        } else {
            self.signaling_state = provisional;
        }
        let mut plan = self.plan(before, stopped, previous.as_ref(), transport);
        plan.dtls = self.dtls_plan(&remote.terms, transport);
        plan.sctp = pair.sctp_plan(&accepted, self.config.sctp_port);
        plan.media = Some(self.media_plans(&pair, &accepted));
        Ok(plan)
    }

    /// Directions, tracks and ends. Answers the transceivers that are gone: only a final answer
    /// ends any.
    fn settle_sections(
        &mut self,
        pair: &Pair<'_>,
        accepted: &[bool],
        kind: SdpType,
    ) -> Vec<TransceiverId> {
        let mut stopped = Vec::new();
        for (index, accepted) in accepted.iter().enumerate() {
            let slot = &mut self.agreed.slots[index];
            if !accepted {
                let owner = slot.transceiver;
                if kind == SdpType::Answer {
                    slot.rejected = true;
                    slot.transceiver = None;
                    self.transceivers
                        .retain(|transceiver| Some(transceiver.id) != owner);
                    stopped.extend(owner);
                }
                if let Some(id) = owner {
                    self.agreed.receiving.remove(&id);
                }
                continue;
            }
            let Some(id) = slot.transceiver else { continue };
            let (local, remote) = pair.sections(index);
            let direction = local.direction.intersect(remote.direction.reversed());
            if direction.receives() {
                self.note_received(id, remote);
            } else {
                self.agreed.receiving.remove(&id);
            }
            let transceiver = self.transceivers.iter_mut().find(|own| own.id == id);
            if let Some(transceiver) = transceiver {
                transceiver.current_direction = Some(direction);
                transceiver.ever_sent |= direction.sends();
            }
            if direction.sends() {
                self.settle_encodings(
                    id,
                    &Agreement {
                        local,
                        remote,
                        answer: &pair.answer.terms.sections[index],
                        answer_is_remote: pair.answer_is_remote(),
                    },
                );
            }
        }
        stopped
    }

    /// Remembers which numbers stand for what, so that later sections of the bundle agree. A number that
    /// stood for something else was of sections that are gone: it is forgotten there, or an offer would
    /// use it twice.
    fn learn_numbers(&mut self, pair: &Pair<'_>, accepted: &[bool]) {
        let sections =
            [pair.offer, pair.answer].map(|applied| applied.terms.sections.iter().zip(accepted));
        for (section, accepted) in sections.into_iter().flatten() {
            if !accepted {
                continue;
            }
            for codec in &section.codecs {
                let payload_type = codec.payload_type;
                let agreed = &mut self.agreed;
                agreed.rtx_payload_types.remove(&payload_type);
                agreed.payload_types.insert(payload_type, codec.clone());
                if let Some(rtx) = codec.rtx {
                    agreed.payload_types.remove(&rtx);
                    agreed.rtx_payload_types.insert(rtx, payload_type);
                }
            }
            for extmap in &section.extensions {
                if let Ok(id) = u8::try_from(extmap.id) {
                    let known = &mut self.agreed.extension_ids;
                    known.retain(|_, own| *own != id);
                    known.insert(extmap.uri.clone(), id);
                }
            }
        }
    }

    /// Whether `local` has credentials that are to be replaced (W3C webrtc-pc §4.4.1.5).
    fn has_what_is_replaced(&self, local: &Applied) -> bool {
        let mut sections = local.terms.sections.iter();
        sections.any(|section| {
            let ice = section.ice.as_ref();
            ice.is_some_and(|own| self.to_replace.contains(&own.username_fragment))
        })
    }

    /// The part of the plan that every description has.
    fn plan(
        &self,
        before: &BTreeMap<TransceiverId, Received>,
        stopped: Vec<TransceiverId>,
        previous: Option<&Arc<Applied>>,
        transport: Option<usize>,
    ) -> Plan {
        let mut events = Vec::new();
        let now = &self.agreed.receiving;
        for id in before.keys().filter(|id| !now.contains_key(id)) {
            events.push(NegotiationEvent::TrackRemoved { transceiver: *id });
        }
        for (id, received) in now {
            let mid = self.mid(*id);
            if let (false, Some(mid)) = (before.contains_key(id), mid) {
                events.push(NegotiationEvent::TrackAdded {
                    transceiver: *id,
                    mid: mid.clone(),
                    streams: received.streams.clone(),
                    track: received.track.clone(),
                });
            }
        }
        let stopped = stopped.into_iter();
        events.extend(
            stopped.map(|transceiver| NegotiationEvent::TransceiverStopped { transceiver }),
        );
        Plan {
            signaling_state: self.signaling_state,
            ice: self.ice_plan(previous, transport),
            dtls: None,
            sctp: None,
            media: None,
            events,
        }
    }

    /// The plan after a description that settles nothing.
    pub(super) fn plan_now(&self, before: &BTreeMap<TransceiverId, Received>) -> Plan {
        let previous = self.stable_agreed().current_remote.as_ref();
        self.plan(before, Vec::new(), previous, None)
    }

    /// `transport` is the section that an answer has agreed on.
    fn ice_plan(&self, previous: Option<&Arc<Applied>>, transport: Option<usize>) -> IcePlan {
        let remote = self.agreed.remote().and_then(|remote| {
            // The accepted sections of an answer, of an offer those that we would accept; what an answer
            // of ours has accepted stays, though it be stopped from the next negotiation on.
            let section = match remote.kind {
                SdpType::Offer => {
                    let settled = || remote.terms.sections.get(transport?);
                    self.transport_section(&remote.terms).or_else(settled)?
                }
                SdpType::Pranswer | SdpType::Answer | SdpType::Rollback => {
                    let sections = remote.terms.sections.iter();
                    let accepted: Vec<bool> = sections.map(|own| !own.rejected).collect();
                    let index = transport_index(&remote.terms, &accepted)?;
                    remote.terms.sections.get(index)?
                }
            };
            remote_ice(remote, section, previous)
        });
        let lite = remote.as_ref().is_some_and(|remote| remote.lite);
        let role = self.agreed.ice_role.unwrap_or(IceRole::Controlling);
        let local = self.agreed.local().and_then(|local| {
            let mut sections = local.terms.sections.iter();
            sections.find_map(|section| section.ice.clone())
        });
        IcePlan {
            // RFC 8445 §6.1.1: facing a lite agent, the full agent controls.
            role: match (self.config.ice_lite, lite) {
                (true, _) => IceRole::Controlled,
                (false, true) => IceRole::Controlling,
                (false, false) => role,
            },
            local,
            remote,
        }
    }

    fn dtls_plan(&self, remote: &Terms, transport: Option<usize>) -> Option<DtlsPlan> {
        let section = remote.sections.get(transport?)?;
        Some(DtlsPlan {
            role: self.agreed.dtls_role?,
            fingerprints: usable_fingerprints(section).cloned().collect(),
        })
    }

    fn media_plans(&self, pair: &Pair<'_>, accepted: &[bool]) -> Vec<MediaPlan> {
        let mut plans = Vec::new();
        for (index, slot) in self.agreed.slots.iter().enumerate() {
            let (SectionKind::Rtp(kind), Some(true)) = (slot.kind, accepted.get(index)) else {
                continue;
            };
            let Some(transceiver) = slot.transceiver.and_then(|id| self.transceiver(id)) else {
                continue;
            };
            let (local, remote) = pair.sections(index);
            let answer = &pair.answer.terms.sections[index];
            let (send, receive) = match pair.answer_is_remote() {
                false => extensions(answer),
                true => {
                    let (send, receive) = extensions(answer);
                    (receive, send)
                }
            };
            plans.push(MediaPlan {
                transceiver: transceiver.id(),
                mid: slot.mid.clone(),
                remote_mid: None,
                kind,
                direction: local.direction.intersect(remote.direction.reversed()),
                codecs: codecs(local, remote, answer),
                extensions_send: send,
                extensions_receive: receive,
                rtcp_rsize: local.rtcp_rsize && remote.rtcp_rsize,
                encodings: transceiver.encodings.clone(),
                fec: transceiver.fec_source(),
                cname: self.config.cname.clone(),
                remote: remote.sources.clone(),
                rids: local.rids(RidDirection::Recv).cloned().collect(),
                red_preferred: {
                    let ours: Vec<_> = self.config.codecs(kind).collect();
                    prefers_red(&ours) || prefers_red(&remote.codecs)
                },
            });
        }
        plans
    }
}

fn remote_ice(
    remote: &Applied,
    section: &Section,
    previous: Option<&Arc<Applied>>,
) -> Option<RemoteIce> {
    let parameters = section.ice.clone()?;
    let known: Vec<_> = previous
        .into_iter()
        .flat_map(|before| &before.terms.sections)
        .filter_map(|section| section.ice.as_ref())
        .collect();
    Some(RemoteIce {
        restarted: !known.is_empty() && !known.contains(&&parameters),
        parameters,
        lite: remote.terms.ice_lite,
        trickle: section.trickle,
        renomination: section.renomination,
        candidates: section
            .candidates
            .iter()
            .filter(|candidate| candidate.component == 1)
            .cloned()
            .collect(),
        end_of_candidates: section.end_of_candidates,
    })
}

/// An offer and its answer.
struct Pair<'a> {
    local: &'a Applied,
    remote: &'a Applied,
    offer: &'a Applied,
    answer: &'a Applied,
}

impl<'a> Pair<'a> {
    fn new(local: &'a Applied, remote: &'a Applied) -> Self {
        let (offer, answer) = match local.kind {
            SdpType::Offer => (local, remote),
            SdpType::Pranswer | SdpType::Answer | SdpType::Rollback => (remote, local),
        };
        Self {
            local,
            remote,
            offer,
            answer,
        }
    }

    fn answer_is_remote(&self) -> bool {
        self.offer.kind == SdpType::Offer && std::ptr::eq(self.answer, self.remote)
    }

    fn sections(&self, index: usize) -> (&Section, &Section) {
        (
            &self.local.terms.sections[index],
            &self.remote.terms.sections[index],
        )
    }

    /// RFC 3264 §6: as many sections, in the same order, of the same kind and mid.
    fn check_shape(&self, slots: &[super::negotiator::Slot]) -> Result<(), NegotiateError> {
        let offered = &self.offer.terms.sections;
        let answered = &self.answer.terms.sections;
        let mismatch = |index| NegotiateError::InvalidAccess(AccessReason::SectionMismatch(index));
        if offered.len() != answered.len() || slots.len() != offered.len() {
            return Err(mismatch(offered.len().min(answered.len())));
        }
        let media = self.offer.media().into_iter().zip(self.answer.media());
        for (index, (offered, answered)) in media.enumerate() {
            let mids = (offered.mid(), answered.mid());
            let same_mid = !matches!(mids, (Some(ours), Some(theirs)) if ours != theirs);
            // An answerer cannot accept what is at rest.
            let revives = offered.is_rejected() && !answered.is_rejected();
            if offered.kind != answered.kind || !same_mid || revives {
                return Err(mismatch(index));
            }
        }
        Ok(())
    }

    fn accepted(&self) -> Vec<bool> {
        let offered = self.offer.terms.sections.iter();
        let sections = offered.zip(&self.answer.terms.sections);
        sections
            .map(|(offered, answered)| !offered.rejected && !answered.rejected)
            .collect()
    }

    /// RFC 8842 §5.3: the answer decides. A silent one leaves the offerer waiting, as RFC 4145
    /// has it for an answer without the attribute.
    fn dtls_role(&self, index: usize) -> Result<DtlsRole, NegotiateError> {
        let bad = NegotiateError::InvalidAccess(AccessReason::BadSetup(index));
        let setup = self.answer.terms.sections[index].setup;
        let answerer = match setup.unwrap_or(Setup::Active) {
            Setup::Active => DtlsRole::Client,
            Setup::Passive => DtlsRole::Server,
            Setup::ActPass | Setup::HoldConn => return Err(bad),
        };
        Ok(match (self.answer_is_remote(), answerer) {
            (false, role) => role,
            (true, DtlsRole::Client) => DtlsRole::Server,
            (true, DtlsRole::Server) => DtlsRole::Client,
        })
    }

    fn sctp_plan(&self, accepted: &[bool], local_port: u16) -> Option<SctpPlan> {
        let mut sections = self.remote.terms.sections.iter().zip(accepted);
        let (section, _) =
            sections.find(|(section, accepted)| section.kind == SectionKind::Data && **accepted)?;
        let size = section.max_message_size;
        Some(SctpPlan {
            local_port,
            remote_port: section.sctp_port.unwrap_or(5000),
            max_message_size: match size.unwrap_or(MAX_MESSAGE_SIZE_DEFAULT) {
                0 => u64::MAX,
                size => size,
            },
        })
    }
}

/// Whether a remote answer keeps to what our offer needs: one transport, RTCP on it.
fn check_answer(answer: &Terms, accepted: &[bool]) -> Result<(), NegotiateError> {
    let indices = (0..accepted.len()).filter(|index| accepted[*index]);
    let transport = transport_index(answer, accepted);
    for index in indices {
        let section = &answer.sections[index];
        if matches!(section.kind, SectionKind::Rtp(_)) && !section.rtcp_mux {
            let reason = AccessReason::NoRtcpMux(index);
            return Err(NegotiateError::InvalidAccess(reason));
        }
        let mid = section.mid.as_ref();
        let mut groups = answer.bundles.iter().flatten();
        let is_bundled = mid.is_some_and(|mid| groups.any(|own| own == mid));
        if Some(index) != transport && !is_bundled {
            let reason = AccessReason::NotBundled(index);
            return Err(NegotiateError::InvalidAccess(reason));
        }
    }
    Ok(())
}

/// Whether a remote section describes a transport that we can use.
pub(super) fn check_transport(terms: &Terms, index: usize) -> Result<(), NegotiateError> {
    let section = &terms.sections[index];
    let reason = if section.ice.as_ref().is_none_or(|ice| !ice.is_valid()) {
        AccessReason::NoIceParameters(index)
    } else if usable_fingerprints(section).next().is_none() {
        AccessReason::NoFingerprint(index)
    } else {
        return Ok(());
    };
    Err(NegotiateError::InvalidAccess(reason))
}

/// Whether a remote section changes the certificate of the transport only together with the ICE
/// credentials (RFC 9429 §5.11): one without the other is somebody else's.
pub(super) fn check_certificate(
    before: Option<&Applied>,
    terms: &Terms,
    index: usize,
) -> Result<(), NegotiateError> {
    let ice = terms.sections[index].ice.as_ref();
    let mut known = before.iter().flat_map(|before| &before.terms.sections);
    if known.any(|own| own.ice.as_ref() == ice) && has_other_certificate(before, terms, index) {
        let reason = AccessReason::FingerprintChanged(index);
        return Err(NegotiateError::InvalidAccess(reason));
    }
    Ok(())
}

/// Whether no fingerprint of a remote section is one of those agreed on before.
fn has_other_certificate(before: Option<&Applied>, terms: &Terms, index: usize) -> bool {
    let sections = before.iter().flat_map(|before| &before.terms.sections);
    let known: Vec<&Fingerprint> = sections.flat_map(usable_fingerprints).collect();
    let mut stated = usable_fingerprints(&terms.sections[index]);
    !known.is_empty() && !stated.any(|own| known.contains(&own))
}

/// Hashes by functions that still hold (RFC 8122 §5 forbids MD5 and MD2, SHA-1 is broken).
fn usable_fingerprints(section: &Section) -> impl Iterator<Item = &Fingerprint> {
    section.fingerprints.iter().filter(|fingerprint| {
        matches!(
            (fingerprint.hash.as_str(), fingerprint.bytes.len()),
            ("sha-256", 32) | ("sha-384", 48) | ("sha-512", 64)
        )
    })
}
