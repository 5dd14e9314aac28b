//! Forwarding media in rooms, without I/O: what an SFU decides.
//!
//! 1. [`Forwarder::join`] opens a connection for a participant, which offers first: what it sends
//!    becomes tracks, and each line on which it only receives becomes a slot for a track of another.
//!    Where slots are missing, the server offers more.
//! 2. A packet is decrypted once. For each viewer it gets new numbers, and is sent on that viewer's
//!    connection, which has its own congestion control and answers requests for what was lost.
//! 3. What each viewer can be sent is shared out over its slots (`allocate`): of a simulcast one
//!    stream, of that the layers that fit (`scalable`). A switch waits for a key frame, which is asked
//!    for, and leaves no gap in numbers and times.
//! 4. What nobody has a use for, its publisher is told to rest (`layers`).
//! 5. What is on which slot is told by the event `forward`; it changes without a negotiation.
//! 6. What participants say over data channels goes to all, or to those whom they name (`data`).
//! 7. Who joined by an offer over HTTP has its signaling on such a channel as well (`signaling`).

mod allocate;
mod choice;
mod clock;
mod codecs;
mod data;
mod exchange;
mod forwarder;
mod frames;
mod layers;
mod meter;
mod negotiation;
mod passing;
mod permit;
mod quality;
mod reader;
mod renumber;
mod scalable;
mod sharing;
mod signaling;
mod slot;
mod speakers;
mod track;

#[cfg(test)]
mod layer_tests;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::value::RawValue;
use twocan_proto::congestion;
use twocan_proto::dtls::{Certificate, Settings};
use twocan_proto::negotiate::{self, Codec};
use twocan_proto::wire::units::Bitrate;

pub use choice::{Choice, ChoiceRefused, Layer, Line, Playing};
pub use codecs::VideoCodecs;
pub use data::DataFigures;
pub use exchange::Fragment;
pub use forwarder::Forwarder;
pub use signaling::{SIGNALING_LABEL, SIGNALING_PROTOCOL};

/// Settings of a [`Forwarder`].
#[derive(Debug, Clone)]
pub struct Config {
    /// The server's certificate, one for all connections.
    pub certificate: Arc<Certificate>,
    /// Of DTLS.
    pub dtls: Settings,
    /// Sound that is passed on, the preferred codec first. Default as of a peer.
    pub audio_codecs: Arc<[Codec]>,
    /// Pictures that are passed on, the preferred codec first. Default VP8, H.264, VP9 and AV1.
    pub video_codecs: Arc<[Codec]>,
    /// Whether publishers are asked for the first of `video_codecs` that they make, and not for what
    /// they like best. Default no. Where somebody who looks on does not take what is sent, they are
    /// asked for another one in any case.
    pub prefers_own_order: bool,
    /// What addresses of ours are to others ([`twocan_proto::ice::Config::external_addresses`]).
    pub external_addresses: Vec<(IpAddr, IpAddr)>,
    /// Whether the server is a lite agent (RFC 8445 §2.5): it sends no checks of its own. Default
    /// yes; for a server that is itself behind a translator without a mapping for it, no.
    pub ice_lite: bool,
    /// Lines for sound on a viewer's connection. In a larger room those are heard who spoke last.
    /// Default 16.
    pub audio_slots: usize,
    /// Lines for pictures on a viewer's connection; those of whom spoke last are seen. Default 25.
    pub video_slots: usize,
    /// What a viewer's way is taken to carry before anything is known of it. Default 1 Mbit/s.
    pub start_bitrate: Bitrate,
}

/// A picture of a usual size passes at once: its publisher has paced it. What is larger, such as key
/// frames that are kept for those who come, is paced.
const BURST: Duration = Duration::from_millis(40);

impl Config {
    /// The defaults, with a certificate and DTLS settings.
    pub fn new(certificate: Arc<Certificate>, dtls: Settings) -> Self {
        let codecs = negotiate::default_video_codecs();
        Self {
            certificate,
            dtls,
            audio_codecs: sound(&negotiate::default_audio_codecs()),
            video_codecs: passed_on(&codecs, &VIDEO_CODECS),
            prefers_own_order: false,
            external_addresses: Vec::new(),
            ice_lite: true,
            audio_slots: 16,
            video_slots: 25,
            start_bitrate: Bitrate::kbps(1_000),
        }
    }

    /// Passes on these codecs for pictures, of [`VIDEO_CODECS`], and asks publishers for the first of
    /// them that they make. Names that are not among those are left out.
    #[must_use]
    pub fn with_video_codecs(mut self, names: &[&str]) -> Self {
        let known = |name: &&&str| {
            VIDEO_CODECS
                .iter()
                .any(|own| own.eq_ignore_ascii_case(name))
        };
        let names: Vec<&str> = names.iter().filter(known).copied().collect();
        self.video_codecs = passed_on(&negotiate::default_video_codecs(), &names);
        self.prefers_own_order = true;
        self
    }

    fn congestion(&self) -> congestion::Config {
        congestion::Config {
            start: self.start_bitrate,
            burst: BURST,
            ..congestion::Config::default()
        }
    }
}

/// Codecs for pictures that can be passed on, by their names in SDP, in the order in which they are
/// where nothing else is said: every browser makes and shows the first two.
pub const VIDEO_CODECS: [&str; 4] = ["VP8", "H264", "VP9", "AV1"];

/// Those of `codecs` that are named, in the order of the names.
fn passed_on(codecs: &[Codec], names: &[&str]) -> Arc<[Codec]> {
    let mut named: Vec<Codec> = Vec::new();
    for name in names {
        let is_named = |own: &Codec| own.name.eq_ignore_ascii_case(name);
        if !named.iter().any(is_named) {
            named.extend(codecs.iter().filter(|own| is_named(own)).cloned());
        }
    }
    named.into()
}

/// Opus, and RED that carries it: what one side sends as G.711 another may not take.
fn sound(codecs: &[Codec]) -> Arc<[Codec]> {
    passed_on(codecs, &["opus", "red"])
}

/// What a [`Forwarder`] reports.
#[derive(Debug, Clone)]
pub enum Event {
    /// Something is to be said to a participant, in the name of the server.
    Signal {
        /// Its id.
        participant: String,
        /// `offer`, `answer`, `forward`, `layers`, `speakers`, `quality`, `error`.
        event: &'static str,
        /// As the signaling protocol has it.
        data: Box<RawValue>,
    },
    /// The connection of somebody who came by HTTP is over, or its channel for signaling, and it has
    /// left.
    Ended {
        /// Its id.
        participant: String,
        /// Whether that came to pass by itself: it did not close the one or the other.
        is_lost: bool,
    },
    /// Somebody said something over its channel for signaling.
    Text {
        /// Its id.
        participant: String,
        /// As it came, of up to [`twocan_proto::wire::room_data::MESSAGE_LEN_MAX`] bytes.
        text: String,
    },
    /// More waits for somebody than may, on its channel for signaling; it is told nothing any more.
    Behind {
        /// Its id.
        participant: String,
    },
}
