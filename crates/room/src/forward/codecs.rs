//! Which codecs publishers are asked for.
//!
//! 1. Whoever publishes chooses among those that are passed on, by the order in its offers, which ours
//!    keep to; unless the operator has an order, of all rooms
//!    ([`Config::prefers_own_order`](super::Config::prefers_own_order)) or of one
//!    ([`Forwarder::set_video_codecs`]).
//! 2. Where somebody who looks on does not take what is sent, its publisher is asked for what all of
//!    them take, until they are gone. Who came by HTTP makes one offer, and cannot be asked.

use twocan_proto::endpoint::PeerId;
use twocan_proto::negotiate::{Codec, CodecPreference, Kind, TransceiverId};
use twocan_proto::peer::Peer;
use twocan_proto::time::Now;

use super::forwarder::Forwarder;
use super::track::TrackId;
use super::{Config, VIDEO_CODECS};

/// Codecs for pictures, a bit for each by its place in the settings.
type Codecs = u32;

/// Codecs for pictures of one room, the preferred one first; none for those of all rooms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct VideoCodecs([Option<&'static str>; VIDEO_CODECS.len()]);

impl VideoCodecs {
    /// Those of these names in any case, as far as they can be passed on ([`VIDEO_CODECS`]), each once.
    pub fn new<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        let mut own = Self::default();
        for name in names {
            let mut all = VIDEO_CODECS.into_iter();
            let known = all.find(|known| known.eq_ignore_ascii_case(name));
            let is_new = own.names().all(|other| Some(other) != known);
            let mut free = own.0.iter_mut().filter(|own| own.is_none());
            if let (true, Some(seat)) = (is_new, free.next()) {
                *seat = known;
            }
        }
        own
    }

    /// As SDP has them.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.0.into_iter().flatten()
    }

    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        self.names().next().is_none()
    }
}

/// What somebody is asked to send in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Asked {
    codecs: Codecs,
    /// What all took when it was asked.
    common: Codecs,
}

/// What is passed on in a room.
#[derive(Debug, Clone)]
pub(super) struct Order {
    codecs: Codecs,
    /// Names in the operator's order, where there is one.
    names: Option<Vec<String>>,
}

impl Config {
    /// Those of a name, which may be there with several parameters.
    fn named(&self, name: &str) -> Codecs {
        let codecs = self.video_codecs.iter().enumerate().take(32);
        let same = codecs.filter(|(_, own)| own.name.eq_ignore_ascii_case(name));
        same.fold(0, |all, (at, _)| all | 1 << at)
    }

    /// Those of a room, in their order.
    pub(super) fn codecs_of(&self, order: &Order) -> std::sync::Arc<[Codec]> {
        let own = self.video_codecs.iter().enumerate().take(32);
        let own = own.filter(|(at, _)| order.codecs >> at & 1 != 0);
        let mut own: Vec<Codec> = own.map(|(_, own)| own.clone()).collect();
        let names = order.names.as_deref().unwrap_or_default();
        own.sort_by_key(|own| place(names, &own.name));
        own.into()
    }

    fn all(&self) -> Codecs {
        let names = self.video_codecs.iter().map(|own| self.named(&own.name));
        names.fold(0, |all, own| all | own)
    }

    /// These as `setCodecPreferences` takes them, in the order of these names; what is not among those
    /// comes last.
    fn preferences(&self, codecs: Codecs, order: &[String]) -> Vec<CodecPreference> {
        let preference = |own: &Codec| CodecPreference {
            name: own.name.clone(),
            clock_rate: own.clock_rate,
            channels: own.channels,
            fmtp: own.fmtp.clone(),
        };
        let own = self.video_codecs.iter().enumerate().take(32);
        let own = own.filter(|(at, _)| codecs >> at & 1 != 0);
        let mut own: Vec<CodecPreference> = own.map(|(_, own)| preference(own)).collect();
        own.sort_by_key(|own| place(order, &own.name));
        own.push(CodecPreference {
            name: "rtx".into(),
            clock_rate: 90_000,
            channels: 1,
            fmtp: String::new(),
        });
        own
    }
}

/// Where a codec stands in an order; last where it is not in it.
fn place(order: &[String], name: &str) -> usize {
    let mut order = order.iter();
    let place = order.position(|own| own.eq_ignore_ascii_case(name));
    place.unwrap_or(usize::MAX)
}

impl Forwarder {
    /// Says which codecs for pictures are passed on in a room, and in which order publishers are asked
    /// for them; of those that are passed on at all. For who joins from here on: who is there is asked
    /// for one of them where it sends another.
    pub fn set_video_codecs(&mut self, room: &str, codecs: VideoCodecs) {
        match codecs.is_empty() {
            true => _ = self.video_codecs.remove(room),
            false => _ = self.video_codecs.insert(room.to_owned(), codecs),
        }
        if let Some(room) = self.rooms.get_mut(room) {
            room.is_stale = true;
        }
    }

    /// What is passed on in a room.
    pub(super) fn order_of(&self, room: &str) -> Order {
        let own = self.video_codecs.get(room);
        let names: Vec<String> = own
            .into_iter()
            .flat_map(VideoCodecs::names)
            .map(str::to_owned)
            .collect();
        let codecs = names.iter().map(|own| self.config.named(own));
        let codecs = codecs.fold(0, |all, own| all | own);
        match codecs {
            0 => Order {
                codecs: self.config.all(),
                names: self.config.prefers_own_order.then(Vec::new),
            },
            codecs => Order {
                codecs,
                names: Some(names),
            },
        }
    }

    /// Somebody offers to send pictures on a line: ours is the operator's order, or none.
    pub(super) fn prefer(
        config: &Config,
        order: &Order,
        peer: &mut Peer,
        line: TransceiverId,
        kind: Kind,
    ) {
        if kind == Kind::Video {
            let preferences = match &order.names {
                Some(names) => config.preferences(config.all(), names),
                None => Vec::new(),
            };
            // Refused only for a line that is stopped.
            let _ = peer.set_codec_preferences(line, preferences);
        }
    }

    /// An offer of somebody was answered: what it likes best goes first in our offers too, as it sends
    /// the first that these have.
    pub(super) fn note_liked(&mut self, id: PeerId) {
        let room = self.participants.get(&id).map(|own| own.room.as_str());
        let order = self.order_of(room.unwrap_or_default());
        let (Some(own), Some(peer)) = (self.participants.get(&id), self.endpoint.get_mut(id))
        else {
            return;
        };
        for track in own.published.values() {
            let track = self.tracks.get_mut(track);
            let track = track.filter(|own| own.kind == Kind::Video && own.asked_for.is_none());
            let Some(track) = track else { continue };
            let Some(media) = peer.negotiated(track.transceiver) else {
                continue;
            };
            let agreed = media.codecs.iter();
            let makes = agreed.clone().map(|own| self.config.named(&own.name));
            track.makes = makes.fold(0, |all, own| all | own);
            let agreed = agreed.map(|own| own.name.clone());
            track.liked = order.names.clone().unwrap_or_else(|| agreed.collect());
            track.liked.dedup();
            let preferences = self.config.preferences(self.config.all(), &track.liked);
            // Refused only for a line that is stopped.
            let _ = peer.set_codec_preferences(track.transceiver, preferences);
        }
    }

    /// Asks for other codecs where somebody in a room does not take what it is to get.
    pub(super) fn settle_codecs(&mut self, now: Now, members: &[PeerId]) {
        let first = members.first().and_then(|id| self.participants.get(id));
        let all = self.order_of(first.map_or("", |own| &own.room)).codecs;
        let members = members.iter().filter_map(|id| {
            let own = self.participants.get(id)?;
            Some((*id, own))
        });
        let takers = members.clone().filter(|(_, own)| own.permissions.subscribe);
        let takers = takers.filter_map(|(id, own)| Some((id, own.takes?)));
        // Mostly everybody takes everything.
        let lacking: Vec<(PeerId, Codecs)> = takers.filter(|(_, own)| own & all != all).collect();
        let asked = members.filter(|(_, own)| !own.negotiation.is_single);
        let tracks = asked.flat_map(|(id, own)| own.published.values().map(move |own| (id, *own)));
        let mut news = Vec::new();
        for (owner, id) in tracks {
            let Some(track) = self.tracks.get(&id).filter(|own| own.kind == Kind::Video) else {
                continue;
            };
            let others = lacking.iter().filter(|(viewer, _)| *viewer != owner);
            let common = others.fold(all, |common, (_, taken)| common & taken);
            let sent = track.sent().map_or(all, |own| self.config.named(&own.name));
            let is_taken = sent & common != 0;
            let mut liked = track.liked.iter().map(|own| self.config.named(own));
            let liked = liked.find(|own| own & track.makes != 0).unwrap_or(sent);
            let asked_for = match track.asked_for {
                Some(former) if is_taken => {
                    // All take what it likes best again. One that sends something else all the same is
                    // not let go of and asked again and again.
                    let is_over = common & !former.common != 0 && liked & common != 0;
                    (!is_over).then_some(former)
                }
                None if is_taken => None,
                // Nothing can be done: asked for what it does not make, its line would end.
                former if common & track.makes == 0 => {
                    self.counters.count("forward.no_common_codec");
                    former
                }
                _ => Some(Asked {
                    codecs: common & track.makes,
                    common,
                }),
            };
            if asked_for != track.asked_for {
                news.push((id, owner, asked_for));
            }
        }
        for (track, owner, asked_for) in news {
            self.ask_for(now, track, owner, asked_for);
        }
    }

    /// Something was agreed on with somebody: which codecs it takes.
    pub(super) fn note_taken(&mut self, id: PeerId) {
        let (Some(own), Some(peer)) = (self.participants.get_mut(&id), self.endpoint.get(id))
        else {
            return;
        };
        let lines = own.slots.iter().filter(|slot| slot.kind == Kind::Video);
        let agreed = lines.filter_map(|slot| peer.negotiated(slot.transceiver));
        let codecs = agreed.flat_map(|media| &media.codecs);
        let taken = codecs.fold(0, |all, own| all | self.config.named(&own.name));
        // Before there is a line for pictures, nothing is known. A line on which it sends as well may be
        // limited by what others take: that says nothing of what it could show.
        let taken = taken | own.takes.unwrap_or(0);
        own.takes = (taken != 0).then_some(taken);
    }

    fn ask_for(&mut self, now: Now, id: TrackId, owner: PeerId, asked_for: Option<Asked>) {
        let (Some(track), Some(own), Some(peer)) = (
            self.tracks.get_mut(&id),
            self.participants.get_mut(&owner),
            self.endpoint.get_mut(owner),
        ) else {
            return;
        };
        track.asked_for = asked_for;
        let codecs = asked_for.map_or(self.config.all(), |own| own.codecs);
        let preferences = self.config.preferences(codecs, &track.liked);
        let is_set = peer.set_codec_preferences(track.transceiver, preferences);
        if is_set.is_ok() {
            self.counters.count("forward.codecs_asked_for");
            own.negotiation.is_needed = true;
            self.negotiate(now, owner);
        }
    }
}
