//! Who gets which quality, where the way to a viewer does not carry all.

use twocan_proto::wire::units::Bitrate;

use super::scalable::Target;

/// What raising a picture needs beyond its rate, so that it is not taken back at once.
const HEADROOM_PERCENT: u64 = 115;

/// One quality of a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Level {
    /// The stream of the track.
    pub(super) stream: usize,
    /// The layers of it.
    pub(super) target: Target,
    /// What it takes, headers included.
    pub(super) rate: Bitrate,
}

/// What a viewer wants of one track.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Demand {
    /// Larger goes first; of equals, who speaks, then the earlier one.
    pub(super) priority: u8,
    /// Whether it is of who has the floor.
    pub(super) has_floor: bool,
    /// The qualities there are and the viewer can use, the lowest first.
    pub(super) levels: Vec<Level>,
    /// The one that it gets at present.
    pub(super) current: Option<usize>,
}

/// Shares `budget` out: a level for each demand, or none.
///
/// Everybody gets the lowest before anybody gets more, in the order of priority; then each is raised
/// as far as there is rate, in the same order. The first is never left without its lowest: a call
/// without any picture is none. `None` for a budget says that nothing is known of it: all get their
/// highest.
pub(super) fn allocate(budget: Option<Bitrate>, demands: &[Demand]) -> Vec<Option<usize>> {
    let highest = |demand: &Demand| demand.levels.len().checked_sub(1);
    let Some(budget) = budget else {
        return demands.iter().map(highest).collect();
    };
    let mut left = budget.as_bps();
    let mut given = vec![None; demands.len()];
    let mut order: Vec<usize> = (0..demands.len()).collect();
    order.sort_by_key(|index| {
        let rank = |own: &Demand| (u8::MAX - own.priority, !own.has_floor);
        (demands.get(*index).map(rank), *index)
    });
    let mut is_first = true;
    for index in &order {
        let Some(lowest) = demands.get(*index).and_then(|own| own.levels.first()) else {
            continue;
        };
        let rate = lowest.rate.as_bps();
        if rate <= left || is_first {
            left = left.saturating_sub(rate);
            if let Some(seat) = given.get_mut(*index) {
                *seat = Some(0);
            }
        }
        is_first = false;
    }
    for index in order {
        let (Some(demand), Some(Some(level))) = (demands.get(index), given.get_mut(index)) else {
            continue;
        };
        let Some(lowest) = demand.levels.first() else {
            continue;
        };
        let room = left + lowest.rate.as_bps();
        let fits = |(at, own): &(usize, &Level)| {
            let needed = match demand.current {
                Some(current) if *at <= current => own.rate.as_bps(),
                _ => own.rate.as_bps() * HEADROOM_PERCENT / 100,
            };
            needed <= room
        };
        let levels = demand.levels.iter().enumerate();
        if let Some((at, best)) = levels.rev().find(fits) {
            left = room.saturating_sub(best.rate.as_bps());
            *level = at;
        }
    }
    given
}

#[cfg(test)]
mod tests {
    use super::*;

    fn demand(priority: u8, rates: &[u64]) -> Demand {
        let levels = rates.iter().enumerate().map(|(stream, rate)| Level {
            stream,
            target: Target::default(),
            rate: Bitrate::kbps(*rate),
        });
        Demand {
            priority,
            has_floor: false,
            levels: levels.collect(),
            current: None,
        }
    }

    fn shared(budget: u64, demands: &[Demand]) -> Vec<Option<usize>> {
        allocate(Some(Bitrate::kbps(budget)), demands)
    }

    #[test]
    fn everybody_gets_something_before_anybody_gets_more() {
        let all = [demand(0, &[100, 300, 900]), demand(5, &[100, 300, 900])];
        assert_eq!(shared(150, &all), [None, Some(0)]);
        assert_eq!(shared(200, &all), [Some(0), Some(0)]);
        assert_eq!(shared(450, &all), [Some(0), Some(1)]);
        assert_eq!(shared(2_100, &all), [Some(2), Some(2)]);
        assert_eq!(allocate(None, &all), [Some(2), Some(2)]);
    }

    #[test]
    fn who_speaks_goes_before_equals() {
        let mut all = [demand(0, &[100, 300]), demand(0, &[100, 300])];
        assert_eq!(shared(450, &all), [Some(1), Some(0)]);
        all[1].has_floor = true;
        assert_eq!(shared(450, &all), [Some(0), Some(1)]);
        all[0].priority = 1;
        assert_eq!(shared(450, &all), [Some(1), Some(0)]);
    }

    #[test]
    fn the_first_always_has_a_picture() {
        let all = [demand(1, &[100]), demand(0, &[100])];
        assert_eq!(shared(30, &all), [Some(0), None]);
    }

    #[test]
    fn what_is_there_stays_and_what_is_new_needs_room() {
        let mut one = [demand(0, &[100, 300])];
        assert_eq!(shared(310, &one), [Some(0)]);
        one[0].current = Some(1);
        assert_eq!(shared(310, &one), [Some(1)]);
        assert_eq!(shared(299, &one), [Some(0)]);
    }

    #[test]
    fn a_track_without_streams_gets_nothing() {
        assert_eq!(
            shared(100, &[demand(9, &[]), demand(0, &[50])]),
            [None, Some(0)]
        );
    }
}
