//! Drives a part of the server: its sockets, streams, its deadline, its numbers.

mod handing;
mod secure;

use std::collections::HashMap;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::AbortHandle;
use tokio::time::MissedTickBehavior;
use twocan_io::clock;
use twocan_io::udp::Socket;
use twocan_proto::contract::{Batch, Datagram, Ecn, Output, Path, SocketId};
use twocan_proto::turn::server::{
    Config, ConnectionId, DTLS_LISTENERS_MIN, Event, MEDIA_SOCKET, PART_SOCKET, Server, StreamId,
    Transport,
};
use twocan_proto::wire::stun::Icmp;

use super::super::hatch::{Collected, Hatch, ToTurn};
use super::super::media::Reached;
use super::dtls::{Dtls, is_dtls};
use super::figures::{Figure, Figures};
use super::ready::{Ready, SocketWaker};
use super::settings::own_addresses;
use super::streams::{Ask, Outgoing};
use super::{Sockets, peers, streams};

/// Receptions of one socket before the next one has its turn.
const RECEPTIONS_MAX: usize = 4;

/// How often numbers are handed to the metrics.
const MEASURE_EVERY: Duration = Duration::from_millis(500);

/// How often this machine's addresses are listed, which are not relayed to.
const LIST_EVERY: Duration = Duration::from_secs(5);

/// What streams say.
#[derive(Debug)]
pub(super) enum Input {
    /// A client has connected, through TLS where there is any.
    Connected {
        stream: StreamId,
        path: Path,
        remote: SocketAddr,
        to: Outgoing,
    },
    Bytes(StreamId, Vec<u8>),
    /// So many bytes have been taken by the system, of a stream that carries a connection.
    Written(StreamId, usize),
    /// A peer has connected to a relayed port.
    Accepted {
        socket: SocketId,
        at: SocketAddr,
        stream: StreamId,
        peer: SocketAddr,
        to: Outgoing,
    },
    /// A connection to a peer is there, or is not to be had.
    Opened(ConnectionId, Option<(StreamId, Outgoing)>),
    Closed(StreamId),
    /// Another part was sent what is for this one.
    PassedOn {
        path: Path,
        remote: SocketAddr,
        ecn: Ecn,
        bytes: Vec<u8>,
    },
    Reconfigure(Box<Config>),
    /// Where this machine takes media.
    Media(Vec<Reached>),
    Drain(oneshot::Sender<()>),
}

/// One of the server's threads among the others.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) number: usize,
    pub(super) ways: ToTurn,
    /// Of all of them.
    pub(super) inputs: Vec<mpsc::Sender<Input>>,
    pub(super) allocations: watch::Sender<usize>,
    pub(super) figures: Arc<Figures>,
}

struct Bound {
    socket: Socket,
    waker: Arc<SocketWaker>,
    as_waker: Waker,
}

/// A media thread, and what is on its way there.
struct Medium {
    bound: Vec<SocketAddr>,
    hatch: Arc<Hatch>,
    collected: Collected,
}

struct Driver {
    place: Place,
    server: Server,
    sockets: HashMap<u32, Bound>,
    /// How many of them are listeners.
    own_sockets: usize,
    media: Vec<Medium>,
    /// What is on its way to other parts, by their places.
    to_parts: Vec<Collected>,
    /// What has come from media, and from other parts.
    taken: Collected,
    /// What these had no room for.
    not_handed: u64,
    ready: Arc<Ready>,
    woken: Vec<u32>,
    streams: HashMap<StreamId, Outgoing>,
    listeners: HashMap<u32, AbortHandle>,
    opening: HashMap<ConnectionId, AbortHandle>,
    inputs: mpsc::Sender<Input>,
    /// Clients on DTLS, where there are any.
    dtls: Option<Dtls>,
    batch: Batch,
    dropped: u64,
}

/// Runs until the process ends.
pub(super) async fn run(
    mut server: Server,
    sockets: Sockets,
    place: Place,
    mut inputs: mpsc::Receiver<Input>,
) -> io::Result<()> {
    let own = place.inputs.get(place.number).cloned();
    let handed = place.ways.hatches().get(place.number).cloned();
    let (Some(to), Some(handed)) = (own, handed) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let relays = server.relays();
    // The sockets of any program may have taken a port of the range: Linux draws those of
    // clients from 32768 to 60999 by itself.
    server.check_ports_with(|transport, address| match transport {
        Transport::Udp => std::net::UdpSocket::bind(address).is_ok(),
        Transport::Tcp => std::net::TcpListener::bind(address).is_ok(),
    });
    let to_parts = place.inputs.iter().map(|_| Collected::default());
    let mut driver = Driver {
        to_parts: to_parts.collect(),
        place,
        server,
        sockets: HashMap::new(),
        own_sockets: sockets.udp.len() + sockets.dtls.len(),
        media: Vec::new(),
        taken: Collected::default(),
        not_handed: 0,
        ready: Arc::new(Ready::default()),
        woken: Vec::new(),
        streams: HashMap::new(),
        listeners: HashMap::new(),
        opening: HashMap::new(),
        inputs: to.clone(),
        dtls: sockets.pair.map(Dtls::new).transpose()?,
        batch: Batch::new(),
        dropped: 0,
    };
    for (listener, socket) in (0..).map(SocketId).zip(sockets.udp) {
        driver.add(listener, Socket::from_std(socket)?);
    }
    for (listener, socket) in (DTLS_LISTENERS_MIN..).map(SocketId).zip(sockets.dtls) {
        driver.add(listener, Socket::from_std(socket)?);
    }
    for listener in sockets.tcp {
        tokio::spawn(streams::accept(listener, None, to.clone()));
    }
    // All of them share the bounds of handshakes.
    let tls = sockets.tls_config.map(streams::Tls::new);
    for listener in sockets.tls {
        tokio::spawn(streams::accept(listener, tls.clone(), to.clone()));
    }
    let mut measure = tokio::time::interval(MEASURE_EVERY);
    measure.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut list = tokio::time::interval(LIST_EVERY);
    list.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut deadline = driver.settle();
    let far = || tokio::time::Instant::now() + Duration::from_secs(86_400);
    let mut timer = pin!(tokio::time::sleep_until(
        deadline.map_or_else(far, Into::into)
    ));
    loop {
        let ready = driver.ready.clone();
        let (woken, taken) = (&mut driver.woken, &mut driver.taken);
        tokio::select! {
            () = poll_fn(|context| ready.poll(context, woken)) => driver.receive(),
            () = poll_fn(|context| handed.poll_take(context, taken)) => driver.take_handed(),
            input = inputs.recv() => match input {
                Some(input) => driver.take(input),
                None => return Ok(()),
            },
            () = &mut timer => driver.handle_timeout(),
            _ = measure.tick() => {
                driver.measure();
                driver.dtls.iter_mut().for_each(Dtls::look_at_certificate);
            }
            _ = list.tick(), if relays => match own_addresses() {
                Ok(own) => driver.server.set_own_addresses(own),
                // Those known stay.
                Err(error) => tracing::debug!(%error, "listing this machine's addresses"),
            },
        }
        let next = driver.settle();
        driver.hand_over();
        if next != deadline || timer.is_elapsed() {
            deadline = next;
            timer.as_mut().reset(next.map_or_else(far, Into::into));
        }
    }
}

/// Tells the machine of the ICMP errors of a relayed socket.
fn take_errors(server: &mut Server, id: u32, bound: &Bound) {
    bound.socket.take_errors(|error| {
        let icmp = Icmp {
            kind: error.kind,
            code: error.code.into(),
            data: error.data,
        };
        server.handle_icmp(clock::now(), SocketId(id), error.remote, icmp);
    });
}

impl Driver {
    fn add(&mut self, id: SocketId, socket: Socket) {
        let waker = self.ready.waker(id.0);
        let as_waker = Waker::from(waker.clone());
        let bound = Bound {
            socket,
            waker,
            as_waker,
        };
        self.sockets.insert(id.0, bound);
    }

    /// Takes what the woken sockets have.
    fn receive(&mut self) {
        let mut woken = std::mem::take(&mut self.woken);
        for id in woken.drain(..) {
            let Some(bound) = self.sockets.get(&id) else {
                continue;
            };
            bound.waker.seen();
            let mut receptions = 0;
            loop {
                let now = clock::now();
                let Some(bound) = self.sockets.get(&id) else {
                    break;
                };
                let (server, dtls) = (&mut self.server, &mut self.dtls);
                let mut context = Context::from_waker(&bound.as_waker);
                let received = bound.socket.poll_receive(&mut context, |reception| {
                    let datagram = reception.on(SocketId(id));
                    match dtls {
                        Some(dtls) if is_dtls(id) => dtls.receive(server, now, datagram),
                        _ => server.handle_datagram(now, datagram),
                    }
                });
                if received.is_pending() {
                    break;
                }
                if let Poll::Ready(Err(error)) = received {
                    // A peer that is not there: the system's word on an earlier datagram.
                    tracing::trace!(%error, "receiving");
                    take_errors(&mut self.server, id, bound);
                }
                self.settle();
                receptions += 1;
                if receptions == RECEPTIONS_MAX {
                    if let Some(bound) = self.sockets.get(&id) {
                        bound.as_waker.wake_by_ref();
                    }
                    break;
                }
            }
        }
        self.woken = woken;
    }

    fn take(&mut self, input: Input) {
        let now = clock::now();
        match input {
            Input::Connected {
                stream,
                path,
                remote,
                to,
            } => {
                self.streams.insert(stream, to);
                self.server
                    .handle_stream_connected(now, stream, path, remote);
            }
            Input::Bytes(stream, bytes) => self.server.handle_stream_bytes(now, stream, &bytes),
            Input::Written(stream, len) => self.server.handle_stream_written(now, stream, len),
            Input::Accepted {
                socket,
                at,
                stream,
                peer,
                to,
            } => {
                self.streams.insert(stream, to);
                self.server.handle_accepted(now, (socket, at), stream, peer);
            }
            Input::Opened(connection, opened) => {
                self.opening.remove(&connection);
                let stream = opened.map(|(stream, to)| {
                    self.streams.insert(stream, to);
                    stream
                });
                self.server.handle_connected(now, connection, stream);
            }
            Input::Closed(stream) => {
                self.streams.remove(&stream);
                self.server.handle_stream_closed(now, stream);
            }
            Input::PassedOn {
                path,
                remote,
                ecn,
                mut bytes,
            } => {
                let datagram = Datagram {
                    path,
                    remote,
                    ecn,
                    waited: Duration::ZERO,
                    bytes: &mut bytes,
                };
                self.server.handle_passed_on(now, datagram);
            }
            Input::Reconfigure(config) => self.server.reconfigure(&config),
            Input::Media(media) => self.relay_to(media),
            Input::Drain(done) => {
                self.server.drain();
                let count = self.server.allocation_count();
                self.place.allocations.send_replace(count);
                let _ = done.send(());
            }
        }
    }

    fn relay_to(&mut self, media: Vec<Reached>) {
        let mut all = Vec::new();
        self.media.clear();
        for Reached { addresses, hatch } in media {
            self.media.push(Medium {
                bound: addresses.iter().map(|own| own.bound).collect(),
                hatch,
                collected: Collected::default(),
            });
            all.extend(addresses);
        }
        self.server.set_media_addresses(all);
    }

    /// Does what the machine wants; answers when it wants to be woken.
    fn settle(&mut self) -> Option<Instant> {
        loop {
            match self.server.poll_output(&mut self.batch) {
                Output::Transmit => {
                    let socket = self.batch.destination().map(|to| to.path.socket.0);
                    if socket == Some(MEDIA_SOCKET.0) {
                        self.collect();
                    } else if socket == Some(PART_SOCKET.0) {
                        self.collect_for_part();
                    } else if socket.is_some_and(is_dtls) {
                        self.send_encrypted();
                    } else if let Some((id, bound)) =
                        socket.and_then(|id| self.sockets.get_key_value(&id))
                    {
                        self.dropped += bound.socket.send(&self.batch) as u64;
                        take_errors(&mut self.server, *id, bound);
                    }
                    self.batch.clear();
                }
                Output::Event(event) => self.act(event),
                Output::Request(_) => {}
                Output::Wait(_) if self.settle_dtls() => {}
                Output::Wait(deadline) => {
                    return self.or_dtls(deadline.map(|deadline| deadline.at));
                }
            }
        }
    }

    fn act(&mut self, event: Event) {
        match event {
            Event::Bind { socket, address } => {
                let bound = Socket::bind_to(address);
                if let Err(error) = &bound {
                    tracing::debug!(%error, %address, "binding a relayed port");
                }
                let is_bound = bound.is_ok();
                if let Ok(mut bound) = bound {
                    bound.keep_errors();
                    self.add(socket, bound);
                }
                self.server
                    .handle_bound(clock::now(), socket, address, is_bound);
            }
            Event::Listen { socket, address } => {
                let listening = peers::listen(socket, address, self.inputs.clone());
                if let Err(error) = &listening {
                    tracing::debug!(%error, %address, "listening on a relayed port");
                }
                let is_bound = listening.is_ok();
                if let Ok(task) = listening {
                    self.listeners.insert(socket.0, task);
                }
                self.server
                    .handle_bound(clock::now(), socket, address, is_bound);
            }
            Event::Connect {
                connection,
                from,
                to,
            } => {
                let task = peers::open(connection, from, to, self.inputs.clone());
                self.opening.insert(connection, task);
            }
            Event::Abandon { connection } => {
                if let Some(task) = self.opening.remove(&connection) {
                    task.abort();
                }
            }
            Event::Hold { stream } => {
                if let Some(to) = self.streams.get_mut(&stream) {
                    to.ask(Ask::Hold);
                }
            }
            Event::Read { stream } => {
                if let Some(to) = self.streams.get_mut(&stream) {
                    to.ask(Ask::Read);
                }
            }
            Event::Close { socket } => {
                self.sockets.remove(&socket.0);
                if let Some(task) = self.listeners.remove(&socket.0) {
                    task.abort();
                }
            }
            Event::Send { stream, bytes } => {
                let to = self.streams.get(&stream);
                let is_sent = to.is_some_and(|to| to.send(bytes));
                if is_sent {
                    return;
                }
                self.dropped += 1;
                // A connection with a piece missing is none.
                if to.is_some_and(Outgoing::carries) {
                    self.streams.remove(&stream);
                    self.server.handle_stream_closed(clock::now(), stream);
                }
            }
            Event::PassOn {
                part,
                path,
                remote,
                ecn,
                bytes,
            } => {
                let input = Input::PassedOn {
                    path,
                    remote,
                    ecn,
                    bytes,
                };
                let to = self.place.inputs.get(part);
                let is_passed = to.is_some_and(|to| to.try_send(input).is_ok());
                self.not_handed += u64::from(!is_passed);
            }
            // The stream's task ends when nobody can write to it.
            Event::Disconnect { stream } => _ = self.streams.remove(&stream),
        }
    }

    fn measure(&self) {
        let Place {
            number,
            allocations,
            figures,
            ..
        } = &self.place;
        let count = self.server.allocation_count();
        allocations.send_if_modified(|known| {
            let changed = *known != count;
            *known = count;
            changed
        });
        let mut counters = self.server.counters();
        if let Some(dtls) = &self.dtls {
            counters.merge(dtls.counters());
        }
        let figure = Figure {
            dtls_clients: self.dtls.as_ref().map_or(0, Dtls::client_count),
            connections: self.server.connection_count(),
            streams: self.server.stream_count(),
            relay_sockets: self.sockets.len().saturating_sub(self.own_sockets),
            traffic: self.server.traffic(),
            no_room_to_send: self.dropped,
            no_room_at_media: self.not_handed,
            counters,
        };
        figures.set(*number, figure);
        if *number == 0 {
            figures.publish(count);
        }
    }
}
