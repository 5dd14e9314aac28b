//! Which stream a packet belongs to (RFC 9143 §9.2, RFC 8852, RFC 4588 §5.3).
//!
//! 1. A known source stays where it is.
//! 2. A MID names the section, a RID the stream in it; a repaired RID the stream it repairs.
//! 3. An announced source belongs to the section that announced it.
//! 4. A payload type that only one section has names that one.

use std::time::{Duration, Instant};

use twocan_wire::ids::{Mid, PayloadType, Rid, Ssrc};
use twocan_wire::payload::red::Red;
use twocan_wire::rtp::ExtensionValues;

use super::receive::ReceiveStream;
use super::session::Session;
use super::{Codec, Event, Media};

/// Streams received at a time. An SFU's peer sends a few; a peer that makes up sources replaces
/// only those silent for longer than [`SILENCE_MAX`], else the packet is dropped.
const SOURCES_MAX: usize = 128;

/// A source silent for so long may be forgotten.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// Where a packet goes.
pub(super) enum Target {
    /// To this stream.
    Stream(Ssrc, Content),
    /// A retransmission for this stream.
    Repair(Ssrc, Content),
    /// FlexFEC for a stream of this section.
    Flexfec(Mid),
}

/// What a packet carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Content {
    /// Media of its own.
    Media(Codec),
    /// RED, which says by itself of what.
    Red,
}

enum Use {
    Media(Content),
    Rtx(Content),
    Flexfec,
}

fn payload_use(media: &Media, payload_type: PayloadType) -> Option<Use> {
    let repair = &media.repair;
    if repair.red.is_some_and(|red| red.receive == payload_type) {
        return Some(Use::Media(Content::Red));
    }
    if repair.red_rtx == Some(payload_type) {
        return Some(Use::Rtx(Content::Red));
    }
    if repair
        .flexfec
        .is_some_and(|fec| fec.receive == payload_type)
    {
        return Some(Use::Flexfec);
    }
    media.codecs.iter().find_map(|codec| {
        if codec.payload_type == payload_type {
            Some(Use::Media(Content::Media(*codec)))
        } else if codec.rtx == Some(payload_type) {
            Some(Use::Rtx(Content::Media(*codec)))
        } else {
            None
        }
    })
}

impl Session {
    /// Finds or makes the stream; the reason why there is none otherwise.
    pub(super) fn target(
        &mut self,
        now: Instant,
        ssrc: Ssrc,
        payload_type: PayloadType,
        payload: &[u8],
        values: &ExtensionValues<'_>,
    ) -> Result<Target, &'static str> {
        let known = self.receive.get(&ssrc).map(|stream| stream.mid.clone());
        let repaired = self.repairs.get(&ssrc).copied();
        let repaired_mid = repaired.and_then(|ssrc| self.receive.get(&ssrc));
        let known = known.or_else(|| repaired_mid.map(|stream| stream.mid.clone()));
        let media = match &known {
            Some(mid) => self.media.iter().find(|media| media.mid == *mid),
            None => self.section_of(ssrc, payload_type, values),
        };
        let Some(media) = media.filter(|media| media.receives) else {
            return Err("rtp.unknown_source");
        };
        let mid = media.mid.clone();
        match payload_use(media, payload_type) {
            None => Err("rtp.unknown_payload_type"),
            Some(Use::Flexfec) => Ok(Target::Flexfec(mid)),
            Some(Use::Media(content)) => {
                if !self.receive.contains_key(&ssrc) {
                    let codec = match content {
                        Content::Media(codec) => codec,
                        Content::Red => newest_codec(media, payload)?,
                    };
                    let rid = values.rid.and_then(text).map(Rid::from);
                    self.add_source(now, mid, rid, ssrc, codec)?;
                }
                Ok(Target::Stream(ssrc, content))
            }
            Some(Use::Rtx(content)) => {
                let announced = media
                    .remote
                    .iter()
                    .find(|(_, rtx)| *rtx == Some(ssrc))
                    .map(|(media, _)| *media);
                let repaired = repaired
                    .or(announced)
                    .or_else(|| self.repaired_by(&mid, values));
                let Some(repaired) = repaired.filter(|own| self.receive.contains_key(own)) else {
                    return Err("rtp.unknown_repair");
                };
                if self.repairs.len() < SOURCES_MAX {
                    self.repairs.insert(ssrc, repaired);
                }
                Ok(Target::Repair(repaired, content))
            }
        }
    }

    fn section_of(
        &self,
        ssrc: Ssrc,
        payload_type: PayloadType,
        values: &ExtensionValues<'_>,
    ) -> Option<&Media> {
        if let Some(mid) = values.mid {
            let named = |media: &&Media| {
                let own = media.remote_mid.as_ref().unwrap_or(&media.mid);
                media.receives && own.as_str().as_bytes() == mid
            };
            return self.media.iter().find(named);
        }
        let announces = |media: &&Media| {
            let mut sources = media.remote.iter();
            sources.any(|(media, rtx)| *media == ssrc || *rtx == Some(ssrc))
                || media.repair.flexfec_remote.contains(&ssrc)
        };
        if let Some(media) = self.media.iter().find(announces) {
            return Some(media);
        }
        let mut having = self
            .media
            .iter()
            .filter(|media| media.receives && payload_use(media, payload_type).is_some());
        // Only an unambiguous number decides.
        having.next().filter(|_| having.next().is_none())
    }

    /// The stream that a retransmission repairs: by its name, or the only one there is.
    fn repaired_by(&self, mid: &Mid, values: &ExtensionValues<'_>) -> Option<Ssrc> {
        let mut streams = self.receive.values().filter(|stream| stream.mid == *mid);
        // Chromium names the stream of its first retransmissions, some stacks use the plain RID.
        match values.repaired_rid.or(values.rid).and_then(text) {
            Some(rid) => streams
                .find(|stream| stream.rid.as_ref().is_some_and(|own| own.as_str() == rid))
                .map(|stream| stream.ssrc),
            None => {
                let only = streams.next()?;
                streams.next().is_none().then_some(only.ssrc)
            }
        }
    }

    fn add_source(
        &mut self,
        now: Instant,
        mid: Mid,
        rid: Option<Rid>,
        ssrc: Ssrc,
        codec: Codec,
    ) -> Result<(), &'static str> {
        // A simulcast stream has one source at a time: a new one replaces the old.
        let replaced = self
            .receive
            .values()
            .find(|stream| rid.is_some() && stream.mid == mid && stream.rid == rid);
        if let Some(replaced) = replaced.map(|stream| stream.ssrc) {
            self.remove_source(replaced);
        }
        if self.receive.len() >= SOURCES_MAX {
            let silent = self.receive.values().min_by_key(|stream| stream.heard_at);
            let silent = silent
                .filter(|own| now.saturating_duration_since(own.heard_at) > SILENCE_MAX)
                .map(|own| own.ssrc);
            self.remove_source(silent.ok_or("rtp.too_many_sources")?);
        }
        let Some(media) = self.media.iter().find(|media| media.mid == mid) else {
            return Err("rtp.unknown_source");
        };
        let stream = ReceiveStream::new(now, media, rid.clone(), ssrc, codec);
        self.receive.insert(ssrc, stream);
        self.push_event(Event::SourceAdded { mid, ssrc, rid });
        Ok(())
    }

    pub(super) fn remove_source(&mut self, ssrc: Ssrc) {
        self.receive.remove(&ssrc);
        self.repairs.retain(|_, media| *media != ssrc);
    }
}

/// The codec of the newest block of RED: what begins a stream. FEC begins none.
fn newest_codec(media: &Media, payload: &[u8]) -> Result<Codec, &'static str> {
    let red = Red::parse(payload).map_err(|_| "rtp.red_malformed")?;
    let mut codecs = media.codecs.iter();
    codecs
        .find(|codec| codec.payload_type == red.payload_type)
        .copied()
        .ok_or("rtp.unknown_payload_type")
}

fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}
