//! Three SCTP implementations behind one face.

use std::collections::{BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use dcsctp::api::{DcSctpSocket, SocketEvent, SocketTime};
use sctp_proto::{
    Association as TheirAssociation, AssociationHandle, DatagramEvent, Endpoint, Payload,
    PayloadProtocolIdentifier, ReliabilityType, StreamEvent,
};
use twocan_proto::random::Random;
use twocan_proto::sctp::{Association, Config, Event, Order, Reliability, SendOptions};
use twocan_wire::ids::StreamId;
use twocan_wire::sctp::Ppid;

/// The one instant that virtual time starts at.
pub(crate) fn epoch() -> Instant {
    static EPOCH: OnceLock<Instant> = OnceLock::new();
    *EPOCH.get_or_init(Instant::now)
}

/// An SCTP association.
pub(crate) trait End {
    fn connect(&mut self, now: Instant);
    fn is_connected(&self) -> bool;
    fn handle_packet(&mut self, now: Instant, packet: Vec<u8>);
    fn advance(&mut self, now: Instant);
    fn next(&self) -> Option<Instant>;
    fn transmit(&mut self, now: Instant) -> Vec<Vec<u8>>;
    fn receive(&mut self) -> Vec<(u16, Vec<u8>)>;
    fn send(&mut self, now: Instant, stream: u16, options: SendOptions, payload: Vec<u8>);
    fn reset(&mut self, stream: u16);
    /// Whether the stream was reset in both directions since [`End::forget_resets`].
    fn is_reset(&self, stream: u16) -> bool;
    fn forget_resets(&mut self);
}

pub(crate) struct Ours {
    association: Association,
    is_connected: bool,
    messages: Vec<(u16, Vec<u8>)>,
    incoming: BTreeSet<u16>,
    outgoing: BTreeSet<u16>,
}

impl Ours {
    pub(crate) fn new(seed: u64, config: Config) -> Self {
        let mut bytes = [9; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        Self {
            association: Association::new(config, Random::new(bytes)),
            is_connected: false,
            messages: Vec::new(),
            incoming: BTreeSet::new(),
            outgoing: BTreeSet::new(),
        }
    }

    pub(crate) fn describe(&self) -> String {
        format!(
            "{:?} {:?}",
            self.association.stats(),
            self.association.counters()
        )
    }

    fn drain(&mut self) {
        while let Some(event) = self.association.poll_event() {
            match event {
                Event::Connected => self.is_connected = true,
                Event::Message(message) => {
                    self.messages.push((message.stream.0, message.payload));
                }
                Event::IncomingReset(streams) => {
                    self.incoming.extend(streams.iter().map(|stream| stream.0));
                }
                Event::OutgoingReset(streams) => {
                    self.outgoing.extend(streams.iter().map(|stream| stream.0));
                }
                Event::BufferedAmountLow(_) => {}
                Event::Restarted | Event::OutgoingResetDenied(_) | Event::Closed(_) => {
                    panic!("unexpected {event:?}: {}", self.describe());
                }
            }
        }
    }
}

impl End for Ours {
    fn connect(&mut self, now: Instant) {
        self.association.connect(now);
    }

    fn is_connected(&self) -> bool {
        self.is_connected
    }

    fn handle_packet(&mut self, now: Instant, packet: Vec<u8>) {
        self.association.handle_packet(now, &packet);
        self.drain();
    }

    fn advance(&mut self, now: Instant) {
        let deadline = self.association.poll_timeout();
        if deadline.is_some_and(|deadline| deadline.at <= now) {
            self.association.handle_timeout(now);
        }
        self.drain();
    }

    fn next(&self) -> Option<Instant> {
        self.association.poll_timeout().map(|deadline| deadline.at)
    }

    fn transmit(&mut self, now: Instant) -> Vec<Vec<u8>> {
        let mut packets = Vec::new();
        let mut packet = Vec::new();
        while self.association.poll_transmit(now, &mut packet) {
            packets.push(std::mem::take(&mut packet));
        }
        packets
    }

    fn receive(&mut self) -> Vec<(u16, Vec<u8>)> {
        std::mem::take(&mut self.messages)
    }

    fn send(&mut self, now: Instant, stream: u16, options: SendOptions, payload: Vec<u8>) {
        self.association
            .send(now, StreamId(stream), Ppid::BINARY, options, payload)
            .unwrap();
    }

    fn reset(&mut self, stream: u16) {
        self.association.reset_stream(StreamId(stream));
    }

    fn is_reset(&self, stream: u16) -> bool {
        self.incoming.contains(&stream) && self.outgoing.contains(&stream)
    }

    fn forget_resets(&mut self) {
        self.incoming.clear();
        self.outgoing.clear();
    }
}

/// The crate `dcsctp`.
pub(crate) struct Dcsctp {
    socket: Box<dyn DcSctpSocket>,
    is_connected: bool,
    packets: Vec<Vec<u8>>,
    incoming: BTreeSet<u16>,
    outgoing: BTreeSet<u16>,
}

impl Dcsctp {
    pub(crate) fn new(zero_checksum: bool, interleaving: bool) -> Self {
        let method = if zero_checksum {
            dcsctp::api::ZERO_CHECKSUM_ALTERNATE_ERROR_DETECTION_METHOD_LOWER_LAYER_DTLS
        } else {
            dcsctp::api::ZERO_CHECKSUM_ALTERNATE_ERROR_DETECTION_METHOD_NONE
        };
        let options = dcsctp::api::Options {
            max_message_size: 262_144,
            max_send_buffer_size: 16 << 20,
            enable_message_interleaving: interleaving,
            zero_checksum_alternate_error_detection_method: method,
            ..Default::default()
        };
        Self {
            socket: dcsctp::new_socket("oracle", &options),
            is_connected: false,
            packets: Vec::new(),
            incoming: BTreeSet::new(),
            outgoing: BTreeSet::new(),
        }
    }

    fn drain(&mut self) {
        while let Some(event) = self.socket.poll_event() {
            match event {
                SocketEvent::SendPacket(packet) => self.packets.push(packet),
                SocketEvent::OnConnected() => self.is_connected = true,
                SocketEvent::OnIncomingStreamReset(streams) => {
                    self.incoming.extend(streams.iter().map(|stream| stream.0));
                }
                SocketEvent::OnStreamsResetPerformed(streams) => {
                    self.outgoing.extend(streams.iter().map(|stream| stream.0));
                }
                SocketEvent::OnAborted(kind, text) | SocketEvent::OnError(kind, text) => {
                    panic!("dcsctp: {kind:?} {text}");
                }
                SocketEvent::OnStreamsResetFailed(_)
                | SocketEvent::OnClosed()
                | SocketEvent::OnConnectionRestarted() => panic!("dcsctp: unexpected event"),
                _ => {}
            }
        }
    }
}

impl End for Dcsctp {
    fn connect(&mut self, _: Instant) {
        self.socket.connect();
    }

    fn is_connected(&self) -> bool {
        self.is_connected
    }

    fn handle_packet(&mut self, now: Instant, packet: Vec<u8>) {
        self.socket
            .advance_time(SocketTime::zero() + (now - epoch()));
        self.socket.handle_input(&packet);
        self.drain();
    }

    fn advance(&mut self, now: Instant) {
        self.socket
            .advance_time(SocketTime::zero() + (now - epoch()));
        self.drain();
    }

    fn next(&self) -> Option<Instant> {
        let at = self.socket.poll_timeout();
        let since = (at != SocketTime::infinite_future()).then(|| at - SocketTime::zero())?;
        Some(epoch() + since)
    }

    fn transmit(&mut self, _: Instant) -> Vec<Vec<u8>> {
        self.drain();
        std::mem::take(&mut self.packets)
    }

    fn receive(&mut self) -> Vec<(u16, Vec<u8>)> {
        let mut messages = Vec::new();
        while let Some(message) = self.socket.get_next_message() {
            messages.push((message.stream_id.0, message.payload));
        }
        messages
    }

    fn send(&mut self, _: Instant, stream: u16, options: SendOptions, payload: Vec<u8>) {
        let (lifetime, max_retransmissions) = limits(options);
        self.socket
            .send(
                dcsctp::api::Message::new(
                    dcsctp::api::StreamId(stream),
                    dcsctp::api::PpId(53),
                    payload,
                ),
                &dcsctp::api::SendOptions {
                    unordered: options.order == Order::Unordered,
                    lifetime,
                    max_retransmissions,
                    lifecycle_id: None,
                },
            )
            .unwrap();
    }

    fn reset(&mut self, stream: u16) {
        let streams = [dcsctp::api::StreamId(stream)];
        self.socket.reset_streams(&streams).unwrap();
    }

    fn is_reset(&self, stream: u16) -> bool {
        self.incoming.contains(&stream) && self.outgoing.contains(&stream)
    }

    fn forget_resets(&mut self) {
        self.incoming.clear();
        self.outgoing.clear();
    }
}

fn limits(options: SendOptions) -> (Option<Duration>, Option<u16>) {
    match options.reliability {
        Reliability::Reliable => (None, None),
        Reliability::MaxRetransmits(count) => (None, Some(count)),
        Reliability::MaxLifetime(life) => (Some(life), None),
    }
}

/// The crate `sctp-proto`.
pub(crate) struct SctpProto {
    endpoint: Endpoint,
    association: Option<(AssociationHandle, TheirAssociation)>,
    transport: Arc<sctp_proto::TransportConfig>,
    is_connected: bool,
    streams: BTreeSet<u16>,
    finished: BTreeSet<u16>,
    packets: VecDeque<Vec<u8>>,
}

impl SctpProto {
    pub(crate) fn new(is_server: bool) -> Self {
        let transport = sctp_proto::TransportConfig::default()
            .with_max_send_message_size(262_144)
            .with_max_receive_message_size(262_144);
        let transport = Arc::new(transport);
        let mut server = sctp_proto::ServerConfig::new();
        server.transport = transport.clone();
        Self {
            endpoint: Endpoint::new(
                Arc::new(sctp_proto::EndpointConfig::new()),
                is_server.then(|| Arc::new(server)),
            ),
            association: None,
            transport,
            is_connected: false,
            streams: BTreeSet::new(),
            finished: BTreeSet::new(),
            packets: VecDeque::new(),
        }
    }

    fn peer() -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], 5000))
    }

    fn drain(&mut self, now: Instant) {
        let Some((handle, association)) = &mut self.association else {
            return;
        };
        while let Some(event) = association.poll_endpoint_event() {
            if let Some(event) = self.endpoint.handle_event(*handle, event) {
                association.handle_event(event);
            }
        }
        while let Some(event) = association.poll() {
            match event {
                sctp_proto::Event::Connected => self.is_connected = true,
                sctp_proto::Event::Stream(StreamEvent::Finished { id }) => {
                    self.finished.insert(id);
                    self.streams.remove(&id);
                }
                sctp_proto::Event::AssociationLost { reason } => panic!("sctp-proto: {reason}"),
                _ => {}
            }
        }
        while let Some(stream) = association.accept_stream() {
            self.streams.insert(stream.stream_identifier());
        }
        while let Some(transmit) = association
            .poll_transmit(now)
            .or_else(|| self.endpoint.poll_transmit())
        {
            if let Payload::RawEncode(packets) = transmit.payload {
                self.packets
                    .extend(packets.iter().map(|packet| packet.to_vec()));
            }
        }
    }

    fn association(&mut self) -> &mut TheirAssociation {
        &mut self.association.as_mut().unwrap().1
    }
}

impl End for SctpProto {
    fn connect(&mut self, _: Instant) {
        let mut config = sctp_proto::ClientConfig::new();
        config.transport = self.transport.clone();
        let opened = self.endpoint.connect(config, Self::peer());
        self.association = Some(opened.unwrap());
    }

    fn is_connected(&self) -> bool {
        self.is_connected
    }

    fn handle_packet(&mut self, now: Instant, packet: Vec<u8>) {
        let packet = Bytes::from(packet);
        match self.endpoint.handle(now, Self::peer(), None, None, packet) {
            Some((handle, DatagramEvent::NewAssociation(association))) => {
                self.association = Some((handle, association));
            }
            Some((_, DatagramEvent::AssociationEvent(event))) => {
                self.association().handle_event(event);
            }
            _ => {}
        }
        self.drain(now);
    }

    fn advance(&mut self, now: Instant) {
        if let Some((_, association)) = &mut self.association
            && association.poll_timeout().is_some_and(|at| at <= now)
        {
            association.handle_timeout(now);
        }
        self.drain(now);
    }

    fn next(&self) -> Option<Instant> {
        self.association.as_ref()?.1.poll_timeout()
    }

    fn transmit(&mut self, now: Instant) -> Vec<Vec<u8>> {
        self.drain(now);
        self.packets.drain(..).collect()
    }

    fn receive(&mut self) -> Vec<(u16, Vec<u8>)> {
        let mut messages = Vec::new();
        for id in self.streams.clone() {
            let Ok(mut stream) = self.association().stream(id) else {
                continue;
            };
            while let Ok(Some(chunks)) = stream.read_sctp() {
                let mut message = vec![0; chunks.len()];
                chunks.read(&mut message).unwrap();
                messages.push((id, message));
            }
        }
        messages
    }

    fn send(&mut self, _: Instant, stream: u16, options: SendOptions, payload: Vec<u8>) {
        let binary = PayloadProtocolIdentifier::Binary;
        if self.streams.insert(stream) {
            self.association().open_stream(stream, binary).unwrap();
        }
        let is_unordered = options.order == Order::Unordered;
        let (kind, value) = match options.reliability {
            Reliability::Reliable => (ReliabilityType::Reliable, 0),
            Reliability::MaxRetransmits(count) => (ReliabilityType::Rexmit, count.into()),
            Reliability::MaxLifetime(life) => (ReliabilityType::Timed, life.as_millis() as u32),
        };
        let mut stream = self.association().stream(stream).unwrap();
        stream
            .set_reliability_params(is_unordered, kind, value)
            .unwrap();
        stream.write_sctp(&payload.into(), binary).unwrap();
    }

    fn reset(&mut self, stream: u16) {
        if let Ok(mut stream) = self.association().stream(stream) {
            stream.close().unwrap();
        }
    }

    fn is_reset(&self, stream: u16) -> bool {
        self.finished.contains(&stream)
    }

    fn forget_resets(&mut self) {
        self.finished.clear();
    }
}
