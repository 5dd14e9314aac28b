//! Creating an answer (RFC 8829 §5.3), and which offered sections it accepts.

use twocan_wire::rtp::ExtensionKind;
use twocan_wire::sdp::{Description, Direction, Extmap, Media, Setup};

use super::codec::{CodecTerms, link_red};
use super::negotiator::{Applied, Created, Negotiator, Slot};
use super::plan::DtlsRole;
use super::section::{Common, DataSection, RtpSection, rejected};
use super::simulcast;
use super::terms::{Section, SectionKind, Terms};
use super::transceiver::{Kind, Transceiver};
use super::{
    AccessReason, Config, IceParameters, NegotiateError, SdpType, SignalingState, StateReason,
};

impl Negotiator {
    /// `createAnswer` to the pending remote offer. `ice` are the credentials to state: fresh ones
    /// when [`Self::wants_ice_restart`] says so.
    ///
    /// # Errors
    /// `InvalidStateError` unless have-remote-offer or have-local-pranswer.
    pub fn create_answer(&mut self, ice: &IceParameters) -> Result<String, NegotiateError> {
        let pending = self.agreed.pending_remote.clone();
        let (SignalingState::HaveRemoteOffer | SignalingState::HaveLocalPranswer, Some(offer)) =
            (self.signaling_state, pending)
        else {
            let reason = StateReason::Signaling(self.signaling_state);
            return Err(NegotiateError::InvalidState(reason));
        };
        let description = self.write_answer(&offer, ice)?;
        let text = description.to_string();
        self.created = Some(Created {
            kind: SdpType::Answer,
            description,
            slots: self.agreed.slots.clone(),
        });
        Ok(text)
    }

    fn write_answer(
        &self,
        offer: &Applied,
        ice: &IceParameters,
    ) -> Result<Description, NegotiateError> {
        let accepted = self.acceptable(&offer.terms);
        let setup = match transport_index(&offer.terms, &accepted) {
            Some(index) => self.answer_setup(&offer.terms, index)?,
            None => Setup::Active,
        };
        let common = Common {
            ice,
            setup,
            config: &self.config,
        };
        // Members in the order of the offered group, so that its first stays the tagged one.
        let bundle = offer
            .terms
            .bundles
            .iter()
            .flatten()
            .filter(|mid| {
                let mut sections = offer.terms.sections.iter().zip(&accepted);
                sections.any(|(section, accepted)| *accepted && section.mid.as_ref() == Some(*mid))
            })
            .cloned()
            .collect();
        let mut description = self.new_description(bundle);
        let media = offer.media();
        let sections = offer.terms.sections.iter().zip(&media);
        for (((section, media), slot), accepted) in sections.zip(&self.agreed.slots).zip(&accepted)
        {
            let answer = if *accepted {
                self.answer_section(section, slot, &common)
            } else {
                None
            };
            description.media.push(answer.unwrap_or_else(|| {
                let formats = media.formats.clone();
                let mid = section.mid.as_ref();
                rejected(media.kind.clone(), &media.protocol, formats, mid)
            }));
        }
        Ok(description)
    }

    fn answer_section(&self, section: &Section, slot: &Slot, common: &Common<'_>) -> Option<Media> {
        let kind = match section.kind {
            SectionKind::Data => {
                return Some(common.data(&DataSection {
                    protocol: &section.protocol,
                    mid: section.mid.as_ref(),
                    legacy: section.legacy_sctp,
                }));
            }
            SectionKind::Rtp(kind) => kind,
            SectionKind::Unknown => return None,
        };
        let transceiver = self.live_owner(slot)?;
        let direction = transceiver
            .direction
            .intersect(section.direction.reversed());
        let mut extensions = answer_extensions(&self.config, transceiver, section);
        let codecs =
            transceiver.preferred(&self.config, common_codecs(&self.config, kind, section));
        if codecs.iter().any(|codec| codec.feedback.ack_ccfb) {
            // Reports by stream need no numbers of the transport.
            let numbers = ExtensionKind::TransportSequence;
            extensions.retain(|own| ExtensionKind::from_uri(&own.uri) != Some(numbers));
        }
        let streams = simulcast::answered(&simulcast::Answered {
            config: &self.config,
            offer: section,
            direction,
            extensions: &extensions,
            encodings: &transceiver.encodings,
            codecs: &codecs,
        });
        Some(common.rtp(&RtpSection {
            kind,
            protocol: &section.protocol,
            mid: section.mid.as_ref(),
            direction,
            codecs: &codecs,
            extensions: &extensions,
            transceiver,
            rtcp_rsize: section.rtcp_rsize,
            streams: &streams,
            simulcast: true,
        }))
    }

    /// Our role: the one we have, or the client's where the offer leaves the choice, so that the
    /// ClientHello need not wait for the answer to arrive (RFC 8842 §5.3).
    pub(super) fn answer_setup(
        &self,
        offer: &Terms,
        index: usize,
    ) -> Result<Setup, NegotiateError> {
        let offered = offer.sections.get(index).and_then(|section| section.setup);
        let role = match (offered, self.agreed.dtls_role) {
            (None | Some(Setup::ActPass), Some(role)) => role,
            (None | Some(Setup::ActPass), None) => DtlsRole::Client,
            (Some(Setup::Passive), None | Some(DtlsRole::Client)) => DtlsRole::Client,
            (Some(Setup::Active), None | Some(DtlsRole::Server)) => DtlsRole::Server,
            (Some(Setup::Passive), Some(DtlsRole::Server))
            | (Some(Setup::Active), Some(DtlsRole::Client)) => {
                return Err(NegotiateError::InvalidAccess(AccessReason::SetupChanged(
                    index,
                )));
            }
            (Some(Setup::HoldConn), _) => {
                return Err(NegotiateError::InvalidAccess(AccessReason::BadSetup(index)));
            }
        };
        Ok(match role {
            DtlsRole::Client => Setup::Active,
            DtlsRole::Server => Setup::Passive,
        })
    }

    /// Which sections of an offer we can accept, by index.
    ///
    /// One transport carries everything: the first usable section decides, and its BUNDLE group
    /// says which others may join it.
    pub(super) fn acceptable(&self, offer: &Terms) -> Vec<bool> {
        let mut has_data = false;
        let usable: Vec<bool> = offer
            .sections
            .iter()
            .enumerate()
            .map(|(index, section)| match section.kind {
                _ if section.rejected => false,
                SectionKind::Rtp(kind) => {
                    section.rtcp_mux
                        && self
                            .preferred_at((index, kind), common_codecs(&self.config, kind, section))
                            .iter()
                            .any(CodecTerms::is_media)
                        && self.may_serve(index)
                }
                // RFC 8829 §5.3.1: one association, so one section.
                SectionKind::Data => !std::mem::replace(&mut has_data, true),
                SectionKind::Unknown => false,
            })
            .collect();
        let Some(first) = usable.iter().position(|usable| *usable) else {
            return usable;
        };
        let mid = offer.sections[first].mid.as_ref();
        let group = mid.and_then(|mid| offer.bundles.iter().find(|group| group.contains(mid)));
        let joins = |section: &Section| match (group, &section.mid) {
            (Some(group), Some(mid)) => group.contains(mid),
            _ => false,
        };
        let sections = offer.sections.iter().zip(usable).enumerate();
        sections
            .map(|(index, (section, usable))| usable && (index == first || joins(section)))
            .collect()
    }

    /// What the transceiver of a section, if it has one yet, leaves of the codecs.
    fn preferred_at(
        &self,
        (index, kind): (usize, Kind),
        codecs: Vec<CodecTerms>,
    ) -> Vec<CodecTerms> {
        let slot = self.agreed.slots.get(index);
        let owner = slot.and_then(|slot| self.transceiver(slot.transceiver?));
        match owner {
            Some(transceiver) => transceiver.preferred(&self.config, codecs),
            None => self.config.usual(kind, codecs),
        }
    }

    /// Whether the transceiver of a section, if it has one yet, is not about to stop.
    fn may_serve(&self, index: usize) -> bool {
        let slot = self.agreed.slots.get(index);
        let owner = slot.and_then(|slot| slot.transceiver);
        match owner {
            Some(id) => self.transceiver(id).is_some_and(|own| !own.stopping),
            None => true,
        }
    }

    /// The section whose transport a description's accepted sections share.
    pub(super) fn transport_section<'a>(&self, offer: &'a Terms) -> Option<&'a Section> {
        let index = transport_index(offer, &self.acceptable(offer))?;
        offer.sections.get(index)
    }
}

/// The first accepted member of the BUNDLE group, in the group's order (RFC 9143 §7.3.3); where
/// there is no group, the accepted section.
pub(super) fn transport_index(terms: &Terms, accepted: &[bool]) -> Option<usize> {
    let is_accepted = |index: &usize| accepted.get(*index).copied().unwrap_or(false);
    let tagged = terms.bundles.iter().flatten().find_map(|mid| {
        let found = |section: &Section| section.mid.as_ref() == Some(mid);
        terms
            .sections
            .iter()
            .position(found)
            .filter(|index| is_accepted(index))
    });
    tagged.or_else(|| (0..terms.sections.len()).find(is_accepted))
}

/// The offered codecs that we know, in the offer's order.
fn common_codecs(config: &Config, kind: Kind, section: &Section) -> Vec<CodecTerms> {
    let own = config.known_codecs(kind);
    let answer = |offered: &CodecTerms| {
        let ours = own.iter().find(|own| own.is_same_codec(offered))?;
        Some(ours.answer(offered))
    };
    let mut codecs = section.codecs.iter().filter_map(answer).collect();
    link_red(&mut codecs);
    codecs
}

/// The offered extensions that we know, with the offer's numbers and the direction turned.
fn answer_extensions(config: &Config, transceiver: &Transceiver, section: &Section) -> Vec<Extmap> {
    let kinds = transceiver.extension_kinds(config);
    let known = |extmap: &&Extmap| {
        // Numbers above 255 are only for offers that list more than there are (RFC 8285 §6).
        ExtensionKind::from_uri(&extmap.uri).is_some_and(|kind| kinds.contains(&kind))
            && extmap.id <= 255
    };
    let mut answer: Vec<Extmap> = Vec::new();
    for extmap in section.extensions.iter().filter(known) {
        if answer
            .iter()
            .any(|own| own.uri == extmap.uri || own.id == extmap.id)
        {
            continue;
        }
        answer.push(Extmap {
            direction: extmap.direction.map(Direction::reversed),
            attributes: None,
            ..extmap.clone()
        });
    }
    transceiver.permitted(answer)
}
