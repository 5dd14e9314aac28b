//! The crate `sctp-proto`, which str0m uses.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use sctp_proto::{
    Association, AssociationHandle, ClientConfig, DatagramEvent, Endpoint, EndpointConfig, Event,
    Payload, PayloadProtocolIdentifier, ServerConfig, TransportConfig,
};

use super::QUEUED;

struct Node {
    endpoint: Endpoint,
    peer: SocketAddr,
    association: Option<(AssociationHandle, Association)>,
    is_connected: bool,
}

pub(super) fn transfer(len: usize, count: usize) {
    let addresses = [
        SocketAddr::from(([127, 0, 0, 1], 5000)),
        SocketAddr::from(([127, 0, 0, 1], 5001)),
    ];
    let config = Arc::new(EndpointConfig::new());
    let transport = Arc::new(
        TransportConfig::default()
            .with_max_send_message_size(262_144)
            .with_max_receive_message_size(262_144),
    );
    let mut server = ServerConfig::new();
    server.transport = transport.clone();
    let server = Arc::new(server);
    let mut client = ClientConfig::new();
    client.transport = transport;
    let node = |index: usize, server| Node {
        endpoint: Endpoint::new(config.clone(), server),
        peer: addresses[1 - index],
        association: None,
        is_connected: false,
    };
    let (mut a, mut b) = (node(0, None), node(1, Some(server)));
    let mut now = Instant::now();
    let opened = a.endpoint.connect(client, a.peer);
    a.association = Some(opened.expect("the configuration is valid"));
    let (mut to_a, mut to_b) = (VecDeque::new(), VecDeque::new());
    while !(a.is_connected && b.is_connected) {
        let moved = a.drive(now, &mut to_a, &mut to_b) | b.drive(now, &mut to_b, &mut to_a);
        if !moved {
            now = now.max(next(&a, &b));
        }
    }
    a.association()
        .open_stream(0, PayloadProtocolIdentifier::Binary)
        .expect("a new association has no streams");
    let message = Bytes::from(vec![0x5a; len]);
    let mut buffer = vec![0; len];
    let (mut sent, mut received) = (0, 0);
    let mut is_accepted = false;
    while received < count {
        let mut stream = a.association().stream(0).expect("opened above");
        while sent < count && stream.buffered_amount().expect("the stream is open") < QUEUED {
            stream
                .write_sctp(&message, PayloadProtocolIdentifier::Binary)
                .expect("the queue has room");
            sent += 1;
        }
        let moved = a.drive(now, &mut to_a, &mut to_b) | b.drive(now, &mut to_b, &mut to_a);
        is_accepted = is_accepted || b.association().accept_stream().is_some();
        if is_accepted {
            let mut stream = b.association().stream(0).expect("accepted");
            while let Ok(Some(chunks)) = stream.read_sctp() {
                assert_eq!(chunks.read(&mut buffer).expect("it fits"), len);
                std::hint::black_box(&buffer);
                received += 1;
            }
        }
        if !moved {
            now = now.max(next(&a, &b));
        }
    }
}

fn next(a: &Node, b: &Node) -> Instant {
    let timeouts = [a, b].map(|node| {
        let (_, association) = node.association.as_ref()?;
        association.poll_timeout()
    });
    let next = timeouts.into_iter().flatten().min();
    next.expect("something is always due")
}

impl Node {
    fn association(&mut self) -> &mut Association {
        let (_, association) = self.association.as_mut().expect("it is connected");
        association
    }

    fn drive(
        &mut self,
        now: Instant,
        inbound: &mut VecDeque<Bytes>,
        outbound: &mut VecDeque<Bytes>,
    ) -> bool {
        let mut moved = false;
        while let Some(packet) = inbound.pop_front() {
            moved = true;
            match self.endpoint.handle(now, self.peer, None, None, packet) {
                Some((handle, DatagramEvent::NewAssociation(association))) => {
                    self.association = Some((handle, association));
                }
                Some((_, DatagramEvent::AssociationEvent(event))) => {
                    self.association().handle_event(event);
                }
                None => {}
            }
        }
        let Some((handle, association)) = &mut self.association else {
            return moved;
        };
        if association.poll_timeout().is_some_and(|at| at <= now) {
            association.handle_timeout(now);
        }
        while let Some(event) = association.poll() {
            self.is_connected |= matches!(event, Event::Connected);
        }
        while let Some(event) = association.poll_endpoint_event() {
            self.endpoint.handle_event(*handle, event);
        }
        while let Some(transmit) = association
            .poll_transmit(now)
            .or_else(|| self.endpoint.poll_transmit())
        {
            if let Payload::RawEncode(packets) = transmit.payload {
                moved |= !packets.is_empty();
                outbound.extend(packets);
            }
        }
        moved
    }
}
