//! What was sent and not yet reported on, and what reports say of it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use twocan_wire::ids::Ssrc;
use twocan_wire::rtcp::{CongestionFeedback, Ecn, TransportFeedback};
use twocan_wire::seq::SeqNo16;

use super::numbered::Numbered;
use crate::tight;

/// Packets remembered; the oldest is forgotten for one more, and a late report on it is ignored.
/// Two and a half seconds at 30 Mbit/s: longer than a path that can carry a conversation.
const HISTORY_MAX: usize = 8192;

/// How long a packet is remembered that nothing was heard of, and one that a report has named: reports
/// by stream tell twice, and a packet that is late corrects what was said of it.
const HISTORY_FOR: Duration = Duration::from_secs(10);
const SETTLED_FOR: Duration = Duration::from_secs(1);

/// The same of one that has arrived where reports tell once.
const ARRIVED_FOR: Duration = Duration::from_millis(250);

/// The unit of arrival times in transport-wide feedback, in µs.
const DELTA_US: i64 = 250;

/// Deltas in a unit of the reference time, which is 64 ms.
const REFERENCE_DELTAS: i64 = 256;

/// A moment on the clock of the receiver, in µs since an epoch of its choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct RemoteTime(pub i64);

impl RemoteTime {
    /// Milliseconds from `earlier` to `self`, negative if it is the other way round.
    pub(super) fn ms_since(self, earlier: Self) -> f64 {
        self.0.saturating_sub(earlier.0) as f64 / 1000.0
    }
}

/// How a report names a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PacketKey {
    /// By its transport-wide number.
    Transport(SeqNo16),
    /// By its source and its sequence number, as RFC 8888 does.
    Rtp(Ssrc, SeqNo16),
}

/// A probe that a packet belongs to: what its estimate needs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct ProbeInfo {
    pub(super) id: u64,
    /// Packets and bytes that make the probe.
    pub(super) packets_min: usize,
    pub(super) len_min: usize,
}

/// What became of a packet.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PacketResult {
    /// A count that never wraps, in the order of sending.
    pub number: u64,
    /// When it was sent.
    pub sent_at: Instant,
    /// When it arrived, on the receiver's clock; `None` when it had not at the time of the report.
    pub received_at: Option<RemoteTime>,
    /// Its length as a UDP payload, in bytes.
    pub len: usize,
    /// Whether an earlier report said that it had not arrived.
    pub reported_lost: bool,
    /// Whether it was marked, and that counts as loss.
    pub marked: bool,
    pub(super) probe: Option<ProbeInfo>,
}

/// The shortest way there and back of packets in a report whose newest came at `newest`, less the
/// time that the receiver took to report.
pub(super) fn shortest_round_trip(
    now: Instant,
    newest: RemoteTime,
    arrived: &[(RemoteTime, PacketResult)],
) -> Option<Duration> {
    let round_trips = arrived.iter().map(|(received_at, packet)| {
        let pending = newest.0.saturating_sub(received_at.0);
        let pending = Duration::from_micros(u64::try_from(pending).unwrap_or(0));
        now.saturating_duration_since(packet.sent_at)
            .saturating_sub(pending)
    });
    round_trips.min()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Unknown,
    Lost,
    Received,
}

#[derive(Debug)]
struct Record {
    /// In ns since the first packet of all.
    sent_at: u64,
    /// What few packets have: a server keeps very many of these.
    probe: Option<Box<ProbeInfo>>,
    key: PacketKey,
    len: u32,
    fate: Fate,
}

/// The packets of one transport.
#[derive(Debug, Default)]
pub struct SentPackets {
    /// In order of their numbers, without gaps.
    records: VecDeque<Record>,
    /// When the first packet of all was sent.
    epoch: Option<Instant>,
    /// The number of the first record.
    first: u64,
    /// Unwrapped transport-wide numbers, each with its packet.
    transport: Numbered,
    rtp: BTreeMap<(u32, u16), u64>,
    /// The newest reference time, unwrapped.
    reference: Option<i64>,
    /// The newest time of a report on streams, unwrapped.
    stamp: Option<i64>,
    /// The number after the newest packet that a report was about.
    reported: u64,
}

impl SentPackets {
    /// Remembers a packet. One that is sent again under the same name keeps its first time.
    pub(super) fn insert(
        &mut self,
        now: Instant,
        key: PacketKey,
        len: usize,
        probe: Option<ProbeInfo>,
    ) {
        let number = self.first + self.records.len() as u64;
        match key {
            PacketKey::Transport(sequence) => {
                let newest = self.transport.newest();
                let own = newest.map_or(u64::from(sequence.0) + 0x1_0000, |newest| {
                    sequence.extend(newest)
                });
                if newest.is_some_and(|newest| own <= newest) {
                    return;
                }
                self.transport.push(own, number);
            }
            PacketKey::Rtp(ssrc, sequence) => {
                if self.find(key).is_some_and(|own| own.0 + 0x8000 > number) {
                    return;
                }
                self.rtp.insert((ssrc.0, sequence.0), number);
            }
        }
        let epoch = *self.epoch.get_or_insert(now);
        let sent_at = nanoseconds(now.saturating_duration_since(epoch));
        let record = Record {
            sent_at,
            probe: probe.map(Box::new),
            key,
            len: u32::try_from(len).unwrap_or(u32::MAX),
            fate: Fate::Unknown,
        };
        tight::push_back(&mut self.records, record);
        while let Some(first) = self.records.front() {
            let age = Duration::from_nanos(sent_at.saturating_sub(first.sent_at));
            let is_over = match (first.fate, first.key) {
                (Fate::Received, PacketKey::Transport(_)) => age > ARRIVED_FOR,
                (Fate::Received | Fate::Lost, _) => age > SETTLED_FOR,
                (Fate::Unknown, _) => age > HISTORY_FOR,
            };
            if !is_over && self.records.len() <= HISTORY_MAX {
                break;
            }
            self.forget_first();
        }
    }

    /// Reports on what was sent so far tell nothing any more.
    pub(super) fn settle_all(&mut self) {
        for record in &mut self.records {
            record.fate = Fate::Received;
        }
    }

    fn forget_first(&mut self) {
        let Some(record) = self.records.pop_front() else {
            return;
        };
        match record.key {
            PacketKey::Transport(_) => {
                self.transport.pop();
            }
            PacketKey::Rtp(ssrc, sequence) => {
                let name = (ssrc.0, sequence.0);
                if self.rtp.get(&name) == Some(&self.first) {
                    self.rtp.remove(&name);
                }
            }
        }
        self.first += 1;
    }

    fn find(&mut self, key: PacketKey) -> Option<(u64, &mut Record)> {
        let number = match key {
            PacketKey::Transport(sequence) => {
                let newest = self.transport.newest()?;
                self.transport.packet(sequence.extend(newest))?
            }
            PacketKey::Rtp(ssrc, sequence) => *self.rtp.get(&(ssrc.0, sequence.0))?,
        };
        let index = usize::try_from(number.checked_sub(self.first)?).ok()?;
        Some((number, self.records.get_mut(index)?))
    }

    /// What a report says that is news: packets that arrived, and those missing for the first
    /// time. Names that we do not know, or no longer, are left out and counted in the second.
    pub(super) fn resolve(
        &mut self,
        report: impl Iterator<Item = (PacketKey, Option<RemoteTime>)>,
    ) -> (Vec<PacketResult>, u64) {
        let mut results = Vec::with_capacity(report.size_hint().0);
        let mut unknown = 0;
        let Some(epoch) = self.epoch else {
            return (results, report.count() as u64);
        };
        for (key, received_at) in report {
            let Some((number, record)) = self.find(key) else {
                unknown += 1;
                continue;
            };
            let reported_lost = record.fate == Fate::Lost;
            match (record.fate, received_at) {
                (Fate::Received, _) | (Fate::Lost, None) => continue,
                (Fate::Unknown, None) => record.fate = Fate::Lost,
                (Fate::Unknown | Fate::Lost, Some(_)) => record.fate = Fate::Received,
            }
            results.push(PacketResult {
                number,
                sent_at: epoch + Duration::from_nanos(record.sent_at),
                received_at,
                len: record.len as usize,
                reported_lost,
                marked: false,
                probe: record.probe.as_deref().copied(),
            });
        }
        (results, unknown)
    }

    /// The packets before `first` that no report was about, oldest first: when each was sent, and
    /// its length. Reports follow each other without gaps, so one was lost on its way (or, with reports by
    /// stream, all that came of a stream since). What is handed out once is not handed out again, nor is anything up to `newest`.
    pub(super) fn take_unreported(&mut self, first: u64, newest: u64) -> Vec<(Instant, usize)> {
        let from = self.reported.max(self.first);
        self.reported = self.reported.max(newest + 1);
        let index = |number: u64| usize::try_from(number.saturating_sub(self.first)).ok();
        let (Some(start), Some(end)) = (index(from), index(first)) else {
            return Vec::new();
        };
        let gap = self
            .records
            .range(start.min(end)..end.min(self.records.len()));
        gap.filter(|record| record.fate == Fate::Unknown)
            .filter_map(|record| {
                let sent_at = self.epoch? + Duration::from_nanos(record.sent_at);
                Some((sent_at, record.len as usize))
            })
            .collect()
    }

    /// Reads feedback on streams as a report. Its clock wraps every 18 hours. A packet whose time of
    /// arrival is not told is left out.
    pub(super) fn stream_arrivals(
        &mut self,
        feedback: &CongestionFeedback,
    ) -> impl Iterator<Item = (PacketKey, Option<RemoteTime>)> + use<> {
        let stated = i64::from(feedback.timestamp);
        let unwrapped = self.stamp.map_or(stated, |newest| {
            // The distance in 32 bits, signed.
            newest.wrapping_add(i64::from(stated.wrapping_sub(newest) as i32))
        });
        self.stamp = Some(unwrapped);
        let written = unwrapped.saturating_mul(1_000_000) / 65_536;
        let streams = feedback.streams.iter().flat_map(|stream| {
            let arrivals = stream.arrivals();
            arrivals.map(|(sequence, packet)| (PacketKey::Rtp(stream.ssrc, sequence), packet))
        });
        let arrivals: Vec<_> = streams
            .filter_map(|(key, packet)| {
                let Some(packet) = packet else {
                    return Some((key, None));
                };
                let offset = i64::from(packet.offset.units()?).saturating_mul(1_000_000) / 1024;
                Some((key, Some(RemoteTime(written.saturating_sub(offset)))))
            })
            .collect();
        arrivals.into_iter()
    }

    /// The numbers of packets that a report on streams tells of as marked, and that were not known to
    /// have arrived.
    pub(super) fn marked(&mut self, feedback: &CongestionFeedback) -> BTreeSet<u64> {
        let streams = feedback.streams.iter().flat_map(|stream| {
            let arrivals = stream.arrivals();
            arrivals.map(|(sequence, packet)| (PacketKey::Rtp(stream.ssrc, sequence), packet))
        });
        let mut marked = BTreeSet::new();
        for (key, packet) in streams {
            let is_marked = packet.is_some_and(|own| own.ecn == Ecn::CongestionExperienced);
            let found = self.find(key).filter(|_| is_marked);
            let news = found.filter(|(_, own)| own.fate != Fate::Received);
            marked.extend(news.map(|(number, _)| number));
        }
        marked
    }

    /// Reads transport-wide feedback as a report. Its clock wraps every 12 days.
    pub(super) fn arrivals(
        &mut self,
        feedback: &TransportFeedback,
    ) -> impl Iterator<Item = (PacketKey, Option<RemoteTime>)> + use<> {
        let stated = i64::from(feedback.reference_time);
        let unwrapped = self.reference.map_or(stated, |newest| {
            // The distance in 24 bits, signed.
            newest + ((stated.wrapping_sub(newest) << 40) >> 40)
        });
        self.reference = Some(unwrapped);
        let shift = unwrapped
            .wrapping_sub(stated)
            .wrapping_mul(REFERENCE_DELTAS);
        let arrivals: Vec<_> = feedback
            .arrivals()
            .map(|(sequence, time)| {
                let time = time.map(|time| RemoteTime((time + shift).saturating_mul(DELTA_US)));
                (PacketKey::Transport(sequence), time)
            })
            .collect();
        arrivals.into_iter()
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use twocan_wire::rtcp::{ArrivalOffset, PacketArrival, StreamArrivals};

    use super::*;
    use crate::congestion::tests::instant;

    fn transport(number: u16) -> PacketKey {
        PacketKey::Transport(SeqNo16(number))
    }

    #[test]
    fn a_packet_is_reported_lost_once_and_received_once() {
        let start = instant();
        let mut sent = SentPackets::default();
        for number in [65_534, 65_535, 0, 1] {
            let at = start + Duration::from_millis(u64::from(number & 3));
            sent.insert(at, transport(number), 100, None);
        }
        let report = |time| [(transport(65_535), None), (transport(0), time)].into_iter();
        let (results, unknown) = sent.resolve(report(Some(RemoteTime(7))));
        let numbers: Vec<_> = results
            .iter()
            .map(|own| (own.number, own.received_at))
            .collect();
        assert_eq!(numbers, [(1, None), (2, Some(RemoteTime(7)))]);
        assert_eq!(unknown, 0);
        assert_eq!(sent.resolve(report(Some(RemoteTime(8)))).0, []);
        let late = [
            (transport(65_535), Some(RemoteTime(9))),
            (transport(2), None),
        ];
        let (results, unknown) = sent.resolve(late.into_iter());
        assert_eq!(results.len(), 1);
        assert!(results[0].reported_lost && results[0].received_at == Some(RemoteTime(9)));
        assert_eq!(unknown, 1);
    }

    #[test]
    fn what_a_report_has_named_is_forgotten_before_what_none_has() {
        let start = instant();
        let mut sent = SentPackets::default();
        let at = |number: u16| start + Duration::from_millis(100 * u64::from(number));
        let report = |numbers: std::ops::Range<u16>| {
            numbers.map(|number| (transport(number), Some(RemoteTime(i64::from(number)))))
        };
        for number in 0..20 {
            sent.insert(at(number), transport(number), 100, None);
        }
        sent.resolve(report(0..19));
        sent.insert(at(20), transport(20), 100, None);
        assert_eq!(sent.records.len(), 3, "those of the last 250 ms");
        assert_eq!(sent.resolve(report(17..19)).1, 1, "one is forgotten");
        for number in 21..110 {
            sent.insert(at(number), transport(number), 100, None);
        }
        // The first that nothing was heard of holds those behind it.
        let front = sent.records.front().map(|own| own.sent_at);
        assert_eq!(front, Some(1_900_000_000));
        assert_eq!(sent.resolve(report(19..20)).0.len(), 1);
    }

    #[test]
    fn what_a_lost_report_was_about_is_handed_out_once() {
        let start = instant();
        let mut sent = SentPackets::default();
        let at = |number: u16| start + Duration::from_millis(u64::from(number));
        for number in 0..10 {
            sent.insert(at(number), transport(number), 100, None);
        }
        let report = |numbers: std::ops::Range<u16>| {
            numbers.map(|number| (transport(number), Some(RemoteTime(i64::from(number)))))
        };
        sent.resolve(report(0..3));
        assert_eq!(sent.take_unreported(0, 2), []);
        sent.resolve(report(5..7));
        assert_eq!(sent.take_unreported(5, 6), [(at(3), 100), (at(4), 100)]);
        assert_eq!(sent.take_unreported(5, 6), []);
        // It was late and not lost.
        assert_eq!(sent.resolve(report(3..5)).0.len(), 2);
        assert_eq!(sent.take_unreported(3, 4), []);
        sent.resolve(report(7..10));
        assert_eq!(sent.take_unreported(7, 9), []);
    }

    #[test]
    fn reports_by_source_find_the_same_packets() {
        let mut sent = SentPackets::default();
        let key = |sequence| PacketKey::Rtp(Ssrc(5), SeqNo16(sequence));
        sent.insert(instant(), key(9), 100, None);
        sent.insert(instant(), transport(9), 200, None);
        sent.insert(instant(), key(10), 300, None);
        let report = [(key(10), Some(RemoteTime(1))), (transport(9), None)];
        let (results, _) = sent.resolve(report.into_iter());
        let lens: Vec<_> = results.iter().map(|own| own.len).collect();
        assert_eq!(lens, [300, 200]);
    }

    #[test]
    fn times_of_reports_on_streams_count_back_from_the_report_and_wrap() {
        let mut sent = SentPackets::default();
        let feedback = |timestamp, offset| CongestionFeedback {
            sender: Ssrc(1),
            streams: vec![StreamArrivals {
                ssrc: Ssrc(5),
                first: SeqNo16(65_535),
                packets: vec![
                    None,
                    Some(PacketArrival {
                        ecn: Ecn::NotCapable,
                        offset,
                    }),
                ],
            }],
            timestamp,
        };
        let key = |sequence| PacketKey::Rtp(Ssrc(5), SeqNo16(sequence));
        let before = feedback(0xffff_8000, ArrivalOffset::new(512));
        let before: Vec<_> = sent.stream_arrivals(&before).collect();
        assert_eq!(before[0], (key(65_535), None));
        // Half a second later by the clock, a quarter more by the offset.
        let after = feedback(0, ArrivalOffset::new(256));
        let after: Vec<_> = sent.stream_arrivals(&after).collect();
        let time = |report: &[(PacketKey, Option<RemoteTime>)]| report[1].1.unwrap().0;
        assert_eq!(after[1].0, key(0));
        assert_eq!(time(&after) - time(&before), 750_000);
        let untold = feedback(0, ArrivalOffset::UNKNOWN);
        assert_eq!(sent.stream_arrivals(&untold).count(), 1);
    }

    #[test]
    fn what_is_kept_of_a_packet_is_small() {
        // A server keeps some 300 of them for each viewer of a picture.
        assert!(size_of::<Record>() <= 32);
    }

    #[test]
    fn the_history_is_bounded() {
        let mut sent = SentPackets::default();
        for number in 0..3 * HISTORY_MAX {
            let low = SeqNo16((number & 0xffff) as u16);
            let key = match number % 2 {
                0 => PacketKey::Transport(SeqNo16(low.0 / 2)),
                _ => PacketKey::Rtp(Ssrc(1), low),
            };
            sent.insert(instant(), key, 1, None);
        }
        assert_eq!(sent.records.len(), HISTORY_MAX);
        assert_eq!(sent.transport.len() as usize + sent.rtp.len(), HISTORY_MAX);
        let gone = [(PacketKey::Transport(SeqNo16(1)), Some(RemoteTime(0)))];
        assert_eq!(sent.resolve(gone.into_iter()), (Vec::new(), 1));
    }

    #[test]
    fn the_reference_time_wraps() {
        let mut sent = SentPackets::default();
        let feedback = |reference_time| TransportFeedback {
            sender: Ssrc(1),
            media: Ssrc(2),
            base: SeqNo16(0),
            reference_time,
            count: 0,
            deltas: vec![Some(4)],
        };
        let time = |sent: &mut SentPackets, reference| {
            let first = sent.arrivals(&feedback(reference)).next();
            first.and_then(|(_, time)| time).unwrap().0
        };
        let before = time(&mut sent, (1 << 23) - 1);
        let after = time(&mut sent, -(1 << 23));
        assert_eq!(after - before, 64_000);
    }
}
