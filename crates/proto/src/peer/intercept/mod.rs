//! Packets that the application sees on their way, and may change, drop or add: beneath everything
//! that makes or takes them, above encryption.
//!
//! ```text
//!  frames, packets, reports          frames, packets, reports
//!            │                                  ▲
//!  FEC, RTX, cache, numbers          jitter, RTX undone, NACK
//!  pacer, statistics                 arrivals for feedback, statistics
//!            │                                  │
//!     Interceptor::outgoing_…           Interceptor::incoming_…
//!            │                                  │
//!          SRTP ──────────── network ───────► SRTP
//! ```

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use twocan_wire::ids::Ssrc;
use twocan_wire::rtcp;
use twocan_wire::rtp::Header;

use super::DATAGRAM_LEN_MAX;
use super::transport::Transport;
use crate::counters::Counters;
use crate::rtp::Departure;
use crate::time::{Deadline, Now};

/// The longest packet that an interceptor may make to be sent, in bytes: with what SRTP and SRTCP
/// add it fits [`DATAGRAM_LEN_MAX`]. One that was longer before may stay as long.
pub const INTERCEPTED_LEN_MAX: usize = DATAGRAM_LEN_MAX - 20;

/// The longest that it may make of one that arrived, in bytes.
const INCOMING_LEN_MAX: usize = 1500;

/// Packets that it added and that wait for their turn, each way; further ones are dropped.
const ADDED_MAX: usize = 256;

/// An interceptor is called no more often than this on account of its deadline.
const TURN_MIN: Duration = Duration::from_millis(1);

/// What becomes of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It goes on, as it is now.
    Pass,
    /// It goes no further.
    Drop,
}

/// Sees the packets of a connection, in the clear, and may change, drop or add some. Not in the
/// standard.
///
/// All methods have a default that passes everything. Packets are whole: RTP with its header (RFC
/// 3550 §5.1), RTCP as the compound packet or the reduced one (RFC 5506) that one datagram carries.
/// Calls come in the order of the packets, from the thread that drives the connection, which waits
/// for them.
///
/// **Outgoing RTP** is asked about last before encryption. Retransmissions (RTX), FEC and padding
/// were made before, of what the application sent: they come by as packets of their own, and an
/// interceptor that changes media is to change them alike. What it makes of a packet may be
/// [`INTERCEPTED_LEN_MAX`] bytes long, and must keep the source and the sequence number, under which
/// SRTP encrypts no two contents (RFC 3711 §9.1); anything else is dropped and counted. For the same
/// reason a packet that it changed or dropped is not sent a second time where the other side has
/// agreed to no RTX; others then go again without being asked about. The statistics of the sender
/// count what it made, even of what is dropped here; congestion control counts what really leaves,
/// and does not take what is dropped here for lost on the way.
///
/// **Incoming RTP** is asked about first after decryption. What is dropped is as lost on the way: it
/// is asked for again, reported as lost, and not reported to the other side's congestion control as
/// arrived. The statistics of the receiver count what was passed.
///
/// **RTCP** of both directions: feedback, reports, requests for key frames. What is dropped of
/// feedback slows media down, as it would were it lost.
#[expect(
    unused_variables,
    reason = "what is overridden has use for the arguments"
)]
pub trait Interceptor: fmt::Debug + Send {
    /// A packet of RTP is about to leave.
    fn outgoing_rtp(&mut self, now: Now, packet: &mut Vec<u8>, added: &mut Added) -> Verdict {
        Verdict::Pass
    }

    /// A packet of RTP has arrived.
    fn incoming_rtp(&mut self, now: Now, packet: &mut Vec<u8>, added: &mut Added) -> Verdict {
        Verdict::Pass
    }

    /// Reports or feedback are about to leave.
    fn outgoing_rtcp(&mut self, now: Now, packet: &mut Vec<u8>, added: &mut Added) -> Verdict {
        Verdict::Pass
    }

    /// Reports or feedback have arrived.
    fn incoming_rtcp(&mut self, now: Now, packet: &mut Vec<u8>, added: &mut Added) -> Verdict {
        Verdict::Pass
    }

    /// When [`Self::handle_timeout`] is to be called; `None` for never. Asked after each call; counts
    /// while media can be sent.
    fn deadline(&self) -> Option<Instant> {
        None
    }

    /// The deadline has passed.
    fn handle_timeout(&mut self, now: Now, added: &mut Added) {}
}

/// Makes an interceptor for each connection.
#[derive(Clone)]
pub struct InterceptorFactory(Arc<dyn Fn() -> Box<dyn Interceptor> + Send + Sync>);

impl InterceptorFactory {
    /// One that calls `make` for each connection.
    pub fn new<I: Interceptor + 'static>(make: impl Fn() -> I + Send + Sync + 'static) -> Self {
        Self(Arc::new(move || Box::new(make())))
    }
}

impl fmt::Debug for InterceptorFactory {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("InterceptorFactory")
    }
}

/// Packets that an interceptor adds. It is not asked about them. While 256 wait in a direction,
/// further ones are dropped and counted.
#[derive(Debug, Default)]
pub struct Added {
    outgoing: VecDeque<(PacketKind, Vec<u8>)>,
    incoming: VecDeque<(PacketKind, Vec<u8>)>,
    refused: u64,
}

/// What an added packet is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PacketKind {
    Rtp,
    Rtcp,
}

impl Added {
    /// Sends a packet of RTP, ahead of media that waits for its turn. Its source must be none of the
    /// connection's own, its sequence numbers must rise by less than 32,768 each, and it has no
    /// transport-wide number. Otherwise it is dropped and counted.
    pub fn outgoing_rtp(&mut self, packet: Vec<u8>) {
        self.refused += Self::push(&mut self.outgoing, PacketKind::Rtp, packet);
    }

    /// Sends RTCP: one packet, or several as a compound.
    pub fn outgoing_rtcp(&mut self, packet: Vec<u8>) {
        self.refused += Self::push(&mut self.outgoing, PacketKind::Rtcp, packet);
    }

    /// Hands in a packet of RTP as if it had arrived now.
    pub fn incoming_rtp(&mut self, packet: Vec<u8>) {
        self.refused += Self::push(&mut self.incoming, PacketKind::Rtp, packet);
    }

    /// Hands in RTCP as if it had arrived now.
    pub fn incoming_rtcp(&mut self, packet: Vec<u8>) {
        self.refused += Self::push(&mut self.incoming, PacketKind::Rtcp, packet);
    }

    fn push(queue: &mut VecDeque<(PacketKind, Vec<u8>)>, kind: PacketKind, packet: Vec<u8>) -> u64 {
        if queue.len() >= ADDED_MAX {
            return 1;
        }
        queue.push_back((kind, packet));
        0
    }
}

/// An interceptor and what it has said.
#[derive(Debug)]
pub(super) struct Interception {
    interceptor: Box<dyn Interceptor>,
    added: Added,
    /// The packet in hand.
    packet: Vec<u8>,
    /// By source, the numbers whose last packet was changed or dropped: a bit for each.
    altered: BTreeMap<Ssrc, Box<[u64; 1024]>>,
    /// When its deadline counts again.
    not_before: Option<Instant>,
    /// When packets were added that may wait still.
    added_at: Option<Instant>,
    pub(super) counters: Counters,
}

impl Interception {
    pub(super) fn new(factory: &InterceptorFactory) -> Self {
        Self {
            interceptor: (factory.0)(),
            added: Added::default(),
            packet: Vec::new(),
            altered: BTreeMap::new(),
            not_before: None,
            added_at: None,
            counters: Counters::default(),
        }
    }

    /// Asks about the packet from `start` to the end of `out`; answers whether it goes on.
    #[cold]
    pub(super) fn outgoing_rtp(
        &mut self,
        now: Now,
        departure: &Departure,
        out: &mut Vec<u8>,
        start: usize,
    ) -> bool {
        if departure.is_repeated {
            let altered = self.is_altered(departure);
            if altered {
                self.counters.count("interceptor.altered_not_repeated");
            }
            return !altered;
        }
        let before = out.get(start..).unwrap_or_default();
        let len_max = INTERCEPTED_LEN_MAX.max(before.len());
        self.take(before);
        let verdict = self
            .interceptor
            .outgoing_rtp(now, &mut self.packet, &mut self.added);
        self.settle_added(now);
        if verdict == Verdict::Pass && self.packet == before {
            self.note(departure, false);
            return true;
        }
        self.note(departure, true);
        if verdict == Verdict::Drop {
            self.counters.count("interceptor.outgoing_dropped");
            return false;
        }
        let refusal = match Header::parse(&self.packet) {
            _ if self.packet.len() > len_max => Some("interceptor.too_long"),
            Err(_) => Some("interceptor.bad_rtp"),
            Ok(header) if header.payload(&self.packet).is_err() => Some("interceptor.bad_rtp"),
            Ok(header)
                if header.ssrc != departure.ssrc
                    || header.sequence_number != departure.sequence_number =>
            {
                Some("interceptor.renumbered")
            }
            Ok(_) => None,
        };
        if let Some(reason) = refusal {
            self.counters.count(reason);
            return false;
        }
        out.truncate(start);
        out.extend_from_slice(&self.packet);
        true
    }

    /// The same of RTCP.
    #[cold]
    pub(super) fn outgoing_rtcp(&mut self, now: Now, out: &mut Vec<u8>, start: usize) -> bool {
        let before = out.get(start..).unwrap_or_default();
        let len_max = INTERCEPTED_LEN_MAX.max(before.len());
        self.take(before);
        let verdict = self
            .interceptor
            .outgoing_rtcp(now, &mut self.packet, &mut self.added);
        self.settle_added(now);
        if verdict == Verdict::Drop {
            self.counters.count("interceptor.outgoing_dropped");
            return false;
        }
        if self.packet == before {
            return true;
        }
        if let Some(reason) = rtcp_refusal(&self.packet, len_max) {
            self.counters.count(reason);
            return false;
        }
        out.truncate(start);
        out.extend_from_slice(&self.packet);
        true
    }

    /// Asks about a packet that arrived; answers what goes on.
    pub(super) fn incoming_rtp(&mut self, now: Now, packet: &[u8]) -> Option<&[u8]> {
        self.take(packet);
        let verdict = self
            .interceptor
            .incoming_rtp(now, &mut self.packet, &mut self.added);
        self.settle_added(now);
        self.arrived(verdict, packet.len())
    }

    /// The same of RTCP.
    pub(super) fn incoming_rtcp(&mut self, now: Now, packet: &[u8]) -> Option<&[u8]> {
        self.take(packet);
        let verdict = self
            .interceptor
            .incoming_rtcp(now, &mut self.packet, &mut self.added);
        self.settle_added(now);
        self.arrived(verdict, packet.len())
    }

    fn arrived(&mut self, verdict: Verdict, len: usize) -> Option<&[u8]> {
        if verdict == Verdict::Drop {
            self.counters.count("interceptor.incoming_dropped");
            return None;
        }
        if self.packet.len() > INCOMING_LEN_MAX.max(len) {
            self.counters.count("interceptor.too_long");
            return None;
        }
        // What else is wrong with it shows where it is read.
        Some(&self.packet)
    }

    /// Whether there are packets to send.
    pub(super) fn has_outgoing(&self) -> bool {
        !self.added.outgoing.is_empty()
    }

    /// Writes the next packet that was added; those that are none are counted. `is_own` knows the
    /// sources of the connection.
    pub(super) fn poll_outgoing(
        &mut self,
        out: &mut Vec<u8>,
        is_own: impl Fn(Ssrc) -> bool,
    ) -> Option<PacketKind> {
        while let Some((kind, packet)) = self.added.outgoing.pop_front() {
            let checked = match kind {
                PacketKind::Rtcp => rtcp_refusal(&packet, INTERCEPTED_LEN_MAX).map_or(Ok(()), Err),
                PacketKind::Rtp => match Header::parse(&packet) {
                    _ if packet.len() > INTERCEPTED_LEN_MAX => Err("interceptor.too_long"),
                    Ok(header) if is_own(header.ssrc) => Err("interceptor.own_source"),
                    Ok(header) if header.payload(&packet).is_ok() => Ok(()),
                    Ok(_) | Err(_) => Err("interceptor.bad_rtp"),
                },
            };
            match checked {
                Ok(()) => {
                    out.extend_from_slice(&packet);
                    return Some(kind);
                }
                Err(reason) => self.counters.count(reason),
            }
        }
        None
    }

    fn deadline(&self) -> Option<Instant> {
        let own = self.interceptor.deadline();
        let own = own.map(|at| self.not_before.map_or(at, |least| at.max(least)));
        let waits = self.has_outgoing() || !self.added.incoming.is_empty();
        match (own, self.added_at.filter(|_| waits)) {
            (Some(own), Some(added)) => Some(own.min(added)),
            (own, added) => own.or(added),
        }
    }

    fn handle_timeout(&mut self, now: Now) {
        let due = self.interceptor.deadline();
        let due = due.map(|at| self.not_before.map_or(at, |least| at.max(least)));
        if due.is_none_or(|at| at > now.monotonic) {
            return;
        }
        self.not_before = Some(now.monotonic + TURN_MIN);
        self.interceptor.handle_timeout(now, &mut self.added);
        self.settle_added(now);
    }

    fn take(&mut self, packet: &[u8]) {
        self.packet.clear();
        self.packet.extend_from_slice(packet);
    }

    fn settle_added(&mut self, now: Now) {
        let refused = std::mem::take(&mut self.added.refused);
        if refused > 0 {
            self.counters.add("interceptor.too_many", refused);
        }
        // The driver is to come back, even where nothing else is due.
        self.added_at = Some(now.monotonic);
    }

    fn note(&mut self, departure: &Departure, altered: bool) {
        let numbers = self
            .altered
            .entry(departure.ssrc)
            .or_insert_with(|| Box::new([0; 1024]));
        let (word, bit) = place(departure);
        if let Some(word) = numbers.get_mut(word) {
            *word = (*word & !bit) | if altered { bit } else { 0 };
        }
    }

    fn is_altered(&self, departure: &Departure) -> bool {
        let (word, bit) = place(departure);
        let numbers = self.altered.get(&departure.ssrc);
        let word = numbers.and_then(|own| own.get(word));
        word.is_some_and(|own| own & bit != 0)
    }
}

/// Where a number has its bit.
fn place(departure: &Departure) -> (usize, u64) {
    let number = departure.sequence_number.0;
    (usize::from(number / 64), 1 << (number % 64))
}

/// What is wrong with something that is to be sent as RTCP.
fn rtcp_refusal(packet: &[u8], len_max: usize) -> Option<&'static str> {
    if packet.len() > len_max {
        return Some("interceptor.too_long");
    }
    let whole = packet.len() >= 8 && rtcp::packets(packet).all(|one| one.is_ok());
    (!whole).then_some("interceptor.bad_rtcp")
}

impl Transport {
    /// Whether an interceptor has added packets that are to be sent.
    pub(super) fn adds_packets(&self) -> bool {
        let interception = self.interception.as_ref();
        interception.is_some_and(|own| own.has_outgoing())
    }

    /// When an interceptor wants its turn; it has some while media can be sent.
    pub(super) fn interception_deadline(&self) -> Option<Deadline> {
        let interception = self.interception.as_ref()?;
        self.ice.route()?;
        let at = interception.deadline()?;
        Some(Deadline::new(at, "interceptor"))
    }

    /// Gives an interceptor its turn, if it is due, and takes what it added to the packets that
    /// arrived.
    pub(super) fn interception_timeout(&mut self, now: Now) {
        let ready = self.has_keys() && self.ice.route().is_some();
        if let Some(interception) = self.interception.as_mut().filter(|_| ready) {
            interception.handle_timeout(now);
        }
        self.take_added(now);
    }

    /// Takes what an interceptor added to the packets that arrived.
    pub(super) fn take_added(&mut self, now: Now) {
        let Some(interception) = &mut self.interception else {
            return;
        };
        if interception.added.incoming.is_empty() {
            return;
        }
        for (kind, packet) in interception.added.incoming.drain(..) {
            if packet.len() > INCOMING_LEN_MAX {
                interception.counters.count("interceptor.too_long");
                continue;
            }
            match kind {
                PacketKind::Rtp => self.rtp.handle_rtp(now, &packet),
                PacketKind::Rtcp => self.rtp.handle_rtcp(now, &packet),
            }
        }
        self.take_feedback(now);
    }
}

#[cfg(test)]
mod tests;
