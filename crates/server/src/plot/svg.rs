//! The little of SVG that a picture of lines needs.

use std::fmt::Write as _;

/// Where a text stands by its point.
#[derive(Debug, Clone, Copy)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

impl Anchor {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Middle => "middle",
            Self::End => "end",
        }
    }
}

/// How a line is drawn.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stroke {
    pub(super) color: &'static str,
    pub(super) width: f64,
    pub(super) dashed: bool,
}

impl Stroke {
    pub(super) const fn new(color: &'static str, width: f64) -> Self {
        Self {
            color,
            width,
            dashed: false,
        }
    }

    pub(super) const fn dashed(color: &'static str, width: f64) -> Self {
        Self {
            color,
            width,
            dashed: true,
        }
    }

    fn attributes(self) -> String {
        let dashes = if self.dashed {
            " stroke-dasharray=\"5 3\""
        } else {
            ""
        };
        format!(
            "stroke=\"{}\" stroke-width=\"{}\"{dashes}",
            self.color, self.width
        )
    }
}

/// A picture in the making, in pixels from the upper left.
#[derive(Debug)]
pub(super) struct Svg {
    body: String,
    width: f64,
    height: f64,
}

impl Svg {
    pub(super) fn new(width: f64, height: f64) -> Self {
        Self {
            body: String::new(),
            width,
            height,
        }
    }

    pub(super) fn rect(&mut self, (x, y): (f64, f64), (width, height): (f64, f64), fill: &str) {
        self.push(format_args!(
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" fill=\"{fill}\"/>"
        ));
    }

    pub(super) fn line(&mut self, from: (f64, f64), to: (f64, f64), stroke: Stroke) {
        let attributes = stroke.attributes();
        self.push(format_args!(
            "<line x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\" {attributes}/>",
            from.0, from.1, to.0, to.1
        ));
    }

    /// A line through points; what leaves the rectangle named `clip` is not seen.
    pub(super) fn polyline(&mut self, points: &[(f64, f64)], stroke: Stroke, clip: &str) {
        let mut path = String::with_capacity(points.len() * 12);
        for (x, y) in points {
            let _ = write!(path, "{x:.1},{y:.1} ");
        }
        let attributes = stroke.attributes();
        self.push(format_args!(
            "<polyline clip-path=\"url(#{clip})\" fill=\"none\" stroke-linejoin=\"round\" {attributes} points=\"{}\"/>",
            path.trim_end()
        ));
    }

    /// A rectangle that lines are held to.
    pub(super) fn clip(&mut self, name: &str, (x, y): (f64, f64), (width, height): (f64, f64)) {
        self.push(format_args!(
            "<clipPath id=\"{name}\"><rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\"/></clipPath>"
        ));
    }

    /// A triangle that points up, for marks.
    pub(super) fn triangle(&mut self, (x, y): (f64, f64), size: f64, fill: &str) {
        let (left, right, top, bottom) = (x - size, x + size, y - size, y + size);
        self.push(format_args!(
            "<polygon fill=\"{fill}\" points=\"{x:.1},{top:.1} {right:.1},{bottom:.1} {left:.1},{bottom:.1}\"/>"
        ));
    }

    pub(super) fn circle(&mut self, (x, y): (f64, f64), radius: f64, fill: &str) {
        self.push(format_args!(
            "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{radius:.1}\" fill=\"{fill}\"/>"
        ));
    }

    pub(super) fn text(&mut self, (x, y): (f64, f64), anchor: Anchor, fill: &str, text: &str) {
        let (anchor, text) = (anchor.as_str(), escaped(text));
        self.push(format_args!(
            "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" fill=\"{fill}\">{text}</text>"
        ));
    }

    /// A headline.
    pub(super) fn title(&mut self, (x, y): (f64, f64), fill: &str, text: &str) {
        let text = escaped(text);
        self.push(format_args!(
            "<text x=\"{x:.1}\" y=\"{y:.1}\" font-weight=\"bold\" fill=\"{fill}\">{text}</text>"
        ));
    }

    pub(super) fn finish(self) -> String {
        let Self {
            body,
            width,
            height,
        } = self;
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
             viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" font-size=\"12\">\n\
             <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n{body}</svg>\n"
        )
    }

    fn push(&mut self, element: std::fmt::Arguments<'_>) {
        let _ = writeln!(self.body, "{element}");
    }
}

/// Text as XML has it; characters that XML 1.0 has no place for become U+FFFD.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            control if control.is_control() => out.push('\u{fffd}'),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_cannot_become_elements() {
        let mut svg = Svg::new(10.0, 10.0);
        svg.text((1.0, 2.0), Anchor::Start, "#000", "</text><script>\u{0}&\"");
        let text = svg.finish();
        assert!(!text.contains("<script>") && !text.contains('\u{0}'));
        assert!(text.contains("&lt;/text&gt;&lt;script&gt;\u{fffd}&amp;&quot;</text>"));
    }
}
