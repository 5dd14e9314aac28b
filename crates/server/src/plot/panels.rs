//! The picture: rate, loss, delay, its trend, buffers, and a strip of marks, over one time axis.

use super::chart::{Curve, FAINT, INK, MUTED, Panel, TimeAxis, number};
use super::log::{KeyFrame, Log, Series};
use super::svg::{Anchor, Stroke, Svg};

const WIDTH: f64 = 1200.0;
const LEFT: f64 = 80.0;
const RIGHT: f64 = 1180.0;
const TOP: f64 = 70.0;
/// Between panels: room for a title.
const GAP: f64 = 34.0;
const ROW: f64 = 20.0;
const FOOT: f64 = 46.0;

// Colours that the colour-blind can tell apart (Okabe and Ito).
const BLUE: &str = "#0072b2";
const ORANGE: &str = "#e69f00";
const GREEN: &str = "#009e73";
const RED: &str = "#d55e00";
const PURPLE: &str = "#aa4499";
const GREY: &str = "#8c8c8c";
const SKY: &str = "#56b4e9";
const OVERUSE: &str = "#fbe3d6";

/// Of streams that are received; further ones look like the first.
const STREAMS: [&str; 5] = [GREEN, PURPLE, ORANGE, SKY, GREY];

/// Streams that have a line of their own.
const STREAMS_MAX: usize = 6;

/// Labels of states, and the rows that they are spread over so that none covers another.
const STATES_MAX: usize = 200;
const STATE_ROWS: usize = 3;

/// Characters of a state, and how near to each other states share a label, in pixels.
const LABEL_MAX: usize = 48;
const NEAR: f64 = 12.0;

/// Marks of a kind: more would be one black bar.
const MARKS_MAX: usize = 5000;

/// Draws the log.
pub(super) fn draw(log: &Log, name: &str) -> String {
    let heights = [240.0, 90.0, 120.0, 90.0, 120.0];
    let marks = ROW * (4 + STATE_ROWS) as f64;
    let panels: f64 = heights.iter().map(|height| height + GAP).sum();
    let mut svg = Svg::new(WIDTH, TOP + panels + marks + FOOT);
    let time = TimeAxis {
        left: LEFT,
        right: RIGHT,
        end: log.end.max(0.1),
    };
    let title = format!("{name}: {} s", number((log.end * 10.0).round() / 10.0));
    svg.title((LEFT, 24.0), INK, &title);
    let mut top = TOP;
    let mut draw = |svg: &mut Svg, height: f64, build: fn(&Log) -> Built| {
        let built = build(log);
        let panel = Panel {
            title: built.title,
            unit: built.unit,
            id: built.id,
            top,
            height,
            range: built.range,
        };
        for (from, to) in &built.shaded {
            let (x, end) = (time.x(*from), time.x(*to));
            svg.rect((x, top), ((end - x).max(1.0), height), OVERUSE);
        }
        panel.frame(svg, &time);
        panel.curves(svg, &time, &built.curves);
        top += height + GAP;
    };
    let builders = [rate, loss, delay, trend, buffers];
    for (height, build) in heights.into_iter().zip(builders) {
        draw(&mut svg, height, build);
    }
    let bottom = strip(&mut svg, &time, log, top);
    axis(&mut svg, &time, bottom);
    svg.finish()
}

/// What a panel shows.
struct Built {
    title: &'static str,
    unit: &'static str,
    id: &'static str,
    range: (f64, f64),
    curves: Vec<Curve>,
    shaded: Vec<(f64, f64)>,
}

fn curve(name: &str, stroke: Stroke, points: &Series, scale: f64, steps: bool) -> Curve {
    let points = points.iter().map(|(t, value)| (*t, value * scale));
    Curve {
        name: name.to_owned(),
        stroke,
        points: points.collect(),
        steps,
    }
}

/// The highest value, or `least` where it is lower; with some room above.
fn highest<'a>(series: impl IntoIterator<Item = &'a Series>, scale: f64, least: f64) -> f64 {
    let values = series.into_iter().flatten().map(|(_, value)| value * scale);
    values.fold(least, f64::max) * 1.08
}

fn rate(log: &Log) -> Built {
    const MEGA: f64 = 1e-6;
    // Estimates may be far above what is sent, where nothing limits them.
    let seen = [&log.target, &log.sent, &log.received, &log.acknowledged];
    let top = highest(seen, MEGA, 0.1);
    let limits = Stroke::dashed;
    let mut curves = vec![
        curve("sent", Stroke::new(GREY, 1.0), &log.sent, MEGA, false),
        curve(
            "acknowledged",
            Stroke::new(GREEN, 1.3),
            &log.acknowledged,
            MEGA,
            false,
        ),
        curve(
            "by delay",
            limits(ORANGE, 1.3),
            &log.delay_based,
            MEGA,
            true,
        ),
        curve("by loss", limits(RED, 1.3), &log.loss_based, MEGA, true),
        curve("target", Stroke::new(BLUE, 2.0), &log.target, MEGA, true),
    ];
    if log.received.iter().any(|(_, rate)| *rate > 0.0) {
        let stroke = Stroke::new(PURPLE, 1.3);
        curves.push(curve("received", stroke, &log.received, MEGA, false));
    }
    Built {
        title: "Rate",
        unit: "Mbit/s",
        id: "rate",
        range: (0.0, top),
        curves,
        shaded: Vec::new(),
    }
}

fn loss(log: &Log) -> Built {
    const PERCENT: f64 = 100.0;
    let seen = [
        &log.reported_loss,
        &log.average_loss,
        &log.inbound_loss,
        &log.marked,
    ];
    Built {
        title: "Loss",
        unit: "%",
        id: "loss",
        range: (0.0, highest(seen, PERCENT, 2.0)),
        curves: vec![
            curve(
                "reported to us",
                Stroke::new(RED, 1.3),
                &log.reported_loss,
                PERCENT,
                false,
            ),
            curve(
                "its average",
                Stroke::new(BLUE, 1.3),
                &log.average_loss,
                PERCENT,
                true,
            ),
            curve(
                "marked",
                Stroke::dashed(ORANGE, 1.3),
                &log.marked,
                PERCENT,
                true,
            ),
            curve(
                "of what is received",
                Stroke::new(PURPLE, 1.3),
                &log.inbound_loss,
                PERCENT,
                false,
            ),
        ],
        shaded: Vec::new(),
    }
}

fn delay(log: &Log) -> Built {
    const MS: f64 = 1000.0;
    let shortest = log.rtt.iter().map(|own| own.1).fold(f64::MAX, f64::min);
    let queueing = log.rtt.iter().map(|(t, rtt)| (*t, rtt - shortest));
    let queueing: Series = queueing.collect();
    Built {
        title: "Delay",
        unit: "ms",
        id: "delay",
        range: (0.0, highest([&log.rtt], MS, 10.0)),
        curves: vec![
            curve("round trip", Stroke::new(BLUE, 1.5), &log.rtt, MS, false),
            curve(
                "above the shortest",
                Stroke::new(ORANGE, 1.3),
                &queueing,
                MS,
                false,
            ),
        ],
        shaded: log.overuse.clone(),
    }
}

fn trend(log: &Log) -> Built {
    // A sudden change leaves the panel: what matters is what is near the threshold.
    let top = (highest([&log.threshold], 1.0, 6.0) * 2.0).min(100.0);
    let lower: Series = log.threshold.iter().map(|(t, own)| (*t, -own)).collect();
    Built {
        title: "Trend of the delay",
        unit: "no unit; shaded: overuse",
        id: "trend",
        range: (-top, top),
        curves: vec![
            curve("trend", Stroke::new(BLUE, 1.3), &log.trend, 1.0, false),
            curve(
                "threshold",
                Stroke::dashed(RED, 1.2),
                &log.threshold,
                1.0,
                false,
            ),
            curve("", Stroke::dashed(RED, 1.2), &lower, 1.0, false),
        ],
        shaded: log.overuse.clone(),
    }
}

fn buffers(log: &Log) -> Built {
    const MS: f64 = 1000.0;
    let shown = || log.buffers.iter().take(STREAMS_MAX);
    let series = shown().map(|(_, series)| series);
    let top = highest(series.chain([&log.queue_time]), MS, 10.0);
    let pacer = Stroke::new(BLUE, 1.3);
    let mut curves = vec![curve("pacer", pacer, &log.queue_time, MS, false)];
    for ((name, series), color) in shown().zip(STREAMS.into_iter().cycle()) {
        curves.push(curve(name, Stroke::new(color, 1.3), series, MS, false));
    }
    Built {
        title: "Buffers",
        unit: "ms",
        id: "buffers",
        range: (0.0, top),
        curves,
        shaded: Vec::new(),
    }
}

/// Marks for single events; answers where it ends.
fn strip(svg: &mut Svg, time: &TimeAxis, log: &Log, top: f64) -> f64 {
    let middle = |row: usize| top + ROW * (row as f64 + 0.5);
    let rows = ["probes", "key frames", "requests", "dropped", "states"];
    for (row, name) in rows.iter().enumerate() {
        svg.text((LEFT - 6.0, middle(row) + 4.0), Anchor::End, MUTED, name);
        let y = top + ROW * row as f64;
        svg.line((time.left, y), (time.right, y), Stroke::new(FAINT, 1.0));
    }
    for (t, _) in log.probes.iter().take(MARKS_MAX) {
        let place = (time.x(*t), middle(0) - 5.0);
        svg.line(place, (place.0, place.1 + 10.0), Stroke::new(BLUE, 1.5));
    }
    for (t, _) in log.probed.iter().take(MARKS_MAX) {
        svg.circle((time.x(*t), middle(0)), 3.0, GREEN);
    }
    for (t, what) in log.key_frames.iter().take(MARKS_MAX) {
        let x = time.x(*t);
        match what {
            KeyFrame::Sent => svg.triangle((x, middle(1)), 4.0, BLUE),
            KeyFrame::Received => svg.triangle((x, middle(1)), 4.0, PURPLE),
            KeyFrame::Requested => svg.circle((x, middle(2)), 3.5, BLUE),
            KeyFrame::Asked => svg.circle((x, middle(2)), 3.5, PURPLE),
        }
    }
    for t in log.dropped.iter().take(MARKS_MAX) {
        let place = (time.x(*t), middle(3) - 5.0);
        svg.line(place, (place.0, place.1 + 10.0), Stroke::new(RED, 1.5));
    }
    legend(svg, time, top);
    states(svg, time, log, top + 4.0 * ROW);
    top + ROW * (4 + STATE_ROWS) as f64
}

/// What the marks mean, where the strip's title would be.
fn legend(svg: &mut Svg, time: &TimeAxis, top: f64) {
    let y = top - 8.0;
    let mut x = time.left;
    let mut label = |svg: &mut Svg, text: &str, mark: fn(&mut Svg, (f64, f64))| {
        mark(svg, (x + 5.0, y - 4.0));
        svg.text((x + 14.0, y), Anchor::Start, INK, text);
        x += 14.0 + text.chars().count() as f64 * 6.6 + 14.0;
    };
    label(svg, "probe", |svg, (x, y)| {
        svg.line((x, y - 5.0), (x, y + 5.0), Stroke::new(BLUE, 1.5));
    });
    label(svg, "its result", |svg, place| {
        svg.circle(place, 3.0, GREEN)
    });
    label(svg, "key frame sent", |svg, place| {
        svg.triangle(place, 4.0, BLUE)
    });
    label(svg, "received", |svg, place| {
        svg.triangle(place, 4.0, PURPLE)
    });
    label(svg, "requested of us", |svg, place| {
        svg.circle(place, 3.5, BLUE)
    });
    label(svg, "asked for by us", |svg, place| {
        svg.circle(place, 3.5, PURPLE)
    });
    label(svg, "frames dropped", |svg, (x, y)| {
        svg.line((x, y - 5.0), (x, y + 5.0), Stroke::new(RED, 1.5));
    });
}

/// Changes of state: a line through all panels, and a label in the first row that has room. What
/// happens at nearly one moment has one label.
fn states(svg: &mut Svg, time: &TimeAxis, log: &Log, top: f64) {
    let mut labels: Vec<(f64, String)> = Vec::new();
    for (t, text) in log.states.iter().take(STATES_MAX) {
        let x = time.x(*t);
        let thin = Stroke::dashed("#b8b8b8", 0.8);
        svg.line((x, TOP), (x, top + ROW * STATE_ROWS as f64), thin);
        let text: String = text.chars().take(LABEL_MAX).collect();
        match labels.last_mut() {
            Some((from, label)) if x - *from < NEAR && label.len() < 2 * LABEL_MAX => {
                *label += ", ";
                *label += &text;
            }
            _ => labels.push((x, text)),
        }
    }
    let mut free = [f64::MIN; STATE_ROWS];
    for (x, text) in labels {
        let len = text.chars().count() as f64 * 6.8 + 8.0;
        // What begins near the right edge ends at its moment.
        let (from, anchor, shift) = match x + len > time.right {
            true => (x - len, Anchor::End, -3.0),
            false => (x, Anchor::Start, 3.0),
        };
        let row = free.iter_mut().enumerate().find(|(_, end)| **end <= from);
        if let Some((row, end)) = row {
            *end = from + len;
            let y = top + ROW * (row as f64 + 0.5) + 4.0;
            svg.text((x + shift, y), anchor, INK, &text);
        }
    }
}

fn axis(svg: &mut Svg, time: &TimeAxis, y: f64) {
    svg.line((time.left, y), (time.right, y), Stroke::new(MUTED, 1.0));
    for t in time.ticks() {
        let x = time.x(t);
        svg.line((x, y), (x, y + 5.0), Stroke::new(MUTED, 1.0));
        svg.text((x, y + 18.0), Anchor::Middle, MUTED, &number(t));
    }
    let middle = f64::midpoint(time.left, time.right);
    svg.text(
        (middle, y + 36.0),
        Anchor::Middle,
        INK,
        "seconds since the connection was made",
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_of_nothing_but_a_beginning_has_a_picture() {
        let line = b"{\"t\":0.0,\"event\":\"began\",\"version\":1,\"at\":1.0}";
        let log = Log::parse(line, None).unwrap();
        let picture = draw(&log, "a<b");
        assert!(picture.contains("a&lt;b: 0 s"));
        assert!(
            !picture.contains("NaN") && !picture.contains("inf"),
            "{picture}"
        );
    }

    #[test]
    fn the_largest_numbers_that_are_taken_spoil_nothing() {
        let lines = "{\"t\":10000000,\"event\":\"target\",\"bps\":1e308,\"delay_bps\":1e308}\n\
                     {\"t\":0,\"event\":\"target\",\"bps\":0,\"delay_bps\":0}\n\
                     {\"t\":1,\"event\":\"inbound\",\"mid\":\"\",\"ssrc\":1,\"packets\":-1e308,\"lost\":1e308,\"dropped\":0}\n\
                     {\"t\":2,\"event\":\"inbound\",\"mid\":\"\",\"ssrc\":1,\"packets\":1e308,\"lost\":-1e308,\"dropped\":0}";
        let log = Log::parse(lines.as_bytes(), None).unwrap();
        let picture = draw(&log, "");
        assert!(!picture.contains("NaN") && !picture.contains("inf"));
    }
}
