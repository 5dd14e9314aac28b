//! What a link is told to be, as JSON.

use std::time::Duration;

use serde::Deserialize;
use twocan_sim::{LinkConfig, Loss};
use twocan_wire::units::Bitrate;

/// A line of standard input: both directions, or one of them, from now on.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Change {
    /// From the left interface to the right one.
    pub right: Option<Conditions>,
    /// From the right interface to the left one.
    pub left: Option<Conditions>,
}

/// One direction. What is not named is as on a link without limits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Conditions {
    /// Milliseconds from end to end, without queueing.
    pub delay_ms: u32,
    /// Milliseconds that are added at random, without a change of order.
    pub jitter_ms: u32,
    /// Kilobits a second; 0 is without limit.
    pub rate_kbps: u32,
    /// Milliseconds of waiting that the queue holds at that rate; the rest is dropped at its tail.
    pub queue_ms: u32,
    /// Lost at random, in thousandths.
    pub loss_per_mille: u32,
    /// Whether losses come in bursts, of four datagrams on average.
    pub bursts: bool,
    /// Nothing passes.
    pub blackout: bool,
}

/// The mean length of a burst is a thousand divided by this.
const BURST_LEAVE_PER_MILLE: u32 = 250;

impl Conditions {
    /// As the simulator has it.
    pub fn config(&self) -> LinkConfig {
        let loss = match (self.loss_per_mille, self.bursts) {
            (0, _) => Loss::None,
            (per_mille, false) => Loss::Independent { per_mille },
            // In balance the share of bad times is enter / (enter + leave).
            (per_mille, true) => Loss::Burst {
                enter_per_mille: BURST_LEAVE_PER_MILLE * per_mille / (1000 - per_mille.min(999)),
                leave_per_mille: BURST_LEAVE_PER_MILLE,
            },
        };
        LinkConfig {
            delay: Duration::from_millis(self.delay_ms.into()),
            jitter: Duration::from_millis(self.jitter_ms.into()),
            rate: (self.rate_kbps > 0).then(|| Bitrate::kbps(self.rate_kbps.into())),
            queue_len: (u64::from(self.rate_kbps) * u64::from(self.queue_ms) / 8) as usize,
            loss,
            // What the interfaces take is the kernel's affair.
            datagram_len_max: usize::MAX,
            ..LinkConfig::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_names_what_differs_from_a_perfect_link() {
        let line = r#"{"right": {"delay_ms": 50, "rate_kbps": 2000, "queue_ms": 300}}"#;
        let change: Change = serde_json::from_str(line).unwrap();
        let right = change.right.unwrap().config();
        assert_eq!(right.delay, Duration::from_millis(50));
        assert_eq!(right.rate, Some(Bitrate::kbps(2000)));
        assert_eq!(right.queue_len, 75_000);
        assert_eq!(right.loss, Loss::None);
        assert_eq!(change.left, None);
    }

    #[test]
    fn bursts_lose_the_share_that_is_asked_for() {
        let conditions = Conditions {
            loss_per_mille: 100,
            bursts: true,
            ..Conditions::default()
        };
        let Loss::Burst {
            enter_per_mille,
            leave_per_mille,
        } = conditions.config().loss
        else {
            panic!("no bursts");
        };
        let share = 1000 * enter_per_mille / (enter_per_mille + leave_per_mille);
        assert!((95..=105).contains(&share), "{share}");
    }

    #[test]
    fn an_unknown_word_is_refused() {
        let error = serde_json::from_str::<Change>(r#"{"right": {"lag_ms": 5}}"#);
        assert!(error.unwrap_err().to_string().contains("lag_ms"));
    }
}
