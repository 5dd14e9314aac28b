//! The built-in clip: two seconds of a test picture and a tone.

use std::io::Cursor;

use twocan::files::FrameReader;

/// 160×120 at 20 pictures a second, VP8 in IVF.
const VP8: &[u8] = include_bytes!("../../assets/clip.ivf");

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clip_has_two_seconds_in_every_codec() {
        assert_eq!(clip("VP8").unwrap().frames.len(), 40);
        assert_eq!(clip("H264").unwrap().frames.len(), 40);
        let tone = clip("opus").unwrap();
        assert!(
            (100..=102).contains(&tone.frames.len()),
            "{}",
            tone.frames.len()
        );
        assert!(clip("AV1").is_none());
    }
}
