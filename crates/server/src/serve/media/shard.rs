//! A shard: a thread with its sockets, its clock, and the machine that decides.

use std::collections::{BTreeMap, VecDeque};
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use serde_json::value::RawValue;
use tokio::sync::{mpsc, oneshot};
use twocan_io::clock;
use twocan_io::udp::Socket;
use twocan_proto::contract::{Batch, Output, Request, SocketId};
use twocan_proto::counters::Counters;
use twocan_proto::dtls::{self, Certificate};
use twocan_proto::peer::{DATAGRAM_LEN_MAX, Interfaces};
use twocan_proto::random::Random;
use twocan_room::MediaPermissions;
use twocan_room::forward::{
    Choice, ChoiceRefused, Config, Event, Forwarder, Fragment, Playing, VideoCodecs,
};

use super::figures::{self, Figures};
pub(super) use super::relayed::Hatches;
use super::{Answer, MediaPlan, Told};

/// Batches sent before the sockets are looked at again.
const BATCHES_PER_TURN: usize = 256;

/// How often numbers are handed to the metrics.
const MEASURE_EVERY: Duration = Duration::from_secs(1);

/// Commands taken in a turn.
const COMMANDS_PER_TURN: usize = 64;

/// What the hall had no room for is tried again after so long.
const FLUSH_AFTER: Duration = Duration::from_millis(20);

/// Who speaks is not told while so much waits for the hall.
const TOLD_MAX: usize = 4096;

/// When so much waits for the hall, what participants say over data channels is left there: clients are
/// slowed.
const TEXTS_HIGH: usize = 256;

/// It is taken again when no more than this waits.
const TEXTS_LOW: usize = 64;

/// What a shard is told.
#[derive(Debug)]
pub(crate) enum Command {
    Join {
        room: String,
        participant: String,
    },
    Leave {
        participant: String,
    },
    Codecs {
        room: String,
        video_codecs: VideoCodecs,
    },
    Permit {
        participant: String,
        permissions: MediaPermissions,
    },
    Signal {
        participant: String,
        event: String,
        data: Box<RawValue>,
    },
    Offer {
        participant: String,
        sdp: String,
        /// Whether it is told things over a data channel afterwards; otherwise it is its only offer.
        joins: bool,
        answer: Answer<String>,
    },
    /// A frame for somebody who is told things over a data channel.
    Say {
        participant: String,
        text: String,
    },
    Fragment {
        participant: String,
        fragment: Fragment,
        restarts: bool,
        answer: Answer<Option<String>>,
    },
    /// What somebody could see.
    Playing {
        participant: String,
        answer: oneshot::Sender<Option<Playing>>,
    },
    /// What somebody wants on a line at most.
    Choose {
        participant: String,
        mid: String,
        choice: Choice,
        answer: oneshot::Sender<Result<(), ChoiceRefused>>,
    },
    /// Says when what was said to those who left before has arrived, or never will.
    Drained(oneshot::Sender<()>),
    Figures {
        room: String,
        answer: oneshot::Sender<Vec<Figures>>,
    },
}

struct Shard {
    index: usize,
    forwarder: Forwarder,
    sockets: Vec<(SocketId, Socket)>,
    batch: Batch,
    told: mpsc::Sender<Told>,
    waiting: VecDeque<Told>,
    /// Whether what participants say over data channels stays there for now.
    holds_texts: bool,
    /// Of those who came by HTTP and wait for the answer to their offer.
    answers: BTreeMap<String, Answer<String>>,
    /// Who is told once nobody's last word is on its way.
    drained: Vec<oneshot::Sender<()>>,
    measure_at: Instant,
    hatches: Hatches,
    lost: u64,
    sent: u64,
    sent_len: u64,
    received: u64,
    received_len: u64,
}

/// Binds the sockets and starts the thread; answers where it is reached.
pub(super) fn start(
    index: usize,
    plan: &MediaPlan,
    commands: mpsc::Receiver<Command>,
    told: mpsc::Sender<Told>,
    hatches: Hatches,
) -> io::Result<Vec<SocketAddr>> {
    let bind = |ip| match &plan.ports {
        None => std::net::UdpSocket::bind(SocketAddr::new(ip, 0)),
        Some(ports) => {
            let mut tried = ports
                .clone()
                .map(|port| std::net::UdpSocket::bind((ip, port)));
            let bound = tried.find(Result::is_ok);
            bound.unwrap_or_else(|| Err(io::ErrorKind::AddrInUse.into()))
        }
    };
    let mut sockets = Vec::new();
    for ip in plan.addresses()? {
        match bind(ip) {
            Ok(socket) => {
                socket.set_nonblocking(true)?;
                sockets.push(socket);
            }
            Err(error) if plan.ips.is_empty() => {
                tracing::debug!(%ip, %error, "no media on this address");
            }
            Err(error) => return Err(error),
        }
    }
    let addresses: Vec<SocketAddr> = sockets
        .iter()
        .map(std::net::UdpSocket::local_addr)
        .collect::<Result<_, _>>()?;
    if addresses.is_empty() {
        return Err(io::ErrorKind::AddrNotAvailable.into());
    }
    let certificate = Certificate::generate(clock::now().wallclock).map_err(io::Error::other)?;
    let settings = dtls::Settings::new(DATAGRAM_LEN_MAX).map_err(io::Error::other)?;
    let config = Config {
        external_addresses: plan.external.clone(),
        ..with_codecs(Config::new(Arc::new(certificate), settings), plan)
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let shard = Shard {
        index,
        forwarder: Forwarder::new(config, Random::new(clock::seed())),
        sockets: Vec::new(),
        batch: Batch::new(),
        told,
        waiting: VecDeque::new(),
        holds_texts: false,
        answers: BTreeMap::new(),
        drained: Vec::new(),
        measure_at: Instant::now(),
        hatches,
        lost: 0,
        sent: 0,
        sent_len: 0,
        received: 0,
        received_len: 0,
    };
    std::thread::Builder::new()
        .name(format!("media-{index}"))
        .spawn(move || {
            let ended = runtime.block_on(shard.run(sockets, commands));
            if let Err(error) = ended {
                tracing::error!(%error, index, "a media thread has ended");
            }
        })?;
    Ok(addresses)
}

fn with_codecs(config: Config, plan: &MediaPlan) -> Config {
    let names: Vec<&str> = plan
        .video_codecs
        .iter()
        .map(|own| own.encoding_name())
        .collect();
    match names.is_empty() {
        true => config,
        false => config.with_video_codecs(&names),
    }
}

impl Shard {
    async fn run(
        mut self,
        sockets: Vec<std::net::UdpSocket>,
        mut commands: mpsc::Receiver<Command>,
    ) -> io::Result<()> {
        let mut bound = sockets
            .into_iter()
            .map(Socket::from_std)
            .collect::<io::Result<Vec<Socket>>>()?;
        let added = bound.iter().map(|socket| socket.local().ip()).collect();
        let interfaces = Interfaces {
            added,
            removed: Vec::new(),
        };
        self.forwarder.handle_interfaces(clock::now(), &interfaces);
        loop {
            let (deadline, more) = self.settle(&mut bound);
            self.lost += self.hatches.flush();
            let more = self.flush() || more;
            if self.forwarder.departing_count() == 0 {
                for done in self.drained.drain(..) {
                    let _ = done.send(());
                }
            }
            let wake = deadline.map_or(self.measure_at, |at| at.min(self.measure_at));
            let wake = match (more, self.waiting.is_empty()) {
                (true, _) => Instant::now(),
                (false, true) => wake,
                (false, false) => wake.min(Instant::now() + FLUSH_AFTER),
            };
            let (forwarder, sockets) = (&mut self.forwarder, &self.sockets);
            let hatches = &mut self.hatches;
            let (received, received_len) = (&mut self.received, &mut self.received_len);
            tokio::select! {
                biased;
                () = poll_fn(|context| {
                    let mut any = false;
                    for (id, socket) in sockets {
                        let now = clock::now();
                        let polled = socket.poll_receive(context, |reception| {
                            *received += 1;
                            *received_len += reception.bytes.len() as u64;
                            forwarder.handle_datagram(now, reception.on(*id));
                        });
                        // An error is that of an earlier datagram; the socket goes on.
                        any |= polled.is_ready();
                    }
                    any |= hatches.poll_receive(context, sockets, |now, datagram| {
                        *received += 1;
                        *received_len += datagram.bytes.len() as u64;
                        forwarder.handle_datagram(now, datagram);
                    });
                    if any { Poll::Ready(()) } else { Poll::Pending }
                }) => {}
                command = commands.recv() => match command {
                    Some(command) => self.act(command),
                    None => return Ok(()),
                },
                () = tokio::time::sleep_until(wake.into()) => {}
            }
            // However much arrives, commands and time have their turn.
            for _ in 0..COMMANDS_PER_TURN {
                match commands.try_recv() {
                    Ok(command) => self.act(command),
                    Err(_) => break,
                }
            }
            let now = clock::now();
            self.forwarder.handle_timeout(now);
            if self.measure_at <= now.monotonic {
                self.measure_at = now.monotonic + MEASURE_EVERY;
                self.hatches.forget_silent(now.monotonic);
                self.measure();
            }
        }
    }

    fn act(&mut self, command: Command) {
        let now = clock::now();
        match command {
            Command::Join { room, participant } => self.forwarder.join(now, &room, &participant),
            Command::Leave { participant } => {
                self.answers.remove(&participant);
                self.forwarder.leave(now, &participant);
            }
            Command::Codecs { room, video_codecs } => {
                self.forwarder.set_video_codecs(&room, video_codecs);
            }
            Command::Permit {
                participant,
                permissions,
            } => self.forwarder.permit(now, &participant, &permissions),
            Command::Signal {
                participant,
                event,
                data,
            } => {
                let forwarder = &mut self.forwarder;
                forwarder.handle_signal(now, &participant, &event, &data);
            }
            Command::Offer {
                participant,
                sdp,
                joins,
                answer,
            } => {
                self.answers.insert(participant.clone(), answer);
                let forwarder = &mut self.forwarder;
                match joins {
                    true => forwarder.handle_joining_offer(now, &participant, &sdp),
                    false => forwarder.handle_only_offer(now, &participant, &sdp),
                }
            }
            Command::Say { participant, text } => self.forwarder.say(now, &participant, text),
            Command::Fragment {
                participant,
                fragment,
                restarts,
                answer,
            } => {
                let forwarder = &mut self.forwarder;
                let taken = match restarts {
                    true => forwarder
                        .handle_restart(now, &participant, &fragment)
                        .map(Some),
                    false => {
                        let taken = forwarder.handle_fragment(now, &participant, &fragment);
                        taken.map(|()| None)
                    }
                };
                // Whoever asked may be gone by now.
                let _ = answer.send(taken);
            }
            Command::Playing {
                participant,
                answer,
            } => {
                let _ = answer.send(self.forwarder.playing(now, &participant));
            }
            Command::Choose {
                participant,
                mid,
                choice,
                answer,
            } => {
                let chosen = self.forwarder.choose(now, &participant, &mid, choice);
                let _ = answer.send(chosen);
            }
            Command::Drained(done) => self.drained.push(done),
            Command::Figures { room, answer } => {
                let all = self.forwarder.connections(&room);
                let _ = answer.send(all.map(|(id, peer)| figures::of(id, peer)).collect());
            }
        }
    }

    /// Does what the machine wants; answers when it wants to be woken, and whether there is more
    /// to send.
    fn settle(&mut self, bound: &mut Vec<Socket>) -> (Option<Instant>, bool) {
        for _ in 0..BATCHES_PER_TURN {
            self.batch.clear();
            match self.forwarder.poll_output(clock::now(), &mut self.batch) {
                Output::Transmit => self.send(),
                Output::Event(Event::Signal {
                    participant,
                    event,
                    data,
                }) => self.say(participant, event, data),
                Output::Event(Event::Ended {
                    participant,
                    is_lost,
                }) => {
                    self.answers.remove(&participant);
                    self.tell(Told::Ended {
                        participant,
                        is_lost,
                    });
                }
                Output::Event(Event::Text { participant, text }) => {
                    self.tell(Told::Text { participant, text });
                    if self.waiting.len() >= TEXTS_HIGH {
                        self.forwarder.take_texts(false);
                        self.holds_texts = true;
                    }
                }
                Output::Event(Event::Behind { participant }) => {
                    self.tell(Told::Behind { participant });
                }
                Output::Request(Request::Bind { socket, ip }) => {
                    let index = bound.iter().position(|own| own.local().ip() == ip);
                    match index.map(|index| bound.swap_remove(index)) {
                        Some(own) => {
                            let local = own.local();
                            self.sockets.push((socket, own));
                            self.forwarder.handle_bound(clock::now(), socket, local);
                        }
                        None => self.forwarder.handle_bind_failed(socket),
                    }
                }
                Output::Request(Request::Close { socket }) => {
                    self.sockets.retain(|(id, _)| *id != socket);
                }
                // It is told of no other wishes.
                Output::Request(_) => {}
                Output::Wait(deadline) => {
                    return (deadline.map(|deadline| deadline.at), false);
                }
            }
        }
        (None, true)
    }

    fn send(&mut self) {
        let Some(destination) = self.batch.destination() else {
            return;
        };
        let wanted = destination.path.socket;
        if let Some((_, socket)) = self.sockets.iter().find(|(id, _)| *id == wanted) {
            self.sent += self.batch.segments() as u64;
            self.sent_len += self.batch.bytes().len() as u64;
            self.lost += match self.hatches.takes(destination.remote) {
                true => self.hatches.send(socket.local(), destination, &self.batch),
                false => socket.send(&self.batch) as u64,
            };
        }
    }

    /// Says something to a participant: one who came by HTTP gets the answer to its offer, and
    /// nothing else.
    fn say(&mut self, participant: String, event: &'static str, data: Box<RawValue>) {
        let Some(answer) = self.answers.remove(&participant) else {
            return self.tell(Told::Said {
                participant,
                event,
                data,
            });
        };
        #[derive(serde::Deserialize, Default)]
        #[serde(default)]
        struct Said {
            sdp: String,
            details: String,
        }
        let said: Said = serde_json::from_str(data.get()).unwrap_or_default();
        match event {
            "answer" => drop(answer.send(Ok(said.sdp))),
            "error" => drop(answer.send(Err(said.details))),
            _ => drop(self.answers.insert(participant, answer)),
        }
    }

    fn tell(&mut self, told: Told) {
        // All else is bounded by the participants and their lines, and is not said twice.
        let is_passing = matches!(
            &told,
            Told::Said {
                event: "speakers",
                ..
            }
        );
        if is_passing && self.waiting.len() >= TOLD_MAX {
            metrics::counter!("twocan_media_signals_dropped_total").increment(1);
            return;
        }
        self.waiting.push_back(told);
    }

    /// Tells the hall what waits; answers whether there is room for what participants say again.
    fn flush(&mut self) -> bool {
        while let Some(told) = self.waiting.pop_front() {
            if let Err(mpsc::error::TrySendError::Full(told)) = self.told.try_send(told) {
                self.waiting.push_front(told);
                break;
            }
        }
        let takes = self.holds_texts && self.waiting.len() <= TEXTS_LOW;
        if takes {
            self.holds_texts = false;
            self.forwarder.take_texts(true);
        }
        takes
    }

    fn measure(&self) {
        let shard = self.index.to_string();
        let gauge = |name: &'static str, value: usize| {
            metrics::gauge!(name, "shard" => shard.clone()).set(value as f64);
        };
        gauge("twocan_media_rooms", self.forwarder.room_count());
        gauge(
            "twocan_media_participants",
            self.forwarder.participant_count(),
        );
        gauge("twocan_media_tracks", self.forwarder.track_count());
        let count = |name: &'static str, value: u64| {
            metrics::counter!(name, "shard" => shard.clone()).absolute(value);
        };
        // It runs on a thread of its own, which is this one.
        let cpu = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        if let Ok(cpu) = Duration::try_from(cpu) {
            let cpu = u64::try_from(cpu.as_micros()).unwrap_or(u64::MAX);
            count("twocan_media_cpu_microseconds_total", cpu);
        }
        count("twocan_media_datagrams_sent_total", self.sent);
        count("twocan_media_datagrams_received_total", self.received);
        count("twocan_media_datagrams_not_sent_total", self.lost);
        count("twocan_media_bytes_sent_total", self.sent_len);
        count("twocan_media_bytes_received_total", self.received_len);
        let data = self.forwarder.data_figures();
        count("twocan_data_messages_received_total", data.messages);
        count("twocan_data_messages_sent_total", data.messages_sent);
        count("twocan_data_bytes_sent_total", data.bytes_sent);
        count("twocan_data_lossy_dropped_total", data.lossy_dropped);
        count("twocan_data_messages_missed_total", data.missed);
        self.measure_dropped(&self.forwarder.counters());
    }

    fn measure_dropped(&self, counters: &Counters) {
        for (reason, count) in counters.iter() {
            let shard = self.index.to_string();
            let dropped = metrics::counter!("twocan_media_dropped_total", "reason" => reason, "shard" => shard);
            dropped.absolute(count);
        }
    }
}
