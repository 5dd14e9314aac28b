//! The keys of a telephone (DTMF) as events in a stream of sound (RFC 4733), in the way of W3C
//! webrtc-pc §7: a [`Player`] says which packets go when, a [`Listener`] which tones those of the
//! other side are.

mod listener;
mod player;

#[cfg(test)]
mod tests;

use std::time::Duration;

pub use listener::{Heard, Listener, SILENCE};
pub use player::{EventPacket, NoTone, Player, RtpClock, Step};

/// How long a tone lasts where nothing is said (W3C webrtc-pc §7.2).
pub const DURATION_DEFAULT: Duration = Duration::from_millis(100);

/// The shortest tone; a shorter one is made so long (§7.2).
pub const DURATION_MIN: Duration = Duration::from_millis(40);

/// The longest tone; a longer one is cut (§7.2).
pub const DURATION_MAX: Duration = Duration::from_secs(6);

/// Between two tones where nothing is said (§7.2).
pub const GAP_DEFAULT: Duration = Duration::from_millis(70);

/// The shortest gap (§7.2).
pub const GAP_MIN: Duration = Duration::from_millis(30);

/// The longest gap (§7.2).
pub const GAP_MAX: Duration = Duration::from_secs(6);

/// Ticks that the duration of one packet can say; a longer event goes in segments of so many (RFC
/// 4733 §2.5.1.3).
const SEGMENT: u32 = 0xffff;
