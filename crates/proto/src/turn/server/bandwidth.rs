//! How many bytes are relayed: of an allocation, of a user, and of all together.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use super::meter::Meter;
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
#[derive(Debug, Default)]
pub(super) struct Budget([Meter; 2]);

impl Budget {
    const fn of(&self, direction: Direction) -> &Meter {
        let [to_peer, to_client] = &self.0;
        match direction {
            Direction::ToPeer => to_peer,
            Direction::ToClient => to_client,
        }
    }

    /// Whether `len` bytes more are within `rate`; zero is no bound.
    #[inline]
    fn has(&self, now: u64, direction: Direction, rate: u64, len: u64) -> bool {
        rate == 0 || self.of(direction).has(now, rate, burst(rate), len)
    }

    #[inline]
    fn spend(&self, now: u64, direction: Direction, rate: u64, len: u64) {
        if rate > 0 {
            self.of(direction).spend(now, rate, len);
        }
    }
}

/// What may go at once, in bytes: a quarter of a second's, and one datagram at least.
fn burst(rate: u64) -> u64 {
    (rate / 4).max(65_535)
}

/// The budgets of an allocation, and of its user.
#[derive(Debug, Default)]
pub(super) struct Budgets {
    own: Budget,
    of_user: Arc<Budget>,
}

#[derive(Debug, Default)]
struct User {
    budget: Arc<Budget>,
    allocations: usize,
}

#[derive(Debug, Default)]
struct Users {
    known: BTreeMap<Box<str>, User>,
    /// Users without an allocation, the longest gone first. They are remembered for a while: a
    /// new allocation is no new budget.
    idle: VecDeque<Box<str>>,
}

/// The budgets of users, and of all. A packet looks up no name, and waits for no other thread.
#[derive(Debug, Default)]
pub(super) struct Bandwidth {
    users: Mutex<Users>,
    all: Budget,
}

impl Bandwidth {
    /// A user has one more allocation.
    pub(super) fn join(&self, user: &str) -> Budgets {
        let mut users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
        let Users { known, idle } = &mut *users;
        if !known.contains_key(user) {
            known.insert(user.into(), User::default());
        }
        let of_user = known.get_mut(user).map(|own| {
            own.allocations += 1;
            if own.allocations == 1 {
                idle.retain(|gone| **gone != *user);
            }
            own.budget.clone()
        });
        Budgets {
            own: Budget::default(),
            of_user: of_user.unwrap_or_default(),
        }
    }

    /// A user has one less.
    pub(super) fn leave(&self, user: &str) {
        let mut users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
        let Users { known, idle } = &mut *users;
        let Some(own) = known.get_mut(user) else {
            return;
        };
        own.allocations = own.allocations.saturating_sub(1);
        if own.allocations > 0 {
            return;
        }
        idle.push_back(user.into());
        if idle.len() > IDLE_USERS_MAX
            && let Some(oldest) = idle.pop_front()
        {
            known.remove(&oldest);
        }
    }

    /// Takes `len` bytes from the budgets of an allocation, of its user and of all, or from none.
    #[inline]
    pub(super) fn take(
        &self,
        now: u64,
        quotas: &Quotas,
        budgets: &Budgets,
        direction: Direction,
        len: usize,
    ) -> Result<(), Exceeded> {
        self.has_room(now, quotas, budgets, direction, len)?;
        self.spend(now, quotas, budgets, direction, len);
        Ok(())
    }

    /// Whether `len` bytes more are within the budgets of an allocation, of its user and of all.
    #[inline]
    pub(super) fn has_room(
        &self,
        now: u64,
        quotas: &Quotas,
        budgets: &Budgets,
        direction: Direction,
        len: usize,
    ) -> Result<(), Exceeded> {
        for (budget, rate, exceeded) in self.bounds(quotas, budgets) {
            if !budget.has(now, direction, rate, len as u64) {
                return Err(exceeded);
            }
        }
        Ok(())
    }

    /// Takes `len` bytes from those budgets, whether they are there or not: what is too much is
    /// owed.
    #[inline]
    pub(super) fn spend(
        &self,
        now: u64,
        quotas: &Quotas,
        budgets: &Budgets,
        direction: Direction,
        len: usize,
    ) {
        for (budget, rate, _) in self.bounds(quotas, budgets) {
            budget.spend(now, direction, rate, len as u64);
        }
    }

    #[inline]
    fn bounds<'a>(
        &'a self,
        quotas: &Quotas,
        budgets: &'a Budgets,
    ) -> [(&'a Budget, u64, Exceeded); 3] {
        let Budgets { own, of_user } = budgets;
        [
            (own, quotas.bytes_per_second, Exceeded::Allocation),
            (of_user, quotas.bytes_per_second_of_user, Exceeded::User),
            (&self.all, quotas.bytes_per_second_in_all, Exceeded::All),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_that_comes_back_has_no_new_budget_and_many_are_forgotten_in_their_order() {
        let bandwidth = Bandwidth::default();
        let first = bandwidth.join("ann");
        let is_first = |other: &Budgets| Arc::ptr_eq(&first.of_user, &other.of_user);
        assert!(is_first(&bandwidth.join("ann")));
        bandwidth.leave("ann");
        bandwidth.leave("ann");
        assert!(is_first(&bandwidth.join("ann")));
        bandwidth.leave("ann");
        for index in 0..2 * IDLE_USERS_MAX {
            let user = format!("user{index}");
            bandwidth.join(&user);
            bandwidth.leave(&user);
        }
        let users = bandwidth.users.lock().unwrap();
        assert_eq!(
            (users.known.len(), users.idle.len()),
            (IDLE_USERS_MAX, IDLE_USERS_MAX)
        );
        assert!(!users.known.contains_key("ann"));
        let newest = format!("user{}", 2 * IDLE_USERS_MAX - 1);
        assert!(users.known.contains_key(newest.as_str()));
    }
}
