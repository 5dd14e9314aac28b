//! The machine: its parts, what the driver tells it, and what it wants.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};

use super::codepoint::Codepoints;
use super::intercept::Interception;
use super::journal::Journal;
use super::names::Names;
use super::nat64::Nat64;
use super::ortc::ByHand;
use super::parameters::Sender;
use super::tcp::Listener;
use super::transport::Transport;
use super::{
    Config, ConnectionState, Event, IceTransportPolicy, IceTransports, Interfaces, LocalCandidate,
    PeerFailure, StunServer, TurnServer,
};
use crate::contract::{Batch, Datagram, Output, Path, Request, SocketId};
use crate::counters::Counters;
use crate::crypto::Hash;
use crate::negotiate::{Negotiator, TransceiverId};
use crate::random::Random;
use crate::time::{Deadline, Now};
use crate::{dtmf, ice, negotiate, sctp};
use twocan_wire::rtp::ExtensionKind;

/// Sockets of one peer; interfaces beyond are ignored and counted.
const SOCKETS_MAX: usize = 16;

/// A socket and its address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Socket {
    pub(super) id: SocketId,
    pub(super) ip: IpAddr,
    /// Once bound.
    pub(super) local: Option<SocketAddr>,
    /// The relay that it is for alone.
    pub(super) relay: Option<usize>,
}

/// What a name is resolved for.
#[derive(Debug, Clone)]
pub(super) enum Wanted {
    StunServer(StunServer),
    TurnServer(Box<TurnServer>),
    Candidate(Box<twocan_wire::candidate::Candidate>),
    /// To learn how IPv4 is reached.
    Nat64,
}

/// A WebRTC connection without I/O.
///
/// See `twocan::PeerConnection` for the same with I/O.
#[derive(Debug)]
pub struct Peer {
    pub(super) negotiator: Negotiator,
    pub(super) transport: Transport,
    pub(super) random: Random,
    /// Credentials stated in a created description that is not set yet.
    pub(super) fresh: Option<ice::Credentials>,
    /// Candidates for a remote description whose generation is not agreed yet.
    pub(super) held: Vec<negotiate::RemoteCandidate>,
    /// The sections agreed on.
    pub(super) media: Vec<super::NegotiatedMedia>,
    /// Transceivers that hand out packets and not frames.
    pub(super) packets: BTreeSet<TransceiverId>,
    /// The tones of senders that play some.
    pub(super) tones: BTreeMap<TransceiverId, dtmf::Player>,
    /// What senders were told, and what they may use.
    pub(super) senders: BTreeMap<TransceiverId, Sender>,
    /// Streams that a forwarder leaves out for want of rate; `None` where nobody forwards.
    pub(super) forgone: Option<usize>,
    /// Whether shares have changed without the target.
    pub(super) target_news: bool,
    pub(super) stun_servers: Vec<StunServer>,
    pub(super) turn_servers: Vec<TurnServer>,
    /// The STUN servers that were asked, and whether their silence was told.
    pub(super) stun_urls: Vec<(SocketAddr, String)>,
    pub(super) silent_urls: BTreeSet<String>,
    pub(super) interfaces: Vec<IpAddr>,
    pub(super) nat64: Nat64,
    pub(super) ice_transports: IceTransports,
    pub(super) ice_transport_policy: IceTransportPolicy,
    pub(super) listeners: Vec<Listener>,
    pub(super) sockets: Vec<Socket>,
    /// Streams to relays, and those of ICE.
    pub(super) streams: Vec<SocketId>,
    pub(super) socket_ids: u32,
    pub(super) gathering: bool,
    /// Gathered before a local description, and told with it (`iceCandidatePoolSize`).
    pub(super) pooled: Vec<ice::Event>,
    pub(super) pools: bool,
    /// In place of our addresses, where those are not told.
    pub(super) names: Names,
    pub(super) lookups: Vec<(String, Wanted)>,
    pub(super) requests: VecDeque<Request>,
    pub(super) events: VecDeque<Event>,
    connection_state: ConnectionState,
    negotiation_needed: bool,
    pub(super) closed: bool,
    pub(super) counters: Counters,
    /// Where parameters are set by hand, and not by descriptions.
    pub(super) by_hand: Option<Box<ByHand>>,
    /// Where the event log is on.
    pub(super) journal: Option<Box<Journal>>,
}

impl Peer {
    /// A peer that has not begun.
    pub fn new(now: Now, config: Config, mut random: Random) -> Self {
        let fingerprint = config.certificate.fingerprint(Hash::Sha256);
        let stated = twocan_wire::sdp::Fingerprint {
            hash: fingerprint.hash_name().to_owned(),
            bytes: fingerprint.digest,
        };
        let cname = random.ice_chars(16);
        let mut terms = negotiate::Config::new(vec![stated], cname);
        terms.audio_codecs = config.audio_codecs;
        terms.video_codecs = config.video_codecs;
        let orientation = config
            .video_orientation
            .then_some(ExtensionKind::VideoOrientation);
        terms.video_extensions.extend(orientation);
        terms.always_negotiate_data = config.always_negotiate_data;
        terms.offer_flexfec = config.offer_flexfec;
        terms.offer_congestion_feedback = config.offer_congestion_feedback;
        terms.ice_lite = config.ice.lite;
        terms.max_message_size = config.max_message_size;
        terms.receive_simulcast = config.receive_simulcast;
        let is_lite = config.ice.lite;
        let data = sctp::Config {
            local_max_message_size: usize::try_from(config.max_message_size).unwrap_or(usize::MAX),
            receive_window: config.receive_window,
            ..sctp::Config::default()
        };
        let mut transport = Transport::new(
            now.monotonic,
            config.ice,
            &config.dtls,
            &config.certificate,
            data,
            &config.congestion,
            random.fork(),
        );
        transport.codepoints = Codepoints::new(config.dscp);
        if config.event_log {
            transport.congestion.keep_decisions();
        }
        let interceptor = config.interceptor.as_ref();
        transport.interception = interceptor.map(|make| Box::new(Interception::new(make)));
        transport.relay_only = config.ice_transport_policy == IceTransportPolicy::Relay;
        Self {
            negotiator: Negotiator::new(terms, random.fork()),
            transport,
            random,
            fresh: None,
            held: Vec::new(),
            media: Vec::new(),
            packets: BTreeSet::new(),
            tones: BTreeMap::new(),
            senders: BTreeMap::new(),
            forgone: None,
            target_news: false,
            // A lite agent has host candidates alone (RFC 8445 §5.2).
            stun_servers: if is_lite {
                Vec::new()
            } else {
                config.stun_servers
            },
            turn_servers: if is_lite {
                Vec::new()
            } else {
                config.turn_servers
            },
            stun_urls: Vec::new(),
            silent_urls: BTreeSet::new(),
            interfaces: Vec::new(),
            nat64: Nat64::default(),
            ice_transports: config.ice_transports,
            ice_transport_policy: config.ice_transport_policy,
            listeners: Vec::new(),
            sockets: Vec::new(),
            streams: Vec::new(),
            socket_ids: 0,
            gathering: false,
            pooled: Vec::new(),
            pools: config.ice_candidate_pool_size > 0,
            names: Names::default(),
            lookups: Vec::new(),
            requests: VecDeque::new(),
            events: VecDeque::new(),
            connection_state: ConnectionState::New,
            negotiation_needed: false,
            closed: false,
            counters: Counters::default(),
            by_hand: config.by_hand.then(Box::default),
            journal: config.event_log.then(|| Box::new(Journal::new(now))),
        }
    }

    /// The local addresses that can be bound, and those that no longer can.
    pub fn handle_interfaces(&mut self, now: Now, interfaces: &Interfaces) {
        for ip in &interfaces.added {
            if !self.interfaces.contains(ip) {
                self.interfaces.push(*ip);
            }
        }
        for ip in &interfaces.removed {
            self.interfaces.retain(|known| known != ip);
            self.remove_listener(now, *ip);
            self.forget_name(*ip);
            let gone: Vec<Socket> = self
                .sockets
                .iter()
                .copied()
                .filter(|socket| socket.ip == *ip)
                .collect();
            self.sockets.retain(|socket| socket.ip != *ip);
            for socket in gone {
                if let Some(local) = socket.local {
                    self.transport.remove_path(now.monotonic, socket.id, local);
                }
                self.requests
                    .push_back(Request::Close { socket: socket.id });
            }
        }
        if self.gathering {
            self.bind_interfaces();
            self.seek_nat64();
        } else if self.pools && !self.interfaces.is_empty() {
            self.gather(now);
        }
        self.settle(now);
    }

    /// A socket that was asked for is bound.
    pub fn handle_bound(&mut self, now: Now, socket: SocketId, local: SocketAddr) {
        let Some(entry) = self.sockets.iter_mut().find(|entry| entry.id == socket) else {
            return self.listener_bound(now, socket, Some(local));
        };
        entry.local = Some(local);
        match entry.relay {
            None => self.transport.add_path(now.monotonic, socket, local),
            Some(relay) => {
                let path = Path { socket, local };
                self.transport.move_relay(now.monotonic, relay, path);
            }
        }
        self.note_bases(now);
        self.settle(now);
    }

    /// A socket that was asked for could not be bound.
    pub fn handle_bind_failed(&mut self, now: Now, socket: SocketId) {
        self.counters.count("peer.bind_failed");
        let failed = self.sockets.iter().find(|entry| entry.id == socket);
        if let Some(relay) = failed.and_then(|entry| entry.relay) {
            self.transport.relay_unreachable(now.monotonic, relay);
        }
        self.sockets.retain(|entry| entry.id != socket);
        self.listener_bound(now, socket, None);
        self.note_bases(now);
        self.settle(now);
    }

    /// A datagram arrived; its bytes are decrypted in place.
    pub fn handle_datagram(&mut self, now: Now, datagram: Datagram<'_>) {
        if self.closed {
            return self.transport.handle_after_close(now.monotonic, datagram);
        }
        if self.transport.handle_datagram(now, datagram) {
            self.settle_transport(now);
        }
    }

    /// A name that was asked for is resolved, to no address if that failed.
    pub fn handle_resolved(&mut self, now: Now, name: &str, addresses: &[IpAddr]) {
        if addresses.is_empty() {
            self.counters.count("peer.name_not_resolved");
        }
        if name == twocan_wire::nat64::NAME {
            self.learn_nat64(now, addresses);
        }
        for purpose in self.take_lookups(name) {
            match purpose {
                Wanted::StunServer(server) => self.add_stun_server(now, &server, addresses),
                Wanted::TurnServer(server) => self.add_turn_server(now, *server, addresses),
                Wanted::Candidate(candidate) => {
                    for ip in addresses {
                        self.add_named(now, &candidate, *ip);
                    }
                }
                Wanted::Nat64 => {}
            }
        }
        self.note_bases(now);
        self.settle(now);
    }

    /// The deadline has come.
    pub fn handle_timeout(&mut self, now: Now) {
        match self.closed {
            false => self.transport.handle_timeout(now),
            true => self.transport.relays_timeout(now.monotonic),
        }
        self.play_tones(now);
        self.settle_transport(now);
    }

    /// What the driver is to do next. Datagrams are written into `batch`, which must be empty.
    pub fn poll_output(&mut self, now: Now, batch: &mut Batch) -> Output<Event> {
        let output = self.next_output(now, batch);
        self.observe(now, &output, batch);
        output
    }

    fn next_output(&mut self, now: Now, batch: &mut Batch) -> Output<Event> {
        // What tells the other side of the end goes out before the sockets are closed.
        if self.closed && self.transport.fill(now, batch) {
            return Output::Transmit;
        }
        if self.is_finished() {
            let ids = self.sockets.drain(..).map(|socket| socket.id);
            let ids = ids.chain(self.streams.drain(..)).collect::<Vec<_>>();
            let ids = ids.into_iter().chain(self.take_listeners());
            let close = ids.map(|socket| Request::Close { socket });
            self.requests.extend(close);
            self.forget_names();
        }
        if let Some(request) = self.requests.pop_front() {
            return Output::Request(request);
        }
        if let Some(event) = self.events.pop_front() {
            return Output::Event(event);
        }
        // They come in bursts while connecting; a quiet connection holds no room for them.
        self.events.shrink_to_fit();
        if let Some(event) = self.transport.rtp.poll_event() {
            return Output::Event(Event::Rtp(event));
        }
        let target = self.transport.congestion.poll_target(now.monotonic);
        let shares_changed = std::mem::take(&mut self.target_news);
        let again = self.available_outgoing_bitrate().filter(|_| shares_changed);
        if let Some(target) = target.or(again) {
            self.note_running(now);
            return Output::Event(Event::TargetRate(target));
        }
        if self.transport.fill(now, batch) {
            return Output::Transmit;
        }
        Output::Wait(self.deadline())
    }

    /// Ends everything: channels, DTLS with `close_notify`, sockets. The last datagrams still
    /// come out of [`Self::poll_output`].
    pub fn close(&mut self, now: Now) {
        if self.closed {
            return;
        }
        self.closed = true;
        self.transport.close(now.monotonic);
        self.lookups.clear();
        self.update_connection_state();
    }

    /// Whether it is closed, and its relays know: at most 1.75 s after [`Self::close`].
    pub fn is_finished(&self) -> bool {
        self.closed && !self.transport.relays.is_releasing()
    }

    /// Whether [`Self::close`] was called.
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// `connectionState`.
    pub fn connection_state(&self) -> ConnectionState {
        self.connection_state
    }

    /// `iceConnectionState`, but for `closed`.
    pub fn ice_connection_state(&self) -> ice::State {
        self.transport.ice.state()
    }

    /// `iceGatheringState`.
    pub fn ice_gathering_state(&self) -> ice::GatheringState {
        match self.pools {
            // What is pooled belongs to no transport yet.
            true => ice::GatheringState::New,
            false => self.transport.ice.gathering_state(),
        }
    }

    /// What was dropped or refused in all parts, by reason.
    pub fn counters(&self) -> Counters {
        let mut all = self.counters.clone();
        self.transport.add_counters(&mut all);
        all
    }

    /// Reacts to what the parts report.
    pub(super) fn settle(&mut self, now: Now) {
        self.settle_transport(now);
        self.check_negotiation_needed();
    }

    /// The same after what leaves the agreement as it was.
    fn settle_transport(&mut self, now: Now) {
        self.transport.settle(now);
        self.settle_relays(now);
        while let Some(event) = self.transport.ice.poll_event() {
            self.name_address(&event);
            if let Some(event) = self.pool(event) {
                self.take_ice_event(now, event);
            }
        }
        self.settle_tcp();
        self.transport.settle(now);
        while let Some(event) = self.transport.events.pop_front() {
            self.events.push_back(event);
        }
        self.update_connection_state();
    }

    pub(super) fn take_ice_event(&mut self, now: Now, event: ice::Event) {
        match event {
            ice::Event::LocalCandidate(candidate) => self.signal_candidate(&candidate),
            ice::Event::Gathering(state) => {
                if state == ice::GatheringState::Complete {
                    self.signal_end_of_candidates();
                }
                self.events.push_back(Event::IceGatheringState(state));
            }
            ice::Event::ServerFailed {
                local,
                server,
                refusal,
            } => {
                let known = self.stun_urls.iter().find(|(known, _)| *known == server);
                if let Some(url) = known.map(|(_, url)| url.clone()) {
                    self.server_failed(&url, Some(local), refusal);
                }
            }
            ice::Event::State(state) => {
                self.events.push_back(Event::IceConnectionState(state));
                if state == ice::State::Failed {
                    self.events.push_back(Event::Failed(PeerFailure::Ice));
                }
            }
            ice::Event::SelectedPair(route) => {
                tracing::debug!(?route, "selected pair");
                self.events.push_back(Event::SelectedCandidatePair);
            }
            ice::Event::Doubt => self.transport.confirm_relays(now.monotonic),
            ice::Event::Open(wanted) => self.open_tcp(wanted),
            ice::Event::Close(path) => self.close_tcp(path),
        }
    }

    /// W3C webrtc-pc §4.7.3: said once, until a negotiation has settled it.
    pub(super) fn check_negotiation_needed(&mut self) {
        let needed = self.is_negotiation_needed();
        if needed && !self.negotiation_needed {
            self.events.push_back(Event::NegotiationNeeded);
        }
        self.negotiation_needed = needed;
    }

    pub(super) fn bind_interfaces(&mut self) {
        self.bind_udp();
        self.bind_listeners();
    }

    /// Names a socket or stream.
    pub(super) fn next_socket(&mut self) -> SocketId {
        let id = SocketId(self.socket_ids);
        self.socket_ids += 1;
        id
    }

    fn bind_udp(&mut self) {
        if self.ice_transports == IceTransports::Tcp {
            return;
        }
        for ip in &self.interfaces {
            if self.sockets.iter().any(|socket| socket.ip == *ip) {
                continue;
            }
            if self.sockets.len() >= SOCKETS_MAX {
                self.counters.count("peer.too_many_interfaces");
                break;
            }
            let id = SocketId(self.socket_ids);
            self.socket_ids += 1;
            self.sockets.push(Socket {
                id,
                ip: *ip,
                local: None,
                relay: None,
            });
            self.requests.push_back(Request::Bind {
                socket: id,
                ip: *ip,
            });
        }
    }

    /// Tells ICE when all sockets are bound and all servers known.
    pub(super) fn note_bases(&mut self, now: Now) {
        let binding = self.sockets.iter().any(|socket| socket.local.is_none());
        let binding = binding || self.is_binding_listeners();
        let resolving = self
            .lookups
            .iter()
            .any(|(_, wanted)| !matches!(wanted, Wanted::Candidate(_)));
        let relaying = self.transport.relays.is_pending();
        if self.gathering && !binding && !resolving && !relaying {
            self.transport.ice.end_of_bases(now.monotonic);
        }
    }

    fn signal_candidate(&mut self, candidate: &ice::Candidate) {
        if let Some(shown) = self.shown(candidate) {
            self.events.push_back(Event::IceCandidate(shown));
        }
    }

    fn signal_end_of_candidates(&mut self) {
        let event = self.local_candidate(String::new());
        self.events.push_back(Event::IceCandidate(event));
    }

    pub(super) fn local_candidate(&self, candidate: String) -> LocalCandidate {
        let section = self.negotiator.transport_mid();
        LocalCandidate {
            candidate,
            sdp_mid: section.map(|(_, mid)| mid.to_string()),
            sdp_m_line_index: section.and_then(|(index, _)| u16::try_from(index).ok()),
            username_fragment: self
                .transport
                .ice
                .local_credentials()
                .username_fragment
                .clone(),
            url: None,
            relay_protocol: None,
        }
    }

    fn update_connection_state(&mut self) {
        use ConnectionState as C;
        let state = if self.closed || self.transport.dtls_closed() {
            C::Closed
        } else if self.transport.dtls_failed() {
            C::Failed
        } else {
            match self.transport.ice.state() {
                ice::State::New => C::New,
                ice::State::Failed => C::Failed,
                ice::State::Disconnected => C::Disconnected,
                ice::State::Checking => C::Connecting,
                ice::State::Connected | ice::State::Completed => {
                    if self.transport.dtls_connected() {
                        C::Connected
                    } else {
                        C::Connecting
                    }
                }
            }
        };
        if state != self.connection_state {
            self.connection_state = state;
            self.events.push_back(Event::ConnectionState(state));
        }
    }

    fn deadline(&self) -> Option<Deadline> {
        Deadline::earlier(self.transport.deadline(), self.tones_deadline())
    }

    /// The moment for a part that takes the monotonic clock alone.
    pub(super) fn add_resolved(
        &mut self,
        now: Now,
        candidate: &twocan_wire::candidate::Candidate,
        ip: IpAddr,
    ) {
        if let Some(candidate) = super::describe::from_wire(candidate, ip) {
            self.add_candidate_now(now, candidate);
        }
    }

    pub(super) fn add_candidate_now(&mut self, now: Now, candidate: ice::Candidate) {
        let ice = &mut self.transport.ice;
        ice.add_remote_candidate(now.monotonic, candidate.clone());
        self.add_translated(now, &candidate);
    }
}
