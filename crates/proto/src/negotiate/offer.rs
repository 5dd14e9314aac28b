//! Creating an offer (RFC 8829 §5.2).

use std::collections::{BTreeMap, BTreeSet};

use twocan_wire::ids::{Mid, PayloadType};
use twocan_wire::sdp::{Description, Extmap, MEDIA_MAX, Media, MediaKind, RidDirection, Setup};

use super::codec::{CodecTerms, RepairCodec, link_red};
use super::negotiator::{Config, Created, Negotiator, Slot};
use super::section::{Common, DataSection, RtpSection, rejected};
use super::simulcast::{self, Stream};
use super::terms::SectionKind;
use super::transceiver::{Kind, Transceiver, TransceiverId};
use super::{IceParameters, NegotiateError, OperationReason, SdpType, SignalingState, StateReason};

const RTP: &str = "UDP/TLS/RTP/SAVPF";
const SCTP: &str = "UDP/DTLS/SCTP";

impl Negotiator {
    /// `createOffer`: an offer of everything the application wants. `ice` are the credentials to
    /// state: fresh ones when [`Self::wants_ice_restart`] says so.
    ///
    /// # Errors
    /// `InvalidStateError` unless stable or have-local-offer; `OperationError` when there would be
    /// more than 256 sections.
    pub fn create_offer(&mut self, ice: &IceParameters) -> Result<String, NegotiateError> {
        match self.signaling_state {
            SignalingState::Stable | SignalingState::HaveLocalOffer => {}
            state @ (SignalingState::HaveRemoteOffer
            | SignalingState::HaveLocalPranswer
            | SignalingState::HaveRemotePranswer) => {
                let reason = StateReason::Signaling(state);
                return Err(NegotiateError::InvalidState(reason));
            }
        }
        let slots = self.slots_for_offer()?;
        let description = self.write_offer(&slots, ice);
        let text = description.to_string();
        self.created = Some(Created {
            kind: SdpType::Offer,
            description,
            slots,
        });
        Ok(text)
    }

    /// Sections agreed before keep their places; new ones take places at rest, then the end.
    fn slots_for_offer(&self) -> Result<Vec<Slot>, NegotiateError> {
        let mut slots = self.agreed.slots.clone();
        let mut mids: BTreeSet<Mid> = slots.iter().map(|slot| slot.mid.clone()).collect();
        let has_data = |slot: &Slot| slot.kind == SectionKind::Data && !slot.rejected;
        if self.config.always_negotiate_data && !slots.iter().any(has_data) {
            place(&mut slots, &mut mids, SectionKind::Data, None);
        }
        for transceiver in &self.transceivers {
            if !transceiver.stopping && self.agreed.slot_of(transceiver.id).is_none() {
                let kind = SectionKind::Rtp(transceiver.kind);
                place(&mut slots, &mut mids, kind, Some(transceiver.id));
            }
        }
        if self.wants_data && !slots.iter().any(has_data) {
            place(&mut slots, &mut mids, SectionKind::Data, None);
        }
        if slots.len() > MEDIA_MAX {
            return Err(NegotiateError::Operation(OperationReason::TooManySections));
        }
        Ok(slots)
    }

    fn write_offer(&self, slots: &[Slot], ice: &IceParameters) -> Description {
        let common = Common {
            ice,
            // RFC 8842 §5.2: every offer leaves the choice, a connection that is up keeps its role.
            setup: Setup::ActPass,
            config: &self.config,
        };
        let mut numbers = Numbers::new(self);
        let mut bundle = Vec::new();
        let mut media = Vec::new();
        for (index, slot) in slots.iter().enumerate() {
            let section = self.write_slot(index, slot, &common, &mut numbers);
            if section.port != 0 {
                bundle.push(slot.mid.clone());
            }
            media.push(section);
        }
        let mut description = self.new_description(bundle);
        description.media = media;
        description
    }

    fn write_slot(
        &self,
        index: usize,
        slot: &Slot,
        common: &Common<'_>,
        numbers: &mut Numbers,
    ) -> Media {
        match (slot.kind, self.live_owner(slot)) {
            (SectionKind::Data, _) if !slot.rejected => common.data(&DataSection {
                protocol: SCTP,
                mid: Some(&slot.mid),
                legacy: false,
            }),
            (SectionKind::Rtp(kind), Some(transceiver)) => {
                let codecs = transceiver.preferred(&self.config, numbers.codecs(self, kind));
                let extensions = numbers.extensions(&self.config, transceiver);
                let mut streams = simulcast::offered(&transceiver.encodings, transceiver.direction);
                streams.extend(self.agreed_streams(index, slot));
                common.rtp(&RtpSection {
                    kind,
                    protocol: RTP,
                    mid: Some(&slot.mid),
                    direction: transceiver.direction,
                    codecs: &codecs,
                    extensions: &extensions,
                    transceiver,
                    rtcp_rsize: true,
                    streams: &streams,
                    simulcast: streams
                        .iter()
                        .any(|own| own.direction == RidDirection::Recv),
                })
            }
            (kind, _) => {
                let remote = self.agreed.current_remote.as_ref();
                let media = remote.map(|remote| remote.media()).unwrap_or_default();
                match media.get(index) {
                    Some(media) => {
                        let formats = media.formats.clone();
                        let mid = Some(&slot.mid);
                        rejected(media.kind.clone(), &media.protocol, formats, mid)
                    }
                    None => rest(kind, &slot.mid),
                }
            }
        }
    }

    /// Simulcast streams that we agreed to receive go on being received.
    fn agreed_streams(&self, index: usize, slot: &Slot) -> Vec<Stream> {
        let local = self.agreed.current_local.as_ref();
        let section = local.and_then(|local| local.terms.sections.get(index));
        let section = section.filter(|section| section.mid.as_ref() == Some(&slot.mid));
        let lines = section.into_iter().flat_map(|section| &section.rids);
        lines
            .filter(|line| line.direction == RidDirection::Recv)
            .map(|line| Stream {
                rid: line.rid.clone(),
                direction: RidDirection::Recv,
                restrictions: line.restrictions.clone(),
            })
            .collect()
    }

    /// The transceiver of a section, unless it or the section is at rest.
    pub(super) fn live_owner(&self, slot: &Slot) -> Option<&Transceiver> {
        if slot.rejected {
            return None;
        }
        self.transceiver(slot.transceiver?)
            .filter(|transceiver| !transceiver.stopping)
    }
}

/// A section that came to rest before any remote description, in the form of its kind.
fn rest(kind: SectionKind, mid: &Mid) -> Media {
    match kind {
        SectionKind::Rtp(Kind::Audio) => {
            rejected(MediaKind::Audio, RTP, vec!["0".into()], Some(mid))
        }
        // RFC 8829 has a rejected section keep its formats; any one does for its place.
        SectionKind::Rtp(Kind::Video) | SectionKind::Unknown => {
            rejected(MediaKind::Video, RTP, vec!["96".into()], Some(mid))
        }
        SectionKind::Data => {
            let formats = vec!["webrtc-datachannel".into()];
            rejected(MediaKind::Application, SCTP, formats, Some(mid))
        }
    }
}

fn place(
    slots: &mut Vec<Slot>,
    mids: &mut BTreeSet<Mid>,
    kind: SectionKind,
    transceiver: Option<TransceiverId>,
) {
    let mid = free_mid(mids);
    mids.insert(mid.clone());
    let slot = Slot {
        mid,
        kind,
        rejected: false,
        transceiver,
    };
    match slots.iter_mut().find(|slot| slot.rejected) {
        Some(seat) => *seat = slot,
        None => slots.push(slot),
    }
}

/// The lowest number that no section has.
pub(super) fn free_mid(taken: &BTreeSet<Mid>) -> Mid {
    let mut number = 0u32;
    loop {
        let mid = Mid::from(number.to_string().as_str());
        if !taken.contains(&mid) {
            return mid;
        }
        number += 1;
    }
}

/// Numbers given out in one offer, beside those agreed before.
struct Numbers {
    payload_types: BTreeSet<PayloadType>,
    audio: Option<Vec<CodecTerms>>,
    video: Option<Vec<CodecTerms>>,
    extension_ids: BTreeMap<String, u8>,
}

impl Numbers {
    fn new(negotiator: &Negotiator) -> Self {
        let agreed = &negotiator.agreed;
        let media = agreed.payload_types.keys();
        Self {
            payload_types: media
                .chain(agreed.rtx_payload_types.keys())
                .copied()
                .collect(),
            audio: None,
            video: None,
            extension_ids: agreed.extension_ids.clone(),
        }
    }

    /// Numbers once given to a kind serve all its sections.
    fn codecs(&mut self, negotiator: &Negotiator, kind: Kind) -> Vec<CodecTerms> {
        let seat = match kind {
            Kind::Audio => &self.audio,
            Kind::Video => &self.video,
        };
        if let Some(codecs) = seat {
            return codecs.clone();
        }
        let codecs = self.new_codecs(negotiator, kind);
        let seat = match kind {
            Kind::Audio => &mut self.audio,
            Kind::Video => &mut self.video,
        };
        seat.insert(codecs).clone()
    }

    fn new_codecs(&mut self, negotiator: &Negotiator, kind: Kind) -> Vec<CodecTerms> {
        let agreed = &negotiator.agreed;
        let mut used = BTreeSet::new();
        let mut codecs = Vec::new();
        let known = negotiator.config.known_codecs(kind);
        for mut codec in known {
            if !negotiator
                .config
                .is_wanted(kind, &codec, &negotiator.transceivers)
            {
                continue;
            }
            let known = agreed
                .payload_types
                .iter()
                .find(|(pt, terms)| !used.contains(*pt) && terms.is_same_codec(&codec))
                .map(|(payload_type, _)| *payload_type);
            let repair = RepairCodec::from_name(&codec.name);
            let is_wanted = known.is_some() || negotiator.config.offer_flexfec;
            if repair == Some(RepairCodec::Flexfec) && !is_wanted {
                continue;
            }
            let payload_type = match known {
                Some(known) => Some(known),
                None => self.take_payload_type(codec.payload_type),
            };
            // 128 numbers are many, but a long list of codecs can use them up: leave the rest out.
            let Some(payload_type) = payload_type else {
                continue;
            };
            used.insert(payload_type);
            codec.payload_type = payload_type;
            let before = known.and_then(|known| agreed.payload_types.get(&known));
            codec.feedback.ack_ccfb &= negotiator.config.offer_congestion_feedback
                || before.is_some_and(|before| before.feedback.ack_ccfb);
            codec.rtx = codec.rtx.and_then(|preferred| {
                let known = agreed
                    .rtx_payload_types
                    .iter()
                    .find(|(_, apt)| **apt == payload_type);
                known
                    .map(|(rtx, _)| *rtx)
                    .or_else(|| self.take_payload_type(preferred))
            });
            codecs.push(codec);
        }
        link_red(&mut codecs);
        codecs
    }

    /// The preferred number if it is free, else a dynamic one (RFC 5761 §4: 96 to 127, then 35
    /// to 63; 64 to 95 would look like RTCP).
    fn take_payload_type(&mut self, preferred: PayloadType) -> Option<PayloadType> {
        let mut free = std::iter::once(preferred)
            .chain((96..=127).map(PayloadType))
            .chain((35..=63).map(PayloadType))
            .filter(|payload_type| !self.payload_types.contains(payload_type));
        let payload_type = free.next()?;
        drop(free);
        self.payload_types.insert(payload_type);
        Some(payload_type)
    }

    /// One-byte numbers, 1 to 14 (RFC 8285 §4.2), the same in all sections: we offer no more extensions
    /// than that, unless an application asks for every one.
    fn extensions(&mut self, config: &Config, transceiver: &Transceiver) -> Vec<Extmap> {
        let mut extensions = Vec::new();
        for extension in transceiver.extension_kinds(config) {
            let uri = extension.uri();
            let known = self.extension_ids.get(uri).copied();
            let free = || (1..=14).find(|id| !self.extension_ids.values().any(|own| own == id));
            let Some(id) = known.or_else(free) else {
                continue;
            };
            self.extension_ids.insert(uri.into(), id);
            extensions.push(Extmap {
                id: u16::from(id),
                direction: None,
                uri: uri.into(),
                attributes: None,
            });
        }
        transceiver.permitted(extensions)
    }
}
