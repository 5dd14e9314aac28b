//! Writing a description.

use core::fmt::{self, Write};
use std::net::IpAddr;

use super::{Description, Line, Media};

impl fmt::Display for Description {
    /// Writes the description with CRLF line ends, as RFC 8866 §5 wants.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = OneLine(f);
        let origin = &self.origin;
        out.line(format_args!("v=0"))?;
        out.line(format_args!(
            "o={} {} {} {}",
            origin.username, origin.session_id, origin.session_version, origin.address
        ))?;
        out.line(format_args!("s={}", self.session_name))?;
        out.lines(&self.lines)?;
        for media in &self.media {
            out.media(media)?;
        }
        Ok(())
    }
}

/// Drops line breaks inside of a line, so that no text can smuggle in a line of its own.
struct OneLine<'a, 'b>(&'a mut fmt::Formatter<'b>);

impl Write for OneLine<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.split(['\r', '\n', '\0'])
            .try_for_each(|part| self.0.write_str(part))
    }
}

impl OneLine<'_, '_> {
    fn line(&mut self, line: fmt::Arguments<'_>) -> fmt::Result {
        self.write_fmt(line)?;
        self.0.write_str("\r\n")
    }

    fn lines(&mut self, lines: &[Line]) -> fmt::Result {
        lines.iter().try_for_each(|line| match line {
            Line::Attribute(attribute) => self.line(format_args!("a={attribute}")),
            Line::Connection(ip @ IpAddr::V4(_)) => self.line(format_args!("c=IN IP4 {ip}")),
            Line::Connection(ip @ IpAddr::V6(_)) => self.line(format_args!("c=IN IP6 {ip}")),
            Line::Other { letter, value } => self.line(format_args!("{letter}={value}")),
        })
    }

    fn media(&mut self, media: &Media) -> fmt::Result {
        write!(self, "m={} {}", media.kind.as_str(), media.port)?;
        if let Some(count) = media.port_count {
            write!(self, "/{count}")?;
        }
        write!(self, " {}", media.protocol)?;
        for format in &media.formats {
            write!(self, " {format}")?;
        }
        self.line(format_args!(""))?;
        self.lines(&media.lines)
    }
}
