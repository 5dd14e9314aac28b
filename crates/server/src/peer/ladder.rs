//! A source that obeys the target rate without an encoder: one scene encoded at many rates, each in
//! a file of its own, with key frames at the same places. What a picture lacks of the target is
//! filled up with bytes that no decoder reads, as encoders for constant rates do it.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;
use std::time::Duration;

use thiserror::Error;
use tokio::time::{MissedTickBehavior, interval};
use twocan::files::{FileError, FrameReader};
use twocan::{EncodedFrame, RtpTransceiver};

/// Frames a second, and ticks of the clock of video from one to the next.
const FRAMES_PER_SECOND: u32 = 30;
const TICKS: u32 = 90_000 / FRAMES_PER_SECOND;

/// Why there is no ladder.
#[derive(Debug, Error)]
pub(crate) enum LadderError {
    /// The folder could not be read.
    #[error("cannot read the folder of clips")]
    Folder(#[from] std::io::Error),
    /// A clip could not be read.
    #[error("cannot read the clip {name}")]
    Clip {
        /// The file.
        name: String,
        /// What is wrong with it.
        source: FileError,
    },
    /// Clips differ in length or in the places of their key frames, or there are none.
    #[error("{0}")]
    Unequal(String),
}

/// A clip at one rate.
#[derive(Debug)]
struct Rung {
    bits_per_second: u64,
    frames: Vec<Vec<u8>>,
}

/// Clips, the lowest rate first.
#[derive(Debug)]
pub(super) struct Ladder {
    rungs: Vec<Rung>,
    /// By frame, whether it is a key frame.
    key_frames: Vec<bool>,
}

impl Ladder {
    /// All `.ivf` files of a folder.
    pub(super) fn open(folder: &Path) -> Result<Self, LadderError> {
        let mut rungs = Vec::new();
        let mut key_frames = Vec::new();
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            if path.extension().is_none_or(|own| own != "ivf") {
                continue;
            }
            let name = path.display().to_string();
            let (frames, keys) =
                read(&path).map_err(|source| LadderError::Clip { name, source })?;
            if !rungs.is_empty() && keys != key_frames {
                let unequal = format!("{} has other key frames than the rest", path.display());
                return Err(LadderError::Unequal(unequal));
            }
            let bits: usize = frames.iter().map(|frame| frame.len() * 8).sum();
            rungs.push(Rung {
                bits_per_second: bits as u64 * u64::from(FRAMES_PER_SECOND)
                    / frames.len().max(1) as u64,
                frames,
            });
            key_frames = keys;
        }
        rungs.sort_by_key(|rung| rung.bits_per_second);
        if key_frames.first() != Some(&true) {
            let unequal = format!(
                "{} has no clips that begin with a key frame",
                folder.display()
            );
            return Err(LadderError::Unequal(unequal));
        }
        Ok(Self { rungs, key_frames })
    }
}

fn read(path: &Path) -> Result<(Vec<Vec<u8>>, Vec<bool>), FileError> {
    let mut reader: FrameReader<BufReader<File>> = FrameReader::open(path, FRAMES_PER_SECOND)?;
    let (mut frames, mut keys) = (Vec::new(), Vec::new());
    while let Some(frame) = reader.next_frame()? {
        keys.push(frame.key_frame);
        frames.push(frame.data);
    }
    Ok((frames, keys))
}

/// What goes out, and what was allowed to.
#[derive(Debug)]
struct Position<'a> {
    ladder: &'a Ladder,
    rung: usize,
    frame: usize,
    /// Bytes that the target allowed and that were not sent, or the other way round.
    credit: i64,
}

impl<'a> Position<'a> {
    fn new(ladder: &'a Ladder) -> Self {
        Self {
            ladder,
            rung: 0,
            frame: 0,
            credit: 0,
        }
    }

    /// The next frame at a target in bits a second, and the bytes to fill it up with. A fall below
    /// the rung is followed at once, a rise at the next key frame.
    fn next(&mut self, target: u64, key_frame_wanted: bool) -> (&'a [u8], usize) {
        let ladder = self.ladder;
        let highest = ladder
            .rungs
            .partition_point(|rung| rung.bits_per_second <= target);
        let highest = highest.saturating_sub(1);
        if highest < self.rung || key_frame_wanted {
            self.rung = highest;
            self.frame = 0;
        } else if ladder.key_frames.get(self.frame).is_none_or(|key| *key) {
            self.rung = highest;
        }
        let rung = &ladder.rungs[self.rung];
        let frame = &rung.frames[self.frame];
        self.frame = (self.frame + 1) % rung.frames.len();
        // A second's worth at most either way: what was long ago is no debt.
        let second = i64::try_from(target / 8).unwrap_or(i64::MAX);
        let mean = second / i64::from(FRAMES_PER_SECOND);
        self.credit += mean - frame.len() as i64;
        // What a key frame took in advance is made up for; what is left is filled up at once.
        let filler = self.credit.max(0);
        self.credit = (self.credit - filler).max(-second);
        (frame, usize::try_from(filler).unwrap_or(0))
    }
}

/// Sends pictures in real time, as many bits as the target says.
pub(super) async fn send(transceiver: RtpTransceiver, ladder: Ladder) {
    let sender = transceiver.sender();
    if !sender.can_send().await {
        return;
    }
    let mut position = Position::new(&ladder);
    let mut tick = interval(Duration::from_secs(1) / FRAMES_PER_SECOND);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut timestamp = 0u32;
    let mut key_frame_wanted = false;
    let mut data = Vec::new();
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            wanted = sender.key_frame_wanted() => {
                if !wanted {
                    return;
                }
                key_frame_wanted = true;
                continue;
            }
        }
        let target = sender.target_bitrate().map_or(0, |rate| rate.as_bps());
        let (frame, filler) = position.next(target, std::mem::take(&mut key_frame_wanted));
        data.clear();
        data.extend_from_slice(frame);
        // The last partition of a VP8 picture has what is left of its data (RFC 6386 §9.5).
        data.resize(frame.len() + filler, 0);
        let frame = EncodedFrame {
            codec: "VP8",
            timestamp,
            data: &data,
            ..EncodedFrame::default()
        };
        if let Err(error) = sender.send_frame(frame) {
            tracing::debug!(%error, "ladder");
            return;
        }
        timestamp = timestamp.wrapping_add(TICKS);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Frames of so many bytes, of which the first and the 30th are key frames.
    fn ladder(lengths: &[usize]) -> Ladder {
        let rungs = lengths.iter().map(|len| Rung {
            bits_per_second: *len as u64 * 240,
            frames: vec![vec![0; *len]; 60],
        });
        Ladder {
            rungs: rungs.collect(),
            key_frames: (0..60).map(|at| at % 30 == 0).collect(),
        }
    }

    fn sent((frame, filler): (&[u8], usize)) -> usize {
        frame.len() + filler
    }

    #[test]
    fn between_two_rungs_pictures_are_filled_up() {
        let ladder = ladder(&[100, 1000, 2000]);
        let mut position = Position::new(&ladder);
        for _ in 0..100 {
            assert_eq!(position.next(1300 * 240, false), (&[0; 1000][..], 300));
        }
    }

    #[test]
    fn a_key_frame_is_made_up_for() {
        let mut ladder = ladder(&[1000]);
        ladder.rungs[0].frames[0].resize(3000, 0);
        let mut position = Position::new(&ladder);
        let lengths: Vec<usize> = (0..60)
            .map(|_| sent(position.next(1100 * 240, false)))
            .collect();
        assert_eq!(lengths[..3], [3000, 1000, 1000]);
        assert_eq!(lengths[40], 1100);
        assert_eq!(lengths.iter().sum::<usize>(), 66_000);
    }

    #[test]
    fn a_fall_is_followed_at_once_and_a_rise_at_the_next_key_frame() {
        let ladder = ladder(&[100, 1000, 2000]);
        let mut position = Position::new(&ladder);
        assert_eq!(position.next(2000 * 240, false).0.len(), 2000);
        assert_eq!(position.next(150 * 240, false).0.len(), 100);
        assert_eq!(position.next(2000 * 240, false).0.len(), 100);
        for _ in 0..28 {
            position.next(2000 * 240, false);
        }
        assert_eq!(position.next(2000 * 240, false).0.len(), 2000);
    }

    #[test]
    fn the_clips_of_the_matrix_are_a_ladder() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/interop/ladder");
        let ladder = Ladder::open(folder.as_ref()).unwrap();
        let rates: Vec<u64> = ladder.rungs.iter().map(|own| own.bits_per_second).collect();
        assert!(rates[0] <= 110_000 && rates[rates.len() - 1] >= 3_000_000);
        // No step is so large that most of a picture would be filler.
        assert!(
            rates.windows(2).all(|two| two[1] * 2 < two[0] * 3),
            "{rates:?}"
        );
        assert_eq!(ladder.key_frames.iter().filter(|key| **key).count(), 6);
    }

    #[test]
    fn a_folder_without_clips_says_so() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src");
        let error = Ladder::open(folder.as_ref()).unwrap_err();
        assert!(error.to_string().contains("no clips"), "{error}");
    }
}
