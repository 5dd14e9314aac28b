//! The names that packets leave under, for feedback.

use twocan_wire::ids::{Mid, Ssrc};
use twocan_wire::rtp::{ExtensionKind, HeaderFields};
use twocan_wire::seq::SeqNo16;

use super::outbox::Sent;
use super::send::SendStream;
use super::{Departure, Media, Session};
use crate::contract::Dscp;

impl Session {
    /// Whether packets of this source are ours to number: media, retransmissions, FEC, also of streams
    /// that rest.
    pub fn is_own_source(&self, ssrc: Ssrc) -> bool {
        let mut streams = self.send.values().chain(self.resting.values());
        let fec = |media: &Media| media.repair.flexfec_source.map(|(_, fec)| fec);
        streams.any(|own| own.ssrc == ssrc || own.rtx_ssrc == ssrc)
            || self.media.iter().any(|media| fec(media) == Some(ssrc))
    }

    /// Says with which codepoints the streams of a section leave, in the order of its encodings, with
    /// all that repairs them.
    pub fn set_codepoints(&mut self, mid: &Mid, codepoints: &[Dscp]) {
        let media = self.media.iter().find(|media| media.mid == *mid);
        let encodings = media.map(|media| &media.encodings[..]).unwrap_or_default();
        for (encoding, dscp) in encodings.iter().zip(codepoints) {
            if let Some(stream) = self.send.get_mut(&encoding.ssrc) {
                stream.dscp = *dscp;
            }
        }
    }
}

impl SendStream {
    pub(super) fn departure(&self, header: &HeaderFields, media: &Media, sent: Sent) -> Departure {
        let numbered = media.extensions_send.id(ExtensionKind::TransportSequence);
        // Reports by stream name a packet by its own number.
        let numbered = numbered.filter(|_| !media.codecs.iter().any(|codec| codec.ack_ccfb));
        Departure {
            ssrc: header.ssrc,
            sequence_number: header.sequence_number,
            transport_sequence: numbered.map(|_| sent.transport_sequence),
            is_repeated: false,
            dscp: self.dscp,
        }
    }
}

/// The next transport-wide number, if this section uses them.
pub(super) fn take_sequence(media: &Media, next: &mut SeqNo16) -> SeqNo16 {
    let own = *next;
    if media
        .extensions_send
        .id(ExtensionKind::TransportSequence)
        .is_some()
    {
        *next = next.next();
    }
    own
}
