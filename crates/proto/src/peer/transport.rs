//! The transport: ICE below, DTLS on it, and what runs in both; datagrams in and out.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use twocan_wire::demux::{Protocol, classify};

use super::codepoint::Codepoints;
use super::intercept::Interception;
use super::outlet::Outlet;
use super::rate::{Polled, RetransmissionRate};
use super::relay::Relays;
use super::tcp::Streams;
use super::traffic::Traffic;
use super::w3c::channel_role;
use super::{EARLY_DTLS_MAX, Event, PeerFailure};
use crate::channel::Channels;
use crate::congestion::{self, ArrivingEstimate, CongestionControl, Marking};
use crate::contract::{Batch, Datagram, Destination, Ecn, Path, SocketId};
use crate::counters::Counters;
use crate::dtls::{self, Certificate, Connection, Fingerprint, Settings, Version};
use crate::ice::{self, Agent, Route};
use crate::keying::{SrtpKeys, SrtpProfile};
use crate::negotiate::SctpPlan;
use crate::random::Random;
use crate::time::{Deadline, Now};
use crate::turn::client::Envelope;
use crate::{rtp, sctp, srtp};

/// Room for one datagram of ours, wrapped for a relay.
const DATAGRAM_ROOM: usize = super::DATAGRAM_LEN_MAX + Envelope::LEN_MAX;

/// Where DTLS stands, seen from above.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Security {
    /// The roles are not agreed.
    Waiting,
    /// The roles are agreed, or those of ICE are to decide; a client waits for a route.
    Ready(Option<dtls::Role>),
    /// Started.
    Handshake,
    /// The peer is who it should be.
    Connected(Version),
    /// The peer said goodbye.
    Closed,
    /// It failed.
    Failed,
}

/// Everything between datagrams and the application's data.
#[derive(Debug)]
pub(super) struct Transport {
    pub(super) ice: Agent,
    pub(super) relays: Relays,
    /// Over which ICE goes, besides sockets and relays.
    pub(super) tcp: Streams,
    /// Nothing but relays is used (`iceTransportPolicy`).
    pub(super) relay_only: bool,
    /// A check that waits for the permission it needs to be on its way.
    delayed: Option<ice::Transmit>,
    settings: Settings,
    certificate: Certificate,
    pub(super) dtls: Connection,
    /// Which certificates the other side may have.
    expected: Vec<Fingerprint>,
    pub(super) security: Security,
    role: dtls::Role,
    pub(super) events: VecDeque<Event>,
    /// Handshake datagrams that arrived before the description they belong to.
    early: VecDeque<Vec<u8>>,
    srtp_profile: Option<SrtpProfile>,
    pub(super) srtp: Option<(srtp::Sender, srtp::Receiver)>,
    pub(super) rtp: rtp::Session,
    /// Mostly none.
    pub(super) interception: Option<Box<Interception>>,
    pub(super) congestion: CongestionControl,
    pub(super) arriving: Option<Box<ArrivingEstimate>>,
    pub(super) polled: Polled,
    pub(super) retransmissions: RetransmissionRate,
    /// What packets of media say of marks.
    pub(super) marking: Marking,
    /// Where media goes, for as long as it does.
    media_route: Option<Route>,
    /// Answers to checks of the route in use, as far as they were looked at.
    answers: u64,
    pub(super) channels: Channels,
    /// Whether something came for them that nobody has asked about.
    pub(super) has_channel_news: bool,
    /// Whether both sides want data channels.
    pub(super) data_accepted: bool,
    /// An SCTP packet on its way into a record.
    scratch: Vec<u8>,
    /// What is still to be sent after the end.
    pub(super) farewell: VecDeque<Vec<u8>>,
    /// A datagram that did not fit the batch it was written for.
    pub(super) spill: Vec<u8>,
    spill_for: Option<Destination>,
    is_closed: bool,
    pub(super) traffic: Traffic,
    pub(super) codepoints: Codepoints,
    pub(super) counters: Counters,
}

impl Transport {
    pub(super) fn new(
        now: Instant,
        ice: ice::Config,
        settings: &Settings,
        certificate: &Certificate,
        data: sctp::Config,
        congestion: &congestion::Config,
        mut random: Random,
    ) -> Self {
        Self {
            // The descriptions say the role before the first check goes out.
            ice: Agent::new(ice, ice::Role::Controlled, random.fork()),
            relay_only: false,
            delayed: None,
            settings: settings.clone(),
            certificate: certificate.clone(),
            dtls: Connection::new(settings, certificate, now),
            expected: Vec::new(),
            security: Security::Waiting,
            role: dtls::Role::Server,
            events: VecDeque::new(),
            early: VecDeque::new(),
            srtp_profile: None,
            srtp: None,
            rtp: rtp::Session::new(random.fork()),
            interception: None,
            congestion: CongestionControl::new(congestion),
            arriving: None,
            polled: Polled::default(),
            marking: congestion.marking,
            retransmissions: RetransmissionRate::default(),
            media_route: None,
            answers: 0,
            channels: Channels::new(data, random.fork()),
            has_channel_news: false,
            relays: Relays::new(random.fork()),
            tcp: Streams::default(),
            data_accepted: false,
            scratch: Vec::new(),
            farewell: VecDeque::new(),
            spill: Vec::new(),
            spill_for: None,
            is_closed: false,
            traffic: Traffic::default(),
            codepoints: Codepoints::default(),
            counters: Counters::default(),
        }
    }

    pub(super) fn add_path(&mut self, now: Instant, socket: SocketId, local: SocketAddr) {
        let path = Path { socket, local };
        if !self.relay_only {
            self.ice.add_base(now, path);
        }
        self.ask_relays(now, path);
    }

    pub(super) fn remove_path(&mut self, now: Instant, socket: SocketId, local: SocketAddr) {
        let path = Path { socket, local };
        self.leave_path(now, path);
        self.ice.remove_base(now, path);
    }

    /// Takes a datagram; answers whether anything but data came of it.
    pub(super) fn handle_datagram(&mut self, now: Now, datagram: Datagram<'_>) -> bool {
        match self.handle_from_relay(now, datagram) {
            Ok(news) => news,
            Err(_) if self.relay_only => self.drop("peer.not_from_relay"),
            Err(datagram) => self.take_datagram(now, datagram),
        }
    }

    /// Takes what a peer sent to a relayed address.
    pub(super) fn take_relayed(
        &mut self,
        now: Now,
        path: Option<Path>,
        peer: SocketAddr,
        bytes: &mut [u8],
    ) -> bool {
        let Some(path) = path else {
            self.counters.count("turn.data_of_other_family");
            return false;
        };
        let inner = Datagram {
            path,
            remote: peer,
            ecn: Ecn::NotEct,
            waited: Duration::ZERO,
            bytes,
        };
        self.take_datagram(now, inner)
    }

    /// Takes a datagram as it was when the peer sent it.
    pub(super) fn take_datagram(&mut self, now: Now, datagram: Datagram<'_>) -> bool {
        let Datagram {
            path,
            remote,
            bytes,
            waited,
            ecn,
        } = datagram;
        let at = now.monotonic;
        let protocol = match classify(bytes) {
            Some(Protocol::Stun) => {
                self.ice.handle_stun(at, path, remote, bytes);
                self.note_round_trip();
                return true;
            }
            Some(protocol) => protocol,
            None => return self.drop("peer.unknown_protocol"),
        };
        if !self.ice.is_proven(Route { path, remote }) {
            return self.drop("peer.unproven_address");
        }
        self.note_received(now, Route { path, remote }, bytes.len());
        match protocol {
            Protocol::Stun => false,
            Protocol::TurnChannel => self.drop("peer.unexpected_channel_data"),
            Protocol::Dtls => {
                self.ice.note_received(at, Route { path, remote });
                self.handle_dtls(at, bytes)
            }
            Protocol::Rtp => {
                // What is measured is when it arrived.
                self.handle_rtp(now.earlier(waited), Route { path, remote }, bytes, ecn)
            }
            Protocol::Rtcp => self.handle_rtcp(now, Route { path, remote }, bytes),
        }
    }

    /// A side that only receives media learns from ICE how long a repair takes.
    fn note_round_trip(&mut self) {
        let selected = self.ice.pairs().find(|(.., selected, _)| *selected);
        if let Some((.., stats)) = selected
            && stats.responses_received != self.answers
            && let Some(round_trip) = stats.current_round_trip_time
        {
            self.answers = stats.responses_received;
            self.rtp.set_round_trip_time(round_trip);
        }
    }

    pub(super) fn handle_timeout(&mut self, now: Now) {
        self.relays_timeout(now.monotonic);
        self.tcp_timeout(now.monotonic);
        self.ice.handle_timeout(now.monotonic);
        self.dtls.handle_timeout(now.monotonic);
        self.rtp.handle_timeout(now);
        self.interception_timeout(now);
        self.congestion.handle_timeout(now.monotonic);
        if self.ice.route().is_some() {
            self.channels.handle_timeout(now.monotonic);
        }
    }

    /// Fixes the roles: a server reads what has arrived, a client waits for a route. Where the other
    /// side has another certificate than before, everything on top of ICE begins again with it.
    pub(super) fn start_dtls(
        &mut self,
        now: Instant,
        role: Option<dtls::Role>,
        fingerprints: Vec<Fingerprint>,
    ) {
        if self.security != Security::Waiting {
            if fingerprints.iter().any(|own| self.expected.contains(own)) {
                return;
            }
            self.begin_again(now);
        }
        self.expected.clone_from(&fingerprints);
        self.dtls.expect(now, fingerprints);
        self.security = Security::Ready(role);
    }

    /// Gives up the association with the other side, because somebody else takes its place (RFC 8842
    /// §5.5, RFC 9429 §5.11). What is in both directions on its way is lost.
    fn begin_again(&mut self, now: Instant) {
        self.dtls = Connection::new(&self.settings, &self.certificate, now);
        self.security = Security::Waiting;
        self.early.clear();
        self.srtp = None;
        self.srtp_profile = None;
        self.channels.begin_again();
        self.data_accepted = false;
    }

    /// Both sides want data channels.
    pub(super) fn accept_data(&mut self, plan: SctpPlan) {
        if !self.data_accepted {
            self.channels.set_ports(plan.local_port, plan.remote_port);
        }
        self.data_accepted = true;
        // The association takes 0 for no limit.
        let max = usize::try_from(plan.max_message_size).unwrap_or(usize::MAX);
        self.channels
            .set_remote_max_message_size(if max == usize::MAX { 0 } else { max });
        // W3C webrtc-pc §4.4.1.5: channels have their ids as soon as the roles are agreed.
        match self.security {
            Security::Waiting | Security::Ready(None) => {}
            Security::Ready(Some(role)) => self.channels.assign_ids(channel_role(role)),
            _ => self.channels.assign_ids(channel_role(self.role)),
        }
    }

    /// Lets the parts react to each other.
    pub(super) fn settle(&mut self, now: Now) {
        let at = now.monotonic;
        if let Security::Ready(stated) = self.security
            && let Some(role) = self.dtls_role(stated)
            && (role == dtls::Role::Server || self.ice.has_fresh_route())
        {
            self.security = Security::Handshake;
            self.role = role;
            self.dtls.start(at, role);
            for datagram in std::mem::take(&mut self.early) {
                self.handle_dtls(at, &datagram);
            }
        }
        while let Some(event) = self.dtls.poll_event() {
            match event {
                dtls::Event::Connected { version, srtp } => {
                    self.security = Security::Connected(version);
                    self.use_keys(srtp);
                }
                dtls::Event::Closed => {
                    self.security = Security::Closed;
                    // A peer that says goodbye without an ABORT has closed its channels as well.
                    self.channels.abort();
                }
                dtls::Event::Failed(failure) => {
                    self.security = Security::Failed;
                    self.channels.abort();
                    self.events
                        .push_back(Event::Failed(PeerFailure::Dtls(failure)));
                }
            }
        }
        // RFC 8831 §6.2: both sides begin at once, whatever their roles.
        if self.data_accepted && self.dtls_connected() {
            self.channels.start(at, channel_role(self.role));
        }
    }

    /// Fills the batch for one destination; answers whether there is something to send.
    pub(super) fn fill(&mut self, now: Now, batch: &mut Batch) -> bool {
        self.polled = Polled::default();
        if let Some(destination) = self.spill_for.take() {
            let spilled = std::mem::take(&mut self.spill);
            batch.push(destination, &mut self.spill, |out| {
                out.extend_from_slice(&spilled)
            });
        }
        if batch.is_empty() && self.fill_stun(now, batch) {
            return true;
        }
        let route = self.follow_route(now);
        let Some(outlet) = route.and_then(|route| self.outlet(now.monotonic, route)) else {
            return !batch.is_empty();
        };
        let (mut packets, mut bytes) = (0, 0);
        loop {
            // A batch has one mark: what needs another one waits for the next.
            let outlet = outlet.with_ecn(self.mark(now)).joining(batch);
            if !batch.has_room(outlet.destination, DATAGRAM_ROOM) {
                break;
            }
            let (before, len) = (batch.segments(), batch.bytes().len());
            let spilled = self.fill_one(now, outlet, batch);
            let written = match spilled {
                None => batch.bytes().len() - len,
                Some(_) => self.spill.len(),
            };
            packets += u64::from(written > 0);
            bytes += written as u64;
            self.spill_for = spilled;
            if spilled.is_some() || batch.segments() == before {
                break;
            }
        }
        self.note_sent(now, packets, bytes);
        !batch.is_empty()
    }

    /// Ends the association and DTLS; what tells the peer is sent by the next polls.
    pub(super) fn close(&mut self, now: Instant) {
        self.is_closed = true;
        self.channels.abort();
        self.scratch.clear();
        while self.channels.poll_transmit(now, &mut self.scratch) {
            let mut datagram = Vec::new();
            if self.dtls.send(now, &self.scratch, &mut datagram) {
                self.farewell.push_back(datagram);
            }
            self.scratch.clear();
        }
        self.dtls.close(now);
        if self.ice.route().is_none() {
            self.farewell.clear();
        }
        self.close_relays(now);
        self.delayed = None;
    }

    pub(super) fn remote_certificate(&self) -> Option<&[u8]> {
        self.dtls.peer_certificate()
    }

    pub(super) fn dtls_version(&self) -> Option<Version> {
        match self.security {
            Security::Connected(version) => Some(version),
            Security::Waiting
            | Security::Ready(_)
            | Security::Handshake
            | Security::Closed
            | Security::Failed => None,
        }
    }

    pub(super) fn srtp_profile(&self) -> Option<SrtpProfile> {
        self.srtp_profile
    }

    pub(super) fn is_closed(&self) -> bool {
        self.is_closed
    }

    pub(super) fn is_started(&self) -> bool {
        self.security != Security::Waiting
    }

    pub(super) fn dtls_connected(&self) -> bool {
        matches!(self.security, Security::Connected(_))
    }

    pub(super) fn dtls_closed(&self) -> bool {
        self.security == Security::Closed
    }

    pub(super) fn deadline(&self) -> Option<Deadline> {
        if self.is_closed {
            return self.relays.deadline();
        }
        // Without a route, which ends with consent, reports cannot be sent and are not due.
        let streams = match self.ice.route() {
            Some(_) => self.rtp.poll_timeout(),
            None => self.rtp.poll_gap_timeout(),
        };
        let media = Deadline::earlier(streams, self.pacing_deadline());
        let media = Deadline::earlier(media, self.interception_deadline());
        let media = media.filter(|_| self.has_keys());
        let transport = Deadline::earlier(self.ice.poll_timeout(), self.dtls.poll_timeout());
        let transport = Deadline::earlier(transport, self.relays.deadline());
        let transport = Deadline::earlier(transport, self.tcp.deadline());
        // Nothing can be answered without a route either: the association waits for the next one.
        let has_way = self.dtls_connected() && self.ice.route().is_some();
        let data = self.channels.poll_timeout().filter(|_| has_way);
        Deadline::earlier(Deadline::earlier(transport, media), data)
    }

    pub(super) fn add_counters(&self, all: &mut Counters) {
        all.merge(&self.counters);
        all.merge(self.ice.counters());
        self.relays.add_counters(all);
        all.merge(self.dtls.counters());
        all.merge(self.rtp.counters());
        all.merge(self.congestion.counters());
        if let Some(interception) = &self.interception {
            all.merge(&interception.counters);
        }
        all.merge(&self.channels.counters());
    }
}

impl Transport {
    /// Writes a message to a relay, or a check; answers whether there was one.
    fn fill_stun(&mut self, now: Now, batch: &mut Batch) -> bool {
        // The last words to the peer go before the relay is told that it is no longer needed.
        let leaving = !self.farewell.is_empty() || self.dtls.has_transmit();
        if !(leaving && self.is_closed && self.ice.route().is_some())
            && let Some((destination, bytes)) = self.poll_relays()
        {
            return batch.push(destination, &mut self.spill, |out| out.extend(bytes));
        }
        while let Some(transmit) = self.delayed.take().or_else(|| self.ice.poll_transmit()) {
            let Some(outlet) = self.outlet(now.monotonic, transmit.route) else {
                self.counters.count("peer.relay_does_not_take");
                continue;
            };
            if !self.is_closed
                && let Some((destination, bytes)) = self.poll_relays()
            {
                // The permission that the check needs was asked for just now, and goes first.
                self.delayed = Some(transmit);
                return batch.push(destination, &mut self.spill, |out| out.extend(bytes));
            }
            let spilled = outlet.push(batch, &mut self.spill, |out| {
                out.extend_from_slice(&transmit.bytes);
            });
            return spilled.is_none();
        }
        false
    }

    /// Writes the next datagram of any part; answers where it goes when it went to the spill buffer.
    fn fill_one(&mut self, now: Now, outlet: Outlet, batch: &mut Batch) -> Option<Destination> {
        if let Some(datagram) = self.farewell.pop_front() {
            return outlet.push(batch, &mut self.spill, |out| out.extend(datagram));
        }
        let dtls = &mut self.dtls;
        if dtls.has_transmit() {
            return outlet.push(batch, &mut self.spill, |out| {
                dtls.poll_transmit(out);
            });
        }
        if self.media_is_due(now) {
            return self.fill_media(now, outlet, batch);
        }
        self.scratch.clear();
        if self.dtls.is_connected()
            && self
                .channels
                .poll_transmit(now.monotonic, &mut self.scratch)
        {
            let dscp = self.data_codepoint();
            let (dtls, packet) = (&mut self.dtls, &self.scratch);
            return outlet.push_marked(batch, &mut self.spill, |out| {
                dtls.send(now.monotonic, packet, out);
                dscp
            });
        }
        None
    }

    /// The route; a new one is another path, of which nothing is known.
    fn follow_route(&mut self, now: Now) -> Option<Route> {
        let route = self.ice.route()?;
        if self
            .media_route
            .replace(route)
            .is_some_and(|old| old != route)
        {
            self.congestion.handle_route_change(now.monotonic);
        }
        self.bind_channel(now.monotonic, route);
        Some(route)
    }

    /// Whether media can be sent.
    pub(super) fn has_keys(&self) -> bool {
        self.srtp.is_some()
    }

    fn handle_dtls(&mut self, now: Instant, bytes: &[u8]) -> bool {
        if matches!(self.security, Security::Waiting | Security::Ready(_)) {
            // The answer that this belongs to is still on its way.
            if self.early.len() < EARLY_DTLS_MAX {
                self.early.push_back(bytes.to_vec());
            } else {
                self.counters.count("peer.early_dtls_dropped");
            }
            return false;
        }
        let (channels, counters) = (&mut self.channels, &mut self.counters);
        let (accepted, news) = (self.data_accepted, &mut self.has_channel_news);
        self.dtls.handle_datagram(now, bytes, &mut |packet| {
            if accepted {
                channels.handle_packet(now, packet);
                *news = true;
            } else {
                counters.count("peer.data_not_negotiated");
            }
        });
        // Data alone changes nothing above.
        !self.dtls.is_connected() || !self.dtls_connected() || self.dtls.has_event()
    }

    fn use_keys(&mut self, keys: Option<SrtpKeys>) {
        let Some(keys) = keys else { return };
        let sender = srtp::Sender::new(keys.profile, &keys.local.0, &keys.local.1);
        let receiver = srtp::Receiver::new(keys.profile, &keys.remote.0, &keys.remote.1);
        match (sender, receiver) {
            (Ok(sender), Ok(receiver)) => self.srtp = Some((sender, receiver)),
            _ => self.counters.count("peer.unusable_srtp_keys"),
        }
        self.srtp_profile = Some(keys.profile);
    }

    pub(super) fn drop(&mut self, reason: &'static str) -> bool {
        self.counters.count(reason);
        false
    }
}
