//! What becomes of the streams when the agreed sections change.

use std::collections::BTreeSet;

use twocan_wire::ids::{Mid, Ssrc};
use twocan_wire::rtp::ExtensionMap;

use super::send::SendStream;
use super::session::Session;
use super::streams::StreamLogs;
use super::{Codec, Event, Media};

/// Streams that are kept after their end: as many as SRTP sends at all under one key.
const RESTING_MAX: usize = 1024;

impl Session {
    /// Replaces the agreed sections. Streams of sections that remain go on.
    pub fn configure(&mut self, media: Vec<Media>) {
        self.extensions = ExtensionMap::default();
        for section in &media {
            for (kind, id) in section.extensions_receive.iter() {
                self.extensions.insert(kind, id);
            }
        }
        let any = |has: fn(&Codec) -> bool| {
            let mut codecs = media.iter().flat_map(|section| &section.codecs);
            codecs.any(has)
        };
        self.reports_arrivals = any(|codec| codec.transport_cc);
        self.reports_streams = any(|codec| codec.ack_ccfb);
        // What is due and has no section to be sent for would be due for ever.
        if !self.reports_arrivals {
            self.arrivals.rest();
        }
        if !self.reports_streams {
            self.streams = StreamLogs::default();
        }
        let knows_arrivals = self.reports_arrivals || self.reports_streams;
        let takes_estimates = any(|codec| codec.goog_remb);
        self.estimate.set_wanted(takes_estimates && !knows_arrivals);
        self.rest_streams(&media);
        let section = |mid: &Mid| media.iter().find(|section| section.mid == *mid);
        self.receive
            .retain(|_, stream| section(&stream.mid).is_some_and(|section| section.receives));
        let receive = &self.receive;
        self.repairs.retain(|_, own| receive.contains_key(own));
        self.begin_streams(&media);
        self.allocations.retain(|mid, _| section(mid).is_some());
        self.media = media;
    }

    /// Lets streams rest that are not sent any more. Those whose section is gone say goodbye; one whose
    /// section is there and may send again does not: whoever says goodbye is gone with its source (RFC
    /// 3550 §6.3.7), and the source of a section stays the same.
    fn rest_streams(&mut self, media: &[Media]) {
        let named: BTreeSet<Ssrc> = media
            .iter()
            .flat_map(|section| &section.encodings)
            .map(|encoding| encoding.ssrc)
            .collect();
        let paused = std::mem::take(&mut self.paused);
        let (paused, ended): (BTreeSet<Ssrc>, BTreeSet<Ssrc>) =
            paused.into_iter().partition(|ssrc| named.contains(ssrc));
        self.paused = paused;
        self.ended.extend(ended);
        for (ssrc, mut stream) in std::mem::take(&mut self.send) {
            let mut sections = media.iter();
            let section = sections.find(|own| own.mid == stream.name.mid && own.sends);
            let mut encodings = section.into_iter().flat_map(|own| &own.encodings);
            if let Some(encoding) = encodings.find(|own| own.ssrc == ssrc) {
                stream.rename(encoding.rid.clone());
                self.send.insert(ssrc, stream);
                continue;
            }
            let has_sent = stream.rest();
            if has_sent && named.contains(&ssrc) {
                self.paused.insert(ssrc);
            } else {
                self.ended.push(ssrc);
            }
            if has_sent && self.resting.len() < RESTING_MAX {
                self.resting.insert(ssrc, stream);
            }
        }
    }

    /// Begins the streams of sections that send, or goes on with them. Whoever is to see a picture of
    /// one that goes on may have let go of all before it, and needs one that stands for itself.
    fn begin_streams(&mut self, media: &[Media]) {
        for section in media.iter().filter(|section| section.sends) {
            for encoding in &section.encodings {
                if self.send.contains_key(&encoding.ssrc) {
                    continue;
                }
                self.ended.retain(|ssrc| *ssrc != encoding.ssrc);
                self.paused.remove(&encoding.ssrc);
                let stream = match self.resting.remove(&encoding.ssrc) {
                    Some(mut stream) => {
                        stream.resume(&section.mid, encoding.rid.clone());
                        if section.is_video() {
                            let (mid, rid) = (section.mid.clone(), encoding.rid.clone());
                            self.push_event(Event::KeyFrameRequested { mid, rid });
                        }
                        stream
                    }
                    None => Box::new(SendStream::new(&section.mid, encoding, &mut self.random)),
                };
                self.send.insert(encoding.ssrc, stream);
            }
        }
    }
}
