//! Why a room is not joined, and why it ends.

use thiserror::Error;

/// Why a room could not be joined.
#[derive(Debug, Clone, PartialEq, Error)]
#[non_exhaustive]
pub enum JoinError {
    /// The address is not one of a room.
    #[error("{address:?} is not the address of a room: {reason}")]
    BadAddress {
        /// As it was given.
        address: String,
        /// What is wrong.
        reason: &'static str,
    },
    /// There is no connection.
    #[error("the server cannot be reached: {0}")]
    Unreachable(String),
    /// The server answered with an HTTP status: 401 wants a token, 403 forbids, 404 knows no such
    /// room, 503 is about to end.
    #[error("the server refuses with HTTP status {status}: {reason}")]
    Refused {
        /// The status.
        status: u16,
        /// What the server says.
        reason: String,
    },
    /// The room has as many participants as it may.
    #[error("the room is full")]
    RoomFull,
    /// The room does not take this participant, for the server's reason.
    #[error("the room cannot be joined: {0}")]
    NotAdmitted(String),
    /// The server did not speak the protocol in time.
    #[error("the server did not answer within {0} s")]
    NoAnswer(u64),
    /// A connection could not be made with these settings.
    #[error(transparent)]
    Settings(#[from] crate::Error),
    /// TLS cannot be set up, here or with the server.
    #[error("TLS: {0}")]
    Tls(String),
}

/// Why a room is over.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CloseReason {
    /// [`super::Room::leave`].
    #[error("left")]
    Left,
    /// Someone with the right to do so removed this participant.
    #[error("removed from the room: {0}")]
    Kicked(String),
    /// The server closed the room.
    #[error("the room was closed: {0}")]
    RoomClosed(String),
    /// The old session was gone, and the room did not take us again.
    #[error("the room could not be joined again: {0}")]
    NotAdmitted(String),
}
