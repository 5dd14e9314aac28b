//! What a conference is: rooms, participants, and the signaling between them, without I/O.
//!
//! A [`Hall`] holds all rooms. Its driver owns the WebSockets: it tells the hall of connections,
//! texts and losses, and does what [`Hall::poll_output`] says.
#![forbid(unsafe_code)]

pub mod forward;
mod frame;
mod hall;
mod ice_servers;
mod limits;
mod permissions;
mod rate;
mod session;
#[cfg(test)]
mod tests;

pub use hall::{
    Act, ActError, CloseCode, Config, ConnectionId, Event, GuestLine, GuestPurpose, GuestRefusal,
    Hall, Introduction, MediaEvent, Moderated, Notice, ParticipantInfo, PermissionsInfo, Protocol,
    Refusal, RoomInfo, RoomSettings, SERVER_ID, ShownToken, Topology, Tracks,
};
pub use ice_servers::{IceServer, IceServers, OwnUrls};
pub use limits::Limits;
pub use permissions::{
    Admission, Allowed, MediaPermissions, PermissionChange, Permissions, Source,
};
