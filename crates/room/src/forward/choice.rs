//! What one who cannot be told anything by signaling may know and choose of what it gets: the layers
//! that there are on each line, and the highest of them that it wants (the extensions of WHEP).

use serde::Serialize;
use thiserror::Error;
use twocan_proto::endpoint::PeerId;
use twocan_proto::negotiate::Kind;
use twocan_proto::time::Now;

use super::allocate::Level;
use super::forwarder::Forwarder;
use super::track::Track;

/// A layer of a picture that is published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Layer {
    /// The simulcast stream that it is of (RFC 8852), where there are several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rid: Option<String>,
    /// 0 is the lowest; where there are several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spatial_layer_id: Option<u8>,
    /// 0 is the lowest.
    pub temporal_layer_id: u8,
    /// In bit/s, of this layer and those below that it needs; `None` while it rests.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bitrate: Option<u64>,
    /// In pixels, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub width: Option<u16>,
    /// In pixels, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub height: Option<u16>,
}

/// What is on a line for pictures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Which one (RFC 8843 §9.1).
    pub mid: String,
    /// The lowest first; none while nothing is on it.
    pub layers: Vec<Layer>,
}

/// What somebody could see of its room.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Playing {
    /// Whether somebody else publishes something.
    pub is_live: bool,
    /// Its lines for pictures.
    pub lines: Vec<Line>,
}

/// The most that somebody wants on a line. The default wants all that the way carries.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Choice {
    /// No higher simulcast stream than this one.
    pub rid: Option<String>,
    /// No higher spatial layer.
    pub spatial_layer_max: Option<u8>,
    /// No higher temporal layer.
    pub temporal_layer_max: Option<u8>,
    /// In pixels.
    pub width_max: Option<u32>,
    /// In pixels.
    pub height_max: Option<u32>,
}

/// Why a choice is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ChoiceRefused {
    /// It has left.
    #[error("the session is over")]
    Gone,
    /// There is no line for pictures of that name.
    #[error("no such line for pictures")]
    NoSuchLine,
    /// What is on the line has no such stream.
    #[error("no such rid is published")]
    NoSuchStream,
}

impl Choice {
    /// Takes out what is more than this; something always stays.
    pub(super) fn limit(&self, levels: &mut Vec<Level>, track: &Track) {
        let stream = |level: &Level| track.streams.get(level.stream);
        if let Some(wanted) = self.rid.as_deref() {
            let is_wanted = |level: &Level| stream(level).is_some_and(|own| own.is_named(wanted));
            if let Some(last) = levels.iter().rposition(is_wanted) {
                levels.truncate(last + 1);
            }
        }
        let larger = |size: u16, most: Option<u32>| most.is_some_and(|most| u32::from(size) > most);
        let is_too_large = |level: &Level| {
            let size = stream(level).and_then(|own| own.size(level.target.spatial));
            size.is_some_and(|(width, height)| {
                larger(width, self.width_max) || larger(height, self.height_max)
            })
        };
        let place = |level: &Level| (level.stream, level.target.spatial);
        let lowest = levels.first().map(place);
        levels.retain(|level| Some(place(level)) == lowest || !is_too_large(level));
        if let Some(most) = self.spatial_layer_max {
            levels.retain(|level| Some(place(level)) == lowest || level.target.spatial <= most);
        }
        if let Some(most) = self.temporal_layer_max {
            for level in levels.iter_mut() {
                level.target.temporal = level.target.temporal.min(most);
            }
            // Of those that have become the same the first takes the least.
            levels.dedup_by_key(|level| (level.stream, level.target));
        }
    }
}

impl Forwarder {
    /// What somebody could see; `None` of one who has left.
    pub fn playing(&mut self, now: Now, participant: &str) -> Option<Playing> {
        let id = *self.ids.get(participant)?;
        let own = self.participants.get(&id)?;
        let room = self.rooms.get(&own.room)?;
        let is_published = |member: &PeerId| {
            let other = self.participants.get(member).filter(|_| *member != id);
            let published = other.into_iter().flat_map(|other| other.published.values());
            let mut tracks = published.filter_map(|track| self.tracks.get(track));
            tracks.any(|track| track.is_allowed && !track.streams.is_empty())
        };
        let is_live = own.permissions.subscribe && room.members.iter().any(is_published);
        let mut lines = Vec::new();
        for slot in &own.slots {
            let Some(mid) = slot.mid.as_ref().filter(|_| slot.kind == Kind::Video) else {
                continue;
            };
            let track = slot.track.and_then(|track| self.tracks.get_mut(&track));
            lines.push(Line {
                mid: mid.to_string(),
                layers: track
                    .map(|own| own.layers_at(now.monotonic))
                    .unwrap_or_default(),
            });
        }
        Some(Playing { is_live, lines })
    }

    /// Says what somebody wants on a line, in the place of what it wanted before. What does not fit
    /// its way it gets in a lower quality.
    ///
    /// # Errors
    /// [`ChoiceRefused`]; all is as it was.
    pub fn choose(
        &mut self,
        now: Now,
        participant: &str,
        mid: &str,
        choice: Choice,
    ) -> Result<(), ChoiceRefused> {
        let id = *self.ids.get(participant).ok_or(ChoiceRefused::Gone)?;
        let own = self.participants.get_mut(&id).ok_or(ChoiceRefused::Gone)?;
        let slot = own.slots.iter_mut().find(|slot| {
            slot.kind == Kind::Video && slot.mid.as_ref().is_some_and(|own| own.as_str() == mid)
        });
        let slot = slot.ok_or(ChoiceRefused::NoSuchLine)?;
        let track = slot.track.and_then(|track| self.tracks.get(&track));
        if let (Some(rid), Some(track)) = (&choice.rid, track)
            && !track.streams.iter().any(|own| own.is_named(rid))
        {
            return Err(ChoiceRefused::NoSuchStream);
        }
        slot.choice = choice;
        own.is_stale = true;
        self.share_out(now, id);
        Ok(())
    }
}
