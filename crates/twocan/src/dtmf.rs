//! `RTCDTMFSender` (W3C webrtc-pc §7): the keys of a telephone, sent as events in a stream of sound
//! (RFC 4733), and heard.
//!
//! ```no_run
//! # async fn example(sender: twocan::RtpSender) -> Result<(), twocan::Error> {
//! use twocan::dtmf::{DURATION_DEFAULT, GAP_DEFAULT};
//!
//! if let Some(dtmf) = sender.dtmf() {
//!     dtmf.insert_dtmf("1,234#", DURATION_DEFAULT, GAP_DEFAULT)?;
//!     while let Some(Some(tone)) = dtmf.next_tone_change().await {
//!         println!("{tone}, then {}", dtmf.tone_buffer());
//!     }
//! }
//! # Ok(()) }
//! ```
//!
//! At the other side, packets of events come among the frames of sound, and are put together:
//!
//! ```no_run
//! # async fn example(receiver: twocan::RtpReceiver) {
//! use twocan::dtmf::{Heard, ToneListener};
//!
//! let mut listener = ToneListener::new();
//! while let Some(frame) = receiver.next_frame().await {
//!     if !frame.codec.eq_ignore_ascii_case("telephone-event") {
//!         continue; // sound, to be decoded
//!     }
//!     // A payload that is malformed says nothing.
//!     let (at, rate) = (frame.received_at, frame.clock_rate);
//!     let heard = listener.receive(at, frame.timestamp, rate, &frame.data);
//!     for heard in heard.unwrap_or_default() {
//!         match heard {
//!             Heard::Began { tone } => println!("{tone} is pressed"),
//!             Heard::Ended { tone, duration } => println!("{tone} was pressed for {duration:?}"),
//!         }
//!     }
//! }
//! # }
//! ```
//!
//! A tone whose end was lost ends with the next one, or by
//! [`handle_timeout`](ToneListener::handle_timeout) when its [`deadline`](ToneListener::deadline) has
//! come.

use std::sync::Arc;
use std::time::Duration;

use twocan_io::clock;
use twocan_proto::negotiate::TransceiverId;
use twocan_proto::peer::InsertDtmfError;

use crate::error::Error;
use crate::peer_connection::Owner;

pub use twocan_proto::dtmf::{
    DURATION_DEFAULT, DURATION_MAX, DURATION_MIN, GAP_DEFAULT, GAP_MAX, GAP_MIN, Heard,
    Listener as ToneListener, SILENCE,
};

/// Tones in what a sender sends. Cheap to clone; the connection lives as long as any handle.
///
/// They go beside the sound, in its stream and its time (RFC 4733 §2.1): timestamps of sound that the
/// application sends are to go on with the time that passes, and it may leave sound out while a tone
/// is played. Tones do not go through a
/// [transform](crate::RtpSender::set_transform), as in browsers.
#[derive(Debug, Clone)]
pub struct DtmfSender {
    owner: Arc<Owner>,
    id: TransceiverId,
}

impl DtmfSender {
    pub(crate) fn new(owner: Arc<Owner>, id: TransceiverId) -> Self {
        Self { owner, id }
    }

    /// `canInsertDTMF`: whether the transceiver is connected, sends, and agreed on events of RFC 4733.
    pub fn can_insert_dtmf(&self) -> bool {
        self.owner.shared.lock().peer.can_insert_dtmf(self.id)
    }

    /// `insertDTMF`: plays these tones in place of those that wait; none at all ends what waits. The
    /// tone that sounds goes on to its end.
    ///
    /// Tones are `0` to `9`, `A` to `D` in any case, `#`, `*`, and a comma for a pause of two
    /// seconds. Each lasts `duration`, from [`DURATION_MIN`] to [`DURATION_MAX`] (40 ms and 6 s), with
    /// `inter_tone_gap` between them, from [`GAP_MIN`] to [`GAP_MAX`] (30 ms and 6 s); what is beyond is
    /// cut to that. Where tones cannot be sent any more they stop.
    ///
    /// # Errors
    /// `InvalidStateError` where [`Self::can_insert_dtmf`] says no, `InvalidCharacterError` for what is
    /// no tone. Nothing has changed then.
    pub fn insert_dtmf(
        &self,
        tones: &str,
        duration: Duration,
        inter_tone_gap: Duration,
    ) -> Result<(), Error> {
        let mut state = self.owner.shared.lock();
        let now = clock::now();
        let inserted = state
            .peer
            .insert_dtmf(now, self.id, tones, duration, inter_tone_gap);
        drop(state);
        self.owner.shared.wake.notify_one();
        inserted.map_err(|error| match error {
            InsertDtmfError::CannotInsert => Error::Channel {
                name: "InvalidStateError",
                reason: "tones cannot be sent: no connected sender of sound that agreed on them"
                    .to_owned(),
            },
            InsertDtmfError::NoTone(other) => Error::Channel {
                name: "InvalidCharacterError",
                reason: other.to_string(),
            },
        })
    }

    /// `toneBuffer`: what is still to be played, without the tone that sounds.
    pub fn tone_buffer(&self) -> String {
        self.owner.shared.lock().peer.tone_buffer(self.id)
    }

    /// The next `tonechange`: the tone that begins, or a comma; `Some(None)` when all are played (an
    /// empty `tone` in the standard). `None` when the connection ends.
    ///
    /// At most 256 wait, of all senders of a connection; then the oldest are forgotten.
    pub async fn next_tone_change(&self) -> Option<Option<char>> {
        self.owner
            .shared
            .until(|state| {
                let mut changes = state.tone_changes.iter();
                match changes.position(|(id, _)| *id == self.id) {
                    Some(index) => {
                        let change = state.tone_changes.remove(index);
                        Some(change.map(|(_, tone)| tone))
                    }
                    None => state.finished.then_some(None),
                }
            })
            .await
    }
}
