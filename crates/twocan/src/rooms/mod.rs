//! Rooms of a signaling server: who is there, a connection to each of them, and what they send.
//!
//! 1. [`Room::join`] opens a WebSocket and joins, by the protocol `twocan.v1` or its base.
//! 2. Everyone in the room becomes a [`RoomPeer`] with a [`crate::PeerConnection`] of its own.
//!    Those who were there make the offer to the one who joined; after that negotiation is
//!    *perfect* (W3C webrtc-pc §10.7), the lower id being the polite side.
//! 3. A connection that fails restarts ICE. A WebSocket that breaks is made again, and the
//!    session goes on where it was.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use twocan::rooms::{JoinOptions, Room, RoomEvent};
//! let options = JoinOptions { name: "Ada".into(), ..JoinOptions::default() };
//! let mut room = Room::join("http://localhost:8080/blue-otter", options).await?;
//! while let Some(event) = room.next_event().await {
//!     if let RoomEvent::PeerJoined(peer) = event {
//!         println!("{} is here", peer.name());
//!     }
//! }
//! # Ok(()) }
//! ```
//!
//! [`Echo`], [`Player`] and [`Recorder`] are participants that are ready to use.

mod activity;
mod address;
mod backoff;
mod certificates;
mod chat;
mod data;
mod echo;
mod encryption;
mod error;
mod messages;
mod negotiation;
mod peer;
#[cfg(feature = "files")]
mod play;
#[cfg(feature = "files")]
mod record;
mod room;
mod seal;
mod session;
mod socket;
mod task;
#[cfg(feature = "files")]
mod timeline;
mod watch;
mod ways;

pub use activity::Activity;
pub use chat::{ChatMessage, KeptMessage};
pub use data::{DataError, DataOptions, RoomMessage};
pub use echo::Echo;
pub use encryption::{RoomSecret, SECRET_LEN};
pub use error::{CloseReason, JoinError};
pub use messages::{Publication, Source, TrackChange};
pub use peer::{PeerState, RoomPeer};
#[cfg(feature = "files")]
pub use play::{PlayError, PlayOptions, Player};
#[cfg(feature = "files")]
pub use record::Recorder;
pub use room::{JoinOptions, Room, RoomEvent};
