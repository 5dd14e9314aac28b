//! RTCP of a session: reports and feedback, in and out.

use std::time::Duration;

use twocan_wire::ids::Ssrc;
use twocan_wire::rtcp::{
    self, Bye, Ecn, Fir, FirEntry, Nack, Packet, PacketArrival, Pli, ReceiverReport, Remb,
    ReportBlock, Sdes,
};

use super::resend::Resend;
use super::session::Session;
use super::{Event, Feedback, Media};
use crate::time::Now;

/// Mean time between two reports on one stream. RFC 4585 §3.4 lets a unicast session report as
/// often as its bandwidth allows; a report is 80 bytes.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);

/// Length at which a compound is full enough; one more packet of any kind still fits 1200.
const COMPOUND_LEN: usize = 600;

/// Missing packets named in one NACK: at worst each needs an entry of four bytes.
const NACK_MAX: usize = 120;

/// Sources named in one compound, so that long names leave room for the rest.
const CNAMES_MAX: usize = 6;

/// Report blocks in one compound.
const BLOCKS_MAX: usize = 10;

/// Sources that one estimate names at most: their number has a byte.
const SOURCES_MAX: usize = 255;

impl Session {
    /// How far the remote side's clock is ahead of ours, in units of 2^-32 s, by its sender reports and
    /// the round-trip time: right within half of what the two ways differ by. Where no round trip is
    /// measured, too little by the way here. `None` before the first report.
    pub fn remote_clock_ahead(&self) -> Option<i64> {
        self.remote_clock.ahead()
    }

    /// Takes a decrypted and authenticated RTCP datagram.
    pub fn handle_rtcp(&mut self, now: Now, datagram: &[u8]) {
        for packet in rtcp::packets(datagram) {
            match packet {
                Ok(packet) => self.handle_control(now, packet),
                Err(_) => self.counters.count("rtcp.malformed"),
            }
        }
    }

    fn handle_control(&mut self, now: Now, packet: Packet<'_>) {
        match packet {
            Packet::SenderReport(report) => {
                if let Some(stream) = self.receive.get_mut(&report.ssrc) {
                    let middle = (report.ntp_time >> 16) as u32;
                    stream.last_sr = Some((middle, now.monotonic));
                    stream.handle_sender_report(&report);
                    let capture = &mut stream.capture;
                    capture.handle_report(report.ntp_time, report.rtp_timestamp);
                    let rtt = self.rtt_measured.then_some(self.rtt);
                    self.remote_clock.handle_report(now, report.ntp_time, rtt);
                }
                self.handle_blocks(now, &report.reports);
            }
            Packet::ReceiverReport(report) => self.handle_blocks(now, &report.reports),
            Packet::Nack(nack) => self.handle_nack(now, &nack),
            Packet::Pli(pli) => {
                let stream = self.send.get_mut(&pli.media);
                if let Some(stream) = stream {
                    stream.stats.pli_count += 1;
                    let (mid, rid) = (stream.name.mid.clone(), stream.name.rid.clone());
                    self.push_event(Event::KeyFrameRequested { mid, rid });
                }
            }
            Packet::Fir(fir) => {
                for entry in fir.entries {
                    let stream = self.send.get_mut(&entry.ssrc);
                    let Some(stream) = stream else { continue };
                    if stream.handle_fir(entry.sequence) {
                        let (mid, rid) = (stream.name.mid.clone(), stream.name.rid.clone());
                        self.push_event(Event::KeyFrameRequested { mid, rid });
                    }
                }
            }
            Packet::Bye(bye) => {
                for ssrc in bye.ssrcs {
                    if let Some(stream) = self.receive.get(&ssrc) {
                        let mid = stream.mid.clone();
                        self.remove_source(ssrc);
                        self.push_event(Event::SourceEnded { mid, ssrc });
                    }
                }
            }
            Packet::Remb(remb) => self.push_feedback(Feedback::Estimate(remb.bitrate)),
            Packet::TransportFeedback(feedback) => {
                let arrived = feedback.deltas.iter().flatten().count();
                let stats = &mut self.transport_stats;
                stats.feedback_received += 1;
                stats.packets_arrived += arrived as u64;
                stats.packets_missing += (feedback.deltas.len() - arrived) as u64;
                self.push_feedback(Feedback::Transport(feedback));
            }
            Packet::Sdes(names) => self.handle_names(&names),
            Packet::CongestionFeedback(feedback) if self.reports_streams => {
                let packets = || feedback.streams.iter().flat_map(|own| &own.packets);
                let marked = |own: &&PacketArrival| own.ecn == Ecn::CongestionExperienced;
                let arrived = packets().flatten().count() as u64;
                let stats = &mut self.transport_stats;
                stats.feedback_received += 1;
                stats.packets_arrived += arrived;
                stats.ccfb_messages_received += 1;
                stats.packets_missing += packets().count() as u64 - arrived;
                stats.packets_marked += packets().flatten().filter(marked).count() as u64;
                self.push_feedback(Feedback::Congestion(feedback));
            }
            // We ask for neither.
            Packet::CongestionFeedback(_) | Packet::ExtendedReport(_) => {
                self.counters.count("rtcp.not_negotiated");
            }
            Packet::Unknown { .. } => self.counters.count("rtcp.unknown"),
        }
    }

    fn handle_blocks(&mut self, now: Now, blocks: &[ReportBlock]) {
        for block in blocks {
            let stream = self.send.get_mut(&block.ssrc);
            let rtt = stream.and_then(|stream| stream.handle_report(now, block));
            let repairs = self.send.values_mut();
            repairs
                .filter(|own| own.rtx_ssrc == block.ssrc)
                .for_each(|own| own.name.handle_repair_report());
            if let Some(rtt) = rtt {
                self.set_round_trip_time(rtt);
            }
        }
    }

    fn handle_nack(&mut self, now: Now, nack: &Nack) {
        let stream = self.send.get_mut(&nack.media);
        let Some(stream) = stream else {
            self.counters.count("rtcp.nack_unknown_source");
            return;
        };
        let missing = nack
            .entries
            .iter()
            .flat_map(|entry| entry.sequence_numbers());
        let media = self.media.iter().find(|own| own.mid == stream.name.mid);
        let loss = stream.loss.get().unwrap_or(0.0);
        let doubled = Resend::is_doubled(loss, self.rtt);
        stream.handle_nack(now.monotonic, (media, doubled), missing, &mut self.counters);
    }

    /// Appends what is due to `out` as one compound, in the clear, of at most 1200 bytes; answers
    /// whether there was anything. Call again until there is not.
    pub fn poll_rtcp(&mut self, now: Now, out: &mut Vec<u8>) -> bool {
        let start = out.len();
        let (sender, cname) = match (self.media.first(), self.ended.first()) {
            (Some(first), _) => (first.source(), first.cname.clone()),
            // The last section is gone, its goodbye is not said yet.
            (None, Some(ended)) => (*ended, String::new()),
            (None, None) => return false,
        };
        let reduced = self.media.iter().all(|media| media.rtcp_rsize);
        let mut feedback = Vec::new();
        self.write_feedback(now, sender, &mut feedback);
        let has_report = self.write_reports(now, sender, out);
        if feedback.is_empty() && !has_report {
            return false;
        }
        if !has_report && !reduced {
            // RFC 3550 §6.1: every compound begins with a report, if an empty one.
            let report = ReceiverReport {
                ssrc: sender,
                reports: Vec::new(),
            };
            report.write(out);
        }
        if has_report || !reduced {
            // All sources of a connection share the name, which is how sound finds its picture, unless
            // the application gave them others by hand.
            let mut ssrcs: Vec<Ssrc> = self.send.values().map(|stream| stream.ssrc).collect();
            if !ssrcs.contains(&sender) {
                ssrcs.insert(0, sender);
            }
            let named = ssrcs.into_iter().take(CNAMES_MAX);
            let cnames = named.map(|ssrc| (ssrc, self.cname_of(ssrc).unwrap_or(&cname).to_owned()));
            let cnames = cnames.collect();
            Sdes { cnames }.write(out);
        }
        out.extend_from_slice(&feedback);
        if !self.ended.is_empty() {
            let ssrcs = std::mem::take(&mut self.ended);
            Bye { ssrcs }.write(out);
        }
        out.len() > start
    }

    /// The canonical name of a stream of ours: mostly that of all.
    fn cname_of(&self, ssrc: Ssrc) -> Option<&str> {
        let mut sending = self.media.iter().filter(|media| media.sends);
        let has = |media: &&Media| media.encodings.iter().any(|own| own.ssrc == ssrc);
        sending.find(has).map(|media| media.cname.as_str())
    }

    /// Sender reports of streams that are due, and blocks for what is received.
    fn write_reports(&mut self, now: Now, sender: Ssrc, out: &mut Vec<u8>) -> bool {
        let start = out.len();
        let mut blocks = Vec::new();
        for stream in self.receive.values_mut() {
            if stream.report_at <= now.monotonic && blocks.len() < BLOCKS_MAX {
                blocks.push(stream.report(now.monotonic));
                stream.report_at = now.monotonic + interval(&mut self.random);
            }
        }
        for stream in self.send.values_mut() {
            let is_due = stream.report_at.is_some_and(|at| at <= now.monotonic);
            if !is_due || out.len() - start > COMPOUND_LEN {
                continue;
            }
            stream.report_at = Some(now.monotonic + interval(&mut self.random));
            if let Some(mut report) = stream.report(now) {
                report.reports = std::mem::take(&mut blocks);
                report.write(out);
            }
        }
        if !blocks.is_empty() || (!self.ended.is_empty() && out.len() == start) {
            let report = ReceiverReport {
                ssrc: sender,
                reports: blocks,
            };
            report.write(out);
        }
        out.len() > start
    }

    /// What receivers ask for: packets, key frames, and when packets arrived.
    fn write_feedback(&mut self, now: Now, own: Ssrc, out: &mut Vec<u8>) {
        let at = now.monotonic;
        if let Some(feedback) = self.arrivals.take_feedback(at, own) {
            feedback.write(out);
            self.transport_stats.feedback_sent += 1;
        }
        if let Some(feedback) = self.streams.take_feedback(now, own) {
            feedback.write(out);
            self.transport_stats.feedback_sent += 1;
            self.transport_stats.ccfb_messages_sent += 1;
        }
        if let Some(bitrate) = self.estimate.take(at) {
            let streams = self.receive.values().filter(|own| own.codec().goog_remb);
            let remb = Remb {
                sender: own,
                bitrate,
                ssrcs: streams.map(|own| own.ssrc).take(SOURCES_MAX).collect(),
            };
            remb.write(out);
        }
        for stream in self.receive.values_mut() {
            if out.len() > COMPOUND_LEN {
                break;
            }
            let sender = source_of(&self.media, stream, own);
            let missing = stream.take_nacks(at, self.rtt, NACK_MAX);
            if !missing.is_empty() {
                let nack = Nack {
                    sender,
                    media: stream.ssrc,
                    entries: Nack::entries(missing),
                };
                nack.write(out);
                stream.stats.nack_count += 1;
            }
            if stream.take_key_frame_request(at) {
                write_key_frame_request(stream, sender, out);
            }
        }
    }
}

fn write_key_frame_request(
    stream: &mut super::receive::ReceiveStream,
    sender: Ssrc,
    out: &mut Vec<u8>,
) {
    let media = stream.ssrc;
    if stream.codec().pli {
        Pli { sender, media }.write(out);
        stream.stats.pli_count += 1;
        return;
    }
    let entry = FirEntry {
        ssrc: media,
        sequence: stream.fir_sequence,
    };
    stream.fir_sequence = stream.fir_sequence.wrapping_add(1);
    let fir = Fir {
        sender,
        entries: vec![entry],
    };
    fir.write(out);
    stream.stats.fir_count += 1;
}

/// Our source in the section of a stream, which feedback about it names as its sender.
fn source_of(media: &[Media], stream: &super::receive::ReceiveStream, otherwise: Ssrc) -> Ssrc {
    let section = media.iter().find(|media| media.mid == stream.mid);
    section.map_or(otherwise, Media::source)
}

/// Half to one and a half of the mean, so that peers do not fall into step (RFC 3550 §6.2).
fn interval(random: &mut crate::random::Random) -> Duration {
    let mean = REPORT_INTERVAL.as_millis() as u32;
    Duration::from_millis(u64::from(mean / 2 + random.below(mean)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    #[test]
    fn intervals_stay_between_half_and_one_and_a_half_of_the_mean() {
        let mut random = Random::new([7; 32]);
        let all: Vec<Duration> = (0..1000).map(|_| interval(&mut random)).collect();
        let (min, max) = (all.iter().min().unwrap(), all.iter().max().unwrap());
        assert!(*min >= REPORT_INTERVAL / 2 && *max < REPORT_INTERVAL * 3 / 2);
        assert!(*max - *min > REPORT_INTERVAL / 2);
    }
}
