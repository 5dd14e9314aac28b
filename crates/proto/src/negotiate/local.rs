//! Setting a local description, and writing candidates into it.

use std::sync::Arc;

use twocan_wire::sdp::{Attribute, Description, Line};

use super::negotiator::{Agreed, Applied, Created, Negotiator};
use super::plan::{IceRole, Plan};
use super::terms::Terms;
use super::{NegotiateError, SdpType, SignalingState, StateReason};

impl Negotiator {
    /// `setLocalDescription`. `sdp` is what was created last, or empty for the same; candidates
    /// added to it do not matter. A rollback needs none.
    ///
    /// # Errors
    /// `InvalidStateError` when the type does not fit the state, `InvalidModificationError` when
    /// the text is not what was created.
    pub fn set_local_description(
        &mut self,
        kind: SdpType,
        sdp: &str,
    ) -> Result<Plan, NegotiateError> {
        let mut next = self.clone();
        let plan = next.try_set_local(kind, sdp)?;
        *self = next;
        Ok(plan)
    }

    fn try_set_local(&mut self, kind: SdpType, sdp: &str) -> Result<Plan, NegotiateError> {
        use SignalingState as S;
        let before = self.agreed.receiving.clone();
        match (kind, self.signaling_state) {
            (SdpType::Rollback, S::HaveLocalOffer) => {
                self.roll_back();
                return Ok(self.plan_now(&before));
            }
            (SdpType::Offer, S::Stable | S::HaveLocalOffer)
            | (SdpType::Pranswer | SdpType::Answer, S::HaveRemoteOffer | S::HaveLocalPranswer) => {}
            (_, state) => {
                let reason = StateReason::Signaling(state);
                return Err(NegotiateError::InvalidState(reason));
            }
        }
        let created = self.take_created(kind, sdp)?;
        self.session_version = created.description.origin.session_version;
        let applied = Arc::new(Applied {
            kind,
            terms: Terms::read(&created.description),
            sdp: created.description.to_string().into(),
        });
        match kind {
            SdpType::Offer => {
                if self.stable.is_none() {
                    self.stable = Some(Box::new(self.agreed.clone()));
                }
                self.agreed.slots = created.slots;
                self.agreed.pending_local = Some(applied);
                self.agreed.ice_role.get_or_insert(IceRole::Controlling);
                self.signaling_state = S::HaveLocalOffer;
                Ok(self.plan_now(&before))
            }
            SdpType::Pranswer | SdpType::Answer => {
                self.agreed.pending_local = Some(applied);
                self.settle(kind, S::HaveLocalPranswer, &before)
            }
            // Handled above.
            SdpType::Rollback => Ok(self.plan_now(&before)),
        }
    }

    /// The created description, if it is of that type and `sdp` is the same.
    fn take_created(&mut self, kind: SdpType, sdp: &str) -> Result<Created, NegotiateError> {
        let wanted = match kind {
            SdpType::Pranswer => SdpType::Answer,
            other => other,
        };
        let Some(created) = self.created.take().filter(|own| own.kind == wanted) else {
            return Err(NegotiateError::InvalidModification);
        };
        if !sdp.is_empty() {
            let given: Description = sdp.parse()?;
            if without_candidates(given) != without_candidates(created.description.clone()) {
                return Err(NegotiateError::InvalidModification);
            }
        }
        if kind == SdpType::Pranswer {
            self.created = Some(created.clone());
        }
        Ok(created)
    }

    /// Back to what was agreed, without what the pending offer brought.
    pub(super) fn roll_back(&mut self) {
        if let Some(stable) = self.stable.take() {
            self.agreed = *stable;
        }
        self.signaling_state = SignalingState::Stable;
        self.created = None;
        let agreed = &self.agreed;
        self.transceivers.retain(|transceiver| {
            let has_section = agreed.slot_of(transceiver.id).is_some();
            let is_leftover = transceiver.maker == super::transceiver::Maker::RemoteOffer;
            has_section || !(is_leftover || transceiver.stopping)
        });
    }

    pub(super) fn stable_agreed(&self) -> &Agreed {
        self.stable.as_deref().unwrap_or(&self.agreed)
    }
}

/// The description with everything removed that gathering adds.
fn without_candidates(mut description: Description) -> Description {
    for media in &mut description.media {
        if !media.is_rejected() {
            media.port = 9;
        }
        media.lines.retain(|line| {
            !matches!(
                line,
                Line::Connection(_)
                    | Line::Attribute(Attribute::Candidate(_) | Attribute::EndOfCandidates)
            )
        });
    }
    description
}
