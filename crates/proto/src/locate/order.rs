//! In which order records count.

use super::{Naptr, Srv};
use crate::random::Random;

/// RFC 2782, "Usage rules": by priority, and within one drawn by weight.
pub(super) fn by_weight(mut records: Vec<Srv>, random: &mut Random) -> Vec<Srv> {
    // Those without a weight stand first, so that they have a small chance as well.
    records.sort_by_key(|record| (record.priority, record.weight));
    let mut ordered = Vec::with_capacity(records.len());
    while let Some(first) = records.first() {
        let priority = first.priority;
        let same = records.iter().take_while(|own| own.priority == priority);
        let weights: Vec<u32> = same.map(|own| u32::from(own.weight)).collect();
        let drawn = random.below(weights.iter().sum::<u32>() + 1);
        let sums = weights.iter().scan(0, |sum, weight| {
            *sum += weight;
            Some(*sum)
        });
        let chosen = sums.into_iter().position(|sum| sum >= drawn).unwrap_or(0);
        ordered.push(records.remove(chosen));
    }
    ordered
}

/// RFC 3403 §4.1.
pub(super) fn by_preference(mut records: Vec<Naptr>) -> Vec<Naptr> {
    records.sort_by_key(|record| (record.order, record.preference));
    records
}
