//! How well participants are connected, for people to see whose network is bad.
//!
//! Each participant has one connection, with this server, so that what is lost on it is lost by its
//! own network and by nobody else's.

use std::time::{Duration, Instant};

use serde::Serialize;
use twocan_proto::endpoint::PeerId;
use twocan_proto::peer::PathStats;
use twocan_proto::time::Now;

use super::forwarder::Forwarder;

/// Between two looks at a connection: long enough for losses to mean something.
const LOOK_EVERY: Duration = Duration::from_secs(3);

/// Fewer packets than this say nothing about loss.
const PACKETS_MIN: u64 = 30;

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
#[derive(Debug)]
pub(super) struct Watch {
    look_at: Instant,
    before: PathStats,
    /// What others were told last; perfect for whom they were told nothing of.
    told: Option<Quality>,
    /// Whether it has been told of those who were there.
    is_introduced: bool,
}

impl Watch {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            look_at: now + LOOK_EVERY,
            before: PathStats::default(),
            told: None,
            is_introduced: false,
        }
    }

    /// The same participant, on another connection: the others know what they were told.
    pub(super) fn anew(&self, now: Instant) -> Self {
        Self {
            told: self.told,
            ..Self::new(now)
        }
    }

    /// What is to be told, after another look; `None` where that is as it was.
    fn look(&mut self, now: Instant, path: PathStats) -> Option<Quality> {
        self.look_at = now + LOOK_EVERY;
        let before = std::mem::replace(&mut self.before, path);
        let up = loss(
            path.received - before.received.min(path.received),
            path.missed - before.missed,
        );
        let down = loss(
            path.arrived - before.arrived.min(path.arrived),
            path.lost - before.lost,
        );
        let quality = Quality::of(up.max(down), path.round_trip_time);
        let told = self.told.map_or(1.0, |own| own.score);
        let is_news = (quality.score - told).abs() >= STEP
            // All is well again.
            || (quality.score > 1.0 - STEP && told <= 1.0 - STEP);
        is_news.then(|| *self.told.insert(quality))
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

/// `data` of `quality`.
#[derive(Serialize)]
struct Told<'a> {
    peer_id: &'a str,
    #[serde(flatten)]
    quality: Quality,
}

impl Forwarder {
    /// Tells everybody in a room whose connection is worse, or better, than it was.
    pub(super) fn tell_quality(&mut self, now: Now) {
        let (mut news, mut newcomers) = (Vec::new(), Vec::new());
        for (id, own) in &mut self.participants {
            if own.watch.look_at > now.monotonic {
                continue;
            }
            if !own.permissions.waits && !std::mem::replace(&mut own.watch.is_introduced, true) {
                newcomers.push(*id);
            }
            let path = self.endpoint.get(*id).map(|peer| peer.path_stats());
            let quality = own.watch.look(now.monotonic, path.unwrap_or_default());
            let is_seen = !own.permissions.hidden && !own.permissions.waits;
            // Who looks on by HTTP is nobody to the others; who publishes so is.
            let is_known = !own.negotiation.is_single || !own.published.is_empty();
            news.extend(
                quality
                    .filter(|_| is_seen && is_known)
                    .map(|own| (*id, own)),
            );
        }
        for id in newcomers {
            self.introduce_quality(id);
        }
        for (id, quality) in news {
            let Some(own) = self.participants.get(&id) else {
                continue;
            };
            let (peer_id, room) = (own.id.clone(), self.rooms.get(&own.room));
            let members = room.map(|room| room.members.clone()).unwrap_or_default();
            let data = Told {
                peer_id: &peer_id,
                quality,
            };
            for member in members {
                self.tell_if_listening(member, "quality", &data);
            }
        }
    }

    /// Tells somebody new who is not connected well.
    fn introduce_quality(&mut self, to: PeerId) {
        let Some(room) = self.participants.get(&to).map(|own| own.room.as_str()) else {
            return;
        };
        let members = self.rooms.get(room).map(|room| room.members.clone());
        for member in members.unwrap_or_default() {
            let Some(own) = self.participants.get(&member).filter(|_| member != to) else {
                continue;
            };
            let is_seen = !own.permissions.hidden && !own.permissions.waits;
            let Some(quality) = own.watch.told.filter(|own| is_seen && own.score < 1.0) else {
                continue;
            };
            let peer_id = own.id.clone();
            let data = Told {
                peer_id: &peer_id,
                quality,
            };
            self.tell_if_listening(to, "quality", &data);
        }
    }

    /// Nobody hears it who has no signaling after its one exchange.
    fn tell_if_listening(&mut self, id: PeerId, event: &'static str, data: &impl Serialize) {
        let own = self.participants.get(&id);
        if own.is_some_and(|own| !own.negotiation.is_single) {
            self.tell(id, event, data);
        }
    }
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
        #[expect(clippy::disallowed_methods, reason = "an Instant has no other origin")]
        let start = Instant::now();
        let mut watch = Watch::new(start);
        assert_eq!(watch.look(start, after(1_000, 0, 50)), None);
        let bad = watch.look(start, after(1_900, 100, 50)).unwrap();
        assert!((bad.loss - 0.1).abs() < 0.001 && bad.score < 0.8, "{bad:?}");
        assert_eq!(watch.look(start, after(2_800, 201, 50)), None);
        // Too few to say anything, and packets that turned up late.
        let good = watch.look(start, after(2_810, 200, 50)).unwrap();
        assert!(good.score > 0.9, "{good:?}");
        assert_eq!(watch.look(start, after(2_810, 200, 50)), None);
    }
}
