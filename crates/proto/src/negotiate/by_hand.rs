//! Sections that no description made: parameters set by hand give a transceiver one of them.

use twocan_wire::ids::{Mid, Rid, Ssrc};
use twocan_wire::sdp::Direction;

use super::negotiator::{Negotiator, Slot};
use super::terms::SectionKind;
use super::transceiver::{ENCODINGS_MAX, Kind, Maker, SendEncoding, Transceiver, TransceiverId};

/// A stream that is to be sent; what it does not state is chosen.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct WantedEncoding {
    /// Its name.
    pub rid: Option<Rid>,
    /// The source of the media.
    pub ssrc: Option<Ssrc>,
    /// The source of its retransmissions.
    pub rtx: Option<Ssrc>,
    /// The source of its FlexFEC; that of the first counts.
    pub fec: Option<Ssrc>,
    /// Whether it is to be sent.
    pub active: bool,
}

impl Negotiator {
    /// A transceiver for one way, without a section.
    pub fn add_one_way(&mut self, kind: Kind, direction: Direction) -> TransceiverId {
        self.new_transceiver(kind, Maker::Application, direction, &[])
    }

    /// Gives a transceiver the section `mid` with these streams, at least one and at most
    /// [`ENCODINGS_MAX`]; what it had of both before is gone. Sources that are stated must be free.
    /// `None` for one that there is not.
    pub fn place(
        &mut self,
        id: TransceiverId,
        mid: Mid,
        wanted: &[WantedEncoding],
    ) -> Option<&Transceiver> {
        let before = self.transceiver(id)?.clone();
        let is_stated = |ssrc: Ssrc| {
            let stated = wanted.iter().flat_map(|own| [own.ssrc, own.rtx, own.fec]);
            stated.flatten().any(|own| own == ssrc)
        };
        let mut encodings: Vec<SendEncoding> = Vec::new();
        for (index, wanted) in wanted.iter().take(ENCODINGS_MAX).enumerate() {
            // Its streams keep their numbers when it is told again what to send.
            let own = before.encodings.get(index);
            let free = |negotiator: &mut Self| {
                let taken: Vec<&SendEncoding> = encodings.iter().collect();
                negotiator.new_ssrc(&taken)
            };
            // Unless one of them is stated for something else now.
            let kept = |ssrc: Option<Ssrc>| ssrc.filter(|own| !is_stated(*own));
            let ssrc = wanted.ssrc.or(kept(own.map(|own| own.ssrc)));
            let ssrc = ssrc.unwrap_or_else(|| free(self));
            let rtx = wanted.rtx.or(kept(own.map(|own| own.rtx)));
            let rtx = rtx.unwrap_or_else(|| free(self));
            encodings.push(SendEncoding {
                active: wanted.active,
                ..SendEncoding::new(wanted.rid.clone(), ssrc, rtx)
            });
        }
        let slots = &mut self.agreed.slots;
        slots.retain(|slot| slot.transceiver != Some(id));
        slots.push(Slot {
            mid,
            kind: SectionKind::Rtp(before.kind),
            rejected: false,
            transceiver: Some(id),
        });
        let transceiver = self.transceivers.iter_mut().find(|own| own.id == id)?;
        if !encodings.is_empty() {
            transceiver.encodings = encodings;
        }
        if let Some(fec) = wanted.first().and_then(|own| own.fec) {
            transceiver.fec = fec;
        }
        transceiver.current_direction = Some(transceiver.direction);
        transceiver.ever_sent |= transceiver.direction.sends();
        Some(transceiver)
    }

    /// Takes a transceiver and its section away.
    pub fn displace(&mut self, id: TransceiverId) {
        let slots = &mut self.agreed.slots;
        slots.retain(|slot| slot.transceiver != Some(id));
        self.transceivers.retain(|own| own.id != id);
    }
}
