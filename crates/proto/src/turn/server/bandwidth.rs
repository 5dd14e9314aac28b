//! How many bytes are relayed: of an allocation, of a user, and of all together.

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use super::quota::Bucket;
use super::{IDLE_USERS_MAX, Quotas};

/// Which way something is relayed. Each has a budget of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    ToPeer,
    ToClient,
}

/// Whose bandwidth was used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Exceeded {
    Allocation,
    User,
    All,
}

/// What is used up of a bandwidth, by direction.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Budget([Bucket; 2]);

impl Budget {
    fn of(&mut self, direction: Direction) -> &mut Bucket {
        let [to_peer, to_client] = &mut self.0;
        match direction {
            Direction::ToPeer => to_peer,
            Direction::ToClient => to_client,
        }
    }

    /// Whether `len` bytes more are within `rate`; zero is no bound.
    #[inline]
    fn has(&mut self, now: Instant, direction: Direction, rate: u64, len: u64) -> bool {
        rate == 0 || self.of(direction).has(now, rate, burst(rate), len)
    }
}

/// What may go at once, in bytes: a quarter of a second's, and one datagram at least.
fn burst(rate: u64) -> u64 {
    (rate / 4).max(65_535)
}

/// A user's budget.
#[derive(Debug, Default)]
struct Share {
    name: Box<str>,
    allocations: usize,
    budget: Budget,
}

/// Names a user's budget in its allocations, so that a packet looks up no name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ShareId(u32);

/// The budgets of users, and of all.
#[derive(Debug, Default)]
pub(super) struct Bandwidth {
    shares: Vec<Share>,
    free: Vec<u32>,
    places: BTreeMap<Box<str>, u32>,
    /// Users without an allocation, the longest gone first. They are remembered for a while: a
    /// new allocation is no new budget.
    idle: VecDeque<u32>,
    all: Budget,
}

impl Bandwidth {
    /// A user has one more allocation.
    pub(super) fn join(&mut self, user: &str) -> ShareId {
        let place = match self.places.get(user) {
            Some(place) => *place,
            None => {
                let place = self.free.pop().unwrap_or_else(|| {
                    self.shares.push(Share::default());
                    u32::try_from(self.shares.len() - 1).unwrap_or(u32::MAX)
                });
                self.places.insert(user.into(), place);
                if let Some(share) = self.shares.get_mut(place as usize) {
                    *share = Share {
                        name: user.into(),
                        ..Share::default()
                    };
                }
                place
            }
        };
        if let Some(share) = self.shares.get_mut(place as usize) {
            share.allocations += 1;
            if share.allocations == 1 {
                self.idle.retain(|own| *own != place);
            }
        }
        ShareId(place)
    }

    /// A user has one less.
    pub(super) fn leave(&mut self, ShareId(place): ShareId) {
        let Some(share) = self.shares.get_mut(place as usize) else {
            return;
        };
        share.allocations = share.allocations.saturating_sub(1);
        if share.allocations > 0 {
            return;
        }
        self.idle.push_back(place);
        if self.idle.len() > IDLE_USERS_MAX
            && let Some(oldest) = self.idle.pop_front()
            && let Some(share) = self.shares.get_mut(oldest as usize)
        {
            self.places.remove(&share.name);
            *share = Share::default();
            self.free.push(oldest);
        }
    }

    /// Takes `len` bytes from the budgets of an allocation, of its user and of all, or from none.
    #[inline]
    pub(super) fn take(
        &mut self,
        now: Instant,
        quotas: &Quotas,
        own: &mut Budget,
        share: ShareId,
        direction: Direction,
        len: usize,
    ) -> Result<(), Exceeded> {
        self.has_room(now, quotas, own, share, direction, len)?;
        self.spend(own, share, direction, len);
        Ok(())
    }

    /// Whether `len` bytes more are within the budgets of an allocation, of its user and of all.
    #[inline]
    pub(super) fn has_room(
        &mut self,
        now: Instant,
        quotas: &Quotas,
        own: &mut Budget,
        ShareId(share): ShareId,
        direction: Direction,
        len: usize,
    ) -> Result<(), Exceeded> {
        let len = len as u64;
        let [of_own, of_user, of_all] = [
            quotas.bytes_per_second,
            quotas.bytes_per_second_of_user,
            quotas.bytes_per_second_in_all,
        ];
        if !own.has(now, direction, of_own, len) {
            return Err(Exceeded::Allocation);
        }
        if let Some(share) = self.shares.get_mut(share as usize)
            && !share.budget.has(now, direction, of_user, len)
        {
            return Err(Exceeded::User);
        }
        if !self.all.has(now, direction, of_all, len) {
            return Err(Exceeded::All);
        }
        Ok(())
    }

    /// Takes `len` bytes from those budgets, whether they are there or not: what is too much is
    /// owed.
    #[inline]
    pub(super) fn spend(
        &mut self,
        own: &mut Budget,
        ShareId(share): ShareId,
        direction: Direction,
        len: usize,
    ) {
        let len = len as u64;
        own.of(direction).spend(len);
        if let Some(share) = self.shares.get_mut(share as usize) {
            share.budget.of(direction).spend(len);
        }
        self.all.of(direction).spend(len);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_that_comes_back_has_no_new_budget_and_many_are_forgotten_in_their_order() {
        let mut bandwidth = Bandwidth::default();
        let first = bandwidth.join("ann");
        assert_eq!(bandwidth.join("ann"), first);
        bandwidth.leave(first);
        bandwidth.leave(first);
        assert_eq!(bandwidth.join("ann"), first);
        bandwidth.leave(first);
        for index in 0..2 * IDLE_USERS_MAX {
            let share = bandwidth.join(&format!("user{index}"));
            bandwidth.leave(share);
        }
        assert_eq!(bandwidth.places.len(), IDLE_USERS_MAX);
        assert!(bandwidth.shares.len() <= IDLE_USERS_MAX + 1);
        assert!(!bandwidth.places.contains_key("ann"));
        let newest = format!("user{}", 2 * IDLE_USERS_MAX - 1);
        assert!(bandwidth.places.contains_key(newest.as_str()));
    }
}
