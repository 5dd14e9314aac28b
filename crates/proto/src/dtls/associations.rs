//! DTLS of a server with clients that nobody has described (RFC 7350): whoever comes is taken, and
//! may check the server's certificate.
//!
//! - An address that sends a ClientHello gets a small request to show a cookie, and nothing more
//!   before it has: no more requests than it has sent hellos, none of them longer than these. The
//!   engine has the cookie's secret, one for each handshake, and so the state of a handshake is kept
//!   for a source that may be forged. How many there are is bounded ([`Bounds`]); where there is no
//!   room for another, the oldest without a cookie makes way. A client that knows DTLS 1.0 alone is
//!   told so by an alert, and leaves nothing.
//! - A client that begins anew from an address that has an association proves its address in the
//!   same way, beside the old association, which ends when the new handshake is complete (RFC 6347
//!   §4.2.8).
//! - What ends an association is authenticated: the client's `close_notify`, or that nobody wants it
//!   any more ([`Associations::handle_timeout`]).

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use super::record::{CHANGE_CIPHER_SPEC, HANDSHAKE, Hello, PROTOCOL_VERSION_ALERT, Part, records};
use super::{Certificate, Connection, Event, Role, Settings};
use crate::contract::Path;
use crate::counters::Counters;
use crate::time::Deadline;

/// How long a handshake may take.
const HANDSHAKE_PATIENCE: Duration = Duration::from_secs(10);

/// How often it is asked whether an association is still wanted.
const WANTED_EVERY: Duration = Duration::from_secs(30);

/// Longest data of a record (RFC 8446 §5.1), in bytes.
const RECORD_LEN_MAX: usize = 1 << 14;

/// Datagrams of handshakes that wait to be polled.
const OUT_MAX: usize = 1024;

/// Associations that a client has ended and nobody has polled.
const CLOSED_MAX: usize = 1024;

/// No timer is looked at more often.
const TIMER_STEP: Duration = Duration::from_millis(1);

/// The server's end, and the client.
pub type FiveTuple = (Path, SocketAddr);

/// How many there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Handshakes at a time. Default 512.
    pub handshakes: usize,
    /// The same of one address, or one /64 of IPv6. Default 32.
    pub handshakes_per_address: usize,
    /// Associations, those in a handshake counted; no more are made. Default 10,000.
    pub associations: usize,
    /// The same of one address, or one /64 of IPv6. Default 1,000.
    pub associations_per_address: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            handshakes: 512,
            handshakes_per_address: 32,
            associations: 10_000,
            associations_per_address: 1000,
        }
    }
}

/// A handshake under way.
struct Handshake {
    number: u64,
    connection: Connection,
    ends: Instant,
    /// Whether the client has shown the cookie.
    has_cookie: bool,
    /// Hellos that were not answered by a request for it.
    unanswered: u32,
}

/// What there is of a client.
#[derive(Default)]
struct Association {
    connected: Option<Connection>,
    handshake: Option<Handshake>,
    /// When it is asked whether it is wanted; of one that is connected.
    ask_at: Option<Instant>,
    /// What is in the table of timers.
    timer: Option<Instant>,
}

/// All clients of a server.
pub struct Associations {
    settings: Settings,
    certificate: Certificate,
    bounds: Bounds,
    entries: BTreeMap<FiveTuple, Association>,
    of_prefix: BTreeMap<IpAddr, usize>,
    /// Handshakes: those without a cookie first, and of them the oldest.
    handshakes: BTreeMap<(bool, u64), FiveTuple>,
    handshakes_of_prefix: BTreeMap<IpAddr, usize>,
    timers: BTreeSet<(Instant, FiveTuple)>,
    out: VecDeque<(FiveTuple, Vec<u8>)>,
    closed: VecDeque<FiveTuple>,
    made: u64,
    counters: Counters,
}

impl Associations {
    /// None yet. The settings are those [of a server](Settings::of_server), which
    /// [can prove](Settings::can_prove) to have the certificate.
    pub fn new(settings: Settings, certificate: Certificate, bounds: Bounds) -> Self {
        Self {
            settings,
            certificate,
            bounds,
            entries: BTreeMap::new(),
            of_prefix: BTreeMap::new(),
            handshakes: BTreeMap::new(),
            handshakes_of_prefix: BTreeMap::new(),
            timers: BTreeSet::new(),
            out: VecDeque::new(),
            closed: VecDeque::new(),
            made: 0,
            counters: Counters::default(),
        }
    }

    /// Shows another certificate from the next handshake on.
    pub fn set_certificate(&mut self, certificate: Certificate) {
        self.certificate = certificate;
    }

    /// Takes a datagram of a client; `deliver` is called with the data of each record, once the
    /// handshake is complete.
    pub fn handle_datagram(
        &mut self,
        now: Instant,
        of: FiveTuple,
        bytes: &[u8],
        deliver: &mut dyn FnMut(&[u8]),
    ) {
        let opening = opening(bytes);
        if opening.as_ref().is_some_and(Hello::is_outdated) {
            self.counters.count("dtls.outdated");
            if self.out.len() < OUT_MAX {
                self.out.push_back((of, PROTOCOL_VERSION_ALERT.to_vec()));
            }
            return;
        }
        let begins = match (self.entries.get(&of), &opening) {
            (None, None) => return self.counters.count("dtls.of_nobody"),
            (None, Some(_)) => true,
            (Some(entry), Some(hello)) if entry.handshake.is_none() => {
                let mut connected = entry.connected.iter();
                if connected.any(|own| own.knows(hello)) {
                    // Its own, once more: the network was slow.
                    return self.counters.count("dtls.late_hello");
                }
                true
            }
            _ => false,
        };
        if begins && !self.open(now, of) {
            return;
        }
        let Some(entry) = self.entries.get_mut(&of) else {
            return;
        };
        let is_in_the_clear = records(bytes).next().is_some_and(|record| {
            matches!(record.plain_type(), Some(HANDSHAKE | CHANGE_CIPHER_SPEC))
        });
        let is_for_handshake = is_in_the_clear && entry.handshake.is_some();
        if let Some(connected) = entry.connected.as_mut().filter(|_| !is_for_handshake) {
            connected.handle_datagram(now, bytes, deliver);
        }
        if let Some(handshake) = &mut entry.handshake {
            handshake.unanswered += u32::from(opening.is_some());
            // What comes with the end of one that takes an association's place is of another client, of
            // whom nobody has been told yet.
            let takes_a_place = entry.connected.is_some();
            let mut deliver = |data: &[u8]| match takes_a_place {
                true => {}
                false => deliver(data),
            };
            handshake
                .connection
                .handle_datagram(now, bytes, &mut deliver);
        }
        self.settle(now, of);
    }

    /// Encrypts `data`, of up to 16,384 bytes, as one record and appends the datagram to `out`.
    /// Answers `false`, and appends nothing, where there is no such association.
    pub fn send(&mut self, now: Instant, of: FiveTuple, data: &[u8], out: &mut Vec<u8>) -> bool {
        let entry = self.entries.get_mut(&of);
        let connected = entry.and_then(|entry| entry.connected.as_mut());
        let Some(connected) = connected.filter(|_| data.len() <= RECORD_LEN_MAX) else {
            self.counters.count("dtls.not_sent");
            return false;
        };
        let is_sent = connected.send(now, data, out);
        self.settle(now, of);
        is_sent
    }

    /// Acts on whatever time has brought. `is_wanted` is asked every 30 s of each association
    /// whether anybody still has a use for it; if not, it is closed.
    pub fn handle_timeout(&mut self, now: Instant, is_wanted: &mut dyn FnMut(&FiveTuple) -> bool) {
        while let Some((at, of)) = self.timers.first().copied().filter(|(at, _)| *at <= now) {
            self.timers.remove(&(at, of));
            let Some(entry) = self.entries.get_mut(&of) else {
                continue;
            };
            entry.timer = None;
            if entry.ask_at.is_some_and(|at| at <= now)
                && let Some(connected) = &mut entry.connected
            {
                entry.ask_at = Some(now + WANTED_EVERY);
                if !is_wanted(&of) {
                    self.counters.count("dtls.unwanted");
                    connected.close(now);
                }
            }
            if let Some(connected) = &mut entry.connected {
                connected.handle_timeout(now);
            }
            match &mut entry.handshake {
                Some(handshake) if handshake.ends <= now => {
                    self.counters.count("dtls.handshake_late");
                    self.give_up(&of);
                }
                Some(handshake) => handshake.connection.handle_timeout(now),
                None => {}
            }
            self.settle(now, of);
        }
    }

    /// Appends the next datagram of a handshake to `out`; answers between whom it is.
    pub fn poll_transmit(&mut self, out: &mut Vec<u8>) -> Option<FiveTuple> {
        let (of, datagram) = self.out.pop_front()?;
        out.extend_from_slice(&datagram);
        Some(of)
    }

    /// The next association that is over: its client has ended it, or it has failed, or whoever is at its
    /// address now has begun another. To be taken after each datagram: what the next one brings may be of
    /// another client.
    pub fn poll_closed(&mut self) -> Option<FiveTuple> {
        self.closed.pop_front()
    }

    /// When to call [`Self::handle_timeout`].
    pub fn poll_timeout(&self) -> Option<Deadline> {
        let first = self.timers.first();
        first.map(|(at, _)| Deadline::new(*at, "dtls.associations"))
    }

    /// How many associations there are, those in a handshake counted.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How many handshakes are under way.
    pub fn handshake_count(&self) -> usize {
        self.handshakes.len()
    }

    /// What was dropped or refused, by reason; of associations that have ended, all of it.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Begins a handshake, where there is room for it.
    fn open(&mut self, now: Instant, of: FiveTuple) -> bool {
        let prefix = prefix(of.1.ip());
        let count = |counts: &BTreeMap<IpAddr, usize>| counts.get(&prefix).copied().unwrap_or(0);
        let is_new = !self.entries.contains_key(&of);
        let has_enough = self.entries.len() >= self.bounds.associations
            || count(&self.of_prefix) >= self.bounds.associations_per_address;
        if is_new && has_enough {
            self.counters.count("dtls.too_many_associations");
            return false;
        }
        let has_enough = count(&self.handshakes_of_prefix) >= self.bounds.handshakes_per_address;
        if has_enough || self.handshakes.len() >= self.bounds.handshakes {
            let same = |of: &FiveTuple| !has_enough || self::prefix(of.1.ip()) == prefix;
            // Not those that have shown the cookie: each new one would cost a signature.
            let mut unproven = self.handshakes.iter().filter(|((shown, _), _)| !shown);
            let oldest = unproven.find(|(_, of)| same(of)).map(|(_, of)| *of);
            self.counters.count("dtls.too_many_handshakes");
            let Some(oldest) = oldest else {
                return false;
            };
            self.give_up(&oldest);
            self.settle(now, oldest);
        }
        let mut connection = Connection::new(&self.settings, &self.certificate, now);
        connection.expect_anyone(now);
        connection.start(now, Role::Server);
        self.made += 1;
        let number = self.made;
        self.handshakes.insert((false, number), of);
        *self.handshakes_of_prefix.entry(prefix).or_default() += 1;
        if !self.entries.contains_key(&of) {
            *self.of_prefix.entry(prefix).or_default() += 1;
        }
        let entry = self.entries.entry(of).or_default();
        entry.handshake = Some(Handshake {
            number,
            connection,
            ends: now + HANDSHAKE_PATIENCE,
            has_cookie: false,
            unanswered: 0,
        });
        true
    }

    /// Takes a handshake out of the books; answers its connection.
    fn take_handshake(&mut self, of: &FiveTuple) -> Option<Connection> {
        let handshake = self.entries.get_mut(of)?.handshake.take()?;
        self.handshakes
            .remove(&(handshake.has_cookie, handshake.number));
        less(&mut self.handshakes_of_prefix, prefix(of.1.ip()));
        Some(handshake.connection)
    }

    /// Ends a handshake.
    fn give_up(&mut self, of: &FiveTuple) {
        if let Some(gone) = self.take_handshake(of) {
            self.counters.merge(gone.counters());
        }
    }

    /// Takes what the connections of a client have, and forgets it where none is left.
    fn settle(&mut self, now: Instant, of: FiveTuple) {
        self.settle_handshake(now, of);
        let Some(entry) = self.entries.get_mut(&of) else {
            return;
        };
        if let Some(connected) = &mut entry.connected {
            collect(connected, of, &mut self.out, &mut self.counters);
            let mut is_over = !connected.is_connected();
            while let Some(event) = connected.poll_event() {
                is_over |= matches!(event, Event::Closed | Event::Failed(_));
            }
            if is_over {
                note_closed(&mut self.closed, of);
                self.counters.merge(connected.counters());
                (entry.connected, entry.ask_at) = (None, None);
            }
        }
        if entry.connected.is_none() && entry.handshake.is_none() {
            if let Some(at) = entry.timer {
                self.timers.remove(&(at, of));
            }
            self.entries.remove(&of);
            return less(&mut self.of_prefix, prefix(of.1.ip()));
        }
        let handshake = entry.handshake.as_ref();
        let deadlines = [
            entry.ask_at,
            entry.connected.as_ref().and_then(due),
            handshake.map(|own| own.ends),
            handshake.and_then(|own| due(&own.connection)),
        ];
        let next = deadlines.into_iter().flatten().min();
        let next = next.map(|at| at.max(now + TIMER_STEP));
        if next != entry.timer {
            if let Some(at) = entry.timer {
                self.timers.remove(&(at, of));
            }
            self.timers.extend(next.map(|at| (at, of)));
            entry.timer = next;
        }
    }

    fn settle_handshake(&mut self, now: Instant, of: FiveTuple) {
        let entry = self.entries.get_mut(&of);
        let Some(handshake) = entry.and_then(|entry| entry.handshake.as_mut()) else {
            return;
        };
        let mut datagram = Vec::new();
        while handshake.connection.poll_transmit(&mut datagram) {
            let datagram = std::mem::take(&mut datagram);
            if !handshake.has_cookie && !asks_for_cookie(&datagram) {
                // The engine goes on with a client that has shown it.
                self.handshakes.remove(&(false, handshake.number));
                self.handshakes.insert((true, handshake.number), of);
                handshake.has_cookie = true;
            }
            if !handshake.has_cookie {
                if handshake.unanswered == 0 {
                    // RFC 6347 §4.2.4: a HelloVerifyRequest is not sent again by a timer.
                    continue;
                }
                handshake.unanswered -= 1;
            }
            match self.out.len() < OUT_MAX {
                true => self.out.push_back((of, datagram)),
                false => self.counters.count("dtls.queue_full"),
            }
        }
        let mut is_connected = false;
        while let Some(event) = handshake.connection.poll_event() {
            is_connected = matches!(event, Event::Connected { .. });
            if !is_connected {
                self.counters.count("dtls.handshake_failed");
                return self.give_up(&of);
            }
        }
        if !is_connected {
            return;
        }
        let connection = self.take_handshake(&of);
        if let Some(entry) = self.entries.get_mut(&of) {
            self.counters.count("dtls.connected");
            if let Some(old) = std::mem::replace(&mut entry.connected, connection) {
                note_closed(&mut self.closed, of);
                self.counters.merge(old.counters());
            }
            entry.ask_at = Some(now + WANTED_EVERY);
        }
    }
}

impl std::fmt::Debug for Associations {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Associations")
            .field("bounds", &self.bounds)
            .field("associations", &self.entries.len())
            .field("handshakes", &self.handshakes.len())
            .finish_non_exhaustive()
    }
}

fn note_closed(closed: &mut VecDeque<FiveTuple>, of: FiveTuple) {
    if closed.len() < CLOSED_MAX {
        closed.push_back(of);
    }
}

/// The ClientHello with which a client begins, if the datagram does.
fn opening(bytes: &[u8]) -> Option<Hello> {
    let first = records(bytes).next()?;
    if !first.is_sound_handshake() {
        return None;
    }
    match first.handshake_part()? {
        Part::Hello(hello) if hello.is_client && hello.sequence == 0 => Some(hello),
        _ => None,
    }
}

/// Whether a datagram of ours is a HelloVerifyRequest, or a HelloRetryRequest.
fn asks_for_cookie(datagram: &[u8]) -> bool {
    let part = records(datagram).next().map(|first| first.handshake_part());
    matches!(part, Some(Some(Part::Hello(hello))) if hello.asks_retry)
}

fn collect(
    connection: &mut Connection,
    of: FiveTuple,
    out: &mut VecDeque<(FiveTuple, Vec<u8>)>,
    counters: &mut Counters,
) {
    let mut datagram = Vec::new();
    while connection.poll_transmit(&mut datagram) {
        let datagram = std::mem::take(&mut datagram);
        match out.len() < OUT_MAX {
            true => out.push_back((of, datagram)),
            false => counters.count("dtls.queue_full"),
        }
    }
}

fn due(connection: &Connection) -> Option<Instant> {
    connection.poll_timeout().map(|deadline| deadline.at)
}

/// An address, or the /64 of IPv6 that it is in: a customer's.
fn prefix(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(ip) => Ipv6Addr::from(u128::from(ip) >> 64 << 64).into(),
        ip => ip,
    }
}

/// Counts one less.
fn less(counts: &mut BTreeMap<IpAddr, usize>, of: IpAddr) {
    match counts.get_mut(&of) {
        Some(count) if *count > 1 => *count -= 1,
        _ => _ = counts.remove(&of),
    }
}
