//! Where a frame comes from: when it was captured and encoded, and of whom it was mixed.

use std::time::{Duration, Instant};

use twocan_wire::ids::Ssrc;
use twocan_wire::rtp::{AbsCaptureTime, CSRCS_MAX, ExtensionKind, VideoTiming};

use super::Media;
use super::ntp::{ntp_time, ticks};
use crate::time::Now;

/// A capture time is said again after this. Between, a receiver counts on from the last.
const CAPTURE_INTERVAL: Duration = Duration::from_secs(1);

/// A capture time is said again where counting on would be wrong by more, in units of 2^-32 s: 1 ms.
const CAPTURE_ERROR_MAX: u64 = (1 << 32) / 1000;

/// How often a frame is one whose timing is of interest, whatever it is.
const TIMING_INTERVAL: Duration = Duration::from_millis(200);

/// [`VideoTiming::flags`]: it was time for one, and the frame is large.
const BY_TIMER: u8 = 1;
const BY_SIZE: u8 = 2;

/// A frame is large from this many times the mean on.
const LARGE: f64 = 5.0;

/// The part of the newest frame in the mean.
const MEAN_WEIGHT: f64 = 1.0 / 30.0;

/// The loudness of silence, which stands for an unknown one where that of others is told.
const SILENCE: u8 = 127;

/// A source of which a mixer made a packet (RFC 3550 §5.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContributingSource {
    /// The source.
    pub ssrc: Ssrc,
    /// Its loudness, 0 (loudest) to 127 (silence) in -dBov, where stated (RFC 6465).
    pub level: Option<u8>,
}

/// When a frame of ours came to be, as far as it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FrameTimes {
    /// When it was captured; `None` for now. Reports, capture times and offsets of transmission
    /// follow from it.
    pub captured_at: Option<Instant>,
    /// When its encoding began; `None` for when it was captured.
    pub encode_started_at: Option<Instant>,
    /// When its encoding ended; `None` for now.
    pub encoded_at: Option<Instant>,
}

/// Where a packet comes from, by its header.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Provenance {
    /// When its frame was captured; in the first packet of a frame, about once a second.
    pub abs_capture_time: Option<AbsCaptureTime>,
    /// What became of its frame before it left; in the last packet of a frame.
    pub video_timing: Option<VideoTiming>,
    /// The sources of which a mixer made it; 15 at most.
    pub contributing: Vec<ContributingSource>,
}

impl Provenance {
    /// Where it says something.
    pub(super) fn boxed(self) -> Option<Box<Self>> {
        (self != Self::default()).then(|| Box::new(self))
    }

    /// What a forwarder says of a packet: the same sources and the same capture time, with its own
    /// estimate of how the capturer's clock stands to its own. That is what the sender says of the
    /// capturer's clock, and what the forwarder knows of the sender's, `ahead`
    /// ([`Session::remote_clock_ahead`](super::Session::remote_clock_ahead)); until it knows anything, it
    /// takes the packet for captured at `captured_at`. It leaves out the timing, which belongs to the
    /// packets of one hop.
    #[must_use]
    pub fn forwarded(self, now: Now, ahead: Option<i64>, captured_at: Option<Instant>) -> Self {
        let stated = self.abs_capture_time;
        let offset = |stated: &AbsCaptureTime| match ahead {
            Some(ahead) => Some(stated.clock_offset.unwrap_or(0).wrapping_add(ahead)),
            None => captured_at.map(|at| {
                let ours = ntp_at(now, at);
                stated.timestamp.wrapping_sub(ours).cast_signed()
            }),
        };
        let abs_capture_time = stated.map(|stated| AbsCaptureTime {
            clock_offset: offset(&stated),
            ..stated
        });
        Self {
            abs_capture_time,
            video_timing: None,
            contributing: self.contributing,
        }
    }

    /// Of a packet that arrived, by the sources and values of its header.
    pub(super) fn sources(csrcs: &[Ssrc], levels: Option<&[u8]>) -> Vec<ContributingSource> {
        let levels = levels.unwrap_or_default();
        let each = csrcs.iter().enumerate().map(|(index, ssrc)| {
            let level = levels.get(index).map(|level| level & SILENCE);
            ContributingSource { ssrc: *ssrc, level }
        });
        each.collect()
    }
}

/// What a packet of ours tells of where it comes from.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct ToldProvenance {
    pub(super) abs_capture_time: Option<AbsCaptureTime>,
    pub(super) video_timing: Option<VideoTiming>,
    pub(super) csrcs: Vec<Ssrc>,
    /// A byte for each source, or none at all.
    pub(super) levels: Vec<u8>,
}

impl ToldProvenance {
    pub(super) fn new(
        abs_capture_time: Option<AbsCaptureTime>,
        video_timing: Option<VideoTiming>,
        contributing: &[ContributingSource],
    ) -> Option<Box<Self>> {
        let contributing = contributing.get(..CSRCS_MAX).unwrap_or(contributing);
        let has_levels = contributing.iter().any(|own| own.level.is_some());
        let levels = contributing.iter().filter(|_| has_levels);
        let own = Self {
            abs_capture_time,
            video_timing,
            csrcs: contributing.iter().map(|own| own.ssrc).collect(),
            levels: levels
                .map(|own| own.level.unwrap_or(SILENCE).min(SILENCE))
                .collect(),
        };
        (own != Self::default()).then(|| Box::new(own))
    }

    pub(super) fn of(provenance: &Provenance) -> Option<Box<Self>> {
        Self::new(
            provenance.abs_capture_time,
            provenance.video_timing,
            &provenance.contributing,
        )
    }

    /// The packet leaves after it has waited so long.
    pub(super) fn handle_left(&mut self, waited: Duration) {
        if let Some(timing) = &mut self.video_timing {
            timing.pacer_exit = timing.packetization_finish.saturating_add(millis(waited));
        }
    }
}

/// What the frames of a stream that we send said last of their times.
#[derive(Debug, Default)]
pub(super) struct StatedTimes {
    /// A timestamp, its NTP time, and when it was said.
    capture: Option<(u32, u64, Instant)>,
    timing_at: Option<Instant>,
    /// The mean length of frames, in bytes.
    mean_len: Option<f64>,
}

impl StatedTimes {
    /// What the first packet of a frame says of its capture, where that was agreed on.
    pub(super) fn capture_time(
        &mut self,
        now: Now,
        media: &Media,
        (timestamp, clock_rate): (u32, u32),
        captured_at: Instant,
    ) -> Option<AbsCaptureTime> {
        media.extensions_send.id(ExtensionKind::AbsCaptureTime)?;
        let ntp = ntp_at(now, captured_at);
        if let Some((last, last_ntp, at)) = self.capture
            && now.monotonic.saturating_duration_since(at) < CAPTURE_INTERVAL
        {
            let passed = ticks(timestamp.wrapping_sub(last), clock_rate);
            // 2^32 ticks at most, so that the product has room in 128 bits.
            let units = (passed.as_nanos() << 32) / 1_000_000_000;
            let expected = last_ntp.wrapping_add(units as u64);
            let error = expected.wrapping_sub(ntp).cast_signed().unsigned_abs();
            if error <= CAPTURE_ERROR_MAX {
                return None;
            }
        }
        self.capture = Some((timestamp, ntp, now.monotonic));
        Some(AbsCaptureTime {
            timestamp: ntp,
            // It was captured by our own clock.
            clock_offset: Some(0),
        })
    }

    /// What the last packet of a frame of that length says of its way out, where that was agreed on.
    pub(super) fn timing(
        &mut self,
        now: Instant,
        media: &Media,
        times: FrameTimes,
        len: usize,
    ) -> Option<VideoTiming> {
        media.extensions_send.id(ExtensionKind::VideoTiming)?;
        let captured_at = times.captured_at.unwrap_or(now);
        let since = |at: Instant| millis(at.saturating_duration_since(captured_at));
        let is_due = |at: Instant| now.saturating_duration_since(at) >= TIMING_INTERVAL;
        let mut flags = 0;
        if self.timing_at.is_none_or(is_due) {
            self.timing_at = Some(now);
            flags |= BY_TIMER;
        }
        let len = len as f64;
        let mean = self.mean_len.unwrap_or(len);
        if len >= mean * LARGE {
            flags |= BY_SIZE;
        }
        self.mean_len = Some(mean + (len - mean) * MEAN_WEIGHT);
        let finish = since(now);
        Some(VideoTiming {
            flags,
            encode_start: times.encode_started_at.map_or(0, since).min(finish),
            encode_finish: times.encoded_at.map_or(finish, since).min(finish),
            packetization_finish: finish,
            pacer_exit: finish,
            network: 0,
            network2: 0,
        })
    }
}

/// How long after its timestamp's instant something leaves, in units of the clock rate (RFC 5450 §2),
/// where that was agreed on. `clock` is a timestamp, its rate and its instant.
pub(super) fn transmission_offset(
    now: Instant,
    media: &Media,
    timestamp: u32,
    clock: Option<(u32, u32, Instant)>,
) -> Option<i32> {
    media
        .extensions_send
        .id(ExtensionKind::TransmissionOffset)?;
    let (newest, clock_rate, at) = clock?;
    let since = now.saturating_duration_since(at).as_micros();
    let ticks = (since * u128::from(clock_rate) / 1_000_000) as u32;
    let offset = ticks.wrapping_add(newest.wrapping_sub(timestamp));
    Some(offset.cast_signed())
}

/// A moment that is past, on our clock.
fn ntp_at(now: Now, at: Instant) -> u64 {
    let age = now.monotonic.saturating_duration_since(at);
    ntp_time(now.wallclock.saturating_sub(age))
}

fn millis(time: Duration) -> u16 {
    u16::try_from(time.as_millis()).unwrap_or(u16::MAX)
}
