//! The task that owns the hall, and the way to it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};
use twocan_io::clock;
use twocan_proto::contract::Output;
use twocan_proto::random::Random;
use twocan_proto::time::Now;
use twocan_room::{
    Admission, CloseCode, ConnectionId, Event, GuestLine, GuestPurpose, GuestRefusal, Hall,
    Introduction, MediaEvent, Moderated, Notice, OwnUrls, Protocol, Refusal, ShownToken, Topology,
};

mod channels;
mod figures;
mod handle;

use channels::Channels;
pub(crate) use handle::{ExchangeError, HallHandle};

use super::Plan;
use super::access::{Access, Denied};
use super::hatch::ToTurn;
use super::media::{Answer, Media, Reached, Told};
use super::webhooks::Webhooks;
use super::whip::Sessions;
use crate::tokens::TokenError;

/// Commands that wait for the hall; senders wait when it is full, which slows readers down.
const COMMANDS_MAX: usize = 1024;

/// What media threads say on its way to the hall.
const TOLD_MAX: usize = 1024;

/// Tokens shown in calls that wait to be looked at; who shows a further one is told to try again.
const TOKENS_MAX: usize = 64;

/// A media thread whose queue was full is tried again after so long.
const FLUSH_AFTER: Duration = Duration::from_millis(20);

/// What a WebSocket task is told.
#[derive(Debug)]
pub(crate) enum Outgoing {
    /// Send this.
    Text(String),
    /// Send what came before, and close.
    Close(CloseCode, &'static str),
}

/// A WebSocket, and as whom it was let in.
pub(crate) struct Joins {
    pub(crate) room: String,
    pub(crate) protocol: Protocol,
    pub(crate) own: OwnUrls,
    pub(crate) admission: Admission,
}

/// What somebody comes for by HTTP.
pub(crate) enum Comes {
    /// To send these.
    Publishes(Vec<GuestLine>),
    /// To look on.
    LooksOn,
    /// To take part, with its signaling on a data channel.
    TakesPart {
        /// The channel.
        id: ConnectionId,
        own: OwnUrls,
        who: Introduction,
    },
}

impl Comes {
    const fn purpose(&self) -> GuestPurpose {
        match self {
            Self::Publishes(_) => GuestPurpose::Publishes,
            Self::LooksOn => GuestPurpose::LooksOn,
            Self::TakesPart { .. } => GuestPurpose::TakesPart,
        }
    }
}

/// Done with the hall, where nobody else is.
type Administered = Box<dyn FnOnce(&mut Hall, Now) + Send>;

/// Said to the threads that forward media, where there are some.
type Forwarded = Box<dyn FnOnce(Option<&mut Media>) + Send>;

/// What the hall's task is told.
enum Command {
    Admit {
        room: String,
        answer: oneshot::Sender<Result<(), Refusal>>,
    },
    Connected {
        id: ConnectionId,
        joins: Joins,
        to: mpsc::Sender<Outgoing>,
    },
    Text(ConnectionId, String),
    Other(ConnectionId),
    Disconnected(ConnectionId),
    /// Somebody comes by HTTP, of whom nobody is told yet.
    Exchange {
        room: String,
        admission: Admission,
        purpose: GuestPurpose,
        offer: String,
        id: oneshot::Sender<Result<String, GuestRefusal>>,
        answer: Answer<String>,
    },
    /// Who came by HTTP does what it came for.
    Welcome {
        id: String,
        comes: Comes,
        /// Called where it is welcome, before anything else can happen to it.
        registers: Box<dyn FnOnce() + Send>,
        welcomed: oneshot::Sender<Result<(), GuestRefusal>>,
    },
    Dismiss(String),
    /// Something that media threads are to do.
    Forward(Forwarded),
    /// A token that somebody showed was looked at.
    Renew(ShownToken, Result<Admission, String>),
    /// Something that operators ask for.
    Administer(Administered),
    /// Nobody joins any more; everybody is told in how long the server ends.
    Drain(Duration),
    /// Answered when no media goes through the server any more.
    Idle(oneshot::Sender<()>),
    /// Everybody is let go; answered when all have had their last word.
    End(oneshot::Sender<()>),
}

/// Starts the task, and the threads that forward media where rooms are of that shape; answers where
/// these are reached. What they send to relayed addresses of our own they put into `to_turn`.
pub(crate) fn start(
    plan: &Plan,
    sessions: Sessions,
    access: Arc<Access>,
    to_turn: Option<ToTurn>,
) -> std::io::Result<(HallHandle, Vec<Reached>)> {
    let (sender, commands) = mpsc::channel(COMMANDS_MAX);
    let (told_to, told) = mpsc::channel(TOLD_MAX);
    let hall = Hall::new(plan.hall.clone(), Random::new(twocan_io::clock::seed()));
    let media = match plan.media.topology {
        Topology::Mesh => None,
        Topology::Sfu | Topology::Auto => Some(Media::start(&plan.media, &told_to, to_turn)?),
    };
    let media_reached = media.iter().flat_map(|media| media.reached(&plan.media));
    let media_reached = media_reached.collect();
    let (tokens, shown) = mpsc::channel(TOKENS_MAX);
    let task = Task {
        hall,
        sessions,
        access: access.clone(),
        tokens,
        webhooks: Webhooks::start(plan.webhooks.as_ref()),
        media,
        told,
        _told_to: told_to,
        commands,
        outgoing: BTreeMap::new(),
        channels: Channels::default(),
        idle: Vec::new(),
    };
    tokio::spawn(task.run());
    tokio::spawn(look_at(access, shown, sender.downgrade()));
    Ok((HallHandle(sender), media_reached))
}

/// Looks at the tokens that participants show, one after another: a signature costs more than a frame,
/// and the hall goes on meanwhile.
async fn look_at(
    access: Arc<Access>,
    mut shown: mpsc::Receiver<ShownToken>,
    hall: mpsc::WeakSender<Command>,
) {
    while let Some(shown) = shown.recv().await {
        let looked = access.token_admission(&shown.room, &shown.token);
        let looked = looked.map_err(|denied| denied.to_string());
        let Some(hall) = hall.upgrade() else { return };
        let _ = hall.send(Command::Renew(shown, looked)).await;
    }
}

struct Task {
    hall: Hall,
    /// Of those who came by HTTP.
    sessions: Sessions,
    /// Knows what is revoked.
    access: Arc<Access>,
    /// To who looks at the tokens that participants show.
    tokens: mpsc::Sender<ShownToken>,
    webhooks: Webhooks,
    media: Option<Media>,
    told: mpsc::Receiver<Told>,
    /// Keeps the channel open where nobody forwards.
    _told_to: mpsc::Sender<Told>,
    commands: mpsc::Receiver<Command>,
    outgoing: BTreeMap<ConnectionId, mpsc::Sender<Outgoing>>,
    channels: Channels,
    /// Who waits until no media goes through the server.
    idle: Vec<oneshot::Sender<()>>,
}

impl Task {
    async fn run(mut self) {
        loop {
            let deadline = self.settle();
            if !self.idle.is_empty() && !self.hall.carries_media() {
                for idle in self.idle.drain(..) {
                    let _ = idle.send(());
                }
            }
            let waits = self.media.as_mut().is_some_and(Media::flush);
            let timer = async {
                match deadline {
                    Some(at) => tokio::time::sleep_until(at.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                command = self.commands.recv() => match command {
                    Some(command) => self.act(command),
                    None => return,
                },
                Some(told) = self.told.recv() => match told {
                    Told::Said { participant, event, data } => {
                        self.hall.tell(&participant, event, &data);
                    }
                    Told::Ended { participant, is_lost } => self.ended(&participant, is_lost),
                    Told::Text { participant, text } => self.heard_by_channel(&participant, &text),
                    Told::Behind { participant } => self.behind_by_channel(&participant),
                },
                () = tokio::time::sleep(FLUSH_AFTER), if waits => {}
                () = timer => self.hall.handle_timeout(clock::now()),
            }
        }
    }

    fn act(&mut self, command: Command) {
        let now = clock::now();
        match command {
            Command::Admit { room, answer } => {
                let _ = answer.send(self.hall.admit(&room));
            }
            Command::Connected { id, joins, to } => {
                self.outgoing.insert(id, to);
                self.connected(now, id, joins);
            }
            Command::Text(id, text) => self.hall.handle_text(now, id, &text),
            Command::Other(id) => self.hall.handle_other(now, id),
            Command::Disconnected(id) => {
                self.outgoing.remove(&id);
                self.hall.disconnected(now, id);
            }
            Command::Exchange {
                room,
                admission,
                purpose,
                offer,
                id,
                answer,
            } => {
                let admitted = match self.access.has_revoked(&admission) {
                    true => Err(GuestRefusal::NotPermitted),
                    false => self.hall.admit_guest(now, &room, admission, purpose),
                };
                // The thread is told of it before its offer.
                self.settle();
                if let (Ok(id), Some(media)) = (&admitted, &mut self.media) {
                    let joins = purpose == GuestPurpose::TakesPart;
                    media.offer(id.clone(), offer, joins, answer);
                }
                // Who has hung up meanwhile does not stay.
                if let Err(Ok(id)) = id.send(admitted) {
                    self.dismiss(&id);
                }
            }
            Command::Welcome {
                id,
                comes,
                registers,
                welcomed,
            } => {
                let welcome = self.welcome(now, &id, comes);
                if welcome.is_ok() {
                    registers();
                }
                let _ = welcomed.send(welcome);
            }
            Command::Dismiss(id) => self.dismiss(&id),
            Command::Forward(ask) => ask(self.media.as_mut()),
            Command::Renew(shown, looked) => {
                // It may have been revoked since it was looked at.
                let looked = looked.and_then(|fresh| match self.access.has_revoked(&fresh) {
                    true => Err(Denied::Invalid(TokenError::Revoked).to_string()),
                    false => Ok(fresh),
                });
                self.hall.renew(now, &shown, looked);
            }
            Command::Administer(act) => act(&mut self.hall, now),
            Command::Drain(within) => self.hall.drain(now, within),
            Command::Idle(idle) => self.idle.push(idle),
            Command::End(done) => {
                self.hall.end();
                self.settle();
                let told = self.media.as_mut().map(Media::drained);
                tokio::spawn(async move {
                    for shard in told.unwrap_or_default() {
                        let _ = shard.await;
                    }
                    let _ = done.send(());
                });
            }
        }
    }

    fn welcome(&mut self, now: Now, id: &str, comes: Comes) -> Result<(), GuestRefusal> {
        match comes {
            Comes::Publishes(lines) => self.hall.welcome_guest(now, id, &lines),
            Comes::LooksOn => self.hall.welcome_viewer(now, id),
            Comes::TakesPart {
                id: connection,
                own,
                who,
            } => {
                let hall = &mut self.hall;
                hall.welcome_participant(now, id, connection, own, who)?;
                self.channels.insert(connection, id.to_owned());
                Ok(())
            }
        }
    }

    fn connected(&mut self, now: Now, id: ConnectionId, joins: Joins) {
        let Joins {
            room,
            protocol,
            own,
            admission,
        } = joins;
        if self.access.has_revoked(&admission) {
            // While it was let in.
            let close = Outgoing::Close(CloseCode::PolicyViolation, "token_revoked");
            return self.pass(id, close);
        }
        let hall = &mut self.hall;
        hall.connected(now, id, &room, protocol, own, admission);
    }

    /// Who came by HTTP goes, or has gone.
    fn dismiss(&mut self, id: &str) {
        self.sessions.end(id);
        self.hall.dismiss(clock::now(), id);
    }

    /// Does what the hall wants; answers when it wants to be woken.
    fn settle(&mut self) -> Option<std::time::Instant> {
        loop {
            match self.hall.poll_output() {
                Output::Event(Event::Send { connection, text }) => {
                    self.pass(connection, Outgoing::Text(text));
                }
                Output::Event(Event::Close {
                    connection,
                    code,
                    reason,
                }) => {
                    self.pass(connection, Outgoing::Close(code, reason));
                    self.outgoing.remove(&connection);
                }
                Output::Event(Event::Token(shown)) => {
                    if let Err(error) = self.tokens.try_send(shown) {
                        let (TrySendError::Full(shown) | TrySendError::Closed(shown)) = error;
                        let why = ExchangeError::Busy.to_string();
                        self.hall.renew(clock::now(), &shown, Err(why));
                    }
                }
                Output::Event(Event::Moderated(done)) => audit(&done),
                Output::Event(Event::Notice(notice)) => {
                    audit_end(&notice);
                    self.webhooks.tell(&notice);
                }
                Output::Event(Event::Media(event)) => {
                    if let MediaEvent::Left { participant } = &event {
                        self.sessions.end(participant);
                    }
                    if let Some(media) = &mut self.media {
                        media.pass(event);
                    }
                }
                // The hall has no sockets of its own.
                Output::Transmit | Output::Request(_) => {}
                Output::Wait(deadline) => {
                    self.measure();
                    return deadline.map(|deadline| deadline.at);
                }
            }
        }
    }

    fn pass(&mut self, connection: ConnectionId, outgoing: Outgoing) {
        let Some(outgoing) = self.pass_by_channel(connection, outgoing) else {
            return;
        };
        let Some(to) = self.outgoing.get(&connection) else {
            return;
        };
        if let Err(TrySendError::Full(_)) = to.try_send(outgoing) {
            // Dropping the sender ends the WebSocket's task.
            self.outgoing.remove(&connection);
            self.hall.too_slow(clock::now(), connection);
        }
    }

    fn measure(&self) {
        figures::measure(&self.hall);
    }
}

/// One line for who has to go because its token is over.
fn audit_end(notice: &Notice) {
    if let Notice::ParticipantLeft {
        room,
        participant,
        reason,
    } = notice
        && reason == "token_expired"
    {
        tracing::info!(
            target: "twocan::audit",
            room,
            identity = participant.identity,
            action = "expire",
            participant = participant.id,
            "ended"
        );
    }
}

/// One line for what somebody who moderates a room has done.
fn audit(done: &Moderated) {
    tracing::info!(
        target: "twocan::audit",
        room = done.room,
        by = done.by,
        identity = done.identity,
        action = done.action,
        participant = done.participant,
        "moderated"
    );
}

#[cfg(test)]
mod tests;
