//! An encoder without pictures: it makes as many bytes as one would.

use twocan_wire::units::Bitrate;

use super::PICTURE;

/// A key frame that nobody asked for is so many times as long as the mean: the usual one of a
/// constant rate.
const REGULAR_KEY_FRAME: f64 = 6.0;

/// An encoder that keeps to its target: thirty pictures a second, and a key frame of four times
/// the size on request, which the pictures after it make up for.
#[derive(Debug, Clone)]
pub struct Encoder {
    /// Key frames made.
    pub key_frames: u64,
    rate_max: Option<Bitrate>,
    number: u32,
    key_wanted: bool,
    /// Pictures from one key frame to the next, without a request.
    key_frame_every: Option<u32>,
    /// Bytes beyond the target.
    debt: f64,
}

impl Encoder {
    /// One that has made nothing, makes no more than `rate_max`, and a key frame every so many
    /// pictures.
    pub fn new(rate_max: Option<Bitrate>, key_frame_every: Option<u32>) -> Self {
        Self {
            key_frames: 0,
            rate_max,
            number: 0,
            key_wanted: true,
            key_frame_every,
            debt: 0.0,
        }
    }

    /// The next picture is to be a key frame.
    pub fn want_key_frame(&mut self) {
        self.key_wanted = true;
    }

    /// The next picture, in the form of VP8.
    pub fn next(&mut self, target: Bitrate) -> Vec<u8> {
        let target = self.rate_max.map_or(target, |max| max.min(target));
        let mean = target.as_bps() as f64 / 8.0 * PICTURE.as_secs_f64();
        let regular = self
            .key_frame_every
            .is_some_and(|every| self.number.is_multiple_of(every));
        let key = std::mem::take(&mut self.key_wanted) || regular;
        let len = match (key, self.key_frame_every) {
            (true, Some(_)) => REGULAR_KEY_FRAME * mean,
            (true, None) => 4.0 * mean,
            (false, Some(every)) => {
                (f64::from(every) - REGULAR_KEY_FRAME) / f64::from(every - 1) * mean
            }
            (false, None) => (mean - self.debt / 10.0).max(mean / 2.0),
        };
        self.debt += len - mean;
        self.number += 1;
        self.key_frames += u64::from(key);
        // The head of a VP8 picture (RFC 6386 §9.1).
        let mut frame = match key {
            true => vec![0x10, 0, 0, 0x9d, 0x01, 0x2a, 64, 0, 64, 0],
            false => vec![0x11, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        };
        frame.resize((len as usize).max(100), self.number as u8);
        frame
    }
}
