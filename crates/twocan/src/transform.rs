//! What encoded frames go through between encoder and packets (W3C webrtc-encoded-transform).
//!
//! A [`FrameTransform`] is set on a [`crate::RtpSender`] or a [`crate::RtpReceiver`]. Ready-made
//! are those of SFrame (RFC 9605, [`sframe`]): frames that servers forward and cannot read.
//!
//! ```no_run
//! # fn example(sender: &twocan::RtpSender, receiver: &twocan::RtpReceiver, secret: &[u8]) -> Result<(), Box<dyn std::error::Error>> {
//! use twocan::transform::sframe;
//!
//! let suite = sframe::CipherSuite::Aes128GcmSha256_128;
//! sender.set_transform(Some(Box::new(sframe::Sender::new(suite, 7, secret))));
//! let mut theirs = sframe::Receiver::new(suite);
//! theirs.add_key(8, secret)?;
//! receiver.set_transform(Some(Box::new(theirs)));
//! # Ok(()) }
//! ```

use std::fmt;

use thiserror::Error;
use twocan_proto::wire::payload::av1;

/// Encryption of frames (RFC 9605).
///
/// As transforms, [`sframe::Sender`] and [`sframe::Receiver`] take sound of any codec, VP8, VP9 and
/// AV1. What packetisers and servers look at for key frames stays in the clear, authenticated: of
/// VP8 the first 10 bytes of a key frame and 3 of another, of VP9 the first byte. Of AV1 the whole
/// temporal unit is encrypted and travels in one OBU, in an
/// [`Envelope`](twocan_proto::wire::payload::av1::Envelope). That is also what the web client does.
pub mod sframe {
    pub use twocan_proto::sframe::{
        CipherSuite, KEYS_MAX, NotEncrypted, OVERHEAD_MAX, Receiver, Rejected, Sender, TooManyKeys,
    };
}

/// What is known of a frame on its way.
#[derive(Debug, Clone, Copy)]
pub struct FrameInfo<'a> {
    /// The name of its codec.
    pub codec: &'a str,
    /// The sampling instant in ticks of the codec's clock; it wraps.
    pub timestamp: u32,
}

/// Changes encoded frames on their way.
///
/// Frames of one track come one after the other, under the lock of the connection: a transform
/// that takes long holds all of it up. What packetisers read of a codec has to stay as it is: the
/// NAL unit structure of H.264 and H.265, the OBU structure of AV1, the first bytes of VP8 and VP9.
pub trait FrameTransform: Send + fmt::Debug {
    /// Appends what goes on in place of `data` to `out`, which is empty.
    ///
    /// # Errors
    /// The frame does not go on: [`crate::RtpSender::send_frame`] answers with the error, a
    /// receiver leaves the frame out as if it had been lost.
    fn transform(
        &mut self,
        frame: FrameInfo<'_>,
        data: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), TransformError>;
}

/// Why a frame does not go on.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct TransformError(pub String);

impl TransformError {
    fn new(reason: impl fmt::Display) -> Self {
        Self(reason.to_string())
    }
}

impl FrameTransform for sframe::Sender {
    fn transform(
        &mut self,
        frame: FrameInfo<'_>,
        data: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), TransformError> {
        let visible = visible(frame.codec, data)?;
        if visible == Visible::Envelope {
            let envelope = av1::Envelope::of(data).map_err(TransformError::new)?;
            let mut hidden = Vec::new();
            self.encrypt(&[envelope.visible()], data, &mut hidden)
                .map_err(TransformError::new)?;
            envelope.write(&hidden, out);
            return Ok(());
        }
        let (clear, rest) = visible.split(data)?;
        out.extend_from_slice(clear);
        self.encrypt(clear, rest, out).map_err(TransformError::new)
    }
}

impl FrameTransform for sframe::Receiver {
    fn transform(
        &mut self,
        frame: FrameInfo<'_>,
        data: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), TransformError> {
        let visible = visible(frame.codec, data)?;
        let (clear, rest) = match visible {
            Visible::Envelope => av1::open_envelope(data).map_err(TransformError::new)?,
            Visible::First(_) => visible.split(data)?,
        };
        if visible != Visible::Envelope {
            out.extend_from_slice(clear);
        }
        let outcome = self.decrypt(clear, rest, out);
        outcome.map(|_| ()).map_err(TransformError::new)
    }
}

/// What stays in the clear of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Visible {
    /// So many bytes at its beginning.
    First(usize),
    /// What the envelope around it says.
    Envelope,
}

const SOUND: [&str; 5] = ["opus", "PCMU", "PCMA", "G722", "CN"];
const PICTURES: [&str; 3] = ["VP8", "VP9", "AV1"];

/// Whether [`sframe`] takes frames of this codec.
#[cfg(feature = "files")]
pub(crate) fn encrypts(codec: &str) -> bool {
    let mut names = SOUND.iter().chain(&PICTURES);
    names.any(|name| name.eq_ignore_ascii_case(codec))
}

fn visible(codec: &str, data: &[u8]) -> Result<Visible, TransformError> {
    let is = |name: &str| name.eq_ignore_ascii_case(codec);
    if SOUND.iter().any(|name| is(name)) {
        return Ok(Visible::First(0));
    }
    let place = PICTURES.iter().position(|name| is(name));
    match place {
        Some(0) => {
            // RFC 6386 §9.1: a key frame has its marker and its size after the frame tag.
            let is_key = data.first().is_some_and(|first| first & 1 == 0);
            Ok(Visible::First(if is_key { 10 } else { 3 }))
        }
        // All that says whether it is a key frame (VP9 bitstream specification §6.2).
        Some(1) => Ok(Visible::First(1)),
        Some(_) => Ok(Visible::Envelope),
        None => {
            let names = PICTURES.join(", ");
            let reason = format!("frames of {codec} are not encrypted: use one of {names}");
            Err(TransformError(reason))
        }
    }
}

impl Visible {
    /// The bytes in the clear, and the rest.
    fn split(self, data: &[u8]) -> Result<(&[u8], &[u8]), TransformError> {
        let len = match self {
            Self::First(len) => len,
            Self::Envelope => 0,
        };
        data.split_at_checked(len)
            .ok_or_else(|| TransformError::new("a frame shorter than its header"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUITE: sframe::CipherSuite = sframe::CipherSuite::Aes256GcmSha512_128;

    fn both(codec: &str, data: &[u8]) -> Result<Vec<u8>, TransformError> {
        let frame = FrameInfo {
            codec,
            timestamp: 0,
        };
        let mut sender = sframe::Sender::new(SUITE, 300, b"secret");
        let mut receiver = sframe::Receiver::new(SUITE);
        receiver.add_key(300, b"secret").unwrap();
        let (mut encrypted, mut plain) = (Vec::new(), Vec::new());
        sender.transform(frame, data, &mut encrypted)?;
        assert!(data.is_empty() || !encrypted.ends_with(data));
        receiver.transform(frame, &encrypted, &mut plain)?;
        Ok(plain)
    }

    #[test]
    fn frames_survive_and_keep_what_packetisers_read() {
        let key = [&[0x10, 2, 0, 0x9d, 1, 0x2a, 64, 1, 240, 0][..], b"pictures"].concat();
        let delta = [&[0x11, 2, 0][..], b"differences"].concat();
        for frame in [&key, &delta] {
            assert_eq!(both("VP8", frame).as_ref(), Ok(frame));
        }
        let vp9 = b"\x82pictures of VP9".to_vec();
        assert_eq!(both("vp9", &vp9).as_ref(), Ok(&vp9));
        let delimited = [0x12, 0, 0x0a, 3, 1, 2, 3, 0x32, 3, 0x10, 8, 9];
        let plain = [0x30, 0x30, 7, 7, 7];
        for unit in [&delimited[..], &plain] {
            assert_eq!(both("AV1", unit).as_deref(), Ok(unit));
        }
        assert_eq!(both("opus", b"sound"), Ok(b"sound".to_vec()));
        assert_eq!(both("OPUS", b""), Ok(Vec::new()), "a silent one");
        let mut encrypted = Vec::new();
        let info = FrameInfo {
            codec: "vp8",
            timestamp: 0,
        };
        let mut sender = sframe::Sender::new(SUITE, 1, b"secret");
        sender.transform(info, &key, &mut encrypted).unwrap();
        assert_eq!(encrypted[..10], key[..10]);
        let info = FrameInfo {
            codec: "AV1",
            timestamp: 0,
        };
        encrypted.clear();
        sender.transform(info, &delimited, &mut encrypted).unwrap();
        assert!(av1::is_key_frame(&encrypted));
        // The byte in the clear is authenticated.
        let mut receiver = sframe::Receiver::new(SUITE);
        receiver.add_key(1, b"secret").unwrap();
        let at = encrypted.iter().position(|byte| *byte == 0x10).unwrap();
        encrypted[at] = 0x30;
        assert!(
            receiver
                .transform(info, &encrypted, &mut Vec::new())
                .is_err()
        );
    }

    #[test]
    fn what_cannot_be_encrypted_says_so_and_is_not_sent_in_the_clear() {
        let error = both("H264", &[0, 0, 0, 1, 0x65]).unwrap_err();
        assert!(error.to_string().contains("H264"), "{error}");
        assert!(both("VP8", &[0x10, 0]).is_err());
        assert!(both("VP8", &[]).is_err());
        assert!(both("VP9", &[]).is_err());
        assert!(both("AV1", &[0x12, 0]).is_err());
    }
}
