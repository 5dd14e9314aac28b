//! What participants say to each other over data channels (`docs/data.md`).

use std::time::Duration;

use futures_util::future::join_all;
use thiserror::Error;
use tokio::sync::mpsc;
use tokio::time::timeout;
use twocan_proto::wire::room_data::{
    LABEL, LOSSY, LOSSY_LEN_MAX, Message as Wire, NAMES_MAX, PAYLOAD_LEN_MAX, RELIABLE, RoomData,
    TEXT_LEN_MAX,
};

use super::peer::RoomPeer;
use super::room::RoomEvent;
use super::seal::{self, RoomSeal, SEAL_LEN};
use super::task::Command;
use super::ways::Ways;
use crate::data_channel::{DataChannel, DataChannelInit, DataChannelState, Message};
use crate::error::Error;

/// Messages on their way to one connection; whoever sends more waits.
pub(super) const OUTGOING_MAX: usize = 64;

/// How long whoever says something waits for a connection that takes nothing.
const PATIENCE: Duration = Duration::from_secs(2);

/// Bytes that are buffered on the reliable channel before more is given to it.
const BUFFERED_MAX: usize = 1 << 20;

/// Bytes that are buffered on the other channel; what comes while so much is, is dropped.
const LOSSY_BUFFERED_MAX: usize = 64 << 10;

/// To whom something is said, and how. The default: to all, reliably, without a topic.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DataOptions {
    /// Ids of those whom it is for, at most 255; `None` for everybody. Who is not there is left out.
    pub to: Option<Vec<String>>,
    /// For the application; at most 255 bytes.
    pub topic: String,
    /// Whether it arrives at once or never, in any order. Default no: everything arrives, and of each
    /// sender in its order while the room keeps its shape.
    pub lossy: bool,
}

/// What somebody said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoomMessage {
    /// The id of who said it: by way of a server its word, in a mesh whose connection it came by.
    pub from: String,
    /// What.
    pub message: Message,
    /// The sender's topic.
    pub topic: String,
    /// Whether it might have been lost.
    pub lossy: bool,
}

/// Why nothing was said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DataError {
    /// It is longer than 65,536 bytes; lossy, than 1,100 with the topic. In an encrypted room, topic
    /// and payload together than 65,499; lossy, than 1,050.
    #[error("{len} bytes, {max} at most")]
    TooLarge {
        /// Its length.
        len: usize,
        /// The longest there may be.
        max: usize,
    },
    /// The topic is longer than 255 bytes.
    #[error("the topic has more than 255 bytes")]
    TopicTooLong,
    /// It is for more than 255 participants.
    #[error("for more than 255 participants")]
    TooManyReceivers,
    /// The room is over.
    #[error("the room is over")]
    Closed,
}

/// Bytes on their way to a connection.
#[derive(Debug)]
pub(super) struct Outgoing {
    bytes: Vec<u8>,
    lossy: bool,
}

/// Says something. A connection that takes nothing for [`PATIENCE`] goes without it, as the others
/// are not to wait for one.
pub(super) async fn say(
    commands: &mpsc::Sender<Command>,
    ways: &Ways,
    seal: Option<&RoomSeal>,
    message: &Message,
    options: DataOptions,
) -> Result<(), DataError> {
    let DataOptions { to, topic, lossy } = options;
    let (payload, is_text) = match message {
        Message::Text(text) => (text.as_bytes(), true),
        Message::Binary(bytes) => (&bytes[..], false),
    };
    let (len, max) = match lossy {
        true => (payload.len() + topic.len(), LOSSY_LEN_MAX),
        false => (payload.len(), PAYLOAD_LEN_MAX),
    };
    if topic.len() > TEXT_LEN_MAX {
        return Err(DataError::TopicTooLong);
    }
    if len > max {
        return Err(DataError::TooLarge { len, max });
    }
    match &to {
        Some(to) if to.len() > NAMES_MAX => return Err(DataError::TooManyReceivers),
        Some(to) if to.is_empty() => return Ok(()),
        _ => {}
    }
    if commands.is_closed() {
        return Err(DataError::Closed);
    }
    let sealed = match seal {
        Some(seal) => Some(sealed(seal, ways, lossy, (is_text, &topic, payload))?),
        None => None,
    };
    let (is_text, topic, payload) = match &sealed {
        Some(sealed) => (false, seal::TOPIC, &sealed[..]),
        None => (is_text, &topic[..], payload),
    };
    let mut sending = Vec::new();
    for (way, names) in ways.to(to.as_deref()) {
        let mut bytes = Vec::new();
        RoomData::Message(Wire {
            is_text,
            names: names.iter().map(String::as_str).collect(),
            topic,
            payload,
        })
        .write(&mut bytes);
        let outgoing = Outgoing { bytes, lossy };
        // A connection that is gone has nobody at its end.
        match lossy {
            true => drop(way.try_send(outgoing)),
            false => sending.push(async move {
                let sent = timeout(PATIENCE, way.send(outgoing)).await;
                if sent.is_err() {
                    tracing::debug!("a connection takes nothing");
                }
            }),
        }
    }
    join_all(sending).await;
    Ok(())
}

/// A message with its topic, sealed.
fn sealed(
    seal: &RoomSeal,
    ways: &Ways,
    lossy: bool,
    (is_text, topic, payload): (bool, &str, &[u8]),
) -> Result<Vec<u8>, DataError> {
    let mut plain = Vec::new();
    RoomData::Message(Wire {
        is_text,
        names: Vec::new(),
        topic,
        payload,
    })
    .write(&mut plain);
    let (len, max) = match lossy {
        true => (plain.len() + SEAL_LEN + seal::TOPIC.len(), LOSSY_LEN_MAX),
        false => (plain.len() + SEAL_LEN, PAYLOAD_LEN_MAX),
    };
    let too_large = DataError::TooLarge { len, max };
    if len > max {
        return Err(too_large);
    }
    seal.seal(&ways.own_id(), lossy, &plain).ok_or(too_large)
}

/// The channels by which this side speaks: the reliable one, and the other.
#[derive(Debug)]
pub(super) struct Spoken([DataChannel; 2]);

impl Spoken {
    /// Makes both, and listens to what comes back on them.
    pub(super) fn open(
        peer: &RoomPeer,
        is_server: bool,
        events: &mpsc::Sender<RoomEvent>,
    ) -> Result<Self, Error> {
        let init = |protocol: &str| DataChannelInit {
            protocol: protocol.to_owned(),
            ..DataChannelInit::default()
        };
        let lossy = DataChannelInit {
            ordered: false,
            max_retransmits: Some(0),
            ..init(LOSSY)
        };
        let open = |init| peer.connection().create_data_channel(LABEL, init);
        let channels = [open(init(RELIABLE))?, open(lossy)?];
        for channel in &channels {
            listen(peer, channel.clone(), is_server, events);
        }
        Ok(Self(channels))
    }

    async fn send(&self, Outgoing { bytes, lossy }: Outgoing) -> Result<(), Error> {
        let [reliable, unreliable] = &self.0;
        if lossy {
            let is_open = unreliable.ready_state() == DataChannelState::Open;
            let has_room = unreliable.buffered_amount() + bytes.len() <= LOSSY_BUFFERED_MAX;
            return match is_open && has_room {
                true => unreliable.send(bytes),
                false => Ok(()),
            };
        }
        reliable.opened().await?;
        reliable.drained(BUFFERED_MAX).await;
        reliable.send(bytes)
    }
}

/// Whether a channel that the other side made is one of these.
pub(super) fn is_data(channel: &DataChannel) -> bool {
    channel.label() == LABEL && [RELIABLE, LOSSY].contains(&channel.protocol().as_str())
}

/// Sends what goes by a connection, by channels that are there, or are made when something does.
pub(super) async fn speak(
    peer: RoomPeer,
    mut spoken: Option<Spoken>,
    mut outgoing: mpsc::Receiver<Outgoing>,
    events: mpsc::Sender<RoomEvent>,
) {
    while let Some(next) = outgoing.recv().await {
        if spoken.is_none() {
            match Spoken::open(&peer, false, &events) {
                Ok(opened) => spoken = Some(opened),
                Err(error) => return tracing::debug!(%error, peer = peer.id(), "no data channels"),
            }
        }
        if let Some(spoken) = &spoken
            && let Err(error) = spoken.send(next).await
        {
            return tracing::debug!(%error, peer = peer.id(), "nothing more is sent");
        }
    }
}

/// Reads what somebody says on a channel, for as long as there is one. While the application does not
/// take it, the other side is slowed.
pub(super) fn listen(
    peer: &RoomPeer,
    channel: DataChannel,
    is_server: bool,
    events: &mpsc::Sender<RoomEvent>,
) {
    let (id, events) = (peer.id().to_owned(), events.clone());
    let lossy = channel.protocol() == LOSSY;
    let seal = peer.seal().cloned();
    tokio::spawn(async move {
        while let Some(message) = channel.next_message().await {
            let Message::Binary(bytes) = message else {
                continue;
            };
            let direct = (!is_server).then_some(&id);
            let Some(event) = heard(&bytes, lossy, direct, seal.as_ref()) else {
                tracing::debug!(peer = id, "not a message of a participant");
                continue;
            };
            if events.send(event).await.is_err() {
                return;
            }
        }
    });
}

/// What was said, directly by somebody or by way of a server.
fn heard(
    bytes: &[u8],
    lossy: bool,
    direct: Option<&String>,
    seal: Option<&RoomSeal>,
) -> Option<RoomEvent> {
    let message = match RoomData::parse(bytes) {
        Ok(RoomData::Message(message)) => message,
        Ok(RoomData::Gap(missed)) if direct.is_none() => return Some(RoomEvent::DataGap(missed)),
        _ => return None,
    };
    let from = match direct {
        Some(id) => id.clone(),
        None => (*message.names.first()?).to_owned(),
    };
    let is_sealed = message.topic == seal::TOPIC && !message.is_text;
    let opened;
    let message = match seal {
        None if is_sealed => return Some(RoomEvent::Unreadable { from }),
        None => message,
        Some(seal) => {
            let plain = is_sealed.then(|| seal.open(&from, lossy, message.payload));
            let Some(plain) = plain.flatten() else {
                return Some(RoomEvent::Unreadable { from });
            };
            opened = plain;
            match RoomData::parse(&opened) {
                Ok(RoomData::Message(message)) => message,
                _ => return Some(RoomEvent::Unreadable { from }),
            }
        }
    };
    let payload = match message.is_text {
        true => Message::Text(String::from_utf8_lossy(message.payload).into_owned()),
        false => Message::Binary(message.payload.to_vec()),
    };
    Some(RoomEvent::Data(RoomMessage {
        from,
        message: payload,
        topic: message.topic.to_owned(),
        lossy,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rooms::encryption::RoomSecret;
    use crate::rooms::messages::SERVER_ID;

    #[test]
    fn the_server_says_of_whom_it_is_and_directly_it_is_who_sent_it() {
        let wire = |data: RoomData<'_>| {
            let mut bytes = Vec::new();
            data.write(&mut bytes);
            bytes
        };
        let message = |names| {
            wire(RoomData::Message(Wire {
                is_text: true,
                names,
                topic: "t",
                payload: b"hi",
            }))
        };
        let bob = "bob".to_owned();
        let heard = |bytes: &[u8], lossy, direct| super::heard(bytes, lossy, direct, None);
        let from = |bytes: &[u8], direct| match heard(bytes, false, direct) {
            Some(RoomEvent::Data(heard)) => Some((heard.from, heard.message, heard.topic)),
            _ => None,
        };
        let said = |from: &str| (from.to_owned(), Message::Text("hi".into()), "t".to_owned());
        assert_eq!(from(&message(vec!["ada"]), None), Some(said("ada")));
        assert_eq!(from(&message(vec!["ada"]), Some(&bob)), Some(said("bob")));
        assert_eq!(from(&message(vec![]), None), None);
        assert!(matches!(
            heard(&wire(RoomData::Gap(3)), false, None),
            Some(RoomEvent::DataGap(3))
        ));
        assert!(heard(&wire(RoomData::Gap(3)), false, Some(&bob)).is_none());
        assert!(heard(b"\x07", false, None).is_none());
    }

    #[tokio::test]
    async fn with_a_key_what_is_said_is_sealed_and_what_is_not_is_not_handed_on() {
        let room = |secret: u8| {
            let secret = RoomSecret::new([secret; 32]);
            RoomSeal::new(secret, "blue-otter".to_owned())
        };
        let (commands, _commands_in) = mpsc::channel(1);
        let (outgoing, mut outgoing_in) = mpsc::channel(9);
        let ways = Ways::default();
        ways.begin("ada", true);
        ways.add(SERVER_ID.to_owned(), outgoing);
        let board = DataOptions {
            topic: "board".into(),
            ..DataOptions::default()
        };
        let seal = room(1);
        let say = async |message: Message, options: DataOptions| {
            say(&commands, &ways, Some(&seal), &message, options).await
        };
        say(Message::Text("secret".into()), board.clone())
            .await
            .unwrap();
        let sent = outgoing_in.recv().await.unwrap().bytes;
        assert!(
            !sent
                .windows(5)
                .any(|part| part == b"secre" || part == b"board")
        );
        // As the server passes it on.
        let passed = |sent: &[u8], from: &str| {
            let Ok(RoomData::Message(mut message)) = RoomData::parse(sent) else {
                panic!("a message");
            };
            assert_eq!((message.topic, message.names.len()), (seal::TOPIC, 0));
            message.names = vec![from];
            let mut bytes = Vec::new();
            RoomData::Message(message).write(&mut bytes);
            bytes
        };
        let eve = room(1);
        let is_unreadable = |bytes: &[u8], seal: Option<&RoomSeal>| {
            let event = heard(bytes, false, None, seal);
            matches!(event, Some(RoomEvent::Unreadable { .. }))
        };
        let of_ada = passed(&sent, "ada");
        assert!(is_unreadable(&passed(&sent, "bob"), Some(&eve)));
        assert!(is_unreadable(&of_ada, Some(&room(2))));
        assert!(is_unreadable(&of_ada, None));
        let Some(RoomEvent::Data(opened)) = heard(&of_ada, false, None, Some(&eve)) else {
            panic!("it opens");
        };
        let text = Message::Text("secret".into());
        let wanted = ("ada", text, "board");
        let is = (&opened.from[..], opened.message.clone(), &opened.topic[..]);
        assert_eq!(is, wanted);
        assert!(is_unreadable(&of_ada, Some(&eve)), "again");
        let mut clear = Vec::new();
        RoomData::Message(Wire {
            is_text: true,
            names: vec!["ada"],
            topic: "",
            payload: b"in the clear",
        })
        .write(&mut clear);
        assert!(is_unreadable(&clear, Some(&eve)));

        for (lossy, most) in [(false, 65_499 - 5), (true, 1_050 - 5)] {
            let options = DataOptions {
                lossy,
                ..board.clone()
            };
            let said = |len| say(Message::Binary(vec![0; len]), options.clone());
            assert_eq!(said(most).await, Ok(()));
            let refused = said(most + 1).await.unwrap_err();
            assert!(matches!(refused, DataError::TooLarge { .. }), "{refused}");
        }
    }

    #[tokio::test]
    async fn what_is_too_long_is_refused_before_anybody_is_asked() {
        let (commands, commands_in) = mpsc::channel(1);
        drop(commands_in);
        let refused = async |len, options| {
            let message = Message::Binary(vec![0; len]);
            let ways = Ways::default();
            say(&commands, &ways, None, &message, options)
                .await
                .unwrap_err()
        };
        let lossy = DataOptions {
            lossy: true,
            topic: "board".into(),
            ..DataOptions::default()
        };
        let many = DataOptions {
            to: Some(vec![String::new(); 256]),
            ..DataOptions::default()
        };
        let topic = DataOptions {
            topic: "é".repeat(128),
            ..DataOptions::default()
        };
        let too_large = |len, max| DataError::TooLarge { len, max };
        assert_eq!(
            refused(65_537, DataOptions::default()).await,
            too_large(65_537, 65_536)
        );
        assert_eq!(refused(1_096, lossy.clone()).await, too_large(1_101, 1_100));
        assert_eq!(refused(1_095, lossy).await, DataError::Closed);
        assert_eq!(refused(0, many).await, DataError::TooManyReceivers);
        assert_eq!(refused(0, topic).await, DataError::TopicTooLong);
        let nobody = DataOptions {
            to: Some(Vec::new()),
            ..DataOptions::default()
        };
        let empty = Message::Text(String::new());
        assert_eq!(
            say(&commands, &Ways::default(), None, &empty, nobody).await,
            Ok(())
        );
    }
}
