//! Senders and receivers whose parameters are set by hand: each has a section of its own, for one
//! way.

use std::collections::BTreeMap;

use twocan_wire::ids::{Mid, PayloadType, Rid, Ssrc};
use twocan_wire::rtp::{ExtensionKind, ExtensionMap};
use twocan_wire::sdp::{Direction, fmtp_parameter};

use super::{OrtcError, RtpCodecParameters, RtpEncodingParameters, RtpParameters, RtpReason};
use crate::negotiate::{
    ENCODINGS_MAX, Kind, MediaPlan, NegotiatedCodec, NegotiationEvent, RepairCodec, Source,
    TransceiverId, WantedEncoding, check_rids,
};
use crate::peer::machine::Peer;
use crate::peer::media::format_of;
use crate::peer::parameters::{Sender, check_modes, check_ranges, set_scales};
use crate::peer::{EncodingParameters, Event};
use crate::time::Now;

/// The longest MID: what fits a header extension with the short form of elements (RFC 8285 §4.2).
const MID_LEN_MAX: usize = 16;

impl Peer {
    /// `RTCRtpSender`: one that sends nothing yet.
    ///
    /// # Errors
    /// `InvalidStateError` when closed, or not by hand.
    pub fn add_rtp_sender(&mut self, kind: Kind) -> Result<TransceiverId, OrtcError> {
        self.hand()?;
        Ok(self.negotiator.add_one_way(kind, Direction::SendOnly))
    }

    /// `RTCRtpReceiver`: one that receives nothing yet.
    ///
    /// # Errors
    /// `InvalidStateError` when closed, or not by hand.
    pub fn add_rtp_receiver(&mut self, kind: Kind) -> Result<TransceiverId, OrtcError> {
        self.hand()?;
        Ok(self.negotiator.add_one_way(kind, Direction::RecvOnly))
    }

    /// `send` of an `RTCRtpSender`: frames and packets are taken from here on, as these parameters
    /// say, once there are keys. They may be set again; streams that remain go on.
    ///
    /// # Errors
    /// `InvalidStateError` when closed, not by hand or stopped; `InvalidAccessError` for parameters
    /// that contradict themselves or those of another sender; `TypeError` for RIDs, and `RangeError`
    /// and `OperationError` for bounds, as [`Self::add_transceiver_with`].
    pub fn send_rtp(
        &mut self,
        now: Now,
        id: TransceiverId,
        parameters: &RtpParameters,
    ) -> Result<(), OrtcError> {
        let kind = self.kind_of(id, Direction::SendOnly)?;
        let codecs = codecs(kind, parameters)?;
        let mut extensions = extensions(parameters)?;
        let given = self.checked_mid(id, parameters, Direction::SendOnly)?;
        if given.is_none() {
            // Our name for the section is nobody else's business.
            extensions = without(&extensions, ExtensionKind::Mid);
        }
        let mid = given.unwrap_or_else(|| unnamed(id));
        let one = [RtpEncodingParameters::default()];
        let stated = match &parameters.encodings[..] {
            [] => &one[..],
            stated => stated,
        };
        let most = match kind {
            Kind::Audio => 1,
            Kind::Video => ENCODINGS_MAX,
        };
        if stated.len() > most {
            return Err(RtpReason::TooManyEncodings(stated.len()).into());
        }
        let encodings = self.checked_encodings(id, kind, stated, &codecs)?;
        let wanted: Vec<WantedEncoding> = stated.iter().map(wanted).collect();
        let placed = self.negotiator.place(id, mid.clone(), &wanted);
        let placed = placed.ok_or(OrtcError::Stopped)?;
        let (streams, fec) = (placed.encodings().to_vec(), placed.fec_source());
        let mut complete = parameters.clone();
        complete.encodings = stated.to_vec();
        for (told, stream) in complete.encodings.iter_mut().zip(&streams) {
            told.ssrc = Some(stream.ssrc.0);
            told.rtx = has_rtx(&codecs).then_some(stream.rtx.0);
            told.fec = told.fec.filter(|_| has_flexfec(&codecs));
        }
        if has_flexfec(&codecs)
            && let [only] = &mut complete.encodings[..]
        {
            only.fec = Some(fec.0);
        }
        if complete.rtcp.cname.is_empty() {
            complete
                .rtcp
                .cname
                .clone_from(&self.negotiator.config().cname);
        }
        let plan = MediaPlan {
            encodings: streams,
            fec,
            extensions_send: extensions,
            cname: complete.rtcp.cname.clone(),
            ..self.empty_plan(id, kind, mid, Direction::SendOnly, codecs, parameters)
        };
        self.senders.insert(id, Sender::of(encodings));
        self.take_plan(now, plan, complete)
    }

    /// `receive` of an `RTCRtpReceiver`: what the other side sends by these parameters is handed out
    /// from here on. They may be set again; streams that remain go on.
    ///
    /// # Errors
    /// `InvalidStateError` when closed, not by hand or stopped; `InvalidAccessError` for parameters
    /// that contradict themselves or those of another receiver.
    pub fn receive_rtp(
        &mut self,
        now: Now,
        id: TransceiverId,
        parameters: &RtpParameters,
    ) -> Result<(), OrtcError> {
        let kind = self.kind_of(id, Direction::RecvOnly)?;
        let codecs = codecs(kind, parameters)?;
        let extensions = extensions(parameters)?;
        self.check_extensions(id, &extensions)?;
        let remote_mid = self.checked_mid(id, parameters, Direction::RecvOnly)?;
        let remote = self.checked_sources(id, parameters)?;
        let rids = parameters.encodings.iter();
        let rids = rids.filter_map(|own| own.encoding.rid.as_deref().map(Rid::from));
        // A sender of the same name is another section.
        let mid = unnamed(id);
        let placed = self.negotiator.place(id, mid.clone(), &[]);
        let streams = placed.ok_or(OrtcError::Stopped)?.encodings().to_vec();
        let plan = MediaPlan {
            remote_mid,
            encodings: streams,
            extensions_receive: extensions,
            remote,
            rids: rids.collect(),
            ..self.empty_plan(id, kind, mid, Direction::RecvOnly, codecs, parameters)
        };
        self.take_plan(now, plan, parameters.clone())
    }

    /// `stop` of a sender or receiver: it is over for good. The other side is told by a BYE that
    /// the streams of a sender have ended.
    ///
    /// # Errors
    /// `InvalidStateError` when closed, not by hand, or stopped already.
    pub fn stop_rtp(&mut self, now: Now, id: TransceiverId) -> Result<(), OrtcError> {
        self.hand()?;
        let known = self.negotiator.transceiver(id);
        known.ok_or(OrtcError::Stopped)?;
        self.negotiator.displace(id);
        let hand = self.hand()?;
        hand.parameters.remove(&id);
        let had = hand.plans.remove(&id).is_some();
        let plans: Vec<MediaPlan> = hand.plans.values().cloned().collect();
        if had {
            self.apply_media(plans);
        }
        self.packets.remove(&id);
        let stopped = NegotiationEvent::TransceiverStopped { transceiver: id };
        self.events.push_back(Event::Negotiation(stopped));
        self.settle(now);
        Ok(())
    }

    /// What a sender sends or a receiver receives: as it was set, of a sender with the sources and
    /// the canonical name that were chosen for it, for its receiver. `None` before it was set.
    pub fn rtp_parameters(&self, id: TransceiverId) -> Option<&RtpParameters> {
        self.by_hand.as_ref()?.parameters.get(&id)
    }

    /// The canonical name of what a transceiver sends.
    pub(in crate::peer) fn cname(&self, id: TransceiverId) -> String {
        let hand = self.by_hand.as_ref();
        let plan = hand.and_then(|hand| hand.plans.get(&id));
        let own = plan.map(|plan| &plan.cname);
        own.unwrap_or(&self.negotiator.config().cname).clone()
    }

    /// What the two sides call a section: nothing, where parameters set by hand have no name for it.
    pub(in crate::peer) fn told_mid(&self, mid: &Mid) -> Mid {
        let Some(hand) = &self.by_hand else {
            return mid.clone();
        };
        let mut all = hand.plans.iter();
        let id = all.find(|(_, plan)| plan.mid == *mid).map(|(id, _)| id);
        let parameters = id.and_then(|id| hand.parameters.get(id));
        let told = parameters.and_then(|own| own.mid.as_deref());
        Mid::from(told.unwrap_or_default())
    }

    fn kind_of(&mut self, id: TransceiverId, way: Direction) -> Result<Kind, OrtcError> {
        self.hand()?;
        let own = self.negotiator.transceiver(id);
        let own = own.filter(|own| own.direction() == way);
        own.map(|own| own.kind()).ok_or(OrtcError::Stopped)
    }

    /// The plans of the others that go the same way.
    fn others(&self, id: TransceiverId, way: Direction) -> impl Iterator<Item = &MediaPlan> {
        let hand = self.by_hand.as_ref();
        let plans = hand.into_iter().flat_map(|hand| hand.plans.values());
        plans.filter(move |plan| plan.transceiver != id && plan.direction == way)
    }

    fn checked_mid(
        &self,
        id: TransceiverId,
        parameters: &RtpParameters,
        way: Direction,
    ) -> Result<Option<Mid>, RtpReason> {
        let Some(mid) = &parameters.mid else {
            return Ok(None);
        };
        // RFC 8866 §9: what a token is made of.
        let is_token =
            |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`{|}~".contains(&byte);
        if !(1..=MID_LEN_MAX).contains(&mid.len()) || !mid.bytes().all(is_token) {
            return Err(RtpReason::BadMid);
        }
        let mut others = self.others(id, way);
        let is_same = |plan: &MediaPlan| {
            let own = plan.remote_mid.as_ref().unwrap_or(&plan.mid);
            own.as_str() == mid
        };
        match others.any(is_same) {
            true => Err(RtpReason::RepeatedMid(mid.clone())),
            false => Ok(Some(Mid::from(mid.as_str()))),
        }
    }

    fn checked_encodings(
        &self,
        id: TransceiverId,
        kind: Kind,
        stated: &[RtpEncodingParameters],
        codecs: &[NegotiatedCodec],
    ) -> Result<Vec<EncodingParameters>, OrtcError> {
        let mut encodings: Vec<EncodingParameters> =
            stated.iter().map(|own| own.encoding.clone()).collect();
        let rids: Vec<Option<Rid>> = encodings
            .iter()
            .map(|own| own.rid.as_deref().map(Rid::from))
            .collect();
        check_rids(&rids)?;
        check_ranges(&encodings)?;
        let formats: Vec<_> = codecs.iter().map(format_of).collect();
        check_modes(&encodings, &formats)?;
        set_scales(kind, &mut encodings);
        let transceivers = self.negotiator.transceivers().iter();
        let others = transceivers.filter(|own| own.id() != id);
        let mut taken: Vec<u32> = others
            .flat_map(|own| {
                let media = own.encodings().iter();
                let sources = media.flat_map(|own| [own.ssrc.0, own.rtx.0]);
                sources.chain([own.fec_source().0])
            })
            .collect();
        check_sources(stated, &mut taken)?;
        Ok(encodings)
    }

    fn checked_sources(
        &self,
        id: TransceiverId,
        parameters: &RtpParameters,
    ) -> Result<Vec<Source>, RtpReason> {
        let others = self.others(id, Direction::RecvOnly);
        let mut taken: Vec<u32> = others
            .flat_map(|plan| &plan.remote)
            .flat_map(|own| [Some(own.ssrc), own.rtx, own.fec])
            .flatten()
            .map(|ssrc| ssrc.0)
            .collect();
        check_sources(&parameters.encodings, &mut taken)?;
        let stated = parameters.encodings.iter();
        let sources = stated.filter_map(|own| {
            Some(Source {
                ssrc: Ssrc(own.ssrc?),
                rtx: own.rtx.map(Ssrc),
                fec: own.fec.map(Ssrc),
                cname: None,
            })
        });
        Ok(sources.collect())
    }

    /// In all that is received a number has one meaning, and a meaning one number: it is read before
    /// it is known whose packet it is in.
    fn check_extensions(&self, id: TransceiverId, own: &ExtensionMap) -> Result<(), RtpReason> {
        for other in self.others(id, Direction::RecvOnly) {
            for (kind, number) in own.iter() {
                let theirs = &other.extensions_receive;
                let meaning = theirs.kind(number).is_some_and(|other| other != kind);
                let numbered = theirs.id(kind).is_some_and(|other| other != number);
                if meaning || numbered {
                    return Err(bad_extension(kind.uri(), number));
                }
            }
        }
        Ok(())
    }

    fn empty_plan(
        &self,
        id: TransceiverId,
        kind: Kind,
        mid: Mid,
        way: Direction,
        codecs: Vec<NegotiatedCodec>,
        parameters: &RtpParameters,
    ) -> MediaPlan {
        let first = codecs.iter().map(|own| RepairCodec::from_name(&own.name));
        let mut first = first.filter(|own| matches!(own, None | Some(RepairCodec::Red)));
        MediaPlan {
            transceiver: id,
            mid,
            remote_mid: None,
            kind,
            direction: way,
            red_preferred: first.next().flatten().is_some(),
            codecs,
            extensions_send: ExtensionMap::default(),
            extensions_receive: ExtensionMap::default(),
            rtcp_rsize: parameters.rtcp.reduced_size,
            encodings: Vec::new(),
            fec: Ssrc(0),
            cname: self.negotiator.config().cname.clone(),
            remote: Vec::new(),
            rids: Vec::new(),
        }
    }

    fn take_plan(
        &mut self,
        now: Now,
        plan: MediaPlan,
        parameters: RtpParameters,
    ) -> Result<(), OrtcError> {
        let hand = self.hand()?;
        hand.parameters.insert(plan.transceiver, parameters);
        hand.plans.insert(plan.transceiver, plan);
        let plans = hand.plans.values().cloned().collect();
        self.apply_media(plans);
        self.settle(now);
        Ok(())
    }
}

/// The name of a section that has none, or none that is ours to give: no token, so that nobody's.
fn unnamed(id: TransceiverId) -> Mid {
    Mid::from(format!("<{}>", id.0).as_str())
}

fn wanted(stated: &RtpEncodingParameters) -> WantedEncoding {
    WantedEncoding {
        rid: stated.encoding.rid.as_deref().map(Rid::from),
        ssrc: stated.ssrc.map(Ssrc),
        rtx: stated.rtx.map(Ssrc),
        fec: stated.fec.map(Ssrc),
        active: stated.encoding.active,
    }
}

/// Whether all sources are some, and none is `taken` or stated twice.
fn check_sources(stated: &[RtpEncodingParameters], taken: &mut Vec<u32>) -> Result<(), RtpReason> {
    let all = stated.iter().flat_map(|own| [own.ssrc, own.rtx, own.fec]);
    for source in all.flatten() {
        if source == 0 || taken.contains(&source) {
            return Err(RtpReason::BadSource(source));
        }
        taken.push(source);
    }
    Ok(())
}

fn has_rtx(codecs: &[NegotiatedCodec]) -> bool {
    codecs.iter().any(|own| own.rtx_payload_type.is_some())
}

fn has_flexfec(codecs: &[NegotiatedCodec]) -> bool {
    let mut kinds = codecs.iter().map(|own| RepairCodec::from_name(&own.name));
    kinds.any(|own| own == Some(RepairCodec::Flexfec))
}

/// The codecs as a negotiation would have them: one number for both ways, of which one is used.
fn codecs(kind: Kind, parameters: &RtpParameters) -> Result<Vec<NegotiatedCodec>, RtpReason> {
    let mut agreed: Vec<NegotiatedCodec> = Vec::new();
    let mut again: BTreeMap<u8, u8> = BTreeMap::new();
    let mut numbers: Vec<u8> = Vec::new();
    for own in &parameters.codecs {
        let number = own.payload_type;
        // RFC 5761 §4.
        if number > 127 || (64..=95).contains(&number) {
            return Err(RtpReason::BadPayloadType(number));
        }
        if numbers.contains(&number) {
            return Err(RtpReason::RepeatedPayloadType(number));
        }
        numbers.push(number);
        let name = checked_name(kind, own)?;
        if name.eq_ignore_ascii_case("rtx") {
            let apt = fmtp_parameter(&own.sdp_fmtp_line, "apt");
            let apt = apt.and_then(|apt| apt.parse().ok());
            let apt: u8 = apt.ok_or(RtpReason::BadRetransmission(number))?;
            if again.insert(apt, number).is_some() {
                return Err(RtpReason::BadRetransmission(number));
            }
            continue;
        }
        agreed.push(NegotiatedCodec {
            name: name.to_owned(),
            clock_rate: own.clock_rate,
            channels: own.channels.unwrap_or(1),
            payload_type: PayloadType(number),
            payload_type_send: PayloadType(number),
            rtx_payload_type: None,
            rtx_payload_type_send: None,
            fmtp: own.sdp_fmtp_line.clone(),
            fmtp_remote: own.sdp_fmtp_line.clone(),
            feedback: own.feedback(),
        });
    }
    for (apt, rtx) in again {
        let repaired = agreed.iter_mut().find(|own| own.payload_type.0 == apt);
        let repaired = repaired.ok_or(RtpReason::BadRetransmission(rtx))?;
        repaired.rtx_payload_type = Some(PayloadType(rtx));
        repaired.rtx_payload_type_send = Some(PayloadType(rtx));
    }
    let carries = |own: &NegotiatedCodec| RepairCodec::from_name(&own.name).is_none();
    match agreed.iter().any(carries) {
        true => Ok(agreed),
        false => Err(RtpReason::NoCodec),
    }
}

fn checked_name(kind: Kind, codec: &RtpCodecParameters) -> Result<&str, RtpReason> {
    let parts = codec.mime_type.split_once('/');
    let parts = parts.filter(|(of, name)| {
        let is_kind = of.eq_ignore_ascii_case(&kind.to_string());
        is_kind && !name.is_empty() && codec.clock_rate > 0 && codec.channels != Some(0)
    });
    let bad = || RtpReason::BadCodec {
        mime_type: codec.mime_type.clone(),
        kind,
    };
    parts.map(|(_, name)| name).ok_or_else(bad)
}

fn extensions(parameters: &RtpParameters) -> Result<ExtensionMap, RtpReason> {
    let mut map = ExtensionMap::default();
    let mut numbers: Vec<u8> = Vec::new();
    for own in &parameters.header_extensions {
        let kind = ExtensionKind::from_uri(&own.uri);
        let repeated = kind.is_some_and(|kind| map.id(kind).is_some());
        if own.id == 0 || repeated || numbers.contains(&own.id) {
            return Err(bad_extension(&own.uri, own.id));
        }
        numbers.push(own.id);
        if let Some(kind) = kind {
            map.insert(kind, own.id);
        }
    }
    Ok(map)
}

fn without(map: &ExtensionMap, left_out: ExtensionKind) -> ExtensionMap {
    let mut rest = ExtensionMap::default();
    for (kind, id) in map.iter().filter(|(kind, _)| *kind != left_out) {
        rest.insert(kind, id);
    }
    rest
}

fn bad_extension(uri: &str, id: u8) -> RtpReason {
    RtpReason::BadExtension {
        uri: uri.to_owned(),
        id,
    }
}
