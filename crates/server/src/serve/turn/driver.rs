//! Drives the machine: sockets, streams, its deadline, its numbers.

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
use twocan_proto::contract::{Batch, Datagram, Output, Path, SocketId};
use twocan_proto::random::Random;
use twocan_proto::turn::server::{
    Config, ConnectionId, Event, MEDIA_SOCKET, Server, StreamId, Traffic, Transport,
};
use twocan_proto::wire::stun::Icmp;

use super::super::hatch::{Between, COLLECTED_LEN, Collected, Hatch};
use super::super::media::Reached;
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
    Reconfigure(Box<Config>),
    /// Where this machine takes media.
    Media(Vec<Reached>),
    Drain(oneshot::Sender<()>),
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
    server: Server,
    sockets: HashMap<u32, Bound>,
    /// How many of them are listeners.
    own_sockets: usize,
    media: Vec<Medium>,
    /// What has come from media.
    taken: Collected,
    /// What media had no room for.
    not_handed: u64,
    ready: Arc<Ready>,
    woken: Vec<u32>,
    streams: HashMap<StreamId, Outgoing>,
    listeners: HashMap<u32, AbortHandle>,
    opening: HashMap<ConnectionId, AbortHandle>,
    inputs: mpsc::Sender<Input>,
    batch: Batch,
    dropped: u64,
    allocations: watch::Sender<usize>,
}

/// Runs until the process ends.
pub(super) async fn run(
    sockets: Sockets,
    config: Config,
    to: mpsc::Sender<Input>,
    mut inputs: mpsc::Receiver<Input>,
    (allocations, from_media): (watch::Sender<usize>, Arc<Hatch>),
) -> io::Result<()> {
    let relays = !config.relays.is_empty();
    let mut server = Server::new(config, Random::new(clock::seed()), clock::now());
    // The sockets of any program may have taken a port of the range: Linux draws those of
    // clients from 32768 to 60999 by itself.
    server.check_ports_with(|transport, address| match transport {
        Transport::Udp => std::net::UdpSocket::bind(address).is_ok(),
        Transport::Tcp => std::net::TcpListener::bind(address).is_ok(),
    });
    let mut driver = Driver {
        server,
        sockets: HashMap::new(),
        own_sockets: sockets.udp.len(),
        media: Vec::new(),
        taken: Collected::default(),
        not_handed: 0,
        ready: Arc::new(Ready::default()),
        woken: Vec::new(),
        streams: HashMap::new(),
        listeners: HashMap::new(),
        opening: HashMap::new(),
        inputs: to.clone(),
        batch: Batch::new(),
        dropped: 0,
        allocations,
    };
    for (listener, socket) in (0..).map(SocketId).zip(sockets.udp) {
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
            () = poll_fn(|context| from_media.poll_take(context, taken)) => driver.take_from_media(),
            input = inputs.recv() => match input {
                Some(input) => driver.take(input),
                None => return Ok(()),
            },
            () = &mut timer => driver.server.handle_timeout(clock::now()),
            _ = measure.tick() => driver.measure(),
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
                let server = &mut self.server;
                let mut context = Context::from_waker(&bound.as_waker);
                let received = bound.socket.poll_receive(&mut context, |reception| {
                    server.handle_datagram(now, reception.on(SocketId(id)));
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

    /// Passes on what media has for clients.
    fn take_from_media(&mut self) {
        let mut taken = std::mem::take(&mut self.taken);
        let now = clock::now();
        taken.drain(|between, pieces| {
            let Between {
                relayed,
                media,
                ecn,
            } = between;
            let path = Path {
                socket: MEDIA_SOCKET,
                local: relayed,
            };
            for bytes in pieces {
                let datagram = Datagram {
                    path,
                    remote: media,
                    ecn,
                    waited: Duration::ZERO,
                    bytes,
                };
                self.server.handle_datagram(now, datagram);
            }
            self.settle();
        });
        self.taken = taken;
    }

    /// Collects a batch for media.
    fn collect(&mut self) {
        let Some(to) = self.batch.destination() else {
            return;
        };
        let mut media = self.media.iter_mut();
        let Some(medium) = media.find(|own| own.bound.contains(&to.remote)) else {
            return;
        };
        let between = Between {
            relayed: to.path.local,
            media: to.remote,
            ecn: to.ecn,
        };
        medium.collected.push(between, &self.batch);
        if medium.collected.len() > COLLECTED_LEN {
            self.not_handed += medium.hatch.put(&mut medium.collected);
        }
    }

    /// Hands to media what has been collected for it.
    fn hand_over(&mut self) {
        for medium in &mut self.media {
            self.not_handed += medium.hatch.put(&mut medium.collected);
        }
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
            Input::Reconfigure(config) => self.server.reconfigure(&config),
            Input::Media(media) => self.relay_to(media),
            Input::Drain(done) => {
                self.server.drain();
                self.allocations
                    .send_replace(self.server.allocation_count());
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
                Output::Wait(deadline) => return deadline.map(|deadline| deadline.at),
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
            // The stream's task ends when nobody can write to it.
            Event::Disconnect { stream } => _ = self.streams.remove(&stream),
        }
    }

    fn measure(&self) {
        let count = self.server.allocation_count();
        self.allocations.send_if_modified(|known| {
            let changed = *known != count;
            *known = count;
            changed
        });
        metrics::gauge!("twocan_turn_allocations").set(count as f64);
        metrics::gauge!("twocan_turn_connections").set(self.server.connection_count() as f64);
        metrics::gauge!("twocan_turn_streams").set(self.server.stream_count() as f64);
        let relay_sockets = self.sockets.len().saturating_sub(self.own_sockets);
        metrics::gauge!("twocan_turn_relay_sockets").set(relay_sockets as f64);
        let Traffic {
            packets_to_media,
            packets_from_media,
            packets_to_peers,
            bytes_to_peers,
            packets_to_clients,
            bytes_to_clients,
            over_quota,
            over_user_quota,
            over_total_quota,
            unwanted,
        } = self.server.traffic();
        for (to, packets, bytes) in [
            ("peers", packets_to_peers, bytes_to_peers),
            ("clients", packets_to_clients, bytes_to_clients),
        ] {
            metrics::counter!("twocan_turn_packets_total", "to" => to).absolute(packets);
            metrics::counter!("twocan_turn_bytes_total", "to" => to).absolute(bytes);
        }
        for (to, packets) in [("media", packets_to_media), ("clients", packets_from_media)] {
            metrics::counter!("twocan_turn_handed_over_total", "to" => to).absolute(packets);
        }
        for (reason, count) in [
            ("over_quota", over_quota),
            ("over_user_quota", over_user_quota),
            ("over_total_quota", over_total_quota),
            ("unwanted", unwanted),
            ("no_room_to_send", self.dropped),
            ("no_room_at_media", self.not_handed),
        ] {
            metrics::counter!("twocan_turn_dropped_total", "reason" => reason).absolute(count);
        }
        for (outcome, count) in self.server.counters().iter() {
            let name = if outcome.starts_with("stun_server.") {
                "twocan_stun_requests_total"
            } else {
                "twocan_turn_requests_total"
            };
            metrics::counter!(name, "outcome" => outcome).absolute(count);
        }
    }
}
