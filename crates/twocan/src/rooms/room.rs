//! A room, as the application sees it.

use serde_json::json;
use tokio::sync::{mpsc, oneshot};
use twocan_io::clock;
use twocan_proto::random::Random;

use super::address::Address;
use super::chat::{ChatMessage, KeptMessage};
use super::data::{self, DataError, DataOptions, RoomMessage};
use super::encryption::RoomSecret;
use super::error::{CloseReason, JoinError};
use super::messages::{Source, TrackChange};
use super::peer::{PeerState, RoomPeer};
use super::seal::RoomSeal;
use super::session::Session;
use super::socket;
use super::task::{self, Command, Task};
use super::ways::Ways;
use crate::configuration::Configuration;
use crate::data_channel::{DataChannel, Message};
use crate::transceiver::TrackEvent;

/// Events that wait for the application; then the room itself waits.
const EVENTS_MAX: usize = 256;

/// Frames and wishes on their way to the room's task.
const COMMANDS_MAX: usize = 256;

/// How to join.
#[derive(Debug, Clone, Default)]
pub struct JoinOptions {
    /// What others see. Default empty.
    pub name: String,
    /// The secret of a server that has one.
    pub token: Option<String>,
    /// What this side sends from the start. Default nothing: then it only receives.
    pub publish: Vec<Source>,
    /// Takes a self-signed certificate from a server on this machine. Default no.
    pub accept_self_signed: bool,
    /// Encrypts sound, pictures and what [`Room::send`] says end to end; data channels of the
    /// application's own it does not. The others have to know it as well. Default the
    /// secret in the address, if there is one there (`#key=…`).
    pub secret: Option<RoomSecret>,
    /// For every connection; the server's ICE servers are added.
    pub configuration: Configuration,
}

/// What happens in a room.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum RoomEvent {
    /// Someone is there.
    PeerJoined(RoomPeer),
    /// How the connection with someone does.
    PeerState {
        /// Who.
        peer: RoomPeer,
        /// How.
        state: PeerState,
    },
    /// Someone sends.
    Track {
        /// Who.
        peer: RoomPeer,
        /// On what.
        track: TrackEvent,
    },
    /// Someone says what it sends.
    Announced {
        /// Who.
        peer: RoomPeer,
        /// What.
        change: TrackChange,
    },
    /// There is a data channel: made by the other side, or the channel `chat` that this side
    /// makes with the first offer, which opens later.
    DataChannel {
        /// With whom.
        peer: RoomPeer,
        /// The channel.
        channel: DataChannel,
    },
    /// Someone says something in the chat, by way of the server: where that forwards media or keeps
    /// what is said. Elsewhere it comes over the channel `chat`.
    Chat {
        /// The id of who does.
        from: String,
        /// What.
        message: ChatMessage,
    },
    /// What was said to everybody before this side came, the oldest first, where the server keeps it.
    /// After [`RoomEvent::JoinedAnew`] it comes again.
    ChatHistory(Vec<KeptMessage>),
    /// Someone says something ([`Room::send`]).
    Data(RoomMessage),
    /// So many reliable messages did not reach this participant, which took too little for the others
    /// to wait.
    DataGap(u32),
    /// Something was said that was not encrypted with the room's secret, or was where this side has
    /// none; or it was changed, or came before.
    Unreadable {
        /// The id of who is said to have said it.
        from: String,
    },
    /// Someone is gone; the connection is closed.
    PeerLeft(RoomPeer),
    /// The WebSocket broke and is made again; connections go on meanwhile.
    Reconnecting,
    /// The session goes on.
    Resumed,
    /// The old session was gone, and the room was joined anew: everyone is met again.
    JoinedAnew,
    /// The server is about to end.
    Draining,
    /// The room is over. This is the last event.
    Closed(CloseReason),
}

/// A room that was joined. Dropping it leaves.
#[derive(Debug)]
pub struct Room {
    id: String,
    commands: mpsc::Sender<Command>,
    ways: Ways,
    seal: Option<RoomSeal>,
    events: mpsc::Receiver<RoomEvent>,
}

impl Room {
    /// Joins the room of that address: what a person opens (`http://localhost:8080/my-room`), or
    /// the WebSocket's own.
    ///
    /// # Errors
    /// [`JoinError`].
    pub async fn join(address: &str, options: JoinOptions) -> Result<Self, JoinError> {
        let secret = match options.secret {
            Some(secret) => Some(secret),
            None => RoomSecret::of_address(address)?,
        };
        let address = Address::of(address, options.token.as_deref())?;
        let seal = secret.map(|secret| RoomSeal::new(secret, address.room()));
        let tls = socket::tls(&address, options.accept_self_signed)?;
        let session = Session::new(json!({"name": options.name}));
        let (commands, commands_in) = mpsc::channel(COMMANDS_MAX);
        let (events_out, events) = mpsc::channel(EVENTS_MAX);
        let lines = task::lines(&options.publish, &mut Random::new(clock::seed()));
        let task = Task::new(
            session,
            (address, tls),
            options.configuration,
            (lines, seal.clone()),
            (commands.clone(), commands_in),
            events_out,
        );
        let ways = task.ways();
        let (id, task) = Box::pin(task.join()).await?;
        tokio::spawn(task.run());
        Ok(Self {
            id,
            commands,
            ways,
            seal,
            events,
        })
    }

    /// The id in the room; another one after [`RoomEvent::JoinedAnew`].
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The next thing that happens; `None` after [`RoomEvent::Closed`]. While 256 events wait, the
    /// room stands still.
    pub async fn next_event(&mut self) -> Option<RoomEvent> {
        self.events.recv().await
    }

    /// Sends `sources` from here on, and no others: lines come or change with the next
    /// negotiation, and others are told.
    pub async fn publish(&self, sources: &[Source]) {
        let _ = self.commands.send(Command::Publish(sources.to_vec())).await;
    }

    /// Says something to everybody, or to some: directly in a mesh, by way of the server where that
    /// forwards media. Returns when what is reliable is on its way; whoever waits for that sends no
    /// faster than its receivers take. A connection that takes nothing for two seconds goes without it.
    /// It may be awaited between two events: it waits for no event to be taken. What is said while the room moves from one to the other may
    /// overtake what was said before, and what the connections of before have not sent when they are
    /// let go of is lost.
    ///
    /// # Errors
    /// [`DataError`].
    pub async fn send(&self, message: Message, options: DataOptions) -> Result<(), DataError> {
        let seal = self.seal.as_ref();
        data::say(&self.commands, &self.ways, seal, &message, options).await
    }

    /// Says something in the chat to everybody, by way of the server, which keeps it where it keeps
    /// what is said; encrypted end to end where the room has a secret.
    pub async fn say(&self, text: impl Into<String>) {
        let message = ChatMessage::new(text);
        let _ = self.commands.send(Command::Say(message)).await;
    }

    /// Leaves: the server and everyone's connection are told, and it is waited for that.
    pub async fn leave(self) {
        let (done, left) = oneshot::channel();
        let Self {
            commands, events, ..
        } = self;
        // Whatever waits for room in the queue of events goes on.
        drop(events);
        if commands.send(Command::Leave(done)).await.is_ok() {
            let _ = left.await;
        }
    }
}
