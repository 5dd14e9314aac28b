//! One panel: a frame with axes, units and a legend, and lines in it.

use super::log::Series;
use super::svg::{Anchor, Stroke, Svg};

pub(super) const INK: &str = "#222222";
pub(super) const FAINT: &str = "#e4e4e4";
const FRAME: &str = "#999999";
pub(super) const MUTED: &str = "#666666";

/// Width of a character of the legend, roughly, in pixels.
const CHARACTER: f64 = 6.4;

/// A line of a panel. Values are in the panel's unit.
pub(super) struct Curve {
    pub(super) name: String,
    pub(super) stroke: Stroke,
    pub(super) points: Series,
    /// Whether a value holds until the next one.
    pub(super) steps: bool,
}

/// Seconds to pixels.
#[derive(Debug, Clone, Copy)]
pub(super) struct TimeAxis {
    pub(super) left: f64,
    pub(super) right: f64,
    pub(super) end: f64,
}

impl TimeAxis {
    pub(super) fn x(&self, t: f64) -> f64 {
        self.left + (self.right - self.left) * t / self.end
    }

    fn width(&self) -> f64 {
        self.right - self.left
    }

    /// Where lines of the grid stand.
    pub(super) fn ticks(&self) -> Vec<f64> {
        ticks(0.0, self.end, 12.0)
    }
}

/// A panel on the page.
pub(super) struct Panel<'a> {
    pub(super) title: &'a str,
    pub(super) unit: &'a str,
    pub(super) id: &'a str,
    pub(super) top: f64,
    pub(super) height: f64,
    /// The values at the lower and the upper edge.
    pub(super) range: (f64, f64),
}

impl Panel<'_> {
    pub(super) fn y(&self, value: f64) -> f64 {
        let (low, high) = self.range;
        self.top + self.height * (1.0 - (value - low) / (high - low))
    }

    /// Title, axes and grid; lines are drawn over it.
    pub(super) fn frame(&self, svg: &mut Svg, time: &TimeAxis) {
        let (top, bottom) = (self.top, self.top + self.height);
        let size = (time.width(), self.height);
        svg.clip(self.id, (time.left, top), size);
        let title = format!("{} ({})", self.title, self.unit);
        svg.title((time.left, top - 8.0), INK, &title);
        for t in time.ticks() {
            let x = time.x(t);
            svg.line((x, top), (x, bottom), Stroke::new(FAINT, 1.0));
        }
        let (low, high) = self.range;
        for value in ticks(low, high, (self.height / 32.0).max(2.0)) {
            let y = self.y(value);
            svg.line((time.left, y), (time.right, y), Stroke::new(FAINT, 1.0));
            let place = (time.left - 6.0, y + 4.0);
            svg.text(place, Anchor::End, MUTED, &number(value));
        }
        let edge = Stroke::new(FRAME, 1.0);
        svg.line((time.left, top), (time.left, bottom), edge);
        svg.line((time.left, bottom), (time.right, bottom), edge);
    }

    /// The lines, and the legend on the right of the title.
    pub(super) fn curves(&self, svg: &mut Svg, time: &TimeAxis, curves: &[Curve]) {
        let mut x = time.right;
        let shown = |own: &&Curve| !own.points.is_empty();
        let named = curves
            .iter()
            .filter(shown)
            .filter(|own| !own.name.is_empty());
        for curve in named.rev() {
            x -= curve.name.chars().count() as f64 * CHARACTER;
            let y = self.top - 8.0;
            svg.text((x, y), Anchor::Start, INK, &curve.name);
            svg.line((x - 24.0, y - 4.0), (x - 5.0, y - 4.0), curve.stroke);
            x -= 40.0;
        }
        if !curves.iter().any(|own| shown(&own)) {
            let middle = (
                f64::midpoint(time.left, time.right),
                self.top + self.height / 2.0 + 4.0,
            );
            svg.text(middle, Anchor::Middle, MUTED, "nothing in the log");
        }
        for curve in curves.iter().filter(shown) {
            let points = self.pixels(time, curve);
            svg.polyline(&points, curve.stroke, self.id);
        }
    }

    /// The points in pixels, of each column of them the first, the lowest, the highest and the last:
    /// a picture has no more, however long the log.
    fn pixels(&self, time: &TimeAxis, curve: &Curve) -> Vec<(f64, f64)> {
        let mut out: Vec<(f64, f64)> = Vec::new();
        let mut column: Vec<(f64, f64)> = Vec::new();
        let flush = |column: &mut Vec<(f64, f64)>, out: &mut Vec<(f64, f64)>| {
            out.append(column);
        };
        for (t, value) in &curve.points {
            let point = (time.x(*t), self.y(*value).clamp(-1e5, 1e5));
            let same = column
                .first()
                .is_some_and(|first| first.0.floor() == point.0.floor());
            if !same {
                flush(&mut column, &mut out);
            }
            if curve.steps
                && let Some((_, y)) = column.last().or(out.last()).copied()
            {
                column.push((point.0, y));
            }
            column.push(point);
            thin(&mut column);
        }
        flush(&mut column, &mut out);
        if curve.steps
            && let Some((_, y)) = out.last().copied()
        {
            out.push((time.right, y));
        }
        out
    }
}

/// Keeps of a column of more than eight points the first, the extremes and the last.
fn thin(column: &mut Vec<(f64, f64)>) {
    if column.len() <= 8 {
        return;
    }
    let by_value = |a: &&(f64, f64), b: &&(f64, f64)| a.1.total_cmp(&b.1);
    let picked = [
        column.first(),
        column.iter().min_by(by_value),
        column.iter().max_by(by_value),
        column.last(),
    ];
    let mut kept: Vec<(f64, f64)> = picked.into_iter().flatten().copied().collect();
    kept.sort_by(|a, b| a.0.total_cmp(&b.0));
    *column = kept;
}

/// Round values from `low` to `high`, about `wanted` of them.
pub(super) fn ticks(low: f64, high: f64, wanted: f64) -> Vec<f64> {
    let rough = (high - low) / wanted;
    if !rough.is_finite() || rough <= 0.0 {
        return Vec::new();
    }
    let power = 10f64.powf(rough.log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|step| step * power);
    let step = steps.into_iter().find(|step| *step >= rough);
    let step = step.unwrap_or(rough);
    let first = (low / step).ceil() as i64;
    let last = (high / step + 1e-9).floor() as i64;
    (first..=last).map(|count| count as f64 * step).collect()
}

/// A number without needless digits.
pub(super) fn number(value: f64) -> String {
    let text = format!("{value:.3}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    match text {
        "-0" => "0".to_owned(),
        text => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_have_round_numbers() {
        assert_eq!(ticks(0.0, 10.0, 5.0), [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]);
        assert_eq!(ticks(-3.0, 3.0, 3.0), [-2.0, 0.0, 2.0]);
        assert!(ticks(0.0, 0.0, 5.0).is_empty());
        assert!(ticks(0.0, 1e-9, 5.0).len() <= 11);
        let texts = [0.0, -0.0001, 0.25, 1500.0].map(number);
        assert_eq!(texts, ["0", "0", "0.25", "1500"]);
    }

    #[test]
    fn a_long_series_becomes_a_bounded_line_that_keeps_its_extremes() {
        let panel = Panel {
            title: "",
            unit: "",
            id: "a",
            top: 0.0,
            height: 100.0,
            range: (0.0, 100.0),
        };
        let time = TimeAxis {
            left: 0.0,
            right: 100.0,
            end: 1000.0,
        };
        let value = |index: u32| match index {
            55_555 => 99.0,
            index => f64::from(index % 7),
        };
        let points = (0..100_000).map(|index| (f64::from(index) / 100.0, value(index)));
        for steps in [false, true] {
            let curve = Curve {
                name: String::new(),
                stroke: Stroke::new(INK, 1.0),
                points: points.clone().collect(),
                steps,
            };
            let pixels = panel.pixels(&time, &curve);
            assert!(pixels.len() < 1000, "{}", pixels.len());
            assert!(pixels.is_sorted_by(|a, b| a.0 <= b.0));
            let top = pixels.iter().map(|own| own.1).fold(f64::MAX, f64::min);
            assert!((top - 1.0).abs() < 1e-9, "{top}");
        }
    }
}
