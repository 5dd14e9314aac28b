//! What can be done in a room, by those in it who may moderate it and by its operators.

use serde::Deserialize;
use thiserror::Error;

use crate::permissions::{PermissionChange, Source};
use crate::session::Publication;

/// Something to be done in a room.
#[derive(Debug, Clone)]
pub enum Act {
    /// Tracks of somebody are passed on no more, until it says itself that it sends them.
    Mute {
        /// Its id.
        participant: String,
        /// Which.
        tracks: Tracks,
    },
    /// They are passed on again.
    Unmute {
        /// Its id.
        participant: String,
        /// Which.
        tracks: Tracks,
    },
    /// Somebody goes.
    Remove {
        /// Its id.
        participant: String,
        /// Which it is told.
        reason: String,
    },
    /// Somebody's hand is lowered.
    LowerHand {
        /// Its id.
        participant: String,
    },
    /// The hands of all are lowered.
    LowerHands,
    /// What somebody may do is changed.
    Permit {
        /// Its id.
        participant: String,
        /// How.
        change: PermissionChange,
    },
    /// Somebody who waits comes in.
    Admit {
        /// Its id.
        participant: String,
    },
    /// Somebody who waits is sent away.
    Deny {
        /// Its id.
        participant: String,
    },
    /// Nobody joins any more who may not moderate; or they do again.
    Lock(bool),
    /// Who comes waits to be admitted; or not any more.
    Lobby(bool),
    /// All go, and the room ends.
    Close {
        /// Which they are told.
        reason: String,
    },
}

/// Some of somebody's tracks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tracks {
    /// All of them.
    All,
    /// That one.
    Id(String),
    /// Those of that source.
    Source(Source),
}

impl Tracks {
    pub(super) fn has(&self, track: &Publication) -> bool {
        match self {
            Self::All => true,
            Self::Id(id) => track.id == *id,
            Self::Source(source) => track.source == *source,
        }
    }

    /// Whether sound, and whether pictures, that nobody announced may be among them.
    pub(super) fn kinds(&self) -> [bool; 2] {
        match self {
            Self::All => [true; 2],
            Self::Id(_) => [false; 2],
            Self::Source(source) => {
                [false, true].map(|kind| source.is_video().is_none_or(|own| own == kind))
            }
        }
    }
}

/// Why something cannot be done in a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ActError {
    /// There is no such room.
    #[error("there is no such room")]
    NoRoom,
    /// Nobody of that id is in the room.
    #[error("nobody of that id is in the room")]
    NoParticipant,
    /// Nobody of that id waits.
    #[error("nobody of that id waits for the room")]
    NotWaiting,
    /// It sends nothing of that kind.
    #[error("the participant sends no such track")]
    NoTrack,
    /// There is no place in the room.
    #[error("the room has as many participants as it may")]
    RoomIsFull,
    /// The media of the room goes through the server, or its permissions have it go there.
    #[error("the room needs a client that speaks twocan.v1")]
    NeedsTwocan,
    /// It came by HTTP, and the media of the room goes from each to each.
    #[error("who came by HTTP needs a room whose media goes through the server")]
    NotForwarded,
}

/// `data` of `moderate`.
#[derive(Deserialize)]
pub(super) struct Order {
    action: String,
    #[serde(default)]
    peer_id: Option<String>,
    #[serde(default)]
    track: Option<String>,
    #[serde(default)]
    source: Option<Source>,
    #[serde(default)]
    reason: Option<String>,
    #[serde(default)]
    permissions: Option<PermissionChange>,
}

impl Order {
    /// What is ordered; `None` where something is missing or unknown.
    pub(super) fn act(self) -> Option<Act> {
        let tracks = match (self.track, self.source) {
            (Some(id), _) => Tracks::Id(id),
            (None, Some(source)) => Tracks::Source(source),
            (None, None) => Tracks::All,
        };
        let reason = self.reason.unwrap_or_default();
        let act = match (self.action.as_str(), self.peer_id) {
            ("mute", Some(participant)) => Act::Mute {
                participant,
                tracks,
            },
            ("unmute", Some(participant)) => Act::Unmute {
                participant,
                tracks,
            },
            ("remove", Some(participant)) => Act::Remove {
                participant,
                reason,
            },
            ("lower-hand", Some(participant)) => Act::LowerHand { participant },
            ("lower-hands", None) => Act::LowerHands,
            ("permissions", Some(participant)) => Act::Permit {
                participant,
                change: self.permissions?,
            },
            ("admit", Some(participant)) => Act::Admit { participant },
            ("deny", Some(participant)) => Act::Deny { participant },
            ("lock", None) => Act::Lock(true),
            ("unlock", None) => Act::Lock(false),
            ("lobby", None) => Act::Lobby(true),
            ("no-lobby", None) => Act::Lobby(false),
            ("close", None) => Act::Close { reason },
            _ => return None,
        };
        Some(act)
    }
}

impl Act {
    /// Its name in the signaling protocol.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Mute { .. } => "mute",
            Self::Unmute { .. } => "unmute",
            Self::Remove { .. } => "remove",
            Self::LowerHand { .. } => "lower-hand",
            Self::LowerHands => "lower-hands",
            Self::Permit { .. } => "permissions",
            Self::Admit { .. } => "admit",
            Self::Deny { .. } => "deny",
            Self::Lock(true) => "lock",
            Self::Lock(false) => "unlock",
            Self::Lobby(true) => "lobby",
            Self::Lobby(false) => "no-lobby",
            Self::Close { .. } => "close",
        }
    }

    /// Whom it is about.
    pub fn participant(&self) -> Option<&str> {
        match self {
            Self::Mute { participant, .. }
            | Self::Unmute { participant, .. }
            | Self::Remove { participant, .. }
            | Self::LowerHand { participant }
            | Self::Permit { participant, .. }
            | Self::Admit { participant }
            | Self::Deny { participant } => Some(participant),
            Self::LowerHands | Self::Lock(_) | Self::Lobby(_) | Self::Close { .. } => None,
        }
    }
}
