//! What the elements of header extensions say, each a value of its own.

use core::time::Duration;

use crate::reader::Reader;

/// Loudness of a packet (RFC 6464 §3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AudioLevel {
    /// Whether the packet holds speech.
    pub voice: bool,
    /// 0 (loudest) to 127 (silence), in -dBov.
    pub level: u8,
}

impl AudioLevel {
    pub(super) fn parse(value: &[u8]) -> Option<Self> {
        let byte = value.first()?;
        Some(Self {
            voice: byte & 0x80 != 0,
            level: byte & 0x7f,
        })
    }

    pub(super) fn bytes(self) -> [u8; 1] {
        [u8::from(self.voice) << 7 | (self.level & 0x7f)]
    }
}

/// A time as [`ExtensionKind::AbsSendTime`](super::ExtensionKind::AbsSendTime) has it: seconds
/// modulo 64 in 6.18 fixed point.
pub fn abs_send_time(time: Duration) -> u32 {
    let fraction = (u64::from(time.subsec_nanos()) << 18) / 1_000_000_000;
    let value = (time.as_secs() << 18) | fraction;
    (value & 0x00ff_ffff) as u32
}

/// When a frame was captured, for measuring the way from camera to screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AbsCaptureTime {
    /// The moment on the clock of the capturer, as NTP has it: seconds since 1900 in 32.32 fixed
    /// point.
    pub timestamp: u64,
    /// What the sender of this packet believes must be added to its own clock to have the
    /// capturer's; signed seconds in 32.32 fixed point.
    pub clock_offset: Option<i64>,
}

impl AbsCaptureTime {
    pub(super) fn parse(value: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(value);
        let timestamp = reader.u64().ok()?;
        let clock_offset = match reader.len() {
            0 => None,
            8 => Some(reader.u64().ok()?.cast_signed()),
            _ => return None,
        };
        Some(Self {
            timestamp,
            clock_offset,
        })
    }

    pub(super) fn with_bytes(self, visit: impl FnOnce(&[u8])) {
        let mut bytes = [0; 16];
        let (first, second) = bytes.split_at_mut(8);
        first.copy_from_slice(&self.timestamp.to_be_bytes());
        match self.clock_offset {
            None => visit(first),
            Some(offset) => {
                second.copy_from_slice(&offset.to_be_bytes());
                visit(&bytes);
            }
        }
    }
}

/// How a picture must be turned to be upright (3GPP TS 26.114 §6.2.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct VideoOrientation {
    /// Whether it is from the camera on the back of a device.
    pub back_camera: bool,
    /// Whether it is mirrored, left to right; undone before it is turned.
    pub flipped: bool,
    /// How far the receiver turns it clockwise, in quarters: 0 to 3.
    pub quarter_turns: u8,
}

impl VideoOrientation {
    pub(super) fn parse(value: &[u8]) -> Option<Self> {
        let [byte] = *value else { return None };
        Some(Self {
            back_camera: byte & 0x08 != 0,
            flipped: byte & 0x04 != 0,
            quarter_turns: byte & 0x03,
        })
    }

    pub(super) fn bytes(self) -> [u8; 1] {
        let turns = self.quarter_turns & 3;
        [u8::from(self.back_camera) << 3 | u8::from(self.flipped) << 2 | turns]
    }
}

/// Between which delays the receiver may play, from capture to display. 0 and 0 mean at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlayoutDelay {
    /// At least so much, in units of 10 ms; at most [`Self::MAX`].
    pub min: u16,
    /// At most so much, in units of 10 ms; at most [`Self::MAX`]. A value below `min` means nothing.
    pub max: u16,
}

impl PlayoutDelay {
    /// The longest delay that can be told: 40.95 s.
    pub const MAX: u16 = 0xfff;

    /// The unit of both.
    const UNIT: Duration = Duration::from_millis(10);

    /// Bounds in whole units: `min` is rounded up and `max` down, as far as they do not pass each
    /// other; both are at most 40.95 s. `None` where `min` is above `max`.
    pub fn between(min: Duration, max: Duration) -> Option<Self> {
        if min > max {
            return None;
        }
        let units = |time: u128| u16::try_from(time).unwrap_or(Self::MAX).min(Self::MAX);
        let unit = Self::UNIT.as_nanos();
        let max = units(max.as_nanos().checked_div(unit).unwrap_or(0));
        let min = units(min.as_nanos().div_ceil(unit));
        Some(Self {
            min: min.min(max),
            max,
        })
    }

    /// The bounds as times; `None` where they contradict each other.
    pub fn bounds(self) -> Option<(Duration, Duration)> {
        let [min, max] = [self.min, self.max]
            .map(|own| Self::UNIT.saturating_mul(u32::from(own.min(Self::MAX))));
        (min <= max).then_some((min, max))
    }

    pub(super) fn parse(value: &[u8]) -> Option<Self> {
        let [a, b, c] = *value else { return None };
        Some(Self {
            min: u16::from(a) << 4 | u16::from(b) >> 4,
            max: u16::from(b & 0x0f) << 8 | u16::from(c),
        })
    }

    pub(super) fn bytes(self) -> [u8; 3] {
        let [min, max] = [self.min, self.max].map(|delay| u32::from(delay.min(Self::MAX)));
        let [_, bytes @ ..] = (min << 12 | max).to_be_bytes();
        bytes
    }
}

/// What a picture shows; other values than these have been used for experiments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VideoContentType(pub u8);

impl VideoContentType {
    /// A camera, or anything.
    pub const UNSPECIFIED: Self = Self(0);
    /// A screen: sharpness matters more than motion.
    pub const SCREENSHARE: Self = Self(1);
}

/// What became of a frame on its way out, in ms after its capture, 0 where not stated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct VideoTiming {
    /// Why it is sent with this frame: bit 0 by a timer, bit 1 for its size; 255: not to be used.
    pub flags: u8,
    /// Encoding began.
    pub encode_start: u16,
    /// Encoding ended.
    pub encode_finish: u16,
    /// The frame was split into packets.
    pub packetization_finish: u16,
    /// The last packet left the pacer.
    pub pacer_exit: u16,
    /// A server on the way received it.
    pub network: u16,
    /// A server on the way sent it on.
    pub network2: u16,
}

impl VideoTiming {
    pub(super) fn parse(value: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(value);
        // An older form has no flags.
        let flags = match value.len() {
            12 => 0,
            13 => reader.u8().ok()?,
            _ => return None,
        };
        let mut time = || reader.u16().ok();
        Some(Self {
            flags,
            encode_start: time()?,
            encode_finish: time()?,
            packetization_finish: time()?,
            pacer_exit: time()?,
            network: time()?,
            network2: time()?,
        })
    }

    pub(super) fn bytes(self) -> [u8; 13] {
        let mut bytes = [0; 13];
        let [flags, times @ ..] = &mut bytes;
        *flags = self.flags;
        let own = [
            self.encode_start,
            self.encode_finish,
            self.packetization_finish,
            self.pacer_exit,
            self.network,
            self.network2,
        ];
        write_numbers(times, &own);
        bytes
    }
}

fn write_numbers(bytes: &mut [u8], numbers: &[u16]) {
    let (seats, _) = bytes.as_chunks_mut::<2>();
    for (seat, number) in seats.iter_mut().zip(numbers) {
        *seat = number.to_be_bytes();
    }
}

/// How the numbers of a picture become colors. The codes are those of ITU-T H.273.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ColorSpace {
    /// `ColourPrimaries`.
    pub primaries: u8,
    /// `TransferCharacteristics`.
    pub transfer: u8,
    /// `MatrixCoefficients`.
    pub matrix: u8,
    /// 0 not stated, 1 limited, 2 full, 3 derived from the other codes.
    pub range: u8,
    /// Where chroma samples are, from left to right: 0 not stated, 1 collocated, 2 half-way.
    pub chroma_siting_horizontal: u8,
    /// Where they are from top to bottom, in the same way.
    pub chroma_siting_vertical: u8,
    /// For pictures of high dynamic range.
    pub hdr: Option<HdrMetadata>,
}

/// Brightness of a picture of high dynamic range (SMPTE ST 2086, CTA-861.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HdrMetadata {
    /// The brightest of the mastering display, in cd/m².
    pub luminance_max: u16,
    /// The darkest, in 1/10000 cd/m².
    pub luminance_min: u16,
    /// Its red, green, blue and white as x and y of CIE 1931, in 1/50000.
    pub chromaticity: [(u16, u16); 4],
    /// The brightest pixel, in cd/m².
    pub max_content_light_level: u16,
    /// The brightest frame on average, in cd/m².
    pub max_frame_average_light_level: u16,
}

impl ColorSpace {
    const LEN: usize = 4;
    const HDR_LEN: usize = 28;

    pub(super) fn parse(value: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(value);
        let [primaries, transfer, matrix, packed] = reader.array().ok()?;
        let hdr = match value.len() {
            Self::LEN => None,
            Self::HDR_LEN => {
                let mut number = || reader.u16().ok();
                Some(HdrMetadata {
                    luminance_max: number()?,
                    luminance_min: number()?,
                    chromaticity: [
                        (number()?, number()?),
                        (number()?, number()?),
                        (number()?, number()?),
                        (number()?, number()?),
                    ],
                    max_content_light_level: number()?,
                    max_frame_average_light_level: number()?,
                })
            }
            _ => return None,
        };
        Some(Self {
            primaries,
            transfer,
            matrix,
            range: packed >> 4 & 3,
            chroma_siting_horizontal: packed >> 2 & 3,
            chroma_siting_vertical: packed & 3,
            hdr,
        })
    }

    pub(super) fn with_bytes(self, visit: impl FnOnce(&[u8])) {
        let mut bytes = [0; Self::HDR_LEN];
        let (first, second) = bytes.split_at_mut(Self::LEN);
        let [range, horizontal, vertical] = [
            self.range,
            self.chroma_siting_horizontal,
            self.chroma_siting_vertical,
        ]
        .map(|field| field & 3);
        first.copy_from_slice(&[
            self.primaries,
            self.transfer,
            self.matrix,
            range << 4 | horizontal << 2 | vertical,
        ]);
        let Some(hdr) = self.hdr else {
            return visit(first);
        };
        let [red, green, blue, white] = hdr.chromaticity;
        let numbers = [
            hdr.luminance_max,
            hdr.luminance_min,
            red.0,
            red.1,
            green.0,
            green.1,
            blue.0,
            blue.1,
            white.0,
            white.1,
            hdr.max_content_light_level,
            hdr.max_frame_average_light_level,
        ];
        write_numbers(second, &numbers);
        visit(&bytes);
    }
}
