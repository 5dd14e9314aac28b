//! Forward error correction in use: which packets protect others, and how lost ones come back.
//!
//! 1. Out: [`protect::Protector`] keeps a copy of each packet of a frame as it left, and makes the
//!    FEC packets that follow it; how many of them, [`level`] says by loss and round-trip time.
//! 2. In: [`recover::Recovery`] keeps packets that arrived, and makes missing ones again.
//!
//! FEC packets travel in RED beside the media (ULPFEC, RFC 5109 §14.1) or as a stream of their own
//! (FlexFEC). What is protected is the media packet in the clear, without RED, as it was sent the
//! first time: neither retransmissions nor their copies take part.

pub(super) mod level;
pub(super) mod protect;
pub(super) mod recover;

use twocan_wire::ids::{PayloadType, Ssrc};

use super::{Codec, Format};

/// A payload type in both directions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PayloadTypes {
    /// In packets that we receive.
    pub receive: PayloadType,
    /// In packets that we send.
    pub send: PayloadType,
}

/// What repairs losses of a section beside retransmission.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Repair {
    /// RED (RFC 2198): older frames beside the newest, for sound; ULPFEC beside media, for video.
    pub red: Option<PayloadTypes>,
    /// Retransmissions of RED that we receive.
    pub red_rtx: Option<PayloadType>,
    /// Whether sound is sent in RED where packets are lost: one of the two sides prefers it.
    pub red_preferred: bool,
    /// ULPFEC (RFC 5109) within RED.
    pub ulpfec: Option<PayloadTypes>,
    /// FlexFEC (draft-ietf-payload-flexible-fec-scheme-03), which is preferred to ULPFEC.
    pub flexfec: Option<PayloadTypes>,
    /// The source of ours that FlexFEC protects, and that of its FlexFEC; `None` where we send none.
    /// Only one: two streams must never share a source (RFC 3711 §9.1).
    pub flexfec_source: Option<(Ssrc, Ssrc)>,
    /// Announced sources of the remote side's FlexFEC.
    pub flexfec_remote: Vec<Ssrc>,
}

/// How what we send is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scheme {
    /// In RED of the first payload type, with the second inside.
    Ulpfec { red: PayloadType, fec: PayloadType },
    /// In a stream of its own.
    Flexfec { ssrc: Ssrc, fec: PayloadType },
}

impl Repair {
    /// How frames of a codec are protected that `source` sends, if they can be.
    ///
    /// ULPFEC takes numbers of the media's. Where pictures have no numbers of their own, a receiver
    /// that misses one cannot know that it misses no picture, and asks for it again; so it is for
    /// VP8 and VP9 alone, as in libwebrtc.
    pub(super) fn scheme(&self, codec: &Codec, source: Ssrc) -> Option<Scheme> {
        if !codec.format.is_video() {
            return None;
        }
        let own = self.flexfec_source.filter(|(media, _)| *media == source);
        if let Some((fec, (_, ssrc))) = self.flexfec.zip(own) {
            let fec = fec.send;
            return Some(Scheme::Flexfec { ssrc, fec });
        }
        let has_numbers = matches!(codec.format, Format::Vp8 | Format::Vp9);
        let (red, fec) = self.red.zip(self.ulpfec).filter(|_| has_numbers)?;
        Some(Scheme::Ulpfec {
            red: red.send,
            fec: fec.send,
        })
    }

    /// Whether FEC packets may arrive.
    pub(super) fn receives_fec(&self) -> bool {
        self.flexfec.is_some() || (self.red.is_some() && self.ulpfec.is_some())
    }
}
