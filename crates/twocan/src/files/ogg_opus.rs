//! Opus in Ogg (RFC 7845).

use std::io::{self, Read, Seek, SeekFrom, Write};

use ogg::{OggReadError, PacketReader, PacketWriteEndInfo, PacketWriter};
use twocan_io::clock;

use super::opus::{frame_samples, missing_frame, packet_samples};
use super::{Fault, FileError, FileFrame};

/// Bytes that may be read for one packet. The largest page has 65 kB; a packet over several
/// pages, or junk between them, is no Opus.
const PACKET_READ_MAX: u64 = 256 * 1024;

/// Samples that a decoder needs to settle when it begins in the middle: 80 ms (RFC 7845 §4.2).
const PRE_SKIP: u16 = 3840;

/// Samples after which a page ends: a second, which is what a crash may lose.
const PAGE_SAMPLES: u64 = 48_000;

/// Samples that are filled after a gap: a minute. Beyond it the source has begun anew.
const GAP_MAX: u32 = 60 * 48_000;

pub(super) struct OggOpusReader<R: Read + Seek> {
    packets: PacketReader<Budget<R>>,
    serial: u32,
    /// Samples before the next packet.
    position: u64,
    /// Whether the first page with sound is behind: its granule position may begin anywhere
    /// (RFC 7845 §4.3), later ones tell of gaps.
    origin: Option<u64>,
}

impl<R: Read + Seek> std::fmt::Debug for OggOpusReader<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OggOpusReader")
            .field("serial", &self.serial)
            .field("position", &self.position)
            .finish_non_exhaustive()
    }
}

impl<R: Read + Seek> OggOpusReader<R> {
    pub(super) fn new(input: R) -> Result<Self, FileError> {
        let mut reader = Self {
            packets: PacketReader::new(Budget {
                input,
                left: 0,
                used: 0,
                exhausted: false,
            }),
            serial: 0,
            position: 0,
            origin: None,
        };
        reader.read_headers()?;
        Ok(reader)
    }

    pub(super) fn next_frame(&mut self) -> Result<Option<FileFrame>, FileError> {
        let Some(packet) = self.next_packet()? else {
            return Ok(None);
        };
        let at = self.packets.get_mut().used;
        let samples = packet_samples(&packet.data).ok_or(Fault::BadOpusPacket.at(at))?;
        let timestamp = self.position;
        self.position += u64::from(samples);
        if packet.last_in_page() {
            let granule = packet.absgp_page();
            match self.origin {
                None => self.origin = Some(granule.saturating_sub(self.position)),
                // The end of the stream may be trimmed, so that only later positions count.
                Some(origin) => self.position = self.position.max(granule.saturating_sub(origin)),
            }
        }
        Ok(Some(FileFrame {
            timestamp,
            duration: samples,
            key_frame: true,
            data: packet.data,
        }))
    }

    pub(super) fn rewind(&mut self) -> Result<(), FileError> {
        self.packets.seek_bytes(SeekFrom::Start(0))?;
        self.packets.get_mut().used = 0;
        self.position = 0;
        self.origin = None;
        self.read_headers()
    }

    fn read_headers(&mut self) -> Result<(), FileError> {
        let head = self.read()?.ok_or(Fault::NotOpus.at(0))?;
        // RFC 7845 §5.1: magic, version with a major part of 0, channels, …, mapping family.
        let is_head = head.data.starts_with(b"OpusHead")
            && head.data.len() >= 19
            && head.data.get(8).is_some_and(|version| version >> 4 == 0);
        if !is_head {
            return Err(Fault::NotOpus.at(0));
        }
        if !matches!(head.data.get(9), Some(1 | 2)) || head.data.get(18) != Some(&0) {
            return Err(Fault::TooManyChannels.at(0));
        }
        self.serial = head.stream_serial();
        let at = self.packets.get_mut().used;
        match self.next_packet()? {
            Some(tags) if tags.data.starts_with(b"OpusTags") => Ok(()),
            _ => Err(Fault::NoOpusTags.at(at)),
        }
    }

    /// The next packet of the stream; those of others are passed over.
    fn next_packet(&mut self) -> Result<Option<ogg::Packet>, FileError> {
        while let Some(packet) = self.read()? {
            if packet.stream_serial() == self.serial {
                return Ok(Some(packet));
            }
        }
        Ok(None)
    }

    fn read(&mut self) -> Result<Option<ogg::Packet>, FileError> {
        let budget = self.packets.get_mut();
        budget.left = PACKET_READ_MAX;
        budget.exhausted = false;
        let at = budget.used;
        let read = self.packets.read_packet();
        let exhausted = self.packets.get_mut().exhausted;
        match read {
            Ok(packet) => Ok(packet),
            Err(_) if exhausted => Err(Fault::FrameTooLong.at(at)),
            Err(OggReadError::ReadError(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Err(Fault::Truncated.at(at))
            }
            Err(OggReadError::ReadError(error)) => Err(error.into()),
            Err(_) => Err(Fault::BadOggPage.at(at)),
        }
    }
}

/// Bounds what one packet may cost, and counts.
struct Budget<R> {
    input: R,
    left: u64,
    used: u64,
    exhausted: bool,
}

impl<R: Read> Read for Budget<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 {
            self.exhausted = true;
            return Err(io::Error::other("too much for one packet"));
        }
        let len = buffer
            .len()
            .min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let len = self.input.read(buffer.get_mut(..len).unwrap_or_default())?;
        self.left = self.left.saturating_sub(len as u64);
        self.used += len as u64;
        Ok(len)
    }
}

impl<R: Seek> Seek for Budget<R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.input.seek(to)
    }
}

/// Writes packets one behind: the last one of all carries the end of the stream.
pub(super) struct OggOpusWriter<W: Write> {
    packets: PacketWriter<'static, W>,
    serial: u32,
    /// Samples up to the end of `pending`.
    position: u64,
    page_started_at: u64,
    pending: Option<Vec<u8>>,
    /// The timestamp that follows on `pending`.
    expected: u32,
}

impl<W: Write> OggOpusWriter<W> {
    pub(super) fn new(output: W) -> Result<Self, FileError> {
        let [a, b, c, d, ..] = clock::seed();
        let serial = u32::from_le_bytes([a, b, c, d]);
        let mut packets = PacketWriter::new(output);
        let mut head = b"OpusHead\x01\x02".to_vec();
        head.extend_from_slice(&PRE_SKIP.to_le_bytes());
        head.extend_from_slice(&48_000_u32.to_le_bytes());
        // No gain, mapping family 0.
        head.extend_from_slice(&[0, 0, 0]);
        packets.write_packet(head, serial, PacketWriteEndInfo::EndPage, 0)?;
        let vendor = b"Twocan";
        let mut tags = b"OpusTags".to_vec();
        tags.extend_from_slice(&(vendor.len() as u32).to_le_bytes());
        tags.extend_from_slice(vendor);
        tags.extend_from_slice(&0_u32.to_le_bytes());
        packets.write_packet(tags, serial, PacketWriteEndInfo::EndPage, 0)?;
        Ok(Self {
            packets,
            serial,
            position: 0,
            page_started_at: 0,
            pending: None,
            expected: 0,
        })
    }

    pub(super) fn write(&mut self, timestamp: u32, packet: &[u8]) -> Result<(), FileError> {
        let fault = Fault::BadOpusPacket.at(self.position);
        let samples = packet_samples(packet).ok_or(fault)?;
        let toc = packet.first().copied().unwrap_or_default();
        let gap = timestamp.wrapping_sub(self.expected);
        if self.pending.is_some() && gap <= GAP_MAX {
            let frame = frame_samples(toc);
            for _ in 0..gap / frame {
                self.push(missing_frame(toc).to_vec(), frame)?;
            }
        }
        self.push(packet.to_vec(), samples)?;
        self.expected = timestamp.wrapping_add(samples);
        Ok(())
    }

    pub(super) fn finish(mut self) -> Result<W, FileError> {
        if let Some(packet) = self.pending.take() {
            let end = PacketWriteEndInfo::EndStream;
            self.packets
                .write_packet(packet, self.serial, end, self.position)?;
        }
        let mut output = self.packets.into_inner();
        output.flush()?;
        Ok(output)
    }

    fn push(&mut self, packet: Vec<u8>, samples: u32) -> Result<(), FileError> {
        if let Some(before) = self.pending.replace(packet) {
            let is_full = self.position - self.page_started_at >= PAGE_SAMPLES;
            let end = if is_full {
                self.page_started_at = self.position;
                PacketWriteEndInfo::EndPage
            } else {
                PacketWriteEndInfo::NormalPacket
            };
            self.packets
                .write_packet(before, self.serial, end, self.position)?;
        }
        self.position += u64::from(samples);
        Ok(())
    }
}
