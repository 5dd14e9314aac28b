//! The task that drives one connection: sockets, clock and names on one side, the machine on the
//! other.
//!
//! The machine is behind one lock, taken briefly and never across an `.await`.

use std::future::poll_fn;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use tokio::net::TcpStream;
use twocan_io::changes::Changes;
use twocan_io::interfaces::{self, Filter};
use twocan_io::locate::{addresses, locate};
use twocan_io::mdns::Announced;
use twocan_io::stream::{self, Listener, Target, Writer};
use twocan_io::udp::{self, Socket};
use twocan_io::{clock, names};
use twocan_proto::contract::{Batch, Lookup, Output, Request, SocketId, StreamEvent};
use twocan_proto::peer::Interfaces;
use twocan_proto::wire::nat64;

use crate::environment::Environment;
use crate::state::Shared;

/// Between two looks at the addresses of this host, so that a call can follow to another one. All
/// connections of the process look together.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// The same where the system tells of changes. None goes missing that it does not tell of as well, so
/// that this is for what nobody has thought of: then an address that is gone is noticed as late as
/// by consent, which lasts 30 s (RFC 7675).
const LOOK_TOLD_EVERY: Duration = Duration::from_secs(30);

/// Accepting goes on so long after the system refused: it may have no more files.
const ACCEPT_AGAIN_AFTER: Duration = Duration::from_millis(200);

/// A stream that a peer opened, and its ends: ours, and the other.
type Accepted = std::io::Result<(TcpStream, SocketAddr, SocketAddr)>;

/// Batches sent before the sockets are looked at again, so that a bulk sender hears its
/// acknowledgements.
const BATCHES_PER_TURN: usize = 4;

pub(crate) struct Driver {
    shared: Arc<Shared>,
    environment: Environment,
    /// A few.
    sockets: Vec<(SocketId, Socket)>,
    /// Where peers connect to; a few.
    listeners: Vec<(SocketId, Listener)>,
    /// When streams are accepted again, after the system refused.
    accept_at: Instant,
    /// To relays and peers; mostly none.
    streams: Vec<(SocketId, Writer)>,
    /// What this host answers for; mostly none.
    names: Vec<(String, Announced)>,
    filter: Filter,
    ports: Option<RangeInclusive<u16>>,
    /// The addresses that the machine was told of.
    known: Vec<IpAddr>,
    /// Of addresses, where the system tells.
    changes: Option<Changes>,
    /// When the system is asked for them again.
    look_at: Instant,
}

/// What a turn of output ended with.
enum Turn {
    /// There is more to send.
    Again,
    /// Nothing until then, or until something happens.
    Wait(Option<Instant>),
    /// The connection is closed and has said all.
    Over,
}

impl Driver {
    /// Tells the machine the addresses of this host, and starts the task.
    pub(crate) fn start(
        shared: Arc<Shared>,
        environment: Environment,
        filter: Filter,
        ports: Option<RangeInclusive<u16>>,
    ) {
        tokio::spawn(Self::new(shared, environment, filter, ports).run());
    }

    fn new(
        shared: Arc<Shared>,
        environment: Environment,
        filter: Filter,
        ports: Option<RangeInclusive<u16>>,
    ) -> Self {
        // Before they are listed, so that no change is missed.
        let changes = Changes::follow();
        let added = interfaces::list(&filter).unwrap_or_else(|error| {
            tracing::warn!(%error, "the system does not tell its addresses");
            Vec::new()
        });
        {
            let mut state = shared.lock();
            let found = Interfaces {
                added: added.clone(),
                removed: Vec::new(),
            };
            state.peer.handle_interfaces(clock::now(), &found);
        }
        Self {
            shared,
            environment,
            sockets: Vec::new(),
            listeners: Vec::new(),
            accept_at: Instant::now(),
            streams: Vec::new(),
            names: Vec::new(),
            filter,
            ports,
            known: added,
            look_at: Instant::now() + look_every(changes.as_ref()),
            changes,
        }
    }

    async fn run(mut self) {
        loop {
            let deadline = match self.output() {
                Turn::Over => break,
                Turn::Again => Some(Instant::now()),
                Turn::Wait(deadline) => deadline,
            };
            self.input(deadline).await;
            self.look();
        }
        self.shared.finish();
    }

    /// Does what the machine wants.
    fn output(&mut self) -> Turn {
        udp::with_batch(|batch| {
            for _ in 0..BATCHES_PER_TURN {
                batch.clear();
                let mut state = self.shared.lock();
                let now = clock::now();
                let output = state.peer.poll_output(now, batch);
                match output {
                    Output::Event(event) => state.take_event(event, &self.shared),
                    Output::Request(request) => {
                        drop(state);
                        self.serve(request);
                    }
                    Output::Transmit => {
                        drop(state);
                        let lost = self.send(batch);
                        if lost > 0 {
                            self.shared.lock().datagrams_not_sent += lost as u64;
                        }
                    }
                    Output::Wait(deadline) => {
                        // What is taken makes room, which the other side is to be told of.
                        if state.take_channel_events(&self.shared) {
                            continue;
                        }
                        state.wake_writers();
                        if state.peer.has_log() {
                            self.shared.notify();
                        }
                        if state.peer.is_finished() {
                            return Turn::Over;
                        }
                        return Turn::Wait(deadline.map(|deadline| deadline.at));
                    }
                }
            }
            Turn::Again
        })
    }

    /// Sends a batch; answers how many datagrams were lost here.
    fn send(&self, batch: &Batch) -> usize {
        let Some(destination) = batch.destination() else {
            return 0;
        };
        let wanted = destination.path.socket;
        let mut sockets = self.sockets.iter();
        if let Some((_, socket)) = sockets.find(|(id, _)| *id == wanted) {
            return socket.send(batch);
        }
        let mut streams = self.streams.iter();
        let stream = streams.find(|(id, _)| *id == wanted);
        stream.map_or(0, |(_, stream)| stream.send(batch))
    }

    fn bind(&self, ip: IpAddr) -> std::io::Result<Socket> {
        match &self.ports {
            Some(ports) => Socket::bind_within(ip, ports.clone()),
            None => Socket::bind(ip),
        }
    }

    /// Tells the machine which addresses have come and gone.
    fn look(&mut self) {
        let now = Instant::now();
        // While much arrives nobody waits for anything else.
        let is_told = self.changes.as_mut().is_some_and(Changes::take);
        if !is_told && now < self.look_at {
            return;
        }
        if self.changes.is_none() {
            self.changes = Changes::follow();
        }
        self.look_at = now + look_every(self.changes.as_ref());
        // What another connection was told just now is as good.
        let Ok(present) = interfaces::list_of(&self.filter, LOOK_EVERY / 2) else {
            return;
        };
        let without = |all: &[IpAddr], some: &[IpAddr]| -> Vec<IpAddr> {
            let left = all.iter().filter(|own| !some.contains(own));
            left.copied().collect()
        };
        let change = Interfaces {
            added: without(&present, &self.known),
            removed: without(&self.known, &present),
        };
        if !change.added.is_empty() || !change.removed.is_empty() {
            tracing::debug!(?change, "addresses");
            self.known = present;
            let mut state = self.shared.lock();
            state.peer.handle_interfaces(clock::now(), &change);
        }
    }

    /// Opens a stream, whose task tells the machine what happens to it.
    fn open(&mut self, socket: SocketId, target: Target) {
        let environment = self.environment.clone();
        let each = self.tell(socket);
        let writer = stream::open(target, move || environment.trust(), each);
        self.streams.push((socket, writer));
    }

    /// What tells the machine of a stream.
    fn tell(&self, socket: SocketId) -> impl FnMut(StreamEvent<'_>) + Send + 'static {
        let shared = Arc::downgrade(&self.shared);
        move |event| {
            if let Some(shared) = shared.upgrade() {
                let mut state = shared.lock();
                state.peer.handle_stream(clock::now(), socket, event);
                drop(state);
                shared.wake.notify_one();
            }
        }
    }

    /// Asks the machine about a stream that a peer opened, and takes it.
    fn accept(&mut self, listener: SocketId, accepted: Accepted) {
        let (stream, local, remote) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::debug!(%error, "accepting");
                self.accept_at = Instant::now() + ACCEPT_AGAIN_AFTER;
                return;
            }
        };
        let now = clock::now();
        let mut state = self.shared.lock();
        let name = state.peer.handle_accepted(now, listener, local, remote);
        drop(state);
        if let Some(socket) = name {
            let writer = stream::carry_accepted(stream, self.tell(socket));
            self.streams.push((socket, writer));
        }
    }

    fn serve_bind(&mut self, socket: SocketId, ip: IpAddr) {
        let bound = self.bind(ip);
        let now = clock::now();
        match bound {
            Ok(bound) => {
                let local = bound.local();
                self.sockets.push((socket, bound));
                self.shared.lock().peer.handle_bound(now, socket, local);
            }
            Err(error) => {
                tracing::debug!(%error, %ip, "cannot bind");
                // An address of IPv6 that is not known to be unique yet (RFC 4862 §5.4) cannot be
                // bound. The system tells of it again when it can.
                if self.changes.is_some() {
                    self.known.retain(|own| *own != ip);
                }
                self.shared.lock().peer.handle_bind_failed(now, socket);
            }
        }
    }

    fn serve(&mut self, request: Request) {
        match request {
            Request::Bind { socket, ip } => self.serve_bind(socket, ip),
            Request::Listen { socket, ip } => {
                let listener = Listener::bind(ip, self.ports.clone());
                let now = clock::now();
                let mut state = self.shared.lock();
                match listener {
                    Ok(listener) => {
                        state.peer.handle_bound(now, socket, listener.local());
                        self.listeners.push((socket, listener));
                    }
                    Err(error) => {
                        tracing::debug!(%error, %ip, "cannot listen");
                        state.peer.handle_bind_failed(now, socket);
                    }
                }
            }
            Request::Close { socket } => {
                self.listeners.retain(|(id, _)| *id != socket);
                self.sockets.retain(|(id, _)| *id != socket);
                self.streams.retain(|(id, _)| *id != socket);
            }
            Request::Open {
                socket,
                local,
                remote,
                security,
            } => {
                let target = Target {
                    local,
                    remote,
                    security,
                };
                self.open(socket, target);
            }
            Request::Announce { name, ip } => {
                if let Some(announced) = self.environment.announce(&name, ip) {
                    self.names.push((name, announced));
                }
            }
            Request::Withdraw { name } => self.names.retain(|(own, _)| *own != name),
            Request::Locate { service } => {
                let shared = Arc::downgrade(&self.shared);
                let environment = self.environment.clone();
                tokio::spawn(async move {
                    let found = locate(service.clone(), environment.name_servers()).await;
                    if let Some(shared) = shared.upgrade() {
                        let mut state = shared.lock();
                        state.peer.handle_located(clock::now(), &service, &found);
                        drop(state);
                        shared.wake.notify_one();
                    }
                });
            }
            Request::Resolve { name, how } => {
                let shared = Arc::downgrade(&self.shared);
                let environment = self.environment.clone();
                tokio::spawn(async move {
                    let addresses = match how {
                        Lookup::Dns if name == nat64::NAME => {
                            addresses(&name, environment.name_servers()).await
                        }
                        Lookup::Dns => names::resolve(&name).await.unwrap_or_default(),
                        Lookup::Mdns => environment.resolve_mdns(&name).await,
                    };
                    if let Some(shared) = shared.upgrade() {
                        let mut state = shared.lock();
                        state.peer.handle_resolved(clock::now(), &name, &addresses);
                        drop(state);
                        shared.wake.notify_one();
                    }
                });
            }
        }
    }

    /// Waits for the first of everything, and tells the machine.
    async fn input(&mut self, deadline: Option<Instant>) {
        let wake_at = deadline.map_or(self.look_at, |deadline| deadline.min(self.look_at));
        let accepts = self.accept_at <= Instant::now();
        let listeners = &self.listeners;
        let mut accepted = None;
        let timer = tokio::time::sleep_until(wake_at.into());
        let shared = &self.shared;
        let sockets = &self.sockets;
        let (changes, look_at) = (&mut self.changes, &mut self.look_at);
        let received = poll_fn(|context| {
            let mut any = false;
            for (id, socket) in sockets {
                let mut state = shared.lock();
                let now = clock::now();
                let polled = socket.poll_receive(context, |reception| {
                    state.peer.handle_datagram(now, reception.on(*id));
                });
                match polled {
                    Poll::Ready(Ok(())) => any = true,
                    // An ICMP error of an earlier datagram; the socket goes on.
                    Poll::Ready(Err(error)) => {
                        tracing::trace!(%error, "receiving");
                        any = true;
                    }
                    Poll::Pending => {}
                }
            }
            for (id, listener) in listeners.iter().filter(|_| accepts && !any) {
                if let Poll::Ready(stream) = listener.poll_accept(context) {
                    accepted = Some((*id, stream));
                    any = true;
                    break;
                }
            }
            if any { Poll::Ready(()) } else { Poll::Pending }
        });
        tokio::select! {
            biased;
            () = received => {}
            () = shared.wake.notified() => {}
            () = change(changes) => *look_at = Instant::now(),
            () = timer => {
                let now = clock::now();
                let mut state = shared.lock();
                if deadline.is_some_and(|deadline| deadline <= now.monotonic) {
                    state.peer.handle_timeout(now);
                }
            }
        }
        if let Some((listener, stream)) = accepted {
            self.accept(listener, stream);
        }
    }
}

fn look_every(changes: Option<&Changes>) -> Duration {
    changes.map_or(LOOK_EVERY, |_| LOOK_TOLD_EVERY)
}

/// Waits until addresses may have changed, or nobody tells of it any more.
async fn change(changes: &mut Option<Changes>) {
    let Some(told) = changes else {
        return std::future::pending().await;
    };
    if !told.next().await {
        *changes = None;
    }
}

#[cfg(test)]
mod tests {
    use twocan_proto::peer::{self, IceTransports, Peer};
    use twocan_proto::random::Random;

    use super::*;
    use crate::configuration::Certificate;

    /// For anything that is waited for.
    const WITHIN: Duration = Duration::from_secs(30);

    /// Streams that a connection takes from strangers at a time.
    const ACCEPTED_MAX: usize = 16;

    async fn run_until(driver: &mut Driver, done: impl Fn(&Driver) -> bool) {
        let end = Instant::now() + WITHIN;
        while !done(driver) {
            assert!(Instant::now() < end, "{} streams", driver.streams.len());
            let soon = Instant::now() + Duration::from_millis(5);
            if let Turn::Wait(_) = driver.output() {
                driver.input(Some(soon)).await;
            }
        }
    }

    /// A driver that listens, and where.
    async fn listening() -> (Driver, SocketAddr) {
        let environment = Environment::of_process().unwrap();
        let certificate = Certificate::generate().unwrap();
        let mut config = peer::Config::new(certificate.0, environment.dtls());
        config.ice_transports = IceTransports::Tcp;
        config.ice_candidate_pool_size = 1;
        let peer = Peer::new(clock::now(), config, Random::new([1; 32]));
        let filter = Filter {
            loopback: true,
            names: Some(vec!["lo".to_owned()]),
        };
        let mut driver = Driver::new(Shared::new(peer), environment, filter, None);
        run_until(&mut driver, |own| !own.listeners.is_empty()).await;
        let address = driver.listeners[0].1.local();
        (driver, address)
    }

    fn has_ended(stream: &TcpStream) -> bool {
        !matches!(stream.try_read(&mut [0]), Err(error) if error.kind() == std::io::ErrorKind::WouldBlock)
    }

    #[tokio::test]
    async fn a_stream_that_has_ended_is_not_kept() {
        let (mut driver, address) = listening().await;
        for _ in 0..3 {
            let stream = TcpStream::connect(address).await.unwrap();
            run_until(&mut driver, |own| own.streams.len() == 1).await;
            drop(stream);
            run_until(&mut driver, |own| own.streams.is_empty()).await;
        }
    }

    #[tokio::test]
    async fn one_stream_too_many_ends_the_oldest_that_has_proved_nothing() {
        let (mut driver, address) = listening().await;
        let mut strangers = Vec::new();
        for count in 1..=ACCEPTED_MAX {
            strangers.push(TcpStream::connect(address).await.unwrap());
            run_until(&mut driver, |own| own.streams.len() == count).await;
        }
        for oldest in 0..3 {
            strangers.push(TcpStream::connect(address).await.unwrap());
            let (ended, left) = strangers.split_at(oldest + 1);
            run_until(&mut driver, |_| has_ended(&ended[oldest])).await;
            assert_eq!(driver.streams.len(), ACCEPTED_MAX);
            assert!(!left.iter().any(has_ended));
        }
    }
}
