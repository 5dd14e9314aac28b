//! What publishers need not send: qualities for which nobody has a use.

use std::time::{Duration, Instant};

use serde_json::json;
use twocan_proto::endpoint::PeerId;
use twocan_proto::negotiate::Kind;
use twocan_proto::time::Now;

use super::forwarder::{Forwarder, Participant};
use super::sharing::{serves, wish};
use super::track::{Track, TrackId};

/// How long nobody has to have a use for a quality before its publisher rests it: viewers come and
/// go, and change the size of tiles.
const REST_AFTER: Duration = Duration::from_secs(3);

/// What a publisher was told of one track.
#[derive(Debug, Default)]
pub(super) struct Layers {
    /// So many of its qualities, the smallest first; `None` for all.
    told: Option<usize>,
    /// When fewer are to be told.
    fewer_at: Option<Instant>,
}

impl Layers {
    /// Whether its publisher was told that nobody has a use for any of it.
    pub(super) fn rests(&self) -> bool {
        self.told == Some(0)
    }

    /// Takes how many qualities have a use; answers whether that is to be told. Of `all` that there
    /// are.
    fn take(&mut self, now: Instant, used: usize, all: usize) -> bool {
        if used >= self.told.unwrap_or(all) {
            self.fewer_at = None;
            let is_news = used > self.told.unwrap_or(all);
            if is_news {
                self.told = Some(used).filter(|used| *used < all);
            }
            return is_news;
        }
        let at = *self.fewer_at.get_or_insert(now + REST_AFTER);
        if now < at {
            return false;
        }
        self.fewer_at = None;
        self.told = Some(used);
        true
    }
}

impl Forwarder {
    /// Tells those publishers which qualities somebody has a use for, as far as they do not know.
    pub(super) fn tell_layers(&mut self, now: Now, of: impl Fn(PeerId) -> bool) {
        let mut news = Vec::new();
        for (id, track) in &mut self.tracks {
            let owner = self.participants.get(&track.owner);
            // Who came by HTTP cannot be told.
            let is_told = owner.is_some_and(|own| !own.negotiation.is_single);
            if track.kind != Kind::Video || !is_told || !of(track.owner) {
                continue;
            }
            let order = track.order(now.monotonic);
            let viewers = track.viewers.iter();
            let viewers = viewers.filter_map(|(viewer, _)| self.participants.get(viewer));
            let used = viewers.map(|viewer| used(viewer, track, &order)).max();
            let (used, all) = (used.unwrap_or(0), order.len());
            // What never came is not known to be of no use.
            if all > 0 && !track.has_unseen() && track.layers.take(now.monotonic, used, all) {
                news.push((*id, order, used));
            }
        }
        for (track, order, used) in news {
            self.tell_owner(track, &order, used);
        }
    }

    fn tell_owner(&mut self, track: TrackId, order: &[usize], used: usize) {
        let Some(track) = self.tracks.get(&track) else {
            return;
        };
        let streams = order.iter().take(used);
        let streams = streams.filter_map(|index| track.streams.get(*index));
        let rids: Vec<&str> = streams
            .filter_map(|own| own.rid.as_ref())
            .map(|rid| rid.as_str())
            .collect();
        let data = json!({
            "stream": track.stream_id,
            "active": used > 0,
            "rids": rids,
        });
        let owner = track.owner;
        self.counters.count("forward.layers_told");
        self.tell(owner, "layers", &data);
    }
}

/// How many of a track's streams in their order a viewer has a use for: up to the smallest that
/// serves its tile, as its way may not always carry that one.
fn used(viewer: &Participant, track: &Track, order: &[usize]) -> usize {
    match wish(viewer, track).height_max {
        None => order.len(),
        Some(0) => 0,
        Some(height_max) => {
            let streams = order.iter().map(|index| track.streams.get(*index));
            let mut heights = streams.map(|own| own.and_then(|own| own.height()));
            let first = heights.position(|height| serves(height.map(u32::from), height_max));
            first.map_or(order.len(), |first| first + 1)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_is_told_at_once_and_less_after_a_while() {
        #[expect(clippy::disallowed_methods, reason = "an Instant has no other origin")]
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut layers = Layers::default();
        assert!(!layers.take(at(0), 3, 3), "as it begins");
        assert!(!layers.take(at(1), 1, 3));
        assert!(!layers.take(at(3), 3, 3), "it was of use again");
        assert!(!layers.take(at(4), 1, 3));
        assert!(!layers.take(at(6), 0, 3));
        assert!(layers.take(at(7), 1, 3));
        assert!(!layers.take(at(8), 1, 3));
        assert!(layers.take(at(9), 2, 3));
        assert!(!layers.take(at(10), 0, 3));
        assert!(layers.take(at(13), 0, 3));
        assert!(layers.take(at(13), 3, 3));
        assert!(!layers.take(at(14), 3, 3));
        assert_eq!(layers.told, None);
    }
}
