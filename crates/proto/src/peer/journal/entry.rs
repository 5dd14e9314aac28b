//! What stands in the event log, and how it is written: a JSON object (RFC 8259) in one line.

use std::fmt;
use std::time::Duration;

use twocan_wire::ids::{Mid, Rid, Ssrc};
use twocan_wire::units::Bitrate;

use crate::congestion::Decision;
use crate::ice::{GatheringState, Route, State};
use crate::negotiate::Kind;
use crate::peer::{ConnectionState, PeerFailure};

/// Of the format: raised when a name changes its meaning. New events and fields do not raise it.
const VERSION: u32 = 1;

/// An entry of the event log. [`Display`](fmt::Display) writes it as a line of JSON, without the
/// line feed; `docs/event-log.md` has the names.
#[derive(Debug, Clone, PartialEq)]
pub struct LogEntry {
    /// Since the connection was made.
    pub at: Duration,
    /// What happened.
    pub event: LogEvent,
}

/// What happened.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum LogEvent {
    /// The connection was made, at this time since 1970. The first entry of every log.
    Began(Duration),
    /// `connectionState` changed.
    ConnectionState(ConnectionState),
    /// `iceConnectionState` changed.
    IceConnectionState(State),
    /// `iceGatheringState` changed.
    IceGatheringState(GatheringState),
    /// Why the connection failed.
    Failed(PeerFailure),
    /// Data takes another way, or none.
    Route {
        /// The way.
        route: Option<Route>,
        /// Whether it begins at a relay of ours.
        relayed: bool,
    },
    /// Of congestion control.
    Decision(Decision),
    /// Of a key frame, or a request for one.
    KeyFrame {
        /// Which.
        what: KeyFrame,
        /// The section.
        mid: Mid,
        /// The simulcast stream, where it has a name.
        rid: Option<Rid>,
    },
    /// How things stand.
    Sample(Sample),
    /// How a stream that is received stands.
    Inbound(Inbound),
    /// So many entries found no room before this one.
    LeftOut(u64),
}

/// What became of a key frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyFrame {
    /// We asked for one.
    Asked,
    /// The other side asked for one.
    Requested,
    /// The application sent one.
    Sent,
    /// One arrived whole.
    Received,
}

impl KeyFrame {
    /// As the log has it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Asked => "asked",
            Self::Requested => "requested",
            Self::Sent => "sent",
            Self::Received => "received",
        }
    }
}

/// How a connection stands, and what it did since the sample before.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    /// What was sent, all headers above UDP included.
    pub sent: Bitrate,
    /// What media was received, headers of RTP included.
    pub received: Bitrate,
    /// What the path is thought to carry.
    pub target: Option<Bitrate>,
    /// What of it arrives.
    pub acknowledged: Option<Bitrate>,
    /// As feedback shows it.
    pub round_trip_time: Option<Duration>,
    /// The slope of the delay, without a unit.
    pub trend: f64,
    /// Above it, the slope tells of a queue that grows; below its negative, of one that drains.
    pub threshold: f64,
    /// Bytes of video that wait for the pacer.
    pub queue_len: usize,
    /// How long the first of them has waited.
    pub queue_time: Duration,
}

/// How a stream that is received stands. Counts are since its beginning.
#[derive(Debug, Clone, PartialEq)]
pub struct Inbound {
    /// The section.
    pub mid: Mid,
    /// The simulcast stream, where it has a name.
    pub rid: Option<Rid>,
    /// The source.
    pub ssrc: Ssrc,
    /// Sound or pictures, where that was agreed.
    pub kind: Option<Kind>,
    /// `packetsReceived`.
    pub packets_received: u64,
    /// `packetsLost`.
    pub packets_lost: i64,
    /// Packets that came by retransmission or were made from FEC.
    pub packets_repaired: u64,
    /// `framesReceived`.
    pub frames_received: u64,
    /// `framesDropped`.
    pub frames_dropped: u64,
    /// `jitter`.
    pub jitter: Duration,
    /// How long what was handed out since the sample before had been kept, on average
    /// (`jitterBufferDelay`); nothing where nothing was handed out.
    pub buffer: Option<Duration>,
}

impl fmt::Display for LogEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{\"t\":{:.6},", self.at.as_secs_f64())?;
        match &self.event {
            LogEvent::Began(at) => {
                let at = at.as_secs_f64();
                write!(
                    f,
                    "\"event\":\"began\",\"version\":{VERSION},\"at\":{at:.3}"
                )
            }
            LogEvent::ConnectionState(state) => state_line(f, "connection", state.as_str()),
            LogEvent::IceConnectionState(state) => state_line(f, "ice", state.as_str()),
            LogEvent::IceGatheringState(state) => state_line(f, "gathering", state.as_str()),
            LogEvent::Failed(failure) => {
                let why = failure.to_string();
                write!(f, "\"event\":\"failed\",\"why\":{}", Text(&why))
            }
            LogEvent::Route { route, relayed } => match route {
                Some(route) => write!(
                    f,
                    "\"event\":\"route\",\"local\":\"{}\",\"remote\":\"{}\",\"relayed\":{relayed}",
                    route.path.local, route.remote
                ),
                None => write!(f, "\"event\":\"route\",\"local\":null,\"remote\":null"),
            },
            LogEvent::Decision(decision) => write_decision(f, decision),
            LogEvent::KeyFrame { what, mid, rid } => {
                let what = what.as_str();
                write!(f, "\"event\":\"key_frame\",\"what\":\"{what}\"")?;
                write_stream(f, mid, rid.as_ref())
            }
            LogEvent::Sample(sample) => write_sample(f, sample),
            LogEvent::Inbound(inbound) => write_inbound(f, inbound),
            LogEvent::LeftOut(count) => write!(f, "\"event\":\"left_out\",\"count\":{count}"),
        }?;
        f.write_str("}")
    }
}

fn state_line(f: &mut fmt::Formatter<'_>, event: &str, state: &str) -> fmt::Result {
    write!(f, "\"event\":\"{event}\",\"state\":\"{state}\"")
}

fn write_decision(f: &mut fmt::Formatter<'_>, decision: &Decision) -> fmt::Result {
    match *decision {
        Decision::Feedback { packets, missing } => write!(
            f,
            "\"event\":\"feedback\",\"packets\":{packets},\"missing\":{missing}"
        ),
        Decision::Delay { usage, rate } => {
            let usage = usage.as_str();
            write!(
                f,
                "\"event\":\"delay\",\"usage\":\"{usage}\",\"bps\":{rate:.0}"
            )
        }
        Decision::Loss {
            share,
            rate,
            limits,
        } => write!(
            f,
            "\"event\":\"loss\",\"share\":{share:.4},\"bps\":{rate:.0},\"limits\":{limits}"
        ),
        Decision::Marks { share, rate } => write!(
            f,
            "\"event\":\"marks\",\"share\":{share:.4},\"bps\":{rate:.0}"
        ),
        Decision::Probe { id, rate } => {
            write!(f, "\"event\":\"probe\",\"id\":{id},\"bps\":{rate:.0}")
        }
        Decision::Probed { rate } => write!(f, "\"event\":\"probed\",\"bps\":{rate:.0}"),
        Decision::Limited(limited) => {
            write!(f, "\"event\":\"limited\",\"limited\":{limited}")
        }
        Decision::Silence { rate } => write!(f, "\"event\":\"silence\",\"bps\":{rate:.0}"),
        Decision::Receiver { rate } => write!(f, "\"event\":\"receiver\",\"bps\":{rate:.0}"),
        Decision::Route => write!(f, "\"event\":\"anew\""),
        Decision::Target {
            rate,
            bound,
            acknowledged,
            delay_based,
            loss_based,
        } => {
            let bound = bound.as_str();
            write!(
                f,
                "\"event\":\"target\",\"bps\":{rate:.0},\"bound\":\"{bound}\",\"delay_bps\":{delay_based:.0}"
            )?;
            write_rate(f, "loss_bps", loss_based)?;
            write_rate(f, "acknowledged_bps", acknowledged)
        }
    }
}

fn write_sample(f: &mut fmt::Formatter<'_>, sample: &Sample) -> fmt::Result {
    let bps = |rate: Option<Bitrate>| rate.map(|rate| rate.as_bps() as f64);
    write!(
        f,
        "\"event\":\"sample\",\"sent_bps\":{},\"received_bps\":{}",
        sample.sent.as_bps(),
        sample.received.as_bps()
    )?;
    write_rate(f, "target_bps", bps(sample.target))?;
    write_rate(f, "acknowledged_bps", bps(sample.acknowledged))?;
    write_time(f, "rtt", sample.round_trip_time)?;
    write!(
        f,
        ",\"trend\":{:.3},\"threshold\":{:.3},\"queue_bytes\":{}",
        sample.trend, sample.threshold, sample.queue_len
    )?;
    write_time(f, "queue_time", Some(sample.queue_time))
}

fn write_inbound(f: &mut fmt::Formatter<'_>, inbound: &Inbound) -> fmt::Result {
    f.write_str("\"event\":\"inbound\"")?;
    write_stream(f, &inbound.mid, inbound.rid.as_ref())?;
    write!(f, ",\"ssrc\":{}", inbound.ssrc.0)?;
    match inbound.kind {
        Some(Kind::Audio) => f.write_str(",\"kind\":\"audio\"")?,
        Some(Kind::Video) => f.write_str(",\"kind\":\"video\"")?,
        None => {}
    }
    write!(
        f,
        ",\"packets\":{},\"lost\":{},\"repaired\":{},\"frames\":{},\"dropped\":{}",
        inbound.packets_received,
        inbound.packets_lost,
        inbound.packets_repaired,
        inbound.frames_received,
        inbound.frames_dropped
    )?;
    write_time(f, "jitter", Some(inbound.jitter))?;
    write_time(f, "buffer", inbound.buffer)
}

fn write_stream(f: &mut fmt::Formatter<'_>, mid: &Mid, rid: Option<&Rid>) -> fmt::Result {
    write!(f, ",\"mid\":{}", Text(mid.as_str()))?;
    match rid {
        Some(rid) => write!(f, ",\"rid\":{}", Text(rid.as_str())),
        None => Ok(()),
    }
}

/// A rate that may be unknown, and is then left out.
fn write_rate(f: &mut fmt::Formatter<'_>, name: &str, rate: Option<f64>) -> fmt::Result {
    match rate {
        Some(rate) => write!(f, ",\"{name}\":{rate:.0}"),
        None => Ok(()),
    }
}

/// A time in seconds that may be unknown, and is then left out.
fn write_time(f: &mut fmt::Formatter<'_>, name: &str, time: Option<Duration>) -> fmt::Result {
    match time {
        Some(time) => write!(f, ",\"{name}\":{:.6}", time.as_secs_f64()),
        None => Ok(()),
    }
}

/// A string of JSON: names come from descriptions, which may hold anything (RFC 8259 §7).
struct Text<'a>(&'a str);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write as _;
        f.write_char('"')?;
        for character in self.0.chars() {
            match character {
                '"' | '\\' => write!(f, "\\{character}")?,
                control if control.is_control() && (control as u32) < 0x20 => {
                    write!(f, "\\u{:04x}", control as u32)?;
                }
                other => f.write_char(other)?,
            }
        }
        f.write_char('"')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_streams_cannot_break_out_of_their_line() {
        let entry = LogEntry {
            at: Duration::from_millis(1),
            event: LogEvent::KeyFrame {
                what: KeyFrame::Sent,
                mid: Mid::from("a\"},\n\\"),
                rid: Some(Rid::from("ü")),
            },
        };
        assert_eq!(
            entry.to_string(),
            r#"{"t":0.001000,"event":"key_frame","what":"sent","mid":"a\"},\u000a\\","rid":"ü"}"#
        );
    }
}
