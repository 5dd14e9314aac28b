//! What frames say of themselves.

use twocan_proto::rtp::{Frame, FrameTimes};
use twocan_proto::time::Now;

use std::time::Duration;

use super::SOUND_LEN;

/// What took so long to be encoded.
pub(super) fn captured_before(now: Now, encoding_takes: Duration) -> FrameTimes {
    FrameTimes {
        captured_at: now.monotonic.checked_sub(encoding_takes),
        ..FrameTimes::default()
    }
}

/// A picture of VP8 that says which it is: its quality and its number after the frame's header.
pub(super) fn picture(
    is_key: bool,
    quality: usize,
    from: usize,
    number: u32,
    len: usize,
) -> Vec<u8> {
    // So that it is not taken for a sound.
    let len = if len == SOUND_LEN { len + 1 } else { len };
    let mut data = vec![0; len];
    data[0] = u8::from(!is_key);
    if is_key {
        let height = [180u16, 360, 720][quality.min(2)];
        data[3..6].copy_from_slice(&[0x9d, 0x01, 0x2a]);
        data[6..8].copy_from_slice(&(height * 16 / 9).to_le_bytes());
        data[8..10].copy_from_slice(&height.to_le_bytes());
    }
    data[10] = quality as u8;
    data[11..15].copy_from_slice(&number.to_be_bytes());
    data[15] = from as u8;
    data
}

/// Who sent a frame, and its number.
pub(super) fn origin(frame: &Frame) -> Option<(usize, u32)> {
    let (from, number) = match frame.data.len() {
        SOUND_LEN => (frame.data.get(1)?, frame.data.get(2..6)?),
        _ => (frame.data.get(15)?, frame.data.get(11..15)?),
    };
    Some((
        usize::from(*from),
        u32::from_be_bytes(number.try_into().ok()?),
    ))
}

/// The quality and the number of a picture.
pub fn marks(frame: &Frame) -> (usize, u32) {
    let number = frame.data.get(11..15).and_then(|own| own.try_into().ok());
    let quality = frame.data.get(10).copied().unwrap_or(0);
    (usize::from(quality), number.map_or(0, u32::from_be_bytes))
}
