//! The event log, read back. `docs/event-log.md` has the format.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::PlotError;

/// The format that is known.
const VERSION: u32 = 1;

/// Later moments are taken for damage: a connection of four months.
const TIME_MAX: f64 = 1e7;

/// Names of connections that an error lists.
const NAMES_SHOWN: usize = 10;

/// Reports are looked at together over this time, in seconds.
const LOSS_WINDOW: f64 = 0.5;

/// Values over time: seconds and value, in order.
pub(super) type Series = Vec<(f64, f64)>;

#[derive(Debug, Deserialize)]
struct Line {
    t: f64,
    connection: Option<String>,
    #[serde(flatten)]
    event: Event,
}

/// What a line says. Fields that are not drawn are not looked at, events that are not known are
/// passed over: later versions may have more of both.
#[derive(Debug, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum Event {
    Began {
        version: u32,
    },
    Connection {
        state: String,
    },
    Ice {
        state: String,
    },
    Failed {
        why: String,
    },
    Route {
        remote: Option<String>,
    },
    Feedback {
        packets: f64,
        missing: f64,
    },
    Delay {
        usage: Usage,
    },
    Loss {
        share: f64,
    },
    Marks {
        share: f64,
    },
    Probe {
        bps: f64,
    },
    Probed {
        bps: f64,
    },
    Silence {
        bps: f64,
    },
    Target {
        bps: f64,
        delay_bps: f64,
        loss_bps: Option<f64>,
    },
    KeyFrame {
        what: KeyFrame,
    },
    Sample {
        sent_bps: f64,
        received_bps: f64,
        target_bps: Option<f64>,
        acknowledged_bps: Option<f64>,
        rtt: Option<f64>,
        trend: f64,
        threshold: f64,
        queue_time: f64,
    },
    Inbound {
        mid: String,
        rid: Option<String>,
        ssrc: u32,
        kind: Option<String>,
        packets: f64,
        lost: f64,
        dropped: f64,
        buffer: Option<f64>,
    },
    LeftOut {
        count: u64,
    },
    #[serde(other)]
    Other,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Usage {
    Normal,
    Over,
    Under,
}

/// What became of a key frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum KeyFrame {
    Asked,
    Requested,
    Sent,
    Received,
}

/// All that is drawn of a connection. Rates are in bit/s, times in seconds, shares from 0 to 1.
#[derive(Debug, Default)]
pub(super) struct Log {
    pub(super) end: f64,
    pub(super) target: Series,
    pub(super) delay_based: Series,
    pub(super) loss_based: Series,
    pub(super) acknowledged: Series,
    pub(super) sent: Series,
    pub(super) received: Series,
    pub(super) reported_loss: Series,
    pub(super) average_loss: Series,
    pub(super) marked: Series,
    pub(super) inbound_loss: Series,
    pub(super) rtt: Series,
    pub(super) trend: Series,
    pub(super) threshold: Series,
    /// When queues were found to grow, and until when.
    pub(super) overuse: Vec<(f64, f64)>,
    pub(super) queue_time: Series,
    /// How long streams are kept before they are handed out, by what they are called.
    pub(super) buffers: BTreeMap<String, Series>,
    pub(super) probes: Series,
    pub(super) probed: Series,
    pub(super) key_frames: Vec<(f64, KeyFrame)>,
    pub(super) dropped: Vec<f64>,
    pub(super) states: Vec<(f64, String)>,
    overuse_since: Option<f64>,
    feedback: Option<(f64, f64, f64)>,
    /// The sample that is being read: when, packets that came, and that were lost.
    inbound: Option<(f64, f64, f64)>,
    /// By source: packets that came, that were lost, and frames that were dropped.
    streams: BTreeMap<u32, (f64, f64, f64)>,
}

impl Log {
    /// Reads the lines of one connection.
    pub(super) fn parse(bytes: &[u8], wanted: Option<&str>) -> Result<Self, PlotError> {
        let mut log = Self::default();
        let mut names = BTreeSet::new();
        let mut any = false;
        for (index, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
            if line.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            let number = index + 1;
            let wrong = |reason: String| PlotError::Line { number, reason };
            let line: Line = serde_json::from_slice(line).map_err(|error| wrong(told(&error)))?;
            line.check().map_err(wrong)?;
            any = true;
            if let Some(name) = &line.connection
                && !names.contains(name)
            {
                names.insert(name.clone());
            }
            if wanted.is_none() || wanted == line.connection.as_deref() {
                log.take(line.t, line.event);
            }
        }
        let known = || {
            let shown = names.iter().take(NAMES_SHOWN).map(String::as_str);
            shown.collect::<Vec<_>>().join(", ")
        };
        match wanted {
            _ if !any => Err(PlotError::Empty),
            None if names.len() > 1 => Err(PlotError::Several(known())),
            Some(wanted) if !names.contains(wanted) => Err(PlotError::NoSuchConnection {
                wanted: wanted.to_owned(),
                known: known(),
            }),
            _ => {
                log.finish();
                Ok(log)
            }
        }
    }

    fn take(&mut self, t: f64, event: Event) {
        self.end = self.end.max(t);
        match event {
            Event::Connection { state } => self.states.push((t, state)),
            Event::Ice { state } => self.states.push((t, format!("ICE {state}"))),
            Event::Failed { why } => self.states.push((t, why)),
            Event::Route { remote } => {
                let to = remote.map_or("no route".to_owned(), |remote| format!("to {remote}"));
                self.states.push((t, to));
            }
            Event::LeftOut { count } => self.states.push((t, format!("{count} left out"))),
            Event::Silence { .. } => self.states.push((t, "no feedback".to_owned())),
            Event::Feedback { packets, missing } => self.take_feedback(t, packets, missing),
            Event::Delay { usage } => match (usage, self.overuse_since) {
                (Usage::Over, None) => self.overuse_since = Some(t),
                (Usage::Normal | Usage::Under, Some(since)) => {
                    self.overuse_since = None;
                    self.overuse.push((since, t));
                }
                _ => {}
            },
            Event::Loss { share } => self.average_loss.push((t, share)),
            Event::Marks { share } => self.marked.push((t, share)),
            Event::Probe { bps } => self.probes.push((t, bps)),
            Event::Probed { bps } => self.probed.push((t, bps)),
            Event::Target {
                bps,
                delay_bps,
                loss_bps,
            } => {
                self.target.push((t, bps));
                self.delay_based.push((t, delay_bps));
                self.loss_based.extend(loss_bps.map(|own| (t, own)));
            }
            Event::KeyFrame { what } => self.key_frames.push((t, what)),
            Event::Sample { .. } => self.take_sample(t, &event),
            Event::Inbound { .. } => self.take_inbound(t, event),
            Event::Began { .. } | Event::Other => {}
        }
    }

    fn take_sample(&mut self, t: f64, event: &Event) {
        let Event::Sample {
            sent_bps,
            received_bps,
            target_bps,
            acknowledged_bps,
            rtt,
            trend,
            threshold,
            queue_time,
        } = *event
        else {
            return;
        };
        self.sent.push((t, sent_bps));
        self.received.push((t, received_bps));
        self.target.extend(target_bps.map(|own| (t, own)));
        self.acknowledged
            .extend(acknowledged_bps.map(|own| (t, own)));
        self.rtt.extend(rtt.map(|own| (t, own)));
        if target_bps.is_some() {
            self.trend.push((t, trend));
            self.threshold.push((t, threshold));
        }
        self.queue_time.push((t, queue_time));
    }

    fn take_inbound(&mut self, t: f64, event: Event) {
        let Event::Inbound {
            mid,
            rid,
            ssrc,
            kind,
            packets,
            lost,
            dropped,
            buffer,
        } = event
        else {
            return;
        };
        let now = (packets, lost, dropped);
        let before = self.streams.insert(ssrc, now).unwrap_or(now);
        if dropped > before.2 {
            self.dropped.push(t);
        }
        let added = ((packets - before.0).max(0.0), (lost - before.1).max(0.0));
        match &mut self.inbound {
            // Streams of one sample count together.
            Some((at, came, went)) if *at == t => {
                *came += added.0;
                *went += added.1;
            }
            _ => {
                self.close_inbound();
                self.inbound = Some((t, added.0, added.1));
            }
        }
        if let Some(buffer) = buffer {
            let kind = kind.unwrap_or_default();
            let rid = rid.map_or(String::new(), |rid| format!(", {rid}"));
            let name = format!("{kind} (mid {mid}{rid})");
            self.buffers.entry(name).or_default().push((t, buffer));
        }
    }

    fn close_inbound(&mut self) {
        if let Some((t, came, went)) = self.inbound.take()
            && came + went > 0.0
            && (came + went).is_finite()
        {
            self.inbound_loss.push((t, went / (came + went)));
        }
    }

    fn take_feedback(&mut self, t: f64, packets: f64, missing: f64) {
        let (since, all, lost) = self.feedback.unwrap_or((t, 0.0, 0.0));
        let (all, lost) = (all + packets, lost + missing);
        if t - since < LOSS_WINDOW {
            self.feedback = Some((since, all, lost));
            return;
        }
        self.feedback = None;
        if all > 0.0 {
            self.reported_loss.push((t, (lost / all).min(1.0)));
        }
    }

    /// Entries stand in the order in which they were written, which is nearly that of their times.
    fn finish(&mut self) {
        self.close_inbound();
        if let Some(since) = self.overuse_since.take() {
            self.overuse.push((since, self.end));
        }
        let all = [
            &mut self.target,
            &mut self.delay_based,
            &mut self.loss_based,
            &mut self.acknowledged,
            &mut self.sent,
            &mut self.received,
            &mut self.reported_loss,
            &mut self.average_loss,
            &mut self.inbound_loss,
            &mut self.rtt,
            &mut self.trend,
            &mut self.threshold,
            &mut self.queue_time,
        ];
        let all = all.into_iter().chain(self.buffers.values_mut());
        all.for_each(|series| series.sort_by(|a, b| a.0.total_cmp(&b.0)));
        self.states.sort_by(|a, b| a.0.total_cmp(&b.0));
    }
}

impl Line {
    /// Numbers that no connection has would spoil the picture.
    fn check(&self) -> Result<(), String> {
        if !(0.0..=TIME_MAX).contains(&self.t) {
            return Err(format!("t is {}, and must be from 0 to {TIME_MAX}", self.t));
        }
        let least_zero = |name: &str, value: Option<f64>| match value {
            Some(value) if value < 0.0 => {
                Err(format!("{name} is {value}, and must not be below 0"))
            }
            _ => Ok(()),
        };
        match &self.event {
            Event::Began { version } if *version != VERSION => Err(format!(
                "version {version} of the format is not known, only {VERSION}"
            )),
            Event::Feedback { packets, missing } => {
                least_zero("packets", Some(*packets))?;
                least_zero("missing", Some(*missing))
            }
            Event::Loss { share } | Event::Marks { share } => least_zero("share", Some(*share)),
            Event::Probe { bps } | Event::Probed { bps } | Event::Silence { bps } => {
                least_zero("bps", Some(*bps))
            }
            Event::Target {
                bps,
                delay_bps,
                loss_bps,
            } => {
                least_zero("bps", Some(*bps))?;
                least_zero("delay_bps", Some(*delay_bps))?;
                least_zero("loss_bps", *loss_bps)
            }
            Event::Sample {
                sent_bps,
                received_bps,
                target_bps,
                acknowledged_bps,
                rtt,
                queue_time,
                ..
            } => {
                least_zero("sent_bps", Some(*sent_bps))?;
                least_zero("received_bps", Some(*received_bps))?;
                least_zero("target_bps", *target_bps)?;
                least_zero("acknowledged_bps", *acknowledged_bps)?;
                least_zero("rtt", *rtt)?;
                least_zero("queue_time", Some(*queue_time))
            }
            Event::Inbound { buffer, .. } => least_zero("buffer", *buffer),
            _ => Ok(()),
        }
    }
}

/// What `serde_json` says, without its own line, which is always 1.
fn told(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rsplit_once(" at line 1 column ") {
        Some((what, column)) => format!("{what} (column {column})"),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        Log::parse(text.as_bytes(), None).unwrap_err().to_string()
    }

    #[test]
    fn what_is_no_log_is_refused_by_line() {
        let good = "{\"t\":0.5,\"event\":\"probe\",\"id\":1,\"bps\":900000}\n";
        for bad in [
            "no json",
            "{",
            "[]",
            "null",
            "{\"event\":\"probe\",\"bps\":1}",
            "{\"t\":1,\"event\":\"probe\"}",
            "{\"t\":1,\"event\":\"probe\",\"bps\":\"fast\"}",
            "{\"t\":1,\"event\":\"probe\",\"bps\":1e999}",
            "{\"t\":1,\"event\":\"probe\",\"bps\":-1}",
            "{\"t\":-1,\"event\":\"anew\"}",
            "{\"t\":1e300,\"event\":\"anew\"}",
            "{\"t\":0,\"event\":\"began\",\"version\":2}",
            "{\"t\":0,\"event\":\"key_frame\",\"what\":\"eaten\"}",
            "\u{0}",
            "{\"t\":1,\"event\":\"probe\",\"bps\":1}{}",
        ] {
            let why = refused(&format!("{good}\n{bad}\n{good}"));
            assert!(
                why.starts_with("line 3 is not of an event log: "),
                "{bad}: {why}"
            );
        }
        let deep = "[".repeat(100_000);
        assert!(refused(&deep).starts_with("line 1 "));
        let not_text = [b"{\"t\":1,\"event\":\"".as_slice(), &[0xff, 0xfe], b"\"}"].concat();
        let why = Log::parse(&not_text, None).unwrap_err().to_string();
        assert!(why.starts_with("line 1 "), "{why}");
        assert_eq!(refused("\n \n"), "the log is empty");
    }

    #[test]
    fn events_and_members_of_later_versions_are_passed_over() {
        let text = "{\"t\":1,\"event\":\"weather\",\"rain\":true}\n\
                    {\"t\":2,\"event\":\"probed\",\"bps\":5,\"more\":{}}";
        let log = Log::parse(text.as_bytes(), None).unwrap();
        assert_eq!((log.end, log.probed), (2.0, vec![(2.0, 5.0)]));
    }

    #[test]
    fn one_of_several_connections_is_chosen_by_name() {
        let line = |name: &str, bps: u32| {
            format!("{{\"connection\":\"{name}\",\"t\":1,\"event\":\"probe\",\"bps\":{bps}}}\n")
        };
        let text = line("ann", 1) + &line("bob", 2);
        assert!(refused(&text).ends_with("one of ann, bob"));
        let log = Log::parse(text.as_bytes(), Some("bob")).unwrap();
        assert_eq!(log.probes, [(1.0, 2.0)]);
        let why = Log::parse(text.as_bytes(), Some("eve")).unwrap_err();
        assert_eq!(
            why.to_string(),
            "the log has no connection eve, but ann, bob"
        );
        assert_eq!(
            Log::parse(line("ann", 7).as_bytes(), None).unwrap().probes,
            [(1.0, 7.0)]
        );
    }
}
