//! How well participants are connected, for people to see whose network is bad.
//!
//! Each participant has one connection, with this server, so that what is lost on it is lost by its
//! own network and by nobody else's.

use std::time::Duration;

use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use twocan_proto::endpoint::PeerId;
use twocan_proto::peer::PathStats;
use twocan_proto::time::Now;

use super::forwarder::{Forwarder, Participant};

/// Between two looks at a connection: long enough for losses to mean something.
const LOOK_EVERY: Duration = Duration::from_secs(3);

/// Fewer packets than this say nothing about loss.
const PACKETS_MIN: u64 = 30;

/// Participants of whom a room is told at a time, the worst first: where all are worse at once, it is
/// the server's own network, and one frame for each member is enough for it.
const CHANGES_MAX: usize = 50;

/// Others are told of a change of so much; the picture of a network has a handful of steps.
const STEP: f64 = 0.1;

/// How well somebody is connected.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct Quality {
    /// 0 to 1.
    score: f64,
    /// 0 to 1, of the worse way.
    loss: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    rtt_ms: Option<f64>,
}

/// What is known of a connection.
#[derive(Debug, Default)]
pub(super) struct Watch {
    before: PathStats,
    /// What others were told last; perfect for whom they were told nothing of.
    told: Option<Quality>,
    /// Whether it has been told of those who were there.
    is_introduced: bool,
}

impl Watch {
    /// The same participant, on another connection: the others know what they were told.
    pub(super) fn anew(&self) -> Self {
        Self {
            told: self.told,
            ..Self::default()
        }
    }

    /// What a connection was like since it was looked at last; `None` where that cannot be told.
    fn look(&mut self, path: PathStats) -> Option<Quality> {
        let before = std::mem::replace(&mut self.before, path);
        // Streams that end take what was counted of them along.
        let received = path.received.checked_sub(before.received)?;
        let arrived = path.arrived.checked_sub(before.arrived)?;
        if path.is_by_feedback != before.is_by_feedback {
            return None;
        }
        let up = loss(received, path.missed.saturating_sub(before.missed));
        let down = loss(arrived, path.lost.saturating_sub(before.lost));
        Some(Quality::of(up.max(down), path.round_trip_time))
    }

    /// Whether others should know.
    fn is_news(&self, quality: Quality) -> bool {
        let told = self.told.map_or(1.0, |own| own.score);
        let is_well = |score: f64| score > 1.0 - STEP;
        (quality.score - told).abs() >= STEP || (is_well(quality.score) && !is_well(told))
    }
}

/// The share that was lost of what was sent.
fn loss(arrived: u64, lost: i64) -> f64 {
    // Duplicates and late packets are counted back.
    let lost = u64::try_from(lost).unwrap_or(0);
    let sent = arrived + lost;
    match sent < PACKETS_MIN {
        true => 0.0,
        false => lost as f64 / sent as f64,
    }
}

impl Quality {
    /// What a call is like with so much lost and so late answers, as people rate it: the E-model (ITU-T
    /// G.107 §7) with a codec that conceals some of it, on a scale on which 1 is the best there is.
    fn of(loss: f64, round_trip_time: Option<Duration>) -> Self {
        /// Ppl at which half of what a codec can lose in quality is lost (G.107 §7.3, Bpl).
        const ROBUSTNESS: f64 = 20.0;
        /// Milliseconds in the jitter buffer and the devices of the ends.
        const ENDS: f64 = 60.0;
        let rating = |loss: f64, one_way: f64| {
            let late = 0.024 * one_way + 0.11 * (one_way - 177.3).max(0.0);
            let lossy = 95.0 * loss * 100.0 / (loss * 100.0 + ROBUSTNESS);
            let rating = (93.2 - late - lossy).clamp(0.0, 100.0);
            // The opinion that goes with a rating (G.107 Annex B).
            1.0 + 0.035 * rating + rating * (rating - 60.0) * (100.0 - rating) * 7e-6
        };
        let rtt = round_trip_time.map(|time| time.as_secs_f64() * 1e3);
        let opinion = rating(loss, rtt.unwrap_or(0.0) / 2.0 + ENDS);
        let best = rating(0.0, ENDS);
        Self {
            score: hundredths(((opinion - 1.0) / (best - 1.0)).clamp(0.0, 1.0)),
            loss: hundredths(loss),
            rtt_ms: rtt.map(f64::round),
        }
    }
}

fn hundredths(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

/// One of `participants` in `data` of `quality`.
#[derive(Serialize)]
struct Told<'a> {
    peer_id: &'a str,
    #[serde(flatten)]
    quality: Quality,
}

impl Forwarder {
    /// Tells everybody in a room whose connection is worse, or better, than it was.
    pub(super) fn tell_quality(&mut self, now: Now) {
        let mut due = Vec::new();
        for room in self.rooms.values_mut() {
            let at = room.look_at.get_or_insert(now.monotonic + LOOK_EVERY);
            if *at <= now.monotonic {
                *at = now.monotonic + LOOK_EVERY;
                due.push(room.members.clone());
            }
        }
        for members in due {
            self.look_at_room(&members);
        }
    }

    fn look_at_room(&mut self, members: &[PeerId]) {
        let mut changes = Vec::new();
        for id in members {
            let Some(own) = self.participants.get_mut(id) else {
                continue;
            };
            let path = self.endpoint.get(*id).map(|peer| peer.path_stats());
            let quality = own.watch.look(path.unwrap_or_default());
            if let Some(quality) = quality.filter(|quality| own.watch.is_news(*quality))
                && is_known(own)
            {
                changes.push((*id, quality));
            }
        }
        changes.sort_by(|(_, own), (_, other)| own.score.total_cmp(&other.score));
        changes.truncate(CHANGES_MAX);
        for (id, quality) in &changes {
            if let Some(own) = self.participants.get_mut(id) {
                own.watch.told = Some(*quality);
            }
        }
        let news: Vec<PeerId> = changes.iter().map(|(id, _)| *id).collect();
        let news = self.qualities(&news);
        let mut all = None;
        for id in members {
            let Some(own) = self.participants.get_mut(id) else {
                continue;
            };
            // Nobody hears it who has no signaling after its one exchange, or is not in the room yet.
            if own.negotiation.is_single || own.permissions.waits {
                continue;
            }
            let is_new = !std::mem::replace(&mut own.watch.is_introduced, true);
            let data = match is_new {
                true => all.get_or_insert_with(|| self.qualities(members)).clone(),
                false => news.clone(),
            };
            if let Some(data) = data {
                self.tell(*id, "quality", &data);
            }
        }
    }

    /// What is told of those among `ids` of whom anything was.
    fn qualities(&self, ids: &[PeerId]) -> Option<Box<RawValue>> {
        let known = ids.iter().filter_map(|id| {
            let own = self.participants.get(id).filter(|own| is_known(own))?;
            Some(Told {
                peer_id: &own.id,
                quality: own.watch.told?,
            })
        });
        let participants: Vec<Told<'_>> = known.collect();
        if participants.is_empty() {
            return None;
        }
        to_raw_value(&serde_json::json!({ "participants": participants })).ok()
    }
}

/// Whether the others know of somebody: not of who is hidden or waits, nor of who looks on by HTTP; of
/// who publishes so they do.
fn is_known(own: &Participant) -> bool {
    let is_seen = !own.permissions.hidden && !own.permissions.waits;
    is_seen && (!own.negotiation.is_single || !own.published.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(received: u64, missed: i64, rtt: u64) -> PathStats {
        PathStats {
            received,
            missed,
            round_trip_time: Some(Duration::from_millis(rtt)),
            ..PathStats::default()
        }
    }

    #[test]
    fn what_people_rate_worse_is_worse() {
        let of = |loss: f64, rtt| Quality::of(loss, Some(Duration::from_millis(rtt))).score;
        assert!((of(0.0, 0) - 1.0).abs() < 1e-9);
        assert!(of(0.01, 40) > 0.9, "{}", of(0.01, 40));
        // Heard, and conversation goes on.
        assert!((0.6..0.9).contains(&of(0.05, 100)), "{}", of(0.05, 100));
        assert!(of(0.2, 100) < 0.5, "{}", of(0.2, 100));
        assert!(of(0.0, 1_000) < 0.6, "{}", of(0.0, 1_000));
        assert!(of(1.0, 5_000) >= 0.0);
    }

    #[test]
    fn changes_that_matter_are_told_and_that_all_is_well_again() {
        let mut watch = Watch::default();
        let mut look = |path: PathStats| {
            let quality = watch.look(path)?;
            let is_news = watch.is_news(quality);
            is_news.then(|| *watch.told.insert(quality))
        };
        assert_eq!(look(after(1_000, 0, 50)), None);
        let bad = look(after(1_900, 100, 50)).unwrap();
        assert!((bad.loss - 0.1).abs() < 0.001 && bad.score < 0.8, "{bad:?}");
        assert_eq!(look(after(2_800, 201, 50)), None);
        // A stream has ended, and is no longer counted: nothing can be said.
        assert_eq!(look(after(900, 150, 50)), None);
        // Too few to say anything, and packets that turned up late.
        let good = look(after(910, 148, 50)).unwrap();
        assert!(good.score > 0.9, "{good:?}");
        assert_eq!(look(after(910, 148, 50)), None);
        // Counted by other reports from here on.
        let other = PathStats {
            is_by_feedback: true,
            lost: 5_000,
            arrived: 10_000,
            ..after(910, 148, 50)
        };
        assert_eq!(look(other), None);
        assert_eq!(
            look(PathStats {
                lost: i64::MIN,
                ..other
            }),
            None
        );
    }
}
