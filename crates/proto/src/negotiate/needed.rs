//! Whether a new offer is needed (W3C WebRTC §4.7.3).

use twocan_wire::sdp::Attribute;

use super::negotiator::{Negotiator, Slot};
use super::section::msids;
use super::terms::SectionKind;
use super::transceiver::Transceiver;
use super::{SdpType, SignalingState};

impl Negotiator {
    /// Whether the application wants something that is not agreed. Only meaningful, and only ever
    /// true, in the stable state.
    pub fn is_negotiation_needed(&self) -> bool {
        if self.signaling_state != SignalingState::Stable {
            return false;
        }
        let has_data = |slot: &Slot| slot.kind == SectionKind::Data && !slot.rejected;
        !self.to_replace.is_empty()
            || (self.wants_data && !self.agreed.slots.iter().any(has_data))
            || self.transceivers.iter().any(|own| self.needs_offer(own))
    }

    fn needs_offer(&self, transceiver: &Transceiver) -> bool {
        let index = self.agreed.slot_of(transceiver.id);
        let (Some(index), Some(local), Some(remote)) = (
            index,
            &self.agreed.current_local,
            &self.agreed.current_remote,
        ) else {
            return !transceiver.stopping;
        };
        if transceiver.stopping {
            return true;
        }
        let sections = (
            local.terms.sections.get(index),
            remote.terms.sections.get(index),
        );
        let (Some(ours), Some(theirs)) = sections else {
            return true;
        };
        if transceiver.direction.sends() && self.msids_differ(transceiver, index) {
            return true;
        }
        match local.kind {
            SdpType::Offer => {
                transceiver.direction != ours.direction
                    && transceiver.direction != theirs.direction.reversed()
            }
            SdpType::Answer | SdpType::Pranswer | SdpType::Rollback => {
                let wanted = transceiver.direction.intersect(theirs.direction.reversed());
                wanted != ours.direction
            }
        }
    }

    fn msids_differ(&self, transceiver: &Transceiver, index: usize) -> bool {
        let local = self.agreed.current_local.as_ref();
        let media = local.map(|local| local.media()).unwrap_or_default();
        let Some(media) = media.get(index) else {
            return true;
        };
        let stated = media.attributes().filter_map(|attribute| match attribute {
            Attribute::Msid(msid) => Some(msid.clone()),
            _ => None,
        });
        // An answer that may not send states none; then there is nothing to compare.
        let stated: Vec<_> = stated.collect();
        !stated.is_empty() && stated != msids(transceiver).collect::<Vec<_>>()
    }
}
