//! Packets sent together form a group; what counts is how groups spread out on their way
//! (draft-ietf-rmcat-gcc-02 §5.1, §5.2).

use std::time::{Duration, Instant};

use super::sent::RemoteTime;

/// Packets sent within this time of the first are one group.
const GROUP_LASTS: Duration = Duration::from_millis(5);

/// Packets that arrive this close behind each other, and faster than they were sent, were held up
/// and released together: they join the group, for as long as [`BURST_LASTS_MS`].
const BURST_DELTA_MS: f64 = 5.0;
const BURST_LASTS_MS: f64 = 100.0;

/// When arrivals drift from our own clock by so much between two groups, a clock has jumped.
const CLOCK_JUMP_MS: f64 = 3000.0;

/// From one group to the next, in ms.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Delta {
    pub(super) sent: f64,
    pub(super) received: f64,
}

#[derive(Debug, Clone, Copy)]
struct Group {
    first_sent: Instant,
    last_sent: Instant,
    first_received: RemoteTime,
    last_received: RemoteTime,
    /// When we heard of it.
    reported: Instant,
}

#[derive(Debug, Default)]
pub(super) struct InterArrival {
    current: Option<Group>,
    previous: Option<Group>,
}

impl InterArrival {
    /// Takes the next packet by arrival; answers when it completes a group.
    pub(super) fn push(
        &mut self,
        now: Instant,
        sent: Instant,
        received: RemoteTime,
    ) -> Option<Delta> {
        let fresh = Group {
            first_sent: sent,
            last_sent: sent,
            first_received: received,
            last_received: received,
            reported: now,
        };
        let Some(current) = &mut self.current else {
            self.current = Some(fresh);
            return None;
        };
        if sent < current.first_sent {
            return None;
        }
        if !current.ends_before(sent, received) {
            current.last_sent = current.last_sent.max(sent);
            current.last_received = current.last_received.max(received);
            current.reported = now;
            return None;
        }
        let current = *current;
        let delta = self.previous.map(|previous| current.since(&previous));
        if delta.is_some_and(|(_, drift)| drift >= CLOCK_JUMP_MS) {
            *self = Self::default();
            return None;
        }
        self.previous = Some(current);
        self.current = Some(fresh);
        delta.map(|(delta, _)| delta)
    }
}

impl Group {
    fn ends_before(&self, sent: Instant, received: RemoteTime) -> bool {
        !self.bursts_with(sent, received)
            && sent.saturating_duration_since(self.first_sent) > GROUP_LASTS
    }

    fn bursts_with(&self, sent: Instant, received: RemoteTime) -> bool {
        let sent_delta = ms_between(self.last_sent, sent);
        let received_delta = received.ms_since(self.last_received);
        sent_delta == 0.0
            || (received_delta < sent_delta
                && received_delta <= BURST_DELTA_MS
                && received.ms_since(self.first_received) < BURST_LASTS_MS)
    }

    /// The delta, and by how much the arrivals drift from our clock, in ms.
    fn since(&self, previous: &Self) -> (Delta, f64) {
        let received = self.last_received.ms_since(previous.last_received);
        let delta = Delta {
            sent: ms_between(previous.last_sent, self.last_sent),
            received,
        };
        (
            delta,
            received - ms_between(previous.reported, self.reported),
        )
    }
}

/// Milliseconds from `earlier` to `later`, negative if it is the other way round.
pub(super) fn ms_between(earlier: Instant, later: Instant) -> f64 {
    let ahead = later.saturating_duration_since(earlier);
    let behind = earlier.saturating_duration_since(later);
    (ahead.as_secs_f64() - behind.as_secs_f64()) * 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::congestion::tests::instant;

    fn deltas(packets: &[(u64, i64)]) -> Vec<(f64, f64)> {
        let start = instant();
        let mut arrivals = InterArrival::default();
        let mut deltas = Vec::new();
        for (sent, received) in packets {
            let sent = start + Duration::from_millis(*sent);
            let at = start + Duration::from_millis(*received as u64);
            let delta = arrivals.push(at, sent, RemoteTime(received * 1000));
            deltas.extend(delta.map(|delta| (delta.sent, delta.received)));
        }
        deltas
    }

    #[test]
    fn groups_of_five_milliseconds_are_compared_by_their_last_packets() {
        let packets = [(0, 50), (4, 57), (20, 80), (24, 90), (40, 120), (60, 140)];
        assert_eq!(deltas(&packets), [(20.0, 33.0), (16.0, 30.0)]);
    }

    #[test]
    fn what_was_held_up_and_released_together_is_one_group() {
        // The second group waits somewhere and arrives right behind the first.
        let packets = [(0, 50), (20, 51), (40, 52), (60, 110), (80, 130)];
        assert_eq!(deltas(&packets), [(20.0, 58.0)]);
    }

    #[test]
    fn what_overtakes_joins_the_group_before() {
        let packets = [(0, 50), (10, 90), (20, 60), (40, 120), (60, 140)];
        assert_eq!(deltas(&packets), [(20.0, 40.0), (20.0, 30.0)]);
    }

    #[test]
    fn a_jump_of_the_clock_of_the_receiver_begins_anew() {
        let start = instant();
        let mut arrivals = InterArrival::default();
        let mut push = |ms: u64, received: i64| {
            let at = start + Duration::from_millis(ms);
            arrivals.push(at, at, RemoteTime(received * 1000))
        };
        assert_eq!(push(0, 0), None);
        assert_eq!(push(10, 10), None);
        assert!(push(20, 20).is_some());
        assert!(push(30, 9000).is_some());
        assert_eq!(push(40, 9010), None);
        assert_eq!(push(50, 9020), None);
    }
}
