//! Arrival times and marks by stream, for the remote sender (RFC 8888).

use std::collections::BTreeMap;
use std::time::Instant;

use twocan_wire::ids::Ssrc;
use twocan_wire::rtcp::{ArrivalOffset, CongestionFeedback, Ecn, PacketArrival, StreamArrivals};
use twocan_wire::seq::{SeqNo16, Unwrapper16};

use super::ntp::ntp_time;
use super::transport::ReportClock;
use crate::time::Now;

/// Streams whose packets are reported; those of others are not.
const STREAMS_MAX: usize = 64;

/// Arrivals of a stream that wait to be reported; the oldest is dropped for one more.
const ARRIVALS_MAX: usize = 1024;

/// Packets in one report, received or not, at two bytes each; and what a stream takes beside them,
/// counted in packets.
const STATUSES_MAX: usize = 450;
const STREAM_STATUSES: usize = 4;

#[derive(Debug, Default)]
struct StreamLog {
    unwrapper: Unwrapper16,
    /// By number.
    arrivals: BTreeMap<u64, (Instant, Ecn)>,
    /// The first number not yet reported on.
    next: Option<u64>,
}

#[derive(Debug, Default)]
pub(super) struct StreamLogs {
    streams: BTreeMap<Ssrc, StreamLog>,
    clock: ReportClock,
}

impl StreamLogs {
    /// Answers whether the packet will be reported.
    pub(super) fn handle_arrival(
        &mut self,
        now: Now,
        ssrc: Ssrc,
        sequence: SeqNo16,
        ecn: Ecn,
        len: usize,
    ) -> bool {
        if self.streams.len() >= STREAMS_MAX && !self.streams.contains_key(&ssrc) {
            return false;
        }
        let stream = self.streams.entry(ssrc).or_default();
        let sequence = stream.unwrapper.unwrap(sequence);
        let first = (now.monotonic, ecn);
        let (_, mark) = stream.arrivals.entry(sequence).or_insert(first);
        if ecn == Ecn::CongestionExperienced {
            // Of copies, the mark of the one that has it (RFC 8888 §3.1).
            *mark = ecn;
        }
        if stream.arrivals.len() > ARRIVALS_MAX {
            stream.arrivals.pop_first();
        }
        self.clock.handle_arrival(now.monotonic, len);
        true
    }

    pub(super) fn due_at(&self) -> Option<Instant> {
        self.clock.due_at()
    }

    /// A report on everything since the one before, or on as much as fits.
    pub(super) fn take_feedback(&mut self, now: Now, sender: Ssrc) -> Option<CongestionFeedback> {
        if !self.clock.take_due(now.monotonic) {
            return None;
        }
        let mut room = STATUSES_MAX;
        let mut streams = Vec::new();
        for (ssrc, stream) in &mut self.streams {
            room = room.saturating_sub(STREAM_STATUSES);
            let packets = stream.take(now.monotonic, room);
            if let Some((first, packets)) = packets {
                room -= packets.len();
                streams.push(StreamArrivals {
                    ssrc: *ssrc,
                    first: SeqNo16(first as u16),
                    packets,
                });
            }
        }
        if self.streams.values().any(|own| !own.arrivals.is_empty()) {
            self.clock.go_on(now.monotonic);
        }
        (!streams.is_empty()).then(|| CongestionFeedback {
            sender,
            streams,
            timestamp: (ntp_time(now.wallclock) >> 16) as u32,
        })
    }
}

impl StreamLog {
    /// At most `most` packets, received or not, with the number of the first.
    fn take(&mut self, now: Instant, most: usize) -> Option<(u64, Vec<Option<PacketArrival>>)> {
        let first = *self.arrivals.first_key_value()?.0;
        // What came late is reported again from there; a gap too long to list is left out.
        let start = self.next.unwrap_or(first).min(first);
        let start = start.max(first.saturating_sub(STATUSES_MAX as u64 / 2));
        let mut packets = Vec::new();
        while let Some((sequence, (at, ecn))) = self.arrivals.first_key_value() {
            let index = usize::try_from(sequence - start).unwrap_or(usize::MAX);
            if index >= most {
                break;
            }
            packets.resize(index, None);
            let units = now.saturating_duration_since(*at).as_micros() * 1024 / 1_000_000;
            packets.push(Some(PacketArrival {
                ecn: *ecn,
                offset: ArrivalOffset::new(u16::try_from(units).unwrap_or(u16::MAX)),
            }));
            self.next = Some(sequence + 1);
            self.arrivals.pop_first();
        }
        (!packets.is_empty()).then_some((start, packets))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::rtp::tests::instant;

    fn at(ms: u64) -> Now {
        Now {
            monotonic: instant() + Duration::from_millis(ms),
            wallclock: Duration::from_millis(1_700_000_000_000 + ms),
        }
    }

    fn arrive(logs: &mut StreamLogs, ms: u64, ssrc: u32, sequence: u16, ecn: Ecn) -> bool {
        logs.handle_arrival(at(ms), Ssrc(ssrc), SeqNo16(sequence), ecn, 1000)
    }

    /// The offsets, in units of 1/1024 s.
    fn offsets(stream: &StreamArrivals) -> Vec<Option<u16>> {
        let packets = stream.packets.iter();
        packets
            .map(|own| own.and_then(|own| own.offset.units()))
            .collect()
    }

    #[test]
    fn each_stream_is_reported_with_times_and_marks_and_what_is_missing() {
        let mut logs = StreamLogs::default();
        arrive(&mut logs, 0, 1, 65_535, Ecn::Ect1);
        arrive(&mut logs, 10, 1, 1, Ecn::Ect1);
        arrive(&mut logs, 11, 1, 1, Ecn::CongestionExperienced);
        arrive(&mut logs, 20, 2, 7, Ecn::NotCapable);
        assert_eq!(logs.take_feedback(at(99), Ssrc(9)), None);
        let report = logs.take_feedback(at(100), Ssrc(9)).unwrap();
        let [one, two] = &report.streams[..] else {
            panic!("{report:?}");
        };
        assert_eq!((one.ssrc, one.first), (Ssrc(1), SeqNo16(65_535)));
        assert_eq!(offsets(one), [Some(102), None, Some(92)]);
        assert_eq!(one.packets[2].unwrap().ecn, Ecn::CongestionExperienced);
        assert_eq!(one.packets[0].unwrap().ecn, Ecn::Ect1);
        assert_eq!((two.first, offsets(two)), (SeqNo16(7), vec![Some(81)]));
        // Seconds since 1900, of which the low 16 bits, and 1/65536 of them.
        let seconds = 1_700_000_000_u64 + 2_208_988_800;
        assert_eq!(report.timestamp >> 16, (seconds & 0xffff) as u32);
        assert_eq!(report.timestamp & 0xffff, 6553);
        // The next one goes on where this one ended, for those of whom there is news.
        arrive(&mut logs, 120, 1, 4, Ecn::Ect1);
        let report = logs.take_feedback(at(300), Ssrc(9)).unwrap();
        assert_eq!(report.streams.len(), 1);
        assert_eq!(report.streams[0].first, SeqNo16(2));
        assert_eq!(offsets(&report.streams[0]), [None, None, Some(184)]);
        assert_eq!(logs.due_at(), None);
    }

    #[test]
    fn long_lists_are_split_and_everything_is_bounded() {
        let mut logs = StreamLogs::default();
        for sequence in 0..1000 {
            arrive(&mut logs, 1, 1, sequence, Ecn::NotCapable);
            arrive(&mut logs, 1, 2, sequence, Ecn::NotCapable);
        }
        for ssrc in 3..=64 {
            assert!(arrive(&mut logs, 1, ssrc, 0, Ecn::NotCapable));
        }
        assert!(!arrive(&mut logs, 1, 65, 0, Ecn::NotCapable));
        let mut reported = 0;
        while let Some(report) = logs.take_feedback(at(200), Ssrc(9)) {
            let mut bytes = Vec::new();
            report.write(&mut bytes);
            assert!(bytes.len() < 1200, "{}", bytes.len());
            let packets = report.streams.iter().flat_map(|own| &own.packets);
            reported += packets.flatten().count();
        }
        assert_eq!(reported, 2062);
    }
}
