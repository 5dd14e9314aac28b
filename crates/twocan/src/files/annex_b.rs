//! H.264 as a byte stream (H.264 annex B): NAL units behind start codes, put together to access
//! units.

use std::io::{Read, Seek, SeekFrom, Write};

use super::{FRAME_LEN_MAX, Fault, FileError, FileFrame};

/// Bytes read at a time.
const CHUNK_LEN: usize = 64 * 1024;
const RTP_CLOCK: u64 = 90_000;
const START_CODE: [u8; 4] = [0, 0, 0, 1];

/// NAL unit types (H.264 table 7-1).
const SLICE: u8 = 1;
const PARTITION_A: u8 = 2;
const IDR: u8 = 5;
const SPS: u8 = 7;
const PPS: u8 = 8;

#[derive(Debug)]
pub(super) struct AnnexBReader<R> {
    input: R,
    frames_per_second: u32,
    /// Read and not yet used, from `used` on.
    buffer: Vec<u8>,
    used: usize,
    /// Up to where `buffer` was searched for a start code.
    searched: usize,
    is_at_end: bool,
    /// Bytes from the start of the file to the start of `buffer`.
    at: u64,
    started: bool,
    /// The unit after the access unit that was handed out.
    next_unit: Option<Vec<u8>>,
    /// The newest parameter sets: a key frame that lacks them gets them, so that a decoder can
    /// begin with any.
    sps: Vec<u8>,
    pps: Vec<u8>,
    frames: u64,
}

impl<R: Read + Seek> AnnexBReader<R> {
    pub(super) fn new(input: R, frames_per_second: u32) -> Self {
        Self {
            input,
            frames_per_second: frames_per_second.max(1),
            buffer: Vec::new(),
            used: 0,
            searched: 0,
            is_at_end: false,
            at: 0,
            started: false,
            next_unit: None,
            sps: Vec::new(),
            pps: Vec::new(),
            frames: 0,
        }
    }

    pub(super) fn next_frame(&mut self) -> Result<Option<FileFrame>, FileError> {
        let mut frame = AccessUnit::default();
        loop {
            let unit = match self.next_unit.take() {
                Some(unit) => Some(unit),
                None => self.read_unit()?,
            };
            let Some(unit) = unit else { break };
            if frame.has_slice && begins_access_unit(&unit) {
                self.next_unit = Some(unit);
                break;
            }
            match unit_type(&unit) {
                SPS => self.sps.clone_from(&unit),
                PPS => self.pps.clone_from(&unit),
                IDR if !frame.has_slice && !frame.has_sps => {
                    for parameters in [&self.sps, &self.pps] {
                        frame.push(parameters);
                    }
                }
                _ => {}
            }
            frame.push(&unit);
            if frame.data.len() > FRAME_LEN_MAX {
                return Err(Fault::FrameTooLong.at(self.position()));
            }
        }
        // Parameter sets at the very end belong to no picture.
        if !frame.has_slice {
            return Ok(None);
        }
        let timestamp = self.frames * RTP_CLOCK / u64::from(self.frames_per_second);
        self.frames += 1;
        let next = self.frames * RTP_CLOCK / u64::from(self.frames_per_second);
        Ok(Some(FileFrame {
            timestamp,
            duration: u32::try_from(next - timestamp).unwrap_or(0),
            key_frame: frame.has_idr,
            data: frame.data,
        }))
    }

    pub(super) fn rewind(&mut self) -> Result<(), FileError> {
        self.input.seek(SeekFrom::Start(0))?;
        self.buffer.clear();
        (self.used, self.searched, self.at) = (0, 0, 0);
        (self.is_at_end, self.started) = (false, false);
        self.next_unit = None;
        self.frames = 0;
        Ok(())
    }

    fn position(&self) -> u64 {
        self.at + self.used as u64
    }

    /// The bytes up to the next start code, which is used up, less the zeros that belong to it.
    fn read_unit(&mut self) -> Result<Option<Vec<u8>>, FileError> {
        loop {
            // A start code may lie across two chunks.
            let from = self.searched.saturating_sub(2).max(self.used);
            let rest = self.buffer.get(from..).unwrap_or_default();
            let found = rest.windows(3).position(|three| three == [0, 0, 1]);
            let end = match found {
                Some(offset) => from + offset,
                None if self.is_at_end => self.buffer.len(),
                None => {
                    self.searched = self.buffer.len();
                    self.read_chunk()?;
                    continue;
                }
            };
            let unit = self.buffer.get(self.used..end).unwrap_or_default();
            let len = unit
                .iter()
                .rposition(|byte| *byte != 0)
                .map_or(0, |last| last + 1);
            let unit = unit.get(..len).unwrap_or_default().to_vec();
            let before = self.position();
            self.used = (end + 3).min(self.buffer.len());
            self.searched = self.used;
            if !self.started {
                if !unit.is_empty() || found.is_none() {
                    return Err(Fault::NoStartCode.at(before));
                }
                self.started = true;
            } else if !unit.is_empty() {
                return Ok(Some(unit));
            } else if found.is_none() {
                return Ok(None);
            }
        }
    }

    fn read_chunk(&mut self) -> Result<(), FileError> {
        self.buffer.drain(..self.used);
        self.at += self.used as u64;
        self.searched = self.searched.saturating_sub(self.used);
        self.used = 0;
        if self.buffer.len() > FRAME_LEN_MAX {
            return Err(Fault::FrameTooLong.at(self.at));
        }
        let mut chunk = (&mut self.input).take(CHUNK_LEN as u64);
        self.is_at_end = chunk.read_to_end(&mut self.buffer)? == 0;
        Ok(())
    }
}

#[derive(Debug, Default)]
struct AccessUnit {
    data: Vec<u8>,
    has_slice: bool,
    has_idr: bool,
    has_sps: bool,
}

impl AccessUnit {
    fn push(&mut self, unit: &[u8]) {
        if unit.is_empty() {
            return;
        }
        self.data.extend_from_slice(&START_CODE);
        self.data.extend_from_slice(unit);
        let kind = unit_type(unit);
        self.has_slice |= (SLICE..=IDR).contains(&kind);
        self.has_idr |= kind == IDR;
        self.has_sps |= kind == SPS;
    }
}

/// Whether the unit cannot belong to the access unit before (H.264 §7.4.1.2.3).
fn begins_access_unit(unit: &[u8]) -> bool {
    match unit_type(unit) {
        // `first_mb_in_slice` is 0, which Exp-Golomb writes as a set bit.
        SLICE | PARTITION_A | IDR => unit.get(1).is_some_and(|byte| byte & 0x80 != 0),
        6..=9 | 14..=18 => true,
        _ => false,
    }
}

fn unit_type(unit: &[u8]) -> u8 {
    unit.first().map_or(0, |byte| byte & 0x1f)
}

#[derive(Debug)]
pub(super) struct AnnexBWriter<W> {
    output: W,
}

impl<W: Write> AnnexBWriter<W> {
    pub(super) fn new(output: W) -> Self {
        Self { output }
    }

    pub(super) fn write(&mut self, access_unit: &[u8]) -> Result<(), FileError> {
        Ok(self.output.write_all(access_unit)?)
    }

    pub(super) fn finish(mut self) -> Result<W, FileError> {
        self.output.flush()?;
        Ok(self.output)
    }
}
