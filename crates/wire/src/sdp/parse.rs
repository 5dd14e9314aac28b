//! Reading a description line by line.

use core::str::FromStr;
use std::net::IpAddr;

use super::attribute::Attribute;
use super::error::{SdpError, SdpErrorReason};
use super::{Description, LEN_MAX, Line, MEDIA_MAX, Media, MediaKind, Origin};

impl FromStr for Description {
    type Err = SdpError;

    /// Reads a description. Lines end in CRLF or LF; empty lines may follow the last.
    fn from_str(text: &str) -> Result<Self, SdpError> {
        if text.len() > LEN_MAX {
            return Err(SdpError {
                line: 1,
                reason: SdpErrorReason::TooLong,
            });
        }
        let mut lines = Lines::new(text);
        let description = parse(&mut lines);
        description.map_err(|reason| SdpError {
            line: lines.number,
            reason,
        })
    }
}

fn parse(lines: &mut Lines<'_>) -> Result<Description, SdpErrorReason> {
    let Some(('v', "0")) = lines.next()? else {
        return Err(SdpErrorReason::ExpectedVersion);
    };
    let origin = match lines.next()? {
        Some(('o', value)) => parse_origin(value).ok_or(SdpErrorReason::ExpectedOrigin)?,
        _ => return Err(SdpErrorReason::ExpectedOrigin),
    };
    let Some(('s', session_name)) = lines.next()? else {
        return Err(SdpErrorReason::ExpectedSessionName);
    };
    let mut description = Description {
        origin,
        session_name: session_name.into(),
        lines: Vec::new(),
        media: Vec::new(),
    };
    while let Some((letter, value)) = lines.next()? {
        if letter == 'm' {
            if description.media.len() >= MEDIA_MAX {
                return Err(SdpErrorReason::TooManyMedia);
            }
            let media = parse_media(value).ok_or(SdpErrorReason::BadMedia)?;
            if let Some(whole) = description.media.last_mut() {
                whole.lines.shrink_to_fit();
            }
            description.media.push(media);
            continue;
        }
        let line = parse_line(letter, value)?;
        match description.media.last_mut() {
            Some(media) => media.lines.push(line),
            None => description.lines.push(line),
        }
    }
    // A connection keeps its descriptions for as long as it lives.
    if let Some(whole) = description.media.last_mut() {
        whole.lines.shrink_to_fit();
    }
    description.lines.shrink_to_fit();
    description.media.shrink_to_fit();
    Ok(description)
}

fn parse_origin(value: &str) -> Option<Origin> {
    let mut words = value.splitn(4, ' ');
    Some(Origin {
        username: words.next().filter(|name| !name.is_empty())?.into(),
        session_id: words.next()?.parse().ok()?,
        session_version: words.next()?.parse().ok()?,
        address: words.next()?.trim_end().into(),
    })
}

fn parse_media(value: &str) -> Option<Media> {
    let mut words = value.split_ascii_whitespace();
    let kind = match words.next()? {
        "audio" => MediaKind::Audio,
        "video" => MediaKind::Video,
        "application" => MediaKind::Application,
        other => MediaKind::Other(other.into()),
    };
    let ports = words.next()?;
    let (port, port_count) = match ports.split_once('/') {
        Some((port, count)) => (port.parse().ok()?, Some(count.parse().ok()?)),
        None => (ports.parse().ok()?, None),
    };
    let protocol = words.next()?.into();
    let formats: Vec<String> = words.map(Into::into).collect();
    (!formats.is_empty()).then_some(Media {
        kind,
        port,
        port_count,
        protocol,
        formats,
        lines: Vec::new(),
    })
}

fn parse_line(letter: char, value: &str) -> Result<Line, SdpErrorReason> {
    match letter {
        'a' => Attribute::parse(value).map(Line::Attribute),
        'c' => parse_connection(value),
        _ => Ok(Line::Other {
            letter,
            value: value.into(),
        }),
    }
}

/// An IP address becomes typed; a host name or an address with a TTL stays as it stands.
fn parse_connection(value: &str) -> Result<Line, SdpErrorReason> {
    let mut words = value.split_ascii_whitespace();
    let (Some(net), Some(kind), Some(address), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(SdpErrorReason::BadConnection);
    };
    match (net, kind, address.parse()) {
        ("IN", "IP4", Ok(ip @ IpAddr::V4(_))) | ("IN", "IP6", Ok(ip @ IpAddr::V6(_))) => {
            Ok(Line::Connection(ip))
        }
        _ => Ok(Line::Other {
            letter: 'c',
            value: value.into(),
        }),
    }
}

/// A cursor over the lines that knows where it is.
struct Lines<'a> {
    rest: &'a str,
    /// The line last handed out, counted from 1.
    number: u32,
}

impl<'a> Lines<'a> {
    fn new(text: &'a str) -> Self {
        Self {
            rest: text,
            number: 0,
        }
    }

    /// The next line's letter and value; `None` at the end.
    fn next(&mut self) -> Result<Option<(char, &'a str)>, SdpErrorReason> {
        if self.rest.bytes().all(|byte| matches!(byte, b'\r' | b'\n')) {
            self.rest = "";
            return Ok(None);
        }
        self.number = self.number.saturating_add(1);
        let (line, rest) = self.rest.split_once('\n').unwrap_or((self.rest, ""));
        self.rest = rest;
        let line = line.strip_suffix('\r').unwrap_or(line);
        if line.contains(['\r', '\0']) {
            return Err(SdpErrorReason::ControlCharacter);
        }
        match line.split_once('=') {
            Some((letter, value)) => match letter.as_bytes() {
                [byte] if byte.is_ascii_lowercase() => Ok(Some((char::from(*byte), value))),
                _ => Err(SdpErrorReason::NotALine),
            },
            None => Err(SdpErrorReason::NotALine),
        }
    }
}
