//! Encoded media in files: Opus in Ogg (RFC 7845), VP8 in IVF, H.264 as an Annex B byte stream.
//!
//! A [`FrameReader`] yields frames with timestamps of the codec's RTP clock; a [`FrameWriter`]
//! takes what a track received. Nothing is decoded or encoded. Both block on the file: in async
//! code they belong on a thread for blocking work.
//!
//! ```no_run
//! use twocan::files::FrameReader;
//! let mut clip = FrameReader::open("clip.ivf".as_ref(), 30)?;
//! while let Some(frame) = clip.next_frame()? {
//!     println!("{} {} bytes", frame.timestamp, frame.data.len());
//! }
//! # Ok::<(), twocan::files::FileError>(())
//! ```

mod annex_b;
mod error;
mod ivf;
mod ogg_opus;
mod opus;

#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::Path;

use twocan_proto::negotiate::Kind;

use crate::receiver::Frame;
use annex_b::{AnnexBReader, AnnexBWriter};
use ivf::{IvfReader, IvfWriter};
use ogg_opus::{OggOpusReader, OggOpusWriter};

pub use error::{Fault, FileError};

/// Longest frame that is read, in bytes: what a track takes into its queue.
pub const FRAME_LEN_MAX: usize = 2 << 20;

/// What a file holds, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Opus in Ogg: `.ogg`, `.opus`.
    OggOpus,
    /// VP8 in IVF: `.ivf`.
    Ivf,
    /// H.264 as a byte stream: `.h264`.
    AnnexB,
}

impl Format {
    /// The format in which frames of a codec are written; `None` where there is none.
    pub fn for_codec(codec: &str) -> Option<Self> {
        match codec.to_ascii_lowercase().as_str() {
            "opus" => Some(Self::OggOpus),
            "vp8" => Some(Self::Ivf),
            "h264" => Some(Self::AnnexB),
            _ => None,
        }
    }

    /// The encoding name as SDP has it.
    pub const fn codec(self) -> &'static str {
        match self {
            Self::OggOpus => "opus",
            Self::Ivf => "VP8",
            Self::AnnexB => "H264",
        }
    }

    /// What the codec carries.
    pub const fn kind(self) -> Kind {
        match self {
            Self::OggOpus => Kind::Audio,
            Self::Ivf | Self::AnnexB => Kind::Video,
        }
    }

    /// Ticks of the RTP timestamp a second.
    pub const fn clock_rate(self) -> u32 {
        match self {
            Self::OggOpus => 48_000,
            Self::Ivf | Self::AnnexB => 90_000,
        }
    }

    /// The usual end of the file's name.
    pub const fn extension(self) -> &'static str {
        match self {
            Self::OggOpus => "ogg",
            Self::Ivf => "ivf",
            Self::AnnexB => "h264",
        }
    }
}

/// A frame from a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileFrame {
    /// The time from the start of the file, in ticks of [`Format::clock_rate`].
    pub timestamp: u64,
    /// How long it lasts, in the same ticks; 0 where the file does not say.
    pub duration: u32,
    /// Whether it can be decoded without those before it; always so for sound.
    pub key_frame: bool,
    /// As in [`crate::EncodedFrame::data`].
    pub data: Vec<u8>,
}

/// Reads frames from a file of any [`Format`].
#[derive(Debug)]
pub struct FrameReader<R: Read + Seek> {
    source: Source<R>,
}

#[derive(Debug)]
enum Source<R: Read + Seek> {
    OggOpus(Box<OggOpusReader<R>>),
    Ivf(IvfReader<R>),
    AnnexB(AnnexBReader<R>),
}

impl FrameReader<BufReader<File>> {
    /// Opens a file. `frames_per_second` is the pace of a byte stream, which has no times of its
    /// own; the other formats ignore it.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn open(path: &Path, frames_per_second: u32) -> Result<Self, FileError> {
        Self::new(BufReader::new(File::open(path)?), frames_per_second)
    }
}

impl<R: Read + Seek> FrameReader<R> {
    /// Reads from `input`, whose first bytes tell the format.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn new(mut input: R, frames_per_second: u32) -> Result<Self, FileError> {
        let mut magic = [0; 4];
        let mut filled = 0;
        while let Some(rest) = magic.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match input.read(rest)? {
                0 => break,
                len => filled += len,
            }
        }
        input.seek(SeekFrom::Start(0))?;
        let source = match &magic {
            b"OggS" => Source::OggOpus(Box::new(OggOpusReader::new(input)?)),
            b"DKIF" => Source::Ivf(IvfReader::new(input)?),
            [0, 0, 1, _] | [0, 0, 0, 0 | 1] if filled == 4 => {
                Source::AnnexB(AnnexBReader::new(input, frames_per_second))
            }
            _ => return Err(Fault::UnknownFormat.at(0)),
        };
        Ok(Self { source })
    }

    /// The format.
    pub fn format(&self) -> Format {
        match &self.source {
            Source::OggOpus(_) => Format::OggOpus,
            Source::Ivf(_) => Format::Ivf,
            Source::AnnexB(_) => Format::AnnexB,
        }
    }

    /// The next frame; `None` at the end.
    ///
    /// # Errors
    /// [`FileError`]; the file cannot be read on then.
    pub fn next_frame(&mut self) -> Result<Option<FileFrame>, FileError> {
        match &mut self.source {
            Source::OggOpus(reader) => reader.next_frame(),
            Source::Ivf(reader) => reader.next_frame(),
            Source::AnnexB(reader) => reader.next_frame(),
        }
    }

    /// Goes back to the first frame, whose timestamp is as it was.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn rewind(&mut self) -> Result<(), FileError> {
        match &mut self.source {
            Source::OggOpus(reader) => reader.rewind(),
            Source::Ivf(reader) => reader.rewind(),
            Source::AnnexB(reader) => reader.rewind(),
        }
    }
}

/// What became of a frame that was given to a [`FrameWriter`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// It is in the file.
    Whole,
    /// It needs frames that were lost, so it is left out. Ask the sender for a key frame.
    NeedsKeyFrame,
}

/// Writes the frames of one track to a file.
///
/// Video begins with a key frame, and after a loss goes on with one. Lost sound is marked, so
/// that a player conceals it and later sound keeps its time. Without [`Self::finish`] the file is
/// readable but does not say how long it is.
#[derive(Debug)]
pub struct FrameWriter<W: Write + Seek> {
    sink: Sink<W>,
    gate: Gate,
    frames: u64,
}

enum Sink<W: Write + Seek> {
    OggOpus(Box<OggOpusWriter<W>>),
    Ivf(IvfWriter<W>),
    AnnexB(AnnexBWriter<W>),
}

impl<W: Write + Seek> std::fmt::Debug for Sink<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::OggOpus(_) => "OggOpus",
            Self::Ivf(_) => "Ivf",
            Self::AnnexB(_) => "AnnexB",
        })
    }
}

impl FrameWriter<BufWriter<File>> {
    /// Creates a file; one that exists is left alone.
    ///
    /// # Errors
    /// `AlreadyExists` and whatever else the system says.
    pub fn create(path: &Path, format: Format) -> Result<Self, FileError> {
        let file = File::create_new(path)?;
        Self::new(BufWriter::new(file), format)
    }
}

impl<W: Write + Seek> FrameWriter<W> {
    /// Writes to `output`.
    ///
    /// # Errors
    /// What the output says.
    pub fn new(output: W, format: Format) -> Result<Self, FileError> {
        let sink = match format {
            Format::OggOpus => Sink::OggOpus(Box::new(OggOpusWriter::new(output)?)),
            Format::Ivf => Sink::Ivf(IvfWriter::new(output)),
            Format::AnnexB => Sink::AnnexB(AnnexBWriter::new(output)),
        };
        Ok(Self {
            sink,
            gate: Gate::default(),
            frames: 0,
        })
    }

    /// The format.
    pub fn format(&self) -> Format {
        match &self.sink {
            Sink::OggOpus(_) => Format::OggOpus,
            Sink::Ivf(_) => Format::Ivf,
            Sink::AnnexB(_) => Format::AnnexB,
        }
    }

    /// Frames in the file.
    pub fn frames(&self) -> u64 {
        self.frames
    }

    /// Writes a frame of the track; frames come in their order.
    ///
    /// # Errors
    /// [`Fault::WrongCodec`] for a frame of another codec, [`Fault::BadOpusPacket`] for what is no
    /// Opus, and what the output says.
    pub fn write(&mut self, frame: &Frame) -> Result<Written, FileError> {
        if Format::for_codec(&frame.codec) != Some(self.format()) {
            return Err(Fault::WrongCodec.at(self.frames));
        }
        if !self.gate.admits(frame) {
            return Ok(Written::NeedsKeyFrame);
        }
        match &mut self.sink {
            Sink::OggOpus(writer) => writer.write(frame.timestamp, &frame.data)?,
            Sink::Ivf(writer) => writer.write(frame.timestamp, &frame.data)?,
            Sink::AnnexB(writer) => writer.write(&frame.data)?,
        }
        self.frames += 1;
        Ok(Written::Whole)
    }

    /// Writes what is held back, and the length.
    ///
    /// # Errors
    /// What the output says.
    pub fn finish(self) -> Result<W, FileError> {
        match self.sink {
            Sink::OggOpus(writer) => writer.finish(),
            Sink::Ivf(writer) => writer.finish(),
            Sink::AnnexB(writer) => writer.finish(),
        }
    }
}

/// Lets video through from a key frame to where one is needed again. Sound says of each of its frames that
/// it is a key frame.
#[derive(Debug, Default)]
struct Gate {
    open: bool,
}

impl Gate {
    fn admits(&mut self, frame: &Frame) -> bool {
        self.open = frame.key_frame || (self.open && frame.decodable);
        self.open
    }
}
