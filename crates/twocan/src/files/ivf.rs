//! IVF: a header of 32 bytes, then frames with a header of 12 each. All numbers little-endian.

use std::io::{Read, Seek, SeekFrom, Write};

use twocan_proto::wire::payload::vp8;

use super::{FRAME_LEN_MAX, Fault, FileError, FileFrame};

const HEADER_LEN: u64 = 32;
const FRAME_HEADER_LEN: usize = 12;
const RTP_CLOCK: u32 = 90_000;

#[derive(Debug)]
pub(super) struct IvfReader<R> {
    input: R,
    /// Bytes from the start of the file.
    at: u64,
    /// Times count `scale / rate` seconds.
    rate: u32,
    scale: u32,
}

impl<R: Read + Seek> IvfReader<R> {
    pub(super) fn new(mut input: R) -> Result<Self, FileError> {
        let mut header = [0; HEADER_LEN as usize];
        if fill(&mut input, &mut header)? < header.len() {
            return Err(Fault::Truncated.at(0));
        }
        if header.get(..8) != Some(b"DKIF\0\0\x20\0") {
            return Err(Fault::BadIvfHeader.at(0));
        }
        if header.get(8..12) != Some(b"VP80") {
            return Err(Fault::NotVp8.at(8));
        }
        let (rate, scale) = (number(&header, 16), number(&header, 20));
        if rate == 0 || scale == 0 {
            return Err(Fault::BadTimeBase.at(16));
        }
        Ok(Self {
            input,
            at: HEADER_LEN,
            rate,
            scale,
        })
    }

    pub(super) fn next_frame(&mut self) -> Result<Option<FileFrame>, FileError> {
        loop {
            let mut header = [0; FRAME_HEADER_LEN];
            match fill(&mut self.input, &mut header)? {
                0 => return Ok(None),
                FRAME_HEADER_LEN => {}
                _ => return Err(Fault::Truncated.at(self.at)),
            }
            let len = usize::try_from(number(&header, 0)).unwrap_or(usize::MAX);
            if len > FRAME_LEN_MAX {
                return Err(Fault::FrameTooLong.at(self.at));
            }
            let time = u64::from(number(&header, 4)) | (u64::from(number(&header, 8)) << 32);
            let mut data = vec![0; len];
            if fill(&mut self.input, &mut data)? < len {
                return Err(Fault::Truncated.at(self.at));
            }
            self.at += (FRAME_HEADER_LEN + len) as u64;
            // An encoder that dropped a picture leaves a frame without bytes.
            if len == 0 {
                continue;
            }
            return Ok(Some(FileFrame {
                timestamp: self.ticks(time),
                // Not said: a tick may be a frame, or the 90,000th part of a second.
                duration: 0,
                key_frame: vp8::is_key_frame(&data),
                data,
            }));
        }
    }

    pub(super) fn rewind(&mut self) -> Result<(), FileError> {
        self.at = self.input.seek(SeekFrom::Start(HEADER_LEN))?;
        Ok(())
    }

    fn ticks(&self, time: u64) -> u64 {
        let ticks = u128::from(time) * u128::from(self.scale) * u128::from(RTP_CLOCK);
        u64::try_from(ticks / u128::from(self.rate)).unwrap_or(u64::MAX)
    }
}

/// As many bytes as there are.
fn fill(input: &mut impl Read, buffer: &mut [u8]) -> Result<usize, FileError> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match input.read(rest) {
            Ok(0) => break,
            Ok(len) => filled += len,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(filled)
}

fn number(bytes: &[u8], at: usize) -> u32 {
    let four = bytes.get(at..).and_then(|rest| rest.first_chunk());
    four.map_or(0, |four| u32::from_le_bytes(*four))
}

/// Writes the header with the first frame, which tells the size, and the count at the end.
#[derive(Debug)]
pub(super) struct IvfWriter<W> {
    output: W,
    frames: u32,
    /// The newest timestamp, and the time written for it.
    newest: Option<(u32, u64)>,
}

impl<W: Write + Seek> IvfWriter<W> {
    pub(super) fn new(output: W) -> Self {
        Self {
            output,
            frames: 0,
            newest: None,
        }
    }

    pub(super) fn write(&mut self, timestamp: u32, data: &[u8]) -> Result<(), FileError> {
        let time = match self.newest {
            None => {
                self.write_header(data)?;
                0
            }
            Some((before, time)) => {
                let step = timestamp.wrapping_sub(before);
                // A step back is a source that began anew: time goes on.
                let forward = 0 < step && step <= u32::MAX / 2;
                time + if forward { u64::from(step) } else { 1 }
            }
        };
        self.newest = Some((timestamp, time));
        let len = u32::try_from(data.len()).map_err(|_| Fault::FrameTooLong.at(time))?;
        self.output.write_all(&len.to_le_bytes())?;
        self.output.write_all(&time.to_le_bytes())?;
        self.output.write_all(data)?;
        self.frames = self.frames.saturating_add(1);
        Ok(())
    }

    pub(super) fn finish(mut self) -> Result<W, FileError> {
        if self.newest.is_none() {
            self.write_header(&[])?;
        }
        self.output.seek(SeekFrom::Start(24))?;
        self.output.write_all(&self.frames.to_le_bytes())?;
        self.output.seek(SeekFrom::End(0))?;
        self.output.flush()?;
        Ok(self.output)
    }

    fn write_header(&mut self, key_frame: &[u8]) -> Result<(), FileError> {
        let (width, height) = size(key_frame).unwrap_or_default();
        let mut header = Vec::with_capacity(HEADER_LEN as usize);
        header.extend_from_slice(b"DKIF\0\0\x20\0VP80");
        header.extend_from_slice(&width.to_le_bytes());
        header.extend_from_slice(&height.to_le_bytes());
        for number in [RTP_CLOCK, 1, 0, 0] {
            header.extend_from_slice(&number.to_le_bytes());
        }
        Ok(self.output.write_all(&header)?)
    }
}

/// Width and height that a VP8 key frame states (RFC 6386 §9.1).
fn size(key_frame: &[u8]) -> Option<(u16, u16)> {
    let [_, _, _, 0x9d, 0x01, 0x2a, w0, w1, h0, h1, ..] = *key_frame else {
        return None;
    };
    // The upper two bits scale the picture on the screen.
    let side = |low, high| u16::from_le_bytes([low, high]) & 0x3fff;
    Some((side(w0, w1), side(h0, h1)))
}
