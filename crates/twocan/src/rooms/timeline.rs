//! The frames of a file on one unbroken timeline, whatever is skipped or repeated.

use std::io::{Read, Seek};

use crate::files::{FileError, FileFrame, FrameReader};

/// A frame with its time from the start of playing.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Timed {
    /// In ticks of the format's clock.
    pub(super) time: u64,
    pub(super) frame: FileFrame,
}

/// A file that is not repeated goes back to its start so often for a key frame that is wanted.
/// Whoever asks for further ones (a browser that cannot decode it does) does not get to see more.
const REWINDS_MAX: u32 = 3;

#[derive(Debug)]
pub(super) struct Timeline<R: Read + Seek> {
    reader: FrameReader<R>,
    repeats: bool,
    /// Where the next frame belongs if it does not follow on the one before in the file.
    next_time: u64,
    /// The last frame: its time in the file and here.
    last: Option<(u64, u64)>,
    /// What a frame lasts where neither the file nor its neighbours say.
    usual_duration: u64,
    breaks: bool,
    rewinds_left: u32,
}

impl<R: Read + Seek> Timeline<R> {
    pub(super) fn new(reader: FrameReader<R>, repeats: bool) -> Self {
        let usual_duration = u64::from(reader.format().clock_rate()) / 30;
        Self {
            reader,
            repeats,
            next_time: 0,
            last: None,
            usual_duration,
            breaks: false,
            rewinds_left: REWINDS_MAX,
        }
    }

    /// The next frame; with `from_key`, the next key frame of the file, or a few times its first
    /// where none follows. `None` at the end, and for a file without frames.
    pub(super) fn next(&mut self, from_key: bool) -> Result<Option<Timed>, FileError> {
        let mut may_rewind = self.repeats || (from_key && self.rewinds_left > 0);
        loop {
            match self.reader.next_frame()? {
                Some(frame) if from_key && !frame.key_frame => self.breaks = true,
                Some(frame) => return Ok(Some(self.place(frame))),
                None if may_rewind => {
                    may_rewind = false;
                    self.rewinds_left = self.rewinds_left.saturating_sub(1);
                    self.breaks = true;
                    self.reader.rewind()?;
                }
                None => return Ok(None),
            }
        }
    }

    fn place(&mut self, frame: FileFrame) -> Timed {
        let follows = self.last.filter(|_| !self.breaks);
        let step = follows.and_then(|(before, time)| {
            let step = frame.timestamp.checked_sub(before)?;
            Some((step, time.saturating_add(step)))
        });
        let time = step.map_or(self.next_time, |(_, time)| time);
        if let Some((step, _)) = step.filter(|(step, _)| *step > 0) {
            self.usual_duration = step;
        }
        let duration = match frame.duration {
            0 => self.usual_duration,
            given => u64::from(given),
        };
        self.last = Some((frame.timestamp, time));
        self.next_time = time.saturating_add(duration);
        self.breaks = false;
        Timed { time, frame }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    const IVF: &[u8] = include_bytes!("../../../server/assets/clip.ivf");

    #[test]
    fn a_repeated_file_keeps_its_pace() {
        let mut timeline = timeline(true);
        for number in 0..100 {
            let timed = timeline.next(false).unwrap().unwrap();
            assert_eq!(timed.time, number * 4500);
        }
    }

    #[test]
    fn a_file_ends_unless_it_is_repeated() {
        let mut timeline = timeline(false);
        let count = std::iter::from_fn(|| timeline.next(false).unwrap()).count();
        assert_eq!(count, 40);
    }

    #[test]
    fn a_wanted_key_frame_comes_next_and_in_time() {
        let mut timeline = timeline(false);
        for _ in 0..5 {
            timeline.next(false).unwrap();
        }
        let timed = timeline.next(true).unwrap().unwrap();
        assert!(timed.frame.key_frame);
        assert_eq!(timed.time, 5 * 4500);
        let after = timeline.next(false).unwrap().unwrap();
        assert_eq!(after.time, 6 * 4500);
    }

    #[test]
    fn a_file_ends_though_key_frames_are_wanted_for_ever() {
        let mut timeline = timeline(false);
        let count = std::iter::from_fn(|| timeline.next(true).unwrap()).count();
        // The clip has one key frame, at its start.
        assert_eq!(count, 1 + REWINDS_MAX as usize);
    }

    fn timeline(repeats: bool) -> Timeline<Cursor<&'static [u8]>> {
        Timeline::new(FrameReader::new(Cursor::new(IVF), 30).unwrap(), repeats)
    }
}
