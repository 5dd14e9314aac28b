//! The loss to expect, from what the receiver reports.

/// How a report weighs that says more loss than before, and one that says less: a path that loses
/// is not trusted again at once, but what a full queue lost is soon over.
const WEIGHT_MORE: f64 = 0.5;
const WEIGHT_LESS: f64 = 0.4;

/// The part of packets that the path loses, as far as reports tell.
#[derive(Debug, Default)]
pub(super) struct ExpectedLoss {
    loss: Option<f64>,
}

impl ExpectedLoss {
    /// Takes the fraction that a report names (RFC 3550 §6.4.1), 0 to 1.
    pub(super) fn handle_report(&mut self, fraction: f64) {
        let before = self.loss.unwrap_or(0.0);
        let weight = match fraction > before {
            true => WEIGHT_MORE,
            false => WEIGHT_LESS,
        };
        self.loss = Some(before + weight * (fraction - before));
    }

    /// What to expect, 0 to 1; `None` before the first report.
    pub(super) fn get(&self) -> Option<f64> {
        self.loss
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loss_is_believed_quickly_and_forgotten_slowly() {
        let mut loss = ExpectedLoss::default();
        assert_eq!(loss.get(), None);
        let mut counts = [0, 0];
        for (count, (report, done)) in counts.iter_mut().zip([(0.2, 0.1), (0.0, 0.01)]) {
            while (loss.get().unwrap_or(0.0) - report).abs() > done {
                loss.handle_report(report);
                *count += 1;
            }
        }
        assert_eq!(counts[0], 1);
        assert!((4..8).contains(&counts[1]), "{counts:?}");
    }
}
