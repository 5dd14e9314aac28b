//! What a ready-made participant does, for whoever watches it: one line each.

use std::fmt;
use std::path::PathBuf;

use super::error::CloseReason;
use super::peer::{PeerState, RoomPeer};
use super::room::RoomEvent;

/// Something that happened. `Display` is a line for people.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Activity {
    /// Of the room itself.
    Room(RoomEvent),
    /// A track is sent back.
    Echoing {
        /// To whom.
        peer: RoomPeer,
        /// Its codec.
        codec: String,
    },
    /// A file is begun.
    Recording {
        /// Of whom.
        peer: RoomPeer,
        /// The file.
        path: PathBuf,
    },
    /// A file is complete.
    Recorded {
        /// The file.
        path: PathBuf,
        /// Frames in it.
        frames: u64,
    },
    /// A file is being played.
    Playing {
        /// To whom.
        peer: RoomPeer,
        /// The file.
        path: PathBuf,
    },
    /// A file was played to its end.
    Played {
        /// To whom.
        peer: RoomPeer,
        /// The file.
        path: PathBuf,
        /// Frames that were sent.
        frames: u64,
    },
    /// Something went wrong for one participant; the others are not affected.
    Trouble {
        /// With whom.
        peer: RoomPeer,
        /// What.
        reason: String,
    },
}

impl fmt::Display for Activity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Room(event) => write_event(f, event),
            Self::Echoing { peer, codec } => write!(f, "{}: echoing {codec}", who(peer)),
            Self::Recording { peer, path } => {
                write!(f, "{}: recording to {}", who(peer), path.display())
            }
            Self::Recorded { path, frames } => {
                write!(f, "recorded {} ({frames} frames)", path.display())
            }
            Self::Playing { peer, path } => write!(f, "{}: playing {}", who(peer), path.display()),
            Self::Played { peer, path, frames } => {
                let path = path.display();
                write!(f, "{}: played {path} ({frames} frames)", who(peer))
            }
            Self::Trouble { peer, reason } => write!(f, "{}: {reason}", who(peer)),
        }
    }
}

fn write_event(f: &mut fmt::Formatter<'_>, event: &RoomEvent) -> fmt::Result {
    match event {
        RoomEvent::PeerJoined(peer) => write!(f, "{}: joined", who(peer)),
        RoomEvent::PeerLeft(peer) => write!(f, "{}: left", who(peer)),
        RoomEvent::PeerState { peer, state } => {
            let state = match state {
                PeerState::Connecting => "connecting",
                PeerState::Connected => "connected",
                PeerState::Unstable => "connection unstable",
                PeerState::Failed => "connection failed",
                PeerState::Closed => "connection closed",
            };
            write!(f, "{}: {state}", who(peer))
        }
        RoomEvent::Track { peer, track } => {
            let kind = track.transceiver.kind();
            let kind = kind.map_or_else(|| "a stopped track".to_owned(), |kind| kind.to_string());
            write!(f, "{}: sends {kind}", who(peer))
        }
        RoomEvent::Announced { peer, change } => {
            write!(
                f,
                "{}: {} {:?}",
                who(peer),
                change.action,
                change.track.source
            )
        }
        RoomEvent::DataChannel { peer, channel } => {
            write!(f, "{}: data channel {:?}", who(peer), channel.label())
        }
        RoomEvent::Data(heard) => {
            let (id, len) = (&heard.from, heard.message.len());
            let id: String = id.chars().take(8).collect();
            write!(f, "{id}: says {len} bytes about {:?}", heard.topic)
        }
        RoomEvent::Chat { from, message } => {
            let id: String = from.chars().take(8).collect();
            write!(f, "{id}: writes {} bytes", message.text.len())
        }
        RoomEvent::ChatHistory(messages) => {
            write!(f, "{} messages were written before", messages.len())
        }
        RoomEvent::Unreadable { from } => {
            let id: String = from.chars().take(8).collect();
            write!(f, "{id}: says what could not be read")
        }
        RoomEvent::DataGap(missed) => write!(f, "{missed} messages missed"),
        RoomEvent::Reconnecting => f.write_str("connection to the server lost, reconnecting"),
        RoomEvent::Resumed => f.write_str("connection to the server resumed"),
        RoomEvent::JoinedAnew => f.write_str("joined anew"),
        RoomEvent::Draining => f.write_str("the server is about to end"),
        RoomEvent::Closed(CloseReason::Left) => f.write_str("left"),
        RoomEvent::Closed(reason) => write!(f, "over: {reason}"),
    }
}

/// Name and the start of the id. Names come from others: no controls, so that a line stays one.
fn who(peer: &RoomPeer) -> String {
    let id: String = peer.id().chars().take(8).collect();
    let name: String = peer.name().chars().filter(|c| !c.is_control()).collect();
    match name.trim() {
        "" => id,
        name => format!("{name} ({id})"),
    }
}
