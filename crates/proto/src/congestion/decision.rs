//! What was decided and why, one log line each; nothing is made when nobody listens.

use std::fmt;

use super::trendline::Usage;

/// A decision. Rates are in bit/s.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Decision {
    /// What the delay says has changed.
    Delay { usage: Usage, rate: f64 },
    /// What loss says has changed.
    Loss { share: f64, rate: f64, limits: bool },
    /// A probe is to be sent.
    Probe { id: u64, rate: f64 },
    /// A probe was measured.
    Probed { rate: f64 },
    /// The application sends less than it may, or no longer does.
    Limited(bool),
    /// Feedback stays away.
    Silence { rate: f64 },
    /// The receiver limits the rate.
    Receiver { rate: f64 },
    /// The target has changed.
    Target {
        rate: f64,
        acknowledged: Option<f64>,
    },
}

impl Decision {
    /// Logs the decision, if anyone listens.
    pub(super) fn log(decide: impl FnOnce() -> Self) {
        if tracing::enabled!(tracing::Level::DEBUG) {
            tracing::debug!("{}", decide());
        }
    }
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kbps = |rate: f64| rate / 1000.0;
        match *self {
            Self::Delay { usage, rate } => {
                write!(f, "delay: {usage:?}, {:.0} kbit/s", kbps(rate))
            }
            Self::Loss {
                share,
                rate,
                limits,
            } => {
                let share = share * 100.0;
                let does = if limits { "limits" } else { "allows" };
                write!(f, "loss: {share:.1} %, {does} {:.0} kbit/s", kbps(rate))
            }
            Self::Probe { id, rate } => write!(f, "probe {id} at {:.0} kbit/s", kbps(rate)),
            Self::Probed { rate } => write!(f, "probe found {:.0} kbit/s", kbps(rate)),
            Self::Limited(true) => write!(f, "the application limits the rate"),
            Self::Limited(false) => write!(f, "the application uses the rate"),
            Self::Silence { rate } => {
                write!(f, "no feedback: back off to {:.0} kbit/s", kbps(rate))
            }
            Self::Receiver { rate } => {
                write!(f, "the receiver allows {:.0} kbit/s", kbps(rate))
            }
            Self::Target { rate, acknowledged } => {
                write!(f, "target {:.0} kbit/s", kbps(rate))?;
                match acknowledged {
                    Some(rate) => write!(f, ", {:.0} kbit/s arrive", kbps(rate)),
                    None => Ok(()),
                }
            }
        }
    }
}
