//! The built-in clip: two seconds of a test picture and a tone.

use std::io::Cursor;

use twocan::files::FrameReader;

/// 160×120 at 20 pictures a second, VP8 in IVF.
const VP8: &[u8] = include_bytes!("../../assets/clip.ivf");

/// The same in VP9 and in AV1.
const VP9: &[u8] = include_bytes!("../../assets/clip-vp9.ivf");
const AV1: &[u8] = include_bytes!("../../assets/clip-av1.ivf");

/// The same in H.264, Constrained Baseline, Annex B.
const H264: &[u8] = include_bytes!("../../assets/clip.h264");

/// A tone of 440 Hz in Opus, 20 ms a packet, in Ogg.
const OPUS: &[u8] = include_bytes!("../../assets/clip.ogg");

/// Encoded frames and the ticks from one to the next.
pub(super) struct Clip {
    pub(super) codec: &'static str,
    pub(super) frames: Vec<Vec<u8>>,
    /// In the codec's clock.
    pub(super) ticks: u32,
    pub(super) milliseconds: u64,
}

/// The clip in a codec; `None` for one that it does not have.
pub(super) fn clip(codec: &str) -> Option<Clip> {
    match codec.to_ascii_lowercase().as_str() {
        "opus" => Some(Clip {
            codec: "opus",
            frames: frames(OPUS),
            ticks: 960,
            milliseconds: 20,
        }),
        "vp8" => Some(Clip {
            codec: "VP8",
            frames: frames(VP8),
            ticks: 4500,
            milliseconds: 50,
        }),
        "vp9" => Some(Clip {
            codec: "VP9",
            frames: ivf_frames(VP9),
            ticks: 4500,
            milliseconds: 50,
        }),
        "av1" => Some(Clip {
            codec: "AV1",
            frames: ivf_frames(AV1),
            ticks: 4500,
            milliseconds: 50,
        }),
        "h264" => Some(Clip {
            codec: "H264",
            frames: frames(H264),
            ticks: 4500,
            milliseconds: 50,
        }),
        _ => None,
    }
}

/// All frames of a file that is part of this program.
fn frames(file: &'static [u8]) -> Vec<Vec<u8>> {
    let Ok(mut reader) = FrameReader::new(Cursor::new(file), 20) else {
        return Vec::new();
    };
    let frames = std::iter::from_fn(|| reader.next_frame().ok().flatten());
    frames.map(|frame| frame.data).collect()
}

/// The same of IVF with another codec than the library's files have: a header of 32 bytes, then each
/// frame behind its length in four bytes and its time in eight.
fn ivf_frames(file: &'static [u8]) -> Vec<Vec<u8>> {
    let mut rest = file.get(32..).unwrap_or_default();
    let frames = std::iter::from_fn(|| {
        let (len, after) = rest.split_first_chunk()?;
        let len = usize::try_from(u32::from_le_bytes(*len)).ok()?;
        let (frame, after) = after.get(8..)?.split_at_checked(len)?;
        rest = after;
        Some(frame.to_vec())
    });
    frames.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clip_has_two_seconds_in_every_codec() {
        for codec in ["VP8", "VP9", "AV1", "H264"] {
            assert_eq!(clip(codec).unwrap().frames.len(), 40, "{codec}");
        }
        let tone = clip("opus").unwrap();
        assert!(
            (100..=102).contains(&tone.frames.len()),
            "{}",
            tone.frames.len()
        );
        assert!(clip("H265").is_none());
    }
}
