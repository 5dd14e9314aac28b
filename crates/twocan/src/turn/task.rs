//! What holds the control connection of an allocation, and claims connections on streams of their
//! own.

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep_until, timeout};
use twocan_io::dial::{Dialed, dial};
use twocan_io::stream::Target;
use twocan_io::{clock, interfaces};
use twocan_proto::contract::Security;
use twocan_proto::random::Random;
use twocan_proto::turn::client::tcp::{
    Allocator, AttemptId, Claim, ConnectionId, Event, Progress, Refusal, Settings,
};
use twocan_proto::turn::client::{Account, Failure};

use super::TcpError;
use crate::environment::Environment;

/// Calls that wait for the task.
pub(super) const COMMANDS_MAX: usize = 32;

/// Servers tried one after the other, each named by the one before.
const SERVERS_MAX: usize = 4;

/// How long the server may take to read what it is sent.
const WRITE_WITHIN: Duration = Duration::from_secs(10);

/// Read at a time.
const READ_LEN: usize = 4096;

/// How the server is reached.
#[derive(Debug, Clone)]
pub(super) struct Way {
    pub(super) server: SocketAddr,
    pub(super) security: Security,
    pub(super) environment: Environment,
}

impl Way {
    async fn open(&self) -> io::Result<Dialed> {
        let target = Target {
            local: interfaces::towards(self.server)?,
            remote: self.server,
            security: self.security.clone(),
        };
        dial(&target, || self.environment.trust()).await
    }
}

/// A stream that is a peer's.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) stream: Dialed,
    pub(super) early: Vec<u8>,
    pub(super) allocation: mpsc::Sender<Command>,
}

/// What is asked of the task.
#[derive(Debug)]
pub(super) enum Command {
    Permit(IpAddr, oneshot::Sender<Result<(), TcpError>>),
    Connect(SocketAddr, oneshot::Sender<Result<Held, TcpError>>),
}

/// The control connection.
struct Control {
    way: Way,
    stream: Dialed,
    machine: Allocator,
    bytes: Vec<u8>,
}

impl Control {
    async fn open(way: Way, account: &Account) -> io::Result<Self> {
        let stream = way.open().await?;
        let settings = Settings {
            account: account.clone(),
            family: None,
        };
        let mut machine = Allocator::new(settings, Random::new(clock::seed()));
        machine.start(Instant::now());
        Ok(Self {
            way,
            stream,
            machine,
            bytes: Vec::new(),
        })
    }

    /// Writes what there is for the server.
    async fn flush(&mut self) {
        while let Some(bytes) = self.machine.poll_transmit() {
            if let Err(error) = write(&mut self.stream, &bytes).await {
                tracing::debug!(%error, "the stream to a TURN server");
                return self.machine.handle_disconnected();
            }
        }
    }

    /// Until the server has said something, or it is time. May be dropped at any time.
    async fn wait(&mut self) {
        let due = self.machine.poll_timeout().map(|due| due.at);
        self.bytes.clear();
        self.bytes.reserve(READ_LEN);
        tokio::select! {
            read = self.stream.read_buf(&mut self.bytes) => match read {
                Ok(1..) => self.machine.handle_bytes(Instant::now(), &self.bytes),
                _ => self.machine.handle_disconnected(),
            },
            () = at(due) => self.machine.handle_timeout(Instant::now()),
        }
    }
}

/// Never, where there is no such time.
async fn at(due: Option<Instant>) {
    match due {
        Some(at) => sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

async fn write(stream: &mut Dialed, bytes: &[u8]) -> io::Result<()> {
    let writing = timeout(WRITE_WITHIN, async {
        stream.write_all(bytes).await?;
        stream.flush().await
    });
    let late = |_| io::Error::new(io::ErrorKind::TimedOut, "the server takes nothing");
    writing.await.map_err(late)?
}

/// An allocation that is there.
pub(super) struct Allocated {
    control: Control,
    pub(super) relayed: SocketAddr,
    pub(super) mapped: Option<SocketAddr>,
}

/// Allocates, at another server where this one says so.
pub(super) async fn allocate(mut way: Way, account: &Account) -> Result<Allocated, TcpError> {
    for _ in 0..SERVERS_MAX {
        let mut control = Control::open(way.clone(), account).await?;
        let redirected = loop {
            control.flush().await;
            match control.machine.poll_event() {
                Some(Event::Allocated { relayed, mapped }) => {
                    return Ok(Allocated {
                        control,
                        relayed,
                        mapped,
                    });
                }
                Some(Event::Redirected(server)) => break server,
                Some(Event::Failed(failure)) => return Err(TcpError::Allocation(failure)),
                Some(_) => {}
                None => control.wait().await,
            }
        };
        way.server = redirected;
    }
    Err(TcpError::Allocation(Failure::Redirected(way.server)))
}

impl Allocated {
    /// Holds the allocation until nobody has a use for it, or it is lost.
    pub(super) fn run(
        self,
        own: mpsc::WeakSender<Command>,
        commands: mpsc::Receiver<Command>,
        incoming: mpsc::Sender<(Held, SocketAddr)>,
    ) -> impl Future<Output = ()> {
        let task = Task {
            control: self.control,
            own,
            incoming,
            connecting: HashMap::new(),
            permitting: HashMap::new(),
        };
        task.run(commands)
    }
}

struct Task {
    control: Control,
    own: mpsc::WeakSender<Command>,
    incoming: mpsc::Sender<(Held, SocketAddr)>,
    /// Who waits for a connection.
    connecting: HashMap<AttemptId, oneshot::Sender<Result<Held, TcpError>>>,
    /// Who waits for a permission.
    permitting: HashMap<IpAddr, Vec<oneshot::Sender<Result<(), TcpError>>>>,
}

impl Task {
    async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        let mut is_wanted = true;
        loop {
            self.control.flush().await;
            while let Some(event) = self.control.machine.poll_event() {
                self.act(event);
            }
            if self.control.machine.is_over() {
                break;
            }
            tokio::select! {
                command = commands.recv(), if is_wanted => match command {
                    Some(command) => self.obey(command),
                    None => {
                        is_wanted = false;
                        self.control.machine.close(Instant::now());
                    }
                },
                () = self.control.wait() => {}
            }
        }
        let _ = timeout(WRITE_WITHIN, self.control.stream.shutdown()).await;
    }

    fn obey(&mut self, command: Command) {
        let (machine, now) = (&mut self.control.machine, Instant::now());
        match command {
            Command::Permit(ip, answer) => {
                self.permitting.entry(ip).or_default().push(answer);
                machine.permit(now, ip);
            }
            Command::Connect(peer, answer) => {
                let attempt = machine.connect(now, peer);
                self.connecting.insert(attempt, answer);
            }
        }
    }

    fn act(&mut self, event: Event) {
        match event {
            Event::Permitted(ip) => self.tell(ip, &Ok(())),
            Event::NotPermitted(ip, refusal) => self.tell(ip, &Err(refusal)),
            Event::Connected {
                attempt,
                connection,
            } => {
                let answer = self.connecting.remove(&attempt);
                // Who has gone meanwhile claims nothing; the server lets go of it.
                let Some(answer) = answer.filter(|answer| !answer.is_closed()) else {
                    return;
                };
                if let Some(claiming) = self.claim(connection) {
                    tokio::spawn(async move { answer.send(claiming.await) });
                }
            }
            Event::NotConnected { attempt, refusal } => {
                if let Some(answer) = self.connecting.remove(&attempt) {
                    let _ = answer.send(Err(refusal.into()));
                }
            }
            Event::Attempted { peer, connection } => {
                let Ok(place) = self.incoming.clone().try_reserve_owned() else {
                    return tracing::debug!(%peer, "too many connections wait to be accepted");
                };
                let Some(claiming) = self.claim(connection) else {
                    return;
                };
                tokio::spawn(async move {
                    match claiming.await {
                        Ok(held) => _ = place.send((held, peer)),
                        Err(error) => tracing::debug!(%error, %peer, "a peer's connection"),
                    }
                });
            }
            Event::Lost => tracing::debug!("the TURN server has let go of an allocation for TCP"),
            Event::Allocated { .. } | Event::Failed(_) | Event::Redirected(_) => {}
        }
    }

    fn tell(&mut self, ip: IpAddr, outcome: &Result<(), Refusal>) {
        for answer in self.permitting.remove(&ip).into_iter().flatten() {
            let _ = answer.send(outcome.clone().map_err(TcpError::from));
        }
    }

    /// Claims a connection on a stream of its own.
    fn claim(
        &mut self,
        connection: ConnectionId,
    ) -> Option<impl Future<Output = Result<Held, TcpError>> + use<>> {
        let allocation = self.own.upgrade()?;
        let claim = self.control.machine.claim(Instant::now(), connection);
        let way = self.control.way.clone();
        Some(async move {
            let (stream, early) = claimed(&way, claim).await?;
            Ok(Held {
                stream,
                early,
                allocation,
            })
        })
    }
}

async fn claimed(way: &Way, mut claim: Claim) -> Result<(Dialed, Vec<u8>), TcpError> {
    let mut stream = way.open().await?;
    let mut bytes = Vec::new();
    loop {
        while let Some(request) = claim.poll_transmit() {
            write(&mut stream, &request).await?;
        }
        let due = claim.poll_timeout().map(|due| due.at);
        bytes.clear();
        bytes.reserve(READ_LEN);
        let progress = tokio::select! {
            read = stream.read_buf(&mut bytes) => match read? {
                0 => return Err(Refusal::Gone.into()),
                _ => claim.handle_bytes(Instant::now(), &bytes),
            },
            () = at(due) => claim.handle_timeout(Instant::now()),
        };
        match progress {
            Progress::Waiting => {}
            Progress::Claimed(early) => return Ok((stream, early)),
            Progress::Refused(refusal) => return Err(refusal.into()),
        }
    }
}
