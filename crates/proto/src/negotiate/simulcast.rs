//! Streams of several qualities in one section (RFC 8853, RFC 8851; RFC 8829 §5.2.1, §5.3.1).
//!
//! - Our offer names a stream for each encoding that has a RID. An answer keeps those that it
//!   lists; if it lists none, we send the first alone.
//! - Our answer accepts the streams that a peer offers to send, where the settings want them, and
//!   sends those that a peer asks for. An encoding without a RID becomes the first of them.
//! - Of alternatives the first that both know is taken.
//! - What rests (`active`) is no matter of descriptions, as it changes without negotiation (W3C webrtc-pc
//!   §5.4.1): nothing is paused (`~`) by us, and what the other side pauses is sent unless the
//!   application rests it.
//! - A stream that cannot be told apart is not negotiated: without the extension for RIDs there is
//!   no simulcast.

use twocan_wire::ids::{PayloadType, Rid, Ssrc};
use twocan_wire::rtp::ExtensionKind;
use twocan_wire::sdp::{
    Attribute, Direction, Extmap, Media, RidDirection, RidLine, RidRestrictions, Simulcast,
    SimulcastRid,
};

use super::codec::CodecTerms;
use super::negotiator::Negotiator;
use super::terms::Section;
use super::transceiver::{ENCODINGS_MAX, SendEncoding, TransceiverId};
use super::{Config, NegotiateError, TypeReason};

/// A stream of a section that we write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stream {
    pub(super) rid: Rid,
    pub(super) direction: RidDirection,
    pub(super) restrictions: Option<String>,
}

impl Stream {
    fn send(encoding: &SendEncoding) -> Option<Self> {
        Some(Self {
            rid: encoding.rid.clone()?,
            direction: RidDirection::Send,
            restrictions: None,
        })
    }
}

/// The streams that an offer names for what we send.
pub(super) fn offered(encodings: &[SendEncoding], direction: Direction) -> Vec<Stream> {
    if !direction.sends() {
        return Vec::new();
    }
    encodings.iter().filter_map(Stream::send).collect()
}

/// What the streams of an answer follow from.
pub(super) struct Answered<'a> {
    pub(super) config: &'a Config,
    pub(super) offer: &'a Section,
    /// What the answer says of these.
    pub(super) direction: Direction,
    pub(super) extensions: &'a [Extmap],
    pub(super) codecs: &'a [CodecTerms],
    pub(super) encodings: &'a [SendEncoding],
}

/// The streams of an answer: those that we accept, and those asked for that we send.
pub(super) fn answered(answer: &Answered<'_>) -> Vec<Stream> {
    let (section, encodings) = (answer.offer, answer.encodings);
    let direction = answer.direction;
    let mut streams = Vec::new();
    let Some(simulcast) = &section.simulcast else {
        return streams;
    };
    if !has_rids(answer.extensions) {
        return streams;
    }
    let known = |direction, rid: &Rid| {
        let mut lines = section.rids.iter();
        let line = lines.find(|line| line.rid == *rid && line.direction == direction)?;
        is_usable(line, answer.codecs).then_some(line)
    };
    if answer.config.receive_simulcast && direction.receives() {
        let taken = simulcast.send.iter().filter_map(|alternatives| {
            let mut all = alternatives.iter();
            all.find_map(|own| known(RidDirection::Send, &own.rid))
        });
        streams.extend(taken.take(ENCODINGS_MAX).map(|line| Stream {
            rid: line.rid.clone(),
            direction: RidDirection::Recv,
            restrictions: line.restrictions.clone(),
        }));
    }
    if direction.sends() {
        let adopts = matches!(encodings, [only] if only.rid.is_none());
        let asked = simulcast.recv.iter().filter_map(|alternatives| {
            alternatives.iter().find_map(|own| {
                let line = known(RidDirection::Recv, &own.rid)?;
                let mut named = encodings.iter().filter(|own| own.rid.is_some());
                let ours = named.find(|encoding| encoding.rid.as_ref() == Some(&own.rid));
                (adopts || ours.is_some()).then(|| Stream {
                    rid: own.rid.clone(),
                    direction: RidDirection::Send,
                    restrictions: line.restrictions.clone(),
                })
            })
        });
        streams.extend(asked.take(ENCODINGS_MAX));
    }
    streams
}

/// Whether packets can say which stream they are of.
fn has_rids(extensions: &[Extmap]) -> bool {
    let uri = ExtensionKind::Rid.uri();
    extensions.iter().any(|extmap| extmap.uri == uri)
}

/// RFC 8851 §6.3: a line with restrictions that are unknown, or with none of the payload types that
/// are left, is as good as absent.
fn is_usable(line: &RidLine, codecs: &[CodecTerms]) -> bool {
    let restrictions = line.restrictions.as_deref().map(RidRestrictions::parse);
    match restrictions {
        None => true,
        Some(Err(_)) => false,
        Some(Ok(own)) => {
            let is_left = |pt: &PayloadType| codecs.iter().any(|codec| codec.payload_type == *pt);
            own.payload_types.is_empty() || own.payload_types.iter().any(is_left)
        }
    }
}

/// Writes the lines. `simulcast` says whether one stream alone is named as a simulcast as well,
/// which an answer must do.
pub(super) fn write(media: &mut Media, streams: &[Stream], simulcast: bool) {
    if streams.is_empty() {
        return;
    }
    let mut lists = Simulcast::default();
    for stream in streams {
        media.push(Attribute::Rid(RidLine {
            rid: stream.rid.clone(),
            direction: stream.direction,
            restrictions: stream.restrictions.clone(),
        }));
        let list = match stream.direction {
            RidDirection::Send => &mut lists.send,
            RidDirection::Recv => &mut lists.recv,
        };
        list.push(vec![SimulcastRid {
            rid: stream.rid.clone(),
            paused: false,
        }]);
    }
    if simulcast || streams.len() > 1 {
        media.push(Attribute::Simulcast(lists));
    }
}

/// What both descriptions say of what we send.
pub(super) struct Agreement<'a> {
    pub(super) local: &'a Section,
    pub(super) remote: &'a Section,
    pub(super) answer: &'a Section,
    pub(super) answer_is_remote: bool,
}

impl Agreement<'_> {
    /// The streams of ours that the answer kept, in our order.
    fn kept(&self) -> Vec<(Rid, RidRestrictions)> {
        let Some(simulcast) = &self.answer.simulcast else {
            return Vec::new();
        };
        if !has_rids(&self.answer.extensions) {
            return Vec::new();
        }
        let list = match self.answer_is_remote {
            true => &simulcast.recv,
            false => &simulcast.send,
        };
        let listed = |rid: &Rid| list.iter().flatten().any(|own| own.rid == *rid);
        let asked = self.remote.simulcast.iter().flat_map(|own| &own.recv);
        let asked: Vec<&Rid> = asked.flatten().map(|own| &own.rid).collect();
        let sent = self.local.rids.iter();
        let sent = sent.filter(|line| line.direction == RidDirection::Send);
        sent.filter_map(|line| {
            let mut lines = self.remote.rids.iter();
            let theirs =
                lines.find(|own| own.rid == line.rid && own.direction == RidDirection::Recv)?;
            let is_asked = asked.contains(&&line.rid);
            if !is_asked || !listed(&line.rid) || !is_usable(theirs, &self.answer.codecs) {
                return None;
            }
            let text = theirs.restrictions.as_deref().unwrap_or("");
            let restrictions = RidRestrictions::parse(text).unwrap_or_default();
            Some((line.rid.clone(), restrictions))
        })
        .collect()
    }
}

impl Negotiator {
    /// Fits the encodings of a transceiver to what was agreed (W3C webrtc-pc §4.4.1.5): those that
    /// were refused go. Only the streams of an answer of ours can be new.
    pub(super) fn settle_encodings(&mut self, id: TransceiverId, agreement: &Agreement<'_>) {
        let kept = agreement.kept();
        let Some(index) = self.transceivers.iter().position(|own| own.id == id) else {
            return;
        };
        let mut old = std::mem::take(&mut self.transceivers[index].encodings);
        if kept.is_empty() {
            old.truncate(1);
            self.transceivers[index].encodings = old;
            return;
        }
        let mut encodings = Vec::new();
        for (rid, restrictions) in kept {
            let same = old.iter().position(|own| own.rid.as_ref() == Some(&rid));
            // The encoding without a name becomes the first, and keeps its source.
            let found = same.or_else(|| old.iter().position(|own| own.rid.is_none()));
            let mut encoding = match found {
                Some(found) => old.remove(found),
                // What a provisional answer refused does not come back.
                None if agreement.answer_is_remote => continue,
                None => {
                    let taken: Vec<&SendEncoding> = encodings.iter().chain(&old).collect();
                    let ssrc = self.new_ssrc(&taken);
                    let rtx = self.new_ssrc(&taken);
                    SendEncoding::new(None, ssrc, rtx)
                }
            };
            encoding.rid = Some(rid);
            encoding.restrictions = restrictions;
            encodings.push(encoding);
        }
        self.transceivers[index].encodings = encodings;
    }

    /// Says which encodings of a transceiver are active. More or fewer than there are is ignored.
    pub fn set_active(&mut self, id: TransceiverId, active: &[bool]) {
        let transceiver = self.transceivers.iter_mut().find(|own| own.id == id);
        let encodings = transceiver.into_iter().flat_map(|own| &mut own.encodings);
        for (encoding, active) in encodings.zip(active) {
            encoding.active = *active;
        }
    }

    /// A source that none of our transceivers has.
    pub(super) fn new_ssrc(&mut self, others: &[&SendEncoding]) -> Ssrc {
        loop {
            let ssrc = Ssrc(self.random.u32());
            let all = self.transceivers.iter().flat_map(|own| &own.encodings);
            let taken = |own: &SendEncoding| own.ssrc == ssrc || own.rtx == ssrc;
            // Zero stands for "none" in feedback (RFC 5104 §4.3.1.2).
            let is_fec = self.transceivers.iter().any(|own| own.fec == ssrc);
            if ssrc.0 != 0 && !is_fec && !all.chain(others.iter().copied()).any(taken) {
                return ssrc;
            }
        }
    }

    /// The next number that none of our transceivers has, nor the one that is being made: as random as
    /// the one before it.
    pub(super) fn free_ssrc_after(&self, before: Ssrc, other: Ssrc) -> Ssrc {
        let mut next = before;
        loop {
            next = Ssrc(next.0.wrapping_add(1));
            let mut all = self.transceivers.iter().flat_map(|own| &own.encodings);
            let taken = all.any(|own| own.ssrc == next || own.rtx == next);
            let is_fec = self.transceivers.iter().any(|own| own.fec == next);
            if next.0 != 0 && next != other && !taken && !is_fec {
                return next;
            }
        }
    }
}

/// The longest RID: what fits a header extension with the short form of elements (RFC 8285 §4.2).
const RID_LEN_MAX: usize = 16;

/// Whether RIDs can be those of the encodings of one sender (W3C webrtc-pc §5.1, `addTransceiver`):
/// all or none has one, none twice.
pub(crate) fn check_rids(rids: &[Option<Rid>]) -> Result<(), NegotiateError> {
    let named: Vec<&Rid> = rids.iter().flatten().collect();
    let is_sound = |rid: &Rid| {
        let text = rid.as_str();
        (1..=RID_LEN_MAX).contains(&text.len())
            && text
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    if !named.iter().all(|rid| is_sound(rid)) {
        return Err(NegotiateError::Type(TypeReason::BadRid));
    }
    if rids.len() > 1 && named.len() < rids.len() {
        return Err(NegotiateError::Type(TypeReason::MissingRid));
    }
    let mut distinct = named.clone();
    distinct.sort_unstable();
    distinct.dedup();
    match distinct.len() == named.len() {
        true => Ok(()),
        false => Err(NegotiateError::Type(TypeReason::RepeatedRid)),
    }
}
