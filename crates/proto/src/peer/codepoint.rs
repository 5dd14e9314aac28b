//! How datagrams are marked for routers, by the priority of what they carry (RFC 8837 §5).

use super::machine::Peer;
use super::parameters::{EncodingParameters, Priority};
use super::transport::Transport;
use crate::channel;
use crate::contract::Dscp;
use crate::negotiate::{Kind, TransceiverId};

/// Codepoints of what is of no stream; all of them the default where nothing is marked.
#[derive(Debug, Default)]
pub(super) struct Codepoints {
    is_wanted: bool,
    /// Reports are of all streams at once, and go as the most important of them.
    pub(super) reports: Dscp,
}

impl Codepoints {
    pub(super) fn new(is_wanted: bool) -> Self {
        Self {
            is_wanted,
            ..Self::default()
        }
    }
}

/// RFC 8837 table 1. Pictures are taken to be those of a conversation.
const fn of_media(kind: Kind, priority: Priority) -> Dscp {
    match (kind, priority) {
        (_, Priority::VeryLow) => Dscp::LOWER_EFFORT,
        (_, Priority::Low) => Dscp::DEFAULT,
        (Kind::Audio, Priority::Medium | Priority::High) => Dscp::EXPEDITED,
        (Kind::Video, Priority::Medium) => Dscp::AF42,
        (Kind::Video, Priority::High) => Dscp::AF41,
    }
}

impl EncodingParameters {
    fn marked_by(&self) -> Priority {
        self.network_priority.unwrap_or(self.priority)
    }
}

impl Peer {
    /// Tells all streams what the application has set.
    pub(super) fn tell_codepoints(&mut self) {
        if !self.transport.codepoints.is_wanted {
            return;
        }
        let senders = self.media.iter().filter(|media| media.sends);
        let senders: Vec<(TransceiverId, Kind)> =
            senders.map(|own| (own.transceiver, own.kind)).collect();
        let mut highest: Option<(Priority, bool)> = None;
        for (id, kind) in senders {
            let encodings = self.encodings(id);
            let active = encodings.iter().filter(|own| own.active);
            let active = active.map(|own| (own.marked_by(), kind == Kind::Audio));
            highest = highest.max(active.max());
            let codepoints = encodings.iter().map(|own| of_media(kind, own.marked_by()));
            let codepoints: Vec<Dscp> = codepoints.collect();
            if let Some(mid) = self.negotiator.mid(id) {
                self.transport.rtp.set_codepoints(mid, &codepoints);
            }
        }
        let reports = highest.map(|(priority, is_audio)| match is_audio {
            true => of_media(Kind::Audio, priority),
            false => of_media(Kind::Video, priority),
        });
        self.transport.codepoints.reports = reports.unwrap_or_default();
    }
}

impl Transport {
    /// Of data: all channels share an association, whose packets go as the most important of them.
    pub(super) fn data_codepoint(&self) -> Dscp {
        if !self.codepoints.is_wanted {
            return Dscp::DEFAULT;
        }
        match self.channels.highest_priority() {
            Some(channel::Priority::VeryLow) => Dscp::LOWER_EFFORT,
            Some(channel::Priority::Medium) => Dscp::AF11,
            Some(channel::Priority::High) => Dscp::AF21,
            Some(channel::Priority::Low | channel::Priority::Other(_)) | None => Dscp::DEFAULT,
        }
    }
}
