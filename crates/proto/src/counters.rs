//! Counts with reasons: what hostile or useless input becomes.

use std::collections::BTreeMap;

/// Occurrences by reason.
///
/// The reasons are names in the code (never text from the network), so the table is as small as
/// the code is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counters(BTreeMap<&'static str, u64>);

impl Counters {
    /// Counts one more of `reason`, a `layer.what` name such as `stun.bad_integrity`.
    pub fn count(&mut self, reason: &'static str) {
        self.add(reason, 1);
    }

    /// Counts `count` more of `reason`.
    pub fn add(&mut self, reason: &'static str, count: u64) {
        let value = self.0.entry(reason).or_default();
        *value = value.saturating_add(count);
    }

    /// How often `reason` occurred.
    pub fn get(&self, reason: &str) -> u64 {
        self.0.get(reason).copied().unwrap_or(0)
    }

    /// Adds all of `other`.
    pub fn merge(&mut self, other: &Self) {
        for (reason, count) in &other.0 {
            self.add(reason, *count);
        }
    }

    /// All reasons with their counts, in order of name.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        self.0.iter().map(|(reason, count)| (*reason, *count))
    }
}
