//! A participant that sends everything back: messages, sound, pictures.

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use twocan_proto::wire::sdp::Direction;

use super::activity::Activity;
use super::data::DataOptions;
use super::messages::Source;
use super::peer::RoomPeer;
use super::room::{Room, RoomEvent};
use crate::data_channel::{DataChannel, DataChannelState, Message};
use crate::receiver::RtpReceiver;
use crate::sender::{EncodedFrame, RtpSender};
use crate::transceiver::TrackEvent;

/// Activities that wait for the one who watches; then what makes them waits.
const ACTIVITIES_MAX: usize = 64;

/// Bytes that are buffered on a channel before the next message is read: the other side is slowed
/// to its own pace of reading.
const BUFFERED_MAX: usize = 1 << 20;

/// Sends everything back that comes from anyone in a room.
///
/// Join with [`Echo::PUBLISH`], so that the lines of the others are answered.
#[derive(Debug)]
pub struct Echo {
    room: Room,
    work: JoinSet<()>,
    tell: mpsc::Sender<Activity>,
    told: mpsc::Receiver<Activity>,
}

impl Echo {
    /// For [`super::JoinOptions::publish`].
    pub const PUBLISH: [Source; 2] = [Source::Microphone, Source::Camera];

    /// Begins; it goes on while [`Self::next_activity`] is awaited.
    pub fn new(room: Room) -> Self {
        let (tell, told) = mpsc::channel(ACTIVITIES_MAX);
        Self {
            room,
            work: JoinSet::new(),
            tell,
            told,
        }
    }

    /// The next thing that happens; `None` once the room is over.
    pub async fn next_activity(&mut self) -> Option<Activity> {
        loop {
            tokio::select! {
                event = self.room.next_event() => {
                    let event = event?;
                    self.take(&event).await;
                    return Some(Activity::Room(event));
                }
                Some(activity) = self.told.recv() => return Some(activity),
                Some(_) = self.work.join_next() => {}
            }
        }
    }

    /// Leaves the room.
    pub async fn leave(self) {
        self.room.leave().await;
    }

    async fn take(&mut self, event: &RoomEvent) {
        match event {
            RoomEvent::Data(heard) => {
                let options = DataOptions {
                    to: Some(vec![heard.from.clone()]),
                    topic: heard.topic.clone(),
                    lossy: heard.lossy,
                };
                if let Err(error) = self.room.send(heard.message.clone(), options).await {
                    tracing::debug!(%error, "not sent back");
                }
            }
            RoomEvent::DataChannel { channel, .. } => {
                self.work.spawn(echo_messages(channel.clone()));
            }
            RoomEvent::Track { peer, track } => {
                let tell = self.tell.clone();
                self.work
                    .spawn(echo_track(peer.clone(), track.clone(), tell));
            }
            _ => {}
        }
    }
}

async fn echo_messages(channel: DataChannel) {
    while let Some(message) = channel.next_message().await {
        channel.drained(BUFFERED_MAX).await;
        let sent = match message {
            Message::Text(text) => channel.send_text(text),
            Message::Binary(bytes) => channel.send(bytes),
        };
        if let Err(error) = sent {
            tracing::debug!(%error, "message not sent back");
            if channel.ready_state() == DataChannelState::Closed {
                return;
            }
        }
    }
}

/// Back on the same transceiver where it is one of ours; else on one of its own.
async fn echo_track(peer: RoomPeer, track: TrackEvent, tell: mpsc::Sender<Activity>) {
    let from = track.transceiver;
    let to = if peer.is_line(&from) {
        from.clone()
    } else {
        let Some(kind) = from.kind().filter(|_| peer.takes_offers()) else {
            return;
        };
        let own = peer
            .connection()
            .add_transceiver(kind, Direction::SendOnly, &["echo"]);
        match own {
            Ok(own) => own,
            Err(error) => return tracing::debug!(%error, "no line to send back on"),
        }
    };
    if to.sender().can_send().await {
        echo_frames(&peer, &from.receiver(), &to.sender(), &tell).await;
    }
}

async fn echo_frames(
    peer: &RoomPeer,
    from: &RtpReceiver,
    to: &RtpSender,
    tell: &mpsc::Sender<Activity>,
) {
    // The other decoder begins with a key frame.
    from.request_key_frame();
    let mut codec = String::new();
    let mut waits_for_key = true;
    loop {
        tokio::select! {
            frame = from.next_frame() => {
                let Some(frame) = frame else { return };
                waits_for_key &= !frame.key_frame;
                if waits_for_key {
                    continue;
                }
                let sent = to.send_frame(EncodedFrame {
                    codec: &frame.codec,
                    timestamp: frame.timestamp,
                    data: &frame.data,
                    ..EncodedFrame::default()
                });
                if let Err(error) = sent {
                    tracing::debug!(%error, "frame not sent back");
                    waits_for_key = true;
                    from.request_key_frame();
                } else if codec != frame.codec {
                    codec.clone_from(&frame.codec);
                    let activity = Activity::Echoing { peer: peer.clone(), codec: frame.codec };
                    let _ = tell.send(activity).await;
                }
            }
            wanted = to.key_frame_wanted() => {
                if !wanted {
                    return;
                }
                from.request_key_frame();
            }
        }
    }
}
