//! What can be wrong with a media file.

use std::io;

use thiserror::Error;

/// Why a file cannot be read or written.
#[derive(Debug, Error)]
pub enum FileError {
    /// The content is not what it should be.
    #[error("at {at}: {fault}")]
    Malformed {
        /// What is wrong.
        fault: Fault,
        /// Where: the byte from the start of the file, or the frame when writing.
        at: u64,
    },
    /// The system says no.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// What is wrong with the content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Fault {
    /// The first bytes belong to none of the formats.
    #[error("neither Ogg nor IVF nor an H.264 byte stream")]
    UnknownFormat,
    /// The file ends inside of a header or frame.
    #[error("the file ends in the middle of a frame")]
    Truncated,
    /// A frame is longer than [`super::FRAME_LEN_MAX`].
    #[error("a frame is longer than 2 MiB")]
    FrameTooLong,
    /// An IVF header of another version or length.
    #[error("an IVF header of an unknown version")]
    BadIvfHeader,
    /// An IVF header whose time base has a zero.
    #[error("the IVF time base is zero")]
    BadTimeBase,
    /// A codec in IVF other than VP8.
    #[error("IVF with another codec than VP8")]
    NotVp8,
    /// A broken Ogg page, or none where one should be.
    #[error("a broken Ogg page")]
    BadOggPage,
    /// The first packet is no `OpusHead` of version 0 or 1.
    #[error("Ogg without an Opus header")]
    NotOpus,
    /// More channels than RTP carries (RFC 7845 §5.1.1.1).
    #[error("Opus with more than two channels")]
    TooManyChannels,
    /// The second packet is no `OpusTags`.
    #[error("no Opus tags after the header")]
    NoOpusTags,
    /// A packet whose length or frame count no decoder accepts (RFC 6716 §3.4).
    #[error("not an Opus packet")]
    BadOpusPacket,
    /// Bytes before the first start code.
    #[error("no H.264 start code")]
    NoStartCode,
    /// A frame of another codec than the file's.
    #[error("a frame of another codec than the file's")]
    WrongCodec,
}

impl Fault {
    pub(super) fn at(self, at: u64) -> FileError {
        FileError::Malformed { fault: self, at }
    }
}
